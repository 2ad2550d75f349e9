//! The transactional ordered key space as every service sees it.
//!
//! - [`Store`]: the handle. [`Store::transact`] runs a synchronous, re-runnable body over a [`Tx`] and answers once the
//!   commit is durable; [`Store::view`] reads one consistent state;
//! - [`Key`], [`KeyRange`], [`Family`]: tuples in byte order; [`Table`]: typed records with a versioned header;
//! - [`Tx::append`] and [`Position`]: streams; [`Tx::claim`]: queue heads; [`Tx::add`]: counters;
//! - [`Tx::wake`] and [`Waiter`]: hints after a commit; [`Tx::set_timer`] and [`Store::timer_due`]: durable due times;
//! - [`Lease`]: one owner of a piece of background work, fenced by [`Tx::require`];
//! - [`Blobs`]: bodies beside the key space, swept by reference;
//! - [`Backend`], [`Reader`], [`Work`], [`BlobFiles`]: the seam that the back-ends implement, of which [`Memory`] is
//!   one.
//!
//! Guarantees of every back-end: transactions are serialisable in the order of their commits; an answer (a read's
//! too) leaves only when everything it depends on is durable; nothing of a failed body remains.
//!
//! Invariant: nothing here knows a service, a file or a network. A service builds its keys in one file, `tables.rs`.

mod backend;
mod blob;
mod blob_memory;
mod bounds;
mod commit;
mod key;
mod lease;
mod memory;
mod merge;
mod position;
mod store;
mod table;
mod timer;
mod tx;
mod waiters;

pub use backend::{Backend, Health, Read, Reader, Work};
pub use blob::{
    BlobFiles, BlobId, BlobReader, BlobSink, BlobSource, BlobWriter, Blobs, INTENT_TTL, InvalidBlobId, Sealed,
};
pub use bounds::{Bounds, Exceeded, KEY_BYTES_MAX};
pub use commit::{Commit, Hook};
pub use key::{DamagedKey, Direction, Family, Key, KeyRange, Part};
pub use lease::Lease;
pub use memory::Memory;
pub use merge::{Entry, Layer, merge};
pub use position::{Appended, InvalidPosition, Position};
pub use store::Store;
pub use table::{Table, Upgrade};
pub use tx::{Access, Tx};
pub use waiters::{Waiter, Waiters};
