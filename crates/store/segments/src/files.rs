//! The data directory: names of files, and making their existence durable.
//!
//! Journals and segments share one series of numbers, so that a number names one file for ever.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::SegmentsError;

pub(crate) const FORMAT_VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Journal,
    Segment,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Segment => "segment",
        }
    }
}

pub(crate) fn path_of(directory: &Path, kind: Kind, id: u64) -> PathBuf {
    directory.join(format!("{id:016x}.{}", kind.extension()))
}

pub(crate) fn temporary_path_of(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:016x}.tmp"))
}

/// What is in the directory; leftovers of interrupted work are removed. Foreign files are left alone.
pub(crate) fn list(directory: &Path) -> Result<Vec<(Kind, u64)>, SegmentsError> {
    let io = |source| SegmentsError::io("list", directory, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 16);
        let Some(id) = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tmp") => remove(&path)?,
            Some("journal") => found.push((Kind::Journal, id)),
            Some("segment") => found.push((Kind::Segment, id)),
            _ => {}
        }
    }
    found.sort_unstable_by_key(|&(_, id)| id);
    Ok(found)
}

pub(crate) fn remove(path: &Path) -> Result<(), SegmentsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(SegmentsError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Makes creations, renames and removals in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), SegmentsError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| SegmentsError::io("sync", directory, source))
}
