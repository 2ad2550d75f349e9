//! The commit log's files: appended and synced by one thread at a time, removed when the engine has absorbed them.
//!
//! Segment `n` is `store/log/<n as 16 hex digits>`. A segment that is done with is kept as a spare and becomes a
//! later segment: its blocks
//! are allocated, so a sync need not touch the file system's own journal (about a third faster).

use std::{io, sync::Arc};

use crate::{
    Disk, DiskFile,
    disk::{join, read_all, remove_if_there},
    frame::{Damaged, Frame, read_segment},
};

/// Where the segments are.
pub(crate) const DIRECTORY: &str = "store/log";
/// Spares kept.
const SPARES_MAX: usize = 2;

/// The end of the log.
pub(crate) struct LogFile {
    disk: Arc<dyn Disk>,
    current: Option<Segment>,
    pub(crate) broken: Broken,
}

/// Whether the log can be appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It can.
    Not,
    /// An append failed and what it would have held is being rolled back.
    Now,
    /// A sync failed: nobody knows what is on disk.
    ForGood,
}

struct Segment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// Up to here everything is durable.
    end: u64,
}

/// How an append failed.
#[derive(Debug)]
pub(crate) enum AppendFailed {
    /// Nothing of it is in the log: later appends may succeed.
    Clean(io::Error),
    /// What is in the log is not known any more.
    Unknown(io::Error),
}

impl LogFile {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, current: None, broken: Broken::Not }
    }

    /// Appends a group of frames to segment `number` and makes it durable.
    pub(crate) fn append(&mut self, number: u64, bytes: &[u8]) -> Result<(), AppendFailed> {
        let segment = match self.current.take() {
            Some(segment) if segment.number == number => segment,
            _ => self.begin(number).map_err(AppendFailed::Clean)?,
        };
        let segment = self.current.insert(segment);
        let end = segment.end;
        if let Err(error) = segment.file.write_at(bytes, end) {
            return Err(self.cut(end, error));
        }
        segment.file.sync().map_err(AppendFailed::Unknown)?;
        segment.end += bytes.len() as u64;
        Ok(())
    }

    /// Takes back a part-written group.
    fn cut(&self, end: u64, error: io::Error) -> AppendFailed {
        let Some(segment) = &self.current else { return AppendFailed::Unknown(error) };
        match segment.file.set_length(end).and_then(|()| segment.file.sync()) {
            Ok(()) => AppendFailed::Clean(error),
            Err(_) => AppendFailed::Unknown(error),
        }
    }

    fn begin(&self, number: u64) -> io::Result<Segment> {
        let path = segment_path(number);
        let spare = self.disk.list(DIRECTORY)?.into_iter().find(|name| name.starts_with(SPARE));
        let file = match spare {
            Some(spare) => {
                self.disk.rename(&join(DIRECTORY, &spare), &path)?;
                self.disk.open(&path)?
            }
            None => match self.disk.create(&path) {
                // Left by an attempt that failed half-way.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&path)?,
                created => created?,
            },
        };
        self.disk.sync_dir(DIRECTORY)?;
        Ok(Segment { number, file, end: 0 })
    }
}

const SPARE: &str = "spare-";

fn segment_path(number: u64) -> String {
    join(DIRECTORY, &format!("{number:016x}"))
}

/// Does away with the segment: the engine holds what it holds.
pub(crate) fn retire(disk: &dyn Disk, number: u64) -> io::Result<()> {
    let spares = disk.list(DIRECTORY)?.iter().filter(|name| name.starts_with(SPARE)).count();
    let path = segment_path(number);
    if spares < SPARES_MAX {
        match disk.rename(&path, &join(DIRECTORY, &format!("{SPARE}{number:016x}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // a generation whose every commit was rolled back
            result => result,
        }
    } else {
        remove_if_there(disk, &path)
    }
}

/// Fills a spare ahead of need, `bytes` long.
pub(crate) fn prepare_spare(disk: &dyn Disk, bytes: usize) -> io::Result<()> {
    if disk.list(DIRECTORY)?.iter().any(|name| name.starts_with(SPARE)) {
        return Ok(());
    }
    let partial = join(DIRECTORY, "partial");
    remove_if_there(disk, &partial)?;
    let file = disk.create(&partial)?;
    let zeros = vec![0; 1 << 18];
    let mut written = 0;
    while written < bytes {
        file.write_at(&zeros, written as u64)?;
        written += zeros.len();
    }
    file.sync()?;
    disk.rename(&partial, &join(DIRECTORY, &format!("{SPARE}new")))
}

/// What could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadLog {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("the commit log is damaged: commit {0} is missing")]
    Missing(u64),
}

/// The commits after `checkpoint`, by segment. A torn tail is cut off, so that it can never be mistaken for anything
/// later.
pub(crate) fn replay(disk: &dyn Disk, checkpoint: u64) -> Result<Vec<(u64, Vec<Frame>)>, ReadLog> {
    let names = disk.list(DIRECTORY)?;
    let mut numbers: Vec<u64> =
        names.iter().filter(|name| name.len() == 16).filter_map(|name| u64::from_str_radix(name, 16).ok()).collect();
    numbers.sort_unstable();
    // Segments that the engine has absorbed may be there or not, in any selection: they were let go without a sync.
    // What lies beyond the
    // checkpoint must be without a gap.
    let (mut segments, mut next) = (Vec::new(), None);
    for (index, &number) in numbers.iter().enumerate() {
        let path = segment_path(number);
        let bytes = read_all(disk, &path)?;
        let (frames, end) = read_segment(number, &bytes, next, checkpoint + 1)?;
        if index + 1 == numbers.len() && end < bytes.len() && bytes[end..].iter().any(|byte| *byte != 0) {
            let file = disk.open(&path)?;
            file.set_length(end as u64)?;
            file.sync()?;
        }
        let beyond = frames.iter().find(|frame| frame.version > checkpoint);
        if next.is_none() && beyond.is_some_and(|frame| frame.version > checkpoint + 1) {
            return Err(ReadLog::Missing(checkpoint + 1));
        }
        if let Some(last) = frames.last().filter(|last| last.version >= checkpoint) {
            next = Some(last.version + 1);
        }
        segments.push((number, frames));
    }
    for (_, frames) in &mut segments {
        frames.retain(|frame| frame.version > checkpoint);
    }
    Ok(segments)
}
