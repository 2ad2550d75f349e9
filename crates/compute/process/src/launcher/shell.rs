//! A shell: a sandbox that knows no function yet. The launcher opens the trees of the root and clones a trusted init into
//! new user, pid, mount, network, ipc and uts namespaces; the init builds the root, brings the loopback up, opens the two
//! listeners, hands them out, gives up everything and sleeps until the launcher is gone or kills it. User code is never
//! pid 1 and never has the init's user.

use std::{
    fs, io,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::symlink,
    },
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{CWD, Gid, Mode, Uid},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    },
    process::Pid,
};

use super::{
    cgroup::Group,
    walls::{self, INSIDE_GID, INSIDE_UID},
};
use crate::{
    protocol::{self, Reply},
    sys::{self, alone::Alone},
};

/// How long the init may take; it does nothing that waits.
const WAIT: Duration = Duration::from_secs(10);
const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// An error with the step at which it happened.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: String,
    pub(crate) errno: i32,
}

/// Names the step of an error.
pub(crate) trait At<T> {
    /// The same result, its error marked with the step.
    fn at(self, stage: &str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, stage: &str) -> Result<T, Failure> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            match error.raw_os_error() {
                Some(errno) => Failure { stage: stage.to_owned(), errno },
                None => Failure { stage: format!("{stage}: {error}"), errno: 0 },
            }
        })
    }
}

/// The ids of a shell on the host: its init's and its function's. Equal when the launcher has no ids to give.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) init: u32,
    pub(crate) function_uid: u32,
    pub(crate) function_gid: u32,
}

impl Ids {
    fn own(self) -> bool {
        self.init != self.function_uid
    }
}

/// A ready sandbox.
pub(crate) struct Shell {
    pub(crate) init: Pid,
    pub(crate) init_fd: OwnedFd,
    /// Open as long as the init shall live.
    pub(crate) control: OwnedFd,
    /// Runtime API and AWS endpoint.
    pub(crate) listeners: Vec<OwnedFd>,
    /// Its namespaces, one by one, for a launcher that may not look into its init any more; root joins by pidfd.
    pub(crate) spaces: Option<Spaces>,
}

/// The namespaces of a shell as descriptors.
pub(crate) struct Spaces {
    pub(crate) pid: OwnedFd,
    /// For sockets; among the others too.
    pub(crate) net: OwnedFd,
    /// For what is attached from outside; among the others too.
    pub(crate) mount: OwnedFd,
    /// In the order of joining: the user namespace gives the right to join the others.
    pub(crate) others: Vec<OwnedFd>,
}

impl Spaces {
    fn open(init: Pid) -> io::Result<Self> {
        let pid = init.as_raw_nonzero().get();
        let open = |name: &str| -> io::Result<OwnedFd> { Ok(fs::File::open(format!("/proc/{pid}/ns/{name}"))?.into()) };
        let others = ["user", "mnt", "net", "ipc", "uts", "cgroup"].into_iter().map(open).collect::<io::Result<_>>()?;
        Ok(Self { pid: open("pid")?, net: open("net")?, mount: open("mnt")?, others })
    }
}

/// Starts the init of a shell; [`Shell::finish`] takes what it has built, when `control` says that it has.
pub(crate) fn begin(ids: Ids, group: &Group, runtime: &Path) -> Result<Shell, Failure> {
    let parts = Parts::open(runtime)?;
    let (ours, theirs) = protocol::pair().at("socket")?;
    protocol::limit_wait(&ours, WAIT).at("socket")?;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    let (init, init_fd) = match sys::clone_into_namespaces(flags).at("clone")? {
        sys::Forked::Parent(pid, fd) => (pid, fd),
        sys::Forked::Child => {
            drop(ours);
            become_init(&theirs, &parts, ids)
        }
    };
    drop((theirs, parts));
    let shell = Shell { init, init_fd, control: ours, listeners: Vec::new(), spaces: None };
    let admitted = admit(init, ids, group).and_then(|()| protocol::send(shell.control.as_fd(), &(), &[]).at("init"));
    match admitted {
        Ok(()) => Ok(shell),
        Err(failure) => {
            shell.discard();
            Err(failure)
        }
    }
}

impl Shell {
    /// Takes the listeners of a shell that has been built.
    pub(crate) fn finish(&mut self, ids: Ids) -> Result<(), Failure> {
        match protocol::receive::<Reply>(self.control.as_fd()).at("init")? {
            Some((Reply::ShellReady { .. }, listeners)) if listeners.len() == 2 => {
                self.spaces = if ids.own() { None } else { Some(Spaces::open(self.init).at("namespaces")?) };
                // The init waits for this before it closes itself to everyone.
                protocol::send(self.control.as_fd(), &(), &[]).at("init")?;
                self.listeners = listeners;
                Ok(())
            }
            Some((Reply::Failed { stage, errno, .. }, _)) => Err(Failure { stage, errno }),
            _ => Err(Failure { stage: "init ended".to_owned(), errno: 0 }),
        }
    }

