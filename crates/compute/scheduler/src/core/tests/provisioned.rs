//! Provisioned concurrency, scene by scene.

use super::*;

fn provision(world: &mut World, version: &Arc<FunctionVersion<()>>, wanted: u32) {
    world.provision(version, wanted);
    while !world.starting.is_empty() {
        world.started(0);
    }
}

#[test]
fn only_ready_environments_are_allocated_and_they_are_used_first() {
    let mut world = World::new(limits());
    let f = version("f", "1", 64);
    world.idle(&f);
    world.provision(&f, 3);
    assert_eq!((world.starting.len(), world.provisioned(&f)), (2, Some((3, 0, 0))), "two slots");
    world.started(0);
    assert_eq!(world.provisioned(&f), Some((3, 1, 1)));
    world.started(0);
    world.started(0);
    assert_eq!(world.provisioned(&f), Some((3, 3, 3)));
    for _ in 0..3 {
        assert_eq!(world.request(&f), Seen::Run);
        let (id, _) = *world.busy.last().unwrap();
        assert!(world.core.environments.get(id).unwrap().provisioned);
    }
    assert_eq!(world.provisioned(&f), Some((3, 3, 0)));
    assert_eq!(world.request(&f), Seen::Run, "spill-over takes an idle on-demand one");
    assert!(matches!(world.request(&f), Seen::Wait(_)), "and then starts one");
    world.settle();
    assert_eq!(world.provisioned(&f), Some((3, 3, 3)));
}

#[test]
fn it_is_set_aside_from_what_others_may_run() {
    let mut world = World::new(Limits { account_concurrency: 5, ..limits() });
    let (f, g) = (version("f", "1", 64), version("g", "1", 64));
    world.provision(&f, 3);
    assert_eq!(world.core.concurrency(&f.account, &f.region).unreserved(), 2);
    assert!(matches!((world.request(&g), world.request(&g)), (Seen::Wait(_), Seen::Wait(_))));
    assert_eq!(world.request(&g), Seen::Throttled(Throttle::AccountConcurrency));
    for _ in 0..3 {
        assert!(matches!(world.request(&f), Seen::Wait(_)), "its own part, although none is ready yet");
    }
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::AccountConcurrency), "nothing is left to spill over to");
    world.provision(&f, 0);
    assert_eq!(world.core.concurrency(&f.account, &f.region).unreserved(), 5);
    world.settle();
}

#[test]
fn within_a_reservation_it_is_set_aside_from_the_functions_other_versions() {
    let mut world = World::new(limits());
    let (f, latest) = (version("f", "1", 64), version("f", "2", 64));
    world.core.set_reserved(&f.account, &f.region, &f.key.function, Some(3));
    provision(&mut world, &f, 2);
    assert!(matches!(world.request(&latest), Seen::Wait(_)));
    assert_eq!(world.request(&latest), Seen::Throttled(Throttle::ReservedConcurrency));
    assert_eq!((world.request(&f), world.request(&f)), (Seen::Run, Seen::Run));
    assert_eq!(world.request(&f), Seen::Throttled(Throttle::ReservedConcurrency));
    world.core.set_reserved(&f.account, &f.region, &f.key.function, None);
    world.core.check();
    assert!(matches!(world.request(&f), Seen::Wait(_)));
    world.settle();
}

#[test]
fn it_neither_expires_nor_makes_room() {
    let mut world = World::new(kept(1000, 600_000, Limits { memory_budget_mib: 256, ..limits() }));
    world.memory = 60 * MIB;
    let (f, g) = (version("f", "1", 64), version("g", "1", 64));
    provision(&mut world, &f, 3);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.provisioned(&f), Some((3, 3, 3)));
    world.idle(&g);
    assert_eq!(world.request(&version("h", "1", 256)), Seen::Wait(1), "g's idle one makes room");
    assert_eq!(world.request(&version("i", "1", 256)), Seen::Throttled(Throttle::Memory));
    assert_eq!(world.provisioned(&f), Some((3, 3, 3)));
    assert!((0..3).all(|_| world.request(&f) == Seen::Run), "and can run at any moment");
}

#[test]
fn one_that_ends_is_replaced() {
    let mut world = World::new(limits());
    let f = version("f", "1", 64);
    provision(&mut world, &f, 1);
    assert_eq!(world.request(&f), Seen::Run);
    world.finished(0, false);
    assert_eq!(world.provisioned(&f), Some((1, 0, 0)));
    world.stopped(0);
    world.started(0);
    assert_eq!(world.provisioned(&f), Some((1, 1, 1)));
    let (id, _) = world.core.environments.iter().next().unwrap();
    world.step(|core, now, actions| core.died(now, id, actions));
    assert!(world.starting.is_empty(), "it ended unused: not at once again");
    assert!(world.core.provisioned(&f.key).unwrap().failure.unwrap().contains("ended"));
    world.advance(Duration::from_secs(1));
    world.started(0);
    assert_eq!(world.provisioned(&f), Some((1, 1, 1)));
    assert_eq!(world.core.provisioned(&f.key).unwrap().failure, None);
}

