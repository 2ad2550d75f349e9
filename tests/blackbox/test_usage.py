"""What functions used: counted exactly, kept through a restart and a kill, priced by AWS's list."""

import json
import re
import time

import pytest

from harness import ACCOUNT, REGION, Functions, eventually, python

ACTS = """
import os, time
def handler(event, context):
    act = (event or {}).get("act")
    if act == "fail":
        raise ValueError("as told")
    if act == "sleep":
        time.sleep(30)
    if act == "burn":
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    return act
"""


def usage(server, *arguments) -> dict:
    return json.loads(server.pileus("usage", "--json", *arguments).stdout)


def of(document: dict, name: str) -> dict:
    found = [function for function in document["functions"] if function["function"] == name]
    assert len(found) == 1, (name, document)
    return found[0]


def reports(functions, name: str) -> list[tuple[int, int]]:
    """Billed milliseconds and megabytes of every REPORT line."""
    pattern = re.compile(r"REPORT RequestId: \S+.*?Billed Duration: (\d+) ms\s+Memory Size: (\d+) MB", re.S)
    matches = [pattern.search(message) for message in functions.messages(name)]
    return [(int(match[1]), int(match[2])) for match in matches if match]


def test_every_invocation_error_throttle_and_cold_start_is_counted(functions, name):
    functions.create(name, python(ACTS), Timeout=2, MemorySize=192)
    for _ in range(5):
        functions.invoke(name, {"act": "fine"})
    functions.invoke(name, {"act": "fail"})
    functions.invoke(name, {"act": "burn"})
    functions.invoke(name, {"act": "sleep"})
    functions.invoke(name, {"act": "fine"})
    functions.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": {"TURN": "1"}})
    functions.updated(name)
    functions.invoke(name, {"act": "fine"})
    functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"act":"fine"}')
    eventually(lambda: len(reports(functions, name)) == 11, what="the eleventh REPORT line")
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    for _ in range(3):
        with pytest.raises(functions.lambda_.exceptions.TooManyRequestsException):
            functions.invoke(name)

    seen = of(usage(functions.server, "--function", name), name)
    assert (seen["invocations"], seen["errors"], seen["throttles"]) == (11, 2, 3)
    assert seen["errors_by_kind"] == {"error": 1, "timeout": 1, "out of memory": 0}
    assert seen["throttles_by_reason"] == {"ReservedFunctionConcurrentInvocationLimitExceeded": 3}
    # The first call, the one after the timeout ended its environment, the one after the change.
    assert seen["cold_starts"] == 3 and sum(seen["cold_by_origin"].values()) == 3
    assert seen["cold_by_reason"]["first"] == 2 and seen["cold_by_reason"]["ended"] == 1
    assert seen["cold_share"] == pytest.approx(3 / 11)
    assert seen["asynchronous"] == 1 and seen["provisioned"] == 0
    assert list(seen["versions"]) == ["$LATEST"] and seen["versions"]["$LATEST"]["invocations"] == 11
    assert seen["bytes_in"] > 10 * len('{"act": "fine"}') - 1 and seen["bytes_out"] > 0
    assert seen["cpu_seconds"] >= 0.2 and seen["memory_bytes_max"] > 1 << 20

    lines = reports(functions, name)
    assert seen["billed_ms"] == sum(billed for billed, _ in lines)
    assert seen["gb_seconds"] == pytest.approx(sum(billed * memory for billed, memory in lines) / 1024 / 1000)
    duration = seen["duration_ms"]
    assert duration["count"] == 11 and 1_900 < duration["p99"] < 2_300 and duration["p50"] < 500
    assert seen["queue_ms"]["count"] == 11 and seen["init_ms"]["count"] >= 1


