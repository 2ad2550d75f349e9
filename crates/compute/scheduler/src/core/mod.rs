//! The scheduler's decisions as a pure state machine: an event goes in, actions come out; the caller performs them.
//!
//! No clock, no tasks, no IO: every event carries its time. What the machine holds of the outside world is opaque: `S` is
//! what an environment is started from, `E` a handle of a started one, `W` the place where a waiting caller listens.
//!
//! An environment's life: `Starting → Idle ⇄ Busy → Stopping`, then it is gone. An environment whose start is decided but
//! not begun is only a number (`Version::queued`, `Provision::queued`).
//!
//! Map: `admission` who may run now; `concurrency` AWS's limits; `memory` what environments count with, and who goes when
//! it is short; `starts` in which order starts begin; `lifecycle` what becomes of environments; `idle` expiry; `provision`
//! environments kept ready; `past` what is remembered of versions; `snapshot` what is shown.
//!
//! Invariants (checked after every step of the property test by `Core::check`):
//! - an account's invocations never exceed its limit, a function's never its reservation at the time of admission;
//! - promised memory exceeds the ceiling only by what running environments grew beyond what was expected of them (or by
//!   what the host lost meanwhile), and then nothing that could be evicted is left;
//! - per version, there are at most as many waiters as environments queued or starting: nobody waits for nothing;
//! - an idle environment and a waiter of the same version never exist together;
//! - a provisioned environment is stopped only when it ended, was replaced, or is wanted no more;
//! - a version, function or pool that nothing refers to any more is forgotten.

mod admission;
mod concurrency;
mod idle;
mod lifecycle;
mod memory;
mod past;
mod provision;
mod snapshot;
mod starts;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, BinaryHeap, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::Duration,
};

use base_env::Moment;
use base_types::{AccountId, Region};
use compute_api::{ColdReason, IsolationLevel, Origin, Start};
pub use concurrency::Concurrency;
use concurrency::Pace;
use idle::Timer;
use memory::Memory;
use past::{Past, Remembered};
use provision::Provision;
pub use provision::Provisioned;
pub use snapshot::{Counters, EnvironmentState, EnvironmentView, Snapshot, VersionView};

use crate::{
    keep_alive::{Frequency, KeepAlive, Worth},
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

impl<S> FunctionVersion<S> {
    fn configured_bytes(&self) -> u64 {
        u64::from(self.memory_mib) << 20
    }
}

pub(crate) type EnvironmentId<S, E, W> = Id<Environment<S, E, W>>;
type VersionId<S, E, W> = Id<Version<S, E, W>>;
type FunctionId<S, E, W> = Id<Function<S, E, W>>;
type PoolId = Id<Pool>;
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
    Start { environment: EnvironmentId<S, E, W>, version: Arc<FunctionVersion<S>>, provisioned: bool },
    /// Hand a busy environment to a waiter.
    Grant { waiter: W, environment: EnvironmentId<S, E, W>, handle: E, start: Start },
    /// Stop an environment; report by `stopped`.
    Stop { environment: EnvironmentId<S, E, W>, handle: E },
    /// `Core::tick` is due earlier than was said.
    Tick,
}

/// The actions of one step.
pub(crate) type Actions<S, E, W> = Vec<Action<S, E, W>>;

/// What was seen of an environment that has just been started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    /// Its memory now; zero when the host cannot measure it.
    pub(crate) memory_bytes: u64,
    pub(crate) origin: Origin,
    pub(crate) isolation: IsolationLevel,
}

/// What was seen of an environment that is given back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Freed {
    /// False when it failed, timed out, or cannot be trusted.
    pub(crate) reusable: bool,
    /// Its memory now; zero when the host cannot measure it.
    pub(crate) memory_bytes: u64,
    /// What its invocation took; none when it was given back unused.
    pub(crate) usage: Option<Usage>,
}

/// What an invocation took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// The environment's peak so far; zero when the host cannot measure it.
    pub(crate) peak_bytes: u64,
    /// How long it ran.
    pub(crate) ran: Duration,
    /// The processor time it took; zero when the host cannot measure it.
    pub(crate) cpu: Duration,
}

