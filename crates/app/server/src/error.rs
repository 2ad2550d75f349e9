//! Why the server did not start, or had to end: what failed, the cause, and what to do about it.

use std::{error::Error as StdError, fmt};

/// A failure for the operator. `Display` is what could not be done; the causes are its `source` chain.
#[derive(Debug)]
pub struct ServerError {
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    remedy: Option<String>,
}

impl ServerError {
    /// `what` is a lower-case sentence without a full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None, remedy: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What the operator can do, where that is known.
    #[must_use]
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for ServerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
