//! Writing a checked package to a folder.
//!
//! Guarantee: writes only below the folder it is given, which must be new; follows no link (links are made last, after
//! everything else lies there); when it returns, everything is on disk (files, then folders, synced) and read-only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Cursor, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use zip::ZipArchive;

use super::{Node, Package};

/// Above this many entries the file system is synced once, instead of each entry by itself.
const SYNCED_EACH_MAX: usize = 64;

/// What went wrong while unpacking.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The disk refused.
    #[error("write `{path}`")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The zip does not hold what its package says: the bytes are not those that were read.
    #[error("the archive differs from what was checked")]
    Changed,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> UnpackError + '_ {
    move |source| UnpackError::Disk { path: path.to_owned(), source }
}

impl Package {
    /// Writes the package below `target`, a folder that must not exist yet. `bytes` are those it was read from.
    ///
    /// # Errors
    /// See [`UnpackError`]. What was written so far stays; the caller removes the folder.
    pub(super) fn unpack(&self, bytes: &[u8], target: &Path) -> Result<(), UnpackError> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| UnpackError::Changed)?;
        let each = self.nodes().count() <= SYNCED_EACH_MAX;
        create_folder(target)?;
        let mut folders = vec![target.to_owned()];
        for (path, node) in self.nodes() {
            let place = target.join(path);
            match node {
                Node::Folder => {
                    create_folder(&place)?;
                    folders.push(place);
                }
                Node::File { index, size, executable } => {
                    let reader = zip.by_index(*index).map_err(|_| UnpackError::Changed)?;
                    write_file(&place, reader, *size, *executable, each)?;
                }
                Node::Link { .. } => {}
            }
        }
        for (path, node) in self.nodes() {
            if let Node::Link { target: to } = node {
                let place = target.join(path);
                symlink(to, &place).map_err(at(&place))?;
            }
        }
        // From the deepest up: a folder is closed and synced after what it holds.
        for folder in folders.iter().rev() {
            fs::set_permissions(folder, Permissions::from_mode(0o555)).map_err(at(folder))?;
            if each {
                sync_folder(folder).map_err(at(folder))?;
            }
        }
        if each {
            return Ok(());
        }
        let root = File::open(target).map_err(at(target))?;
        rustix::fs::syncfs(root).map_err(|error| at(target)(error.into()))
    }
}

fn create_folder(path: &Path) -> Result<(), UnpackError> {
    DirBuilder::new().mode(0o755).create(path).map_err(at(path))
}

fn write_file(path: &Path, mut reader: impl Read, size: u64, executable: bool, sync: bool) -> Result<(), UnpackError> {
    // Everybody may read: a function runs as a user of its own.
    let mode = if executable { 0o555 } else { 0o444 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(at(path))?;
    let mut buffer = vec![0; 64 << 10];
    let mut written = 0;
    loop {
        let count = reader.read(&mut buffer).map_err(|_| UnpackError::Changed)?;
        if count == 0 {
            break;
        }
        written += count as u64;
        if written > size {
            return Err(UnpackError::Changed);
        }
        file.write_all(&buffer[..count]).map_err(at(path))?;
    }
    if written != size {
        return Err(UnpackError::Changed);
    }
    // The umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(mode)).map_err(at(path))?;
    if sync { file.sync_all().map_err(at(path)) } else { Ok(()) }
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
