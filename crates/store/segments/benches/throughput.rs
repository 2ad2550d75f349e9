//! How fast log events are appended and scanned, beside what the disk and the codec give alone, in the same run.
//!
//! `cargo bench -p store-segments`. Figures are printed, never asserted.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops at the first surprise and prints")]

use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Duration};

use base_env::Env;
use base_types::Timestamp;
use bytes::Bytes;
use store_segments::*;

const GROUP: GroupId = GroupId(1);
const MESSAGE_BYTES: usize = 200;
const BATCH: usize = 10;

fn main() {
    let env = Env::real();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    println!("{MESSAGE_BYTES} bytes a message, {BATCH} messages an append");
    let alone = disk_alone(&env);
    println!(
        "disk alone: {alone:>9.0} appends/s (write {} KiB, fdatasync, one after the other)",
        BATCH * MESSAGE_BYTES / 1024
    );
    for callers in [1, 8, 64] {
        let rate = runtime.block_on(append(&env, callers, Durability::Synced, Duration::from_secs(3)));
        println!(
            "synced,   {callers:>2} callers: {rate:>9.0} appends/s = {:>9.0} events/s, {:.2} x the disk alone",
            rate * BATCH as f64,
            rate / alone
        );
    }
    for callers in [1, 8] {
        let rate = runtime.block_on(append(&env, callers, Durability::Buffered, Duration::from_secs(3)));
        let mebibytes = rate * (BATCH * MESSAGE_BYTES) as f64 / f64::from(1 << 20);
        println!(
            "buffered, {callers:>2} callers: {rate:>9.0} appends/s = {:>9.0} events/s = {mebibytes:.0} MiB/s",
            rate * BATCH as f64
        );
    }
    runtime.block_on(scan(&env));
}

/// A line such as a function writes; numbers make lines differ.
fn line(number: u64) -> String {
    let mut text = format!(
        "2026-11-23T12:00:00.{:03}Z 8f7c{:016x} INFO request handled path=/orders/{} status=200 duration_ms={} ",
        number % 1000,
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        number % 977,
        number % 89,
    );
    while text.len() < MESSAGE_BYTES {
        text.push_str("user=ada region=us-east-1 ");
    }
    text.truncate(MESSAGE_BYTES);
    text
}

fn batch(stream: u128, number: u64) -> Batch {
    let entry = |index: u64| Entry {
        timestamp: Timestamp::from_millis(1_795_435_200_000 + number),
        message: Bytes::from(line(number * BATCH as u64 + index)),
    };
    let ingestion = Timestamp::from_millis(1_795_435_200_000 + number);
    Batch { group: GROUP, stream: StreamId(stream), ingestion, events: (0..BATCH as u64).map(entry).collect() }
}

fn disk_alone(env: &Env) -> f64 {
    let folder = tempfile::tempdir_in(".").unwrap();
    let file = File::create(folder.path().join("alone")).unwrap();
    let bytes = vec![b'x'; BATCH * MESSAGE_BYTES];
    let (started, mut count) = (env.monotonic(), 0_u64);
    while env.monotonic().since(started) < Duration::from_secs(2) {
        file.write_all_at(&bytes, count * bytes.len() as u64).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    count as f64 / env.monotonic().since(started).as_secs_f64()
}

fn open(path: &Path, env: &Env) -> Segments {
    Segments::open(path, Settings::default(), env.clone()).unwrap().0
}

async fn append(env: &Env, callers: u128, durability: Durability, time: Duration) -> f64 {
    let folder = tempfile::tempdir_in(".").unwrap();
    let segments = open(folder.path(), env);
    let started = env.monotonic();
    let tasks: Vec<_> = (0..callers)
        .map(|stream| {
            let (segments, env) = (segments.clone(), env.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while env.monotonic().since(started) < time {
                    segments.append(batch(stream, count), durability).await.unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    count as f64 / env.monotonic().since(started).as_secs_f64()
}

async fn scan(env: &Env) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let segments = open(folder.path(), env);
    let batch_count = 100_000_u64;
    let started = env.monotonic();
    for number in 0..batch_count {
        segments.append(batch(u128::from(number % 16), number), Durability::Buffered).await.unwrap();
    }
    let bytes = (batch_count as usize * BATCH * MESSAGE_BYTES) as f64;
    let gigabytes = bytes / 1e9;
    println!("filled {gigabytes:.2} GB of messages in {:.1} s", env.monotonic().since(started).as_secs_f64());
    drop(segments);
    let started = env.monotonic();
    let segments = open(folder.path(), env);
    println!("opened in {:.1} ms", env.monotonic().since(started).as_secs_f64() * 1e3);
    let on_disk: u64 = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    println!("on disk: {:.3} GB, {:.1} x smaller", on_disk as f64 / 1e9, bytes / on_disk as f64);

    let codec = codec_alone(env);
    println!("zstd + memmem alone, 64 KiB blocks in memory: {codec:.2} GB/s");
    let query = |streams, must_contain: Option<&str>, direction| Query {
        group: GROUP,
        streams,
        from: Position::MIN,
        until: Position::MAX,
        direction,
        must_contain: must_contain.map(|text| text.as_bytes().to_vec()),
    };
    let needle = memchr::memmem::Finder::new("needle");
    let measure = |name: &str, query: Query| {
        let started = env.monotonic();
        let (mut events, mut hits) = (0_u64, 0_u64);
        for found in segments.scan(query) {
            if let Found::Event(event) = found.unwrap() {
                events += 1;
                hits += u64::from(needle.find(&event.message).is_some());
            }
        }
        let seconds = env.monotonic().since(started).as_secs_f64();
        let rate = gigabytes / seconds;
        let millions = batch_count as f64 * BATCH as f64 / seconds / 1e6;
        println!(
            "{name}: {rate:.2} GB/s = {millions:.1} M events/s ({:.2} x the codec alone); {events} seen, {hits} hits",
            rate / codec
        );
    };
    measure("scan, each event searched", query(Streams::All, None, Direction::Forward));
    measure("scan backward            ", query(Streams::All, None, Direction::Backward));
    measure("scan, blocks passed over ", query(Streams::All, Some("needle"), Direction::Forward));
    measure("one stream of sixteen    ", query(Streams::Only([StreamId(3)].into()), None, Direction::Forward));
}

/// What decompressing and searching the same kind of text gives without anything around it.
fn codec_alone(env: &Env) -> f64 {
    let mut blocks = Vec::new();
    let mut number = 0;
    for _ in 0..1000 {
        let mut text = Vec::new();
        while text.len() < 64 << 10 {
            text.extend_from_slice(line(number).as_bytes());
            number += 1;
        }
        blocks.push((zstd::bulk::compress(&text, 3).unwrap(), text.len()));
    }
    let mut zstd = zstd::bulk::Decompressor::new().unwrap();
    let needle = memchr::memmem::Finder::new("needle");
    let (started, mut bytes, mut hits) = (env.monotonic(), 0, 0);
    for _ in 0..5 {
        for (block, length) in &blocks {
            let text = zstd.decompress(block, *length).unwrap();
            hits += usize::from(needle.find(&text).is_some());
            bytes += length;
        }
    }
    assert_eq!(hits, 0);
    bytes as f64 / 1e9 / env.monotonic().since(started).as_secs_f64()
}
