"""Streamed responses: the event stream of the API, and function URLs that answer while the function still works."""

import http.client
import json
import time

import pytest

from harness import archive, eventually, node_runtime, python
from test_urls import host, open_url

NODE = """
const pause = (ms) => new Promise((done) => setTimeout(done, ms))
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
    const how = event.rawPath ? event.rawPath.slice(1) : event.how
    if (how === 'page') {
        stream = awslambda.HttpResponseStream.from(stream, {
            statusCode: 201, headers: { 'content-type': 'text/html', 'x-mine': 'yes' }, cookies: ['a=1', 'b=2'],
        })
    }
    if (how === 'early') throw new Error('before anything')
    for (const piece of ['one,', 'two,', 'three']) {
        stream.write(piece)
        await pause(how === 'slow' ? 400 : 5)
        if (how === 'late' && piece === 'two,') throw new TypeError('in the middle')
    }
    stream.end()
})
"""


@pytest.fixture(scope="module")
def streamer(shared):
    from harness import Functions

    functions = Functions(shared)
    functions.create("streamer", archive({"index.mjs": NODE}), runtime=node_runtime(), handler="index.handler", Timeout=20)
    return functions


def stream(functions, name, event, **members):
    """Chunks with their times, the last event, and the whole answer."""
    answer = functions.lambda_.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event).encode(), **members)
    chunks, end = [], None
    for event in answer["EventStream"]:
        assert end is None, "nothing follows the end"
        if "PayloadChunk" in event:
            chunks.append((time.monotonic(), event["PayloadChunk"]["Payload"]))
        else:
            end = event["InvokeComplete"]
    return chunks, end, answer


def test_chunks_come_as_they_are_made(streamer):
    begun = time.monotonic()
    chunks, end, answer = stream(streamer, "streamer", {"how": "slow"}, LogType="Tail")
    assert b"".join(piece for _, piece in chunks) == b"one,two,three"
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/vnd.amazon.eventstream"
    assert not end.get("ErrorCode") and end["LogResult"]
    first, last = chunks[0][0], chunks[-1][0]
    assert last - first > 0.5, "the first came long before the last"
    assert last - begun < 20


def test_an_error_in_the_middle_ends_the_stream_with_it(streamer):
    chunks, end, _ = stream(streamer, "streamer", {"how": "late"})
    assert b"".join(piece for _, piece in chunks).startswith(b"one,")
    assert end["ErrorCode"] and "in the middle" in end["ErrorDetails"], end


def test_an_error_before_anything_is_told_too(streamer):
    chunks, end, _ = stream(streamer, "streamer", {"how": "early"})
    assert not chunks and end["ErrorCode"] and "before anything" in end["ErrorDetails"], end


def test_a_function_that_does_not_stream_answers_in_one_chunk(functions, name):
    functions.create(name, python("def handler(event, context): return event"))
    chunks, end, _ = stream(functions, name, {"a": 1})
    assert [json.loads(piece) for _, piece in chunks] == [{"a": 1}] and not end.get("ErrorCode")


def test_the_stream_of_what_is_not_there_is_an_ordinary_error(functions):
    with pytest.raises(functions.lambda_.exceptions.ResourceNotFoundException):
        functions.lambda_.invoke_with_response_stream(FunctionName="absent")


@pytest.fixture(scope="module")
def url(streamer):
    return open_url(streamer, "streamer", InvokeMode="RESPONSE_STREAM")


def get(server, url, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path, headers={"Host": host(url)})
    return connection, connection.getresponse()


def test_a_url_streams(server, url):
    connection, answer = get(server, url, "/slow")
    assert answer.status == 200
    first, at = answer.read1(), time.monotonic()
    rest = answer.read()
    assert first + rest == b"one,two,three" and time.monotonic() - at > 0.3
    connection.close()


def test_a_url_takes_the_prelude_off(server, url):
    connection, answer = get(server, url, "/page")
    assert (answer.status, answer.headers["x-mine"], answer.headers["content-type"]) == (201, "yes", "text/html")
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"] and answer.read() == b"one,two,three"
    connection.close()


def test_a_url_breaks_off_rather_than_look_complete(server, url):
    connection, answer = get(server, url, "/late")
    assert answer.status == 200
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    connection, answer = get(server, url, "/early")
    assert answer.status == 502 and answer.read() == b"Internal Server Error"
    connection.close()


def test_a_client_that_leaves_does_not_end_the_function(streamer, server, url):
    before = len([line for line in streamer.messages("streamer") if line.startswith("REPORT")])
    connection, answer = get(server, url, "/slow")
    answer.read1()
    connection.close()
    eventually(
        lambda: len([line for line in streamer.messages("streamer") if line.startswith("REPORT")]) > before,
        what="the end of the invocation",
    )
    chunks, _, _ = stream(streamer, "streamer", {"how": "fast"})
    assert b"".join(piece for _, piece in chunks) == b"one,two,three"
