"""Event source mappings through boto3 and the AWS CLI: what comes to a queue comes to its function."""

import json
import statistics
import time

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, Functions, archive, bundle_boto3, eventually, python
from signing import CLIENT

SAYS = python("import json\ndef handler(event, context):\n    for record in event['Records']: print('got', record['body'])")


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


@pytest.fixture
def sqs(server):
    return server.client("sqs")


def connect(functions, queue, function, **members):
    """A mapping from a queue's URL to a function, waited for."""
    source = arn("sqs", queue.rsplit("/", 1)[1])
    made = functions.lambda_.create_event_source_mapping(EventSourceArn=source, FunctionName=function, **members)
    assert made["State"] == "Creating"
    reaches(functions, made["UUID"], "Enabled")
    return made


def reaches(functions, uuid, state):
    eventually(lambda: functions.lambda_.get_event_source_mapping(UUID=uuid)["State"] == state, what=state)


def got(functions, name):
    return [line.split(" ", 1)[1].strip() for line in functions.messages(name) if line.startswith("got ")]


def left(sqs, queue):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    said = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return tuple(int(said[one]) for one in names)


def test_a_message_comes_to_its_function_in_the_shape_of_aws(functions, sqs, name):
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    functions.create(name, python("import json\ndef handler(event, context): print('got', json.dumps(event))"))
    made = connect(functions, queue, name)
    sent = sqs.send_message(
        QueueUrl=queue,
        MessageBody="héllo",
        MessageAttributes={
            "kind": {"DataType": "String", "StringValue": "x"},
            "raw": {"DataType": "Binary", "BinaryValue": b"ab"},
        },
    )
    (event,) = eventually(lambda: got(functions, name), what="the event")
    (record,) = json.loads(event)["Records"]
    assert record["messageId"] == sent["MessageId"] and record["md5OfBody"] == sent["MD5OfMessageBody"]
    assert record["body"] == "héllo" and record["eventSource"] == "aws:sqs" and record["awsRegion"] == REGION
    assert record["eventSourceARN"] == made["EventSourceArn"]
    assert record["md5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert record["messageAttributes"]["kind"]["stringValue"] == "x"
    assert record["messageAttributes"]["raw"]["binaryValue"] == "YWI="
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    eventually(lambda: left(sqs, queue) == (0, 0), what="an empty queue")


def test_the_life_of_a_mapping_by_the_command_line(server, functions, sqs, name):
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    functions.create(name, SAYS)

    def aws(*arguments):
        return json.loads(server.aws("lambda", *arguments, "--output", "json").stdout)

    source = arn("sqs", name)
    made = aws("create-event-source-mapping", "--function-name", name, "--event-source-arn", source, "--batch-size", "5")
    uuid = made["UUID"]
    reaches(functions, uuid, "Enabled")
    assert made["EventSourceMappingArn"] == arn("lambda", f"event-source-mapping:{uuid}")
    listed = aws("list-event-source-mappings", "--event-source-arn", source)["EventSourceMappings"]
    assert [one["UUID"] for one in listed] == [uuid]
    changed = aws("update-event-source-mapping", "--uuid", uuid, "--no-enabled", "--batch-size", "7")
    assert (changed["State"], changed["BatchSize"]) == ("Disabling", 7)
    reaches(functions, uuid, "Disabled")
    sqs.send_message(QueueUrl=queue, MessageBody="later")
    time.sleep(0.5)
    assert got(functions, name) == [] and left(sqs, queue) == (1, 0)
    assert aws("update-event-source-mapping", "--uuid", uuid, "--enabled")["State"] == "Enabling"
    eventually(lambda: got(functions, name) == ["later"], what="the message")
    again = server.aws(
        "lambda", "create-event-source-mapping", "--function-name", name, "--event-source-arn", source, check=False
    )
    assert "ResourceConflictException" in again.stderr and uuid in again.stderr
    assert aws("delete-event-source-mapping", "--uuid", uuid)["State"] == "Deleting"

    def gone():
        with pytest.raises(ClientError) as caught:
            functions.lambda_.get_event_source_mapping(UUID=uuid)
        return caught.value.response["Error"]["Code"] == "ResourceNotFoundException"

    eventually(lambda: functions.lambda_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"] == [])
    assert gone()


def test_only_what_failed_comes_back_and_then_is_a_dead_letter(functions, sqs, name):
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": arn("sqs", f"{name}-dead"), "maxReceiveCount": 2})
    attributes = {"VisibilityTimeout": "3", "RedrivePolicy": redrive}
    queue = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    functions.create(
        name,
        python(
            "def handler(event, context):\n"
            "    for record in event['Records']: print('got', record['body'])\n"
            "    bad = [r['messageId'] for r in event['Records'] if r['body'] == 'bad']\n"
            "    return {'batchItemFailures': [{'itemIdentifier': one} for one in bad]}"
        ),
    )
    for body in ["good", "bad", "fine"]:
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    connect(functions, queue, name, FunctionResponseTypes=["ReportBatchItemFailures"])
    eventually(lambda: left(sqs, dead) == (1, 0), seconds=40, what="the dead letter")
    assert left(sqs, queue) == (0, 0)
    assert sorted(got(functions, name)) == ["bad", "bad", "fine", "good"]
    assert sqs.receive_message(QueueUrl=dead)["Messages"][0]["Body"] == "bad"


def test_filters_windows_and_fifo_groups(functions, sqs, name):
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    functions.create(name, python("def handler(event, context): print('got', len(event['Records']), event['Records'][0]['body'])"))
    connect(
        functions,
        queue,
        name,
        BatchSize=50,
        MaximumBatchingWindowInSeconds=2,
        FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": {"wanted": [True]}})}]},
    )
    for number in range(12):
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"wanted": number % 2 == 0, "n": number}))
    eventually(lambda: got(functions, name) == ['6 {"wanted": true, "n": 0}'], what="one batch of what passes")
    eventually(lambda: left(sqs, queue) == (0, 0), what="an empty queue")
    fifo = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    functions.create(f"{name}-fifo", SAYS)
    connect(functions, fifo, f"{name}-fifo", BatchSize=3)
    for number in range(10):
        for group in "ab":
            body = f"{group}{number}"
            sqs.send_message(QueueUrl=fifo, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body)
    seen = eventually(lambda: (all_ := got(functions, f"{name}-fifo")) and len(all_) == 20 and all_, what="all of them")
    for group in "ab":
        assert [body for body in seen if body[0] == group] == [f"{group}{number}" for number in range(10)]


