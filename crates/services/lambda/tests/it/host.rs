//! A host that runs scripts instead of processes.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use bytes::Bytes;
use compute_api::{
    Completion, Deployed, Environment, EnvironmentId, EnvironmentSpec, Exit, Figures, FunctionHost, HostReport,
    InitFailure, InitOutcome, InstalledRuntime, Invocation, IsolationLevel, IsolationReport, Language, Origin, Outcome,
    OutputKind, OutputLine, RuntimeListing, SUPPORTED_RUNTIMES, StartError, StreamError, StreamPiece,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What the tests see of the host.
#[derive(Clone)]
pub(crate) struct Scripted {
    env: Env,
    pub(crate) seen: Arc<Mutex<Vec<Invocation>>>,
    /// The handler of each of them.
    pub(crate) handlers: Arc<Mutex<Vec<String>>>,
    started: Arc<AtomicU64>,
    /// How many more invocations of handler `flaky` fail.
    pub(crate) failures_left: Arc<AtomicU64>,
    /// What environments were started from.
    pub(crate) specs: Arc<Mutex<Vec<Arc<EnvironmentSpec>>>>,
    /// What was initialised for SnapStart.
    pub(crate) snapshots: Arc<Mutex<Vec<Arc<EnvironmentSpec>>>>,
    /// Invocations of handler `app.waits` wait for it.
    pub(crate) gate: Arc<watch::Sender<bool>>,
    /// How many of them wait.
    pub(crate) waiting: Arc<AtomicU64>,
    /// The snapshots that were to be forgotten.
    pub(crate) forgotten: Arc<Mutex<Vec<String>>>,
    /// What it was told to expect.
    pub(crate) expected: Arc<Mutex<Vec<Deployed>>>,
}

impl Scripted {
    pub(crate) fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            seen: Arc::default(),
            handlers: Arc::default(),
            started: Arc::default(),
            failures_left: Arc::default(),
            specs: Arc::default(),
            snapshots: Arc::default(),
            gate: Arc::new(watch::Sender::new(false)),
            waiting: Arc::default(),
            forgotten: Arc::default(),
            expected: Arc::default(),
        }
    }

    /// How many environments were started.
    pub(crate) fn starts(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }
}

pub(crate) struct ScriptedEnvironment {
    id: EnvironmentId,
    spec: Arc<EnvironmentSpec>,
    host: Scripted,
    isolation: IsolationReport,
    alive: bool,
    invocations: u64,
}

impl FunctionHost for Scripted {
    type Environment = ScriptedEnvironment;

    async fn start(&self, spec: Arc<EnvironmentSpec>) -> Result<ScriptedEnvironment, StartError> {
        assert!(spec.code.is_dir(), "the code lies unpacked at {}", spec.code.display());
        assert!(spec.layers.iter().all(|layer| layer.is_dir()), "the layers lie unpacked at {:?}", spec.layers);
        self.specs.lock().push(Arc::clone(&spec));
        let figures = Figures { init_duration: Some(Duration::from_millis(12)), ..Figures::default() };
        let left = &self.failures_left;
        let once = spec.handler.starts_with("init.error_once") && left.fetch_add(1, Ordering::SeqCst) == 0;
        if spec.handler == "init.error" || once {
            let payload =
                Bytes::from_static(br#"{"errorMessage":"no module","errorType":"Runtime.ImportModuleError"}"#);
            let outcome = InitOutcome::Error { error_type: "Runtime.ImportModuleError".into(), payload };
            return Err(StartError::Init(Box::new(InitFailure { outcome, figures, log_tail: Bytes::new() })));
        }
        if spec.snapshot.is_some() && spec.handler.starts_with("restore.") {
            let outcome = match spec.handler.as_str() {
                "restore.slow" => InitOutcome::Timeout,
                _ => InitOutcome::Error { error_type: "Runtime.AfterRestoreError".into(), payload: Bytes::new() },
            };
            let figures = Figures { restore_duration: Some(Duration::from_millis(12)), ..Figures::default() };
            return Err(StartError::Init(Box::new(InitFailure { outcome, figures, log_tail: Bytes::new() })));
        }
        let id = EnvironmentId(self.started.fetch_add(1, Ordering::SeqCst));
        let isolation = IsolationReport { level: IsolationLevel::Full, host_uid: 1, walls: vec![] };
        Ok(ScriptedEnvironment { id, spec, host: self.clone(), isolation, alive: true, invocations: 0 })
    }

    async fn snapshot(&self, spec: Arc<EnvironmentSpec>) -> Result<(), StartError> {
        self.snapshots.lock().push(Arc::clone(&spec));
        match spec.handler.as_str() {
            "init.threads" => Err(StartError::NoSnapshot { reason: "it runs two threads".to_owned() }),
            "init.hangs" => std::future::pending().await,
            handler if handler.starts_with("init.") => {
                let outcome = match handler {
                    "init.slow" => InitOutcome::Timeout,
                    "init.exits" => InitOutcome::Exited(Exit::Status(1)),
                    _ => InitOutcome::Error { error_type: "Runtime.ImportModuleError".into(), payload: Bytes::new() },
                };
                let figures = Figures::default();
                Err(StartError::Init(Box::new(InitFailure { outcome, figures, log_tail: Bytes::new() })))
            }
            _ => Ok(()),
        }
    }

    fn forget_snapshot(&self, snapshot: &str) {
        self.forgotten.lock().push(snapshot.to_owned());
    }

    fn expect(&self, deployed: Deployed) {
        self.expected.lock().push(deployed);
    }

    fn runtimes(&self) -> Arc<RuntimeListing> {
        let installed = SUPPORTED_RUNTIMES.iter().filter(|name| **name != "nodejs16.x").map(|name| InstalledRuntime {
            name: (*name).to_owned(),
            language: Language::Custom,
            version: String::new(),
            path: None,
            chosen: true,
        });
        Arc::new(RuntimeListing { installed: installed.collect(), missing: vec!["nodejs16.x".to_owned()] })
    }

    fn report(&self) -> Arc<HostReport> {
        Arc::new(HostReport { level: IsolationLevel::Full, findings: vec![] })
    }

    async fn shutdown(&self) {}
}

impl Environment for ScriptedEnvironment {
    fn id(&self) -> EnvironmentId {
        self.id
    }

