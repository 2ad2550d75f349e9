//! What a finished transaction hands to its back-end.

use base_types::Timestamp;
use bytes::Bytes;

use crate::{Appended, Key, Position, Waiters};

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
    /// Records for streams: the stream, the record, and where to say its position.
    pub appends: Vec<(Key, Bytes, Appended)>,
    pub(crate) positions: Vec<(Appended, Position)>,
    pub(crate) wakes: Vec<(Bytes, usize)>,
    pub(crate) hooks: Vec<Hook>,
}

impl Commit {
    /// Whether nothing is to be made durable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.appends.is_empty()
    }

    /// Makes this commit `version` of `epoch`: the appended records become writes at their positions. A back-end that
    /// cannot know the version before the
    /// commit stores the records aside and places them when it does.
    pub fn place(&mut self, epoch: u32, version: u64) {
        for (ordinal, (stream, value, handle)) in (0..).zip(std::mem::take(&mut self.appends)) {
            let position = Position::new(epoch, version, ordinal);
            self.writes.push((stream.position(position).into_bytes(), Some(value)));
            self.positions.push((handle, position));
        }
    }

    /// Once the commit is durable and before it is answered: fills positions in, runs hooks, wakes waiters. A hook
    /// that panics harms
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
}
