"""DynamoDB's answers as AWS gave them (recorded/dynamodb.json): everything that can be asked again is, and what cannot is
listed with its reason."""

import itertools
import json
import pathlib
import re

import pytest
from botocore.exceptions import ClientError

RECORDED = json.loads((pathlib.Path(__file__).parent / "recorded" / "dynamodb.json").read_text())
_numbers = itertools.count()

# Steps that are not asked again, and why.
LEFT_OUT = {
    "describe-stream": "streams have a suite of their own",
    "get-records": "streams have a suite of their own",
    "get-shard-iterator": "streams have a suite of their own",
    "GetRecords": "streams have a suite of their own",
    "GetRecordsAfterUpdate": "streams have a suite of their own",
    "describe": "there is no Kinesis",
    "disable": "there is no Kinesis",
    "enable": "there is no Kinesis",
    "update": "there is no Kinesis",
    "update-no-idempotency": "there is no Kinesis",
}


def fresh() -> str:
    return f"recorded-{next(_numbers)}"


def table(client, name=None, key="id", **members):
    name = name or fresh()
    members = {"ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}} | members
    answer = client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=members.pop("AttributeDefinitions", [{"AttributeName": key, "AttributeType": "S"}]),
        **{member: value for member, value in members.items() if value is not None},
    )
    return name, answer


def failed(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value


def said(error) -> str:
    return str(error).replace(" (reached max retries: 0)", "")


def stream(view):
    return {"StreamEnabled": True, "StreamViewType": view}


def batch_write(client):
    name, _ = table(client)
    client.put_item(TableName=name, Item={"id": {"S": "Fred"}})
    requests = [
        {"DeleteRequest": {"Key": {"id": {"S": "Fred"}}}},
        {"PutRequest": {"Item": {"id": {"S": "Bob"}}}},
    ]
    return {"BatchWriteResponse": client.batch_write_item(RequestItems={name: requests})}


def batch_write_streaming(client):
    name, created = table(client, StreamSpecification=stream("NEW_AND_OLD_IMAGES"))
    put = client.put_item(TableName=name, Item={"id": {"S": "Fred"}})
    first = client.batch_write_item(
        RequestItems={name: [{"PutRequest": {"Item": {"id": {"S": "NewKey"}}}}, {"PutRequest": {"Item": {"id": {"S": "Fred"}}}}]}
    )
    second = client.batch_write_item(
        RequestItems={
            name: [
                {"PutRequest": {"Item": {"id": {"S": "Fred"}, "name": {"S": "Fred"}}}},
                {"DeleteRequest": {"Key": {"id": {"S": "NewKey"}}}},
            ]
        }
    )
    return {
        "create-table": created,
        "put-item-1": put,
        "batch-write-response-overwrite-item-1": first,
        "batch-write-response-delete": second,
    }


def batch_write_nowhere(client):
    put = {"Put": {"TableName": "does-not-exist", "Item": {"id": {"S": "John"}}}}
    return {"exc-not-found-transact-write-items": failed(client.transact_write_items, TransactItems=[put]).response}


def continuous(client):
    name, _ = table(client)
    on = {"PointInTimeRecoveryEnabled": True}
    updated = client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=on)
    return {
        "update-continuous-backup": updated,
        "describe-continuous-backup": client.describe_continuous_backups(TableName=name),
    }


def duplicate(client):
    name, _ = table(client)
    with pytest.raises(ClientError) as caught:
        table(client, name)
    return {"Error": said(caught.value)}


def encoding(client):
    name, _ = table(client)
    printed = lambda item: item | {"data": {"B": str(item["data"]["B"])}}
    get = lambda: printed(client.get_item(TableName=name, Key={"id": {"S": "id1"}})["Item"])
    client.put_item(TableName=name, Item={"id": {"S": "id1"}, "version": {"N": "1"}, "data": {"B": b"\x90"}})
    before = get()
    client.update_item(
        TableName=name,
        Key={"id": {"S": "id1"}},
        UpdateExpression="SET version=:v",
        ExpressionAttributeValues={":v": {"N": "2"}},
    )
    return {"GetItem": before, "GetItemAfterUpdate": get()}


def statements(client):
    name, _ = table(client, key="Username")
    client.put_item(TableName=name, Item={"Username": {"S": "user02"}})
    done = client.batch_execute_statement(
        Statements=[
            {"Statement": f"INSERT INTO \"{name}\" VALUE {{'Username': 'user01'}}"},
            {"Statement": f"UPDATE \"{name}\" SET Age=20 WHERE Username='user02'"},
        ]
    )
    get = lambda user: client.get_item(TableName=name, Key={"Username": {"S": user}})["Item"]
    return {"ExecutedStatement": done, "ItemUser1": get("user01"), "ItemUser2": get("user02")}


def no_parameters(client):
    name, _ = table(client)
    call = client.execute_statement
    return {"invalid-param-error": failed(call, Statement=f'SELECT * FROM "{name}"', Parameters=[]).response}


