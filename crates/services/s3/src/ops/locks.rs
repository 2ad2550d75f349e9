//! Object lock: of buckets, retention and legal hold of objects.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use super::tagging::version;
use crate::{
    S3,
    access::{self, Ask, Found},
    error::{argument, malformed_xml, text},
    history::Place,
    locks,
    tables::{self, BUCKETS, Lock, LockMode, Retention, Versioning},
};

fn require_lock(found: &Found) -> Result<Lock, Error> {
    found.bucket.lock.ok_or_else(|| Error::invalid_request("Bucket is missing Object Lock Configuration"))
}

fn no_lock() -> Error {
    Error::no_such_object_lock_configuration("The specified object does not have a ObjectLock configuration")
}

fn mode_of(said: ObjectLockRetentionMode) -> LockMode {
    match said {
        ObjectLockRetentionMode::Governance => LockMode::Governance,
        ObjectLockRetentionMode::Compliance => LockMode::Compliance,
    }
}

fn mode_to(mode: LockMode) -> ObjectLockRetentionMode {
    match mode {
        LockMode::Governance => ObjectLockRetentionMode::Governance,
        LockMode::Compliance => ObjectLockRetentionMode::Compliance,
    }
}

impl S3 {
    pub(crate) fn put_lock(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectLockConfigurationRequest,
    ) -> Result<PutObjectLockConfigurationOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let ask = Ask::of_bucket("s3:PutBucketObjectLockConfiguration");
        let mut found = access::find(cx, tx, &input.bucket, owner, &ask)?;
        if found.bucket.versioning != Some(Versioning::Enabled) {
            return Err(Error::invalid_bucket_state(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            ));
        }
        let document = input.object_lock_configuration.as_ref().ok_or_else(malformed_xml)?;
        if document.object_lock_enabled.is_none() {
            return Err(malformed_xml());
        }
        let mut lock = Lock::default();
        if let Some(rule) = &document.rule {
            let default = rule.default_retention.as_ref().ok_or_else(malformed_xml)?;
            lock.mode = Some(mode_of(default.mode.ok_or_else(malformed_xml)?));
            let positive = |number: i32, most: u32| match u32::try_from(number) {
                Ok(0) | Err(_) => {
                    Err(Error::invalid_argument("Default retention period must be a positive integer value."))
                }
                Ok(number) if number > most => Err(Error::invalid_argument("Default retention period too large")),
                Ok(number) => Ok(number),
            };
            match (default.days, default.years) {
                (Some(days), None) => lock.days = Some(positive(days, 36_500)?),
                (None, Some(years)) => lock.years = Some(positive(years, 100)?),
                _ => return Err(malformed_xml()),
            }
        }
        found.bucket.lock = Some(lock);
        BUCKETS.put(tx, &tables::bucket(&found.name), &found.bucket)?;
        Ok(PutObjectLockConfigurationOutput::default())
    }

    pub(crate) fn get_lock(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectLockConfigurationRequest,
    ) -> Result<GetObjectLockConfigurationOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let ask = Ask::of_bucket("s3:GetBucketObjectLockConfiguration");
        let found = access::find(cx, tx, &input.bucket, owner, &ask)?;
        let lock = found.bucket.lock.ok_or_else(|| ObjectLockConfigurationNotFoundError {
            message: text("Object Lock configuration does not exist for this bucket"),
            bucket_name: text(&found.name),
        })?;
        let rule = lock.mode.map(|mode| ObjectLockRule {
            default_retention: Some(DefaultRetention {
                mode: Some(mode_to(mode)),
                days: lock.days.and_then(|days| i32::try_from(days).ok()),
                years: lock.years.and_then(|years| i32::try_from(years).ok()),
                ..DefaultRetention::default()
            }),
        });
        let document = ObjectLockConfiguration { object_lock_enabled: Some(ObjectLockEnabled::Enabled), rule };
        Ok(GetObjectLockConfigurationOutput { object_lock_configuration: Some(document) })
    }

    pub(crate) fn retain(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectRetentionRequest,
    ) -> Result<PutObjectRetentionOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let actions = ("s3:PutObjectRetention", "s3:PutObjectRetention");
        let mut version = version(cx, tx, &found, &input.key, input.version_id.as_deref(), actions, "PUT")?;
        require_lock(&found)?;
        let document = input.retention.as_ref().ok_or_else(malformed_xml)?;
        let wanted = match (document.mode, document.retain_until_date) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                if until <= tx.now() {
                    return Err(argument(
                        "The retain until date must be in the future!",
                        "RetainUntilDate",
                        &until.to_iso8601(),
                    ));
                }
                Some(Retention { mode: mode_of(mode), until })
            }
            _ => return Err(malformed_xml()),
        };
        let bypass = input.bypass_governance_retention == Some(true);
        if bypass {
            access::permit(cx, &found, &Ask::of_object("s3:BypassGovernanceRetention", &input.key))?;
        }
        locks::check_change(version.retention, wanted, tx.now(), bypass)?;
        version.retention = wanted;
        Place::new(&found, &input.key).amend(tx, &version)?;
        Ok(PutObjectRetentionOutput::default())
    }

    pub(crate) fn retention(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectRetentionRequest,
    ) -> Result<GetObjectRetentionOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let actions = ("s3:GetObjectRetention", "s3:GetObjectRetention");
        let version = version(cx, tx, &found, &input.key, input.version_id.as_deref(), actions, "GET")?;
        require_lock(&found)?;
        let retention = version.retention.ok_or_else(no_lock)?;
        Ok(GetObjectRetentionOutput {
            retention: Some(ObjectLockRetention {
                mode: Some(mode_to(retention.mode)),
                retain_until_date: Some(retention.until),
                ..ObjectLockRetention::default()
            }),
        })
    }

    pub(crate) fn hold(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &PutObjectLegalHoldRequest,
    ) -> Result<PutObjectLegalHoldOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let actions = ("s3:PutObjectLegalHold", "s3:PutObjectLegalHold");
        let mut version = version(cx, tx, &found, &input.key, input.version_id.as_deref(), actions, "PUT")?;
        require_lock(&found)?;
        let status = input.legal_hold.as_ref().and_then(|hold| hold.status).ok_or_else(malformed_xml)?;
        version.legal_hold = Some(status == ObjectLockLegalHoldStatus::On);
        Place::new(&found, &input.key).amend(tx, &version)?;
        Ok(PutObjectLegalHoldOutput::default())
    }

    pub(crate) fn held(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectLegalHoldRequest,
    ) -> Result<GetObjectLegalHoldOutput, Error> {
        let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
        let actions = ("s3:GetObjectLegalHold", "s3:GetObjectLegalHold");
        let version = version(cx, tx, &found, &input.key, input.version_id.as_deref(), actions, "GET")?;
        require_lock(&found)?;
        let status = version.legal_hold.ok_or_else(no_lock)?;
        Ok(GetObjectLegalHoldOutput {
            legal_hold: Some(ObjectLockLegalHold { status: Some(locks::hold_status(status)) }),
        })
    }
}
