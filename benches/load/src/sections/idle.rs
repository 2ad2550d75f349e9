//! Many idle environments, each of a function of its own: what each takes of the machine's available memory, everything
//! included; and whether each still answers.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Bench, mem};
use crate::{
    Failure,
    client::Latencies,
    cloud::{Cloud, Function, archive},
    report::{Bar, Report},
};

/// Calls under way at a time while environments are made.
const AT_ONCE: u32 = 4;
const PYTHON_PLACE: &str = "def handler(event, context):\n    return context.log_stream_name\n";

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    let many = bench.options.idle;
    report.section("idle", &format!("{many} idle Python environments, of a function each"));
    let (mut pileus, cloud) = bench.pileus("idle").await?;
    let function = Function {
        archive: archive(bench.folder, "app.py", PYTHON_PLACE.as_bytes())?,
        ..bench.language("Python")?.function.clone()
    };
    for number in 0..many {
        cloud.create(&name(number), &function).await?;
    }
    // One environment more than is counted: templates and pools are made with it.
    cloud.create("idle-first", &function).await?;
    cloud.timed("idle-first", None).await?;
    bench.env.sleep(Duration::from_secs(10)).await;
    let before = mem("MemAvailable:")?;
    let (cold, places) = round(bench, &cloud, many).await?;
    bench.env.sleep(Duration::from_secs(10)).await;
    let after = mem("MemAvailable:")?;
    report.latencies("first calls", &cold);
    report.barred(
        "memory available less, for each",
        (before - after) / 1024.0 / f64::from(many),
        "MiB",
        Bar::AtMost(2.0),
    );
    let (_, family) = pileus.resident_mib()?;
    report.figure("all processes together (Pss), for each", family / f64::from(many), "MiB");
    let (warm, again) = round(bench, &cloud, many).await?;
    report.latencies("second calls", &warm);
    let same = places.iter().zip(&again).filter(|(first, second)| first == second).count();
    report.barred("environments that answered a second time", same as f64, "", Bar::AtLeast(f64::from(many)));
    pileus.stop().await
}

fn name(number: u32) -> String {
    format!("idle-{number}")
}

/// One call to each; how long they took, and what each said where it ran.
async fn round(bench: &Bench<'_>, cloud: &Cloud, many: u32) -> Result<(Latencies, Vec<Vec<u8>>), Failure> {
    let mut lanes = JoinSet::new();
    for lane in 0..AT_ONCE {
        let (env, cloud) = (bench.env.clone(), cloud.clone());
        lanes.spawn(async move {
            let mut answers = Vec::new();
            for number in (lane..many).step_by(AT_ONCE as usize) {
                let prepared = cloud.invocation(&name(number), None)?;
                let begun = env.monotonic();
                let (status, error, body) = prepared.invoked().await?;
                if status != 200 || error {
                    return Err(Failure::from(format!(
                        "{}: {status}: {}",
                        name(number),
                        String::from_utf8_lossy(&body)
                    )));
                }
                answers.push((number, env.monotonic().since(begun), body.to_vec()));
            }
            Ok(answers)
        });
    }
    let mut answers = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        answers.extend(lane??);
    }
    answers.sort_by_key(|(number, _, _)| *number);
    let taken = answers.iter().map(|(_, taken, _)| *taken).collect();
    Ok((Latencies::new(taken, Duration::ZERO), answers.into_iter().map(|(_, _, body)| body).collect()))
}
