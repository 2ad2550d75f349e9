"""Reserved concurrency and the account's settings."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, Functions, eventually, python

CODE = python("import time\ndef handler(event, context):\n    time.sleep((event or {}).get('sleep', 0))\n    return 'done'")


def error(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_reserved_concurrency_bounds_a_function_from_the_next_call_on(functions, name):
    client = functions.lambda_
    functions.create(name, CODE)
    assert functions.invoke(name)[0] == "done"
    assert client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)["ReservedConcurrentExecutions"] == 0
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=name)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 2}

    def call(_):
        try:
            return functions.invoke(name, {"sleep": 1})[0]
        except ClientError as refused:
            return refused.response["Reason"]

    with ThreadPoolExecutor(5) as pool:
        answers = sorted(pool.map(call, range(5)))
    assert answers == ["ReservedFunctionConcurrentInvocationLimitExceeded"] * 3 + ["done"] * 2
    client.delete_function_concurrency(FunctionName=name)
    client.delete_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(call, range(5))) == {"done"}


def test_what_is_reserved_leaves_enough_to_the_others(own, monkeypatch):
    monkeypatch.setenv("PILEUS_FUNCTIONS_CONCURRENCY", "50")
    server = own().start()
    functions = Functions(server)
    client = functions.lambda_
    settings = client.get_account_settings()["AccountLimit"]
    assert (settings["ConcurrentExecutions"], settings["UnreservedConcurrentExecutions"]) == (50, 50)
    functions.create("f", CODE)
    below = (
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [5].",
    )
    assert error(client.put_function_concurrency, FunctionName="f", ReservedConcurrentExecutions=46) == below
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=45)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 5
    functions.create("g", CODE)
    assert error(client.put_function_concurrency, FunctionName="g", ReservedConcurrentExecutions=1) == below
    # After a start a reservation counts although its function was never called.
    server.kill()
    server.restart()
    functions = Functions(server)

    def call(_):
        try:
            return functions.invoke("g", {"sleep": 2})[0]
        except ClientError as refused:
            return refused.response["Reason"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))
    assert answers.count("done") == 5, answers
    assert answers.count("ConcurrentInvocationLimitExceeded") == 3, answers
    functions.lambda_.delete_function(FunctionName="f")
    assert functions.lambda_.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 50


def test_account_settings_count_functions_and_code(own):
    server = own().start()
    functions = Functions(server)
    client = functions.lambda_
    usage = lambda: client.get_account_settings()["AccountUsage"]
    assert (usage()["FunctionCount"], usage()["TotalCodeSize"]) == (0, 0)
    functions.create("f", CODE)
    client.publish_version(FunctionName="f")
    client.publish_layer_version(LayerName="l", Content={"ZipFile": CODE})
    assert (usage()["FunctionCount"], usage()["TotalCodeSize"]) == (1, 3 * len(CODE))
    client.delete_layer_version(LayerName="l", VersionNumber=1)
    client.delete_function(FunctionName="f")
    eventually(lambda: (usage()["FunctionCount"], usage()["TotalCodeSize"]) == (0, 0), what="nothing to be counted")
    limits = client.get_account_settings()["AccountLimit"]
    assert (limits["CodeSizeUnzipped"], limits["CodeSizeZipped"], limits["TotalCodeSize"]) == (262144000, 52428800, 80530636800)


def test_errors_of_the_family(functions, name):
    client = functions.lambda_
    missing = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:absent"
    assert error(client.put_function_concurrency, FunctionName="absent", ReservedConcurrentExecutions=1) == (
        "ResourceNotFoundException", f"Function not found: {missing}:$LATEST",
    )  # fmt: skip
    for call in [client.get_function_concurrency, client.delete_function_concurrency]:
        assert error(call, FunctionName="absent") == ("ResourceNotFoundException", f"Function not found: {missing}")
    functions.create(name, CODE)
    code, message = error(client.put_function_concurrency, FunctionName=f"{name}:1", ReservedConcurrentExecutions=1)
    assert code == "InvalidParameterValueException" and message.startswith("This operation is permitted on Lambda functions only.")


def test_code_is_updated_under_load_without_a_lost_or_failed_call(functions, name):
    """Calls go on while the code changes; none fails, and none that begins after an acknowledgement sees older code."""
    client = functions.lambda_

    def code(number):
        return python(f"def handler(event, context): return {number}")

    functions.create(name, code(0))
    acknowledged, failures, stale, answered = [0], [], [], [0]
    stop = threading.Event()

    def caller():
        while not stop.is_set():
            least = acknowledged[0]
            try:
                payload, answer = functions.invoke(name)
            except Exception as failure:
                failures.append(repr(failure))
                continue
            if "FunctionError" in answer:
                failures.append(payload)
            elif payload < least:
                stale.append((least, payload))
            answered[0] += 1

    callers = [threading.Thread(target=caller) for _ in range(6)]
    for thread in callers:
        thread.start()
    try:
        for number in range(1, 13):
            client.update_function_code(FunctionName=name, ZipFile=code(number))
            acknowledged[0] = number
            functions.updated(name)
            time.sleep(0.1)
    finally:
        stop.set()
        for thread in callers:
            thread.join()
    assert not failures, failures[:5]
    assert not stale, stale[:5]
    assert answered[0] > 24, "there was load"


def test_the_cli_reserves(server, functions, name):
    functions.create(name, CODE)
    server.aws("lambda", "put-function-concurrency", "--function-name", name, "--reserved-concurrent-executions", "3")
    shown = json.loads(server.aws("lambda", "get-function-concurrency", "--function-name", name).stdout)
    assert shown == {"ReservedConcurrentExecutions": 3}
    server.aws("lambda", "delete-function-concurrency", "--function-name", name)
