"""Attempts to get out of a sandbox, one function each. Runs as a Lambda function, and as a program outside (`python
attacks.py NAME…`), where the same attempts must come further: an attempt that fails everywhere proves nothing.

Every attempt runs in a process of its own and answers `ok …` with what it got, or the name of the error.
"""

import ctypes
import errno
import json
import os
import platform
import select
import signal
import socket
import struct
import sys
import tempfile
import time

libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
#                    x86-64, arm64
NUMBERS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "clone": (56, 220), "clone3": (435, 435), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "ptrace": (101, 117), "process_vm_readv": (310, 270), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "mount_setattr": (442, 442), "init_module": (175, 105), "reboot": (169, 142), "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434), "swapon": (167, 224), "acct": (163, 89), "syslog": (103, 116), "settimeofday": (164, 170),
    "sethostname": (170, 161), "quotactl": (179, 60), "kcmp": (312, 272), "personality": (135, 92),
    "inotify_init1": (294, 26), "inotify_add_watch": (254, 27), "memfd_secret": (447, 447), "fanotify_init": (300, 262),
    "landlock": (444, 444), "capset": (126, 91), "iopl": (172, -1), "modify_ldt": (154, -1), "cachestat": (451, 451),
    "process_madvise": (440, 440), "set_mempolicy": (237, 237), "lookup_dcookie": (212, 18), "preadv2": (327, 286),
    "statmount": (457, 457), "listmount": (458, 458),
}  # fmt: skip
ATTEMPTS = {}


def attempt(function):
    ATTEMPTS[function.__name__] = function
    return function


def call(name, *arguments):
    """A raw system call: its result, or the error it gave."""
    number = NUMBERS[name][0 if X86 else 1]
    if number < 0:
        raise OSError(errno.ENOSYS, name)
    ctypes.set_errno(0)
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def folder():
    return tempfile.mkdtemp(prefix="attack-", dir=os.environ.get("ATTACK_FOLDER", "/tmp"))


# --- namespaces, mounts, kernel interfaces ----------------------------------------------------------------------------


@attempt
def mount():
    return call("mount", b"none", folder().encode(), b"tmpfs", 0, None)


@attempt
def bind_mount():
    return call("mount", b"/", folder().encode(), None, 4096, None)


@attempt
def remount_writable():
    return call("mount", b"none", b"/", None, 32 | 4096, None)


@attempt
def unmount():
    return call("umount2", b"/proc", 2)


@attempt
def pivot_root():
    os.chdir(folder())
    return call("pivot_root", b".", b".")


@attempt
def chroot():
    return call("chroot", b"/tmp")


@attempt
def setns_own():
    return call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)


@attempt
def setns_of_init():
    return call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)


@attempt
def setns_by_pidfd():
    return call("setns", call("pidfd_open", os.getppid() or 1, 0), 0x00020000)


@attempt
def unshare_user():
    return call("unshare", 0x10000000)


@attempt
def unshare_mount():
    return call("unshare", 0x00020000)


@attempt
def unshare_network():
    return call("unshare", 0x40000000)


@attempt
def clone_user_namespace():
    pid = call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return pid


@attempt
def clone3_user_namespace():
    arguments = struct.pack("8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    buffer = ctypes.create_string_buffer(arguments, len(arguments))
    pid = call("clone3", ctypes.byref(buffer), len(arguments))
    if pid == 0:
        os._exit(0)
    return pid


@attempt
def keyring():
    return call("keyctl", 0, -3, 1)


@attempt
def add_key():
    return call("add_key", b"user", b"name", b"data", 4, -3)


@attempt
def request_key():
    return call("request_key", b"user", b"name", None, 0)


@attempt
def bpf_map():
    attributes = ctypes.create_string_buffer(struct.pack("4I", 2, 4, 4, 1), 72)
    return call("bpf", 0, ctypes.byref(attributes), 72)


@attempt
def bpf_program():
    code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0), 16)
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("IIQQIIQ", 1, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0)
    buffer = ctypes.create_string_buffer(attributes, 72)
    return call("bpf", 5, ctypes.byref(buffer), 72)


