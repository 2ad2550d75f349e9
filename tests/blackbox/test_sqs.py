"""SQS through boto3, the AWS CLI and bare HTTP in both protocols."""

import hashlib
import json
import subprocess
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, aws_cli, eventually, python

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


@pytest.fixture
def sqs(server):
    return server.client("sqs")


@pytest.fixture
def queue(sqs, name):
    return sqs.create_queue(QueueName=name)["QueueUrl"]


def arn(url):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def counts(sqs, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(got[one]) for one in names)


def query(server, path, **parameters):
    """One request of the query protocol: (status, the answer's root element)."""
    body = urllib.parse.urlencode(parameters).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": f"sqs.localhost:{server.port}"}
    status, _, answer = server.raw("POST", path, body, headers)
    return status, ElementTree.fromstring(answer)


def test_a_message_goes_round(sqs, queue):
    attributes = {"kind": {"DataType": "String", "StringValue": "tëst"}, "raw": {"DataType": "Binary", "BinaryValue": b"\0\xff"}}
    sent = sqs.send_message(QueueUrl=queue, MessageBody="héllo", MessageAttributes=attributes)
    assert sent["MD5OfMessageBody"] == hashlib.md5("héllo".encode()).hexdigest()
    got = sqs.receive_message(QueueUrl=queue, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"][0]
    assert got["Body"] == "héllo" and got["MessageAttributes"] == attributes and got["MessageId"] == sent["MessageId"]
    assert got["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert got["Attributes"]["ApproximateReceiveCount"] == "1" and got["Attributes"]["SenderId"]
    assert counts(sqs, queue) == (0, 1, 0)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"])
    assert counts(sqs, queue) == (0, 0, 0)
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


def test_a_receiver_that_waits_is_woken_at_once(sqs, queue):
    def later():
        time.sleep(0.5)
        return time.monotonic(), sqs.send_message(QueueUrl=queue, MessageBody="now")

    with ThreadPoolExecutor() as pool:
        sending = pool.submit(later)
        got = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)
        woken = time.monotonic()
    assert got["Messages"][0]["Body"] == "now"
    assert woken - sending.result()[0] < 2
    begun = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
    assert 0.9 < time.monotonic() - begun < 5


def test_both_protocols_speak_of_the_same_queue(server, sqs, queue, name):
    path = urllib.parse.urlparse(queue).path
    form = {"Action": "SendMessage", "Version": "2012-11-05", "QueueUrl": queue}
    status, answer = query(server, path, **form, MessageBody="by form")
    assert status == 200, ElementTree.tostring(answer)
    assert answer.find(f".//{NAMESPACE}MD5OfMessageBody").text == hashlib.md5(b"by form").hexdigest()
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "by form"
    sqs.send_message(QueueUrl=queue, MessageBody="by json")
    form = {"Action": "ReceiveMessage", "Version": "2012-11-05", "QueueUrl": queue, "AttributeName.1": "All"}
    status, answer = query(server, "/", **form)
    assert status == 200 and answer.find(f".//{NAMESPACE}Body").text == "by json"
    missing = queue + "-none"
    status, answer = query(server, "/", Action="SendMessage", Version="2012-11-05", QueueUrl=missing, MessageBody="x")
    assert status == 400
    assert answer.find(f".//{NAMESPACE}Code").text == "AWS.SimpleQueueService.NonExistentQueue"
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.send_message(QueueUrl=missing, MessageBody="x")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert caught.value.response["Error"]["QueryErrorCode"] == "QueueDoesNotExist"


def test_a_form_sent_to_a_queues_own_address_means_that_queue(server, sqs, queue, name):
    path = urllib.parse.urlparse(queue).path
    status, answer = query(server, path, Action="SendMessage", MessageBody="by path")
    assert status == 200, ElementTree.tostring(answer)
    for address in (path, f"/queue/{REGION}{path}"):
        target = f"{address}?Action=ReceiveMessage&VisibilityTimeout=0"
        status, _, body = server.raw("GET", target, headers={"Host": f"sqs.localhost:{server.port}"})
        assert status == 200 and b"by path" in body, body
    # Another queue that is named in the form is meant all the same.
    other = sqs.create_queue(QueueName=f"{name}-other")["QueueUrl"]
    status, _ = query(server, path, Action="SendMessage", MessageBody="elsewhere", QueueUrl=other)
    assert status == 200 and counts(sqs, other) == (1, 0, 0)


@pytest.mark.parametrize("strategy", ["off", "path", "domain", "standard"])
def test_addresses_are_given_in_every_form_and_all_are_understood(own, monkeypatch, strategy):
    monkeypatch.setenv("SQS_ENDPOINT_STRATEGY", strategy)
    server = own().start()
    host = f"localhost:{server.port}"
    given = {
        "off": f"http://{host}/{ACCOUNT}/q",
        "path": f"http://{host}/queue/eu-west-1/{ACCOUNT}/q",
        "domain": f"http://eu-west-1.queue.{host}/{ACCOUNT}/q",
        "standard": f"http://sqs.eu-west-1.{host}/{ACCOUNT}/q",
    }

    def ask(action, host, path="/", **members):
        body = urllib.parse.urlencode({"Action": action, **members}).encode()
        scope = "Credential=test/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=0"
        headers = {"Host": host, "Content-Type": "application/x-www-form-urlencoded", "Authorization": f"AWS4-HMAC-SHA256 {scope}"}
        status, _, answer = server.raw("POST", path, body, headers)
        assert status == 200, answer
        return ElementTree.fromstring(answer)

    url = ask("CreateQueue", host, QueueName="q").find(f".//{NAMESPACE}QueueUrl").text
    assert url == given[strategy]
    for number, address in enumerate(given.values()):
        parts = urllib.parse.urlparse(address)
        ask("SendMessage", host, QueueUrl=address, MessageBody=str(number))
        ask("SendMessage", parts.netloc, parts.path, MessageBody=str(number))
        # Without a signature the address alone tells the region.
        if number:
            body = b"Action=GetQueueAttributes&AttributeName.1=ApproximateNumberOfMessages"
            headers = {"Host": parts.netloc, "Content-Type": "application/x-www-form-urlencoded"}
            status, _, answer = server.raw("POST", parts.path, body, headers)
            assert status == 200 and str(2 * number + 2).encode() in answer, (address, answer)


def test_fifo_queues_keep_groups_in_order(sqs, name):
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
    for number in range(6):
        sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId=f"g{number % 2}")
    again = sqs.send_message(QueueUrl=url, MessageBody="0", MessageGroupId="g0")
    assert again["SequenceNumber"]
    first = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2, AttributeNames=["All"])["Messages"]
    assert [one["Body"] for one in first] == ["0", "2"]
    second = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [one["Body"] for one in second] == ["1", "3", "5"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    for one in first:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    assert [one["Body"] for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]] == ["4"]
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x")[:2] == (
        "MissingParameter",
        "The request must contain the parameter MessageGroupId.",
    )