    fn spec(&self) -> &Arc<EnvironmentSpec> {
        &self.spec
    }

    fn isolation(&self) -> &IsolationReport {
        &self.isolation
    }

    fn init_duration(&self) -> Duration {
        Duration::from_millis(12)
    }

    fn origin(&self) -> Origin {
        Origin::Fresh
    }

    fn is_settled(&self) -> bool {
        true
    }

    async fn settle(&mut self) {}

    fn is_alive(&self) -> bool {
        self.alive
    }

    fn memory_bytes(&self) -> u64 {
        30 << 20
    }

    async fn invoke(&mut self, invocation: Invocation) -> Completion {
        let text = format!("handling {}\n", String::from_utf8_lossy(&invocation.payload));
        self.spec
            .output
            .send(OutputLine {
                at: self.host.env.now(),
                kind: OutputKind::Stdout,
                request_id: Some(Arc::from(invocation.request_id.as_str())),
                text: Bytes::from(text.clone()),
            })
            .await;
        // Whoever gives the invocation up does not leave it alive.
        let alive = std::mem::replace(&mut self.alive, false);
        let outcome = self.script(&invocation).await;
        self.alive = alive && !matches!(outcome, Outcome::Timeout | Outcome::Exited(_));
        // The sink goes with the invocation.
        let invocation = Invocation { response: None, ..invocation };
        self.host.handlers.lock().push(self.spec.handler.clone());
        self.host.seen.lock().push(invocation);
        self.invocations += 1;
        let figures = Figures {
            duration: Duration::from_micros(1500),
            init_duration: (self.invocations == 1).then(|| Duration::from_millis(12)),
            restore_duration: None,
            memory_bytes_max: 36 << 20,
            cpu: Duration::from_micros(900),
        };
        Completion { outcome, figures, log_tail: Bytes::from(text) }
    }

    fn ended(&self) -> impl Future<Output = Exit> + Send + 'static {
        std::future::pending()
    }

    async fn stop(self) {}
}

/// An answer that reports those messages of a batch whose text begins with `bad`.
fn failed_items(payload: &[u8]) -> Value {
    let event: Value = serde_json::from_slice(payload).unwrap();
    let records = event["Records"].as_array().unwrap();
    let of_a_table = |record: &Value| record["dynamodb"]["SequenceNumber"].clone();
    let id =
        |record: &Value| if record["messageId"].is_null() { of_a_table(record) } else { record["messageId"].clone() };
    let failed = records.iter().filter(|record| is_bad(record));
    json!({ "batchItemFailures": failed.map(|record| json!({ "itemIdentifier": id(record) })).collect::<Vec<_>>() })
}

/// Whether the text of a message, or the key of an item, begins with `bad`.
fn is_bad(record: &Value) -> bool {
    let text = record["body"].as_str().or_else(|| record["dynamodb"]["Keys"]["id"]["S"].as_str());
    text.unwrap().starts_with("bad")
}

