//! The scheduler with its tasks, over a host whose environments are timers: placement seen through the public surface.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use base_types::Region;
use bytes::Bytes;
use compute_api::{
    ColdReason, Completion, Credentials, Egress, Environment, EnvironmentId, EnvironmentSpec, Exit, Figures,
    FunctionHost, HostReport, InitFailure, InitOutcome, InitializationType, Invocation, IsolationLevel,
    IsolationReport, LogFormat, Logging, Origin, Outcome, RuntimeListing, SeccompProfile, Start, StartError,
};
use compute_scheduler::{
    Blueprint, EnvironmentState, FunctionVersion, Limits, MemoryProbe, Refused, Scheduler, Throttle, VersionKey,
};
use tokio::sync::watch;

/// Counts what it is asked to do; its environments answer with the payload they were given.
#[derive(Clone)]
struct Timers(Arc<Counts>);

struct Counts {
    env: Env,
    started: AtomicU64,
    living: AtomicU32,
    answered: AtomicU64,
    attempts: AtomicU64,
}

struct Timer {
    settled: bool,
    host: Timers,
    id: u64,
    spec: Arc<EnvironmentSpec>,
    isolation: IsolationReport,
    alive: bool,
    end: watch::Sender<bool>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.host.0.living.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FunctionHost for Timers {
    type Environment = Timer;

    async fn start(&self, spec: Arc<EnvironmentSpec>) -> Result<Timer, StartError> {
        self.0.env.sleep(Duration::from_millis(5)).await;
        if spec.handler == "broken" || (spec.handler == "healed" && self.0.attempts.fetch_add(1, Ordering::SeqCst) == 0)
        {
            let failure =
                InitFailure { outcome: InitOutcome::Timeout, figures: Figures::default(), log_tail: Bytes::new() };
            return Err(StartError::Init(Box::new(failure)));
        }
        assert!(spec.handler != "panics", "as asked");
        self.0.living.fetch_add(1, Ordering::SeqCst);
        let id = self.0.started.fetch_add(1, Ordering::SeqCst);
        let isolation = IsolationReport { level: IsolationLevel::Refused, host_uid: 0, walls: Vec::new() };
        Ok(Timer {
            settled: true,
            host: self.clone(),
            id,
            spec,
            isolation,
            alive: true,
            end: watch::Sender::new(false),
        })
    }

    async fn snapshot(&self, _: Arc<EnvironmentSpec>) -> Result<(), StartError> {
        Err(StartError::NoSnapshot { reason: "this host has none".to_owned() })
    }

    fn forget_snapshot(&self, _: &str) {}

    fn runtimes(&self) -> Arc<RuntimeListing> {
        Arc::new(RuntimeListing::default())
    }

    fn report(&self) -> Arc<HostReport> {
        Arc::new(HostReport { level: IsolationLevel::Refused, findings: Vec::new() })
    }

    async fn shutdown(&self) {}
}

impl Environment for Timer {
    fn id(&self) -> EnvironmentId {
        EnvironmentId(self.id)
    }

    fn spec(&self) -> &Arc<EnvironmentSpec> {
        &self.spec
    }

    fn isolation(&self) -> &IsolationReport {
        &self.isolation
    }

    fn init_duration(&self) -> Duration {
        Duration::from_millis(5)
    }

    fn origin(&self) -> compute_api::Origin {
        compute_api::Origin::Fresh
    }

    fn is_settled(&self) -> bool {
        self.settled
    }

    async fn settle(&mut self) {
        if !self.settled {
            self.host.0.env.sleep(Duration::from_millis(100)).await;
            self.settled = true;
        }
    }

    fn is_alive(&self) -> bool {
        self.alive
    }

    fn memory_bytes(&self) -> u64 {
        3 << 20
    }

