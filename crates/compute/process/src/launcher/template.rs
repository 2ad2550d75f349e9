//! Templates: a language's interpreter with our bootstrap, booted once in the root of a shell and forked into others. A
//! template runs no user code. It is trusted like the launcher: it keeps the host's user namespace and the six
//! capabilities that joining a shell needs, and loses all others; it has no network, and its forks are looked at from
//! outside before they are given anything. The launcher never waits for it.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::Mode,
    net::SendFlags,
    process::{Pid, Resource, Rlimit},
    thread::{CapabilitySet, CapabilitySets, ThreadNameSpaceType},
};
use serde_json::{Value, json};

use super::{
    Launcher, Room, clock, enter,
    prepare::{Step, Task, attach, no_room},
    seccomp,
    shell::{At, Failure, Shell},
    walls::{self, INSIDE_GID, INSIDE_UID},
};
use crate::{
    protocol::{self, Template},
    sys,
};

/// The number of the last descriptor of a template: after the launcher's socket, its pid namespace.
const LAST: i32 = 4;

impl Launcher {
    /// Starts a template in a shell; [`crate::protocol::Reply::TemplateReady`] follows.
    pub(super) fn template(&mut self, id: u64, template: &Template) -> Result<(), Failure> {
        if self.uids.is_none() {
            return Err(Failure { stage: "a template needs root".to_owned(), errno: libc::EPERM });
        }
        let trees = enter::belongings(None, template.language.as_deref(), &[])?;
        let room = self.rooms.get(&id).ok_or_else(no_room)?;
        if room.program.is_some() || room.task.is_some() {
            return Err(Failure { stage: "the shell is taken".to_owned(), errno: libc::EBUSY });
        }
        self.inside(&room.shell, || attach(&trees))?;
        let (ours, theirs) = protocol::pair().at("socket")?;
        let program = boot(room, template, &theirs, &self.own_pids)?;
        protocol::send_bytes(ours.as_fd(), &constants(), &[], SendFlags::DONTWAIT).at("template")?;
        let room = self.rooms.get_mut(&id).ok_or_else(no_room)?;
        room.program = Some(program);
        room.template = Some(ours);
        room.language.clone_from(&template.language);
        room.task = Some(Task { step: Step::Booting, begun: clock() });
        Ok(())
    }

