//! The state machine on simulated time: single scenes, then random runs with every invariant checked after every step.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_env::Env;
use base_types::Timestamp;
use proptest::prelude::*;

use super::*;

type TestCore = Core<(), u64, u64>;
type TestId = EnvironmentId<(), u64, u64>;

impl TestCore {
    /// Recomputes everything that is kept as a number and compares.
    fn check(&self) {
        let memory = |wanted: &dyn Fn(State) -> bool| -> u64 {
            self.environments.iter().filter(|(_, e)| wanted(e.state)).map(|(_, e)| u64::from(e.memory_mib)).sum()
        };
        let queued: u64 = self.versions.iter().map(|(_, v)| v.queued as u64 * u64::from(v.spec.memory_mib)).sum();
        assert_eq!(self.memory_promised, queued + memory(&|state| state != State::Stopping));
        assert_eq!(self.memory_held, memory(&|_| true));
        assert_eq!(self.memory_idle, memory(&|state| state == State::Idle));
        assert!(self.memory_promised <= self.limits.memory_budget_mib);
        assert!(self.memory_held <= self.limits.memory_budget_mib);
        assert!(self.start_slots.len() <= self.limits.starts_concurrent);
        assert!(self.waiters_total <= self.limits.waiters_total);
        assert_eq!(self.waiters_total, self.versions.iter().map(|(_, v)| v.waiters.len()).sum::<usize>());
        let mut in_flight: BTreeMap<String, u32> = BTreeMap::new();
        for (id, version) in self.versions.iter() {
            let of = |wanted: &dyn Fn(State) -> bool| {
                self.environments.iter().filter(|(_, e)| e.version == id && wanted(e.state)).count()
            };
            assert_eq!(version.starting, of(&|state| state == State::Starting));
            assert_eq!(version.environments, of(&|_| true));
            assert_eq!(version.idle.len(), of(&|state| state == State::Idle));
            assert!(version.waiters.len() <= version.queued + version.starting, "a waiter for whom nothing starts");
            assert!(version.idle.is_empty() || version.waiters.is_empty(), "a waiter beside an idle environment");
            assert!(version.queued == 0 || self.turns.contains(&id), "a queued start that has no turn");
            assert!(version.environments + version.queued + version.waiters.len() > 0, "a version kept for nothing");
            let busy = of(&|state| state == State::Busy) + version.waiters.len();
            *in_flight.entry(version.spec.key.function.to_string()).or_default() += u32::try_from(busy).unwrap();
        }
        for (_, function) in self.functions.iter() {
            assert_eq!(function.in_flight, in_flight.remove(&*function.key).unwrap_or(0));
            assert!(function.waiters <= self.limits.waiters_per_function);
        }
        for (key, pool) in &self.pools {
            let of: Vec<_> = self.functions.iter().filter(|(_, f)| f.pool == *key).map(|(_, f)| f).collect();
            assert_eq!(pool.in_flight, of.iter().map(|f| f.in_flight).sum::<u32>());
            let unreserved = of.iter().filter(|f| f.reserved.is_none()).map(|f| f.in_flight).sum::<u32>();
            assert_eq!(pool.unreserved, unreserved);
            assert_eq!(pool.reserved, of.iter().map(|f| u64::from(f.reserved.unwrap_or(0))).sum::<u64>());
            assert!(pool.in_flight <= self.limits.account_concurrency);
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
    granted: Vec<(u64, bool)>,
    failed: Vec<u64>,
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
        Self {
            env: Env::simulated(Timestamp::EPOCH, 1),
            core: TestCore::new(limits),
            next: 0,
            waiting: BTreeMap::new(),
            starting: Vec::new(),
            busy: Vec::new(),
            stopping: Vec::new(),
            granted: Vec::new(),
            failed: Vec::new(),
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
                    self.granted.push((waiter, start != Start::Warm));
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
                self.waiting.insert(name, waiter);
                Seen::Wait(name)
            }
            Admission::Throttled(throttle) => Seen::Throttled(throttle),
            Admission::TooLarge => Seen::TooLarge,
            Admission::ShuttingDown => Seen::ShuttingDown,
        }
    }

    fn started(&mut self, at: usize) {
        if at < self.starting.len() {
            let id = self.starting.remove(at);
            self.step(|core, now, actions| core.started(now, id, id.number(), actions));
        }
    }

    fn start_failed(&mut self, at: usize) {
        if at < self.starting.len() {
            let id = self.starting.remove(at);
            if let Some(waiter) = self.step(|core, now, actions| core.start_failed(now, id, actions)) {
                assert!(self.waiting.remove(&waiter).is_some());
                self.failed.push(waiter);
            }
        }
    }

