//! The default engine: redb, a copy-on-write B-tree in one file.
//!
//! Each batch is one durable transaction; the allocator's state is saved with it, so opening after a crash need not
//! walk the file. All its
//! reads and writes go through [`Disk`], so a simulated power loss reaches into it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base_types::Fault;
use bytes::Bytes;
use redb::{
    AccessGuard, BackendError, Database, Durability, ReadOnlyTable, ReadableDatabase as _, StorageBackend,
    TableDefinition,
};
use store_api::{Direction, KeyRange};

use super::{Batch, Engine, Entries, PLACES, Snapshot, place};
use crate::{
    Disk, DiskFile,
    fault::{engine_failed, unavailable},
};

const FILE: &str = "store/index.redb";

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

fn definition(place: usize) -> Definition {
    TableDefinition::new(PLACES[place])
}

pub(crate) struct TreeEngine {
    disk: Arc<dyn Disk>,
    cache_bytes: usize,
    database: Database,
    /// Cuts a failed database off from its file, so that its successor has it alone.
    retired: Arc<AtomicBool>,
}

impl TreeEngine {
    pub(crate) fn open(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, Fault> {
        let retired = Arc::new(AtomicBool::new(false));
        let database = open(&disk, cache_bytes, &retired)?;
        Ok(Self { disk, cache_bytes, database, retired })
    }

    fn apply(&self, batch: &Batch) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        let mut rest = batch;
        while let Some((first, _)) = rest.first() {
            // The batch is sorted, so each place is one run.
            let run = rest.iter().take_while(|(key, _)| place(key) == place(first)).count();
            let mut table = transaction.open_table(definition(place(first)))?;
            for (key, value) in &rest[..run] {
                match value {
                    Some(value) => drop(table.insert(&key[..], &value[..])?),
                    None => drop(table.remove(&key[..])?),
                }
            }
            rest = &rest[run..];
        }
        transaction.commit()?;
        Ok(())
    }
}

fn open(disk: &Arc<dyn Disk>, cache_bytes: usize, retired: &Arc<AtomicBool>) -> Result<Database, Fault> {
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(FILE).map_err(|error| unavailable("create the index", error))?;
            disk.sync_dir("store").map_err(|error| unavailable("create the index", error))?;
            file
        }
        opened => opened.map_err(|error| unavailable("open the index", error))?,
    };
    let backend = File { file, retired: Arc::clone(retired) };
    let database = Database::builder()
        .set_cache_size(cache_bytes)
        .create_with_backend(backend)
        .map_err(|error| engine_failed("open the index", error))?;
    let prepare = || -> Result<(), redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let known = transaction.list_tables()?.count();
        for place in known..PLACES.len() {
            transaction.open_table(definition(place))?;
        }
        if known < PLACES.len() {
            for place in 0..PLACES.len() {
                transaction.open_table(definition(place))?;
            }
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(())
    };
    prepare().map_err(|error| engine_failed("open the index", error))?;
    Ok(database)
}

impl Engine for TreeEngine {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Fault> {
        let take = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let mut tables = Vec::with_capacity(PLACES.len());
            for place in 0..PLACES.len() {
                tables.push(transaction.open_table(definition(place))?);
            }
            Ok(tables)
        };
        let tables = take().map_err(|error| engine_failed("read the index", error))?;
        Ok(Arc::new(TreeSnapshot { tables }))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        self.apply(batch).map_err(|error| engine_failed("write the index", error))
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(()) // each batch was durable by itself
    }

    fn reopen(&mut self) -> Result<(), Fault> {
        self.retired.store(true, Ordering::SeqCst);
        let retired = Arc::new(AtomicBool::new(false));
        self.database = open(&self.disk, self.cache_bytes, &retired)?;
        self.retired = retired;
        Ok(())
    }
}

struct TreeSnapshot {
    tables: Vec<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

type Guards = (AccessGuard<'static, &'static [u8]>, AccessGuard<'static, &'static [u8]>);

fn entry(found: Result<Guards, redb::StorageError>) -> Result<(Bytes, Bytes), Fault> {
    let (key, value) = found.map_err(|error| engine_failed("read the index", error))?;
    Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
}

impl Snapshot for TreeSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let found = self.tables[place(key)].get(key).map_err(|error| engine_failed("read the index", error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Entries<'_> {
        match self.tables[place(range.start())].range::<&[u8]>(range.start()..range.end()) {
            Err(error) => Box::new(std::iter::once(Err(engine_failed("read the index", error)))),
            Ok(entries) if direction == Direction::Forward => Box::new(entries.map(entry)),
            Ok(entries) => Box::new(entries.rev().map(entry)),
        }
    }
}

/// redb's file, by way of [`Disk`]. It takes no lock: the data directory's lock guards all of it.
#[derive(Debug)]
struct File {
    file: Arc<dyn DiskFile>,
    retired: Arc<AtomicBool>,
}

impl File {
    fn alive(&self) -> io::Result<()> {
        if self.retired.load(Ordering::SeqCst) {
            return Err(io::Error::other("this database was retired after a failure"));
        }
        Ok(())
    }
}

impl StorageBackend for File {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.alive()?;
        self.file.set_length(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.alive()?;
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.alive()?;
        self.file.write_at(data, offset)
    }

    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}
