"""Ways out of a sandbox: kernel interfaces, files, descriptors, identities. Each fails inside, with an error that says so,
and comes further outside."""

import json
import os
import pathlib
import re
import socket
import stat
import threading
import uuid
import zipfile
import io

import pytest
from botocore.exceptions import ClientError

from hostile import FIRST_UID, Hostile, archive, native, outside, uid_of

ATTEMPTS = re.findall(r"@attempt\ndef (\w+)", (pathlib.Path(__file__).parent / "functions" / "attacks.py").read_text())
#: Attempts that fail outside too, or that nobody should make there.
NOT_OUTSIDE = {
    # They lack what they act on; what counts is that the error inside is the sandbox's.
    "remount_writable", "pivot_root", "request_key", "load_module", "swap", "accounting", "memory_of_others_by_policy",
    "overwrite_own_interpreter", "overwrite_own_interpreter_later", "append_to_bootstrap", "map_ids", "setns_by_pidfd",
    "trace_parent", "read_parent_memory", "take_descriptor_of_parent", "crypto_socket", "audit_socket", "userfaultfd",
    "kernel_log", "unmount", "host_name", "notice_of_shared_folder", "no_randomisation", "real_time", "raise_limit", "lower_oom_score",
}  # fmt: skip
#: What some attempts answer inside, where the errno is part of the promise.
EXACT = {
    "mount": "EPERM", "bind_mount": "EPERM", "setns_own": "EPERM", "unshare_user": "EPERM", "unshare_mount": "EPERM",
    "clone_user_namespace": "EPERM", "clone3_user_namespace": "ENOSYS", "keyring": "EPERM", "bpf_map": "EPERM",
    "bpf_program": "EPERM", "perf_event": "EPERM", "io_uring": "ENOSYS", "userfaultfd": "EPERM", "trace_self": "EPERM",
    "raw_socket": "EPERM", "packet_socket": "EAFNOSUPPORT", "crypto_socket": "EAFNOSUPPORT", "audit_socket": "EPERM",
    "residency_of_shared_pages": "ENOTSUP", "watch_shared_files": "EPERM", "no_randomisation": "EPERM",
}  # fmt: skip


def test_every_attempt_fails_inside(server, neighbour):
    hostile = Hostile(server)
    results = hostile.do(attempts=ATTEMPTS)
    assert len(results) > 60
    came_through = {name: result for name, result in results.items() if result.startswith(("ok", "broken"))}
    assert not came_through
    assert {name: results[name] for name in EXACT} == EXACT


@pytest.mark.skipif(os.geteuid() != 0, reason="outside, the attempts need root")
def test_the_same_attempts_come_further_outside():
    tried = [name for name in ATTEMPTS if name not in NOT_OUTSIDE]
    results = outside({"attempts": tried})
    held = {name: result for name, result in results.items() if not result.startswith("ok")}
    assert not held, "an attempt that fails everywhere proves nothing"
    assert len(tried) > 35


def test_the_other_instruction_sets_of_the_processor_lead_nowhere(server, attacker, neighbour):
    x32, status = native(server, attacker).do(mode="old-calls")
    assert x32 == -38, "the x32 numbers are unknown"
    assert status & 0x7F == 31, "a 32-bit call ends the process with SIGSYS"


def test_a_function_sees_nothing_but_itself(server, neighbour):
    seen = Hostile(server).do("look")
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(seen["status"][capabilities], 16) == 0, capabilities
    assert (seen["status"]["NoNewPrivs"], seen["status"]["Seccomp"]) == ("1", "2")
    assert seen["interfaces"] == ["lo"] and seen["host"] == "pileus"
    assert all(line.endswith(":/") for line in seen["cgroup"]), seen["cgroup"]
    assert seen["ipc"] == [[], [], []]
    kinds = {number: target.split(":")[0] for number, target in seen["descriptors"].items()}
    # Null, two pipes, the private channel; and the folder that is being listed.
    leaked = {n: t for n, t in kinds.items() if t not in ("/dev/null", "pipe", "socket") and not t.startswith("/proc/")}
    assert not leaked and len(kinds) <= 5, seen["descriptors"]
    for line in seen["mounts"]:
        point, options, kind = line.split(" ")[4], line.split(" ")[5].split(","), line.split(" - ")[1].split(" ")[0]
        assert kind not in ("sysfs", "cgroup", "cgroup2", "devpts", "debugfs", "tracefs", "securityfs", "bpf"), line
        assert "nosuid" in options or point.startswith("/proc/"), line
        if point not in ("/tmp", "/dev/shm", "/proc"):
            assert "ro" in options or point.startswith(("/dev/", "/proc/")), line


