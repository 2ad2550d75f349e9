//! The system-call filter: permitted numbers folded into ranges and searched as a tree, so that a call costs a handful of
//! comparisons instead of hundreds. What is unknown answers `ENOSYS` (programs fall back); what is known and dangerous
//! answers `EPERM`; a foreign instruction set ends the process. Some calls are answered as done without being made: what
//! they would do reaches beyond the sandbox (flushing the host's disk), and what they promise is worth nothing inside it.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{c_long, sock_filter};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the sandbox knows the system calls of x86_64 and aarch64 only");

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = ERRNO | libc::ENOSYS as u32;
const EPERM: u32 = ERRNO | libc::EPERM as u32;
const EAFNOSUPPORT: u32 = ERRNO | libc::EAFNOSUPPORT as u32;
const EPROTONOSUPPORT: u32 = ERRNO | libc::EPROTONOSUPPORT as u32;
const EOPNOTSUPP: u32 = ERRNO | libc::EOPNOTSUPP as u32;
/// Success, without the call.
const DONE: u32 = ERRNO;

/// What is done with one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Return(u32),
    /// `clone`: threads and processes, no namespaces.
    Clone,
    /// `socket`, `socketpair`: local sockets, TCP and UDP, and the socket that lists addresses.
    Socket,
    /// `fcntl`: no notice of what happens in a folder, which others may share.
    Fcntl,
    /// `msync`: writing to disk is for nothing, asking about memory is not.
    Msync,
    /// `fadvise64`: pages are not to be thrown out of memory that others share.
    Advice,
    /// `preadv2`: not the flag that tells what is in memory.
    ReadVector,
    /// `ioctl`: not the two that type into a terminal.
    Ioctl,
    /// `personality`: only asking, and the default.
    Personality,
}

/// The filter for ordinary language runtimes.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut code = vec![
        load(OFFSET_ARCHITECTURE),
        jump(BPF_JEQ, ARCHITECTURE, 1, 0),
        give(KILL),
        load(OFFSET_NUMBER),
        // The x32 numbers of x86-64 name the same calls a second time.
        jump(BPF_JGE, 0x4000_0000, 0, 1),
        give(ENOSYS),
    ];
    code.extend(tree(&ranges(&table())));
    code
}

/// Every number with its action, sorted. What is not in it answers `ENOSYS`.
fn table() -> Vec<(u32, Action)> {
    let mut table: Vec<(u32, Action)> = Vec::new();
    let mut put = |numbers: &[c_long], action: Action| {
        table.extend(numbers.iter().filter_map(|&number| Some((u32::try_from(number).ok()?, action))));
    };
    put(PERMITTED, Action::Return(ALLOW));
    put(PERMITTED_ARCHITECTURE, Action::Return(ALLOW));
    put(REFUSED, Action::Return(EPERM));
    put(&[libc::SYS_clone], Action::Clone);
    put(&[libc::SYS_socket, libc::SYS_socketpair], Action::Socket);
    put(&[libc::SYS_ioctl], Action::Ioctl);
    put(&[libc::SYS_personality], Action::Personality);
    put(&[libc::SYS_fcntl], Action::Fcntl);
    put(&[libc::SYS_msync], Action::Msync);
    put(&[libc::SYS_fadvise64], Action::Advice);
    put(&[libc::SYS_preadv2], Action::ReadVector);
    put(DONE_UNASKED, Action::Return(DONE));
    table.sort_unstable_by_key(|(number, _)| *number);
    table
}

/// Folds the table into half-open ranges: each begins at its number and ends where the next begins.
fn ranges(table: &[(u32, Action)]) -> Vec<(u32, Action)> {
    let mut ranges = vec![(0, Action::Return(ENOSYS))];
    let mut next = 0;
    let mut push = |start: u32, action: Action| match ranges.last_mut() {
        Some((_, last)) if *last == action => {}
        Some((begin, last)) if *begin == start => *last = action,
        _ => ranges.push((start, action)),
    };
    for &(number, action) in table {
        if number > next {
            push(next, Action::Return(ENOSYS));
        }
        push(number, action);
        next = number + 1;
    }
    push(next, Action::Return(ENOSYS));
    ranges
}

