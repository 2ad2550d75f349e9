"""Every operation of the services that start functions, once through boto3 and once through the AWS CLI.

One tour for each service; a client is a way to call an operation by AWS's name with AWS's members. At its end the tour
has called all that the service's model lists, so that an operation that is added without a client's look fails here.
"""

import datetime
import json
import pathlib
import tomllib

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from endpoint import Endpoint
from harness import ACCOUNT, REGION, ROLE, eventually

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"


class Boto3:
    def __init__(self, server, service):
        self.client = server.client(service)

    def __call__(self, operation, **members):
        return getattr(self.client, xform_name(operation))(**members)

    def refused(self, operation, **members):
        try:
            self(operation, **members)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return None


class Cli:
    def __init__(self, server, service):
        self.server, self.service = server, service

    def run(self, operation, members, check):
        words = (self.service, xform_name(operation, "-"), "--cli-input-json", json.dumps(members, default=str))
        # Version 1 of the AWS CLI asks no variable where SQS is.
        return self.server.aws("--endpoint-url", self.server.endpoint, *words, "--output", "json", check=check)

    def __call__(self, operation, **members):
        shown = self.run(operation, members, True).stdout
        return json.loads(shown) if shown.strip() else {}

    def refused(self, operation, **members):
        done = self.run(operation, members, False)
        return done.stderr.split("(", 1)[1].split(")", 1)[0] if done.returncode else None


@pytest.fixture(params=[Boto3, Cli], ids=["boto3", "cli"])
def caller(request, server):
    """Makes a client of a service, which notes what it is asked."""

    def make(service):
        client, called = request.param(server, service), set()

        def call(operation, **members):
            called.add(operation)
            return client(operation, **members)

        def refused(operation, **members):
            called.add(operation)
            return client.refused(operation, **members)

        call.called, call.refused = called, refused
        return call

    return make


def complete(call, service):
    operations = tomllib.loads((MODELS / service / "operations.toml").read_text())["operations"]
    assert call.called == set(operations), f"not called: {set(operations) - call.called}"