/// The state of a window in which records are counted.
fn counted(payload: &[u8]) -> Value {
    let event: Value = serde_json::from_slice(payload).unwrap();
    let before = event["state"]["count"].as_u64().unwrap_or(0);
    json!({ "state": { "count": before + event["Records"].as_array().unwrap().len() as u64 } })
}

impl ScriptedEnvironment {
    /// Streams three pieces, with what the handler's name says; whole when nobody wants a stream.
    async fn stream(&self, invocation: &Invocation) -> Outcome {
        let page = br#"{"statusCode":201,"headers":{"content-type":"text/plain","x-mine":"yes"},"cookies":["a=1"]}"#;
        let head: Vec<u8> =
            if self.spec.handler == "app.streams_page" { [&page[..], &[0; 8]].concat() } else { Vec::new() };
        let pieces = [head, b"one,".to_vec(), b"two".to_vec()];
        let Some(sink) = &invocation.response else {
            return Outcome::Success { payload: Bytes::from(pieces.concat()) };
        };
        let content_type = match self.spec.handler.as_str() {
            "app.streams_page" => "application/vnd.awslambda.http-integration-response",
            _ => "text/plain",
        };
        sink.send(StreamPiece::Begin { content_type: Some(content_type.to_owned()) }).await;
        let mut bytes = 0;
        for piece in pieces {
            bytes += piece.len() as u64;
            sink.send(StreamPiece::Body(Bytes::from(piece))).await;
        }
        let error = (self.spec.handler == "app.breaks").then(|| StreamError {
            error_type: "Function.Broke".to_owned(),
            payload: Bytes::from_static(br#"{"errorMessage":"broke","errorType":"Function.Broke"}"#),
        });
        Outcome::Streamed { bytes, error }
    }

    async fn script(&self, invocation: &Invocation) -> Outcome {
        let success = |payload: Bytes| Outcome::Success { payload };
        let failure = || Outcome::FunctionError {
            error_type: "ValueError".to_owned(),
            payload: Bytes::from_static(br#"{"errorMessage":"bad thing","errorType":"ValueError"}"#),
        };
        match self.spec.handler.as_str() {
            "app.fails" => failure(),
            "app.flaky" => {
                let left = &self.host.failures_left;
                let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                if fails { failure() } else { success(Bytes::from_static(b"null")) }
            }
            "app.waits" => {
                self.host.waiting.fetch_add(1, Ordering::SeqCst);
                drop(self.host.gate.subscribe().wait_for(|open| *open).await);
                self.host.waiting.fetch_sub(1, Ordering::SeqCst);
                success(Bytes::from_static(b"null"))
            }
            // Takes its time, and fails now and then.
            "app.chain" => {
                drop(self.host.gate.subscribe().wait_for(|open| *open).await);
                let left = &self.host.failures_left;
                let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                if fails { failure() } else { success(Bytes::from_static(b"null")) }
            }
            "app.fails_bad" => {
                let event: Value = serde_json::from_slice(&invocation.payload).unwrap();
                if event["Records"].as_array().unwrap().iter().any(is_bad) { failure() } else { success(Bytes::new()) }
            }
            "app.counts" => success(Bytes::from(counted(&invocation.payload).to_string())),
            "app.items" => success(Bytes::from(failed_items(&invocation.payload).to_string())),
            "app.times_out" => Outcome::Timeout,
            "app.exits" => Outcome::Exited(Exit::Status(0)),
            "app.hangs_once" => {
                let left = &self.host.failures_left;
                if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                    std::future::pending::<()>().await;
                }
                success(Bytes::from_static(b"null"))
            }
            "app.code" => {
                let code = std::fs::read_to_string(self.spec.code.join("app.py")).unwrap();
                success(Bytes::from(json!(code).to_string()))
            }
            "app.context" => success(Bytes::from(
                json!({
                    "arn": invocation.invoked_function_arn,
                    "id": invocation.request_id,
                    "client": invocation.client_context,
                    "trace": invocation.trace_id,
                    "version": self.spec.version,
                    "variables": self.spec.variables,
                })
                .to_string(),
            )),
            "app.streams" | "app.breaks" | "app.streams_page" => self.stream(invocation).await,
            "init.error_once_then_hangs" => std::future::pending().await,
            "app.page" => success(Bytes::from_static(
                br#"{"statusCode":201,"headers":{"x-mine":"yes"},"cookies":["a=1"],"body":"made"}"#,
            )),
            _ => success(invocation.payload.clone()),
        }
    }
}
