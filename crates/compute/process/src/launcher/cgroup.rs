//! Control groups in the three forms hosts have: version 2, version 1, and both beside each other (limits from version 1,
//! freezing and killing from version 2). Guarantees: a group's name carries this server's instance, so nobody else's group
//! is touched; what a killed server left is swept by the next one; a group is removed only when it is empty.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use crate::protocol::{Found, Gauges};

const PREFIX: &str = "pileus-";
/// How often, and how far apart, it is looked whether killed processes are gone.
const CLEAR_LOOKS_MAX: u32 = 200;
const CLEAR_PAUSE: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// What limits need, and what freezing uses when version 2 cannot.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuacct", "pids", "freezer"];

/// How many ordinary processes all functions weigh as much as, on every processor.
const PROCESSES_WORTH: u64 = 2;

/// What may wait in the sockets of one group, where that is counted apart.
const SOCKET_BYTES_MAX: u64 = 64 << 20;

/// The hierarchies in which this server may make groups.
pub(crate) struct Hierarchies {
    /// Version 1: controller → the folder of this instance.
    legacy: BTreeMap<&'static str, PathBuf>,
    /// Version 2: the folder of this instance.
    unified: Option<PathBuf>,
    /// The controllers that version 2 offers in that folder.
    unified_controllers: Vec<String>,
}

/// What a group may use.
pub(crate) struct Limits {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_shares: u64,
    pub(crate) processes_max: u64,
}

impl From<crate::protocol::Bounds> for Limits {
    fn from(bounds: crate::protocol::Bounds) -> Self {
        Self { memory_bytes: bounds.memory_bytes, cpu_shares: bounds.cpu_shares, processes_max: bounds.processes_max }
    }
}

/// The groups of one shell, one folder a hierarchy.
pub(crate) struct Group {
    folders: Vec<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    pids: Option<PathBuf>,
    freezer: Option<PathBuf>,
    unified: Option<PathBuf>,
}

impl Hierarchies {
    /// Finds what is mounted and writable, sweeps what dead servers left, and makes this instance's folders.
    pub(crate) fn detect(instance: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::find(instance, &mounts, &own)
    }

    /// The same, from what the kernel says of mounts and of the caller's groups.
    fn find(instance: &str, mounts: &str, own: &str) -> Self {
        let mut found = Self { legacy: BTreeMap::new(), unified: None, unified_controllers: Vec::new() };
        for mount in mounts.lines().filter_map(Mount::parse) {
            match mount.kind {
                "cgroup" => {
                    for controller in CONTROLLERS {
                        if mount.options.split(',').any(|option| option == controller) {
                            let base = mount.own_folder(own, controller);
                            if let Some(folder) = make_instance(&base, instance) {
                                weigh(&folder);
                                found.legacy.insert(controller, folder);
                            }
                        }
                    }
                }
                "cgroup2" => {
                    let base = mount.own_folder(own, "");
                    if let Some(folder) = make_instance(&base, instance) {
                        found.unified_controllers = delegate(&base, &folder);
                        weigh(&folder);
                        found.unified = Some(folder);
                    }
                }
                _ => {}
            }
        }
        let freezes = found.unified.as_ref().is_some_and(|folder| folder.join("cgroup.freeze").exists());
        if freezes
            && let Some(folder) = found.legacy.remove("freezer")
            && found.legacy.values().all(|other| *other != folder)
        {
            // A hierarchy less: a folder to make, to enter twice and to remove for each shell, and memory of the kernel.
            remove_folder(&folder);
        }
        found
    }

    /// Whether memory, processor and processes can all be limited.
    pub(crate) fn complete(&self) -> bool {
        ["memory", "cpu", "pids"].iter().all(|controller| self.place(controller).is_some())
    }

    fn place(&self, controller: &str) -> Option<&PathBuf> {
        if self.unified_controllers.iter().any(|c| c == controller) {
            return self.unified.as_ref();
        }
        self.legacy.get(controller)
    }

    /// What was found, for the host's report.
    pub(crate) fn findings(&self) -> Vec<Found> {
        let mut findings: Vec<Found> = [
            ("memory", "memory controller"),
            ("cpu", "cpu controller"),
            ("pids", "pids controller"),
        ]
        .into_iter()
        .map(|(controller, name)| {
            let version = if self.unified_controllers.iter().any(|c| c == controller) { 2 } else { 1 };
            match self.place(controller) {
                Some(folder) => Found::there(name, format!("cgroup v{version}, {}", folder.display())),
                None => Found::missing(
                    name,
                    "no hierarchy with this controller is mounted and writable".to_owned(),
                    "run as root, or delegate a cgroup with this controller to the user (systemd: `Delegate=yes`)",
                ),
            }
        })
        .collect();
        findings.push(match (&self.unified, self.legacy.get("freezer")) {
            (Some(folder), _) => Found::there("freezer", format!("cgroup v2, {}", folder.display())),
            (None, Some(folder)) => Found::there("freezer", format!("cgroup v1, {}", folder.display())),
            (None, None) => Found::missing(
                "freezer",
                "idle environments cannot be frozen".to_owned(),
                "run as root, or delegate a cgroup to the user",
            ),
        });
        findings
    }

