"""What the hostile tests have in common: hostile functions, a neighbour, and looks at the host from outside.

Everything made here is found again by a mark in its environment variables, never by a name that others may use.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

from harness import Functions, Server, archive, binary, eventually

HERE = pathlib.Path(__file__).resolve().parent
ATTACKS = (HERE / "functions" / "attacks.py").read_text()
#: Host users from here on belong to environments.
FIRST_UID = 700_000
_numbers = itertools.count()


def build_attacker(folder: pathlib.Path) -> bytes:
    """The native attacker as one static program."""
    rustc = shutil.which("rustc") or str(pathlib.Path.home() / ".cargo/bin/rustc")
    target = folder / "attacker"
    flags = ["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "panic=abort", "-C", "strip=symbols"]
    subprocess.run([rustc, *flags, str(HERE / "native" / "attacker.rs"), "-o", str(target)], check=True)
    return target.read_bytes()


def full_isolation(server: Server) -> str:
    """Empty when the host gives every wall, else what is missing."""
    shown = json.loads(server.pileus("doctor", "--json", check=False).stdout or "{}")
    if shown.get("isolation", shown.get("level")) == "full":
        return ""
    missing = [f["name"] for f in shown.get("findings", []) if f["state"] != "present" and f["name"] != "runtimes"]
    return ", ".join(missing) or "the doctor does not say"


class Hostile:
    """A hostile function of one's own, with a mark by which its processes are found from outside."""

    def __init__(self, server: Server, code: bytes | None = None, **members):
        self.server = server
        self.functions = Functions(server)
        self.name = f"hostile-{next(_numbers)}-{uuid.uuid4().hex[:6]}"
        self.mark = f"mark{uuid.uuid4().hex}"
        variables = {"MARK": self.mark} | members.pop("variables", {})
        settings = {"Timeout": 60, "MemorySize": 256, "handler": "attacks.handler"} | members
        self.functions.create(
            self.name, code or archive({"attacks.py": with_mark(ATTACKS)}), Environment={"Variables": variables}, **settings
        )

    def do(self, what: str | None = None, **event):
        """The answer of one attack that must not fail as a function."""
        payload, answer = self.call(**({"do": what} if what else {}), **event)
        assert "FunctionError" not in answer, (payload, answer)
        return payload

    def call(self, **event):
        return self.functions.invoke(self.name, event, LogType="Tail")

    def processes(self) -> list[int]:
        return marked(self.mark)


def native(server: Server, attacker: bytes, **members) -> Hostile:
    """The native attacker as a function."""
    code = archive({"bootstrap": attacker}, {"bootstrap": 0o755})
    return Hostile(server, code, runtime="provided.al2023", handler="bootstrap", **members)


class Neighbour:
    """A function of somebody else."""

    CODE = """
import os, time, uuid
WHO, COUNT = uuid.uuid4().hex, 0
open("/tmp/mine", "w").write(os.environ["MARK"])
def handler(event, context):
    global COUNT
    COUNT += 1
    end = time.monotonic() + event.get("busy", 0)
    while time.monotonic() < end:
        pass
    return {"who": WHO, "count": COUNT, "tmp": open("/tmp/mine").read(), "cpu": time.process_time()}
"""

    def __init__(self, server: Server):
        code = archive({"app.py": with_mark(self.CODE)})
        self.hostile = Hostile(server, code, handler="app.handler")
        self.first = self.hostile.do(busy=0)

    @property
    def mark(self) -> str:
        return self.hostile.mark

    @property
    def name(self) -> str:
        return self.hostile.name

    def pid(self) -> int:
        """Its process on the host."""
        return eventually(lambda: marked(self.mark), what="the neighbour's process")[0]

    def unharmed(self) -> None:
        now = self.hostile.do(busy=0)
        assert now["who"] == self.first["who"], "the neighbour's environment was ended"
        assert now["tmp"] == self.mark and now["count"] > self.first["count"]


def marked(mark: str) -> list[int]:
    """The processes of the function with this mark, as the host sees them: those whose environment has it, and those whose
    `/tmp` has a file of that name (a fork of a prepared runtime has the runtime's environment). The sandbox's own first
    process is not among them."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.stat(f"/proc/{entry}").st_uid < FIRST_UID and os.geteuid() == 0:
                continue
            has = os.path.exists(f"/proc/{entry}/root/tmp/{mark}")
            has = has or mark.encode() in pathlib.Path(f"/proc/{entry}/environ").read_bytes()
            status = pathlib.Path(f"/proc/{entry}/status").read_text()
        except OSError:
            continue
        ids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), ["0"])
        if has and ids[-1] != "1":
            found.append(int(entry))
    return found


def with_mark(code: str) -> str:
    """The code of a function that leaves its mark where it can be seen from outside."""
    return 'import os as _os\nopen("/tmp/" + _os.environ["MARK"], "w").close()\n' + code


def uid_of(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


def processes_of(uid: int) -> list[int]:
    """The living processes of a host user (not those that are only waited for)."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = pathlib.Path(f"/proc/{entry}/status").read_text()
            except OSError:
                continue
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            if int(fields["Uid"].split()[0]) == uid and not fields["State"].startswith("Z"):
                found.append(int(entry))
    return found


def children(pid: int) -> list[int]:
    """Those of all its threads."""
    found = []
    for listed in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in listed.read_text().split()]
        except OSError:
            pass
    return found


def launcher_of(server: Server) -> int | None:
    """The server's launcher, if it lives."""
    for child in children(server.process.pid):
        try:
            if b"__launch" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        except OSError:
            pass
    return None


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    """What a process holds, in bytes."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def outside(event: dict) -> dict:
    """The same attempts without a sandbox, in namespaces of their own so that this machine keeps its state."""
    command = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
    command += [sys.executable, str(HERE / "functions" / "attacks.py"), json.dumps(event)]
    with tempfile.TemporaryDirectory() as folder:
        variables = os.environ | {"ATTACK_FOLDER": folder}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def report_of(answer: dict) -> str:
    """The REPORT line of an answer with a log tail."""
    import base64

    tail = base64.b64decode(answer["LogResult"]).decode(errors="replace")
    lines = [line for line in tail.splitlines() if line.startswith("REPORT RequestId: ")]
    assert lines, tail
    return lines[-1]


__all__ = [
    "ATTACKS", "FIRST_UID", "Hostile", "Neighbour", "build_attacker", "children", "descriptors", "full_isolation",
    "launcher_of", "marked", "memory", "native", "outside", "processes_of", "report_of", "uid_of", "binary",
    "eventually", "archive", "with_mark", "Server", "signal", "time",
]  # fmt: skip
