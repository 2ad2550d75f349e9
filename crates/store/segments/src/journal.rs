//! The journal: what was appended and is not yet in a segment.
//!
//! A header (magic, format, id, first sequence number, checksum), then frames: length, CRC-32C of length and content, one
//! batch. Guarantee: a frame is replayed whole or not at all, and nothing behind the first bad byte is replayed.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use base_types::Timestamp;
use bytes::Bytes;

use crate::{
    SegmentsError,
    codec::{Reader, put_varint},
    files::{self, FORMAT_VERSION, Kind},
    types::{Batch, Entry, GroupId, StreamId},
};

const MAGIC: &[u8; 8] = b"PILEUSJ\0";
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 8;

/// A journal that is being written.
pub(crate) struct Journal {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    file: File,
    /// The end of the last good frame.
    length: u64,
}

impl Journal {
    pub(crate) fn create(directory: &Path, id: u64, first_sequence: u64) -> Result<Self, SegmentsError> {
        let path = files::path_of(directory, Kind::Journal, id);
        let io = |source| SegmentsError::io("create", &path, source);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).map_err(io)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&id.to_le_bytes());
        header.extend_from_slice(&first_sequence.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        let written = file.write_all_at(&header, 0).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A journal without its header would be refused at the next start.
            files::remove(&path)?;
            return Err(io(error));
        }
        files::sync_directory(directory)?;
        Ok(Self { id, file, length: HEADER_BYTES as u64, path })
    }

    /// Writes frames at the end. On failure what was written of them is cut off again.
    pub(crate) fn write(&mut self, frames: &[u8]) -> Result<(), FailedWrite> {
        if let Err(error) = self.file.write_all_at(frames, self.length) {
            let error = SegmentsError::io("append to", &self.path, error);
            let intact = self.file.set_len(self.length).is_ok();
            return Err(FailedWrite { error, intact });
        }
        self.length += frames.len() as u64;
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), SegmentsError> {
        self.file.sync_data().map_err(|source| SegmentsError::io("sync", &self.path, source))
    }
}

/// Why frames were not written, and whether the journal is as it was before.
pub(crate) struct FailedWrite {
    pub(crate) error: SegmentsError,
    pub(crate) intact: bool,
}

/// Adds the frame of a batch whose first event has number `first_sequence`.
pub(crate) fn put_frame(out: &mut Vec<u8>, batch: &Batch, first_sequence: u64) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    out.extend_from_slice(&batch.group.0.to_le_bytes());
    out.extend_from_slice(&batch.stream.0.to_le_bytes());
    put_varint(out, batch.ingestion.as_millis());
    put_varint(out, first_sequence);
    put_varint(out, batch.events.len() as u64);
    for event in &batch.events {
        put_varint(out, event.timestamp.as_millis());
        put_varint(out, event.message.len() as u64);
        out.extend_from_slice(&event.message);
    }
    // Lossless: a batch is bounded by `Settings::batch_bytes`.
    let length = ((out.len() - start - FRAME_HEADER_BYTES) as u32).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), &out[start + FRAME_HEADER_BYTES..]).to_le_bytes();
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + 8].copy_from_slice(&checksum);
}

fn parse_batch(content: &[u8]) -> Option<(Batch, u64)> {
    let mut reader = Reader::new(content);
    let (group, stream) = (GroupId(reader.u128()?), StreamId(reader.u128()?));
    let ingestion = Timestamp::from_millis(reader.varint()?);
    let first_sequence = reader.varint()?;
    let count = reader.length()?;
    let mut events = Vec::new();
    for _ in 0..count {
        let timestamp = Timestamp::from_millis(reader.varint()?);
        let length = reader.length()?;
        let message = Bytes::copy_from_slice(content.get(reader.take(length)?)?);
        events.push(Entry { timestamp, message });
    }
    reader.is_at_end().then_some((Batch { group, stream, ingestion, events }, first_sequence))
}

/// What a journal held.
pub(crate) struct Replayed {
    pub(crate) journal: Journal,
    pub(crate) batches: Vec<(Batch, u64)>,
    pub(crate) first_sequence: u64,
    pub(crate) cut_bytes: u64,
}

/// Reads a journal, cuts off what is behind its last good frame and makes it ready for writing. `None` when it was never
/// finished being created: then it holds nothing.
pub(crate) fn replay(directory: &Path, id: u64) -> Result<Option<Replayed>, SegmentsError> {
    let path = files::path_of(directory, Kind::Journal, id);
    let io = |action| move |source| (action, source);
    let fail = |(action, source)| SegmentsError::io(action, &path, source);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io("open")).map_err(fail)?;
    let bytes = std::fs::read(&path).map_err(io("read")).map_err(fail)?;
    let Some((version, first_sequence)) = parse_header(&bytes, id) else {
        return if bytes.len() <= HEADER_BYTES {
            Ok(None)
        } else {
            Err(SegmentsError::damaged(&path, 0, "the journal's header differs from its checksum"))
        };
    };
    if version > FORMAT_VERSION {
        return Err(SegmentsError::Newer { path, found: version, known: FORMAT_VERSION });
    }
    let mut batches = Vec::new();
    let mut good = HEADER_BYTES;
    while let Some((content, end)) = parse_frame(&bytes, good) {
        let Some(batch) = parse_batch(content) else { break };
        batches.push(batch);
        good = end;
    }
    let cut_bytes = (bytes.len() - good) as u64;
    if cut_bytes > 0 {
        file.set_len(good as u64).and_then(|()| file.sync_all()).map_err(io("truncate")).map_err(fail)?;
    }
    let journal = Journal { id, path: path.clone(), file, length: good as u64 };
    Ok(Some(Replayed { journal, batches, first_sequence, cut_bytes }))
}

fn parse_header(bytes: &[u8], id: u64) -> Option<(u32, u64)> {
    let (content, checksum) = bytes.get(..HEADER_BYTES)?.split_at(HEADER_BYTES - 4);
    if !content.starts_with(MAGIC) || checksum != crc32c::crc32c(content).to_le_bytes() {
        return None;
    }
    let mut reader = Reader::new(&content[MAGIC.len()..]);
    let (version, own_id, first_sequence) = (reader.u32()?, reader.u64()?, reader.u64()?);
    (own_id == id).then_some((version, first_sequence))
}

fn parse_frame(bytes: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let header = bytes.get(start..start + FRAME_HEADER_BYTES)?;
    let mut reader = Reader::new(header);
    let (length, checksum) = (reader.u32()?, reader.u32()?);
    let end = start + FRAME_HEADER_BYTES + usize::try_from(length).ok()?;
    let content = bytes.get(start + FRAME_HEADER_BYTES..end)?;
    (crc32c::crc32c_append(crc32c::crc32c(&header[..4]), content) == checksum).then_some((content, end))
}
