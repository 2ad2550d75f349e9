//! What the scheduler's decisions cost, with 10, 1,000 and 10,000 functions that each have an idle environment. Read the
//! ratios: a decision is to cost about the same however many there are. `cargo bench -p compute-scheduler --features replay`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for a developer's eyes that measures real time"
)]

use std::{
    collections::BTreeMap,
    future::Future,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use base_env::Env;
use base_types::Region;
use bytes::Bytes;
use compute_api::{
    Completion, Credentials, Egress, Environment, EnvironmentId, EnvironmentSpec, Exit, Figures, FunctionHost,
    HostReport, InitializationType, Invocation, IsolationLevel, IsolationReport, LogFormat, Logging, Origin, Outcome,
    RuntimeListing, SeccompProfile, StartError, StartPolicy, output,
};
use compute_scheduler::{
    Blueprint, FunctionVersion, Limits, Rate, Scheduler, VersionKey,
    replay::{Arrival, Replay, Shape},
};

const COUNTS: [usize; 3] = [10, 1_000, 10_000];
const ROUNDS: usize = 200_000;
/// Times are taken over so many decisions at once: reading the clock costs as much as one.
const BATCH: usize = 50;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut reference = Vec::new();
    for count in COUNTS {
        report("warm, the same ten in turn", count, runtime.block_on(warm(count, 10)), &mut reference);
    }
    for count in COUNTS {
        report("warm, all in turn", count, runtime.block_on(warm(count, count)), &mut reference);
    }
    reference.clear();
    for count in COUNTS {
        report("cold: evict, start, run, idle", count, evict(count), &mut reference);
    }
}

/// Median and 99th percentile of the batches, as nanoseconds for one decision, and beside the first count's.
fn report(what: &str, count: usize, mut batches: Vec<Duration>, reference: &mut Vec<f64>) {
    batches.sort_unstable();
    let at = |part: f64| batches[((batches.len() - 1) as f64 * part) as usize].as_nanos() as f64 / BATCH as f64;
    let (p50, p99) = (at(0.5), at(0.99));
    reference.push(p50);
    println!("{what:32} {count:6} functions: p50 {p50:6.0} ns, p99 {p99:6.0} ns, {:.2} x", p50 / reference[0]);
}

/// Some of the functions in turn, each found idle. All in turn is the worst case: what a decision touches lies in no cache.
async fn warm(count: usize, used: usize) -> Vec<Duration> {
    let scheduler = Scheduler::new(Still, Env::real(), limits(1 << 30));
    let versions: Vec<_> = (0..count).map(version).collect();
    for version in &versions {
        drop(scheduler.acquire(version).await.unwrap());
    }
    let mut next = versions.iter().take(used).cycle();
    let mut batches = Vec::new();
    for _ in 0..ROUNDS / BATCH {
        let begun = Instant::now();
        for _ in 0..BATCH {
            drop(black_box(scheduler.acquire(next.next().unwrap()).await.unwrap()));
        }
        batches.push(begun.elapsed());
    }
    assert_eq!(scheduler.snapshot().counters.cold, count as u64);
    batches
}

/// Twice as many functions as fit, in turn: each finds the memory taken and the next victim goes.
fn evict(count: usize) -> Vec<Duration> {
    let shape = Shape { memory_mib: 64, resident_mib: 64, peak_mib: 64, start: Duration::from_micros(10) };
    let mut replay = Replay::new(limits(64 * count as u64), vec![shape; 2 * count]);
    let mut time = Duration::ZERO;
    let mut arrive = |function: usize, replay: &mut Replay| {
        time += Duration::from_micros(50);
        replay.arrive(Arrival { at: time, function, duration: Duration::from_micros(10) });
    };
    (0..2 * count).for_each(|function| arrive(function, &mut replay));
    let mut next = (0..2 * count).cycle();
    let mut batches = Vec::new();
    for _ in 0..ROUNDS / BATCH {
        let begun = Instant::now();
        for _ in 0..BATCH {
            arrive(next.next().unwrap(), &mut replay);
        }
        batches.push(begun.elapsed());
    }
    let outcome = replay.take_outcome();
    assert!(outcome.evicted >= ROUNDS as u64 && outcome.refused == 0, "{} {}", outcome.evicted, outcome.refused);
    batches
}

