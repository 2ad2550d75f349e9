//! Retention: how many days a group's events are kept. Readers see the limit at once; space is freed in the background.

use model_logs::{DeleteRetentionPolicyRequest, Error, PutRetentionPolicyRequest};
use services_kernel::Cx;
use store_api::Tx;

use crate::{CloudWatchLogs, error::invalid, ops::find_group, tables::Place};

/// The days AWS allows.
const DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

impl CloudWatchLogs {
    pub(crate) fn put_retention(&self, cx: &Cx, tx: &Tx, input: &PutRetentionPolicyRequest) -> Result<(), Error> {
        let days = u32::try_from(input.retention_in_days).ok().filter(|days| DAYS.contains(days));
        let days = days.ok_or_else(|| {
            let allowed: Vec<String> = DAYS.iter().map(ToString::to_string).collect();
            invalid(format!(
                "1 validation error detected: Value '{}' at 'retentionInDays' failed to satisfy constraint: \
                 Member must satisfy enum value set: [{}]",
                input.retention_in_days,
                allowed.join(", ")
            ))
        })?;
        set(cx, tx, "logs:PutRetentionPolicy", &input.log_group_name, Some(days))
    }

    pub(crate) fn delete_retention(&self, cx: &Cx, tx: &Tx, input: &DeleteRetentionPolicyRequest) -> Result<(), Error> {
        set(cx, tx, "logs:DeleteRetentionPolicy", &input.log_group_name, None)
    }
}

fn set(cx: &Cx, tx: &Tx, action: &str, name: &str, days: Option<u32>) -> Result<(), Error> {
    let mut group = find_group(tx, cx, action, name)?;
    group.retention_days = days;
    Ok(Place::of(cx).put_group(tx, name, &group)?)
}
