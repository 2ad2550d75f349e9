"""Streams of tables through boto3 and the AWS CLI: what changed, in which order, and the functions that it starts."""

import base64
import contextlib
import json
import os
import random
import threading
import time

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, ROLE, Functions, eventually, python
from harness import PYTHON as PYTHON_RUNTIME
from signing import CLIENT
from test_events_crash import lasting_port
from wire_client import Lost, Refused, Wire

KILLS = int(os.environ.get("PILEUS_KILLS", "10"))
SEED = int(os.environ.get("PILEUS_SEED", "0")) or random.randrange(1 << 30)
SAYS = """import json
def handler(event, context):
    print('got', json.dumps(event))
"""


@pytest.fixture
def tables(server):
    return server.client("dynamodb")


@pytest.fixture
def streams(server):
    return server.client("dynamodbstreams")


def table(tables, name, view="NEW_AND_OLD_IMAGES", **more):
    """A table with a stream; the stream's ARN."""
    made = tables.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        **more,
    )
    return made["TableDescription"]["LatestStreamArn"]


def put(tables, name, key, **more):
    tables.put_item(TableName=name, Item={"id": {"S": key}} | {at: {"S": str(value)} for at, value in more.items()})


def records(streams, stream):
    """Everything that a stream holds, shard by shard, parents before children."""
    found, from_ = [], {}
    while True:
        described = streams.describe_stream(StreamArn=stream, **from_)["StreamDescription"]
        for shard in described["Shards"]:
            iterator = streams.get_shard_iterator(
                StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                page = streams.get_records(ShardIterator=iterator)
                found += page["Records"]
                iterator = page.get("NextShardIterator") if page["Records"] else None
        if "LastEvaluatedShardId" not in described:
            return found
        from_ = {"ExclusiveStartShardId": described["LastEvaluatedShardId"]}


def connect(functions, stream, function, **members):
    """A mapping from a stream to a function, waited for."""
    members = {"StartingPosition": "TRIM_HORIZON"} | members
    made = functions.lambda_.create_event_source_mapping(EventSourceArn=stream, FunctionName=function, **members)
    assert made["State"] == "Creating"
    eventually(lambda: functions.lambda_.get_event_source_mapping(UUID=made["UUID"])["State"] == "Enabled", what="Enabled")
    return made


def got(functions, name):
    return [json.loads(line[4:]) for line in functions.messages(name) if line.startswith("got ")]


def keys(events):
    return [record["dynamodb"]["Keys"]["id"]["S"] for event in events for record in event["Records"]]


@pytest.mark.parametrize(
    ("view", "images"),
    [
        ("KEYS_ONLY", [set(), set(), set()]),
        ("NEW_IMAGE", [{"NewImage"}, {"NewImage"}, set()]),
        ("OLD_IMAGE", [set(), {"OldImage"}, {"OldImage"}]),
        ("NEW_AND_OLD_IMAGES", [{"NewImage"}, {"NewImage", "OldImage"}, {"OldImage"}]),
    ],
)
def test_a_stream_holds_what_its_view_says(tables, streams, name, view, images):
    name = f"{name}-{view}"
    stream = table(tables, name, view)
    assert stream.startswith(f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}/stream/")
    put(tables, name, "a", v=1)
    tables.update_item(
        TableName=name, Key={"id": {"S": "a"}}, UpdateExpression="SET v = :v", ExpressionAttributeValues={":v": {"S": "2"}}
    )
    tables.delete_item(TableName=name, Key={"id": {"S": "a"}})
    found = records(streams, stream)
    assert [record["eventName"] for record in found] == ["INSERT", "MODIFY", "REMOVE"]
    assert [{"NewImage", "OldImage"} & set(record["dynamodb"]) for record in found] == images
    for record in found:
        body = record["dynamodb"]
        assert (record["eventSource"], record["eventVersion"], record["awsRegion"]) == ("aws:dynamodb", "1.1", REGION)
        assert body["StreamViewType"] == view and body["Keys"] == {"id": {"S": "a"}} and body["SequenceNumber"].isdecimal()
        assert body["SizeBytes"] == 3 + 5 * len({"NewImage", "OldImage"} & set(body))
        assert "userIdentity" not in record
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in found]
    assert numbers == sorted(numbers) and len(set(record["eventID"] for record in found)) == 3


