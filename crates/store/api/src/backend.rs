//! What a back-end gives: execution of transactions over an ordered, durable key space.
//!
//! Everything else (buffering, bounds, own reads, counters, streams, leases, timers, tables, blob references) is
//! written once, above
//! this seam.

use std::sync::Arc;

use base_types::Fault;
use bytes::Bytes;

use crate::{BlobFiles, Direction, KeyRange, Position, Tx, Waiters, merge::Entry};

/// A transaction, with its types erased.
pub trait Work: Send {
    /// Runs the body; whether it wants to commit. May be called again until [`Work::finish`]. Never panics.
    fn run(&mut self, tx: &Tx) -> bool;

    /// It will not be run again: whatever the body holds may go, on the thread that ran it.
    fn settle(&mut self) {}

    /// Gives the last run's answer to whoever waits for it, or the fault that kept it from being durable.
    fn finish(self: Box<Self>, durable: Result<(), Fault>);
}

/// How a read takes part in the isolation of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The transaction is only valid if this read would give the same at its commit.
    Validated,
    /// The read never makes the transaction invalid.
    Snapshot,
    /// The entries are taken: no other transaction gets them by a claim before this one has ended.
    Claim,
}

/// One consistent state of the key space.
pub trait Reader {
    /// The value of an encoded key.
    ///
    /// # Errors
    /// When the engine fails.
    fn get(&self, key: &[u8], read: Read) -> Result<Option<Bytes>, Fault>;

    /// The entries of a range in order; the caller will take about `limit` of them.
    fn scan(
        &self,
        range: &KeyRange,
        direction: Direction,
        read: Read,
        limit: usize,
    ) -> Box<dyn Iterator<Item = Result<Entry, Fault>> + '_>;

    /// The position behind which nothing will appear that this state does not hold.
    fn stable_position(&self) -> Position;
}

/// Executes transactions.
pub trait Backend: Send + Sync + 'static {
    /// Runs `work` in a serialisable transaction and finishes it once its outcome (and everything it saw) is durable.
    fn transact(&self, work: Box<dyn Work>);

    /// Runs `work` over one durable, consistent state that holds every commit acknowledged so far.
    fn view(&self, work: Box<dyn Work>);

    /// Who waits for wake-ups.
    fn waiters(&self) -> &Arc<Waiters>;

    /// Where blobs are kept.
    fn blob_files(&self) -> &Arc<dyn BlobFiles>;

    /// How the back-end is.
    fn health(&self) -> Health;

    /// Takes no more work, finishes what it has, makes the next start quick, then calls `done`.
    fn shutdown(&self, done: Box<dyn FnOnce() + Send>);
}

/// How a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Serving,
    /// It reads but refuses writes until the named cause is gone (a full disk).
    ReadOnly(String),
    /// It cannot go on: stop serving, exit, start again.
    Failed(String),
}