/// The state machine.
pub(crate) struct Core<S, E, W> {
    limits: Limits,
    keep_alive: KeepAlive,
    pools: Slots<Pool>,
    pool_by_key: HashMap<PoolKey, PoolId>,
    functions: Slots<Function<S, E, W>>,
    function_by_key: HashMap<Arc<str>, FunctionId<S, E, W>>,
    versions: Slots<Version<S, E, W>>,
    version_by_key: HashMap<VersionKey, VersionId<S, E, W>>,
    /// The same by the address of the version's own `Arc`, which lives as long as the entry: what callers usually hold.
    version_by_address: HashMap<usize, VersionId<S, E, W>, BuildHasherDefault<AddressHasher>>,
    environments: Slots<Environment<S, E, W>>,
    remembered: Remembered,
    /// Functions with queued starts, in turn: a burst of one does not hold up the others.
    turns: VecDeque<FunctionId<S, E, W>>,
    /// Versions with queued provisioned starts, in turn.
    provisioned_turns: VecDeque<VersionId<S, E, W>>,
    /// Starts on demand since the last provisioned one.
    streak: u32,
    /// Starts that count against `starts_concurrent`, oldest first, and when each stops counting.
    start_slots: VecDeque<(EnvironmentId<S, E, W>, Moment)>,
    memory: Memory,
    /// Versions by what their next victim is worth, at most: see `memory`.
    victims: BTreeSet<(Worth, VersionId<S, E, W>)>,
    /// The worth of the last victim.
    clock: f64,
    timers: BinaryHeap<Timer<S, E, W>>,
    waiters_total: usize,
    waiter_next: u64,
    in_flight: u64,
    next_tick: Option<Moment>,
    shutting_down: bool,
    counters: Counters,
}

/// The concurrency of one account in one region.
pub(crate) struct Pool {
    key: PoolKey,
    /// All invocations.
    in_flight: u32,
    /// Invocations of functions without a reservation, beyond what is set aside for provisioned concurrency.
    excess: u32,
    /// The sum of all reservations.
    reserved: u64,
    /// What is set aside for provisioned concurrency of functions without a reservation.
    set_aside: u64,
    pace: Pace,
    /// Functions that refer to this pool.
    functions: usize,
}

pub(crate) struct Function<S, E, W> {
    key: Arc<str>,
    pool: PoolId,
    reserved: Option<u32>,
    in_flight: u32,
    /// Invocations beyond what is set aside for provisioned concurrency.
    excess: u32,
    /// The sum of its versions' provisioned concurrency.
    set_aside: u64,
    waiters: usize,
    /// What its queued, starting and busy on-demand environments count with, in bytes.
    running_bytes: u64,
    /// New environments.
    scaling: Pace,
    /// Invocations, with a reservation.
    pace: Pace,
    versions: Vec<VersionId<S, E, W>>,
    /// Its versions with queued starts, in turn.
    turns: VecDeque<VersionId<S, E, W>>,
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
    /// Idle on-demand environments, the most recently used last.
    idle: VecDeque<EnvironmentId<S, E, W>>,
    /// Idle provisioned ones, likewise.
    ready: VecDeque<EnvironmentId<S, E, W>>,
    waiters: VecDeque<Waiting<W>>,
    in_flight: u32,
    /// Starts on demand: decided, begun.
    queued: usize,
    starting: usize,
    /// Environments in any state.
    environments: usize,
    /// Those that are not stopping.
    living: usize,
    in_turns: bool,
    retired: bool,
    provision: Option<Box<Provision>>,
    past: Box<Past>,
    /// What a running environment counts with, in bytes.
    expected: u64,
    /// Its key in `Core::victims`: not more than its worth.
    indexed: Option<Worth>,
    /// How long its environments are kept idle, and of how many observations that was made.
    idle_time: Option<(Duration, u32)>,
    warm: u64,
    cold: u64,
    throttled: u64,
}

pub(crate) struct Environment<S, E, W> {
    version: VersionId<S, E, W>,
    state: State,
    provisioned: bool,
    handle: Option<E>,
    /// What it counts with, in bytes.
    charge: u64,
    /// What it was seen to have, in bytes.
    measured: u64,
    peak: u64,
    since: Moment,
    begun: Moment,
    start_cost: Duration,
    made: Option<Made>,
    uses: u64,
    frequency: Frequency,
    /// `Core::clock` when it became idle last.
    clock: f64,
    ran: Duration,
    cpu: Duration,
    /// Its caller was answered; its extensions are at work.
    settling: bool,
    /// Provisioned, and old enough to be replaced.
    aged: bool,
    /// When it is looked at, if it is idle.
    timer: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Idle,
    Busy,
    Stopping,
}

