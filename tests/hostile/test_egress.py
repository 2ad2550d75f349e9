"""The way out: a machine with an internet of its own, made of network namespaces. What a function may reach it reaches; what
it may not it does not, however the address is written, and nothing arrives at the other side."""

import contextlib
import ctypes
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from hostile import ATTACKS, HERE, Hostile, archive, binary, eventually, full_isolation
from harness import Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

PUBLIC, PUBLIC_6 = "203.0.113.80", "2001:db8:80::80"
#: Addresses of the world that are not the internet. From the machine itself every one can be reached.
DENIED = ["10.9.8.7", "172.20.1.1", "192.168.7.7", "100.64.1.1", "169.254.169.254", "169.254.170.2", "198.18.0.9"]
DENIED_6 = ["fd00:ec2::254", "fd12::1", "64:ff9b::a09:807", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:a09:807::1"]
ALLOWED_6 = [PUBLIC_6, "64:ff9b::cb00:7150"]
libc = ctypes.CDLL(None, use_errno=True)


def enter(path: str) -> None:
    """Moves this thread into a network namespace."""
    with open(path) as space:
        assert libc.setns(space.fileno(), 0x40000000) == 0, os.strerror(ctypes.get_errno())


def in_space(pid: int, *command: str) -> None:
    subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *command], check=True, capture_output=True)


