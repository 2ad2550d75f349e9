"""SNS with the stock clients: fan-out, filters, functions, HTTP subscribers whose signatures verify, FIFO."""

import base64
import http.server
import json
import re
import threading
import time
import urllib.parse
import urllib.request

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from harness import ACCOUNT, REGION, eventually, python

SIGNED = {
    "Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
    "SubscriptionConfirmation": ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
    "UnsubscribeConfirmation": ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
}


def verify(message: dict) -> None:
    """As AWS's documentation says to: an error when the signature is not the certificate's."""
    url = message.get("SigningCertURL") or message["SigningCertUrl"]
    certificate = x509.load_pem_x509_certificate(urllib.request.urlopen(url, timeout=10).read())
    text = "".join(f"{name}\n{message[name]}\n" for name in SIGNED[message["Type"]] if message.get(name) is not None)
    digest = {"1": hashes.SHA1, "2": hashes.SHA256}[message["SignatureVersion"]]()
    signature = base64.b64decode(message["Signature"])
    certificate.public_key().verify(signature, text.encode(), padding.PKCS1v15(), digest)
    # It is its own issuer.
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_before_utc < certificate.not_valid_after_utc


class Subscriber:
    """An HTTP endpoint that keeps what it gets and answers with the statuses it was told (200 when there is none)."""

    def __init__(self, *statuses: int):
        self.got: list[tuple[dict, bytes]] = []
        self.statuses = list(statuses)
        subscriber = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                subscriber.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(subscriber.statuses.pop(0) if subscriber.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def documents(self, kind: str) -> list[dict]:
        return [json.loads(body) for headers, body in list(self.got) if headers["x-amz-sns-message-type"] == kind]

    def one(self, kind: str, seconds: float = 20) -> dict:
        return eventually(lambda: self.documents(kind), seconds=seconds, what=f"a {kind}")[0]

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def subscriber():
    made = []

    def make(*statuses: int) -> Subscriber:
        made.append(Subscriber(*statuses))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def sns(server):
    return server.client("sns")


@pytest.fixture
def sqs(server):
    return server.client("sqs")


def queue(sqs, name: str, allow: bool = True, **attributes: str) -> tuple[str, str]:
    """A queue that takes what topics send; its URL and ARN."""
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    statement = {
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
    }  # fmt: skip
    if allow:
        attributes["Policy"] = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], arn


def take(sqs, url: str, count: int, seconds: float = 20) -> list[dict]:
    """`count` messages of a queue, deleted; and it is empty then."""
    got: list[dict] = []
    end = time.monotonic() + seconds
    while len(got) < count and time.monotonic() < end:
        page = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"], AttributeNames=["All"]
        )
        for message in page.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            got.append(message)
    assert len(got) == count, got
    assert not sqs.receive_message(QueueUrl=url).get("Messages")
    return got


