//! Many deployed functions beside ten: start-up, idle memory, the warm path.

use std::time::Duration;

use tokio::task::JoinSet;

use super::Bench;
use crate::{
    Failure,
    client::{Latencies, load},
    cloud::{Cloud, Function},
    report::{Bar, Report},
    server::Pileus,
};

const FEW: u32 = 10;
const AT_ONCE: u32 = 8;
const STARTS: u32 = 7;

/// What a server with so many functions does.
struct Seen {
    start: Latencies,
    idle_mib: f64,
    family_mib: f64,
    warm: Latencies,
}

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    let many = bench.options.functions;
    report.section("functions", &format!("a server with {many} deployed functions beside one with {FEW}"));
    let mut small = server(bench, "functions-few", FEW).await?;
    let mut large = server(bench, "functions-many", many).await?;
    // In turns, so that both see the machine alike.
    let (mut few, mut lot) = (look(bench, &mut small).await?, look(bench, &mut large).await?);
    for _ in 0..2 {
        let (one, other) = (look(bench, &mut small).await?, look(bench, &mut large).await?);
        few.merge(one);
        lot.merge(other);
    }
    report.latencies(&format!("start, {FEW} functions"), &few.start);
    report.latencies(&format!("start, {many} functions"), &lot.start);
    report.ratio("start, median, many to few", lot.start.percentile(50), few.start.percentile(50), Bar::AtMost(1.2));
    report.load(&format!("warm, native, {FEW} functions"), 1, &few.warm);
    report.load(&format!("warm, native, {many} functions"), 1, &lot.warm);
    report.ratio("warm, median, many to few", lot.warm.percentile(50), few.warm.percentile(50), Bar::AtMost(1.2));
    report.figure(&format!("idle, resident, {FEW} functions"), few.idle_mib, "MiB");
    report.barred(&format!("idle, resident, {many} functions"), lot.idle_mib, "MiB", Bar::AtMost(80.0));
    report.figure(&format!("idle with all its processes (Pss), {many} functions"), lot.family_mib, "MiB");
    Ok(())
}

impl Seen {
    fn merge(&mut self, other: Self) {
        self.start = std::mem::take(&mut self.start).and(other.start);
        self.warm = std::mem::take(&mut self.warm).better(other.warm);
        self.idle_mib = self.idle_mib.max(other.idle_mib);
        self.family_mib = self.family_mib.max(other.family_mib);
    }
}

/// A stopped server that has so many functions.
async fn server(bench: &Bench<'_>, name: &str, many: u32) -> Result<Pileus, Failure> {
    let (mut pileus, cloud) = bench.pileus(name).await?;
    cloud.create("warm", &bench.language("native")?.function).await?;
    let mut lanes = JoinSet::new();
    for lane in 0..AT_ONCE {
        let (cloud, function): (Cloud, Function) = (cloud.clone(), bench.language("Python")?.function.clone());
        lanes.spawn(async move {
            for number in (lane..many.saturating_sub(1)).step_by(AT_ONCE as usize) {
                cloud.create(&format!("function-{number}"), &function).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    pileus.stop().await?;
    Ok(pileus)
}

async fn look(bench: &Bench<'_>, pileus: &mut Pileus) -> Result<Seen, Failure> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(pileus.start().await?);
        pileus.stop().await?;
    }
    pileus.start().await?;
    bench.env.sleep(Duration::from_secs(5)).await;
    let (idle_mib, family_mib) = pileus.resident_mib()?;
    let cloud = Cloud { env: bench.env.clone(), port: pileus.port };
    let prepared = cloud.invocation("warm", None)?;
    load(&bench.env, &prepared, 1, bench.span() / 4).await?;
    let warm = load(&bench.env, &prepared, 1, bench.span() / 2).await?;
    pileus.stop().await?;
    Ok(Seen { start: Latencies::new(starts, Duration::ZERO), idle_mib, family_mib, warm })
}
