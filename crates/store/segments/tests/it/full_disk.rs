//! A disk that is really full: a tmpfs of a few hundred KiB, mounted in namespaces of its own.

use std::{path::Path, process::Command};

use store_segments::*;

use crate::support::*;

const DIRECTORY: &str = "SEGMENTS_FULL_DIRECTORY";

/// The child, inside the namespaces: does nothing unless the test below starts it.
#[test]
fn child_fills_its_disk() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let settings = Settings { memtable_bytes: 64 << 10, ..Settings::default() };
        // What shall be given back later.
        std::fs::write(directory.join("ballast"), vec![1; 256 << 10]).unwrap();
        let folder = directory.join("segments");
        let segments = open(&folder, settings);
        let mut kept = 0;
        // Not compressible, so that segments do not help.
        let env = base_env::Env::real();
        let text = || env.id(1000, b"abcdefghijklmnopqrstuvwxyz0123456789");
        let failure = loop {
            match segments.append(batch(GROUP, 1, &[(kept, &text())]), Durability::Synced).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 10_000);
        };
        assert!(matches!(failure, SegmentsError::DiskFull { .. }), "{failure}");
        // It stays clear and harmless.
        for _ in 0..20 {
            let again = segments.append(batch(GROUP, 1, &[(0, &text())]), Durability::Synced).await;
            if again.is_ok() {
                kept += 1;
            }
        }
        assert_eq!(read(&segments, everything(GROUP)).len() as u64, kept);
        // Space comes back: so does appending, within the time of a retry.
        std::fs::remove_file(directory.join("ballast")).unwrap();
        let mut recovered = false;
        for _ in 0..50 {
            if segments.append(batch(GROUP, 1, &[(0, &text())]), Durability::Synced).await.is_ok() {
                kept += 1;
                recovered = true;
                break;
            }
            env.sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(recovered, "appending did not come back");
        drop(segments);
        assert_eq!(read(&open(&folder, settings), everything(GROUP)).len() as u64, kept);
        println!("full disk survived with {kept} events");
    });
}

#[test]
fn a_full_disk_is_a_clear_error_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=768k tmpfs "$1" && shift && exec "$@""#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["full_disk::child_fills_its_disk", "--exact", "--nocapture"])
        .env(DIRECTORY, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if complained.contains("unshare failed") || complained.contains("mount failed") {
        println!("this host gives no user namespaces, a full disk cannot be made: {complained}");
        return;
    }
    assert!(output.status.success(), "{said}\n{complained}");
    println!("{}", said.lines().find(|line| line.contains("full disk survived")).expect("the child ran"));
}
