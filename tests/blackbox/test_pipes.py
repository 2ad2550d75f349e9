"""EventBridge Pipes through boto3 and the AWS CLI: from a queue through filters, enrichment and templates to targets."""

import json
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from endpoint import Endpoint
from harness import ACCOUNT, REGION, ROLE, aws_cli, eventually, free_port, python


@pytest.fixture
def pipes(server):
    return server.client("pipes")


@pytest.fixture
def endpoint():
    made = Endpoint()
    yield made
    made.end()


@pytest.fixture
def sqs(server):
    return server.client("sqs")


@pytest.fixture
def source(sqs, name):
    return sqs.create_queue(QueueName=f"{name}-source", Attributes={"VisibilityTimeout": "2"})["QueueUrl"]


@pytest.fixture
def sink(sqs, name):
    return sqs.create_queue(QueueName=f"{name}-sink")["QueueUrl"]


def arn(url):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def run(pipes, name, state="RUNNING"):
    eventually(lambda: pipes.describe_pipe(Name=name)["CurrentState"] == state, what=f"{name} {state}")


def drain(sqs, url, count, seconds=20):
    got = []

    def look():
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, AttributeNames=["All"])
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            got.append(message)
        return len(got) >= count

    eventually(look, seconds=seconds, what=f"{count} messages")
    return got