def test_dead_letters_are_kept_and_moved_back(sqs, queue, name):
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [queue]
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    assert sqs.receive_message(QueueUrl=queue)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert counts(sqs, dead) == (1, 0, 0)
    sqs.start_message_move_task(SourceArn=arn(dead))
    task = eventually(
        lambda: [one for one in sqs.list_message_move_tasks(SourceArn=arn(dead))["Results"] if one["Status"] == "COMPLETED"],
        what="the move",
    )[0]
    assert task["ApproximateNumberOfMessagesMoved"] == 1
    assert counts(sqs, dead) == (0, 0, 0) and counts(sqs, queue) == (1, 0, 0)


def test_the_command_line_works_unchanged(server, queue, name):
    def aws(*arguments):
        # Version 1 of the CLI has a host name of its own for SQS: the variable alone does not reach it.
        command = [aws_cli(), "sqs", *arguments, "--endpoint-url", server.endpoint]
        done = subprocess.run(command, env=server.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    assert aws("get-queue-url", "--queue-name", name)["QueueUrl"] == queue
    aws("send-message", "--queue-url", queue, "--message-body", "from the shell")
    got = aws("receive-message", "--queue-url", queue)["Messages"][0]
    assert got["Body"] == "from the shell"
    aws("change-message-visibility", "--queue-url", queue, "--receipt-handle", got["ReceiptHandle"], "--visibility-timeout", "0")
    got = aws("receive-message", "--queue-url", queue, "--wait-time-seconds", "1")["Messages"][0]
    aws("delete-message", "--queue-url", queue, "--receipt-handle", got["ReceiptHandle"])
    aws("tag-queue", "--queue-url", queue, "--tags", "team=a")
    assert aws("list-queue-tags", "--queue-url", queue)["Tags"] == {"team": "a"}
    assert queue in aws("list-queues", "--queue-name-prefix", name)["QueueUrls"]
    aws("purge-queue", "--queue-url", queue)
    aws("delete-queue", "--queue-url", queue)


def test_contending_receivers_never_share_a_message(server, queue):
    count, receivers = 400, 16
    sqs = server.client("sqs")
    for start in range(0, count, 10):
        entries = [{"Id": str(number), "MessageBody": str(start + number)} for number in range(10)]
        assert len(sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]) == 10
    seen, lock = [], threading.Lock()

    def drain():
        own = server.client("sqs")
        while True:
            got = own.receive_message(QueueUrl=queue, MaxNumberOfMessages=7).get("Messages", [])
            if not got:
                return
            with lock:
                seen.extend(one["Body"] for one in got)
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(got)]
            own.delete_message_batch(QueueUrl=queue, Entries=entries)

    with ThreadPoolExecutor(receivers) as pool:
        list(pool.map(lambda _: drain(), range(receivers)))
    assert sorted(map(int, seen)) == list(range(count))
    assert counts(sqs, queue) == (0, 0, 0)


