"""SQS answers as AWS gave them when asked the same, in both protocols: codes, messages, digests, which members there are."""

import itertools
import json
import time

import pytest
from botocore.exceptions import ClientError

import sqs_protocols
from harness import ACCOUNT, REGION, eventually

_numbers = itertools.count()
ZERO = {
    "ApproximateNumberOfMessages": "0",
    "ApproximateNumberOfMessagesDelayed": "0",
    "ApproximateNumberOfMessagesNotVisible": "0",
}
STANDARD = ZERO | {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
FIFO = STANDARD | {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoQueue": "true",
    "FifoThroughputLimit": "perQueue",
}
FAST = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
INVALID = ("InvalidParameterValue", "InvalidParameterValueException", 400)
NO_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)


@pytest.fixture(params=sqs_protocols.PROTOCOLS)
def protocol(request):
    return request.param


@pytest.fixture
def sqs(server, protocol, tmp_path):
    return sqs_protocols.client(server, protocol, tmp_path)


@pytest.fixture
def make(sqs, protocol):
    """Makes queues with names of their own."""

    def create(suffix="", **attributes):
        name = f"recorded-{protocol}-{next(_numbers)}{suffix}"
        return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    return create


@pytest.fixture
def fifo(make):
    return lambda **attributes: make(".fifo", FifoQueue="true", **attributes)


@pytest.fixture
def refused(protocol):
    """Asserts that a call is refused with this code, and what each protocol says of it."""

    def check(call, expected, message, **members):
        code, query_code, status = expected
        with pytest.raises(ClientError) as caught:
            call(**members)
        answer = caught.value.response
        error = {name: answer["Error"].get(name) for name in ("Code", "Message", "Type")}
        assert error == {"Code": code, "Message": message, "Type": "Sender"}
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
        # Of the query protocol the client sees the old code alone; of the other both, the old one from a header.
        assert answer["Error"].get("QueryErrorCode") == (query_code if protocol == "json" else None)

    return check


def arn(url):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


def attributes(sqs, url, *names):
    """All attributes but those that differ from run to run."""
    got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names) or ["All"]).get("Attributes", {})
    if not names:
        assert got.pop("QueueArn") == arn(url)
        for name in ("CreatedTimestamp", "LastModifiedTimestamp"):
            assert abs(int(got.pop(name)) - time.time()) < 3600
    return got


def receive(sqs, url, **members):
    return sqs.receive_message(QueueUrl=url, **members).get("Messages", [])


def bodies(messages):
    return [one["Body"] for one in messages]


# --- attributes -------------------------------------------------------------------------------------------------------


def test_attributes_as_created_and_as_changed(sqs, make, fifo):
    url = make(MessageRetentionPeriod="604800", ReceiveMessageWaitTimeSeconds="10", VisibilityTimeout="20")
    given = {"MessageRetentionPeriod": "604800", "ReceiveMessageWaitTimeSeconds": "10", "VisibilityTimeout": "20"}
    assert attributes(sqs, url) == STANDARD | given
    changed = {"MaximumMessageSize": "2048", "VisibilityTimeout": "69", "DelaySeconds": "420"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=changed)
    assert attributes(sqs, url) == STANDARD | given | changed
    assert attributes(sqs, make()) == STANDARD
    assert attributes(sqs, fifo()) == FIFO


def test_every_attribute_that_can_be_set_is_shown(sqs, make, fifo):
    common = {"KmsMasterKeyId": "alias/aws/sqs", "DelaySeconds": "13", "MaximumMessageSize": "3232"}
    for maker, base, extra in [
        (make, STANDARD, {"KmsDataKeyReusePeriodSeconds": "297"}),
        (fifo, FIFO, FAST | {"KmsDataKeyReusePeriodSeconds": "200", "ContentBasedDeduplication": "true"}),
    ]:
        dead = maker(RedriveAllowPolicy=json.dumps({"redrivePermission": "allowAll"}))
        redrive = {"deadLetterTargetArn": arn(dead), "maxReceiveCount": 7}
        url = maker(**common, **extra, RedrivePolicy=json.dumps(redrive))
        got = attributes(sqs, url)
        assert json.loads(got.pop("RedrivePolicy")) == redrive
        assert got == base | common | extra | {"SqsManagedSseEnabled": "false"}
        assert json.loads(attributes(sqs, dead, "RedriveAllowPolicy")["RedriveAllowPolicy"]) == {"redrivePermission": "allowAll"}


