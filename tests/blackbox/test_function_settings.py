"""Settings of functions beside code and versions: what deployment tools put and read."""

import json

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, PYTHON, REGION, ROLE, Functions, python

CODE = python(
    """
import os
def handler(event, context):
    disk = os.statvfs("/tmp")
    return {"memory": context.memory_limit_in_mb, "tmp_mib": disk.f_blocks * disk.f_frsize >> 20, "env": dict(os.environ)}
"""
)


@pytest.fixture
def queue(server, name):
    """The ARN of a queue that is there."""
    client = server.client("sqs")
    url = client.create_queue(QueueName=name)["QueueUrl"]
    yield client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client.delete_queue(QueueUrl=url)


def error(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def arn(name, qualifier=None):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}" + (f":{qualifier}" if qualifier else "")


def creation(functions, name, **members):
    whole = {"FunctionName": name, "Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": CODE}}
    return error(functions.lambda_.create_function, **(whole | members))


def test_event_invoke_configs(functions, name, queue):
    client = functions.lambda_
    functions.create(name, CODE)
    client.publish_version(FunctionName=name)
    put = client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60, DestinationConfig={"OnFailure": {"Destination": queue}}
    )
    assert put["FunctionArn"] == arn(name, "$LATEST")
    assert (put["MaximumRetryAttempts"], put["MaximumEventAgeInSeconds"]) == (0, 60)
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}
    assert put["LastModified"]
    updated = client.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    assert (updated["MaximumRetryAttempts"], updated["DestinationConfig"]) == (2, put["DestinationConfig"])
    client.put_function_event_invoke_config(FunctionName=name, Qualifier="1", MaximumRetryAttempts=1)
    assert client.get_function_event_invoke_config(FunctionName=name, Qualifier="1")["FunctionArn"] == arn(name, 1)
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(FunctionName=name, PaginationConfig={"PageSize": 1})
    assert len([one for page in pages for one in page["FunctionEventInvokeConfigs"]]) == 2
    client.delete_function_event_invoke_config(FunctionName=name)
    gone = ("ResourceNotFoundException", f"The function {arn(name, '$LATEST')} doesn't have an EventInvokeConfig")
    assert error(client.get_function_event_invoke_config, FunctionName=name) == gone
    assert error(client.delete_function_event_invoke_config, FunctionName=name) == gone
    assert error(client.update_function_event_invoke_config, FunctionName=name, MaximumRetryAttempts=1) == gone
    wrong = "InvalidParameterValueException"
    nothing = (wrong, "You must specify at least one of error handling or destination setting.")
    assert error(client.put_function_event_invoke_config, FunctionName=name) == nothing
    itself = {"OnSuccess": {"Destination": arn(name)}}
    assert error(client.put_function_event_invoke_config, FunctionName=name, DestinationConfig=itself)[0] == wrong
    assert error(client.put_function_event_invoke_config, FunctionName="absent", MaximumRetryAttempts=1) == (
        "ResourceNotFoundException", "The function doesn't exist.",
    )  # fmt: skip
    assert error(client.list_function_event_invoke_configs, FunctionName="absent")[1] == "The function doesn't exist."


def test_recursion_runtime_scaling_and_code_signing_as_terraform_reads_them(functions, name):
    client = functions.lambda_
    functions.create(name, CODE)
    client.publish_version(FunctionName=name)
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert error(client.put_function_recursion_config, FunctionName=name, RecursiveLoop="Perhaps")[0] == "ValidationException"

    runtime = client.get_runtime_management_config(FunctionName=name)
    assert (runtime["UpdateRuntimeOn"], runtime["FunctionArn"], "RuntimeVersionArn" in runtime) == ("Auto", arn(name), False)
    put = client.put_runtime_management_config(FunctionName=name, Qualifier="1", UpdateRuntimeOn="FunctionUpdate")
    assert (put["UpdateRuntimeOn"], put["FunctionArn"]) == ("FunctionUpdate", arn(name, 1))
    assert client.get_runtime_management_config(FunctionName=name, Qualifier="1")["UpdateRuntimeOn"] == "FunctionUpdate"
    assert error(client.put_runtime_management_config, FunctionName=name, UpdateRuntimeOn="Manual")[0] == "InvalidParameterValueException"

    assert client.get_function_scaling_config(FunctionName=name, Qualifier="1")["FunctionArn"] == arn(name, 1)
    code, message = error(client.put_function_scaling_config, FunctionName=name, Qualifier="1", FunctionScalingConfig={"MinExecutionEnvironments": 1})
    assert code == "InvalidParameterValueException" and "no capacity provider" in message

    signing = client.get_function_code_signing_config(FunctionName=name)
    assert set(signing) == {"ResponseMetadata"}
    absent = f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-0123456789abcdef0"
    assert error(client.put_function_code_signing_config, FunctionName=name, CodeSigningConfigArn=absent) == (
        "CodeSigningConfigNotFoundException",
        f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {absent}.",
    )
    client.delete_function_code_signing_config(FunctionName=name)
    for call in ["get_function_recursion_config", "get_runtime_management_config", "get_function_code_signing_config"]:
        assert error(getattr(client, call), FunctionName="absent") == ("ResourceNotFoundException", f"Function not found: {arn('absent')}")


