"""EventBridge through boto3 and the AWS CLI: rules to every kind of target, archives and replays, API destinations, crashes."""

import json
import threading
import time

import pytest
from botocore.exceptions import ClientError

from endpoint import Endpoint
from harness import ACCOUNT, REGION, ROLE, eventually, python

EVENTS = "events.amazonaws.com"


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def open_queue(sqs, name, service=EVENTS):
    """A queue that EventBridge may send to: its URL and ARN."""
    queue = arn("sqs", name)
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": queue}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"], queue


def received(sqs, url, wanted=1, seconds=10):
    """So many messages, received and deleted."""
    got = []
    end = time.monotonic() + seconds
    while len(got) < wanted and time.monotonic() < end:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
        )
        for message in answer.get("Messages", []):
            got.append(message)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert len(got) >= wanted, (len(got), wanted)
    return got


def entry(source, detail, **more):
    return {"Source": source, "DetailType": "type", "Detail": json.dumps(detail)} | more


@pytest.fixture
def events(server):
    return server.client("events")


@pytest.fixture
def sqs(server):
    return server.client("sqs")


@pytest.fixture
def endpoint():
    made = Endpoint()
    yield made
    made.end()


def test_an_event_is_in_the_queue_when_put_events_has_answered(events, sqs, name):
    url, queue = open_queue(sqs, name)
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name], "detail": {"n": [{"numeric": [">", 1]}]}}))
    transformer = {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"n": <n>, "rule": "<aws.events.rule-name>"}'}
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": queue}, {"Id": "2", "Arn": queue, "InputTransformer": transformer}])
    answer = events.put_events(Entries=[entry(name, {"n": 2}), entry(name, {"n": 1})])
    assert answer["FailedEntryCount"] == 0
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    bodies = [json.loads(message["Body"]) for message in got]
    whole = next(body for body in bodies if "id" in body)
    assert whole["id"] == answer["Entries"][0]["EventId"] and whole["detail"] == {"n": 2}
    assert {"n": 2, "rule": name} in bodies and len(bodies) == 2


def test_a_function_a_topic_and_another_bus_get_the_event(server, events, sqs, functions, name):
    url, queue = open_queue(sqs, name, "sns.amazonaws.com")
    events_url, events_queue = open_queue(sqs, f"{name}-bus")
    functions.create(name, python("def handler(event, context):\n    print('got', event['detail']['n'], event['source'])"))
    functions.lambda_.add_permission(
        FunctionName=name, StatementId="events", Action="lambda:InvokeFunction", Principal=EVENTS,
        SourceArn=arn("events", f"rule/{name}"),
    )
    sns = server.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": EVENTS}, "Action": "sns:Publish", "Resource": topic}
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": events_queue}])
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    targets = [
        {"Id": "function", "Arn": arn("lambda", f"function:{name}")},
        {"Id": "topic", "Arn": topic},
        {"Id": "bus", "Arn": bus, "RoleArn": ROLE},
    ]
    assert events.put_targets(Rule=name, Targets=targets)["FailedEntryCount"] == 0
    sent = events.put_events(Entries=[entry(name, {"n": 5})])["Entries"][0]["EventId"]
    assert json.loads(received(sqs, url)[0]["Body"])["id"] == sent
    assert json.loads(received(sqs, events_url)[0]["Body"])["id"] == sent
    eventually(lambda: any("got 5" in line for line in functions.messages(name)), what="the function's line")


def test_the_end_of_a_function_is_an_event_on_a_bus(events, sqs, functions, name):
    url, queue = open_queue(sqs, name)
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    pattern = {"source": ["lambda"], "detail-type": [{"suffix": "Success"}], "detail": {"responsePayload": {"n": [3]}}}
    events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": queue}])
    functions.create(name, python("def handler(event, context):\n    return {'n': event['n'] + 1}"))
    functions.lambda_.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": bus}}
    )
    functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 2}')
    event = json.loads(received(sqs, url, seconds=30)[0]["Body"])
    assert event["detail"]["requestPayload"] == {"n": 2} and event["account"] == ACCOUNT