def test_every_type_comes_back_as_it_was_written(tables, streams, name):
    stream = table(tables, name, "NEW_IMAGE")
    item = {
        "id": {"S": "ä"},
        "n": {"N": "12345678901234567890.12345678901234567"},
        "b": {"B": b"\x00\xff"},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2"]},
        "bs": {"BS": [b"x"]},
        "m": {"M": {"l": {"L": [{"NULL": True}, {"BOOL": False}]}}},
    }
    tables.put_item(TableName=name, Item=item)
    assert records(streams, stream)[0]["dynamodb"]["NewImage"] == item


def test_the_cli_reads_a_stream(server, tables, name):
    stream = table(tables, name, "KEYS_ONLY")
    put(tables, name, "a")
    listed = json.loads(server.aws("dynamodbstreams", "list-streams", "--table-name", name).stdout)
    assert [one["StreamArn"] for one in listed["Streams"]] == [stream]
    described = json.loads(server.aws("dynamodbstreams", "describe-stream", "--stream-arn", stream).stdout)
    (shard,) = described["StreamDescription"]["Shards"]
    assert "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    iterator = json.loads(
        server.aws(
            *["dynamodbstreams", "get-shard-iterator", "--stream-arn", stream, "--shard-id", shard["ShardId"]],
            *["--shard-iterator-type", "TRIM_HORIZON"],
        ).stdout
    )["ShardIterator"]
    read = json.loads(server.aws("dynamodbstreams", "get-records", "--shard-iterator", iterator).stdout)
    assert [record["eventName"] for record in read["Records"]] == ["INSERT"]


def test_what_is_wrong_is_said_as_aws_says_it(server, tables, streams, name):
    stream = table(tables, name)
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]

    def refused(call, **members):
        with pytest.raises(ClientError) as caught:
            call(**members)
        return caught.value.response["Error"]

    missing = f"{stream[:-3]}149"
    assert refused(streams.describe_stream, StreamArn=missing) == {
        "Code": "ResourceNotFoundException",
        "Message": f"Requested resource not found: Stream: {missing} not found",
    }
    start = {"StreamArn": stream, "ShardId": shard}
    for more, code in [
        ({"ShardIteratorType": "AT_SEQUENCE_NUMBER"}, "ValidationException"),
        ({"ShardIteratorType": "TRIM_HORIZON", "SequenceNumber": "0" * 21}, "ValidationException"),
        ({"ShardIteratorType": "bulle"}, "ValidationException"),
        ({"ShardIteratorType": "LATEST", "ShardId": "shardId-00000000000000000000-00000000"}, "ResourceNotFoundException"),
        ({"ShardIteratorType": "LATEST", "StreamArn": "sdfadfsddfagdafgsgjnadflkgnalngalsdfnlkasnlkasd"}, "ValidationException"),
    ]:
        assert refused(streams.get_shard_iterator, **(start | more))["Code"] == code, more
    assert refused(streams.get_records, ShardIterator="sdfsdfsgagaddafgagasgasgasdfasdf")["Code"] == "ValidationException"
    assert refused(streams.list_streams, ExclusiveStartStreamArn="k" * 40)["Code"] == "ValidationException"
    # An iterator is of its stream.
    iterator = streams.get_shard_iterator(**start, ShardIteratorType="LATEST")["ShardIterator"]
    assert refused(streams.get_records, ShardIterator=iterator.replace(name, name + "x"))["Code"] == "ValidationException"


def test_a_stream_outlives_its_table_and_another_one_begins_anew(tables, streams, name):
    first = table(tables, name)
    put(tables, name, "a")
    tables.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    assert streams.describe_stream(StreamArn=first)["StreamDescription"]["StreamStatus"] == "DISABLED"
    put(tables, name, "unseen")
    second = tables.update_table(
        TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    )["TableDescription"]["LatestStreamArn"]
    assert second != first
    put(tables, name, "b")
    tables.delete_table(TableName=name)
    tables.get_waiter("table_not_exists").wait(TableName=name)
    for stream, expected in [(first, ["a"]), (second, ["b"])]:
        assert [record["dynamodb"]["Keys"]["id"]["S"] for record in records(streams, stream)] == expected
    listed = streams.list_streams(TableName=name)["Streams"]
    assert [one["StreamArn"] for one in listed] == [first, second]