def statement_transaction(client):
    name, _ = table(client, key="Username")
    done = client.execute_transaction(
        TransactStatements=[{"Statement": f"INSERT INTO \"{name}\" VALUE {{'Username': '{user}'}}"} for user in ("user01", "user02")]
    )
    scanned = client.scan(TableName=name)
    scanned["Items"].sort(key=lambda item: item["Username"]["S"])
    return {"ExecutedTransaction": done, "TableScan": scanned}


def batch_get(client):
    name, _ = table(client)
    return {"Response": client.batch_get_item(RequestItems={name: {"Keys": [{"id": {"S": "nobody"}}]}})}


def pay_per_request(client):
    with pytest.raises(ClientError) as caught:
        table(client, BillingMode="PAY_PER_REQUEST")
    return {"Error": said(caught.value)}


def with_stream(view, key):
    def run(client):
        return {"create-table": table(client, key=key, StreamSpecification=stream(view))[1]}

    return run


def empty(client):
    name, _ = table(client)
    first = client.put_item(TableName=name, Item={"id": {"S": "id1"}, "data": {"S": ""}})
    second = client.put_item(TableName=name, Item={"id": {"S": "id2"}, "data": {"B": b"\x90"}})
    return {"PutFirstItem": first, "PutSecondItem": second}


