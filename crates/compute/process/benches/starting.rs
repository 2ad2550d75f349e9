//! What starting costs, beside what it cannot cost less than: cold starts from the pool, from a template and afresh against
//! the bare interpreter; many at once; and the memory of many that are idle. `cargo bench --bench starting [section…]` with
//! `python`, `boto3`, `snapshot`, `node`, `native`, `storm`, `idle`. Everything in one run; only the ratios mean something.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for a developer's eyes that measures real time"
)]

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use base_env::Env;
use bytes::Bytes;
use compute_api::{
    Credentials, Egress, Environment, EnvironmentSpec, FunctionHost, InitializationType, Invocation, IsolationLevel,
    LogFormat, Logging, Origin, Outcome, SeccompProfile, StartPolicy, endpoint::endpoint_channel, output,
};
use compute_process::{ProcessEnvironment, ProcessHost, ProcessSettings};

const ROUNDS: usize = 40;
const STORM: usize = 200;
const IDLE: usize = 1000;

const PYTHON: &str = "def handler(event, context):\n    return event\n";
const BOTO3: &str = "import boto3\ndef handler(event, context):\n    return event\n";
const NODE: &str = "exports.handler = async (event) => event;\n";
/// The least that a custom runtime can do.
const NATIVE: &str = include_str!("starting/native.c");

fn main() {
    // `cargo test --benches` runs benches too: it is given something else to do.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

struct Bench {
    host: ProcessHost,
    folder: tempfile::TempDir,
}

async fn measure() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let bench = Bench::open();
    if is_wanted("python") {
        let python = bench.interpreter("python3.11");
        let code = bench.code("python", "app.py", PYTHON);
        bench
            .cold("python", &spec("python3.11", "app.handler", &code), (&python, &["-I", "-S", "-E", "-c", "pass"]))
            .await;
    }
    if is_wanted("boto3") {
        let python = bench.interpreter("python3.11");
        let code = bench.code("boto3", "app.py", BOTO3);
        bench.cold("boto3", &spec("python3.11", "app.handler", &code), (&python, &["-c", "import boto3"])).await;
    }
    if is_wanted("snapshot") {
        let python = bench.interpreter("python3.11");
        let code = bench.code("snapshot", "app.py", BOTO3);
        let mut spec = spec("python3.11", "app.handler", &code);
        spec.initialization = InitializationType::SnapStart;
        spec.snapshot = Some(Arc::from("bench:1"));
        match bench.host.snapshot(Arc::new(spec.clone())).await {
            Ok(()) => bench.cold("snapshot", &spec, (&python, &["-c", "import boto3"])).await,
            Err(error) => println!("snapshot: {error}"),
        }
    }
    if is_wanted("node") {
        let node = bench.interpreter("nodejs20.x");
        let code = bench.code("node", "index.js", NODE);
        bench.cold("node", &spec("nodejs20.x", "index.handler", &code), (&node, &["-e", "0"])).await;
    }
    if is_wanted("native")
        && let Some(code) = bench.native()
    {
        bench.cold("native", &spec("provided.al2023", "x", &code), (Path::new("/bin/true"), &[])).await;
    }
    if is_wanted("storm") {
        let code = bench.code("storm", "app.py", PYTHON);
        bench.storm(&spec("python3.11", "app.handler", &code)).await;
    }
    if is_wanted("idle") {
        let code = bench.code("idle", "app.py", PYTHON);
        bench.idle(&spec("python3.11", "app.handler", &code)).await;
    }
    bench.host.shutdown().await;
}

