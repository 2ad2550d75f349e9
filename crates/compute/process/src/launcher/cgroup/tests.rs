//! Control groups over trees like the kernel's, and over the kernel's own where there is one.

use super::*;

#[test]
fn mounts_are_read_and_own_folders_found() {
    let line = "43 32 0:38 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
    let mount = Mount::parse(line).unwrap();
    assert_eq!((mount.kind, mount.options), ("cgroup", "rw,cpu,cpuacct"));
    let own = "8:cpu,cpuacct:/user.slice\n4:memory:/a/b\n0::/x";
    assert_eq!(mount.own_folder(own, "cpu"), Path::new("/sys/fs/cgroup/cpu,cpuacct/user.slice"));
    let unified = Mount::parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate").unwrap();
    assert_eq!(unified.own_folder(own, ""), Path::new("/sys/fs/cgroup/x"));
    assert!(Mount::parse("garbage").is_none());
}

#[test]
fn all_functions_weigh_as_much_as_some_processes_on_every_processor() {
    let tree = Tree::new(&[("v1/cpu.shares", "1024"), ("v2/cpu.weight", "100"), ("memory/tasks", "")]);
    for folder in ["v1", "v2", "memory"] {
        weigh(&tree.path(folder));
    }
    let processors = std::thread::available_parallelism().unwrap().get();
    assert!(tree.read("v1/cpu.shares").starts_with(&(2048 * processors).to_string()));
    assert!(tree.read("v2/cpu.weight").starts_with(&(200 * processors).min(10_000).to_string()));
    assert!(!tree.path("memory/cpu.shares").exists() && !tree.path("v1/cpu.weight").exists());
}

/// A tree like a kernel's: folders and plain files. What is written can be read back; nothing happens of it.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = tree.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `mountinfo` with hierarchies mounted here: (folder, kind, options).
    fn mounts(&self, hierarchies: &[(&str, &str, &str)]) -> String {
        let line = |(folder, kind, options): &(&str, &str, &str)| {
            format!("30 23 0:26 / {} rw - {kind} {kind} {options}\n", self.path(folder).display())
        };
        hierarchies.iter().map(line).collect()
    }
}

const LIMITS: Limits = Limits { memory_bytes: 128 << 20, cpu_shares: 74, processes_max: 1024 };

