"""SnapStart: the process that is initialised and copied, and the copies, are functions like all others: hostile in their
initialisation, in their hooks and in their handlers, and no nearer to each other than strangers."""

import concurrent.futures
import json
import os
import shutil

import pytest

from hostile import ATTACKS, FIRST_UID, Hostile, archive, eventually, marked, report_of, uid_of, with_mark
from test_escape import ATTEMPTS, EXACT

RUNTIME = next((f"python3.{minor}" for minor in (12, 13, 14) if shutil.which(f"python3.{minor}")), None)
pytestmark = pytest.mark.skipif(RUNTIME is None, reason="AWS has SnapStart from Python 3.12 on, and this host has none")

# What is tried before anybody may look, before the copy, and after it.
AT_INIT = """
import snapshot_restore_py
TRIED = {"init": {name: run(name) for name in %(attempts)r}}
def before():
    TRIED["before"] = {name: run(name) for name in %(attempts)r}
def after():
    TRIED["after"] = {name: run(name) for name in %(attempts)r}
    open("/tmp/after-%%d" %% os.getpid(), "w").close()
snapshot_restore_py.register_before_snapshot(before)
snapshot_restore_py.register_after_restore(after)
def tried(event):
    return TRIED
def hold(event):
    open("/tmp/secret", "w").write(event["secret"])
    KEPT = event["secret"].encode()
    time.sleep(event["seconds"])
    return KEPT.decode()
def spy(event):
    seen, heard = [], []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            seen.append(name)
    for number in range(1, 64):
        if number == os.getpid():
            continue
        for path in ("/proc/%%d/mem" %% number, "/proc/%%d/root/tmp/secret" %% number, "/proc/%%d/environ" %% number):
            try:
                heard.append((path, open(path, "rb").read(64).hex()))
            except OSError as error:
                pass
        try:
            os.kill(number, 0)
            heard.append(("kill", number))
        except OSError:
            pass
    maps = [line for line in open("/proc/self/maps") if "snapshot" in line or "restored" in line]
    writable = []
    for line in maps:
        try:
            writable.append(os.open("/proc/self/map_files/" + line.split(" ")[0], os.O_RDWR))
        except OSError as error:
            writable.append(errno.errorcode[error.errno])
    return {"seen": seen, "heard": heard, "tmp": sorted(os.listdir("/tmp")), "writable": sorted(set(map(str, writable))),
            "paths": sorted({line.split()[5] for line in maps}), "descriptors": look(event)["descriptors"]}
"""


def published(hostile) -> str:
    """Publishes a version; answers its number when it is there, and that it has a snapshot."""
    functions = hostile.functions
    version = functions.lambda_.publish_version(FunctionName=hostile.name)["Version"]
    found = eventually(
        lambda: (f := functions.lambda_.get_function_configuration(FunctionName=hostile.name, Qualifier=version))["State"] != "Pending" and f,
        what="a settled version",
    )
    assert found["State"] == "Active" and found["SnapStart"]["OptimizationStatus"] == "On", found
    return version


def snapped(server, attempts=()):
    code = with_mark(ATTACKS.split('if __name__ == "__main__":')[0] + AT_INIT % {"attempts": list(attempts)})
    hostile = Hostile(server, archive({"attacks.py": code}), runtime=RUNTIME, SnapStart={"ApplyOn": "PublishedVersions"})
    hostile.name += ":" + published(hostile)
    return hostile


def test_every_attempt_fails_at_the_initialisation_in_hooks_and_in_copies(server, full, neighbour):
    # Those that take their time are tried in the handler alone.
    hostile = snapped(server, EXACT)
    tried = hostile.do("tried")
    assert set(tried) == {"init", "before", "after"}
    for phase, results in tried.items():
        assert results == EXACT, phase
    results = hostile.do(attempts=ATTEMPTS)
    assert not {name: result for name, result in results.items() if result.startswith(("ok", "broken"))}
    assert {name: results[name] for name in EXACT} == EXACT
    _, answer = hostile.call(do="look")
    report = report_of(answer)
    assert "Isolation: full" in report and "Origin: restored" in report


def test_copies_of_one_snapshot_do_not_reach_each_other(server, full, neighbour):
    hostile = snapped(server)
    secret = "held by a sibling"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        holding = pool.submit(hostile.do, "hold", secret=secret, seconds=4)
        held = eventually(
            lambda: [pid for pid in marked(hostile.mark) if os.path.exists(f"/proc/{pid}/root/tmp/secret")], what="a sibling that holds"
        )[0]
        seen = hostile.do("spy")
        pids = marked(hostile.mark)
        assert held in pids and len(pids) >= 2
        users = [uid_of(pid) for pid in pids]
        assert len(set(users)) == len(pids) and min(users) >= FIRST_UID, "each has a host user of its own"
        for space in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
            spaces = {os.readlink(f"/proc/{pid}/ns/{space}") for pid in pids}
            assert len(spaces) == len(pids), space
        assert holding.result() == secret
    assert seen["seen"] == [] and seen["heard"] == [], seen
    assert "secret" not in seen["tmp"]
    assert secret not in json.dumps(seen)
    assert seen["writable"] == ["EPERM"], "the pages that copies share cannot be opened for writing"
    assert all(path.startswith(("/snapshot-", "/memfd:restored")) for path in seen["paths"]), seen["paths"]
    assert len(seen["descriptors"]) <= 5, seen["descriptors"]


def test_nothing_of_the_first_process_is_left_and_a_deleted_version_leaves_nothing(server, full):
    hostile = snapped(server)
    waiting = marked(hostile.mark)
    # What the first process wrote is there, and the process is not: who is there was put together from its image.
    programs = {os.readlink(f"/proc/{pid}/exe") for pid in waiting}
    assert waiting and all("memfd:restored" in program for program in programs), programs
    hostile.do("tried")
    hostile.functions.lambda_.delete_function(FunctionName=hostile.name.split(":")[0])
    eventually(lambda: not marked(hostile.mark), what="the end of every copy")


def test_a_copy_that_writes_to_shared_pages_writes_to_its_own(server, full):
    code = with_mark(
        """
import ctypes, sys, time
SHARED = bytearray(b"as it was" + bytes(1 << 20))
CONSTANT = "a constant of the function"
def handler(event, context):
    was = [SHARED[:9].decode(), CONSTANT[:1] + CONSTANT[1:]]
    SHARED[:9] = b"rewritten"
    ctypes.memmove(id(CONSTANT) + sys.getsizeof(CONSTANT) - len(CONSTANT) - 1, b"REWRITTEN!", 10)
    time.sleep(1)
    return was + [SHARED[:9].decode()]
"""
    )
    hostile = Hostile(
        server, archive({"app.py": code}), runtime=RUNTIME, handler="app.handler", SnapStart={"ApplyOn": "PublishedVersions"}
    )
    hostile.name += ":" + published(hostile)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [answer for answer, _ in pool.map(lambda _: hostile.call(), range(4))]
    assert answers == [["as it was", "a constant of the function", "rewritten"]] * 4
