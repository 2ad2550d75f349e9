//! A child process appends from several callers until it is killed with SIGKILL, many times on one directory.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use store_segments::*;

use crate::support::*;

const DIRECTORY: &str = "SEGMENTS_CRASH_DIRECTORY";
const ROUND: &str = "SEGMENTS_CRASH_ROUND";
const ROUND_COUNT: u64 = 100;
const CALLERS: u128 = 4;

fn settings() -> Settings {
    Settings { memtable_bytes: 16 << 10, block_bytes: 1 << 10, merge_count: 3, ..Settings::default() }
}

/// The child: does nothing unless the test below starts it.
#[test]
fn child_appends_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let segments = open(Path::new(&directory), settings());
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let segments = segments.clone();
                tokio::spawn(async move {
                    for number in 0_u64.. {
                        // Two events, so that a torn batch would be seen; every third batch is not acknowledged as synced.
                        let text = format!("{round} {number} {}", "q".repeat((number % 97) as usize));
                        let events = [(number, text.as_str()), (number, text.as_str())];
                        if number % 3 == 2 {
                            segments.append(batch(GROUP, caller, &events), Durability::Buffered).await.unwrap();
                        } else {
                            segments.append(batch(GROUP, caller, &events), Durability::Synced).await.unwrap();
                            println!("ack {caller} {round} {number}");
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
}

fn start(directory: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child_appends_until_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child after it has acknowledged `count` appends; returns all it acknowledged.
fn run_and_kill(directory: &Path, round: u64, count: usize) -> Vec<(u128, u64, u64)> {
    let mut child = start(directory, round);
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        // The test harness writes the first one behind its own words.
        let Some(words) = line.split("ack ").nth(1) else { continue };
        let words: Vec<&str> = words.split(' ').collect();
        // The kill may cut a line short.
        let [caller, round, number] = words[..] else { continue };
        acknowledged.push((caller.parse().unwrap(), round.parse().unwrap(), number.parse().unwrap()));
        if acknowledged.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

#[test]
fn every_acknowledged_event_survives_sigkill_exactly_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let (mut replayed_events, mut cut_count) = (0, 0);
    for round in 0..ROUND_COUNT {
        // A different place of the write, sync, seal and merge cycle each time.
        let count = 1 + (round as usize * 37) % 160;
        let mut acks = run_and_kill(folder.path(), round, count);
        // The last line may have been cut within its number.
        acks.truncate(acks.len().max(count) - usize::from(acks.len() > count));
        assert!(!acks.is_empty());
        acknowledged.extend(acks);
        if round % 10 == 9 {
            let (segments, recovery) = Segments::open(folder.path(), settings(), base_env::Env::real()).unwrap();
            assert!(recovery.damaged.is_empty(), "{recovery:?}");
            replayed_events += recovery.replayed_events;
            cut_count += u32::from(recovery.cut_bytes > 0);
            verify(&segments, &acknowledged);
        }
    }
    assert!(replayed_events > 0);
    println!("{} acknowledged appends, {replayed_events} events replayed, {cut_count} torn tails", acknowledged.len());
}

fn verify(segments: &Segments, acknowledged: &[(u128, u64, u64)]) {
    let mut counts: HashMap<(u128, u64, u64), u32> = HashMap::new();
    let events = read(segments, everything(GROUP));
    assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position), "order or uniqueness of positions");
    for event in &events {
        let text = std::str::from_utf8(&event.message).unwrap();
        let mut words = text.split(' ').map(|word| word.parse::<u64>().unwrap_or_default());
        let (round, number) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(event.position.timestamp, number);
        *counts.entry((event.stream.0, round, number)).or_default() += 1;
    }
    for batch in acknowledged {
        assert_eq!(counts.get(batch), Some(&2), "acknowledged {batch:?}");
    }
    assert!(counts.values().all(|&count| count == 2), "a batch is there by half or twice");
}
