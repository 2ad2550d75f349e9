//! The store alone: durable commits of a hundred bytes under keys of their own, no service and no wire before them.

use std::time::Duration;

use base_env::Env;
use base_types::{AccountId, Region};
use clap::Args;
use serde_json::{Value, json};
use store_api::{Family, Key, Store};
use store_embedded::{DataDir, EmbeddedStore, Options};
use tokio::{process::Command, task::JoinSet};

use crate::{Failure, client::Latencies};

/// One run.
#[derive(Args)]
pub(crate) struct Run {
    /// Commits under way at a time.
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    milliseconds: u64,
    /// An empty folder.
    #[arg(long)]
    data: std::path::PathBuf,
}

/// What a run of it gave.
pub(crate) struct Alone {
    pub(crate) rate: f64,
    pub(crate) median: Duration,
}

/// In a process of its own, as a server is.
pub(crate) async fn measure(folder: &std::path::Path, connections: usize, span: Duration) -> Result<Alone, Failure> {
    let data = folder.join(format!("alone-{connections}"));
    let output = Command::new(std::env::current_exe()?)
        .args(["store-alone", "--connections", &connections.to_string()])
        .args(["--milliseconds", &span.as_millis().to_string(), "--data"])
        .arg(&data)
        .output()
        .await?;
    std::fs::remove_dir_all(&data)?;
    let found: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let figure = |name: &str| found[name].as_f64().ok_or("a figure is missing");
    Ok(Alone { rate: figure("per_second")?, median: Duration::from_secs_f64(figure("p50_us")? / 1e6) })
}

/// The child's side.
pub(crate) async fn run(options: &Run) -> Result<(), Failure> {
    let env = Env::real();
    let settings = Options::default();
    let directory = DataDir::open(&options.data, &settings)?;
    let opened = EmbeddedStore::open(&directory, settings, &env).await?;
    let (begun, span) = (env.monotonic(), Duration::from_millis(options.milliseconds));
    let mut clients = JoinSet::new();
    for client in 0..options.connections {
        let (env, store) = (env.clone(), opened.store().clone());
        clients.spawn(async move {
            let mut taken = Vec::new();
            while env.monotonic().since(begun) < span {
                let started = env.monotonic();
                put(&store, client as u64, taken.len() as u64).await?;
                taken.push(env.monotonic().since(started));
            }
            Ok::<_, Failure>(taken)
        });
    }
    let mut all = Vec::new();
    while let Some(taken) = clients.join_next().await {
        all.extend(taken??);
    }
    let measured = Latencies::new(all, env.monotonic().since(begun));
    let p50_us = measured.percentile(50).as_secs_f64() * 1e6;
    anstream::println!("{}", json!({ "per_second": measured.rate(), "p50_us": p50_us }));
    opened.store().shutdown().await;
    Ok(())
}

async fn put(store: &Store, client: u64, number: u64) -> Result<(), base_types::Fault> {
    let key = Key::new(Family::Queue, AccountId::DEFAULT, &Region::default()).str("alone").u64(client).u64(number);
    store.transact(move |tx| tx.put(&key, vec![7; 100])).await
}
