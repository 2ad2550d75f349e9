"""DynamoDB through boto3 (client and resource), the AWS CLI and bare HTTP."""

import json
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, eventually


@pytest.fixture
def dynamodb(server):
    return server.client("dynamodb")


@pytest.fixture
def table(dynamodb, name):
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "owner", "AttributeType": "S"},
            {"AttributeName": "size", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by-size",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "size", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-owner",
                "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}, {"AttributeName": "size", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def key(pk, sk):
    return {"pk": {"S": pk}, "sk": {"N": str(sk)}}


def raw(server, operation, document):
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    return server.raw("POST", "/", json.dumps(document).encode(), headers)


def test_an_item_goes_in_and_comes_out(dynamodb, table):
    item = {
        **key("a", 1),
        "text": {"S": "héllo"},
        "empty": {"S": ""},
        "number": {"N": "-12345678901234567890.123456789"},
        "blob": {"B": b"\0\xff"},
        "flag": {"BOOL": True},
        "nothing": {"NULL": True},
        "texts": {"SS": ["x", "y"]},
        "numbers": {"NS": ["1", "2.5"]},
        "blobs": {"BS": [b"a", b"b"]},
        "list": {"L": [{"N": "1"}, {"M": {"deep": {"S": "er"}}}]},
        "map": {"M": {}},
    }
    dynamodb.put_item(TableName=table, Item=item)
    got = dynamodb.get_item(TableName=table, Key=key("a", 1), ConsistentRead=True)["Item"]
    assert {name: value for name, value in got.items()} == item
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key("a", 2))
    got = dynamodb.get_item(
        TableName=table,
        Key=key("a", 1),
        ProjectionExpression="#t, #l[1].deep",
        ExpressionAttributeNames={"#t": "text", "#l": "list"},
    )["Item"]
    assert got == {"text": {"S": "héllo"}, "list": {"L": [{"M": {"deep": {"S": "er"}}}]}}
    old = dynamodb.delete_item(TableName=table, Key=key("a", 1), ReturnValues="ALL_OLD")["Attributes"]
    assert old == item
    assert "Attributes" not in dynamodb.delete_item(TableName=table, Key=key("a", 1), ReturnValues="ALL_OLD")


def test_answers_carry_their_checksum(server, table):
    status, headers, body = raw(server, "DescribeTable", {"TableName": table})
    assert status == 200
    checksum = {name.lower(): value for name, value in dict(headers).items()}["x-amz-crc32"]
    assert int(checksum) == zlib.crc32(body)
    status, headers, body = raw(server, "DescribeTable", {"TableName": "nothing-here"})
    assert status == 400
    assert json.loads(body)["__type"] == "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"
    assert int({n.lower(): v for n, v in dict(headers).items()}["x-amz-crc32"]) == zlib.crc32(body)


