//! Processes that are walled before anybody knows what they will be, and their assignment. Nothing here waits: what takes
//! time is a [`Task`] of its room, and goes on when the process says the next word. Guarantees: a process is prepared only
//! when its walls were seen from outside; what is a function's is attached from outside; a task that takes too long ends
//! its room.

use std::{
    fs,
    io::{self, Error},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    process::Pid,
    thread::{LinkNameSpaceType, ThreadNameSpaceType},
};

use super::{
    Launcher, Room, clock,
    enter::{self, Ground, Report, Trees},
    micros_since,
    shell::{self, At, Failure, Shell},
    snapshot, template, walls,
};
use crate::{
    protocol::{self, Assignment, Found, Kind, Reply},
    sys,
};

/// How long any step of a process that is being prepared may take.
const WAIT: Duration = Duration::from_secs(10);
/// How long a fork may take: who waits for it can be given a fresh process instead.
const FORK_WAIT: Duration = Duration::from_millis(2500);

/// How long the copying of a process may take; it may be large.
const COPY_WAIT: Duration = Duration::from_secs(120);

/// What a room waits for.
pub(super) struct Task {
    pub(super) step: Step,
    pub(super) begun: Duration,
}

/// One wait.
pub(super) enum Step {
    /// The init builds the shell.
    Building,
    /// A process puts up its walls. A fork's pid is told by its maker, apart.
    Walling { report: OwnedFd, fork: bool, walled: bool },
    /// A blank process becomes what it was told.
    Executing { report: OwnedFd },
    /// A template boots.
    Booting,
    /// A child copies the process.
    Copying { report: OwnedFd, image: OwnedFd },
}

impl Room {
    /// The descriptor that has the next word.
    pub(super) fn awaited(&self) -> Option<&OwnedFd> {
        match &self.task.as_ref()?.step {
            Step::Building => Some(&self.shell.control),
            Step::Walling { report, .. } | Step::Executing { report } | Step::Copying { report, .. } => Some(report),
            Step::Booting => self.template.as_ref(),
        }
    }
}

impl Launcher {
    /// Begins a process in a shell; [`Reply::Prepared`] follows.
    pub(super) fn prepare(
        &mut self,
        id: u64,
        kind: Kind,
        (tmp_bytes, processes_max): (u64, u64),
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let room = self.rooms.get(&id).ok_or_else(no_room)?;
        if room.program.is_some() || room.task.is_some() {
            return Err(Failure { stage: "the shell is taken".to_owned(), errno: libc::EBUSY });
        }
        let mut trees = enter::scratch(&self.disks, room.ids, tmp_bytes)?;
        let (program, report, fork) = match kind {
            Kind::Blank => {
                let ground = self.ground(room);
                let (pid, report) = enter::begin(&ground, trees, processes_max, descriptors)?;
                (Some(pid), report, false)
            }
            Kind::Fork(of) => {
                let language = self.rooms.get(&of).and_then(|room| room.language.as_deref());
                trees.extend(enter::belongings(None, language, &[])?);
                let rules = self.inside(&room.shell, || {
                    attach(&trees)?;
                    walls::rules().at("landlock")
                })?;
                (None, self.fork_template(of, room, processes_max, rules, descriptors)?, true)
            }
        };
        self.tmp_bytes = Some(tmp_bytes);
        if let Some(room) = self.rooms.get_mut(&id) {
            room.program = program;
            room.task = Some(Task { step: Step::Walling { report, fork, walled: false }, begun: clock() });
        }
        Ok(())
    }

