//! Single scenes: placement, limits, memory, turns, ends.

use super::*;

const FIRST: Start = Start::Cold(ColdReason::First);
const BUSY: Start = Start::Cold(ColdReason::Busy);

#[test]
fn an_idle_environment_is_used_before_a_new_one_is_started_and_the_latest_first() {
    let mut world = World::new(limits());
    let f = version("f", "1", 128);
    assert_eq!((world.request(&f), world.request(&f)), (Seen::Wait(0), Seen::Wait(1)));
    world.started(0);
    world.started(0);
    assert_eq!(world.granted, [(0, FIRST), (1, BUSY)]);
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
    assert_eq!(world.granted, [(0, FIRST), (1, Start::Warm)]);
    // One start is under way for two who waited; the other was taken back with the waiter that needs it no more.
    assert_eq!(world.core.snapshot(world.env.monotonic(), |_| None).starts_queued, 0);
    world.finished(0, true);
    assert_eq!(world.granted, [(0, FIRST), (1, Start::Warm), (2, Start::Warm)]);
    // The start that was begun goes on and leaves an idle environment.
    world.started(0);
    assert_eq!(world.request(&f), Seen::Run);
}

#[test]
fn a_cold_start_says_why_there_was_no_environment() {
    let mut world = World::new(kept(60_000, 600_000, Limits { memory_budget_mib: 256, ..limits() }));
    world.memory = 100 * MIB;
    let (f, g) = (version("f", "1", 128), version("g", "1", 256));
    let last = |world: &World| world.granted.last().map(|&(_, start)| start);
    world.idle(&f);
    assert_eq!(last(&world), Some(FIRST));
    world.advance(Duration::from_secs(60));
    world.stopped(0);
    world.idle(&f);
    assert_eq!(last(&world), Some(Start::Cold(ColdReason::Expired)));
    world.memory = 200 * MIB;
    world.idle(&g);
    world.stopped(0);
    world.idle(&f);
    assert_eq!(last(&world), Some(Start::Cold(ColdReason::Evicted)), "its memory went to g");
    assert_eq!(world.request(&f), Seen::Run);
    world.finished(0, false);
    world.stopped(0);
    world.idle(&f);
    assert_eq!(last(&world), Some(Start::Cold(ColdReason::Ended)));
    let small = version("small", "1", 16);
    world.request(&small);
    world.request(&small);
    world.started(0);
    world.started(0);
    assert_eq!(last(&world), Some(BUSY));
    world.idle(&version("f", "2", 128));
    assert_eq!(last(&world), Some(FIRST), "changed code has no environments that could have gone");
}

#[test]
fn concurrency_limits_are_those_of_aws() {
    let mut world = World::new(Limits { account_concurrency: 3, ..limits() });
    let (f, g) = (version("f", "1", 128), version("g", "1", 128));
    world.core.set_reserved(&f.account, &f.region, &f.key.function, Some(1));
    assert_eq!(world.core.concurrency(&f.account, &f.region).unreserved(), 2, "before the function was ever used");
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
fn a_changed_account_limit_holds_for_the_next_call() {
    let mut world = World::new(Limits { account_concurrency: 1, ..limits() });
    let f = version("f", "1", 64);
    world.request(&f);
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::AccountConcurrency));
    world.core.set_account_concurrency(2);
    assert_eq!(world.request(&f), Seen::Wait(2));
    world.core.set_account_concurrency(1);
    world.started(0);
    world.finished(0, true);
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::AccountConcurrency), "one still waits for its start");
    world.started(0);
    world.finished(0, true);
    assert_eq!(world.request(&f), Seen::Run);
}

#[test]
fn a_function_grows_by_so_many_environments_in_a_time() {
    let scaling = Rate { count: 3, per: Duration::from_secs(3) };
    let mut world = World::new(Limits { scaling, ..limits() });
    let f = version("f", "1", 16);
    for _ in 0..3 {
        assert!(matches!(world.request(&f), Seen::Wait(_)));
    }
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::ScalingRate));
    assert!(matches!(world.request(&version("g", "1", 16)), Seen::Wait(_)), "another function grows by itself");
    world.started(0);
    world.finished(0, true);
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::ScalingRate), "the freed one went to who waited");
    world.advance(Duration::from_secs(1));
    assert!(matches!(world.request(&f), Seen::Wait(_)));
    world.settle();
    assert_eq!(world.request(&f), Seen::Run, "used environments are not counted");
}