def test_a_log_group_keeps_events(server, events, name):
    logs = server.client("logs")
    group = f"/aws/events/{name}"
    logs.create_log_group(logGroupName=group)
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn("logs", f"log-group:{group}")}])
    events.put_events(Entries=[entry(name, {"n": n}) for n in range(5)])
    seen = lambda: [json.loads(it["message"])["detail"]["n"] for it in logs.filter_log_events(logGroupName=group)["events"]]
    eventually(lambda: sorted(seen()) == [0, 1, 2, 3, 4], what="five log events")


def test_what_a_target_may_not_get_is_a_dead_letter(events, sqs, name):
    url, dead = open_queue(sqs, f"{name}-dlq")
    closed = sqs.create_queue(QueueName=name)["QueueUrl"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    target = {"Id": "1", "Arn": arn("sqs", name), "DeadLetterConfig": {"Arn": dead}}
    events.put_targets(Rule=name, Targets=[target])
    events.put_events(Entries=[entry(name, {"n": 1})])
    letter = received(sqs, url)[0]
    attributes = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS" and attributes["TARGET_ARN"] == arn("sqs", name)
    assert attributes["RULE_ARN"] == arn("events", f"rule/{name}")
    assert json.loads(letter["Body"])["detail"] == {"n": 1}
    assert "Messages" not in sqs.receive_message(QueueUrl=closed)


def test_an_api_destination_is_called_and_tried_again(events, sqs, endpoint, name):
    url, dead = open_queue(sqs, f"{name}-dlq")
    parameters = {
        "OAuthParameters": {
            "ClientParameters": {"ClientID": "me", "ClientSecret": "secret"},
            "AuthorizationEndpoint": f"{endpoint.url}/token",
            "HttpMethod": "POST",
        },
        "InvocationHttpParameters": {"HeaderParameters": [{"Key": "x-team", "Value": "a", "IsValueSecret": True}]},
    }
    endpoint.answers.append((200, {}, b'{"access_token": "t1", "expires_in": 3600}'))
    connection = events.create_connection(
        Name=name, AuthorizationType="OAUTH_CLIENT_CREDENTIALS", AuthParameters=parameters
    )["ConnectionArn"]
    state = lambda: events.describe_connection(Name=name)["ConnectionState"]
    eventually(lambda: state() == "AUTHORIZED", what="an authorised connection")
    assert endpoint.asked[0][2] == b"grant%5Ftype=client%5Fcredentials&client%5Fid=me&client%5Fsecret=secret"
    shown = events.describe_connection(Name=name)["AuthParameters"]
    assert shown["OAuthParameters"]["ClientParameters"] == {"ClientID": "me"}
    assert shown["InvocationHttpParameters"]["HeaderParameters"] == [{"Key": "x-team", "IsValueSecret": True}]
    destination = events.create_api_destination(
        Name=name, ConnectionArn=connection, InvocationEndpoint=f"{endpoint.url}/orders/*", HttpMethod="POST"
    )["ApiDestinationArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    target = {
        "Id": "1", "Arn": destination, "RoleArn": ROLE, "InputPath": "$.detail",
        "HttpParameters": {"PathParameterValues": ["$.detail.id"]},
        "DeadLetterConfig": {"Arn": dead}, "RetryPolicy": {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60},
    }
    events.put_targets(Rule=name, Targets=[target])
    endpoint.answers += [(503, {"retry-after": "1"}, b""), (200, {}, b"")]
    events.put_events(Entries=[entry(name, {"id": "7"})])
    eventually(lambda: len(endpoint.asked) == 3, what="two calls")
    path, headers, body, first = endpoint.asked[1]
    headers = {key.lower(): value for key, value in headers.items()}
    assert (path, json.loads(body)) == ("/orders/7", {"id": "7"})
    assert (headers["authorization"], headers["x-team"]) == ("Bearer t1", "a")
    assert headers["user-agent"] == "Amazon/EventBridge/ApiDestinations"
    assert endpoint.asked[2][3] - first >= 0.9
    endpoint.answers += [(500, {}, b"")] * 2
    events.put_events(Entries=[entry(name, {"id": "8"})])
    letter = received(sqs, url, seconds=20)[0]
    attributes = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts" and attributes["RETRY_ATTEMPTS"] == "1"


def test_a_replay_brings_archived_events_back(events, sqs, name):
    url, queue = open_queue(sqs, name)
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    archive = events.create_archive(ArchiveName=name[:48], EventSourceArn=bus, RetentionDays=1)["ArchiveArn"]
    base = int(time.time()) - 1000
    events.put_events(Entries=[entry(name, {"n": n}, EventBusName=name, Time=base + (7 * n) % 10) for n in range(10)])
    assert events.describe_archive(ArchiveName=name[:48])["EventCount"] == 10
    events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"replay-name": [name]}))
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": queue}])
    events.start_replay(
        ReplayName=name, EventSourceArn=archive, EventStartTime=base, EventEndTime=base + 5, Destination={"Arn": bus}
    )
    eventually(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED", what="the replay's end")
    got = [json.loads(message["Body"]) for message in received(sqs, url, 5)]
    assert len(got) == 5 and all(event["replay-name"] == name for event in got)


def test_the_aws_cli_makes_a_rule_and_puts_events(server, sqs, name, tmp_path):
    url, queue = open_queue(sqs, name)
    run = lambda *arguments: json.loads(server.aws("events", *arguments).stdout or "null")
    made = run("put-rule", "--name", name, "--event-pattern", json.dumps({"source": [name]}))
    assert made["RuleArn"] == arn("events", f"rule/{name}")
    assert run("put-targets", "--rule", name, "--targets", f"Id=1,Arn={queue}")["FailedEntryCount"] == 0
    entries = tmp_path / "entries.json"
    entries.write_text(json.dumps([entry(name, {"n": 1})]))
    assert run("put-events", "--entries", f"file://{entries}")["FailedEntryCount"] == 0
    assert json.loads(received(sqs, url)[0]["Body"])["source"] == name
    tested = run("test-event-pattern", "--event-pattern", '{"source":["a"]}', "--event", '{"source":"a"}')
    assert tested == {"Result": True}
    refused = server.aws("events", "put-rule", "--name", name, "--event-pattern", '{"a":1}', check=False)
    assert "InvalidEventPatternException" in refused.stderr and '"a" must be an object or an array' in refused.stderr


def test_what_is_not_there_is_said(events, name):
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    for call, arguments, code in [
        (events.put_targets, {"Rule": name, "Targets": [{"Id": "1", "Arn": arn("states", "stateMachine:m")}]}, "NotImplementedException"),
        (events.list_event_sources, {}, "NotImplementedException"),
        (events.describe_rule, {"Name": "none"}, "ResourceNotFoundException"),
        (events.put_rule, {"Name": name, "ScheduleExpression": "rate(0 minutes)"}, "ValidationException"),
    ]:
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        assert caught.value.response["Error"]["Code"] == code, caught.value


def test_accepted_events_and_schedules_outlive_a_kill(own, name):
    server = own().start()
    events, sqs = server.client("events"), server.client("sqs")
    url, queue = open_queue(sqs, "crash")
    ticks, tick_queue = open_queue(sqs, "ticks")
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["s"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": queue}])
    events.put_rule(Name="tick", ScheduleExpression="rate(1 minute)")
    events.put_targets(Rule="tick", Targets=[{"Id": "1", "Arn": tick_queue}])
    begun, accepted, stop = time.monotonic(), [], threading.Event()

    def send():
        number = 0
        while not stop.is_set():
            try:
                answer = events.put_events(Entries=[entry("s", {"n": number})])
                accepted.append(answer["Entries"][0]["EventId"])
            except Exception:
                return
            number += 1

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(1.5)
    server.kill()
    stop.set()
    sender.join(30)
    assert len(accepted) > 10
    # The schedule comes due while the server is down.
    time.sleep(max(0.0, 62 - (time.monotonic() - begun)))
    server.restart()
    sqs = server.client("sqs")
    got = {json.loads(message["Body"])["id"] for message in received(sqs, url, len(accepted), seconds=60)}
    assert set(accepted) <= got
    tick = json.loads(received(sqs, ticks, seconds=20)[0]["Body"])
    assert tick["detail-type"] == "Scheduled Event" and tick["resources"] == [arn("events", "rule/tick")]
    assert "Messages" not in sqs.receive_message(QueueUrl=ticks, WaitTimeSeconds=2)
