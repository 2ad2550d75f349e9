//! The maintenance thread: seals memtables into segments, merges segments, frees what is dead.
//!
//! Each step writes a new segment completely, then removes what it replaces. A file that could not be removed is named as
//! replaced by every later segment too, so that it never comes back.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use zstd::bulk::Decompressor;

use crate::{
    SegmentsError,
    block::{Block, stream_bits},
    files::{self, Kind},
    memtable::Memtable,
    segment::{IndexEntry, Segment, SegmentWriter},
    shared::Shared,
    types::{GroupId, Position, Reclaim, Reclaimed},
};

/// A failed step is tried again after this time.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Fast for what is sealed on the way, thorough for what is merged in the background.
pub(crate) const SEAL_LEVEL: i32 = 1;
const MERGE_LEVEL: i32 = 3;

pub(crate) enum Task {
    Seal,
    Reclaim { reclaim: Reclaim, reply: oneshot::Sender<Result<Reclaimed, SegmentsError>> },
}

pub(crate) fn run(shared: &Shared, tasks: &Receiver<Task>) {
    let mut pending = Vec::new();
    loop {
        let task = if shared.snapshot().frozen.is_some() {
            tasks.recv_timeout(RETRY_DELAY)
        } else {
            tasks.recv().map_err(RecvTimeoutError::from)
        };
        match task {
            Ok(Task::Seal) | Err(RecvTimeoutError::Timeout) => seal_and_merge(shared, &mut pending),
            Ok(Task::Reclaim { reply, .. }) if shared.are_files_held() => {
                drop(reply.send(Err(SegmentsError::Held)));
            }
            Ok(Task::Reclaim { reclaim, reply }) => {
                if shared.snapshot().frozen.is_some() {
                    seal_and_merge(shared, &mut pending);
                }
                drop(reply.send(run_reclaim(shared, &mut pending, &reclaim)));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Seals what is frozen and tells the writer; whether it succeeded.
fn seal_and_tell(shared: &Shared, pending: &mut Vec<(Kind, u64)>) -> bool {
    let failure = seal(shared, pending).err();
    if let Some(error) = &failure {
        tracing::error!(%error, "log events could not be sealed into a segment; trying again");
    }
    let succeeded = failure.is_none();
    shared.sealed(failure);
    succeeded
}

/// Between two steps of long work: the writer must not wait for it.
fn give_way(shared: &Shared, pending: &mut Vec<(Kind, u64)>) -> Result<(), SegmentsError> {
    if shared.is_closing() {
        return Err(SegmentsError::Closed);
    }
    if shared.snapshot().frozen.is_some() {
        seal_and_tell(shared, pending);
    }
    Ok(())
}

fn seal_and_merge(shared: &Shared, pending: &mut Vec<(Kind, u64)>) {
    if !seal_and_tell(shared, pending) {
        return;
    }
    if !pending.is_empty() {
        remove_replaced(shared, pending);
    }
    while !shared.is_closing() {
        match merge_once(shared, pending) {
            Ok(true) => {}
            Ok(false) => return,
            Err(SegmentsError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "log segments could not be merged; they stay as they are");
                return;
            }
        }
    }
}

fn seal(shared: &Shared, pending: &mut Vec<(Kind, u64)>) -> Result<(), SegmentsError> {
    let Some(frozen) = shared.snapshot().frozen.clone() else { return Ok(()) };
    let segment = write_memtable(shared, &frozen, pending)?;
    shared.update(|state| {
        state.segments.extend(segment.map(Arc::new));
        state.frozen = None;
    });
    pending.push((Kind::Journal, frozen.journal_id));
    remove_replaced(shared, pending);
    Ok(())
}

fn write_memtable(
    shared: &Shared,
    memtable: &Memtable,
    pending: &[(Kind, u64)],
) -> Result<Option<Segment>, SegmentsError> {
    let mut writer =
        SegmentWriter::create(&shared.directory, shared.next_id(), shared.settings.block_bytes, SEAL_LEVEL)?;
    memtable.for_each(|group, event| writer.push(group, event))?;
    let replaced: Vec<u64> = pending.iter().map(|&(_, id)| id).chain([memtable.journal_id]).collect();
    writer.finish(&replaced)
}

/// Removes what is replaced. What cannot be removed now stays on the list.
fn remove_replaced(shared: &Shared, pending: &mut Vec<(Kind, u64)>) {
    let removed = shared.unless_held(|| {
        pending.iter().try_for_each(|&(kind, id)| files::remove(&files::path_of(&shared.directory, kind, id)))?;
        // A removal must not be undone by a power cut after its replacement is replaced in turn.
        files::sync_directory(&shared.directory)
    });
    match removed {
        Some(Ok(())) => pending.clear(),
        Some(Err(error)) => tracing::warn!(%error, "replaced files of log events stay behind for now"),
        None => {}
    }
}

/// Merges one run of neighbours of like size, if there is one.
fn merge_once(shared: &Shared, pending: &mut Vec<(Kind, u64)>) -> Result<bool, SegmentsError> {
    let segments = shared.snapshot().segments.clone();
    let count = shared.settings.merge_count.max(2);
    let tier = |segment: &Arc<Segment>| segment.bytes.max(1).ilog2() / 3;
    let small = |segment: &Arc<Segment>| segment.bytes < shared.settings.segment_bytes_max && !segment.is_damaged();
    let run = segments.windows(count).find(|run| {
        run.iter().all(small)
            && run.iter().map(tier).max().unwrap_or(0) <= run.iter().map(tier).min().unwrap_or(0) + 1
            && run.iter().map(|segment| segment.bytes).sum::<u64>() <= shared.settings.segment_bytes_max * 2
    });
    let Some(run) = run else { return Ok(false) };
    let merged = merge(shared, run, pending)?;
    replace(shared, run, merged, pending);
    Ok(true)
}

/// Puts `new` in the place of `old`, for readers and on disk.
fn replace(shared: &Shared, old: &[Arc<Segment>], new: Option<Segment>, pending: &mut Vec<(Kind, u64)>) {
    let is_old = |segment: &Arc<Segment>| old.iter().any(|old| old.id == segment.id);
    shared.update(|state| {
        let at = state.segments.iter().position(is_old).unwrap_or(state.segments.len());
        state.segments.retain(|segment| !is_old(segment));
        state.segments.splice(at..at, new.map(Arc::new));
    });
    pending.extend(old.iter().map(|segment| (Kind::Segment, segment.id)));
    remove_replaced(shared, pending);
}

/// Reads one segment from its beginning to its end.
struct Cursor<'s> {
    segment: &'s Segment,
    next_entry: usize,
    group: GroupId,
    block: Option<Block>,
    row: usize,
}

impl<'s> Cursor<'s> {
    fn new(segment: &'s Segment, zstd: &mut Decompressor<'_>) -> Result<Self, SegmentsError> {
        let mut cursor = Self { segment, next_entry: 0, group: GroupId(0), block: None, row: 0 };
        cursor.load(zstd)?;
        Ok(cursor)
    }

    fn key(&self) -> Option<(GroupId, Position)> {
        Some((self.group, self.block.as_ref()?.position(self.row)?))
    }

    fn advance(&mut self, zstd: &mut Decompressor<'_>) -> Result<(), SegmentsError> {
        self.row += 1;
        if self.key().is_none() { self.load(zstd) } else { Ok(()) }
    }

    fn load(&mut self, zstd: &mut Decompressor<'_>) -> Result<(), SegmentsError> {
        (self.block, self.row) = (None, 0);
        while self.block.is_none() && self.next_entry < self.segment.entry_count {
            let entry = self.segment.entry(self.next_entry)?;
            self.next_entry += 1;
            self.group = entry.group;
            self.block = Some(self.segment.block(&entry, zstd)?).filter(|block| block.len() > 0);
        }
        Ok(())
    }
}

fn merge(
    shared: &Shared,
    run: &[Arc<Segment>],
    pending: &mut Vec<(Kind, u64)>,
) -> Result<Option<Segment>, SegmentsError> {
    let mut zstd = decompressor(shared)?;
    let mut writer =
        SegmentWriter::create(&shared.directory, shared.next_id(), shared.settings.block_bytes, MERGE_LEVEL)?;
    let mut cursors = Vec::with_capacity(run.len());
    for segment in run {
        cursors.push(Cursor::new(segment, &mut zstd)?);
    }
    while let Some(cursor) =
        cursors.iter_mut().filter(|cursor| cursor.key().is_some()).min_by_key(|cursor| cursor.key())
    {
        if let Some(event) = cursor.block.as_ref().and_then(|block| block.event(cursor.row)) {
            writer.push(cursor.group, &event)?;
        }
        cursor.advance(&mut zstd)?;
        if cursor.row == 0 {
            give_way(shared, pending)?;
        }
    }
    let replaced = pending.iter().map(|&(_, id)| id).chain(run.iter().map(|segment| segment.id));
    writer.finish(&replaced.collect::<Vec<_>>())
}

fn decompressor(shared: &Shared) -> Result<Decompressor<'static>, SegmentsError> {
    Decompressor::new().map_err(|source| SegmentsError::io("decompress in", &shared.directory, source))
}

/// What becomes of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Its events are past their cut-off: it need not go at once.
    Expired,
    /// It belongs to a group that is gone.
    Dead,
    /// Some of its events may belong to streams that are gone.
    Mixed,
}

