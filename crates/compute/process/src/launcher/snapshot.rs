//! Taking the image of a process that a function initialised, and handing it to walled processes. A child of the launcher
//! does the copying, so that nobody waits for it; it looks from outside, and believes nothing that the process says but
//! where its thread's number lies, which is its own affair.
//!
//! Guarantees: an image is taken of one thread alone, with no other process beside it; what it holds open that cannot be
//! opened again is refused by name; the process is stopped while it is looked at, and never runs again afterwards.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    event::Timespec,
    fs::{Mode, OFlags},
    process::{Pid, WaitOptions},
};

use super::{
    Launcher, clock,
    image::{self, Unfit, printable},
    prepare::{Step, Task, no_room},
    shell::{self, At, Failure},
    temporary, walls,
};
use crate::{
    protocol::{self, Reply},
    sys::{self, trace},
};

/// How often, and how far apart, it is looked whether the process has stopped itself.
const LOOKS_MAX: u32 = 400;
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Descriptors up to this one are the platform's: input, output, error, the private channel.
const PLATFORM_LAST: i32 = 3;

/// What the child that copies says at the end.
#[derive(minicbor::Encode, minicbor::Decode)]
pub(super) enum Copied {
    #[n(0)]
    Done(#[n(0)] u64),
    /// A lower-case fragment.
    #[n(1)]
    Refused(#[n(0)] String),
    #[n(2)]
    Failed(#[n(0)] i32),
}

impl Launcher {
    /// Begins to copy the program of a room; [`Reply::Copied`] follows. `descriptors` are files for the image,
    /// the program and what lies in `/tmp`.
    pub(super) fn copy(
        &mut self,
        id: u64,
        thread_id: u64,
        path: &str,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let room = self.rooms.get(&id).ok_or_else(no_room)?;
        let none = || Failure { stage: "no process is there to be copied".to_owned(), errno: libc::ESRCH };
        let program = room.program.filter(|_| room.task.is_none()).ok_or_else(none)?;
        let Ok([image, file, packed]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            return Err(Failure { stage: "files for an image".to_owned(), errno: libc::EINVAL });
        };
        let reading = open_alone(Path::new(path)).at("image")?;
        let (ours, theirs) = protocol::pair().at("socket")?;
        let init = room.shell.init;
        let others = room.group.processes().at("cgroup")?;
        let child = sys::fork().at("fork")?;
        if child.is_none() {
            drop(ours);
            let files = [File::from(image), File::from(file), File::from(packed)];
            let copied = match copy(program, init, &others, thread_id, &files) {
                Ok(bytes) => Copied::Done(bytes),
                Err(Unfit::Refused(reason)) => Copied::Refused(reason),
                Err(Unfit::Failed(error)) => Copied::Failed(error.raw_os_error().unwrap_or(libc::EIO)),
            };
            // The files are nobody's but the server's when it is told.
            drop(files);
            drop(protocol::send(theirs.as_fd(), &copied, &[]));
            sys::exit_now(0)
        }
        let room = self.rooms.get_mut(&id).ok_or_else(no_room)?;
        room.task = Some(Task { step: Step::Copying { report: ours, image: reading }, begun: clock() });
        Ok(())
    }
}

/// Opens a file for reading as if it lay in the root: a sandbox sees of a mapped file how it was opened.
fn open_alone(path: &Path) -> io::Result<OwnedFd> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let tree = shell::open_tree(folder, attributes)?;
    Ok(rustix::fs::openat(&tree, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?)
}

/// What the server is told of it.
pub(super) fn hear(id: u64, report: &OwnedFd) -> Result<Reply, Failure> {
    match protocol::receive::<Copied>(report.as_fd()).at("copying a process")? {
        Some((Copied::Done(bytes), _)) => Ok(Reply::Copied { id, bytes, refused: None }),
        Some((Copied::Refused(reason), _)) => Ok(Reply::Copied { id, bytes: 0, refused: Some(reason) }),
        Some((Copied::Failed(errno), _)) => Err(Failure { stage: "copying a process".to_owned(), errno }),
        None => Err(Failure { stage: "the copying process ended".to_owned(), errno: 0 }),
    }
}

fn copy(
    pid: Pid,
    init: Pid,
    others: &[i32],
    thread_id: u64,
    [image, program, packed]: &[File; 3],
) -> Result<u64, Unfit> {
    walls::die_with_parent()?;
    wait_for_stop(pid)?;
    check_alone(pid, init, others)?;
    check_descriptors(pid)?;
    trace::seize(pid)?;
    rustix::process::waitpid(Some(pid), WaitOptions::empty()).map_err(io::Error::from)?;
    // Nobody can have come while it is held.
    check_alone(pid, init, others)?;
    let registers = match trace::registers(pid) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            return Err(Unfit::Refused("there are no snapshots on this kind of processor".to_owned()));
        }
        registers => registers?,
    };
    temporary::pack(pid, packed)?;
    image::write(pid, (&registers, trace::thread(pid)?, thread_id), image, program)
}

/// The process says that it is ready, and stops itself then.
fn wait_for_stop(pid: Pid) -> Result<(), Unfit> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    for _ in 0..LOOKS_MAX {
        let stat = fs::read_to_string(&path)?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            return Ok(());
        }
        let _ = rustix::event::poll(&mut [], Some(&LOOK));
    }
    Err(Unfit::Refused("it did not stand still".to_owned()))
}

/// One thread, and no process beside the shell's init.
fn check_alone(pid: Pid, init: Pid, group: &[i32]) -> Result<(), Unfit> {
    let number = pid.as_raw_nonzero().get();
    let threads = fs::read_dir(format!("/proc/{number}/task"))?.count();
    if threads != 1 {
        return Err(Unfit::Refused(format!("its initialisation left {threads} threads")));
    }
    let own = [number, init.as_raw_nonzero().get()];
    let others = group.iter().filter(|other| !own.contains(other)).count();
    if others != 0 {
        return Err(Unfit::Refused(format!("its initialisation left {others} other processes")));
    }
    Ok(())
}

/// Files can be opened again and connections are dead; what else it holds has a life of its own in the kernel.
fn check_descriptors(pid: Pid) -> Result<(), Unfit> {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if number <= PLATFORM_LAST {
            continue;
        }
        let target = fs::read_link(format!("{folder}/{number}"))?.to_string_lossy().into_owned();
        let refused = if target.ends_with(" (deleted)") {
            Some("a deleted file".to_owned())
        } else if target.starts_with('/') || target.starts_with("socket:") {
            None
        } else if target.starts_with("pipe:") {
            Some("a pipe".to_owned())
        } else {
            Some(printable(target.trim_start_matches("anon_inode:").trim_matches(['[', ']'])))
        };
        if let Some(what) = refused {
            return Err(Unfit::Refused(format!("it holds {what} open")));
        }
    }
    Ok(())
}
