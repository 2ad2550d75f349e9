"""What a new user does, with nothing but the stock AWS CLI and curl."""

import base64
import json
import subprocess
import time

import pytest

from harness import PYTHON, ROLE, archive, aws_cli_v2, eventually, node_runtime

HELLO = """
import sys

def handler(event, context):
    print("greeting", event.get("name"))
    return {"hello": event.get("name", "world"), "python": sys.version_info[:2]}
"""


def test_the_aws_cli_creates_waits_invokes_and_reads_the_log(server, name, tmp_path):
    code = tmp_path / "hello.zip"
    code.write_bytes(archive({"app.py": HELLO}))
    created = json.loads(
        server.aws(
            "lambda", "create-function", "--function-name", name, "--runtime", PYTHON, "--handler", "app.handler",
            "--zip-file", f"fileb://{code}", "--role", ROLE,
        ).stdout
    )  # fmt: skip
    assert created["FunctionName"] == name and created["State"] == "Pending"
    server.aws("lambda", "wait", "function-active-v2", "--function-name", name)
    out = tmp_path / "out.json"
    answer = json.loads(
        server.aws(
            "lambda", "invoke", "--function-name", name, "--payload", '{"name":"Ada"}', "--log-type", "Tail", str(out)
        ).stdout
    )
    assert answer["StatusCode"] == 200 and "FunctionError" not in answer
    assert json.loads(out.read_text())["hello"] == "Ada"
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "greeting Ada" in tail and "START RequestId" in tail and "REPORT RequestId" in tail

    def logged():
        found = server.aws("logs", "filter-log-events", "--log-group-name", f"/aws/lambda/{name}", check=False)
        return found.returncode == 0 and "greeting Ada" in found.stdout

    eventually(logged, what="the line in the log", every=0.3)

    url = json.loads(
        server.aws("lambda", "create-function-url-config", "--function-name", name, "--auth-type", "NONE").stdout
    )["FunctionUrl"]
    server.aws(
        "lambda", "add-permission", "--function-name", name, "--statement-id", "public", "--principal", "*",
        "--action", "lambda:InvokeFunctionUrl", "--function-url-auth-type", "NONE",
    )  # fmt: skip
    host = url.split("/")[2].split(":")[0]
    got = subprocess.run(
        ["curl", "-sS", "--fail", "--resolve", f"{host}:{server.port}:127.0.0.1", url],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout)["hello"] == "world"

    listed = json.loads(server.aws("lambda", "list-functions").stdout)["Functions"]
    assert name in [function["FunctionName"] for function in listed]
    server.aws("lambda", "delete-function", "--function-name", name)
    gone = server.aws("lambda", "get-function", "--function-name", name, check=False)
    assert gone.returncode != 0 and "ResourceNotFoundException" in gone.stderr


def test_the_aws_cli_updates_and_waits(server, functions, name, tmp_path):
    functions.create(name, archive({"app.py": HELLO}))
    code = tmp_path / "new.zip"
    code.write_bytes(archive({"app.py": "def handler(event, context): return 'second'"}))
    server.aws("lambda", "update-function-code", "--function-name", name, "--zip-file", f"fileb://{code}")
    server.aws("lambda", "wait", "function-updated-v2", "--function-name", name)
    assert functions.invoke(name)[0] == "second"
    server.aws("lambda", "update-function-configuration", "--function-name", name, "--timeout", "7")
    server.aws("lambda", "wait", "function-updated", "--function-name", name)
    shown = json.loads(server.aws("lambda", "get-function-configuration", "--function-name", name).stdout)
    assert shown["Timeout"] == 7 and shown["LastUpdateStatus"] == "Successful"


def test_cli_version_2_takes_raw_payloads_and_follows_the_log(server, functions, name, tmp_path):
    aws = aws_cli_v2()
    if aws is None:
        pytest.skip("no AWS CLI of version 2 on this machine (Debian: apt-get install awscli)")
    functions.create(name, archive({"app.py": HELLO}))
    # The version that distributions carry predates AWS_ENDPOINT_URL.
    base = [aws, "--endpoint-url", server.endpoint]
    environment = server.environment()
    out = tmp_path / "out.json"
    done = subprocess.run(
        [*base, "lambda", "invoke", "--function-name", name, "--payload", '{"name":"Ada"}',
         "--cli-binary-format", "raw-in-base64-out", "--log-type", "Tail", str(out)],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["hello"] == "Ada"
    follow = subprocess.Popen(
        [*base, "logs", "tail", f"/aws/lambda/{name}", "--follow", "--since", "1h"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        time.sleep(2)
        functions.invoke(name, {"name": "Grace"})
        seen = []

        def both():
            seen.append(follow.stdout.readline())
            text = "".join(seen)
            return "greeting Ada" in text and "greeting Grace" in text

        eventually(both, seconds=30, every=0, what="both greetings in `aws logs tail --follow`")
    finally:
        follow.kill()
        follow.wait(10)


@pytest.mark.parametrize("kind", ["node", "native"])
def test_a_node_and_a_native_function_fly_too(functions, kind, name):
    if kind == "node":
        code = archive({"index.mjs": "export const handler = async (event) => ({ hello: event.name, node: process.version })"})
        functions.create(name, code, runtime=node_runtime(), handler="index.handler")
    else:
        functions.create(name, native(), runtime="provided.al2023", handler="bootstrap")
    payload, answer = functions.invoke(name, {"name": "Ada"})
    assert "FunctionError" not in answer and payload["hello"] == "Ada", payload


def native() -> bytes:
    """A custom runtime without a language's own client: the Runtime API by hand, in the interpreter every host has."""
    loop = """#!/usr/bin/env python3
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    got = api.getresponse()
    event = json.loads(got.read())
    request = got.headers["Lambda-Runtime-Aws-Request-Id"]
    body = json.dumps({"hello": event["name"], "handler": os.environ["_HANDLER"]})
    api.request("POST", f"/2018-06-01/runtime/invocation/{request}/response", body)
    api.getresponse().read()
"""
    return archive({"bootstrap": loop}, {"bootstrap": 0o755})