    /// Makes the groups of one shell.
    pub(crate) fn create(&self, id: u64) -> io::Result<Group> {
        let name = format!("e{id}");
        let mut group = Group {
            folders: Vec::new(),
            memory: None,
            cpu: None,
            cpuacct: None,
            pids: None,
            freezer: None,
            unified: None,
        };
        for folder in self.unified.iter().chain(self.legacy.values()) {
            let folder = folder.join(&name);
            if !group.folders.contains(&folder) {
                fs::create_dir(&folder)?;
                group.folders.push(folder);
            }
        }
        let place = |controller: &str| self.place(controller).map(|folder| folder.join(&name));
        group.memory = place("memory");
        group.cpu = place("cpu");
        group.pids = place("pids");
        group.cpuacct = self.legacy.get("cpuacct").map(|folder| folder.join(&name));
        group.freezer = self.legacy.get("freezer").map(|folder| folder.join(&name));
        group.unified = self.unified.as_ref().map(|folder| folder.join(&name));
        Ok(group)
    }

    /// Removes this instance's folders; groups that still exist keep theirs for the next server's sweep.
    pub(crate) fn remove(&self) {
        for folder in self.unified.iter().chain(self.legacy.values()) {
            remove_folder(folder);
        }
    }
}

impl Group {
    /// Sets the limits.
    pub(crate) fn limit(&self, limits: &Limits) -> io::Result<()> {
        if let Some(folder) = &self.memory {
            if self.is_unified(folder) {
                fs::write(folder.join("memory.max"), limits.memory_bytes.to_string())?;
                // Optional files: without swap accounting there is nothing to forbid.
                drop(fs::write(folder.join("memory.swap.max"), "0"));
                drop(fs::write(folder.join("memory.oom.group"), "1"));
            } else {
                fs::write(folder.join("memory.limit_in_bytes"), limits.memory_bytes.to_string())?;
                drop(fs::write(folder.join("memory.memsw.limit_in_bytes"), limits.memory_bytes.to_string()));
                // Version 2 charges what waits in sockets to the group; version 1 counts it only where it has a limit of its
                // own, and takes it from what all sockets of the host share otherwise.
                let sockets = (limits.memory_bytes / 4).min(SOCKET_BYTES_MAX);
                drop(fs::write(folder.join("memory.kmem.tcp.limit_in_bytes"), sockets.to_string()));
            }
        }
        if let Some(folder) = &self.cpu {
            if self.is_unified(folder) {
                let weight = (limits.cpu_shares * 100 / 1024).clamp(1, 10_000);
                fs::write(folder.join("cpu.weight"), weight.to_string())?;
            } else {
                fs::write(folder.join("cpu.shares"), limits.cpu_shares.clamp(2, 262_144).to_string())?;
            }
        }
        if let Some(folder) = &self.pids {
            fs::write(folder.join("pids.max"), limits.processes_max.to_string())?;
        }
        Ok(())
    }

    fn is_unified(&self, folder: &Path) -> bool {
        self.unified.as_deref() == Some(folder)
    }

