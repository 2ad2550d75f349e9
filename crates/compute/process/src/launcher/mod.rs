//! The launcher: the one process that clones, kills and reaps. It has a single thread, is started before anything of the
//! server runs in it, obeys the [`crate::protocol`], and ends everything it started when the server's end of the socket
//! closes, however that comes about.

mod cgroup;
mod egress;
mod enter;
mod extra;
mod image;
mod netlink;
mod prepare;
mod seccomp;
mod shell;
mod snapshot;
mod template;
mod temporary;
mod tmpdisk;
mod uids;
mod walls;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use cgroup::{Group, Hierarchies};
use extra::Extra;
use prepare::{Step, Task};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, Signal, WaitOptions, WaitStatus},
};
use shell::{At, Failure, Ids, Shell};
use tmpdisk::Disks;
use uids::Uids;

use crate::{
    protocol::{self, End, Entry, Found, Level, Reply, Request, VERSION},
    sys,
};

/// How often folders of groups whose last process is still dying are tried again.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Runs the launcher over the socket that is its standard input. Never returns.
pub(crate) fn run() -> ! {
    let status = i32::from(serve().is_err());
    sys::exit_now(status)
}

fn serve() -> io::Result<()> {
    // A session of its own: Ctrl-C on the server's terminal is the server's to handle.
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"pileus-launcher")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let Some((Request::Hello { version, instance, state, runtime }, _)) = protocol::receive(socket.as_fd())? else {
        return Err(io::Error::other("the server did not introduce itself"));
    };
    if version != VERSION {
        let hello = Reply::Hello { version: VERSION, level: Level::Refused, findings: Vec::new() };
        return protocol::send(socket.as_fd(), &hello, &[]);
    }
    let mut launcher = Launcher::open(socket, &instance, PathBuf::from(state), PathBuf::from(runtime))?;
    let hello = Reply::Hello { version: VERSION, level: launcher.level, findings: launcher.findings.clone() };
    protocol::send(launcher.socket.as_fd(), &hello, &[])?;
    let end = launcher.obey();
    launcher.end_all();
    end
}

/// How often tasks that take too long are looked for.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// What a wait brought.
struct Ready {
    asked: bool,
    died: bool,
    /// The rooms that have their next word.
    advanced: Vec<u64>,
}

/// With nothing asked for this long, there is time for what will be needed next.
const BREATH: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

struct Launcher {
    socket: OwnedFd,
    signals: OwnedFd,
    own_pids: File,
    own_mounts: File,
    runtime: PathBuf,
    /// Absent when the launcher has no ids to give: then everything runs under its own.
    uids: Option<Uids>,
    hierarchies: Hierarchies,
    disks: Disks,
    steering: egress::Steering,
    landlock: bool,
    level: Level,
    findings: Vec<Found>,
    rooms: BTreeMap<u64, Room>,
    /// The size of the last `/tmp`: the next is made ahead when there is nothing else to do.
    tmp_bytes: Option<u64>,
    /// Groups whose folders could not be removed yet.
    dying: Vec<Group>,
}

/// A shell with what belongs to it.
struct Room {
    shell: Shell,
    group: Group,
    ids: Ids,
    program: Option<Pid>,
    end: Option<End>,
    /// Programs beside its own; as long as there ever were any, the server decides when the shell ends.
    extras: Vec<Extra>,
    extended: bool,
    /// Whether a program attached what is the function's already.
    furnished: bool,
    /// Its way out, if it has one.
    gate: Option<egress::Gate>,
    /// What it waits for.
    task: Option<Task>,
    /// The socket of a walled process that waits for its order.
    blank: Option<OwnedFd>,
    /// The socket of the template that lives here.
    template: Option<OwnedFd>,
    /// The folder of the template's interpreter, which its forks see, too.
    language: Option<String>,
}

