//! The scheduler's decisions as a pure state machine: an event goes in, actions come out; the caller performs them.
//!
//! No clock, no tasks, no IO: every event carries its time. What the machine holds of the outside world is opaque: `S` is
//! what an environment is started from, `E` a handle of a started one, `W` the place where a waiting caller listens.
//!
//! An environment's life: `Starting → Idle ⇄ Busy → Stopping`, then it is gone. An environment whose start is decided but
//! not begun is only a number (`Version::queued`).
//!
//! Invariants (checked after every step of the property test by `Core::check`):
//! - an account's invocations never exceed its limit, a function's never its reservation at the time of admission;
//! - promised memory never exceeds the budget, and an environment is begun only when what is really held leaves room;
//! - per version, there are at most as many waiters as environments queued or starting: nobody waits for nothing;
//! - an idle environment and a waiter of the same version never exist together;
//! - a version, function or pool that nothing refers to any more is forgotten.

mod admission;
mod lifecycle;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use base_env::Moment;
use base_types::{AccountId, Region};
use compute_api::{ColdReason, Start};
pub use snapshot::{Counters, EnvironmentState, EnvironmentView, Snapshot};

use crate::{
    keep_alive::{IdleFacts, KeepAlive},
    limits::{Limits, Throttle},
    slots::{Id, Slots},
};

/// Names one state of one function version's code and configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VersionKey {
    /// The function's unqualified ARN.
    pub function: Arc<str>,
    /// `$LATEST` or a number.
    pub version: Arc<str>,
    /// Changes whenever code or configuration changes, so that an environment of yesterday's code is never met again.
    pub revision: Arc<str>,
}

/// A function version as the scheduler sees it.
#[derive(Clone, Debug)]
pub struct FunctionVersion<S> {
    /// Its identity.
    pub key: VersionKey,
    /// Whose concurrency it uses.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// The configured memory, MiB.
    pub memory_mib: u32,
    /// What the host starts an environment from.
    pub spec: S,
}

pub(crate) type EnvironmentId<S, E, W> = Id<Environment<S, E, W>>;
type VersionId<S, E, W> = Id<Version<S, E, W>>;
type FunctionId<S, E, W> = Id<Function<S, E, W>>;
type PoolKey = (AccountId, Region);

/// Names a waiting caller, so that it can be withdrawn.
pub(crate) struct WaiterId<S, E, W> {
    version: VersionId<S, E, W>,
    sequence: u64,
}

impl<S, E, W> Clone for WaiterId<S, E, W> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S, E, W> Copy for WaiterId<S, E, W> {}

/// The answer to a request for an environment.
pub(crate) enum Admission<S, E, W> {
    /// An idle environment: it is busy now.
    Run(EnvironmentId<S, E, W>, E),
    /// None is free; one is being started. An [`Action::Grant`] will follow, or a failed start.
    Wait(WaiterId<S, E, W>),
    /// Not now.
    Throttled(Throttle),
    /// Never: the function needs more memory than the whole budget.
    TooLarge,
    /// The scheduler is shutting down.
    ShuttingDown,
}

/// What the caller must do after a step.
pub(crate) enum Action<S, E, W> {
    /// Begin to start an environment; report by `started` or `start_failed`.
    Start { environment: EnvironmentId<S, E, W>, version: Arc<FunctionVersion<S>> },
    /// Hand a busy environment to a waiter.
    Grant { waiter: W, environment: EnvironmentId<S, E, W>, handle: E, start: Start },
    /// Stop an environment; report by `stopped`.
    Stop { environment: EnvironmentId<S, E, W>, handle: E },
    /// `Core::tick` is due earlier than was said.
    Tick,
}

/// The actions of one step.
pub(crate) type Actions<S, E, W> = Vec<Action<S, E, W>>;

/// The state machine.
pub(crate) struct Core<S, E, W> {
    limits: Limits,
    keep_alive: KeepAlive,
    pools: HashMap<PoolKey, Pool>,
    functions: Slots<Function<S, E, W>>,
    function_by_key: HashMap<Arc<str>, FunctionId<S, E, W>>,
    versions: Slots<Version<S, E, W>>,
    version_by_key: HashMap<VersionKey, VersionId<S, E, W>>,
    environments: Slots<Environment<S, E, W>>,
    /// Versions with queued starts, in turn: a burst of one function does not hold up the others.
    turns: VecDeque<VersionId<S, E, W>>,
    /// Starts that count against `starts_concurrent`, oldest first, and when each stops counting.
    start_slots: VecDeque<(EnvironmentId<S, E, W>, Moment)>,
    /// Promised: queued, starting, idle and busy environments.
    memory_promised: u64,
    /// In use: starting, idle, busy and stopping environments.
    memory_held: u64,
    /// The part of both that idle environments have: what eviction could free.
    memory_idle: u64,
    waiters_total: usize,
    waiter_next: u64,
    in_flight: u64,
    next_tick: Option<Moment>,
    shutting_down: bool,
    counters: Counters,
}

/// The concurrency of one account in one region.
struct Pool {
    /// Invocations of functions without a reservation.
    unreserved: u32,
    /// All invocations.
    in_flight: u32,
    /// The sum of all reservations.
    reserved: u64,
    /// Functions that refer to this pool.
    functions: usize,
}

struct Function<S, E, W> {
    key: Arc<str>,
    pool: PoolKey,
    reserved: Option<u32>,
    in_flight: u32,
    waiters: usize,
    versions: Vec<VersionId<S, E, W>>,
}

