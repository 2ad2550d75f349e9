//! What environments count with against the memory budget, and who makes room.
//!
//! AWS promises every environment its configured memory. On one machine that would waste nearly all of it: an idle Python
//! environment configured with 128 MiB holds a few. So an environment counts
//!
//! - **idle**, with what it was measured to hold (a frozen process does not grow), or before that as if it ran;
//! - **starting or running**, with what its version is expected to need: the highest peak seen, which fades slowly, a
//!   quarter and 4 MiB more; a quarter of the configured memory, 32 MiB at least, while nothing has been seen; all of it
//!   where the host cannot measure. Never more than configured, where the sandbox's own limit stops it;
//! - **provisioned**, as if it ran, always: it must be able to run at any moment;
//! - **stopping**, with what it had, until it is gone.
//!
//! Why this does not end in the host's out-of-memory killer: (1) the sum never exceeds the *ceiling* when something is
//! admitted; what grows beyond its expectation lowers nobody's place but evicts idle environments and keeps new ones out;
//! (2) the configured memory of everything that runs is at most `memory_overcommit` times the budget; (3) the ceiling
//! follows the host: it is what functions hold plus what the host has left above a floor, so memory that others take, and
//! growth that was not foreseen, closes the door and evicts before it hurts; (4) the budget leaves a part of the machine
//! to everybody else. With `memory_overcommit` 1 the configured memory of running functions never exceeds the budget.
//!
//! Admission never waits for memory that something running holds: it evicts what is idle, or refuses at once. One function
//! gets on demand at most [`FAIR_SHARE`] times what is left for the others, so `n` functions that take all they can leave
//! a `1 / (4 n + 1)`th of the budget to the next; the first environment of a function is exempt.
//!
//! Victims are found in logarithmic time: `Core::victims` orders versions by a lower bound of what their next victim is
//! worth. Use only raises that worth, so a warm invocation leaves the order alone; the bound is corrected when it is met.

use base_env::Moment;
use compute_api::ColdReason;

use super::{Actions, Core, Environment, EnvironmentId, State, VersionId};
use crate::keep_alive::{IdleFacts, Worth};

/// What a function may have running on demand, in shares of what is then left for others.
const FAIR_SHARE: u64 = 4;
/// The least that an environment counts with where the host can measure: its processes' kernel memory.
const CHARGE_BYTES_MIN: u64 = 256 << 10;
/// Bounds corrected in the search for one victim; then the best known goes.
const CORRECTIONS_MAX: usize = 64;

/// The sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Queued, starting, idle and busy environments.
    pub(super) promised: u64,
    /// Starting, idle, busy and stopping ones.
    pub(super) held: u64,
    /// The part of both that eviction could free: idle ones, provisioned ones excepted.
    pub(super) evictable: u64,
    /// The part of `held` that is about to be free.
    pub(super) stopping: u64,
    /// The configured memory of queued, starting and busy ones.
    pub(super) configured: u64,
}

impl Share {
    /// `count` environments whose start is decided.
    pub(super) fn queued(count: usize, expected: u64, configured: u64) -> Self {
        let count = count as u64;
        Self { promised: count * expected, configured: count * configured, ..Self::default() }
    }

    fn replace(&mut self, before: Self, after: Self) {
        let swap = |sum: &mut u64, before: u64, after: u64| *sum = *sum + after - before;
        swap(&mut self.promised, before.promised, after.promised);
        swap(&mut self.held, before.held, after.held);
        swap(&mut self.evictable, before.evictable, after.evictable);
        swap(&mut self.stopping, before.stopping, after.stopping);
        swap(&mut self.configured, before.configured, after.configured);
    }
}

pub(super) struct Memory {
    pub(super) budget: u64,
    /// The budget, or less when the host has less.
    pub(super) ceiling: u64,
    pub(super) sum: Share,
    /// What environments were last seen to have.
    pub(super) resident: u64,
}

