"""Bad input, each with AWS's own error; the `server` fixture checks after each test that the server stayed well."""

import json
import socket

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, PYTHON, REGION, ROLE, archive, eventually, python

ECHO = python("def handler(event, context): return event")


@pytest.fixture
def unchecked(server):
    """A client that sends what the models forbid."""
    return server.client("lambda", parameter_validation=False)


@pytest.fixture
def echo(functions, name):
    functions.create(name, ECHO)
    return name


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def create(client, **members):
    base = {"FunctionName": "f", "Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": ECHO}}
    return refused(client.create_function, **(base | members))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"FunctionName": "a" * 65},
            (400, "InvalidParameterValueException",
             f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: Member must "
             "have length less than or equal to 64"),
        ),
        (
            {"Timeout": 901},
            (400, "ValidationException",
             "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value "
             "less than or equal to 900"),
        ),
        (
            {"MemorySize": 127},
            (400, "ValidationException",
             "1 validation error detected: Value '127' at 'memorySize' failed to satisfy constraint: Member must have value "
             "greater than or equal to 128"),
        ),
        (
            {"Role": "r1"},
            (400, "ValidationException",
             "1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular "
             r"expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"),
        ),
        (
            {"Architectures": ["x86_64", "arm64"]},
            (400, "ValidationException",
             "1 validation error detected: Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member "
             "must have length less than or equal to 1"),
        ),
    ],
)  # fmt: skip
def test_members_out_of_bounds_are_refused(unchecked, members, expected):
    assert create(unchecked, **members) == expected


def test_an_unknown_runtime_is_refused_with_the_list(unchecked):
    status, code, message = create(unchecked, Runtime="non-existent-runtime")
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message.startswith(
        "Value non-existent-runtime at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["
    )
    status, code, message = create(unchecked, Runtime="python3.7")
    assert (status, code, message) == (
        400,
        "InvalidParameterValueException",
        "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. We "
        "recommend you use a supported runtime while creating or updating functions.",
    )


def test_an_unknown_qualifier_is_not_found(functions, echo):
    got = refused(functions.lambda_.invoke, FunctionName=echo, Qualifier="nope")
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{echo}:nope"
    assert got == (404, "ResourceNotFoundException", f"Function not found: {arn}")
    got = refused(functions.lambda_.invoke, FunctionName=echo, Qualifier="42")
    assert got[:2] == (404, "ResourceNotFoundException")


@pytest.mark.parametrize("name_or_qualifier", [{"FunctionName": "*"}, {"FunctionName": "f", "Qualifier": "a" * 129}])
def test_malformed_names_are_refused(unchecked, name_or_qualifier):
    status, code, message = refused(unchecked.invoke, **name_or_qualifier)
    assert (status, code) == (400, "ValidationException") and message.startswith("1 validation error detected: Value '")


def test_seven_megabytes_are_too_much(functions, echo):
    big = json.dumps("x" * (7 << 20)).encode()
    status, code, message = refused(functions.lambda_.invoke, FunctionName=echo, Payload=big)
    assert (status, code) == (413, "RequestEntityTooLargeException")
    assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    fits = json.dumps("x" * (5 << 20)).encode()
    assert functions.lambda_.invoke(FunctionName=echo, Payload=fits)["Payload"].read() == fits


def test_an_event_has_its_own_limit(functions, echo):
    big = json.dumps("x" * (1 << 20)).encode()
    status, code, message = refused(functions.lambda_.invoke, FunctionName=echo, InvocationType="Event", Payload=big)
    assert (status, code) == (413, "RequestEntityTooLargeException"), code
    assert " byte payload is too large for the Event invocation type (limit " in message, message


def test_a_payload_that_is_not_json_is_refused(functions, echo):
    status, code, message = refused(functions.lambda_.invoke, FunctionName=echo, Payload=b"{not json")
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json: "), message