impl Launcher {
    fn open(socket: OwnedFd, instance: &str, state: PathBuf, runtime: PathBuf) -> io::Result<Self> {
        let root = rustix::process::geteuid().is_root();
        let mut findings = Vec::new();
        let namespaces = if root { Ok(()) } else { own_user_namespace() };
        findings.push(match (&namespaces, root) {
            (Ok(()), true) => Found::there("privilege", "root".to_owned()),
            (Ok(()), false) => Found::partly(
                "privilege",
                "an ordinary user with user namespaces".to_owned(),
                "run as root for one host uid per environment and limits",
            ),
            (Err(error), _) => Found::missing(
                "privilege",
                format!("an ordinary user without user namespaces: {error}"),
                "run as root, or allow them (`sysctl user.max_user_namespaces=10000`, \
                 `sysctl kernel.apparmor_restrict_unprivileged_userns=0`)",
            ),
        });
        let uids = if root { Uids::claim().map(Some) } else { Ok(None) };
        findings.push(match &uids {
            Ok(Some(_)) => Found::there("host uids", "one pair per environment".to_owned()),
            Ok(None) => Found::missing("host uids", "an ordinary user has only its own".to_owned(), "run as root"),
            Err(error) => Found::missing("host uids", error.to_string(), "free the ids from 700000 to 1980000"),
        });
        let hierarchies = Hierarchies::detect(instance);
        let disks = Disks::detect(state, root);
        findings.push(walls::landlock_finding());
        let landlock = findings.last().is_some_and(|finding| finding.state == 0);
        findings.extend(hierarchies.findings());
        findings.push(disks.finding());
        let steering = egress::Steering::detect(root)?;
        findings.push(steering.finding());
        let mut launcher = Self {
            socket,
            signals: sys::child_signals()?,
            own_pids: File::open("/proc/self/ns/pid")?,
            own_mounts: File::open("/proc/self/ns/mnt")?,
            runtime,
            uids: uids.unwrap_or(None),
            hierarchies,
            disks,
            steering,
            landlock,
            level: Level::Refused,
            findings,
            rooms: BTreeMap::new(),
            tmp_bytes: None,
            dying: Vec::new(),
        };
        let trial = namespaces.at("user namespace").and_then(|()| launcher.trial());
        launcher.level = match &trial {
            Err(_) => Level::Refused,
            Ok(()) if launcher.uids.is_none() => Level::SingleUid,
            Ok(()) if !launcher.hierarchies.complete() || !landlock => Level::NoLimits,
            Ok(()) => Level::Full,
        };
        launcher.findings.push(match trial {
            Ok(()) => Found::there("namespaces", "user, pid, mount, network, ipc, uts, cgroup".to_owned()),
            Err(Failure { stage, errno }) => Found::missing(
                "namespaces",
                format!("a trial sandbox failed at `{stage}`: {}", io::Error::from_raw_os_error(errno)),
                "inside a container, allow nested namespaces and mounts; see docs/isolation.md",
            ),
        });
        launcher.end(0);
        Ok(launcher)
    }

