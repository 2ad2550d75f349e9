//! Custom runtimes over the Runtime API, by a bootstrap that speaks plain HTTP and looks closely.

use std::time::Duration;

use compute_api::{Environment, Exit, InitOutcome, Outcome};
use serde_json::json;

use crate::harness::{bench, block_on, event, failure, spec, success};

/// A runtime of a few lines; `RUN` is put in its loop.
fn bootstrap(run: &str) -> String {
    format!(
        r##"#!/usr/bin/python3
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def ask(method, path, body=None, headers={{}}):
    api.request(method, "/2018-06-01/runtime/" + path, body, headers)
    response = api.getresponse()
    return response.status, response.getheaders(), response.read()
def post(id, kind, body, headers={{}}):
    return ask("POST", "invocation/%s/%s" % (id, kind), body, headers)
while True:
    status, headers, event = ask("GET", "invocation/next")
    named = dict(headers)
    id = named["Lambda-Runtime-Aws-Request-Id"]
{}
"##,
        run.lines().map(|line| format!("    {line}\n")).collect::<String>()
    )
}

#[test]
fn the_headers_of_an_event_are_those_of_aws() {
    block_on(async {
        let (spec, _lines) = bench().function(
            "provided.al2023",
            "bootstrap",
            &bootstrap("post(id, 'response', json.dumps([named, event.decode(), os.getcwd(), sys.argv]))"),
        );
        let mut environment = bench().start(spec).await;
        let mut invocation = event("r-1", r#"{"a":1}"#);
        invocation.client_context = Some("{}".to_owned());
        let answer = success(&environment.invoke(invocation).await);
        let headers = &answer[0];
        assert_eq!(headers["Content-Type"], "application/json");
        assert_eq!(headers["Lambda-Runtime-Aws-Request-Id"], "r-1");
        assert_eq!(
            headers["Lambda-Runtime-Invoked-Function-Arn"],
            "arn:aws:lambda:us-east-1:000000000000:function:probe"
        );
        assert_eq!(headers["Lambda-Runtime-Trace-Id"], "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0");
        assert_eq!(headers["Lambda-Runtime-Client-Context"], "{}");
        assert!(headers["Lambda-Runtime-Deadline-Ms"].as_str().unwrap().parse::<u64>().is_ok());
        assert_eq!((&answer[1], &answer[2]), (&json!(r#"{"a":1}"#), &json!("/var/task")));
        environment.stop().await;
    });
}

#[test]
fn what_comes_out_of_turn_is_refused_in_the_words_of_aws() {
    let run = r#"
seen = [post("other", "response", "x"), ask("POST", "init/error", "{}"), ask("GET", "invocation/next")]
seen += [ask("GET", "nothing"), ask("PUT", "invocation/next")]
if event == b'{"turn":1}':
    first = seen
    seen.append(post(id, "response", "1"))
    seen.append(post(id, "response", "2"))
    seen.append(post(id, "error", "{}"))
else:
    post(id, "response", json.dumps([[s, b.decode()] for s, _, b in first]))
"#;
    block_on(async {
        let (spec, _lines) = bench().function("provided.al2", "bootstrap", &bootstrap(run));
        let mut environment = bench().start(spec).await;
        assert_eq!(success(&environment.invoke(event("a", r#"{"turn":1}"#)).await), 1);
        let seen = success(&environment.invoke(event("b", r#"{"turn":2}"#)).await);
        let transition = |from: &str, to: &str| {
            json!({"errorType": "InvalidStateTransition", "errorMessage": format!(
                "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed")})
        };
        let expected = [
            (400, json!({"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"})),
            (403, transition("Running", "InitError")),
            (403, transition("Running", "Ready")),
            (404, json!({"errorMessage": "The Runtime API has no such path", "errorType": "NotFound"})),
            (405, json!({"errorMessage": "Method not allowed", "errorType": "MethodNotAllowed"})),
            (202, json!({"status": "OK"})),
            (403, transition("ResponseSent", "InvocationResponse")),
            (403, transition("ResponseSent", "InvocationErrorResponse")),
        ];
        for (index, (status, document)) in expected.iter().enumerate() {
            assert_eq!(seen[index][0], *status, "{index}");
            let body: serde_json::Value = serde_json::from_str(seen[index][1].as_str().unwrap()).unwrap();
            assert_eq!(body, *document, "{index}");
        }
        environment.stop().await;
    });
}

#[test]
fn errors_keep_their_type_and_document() {
    let run = "post(id, 'error', json.dumps({'errorMessage': 'm', 'errorType': 'T'}), {'Lambda-Runtime-Function-Error-Type': 'Function.T'})";
    block_on(async {
        let (spec, _lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        let (error_type, document) = failure(&bench().once(spec, "{}").await);
        assert_eq!((error_type.as_str(), document), ("Function.T", json!({"errorMessage": "m", "errorType": "T"})));
    });
}

#[test]
fn a_response_beyond_the_limit_is_answered_413() {
    let run = "status, _, body = post(id, 'response', 'x' * (7 << 20))\nprint(status, body.decode(), flush=True)";
    block_on(async {
        let (spec, mut lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        let mut environment = bench().start(spec).await;
        let completion = environment.invoke(event("r", "{}")).await;
        assert!(matches!(completion.outcome, Outcome::ResponseTooLarge { size: 7_340_032, limit: 6_291_556 }));
        let again = environment.invoke(event("s", "{}")).await;
        assert!(matches!(again.outcome, Outcome::ResponseTooLarge { .. }));
        let text = String::from_utf8(lines.try_next().unwrap().text.to_vec()).unwrap();
        assert!(
            text.starts_with("413 ") && text.contains("Exceeded maximum allowed payload size (6291556 bytes)."),
            "{text}"
        );
        environment.stop().await;
    });
}

#[test]
fn a_streamed_response_is_gathered_and_its_trailers_count() {
    let run = r#"
import base64, socket
def stream(trailers):
    s = socket.create_connection(("127.0.0.1", 9001))
    head = "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" % id
    head += "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
    head += "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
    s.sendall(head.encode() + b"3\r\n\"ab\r\n2\r\nc\"\r\n0\r\n" + trailers + b"\r\n")
    return s.recv(1000)
body = base64.b64encode(b'{"errorMessage":"late"}')
stream(b"" if event == b"1" else b"Lambda-Runtime-Function-Error-Type: Late\r\nLambda-Runtime-Function-Error-Body: " + body + b"\r\n")
"#;
    block_on(async {
        let (spec, _lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        let mut environment = bench().start(spec).await;
        assert_eq!(success(&environment.invoke(event("a", "1")).await), "abc");
        let (error_type, document) = failure(&environment.invoke(event("b", "2")).await);
        assert_eq!((error_type.as_str(), document), ("Late", json!({"errorMessage": "late"})));
        environment.stop().await;
    });
}

#[test]
fn ends_before_and_without_an_answer_are_told_apart() {
    block_on(async {
        let (spec, _lines) = bench().function("provided.al2023", "bootstrap", "#!/bin/sh\nexit 9\n");
        assert_eq!(bench().init_failure(spec).await.outcome, InitOutcome::Exited(Exit::Status(9)));
        let code = "#!/usr/bin/python3\nimport os, urllib.request\nurllib.request.urlopen(urllib.request.Request('http://127.0.0.1:9001/2018-06-01/runtime/init/error', b'{\"errorType\":\"X\"}', {'Lambda-Runtime-Function-Error-Type': 'Runtime.X'}))\n";
        let (spec, _lines) = bench().function("provided.al2023", "bootstrap", code);
        match bench().init_failure(spec).await.outcome {
            InitOutcome::Error { error_type, payload } => {
                assert_eq!((error_type.as_str(), &payload[..]), ("Runtime.X", &b"{\"errorType\":\"X\"}"[..]));
            }
            other => panic!("{other:?}"),
        }
        let (spec, _lines) = bench().function("provided.al2023", "other", "");
        match bench().init_failure(spec).await.outcome {
            InitOutcome::InvalidEntrypoint { reason } => assert!(reason.contains("No such file"), "{reason}"),
            other => panic!("{other:?}"),
        }
        let (spec, _lines) = bench().function("provided.al2023", "bootstrap", &bootstrap("sys.exit(6)"));
        assert_eq!(bench().once(spec, "{}").await.outcome, Outcome::Exited(Exit::Status(6)));
        let (spec, _lines) =
            bench().function("provided.al2023", "bootstrap", &bootstrap("post(id, 'response', '1')\nos._exit(0)"));
        assert_eq!(success(&bench().once(spec, "{}").await), 1);
    });
}

#[test]
fn connections_beyond_the_bound_wait_and_the_runtime_goes_on() {
    let run = r#"
import socket
idle = [socket.create_connection(("127.0.0.1", 9001)) for _ in range(100)]
post(id, "response", str(len(idle)))
"#;
    block_on(async {
        let (mut given, _lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        given.timeout = Duration::from_secs(5);
        assert_eq!(success(&bench().once(given, "{}").await), 100);
    });
}

#[test]
fn a_layer_may_bring_the_bootstrap() {
    block_on(async {
        let layer = bench().code("runtime-layer", &[("bootstrap", &bootstrap("post(id, 'response', '\"layer\"')"))]);
        let code = bench().code("no-bootstrap", &[("readme", "")]);
        let (sink, _lines) = compute_api::output::channel(1 << 20);
        let mut spec = spec("provided.al2023", "any", code, sink);
        spec.layers = vec![layer];
        assert_eq!(success(&bench().once(spec, "{}").await), "layer");
    });
}

#[test]
fn garbage_giants_and_idlers_are_borne_and_the_runtime_goes_on() {
    let run = r#"
import socket
def raw(data, wait=2):
    s = socket.create_connection(("127.0.0.1", 9001))
    s.settimeout(wait)
    try:
        s.sendall(data)
        return s.recv(200).split(b"\r\n")[0].decode()
    except OSError as error:
        return type(error).__name__
seen = [raw(b"\x00\xff garbage\r\n\r\n"), raw(b"GET / HTTP/9.9\r\n\r\n")]
seen.append(raw(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nA: " + b"a" * (1 << 20) + b"\r\n\r\n"))
seen.append(raw(b"POST /2018-06-01/runtime/invocation/" + b"i" * 30000 + b"/response HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
seen.append(raw(b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"))
# Heads that never end, on as many connections as there may be but one.
slow = [socket.create_connection(("127.0.0.1", 9001)) for _ in range(60)]
for s in slow: s.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHos")
idle = []
for _ in range(800):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", 9001))
    idle.append(s)
post(id, "response", json.dumps(seen))
for s in slow + idle: s.close()
"#;
    block_on(async {
        let (spec, _lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        let mut environment = bench().start(spec).await;
        for round in 0..2 {
            let seen = success(&environment.invoke(event(&format!("r-{round}"), "{}")).await);
            let told = |index: usize| seen[index].as_str().unwrap().to_owned();
            assert!(told(0).contains("400 Bad Request"), "{seen}");
            assert!(told(1).contains("400") || told(1).contains("505"), "{seen}");
            assert!(told(2).contains("431") || told(2).contains("Error"), "{seen}");
            assert!(told(3).contains("400 Bad Request"), "{seen}");
            assert!(told(4).contains("400 Bad Request"), "{seen}");
        }
        environment.stop().await;
    });
}

#[test]
fn a_runtime_that_never_asks_again_is_stopped_at_the_timeout() {
    let run = "post(id, 'response', '1')\nimport time\ntime.sleep(60)";
    block_on(async {
        let (mut spec, _lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        spec.timeout = Duration::from_millis(700);
        let mut environment = bench().start(spec).await;
        assert_eq!(success(&environment.invoke(event("a", "{}")).await), 1);
        assert!(matches!(environment.invoke(event("b", "{}")).await.outcome, Outcome::Timeout));
        assert!(!environment.is_alive());
    });
}