def test_sqs(caller, name):
    call = caller("sqs")
    url = call("CreateQueue", QueueName=name, Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    dead = call("CreateQueue", QueueName=f"{name}-dead")["QueueUrl"]
    dead_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-dead"
    assert call("GetQueueUrl", QueueName=name)["QueueUrl"] == url
    assert set(call("ListQueues", QueueNamePrefix=name)["QueueUrls"]) == {url, dead}
    redrive = f'{{"deadLetterTargetArn":"{dead_arn}","maxReceiveCount":1}}'
    call("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": redrive})
    assert call("GetQueueAttributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"] == {
        "RedrivePolicy": redrive
    }
    assert call("ListDeadLetterSourceQueues", QueueUrl=dead)["queueUrls"] == [url]
    call("TagQueue", QueueUrl=url, Tags={"a": "1", "b": "2"})
    call("UntagQueue", QueueUrl=url, TagKeys=["b"])
    assert call("ListQueueTags", QueueUrl=url)["Tags"] == {"a": "1"}
    call("AddPermission", QueueUrl=url, Label="one", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    call("RemovePermission", QueueUrl=url, Label="one")

    sent = call("SendMessage", QueueUrl=url, MessageBody="single")
    entries = [{"Id": str(index), "MessageBody": f"batch {index}"} for index in range(3)]
    assert len(call("SendMessageBatch", QueueUrl=url, Entries=entries)["Successful"]) == 3
    got = {}
    while len(got) < 4:
        for message in call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)["Messages"]:
            got[message["MessageId"]] = message
    handles = [message["ReceiptHandle"] for message in got.values()]
    assert got[sent["MessageId"]]["Body"] == "single"
    call("DeleteMessage", QueueUrl=url, ReceiptHandle=handles[0])
    batch = call("DeleteMessageBatch", QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": handles[1]}])
    assert [one["Id"] for one in batch["Successful"]] == ["a"]
    call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handles[2], VisibilityTimeout=0)
    shown = {"Id": "a", "ReceiptHandle": handles[3], "VisibilityTimeout": 0}
    batch = call("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=[shown])
    assert [one["Id"] for one in batch["Successful"]] == ["a"]
    # Both were received as often as they may be: the next look moves them.
    call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
    task = call("StartMessageMoveTask", SourceArn=dead_arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    stopped = call.refused("CancelMessageMoveTask", TaskHandle=task)
    assert stopped in (None, "ResourceNotFoundException"), "it may have come to its end"
    assert call("ListMessageMoveTasks", SourceArn=dead_arn)["Results"][0]["SourceArn"] == dead_arn
    call("PurgeQueue", QueueUrl=url)
    for queue in (url, dead):
        call("DeleteQueue", QueueUrl=queue)
    assert call.refused("GetQueueUrl", QueueName=name) == "AWS.SimpleQueueService.NonExistentQueue"
    complete(call, "sqs")


def test_sns(caller, name):
    call, endpoint = caller("sns"), Endpoint()
    topic = call("CreateTopic", Name=name)["TopicArn"]
    assert topic in [one["TopicArn"] for one in call("ListTopics")["Topics"]]
    call("SetTopicAttributes", TopicArn=topic, AttributeName="DisplayName", AttributeValue="shown")
    assert call("GetTopicAttributes", TopicArn=topic)["Attributes"]["DisplayName"] == "shown"
    call("TagResource", ResourceArn=topic, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    call("UntagResource", ResourceArn=topic, TagKeys=["b"])
    assert call("ListTagsForResource", ResourceArn=topic)["Tags"] == [{"Key": "a", "Value": "1"}]
    call("AddPermission", TopicArn=topic, Label="one", AWSAccountId=["111111111111"], ActionName=["Publish"])
    call("RemovePermission", TopicArn=topic, Label="one")
    try:
        call("Subscribe", TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
        asked = eventually(lambda: endpoint.asked, what="the question whether to subscribe")
        token = json.loads(asked[0][2])["Token"]
        subscription = call("ConfirmSubscription", TopicArn=topic, Token=token)["SubscriptionArn"]
        raw = {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
        call("SetSubscriptionAttributes", SubscriptionArn=subscription, **raw)
        attributes = call("GetSubscriptionAttributes", SubscriptionArn=subscription)["Attributes"]
        assert (attributes["RawMessageDelivery"], attributes["Endpoint"]) == ("true", endpoint.url)
        for found in (call("ListSubscriptions"), call("ListSubscriptionsByTopic", TopicArn=topic)):
            assert subscription in [one["SubscriptionArn"] for one in found["Subscriptions"]]
        call("Publish", TopicArn=topic, Message="single")
        call("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "batch"}])
        said = lambda: {body for _, _, body, _ in endpoint.asked} >= {b"single", b"batch"}
        eventually(said, what="both messages")
        call("Unsubscribe", SubscriptionArn=subscription)
    finally:
        endpoint.end()
    call("SetSMSAttributes", attributes={"DefaultSMSType": "Transactional"})
    assert call("GetSMSAttributes")["attributes"]["DefaultSMSType"] == "Transactional"
    assert call("CheckIfPhoneNumberIsOptedOut", phoneNumber="+15555550100")["isOptedOut"] is False
    assert call("ListPhoneNumbersOptedOut")["phoneNumbers"] == []
    call("OptInPhoneNumber", phoneNumber="+15555550100")
    call("DeleteTopic", TopicArn=topic)
    assert call.refused("GetTopicAttributes", TopicArn=topic) in ("NotFound", "NotFoundException")
    complete(call, "sns")


def test_events(caller, name, server):
    call, sqs = caller("events"), server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [allow | {"Resource": queue}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})

    bus = call("CreateEventBus", Name=name)["EventBusArn"]
    call("UpdateEventBus", Name=name, Description="of a tour")
    assert call("DescribeEventBus", Name=name)["Description"] == "of a tour"
    assert [one["Arn"] for one in call("ListEventBuses", NamePrefix=name)["EventBuses"]] == [bus]
    permission = {"Principal": "111111111111", "StatementId": "one", "Action": "events:PutEvents"}
    call("PutPermission", EventBusName=name, **permission)
    call("RemovePermission", EventBusName=name, StatementId="one")
    call("TagResource", ResourceARN=bus, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    call("UntagResource", ResourceARN=bus, TagKeys=["b"])
    assert call("ListTagsForResource", ResourceARN=bus)["Tags"] == [{"Key": "a", "Value": "1"}]

    of = {"EventBusName": name}
    call("PutRule", Name="rule", EventPattern='{"source":["tour"]}', **of)
    call("DisableRule", Name="rule", **of)
    assert call("DescribeRule", Name="rule", **of)["State"] == "DISABLED"
    call("EnableRule", Name="rule", **of)
    assert [one["State"] for one in call("ListRules", **of)["Rules"]] == ["ENABLED"]
    call("PutTargets", Rule="rule", Targets=[{"Id": "q", "Arn": queue}], **of)
    assert call("ListTargetsByRule", Rule="rule", **of)["Targets"] == [{"Id": "q", "Arn": queue}]
    assert call("ListRuleNamesByTarget", TargetArn=queue, **of)["RuleNames"] == ["rule"]
    event = {"source": "tour", "id": "1", "account": ACCOUNT, "time": "2026-01-01T00:00:00Z", "region": REGION,
             "resources": [], "detail-type": "t", "detail": {}}
    tried = call("TestEventPattern", EventPattern='{"source":["tour"]}', Event=json.dumps(event))
    assert tried["Result"] is True

    archive = call("CreateArchive", ArchiveName=name[:40], EventSourceArn=bus)["ArchiveArn"]
    call("UpdateArchive", ArchiveName=name[:40], RetentionDays=3)
    assert call("DescribeArchive", ArchiveName=name[:40])["RetentionDays"] == 3
    assert [one["ArchiveName"] for one in call("ListArchives", NamePrefix=name[:40])["Archives"]] == [name[:40]]
    begun = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
    put = call("PutEvents", Entries=[{"Source": "tour", "DetailType": "t", "Detail": "{}", "EventBusName": name}])
    assert put["FailedEntryCount"] == 0
    body = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"]
    assert json.loads(body)["id"] == put["Entries"][0]["EventId"]
    span = {"EventStartTime": begun.isoformat(), "EventEndTime": datetime.datetime.now(datetime.timezone.utc).isoformat()}
    call("StartReplay", ReplayName=name, EventSourceArn=archive, Destination={"Arn": bus}, **span)
    assert call.refused("CancelReplay", ReplayName=name) in (None, "IllegalStatusException"), "it may be over"
    assert call("DescribeReplay", ReplayName=name)["EventSourceArn"] == archive
    assert name in [one["ReplayName"] for one in call("ListReplays", EventSourceArn=archive)["Replays"]]

    key = {"ApiKeyName": "x-key", "ApiKeyValue": "secret"}
    made = call("CreateConnection", Name=name, AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key})
    call("UpdateConnection", Name=name, Description="of a tour")
    assert call("DescribeConnection", Name=name)["Description"] == "of a tour"
    assert [one["Name"] for one in call("ListConnections", NamePrefix=name)["Connections"]] == [name]
    there = {"ConnectionArn": made["ConnectionArn"], "InvocationEndpoint": "https://example.com/x", "HttpMethod": "POST"}
    call("CreateApiDestination", Name=name, **there)
    call("UpdateApiDestination", Name=name, HttpMethod="PUT")
    assert call("DescribeApiDestination", Name=name)["HttpMethod"] == "PUT"
    assert [one["Name"] for one in call("ListApiDestinations", NamePrefix=name)["ApiDestinations"]] == [name]
    call("DeleteApiDestination", Name=name)
    assert call("DeauthorizeConnection", Name=name)["ConnectionState"] in ("DEAUTHORIZING", "DEAUTHORIZED")
    call("DeleteConnection", Name=name)

    call("RemoveTargets", Rule="rule", Ids=["q"], **of)
    call("DeleteRule", Name="rule", **of)
    for rule in call("ListRules", **of)["Rules"]:
        # The archive has a rule of its own, which goes with it.
        assert rule.get("ManagedBy"), rule
    call("DeleteArchive", ArchiveName=name[:40])
    call("DeleteEventBus", Name=name)
    assert call.refused("DescribeEventBus", Name=name) == "ResourceNotFoundException"
    complete(call, "events")


def test_scheduler(caller, name, server):
    call = caller("scheduler")
    server.client("sqs").create_queue(QueueName=name)
    target = {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "RoleArn": ROLE, "Input": "hello"}
    group = call("CreateScheduleGroup", Name=name)["ScheduleGroupArn"]
    assert call("GetScheduleGroup", Name=name)["Arn"] == group
    assert [one["Name"] for one in call("ListScheduleGroups", NamePrefix=name)["ScheduleGroups"]] == [name]
    call("TagResource", ResourceArn=group, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    call("UntagResource", ResourceArn=group, TagKeys=["b"])
    assert call("ListTagsForResource", ResourceArn=group)["Tags"] == [{"Key": "a", "Value": "1"}]
    schedule = {"Name": "one", "GroupName": name, "Target": target, "FlexibleTimeWindow": {"Mode": "OFF"}}
    call("CreateSchedule", ScheduleExpression="rate(1 hour)", **schedule)
    call("UpdateSchedule", ScheduleExpression="rate(2 hours)", **schedule)
    assert call("GetSchedule", Name="one", GroupName=name)["ScheduleExpression"] == "rate(2 hours)"
    assert [one["Name"] for one in call("ListSchedules", GroupName=name)["Schedules"]] == ["one"]
    call("DeleteSchedule", Name="one", GroupName=name)
    assert call.refused("GetSchedule", Name="one", GroupName=name) == "ResourceNotFoundException"
    call("DeleteScheduleGroup", Name=name)
    complete(call, "scheduler")


def test_pipes(caller, name, server):
    call, sqs = caller("pipes"), server.client("sqs")
    source, sink = (f"{name}-{end}" for end in ("in", "out"))
    urls = [sqs.create_queue(QueueName=queue)["QueueUrl"] for queue in (source, sink)]
    arns = [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}" for queue in (source, sink)]

    def state(wanted):
        eventually(lambda: call("DescribePipe", Name=name)["CurrentState"] == wanted, every=0.3, what=wanted)

    pipe = call("CreatePipe", Name=name, RoleArn=ROLE, Source=arns[0], Target=arns[1])["Arn"]
    state("RUNNING")
    sqs.send_message(QueueUrl=urls[0], MessageBody="through")
    assert "through" in sqs.receive_message(QueueUrl=urls[1], WaitTimeSeconds=10)["Messages"][0]["Body"]
    call("StopPipe", Name=name)
    state("STOPPED")
    call("UpdatePipe", Name=name, RoleArn=ROLE, Description="of a tour")
    state("STOPPED")
    call("StartPipe", Name=name)
    state("RUNNING")
    assert [one["Name"] for one in call("ListPipes", NamePrefix=name)["Pipes"]] == [name]
    call("TagResource", resourceArn=pipe, tags={"a": "1", "b": "2"})
    call("UntagResource", resourceArn=pipe, tagKeys=["b"])
    assert call("ListTagsForResource", resourceArn=pipe)["tags"] == {"a": "1"}
    call("DeletePipe", Name=name)
    eventually(lambda: call.refused("DescribePipe", Name=name) == "NotFoundException", every=0.3, what="its end")
    complete(call, "pipes")
