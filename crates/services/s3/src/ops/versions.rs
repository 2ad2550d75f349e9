//! Versioning of buckets.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    S3,
    access::{self, Ask},
    tables::{self, BUCKETS, Versioning},
};

impl S3 {
    pub(crate) fn set_versioning(&self, cx: &Cx, tx: &Tx, input: &PutBucketVersioningRequest) -> Result<(), Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let mut found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:PutBucketVersioning"))?;
        let Some(status) = input.versioning_configuration.status else {
            return Err(Error::illegal_versioning_configuration_exception("The Versioning element must be specified"));
        };
        if status == BucketVersioningStatus::Suspended && found.bucket.lock.is_some() {
            return Err(Error::invalid_bucket_state(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            ));
        }
        found.bucket.versioning = Some(match status {
            BucketVersioningStatus::Enabled => Versioning::Enabled,
            BucketVersioningStatus::Suspended => Versioning::Suspended,
        });
        Ok(BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?)
    }

    pub(crate) fn versioning(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetBucketVersioningRequest,
    ) -> Result<GetBucketVersioningOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:GetBucketVersioning"))?;
        let status = found.bucket.versioning.map(|versioning| match versioning {
            Versioning::Enabled => BucketVersioningStatus::Enabled,
            Versioning::Suspended => BucketVersioningStatus::Suspended,
        });
        Ok(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() })
    }
}
