//! Power cuts, full disks and failing syncs, simulated below the commit log, the blobs and the default engine.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use base_env::Env;
use base_types::{AccountId, FaultKind, Region, Timestamp};
use bytes::Bytes;
use store_api::{Family, Health, Key, Store, Tx};
use store_embedded::{EmbeddedStore, Options};

use crate::{
    simulated_disk::SimulatedDisk,
    workload::{CLIENTS, run, verify},
};

fn options(seed: u64) -> Options {
    let generation_bytes = [20_000, 100_000, 4 << 20][seed as usize % 3];
    Options {
        generation_bytes,
        generations_max: 3,
        checkpoint_idle_ms: 5,
        disk_reserve_bytes: 0,
        engine_cache_bytes: 1 << 20,
        ..Options::default()
    }
}

async fn open(disk: &SimulatedDisk, seed: u64) -> EmbeddedStore {
    EmbeddedStore::open_on(Arc::new(disk.clone()), options(seed), &Env::real()).await.unwrap()
}

#[derive(Clone)]
struct Acknowledged(Arc<[AtomicU64; CLIENTS as usize]>);

impl Acknowledged {
    fn new(reached: &[u64]) -> Self {
        Self(Arc::new(std::array::from_fn(|client| AtomicU64::new(reached[client]))))
    }

