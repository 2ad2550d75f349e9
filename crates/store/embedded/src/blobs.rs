//! Blobs as files: `blobs/<first two digits>/<32 digits>`.
//!
//! A blob is written under a `.partial` name, synced, renamed, and its directory synced; so under its own name there
//! is always the
//! whole of it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use store_api::{BlobFiles, BlobId, BlobSink, BlobSource};

use crate::{
    Disk, DiskFile,
    disk::{join, remove_if_there},
    fault::unavailable,
};

pub(crate) const DIRECTORY: &str = "blobs";

/// The blobs of a data directory.
#[derive(Debug)]
pub(crate) struct FileBlobs {
    disk: Arc<dyn Disk>,
    /// Backups under way: nothing is removed meanwhile.
    holds: AtomicUsize,
}

impl FileBlobs {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, holds: AtomicUsize::new(0) }
    }

    /// Keeps every blob until the hold is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.holds.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(self))
    }
}

pub(crate) struct Hold(Arc<FileBlobs>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The directory of a blob.
pub(crate) fn shard(id: BlobId) -> String {
    join(DIRECTORY, &id.to_string()[..2])
}

/// The file of a blob.
pub(crate) fn path(id: BlobId) -> String {
    join(&shard(id), &id.to_string())
}

impl BlobFiles for FileBlobs {
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobSink>, Fault> {
        let create = || -> io::Result<_> {
            self.disk.create_dir(&shard(id))?;
            self.disk.sync_dir(DIRECTORY)?;
            self.disk.create(&partial(id))
        };
        let file = create().map_err(|error| unavailable("write a blob", error))?;
        Ok(Box::new(Sink { disk: Arc::clone(&self.disk), file, id, end: 0, finished: false }))
    }

    fn open(&self, id: BlobId) -> Result<Option<Box<dyn BlobSource>>, Fault> {
        let open = || -> io::Result<_> {
            let file = self.disk.open(&path(id))?;
            let length = file.length()?;
            Ok(Source { file, length })
        };
        match open() {
            Ok(source) => Ok(Some(Box::new(source))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable("read a blob", error)),
        }
    }

    fn remove(&self, id: BlobId) -> Result<(), Fault> {
        if self.holds.load(Ordering::SeqCst) > 0 {
            return Err(Fault::new(FaultKind::Unavailable, "remove a blob: a backup is under way"));
        }
        let remove = || -> io::Result<()> {
            remove_if_there(&*self.disk, &partial(id))?;
            remove_if_there(&*self.disk, &path(id))
        };
        remove().map_err(|error| unavailable("remove a blob", error))
    }

    fn list(&self) -> Result<Vec<BlobId>, Fault> {
        let list = || -> io::Result<Vec<BlobId>> {
            let mut ids = Vec::new();
            for shard in self.disk.list(DIRECTORY)? {
                for name in self.disk.list(&join(DIRECTORY, &shard))? {
                    ids.extend(name.split('.').next().and_then(|name| name.parse::<BlobId>().ok()));
                }
            }
            Ok(ids)
        };
        list().map_err(|error| unavailable("list the blobs", error))
    }
}

fn partial(id: BlobId) -> String {
    format!("{}.partial", path(id))
}

struct Sink {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    id: BlobId,
    end: u64,
    finished: bool,
}

impl BlobSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_at(bytes, self.end).map_err(|error| unavailable("write a blob", error))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Fault> {
        let finish = || -> io::Result<()> {
            self.file.sync()?;
            self.disk.rename(&partial(self.id), &path(self.id))?;
            self.disk.sync_dir(&shard(self.id))
        };
        finish().map_err(|error| unavailable("write a blob", error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: the sweep finds what is left.
            let _left = self.disk.remove(&partial(self.id));
        }
    }
}

struct Source {
    file: Arc<dyn DiskFile>,
    length: u64,
}

impl BlobSource for Source {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self, offset: u64, max: usize) -> Result<Bytes, Fault> {
        let rest = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; rest.min(max)];
        self.file.read_at(&mut bytes, offset).map_err(|error| unavailable("read a blob", error))?;
        Ok(Bytes::from(bytes))
    }
}