def test_what_expires_is_removed_by_the_service(tables, streams, name):
    stream = table(tables, name)
    tables.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"})
    tables.put_item(TableName=name, Item={"id": {"S": "a"}, "until": {"N": str(int(time.time()) + 1)}})
    found = eventually(
        lambda: len(all_ := records(streams, stream)) == 2 and all_, seconds=60, every=0.5, what="the item to expire"
    )
    assert found[1]["eventName"] == "REMOVE"
    assert found[1]["userIdentity"] == {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}


def test_shards_follow_each_other(own, monkeypatch):
    monkeypatch.setenv("PILEUS_TABLES_SHARD_SECONDS", "1")
    server = own().start()
    tables, streams = server.client("dynamodb"), server.client("dynamodbstreams")
    stream = table(tables, "things", "KEYS_ONLY")

    def shards():
        return streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]

    for number in range(3):
        put(tables, "things", str(number))
        eventually(lambda: len(shards()) == number + 2, seconds=30, what="another shard")  # noqa: B023
    found = shards()
    for parent, child in zip(found, found[1:]):
        assert child["ParentShardId"] == parent["ShardId"] < child["ShardId"]
        assert int(parent["SequenceNumberRange"]["EndingSequenceNumber"]) < int(
            child["SequenceNumberRange"]["StartingSequenceNumber"]
        )
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in records(streams, stream)] == ["0", "1", "2"]
    children = streams.describe_stream(
        StreamArn=stream, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": found[0]["ShardId"]}
    )["StreamDescription"]["Shards"]
    assert [child["ShardId"] for child in children] == [found[1]["ShardId"]]
    # A function follows them, too.
    functions = Functions(server)
    functions.create("f", python(SAYS))
    connect(functions, stream, "f")
    put(tables, "things", "3")
    eventually(lambda: keys(got(functions, "f")) == ["0", "1", "2", "3"], seconds=30, what="all changes")


