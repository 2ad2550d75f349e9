//! Entering a shell, in the order that was measured to work: the launcher sets its pid namespace for children and makes an
//! ordinary fork; the child joins the groups, then the shell's other namespaces at once by pidfd, attaches what is the
//! function's, takes the function's user, gives up capabilities, puts up Landlock and seccomp, and waits. Only when the
//! launcher has seen the walls from outside does it run the program.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{Gid, Mode, Uid},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
    process::Pid,
    thread::ThreadNameSpaceType,
};

use super::{
    cgroup::{Group, Limits},
    image::IMAGE,
    seccomp,
    shell::{self, At, Failure, Ids, Shell, Spaces},
    temporary,
    tmpdisk::{self, Disks},
    walls::{self, Expected, INSIDE_GID, INSIDE_UID},
};
use crate::{
    protocol::{self, DISK_STAGE, Entry, Found, Run},
    sys,
};

/// How long the child may take until it waits for the last word, and until exec.
const WAIT: Duration = Duration::from_secs(10);
/// The number of the private channel in the function.
const CHANNEL: i32 = 3;
const SHARED_MEMORY_BYTES: u64 = 64 << 20;
const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// What the launcher has at hand for an entry.
pub(crate) struct Ground<'a> {
    pub(crate) shell: &'a Shell,
    pub(crate) group: &'a Group,
    pub(crate) ids: Ids,
    pub(crate) disks: &'a Disks,
    pub(crate) expected: Expected,
    /// The launcher's own pid namespace.
    pub(crate) own_pids: &'a File,
    /// Whether an earlier program of this shell attached code, layers and `/tmp` already.
    pub(crate) furnished: bool,
}

/// What an entry may use.
pub(crate) fn limits(entry: &Entry) -> Limits {
    Limits { memory_bytes: entry.memory_bytes, cpu_shares: entry.cpu_shares, processes_max: entry.processes_max }
}

