//! What the server and the launcher say to each other: one CBOR message per packet of a sequenced-packet socket, with the
//! descriptors that belong to it. The first message of each side carries [`VERSION`]; another version ends the session.

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use minicbor::{Decode, Encode};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// Raised with every change of a message.
pub(crate) const VERSION: u16 = 4;
/// AWS Lambda's quota "Execution processes/threads".
pub(crate) const PROCESSES_MAX: u64 = 1024;
/// The step at which a disk that is full shows.
pub(crate) const DISK_STAGE: &str = "tmp disk";
/// The greatest packet, in bytes; environment variables are bounded far below it.
const PACKET_BYTES_MAX: usize = 128 * 1024;
/// The greatest number of descriptors in a packet.
const DESCRIPTORS_MAX: usize = 16;

/// From the server.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Request {
    /// The first message.
    #[n(0)]
    Hello {
        #[n(0)]
        version: u16,
        /// Names this server's cgroups and files among those of others: `<pid>-<start time>`.
        #[n(1)]
        instance: String,
        /// A folder of the launcher's own.
        #[n(2)]
        state: String,
        /// The folder that every shell sees as `/var/runtime`.
        #[n(3)]
        runtime: String,
    },
    /// Make a sandbox that knows no function yet.
    #[n(1)]
    MakeShell {
        #[n(0)]
        id: u64,
    },
    /// Kill everything in it and give back what it held.
    #[n(3)]
    End {
        #[n(0)]
        id: u64,
    },
    /// Run one more program in a shell that has what is the function's. Descriptors: stdout, stderr.
    #[n(8)]
    Add {
        #[n(0)]
        id: u64,
        #[n(1)]
        run: Box<Run>,
    },
    /// Send SIGTERM or SIGKILL to a program of a shell.
    #[n(9)]
    Signal {
        #[n(0)]
        id: u64,
        #[n(1)]
        pid: i32,
        #[n(2)]
        signal: i32,
    },
    /// Make a TCP socket in a shell's network. The answer carries `ask`, a number above every shell's.
    #[n(10)]
    Socket {
        #[n(0)]
        id: u64,
        #[n(1)]
        ask: u64,
    },
    /// Put an unassigned process into a shell, behind all walls. Descriptors: stdout, stderr, the private channel.
    #[n(16)]
    Prepare {
        #[n(0)]
        id: u64,
        #[n(1)]
        kind: Kind,
        #[n(2)]
        tmp_bytes: u64,
        #[n(3)]
        processes_max: u64,
    },
    /// Give a prepared process what it is to be. Descriptors, when it is to be restored: the program, the image,
    /// and what lies in `/tmp` if anything does.
    #[n(17)]
    Assign {
        #[n(0)]
        id: u64,
        #[n(1)]
        assignment: Box<Assignment>,
    },
    /// Start a template in a sandbox of its own. It runs no user code.
    #[n(18)]
    Template {
        #[n(0)]
        id: u64,
        #[n(1)]
        program: Box<Template>,
    },
    /// Copy a process that has stopped itself, so that others can be made like it. Descriptors: files for its memory,
    /// for the program that puts one together, and for what lies in `/tmp`.
    #[n(19)]
    Copy {
        #[n(0)]
        id: u64,
        /// Where its thread keeps its own number, as it says itself.
        #[n(1)]
        thread_id: u64,
        /// The path of the first file.
        #[n(2)]
        image: String,
    },
    /// Open the way out of a shell, before a function enters it. The answer carries `ask`, a number above every shell's.
    #[n(20)]
    Egress {
        #[n(0)]
        id: u64,
        #[n(1)]
        ask: u64,
        /// What it may reach beside the internet, as ranges of addresses.
        #[n(2)]
        allow: Vec<String>,
        /// Whether the host reaches the internet of version 6.
        #[n(3)]
        v6: bool,
    },
}

/// What an unassigned process is made from.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(crate) enum Kind {
    /// A process that will execute what it is told.
    #[n(0)]
    Blank,
    /// A fork of the template of this id.
    #[n(1)]
    Fork(#[n(0)] u64),
}

/// What is the function's, attached and set from outside.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Assignment {
    /// The folder at `/var/task`; absent while a runtime is only booted.
    #[n(0)]
    pub(crate) code: Option<String>,
    /// The folders merged into `/opt`, later over earlier.
    #[n(1)]
    pub(crate) layers: Vec<String>,
    /// The folder at `/var/lang`, when the interpreter does not lie in `/usr` and is not there yet.
    #[n(2)]
    pub(crate) language: Option<String>,
    /// Absent as long as no function's code runs.
    #[n(3)]
    pub(crate) limits: Option<Bounds>,
    /// What a blank process becomes.
    #[n(4)]
    pub(crate) run: Option<Run>,
}

/// What a function may use.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(crate) struct Bounds {
    #[n(0)]
    pub(crate) memory_bytes: u64,
    /// Relative processor weight; 1024 is one unit.
    #[n(1)]
    pub(crate) cpu_shares: u64,
    #[n(2)]
    pub(crate) processes_max: u64,
}

