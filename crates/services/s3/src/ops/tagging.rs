//! Tags of buckets and objects.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    S3,
    access::{self, Ask, Found},
    error::{method_not_allowed, text},
    history::Place,
    notify,
    tables::{self, BUCKETS, Version},
    tags,
};

/// The version that an operation on a version means; a delete marker is none.
pub(crate) fn version(
    cx: &Cx,
    tx: &Tx,
    found: &Found,
    key: &str,
    id: Option<&str>,
    (action, with_version): (&str, &str),
    method: &str,
) -> Result<Version, Error> {
    access::permit(cx, found, &Ask::of_object(if id.is_some() { with_version } else { action }, key))?;
    let version = Place::new(found, key).version(tx, id)?;
    if version.marker { Err(method_not_allowed(method, "DeleteMarker")) } else { Ok(version) }
}

impl S3 {
    pub(crate) fn tag_object(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectTaggingRequest,
    ) -> Result<PutObjectTaggingOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let actions = ("s3:PutObjectTagging", "s3:PutObjectVersionTagging");
        let mut version = version(cx, tx, &found, &input.key, input.version_id.as_deref(), actions, "PUT")?;
        version.tags = tags::of_set(&input.tagging.tag_set, tags::OBJECT_TAGS_MAX)?;
        let place = Place::new(&found, &input.key);
        place.amend(tx, &version)?;
        notify::created(self, cx, tx, &place, &version, "ObjectTagging:Put")?;
        Ok(PutObjectTaggingOutput { version_id: place.name_of(&version) })
    }

    pub(crate) fn object_tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectTaggingRequest,
    ) -> Result<GetObjectTaggingOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let actions = ("s3:GetObjectTagging", "s3:GetObjectVersionTagging");
        let version = version(cx, tx, &found, &input.key, input.version_id.as_deref(), actions, "GET")?;
        let version_id = Place::new(&found, &input.key).name_of(&version);
        Ok(GetObjectTaggingOutput { version_id, tag_set: tags::to_set(&version.tags) })
    }

    pub(crate) fn untag_object(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteObjectTaggingRequest,
    ) -> Result<DeleteObjectTaggingOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let actions = ("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging");
        let mut version = version(cx, tx, &found, &input.key, input.version_id.as_deref(), actions, "DELETE")?;
        version.tags = Vec::new();
        let place = Place::new(&found, &input.key);
        place.amend(tx, &version)?;
        notify::created(self, cx, tx, &place, &version, "ObjectTagging:Delete")?;
        Ok(DeleteObjectTaggingOutput { version_id: place.name_of(&version) })
    }

    pub(crate) fn tag_bucket(&self, cx: &Cx, tx: &Tx, input: &PutBucketTaggingRequest) -> Result<(), Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let mut found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:PutBucketTagging"))?;
        found.bucket.tags = tags::of_set(&input.tagging.tag_set, tags::BUCKET_TAGS_MAX)?;
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }

    pub(crate) fn bucket_tags(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketTaggingRequest,
    ) -> Result<GetBucketTaggingOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:GetBucketTagging"))?;
        if found.bucket.tags.is_empty() {
            return Err(
                NoSuchTagSet { message: text("The TagSet does not exist"), bucket_name: text(&found.name) }.into()
            );
        }
        Ok(GetBucketTaggingOutput { tag_set: tags::to_set(&found.bucket.tags) })
    }

    pub(crate) fn untag_bucket(&self, cx: &Cx, tx: &Tx, input: &DeleteBucketTaggingRequest) -> Result<(), Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let mut found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:PutBucketTagging"))?;
        found.bucket.tags = Vec::new();
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }
}
