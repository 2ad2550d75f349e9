//! The bounds of a transaction. Hitting one gives a fault that names it, and the transaction cannot commit.

use std::time::Duration;

use base_types::{Fault, FaultKind};

/// Largest encoded key, in bytes. An S3 object key (1024 bytes, each perhaps escaped) fits.
pub const KEY_BYTES_MAX: usize = 4096;

/// What one transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the start of the body to its commit. Default 5 s.
    pub age: Duration,
    /// Bytes of keys and values written. Default 8 MiB.
    pub write_bytes: usize,
    /// Number of keys written. Default 20 000.
    pub writes: usize,
    /// Bytes of one value; larger ones belong into a blob. Default 2 MiB.
    pub value_bytes: usize,
    /// Number of entries read. Default 100 000.
    pub reads: usize,
    /// Bytes of keys and values read. Default 32 MiB.
    pub read_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(5),
            write_bytes: 8 << 20,
            writes: 20_000,
            value_bytes: 2 << 20,
            reads: 100_000,
            read_bytes: 32 << 20,
        }
    }
}

/// Which bound a transaction hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// [`Bounds::age`].
    #[error("the transaction is older than {0:?}")]
    Age(Duration),
    /// [`Bounds::write_bytes`].
    #[error("the transaction writes more than {0} bytes")]
    WriteBytes(usize),
    /// [`Bounds::writes`].
    #[error("the transaction writes more than {0} keys")]
    Writes(usize),
    /// [`Bounds::value_bytes`].
    #[error("a value is larger than {0} bytes")]
    ValueBytes(usize),
    /// [`KEY_BYTES_MAX`].
    #[error("a key is larger than {0} bytes")]
    KeyBytes(usize),
    /// [`Bounds::reads`].
    #[error("the transaction reads more than {0} entries")]
    Reads(usize),
    /// [`Bounds::read_bytes`].
    #[error("the transaction reads more than {0} bytes")]
    ReadBytes(usize),
}

impl From<Exceeded> for Fault {
    fn from(exceeded: Exceeded) -> Self {
        // Age is a matter of luck and load: running it again may succeed. The others will be hit again.
        let kind = if matches!(exceeded, Exceeded::Age(_)) { FaultKind::Conflict } else { FaultKind::Overloaded };
        Fault::new(kind, "finish a transaction within its bounds").caused_by(exceeded)
    }
}
