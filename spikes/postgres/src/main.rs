//! The store's trait over PostgreSQL, in as few lines as show that it can be carried. `./run` starts a server and runs this.
//!
//! - a logical transaction is one SERIALIZABLE transaction; its synchronous body runs on a thread that may block; 40001 runs it again;
//! - a commit of unknown outcome is resolved by looking for the row of its id, which the same transaction wrote;
//! - stream records are committed to an inbox and placed afterwards by a sequencer, one at a time, so positions only grow;
//! - claims are `FOR UPDATE SKIP LOCKED`; wake-ups are in-process hints, never NOTIFY.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base_env::Env;
use base_types::{AccountId, Fault, FaultKind, Region, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use store_api::{
    Access, Backend, BlobFiles, Bounds, Direction, Entry, Family, Health, Key, KeyRange, Memory, Position, Read, Reader, Store,
    Tx, Waiters, Work,
};
use tokio::runtime::Handle;
use tokio_postgres::{Client, Error, NoTls, error::SqlState};

const TABLES: &str = "
    CREATE TABLE kv (key bytea PRIMARY KEY, value bytea NOT NULL);
    CREATE TABLE transactions (id bytea PRIMARY KEY);
    CREATE TABLE inbox (id bytea, ordinal int, stream bytea, value bytea, PRIMARY KEY (id, ordinal));
    CREATE TABLE sequencer (version bigint NOT NULL);
    INSERT INTO sequencer VALUES (0);";

struct Postgres {
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    schema: String,
    env: Env,
    idle: Mutex<Vec<Client>>,
    waiters: Arc<Waiters>,
    blobs: Arc<dyn BlobFiles>,
    stopped: AtomicBool,
    reruns: AtomicU64,
    resolved: AtomicU64,
    /// For the test: the connection dies `before` or `after` the next commit takes effect.
    sabotage: Mutex<Option<&'static str>>,
}

fn fault(error: &Error) -> Fault {
    let conflict = error.code().is_some_and(|code| {
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
    });
    let kind = if conflict { FaultKind::Conflict } else { FaultKind::Unavailable };
    Fault::new(kind, "ask PostgreSQL").caused_by(error.to_string())
}

struct PgReader {
    handle: Handle,
    client: Rc<Client>,
    version: u64,
    /// Seen by the reader; the body may have turned it into an error of its own.
    conflict: Rc<AtomicBool>,
}

impl PgReader {
    fn note(&self, error: &Error) -> Fault {
        let fault = fault(error);
        self.conflict.fetch_or(fault.kind() == FaultKind::Conflict, Ordering::Relaxed);
        fault
    }
}

impl Reader for PgReader {
    fn get(&self, key: &[u8], _: Read) -> Result<Option<Bytes>, Fault> {
        // A snapshot read is the same here: SERIALIZABLE has no way to exempt it but a second connection.
        let row = self.handle.block_on(self.client.query_opt("SELECT value FROM kv WHERE key = $1", &[&key]));
        Ok(row.map_err(|error| self.note(&error))?.map(|row| Bytes::copy_from_slice(row.get(0))))
    }

    fn scan(&self, range: &KeyRange, direction: Direction, read: Read, limit: usize) -> Box<dyn Iterator<Item = Result<Entry, Fault>> + '_> {
        let order = if direction == Direction::Forward { "ASC" } else { "DESC" };
        let lock = if read == Read::Claim { "FOR UPDATE SKIP LOCKED" } else { "" };
        let query = format!("SELECT key, value FROM kv WHERE key >= $1 AND key < $2 ORDER BY key {order} LIMIT $3 {lock}");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        match self.handle.block_on(self.client.query(&query, &[&range.start(), &range.end(), &limit])) {
            Ok(rows) => Box::new(rows.into_iter().map(|row| Ok((Bytes::copy_from_slice(row.get(0)), Bytes::copy_from_slice(row.get(1)))))),
            Err(error) => Box::new(std::iter::once(Err(self.note(&error)))),
        }
    }

    fn stable_position(&self) -> Position {
        Position::new(1, self.version, u32::MAX)
    }
}

impl Shared {
    async fn connect(&self) -> Result<Client, Fault> {
        if let Some(client) = self.idle.lock().pop() {
            return Ok(client);
        }
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.map_err(|error| fault(&error))?;
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path TO {}", self.schema)).await.map_err(|error| fault(&error))?;
        Ok(client)
    }

