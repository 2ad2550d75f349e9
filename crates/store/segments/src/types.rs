//! What goes in and comes out: ids, positions, batches, queries, settings.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use base_types::Timestamp;
use bytes::Bytes;

/// Whom events belong to and are ordered within. Chosen by the caller, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u128);

/// One source of events within a group. Chosen by the caller, never reused, unique across groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u128);

/// Where an event stands in its group: first by its time, then by when it was appended. It never changes, so a reader can
/// go on from it whatever is appended meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The event's own time, in milliseconds since the epoch.
    pub timestamp: u64,
    /// The number it got when it was appended; unique in the data directory.
    pub sequence: u64,
}

impl Position {
    /// Before everything.
    pub const MIN: Self = Self { timestamp: 0, sequence: 0 };
    /// After everything.
    pub const MAX: Self = Self { timestamp: u64::MAX, sequence: u64::MAX };

    /// The first position of a millisecond.
    #[must_use]
    pub fn at(timestamp: Timestamp) -> Self {
        Self { timestamp: timestamp.as_millis(), sequence: 0 }
    }

    /// The position right after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.sequence.checked_add(1) {
            Some(sequence) => Self { sequence, ..self },
            None => Self { timestamp: self.timestamp.saturating_add(1), sequence: 0 },
        }
    }
}

/// One line to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event's own time.
    pub timestamp: Timestamp,
    /// Its text. It should own its bytes: a slice of a large buffer keeps all of it in memory.
    pub message: Bytes,
}

/// What one append brings: events of one stream, all or nothing.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The stream's group.
    pub group: GroupId,
    /// The stream.
    pub stream: StreamId,
    /// When the events arrived.
    pub ingestion: Timestamp,
    /// The events; those of equal time keep their order.
    pub events: Vec<Entry>,
}

/// What an event is counted with beside its message: about what it costs in a memtable.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 160;

impl Batch {
    /// What the batch is counted as.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES).sum()
    }
}

/// When an append is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When its events are on disk.
    Synced,
    /// When its events are visible and handed to the operating system: they survive the end of the process, and a power cut
    /// after at most a second.
    Buffered,
}

/// An event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands; its time is in it.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// When it arrived.
    pub ingestion: Timestamp,
    /// Its text, as it was appended.
    pub message: Bytes,
}

/// How far a stream's events reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The stream's group.
    pub group: GroupId,
    /// The earliest event's time.
    pub first_event: Timestamp,
    /// The latest event's time.
    pub last_event: Timestamp,
    /// When the last event arrived.
    pub last_ingestion: Timestamp,
}

impl Activity {
    /// Both taken together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            group: self.group,
            first_event: self.first_event.min(other.first_event),
            last_event: self.last_event.max(other.last_event),
            last_ingestion: self.last_ingestion.max(other.last_ingestion),
        }
    }
}

/// Which streams of a group to read.
#[derive(Clone, Debug)]
pub enum Streams {
    /// All of them, also such as the caller no longer knows.
    All,
    /// Only these.
    Only(HashSet<StreamId>),
}

impl Streams {
    pub(crate) fn contains(&self, stream: StreamId) -> bool {
        match self {
            Self::All => true,
            Self::Only(streams) => streams.contains(&stream),
        }
    }
}

/// Which way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// What to read: the events of a group with `from <= position < until`.
#[derive(Clone, Debug)]
pub struct Query {
    /// The group.
    pub group: GroupId,
    /// Which of its streams.
    pub streams: Streams,
    /// The first position that may be returned.
    pub from: Position,
    /// The first position that may not.
    pub until: Position,
    /// Which way.
    pub direction: Direction,
    /// Bytes that every wanted message holds: whole blocks without them are passed over (events without them may still be
    /// returned).
    pub must_contain: Option<Vec<u8>>,
}

/// What is dead.
#[derive(Clone, Debug, Default)]
pub struct Reclaim {
    /// Groups that are gone with all their streams.
    pub groups: HashSet<GroupId>,
    /// Streams that are gone, with their groups.
    pub streams: HashMap<StreamId, GroupId>,
    /// Groups whose events before an instant are no longer wanted.
    pub cutoffs: HashMap<GroupId, Timestamp>,
}

/// What was freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Segments dropped as a whole.
    pub dropped_count: usize,
    /// Segments rewritten without their dead events.
    pub rewritten_count: usize,
    /// Bytes freed on disk.
    pub freed_bytes: u64,
}

/// Bounds. Bytes count an event's message and a fixed overhead.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A memtable larger than this is sealed into a segment; two can exist at a time.
    pub memtable_bytes: usize,
    /// How many bytes of appends may be under way before callers wait.
    pub inflight_bytes: usize,
    /// The largest batch.
    pub batch_bytes: usize,
    /// A block is closed when its messages exceed this, before compression.
    pub block_bytes: usize,
    /// Segments of this size on disk are no longer merged.
    pub segment_bytes_max: u64,
    /// How many neighbouring segments of like size are merged into one.
    pub merge_count: usize,
    /// How long the writer may wait for further buffered appends before it writes the first; zero writes at once. Many
    /// small appends cost one wake-up and one write then. Durable ones, syncs and floods are never held back.
    pub gather: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memtable_bytes: 4 << 20,
            inflight_bytes: 4 << 20,
            // 10,000 events and 1 MiB of text with their overhead.
            batch_bytes: 4 << 20,
            block_bytes: 64 << 10,
            segment_bytes_max: 128 << 20,
            merge_count: 8,
            gather: Duration::ZERO,
        }
    }
}
