//! The data directory: lock, format, upgrade, and the golden directories of every format so far.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base_env::Env;
use base_types::{AccountId, Fault, FaultKind, Region, Timestamp};
use bytes::Bytes;
use store_api::{Direction, Family, Health, Key, Position, Store, Tx};
use store_embedded::{DataDir, EmbeddedStore, EngineKind, OpenError, Options};

use crate::fixture::Opened;

fn open(path: &Path) -> Result<DataDir, OpenError> {
    DataDir::open(path, &Options::default())
}

fn text(result: Result<DataDir, OpenError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_second_server_is_refused_while_the_first_runs() {
    let temporary = tempfile::tempdir().unwrap();
    let first = open(temporary.path()).unwrap();
    let refused = text(open(temporary.path()));
    assert!(refused.contains("is in use by another pileus server"), "{refused}");
    drop(first);
    open(temporary.path()).unwrap();
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("photo.jpg"), "mine").unwrap();
    let refused = text(open(temporary.path()));
    assert!(refused.contains("not empty and is not a pileus data directory"), "{refused}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1, "nothing was made in it");
    fs::write(temporary.path().join("FORMAT"), "somebody else's").unwrap();
    assert!(matches!(open(temporary.path()), Err(OpenError::Foreign(_))));
}

#[test]
fn a_newer_directory_is_refused_and_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("FORMAT"), "pileus data directory\nformat 2\nengine redb\n").unwrap();
    let refused = text(open(temporary.path()));
    assert!(refused.contains("newer release (format 2, this one knows up to 1)"), "{refused}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

/// A file system for a test, or a loud reason why there is none.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        match done {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                println!("SKIPPED: no tmpfs can be mounted here: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("SKIPPED: no tmpfs can be mounted here: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().unwrap();
    }
}