def empty(sqs, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return all(got[one] == "0" for one in names)


def test_a_pipe_goes_round(pipes, source, sink, name):
    made = pipes.create_pipe(Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE, Tags={"a": "1"},
                             Description="d", DesiredState="STOPPED",
                             SourceParameters={"SqsQueueParameters": {"BatchSize": 5}})
    assert made["Arn"] == f"arn:aws:pipes:{REGION}:{ACCOUNT}:pipe/{name}"
    assert (made["CurrentState"], made["DesiredState"]) == ("CREATING", "STOPPED")
    run(pipes, name, "STOPPED")
    got = pipes.describe_pipe(Name=name)
    assert got["SourceParameters"] == {"SqsQueueParameters": {"BatchSize": 5}} and got["Tags"] == {"a": "1"}
    assert refused(pipes.create_pipe, Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE)[::2] == (
        "ConflictException", 409)
    pipes.tag_resource(resourceArn=made["Arn"], tags={"b": "2"})
    pipes.untag_resource(resourceArn=made["Arn"], tagKeys=["a"])
    assert pipes.list_tags_for_resource(resourceArn=made["Arn"])["tags"] == {"b": "2"}
    assert pipes.start_pipe(Name=name)["CurrentState"] == "STARTING"
    run(pipes, name)
    listed = pipes.list_pipes(NamePrefix=name)["Pipes"]
    assert [(one["Name"], one["CurrentState"]) for one in listed] == [(name, "RUNNING")]
    pipes.update_pipe(Name=name, RoleArn=ROLE, Description="e")
    run(pipes, name)
    assert pipes.describe_pipe(Name=name)["Description"] == "e"
    assert pipes.stop_pipe(Name=name)["CurrentState"] == "STOPPING"
    run(pipes, name, "STOPPED")
    assert pipes.delete_pipe(Name=name)["CurrentState"] == "DELETING"
    eventually(lambda: not pipes.list_pipes(NamePrefix=name)["Pipes"], what="its end")
    assert refused(pipes.describe_pipe, Name=name)[::2] == ("NotFoundException", 404)


def test_what_is_no_pipe_is_refused(pipes, source, sink, name):
    def make(**members):
        return refused(pipes.create_pipe, **(dict(Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE) | members))

    stream = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
    assert make(Source=stream)[::2] == ("NotImplementedException", 501)
    assert make(Target=f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m")[::2] == ("NotImplementedException", 501)
    filters = {"FilterCriteria": {"Filters": [{"Pattern": '{"body": "x"}'}]}}
    assert make(SourceParameters=filters)[0] == "ValidationException"
    assert make(TargetParameters={"InputTemplate": "<$..>"})[0] == "ValidationException"
    assert make(SourceParameters={"SqsQueueParameters": {"BatchSize": 11}})[0] == "ValidationException"


def test_filters_and_templates_shape_what_arrives(pipes, sqs, source, sink, name):
    pipes.create_pipe(
        Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE,
        SourceParameters={"FilterCriteria": {"Filters": [{"Pattern": '{"body": {"kind": ["order"]}}'}]}},
        TargetParameters={"InputTemplate": '{"id": <$.body.id>, "pipe": "<aws.pipes.pipe-name>"}'})
    run(pipes, name)
    sqs.send_message(QueueUrl=source, MessageBody="not json")
    sqs.send_message(QueueUrl=source, MessageBody='{"kind": "other", "id": 1}')
    sqs.send_message(QueueUrl=source, MessageBody='{"kind": "order", "id": 2}')
    assert [json.loads(message["Body"]) for message in drain(sqs, sink, 1)] == [{"id": 2, "pipe": name}]
    eventually(lambda: empty(sqs, source), what="an empty source")


def test_a_fifo_target_gets_its_group_from_the_event(pipes, sqs, source, name):
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes=attributes)["QueueUrl"]
    pipes.create_pipe(Name=name, Source=arn(source), Target=arn(url), RoleArn=ROLE,
                      TargetParameters={"SqsQueueParameters": {"MessageGroupId": "$.body.customer"}})
    run(pipes, name)
    sqs.send_message(QueueUrl=source, MessageBody='{"customer": "c-7"}')
    message = drain(sqs, url, 1)[0]
    assert message["Attributes"]["MessageGroupId"] == "c-7"
    assert json.loads(message["Body"])["body"] == '{"customer": "c-7"}'


def test_a_function_enriches(pipes, sqs, functions, source, sink, name):
    functions.create(name, python("def handler(events, context):\n    return [{'doubled': int(e['body']) * 2} for e in events]\n"))
    pipes.create_pipe(Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE,
                      Enrichment=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
    run(pipes, name)
    for number in range(3):
        sqs.send_message(QueueUrl=source, MessageBody=str(number))
    got = sorted(json.loads(message["Body"])["doubled"] for message in drain(sqs, sink, 3))
    assert got == [0, 2, 4]
    eventually(lambda: empty(sqs, source), what="an empty source")


def test_a_function_answers_for_each_message(pipes, sqs, functions, source, name):
    functions.create(name, python(
        "def handler(events, context):\n"
        "    bad = [e['messageId'] for e in events if e['body'] == 'bad' and e['attributes']['ApproximateReceiveCount'] == '1']\n"
        "    print('got', [e['body'] for e in events])\n"
        "    return {'batchItemFailures': [{'itemIdentifier': one} for one in bad]}\n"))
    pipes.create_pipe(Name=name, Source=arn(source), RoleArn=ROLE,
                      Target=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
    run(pipes, name)
    entries = [{"Id": body, "MessageBody": body} for body in ("good", "bad")]
    sqs.send_message_batch(QueueUrl=source, Entries=entries)
    eventually(lambda: empty(sqs, source), what="an empty source")
    lines = [line for line in functions.messages(name) if line.startswith("got")]
    assert sum("bad" in line for line in lines) == 2 and sum("good" in line for line in lines) == 1


def test_a_function_that_nobody_waits_for_gets_the_batch(pipes, sqs, functions, source, name):
    functions.create(name, python("def handler(events, context):\n    print('got', [e['body'] for e in events])\n"))
    pipes.create_pipe(Name=name, Source=arn(source), RoleArn=ROLE,
                      Target=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
                      TargetParameters={"LambdaFunctionParameters": {"InvocationType": "FIRE_AND_FORGET"}})
    run(pipes, name)
    sqs.send_message(QueueUrl=source, MessageBody="hello")
    eventually(lambda: any("got ['hello']" in line for line in functions.messages(name)), what="the function's line")


def test_what_a_target_refuses_stays_until_the_redrive_policy_takes_it(pipes, sqs, name):
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 2})
    source = sqs.create_queue(QueueName=f"{name}-s", Attributes={"VisibilityTimeout": "1", "RedrivePolicy": policy})["QueueUrl"]
    sink = sqs.create_queue(QueueName=f"{name}-t")["QueueUrl"]
    pipes.create_pipe(Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE)
    run(pipes, name)
    sqs.delete_queue(QueueUrl=sink)
    sqs.send_message(QueueUrl=source, MessageBody="lost?")
    assert [message["Body"] for message in drain(sqs, dead, 1)] == ["lost?"]


def destination(server, name, endpoint, path):
    """An API destination with a key, at a path of a server of the test's own."""
    events = server.client("events")
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "secret"}}
    connection = events.create_connection(Name=name, AuthorizationType="API_KEY", AuthParameters=key)["ConnectionArn"]
    return events.create_api_destination(
        Name=name, ConnectionArn=connection, InvocationEndpoint=endpoint.url + path, HttpMethod="POST"
    )["ApiDestinationArn"]


