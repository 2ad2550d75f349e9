//! Figures of the embedded store, beside a raw append and sync of 4 KiB in the same run: read the ratios.
//!
//! `cargo bench -p store-embedded` runs everything; `-- tree hot` only what names both words.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench reports on the terminal and stops at the first failure"
)]

use std::{
    future::Future,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base_env::{Env, Moment};
use base_types::{AccountId, Fault, Region};
use store_api::{Direction, Family, Key, Store, Tx};
use store_embedded::{DataDir, EmbeddedStore, EngineKind, Options};
use tokio::runtime::Runtime;

const RUN: Duration = Duration::from_secs(3);

fn main() {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = Bench { runtime, env: Env::real(), filters };
    let engines = [("tree", EngineKind::Tree), ("lsm", EngineKind::Lsm)];
    engines.into_iter().for_each(|(name, engine)| bench.start(name, engine));
    for (name, engine) in engines {
        let raw = bench.raw();
        println!("{name}: raw 4 KiB append + sync {:.0}/s", raw.per_second);
        bench.case(name, "commit c1", &raw, engine, 1, put_own_key);
        bench.case(name, "commit c64", &raw, engine, 64, put_own_key);
        bench.case(name, "hot key c1", &raw, engine, 1, add_to_hot_key);
        bench.case(name, "hot key c64", &raw, engine, 64, add_to_hot_key);
        bench.case(name, "fan-out to 100 c8", &raw, engine, 8, fan_out);
        bench.case(name, "queue: 64 senders", &raw, engine, 64, send);
        bench.case(name, "queue: 64 send and receive", &raw, engine, 64, send_and_receive);
        bench.case(name, "random 1 KiB c64 over 1M keys", &raw, engine, 64, put_random);
        bench.case(name, "view of a key c8", &raw, engine, 8, view);
        bench.queue_head(name, engine);
    }
}

struct Bench {
    runtime: Runtime,
    env: Env,
    filters: Vec<String>,
}

/// What a run of one case gave.
struct Figures {
    per_second: f64,
    latencies: Vec<Duration>,
}

impl Figures {
    fn percentile(&self, part: f64) -> f64 {
        let at = ((self.latencies.len() - 1) as f64 * part) as usize;
        self.latencies[at].as_secs_f64() * 1e6
    }
}

type Root = Key;

impl Bench {
    fn wanted(&self, engine: &str, case: &str) -> bool {
        self.filters.iter().all(|filter| engine.contains(filter.as_str()) || case.contains(filter.as_str()))
    }

    fn raw(&self) -> Figures {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("raw")).unwrap();
        let (begin, mut latencies, mut offset) = (self.env.monotonic(), Vec::new(), 0);
        while self.env.monotonic().since(begin) < Duration::from_secs(1) {
            let start = self.env.monotonic();
            file.write_all_at(&[7; 4096], offset).unwrap();
            file.sync_data().unwrap();
            offset += 4096;
            latencies.push(self.env.monotonic().since(start));
        }
        figures(latencies, self.env.monotonic().since(begin))
    }

    fn open(&self, engine: EngineKind) -> (tempfile::TempDir, DataDir, EmbeddedStore) {
        let temporary = tempfile::tempdir().unwrap();
        let options = Options { engine, ..Options::default() };
        let directory = DataDir::open(temporary.path(), &options).unwrap();
        let opened = self.runtime.block_on(EmbeddedStore::open(&directory, options, &self.env)).unwrap();
        (temporary, directory, opened)
    }

    fn case<F, Fut>(&self, engine_name: &str, name: &str, raw: &Figures, engine: EngineKind, clients: u64, operation: F)
    where
        F: Fn(Store, u64, u64) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send,
    {
        if !self.wanted(engine_name, name) {
            return;
        }
        let (_temporary, _directory, opened) = self.open(engine);
        let begin = self.env.monotonic();
        let done = self.runtime.block_on(async {
            let mut tasks = Vec::new();
            for client in 0..clients {
                let (store, env) = (opened.store().clone(), self.env.clone());
                tasks.push(tokio::spawn(async move { client_loop(&env, begin, store, client, operation).await }));
            }
            let mut latencies = Vec::new();
            for task in tasks {
                latencies.extend(task.await.unwrap());
            }
            latencies
        });
        let found = figures(done, self.env.monotonic().since(begin));
        println!(
            "{engine_name}: {name:<32} {:>9.0}/s  p50 {:>7.0} us  p99 {:>7.0} us  worst {:>8.0} us  {:>6.2} x raw  commits {}",
            found.per_second,
            found.percentile(0.5),
            found.percentile(0.99),
            found.percentile(1.0),
            found.per_second / raw.per_second,
            opened.durable_version(),
        );
        self.runtime.block_on(opened.store().shutdown());
    }

    /// How long opening takes, and what an idle store holds in memory.
    fn start(&self, engine_name: &str, engine: EngineKind) {
        if !self.wanted(engine_name, "start") {
            return;
        }
        let temporary = tempfile::tempdir().unwrap();
        let open = |generation_bytes| {
            let begin = self.env.monotonic();
            let options = Options { engine, generation_bytes, ..Options::default() };
            let directory = DataDir::open(temporary.path(), &options).unwrap();
            let opened = self.runtime.block_on(EmbeddedStore::open(&directory, options, &self.env)).unwrap();
            (directory, opened, self.env.monotonic().since(begin))
        };
        let before = resident_kib();
        let (directory, opened, new) = open(4 << 20);
        let idle = resident_kib().saturating_sub(before);
        self.runtime.block_on(async {
            for page in 0..100 {
                write_page(opened.store(), page * 1000, true).await;
            }
            opened.store().shutdown().await;
        });
        drop((opened, directory));
        let (directory, opened, clean) = open(64 << 20);
        // As much as may wait for the engine, all of it in the log.
        self.runtime.block_on(async {
            for page in 0..60 {
                write_page(opened.store(), page * 1000, true).await;
            }
        });
        drop((opened, directory));
        let (_directory, opened, crashed) = open(4 << 20);
        println!(
            "{engine_name}: start: new {new:?}, after a clean stop (100k entries) {clean:?}, with 20 MiB of log to read {crashed:?}; idle memory {idle} KiB"
        );
        self.runtime.block_on(opened.store().shutdown());
    }

    /// The head of a queue before and after many deletes.
    fn queue_head(&self, engine_name: &str, engine: EngineKind) {
        let name = "queue head after deletes";
        if !self.wanted(engine_name, name) {
            return;
        }
        let (_temporary, _directory, opened) = self.open(engine);
        self.runtime.block_on(async {
            let store = opened.store();
            for round in 0..11u64 {
                let begin = self.env.monotonic();
                for _ in 0..100 {
                    claim(store.clone()).await;
                }
                let each = self.env.monotonic().since(begin) / 100;
                println!("{engine_name}: {name}: {:>8} deleted, claim of one {each:?}", round * 100_000);
                for page in 0..100 {
                    let first = round * 100_000 + page * 1000;
                    write_page(store, first, true).await;
                    write_page(store, first, false).await;
                }
            }
        });
        self.runtime.block_on(opened.store().shutdown());
    }
}