def test_a_key_comes_and_goes(sqs, make):
    url = make()
    key = {"KmsMasterKeyId": "testKeyId", "KmsDataKeyReusePeriodSeconds": "6000"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=key)
    assert attributes(sqs, url) == STANDARD | key | {"SqsManagedSseEnabled": "false"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": "300"})
    assert attributes(sqs, url) == STANDARD | {"SqsManagedSseEnabled": "false"}


def test_two_kinds_of_encryption_are_refused(sqs, make, refused):
    message = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
    both = {"KmsMasterKeyId": "testKeyId", "SqsManagedSseEnabled": "true"}
    wrong = ("InvalidAttributeName", "InvalidAttributeName", 400)
    refused(sqs.set_queue_attributes, wrong, message, QueueUrl=make(), Attributes=both)


def test_a_queue_that_exists_differs(sqs, make, fifo, refused):
    exists = ("QueueAlreadyExists", "QueueNameExists", 400)
    message = "A queue already exists with the same name and a different value for attribute "
    url = make(DelaySeconds="1")
    name = url.rsplit("/", 1)[1]
    assert sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "1"})["QueueUrl"] == url
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == url
    refused(sqs.create_queue, exists, message + "DelaySeconds", QueueName=name, Attributes={"DelaySeconds": "2"})
    name = fifo(ContentBasedDeduplication="true").rsplit("/", 1)[1]
    changed = {"FifoQueue": "true", "ContentBasedDeduplication": "false"}
    refused(sqs.create_queue, exists, message + "ContentBasedDeduplication", QueueName=name, Attributes=changed)


def test_a_standard_queue_says_nothing_of_fifo(sqs, make, refused):
    unknown = ("InvalidAttributeName", "InvalidAttributeName", 400)
    refused(sqs.create_queue, unknown, "Unknown Attribute FifoQueue.", QueueName="x-no", Attributes={"FifoQueue": "false"})
    for value in ("true", "false"):
        given = {"FifoQueue": value}
        refused(sqs.set_queue_attributes, unknown, "Unknown Attribute FifoQueue.", QueueUrl=make(), Attributes=given)


def test_tags(sqs, make):
    url = make()
    sqs.tag_queue(QueueUrl=url, Tags={"tag1": "value1", "tag2": "value2", "tag3": ""})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"tag1": "value1", "tag2": "value2", "tag3": ""}
    sqs.untag_queue(QueueUrl=url, TagKeys=["tag1", "tag3"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"tag2": "value2"}
    sqs.untag_queue(QueueUrl=url, TagKeys=["tag2"])
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)


def test_queues_are_listed_by_pages(sqs, protocol):
    prefix = f"pages-{protocol}-"
    made = [sqs.create_queue(QueueName=f"{prefix}{number}")["QueueUrl"] for number in range(10)]
    assert sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"] == made
    first = sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2)
    assert first["QueueUrls"] == made[:2]
    rest = sqs.list_queues(QueueNamePrefix=prefix, MaxResults=8, NextToken=first["NextToken"])
    assert rest["QueueUrls"] == made[2:] and "NextToken" not in rest


def test_permissions_come_and_go(sqs, make, refused):
    url = make()
    other = "668614515564"

    def policy():
        got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes")
        return got and json.loads(got["Policy"])

    def statement(label, principal):
        whole = {"Sid": label, "Effect": "Allow", "Principal": {"AWS": principal}}
        return whole | {"Action": "SQS:ReceiveMessage", "Resource": arn(url)}

    def add(label, *accounts):
        return {"QueueUrl": url, "Label": label, "AWSAccountIds": list(accounts), "Actions": ["ReceiveMessage"]}

    root = lambda account: f"arn:aws:iam::{account}:root"  # noqa: E731
    sqs.add_permission(**add("one", ACCOUNT, other))
    got = policy()
    assert (got["Version"], got["Id"]) == ("2008-10-17", f"{arn(url)}/SQSDefaultPolicy")
    (only,) = got["Statement"]
    assert sorted(only["Principal"]["AWS"]) == sorted([root(ACCOUNT), root(other)])
    sqs.remove_permission(QueueUrl=url, Label="one")
    assert policy() is None
    sqs.add_permission(**add("one", ACCOUNT))
    assert policy()["Statement"] == [statement("one", root(ACCOUNT))]
    twice = "Value one for parameter Label is invalid. Reason: Already exists."
    refused(sqs.add_permission, INVALID, twice, **add("one", other))
    sqs.add_permission(**add("two", ACCOUNT))
    assert policy()["Statement"] == [statement("one", root(ACCOUNT)), statement("two", root(ACCOUNT))]
    sqs.remove_permission(QueueUrl=url, Label="one")
    assert policy()["Statement"] == [statement("two", root(ACCOUNT))]
    sqs.remove_permission(QueueUrl=url, Label="two")
    assert policy() is None
    missing = "Value two for parameter Label is invalid. Reason: can't find label."
    refused(sqs.remove_permission, INVALID, missing, QueueUrl=url, Label="two")