#[test]
fn version_2_alone_is_delegated_limited_measured_and_killed() {
    let me = crate::instance::new();
    let group = format!("u/s/pileus-{me}");
    let tree = Tree::new(&[
        ("u/s/cgroup.controllers", "cpuset cpu io memory pids"),
        ("u/s/cgroup.subtree_control", ""),
        ("u/s/pileus-1-1/cgroup.procs", ""),
        // A kernel answers with what was turned on.
        (&format!("{group}/cgroup.subtree_control"), ""),
    ]);
    let mounts = tree.mounts(&[("u", "cgroup2", "rw,nsdelegate")]);
    let mut found = Hierarchies::find(&me, &mounts, "0::/s");
    assert_eq!(tree.read("u/s/cgroup.subtree_control"), "+cpu +memory +pids");
    assert_eq!(tree.read(&format!("{group}/cgroup.subtree_control")), "+cpu +memory +pids");
    assert!(!found.complete(), "nothing is believed that the kernel does not confirm");
    found.unified_controllers = ["cpu", "memory", "pids"].map(str::to_owned).to_vec();
    assert!(found.complete());
    assert!(found.findings().iter().all(|finding| finding.state == 0 && finding.detail.starts_with("cgroup v2")));

    let made = found.create(7).unwrap();
    let inside = |file: &str| format!("{group}/e7/{file}");
    made.limit(&LIMITS).unwrap();
    for (file, written) in [
        ("memory.max", "134217728"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("cpu.weight", "7"),
        ("pids.max", "1024"),
    ] {
        assert_eq!(tree.read(&inside(file)), written, "{file}");
    }
    fs::write(tree.path(&inside("cgroup.procs")), "").unwrap();
    assert_eq!(made.doors().unwrap().len(), 1);
    for (file, text) in [
        ("memory.peak", "1"),
        ("memory.stat", "anon 1"),
        ("cpu.stat", "usage_usec 1"),
        ("cpu.max", "max 100000"),
        ("cgroup.freeze", "0"),
        ("memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 1\n"),
    ] {
        fs::write(tree.path(&inside(file)), text).unwrap();
    }
    let gauges = made.gauges();
    assert!(gauges.memory_peak.ends_with("/e7/memory.peak") && gauges.cpu.ends_with("/e7/cpu.stat"));
    assert!(gauges.freezer.ends_with("/e7/cgroup.freeze") && gauges.quota.ends_with("/e7/cpu.max"));
    assert_eq!(gauges.memory_end, "", "version 2 ends the whole group by itself");
    assert_eq!(made.memory_kills(), 1);
    made.kill();
    assert_eq!((tree.read(&inside("cgroup.kill")), tree.read(&inside("cgroup.freeze"))), ("1".into(), "0".into()));
}

#[test]
fn a_group_that_holds_processes_hands_controllers_down_from_a_leaf() {
    let me = crate::instance::new();
    let tree = Tree::new(&[("u/cgroup.controllers", "memory pids"), ("u/cgroup.procs", "")]);
    // It cannot be written to, like one that holds processes.
    fs::create_dir(tree.path("u/cgroup.subtree_control")).unwrap();
    Hierarchies::find(&me, &tree.mounts(&[("u", "cgroup2", "rw")]), "0::/");
    assert!(tree.path("u/pileus.server").is_dir());
}

#[test]
fn version_1_alone_has_a_folder_for_each_hierarchy() {
    let me = crate::instance::new();
    let tree = Tree::new(&[]);
    let names = ["memory", "cpu,cpuacct", "pids", "freezer"];
    let hierarchies = names.map(|name| (name, "cgroup", name));
    for name in names {
        fs::create_dir(tree.path(name)).unwrap();
    }
    let found = Hierarchies::find(&me, &tree.mounts(&hierarchies), "");
    assert!(found.complete() && found.unified.is_none());
    let made = found.create(3).unwrap();
    assert_eq!(made.folders.len(), 4, "two controllers of one hierarchy share a folder");
    made.limit(&LIMITS).unwrap();
    let inside = |hierarchy: &str, file: &str| format!("{hierarchy}/pileus-{me}/e3/{file}");
    for (hierarchy, file, written) in [
        ("memory", "memory.limit_in_bytes", "134217728"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.kmem.tcp.limit_in_bytes", "33554432"),
        ("cpu,cpuacct", "cpu.shares", "74"),
        ("pids", "pids.max", "1024"),
    ] {
        assert_eq!(tree.read(&inside(hierarchy, file)), written, "{file}");
    }
    fs::write(tree.path(&inside("memory", "memory.oom_control")), "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
        .unwrap();
    assert_eq!(made.memory_kills(), 3);
    assert!(made.gauges().memory_end.ends_with("memory.oom_control"));
    made.kill();
    assert_eq!(tree.read(&inside("freezer", "freezer.state")), "THAWED");
}

#[test]
fn in_a_hybrid_limits_are_from_version_1_and_the_rest_from_version_2() {
    let me = crate::instance::new();
    let tree = Tree::new(&[("u/cgroup.controllers", ""), ("u/cgroup.procs", "")]);
    for name in ["memory", "cpu", "pids"] {
        fs::create_dir(tree.path(name)).unwrap();
    }
    let legacy = ["memory", "cpu", "pids"].map(|name| (name, "cgroup", name));
    let mounts = tree.mounts(&[legacy.as_slice(), &[("u", "cgroup2", "rw")]].concat());
    let found = Hierarchies::find(&me, &mounts, "0::/");
    assert!(found.complete() && found.unified_controllers.is_empty());
    let findings = found.findings();
    assert!(findings[0].detail.starts_with("cgroup v1") && findings[3].detail.starts_with("cgroup v2"));
}

#[test]
fn what_version_2_freezes_needs_no_group_for_it_in_version_1() {
    for (names, kept) in
        [(["memory", "cpu,cpuacct", "pids", "freezer"], 4), (["memory,freezer", "cpu,cpuacct", "pids", "u2"], 4)]
    {
        let me = crate::instance::new();
        let tree = Tree::new(&[("u/cgroup.controllers", ""), ("u/cgroup.procs", "")]);
        let freeze = tree.path(&format!("u/pileus-{me}/cgroup.freeze"));
        fs::create_dir_all(freeze.parent().unwrap()).unwrap();
        fs::write(&freeze, "0").unwrap();
        for name in names {
            fs::create_dir(tree.path(name)).unwrap();
        }
        let legacy = names.map(|name| (name, "cgroup", name));
        let mounts = tree.mounts(&[legacy.as_slice(), &[("u", "cgroup2", "rw")]].concat());
        let found = Hierarchies::find(&me, &mounts, "0::/");
        assert!(found.complete() && !found.legacy.contains_key("freezer"));
        let made = found.create(1).unwrap();
        // With the one of version 2.
        assert_eq!(made.folders.len(), kept);
    }
}

#[test]
fn without_a_hierarchy_everything_is_missing_and_says_so() {
    let found = Hierarchies::find("1-1-1", "30 23 0:26 / /sys rw - sysfs sysfs rw\n", "");
    assert!(!found.complete());
    assert!(found.findings().iter().all(|finding| finding.state == 2 && !finding.remedy.is_empty()));
    let made = found.create(1).unwrap();
    made.limit(&LIMITS).unwrap();
    assert!(made.folders.is_empty() && made.remove() && made.memory_kills() == 0);
}

/// The real thing, where there is one: a group of version 2 is frozen, killed while it is frozen, and removed.
#[test]
fn a_real_group_of_version_2_is_killed_while_frozen() {
    let me = crate::instance::new();
    let found = Hierarchies::detect(&me);
    let Some(folder) = found.unified.clone().filter(|folder| folder.join("cgroup.kill").exists()) else {
        println!("left out: no version 2 hierarchy can be written here");
        found.remove();
        return;
    };
    let made = found.create(1).unwrap();
    let mut child = std::process::Command::new("sleep").arg("3600").spawn().unwrap();
    fs::write(folder.join("e1/cgroup.procs"), child.id().to_string()).unwrap();
    fs::write(folder.join("e1/cgroup.freeze"), "1").unwrap();
    let frozen = || fs::read_to_string(folder.join("e1/cgroup.events")).unwrap().contains("frozen 1");
    while !frozen() {
        std::thread::yield_now();
    }
    assert!(!made.remove(), "it is not empty");
    made.kill();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    while !made.remove() {
        std::thread::yield_now();
    }
    found.remove();
    assert!(!folder.exists());
}

/// What an earlier launcher of the same server left is gone before this one gives user ids.
#[test]
fn what_an_earlier_launcher_left_is_ended() {
    let me = crate::instance::new();
    let first = Hierarchies::detect(&me);
    let Some(folder) = first.unified.clone() else {
        println!("left out: no version 2 hierarchy can be written here");
        first.remove();
        return;
    };
    let _left = first.create(9).unwrap();
    let mut child = std::process::Command::new("sleep").arg("3600").spawn().unwrap();
    fs::write(folder.join("e9/cgroup.procs"), child.id().to_string()).unwrap();
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    let second = Hierarchies::detect(&me);
    assert!(!folder.join("e9").exists());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&reaper.join().unwrap()), Some(libc::SIGKILL));
    second.remove();
}