    /// Attaches what is a function's and sets its limits; [`Reply::Assigned`] follows, at once when nothing is executed.
    pub(super) fn assign(
        &mut self,
        id: u64,
        assignment: &Assignment,
        descriptors: &[OwnedFd],
    ) -> Result<Option<Reply>, Failure> {
        let begun = clock();
        let trees = enter::belongings(assignment.code.as_deref(), assignment.language.as_deref(), &assignment.layers)?;
        let room = self.rooms.get(&id).ok_or_else(no_room)?;
        if room.program.is_none() || room.task.is_some() {
            return Err(Failure { stage: "no process is prepared".to_owned(), errno: libc::ESRCH });
        }
        if !trees.is_empty() {
            self.inside(&room.shell, || attach(&trees))?;
        }
        if let Some(bounds) = assignment.limits {
            room.group.limit(&bounds.into()).at("limits")?;
        }
        let room = self.rooms.get_mut(&id).ok_or_else(no_room)?;
        room.furnished |= assignment.code.is_some();
        let Some(run) = &assignment.run else {
            return Ok(Some(Reply::Assigned { id, micros: micros_since(begun) }));
        };
        let none = || Failure { stage: "the process is no blank one".to_owned(), errno: libc::EINVAL };
        let report = room.blank.take().ok_or_else(none)?;
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        protocol::send(report.as_fd(), run, &descriptors).at("entering")?;
        room.task = Some(Task { step: Step::Executing { report }, begun });
        Ok(None)
    }

    /// Takes the next word that a room waited for. Answers what the server is told, with descriptors.
    pub(super) fn advance(&mut self, id: u64) -> Option<(Reply, Vec<OwnedFd>)> {
        let room = self.rooms.get_mut(&id)?;
        let task = room.task.take()?;
        match self.step(id, task) {
            Ok(told) => told,
            Err(Failure { stage, errno }) => {
                self.end(id);
                Some((Reply::Failed { id, stage, errno }, Vec::new()))
            }
        }
    }

    fn step(&mut self, id: u64, Task { step, begun }: Task) -> Result<Option<(Reply, Vec<OwnedFd>)>, Failure> {
        let room = self.rooms.get_mut(&id).ok_or_else(no_room)?;
        match step {
            Step::Building => {
                room.shell.finish(room.ids)?;
                let listeners = std::mem::take(&mut room.shell.listeners);
                Ok(Some((Reply::ShellReady { id, micros: micros_since(begun) }, listeners)))
            }
            Step::Booting => {
                let socket = room.template.as_ref().ok_or_else(no_room)?;
                let modules = template::hear(socket)?;
                let (gauges, micros) = (room.group.gauges(), micros_since(begun));
                Ok(Some((Reply::TemplateReady { id, modules, gauges, micros }, Vec::new())))
            }
            Step::Copying { report, image } => snapshot::hear(id, &report).map(|reply| Some((reply, vec![image]))),
            Step::Executing { report } => match protocol::receive::<Report>(report.as_fd()).at("exec")? {
                // The socket closes at exec: its end is the success.
                None => Ok(Some((Reply::Assigned { id, micros: micros_since(begun) }, Vec::new()))),
                Some((Report::Failed { stage, errno }, _)) => Err(Failure { stage, errno }),
                Some(_) => Err(confused()),
            },
            Step::Walling { report, fork, walled } => {
                let walled = match protocol::receive::<Report>(report.as_fd()).at("entering")? {
                    Some((Report::Walled, _)) => true,
                    Some((Report::Forked { pid }, _)) if fork => {
                        room.program = Pid::from_raw(pid);
                        walled
                    }
                    Some((Report::Failed { stage, errno }, _)) => return Err(Failure { stage, errno }),
                    Some((Report::Forked { .. }, _)) => return Err(confused()),
                    None => return Err(Failure { stage: "the entering process ended".to_owned(), errno: 0 }),
                };
                let Some(program) = room.program.filter(|_| walled) else {
                    room.task = Some(Task { step: Step::Walling { report, fork, walled }, begun });
                    return Ok(None);
                };
                self.admit(id, program, report, fork).map(|reply| Some((reply(begun), Vec::new())))
            }
        }
    }

