//! The walls that a process puts up around itself before user code, and how they are looked at from outside.

use std::{
    fs,
    io::{self, Error},
    os::fd::OwnedFd,
};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    process::{Pid, Resource, Rlimit, Signal},
    thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets},
};

use crate::protocol::Found;

/// The user and group inside the sandbox, those of AWS's `sbx_user1051`.
pub(crate) const INSIDE_UID: u32 = 993;
/// See [`INSIDE_UID`].
pub(crate) const INSIDE_GID: u32 = 990;

impl Found {
    pub(crate) fn there(name: &str, detail: String) -> Self {
        Self { name: name.to_owned(), state: 0, detail, remedy: String::new() }
    }

    pub(crate) fn partly(name: &str, detail: String, remedy: &str) -> Self {
        Self { name: name.to_owned(), state: 1, detail, remedy: remedy.to_owned() }
    }

    pub(crate) fn missing(name: &str, detail: String, remedy: &str) -> Self {
        Self { name: name.to_owned(), state: 2, detail, remedy: remedy.to_owned() }
    }
}

/// Bounds what the process may use, whatever its cgroup says.
pub(crate) fn set_resource_limits(processes_max: u64) -> io::Result<()> {
    let limits = [
        (Resource::Core, 0),
        (Resource::Nofile, 1024),
        (Resource::Memlock, 64 * 1024),
        (Resource::Msgqueue, 0),
        (Resource::Sigpending, 1024),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
        (Resource::Nproc, processes_max),
    ];
    for (resource, most) in limits {
        // A limit can be lowered by anyone; what is already lower stays.
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |now| now.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Gives up every capability, for good: empty bounding set, no regaining by user id 0, empty sets.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for capability in 0..64 {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << capability)) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Reading and executing anywhere in the root, writing only where a function may; no signals and no abstract sockets
/// across the border. Answers whether the kernel enforces anything.
pub(crate) fn restrict_paths() -> io::Result<bool> {
    let status = ruleset()?.restrict_self().map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// The rules of [`restrict_paths`] as a descriptor, made by someone who sees the same root; none without Landlock.
pub(crate) fn rules() -> io::Result<Option<OwnedFd>> {
    Ok(ruleset()?.into())
}

fn ruleset() -> io::Result<RulesetCreated> {
    let abi = ABI::V6;
    let file_write = AccessFs::WriteFile | AccessFs::ReadFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let attempt = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(["/"], AccessFs::from_read(abi)))?
            .add_rules(path_beneath_rules(["/tmp", "/dev/shm"], AccessFs::from_all(abi)))?
            .add_rules(path_beneath_rules(
                ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"],
                file_write,
            ))
    };
    attempt().map_err(io::Error::other)
}

/// Whether the kernel has Landlock at all.
pub(crate) fn landlock_finding() -> Found {
    match crate::sys::landlock_abi() {
        0 => Found::missing("landlock", "the kernel has none".to_owned(), "boot with `lsm=…,landlock` (Linux 5.13)"),
        abi => Found::there("landlock", format!("ABI {abi}")),
    }
}

/// The process dies with its parent, the launcher.
pub(crate) fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// What must be seen before a process may run user code.
pub(crate) struct Expected {
    pub(crate) host_uid: u32,
    pub(crate) landlock: bool,
    pub(crate) cgroups: bool,
}

/// Looks at a process from outside. Any wall that should stand and does not is an error.
pub(crate) fn verify(pid: Pid, expected: &Expected) -> io::Result<Vec<Found>> {
    let pid = pid.as_raw_nonzero().get();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    let refuse = |wall: &str, seen: &str| Err(Error::other(format!("{wall} does not stand: {seen}")));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        if u64::from_str_radix(field(set), 16) != Ok(0) {
            return refuse("capabilities", &format!("{set} {}", field(set)));
        }
    }
    if field("NoNewPrivs") != "1" {
        return refuse("no_new_privs", field("NoNewPrivs"));
    }
    if field("Seccomp") != "2" {
        return refuse("seccomp", field("Seccomp"));
    }
    let depth = |text: &str| text.split_whitespace().count();
    let own = fs::read_to_string("/proc/self/status")?;
    let own_depth = own.lines().find_map(|line| line.strip_prefix("NSpid:")).map_or(1, depth);
    if depth(field("NSpid")) != own_depth + 1 {
        return refuse("pid namespace", field("NSpid"));
    }
    if field("Uid").split_whitespace().any(|uid| uid != expected.host_uid.to_string()) {
        return refuse("host uid", field("Uid"));
    }
    let mut walls = Vec::new();
    for (name, file) in [
        ("user namespace", "user"),
        ("pid namespace", "pid"),
        ("mount namespace", "mnt"),
        ("network namespace", "net"),
        ("ipc namespace", "ipc"),
        ("uts namespace", "uts"),
        ("cgroup namespace", "cgroup"),
    ] {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/{file}"))?;
        if theirs == fs::read_link(format!("/proc/self/ns/{file}"))? {
            return refuse(name, &theirs.display().to_string());
        }
        walls.push(Found::there(name, String::new()));
    }
    for name in ["read-only root", "capabilities", "no_new_privs", "seccomp"] {
        walls.push(if name == "read-only root" { verify_root(pid)? } else { Found::there(name, String::new()) });
    }
    walls.push(if expected.landlock {
        Found::partly("landlock", String::new(), "")
    } else {
        Found::missing("landlock", "the kernel has none".to_owned(), "")
    });
    if expected.cgroups {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        if own == theirs {
            return refuse("cgroup", &theirs);
        }
    }
    Ok(walls)
}

/// Every mount that the process sees is read-only except those meant to be written.
fn verify_root(pid: i32) -> io::Result<Found> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(point), Some(options)) = (fields.next(), fields.next()) else { continue };
        let writable = options.split(',').all(|option| option != "ro");
        let meant = matches!(point, "/tmp" | "/dev/shm" | "/proc") || point.starts_with("/dev/") || masks(point);
        if writable && !meant {
            return Err(Error::other(format!("read-only root does not stand: {line}")));
        }
    }
    Ok(Found::there("read-only root", String::new()))
}

/// The files of `/proc` that are covered by the null device: keys and addresses of the kernel, and counters so fine that
/// they tell what others do at this moment.
pub(crate) const MASKED: [&str; 12] = [
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "sysrq-trigger",
    "kallsyms",
    "modules",
    "interrupts",
    "softirqs",
    "schedstat",
    "sched_debug",
    "latency_stats",
];

fn masks(point: &str) -> bool {
    point.strip_prefix("/proc/").is_some_and(|file| MASKED.contains(&file))
}
