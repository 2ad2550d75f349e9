"""Function URLs: payload format 2.0, by host and by path, and who may come in."""

import base64
import http.client
import json

import pytest
from botocore.exceptions import ClientError

from harness import Server, python

MIRROR = python(
    """
def handler(event, context):
    path = event.get("rawPath", "")
    if path.endswith("/cookies"):
        return {"statusCode": 201, "cookies": ["a=1", "b=2"], "headers": {"X-Mine": "yes"}, "body": "ok"}
    if path.endswith("/binary"):
        return {"statusCode": 200, "isBase64Encoded": True, "body": "AAEC/w==", "headers": {"content-type": "image/x"}}
    if path.endswith("/text"):
        return "plain"
    if path.endswith("/raise"):
        raise ValueError("inside")
    return event
"""
)


def open_url(functions, name, **members):
    made = functions.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE", **members)
    functions.lambda_.add_permission(
        FunctionName=name, StatementId="public", Principal="*", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE"
    )
    return made["FunctionUrl"]


@pytest.fixture
def url(functions, name):
    functions.create(name, MIRROR)
    return open_url(functions, name)


def host(url):
    return url.split("/")[2]


def get(server: Server, url, path="/", method="GET", body=None, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return server.raw(method, path, body, {"Host": host(url)} | headers)


def test_the_event_has_format_two(server, url):
    assert url.endswith("/") and ".lambda-url.us-east-1." in url
    status, headers, body = get(server, url, "/a%20b/c?x=1&x=2&y=%C3%BC", Cookie="k=v; l=w", X_Mine="m", Content_Type="text/plain")
    assert status == 200 and headers["content-type"] == "application/json"
    event = json.loads(body)
    assert event["version"] == "2.0" and event["routeKey"] == "$default" and event["rawPath"] == "/a b/c"
    assert event["rawQueryString"] == "x=1&x=2&y=%C3%BC"
    assert event["queryStringParameters"] == {"x": "1,2", "y": "ü"}
    assert event["cookies"] == ["k=v", "l=w"] and event["headers"]["x-mine"] == "m"
    assert event["isBase64Encoded"] is False and "body" not in event
    context = event["requestContext"]
    assert context["http"]["method"] == "GET" and context["http"]["path"] == "/a b/c"
    assert context["apiId"] == host(url).split(".")[0] and context["stage"] == "$default"
    assert context["accountId"] == "anonymous" and context["domainPrefix"] == context["apiId"]


def test_bodies_arrive_as_text_or_base64(server, url):
    status, _, body = get(server, url, "/", "POST", b'{"a":1}', Content_Type="application/json")
    event = json.loads(body)
    assert status == 200 and event["body"] == '{"a":1}' and event["isBase64Encoded"] is False
    _, _, body = get(server, url, "/", "POST", b"\x00\xff", Content_Type="application/octet-stream")
    event = json.loads(body)
    assert base64.b64decode(event["body"]) == b"\x00\xff" and event["isBase64Encoded"] is True


def test_answers_may_set_everything(server, url):
    status, headers, body = get(server, url, "/cookies")
    assert (status, headers["x-mine"], body) == (201, "yes", b"ok")
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    status, headers, body = get(server, url, "/binary")
    assert (status, headers["content-type"], body) == (200, "image/x", b"\x00\x01\x02\xff")
    status, headers, body = get(server, url, "/text")
    assert (status, headers["content-type"], body) == (200, "application/json", b"plain") or body == b'"plain"'


def test_an_error_inside_is_a_bad_gateway(server, url):
    status, _, body = get(server, url, "/raise")
    assert status == 502 and body == b"Internal Server Error"


def test_a_path_form_needs_no_dns(server, url):
    health = server.health()
    identifier = host(url).split(".")[0]
    status, _, body = server.raw("GET", f"/_pileus/url/{identifier}/deep/er?q=1")
    assert status == 200, (status, body, health)
    assert json.loads(body)["rawPath"] == "/deep/er"


def test_without_a_permission_nobody_comes_in(server, functions, name):
    functions.create(name, MIRROR)
    url = functions.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    status, _, body = get(server, url)
    assert status == 403
    assert json.loads(body)["Message"] == (
        "Forbidden. For troubleshooting Function URL authorization issues, see: "
        "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
    )


def test_an_unknown_url_is_not_found(server, url):
    name = "z" * 32 + host(url)[host(url).index(".") :]
    status, _, _ = server.raw("GET", "/", None, {"Host": name})
    assert status in (403, 404)


def test_url_configurations_live_a_life(functions, name):
    functions.create(name, MIRROR)
    made = functions.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": ["*"]})
    got = functions.lambda_.get_function_url_config(FunctionName=name)
    assert got["FunctionUrl"] == made["FunctionUrl"] and got["Cors"] == {"AllowOrigins": ["*"]}
    with pytest.raises(ClientError) as caught:
        functions.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert caught.value.response["Error"]["Code"] == "ResourceConflictException"
    functions.lambda_.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    listed = functions.lambda_.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert [one["AuthType"] for one in listed] == ["AWS_IAM"]
    functions.lambda_.delete_function_url_config(FunctionName=name)
    with pytest.raises(ClientError) as caught:
        functions.lambda_.get_function_url_config(FunctionName=name)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_cors_is_the_owners_choice(server, functions, name):
    functions.create(name, MIRROR)
    url = open_url(functions, name, Cors={"AllowOrigins": ["https://friend.example"], "AllowMethods": ["PUT"], "MaxAge": 60})
    status, headers, _ = get(
        server, url, "/", "OPTIONS", None, Origin="https://friend.example", Access_Control_Request_Method="PUT"
    )
    assert status == 200 and headers["access-control-allow-origin"] == "https://friend.example"
    assert headers["access-control-allow-methods"] == "PUT" and headers["access-control-max-age"] == "60"
    _, headers, _ = get(server, url, "/", "OPTIONS", None, Origin="https://foe.example", Access_Control_Request_Method="PUT")
    assert "access-control-allow-origin" not in headers
    _, headers, _ = get(server, url, "/", Origin="https://friend.example")
    assert headers["access-control-allow-origin"] == "https://friend.example"


def test_a_url_works_on_one_connection_again_and_again(server, url):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for number in range(20):
        connection.putrequest("GET", f"/{number}", skip_host=True)
        connection.putheader("Host", host(url))
        connection.endheaders()
        assert json.loads(connection.getresponse().read())["rawPath"] == f"/{number}"
    connection.close()
