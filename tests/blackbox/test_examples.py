"""Every example is deployed as its reader would, and does what its README says."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from harness import ROOT, Functions, aws_cli, binary, bundle_boto3, eventually

EXAMPLES = ROOT / "examples"


def copied(example, tmp_path):
    """A copy, so that no build output lands in the tree."""
    copy = tmp_path / example
    shutil.copytree(EXAMPLES / example, copy, ignore=shutil.ignore_patterns("target", "node_modules", "__pycache__"))
    return copy


def deploy(server, example, tmp_path):
    return json.loads(server.pileus("deploy", str(copied(example, tmp_path)), "--json", timeout=900).stdout)


def test_every_example_is_tried_here():
    tried = {"audit-trail", "hello", "hello-node", "hello-rust", "notes", "orders", "self-call"}
    there = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert there == tried
    for example in there:
        assert (EXAMPLES / example / "README.md").is_file()
        # One of several functions says in a script how they are deployed.
        assert (EXAMPLES / example / "pileus.toml").is_file() or (EXAMPLES / example / "deploy.sh").is_file()


@pytest.mark.parametrize("example", ["hello", "hello-node"])
def test_hello_greets_by_invocation_and_by_url(server, tmp_path, example):
    deployed = deploy(server, example, tmp_path)
    answer = json.loads(server.pileus("invoke", example, "--payload", '{"name":"Ada"}').stdout)
    assert answer["message"] == "Hello, Ada!"
    host = deployed["url"].split("/")[2]
    status, headers, body = server.raw("GET", "/?name=Grace", None, {"Host": host})
    assert status == 200 and json.loads(body)["message"] == "Hello, Grace!"


@pytest.mark.slow
def test_hello_rust_is_built_and_runs_natively(server, tmp_path):
    deploy(server, "hello-rust", tmp_path)
    answer = json.loads(server.pileus("invoke", "hello-rust", "--payload", '{"name":"Ada"}').stdout)
    assert answer["message"] == "Hello, Ada!"


def test_self_call_asks_the_platform_from_inside(server, tmp_path):
    deploy(server, "hello", tmp_path)
    copy = copied("self-call", tmp_path)
    bundle_boto3(copy, "lambda", "sts")
    server.pileus("deploy", str(copy))
    answer = json.loads(server.pileus("invoke", "self-call", "--payload", '{"function":"hello"}').stdout)
    assert answer["answer"]["message"] == "Hello, self-call!"
    assert "hello" in answer["functions"] and "self-call" in answer["functions"]
    assert ":assumed-role/" in answer["identity"]


def test_orders_go_from_a_request_to_both_functions(own, tmp_path):
    server = own().start()
    copy = copied("orders", tmp_path)
    bundle_boto3(copy / "api", "sns")
    tools = [str(pathlib.Path(tool).parent) for tool in (aws_cli(), binary())]
    environment = server.environment()
    environment["PATH"] = os.pathsep.join([*tools, environment["PATH"]])

    def run():
        done = subprocess.run([copy / "deploy.sh"], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout.strip()

    url = run()
    assert run() == url, "it may be run again"
    host = url.split("/")[2]

    def order(**members):
        status, _, body = server.raw("POST", "/", json.dumps(members).encode(), {"Host": host})
        return status, json.loads(body)

    placed = [(customer, f"{customer}-{number}") for number in range(5) for customer in ("ada", "grace")]
    for customer, identifier in placed:
        assert order(id=identifier, customer=customer, item="tea")[0] == 202
    # The same order once more, one that cannot be mailed, and one that is none.
    assert order(id="ada-0", customer="ada", item="tea")[0] == 202
    assert order(id="wrong", customer="ada@example.com", item="tea")[0] == 202
    assert order(customer="ada")[0] == 400
    functions, sqs = Functions(server), server.client("sqs")

    def said(name, word):
        return [line.split()[1:3] for line in functions.messages(name) if line.startswith(word)]

    booked = eventually(lambda: len(lines := said("orders-ledger", "booked")) == 11 and lines, seconds=60, what="all bookings")
    for customer in ("ada", "grace"):
        assert [one for who, one in booked if who == customer] == [f"{customer}-{number}" for number in range(5)]
    mailed = eventually(lambda: len(lines := said("orders-mail", "mailed")) == 10 and lines, seconds=60, what="all mails")
    assert sorted(map(tuple, mailed)) == sorted(placed)
    failed = sqs.get_queue_url(QueueName="orders-failed")["QueueUrl"]
    letter = eventually(
        lambda: sqs.receive_message(QueueUrl=failed, WaitTimeSeconds=1).get("Messages"), seconds=60, what="the mail that failed"
    )
    assert json.loads(letter[0]["Body"])["id"] == "wrong"


def test_notes_are_written_read_listed_and_removed_over_http(server, tmp_path):
    copy = copied("notes", tmp_path)
    bundle_boto3(copy, "dynamodb")
    deployed = json.loads(server.pileus("deploy", str(copy), "--json").stdout)
    again = json.loads(server.pileus("deploy", str(copy), "--json").stdout)
    assert (again["code"], again["configuration"]) == ("unchanged", "unchanged")
    host = deployed["url"].split("/")[2]

    def ask(method, path, **members):
        status, _, body = server.raw(method, path, json.dumps(members).encode() if members else None, {"Host": host})
        return status, json.loads(body)

    assert ask("PUT", "/ada/tea", text="Assam") == (200, {"note": "tea", "text": "Assam", "version": 1})
    assert ask("PUT", "/ada/tea", text="Darjeeling", version=1)[1]["version"] == 2
    assert ask("PUT", "/ada/tea", text="late", version=1)[0] == 409
    assert ask("PUT", "/ada/gone", text="soon", seconds=1)[0] == 200
    assert ask("PUT", "/grace/tea", text="Ceylon")[0] == 200
    assert ask("GET", "/ada/tea") == (200, {"note": "tea", "text": "Darjeeling", "version": 2})
    for number in range(25):
        assert ask("PUT", f"/ada/n{number:02}", text=str(number))[0] == 200
    first = ask("GET", "/ada")[1]
    second = ask("GET", f"/ada?after={first['after']}")[1]
    listed = [note["note"] for note in first["notes"] + second["notes"]]
    assert len(first["notes"]) == 20 and second["after"] is None
    assert set(listed) >= {"tea", *(f"n{number:02}" for number in range(25))} and listed == sorted(listed)
    assert ask("DELETE", "/ada/tea")[1]["version"] == 2
    assert ask("GET", "/ada/tea")[0] == ask("DELETE", "/ada/tea")[0] == 404
    for method, path, status in [("PUT", "/ada/bad", 400), ("GET", "/", 404), ("POST", "/ada", 405), ("GET", "/a/b/c", 404)]:
        assert ask(method, path, **({"no": "text"} if method == "PUT" else {}))[0] == status
    eventually(lambda: ask("GET", "/ada/gone")[0] == 404, seconds=60, every=0.5, what="the note's time to end")


def test_the_audit_trail_has_every_change_once(own, tmp_path):
    server = own().start()
    copy = copied("audit-trail", tmp_path)
    bundle_boto3(copy, "dynamodb")
    server.pileus("deploy", str(copy))
    server.pileus("deploy", str(copy))
    tables, lambda_ = server.client("dynamodb"), server.client("lambda")
    assert len(lambda_.list_event_source_mappings(FunctionName="audit-trail")["EventSourceMappings"]) == 1
    for balance in range(3):
        for account in ("ada", "grace"):
            tables.put_item(TableName="accounts", Item={"account": {"S": account}, "balance": {"N": str(balance)}})
    tables.delete_item(TableName="accounts", Key={"account": {"S": "ada"}})

    def trail(account):
        page = tables.query(
            TableName="audit-trail",
            KeyConditionExpression="account = :a",
            ExpressionAttributeValues={":a": {"S": account}},
        )
        return page["Items"]

    def told(account):
        return [(entry["what"]["S"], entry.get("after", {}).get("S", "")) for entry in trail(account)]

    eventually(lambda: len(trail("ada")) == 4 and len(trail("grace")) == 3, seconds=60, what="the trail")
    assert [what for what, _ in told("ada")] == ["INSERT", "MODIFY", "MODIFY", "REMOVE"]
    assert [json.loads(after)["balance"]["N"] for _, after in told("grace")] == ["0", "1", "2"]
    assert trail("ada")[1]["changed"] == {"L": [{"S": "balance"}]} and trail("ada")[3]["by"] == {"S": "a client"}