    /// Puts up every wall once around a program that does not exist: that it is missed is the last step of success.
    fn trial(&mut self) -> Result<(), Failure> {
        self.make_shell(0)?;
        let entry = Entry {
            code: self.runtime.display().to_string(),
            layers: Vec::new(),
            language: None,
            programs: vec!["/var/task/no-such-program".to_owned()],
            arguments: Vec::new(),
            variables: Vec::new(),
            memory_bytes: 64 << 20,
            tmp_bytes: 512 << 20,
            cpu_shares: 1024,
            processes_max: 16,
        };
        match self.enter(0, &entry, Vec::new()) {
            Err(Failure { stage, errno: libc::ENOENT }) if stage == "exec" => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure { stage: "a trial program ran".to_owned(), errno: 0 }),
        }
    }

    /// Serves requests until the server is gone.
    fn obey(&mut self) -> io::Result<()> {
        loop {
            self.dying.retain(|group| !group.remove());
            let Ready { asked, died, advanced } = self.wait()?;
            for id in advanced {
                if let Some((reply, descriptors)) = self.advance(id) {
                    self.tell(&reply, &descriptors)?;
                }
            }
            for reply in self.expire() {
                self.tell(&reply, &[])?;
            }
            if died {
                self.reap();
            }
            if asked {
                match protocol::receive(self.socket.as_fd())? {
                    None => return Ok(()),
                    Some((request, descriptors)) => self.handle(request, descriptors)?,
                }
            }
        }
    }

    /// Waits until there is something to do, and does what can be done ahead of need when there is not.
    fn wait(&mut self) -> io::Result<Ready> {
        let awaited: Vec<_> = self.rooms.iter().filter_map(|(&id, room)| Some((id, room.awaited()?))).collect();
        let wait = match (self.tmp_bytes, self.dying.is_empty(), awaited.is_empty()) {
            (Some(_), _, _) => Some(&BREATH),
            (None, false, _) => Some(&RETRY),
            (None, true, false) => Some(&LOOK),
            (None, true, true) => None,
        };
        let own = [&self.socket, &self.signals];
        let all = own.into_iter().chain(awaited.iter().map(|(_, fd)| *fd));
        let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let idle = match rustix::event::poll(&mut fds, wait) {
            Ok(ready) => ready == 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        let happened = |index: usize| !fds[index].revents().is_empty();
        let advanced = (own.len()..).zip(&awaited).filter(|(index, _)| happened(*index)).map(|(_, (id, _))| *id);
        let ready = Ready { asked: happened(0), died: happened(1), advanced: advanced.collect() };
        if idle && let Some(bytes) = self.tmp_bytes.take() {
            self.disks.prepare(bytes);
        }
        Ok(ready)
    }

    fn tell(&self, reply: &Reply, descriptors: &[OwnedFd]) -> io::Result<()> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        protocol::send(self.socket.as_fd(), reply, &descriptors)
    }

    fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let failed = |id, Failure { stage, errno }| Reply::Failed { id, stage, errno };
        match request {
            Request::Hello { .. } => Err(io::Error::other("a second introduction")),
            Request::MakeShell { id } => match self.begin_shell(id) {
                Ok(()) => Ok(()),
                Err(failure) => self.tell(&failed(id, failure), &[]),
            },
            Request::Prepare { id, kind, tmp_bytes, processes_max } => {
                match self.prepare(id, kind, (tmp_bytes, processes_max), descriptors) {
                    Ok(()) => Ok(()),
                    Err(failure) => self.refuse(id, failure),
                }
            }
            Request::Copy { id, thread_id, image } => match self.copy(id, thread_id, &image, descriptors) {
                Ok(()) => Ok(()),
                Err(failure) => self.refuse(id, failure),
            },
            Request::Assign { id, assignment } => match self.assign(id, &assignment, &descriptors) {
                Ok(None) => Ok(()),
                Ok(Some(reply)) => self.tell(&reply, &[]),
                Err(failure) => self.refuse(id, failure),
            },
            Request::Template { id, program } => match self.template(id, &program) {
                Ok(()) => Ok(()),
                Err(failure) => self.refuse(id, failure),
            },
            Request::End { id } => {
                self.end(id);
                Ok(())
            }
            Request::Add { id, run } => {
                let reply = match self.add(id, &run, descriptors) {
                    Ok(pid) => Reply::Added { id, pid: pid.as_raw_nonzero().get() },
                    Err(failure) => failed(id, failure),
                };
                protocol::send(self.socket.as_fd(), &reply, &[])
            }
            Request::Signal { id, pid, signal } => {
                self.signal(id, pid, signal);
                Ok(())
            }
            Request::Egress { id, ask, allow, v6 } => match self.open_egress(id, &allow, v6) {
                Ok(sockets) => {
                    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                    protocol::send(self.socket.as_fd(), &Reply::Egress { ask }, &fds)
                }
                Err(failure) => protocol::send(self.socket.as_fd(), &failed(ask, failure), &[]),
            },
            Request::Socket { id, ask } => match self.socket(id) {
                Ok(socket) => protocol::send(self.socket.as_fd(), &Reply::Socket { ask }, &[socket.as_fd()]),
                Err(failure) => protocol::send(self.socket.as_fd(), &failed(ask, failure), &[]),
            },
        }
    }

    /// Opens the way out of a shell; answers the sockets at its inner end.
    fn open_egress(&mut self, id: u64, allow: &[String], v6: bool) -> Result<[OwnedFd; 3], Failure> {
        let room = self.rooms.get_mut(&id).ok_or(Failure { stage: "no such shell".to_owned(), errno: libc::ESRCH })?;
        let allow: Vec<_> = allow.iter().filter_map(|range| range.parse().ok()).collect();
        let (gate, sockets) = self.steering.open(&room.shell, &allow, v6)?;
        room.gate = Some(gate);
        Ok(sockets)
    }

    /// Ends a room of which something was asked in vain, and says why.
    fn refuse(&mut self, id: u64, Failure { stage, errno }: Failure) -> io::Result<()> {
        self.end(id);
        self.tell(&Reply::Failed { id, stage, errno }, &[])
    }

    /// Begins a shell; [`Reply::ShellReady`] follows.
    fn begin_shell(&mut self, id: u64) -> Result<(), Failure> {
        let ids = match &mut self.uids {
            Some(uids) => {
                let init = uids.take().ok_or(Failure { stage: "host uids".to_owned(), errno: libc::EAGAIN })?;
                Ids { init, function_uid: init + 1, function_gid: init + 1 }
            }
            None => {
                let uid = rustix::process::geteuid().as_raw();
                Ids { init: uid, function_uid: uid, function_gid: rustix::process::getegid().as_raw() }
            }
        };
        let begun = clock();
        let made =
            self.hierarchies.create(id).at("cgroup").and_then(|group| match shell::begin(ids, &group, &self.runtime) {
                Ok(shell) => Ok((shell, group)),
                Err(failure) => {
                    self.dying.push(group);
                    Err(failure)
                }
            });
        match made {
            Ok((shell, group)) => {
                let room = Room {
                    shell,
                    group,
                    ids,
                    program: None,
                    end: None,
                    extras: Vec::new(),
                    extended: false,
                    furnished: false,
                    gate: None,
                    task: Some(Task { step: Step::Building, begun }),
                    blank: None,
                    template: None,
                    language: None,
                };
                self.rooms.insert(id, room);
                Ok(())
            }
            Err(failure) => {
                self.release(ids);
                Err(failure)
            }
        }
    }

    /// Makes a shell and waits for it.
    fn make_shell(&mut self, id: u64) -> Result<(), Failure> {
        self.begin_shell(id)?;
        match self.advance(id) {
            Some((Reply::ShellReady { .. }, _)) => Ok(()),
            Some((Reply::Failed { stage, errno, .. }, _)) => Err(Failure { stage, errno }),
            _ => Err(Failure { stage: "init".to_owned(), errno: 0 }),
        }
    }

    fn enter(&mut self, id: u64, entry: &Entry, descriptors: Vec<OwnedFd>) -> Result<(Pid, u32, Vec<Found>), Failure> {
        let room = self.rooms.get_mut(&id).ok_or(Failure { stage: "no such shell".to_owned(), errno: libc::ESRCH })?;
        if room.program.is_some() || room.task.is_some() {
            return Err(Failure { stage: "the shell is taken".to_owned(), errno: libc::EBUSY });
        }
        room.group.limit(&enter::limits(entry)).at("limits")?;
        let room = self.rooms.get(&id).ok_or(Failure { stage: "no such shell".to_owned(), errno: libc::ESRCH })?;
        let (pid, walls) = enter::enter(&self.ground(room), entry, descriptors)?;
        let host_uid = room.ids.function_uid;
        let walls = self.all_walls(room, walls);
        if let Some(room) = self.rooms.get_mut(&id) {
            room.program = Some(pid);
        }
        self.tmp_bytes = Some(entry.tmp_bytes);
        Ok((pid, host_uid, walls))
    }

    /// What must be seen of a program of this shell.
    fn expected(&self, room: &Room) -> walls::Expected {
        walls::Expected {
            host_uid: room.ids.function_uid,
            landlock: self.landlock,
            cgroups: self.hierarchies.complete(),
        }
    }

    /// Kills everything in a shell. It is forgotten when it was reaped.
    fn end(&mut self, id: u64) {
        if let Some(room) = self.rooms.get(&id) {
            room.kill();
        }
    }

    fn release(&mut self, ids: Ids) {
        if let Some(uids) = &mut self.uids {
            uids.give(ids.init);
        }
    }

    /// Takes the ends of all children that have one.
    fn reap(&mut self) {
        let mut drained = [0; 1280];
        while rustix::io::read(&self.signals, &mut drained).is_ok_and(|read| read > 0) {}
        // Not `waitpid`: functions lead sessions of their own, and it would look at our process group only.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            self.bury(pid, status);
        }
    }

    fn bury(&mut self, pid: Pid, status: WaitStatus) {
        let found = self.rooms.iter_mut().find(|(_, room)| {
            room.program == Some(pid) || room.shell.init == pid || room.extras.iter().any(|extra| extra.is(pid))
        });
        let Some((&id, room)) = found else { return };
        let end = match (status.exit_status(), status.terminating_signal()) {
            (_, Some(libc::SIGKILL)) if room.group.memory_kills() > 0 => End::OutOfMemory,
            (Some(code), _) => End::Status(code),
            (None, signal) => End::Signal(signal.unwrap_or_default()),
        };
        let mut told = None;
        if room.program == Some(pid) {
            room.program = None;
            room.end = Some(end);
            if room.extended {
                told = Some(Reply::Left { id, pid: None, end });
            } else {
                // What the program started must not outlive it.
                room.kill();
            }
        } else if room.lose(pid) {
            told = Some(Reply::Left { id, pid: Some(pid.as_raw_nonzero().get()), end });
        }
        let empty = room.program.is_none() && room.extras.is_empty() && room.init_ended();
        if let Some(told) = told {
            // A server that is gone is noticed by the next receive.
            drop(protocol::send(self.socket.as_fd(), &told, &[]));
        }
        if empty {
            self.forget(id);
        }
    }

    /// Everything in the shell is gone: says so and gives back what it held.
    fn forget(&mut self, id: u64) {
        let Some(room) = self.rooms.remove(&id) else { return };
        self.release(room.ids);
        if !room.group.remove() {
            self.dying.push(room.group);
        }
        if id != 0 {
            let ended = Reply::Ended { id, end: room.end.unwrap_or(End::Never) };
            // A server that is gone is noticed by the next receive.
            drop(protocol::send(self.socket.as_fd(), &ended, &[]));
        }
    }

    /// Ends every shell and removes what is ours from the host.
    fn end_all(&mut self) {
        for room in self.rooms.values() {
            room.kill();
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::empty()) {
            self.bury(pid, status);
        }
        for _ in 0..50 {
            self.dying.retain(|group| !group.remove());
            if self.dying.is_empty() {
                break;
            }
            let _ = rustix::event::poll(&mut [], Some(&RETRY));
        }
        self.hierarchies.remove();
    }
}

impl Room {
    /// Kills the init and with it, by the kernel's hand, everything in its pid namespace; then lets frozen processes die.
    fn kill(&self) {
        if let (Some(_), Some(template)) = (&self.template, self.program) {
            // It lives outside the shell's pid namespace. It is not reaped while it is known.
            let _ = rustix::process::kill_process(template, Signal::KILL);
        }
        // Fails only when it is gone already.
        let _ = rustix::process::pidfd_send_signal(&self.shell.init_fd, Signal::KILL);
        self.group.kill();
    }

    /// Whether the init has been reaped.
    fn init_ended(&self) -> bool {
        rustix::process::pidfd_send_signal(&self.shell.init_fd, Signal::CONT)
            .is_err_and(|error| error == rustix::io::Errno::SRCH)
    }
}

/// An ordinary user becomes capable in a user namespace of its own, with its own id and nothing else.
fn own_user_namespace() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1\n"))?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1\n"))
}

/// The launcher has no asynchronous runtime and no `Env`; it only measures itself.
fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn micros_since(begun: Duration) -> u64 {
    u64::try_from(clock().saturating_sub(begun).as_micros()).unwrap_or(u64::MAX)
}