def test_files_of_the_host_are_not_there(server):
    paths = ["/etc/shadow", "/root", "/home", "/boot", "/run", "/var/lib", "/var/log", "/sys", "/sys/fs/cgroup", "/mnt",
             "/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/vda", "/dev/loop0", "/dev/loop-control", "/dev/net/tun",
             "/dev/pts", "/dev/ptmx", "/dev/tty", "/dev/console", "/proc/1/environ", "/proc/1/root", "/proc/1/cwd", "/proc/1/maps", "/proc/1/fd",
             "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/kallsyms", "/proc/modules",
             "/proc/kmsg", "/proc/kpagecount", "/proc/kpageflags", "/proc/slabinfo", "/proc/vmallocinfo",
             "/proc/sysrq-trigger", "/proc/interrupts", "/proc/softirqs", "/proc/schedstat", "/proc/sched_debug",
             str(pathlib.Path(server.data).resolve()), str(pathlib.Path(__file__).resolve().parent)]  # fmt: skip
    got = Hostile(server).do("readable", paths=paths)
    # A file of /proc that is covered reads as empty.
    read = {path: result for path, result in got.items() if result.startswith("ok") and result != "ok b''"}
    assert not read
    if os.geteuid() == 0:
        assert pathlib.Path("/etc/shadow").read_bytes() and pathlib.Path("/proc/kallsyms").read_bytes()[:1]


def test_nothing_of_proc_sys_or_the_root_can_be_written(server):
    paths = ["/proc/sysrq-trigger", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups",
             "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_unprivileged_port_start",
             "/etc/passwd", "/etc/resolv.conf", "/etc/hosts", "/usr/bin/env", "/var/task/attacks.py", "/var/task/new",
             "/var/runtime/python/bootstrap.py", "/var/runtime/new", "/opt/new", "/new", "/dev/new", "/usr/new",
             "/proc/self/mem/../../sys/kernel/hostname", "/dev/stdin/../new"]  # fmt: skip
    seen = Hostile(server).do("writable", paths=paths, walk=["/proc/sys", "/etc", "/var", "/dev/shm/.."])
    allowed = {"/dev/shm/../shm", "/dev/full", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}
    written = [path for path, result in seen["got"].items() if result == "ok"]
    beyond = [p for p in written if os.path.normpath(p) not in allowed and not p.startswith(("/dev/shm/../shm/", "/dev/shm/../std", "/dev/shm/../fd"))]
    assert not beyond
    assert seen["tried"] > 500 and all(seen["got"][path] != "ok" for path in paths)


def test_another_functions_secrets_are_nowhere(server, neighbour):
    needle = neighbour.mark
    hostile = Hostile(server)
    seen = hostile.do("everything", needle=needle)
    assert seen["found"] == [] and not seen["late"] and seen["looked"] > 50
    if os.geteuid() == 0:
        there = pathlib.Path(f"/proc/{neighbour.pid()}/root/tmp/mine").read_text()
        assert there == needle, "from outside it can be seen"


def test_other_processes_are_neither_seen_nor_signalled_nor_opened(server, full, neighbour):
    pid = neighbour.pid()
    hostile = Hostile(server)
    seen = hostile.do("processes", pids=70_000)
    assert pid < 70_000 or pid not in seen["signalled"]
    mine = set(seen["own"])
    assert set(seen["listed"]) <= mine and set(seen["signalled"]) <= mine, seen
    assert set(seen["opened"]) <= mine | {1}, "its init may be named, and nothing else"
    # Everything that a signal reaches: itself.
    payload, answer = hostile.call(do="kill_everyone")
    assert answer["FunctionError"] == "Unhandled" and "signal: killed" in payload["errorMessage"], payload
    assert hostile.do("look")["host"] == "pileus", "the next environment works"


