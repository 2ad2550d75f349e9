"""Provisioned concurrency: environments that are there before anybody asks."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, Functions, eventually, python

CODE = python(
    """
import os, time, uuid
ME = uuid.uuid4().hex
def handler(event, context):
    time.sleep((event or {}).get("sleep", 0))
    return {"me": ME, "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "version": context.function_version}
"""
)


def error(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def arn(name, qualifier):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}:{qualifier}"


def put(functions, name, qualifier, count):
    return functions.lambda_.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def get(functions, name, qualifier):
    return functions.lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)


def ready(functions, name, qualifier):
    return eventually(
        lambda: (now := get(functions, name, qualifier))["Status"] == "READY" and now, what=f"{qualifier} with its environments"
    )


@pytest.fixture
def versioned(functions, name):
    """A function with versions 1 and 2."""
    functions.create(name, CODE)
    functions.lambda_.publish_version(FunctionName=name)
    functions.lambda_.update_function_configuration(FunctionName=name, Description="second")
    functions.updated(name)
    functions.lambda_.publish_version(FunctionName=name)
    yield name
    functions.lambda_.delete_function(FunctionName=name)


def test_environments_are_ready_before_the_first_call_and_spill_over(functions, versioned):
    answer = put(functions, versioned, "1", 3)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (answer["Status"], answer["RequestedProvisionedConcurrentExecutions"], answer["AllocatedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 3, 0)
    now = ready(functions, versioned, "1")
    assert (now["AllocatedProvisionedConcurrentExecutions"], now["AvailableProvisionedConcurrentExecutions"]) == (3, 3)
    payload, _ = functions.invoke(f"{versioned}:1")
    assert payload["type"] == "provisioned-concurrency"
    # Five at once: three find what is there, two spill over to environments on demand.
    with ThreadPoolExecutor(5) as pool:
        answers = [payload for payload, _ in pool.map(lambda _: functions.invoke(f"{versioned}:1", {"sleep": 1}), range(5))]
    types = sorted(answer["type"] for answer in answers)
    assert types == ["on-demand"] * 2 + ["provisioned-concurrency"] * 3
    assert functions.invoke(f"{versioned}:2")[0]["type"] == "on-demand"
    assert put(functions, versioned, "1", 1)["RequestedProvisionedConcurrentExecutions"] == 1
    assert ready(functions, versioned, "1")["AllocatedProvisionedConcurrentExecutions"] == 1
    functions.lambda_.delete_provisioned_concurrency_config(FunctionName=versioned, Qualifier="1")
    assert error(functions.lambda_.get_provisioned_concurrency_config, FunctionName=versioned, Qualifier="1") == (
        "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function",
    )  # fmt: skip


def test_an_alias_takes_its_environments_along_without_a_cold_call(functions, versioned):
    client = functions.lambda_
    client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    put(functions, versioned, "live", 2)
    ready(functions, versioned, "live")
    assert functions.invoke(f"{versioned}:live")[0] | {"me": ""} == {"me": "", "type": "provisioned-concurrency", "version": "1"}
    client.update_alias(FunctionName=versioned, Name="live", FunctionVersion="2")
    ready(functions, versioned, "live")
    assert functions.invoke(f"{versioned}:live")[0] | {"me": ""} == {"me": "", "type": "provisioned-concurrency", "version": "2"}
    # By and by the first version's environments end.
    eventually(lambda: functions.invoke(f"{versioned}:1")[0]["type"] == "on-demand", what="the old ones to end")
    listed = client.list_provisioned_concurrency_configs(FunctionName=versioned)["ProvisionedConcurrencyConfigs"]
    assert [(found["FunctionArn"], found["Status"]) for found in listed] == [(arn(versioned, "live"), "READY")]
    client.delete_alias(FunctionName=versioned, Name="live")
    assert client.list_provisioned_concurrency_configs(FunctionName=versioned)["ProvisionedConcurrencyConfigs"] == []
    assert error(client.get_provisioned_concurrency_config, FunctionName=versioned, Qualifier="live") == (
        "ResourceNotFoundException", f"Cannot find alias arn: {arn(versioned, 'live')}",
    )  # fmt: skip


def test_what_aws_refuses_is_refused(functions, versioned):
    client = functions.lambda_
    client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    client.create_alias(FunctionName=versioned, Name="latest", FunctionVersion="$LATEST")

    def refused(qualifier, count=1, name=versioned):
        return error(
            client.put_provisioned_concurrency_config, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
        )

    wrong = "InvalidParameterValueException"
    unpublished = (wrong, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    assert refused("$LATEST") == unpublished and refused("latest") == unpublished
    assert refused("9") == ("ResourceNotFoundException", f"Function not found: {arn(versioned, 9)}")
    assert refused("none") == ("ResourceNotFoundException", f"Cannot find alias arn: {arn(versioned, 'none')}")
    assert refused("1", name="absent")[0] == "ResourceNotFoundException"
    put(functions, versioned, "1", 1)
    assert refused("live") == (
        "ResourceConflictException", "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    )  # fmt: skip
    client.delete_provisioned_concurrency_config(FunctionName=versioned, Qualifier="1")
    put(functions, versioned, "live", 1)
    assert refused("1") == ("ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias")
    limit = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert refused("2", limit + 1) == (
        wrong, f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{limit}].",
    )  # fmt: skip
    assert refused("2", limit)[1].startswith("Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below")
    client.put_function_concurrency(FunctionName=versioned, ReservedConcurrentExecutions=2)
    assert refused("2", 2) == (
        wrong, "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    )  # fmt: skip
    put(functions, versioned, "2", 1)
    assert error(client.put_function_concurrency, FunctionName=versioned, ReservedConcurrentExecutions=1) == (
        wrong, " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].",
    )  # fmt: skip


def test_a_version_that_cannot_start_says_so(functions, name):
    functions.create(name, python("raise RuntimeError('no luck')\ndef handler(event, context): return 1"))
    functions.lambda_.publish_version(FunctionName=name)
    put(functions, name, "1", 1)
    failed = eventually(lambda: (now := get(functions, name, "1"))["Status"] == "FAILED" and now, what="a failure")
    assert failed["StatusReason"] and failed["AllocatedProvisionedConcurrentExecutions"] == 0
    functions.lambda_.delete_function(FunctionName=name)


def test_what_is_configured_is_there_again_after_kill_9(own):
    server = own().start()
    functions = Functions(server)
    functions.create("f", CODE)
    functions.lambda_.publish_version(FunctionName="f")
    put(functions, "f", "1", 2)
    ready(functions, "f", "1")
    server.kill()
    server.restart()
    functions = Functions(server)
    ready(functions, "f", "1")
    assert functions.invoke("f:1")[0]["type"] == "provisioned-concurrency"
    # A function that is gone keeps nothing.
    functions.lambda_.delete_function(FunctionName="f")
    time.sleep(0.5)
    functions.create("f", CODE)
    assert functions.lambda_.list_provisioned_concurrency_configs(FunctionName="f")["ProvisionedConcurrencyConfigs"] == []


def test_the_cli_reads_it(server, functions, versioned):
    server.aws(
        "lambda", "put-provisioned-concurrency-config", "--function-name", versioned, "--qualifier", "2",
        "--provisioned-concurrent-executions", "1",
    )  # fmt: skip
    ready(functions, versioned, "2")
    shown = server.aws("lambda", "get-provisioned-concurrency-config", "--function-name", versioned, "--qualifier", "2").stdout
    assert json.loads(shown)["Status"] == "READY"
    listed = server.aws("lambda", "list-provisioned-concurrency-configs", "--function-name", versioned).stdout
    assert len(json.loads(listed)["ProvisionedConcurrencyConfigs"]) == 1
    server.aws("lambda", "delete-provisioned-concurrency-config", "--function-name", versioned, "--qualifier", "2")
