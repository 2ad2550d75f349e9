//! The embedded back-end: transactions run serially over a commit log and an engine, in one process, on one disk.
//!
//! - [`DataDir`]: the directory, its lock, its format and its upgrade;
//! - [`EmbeddedStore`]: opens the store in it; [`EmbeddedStore::store`] is what services get;
//! - [`EmbeddedStore::backup`], [`restore`]: a consistent copy in one checksummed file, while the store runs;
//! - [`Disk`]: everything reaches the disk through it (the second engine, fjall, excepted);
//! - [`frame`]: the commit log's frames.
//!
//! How it works: `core` runs transactions and makes them durable, `generation` holds what the engine has not absorbed
//! yet, `checkpoint` lets the engine absorb it, `log` keeps the segments, `reader` puts it all together for a reader.
//! See `docs/store.md` for the reasons and the figures.
//!
//! Invariant: the commit log's sync is the only one a commit waits for, and no answer leaves before it.

mod backup;
mod blobs;
mod checkpoint;
mod core;
mod data_dir;
mod disk;
mod embedded;
mod engine;
mod fault;
pub mod frame;
mod generation;
mod heads;
mod log;
mod options;
mod reader;
mod upgrade;

pub use backup::{BackupError, BackupSummary, restore};
pub use data_dir::{DataDir, FORMAT, OpenError};
pub use disk::{Disk, DiskFile, RealDisk};
pub use embedded::EmbeddedStore;
pub use options::{EngineKind, Options};
