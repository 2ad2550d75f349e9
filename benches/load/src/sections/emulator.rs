//! Beside another emulator of AWS on the same machine: the same Python function, the same client, the same concurrency, in
//! turns. A cold start is the first call of a function that was just made.

use std::{path::Path, time::Duration};

use super::Bench;
use crate::{
    Failure,
    client::{Latencies, load},
    cloud::Cloud,
    report::{Bar, Report},
    server::Emulator,
};

const COLD_STARTS: u32 = 20;

pub(super) async fn run(bench: &Bench<'_>, program: &Path, report: &mut Report) -> Result<(), Failure> {
    report.section("emulator", "beside ministack: the same Python function, client and concurrency");
    let (mut pileus, ours) = bench.pileus("emulator").await?;
    let emulator = Emulator::start(&bench.env, program, bench.folder).await?;
    let theirs = Cloud { env: bench.env.clone(), port: emulator.port };
    let function = &bench.language("Python")?.function;
    bench.env.sleep(Duration::from_secs(2)).await;
    let (mut cold_ours, mut cold_theirs) = (Vec::new(), Vec::new());
    for number in 0..COLD_STARTS {
        for (cloud, taken) in [(&ours, &mut cold_ours), (&theirs, &mut cold_theirs)] {
            let name = format!("cold-{number}");
            cloud.create(&name, function).await?;
            taken.push(cloud.timed(&name, None).await?);
        }
    }
    let (cold_ours, cold_theirs) =
        (Latencies::new(cold_ours, Duration::ZERO), Latencies::new(cold_theirs, Duration::ZERO));
    report.latencies("ministack, cold", &cold_theirs);
    report.latencies("pileus, cold", &cold_ours);
    report.ratio("faster cold start, median", cold_theirs.percentile(50), cold_ours.percentile(50), Bar::AtLeast(30.0));
    for cloud in [&ours, &theirs] {
        cloud.create("warm", function).await?;
        cloud.timed("warm", None).await?;
    }
    for connections in [1, 8] {
        let mut seen = Vec::new();
        for cloud in [&ours, &theirs] {
            let prepared = cloud.invocation("warm", None)?;
            load(&bench.env, &prepared, connections, bench.span() / 2).await?;
            seen.push(load(&bench.env, &prepared, connections, bench.span()).await?);
        }
        let [mine, other] = seen.as_slice() else { continue };
        report.load("ministack, warm", connections, other);
        report.load("pileus, warm", connections, mine);
        let name = format!("warm throughput at c{connections}, times ministack's");
        report.barred(&name, mine.rate() / other.rate().max(1e-9), "x", Bar::AtLeast(20.0));
    }
    drop(emulator);
    pileus.stop().await
}
