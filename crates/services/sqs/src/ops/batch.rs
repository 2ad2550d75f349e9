//! What all batches have in common: one to ten entries with distinct ids, each succeeding or failing by itself.

use model_sqs::{BatchResultErrorEntry, Error};
use wire_schema::ServiceError;

const ENTRIES_MAX: usize = 10;
const ID_CHARS_MAX: usize = 80;

/// Checks the ids of a batch; `entry` is what AWS calls an entry.
pub(crate) fn check<'a>(ids: impl Iterator<Item = &'a str> + Clone, entry: &str) -> Result<(), Error> {
    let count = ids.clone().count();
    if count == 0 {
        return Err(Error::empty_batch_request(format!("There should be at least one {entry} in the request.")));
    }
    if count > ENTRIES_MAX {
        return Err(Error::too_many_entries_in_batch_request(format!(
            "Maximum number of entries per request are {ENTRIES_MAX}. You have sent {count}."
        )));
    }
    let good = |id: &str| {
        (1..=ID_CHARS_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !ids.clone().all(good) {
        return Err(Error::invalid_batch_entry_id(
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters \
             long.",
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    match ids.clone().find(|id| !seen.insert(*id)) {
        Some(twice) => Err(Error::batch_entry_ids_not_distinct(format!("Id {twice} repeated."))),
        None => Ok(()),
    }
}

/// Sorts the entries' outcomes. A fault is the whole batch's.
pub(crate) fn sort<T>(
    outcomes: impl Iterator<Item = (String, Result<T, Error>)>,
) -> Result<(Vec<T>, Vec<BatchResultErrorEntry>), Error> {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, outcome) in outcomes {
        match outcome {
            Ok(entry) => successful.push(entry),
            Err(error) if error.fault().is_some() => return Err(error),
            Err(error) => failed.push(BatchResultErrorEntry {
                id,
                sender_fault: true,
                code: error.schema().code.to_owned(),
                message: Some(error.message().to_owned()),
            }),
        }
    }
    Ok((successful, failed))
}