def test_conditions_hold_and_failures_show_the_item(dynamodb, table):
    dynamodb.put_item(TableName=table, Item={**key("a", 1), "n": {"N": "5"}}, ConditionExpression="attribute_not_exists(pk)")
    with pytest.raises(ClientError) as caught:
        dynamodb.put_item(
            TableName=table,
            Item=key("a", 1),
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    response = caught.value.response
    assert response["Error"] == {"Code": "ConditionalCheckFailedException", "Message": "The conditional request failed"}
    assert response["Item"] == {**key("a", 1), "n": {"N": "5"}}
    got = dynamodb.update_item(
        TableName=table,
        Key=key("a", 1),
        UpdateExpression="SET n = n + :one",
        ConditionExpression="n BETWEEN :one AND :nine",
        ExpressionAttributeValues={":one": {"N": "1"}, ":nine": {"N": "9"}},
        ReturnValues="UPDATED_NEW",
    )
    assert got["Attributes"] == {"n": {"N": "6"}}
    # As SDKs wrote it before there were expressions.
    got = dynamodb.update_item(
        TableName=table,
        Key=key("a", 1),
        AttributeUpdates={"n": {"Action": "ADD", "Value": {"N": "4"}}, "t": {"Value": {"S": "x"}}},
        Expected={"n": {"Value": {"N": "6"}}},
        ReturnValues="ALL_NEW",
    )
    assert got["Attributes"] == {**key("a", 1), "n": {"N": "10"}, "t": {"S": "x"}}
    assert refused(dynamodb.delete_item, TableName=table, Key=key("a", 1), Expected={"n": {"Exists": False}})[0] == (
        "ConditionalCheckFailedException"
    )


def test_the_resource_queries_pages_filters_and_reverses(server, dynamodb, table):
    things = boto3.resource(
        "dynamodb",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    ).Table(table)
    for sk in range(25):
        dynamodb.put_item(
            TableName=table,
            Item={**key("q", sk), "owner": {"S": "o" + str(sk % 2)}, "size": {"N": str(100 - sk)}, "odd": {"BOOL": sk % 2 == 1}},
        )
    got = dynamodb.query(
        TableName=table,
        KeyConditionExpression="pk = :p AND sk BETWEEN :a AND :b",
        ExpressionAttributeValues={":p": {"S": "q"}, ":a": {"N": "9.5"}, ":b": {"N": "12"}},
    )
    assert [item["sk"]["N"] for item in got["Items"]] == ["10", "11", "12"] and got["ScannedCount"] == 3
    seen, start = [], {}
    while True:
        got = dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :p",
            FilterExpression="odd = :t",
            ExpressionAttributeValues={":p": {"S": "q"}, ":t": {"BOOL": True}},
            ScanIndexForward=False,
            Limit=7,
            **start,
        )
        seen += [int(item["sk"]["N"]) for item in got["Items"]]
        assert got["ScannedCount"] <= 7
        if "LastEvaluatedKey" not in got:
            break
        start = {"ExclusiveStartKey": got["LastEvaluatedKey"]}
    assert seen == [sk for sk in range(24, -1, -1) if sk % 2 == 1]
    got = dynamodb.query(
        TableName=table,
        IndexName="by-owner",
        KeyConditionExpression="#o = :o AND #s < :s",
        ExpressionAttributeNames={"#o": "owner", "#s": "size"},
        ExpressionAttributeValues={":o": {"S": "o0"}, ":s": {"N": "80"}},
    )
    assert [item["size"]["N"] for item in got["Items"]] == ["76", "78"]
    got = dynamodb.query(
        TableName=table,
        IndexName="by-size",
        KeyConditionExpression="pk = :p AND #s >= :s",
        ExpressionAttributeNames={"#s": "size"},
        ExpressionAttributeValues={":p": {"S": "q"}, ":s": {"N": "99"}},
    )
    assert got["Items"] == [{**key("q", 1), "size": {"N": "99"}}, {**key("q", 0), "size": {"N": "100"}}]
    assert dynamodb.query(
        TableName=table, KeyConditions={"pk": {"AttributeValueList": [{"S": "q"}], "ComparisonOperator": "EQ"}}, Select="COUNT"
    )["Count"] == 25
    got = things.query(KeyConditionExpression=Key("pk").eq("q") & Key("sk").lt(3), FilterExpression=Attr("odd").eq(False))
    assert [item["sk"] for item in got["Items"]] == [Decimal(0), Decimal(2)]


def test_a_scan_in_segments_sees_everything_once(dynamodb, table):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: dynamodb.put_item(TableName=table, Item=key(f"p{n}", n)), range(60)))
    seen = []
    for segment in range(4):
        start = {}
        while True:
            got = dynamodb.scan(TableName=table, Segment=segment, TotalSegments=4, Limit=5, **start)
            seen += [item["pk"]["S"] for item in got["Items"]]
            if "LastEvaluatedKey" not in got:
                break
            start = {"ExclusiveStartKey": got["LastEvaluatedKey"]}
    assert sorted(seen) == sorted(f"p{n}" for n in range(60))
    described = dynamodb.describe_table(TableName=table)["Table"]
    assert described["ItemCount"] == 60 and described["TableStatus"] == "ACTIVE"


def test_batches(dynamodb, table):
    requests = [{"PutRequest": {"Item": {**key("b", n), "v": {"N": str(n)}}}} for n in range(25)]
    assert dynamodb.batch_write_item(RequestItems={table: requests})["UnprocessedItems"] == {}
    got = dynamodb.batch_get_item(RequestItems={table: {"Keys": [key("b", n) for n in range(30)]}})
    assert len(got["Responses"][table]) == 25 and got["UnprocessedKeys"] == {}
    assert refused(dynamodb.batch_write_item, RequestItems={table: requests[:1] * 2}) == (
        "ValidationException",
        "Provided list of item keys contains duplicates",
    )
    assert refused(dynamodb.batch_write_item, RequestItems={"nothing-here": requests[:1]}) == (
        "ResourceNotFoundException",
        "Requested resource not found",
    )
    # Together larger than one transaction: some are left, and a client sends them again.
    large = [{"PutRequest": {"Item": {**key("l", n), "v": {"S": "x" * 390_000}}}} for n in range(20)]
    left, rounds = {table: large}, 0
    while left:
        left, rounds = dynamodb.batch_write_item(RequestItems=left)["UnprocessedItems"], rounds + 1
    assert rounds > 1
    pages = list(dynamodb.get_paginator("query").paginate(
        TableName=table, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "l"}}
    ))
    assert [len(page["Items"]) for page in pages][:2] == [3, 3] and sum(len(page["Items"]) for page in pages) == 20


