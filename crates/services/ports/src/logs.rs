//! Where a function's output goes.
//!
//! The port has two halves. Ensuring that a stream exists is part of the caller's transaction. Appending lines is not: it
//! is cheap (no commit, no wait for the disk) and bounded; it waits while too much is under way, so a flood slows the
//! function that makes it. What was appended is visible to readers at once and may be lost only in a power cut, and then
//! at most its last second.

use std::future::Future;

use base_types::{Fault, Timestamp};
use bytes::Bytes;
use services_kernel::Cx;
use store_api::Tx;

/// Takes a function's output.
pub trait LogSink: Send + Sync + 'static {
    /// Makes sure that the group and its stream exist, and tells where to append. Idempotent: also when both exist already.
    ///
    /// # Errors
    /// A fault of the store, or when a name cannot be a group's or stream's.
    fn ensure_stream(&self, cx: &Cx, tx: &Tx, group: &str, stream: &str) -> Result<LogTarget, Fault>;

    /// Appends lines in their order; all lines of one call together or, above a MiB, in parts. Resolves when readers see
    /// them. A line longer than an event may be becomes several events.
    ///
    /// # Errors
    /// [`LogAppendError::Gone`] when somebody deleted the stream or its group: ensure it anew and append again.
    fn append(
        &self,
        target: &LogTarget,
        lines: Vec<LogLine>,
    ) -> impl Future<Output = Result<(), LogAppendError>> + Send;
}

/// An existing stream, to append to. It stays valid until the stream is deleted; it is not kept across a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogTarget {
    /// The group's identity.
    pub group: u128,
    /// The stream's identity.
    pub stream: u128,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub timestamp: Timestamp,
    /// Its text, as it shall be read (AWS keeps the line feed that ended it); bytes that are not UTF-8 are replaced when
    /// it is read. It should own its bytes: a slice of a large buffer keeps all of it in memory for a while.
    pub text: Bytes,
}

/// Why lines were not appended.
#[derive(Debug, thiserror::Error)]
pub enum LogAppendError {
    /// The stream or its group was deleted.
    #[error("the log stream was deleted")]
    Gone,
    /// The logs failed (a full disk, shutting down).
    #[error(transparent)]
    Fault(#[from] Fault),
}
