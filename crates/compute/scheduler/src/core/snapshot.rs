//! What the scheduler shows of itself.

use std::{collections::BTreeMap, time::Duration};

use base_env::Moment;

use super::{Core, State};
use crate::limits::Throttle;

/// What happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Invocations that waited for a new environment.
    pub cold: u64,
    /// Invocations that got a used one.
    pub warm: u64,
    /// Environments started.
    pub started: u64,
    /// Environments that could not be started.
    pub start_failures: u64,
    /// Idle environments stopped to make room.
    pub evicted: u64,
    /// Idle environments stopped because nobody used them.
    pub expired: u64,
    /// Invocations refused, by cause.
    pub throttles: BTreeMap<Throttle, u64>,
}

impl Counters {
    pub(super) fn throttled(&mut self, throttle: Throttle) {
        *self.throttles.entry(throttle).or_default() += 1;
    }
}

/// The state of an environment as shown to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EnvironmentState {
    /// Being started.
    Starting,
    /// Ready and unused.
    Idle,
    /// Running an invocation.
    Busy,
    /// Running its last invocation: its version was changed or deleted.
    Draining,
    /// Being stopped.
    Stopping,
}

impl EnvironmentState {
    /// The state in one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// One environment.
#[derive(Clone, Debug)]
pub struct EnvironmentView {
    /// Its number in this process.
    pub id: u64,
    /// The function's ARN.
    pub function: String,
    /// The function's version.
    pub version: String,
    /// What it does.
    pub state: EnvironmentState,
    /// How long it has been doing so.
    pub in_state: Duration,
    /// Since its start was begun.
    pub age: Duration,
    /// How long its start took; zero while it is starting.
    pub start_cost: Duration,
    /// The configured memory, MiB.
    pub memory_mib: u32,
    /// Invocations it was given.
    pub uses: u64,
}

/// The scheduler at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// All environments.
    pub environments: Vec<EnvironmentView>,
    /// Starts decided, not begun.
    pub starts_queued: usize,
    /// Invocations that wait for an environment.
    pub waiters: usize,
    /// Invocations admitted and not finished.
    pub in_flight: u64,
    /// Memory promised to environments, MiB.
    pub memory_promised_mib: u64,
    /// The budget, MiB.
    pub memory_budget_mib: u64,
    /// What happened since the start.
    pub counters: Counters,
}

impl<S, E, W> Core<S, E, W> {
    /// The machine as it stands.
    pub(crate) fn snapshot(&self, now: Moment) -> Snapshot {
        let environments = self.environments.iter().filter_map(|(id, environment)| {
            let version = self.versions.get(environment.version)?;
            let state = match environment.state {
                State::Starting => EnvironmentState::Starting,
                State::Idle => EnvironmentState::Idle,
                State::Busy if version.retired || self.shutting_down => EnvironmentState::Draining,
                State::Busy => EnvironmentState::Busy,
                State::Stopping => EnvironmentState::Stopping,
            };
            Some(EnvironmentView {
                id: id.number(),
                function: version.spec.key.function.to_string(),
                version: version.spec.key.version.to_string(),
                state,
                in_state: now.since(environment.since),
                age: now.since(environment.begun),
                start_cost: environment.start_cost,
                memory_mib: environment.memory_mib,
                uses: environment.uses,
            })
        });
        Snapshot {
            environments: environments.collect(),
            starts_queued: self.versions.iter().map(|(_, version)| version.queued).sum(),
            waiters: self.waiters_total,
            in_flight: self.in_flight,
            memory_promised_mib: self.memory_promised,
            memory_budget_mib: self.limits.memory_budget_mib,
            counters: self.counters.clone(),
        }
    }
}
