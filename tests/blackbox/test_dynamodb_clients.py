"""What applications use on top of DynamoDB: PynamoDB, the JavaScript DocumentClient, Dynamoose. Stock packages."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

PYTHON_PACKAGES = ["pynamodb==6.1.0"]
NODE_PACKAGES = ["@aws-sdk/client-dynamodb@3.1164.0", "@aws-sdk/lib-dynamodb@3.1162.0", "dynamoose@4.2.0"]

PYNAMODB = """
import os
from datetime import datetime, timezone
from pynamodb.attributes import (ListAttribute, MapAttribute, NumberAttribute, TTLAttribute, UTCDateTimeAttribute,
                                 UnicodeAttribute, UnicodeSetAttribute, VersionAttribute)
from pynamodb.connection import Connection
from pynamodb.exceptions import DoesNotExist, PutError, TransactWriteError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model
from pynamodb.transactions import TransactGet, TransactWrite

class ViewIndex(GlobalSecondaryIndex):
    class Meta:
        index_name = "views"
        read_capacity_units = 1
        write_capacity_units = 1
        projection = AllProjection()
    forum = UnicodeAttribute(hash_key=True)
    views = NumberAttribute(range_key=True)

class Thread(Model):
    class Meta:
        table_name = os.environ["TABLE"]
        host = os.environ["AWS_ENDPOINT_URL"]
        region = "us-east-1"
    forum = UnicodeAttribute(hash_key=True)
    subject = UnicodeAttribute(range_key=True)
    by_views = ViewIndex()
    views = NumberAttribute(default=0)
    tags = UnicodeSetAttribute(null=True)
    replies = ListAttribute(default=list)
    about = MapAttribute(default=dict)
    posted = UTCDateTimeAttribute(null=True)
    version = VersionAttribute()

assert not Thread.exists()
Thread.create_table(read_capacity_units=1, write_capacity_units=1, wait=True)
assert Thread.exists()
first = Thread("general", "hello", tags={"a", "b"}, posted=datetime.now(timezone.utc))
first.about = MapAttribute(colour="red")
first.save(Thread.subject.does_not_exist())
try:
    Thread("general", "hello").save(Thread.subject.does_not_exist())
    raise AssertionError("saved twice")
except PutError as error:
    assert error.cause_response_code == "ConditionalCheckFailedException", error
first.update(actions=[Thread.views.set(Thread.views + 3), Thread.replies.set(Thread.replies.append(["hi"])), Thread.tags.delete({"a"})])
again = Thread.get("general", "hello")
assert (again.views, again.replies, again.tags, again.about["colour"], again.version) == (3, ["hi"], {"b"}, "red", 2)
with Thread.batch_write() as batch:
    for number in range(60):
        batch.save(Thread("many", f"s{number:02}", views=number))
assert Thread.count("many") == 60
assert [one.views for one in Thread.query("many", Thread.subject.startswith("s1"), scan_index_forward=False)] == list(range(19, 9, -1))
found = Thread.by_views.query("many", Thread.views > 49, filter_condition=Thread.subject.contains("5"))
assert [one.views for one in found] == list(range(50, 60))
assert len(list(Thread.scan(page_size=7))) == 61
assert len(list(Thread.batch_get([("many", "s01"), ("many", "s02"), ("many", "gone")]))) == 2
connection = Connection(region="us-east-1", host=os.environ["AWS_ENDPOINT_URL"])
with TransactWrite(connection=connection) as transaction:
    transaction.save(Thread("t", "one"))
    transaction.update(Thread("many", "s01"), actions=[Thread.views.add(100)], add_version_condition=False)
    transaction.condition_check(Thread, "many", "s02", condition=Thread.views == 2)
try:
    with TransactWrite(connection=connection) as transaction:
        transaction.save(Thread("t", "two"))
        transaction.condition_check(Thread, "many", "s02", condition=Thread.views == 77)
    raise AssertionError("committed")
except TransactWriteError as error:
    assert [reason and reason.code for reason in error.cancellation_reasons] == ["ConditionalCheckFailed", None], error
with TransactGet(connection=connection) as transaction:
    one = transaction.get(Thread, "t", "one")
    changed = transaction.get(Thread, "many", "s01")
assert one.get().subject == "one" and changed.get().views == 101
first.refresh()
first.delete()
try:
    Thread.get("general", "hello")
    raise AssertionError("still there")
except DoesNotExist:
    pass
