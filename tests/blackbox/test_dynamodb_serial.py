"""Concurrent transactions of real clients on a server that is killed again and again: their history has a serial order.

Transactions append elements to two lists and read two lists. What was read of a list says which appends came before and in
which order; so the dependencies between transactions are known, and a cycle among them, or with real time, would be an anomaly.
`PILEUS_KILLS` sets how often the server is killed (3)."""

import os
import random
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError

TABLE, LISTS, CLIENTS = "lists", 6, 6


class Transaction:
    def __init__(self):
        self.reads, self.appends, self.began, self.ended, self.known = {}, {}, time.monotonic(), None, False


def key(number):
    return {"id": {"N": str(number)}}


def elements(item):
    return [one["S"] for one in item.get("all", {"L": []})["L"]]


def read(dynamodb, numbers):
    gets = [{"Get": {"TableName": TABLE, "Key": key(number)}} for number in numbers]
    found = dynamodb.transact_get_items(TransactItems=gets)["Responses"]
    return {number: elements(one.get("Item", {})) for number, one in zip(numbers, found)}


def append(number, element):
    return {
        "Update": {
            "TableName": TABLE,
            "Key": key(number),
            "UpdateExpression": "SET #a = list_append(if_not_exists(#a, :none), :new)",
            "ExpressionAttributeNames": {"#a": "all"},
            "ExpressionAttributeValues": {":none": {"L": []}, ":new": {"L": [{"S": element}]}},
        }
    }


def client(dynamodb, name, history):
    """Transactions until the server is gone; whether the last one happened is not known then."""
    chance = random.Random(name)
    for number in range(10_000):
        two = chance.sample(range(LISTS), 2)
        transaction = Transaction()
        history.append(transaction)
        try:
            if number % 3:
                transaction.appends = {one: f"{name}-{number}-{one}" for one in two}
                dynamodb.transact_write_items(TransactItems=[append(*one) for one in transaction.appends.items()])
            else:
                transaction.reads = read(dynamodb, two)
        except (BotoCoreError, ClientError):
            transaction.reads = {}
            return
        transaction.ended, transaction.known = time.monotonic(), True


def edges(history, last):
    """Who must come before whom."""
    writer = {element: index for index, one in enumerate(history) for element in one.appends.values()}
    before = {index: set() for index in range(len(history))}
    for found in last.values():
        for left, right in zip(found, found[1:]):
            before[writer[left]].add(writer[right])
    for index, one in enumerate(history):
        for number, found in one.reads.items():
            assert last[number][: len(found)] == found, "two reads disagree on the order of a list"
            if found:
                before[writer[found[-1]]].add(index)
            if len(found) < len(last[number]):
                before[index].add(writer[last[number][len(found)]])
    ended = sorted((one.ended, index) for index, one in enumerate(history) if one.known)
    for index, one in enumerate(history):
        behind = [other for end, other in ended if end < one.began]
        # The last of each moment are enough: whatever is before them is before this one, too.
        for other in behind[-2 * CLIENTS :]:
            before[other].add(index)
    return {index: out - {index} for index, out in before.items()}


def cycle(before):
    """A cycle, if there is one."""
    state = {}
    for start in before:
        if start in state:
            continue
        state[start] = 1
        path = [(start, iter(before[start]))]
        while path:
            node, rest = path[-1]
            following = next(rest, None)
            if following is None:
                state[node] = 2
                path.pop()
            elif state.get(following) == 1:
                return [node for node, _ in path]
            elif following not in state:
                state[following] = 1
                path.append((following, iter(before[following])))
    return []


def test_a_cycle_is_found():
    first, second = Transaction(), Transaction()
    first.reads, first.appends = {1: [], 2: []}, {1: "a"}
    second.reads, second.appends = {1: [], 2: []}, {2: "b"}
    assert cycle(edges([first, second], {1: ["a"], 2: ["b"]}))
    second.reads = {1: ["a"], 2: []}
    assert not cycle(edges([first, second], {1: ["a"], 2: ["b"]}))


def test_transactions_have_a_serial_order_although_the_server_is_killed(own):
    server = own().start()
    server.client("dynamodb").create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    history = []
    for kill in range(int(os.environ.get("PILEUS_KILLS", "3"))):
        clients = [
            threading.Thread(target=client, args=(server.client("dynamodb"), f"{kill}.{number}", history))
            for number in range(CLIENTS)
        ]
        for one in clients:
            one.start()
        time.sleep(random.uniform(0.3, 0.8))
        server.kill()
        for one in clients:
            one.join()
        server.restart()
    last = read(server.client("dynamodb"), list(range(LISTS)))
    there = {element for found in last.values() for element in found}
    for one in history:
        kept = [element in there for element in one.appends.values()]
        assert all(kept) or not (one.known or any(kept)), "an acknowledged transaction is lost, or one is torn"
    assert sum(one.known for one in history) > 50
    assert not cycle(edges(history, last))