fn fate(entry: &IndexEntry, reclaim: &Reclaim) -> Fate {
    if reclaim.groups.contains(&entry.group) {
        return Fate::Dead;
    }
    if reclaim.cutoffs.get(&entry.group).is_some_and(|cutoff| entry.last.timestamp < cutoff.as_millis()) {
        return Fate::Expired;
    }
    let touched = reclaim.streams.iter().any(|(&stream, &group)| {
        let bits = stream_bits(stream);
        group == entry.group && entry.bloom & bits == bits
    });
    if touched { Fate::Mixed } else { Fate::Kept }
}

fn run_reclaim(shared: &Shared, pending: &mut Vec<(Kind, u64)>, reclaim: &Reclaim) -> Result<Reclaimed, SegmentsError> {
    let mut reclaimed = Reclaimed::default();
    for segment in shared.snapshot().segments.clone() {
        match reclaim_segment(shared, pending, reclaim, &segment, &mut reclaimed) {
            Err(error @ SegmentsError::Damaged { .. }) => {
                tracing::error!(%error, "a log segment keeps its dead events because it is damaged");
            }
            outcome => outcome?,
        }
    }
    Ok(reclaimed)
}

fn reclaim_segment(
    shared: &Shared,
    pending: &mut Vec<(Kind, u64)>,
    reclaim: &Reclaim,
    segment: &Arc<Segment>,
    reclaimed: &mut Reclaimed,
) -> Result<(), SegmentsError> {
    let (mut expired_bytes, mut kept_count, mut must_rewrite) = (0, 0, false);
    for index in 0..segment.entry_count {
        let entry = segment.entry(index)?;
        match fate(&entry, reclaim) {
            Fate::Kept => kept_count += 1,
            Fate::Expired => expired_bytes += u64::from(entry.length),
            Fate::Dead => must_rewrite = true,
            Fate::Mixed => (kept_count, must_rewrite) = (kept_count + 1, true),
        }
    }
    if kept_count == 0 {
        replace(shared, std::slice::from_ref(segment), None, pending);
        reclaimed.dropped_count += 1;
        reclaimed.freed_bytes += segment.bytes;
    } else if must_rewrite || expired_bytes * 2 >= segment.bytes {
        let rewritten = rewrite(shared, segment, reclaim, pending)?;
        let bytes = rewritten.as_ref().map_or(0, |rewritten| rewritten.bytes);
        replace(shared, std::slice::from_ref(segment), rewritten, pending);
        reclaimed.rewritten_count += 1;
        reclaimed.freed_bytes += segment.bytes.saturating_sub(bytes);
    }
    Ok(())
}