    fn discard(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.init_fd, rustix::process::Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.init), rustix::process::WaitOptions::empty());
    }
}

/// Writes the id maps and moves the init into its groups.
fn admit(init: Pid, ids: Ids, group: &Group) -> Result<(), Failure> {
    let pid = init.as_raw_nonzero().get();
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let (uids, gids) = if ids.own() {
        (
            format!("0 {} 1\n{INSIDE_UID} {} 1\n", ids.init, ids.function_uid),
            format!("0 {} 1\n{INSIDE_GID} {} 1\n", ids.init, ids.function_gid),
        )
    } else {
        fs::write(file("setgroups"), "deny").at("setgroups")?;
        (format!("{INSIDE_UID} {} 1\n", ids.function_uid), format!("{INSIDE_GID} {} 1\n", ids.function_gid))
    };
    fs::write(file("gid_map"), gids).at("gid map")?;
    fs::write(file("uid_map"), uids).at("uid map")?;
    for door in group.doors().at("cgroup")? {
        rustix::io::write(&door, pid.to_string().as_bytes()).at("cgroup")?;
    }
    // The kernel's out-of-memory killer shall take the function, not its init. An ordinary user may not ask for that.
    drop(fs::write(file("oom_score_adj"), "-900"));
    Ok(())
}

/// What the root is made of, opened while the host's paths can still be reached.
struct Parts {
    folders: Vec<(OwnedFd, String)>,
    files: Vec<(OwnedFd, String)>,
    links: Vec<(String, String)>,
    masks: Vec<(OwnedFd, String)>,
}

impl Parts {
    fn open(runtime: &Path) -> Result<Self, Failure> {
        let mut parts = Self { folders: Vec::new(), files: Vec::new(), links: Vec::new(), masks: Vec::new() };
        parts.folder("/usr", "usr")?;
        parts.folder(runtime, "var/runtime")?;
        // What the operator added to the runtimes of all functions.
        let packages = runtime.with_file_name("packages");
        if packages.is_dir() {
            parts.folder(&packages, "var/runtime/packages")?;
        }
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            let host = format!("/{name}");
            match fs::read_link(&host) {
                Ok(target) => parts.links.push((target.display().to_string(), name.to_owned())),
                Err(_) if Path::new(&host).is_dir() => parts.folder(&host, name)?,
                Err(_) => {}
            }
        }
        for path in ["etc/ssl/certs", "etc/pki/tls", "etc/pki/ca-trust", "etc/alternatives"] {
            let host = format!("/{path}");
            if Path::new(&host).is_dir() {
                parts.folder(&host, path)?;
            }
        }
        for path in ["etc/ssl/openssl.cnf", "etc/ld.so.cache"] {
            let host = format!("/{path}");
            if Path::new(&host).is_file() {
                let tree = open_tree(Path::new(&host), READ_ONLY).at(&host)?;
                parts.files.push((tree, path.to_owned()));
            }
        }
        for name in ["null", "zero", "full", "random", "urandom"] {
            parts.files.push((device(name)?, format!("dev/{name}")));
        }
        for name in walls::MASKED {
            if Path::new("/proc").join(name).exists() {
                parts.masks.push((device("null")?, format!("proc/{name}")));
            }
        }
        Ok(parts)
    }

    fn folder(&mut self, host: impl AsRef<Path>, inside: &str) -> Result<(), Failure> {
        let host = host.as_ref();
        self.folders.push((open_tree(host, READ_ONLY).at(&host.display().to_string())?, inside.to_owned()));
        Ok(())
    }
}

/// A device node writes through a read-only mount; so it gets one like everything else.
fn device(name: &str) -> Result<OwnedFd, Failure> {
    let path = Path::new("/dev").join(name);
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    open_tree(&path, attributes).at(&path.display().to_string())
}

/// A detached copy of a host's folder or file and everything mounted below it.
pub(crate) fn open_tree(path: &Path, attributes: u64) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, path, flags)?;
    sys::set_mount_attributes(tree.as_fd(), attributes, true)?;
    Ok(tree)
}