impl Memory {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, ceiling: budget, sum: Share::default(), resident: 0 }
    }

    pub(super) fn held(&self) -> u64 {
        self.sum.held
    }

    pub(super) fn replace(&mut self, before: Share, after: Share) {
        self.sum.replace(before, after);
    }
}

impl<S, E, W> Environment<S, E, W> {
    pub(super) fn share(&self, configured: u64) -> Share {
        let charge = self.charge;
        match self.state {
            State::Starting | State::Busy => Share { promised: charge, held: charge, configured, ..Share::default() },
            State::Idle => Share {
                promised: charge,
                held: charge,
                evictable: if self.provisioned { 0 } else { charge },
                ..Share::default()
            },
            State::Stopping => Share { held: charge, stopping: charge, ..Share::default() },
        }
    }

    /// What it takes of its function's fair share.
    pub(super) fn running_bytes(&self) -> u64 {
        match self.state {
            State::Starting | State::Busy if !self.provisioned => self.charge,
            State::Starting | State::Busy | State::Idle | State::Stopping => 0,
        }
    }
}

impl<S, E, W> Core<S, E, W> {
    /// What the host could still give to anybody, in bytes; none when it cannot tell.
    pub(crate) fn set_available(&mut self, now: Moment, available: Option<u64>, actions: &mut Actions<S, E, W>) {
        let floor = self.limits.memory_floor_mib << 20;
        let host = available.map(|bytes| self.memory.resident.saturating_add(bytes).saturating_sub(floor));
        self.memory.ceiling = host.map_or(self.memory.budget, |host| host.min(self.memory.budget));
        self.make_room(now, actions);
    }

    /// Whether `need` bytes can be had for a version's environment, if need be at the cost of idle ones.
    pub(super) fn has_room(&self, id: VersionId<S, E, W>, need: u64) -> bool {
        let (Some(version), memory) = (self.versions.get(id), &self.memory) else { return false };
        let running = memory.sum.promised - memory.sum.evictable + need;
        let configured = memory.sum.configured + version.spec.configured_bytes();
        let overcommit = u64::from(self.limits.memory_overcommit.max(1));
        if running > memory.ceiling || configured > memory.budget.saturating_mul(overcommit) {
            return false;
        }
        let own = self.functions.get(version.function).map_or(0, |function| function.running_bytes);
        own == 0 || own + need <= FAIR_SHARE.saturating_mul(memory.ceiling - running)
    }

    /// Evicts until what is promised fits, or nothing can be evicted.
    pub(super) fn make_room(&mut self, now: Moment, actions: &mut Actions<S, E, W>) {
        while self.memory.sum.promised > self.memory.ceiling && self.evict(now, actions) {}
    }

    /// Stops the idle environment that is worth least. False when there is none.
    fn evict(&mut self, now: Moment, actions: &mut Actions<S, E, W>) -> bool {
        let mut corrections = 0;
        while let Some(&(bound, id)) = self.victims.first() {
            let worth = self.worth(id);
            let front = self.versions.get(id).and_then(|version| version.idle.front().copied());
            let (Some(worth), Some(victim)) = (worth, front) else {
                self.set_indexed(id, None);
                continue;
            };
            if worth > bound && corrections < CORRECTIONS_MAX {
                corrections += 1;
                self.set_indexed(id, Some(worth));
                continue;
            }
            self.clock = self.clock.max(worth.value());
            self.counters.evicted += 1;
            self.stop(now, victim, Some(ColdReason::Evicted), actions);
            let left = self.worth(id);
            self.set_indexed(id, left);
            return true;
        }
        false
    }

    /// What the version's next victim is worth; none when it has none.
    fn worth(&self, id: VersionId<S, E, W>) -> Option<Worth> {
        let version = self.versions.get(id)?;
        let front = self.environments.get(*version.idle.front()?)?;
        Some(self.keep_alive.worth(&IdleFacts {
            idle_since: front.since,
            clock: front.clock,
            memory_bytes: front.charge,
            frequency: front.frequency.value(),
            start_cost: version.past.start_cost,
        }))
    }

