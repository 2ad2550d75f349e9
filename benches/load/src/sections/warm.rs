//! Warm invocations, signed, over kept connections, beside the bare loop: client → hyper → Runtime API → worker and back,
//! with the very same worker, nothing stored, checked, signed or isolated.

use std::time::Duration;

use http::Method;
use tokio::process::Child;

use super::Bench;
use crate::{
    Failure,
    client::{Latencies, Prepared, load},
    cloud::{EVENT, Language},
    report::{Bar, Report},
    server::{Opponent, runtime},
};

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    report.section("warm", "invocations of functions that are there, beside the bare loop with the same workers");
    let (mut pileus, cloud) = bench.pileus("warm").await?;
    for language in bench.languages {
        cloud.create(&name(language), &language.function).await?;
        cloud.timed(&name(language), None).await?;
    }
    for connections in [1, 8] {
        let hyper = hello(bench, connections).await?;
        report.load("bare hyper, a constant answer", connections, &hyper);
        for language in bench.languages {
            let prepared = cloud.invocation(&name(language), None)?;
            load(&bench.env, &prepared, connections, bench.span() / 4).await?;
            // In turns, twice: the better of each, so that a busy moment of the machine falls on neither alone.
            let mut bare = bare_loop(bench, language, connections).await?;
            let mut ours = load(&bench.env, &prepared, connections, bench.span()).await?;
            bare = bare.better(bare_loop(bench, language, connections).await?);
            ours = ours.better(load(&bench.env, &prepared, connections, bench.span()).await?);
            report.load(&format!("bare loop, {}", language.name), connections, &bare);
            report.load(&format!("pileus, {}", language.name), connections, &ours);
            if connections == 1 {
                let name = format!("{}: median, to the bare loop's", language.name);
                report.ratio(&name, ours.percentile(50), bare.percentile(50), Bar::AtMost(1.2));
            }
            let least = match (connections, language.name) {
                (8, "Python") => 5_000.0,
                (8, "native") => 15_000.0,
                _ => continue,
            };
            // An answer that is no success would have ended the load: errors are 0.
            report.barred(
                &format!("{}: answers a second, no errors", language.name),
                ours.rate(),
                "/s",
                Bar::AtLeast(least),
            );
        }
    }
    pileus.stop().await
}

fn name(language: &Language) -> String {
    format!("warm-{}", language.name.to_lowercase())
}

async fn hello(bench: &Bench<'_>, connections: usize) -> Result<Latencies, Failure> {
    let opponent = Opponent::start("hello-threads").await?;
    let prepared = Prepared::plain(opponent.port, Method::POST, "/", EVENT)?;
    load(&bench.env, &prepared, connections, bench.span() / 4).await?;
    load(&bench.env, &prepared, connections, bench.span() / 2).await
}

async fn bare_loop(bench: &Bench<'_>, language: &Language, connections: usize) -> Result<Latencies, Failure> {
    let opponent = Opponent::start("loop").await?;
    let command: Vec<&str> = language.bare.iter().map(String::as_str).collect();
    let workers: Vec<Child> =
        (0..connections).map(|_| runtime(&command, opponent.port)).collect::<Result<_, Failure>>()?;
    let prepared = Prepared::plain(opponent.port, Method::POST, "/invoke", EVENT)?;
    load(&bench.env, &prepared, connections, (bench.span() / 4).max(Duration::from_millis(500))).await?;
    let measured = load(&bench.env, &prepared, connections, bench.span()).await?;
    drop(workers);
    Ok(measured)
}
