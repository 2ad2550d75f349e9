//! What a function costs here, beside what it cannot cost less than: cold starts against the bare interpreter, warm
//! invocations against a bare long poll over the same HTTP. Everything in one run; only the ratios mean something.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for a developer's eyes that measures real time"
)]

use std::{
    io::{Read, Write},
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
    LogFormat, Logging, Outcome, SeccompProfile, endpoint::endpoint_channel, output,
};
use compute_process::{ProcessHost, ProcessSettings};

const COLD_ROUNDS: usize = 15;
const WARM_ROUNDS: usize = 2000;

const PYTHON: &str = "def handler(event, context):\n    return event\n";
const NODE: &str = "exports.handler = async (event) => event;\n";
/// The least that a custom runtime can do: one connection, raw bytes, no parsing beyond the two headers it needs.
const POLL: &str = r#"#!/usr/bin/python3 -IS
import socket
s = socket.create_connection(("127.0.0.1", PORT))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
data = b""
def message():
    global data
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            raise SystemExit
        data += more
    head, data = data.split(b"\r\n\r\n", 1)
    low = head.lower()
    at = low.index(b"content-length: ") + 16
    length = int(low[at:].split(b"\r\n", 1)[0])
    while len(data) < length:
        data += s.recv(65536)
    body, data = data[:length], data[length:]
    return head, low, body
while True:
    s.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
    head, low, body = message()
    at = low.index(b"lambda-runtime-aws-request-id: ") + 31
    id = head[at:].split(b"\r\n", 1)[0]
    s.sendall(b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (id, len(body), body))
    message()
"#;

fn main() {
    // `cargo test --benches` runs benches too: it is given something else to do.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // On a worker, as a server's invocations run, and not on the thread that waits for the workers.
    runtime.block_on(async { tokio::spawn(measure()).await.unwrap() });
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (sender, _connections) = endpoint_channel(1);
    let mut settings = ProcessSettings::new(folder.path().join("state"));
    settings.launcher = Some(PathBuf::from(env!("CARGO_BIN_EXE_pileus-launcher")));
    let begun = Instant::now();
    let host = ProcessHost::open(settings, Env::real(), sender).unwrap();
    println!("host opened in {:?}, isolation {}", begun.elapsed(), host.report().level);
    let code = |name: &str, file: &str, text: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
        std::fs::set_permissions(folder.join(file), PermissionsExt::from_mode(0o755)).unwrap();
        folder
    };
    let poll = POLL.replace("PORT", "9001");
    let functions = [
        ("python3.11", "app.handler", code("python", "app.py", PYTHON)),
        ("nodejs20.x", "index.handler", code("node", "index.js", NODE)),
        ("provided.al2023", "poll", code("poll", "bootstrap", &poll)),
    ];
    let listing = host.runtimes();
    let only_warm = std::env::args().any(|argument| argument == "warm");
    for (name, handler, code) in functions.iter().filter(|_| !only_warm) {
        let Some(found) = listing.chosen(name) else {
            println!("{name}: not on this host");
            continue;
        };
        cold(&host, name, handler, code, found.path.as_deref()).await;
    }
    let bare = bare_poll(folder.path());
    println!("bare long poll over loopback, two processes: p50 {bare:?}");
    for (name, handler, code) in &functions {
        if listing.chosen(name).is_some() {
            warm(&host, name, handler, code, bare).await;
        }
    }
    host.shutdown().await;
}

/// Cold starts and bare interpreter starts, in turn.
async fn cold(host: &ProcessHost, name: &str, handler: &str, code: &Path, interpreter: Option<&Path>) {
    let (mut ours, mut bare, mut lean) = (Vec::new(), Vec::new(), Vec::new());
    let (mut shells, mut entries) = (Vec::new(), Vec::new());
    for _ in 0..COLD_ROUNDS {
        // Let the shell pool fill, as it does between starts that are not a storm.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        let mut environment = host.start(Arc::new(spec(name, handler, code))).await.unwrap();
        let completion = environment.invoke(event()).await;
        assert!(matches!(completion.outcome, Outcome::Success { .. }), "{completion:?}");
        ours.push(begun.elapsed());
        shells.push(environment.start_steps().shell);
        entries.push(environment.start_steps().entering);
        environment.stop().await;
        if let Some(interpreter) = interpreter {
            let (plain, least): (&[&str], &[&str]) = if name.starts_with("python") {
                (&["-c", "import json"], &["-I", "-S", "-E", "-c", "import json"])
            } else {
                (&["-e", "0"], &["-e", "0"])
            };
            bare.push(run(interpreter, plain));
            lean.push(run(interpreter, least));
        }
    }
    let ours = median(&mut ours);
    println!("{name}: shell made in p50 {:?}, entered in p50 {:?}", median(&mut shells), median(&mut entries));
    if bare.is_empty() {
        println!("{name}: cold start to answer p50 {ours:?}");
        return;
    }
    let (bare, lean) = (median(&mut bare), median(&mut lean));
    println!(
        "{name}: cold start to answer p50 {ours:?}; bare interpreter {bare:?}, ratio {:.2}; without site hooks {lean:?}, ratio {:.2}",
        ratio(ours, bare),
        ratio(ours, lean)
    );
}

/// Back-to-back invocations of one environment.
async fn warm(host: &ProcessHost, name: &str, handler: &str, code: &Path, bare: Duration) {
    let mut environment = host.start(Arc::new(spec(name, handler, code))).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..WARM_ROUNDS {
        let begun = Instant::now();
        let completion = environment.invoke(event()).await;
        times.push(begun.elapsed());
        assert!(matches!(completion.outcome, Outcome::Success { .. }));
    }
    let mut thawed = Vec::new();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let begun = Instant::now();
        environment.invoke(event()).await;
        thawed.push(begun.elapsed());
    }
    environment.stop().await;
    let p50 = median(&mut times);
    let p99 = times[times.len() * 99 / 100];
    println!(
        "{name}: warm p50 {p50:?} p99 {p99:?}, ratio to the bare poll {:.2}; after a freeze p50 {:?}",
        ratio(p50, bare),
        median(&mut thawed)
    );
}

/// The same poller against the least server there can be: a blocking thread that hands out one event after the other.
fn bare_poll(folder: &Path) -> Duration {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = folder.join("bare.py");
    std::fs::write(&path, POLL.replace("PORT", &port.to_string())).unwrap();
    let mut child = Command::new("/usr/bin/python3").args(["-I", "-S"]).arg(&path).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    assert!(stream.read(&mut buffer).unwrap() > 0);
    let mut times = Vec::new();
    for _ in 0..WARM_ROUNDS {
        let begun = Instant::now();
        let event =
            b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r\r\nContent-Length: 13\r\n\r\n{\"key\":\"abc\"}";
        stream.write_all(event).unwrap();
        assert!(stream.read(&mut buffer).unwrap() > 0);
        times.push(begun.elapsed());
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert!(stream.read(&mut buffer).unwrap() > 0);
    }
    drop(stream);
    child.kill().unwrap();
    child.wait().unwrap();
    median(&mut times)
}

fn run(program: &Path, arguments: &[&str]) -> Duration {
    let begun = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    begun.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
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
