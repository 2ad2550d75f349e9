"""Extensions from layers, and what they are told, through the public API."""

import json

from harness import archive, eventually, python

EAR = '''#!/usr/bin/python3 -u
import http.client, http.server, json, os, sys, threading, time
def ask(method, path, body=None, headers={}):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request(method, path, body, headers)
    response = api.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode()
class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            sys.stdout.write("HEARD " + json.dumps(event) + "\\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
name = {"Lambda-Extension-Name": "ear"}
_, headers, _ = ask("POST", "/2020-01-01/extension/register", json.dumps({"events": ["INVOKE", "SHUTDOWN"]}), name)
me = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
ask("PUT", "/2022-07-01/telemetry", json.dumps({
    "schemaVersion": "2022-12-13", "types": ["platform", "function"], "buffering": {"timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}}), me)
while True:
    event = json.loads(ask("GET", "/2020-01-01/extension/event/next", None, me)[2])
    print("TOLD", event["eventType"], event.get("requestId", ""))
    if event["eventType"] == "SHUTDOWN":
        break
    time.sleep(0.2)
'''


def test_an_extension_of_a_layer_hears_of_every_invocation(functions, name):
    layer = functions.lambda_.publish_layer_version(
        LayerName=name, Content={"ZipFile": archive({"extensions/ear": EAR}, {"extensions/ear": 0o755})}
    )
    code = python("def handler(event, context):\n    print('function', event)\n    return event\n")
    functions.create(name, code, Layers=[layer["LayerVersionArn"]])
    ids = []
    for turn in range(3):
        answer = functions.lambda_.invoke(FunctionName=name, Payload=json.dumps(turn))
        assert json.loads(answer["Payload"].read()) == turn
        ids.append(answer["ResponseMetadata"]["RequestId"])

    def heard(kind, times):
        messages = functions.messages(name)
        events = [json.loads(line[6:]) for line in messages if line.startswith("HEARD ")]
        complete = [event["type"] for event in events].count(kind) >= times
        return (messages, events) if complete else None

    messages, events = eventually(lambda: heard("platform.runtimeDone", 3), what="the telemetry of three invocations")
    # An environment is busy until its extension is done: there may be several, of which some are still starting.
    lines = {line for line in messages if line.startswith("EXTENSION")}
    assert lines == {"EXTENSION\tName: ear\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n"}
    for request_id in ids:
        assert f"TOLD INVOKE {request_id}\n" in messages
        done = [e["record"] for e in events if e["type"] == "platform.runtimeDone" and e["record"]["requestId"] == request_id]
        assert [record["status"] for record in done] == ["success"]
    assert {"function 0", "function 1", "function 2"} <= {e["record"] for e in events if e["type"] == "function"}
    # What an environment has to say after it was quiet, it says when it runs again.
    functions.lambda_.invoke(FunctionName=name, Payload=b"3")
    _, events = eventually(lambda: heard("platform.report", 1), what="the report of an earlier invocation")
    reports = [event["record"] for event in events if event["type"] == "platform.report"]
    assert {report["requestId"] for report in reports} <= set(ids)


def test_an_extension_that_ends_is_the_error_of_the_function(functions, name):
    layer = functions.lambda_.publish_layer_version(
        LayerName=name,
        Content={"ZipFile": archive({"extensions/gone": "#!/bin/sh\nexit 3\n"}, {"extensions/gone": 0o755})},
    )
    functions.create(name, python("def handler(event, context):\n    return 1\n"), Layers=[layer["LayerVersionArn"]])
    answer = functions.lambda_.invoke(FunctionName=name, Payload=b"{}")
    assert answer["FunctionError"] == "Unhandled"
    document = json.loads(answer["Payload"].read())
    assert document["errorType"] == "Extension.Crash"
    assert document["errorMessage"].endswith("Error: exit code 3")