def test_transactions_are_all_or_nothing(dynamodb, table):
    put = lambda sk: {"Put": {"TableName": table, "Item": {**key("t", sk), "n": {"N": "1"}}}}
    dynamodb.transact_write_items(TransactItems=[put(1), put(2)])
    with pytest.raises(ClientError) as caught:
        dynamodb.transact_write_items(
            TransactItems=[
                put(3),
                {
                    "ConditionCheck": {
                        "TableName": table,
                        "Key": key("t", 1),
                        "ConditionExpression": "n > :n",
                        "ExpressionAttributeValues": {":n": {"N": "1"}},
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                },
            ]
        )
    response = caught.value.response
    assert response["Error"] == {
        "Code": "TransactionCanceledException",
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]",
    }
    assert response["CancellationReasons"][0] == {"Code": "None"}
    assert response["CancellationReasons"][1]["Item"]["n"] == {"N": "1"}
    got = dynamodb.transact_get_items(
        TransactItems=[{"Get": {"TableName": table, "Key": key("t", sk)}} for sk in (1, 3, 2)]
    )["Responses"]
    assert ["Item" in one for one in got] == [True, False, True]
    add = [{"Update": {
        "TableName": table, "Key": key("t", 1), "UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": "1"}}
    }}]
    for _ in range(3):
        dynamodb.transact_write_items(TransactItems=add, ClientRequestToken="once")
    assert dynamodb.get_item(TableName=table, Key=key("t", 1))["Item"]["n"] == {"N": "2"}
    assert refused(dynamodb.transact_write_items, TransactItems=[put(9)], ClientRequestToken="once")[0] == (
        "IdempotentParameterMismatchException"
    )
    assert refused(dynamodb.transact_write_items, TransactItems=[put(9), put(9)]) == (
        "ValidationException",
        "Transaction request cannot include multiple operations on one item",
    )


def test_a_hot_item_loses_no_addition(dynamodb, table):
    def add(_):
        dynamodb.update_item(
            TableName=table, Key=key("hot", 1), UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}}
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(200)))
    assert dynamodb.get_item(TableName=table, Key=key("hot", 1))["Item"]["n"] == {"N": "200"}


