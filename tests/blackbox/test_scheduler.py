"""EventBridge Scheduler through boto3 and the AWS CLI: groups, schedules, what they start, and what a crash leaves."""

import datetime
import json
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, ROLE, aws_cli, eventually, free_port, python

OFF = {"Mode": "OFF"}


@pytest.fixture
def scheduler(server):
    return server.client("scheduler")


@pytest.fixture
def sqs(server):
    return server.client("sqs")


@pytest.fixture
def queue(sqs, name):
    return sqs.create_queue(QueueName=name)["QueueUrl"]


def arn(url):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


def at(seconds):
    """A one-time expression so many seconds from now."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return f"at({when:%Y-%m-%dT%H:%M:%S})"


def drain(sqs, url, count, seconds=20):
    """At least so many messages, deleted."""
    got = []

    def look():
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"], AttributeNames=["All"]
        )
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            got.append(message)
        return len(got) >= count

    eventually(look, seconds=seconds, what=f"{count} messages")
    return got


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def target(target_arn, **members):
    return {"Arn": target_arn, "RoleArn": ROLE, **members}


def test_groups_go_round(scheduler, name):
    made = scheduler.create_schedule_group(Name=name, Tags=[{"Key": "a", "Value": "1"}])["ScheduleGroupArn"]
    assert made == f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{name}"
    assert scheduler.list_tags_for_resource(ResourceArn=made)["Tags"] == [{"Key": "a", "Value": "1"}]
    scheduler.tag_resource(ResourceArn=made, Tags=[{"Key": "b", "Value": "2"}])
    scheduler.untag_resource(ResourceArn=made, TagKeys=["a"])
    assert scheduler.list_tags_for_resource(ResourceArn=made)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert scheduler.get_schedule_group(Name=name)["State"] == "ACTIVE"
    names = [group["Name"] for group in scheduler.list_schedule_groups(NamePrefix=name)["ScheduleGroups"]]
    assert names == [name]
    assert refused(scheduler.create_schedule_group, Name=name) == (
        "ConflictException", f"Schedule group {name} already exists.", 409)
    scheduler.delete_schedule_group(Name=name)

    def gone():
        try:
            return scheduler.get_schedule_group(Name=name)["State"] != "DELETING" and None
        except scheduler.exceptions.ResourceNotFoundException:
            return True

    eventually(gone)


def test_a_schedule_goes_round(scheduler, queue, name):
    made = scheduler.create_schedule(
        Name=name, ScheduleExpression="cron(0 12 * * ? *)", ScheduleExpressionTimezone="Europe/Berlin",
        FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}, Description="noon",
        StartDate=datetime.datetime(2040, 1, 1, tzinfo=datetime.timezone.utc),
        Target=target(arn(queue), Input="hello", RetryPolicy={"MaximumRetryAttempts": 3}),
    )
    assert made["ScheduleArn"] == f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}"
    got = scheduler.get_schedule(Name=name)
    assert got["ScheduleExpressionTimezone"] == "Europe/Berlin" and got["State"] == "ENABLED"
    assert got["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 3}
    assert got["StartDate"].year == 2040 and got["ActionAfterCompletion"] == "NONE"
    scheduler.update_schedule(
        Name=name, ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, State="DISABLED", Target=target(arn(queue)))
    got = scheduler.get_schedule(Name=name)
    assert got["State"] == "DISABLED" and "Description" not in got and "Input" not in got["Target"]
    listed = scheduler.list_schedules(NamePrefix=name)["Schedules"]
    assert [(one["Name"], one["Target"]["Arn"]) for one in listed] == [(name, arn(queue))]
    scheduler.delete_schedule(Name=name)
    assert refused(scheduler.get_schedule, Name=name) == (
        "ResourceNotFoundException", f"Schedule {name} does not exist.", 404)


def test_what_is_no_schedule_is_refused(scheduler, queue, name):
    def make(**members):
        given = dict(Name=name, ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, Target=target(arn(queue)))
        return refused(scheduler.create_schedule, **(given | members))

    assert make(ScheduleExpression="cron(1 2 3)") == ("ValidationException", "Invalid Schedule Expression cron(1 2 3).", 400)
    assert make(GroupName="nowhere")[::2] == ("ResourceNotFoundException", 404)
    assert make(Target=target("arn:aws:s3:::bucket"))[:2] == ("ValidationException", "Provided Arn is not in correct format.")
    code, message, status = make(Target=target(f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m", Input="{}"))
    assert (code, status) == ("NotImplementedException", 501) and "states" in message
    code, message, _ = make(Target=target(f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s",
                                          KinesisParameters={"PartitionKey": "p"}))
    assert code == "NotImplementedException" and "KinesisParameters" in message
    code, message, _ = make(Target=target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input='{"MessageBody":"b"}'))
    assert code == "ValidationException" and "QueueUrl" in message
    code, message, _ = make(Target=target("arn:aws:scheduler:::aws-sdk:sqs:receiveMessage", Input="{}"))
    assert code == "ValidationException" and "receiveMessage" in message
    code, message, _ = make(Target=target("arn:aws:scheduler:::aws-sdk:polly:synthesizeSpeech", Input="{}"))
    assert code == "NotImplementedException" and "polly" in message


def test_templated_targets_get_their_input(scheduler, sqs, queue, functions, name):
    functions.create(name, python("def handler(event, context):\n    print('got', event)\n"))
    scheduler.create_schedule(
        Name=f"{name}-q", ScheduleExpression=at(1), FlexibleTimeWindow=OFF, ActionAfterCompletion="DELETE",
        Target=target(arn(queue), Input='{"at":"<aws.scheduler.scheduled-time>","arn":"<aws.scheduler.schedule-arn>"}'))
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    scheduler.create_schedule(
        Name=f"{name}-f", ScheduleExpression=at(1), FlexibleTimeWindow=OFF,
        Target=target(function, Input='{"try":<aws.scheduler.attempt-number>}'))
    body = json.loads(drain(sqs, queue, 1)[0]["Body"])
    assert body["arn"].endswith(f":schedule/default/{name}-q") and body["at"].endswith("Z")
    eventually(lambda: any("got {'try': 1}" in line for line in functions.messages(name)), what="the function's line")
    eventually(lambda: not scheduler.list_schedules(NamePrefix=f"{name}-q")["Schedules"], what="its deletion")
    assert scheduler.get_schedule(Name=f"{name}-f")["State"] == "ENABLED"


def test_a_fifo_queue_gets_its_group(scheduler, sqs, name):
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes=attributes)["QueueUrl"]
    scheduler.create_schedule(
        Name=name, ScheduleExpression=at(1), FlexibleTimeWindow=OFF,
        Target=target(arn(url), Input="x", SqsParameters={"MessageGroupId": "g"}))
    assert drain(sqs, url, 1)[0]["Attributes"]["MessageGroupId"] == "g"


def test_universal_targets_run_operations(scheduler, sqs, queue, functions, name):
    functions.create(name, python("def handler(event, context):\n    print('invoked with', event)\n"))
    scheduler.create_schedule(
        Name=f"{name}-s", ScheduleExpression=at(1), FlexibleTimeWindow=OFF,
        Target=target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input=json.dumps({
            "QueueUrl": queue, "MessageBody": "from <aws.scheduler.execution-id>",
            "MessageAttributes": {"k": {"DataType": "String", "StringValue": "v"}}})))
    scheduler.create_schedule(
        Name=f"{name}-l", ScheduleExpression=at(1), FlexibleTimeWindow=OFF, ActionAfterCompletion="DELETE",
        Target=target("arn:aws:scheduler:::aws-sdk:lambda:invoke", Input=json.dumps({
            "FunctionName": name, "InvocationType": "RequestResponse", "Payload": '{"a": 7}'})))
    message = drain(sqs, queue, 1)[0]
    assert message["Body"].startswith("from ") and message["MessageAttributes"]["k"]["StringValue"] == "v"
    eventually(lambda: any("invoked with {'a': 7}" in line for line in functions.messages(name)), what="the invocation")
    eventually(lambda: not scheduler.list_schedules(NamePrefix=f"{name}-l")["Schedules"], what="its deletion")


def test_what_fails_becomes_a_dead_letter(scheduler, sqs, queue, name):
    missing = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-missing"
    scheduler.create_schedule(
        Name=f"{name}-q", ScheduleExpression=at(1), FlexibleTimeWindow=OFF,
        Target=target(missing, Input="hello", DeadLetterConfig={"Arn": arn(queue)}))
    function = json.dumps({"FunctionName": f"{name}-missing"})
    scheduler.create_schedule(
        Name=f"{name}-l", ScheduleExpression=at(1), FlexibleTimeWindow=OFF,
        Target=target("arn:aws:scheduler:::aws-sdk:lambda:invoke", Input=function, DeadLetterConfig={"Arn": arn(queue)}))
    letters = {}
    for message in drain(sqs, queue, 2):
        values = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
        letters[values["SCHEDULE_ARN"].rsplit("-", 1)[1]] = (message["Body"], values)
    body, values = letters["q"]
    assert body == "hello" and values["TARGET_ARN"] == missing and values["RETRY_ATTEMPTS"] == "0"
    assert values["ERROR_CODE"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert letters["l"][0] == function and letters["l"][1]["ERROR_CODE"] == "ResourceNotFoundException"


def test_the_command_line_client_makes_and_shows_schedules(server, queue, name):
    def aws(*words):
        run = subprocess.run([aws_cli(), *words], env=server.environment(), capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout) if run.stdout.strip() else None

    given = json.dumps(target(arn(queue), Input="cli"))
    aws("scheduler", "create-schedule-group", "--name", name)
    aws("scheduler", "create-schedule", "--name", name, "--group-name", name, "--schedule-expression", "rate(1 hour)",
        "--flexible-time-window", "Mode=OFF", "--target", given)
    assert aws("scheduler", "get-schedule", "--name", name, "--group-name", name)["Target"]["Input"] == "cli"
    assert [one["Name"] for one in aws("scheduler", "list-schedules", "--group-name", name)["Schedules"]] == [name]
    aws("scheduler", "update-schedule", "--name", name, "--group-name", name, "--schedule-expression", "rate(2 hours)",
        "--flexible-time-window", "Mode=OFF", "--target", given)
    aws("scheduler", "delete-schedule", "--name", name, "--group-name", name)
    aws("scheduler", "delete-schedule-group", "--name", name)


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_fires_twice_across_kills(own):
    """Schedules come due while the server is killed again and again: each fires exactly once, by either kind of target."""
    server = own().start()
    sqs, scheduler = server.client("sqs"), server.client("scheduler")
    url = sqs.create_queue(QueueName="crash", Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
    count = 300
    expression = at(12)
    for index in range(count):
        if index % 2:
            given = target(arn(url), Input=f"n{index}")
        else:
            given = target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
                           Input=json.dumps({"QueueUrl": url, "MessageBody": f"n{index}"}))
        scheduler.create_schedule(Name=f"s{index}", ScheduleExpression=expression, FlexibleTimeWindow=OFF, Target=given,
                                  ActionAfterCompletion="DELETE")
    due = datetime.datetime.strptime(expression, "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=datetime.timezone.utc)
    time.sleep(max(0.0, due.timestamp() - time.time() - 0.2))
    for _ in range(12):
        time.sleep(0.12)
        server.kill()
        # Somebody's outgoing connection may have taken the old one.
        server.port = free_port()
        server.restart()
    sqs, scheduler = server.client("sqs"), server.client("scheduler")
    eventually(lambda: not scheduler.list_schedules()["Schedules"], seconds=60, what="the last firing")
    time.sleep(2)
    bodies = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        bodies += [message["Body"] for message in messages]
    assert sorted(bodies) == sorted(f"n{index}" for index in range(count))


@pytest.mark.slow
def test_what_came_due_while_the_server_was_down_fires_once(own):
    server = own().start()
    sqs, scheduler = server.client("sqs"), server.client("scheduler")
    url = sqs.create_queue(QueueName="late")["QueueUrl"]
    scheduler.create_schedule(Name="s", ScheduleExpression=at(2), FlexibleTimeWindow=OFF, Target=target(arn(url), Input="x"))
    server.kill()
    time.sleep(4)
    server.port = free_port()
    server.restart()
    sqs = server.client("sqs")
    assert [message["Body"] for message in drain(sqs, url, 1)] == ["x"]
    time.sleep(2)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
