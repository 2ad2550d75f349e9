//! How far a mapping has come in its part of a shard, and what follows from an attempt. Pure.
//!
//! Source: Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB" (error handling, batch item failures, tumbling
//! windows).

use std::time::Duration;

use base_types::Timestamp;
use minicbor::{Decode, Encode};

/// The first pause before a batch is tried again; it doubles (AWS's own tries take about these times).
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_secs(60);

/// A lane as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Lane {
    /// Everything up to this sequence number is done with; nothing when there is none.
    #[n(0)]
    pub(crate) after: Option<String>,
    /// What failed and is tried again, in its order; what lies behind comes later.
    #[n(1)]
    pub(crate) parts: Vec<Part>,
    /// The window that is open.
    #[n(2)]
    pub(crate) window: Option<Window>,
    /// Its shard is closed, and it is done with it.
    #[n(3)]
    pub(crate) ended: bool,
    /// How many lanes the shard has.
    #[n(4)]
    pub(crate) shares: u64,
}

/// A batch that failed, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Part {
    /// Its last record.
    #[n(0)]
    pub(crate) to: String,
    #[n(1)]
    pub(crate) failures: u32,
}

/// A tumbling window.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Window {
    #[n(0)]
    pub(crate) start: Timestamp,
    #[n(1)]
    pub(crate) seconds: u32,
    /// What the function said last of its state: JSON.
    #[n(2)]
    pub(crate) state: String,
    /// How often its last call failed.
    #[n(3)]
    pub(crate) failures: u32,
    /// It ends before its time.
    #[n(4)]
    pub(crate) early: bool,
}

/// When attempts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) bisects: bool,
    pub(crate) retries_max: Option<u32>,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next attempt, after this pause.
    Again(Duration),
    /// The records are given up, after so many attempts.
    GiveUp(u32),
}

/// Before the attempt that follows so many failures.
pub(crate) fn pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_MOST)
}

impl Patience {
    fn ends(self, failures: u32) -> bool {
        self.retries_max.is_some_and(|retries| failures > retries)
    }
}

impl Lane {
    /// One that begins with the oldest record.
    pub(crate) fn new(shares: u64) -> Self {
        Self { after: None, parts: Vec::new(), window: None, ended: false, shares }
    }

    /// Failures of what is to be tried now.
    pub(crate) fn failures(&self) -> u32 {
        self.parts.first().map_or(0, |part| part.failures)
    }

    /// Everything up to `upto` is done with.
    pub(crate) fn done(&mut self, upto: &str) {
        self.after = Some(upto.to_owned());
        if self.parts.first().is_some_and(|part| !is_behind(&part.to, upto)) {
            self.parts.remove(0);
        }
    }

    /// Of a batch with these sequence numbers those before `first` are done with; the others failed.
    pub(crate) fn failed(&mut self, sequences: &[&str], first: usize, patience: Patience) -> Next {
        let failures = self.failures();
        let (done, rest) = sequences.split_at(first.min(sequences.len()));
        if let Some(last) = done.last() {
            self.after = Some((*last).to_owned());
        }
        let Some(last) = rest.last() else { return Next::Again(Duration::ZERO) };
        let part = |to: &str, failures| Part { to: to.to_owned(), failures };
        let middle = rest.len() / 2;
        // What is divided was not in vain: it does not count.
        let parts = match rest.get(..middle).and_then(<[_]>::last) {
            _ if patience.bisects && !done.is_empty() => vec![part(last, failures)],
            Some(half) if patience.bisects => vec![part(half, failures), part(last, failures)],
            _ if patience.ends(failures + 1) => return Next::GiveUp(failures + 1),
            _ => vec![part(last, failures + 1)],
        };
        let next = if patience.bisects && (!done.is_empty() || parts.len() > 1) {
            Next::Again(Duration::ZERO)
        } else {
            Next::Again(pause(failures + 1))
        };
        self.parts.splice(..usize::from(!self.parts.is_empty()), parts);
        next
    }
}

/// Whether a sequence number comes behind another: they are decimal digits.
fn is_behind(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    (a.len(), a) > (b.len(), b)
}

impl Window {
    /// The window in which a record came.
    pub(crate) fn of(arrived: Timestamp, seconds: u32) -> Self {
        let length = u64::from(seconds.max(1)) * 1000;
        let start = Timestamp::from_millis(arrived.as_millis() / length * length);
        Self { start, seconds, state: "{}".to_owned(), failures: 0, early: false }
    }

