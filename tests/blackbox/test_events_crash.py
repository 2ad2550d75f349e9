"""Nothing lost, nothing invented: `kill -9` again and again while messages are sent, received and deleted.

What is held against the server is only what it acknowledged. `PILEUS_KILLS` says how often it is killed (`make fuzz`: more).
"""

import contextlib
import http.client
import json
import os
import random
import socket
import threading
import time
import urllib.parse

import pytest

from harness import ACCOUNT, REGION, ROLE, python
from harness import PYTHON as PYTHON_RUNTIME
from signing import CLIENT
from wire_client import Lost, Refused, Wire

KILLS = int(os.environ.get("PILEUS_KILLS", "10"))
SEED = int(os.environ.get("PILEUS_SEED", "0")) or random.randrange(1 << 30)
VISIBILITY = 2
# Seconds that the function may take.
LIMIT = 10
SENDERS, GROUPS, RECEIVERS = 3, 3, 3


def lasting_port(chance):
    """A port that the system gives to no client: while the server is down, none that looks for it may take it."""
    while True:
        port = chance.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Book:
    """What was asked, what was acknowledged, what came out; and everything that contradicts it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.tried, self.acknowledged = set(), set()
        # By queue and message id: what it says, and when it was last asked for.
        self.bodies, self.taken = {}, {}
        self.deleted, self.wrong = set(), []
        self.first = {}

    def sent(self, body):
        with self.lock:
            self.acknowledged.add(body)

    def received(self, queue, message, asked, answered):
        number, body = (queue, message["MessageId"]), message["Body"]
        with self.lock:
            if body not in self.tried:
                self.wrong.append(f"{body} was never sent")
            if self.bodies.setdefault(number, body) != body:
                self.wrong.append(f"{number} said {self.bodies[number]}, now {body}")
            if number in self.deleted:
                self.wrong.append(f"{body} came back after its deletion was acknowledged")
            earlier = self.taken.get(number)
            if earlier is not None and answered - earlier < VISIBILITY - 0.05:
                self.wrong.append(f"{body} was in two hands: {answered - earlier:.3f} s")
            elif earlier is None:
                self.first.setdefault((queue, body.rsplit("-", 1)[0]), []).append(int(body.rsplit("-", 1)[1]))
            self.taken[number] = asked


class Chain:
    """Senders, receivers and a killer around one server."""

    def __init__(self, server):
        self.server, self.book = server, Book()
        self.sending, self.receiving = threading.Event(), threading.Event()
        self.threads = []

    def start(self, work, *arguments):
        def guarded():
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001 - told at the end
                self.book.wrong.append(f"{work.__name__}{arguments}: {error!r}")

        thread = threading.Thread(target=guarded, daemon=True)
        self.threads.append(thread)
        thread.start()

    def until_answered(self, wire, operation, **members):
        """Asks until there is an answer."""
        while True:
            try:
                return wire.call(operation, **members)
            except Lost:
                time.sleep(0.02)
            except Refused as refused:
                # A server that is just being killed may still say that it cannot.
                if refused.status < 500:
                    raise
                time.sleep(0.02)

    def send(self, url, name, group):
        wire, number = Wire(self.server.port, seconds=10), 0
        while not self.sending.is_set():
            body = f"{name}-{number}"
            self.book.tried.add(body)
            extra = {"MessageGroupId": group, "MessageDeduplicationId": body} if group else {}
            # Asked again the same is sent: in the FIFO queue it must be there once all the same.
            self.until_answered(wire, "SendMessage", QueueUrl=url, MessageBody=body, **extra)
            self.book.sent(body)
            number += 1

    def receive(self, url):
        wire = Wire(self.server.port, seconds=10)
        while not self.receiving.is_set():
            asked = time.monotonic()
            try:
                got = wire.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            except Lost:
                time.sleep(0.02)
                continue
            answered, messages = time.monotonic(), got.get("Messages", [])
            for message in messages:
                self.book.received(url, message, asked, answered)
            if not messages:
                continue
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            try:
                done = wire.call("DeleteMessageBatch", QueueUrl=url, Entries=entries)
            except Lost:
                continue
            with self.book.lock:
                self.book.deleted.update((url, messages[int(one["Id"])]["MessageId"]) for one in done["Successful"])

    def finish(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


def left(port, url):
    shown = Wire(port).call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return sum(int(shown[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))


def drained(lengths, still=60):
    """Waits for queues to become empty, for as long as they become shorter: how long it takes is the machine's affair, but
    nothing may stand still for much longer than a message can be hidden."""
    least, since = None, time.monotonic()
    while total := sum((shown := lengths()).values()):
        if least is None or total < least:
            least, since = total, time.monotonic()
        assert time.monotonic() - since < still, f"nothing moved for {still} s: {shown}"
        time.sleep(0.5)


@pytest.mark.slow
def test_every_acknowledged_message_comes_out_however_often_the_server_is_killed(own):
    chance = random.Random(SEED)
    server = own(port=lasting_port(chance)).start()
    wire, visibility = Wire(server.port), {"VisibilityTimeout": str(VISIBILITY)}
    standard = wire.call("CreateQueue", QueueName="plain", Attributes=visibility)["QueueUrl"]
    fifo = wire.call("CreateQueue", QueueName="order.fifo", Attributes=visibility | {"FifoQueue": "true"})["QueueUrl"]
    chain = Chain(server)
    for number in range(SENDERS):
        chain.start(chain.send, standard, f"s{number}", None)
    for number in range(GROUPS):
        chain.start(chain.send, fifo, f"g{number}", f"g{number}")
    for number in range(RECEIVERS):
        chain.start(chain.receive, standard)
        chain.start(chain.receive, fifo)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.6))
        server.kill()
        server.restart()
    chain.sending.set()
    drained(lambda: {url: left(server.port, url) for url in (standard, fifo)})
    chain.receiving.set()
    chain.finish()
    book = chain.book
    assert not book.wrong, (SEED, book.wrong[:5])
    out = set(book.bodies.values())
    assert book.acknowledged <= out, (SEED, sorted(book.acknowledged - out)[:5])
    # In the FIFO queue each was there once, however often it had to be asked for, and each group in its order.
    ordered = [body for (queue, _), body in book.bodies.items() if queue == fifo]
    assert len(ordered) == len(set(ordered)), SEED
    for (queue, group), numbers in book.first.items():
        if queue == fifo:
            assert numbers == list(range(len(numbers))), (SEED, group)
    assert len(book.acknowledged) > 20 * KILLS, "too little was sent for this to say anything"
    print(f"{KILLS} kills, {len(book.acknowledged)} acknowledged, {len(book.taken)} received, seed {SEED}")


# What the queue starts: it sends what it got on. When it cannot, it fails, and the message comes back.
FUNCTION = CLIENT + """
def handler(event, context):
    for record in event["Records"]:
        group = record["attributes"].get("MessageGroupId")
        members = {"QueueUrl": os.environ["OUT"], "MessageBody": record["body"]}
        if group:
            members |= {"QueueUrl": os.environ["OUT_FIFO"], "MessageGroupId": group, "MessageDeduplicationId": record["body"]}
        headers = {"x-amz-target": "AmazonSQS.SendMessage", "content-type": "application/x-amz-json-1.0"}
        status, body = call("/", json.dumps(members).encode(), "sqs", **headers)
        if status != 200:
            raise RuntimeError(body)
