"""Where the end of an event invocation is told, end to end: topics and buses (queues and functions: test_async), and who may
start a function on behalf of a topic."""

import json
import time

import pytest

from harness import ACCOUNT, REGION, eventually, python

FAILS = python("def handler(event, context): raise ValueError('no')")
SAYS = python("import json\ndef handler(event, context): print('got', json.dumps(event))")


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


@pytest.fixture
def sqs(server):
    return server.client("sqs")


def open_queue(sqs, name, service):
    """A queue to which a service may send; its URL."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]


def first(sqs, queue):
    look = lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages")
    (message,) = eventually(look, seconds=40, what="a message")
    return json.loads(message["Body"])


def send(functions, name, payload):
    answer = functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(payload).encode())
    assert answer["StatusCode"] == 202


def test_a_failure_is_told_to_a_topic_and_from_there_to_its_queue(server, functions, sqs, name):
    sns = server.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = open_queue(sqs, name, "sns.amazonaws.com")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn("sqs", name))
    functions.create(name, FAILS, DeadLetterConfig={"TargetArn": topic})
    functions.lambda_.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": topic}}
    )
    send(functions, name, {"n": 1})
    told = [first(sqs, queue), first(sqs, queue)]
    bodies = [json.loads(one["Message"]) for one in told]
    (record,) = [body for body in bodies if "requestContext" in body]
    assert record["requestContext"]["condition"] == "RetriesExhausted" and record["requestPayload"] == {"n": 1}
    (letter,) = [one for one in told if json.loads(one["Message"]) == {"n": 1}]
    assert letter["MessageAttributes"]["ErrorMessage"]["Value"] == "no"
    assert letter["MessageAttributes"]["ErrorCode"]["Value"] == "200"


def test_a_success_is_told_to_a_bus_and_its_rules_pass_it_on(server, functions, sqs, name):
    events = server.client("events")
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    queue = open_queue(sqs, name, "events.amazonaws.com")
    pattern = json.dumps({"source": ["lambda"], "detail-type": ["Lambda Function Invocation Result - Success"]})
    events.put_rule(Name=name, EventBusName=name, EventPattern=pattern)
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn("sqs", name)}])
    functions.create(name, python("def handler(event, context): return 'done'"))
    functions.lambda_.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": bus}}
    )
    send(functions, name, {"n": 2})
    event = first(sqs, queue)
    assert event["source"] == "lambda" and event["account"] == ACCOUNT
    assert event["resources"] == [bus, arn("lambda", f"function:{name}:$LATEST")]
    assert event["detail"]["responsePayload"] == "done" and event["detail"]["requestPayload"] == {"n": 2}


def test_a_topic_starts_a_function_that_permits_it_and_no_other(server, functions, name):
    sns = server.client("sns")
    topic, other = sns.create_topic(Name=name)["TopicArn"], sns.create_topic(Name=f"{name}-other")["TopicArn"]
    functions.create(name, SAYS)
    for one in (topic, other):
        sns.subscribe(TopicArn=one, Protocol="lambda", Endpoint=arn("lambda", f"function:{name}"))
    sns.publish(TopicArn=topic, Message="too early")
    functions.lambda_.add_permission(
        FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com", SourceArn=topic
    )
    sns.publish(TopicArn=other, Message="not permitted")
    sns.publish(TopicArn=topic, Message="permitted")

    def got():
        return [json.loads(line[4:]) for line in functions.messages(name) if line.startswith("got ")]

    (event,) = eventually(got, what="the event")
    assert event["Records"][0]["Sns"]["Message"] == "permitted"
    time.sleep(0.5)
    assert len(got()) == 1
