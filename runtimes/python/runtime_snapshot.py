"""A function that is initialised once for many environments (SnapStart): after its initialisation this process stands
still and is copied from outside; each copy wakes up in a sandbox of its own, with the memory that there was and nothing
else: no descriptors but the platform's, no signal handlers, another thread number. What can be had again is put back here,
before anything of the function runs.
"""

import os
import sys

CHANNEL = 3
SNAPSHOT, AWAKE, ASSIGN = 17, 18, 16
# System calls of x86-64, the one processor on which processes are copied.
RT_SIGACTION, RT_SIGPROCMASK, KILL, GETTID = 13, 14, 62, 186
SIGNALS, SIGACTION_BYTES, MASK_BYTES = 64, 32, 8
SIG_SETMASK, SIGSTOP = 2, 19
# prctl
SET_NAME, GET_NAME, GET_TID_ADDRESS = 15, 16, 40


class Kernel:
    """The system calls that `os` does not have. They are made as this interpreter's own fork is: holding its lock."""

    def __init__(self):
        import ctypes

        self.ctypes = ctypes
        self.python = ctypes.PyDLL(None, use_errno=True)
        self.python.syscall.restype = ctypes.c_long

    def call(self, number, *arguments):
        long = self.ctypes.c_long
        return self.python.syscall(long(number), *(long(a) if isinstance(a, int) else a for a in arguments))

    def buffer(self, size):
        return self.ctypes.create_string_buffer(size)

    def thread_id(self):
        """Where the C library keeps this thread's number."""
        address = self.ctypes.c_void_p()
        failed = self.python.prctl(GET_TID_ADDRESS, self.ctypes.byref(address), 0, 0, 0)
        return None if failed else address.value


class Signals:
    """Handlers, mask and the stack for handlers."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.actions = {}
        for number in range(1, SIGNALS + 1):
            action = kernel.buffer(SIGACTION_BYTES)
            if kernel.call(RT_SIGACTION, number, None, action, MASK_BYTES) == 0 and any(action.raw[:8]):
                self.actions[number] = action
        self.mask = kernel.buffer(MASK_BYTES)
        kernel.call(RT_SIGPROCMASK, SIG_SETMASK, None, self.mask, MASK_BYTES)
        self.stack = kernel.buffer(24)
        kernel.python.sigaltstack(None, self.stack)

    def restore(self):
        for number, action in self.actions.items():
            self.kernel.call(RT_SIGACTION, number, action, None, MASK_BYTES)
        self.kernel.python.sigaltstack(self.stack, None)
        self.kernel.call(RT_SIGPROCMASK, SIG_SETMASK, self.mask, None, MASK_BYTES)


class Descriptors:
    """What the function holds open beside the platform's four: files are opened again, connections are dead."""

    def __init__(self):
        import fcntl
        import stat

        import _socket

        self.fcntl, self.socket = fcntl, _socket
        self.held = []
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            try:
                kind = os.fstat(number).st_mode
                flags = fcntl.fcntl(number, fcntl.F_GETFL)
                path = os.readlink("/proc/self/fd/" + name)
            except OSError:
                continue
            if number <= CHANNEL:
                continue
            inheritable = os.get_inheritable(number)
            if stat.S_ISSOCK(kind):
                socket = _socket.socket(fileno=number)
                self.held.append((number, flags, inheritable, None, (socket.family, socket.type)))
                socket.detach()
                continue
            try:
                offset = os.lseek(number, 0, os.SEEK_CUR)
            except OSError:
                offset = 0
            self.held.append((number, flags, inheritable, path, offset))
        self.held.sort()

    def restore(self):
        # In order: the number that is given is the lowest free one, never one that is still to come.
        for number, flags, inheritable, path, about in self.held:
            if path is None:
                given = self.socket.socket(*about).detach()
                self.fcntl.fcntl(given, self.fcntl.F_SETFL, flags)
            else:
                given = os.open(path, flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
                if about:
                    os.lseek(given, about, os.SEEK_SET)
            if given != number:
                os.dup2(given, number)
                os.close(given)
            os.set_inheritable(number, inheritable)


class Settings:
    """What a program may have changed of its process."""

    def __init__(self, kernel):
        import resource

        self.kernel, self.resource = kernel, resource
        self.folder = os.getcwd()
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        self.limits = {limit: resource.getrlimit(limit)[0] for limit in range(16)}
        self.name = kernel.buffer(16)
        kernel.python.prctl(GET_NAME, self.name, 0, 0, 0)

    def restore(self):
        for limit, soft in self.limits.items():
            now, most = self.resource.getrlimit(limit)
            if now != soft:
                self.resource.setrlimit(limit, (soft, most))
        self.kernel.python.prctl(SET_NAME, self.name, 0, 0, 0)
        os.umask(self.umask)
        os.chdir(self.folder)


def hooks(name):
    """What the function registered with the package for hooks, whichever copy of it it uses."""
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, name)() if module is not None else []


