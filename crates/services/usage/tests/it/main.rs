//! The meter, its writer and its queries through the memory store on simulated time (which runs every body twice).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Region, Timestamp};
use compute_api::{ColdReason, IsolationLevel, Origin, Start};
use services_kernel::Reconciler;
use services_ports::{Ending, InvocationRecord, Meter, MeteredFunction};
use services_usage::{KEPT, PAGE_ROWS_MAX, Selection, Summary, Usage, hours};
use store_api::Store;

/// 2026-11-23T12:00:00Z.
const NOW: u64 = 1_795_435_200_000;
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    env: Env,
    store: Store,
    usage: Usage,
}

impl World {
    fn new() -> Self {
        let env = Env::simulated(Timestamp::from_millis(NOW), 7);
        let store = Store::memory(&env);
        let usage = Self::count(&store);
        Self { env, store, usage }
    }

    /// A meter whose writer runs.
    fn count(store: &Store) -> Usage {
        let (usage, writer) = Usage::new(store.clone());
        tokio::spawn(writer.run());
        usage
    }

    async fn summary(&self, from: Timestamp) -> Summary {
        self.usage.summary(&selection(from)).await.unwrap()
    }
}

fn selection(from: Timestamp) -> Selection {
    Selection { account: AccountId::DEFAULT, region: Region::default(), function: None, from, until: Timestamp::MAX }
}

fn function(name: &str) -> MeteredFunction {
    MeteredFunction { account: AccountId::DEFAULT, region: Region::default(), name: Arc::from(name) }
}

fn record(name: &str, at: Timestamp) -> InvocationRecord {
    InvocationRecord {
        function: function(name),
        version: Arc::from("$LATEST"),
        request_id: Arc::from("r"),
        at,
        ending: Ending::Success,
        queued: Duration::from_micros(20),
        init: None,
        duration: Duration::from_millis(3),
        billed_millis: 3,
        cpu: Duration::from_millis(2),
        memory_mib: 128,
        tmp_mib: 512,
        memory_bytes_max: 9 << 20,
        bytes_in: 10,
        bytes_out: 20,
        start: Start::Warm,
        origin: Origin::Forked,
        isolation: IsolationLevel::Full,
        asynchronous: false,
        provisioned: false,
    }
}

#[tokio::test]
async fn everything_that_a_record_says_is_added_up() {
    let world = World::new();
    let at = world.env.now();
    for _ in 0..3 {
        world.usage.invocation(&record("a", at));
    }
    world.usage.invocation(&InvocationRecord {
        start: Start::Cold(ColdReason::Busy),
        origin: Origin::Restored,
        init: Some(Duration::from_millis(7)),
        ending: Ending::Timeout,
        billed_millis: 10,
        tmp_mib: 1024,
        memory_bytes_max: 11 << 20,
        asynchronous: true,
        ..record("a", at)
    });
    world.usage.throttle(&function("a"), at, "ReservedFunctionConcurrentInvocationLimitExceeded");
    world.usage.reserved(&function("a"), "$LATEST", 256, Duration::from_secs(10));
    let summary = world.summary(at).await;
    let sums = &summary.functions["a"]["$LATEST"];
    assert_eq!(sums.reserved_mib_millis, 2_560_000);
    assert_eq!((sums.invocations, sums.failed(), sums.timeouts, sums.throttled()), (4, 1, 1, 1));
    assert_eq!((sums.cold, sums.origins), ([0, 1, 0, 0, 0], [0, 0, 0, 1]));
    assert_eq!((sums.billed_millis, sums.billed_mib_millis), (19, 19 * 128));
    assert_eq!((sums.tmp_mib_millis, sums.restored_mib), (512 * 10, 128));
    assert_eq!((sums.cpu_micros, sums.duration_micros, sums.queued_micros), (8_000, 12_000, 80));
    assert_eq!((sums.bytes_in, sums.bytes_out, sums.memory_bytes_max), (40, 80, 11 << 20));
    assert_eq!((sums.duration.count(), sums.init.count(), sums.asynchronous), (4, 1, 1));
    assert_eq!(summary.months.keys().collect::<Vec<_>>(), ["2026-11"]);
}

#[tokio::test]
async fn sums_are_written_every_second_and_added_to_what_is_there() {
    let world = World::new();
    let at = world.env.now();
    world.usage.invocation(&record("a", at));
    tokio::task::yield_now().await;
    world.env.advance(Duration::from_secs(1));
    // Another process over the same store, as after a crash: nothing of its predecessor's memory is there.
    let next = World { env: world.env.clone(), store: world.store.clone(), usage: World::count(&world.store) };
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(next.summary(at).await.total().invocations, 1);
    next.usage.invocation(&record("a", at));
    world.usage.invocation(&record("a", at));
    next.usage.end().await.unwrap();
    world.usage.end().await.unwrap();
    assert!(world.usage.write().await.is_err(), "the writer has ended");
    let third = World { env: world.env.clone(), store: world.store.clone(), usage: World::count(&world.store) };
    assert_eq!(third.summary(at).await.total().invocations, 3);
}