/// A caller in the queue.
struct Waiting<W> {
    sequence: u64,
    /// Why there was no idle environment for it.
    reason: ColdReason,
    place: W,
}

pub(crate) struct Version<S, E, W> {
    spec: Arc<FunctionVersion<S>>,
    function: FunctionId<S, E, W>,
    /// The most recently used last.
    idle: VecDeque<EnvironmentId<S, E, W>>,
    waiters: VecDeque<Waiting<W>>,
    queued: usize,
    starting: usize,
    /// Environments in any state.
    environments: usize,
    in_turns: bool,
    retired: bool,
    /// What became of its last environment.
    gone: Option<ColdReason>,
}

pub(crate) struct Environment<S, E, W> {
    version: VersionId<S, E, W>,
    state: State,
    handle: Option<E>,
    memory_mib: u32,
    since: Moment,
    begun: Moment,
    start_cost: std::time::Duration,
    uses: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Idle,
    Busy,
    Stopping,
}

impl<S, E, W> Environment<S, E, W> {
    fn idle_facts(&self) -> IdleFacts {
        IdleFacts {
            idle_since: self.since,
            begun: self.begun,
            memory_mib: self.memory_mib,
            uses: self.uses,
            start_cost: self.start_cost,
        }
    }
}

impl<S, E, W> Core<S, E, W> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            keep_alive: KeepAlive { idle_max: limits.idle_max, age_max: limits.age_max },
            limits,
            pools: HashMap::new(),
            functions: Slots::new(),
            function_by_key: HashMap::new(),
            versions: Slots::new(),
            version_by_key: HashMap::new(),
            environments: Slots::new(),
            turns: VecDeque::new(),
            start_slots: VecDeque::new(),
            memory_promised: 0,
            memory_held: 0,
            memory_idle: 0,
            waiters_total: 0,
            waiter_next: 0,
            in_flight: 0,
            next_tick: None,
            shutting_down: false,
            counters: Counters::default(),
        }
    }

    /// Sets or clears a function's reserved concurrency. Holds for the very next request.
    pub(crate) fn set_reserved(
        &mut self,
        account: &AccountId,
        region: &Region,
        function: &Arc<str>,
        reserved: Option<u32>,
    ) {
        if reserved.is_none() && !self.function_by_key.contains_key(function) {
            return;
        }
        let id = self.function(function, account, region);
        let Some(entry) = self.functions.get_mut(id) else { return };
        let before = std::mem::replace(&mut entry.reserved, reserved);
        if let Some(pool) = self.pools.get_mut(&entry.pool) {
            pool.reserved = pool.reserved.saturating_sub(u64::from(before.unwrap_or(0)));
            pool.reserved = pool.reserved.saturating_add(u64::from(reserved.unwrap_or(0)));
            match (before, reserved) {
                (None, Some(_)) => pool.unreserved = pool.unreserved.saturating_sub(entry.in_flight),
                (Some(_), None) => pool.unreserved = pool.unreserved.saturating_add(entry.in_flight),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        self.forget_function(id);
    }

    /// Invocations admitted and not finished.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    fn function(&mut self, key: &Arc<str>, account: &AccountId, region: &Region) -> FunctionId<S, E, W> {
        if let Some(&id) = self.function_by_key.get(key) {
            return id;
        }
        let pool = (*account, region.clone());
        let entry =
            self.pools.entry(pool.clone()).or_insert(Pool { unreserved: 0, in_flight: 0, reserved: 0, functions: 0 });
        entry.functions += 1;
        let function =
            Function { key: key.clone(), pool, reserved: None, in_flight: 0, waiters: 0, versions: Vec::new() };
        let id = self.functions.insert(function);
        self.function_by_key.insert(key.clone(), id);
        id
    }

    fn version(&mut self, spec: &Arc<FunctionVersion<S>>) -> VersionId<S, E, W> {
        if let Some(&id) = self.version_by_key.get(&spec.key) {
            return id;
        }
        let function = self.function(&spec.key.function, &spec.account, &spec.region);
        let version = Version {
            spec: spec.clone(),
            function,
            idle: VecDeque::new(),
            waiters: VecDeque::new(),
            queued: 0,
            starting: 0,
            environments: 0,
            in_turns: false,
            retired: false,
            gone: None,
        };
        let id = self.versions.insert(version);
        self.version_by_key.insert(spec.key.clone(), id);
        if let Some(function) = self.functions.get_mut(function) {
            function.versions.push(id);
        }
        id
    }

    /// Forgets a version that nothing refers to any more, and its function likewise.
    fn forget_version(&mut self, id: VersionId<S, E, W>) {
        let Some(version) = self.versions.get(id) else { return };
        if version.environments > 0 || version.queued > 0 || !version.waiters.is_empty() {
            return;
        }
        let Some(version) = self.versions.remove(id) else { return };
        self.version_by_key.remove(&version.spec.key);
        if let Some(function) = self.functions.get_mut(version.function) {
            function.versions.retain(|&other| other != id);
        }
        self.forget_function(version.function);
    }

    fn forget_function(&mut self, id: FunctionId<S, E, W>) {
        let Some(function) = self.functions.get(id) else { return };
        if function.reserved.is_some() || !function.versions.is_empty() || function.in_flight > 0 {
            return;
        }
        let Some(function) = self.functions.remove(id) else { return };
        self.function_by_key.remove(&function.key);
        if let Some(pool) = self.pools.get_mut(&function.pool) {
            pool.functions -= 1;
            if pool.functions == 0 {
                self.pools.remove(&function.pool);
            }
        }
    }
}