/// A balanced search over the ranges; the number is in the accumulator.
fn tree(ranges: &[(u32, Action)]) -> Vec<sock_filter> {
    match ranges {
        [] => vec![give(ENOSYS)],
        [(_, action)] => leaf(*action),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (tree(low), tree(high));
            let mut code = match u8::try_from(below.len()) {
                Ok(distance) => vec![jump(BPF_JGE, high[0].0, distance, 0)],
                // Conditional jumps reach 255 instructions; beyond, a plain jump carries on.
                Err(_) => vec![
                    jump(BPF_JGE, high[0].0, 0, 1),
                    statement(BPF_JMP | BPF_JA, u32::try_from(below.len()).unwrap_or(u32::MAX)),
                ],
            };
            code.extend(below);
            code.extend(above);
            code
        }
    }
}

fn leaf(action: Action) -> Vec<sock_filter> {
    match action {
        Action::Return(value) => vec![give(value)],
        Action::Clone => {
            let namespaces = libc::CLONE_NEWNS
                | libc::CLONE_NEWCGROUP
                | libc::CLONE_NEWUTS
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUSER
                | libc::CLONE_NEWPID
                | libc::CLONE_NEWNET;
            vec![load(OFFSET_ARGUMENTS), jump(BPF_JSET, namespaces.cast_unsigned(), 0, 1), give(EPERM), give(ALLOW)]
        }
        Action::Socket => sockets(),
        // Files that are read-only for all are shared by all: who watches them sees when others start.
        Action::Fcntl => argument_is(1, libc::F_NOTIFY as u32, EPERM),
        Action::Msync => {
            vec![load(OFFSET_ARGUMENTS + 16), jump(BPF_JSET, libc::MS_SYNC as u32, 0, 1), give(DONE), give(ALLOW)]
        }
        Action::Advice => argument_is(3, libc::POSIX_FADV_DONTNEED as u32, DONE),
        Action::ReadVector => vec![
            load(OFFSET_ARGUMENTS + 40),
            jump(BPF_JSET, libc::RWF_NOWAIT as u32, 0, 1),
            give(EOPNOTSUPP),
            give(ALLOW),
        ],
        Action::Ioctl => vec![
            load(OFFSET_ARGUMENTS + 8),
            jump(BPF_JEQ, libc::TIOCSTI as u32, 2, 0),
            jump(BPF_JEQ, libc::TIOCLINUX as u32, 1, 0),
            give(ALLOW),
            give(EPERM),
        ],
        Action::Personality => vec![
            load(OFFSET_ARGUMENTS),
            jump(BPF_JEQ, 0, 1, 0),
            jump(BPF_JEQ, u32::MAX, 0, 1),
            give(ALLOW),
            give(EPERM),
        ],
    }
}

/// `answer` when the argument has this value, else the call.
fn argument_is(index: u32, value: u32, answer: u32) -> Vec<sock_filter> {
    vec![load(OFFSET_ARGUMENTS + 8 * index), jump(BPF_JEQ, value, 0, 1), give(answer), give(ALLOW)]
}

