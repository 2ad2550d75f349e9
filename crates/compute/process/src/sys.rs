//! The few system calls that have no safe wrapper elsewhere. Each function is safe to call from the single-threaded
//! launcher and its children; nothing here is called by the server.
#![expect(unsafe_code, reason = "raw system calls: clone3, fork, execve, prctl-like installers, ioctls")]

use std::{
    ffi::{CString, c_int, c_ulong, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::process::Pid;

pub(crate) mod alone;
pub(crate) mod bpf;
pub(crate) mod event;
pub(crate) mod restorer;
pub(crate) mod trace;

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The caller; the child's pid and a descriptor of it.
    Parent(Pid, OwnedFd),
    /// The new process.
    Child,
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// A copy-on-write child in new namespaces (`CLONE_NEW*` flags). The caller must be single-threaded.
pub(crate) fn clone_into_namespaces(flags: c_int) -> io::Result<Forked> {
    let mut pidfd: c_int = -1;
    let args = CloneArgs {
        flags: u64::from((flags | libc::CLONE_PIDFD).cast_unsigned()),
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: no stack is given, so the child continues on its own copy of ours (fork semantics); `args` and `pidfd` live
    // across the call; the process has one thread, so no lock is held by a thread that the child lacks.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("clone3 gave no pid"))?;
    // SAFETY: the kernel stored a fresh descriptor that nobody else owns.
    Ok(Forked::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// An ordinary fork: runs at-fork handlers, unlike the raw call. The caller must be single-threaded.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread.
    let pid = check(i64::from(unsafe { libc::fork() }))?;
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// Ends the process without running destructors or exit handlers.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: always sound; never returns.
    unsafe { libc::_exit(status) }
}

/// Replaces the process image; returns only the error.
pub(crate) fn execve(path: &CString, arguments: &[CString], variables: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| texts.iter().map(|t| t.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(arguments), pointers(variables));
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces the process image by the program behind a descriptor; returns only the error.
pub(crate) fn exec_descriptor(program: BorrowedFd<'_>, arguments: &[CString], variables: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| texts.iter().map(|t| t.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(arguments), pointers(variables));
    // SAFETY: the path is an empty C string; both arrays end with a null pointer and their strings outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    let first = c_ulong::from(first.cast_unsigned());
    // SAFETY: callers (children about to exec, or to sleep for ever) use no descriptor above `first` afterwards, and exit
    // without running destructors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_ulong::from(u32::MAX), 0) }).map(|_| ())
}

/// Marks every descriptor from `first` on to be closed at exec.
pub(crate) fn cloexec_from(first: RawFd) -> io::Result<()> {
    let first = c_ulong::from(first.cast_unsigned());
    // SAFETY: sets a flag on descriptors, closes none now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_ulong::from(u32::MAX), libc::CLOSE_RANGE_CLOEXEC) })
        .map(|_| ())
}

/// Closes every descriptor from `first` on but `kept`.
pub(crate) fn close_all_but(first: RawFd, kept: BorrowedFd<'_>) -> io::Result<()> {
    let (first, kept) = (c_ulong::from(first.cast_unsigned()), c_ulong::from(kept.as_raw_fd().cast_unsigned()));
    if first < kept {
        // SAFETY: callers (children that wait for their order, then exec) use no other descriptor afterwards, and exit
        // without running destructors.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0) })?;
    }
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_close_range, kept.max(first) + 1, c_ulong::from(u32::MAX), 0) }).map(|_| ())
}

/// Puts `fd` at exactly the number `target`, kept across exec.
pub(crate) fn place_descriptor(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: `target` is one of the numbers 0..=4 of a child that is about to exec or to wait, and uses no descriptor that
    // it owns at them afterwards: what it goes on with was copied by `above_low`.
    check(i64::from(unsafe { libc::dup2(fd.as_raw_fd(), target) })).map(|_| ())
}

/// A copy of `fd` at a number of at least 16, so that placing descriptors at 0..=3 cannot overwrite it.
pub(crate) fn above_low(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC makes a fresh descriptor.
    let copy = check(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 16) }))?;
    // SAFETY: the descriptor is fresh and owned by nobody.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(copy).unwrap_or(-1)) })
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets `MOUNT_ATTR_*` flags on the mount at `fd`, and on those below it when `recursive`.
pub(crate) fn set_mount_attributes(fd: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = MountAttributes { set, clear: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attributes` has the size that is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
    .map(|_| ())
}

const LOOP_CTL_GET_FREE: c_ulong = 0x4C82;
const LOOP_CONFIGURE: c_ulong = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

#[repr(C)]
struct LoopStatus {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfiguration {
    fd: u32,
    block_size: u32,
    status: LoopStatus,
    reserved: [u64; 8],
}

/// The number of an unused loop device.
pub(crate) fn free_loop_device(control: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: takes no argument.
    let number = check(i64::from(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) }))?;
    u32::try_from(number).map_err(io::Error::other)
}

/// Binds `file` to the loop device; the kernel frees the device when its last user goes.
pub(crate) fn configure_loop_device(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    let status = LoopStatus {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LO_FLAGS_AUTOCLEAR,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let mut configuration =
        LoopConfiguration { fd: file.as_raw_fd().cast_unsigned(), block_size: 4096, status, reserved: [0; 8] };
    configuration.status.flags &= !LO_FLAGS_DIRECT_IO;
    // SAFETY: the structure is that of LOOP_CONFIGURE and lives across the call.
    check(i64::from(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const configuration) }))
        .map(|_| ())
}

/// Brings the loopback interface of the current network namespace up.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an all-zero ifreq is a valid value of that C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed() as _;
    request.ifr_name[1] = b'o'.cast_signed() as _;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is initialised and lives across the call.
    check(i64::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }))
        .map(|_| ())
}

/// Gives the process an anonymous session keyring of its own, so that it shares none with the host.
pub(crate) fn fresh_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_void>()) }).map(|_| ())
}

/// Puts the calling process into new namespaces.
pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: the process has one thread; descriptors are not unshared.
    check(i64::from(unsafe { libc::unshare(flags) })).map(|_| ())
}

/// Installs a seccomp filter on the calling thread, with the mitigation of speculative store bypass left as it is (the
/// filter is not a boundary inside the process).
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    const SECCOMP_SET_MODE_FILTER: c_int = 1;
    const SECCOMP_FILTER_FLAG_SPEC_ALLOW: c_ulong = 4;
    // SAFETY: the kernel only reads the program, which outlives the call.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &raw const program)
    })
    .map(|_| ())
}

/// The Landlock ABI of the running kernel, zero when it has none.
pub(crate) fn landlock_abi() -> i64 {
    const CREATE_RULESET_VERSION: c_int = 1;
    // SAFETY: with this flag the call reads nothing and answers a number.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0_usize, CREATE_RULESET_VERSION) }
        .max(0)
}

/// Sets every signal to its default and unblocks all: what a fresh program expects.
pub(crate) fn default_signals() {
    // SAFETY: only dispositions and the mask of this process change; the kernel refuses the unchangeable ones.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Lets the kernel reap this process's children by itself.
pub(crate) fn ignore_children() {
    // SAFETY: changes one disposition.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// A descriptor that becomes readable when a child changes state; SIGCHLD itself is blocked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use; a fresh descriptor is returned.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(i64::from(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut())))?;
        let fd = check(i64::from(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)))
    }
}
