//! Deployment packages: what a zip holds, checked before anything of it touches a disk.
//!
//! [`Package::read`] is a pure function over bytes. It walks the central directory, inflates **every** entry against the
//! limits (the sizes that a zip claims are not believed), checks the checksums, and answers with a normalised [`Package`]
//! or an [`ArchiveError`] whose text is AWS's where AWS has one. Guarantees of a package that was read:
//!
//! - every path is relative, without `.` or `..`, unique, and no entry lies below a file or a symbolic link;
//! - a symbolic link is relative and its target, read from where it lies, stays inside the package: links that climb out
//!   or are absolute are refused, links within are kept (`..` may stand only at the target's beginning, so that no other
//!   link can turn it into a way out);
//! - there are only files, folders and such links: devices, sockets and pipes are refused, set-user-id bits dropped;
//! - the inflated size, the number of entries and the length of paths lie within [`Limits`].

mod folder;
mod unpack;

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use zip::{CompressionMethod, ZipArchive};

pub use folder::{CodeFolder, CodeFolderError};
pub use unpack::UnpackError;

/// The bounds of a deployment package.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Size of the zip in bytes: AWS takes 50 MiB inline.
    pub zipped_bytes_max: u64,
    /// Sum of all files' sizes in bytes: AWS takes 250 MiB.
    pub unzipped_bytes_max: u64,
    /// Files, folders and links together.
    pub entries_max: usize,
    /// Length of one path in bytes.
    pub path_bytes_max: usize,
}

impl Limits {
    /// AWS's limits for a package sent with the request; the bounds that AWS does not publish are ours.
    pub const INLINE: Self = Self {
        zipped_bytes_max: 52_428_800,
        unzipped_bytes_max: 262_144_000,
        entries_max: 65_535,
        path_bytes_max: 1024,
    };
}

/// Why a package is refused. The text is what the caller is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Nothing was sent, or a zip without a file in it.
    #[error("Uploaded file must be a non-empty zip")]
    Empty,
    /// Not a zip, damaged, or with a wrong checksum.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    Broken,
    /// A zip that must not be unpacked. AWS says of it what it says of a broken one; [`ArchiveError::reason`] says more.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    Hostile {
        /// The entry's name, shortened.
        entry: String,
        /// Completes "entry …".
        reason: &'static str,
    },
    /// More entries than we unpack; AWS's text for what it cannot unpack.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    TooManyEntries(usize),
    /// The zip itself is too large (`RequestEntityTooLargeException`).
    #[error("Zipped size must be smaller than {0} bytes")]
    ZippedTooLarge(u64),
    /// What it inflates to is too large.
    #[error("Unzipped size must be smaller than {0} bytes")]
    UnzippedTooLarge(u64),
}

impl ArchiveError {
    /// What the server's own log says: why an archive was refused that AWS's text says little about.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Hostile { entry, reason } => format!("entry `{entry}` {reason}"),
            Self::TooManyEntries(limit) => format!("it holds more than {limit} entries"),
            other => other.to_string(),
        }
    }
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// Its entry in the zip.
        index: usize,
        /// Inflated size in bytes.
        size: u64,
        /// Whether the zip marks it executable for anybody.
        executable: bool,
    },
    /// A folder, named by the zip or implied by what lies below it.
    Folder,
    /// A symbolic link that stays inside.
    Link {
        /// Relative target, as the zip has it.
        target: String,
    },
}

/// A package that was read and found sound.
#[derive(Debug, Clone)]
pub struct Package {
    nodes: BTreeMap<String, Node>,
    unzipped_bytes: u64,
}

/// File type bits of a Unix mode.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;
/// Longest path component that file systems take.
const COMPONENT_BYTES_MAX: usize = 255;
const LINK_BYTES_MAX: u64 = 1024;

