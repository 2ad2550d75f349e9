//! Blobs in memory, for the memory back-end.

use std::{collections::BTreeMap, sync::Arc};

use base_types::Fault;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{BlobFiles, BlobId, BlobSink, BlobSource};

type Map = Arc<Mutex<BTreeMap<BlobId, Bytes>>>;

#[derive(Default)]
pub(crate) struct MemoryFiles(Map);

struct Sink {
    map: Map,
    id: BlobId,
    bytes: Vec<u8>,
}

struct Source(Bytes);

impl BlobFiles for MemoryFiles {
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobSink>, Fault> {
        Ok(Box::new(Sink { map: Arc::clone(&self.0), id, bytes: Vec::new() }))
    }

    fn open(&self, id: BlobId) -> Result<Option<Box<dyn BlobSource>>, Fault> {
        Ok(self.0.lock().get(&id).cloned().map(|bytes| Box::new(Source(bytes)) as Box<dyn BlobSource>))
    }

    fn remove(&self, id: BlobId) -> Result<(), Fault> {
        self.0.lock().remove(&id);
        Ok(())
    }

    fn list(&self) -> Result<Vec<BlobId>, Fault> {
        Ok(self.0.lock().keys().copied().collect())
    }
}

impl BlobSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let Self { map, id, bytes } = *self;
        map.lock().insert(id, Bytes::from(bytes));
        Ok(())
    }
}

impl BlobSource for Source {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, offset: u64, max: usize) -> Result<Bytes, Fault> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0.slice(start..start.saturating_add(max).min(self.0.len())))
    }
}