def test_an_api_destination_is_the_target(server, pipes, sqs, source, endpoint, name):
    target = destination(server, name, endpoint, "/orders/*")
    pipes.create_pipe(
        Name=name, Source=arn(source), Target=target, RoleArn=ROLE,
        TargetParameters={
            "InputTemplate": '{"id": <$.body.id>}',
            "HttpParameters": {"PathParameterValues": ["$.body.id"], "QueryStringParameters": {"from": "pipe"},
                               "HeaderParameters": {"x-kind": "$.body.kind"}},
        })
    run(pipes, name)
    endpoint.answers.append((503, {}, b"later"))
    sqs.send_message(QueueUrl=source, MessageBody='{"id": "7", "kind": "k"}')
    eventually(lambda: len(endpoint.asked) == 2, what="the second call, after the message was seen again")
    assert endpoint.asked[0][:3:2] == endpoint.asked[1][:3:2]
    path, headers, body, _ = endpoint.asked[1]
    headers = {key.lower(): value for key, value in headers.items()}
    assert (path, json.loads(body)) == ("/orders/7?from=pipe", {"id": "7"})
    assert (headers["x-key"], headers["x-kind"]) == ("secret", "k")
    eventually(lambda: empty(sqs, source), what="an empty source")


def test_an_api_destination_enriches_and_the_pipe_logs_its_steps(server, pipes, sqs, source, sink, endpoint, name):
    logs = server.client("logs")
    pipes.create_pipe(
        Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE,
        Enrichment=destination(server, name, endpoint, "/price"),
        EnrichmentParameters={"InputTemplate": '{"sku": <$.body>}'},
        TargetParameters={"InputTemplate": "<$.price>"},
        LogConfiguration={"Level": "TRACE", "IncludeExecutionData": ["ALL"], "CloudwatchLogsLogDestination": {
            "LogGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/pipes/{name}"}})
    run(pipes, name)
    endpoint.answers.append((200, {"content-type": "application/json"}, b'{"price": 12.5}'))
    sqs.send_message(QueueUrl=source, MessageBody="shoe")
    assert [message["Body"] for message in drain(sqs, sink, 1)] == ["12.5"]
    assert json.loads(endpoint.asked[0][2]) == {"sku": "shoe"}
    # What fails is told with the endpoint's status, and the message comes again.
    endpoint.answers += [(500, {}, b""), (200, {}, b'{"price": 1}')]
    sqs.send_message(QueueUrl=source, MessageBody="hat")
    assert [message["Body"] for message in drain(sqs, sink, 1)] == ["1"]

    def records():
        found = logs.filter_log_events(logGroupName=f"/pipes/{name}", logStreamNames=[name])["events"]
        return [json.loads(event["message"]) for event in found]

    eventually(lambda: sum(one["messageType"] == "ExecutionSucceeded" for one in records()) == 2, what="both ends in the log")
    steps = [one["messageType"] for one in records()]
    assert steps[:7] == ["ExecutionStarted", "EnrichmentStageEntered", "EnrichmentTransformationStarted",
                         "EnrichmentTransformationSucceeded", "EnrichmentInvocationStarted", "EnrichmentInvocationSucceeded",
                         "EnrichmentStageSucceeded"]
    failed = next(one for one in records() if one["messageType"] == "EnrichmentInvocationFailed")
    assert (failed["logLevel"], failed["error"]["httpStatusCode"]) == ("ERROR", 500)
    request = next(one for one in records() if one["messageType"] == "EnrichmentInvocationStarted")
    assert request["awsRequest"] == '{"sku": "shoe"}' and request["truncatedFields"] == []