    async fn invoke(&mut self, invocation: Invocation) -> Completion {
        self.host.0.env.sleep(Duration::from_millis(20)).await;
        self.host.0.answered.fetch_add(1, Ordering::SeqCst);
        let outcome = match &invocation.payload[..] {
            b"extension" => {
                self.settled = false;
                Outcome::Success { payload: Bytes::new() }
            }
            b"exit" => {
                self.alive = false;
                self.end.send_replace(true);
                Outcome::Exited(Exit::Status(1))
            }
            b"exit later" => {
                let end = self.end.clone();
                let env = self.host.0.env.clone();
                tokio::spawn(async move {
                    env.sleep(Duration::from_millis(10)).await;
                    end.send_replace(true);
                });
                Outcome::Success { payload: Bytes::new() }
            }
            _ => Outcome::Success { payload: invocation.payload },
        };
        let (duration, cpu) = (Duration::from_millis(20), Duration::from_millis(5));
        let figures = Figures { duration, cpu, memory_bytes_max: 5 << 20, ..Figures::default() };
        Completion { outcome, figures, log_tail: Bytes::new() }
    }

    fn ended(&self) -> impl Future<Output = Exit> + Send + 'static {
        let mut end = self.end.subscribe();
        async move {
            // A dropped environment has ended too.
            drop(end.wait_for(|ended| *ended).await);
            Exit::Status(0)
        }
    }

    async fn stop(self) {}
}

struct Plan {
    handler: &'static str,
}

impl Blueprint for Plan {
    async fn prepare(&self, initialization: InitializationType) -> Result<EnvironmentSpec, StartError> {
        Ok(EnvironmentSpec {
            account: "000000000000".parse().unwrap(),
            region: Region::default(),
            function_name: "f".into(),
            function_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            role_arn: "arn:aws:iam::000000000000:role/any".into(),
            version: "$LATEST".into(),
            runtime: "provided.al2023".into(),
            handler: self.handler.into(),
            memory_mib: 128,
            tmp_mib: 512,
            timeout: Duration::from_secs(3),
            init_timeout: compute_api::INIT_TIMEOUT,
            variables: BTreeMap::new(),
            code: "/nonexistent".into(),
            layers: Vec::new(),
            logging: Logging {
                group: "g".into(),
                stream: "s".into(),
                format: LogFormat::Text,
                application_level: None,
                system_level: None,
            },
            credentials: Credentials {
                access_key_id: String::new(),
                secret_access_key: String::new(),
                session_token: String::new(),
            },
            egress: Egress::None,
            egress_allow: Vec::new(),
            initialization,
            start: compute_api::StartPolicy::Prepared,
            snapshot: None,
            isolation_min: IsolationLevel::Refused,
            seccomp: SeccompProfile::Default,
            output: compute_api::output::channel(1024).0,
        })
    }
}

fn version(handler: &'static str, revision: &str) -> Arc<FunctionVersion<Plan>> {
    Arc::new(FunctionVersion {
        key: VersionKey { function: handler.into(), version: "$LATEST".into(), revision: revision.into() },
        account: "000000000000".parse().unwrap(),
        region: Region::default(),
        memory_mib: 128,
        spec: Plan { handler },
    })
}

fn invocation(payload: &'static str) -> Invocation {
    Invocation {
        request_id: "r".into(),
        payload: Bytes::from_static(payload.as_bytes()),
        invoked_function_arn: "arn".into(),
        trace_id: None,
        client_context: None,
        cognito_identity: None,
        response: None,
    }
}

fn scheduler(limits: Limits) -> (Timers, Scheduler<Timers, Plan>) {
    let env = Env::real();
    let counts = Counts {
        env: env.clone(),
        started: AtomicU64::new(0),
        living: AtomicU32::new(0),
        answered: AtomicU64::new(0),
        attempts: AtomicU64::new(0),
    };
    let host = Timers(Arc::new(counts));
    (host.clone(), Scheduler::new(host, env, limits))
}

