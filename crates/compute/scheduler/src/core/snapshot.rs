//! What the scheduler shows of itself.

use std::{collections::BTreeMap, time::Duration};

use base_env::Moment;
use compute_api::{ColdReason, IsolationLevel, Origin, Start};

use super::{Core, Environment, Provisioned, State, Version};
use crate::limits::Throttle;

/// What happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Invocations that waited for a new environment.
    pub cold: u64,
    /// The same, by why there was none for them.
    pub cold_reasons: BTreeMap<ColdReason, u64>,
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

    pub(super) fn start(&mut self, start: Start) {
        match start {
            Start::Warm => self.warm += 1,
            Start::Cold(reason) => {
                self.cold += 1;
                *self.cold_reasons.entry(reason).or_default() += 1;
            }
        }
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
    /// Its invocation was answered; its extensions are still at work on it.
    Settling,
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
            Self::Settling => "settling",
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
    /// Its memory when last measured, bytes; zero when the host cannot measure it, or has not yet.
    pub memory_bytes: u64,
    /// Its peak when last measured, bytes; zero likewise.
    pub memory_bytes_max: u64,
    /// What it counts with against the budget, bytes.
    pub charge_bytes: u64,
    /// How long its invocations ran, the current one not included.
    pub ran: Duration,
    /// The processor time they took; zero when the host cannot measure it.
    pub cpu: Duration,
    /// Invocations it was given.
    pub uses: u64,
    /// Whether it is kept ready for provisioned concurrency.
    pub provisioned: bool,
    /// What its process was made from; none while it is starting.
    pub origin: Option<Origin>,
    /// How much isolation it has; none while it is starting.
    pub isolation: Option<IsolationLevel>,
    /// Whether its processes are frozen; none when that is not known.
    pub frozen: Option<bool>,
}

impl EnvironmentView {
    /// Processors used while invocations ran: 0.5 is half of one.
    #[must_use]
    pub fn cpu_share(&self) -> f64 {
        if self.ran.is_zero() { 0.0 } else { self.cpu.as_secs_f64() / self.ran.as_secs_f64() }
    }
}

/// One version that has environments, or is to have some.
#[derive(Clone, Debug)]
pub struct VersionView {
    /// The function's ARN.
    pub function: String,
    /// The function's version.
    pub version: String,
    /// Its environments, stopping ones excepted.
    pub environments: usize,
    /// Those of them that are idle.
    pub idle: usize,
    /// Invocations that run, or wait for their environment.
    pub in_flight: u32,
    /// Invocations that wait for their environment.
    pub waiting: usize,
    /// Invocations that waited for a new environment, since this version was met.
    pub cold: u64,
    /// Those that got a used one.
    pub warm: u64,
    /// Those that were refused.
    pub throttled: u64,
    /// Its provisioned concurrency, if there is one.
    pub provisioned: Option<Provisioned>,
    /// How long its environments are kept idle.
    pub kept: Duration,
    /// What a running environment of it counts with, bytes.
    pub expected_bytes: u64,
}

/// The scheduler at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// All environments.
    pub environments: Vec<EnvironmentView>,
    /// The versions that have some, or are to have some.
    pub versions: Vec<VersionView>,
    /// Starts decided, not begun.
    pub starts_queued: usize,
    /// Invocations that wait for an environment.
    pub waiters: usize,
    /// Invocations admitted and not finished.
    pub in_flight: u64,
    /// What all environments count with, MiB, rounded up.
    pub memory_promised_mib: u64,
    /// The budget, MiB.
    pub memory_budget_mib: u64,
    /// The budget, or less when the host has less, MiB.
    pub memory_ceiling_mib: u64,
    /// What happened since the start.
    pub counters: Counters,
}

impl<S, E, W> Core<S, E, W> {
    /// The machine as it stands. `frozen` asks an idle environment.
    pub(crate) fn snapshot(&self, now: Moment, frozen: impl Fn(&E) -> Option<bool>) -> Snapshot {
        let environments = self.environments.iter().filter_map(|(id, environment)| {
            let version = self.versions.get(environment.version)?;
            let frozen = environment.handle.as_ref().and_then(&frozen);
            Some(view(id.number(), environment, version, self.shutting_down, now, frozen))
        });
        let versions = self.versions.iter().map(|(_, version)| VersionView {
            function: version.spec.key.function.to_string(),
            version: version.spec.key.version.to_string(),
            environments: version.living,
            idle: version.idle.len() + version.ready.len(),
            in_flight: version.in_flight,
            waiting: version.waiters.len(),
            cold: version.cold,
            warm: version.warm,
            throttled: version.throttled,
            provisioned: version.provisioned(),
            kept: self.keep_alive.idle_time(&version.past.idle),
            expected_bytes: version.expected,
        });
        let queued = |version: &Version<S, E, W>| version.queued + version.provision.as_ref().map_or(0, |p| p.queued);
        Snapshot {
            environments: environments.collect(),
            versions: versions.collect(),
            starts_queued: self.versions.iter().map(|(_, version)| queued(version)).sum(),
            waiters: self.waiters_total,
            in_flight: self.in_flight,
            memory_promised_mib: self.memory.sum.promised.div_ceil(1 << 20),
            memory_budget_mib: self.limits.memory_budget_mib,
            memory_ceiling_mib: self.memory.ceiling >> 20,
            counters: self.counters.clone(),
        }
    }
}

fn view<S, E, W>(
    id: u64,
    environment: &Environment<S, E, W>,
    version: &Version<S, E, W>,
    shutting_down: bool,
    now: Moment,
    frozen: Option<bool>,
) -> EnvironmentView {
    EnvironmentView {
        id,
        function: version.spec.key.function.to_string(),
        version: version.spec.key.version.to_string(),
        state: match environment.state {
            State::Starting => EnvironmentState::Starting,
            State::Idle => EnvironmentState::Idle,
            State::Busy if version.retired || shutting_down => EnvironmentState::Draining,
            State::Busy if environment.settling => EnvironmentState::Settling,
            State::Busy => EnvironmentState::Busy,
            State::Stopping => EnvironmentState::Stopping,
        },
        in_state: now.since(environment.since),
        age: now.since(environment.begun),
        start_cost: environment.start_cost,
        memory_mib: version.spec.memory_mib,
        memory_bytes: environment.measured,
        memory_bytes_max: environment.peak,
        charge_bytes: environment.charge,
        ran: environment.ran,
        cpu: environment.cpu,
        uses: environment.uses,
        provisioned: environment.provisioned,
        origin: environment.made.map(|made| made.origin),
        isolation: environment.made.map(|made| made.isolation),
        frozen,
    }
}
