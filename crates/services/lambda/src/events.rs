//! Event invocations: accepted once, run until they succeed, are given up, or grow too old.
//!
//! Pure: what is stored of an event and what becomes of it after an attempt; [`record`] has what its end is told as. AWS's
//! rules (Lambda developer guide, "Asynchronous invocation"), unless the function is configured otherwise: two more
//! attempts after an error of the function, one minute and two minutes later; what is not the function's fault
//! (throttling, the platform) is tried again with growing pauses and does not count; after six hours an event is given up.
//! With a reserved concurrency of zero, and for a function that goes round in circles, it is given up at once.

pub mod record;

use std::time::Duration;

use base_types::{AccountId, Region, Timestamp};
use minicbor::{Decode, Encode};

use crate::event_invoke::EventInvoke;

/// Retries after a failed attempt, unless configured.
pub const RETRIES_MAX: u32 = 2;
/// How old an event may grow, unless configured.
pub const AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// How often a chain of asynchronous invocations may come by the same function.
pub const PASSES_MAX: u32 = 16;
/// Greatest payload of an event invocation, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// How many events may wait, all accounts together.
pub const EVENTS_MAX: i64 = 100_000;
/// How many bytes of payload may wait, all accounts together.
pub const EVENTS_BYTES_MAX: i64 = 1 << 30;

/// An accepted event invocation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Event {
    /// The function's account.
    #[n(0)]
    pub account: AccountId,
    /// The function's region.
    #[n(1)]
    pub region: Region,
    /// The function's name.
    #[n(2)]
    pub name: String,
    /// Its incarnation: an event never reaches a later function of the same name.
    #[n(3)]
    pub incarnation: String,
    /// The version or alias that was named, as text.
    #[n(4)]
    pub qualifier: Option<String>,
    /// Size of the payload, which lies apart so that an attempt does not write it again.
    #[n(5)]
    pub payload_bytes: u64,
    /// The request id, the same for every attempt.
    #[n(6)]
    pub request_id: String,
    /// The trace header.
    #[n(7)]
    pub trace: Option<String>,
    /// The client context, JSON.
    #[n(8)]
    pub client_context: Option<String>,
    /// When it was accepted.
    #[n(9)]
    pub accepted: Timestamp,
    /// When it is due (again).
    #[n(10)]
    pub due: Timestamp,
    /// Attempts that ended with an error of the function.
    #[n(11)]
    pub failures: u32,
    /// Attempts that were not the function's fault, since the last that was.
    #[n(12)]
    pub delays: u32,
    /// The fence of the lease under which an attempt is running.
    #[n(13)]
    pub running_under: Option<u64>,
    /// How many consequences lie between the first request and this event.
    #[n(14)]
    pub hops: u8,
}

/// What a function is to be given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Payload {
    /// JSON.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The function answered.
    Succeeded,
    /// The function failed.
    Failed,
    /// It was throttled, or the platform failed: not the function's fault.
    Delayed,
    /// It was not made: the function may not run at all (its reserved concurrency is zero).
    Blocked,
    /// It was not made: the event has come by this function too often.
    Recursive,
    /// It was not made: the event had grown too old meanwhile.
    Expired,
    /// The function, version or alias is not there any more.
    Gone,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is done, for better or worse.
    Done(Outcome),
    /// It is tried again then.
    At(Timestamp),
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered.
    Success,
    /// Every attempt failed.
    RetriesExhausted,
    /// It grew too old.
    AgeExceeded,
    /// Nobody may receive it.
    ZeroReservedConcurrency,
    /// It was cut out of a loop.
    Recursion,
    /// There was nobody to receive it.
    Gone,
}

impl Outcome {
    /// The `condition` in a destination's record; none for what nobody is told. AWS has no word for a loop: an event that
    /// is cut out of one has no attempt left.
    #[must_use]
    pub fn condition(self) -> Option<&'static str> {
        Some(match self {
            Self::Success => "Success",
            Self::RetriesExhausted | Self::Recursion => "RetriesExhausted",
            Self::AgeExceeded => "EventAgeExceeded",
            Self::ZeroReservedConcurrency => "ZeroReservedConcurrency",
            Self::Gone => return None,
        })
    }
}

/// How a function's events are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Retries after a failed attempt.
    pub retries_max: u32,
    /// How old an event may grow.
    pub age_max: Duration,
}

impl Policy {
    /// Of a configuration; without one AWS's defaults.
    #[must_use]
    pub fn of(config: Option<&EventInvoke>) -> Self {
        let age = config.and_then(|config| config.age_seconds_max);
        Self {
            retries_max: config.and_then(|config| config.retries_max).unwrap_or(RETRIES_MAX),
            age_max: age.map_or(AGE_MAX, |seconds| Duration::from_secs(u64::from(seconds))),
        }
    }
}