fn limits(memory_budget_mib: u64) -> Limits {
    Limits {
        account_concurrency: u32::MAX,
        scaling: Rate { count: 1_000_000, per: Duration::from_secs(1) },
        memory_budget_mib,
        memory_overcommit: 1000,
        starts_concurrent: 100,
        ..Limits::default()
    }
}

fn version(place: usize) -> Arc<FunctionVersion<Plan>> {
    Arc::new(FunctionVersion {
        key: VersionKey {
            function: format!("arn:aws:lambda:us-east-1:000000000000:function:{place}").into(),
            version: "$LATEST".into(),
            revision: "1".into(),
        },
        account: "000000000000".parse().unwrap(),
        region: Region::default(),
        memory_mib: 128,
        spec: Plan,
    })
}

/// A host whose environments do nothing at all.
#[derive(Clone)]
struct Still;

struct Nothing {
    spec: Arc<EnvironmentSpec>,
    isolation: IsolationReport,
}

impl FunctionHost for Still {
    type Environment = Nothing;

    async fn start(&self, spec: Arc<EnvironmentSpec>) -> Result<Nothing, StartError> {
        Ok(Nothing { spec, isolation: IsolationReport { level: IsolationLevel::Full, host_uid: 0, walls: Vec::new() } })
    }

    async fn snapshot(&self, _: Arc<EnvironmentSpec>) -> Result<(), StartError> {
        Err(StartError::NoSnapshot { reason: "this host has none".to_owned() })
    }

    fn forget_snapshot(&self, _: &str) {}

    fn runtimes(&self) -> Arc<RuntimeListing> {
        Arc::default()
    }

    fn report(&self) -> Arc<HostReport> {
        Arc::new(HostReport { level: IsolationLevel::Full, findings: Vec::new() })
    }

    async fn shutdown(&self) {}
}

impl Environment for Nothing {
    fn id(&self) -> EnvironmentId {
        EnvironmentId(0)
    }

    fn spec(&self) -> &Arc<EnvironmentSpec> {
        &self.spec
    }

    fn isolation(&self) -> &IsolationReport {
        &self.isolation
    }

    fn init_duration(&self) -> Duration {
        Duration::ZERO
    }

    fn origin(&self) -> Origin {
        Origin::Fresh
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn memory_bytes(&self) -> u64 {
        2 << 20
    }

    async fn invoke(&mut self, _: Invocation) -> Completion {
        let outcome = Outcome::Success { payload: Bytes::new() };
        Completion { outcome, figures: Figures::default(), log_tail: Bytes::new() }
    }

    fn is_settled(&self) -> bool {
        true
    }

    async fn settle(&mut self) {}

    fn ended(&self) -> impl Future<Output = Exit> + Send + 'static {
        std::future::pending()
    }

    async fn stop(self) {}
}

struct Plan;

impl Blueprint for Plan {
    async fn prepare(&self, initialization: InitializationType) -> Result<EnvironmentSpec, StartError> {
        let nothing = String::new;
        Ok(EnvironmentSpec {
            account: "000000000000".parse().unwrap(),
            region: Region::default(),
            function_name: nothing(),
            function_arn: nothing(),
            role_arn: nothing(),
            version: nothing(),
            runtime: nothing(),
            handler: nothing(),
            memory_mib: 128,
            tmp_mib: 512,
            timeout: Duration::from_secs(3),
            init_timeout: compute_api::INIT_TIMEOUT,
            variables: BTreeMap::new(),
            code: "/nonexistent".into(),
            layers: Vec::new(),
            logging: Logging {
                group: nothing(),
                stream: nothing(),
                format: LogFormat::Text,
                application_level: None,
                system_level: None,
            },
            credentials: Credentials {
                access_key_id: nothing(),
                secret_access_key: nothing(),
                session_token: nothing(),
            },
            egress: Egress::None,
            egress_allow: Vec::new(),
            initialization,
            start: StartPolicy::Prepared,
            snapshot: None,
            isolation_min: IsolationLevel::Full,
            seccomp: SeccompProfile::Default,
            output: output::channel(1024).0,
        })
    }
}