@attempt
def perf_event():
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 0), 112)
    return call("perf_event_open", ctypes.byref(attributes), 0, -1, -1, 0)


@attempt
def io_uring():
    parameters = ctypes.create_string_buffer(120)
    return call("io_uring_setup", 1, ctypes.byref(parameters))


@attempt
def userfaultfd():
    return call("userfaultfd", 0)


@attempt
def fanotify():
    return call("fanotify_init", 0, 0)


@attempt
def trace_self():
    return call("ptrace", 0, 0, 0, 0)


@attempt
def trace_parent():
    return call("ptrace", 0x4206, os.getppid(), 0, 0)


@attempt
def read_parent_memory():
    there = ctypes.create_string_buffer(b"secret", 7)
    here = ctypes.create_string_buffer(7)
    ours = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(here), 7), 16)
    theirs = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(there), 7), 16)
    return call("process_vm_readv", os.getppid(), ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)


@attempt
def take_descriptor_of_parent():
    return call("pidfd_getfd", call("pidfd_open", os.getppid(), 0), 0, 0)


@attempt
def file_handle():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 64, 0), 72)
    number = ctypes.c_int()
    return call("name_to_handle_at", -100, b"/usr", ctypes.byref(handle), ctypes.byref(number), 0)


@attempt
def open_tree():
    return call("open_tree", -100, b"/", 1)


@attempt
def fsopen():
    return call("fsopen", b"tmpfs", 0)


@attempt
def mount_attributes():
    attributes = ctypes.create_string_buffer(32)
    return call("mount_setattr", -100, b"/proc", 0, ctypes.byref(attributes), 32)


@attempt
def load_module():
    return call("init_module", None, 0, b"")


@attempt
def swap():
    return call("swapon", b"/tmp/none", 0)


@attempt
def accounting():
    return call("acct", b"/tmp/none")


@attempt
def kernel_log():
    buffer = ctypes.create_string_buffer(64)
    return call("syslog", 3, ctypes.byref(buffer), 64)


@attempt
def host_name():
    return call("sethostname", b"pileus", 6) if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else call("kcmp", os.getpid(), os.getpid(), 0, 0, 0)


@attempt
def no_randomisation():
    return call("personality", 0x0040000)


@attempt
def memory_of_others_by_policy():
    return call("process_madvise", -1, 0, 0, 0, 0)


@attempt
def residency_of_shared_pages():
    """What lies in memory of a file that all functions share."""
    file = os.open("/usr/bin/env", os.O_RDONLY)
    # So that it lies there, and only the question can be refused.
    os.pread(file, 4096, 0)
    buffer = ctypes.create_string_buffer(4096)
    vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), 4096), 16)
    return call("preadv2", file, ctypes.byref(vector), 1, 0, 0, 8)


@attempt
def watch_shared_files():
    """Learns when others start: they open the same files."""
    return call("inotify_add_watch", call("inotify_init1", 0), b"/usr/bin", 0x20)


@attempt
def notice_of_shared_folder():
    import fcntl

    file = os.open("/usr/bin", os.O_RDONLY)
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    return fcntl.fcntl(file, 1026, 1)


# --- sockets ----------------------------------------------------------------------------------------------------------


@attempt
def raw_socket():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno()


@attempt
def raw_socket_6():
    return socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).fileno()


@attempt
def packet_socket():
    return socket.socket(17, socket.SOCK_RAW, 0x300).fileno()


@attempt
def old_packet_socket():
    return socket.socket(socket.AF_INET, 10, 0x300).fileno()


@attempt
def audit_socket():
    return socket.socket(16, socket.SOCK_RAW, 9).fileno()


