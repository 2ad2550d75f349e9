"""Asynchronous invocations: what becomes of an event, and who is told."""

import json

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, eventually, python

SAYS = python("import json\ndef handler(event, context): print('got', json.dumps(event)); return {'said': True}")
FAILS = python("def handler(event, context): raise ValueError('intended')")


def send(functions, name, event):
    answer = functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
    assert answer["StatusCode"] == 202 and answer["Payload"].read() == b""
    return answer["ResponseMetadata"]["RequestId"]


def got(functions, name, count=1):
    """The events that a function printed."""

    def look():
        found = [line[4:] for line in functions.messages(name) if line.startswith("got ")]
        return [json.loads(line) for line in found] if len(found) >= count else None

    return eventually(look, what=f"{count} events of {name}")


def arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def test_a_function_learns_what_became_of_anothers_event(functions, name):
    functions.create(f"{name}-told", SAYS)
    for kind, code, condition in (("good", SAYS, "Success"), ("bad", FAILS, "RetriesExhausted")):
        functions.create(f"{name}-{kind}", code)
        functions.lambda_.put_function_event_invoke_config(
            FunctionName=f"{name}-{kind}",
            MaximumRetryAttempts=0,
            DestinationConfig={
                "OnSuccess": {"Destination": arn(f"{name}-told")},
                "OnFailure": {"Destination": arn(f"{name}-told")},
            },
        )
        request = send(functions, f"{name}-{kind}", {"kind": kind})
        told = {one["requestContext"]["requestId"]: one for one in got(functions, f"{name}-told", 1 if kind == "good" else 2)}
        record = told[request]
        assert record["version"] == "1.0" and record["timestamp"].endswith("Z")
        assert record["requestContext"] == {
            "requestId": request, "functionArn": f"{arn(f'{name}-{kind}')}:$LATEST", "condition": condition,
            "approximateInvokeCount": 1,
        }  # fmt: skip
        assert record["requestPayload"] == {"kind": kind}
        context = {"statusCode": 200, "executedVersion": "$LATEST"}
        if kind == "good":
            assert record["responseContext"] == context and record["responsePayload"] == {"said": True}
        else:
            assert record["responseContext"] == context | {"functionError": "Unhandled"}
            assert record["responsePayload"]["errorMessage"] == "intended"


def test_with_a_reserved_concurrency_of_zero_an_event_is_given_up_at_once(functions, name):
    functions.create(name, SAYS)
    functions.create(f"{name}-told", SAYS)
    functions.lambda_.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn(f"{name}-told")}}
    )
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(functions, name, {"n": 1})
    (record,) = got(functions, f"{name}-told")
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert "responseContext" not in record and record["requestPayload"] == {"n": 1}
    assert not functions.messages(name)


@pytest.fixture
def queue(server, name):
    """A queue's URL and ARN, and a way to receive one message of it."""
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]

    def receive():
        answer = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
        )
        (message,) = answer["Messages"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return message

    return attributes["QueueArn"], receive


def test_a_queue_is_told(functions, name, queue):
    arn_of_queue, receive = queue
    functions.create(name, SAYS)
    functions.lambda_.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn_of_queue}}
    )
    request = send(functions, name, {"n": 1})
    message = receive()
    record = json.loads(message["Body"])
    assert record["requestContext"]["requestId"] == request and record["requestContext"]["condition"] == "Success"
    assert record["responsePayload"] == {"said": True}
    assert message["Attributes"]["AWSTraceHeader"].startswith("Root=1-")


def test_a_dead_letter_queue_gets_the_event(functions, name, queue):
    arn_of_queue, receive = queue
    functions.create(name, FAILS, DeadLetterConfig={"TargetArn": arn_of_queue})
    functions.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    request = send(functions, name, {"raise_error": 1})
    message = receive()
    assert json.loads(message["Body"]) == {"raise_error": 1}
    assert {name: (value["DataType"], value["StringValue"]) for name, value in message["MessageAttributes"].items()} == {
        "ErrorCode": ("Number", "200"), "ErrorMessage": ("String", "intended"), "RequestID": ("String", request),
    }  # fmt: skip


def test_a_target_that_nobody_serves_or_that_is_not_there_is_refused(functions, name):
    functions.create(name, SAYS)
    bucket = "arn:aws:s3:::bucket"
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:absent"
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:absent"
    for target, said in ((bucket, "`s3`"), (topic, topic), (queue, queue)):
        with pytest.raises(ClientError) as refused:
            functions.lambda_.put_function_event_invoke_config(
                FunctionName=name, DestinationConfig={"OnFailure": {"Destination": target}}
            )
        error = refused.value.response["Error"]
        assert error["Code"] == "InvalidParameterValueException" and said in error["Message"], error
        with pytest.raises(ClientError) as refused:
            functions.lambda_.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": target})
        assert target in refused.value.response["Error"]["Message"]


def test_the_command_line_configures_and_sends(functions, server, name):
    functions.create(name, SAYS)
    put = server.aws(
        "lambda", "put-function-event-invoke-config", "--function-name", name, "--maximum-retry-attempts", "1",
        "--maximum-event-age-in-seconds", "60",
    )  # fmt: skip
    shown = json.loads(put.stdout)
    assert shown["MaximumRetryAttempts"] == 1 and shown["MaximumEventAgeInSeconds"] == 60
    server.aws("lambda", "invoke", "--function-name", name, "--invocation-type", "Event", "--payload", "{}", "/dev/null")
    assert got(functions, name) == [{}]
