//! `/tmp` with a hard quota on disk: a sparse ext4 image per environment behind a loop device, handed over as a detached
//! mount. The image has no name any more once it is mounted and the device frees itself with its last user, so nothing is
//! left behind by whatever kills us. Where loop devices or `mkfs.ext4` are missing, a size-limited tmpfs stands in; it is
//! charged to the function's memory, which the host's report says.

use std::{
    cell::RefCell,
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, SeekFrom, Uid},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
};

use crate::{protocol::Found, sys};

const MKFS: [&str; 4] = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4", "/usr/bin/mkfs.ext4", "/usr/local/sbin/mkfs.ext4"];
/// Devices that others took between asking for a free one and taking it.
const ATTEMPTS_MAX: u32 = 16;

/// What makes an image quick, which lives no longer than its environment: it is never flushed to the host's disk (mounting
/// and unmounting wait for that otherwise, and so would whoever shares the disk), and its free space is looked for when it
/// is needed.
const QUICK: [&str; 2] = ["nobarrier", "no_prefetch_block_bitmaps"];

/// Makes the `/tmp` of environments.
pub(crate) struct Disks {
    folder: PathBuf,
    mkfs: Option<&'static str>,
    unusable: Option<String>,
    /// One mounted image made ahead of need, and its size.
    spare: RefCell<Option<(u64, OwnedFd)>>,
}

impl Disks {
    /// Looks for what images need; `folder` is the launcher's own.
    pub(crate) fn detect(folder: PathBuf, root: bool) -> Self {
        let mkfs = MKFS.into_iter().find(|path| Path::new(path).exists());
        let mut disks = Self { folder, mkfs, unusable: None, spare: RefCell::new(None) };
        disks.unusable = match (root, mkfs, Path::new("/dev/loop-control").exists()) {
            (false, _, _) => Some("an ordinary user cannot mount a disk image".to_owned()),
            (_, None, _) => Some("`mkfs.ext4` is not installed".to_owned()),
            (_, _, false) => Some("the host has no loop devices".to_owned()),
            (true, Some(_), true) => {
                disks.image(512 << 20).err().map(|error| format!("mounting a disk image failed: {error}"))
            }
        };
        disks
    }

    pub(crate) fn finding(&self) -> Found {
        match &self.unusable {
            None => Found::there("tmp quota", "a disk image per environment".to_owned()),
            Some(reason) => Found::partly(
                "tmp quota",
                format!("a tmpfs, charged to the function's memory: {reason}"),
                "run as root with loop devices and e2fsprogs installed",
            ),
        }
    }

    /// A detached, empty file system of `bytes` whose root belongs to `uid` and `gid`.
    pub(crate) fn make(&self, bytes: u64, uid: u32, gid: u32) -> io::Result<OwnedFd> {
        if self.unusable.is_some() {
            return tmpfs(bytes, uid, gid, false);
        }
        let spare = self.spare.borrow_mut().take_if(|(size, _)| *size == bytes);
        let mount = match spare {
            Some((_, mount)) => mount,
            None => self.image(bytes)?,
        };
        let root =
            rustix::fs::openat(&mount, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fchown(&root, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o700))?;
        Ok(mount)
    }

    /// Makes the next image of this size ahead of need, if none is waiting.
    pub(crate) fn prepare(&self, bytes: u64) {
        let mut spare = self.spare.borrow_mut();
        if self.unusable.is_none() && spare.as_ref().is_none_or(|(size, _)| *size != bytes) {
            // What fails now fails again, and is reported, when it is needed.
            *spare = self.image(bytes).ok().map(|mount| (bytes, mount));
        }
    }

    fn image(&self, bytes: u64) -> io::Result<OwnedFd> {
        let template = self.template(bytes)?;
        let path = self.folder.join("tmp.image");
        let image = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        fs::remove_file(&path)?;
        copy_sparse(&template, &image, bytes)?;
        mount(&image)
    }

    /// The empty file system of this size, made once.
    fn template(&self, bytes: u64) -> io::Result<File> {
        let path = self.folder.join(format!("tmp-{bytes}.empty"));
        if let Ok(file) = File::open(&path) {
            return Ok(file);
        }
        let mkfs = self.mkfs.ok_or_else(|| io::Error::other("mkfs.ext4 is not installed"))?;
        let draft = self.folder.join(format!("tmp-{bytes}.draft"));
        File::create(&draft)?.set_len(bytes)?;
        let made = Command::new(mkfs)
            .args(["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"])
            .arg(&draft)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !made.success() {
            return Err(io::Error::other(format!("{mkfs} failed: {made}")));
        }
        // Once, and not in every image: what is looked at in a new one has to be read from its device.
        let whole = mount(&File::options().read(true).write(true).open(&draft)?)?;
        let root =
            rustix::fs::openat(&whole, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // Absent when mkfs did not make it.
        let _ = rustix::fs::unlinkat(&root, "lost+found", AtFlags::REMOVEDIR);
        rustix::fs::syncfs(&root)?;
        drop((root, whole));
        fs::rename(&draft, &path)?;
        File::open(&path)
    }
}

/// The file system in an image, as a detached mount.
fn mount(image: &File) -> io::Result<OwnedFd> {
    let device = attach(image)?;
    // An older kernel knows fewer options.
    let context = open(&device.1, &QUICK).or_else(|_| open(&device.1, &[]))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The file system on a device, with the options that every kernel knows and these.
fn open(device: &str, options: &[&str]) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", device)?;
    for option in ["discard", "noinit_itable"].iter().chain(options) {
        rustix::mount::fsconfig_set_flag(context.as_fd(), *option)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(context)
}

/// A size-limited tmpfs as a detached mount.
pub(crate) fn tmpfs(bytes: u64, uid: u32, gid: u32, executable: bool) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in
        [("size", bytes.to_string()), ("uid", uid.to_string()), ("gid", gid.to_string()), ("mode", "700".to_owned())]
    {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, executable);
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Copies what is not a hole; shares the blocks where the file system can.
fn copy_sparse(from: &File, to: &File, bytes: u64) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    to.set_len(bytes)?;
    let mut at = 0;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(start) = rustix::fs::seek(from, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?;
        let mut position = start;
        while position < end {
            let want = usize::try_from(end - position).unwrap_or(usize::MAX).min(buffer.len());
            let read = rustix::io::pread(from, &mut buffer[..want], position)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            std::os::unix::fs::FileExt::write_all_at(to, &buffer[..read], position)?;
            position += read as u64;
        }
        at = end;
    }
    Ok(())
}

/// Binds the image to a free loop device.
fn attach(image: &File) -> io::Result<(File, String)> {
    let control = File::options().read(true).write(true).open("/dev/loop-control")?;
    let mut last = io::Error::other("no loop device is free");
    for _ in 0..ATTEMPTS_MAX {
        let number = sys::free_loop_device(control.as_fd())?;
        let path = format!("/dev/loop{number}");
        if !Path::new(&path).exists() {
            // Without a device daemon nobody makes the node of a new device.
            let device = rustix::fs::makedev(7, number);
            let _ =
                rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::BlockDevice, Mode::from_raw_mode(0o600), device);
        }
        let device = File::options().read(true).write(true).open(&path)?;
        match sys::configure_loop_device(device.as_fd(), image.as_fd()) {
            Ok(()) => return Ok((device, path)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