/// What the child needs, all made before the fork.
struct Luggage {
    doors: Vec<OwnedFd>,
    trees: Vec<(OwnedFd, &'static str)>,
    descriptors: Vec<OwnedFd>,
    filter: Vec<libc::sock_filter>,
    own: bool,
    processes_max: u64,
}

/// Runs the entry's program in the shell and waits for it; answers its pid and the walls that were seen.
pub(crate) fn enter(
    ground: &Ground<'_>,
    entry: &Entry,
    descriptors: Vec<OwnedFd>,
) -> Result<(Pid, Vec<Found>), Failure> {
    let trees = if ground.furnished { Vec::new() } else { furniture(ground, entry)? };
    run_in(ground, trees, entry.processes_max, &order(entry), descriptors)
}

/// Runs a program in the shell and waits for it.
pub(crate) fn run_in(
    ground: &Ground<'_>,
    trees: Trees,
    processes_max: u64,
    order: &Run,
    descriptors: Vec<OwnedFd>,
) -> Result<(Pid, Vec<Found>), Failure> {
    let (child, ours) = begin(ground, trees, processes_max, descriptors)?;
    match supervise(&ours, child, &ground.expected, order) {
        Ok(walls) => Ok((child, walls)),
        Err(failure) => {
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
            Err(failure)
        }
    }
}

/// Forks a process that puts up its walls in the shell, says [`Report::Walled`] on the socket that is answered, and waits
/// for its [`Run`]. It belongs to no function yet but for what `trees` bring.
pub(crate) fn begin(
    ground: &Ground<'_>,
    trees: Trees,
    processes_max: u64,
    descriptors: Vec<OwnedFd>,
) -> Result<(Pid, OwnedFd), Failure> {
    let luggage = pack(ground, trees, processes_max, descriptors)?;
    let (ours, theirs) = protocol::pair().at("socket")?;
    protocol::limit_wait(&ours, WAIT).at("socket")?;
    let child = match &ground.shell.spaces {
        None => fork_directly(ground, &luggage, &theirs)?,
        Some(spaces) => fork_twice(ground, spaces, &luggage, &ours, &theirs)?,
    };
    Ok((child, ours))
}

/// What the entry's process is to become.
pub(crate) fn order(entry: &Entry) -> Run {
    Run {
        programs: entry.programs.clone(),
        arguments: entry.arguments.clone(),
        variables: entry.variables.clone(),
        channel: true,
        restore: false,
    }
}

/// Detached mounts and where they belong.
pub(crate) type Trees = Vec<(OwnedFd, &'static str)>;

/// The launcher steps into the shell's pid namespace for its children, forks, and steps back.
fn fork_directly(ground: &Ground<'_>, luggage: &Luggage, theirs: &OwnedFd) -> Result<Pid, Failure> {
    rustix::thread::move_into_thread_name_spaces(ground.shell.init_fd.as_fd(), ThreadNameSpaceType::PROCESS_ID)
        .at("pid namespace")?;
    let forked = sys::fork();
    if let Ok(None) = forked {
        become_function(ground, luggage, theirs);
    }
    let back = rustix::thread::move_into_link_name_space(ground.own_pids.as_fd(), None);
    let child = forked.at("fork")?.ok_or(Failure { stage: "fork".to_owned(), errno: 0 })?;
    if let Err(failure) = back.at("own pid namespace") {
        let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        return Err(failure);
    }
    Ok(child)
}

/// An ordinary user may not step back into the host's pid namespace: a middle process steps in, forks and ends, and the
/// launcher, being subreaper, inherits the child.
fn fork_twice(
    ground: &Ground<'_>,
    spaces: &Spaces,
    luggage: &Luggage,
    ours: &OwnedFd,
    theirs: &OwnedFd,
) -> Result<Pid, Failure> {
    let Some(middle) = sys::fork().at("fork")? else {
        let forked = rustix::thread::move_into_link_name_space(spaces.pid.as_fd(), None)
            .at("pid namespace")
            .and_then(|()| sys::fork().at("fork"));
        let report = match forked {
            Ok(Some(child)) => Report::Forked { pid: child.as_raw_nonzero().get() },
            Ok(None) => {
                // Until the middle process is gone it is the parent, and its end would be this one's.
                if !matches!(protocol::receive::<()>(theirs.as_fd()), Ok(Some(_))) {
                    sys::exit_now(1);
                }
                become_function(ground, luggage, theirs)
            }
            Err(Failure { stage, errno }) => Report::Failed { stage, errno },
        };
        let _ = protocol::send(theirs.as_fd(), &report, &[]);
        sys::exit_now(0)
    };
    let report = protocol::receive::<Report>(ours.as_fd()).at("fork");
    let _ = rustix::process::waitpid(Some(middle), rustix::process::WaitOptions::empty());
    let child = match report? {
        Some((Report::Forked { pid }, _)) => {
            Pid::from_raw(pid).ok_or(Failure { stage: "fork".to_owned(), errno: 0 })?
        }
        Some((Report::Failed { stage, errno }, _)) => return Err(Failure { stage, errno }),
        _ => return Err(Failure { stage: "the middle process ended".to_owned(), errno: 0 }),
    };
    protocol::send(ours.as_fd(), &(), &[]).at("fork")?;
    Ok(child)
}

/// Waits for the walls, looks at them, lets the program run, and waits until it does.
fn supervise(ours: &OwnedFd, child: Pid, expected: &Expected, order: &Run) -> Result<Vec<Found>, Failure> {
    let report =
        |received: io::Result<Option<(Report, Vec<OwnedFd>)>>, at: &str| received.at(at).map(|r| r.map(|r| r.0));
    match report(protocol::receive(ours.as_fd()), "entering")? {
        Some(Report::Walled) => {}
        Some(Report::Forked { .. }) => return Err(confused()),
        Some(Report::Failed { stage, errno }) => return Err(Failure { stage, errno }),
        None => return Err(Failure { stage: "the entering process ended".to_owned(), errno: 0 }),
    }
    let walls = walls::verify(child, expected).at("verification")?;
    protocol::send(ours.as_fd(), order, &[]).at("entering")?;
    // The socket closes at exec: its end is the success.
    match report(protocol::receive(ours.as_fd()), "exec")? {
        None => Ok(walls),
        Some(Report::Failed { stage, errno }) => Err(Failure { stage, errno }),
        Some(Report::Walled | Report::Forked { .. }) => Err(confused()),
    }
}

fn confused() -> Failure {
    Failure { stage: "the entering process is confused".to_owned(), errno: 0 }
}

/// From the child.
#[derive(minicbor::Encode, minicbor::Decode)]
pub(crate) enum Report {
    #[n(0)]
    Walled,
    #[n(1)]
    Failed {
        #[n(0)]
        stage: String,
        #[n(1)]
        errno: i32,
    },
    /// From a middle process: the child's pid as the launcher sees it.
    #[n(2)]
    Forked {
        #[n(0)]
        pid: i32,
    },
}

fn pack(ground: &Ground<'_>, trees: Trees, processes_max: u64, descriptors: Vec<OwnedFd>) -> Result<Luggage, Failure> {
    let ids = ground.ids;
    let null = File::options().read(true).write(true).open("/dev/null").at("null device")?;
    let mut placed = vec![sys::above_low(null.as_fd()).at("descriptors")?];
    for descriptor in &descriptors {
        placed.push(sys::above_low(descriptor.as_fd()).at("descriptors")?);
    }
    Ok(Luggage {
        doors: ground.group.doors().at("cgroup")?,
        trees,
        descriptors: placed,
        filter: seccomp::program(),
        own: ids.init != ids.function_uid,
        processes_max,
    })
}

/// What is the function's in a shell: code, interpreter, layers, `/tmp`, shared memory.
fn furniture(ground: &Ground<'_>, entry: &Entry) -> Result<Trees, Failure> {
    let mut trees = belongings(Some(&entry.code), entry.language.as_deref(), &entry.layers)?;
    trees.extend(scratch(ground.disks, ground.ids, entry.tmp_bytes)?);
    Ok(trees)
}

/// What a function reads: code, interpreter, layers.
pub(crate) fn belongings(code: Option<&str>, language: Option<&str>, layers: &[String]) -> Result<Trees, Failure> {
    let mut trees = Vec::new();
    if let Some(code) = code {
        trees.push((shell::open_tree(Path::new(code), READ_ONLY).at("code folder")?, "/var/task"));
    }
    if let Some(language) = language {
        trees.push((shell::open_tree(Path::new(language), READ_ONLY).at("language folder")?, "/var/lang"));
    }
    match layers {
        [] => {}
        [layer] => trees.push((shell::open_tree(Path::new(layer), READ_ONLY).at("layer")?, "/opt")),
        layers => trees.push((overlay(layers).at("layers")?, "/opt")),
    }
    Ok(trees)
}

/// What a function writes: `/tmp` and shared memory.
pub(crate) fn scratch(disks: &Disks, ids: Ids, tmp_bytes: u64) -> Result<Trees, Failure> {
    let disk = disks.make(tmp_bytes, ids.function_uid, ids.function_gid).at(DISK_STAGE)?;
    let shared = tmpdisk::tmpfs(SHARED_MEMORY_BYTES, ids.function_uid, ids.function_gid, true).at("shared memory")?;
    Ok(vec![(disk, "/tmp"), (shared, "/dev/shm")])
}

/// Several layers as one read-only folder, the last on top.
fn overlay(layers: &[String]) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers.iter().rev() {
        rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", layer.as_str())?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The child's whole life until it is the function.
fn become_function(ground: &Ground<'_>, luggage: &Luggage, theirs: &OwnedFd) -> ! {
    let walled = wall_in(ground, luggage, theirs);
    let (failure, socket) = match &walled {
        Err(failure) => (failure, theirs),
        // Everything else is closed.
        Ok(report) => (&run(report), report),
    };
    let failed = Report::Failed { stage: failure.stage.clone(), errno: failure.errno };
    drop(protocol::send(socket.as_fd(), &failed, &[]));
    sys::exit_now(1)
}

fn wall_in(ground: &Ground<'_>, luggage: &Luggage, theirs: &OwnedFd) -> Result<OwnedFd, Failure> {
    for door in &luggage.doors {
        rustix::io::write(door, b"0").at("cgroup")?;
    }
    sys::fresh_session_keyring().at("session keyring")?;
    join(ground.shell).at("namespaces")?;
    for (tree, target) in &luggage.trees {
        shell::attach(tree.as_fd(), target).at(target)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::setsid().at("session")?;
    if luggage.own {
        rustix::thread::set_thread_groups(&[]).at("groups")?;
        let (gid, uid) = (Gid::from_raw(INSIDE_GID), Uid::from_raw(INSIDE_UID));
        rustix::thread::set_thread_res_gid(gid, gid, gid).at("gid")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).at("uid")?;
    }
    walls::die_with_parent().at("death signal")?;
    if luggage.own {
        // Without ids of its own the launcher could not look at the walls of a process that is closed; exec opens it anyway.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).at("dumpable")?;
    }
    walls::set_resource_limits(luggage.processes_max).at("resource limits")?;
    rustix::process::chdir("/var/task").at("working directory")?;
    walls::drop_capabilities().at("capabilities")?;
    walls::restrict_paths().at("landlock")?;
    let report = sys::above_low(theirs.as_fd()).at("descriptors")?;
    for (number, descriptor) in (0..).zip(&luggage.descriptors) {
        // Standard input, output, error; then the private channel.
        debug_assert!(number <= CHANNEL);
        sys::place_descriptor(descriptor.as_fd(), number).at("descriptors")?;
    }
    // It may wait for long: what belongs to others must not live on in it.
    let kept = i32::try_from(luggage.descriptors.len()).unwrap_or(CHANNEL + 1);
    sys::close_all_but(kept, report.as_fd()).at("descriptors")?;
    sys::default_signals();
    sys::install_filter(&luggage.filter).at("seccomp")?;
    Ok(report)
}

/// Joins every namespace of the shell but the one for process ids.
fn join(shell: &Shell) -> io::Result<()> {
    if let Some(spaces) = &shell.spaces {
        for space in &spaces.others {
            rustix::thread::move_into_link_name_space(space.as_fd(), None)?;
        }
        return Ok(());
    }
    let spaces = ThreadNameSpaceType::USER
        | ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    Ok(rustix::thread::move_into_thread_name_spaces(shell.init_fd.as_fd(), spaces)?)
}

/// Waits for the order, then replaces the process; returns only the failure.
fn run(report: &OwnedFd) -> Failure {
    let word = protocol::send(report.as_fd(), &Report::Walled, &[])
        .and_then(|()| protocol::receive::<Run>(report.as_fd()))
        .at("entering");
    let (order, descriptors) = match word {
        Ok(Some(order)) => order,
        Ok(None) => sys::exit_now(1),
        Err(failure) => return failure,
    };
    let text = |texts: &[String]| {
        texts.iter().map(|t| CString::new(t.as_str())).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)
    };
    let texts = (text(&order.programs), text(&order.arguments), text(&order.variables));
    let (Ok(programs), Ok(arguments), Ok(variables)) = texts else {
        return Failure { stage: "a program, argument or variable with a zero byte".to_owned(), errno: libc::EINVAL };
    };
    if !order.channel
        && let Err(failure) = sys::cloexec_from(CHANNEL).at("descriptors")
    {
        return failure;
    }
    if order.restore {
        return restore(&descriptors, &arguments, &variables);
    }
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for program in &programs {
        last = sys::execve(program, &arguments, &variables);
        if last.raw_os_error() != Some(libc::ENOENT) {
            break;
        }
    }
    Failure { stage: "exec".to_owned(), errno: last.raw_os_error().unwrap_or_default() }
}

/// Becomes a copy of a process: the program puts it together from the image. Returns only the failure.
fn restore(descriptors: &[OwnedFd], arguments: &[CString], variables: &[CString]) -> Failure {
    let [program, image, packed @ ..] = descriptors else {
        return Failure { stage: "files of an image".to_owned(), errno: libc::EINVAL };
    };
    for packed in packed {
        let unpacked = packed.try_clone().and_then(|packed| temporary::unpack(&File::from(packed), Path::new("/tmp")));
        if let Err(failure) = unpacked.at("what lay in /tmp") {
            return failure;
        }
    }
    let placed = sys::above_low(program.as_fd())
        .and_then(|program| Ok((program, sys::above_low(image.as_fd())?)))
        .and_then(|(program, image)| sys::place_descriptor(image.as_fd(), IMAGE).map(|()| program));
    let program = match placed.at("descriptors") {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let error = sys::exec_descriptor(program.as_fd(), arguments, variables);
    Failure { stage: "restoring".to_owned(), errno: error.raw_os_error().unwrap_or_default() }
}
