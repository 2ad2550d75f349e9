//! The measurements and their tables.
//!
//! Guarantee: what is compared was measured in the same run, with the same client, one after the other.

use std::{fs, path::Path, process::Stdio, time::Duration};

use base_env::Env;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    Failure,
    client::{Latencies, Prepared, load},
    server::{Opponent, Pileus, runtime},
};

const PYTHON_FUNCTION: &str = "def handler(event, context):\n    return event\n";
const NODE_FUNCTION: &str = "exports.handler = async (event) => event;\n";
const EVENT: &[u8] = b"{\"name\":\"Ada\"}";
/// A function that is not ready by then never will be.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The same poll loop as a runtime's, with nothing else.
const PYTHON_LOOP: &str = r#"
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    got = api.getresponse()
    event = json.loads(got.read())
    path = "/2018-06-01/runtime/invocation/" + got.headers["lambda-runtime-aws-request-id"] + "/response"
    api.request("POST", path, json.dumps(event))
    api.getresponse().read()
"#;
const NODE_LOOP: &str = r#"
const http = require("http");
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const call = (method, path, body) => new Promise((done, fail) => {
  const request = http.request({ host, port, method, path, agent }, (answer) => {
    let text = "";
    answer.on("data", (piece) => (text += piece)).on("end", () => done([answer.headers, text]));
  });
  request.on("error", fail);
  request.end(body);
});
(async () => {
  for (;;) {
    const [headers, event] = await call("GET", "/2018-06-01/runtime/invocation/next");
    const id = headers["lambda-runtime-aws-request-id"];
    await call("POST", `/2018-06-01/runtime/invocation/${id}/response`, JSON.stringify(JSON.parse(event)));
  }
})();
"#;

struct Language {
    name: &'static str,
    runtime: String,
    handler: &'static str,
    archive: Vec<u8>,
    /// The bare loop outside any sandbox.
    bare: Vec<String>,
    /// The interpreter's own start, with nothing to run.
    bare_start: Option<Vec<&'static str>>,
}

