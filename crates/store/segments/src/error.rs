//! What can go wrong, and which fault it becomes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base_types::{Fault, FaultKind};

/// Why log events could not be written or read. Cloneable: one failed write answers many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SegmentsError {
    /// There is no space: nothing was appended, what was there is safe.
    #[error("the disk is full: could not {action} `{path}`", path = path.display())]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// The disk failed otherwise.
    #[error("could not {action} `{path}`", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes on disk are not what was written.
    #[error("`{path}` is damaged at byte {offset}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file was written by a newer version.
    #[error("`{path}` has format {found}, this version knows formats up to {known}", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// One batch is beyond its bound.
    #[error("a batch of {bytes} bytes exceeds the limit of {max}")]
    TooLarge {
        /// The batch's size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The files are being copied: nothing can be reclaimed just now.
    #[error("the files of the log segments are held for a copy")]
    Held,
    /// The segments are shutting down.
    #[error("the log segments are closed")]
    Closed,
}

impl SegmentsError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let (path, full) =
            (path.to_owned(), matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
        let source = Arc::new(source);
        if full { Self::DiskFull { action, path, source } } else { Self::Io { action, path, source } }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, what: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), offset, what }
    }
}

impl From<SegmentsError> for Fault {
    fn from(error: SegmentsError) -> Self {
        let kind = match error {
            SegmentsError::DiskFull { .. } | SegmentsError::Held | SegmentsError::Closed => FaultKind::Unavailable,
            SegmentsError::Io { .. }
            | SegmentsError::Damaged { .. }
            | SegmentsError::Newer { .. }
            | SegmentsError::TooLarge { .. } => FaultKind::Internal,
        };
        Self::new(kind, "use the log segments").caused_by(error)
    }
}