    /// One descriptor a hierarchy: whoever writes `0` to it moves itself into the group.
    pub(crate) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.folders
            .iter()
            .map(|folder| Ok(fs::OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?.into()))
            .collect()
    }

    /// Every process of the group, as the caller numbers them.
    pub(crate) fn processes(&self) -> io::Result<Vec<i32>> {
        let Some(folder) = self.folders.first() else { return Ok(Vec::new()) };
        let text = fs::read_to_string(folder.join("cgroup.procs"))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// The files that the server reads.
    pub(crate) fn gauges(&self) -> Gauges {
        let text = |path: PathBuf| if path.exists() { path.display().to_string() } else { String::new() };
        let memory = |unified: &str, legacy: &str| {
            self.memory.as_ref().map_or_else(String::new, |folder| {
                let name = if self.is_unified(folder) { unified } else { legacy };
                if name.is_empty() { String::new() } else { text(folder.join(name)) }
            })
        };
        Gauges {
            memory_peak: memory("memory.peak", "memory.max_usage_in_bytes"),
            memory_stat: memory("memory.stat", "memory.stat"),
            cpu: match (&self.cpuacct, &self.unified) {
                (Some(folder), _) => text(folder.join("cpuacct.usage")),
                (None, Some(folder)) => text(folder.join("cpu.stat")),
                (None, None) => String::new(),
            },
            freezer: match (&self.unified, &self.freezer) {
                (Some(folder), _) => text(folder.join("cgroup.freeze")),
                (None, Some(folder)) => text(folder.join("freezer.state")),
                (None, None) => String::new(),
            },
            memory_end: memory("", "memory.oom_control"),
            quota: self.cpu.as_ref().map_or_else(String::new, |folder| {
                text(folder.join(if self.is_unified(folder) { "cpu.max" } else { "cpu.cfs_quota_us" }))
            }),
        }
    }

    /// How often the kernel killed a process of this group at its memory limit.
    pub(crate) fn memory_kills(&self) -> u64 {
        let Some(folder) = &self.memory else { return 0 };
        let file = if self.is_unified(folder) { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .find_map(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Kills everything in the group and lets frozen processes die of it.
    pub(crate) fn kill(&self) {
        // Each of these may be absent on this host; the pid namespace's end is the wall that always holds.
        if let Some(folder) = &self.unified {
            drop(fs::write(folder.join("cgroup.kill"), "1"));
            drop(fs::write(folder.join("cgroup.freeze"), "0"));
        }
        if let Some(folder) = &self.freezer {
            drop(fs::write(folder.join("freezer.state"), "THAWED"));
        }
    }

    /// Removes the folders; answers whether all are gone (the kernel refuses while a process is still dying).
    pub(crate) fn remove(&self) -> bool {
        self.folders.iter().fold(true, |all, folder| match fs::remove_dir(folder) {
            Ok(()) => all,
            Err(error) => all && error.kind() == io::ErrorKind::NotFound,
        })
    }
}

/// One line of `mountinfo`.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?;
        Some(Self { root, point, kind, options: right.nth(1).unwrap_or_default() })
    }

    /// The folder of the calling process in this hierarchy.
    fn own_folder(&self, own: &str, controller: &str) -> PathBuf {
        let path = own
            .lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                Some((parts.next()?, parts.next()?))
            })
            .find(|(controllers, _)| controllers.split(',').any(|c| c == controller))
            .map_or("/", |(_, path)| path);
        let inside = path.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(path);
        Path::new(self.point).join(inside.trim_start_matches('/'))
    }
}

/// Makes `base/pileus-<instance>`, after sweeping the folders of servers that are gone.
fn make_instance(base: &Path, instance: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let dead =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).is_some_and(|of| !crate::instance::is_alive(of));
        if dead {
            remove_folder(&entry.path());
        }
    }
    let folder = base.join(format!("{PREFIX}{instance}"));
    match fs::create_dir(&folder) {
        Ok(()) => Some(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // This server's, from a launcher before this one: what it left must be gone before its user ids are given again.
            clear(&folder);
            Some(folder)
        }
        Err(_) => None,
    }
}

/// Gives all functions together the weight of some ordinary processes on every processor. A group has that of one on all
/// processors together otherwise, and functions would wait behind whatever else the host does, the server among it.
fn weigh(folder: &Path) {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let times = processors * PROCESSES_WORTH;
    // Each of these is absent where the other version, or another controller, is.
    drop(write_present(&folder.join("cpu.shares"), times * 1024));
    drop(write_present(&folder.join("cpu.weight"), (times * 100).min(10_000)));
}

fn write_present(file: &Path, value: u64) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.to_string().as_bytes())
}

/// Ends everything in the groups below a folder and waits, within bounds, until they are gone.
fn clear(folder: &Path) {
    for _ in 0..CLEAR_LOOKS_MAX {
        let below: Vec<_> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .collect();
        if below.is_empty() {
            return;
        }
        for entry in below {
            remove_folder(&entry.path());
        }
        let _ = rustix::event::poll(&mut [], Some(&CLEAR_PAUSE));
    }
}

/// Kills what is in a folder of ours and its children, and removes them.
fn remove_folder(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_folder(&entry.path());
        }
    }
    for line in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = line.parse().ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    drop(fs::write(folder.join("cgroup.freeze"), "0"));
    drop(fs::write(folder.join("freezer.state"), "THAWED"));
    drop(fs::remove_dir(folder));
}

/// Turns version 2's controllers on for the groups below `folder`; answers those that are on.
fn delegate(base: &Path, folder: &Path) -> Vec<String> {
    let offered = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let wanted: Vec<&str> = offered.split_whitespace().filter(|c| matches!(*c, "memory" | "cpu" | "pids")).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let on = wanted.iter().map(|c| format!("+{c}")).collect::<Vec<_>>().join(" ");
    if fs::write(base.join("cgroup.subtree_control"), &on).is_err() {
        // A group that hands controllers down may hold no process itself: move ours into a leaf beside.
        let leaf = base.join("pileus.server");
        let moved = fs::create_dir(&leaf).is_ok() || leaf.is_dir();
        for pid in fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default().lines().filter(|_| moved) {
            drop(fs::write(leaf.join("cgroup.procs"), pid));
        }
        drop(fs::write(base.join("cgroup.subtree_control"), &on));
    }
    drop(fs::write(folder.join("cgroup.subtree_control"), &on));
    let enabled = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
    enabled.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
