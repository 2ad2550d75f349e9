"""SnapStart: published versions that are initialised once."""

import json
import shutil

import pytest
from botocore.exceptions import ClientError

from harness import ROLE, eventually, python

RUNTIME = next((f"python3.{minor}" for minor in (12, 13, 14) if shutil.which(f"python3.{minor}")), None)
needs_python = pytest.mark.skipif(RUNTIME is None, reason="AWS has SnapStart from Python 3.12 on, and this host has none")
SNAP = {"ApplyOn": "PublishedVersions"}

# What initialisation made is the same in every environment of a version; what is drawn later is not.
CODE = python(
    """
import os, random, time, uuid
BORN = (uuid.uuid4().hex, time.time())
def handler(event, context):
    return {"born": BORN[0], "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "drawn": random.random(),
            "uuid": uuid.uuid4().hex, "stream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]}
"""
)


def error(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def published(functions, name, **members):
    version = functions.lambda_.publish_version(FunctionName=name, **members)["Version"]
    return eventually(
        lambda: (found := functions.lambda_.get_function_configuration(FunctionName=name, Qualifier=version))["State"] != "Pending"
        and found,
        what="a settled version",
    )


@needs_python
def test_a_version_is_pending_then_active_and_initialised_once(functions, name):
    made = functions.create(name, CODE, runtime=RUNTIME, SnapStart=SNAP)
    assert made["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    first = functions.lambda_.publish_version(FunctionName=name)
    assert first["State"] == "Pending" and first["SnapStart"]["OptimizationStatus"] == "On"
    version = eventually(
        lambda: (found := functions.lambda_.get_function_configuration(FunctionName=f"{name}:1"))["State"] == "Active" and found,
        what="an active version",
    )
    answers = [functions.invoke(f"{name}:1")[0] for _ in range(3)]
    latest = functions.invoke(name)[0]
    assert latest["type"] == "on-demand"
    if version["SnapStart"]["OptimizationStatus"] == "On":
        assert {answer["type"] for answer in answers} == {"snap-start"}
        assert len({answer["born"] for answer in answers}) == 1
        assert len({answer["uuid"] for answer in answers}) == 3
    else:
        assert version["StateReason"], "who gets no snapshot is told why"


@needs_python
def test_many_environments_of_one_snapshot_draw_different_numbers(functions, name):
    from concurrent.futures import ThreadPoolExecutor

    functions.create(name, CODE, runtime=RUNTIME, SnapStart=SNAP)
    if published(functions, name)["SnapStart"]["OptimizationStatus"] != "On":
        pytest.skip("this host takes no snapshots")
    with ThreadPoolExecutor(12) as pool:
        answers = [answer for answer, _ in pool.map(lambda _: functions.invoke(f"{name}:1"), range(24))]
    assert len({answer["born"] for answer in answers}) == 1
    assert len({answer["drawn"] for answer in answers}) == 24 and len({answer["uuid"] for answer in answers}) == 24


@needs_python
def test_a_version_that_cannot_initialise_fails_and_says_why(functions, name):
    broken = python("raise RuntimeError('no luck')\ndef handler(event, context): return 1")
    functions.lambda_.create_function(
        FunctionName=name, Runtime=RUNTIME, Handler="app.handler", Role=ROLE, Code={"ZipFile": broken}, SnapStart=SNAP, Publish=True
    )
    version = eventually(
        lambda: (found := functions.lambda_.get_function_configuration(FunctionName=f"{name}:1"))["State"] != "Pending" and found,
        what="a settled version",
    )
    if version["State"] == "Active":
        assert version["SnapStart"]["OptimizationStatus"] == "Off" and version["StateReason"]
        pytest.skip("this host takes no snapshots")
    assert version["State"] == "Failed" and version["StateReasonCode"].startswith("FunctionError"), version
    code, _ = error(functions.lambda_.invoke, FunctionName=f"{name}:1")
    assert code == "ResourceConflictException"


@needs_python
def test_a_snapshot_is_there_again_after_kill_9(own):
    from harness import Functions

    server = own().start()
    functions = Functions(server)
    functions.create("f", CODE, runtime=RUNTIME, SnapStart=SNAP)
    version = published(functions, "f")
    functions.lambda_.publish_version(FunctionName="f")
    server.kill()
    server.restart()
    functions = Functions(server)
    again = functions.lambda_.get_function_configuration(FunctionName="f:1")
    assert (again["State"], again["SnapStart"]) == ("Active", version["SnapStart"])
    first, second = functions.invoke("f:1")[0], functions.invoke("f:1")[0]
    assert first["born"] == second["born"]


@needs_python
def test_a_version_whose_publication_was_cut_off_becomes_active(own):
    from harness import Functions

    server = own().start()
    functions = Functions(server)
    slow = python("import time; time.sleep(2)\ndef handler(event, context): return 'ready'")
    functions.create("f", slow, runtime=RUNTIME, SnapStart=SNAP)
    assert functions.lambda_.publish_version(FunctionName="f")["State"] == "Pending"
    server.kill()
    server.restart()
    functions = Functions(server)
    eventually(
        lambda: functions.lambda_.get_function_configuration(FunctionName="f:1")["State"] == "Active", what="an active version"
    )
    assert functions.invoke("f:1")[0] == "ready"


def test_snapstart_is_refused_where_aws_has_none(functions, name):
    def create(**members):
        return error(
            functions.lambda_.create_function,
            **({"FunctionName": name, "Runtime": "python3.12", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": CODE}, "SnapStart": SNAP} | members),
        )

    wrong = "InvalidParameterValueException"
    for runtime in ["python3.11", "nodejs20.x", "provided.al2023"]:
        assert create(Runtime=runtime) == (wrong, f"{runtime} is not supported for SnapStart enabled functions.")
    assert create(EphemeralStorage={"Size": 513})[0] == wrong
    assert create(SnapStart={"ApplyOn": "Sometimes"})[0] == "ValidationException"


@needs_python
def test_snapstart_and_provisioned_concurrency_exclude_each_other(functions, name):
    functions.create(name, CODE, runtime=RUNTIME, SnapStart=SNAP)
    published(functions, name)
    got = error(
        functions.lambda_.put_provisioned_concurrency_config, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    assert got[0] == "InvalidParameterValueException" and "SnapStart" in got[1]


@needs_python
def test_the_cli_turns_it_on(server, functions, name):
    functions.create(name, CODE, runtime=RUNTIME)
    shown = json.loads(
        server.aws("lambda", "update-function-configuration", "--function-name", name, "--snap-start", "ApplyOn=PublishedVersions").stdout
    )
    assert shown["SnapStart"]["ApplyOn"] == "PublishedVersions"
    functions.updated(name)
    server.aws("lambda", "publish-version", "--function-name", name)
    server.aws("lambda", "wait", "published-version-active", "--function-name", f"{name}:1")
    assert functions.invoke(f"{name}:1")[0]["born"]
