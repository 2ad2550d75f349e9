//! A hostile function tries to get out. Every attempt is made from inside, as the function, and must fail.

use compute_api::{Environment, IsolationLevel, WallState};
use serde_json::Value;

use crate::harness::{all_walls, bench, block_on, event, success};

/// Each `attempt` records what came of it: `errno` names, or what it got hold of.
const HOSTILE: &str = r##"
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
results = {}
def call(name, *arguments):
    ctypes.set_errno(0)
    value = libc.syscall(*arguments)
    results[name] = "ok %d" % value if value >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(name, action):
    try:
        results[name] = "ok %r" % (action(),)
    except OSError as error:
        results[name] = errno.errorcode.get(error.errno, str(error))
    except ValueError as error:
        results[name] = str(error)
def read(path):
    with open(path, "rb") as file:
        return file.read(64)
def write(path):
    with open(path, "w") as file:
        file.write("x")
def handler(event, context):
    libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
    x86 = os.uname().machine == "x86_64"
    N = dict(mount=165, ptrace=101, setns=308, unshare=272, keyctl=250, bpf=321, userfaultfd=323, pivot=155,
             perf=298, chroot=161, process_vm_readv=310, add_key=248, kexec=246, init_module=175, open_tree=428,
             move_mount=429, fsopen=430, mount_setattr=442, io_uring=425, clone3=435, open_by_handle=304, reboot=169,
             pidfd_getfd=438, sethostname=170, swapon=167, quotactl=179, memfd_secret=447)
    if not x86:
        N = dict(mount=40, ptrace=117, setns=268, unshare=97, keyctl=219, bpf=280, userfaultfd=282, pivot=41,
                 perf=241, chroot=51, process_vm_readv=270, add_key=217, kexec=104, init_module=105, open_tree=428,
                 move_mount=429, fsopen=430, mount_setattr=442, io_uring=425, clone3=435, open_by_handle=265, reboot=142,
                 pidfd_getfd=438, sethostname=161, swapon=224, quotactl=60, memfd_secret=447)
    for name, number in N.items():
        call(name, number, 0, 0, 0, 0, 0)
    call("clone user namespace", 56 if x86 else 220, 0x10000000 | 17, 0, 0, 0, 0)
    call("unshare user namespace", N["unshare"], 0x10000000)
    for path in ("/etc/shadow", "/root", "/root/.bashrc", "/home", "/proc/1/environ", "/proc/1/root/etc/passwd",
                 "/sys/kernel", "/sys/fs/cgroup/cgroup.procs", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/loop0",
                 "/dev/kvm", "/dev/fuse", "/proc/kcore", "/proc/keys", "/var/lib", "/run", "/host", "/boot",
                 "/proc/sysrq-trigger"):
        attempt("read " + path, lambda: read(path) if not os.path.isdir(path) else os.listdir(path))
    for path in ("/x", "/etc/passwd", "/usr/bin/x", "/var/task/x", "/var/runtime/x", "/var/lang/x", "/opt/x", "/dev/x",
                 "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/var/runtime/python/bootstrap.py",
                 "/proc/1/oom_score_adj", "/var/task/link", "/proc/self/uid_map"):
        attempt("write " + path, lambda: write(path))
    attempt("remove code", lambda: os.remove("/var/task/app.py"))
    attempt("make node", lambda: os.mknod("/tmp/node", 0o060666, os.makedev(254, 0)))
    attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    attempt("packet socket", lambda: socket.socket(17, socket.SOCK_RAW, 3))
    attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
    attempt("outside", lambda: socket.create_connection(("1.1.1.1", 53), 1))
    attempt("metadata", lambda: socket.create_connection(("169.254.169.254", 80), 1))
    attempt("server's port", lambda: socket.create_connection(("127.0.0.1", event["port"]), 1))
    def abstract():
        s = socket.socket(socket.AF_UNIX)
        s.connect("\0pileus-probe")
    attempt("abstract socket", abstract)
    attempt("signal init", lambda: os.kill(1, 9))
    attempt("signal all", lambda: os.kill(event["pid"], 0))
    attempt("setuid root", lambda: os.setuid(0))
    attempt("setgroups", lambda: os.setgroups([0]))
    attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
    attempt("core limit", lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_CORE, (1, 1)))
    open("/tmp/setuid", "w").write("#!/bin/sh\nid -u\n")
    os.chmod("/tmp/setuid", 0o4755)
    results["setuid file"] = __import__("subprocess").run(["/tmp/setuid"], capture_output=True, text=True).stdout.strip()
    status = dict(l.split(":\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
    return {
        "results": results,
        "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
        "own": os.getpid(),
        "status": {k: status[k] for k in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp", "NSpid")},
        "mounts": open("/proc/self/mounts").read().splitlines(),
        "fds": sorted(os.listdir("/proc/self/fd")),
        "cgroup": open("/proc/self/cgroup").read().splitlines(),
        "interfaces": [n for _, n in socket.if_nameindex()],
        "hostname": socket.gethostname(),
        "umask": os.umask(0o022),
    }
"##;

#[test]
fn every_attempt_to_get_out_fails() {
    block_on(async {
        let bench = bench();
        let (spec, _lines) = bench.function("python3.11", "app.py", HOSTILE);
        std::os::unix::fs::symlink("/etc/passwd", spec.code.join("link")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address =
            <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(b"pileus-probe");
        let _abstract = std::os::unix::net::UnixListener::bind_addr(&address.unwrap()).unwrap();
        let mut environment = bench.start(spec).await;
        let payload = format!(r#"{{"port":{},"pid":{}}}"#, listener.local_addr().unwrap().port(), std::process::id());
        let answer = success(&environment.invoke(event("r", &payload)).await);
        let results = answer["results"].as_object().unwrap();
        for (name, result) in results {
            let result = result.as_str().unwrap();
            // A file of /proc that is covered by the null device reads as empty; a setuid file runs as the function.
            let masked = name.starts_with("read /proc/") && result == "ok b''";
            let harmless = name == "setuid file" && result == "993" || masked;
            assert!(!result.starts_with("ok") && !result.is_empty() || harmless, "{name}: {result}");
            assert!(name != "setuid file" || harmless, "{name}: {result}");
        }
        for name in ["mount", "ptrace", "setns", "unshare", "keyctl", "bpf", "open_tree", "clone user namespace"] {
            assert_eq!(results[name], "EPERM", "{name}");
        }
        for name in ["io_uring", "clone3"] {
            assert_eq!(results[name], "ENOSYS", "{name}");
        }
        check_view(&answer);
        environment.stop().await;
    });
}

/// What the function sees of itself and its surroundings.
fn check_view(answer: &Value) {
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(answer["status"][set], "0000000000000000", "{set}");
    }
    assert_eq!(answer["status"]["NoNewPrivs"], "1");
    assert_eq!(answer["status"]["Seccomp"], "2");
    assert_eq!(answer["interfaces"], serde_json::json!(["lo"]));
    assert_eq!(answer["hostname"], "pileus");
    // Standard input, output, error, the channel, and the listing itself.
    assert_eq!(answer["fds"].as_array().unwrap().len(), 5, "{}", answer["fds"]);
    for line in answer["cgroup"].as_array().unwrap() {
        assert!(line.as_str().unwrap().ends_with(":/"), "{line}");
    }
    let mounts: Vec<&str> = answer["mounts"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    assert!(mounts.iter().all(|m| !m.contains("sysfs") && !m.contains("cgroup")), "{mounts:#?}");
    if all_walls(bench()) {
        // Other users' processes, its init among them, cannot be seen.
        assert_eq!(answer["processes"], serde_json::json!([answer["own"]]));
    }
}

#[test]
fn the_report_names_every_wall() {
    block_on(async {
        let bench = bench();
        let (spec, _lines) = bench.function("python3.11", "app.py", "def handler(event, context):\n    return 1\n");
        let environment = bench.start(spec).await;
        let report = environment.isolation().clone();
        environment.stop().await;
        let state = |name: &str| report.walls.iter().find(|wall| wall.name == name).map(|wall| wall.state.clone());
        for name in [
            "user namespace",
            "pid namespace",
            "mount namespace",
            "network namespace",
            "ipc namespace",
            "uts namespace",
            "cgroup namespace",
            "read-only root",
            "capabilities",
            "no_new_privs",
            "seccomp",
        ] {
            assert_eq!(state(name), Some(WallState::Verified), "{name}");
        }
        if all_walls(bench) {
            assert_eq!(report.level, IsolationLevel::Full);
            assert!(report.walls.iter().all(|wall| !matches!(wall.state, WallState::Missing(_))), "{report:?}");
            assert!(report.host_uid >= 700_000);
        }
    });
}

#[test]
fn two_environments_share_no_user_and_no_files() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let code = "import os\ndef handler(event, context):\n    seen = os.listdir('/tmp') + os.listdir('/dev/shm')\n    open('/tmp/mine', 'w').write('x')\n    open('/dev/shm/mine', 'w').write('x')\n    return seen\n";
        let (spec, _lines) = bench().function("python3.11", "app.py", code);
        let mut first = bench().start(spec.clone()).await;
        let mut second = bench().start(spec).await;
        assert_eq!(success(&first.invoke(event("a", "{}")).await), serde_json::json!([]));
        assert_eq!(success(&second.invoke(event("b", "{}")).await), serde_json::json!([]));
        assert_ne!(first.isolation().host_uid, second.isolation().host_uid);
        first.stop().await;
        second.stop().await;
    });
}

#[test]
fn tmp_has_a_hard_quota_that_is_not_charged_to_memory() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let code = r#"
import errno, os
def handler(event, context):
    block, written = b"x" * (1 << 20), 0
    try:
        with open("/tmp/full", "wb") as file:
            while written < 2048:
                file.write(block)
                file.flush()
                written += 1
    except OSError as error:
        code = errno.errorcode[error.errno]
    os.remove("/tmp/full")
    open("/tmp/after", "w").write("works")
    return [written, code]
"#;
        let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
        spec.memory_mib = 128;
        spec.timeout = std::time::Duration::from_secs(60);
        let completion = bench().once(spec, "{}").await;
        let answer = success(&completion);
        assert_eq!(answer[1], "ENOSPC");
        assert!((400..=512).contains(&answer[0].as_u64().unwrap()), "{answer}");
        assert!(completion.figures.memory_bytes_max < 100 << 20);
    });
}

#[test]
fn layers_are_merged_later_over_earlier() {
    block_on(async {
        let code = "def handler(event, context):\n    import helper, only\n    return [helper.NAME, only.NAME, open('/opt/data').read()]\n";
        let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
        let first = bench().code(
            "layer-1",
            &[("python/helper.py", "NAME = 'first'"), ("python/only.py", "NAME = 'only'"), ("data", "1")],
        );
        let second = bench().code("layer-2", &[("python/helper.py", "NAME = 'second'"), ("data", "2")]);
        spec.layers = vec![first, second];
        assert_eq!(success(&bench().once(spec, "{}").await), serde_json::json!(["second", "only", "2"]));
    });
}
