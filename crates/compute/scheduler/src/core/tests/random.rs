//! Random runs: every invariant after every step, nobody lost, nothing left behind; and the bound of starvation.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Request { function: u8, revision: u8 },
    Started(usize),
    StartFailed(usize),
    Finished(usize, bool),
    Settling(usize),
    Lost(usize),
    Stopped(usize),
    Withdraw(usize),
    Retire { function: u8, revision: u8 },
    Died(bool),
    Reserve(u8, Option<u32>),
    Provision { function: u8, revision: u8, wanted: u32 },
    Limit(u32),
    Measure(u64),
    Available(Option<u64>),
    Advance(u64),
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0usize..4;
    let which = || (0u8..3, 0u8..2);
    prop_oneof![
        16 => which().prop_map(|(function, revision)| Step::Request { function, revision }),
        10 => at.clone().prop_map(Step::Started),
        2 => at.clone().prop_map(Step::StartFailed),
        10 => (at.clone(), prop::bool::weighted(0.8)).prop_map(|(at, reusable)| Step::Finished(at, reusable)),
        1 => at.clone().prop_map(Step::Settling),
        2 => at.clone().prop_map(Step::Lost),
        8 => at.clone().prop_map(Step::Stopped),
        2 => at.prop_map(Step::Withdraw),
        2 => which().prop_map(|(function, revision)| Step::Retire { function, revision }),
        2 => any::<bool>().prop_map(Step::Died),
        2 => (0u8..3, prop::option::of(0u32..4)).prop_map(|(function, reserved)| Step::Reserve(function, reserved)),
        3 => (which(), 0u32..4)
            .prop_map(|((function, revision), wanted)| Step::Provision { function, revision, wanted }),
        1 => (3u32..8).prop_map(Step::Limit),
        3 => (0u64..150).prop_map(Step::Measure),
        2 => prop::option::of(0u64..600).prop_map(Step::Available),
        4 => (0u64..400).prop_map(Step::Advance),
        1 => Just(Step::Abandon),
    ]
}

impl World {
    /// One random step; whether a request was refused, if it was one.
    fn random(&mut self, step: Step, versions: &[Vec<Arc<FunctionVersion<()>>>]) -> Option<bool> {
        let of = |function: u8, revision: u8| &versions[function as usize][revision as usize];
        match step {
            Step::Request { function, revision } => {
                let seen = self.request(of(function, revision));
                let admitted = matches!(seen, Seen::Run | Seen::Wait(_));
                let key: Arc<str> = format!("f{function}").into();
                if let Some(f) = self.core.function_by_key.get(&key).and_then(|&id| self.core.functions.get(id))
                    && admitted
                {
                    let pool = self.core.pools.get(f.pool).unwrap();
                    assert!(f.reserved.is_none_or(|reserved| f.in_flight <= reserved));
                    assert!(pool.in_flight <= self.core.limits.account_concurrency);
                }
                return Some(!admitted);
            }
            Step::Started(at) => self.started(at),
            Step::StartFailed(at) => self.start_failed(at),
            Step::Finished(at, reusable) => self.finished(at, reusable),
            Step::Settling(at) => {
                if let Some(&(id, _)) = self.busy.get(at) {
                    self.step(|core, _, _| core.settling(id));
                }
            }
            Step::Lost(at) => {
                if at < self.busy.len() {
                    let (id, _) = self.busy.remove(at);
                    self.step(|core, now, actions| core.lost(now, id, actions));
                }
            }
            Step::Stopped(at) => self.stopped(at),
            Step::Withdraw(at) => {
                if let Some((&name, &waiter)) = self.waiting.iter().nth(at) {
                    self.waiting.remove(&name);
                    assert!(self.step(|core, now, actions| core.withdraw(now, waiter, actions)));
                }
            }
            Step::Retire { function, revision } => {
                let key = of(function, revision).key.clone();
                self.step(|core, now, actions| core.retire(now, &key, actions));
            }
            Step::Died(provisioned) => {
                let mut all = self.core.environments.iter();
                let idle = all.find(|(_, e)| e.state == State::Idle && e.provisioned == provisioned).map(|(id, _)| id);
                drop(all);
                if let Some(id) = idle {
                    self.step(|core, now, actions| core.died(now, id, actions));
                }
            }
            Step::Reserve(function, reserved) => {
                let spec = of(function, 0).clone();
                self.step(|core, _, _| core.set_reserved(&spec.account, &spec.region, &spec.key.function, reserved));
            }
            Step::Provision { function, revision, wanted } => self.provision(of(function, revision), wanted),
            Step::Limit(limit) => self.step(|core, _, _| core.set_account_concurrency(limit)),
            Step::Measure(mib) => self.memory = mib * MIB,
            Step::Available(mib) => {
                let bytes = mib.map(|mib| mib * MIB);
                self.step(|core, now, actions| core.set_available(now, bytes, actions));
            }
            Step::Advance(millis) => self.advance(Duration::from_millis(millis)),
            Step::Abandon => {
                self.waiting.clear();
                self.step(|core, now, actions| core.abandon_waiters(now, actions));
            }
        }
        None
    }
}