def test_every_environment_has_a_host_user_of_its_own(server, full, neighbour):
    mine, theirs = Hostile(server), neighbour.pid()
    mine.do("look")
    users = {uid_of(pid) for pid in mine.processes()}
    assert len(users) == 1 and users != {uid_of(theirs)}
    assert min(users) >= FIRST_UID and uid_of(theirs) >= FIRST_UID


@pytest.mark.parametrize("egress", ["none", "internet"])
def test_the_hosts_network_cannot_be_reached(server, neighbour, egress):
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as local, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        datagrams.bind(("0.0.0.0", 0))
        name = f"\0hostile-{uuid.uuid4().hex}"
        local.bind(name)
        local.listen()
        port = listener.getsockname()[1]
        with socket.socket() as probe:
            probe.connect(("127.0.0.1", port))
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(name)
        own = host_addresses()
        addresses = [["AF_INET", "SOCK_STREAM", [a, p]] for a in ["127.0.0.1", *own] for p in (port, server.port)]
        addresses += [["AF_UNIX", "SOCK_STREAM", name], ["AF_UNIX", "SOCK_STREAM", "/run/systemd/notify"],
                      ["AF_UNIX", "SOCK_STREAM", "/var/run/docker.sock"], ["AF_UNIX", "SOCK_STREAM", "/run/dbus/system_bus_socket"]]  # fmt: skip
        addresses += [["AF_INET", "SOCK_STREAM", [a, 80]] for a in ("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "169.254.170.2")]
        addresses += [["AF_INET6", "SOCK_STREAM", [a, 80]] for a in ("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fe80::1%lo", "64:ff9b::7f00:1")]
        # With a way out, a connection is made before it is judged: what counts is that nobody answers and nothing arrives.
        got = Hostile(server, Tags={"pileus:egress": egress}).do("connect", addresses=addresses, say="hello")
        assert not [pair for pair in zip(addresses, got, strict=True) if pair[1].startswith("ok")], got
        listener.settimeout(0.2)
        listener.accept()[0].close()
        with pytest.raises(TimeoutError):
            listener.accept()


def host_addresses() -> list[str]:
    """This machine's own addresses towards the world."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]


def test_a_neighbours_listener_is_another_networks(server, neighbour):
    code = """
import socket
listener = socket.socket()
listener.bind(("0.0.0.0", 8888))
listener.listen()
hidden = socket.socket(socket.AF_UNIX)
hidden.bind("\\0shared-name")
hidden.listen()
def handler(event, context):
    socket.create_connection(("127.0.0.1", 8888), 1).close()
    return "listening"
"""
    listening = Hostile(server, archive({"app.py": code}), handler="app.handler")
    assert listening.do() == "listening"
    got = Hostile(server).do("connect", addresses=[["AF_INET", "SOCK_STREAM", ["127.0.0.1", 8888]], ["AF_UNIX", "SOCK_STREAM", "\0shared-name"]])
    assert got == ["ECONNREFUSED", "ECONNREFUSED"]


def hostile_zip(evil: str) -> bytes:
    """An archive with links out of it, names that climb, and devices."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        def put(name, content, mode):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            made.writestr(info, content)

        put("app.py", "import os\ndef handler(event, context):\n    got = {}\n    for name in sorted(os.listdir(event['folder'])):\n        try:\n            path = os.path.join(event['folder'], name)\n            got[name] = os.listdir(path) if os.path.isdir(path) else open(path).read()[:80]\n        except OSError as error:\n            got[name] = 'error ' + str(error.errno)\n    return got\n", stat.S_IFREG | 0o644)
        put("shadow", "/etc/shadow", stat.S_IFLNK | 0o777)
        put("environ", "/proc/1/environ", stat.S_IFLNK | 0o777)
        put("up", "../../../../../../../root", stat.S_IFLNK | 0o777)
        put("up/through-a-link", "planted", stat.S_IFREG | 0o644)
        put(f"../../../../../../../tmp/{evil}-climbs", "planted", stat.S_IFREG | 0o644)
        put(f"/tmp/{evil}-absolute", "planted", stat.S_IFREG | 0o644)
        put(f"x/../../../../../../tmp/{evil}-inside", "planted", stat.S_IFREG | 0o644)
        put(f"..\\..\\..\\tmp\\{evil}-windows", "planted", stat.S_IFREG | 0o644)
        put("root-shell", "#!/bin/sh\nid -u", stat.S_IFREG | 0o6755)
    return out.getvalue()


def planted(evil: str) -> list[str]:
    """Files that an archive put outside its folder."""
    places = ["/tmp", "/", "/var", "/root", os.getcwd()]
    return [os.path.join(place, name) for place in places for name in os.listdir(place) if evil in name or name == "through-a-link"]


def refused_or_run(make, run):
    """An archive like that may be refused with a clear error; if it is taken, nothing comes of it."""
    try:
        made = make()
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("InvalidParameterValueException", "InvalidZipFileException"), error
        assert error.response["Error"]["Message"]
        return None
    return run(made)


def harmless(got: dict) -> None:
    assert not any("root:" in str(content) or "planted" in str(content) for content in got.values()), got
    for name in ("shadow", "environ", "up"):
        assert str(got.get(name, "error")).startswith("error"), got


def test_links_and_climbing_names_in_code_reach_nothing(server, neighbour):
    evil = f"evil{uuid.uuid4().hex[:8]}"
    code = hostile_zip(evil)
    got = refused_or_run(
        lambda: Hostile(server, code, handler="app.handler"), lambda hostile: hostile.call(folder="/var/task")[0]
    )
    assert planted(evil) == []
    if isinstance(got, dict):
        harmless(got)


def test_links_and_climbing_names_in_layers_reach_nothing(server, functions, neighbour):
    evil = f"evil{uuid.uuid4().hex[:8]}"
    name = f"layer-{evil}"

    def run(layer):
        code = archive({"app.py": zipfile.ZipFile(io.BytesIO(hostile_zip(evil))).read("app.py")})
        return Hostile(server, code, handler="app.handler", Layers=[layer["LayerVersionArn"]]).call(folder="/opt")[0]

    got = refused_or_run(
        lambda: functions.lambda_.publish_layer_version(LayerName=name, Content={"ZipFile": hostile_zip(evil)}), run
    )
    assert planted(evil) == []
    if isinstance(got, dict):
        harmless(got)


def test_descriptors_sent_over_the_private_channel_stay_with_the_sender(server, neighbour):
    code = """
import array, os, socket, stat
def handler(event, context):
    sent = 0
    for number in range(3, 16):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            channel = socket.socket(fileno=os.dup(number))
            if channel.family != socket.AF_UNIX:
                continue
            files = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
            # A frame that logs one byte, with descriptors on it.
            frame = (6).to_bytes(4, "little") + b"\\x06" + (0).to_bytes(4, "little") + b"x"
            channel.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])
            sent += 1
            for file in files:
                os.close(file)
        except OSError:
            pass
    return sent
"""
    from hostile import descriptors, launcher_of

    hostile = Hostile(server, archive({"app.py": code}), handler="app.handler")
    before = None
    for _ in range(8):
        hostile.call()
        now = descriptors(server.process.pid), descriptors(launcher_of(server))
        before = before or now
    assert now[0] < before[0] + 100 and now[1] < before[1] + 100, (before, now)


def test_the_answer_says_which_isolation_there_was(server, full):
    from hostile import report_of

    _, answer = Hostile(server).call(do="look")
    report = report_of(answer)
    assert "full" in report.lower() or "Isolation" not in report, report
    shown = json.loads(server.pileus("doctor", "--json").stdout)
    assert any(finding["name"] == "egress" for finding in shown["findings"]), shown