    pub(crate) fn end(&self) -> Timestamp {
        self.start + Duration::from_secs(self.seconds.into())
    }

    /// Its last call failed.
    pub(crate) fn failed(&mut self, patience: Patience) -> Next {
        self.failures += 1;
        if patience.ends(self.failures) { Next::GiveUp(self.failures) } else { Next::Again(pause(self.failures)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(bisects: bool, retries_max: impl Into<Option<u32>>) -> Patience {
        Patience { bisects, retries_max: retries_max.into() }
    }

    #[test]
    fn a_batch_is_tried_until_its_tries_are_over() {
        let mut lane = Lane::new(1);
        for (failures, seconds) in [(1, 0.5), (2, 1.0), (3, 2.0)] {
            let next = lane.failed(&["11", "12"], 0, patience(false, 3));
            assert_eq!(next, Next::Again(Duration::from_secs_f64(seconds)));
            assert_eq!((lane.after.as_deref(), lane.failures()), (None, failures));
        }
        assert_eq!(lane.failed(&["11", "12"], 0, patience(false, 3)), Next::GiveUp(4));
        lane.done("12");
        assert_eq!(lane, Lane { after: Some("12".to_owned()), ..Lane::new(1) });
        // Without a bound there is no end, and pauses have a bound.
        for _ in 0..100 {
            assert!(
                matches!(lane.failed(&["13"], 0, patience(false, None)), Next::Again(pause) if pause <= PAUSE_MOST)
            );
        }
    }

    #[test]
    fn what_came_before_the_first_failure_is_done() {
        let mut lane = Lane::new(1);
        assert_eq!(lane.failed(&["1", "2", "3"], 2, patience(false, 3)), Next::Again(PAUSE_FIRST));
        assert_eq!(
            (lane.after.as_deref(), &lane.parts[..]),
            (Some("2"), &[Part { to: "3".to_owned(), failures: 1 }][..])
        );
        // As recorded: three records, the last of them fails always, three retries: told after four calls.
        for _ in 0..2 {
            assert!(matches!(lane.failed(&["3"], 0, patience(false, 3)), Next::Again(_)));
        }
        assert_eq!(lane.failed(&["3"], 0, patience(false, 3)), Next::GiveUp(4));
    }

    #[test]
    fn halving_leads_to_the_one_that_fails_and_costs_no_try() {
        let mut lane = Lane::new(1);
        let all = ["1", "2", "3", "4", "5"];
        let (mut calls, mut given_up) = (0, Vec::new());
        // The third one fails always.
        while lane.after.as_deref() != Some("5") {
            let from = all.iter().position(|one| Some(*one) == lane.after.as_deref()).map_or(0, |at| at + 1);
            let to = lane.parts.first().map_or(4, |part| all.iter().position(|one| *one == part.to).unwrap());
            let batch = &all[from..=to];
            calls += 1;
            if !batch.contains(&"3") {
                lane.done(batch[batch.len() - 1]);
            } else if let Next::GiveUp(tries) = lane.failed(batch, 0, patience(true, 1)) {
                given_up.push((batch.to_vec(), tries));
                lane.done(batch[batch.len() - 1]);
            }
        }
        assert_eq!(given_up, [(vec!["3"], 2)]);
        assert_eq!((calls, lane.parts.len()), (6, 0));
        // With the failures reported the batch is divided where they begin.
        let mut lane = Lane::new(1);
        assert_eq!(lane.failed(&all, 2, patience(true, 0)), Next::Again(Duration::ZERO));
        assert_eq!(
            (lane.after.as_deref(), &lane.parts[..]),
            (Some("2"), &[Part { to: "5".to_owned(), failures: 0 }][..])
        );
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        for (a, b, behind) in
            [("9", "10", false), ("10", "9", true), ("010", "9", true), ("9", "9", false), ("9", "009", false)]
        {
            assert_eq!(is_behind(a, b), behind, "{a} {b}");
        }
    }

    #[test]
    fn windows_are_of_the_clock() {
        let window = Window::of(Timestamp::from_millis(125_999), 60);
        assert_eq!((window.start.as_millis(), window.end().as_millis()), (120_000, 180_000));
    }
}
