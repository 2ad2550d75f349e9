//! How long an idle environment is kept, and which one goes first when memory is short.
//!
//! Pure: facts in, decision out. Two independent choices, compared by simulation in `docs/keep-alive.md`:
//!
//! - [`Expiry`], how long one is kept although nobody needs its memory. The histogram policy follows Shahrad et al.,
//!   "Serverless in the Wild" (USENIX ATC 2020): what a function's idle times were says what the next will be. Its
//!   pre-warming is left out: a timer's function is kept from one tick to the next, or not at all.
//! - [`Victims`], which one goes when its memory is needed. Greedy-dual follows Fuerst and Sharma, "FaasCache" (ASPLOS
//!   2021): an environment is worth `clock + frequency × cost / size`, where the clock is the worth of the last victim, so
//!   what is not used ages. Clock and frequency are here each environment's own: one that was started for the height of a
//!   burst is used rarely from then on, however often its function is called, so who has many idle ones loses those first.

mod histogram;

use std::time::Duration;

use base_env::Moment;
pub(crate) use histogram::{Histogram, RANGE_MAX};

/// Observations below which a histogram says nothing.
const OBSERVATIONS_MIN: u32 = 10;
/// The share of idle times that is to be covered, in thousandths. The paper covers 990; here environments are told apart,
/// not applications, and a hundredth of a busy function's invocations would be most of all cold starts.
const COVERED: u32 = 999;
/// The percentile is kept for a tenth longer (the paper's margin).
const MARGIN_TENTHS: u32 = 11;
/// No histogram makes an environment go earlier: starting one costs more than the memory of a minute.
const KEPT_MIN: Duration = Duration::from_secs(60);
/// How fast the frequency of use fades.
const FREQUENCY_HALF_LIFE: Duration = Duration::from_secs(3600);

/// The policy; see [`crate::Limits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) expiry: Expiry,
    pub(crate) victims: Victims,
    pub(crate) idle_max: Duration,
    pub(crate) age_max: Duration,
}

/// How long an idle environment is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// For [`crate::Limits::idle_max`].
    Fixed,
    /// For as long as this version's idle times suggest.
    Histogram,
    /// Until its memory is needed, or it is too old.
    Never,
}

/// Which idle environment goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// The one that was idle longest.
    Oldest,
    /// The one that is worth least.
    GreedyDual,
}

impl KeepAlive {
    /// How long an idle environment is kept, given its version's past.
    pub(crate) fn idle_time(&self, past: &Histogram) -> Duration {
        match self.expiry {
            Expiry::Fixed => self.idle_max,
            Expiry::Never => self.age_max,
            Expiry::Histogram if past.total() < OBSERVATIONS_MIN || !past.is_within_range() => self.idle_max,
            Expiry::Histogram => past
                .percentile(COVERED)
                .map_or(self.idle_max, |covered| (covered / 10 * MARGIN_TENTHS).clamp(KEPT_MIN, RANGE_MAX)),
        }
    }

    /// What it is worth to keep an idle environment; the least goes first.
    pub(crate) fn worth(&self, facts: &IdleFacts) -> Worth {
        let value = match self.victims {
            Victims::Oldest => facts.idle_since.since(Moment::default()).as_secs_f64(),
            Victims::GreedyDual => {
                let mebibytes = (facts.memory_bytes as f64 / f64::from(1 << 20)).max(1.0);
                facts.clock + facts.frequency * facts.start_cost.as_secs_f64() / mebibytes
            }
        };
        Worth::new(value)
    }
}

/// What is known of an idle environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleFacts {
    /// Since when it has been idle.
    pub(crate) idle_since: Moment,
    /// The policy's clock when it became idle.
    pub(crate) clock: f64,
    /// What it holds.
    pub(crate) memory_bytes: u64,
    /// How often it was used lately.
    pub(crate) frequency: f64,
    /// What starting another one would cost.
    pub(crate) start_cost: Duration,
}

/// A worth as a key: never negative, never not-a-number, ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Worth(u64);

impl Worth {
    fn new(value: f64) -> Self {
        // The bits of floats that are not negative are ordered as they are.
        Self(value.max(0.0).to_bits())
    }

    pub(crate) fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A count that fades: by half in [`FREQUENCY_HALF_LIFE`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frequency {
    count: f64,
    at: Moment,
}

impl Frequency {
    /// One more, now.
    pub(crate) fn count(&mut self, now: Moment) {
        let passed = now.since(self.at);
        // What is counted within a second fades as one: an exponential for each would cost more than it says.
        if passed >= Duration::from_secs(1) {
            self.count *= (-(passed.as_secs_f64() / FREQUENCY_HALF_LIFE.as_secs_f64())).exp2();
            self.at = now;
        }
        self.count += 1.0;
    }

    /// A part of it, for one of so many that share it.
    pub(crate) fn shared_by(self, count: usize) -> Self {
        Self { count: self.count / count.max(1) as f64, ..self }
    }

    /// What it was at its last count.
    pub(crate) fn value(&self) -> f64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> KeepAlive {
        KeepAlive {
            expiry: Expiry::Histogram,
            victims: Victims::GreedyDual,
            idle_max: Duration::from_secs(600),
            age_max: Duration::from_secs(6 * 3600),
        }
    }

    #[test]
    fn idle_times_decide_how_long_an_environment_is_kept() {
        let policy = policy();
        let observed = |seconds: u64, times: usize| {
            let mut past = Histogram::default();
            (0..times).for_each(|_| past.record(Duration::from_secs(seconds)));
            policy.idle_time(&past).as_secs()
        };
        assert_eq!(observed(0, 0), 600, "nothing is known");
        assert_eq!(observed(7200, 9), 600, "too little is known");
        assert_eq!(observed(1, 1000), 60, "used every second: a minute is enough");
        assert!((1800..=2500).contains(&observed(1800, 20)), "used every half an hour");
        assert_eq!(observed(100_000, 20), 600, "too rarely for any keeping");
        assert_eq!(KeepAlive { expiry: Expiry::Fixed, ..policy }.idle_time(&Histogram::default()).as_secs(), 600);
    }

    #[test]
    fn what_is_used_often_costs_much_and_is_small_is_worth_keeping() {
        let facts = IdleFacts {
            idle_since: Moment::default(),
            clock: 0.0,
            memory_bytes: 64 << 20,
            frequency: 4.0,
            start_cost: Duration::from_millis(100),
        };
        let policy = policy();
        let worth = |facts: IdleFacts| policy.worth(&facts);
        for better in [
            IdleFacts { frequency: 5.0, ..facts },
            IdleFacts { start_cost: Duration::from_millis(200), ..facts },
            IdleFacts { memory_bytes: 32 << 20, ..facts },
            IdleFacts { clock: 0.1, ..facts },
        ] {
            assert!(worth(better) > worth(facts), "{better:?}");
        }
        let oldest = KeepAlive { victims: Victims::Oldest, ..policy };
        let later = IdleFacts { idle_since: Moment::default() + Duration::from_secs(1), ..facts };
        assert!(oldest.worth(&later) > oldest.worth(&facts));
    }

    #[test]
    fn a_frequency_fades_by_half_in_an_hour() {
        let start = Moment::default() + Duration::from_secs(1);
        let mut frequency = Frequency::default();
        (0..8).for_each(|_| frequency.count(start));
        frequency.count(start + FREQUENCY_HALF_LIFE);
        assert!((frequency.value() - 5.0).abs() < 1e-9);
    }
}
