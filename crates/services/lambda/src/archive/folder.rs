//! The folder of unpacked code: `code/<sha256 in hex>/` for each package, and a manifest beside it.
//!
//! A package is unpacked into a temporary folder, synced, its manifest written, and only then renamed into place; so a
//! folder under its final name is whole. After a start each folder is compared with its manifest once (names, kinds,
//! sizes) before it is used, and made again from the zip when something is missing or torn. Blocking: call it where
//! blocking is allowed.

use std::{
    collections::HashSet,
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{ArchiveError, Limits, Node, Package, UnpackError, unpack::sync_folder};

/// Unpacked code, by the SHA-256 of its zip. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CodeFolder {
    root: Arc<PathBuf>,
    /// Digests whose folder was checked or made by this process.
    verified: Arc<Mutex<HashSet<String>>>,
    /// One unpacking or removal at a time keeps the folder's rules simple; the disk is the bottleneck anyhow.
    turn: Arc<Mutex<()>>,
}

/// Why code could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum CodeFolderError {
    /// The stored zip does not pass the checks it passed when it was stored.
    #[error("read the stored package")]
    Package(#[source] ArchiveError),
    /// See [`UnpackError`].
    #[error("unpack the package")]
    Unpack(#[source] UnpackError),
    /// The folder itself.
    #[error("use `{path}`")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A digest that is not 64 hexadecimal digits must never become a path.
    #[error("use `{0}` as a digest")]
    Digest(String),
}

impl CodeFolderError {
    /// Whether there is no room for it.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Disk { source, .. } | Self::Unpack(UnpackError::Disk { source, .. }) => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Package(_) | Self::Digest(_) | Self::Unpack(UnpackError::Changed) => false,
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CodeFolderError + '_ {
    move |source| CodeFolderError::Disk { path: path.to_owned(), source }
}

const TEMPORARY: &str = ".unpacking";
const REMOVED: &str = ".removed";

impl CodeFolder {
    /// Opens (and makes) the folder, and removes what an interrupted unpacking left behind.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, CodeFolderError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(at(&root))?;
        for leftover in [TEMPORARY, REMOVED] {
            remove_tree(&root.join(leftover)).map_err(at(&root))?;
        }
        Ok(Self { root: Arc::new(root), verified: Arc::default(), turn: Arc::default() })
    }

    /// Where the code of `digest` lies (64 hexadecimal digits), if it is known to be whole.
    #[must_use]
    pub fn ready(&self, digest: &str) -> Option<PathBuf> {
        self.verified.lock().contains(digest).then(|| self.root.join(digest))
    }

    /// Makes sure that the code of `digest` lies unpacked and whole, and answers where. `zip` is asked for the package
    /// only if it has to be unpacked.
    ///
    /// # Errors
    /// See [`CodeFolderError`].
    pub fn ensure<B: AsRef<[u8]>>(
        &self,
        digest: &str,
        zip: impl FnOnce() -> Result<B, CodeFolderError>,
        limits: &Limits,
    ) -> Result<PathBuf, CodeFolderError> {
        let place = self.place(digest)?;
        let _turn = self.turn.lock();
        if self.verified.lock().contains(digest) {
            return Ok(place);
        }
        if !self.is_whole(digest) {
            self.make(digest, zip()?.as_ref(), limits)?;
        }
        self.verified.lock().insert(digest.to_owned());
        Ok(place)
    }

    /// Removes the code of `digest`; nothing happens if it is not there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, digest: &str) -> Result<(), CodeFolderError> {
        let place = self.place(digest)?;
        let _turn = self.turn.lock();
        self.verified.lock().remove(digest);
        let removed = self.root.join(REMOVED);
        remove_tree(&removed).map_err(at(&removed))?;
        match fs::rename(&place, &removed) {
            Ok(()) => remove_tree(&removed).map_err(at(&removed))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&place)(error)),
        }
        let manifest = self.manifest(digest);
        match fs::remove_file(&manifest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&manifest)(error)),
            _ => Ok(()),
        }
    }

    /// The digests whose code lies here, whole or not.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn digests(&self) -> Result<Vec<String>, CodeFolderError> {
        let mut digests = Vec::new();
        for entry in fs::read_dir(&*self.root).map_err(at(&self.root))? {
            let name = entry.map_err(at(&self.root))?.file_name();
            if let Some(name) = name.to_str().filter(|name| is_digest(name)) {
                digests.push(name.to_owned());
            }
        }
        Ok(digests)
    }

    fn place(&self, digest: &str) -> Result<PathBuf, CodeFolderError> {
        if is_digest(digest) { Ok(self.root.join(digest)) } else { Err(CodeFolderError::Digest(digest.to_owned())) }
    }

    fn manifest(&self, digest: &str) -> PathBuf {
        self.root.join(format!("{digest}.manifest"))
    }

    fn make(&self, digest: &str, zip: &[u8], limits: &Limits) -> Result<(), CodeFolderError> {
        let (place, temporary, manifest) = (self.root.join(digest), self.root.join(TEMPORARY), self.manifest(digest));
        let package = Package::read(zip, limits).map_err(CodeFolderError::Package)?;
        remove_tree(&temporary).map_err(at(&temporary))?;
        remove_tree(&place).map_err(at(&place))?;
        package.unpack(zip, &temporary).map_err(CodeFolderError::Unpack)?;
        let lines: String = package.nodes().map(|(path, node)| line(path, node)).collect();
        let mut file = fs::File::create(&manifest).map_err(at(&manifest))?;
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_all()).map_err(at(&manifest))?;
        // A folder that is read-only cannot be renamed by an ordinary user, as `..` inside it changes.
        fs::set_permissions(&temporary, Permissions::from_mode(0o755)).map_err(at(&temporary))?;
        fs::rename(&temporary, &place).map_err(at(&place))?;
        fs::set_permissions(&place, Permissions::from_mode(0o555)).map_err(at(&place))?;
        sync_folder(&self.root).map_err(at(&self.root))
    }

    fn is_whole(&self, digest: &str) -> bool {
        let Ok(manifest) = fs::read_to_string(self.manifest(digest)) else { return false };
        let mut found = Vec::new();
        let expected: Vec<&str> = manifest.lines().collect();
        if survey(&self.root.join(digest), "", expected.len(), &mut found).is_err() {
            return false;
        }
        found.sort_unstable();
        let mut expected: Vec<String> = expected.into_iter().map(|line| format!("{line}\n")).collect();
        expected.sort_unstable();
        found == expected
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A line of the manifest. Escaping keeps a name with a line break on one line.
fn line(path: &str, node: &Node) -> String {
    match node {
        Node::Folder => format!("folder - {}\n", path.escape_debug()),
        Node::File { size, .. } => format!("file {size} {}\n", path.escape_debug()),
        Node::Link { target } => format!("link {} {}\n", target.len(), path.escape_debug()),
    }
}

/// Lists what lies below `folder` in the manifest's form; gives up when there is more than expected.
fn survey(folder: &Path, prefix: &str, expected: usize, lines: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let metadata = entry.path().symlink_metadata()?;
        let node = if metadata.is_dir() {
            Node::Folder
        } else if metadata.is_symlink() {
            let target = fs::read_link(entry.path())?.into_os_string().into_string();
            Node::Link { target: target.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? }
        } else {
            Node::File { index: 0, size: metadata.len(), executable: false }
        };
        lines.push(line(&path, &node));
        if lines.len() > expected {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        if node == Node::Folder {
            survey(&entry.path(), &path, expected, lines)?;
        }
    }
    Ok(())
}

/// Removes a tree whose folders are read-only; follows no link. Nothing happens if it is not there.
fn remove_tree(path: &Path) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(path)
}