    /// Looks at a process that says that it is walled, and keeps it as prepared.
    fn admit(
        &mut self,
        id: u64,
        program: Pid,
        report: OwnedFd,
        fork: bool,
    ) -> Result<impl FnOnce(Duration) -> Reply, Failure> {
        let room = self.rooms.get(&id).ok_or_else(no_room)?;
        let walls = walls::verify(program, &self.expected(room)).at("verification")?;
        if fork {
            same_namespaces(program, room.shell.init).at("verification")?;
        }
        let (walls, gauges, host_uid) = (self.all_walls(room, walls), room.group.gauges(), room.ids.function_uid);
        let room = self.rooms.get_mut(&id).ok_or_else(no_room)?;
        if fork {
            protocol::send(report.as_fd(), &(), &[]).at("entering")?;
        } else {
            room.blank = Some(report);
        }
        let pid = program.as_raw_nonzero().get();
        Ok(move |begun| Reply::Prepared { id, pid, host_uid, walls, gauges, micros: micros_since(begun) })
    }

    /// Ends the rooms whose task takes too long; answers what the server is told.
    pub(super) fn expire(&mut self) -> Vec<Reply> {
        let late = |room: &Room| {
            room.task.as_ref().is_some_and(|task| {
                let most = match task.step {
                    Step::Walling { fork: true, .. } => FORK_WAIT,
                    Step::Copying { .. } => COPY_WAIT,
                    _ => WAIT,
                };
                clock().saturating_sub(task.begun) > most
            })
        };
        let late: Vec<u64> = self.rooms.iter().filter(|(_, room)| late(room)).map(|(&id, _)| id).collect();
        for &id in &late {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.task = None;
            }
            self.end(id);
        }
        let timed_out = |id| Reply::Failed { id, stage: "a process took too long".to_owned(), errno: libc::ETIMEDOUT };
        late.into_iter().map(timed_out).collect()
    }

    /// Does something that sees the root of a shell.
    pub(super) fn inside<T>(&self, shell: &Shell, action: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        match &shell.spaces {
            None => rustix::thread::move_into_thread_name_spaces(shell.init_fd.as_fd(), ThreadNameSpaceType::MOUNT),
            Some(spaces) => {
                rustix::thread::move_into_link_name_space(spaces.mount.as_fd(), Some(LinkNameSpaceType::Mount))
            }
        }
        .at("mount namespace")?;
        let done = action();
        let back = rustix::thread::move_into_link_name_space(self.own_mounts.as_fd(), Some(LinkNameSpaceType::Mount));
        if back.is_err() {
            // What would be opened from here on would be a sandbox's: nothing could be trusted any more.
            sys::exit_now(1);
        }
        done
    }

    pub(super) fn ground<'a>(&'a self, room: &'a Room) -> Ground<'a> {
        Ground {
            shell: &room.shell,
            group: &room.group,
            ids: room.ids,
            disks: &self.disks,
            expected: self.expected(room),
            own_pids: &self.own_pids,
            furnished: room.furnished,
        }
    }

    /// The walls that were seen, with those that are the room's and the host's.
    pub(super) fn all_walls(&self, room: &Room, mut walls: Vec<Found>) -> Vec<Found> {
        walls.push(if room.ids.init == room.ids.function_uid {
            Found::missing("own host uid", "every environment runs as the user that runs Pileus".to_owned(), "")
        } else {
            Found::there("own host uid", String::new())
        });
        walls.extend(self.hierarchies.findings());
        walls.push(self.disks.finding());
        walls
    }
}

/// Attaches trees at their places in the root that is seen.
pub(super) fn attach(trees: &Trees) -> Result<(), Failure> {
    trees.iter().try_for_each(|(tree, target)| shell::attach(tree.as_fd(), target).at(target))
}

/// A fork says itself where it is: its namespaces must be those of the shell that it was made for.
fn same_namespaces(program: Pid, init: Pid) -> io::Result<()> {
    let (program, init) = (program.as_raw_nonzero(), init.as_raw_nonzero());
    for name in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let seen = fs::read_link(format!("/proc/{program}/ns/{name}"))?;
        if seen != fs::read_link(format!("/proc/{init}/ns/{name}"))? {
            return Err(Error::other(format!("the {name} namespace is not the shell's: {}", seen.display())));
        }
    }
    Ok(())
}

pub(super) fn no_room() -> Failure {
    Failure { stage: "no such shell".to_owned(), errno: libc::ESRCH }
}

fn confused() -> Failure {
    Failure { stage: "the entering process is confused".to_owned(), errno: 0 }
}
