//! Design A: optimistic transactions over the engine's own sync, on the workloads of `cargo bench -p store-embedded` (design B).
//!
//! Bodies run where their clients are, at the newest validated version; reads and ranges are recorded; a short critical section
//! validates them against the commits since and publishes the writes to later readers; one thread batches what is published into
//! the engine, syncs, and answers. A conflict runs the body again. Everything that B has beyond this (views, leases, checkpoints) is left out:
//! the figures flatter A.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

type Bytes = Arc<[u8]>;
const RUN: Duration = Duration::from_secs(3);
/// Commits kept for validation and for readers ahead of the engine.
const RECENT: u64 = 20_000;

trait Engine: Send + Sync {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    fn first(&self, from: &[u8], to: &[u8], skip: &dyn Fn(&[u8]) -> bool) -> Option<(Vec<u8>, Vec<u8>)>;
    fn write(&self, batch: &[(Bytes, Option<Bytes>)]);
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Engine for Fjall {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.1.get(key).unwrap().map(|value| value.to_vec())
    }
    fn first(&self, from: &[u8], to: &[u8], skip: &dyn Fn(&[u8]) -> bool) -> Option<(Vec<u8>, Vec<u8>)> {
        let entries = self.1.range(from..to).map(|entry| entry.into_inner().unwrap());
        entries.map(|(k, v)| (k.to_vec(), v.to_vec())).find(|(key, _)| !skip(key))
    }
    fn write(&self, batch: &[(Bytes, Option<Bytes>)]) {
        let mut writes = self.0.batch().durability(Some(fjall::PersistMode::SyncData));
        for (key, value) in batch {
            match value {
                Some(value) => writes.insert(&self.1, &key[..], &value[..]),
                None => writes.remove(&self.1, &key[..]),
            }
        }
        writes.commit().unwrap();
    }
}

const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("t");
struct Redb(redb::Database);

impl Engine for Redb {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        use redb::ReadableDatabase as _;
        let table = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        table.get(key).unwrap().map(|value| value.value().to_vec())
    }
    fn first(&self, from: &[u8], to: &[u8], skip: &dyn Fn(&[u8]) -> bool) -> Option<(Vec<u8>, Vec<u8>)> {
        use redb::ReadableDatabase as _;
        let table = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        let entries = table.range(from..to).unwrap().map(Result::unwrap);
        entries.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())).find(|(key, _)| !skip(key))
    }
    fn write(&self, batch: &[(Bytes, Option<Bytes>)]) {
        let mut transaction = self.0.begin_write().unwrap();
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for (key, value) in batch {
                match value {
                    Some(value) => drop(table.insert(&key[..], &value[..]).unwrap()),
                    None => drop(table.remove(&key[..]).unwrap()),
                }
            }
        }
        transaction.commit().unwrap();
    }
}

/// Validated commits that the engine may not hold yet, and when each key was last written.
#[derive(Default)]
struct Recent {
    version: u64,
    overlay: BTreeMap<Bytes, (u64, Option<Bytes>)>,
    written: HashMap<Bytes, u64>,
    log: std::collections::VecDeque<(u64, Vec<Bytes>)>,
}

struct Group {
    version: u64,
    writes: Vec<(Bytes, Option<Bytes>)>,
    answers: Vec<oneshot::Sender<()>>,
}

struct Store {
    engine: Box<dyn Engine>,
    recent: RwLock<Recent>,
    group: Mutex<Group>,
    filled: Condvar,
    conflicts: AtomicU64,
}

struct Tx<'a> {
    store: &'a Store,
    begin: u64,
    reads: Vec<Bytes>,
    ranges: Vec<(Bytes, Bytes)>,
    writes: Vec<(Bytes, Option<Bytes>)>,
}

impl Tx<'_> {
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.reads.push(key.into());
        if let Some((_, value)) = self.store.recent.read().overlay.get(key) {
            return value.as_ref().map(|value| value.to_vec());
        }
        self.store.engine.get(key)
    }
    fn head(&mut self, from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
        let recent = self.store.recent.read();
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let ours = recent.overlay.range::<[u8], _>(bounds).find(|(_, (_, v))| v.is_some()).map(|(k, _)| k.to_vec());
        let theirs = self.store.engine.first(from, to, &|key| recent.overlay.contains_key(key)).map(|(k, _)| k);
        let head = match (ours, theirs) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        drop(recent);
        // Nothing may appear before what was found.
        let end = head.as_ref().map_or(to.to_vec(), |head| [&head[..], &[0]].concat());
        self.ranges.push((from.into(), end.into()));
        head
    }
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.writes.push((key.into(), Some(value.into())));
    }
    fn delete(&mut self, key: &[u8]) {
        self.writes.push((key.into(), None));
    }
}

