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
O_CLOEXEC = 0o2000000
# setrlimit: the number, and the most; the last one is asked for with every fork.
RLIMIT_NPROC = 6
LIMITS = (4, 0), (7, 1024), (8, 64 * 1024), (12, 0), (11, 1024), (13, 0), (14, 0)
REHEARSALS = 20
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

        self.ctypes = ctypes
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
        self.limit = (ctypes.c_uint64 * 2)()
        self.path = ctypes.c_char_p(b"/")

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

    def set_limit(self, number, most):
        """A limit can be lowered by anyone; what is already lower stays."""
        limit, byref = self.limit, self.ctypes.byref
        self.call("resource limits", "prlimit64", 0, number, 0, byref(limit))
        limit[0] = limit[1] = min(most, limit[1])
        self.call("resource limits", "prlimit64", 0, number, byref(limit), 0)

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
    call = kernel.call
    for door in doors:
        os.write(door, b"0")
    call("session keyring", "keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0)
    kernel.join("namespaces", shell, "user", "mount", "net", "ipc", "uts", "cgroup")
    call("umask", "umask", 0o022)
    call("session", "setsid")
    call("groups", "setgroups", 0, 0)
    uid, gid = request["uid"], request["gid"]
    call("gid", "setresgid", gid, gid, gid)
    call("uid", "setresuid", uid, uid, uid)
    for number, most in LIMITS:
        kernel.set_limit(number, most)
    kernel.set_limit(RLIMIT_NPROC, request["processes"])
    call("working directory", "chdir", kernel.path)
    kernel.drop_capabilities()
    if rules is not None:
        call("landlock", "landlock_restrict_self", rules, 0)
    for number, descriptor in enumerate(placed):
        call("descriptors", "dup3", descriptor, number, 0 if number < 3 else O_CLOEXEC)


def shut(kernel, request, shell, report, doors, rules, placed):
    """The way behind the walls; answers the descriptor to report on. Nothing but `placed` and it is open then."""
    wall_in(kernel, request, shell, doors, rules, placed)
    # Above everything that is placed, so that all others can be closed at once.
    kept = len(placed)
    if report != kept:
        kernel.call("descriptors", "dup3", report, kept, O_CLOEXEC)
    kernel.call("descriptors", "close_range", kept + 1, 0xFFFFFFFF, 0)
    # What belongs to the function is its own to look at, as in a process that it had started itself.
    kernel.call("dumpable", "prctl", SET_DUMPABLE, 1, 0, 0, 0)
    kernel.install_filter()
    return kept


def rehearse_walls(kernel, null):
    """Goes the way of every fork with system calls that do nothing: forks find it gone, and write less of what they share."""
    numbers = kernel.numbers
    kernel.numbers = dict.fromkeys(numbers, numbers["getpid"])
    try:
        for _ in range(REHEARSALS):
            shut(kernel, {"uid": 0, "gid": 0, "processes": 1}, 0, 0, [null] * 3, 0, [0] * 4)
    finally:
        kernel.numbers = numbers


def become(kernel, request, shell, report, doors, rules, placed):
    """The fork's way behind its walls; returns when it may go on."""
    try:
        report = shut(kernel, request, shell, report, doors, rules, placed)
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


class Hooks:
    """What some preloaded modules want done around forks. A fork of a template needs none of it: the template has one
    thread, which holds no lock, and what is random is seeded anew when the function is known. Forks of the function's own
    have all of it.
    """

    MODULES = ("threading", "logging", "random", "concurrent.futures.thread")

    def __init__(self):
        self.before, self.parent, self.child = [], [], []
        self.idle = True
        self.register = os.register_at_fork
        self.register(before=self.run_before, after_in_parent=self.run_parent, after_in_child=self.run_child)
        os.register_at_fork = self.gather

    def gather(self, **hooks):
        if sys._getframe(1).f_globals.get("__name__") not in self.MODULES:
            self.register(**hooks)
            return
        known = ("before", self.before), ("after_in_parent", self.parent), ("after_in_child", self.child)
        for name, kept in known:
            if name in hooks:
                kept.append(hooks[name])

    def settle(self):
        os.register_at_fork = self.register

    def run_before(self):
        if not self.idle:
            for hook in reversed(self.before):
                hook()

    def run_parent(self):
        if not self.idle:
            for hook in self.parent:
                hook()

    def run_child(self):
        if not self.idle:
            for hook in self.child:
                hook()


def fill_pools():
    """Takes what is free between the template's objects, so that the objects of a fork lie together, in pages of their
    own, and not in pages that it would share otherwise.
    """
    for size in range(48, 513, 16):
        run, last = 0, 0
        for _ in range(FILL_MAX):
            item = bytes(size - BYTES_HEAD)
            FILLED.append(item)
            run = run + 1 if id(item) == last + size else 0
            last = id(item)
            if (run + 1) * size > POOL - 2 * size:
                break


def serve(loads, rehearse):
    """Serves the launcher until it is gone. Returns in forks."""
    global NULL, KERNEL, HOOKS
    mine = set(sys.modules)
    import _socket

    socket = _socket.socket(fileno=SOCKET)
    constants = loads(socket.recv(PACKET))
    KERNEL = kernel = Kernel(constants)
    for name in set(sys.modules) - mine:
        # The template's own tools: a function that wants them imports them itself.
        tools[name] = sys.modules.pop(name)
    HOOKS = Hooks()
    try:
        NULL = os.open("/dev/null", os.O_RDWR)
        preload()
        rehearse_walls(kernel, NULL)
        rehearse()
    except BaseException as error:
        socket.send(b'{"error": "preload: %s"}' % type(error).__name__.encode())
        os._exit(1)
    HOOKS.settle()
    import gc

    names = sorted({name.split(".")[0] for name in sys.modules})
    socket.send(('{"modules": ["%s"]}' % '", "'.join(names)).encode())
    # A fork that let go of them would write to every page that they lie in.
    del constants, mine, names
    gc.collect()
    fill_pools()
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
            HOOKS.idle = False
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


# What a pool of small objects of the interpreter holds, beside its head; smaller before Python 3.10.
POOL = (16 if sys.version_info >= (3, 10) else 4) * 1024 - 48
BYTES_HEAD = sys.getsizeof(b"")
FILL_MAX = 4096
FILLED = []
tools = {}
NULL = KERNEL = HOOKS = None
