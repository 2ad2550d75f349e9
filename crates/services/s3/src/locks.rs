//! Object lock: what may not be deleted or overwritten, and until when. Pure.

use std::time::Duration;

use base_types::Timestamp;
use model_s3::{Error, ObjectLockLegalHoldStatus};

use crate::{
    error::{argument, argument_named},
    tables::{Bucket, LockMode, Retention, Version},
};

const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const PROTECTED: &str = "Access Denied because object protected by object lock.";

pub(crate) fn mode_text(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    }
}

pub(crate) fn mode_of(text: &str) -> Option<LockMode> {
    [LockMode::Governance, LockMode::Compliance].into_iter().find(|mode| mode_text(*mode) == text)
}

pub(crate) fn hold_status(on: bool) -> ObjectLockLegalHoldStatus {
    if on { ObjectLockLegalHoldStatus::On } else { ObjectLockLegalHoldStatus::Off }
}

/// How a new object is retained: as its headers say, else as the bucket says.
pub(crate) fn retention_of_headers(
    mode: Option<&str>,
    until: Option<Timestamp>,
    bucket: &Bucket,
    now: Timestamp,
) -> Result<Option<Retention>, Error> {
    let (mode, until) = match (mode, until) {
        (None, None) => return Ok(bucket.lock.and_then(|lock| default_retention(&lock, now))),
        (Some(mode), Some(until)) => (mode, until),
        _ => {
            return Err(argument_named(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
                "x-amz-object-lock-retain-until-date",
            ));
        }
    };
    if bucket.lock.is_none() {
        return Err(Error::invalid_request("Bucket is missing Object Lock Configuration"));
    }
    let mode = mode_of(mode).ok_or_else(|| argument("Unknown wormMode directive.", "x-amz-object-lock-mode", mode))?;
    if until <= now {
        return Err(argument(
            "The retain until date must be in the future!",
            "x-amz-object-lock-retain-until-date",
            &until.to_iso8601(),
        ));
    }
    Ok(Some(Retention { mode, until }))
}

fn default_retention(lock: &crate::tables::Lock, now: Timestamp) -> Option<Retention> {
    let days = lock.days.or_else(|| lock.years.map(|years| years.saturating_mul(365)))?;
    Some(Retention { mode: lock.mode?, until: now + DAY * days })
}

/// Whether a version may be removed for good.
pub(crate) fn check_removal(version: &Version, now: Timestamp, bypass: bool) -> Result<(), Error> {
    if version.legal_hold == Some(true) {
        return Err(Error::access_denied(PROTECTED));
    }
    match version.retention {
        Some(Retention { mode, until }) if until > now => match mode {
            LockMode::Governance if bypass => Ok(()),
            _ => Err(Error::access_denied(PROTECTED)),
        },
        _ => Ok(()),
    }
}

/// Whether a retention may take the place of another.
pub(crate) fn check_change(
    before: Option<Retention>,
    after: Option<Retention>,
    now: Timestamp,
    bypass: bool,
) -> Result<(), Error> {
    let Some(before) = before.filter(|before| before.until > now) else { return Ok(()) };
    let longer = after.is_some_and(|after| {
        after.until >= before.until && (after.mode == before.mode || after.mode == LockMode::Compliance)
    });
    let may = longer || (before.mode == LockMode::Governance && bypass);
    if may { Ok(()) } else { Err(Error::access_denied(PROTECTED)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_lengthened_by_all_and_shortened_by_few() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let retention = |mode, seconds| Some(Retention { mode, until: at(seconds) });
        use LockMode::{Compliance, Governance};
        for (before, after, bypass, may) in [
            (None, retention(Governance, 50), false, true),
            (retention(Governance, 50), retention(Governance, 60), false, true),
            (retention(Governance, 50), retention(Governance, 40), false, false),
            (retention(Governance, 50), retention(Governance, 40), true, true),
            (retention(Governance, 50), None, true, true),
            (retention(Governance, 50), retention(Compliance, 50), false, true),
            (retention(Compliance, 50), retention(Compliance, 60), false, true),
            (retention(Compliance, 50), retention(Compliance, 40), true, false),
            (retention(Compliance, 50), retention(Governance, 60), true, false),
            (retention(Compliance, 5), None, false, true),
        ] {
            assert_eq!(check_change(before, after, at(10), bypass).is_ok(), may, "{before:?} {after:?} {bypass}");
        }
    }
}