def test_one_message_goes_to_every_queue_raw_and_not(sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    (plain, plain_arn), (raw, raw_arn) = queue(sqs, f"{name}-plain"), queue(sqs, f"{name}-raw")
    arn = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=plain_arn)["SubscriptionArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=raw_arn, Attributes={"RawMessageDelivery": "true"})
    attributes = {
        "number": {"DataType": "Number", "StringValue": "1.5"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x02\x03\x04"},
        "list": {"DataType": "String.Array", "StringValue": '["a", "b"]'},
    }
    sent = sns.publish(TopicArn=topic, Message="hello", Subject="about", MessageAttributes=attributes)
    body = json.loads(take(sqs, plain, 1)[0]["Body"])
    assert (body["MessageId"], body["Message"], body["Subject"]) == (sent["MessageId"], "hello", "about")
    assert body["MessageAttributes"]["bytes"] == {"Type": "Binary", "Value": "AgME"}
    assert body["UnsubscribeURL"].endswith(f"/?Action=Unsubscribe&SubscriptionArn={arn}")
    verify(body)
    message = take(sqs, raw, 1)[0]
    assert message["Body"] == "hello"
    assert message["MessageAttributes"]["bytes"]["BinaryValue"] == b"\x02\x03\x04"
    assert message["MessageAttributes"]["list"]["DataType"] == "String.Array"
    batch = [{"Id": str(number), "Message": f"m{number}"} for number in range(10)]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=batch)
    assert len(answer["Successful"]) == 10 and answer["Failed"] == []
    assert sorted(message["Body"] for message in take(sqs, raw, 10)) == [f"m{number}" for number in range(10)]
    for message in take(sqs, plain, 10):
        verify(json.loads(message["Body"]))


def test_a_signature_of_version_two_verifies_and_a_changed_message_does_not(sns, sqs, name):
    topic = sns.create_topic(Name=name, Attributes={"SignatureVersion": "2"})["TopicArn"]
    url, arn = queue(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="hello")
    body = json.loads(take(sqs, url, 1)[0]["Body"])
    assert body["SignatureVersion"] == "2"
    verify(body)
    with pytest.raises(InvalidSignature):
        verify(body | {"Message": "other"})


def test_filters_let_through_what_is_wanted(sns, sqs, name):
    # As recorded in TestSNSFilterPolicyBody::test_filter_policy_ip_address_condition and its like.
    topic = sns.create_topic(Name=name)["TopicArn"]
    made = {}
    for kind, attributes in {
        "attributes": {"FilterPolicy": json.dumps({"store": ["example"], "price": [{"numeric": [">=", 100]}]})},
        "body": {
            "FilterPolicy": json.dumps({"detail": {"$or": [
                {"sourceIPAddress": [{"cidr": "10.0.0.0/24"}]}, {"sourceIPAddressV6": [{"cidr": "2001:db8:1234:1a00::/64"}]},
            ]}}),
            "FilterPolicyScope": "MessageBody",
        },
    }.items():  # fmt: skip
        made[kind], arn = queue(sqs, f"{name}-{kind}")
        attributes["RawMessageDelivery"] = "true"
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    values = lambda store, price: {  # noqa: E731
        "store": {"DataType": "String", "StringValue": store}, "price": {"DataType": "Number", "StringValue": price},
    }  # fmt: skip
    sns.publish(TopicArn=topic, Message="wanted", MessageAttributes=values("example", "100"))
    sns.publish(TopicArn=topic, Message="cheap", MessageAttributes=values("example", "99.5"))
    sns.publish(TopicArn=topic, Message="other", MessageAttributes=values("else", "100"))
    for detail in (
        {"sourceIPAddress": "10.0.0.255"},
        {"sourceIPAddress": "10.0.1.1"},
        {"sourceIPAddressV6": "2001:0db8:1234:1a00:0000:0000:0000:0000"},
    ):
        sns.publish(TopicArn=topic, Message=json.dumps({"detail": detail}))
    assert [message["Body"] for message in take(sqs, made["attributes"], 1)] == ["wanted"]
    addresses = {next(iter(json.loads(message["Body"])["detail"].values())) for message in take(sqs, made["body"], 2)}
    assert addresses == {"10.0.0.255", "2001:0db8:1234:1a00:0000:0000:0000:0000"}


def test_a_function_is_invoked_when_its_policy_allows_it(sns, functions, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    code = "import json\ndef handler(event, context): print('got', json.dumps(event))"
    function = functions.create(name, python(code))["FunctionArn"]
    arn = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)["SubscriptionArn"]
    sns.publish(TopicArn=topic, Message="refused")
    functions.lambda_.add_permission(
        FunctionName=name, StatementId="sns", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com", SourceArn=topic
    )
    sent = sns.publish(TopicArn=topic, Message="hello", Subject="about")

    def look():
        return [json.loads(line[4:]) for line in functions.messages(name) if line.startswith("got ")]

    events = eventually(look, seconds=30, what="an event")
    assert len(events) == 1
    record = events[0]["Records"][0]
    assert (record["EventSource"], record["EventVersion"], record["EventSubscriptionArn"]) == ("aws:sns", "1.0", arn)
    message = record["Sns"]
    assert (message["MessageId"], message["Message"], message["Subject"]) == (sent["MessageId"], "hello", "about")
    assert message["UnsubscribeUrl"].endswith(arn) and message["MessageAttributes"] == {}
    verify(message)


def test_an_http_subscriber_confirms_verifies_and_leaves(server, sns, name, subscriber):
    one = subscriber()
    topic = sns.create_topic(Name=name)["TopicArn"]
    answer = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=one.url)
    assert answer["SubscriptionArn"] == "pending confirmation"
    sns.publish(TopicArn=topic, Message="too early")
    asked = one.one("SubscriptionConfirmation")
    verify(asked)
    confirmed = urllib.request.urlopen(asked["SubscribeURL"], timeout=10).read().decode()
    assert "<ConfirmSubscriptionResult>" in confirmed and topic in confirmed
    sns.publish(TopicArn=topic, Message="hello", Subject="about")
    notification = one.one("Notification")
    assert (notification["Message"], notification["Subject"]) == ("hello", "about")
    verify(notification)
    headers = next(headers for headers, _ in one.got if headers["x-amz-sns-message-type"] == "Notification")
    assert headers["x-amz-sns-topic-arn"] == topic and headers["content-type"] == "text/plain; charset=UTF-8"
    assert headers["user-agent"] == "Amazon Simple Notification Service Agent"
    arn = headers["x-amz-sns-subscription-arn"]
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (attributes["PendingConfirmation"], attributes["ConfirmationWasAuthenticated"]) == ("false", "false")
    assert "<UnsubscribeResponse" in urllib.request.urlopen(notification["UnsubscribeURL"], timeout=10).read().decode()
    farewell = one.one("UnsubscribeConfirmation")
    verify(farewell)
    with pytest.raises(ClientError) as refused:
        sns.get_subscription_attributes(SubscriptionArn=arn)
    assert refused.value.response["Error"]["Code"] == "NotFound"
    # What it left by, it comes back by.
    urllib.request.urlopen(farewell["SubscribeURL"], timeout=10).read()
    sns.publish(TopicArn=topic, Message="again")
    eventually(lambda: [one for one in one.documents("Notification") if one["Message"] == "again"], what="a message")