class Home(Server):
    """A server in a network namespace, with a list of name servers of its own."""

    space = 0

    def spawn(self) -> None:
        names = self.folder / "resolv.conf"
        names.write_text("nameserver 203.0.113.53\n")
        inner = f"mount --bind {names} /etc/resolv.conf && exec \"$@\""
        command = ["nsenter", f"--net=/proc/{self.space}/ns/net", "unshare", "--mount", "sh", "-c", inner, "sh"]
        command += [binary(), "up", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.data), *self.arguments]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two namespaces and what lies between; answers the folder, the log of the world, and the machine's namespace."""
    folder = tmp_path_factory.mktemp("world")
    with contextlib.ExitStack() as stack:
        def started(*command):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process.pid

        home, far = started("unshare", "--net", "sleep", "3600"), started("unshare", "--net", "sleep", "3600")
        own = os.readlink("/proc/self/ns/net")
        for pid in (home, far):
            eventually(lambda pid=pid: os.readlink(f"/proc/{pid}/ns/net") != own, what="a namespace")
        in_space(home, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", str(far))
        for pid, name, address, six in ((home, "v0", "198.51.100.2/24", "2001:db8:1::2/64"), (far, "v1", "198.51.100.1/24", "2001:db8:1::1/64")):
            in_space(pid, "ip", "link", "set", "lo", "up")
            in_space(pid, "ip", "addr", "add", address, "dev", name)
            in_space(pid, "ip", "addr", "add", six, "dev", name, "nodad")
            in_space(pid, "ip", "link", "set", name, "up")
        in_space(home, "ip", "route", "add", "default", "via", "198.51.100.1")
        in_space(home, "ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
        for address in [PUBLIC, "203.0.113.53", *DENIED]:
            in_space(far, "ip", "addr", "add", f"{address}/32", "dev", "lo")
        for address in [*ALLOWED_6, *DENIED_6]:
            in_space(far, "ip", "addr", "add", f"{address}/128", "dev", "lo", "nodad")
        # The world is wide: link-local addresses are reached over the same way.
        in_space(home, "ip", "route", "add", "169.254.0.0/16", "via", "198.51.100.1")
        log = folder / "log"
        started("nsenter", f"--net=/proc/{far}/ns/net", sys.executable, str(HERE / "world.py"), str(log))
        eventually(lambda: log.exists() and "ready" in log.read_text(), what="the world")
        yield folder, log, home


@pytest.fixture(scope="module")
def machine(world):
    """A server on that machine; this thread lives there as long."""
    folder, _, home = world
    before = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
    kept = os.open(before, os.O_RDONLY)
    enter(f"/proc/{home}/ns/net")
    Home.space = home
    server = Home(folder)
    try:
        server.start()
        missing = full_isolation(server)
        if missing:
            pytest.skip(f"this host does not give every wall: {missing}")
        yield server
    finally:
        server.end()
        libc.setns(kept, 0x40000000)
        os.close(kept)


@pytest.fixture
def server(machine):
    return machine


@pytest.fixture
def arrived(world):
    """What arrived in the world since the test began."""
    log = world[1]
    before = len(log.read_text().splitlines())
    return lambda: log.read_text().splitlines()[before:]


def function(server, egress="internet", allow=None, **members):
    tags = {"pileus:egress": egress} | ({"pileus:egress-allow": allow} if allow else {})
    return Hostile(server, Tags=tags, **members)


def tcp(*addresses):
    return [["AF_INET6" if ":" in a else "AF_INET", "SOCK_STREAM", [a, 8080]] for a in addresses]


def test_the_internet_is_reached_and_sees_the_address_that_was_meant(server, arrived):
    got = function(server).do("connect", addresses=tcp(PUBLIC, *ALLOWED_6, f"::ffff:{PUBLIC}"), say="hello")
    assert got == [f"ok {(f'at {a} heard hello').encode()!r}" for a in (PUBLIC, *ALLOWED_6, PUBLIC)]
    assert len(arrived()) == 4


def test_what_is_not_the_internet_is_refused_and_sees_nothing(server, arrived):
    for address in [*DENIED, *DENIED_6]:
        with socket.create_connection((address, 8080), 5) as control:
            control.sendall(b"control")
            assert b"heard control" in control.recv(100), address
    controls = len(arrived())
    mapped = [f"::ffff:{a}" for a in DENIED]
    tried = [*DENIED, *DENIED_6, *mapped, "198.51.100.2", "2001:db8:1::2", "::ffff:198.51.100.2", "64:ff9b::c633:6402", "0.0.0.0", "255.255.255.255", "224.0.0.1", "ff02::1", "fe80::1%lo"]
    with socket.socket(socket.AF_INET6) as own:
        own.bind(("::", 8080))
        own.listen()
        got = function(server).do("connect", addresses=tcp(*tried), say="attack")
        own.settimeout(0.3)
        with pytest.raises(TimeoutError):
            own.accept()
    assert not [pair for pair in zip(tried, got, strict=True) if pair[1].startswith("ok")], got
    assert {"EACCES"} == {answer for address, answer in zip(tried, got, strict=True) if address in DENIED}
    assert len(arrived()) == controls


def test_an_allow_list_opens_exactly_what_it_names(server, arrived):
    hostile = function(server, allow="10.9.8.0/24,fd12::/64")
    addresses = ["10.9.8.7", "fd12::1", "::ffff:10.9.8.7", PUBLIC, "192.168.7.7", "fd00:ec2::254", "169.254.169.254", "198.51.100.2"]
    got = hostile.do("connect", addresses=tcp(*addresses), say="x")
    assert [answer.startswith("ok") for answer in got] == [True, True, True, True, False, False, False, False], got
    assert len(arrived()) == 4


def test_names_are_resolved_by_the_hosts_servers_and_nothing_else_goes_out(server, arrived):
    code = """
import socket, struct
def ask(kind, transport):
    query = b"\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x06public\\x07example\\x00" + struct.pack(">HH", kind, 1)
    if transport == "tcp":
        with socket.create_connection(("127.0.0.53", 53), 5) as s:
            s.sendall(struct.pack(">H", len(query)) + query)
            answer = s.recv(4096)[2:]
    else:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(5)
        s.sendto(query, ("127.0.0.53", 53))
        answer = s.recv(4096)
    assert answer[:2] == b"\\x12\\x34"
    return [answer[3] & 15, answer[7]]
def datagram(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    try:
        s.connect((address, 53))
        s.send(b"x" * 20)
        return s.recv(100).hex()
    except OSError as error:
        return type(error).__name__
def handler(event, context):
    names = {}
    for name in ("public.example", "private.example", "no.example"):
        try:
            names[name] = sorted({a[4][0] for a in socket.getaddrinfo(name, 80)})
        except OSError as error:
            names[name] = str(error)
    with socket.create_connection(("public.example", 8080), 5) as s:
        s.sendall(b"by name")
        said = s.recv(100).decode()
    return {"names": names, "said": said, "asked": [ask(1, "udp"), ask(28, "tcp"), ask(255, "udp"), ask(252, "tcp")],
            "datagrams": [datagram("203.0.113.53"), datagram("203.0.113.80")]}
"""
    got = Hostile(server, archive({"app.py": code}), handler="app.handler", Tags={"pileus:egress": "internet"}).do()
    assert got["names"]["public.example"] == [PUBLIC_6, PUBLIC] or sorted(got["names"]["public.example"]) == sorted([PUBLIC, PUBLIC_6])
    assert got["names"]["private.example"] == ["10.9.8.7"] and "not known" in got["names"]["no.example"]
    assert got["said"].endswith("heard by name")
    assert got["asked"] == [[0, 1], [0, 1], [5, 0], [5, 0]]
    assert got["datagrams"] == ["ConnectionRefusedError", "ConnectionRefusedError"]
    kinds = {line.split()[-1] for line in arrived() if line.startswith("dns")}
    assert kinds <= {"1", "28", "65"}, kinds


def test_a_function_without_a_way_out_reaches_nothing(server, arrived):
    got = function(server, egress="none").do("connect", addresses=tcp(PUBLIC, PUBLIC_6, *DENIED))
    assert set(got) == {"ENETUNREACH"}, got
    names = function(server, egress="none").do("connect", addresses=[["AF_INET", "SOCK_STREAM", ["127.0.0.53", 53]]])
    assert names == ["ECONNREFUSED"]
    assert arrived() == []


CONNECTIONS = """
import socket, time
KEPT = []
def handler(event, context):
    if event.get("bytes"):
        begun, got = time.monotonic(), 0
        with socket.create_connection((event["to"], 8080), 5) as s:
            s.sendall(b"send %d" % event["bytes"])
            s.shutdown(socket.SHUT_WR)
            while part := s.recv(1 << 20):
                got += len(part)
        return got
    broken = 0
    for _ in range(event["count"]):
        try:
            s = socket.create_connection((event["to"], 8080), 5)
        except ConnectionResetError:
            # It may break before the call that makes it is back.
            broken += 1
            continue
        KEPT.append(s)
        try:
            s.sendall(b"hold")
        except OSError:
            pass
    time.sleep(0.5)
    for s in KEPT:
        s.setblocking(False)
        try:
            if s.recv(1) == b"":
                broken += 1
        except BlockingIOError:
            pass
        except OSError:
            broken += 1
    if event.get("release"):
        for s in KEPT:
            s.close()
        KEPT.clear()
        time.sleep(0.3)
    return broken
"""


def caller(server):
    return Hostile(server, archive({"app.py": CONNECTIONS}), handler="app.handler", Tags={"pileus:egress": "internet"})


def test_many_bytes_arrive_whole(server, arrived):
    assert caller(server).do(to=PUBLIC, bytes=50_000_000) == 50_000_000
    assert caller(server).do(to=PUBLIC_6, bytes=5_000_000) == 5_000_000


def test_connections_are_bounded_and_what_is_beyond_breaks_at_once(server, arrived):
    calling, other = caller(server), caller(server)
    assert calling.do(to=PUBLIC, count=100, release=True) == 36
    assert other.do(to=PUBLIC, bytes=1000) == 1000, "the bound is each environment's own"
    assert calling.do(to=PUBLIC, count=64, release=True) == 0, "places are given back"


def test_connections_end_with_their_environment(server, arrived):
    calling = caller(server)
    assert calling.do(to=PUBLIC, count=5) == 0
    assert "closed" not in arrived()
    calling.functions.lambda_.delete_function(FunctionName=calling.name)
    eventually(lambda: arrived().count("closed") == 5, what="the end of the connections")


def test_what_nobody_answers_is_an_error_of_the_connection(server, arrived):
    got = function(server).do("connect", addresses=[["AF_INET", "SOCK_STREAM", [PUBLIC, 9]]], say="x", timeout=5)
    assert got == ["ECONNRESET"] or got == ["EPIPE"], got
