"""How a function runs, seen from inside and from outside."""

import base64
import json
import re
import threading

import pytest

from harness import ACCOUNT, PYTHON, REGION, ROLE, archive, eventually, node_runtime, python

ECHO = python("def handler(event, context): return event")

INTROSPECT = python(
    """
import json, os

def handler(event, context):
    if event == "custom":
        return {"client": context.client_context.custom if context.client_context else None}
    return {
        "environment": dict(os.environ),
        "cwd": os.getcwd(),
        "context": {
            "aws_request_id": context.aws_request_id,
            "function_name": context.function_name,
            "function_version": context.function_version,
            "invoked_function_arn": context.invoked_function_arn,
            "memory_limit_in_mb": context.memory_limit_in_mb,
            "log_group_name": context.log_group_name,
            "log_stream_name": context.log_stream_name,
            "remaining": context.get_remaining_time_in_millis(),
        },
    }
"""
)


@pytest.mark.parametrize("event", [None, 7, "text", [1, 2], {"nested": {"ü": "☁"}}, "", {}])
def test_an_event_comes_back(functions, event):
    if not hasattr(functions.server, "echo"):
        functions.create("echo", ECHO)
        functions.server.echo = "echo"
    payload, answer = functions.invoke(functions.server.echo, event)
    assert payload == event and answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST"