@attempt
def netfilter_socket():
    return socket.socket(16, socket.SOCK_RAW, 12).fileno()


@attempt
def crypto_socket():
    return socket.socket(38, socket.SOCK_SEQPACKET, 0).fileno()


@attempt
def own_route():
    """Gives the loopback another address: needs power over the network namespace."""
    s = socket.socket(16, socket.SOCK_RAW, 0)
    address = struct.pack("BBBBI", 2, 32, 0, 0, 1) + struct.pack("HH4B", 8, 2, 127, 9, 9, 9)
    s.send(struct.pack("IHHII", 16 + len(address), 20, 5 | 0x400, 1, 0) + address)
    code = struct.unpack("i", s.recv(4096)[16:20])[0]
    if code:
        raise OSError(-code, "netlink")
    return code


# --- identity ---------------------------------------------------------------------------------------------------------


@attempt
def become_root():
    return os.setuid(0)


@attempt
def become_root_group():
    return os.setgid(0)


@attempt
def other_groups():
    return os.setgroups([0])


@attempt
def gain_capability():
    head = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0), 8)
    data = ctypes.create_string_buffer(struct.pack("6I", 1 << 21, 1 << 21, 0, 0, 0, 0), 24)
    return call("capset", ctypes.byref(head), ctypes.byref(data))


@attempt
def setuid_file():
    path = folder() + "/root"
    with open("/usr/bin/id", "rb") as source, open(path, "wb") as target:
        target.write(source.read())
    os.chmod(path, 0o4755)
    os.chown(path, 0, -1)
    return "owned by root"


@attempt
def raise_priority():
    return os.setpriority(os.PRIO_PROCESS, 0, -5)


@attempt
def real_time():
    return os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@attempt
def raise_limit():
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        return resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error)) from error


@attempt
def lower_oom_score():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    return "lowered"


@attempt
def device_node():
    return os.mknod(folder() + "/node", 0o060666, os.makedev(254, 0))


@attempt
def map_ids():
    with open("/proc/self/uid_map", "w") as file:
        file.write("0 0 1")
    return "mapped"


# --- files ------------------------------------------------------------------------------------------------------------


def read(path):
    if os.path.isdir(path):
        return os.listdir(path)
    with open(path, "rb") as file:
        return file.read(64)


def write(path):
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(b"1")
    return "written"


@attempt
def overwrite_own_interpreter():
    return os.open("/proc/self/exe", os.O_WRONLY)


@attempt
def overwrite_own_interpreter_later():
    """The way out of other container runtimes: reopen the program's file for writing when it no longer runs."""
    handle = os.open("/proc/self/exe", os.O_PATH)
    return os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)


@attempt
def append_to_bootstrap():
    return os.open("/var/runtime/python/bootstrap.py", os.O_WRONLY | os.O_APPEND)