def test_a_log_group_gets_the_stream_and_the_time_that_the_pipe_says(server, pipes, sqs, source, name):
    logs = server.client("logs")
    logs.create_log_group(logGroupName=name)
    at = int(time.time() * 1000) - 5000
    pipes.create_pipe(
        Name=name, Source=arn(source), Target=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}", RoleArn=ROLE,
        TargetParameters={"InputTemplate": "order <$.body.id>",
                          "CloudWatchLogsParameters": {"LogStreamName": "orders", "Timestamp": "$.body.at"}})
    run(pipes, name)
    sqs.send_message(QueueUrl=source, MessageBody=json.dumps({"id": 7, "at": at}))

    def events():
        return logs.filter_log_events(logGroupName=name, logStreamNames=["orders"])["events"]

    eventually(lambda: logs.describe_log_streams(logGroupName=name)["logStreams"] and events(), what="the log event")
    assert [(one["message"], one["timestamp"]) for one in events()] == [("order 7", at)]


def test_logs_go_to_a_log_group_and_nowhere_else(pipes, source, sink, name):
    for destination in ({"S3LogDestination": {"BucketName": "abc", "BucketOwner": ACCOUNT}},
                        {"FirehoseLogDestination": {"DeliveryStreamArn": f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/s"}}):
        code, message, status = refused(pipes.create_pipe, Name=name, Source=arn(source), Target=arn(sink), RoleArn=ROLE,
                                        LogConfiguration={"Level": "INFO"} | destination)
        assert (code, status) == ("NotImplementedException", 501) and next(iter(destination)) in message


def test_a_missing_source_fails_the_creation(pipes, sink, name):
    pipes.create_pipe(Name=name, Source=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-nowhere", Target=arn(sink), RoleArn=ROLE)
    run(pipes, name, "CREATE_FAILED")
    assert "does not exist" in pipes.describe_pipe(Name=name)["StateReason"]


def test_the_command_line_client_makes_and_shows_pipes(server, source, sink, name):
    def aws(*words):
        run = subprocess.run([aws_cli(), *words], env=server.environment(), capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout) if run.stdout.strip() else None

    aws("pipes", "create-pipe", "--name", name, "--source", arn(source), "--target", arn(sink), "--role-arn", ROLE)
    eventually(lambda: aws("pipes", "describe-pipe", "--name", name)["CurrentState"] == "RUNNING")
    assert [one["Name"] for one in aws("pipes", "list-pipes", "--name-prefix", name)["Pipes"]] == [name]
    aws("pipes", "stop-pipe", "--name", name)
    eventually(lambda: aws("pipes", "describe-pipe", "--name", name)["CurrentState"] == "STOPPED")
    aws("pipes", "delete-pipe", "--name", name)


@pytest.mark.slow
def test_a_message_is_with_the_queue_or_with_the_target_across_kills(own):
    """Two hundred messages through a pipe whose server is killed again and again: each arrives exactly once."""
    server = own().start()
    sqs, pipes = server.client("sqs"), server.client("pipes")
    source = sqs.create_queue(QueueName="source", Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
    sink = sqs.create_queue(QueueName="sink", Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
    pipes.create_pipe(Name="p", Source=arn(source), Target=arn(sink), RoleArn=ROLE,
                      SourceParameters={"SqsQueueParameters": {"BatchSize": 2}}, TargetParameters={"InputTemplate": "<$.body>"})
    sent = []
    for round_ in range(8):
        for index in range(25):
            body = f"m-{round_}-{index}"
            sqs.send_message(QueueUrl=source, MessageBody=body)
            sent.append(body)
        time.sleep(0.05 * round_)
        server.kill()
        # Somebody's outgoing connection may have taken the old one.
        server.port = free_port()
        server.restart()
        sqs = server.client("sqs")
    eventually(lambda: empty(sqs, source), seconds=60, what="an empty source")
    bodies = []
    while messages := sqs.receive_message(QueueUrl=sink, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        bodies += [message["Body"] for message in messages]
    assert sorted(bodies) == sorted(sent)
