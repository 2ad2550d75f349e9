//! Packs a folder into a zip archive.
//!
//! Guarantees: equal folders give equal bytes (entries sorted, one fixed time stamp, permissions reduced to 0644 and
//! 0755), so that an unchanged deployment is recognised by its hash; nothing outside the folder gets in; AWS's size limits
//! are checked before anything is sent.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::project::DESCRIPTION;
use crate::failure::{Failure, Outcome, io};

/// AWS's limit for an archive that is uploaded directly.
const ZIPPED_BYTES_MAX: u64 = 50 << 20;
/// AWS's limit for what an archive holds.
const UNZIPPED_BYTES_MAX: u64 = 250 << 20;
/// Deeper than any real project: a bound for the walk.
const DEPTH_MAX: usize = 64;

/// Names that never belong into an archive, at any depth.
const IGNORED: [&str; 9] =
    [".git", ".hg", ".svn", "__pycache__", ".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".DS_Store"];

/// An archive and what went in.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) bytes: Vec<u8>,
    pub(crate) files: usize,
}

struct Entry {
    path: PathBuf,
    executable: bool,
}

/// Packs everything below `folder` but what [`IGNORED`] names, compiled Python files and the description.
pub(crate) fn folder(folder: &Path) -> Outcome<Archive> {
    let root = fs::canonicalize(folder).map_err(io(format!("cannot open the folder {}", folder.display())))?;
    let mut entries = BTreeMap::new();
    let mut total = 0;
    walk(&root, &root, "", 0, &mut entries, &mut total)?;
    entries.remove(DESCRIPTION);
    write(&entries)
}

/// Packs one executable under the name that custom runtimes start.
pub(crate) fn bootstrap(binary: &Path) -> Outcome<Archive> {
    let entry = Entry { path: binary.to_owned(), executable: true };
    write(&BTreeMap::from([("bootstrap".to_owned(), entry)]))
}

fn walk(
    root: &Path,
    folder: &Path,
    prefix: &str,
    depth: usize,
    entries: &mut BTreeMap<String, Entry>,
    total: &mut u64,
) -> Outcome<()> {
    if depth > DEPTH_MAX {
        return Err(Failure::new(format!("{} is nested more than {DEPTH_MAX} folders deep", folder.display())));
    }
    let unreadable = || format!("cannot read the folder {}", folder.display());
    for found in fs::read_dir(folder).map_err(io(unreadable()))? {
        let found = found.map_err(io(unreadable()))?;
        let path = found.path();
        let name = found.file_name();
        let name = name.to_str().ok_or_else(|| Failure::new(format!("the name of {} is not UTF-8", path.display())))?;
        if IGNORED.contains(&name) || name.ends_with(".pyc") {
            continue;
        }
        // Links are followed, as `zip` does; but only to what the folder holds, so that no secret of the host leaks in.
        let resolved = fs::canonicalize(&path).map_err(io(format!("cannot follow {}", path.display())))?;
        if !resolved.starts_with(root) {
            return Err(Failure::new(format!("{} points outside the folder", path.display()))
                .remedy("copy what it points to into the folder"));
        }
        let metadata = fs::metadata(&resolved).map_err(io(format!("cannot look at {}", path.display())))?;
        let key = format!("{prefix}{name}");
        if metadata.is_dir() {
            walk(root, &resolved, &format!("{key}/"), depth + 1, entries, total)?;
        } else if metadata.is_file() {
            *total += metadata.len();
            if *total > UNZIPPED_BYTES_MAX {
                return Err(Failure::new(format!("the folder holds more than {UNZIPPED_BYTES_MAX} bytes"))
                    .remedy("leave out what the function does not need at run time"));
            }
            entries.insert(key, Entry { path: resolved, executable: metadata.permissions().mode() & 0o111 != 0 });
        } else {
            return Err(Failure::new(format!("{} is neither a file nor a folder", path.display())));
        }
    }
    Ok(())
}

fn write(entries: &BTreeMap<String, Entry>) -> Outcome<Archive> {
    let unpacked = || "cannot pack the archive";
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, entry) in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(if entry.executable { 0o755 } else { 0o644 });
        let content = fs::read(&entry.path).map_err(io(format!("cannot read {}", entry.path.display())))?;
        archive.start_file(name, options).map_err(|error| Failure::new(unpacked()).because(&error))?;
        archive.write_all(&content).map_err(io(unpacked()))?;
    }
    let bytes = archive.finish().map_err(|error| Failure::new(unpacked()).because(&error))?.into_inner();
    if bytes.len() as u64 > ZIPPED_BYTES_MAX {
        return Err(Failure::new(format!(
            "the archive is {} bytes; at most {ZIPPED_BYTES_MAX} can be sent",
            bytes.len()
        ))
        .remedy("leave out what the function does not need at run time"));
    }
    Ok(Archive { bytes, files: entries.len() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(archive: &Archive) -> Vec<String> {
        let reader = zip::ZipArchive::new(Cursor::new(archive.bytes.clone())).unwrap();
        let mut names: Vec<String> = reader.file_names().map(|name| name.unwrap().into_owned()).collect();
        names.sort();
        names
    }

    fn sample() -> tempfile::TempDir {
        let made = tempfile::tempdir().unwrap();
        for path in ["app.py", "lib/b.py", "lib/a.py", ".git/config", "__pycache__/x.pyc", "y.pyc", DESCRIPTION] {
            let path = made.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        made
    }

    #[test]
    fn equal_folders_give_equal_bytes() {
        let (one, two) = (sample(), sample());
        fs::set_permissions(two.path().join("app.py"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(folder(one.path()).unwrap().bytes, folder(two.path()).unwrap().bytes);
        fs::write(two.path().join("app.py"), "other").unwrap();
        assert_ne!(folder(one.path()).unwrap().bytes, folder(two.path()).unwrap().bytes);
    }

    #[test]
    fn only_what_belongs_goes_in() {
        let made = sample();
        symlink("app.py", made.path().join("link.py")).unwrap();
        let archive = folder(made.path()).unwrap();
        assert_eq!(names(&archive), ["app.py", "lib/a.py", "lib/b.py", "link.py"]);
        assert_eq!(archive.files, 4);
    }

    #[test]
    fn a_link_out_of_the_folder_is_refused() {
        let made = sample();
        symlink("/etc/hostname", made.path().join("secret")).unwrap();
        assert!(folder(made.path()).unwrap_err().render().contains("points outside"));
    }

    #[test]
    fn a_link_to_a_parent_ends() {
        let made = sample();
        symlink(".", made.path().join("lib/again")).unwrap();
        symlink("..", made.path().join("lib/up")).unwrap();
        assert!(folder(made.path()).unwrap_err().render().contains("nested more than"));
    }

    #[test]
    fn a_bootstrap_is_executable() {
        let made = sample();
        let archive = bootstrap(&made.path().join("app.py")).unwrap();
        let mut reader = zip::ZipArchive::new(Cursor::new(archive.bytes)).unwrap();
        assert_eq!(reader.by_name("bootstrap").unwrap().unix_mode().unwrap() & 0o777, 0o755);
    }
}
