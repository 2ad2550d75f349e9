//! Reading: a lazy merge of memtables and segments, in either direction.
//!
//! A segment is not opened, and a block not decompressed, before the merge has come to it: a heap holds for each source
//! either its next event's position or a bound that this position cannot pass.

use std::{
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use zstd::bulk::Decompressor;

use crate::{
    SegmentsError,
    block::{Block, stream_bits},
    memtable::Memtable,
    segment::{IndexEntry, Segment},
    shared::State,
    types::{Direction, Event, Position, Query, Streams},
};

/// What a step of a scan came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The next event.
    Event(Event),
    /// Nothing yet, but a block was passed over: a scan may stop here and another go on with `from` (forward) or `until`
    /// (backward) set to this position.
    Passed(Position),
}

/// An iterator over the events that a query asks for. Blocking. It sees what was there when it began, and may see what came
/// later. Damaged blocks and indexes are logged and passed over; only a failing disk is an error.
pub struct Scan {
    query: Query,
    /// The bits of the streams asked for, when there are few.
    stream_bits: Vec<u128>,
    sources: Vec<Source>,
    heap: BinaryHeap<(u128, usize)>,
    /// The source that comes first, when it need not go through the heap.
    current: Option<(u128, usize)>,
    /// Whether all sources are known: before, none can be said to come first.
    begun: bool,
    zstd: Option<Decompressor<'static>>,
}

enum Source {
    Memory { memtable: Arc<Memtable>, chunk: VecDeque<Event>, exhausted: bool },
    Disk { segment: Arc<Segment>, stage: Stage },
}

enum Stage {
    /// Not looked into yet.
    Closed,
    /// The block of this entry comes next.
    Before(usize, IndexEntry),
    /// In a block; its next event is the one at `row`. `wanted` says which of its streams are.
    Within {
        entry_index: usize,
        block: Block,
        wanted: Vec<bool>,
        row: usize,
    },
    Done,
}

/// Beyond this many streams blocks are not tested for them before they are decompressed.
const BLOOM_STREAMS_MAX: usize = 16;

impl Scan {
    pub(crate) fn new(state: Arc<State>, query: Query) -> Self {
        let stream_bits = match &query.streams {
            Streams::Only(streams) if streams.len() <= BLOOM_STREAMS_MAX => {
                streams.iter().map(|&stream| stream_bits(stream)).collect()
            }
            Streams::Only(_) | Streams::All => Vec::new(),
        };
        let mut scan = Self {
            query,
            stream_bits,
            sources: Vec::new(),
            heap: BinaryHeap::new(),
            current: None,
            begun: false,
            zstd: None,
        };
        if scan.query.from >= scan.query.until {
            return scan;
        }
        for memtable in state.memtables() {
            let (memtable, chunk) = (Arc::clone(memtable), VecDeque::new());
            scan.sources.push(Source::Memory { memtable, chunk, exhausted: false });
            scan.refill_memory(scan.sources.len() - 1);
        }
        for segment in &state.segments {
            let first = Position { timestamp: segment.first_timestamp, sequence: 0 };
            let last = Position { timestamp: segment.last_timestamp, sequence: u64::MAX };
            if last >= scan.query.from && first < scan.query.until {
                scan.sources.push(Source::Disk { segment: Arc::clone(segment), stage: Stage::Closed });
                scan.enqueue(scan.sources.len() - 1, first, last);
            }
        }
        scan.begun = true;
        scan
    }

    /// Lines a source up by the nearest position it may have in a range.
    fn enqueue(&mut self, source: usize, first: Position, last: Position) {
        let rank = match self.query.direction {
            Direction::Forward => !packed(first.max(self.query.from)),
            Direction::Backward => packed(last.min(self.query.until)),
        };
        if self.begun && self.heap.peek().is_none_or(|&(top, _)| top <= rank) {
            self.current = Some((rank, source));
        } else {
            self.heap.push((rank, source));
        }
    }