def with_index(mode):
    def run(client):
        units = {"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}
        index = {
            "IndexName": "TransactionRecordID",
            "KeySchema": [{"AttributeName": "TRID", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
        free = mode == "PAY_PER_REQUEST"
        name, created = table(
            client,
            key="TID",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("TID", "TRID")],
            GlobalSecondaryIndexes=[index if free else index | units],
            BillingMode=mode,
            **({"ProvisionedThroughput": None} if free else {}),
        )
        return {"create-table-with-gsi": created, "describe-table": client.describe_table(TableName=name)}

    return run


def kinesis(client):
    name, _ = table(client, name=f"{fresh()}")
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/bad-stream"
    micro = {"ApproximateCreationDateTimePrecision": "MICROSECOND"}
    bad = {"TableName": "bad-table", "StreamArn": arn}
    update = client.update_kinesis_streaming_destination
    good = {"TableName": name, "StreamArn": arn}
    return {
        "enable-bad-table": failed(client.enable_kinesis_streaming_destination, **bad).response,
        "disable-bad-table": failed(client.disable_kinesis_streaming_destination, **bad).response,
        "update-missing-params": failed(update, **good).response,
        "update-bad-stream-arn": failed(update, **good, UpdateKinesisStreamingConfiguration=micro).response,
        "update-bad-precision": failed(
            update, **good, UpdateKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "SECOND"}
        ).response,
    }


def returned(client):
    name, _ = table(client)
    first, second = ({"id": {"S": "id1"}, "data": {"S": text}} for text in ("foobar", "foobar2"))
    put = lambda item, **more: client.put_item(TableName=name, Item=item, **more)
    return {
        "PutFirstItem": put(first),
        "PutFirstItemOLD": put(first, ReturnValues="ALL_OLD"),
        "PutSecondItem": put({"id": {"S": "id2"}, "data": {"S": "foobar"}}, ReturnValues="ALL_OLD"),
        "PutSecondItemReturnNone": put(second | {"id": {"S": "id2"}}, ReturnValues="NONE"),
        "PutFirstItemB": put(second, ReturnValues="ALL_OLD"),
    }


def condition(client):
    name, _ = table(client)
    item = {"id": {"S": "456"}, "price": {"N": "650"}, "product": {"S": "sporting goods"}}
    client.put_item(TableName=name, Item=item)
    error = failed(
        client.delete_item,
        TableName=name,
        Key={"id": {"S": "456"}},
        ConditionExpression="product = :p",
        ExpressionAttributeValues={":p": {"S": "books"}},
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    # AWS spells the member `Message` in this one answer; clients read both alike.
    error.response.pop("message")
    return {"items": error.response}


def crud(client):
    name, created = table(client)
    return {
        "create-table": created,
        "describe-table": client.describe_table(TableName=name),
        "delete-table": client.delete_table(TableName=name),
        "delete-non-existent-table": failed(client.delete_table, TableName="non-existent").response,
    }


def warm(client):
    name, created = table(client, WarmThroughput={"ReadUnitsPerSecond": 1000, "WriteUnitsPerSecond": 1200})
    return {"create-table": created, "describe-table": client.describe_table(TableName=name)}


def transact_get(client):
    name, created = table(client)
    for person in ("John", "Sarah"):
        client.put_item(TableName=name, Item={"id": {"S": person}})
    get = lambda where, person: client.transact_get_items(
        TransactItems=[{"Get": {"TableName": where, "Key": {"id": {"S": person}}}}]
    )
    arn = created["TableDescription"]["TableArn"]
    return {"TransactGetItems": get(name, "John"), "TransactGetItems-with-TableArn": get(arn, "Sarah")}


def cancelled(client):
    name, _ = table(client)
    check = {
        "TableName": name,
        "ConditionExpression": "attribute_exists(id)",
        "Key": {"id": {"S": "test1"}},
    }
    put = {"TableName": name, "Item": {"id": {"S": "test2"}}}
    error = failed(client.transact_write_items, TransactItems=[{"ConditionCheck": check}, {"Put": put}])
    return {"Error": said(error)}


def transact_write(client):
    name, created = table(client)
    put = lambda where, person: client.transact_write_items(
        TransactItems=[{"Put": {"TableName": where, "Item": {"id": {"S": person}}}}]
    )
    arn = created["TableDescription"]["TableArn"]
    return {"Response": put(name, "John"), "Response_using_table_arn": put(arn, "Sarah")}


def local_index(client):
    name = fresh()
    keys = lambda last: [{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": last, "KeyType": "RANGE"}]
    client.create_table(
        TableName=name,
        KeySchema=keys("SK"),
        LocalSecondaryIndexes=[
            {"IndexName": "LSI1", "KeySchema": keys("LSI1SK"), "Projection": {"ProjectionType": "ALL"}}
        ],
        AttributeDefinitions=[
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
            {"AttributeName": "LSI1SK", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.put_item(TableName=name, Item={"PK": {"S": "test one"}, "SK": {"S": "hello"}, "LSI1SK": {"N": "123"}})
    found = client.query(
        TableName=name,
        IndexName="LSI1",
        KeyConditionExpression="PK = :v1",
        ExpressionAttributeValues={":v1": {"S": "test one"}},
        Select="ALL_ATTRIBUTES",
    )
    return {"Items": found}


SCENARIOS = {
    "test_batch_write_items": batch_write,
    "test_batch_write_items_streaming": batch_write_streaming,
    "test_batch_write_not_existing_table": batch_write_nowhere,
    "test_continuous_backup_update": continuous,
    "test_create_duplicate_table": duplicate,
    "test_data_encoding_consistency": encoding,
    "test_dynamodb_batch_execute_statement": statements,
    "test_dynamodb_execute_statement_empy_parameter": no_parameters,
    "test_dynamodb_execute_transaction": statement_transaction,
    "test_dynamodb_get_batch_items": batch_get,
    "test_dynamodb_pay_per_request": pay_per_request,
    "test_dynamodb_stream_records_with_update_item": with_stream("NEW_AND_OLD_IMAGES", "id"),
    "test_dynamodb_stream_stream_view_type": with_stream("KEYS_ONLY", "Username"),
    "test_empty_and_binary_values": empty,
    "test_gsi_with_billing_mode[PAY_PER_REQUEST]": with_index("PAY_PER_REQUEST"),
    "test_gsi_with_billing_mode[PROVISIONED]": with_index("PROVISIONED"),
    "test_kinesis_streaming_destination_crud": kinesis,
    "test_return_values_in_put_item": returned,
    "test_return_values_on_conditions_check_failure": condition,
    "test_table_crud": crud,
    "test_table_warm_throughput": warm,
    "test_transact_get_items": transact_get,
    "test_transaction_write_canceled": cancelled,
    "test_transaction_write_items": transact_write,
    "test_valid_local_secondary_index": local_index,
}


def pattern(text: str) -> str:
    """What a recorded text stands for: `<…>` is anything, so are accounts and regions."""
    text = re.escape(text)
    return re.sub(r"<[^<>]*>", ".+", text.replace("111111111111", r"\d{12}"))


def differs(recorded, answer, path=""):
    """Where an answer is not as recorded."""
    if recorded == "datetime":
        return None if answer is not None else f"{path}: there is no time"
    if isinstance(recorded, dict):
        if not isinstance(answer, dict):
            return f"{path}: {answer!r}"
        if "HTTPStatusCode" in recorded:
            return differs(recorded["HTTPStatusCode"], answer.get("HTTPStatusCode"), path + ".HTTPStatusCode")
        # The name of a table may be a key, too.
        names = {key: key for key in recorded}
        for key in [key for key in recorded if key.startswith("<")]:
            names[key] = next(iter(answer), key)
        if missing := {names[key] for key in recorded} ^ set(answer):
            return f"{path}: only one of the two has {sorted(missing)}"
        found = (differs(value, answer[names[key]], f"{path}.{key}") for key, value in recorded.items())
        return next(filter(None, found), None)
    if isinstance(recorded, list):
        if not isinstance(answer, list) or len(recorded) != len(answer):
            return f"{path}: {answer!r}"
        found = (differs(*both, f"{path}[]") for both in zip(recorded, answer))
        return next(filter(None, found), None)
    if isinstance(recorded, str) and isinstance(answer, str):
        return None if re.fullmatch(pattern(recorded), answer, re.DOTALL) else f"{path}: {answer!r}, not {recorded!r}"
    return None if recorded == answer else f"{path}: {answer!r}, not {recorded!r}"


@pytest.mark.parametrize("name", RECORDED)
def test_answers_are_as_recorded(server, name):
    recorded = RECORDED[name]
    # No checks before the request is sent: bad ones are asked for, too.
    client = server.client("dynamodb", parameter_validation=False)
    answers = SCENARIOS[name.partition("::")[2]](client)
    assert {step for step in recorded if step not in answers} <= set(LEFT_OUT), "every step is asked again, or left out"
    for step, answer in answers.items():
        assert differs(recorded[step], answer, step) is None