fn tight(expiry: Expiry, victims: Victims) -> Limits {
    Limits {
        account_concurrency: 6,
        scaling: Rate { count: 12, per: Duration::from_secs(1) },
        invocations_per_concurrency: Some(10),
        memory_budget_mib: 700,
        memory_floor_mib: 50,
        starts_concurrent: 2,
        start_slot_hold: Duration::from_millis(300),
        waiters_per_function: 4,
        waiters_total: 8,
        expiry,
        victims,
        idle_max: Duration::from_millis(900),
        age_max: Duration::from_secs(5),
        versions_remembered: 2,
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_is_passed_no_waiter_lost_and_nothing_leaks(
        steps in prop::collection::vec(step(), 1..200),
        histogram in any::<bool>(),
        greedy_dual in any::<bool>(),
    ) {
        let expiry = if histogram { Expiry::Histogram } else { Expiry::Fixed };
        let victims = if greedy_dual { Victims::GreedyDual } else { Victims::Oldest };
        let mut world = World::new(tight(expiry, victims));
        let versions: Vec<Vec<_>> = (0..3u32)
            .map(|f| (0..2).map(|r| version(&format!("f{f}"), &r.to_string(), 64 << f)).collect())
            .collect();
        let (mut asked, mut refused) = (0, 0);
        for step in steps {
            if let Some(was_refused) = world.random(step, &versions) {
                asked += 1;
                refused += usize::from(was_refused);
            }
        }
        for f in versions.iter().flatten() {
            world.provision(f, 0);
        }
        world.settle();
        prop_assert!(world.waiting.is_empty(), "a waiter was lost: {:?}", world.waiting.keys());
        prop_assert!(asked >= refused + world.granted.len() + world.failed.len());
        for f in &versions {
            world.core.set_reserved(&f[0].account, &f[0].region, &f[0].key.function, None);
        }
        world.advance(Duration::from_secs(70));
        world.settle();
        let core = &world.core;
        prop_assert_eq!((core.in_flight(), core.environments.len(), core.versions.len()), (0, 0, 0));
        prop_assert_eq!((core.functions.len(), core.pools.len(), core.pool_by_key.len()), (0, 0, 0));
        prop_assert_eq!((core.memory.sum, core.memory.resident), (memory::Share::default(), 0));
        prop_assert_eq!((core.version_by_key.len(), core.version_by_address.len(), core.victims.len()), (0, 0, 0));
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Others ask for as much as they can, in any order, provisioned environments included. A function that has nothing
    /// running gets a place, and its start begins after at most one start of each function that waits (and the
    /// provisioned ones between).
    #[test]
    fn whatever_others_ask_for_a_function_waits_for_one_start_of_each_at_most(
        bursts in prop::collection::vec((0u8..5, 0u8..4, 1usize..30), 1..40),
        provisioned in prop::collection::vec(0u32..10, 5),
    ) {
        let mut world = World::new(Limits {
            starts_concurrent: 1,
            memory_budget_mib: 4096,
            waiters_total: 64,
            ..Limits::default()
        });
        world.memory = 40 * MIB;
        for (function, wanted) in provisioned.into_iter().enumerate() {
            world.provision(&version(&format!("f{function}"), "0", 64), wanted);
        }
        for (function, revision, count) in bursts {
            let version = version(&format!("f{function}"), &revision.to_string(), 64);
            for _ in 0..count {
                world.request(&version);
            }
            if count % 3 == 0 {
                world.started(0);
            }
        }
        let seen = world.request(&version("modest", "1", 64));
        let Seen::Wait(modest) = seen else { return Err(TestCaseError::fail(format!("{seen:?}"))) };
        // One start is under way; five functions may go before it, with a provisioned start after every third.
        for _ in 0..9 {
            world.started(0);
        }
        prop_assert!(world.granted.iter().any(|&(waiter, _)| waiter == modest));
    }
}
