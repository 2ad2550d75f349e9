"""What runs just now."""

import json
import os
import pty
import select
import signal
import struct
import subprocess
import fcntl
import termios
import threading
import time

from harness import ACCOUNT, REGION, binary, eventually, python

SLEEPS = """
import time
def handler(event, context):
    time.sleep((event or {}).get("seconds", 0))
    return context.log_stream_name
"""


def top(server, *arguments) -> dict:
    return json.loads(server.pileus("top", "--json", *arguments).stdout)


def arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def test_environments_are_shown_with_their_state_and_what_they_take(functions, name):
    functions.create(name, python(SLEEPS), Timeout=20, MemorySize=192)
    threads = [threading.Thread(target=functions.invoke, args=(name, {"seconds": 3})) for _ in range(2)]
    for thread in threads:
        thread.start()

    def busy():
        page = top(functions.server, "--function", name)
        return page if page["states"].get("busy") == 2 else None

    page = eventually(busy, what="two busy environments")
    assert page["in_flight"] >= 2 and page["limits"]["account_concurrency"] >= 100
    assert {environment["function"] for environment in page["environments"]} == {arn(name)}
    for environment in page["environments"]:
        assert environment["version"] == "$LATEST" and environment["memory_mib"] == 192 and environment["invocations"] == 1
        assert environment["isolation"] in {"full", "no-limits", "single-uid"}
        assert environment["origin"] in {"fresh", "forked", "pooled", "restored"}
    for thread in threads:
        thread.join()
    page = eventually(lambda: (lambda p: p if p["states"] == {"idle": 2} else None)(top(functions.server, "--function", name)))
    [function] = page["functions"]
    assert (function["function"], function["name"], function["states"]) == (arn(name), name, {"idle": 2})
    assert (function["invocations"], function["cold"], function["errors"]) == (2, 2, 0)


def test_the_last_invocations_of_a_function_are_kept_within_bounds(functions, name):
    functions.create(name, python(SLEEPS), Timeout=20)
    identifiers = [functions.invoke(name, {"n": number})[1]["ResponseMetadata"]["RequestId"] for number in range(30)]
    recent = top(functions.server, "--function", name)["recent"]
    # Who finishes last is first; a few are kept, whichever thread finished them.
    assert 1 <= len(recent) <= 20 and recent[0]["request_id"] == identifiers[-1]
    assert {one["request_id"] for one in recent} <= set(identifiers)
    newest = recent[0]
    assert (newest["ending"], newest["start"], newest["version"]) == ("success", "warm", "$LATEST")
    assert newest["bytes_in"] == len('{"n": 29}') and newest["bytes_out"] > 0 and newest["billed_ms"] >= 1
    assert newest["duration_ms"] > 0 and newest["memory_bytes_max"] > 1 << 20 and newest["init_ms"] is None
    text = functions.server.pileus("top", "--function", name).stdout
    assert identifiers[-1] in text and "QUEUE" in text and "\x1b" not in text
    assert functions.server.pileus("top", "--function", "absent").returncode == 0


def test_a_rate_is_that_of_the_last_seconds(functions, name):
    functions.create(name, python(SLEEPS))
    functions.invoke(name)

    def rate():
        for _ in range(5):
            functions.invoke(name)
        [function] = top(functions.server, "--function", name)["functions"]
        return function if function["invocations_per_second"] > 0.5 else None

    assert eventually(rate, every=0.4, what="a rate")["throttles_per_second"] == 0


def test_a_piped_output_is_printed_once_and_without_colours(server):
    done = server.pileus("top", timeout=20)
    assert "environments" in done.stdout and "\x1b" not in done.stdout


def test_a_terminal_is_drawn_anew_and_given_back(server):
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
    process = subprocess.Popen([binary(), "top"], env=server.environment() | {"TERM": "xterm"},
                               stdin=child, stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    seen = b""

    def read(seconds: float):
        nonlocal seen
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([parent], [], [], 0.1)[0]:
                try:
                    seen += os.read(parent, 65536)
                except OSError:
                    return

    try:
        end = time.monotonic() + 20
        while seen.count(b"\x1b[H") < 3 and time.monotonic() < end:
            read(0.2)
        assert seen.count(b"\x1b[H") >= 3, seen
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        read(0.5)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(parent)
    assert seen.startswith(b"\x1b[?1049h\x1b[?25l") and seen.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")
    # Two frames lie between three homes: none is longer than the terminal.
    frame = seen.split(b"\x1b[H")[2]
    assert frame.count(b"\r\n") <= 11
