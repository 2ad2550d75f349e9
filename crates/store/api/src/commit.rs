//! What a finished transaction hands to its back-end.

use base_types::Timestamp;
use bytes::Bytes;

use crate::{Appended, Position, Waiters};

/// Work to do once a commit is durable.
pub type Hook = Box<dyn FnOnce() + Send>;

/// The outcome of a body: what to make durable, and what follows from it.
pub struct Commit {
    /// Keys with their new values (`None`: removed). Each key once.
    pub writes: Vec<(Bytes, Option<Bytes>)>,
    /// Bytes of keys and values in `writes`, about.
    pub bytes: usize,
    /// The transaction's time.
    pub now: Timestamp,
    pub(crate) positions: Vec<(Appended, Position)>,
    pub(crate) wakes: Vec<(Bytes, usize)>,
    pub(crate) hooks: Vec<Hook>,
}

impl Commit {
    /// Once the commit is durable and before it is answered: fills positions in, runs hooks, wakes waiters. A hook that panics harms
    /// nobody but itself.
    pub fn complete(self, waiters: &Waiters) {
        for (handle, position) in self.positions {
            handle.fill(position);
        }
        for hook in self.hooks {
            // The panic was reported by the panic hook; a cache that failed to update must not stop the store.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook)));
        }
        for (topic, n) in self.wakes {
            waiters.wake(&topic, n);
        }
    }

    /// The same without its writes, for a back-end that has passed them on.
    #[must_use]
    pub fn without_writes(mut self) -> Self {
        self.writes = Vec::new();
        self
    }
}
