//! What is remembered of a version when it has no environments: how long it used to be idle, how often it was used, what
//! it needed, and what became of its last environment. Bounded: the versions that were not used for longest are forgotten.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use base_env::Moment;
use compute_api::ColdReason;

use super::{Core, FunctionId, VersionKey};
use crate::keep_alive::{Frequency, Histogram};

/// What is counted for an environment of which nothing has been measured yet: a quarter of the configured memory, but at
/// least this (what an interpreter and a small handler need), and never more than configured.
const UNMEASURED_BYTES_MIN: u64 = 32 << 20;
/// Added to what was measured: a quarter, and this.
const SLACK_BYTES: u64 = 4 << 20;

#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// The code and configuration that it is about.
    pub(super) revision: Option<Arc<str>>,
    /// How long environments were idle before they were used, and how long none was there.
    pub(super) idle: Histogram,
    pub(super) frequency: Frequency,
    /// Since when nothing runs.
    pub(super) quiet_since: Option<Moment>,
    /// What became of its last environment.
    pub(super) gone: Option<ColdReason>,
    pub(super) need: Need,
    /// What a start takes.
    pub(super) start_cost: Duration,
}

/// What an environment was seen to need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Need {
    /// None has run yet.
    #[default]
    Unknown,
    /// The host cannot measure it.
    Unmeasurable,
    /// The highest peak; it fades slowly.
    Peak(u64),
}

impl Past {
    /// What a running environment counts with.
    pub(super) fn expected_bytes(&self, configured: u64) -> u64 {
        let expected = match self.need {
            Need::Unknown => (configured / 4).max(UNMEASURED_BYTES_MIN),
            Need::Unmeasurable => configured,
            Need::Peak(peak) => peak.saturating_add(peak / 4).saturating_add(SLACK_BYTES),
        };
        expected.min(configured)
    }

    /// An environment ran and had this peak.
    pub(super) fn peaked(&mut self, bytes: u64) {
        self.need = match (self.need, bytes) {
            // An invocation that was lost says nothing about one that was measured.
            (Need::Peak(before), 0) => Need::Peak(before),
            (Need::Unknown | Need::Unmeasurable, 0) => Need::Unmeasurable,
            (Need::Peak(before), bytes) => Need::Peak(bytes.max(before - before / 64)),
            (Need::Unknown | Need::Unmeasurable, bytes) => Need::Peak(bytes),
        };
    }

    /// A start took this long. The average of about the last four.
    pub(super) fn started_in(&mut self, cost: Duration) {
        self.start_cost = if self.start_cost.is_zero() { cost } else { (self.start_cost * 3 + cost) / 4 };
    }

    /// One more use. `idle` is how long the environment, or (when there was none) the version, had been idle.
    pub(super) fn used(&mut self, now: Moment, idle: Option<Duration>) {
        self.frequency.count(now);
        if let Some(idle) = idle {
            self.idle.record(idle);
        }
    }

    pub(super) fn is_worth_remembering(&self) -> bool {
        self.gone.is_some() || self.idle.total() > 0
    }
}

/// The pasts of versions without environments.
pub(super) struct Remembered {
    max: usize,
    next: u64,
    pasts: HashMap<Name, (u64, Box<Past>)>,
    /// By age.
    order: BTreeMap<u64, Name>,
}

/// A function and its version, whatever code that had.
type Name = (Arc<str>, Arc<str>);

impl Remembered {
    pub(super) fn new(max: usize) -> Self {
        Self { max, next: 0, pasts: HashMap::new(), order: BTreeMap::new() }
    }

    pub(super) fn put(&mut self, key: &VersionKey, past: Box<Past>) {
        let name = (key.function.clone(), key.version.clone());
        let stamp = self.next;
        self.next += 1;
        if let Some((before, _)) = self.pasts.insert(name.clone(), (stamp, past)) {
            self.order.remove(&before);
        }
        self.order.insert(stamp, name);
        while self.order.len() > self.max {
            if let Some((_, oldest)) = self.order.pop_first() {
                self.pasts.remove(&oldest);
            }
        }
    }

    fn take(&mut self, key: &VersionKey) -> Option<Past> {
        let (stamp, past) = self.pasts.remove(&(key.function.clone(), key.version.clone()))?;
        self.order.remove(&stamp);
        Some(*past)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.order.len(), self.pasts.len());
        self.pasts.len()
    }
}

impl<S, E, W> Core<S, E, W> {
    /// What is known of a version that appears: its own past, or (of changed code) the habits of the one before it.
    pub(super) fn past_of(&mut self, function: FunctionId<S, E, W>, key: &VersionKey) -> Past {
        let mut past = self.remembered.take(key).unwrap_or_else(|| {
            let others = self.functions.get(function).map(|function| &function.versions[..]).unwrap_or_default();
            let same = others
                .iter()
                .filter_map(|&id| self.versions.get(id))
                .find(|version| version.spec.key.version == key.version);
            same.map(|version| (*version.past).clone()).unwrap_or_default()
        });
        if past.revision.as_ref() != Some(&key.revision) {
            past.revision = Some(key.revision.clone());
            past.gone = None;
            past.need = Need::Unknown;
        }
        past
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_expected_is_never_more_than_configured() {
        let expected = |need, configured: u64| Past { need, ..Past::default() }.expected_bytes(configured * MIB) / MIB;
        assert_eq!(expected(Need::Unknown, 128), 32);
        assert_eq!(expected(Need::Unknown, 1024), 256);
        assert_eq!(expected(Need::Unknown, 16), 16);
        assert_eq!(expected(Need::Unmeasurable, 128), 128);
        assert_eq!(expected(Need::Peak(16 * MIB), 128), 24);
        assert_eq!(expected(Need::Peak(120 * MIB), 128), 128);
        assert_eq!(expected(Need::Peak(u64::MAX), 128), 128);
    }

    #[test]
    fn a_peak_is_raised_at_once_and_fades_slowly() {
        let mut past = Past::default();
        let mut seen = |bytes| {
            past.peaked(bytes);
            past.need
        };
        assert_eq!(seen(0), Need::Unmeasurable);
        assert_eq!(seen(64 * MIB), Need::Peak(64 * MIB));
        assert_eq!(seen(0), Need::Peak(64 * MIB), "one that was lost says nothing");
        assert_eq!(seen(MIB), Need::Peak(63 * MIB));
        assert_eq!(seen(100 * MIB), Need::Peak(100 * MIB));
    }

    #[test]
    fn only_so_many_pasts_are_remembered_and_the_oldest_goes() {
        let mut remembered = Remembered::new(2);
        let key = |name: &str| VersionKey { function: name.into(), version: "1".into(), revision: "r".into() };
        for name in ["a", "b", "a", "c"] {
            remembered.put(&key(name), Box::default());
        }
        assert_eq!(remembered.len(), 2);
        assert!(remembered.take(&key("b")).is_none());
        assert!(remembered.take(&key("a")).is_some() && remembered.take(&key("c")).is_some());
    }
}