def everything(event):
    """Walks all that can be seen and looks for the needle, in contents, names, environments and memory."""
    needle = event["needle"].encode()
    found, looked = [], 0
    end = time.monotonic() + event.get("seconds", 50)
    for root, folders, files in os.walk("/"):
        if root == "/":
            folders[:] = [name for name in folders if name not in ("usr", "proc", "sys")]
        if root in ("/var/task", "/var/runtime"):
            folders[:] = []
        for name in files:
            path = os.path.join(root, name)
            if time.monotonic() > end:
                return {"found": found, "looked": looked, "late": True}
            if needle in os.fsencode(path):
                found.append(path)
            try:
                if os.path.isfile(path) and os.path.getsize(path) < 1 << 22:
                    looked += 1
                    with open(path, "rb") as file:
                        if needle in file.read():
                            found.append(path)
            except OSError:
                pass
    for pid in range(1, event.get("pids", 70000)):
        if pid == os.getpid() or not os.path.exists(f"/proc/{pid}"):
            continue
        for name in ("environ", "cmdline", "maps", "mountinfo"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    looked += 1
                    if needle in file.read():
                        found.append(f"/proc/{pid}/{name}")
            except OSError:
                pass
    return {"found": found, "looked": looked, "late": False}


def readable(event):
    """Which of these paths can be read; a covered file reads as empty."""
    got = {}
    for path in event["paths"]:
        try:
            got[path] = "ok %r" % (read(path),)
        except OSError as error:
            got[path] = errno.errorcode.get(error.errno, str(error))
    return got


def writable(event):
    """Which of these paths can be written, and every file below the folders to be walked."""
    got, tried = {}, 0
    paths = list(event.get("paths", []))
    for top in event.get("walk", []):
        for root, _, files in os.walk(top):
            paths.extend(os.path.join(root, name) for name in files)
            paths.append(os.path.join(root, "new-file"))
    for path in paths:
        tried += 1
        try:
            os.close(os.open(path, os.O_WRONLY | (0 if os.path.exists(path) else os.O_CREAT), 0o600))
            got[path] = "ok"
        except OSError as error:
            if path in event.get("paths", []):
                got[path] = errno.errorcode.get(error.errno, str(error))
    return {"got": got, "tried": tried}


# --- others -----------------------------------------------------------------------------------------------------------


def processes(event):
    """Which processes can be seen, signalled, opened."""
    def can(action):
        try:
            action()
            return True
        except OSError:
            return False

    numbers = range(1, event.get("pids", 70000))
    return {
        "listed": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "signalled": [pid for pid in numbers if can(lambda: os.kill(pid, 0))],
        "opened": [pid for pid in numbers if can(lambda: os.close(call("pidfd_open", pid, 0)))],
        "own": [os.getpid(), os.getppid()],
    }


def kill_everyone(event):
    """SIGKILL to all that may be signalled, from a child so that the parent is among them."""
    if os.fork() == 0:
        os.kill(-1, signal.SIGKILL)
        for pid in range(2, 70000):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        os._exit(0)
    time.sleep(30)


def connect(event):
    """Connections to addresses: [family, type, address]."""
    got = []
    for family, kind, address in event["addresses"]:
        address = tuple(address) if isinstance(address, list) else address
        s = socket.socket(getattr(socket, family), getattr(socket, kind))
        s.settimeout(event.get("timeout", 2))
        try:
            s.connect(address)
            if event.get("say"):
                s.sendall(event["say"].encode())
                got.append("ok " + repr(s.recv(4096)))
            else:
                got.append("ok")
        except OSError as error:
            got.append(errno.errorcode.get(error.errno, str(error)))
    return got


def look(event):
    """What a process sees of itself."""
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    descriptors = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            descriptors[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return {
        "status": {key: status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Groups")},
        "descriptors": descriptors,
        "cgroup": open("/proc/self/cgroup").read().splitlines(),
        "mounts": open("/proc/self/mountinfo").read().splitlines(),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "host": socket.gethostname(),
        "ipc": [open(f"/proc/sysvipc/{name}").read().splitlines()[1:] for name in ("shm", "sem", "msg")],
        "boot": os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"),
    }


# --- running ----------------------------------------------------------------------------------------------------------


def run(name):
    """One attempt in a process of its own; what came of it as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        try:
            result = "ok %r" % (ATTEMPTS[name](),)
        except OSError as error:
            result = errno.errorcode.get(error.errno, str(error))
        except BaseException as error:  # the attempt itself is broken
            result = f"broken: {error!r}"
        os.write(writing, result.encode())
        os._exit(0)
    os.close(writing)
    text = b""
    while part := os.read(reading, 4096):
        text += part
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    return text.decode() or f"killed by {os.WTERMSIG(status)}"


def handler(event, context):
    if "attempts" in event:
        return {name: run(name) for name in event["attempts"]}
    return globals()[event["do"]](event)


if __name__ == "__main__":
    print(json.dumps(handler(json.loads(sys.argv[1]), None)))
