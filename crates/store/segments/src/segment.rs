//! A segment: blocks, sorted by group and position, an index over them, and a trailer. Written once, then immutable.
//!
//! The index has fixed-size entries, so it is searched on disk: an open segment holds no more in memory than its trailer.
//! The trailer names the files that the segment replaces: they are removed when it is there, also after a crash.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use zstd::bulk::{Compressor, Decompressor};

use crate::{
    SegmentsError,
    block::{BLOCK_BYTES_MAX, Block, BlockBuilder, BlockSummary},
    codec::Reader,
    files::{self, FORMAT_VERSION, Kind},
    types::{Event, GroupId, Position},
};

const MAGIC: &[u8; 8] = b"PILEUSG\0";
const ENTRY_BYTES: usize = 96;
const TRAILER_BYTES: usize = 80;

/// One block in the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexEntry {
    pub(crate) group: GroupId,
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) text_bytes: u32,
    pub(crate) count: u32,
    pub(crate) checksum: u32,
    pub(crate) bloom: u128,
}

impl IndexEntry {
    fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.group.0.to_le_bytes());
        for number in [self.first.timestamp, self.first.sequence, self.last.timestamp, self.last.sequence, self.offset]
        {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.length, self.raw_bytes, self.text_bytes, self.count, self.checksum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.bloom.to_le_bytes());
        let checksum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    fn parse(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let content = &bytes[..ENTRY_BYTES - 4];
        let mut reader = Reader::new(bytes);
        let entry = Self {
            group: GroupId(reader.u128()?),
            first: Position { timestamp: reader.u64()?, sequence: reader.u64()? },
            last: Position { timestamp: reader.u64()?, sequence: reader.u64()? },
            offset: reader.u64()?,
            length: reader.u32()?,
            raw_bytes: reader.u32()?,
            text_bytes: reader.u32()?,
            count: reader.u32()?,
            checksum: reader.u32()?,
            bloom: reader.u128()?,
        };
        (reader.u32()? == crc32c::crc32c(content)).then_some(entry)
    }
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    pub(crate) entry_count: usize,
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) first_timestamp: u64,
    pub(crate) last_timestamp: u64,
    /// The file's size.
    pub(crate) bytes: u64,
    file: File,
    index_offset: u64,
    damaged: AtomicBool,
}

impl Segment {
    /// Opens a segment by its trailer; also tells which files it replaces.
    pub(crate) fn open(directory: &Path, id: u64) -> Result<(Self, Vec<u64>), SegmentsError> {
        let path = files::path_of(directory, Kind::Segment, id);
        let io = |source| SegmentsError::io("open", &path, source);
        let file = File::open(&path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let damaged = |what| SegmentsError::damaged(&path, bytes, what);
        let trailer_offset = bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| damaged("no room for a trailer"))?;
        let mut trailer = [0; TRAILER_BYTES];
        file.read_exact_at(&mut trailer, trailer_offset).map_err(io)?;
        let trailer = Trailer::parse(&trailer).ok_or_else(|| damaged("the trailer's checksum differs"))?;
        if trailer.version > FORMAT_VERSION {
            return Err(SegmentsError::Newer { path, found: trailer.version, known: FORMAT_VERSION });
        }
        let entry_count = trailer.entry_count as usize;
        let replaced_offset = trailer
            .index_offset
            .checked_add(entry_count as u64 * ENTRY_BYTES as u64)
            .filter(|offset| offset.checked_add(u64::from(trailer.replaced_count) * 8) == Some(trailer_offset))
            .filter(|_| trailer.id == id)
            .ok_or_else(|| damaged("the trailer does not fit the file"))?;
        let mut replaced = vec![0; trailer.replaced_count as usize * 8];
        file.read_exact_at(&mut replaced, replaced_offset).map_err(io)?;
        if crc32c::crc32c(&replaced) != trailer.replaced_checksum {
            return Err(damaged("the list of replaced files differs from its checksum"));
        }
        let mut reader = Reader::new(&replaced);
        let replaced = std::iter::from_fn(|| reader.u64()).collect();
        let segment = Self {
            id,
            entry_count,
            first_sequence: trailer.first_sequence,
            last_sequence: trailer.last_sequence,
            first_timestamp: trailer.first_timestamp,
            last_timestamp: trailer.last_timestamp,
            bytes,
            file,
            index_offset: trailer.index_offset,
            damaged: AtomicBool::new(false),
            path,
        };
        Ok((segment, replaced))
    }

