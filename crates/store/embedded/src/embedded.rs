//! Opening, running and ending an embedded store.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use base_env::Env;
use base_types::{Fault, Timestamp};
use parking_lot::Mutex;
use store_api::{Backend, BlobFiles, Health, Store, Waiters, Work};

use crate::{
    DataDir, Disk, EngineKind, Options,
    blobs::{self, FileBlobs},
    checkpoint::{self, book, books},
    core::{Core, State},
    data_dir::OpenError,
    engine::{Engine, LsmEngine, TreeEngine},
    generation::Generation,
    log,
};

/// A store on this machine's disk.
///
/// It has three threads of its own: `store-run` (transactions that their callers do not run), `store-log` (syncs),
/// `store-index` (checkpoints).
/// [`Store::shutdown`] ends it cleanly; dropping every handle ends it too, leaving a little to read at the next start.
#[derive(Clone)]
pub struct EmbeddedStore {
    store: Store,
    backend: Arc<Embedded>,
}

impl EmbeddedStore {
    /// Opens the store of a data directory, making it if it is new. Reads what the commit log holds beyond the
    /// engine, raises the clock to the
    /// greatest time ever committed, and ends the leases of the process before.
    ///
    /// # Errors
    /// When the disk fails or the data are damaged; the text says which and what may be done.
    pub async fn open(directory: &DataDir, options: Options, env: &Env) -> Result<Self, OpenError> {
        let engine = directory.engine();
        let opened = Self::assemble(directory.disk(), Some(directory), engine, options, env)?;
        opened.store.end_all_leases().await?;
        Ok(opened)
    }

    /// As [`EmbeddedStore::open`], on any [`Disk`], with the default engine and without the lock of a data directory:
    /// for tests that stand below the store.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub async fn open_on(disk: Arc<dyn Disk>, options: Options, env: &Env) -> Result<Self, OpenError> {
        let opened = Self::assemble(disk, None, EngineKind::Tree, options, env)?;
        opened.store.end_all_leases().await?;
        Ok(opened)
    }

    fn assemble(
        disk: Arc<dyn Disk>,
        directory: Option<&DataDir>,
        kind: EngineKind,
        options: Options,
        env: &Env,
    ) -> Result<Self, OpenError> {
        prepare(&*disk).map_err(|error| OpenError::disk("prepare the directory", error))?;
        let engine: Box<dyn Engine> = match (kind, directory) {
            (EngineKind::Lsm, Some(directory)) => {
                Box::new(LsmEngine::open(directory.path(), options.engine_cache_bytes)?)
            }
            _ => Box::new(TreeEngine::open(Arc::clone(&disk), options.engine_cache_bytes)?),
        };
        let core = Arc::new(recover(&*engine, disk, options, env)?);
        let backend = Arc::new(Embedded::start(core, engine, directory.map(DataDir::lock))?);
        let store = Store::new(Arc::clone(&backend) as Arc<dyn Backend>, env);
        Ok(Self { store, backend })
    }

    /// The handle for services.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn core(&self) -> &Core {
        &self.backend.core
    }

    pub(crate) fn file_blobs(&self) -> &Arc<FileBlobs> {
        &self.backend.files
    }
}

/// Makes the directories. Their names are synced even when they are there: the start that made them may have been cut
/// short. (That costs
/// nothing when nothing changed.)
fn prepare(disk: &dyn Disk) -> io::Result<()> {
    ["store", log::DIRECTORY, blobs::DIRECTORY].into_iter().try_for_each(|path| disk.create_dir(path))?;
    disk.sync_dir("")?;
    disk.sync_dir("store")
}

/// The state as the crash left it: the engine's, and over it what the log holds beyond.
fn recover(engine: &dyn Engine, disk: Arc<dyn Disk>, options: Options, env: &Env) -> Result<Core, OpenError> {
    let snapshot = engine.snapshot()?;
    let checkpoint = book(&*snapshot, books::CHECKPOINT)?;
    let epoch = u32::try_from(book(&*snapshot, books::EPOCH)?).unwrap_or(u32::MAX).max(1);
    let mut clock = book(&*snapshot, books::CLOCK)?;
    let (mut version, mut segment) = (checkpoint, 0);
    let mut frozen = Vec::new();
    for (number, frames) in log::replay(&*disk, checkpoint)? {
        segment = number;
        let generation = Generation::new(number);
        for frame in frames {
            (version, clock) = (frame.version, clock.max(frame.now.as_millis()));
            generation.apply(version, frame.now.as_millis(), version, frame.writes);
        }
        if generation.last() == 0 {
            log::retire(&*disk, number).map_err(|error| OpenError::disk("tidy the commit log", error))?;
        } else {
            frozen.insert(0, Arc::new(generation));
        }
    }
    env.not_before(Timestamp::from_millis(clock));
    let active = Arc::new(Generation::new(segment + 1));
    let state = State { active, frozen, engine: snapshot };
    Ok(Core::new(env.clone(), options, disk, epoch, state, version))
}