#[tokio::test]
async fn a_selection_takes_whole_hours_one_account_and_one_function() {
    let world = World::new();
    let at = world.env.now();
    for (name, hours) in [("a", 0), ("a", 1), ("b", 2), ("c", 30)] {
        world.usage.invocation(&record(name, at + HOUR * hours + Duration::from_secs(59)));
    }
    let mut foreign = record("a", at);
    foreign.function.region = "eu-west-1".parse().unwrap();
    world.usage.invocation(&foreign);
    let total = |summary: Summary| (summary.functions.len(), summary.total().invocations);
    assert_eq!(total(world.summary(at).await), (3, 4));
    assert_eq!(total(world.summary(at + HOUR + Duration::from_secs(3599)).await), (3, 3));
    assert_eq!(total(world.summary(at + HOUR * 2).await), (2, 2));
    assert_eq!(total(world.summary(at + HOUR * 31).await), (0, 0));
    let until = Selection { until: at + HOUR, ..selection(at) };
    assert_eq!(total(world.usage.summary(&until).await.unwrap()), (1, 2));
    let one = Selection { function: Some("b".to_owned()), ..selection(at) };
    assert_eq!(total(world.usage.summary(&one).await.unwrap()), (1, 1));
    let none = Selection { function: Some("absent".to_owned()), ..selection(at) };
    assert_eq!(total(world.usage.summary(&none).await.unwrap()), (0, 0));
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip() {
    let world = World::new();
    let at = world.env.now();
    let hours_each = 70_u32;
    for name in 0..80 {
        for hour in 0..hours_each {
            world.usage.invocation(&record(&format!("f{name:03}"), at + HOUR * hour));
        }
    }
    world.usage.write().await.unwrap();
    let (mut seen, mut after, mut pages) = (0, None, 0);
    loop {
        let cursor = after.clone();
        let chosen = selection(at + HOUR * 5);
        let page = world.store.view(move |tx| hours(tx, &chosen, cursor.as_ref())).await.unwrap();
        assert!(page.rows.len() <= PAGE_ROWS_MAX);
        seen += page.rows.len();
        pages += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((seen, pages), (80 * 65, 2));
    assert_eq!(world.summary(at).await.total().invocations, 80 * 70);
}

#[tokio::test]
async fn rows_older_than_they_are_kept_are_reclaimed() {
    let world = World::new();
    let at = world.env.now();
    for hour in 0..1500_u32 {
        world.usage.invocation(&record("old", at + Duration::from_secs(u64::from(hour))));
        world.usage.invocation(&record(&format!("old-{hour}"), at));
    }
    world.usage.invocation(&record("new", at + HOUR * 5));
    world.usage.write().await.unwrap();
    let retention = world.usage.retention();
    assert_eq!(retention.round().await.unwrap(), None, "nothing is old yet");
    world.env.advance(KEPT + HOUR);
    let mut rounds = 1;
    while retention.round().await.unwrap().is_some() {
        rounds += 1;
    }
    let left = world.summary(Timestamp::EPOCH).await;
    assert_eq!((rounds, left.functions.keys().cloned().collect::<Vec<_>>()), (2, vec!["new".to_owned()]));
}

#[tokio::test]
async fn what_happens_now_is_remembered_within_bounds() {
    let world = World::new();
    let at = world.env.now();
    for number in 0..100 {
        let mut one = record("busy", at);
        one.request_id = Arc::from(number.to_string());
        world.usage.invocation(&one);
    }
    world.usage.throttle(&function("busy"), at, "TooMany");
    world.env.advance(Duration::from_secs(1));
    let live = world.usage.live(&function("busy")).unwrap();
    assert_eq!((live.recent.len(), &*live.recent[0].request_id), (services_usage::RECENT_MAX, "99"));
    assert!((live.invocations_per_second - 10.0).abs() < 1e-9 && (live.throttles_per_second - 0.1).abs() < 1e-9);
    assert!((live.processors - 0.02).abs() < 1e-9, "{}", live.processors);
    assert_eq!((live.invocations, live.throttles), (100, 1));
    world.env.advance(Duration::from_secs(20));
    assert_eq!(world.usage.live_all()[&function("busy")].invocations_per_second, 0.0);
    for number in 0..services_usage::FUNCTIONS_MAX * 2 {
        world.usage.invocation(&record(&format!("f{number}"), world.env.now()));
    }
    assert!(world.usage.live_all().len() <= services_usage::FUNCTIONS_MAX);
    world.usage.write().await.unwrap();
    let counted = world.summary(at).await.total().invocations;
    assert_eq!(counted, 100 + 2 * services_usage::FUNCTIONS_MAX as u64, "what is not remembered is still counted");
}

#[tokio::test]
async fn more_functions_than_fit_into_memory_are_counted_together() {
    let world = World::new();
    let at = world.env.now();
    let many = 20_000_u64;
    for number in 0..many {
        world.usage.invocation(&record(&format!("f{number}"), at));
    }
    let summary = world.summary(at).await;
    assert_eq!(summary.total().invocations, many);
    assert!(summary.functions.contains_key("*") && summary.functions.len() < 20_000);
}