impl Event {
    /// Whether it has grown too old to be attempted.
    #[must_use]
    pub fn is_expired(&self, policy: Policy, now: Timestamp) -> bool {
        now.since(self.accepted) > policy.age_max
    }

    /// What becomes of the event after an attempt; counts it.
    pub fn after(&mut self, attempt: Attempt, policy: Policy, now: Timestamp) -> Next {
        self.running_under = None;
        let pause = match attempt {
            Attempt::Succeeded => return Next::Done(Outcome::Success),
            Attempt::Blocked => return Next::Done(Outcome::ZeroReservedConcurrency),
            Attempt::Recursive => return Next::Done(Outcome::Recursion),
            Attempt::Expired => return Next::Done(Outcome::AgeExceeded),
            Attempt::Gone => return Next::Done(Outcome::Gone),
            Attempt::Failed => {
                self.failures += 1;
                self.delays = 0;
                if self.failures > policy.retries_max {
                    return Next::Done(Outcome::RetriesExhausted);
                }
                Duration::from_secs(60) * self.failures
            }
            Attempt::Delayed => {
                let pause = Duration::from_secs(1) * (1 << self.delays.min(9));
                self.delays += 1;
                pause.min(Duration::from_secs(300))
            }
        };
        let due = now + pause;
        if due.since(self.accepted) > policy.age_max {
            return Next::Done(Outcome::AgeExceeded);
        }
        self.due = due;
        Next::At(due)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const DEFAULT: Policy = Policy { retries_max: RETRIES_MAX, age_max: AGE_MAX };

    pub(crate) fn event() -> Event {
        Event {
            account: AccountId::DEFAULT,
            region: Region::default(),
            name: "f".into(),
            incarnation: "i".into(),
            qualifier: None,
            payload_bytes: 0,
            request_id: "r".into(),
            trace: None,
            client_context: None,
            accepted: Timestamp::EPOCH,
            due: Timestamp::EPOCH,
            failures: 0,
            delays: 0,
            running_under: Some(1),
            hops: 0,
        }
    }

    fn seconds(n: u64) -> Timestamp {
        Timestamp::from_millis(n * 1000)
    }

    #[test]
    fn an_event_is_tried_three_times_a_minute_and_two_minutes_apart() {
        let mut event = event();
        assert_eq!(event.after(Attempt::Failed, DEFAULT, seconds(1)), Next::At(seconds(61)));
        assert_eq!(event.running_under, None);
        assert_eq!(event.after(Attempt::Failed, DEFAULT, seconds(62)), Next::At(seconds(182)));
        assert_eq!(event.after(Attempt::Failed, DEFAULT, seconds(183)), Next::Done(Outcome::RetriesExhausted));
    }

    #[test]
    fn what_is_not_the_functions_fault_does_not_count_but_ages() {
        let mut event = event();
        let mut now = seconds(0);
        let mut pauses = Vec::new();
        let end = loop {
            match event.after(Attempt::Delayed, DEFAULT, now) {
                Next::At(due) => {
                    pauses.push(due.since(now).as_secs());
                    now = due;
                }
                Next::Done(outcome) => break outcome,
            }
        };
        assert_eq!(pauses[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!((end, event.failures), (Outcome::AgeExceeded, 0));
        assert!(now <= seconds(6 * 3600));
        let mut late = super::tests::event();
        assert_eq!(late.after(Attempt::Failed, DEFAULT, seconds(6 * 3600)), Next::Done(Outcome::AgeExceeded));
        assert_eq!(late.after(Attempt::Succeeded, DEFAULT, seconds(6 * 3600)), Next::Done(Outcome::Success));
    }

    #[test]
    fn a_configuration_decides_over_retries_and_age() {
        let config = EventInvoke { retries_max: Some(0), age_seconds_max: Some(60), ..EventInvoke::default() };
        let policy = Policy::of(Some(&config));
        assert_eq!(event().after(Attempt::Failed, policy, seconds(1)), Next::Done(Outcome::RetriesExhausted));
        // A retry that would come too late is not waited for.
        let patient = Policy { retries_max: 2, ..policy };
        assert_eq!(event().after(Attempt::Failed, patient, seconds(1)), Next::Done(Outcome::AgeExceeded));
        assert!(!event().is_expired(policy, seconds(60)) && event().is_expired(policy, seconds(61)));
        assert_eq!(Policy::of(None), DEFAULT);
        for (attempt, outcome, condition) in [
            (Attempt::Blocked, Outcome::ZeroReservedConcurrency, Some("ZeroReservedConcurrency")),
            (Attempt::Recursive, Outcome::Recursion, Some("RetriesExhausted")),
            (Attempt::Expired, Outcome::AgeExceeded, Some("EventAgeExceeded")),
            (Attempt::Gone, Outcome::Gone, None),
        ] {
            assert_eq!(event().after(attempt, policy, seconds(1)), Next::Done(outcome));
            assert_eq!(outcome.condition(), condition);
        }
    }
}