def test_environment_and_context_are_those_of_aws(functions, name):
    functions.create(name, INTROSPECT, MemorySize=256, Timeout=10, Environment={"Variables": {"MINE": "own"}})
    payload, answer = functions.invoke(name)
    context, environment = payload["context"], payload["environment"]
    assert context["aws_request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert context["function_name"] == name and context["function_version"] == "$LATEST"
    assert context["invoked_function_arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    assert str(context["memory_limit_in_mb"]) == "256" and context["log_group_name"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", context["log_stream_name"])
    assert 5_000 < context["remaining"] <= 10_000
    expected = {
        "MINE": "own", "_HANDLER": "app.handler", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": context["log_stream_name"], "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_EXECUTION_ENV": f"AWS_Lambda_{PYTHON}",
    }  # fmt: skip
    assert {key: environment.get(key) for key in expected} == expected
    for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "_X_AMZN_TRACE_ID"]:
        assert environment.get(key), key
    assert environment["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert payload["cwd"] == "/var/task"


def test_the_client_context_arrives(functions, name):
    functions.create(name, INTROSPECT)
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    assert functions.invoke(name, "custom", ClientContext=context)[0] == {"client": {"k": "v"}}


def test_the_log_tail_has_aws_lines(functions, name):
    functions.create(name, python("def handler(event, context): print('said')"))
    _, answer = functions.invoke(name, LogType="Tail")
    request = answer["ResponseMetadata"]["RequestId"]
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert re.search(rf"^START RequestId: {request} Version: \$LATEST$", tail, re.M), tail
    assert re.search(r"^said$", tail, re.M) and re.search(rf"^END RequestId: {request}$", tail, re.M), tail
    report = re.search(
        rf"^REPORT RequestId: {request}\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: (\d+) MB(\tInit Duration: (\d+\.\d\d) ms)?\tIsolation: ([a-z-]+)\tOrigin: ([a-z]+)\t?$",
        tail,
        re.M,
    )
    assert report, tail
    assert float(report[1]) <= int(report[2]) and 1 <= int(report[3]) <= 128
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-pileus-isolation"], headers["x-pileus-origin"]) == (report[6], report[7])
    assert headers["x-pileus-start"] == "cold: first"
    again = base64.b64decode(functions.invoke(name, LogType="Tail")[1]["LogResult"]).decode()
    assert "Init Duration" in tail and "Init Duration" not in again, "only the first invocation initialises"


def test_a_dry_run_runs_nothing(functions, name):
    functions.create(name, python("def handler(event, context): print('ran')"))
    answer = functions.lambda_.invoke(FunctionName=name, InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert not [line for line in functions.messages(name) if "ran" in line]


def test_errors_have_the_form_of_python(functions, name):
    functions.create(name, python("def handler(event, context):\n    raise ValueError('bad thing')\n"))
    payload, answer = functions.invoke(name)
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled"
    assert (payload["errorMessage"], payload["errorType"]) == ("bad thing", "ValueError")
    assert payload["stackTrace"] == ['  File "/var/task/app.py", line 2, in handler\n    raise ValueError(\'bad thing\')\n']
    assert payload["requestId"] == answer["ResponseMetadata"]["RequestId"]


def test_errors_have_the_form_of_node(functions, name):
    body = "export const handler = async () => { throw new TypeError('bad thing') }"
    functions.create(name, archive({"index.mjs": body}), runtime=node_runtime(), handler="index.handler")
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled"
    assert (payload["errorMessage"], payload["errorType"]) == ("bad thing", "TypeError")
    assert payload["trace"][0] == "TypeError: bad thing", payload


def test_node_handlers_of_both_kinds_run(functions, name):
    files = {
        "index.js": "exports.callback = (event, context, done) => { context.callbackWaitsForEmptyEventLoop = false;"
        " done(null, { got: event, id: context.awsRequestId }) };"
        "exports.promise = async (event) => ({ got: event })",
    }
    functions.create(name, archive(files), runtime=node_runtime(), handler="index.callback")
    payload, answer = functions.invoke(name, [1])
    assert payload == {"got": [1], "id": answer["ResponseMetadata"]["RequestId"]}
    functions.lambda_.update_function_configuration(FunctionName=name, Handler="index.promise")
    functions.updated(name)
    assert functions.invoke(name, [2])[0] == {"got": [2]}


def test_memory_and_tmp_stay_with_a_warm_environment(functions, name):
    body = """
import os
count = 0
def handler(event, context):
    global count
    count += 1
    with open("/tmp/marks", "a") as marks:
        marks.write("x")
    return [count, os.path.getsize("/tmp/marks"), context.log_stream_name]
"""
    functions.create(name, python(body))
    first, second = functions.invoke(name)[0], functions.invoke(name)[0]
    assert first[:2] == [1, 1] and second[:2] == [2, 2] and first[2] == second[2]


def test_parallel_invocations_get_environments_of_their_own(functions, name):
    functions.create(name, python("import time\ndef handler(e, c):\n    time.sleep(1)\n    return c.log_stream_name"), Timeout=20)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(functions.invoke(name)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4 and len(set(seen)) == 4


def test_an_update_holds_for_the_very_next_call(functions, name):
    functions.create(name, python("def handler(e, c): return 0"))
    for number in range(1, 6):
        functions.invoke(name)
        functions.lambda_.update_function_code(FunctionName=name, ZipFile=python(f"def handler(e, c): return {number}"))
        functions.updated(name)
        assert functions.invoke(name)[0] == number


def test_an_event_is_taken_and_run(functions, name):
    functions.create(name, python("def handler(event, context): print('ran', event)"))
    answer = functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n":1}')
    assert answer["StatusCode"] == 202 and answer["Payload"].read() == b""
    eventually(lambda: [line for line in functions.messages(name) if "ran {'n': 1}" in line], what="the event's log line")


def test_walls_are_up_inside(functions, name):
    body = """
import os, socket

def attempt(call):
    try:
        return repr(call())
    except OSError as error:
        return error.__class__.__name__ + ":" + os.strerror(error.errno) if error.errno else str(error)

def handler(event, context):
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    return {
        "uid": os.getuid(), "capabilities": status["CapEff"], "no_new_privs": status["NoNewPrivs"],
        "seccomp": status["Seccomp"], "pids": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
        "write_root": attempt(lambda: open("/evil", "w")), "write_task": attempt(lambda: open("/var/task/evil", "w")),
        "write_usr": attempt(lambda: open("/usr/evil", "w")), "sys": os.path.exists("/sys/kernel"),
        "root_home": attempt(lambda: os.listdir("/root")), "mount": attempt(lambda: os.mkdir("/tmp/m")),
        "interfaces": [name for _, name in socket.if_nameindex()], "hostname": socket.gethostname(),
    }
"""
    functions.create(name, python(body))
    seen, answer = functions.invoke(name)
    assert "FunctionError" not in answer, seen
    assert int(seen["capabilities"].strip(), 16) == 0 and seen["no_new_privs"].strip() == "1"
    assert seen["seccomp"].strip() == "2" and seen["uid"] != 0
    for wall in ["write_root", "write_task", "write_usr"]:
        assert "Error" in seen[wall], (wall, seen[wall])
    assert seen["sys"] is False and seen["interfaces"] == ["lo"] and len(seen["pids"]) < 10
    assert seen["mount"] == "None"


def test_a_function_calls_the_platform_as_its_role(functions, name):
    body = """
import json, os, urllib.request

def handler(event, context):
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/_pileus/health", timeout=5) as answer:
        return answer.status
"""
    # The server's own pages are not for functions: only the public API is.
    functions.create(name, python(body), Timeout=10)
    payload, answer = functions.invoke(name)
    assert answer.get("FunctionError") == "Unhandled" and "HTTP Error" in payload["errorMessage"], payload


def test_invocations_of_what_is_missing_are_refused(functions):
    with pytest.raises(functions.lambda_.exceptions.ResourceNotFoundException) as caught:
        functions.invoke("absent")
    assert caught.value.response["Error"]["Message"] == (
        f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:absent:$LATEST"
    )
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_runtime_that_the_host_lacks_says_which_are_there(functions, name):
    have = {line.split()[0] for line in functions.server.pileus("runtimes").stdout.splitlines() if line.strip()}
    lacking = [f"python3.{minor}" for minor in (9, 10, 12, 13, 14) if f"python3.{minor}" not in have][0]
    with pytest.raises(functions.lambda_.exceptions.InvalidParameterValueException) as caught:
        functions.lambda_.create_function(
            FunctionName=name, Runtime=lacking, Handler="app.handler", Role=ROLE, Code={"ZipFile": ECHO}
        )
    message = caught.value.response["Error"]["Message"]
    assert lacking in message and PYTHON in message, message
