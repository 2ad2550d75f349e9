//! Functions written into folders, run through [`FunctionHost`], with their output gathered.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use bytes::Bytes;
use compute_api::{
    Completion, Credentials, Egress, EndpointConnections, Environment, EnvironmentSpec, FindingState, FunctionHost,
    InitFailure, InitializationType, Invocation, IsolationLevel, LogFormat, Logging, Outcome, OutputLines, OutputSink,
    SeccompProfile, StartError, endpoint::endpoint_channel, output,
};
use compute_process::{ProcessEnvironment, ProcessHost, ProcessSettings};

/// A runtime for all tests of the binary: hosts outlive single tests.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
        .block_on(future)
}

/// A host of its own with the folders of its functions.
pub(crate) struct Bench {
    pub(crate) host: ProcessHost,
    pub(crate) connections: tokio::sync::Mutex<EndpointConnections>,
    pub(crate) folder: tempfile::TempDir,
    functions: AtomicUsize,
}

/// Whether the host gives every wall; says why not.
pub(crate) fn all_walls(bench: &Bench) -> bool {
    let report = bench.host.report();
    if report.level == IsolationLevel::Full {
        return true;
    }
    for finding in report.findings.iter().filter(|finding| finding.state != FindingState::Present) {
        println!("left out, the host gives `{}` only: {}: {}", report.level, finding.name, finding.detail);
    }
    false
}

/// The host that most tests share.
pub(crate) fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(Bench::open)
}

impl Bench {
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (sender, connections) = endpoint_channel(16);
        let mut settings = ProcessSettings::new(folder.path().join("state"));
        settings.launcher = Some(PathBuf::from(env!("CARGO_BIN_EXE_pileus-launcher")));
        let host = ProcessHost::open(settings, Env::real(), sender).unwrap();
        Self { host, connections: tokio::sync::Mutex::new(connections), folder, functions: AtomicUsize::new(0) }
    }

    /// Another host over the same folder, after this one has ended.
    pub(crate) async fn reopen(&self) -> ProcessHost {
        self.host.shutdown().await;
        let mut settings = ProcessSettings::new(self.folder.path().join("state"));
        settings.launcher = Some(PathBuf::from(env!("CARGO_BIN_EXE_pileus-launcher")));
        ProcessHost::open(settings, Env::real(), endpoint_channel(16).0).unwrap()
    }

    /// Writes a function's files.
    pub(crate) fn code(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.path().join(name);
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        folder
    }

    /// A function of one file, ready to be started.
    pub(crate) fn function(&self, runtime: &str, file: &str, text: &str) -> (EnvironmentSpec, OutputLines) {
        let stem = file.split('.').next().unwrap();
        let number = self.functions.fetch_add(1, Ordering::Relaxed);
        let code = self.code(&format!("{runtime}-{number}"), &[(file, text)]);
        let (sink, lines) = output::channel(1 << 20);
        (spec(runtime, &format!("{stem}.handler"), code, sink), lines)
    }

    /// Starts it and gives it one event.
    pub(crate) async fn once(&self, spec: EnvironmentSpec, payload: &str) -> Completion {
        let mut environment = self.start(spec).await;
        let completion = environment.invoke(event("r-1", payload)).await;
        environment.stop().await;
        completion
    }

    pub(crate) async fn start(&self, spec: EnvironmentSpec) -> ProcessEnvironment {
        match self.host.start(Arc::new(spec)).await {
            Ok(environment) => environment,
            Err(StartError::Init(failure)) => panic!("init failed: {failure:?}"),
            Err(error) => panic!("start failed: {error:?}"),
        }
    }

    pub(crate) async fn host_start(&self, spec: EnvironmentSpec) -> Result<ProcessEnvironment, StartError> {
        self.host.start(Arc::new(spec)).await
    }

    pub(crate) async fn init_failure(&self, spec: EnvironmentSpec) -> InitFailure {
        match self.host.start(Arc::new(spec)).await {
            Ok(_) => panic!("the function initialised"),
            Err(StartError::Init(failure)) => *failure,
            Err(error) => panic!("start failed: {error:?}"),
        }
    }
}

pub(crate) fn spec(runtime: &str, handler: &str, code: PathBuf, output: OutputSink) -> EnvironmentSpec {
    EnvironmentSpec {
        account: base_types::AccountId::DEFAULT,
        region: base_types::Region::default(),
        function_name: "probe".to_owned(),
        function_arn: "arn:aws:lambda:us-east-1:000000000000:function:probe".to_owned(),
        role_arn: "arn:aws:iam::000000000000:role/probe".to_owned(),
        version: "$LATEST".to_owned(),
        runtime: runtime.to_owned(),
        handler: handler.to_owned(),
        memory_mib: 256,
        tmp_mib: 512,
        timeout: Duration::from_secs(10),
        init_timeout: Duration::from_secs(10),
        variables: BTreeMap::from([("TEST_KEY".to_owned(), "TEST_VAL".to_owned())]),
        code,
        layers: Vec::new(),
        logging: Logging {
            group: "/aws/lambda/probe".to_owned(),
            stream: "2026/11/23/[$LATEST]0123".to_owned(),
            format: LogFormat::Text,
            application_level: None,
            system_level: None,
        },
        credentials: Credentials {
            access_key_id: "ASIAPROBE".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: "token".to_owned(),
        },
        egress: Egress::None,
        egress_allow: Vec::new(),
        initialization: InitializationType::OnDemand,
        start: compute_api::StartPolicy::Prepared,
        snapshot: None,
        isolation_min: IsolationLevel::SingleUid,
        seccomp: SeccompProfile::Default,
        output,
    }
}

pub(crate) fn event(request_id: &str, payload: &str) -> Invocation {
    Invocation {
        request_id: request_id.to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        invoked_function_arn: "arn:aws:lambda:us-east-1:000000000000:function:probe".to_owned(),
        trace_id: Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0".to_owned()),
        client_context: None,
        cognito_identity: None,
        response: None,
    }
}

/// The JSON of a success.
pub(crate) fn success(completion: &Completion) -> serde_json::Value {
    match &completion.outcome {
        Outcome::Success { payload } => serde_json::from_slice(payload).unwrap(),
        other => panic!("{other:?}, log: {}", String::from_utf8_lossy(&completion.log_tail)),
    }
}

/// The JSON of a function's error and its type.
pub(crate) fn failure(completion: &Completion) -> (String, serde_json::Value) {
    match &completion.outcome {
        Outcome::FunctionError { error_type, payload } => {
            (error_type.clone(), serde_json::from_slice(payload).unwrap())
        }
        other => panic!("{other:?}, log: {}", String::from_utf8_lossy(&completion.log_tail)),
    }
}

/// The texts of the lines that wait.
pub(crate) fn texts(lines: &mut OutputLines) -> Vec<String> {
    std::iter::from_fn(|| lines.try_next()).map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
}
