//! Bringing an older data directory to the present format: back it up, change it step by step, mark it last.
//!
//! Every step can be run again, so an upgrade that was cut short anywhere simply runs again at the next start. The backup is complete before the first
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
