//! What a function's initialisation left in `/tmp`, which is part of its snapshot: packed by the launcher's child that
//! copies the process, unpacked by each walled process before it becomes a copy. Folders, plain files and symbolic links;
//! nothing else is kept.
//!
//! Guarantees: links are never followed; who unpacks has the function's own user and nothing more; sizes and counts are
//! bounded, whatever lies there.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps},
    process::Pid,
};

use super::image::Unfit;

/// AWS's quota of `/tmp` for functions with SnapStart is 512 MiB; a sparse file may look larger than it is.
const BYTES_MAX: u64 = 640 << 20;
const ENTRIES_MAX: usize = 50_000;
const FOLDER: u8 = 0;
const PLAIN: u8 = 1;
const LINK: u8 = 2;
/// Kind, mode, seconds and nanoseconds of the last change, lengths of path and content.
const HEAD_BYTES: usize = 1 + 4 + 8 + 4 + 4 + 8;

struct Head {
    kind: u8,
    mode: u32,
    seconds: i64,
    nanoseconds: u32,
    path: u32,
    content: u64,
}

impl Head {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        bytes.extend(self.mode.to_le_bytes());
        bytes.extend(self.seconds.to_le_bytes());
        bytes.extend(self.nanoseconds.to_le_bytes());
        bytes.extend(self.path.to_le_bytes());
        bytes.extend(self.content.to_le_bytes());
        bytes
    }

    fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut kind = [0];
        if from.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut rest = [0; HEAD_BYTES - 1];
        from.read_exact(&mut rest)?;
        let mut rest = rest.as_slice();
        let mut take = |count: usize| {
            let mut bytes = [0; 8];
            let (taken, left) = rest.split_at(count);
            bytes[..count].copy_from_slice(taken);
            rest = left;
            u64::from_le_bytes(bytes)
        };
        let (mode, seconds, nanoseconds) = (take(4) as u32, take(8).cast_signed(), take(4) as u32);
        Ok(Some(Self { kind: kind[0], mode, seconds, nanoseconds, path: take(4) as u32, content: take(8) }))
    }
}

/// Packs the `/tmp` of a stopped process.
pub(super) fn pack(pid: Pid, into: &File) -> Result<(), Unfit> {
    let path = format!("/proc/{}/root/tmp", pid.as_raw_nonzero());
    let root = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(io::Error::from)?;
    pack_folder(&root, into)
}

fn pack_folder(root: &OwnedFd, into: &File) -> Result<(), Unfit> {
    let mut out = BufWriter::new(into);
    let (mut entries, mut bytes) = (0, 0_u64);
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let listed = rustix::fs::openat(root, &folder, flags, Mode::empty()).map_err(io::Error::from)?;
        for entry in Dir::read_from(&listed).map_err(io::Error::from)? {
            let entry = entry.map_err(io::Error::from)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = folder.join(name);
            let stat = rustix::fs::statat(root, &path, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
            entries += 1;
            bytes = bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(u64::MAX));
            if entries > ENTRIES_MAX || bytes > BYTES_MAX {
                return Err(Unfit::Refused("it left too much in /tmp".to_owned()));
            }
            pack_one(&mut out, root, &path, &stat)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                folders.push(path);
            }
        }
    }
    Ok(out.flush()?)
}

fn pack_one(out: &mut impl Write, root: &OwnedFd, path: &Path, stat: &Stat) -> io::Result<()> {
    let (kind, content) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => (FOLDER, 0),
        FileType::RegularFile => (PLAIN, u64::try_from(stat.st_size).unwrap_or_default()),
        FileType::Symlink => (LINK, 0),
        _ => return Ok(()),
    };
    let target = if kind == LINK { rustix::fs::readlinkat(root, path, Vec::new())?.into_bytes() } else { Vec::new() };
    let head = Head {
        kind,
        mode: stat.st_mode & 0o7777,
        seconds: stat.st_mtime,
        nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        path: u32::try_from(path.as_os_str().len()).map_err(io::Error::other)?,
        content: if kind == LINK { target.len() as u64 } else { content },
    };
    out.write_all(&head.bytes())?;
    out.write_all(path.as_os_str().as_bytes())?;
    out.write_all(&target)?;
    if kind == PLAIN {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(root, path, flags, Mode::empty())?);
        if io::copy(&mut file.take(content), out)? != content {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Reads a file from a place of one's own: others read it at the same time through the same open file.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Puts everything back below `folder`, as the caller's user.
pub(super) fn unpack(packed: &File, folder: &Path) -> io::Result<()> {
    let mut packed = io::BufReader::new(From { file: packed, at: 0 });
    let mut changed = Vec::new();
    while let Some(head) = Head::read(&mut packed)? {
        let mut path = vec![0; head.path as usize];
        packed.read_exact(&mut path)?;
        let path = folder.join(OsStr::from_bytes(&path));
        let mut content = (&mut packed).take(head.content);
        match head.kind {
            // What is in it is written before it may be closed.
            FOLDER => rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700))?,
            LINK => {
                let mut target = Vec::new();
                content.read_to_end(&mut target)?;
                rustix::fs::symlink(OsStr::from_bytes(&target), &path)?;
            }
            _ => {
                let mut file = File::options().write(true).create_new(true).open(&path)?;
                io::copy(&mut content, &mut file)?;
            }
        }
        changed.push((path, head));
    }
    for (path, head) in changed.iter().rev() {
        if head.kind != LINK {
            rustix::fs::chmod(path, Mode::from_raw_mode(head.mode))?;
        }
        let when = Timespec { tv_sec: head.seconds, tv_nsec: i64::from(head.nanoseconds) };
        let times = Timestamps { last_access: when, last_modification: when };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn what_lay_there_lies_there_again_and_links_lead_nowhere() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| from.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/data"), vec![7; 300_000]).unwrap();
        fs::write(path("script"), "x").unwrap();
        fs::set_permissions(path("script"), PermissionsExt::from_mode(0o500)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path("link")).unwrap();
        fs::set_permissions(path("a"), PermissionsExt::from_mode(0o500)).unwrap();
        let packed = tempfile::tempfile().unwrap();
        let root = rustix::fs::open(from.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        pack_folder(&root, &packed).unwrap();
        unpack(&packed, to.path()).unwrap();
        let there = |name: &str| to.path().join(name);
        assert_eq!(fs::read(there("a/b/data")).unwrap(), vec![7; 300_000]);
        assert_eq!(fs::metadata(there("script")).unwrap().permissions().mode() & 0o7777, 0o500);
        assert_eq!(fs::metadata(there("a")).unwrap().permissions().mode() & 0o7777, 0o500);
        assert_eq!(fs::read_link(there("link")).unwrap(), Path::new("/etc/passwd"));
        let changed = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(changed(there("script")), changed(path("script")));
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let from = tempfile::tempdir().unwrap();
        File::create(from.path().join("sparse")).unwrap().set_len(BYTES_MAX + 1).unwrap();
        let root = rustix::fs::open(from.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let packed = tempfile::tempfile().unwrap();
        assert!(matches!(pack_folder(&root, &packed), Err(Unfit::Refused(_))));
    }
}
