//! The state machine on simulated time: single scenes (`scenes`, `provisioned`), then random runs with every invariant
//! checked after every step (`random`).

mod provisioned;
mod random;
mod scenes;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_env::Env;
use base_types::Timestamp;

use super::*;
use crate::{
    keep_alive::{Expiry, Victims},
    limits::Rate,
};

type TestCore = Core<(), u64, u64>;
type TestId = EnvironmentId<(), u64, u64>;

const MIB: u64 = 1 << 20;

impl TestCore {
    /// Recomputes everything that is kept as a number and compares.
    fn check(&self) {
        self.check_memory();
        assert!(self.start_slots.len() <= self.limits.starts_concurrent);
        assert!(self.waiters_total <= self.limits.waiters_total);
        assert_eq!(self.waiters_total, self.versions.iter().map(|(_, v)| v.waiters.len()).sum::<usize>());
        assert!(self.remembered.len() <= self.limits.versions_remembered);
        assert!(self.timers.len() <= 2 * self.environments.len() + 1025);
        for (id, version) in self.versions.iter() {
            self.check_version(id, version);
        }
        for &(worth, id) in &self.victims {
            assert_eq!(self.versions.get(id).and_then(|version| version.indexed), Some(worth));
        }
        for (_, function) in self.functions.iter() {
            let versions: Vec<_> = function.versions.iter().filter_map(|&id| self.versions.get(id)).collect();
            assert_eq!(versions.len(), function.versions.len());
            assert_eq!(function.in_flight, versions.iter().map(|v| v.in_flight).sum::<u32>());
            let excess = |v: &&Version<(), u64, u64>| v.in_flight.saturating_sub(v.wanted());
            assert_eq!(function.excess, versions.iter().map(excess).sum::<u32>());
            assert_eq!(function.set_aside, versions.iter().map(|v| u64::from(v.wanted())).sum::<u64>());
            assert_eq!(function.waiters, versions.iter().map(|v| v.waiters.len()).sum::<usize>());
            assert!(function.waiters <= self.limits.waiters_per_function);
            assert!(!versions.is_empty() || function.reserved.is_some(), "a function kept for nothing");
        }
        for (id, pool) in self.pools.iter() {
            let of: Vec<_> = self.functions.iter().filter(|(_, f)| f.pool == id).map(|(_, f)| f).collect();
            let unreserved = || of.iter().filter(|f| f.reserved.is_none());
            assert_eq!(pool.functions, of.len());
            assert_eq!(pool.in_flight, of.iter().map(|f| f.in_flight).sum::<u32>());
            assert_eq!(pool.excess, unreserved().map(|f| f.excess).sum::<u32>());
            assert_eq!(pool.set_aside, unreserved().map(|f| f.set_aside).sum::<u64>());
            assert_eq!(pool.reserved, of.iter().map(|f| u64::from(f.reserved.unwrap_or(0))).sum::<u64>());
        }
    }

    fn check_memory(&self) {
        let mut sum = memory::Share::default();
        let mut running: BTreeMap<FunctionId<(), u64, u64>, u64> = BTreeMap::new();
        let mut resident = 0;
        let mut add = |share: memory::Share| {
            sum.promised += share.promised;
            sum.held += share.held;
            sum.evictable += share.evictable;
            sum.stopping += share.stopping;
            sum.configured += share.configured;
        };
        for (_, environment) in self.environments.iter() {
            let version = self.versions.get(environment.version).expect("a version of an environment");
            let configured = version.spec.configured_bytes();
            assert!(environment.charge <= configured, "it counts with more than it may have");
            add(environment.share(configured));
            *running.entry(version.function).or_default() += environment.running_bytes();
            resident += environment.measured;
        }
        for (_, version) in self.versions.iter() {
            let queued = version.queued + version.provision.as_ref().map_or(0, |provision| provision.queued);
            add(memory::Share::queued(queued, version.expected, version.spec.configured_bytes()));
            *running.entry(version.function).or_default() += version.queued as u64 * version.expected;
        }
        assert_eq!((self.memory.sum, self.memory.resident), (sum, resident));
        for (id, function) in self.functions.iter() {
            assert_eq!(function.running_bytes, running.remove(&id).unwrap_or(0));
        }
        assert!(sum.promised <= self.memory.ceiling || sum.evictable == 0, "idle memory beyond the ceiling");
    }

