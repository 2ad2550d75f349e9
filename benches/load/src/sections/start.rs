//! From the start of the process to its first answer, empty and with functions on disk, after a clean stop and after
//! `kill -9` under load; and what an empty server holds in memory.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::Bench;
use crate::{
    Failure,
    client::{Latencies, Prepared, load},
    cloud::Cloud,
    report::{Bar, Report, millis},
    server::Pileus,
};

/// Starts of each kind.
const STARTS: u32 = 15;

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    report.section("start", "from the start of the process to the first healthy answer");
    let mut pileus = Pileus::new(&bench.env, &bench.options.pileus, bench.folder.join("start"))?;
    let mut taken = Vec::new();
    for _ in 0..STARTS {
        taken.push(pileus.start().await?);
        pileus.stop().await?;
    }
    let empty = Latencies::new(taken, Duration::ZERO);
    report.latencies("ready after a clean stop, no functions", &empty);
    report.barred("the median", millis(empty.percentile(50)), "ms", Bar::AtMost(50.0));
    pileus.start().await?;
    bench.env.sleep(Duration::from_secs(3)).await;
    let (own, family) = pileus.resident_mib()?;
    report.barred("idle, resident", own, "MiB", Bar::AtMost(30.0));
    report.figure("idle, with launcher, shells and templates (Pss)", family, "MiB");
    let cloud = Cloud { env: bench.env.clone(), port: pileus.port };
    cloud.create("bench-native", &bench.language("native")?.function).await?;
    after_kill(bench, report, &mut pileus, &cloud).await?;
    pileus.stop().await
}

async fn after_kill(bench: &Bench<'_>, report: &mut Report, pileus: &mut Pileus, cloud: &Cloud) -> Result<(), Failure> {
    let mut killed = Vec::new();
    for _ in 0..STARTS / 2 {
        let event = cloud.invocation("bench-native", None)?;
        let tags = Prepared::signed(
            &bench.env,
            pileus.port,
            Method::POST,
            "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Abench-native",
            Bytes::from_static(b"{\"Tags\":{\"k\":\"v\"}}"),
        )?;
        // Writes and invocations in flight while the process dies: their connections break, as they must.
        let (invoking, writing) = (bench.env.clone(), bench.env.clone());
        let flight = tokio::spawn(async move { load(&invoking, &event, 4, Duration::from_secs(30)).await.is_ok() });
        let writes = tokio::spawn(async move { load(&writing, &tags, 4, Duration::from_secs(30)).await.is_ok() });
        bench.env.sleep(Duration::from_secs(1)).await;
        pileus.kill().await?;
        if flight.await? | writes.await? {
            return Err("the load outlived the server".into());
        }
        killed.push(pileus.start().await?);
    }
    let killed = Latencies::new(killed, Duration::ZERO);
    report.latencies("ready after kill -9 under load", &killed);
    report.barred("the slowest", millis(killed.percentile(100)), "ms", Bar::AtMost(1_000.0));
    Ok(())
}