    /// Whether damage was met when reading it: such a segment is left as it is.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn damaged(&self, offset: u64, what: &'static str) -> SegmentsError {
        self.damaged.store(true, Ordering::Relaxed);
        SegmentsError::damaged(&self.path, offset, what)
    }

    pub(crate) fn entry(&self, index: usize) -> Result<IndexEntry, SegmentsError> {
        let offset = self.index_offset + (index * ENTRY_BYTES) as u64;
        let mut bytes = [0; ENTRY_BYTES];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| SegmentsError::io("read the index of", &self.path, source))?;
        IndexEntry::parse(&bytes).ok_or_else(|| self.damaged(offset, "an index entry differs from its checksum"))
    }

    /// The first entry for which `before` is false; entries for which it is true come first.
    pub(crate) fn partition_point(&self, before: impl Fn(&IndexEntry) -> bool) -> Result<usize, SegmentsError> {
        let (mut low, mut high) = (0, self.entry_count);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.entry(middle)?) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// A block's bytes as they are on disk.
    pub(crate) fn compressed(&self, entry: &IndexEntry) -> Result<Vec<u8>, SegmentsError> {
        let damaged = |what| self.damaged(entry.offset, what);
        if entry.length as usize > BLOCK_BYTES_MAX {
            return Err(damaged("a block is too large"));
        }
        let mut compressed = vec![0; entry.length as usize];
        self.file
            .read_exact_at(&mut compressed, entry.offset)
            .map_err(|source| SegmentsError::io("read", &self.path, source))?;
        if crc32c::crc32c(&compressed) == entry.checksum {
            Ok(compressed)
        } else {
            Err(damaged("a block differs from its checksum"))
        }
    }

    pub(crate) fn block(&self, entry: &IndexEntry, zstd: &mut Decompressor<'_>) -> Result<Block, SegmentsError> {
        let damaged = |what| self.damaged(entry.offset, what);
        if entry.raw_bytes as usize > BLOCK_BYTES_MAX {
            return Err(damaged("a block is too large"));
        }
        let raw = zstd
            .decompress(&self.compressed(entry)?, entry.raw_bytes as usize)
            .map_err(|_| damaged("a block does not decompress"))?;
        Block::parse(raw)
            .filter(|block| block.len() == entry.count as usize)
            .ok_or_else(|| damaged("a block's content is not well formed"))
    }
}

struct Trailer {
    version: u32,
    id: u64,
    index_offset: u64,
    entry_count: u32,
    replaced_count: u32,
    replaced_checksum: u32,
    first_sequence: u64,
    last_sequence: u64,
    first_timestamp: u64,
    last_timestamp: u64,
}

impl Trailer {
    fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.index_offset.to_le_bytes());
        for number in [self.entry_count, self.replaced_count, self.replaced_checksum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.first_sequence, self.last_sequence, self.first_timestamp, self.last_timestamp] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        // Room for what a later format may add; the checksum is last.
        out.resize(start + TRAILER_BYTES - 4, 0);
        let checksum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    fn parse(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        let (content, checksum) = bytes.split_at(TRAILER_BYTES - 4);
        if !content.starts_with(MAGIC) || checksum != crc32c::crc32c(content).to_le_bytes() {
            return None;
        }
        let mut reader = Reader::new(&content[MAGIC.len()..]);
        Some(Self {
            version: reader.u32()?,
            id: reader.u64()?,
            index_offset: reader.u64()?,
            entry_count: reader.u32()?,
            replaced_count: reader.u32()?,
            replaced_checksum: reader.u32()?,
            first_sequence: reader.u64()?,
            last_sequence: reader.u64()?,
            first_timestamp: reader.u64()?,
            last_timestamp: reader.u64()?,
        })
    }
}

/// Writes a segment under a temporary name; it gets its own name when it is complete and on disk.
pub(crate) struct SegmentWriter<'d> {
    directory: &'d Path,
    id: u64,
    temporary: PathBuf,
    file: BufWriter<File>,
    offset: u64,
    builder: BlockBuilder,
    builder_group: Option<GroupId>,
    block_bytes: usize,
    zstd: Compressor<'static>,
    index: Vec<u8>,
    trailer: Trailer,
    finished: bool,
}