def test_a_change_starts_the_function_in_the_shape_of_aws(functions, tables, name):
    stream = table(tables, name, "NEW_IMAGE")
    functions.create(name, python(SAYS))
    made = connect(functions, stream, name, StartingPosition="LATEST")
    assert (made["BatchSize"], made["LastProcessingResult"]) == (100, "No records processed")
    tables.put_item(TableName=name, Item={"id": {"S": "hello world"}, "raw": {"B": b"foobar"}})
    (event,) = eventually(lambda: got(functions, name), what="the event")
    (record,) = event["Records"]
    body = record["dynamodb"]
    assert isinstance(body.pop("ApproximateCreationDateTime"), int) and body.pop("SequenceNumber").isdecimal()
    assert len(record.pop("eventID")) == 32
    assert record == {
        "awsRegion": REGION,
        "dynamodb": {
            "Keys": {"id": {"S": "hello world"}},
            "NewImage": {"id": {"S": "hello world"}, "raw": {"B": base64.b64encode(b"foobar").decode()}},
            "SizeBytes": 35,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": stream,
        "eventVersion": "1.1",
    }
    eventually(
        lambda: functions.lambda_.get_event_source_mapping(UUID=made["UUID"])["LastProcessingResult"] == "OK", what="OK"
    )


def test_filters_choose_by_images_and_kinds(functions, tables, name):
    stream = table(tables, name)
    functions.create(name, python(SAYS))
    patterns = [
        {"eventName": ["REMOVE"]},
        {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": [{"prefix": "wan"}]}}}},
    ]
    connect(functions, stream, name, FilterCriteria={"Filters": [{"Pattern": json.dumps(one)} for one in patterns]})
    put(tables, name, "a", kind="wanted")
    put(tables, name, "b", kind="other")
    tables.delete_item(TableName=name, Key={"id": {"S": "b"}})
    eventually(lambda: keys(got(functions, name)) == ["a", "b"], what="both")


FAILS = """import json
def handler(event, context):
    print('got', json.dumps(event))
    if any(r['dynamodb']['Keys']['id']['S'] == 'bad' for r in event['Records']):
        raise ValueError('bad')
"""
REPORTS = """import json
def handler(event, context):
    print('got', json.dumps(event))
    bad = [r['dynamodb'] for r in event['Records'] if r['dynamodb']['Keys']['id']['S'] == 'bad']
    return {'batchItemFailures': [{'itemIdentifier': one['SequenceNumber']} for one in bad]}
"""


@pytest.fixture
def failures(server, name):
    """A queue for what is given up: its ARN, and what it holds."""
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=f"{name}-failures"[-80:])["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def letter():
        return eventually(
            lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"), seconds=40, what="the letter"
        )[0]["Body"]

    return arn, lambda: json.loads(letter())


def test_what_fails_is_halved_until_one_is_left_and_told(functions, tables, failures, name):
    stream = table(tables, name, "KEYS_ONLY")
    for key in ["1", "2", "bad", "4", "5"]:
        put(tables, name, key)
    functions.create(name, python(FAILS))
    arn, letter = failures
    connect(
        *[functions, stream, name],
        MaximumRetryAttempts=1,
        BisectBatchOnFunctionError=True,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    told = letter()
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["requestContext"]["functionArn"].endswith(f":function:{name}")
    assert told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert (told["DDBStreamBatchInfo"]["batchSize"], told["DDBStreamBatchInfo"]["streamArn"]) == (1, stream)

    def done():
        events = [event for event in got(functions, name) if "bad" not in keys([event])]
        return keys(events) == ["1", "2", "4", "5"]

    eventually(done, seconds=30, what="all the others")


def test_a_partial_answer_moves_the_checkpoint(functions, tables, failures, name):
    stream = table(tables, name, "KEYS_ONLY")
    for key in ["1", "2", "bad"]:
        put(tables, name, key)
    functions.create(name, python(REPORTS))
    arn, letter = failures
    connect(
        *[functions, stream, name],
        BatchSize=3,
        MaximumRetryAttempts=2,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    told = letter()
    assert (told["DDBStreamBatchInfo"]["batchSize"], told["requestContext"]["approximateInvokeCount"]) == (1, 3)
    assert told["responseContext"]["functionError"] is None
    assert [keys([event]) for event in got(functions, name)] == [["1", "2", "bad"], ["bad"], ["bad"]]
    put(tables, name, "next")
    eventually(lambda: keys(got(functions, name))[-1] == "next", seconds=30, what="what came behind")


COUNTS = """import json
def handler(event, context):
    print('got', json.dumps(event))
    count = event['state'].get('count', 0) + len(event['Records'])
    if event['isFinalInvokeForWindow']:
        return {}
    return {'state': {'count': count}}
"""


@pytest.mark.slow
def test_a_tumbling_window_has_a_state(functions, tables, name):
    stream = table(tables, name, "KEYS_ONLY")
    functions.create(name, python(COUNTS))
    connect(functions, stream, name, TumblingWindowInSeconds=3, BatchSize=2)
    for number in range(5):
        put(tables, name, str(number))

    def finals():
        return [event for event in got(functions, name) if event["isFinalInvokeForWindow"]]

    eventually(lambda: sum(event["state"]["count"] for event in finals()) == 5, seconds=30, what="the end of the window")
    assert all(event["Records"] == [] and event["eventSourceARN"] == stream for event in finals())
    assert got(functions, name)[0]["state"] == {}


# What the stream starts: it writes down what it got, item by item, in another table.
FUNCTION = CLIENT + """
def handler(event, context):
    for record in event["Records"]:
        image = record["dynamodb"]["NewImage"]
        members = {
            "TableName": "seen",
            "Key": {"id": image["id"]},
            "UpdateExpression": "SET h = list_append(if_not_exists(h, :none), :v)",
            "ExpressionAttributeValues": {":none": {"L": []}, ":v": {"L": [image["v"]]}},
        }
        headers = {"x-amz-target": "DynamoDB_20120810.UpdateItem", "content-type": "application/x-amz-json-1.0"}
        status, body = call("/", json.dumps(members).encode(), "dynamodb", **headers)
        if status != 200:
            raise RuntimeError(body)
"""


@pytest.mark.slow
def test_every_change_comes_in_its_order_however_often_the_server_is_killed(own, monkeypatch):
    monkeypatch.setenv("PILEUS_TABLES_SHARD_SECONDS", "2")
    chance = random.Random(SEED)
    server = own(port=lasting_port(chance)).start()
    tables, lambda_ = server.client("dynamodb"), server.client("lambda")
    stream = table(tables, "things", "NEW_IMAGE")
    plain = {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    tables.create_table(TableName="seen", **plain)
    made = {"FunctionName": "on", "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE, "Timeout": 20}
    lambda_.create_function(**made, Code={"ZipFile": python(FUNCTION)})
    lambda_.get_waiter("function_active_v2").wait(FunctionName="on", WaiterConfig={"Delay": 0.05})
    lambda_.create_event_source_mapping(
        EventSourceArn=stream, FunctionName="on", StartingPosition="TRIM_HORIZON", BatchSize=20, ParallelizationFactor=3
    )
    ended, written, wrong = threading.Event(), {}, []

    def write(key):
        wire, version = Wire(server.port, "dynamodb", "DynamoDB_20120810", seconds=10), 0
        while not ended.is_set():
            item = {"id": {"S": key}, "v": {"N": str(version)}}
            while True:
                try:
                    wire.call("PutItem", TableName="things", Item=item)
                    break
                except Lost:
                    time.sleep(0.02)
                except Refused as refused:
                    if refused.status < 500:
                        wrong.append(str(refused))
                        return
                    time.sleep(0.02)
            written[key] = version
            version += 1
            # The function is slower than its writers.
            time.sleep(0.05)

    threads = [threading.Thread(target=write, args=(f"k{number}",), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 1.0))
        server.kill()
        server.restart()
    ended.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong, (SEED, wrong[:3])
    tables = server.client("dynamodb")

    def histories():
        items = tables.scan(TableName="seen")["Items"]
        return {item["id"]["S"]: [int(one["N"]) for one in item["h"]["L"]] for item in items}

    def all_there():
        seen = histories()
        return all(seen.get(key, [-1])[-1] == last for key, last in written.items()) and seen

    seen = eventually(all_there, seconds=180, every=0.5, what=f"everything (seed {SEED})")
    for key, last in written.items():
        following = 0
        for version in seen[key]:
            # What was under way comes again; nothing comes before an older one, nothing that was never written.
            assert version <= following, (SEED, key, seen[key])
            following = max(following, version + 1)
        assert following == last + 1, (SEED, key)
    assert set(seen) == set(written)
    changes, calls = sum(last + 1 for last in written.values()), sum(map(len, seen.values()))
    with contextlib.suppress(ZeroDivisionError):
        print(f"{KILLS} kills, {changes} changes, {calls / changes:.2f} times each, seed {SEED}")


def test_a_pipe_takes_a_stream_to_a_queue(server, tables, name):
    stream = table(tables, name, "NEW_IMAGE")
    sqs, pipes = server.client("sqs"), server.client("pipes")
    url = sqs.create_queue(QueueName=f"{name}-sink"[-80:])["QueueUrl"]
    sink = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    put(tables, name, "before", v=1)
    pattern = json.dumps({"eventName": ["INSERT"]})
    pipes.create_pipe(
        Name=name,
        RoleArn=ROLE,
        Source=stream,
        SourceParameters={
            "DynamoDBStreamParameters": {"StartingPosition": "LATEST"},
            "FilterCriteria": {"Filters": [{"Pattern": pattern}]},
        },
        Target=sink,
        TargetParameters={"InputTemplate": '{"id": <$.dynamodb.Keys.id.S>, "v": <$.dynamodb.NewImage.v.S>}'},
    )
    eventually(lambda: pipes.describe_pipe(Name=name)["CurrentState"] == "RUNNING", what="the pipe to run")
    put(tables, name, "a", v=2)
    put(tables, name, "a", v=3)
    put(tables, name, "b", v=4)
    came = []

    def all_came():
        came.extend(json.loads(one["Body"]) for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))
        return len(came) >= 2

    eventually(all_came, what="both inserts")
    assert sorted(one["id"] for one in came) == ["a", "b"] and {one["v"] for one in came} == {"2", "4"}