    /// Runs one attempt; `Err` of kind Conflict: run it again.
    fn attempt(&self, handle: &Handle, work: &mut dyn Work, access: Access) -> Result<(), Fault> {
        let client = Rc::new(handle.block_on(self.connect())?);
        let begin = match access {
            Access::Write => "BEGIN ISOLATION LEVEL SERIALIZABLE",
            Access::ReadOnly => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        handle.block_on(client.batch_execute(begin)).map_err(|error| fault(&error))?;
        let version = match access {
            // Only views ask for it in the spike: reading the sequencer's row in a writer would conflict with every sequencing.
            Access::ReadOnly => {
                let row = handle.block_on(client.query_one("SELECT version FROM sequencer", &[]));
                row.map_err(|error| fault(&error))?.get::<_, i64>(0) as u64
            }
            Access::Write => 0,
        };
        let conflict = Rc::new(AtomicBool::new(false));
        let reader = PgReader { handle: handle.clone(), client: Rc::clone(&client), version, conflict: Rc::clone(&conflict) };
        let tx = Tx::begin(Box::new(reader), access, &self.env, Bounds::default());
        let wants_commit = work.run(&tx);
        if conflict.load(Ordering::Relaxed) {
            drop(tx);
            self.end(handle, client);
            return Err(Fault::new(FaultKind::Conflict, "run a transaction"));
        }
        if !wants_commit || access == Access::ReadOnly {
            drop(tx);
            self.end(handle, client);
            return Ok(());
        }
        let mut commit = match tx.into_commit() {
            Ok(commit) => commit,
            Err(fault) => {
                self.end(handle, client);
                return Err(fault);
            }
        };
        let mut id = [0; 16];
        self.env.fill(&mut id);
        if !commit.is_empty() {
            let committed = handle.block_on(self.write(&client, &id, &mut commit));
            match committed {
                Ok(()) => {}
                Err(error) if error.code().is_some() => {
                    self.end(handle, client);
                    return Err(fault(&error));
                }
                // The connection died: did it commit? Its own row knows.
                Err(_) => {
                    drop(client);
                    let other = handle.block_on(self.connect())?;
                    let found = handle.block_on(other.query_opt("SELECT 1 FROM transactions WHERE id = $1", &[&&id[..]]));
                    self.idle.lock().push(other);
                    self.resolved.fetch_add(1, Ordering::Relaxed);
                    if found.map_err(|error| fault(&error))?.is_none() {
                        return Err(Fault::new(FaultKind::Conflict, "commit"));
                    }
                    return self.finish(handle, commit, &id);
                }
            }
        }
        self.end(handle, client);
        self.finish(handle, commit, &id)
    }

    fn end(&self, handle: &Handle, client: Rc<Client>) {
        if let Ok(client) = Rc::try_unwrap(client)
            && handle.block_on(client.batch_execute("ROLLBACK")).is_ok()
        {
            self.idle.lock().push(client);
        }
    }

    async fn write(&self, client: &Client, id: &[u8], commit: &mut store_api::Commit) -> Result<(), Error> {
        let (mut keys, mut values, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in &commit.writes {
            match value {
                Some(value) => (keys.push(&key[..]), values.push(&value[..])),
                None => (gone.push(&key[..]), ()),
            };
        }
        if !gone.is_empty() {
            client.execute("DELETE FROM kv WHERE key = ANY($1)", &[&gone]).await?;
        }
        if !keys.is_empty() {
            let upsert = "INSERT INTO kv SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            client.execute(upsert, &[&keys, &values]).await?;
        }
        for (ordinal, (stream, value, _)) in (0i32..).zip(&commit.appends) {
            let put = "INSERT INTO inbox VALUES ($1, $2, $3, $4)";
            client.execute(put, &[&id, &ordinal, &stream.as_bytes(), &&value[..]]).await?;
        }
        client.execute("INSERT INTO transactions VALUES ($1)", &[&id]).await?;
        let sabotage = self.sabotage.lock().take();
        if let Some(when) = sabotage {
            if when == "after" {
                client.batch_execute("COMMIT").await?;
            }
            // Ends this connection on the server, so the next word on it fails without an answer about the commit.
            let _died = client.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await;
            while client.batch_execute("SELECT 1").await.err().is_some_and(|error| error.code().is_some()) {}
        }
        client.batch_execute("COMMIT").await
    }

    /// Places the records of a commit, then tells everybody. Its answer waits for this.
    fn finish(&self, handle: &Handle, mut commit: store_api::Commit, id: &[u8]) -> Result<(), Fault> {
        if !commit.appends.is_empty() {
            let version = loop {
                match handle.block_on(self.sequence(id, &commit)) {
                    Ok(version) => break version,
                    Err(fault) if fault.kind() == FaultKind::Conflict => {}
                    Err(fault) => return Err(fault),
                }
            };
            commit.place(1, version);
        }
        commit.complete(&self.waiters);
        Ok(())
    }

    /// The sequencer: one commit of the inbox at a time, in a transaction of its own. A real one takes many at a time, under a lease, and also those
    /// whose server died before it came to this.
    async fn sequence(&self, id: &[u8], commit: &store_api::Commit) -> Result<u64, Fault> {
        let client = self.connect().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            // The row's lock makes it one at a time; the order of the locks is the order of the stream.
            let row = client.query_one("UPDATE sequencer SET version = version + 1 RETURNING version", &[]).await?;
            let version = row.get::<_, i64>(0) as u64;
            for (ordinal, (stream, ..)) in (0u32..).zip(&commit.appends) {
                let key = stream.clone().position(Position::new(1, version, ordinal));
                let place = "INSERT INTO kv SELECT $1, value FROM inbox WHERE id = $2 AND ordinal = $3";
                client.execute(place, &[&key.as_bytes(), &id, &(ordinal as i32)]).await?;
            }
            client.execute("DELETE FROM inbox WHERE id = $1", &[&id]).await?;
            client.batch_execute("COMMIT").await?;
            Ok::<_, Error>(version)
        };
        let done = work.await.map_err(|error| fault(&error));
        if done.is_err() {
            let _ended = client.batch_execute("ROLLBACK").await;
        }
        self.idle.lock().push(client);
        done
    }
}

impl Postgres {
    fn spawn(&self, mut work: Box<dyn Work>, access: Access) {
        if self.shared.stopped.load(Ordering::SeqCst) {
            return work.finish(Err(Fault::new(FaultKind::Unavailable, "the store has stopped")));
        }
        let (shared, handle) = (Arc::clone(&self.shared), Handle::current());
        handle.clone().spawn_blocking(move || {
            let outcome = loop {
                match shared.attempt(&handle, &mut *work, access) {
                    Err(fault) if fault.kind() == FaultKind::Conflict => {
                        shared.reruns.fetch_add(1, Ordering::Relaxed);
                    }
                    outcome => break outcome,
                }
            };
            work.finish(outcome);
        });
    }
}

impl Backend for Postgres {
    fn transact(&self, work: Box<dyn Work>) {
        self.spawn(work, Access::Write);
    }
    fn view(&self, work: Box<dyn Work>) {
        self.spawn(work, Access::ReadOnly);
    }
    fn waiters(&self) -> &Arc<Waiters> {
        &self.shared.waiters
    }
    fn blob_files(&self) -> &Arc<dyn BlobFiles> {
        &self.shared.blobs
    }
    fn health(&self) -> Health {
        Health::Serving
    }
    fn shutdown(&self, done: Box<dyn FnOnce() + Send>) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        done();
    }
}

