"""A prepared Python: booted once, forked into one sandbox after the other.

The launcher sends a request with descriptors; the template forks, the fork joins the sandbox, puts up every wall and
reports; the launcher looks at it from outside before it lets it go on. Nothing of a function is ever seen here: `serve`
returns only in a fork, and only when all walls stand.
"""

import os
import sys

SOCKET = 3
# The pid namespace of the launcher and its templates.
OWN_PIDS = 4
PACKET = 128 * 1024
DESCRIPTORS = 16
NAMESPACES = dict(user=0x10000000, mount=0x00020000, uts=0x04000000, ipc=0x08000000, pid=0x20000000, net=0x40000000, cgroup=0x02000000)
# prctl
SET_DUMPABLE, CAPBSET_DROP, SET_SECUREBITS, SET_NO_NEW_PRIVS, CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL = 4, 24, 28, 38, 47, 4
GET_TID_ADDRESS = 40
# clone: a child of our parent, whose thread knows its number as after an ordinary fork.
CLONE_PARENT, CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID, SIGCHLD = 0x8000, 0x01000000, 0x00200000, 17
# No root, no fix-up, no kept and no raised capabilities; all locked.
SECUREBITS = 0b11101111
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4
CAPABILITY_VERSION_3 = 0x20080522
KEYCTL_JOIN_SESSION_KEYRING = 1
# What AWS's Python runtimes bring, and what takes its users longest to import.
SDK = ("boto3", "botocore.session", "botocore.client", "botocore.httpsession", "botocore.endpoint", "botocore.loaders")


class Walls(Exception):
    """A wall that could not be put up."""

    def __init__(self, stage, errno):
        super().__init__(stage, errno)
        self.stage = stage
        self.errno = errno