/// The segment without what is dead. Untouched blocks are copied as they are.
fn rewrite(
    shared: &Shared,
    segment: &Segment,
    reclaim: &Reclaim,
    pending: &mut Vec<(Kind, u64)>,
) -> Result<Option<Segment>, SegmentsError> {
    let mut zstd = decompressor(shared)?;
    let mut writer =
        SegmentWriter::create(&shared.directory, shared.next_id(), shared.settings.block_bytes, MERGE_LEVEL)?;
    let sequences = (segment.first_sequence, segment.last_sequence);
    for index in 0..segment.entry_count {
        give_way(shared, pending)?;
        let entry = segment.entry(index)?;
        match fate(&entry, reclaim) {
            Fate::Kept => writer.copy_block(&entry, &segment.compressed(&entry)?, sequences)?,
            Fate::Expired | Fate::Dead => {}
            Fate::Mixed => {
                let block = segment.block(&entry, &mut zstd)?;
                let events = (0..block.len()).filter_map(|row| block.event(row));
                for event in events.filter(|event| !reclaim.streams.contains_key(&event.stream)) {
                    writer.push(entry.group, &event)?;
                }
            }
        }
    }
    let replaced: Vec<u64> = pending.iter().map(|&(_, id)| id).chain([segment.id]).collect();
    writer.finish(&replaced)
}