"""


def publish(chain, topic, name, group):
    """Publishes until there is an answer, one message after the other."""
    connection, number = None, 0
    scope = f"test/20260101/{REGION}/sns/aws4_request"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    while not chain.sending.is_set():
        body = f"{name}-{number}"
        chain.book.tried.add(body)
        form = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": topic, "Message": body}
        if group:
            form |= {"MessageGroupId": group, "MessageDeduplicationId": body}
        while True:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", chain.server.port, timeout=10)
                connection.request("POST", "/", urllib.parse.urlencode(form), headers)
                answer = connection.getresponse()
                text = answer.read()
                assert answer.status == 200 or answer.status >= 500, text
                if answer.status == 200:
                    break
            except (OSError, http.client.HTTPException):
                connection = None
            time.sleep(0.02)
        chain.book.sent(body)
        number += 1
        # The function is slower than its senders, and all of it has to come out in the end.
        time.sleep(0.02)


@pytest.mark.slow
def test_what_is_published_goes_through_queue_and_function_however_often_the_server_is_killed(own):
    chance = random.Random(SEED + 1)
    server = own(port=lasting_port(chance)).start()
    wire, lambda_, sns = Wire(server.port), server.client("lambda"), server.client("sns")
    policy = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": "*"}
    attributes = {"VisibilityTimeout": str(VISIBILITY), "Policy": json.dumps({"Version": "2012-10-17", "Statement": [policy]})}
    urls = {}
    for name in ("work", "copy", "out", "work.fifo", "out.fifo"):
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        # What the function works off stays hidden for as long as it may take, on a busy machine too.
        slow = {"VisibilityTimeout": str(LIMIT)} if name.startswith("work") else {}
        urls[name] = wire.call("CreateQueue", QueueName=name, Attributes=attributes | fifo | slow)["QueueUrl"]
    out = {"OUT": f"http://x/{ACCOUNT}/out", "OUT_FIFO": f"http://x/{ACCOUNT}/out.fifo"}
    made = {"FunctionName": "on", "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE, "Timeout": LIMIT}
    lambda_.create_function(**made, Code={"ZipFile": python(FUNCTION)}, Environment={"Variables": out})
    lambda_.get_waiter("function_active_v2").wait(FunctionName="on", WaiterConfig={"Delay": 0.05})
    topics = {}
    for name, queues in (("topic", ["work", "copy"]), ("topic.fifo", ["work.fifo"])):
        fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        topics[name] = sns.create_topic(Name=name, Attributes=fifo)["TopicArn"]
        for queue in queues:
            arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
            raw = {"RawMessageDelivery": "true"}
            sns.subscribe(TopicArn=topics[name], Protocol="sqs", Endpoint=arn, Attributes=raw)
    for queue in ("work", "work.fifo"):
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
        lambda_.create_event_source_mapping(EventSourceArn=arn, FunctionName="on", BatchSize=10)
    chain = Chain(server)
    for number in range(2):
        chain.start(publish, chain, topics["topic"], f"s{number}", None)
        chain.start(publish, chain, topics["topic.fifo"], f"g{number}", f"g{number}")
    for name in ("copy", "out", "out.fifo"):
        chain.start(chain.receive, urls[name])
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 1.0))
        server.kill()
        server.restart()
    chain.sending.set()
    # Each kill hides what was under way for as long as the function may take, so that of the groups nearly everything is
    # still there by now.
    drained(lambda: {name: left(server.port, url) for name, url in urls.items()})
    chain.receiving.set()
    chain.finish()
    book = chain.book
    assert not book.wrong, (SEED, book.wrong[:5])
    came = lambda name: [body for (queue, _), body in book.bodies.items() if queue == urls[name]]  # noqa: E731
    plain = {body for body in book.acknowledged if body.startswith("s")}
    grouped = book.acknowledged - plain
    assert plain <= set(came("copy")) and plain <= set(came("out")), SEED
    # A group comes out in its order, and what was sent on twice is there once.
    assert grouped <= set(came("out.fifo")) and len(came("out.fifo")) == len(set(came("out.fifo"))), SEED
    for (queue, group), numbers in book.first.items():
        if queue == urls["out.fifo"]:
            assert numbers == list(range(len(numbers))), (SEED, group, numbers)
    assert plain and grouped
    print(f"{KILLS} kills, {len(book.acknowledged)} acknowledged, {len(book.taken)} received, seed {SEED}")
