//! One checksummed file that holds a consistent copy of the store, taken while it runs.
//!
//! The file: a magic, then frames (kind, length, CRC-32C, bytes), the last of which counts the others and carries the
//! SHA-256 of
//! everything before it. A file that is cut short or changed anywhere is refused before the target is made.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use store_api::{Direction, Family, KeyRange, Read as Reading, Reader as _};

use crate::{
    DataDir, EmbeddedStore, OpenError, Options, RealDisk,
    checkpoint::{book, booked, books},
    engine::{Engine, LsmEngine, TreeEngine},
    options::EngineKind,
    reader::CommittedReader,
};

const MAGIC: &[u8; 16] = b"pileus backup 1\n";
/// Bytes of entries or of a file in one frame.
const FRAME_BYTES: usize = 256 << 10;
const FRAME_BYTES_MAX: usize = 16 << 20;

const ENTRIES: u8 = 1;
const FILE_BEGINS: u8 = 2;
const FILE_BYTES: u8 = 3;
const HEAD: u8 = 4;
const END: u8 = 9;

/// Why a backup could not be written, or not be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The backup file could not be read or written.
    #[error("the backup file failed: {0}")]
    File(#[source] io::Error),
    /// It is no backup, or damaged.
    #[error("this is not an intact backup: {0}")]
    Damaged(&'static str),
    /// The store failed.
    #[error("the store failed: {0:?}")]
    Store(Fault),
    /// The target could not be made.
    #[error(transparent)]
    Target(#[from] OpenError),
    /// The target is there already.
    #[error("`{}` is there already: restore into a new directory", .0.display())]
    TargetExists(PathBuf),
    /// The target could not be written.
    #[error("`{}` could not be written: {error}", .path.display())]
    TargetFailed {
        /// The target.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl From<Fault> for BackupError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault)
    }
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupSummary {
    /// Entries of the key space.
    pub entries: u64,
    /// Blobs and other files.
    pub files: u64,
    /// The last commit that is in it.
    pub version: u64,
}

impl EmbeddedStore {
    /// Writes a consistent copy of the store and its blobs to `writer`, and the files below each of the directories
    /// `others` (relative
    /// to the data directory: `segments`, `code`) as they are found. Blocks for as long as the copying takes; the
    /// store goes on
    /// meanwhile, except that no blob is removed.
    ///
    /// # Errors
    /// When the store or `writer` fails.
    pub fn backup(
        &self,
        directory: &DataDir,
        others: &[&str],
        writer: impl Write,
    ) -> Result<BackupSummary, BackupError> {
        let core = self.core();
        let hold = self.file_blobs().hold();
        let (state, version) = core.open_view();
        let reader = CommittedReader::view(state, version, core.epoch);
        let mut out = Out { writer, sum: Sha256::new(), frames: 0 };
        let mut summary = BackupSummary { version, ..BackupSummary::default() };
        let written = (|| {
            out.begin()?;
            let head = [version, u64::from(core.epoch), core.env.now().as_millis()];
            out.frame(HEAD, &head.map(u64::to_le_bytes).concat())?;
            summary.entries = entries(&reader, &mut out)?;
            for directory_name in std::iter::once("blobs").chain(others.iter().copied()) {
                summary.files += files(directory.path(), Path::new(directory_name), &mut out)?;
            }
            out.end()
        })();
        core.close_view(version);
        drop(hold);
        written.map(|()| summary)
    }
}

fn entries<W: Write>(reader: &CommittedReader, out: &mut Out<W>) -> Result<u64, BackupError> {
    let (mut count, mut frame) = (0, Vec::with_capacity(FRAME_BYTES));
    for family in Family::ALL {
        for entry in reader.scan(&KeyRange::family(family), Direction::Forward, Reading::Snapshot, usize::MAX) {
            let (key, value) = entry?;
            if !frame.is_empty() && frame.len() + key.len() + value.len() > FRAME_BYTES {
                out.frame(ENTRIES, &frame)?;
                frame.clear();
            }
            for part in [&key, &value] {
                frame.extend_from_slice(&(part.len() as u32).to_le_bytes());
                frame.extend_from_slice(part);
            }
            count += 1;
        }
    }
    if !frame.is_empty() {
        out.frame(ENTRIES, &frame)?;
    }
    Ok(count)
}

/// The files below `relative`, as long as each was when it was opened.
fn files<W: Write>(root: &Path, relative: &Path, out: &mut Out<W>) -> Result<u64, BackupError> {
    let listed = match fs::read_dir(root.join(relative)) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(BackupError::File(error)),
    };
    let mut count = 0;
    for found in listed {
        let found = found.map_err(BackupError::File)?;
        let path = relative.join(found.file_name());
        let kind = found.file_type().map_err(BackupError::File)?;
        if kind.is_dir() {
            count += files(root, &path, out)?;
        } else if kind.is_file() && path.extension().is_none_or(|extension| extension != "partial") {
            let mut file = match File::open(root.join(&path)) {
                Ok(file) => file.take(found.metadata().map_err(BackupError::File)?.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // retention took it meanwhile
                Err(error) => return Err(BackupError::File(error)),
            };
            out.frame(FILE_BEGINS, path.as_os_str().as_encoded_bytes())?;
            let mut chunk = vec![0; FRAME_BYTES];
            loop {
                let read = file.read(&mut chunk).map_err(BackupError::File)?;
                if read == 0 {
                    break;
                }
                out.frame(FILE_BYTES, &chunk[..read])?;
            }
            count += 1;
        }
    }
    Ok(count)
}

struct Out<W> {
    writer: W,
    sum: Sha256,
    frames: u64,
}

impl<W: Write> Out<W> {
    fn begin(&mut self) -> Result<(), BackupError> {
        self.put(MAGIC)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.sum.update(bytes);
        self.writer.write_all(bytes).map_err(BackupError::File)
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> Result<(), BackupError> {
        let mut head = [0; 9];
        head[0] = kind;
        head[1..5].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        head[5..9].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
        self.frames += 1;
        self.put(&head)?;
        self.put(bytes)
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let mut last = self.frames.to_le_bytes().to_vec();
        last.extend_from_slice(&self.sum.clone().finalize());
        self.frame(END, &last)?;
        self.writer.flush().map_err(BackupError::File)
    }
}

/// Restores a backup into `target`, which must not exist, in a new epoch. The file is read twice: first to the end,
/// to see that it is intact.
///
/// # Errors
/// When the backup is not intact or cannot be read, or the target is there or cannot be written; then no target is
/// left.
pub fn restore(
    mut backup: impl Read + io::Seek,
    target: &Path,
    options: &Options,
) -> Result<BackupSummary, BackupError> {
    if target.exists() && fs::read_dir(target).map_or(true, |mut found| found.next().is_some()) {
        return Err(BackupError::TargetExists(target.to_owned()));
    }
    let start = backup.stream_position().map_err(BackupError::File)?;
    read_frames(io::BufReader::new(&mut backup), |_, _| Ok(()))?;
    backup.seek(io::SeekFrom::Start(start)).map_err(BackupError::File)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let partial = target.with_file_name(name);
    let failed = |error| BackupError::TargetFailed { path: target.to_owned(), error };
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    let restored = fill(io::BufReader::new(&mut backup), &partial, options);
    let placed = restored.and_then(|summary| {
        if target.exists() {
            fs::remove_dir(target).map_err(failed)?;
        }
        fs::rename(&partial, target).map_err(failed)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        Ok(summary)
    });
    if placed.is_err() && partial.exists() {
        // The cause matters more than what is left of the attempt.
        let _left = fs::remove_dir_all(&partial);
    }
    placed
}

fn fill(backup: impl Read, partial: &Path, options: &Options) -> Result<BackupSummary, BackupError> {
    let failed = |error| BackupError::TargetFailed { path: partial.to_owned(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(partial).map_err(failed)?;
    let directory = DataDir::open(partial, options)?;
    directory.subdirectory("store/log")?;
    directory.subdirectory("blobs")?;
    let mut engine: Box<dyn Engine> = match options.engine {
        EngineKind::Tree => Box::new(TreeEngine::open(Arc::new(RealDisk::new(partial)), options.engine_cache_bytes)?),
        EngineKind::Lsm => Box::new(LsmEngine::open(partial, options.engine_cache_bytes)?),
    };
    let mut summary = BackupSummary::default();
    let mut file: Option<File> = None;
    read_frames(backup, |kind, bytes| {
        match kind {
            HEAD => {
                let numbers =
                    bytes.chunks_exact(8).map(|n| n.try_into().map_or(0, u64::from_le_bytes)).collect::<Vec<_>>();
                let [version, epoch, clock] = numbers[..] else {
                    return Err(BackupError::Damaged("its head is not known"));
                };
                summary.version = version;
                // In key order, as every batch must be.
                engine.write(&[
                    booked(books::EPOCH, epoch + 1),
                    booked(books::CLOCK, clock),
                    booked(books::CHECKPOINT, version),
                ])?;
            }
            ENTRIES => {
                let batch = parse_entries(bytes).ok_or(BackupError::Damaged("an entry is not whole"))?;
                summary.entries += batch.len() as u64;
                engine.write(&batch)?;
            }
            FILE_BEGINS => {
                finish(file.take()).map_err(failed)?;
                summary.files += 1;
                file = Some(begin(partial, bytes)?);
            }
            FILE_BYTES => {
                let file = file.as_mut().ok_or(BackupError::Damaged("bytes of no file"))?;
                file.write_all(bytes).map_err(failed)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    finish(file.take()).map_err(failed)?;
    engine.sync()?;
    if book(&*engine.snapshot()?, books::EPOCH)? == 0 {
        return Err(BackupError::Damaged("it has no head"));
    }
    sync_directories(partial).map_err(failed)?;
    Ok(summary)
}

fn finish(file: Option<File>) -> io::Result<()> {
    file.map_or(Ok(()), |file| file.sync_all())
}

fn sync_directories(path: &Path) -> io::Result<()> {
    for found in fs::read_dir(path)? {
        let found = found?;
        if found.file_type()?.is_dir() {
            sync_directories(&found.path())?;
        }
    }
    File::open(path)?.sync_all()
}

/// Makes the file that a backup names, which must lie below the target.
fn begin(root: &Path, name: &[u8]) -> Result<File, BackupError> {
    let name = std::str::from_utf8(name).map_err(|_| BackupError::Damaged("a file's name is no text"))?;
    let relative = Path::new(name);
    if name.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(BackupError::Damaged("a file's name leads elsewhere"));
    }
    let path = root.join(relative);
    let failed = |error| BackupError::TargetFailed { path: path.clone(), error };
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)
}

fn parse_entries(mut bytes: &[u8]) -> Option<Vec<(Bytes, Option<Bytes>)>> {
    let mut part = || -> Option<Option<Bytes>> {
        if bytes.is_empty() {
            return Some(None);
        }
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(Some(Bytes::copy_from_slice(part)))
    };
    let mut batch = Vec::new();
    while let Some(key) = part()? {
        let valid = Family::of(&key).is_some();
        batch.push((key, Some(part()??)));
        if !valid {
            return None;
        }
    }
    Some(batch)
}

/// Reads all frames, checking each and the whole.
fn read_frames(
    mut backup: impl Read,
    mut take: impl FnMut(u8, &[u8]) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut sum = Sha256::new();
    let mut frames = 0u64;
    let mut magic = [0; MAGIC.len()];
    exactly(&mut backup, &mut magic)?;
    if magic != *MAGIC {
        return Err(BackupError::Damaged("it does not begin as one"));
    }
    sum.update(magic);
    loop {
        let mut head = [0; 9];
        exactly(&mut backup, &mut head)?;
        let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(BackupError::Damaged("a part is too long"));
        }
        let mut bytes = vec![0; length];
        exactly(&mut backup, &mut bytes)?;
        if crc32c::crc32c(&bytes) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(BackupError::Damaged("a part's checksum does not match"));
        }
        if kind == END {
            let mut expected = frames.to_le_bytes().to_vec();
            expected.extend_from_slice(&sum.finalize());
            if bytes != expected {
                return Err(BackupError::Damaged("the checksum of the whole does not match"));
            }
            let trailing = backup.read(&mut [0]).map_err(BackupError::File)?;
            return if trailing == 0 { Ok(()) } else { Err(BackupError::Damaged("it goes on behind its end")) };
        }
        if ![HEAD, ENTRIES, FILE_BEGINS, FILE_BYTES].contains(&kind) {
            return Err(BackupError::Damaged("a part is of no known kind"));
        }
        sum.update(head);
        sum.update(&bytes);
        frames += 1;
        take(kind, &bytes)?;
    }
}

fn exactly(backup: &mut impl Read, bytes: &mut [u8]) -> Result<(), BackupError> {
    backup.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Damaged("it is cut short"),
        _ => BackupError::File(error),
    })
}

impl BackupError {
    /// The fault, for those who carry only faults.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        Fault::new(FaultKind::Unavailable, "back up or restore").caused_by(self)
    }
}
