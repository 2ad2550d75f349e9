"""A topic with very many subscriptions: one publish, a `kill -9` in the middle of its expansion, every queue has it once.

Runs with a hundred thousand when `PILEUS_SUBSCRIPTIONS=100000` says so (minutes, a few GB of disk), and with two thousand
otherwise. What it took is printed: run it with `-s`.
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import time
import urllib.parse

import pytest

from harness import ACCOUNT, REGION, eventually, free_port

COUNT = int(os.environ.get("PILEUS_SUBSCRIPTIONS", "2000"))
#: Publications, a kill while each is expanded.
PUBLICATIONS = 2
WORKERS = 4
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:many"


def queue_arn(number):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:q{number}"


class Line:
    """A kept connection, with bare requests: boto3 would take most of the time."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, body, headers):
        self.connection.request("POST", "/", body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text[:500])
        return text

    def sqs(self, operation, **members):
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{operation}"}
        return json.loads(self.ask(json.dumps(members), headers) or b"{}")

    def sns(self, action, **members):
        form = urllib.parse.urlencode({"Action": action, "Version": "2010-03-31", **members})
        return self.ask(form, {"Content-Type": "application/x-www-form-urlencoded"})


def subscribed(port, first):
    """Makes every fourth queue and subscribes it."""
    line = Line(port)
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    for number in range(first, COUNT, WORKERS):
        line.sqs("CreateQueue", QueueName=f"q{number}", Attributes={"Policy": policy})
        attributes = {"Attributes.entry.1.key": "RawMessageDelivery", "Attributes.entry.1.value": "true"}
        line.sns("Subscribe", TopicArn=TOPIC, Protocol="sqs", Endpoint=queue_arn(number), **attributes)
    return True


def wrong(port, first):
    """Queues that have anything but each message once."""
    line, found = Line(port), []
    expected = sorted(f"m{number}" for number in range(PUBLICATIONS))
    for number in range(first, COUNT, WORKERS):
        url = f"http://127.0.0.1:{port}/{ACCOUNT}/q{number}"
        answer = line.sqs("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
        bodies = sorted(message["Body"] for message in answer.get("Messages", []))
        if bodies != expected:
            found.append((number, bodies))
    return found


def side_by_side(work, port):
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, [port] * WORKERS, range(WORKERS)))


def memory(server):
    """Resident memory at its peak, MiB."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def waiting(line, number):
    url = f"http://127.0.0.1/{ACCOUNT}/q{number}"
    names = ["ApproximateNumberOfMessages"]
    return int(line.sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=names)["Attributes"][names[0]])


@pytest.mark.slow
def test_a_topic_with_very_many_subscriptions_outlives_kills(own):
    server = own().start()
    Line(server.port).sns("CreateTopic", Name="many")
    begun = time.monotonic()
    assert all(side_by_side(subscribed, server.port))
    made = time.monotonic() - begun
    line = Line(server.port)
    peaks, kills, spent = [memory(server)], 0, 0.0
    for publication in range(PUBLICATIONS):
        begun = time.monotonic()
        line.sns("Publish", TopicArn=TOPIC, Message=f"m{publication}")
        answered = time.monotonic() - begun
        # The message comes to the queues in the order in which they were subscribed, about.
        eventually(lambda: waiting(line, COUNT // 10) > publication, seconds=120, every=0.002, what="a part of it")
        kills += waiting(line, COUNT - 1) == publication
        peaks.append(memory(server))
        server.kill()
        # Somebody's outgoing connection may have taken the old one.
        server.port = free_port()
        again = time.monotonic()
        server.restart()
        line = Line(server.port)
        ready = time.monotonic() - again
        last = range(COUNT - WORKERS, COUNT)
        eventually(lambda: all(waiting(line, number) > publication for number in last), seconds=300, every=0.05, what="its end")
        spent = time.monotonic() - begun
        print(f"publish answered after {answered * 1000:.0f} ms; restarted in {ready:.2f} s; all had it after {spent:.1f} s")
    peaks.append(memory(server))
    # Some of the last ones may have got it before others: what is expanded is empty when the topic may be deleted.
    time.sleep(2)
    bad = [one for part in side_by_side(wrong, server.port) for one in part]
    assert not bad, (len(bad), bad[:10])
    print(f"{COUNT} subscriptions made in {made:.0f} s; memory at most {max(peaks)} MiB; {kills} kills within an expansion")
    if COUNT >= 10_000:
        assert kills == PUBLICATIONS