    /// Makes sure that a memory source has its next event at hand, and enqueues it.
    fn refill_memory(&mut self, index: usize) {
        let Query { group, direction, .. } = self.query;
        let (mut from, mut until) = (self.query.from, self.query.until);
        let Some(Source::Memory { memtable, chunk, exhausted }) = self.sources.get_mut(index) else { return };
        while chunk.is_empty() && !*exhausted {
            let found = memtable.chunk(group, from, until, direction);
            let Some(last) = found.last().map(|event| event.position) else {
                *exhausted = true;
                break;
            };
            match direction {
                Direction::Forward => from = last.next(),
                Direction::Backward => until = last,
            }
            chunk.extend(found.into_iter().filter(|event| self.query.streams.contains(event.stream)));
        }
        if let Some(position) = chunk.front().map(|event| event.position) {
            self.enqueue(index, position, position);
        }
    }

    fn step_memory(&mut self, index: usize) -> Option<Found> {
        let Some(Source::Memory { chunk, .. }) = self.sources.get_mut(index) else { return None };
        let event = chunk.pop_front()?;
        if let Some(position) = chunk.front().map(|event| event.position) {
            self.enqueue(index, position, position);
        } else {
            // The next chunk starts behind this event; this moves only this scan's own bound for memory.
            self.refill_after(index, event.position);
        }
        Some(Found::Event(event))
    }

    fn refill_after(&mut self, index: usize, position: Position) {
        let bounds = (self.query.from, self.query.until);
        match self.query.direction {
            Direction::Forward => self.query.from = position.next(),
            Direction::Backward => self.query.until = position,
        }
        self.refill_memory(index);
        (self.query.from, self.query.until) = bounds;
    }

    fn step_disk(&mut self, index: usize) -> Result<Option<Found>, SegmentsError> {
        let Some(Source::Disk { segment, stage }) = self.sources.get_mut(index) else { return Ok(None) };
        if let Stage::Within { entry_index, block, wanted, row } = stage {
            let event = block.event(*row);
            if let Some((next, position)) = wanted_row(block, wanted, after(*row, self.query.direction), &self.query) {
                *row = next;
                self.enqueue(index, position, position);
            } else {
                let (segment, entry_index) = (Arc::clone(segment), *entry_index);
                *stage = Stage::Done;
                self.go_on_from_entry(index, &segment, entry_index)?;
            }
            return Ok(event.map(Found::Event));
        }
        let segment = Arc::clone(segment);
        match std::mem::replace(stage, Stage::Done) {
            Stage::Done | Stage::Within { .. } => Ok(None),
            Stage::Closed => {
                let (group, from, until) = (self.query.group, self.query.from, self.query.until);
                let start = match self.query.direction {
                    Direction::Forward => {
                        Some(segment.partition_point(|entry| (entry.group, entry.last) < (group, from))?)
                    }
                    Direction::Backward => {
                        segment.partition_point(|entry| (entry.group, entry.first) < (group, until))?.checked_sub(1)
                    }
                };
                self.go_to_entry(index, &segment, start)?;
                Ok(None)
            }
            Stage::Before(entry_index, entry) => {
                let entered = match self.load(&segment, &entry)? {
                    Some(block) => self.enter(index, entry_index, block),
                    None => false,
                };
                if entered {
                    return Ok(None);
                }
                self.go_on_from_entry(index, &segment, entry_index)?;
                let next = self.current.as_ref().or_else(|| self.heap.peek());
                Ok(next.map(|&(rank, _)| Found::Passed(self.resume_at(rank))))
            }
        }
    }

    fn resume_at(&self, rank: u128) -> Position {
        match self.query.direction {
            Direction::Forward => unpacked(!rank),
            Direction::Backward => unpacked(rank).next().min(self.query.until),
        }
    }