def test_what_was_acknowledged_survives_a_kill(own):
    server = own().start()
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="kept", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    for number in range(30):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    flying = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=flying[0]["ReceiptHandle"])
    server.kill()
    server.restart()
    sqs = server.client("sqs")
    assert counts(sqs, url) == (20, 9, 0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=flying[1]["ReceiptHandle"])
    assert counts(sqs, url) == (20, 8, 0)
    bodies = set()
    while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies |= {one["Body"] for one in got}
    assert bodies == {str(number) for number in range(30)} - {one["Body"] for one in flying}


def test_a_functions_end_is_told_to_queues(server, functions, sqs, name):
    good = sqs.create_queue(QueueName=f"{name}-good")["QueueUrl"]
    bad = sqs.create_queue(QueueName=f"{name}-bad")["QueueUrl"]
    letters = sqs.create_queue(QueueName=f"{name}-letters")["QueueUrl"]
    code = "def handler(event, context):\n    if event.get('fail'):\n        raise ValueError('as asked')\n    return {'seen': event}\n"
    client = server.client("lambda")
    functions.create(name, python(code), DeadLetterConfig={"TargetArn": arn(letters)})
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": arn(good)}, "OnFailure": {"Destination": arn(bad)}},
    )

    def told(url):
        got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, AttributeNames=["All"], MessageAttributeNames=["All"])
        return got["Messages"][0]

    client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    record = json.loads(told(good)["Body"])
    assert record["responsePayload"] == {"seen": {"n": 1}} and record["requestContext"]["condition"] == "Success"
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": true}')
    record = json.loads(told(bad)["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    letter = told(letters)
    assert json.loads(letter["Body"]) == {"fail": True}
    assert letter["MessageAttributes"]["ErrorMessage"]["StringValue"] == "as asked"
    assert refused(client.update_function_configuration, FunctionName=name, DeadLetterConfig={"TargetArn": arn(letters) + "-none"})[
        0
    ] == ("InvalidParameterValueException")
