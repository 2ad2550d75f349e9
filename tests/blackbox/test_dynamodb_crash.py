"""DynamoDB under `kill -9`: what was acknowledged is there, transactions are whole, indexes and counts agree with their items.

`PILEUS_KILLS` sets how often the server is killed (5)."""

import os
import random
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError

TABLE = "crash"
WRITERS = 4


def make(dynamodb):
    dynamodb.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "group", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "groups",
                "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def write(dynamodb, name, acknowledged):
    """Writes items and triples of items until the server is gone."""
    number = 0
    while True:
        number += 1
        group = {"S": f"g{number % 5}"}
        single = {"id": {"S": f"{name}-{number}"}, "group": group}
        triple = [single | {"id": {"S": f"{name}-{number}{part}"}, "of": {"S": f"{name}-{number}"}} for part in "abc"]
        try:
            if number % 3:
                dynamodb.put_item(TableName=TABLE, Item=single)
                acknowledged[single["id"]["S"]] = single
            else:
                dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": one}} for one in triple])
                acknowledged.update({one["id"]["S"]: one for one in triple})
        except (BotoCoreError, ClientError):
            return


def everything(dynamodb, **index):
    pages = dynamodb.get_paginator("scan").paginate(TableName=TABLE, **index)
    return {item["id"]["S"]: item for page in pages for item in page["Items"]}


def test_nothing_acknowledged_is_lost_and_nothing_is_torn(own):
    server = own().start()
    make(server.client("dynamodb"))
    acknowledged = {}
    for kill in range(int(os.environ.get("PILEUS_KILLS", "5"))):
        clients = [server.client("dynamodb") for _ in range(WRITERS)]
        writers = [
            threading.Thread(target=write, args=(client, f"{kill}-{index}", acknowledged))
            for index, client in enumerate(clients)
        ]
        for writer in writers:
            writer.start()
        time.sleep(random.uniform(0.3, 1.0))
        server.kill()
        for writer in writers:
            writer.join()
        server.restart()
        dynamodb = server.client("dynamodb")
        items = everything(dynamodb)
        assert {name: items.get(name) for name in acknowledged} == acknowledged
        parts = {}
        for name, item in items.items():
            if "of" in item:
                parts.setdefault(item["of"]["S"], set()).add(name[-1])
        assert all(there == set("abc") for there in parts.values())
        assert everything(dynamodb, IndexName="groups") == items
        described = dynamodb.describe_table(TableName=TABLE)["Table"]
        assert described["ItemCount"] == described["GlobalSecondaryIndexes"][0]["ItemCount"] == len(items)
    assert len(acknowledged) > 20
