//! The engine seam: a sorted, durable index that absorbs generations. Thin on purpose: two engines stand behind it.
//!
//! The commit log is the truth; an engine is a checkpoint of it. So an engine need only promise: a batch is applied
//! entirely
//! or not at all, in order; after [`Engine::sync`] all batches are durable; a snapshot does not change.

mod lsm;
mod tree;

use std::sync::Arc;

use base_types::Fault;
use bytes::Bytes;
use store_api::{Direction, Entry, KeyRange};

pub(crate) use lsm::LsmEngine;
pub(crate) use tree::TreeEngine;

/// Entries to write, each key once; `None`: remove.
pub(crate) type Batch = [(Bytes, Option<Bytes>)];

/// Entries of a snapshot in order.
pub(crate) type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, Fault>> + 'a>;

/// First byte of the store's own books (which version the engine holds, the greatest time, the epoch): no family has
/// it.
pub(crate) const BOOKS: u8 = 0;

pub(crate) trait Engine: Send {
    /// The present state.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Fault>;

    /// Applies a batch: all of it or nothing.
    fn write(&mut self, batch: &Batch) -> Result<(), Fault>;

    /// Makes everything written durable.
    fn sync(&mut self) -> Result<(), Fault>;

    /// Starts afresh from what is on disk, after a failed write.
    fn reopen(&mut self) -> Result<(), Fault>;
}

/// One unchanging state of an engine.
pub(crate) trait Snapshot: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault>;

    /// The entries of a range. It lies within one family.
    fn scan(&self, range: &KeyRange, direction: Direction) -> Entries<'_>;
}

/// The state of a store that has stopped: everything fails.
pub(crate) struct Closed;

impl Snapshot for Closed {
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, Fault> {
        Err(crate::fault::stopped())
    }

    fn scan(&self, _: &KeyRange, _: Direction) -> Entries<'_> {
        Box::new(std::iter::once(Err(crate::fault::stopped())))
    }
}

/// In which table or key space of an engine a key lies: 0 for the books, else the family's number.
pub(crate) fn place(key: &[u8]) -> usize {
    key.first().map_or(0, |first| usize::from(*first)).min(PLACES.len() - 1)
}

/// The names of the places; part of the format on disk.
pub(crate) const PLACES: [&str; 5] = ["books", "meta", "queue", "item", "stream"];