#[test]
fn a_start_that_never_began_is_no_growth() {
    let scaling = Rate { count: 2, per: Duration::from_secs(60) };
    let mut world = World::new(Limits { scaling, starts_concurrent: 1, ..limits() });
    let f = version("f", "1", 16);
    world.idle(&f);
    assert!(matches!(world.request(&version("g", "1", 16)), Seen::Wait(_)), "the one place for a start is taken");
    for _ in 0..10 {
        assert_eq!(world.request(&f), Seen::Run);
        assert!(matches!(world.request(&f), Seen::Wait(_)), "a start is decided");
        world.finished(0, true);
        world.finished(0, true);
    }
}

#[test]
fn calls_are_bounded_by_ten_times_the_concurrency_where_that_is_told() {
    let limits = Limits { account_concurrency: 2, invocations_per_concurrency: Some(10), ..limits() };
    let mut world = World::new(limits);
    let (f, g) = (version("f", "1", 16), version("g", "1", 16));
    world.core.set_reserved(&f.account, &f.region, &f.key.function, Some(1));
    world.idle(&f);
    world.idle(&g);
    for (version, calls, throttle) in [(&f, 9, Throttle::ReservedRate), (&g, 19, Throttle::AccountRate)] {
        for _ in 0..calls {
            assert_eq!(world.request(version), Seen::Run);
            world.finished(0, true);
        }
        assert_eq!(world.request(version), Seen::Throttled(throttle));
    }
}

#[test]
fn memory_of_idle_environments_is_taken_and_that_of_running_ones_never_waited_for() {
    let mut world = World::new(Limits { memory_budget_mib: 256, ..limits() });
    world.memory = 120 * MIB;
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
fn idle_environments_count_with_what_they_hold() {
    let mut world = World::new(Limits { memory_budget_mib: 256, ..limits() });
    world.memory = 2 * MIB;
    let functions: Vec<_> = (0..60).map(|f| version(&format!("f{f}"), "1", 128)).collect();
    for function in &functions {
        world.idle(function);
    }
    assert_eq!((world.core.environments.len(), world.core.counters.evicted), (60, 0), "60 times 128 MiB in 256");
    let mut world = World::new(Limits { memory_budget_mib: 256, ..limits() });
    for function in &functions {
        world.idle(function);
        while !world.stopping.is_empty() {
            world.stopped(0);
        }
    }
    assert_eq!(world.core.environments.len(), 2, "a host that cannot measure counts what is configured");
}

#[test]
fn what_grows_beyond_its_expectation_evicts_and_closes_the_door() {
    let mut world = World::new(Limits { memory_budget_mib: 512, ..limits() });
    world.memory = 10 * MIB;
    let (f, g) = (version("f", "1", 512), version("g", "1", 64));
    world.idle(&g);
    world.request(&f);
    world.started(0);
    world.memory = 508 * MIB;
    world.finished(0, true);
    assert_eq!(world.core.counters.evicted, 1, "f holds nearly all: g's idle one goes, being worth less");
    world.stopped(0);
    assert_eq!(world.request(&f), Seen::Run);
    assert_eq!(world.request(&g), Seen::Throttled(Throttle::Memory));
    world.memory = 20 * MIB;
    world.finished(0, true);
    assert!(matches!(world.request(&g), Seen::Wait(_)));
}

#[test]
fn the_configured_memory_of_what_runs_is_bounded_too() {
    let mut world = World::new(Limits { memory_budget_mib: 1024, memory_overcommit: 2, ..limits() });
    world.memory = MIB;
    let f = version("f", "1", 1024);
    world.idle(&f);
    assert_eq!(world.request(&f), Seen::Run);
    assert!(matches!(world.request(&f), Seen::Wait(_)));
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::Memory), "three times what the host has");
}

