//! Many new environments of one function at once. The function waits long enough that none can serve twice; what it waits
//! is taken off, so the figure is the time until an environment had been made and had begun.

use std::{collections::HashSet, time::Duration};

use http::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use super::Bench;
use crate::{
    Failure,
    client::Latencies,
    cloud::{Cloud, Function, archive},
    report::{Bar, Report},
};

/// How long each invocation waits, so that all are there at once.
const HOLD: Duration = Duration::from_secs(4);
const PYTHON_HOLD: &str =
    "import time\ndef handler(event, context):\n    time.sleep(4)\n    return context.log_stream_name\n";
const NODE_HOLD: &str = "exports.handler = async (event, context) => {\n  await new Promise((done) => setTimeout(done, 4000));\n  \
                         return context.logStreamName;\n};\n";

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    let many = bench.options.burst;
    report.section(
        "burst",
        &format!("{many} new environments of one function at once; the function's own wait taken off"),
    );
    let (mut pileus, cloud) = bench.pileus("burst").await?;
    let python = Function {
        archive: archive(bench.folder, "app.py", PYTHON_HOLD.as_bytes())?,
        ..bench.language("Python")?.function.clone()
    };
    cloud.create("burst-python", &python).await?;
    // The server has just started and has seen no call: its pools are what a start makes, not what a burst wants.
    burst(bench, report, &cloud, "burst-python", "Python, the first call ever", Some(2.0), many).await?;
    for turn in 0..2 {
        cloud.change("burst-python", turn).await?;
        bench.env.sleep(Duration::from_secs(5)).await;
        if turn == 0 {
            burst(bench, report, &cloud, "burst-python", "Python, again", None, many).await?;
        } else {
            burst(bench, report, &cloud, "burst-python", "Python, pools grown by two bursts", Some(1.0), many).await?;
        }
    }
    report.note(&format!("environments in all: {}", cloud.origins("burst-python").await?));
    let node = Function {
        archive: archive(bench.folder, "app.js", NODE_HOLD.as_bytes())?,
        ..bench.language("Node")?.function.clone()
    };
    cloud.create("burst-node", &node).await?;
    let fewer = many / 4;
    let spent = burst(bench, report, &cloud, "burst-node", "Node", None, fewer).await?;
    let processors = std::thread::available_parallelism()?.get() as f64;
    report.figure(
        "Node: starts a second and processor (refill ceiling)",
        fewer as f64 / spent.as_secs_f64() / processors,
        "/s",
    );
    pileus.stop().await
}

/// All at once; until the last had begun.
async fn burst(
    bench: &Bench<'_>,
    report: &mut Report,
    cloud: &Cloud,
    name: &str,
    about: &str,
    bar: Option<f64>,
    many: usize,
) -> Result<Duration, Failure> {
    let mut calls = JoinSet::new();
    let begun = bench.env.monotonic();
    for _ in 0..many {
        let (env, prepared) = (bench.env.clone(), cloud.invocation(name, None)?);
        calls.spawn(async move {
            let outcome = prepared.invoked().await;
            (outcome, env.monotonic().since(begun).saturating_sub(HOLD))
        });
    }
    let (mut taken, mut places, mut failures) = (Vec::new(), HashSet::new(), Vec::new());
    while let Some(call) = calls.join_next().await {
        let (outcome, spent) = call?;
        match outcome {
            Ok((200, false, body)) => {
                taken.push(spent);
                places.insert(body);
            }
            Ok((status, _, body)) => failures.push(format!("status {status}: {}", String::from_utf8_lossy(&body))),
            Err(error) => failures.push(error.to_string()),
        }
    }
    let measured = Latencies::new(taken, Duration::ZERO);
    report.latencies(&format!("{about}, x{many}"), &measured);
    if let Some(first) = failures.first() {
        report.note(&format!("{} of {many} failed, the first with: {first}", failures.len()));
    }
    if places.len() != measured.count() {
        report.note(&format!("only {} environments served", places.len()));
    }
    let last = measured.percentile(100);
    if let Some(bar) = bar {
        report.barred(&format!("{about}: until the last had begun"), last.as_secs_f64(), "s", Bar::AtMost(bar));
        report.barred(&format!("{about}: failed"), failures.len() as f64, "", Bar::AtMost(0.0));
    }
    // What the server says of itself, for a reader who wonders.
    let page: Value = cloud.call(Method::GET, "/_pileus/environments", None).await?;
    report.figure(&format!("{about}: memory promised"), page["memory_promised_mib"].as_f64().unwrap_or(0.0), "MiB");
    Ok(last)
}