def test_what_is_wrong_is_told_in_the_words_of_aws(dynamodb, table):
    put, get, query = dynamodb.put_item, dynamodb.get_item, dynamodb.query
    prefix = "One or more parameter values were invalid: "
    for call, members, message in [
        (put, {"Item": {"pk": {"S": "a"}}}, prefix + "Missing the key sk in the item"),
        (put, {"Item": {"pk": {"S": "a"}, "sk": {"S": "1"}}}, prefix + "Type mismatch for key sk expected: N actual: S"),
        (
            put,
            {"Item": key("", 1)},
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty "
            "string value. Key: pk",
        ),
        (
            put,
            {"Item": {**key("a", 1), "owner": {"N": "1"}}},
            prefix + "Type mismatch for Index Key owner Expected: S Actual: N IndexName: by-owner",
        ),
        (put, {"Item": {**key("a", 1), "n": {"N": "dog"}}}, "The parameter cannot be converted to a numeric value: dog"),
        (
            put,
            {"Item": {**key("a", 1), "n": {"N": "1e126"}}},
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
        (put, {"Item": {**key("a", 1), "s": {"SS": []}}}, prefix + "An string set  may not be empty"),
        (put, {"Item": {**key("a", 1), "s": {"SS": ["x", "x"]}}}, prefix + "Input collection [x, x] contains duplicates."),
        (put, {"Item": {**key("a", 1), "s": {"S": "x" * 410_000}}}, "Item size has exceeded the maximum allowed size"),
        (get, {"Key": {"pk": {"S": "a"}}}, "The provided key element does not match the schema"),
        (put, {"Item": key("a", 1), "ReturnValues": "ALL_NEW"}, "ReturnValues can only be ALL_OLD or NONE"),
        (
            put,
            {"Item": key("a", 1), "ConditionExpression": "a = :a"},
            "Invalid ConditionExpression: An expression attribute value used in expression is not defined; attribute value: :a",
        ),
        (
            put,
            {"Item": key("a", 1), "ExpressionAttributeNames": {"#a": "a"}},
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (
            query,
            {"KeyConditionExpression": "sk = :s", "ExpressionAttributeValues": {":s": {"N": "1"}}},
            "Query condition missed key schema element: pk",
        ),
        (
            query,
            {"KeyConditionExpression": "pk > :s", "ExpressionAttributeValues": {":s": {"S": "1"}}},
            "Query key condition not supported",
        ),
        (
            query,
            {"KeyConditionExpression": "pk = :s", "ExpressionAttributeValues": {":s": {"N": "1"}}},
            prefix + "Condition parameter type does not match schema type",
        ),
        (
            query,
            {"IndexName": "nothing", "KeyConditionExpression": "pk = :s", "ExpressionAttributeValues": {":s": {"S": "1"}}},
            "The table does not have the specified index: nothing",
        ),
        (
            query,
            {
                "IndexName": "by-owner",
                "ConsistentRead": True,
                "KeyConditionExpression": "#o = :s",
                "ExpressionAttributeNames": {"#o": "owner"},
                "ExpressionAttributeValues": {":s": {"S": "1"}},
            },
            "Consistent reads are not supported on global secondary indexes",
        ),
        (
            dynamodb.update_item,
            {"Key": key("a", 1), "UpdateExpression": "SET pk = :p", "ExpressionAttributeValues": {":p": {"S": "1"}}},
            prefix + "Cannot update attribute pk. This attribute is part of the key",
        ),
        (
            dynamodb.scan,
            {"Segment": 4, "TotalSegments": 4},
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 4 is not less than "
            "TotalSegments: 4",
        ),
    ]:
        assert refused(call, TableName=table, **members) == ("ValidationException", message), members


def test_an_index_made_later_is_filled_while_items_change(dynamodb, name):
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for n in range(40):
        dynamodb.put_item(TableName=name, Item={"id": {"S": str(n)}, "kind": {"S": "k" + str(n % 2)}})
    updated = dynamodb.update_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "kind", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "kinds",
                    "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            }
        ],
    )["TableDescription"]
    assert updated["GlobalSecondaryIndexes"][0]["IndexStatus"] == "CREATING"
    dynamodb.delete_item(TableName=name, Key={"id": {"S": "0"}})
    eventually(lambda: dynamodb.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE")
    count = lambda kind: dynamodb.query(
        TableName=name, IndexName="kinds", KeyConditionExpression="kind = :k", ExpressionAttributeValues={":k": {"S": kind}}
    )["Count"]
    assert (count("k0"), count("k1")) == (19, 20)
    assert dynamodb.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"][0]["ItemCount"] == 39


def test_items_expire(dynamodb, table):
    dynamodb.put_item(TableName=table, Item={**key("e", 1), "until": {"N": str(int(time.time()) - 10)}})
    dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"})
    dynamodb.put_item(TableName=table, Item={**key("e", 2), "until": {"N": str(int(time.time()) + 1)}})
    dynamodb.put_item(TableName=table, Item={**key("e", 3), "until": {"N": str(int(time.time()) + 3600)}})
    there = lambda: sorted(item["sk"]["N"] for item in dynamodb.scan(TableName=table)["Items"])
    eventually(lambda: there() == ["3"], seconds=30)
    described = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}


def test_capacity_is_counted_as_aws_does(dynamodb, table):
    got = dynamodb.put_item(
        TableName=table,
        Item={**key("c", 1), "owner": {"S": "o"}, "size": {"N": "1"}, "v": {"S": "x" * 2000}},
        ReturnConsumedCapacity="INDEXES",
        ReturnItemCollectionMetrics="SIZE",
    )
    consumed = got["ConsumedCapacity"]
    assert consumed["CapacityUnits"] == 5 and consumed["Table"] == {"CapacityUnits": 2}
    assert consumed["GlobalSecondaryIndexes"] == {"by-owner": {"CapacityUnits": 2}}
    assert consumed["LocalSecondaryIndexes"] == {"by-size": {"CapacityUnits": 1}}
    assert got["ItemCollectionMetrics"] == {"ItemCollectionKey": {"pk": {"S": "c"}}, "SizeEstimateRangeGB": [0.0, 1.0]}
    units = lambda **more: dynamodb.get_item(TableName=table, Key=key("c", 1), ReturnConsumedCapacity="TOTAL", **more)[
        "ConsumedCapacity"
    ]
    assert units() == {"TableName": table, "CapacityUnits": 0.5}
    assert units(ConsistentRead=True)["CapacityUnits"] == 1


