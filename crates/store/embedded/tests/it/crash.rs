//! `kill -9` at random points under concurrent load, two hundred times, on both engines.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use base_env::Env;
use store_embedded::{DataDir, EmbeddedStore, EngineKind, Options};

use crate::workload::{CLIENTS, run, verify};

const ROUNDS: usize = 200;
/// A directory is used for this many deaths in a row, then a new one is begun.
const LIVES: usize = 10;
const DIRECTORY: &str = "PILEUS_CRASH_DIRECTORY";

fn options(engine: EngineKind, round: usize) -> Options {
    // By turns so small that checkpoints run all the time, and so large that everything is in the log.
    let generation_bytes = [60_000, 4 << 20][round % 2];
    Options { engine, generation_bytes, checkpoint_idle_ms: 20, disk_reserve_bytes: 0, ..Options::default() }
}

async fn open(path: &Path, engine: EngineKind, round: usize) -> (DataDir, EmbeddedStore) {
    let options = options(engine, round);
    let directory = DataDir::open(path, &options).unwrap();
    let opened = EmbeddedStore::open(&directory, options, &Env::real()).await.unwrap();
    (directory, opened)
}

/// What is killed: counts until it dies, saying what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by `killed_two_hundred_times_nothing_acknowledged_is_lost`, which kills it"]
async fn child() {
    let Ok(given) = std::env::var(DIRECTORY) else {
        unreachable!("`{DIRECTORY}` says where to count");
    };
    let mut words = given.split(' ');
    let mut word = || words.next().unwrap();
    let (path, engine, round) = (PathBuf::from(word()), word(), word().parse().unwrap());
    let engine = if engine == "tree" { EngineKind::Tree } else { EngineKind::Lsm };
    let from: Vec<u64> = word().split(',').map(|n| n.parse().unwrap()).collect();
    let (_directory, opened) = open(&path, engine, round).await;
    say("ready");
    run(opened.store(), &from, |client, n| say(&format!("ack {client} {n}"))).await;
    unreachable!("the store failed before the kill");
}

/// One write, so that a kill cannot tear it.
fn say(text: &str) {
    std::io::stdout().write_all(format!("\n{text}\n").as_bytes()).unwrap();
}

#[test]
fn killed_two_hundred_times_nothing_acknowledged_is_lost() {
    let env = Env::real();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut slowest, mut total) = ([Duration::ZERO; 2], 0);
    for life in 0..ROUNDS / LIVES {
        let (name, engine) = [("tree", EngineKind::Tree), ("lsm", EngineKind::Lsm)][life % 2];
        let temporary = tempfile::tempdir().unwrap();
        let mut reached = vec![0; CLIENTS as usize];
        for round in 0..LIVES {
            let joined = reached.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
            let given = format!("{} {name} {round} {joined}", temporary.path().display());
            let after = Duration::from_micros(env.below(120_000));
            let acknowledged = count_until_killed(&given, &reached, after, &runtime, &env);
            let begin = env.monotonic();
            runtime.block_on(async {
                let (_directory, opened) = open(temporary.path(), engine, round).await;
                slowest[life % 2] = slowest[life % 2].max(env.monotonic().since(begin));
                reached = verify(opened.store(), &acknowledged).await;
                // By turns a clean end, and one that leaves the log to be read again.
                if round % 3 == 0 {
                    opened.store().shutdown().await;
                }
            });
        }
        total += reached.iter().sum::<u64>();
    }
    assert!(total > 1000, "only {total} transactions: the kills came before the work");
    println!("{ROUNDS} kills, {total} transactions, slowest start of tree and lsm {slowest:?}");
}

/// Starts the child, kills it `after` its store was open, and gives what it had acknowledged.
fn count_until_killed(
    given: &str,
    reached: &[u64],
    after: Duration,
    runtime: &tokio::runtime::Runtime,
    env: &Env,
) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, given)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map(Result::unwrap).any(|line| line == "ready"), "the child did not open its store");
    let reading = std::thread::spawn(move || {
        lines.map(Result::unwrap).filter(|line| line.starts_with("ack ")).collect::<Vec<_>>()
    });
    runtime.block_on(env.sleep(after));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut acknowledged = reached.to_vec();
    for line in reading.join().unwrap() {
        let numbers: Vec<u64> = line.split(' ').skip(1).map(|n| n.parse().unwrap()).collect();
        acknowledged[numbers[0] as usize] = numbers[1];
    }
    acknowledged
}