def test_a_policy_is_kept_as_it_was_given(sqs, make):
    url = make()
    for actions in (["sqs:SendMessage", "sqs:GetQueueAttributes"], ["sqs:SendMessage", "sqs:DeleteMessage"]):
        statement = {"Effect": "Allow", "Principal": "*", "Action": actions, "Resource": arn(url)}
        given = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": given})
        assert attributes(sqs, url, "Policy") == {"Policy": given}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert attributes(sqs, url, "Policy") == {}


# --- messages ---------------------------------------------------------------------------------------------------------


def test_message_attributes_are_chosen_by_name(sqs, make):
    url = make()
    text = lambda value: {"DataType": "String", "StringValue": value}  # noqa: E731
    given = {"Help.Me": text("Me"), "Hello": text("There"), "General": text("Kenobi")}
    sent = sqs.send_message(QueueUrl=url, MessageBody="msg", MessageAttributes=given)
    assert sent["MD5OfMessageBody"] == "6e2baaf3b97dbeef01c0043275f9a0e7"
    assert sent["MD5OfMessageAttributes"] == "4c360f3fdafd970e05fae2f149d997f5"
    everything = (set(given), "4c360f3fdafd970e05fae2f149d997f5")
    for asked, (names, digest) in [
        ([], (set(), None)),
        (["All"], everything),
        ([".*"], everything),
        (["*"], (set(), None)),
        (["General", "Hello"], ({"General", "Hello"}, "fca026605781cb4126a1e9044df24232")),
        (["Foo", "Help"], (set(), None)),
        (["Foo", "Hello"], ({"Hello"}, "a311262e065454b75da111d535b8dacd")),
        (["Hel.*"], ({"Hello", "Help.Me"}, "83fee93c1bcd8b9a5a923ffacdc636c7")),
        (["AWS."], (set(), None)),
        (["..foo"], (set(), None)),
    ]:
        (got,) = receive(sqs, url, VisibilityTimeout=0, MessageAttributeNames=asked)
        assert set(got.get("MessageAttributes", {})) == names, asked
        assert got.get("MD5OfMessageAttributes") == digest, asked


def test_system_attributes_are_chosen_by_name(sqs, make, protocol):
    url = make()
    sqs.send_message(
        QueueUrl=url, MessageBody="msg", MessageAttributes={"Foo": {"DataType": "String", "StringValue": "Bar"}}
    )
    every = {"ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"}
    for asked, names in [
        ({"MessageSystemAttributeNames": ["All"]}, every),
        ({"MessageSystemAttributeNames": ["SenderId"]}, {"SenderId"}),
        ({"MessageSystemAttributeNames": ["SenderId", "SequenceNumber"]}, {"SenderId"}),
        ({"AttributeNames": ["All"]}, every),
        ({"AttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}, every),
    ]:
        (got,) = receive(sqs, url, VisibilityTimeout=0, **asked)
        assert set(got["Attributes"]) == names, asked
        assert "MessageAttributes" not in got
    (got,) = receive(sqs, url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])
    assert got["MD5OfMessageAttributes"] == "ae7155c6026991b6d54b11589678bf9c" and got["Attributes"]["ApproximateReceiveCount"] == "6"


def test_a_trace_header_travels_with_its_message(sqs, make):
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    url = make()
    system = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    sqs.send_message(QueueUrl=url, MessageBody="test", MessageSystemAttributes=system)
    (got,) = receive(sqs, url, AttributeNames=["SentTimestamp", "AWSTraceHeader"])
    assert got["MD5OfBody"] == "098f6bcd4621d373cade4e832627b4f6"
    assert set(got["Attributes"]) == {"SentTimestamp", "AWSTraceHeader"} and got["Attributes"]["AWSTraceHeader"] == trace


def test_binary_attributes_come_back_as_they_went(sqs, make):
    value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"
    url = make()
    given = {"attr1": {"DataType": "Binary", "BinaryValue": value}}
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=given)
    (got,) = receive(sqs, url, MessageAttributeNames=["All"])
    assert got["MD5OfMessageAttributes"] == "8cbe4db156db8a94db8b801b7addb984" and got["MessageAttributes"] == given