def test_memory_and_storage_reach_the_function(functions, name):
    functions.create(name, CODE, MemorySize=192, EphemeralStorage={"Size": 768})
    payload, _ = functions.invoke(name)
    assert payload["memory"] == "192" or payload["memory"] == 192
    assert payload["tmp_mib"] <= 768
    functions.lambda_.update_function_configuration(FunctionName=name, MemorySize=256)
    functions.updated(name)
    assert int(functions.invoke(name)[0]["memory"]) == 256
    unchecked = Functions(functions.server, parameter_validation=False)
    for member, value in [
        ("MemorySize", 127), ("MemorySize", 10241), ("EphemeralStorage", {"Size": 511}), ("EphemeralStorage", {"Size": 10241}),
    ]:  # fmt: skip
        code, message = creation(unchecked, name[:50] + "-x", **{member: value})
        assert code in ("ValidationException", "InvalidParameterValueException"), (member, value, message)


def test_environment_variables_have_limits_and_reserved_names(functions, name):
    code, message = creation(functions, name, Environment={"Variables": {"AB": "x" * 4088}})
    assert (code, "exceeded the 4KB limit" in message) == ("InvalidParameterValueException", True), message[:300]
    code, message = creation(functions, name, Environment={"Variables": {"AWS_SESSION_TOKEN": "x"}})
    assert code == "InvalidParameterValueException" and message.endswith("Reserved keys used in this request: AWS_SESSION_TOKEN")
    functions.create(name, CODE, Environment={"Variables": {"AB": "x" * 4087}})
    assert functions.invoke(name)[0]["env"]["AB"] == "x" * 4087


def test_dead_letter_targets_are_queues_and_topics(functions, name, queue):
    made = functions.create(name, CODE, DeadLetterConfig={"TargetArn": queue})
    assert made["DeadLetterConfig"] == {"TargetArn": queue}
    cleared = functions.lambda_.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": ""})
    assert "DeadLetterConfig" not in cleared
    code, message = creation(functions, name[:50] + "-x", DeadLetterConfig={"TargetArn": "arn:aws:s3:::bucket"})
    assert code == "InvalidParameterValueException" and "arn:aws:s3:::bucket" in message


def test_tags_steer_how_a_function_starts(functions, name):
    client = functions.lambda_
    code = python("import uuid\nME = uuid.uuid4().hex\ndef handler(event, context): return ME")
    functions.create(name, code, Tags={"team": "a"})
    first = functions.invoke(name)[0]
    assert functions.invoke(name)[0] == first
    client.tag_resource(Resource=arn(name), Tags={"pileus:start": "fresh"})
    second = functions.invoke(name)[0]
    assert second != first, "a change of what its tags steer replaces its environments"
    client.tag_resource(Resource=arn(name), Tags={"team": "b"})
    assert functions.invoke(name)[0] == second
    client.untag_resource(Resource=arn(name), TagKeys=["pileus:start"])
    assert functions.invoke(name)[0] != second
    for tag, value in [("pileus:start", "hot"), ("pileus:egress", "everything"), ("pileus:egress-allow", "here"), ("pileus:new", "x")]:
        got, message = error(client.tag_resource, Resource=arn(name), Tags={tag: value})
        assert got == "InvalidParameterValueException" and tag in message
        assert creation(functions, name[:50] + "-x", Tags={tag: value})[0] == "InvalidParameterValueException"
    assert client.list_tags(Resource=arn(name))["Tags"] == {"team": "b"}


def test_the_cli_puts_and_reads_settings(server, functions, name):
    functions.create(name, CODE)
    aws = lambda *arguments: server.aws("lambda", *arguments, "--function-name", name).stdout
    aws("put-function-event-invoke-config", "--maximum-retry-attempts", "1")
    assert json.loads(aws("get-function-event-invoke-config"))["MaximumRetryAttempts"] == 1
    aws("delete-function-event-invoke-config")
    assert json.loads(aws("get-runtime-management-config"))["UpdateRuntimeOn"] == "Auto"
    aws("put-function-recursion-config", "--recursive-loop", "Allow")
    assert json.loads(aws("get-function-recursion-config")) == {"RecursiveLoop": "Allow"}
    assert aws("get-function-code-signing-config").strip() in ("", "{}")
