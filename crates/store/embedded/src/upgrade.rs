//! Bringing an older data directory to the present format: back it up, change it step by step, mark it last.
//!
//! Every step can be run again, so an upgrade that was cut short anywhere simply runs again at the next start. The
//! backup is complete before the first
//! step begins and is never touched again.
//!
//! Format 0 kept its blobs flat in `blobs/` and did not name its engine (it was always redb).

use std::io;

use crate::{
    Disk, EngineKind,
    blobs::DIRECTORY as BLOBS,
    data_dir::write_format,
    disk::{join, remove_if_there},
};

const BACKUPS: &str = "backups";
const COPIED: [&str; 3] = ["FORMAT", "store", "blobs"];

/// Upgrades from any older format; the engine it keeps.
pub(crate) fn run(disk: &dyn Disk) -> io::Result<EngineKind> {
    back_up(disk)?;
    shard_blobs(disk)?;
    write_format(disk, EngineKind::Tree)?;
    Ok(EngineKind::Tree)
}

/// Copies everything of the old format to `backups/format-0`, whole or not at all.
fn back_up(disk: &dyn Disk) -> io::Result<()> {
    let (partial, whole) = (join(BACKUPS, "format-0.partial"), join(BACKUPS, "format-0"));
    disk.create_dir(BACKUPS)?;
    disk.sync_dir("")?;
    if disk.list(BACKUPS)?.iter().any(|name| name == "format-0") {
        return Ok(()); // by the run that was cut short
    }
    disk.create_dir(&partial)?;
    for name in COPIED {
        if disk.list("")?.iter().any(|present| present == name) {
            copy(disk, name, &join(&partial, name))?;
        }
    }
    disk.sync_dir(&partial)?;
    disk.rename(&partial, &whole)?;
    disk.sync_dir(BACKUPS)
}

/// Copies a file or a tree.
fn copy(disk: &dyn Disk, from: &str, to: &str) -> io::Result<()> {
    let Ok(names) = disk.list(from) else {
        remove_if_there(disk, to)?;
        let (source, target) = (disk.open(from)?, disk.create(to)?);
        let (length, mut offset) = (source.length()?, 0);
        let mut chunk = vec![0; 1 << 20];
        while offset < length {
            let part = usize::try_from(length - offset).map_or(chunk.len(), |rest| rest.min(chunk.len()));
            source.read_at(&mut chunk[..part], offset)?;
            target.write_at(&chunk[..part], offset)?;
            offset += part as u64;
        }
        return target.sync();
    };
    disk.create_dir(to)?;
    for name in names {
        copy(disk, &join(from, &name), &join(to, &name))?;
    }
    disk.sync_dir(to)
}

/// `blobs/<id>` becomes `blobs/<two digits>/<id>`.
fn shard_blobs(disk: &dyn Disk) -> io::Result<()> {
    if !disk.list("")?.iter().any(|name| name == BLOBS) {
        return Ok(());
    }
    for name in disk.list(BLOBS)? {
        if name.len() == 2 {
            continue; // a shard, made by the run that was cut short
        }
        let shard = join(BLOBS, &name[..name.len().min(2)]);
        disk.create_dir(&shard)?;
        disk.rename(&join(BLOBS, &name), &join(&shard, &name))?;
        disk.sync_dir(&shard)?;
    }
    disk.sync_dir(BLOBS)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs,
        path::Path,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use super::*;
    use crate::{DiskFile, RealDisk};

    /// Fails every operation after the first `left`.
    #[derive(Debug)]
    struct Interrupted {
        disk: RealDisk,
        left: AtomicU64,
    }

    impl Interrupted {
        fn operate(&self) -> io::Result<()> {
            let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            before.map(drop).map_err(|_| io::Error::other("interrupted"))
        }
    }

    impl Disk for Interrupted {
        fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
            self.operate()?;
            self.disk.create(path)
        }
        fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
            self.operate()?;
            self.disk.open(path)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.operate()?;
            self.disk.rename(from, to)
        }
        fn remove(&self, path: &str) -> io::Result<()> {
            self.operate()?;
            self.disk.remove(path)
        }
        fn create_dir(&self, path: &str) -> io::Result<()> {
            self.operate()?;
            self.disk.create_dir(path)
        }
        fn list(&self, path: &str) -> io::Result<Vec<String>> {
            self.operate()?;
            self.disk.list(path)
        }
        fn sync_dir(&self, path: &str) -> io::Result<()> {
            self.operate()?;
            self.disk.sync_dir(path)
        }
        fn free_bytes(&self) -> io::Result<u64> {
            self.disk.free_bytes()
        }
    }

    fn tree(root: &Path, below: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let name = join(below, &entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                found.extend(tree(root, &name));
            } else {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
        found
    }

    #[test]
    fn an_upgrade_cut_short_anywhere_goes_on() {
        let old: BTreeMap<String, Vec<u8>> = [
            ("FORMAT", "pileus data directory\nformat 0\n"),
            ("store/index.redb", "index"),
            ("store/log/0000000000000001", "log"),
            ("blobs/00112233445566778899aabbccddeeff", "one"),
            ("blobs/00ffffffffffffffffffffffffffffff", "two"),
            ("blobs/ff112233445566778899aabbccddeeff", "three"),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes.as_bytes().to_vec()))
        .into();
        let mut interruptions = 0;
        for left in 0.. {
            let temporary = tempfile::tempdir().unwrap();
            let root = temporary.path();
            for (name, bytes) in &old {
                fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
                fs::write(root.join(name), bytes).unwrap();
            }
            let first = run(&Interrupted { disk: RealDisk::new(root), left: AtomicU64::new(left) });
            if first.is_err() {
                interruptions += 1;
                run(&RealDisk::new(root)).unwrap();
            }
            let backup: BTreeMap<_, _> = tree(root, "backups/format-0")
                .into_iter()
                .map(|(k, v)| (k["backups/format-0/".len()..].to_owned(), v))
                .collect();
            assert_eq!(backup, old, "after {left} operations");
            let text = fs::read_to_string(root.join("FORMAT")).unwrap();
            assert_eq!(text, "pileus data directory\nformat 1\nengine redb\n");
            let blobs: Vec<String> = tree(root, "blobs").into_keys().collect();
            assert_eq!(
                blobs,
                [
                    "blobs/00/00112233445566778899aabbccddeeff",
                    "blobs/00/00ffffffffffffffffffffffffffffff",
                    "blobs/ff/ff112233445566778899aabbccddeeff"
                ]
            );
            if first.is_ok() {
                break;
            }
        }
        assert!(interruptions > 40, "only {interruptions} points were tried");
    }
}