    fn check_version(&self, id: VersionId<(), u64, u64>, version: &Version<(), u64, u64>) {
        let of = |provisioned: bool, wanted: &dyn Fn(State) -> bool| {
            self.environments
                .iter()
                .filter(|(_, e)| e.version == id && e.provisioned == provisioned && wanted(e.state))
                .count()
        };
        assert_eq!(version.starting, of(false, &|state| state == State::Starting));
        assert_eq!(version.idle.len(), of(false, &|state| state == State::Idle));
        assert_eq!(version.ready.len(), of(true, &|state| state == State::Idle));
        assert_eq!(version.environments, of(false, &|_| true) + of(true, &|_| true));
        let living = |state| state != State::Stopping;
        assert_eq!(version.living, of(false, &living) + of(true, &living));
        let busy = of(false, &|state| state == State::Busy) + of(true, &|state| state == State::Busy);
        assert_eq!(version.in_flight as usize, busy + version.waiters.len());
        let idle = version.idle.len() + version.ready.len();
        assert!(version.waiters.len() <= version.queued + version.starting, "a waiter for whom nothing starts");
        assert!(idle == 0 || version.waiters.is_empty(), "a waiter beside an idle environment");
        assert!(version.idle.is_empty() || version.indexed.is_some(), "an idle environment that is no victim");
        if version.queued > 0 {
            let function = self.functions.get(version.function).expect("its function");
            assert!(function.turns.contains(&id) && self.turns.contains(&version.function), "a start without a turn");
        }
        match &version.provision {
            None => {
                assert_eq!(of(true, &living), 0, "a provisioned environment that nobody counts");
                assert!(
                    version.environments + version.queued + version.waiters.len() > 0,
                    "a version kept for nothing"
                );
            }
            Some(provision) => {
                assert_eq!(provision.starting, of(true, &|state| state == State::Starting));
                assert_eq!(provision.ready, of(true, &|state| matches!(state, State::Idle | State::Busy)));
                let coming = provision.queued + provision.starting + provision.ready - provision.aged;
                let busy = of(true, &|state| state == State::Busy);
                assert!(coming <= provision.wanted as usize + provision.starting + busy, "more than was asked for");
                assert!(provision.queued == 0 || self.provisioned_turns.contains(&id), "a start without a turn");
            }
        }
    }
}

fn version(function: &str, revision: &str, memory_mib: u32) -> Arc<FunctionVersion<()>> {
    Arc::new(FunctionVersion {
        key: VersionKey { function: function.into(), version: "$LATEST".into(), revision: revision.into() },
        account: "000000000000".parse().unwrap(),
        region: Region::default(),
        memory_mib,
        spec: (),
    })
}

/// The outside of the core: performs its actions only when told to, in any order.
struct World {
    env: Env,
    core: TestCore,
    next: u64,
    waiting: BTreeMap<u64, WaiterId<(), u64, u64>>,
    starting: Vec<TestId>,
    busy: Vec<(TestId, u64)>,
    stopping: Vec<TestId>,
    granted: Vec<(u64, Start)>,
    failed: Vec<u64>,
    /// What environments are seen to hold, in bytes; zero: the host cannot measure.
    memory: u64,
    /// The next environment's handle.
    made: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Run,
    Wait(u64),
    Throttled(Throttle),
    TooLarge,
    ShuttingDown,
}

impl World {
    fn new(limits: Limits) -> Self {
        let env = Env::simulated(Timestamp::EPOCH, 1);
        env.advance(Duration::from_secs(1));
        Self {
            env,
            core: TestCore::new(limits),
            next: 0,
            waiting: BTreeMap::new(),
            starting: Vec::new(),
            busy: Vec::new(),
            stopping: Vec::new(),
            granted: Vec::new(),
            failed: Vec::new(),
            memory: 0,
            made: 0,
        }
    }

    fn step<R>(&mut self, event: impl FnOnce(&mut TestCore, Moment, &mut Actions<(), u64, u64>) -> R) -> R {
        let mut actions = Vec::new();
        let result = event(&mut self.core, self.env.monotonic(), &mut actions);
        for action in actions {
            match action {
                Action::Start { environment, .. } => self.starting.push(environment),
                Action::Grant { waiter, environment, handle, start } => {
                    assert!(self.waiting.remove(&waiter).is_some(), "granted to nobody");
                    self.granted.push((waiter, start));
                    self.busy.push((environment, handle));
                }
                Action::Stop { environment, .. } => self.stopping.push(environment),
                Action::Tick => {}
            }
        }
        self.core.check();
        result
    }

