//! More programs in a shell than its own: the extensions of a function, started before its runtime behind the same walls
//! and limits, each with its own output; signals to one of them; and sockets that belong to the shell's network.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType},
    process::{Pid, Signal, WaitOptions},
    thread::{LinkNameSpaceType, ThreadNameSpaceType},
};

use super::{
    Launcher, Room, enter,
    shell::{At, Failure, Shell},
};
use crate::{
    protocol::{self, PROCESSES_MAX, Reply, Run},
    sys,
};

/// How long the process that makes a socket may take; it does nothing that waits.
const WAIT: Duration = Duration::from_secs(10);

/// A further program of a shell.
pub(super) struct Extra {
    pid: Pid,
}

impl Extra {
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.pid == pid
    }
}

impl Launcher {
    /// Runs one more program in a shell that is furnished for its function.
    pub(super) fn add(&mut self, id: u64, run: &Run, descriptors: Vec<OwnedFd>) -> Result<Pid, Failure> {
        let room = self.rooms.get(&id).ok_or_else(no_room)?;
        if !room.furnished {
            return Err(Failure { stage: "the shell is not furnished".to_owned(), errno: libc::EINVAL });
        }
        let (pid, _) = enter::run_in(&self.ground(room), Vec::new(), PROCESSES_MAX, run, descriptors)?;
        let room = self.rooms.get_mut(&id).ok_or_else(no_room)?;
        room.extras.push(Extra { pid });
        room.extended = true;
        Ok(pid)
    }

    /// Sends a signal to the shell's own program or to a further one, and to nothing else.
    pub(super) fn signal(&self, id: u64, pid: i32, signal: i32) {
        let Some(room) = self.rooms.get(&id) else { return };
        let Some(pid) = Pid::from_raw(pid) else { return };
        let known = room.program == Some(pid) || room.extras.iter().any(|extra| extra.pid == pid);
        let signal = match signal {
            libc::SIGTERM => Signal::TERM,
            libc::SIGKILL => Signal::KILL,
            _ => return,
        };
        if known {
            // It is not reaped while it is known: the number is still its own.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// A TCP socket of the shell's network namespace, connected to nothing yet.
    pub(super) fn socket(&self, id: u64) -> Result<OwnedFd, Failure> {
        let room = self.rooms.get(&id).ok_or_else(no_room)?;
        let (ours, theirs) = protocol::pair().at("socket")?;
        protocol::limit_wait(&ours, WAIT).at("socket")?;
        let Some(child) = sys::fork().at("fork")? else {
            let reply = match make_socket(&room.shell) {
                Ok(socket) => protocol::send(theirs.as_fd(), &Reply::Socket { ask: 0 }, &[socket.as_fd()]),
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or_default();
                    protocol::send(theirs.as_fd(), &Reply::Failed { id, stage: "socket".to_owned(), errno }, &[])
                }
            };
            sys::exit_now(i32::from(reply.is_err()))
        };
        drop(theirs);
        let received = protocol::receive::<Reply>(ours.as_fd()).at("socket");
        let _ = rustix::process::kill_process(child, Signal::KILL);
        let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
        match received? {
            Some((Reply::Socket { .. }, mut sockets)) if sockets.len() == 1 => Ok(sockets.remove(0)),
            Some((Reply::Failed { stage, errno, .. }, _)) => Err(Failure { stage, errno }),
            _ => Err(Failure { stage: "socket".to_owned(), errno: 0 }),
        }
    }
}

impl Room {
    /// Forgets a further program that has ended; false when it is none of them.
    pub(super) fn lose(&mut self, pid: Pid) -> bool {
        let before = self.extras.len();
        self.extras.retain(|extra| extra.pid != pid);
        self.extras.len() < before
    }
}

fn no_room() -> Failure {
    Failure { stage: "no such shell".to_owned(), errno: libc::ESRCH }
}

fn make_socket(shell: &Shell) -> io::Result<OwnedFd> {
    match &shell.spaces {
        None => rustix::thread::move_into_thread_name_spaces(shell.init_fd.as_fd(), ThreadNameSpaceType::NETWORK)?,
        Some(spaces) => {
            rustix::thread::move_into_link_name_space(spaces.net.as_fd(), Some(LinkNameSpaceType::Network))?
        }
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?)
}
