"""Functions that call functions: loops are cut, depth is not."""

import json

from harness import ACCOUNT, REGION, Functions, eventually, python
from signing import CLIENT

LOOPS = python(
    CLIENT
    + """
def handler(event, context):
    print("round", event["n"])
    headers = {"x-amz-invocation-type": "Event"}
    if event.get("says"):
        headers["x-amzn-trace-id"] = os.environ["_X_AMZN_TRACE_ID"]
    status, _ = invoke(context.function_name, event | {"n": event["n"] + 1}, **headers)
    assert status == 202, status
"""
)
TOLD = python("import json\ndef handler(event, context): print('got', json.dumps(event))")
DEEP = python(
    CLIENT
    + """
def handler(event, context):
    if event["depth"] == 0:
        return 0
    status, below = invoke(context.function_name, {"depth": event["depth"] - 1})
    assert status == 200, (status, below)
    return below + 1
"""
)


def rounds(functions, name):
    return [line for line in functions.messages(name) if line.startswith("round ")]


def test_a_loop_of_events_is_cut_whether_or_not_the_client_passes_the_trace_on(functions, name):
    functions.create(f"{name}-told", TOLD)
    for says in (True, False):
        looping = f"{name}-{'says' if says else 'silent'}"
        functions.create(looping, LOOPS, Timeout=30)
        functions.lambda_.put_function_event_invoke_config(
            FunctionName=looping,
            DestinationConfig={
                "OnFailure": {"Destination": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}-told"}
            },
        )
        functions.lambda_.invoke(
            FunctionName=looping, InvocationType="Event", Payload=json.dumps({"n": 1, "says": says}).encode()
        )
        told = eventually(
            lambda: [line for line in functions.messages(f"{name}-told") if looping in line], seconds=60, what="the end of the loop"
        )
        record = json.loads(told[0][4:])
        assert record["responsePayload"]["errorType"] == "RecursiveInvocationException"
        assert record["requestPayload"]["n"] == 17, "sixteen rounds, and no more"
        assert len(rounds(functions, looping)) == 16


def test_a_loop_that_is_meant_goes_on(functions, name):
    functions.create(name, LOOPS, Timeout=30)
    functions.lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    eventually(lambda: len(rounds(functions, name)) > 24, seconds=60, what="more than sixteen rounds")
    functions.lambda_.delete_function(FunctionName=name)


def test_a_chain_of_calls_deeper_than_any_pool_comes_back(own):
    functions = Functions(own().start())
    functions.create("deep", DEEP, Timeout=120, MemorySize=128)
    payload, answer = functions.invoke("deep", {"depth": 20})
    assert payload == 20 and "FunctionError" not in answer
