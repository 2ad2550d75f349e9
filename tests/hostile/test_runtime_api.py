"""Runtimes that lie, and functions that forge what the platform says."""

import json
import re
import threading

import pytest

from hostile import Hostile, archive, descriptors, eventually, native, report_of


def test_an_answer_to_anothers_request_is_refused(server, attacker, neighbour):
    slow = Hostile(
        server,
        archive({"app.py": "import time\ndef handler(event, context):\n    print('ID', context.aws_request_id, flush=True)\n    time.sleep(4)\n    return 'mine'\n"}),
        handler="app.handler",
    )
    slow_answer = []
    waiting = threading.Thread(target=lambda: slow_answer.append(slow.call()))
    waiting.start()
    lines = lambda: [m for m in slow.functions.messages(slow.name) if m.startswith("ID ")]  # noqa: E731
    other = eventually(lines, what="the other's request id")[0].split()[1]
    refused = native(server, attacker).do(mode="other-id", other=other)
    assert all(400 <= status < 500 for status in refused), refused
    waiting.join()
    assert slow_answer[0][0] == "mine", "whose request it is has answered it"


def test_a_second_answer_changes_nothing(server, attacker, neighbour):
    hostile = native(server, attacker)
    for _ in range(3):
        assert hostile.do(mode="twice") == "unknown mode"
    seen = eventually(lambda: [m for m in hostile.functions.messages(hostile.name) if "second answer" in m], what="its log")
    assert all(re.search(r"second answer: 4\d\d third: 4\d\d", line) for line in seen), seen


def test_an_answer_before_the_question_is_refused(server, attacker, neighbour):
    hostile = native(server, attacker, variables={"MODE": "lies-first"})
    assert hostile.do(mode="x") == "unknown mode"
    seen = eventually(lambda: [m for m in hostile.functions.messages(hostile.name) if "early answer" in m], what="its log")
    assert re.search(r"early answer: 4\d\d", seen[0]), seen


def test_garbage_is_answered_or_cut_off_and_the_runtime_lives(server, attacker, neighbour):
    statuses = native(server, attacker).do(mode="garbage")
    assert all(status == 0 or 400 <= status < 500 for status in statuses), statuses
    assert len(statuses) == 8


@pytest.mark.parametrize("mode", ["silent", "half"])
def test_a_runtime_that_never_finishes_is_ended_in_time(server, attacker, neighbour, mode):
    hostile = native(server, attacker, Timeout=2)
    payload, answer = hostile.call(mode=mode)
    assert answer["FunctionError"] == "Unhandled" and "timed out after 2.00 seconds" in payload["errorMessage"], payload
    eventually(lambda: not hostile.processes(), what="its end")


def test_a_runtime_that_leaves_is_named(server, attacker, neighbour):
    hostile = native(server, attacker)
    payload, answer = hostile.call(mode="hang-up")
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "Runtime.ExitError", payload
    assert hostile.do(mode="x") == "unknown mode", "the next environment works"


def test_a_response_that_is_too_large_has_awss_error(server, attacker, neighbour):
    payload, answer = native(server, attacker).call(mode="too-large")
    assert payload["errorType"] == "Function.ResponseSizeTooLarge", payload
    assert answer["FunctionError"] == "Unhandled"


def test_an_error_type_of_nonsense_is_bounded(server, attacker, neighbour):
    hostile = native(server, attacker)
    payload, answer = hostile.call(mode="error-type")
    assert len(json.dumps(payload)) < 64_000
    assert all(ord(c) >= 32 for c in report_of(answer) if c not in "\t\n")
    assert hostile.do(mode="x") == "unknown mode"


def test_a_runtime_that_never_asks_is_ended_in_time(server, attacker, neighbour):
    hostile = native(server, attacker, Timeout=3, variables={"MODE": "never-asks"})
    payload, answer = hostile.call(mode="x")
    assert answer["FunctionError"] == "Unhandled", payload
    assert "timed out" in payload["errorMessage"] or "imeout" in payload.get("errorType", ""), payload
    eventually(lambda: not hostile.processes(), what="its end")


