//! The second engine: fjall, a log-structured merge tree in a directory.
//!
//! Its own journal is never relied upon: batches are written without a sync, and one sync ends a checkpoint. A
//! removal of a key that the
//! engine does not hold is not written at all, so what lived and died between two checkpoints leaves no tombstone.

use std::{path::Path, sync::Arc};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _};
use store_api::{Direction, KeyRange};

use super::{Batch, Engine, Entries, PLACES, Snapshot, place};
use crate::fault::engine_failed;

const DIRECTORY: &str = "store/index.fjall";
/// A memtable's size: five of them stay within a few MiB.
const MEMTABLE_BYTES: u64 = 1 << 20;
/// The least that fjall accepts.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

pub(crate) struct LsmEngine {
    database: Database,
    spaces: Vec<Keyspace>,
}

impl LsmEngine {
    pub(crate) fn open(root: &Path, cache_bytes: usize) -> Result<Self, Fault> {
        let open = || -> fjall::Result<Self> {
            let database = Database::builder(root.join(DIRECTORY))
                .cache_size(cache_bytes as u64)
                .manual_journal_persist(true)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(1)
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let spaces = PLACES.iter().map(|name| database.keyspace(name, options)).collect::<fjall::Result<_>>()?;
            Ok(Self { database, spaces })
        };
        open().map_err(|error| engine_failed("open the index", error))
    }
}

impl Engine for LsmEngine {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Fault> {
        Ok(Arc::new(LsmSnapshot { snapshot: self.database.snapshot(), spaces: self.spaces.clone() }))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        let write = || -> fjall::Result<()> {
            let mut writes = self.database.batch();
            for (key, value) in batch {
                let space = &self.spaces[place(key)];
                match value {
                    Some(value) => writes.insert(space, &key[..], &value[..]),
                    None if space.contains_key(key)? => writes.remove(space, &key[..]),
                    None => {}
                }
            }
            writes.commit()
        };
        write().map_err(|error| engine_failed("write the index", error))
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| engine_failed("sync the index", error))
    }

    fn reopen(&mut self) -> Result<(), Fault> {
        Err(Fault::new(
            FaultKind::Unavailable,
            "go on after a failed write of the index: this engine must be restarted",
        ))
    }
}

struct LsmSnapshot {
    snapshot: fjall::Snapshot,
    spaces: Vec<Keyspace>,
}

fn entry(found: fjall::Guard) -> Result<(Bytes, Bytes), Fault> {
    let (key, value) = found.into_inner().map_err(|error| engine_failed("read the index", error))?;
    Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
}

impl Snapshot for LsmSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let found = self.snapshot.get(&self.spaces[place(key)], key);
        Ok(found.map_err(|error| engine_failed("read the index", error))?.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Entries<'_> {
        let entries = self.snapshot.range(&self.spaces[place(range.start())], range.start()..range.end());
        match direction {
            Direction::Forward => Box::new(entries.map(entry)),
            Direction::Reverse => Box::new(entries.rev().map(entry)),
        }
    }
}
