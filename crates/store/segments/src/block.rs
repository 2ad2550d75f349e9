//! A block: events of one group, in order, compressed together.
//!
//! Decompressed it is: the number of streams and their ids; the number of events and, for each, varints of its time and
//! sequence number (as differences to the event before), stream (an index), ingestion time (as a difference to its time) and
//! message length; then all messages, one after the other. So a search for bytes runs over the messages alone.

use std::collections::HashMap;

use base_types::Timestamp;
use bytes::Bytes;

use crate::{
    codec::{Reader, put_varint, unzigzag, zigzag},
    types::{Event, Position, StreamId},
};

/// No block is larger than this when decompressed: a damaged length cannot make us allocate more.
pub(crate) const BLOCK_BYTES_MAX: usize = 16 << 20;

/// Collects events until they are worth a block.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    rows: Vec<u8>,
    text: Vec<u8>,
    streams: Vec<StreamId>,
    indexes: HashMap<StreamId, u64>,
    count: u32,
    first: Option<Position>,
    last: Option<Position>,
    bloom: u128,
}

/// What the index says of a block besides where it lies.
pub(crate) struct BlockSummary {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) count: u32,
    pub(crate) text_bytes: u32,
    pub(crate) bloom: u128,
}

impl BlockBuilder {
    pub(crate) fn push(&mut self, event: &Event) {
        let next_index = self.streams.len() as u64;
        let index = *self.indexes.entry(event.stream).or_insert(next_index);
        if index == next_index {
            self.streams.push(event.stream);
            self.bloom |= stream_bits(event.stream);
        }
        let position = event.position;
        let previous = self.last.unwrap_or(Position::MIN);
        let step = position.sequence.wrapping_sub(previous.sequence).cast_signed();
        put_varint(&mut self.rows, position.timestamp - previous.timestamp);
        put_varint(&mut self.rows, zigzag(step));
        put_varint(&mut self.rows, index);
        put_varint(
            &mut self.rows,
            zigzag(event.ingestion.as_millis().cast_signed() - position.timestamp.cast_signed()),
        );
        put_varint(&mut self.rows, event.message.len() as u64);
        self.text.extend_from_slice(&event.message);
        self.first.get_or_insert(position);
        self.last = Some(position);
        self.count += 1;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() + self.text.len() + self.streams.len() * 16
    }

    /// The block's bytes before compression, and its summary; the builder is empty afterwards. `None` if it was already.
    pub(crate) fn finish(&mut self) -> Option<(Vec<u8>, BlockSummary)> {
        let (first, last) = (self.first.take()?, self.last.take()?);
        let mut raw = Vec::with_capacity(self.bytes() + 16);
        put_varint(&mut raw, self.streams.len() as u64);
        for stream in self.streams.drain(..) {
            raw.extend_from_slice(&stream.0.to_le_bytes());
        }
        put_varint(&mut raw, u64::from(self.count));
        raw.append(&mut self.rows);
        raw.extend_from_slice(&self.text);
        let summary =
            BlockSummary { first, last, count: self.count, text_bytes: self.text.len() as u32, bloom: self.bloom };
        self.text.clear();
        self.indexes.clear();
        (self.count, self.bloom) = (0, 0);
        Some((raw, summary))
    }
}

/// Two bits of 128 for a stream: a block whose bloom lacks one of them has none of its events.
pub(crate) fn stream_bits(stream: StreamId) -> u128 {
    let mixed = (stream.0 as u64 ^ (stream.0 >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (1 << (mixed >> 57)) | (1 << ((mixed >> 50) & 127))
}

/// A decompressed block.
pub(crate) struct Block {
    raw: Bytes,
    rows: Vec<Row>,
    streams: Vec<StreamId>,
    text_start: usize,
}

struct Row {
    position: Position,
    ingestion: u64,
    stream: u32,
    /// Where the message ends; it starts where the one before ends.
    end: u32,
}

impl Block {
    /// `None` when the bytes are not a block.
    pub(crate) fn parse(raw: Vec<u8>) -> Option<Self> {
        let mut reader = Reader::new(&raw);
        let stream_count = reader.length().filter(|&count| count <= raw.len() / 16)?;
        let streams = (0..stream_count).map(|_| reader.u128().map(StreamId)).collect::<Option<Vec<_>>>()?;
        // A row has at least five bytes.
        let count = reader.length().filter(|&count| count <= raw.len() / 5)?;
        let mut rows = Vec::with_capacity(count);
        let (mut timestamp, mut sequence, mut end) = (0_u64, 0_u64, 0_u32);
        for _ in 0..count {
            timestamp = timestamp.checked_add(reader.varint()?)?;
            sequence = sequence.wrapping_add_signed(unzigzag(reader.varint()?));
            let stream = u32::try_from(reader.varint()?).ok().filter(|&index| (index as usize) < streams.len())?;
            let ingestion = timestamp.checked_add_signed(unzigzag(reader.varint()?))?;
            end = end.checked_add(u32::try_from(reader.varint()?).ok()?)?;
            rows.push(Row { position: Position { timestamp, sequence }, ingestion, stream, end });
        }
        let text_start = reader.at();
        (text_start.checked_add(end as usize)? == raw.len()).then(|| Self {
            raw: Bytes::from(raw),
            rows,
            streams,
            text_start,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.raw[self.text_start..]
    }

    pub(crate) fn streams(&self) -> &[StreamId] {
        &self.streams
    }

    pub(crate) fn position(&self, index: usize) -> Option<Position> {
        self.rows.get(index).map(|row| row.position)
    }

    /// Which of [`Block::streams`] an event belongs to.
    pub(crate) fn stream_index(&self, index: usize) -> Option<usize> {
        self.rows.get(index).map(|row| row.stream as usize)
    }

    /// The first event whose position is not before `position`.
    pub(crate) fn lower_bound(&self, position: Position) -> usize {
        self.rows.partition_point(|row| row.position < position)
    }

    pub(crate) fn event(&self, index: usize) -> Option<Event> {
        let row = self.rows.get(index)?;
        let start =
            index.checked_sub(1).and_then(|before| self.rows.get(before)).map_or(0, |before| before.end as usize);
        let message = self.raw.slice(self.text_start + start..self.text_start + row.end as usize);
        let ingestion = Timestamp::from_millis(row.ingestion);
        Some(Event { position: row.position, stream: *self.streams.get(row.stream as usize)?, ingestion, message })
    }
}