def test_tables_are_made_described_protected_and_deleted(dynamodb, name):
    made = dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        Tags=[{"Key": "a", "Value": "b"}],
        DeletionProtectionEnabled=True,
    )["TableDescription"]
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
    assert made["TableStatus"] == "CREATING" and made["TableArn"] == arn
    assert made["LatestStreamArn"] == f"{arn}/stream/{made['LatestStreamLabel']}"
    dynamodb.get_waiter("table_exists").wait(TableName=name)
    described = dynamodb.describe_table(TableName=arn)["Table"]
    assert described["WarmThroughput"] == {"ReadUnitsPerSecond": 5, "WriteUnitsPerSecond": 5, "Status": "ACTIVE"}
    assert dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert name in dynamodb.list_tables()["TableNames"]
    assert refused(
        dynamodb.create_table,
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    ) == ("ResourceInUseException", f"Table already exists: {name}")
    assert refused(dynamodb.delete_table, TableName=name)[0] == "ValidationException"
    dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
    gone = dynamodb.delete_table(TableName=name)["TableDescription"]
    assert gone["TableStatus"] == "DELETING" and "KeySchema" not in gone
    dynamodb.get_waiter("table_not_exists").wait(TableName=name)
    assert refused(dynamodb.delete_table, TableName="non-existent") == (
        "ResourceNotFoundException",
        "Requested resource not found: Table: non-existent not found",
    )
    assert refused(
        dynamodb.create_table,
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
        BillingMode="PAY_PER_REQUEST",
    ) == (
        "ValidationException",
        "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
        "BillingMode is PAY_PER_REQUEST",
    )


def test_what_is_not_there_is_named(server, dynamodb, table):
    assert dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"][
        "PointInTimeRecoveryDescription"
    ] == {"PointInTimeRecoveryStatus": "DISABLED"}
    code, message = refused(dynamodb.create_global_table, GlobalTableName=table, ReplicationGroup=[])
    assert code == "NotImplementedException" and "CreateGlobalTable" in message
    status, _, body = raw(server, "StartBulkPutItems", {})
    assert status == 501 and "StartBulkPutItems" in json.loads(body)["message"]


def test_hostile_bodies_are_refused(server, table):
    nested = lambda depth: '{"M":{"a":' * depth + '{"S":"x"}' + "}}" * depth

    def put(value):
        body = '{"TableName":"%s","Item":{"pk":{"S":"n"},"sk":{"N":"1"},"d":%s}}' % (table, value)
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.PutItem"}
        status, _, answer = server.raw("POST", "/", body.encode(), headers)
        return status, json.loads(answer).get("__type", "").rpartition("#")[2]

    assert put(nested(32)) == (200, "")
    assert put(nested(33)) == (400, "ValidationException")
    assert put(nested(100_000)) == (400, "SerializationException")
    assert put("{" * 1000) == (400, "SerializationException")
    assert put('{"S":1}') == (400, "SerializationException")
    assert put('{"S":"a","N":"1"}') == (400, "ValidationException")
    assert put("{}") == (400, "ValidationException")
    assert put('{"S":"%s"}' % ("x" * 15_000_000)) == (400, "ValidationException")
    assert server.health()["status"] == "ok"


def test_the_aws_cli(server, table):
    item = json.dumps({**key("cli", 1), "v": {"S": "x"}})
    server.aws("dynamodb", "put-item", "--table-name", table, "--item", item)
    got = server.aws("dynamodb", "get-item", "--table-name", table, "--key", json.dumps(key("cli", 1)))
    assert json.loads(got.stdout)["Item"]["v"] == {"S": "x"}


def test_items_survive_a_kill(own, name):
    server = own().start()
    dynamodb = server.client("dynamodb")
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for n in range(20):
        dynamodb.put_item(TableName=name, Item={"id": {"N": str(n)}})
    server.kill()
    server.restart()
    dynamodb = server.client("dynamodb")
    assert dynamodb.scan(TableName=name, Select="COUNT")["Count"] == 20
    assert dynamodb.describe_table(TableName=name)["Table"]["ItemCount"] == 20