    fn finished(&mut self, at: usize, reusable: bool) {
        if at < self.busy.len() {
            let (id, handle) = self.busy.remove(at);
            self.step(|core, now, actions| core.finished(now, id, handle, reusable, actions));
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

#[test]
fn an_idle_environment_is_used_before_a_new_one_is_started_and_the_latest_first() {
    let mut world = World::new(limits());
    let f = version("f", "1", 128);
    assert_eq!((world.request(&f), world.request(&f)), (Seen::Wait(0), Seen::Wait(1)));
    world.started(0);
    world.started(0);
    assert_eq!(world.granted, [(0, true), (1, true)]);
    let (first, second) = (world.busy[0], world.busy[1]);
    world.finished(1, true);
    world.finished(0, true);
    assert_eq!(world.request(&f), Seen::Run);
    assert_eq!(world.busy, [first]);
    assert_eq!(world.request(&f), Seen::Run);
    assert_eq!(world.busy, [first, second]);
    assert!(world.starting.is_empty());
}

#[test]
fn a_waiter_takes_a_freed_environment_when_that_comes_before_its_start() {
    let mut world = World::new(Limits { starts_concurrent: 1, ..limits() });
    let f = version("f", "1", 128);
    world.request(&f);
    world.started(0);
    assert_eq!(world.request(&f), Seen::Wait(1));
    assert_eq!(world.request(&f), Seen::Wait(2));
    world.finished(0, true);
    assert_eq!(world.granted, [(0, true), (1, false)]);
    // One start is under way for two who waited; the other was taken back with the waiter that needs it no more.
    assert_eq!(world.core.snapshot(world.env.monotonic()).starts_queued, 0);
    world.finished(0, true);
    assert_eq!(world.granted, [(0, true), (1, false), (2, false)]);
    // The start that was begun goes on and leaves an idle environment.
    world.started(0);
    assert_eq!(world.request(&f), Seen::Run);
}

#[test]
fn concurrency_limits_are_those_of_aws() {
    let mut world = World::new(Limits { account_concurrency: 3, ..limits() });
    let (f, g) = (version("f", "1", 128), version("g", "1", 128));
    world.core.set_reserved(&f.account, &f.region, &f.key.function, Some(1));
    assert_eq!(world.request(&f), Seen::Wait(0));
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::ReservedConcurrency));
    assert_eq!(world.request(&g), Seen::Wait(2));
    assert_eq!(world.request(&g), Seen::Wait(3));
    assert_eq!(world.request(&g), Seen::Throttled(Throttle::AccountConcurrency));
    world.settle();
    world.core.set_reserved(&f.account, &f.region, &f.key.function, Some(0));
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::ReservedConcurrency), "zero holds for the very next call");
    world.core.set_reserved(&f.account, &f.region, &f.key.function, None);
    assert_eq!(world.request(&f), Seen::Run);
}

#[test]
fn a_reservation_set_while_running_moves_the_running_ones_out_of_the_unreserved_pool() {
    let mut world = World::new(Limits { account_concurrency: 4, ..limits() });
    let (f, g) = (version("f", "1", 64), version("g", "1", 64));
    world.request(&f);
    world.request(&f);
    world.core.set_reserved(&f.account, &f.region, &f.key.function, Some(2));
    world.core.check();
    assert_eq!((world.request(&g), world.request(&g)), (Seen::Wait(2), Seen::Wait(3)));
    assert_eq!(world.request(&g), Seen::Throttled(Throttle::AccountConcurrency));
    world.core.set_reserved(&f.account, &f.region, &f.key.function, None);
    world.settle();
}

#[test]
fn memory_of_idle_environments_is_taken_and_that_of_running_ones_never_waited_for() {
    let mut world = World::new(Limits { memory_budget_mib: 256, ..limits() });
    let (f, g, h) = (version("f", "1", 128), version("g", "1", 128), version("h", "1", 128));
    for function in [&f, &g] {
        world.request(function);
        world.started(0);
    }
    assert_eq!(world.request(&h), Seen::Throttled(Throttle::Memory));
    world.finished(0, true);
    assert!(matches!(world.request(&h), Seen::Wait(_)));
    // The place is promised, but the start is begun only when the old environment is gone.
    assert_eq!((world.stopping.len(), world.starting.len()), (1, 0));
    world.stopped(0);
    assert_eq!(world.starting.len(), 1);
    world.started(0);
    assert_eq!(world.request(&version("big", "1", 257)), Seen::TooLarge);
}

#[test]
fn a_failed_start_is_told_to_one_waiter_and_the_others_go_on() {
    let mut world = World::new(limits());
    let f = version("f", "1", 128);
    world.request(&f);
    world.request(&f);
    world.start_failed(1);
    assert_eq!(world.failed, [0]);
    world.started(0);
    assert_eq!(world.granted, [(1, true)]);
}