    fn request(&mut self, version: &Arc<FunctionVersion<()>>) -> Seen {
        let name = self.next;
        self.next += 1;
        match self.step(|core, now, actions| core.request(now, version, || name, actions)) {
            Admission::Run(id, handle) => {
                self.busy.push((id, handle));
                Seen::Run
            }
            Admission::Wait(waiter) => {
                // It may have been granted within the step: never, a start takes at least one step.
                self.waiting.insert(name, waiter);
                Seen::Wait(name)
            }
            Admission::Throttled(throttle) => Seen::Throttled(throttle),
            Admission::TooLarge => Seen::TooLarge,
            Admission::ShuttingDown => Seen::ShuttingDown,
        }
    }

    fn provision(&mut self, version: &Arc<FunctionVersion<()>>, wanted: u32) {
        self.step(|core, now, actions| core.set_provisioned(now, version, wanted, actions));
    }

    fn provisioned(&self, version: &Arc<FunctionVersion<()>>) -> Option<(u32, u32, u32)> {
        self.core.provisioned(&version.key).map(|p| (p.requested, p.allocated, p.available))
    }

    fn started(&mut self, at: usize) {
        if at < self.starting.len() {
            let id = self.starting.remove(at);
            self.made += 1;
            let (handle, memory_bytes) = (self.made, self.memory);
            let made = Made { memory_bytes, origin: Origin::Fresh, isolation: IsolationLevel::Full };
            self.step(|core, now, actions| core.started(now, id, handle, made, actions));
        }
    }

    fn start_failed(&mut self, at: usize) {
        if at < self.starting.len() {
            let id = self.starting.remove(at);
            let why = || "it is broken".to_owned();
            if let Some(waiter) = self.step(|core, now, actions| core.start_failed(now, id, why, actions)) {
                assert!(self.waiting.remove(&waiter).is_some());
                self.failed.push(waiter);
            }
        }
    }

    fn finished(&mut self, at: usize, reusable: bool) {
        if at < self.busy.len() {
            let (id, handle) = self.busy.remove(at);
            let usage = Usage { peak_bytes: self.memory, ..Usage::default() };
            let freed = Freed { reusable, memory_bytes: self.memory, usage: Some(usage) };
            self.step(|core, now, actions| core.finished(now, id, handle, freed, actions));
        }
    }

    fn stopped(&mut self, at: usize) {
        if at < self.stopping.len() {
            let id = self.stopping.remove(at);
            self.step(|core, now, actions| core.stopped(now, id, actions));
        }
    }

    fn advance(&mut self, duration: Duration) {
        self.env.advance(duration);
        self.step(|core, now, actions| core.tick(now, actions));
    }

    /// An idle environment of this version, ready-made.
    fn idle(&mut self, version: &Arc<FunctionVersion<()>>) {
        assert!(matches!(self.request(version), Seen::Wait(_)));
        while self.starting.is_empty() {
            // It begins when what made room for it is gone.
            self.stopped(0);
        }
        self.started(self.starting.len() - 1);
        self.finished(self.busy.len() - 1, true);
    }

    /// Lets everything come to its end.
    fn settle(&mut self) {
        let mut rounds = 0;
        while !(self.starting.is_empty() && self.busy.is_empty() && self.stopping.is_empty()) {
            self.started(0);
            self.finished(0, true);
            self.stopped(0);
            self.advance(Duration::from_millis(1));
            rounds += 1;
            assert!(rounds < 100_000, "it never settles");
        }
    }
}

fn limits() -> Limits {
    Limits { memory_budget_mib: 1024, starts_concurrent: 2, ..Limits::default() }
}

/// Kept for so many milliseconds, used for so many.
fn kept(idle: u64, age: u64, others: Limits) -> Limits {
    Limits {
        expiry: Expiry::Fixed,
        idle_max: Duration::from_millis(idle),
        age_max: Duration::from_millis(age),
        ..others
    }
}