/// A program that a blank process becomes.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Run {
    /// The program inside the sandbox: the first of these paths that exists.
    #[n(0)]
    pub(crate) programs: Vec<String>,
    #[n(1)]
    pub(crate) arguments: Vec<String>,
    /// `NAME=value`.
    #[n(2)]
    pub(crate) variables: Vec<String>,
    /// Whether it keeps the private channel.
    #[n(3)]
    pub(crate) channel: bool,
    /// Whether it becomes a copy of a process instead: what is executed comes as a descriptor.
    #[n(4)]
    pub(crate) restore: bool,
}

/// A runtime that is started once and forked for many.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Template {
    /// The folder at `/var/lang`, when the interpreter does not lie in `/usr`.
    #[n(0)]
    pub(crate) language: Option<String>,
    #[n(1)]
    pub(crate) program: String,
    #[n(2)]
    pub(crate) arguments: Vec<String>,
    #[n(3)]
    pub(crate) variables: Vec<String>,
}

/// What runs in a shell and what it sees.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Entry {
    /// The folder at `/var/task`.
    #[n(0)]
    pub(crate) code: String,
    /// The folders merged into `/opt`, later over earlier.
    #[n(1)]
    pub(crate) layers: Vec<String>,
    /// The folder at `/var/lang`, when the interpreter does not lie in `/usr`.
    #[n(2)]
    pub(crate) language: Option<String>,
    /// The program inside the sandbox: the first of these paths that exists.
    #[n(3)]
    pub(crate) programs: Vec<String>,
    #[n(4)]
    pub(crate) arguments: Vec<String>,
    /// `NAME=value`.
    #[n(5)]
    pub(crate) variables: Vec<String>,
    #[n(6)]
    pub(crate) memory_bytes: u64,
    #[n(7)]
    pub(crate) tmp_bytes: u64,
    /// Relative processor weight; 1024 is one unit.
    #[n(8)]
    pub(crate) cpu_shares: u64,
    #[n(9)]
    pub(crate) processes_max: u64,
}

/// From the launcher.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Reply {
    /// The answer to [`Request::Hello`].
    #[n(0)]
    Hello {
        #[n(0)]
        version: u16,
        #[n(1)]
        level: Level,
        #[n(2)]
        findings: Vec<Found>,
    },
    /// Descriptors: the Runtime API's listener, the AWS endpoint's listener.
    #[n(1)]
    ShellReady {
        #[n(0)]
        id: u64,
        #[n(1)]
        micros: u64,
    },
    /// The shell or the entry could not be made; the shell is gone.
    #[n(3)]
    Failed {
        #[n(0)]
        id: u64,
        #[n(1)]
        stage: String,
        #[n(2)]
        errno: i32,
    },
    /// The answer to [`Request::Add`]: its walls were seen to stand, it runs.
    #[n(8)]
    Added {
        #[n(0)]
        id: u64,
        #[n(1)]
        pid: i32,
    },
    /// A program of a shell with further ones has ended: its own, or the further one of this pid. The shell lives on.
    #[n(9)]
    Left {
        #[n(0)]
        id: u64,
        #[n(1)]
        pid: Option<i32>,
        #[n(2)]
        end: End,
    },
    /// The answer to [`Request::Socket`]. Descriptor: the socket.
    #[n(10)]
    Socket {
        #[n(0)]
        ask: u64,
    },
    /// The walls were seen to stand; the process waits for its assignment.
    #[n(16)]
    Prepared {
        #[n(0)]
        id: u64,
        #[n(1)]
        pid: i32,
        #[n(2)]
        host_uid: u32,
        #[n(3)]
        walls: Vec<Found>,
        #[n(4)]
        gauges: Gauges,
        #[n(5)]
        micros: u64,
    },
    /// Everything of an assignment is in place; what was to be executed runs.
    #[n(17)]
    Assigned {
        #[n(0)]
        id: u64,
        #[n(1)]
        micros: u64,
    },
    /// A template can be forked.
    #[n(18)]
    TemplateReady {
        #[n(0)]
        id: u64,
        /// The top-level names that are imported in it: a function that brings one of its own is not forked from it.
        #[n(1)]
        modules: Vec<String>,
        #[n(2)]
        gauges: Gauges,
        #[n(3)]
        micros: u64,
    },
    /// The answer to [`Request::Copy`]. Descriptor: the image to be read, by a way that shows nothing of its path.
    #[n(19)]
    Copied {
        #[n(0)]
        id: u64,
        #[n(1)]
        bytes: u64,
        /// Why there can be no copy, a lower-case fragment.
        #[n(2)]
        refused: Option<String>,
    },
    /// Everything in the shell has ended.
    #[n(4)]
    Ended {
        #[n(0)]
        id: u64,
        #[n(1)]
        end: End,
    },
    /// The answer to [`Request::Egress`]. Descriptors: the listener for connections to the outside, the resolver's datagram
    /// socket, the resolver's listener.
    #[n(20)]
    Egress {
        #[n(0)]
        ask: u64,
    },
}

