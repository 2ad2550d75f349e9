//! Deleting objects and versions, one or many.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;
use wire_schema::ServiceError as _;

use super::objects::caller_account;
use crate::{
    S3,
    access::{self, Ask, Found},
    acl::Permission,
    body,
    error::{argument_named, header_not_implemented, malformed_xml, precondition, text},
    history::{self, Place},
    locks, notify,
};

/// Keys of one request (AWS: 1000).
const KEYS_MAX: usize = 1000;

/// What was deleted.
#[derive(Default)]
struct Gone {
    /// The identifier of what was removed, or of the marker that was made.
    version: Option<String>,
    marker: bool,
}

impl S3 {
    pub(crate) fn delete_object_(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteObjectRequest,
    ) -> Result<DeleteObjectOutput, Error> {
        for (given, header) in [
            (input.if_match_last_modified_time.is_some(), "x-amz-if-match-last-modified-time"),
            (input.if_match_size.is_some(), "x-amz-if-match-size"),
        ] {
            if given {
                return Err(header_not_implemented(header, None));
            }
        }
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        if let Some(tag) = &input.if_match {
            let current = Place::new(&found, &input.key).current(tx)?;
            let there = current.as_ref().is_some_and(|version| tag == "*" || tag.trim_matches('"') == version.etag);
            if !there {
                return Err(precondition("If-Match"));
            }
        }
        let bypass = input.bypass_governance_retention;
        let gone = self.delete_one(cx, tx, &found, &input.key, input.version_id.as_deref(), bypass)?;
        Ok(DeleteObjectOutput {
            delete_marker: gone.marker.then_some(true),
            version_id: gone.version,
            ..DeleteObjectOutput::default()
        })
    }

    pub(crate) fn delete_many(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteObjectsRequest,
    ) -> Result<DeleteObjectsOutput, Error> {
        if input.delete.objects.is_empty() || input.delete.objects.len() > KEYS_MAX {
            return Err(malformed_xml());
        }
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in &input.delete.objects {
            let bypass = input.bypass_governance_retention;
            match self.delete_one(cx, tx, &found, &object.key, object.version_id.as_deref(), bypass) {
                Ok(gone) => deleted.push(DeletedObject {
                    key: Some(object.key.clone()),
                    version_id: object.version_id.clone(),
                    delete_marker: gone.marker.then_some(true),
                    delete_marker_version_id: gone.version.filter(|_| gone.marker),
                }),
                Err(Error::Fault(fault)) => return Err(fault.into()),
                Err(error) => errors.push(ErrorShape {
                    key: Some(object.key.clone()),
                    version_id: object.version_id.clone(),
                    code: text(error.schema().code),
                    message: text(error.message()),
                }),
            }
        }
        let quiet = input.delete.quiet == Some(true);
        Ok(DeleteObjectsOutput {
            deleted: (!quiet && !deleted.is_empty()).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        })
    }

    fn delete_one(
        &self,
        cx: &Cx,
        tx: &Tx,
        found: &Found,
        key: &str,
        version: Option<&str>,
        bypass: Option<bool>,
    ) -> Result<Gone, Error> {
        let place = Place::new(found, key);
        let action = if version.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        access::permit(cx, found, &Ask::of_object(action, key).granted_by(Permission::Write))?;
        if bypass.is_some() && found.bucket.lock.is_none() {
            return Err(argument_named(
                "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets.",
                "x-amz-bypass-governance-retention",
            ));
        }
        let Some(id) = version else {
            let marker = history::blank(body::fresh(&self.store), caller_account(cx), tx.now());
            let deleted = place.delete(tx, marker)?;
            return Ok(match &deleted.marker {
                Some(marker) => {
                    notify::removed(self, cx, tx, &place, Some(marker), "ObjectRemoved:DeleteMarkerCreated")?;
                    Gone { version: Some(history::name(marker)), marker: true }
                }
                None => {
                    if deleted.removed.is_some() {
                        notify::removed(self, cx, tx, &place, None, "ObjectRemoved:Delete")?;
                    }
                    Gone::default()
                }
            });
        };
        let named = match place.version(tx, Some(id)) {
            Ok(named) => named,
            // What is not there is gone already.
            Err(Error::NoSuchVersion(_)) => return Ok(Gone { version: Some(id.to_owned()), marker: false }),
            Err(error) => return Err(error),
        };
        if bypass == Some(true) {
            access::permit(cx, found, &Ask::of_object("s3:BypassGovernanceRetention", key))?;
        }
        locks::check_removal(&named, tx.now(), bypass == Some(true))?;
        place.remove(tx, &named)?;
        notify::removed(self, cx, tx, &place, Some(&named), "ObjectRemoved:Delete")?;
        let version = found.bucket.versioning.map(|_| id.to_owned());
        Ok(Gone { version, marker: named.marker })
    }
}
