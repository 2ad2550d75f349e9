#!/usr/bin/env python3
"""What ten thousand deployed functions cost, against ten: `benches/many_functions.py [COUNT]`.

Each count gets a server of its own on an empty data directory; its functions share one package, as a fleet that is stamped
out does. Printed per count: creations per second, how long a listing takes (per page of 50, first and last), and, after a
restart, time until healthy, memory while idle, and the median of a warm call. The last column is the ratio. Both are
measured in one run, one behind the other; nothing is asserted.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
BINARY = os.environ.get("PILEUS_BIN", str(ROOT / "target" / "release" / "pileus"))
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
THREADS = 16
CALLS = 2000


def package() -> str:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("app.py", "def handler(event, context): return event")
    return base64.b64encode(out.getvalue()).decode()


class Server:
    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None

    def start(self) -> float:
        """Starts it; seconds until it answers."""
        begun = time.perf_counter()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "up", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.folder / "data")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/_pileus/health")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - begun
            except OSError:
                if self.process.poll() is not None:
                    sys.exit((self.folder / "log").read_text()[-2000:])
            time.sleep(0.001)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def resident_mib(self) -> float:
        for line in pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no Pss")

    def connection(self) -> "Connection":
        return Connection(self.port)


class Connection:
    def __init__(self, port: int):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self.http.request(method, path, body)
        answer = self.http.getresponse()
        read = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {read[:300]!r}")
        return read


def create(server: Server, count: int) -> float:
    """Creates the functions; how many a second."""
    code, numbers, turn = package(), iter(range(count)), threading.Lock()
    failures: list[str] = []

    def worker() -> None:
        connection = server.connection()
        while True:
            with turn:
                number = next(numbers, None)
            if number is None:
                return
            body = {
                "FunctionName": f"f{number:05}", "Runtime": RUNTIME, "Handler": "app.handler",
                "Role": "arn:aws:iam::000000000000:role/any", "Code": {"ZipFile": code},
            }  # fmt: skip
            try:
                connection.call("POST", "/2015-03-31/functions", json.dumps(body).encode())
            except Exception as failure:
                failures.append(str(failure))
                return

    begun = time.perf_counter()
    workers = [threading.Thread(target=worker) for _ in range(THREADS)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    if failures:
        sys.exit(failures[0])
    return count / (time.perf_counter() - begun)


def settle(server: Server, count: int) -> None:
    connection = server.connection()
    while True:
        shown = json.loads(connection.call("GET", f"/2015-03-31/functions/f{count - 1:05}/configuration"))
        if shown["State"] == "Active":
            return
        time.sleep(0.05)


def listing(server: Server) -> tuple[float, float, int]:
    """Milliseconds of the first and the last page of ListFunctions, and how many functions all pages have."""
    connection, marker, times, listed = server.connection(), None, [], 0
    while True:
        path = "/2015-03-31/functions?MaxItems=50" + (f"&Marker={marker}" if marker else "")
        begun = time.perf_counter()
        page = json.loads(connection.call("GET", path))
        times.append(time.perf_counter() - begun)
        listed += len(page["Functions"])
        marker = page.get("NextMarker")
        if not marker:
            return statistics.median(times[:3]) * 1e3, statistics.median(times[-4:-1] or times) * 1e3, listed


def warm(server: Server) -> float:
    """The median of a warm call, in milliseconds."""
    connection = server.connection()
    call = lambda: connection.call("POST", "/2015-03-31/functions/f00003/invocations", b"{}")
    for _ in range(200):
        call()
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def measure(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="pileus-many-") as folder:
        server = Server(pathlib.Path(folder))
        try:
            server.start()
            figures = {"creations per second": create(server, count)}
            settle(server, count)
            first, last, listed = listing(server)
            assert listed == count, (listed, count)
            figures |= {"first page of a listing, ms": first, "last page of a listing, ms": last}
            server.stop()
            figures["restart until healthy, ms"] = min(restarts(server)) * 1e3
            time.sleep(3)
            figures["idle memory of the server (Pss), MiB"] = server.resident_mib()
            figures["warm call, median, ms"] = warm(server)
            return figures
        finally:
            if server.process is not None and server.process.poll() is None:
                server.stop()


def restarts(server: Server) -> list[float]:
    """Seconds of five starts; the last is left running."""
    took = []
    for number in range(5):
        if number:
            server.stop()
        took.append(server.start())
    return took


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    few, lot = measure(10), measure(many)
    print(f"{'':42}{'10':>12}{many:>12}{'ratio':>8}")
    for name, value in few.items():
        print(f"{name:42}{value:12.2f}{lot[name]:12.2f}{lot[name] / value:8.2f}")


main()