/// Addresses are even and well spread in their middle bits.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0.rotate_left(8) ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl<S, E, W> Core<S, E, W> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            keep_alive: KeepAlive {
                expiry: limits.expiry,
                victims: limits.victims,
                idle_max: limits.idle_max,
                age_max: limits.age_max,
            },
            memory: Memory::new(limits.memory_budget_mib << 20),
            remembered: Remembered::new(limits.versions_remembered),
            limits,
            pools: Slots::new(),
            pool_by_key: HashMap::new(),
            functions: Slots::new(),
            function_by_key: HashMap::new(),
            versions: Slots::new(),
            version_by_key: HashMap::new(),
            version_by_address: HashMap::default(),
            environments: Slots::new(),
            turns: VecDeque::new(),
            provisioned_turns: VecDeque::new(),
            streak: 0,
            start_slots: VecDeque::new(),
            victims: BTreeSet::new(),
            clock: 0.0,
            timers: BinaryHeap::new(),
            waiters_total: 0,
            waiter_next: 0,
            in_flight: 0,
            next_tick: None,
            shutting_down: false,
            counters: Counters::default(),
        }
    }

    /// Invocations admitted and not finished.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether there is any environment.
    pub(crate) fn is_used(&self) -> bool {
        self.memory.held() > 0
    }

    /// What idle environments hold that could be evicted.
    #[cfg(feature = "replay")]
    pub(crate) fn idle_bytes(&self) -> u64 {
        self.memory.sum.evictable
    }

    /// How many environments are idle.
    #[cfg(feature = "replay")]
    pub(crate) fn idle_environments(&self) -> usize {
        self.versions.iter().map(|(_, version)| version.idle.len() + version.ready.len()).sum()
    }

    /// What happened, from here on counted anew.
    #[cfg(feature = "replay")]
    pub(crate) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    fn function(&mut self, key: &Arc<str>, account: &AccountId, region: &Region) -> FunctionId<S, E, W> {
        if let Some(&id) = self.function_by_key.get(key) {
            return id;
        }
        let pool_key = (*account, region.clone());
        let pool = match self.pool_by_key.get(&pool_key) {
            Some(&pool) => pool,
            None => {
                let pool = self.pools.insert(Pool {
                    key: pool_key.clone(),
                    in_flight: 0,
                    excess: 0,
                    reserved: 0,
                    set_aside: 0,
                    pace: Pace::default(),
                    functions: 0,
                });
                self.pool_by_key.insert(pool_key, pool);
                pool
            }
        };
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.functions += 1;
        }
        let id = self.functions.insert(Function {
            key: key.clone(),
            pool,
            reserved: None,
            in_flight: 0,
            excess: 0,
            set_aside: 0,
            waiters: 0,
            running_bytes: 0,
            scaling: Pace::default(),
            pace: Pace::default(),
            versions: Vec::new(),
            turns: VecDeque::new(),
        });
        self.function_by_key.insert(key.clone(), id);
        id
    }

    fn version(&mut self, spec: &Arc<FunctionVersion<S>>) -> VersionId<S, E, W> {
        let address = Arc::as_ptr(spec).addr();
        if let Some(&id) = self.version_by_address.get(&address) {
            return id;
        }
        if let Some(&id) = self.version_by_key.get(&spec.key) {
            return id;
        }
        let function = self.function(&spec.key.function, &spec.account, &spec.region);
        let past = Box::new(self.past_of(function, &spec.key));
        let version = Version {
            expected: past.expected_bytes(spec.configured_bytes()),
            spec: spec.clone(),
            function,
            idle: VecDeque::new(),
            ready: VecDeque::new(),
            waiters: VecDeque::new(),
            in_flight: 0,
            queued: 0,
            starting: 0,
            environments: 0,
            living: 0,
            in_turns: false,
            retired: false,
            provision: None,
            past,
            indexed: None,
            idle_time: None,
            warm: 0,
            cold: 0,
            throttled: 0,
        };
        let id = self.versions.insert(version);
        self.version_by_key.insert(spec.key.clone(), id);
        self.version_by_address.insert(address, id);
        if let Some(function) = self.functions.get_mut(function) {
            function.versions.push(id);
        }
        id
    }

    /// Forgets a version that nothing refers to any more, except for its past, and its function likewise.
    fn forget_version(&mut self, id: VersionId<S, E, W>) {
        let Some(version) = self.versions.get(id) else { return };
        if version.environments > 0 || version.queued > 0 || version.provision.is_some() || !version.waiters.is_empty()
        {
            return;
        }
        let Some(version) = self.versions.remove(id) else { return };
        if let Some(worth) = version.indexed {
            self.victims.remove(&(worth, id));
        }
        self.version_by_key.remove(&version.spec.key);
        self.version_by_address.remove(&Arc::as_ptr(&version.spec).addr());
        if let Some(function) = self.functions.get_mut(version.function) {
            function.versions.retain(|&other| other != id);
        }
        if !version.retired && version.past.is_worth_remembering() {
            self.remembered.put(&version.spec.key, version.past);
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
        if let Some(pool) = self.pools.get_mut(function.pool) {
            pool.functions -= 1;
            if pool.functions == 0 {
                self.pool_by_key.remove(&pool.key);
                self.pools.remove(function.pool);
            }
        }
    }
}