static SCHEMAS: AtomicU64 = AtomicU64::new(0);

async fn open(url: &str) -> (Store, Arc<Shared>) {
    let env = Env::simulated(Timestamp::from_millis(1_000_000), 7 + SCHEMAS.load(Ordering::Relaxed));
    let schema = format!("s{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path TO {schema}; {TABLES}")).await.expect("tables");
    let blobs = Arc::clone(Memory::new(&env).blob_files());
    let shared = Arc::new(Shared {
        url: url.to_owned(),
        schema,
        env: env.clone(),
        idle: Mutex::default(),
        waiters: Arc::default(),
        blobs,
        stopped: AtomicBool::new(false),
        reruns: AtomicU64::new(0),
        resolved: AtomicU64::new(0),
        sabotage: Mutex::default(),
    });
    (Store::new(Arc::new(Postgres { shared: Arc::clone(&shared) }), &env), shared)
}

fn main() {
    let url = std::env::args().nth(1).expect("usage: spike-postgres URL");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(80).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        store_testkit::behaviours(|| async { open(&url).await.0 }).await;
        println!("behaviours: all pass");
        let (store, shared) = open(&url).await;
        store_testkit::a_hot_key_serves_everyone(store, 8, 20).await;
        println!("hot key, 8 clients x 20: exact, {} re-runs", shared.reruns.load(Ordering::Relaxed));
        let (store, shared) = open(&url).await;
        let begin = Instant::now();
        store_testkit::takers_share_a_queue_head(store, 16, 300).await;
        println!("16 takers, 300 messages: each once, {} re-runs, {:?}", shared.reruns.load(Ordering::Relaxed), begin.elapsed());
        unknown_outcomes(&url).await;
    });
    let (store, shared) = runtime.block_on(open(&url));
    store_testkit::histories_match_the_oracle(&runtime, &store, 20);
    println!("20 random histories match the oracle, {} re-runs", shared.reruns.load(Ordering::Relaxed));
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// A counter is added to exactly once, whether the connection dies before or after the commit took effect.
async fn unknown_outcomes(url: &str) {
    let (store, shared) = open(url).await;
    let key = || Key::new(Family::Meta, AccountId::DEFAULT, &Region::default()).str("n");
    for (expected, when) in [(1, "before"), (2, "after")] {
        *shared.sabotage.lock() = Some(when);
        store.transact(move |tx: &Tx| tx.add(&key(), 1)).await.expect("it is resolved");
        let n = store.view(move |tx: &Tx| tx.counter(&key())).await.expect("a view");
        assert_eq!(n, expected, "the connection died {when} the commit took effect");
    }
    println!("unknown outcomes: {} resolved by their row, counted exactly once", shared.resolved.load(Ordering::Relaxed));
}