impl<'d> SegmentWriter<'d> {
    pub(crate) fn create(directory: &'d Path, id: u64, block_bytes: usize, level: i32) -> Result<Self, SegmentsError> {
        let temporary = files::temporary_path_of(directory, id);
        let io = |source| SegmentsError::io("create", &temporary, source);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary).map_err(io)?;
        let trailer = Trailer {
            version: FORMAT_VERSION,
            id,
            index_offset: 0,
            entry_count: 0,
            replaced_count: 0,
            replaced_checksum: 0,
            first_sequence: u64::MAX,
            last_sequence: 0,
            first_timestamp: u64::MAX,
            last_timestamp: 0,
        };
        Ok(Self {
            directory,
            id,
            file: BufWriter::with_capacity(1 << 16, file),
            offset: 0,
            builder: BlockBuilder::default(),
            builder_group: None,
            block_bytes,
            zstd: Compressor::new(level).map_err(io)?,
            index: Vec::new(),
            trailer,
            finished: false,
            temporary,
        })
    }

    /// Adds an event; they come ordered by group and position.
    pub(crate) fn push(&mut self, group: GroupId, event: &Event) -> Result<(), SegmentsError> {
        if self.builder_group != Some(group) || self.builder.bytes() >= self.block_bytes {
            self.flush_block()?;
            self.builder_group = Some(group);
        }
        self.builder.push(event);
        self.trailer.first_sequence = self.trailer.first_sequence.min(event.position.sequence);
        self.trailer.last_sequence = self.trailer.last_sequence.max(event.position.sequence);
        Ok(())
    }

    /// Adds a whole block of another segment as it is. `sequences` is that segment's range.
    pub(crate) fn copy_block(
        &mut self,
        entry: &IndexEntry,
        compressed: &[u8],
        sequences: (u64, u64),
    ) -> Result<(), SegmentsError> {
        self.flush_block()?;
        self.trailer.first_sequence = self.trailer.first_sequence.min(sequences.0);
        self.trailer.last_sequence = self.trailer.last_sequence.max(sequences.1);
        self.put_block(*entry, compressed)
    }

    fn flush_block(&mut self) -> Result<(), SegmentsError> {
        let Some((raw, summary)) = self.builder.finish() else { return Ok(()) };
        let compressed = self.zstd.compress(&raw).map_err(|source| self.io("compress for", source))?;
        let BlockSummary { first, last, count, text_bytes, bloom } = summary;
        let group = self.builder_group.unwrap_or(GroupId(0));
        let (length, raw_bytes) = (compressed.len() as u32, raw.len() as u32);
        let checksum = crc32c::crc32c(&compressed);
        let entry = IndexEntry { group, first, last, offset: 0, length, raw_bytes, text_bytes, count, checksum, bloom };
        self.put_block(entry, &compressed)
    }

    fn put_block(&mut self, entry: IndexEntry, compressed: &[u8]) -> Result<(), SegmentsError> {
        self.file.write_all(compressed).map_err(|source| self.io("write", source))?;
        IndexEntry { offset: self.offset, ..entry }.put(&mut self.index);
        self.offset += compressed.len() as u64;
        self.trailer.entry_count += 1;
        self.trailer.first_timestamp = self.trailer.first_timestamp.min(entry.first.timestamp);
        self.trailer.last_timestamp = self.trailer.last_timestamp.max(entry.last.timestamp);
        Ok(())
    }

    /// Completes the segment, which from then on replaces the files with the given numbers. `None` when nothing was added:
    /// then no file is left.
    pub(crate) fn finish(mut self, replaced: &[u64]) -> Result<Option<Segment>, SegmentsError> {
        self.flush_block()?;
        if self.trailer.entry_count == 0 {
            return Ok(None);
        }
        let mut tail = std::mem::take(&mut self.index);
        let replaced_start = tail.len();
        for id in replaced {
            tail.extend_from_slice(&id.to_le_bytes());
        }
        self.trailer.index_offset = self.offset;
        self.trailer.replaced_count = replaced.len() as u32;
        self.trailer.replaced_checksum = crc32c::crc32c(&tail[replaced_start..]);
        self.trailer.put(&mut tail);
        let written =
            self.file.write_all(&tail).and_then(|()| self.file.flush()).and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|source| self.io("write", source))?;
        let path = files::path_of(self.directory, Kind::Segment, self.id);
        std::fs::rename(&self.temporary, path).map_err(|source| self.io("rename", source))?;
        self.finished = true;
        files::sync_directory(self.directory)?;
        Segment::open(self.directory, self.id).map(|(segment, _)| Some(segment))
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> SegmentsError {
        SegmentsError::io(action, &self.temporary, source)
    }
}

impl Drop for SegmentWriter<'_> {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = files::remove(&self.temporary)
        {
            // The next start removes it.
            tracing::warn!(%error, "an unfinished log segment stays behind");
        }
    }
}
