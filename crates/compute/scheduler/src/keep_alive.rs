//! How long an idle environment is kept, and which one goes first when memory is short.
//!
//! Pure: facts in, decision out. This is the one place to change for another policy (a histogram of idle times per
//! function, greedy-dual eviction): the scheduler only asks [`KeepAlive::expires`] and [`KeepAlive::worth`].

use std::time::Duration;

use base_env::Moment;

/// What is known of an idle environment.
#[derive(Clone, Copy, Debug)]
pub struct IdleFacts {
    /// Since when it has been idle.
    pub idle_since: Moment,
    /// When its start was begun.
    pub begun: Moment,
    /// What it holds.
    pub memory_mib: u32,
    /// How often it was used.
    pub uses: u64,
    /// What starting another one like it would cost.
    pub start_cost: Duration,
}

/// The policy: a bounded idle time; the one that was idle longest goes first.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// After this time without an invocation an environment is stopped.
    pub idle_max: Duration,
    /// After this time since its start it is not used any more.
    pub age_max: Duration,
}

impl KeepAlive {
    /// When the environment is to be stopped if nobody uses it before.
    #[must_use]
    pub fn expires(&self, facts: &IdleFacts) -> Moment {
        (facts.idle_since + self.idle_max).min(facts.begun + self.age_max)
    }

    /// What it is worth to keep the environment: under memory pressure the least goes first.
    #[must_use]
    pub fn worth(&self, facts: &IdleFacts) -> Moment {
        facts.idle_since
    }
}
