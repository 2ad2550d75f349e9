//! The data directory: who may use it, in which format it is, what lies where.
//!
//! ```text
//! FORMAT      "pileus data directory", the format's number, the engine: written last when a directory is made
//! LOCK        locked by the server that uses it
//! store/      index.redb (or index.fjall/), log/<segments>
//! blobs/      <first two digits>/<blob>
//! segments/   logs of functions (another room's)
//! code/       unpacked code (another room's)
//! backups/    made before an upgrade
//! ```
//!
//! Guarantees: one server at a time; a directory that is not ours, or of a newer release, is left untouched and
//! refused with a sentence that says
//! what to do; an older one is backed up and upgraded, and an upgrade that was cut short goes on at the next start.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base_types::Fault;
use rustix::fs::{Access, FlockOperation, flock};

use crate::{
    Disk, EngineKind, Options, RealDisk,
    disk::{read_all, replace},
    upgrade,
};

/// The format that this release writes.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const TITLE: &str = "pileus data directory";

/// A data directory, locked for this process until it and the store in it are dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    disk: Arc<RealDisk>,
    engine: EngineKind,
    lock: Arc<File>,
}

/// Why a data directory or its store cannot be opened. The texts are for the user.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server holds the lock.
    #[error("`{}` is in use by another pileus server: stop that one first, or give this one another `--data` directory", .0.display())]
    InUse(PathBuf),
    /// There is something else.
    #[error("`{}` is not empty and is not a pileus data directory: give `--data` an empty or a new directory", .0.display())]
    Foreign(PathBuf),
    /// Made by a newer release.
    #[error("`{}` was written by a newer release (format {found}, this one knows up to {FORMAT}): use that release, or restore a backup into a new directory", .path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It cannot be written.
    #[error("`{}` cannot be written ({error}): make it writable for this user, or give `--data` another directory", .path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The upgrade failed; it goes on at the next start.
    #[error("`{}` could not be upgraded to format {FORMAT} ({error}): nothing is lost, remove the cause and start again", .path.display())]
    Upgrade {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The disk failed.
    #[error("failed to {what}: {error}")]
    Disk {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// Data were lost or changed by something else.
    #[error("{0}: restore a backup")]
    Damaged(String),
    /// The store failed.
    #[error("failed to open the store: {0:?}")]
    Store(Fault),
}

impl DataDir {
    /// Opens `path`, making it if it does not exist (for its owner only), and locks it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let not_writable = |error| OpenError::NotWritable { path: path.to_owned(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(not_writable)?;
        let disk = RealDisk::new(path);
        let found = format(&disk).map_err(not_writable)?;
        match found {
            Found::Nothing | Found::Format { number: 0..=FORMAT, .. } => {}
            Found::Format { number, .. } => return Err(OpenError::Newer { path: path.to_owned(), found: number }),
            Found::Foreign => return Err(OpenError::Foreign(path.to_owned())),
        }
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(not_writable)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                rustix::io::Errno::WOULDBLOCK => OpenError::InUse(path.to_owned()),
                error => not_writable(error.into()),
            });
        }
        // Asked again under the lock: another server may have made or upgraded it meanwhile.
        let found = format(&disk).map_err(not_writable)?;
        let engine = match found {
            Found::Format { number: FORMAT, engine } => engine,
            Found::Format { .. } => {
                upgrade::run(&disk).map_err(|error| OpenError::Upgrade { path: path.to_owned(), error })?
            }
            Found::Nothing | Found::Foreign => {
                write_format(&disk, options.engine).map_err(not_writable)?;
                options.engine
            }
        };
        // The lock may be writable where the directory is not.
        rustix::fs::access(path, Access::WRITE_OK).map_err(|error| not_writable(error.into()))?;
        Ok(Self { path: path.to_owned(), disk: Arc::new(disk), engine, lock: Arc::new(lock) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The place of another room's files, made if need be: `segments`, `code`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, OpenError> {
        let path = self.path.join(name);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| OpenError::NotWritable { path: path.clone(), error })?;
        Ok(path)
    }

    /// Which engine it was made with.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        self.engine
    }

    pub(crate) fn lock(&self) -> Arc<File> {
        Arc::clone(&self.lock)
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk) as Arc<dyn Disk>
    }
}

enum Found {
    Nothing,
    Foreign,
    Format { number: u32, engine: EngineKind },
}

fn format(disk: &dyn Disk) -> io::Result<Found> {
    match read_all(disk, FORMAT_FILE) {
        Ok(text) => Ok(parse(&String::from_utf8_lossy(&text)).unwrap_or(Found::Foreign)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A start that was cut short may have left these.
            let ours =
                |name: &String| name.starts_with(LOCK_FILE) || name.starts_with(FORMAT_FILE) || name == "lost+found";
            Ok(if disk.list("")?.iter().all(ours) { Found::Nothing } else { Found::Foreign })
        }
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<Found> {
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return None;
    }
    let number = lines.next()?.strip_prefix("format ")?.parse().ok()?;
    let engine = match lines.next().and_then(|line| line.strip_prefix("engine ")) {
        Some("fjall") => EngineKind::Lsm,
        _ => EngineKind::Tree,
    };
    Some(Found::Format { number, engine })
}

/// Marks the directory as one of the present format: the last step of making or upgrading it.
pub(crate) fn write_format(disk: &dyn Disk, engine: EngineKind) -> io::Result<()> {
    let text = format!("{TITLE}\nformat {FORMAT}\nengine {}\n", engine.name());
    replace(disk, "", FORMAT_FILE, text.as_bytes())
}