async fn client_loop<F, Fut>(env: &Env, begin: Moment, store: Store, client: u64, operation: F) -> Vec<Duration>
where
    F: Fn(Store, u64, u64) -> Fut,
    Fut: Future<Output = ()>,
{
    let (mut latencies, mut n) = (Vec::new(), 0);
    while env.monotonic().since(begin) < RUN {
        let start = env.monotonic();
        operation(store.clone(), client, n).await;
        latencies.push(env.monotonic().since(start));
        n += 1;
    }
    latencies
}

fn figures(mut latencies: Vec<Duration>, elapsed: Duration) -> Figures {
    let per_second = latencies.len() as f64 / elapsed.as_secs_f64();
    latencies.sort_unstable();
    Figures { per_second, latencies }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn root(family: Family) -> Root {
    Key::new(family, AccountId::DEFAULT, &Region::default()).str("bench")
}

async fn put_own_key(store: Store, client: u64, n: u64) {
    let put = move |tx: &Tx| tx.put(&root(Family::Meta).u64(client).u64(n % 1000), vec![7; 200]);
    store.transact(put).await.unwrap();
}

/// Read, change, write: not the commutative addition.
async fn add_to_hot_key(store: Store, _: u64, _: u64) {
    let body = |tx: &Tx| {
        let key = root(Family::Meta).str("hot");
        let n = tx.get(&key)?.map_or(0, |value| value[..].try_into().map_or(0, u64::from_le_bytes));
        tx.put(&key, (n + 1).to_le_bytes().to_vec())
    };
    store.transact(body).await.unwrap();
}

async fn fan_out(store: Store, client: u64, n: u64) {
    let body = move |tx: &Tx| {
        (0..100u64).try_for_each(|target| tx.put(&root(Family::Queue).u64(target).u64(client).u64(n), vec![7; 200]))
    };
    store.transact(body).await.unwrap();
}

static NEXT: AtomicU64 = AtomicU64::new(0);

async fn send(store: Store, _: u64, _: u64) {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    store.transact(move |tx: &Tx| tx.put(&root(Family::Queue).u64(n), vec![7; 200])).await.unwrap();
}

async fn claim(store: Store) {
    let body = |tx: &Tx| tx.claim(&root(Family::Queue).prefix(), 1).map(|taken| taken.len());
    store.transact(body).await.unwrap();
}

async fn send_and_receive(store: Store, client: u64, n: u64) {
    if client.is_multiple_of(2) {
        return send(store, client, n).await;
    }
    let waiter = store.waiter(&root(Family::Queue));
    drop(waiter);
    let body = |tx: &Tx| {
        for (key, _) in tx.claim(&root(Family::Queue).prefix(), 1)? {
            tx.delete(&key)?;
        }
        Ok::<_, Fault>(())
    };
    store.transact(body).await.unwrap();
}

async fn put_random(store: Store, _: u64, _: u64) {
    let body = |tx: &Tx| {
        // A cheap scatter over a million keys.
        let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1_000_000;
        tx.put(&root(Family::Item).u64(n), vec![7; 1024])
    };
    store.transact(body).await.unwrap();
}

async fn view(store: Store, client: u64, n: u64) {
    let body = move |tx: &Tx| tx.get(&root(Family::Meta).u64(client).u64(n % 1000)).map(|found| found.is_some());
    store.view(body).await.unwrap();
}

async fn write_page(store: &Store, first: u64, put: bool) {
    let value = Arc::new(vec![7; 200]);
    let body = move |tx: &Tx| {
        for n in first..first + 1000 {
            let key = root(Family::Queue).u64(n);
            if put { tx.put(&key, value.to_vec())? } else { tx.delete(&key)? }
        }
        // A live scan keeps the compiler and the reader honest.
        tx.scan(&root(Family::Queue).u64(first).prefix(), 1, Direction::Forward).map(drop)
    };
    store.transact(body).await.unwrap();
}
