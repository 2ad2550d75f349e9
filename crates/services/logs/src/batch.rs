//! What a batch of events may be (AWS, "PutLogEvents" and "CloudWatch Logs quotas"). Pure.

use std::{ops::Range, time::Duration};

use base_types::Timestamp;
use model_logs::{Error, InputLogEvent, RejectedLogEventsInfo};

use crate::error::invalid;

/// Each event counts with this many bytes beside its message.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 26;
/// The messages of a batch with their overheads; also of one event.
pub(crate) const BATCH_BYTES_MAX: usize = 1_048_576;
const BATCH_EVENTS_MAX: usize = 10_000;
const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);
/// How far ahead of the clock an event may be.
const AHEAD_MAX: Duration = Duration::from_secs(2 * 3600);
/// How old an event may be.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// Which events of a batch are taken, and what is said of the others.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) accepted: Range<usize>,
    pub(crate) rejected: Option<RejectedLogEventsInfo>,
}

/// Judges a batch at `now`; `expiry` is before when events are past their group's retention.
pub(crate) fn judge(events: &[InputLogEvent], now: Timestamp, expiry: Option<Timestamp>) -> Result<Verdict, Error> {
    if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
        return Err(invalid(format!("A batch must have between 1 and {BATCH_EVENTS_MAX} log events.")));
    }
    let sizes = events.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES);
    let bytes: usize = sizes.clone().sum();
    if let Some(large) = sizes.into_iter().find(|&size| size > BATCH_BYTES_MAX) {
        return Err(invalid(format!("Log event too large: {large} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    if events.iter().any(|event| event.message.is_empty()) {
        return Err(invalid("Log event messages must not be empty."));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let times: Vec<Timestamp> = events.iter().map(|event| time_of(event.timestamp)).collect();
    let span = times.first().zip(times.last()).map_or(Duration::ZERO, |(first, last)| last.since(*first));
    if span > SPAN_MAX {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    let too_old_end = times.partition_point(|&time| time < now - AGE_MAX);
    let expired_end = expiry.map_or(0, |expiry| times.partition_point(|&time| time < expiry));
    let too_new_start = times.partition_point(|&time| time <= now + AHEAD_MAX);
    let start = too_old_end.max(expired_end);
    let accepted = start..too_new_start.max(start);
    let index = |index: usize| i32::try_from(index).ok();
    let rejected = (accepted.len() < events.len()).then(|| RejectedLogEventsInfo {
        too_new_log_event_start_index: index(too_new_start).filter(|_| too_new_start < events.len()),
        too_old_log_event_end_index: index(too_old_end).filter(|&end| end > 0),
        expired_log_event_end_index: index(expired_end).filter(|&end| end > 0),
    });
    Ok(Verdict { accepted, rejected })
}

/// A wire time; what lies before 1970 counts as 1970.
pub(crate) fn time_of(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_435_200_000;
    const HOUR: i64 = 3_600_000;

    fn events(times: &[i64]) -> Vec<InputLogEvent> {
        times.iter().map(|&timestamp| InputLogEvent { timestamp, message: "m".to_owned() }).collect()
    }

    fn verdict(times: &[i64], expiry: Option<i64>) -> Result<Verdict, String> {
        let judged = judge(&events(times), time_of(NOW), expiry.map(time_of));
        judged.map_err(|error| wire_schema::ServiceError::message(&error).to_string())
    }

    #[test]
    fn events_too_old_or_new_are_rejected_by_index() {
        let all = |count| Ok(Verdict { accepted: 0..count, rejected: None });
        assert_eq!(verdict(&[NOW, NOW + 2 * HOUR], None), all(2));
        assert_eq!(verdict(&[NOW - 14 * 24 * HOUR], None), all(1));
        let rejected = |accepted, new, old, expired| {
            Ok(Verdict {
                accepted,
                rejected: Some(RejectedLogEventsInfo {
                    too_new_log_event_start_index: new,
                    too_old_log_event_end_index: old,
                    expired_log_event_end_index: expired,
                }),
            })
        };
        assert_eq!(verdict(&[NOW, NOW + 2 * HOUR + 1], None), rejected(0..1, Some(1), None, None));
        let old = NOW - 14 * 24 * HOUR;
        assert_eq!(verdict(&[old - 2, old - 1, old], None), rejected(2..3, None, Some(2), None));
        let day = NOW - 24 * HOUR;
        assert_eq!(verdict(&[day - 1, day], Some(day)), rejected(1..2, None, None, Some(1)));
        assert_eq!(verdict(&[old - 2, old - 1], Some(day)), rejected(2..2, None, Some(2), Some(2)));
        assert_eq!(verdict(&[NOW + 3 * HOUR], None), rejected(0..0, Some(0), None, None));
    }

    #[test]
    fn a_batch_out_of_bounds_is_refused_with_awss_message() {
        let order = "Log events in a single PutLogEvents request must be in chronological order.";
        assert_eq!(verdict(&[NOW, NOW - 1], None), Err(order.to_owned()));
        let span = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.";
        assert_eq!(verdict(&[NOW - 24 * HOUR - 1, NOW], None), Err(span.to_owned()));
        let refused = |sizes: &[usize]| {
            let events: Vec<_> =
                sizes.iter().map(|&size| InputLogEvent { timestamp: NOW, message: "x".repeat(size) }).collect();
            judge(&events, time_of(NOW), None).err().map(|error| wire_schema::ServiceError::message(&error).to_string())
        };
        assert_eq!(refused(&[BATCH_BYTES_MAX - 26]), None);
        let large = "Log event too large: 1048577 bytes exceeds limit of 1048576";
        assert_eq!(refused(&[BATCH_BYTES_MAX - 25]).as_deref(), Some(large));
        let upload = "Upload too large: 1048577 bytes exceeds limit of 1048576";
        assert_eq!(refused(&[500_000, BATCH_BYTES_MAX - 500_000 - 51]).as_deref(), Some(upload));
    }
}