fn sockets() -> Vec<sock_filter> {
    let (family, kind, protocol) = (OFFSET_ARGUMENTS, OFFSET_ARGUMENTS + 8, OFFSET_ARGUMENTS + 16);
    let route = libc::NETLINK_ROUTE as u32;
    vec![
        /* 0 */ load(family),
        /* 1 */ jump(BPF_JEQ, libc::AF_UNIX as u32, 13, 0),
        /* 2 */ jump(BPF_JEQ, libc::AF_NETLINK as u32, 10, 0),
        /* 3 */ jump(BPF_JEQ, libc::AF_INET as u32, 1, 0),
        /* 4 */ jump(BPF_JEQ, libc::AF_INET6 as u32, 0, 12),
        // Streams and datagrams (the type is the low four bits): raw sockets see others' packets.
        /* 5 */
        load(kind),
        /* 6 */ statement(BPF_ALU | BPF_AND | BPF_K, 0xf),
        /* 7 */ jump(BPF_JEQ, libc::SOCK_STREAM as u32, 1, 0),
        /* 8 */ jump(BPF_JEQ, libc::SOCK_DGRAM as u32, 0, 7),
        // TCP and UDP: other protocols are rarely walked kernel code, and some are loaded on demand.
        /* 9 */
        load(protocol),
        /* 10 */ jump(BPF_JEQ, 0, 4, 0),
        /* 11 */ jump(BPF_JEQ, libc::IPPROTO_TCP as u32, 3, 0),
        /* 12 */ jump(BPF_JEQ, libc::IPPROTO_UDP as u32, 2, 5),
        // A route socket is raw by name only: libraries list addresses with it.
        /* 13 */ load(protocol),
        /* 14 */ jump(BPF_JEQ, route, 0, 1),
        /* 15 */ give(ALLOW),
        /* 16 */ give(EPERM),
        /* 17 */ give(EAFNOSUPPORT),
        /* 18 */ give(EPROTONOSUPPORT),
    ]
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn give(value: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, value)
}

fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | condition | BPF_K) as u16, jt, jf, k }
}

/// What language runtimes and ordinary programs use.
#[rustfmt::skip]
const PERMITTED: &[c_long] = &[
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_bind, libc::SYS_brk, libc::SYS_capget, libc::SYS_chdir,
    libc::SYS_clock_getres, libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_close, libc::SYS_close_range,
    libc::SYS_connect, libc::SYS_copy_file_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_execve,
    libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_fallocate, libc::SYS_fchdir, libc::SYS_fchmod, libc::SYS_fchmodat,
    libc::SYS_fchmodat2, libc::SYS_fchown, libc::SYS_fchownat, 
    libc::SYS_fgetxattr, libc::SYS_flistxattr, libc::SYS_flock, libc::SYS_fremovexattr, libc::SYS_fsetxattr,
    libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_ftruncate, libc::SYS_futex, libc::SYS_futex_waitv,
    libc::SYS_get_mempolicy, libc::SYS_get_robust_list, libc::SYS_getcpu, libc::SYS_getcwd, libc::SYS_getdents64,
    libc::SYS_getegid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getgroups, libc::SYS_getitimer,
    libc::SYS_getpeername, libc::SYS_getpgid, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getpriority,
    libc::SYS_getrandom, libc::SYS_getresgid, libc::SYS_getresuid, libc::SYS_getrlimit, libc::SYS_getrusage,
    libc::SYS_getsid, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_gettid, libc::SYS_gettimeofday,
    libc::SYS_getuid, libc::SYS_getxattr, libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch, libc::SYS_ioprio_get, libc::SYS_ioprio_set, libc::SYS_kill,
    libc::SYS_landlock_add_rule, libc::SYS_landlock_create_ruleset, libc::SYS_landlock_restrict_self,
    libc::SYS_lgetxattr, libc::SYS_linkat, libc::SYS_listen, libc::SYS_listxattr, libc::SYS_llistxattr,
    libc::SYS_lremovexattr, libc::SYS_lseek, libc::SYS_lsetxattr, libc::SYS_madvise, libc::SYS_membarrier,
    libc::SYS_memfd_create, libc::SYS_mincore, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_mlock,
    libc::SYS_mlock2, libc::SYS_mlockall, libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mq_getsetattr,
    libc::SYS_mq_notify, libc::SYS_mq_open, libc::SYS_mq_timedreceive, libc::SYS_mq_timedsend, libc::SYS_mq_unlink,
    libc::SYS_mremap, libc::SYS_msgctl, libc::SYS_msgget, libc::SYS_msgrcv, libc::SYS_msgsnd,
    libc::SYS_munlock, libc::SYS_munlockall, libc::SYS_munmap, libc::SYS_nanosleep, libc::SYS_newfstatat,
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_pipe2,
    libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect, libc::SYS_ppoll, libc::SYS_prctl,
    libc::SYS_pread64, libc::SYS_preadv, libc::SYS_prlimit64, libc::SYS_pselect6,
    libc::SYS_pwrite64, libc::SYS_pwritev, libc::SYS_pwritev2, libc::SYS_read, libc::SYS_readahead,
    libc::SYS_readlinkat, libc::SYS_readv, libc::SYS_recvfrom, libc::SYS_recvmmsg, libc::SYS_recvmsg,
    libc::SYS_remap_file_pages, libc::SYS_removexattr, libc::SYS_renameat, libc::SYS_renameat2,
    libc::SYS_restart_syscall, libc::SYS_rseq, libc::SYS_rt_sigaction, libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_sigreturn, libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait, libc::SYS_rt_tgsigqueueinfo, libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min, libc::SYS_sched_getaffinity, libc::SYS_sched_getattr, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_sched_rr_get_interval, libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr, libc::SYS_sched_setparam, libc::SYS_sched_setscheduler, libc::SYS_sched_yield,
    libc::SYS_seccomp, libc::SYS_semctl, libc::SYS_semget, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_sendfile,
    libc::SYS_sendmmsg, libc::SYS_sendmsg, libc::SYS_sendto, libc::SYS_set_robust_list, libc::SYS_set_tid_address,
    libc::SYS_setfsgid, libc::SYS_setfsuid, libc::SYS_setgid, libc::SYS_setgroups, libc::SYS_setitimer,
    libc::SYS_setpgid, libc::SYS_setpriority, libc::SYS_setregid, libc::SYS_setresgid, libc::SYS_setresuid,
    libc::SYS_setreuid, libc::SYS_setrlimit, libc::SYS_setsid, libc::SYS_setsockopt, libc::SYS_setuid,
    libc::SYS_setxattr, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_shmdt, libc::SYS_shmget, libc::SYS_shutdown,
    libc::SYS_sigaltstack, libc::SYS_signalfd4, libc::SYS_splice, libc::SYS_statfs, libc::SYS_statx,
    libc::SYS_symlinkat, libc::SYS_sync_file_range, libc::SYS_sysinfo,
    libc::SYS_tee, libc::SYS_tgkill, libc::SYS_timer_create, libc::SYS_timer_delete, libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime, libc::SYS_timer_settime, libc::SYS_timerfd_create, libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime, libc::SYS_times, libc::SYS_tkill, libc::SYS_truncate, libc::SYS_umask, libc::SYS_uname,
    libc::SYS_unlinkat, libc::SYS_utimensat, libc::SYS_vmsplice, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_write,
    libc::SYS_writev,
];

