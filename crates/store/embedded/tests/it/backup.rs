//! Backups: consistent under load, refused when damaged, restored into a new epoch.

use std::{fs, io::Cursor};

use base_env::Env;
use base_types::{AccountId, Region};
use store_api::{Family, Key, Position, Tx};
use store_embedded::{BackupError, DataDir, EmbeddedStore, EngineKind, Options, restore};

use crate::{
    fixture::Opened,
    workload::{CLIENTS, run, verify},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_to_one_consistent_state() {
    for (engine, target_engine) in [(EngineKind::Tree, EngineKind::Lsm), (EngineKind::Lsm, EngineKind::Tree)] {
        let options = Options { engine, generation_bytes: 100_000, ..Options::default() };
        let opened = Opened::with(options, &Env::real()).await;
        let segments = opened.directory.subdirectory("segments").unwrap();
        fs::write(segments.join("a.log"), "a function's log").unwrap();
        let working = tokio::spawn({
            let store = opened.store().clone();
            async move { run(&store, &[0; CLIENTS as usize], |_, _| {}).await }
        });
        while opened.embedded.durable_version() < 100 {
            tokio::task::yield_now().await;
        }
        let mut file = Vec::new();
        let summary = tokio::task::block_in_place(|| {
            opened.embedded.backup(&opened.directory, &["segments", "code"], &mut file).unwrap()
        });
        assert!(summary.entries > 10 && summary.files >= 1, "{summary:?}");
        opened.store().shutdown().await;
        working.await.unwrap();

        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("restored");
        let options = Options { engine: target_engine, disk_reserve_bytes: 0, ..Options::default() };
        let restored = restore(Cursor::new(&file), &target, &options).unwrap();
        assert_eq!(restored, summary);
        assert_eq!(fs::read_to_string(target.join("segments/a.log")).unwrap(), "a function's log");
        let refused = restore(Cursor::new(&file), &target, &options).unwrap_err();
        assert!(matches!(refused, BackupError::TargetExists(_)), "{refused}");
        let directory = DataDir::open(&target, &options).unwrap();
        let opened = EmbeddedStore::open(&directory, options, &Env::real()).await.unwrap();
        // What each client had reached is not known, only that one state holds all of it: so first read, then verify
        // against that.
        let reached = reached(&opened).await;
        assert_eq!(verify(opened.store(), &reached).await, reached);
        assert!(opened.embedded_is_new_epoch().await);
    }
}

async fn reached(opened: &EmbeddedStore) -> Vec<u64> {
    let mut reached = Vec::new();
    for client in 0..CLIENTS {
        let key = Key::new(Family::Item, AccountId::DEFAULT, &Region::default()).str("second").u64(client);
        let value = opened.store().view(move |tx: &Tx| tx.get(&key)).await.unwrap();
        reached.push(value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap())));
    }
    reached
}

trait Epoch {
    async fn embedded_is_new_epoch(&self) -> bool;
}

impl Epoch for EmbeddedStore {
    /// A record appended now stands behind everything from before the restore, whatever its version.
    async fn embedded_is_new_epoch(&self) -> bool {
        let stream = Key::new(Family::Stream, AccountId::DEFAULT, &Region::default()).str("log");
        let read = stream.clone();
        let before = self.store().view(move |tx: &Tx| tx.read_stream(&read, Position::START, 1)).await.unwrap();
        let appended = self.store().transact(move |tx: &Tx| tx.append(&stream, vec![0; 16])).await.unwrap();
        appended.position().unwrap().epoch() > before[0].0.epoch()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let opened = Opened::with(Options::default(), &Env::real()).await;
    for n in 0..50u64 {
        let key = Key::new(Family::Item, AccountId::DEFAULT, &Region::default()).str("n").u64(n);
        opened.store().transact(move |tx: &Tx| tx.put(&key, vec![7; 100])).await.unwrap();
    }
    opened.store().blobs().put(vec![9; 1000].into()).await.unwrap();
    let mut file = Vec::new();
    opened.embedded.backup(&opened.directory, &[], &mut file).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("restored");
    let options = Options { disk_reserve_bytes: 0, ..Options::default() };
    let mut tried = 0;
    for at in (0..file.len()).step_by(97).chain([file.len() - 1]) {
        let mut flipped = file.clone();
        flipped[at] ^= 0x10;
        for damaged in [flipped, file[..at].to_vec()] {
            let refused = restore(Cursor::new(&damaged), &target, &options).unwrap_err();
            assert!(matches!(refused, BackupError::Damaged(_)), "at {at}: {refused}");
            assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left of the attempt");
            tried += 1;
        }
    }
    assert!(tried > 100);
    let longer = [&file[..], b"x"].concat();
    assert!(matches!(restore(Cursor::new(&longer), &target, &options), Err(BackupError::Damaged(_))));
    restore(Cursor::new(&file), &target, &options).unwrap();
}