/// How the program in a shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum End {
    #[n(0)]
    Status(#[n(0)] i32),
    #[n(1)]
    Signal(#[n(0)] i32),
    #[n(2)]
    OutOfMemory,
    /// The program never ran.
    #[n(3)]
    Never,
}

/// The isolation that the launcher found possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Level {
    #[n(0)]
    Refused,
    #[n(1)]
    SingleUid,
    #[n(2)]
    NoLimits,
    #[n(3)]
    Full,
}

/// One thing that was looked at: a wall, or a feature of the host.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Found {
    #[n(0)]
    pub(crate) name: String,
    /// 0 there, 1 in part (walls: put up but not visible from outside), 2 missing.
    #[n(1)]
    pub(crate) state: u8,
    #[n(2)]
    pub(crate) detail: String,
    #[n(3)]
    pub(crate) remedy: String,
}

/// The files in which the server reads and steers an environment; empty where the host has none.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(crate) struct Gauges {
    /// Rises with the peak: `memory.max_usage_in_bytes` or `memory.peak`.
    #[n(0)]
    pub(crate) memory_peak: String,
    /// `memory.stat`.
    #[n(1)]
    pub(crate) memory_stat: String,
    /// `cpuacct.usage` (nanoseconds) or `cpu.stat` (`usage_usec`).
    #[n(2)]
    pub(crate) cpu: String,
    /// `freezer.state` or `cgroup.freeze`.
    #[n(3)]
    pub(crate) freezer: String,
    /// Version 1 only: `memory.oom_control`. Version 2 ends the whole group by itself.
    #[n(4)]
    pub(crate) memory_end: String,
    /// `cpu.max` or `cpu.cfs_quota_us`.
    #[n(5)]
    pub(crate) quota: String,
}

/// Sends one message with its descriptors.
pub(crate) fn send<M: Encode<()>>(
    socket: BorrowedFd<'_>,
    message: &M,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = minicbor::to_vec(message).map_err(io::Error::other)?;
    send_bytes(socket, &bytes, descriptors, SendFlags::empty())
}

/// Sends one packet with its descriptors.
pub(crate) fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message to the launcher is too large"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors in a message"));
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags | SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one message; none when the other side is gone.
pub(crate) fn receive<M: for<'b> Decode<'b, ()>>(socket: BorrowedFd<'_>) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    BUFFER.with_borrow_mut(|bytes| {
        let (received, descriptors) = receive_into(socket, bytes)?;
        if received == 0 {
            return Ok(None);
        }
        let message = minicbor::decode(&bytes[..received]).map_err(io::Error::other)?;
        Ok(Some((message, descriptors)))
    })
}

/// Receives one packet without descriptors; empty when the other side is gone.
pub(crate) fn receive_bytes(socket: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    BUFFER.with_borrow_mut(|bytes| {
        let (received, _) = receive_into(socket, bytes)?;
        Ok(bytes[..received].to_vec())
    })
}

thread_local! {
    /// One packet; kept, because a fresh one is cleared page by page.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PACKET_BYTES_MAX]);
}

fn receive_into(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let parts = &mut [IoSliceMut::new(bytes)];
        match rustix::net::recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received, descriptors))
}

/// A connected pair that keeps packets apart.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Bounds how long [`receive`] waits on this socket.
pub(crate) fn limit_wait(socket: &OwnedFd, limit: std::time::Duration) -> io::Result<()> {
    rustix::net::sockopt::set_socket_timeout(socket.as_fd(), rustix::net::sockopt::Timeout::Recv, Some(limit))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors_and_the_end_is_seen() {
        let (ours, theirs) = pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(ours.as_fd(), &Request::End { id: 7 }, &[writer.as_fd()]).unwrap();
        let (message, descriptors) = receive::<Request>(theirs.as_fd()).unwrap().unwrap();
        assert!(matches!(message, Request::End { id: 7 }));
        assert_eq!(descriptors.len(), 1);
        drop((writer, descriptors));
        assert_eq!(std::io::read_to_string(reader).unwrap(), "");
        drop(ours);
        assert!(receive::<Request>(theirs.as_fd()).unwrap().is_none());
    }

    #[test]
    fn what_is_too_large_or_no_message_is_refused() {
        let (ours, theirs) = pair().unwrap();
        let instance = "x".repeat(PACKET_BYTES_MAX);
        let hello = Request::Hello { version: VERSION, instance, state: String::new(), runtime: String::new() };
        assert!(send(ours.as_fd(), &hello, &[]).is_err());
        rustix::io::write(&ours, b"\xff\xff").unwrap();
        assert!(receive::<Request>(theirs.as_fd()).is_err());
    }
}