impl Bench {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (sender, _connections) = endpoint_channel(1);
        let mut settings = ProcessSettings::new(folder.path().join("state"));
        settings.launcher = Some(PathBuf::from(env!("CARGO_BIN_EXE_pileus-launcher")));
        settings.environments_max = 4000;
        let host = ProcessHost::open(settings, Env::real(), sender).unwrap();
        println!("isolation {}", host.report().level);
        Self { host, folder }
    }

    fn interpreter(&self, name: &str) -> PathBuf {
        self.host.runtimes().chosen(name).unwrap().path.clone().unwrap()
    }

    fn code(&self, name: &str, file: &str, text: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
        std::fs::set_permissions(folder.join(file), PermissionsExt::from_mode(0o755)).unwrap();
        folder
    }

    fn native(&self) -> Option<PathBuf> {
        let folder = self.code("native", "native.c", NATIVE);
        let made = Command::new("cc")
            .args(["-O2", "-static", "-o"])
            .arg(folder.join("bootstrap"))
            .arg(folder.join("native.c"))
            .status();
        match made {
            Ok(status) if status.success() => Some(folder),
            _ => {
                println!("native: no C compiler");
                None
            }
        }
    }

    /// A start to its first answer.
    async fn once(&self, spec: &EnvironmentSpec) -> (ProcessEnvironment, Duration) {
        let begun = Instant::now();
        let mut environment = self.host.start(Arc::new(spec.clone())).await.unwrap();
        let completion = environment.invoke(event()).await;
        let taken = begun.elapsed();
        assert!(matches!(completion.outcome, Outcome::Success { .. }), "{completion:?}");
        (environment, taken)
    }

    /// Starts, sorted by where they came from, and the bare program in turn.
    async fn cold(&self, name: &str, spec: &EnvironmentSpec, (program, arguments): (&Path, &[&str])) {
        let mut times: BTreeMap<Origin, Vec<Duration>> = BTreeMap::new();
        let mut steps = Vec::new();
        let mut bare = Vec::new();
        for round in 0..ROUNDS {
            // Let the pool fill, as it does between starts that are not a storm.
            tokio::time::sleep(Duration::from_millis(if round < 3 { 1500 } else { 150 })).await;
            let (environment, taken) = self.once(spec).await;
            times.entry(environment.origin()).or_default().push(taken);
            if round > 3 {
                steps.push(environment.start_steps().entering);
            }
            environment.stop().await;
            bare.push(run(program, arguments));
        }
        let mut fresh = spec.clone();
        fresh.start = StartPolicy::Fresh;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (environment, taken) = self.once(&fresh).await;
            times.entry(environment.origin()).or_default().push(taken);
            environment.stop().await;
        }
        let bare = quantile(&mut bare, 0.5);
        println!("{name}: bare {bare:?}; assigned in p50 {:?}", quantile(&mut steps, 0.5));
        for (origin, times) in &mut times {
            let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
            println!(
                "{name}: {} × {}: p50 {p50:?} ({:.3} × bare), p99 {p99:?} ({:.3} ×)",
                times.len(),
                origin.as_str(),
                ratio(p50, bare),
                ratio(p99, bare)
            );
        }
    }

    /// Many new environments at once: with what the first storm left, and with what the second one found.
    async fn storm(&self, spec: &EnvironmentSpec) {
        // The template is there; the pool holds what one start at a time leaves.
        for _ in 0..3 {
            self.once(spec).await.0.stop().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for name in ["empty pool", "warm pool", "warm pool"] {
            let begun = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..STORM {
                let (host, spec) = (self.host.clone(), spec.clone());
                tasks.spawn(async move {
                    let mut environment = host.start(Arc::new(spec)).await.unwrap();
                    let completion = environment.invoke(event()).await;
                    (environment, matches!(completion.outcome, Outcome::Success { .. }), begun.elapsed())
                });
            }
            let mut kept = Vec::new();
            let mut origins: BTreeMap<&str, usize> = BTreeMap::new();
            let (mut last, mut failed) = (Duration::ZERO, 0);
            while let Some(one) = tasks.join_next().await {
                let (environment, answered, at) = one.unwrap();
                *origins.entry(environment.origin().as_str()).or_default() += 1;
                failed += usize::from(!answered);
                last = last.max(at);
                kept.push(environment);
            }
            println!("storm, {name}: {STORM} answered in {last:?}, failed {failed}, {origins:?}");
            drop(kept);
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
    }

    /// The memory of many that have answered once and are frozen.
    async fn idle(&self, spec: &EnvironmentSpec) {
        for _ in 0..3 {
            self.once(spec).await.0.stop().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let count = std::env::var("IDLE").ok().and_then(|text| text.parse().ok()).unwrap_or(IDLE);
        let before = Memory::now();
        let mut kept = Vec::new();
        for _ in 0..count {
            kept.push(self.once(spec).await.0);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let after = Memory::now();
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / count as f64;
        println!(
            "idle: {count} environments, KiB each: {:.0} of MemAvailable",
            each(after.available, before.available)
        );
        for (name, value) in &after.fields {
            let before = before.fields.get(name).copied().unwrap_or_default();
            if each(before, *value) >= 8.0 {
                println!("idle:   {name} +{:.0}", each(before, *value));
            }
        }
        for origin in [Origin::Fresh, Origin::Forked, Origin::Pooled] {
            let these = kept.iter().filter(|environment| environment.origin() == origin).count();
            println!("idle:   {these} {}", origin.as_str());
        }
        drop(kept);
    }
}

/// What `/proc/meminfo` says, in KiB.
struct Memory {
    available: u64,
    fields: BTreeMap<String, u64>,
}

impl Memory {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let parse = |line: &str| {
            let (name, rest) = line.split_once(':')?;
            Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
        };
        let fields: BTreeMap<String, u64> = text.lines().filter_map(parse).collect();
        Self { available: fields["MemAvailable"], fields }
    }
}

fn run(program: &Path, arguments: &[&str]) -> Duration {
    let begun = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    begun.elapsed()
}

fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort();
    times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}
fn event() -> Invocation {
    Invocation {
        request_id: "8286a188-ba32-4475-8077-530cd35c09a9".to_owned(),
        payload: Bytes::from_static(br#"{"key":"abc"}"#),
        invoked_function_arn: "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned(),
        trace_id: None,
        client_context: None,
        cognito_identity: None,
        response: None,
    }
}

fn spec(runtime: &str, handler: &str, code: &Path) -> EnvironmentSpec {
    EnvironmentSpec {
        account: base_types::AccountId::DEFAULT,
        region: base_types::Region::default(),
        function_name: "bench".to_owned(),
        function_arn: "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned(),
        role_arn: "arn:aws:iam::000000000000:role/bench".to_owned(),
        version: "$LATEST".to_owned(),
        runtime: runtime.to_owned(),
        handler: handler.to_owned(),
        memory_mib: 1769,
        tmp_mib: 512,
        timeout: Duration::from_secs(10),
        init_timeout: Duration::from_secs(10),
        variables: std::collections::BTreeMap::new(),
        code: code.to_owned(),
        layers: Vec::new(),
        logging: Logging {
            group: "/aws/lambda/bench".to_owned(),
            stream: "s".to_owned(),
            format: LogFormat::Text,
            application_level: None,
            system_level: None,
        },
        credentials: Credentials {
            access_key_id: "a".to_owned(),
            secret_access_key: "s".to_owned(),
            session_token: "t".to_owned(),
        },
        egress: Egress::None,
        egress_allow: Vec::new(),
        initialization: InitializationType::OnDemand,
        start: compute_api::StartPolicy::Prepared,
        snapshot: None,
        isolation_min: IsolationLevel::SingleUid,
        seccomp: SeccompProfile::Default,
        output: output::channel(1 << 16).0,
    }
}