    /// Asks a template for a fork in a room; answers the socket on which the fork reports.
    pub(super) fn fork_template(
        &self,
        of: u64,
        room: &Room,
        processes_max: u64,
        rules: Option<OwnedFd>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<OwnedFd, Failure> {
        let gone = || Failure { stage: "template".to_owned(), errno: libc::ESRCH };
        let template = self.rooms.get(&of).and_then(|room| room.template.as_ref()).ok_or_else(gone)?;
        let (ours, theirs) = protocol::pair().at("socket")?;
        let doors = room.group.doors().at("cgroup")?;
        let about = json!({
            "processes": processes_max,
            "uid": INSIDE_UID,
            "gid": INSIDE_GID,
            "rules": rules.is_some(),
            "doors": doors.len(),
        });
        let mut sent: Vec<BorrowedFd<'_>> = vec![room.shell.init_fd.as_fd(), theirs.as_fd()];
        sent.extend(descriptors.iter().map(AsFd::as_fd));
        sent.extend(rules.iter().map(AsFd::as_fd));
        sent.extend(doors.iter().map(AsFd::as_fd));
        protocol::send_bytes(template.as_fd(), about.to_string().as_bytes(), &sent, SendFlags::DONTWAIT)
            .at("template")?;
        Ok(ours)
    }
}

/// What a template says when it has booted: the names of its modules, or what went wrong.
pub(super) fn hear(socket: &OwnedFd) -> Result<Vec<String>, Failure> {
    let bytes = protocol::receive_bytes(socket.as_fd()).at("template")?;
    let failed = |stage: String| Failure { stage: format!("template: {stage}"), errno: 0 };
    if bytes.is_empty() {
        return Err(failed("it ended".to_owned()));
    }
    let word: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    match &word["modules"] {
        Value::Array(names) => Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => Err(failed(word["error"].as_str().unwrap_or("an unknown word").to_owned())),
    }
}

/// The system calls that a fork makes, by number, and the filter that it puts up last.
fn constants() -> Vec<u8> {
    let filter: String = seccomp::program()
        .iter()
        .flat_map(|rule| {
            let [c0, c1] = rule.code.to_ne_bytes();
            let [k0, k1, k2, k3] = rule.k.to_ne_bytes();
            [c0, c1, rule.jt, rule.jf, k0, k1, k2, k3]
        })
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({
        "filter": filter,
        "calls": {
            "capset": libc::SYS_capset,
            "chdir": libc::SYS_chdir,
            "clone": libc::SYS_clone,
            "close_range": libc::SYS_close_range,
            "dup3": libc::SYS_dup3,
            "getpid": libc::SYS_getpid,
            "keyctl": libc::SYS_keyctl,
            "landlock_restrict_self": libc::SYS_landlock_restrict_self,
            "prctl": libc::SYS_prctl,
            "prlimit64": libc::SYS_prlimit64,
            "seccomp": libc::SYS_seccomp,
            "setgroups": libc::SYS_setgroups,
            "setns": libc::SYS_setns,
            "setresgid": libc::SYS_setresgid,
            "setresuid": libc::SYS_setresuid,
            "setsid": libc::SYS_setsid,
            "umask": libc::SYS_umask,
        },
    })
    .to_string()
    .into_bytes()
}

fn boot(room: &Room, template: &Template, theirs: &OwnedFd, own_pids: &File) -> Result<Pid, Failure> {
    let text = |text: &String| CString::new(text.as_str()).map_err(io::Error::other);
    let texts = |texts: &[String]| texts.iter().map(text).collect::<Result<Vec<_>, _>>();
    let program = text(&template.program).at("program")?;
    let (arguments, variables) = (texts(&template.arguments), texts(&template.variables));
    let (arguments, variables) = (arguments.at("arguments")?, variables.at("variables")?);
    let null = File::options().read(true).write(true).open("/dev/null").at("null device")?;
    // Its forks get pipes: its own output must be of the same kind. Nobody reads it.
    let (_, output) = io::pipe().at("output")?;
    let mut placed = Vec::new();
    for descriptor in [null.as_fd(), output.as_fd(), output.as_fd(), theirs.as_fd(), own_pids.as_fd()] {
        placed.push(sys::above_low(descriptor).at("descriptors")?);
    }
    let doors = room.group.doors().at("cgroup")?;
    let Some(child) = sys::fork().at("fork")? else {
        let ready = settle(&room.shell, &doors, &placed);
        if ready.is_ok() {
            drop(sys::execve(&program, &arguments, &variables));
        }
        sys::exit_now(127)
    };
    Ok(child)
}

/// The child's way from the fork to its program.
fn settle(shell: &Shell, doors: &[OwnedFd], placed: &[OwnedFd]) -> io::Result<()> {
    for door in doors {
        rustix::io::write(door, b"0")?;
    }
    sys::fresh_session_keyring()?;
    let spaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    rustix::thread::move_into_thread_name_spaces(shell.init_fd.as_fd(), spaces)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::setsid()?;
    walls::die_with_parent()?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::chdir("/")?;
    for (number, descriptor) in (0..).zip(placed) {
        debug_assert!(number <= LAST);
        sys::place_descriptor(descriptor.as_fd(), number)?;
    }
    sys::cloexec_from(LAST + 1)?;
    sys::default_signals();
    keep_few_capabilities()
}

/// What forks need for joining a shell and taking its user; the rest is gone for good.
fn keep_few_capabilities() -> io::Result<()> {
    let kept = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SYS_CHROOT
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::SETPCAP
        | CapabilitySet::SYS_PTRACE;
    for capability in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << capability);
        if kept.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}