    fn note(&self) -> impl Fn(u64, u64) + Send + Sync + 'static {
        let counts = Arc::clone(&self.0);
        move |client, n| counts[client as usize].store(n, Ordering::SeqCst)
    }

    fn get(&self) -> Vec<u64> {
        self.0.iter().map(|n| n.load(Ordering::SeqCst)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_anywhere_loses_nothing_acknowledged() {
    let mut total = 0;
    for seed in 0..60 {
        let chance = Env::simulated(Timestamp::EPOCH, seed);
        let mut disk = SimulatedDisk::new();
        let mut reached = vec![0; CLIENTS as usize];
        for _ in 0..3 {
            let opened = open(&disk, seed).await;
            let acknowledged = Acknowledged::new(&reached);
            disk.cut_after(chance.below(4000));
            run(opened.store(), &reached, acknowledged.note()).await;
            drop(opened);
            // From keeping nothing unsynced to keeping nearly everything.
            let kept = chance.below(11);
            disk = disk.after_power_cut(|| chance.below(10) < kept);
            let opened = open(&disk, seed).await;
            reached = verify(opened.store(), &acknowledged.get()).await;
            if chance.below(2) == 0 {
                opened.store().shutdown().await;
            }
            drop(opened);
        }
        total += reached.iter().sum::<u64>();
    }
    assert!(total > 2000, "only {total} transactions: the cuts came before the work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_while_opening_loses_nothing() {
    let mut cuts = 0;
    for seed in 0..12 {
        let chance = Env::simulated(Timestamp::EPOCH, 1000 + seed);
        let disk = SimulatedDisk::new();
        let opened = open(&disk, seed).await;
        let acknowledged = Acknowledged::new(&[0; CLIENTS as usize]);
        disk.cut_after(1500);
        run(opened.store(), &[0; CLIENTS as usize], acknowledged.note()).await;
        drop(opened);
        let mut disk = disk.after_power_cut(|| chance.below(2) == 0);
        for after in 0..20 {
            disk.cut_after(after * 5);
            let opened = EmbeddedStore::open_on(Arc::new(disk.clone()), options(seed), &Env::real()).await;
            cuts += u64::from(opened.is_err());
            drop(opened);
            disk = disk.after_power_cut(|| chance.below(2) == 0);
        }
        let opened = open(&disk, seed).await;
        verify(opened.store(), &acknowledged.get()).await;
    }
    assert!(cuts > 20, "only {cuts} starts were cut short");
}

fn key(n: u64) -> Key {
    Key::new(Family::Item, AccountId::DEFAULT, &Region::default()).str("fill").u64(n)
}

/// Fills until the store refuses; how many were taken.
async fn fill(store: &Store, from: u64) -> u64 {
    let mut n = from;
    loop {
        let body = move |tx: &Tx| tx.put(&key(n), vec![n as u8; 2000]);
        match store.transact(body).await {
            Ok(()) => n += 1,
            Err(fault) => {
                assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault:?}");
                return n;
            }
        }
    }
}

/// `patient`: while the engine starts afresh after it ran into a full disk, reads fail for a moment.
async fn look(store: &Store, n: u64, patient: bool) -> Option<Bytes> {
    let mut found = store.view(move |tx: &Tx| tx.get(&key(n))).await;
    for _ in 0..500 {
        if found.is_ok() || !patient {
            break;
        }
        Env::real().sleep(std::time::Duration::from_millis(20)).await;
        found = store.view(move |tx: &Tx| tx.get(&key(n))).await;
    }
    found.unwrap()
}

async fn check_filled(store: &Store, count: u64, patient: bool) {
    for n in 0..count {
        let value = look(store, n, patient).await.unwrap();
        assert_eq!(value, vec![n as u8; 2000], "{n} of {count}");
    }
    assert_eq!(look(store, count, patient).await, None, "what was refused is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_recovers_with_space() {
    // With and without the reserve that lets the engine finish: without it both the log and the engine run into the
    // wall.
    let mut read_only = 0;
    for (seed, reserve) in [(0, 0), (1, 0), (2, 0), (0, 4 << 20)] {
        let disk = SimulatedDisk::new();
        let options = Options { disk_reserve_bytes: reserve, ..options(seed) };
        let opened = EmbeddedStore::open_on(Arc::new(disk.clone()), options, &Env::real()).await.unwrap();
        let mut count = 0;
        for _ in 0..3 {
            disk.set_capacity(Some(disk.used() + reserve + (3 << 20)));
            count = fill(opened.store(), count).await;
            match opened.store().health() {
                Health::ReadOnly(_) => read_only += 1,
                // A checkpoint that ended just after the refusal has made room.
                Health::Serving => {}
                other => panic!("{other:?}"),
            }
            check_filled(opened.store(), count, reserve == 0).await;
            disk.set_capacity(None);
            // The engine tries again five times a second.
            let mut tries = 0;
            while opened.store().transact(move |tx: &Tx| tx.put(&key(count), vec![count as u8; 2000])).await.is_err() {
                tries += 1;
                assert!(tries < 100, "it does not recover: {:?}", opened.store().health());
                Env::real().sleep(std::time::Duration::from_millis(50)).await;
            }
            count += 1;
        }
        // That the log takes writes again does not mean that the engine is back.
        check_filled(opened.store(), count, reserve == 0).await;
        let mut tries = 0;
        while opened.store().health() != Health::Serving {
            tries += 1;
            assert!(tries < 200, "it does not recover: {:?}", opened.store().health());
            Env::real().sleep(std::time::Duration::from_millis(50)).await;
        }
        opened.store().shutdown().await;
        let reopened = open(&disk, seed).await;
        check_filled(reopened.store(), count, false).await;
    }
    assert!(read_only > 0, "a full disk is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_writing_for_good_but_not_reading() {
    let disk = SimulatedDisk::new();
    let opened = open(&disk, 2).await;
    opened.store().transact(|tx: &Tx| tx.put(&key(0), "kept")).await.unwrap();
    disk.fail_syncs();
    for _ in 0..3 {
        let fault = opened.store().transact(|tx: &Tx| tx.put(&key(0), "lost")).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable);
    }
    assert!(matches!(opened.store().health(), Health::Failed(_)));
    let value = opened.store().view(|tx: &Tx| tx.get(&key(0))).await.unwrap();
    assert_eq!(value.unwrap(), "kept");
    opened.store().shutdown().await;
    assert!(disk.operations() > 0);
    let reopened = open(&disk.after_power_cut(|| false), 2).await;
    let value = reopened.store().view(|tx: &Tx| tx.get(&key(0))).await.unwrap();
    assert_eq!(value.unwrap(), "kept");
}