impl Package {
    /// Reads and checks a zip.
    ///
    /// Work is bounded by the limits: at most `unzipped_bytes_max` bytes are inflated, in a buffer of 64 KiB.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Self, ArchiveError> {
        if bytes.is_empty() {
            return Err(ArchiveError::Empty);
        }
        if bytes.len() as u64 >= limits.zipped_bytes_max {
            return Err(ArchiveError::ZippedTooLarge(limits.zipped_bytes_max));
        }
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| ArchiveError::Broken)?;
        if zip.len() > limits.entries_max {
            return Err(ArchiveError::TooManyEntries(limits.entries_max));
        }
        if zip.has_duplicate_names() {
            return Err(hostile("", "appears twice"));
        }
        let mut package = Self { nodes: BTreeMap::new(), unzipped_bytes: 0 };
        for index in 0..zip.len() {
            package.read_entry(&mut zip, index, limits)?;
        }
        package.check_parents(limits)?;
        if !package.nodes.values().any(|node| matches!(node, Node::File { .. })) {
            return Err(ArchiveError::Empty);
        }
        Ok(package)
    }

    /// Everything in it, in the order of the paths; folders come before what they hold.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Sum of all files' sizes in bytes.
    #[must_use]
    pub fn unzipped_bytes(&self) -> u64 {
        self.unzipped_bytes
    }

    /// Whether a regular file lies at `path`.
    #[must_use]
    pub fn has_file(&self, path: &str) -> bool {
        matches!(self.nodes.get(path), Some(Node::File { .. }))
    }

    fn read_entry(
        &mut self,
        zip: &mut ZipArchive<Cursor<&[u8]>>,
        index: usize,
        limits: &Limits,
    ) -> Result<(), ArchiveError> {
        let entry = zip.by_index_data(index).map_err(|_| ArchiveError::Broken)?;
        let (mode, encrypted, method) = (entry.unix_mode().unwrap_or(0), entry.encrypted(), entry.compression());
        let name = match std::str::from_utf8(entry.name_raw()) {
            Ok(name) => name.to_owned(),
            // Old tools write code page 437.
            Err(_) => entry.name().map_err(|_| ArchiveError::Broken)?.into_owned(),
        };
        if encrypted {
            return Err(hostile(&name, "is encrypted"));
        }
        if !matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(hostile(&name, "uses a compression method other than deflate"));
        }
        let kind = match mode & TYPE_MASK {
            0 if name.ends_with('/') => TYPE_FOLDER,
            0 => TYPE_FILE,
            // A folder is told by its name: tools agree on the slash, not on the bits.
            TYPE_FILE if name.ends_with('/') => TYPE_FOLDER,
            known @ (TYPE_FILE | TYPE_FOLDER | TYPE_LINK) => known,
            _ => return Err(hostile(&name, "is neither a file, a folder nor a symbolic link")),
        };
        let path = normalised(&name, limits)?;
        if path.is_empty() {
            // `./` names the package itself.
            return if kind == TYPE_FOLDER { Ok(()) } else { Err(hostile(&name, "has no name")) };
        }
        let node = match kind {
            TYPE_FOLDER => Node::Folder,
            TYPE_LINK => Node::Link { target: self.link_target(zip, index, &name, &path)? },
            _ => Node::File { index, size: self.inflate(zip, index, limits)?, executable: mode & 0o111 != 0 },
        };
        match (self.nodes.get(&path), &node) {
            (None, _) => {
                self.nodes.insert(path, node);
                Ok(())
            }
            (Some(Node::Folder), Node::Folder) => Ok(()),
            (Some(_), _) => Err(hostile(&name, "appears twice")),
        }
    }

    /// Reads an entry to its end and gives its true size; the checksum is checked by the reader.
    fn inflate(
        &mut self,
        zip: &mut ZipArchive<Cursor<&[u8]>>,
        index: usize,
        limits: &Limits,
    ) -> Result<u64, ArchiveError> {
        let mut reader = zip.by_index(index).map_err(|_| ArchiveError::Broken)?;
        let mut buffer = vec![0; 64 << 10];
        let mut size = 0;
        loop {
            let count = reader.read(&mut buffer).map_err(|_| ArchiveError::Broken)? as u64;
            if count == 0 {
                return Ok(size);
            }
            size += count;
            self.unzipped_bytes += count;
            if self.unzipped_bytes >= limits.unzipped_bytes_max {
                return Err(ArchiveError::UnzippedTooLarge(limits.unzipped_bytes_max));
            }
        }
    }

    fn link_target(
        &self,
        zip: &mut ZipArchive<Cursor<&[u8]>>,
        index: usize,
        name: &str,
        path: &str,
    ) -> Result<String, ArchiveError> {
        let mut target = String::new();
        zip.by_index(index)
            .map_err(|_| ArchiveError::Broken)?
            .take(LINK_BYTES_MAX + 1)
            .read_to_string(&mut target)
            .map_err(|_| ArchiveError::Broken)?;
        let depth = path.matches('/').count();
        if stays_inside(&target, depth) {
            Ok(target)
        } else {
            Err(hostile(name, "is a link that leads out of the package"))
        }
    }

    /// Adds the folders that paths imply, and refuses what lies below a file or a link.
    fn check_parents(&mut self, limits: &Limits) -> Result<(), ArchiveError> {
        let mut implied = BTreeMap::new();
        for path in self.nodes.keys() {
            for (end, _) in path.match_indices('/') {
                let parent = &path[..end];
                match self.nodes.get(parent) {
                    Some(Node::Folder) => {}
                    Some(_) => return Err(hostile(path, "lies below something that is not a folder")),
                    None => {
                        implied.entry(parent.to_owned()).or_insert(Node::Folder);
                    }
                }
                if self.nodes.len() + implied.len() > limits.entries_max {
                    return Err(ArchiveError::TooManyEntries(limits.entries_max));
                }
            }
        }
        self.nodes.append(&mut implied);
        Ok(())
    }
}

fn hostile(entry: &str, reason: &'static str) -> ArchiveError {
    let shown: String = entry.chars().filter(|c| !c.is_control()).take(80).collect();
    ArchiveError::Hostile { entry: shown, reason }
}

/// A path without empty and `.` components; empty for the package itself.
fn normalised(name: &str, limits: &Limits) -> Result<String, ArchiveError> {
    if name.starts_with('/') {
        return Err(hostile(name, "has an absolute path"));
    }
    if name.len() > limits.path_bytes_max {
        return Err(hostile(name, "has a path that is too long"));
    }
    if name.contains('\0') {
        return Err(hostile(name, "has a path with a zero byte"));
    }
    let mut path = String::with_capacity(name.len());
    for component in name.split('/') {
        match component {
            "" | "." => continue,
            ".." => return Err(hostile(name, "has a path that leads out of the package")),
            long if long.len() > COMPONENT_BYTES_MAX => return Err(hostile(name, "has a path that is too long")),
            _ => {}
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(component);
    }
    Ok(path)
}

/// Whether a link's target, read from `depth` folders below the root, cannot leave the root, whatever other links do.
fn stays_inside(target: &str, depth: usize) -> bool {
    if target.is_empty() || target.len() as u64 > LINK_BYTES_MAX || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut climbed = 0;
    let mut descended = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if descended => return false,
            ".." => climbed += 1,
            _ => descended = true,
        }
    }
    climbed <= depth
}

#[cfg(test)]
pub(crate) mod tests;