#[test]
fn a_host_that_runs_out_of_memory_gets_what_is_idle_and_nothing_new_is_started() {
    let mut world = World::new(Limits { memory_floor_mib: 100, ..limits() });
    world.memory = 50 * MIB;
    let functions: Vec<_> = (0..5).map(|f| version(&format!("f{f}"), "1", 128)).collect();
    for function in &functions {
        world.idle(function);
    }
    let available = |world: &mut World, mib: u64| {
        world.step(|core, now, actions| core.set_available(now, Some(mib * MIB), actions));
    };
    available(&mut world, 500);
    assert_eq!(world.core.counters.evicted, 0);
    available(&mut world, 20);
    assert_eq!(world.core.counters.evicted, 2, "80 MiB are missing");
    assert_eq!(world.request(&version("g", "1", 256)), Seen::Wait(5));
    assert_eq!(world.core.counters.evicted, 3, "64 MiB for it come from the others");
    assert_eq!(world.request(&version("h", "1", 256)), Seen::Wait(6));
    assert_eq!(world.request(&version("i", "1", 256)), Seen::Throttled(Throttle::Memory));
    available(&mut world, 600);
    assert!(matches!(world.request(&version("i", "1", 256)), Seen::Wait(_)));
    world.step(|core, now, actions| core.set_available(now, None, actions));
    assert_eq!(world.core.memory.ceiling, world.core.memory.budget);
}

#[test]
fn who_has_many_idle_environments_loses_one_first() {
    for victims in [Victims::GreedyDual, Victims::Oldest] {
        let mut world = World::new(Limits { memory_budget_mib: 448, starts_concurrent: 9, victims, ..limits() });
        world.memory = 64 * MIB;
        // Six uses: at once, or one after the other.
        let use_six_times = |world: &mut World, function: &str, at_once: bool| {
            let function = version(function, "1", 64);
            for _ in 0..6 {
                world.request(&function);
                world.stopped(0);
                world.advance(Duration::from_millis(100));
                world.started(0);
                if !at_once {
                    world.finished(0, true);
                }
            }
            while !world.busy.is_empty() {
                world.finished(0, true);
            }
        };
        use_six_times(&mut world, "many", true);
        use_six_times(&mut world, "one", false);
        assert_eq!((world.core.environments.len(), world.core.counters.evicted), (7, 0));
        for other in ["a", "b", "c"] {
            use_six_times(&mut world, other, false);
        }
        assert_eq!(world.core.counters.evicted, 3);
        let left = |function: &str| {
            let key = version(function, "1", 64).key.clone();
            world.core.version_by_key.get(&key).and_then(|&id| world.core.versions.get(id)).map(|v| v.living)
        };
        assert_eq!((left("many"), left("one")), (Some(3), Some(1)), "{victims:?}");
    }
}

#[test]
fn a_burst_leaves_its_fair_share_of_memory_to_others() {
    let mut world = World::new(Limits { starts_concurrent: 100, ..limits() });
    world.memory = 64 * MIB;
    let greedy: Vec<_> = (0..3).map(|f| version(&format!("greedy{f}"), "1", 64)).collect();
    for function in &greedy {
        world.idle(function);
    }
    for _ in 0..100 {
        for function in &greedy {
            world.request(function);
        }
        world.started(0);
    }
    let free = world.core.memory.ceiling - world.core.memory.sum.promised;
    assert!(free >= world.core.memory.ceiling / 13 - 64 * MIB, "1/(4·3+1) is left, {} MiB", free / MIB);
    assert!(matches!(world.request(&version("modest", "1", 64)), Seen::Wait(_)));
}

#[test]
fn a_burst_leaves_places_in_the_queue_to_others() {
    let mut world =
        World::new(Limits { waiters_total: 12, waiters_per_function: 100, memory_budget_mib: 100_000, ..limits() });
    let admitted = |world: &mut World, function: &str| {
        let function = version(function, "1", 64);
        (0..20).filter(|_| matches!(world.request(&function), Seen::Wait(_))).count()
    };
    assert_eq!(admitted(&mut world, "a"), 6, "half");
    assert_eq!(admitted(&mut world, "b"), 3, "half of what is left");
    assert_eq!(admitted(&mut world, "c"), 2);
    assert_eq!(admitted(&mut world, "d"), 1);
    assert_eq!(world.request(&version("e", "1", 64)), Seen::Throttled(Throttle::TotalBacklog));
    assert_eq!(world.request(&version("a", "1", 64)), Seen::Throttled(Throttle::TotalBacklog));
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
    assert_eq!(world.granted, [(1, BUSY)]);
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
    assert_eq!(world.granted.last(), Some(&(3, Start::Warm)));
    assert_eq!(world.request(&old), Seen::Wait(4));
    world.step(|core, now, actions| core.retire_function(now, &old.key.function, |key| &*key.revision != "2", actions));
    let granted = world.granted.len();
    world.finished(0, true);
    assert_eq!(world.granted.len(), granted, "a retired environment is not handed on");
    assert!(matches!(world.request(&new), Seen::Wait(_)));
    world.settle();
    assert!(world.granted.iter().any(|&(waiter, _)| waiter == 4), "who was admitted before is served by a fresh one");
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
    let mut world = World::new(kept(60_000, 100_000, limits()));
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
    assert_eq!((world.core.versions.len(), world.core.functions.len(), world.core.pools.len()), (0, 0, 0));
}

