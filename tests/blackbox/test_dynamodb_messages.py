"""What DynamoDB says to requests that are wrong, word for word: as others recorded it from AWS."""

import pytest
from botocore.exceptions import ClientError

PREFIX = "One or more parameter values were invalid: "
NOT_VALID = "One or more parameter values are not valid. "
EMPTY_KEY = NOT_VALID + "The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"
MISMATCH = "The provided key element does not match the schema"
TABLE = "messages"
UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
S, N = "S", "N"


def keys(*names):
    return [{"AttributeName": name, "KeyType": role} for name, role in zip(names, ("HASH", "RANGE"))]


def defined(*names, of=S):
    return [{"AttributeName": name, "AttributeType": of} for name in names]


def index(name, *names, **more):
    return {"IndexName": name, "KeySchema": keys(*names), "Projection": {"ProjectionType": "ALL"}} | more


@pytest.fixture(scope="module")
def dynamodb(shared):
    client = shared.client("dynamodb", parameter_validation=False)
    client.create_table(
        TableName=TABLE,
        AttributeDefinitions=defined("pk", "sk", "lsi1sk"),
        KeySchema=keys("pk", "sk"),
        LocalSecondaryIndexes=[index("lsi1", "pk", "lsi1sk")],
        GlobalSecondaryIndexes=[index("gsi1", "lsi1sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def key(pk="a", sk="b", **more):
    return {"pk": {S: pk}, "sk": {S: sk}} | more


CREATE = {
    "duplicate key attribute": (
        {"AttributeDefinitions": defined("pk"), "KeySchema": keys("pk", "pk")},
        "Invalid KeySchema: Some index key attribute have no definition",
    ),
    "unknown key type": (
        {"AttributeDefinitions": defined("pk"), "KeySchema": [{"AttributeName": "pk", "KeyType": "INVALID"}]},
        "1 validation error detected: Value 'INVALID' at 'keySchema.1.member.keyType' failed to satisfy constraint: Member "
        "must satisfy enum value set: [HASH, RANGE]",
    ),
    "unknown attribute type": (
        {"AttributeDefinitions": defined("pk", of="INVALID"), "KeySchema": keys("pk")},
        "1 validation error detected: Value 'INVALID' at 'attributeDefinitions.1.member.attributeType' failed to satisfy "
        "constraint: Member must satisfy enum value set: [B, N, S]",
    ),
    "local index of a table without range key": (
        {
            "AttributeDefinitions": defined("pk", "lsiSk"),
            "KeySchema": keys("pk"),
            "LocalSecondaryIndexes": [index("lsi1", "pk", "lsiSk")],
        },
        PREFIX + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
    ),
    "an index twice": (
        {
            "AttributeDefinitions": defined("pk", "sk", "g1", "g2"),
            "KeySchema": keys("pk", "sk"),
            "GlobalSecondaryIndexes": [
                index("same", "g1", ProvisionedThroughput=UNITS),
                index("same", "g2", ProvisionedThroughput=UNITS),
            ],
        },
        PREFIX + "Duplicate index name: same",
    ),
    "definitions that no key has": (
        {"AttributeDefinitions": defined("pk", "more"), "KeySchema": keys("pk")},
        PREFIX + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
    ),
}


@pytest.mark.parametrize("case", CREATE)
def test_tables_that_cannot_be(dynamodb, case):
    members, message = CREATE[case]
    refused(dynamodb, "create_table", message, TableName="cannot-be", ProvisionedThroughput=UNITS, **members)


def refused(client, call, message, code="ValidationException", **members):
    with pytest.raises(ClientError) as caught:
        getattr(client, call)(**members)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, message)


UPDATE = {"UpdateExpression": "SET attr1 = :v", "ExpressionAttributeValues": {":v": {S: "val"}}}
QUERY = {"KeyConditionExpression": "pk = :v", "ExpressionAttributeValues": {":v": {S: "val"}}}
CALLS = [
    ("put_item", {"Item": key(bad={"SS": []})}, PREFIX + "An string set  may not be empty"),
    ("put_item", {"Item": key(bad={"NS": []})}, PREFIX + "An number set  may not be empty"),
    ("put_item", {"Item": key(bad={"SS": ["a", "a"]})}, PREFIX + "Input collection [a, a] contains duplicates."),
    (
        "put_item",
        {"Item": key(), "Expected": {"pk": {"Exists": False}}, "ConditionExpression": "attribute_not_exists(pk)"},
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {Expected} "
        "Expression parameters: {ConditionExpression}",
    ),
    (
        "put_item",
        {"Item": key(), "ConditionExpression": "((attribute_not_exists(pk)))"},
        "Invalid ConditionExpression: The expression has redundant parentheses;",
    ),
    (
        "put_item",
        {"Item": key(), "ConditionExpression": "contains(#a, #a)", "ExpressionAttributeNames": {"#a": "data"}},
        "Invalid ConditionExpression: The first operand must be distinct from the remaining operands for this operator or "
        "function; operator: contains, first operand: [data]",
    ),
    ("put_item", {"Item": key("")}, EMPTY_KEY),
    (
        "put_item",
        {"Item": key(lsi1sk={N: "5"})},
        PREFIX + "Type mismatch for Index Key lsi1sk Expected: S Actual: N IndexName: gsi1",
    ),
    (
        "put_item",
        {"Item": key(lsi1sk={S: ""})},
        NOT_VALID + "A value specified for a secondary index key is not supported. The AttributeValue for a key attribute "
        "cannot contain an empty string value. IndexName: gsi1, IndexKey: lsi1sk",
    ),
    ("get_item", {"Key": {"pk": {S: "a"}}}, MISMATCH),
    ("get_item", {"Key": key("")}, EMPTY_KEY),
    (
        "update_item",
        {"Key": key(), "UpdateExpression": "SET sk = :v", "ExpressionAttributeValues": {":v": {S: "x"}}},
        PREFIX + "Cannot update attribute sk. This attribute is part of the key",
    ),
    (
        "update_item",
        {"Key": key(), "UpdateExpression": "INVALID SYNTAX HERE", "ExpressionAttributeValues": {":v": {S: "x"}}},
        'Invalid UpdateExpression: Syntax error; token: "INVALID", near: "INVALID SYNTAX"',
    ),
    (
        "update_item",
        {"Key": key()} | UPDATE | {"ExpressionAttributeNames": {"#unused": "someattr"}},
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#unused}",
    ),
    (
        "update_item",
        {"Key": key()} | UPDATE | {"ExpressionAttributeValues": {":v": {S: "val"}, ":unused": {S: "extra"}}},
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:unused}",
    ),
    (
        "update_item",
        {"Key": key(), "UpdateExpression": "SET attr1 = :v"},
        "Invalid UpdateExpression: An expression attribute value used in expression is not defined; attribute value: :v",
    ),
    ("update_item", {"Key": key(), "UpdateExpression": ""}, "Invalid UpdateExpression: The expression can not be empty;"),
    (
        "update_item",
        {"Key": key(), "AttributeUpdates": {"attr1": {"Value": {S: "v"}, "Action": "PUT"}}} | UPDATE,
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
        "{AttributeUpdates} Expression parameters: {UpdateExpression}",
    ),
    (
        "update_item",
        {"Key": key(), "UpdateExpression": "SET lsi1sk = :v", "ExpressionAttributeValues": {":v": {S: ""}}},
        NOT_VALID + "The update expression attempted to update a secondary index key to a value that is not supported. The "
        "AttributeValue for a key attribute cannot contain an empty string value.",
    ),
    ("query", QUERY | {"KeyConditionExpression": "sk = :v"}, "Query condition missed key schema element: pk"),
    ("query", QUERY | {"KeyConditionExpression": "attr1 = :v"}, "Query condition missed key schema element: pk"),
    (
        "query",
        QUERY | {"Select": "INVALID_VALUE"},
        "1 validation error detected: Value 'INVALID_VALUE' at 'select' failed to satisfy constraint: Member must satisfy enum "
        "value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
    ),
    ("query", QUERY | {"KeyConditionExpression": ""}, "Invalid KeyConditionExpression: The expression can not be empty;"),
    (
        "query",
        QUERY | {"IndexName": "gsi1", "KeyConditionExpression": "lsi1sk = :v", "ConsistentRead": True},
        "Consistent reads are not supported on global secondary indexes",
    ),
    (
        "query",
        {
            "KeyConditionExpression": "pk = :pk",
            "FilterExpression": "#missing = :fv",
            "ExpressionAttributeValues": {":pk": {S: "val"}, ":fv": {S: "x"}},
        },
        "Invalid FilterExpression: An expression attribute name used in the document path is not defined; attribute name: "
        "#missing",
    ),
    (
        "scan",
        {"Segment": 0},
        "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
    ),
    (
        "scan",
        {"Segment": 5, "TotalSegments": 5},
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 5 is not less than "
        "TotalSegments: 5",
    ),
    (
        "scan",
        {"TotalSegments": 4},
        "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
    ),
    (
        "scan",
        {"Limit": 0},
        "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or "
        "equal to 1",
    ),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_requests_that_are_wrong(dynamodb, number):
    call, members, message = CALLS[number]
    refused(dynamodb, call, message, TableName=TABLE, **members)


def test_batches_and_transactions_that_are_wrong(dynamodb):
    batch = lambda *requests: {"RequestItems": {TABLE: list(requests)}}
    put = lambda item: {"PutRequest": {"Item": item}}
    refused(
        dynamodb,
        "batch_write_item",
        "Provided list of item keys contains duplicates",
        **batch(put(key()), {"DeleteRequest": {"Key": key()}}),
    )
    refused(dynamodb, "batch_write_item", EMPTY_KEY, **batch(put(key(""))))
    overlap = (
        "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; "
        "path one: [a], path two: [{}]"
    )
    for expression, names, second in [("a, a", None, "a"), ("#a, #b", {"#a": "a", "#b": "a"}, "a"), ("a, a.b", None, "a, b")]:
        wanted = {"Keys": [key()], "ProjectionExpression": expression} | ({"ExpressionAttributeNames": names} if names else {})
        refused(dynamodb, "batch_get_item", overlap.format(second), RequestItems={TABLE: wanted})
    transact = lambda *parts: {"TransactItems": list(parts)}
    place = lambda item: {"Put": {"TableName": TABLE, "Item": item}}
    many = "Transaction request cannot include multiple operations on one item"
    refused(dynamodb, "transact_write_items", many, **transact(place(key()), place(key())))
    refused(dynamodb, "transact_write_items", EMPTY_KEY, **transact(place(key(""))))
    short = (
        "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have length greater "
        "than or equal to 1"
    )
    refused(dynamodb, "transact_write_items", short, **transact())
    refused(dynamodb, "transact_get_items", short, **transact())
    for part, message in [
        (place({"pk": {N: "5"}, "sk": {S: "b"}}), PREFIX + "Type mismatch for key pk expected: S actual: N"),
        (
            place(key(lsi1sk={"L": []})),
            PREFIX + "Type mismatch for Index Key lsi1sk Expected: S Actual: L IndexName: gsi1",
        ),
        ({"Delete": {"TableName": TABLE, "Key": {"pk": {N: "5"}, "sk": {S: "b"}}}}, MISMATCH),
    ]:
        with pytest.raises(ClientError) as caught:
            dynamodb.transact_write_items(**transact(part))
        response = caught.value.response
        assert response["Error"] == {
            "Code": "TransactionCanceledException",
            "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError]",
        }
        assert response["CancellationReasons"] == [{"Code": "ValidationError", "Message": message}]
    with pytest.raises(ClientError) as caught:
        dynamodb.transact_get_items(**transact({"Get": {"TableName": TABLE, "Key": {}}}))
    assert [one["Code"] for one in caught.value.response["CancellationReasons"]] == ["ValidationError"]
