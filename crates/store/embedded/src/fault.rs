//! The faults of this room, in one place so that their texts agree.

use std::{error::Error, io};

use base_types::{Fault, FaultKind};

/// The disk cannot serve (full, failing): try later.
pub(crate) fn unavailable(what: &str, error: io::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, what).caused_by(error)
}

/// The engine failed: the disk or the engine's files.
pub(crate) fn engine_failed(what: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
    Fault::new(FaultKind::Unavailable, what).caused_by(error)
}

/// The store has been shut down.
pub(crate) fn stopped() -> Fault {
    Fault::new(FaultKind::Unavailable, "run a transaction: the store has stopped")
}

/// Writes are refused until the cause is gone.
pub(crate) fn refused(reason: &str) -> Fault {
    Fault::new(FaultKind::Unavailable, format!("commit a transaction: {reason}"))
}

/// More work than the store takes at once.
pub(crate) fn too_many(bound: usize) -> Fault {
    Fault::new(FaultKind::Overloaded, format!("queue a transaction: {bound} are waiting already"))
}