#[test]
fn a_function_that_is_called_every_twenty_minutes_is_kept_once_that_is_known() {
    let mut world = World::new(Limits { age_max: Duration::from_secs(360_000), ..limits() });
    let f = version("f", "1", 128);
    let mut warm = Vec::new();
    for _ in 0..30 {
        match world.request(&f) {
            Seen::Run => warm.push(true),
            _ => {
                warm.push(false);
                world.started(0);
            }
        }
        world.finished(0, true);
        world.advance(Duration::from_secs(600));
        world.stopped(0);
        world.advance(Duration::from_secs(600));
    }
    assert!(warm[..10].iter().all(|&warm| !warm), "ten minutes do not last");
    assert!(warm[12..].iter().all(|&warm| warm), "{warm:?}");
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
fn functions_that_call_functions_wider_and_deeper_than_the_memory_are_refused_at_once() {
    let mut world = World::new(Limits { memory_budget_mib: 512, starts_concurrent: 1, ..limits() });
    world.memory = 60 * MIB;
    let functions: Vec<_> = (0..4).map(|f| version(&format!("f{f}"), "1", 64)).collect();
    let (mut running, mut refused) = (0, 0);
    for call in 0..80 {
        // Each call is made by the one before, which keeps its environment until this one is answered.
        match world.request(&functions[call % functions.len()]) {
            Seen::Wait(_) => {
                assert_eq!(world.starting.len(), 1, "its start begins at once");
                world.started(0);
                running += 1;
            }
            Seen::Run => running += 1,
            Seen::Throttled(Throttle::Memory) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert_eq!(world.core.waiters_total, 0, "nobody waits");
    }
    assert!(running >= 6 && refused == 80 - running, "{running} {refused}");
    while !world.busy.is_empty() {
        world.finished(world.busy.len() - 1, true);
    }
    assert_eq!(world.request(&functions[0]), Seen::Run, "and afterwards all is as before");
}

#[test]
fn a_burst_of_one_function_does_not_hold_up_another() {
    let mut world = World::new(Limits { starts_concurrent: 1, ..limits() });
    let g = version("g", "1", 64);
    for call in 0..12 {
        // Many versions of a function have no more turns than one.
        world.request(&version("f", &(call % 6).to_string(), 64));
    }
    let Seen::Wait(other) = world.request(&g) else { panic!("it waits") };
    world.started(0);
    world.started(0);
    world.started(0);
    assert!(world.granted.iter().any(|&(waiter, _)| waiter == other));
}

#[test]
fn waiting_is_bounded_per_function_and_in_total() {
    let mut world = World::new(Limits { waiters_per_function: 2, waiters_total: 5, ..limits() });
    let (f, g) = (version("f", "1", 64), version("g", "1", 64));
    world.request(&f);
    world.request(&f);
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::FunctionBacklog));
    world.request(&g);
    world.request(&version("h", "1", 64));
    world.request(&version("i", "1", 64));
    assert_eq!(world.request(&g), Seen::Throttled(Throttle::TotalBacklog));
}

#[test]
fn only_so_many_versions_are_remembered() {
    let mut world = World::new(kept(1000, 60_000, Limits { versions_remembered: 3, ..limits() }));
    for function in 0..10 {
        world.idle(&version(&format!("f{function}"), "1", 64));
    }
    world.advance(Duration::from_secs(2));
    world.settle();
    assert_eq!((world.core.versions.len(), world.core.remembered.len()), (0, 3));
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
    assert_eq!((world.core.in_flight(), world.core.environments.len()), (0, 0));
    assert_eq!(world.granted.len(), 2);
}
