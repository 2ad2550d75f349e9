"""CloudWatch Logs through boto3: groups, streams, events, filter patterns, retention, tags."""

import time

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, eventually, python


@pytest.fixture
def logs(server):
    return server.client("logs")


@pytest.fixture
def group(logs, name):
    logs.create_log_group(logGroupName=f"/test/{name}")
    return f"/test/{name}"


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def put(logs, group, stream, *messages, start=None):
    start = start or int(time.time() * 1000) - 1000
    events = [{"timestamp": start + number, "message": text} for number, text in enumerate(messages)]
    answer = logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    assert "rejectedLogEventsInfo" not in answer, answer
    return start


def test_groups_live_a_life(logs, group):
    assert refused(logs.create_log_group, logGroupName=group) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [one["logGroupName"] for one in found] == [group]
    assert found[0]["arn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*" and found[0]["storedBytes"] == 0
    assert "retentionInDays" not in found[0]
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 7
    assert refused(logs.put_retention_policy, logGroupName=group, retentionInDays=8)[0] == "InvalidParameterException"
    logs.delete_retention_policy(logGroupName=group)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    logs.delete_log_group(logGroupName=group)
    assert refused(logs.delete_log_group, logGroupName=group) == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )


def test_streams_live_a_life(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    assert refused(logs.create_log_stream, logGroupName=group, logStreamName="one") == (
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
    )
    start = put(logs, group, "one", "a", "b")
    found = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert [stream["logStreamName"] for stream in found] == ["one"]
    assert found[0]["arn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:one"
    assert found[0]["firstEventTimestamp"] == start
    logs.delete_log_stream(logGroupName=group, logStreamName="one")
    assert logs.describe_log_streams(logGroupName=group)["logStreams"] == []


def test_what_is_missing_is_named(logs, group):
    for stream, where, message in [("s", "/absent", "log group"), ("absent", group, "log stream")]:
        expected = ("ResourceNotFoundException", f"The specified {message} does not exist.")
        assert refused(logs.get_log_events, logGroupName=where, logStreamName=stream) == expected
        event = {"timestamp": int(time.time() * 1000), "message": "x"}
        assert refused(logs.put_log_events, logGroupName=where, logStreamName=stream, logEvents=[event]) == expected
    assert refused(logs.filter_log_events, logGroupName="/absent")[1] == "The specified log group does not exist."


def test_events_come_back_in_order_and_pages(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    start = put(logs, group, "s", *[f"line {number}" for number in range(25)])
    page = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, limit=10)
    seen = page["events"]
    assert [event["message"] for event in seen] == [f"line {number}" for number in range(10)]
    assert seen[0]["timestamp"] == start and seen[0]["ingestionTime"] >= start
    while True:
        following = logs.get_log_events(
            logGroupName=group, logStreamName="s", startFromHead=True, limit=10, nextToken=page["nextForwardToken"]
        )
        if following["nextForwardToken"] == page["nextForwardToken"]:
            assert following["events"] == []
            break
        seen, page = seen + following["events"], following
    assert [event["message"] for event in seen] == [f"line {number}" for number in range(25)]
    newest = logs.get_log_events(logGroupName=group, logStreamName="s", limit=3)["events"]
    assert [event["message"] for event in newest] == ["line 22", "line 23", "line 24"]
    window = logs.get_log_events(logGroupName=group, logStreamName="s", startTime=start + 5, endTime=start + 8, startFromHead=True)
    assert [event["message"] for event in window["events"]] == ["line 5", "line 6", "line 7"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", "abcdefg"),
        ("ERROR", "ac"),
        ("ERROR disk", "a"),
        ('"disk full"', "a"),
        ("?WARN ?disk", "ab"),
        ("-ERROR", "bdefg"),
        ("%E[R]+OR%", "ac"),
        ("{ $.level = \"info\" }", "d"),
        ("{ $.size > 10 }", "e"),
        ("{ $.size >= 10 && $.level = debug }", "f"),
        ("{ $.tags[0] = \"x*\" }", "g"),
        ("{ $.absent NOT EXISTS }", "defg"),
        ("[kind, what=disk, ...]", "a"),
    ],
)
def test_filter_patterns_select(logs, server, pattern, found):
    group = "/test/patterns"
    lines = {
        "a": "ERROR disk full",
        "b": "WARN slow",
        "c": "ERROR network",
        "d": '{"level":"info","size":1}',
        "e": '{"level":"warn","size":11}',
        "f": '{"level":"debug","size":10}',
        "g": '{"tags":["xy","z"]}',
    }
    try:
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        put(logs, group, "s", *lines.values())
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    members = {"filterPattern": pattern} if pattern else {}
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **members)
    got = [event["message"] for page in pages for event in page["events"]]
    assert got == [lines[key] for key in found]


def test_a_wrong_pattern_is_refused(logs, group):
    assert refused(logs.filter_log_events, logGroupName=group, filterPattern="{ $.a = ")[0] == "InvalidParameterException"


def test_limits_are_those_of_aws(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    expected = (
        "InvalidParameterException",
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less "
        "than or equal to 10000",
    )
    assert refused(logs.filter_log_events, logGroupName=group, limit=10001) == expected
    assert refused(logs.get_log_events, logGroupName=group, logStreamName="s", limit=10001) == expected
    assert refused(logs.get_log_events, logGroupName=group, logStreamName="s", nextToken="invalid") == (
        "InvalidParameterException",
        "The specified nextToken is invalid.",
    )


def test_groups_have_tags(logs, group):
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    logs.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}


def test_a_functions_lines_arrive_one_by_one(functions, name):
    functions.create(name, python("def handler(event, context):\n    print('one\\ntwo')\n    print('three', end='')"))
    functions.invoke(name)

    def lines():
        found = [message.rstrip("\n") for message in functions.messages(name)]
        return found if any(line.startswith("REPORT") for line in found) else None

    found = eventually(lines, what="the REPORT line")
    said = [line for line in found if line in ("one", "two", "three", "one\ntwo")]
    assert said == ["one", "two", "three"], found
    kinds = [line.split()[0] for line in found if line.split()[0] in ("START", "END", "REPORT")]
    assert kinds == ["START", "END", "REPORT"]


def test_a_function_cannot_forge_its_report(functions, name):
    forged = "REPORT RequestId: 0\\tDuration: 0.00 ms\\tBilled Duration: 0 ms"
    functions.create(name, python(f"def handler(event, context): print('{forged}')"))
    import base64

    tail = base64.b64decode(functions.invoke(name, LogType="Tail")[1]["LogResult"]).decode()
    assert tail.count("REPORT RequestId") == 2, "said by the function and, truly, by the platform"