class Kernel:
    """The system calls that `os` does not have."""

    def __init__(self, constants):
        import ctypes
        import resource

        self.ctypes = ctypes
        self.resource = resource
        self.numbers = constants["calls"]
        libc = ctypes.CDLL(None, use_errno=True)
        self.libc = libc
        libc.syscall.restype = ctypes.c_long
        rules = bytes.fromhex(constants["filter"])

        class Filter(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("rules", ctypes.c_char_p)]

        self.filter = Filter(len(rules) // 8, rules)
        self.capability_head = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        self.no_capabilities = (ctypes.c_uint32 * 6)()

        # Holding the interpreter's lock, as its own fork does.
        self.python = ctypes.PyDLL(None, use_errno=True)
        self.python.syscall.restype = ctypes.c_long
        address = ctypes.c_void_p()
        try:
            self.call("thread", "prctl", GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0)
        except Walls:
            address.value = None
        self.tid = address.value

    def call(self, stage, name, *arguments):
        long = self.ctypes.c_long
        result = self.libc.syscall(long(self.numbers[name]), *(long(a) if isinstance(a, int) else a for a in arguments))
        if result < 0:
            raise Walls(stage, self.ctypes.get_errno())
        return result

    def join(self, stage, descriptor, *names):
        self.call(stage, "setns", descriptor, sum(NAMESPACES[name] for name in names))

    def fork_for_parent(self):
        """An ordinary fork with its hooks, but a child of our own parent: its pid, or none where that cannot be done."""
        if self.tid is None:
            return None
        long, flags = self.ctypes.c_long, CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD
        # The order of the two last ones differs between instruction sets: both are given the same.
        tid = self.ctypes.c_void_p(self.tid)
        arguments = [long(self.numbers["clone"]), long(flags), long(0), long(0), tid, tid]
        if self.numbers["clone"] == 56:
            # There the last one is the thread's own pointer, which is not set.
            arguments[-1] = long(0)
        else:
            arguments[-2] = long(0)
        self.python.PyOS_BeforeFork()
        pid = self.python.syscall(*arguments)
        if pid == 0:
            self.python.PyOS_AfterFork_Child()
        else:
            self.python.PyOS_AfterFork_Parent()
        if pid < 0:
            raise Walls("fork", self.ctypes.get_errno())
        return pid

    def drop_capabilities(self):
        self.call("capabilities", "prctl", SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        for capability in range(64):
            try:
                self.call("capabilities", "prctl", CAPBSET_DROP, capability, 0, 0, 0)
            except Walls as failure:
                if failure.errno != 22:
                    raise
                break
        self.call("capabilities", "prctl", CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        self.call("capabilities", "prctl", SET_SECUREBITS, SECUREBITS, 0, 0, 0)
        byref = self.ctypes.byref
        self.call("capabilities", "capset", byref(self.capability_head), byref(self.no_capabilities))

    def install_filter(self):
        pointer = self.ctypes.byref(self.filter)
        self.call("seccomp", "seccomp", SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, pointer)


def cbor(kind, value):
    """The head of a CBOR item."""
    if value < 24:
        return bytes((kind << 5 | value,))
    size = 1 if value < 1 << 8 else 2 if value < 1 << 16 else 4
    return bytes((kind << 5 | {1: 24, 2: 25, 4: 26}[size],)) + value.to_bytes(size, "big")


WALLED = b"\x82\x00\x80"


def forked(pid):
    return b"\x82\x02\x81" + cbor(0, pid)


def failed(stage, errno):
    text = stage.encode("utf-8", "replace")
    return b"\x82\x01\x82" + cbor(3, len(text)) + text + cbor(0, max(errno, 0))


def wall_in(kernel, request, shell, doors, rules, placed):
    """Joins the sandbox and puts up every wall but the filter of system calls."""
    resource = kernel.resource
    for door in doors:
        os.write(door, b"0")
    kernel.call("session keyring", "keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0)
    kernel.join("namespaces", shell, "user", "mount", "net", "ipc", "uts", "cgroup")
    os.umask(0o022)
    os.setsid()
    os.setgroups([])
    uid, gid = request["uid"], request["gid"]
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_MEMLOCK, 64 * 1024),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 1024),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        (resource.RLIMIT_NPROC, request["processes"]),
    ):
        now = resource.getrlimit(limit)[1]
        most = most if now == resource.RLIM_INFINITY else min(most, now)
        resource.setrlimit(limit, (most, most))
    os.chdir("/")
    kernel.drop_capabilities()
    if rules is not None:
        kernel.call("landlock", "landlock_restrict_self", rules, 0)
    for number, descriptor in enumerate(placed):
        os.dup2(descriptor, number, inheritable=number < 3)


def become(kernel, request, shell, report, doors, rules, placed):
    """The fork's way behind its walls; returns when it may go on."""
    try:
        wall_in(kernel, request, shell, doors, rules, placed)
        # Above everything that is placed, so that all others can be closed at once.
        kept = len(placed)
        if report != kept:
            os.dup2(report, kept, inheritable=False)
        kernel.call("descriptors", "close_range", kept + 1, 0xFFFFFFFF, 0)
        # What belongs to the function is its own to look at, as in a process that it had started itself.
        kernel.call("dumpable", "prctl", SET_DUMPABLE, 1, 0, 0, 0)
        report = kept
        kernel.install_filter()
        os.write(report, WALLED)
        word = os.read(report, 16)
    except Walls as failure:
        os.write(report, failed(failure.stage, failure.errno))
        os._exit(1)
    except OSError as failure:
        os.write(report, failed("fork: %s" % failure, failure.errno or 0))
        os._exit(1)
    if not word:
        os._exit(1)
    os.close(report)


def fork_into(kernel, request, descriptors):
    """Forks into the sandbox. True in the fork, behind its walls; false in the template."""
    shell, report, *rest = descriptors
    doors = [rest.pop() for _ in range(request["doors"])]
    rules = rest.pop() if request["rules"] else None
    if kernel.tid is not None:
        kernel.join("pid namespace", shell, "pid")
        try:
            child = kernel.fork_for_parent()
            if child == 0:
                become(kernel, request, shell, report, doors, rules, [NULL, *rest])
                return True
            os.write(report, forked(child))
        except Walls as failure:
            os.write(report, failed(failure.stage, failure.errno))
        kernel.join("own pid namespace", OWN_PIDS, "pid")
        return False
    # A middle process makes the fork and ends: the launcher inherits it, and reaps it, whatever becomes of the template.
    if os.fork():
        return False
    try:
        kernel.join("pid namespace", shell, "pid")
        child = os.fork()
    except (Walls, OSError) as failure:
        os.write(report, failed("fork", failure.errno or 0))
        os._exit(1)
    if child:
        os.write(report, forked(child))
        os._exit(0)
    become(kernel, request, shell, report, doors, rules, [NULL, *rest])
    return True


def preload():
    """What functions will want, imported once."""
    import importlib
    import time
    import traceback

    for name in SDK:
        try:
            importlib.import_module(name)
        except ImportError:
            break


def serve(loads, warm):
    """Serves the launcher until it is gone. Returns in forks."""
    global NULL
    mine = set(sys.modules)
    import _socket

    socket = _socket.socket(fileno=SOCKET)
    constants = loads(socket.recv(PACKET))
    kernel = Kernel(constants)
    for name in set(sys.modules) - mine:
        # The template's own tools: a function that wants them imports them itself.
        tools[name] = sys.modules.pop(name)
    try:
        preload()
        warm()
    except BaseException as error:
        socket.send(b'{"error": "preload: %s"}' % type(error).__name__.encode())
        os._exit(1)
    NULL = os.open("/dev/null", os.O_RDWR)
    import gc

    names = sorted({name.split(".")[0] for name in sys.modules})
    socket.send(('{"modules": ["%s"]}' % '", "'.join(names)).encode())
    gc.collect()
    gc.freeze()
    while True:
        data, ancillary, _, _ = socket.recvmsg(PACKET, _socket.CMSG_SPACE(4 * DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        descriptors = []
        for level, kind, content in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                whole = len(content) - len(content) % 4
                descriptors += [int.from_bytes(content[at:at + 4], sys.byteorder) for at in range(0, whole, 4)]
        if fork_into(kernel, loads(data), descriptors):
            # Descriptor 3 is the private channel now.
            socket.detach()
            return
        for descriptor in descriptors:
            os.close(descriptor)
        reap()


def reap():
    """Buries the middle processes that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


tools = {}
NULL = None
