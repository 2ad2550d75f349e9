//! Lists of grants of buckets and objects, and who owns what is put.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    S3,
    access::{self, Ask, Found},
    acl::{self, Acl, Headers as Grants, Permission},
    error::{denied, malformed_xml, method_not_allowed, text},
    history::Place,
    notify,
    tables::{self, BUCKETS, Ownership},
};

pub(crate) fn ownership_of(said: ObjectOwnership) -> Ownership {
    match said {
        ObjectOwnership::BucketOwnerEnforced => Ownership::Enforced,
        ObjectOwnership::BucketOwnerPreferred => Ownership::Preferred,
        ObjectOwnership::ObjectWriter => Ownership::Writer,
    }
}

/// The list that a request sets, from its headers or its document.
fn wanted(
    found: &Found,
    grants: &Grants<'_>,
    document: Option<&AccessControlPolicy>,
    owner: base_types::AccountId,
) -> Result<Acl, Error> {
    let acl = match (grants.acl(owner, found.bucket.owner)?, document) {
        (Some(_), Some(_)) => return Err(Error::unexpected_content("This request does not support content")),
        (Some(acl), None) => acl,
        (None, Some(document)) => Acl::of_document(document, owner)?,
        (None, None) => {
            return Err(MissingSecurityHeader {
                message: text("Your request was missing a required header"),
                missing_header_name: text("x-amz-acl"),
            }
            .into());
        }
    };
    if found.bucket.ownership == Some(Ownership::Enforced) && !acl.is_private(owner) {
        return Err(Error::access_control_list_not_supported("The bucket does not allow ACLs"));
    }
    if found.bucket.public_access.is_some_and(|block| block.block_acls) && acl.is_public() {
        return Err(denied());
    }
    Ok(acl)
}

impl S3 {
    pub(crate) fn put_bucket_acl_(&self, cx: &Cx, tx: &Tx, input: &PutBucketAclRequest) -> Result<(), Error> {
        let ask = Ask::of_bucket("s3:PutBucketAcl").granted_by(Permission::WriteAcl);
        let mut found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
        let grants = Grants {
            canned: input.acl.as_deref(),
            full: input.grant_full_control.as_deref(),
            read: input.grant_read.as_deref(),
            write: input.grant_write.as_deref(),
            read_acl: input.grant_read_acp.as_deref(),
            write_acl: input.grant_write_acp.as_deref(),
        };
        found.bucket.acl = wanted(&found, &grants, input.access_control_policy.as_ref(), found.bucket.owner)?;
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }

    pub(crate) fn bucket_acl(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketAclRequest,
    ) -> Result<GetBucketAclOutput, Error> {
        let ask = Ask::of_bucket("s3:GetBucketAcl").granted_by(Permission::ReadAcl);
        let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
        let owner = found.bucket.owner;
        Ok(GetBucketAclOutput { owner: Some(acl::owner(owner)), grants: Some(found.bucket.acl.to_wire(owner)) })
    }

    pub(crate) fn put_object_acl_(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectAclRequest,
    ) -> Result<PutObjectAclOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let place = Place::new(&found, &input.key);
        let version = place.version(tx, input.version_id.as_deref());
        let kept = version.as_ref().ok().and_then(|version| version.acl.clone());
        let action = if input.version_id.is_some() { "s3:PutObjectVersionAcl" } else { "s3:PutObjectAcl" };
        let mut ask = Ask::of_object(action, &input.key).granted_by(Permission::WriteAcl);
        ask.acl = kept.as_ref();
        access::permit(cx, &found, &ask)?;
        let mut version = version?;
        if version.marker {
            return Err(method_not_allowed("PUT", "DeleteMarker"));
        }
        let grants = Grants {
            canned: input.acl.as_deref(),
            full: input.grant_full_control.as_deref(),
            read: input.grant_read.as_deref(),
            write: input.grant_write.as_deref(),
            read_acl: input.grant_read_acp.as_deref(),
            write_acl: input.grant_write_acp.as_deref(),
        };
        version.acl = Some(wanted(&found, &grants, input.access_control_policy.as_ref(), version.owner)?);
        place.amend(tx, &version)?;
        notify::created(self, cx, tx, &place, &version, "ObjectAcl:Put")?;
        Ok(PutObjectAclOutput::default())
    }

    pub(crate) fn object_acl_(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectAclRequest,
    ) -> Result<GetObjectAclOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let version = Place::new(&found, &input.key).version(tx, input.version_id.as_deref());
        let kept = version.as_ref().ok().and_then(|version| version.acl.clone());
        let action = if input.version_id.is_some() { "s3:GetObjectVersionAcl" } else { "s3:GetObjectAcl" };
        let mut ask = Ask::of_object(action, &input.key).granted_by(Permission::ReadAcl);
        ask.acl = kept.as_ref();
        access::permit(cx, &found, &ask)?;
        let version = version?;
        if version.marker {
            return Err(method_not_allowed("GET", "DeleteMarker"));
        }
        let grants = version.acl.unwrap_or_default().to_wire(version.owner);
        Ok(GetObjectAclOutput {
            owner: Some(acl::owner(version.owner)),
            grants: Some(grants),
            ..GetObjectAclOutput::default()
        })
    }

    pub(crate) fn put_ownership(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutBucketOwnershipControlsRequest,
    ) -> Result<(), Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let mut found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:PutBucketOwnershipControls"))?;
        let [rule] = &*input.ownership_controls.rules else { return Err(malformed_xml()) };
        let ownership = ownership_of(rule.object_ownership);
        if ownership == Ownership::Enforced && !found.bucket.acl.is_private(found.bucket.owner) {
            return Err(Error::invalid_request(
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            ));
        }
        found.bucket.ownership = Some(ownership);
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }

    pub(crate) fn ownership(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketOwnershipControlsRequest,
    ) -> Result<GetBucketOwnershipControlsOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:GetBucketOwnershipControls"))?;
        let object_ownership = match found.bucket.ownership {
            Some(Ownership::Enforced) => ObjectOwnership::BucketOwnerEnforced,
            Some(Ownership::Preferred) => ObjectOwnership::BucketOwnerPreferred,
            Some(Ownership::Writer) => ObjectOwnership::ObjectWriter,
            None => {
                return Err(OwnershipControlsNotFoundError {
                    message: text("The bucket ownership controls were not found"),
                    bucket_name: text(&found.name),
                }
                .into());
            }
        };
        let rules = vec![OwnershipControlsRule { object_ownership }];
        Ok(GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) })
    }

    pub(crate) fn delete_ownership(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteBucketOwnershipControlsRequest,
    ) -> Result<(), Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let mut found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:PutBucketOwnershipControls"))?;
        found.bucket.ownership = None;
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }
}