def run_before_snapshot():
    waiting = hooks("get_before_snapshot")
    # The one registered last is called first.
    while waiting:
        function, arguments, named = waiting.pop()
        function(*arguments, **named)


def run_after_restore():
    for function, arguments, named in hooks("get_after_restore"):
        function(*arguments, **named)


class Copy:
    """Everything that is needed to stand still and to wake up."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        mine = set(sys.modules)
        self.kernel = Kernel()
        self.thread_id = self.kernel.thread_id()
        # Written once already, so that copies find it done.
        self.fork = bootstrap["load"]("runtime_fork")
        self.given = dict(os.environ)
        self.signals, self.descriptors, self.settings = Signals(self.kernel), Descriptors(), Settings(self.kernel)
        # The platform's own tools: a function that wants them imports them itself.
        self.tools = {name: sys.modules.pop(name) for name in set(sys.modules) - mine}

    def stand_still(self):
        """Returns in copies only."""
        python, call, pid = self.kernel.python, self.kernel.call, os.getpid()
        number = self.kernel.ctypes.c_int.from_address(self.thread_id)
        python.PyOS_BeforeFork()
        call(KILL, pid, SIGSTOP)
        # Somebody else from here on.
        number.value = call(GETTID)
        self.signals.restore()
        python.PyOS_AfterFork_Child()

    def wake(self):
        """Waits for its sandbox's function and takes its variables."""
        bootstrap = self.bootstrap
        self.settings.restore()
        bootstrap["send"](AWAKE, b"")
        length = int.from_bytes(bootstrap["receive"](4), "little")
        frame = bootstrap["receive"](length)
        if frame[0] != ASSIGN:
            os._exit(1)
        assigned = dict(text.split("=", 1) for text in bootstrap["json"].loads(frame[5:])["variables"])
        for name, value in assigned.items():
            # What the function has set itself stays as it is.
            if self.given.get(name) != value:
                os.environ[name] = value
        self.descriptors.restore()
        self.fork.scrub()


def refuse(bootstrap, reason):
    bootstrap["send"](SNAPSHOT, ('{"thread_id": 0, "refused": "%s"}' % reason).encode())
    # Nobody waits for it any more.
    while True:
        bootstrap["receive"](1)


def take(bootstrap):
    """Stands still to be copied. Returns in copies, when they have been given their environment."""
    try:
        copy = Copy(bootstrap)
    except ImportError:
        refuse(bootstrap, "its interpreter cannot call the C library")
    if not copy.thread_id:
        refuse(bootstrap, "the kernel does not tell where a thread keeps its number")
    import gc

    gc.collect()
    # What is there now is not looked through again: looking through it would write to every page.
    gc.freeze()
    bootstrap["send"](SNAPSHOT, ('{"thread_id": %d}' % copy.thread_id).encode())
    copy.stand_still()
    copy.wake()
