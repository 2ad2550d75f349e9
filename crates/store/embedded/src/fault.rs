//! The faults of this room, in one place so that their texts agree.

use std::{error::Error, io};

use base_types::{Fault, FaultKind};

/// The disk cannot serve (full, failing): try later. That it is full is told: an operator can mend it.
pub(crate) fn unavailable(what: &str, error: io::Error) -> Fault {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let fault = Fault::new(FaultKind::Unavailable, what).caused_by(error);
    if full { fault.telling(told("the disk is full")) } else { fault }
}

/// What a client is told of a disk that takes no more.
pub(crate) fn told(reason: &str) -> String {
    format!(
        "The server takes no changes just now: {reason}. Free space where its data directory lies: it goes on by itself then."
    )
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
