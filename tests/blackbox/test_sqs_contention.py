"""One queue, many senders and receivers at once, over bare HTTP."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from wire_client import Wire

CLIENTS = 64
EACH = 30
VISIBILITY = 4


@pytest.mark.slow
@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_no_message_is_in_two_hands_within_its_visibility(server, name, fifo):
    attributes = {"VisibilityTimeout": str(VISIBILITY)} | ({"FifoQueue": "true"} if fifo else {})
    queue = f"{name}{'.fifo' if fifo else ''}"
    url = Wire(server.port).call("CreateQueue", QueueName=queue, Attributes=attributes)["QueueUrl"]
    total, lock = CLIENTS * EACH, threading.Lock()
    begun: dict[str, float] = {}
    bodies: dict[str, str] = {}
    left, again, wrong, order = set(), [0], [], {}

    def send(client):
        wire = Wire(server.port)
        for number in range(EACH):
            body = f"{client}-{number}"
            extra = {"MessageGroupId": str(client), "MessageDeduplicationId": body} if fifo else {}
            wire.call("SendMessage", QueueUrl=url, MessageBody=body, **extra)

    def receive(client):
        wire = Wire(server.port)
        while len(left) < total:
            # When it was asked for: the visibility cannot have begun earlier.
            asked = time.monotonic()
            got = wire.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=1 + client % 10, WaitTimeSeconds=1)
            answered = time.monotonic()
            keep = []
            for message in got.get("Messages", []):
                with lock:
                    number, body = message["MessageId"], message["Body"]
                    earlier = begun.get(number)
                    if number in left:
                        wrong.append(f"{body} was received after it had been deleted")
                    if earlier is not None:
                        again[0] += 1
                        if answered - earlier < VISIBILITY - 0.01:
                            wrong.append(f"{body} was in two hands: {answered - earlier:.3f} s after it was taken")
                    begun[number] = asked
                    bodies[number] = body
                    if fifo and earlier is None:
                        order.setdefault(body.split("-")[0], []).append(int(body.split("-")[1]))
                # Some receivers die with what they hold: it comes back.
                if not (client % 8 == 0 and earlier is None and hash(body) % 16 == 0):
                    keep.append((number, message["ReceiptHandle"]))
            if not keep or time.monotonic() - asked > VISIBILITY / 2:
                continue
            entries = [{"Id": str(n), "ReceiptHandle": handle} for n, (_, handle) in enumerate(keep)]
            done = wire.call("DeleteMessageBatch", QueueUrl=url, Entries=entries)
            with lock:
                left.update(keep[int(one["Id"])][0] for one in done["Successful"])

    with ThreadPoolExecutor(2 * CLIENTS) as pool:
        senders = [pool.submit(send, client) for client in range(CLIENTS)]
        receivers = [pool.submit(receive, client) for client in range(CLIENTS)]
        for task in senders + receivers:
            task.result(120)
    assert not wrong, wrong[:5]
    assert len(bodies) == len(set(bodies.values())) == total
    if fifo:
        assert all(numbers == list(range(EACH)) for numbers in order.values()), "the order within a group"
    else:
        assert again[0] > 0, "nobody died with a message: the test is not about anything"
    shown = Wire(server.port).call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert [shown[f"ApproximateNumberOfMessages{kind}"] for kind in ("", "NotVisible", "Delayed")] == ["0", "0", "0"]