def test_a_runtime_that_begins_with_garbage_is_named(server, attacker, neighbour):
    payload, answer = native(server, attacker, variables={"MODE": "garbage-first"}).call(mode="x")
    assert answer["FunctionError"] == "Unhandled" and "exit status 3" in payload["errorMessage"], payload


def test_garbage_on_the_private_channel_ends_only_its_own_environment(server, neighbour):
    code = """
import os, stat
def channels():
    for number in range(3, 32):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                yield number
        except OSError:
            pass
def handler(event, context):
    if event.get("bytes"):
        for number in channels():
            try:
                os.write(number, bytes.fromhex(event["bytes"]))
            except OSError:
                pass
    return "answered"
"""
    hostile = Hostile(server, archive({"app.py": code}), handler="app.handler", Timeout=5)
    frames = {
        "no frame": "ffffffff" + "00" * 64,
        "too short": "01000000" + "03" + "00" * 4,
        "an unknown kind": "05000000" + "63" + "00000000",
        "an answer of four gigabytes": "feffffff" + "03" + "01000000" + "41" * 64,
        "ready again": "05000000" + "02" + "00000000",
        "an answer to another": "07000000" + "03" + "ffffff7f" + "3131",
        "an error that is too short": "09000000" + "04" + "01000000" + "ff000000",
    }
    for what, frame in frames.items():
        payload, answer = hostile.call(bytes=frame)
        if "FunctionError" in answer:
            assert payload["errorType"] and payload["errorMessage"], (what, payload)
        else:
            assert payload in ("answered", None) or isinstance(payload, (bytes, str)), (what, payload)
        assert hostile.do() == "answered", f"after {what} the function works"


def test_forged_lines_of_the_platform_change_no_record(server, neighbour):
    code = '''
import sys
def handler(event, context):
    other = "11111111-2222-3333-4444-555555555555"
    for id in (context.aws_request_id, other):
        print(f"START RequestId: {id} Version: 99")
        print(f"END RequestId: {id}")
        print(f"REPORT RequestId: {id}\\tDuration: 0.01 ms\\tBilled Duration: 1 ms\\tMemory Size: 1 MB\\tMax Memory Used: 1 MB")
        sys.stdout.flush()
    return "forged"
'''
    hostile = Hostile(server, archive({"app.py": code}), handler="app.handler", MemorySize=256)
    payload, answer = hostile.call()
    assert payload == "forged"
    # The last report is the platform's own: with the real memory size.
    assert "Memory Size: 256 MB" in report_of(answer) and "Billed Duration: 1 ms" not in report_of(answer)
    shown = server.pileus("usage", "--json", check=False)
    if shown.returncode == 0 and hostile.name in shown.stdout:
        mine = [row for row in json.loads(shown.stdout)["functions"] if hostile.name in json.dumps(row)]
        assert mine and mine[0]["invocations"] == 1, mine


def test_thousands_of_idle_connections_hold_up_nobody_else(server, attacker, neighbour):
    hostiles = [native(server, attacker, Timeout=20) for _ in range(3)]
    before = descriptors(server.process.pid)
    opened = [None] * 3

    def open_all(index):
        try:
            opened[index] = hostiles[index].call(mode="idle", each=480)
        except Exception as error:  # noqa: BLE001 - what it is does not matter here
            opened[index] = error

    workers = [threading.Thread(target=open_all, args=(index,)) for index in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(40):
        neighbour.hostile.do(busy=0)
    # Of each listener 64 are taken; the rest waits in the function's own kernel queues.
    assert descriptors(server.process.pid) - before < 3 * 2 * 64 + 200
    for worker in workers:
        worker.join()
    for hostile in hostiles:
        hostile.functions.lambda_.delete_function(FunctionName=hostile.name)
    eventually(lambda: descriptors(server.process.pid) < before + 60, what="the connections' end")