def test_what_cannot_be_is_refused(functions, sqs, name):
    queue = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
    functions.create(name, SAYS)
    create = functions.lambda_.create_event_source_mapping

    def refused(**members):
        with pytest.raises(ClientError) as caught:
            create(**members)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]

    source = arn("sqs", name)
    wrong = "InvalidParameterValueException"
    assert refused(FunctionName=name) == (wrong, "Unrecognized event source.")
    assert refused(FunctionName="nobody", EventSourceArn=source) == (wrong, "Function does not exist")
    text = "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds"
    assert refused(FunctionName=name, EventSourceArn=source) == (wrong, text)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "30"})
    filters = {"Filters": [{"Pattern": '{"body": "x"}'}]}
    assert refused(FunctionName=name, EventSourceArn=source, FilterCriteria=filters) == (wrong, "Invalid filter pattern definition.")
    stream = arn("kinesis", "stream/s")
    code, text = refused(FunctionName=name, EventSourceArn=stream, StartingPosition="LATEST")
    assert code == "NotImplementedException" and "Kinesis" in text


LOOPS = python(
    CLIENT
    + """
def handler(event, context):
    for record in event["Records"]:
        print("got", record["body"])
        message = {"QueueUrl": os.environ["QUEUE"], "MessageBody": str(int(record["body"]) + 1)}
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"}
        status, said = call("/", json.dumps(message).encode(), service="sqs", **headers)
        assert status == 200, (status, said)
"""
)


ADDRESSES = """
import json, os, boto3
sqs = boto3.client("sqs")
def handler(event, context):
    inside = sqs.get_queue_url(QueueName=event["name"])["QueueUrl"]
    for url in (inside, event["url"]):
        sqs.send_message(QueueUrl=url, MessageBody="by " + url)
    got = sqs.receive_message(QueueUrl=event["url"], MaxNumberOfMessages=10)["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(got)]
    sqs.delete_message_batch(QueueUrl=inside, Entries=entries)
    sqs.send_message(QueueUrl=inside, MessageBody="last")
    return {"inside": inside, "endpoint": os.environ["AWS_ENDPOINT_URL"], "got": sorted(one["Body"] for one in got)}
"""


