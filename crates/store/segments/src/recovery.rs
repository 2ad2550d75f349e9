//! Opening: finds the segments by their trailers, removes what they replace, replays the journals.

use std::{fs, path::Path, sync::Arc};

use crate::{
    SegmentsError, Settings,
    files::{self, Kind},
    journal::{self, Journal},
    maintenance::SEAL_LEVEL,
    memtable::Memtable,
    segment::{Segment, SegmentWriter},
    shared::{Shared, State},
};

/// After each start sequence numbers leave a gap: a number that a reader saw on an event which a power cut took away is
/// never given to another event.
const SEQUENCE_GAP: u64 = 1 << 20;

/// What opening found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Events that were replayed from journals.
    pub replayed_events: u64,
    /// Bytes of a torn or damaged tail that were cut off a journal; none of them was acknowledged as synced unless the disk
    /// itself damaged them.
    pub cut_bytes: u64,
    /// Segments and journals that are damaged beyond use. Their files are kept, set aside under the extension `damaged`.
    pub damaged: Vec<SegmentsError>,
}

pub(crate) fn open(directory: &Path, settings: Settings) -> Result<(Shared, (Journal, u64), Recovery), SegmentsError> {
    fs::create_dir_all(directory).map_err(|source| SegmentsError::io("create", directory, source))?;
    let mut report = Recovery::default();
    let found = files::list(directory)?;
    let mut next_id = found.iter().map(|&(_, id)| id + 1).max().unwrap_or(1);
    let (mut segments, replaced) = open_segments(directory, &found, &mut report)?;
    for &(kind, id) in found.iter().filter(|(_, id)| replaced.contains(id)) {
        files::remove(&files::path_of(directory, kind, id))?;
    }
    segments.retain(|segment| !replaced.contains(&segment.id));
    files::sync_directory(directory)?;
    let mut next_sequence = segments.iter().map(|segment| segment.last_sequence + 1).max().unwrap_or(0);

    let journals = found.iter().filter(|(kind, id)| *kind == Kind::Journal && !replaced.contains(id));
    let mut active: Option<(Journal, Memtable)> = None;
    for &(_, id) in journals {
        let replayed = match journal::replay(directory, id) {
            Ok(Some(replayed)) => replayed,
            Ok(None) => {
                files::remove(&files::path_of(directory, Kind::Journal, id))?;
                continue;
            }
            Err(error) => {
                set_aside(directory, Kind::Journal, id, error, &mut report)?;
                continue;
            }
        };
        next_sequence = next_sequence.max(replayed.first_sequence);
        let memtable = Memtable::new(id);
        for (batch, first) in &replayed.batches {
            next_sequence = next_sequence.max(first + batch.events.len() as u64);
            report.replayed_events += batch.events.len() as u64;
        }
        memtable.insert(replayed.batches.into_iter());
        report.cut_bytes += replayed.cut_bytes;
        // Only the newest journal is written on; an older one was being sealed when the process ended.
        if let Some((_, older)) = active.replace((replayed.journal, memtable)) {
            let segment_id = next_id;
            next_id += 1;
            segments.extend(seal(directory, segment_id, &older, settings)?);
        }
    }
    if report.cut_bytes > 0 {
        tracing::warn!(bytes = report.cut_bytes, "a torn tail was cut off the journal of log events");
    }
    next_sequence += SEQUENCE_GAP;
    let (journal, memtable) = match active {
        Some(active) => active,
        None => {
            let id = next_id;
            next_id += 1;
            (Journal::create(directory, id, next_sequence)?, Memtable::new(id))
        }
    };
    segments.sort_by_key(|segment| segment.first_sequence);
    let segments = segments.into_iter().map(Arc::new).collect();
    let state = State { active: Arc::new(memtable), frozen: None, segments };
    Ok((Shared::new(directory.to_owned(), settings, state, next_id), (journal, next_sequence), report))
}

fn open_segments(
    directory: &Path,
    found: &[(Kind, u64)],
    report: &mut Recovery,
) -> Result<(Vec<Segment>, Vec<u64>), SegmentsError> {
    let (mut segments, mut replaced) = (Vec::new(), Vec::new());
    for &(_, id) in found.iter().filter(|(kind, _)| *kind == Kind::Segment) {
        match Segment::open(directory, id) {
            Ok((segment, replaces)) => {
                segments.push(segment);
                replaced.extend(replaces);
            }
            Err(error) => set_aside(directory, Kind::Segment, id, error, report)?,
        }
    }
    Ok((segments, replaced))
}

/// Renames a damaged file, so that it is kept but no longer in the way. Any other error is given back.
fn set_aside(
    directory: &Path,
    kind: Kind,
    id: u64,
    error: SegmentsError,
    report: &mut Recovery,
) -> Result<(), SegmentsError> {
    if !matches!(error, SegmentsError::Damaged { .. }) {
        return Err(error);
    }
    tracing::error!(%error, "a file of log events is damaged and set aside");
    let path = files::path_of(directory, kind, id);
    fs::rename(&path, path.with_extension("damaged"))
        .map_err(|source| SegmentsError::io("set aside", &path, source))?;
    report.damaged.push(error);
    Ok(())
}

fn seal(directory: &Path, id: u64, memtable: &Memtable, settings: Settings) -> Result<Option<Segment>, SegmentsError> {
    let mut writer = SegmentWriter::create(directory, id, settings.block_bytes, SEAL_LEVEL)?;
    memtable.for_each(|group, event| writer.push(group, event))?;
    let segment = writer.finish(&[memtable.journal_id])?;
    files::remove(&files::path_of(directory, Kind::Journal, memtable.journal_id))?;
    files::sync_directory(directory)?;
    Ok(segment)
}
