//! However the server ends, its functions end with it and leave nothing behind.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use compute_api::{Environment, FunctionHost};

use crate::harness::{Bench, block_on, event, success};

const SLEEPER: &str =
    "import os, subprocess\nsubprocess.Popen(['/bin/sleep', '1000'])\ndef handler(event, context):\n    return 1\n";

/// Waits until nothing runs any more as this user and no folder of this instance is left.
fn nothing_left(uid: u32, instance: &str) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let mut left = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.contains(&format!("Uid:\t{uid}\t")) {
                left.push(entry.path().display().to_string());
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        for mount in mounts.lines().filter(|line| line.contains(" - cgroup")) {
            let point = mount.split(' ').nth(4).unwrap();
            let found = walk(point.as_ref(), instance);
            left.extend(found);
        }
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(left.join(", "));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of a host user.
fn of_user(uid: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let theirs = entries.filter(|entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        status.contains(&format!("Uid:\t{uid}\t"))
    });
    theirs.map(|entry| entry.path().display().to_string()).collect()
}

fn walk(folder: &std::path::Path, instance: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with(&format!("pileus-{instance}-")) {
                found.push(entry.path().display().to_string());
            } else {
                found.extend(walk(&entry.path(), instance));
            }
        }
    }
    found
}

#[test]
fn a_shutdown_ends_everything() {
    block_on(async {
        let bench = Bench::open();
        let (spec, _lines) = bench.function("python3.11", "app.py", SLEEPER);
        let mut environment = bench.start(spec).await;
        assert_eq!(success(&environment.invoke(event("r", "{}")).await), 1);
        let uid = environment.isolation().host_uid;
        bench.host.shutdown().await;
        assert!(!environment.is_alive());
        if uid >= 700_000 {
            nothing_left(uid, "none").unwrap();
        }
        let (spec, _lines) = bench.function("python3.11", "app.py", SLEEPER);
        assert!(bench.host.start(spec.into()).await.is_err());
    });
}

#[test]
fn a_killed_server_takes_its_functions_with_it() {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "endings::a_server_to_be_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let uid: u32 = lines.find_map(|line| line.unwrap().strip_prefix("uid ").map(|uid| uid.parse().unwrap())).unwrap();
    let pid = server.id();
    server.kill().unwrap();
    server.wait().unwrap();
    if uid >= 700_000 {
        nothing_left(uid, &pid.to_string()).unwrap();
    }
}

#[test]
fn a_killed_launcher_takes_its_functions_with_it_and_the_server_knows() {
    block_on(async {
        let bench = Bench::open();
        let (spec, _lines) = bench.function("python3.11", "app.py", SLEEPER);
        let mut environment = bench.start(spec).await;
        assert_eq!(success(&environment.invoke(event("r", "{}")).await), 1);
        let uid = environment.isolation().host_uid;
        if uid < 700_000 {
            println!("left out: without own host uids the function's processes cannot be told from others");
            return;
        }
        // The function's parent is the launcher.
        let field = |status: &str, name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned));
            line.unwrap_or_default()
        };
        let own = std::process::id().to_string();
        let launcher = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = field(&status, "PPid:");
            let grandparent = std::fs::read_to_string(format!("/proc/{parent}/status")).ok()?;
            let is = field(&status, "Uid:").starts_with(&uid.to_string()) && field(&grandparent, "PPid:") == own;
            is.then(|| parent.parse().ok()).flatten()
        });
        let launcher = rustix::process::Pid::from_raw(launcher.unwrap()).unwrap();
        let before = of_user(uid);
        rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
        tokio::time::timeout(Duration::from_secs(5), environment.ended()).await.unwrap();
        assert!(!environment.is_alive());
        // The user is free again: what the next launcher prepares may have it.
        let begun = Instant::now();
        while of_user(uid).iter().any(|process| before.contains(process)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{before:?} {:?}", of_user(uid));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (spec, _lines) = bench.function("python3.11", "app.py", SLEEPER);
        // Another launcher takes its place.
        let mut again = bench.start(spec).await;
        assert_eq!(success(&again.invoke(event("s", "{}")).await), 1);
        again.stop().await;
    });
}

/// Not a test by itself: the server of the test above, in a process of its own.
#[test]
#[ignore = "started by `a_killed_server_takes_its_functions_with_it`"]
fn a_server_to_be_killed() {
    block_on(async {
        let bench = Bench::open();
        let (spec, _lines) = bench.function("python3.11", "app.py", SLEEPER);
        let mut environment = bench.start(spec).await;
        assert_eq!(success(&environment.invoke(event("r", "{}")).await), 1);
        println!("\nuid {}", environment.isolation().host_uid);
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

#[test]
fn a_start_that_is_given_up_leaves_nothing() {
    block_on(async {
        let bench = Bench::open();
        for wait in [0, 5, 20, 60, 120] {
            let (spec, _lines) = bench.function("python3.11", "app.py", "import time\ntime.sleep(30)\n");
            let start = bench.host.start(spec.into());
            assert!(tokio::time::timeout(Duration::from_millis(wait), start).await.is_err());
        }
        let (spec, _lines) = bench.function("python3.11", "app.py", SLEEPER);
        assert_eq!(success(&bench.once(spec, "{}").await), 1);
        bench.host.shutdown().await;
    });
}