impl Store {
    async fn transact(&self, mut body: impl FnMut(&mut Tx<'_>)) {
        loop {
            let begin = self.recent.read().version;
            let mut tx = Tx { store: self, begin, reads: vec![], ranges: vec![], writes: vec![] };
            body(&mut tx);
            if let Some(answer) = self.commit(tx) {
                return answer.await.unwrap();
            }
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    fn commit(&self, tx: Tx<'_>) -> Option<oneshot::Receiver<()>> {
        let (sender, receiver) = oneshot::channel();
        let mut recent = self.recent.write();
        let stale = tx.reads.iter().any(|key| recent.written.get(key).is_some_and(|at| *at > tx.begin))
            || recent.log.iter().rev().take_while(|(at, _)| *at > tx.begin).any(|(_, keys)| {
                keys.iter().any(|key| tx.ranges.iter().any(|(from, to)| from <= key && key < to))
            });
        if stale {
            return None;
        }
        recent.version += 1;
        let version = recent.version;
        for (key, value) in &tx.writes {
            recent.overlay.insert(Arc::clone(key), (version, value.clone()));
            recent.written.insert(Arc::clone(key), version);
        }
        recent.log.push_back((version, tx.writes.iter().map(|(key, _)| Arc::clone(key)).collect()));
        let mut group = self.group.lock();
        group.version = version;
        group.writes.extend(tx.writes);
        group.answers.push(sender);
        drop((group, recent));
        self.filled.notify_one();
        Some(receiver)
    }

    fn flush(&self) {
        loop {
            let mut group = self.group.lock();
            while group.answers.is_empty() {
                self.filled.wait(&mut group);
            }
            let version = group.version;
            let writes = std::mem::take(&mut group.writes);
            let answers = std::mem::take(&mut group.answers);
            drop(group);
            // The last write of each key wins within a batch.
            let mut last: HashMap<Bytes, Option<Bytes>> = HashMap::with_capacity(writes.len());
            last.extend(writes);
            let batch: Vec<_> = last.into_iter().collect();
            self.engine.write(&batch);
            for answer in answers {
                let _gone = answer.send(());
            }
            let mut recent = self.recent.write();
            for (key, _) in &batch {
                if recent.overlay.get(key).is_some_and(|(at, _)| *at <= version) {
                    recent.overlay.remove(key);
                }
            }
            while recent.log.front().is_some_and(|(at, _)| at + RECENT < version) {
                if let Some((at, keys)) = recent.log.pop_front() {
                    for key in keys {
                        if recent.written.get(&key) == Some(&at) {
                            recent.written.remove(&key);
                        }
                    }
                }
            }
        }
    }
}

fn raw() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(directory.path().join("raw")).unwrap();
    let (begin, mut n) = (Instant::now(), 0u64);
    while begin.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[7; 4096], n * 4096).unwrap();
        file.sync_data().unwrap();
        n += 1;
    }
    n as f64 / begin.elapsed().as_secs_f64()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for engine in ["fjall", "redb"] {
        let raw = raw();
        println!("{engine}: raw 4 KiB append + sync {raw:.0}/s");
        for (case, clients) in [("commit", 1), ("commit", 64), ("hot key", 64), ("fan-out", 8), ("send", 64), ("send and receive", 64)] {
            let directory = tempfile::tempdir().unwrap();
            let open: Box<dyn Engine> = if engine == "fjall" {
                let database = fjall::Database::builder(directory.path()).open().unwrap();
                let keyspace = database.keyspace("t", fjall::KeyspaceCreateOptions::default).unwrap();
                Box::new(Fjall(database, keyspace))
            } else {
                let database = redb::Database::create(directory.path().join("db")).unwrap();
                let engine = Redb(database);
                engine.write(&[]);
                Box::new(engine)
            };
            let group = Mutex::new(Group { version: 0, writes: vec![], answers: vec![] });
            let store = Arc::new(Store {
                engine: open,
                recent: RwLock::default(),
                group,
                filled: Condvar::new(),
                conflicts: AtomicU64::new(0),
            });
            let flusher = Arc::clone(&store);
            std::thread::spawn(move || flusher.flush());
            let begin = Instant::now();
            let mut latencies: Vec<Duration> = runtime.block_on(async {
                let tasks: Vec<_> =
                    (0..clients).map(|client| tokio::spawn(client_loop(Arc::clone(&store), case, client))).collect();
                let mut all = Vec::new();
                for task in tasks {
                    all.extend(task.await.unwrap());
                }
                all
            });
            latencies.sort();
            let per_second = latencies.len() as f64 / begin.elapsed().as_secs_f64();
            println!(
                "{engine}: {case:<18} c{clients:<3} {per_second:>8.0}/s  p50 {:>6} us  p99 {:>6} us  worst {:>7} us  {:.2} x raw  conflicts {:.2} per commit",
                latencies[latencies.len() / 2].as_micros(),
                latencies[latencies.len() * 99 / 100].as_micros(),
                latencies[latencies.len() - 1].as_micros(),
                per_second / raw,
                store.conflicts.load(Ordering::Relaxed) as f64 / latencies.len() as f64,
            );
        }
    }
    std::process::exit(0);
}

static NEXT: AtomicU64 = AtomicU64::new(0);

async fn client_loop(store: Arc<Store>, case: &'static str, client: u64) -> Vec<Duration> {
    let (begin, mut latencies, mut n) = (Instant::now(), Vec::new(), 0u64);
    while begin.elapsed() < RUN {
        let start = Instant::now();
        let sequence = NEXT.fetch_add(1, Ordering::Relaxed);
        store
            .transact(|tx| match case {
                "commit" => tx.put(format!("c{client}/{}", n % 1000).as_bytes(), &[7; 200]),
                "hot key" => {
                    let n = tx.get(b"hot").map_or(0, |v| u64::from_le_bytes(v.try_into().unwrap()));
                    tx.put(b"hot", &(n + 1).to_le_bytes());
                }
                "fan-out" => (0..100).for_each(|t| tx.put(format!("q{t:03}/{client}/{n}").as_bytes(), &[7; 200])),
                "send and receive" if client % 2 == 1 => {
                    if let Some(head) = tx.head(b"s", b"t") {
                        tx.delete(&head);
                    }
                }
                _ => tx.put(format!("s{sequence:012}").as_bytes(), &[7; 200]),
            })
            .await;
        latencies.push(start.elapsed());
        n += 1;
    }
    latencies
}