/// Waits for something that happens soon, in a task of its own.
async fn soon(what: impl Fn() -> bool) {
    let env = Env::real();
    for _ in 0..500 {
        if what() {
            return;
        }
        env.sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within 5 s");
}

#[tokio::test]
async fn the_first_call_is_cold_and_the_next_is_warm() {
    let (host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    let first = scheduler.invoke(f.clone(), invocation("a")).await.unwrap();
    let second = scheduler.invoke(f.clone(), invocation("b")).await.unwrap();
    assert_eq!((first.start, second.start), (Start::Cold(ColdReason::First), Start::Warm));
    assert_eq!(second.completion.outcome, Outcome::Success { payload: Bytes::from_static(b"b") });
    assert_eq!(host.0.started.load(Ordering::SeqCst), 1);
    let snapshot = scheduler.snapshot();
    assert_eq!((snapshot.counters.cold, snapshot.counters.warm, snapshot.in_flight), (1, 1, 0));
    assert_eq!(snapshot.environments[0].state, EnvironmentState::Idle);
    assert_eq!(snapshot.environments[0].uses, 2);
}

#[tokio::test]
async fn a_changed_function_runs_in_a_new_environment() {
    let (host, scheduler) = scheduler(Limits::default());
    scheduler.invoke(version("f", "1"), invocation("")).await.unwrap();
    scheduler.retire_others(&"f".into(), "$LATEST", "2");
    soon(|| host.0.living.load(Ordering::SeqCst) == 0).await;
    let after = scheduler.invoke(version("f", "2"), invocation("")).await.unwrap();
    assert_eq!(after.start, Start::Cold(ColdReason::First));
    scheduler.retire_function(&"f".into());
    soon(|| scheduler.snapshot().environments.is_empty()).await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_end_the_invocation() {
    let (host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    let env = Env::real();
    let call = scheduler.invoke(f.clone(), invocation(""));
    assert!(env.timeout(Duration::from_millis(10), call).await.is_err());
    soon(|| host.0.answered.load(Ordering::SeqCst) == 1).await;
    soon(|| scheduler.snapshot().in_flight == 0).await;
    assert_eq!(scheduler.invoke(f, invocation("")).await.unwrap().start, Start::Warm);
}

#[tokio::test]
async fn an_acquirer_who_gives_up_waiting_leaves_the_environment_to_the_next() {
    let (_host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    let env = Env::real();
    assert!(env.timeout(Duration::from_millis(1), scheduler.acquire(&f)).await.is_err());
    assert_eq!(scheduler.snapshot().in_flight, 0);
    soon(|| scheduler.snapshot().environments.iter().any(|e| e.state == EnvironmentState::Idle)).await;
    assert_eq!(scheduler.invoke(f, invocation("")).await.unwrap().start, Start::Warm);
}

#[tokio::test]
async fn a_failed_start_reaches_the_waiter_also_when_it_panics() {
    let (_host, scheduler) = scheduler(Limits::default());
    let refused = scheduler.invoke(version("broken", "1"), invocation("")).await.unwrap_err();
    assert!(matches!(refused, Refused::Start { error: StartError::Init(_), spec: Some(_) }), "{refused:?}");
    let refused = scheduler.invoke(version("panics", "1"), invocation("")).await.unwrap_err();
    assert!(matches!(refused, Refused::Start { error: StartError::Host(_), .. }), "{refused:?}");
    assert_eq!(scheduler.snapshot().in_flight, 0);
}

#[tokio::test]
async fn a_slow_start_is_waited_for_and_a_place_behind_it_is_not() {
    let limits = Limits { wait_max: Duration::from_millis(1), starts_concurrent: 1, ..Limits::default() };
    let (_host, scheduler) = scheduler(limits);
    let (first, second) = tokio::join!(
        scheduler.invoke(version("f", "1"), invocation("")),
        scheduler.invoke(version("g", "1"), invocation(""))
    );
    assert!(first.is_ok(), "{:?}", first.err());
    let refused = second.map(|_| ()).unwrap_err();
    assert!(matches!(refused, Refused::Throttled(Throttle::FunctionBacklog)), "{refused:?}");
}

#[tokio::test]
async fn an_environment_that_exits_is_not_used_again() {
    let (host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    scheduler.invoke(f.clone(), invocation("exit")).await.unwrap();
    assert_eq!(
        scheduler.invoke(f.clone(), invocation("exit later")).await.unwrap().start,
        Start::Cold(ColdReason::Ended)
    );
    soon(|| host.0.living.load(Ordering::SeqCst) == 0).await;
    assert_eq!(scheduler.invoke(f, invocation("")).await.unwrap().start, Start::Cold(ColdReason::Ended));
}

#[tokio::test]
async fn reserved_zero_refuses_the_very_next_call() {
    let (_host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    scheduler.invoke(f.clone(), invocation("")).await.unwrap();
    scheduler.set_reserved(&f.account, &f.region, &f.key.function, Some(0));
    let refused = scheduler.invoke(f, invocation("")).await.unwrap_err();
    assert!(matches!(refused, Refused::Throttled(Throttle::ReservedConcurrency)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_call_functions_go_deeper_than_any_pool() {
    let limits = Limits { starts_concurrent: 1, start_slot_hold: Duration::from_millis(50), ..Limits::default() };
    let (_host, scheduler) = scheduler(limits);
    let f = version("f", "1");
    let mut leases = Vec::new();
    for _ in 0..30 {
        leases.push(scheduler.acquire(&f).await.unwrap());
    }
    assert_eq!(scheduler.snapshot().in_flight, 30);
    drop(leases);
    assert_eq!(scheduler.snapshot().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_are_all_answered() {
    let limits = Limits { memory_budget_mib: 40 * 32, memory_overcommit: 1, ..Limits::default() };
    let (host, scheduler) = scheduler(limits);
    let calls: Vec<_> = (0..200)
        .map(|i| {
            let (scheduler, f) = (scheduler.clone(), version("f", if i % 2 == 0 { "1" } else { "2" }));
            tokio::spawn(async move { scheduler.invoke(f, invocation("x")).await })
        })
        .collect();
    let (mut ran, mut throttled) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => ran += 1,
            Err(Refused::Throttled(Throttle::Memory)) => throttled += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((ran + throttled, ran >= 10), (200, true), "1280 MiB hold ten times 128");
    assert!(host.0.started.load(Ordering::SeqCst) <= 200);
    let snapshot = scheduler.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.waiters, snapshot.starts_queued), (0, 0, 0));
}

#[tokio::test]
async fn shutting_down_waits_for_what_runs_and_refuses_what_comes() {
    let (_host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    let running = tokio::spawn(scheduler.invoke(f.clone(), invocation("last")));
    soon(|| scheduler.snapshot().in_flight == 1).await;
    assert!(scheduler.shut_down(Duration::from_secs(5)).await);
    assert!(running.await.unwrap().is_ok());
    assert!(matches!(scheduler.invoke(f, invocation("")).await, Err(Refused::ShuttingDown)));
}

#[tokio::test]
async fn shutting_down_does_not_wait_beyond_its_limit() {
    let (_host, scheduler) = scheduler(Limits::default());
    let lease = scheduler.acquire(&version("f", "1")).await.unwrap();
    assert!(!scheduler.shut_down(Duration::from_millis(20)).await);
    drop(lease);
}

#[tokio::test]
async fn what_a_meter_wants_to_know_comes_with_the_completion() {
    let (_host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    let first = scheduler.invoke(f.clone(), invocation("")).await.unwrap();
    assert!(first.queued >= Duration::from_millis(5), "it waited for the start: {:?}", first.queued);
    assert_eq!((first.origin, first.isolation, first.provisioned), (Origin::Fresh, IsolationLevel::Refused, false));
    let second = scheduler.invoke(f, invocation("")).await.unwrap();
    assert_eq!(second.queued, Duration::ZERO);
    let snapshot = scheduler.snapshot();
    let environment = &snapshot.environments[0];
    assert_eq!((environment.memory_bytes >> 20, environment.memory_bytes_max >> 20), (3, 5));
    assert!((environment.cpu_share() - 0.25).abs() < 1e-9);
    assert_eq!((environment.origin, environment.isolation), (Some(Origin::Fresh), Some(IsolationLevel::Refused)));
    assert_eq!((snapshot.versions[0].cold, snapshot.versions[0].warm, snapshot.versions[0].idle), (1, 1, 1));
    assert_eq!(snapshot.counters.cold_reasons, BTreeMap::from([(ColdReason::First, 1)]));
}

#[tokio::test]
async fn an_environment_whose_extensions_are_at_work_is_busy_until_they_are_done() {
    let (_host, scheduler) = scheduler(Limits { account_concurrency: 1, ..Limits::default() });
    let f = version("f", "1");
    let answered = scheduler.invoke(f.clone(), invocation("extension")).await.unwrap();
    assert_eq!(answered.completion.outcome, Outcome::Success { payload: Bytes::new() });
    assert_eq!(scheduler.snapshot().environments[0].state, EnvironmentState::Settling);
    let refused = scheduler.invoke(f.clone(), invocation("")).await.unwrap_err();
    assert!(matches!(refused, Refused::Throttled(Throttle::AccountConcurrency)), "it counts: {refused:?}");
    soon(|| scheduler.snapshot().environments[0].state == EnvironmentState::Idle).await;
    assert_eq!(scheduler.invoke(f, invocation("")).await.unwrap().start, Start::Warm);
}

#[tokio::test]
async fn provisioned_environments_are_started_ahead_and_say_so() {
    let (host, scheduler) = scheduler(Limits::default());
    let f = version("f", "1");
    scheduler.set_provisioned(&f, 3);
    assert_eq!(scheduler.provisioned(&f.key).unwrap().allocated, 0, "none is ready yet");
    soon(|| scheduler.provisioned(&f.key).unwrap().allocated == 3).await;
    let ran = scheduler.invoke(f.clone(), invocation("")).await.unwrap();
    assert_eq!((ran.start, ran.provisioned), (Start::Warm, true));
    assert_eq!(ran.spec.initialization, InitializationType::ProvisionedConcurrency);
    scheduler.invoke(f.clone(), invocation("exit")).await.unwrap();
    soon(|| host.0.started.load(Ordering::SeqCst) == 4 && scheduler.provisioned(&f.key).unwrap().available == 3).await;
    let leases = [scheduler.acquire(&f).await, scheduler.acquire(&f).await, scheduler.acquire(&f).await];
    let spilled = scheduler.invoke(f.clone(), invocation("")).await.unwrap();
    assert_eq!((spilled.provisioned, spilled.spec.initialization), (false, InitializationType::OnDemand));
    drop(leases);
    scheduler.set_provisioned(&f, 0);
    soon(|| host.0.living.load(Ordering::SeqCst) == 1).await;
    assert_eq!(scheduler.provisioned(&f.key), None);
}

#[tokio::test]
async fn a_provisioned_start_that_fails_says_why_and_is_tried_again() {
    let (_host, scheduler) = scheduler(Limits::default());
    let f = version("healed", "1");
    scheduler.set_provisioned(&f, 1);
    soon(|| scheduler.provisioned(&f.key).unwrap().failure.is_some()).await;
    let failure = scheduler.provisioned(&f.key).unwrap().failure.unwrap();
    assert_eq!(failure, "the function's initialisation failed: it took too long");
    soon(|| scheduler.provisioned(&f.key).unwrap().allocated == 1).await;
    assert_eq!(scheduler.provisioned(&f.key).unwrap().failure, None);
}

#[tokio::test]
async fn a_host_without_memory_stops_what_is_idle() {
    let available = Arc::new(AtomicU64::new(4 << 30));
    let asked = available.clone();
    let probe = MemoryProbe::new(move || Some(asked.load(Ordering::SeqCst)));
    let (host, scheduler) = scheduler(Limits { memory_probe: Some(probe), ..Limits::default() });
    let (f, g) = (version("f", "1"), version("g", "1"));
    scheduler.invoke(f, invocation("")).await.unwrap();
    assert_eq!(host.0.living.load(Ordering::SeqCst), 1);
    available.store(64 << 20, Ordering::SeqCst);
    soon(|| host.0.living.load(Ordering::SeqCst) == 0).await;
    assert_eq!(scheduler.snapshot().counters.evicted, 1);
    let refused = scheduler.invoke(g, invocation("")).await.unwrap_err();
    assert!(matches!(refused, Refused::Throttled(Throttle::Memory)), "{refused:?}");
}