/// Runs everything and prints the tables.
pub(crate) async fn compare(binary: &Path, seconds: u64, starts: u32) -> Result<(), Failure> {
    let env = Env::real();
    let span = Duration::from_secs(seconds);
    let folder = std::env::temp_dir().join(format!("pileus-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = all(&env, binary, &folder, span, starts).await;
    fs::remove_dir_all(&folder)?;
    outcome
}

async fn all(env: &Env, binary: &Path, folder: &Path, span: Duration, starts: u32) -> Result<(), Failure> {
    let mut pileus = Pileus::new(env, binary, folder.join("data"))?;
    let languages = languages(folder).await?;
    first_starts(env, &mut pileus, starts).await?;
    for language in &languages {
        create(env, &pileus, language).await?;
    }
    warm(env, &pileus, &languages, span).await?;
    cold(env, &pileus, &languages, starts).await?;
    starts_with_functions(env, &mut pileus, starts).await?;
    pileus.stop().await
}

/// Start to ready and idle memory of an empty server.
async fn first_starts(env: &Env, pileus: &mut Pileus, starts: u32) -> Result<(), Failure> {
    let mut taken = Vec::new();
    for _ in 0..starts {
        taken.push(pileus.start().await?);
        pileus.stop().await?;
    }
    let clean = Latencies::new(taken, Duration::ZERO);
    pileus.start().await?;
    env.sleep(Duration::from_secs(3)).await;
    let (own, family) = pileus.resident_mib()?;
    title("start and idle (bars: ready <= 50 ms after a clean stop, <= 1 s after kill -9; idle <= 30 MiB)");
    row("ready after a clean stop, no functions", &clean);
    line(&format!("{:44} {own:8.1} MiB   server with launcher and shells {family:.1} MiB (Pss)", "idle, resident"));
    Ok(())
}

/// Start to ready with functions and logs on disk: after a clean stop, and after `kill -9` under load.
async fn starts_with_functions(env: &Env, pileus: &mut Pileus, starts: u32) -> Result<(), Failure> {
    let mut clean = Vec::new();
    let mut killed = Vec::new();
    for _ in 0..starts.min(8) {
        pileus.stop().await?;
        clean.push(pileus.start().await?);
        let event = invocation(env, pileus, "bench-native")?;
        let tags = Prepared::signed(
            env,
            pileus.port,
            Method::POST,
            "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Abench-native",
            Bytes::from_static(b"{\"Tags\":{\"k\":\"v\"}}"),
        )?;
        // Writes and invocations in flight while the process dies: their connections break, as they must.
        let (invoking, writing) = (env.clone(), env.clone());
        let flight = tokio::spawn(async move { load(&invoking, &event, 4, Duration::from_secs(30)).await.is_ok() });
        let writes = tokio::spawn(async move { load(&writing, &tags, 4, Duration::from_secs(30)).await.is_ok() });
        env.sleep(Duration::from_secs(1)).await;
        pileus.kill().await?;
        if flight.await? | writes.await? {
            return Err("the load outlived the server".into());
        }
        killed.push(pileus.start().await?);
    }
    title("start with functions on disk");
    row("ready after a clean stop", &Latencies::new(clean, Duration::ZERO));
    row("ready after kill -9 under load", &Latencies::new(killed, Duration::ZERO));
    Ok(())
}

async fn warm(env: &Env, pileus: &Pileus, languages: &[Language], span: Duration) -> Result<(), Failure> {
    title("warm synchronous invocation, signed, over kept connections (bar: native p50 <= 4 x hyper at c1)");
    line(&format!(
        "{:24} {:>4} {:>10} {:>10} {:>10}   {:>9} {:>9}",
        "", "conn", "p50 us", "p99 us", "per s", "x hyper", "x loop"
    ));
    for connections in [1, 8] {
        let hyper = hello(env, "hello-threads", connections, span).await?;
        warm_row("bare hyper hello", connections, &hyper, None, None);
        let single = hello(env, "hello", connections, span).await?;
        warm_row("the same on one thread", connections, &single, Some(&hyper), None);
        for language in languages {
            let bare = bare_loop(env, language, connections, span).await?;
            warm_row(&format!("bare loop, {}", language.name), connections, &bare, Some(&hyper), None);
            let prepared = invocation(env, pileus, &function(language))?;
            load(env, &prepared, connections, span / 2).await?;
            let measured = load(env, &prepared, connections, span).await?;
            warm_row(&format!("pileus, {}", language.name), connections, &measured, Some(&hyper), Some(&bare));
        }
    }
    Ok(())
}

async fn hello(env: &Env, task: &str, connections: usize, span: Duration) -> Result<Latencies, Failure> {
    let opponent = Opponent::start(task).await?;
    let prepared = Prepared::plain(opponent.port, Method::POST, "/", EVENT)?;
    load(env, &prepared, connections, span / 4).await?;
    load(env, &prepared, connections, span).await
}

async fn bare_loop(env: &Env, language: &Language, connections: usize, span: Duration) -> Result<Latencies, Failure> {
    let opponent = Opponent::start("loop").await?;
    let command: Vec<&str> = language.bare.iter().map(String::as_str).collect();
    let workers: Vec<Child> =
        (0..connections).map(|_| runtime(&command, opponent.port)).collect::<Result<_, Failure>>()?;
    let prepared = Prepared::plain(opponent.port, Method::POST, "/invoke", EVENT)?;
    load(env, &prepared, connections, span / 2).await?;
    let measured = load(env, &prepared, connections, span).await?;
    drop(workers);
    Ok(measured)
}

/// A changed variable makes the next invocation a cold one.
async fn cold(env: &Env, pileus: &Pileus, languages: &[Language], starts: u32) -> Result<(), Failure> {
    title("cold invocation, signed (bar: Python <= 1.5 x the bare interpreter's start)");
    line(&format!("{:24} {:>10} {:>10}   {:>14} {:>10}", "", "p50 ms", "p90 ms", "interpreter ms", "ratio"));
    for language in languages {
        let mut taken = Vec::new();
        for number in 0..starts {
            let name = function(language);
            let target = format!("/2015-03-31/functions/{name}/configuration");
            let body = json!({ "Environment": { "Variables": { "TURN": number.to_string() } } });
            expect(&Prepared::signed(env, pileus.port, Method::PUT, &target, body.to_string().into())?).await?;
            ready(env, pileus, &name).await?;
            let prepared = invocation(env, pileus, &name)?;
            let begun = env.monotonic();
            expect(&prepared).await?;
            taken.push(env.monotonic().since(begun));
        }
        let measured = Latencies::new(taken, Duration::ZERO);
        let bare = match &language.bare_start {
            Some(command) => Some(interpreter(env, command, starts).await?),
            None => None,
        };
        let (p50, p90) = (millis(measured.percentile(50)), millis(measured.percentile(90)));
        let beside = bare.map_or_else(
            || format!("{:>14} {:>10}", "-", "-"),
            |bare| {
                let bare = millis(bare.percentile(50));
                format!("{bare:14.1} {:10.2}", p50 / bare.max(1e-9))
            },
        );
        line(&format!("{:24} {p50:10.1} {p90:10.1}   {beside}", format!("pileus, {}", language.name)));
    }
    Ok(())
}

/// The start and end of an interpreter with nothing to run.
async fn interpreter(env: &Env, command: &[&str], starts: u32) -> Result<Latencies, Failure> {
    let (program, arguments) = command.split_first().ok_or("an empty command")?;
    let mut taken = Vec::new();
    for _ in 0..starts {
        let begun = env.monotonic();
        let status = Command::new(program).args(arguments).stdin(Stdio::null()).status().await?;
        taken.push(env.monotonic().since(begun));
        if !status.success() {
            return Err(format!("{program} ended with {status}").into());
        }
    }
    Ok(Latencies::new(taken, Duration::ZERO))
}

async fn languages(folder: &Path) -> Result<Vec<Language>, Failure> {
    let version = |program: &'static str| async move {
        let output = Command::new(program).arg("--version").output().await?;
        Ok::<_, Failure>(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let python = version("python3").await?;
    let python: Vec<&str> = python.trim_start_matches("Python ").split('.').take(2).collect();
    let node = version("node").await?;
    let node = node.trim_start_matches('v').split('.').next().unwrap_or_default().to_owned();
    let own = fs::read(std::env::current_exe()?)?;
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Ok(vec![
        Language {
            name: "Python",
            runtime: format!("python{}", python.join(".")),
            handler: "app.handler",
            archive: archive(folder, "app.py", PYTHON_FUNCTION.as_bytes())?,
            bare: text(&["python3", "-I", "-c", PYTHON_LOOP]),
            bare_start: Some(vec!["python3", "-c", "pass"]),
        },
        Language {
            name: "Node",
            runtime: format!("nodejs{node}.x"),
            handler: "app.handler",
            archive: archive(folder, "app.js", NODE_FUNCTION.as_bytes())?,
            bare: text(&["node", "-e", NODE_LOOP]),
            bare_start: Some(vec!["node", "-e", "0"]),
        },
        Language {
            name: "native",
            runtime: "provided.al2023".to_owned(),
            handler: "bootstrap",
            archive: archive(folder, "bootstrap", &own)?,
            bare: text(&[std::env::current_exe()?.to_str().ok_or("a path that is not UTF-8")?, "worker"]),
            bare_start: None,
        },
    ])
}

/// One file as a zip archive, packed by the tool every machine has: Python.
fn archive(folder: &Path, name: &str, content: &[u8]) -> Result<Vec<u8>, Failure> {
    let (file, packed) = (folder.join(name), folder.join(format!("{name}.zip")));
    fs::write(&file, content)?;
    let pack = "import sys, zipfile\n\
                info = zipfile.ZipInfo(sys.argv[3])\n\
                info.external_attr = 0o100755 << 16\n\
                info.compress_type = zipfile.ZIP_DEFLATED\n\
                zipfile.ZipFile(sys.argv[2], 'w').writestr(info, open(sys.argv[1], 'rb').read())";
    let arguments = [file.as_os_str(), packed.as_os_str(), name.as_ref()];
    let status = std::process::Command::new("python3").args(["-c", pack]).args(arguments).status()?;
    if !status.success() {
        return Err("cannot pack the archive".into());
    }
    Ok(fs::read(&packed)?)
}

fn function(language: &Language) -> String {
    format!("bench-{}", language.name.to_lowercase())
}

async fn create(env: &Env, pileus: &Pileus, language: &Language) -> Result<(), Failure> {
    let name = function(language);
    let body = json!({
        "FunctionName": name, "Runtime": language.runtime, "Handler": language.handler, "MemorySize": 256, "Timeout": 30,
        "Role": "arn:aws:iam::000000000000:role/bench", "Code": { "ZipFile": BASE64.encode(&language.archive) },
    });
    let target = "/2015-03-31/functions";
    expect(&Prepared::signed(env, pileus.port, Method::POST, target, body.to_string().into())?).await?;
    ready(env, pileus, &name).await
}

async fn ready(env: &Env, pileus: &Pileus, name: &str) -> Result<(), Failure> {
    let target = format!("/2015-03-31/functions/{name}/configuration");
    let begun = env.monotonic();
    loop {
        let prepared = Prepared::signed(env, pileus.port, Method::GET, &target, Bytes::new())?;
        let function: Value = serde_json::from_slice(&expect(&prepared).await?)?;
        if function["State"] == "Active" && function["LastUpdateStatus"] == "Successful" {
            return Ok(());
        }
        if env.monotonic().since(begun) > READY_LIMIT {
            return Err(format!("{name} is not ready: {function}").into());
        }
        env.sleep(Duration::from_millis(5)).await;
    }
}

fn invocation(env: &Env, pileus: &Pileus, name: &str) -> Result<Prepared, Failure> {
    let target = format!("/2015-03-31/functions/{name}/invocations");
    Prepared::signed(env, pileus.port, Method::POST, &target, Bytes::from_static(EVENT))
}

async fn expect(prepared: &Prepared) -> Result<Bytes, Failure> {
    match prepared.once().await? {
        (200..=299, body) => Ok(body),
        (status, body) => Err(format!("status {status}: {}", String::from_utf8_lossy(&body)).into()),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn title(text: &str) {
    anstream::println!("\n{text}");
}

fn line(text: &str) {
    anstream::println!("  {text}");
}

fn row(name: &str, measured: &Latencies) {
    let (p50, p90) = (millis(measured.percentile(50)), millis(measured.percentile(90)));
    line(&format!("{name:44} {p50:8.1} ms p50   {p90:8.1} ms p90"));
}

fn warm_row(name: &str, connections: usize, measured: &Latencies, hyper: Option<&Latencies>, bare: Option<&Latencies>) {
    let p50 = measured.percentile(50).as_secs_f64() * 1e6;
    let p99 = measured.percentile(99).as_secs_f64() * 1e6;
    let ratio = |other: Option<&Latencies>| {
        other.map_or_else(
            || format!("{:>9}", "-"),
            |other| format!("{:9.2}", p50 / (other.percentile(50).as_secs_f64() * 1e6).max(1e-9)),
        )
    };
    line(&format!(
        "{name:24} {connections:4} {p50:10.0} {p99:10.0} {:10.0}   {} {}",
        measured.rate(),
        ratio(hyper),
        ratio(bare)
    ));
}