#[test]
fn a_retired_version_is_never_used_again_and_who_waits_for_it_is_still_served() {
    let mut world = World::new(limits());
    let (old, new) = (version("f", "1", 128), version("f", "2", 128));
    for _ in 0..2 {
        world.request(&old);
        world.started(0);
    }
    world.finished(1, true);
    // One idle, one busy; two more requests: one takes the idle one, one waits for a start.
    assert_eq!(world.request(&old), Seen::Run);
    assert_eq!(world.request(&old), Seen::Wait(3));
    world.finished(1, true);
    assert_eq!(world.granted.last(), Some(&(3, false)));
    assert_eq!(world.request(&old), Seen::Wait(4));
    world.step(|core, now, actions| core.retire_function(now, &old.key.function, |key| &*key.revision != "2", actions));
    let granted = world.granted.len();
    world.finished(0, true);
    assert_eq!(world.granted.len(), granted, "a retired environment is not handed on");
    assert!(matches!(world.request(&new), Seen::Wait(_)));
    world.settle();
    assert!(world.granted.contains(&(4, true)), "who was admitted before is served by a fresh one");
    assert_eq!(world.core.versions.iter().filter(|(_, v)| &*v.spec.key.revision == "1").count(), 0);
    assert_eq!(world.request(&new), Seen::Run);
}

#[test]
fn a_failed_environment_is_dropped() {
    let mut world = World::new(limits());
    let f = version("f", "1", 128);
    world.request(&f);
    world.started(0);
    world.finished(0, false);
    assert_eq!(world.stopping.len(), 1);
    assert!(matches!(world.request(&f), Seen::Wait(_)));
}

#[test]
fn idle_environments_expire_and_old_ones_are_not_used_any_more() {
    let mut world =
        World::new(Limits { idle_max: Duration::from_secs(60), age_max: Duration::from_secs(100), ..limits() });
    let f = version("f", "1", 128);
    world.request(&f);
    world.started(0);
    world.finished(0, true);
    world.advance(Duration::from_secs(59));
    assert!(world.stopping.is_empty());
    world.request(&f);
    world.advance(Duration::from_secs(42));
    world.finished(0, true);
    assert_eq!(world.stopping.len(), 1, "101 seconds old");
    world.stopped(0);
    world.request(&f);
    world.started(0);
    world.finished(0, true);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.stopping.len(), 1, "60 seconds idle");
    world.settle();
    assert_eq!(
        (world.core.versions.iter().count(), world.core.functions.iter().count(), world.core.pools.len()),
        (0, 0, 0)
    );
}

#[test]
fn a_start_that_waits_for_another_start_lends_its_slot() {
    let mut world = World::new(Limits { starts_concurrent: 1, ..limits() });
    let chain: Vec<_> = (0..5).map(|depth| version(&format!("f{depth}"), "1", 64)).collect();
    // Each function's initialisation calls the next function: none of the earlier ones can finish before the last.
    for function in &chain {
        world.request(function);
    }
    assert_eq!(world.starting.len(), 1);
    for _ in 1..chain.len() {
        world.advance(limits().start_slot_hold);
    }
    assert_eq!(world.starting.len(), chain.len());
}

#[test]
fn a_burst_of_one_function_does_not_hold_up_another() {
    let mut world = World::new(Limits { starts_concurrent: 1, ..limits() });
    let (f, g) = (version("f", "1", 64), version("g", "1", 64));
    for _ in 0..6 {
        world.request(&f);
    }
    let Seen::Wait(other) = world.request(&g) else { panic!("it waits") };
    world.started(0);
    world.started(0);
    world.started(0);
    assert!(world.granted.iter().any(|&(waiter, _)| waiter == other));
}

#[test]
fn waiting_is_bounded_per_function_and_in_total() {
    let mut world = World::new(Limits { waiters_per_function: 2, waiters_total: 3, ..limits() });
    let (f, g) = (version("f", "1", 64), version("g", "1", 64));
    world.request(&f);
    world.request(&f);
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::FunctionBacklog));
    world.request(&g);
    assert_eq!(world.request(&g), Seen::Throttled(Throttle::TotalBacklog));
}

