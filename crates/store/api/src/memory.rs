//! The back-end that keeps everything in memory: the oracle of the others and the ground of the services' tests.
//!
//! It runs each transaction where it is submitted, one at a time, and runs every body **twice** (the first run is
//! thrown away), so that
//! a body that is not re-runnable shows in the first test.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use base_env::Env;
use base_types::{Fault, FaultKind};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::{
    Access, Backend, BlobFiles, Bounds, Direction, Health, KeyRange, Position, Read, Reader, Tx, Waiters, Work,
    blob_memory::MemoryFiles, merge::Entry,
};

type Map = BTreeMap<Bytes, Bytes>;

/// Entries copied at a time while scanning.
const CHUNK: usize = 64;

/// Everything in memory.
pub struct Memory {
    env: Env,
    bounds: Bounds,
    /// One transaction at a time. `None` once shut down; else the version of the last commit.
    turn: Mutex<Option<u64>>,
    map: Arc<RwLock<Map>>,
    waiters: Arc<Waiters>,
    blobs: Arc<dyn BlobFiles>,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self::with_bounds(env, Bounds::default())
    }

    /// An empty one with other bounds.
    #[must_use]
    pub fn with_bounds(env: &Env, bounds: Bounds) -> Self {
        Self {
            env: env.clone(),
            bounds,
            turn: Mutex::new(Some(0)),
            map: Arc::default(),
            waiters: Arc::default(),
            blobs: Arc::new(MemoryFiles::default()),
        }
    }

    fn begin(&self, access: Access, version: u64) -> Tx {
        let reader = MemoryReader { map: Arc::clone(&self.map), version };
        Tx::begin(Box::new(reader), access, &self.env, self.bounds)
    }
}

fn stopped() -> Fault {
    Fault::new(FaultKind::Unavailable, "run a transaction: the store has stopped")
}

impl Backend for Memory {
    fn transact(&self, mut work: Box<dyn Work>) {
        let mut turn = self.turn.lock();
        let Some(version) = *turn else {
            drop(turn);
            return work.finish(Err(stopped()));
        };
        work.run(&self.begin(Access::Write, version));
        let tx = self.begin(Access::Write, version);
        if !work.run(&tx) {
            drop(turn);
            return work.finish(Ok(()));
        }
        match tx.into_commit() {
            Ok(mut commit) => {
                *turn = Some(version + 1);
                commit.place(1, version + 1);
                let mut map = self.map.write();
                for (key, value) in std::mem::take(&mut commit.writes) {
                    match value {
                        Some(value) => map.insert(key, value),
                        None => map.remove(&key),
                    };
                }
                drop(map);
                // Hooks run in the order of the commits: still within the turn.
                commit.complete(&self.waiters);
                drop(turn);
                work.finish(Ok(()));
            }
            Err(fault) => {
                drop(turn);
                work.finish(Err(fault));
            }
        }
    }

    fn view(&self, mut work: Box<dyn Work>) {
        let turn = self.turn.lock();
        let Some(version) = *turn else {
            drop(turn);
            return work.finish(Err(stopped()));
        };
        work.run(&self.begin(Access::ReadOnly, version));
        drop(turn);
        work.finish(Ok(()));
    }

    fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    fn blob_files(&self) -> &Arc<dyn BlobFiles> {
        &self.blobs
    }

    fn health(&self) -> Health {
        match *self.turn.lock() {
            Some(_) => Health::Serving,
            None => Health::Failed("the store has stopped".to_owned()),
        }
    }

    fn shutdown(&self, done: Box<dyn FnOnce() + Send>) {
        *self.turn.lock() = None;
        done();
    }
}

struct MemoryReader {
    map: Arc<RwLock<Map>>,
    version: u64,
}

impl Reader for MemoryReader {
    fn get(&self, key: &[u8], _: Read) -> Result<Option<Bytes>, Fault> {
        Ok(self.map.read().get(key).cloned())
    }

    fn scan(
        &self,
        range: &KeyRange,
        direction: Direction,
        _: Read,
        _: usize,
    ) -> Box<dyn Iterator<Item = Result<Entry, Fault>> + '_> {
        let chunks = Chunks { map: &self.map, range: Some(range.clone()), direction };
        Box::new(chunks.flatten().map(Ok))
    }

    fn stable_position(&self) -> Position {
        Position::new(1, self.version, u32::MAX)
    }
}

/// Copies a range piece by piece, so that no lock is held while the body looks at it. Nobody writes meanwhile: a
/// transaction has its turn.
struct Chunks<'a> {
    map: &'a RwLock<Map>,
    range: Option<KeyRange>,
    direction: Direction,
}

impl Iterator for Chunks<'_> {
    type Item = Vec<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.range.take()?;
        if range.is_empty() {
            return None;
        }
        let map = self.map.read();
        let bounds = (Bound::Included(range.start()), Bound::Excluded(range.end()));
        let entries = map.range::<[u8], _>(bounds).map(|(key, value)| (key.clone(), value.clone()));
        let chunk: Vec<Entry> = match self.direction {
            Direction::Forward => entries.take(CHUNK).collect(),
            Direction::Reverse => entries.rev().take(CHUNK).collect(),
        };
        let (last, _) = chunk.last()?;
        self.range = Some(match self.direction {
            Direction::Forward => {
                let mut behind = last.to_vec();
                behind.push(0);
                KeyRange::encoded(behind, range.end().to_vec())
            }
            Direction::Reverse => KeyRange::encoded(range.start().to_vec(), last.to_vec()),
        });
        Some(chunk)
    }
}