/// The older forms that only x86-64 has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const PERMITTED_ARCHITECTURE: &[c_long] = &[
    libc::SYS_access, libc::SYS_alarm, libc::SYS_arch_prctl, libc::SYS_chmod, libc::SYS_chown, libc::SYS_creat,
    libc::SYS_dup2, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_fork,
    libc::SYS_futimesat, libc::SYS_getdents, libc::SYS_getpgrp, libc::SYS_inotify_init, libc::SYS_lchown,
    libc::SYS_link, libc::SYS_lstat, libc::SYS_mkdir, libc::SYS_mknod, libc::SYS_open, libc::SYS_pause, libc::SYS_pipe,
    libc::SYS_poll, libc::SYS_readlink, libc::SYS_rename, libc::SYS_rmdir, libc::SYS_select, libc::SYS_signalfd,
    libc::SYS_stat, libc::SYS_symlink, libc::SYS_time, libc::SYS_unlink, libc::SYS_utime, libc::SYS_utimes,
    libc::SYS_vfork,
];
#[cfg(target_arch = "aarch64")]
const PERMITTED_ARCHITECTURE: &[c_long] = &[];

/// They would make the host's disk flush what is not the function's, again and again; nothing of a function outlives it.
const DONE_UNASKED: &[c_long] = &[libc::SYS_fdatasync, libc::SYS_fsync, libc::SYS_sync, libc::SYS_syncfs];

