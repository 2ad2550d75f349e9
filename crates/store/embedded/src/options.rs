//! What can be set.

use store_api::Bounds;

/// Which engine keeps the checkpoints. Fixed when a data directory is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// redb: a copy-on-write B-tree in one file.
    #[default]
    Tree,
    /// fjall: a log-structured merge tree.
    Lsm,
}

impl EngineKind {
    /// Its name in the data directory's format file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tree => "redb",
            Self::Lsm => "fjall",
        }
    }
}

/// The settings of an embedded store. The defaults suit a server of any size; memory at rest is about
/// `engine_cache_bytes`,
/// under load `generation_bytes` × (`generations_max` + 1) more.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which engine a *new* data directory gets.
    pub engine: EngineKind,
    /// Bytes of blocks the engine keeps in memory.
    pub engine_cache_bytes: usize,
    /// Bytes of commits (in memory, and about as many in the log) after which the engine absorbs them.
    pub generation_bytes: usize,
    /// Generations that may wait for the engine before writers wait too. With `generation_bytes` it bounds what a
    /// start after a crash has to read.
    pub generations_max: usize,
    /// After this long without a new generation whatever there is goes to the engine, in milliseconds.
    pub checkpoint_idle_ms: u64,
    /// Transactions that may wait for their turn.
    pub queue_max: usize,
    /// Writes are refused while the disk has less than this left, so that the engine can always finish what it has
    /// begun.
    pub disk_reserve_bytes: u64,
    /// The bounds of each transaction.
    pub bounds: Bounds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            engine: EngineKind::default(),
            engine_cache_bytes: 8 << 20,
            generation_bytes: 4 << 20,
            generations_max: 4,
            checkpoint_idle_ms: 2000,
            queue_max: 16_384,
            disk_reserve_bytes: 64 << 20,
            bounds: Bounds::default(),
        }
    }
}