#[test]
fn a_read_only_directory_gives_a_clear_error() {
    let temporary = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::tmpfs(temporary.path(), "size=1m") else { return };
    drop(open(temporary.path()).unwrap());
    let done = Command::new("mount").args(["-o", "remount,ro"]).arg(temporary.path()).status().unwrap();
    assert!(done.success());
    let refused = text(open(temporary.path()));
    assert!(refused.contains("cannot be written") && refused.contains("make it writable"), "{refused}");
    let within = text(open(&temporary.path().join("new")));
    assert!(within.contains("cannot be written"), "{within}");
    drop(mounted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_full_disk_refuses_writes_and_recovers() {
    let temporary = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::tmpfs(temporary.path(), "size=48m") else { return };
    for engine in [EngineKind::Tree, EngineKind::Lsm] {
        let path = temporary.path().join(engine.name());
        let options =
            Options { engine, disk_reserve_bytes: 12 << 20, generation_bytes: 256 << 10, ..Options::default() };
        let directory = DataDir::open(&path, &options).unwrap();
        let opened = EmbeddedStore::open(&directory, options.clone(), &Env::real()).await.unwrap();
        let mut count = put_until_refused(opened.store()).await;
        assert!(count > 500, "only {count} values fit");
        assert!(matches!(opened.store().health(), Health::ReadOnly(_)), "{:?}", opened.store().health());
        check(opened.store(), count).await;
        // Something else frees space.
        assert!(
            Command::new("mount").args(["-o", "remount,size=256m"]).arg(temporary.path()).status().unwrap().success()
        );
        let mut tries = 0;
        while put(opened.store(), count).await.is_err() {
            tries += 1;
            assert!(tries < 100, "it does not recover: {:?}", opened.store().health());
            Env::real().sleep(Duration::from_millis(50)).await;
        }
        count += 1;
        check(opened.store(), count).await;
        opened.store().shutdown().await;
        drop((opened, directory));
        let directory = DataDir::open(&path, &options).unwrap();
        let opened = EmbeddedStore::open(&directory, options, &Env::real()).await.unwrap();
        check(opened.store(), count).await;
        opened.store().shutdown().await;
        drop((opened, directory));
        fs::remove_dir_all(&path).unwrap();
        assert!(
            Command::new("mount").args(["-o", "remount,size=48m"]).arg(temporary.path()).status().unwrap().success()
        );
    }
    drop(mounted);
}

fn numbered(n: u64) -> Key {
    Key::new(Family::Item, AccountId::DEFAULT, &Region::default()).str("n").u64(n)
}

async fn put(store: &Store, n: u64) -> Result<(), Fault> {
    store.transact(move |tx: &Tx| tx.put(&numbered(n), vec![n as u8; 10_000])).await
}

async fn put_until_refused(store: &Store) -> u64 {
    for n in 0.. {
        if let Err(fault) = put(store, n).await {
            assert_eq!(fault.kind(), FaultKind::Unavailable);
            assert!(format!("{fault}").contains("full"), "{fault}");
            assert!(fault.told().is_some_and(|told| told.contains("full") && told.contains("Free space")), "{fault}");
            return n;
        }
    }
    unreachable!("the disk is finite")
}

async fn check(store: &Store, count: u64) {
    for n in 0..count {
        let value = store.view(move |tx: &Tx| tx.get(&numbered(n))).await.unwrap();
        assert_eq!(value.unwrap(), vec![n as u8; 10_000], "{n} of {count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_goes_on_from_the_greatest_time_ever_committed() {
    let temporary = tempfile::tempdir().unwrap();
    let late = Env::simulated(Timestamp::from_millis(5_000_000), 1);
    for (clean, start) in [(true, 5_000_000), (false, 6_000_000)] {
        late.advance(Duration::from_millis(start - late.now().as_millis()));
        let directory = open(temporary.path()).unwrap();
        let opened = EmbeddedStore::open(&directory, Options::default(), &late).await.unwrap();
        put(opened.store(), start).await.unwrap();
        if clean {
            opened.store().shutdown().await;
        }
        drop((opened, directory));
        // The machine's clock was set back meanwhile.
        let early = Env::simulated(Timestamp::from_millis(1000), 1);
        let directory = open(temporary.path()).unwrap();
        let opened = EmbeddedStore::open(&directory, Options::default(), &early).await.unwrap();
        assert_eq!(early.now(), late.now(), "clean end: {clean}");
        drop(opened);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_refused_and_an_untouched_one_read() {
    let opened = Opened::with(Options { checkpoint_idle_ms: 600_000, ..Options::default() }, &Env::real()).await;
    for n in 0..20 {
        put(opened.store(), n).await.unwrap();
    }
    let path = opened.directory.path().to_owned();
    let kept = opened.end_without_shutdown();
    let log = path.join("store/log/0000000000000001");
    let intact = fs::read(&log).unwrap();
    let mut damaged = intact.clone();
    damaged[30_000] ^= 0x40;
    fs::write(&log, &damaged).unwrap();
    let directory = open(&path).unwrap();
    let refused = EmbeddedStore::open(&directory, Options::default(), &Env::real()).await.err().unwrap().to_string();
    assert!(refused.contains("the commit log is damaged") && refused.contains("restore a backup"), "{refused}");
    fs::write(&log, &intact).unwrap();
    let opened = EmbeddedStore::open(&directory, Options::default(), &Env::real()).await.unwrap();
    check(opened.store(), 20).await;
    drop((opened, directory, kept));
}

// --- golden directories
// -----------------------------------------------------------------------------------------------

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn record(name: &str) -> Key {
    Key::new(Family::Meta, AccountId::DEFAULT, &Region::default()).str("golden").str(name)
}

/// What a golden directory holds: a part in the engine, a part in the log, a blob, a stream.
async fn make_golden(store: &Store) {
    let blob = store.blobs().put(Bytes::from_static(b"a golden blob")).await.unwrap();
    let body = move |tx: &Tx| {
        tx.put(&record("engine"), "kept by the engine")?;
        tx.put(&record("deleted"), "to be deleted by the log")?;
        tx.put(&record("blob"), blob.to_string())?;
        tx.attach_blob(blob, &record("blob"))?;
        tx.append(&record("stream"), "first")?;
        tx.add(&record("counter"), 40)
    };
    store.transact(body).await.unwrap();
}

async fn make_golden_log(store: &Store) {
    let body = |tx: &Tx| {
        tx.put(&record("log"), "kept by the log")?;
        tx.delete(&record("deleted"))?;
        tx.append(&record("stream"), "second")?;
        tx.add(&record("counter"), 2)
    };
    store.transact(body).await.unwrap();
}

async fn check_golden(store: &Store) {
    let body = |tx: &Tx| {
        assert_eq!(tx.get(&record("engine"))?.unwrap(), "kept by the engine");
        assert_eq!(tx.get(&record("log"))?.unwrap(), "kept by the log");
        assert_eq!(tx.get(&record("deleted"))?, None);
        assert_eq!(tx.counter(&record("counter"))?, 42);
        let stream = tx.read_stream(&record("stream"), Position::START, 9)?;
        assert_eq!(stream.iter().map(|(_, value)| &value[..]).collect::<Vec<_>>(), [&b"first"[..], b"second"]);
        tx.get(&record("blob"))
    };
    let blob: Option<Bytes> = store.view(move |tx: &Tx| body(tx)).await.unwrap();
    let id = std::str::from_utf8(&blob.unwrap()).unwrap().parse().unwrap();
    assert_eq!(store.blobs().get(id, 99).await.unwrap().unwrap(), "a golden blob");
    let all = store.view(|tx: &Tx| tx.scan(&record("engine").prefix(), 9, Direction::Forward)).await.unwrap();
    assert_eq!(all.len(), 1);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes `tests/golden/format-1`, and `format-0` from it. Run once per format, never again: the old ones are the test.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the golden directories of a new format; refuses to replace them"]
async fn make_the_golden_directories() {
    let temporary = tempfile::tempdir().unwrap();
    let env = Env::simulated(Timestamp::from_millis(1_795_435_200_000), 1);
    let options = Options { checkpoint_idle_ms: 600_000, generation_bytes: 1 << 16, ..Options::default() };
    for clean in [true, false] {
        let directory = open(temporary.path()).unwrap();
        let opened = EmbeddedStore::open(&directory, options.clone(), &env).await.unwrap();
        if clean {
            make_golden(opened.store()).await;
            opened.store().shutdown().await;
        } else {
            make_golden_log(opened.store()).await;
        }
    }
    let (one, zero) = (golden("format-1"), golden("format-0"));
    assert!(!one.exists() && !zero.exists(), "golden directories are never replaced");
    for spare in fs::read_dir(temporary.path().join("store/log")).unwrap().map(Result::unwrap) {
        if spare.file_name().to_string_lossy().starts_with("spare") {
            fs::remove_file(spare.path()).unwrap();
        }
    }
    copy(temporary.path(), &one);
    copy(&one, &zero);
    for shard in fs::read_dir(zero.join("blobs")).unwrap().map(Result::unwrap) {
        for blob in fs::read_dir(shard.path()).unwrap().map(Result::unwrap) {
            fs::rename(blob.path(), zero.join("blobs").join(blob.file_name())).unwrap();
        }
        fs::remove_dir(shard.path()).unwrap();
    }
    fs::write(zero.join("FORMAT"), "pileus data directory\nformat 0\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_directory_of_every_format_opens() {
    for format in ["format-0", "format-1"] {
        let temporary = tempfile::tempdir().unwrap();
        copy(&golden(format), temporary.path());
        for _ in 0..2 {
            let directory = open(temporary.path()).unwrap();
            let opened = EmbeddedStore::open(&directory, Options::default(), &Env::real()).await.unwrap();
            check_golden(opened.store()).await;
            opened.store().shutdown().await;
        }
        let backup = temporary.path().join("backups/format-0");
        assert_eq!(backup.exists(), format == "format-0", "an upgrade is backed up first");
        if backup.exists() {
            let index = "store/index.redb";
            assert_eq!(fs::read(backup.join(index)).unwrap(), fs::read(golden(format).join(index)).unwrap());
        }
    }
}