def test_a_body_that_is_not_json_is_refused(server):
    status, headers, body = server.raw(
        "POST", "/2015-03-31/functions", b"{broken", {"Content-Type": "application/json"} | credential("lambda")
    )
    assert status == 400 and headers["x-amzn-errortype"].startswith("SerializationException"), (headers.items(), body)
    status, headers, body = server.raw(
        "POST", "/", b"[]",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.CreateLogGroup"} | credential("logs"),
    )  # fmt: skip
    assert status == 400 and json.loads(body)["__type"].endswith("SerializationException"), body


def credential(service):
    """What an open server reads of an unsigned request's signature: whose, where, which service."""
    scope = f"test/20260101/{REGION}/{service}/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"}


def test_unknown_operations_are_named(server):
    status, _, body = server.raw(
        "POST", "/", b"{}",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.NoSuchThing"} | credential("logs"),
    )  # fmt: skip
    assert status == 400 and json.loads(body)["__type"].endswith("UnknownOperationException"), body
    status, _, body = server.raw("GET", "/2015-03-31/nothing-here", None, credential("lambda"))
    assert status in (403, 404) and body, (status, body)


def test_a_truncated_body_does_no_harm(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plug:
        head = (
            f"POST /2015-03-31/functions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 1000\r\n"
            f"Content-Type: application/json\r\nAuthorization: {credential('lambda')['Authorization']}\r\n\r\n"
        )
        plug.sendall(head.encode() + b'{"FunctionName": "cut')
        plug.shutdown(socket.SHUT_WR)
        answer = plug.recv(65536)
    assert not answer.startswith(b"HTTP/1.1 2"), answer


def test_garbage_on_the_wire_does_no_harm(server):
    for garbage in [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 100, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plug:
            try:
                plug.sendall(garbage)
                plug.shutdown(socket.SHUT_WR)
                answer = plug.recv(65536)
            except OSError:
                answer = b""
        assert not answer.startswith(b"HTTP/1.1 2"), (garbage[:20], answer)


def test_a_handler_that_does_not_exist(functions, name):
    functions.create(name, ECHO, handler="app.missing")
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorMessage"] == "Handler 'missing' missing on module 'app'", payload
    assert payload["errorType"] == "Runtime.HandlerNotFound"


def test_a_module_that_does_not_exist(functions, name):
    functions.create(name, ECHO, handler="absent.handler")
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorMessage"] == "Unable to import module 'absent': No module named 'absent'", payload
    assert payload["errorType"] == "Runtime.ImportModuleError"


def test_a_module_that_raises_while_it_is_loaded(functions, name):
    functions.create(name, python("raise KeyError('early')\n"))
    for _ in range(2):
        payload, answer = functions.invoke(name)
        assert answer["FunctionError"] == "Unhandled"
        assert (payload["errorMessage"], payload["errorType"]) == ("'early'", "KeyError"), payload


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("import sys; sys.exit(0)", "Runtime exited without providing a reason"),
        ("import os; os._exit(0)", "Runtime exited without providing a reason"),
        ("import os; os._exit(3)", "Runtime exited with error: exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_handler_that_exits_or_crashes(functions, name, how, message):
    functions.create(name, python(f"def handler(event, context):\n    {how}\n"))
    payload, answer = functions.invoke(name)
    request = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"].startswith(f"RequestId: {request} Error: {message}"), payload


def test_a_handler_that_never_answers(functions, name):
    functions.create(name, python("import time\ndef handler(event, context):\n    time.sleep(60 if event else 0)\n    return 'well'"), Timeout=1)
    payload, answer = functions.invoke(name, True)
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorMessage"].endswith("Task timed out after 1.00 seconds"), payload
    assert functions.invoke(name, False)[0] == "well", "the next invocation has a fresh environment"


def test_a_handler_that_forks(functions, name):
    body = """
import os, time

def handler(event, context):
    made = 0
    try:
        while made < 20000:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            made += 1
    except OSError as error:
        return [made, error.errno]
    return [made, 0]
"""
    functions.create(name, python(body), Timeout=10, MemorySize=512)
    payload, answer = functions.invoke(name)
    if "FunctionError" not in answer:
        assert payload[0] < 20000 and payload[1] == 11, payload
    functions.create(f"{name}-after", ECHO)
    assert functions.invoke(f"{name}-after", 1)[0] == 1


def test_a_handler_that_fills_memory(functions, name):
    functions.create(name, python("def handler(event, context):\n    return len(bytearray(b'x') * (600 << 20))"), Timeout=20)
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled", payload
    assert "signal: killed" in payload["errorMessage"] or payload["errorType"] == "MemoryError", payload


def test_a_handler_that_fills_tmp(functions, name):
    body = """
def handler(event, context):
    piece = b"x" * (1 << 20)
    written = 0
    try:
        with open("/tmp/flood", "wb", buffering=0) as flood:
            for _ in range(700):
                written += flood.write(piece)
    except OSError as error:
        return [written >> 20, error.errno]
    return [written >> 20, 0]
"""
    functions.create(name, python(body), Timeout=30, MemorySize=256)
    payload, answer = functions.invoke(name)
    assert "FunctionError" not in answer, payload
    assert payload[1] in (28, 122) and 400 <= payload[0] <= 512, payload


def test_a_handler_that_prints_a_hundred_megabytes(functions, name):
    body = "def handler(event, context):\n    line = 'x' * 1023\n    for _ in range(100 * 1024):\n        print(line)\n    return 'done'"
    functions.create(name, python(body), Timeout=60)
    functions.create(f"{name}-beside", ECHO)
    payload, answer = functions.invoke(name)
    # It is slowed, and may run into its time limit; the server and others are not.
    assert payload == "done" or "timed out" in payload["errorMessage"], payload
    assert functions.invoke(f"{name}-beside", 1)[0] == 1


def test_a_handler_that_answers_seven_megabytes(functions, name):
    functions.create(name, python("def handler(event, context): return 'x' * (7 << 20)"), Timeout=20)
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled"
    assert payload == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }


def test_a_handler_that_answers_what_is_not_json(functions, name):
    functions.create(name, python("def handler(event, context): return {1, 2}"))
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "Runtime.MarshalError"
    assert payload["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


def test_a_runtime_that_answers_twice(functions, name):
    loop = """#!/usr/bin/env python3
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
second = None
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    got = api.getresponse()
    got.read()
    path = f"/2018-06-01/runtime/invocation/{got.headers['Lambda-Runtime-Aws-Request-Id']}/response"
    api.request("POST", path, json.dumps({"second": second}))
    api.getresponse().read()
    api.request("POST", path, json.dumps("again"))
    answer = api.getresponse()
    second = [answer.status, json.loads(answer.read())["errorType"]]
"""
    functions.create(name, archive({"bootstrap": loop}, {"bootstrap": 0o755}), runtime="provided.al2023", handler="x")
    assert functions.invoke(name)[0] == {"second": None}

    def refused_twice():
        payload, _ = functions.invoke(name)
        return payload if payload["second"] else None

    status, kind = eventually(refused_twice, what="the second answer's refusal")["second"]
    assert status in (400, 403) and kind in ("InvalidRequestID", "InvalidStateTransition", "InvalidRequestId"), (status, kind)


def test_a_bootstrap_that_is_not_there_or_not_executable(functions, name):
    functions.create(name, archive({"readme": "x"}), runtime="provided.al2023", handler="x")
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "Runtime.InvalidEntrypoint", payload
    functions.create(f"{name}-2", archive({"bootstrap": "#!/bin/sh\n"}), runtime="provided.al2023", handler="x")
    payload, answer = functions.invoke(f"{name}-2")
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"].startswith("Runtime."), payload
