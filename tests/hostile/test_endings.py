"""Sudden ends: of a frozen function, of the launcher, of the server. Nothing is left, and what comes next works."""

import os
import pathlib
import signal
import time

import pytest

from hostile import Hostile, Neighbour, archive, eventually, launcher_of, marked

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="kills processes of other users")


def frozen(pid: int) -> bool:
    """Whether the process is held by a freezer (it waits in the kernel, or the group says so)."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for file in (f"/sys/fs/cgroup/unified{path}/cgroup.freeze", f"/sys/fs/cgroup{path}/cgroup.freeze"):
            if controllers == "" and os.path.exists(file) and pathlib.Path(file).read_text().strip() == "1":
                return True
        if "freezer" in controllers.split(","):
            file = pathlib.Path(f"/sys/fs/cgroup/freezer{path}/freezer.state")
            if file.exists() and file.read_text().strip() == "FROZEN":
                return True
    return False


def test_a_kill_while_frozen_is_noticed_and_the_next_call_answered(server, full, neighbour):
    victim = Neighbour(server)
    pid = victim.pid()
    eventually(lambda: frozen(pid), what="a freeze")
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    payload, answer = victim.hostile.call(busy=0)
    assert time.monotonic() - begun < 5
    if "FunctionError" in answer:
        assert "signal: killed" in payload["errorMessage"], payload
        payload, answer = victim.hostile.call(busy=0)
    assert payload["who"] != victim.first["who"] and payload["count"] == 1
    assert pid not in marked(victim.mark)


def test_a_frozen_function_can_be_deleted_and_is_gone(server, full, neighbour):
    victim = Neighbour(server)
    pid = victim.pid()
    eventually(lambda: frozen(pid), what="a freeze")
    victim.hostile.functions.lambda_.delete_function(FunctionName=victim.name)
    eventually(lambda: not marked(victim.mark), what="its end")


def test_a_killed_launcher_is_replaced(own):
    server = own().start()
    before = Neighbour(server)
    frozen_one = before.pid()
    launcher = launcher_of(server)
    os.kill(launcher, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{frozen_one}"), seconds=10, what="the end of what the old launcher started")
    eventually(lambda: launcher_of(server) not in (None, launcher), seconds=10, what="a new launcher")
    payload, answer = before.hostile.call(busy=0)
    if "FunctionError" in answer:
        payload, answer = before.hostile.call(busy=0)
    assert payload["count"] == 1 and payload["who"] != before.first["who"]
    another = Neighbour(server)
    another.unharmed()
    assert server.health()["status"] == "ok"
    # Once more, while a call runs.
    import threading

    answers = []
    calling = threading.Thread(target=lambda: answers.append(another.hostile.call(busy=3)))
    calling.start()
    time.sleep(1)
    os.kill(launcher_of(server), signal.SIGKILL)
    calling.join()
    assert "FunctionError" in answers[0][1] and "signal: killed" in answers[0][0]["errorMessage"], answers
    assert another.hostile.do(busy=0)["count"] == 1


def test_nothing_survives_a_killed_server(own):
    server = own().start()
    victims = [Neighbour(server) for _ in range(3)]
    pids = [victim.pid() for victim in victims]
    launcher = launcher_of(server)
    loops = set(os.listdir("/sys/block"))
    server.kill()
    eventually(lambda: not any(marked(victim.mark) for victim in victims), seconds=10, what="the end of all functions")
    eventually(lambda: not os.path.exists(f"/proc/{launcher}"), seconds=10, what="the launcher's end")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)

    def backed():
        """Loop devices whose image lies in this server's folder."""
        found = []
        for name in loops:
            try:
                file = pathlib.Path(f"/sys/block/{name}/loop/backing_file").read_text()
            except OSError:
                continue
            found += [name] if str(server.data) in file else []
        return found

    eventually(lambda: not backed(), seconds=10, what="the release of the disks")
    server.restart()
    again = Neighbour(server)
    again.unharmed()
    assert not [p for p in pathlib.Path("/sys/fs/cgroup").glob("*/pileus-*") if str(server.process.pid) not in p.name and not alive(p.name)]


def alive(group: str) -> bool:
    """Whether the server that a group is named after lives."""
    return os.path.exists("/proc/" + group.removeprefix("pileus-").split("-")[0])