def test_where_signatures_are_required_a_subscriber_needs_none(own, subscriber, monkeypatch):
    monkeypatch.setenv("PILEUS_OUTBOUND_ALLOW", "127.0.0.0/8")
    server = own("--auth", "required").start()
    key = re.search(r"AWS_ACCESS_KEY_ID[=: \"]+([A-Z0-9]{16,})", server.log())[1]
    secret = re.search(r"AWS_SECRET_ACCESS_KEY[=: \"]+([A-Za-z0-9+/=]{20,})", server.log())[1]
    sns = server.client("sns", key=key, secret=secret)
    topic = sns.create_topic(Name="t")["TopicArn"]
    one = subscriber()
    arn = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=one.url, ReturnSubscriptionArn=True)["SubscriptionArn"]
    asked = one.one("SubscriptionConfirmation")
    urllib.request.urlopen(asked["SubscribeURL"], timeout=10).read()
    sns.publish(TopicArn=topic, Message="x")
    notification = one.one("Notification")
    verify(notification)
    urllib.request.urlopen(notification["UnsubscribeURL"], timeout=10).read()
    status, _, body = server.raw("GET", "/?Action=ListTopics&Version=2010-03-31")
    assert status == 403, body
    assert arn


def test_a_subscriber_that_fails_is_called_again(sns, sqs, name, subscriber):
    one = subscriber()
    topic = sns.create_topic(Name=name)["TopicArn"]
    policy = {"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 3}}
    url, letters = queue(sqs, f"{name}-letters")
    arn = sns.subscribe(
        TopicArn=topic,
        Protocol="http",
        Endpoint=one.url,
        Attributes={
            "DeliveryPolicy": json.dumps(policy),
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": letters}),
            "RawMessageDelivery": "true",
        },
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    urllib.request.urlopen(one.one("SubscriptionConfirmation")["SubscribeURL"], timeout=10).read()
    one.statuses = [500, 503]
    sns.publish(TopicArn=topic, Message="in the end")
    notifications = lambda: [body for headers, body in one.got if headers["x-amz-sns-message-type"] == "Notification"]  # noqa: E731
    eventually(lambda: len(notifications()) == 3, what="the third attempt")
    assert set(notifications()) == {b"in the end"}
    one.statuses = [403]
    sns.publish(TopicArn=topic, Message="never", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    letter = take(sqs, url, 1)[0]
    assert letter["Body"] == "never" and letter["MessageAttributes"]["a"]["StringValue"] == "b"
    assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["RawMessageDelivery"] == "true"


def test_fifo_topic_to_fifo_queue_keeps_order_and_tells_twins_apart(sns, sqs, name):
    topic = sns.create_topic(
        Name=f"{name}.fifo", Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    )["TopicArn"]
    url, arn = queue(sqs, f"{name}.fifo", FifoQueue="true")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    numbers = []
    for number in range(30):
        for _ in range(2):
            answer = sns.publish(TopicArn=topic, Message=f"m{number}", MessageGroupId=f"g{number % 3}")
            numbers.append(answer["SequenceNumber"])
    assert numbers == sorted(numbers) and len(set(numbers)) == 30
    got: list[dict] = []
    while len(got) < 30:
        for message in sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, AttributeNames=["All"]
        )["Messages"]:  # fmt: skip
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            got.append(message)
    for group in range(3):
        bodies = [message["Body"] for message in got if message["Attributes"]["MessageGroupId"] == f"g{group}"]
        assert bodies == [f"m{number}" for number in range(group, 30, 3)]


def test_a_queue_that_does_not_allow_it_gets_nothing_and_the_log_says_how(server, sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, arn = queue(sqs, name, allow=False)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    for _ in range(3):
        sns.publish(TopicArn=topic, Message="x")
    assert not sqs.receive_message(QueueUrl=url).get("Messages")
    told = [line for line in server.log().splitlines() if arn in line and "RedrivePolicy" in line]
    assert len(told) == 1 and "sns.amazonaws.com" in told[0], told


def test_a_topic_outlives_kill_nine(own, name):
    server = own().start()
    sns, sqs = server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name="t")["TopicArn"]
    urls = []
    for number in range(300):
        url, arn = queue(sqs, f"q{number}")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        urls.append(url)
    sns.publish(TopicArn=topic, Message="everywhere")
    server.kill()
    server.restart()
    sqs = server.client("sqs")
    for url in urls:
        messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10).get("Messages", [])
        assert [message["Body"] for message in messages] == ["everywhere"], url


def test_the_aws_cli_publishes_and_lists(server, sqs, name):
    def aws(*arguments):
        return json.loads(server.aws("sns", *arguments).stdout or "{}")

    topic = aws("create-topic", "--name", name)["TopicArn"]
    url, arn = queue(sqs, name)
    aws("subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", arn)
    sent = aws("publish", "--topic-arn", topic, "--message", "from the command line")
    body = json.loads(take(sqs, url, 1)[0]["Body"])
    assert (body["MessageId"], body["Message"]) == (sent["MessageId"], "from the command line")
    listed = aws("list-subscriptions-by-topic", "--topic-arn", topic)["Subscriptions"]
    assert [one["Endpoint"] for one in listed] == [arn]
    assert topic in [one["TopicArn"] for one in aws("list-topics")["Topics"]]


def test_mail_is_kept_and_shown(server, sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=f"{name}@example.com")
    status, _, body = server.raw("GET", "/_pileus/outbox")
    letters = [letter for letter in json.loads(body)["not_sent"] if letter["to"] == f"{name}@example.com"]
    assert status == 200 and len(letters) == 1 and letters[0]["protocol"] == "email"
    shown = server.pileus("outbox").stdout
    assert shown.startswith("not sent") and f"email to {name}@example.com" in shown
    urllib.request.urlopen(letters[0]["text"].splitlines()[-1], timeout=10).read()
    sns.publish(TopicArn=topic, Message="hello")
    _, _, body = server.raw("GET", "/_pileus/outbox")
    assert [letter["text"] for letter in json.loads(body)["not_sent"] if letter["to"] == f"{name}@example.com"][0] == "hello"


@pytest.mark.parametrize(
    "call, arguments",
    [
        ("create_platform_application", {"Name": "a", "Platform": "GCM", "Attributes": {"PlatformCredential": "x"}}),
        ("list_platform_applications", {}),
        ("get_data_protection_policy", {"ResourceArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t"}),
        ("get_sms_sandbox_account_status", {}),
        ("list_origination_numbers", {}),
    ],
)
def test_what_pileus_does_not_have_says_so(sns, call, arguments):
    with pytest.raises(ClientError) as refused:
        getattr(sns, call)(**arguments)
    answer = refused.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("NotImplementedException", 501)


def test_a_publish_may_be_a_plain_form(server, sns, sqs, name):
    # TestSNSPublishCrud::test_publish_by_path_parameters, TestSNSTopicCrudV2::test_create_topic_in_multiple_regions
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, arn = queue(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    form = urllib.parse.urlencode({"Action": "Publish", "Version": "2010-03-31", "TopicArn": topic, "Message": "direct"})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, body = server.raw("POST", "/", form.encode(), headers)
    assert status == 200 and b"<PublishResult><MessageId>" in body
    assert json.loads(take(sqs, url, 1)[0]["Body"])["Message"] == "direct"
    west = server.client("sns", region="eu-west-1")
    other = west.create_topic(Name=name)["TopicArn"]
    assert other == topic.replace(REGION, "eu-west-1")
    assert topic not in [one["TopicArn"] for one in west.list_topics()["Topics"]]


def test_a_trace_goes_along(server, sns, sqs, name):
    # TestSNSSubscriptionSQS::test_publish_sqs_from_sns_with_xray_propagation, test_publish_message_group_id
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, arn = queue(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    sns.meta.events.register(
        "before-send.sns.Publish", lambda request, **_: request.headers.__setitem__("X-Amzn-Trace-Id", trace)
    )
    sns.publish(TopicArn=topic, Message="traced", MessageGroupId="my-group-id-1")
    attributes = take(sqs, url, 1)[0]["Attributes"]
    assert attributes["AWSTraceHeader"] == trace and attributes["MessageGroupId"] == "my-group-id-1"
