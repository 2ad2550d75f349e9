"""Who may come in: signatures when they are required, and browsers never by accident."""

import datetime
import re
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from botocore.exceptions import ClientError

from harness import REGION, python


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A server that wants signatures, and its root key as the first start shows it."""
    from harness import Server

    server = Server(tmp_path_factory.mktemp("closed"), "--auth", "required").start()
    text = server.log()
    key = re.search(r"AWS_ACCESS_KEY_ID[=: \"]+([A-Z0-9]{16,})", text)
    secret = re.search(r"AWS_SECRET_ACCESS_KEY[=: \"]+([A-Za-z0-9/+]{20,})", text)
    assert key and secret, text
    yield server, key[1], secret[1]
    server.end()


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_the_root_key_comes_in(closed):
    server, key, secret = closed
    assert server.client("lambda", key, secret).list_functions()["Functions"] == []
    identity = server.client("sts", key, secret).get_caller_identity()
    assert identity["Arn"].endswith(":root") and re.fullmatch(r"\d{12}", identity["Account"])


def test_the_key_is_shown_once_and_stays(closed):
    server, key, secret = closed
    assert server.log().count(secret) == 1
    assert server.stop() == 0
    server.restart()
    assert server.log().count(secret) == 1, "a later start does not show it again"
    assert server.client("lambda", key, secret).list_functions()["Functions"] == []


def test_an_unknown_key_is_refused(closed):
    server, _, secret = closed
    assert refused(server.client("lambda", "AKIAAAAAAAAAAAAAAAAA", secret).list_functions) == (403, "UnrecognizedClientException")


def test_a_wrong_secret_is_refused(closed):
    server, key, _ = closed
    assert refused(server.client("lambda", key, "wrong").list_functions) == (403, "InvalidSignatureException")
    assert refused(server.client("logs", key, "wrong").describe_log_groups)[1] == "InvalidSignatureException"
    assert refused(server.client("sts", key, "wrong").get_caller_identity) == (403, "SignatureDoesNotMatch")


def test_without_a_signature_nobody_comes_in(closed):
    server, _, _ = closed
    status, headers, body = server.raw("GET", "/2015-03-31/functions")
    assert status == 403 and b"MissingAuthenticationToken" in body + headers.get("x-amzn-errortype", "").encode(), body


def signed(server, key, secret, method="GET", path="/2015-03-31/functions", body=b"", at=None, region=REGION):
    """The headers of a signed request; `at` is the moment of signing."""
    request = botocore.awsrequest.AWSRequest(method=method, url=server.endpoint + path, data=body)
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), "lambda", region)
    moment = at or datetime.datetime.now(datetime.timezone.utc)
    request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
    original = botocore.auth.get_current_datetime if hasattr(botocore.auth, "get_current_datetime") else None
    if original:
        botocore.auth.get_current_datetime = lambda *_, **__: moment.replace(tzinfo=None)
    try:
        signer.add_auth(request)
    finally:
        if original:
            botocore.auth.get_current_datetime = original
    return dict(request.headers)


def test_a_signature_from_another_hour_is_refused(closed):
    server, key, secret = closed
    now = datetime.datetime.now(datetime.timezone.utc)
    assert server.raw("GET", "/2015-03-31/functions", None, signed(server, key, secret))[0] == 200
    for hours in (-1, 1):
        headers = signed(server, key, secret, at=now + datetime.timedelta(hours=hours))
        status, answered, body = server.raw("GET", "/2015-03-31/functions", None, headers)
        assert status == 403 and "InvalidSignatureException" in answered["x-amzn-errortype"], body
        assert b"Signature" in body


def test_a_changed_request_is_refused(closed):
    server, key, secret = closed
    headers = signed(server, key, secret)
    assert server.raw("GET", "/2015-03-31/functions?MaxItems=1", None, headers)[0] == 403
    headers = signed(server, key, secret, "POST", "/2015-03-31/functions", b"{}")
    assert server.raw("POST", "/2015-03-31/functions", b'{"a":1}', headers)[0] == 403


def presigned(server, key, secret, expires, at):
    request = botocore.awsrequest.AWSRequest(method="GET", url=server.endpoint + "/2015-03-31/functions")
    original = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *_, **__: at.replace(tzinfo=None)
    try:
        botocore.auth.SigV4QueryAuth(
            botocore.credentials.Credentials(key, secret), "lambda", REGION, expires=expires
        ).add_auth(request)
    finally:
        botocore.auth.get_current_datetime = original
    url = urllib.parse.urlsplit(request.url)
    return f"{url.path}?{url.query}"


def test_a_presigned_url_comes_in_until_it_expires(closed):
    server, key, secret = closed
    now = datetime.datetime.now(datetime.timezone.utc)
    assert server.raw("GET", presigned(server, key, secret, 60, now))[0] == 200
    late = now - datetime.timedelta(seconds=61)
    status, headers, body = server.raw("GET", presigned(server, key, secret, 60, late))
    assert status == 403 and b"xpired" in body, body
    tampered = presigned(server, key, secret, 60, now).replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    assert server.raw("GET", tampered)[0] == 403


def test_functions_of_a_closed_server_ask_as_their_role(closed):
    import json

    server, key, secret = closed
    from harness import Functions

    functions = Functions(server, key=key, secret=secret)
    body = """
import os
def handler(event, context):
    return {"key": os.environ["AWS_ACCESS_KEY_ID"], "token": bool(os.environ.get("AWS_SESSION_TOKEN"))}
"""
    account = server.client("sts", key, secret).get_caller_identity()["Account"]
    functions.lambda_.create_function(
        FunctionName="role", Runtime=__import__("harness").PYTHON, Handler="app.handler",
        Role=f"arn:aws:iam::{account}:role/any", Code={"ZipFile": python(body)},
    )  # fmt: skip
    functions.lambda_.get_waiter("function_active_v2").wait(FunctionName="role", WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    answer = functions.lambda_.invoke(FunctionName="role")
    payload = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        # A host that cannot give every wall runs nothing for strangers, and says so.
        assert "isolation" in payload["errorMessage"], payload
    else:
        assert payload["key"] != key and payload["token"], payload


# --- browsers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "any.localhost:{port}", "lambda.us-east-1.localhost.localstack.cloud:{port}"])
def test_known_hosts_are_served(server, host):
    status, _, _ = server.raw("GET", "/_pileus/health", None, {"Host": host.format(port=server.port)})
    assert status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", ""])
def test_unknown_hosts_are_refused(server, host):
    status, _, body = server.raw("GET", "/2015-03-31/functions", None, {"Host": host.format(port=server.port)})
    assert status in (400, 403, 421), (status, body)


def test_a_web_page_cannot_drive_the_server(server):
    for origin in ["https://evil.example", "null", "http://evil.example:4566"]:
        for method, body in [("GET", None), ("POST", b"{}")]:
            status, headers, _ = server.raw(method, "/2015-03-31/functions", body, {"Origin": origin, "Content-Type": "text/plain"})
            assert status == 403, (origin, method, status)
            assert "access-control-allow-origin" not in headers
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        status, headers, _ = server.raw("OPTIONS", "/2015-03-31/functions", None, asked)
        assert "access-control-allow-origin" not in headers, (origin, status)
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert server.raw("POST", "/2015-03-31/functions", b"{}", cross)[0] == 403


def test_an_open_server_takes_any_credentials(server):
    assert isinstance(boto3, object)
    for key in ["test", "AKIAIOSFODNN7EXAMPLE", "123456789012"]:
        assert "Functions" in server.client("lambda", key, "whatever").list_functions()