#[test]
fn a_failed_start_is_tried_again_after_a_pause_that_doubles() {
    let mut world = World::new(limits());
    let f = version("f", "1", 64);
    world.provision(&f, 1);
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        world.start_failed(0);
        assert_eq!(world.core.provisioned(&f.key).unwrap().failure.as_deref(), Some("it is broken"));
        world.advance(Duration::from_secs(pause) - Duration::from_millis(1));
        assert!(world.starting.is_empty(), "not before {pause} s");
        world.advance(Duration::from_millis(1));
        assert_eq!(world.starting.len(), 1);
    }
    world.start_failed(0);
    world.provision(&f, 1);
    assert_eq!(world.starting.len(), 1, "asked for again, it is tried at once");
    world.started(0);
    assert_eq!(
        world.core.provisioned(&f.key).unwrap(),
        Provisioned { requested: 1, allocated: 1, available: 1, failure: None }
    );
}

#[test]
fn without_memory_it_waits_and_says_so() {
    let mut world = World::new(Limits { memory_budget_mib: 128, ..limits() });
    world.memory = 64 * MIB;
    let (f, g) = (version("f", "1", 64), version("g", "1", 128));
    world.idle(&f);
    world.provision(&f, 3);
    world.stopped(0);
    world.started(0);
    world.started(0);
    assert_eq!(world.provisioned(&f), Some((3, 2, 2)));
    assert!(world.core.provisioned(&f.key).unwrap().failure.unwrap().contains("memory budget"));
    assert_eq!(world.request(&g), Seen::Throttled(Throttle::Memory));
    world.provision(&f, 1);
    assert_eq!((world.stopping.len(), world.provisioned(&f)), (1, Some((1, 1, 1))));
    world.settle();
}

#[test]
fn less_is_reached_without_touching_what_runs_and_zero_ends_it() {
    let mut world = World::new(limits());
    let f = version("f", "1", 64);
    provision(&mut world, &f, 3);
    world.request(&f);
    world.provision(&f, 1);
    assert_eq!(world.stopping.len(), 2);
    assert_eq!(world.provisioned(&f), Some((1, 1, 0)));
    world.finished(0, true);
    assert_eq!(world.provisioned(&f), Some((1, 1, 1)));
    world.provision(&f, 0);
    world.settle();
    assert_eq!((world.provisioned(&f), world.core.versions.len(), world.core.functions.len()), (None, 0, 0));
}

#[test]
fn zero_while_they_start_ends_them_when_they_are_ready() {
    let mut world = World::new(limits());
    let f = version("f", "1", 64);
    world.provision(&f, 5);
    world.provision(&f, 0);
    assert_eq!(world.core.snapshot(world.env.monotonic(), |_| None).starts_queued, 0);
    world.settle();
    assert_eq!((world.core.environments.len(), world.core.versions.len()), (0, 0));
}

#[test]
fn a_retired_version_has_none() {
    let mut world = World::new(limits());
    let f = version("f", "1", 64);
    provision(&mut world, &f, 2);
    world.request(&f);
    world.step(|core, now, actions| core.retire_function(now, &f.key.function, |_| true, actions));
    assert_eq!((world.provisioned(&f), world.stopping.len()), (None, 1));
    world.provision(&f, 2);
    assert_eq!(world.provisioned(&f), None);
    world.settle();
    assert_eq!(world.core.versions.len(), 0);
}

#[test]
fn an_old_one_goes_when_its_successor_is_ready() {
    let mut world = World::new(kept(1000, 10_000, limits()));
    let f = version("f", "1", 64);
    provision(&mut world, &f, 1);
    world.advance(Duration::from_secs(10));
    assert_eq!((world.starting.len(), world.provisioned(&f)), (1, Some((1, 1, 1))), "it serves meanwhile");
    world.started(0);
    assert_eq!((world.stopping.len(), world.provisioned(&f)), (1, Some((1, 1, 1))));
    world.stopped(0);
    world.advance(Duration::from_secs(10));
    world.advance(Duration::from_secs(5));
    assert_eq!((world.stopping.len(), world.provisioned(&f)), (1, Some((1, 0, 0))), "its credentials end");
    world.settle();
}

#[test]
fn starts_on_demand_go_before_and_do_not_starve_it() {
    let mut world = World::new(Limits { starts_concurrent: 1, ..limits() });
    let (f, g) = (version("f", "1", 64), version("g", "1", 64));
    world.request(&g);
    world.provision(&f, 2);
    for _ in 0..8 {
        world.request(&g);
    }
    let mut order = Vec::new();
    for _ in 0..11 {
        order.push(world.core.environments.get(world.starting[0]).unwrap().provisioned);
        world.started(0);
    }
    assert_eq!(order.iter().position(|&provisioned| provisioned), Some(3));
    assert_eq!(order.iter().filter(|&&provisioned| provisioned).count(), 2);
    world.settle();
}