/// Attaches a detached tree.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: &str) -> io::Result<()> {
    Ok(rustix::mount::move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// The init's whole life.
fn become_init(control: &OwnedFd, parts: &Parts, ids: Ids) -> ! {
    // The first packet says that ids and groups are in place, the second that the launcher has seen the namespaces.
    let admitted = matches!(protocol::receive::<()>(control.as_fd()), Ok(Some(_)));
    if !admitted {
        sys::exit_now(1);
    }
    match build(parts, ids) {
        Ok(listeners) => {
            let listeners = [listeners[0].as_fd(), listeners[1].as_fd()];
            let ready = Reply::ShellReady { id: 0, micros: 0 };
            let heard = protocol::send(control.as_fd(), &ready, &listeners)
                .and_then(|()| protocol::receive::<()>(control.as_fd()));
            if !matches!(heard, Ok(Some(_))) {
                sys::exit_now(1);
            }
        }
        Err(Failure { stage, errno }) => {
            drop(protocol::send(control.as_fd(), &Reply::Failed { id: 0, stage, errno }, &[]));
            sys::exit_now(1);
        }
    }
    // The launcher never writes again: the wait is over when it is gone.
    match give_up(control) {
        Ok(alone) => alone.wait(),
        Err(_) => sys::exit_now(1),
    }
}

/// Builds everything inside the new namespaces.
fn build(parts: &Parts, ids: Ids) -> Result<[TcpListener; 2], Failure> {
    sys::fresh_session_keyring().at("session keyring")?;
    sys::unshare(libc::CLONE_NEWCGROUP).at("cgroup namespace")?;
    if ids.own() {
        rustix::thread::set_thread_groups(&[]).at("groups")?;
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).at("gid")?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).at("uid")?;
    }
    walls::die_with_parent().at("death signal")?;
    rustix::system::sethostname(b"pileus").at("host name")?;
    let listeners = open_listeners()?;
    build_root(parts)?;
    Ok(listeners)
}

fn open_listeners() -> Result<[TcpListener; 2], Failure> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").at("loopback")?;
    sys::loopback_up(socket.as_fd()).at("loopback")?;
    let listen = |port| TcpListener::bind(("127.0.0.1", port)).at("listener");
    Ok([listen(crate::RUNTIME_API_PORT)?, listen(compute_api::endpoint::ENDPOINT_PORT)?])
}

fn build_root(parts: &Parts) -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).at("mount propagation")?;
    let root = new_tmpfs("64k", "755")?;
    attach(root.as_fd(), "/tmp").at("root")?;
    rustix::process::chdir("/tmp").at("root")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for folder in ["dev", "etc", "opt", "proc", "tmp", "usr", "var", "var/lang", "var/runtime", "var/task", "dev/shm"] {
        fs::create_dir(folder).at(folder)?;
    }
    for (target, link) in &parts.links {
        symlink(target, link).at(link)?;
    }
    for (tree, inside) in &parts.folders {
        fs::create_dir_all(inside).at(inside)?;
        attach(tree.as_fd(), inside).at(inside)?;
    }
    for (tree, inside) in &parts.files {
        if let Some(folder) = Path::new(inside).parent() {
            fs::create_dir_all(folder).at(inside)?;
        }
        fs::write(inside, "").at(inside)?;
        attach(tree.as_fd(), inside).at(inside)?;
    }
    for (file, text) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n",
        ),
        ("etc/group", "root:x:0:\nsbx_user1051:x:990:\n"),
        ("etc/hosts", "127.0.0.1 localhost pileus\n"),
        ("etc/resolv.conf", "nameserver 127.0.0.53\noptions timeout:5 attempts:2\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("etc/hostname", "pileus\n"),
    ] {
        fs::write(file, text).at(file)?;
    }
    for (target, link) in [
        ("/proc/self/fd", "dev/fd"),
        ("/proc/self/fd/0", "dev/stdin"),
        ("/proc/self/fd/1", "dev/stdout"),
        ("/proc/self/fd/2", "dev/stderr"),
        // Who finds none compares every file of the time zones with it: a quarter of Node's start.
        ("/usr/share/zoneinfo/UTC", "etc/localtime"),
    ] {
        symlink(target, link).at(link)?;
    }
    mount_proc()?;
    for (tree, inside) in &parts.masks {
        // What the new /proc does not have needs no mask.
        if Path::new(inside).exists() {
            attach(tree.as_fd(), inside).at(inside)?;
        }
    }
    rustix::process::pivot_root(".", ".").at("pivot root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).at("old root")?;
    rustix::process::chdir("/").at("root")?;
    let top = rustix::mount::open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).at("root")?;
    sys::set_mount_attributes(top.as_fd(), READ_ONLY, false).at("read-only root")
}

fn new_tmpfs(size: &str, mode: &str) -> Result<OwnedFd, Failure> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).at("tmpfs")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "size", size).at("tmpfs")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "mode", mode).at("tmpfs")?;
    rustix::mount::fsconfig_create(context.as_fd()).at("tmpfs")?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).at("tmpfs")
}

/// Own processes only, and of those only what belongs to the viewer's user.
fn mount_proc() -> Result<(), Failure> {
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).at("proc")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "hidepid", "invisible").at("proc")?;
    rustix::mount::fsconfig_create(context.as_fd()).at("proc")?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let proc = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("proc")?;
    attach(proc.as_fd(), "proc").at("proc")
}

/// The init keeps nothing but the socket on which it waits.
fn give_up(control: &OwnedFd) -> io::Result<Alone> {
    let alone = Alone::look()?;
    let control = sys::above_low(control.as_fd())?;
    sys::place_descriptor(control.as_fd(), 0)?;
    sys::close_from(1)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    sys::default_signals();
    sys::ignore_children();
    walls::drop_capabilities()?;
    walls::die_with_parent()?;
    sys::install_filter(&super::seccomp::program())?;
    std::mem::forget(control);
    Ok(alone)
}