/// Known, and never a function's business: they answer `EPERM` so that a program says what it was refused.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    libc::SYS_acct, libc::SYS_add_key, libc::SYS_adjtimex, libc::SYS_bpf, libc::SYS_capset, libc::SYS_chroot,
    libc::SYS_clock_adjtime, libc::SYS_clock_settime, libc::SYS_delete_module, libc::SYS_fanotify_init,
    libc::SYS_finit_module, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fsopen, libc::SYS_fspick,
    libc::SYS_init_module, libc::SYS_inotify_add_watch, libc::SYS_kcmp, libc::SYS_kexec_load, libc::SYS_keyctl, libc::SYS_mount,
    libc::SYS_mount_setattr, libc::SYS_move_mount, libc::SYS_name_to_handle_at, libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at, libc::SYS_open_tree, libc::SYS_perf_event_open, libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root, libc::SYS_process_madvise, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_ptrace, libc::SYS_quotactl, libc::SYS_reboot, libc::SYS_request_key, libc::SYS_setdomainname,
    libc::SYS_sethostname, libc::SYS_setns, libc::SYS_settimeofday, libc::SYS_swapoff, libc::SYS_swapon,
    libc::SYS_syslog, libc::SYS_umount2, libc::SYS_unshare, libc::SYS_userfaultfd, libc::SYS_vhangup,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would.
    fn run(code: &[sock_filter], architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let (mut at, mut accumulator) = (0usize, 0u32);
        for _ in 0..4096 {
            let instruction = &code[at];
            at += 1;
            let class = u32::from(instruction.code);
            let k = instruction.k;
            let take = |condition: bool| usize::from(if condition { instruction.jt } else { instruction.jf });
            match class {
                c if c == BPF_LD | BPF_W | BPF_ABS => {
                    accumulator = match k {
                        OFFSET_NUMBER => number,
                        OFFSET_ARCHITECTURE => architecture,
                        _ => arguments[((k - OFFSET_ARGUMENTS) / 8) as usize],
                    };
                }
                c if c == BPF_RET | BPF_K => return k,
                c if c == BPF_JMP | BPF_JA => at += k as usize,
                c if c == BPF_JMP | BPF_JEQ | BPF_K => at += take(accumulator == k),
                c if c == BPF_JMP | BPF_JGE | BPF_K => at += take(accumulator >= k),
                c if c == BPF_JMP | BPF_JSET | BPF_K => at += take(accumulator & k != 0),
                c if c == BPF_ALU | BPF_AND | BPF_K => accumulator &= k,
                other => panic!("unknown instruction {other}"),
            }
        }
        panic!("the filter does not end");
    }

    fn number(call: c_long) -> u32 {
        u32::try_from(call).unwrap()
    }

    #[test]
    fn every_number_gets_its_action_and_the_rest_is_unknown() {
        let (code, table) = (program(), table());
        assert!(code.len() < 600, "{}", code.len());
        for candidate in 0..600 {
            let expected = match table.iter().find(|(n, _)| *n == candidate) {
                Some((_, Action::Return(value))) => *value,
                Some(_) => continue,
                None => ENOSYS,
            };
            assert_eq!(run(&code, ARCHITECTURE, candidate, [0; 6]), expected, "{candidate}");
        }
    }

    #[test]
    fn no_number_is_named_twice() {
        let table = table();
        for pair in table.windows(2) {
            assert_ne!(pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn arguments_decide_where_they_must() {
        let code = program();
        let check = |call: c_long, first: [u32; 3], expected: u32| {
            let arguments = [first[0], first[1], first[2], 0, 0, 0];
            assert_eq!(run(&code, ARCHITECTURE, number(call), arguments), expected, "{call} {arguments:?}");
        };
        check(libc::SYS_clone, [libc::SIGCHLD as u32, 0, 0], ALLOW);
        check(libc::SYS_clone, [libc::CLONE_NEWUSER as u32, 0, 0], EPERM);
        check(libc::SYS_clone, [libc::CLONE_NEWNET as u32 | libc::CLONE_VM as u32, 0, 0], EPERM);
        check(libc::SYS_socket, [libc::AF_UNIX as u32, libc::SOCK_STREAM as u32, 0], ALLOW);
        check(libc::SYS_socket, [libc::AF_INET as u32, (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u32, 0], ALLOW);
        check(libc::SYS_socket, [libc::AF_INET as u32, (libc::SOCK_RAW | libc::SOCK_CLOEXEC) as u32, 0], EPERM);
        check(libc::SYS_socket, [libc::AF_PACKET as u32, libc::SOCK_RAW as u32, 0], EAFNOSUPPORT);
        check(libc::SYS_socket, [libc::AF_VSOCK as u32, libc::SOCK_STREAM as u32, 0], EAFNOSUPPORT);
        check(libc::SYS_socket, [libc::AF_NETLINK as u32, libc::SOCK_RAW as u32, libc::NETLINK_ROUTE as u32], ALLOW);
        check(libc::SYS_socket, [libc::AF_NETLINK as u32, libc::SOCK_RAW as u32, libc::NETLINK_AUDIT as u32], EPERM);
        check(libc::SYS_socket, [libc::AF_INET as u32, libc::SOCK_DGRAM as u32, libc::IPPROTO_UDP as u32], ALLOW);
        check(libc::SYS_socket, [libc::AF_INET6 as u32, libc::SOCK_STREAM as u32, libc::IPPROTO_TCP as u32], ALLOW);
        check(
            libc::SYS_socket,
            [libc::AF_INET as u32, libc::SOCK_DGRAM as u32, libc::IPPROTO_ICMP as u32],
            EPROTONOSUPPORT,
        );
        check(
            libc::SYS_socket,
            [libc::AF_INET as u32, libc::SOCK_STREAM as u32, libc::IPPROTO_SCTP as u32],
            EPROTONOSUPPORT,
        );
        check(libc::SYS_socket, [libc::AF_INET as u32, libc::SOCK_SEQPACKET as u32, 0], EPERM);
        check(libc::SYS_socket, [libc::AF_UNIX as u32, libc::SOCK_SEQPACKET as u32, 0], ALLOW);
        check(libc::SYS_socket, [libc::AF_ALG as u32, libc::SOCK_SEQPACKET as u32, 0], EAFNOSUPPORT);
        check(libc::SYS_fcntl, [3, libc::F_NOTIFY as u32, 1], EPERM);
        check(libc::SYS_fcntl, [3, libc::F_GETFL as u32, 0], ALLOW);
        check(libc::SYS_msync, [0, 4096, libc::MS_SYNC as u32], DONE);
        check(libc::SYS_msync, [0, 4096, libc::MS_ASYNC as u32], ALLOW);
        let run6 = |call: c_long, arguments| run(&code, ARCHITECTURE, number(call), arguments);
        assert_eq!(run6(libc::SYS_fadvise64, [3, 0, 0, libc::POSIX_FADV_DONTNEED as u32, 0, 0]), DONE);
        assert_eq!(run6(libc::SYS_fadvise64, [3, 0, 0, libc::POSIX_FADV_SEQUENTIAL as u32, 0, 0]), ALLOW);
        assert_eq!(run6(libc::SYS_preadv2, [3, 0, 1, 0, 0, libc::RWF_NOWAIT as u32]), EOPNOTSUPP);
        assert_eq!(run6(libc::SYS_preadv2, [3, 0, 1, 0, 0, 0]), ALLOW);
        check(libc::SYS_ioctl, [0, libc::TIOCSTI as u32, 0], EPERM);
        check(libc::SYS_ioctl, [0, libc::TCGETS as u32, 0], ALLOW);
        check(libc::SYS_personality, [u32::MAX, 0, 0], ALLOW);
        check(libc::SYS_personality, [0x0040_0000, 0, 0], EPERM);
    }

    #[test]
    fn another_instruction_set_is_killed_and_x32_unknown() {
        let code = program();
        assert_eq!(run(&code, 0x4000_0003, 1, [0; 6]), KILL);
        assert_eq!(run(&code, ARCHITECTURE, 0x4000_0001, [0; 6]), ENOSYS);
    }
}
