//! Failures that are ours.
//!
//! A [`Fault`] is the third tier of errors: what a caller did wrong is a typed wire error of its service; what a module
//! can explain is its own `thiserror` enum; what is left (the disk, a bug, a lost race of the store) becomes a fault. It
//! travels opaquely, is logged **once** where the request ends, and the client sees only AWS's internal error; or, where the
//! operator can mend it (a full disk), the words that say so.

use std::{error::Error as StdError, fmt};

/// What the edge may do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The transaction lost a race or outlived its age: running it again may succeed. The dispatcher does so itself.
    Conflict,
    /// A bound was hit (queue full, transaction too large, too many waiters): the client should slow down (throttled).
    Overloaded,
    /// The store or the host cannot serve just now (disk full, poisoned engine, shutting down): status 503.
    Unavailable,
    /// A defect or damaged data: status 500.
    Internal,
}

/// An opaque failure with its cause.
pub struct Fault {
    kind: FaultKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    told: Option<String>,
}

impl Fault {
    /// A fault that has no cause below it. `context` is a lower-case fragment that completes "failed to …".
    pub fn new(kind: FaultKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None, told: None }
    }

    /// An internal fault caused by `source`.
    pub fn internal(context: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(FaultKind::Internal, context).caused_by(source)
    }

    /// The same fault with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same fault with what the client is told in place of the general words: cause and remedy, and nothing that is not
    /// for everybody's eyes.
    #[must_use]
    pub fn telling(mut self, text: impl Into<String>) -> Self {
        self.told = Some(text.into());
        self
    }

    /// What the client is told, if it is anything special.
    #[must_use]
    pub fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }

    /// What may be done about it.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl fmt::Debug for Fault {
    /// The whole chain of causes on one line: this is what the server's log shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.context)?;
        let mut cause: Option<&(dyn StdError + 'static)> = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