    /// Decompresses a block unless it cannot hold what is wanted.
    fn load(&mut self, segment: &Segment, entry: &IndexEntry) -> Result<Option<Block>, SegmentsError> {
        let bits = &self.stream_bits;
        if !bits.is_empty() && !bits.iter().any(|bits| entry.bloom & bits == *bits) {
            return Ok(None);
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none
                .insert(Decompressor::new().map_err(|source| SegmentsError::io("decompress", &segment.path, source))?),
        };
        let block = match segment.block(entry, zstd) {
            Err(error @ SegmentsError::Damaged { .. }) => {
                tracing::error!(%error, "a block of log events is passed over");
                return Ok(None);
            }
            block => block?,
        };
        let wanted = block.streams().iter().any(|&stream| self.query.streams.contains(stream))
            && self.query.must_contain.as_deref().is_none_or(|text| memchr::memmem::find(block.text(), text).is_some());
        Ok(wanted.then_some(block))
    }

    /// Stands before the first wanted event of a block, if it has one.
    fn enter(&mut self, index: usize, entry_index: usize, block: Block) -> bool {
        let first = match self.query.direction {
            Direction::Forward => Some(block.lower_bound(self.query.from)),
            Direction::Backward => block.lower_bound(self.query.until).checked_sub(1),
        };
        let wanted: Vec<bool> = block.streams().iter().map(|&stream| self.query.streams.contains(stream)).collect();
        let Some((row, position)) = wanted_row(&block, &wanted, first, &self.query) else { return false };
        if let Some(Source::Disk { stage, .. }) = self.sources.get_mut(index) {
            *stage = Stage::Within { entry_index, block, wanted, row };
        }
        self.enqueue(index, position, position);
        true
    }

    fn go_on_from_entry(&mut self, index: usize, segment: &Segment, entry_index: usize) -> Result<(), SegmentsError> {
        self.go_to_entry(index, segment, after(entry_index, self.query.direction))
    }

    fn go_to_entry(&mut self, index: usize, segment: &Segment, next: Option<usize>) -> Result<(), SegmentsError> {
        let Some(entry_index) = next.filter(|&next| next < segment.entry_count) else { return Ok(()) };
        let entry = segment.entry(entry_index)?;
        let Query { group, from, until, .. } = self.query;
        if entry.group != group || entry.first >= until || entry.last < from {
            return Ok(());
        }
        if let Some(Source::Disk { stage, .. }) = self.sources.get_mut(index) {
            *stage = Stage::Before(entry_index, entry);
        }
        self.enqueue(index, entry.first, entry.last);
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Found, SegmentsError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((_, index)) = self.current.take().or_else(|| self.heap.pop()) {
            let found = match self.sources.get(index)? {
                Source::Memory { .. } => Ok(self.step_memory(index)),
                Source::Disk { .. } => match self.step_disk(index) {
                    // The source is done; the others are not.
                    Err(error @ SegmentsError::Damaged { .. }) => {
                        tracing::error!(%error, "the rest of a log segment is passed over");
                        Ok(None)
                    }
                    found => found,
                },
            };
            if let Some(found) = found.transpose() {
                return Some(found);
            }
        }
        None
    }
}

fn after(index: usize, direction: Direction) -> Option<usize> {
    match direction {
        Direction::Forward => Some(index + 1),
        Direction::Backward => index.checked_sub(1),
    }
}

/// The first wanted event of a block at or behind `row`, in the query's direction, and its position.
fn wanted_row(block: &Block, wanted: &[bool], mut row: Option<usize>, query: &Query) -> Option<(usize, Position)> {
    loop {
        let at = row?;
        let position = block.position(at).filter(|&position| position >= query.from && position < query.until)?;
        if wanted.get(block.stream_index(at)?) == Some(&true) {
            return Some((at, position));
        }
        row = after(at, query.direction);
    }
}

fn packed(position: Position) -> u128 {
    (u128::from(position.timestamp) << 64) | u128::from(position.sequence)
}

fn unpacked(packed: u128) -> Position {
    Position { timestamp: (packed >> 64) as u64, sequence: packed as u64 }
}