#[test]
fn shutting_down_refuses_new_work_and_stops_what_is_idle() {
    let mut world = World::new(limits());
    let f = version("f", "1", 128);
    world.request(&f);
    world.request(&f);
    world.started(0);
    world.finished(0, true);
    world.step(|core, now, actions| core.shut_down(now, actions));
    assert_eq!(world.request(&f), Seen::ShuttingDown);
    world.settle();
    assert_eq!((world.core.in_flight(), world.core.environments.iter().count()), (0, 0));
    assert_eq!(world.granted.len(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Request { function: u8, revision: u8 },
    Started(usize),
    StartFailed(usize),
    Finished(usize, bool),
    Lost(usize),
    Stopped(usize),
    Withdraw(usize),
    Retire { function: u8, revision: u8 },
    Died,
    Reserve(u8, Option<u32>),
    Advance(u64),
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0usize..4;
    prop_oneof![
        8 => (0u8..3, 0u8..2).prop_map(|(function, revision)| Step::Request { function, revision }),
        5 => at.clone().prop_map(Step::Started),
        1 => at.clone().prop_map(Step::StartFailed),
        5 => (at.clone(), prop::bool::weighted(0.8)).prop_map(|(at, reusable)| Step::Finished(at, reusable)),
        1 => at.clone().prop_map(Step::Lost),
        4 => at.clone().prop_map(Step::Stopped),
        1 => at.prop_map(Step::Withdraw),
        1 => (0u8..3, 0u8..2).prop_map(|(function, revision)| Step::Retire { function, revision }),
        1 => Just(Step::Died),
        1 => (0u8..3, prop::option::of(0u32..4)).prop_map(|(function, reserved)| Step::Reserve(function, reserved)),
        2 => (0u64..400).prop_map(Step::Advance),
        1 => Just(Step::Abandon),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_is_passed_no_waiter_lost_and_nothing_leaks(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new(Limits {
            account_concurrency: 6,
            memory_budget_mib: 700,
            starts_concurrent: 2,
            start_slot_hold: Duration::from_millis(300),
            waiters_per_function: 4,
            waiters_total: 5,
            idle_max: Duration::from_millis(900),
            age_max: Duration::from_secs(5),
            ..Limits::default()
        });
        let versions: Vec<Vec<_>> = (0..3u32)
            .map(|f| (0..2).map(|r| version(&format!("f{f}"), &r.to_string(), 64 << f)).collect())
            .collect();
        let mut asked = 0;
        let mut refused = 0;
        for step in steps {
            match step {
                Step::Request { function, revision } => {
                    asked += 1;
                    let seen = world.request(&versions[function as usize][revision as usize]);
                    refused += usize::from(!matches!(seen, Seen::Run | Seen::Wait(_)));
                    let key: Arc<str> = format!("f{function}").into();
                    if let Some(f) = world.core.function_by_key.get(&key).and_then(|&id| world.core.functions.get(id))
                        && matches!(seen, Seen::Run | Seen::Wait(_))
                    {
                        prop_assert!(f.reserved.is_none_or(|reserved| f.in_flight <= reserved));
                    }
                }
                Step::Started(at) => world.started(at),
                Step::StartFailed(at) => world.start_failed(at),
                Step::Finished(at, reusable) => world.finished(at, reusable),
                Step::Lost(at) => if at < world.busy.len() {
                    let (id, _) = world.busy.remove(at);
                    world.step(|core, now, actions| core.lost(now, id, actions));
                },
                Step::Stopped(at) => world.stopped(at),
                Step::Withdraw(at) => if let Some((&name, &waiter)) = world.waiting.iter().nth(at) {
                    world.waiting.remove(&name);
                    prop_assert!(world.step(|core, now, actions| core.withdraw(now, waiter, actions)));
                },
                Step::Retire { function, revision } => {
                    let key = versions[function as usize][revision as usize].key.clone();
                    world.step(|core, now, actions| core.retire(now, &key, actions));
                }
                Step::Died => {
                    let idle = world.core.environments.iter().find(|(_, e)| e.state == State::Idle).map(|(id, _)| id);
                    if let Some(id) = idle {
                        world.step(|core, now, actions| core.died(now, id, actions));
                    }
                }
                Step::Reserve(function, reserved) => {
                    let spec = versions[function as usize][0].clone();
                    world.core.set_reserved(&spec.account, &spec.region, &spec.key.function, reserved);
                    world.core.check();
                }
                Step::Advance(millis) => world.advance(Duration::from_millis(millis)),
                Step::Abandon => {
                    world.waiting.clear();
                    world.step(|core, now, actions| core.abandon_waiters(now, actions));
                }
            }
        }
        world.settle();
        prop_assert!(world.waiting.is_empty(), "a waiter was lost: {:?}", world.waiting.keys());
        prop_assert!(asked >= refused + world.granted.len() + world.failed.len());
        for f in &versions {
            world.core.set_reserved(&f[0].account, &f[0].region, &f[0].key.function, None);
        }
        world.advance(Duration::from_secs(10));
        world.settle();
        let core = &world.core;
        prop_assert_eq!((core.in_flight(), core.environments.iter().count(), core.versions.iter().count()), (0, 0, 0));
        prop_assert_eq!((core.functions.iter().count(), core.pools.len(), core.memory_held), (0, 0, 0));
    }
}
