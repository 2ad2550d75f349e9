//! The events of one journal, in memory and in order. Readers and the writer share it under a short lock.

use std::collections::{BTreeMap, HashMap};

use base_types::Timestamp;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::types::{Activity, Batch, Direction, EVENT_OVERHEAD_BYTES, Event, GroupId, Position, StreamId};

/// How many events a reader takes under one lock.
const CHUNK_EVENTS: usize = 128;

pub(crate) struct Memtable {
    pub(crate) journal_id: u64,
    content: RwLock<Content>,
}

#[derive(Default)]
struct Content {
    rows: BTreeMap<(GroupId, Position), Row>,
    activity: HashMap<StreamId, Activity>,
    bytes: usize,
    first_sequence: Option<u64>,
    last_sequence: u64,
}

#[derive(Clone)]
struct Row {
    stream: StreamId,
    ingestion: Timestamp,
    message: Bytes,
}

impl Memtable {
    pub(crate) fn new(journal_id: u64) -> Self {
        Self { journal_id, content: RwLock::default() }
    }

    /// Shows whole batches at once: no reader sees a part of one.
    pub(crate) fn insert(&self, batches: impl Iterator<Item = (Batch, u64)>) {
        let mut content = self.content.write();
        for (batch, first_sequence) in batches {
            content.insert(batch, first_sequence);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.content.read().bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.content.read().rows.is_empty()
    }

    /// The first and last sequence number, if it holds anything.
    pub(crate) fn sequences(&self) -> Option<(u64, u64)> {
        let content = self.content.read();
        content.first_sequence.map(|first| (first, content.last_sequence))
    }

    pub(crate) fn activity(&self, stream: StreamId) -> Option<Activity> {
        self.content.read().activity.get(&stream).copied()
    }

    pub(crate) fn activities(&self) -> Vec<(StreamId, Activity)> {
        self.content.read().activity.iter().map(|(&stream, &activity)| (stream, activity)).collect()
    }

    pub(crate) fn group_bytes(&self, group: GroupId) -> u64 {
        let content = self.content.read();
        let rows = content.rows.range((group, Position::MIN)..=(group, Position::MAX));
        rows.map(|(_, row)| row.message.len() as u64).sum()
    }

    /// Adds the bytes of each group's messages.
    pub(crate) fn add_bytes(&self, bytes: &mut HashMap<GroupId, u64>) {
        for (&(group, _), row) in &self.content.read().rows {
            *bytes.entry(group).or_default() += row.message.len() as u64;
        }
    }

    /// Up to a chunk of events of a group with `from <= position < until`, from the end that `direction` starts at.
    pub(crate) fn chunk(&self, group: GroupId, from: Position, until: Position, direction: Direction) -> Vec<Event> {
        if from >= until {
            return Vec::new();
        }
        let content = self.content.read();
        let rows = content.rows.range((group, from)..(group, until));
        let event = |(&(_, position), row): (&(GroupId, Position), &Row)| Event {
            position,
            stream: row.stream,
            ingestion: row.ingestion,
            message: row.message.clone(),
        };
        match direction {
            Direction::Forward => rows.take(CHUNK_EVENTS).map(event).collect(),
            Direction::Backward => rows.rev().take(CHUNK_EVENTS).map(event).collect(),
        }
    }

    /// Everything in order, for sealing. The memtable must not be written to any more.
    pub(crate) fn for_each<E>(&self, mut visit: impl FnMut(GroupId, &Event) -> Result<(), E>) -> Result<(), E> {
        for (&(group, position), row) in &self.content.read().rows {
            let (stream, ingestion, message) = (row.stream, row.ingestion, row.message.clone());
            visit(group, &Event { position, stream, ingestion, message })?;
        }
        Ok(())
    }
}

impl Content {
    fn insert(&mut self, batch: Batch, first_sequence: u64) {
        let Batch { group, stream, ingestion, events } = batch;
        self.bytes += events.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES).sum::<usize>();
        for (sequence, event) in (first_sequence..).zip(events) {
            let activity = Activity {
                group,
                first_event: event.timestamp,
                last_event: event.timestamp,
                last_ingestion: ingestion,
            };
            self.activity.entry(stream).and_modify(|known| *known = known.merge(activity)).or_insert(activity);
            let position = Position { timestamp: event.timestamp.as_millis(), sequence };
            self.rows.insert((group, position), Row { stream, ingestion, message: event.message });
            self.first_sequence = Some(self.first_sequence.unwrap_or(sequence).min(sequence));
            self.last_sequence = self.last_sequence.max(sequence);
        }
    }
}