/// The back-end: the core and its threads.
struct Embedded {
    core: Arc<Core>,
    files: Arc<FileBlobs>,
    blobs: Arc<dyn BlobFiles>,
    threads: Arc<Mutex<Threads>>,
    /// The directory stays ours for as long as the store may write to it.
    _lock: Option<Arc<File>>,
}

#[derive(Default)]
struct Threads {
    run: Option<JoinHandle<()>>,
    log: Option<JoinHandle<()>>,
    index: Option<JoinHandle<()>>,
}

impl Embedded {
    fn start(core: Arc<Core>, engine: Box<dyn Engine>, lock: Option<Arc<File>>) -> Result<Self, OpenError> {
        let spawn = |name: &str, body: Box<dyn FnOnce(&Core) + Send>| {
            let core = Arc::clone(&core);
            let guarded = move || {
                // A defect here must not leave callers waiting for ever.
                if catch_unwind(AssertUnwindSafe(|| body(&core))).is_err() {
                    core.fail("a thread of the store panicked");
                }
            };
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(guarded);
            spawned.map(Some).map_err(|error| OpenError::disk("start a thread", error))
        };
        let threads = Threads {
            run: spawn("store-run", Box::new(Core::run))?,
            log: spawn("store-log", Box::new(Core::append))?,
            index: spawn("store-index", Box::new(move |core| checkpoint::run(core, engine)))?,
        };
        let files = Arc::new(FileBlobs::new(Arc::clone(&core.disk)));
        let blobs = Arc::clone(&files) as Arc<dyn BlobFiles>;
        Ok(Self { core, files, blobs, threads: Arc::new(Mutex::new(threads)), _lock: lock })
    }
}

/// Ends the threads one after the other, each when it has nothing left to do.
fn stop(core: &Core, threads: &Mutex<Threads>, thorough: bool) {
    let mut threads = threads.lock();
    // The last handle may be dropped within a body, by whoever runs it: he cannot wait for himself.
    let waits = !core.runs_here();
    let join = |thread: Option<JoinHandle<()>>| {
        if let Some(thread) = thread.filter(|thread| waits && thread.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("a thread of the store panicked");
        }
    };
    core.stop_queue();
    join(threads.run.take());
    core.stop_log();
    join(threads.log.take());
    core.stop_index(thorough);
    join(threads.index.take());
}

impl Drop for Embedded {
    fn drop(&mut self) {
        stop(&self.core, &self.threads, false);
    }
}

impl Backend for Embedded {
    fn transact(&self, work: Box<dyn Work>) {
        self.core.submit(work);
    }

    fn view(&self, work: Box<dyn Work>) {
        self.core.view(work);
    }

    fn waiters(&self) -> &Arc<Waiters> {
        &self.core.waiters
    }

    fn blob_files(&self) -> &Arc<dyn BlobFiles> {
        &self.blobs
    }

    fn health(&self) -> Health {
        self.core.health()
    }

    fn shutdown(&self, done: Box<dyn FnOnce() + Send>) {
        let (core, threads) = (Arc::clone(&self.core), Arc::clone(&self.threads));
        let spawned = thread::Builder::new().name("store-stop".to_owned()).spawn(move || {
            stop(&core, &threads, true);
            drop((core, threads));
            done();
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "the store could not be shut down cleanly; the next start reads its log");
        }
    }
}

impl EmbeddedStore {
    /// The version of the last durable commit: for tests and figures.
    #[must_use]
    pub fn durable_version(&self) -> u64 {
        self.core().durable.load(Ordering::Acquire)
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault)
    }
}

impl From<log::ReadLog> for OpenError {
    fn from(error: log::ReadLog) -> Self {
        match error {
            log::ReadLog::Io(error) => Self::disk("read the commit log", error),
            damaged => Self::Damaged(damaged.to_string()),
        }
    }
}

impl OpenError {
    pub(crate) fn disk(what: &'static str, error: io::Error) -> Self {
        Self::Disk { what, error }
    }
}