def test_an_address_of_a_queue_holds_inside_and_outside(functions, sqs, name, tmp_path):
    """A client's address works in a sandbox, where its host and port are nobody's, and a function's works outside."""
    outside = sqs.create_queue(QueueName=name)["QueueUrl"]
    bundle_boto3(tmp_path, "sqs")
    packed = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    functions.create(name, archive({"app.py": ADDRESSES} | packed), Timeout=30, MemorySize=512)
    said, answer = functions.invoke(name, {"name": name, "url": outside})
    assert "FunctionError" not in answer, said
    assert said["inside"].startswith(said["endpoint"] + "/") and said["inside"].endswith(f"/{ACCOUNT}/{name}")
    assert said["got"] == sorted(["by " + said["inside"], "by " + outside])
    (last,) = sqs.receive_message(QueueUrl=said["inside"], WaitTimeSeconds=2)["Messages"]
    assert last["Body"] == "last"
    sqs.delete_message(QueueUrl=outside, ReceiptHandle=last["ReceiptHandle"])
    assert left(sqs, outside) == (0, 0)


def test_a_loop_through_a_queue_is_cut_and_told_to_the_functions_destination(functions, sqs, name):
    told = sqs.create_queue(QueueName=f"{name}-told")["QueueUrl"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    functions.create(name, LOOPS, Timeout=30, Environment={"Variables": {"QUEUE": queue}})
    functions.lambda_.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn("sqs", f"{name}-told")}}
    )
    connect(functions, queue, name)
    sqs.send_message(QueueUrl=queue, MessageBody="1")
    (letter,) = eventually(
        lambda: sqs.receive_message(QueueUrl=told, WaitTimeSeconds=1).get("Messages"), seconds=60, what="the end of the loop"
    )
    record = json.loads(letter["Body"])
    assert record["responsePayload"]["errorType"] == "RecursiveInvocationException"
    assert record["requestPayload"]["Records"][0]["body"] == "17", "sixteen rounds, and no more"
    assert len(got(functions, name)) == 16
    assert left(sqs, queue) == (0, 0)


def test_a_batch_that_a_kill_interrupts_is_done_once_more(own):
    server = own().start()
    functions, sqs = Functions(server), server.client("sqs")
    queue = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "4"})["QueueUrl"]
    functions.create("slow", python("import time\ndef handler(event, context):\n    print('got', event['Records'][0]['body'], flush=True)\n    time.sleep(2)"))
    made = connect(functions, queue, "slow", BatchSize=1)
    for number in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    eventually(lambda: left(sqs, queue) == (0, 3), what="batches that run")
    time.sleep(0.5)
    server.kill()
    server.restart()
    functions, sqs = Functions(server), server.client("sqs")
    assert sum(left(sqs, queue)) == 3, "nothing was done, nothing is lost"
    reaches(functions, made["UUID"], "Enabled")
    eventually(lambda: left(sqs, queue) == (0, 0), seconds=40, what="an empty queue")
    seen = got(functions, "slow")
    assert {"0", "1", "2"} <= set(seen) and len(seen) <= 6, seen
    # A stop lets what runs come to its end.
    sqs.send_message(QueueUrl=queue, MessageBody="last")
    eventually(lambda: left(sqs, queue) == (0, 1), what="a batch that runs")
    assert server.stop() == 0
    server.restart()
    assert left(server.client("sqs"), queue) == (0, 0), "it was done before the end"


def test_a_message_starts_a_warm_function_without_a_pause(functions, sqs, name):
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    functions.create(
        name,
        python("import time\ndef handler(event, context): print('got', time.time() - float(event['Records'][0]['body']))"),
    )
    connect(functions, queue, name, BatchSize=1)
    for _ in range(60):
        sqs.send_message(QueueUrl=queue, MessageBody=repr(time.time()))
        time.sleep(0.03)
    took = eventually(lambda: len(all_ := got(functions, name)) == 60 and all_, what="all of them")
    warm = sorted(float(one) * 1000 for one in took[10:])
    print(f"message in to handler: p50 {statistics.median(warm):.2f} ms, p90 {warm[45]:.2f} ms")