def test_counts_outlive_a_restart_and_a_kill(own):
    server = own().start()
    functions = Functions(server)
    functions.create("kept", python(ACTS))
    for _ in range(7):
        functions.invoke("kept", {"act": "fine"})
    assert server.stop() == 0
    server.restart()
    assert of(usage(server), "kept")["invocations"] == 7
    for _ in range(5):
        functions.invoke("kept", {"act": "fine"})
    # What is older than a second is on disk.
    time.sleep(1.5)
    server.kill()
    server.restart()
    before = of(usage(server), "kept")
    assert (before["invocations"], before["duration_ms"]["count"]) == (12, 12)
    for _ in range(4):
        functions.invoke("kept", {"act": "fine"})
    server.kill()
    server.restart()
    assert 12 <= of(usage(server), "kept")["invocations"] <= 16, "at most the last second is lost, and nothing twice"


def test_a_beginning_in_the_future_shows_nothing(functions, name):
    functions.create(name, python(ACTS))
    functions.invoke(name)
    server = functions.server
    assert usage(server, "--since", "2099-01-01", "--function", name)["functions"] == []
    for since in ["2020-01-01", "1m", "7d", "2026-01-01T00:00:00Z"]:
        assert of(usage(server, "--since", since, "--function", name), name)["invocations"] == 1, since
    assert server.pileus("usage", "--since", "2099-01-01").stdout.splitlines()[-1] == "nothing was invoked"
    wrong = server.pileus("usage", "--since", "yesterday", check=False)
    assert wrong.returncode == 1 and "`yesterday` is no time" in wrong.stderr and "remedy" in wrong.stderr


def test_a_bill_names_its_list_and_adds_up(functions, name):
    functions.create(name, python(ACTS), EphemeralStorage={"Size": 1024})
    for _ in range(3):
        functions.invoke(name, {"act": "fine"})
    server = functions.server
    document = usage(server, "--function", name, "--architecture", "x86_64")
    seen, aws = of(document, name), document["aws"]
    assert (document["account"], document["region"]) == (ACCOUNT, REGION)
    assert aws["currency"] == "USD" and aws["prices"]["region"] == "us-east-1" and aws["free_tier"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", aws["prices"]["date"]) and aws["prices"]["source"].startswith("https://aws")
    lines = {line["what"]: line for line in aws["lines"]}
    assert lines["requests"]["quantity"] == 3 and lines["requests"]["cost"] == pytest.approx(3 * 0.2e-6)
    assert lines["duration"]["cost"] == pytest.approx(seen["gb_seconds"] * 0.0000166667)
    storage = seen["billed_ms"] / 1000 * (1024 - 512) / 1024
    assert lines["ephemeral storage"]["quantity"] == pytest.approx(storage)
    assert aws["cost"] == pytest.approx(sum(line["cost"] for line in aws["lines"])) and seen["cost"] == pytest.approx(aws["cost"])
    assert usage(server, "--function", name, "--free-tier")["aws"]["cost"] < aws["cost"]
    assert usage(server, "--function", name, "--architecture", "arm64")["aws"]["cost"] < aws["cost"]
    text = server.pileus("usage", "--function", name).stdout
    for word in ["INVOCATIONS", "GB-S", name, "total", "AWS would have charged $0.0", "free tier not applied",
                 f"public list for us-east-1 as of {aws['prices']['date']}"]:
        assert word in text, text
    assert "\x1b" not in text


def test_the_page_is_for_the_root_alone_and_refuses_what_it_does_not_know(server, own):
    status, _, body = server.raw("GET", "/_pileus/usage?sicne=1")
    assert status == 400 and "`sicne`" in json.loads(body)["message"]
    status, _, body = server.raw("GET", "/_pileus/usage?from=x")
    assert status == 400 and "`from`" in json.loads(body)["message"]
    assert server.raw("POST", "/_pileus/usage")[0] == 405
    locked = own("--auth", "required").start()
    status, _, body = locked.raw("GET", "/_pileus/usage")
    assert status == 403 and "functions" not in json.loads(body)