    /// An environment of the version became idle: its place among the victims, if that came nearer.
    pub(super) fn index(&mut self, id: VersionId<S, E, W>) {
        let Some(worth) = self.worth(id) else { return };
        if self.versions.get(id).is_some_and(|version| version.indexed.is_none_or(|bound| worth < bound)) {
            self.set_indexed(id, Some(worth));
        }
    }

    fn set_indexed(&mut self, id: VersionId<S, E, W>, worth: Option<Worth>) {
        let Some(version) = self.versions.get_mut(id) else { return };
        if let Some(before) = std::mem::replace(&mut version.indexed, worth) {
            self.victims.remove(&(before, id));
        }
        if let Some(worth) = worth {
            self.victims.insert((worth, id));
        }
    }

    /// Moves an environment into a state in which it counts with `charge`.
    pub(super) fn transition(&mut self, now: Moment, id: EnvironmentId<S, E, W>, state: State, charge: u64) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let Some(version) = self.versions.get(environment.version) else { return };
        let configured = version.spec.configured_bytes();
        let (before, ran) = (environment.share(configured), environment.running_bytes());
        (environment.state, environment.charge, environment.since) = (state, charge, now);
        self.memory.replace(before, environment.share(configured));
        if let Some(function) = self.functions.get_mut(version.function) {
            function.running_bytes = function.running_bytes + environment.running_bytes() - ran;
        }
    }

    /// An environment's memory was measured; zero when it cannot be.
    pub(super) fn measured(&mut self, id: EnvironmentId<S, E, W>, bytes: u64) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        self.memory.resident = self.memory.resident + bytes - environment.measured;
        environment.measured = bytes;
    }

    /// What an environment counts with when it is idle.
    pub(super) fn idle_charge(&self, id: EnvironmentId<S, E, W>) -> u64 {
        let Some(environment) = self.environments.get(id) else { return 0 };
        let Some(version) = self.versions.get(environment.version) else { return 0 };
        let configured = version.spec.configured_bytes();
        let measured = match environment.measured {
            // Not measured yet, or never: what is expected knows which.
            0 => version.expected,
            bytes => bytes.max(CHARGE_BYTES_MIN),
        };
        if environment.provisioned { measured.max(version.expected) } else { measured }.min(configured)
    }

    /// What it counts with while it runs.
    pub(super) fn running_charge(&self, id: EnvironmentId<S, E, W>) -> u64 {
        let Some(environment) = self.environments.get(id) else { return 0 };
        let Some(version) = self.versions.get(environment.version) else { return 0 };
        version.expected.max(environment.measured.min(version.spec.configured_bytes()))
    }

    /// What a version is expected to need has changed: its queued starts count anew.
    pub(super) fn expect(&mut self, id: VersionId<S, E, W>) {
        let Some(version) = self.versions.get_mut(id) else { return };
        let configured = version.spec.configured_bytes();
        let expected = version.past.expected_bytes(configured);
        let before = std::mem::replace(&mut version.expected, expected);
        if before == expected {
            return;
        }
        let all = version.queued + version.provision.as_ref().map_or(0, |provision| provision.queued);
        let queued = version.queued as u64;
        self.memory.replace(Share::queued(all, before, configured), Share::queued(all, expected, configured));
        if let Some(function) = self.functions.get_mut(version.function) {
            function.running_bytes = function.running_bytes + queued * expected - queued * before;
        }
    }

    /// Changes how many on-demand starts of a version are queued.
    pub(super) fn set_queued(&mut self, id: VersionId<S, E, W>, queued: usize) {
        let Some(version) = self.versions.get_mut(id) else { return };
        let (expected, configured) = (version.expected, version.spec.configured_bytes());
        let before = std::mem::replace(&mut version.queued, queued);
        self.memory.replace(Share::queued(before, expected, configured), Share::queued(queued, expected, configured));
        if let Some(function) = self.functions.get_mut(version.function) {
            function.running_bytes = function.running_bytes + queued as u64 * expected - before as u64 * expected;
        }
    }
}