def test_dead_letters_keep_their_attributes(sqs, make):
    dead = make()
    redrive = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 1})
    url = make(RedrivePolicy=redrive, VisibilityTimeout="0")
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    sqs.send_message(
        QueueUrl=url,
        MessageBody="message-1",
        MessageAttributes={"MyAttribute": {"DataType": "String", "StringValue": "foobar"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    sqs.send_message(QueueUrl=url, MessageBody="message-2")
    asked = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
    names = ["AWSTraceHeader", "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SentTimestamp"]
    first = receive(sqs, url, AttributeNames=names, **asked)
    assert bodies(first) == ["message-1", "message-2"]
    assert receive(sqs, url) == []
    one, two = receive(sqs, dead, AttributeNames=[*names, "DeadLetterQueueSourceArn"], **asked)
    assert one["MD5OfMessageAttributes"] == "adb59cd4678ea5a855436b949cd07ab6"
    assert one["MessageId"] == first[0]["MessageId"] and two["MessageId"] == first[1]["MessageId"]
    for got, kept in ((one, first[0]), (two, first[1])):
        told = got["Attributes"]
        assert told["ApproximateReceiveCount"] == "2" and told["DeadLetterQueueSourceArn"] == arn(url)
        assert told["SentTimestamp"] == kept["Attributes"]["SentTimestamp"]
    assert one["Attributes"]["AWSTraceHeader"] == trace


def test_who_deletes_too_late(sqs, make, fifo, refused):
    url = make(VisibilityTimeout="1")
    sqs.send_message(QueueUrl=url, MessageBody="foobar")
    (got,) = receive(sqs, url)
    time.sleep(1.1)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    assert receive(sqs, url) == []
    url = fifo(VisibilityTimeout="1", ContentBasedDeduplication="true")
    sqs.send_message(QueueUrl=url, MessageBody="foobar", MessageGroupId="1")
    (got,) = receive(sqs, url)
    time.sleep(1.1)
    handle = got["ReceiptHandle"]
    message = f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    refused(sqs.delete_message, INVALID, message, QueueUrl=url, ReceiptHandle=handle)


def test_sizes(sqs, make, refused):
    small = make(MaximumMessageSize="1024")
    message = "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."
    refused(sqs.send_message, INVALID, message, QueueUrl=small, MessageBody="a" * 1025)
    sqs.send_message(QueueUrl=small, MessageBody="a" * 1024)
    url = make()
    entries = [{"Id": "1", "MessageBody": "a" * 1048576}, {"Id": "2", "MessageBody": "a"}]
    long = ("AWS.SimpleQueueService.BatchRequestTooLong", "BatchRequestTooLong", 400)
    message = "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."
    refused(sqs.send_message_batch, long, message, QueueUrl=url, Entries=entries)
    entries[0]["MessageBody"] = "a" * 1048575
    assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 2
    wrong = "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
    refused(sqs.receive_message, INVALID, wrong, QueueUrl=url, MaxNumberOfMessages=11)


def test_batches(sqs, make, refused):
    url = make()
    many = ("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "TooManyEntriesInBatchRequest", 400)
    entries = [{"Id": str(n), "ReceiptHandle": "x", "VisibilityTimeout": 1} for n in range(20)]
    message = "Maximum number of entries per request are 10. You have sent 20."
    refused(sqs.change_message_visibility_batch, many, message, QueueUrl=url, Entries=entries)
    wrong = ("AWS.SimpleQueueService.InvalidBatchEntryId", "InvalidBatchEntryId", 400)
    message = (
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
        "It can be at most 80 letters long."
    )
    refused(sqs.send_message_batch, wrong, message, QueueUrl=url, Entries=[{"Id": "message:123", "MessageBody": "x"}])
    twice = ("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct", 400)
    entries = [{"Id": "a", "MessageBody": "x"}, {"Id": "a", "MessageBody": "y"}]
    refused(sqs.send_message_batch, twice, "Id a repeated.", QueueUrl=url, Entries=entries)
    empty = ("AWS.SimpleQueueService.EmptyBatchRequest", "EmptyBatchRequest", 400)
    message = "There should be at least one SendMessageBatchRequestEntry in the request."
    refused(sqs.send_message_batch, empty, message, QueueUrl=url, Entries=[])


# --- FIFO -------------------------------------------------------------------------------------------------------------


def test_what_a_fifo_queue_asks_for(sqs, fifo, refused):
    url = fifo()
    missing = ("MissingParameter", "MissingRequiredParameterException", 400)
    group = "The request must contain the parameter MessageGroupId."
    refused(sqs.send_message, missing, group, QueueUrl=url, MessageBody="x")
    refused(sqs.send_message, INVALID, NO_DEDUPLICATION, QueueUrl=url, MessageBody="x", MessageGroupId="g")
    # Of a batch, the whole fails, and with another code.
    for entry, message in (({}, group), ({"MessageGroupId": "g"}, NO_DEDUPLICATION)):
        entries = [{"Id": "1", "MessageBody": "x", **entry}]
        refused(sqs.send_message_batch, INVALID, message, QueueUrl=url, Entries=entries)
    message = (
        "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this "
        "queue type."
    )
    members = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    refused(sqs.send_message, INVALID, message, DelaySeconds=2, **members)


def test_deduplication_within_the_queue_or_the_group(sqs, fifo):
    def send(url, body, group, deduplication):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=deduplication)

    def take(url):
        got = receive(sqs, url)
        for one in got:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return bodies(got)

    url = fifo()
    send(url, "Test1", "group-1", "dedup")
    send(url, "Test2", "group-2", "dedup")
    assert take(url) == ["Test1"] and take(url) == []
    sqs.set_queue_attributes(QueueUrl=url, Attributes=FAST)
    assert attributes(sqs, url) == FIFO | FAST
    send(url, "Test4", "group-1", "dedup2")
    assert take(url) == ["Test4"]
    for given in (FAST, {"DeduplicationScope": "messageGroup"}):
        url = fifo(**given)
        send(url, "Test1", "group-1", "dedup")
        send(url, "Test2", "group-2", "dedup")
        assert take(url) == ["Test1"] and take(url) == ["Test2"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"})
    assert attributes(sqs, url) == FIFO


# --- move tasks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dead(sqs, make):
    """A dead-letter queue with messages, and the queue that they came from."""

    def fill(count):
        dead = make()
        redrive = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 1})
        source = make(RedrivePolicy=redrive, VisibilityTimeout="0")
        for number in range(count):
            sqs.send_message(QueueUrl=source, MessageBody=f"message-{number}")
        while int(attributes(sqs, dead)["ApproximateNumberOfMessages"]) < count:
            receive(sqs, source, MaxNumberOfMessages=10)
        return dead, source

    return fill


def tasks(sqs, dead, status):
    def look():
        return [one for one in sqs.list_message_move_tasks(SourceArn=arn(dead))["Results"] if one["Status"] == status]

    return eventually(look, what=status)[0]


def test_a_move_task_from_its_beginning_to_its_end(sqs, make, dead):
    letters, source = dead(2)
    to = make()
    assert sqs.start_message_move_task(SourceArn=arn(letters), DestinationArn=arn(to))["TaskHandle"]
    done = tasks(sqs, letters, "COMPLETED")
    assert done.pop("StartedTimestamp")
    assert done == {
        "ApproximateNumberOfMessagesMoved": 2,
        "ApproximateNumberOfMessagesToMove": 2,
        "DestinationArn": arn(to),
        "SourceArn": arn(letters),
        "Status": "COMPLETED",
    }
    assert sorted(bodies(receive(sqs, to, MaxNumberOfMessages=10))) == ["message-0", "message-1"]


def test_a_slow_move_task_is_seen_and_cancelled(sqs, make, dead, refused):
    letters, _ = dead(10)
    to = make()
    slow = {"SourceArn": arn(letters), "DestinationArn": arn(to), "MaxNumberOfMessagesPerSecond": 1}
    handle = sqs.start_message_move_task(**slow)["TaskHandle"]
    (seen,) = sqs.list_message_move_tasks(SourceArn=arn(letters))["Results"]
    assert (seen["Status"], seen["TaskHandle"], seen["ApproximateNumberOfMessagesToMove"]) == ("RUNNING", handle, 10)
    assert seen["MaxNumberOfMessagesPerSecond"] == 1
    message = (
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
    )
    refused(sqs.start_message_move_task, INVALID, message, **slow)
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert 0 <= moved < 10
    ended = tasks(sqs, letters, "CANCELLED")
    assert "TaskHandle" not in ended and ended["ApproximateNumberOfMessagesToMove"] == 10


def test_a_move_task_whose_destination_goes_away(sqs, make, dead):
    letters, _ = dead(4)
    to = make()
    sqs.start_message_move_task(SourceArn=arn(letters), DestinationArn=arn(to), MaxNumberOfMessagesPerSecond=1)
    sqs.delete_queue(QueueUrl=to)
    failed = tasks(sqs, letters, "FAILED")
    assert failed["FailureReason"] == "AWS.SimpleQueueService.NonExistentQueue"
    # What was not moved is there still.
    left = 4 - failed["ApproximateNumberOfMessagesMoved"]
    assert attributes(sqs, letters)["ApproximateNumberOfMessages"] == str(left)
    assert len(receive(sqs, letters, MaxNumberOfMessages=10)) == left


def test_what_a_move_task_is_refused_for(sqs, make, dead, refused):
    lost = ("ResourceNotFoundException", "ResourceNotFoundException", 404)
    message = "Source queue must be configured as a Dead Letter Queue."
    refused(sqs.start_message_move_task, INVALID, message, SourceArn=arn(make()))
    letters, _ = dead(0)
    message = "The resource that you specified for the DestinationArn parameter doesn't exist."
    none = arn(letters) + "-none"
    refused(sqs.start_message_move_task, lost, message, SourceArn=arn(letters), DestinationArn=none)
    wrong = "Value for parameter TaskHandle is invalid."
    refused(sqs.cancel_message_move_task, INVALID, wrong, TaskHandle="foobared")
    import base64

    handle = base64.b64encode(json.dumps({"taskId": "10f57157-fc24-4da2-9d26-2ec7a0d9a8b5", "sourceArn": arn(letters)}).encode())
    refused(sqs.cancel_message_move_task, lost, "Task does not exist.", TaskHandle=handle.decode())


# --- what else a client can do wrong ----------------------------------------------------------------------------------


def test_queues_that_are_not_there(sqs, make, refused):
    gone = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", 400)
    message = "The specified queue does not exist."
    url = make() + "-none"
    for call, members in [
        (sqs.send_message, {"MessageBody": "x"}),
        (sqs.send_message_batch, {"Entries": [{"Id": "1", "MessageBody": "x"}]}),
        (sqs.receive_message, {}),
        (sqs.delete_message, {"ReceiptHandle": "x"}),
        (sqs.change_message_visibility, {"ReceiptHandle": "x", "VisibilityTimeout": 1}),
        (sqs.get_queue_attributes, {"AttributeNames": ["All"]}),
        (sqs.set_queue_attributes, {"Attributes": {"DelaySeconds": "1"}}),
        (sqs.purge_queue, {}),
        (sqs.delete_queue, {}),
        (sqs.list_queue_tags, {}),
        (sqs.tag_queue, {"Tags": {"a": "b"}}),
        (sqs.untag_queue, {"TagKeys": ["a"]}),
        (sqs.list_dead_letter_source_queues, {}),
        (sqs.remove_permission, {"Label": "x"}),
    ]:
        refused(call, gone, message, QueueUrl=url, **members)
    refused(sqs.get_queue_url, gone, message, QueueName=url.rsplit("/", 1)[1])


def test_a_queue_rests_after_deletion_and_purge(sqs, make, refused):
    url = make()
    sqs.purge_queue(QueueUrl=url)
    name = url.rsplit("/", 1)[1]
    busy = ("AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress", 403)
    refused(sqs.purge_queue, busy, f"Only one PurgeQueue operation on {name} is allowed every 60 seconds.", QueueUrl=url)
    sqs.delete_queue(QueueUrl=url)
    recent = ("AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently", 400)
    message = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
    refused(sqs.create_queue, recent, message, QueueName=name)


def test_values_that_cannot_be(sqs, make, fifo, refused):
    url = make()
    wrong = ("InvalidAttributeValue", "InvalidAttributeValue", 400)
    for name, value in [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "x"),
        ("DelaySeconds", "901"),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("MessageRetentionPeriod", "59"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("Policy", "{"),
    ]:
        message = f"Invalid value for the parameter {name}."
        refused(sqs.set_queue_attributes, wrong, message, QueueUrl=url, Attributes={name: value})
    unknown = ("InvalidAttributeName", "InvalidAttributeName", 400)
    refused(sqs.set_queue_attributes, unknown, "Unknown Attribute Nope.", QueueUrl=url, Attributes={"Nope": "1"})
    refused(sqs.get_queue_attributes, unknown, "Unknown Attribute Nope.", QueueUrl=url, AttributeNames=["Nope"])
    for call, members, message in [
        (sqs.receive_message, {"WaitTimeSeconds": 21}, "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."),
        (sqs.receive_message, {"MaxNumberOfMessages": 0}, "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."),
        (sqs.send_message, {"MessageBody": "x", "DelaySeconds": 901}, "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."),
        (sqs.send_message, {"MessageBody": "x", "MessageDeduplicationId": "d"}, "Value d for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not valid for this queue type."),
    ]:
        refused(call, INVALID, message, QueueUrl=url, **members)
    bad = ("InvalidMessageContents", "InvalidMessageContents", 400)
    with pytest.raises(ClientError) as caught:
        sqs.send_message(QueueUrl=url, MessageBody="a\ufffe")
    error = caught.value.response["Error"]
    assert error["Code"] == bad[0] and "'#xFFFE' was found in the message body" in error["Message"]


def test_handles_that_name_nothing(sqs, make, refused):
    url, other = make(), make()
    invalid = ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404)
    message = 'The input receipt handle "garbage" is not a valid receipt handle.'
    refused(sqs.delete_message, invalid, message, QueueUrl=url, ReceiptHandle="garbage")
    members = {"QueueUrl": url, "ReceiptHandle": "garbage", "VisibilityTimeout": 1}
    refused(sqs.change_message_visibility, invalid, message, **members)
    sqs.send_message(QueueUrl=other, MessageBody="x")
    (got,) = receive(sqs, other)
    handle = got["ReceiptHandle"]
    message = f'The input receipt handle "{handle}" is not a valid receipt handle.'
    refused(sqs.delete_message, invalid, message, QueueUrl=url, ReceiptHandle=handle)
    sqs.delete_message(QueueUrl=other, ReceiptHandle=handle)
    message = (
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for "
        "visibility timeout change."
    )
    refused(sqs.change_message_visibility, INVALID, message, QueueUrl=other, ReceiptHandle=handle, VisibilityTimeout=1)
    # Of a batch, each entry fails by itself.
    entries = [{"Id": "a", "ReceiptHandle": "garbage"}, {"Id": "b", "ReceiptHandle": handle}]
    done = sqs.delete_message_batch(QueueUrl=other, Entries=entries)
    assert [one["Id"] for one in done["Successful"]] == ["b"]
    (failed,) = done["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("a", "ReceiptHandleIsInvalid", True)


def test_message_attributes_that_cannot_be(sqs, make, refused):
    url = make()
    text = {"DataType": "String", "StringValue": "x"}
    for attributes, message in [
        ({"AWS.x": text}, "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use."),
        ({"a": {"DataType": "Number", "StringValue": "x"}}, "Can't cast the value of message (user) attribute 'a' to a number."),
        ({"a": {"DataType": "Text", "StringValue": "x"}}, "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."),
        ({str(n): text for n in range(11)}, "Number of message attributes [11] exceeds the allowed maximum [10]."),
    ]:
        refused(sqs.send_message, INVALID, message, QueueUrl=url, MessageBody="x", MessageAttributes=attributes)


def test_the_header_that_carries_the_old_code(server):
    body = json.dumps({"QueueUrl": f"http://127.0.0.1/{ACCOUNT}/not-there", "MessageBody": "x"}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessage"}
    status, answer, text = server.raw("POST", "/", body, headers)
    assert (status, answer["x-amzn-query-error"]) == (400, "AWS.SimpleQueueService.NonExistentQueue;Sender")
    assert json.loads(text)["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"