Thread.delete_table()
print("done")
"""

DOCUMENT_CLIENT = """
const { DynamoDBClient, CreateTableCommand } = require("@aws-sdk/client-dynamodb");
const lib = require("@aws-sdk/lib-dynamodb");
const assert = require("assert");
(async () => {
  const TableName = process.env.TABLE;
  const raw = new DynamoDBClient({ maxAttempts: 1 });
  const client = lib.DynamoDBDocumentClient.from(raw, { marshallOptions: { removeUndefinedValues: true } });
  const send = (name, input) => client.send(new lib[name + "Command"]({ TableName, ...input }));
  await raw.send(new CreateTableCommand({
    TableName, BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }, { AttributeName: "sk", AttributeType: "N" }],
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
  }));
  const item = { pk: "a", sk: 1, deep: { entries: [1, "two", { three: null }], extra: true }, set: new Set(["x", "y"]), empty: "" };
  await send("Put", { Item: item });
  assert.deepStrictEqual((await send("Get", { Key: { pk: "a", sk: 1 } })).Item, item);
  const updated = await send("Update", {
    Key: { pk: "a", sk: 1 }, UpdateExpression: "SET deep.entries[0] = deep.entries[0] + :one REMOVE deep.extra",
    ExpressionAttributeValues: { ":one": 41 }, ReturnValues: "ALL_NEW",
  });
  assert.deepStrictEqual(updated.Attributes.deep, { entries: [42, "two", { three: null }] });
  await assert.rejects(
    send("Put", { Item: item, ConditionExpression: "attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure: "ALL_OLD" }),
    (error) => error.name === "ConditionalCheckFailedException" && error.Item.pk.S === "a" && error.$metadata.httpStatusCode === 400,
  );
  const puts = [...Array(25).keys()].map((sk) => ({ PutRequest: { Item: { pk: "b", sk } } }));
  await client.send(new lib.BatchWriteCommand({ RequestItems: { [TableName]: puts } }));
  let seen = 0;
  for await (const page of lib.paginateQuery({ client, pageSize: 4 }, {
    TableName, KeyConditionExpression: "pk = :p", ExpressionAttributeValues: { ":p": "b" },
  })) seen += page.Items.length;
  assert.strictEqual(seen, 25);
  await assert.rejects(
    client.send(new lib.TransactWriteCommand({ TransactItems: [
      { Put: { TableName, Item: { pk: "t", sk: 1 } } },
      { ConditionCheck: { TableName, Key: { pk: "b", sk: 1 }, ConditionExpression: "attribute_not_exists(pk)" } },
    ] })),
    (error) => error.name === "TransactionCanceledException" && error.CancellationReasons[1].Code === "ConditionalCheckFailed",
  );
  const found = await client.send(new lib.ExecuteStatementCommand({
    Statement: `SELECT * FROM "${TableName}" WHERE pk = ? AND sk IN [3, 5]`, Parameters: ["b"],
  }));
  assert.deepStrictEqual(found.Items.map((one) => one.sk).sort(), [3, 5]);
  console.log("done");
})().catch((error) => { console.error(error); process.exit(1); });
"""

DYNAMOOSE = """
const dynamoose = require("dynamoose");
const assert = require("assert");
(async () => {
  dynamoose.aws.ddb.set(new dynamoose.aws.ddb.DynamoDB({ maxAttempts: 1 }));
  const schema = new dynamoose.Schema({
    id: { type: String, hashKey: true },
    owner: { type: String, index: { name: "owners", type: "global", rangeKey: "age" } },
    age: Number, tags: { type: Array, schema: [String] }, more: { type: Object, schema: { colour: String } },
  }, { timestamps: true });
  const Cat = dynamoose.model(process.env.TABLE, schema, { waitForActive: { enabled: true }, throughput: "ON_DEMAND" });
  const made = await Cat.create({ id: "1", owner: "ada", age: 3, tags: ["x"], more: { colour: "red" } });
  assert.strictEqual((await Cat.get("1")).more.colour, "red");
  await assert.rejects(Cat.create({ id: "1", owner: "bob" }), /conditional|already|exists/i);
  await Cat.update({ id: "1" }, { $ADD: { age: 2 }, $SET: { owner: "eve" } });
  assert.strictEqual((await Cat.get("1")).age, 5);
  await Cat.batchPut([...Array(25).keys()].map((n) => ({ id: `many-${n}`, owner: "many", age: n })));
  const found = await Cat.query("owner").eq("many").where("age").gt(20).using("owners").sort("descending").exec();
  assert.deepStrictEqual(found.map((one) => one.age), [24, 23, 22, 21]);
  assert.strictEqual((await Cat.scan().all().exec()).count, 26);
  await dynamoose.transaction([Cat.transaction.update({ id: "1" }, { $ADD: { age: 1 } }), Cat.transaction.create({ id: "2", age: 1 })]);
  assert.deepStrictEqual((await Cat.batchGet(["1", "2"])).map((one) => one.age).sort(), [1, 6]);
  await made.delete();
  assert.strictEqual(await Cat.get("1"), undefined);
  console.log("done");
})().catch((error) => { console.error(error); process.exit(1); });
"""


def cache(name: str) -> pathlib.Path:
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return root / "pileus" / name


def once(folder: pathlib.Path, packages, make) -> pathlib.Path:
    """Installs packages into the tests' cache, unless they are there."""
    mark = folder / "installed.json"
    if not (mark.exists() and json.loads(mark.read_text()) == packages):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        mark.write_text(json.dumps(packages))
    return folder


def python(folder):
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PYTHON_PACKAGES], check=True)


def node(folder):
    (folder / "package.json").write_text("{}")
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *NODE_PACKAGES], cwd=folder, check=True)


def run(server, name, command, folder):
    environment = server.environment() | {"TABLE": name, "AWS_REGION": "us-east-1", "NODE_NO_WARNINGS": "1"}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr[-4000:] or done.stdout


def test_pynamodb(server, name):
    folder = once(cache("pynamodb"), PYTHON_PACKAGES, python)
    run(server, name, [folder / "bin" / "python", "-c", PYNAMODB], folder)


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
@pytest.mark.parametrize("program", [DOCUMENT_CLIENT, DYNAMOOSE], ids=["document-client", "dynamoose"])
def test_javascript(server, name, program):
    folder = once(cache("dynamodb-javascript"), NODE_PACKAGES, node)
    run(server, name, ["node", "-e", program], folder)
