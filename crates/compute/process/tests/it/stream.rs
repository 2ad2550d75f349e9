//! Streamed responses: Node's `awslambda.streamifyResponse`, custom runtimes over HTTP, and what becomes of readers that
//! are slow, gone, or never were.

use std::time::Duration;

use bytes::Bytes;
use compute_api::{Completion, Environment, Outcome, ResponseStream, StreamPiece, stream::response};
use serde_json::{Value, json};

use crate::harness::{bench, block_on, event, failure, success, texts};

const NODE: &str = "nodejs20.x";

fn has_node() -> bool {
    let found = compute_api::FunctionHost::runtimes(&bench().host).chosen(NODE).is_some();
    if !found {
        println!("left out: {NODE} is not on this host");
    }
    found
}

/// Everything that was streamed: the content type and the bytes.
async fn read(mut stream: ResponseStream) -> (Option<String>, Vec<u8>) {
    let (mut kind, mut bytes) = (None, Vec::new());
    while let Some(piece) = stream.next().await {
        match piece {
            StreamPiece::Begin { content_type } => kind = content_type,
            StreamPiece::Body(piece) => bytes.extend_from_slice(&piece),
        }
    }
    (kind, bytes)
}

/// One invocation with a sink, read to its end.
pub(crate) async fn streamed<E: Environment>(
    environment: &mut E,
    payload: &str,
) -> (Completion, Option<String>, Vec<u8>) {
    let (sink, stream) = response();
    let mut invocation = event("r-1", payload);
    invocation.response = Some(sink);
    let (completion, (kind, bytes)) = tokio::join!(environment.invoke(invocation), read(stream));
    (completion, kind, bytes)
}

#[test]
fn a_node_handler_streams_with_prelude_and_pieces() {
    if !has_node() {
        return;
    }
    let code = r#"
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.plain) stream.setContentType('text/plain');
  else if (!event.bare) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: 'b' }, cookies: ['c=d'] });
  stream.write('one ');
  stream.write({ two: 2 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  console.log('half way');
  stream.write(Buffer.from(' three'));
  if (event.late) { try { stream.setContentType('x/y'); } catch (error) { stream.write(` ${error.name}`); } }
  stream.end(event.last);
  await new Promise((resolve) => setTimeout(resolve, 10));
});
"#;
    block_on(async {
        let (spec, mut lines) = bench().function(NODE, "index.js", code);
        let mut environment = bench().start(spec).await;
        let (completion, kind, bytes) = streamed(&mut environment, "{}").await;
        let expected: Vec<u8> =
            [&br#"{"statusCode":201,"headers":{"a":"b"},"cookies":["c=d"]}"#[..], &[0; 8], br#"one {"two":2} three"#]
                .concat();
        assert_eq!(completion.outcome, Outcome::Streamed { bytes: expected.len() as u64, error: None });
        assert_eq!(kind.as_deref(), Some("application/vnd.awslambda.http-integration-response"));
        assert_eq!(bytes, expected);
        assert!(texts(&mut lines).iter().any(|line| line.contains("half way")));
        for (payload, kind_expected, expected) in [
            (r#"{"bare":1}"#, "application/octet-stream", r#"one {"two":2} three"#),
            (r#"{"plain":1,"last":"!"}"#, "text/plain", r#"one {"two":2} three!"#),
            (r#"{"plain":1,"late":1}"#, "text/plain", r#"one {"two":2} three Runtime.InvalidStreamingOperation"#),
        ] {
            let (completion, kind, bytes) = streamed(&mut environment, payload).await;
            assert_eq!(kind.as_deref(), Some(kind_expected));
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
            assert!(matches!(completion.outcome, Outcome::Streamed { error: None, .. }), "{completion:?}");
        }
        // Who wants it as a whole gets it as a whole.
        let completion = environment.invoke(event("r-2", r#"{"bare":1}"#)).await;
        assert_eq!(completion.outcome, Outcome::Success { payload: Bytes::from_static(br#"one {"two":2} three"#) });
        environment.stop().await;
    });
}

#[test]
fn a_node_handler_that_fails_breaks_its_stream_off() {
    if !has_node() {
        return;
    }
    let code = r#"
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.piped) return pipeline(Readable.from(['a', 'b', 'c']), stream);
  if (event.written) stream.write('begun');
  if (event.uncaught) return setTimeout(() => { throw new TypeError('loose'); }, 5), new Promise(() => {});
  throw new RangeError('asked to');
});
exports.sync = awslambda.streamifyResponse((event, stream) => { stream.end('x'); });
"#;
    block_on(async {
        let (spec, mut lines) = bench().function(NODE, "index.js", code);
        let mut sync = spec.clone();
        let mut environment = bench().start(spec).await;
        for (payload, expected) in [(r#"{"written":1}"#, "begun"), ("{}", "")] {
            let (completion, kind, bytes) = streamed(&mut environment, payload).await;
            let Outcome::Streamed { error: Some(error), .. } = completion.outcome else { panic!("{completion:?}") };
            let document: Value = serde_json::from_slice(&error.payload).unwrap();
            assert_eq!((error.error_type.as_str(), &document["errorMessage"]), ("RangeError", &json!("asked to")));
            assert_eq!((kind.is_some(), String::from_utf8(bytes).unwrap().as_str()), (!expected.is_empty(), expected));
        }
        assert!(texts(&mut lines).iter().any(|line| line.contains("Invoke Error")));
        let (completion, _, bytes) = streamed(&mut environment, r#"{"piped":1}"#).await;
        assert_eq!((completion.outcome, &bytes[..]), (Outcome::Streamed { bytes: 3, error: None }, &b"abc"[..]));
        // Without a reader the error is that of an ordinary answer.
        let (error_type, _) = failure(&environment.invoke(event("r-9", r#"{"written":1}"#)).await);
        assert_eq!(error_type, "RangeError");
        let (completion, _, bytes) = streamed(&mut environment, r#"{"written":1,"uncaught":1}"#).await;
        let Outcome::Streamed { error: Some(error), .. } = completion.outcome else { panic!("{completion:?}") };
        assert_eq!((error.error_type.as_str(), &bytes[..]), ("TypeError", &b"begun"[..]));
        environment.stop().await;
        "index.sync".clone_into(&mut sync.handler);
        let mut environment = bench().start(sync).await;
        let (completion, ..) = streamed(&mut environment, "{}").await;
        assert!(matches!(completion.outcome, Outcome::Streamed { .. }), "{completion:?}");
        environment.stop().await;
    });
}

#[test]
fn a_slow_reader_slows_the_function_and_one_that_leaves_does_not_end_it() {
    if !has_node() {
        return;
    }
    let code = r#"
const { once } = require('events');
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  for (let i = 0; i < event.pieces; i++) {
    if (!stream.write(Buffer.alloc(1 << 20, 97))) await once(stream, 'drain');
    console.log(`wrote ${i}`);
  }
  stream.end();
});
"#;
    block_on(async {
        let (spec, mut lines) = bench().function(NODE, "index.js", code);
        let mut environment = bench().start(spec).await;
        let (sink, mut stream) = response();
        let mut invocation = event("r-1", r#"{"pieces":40}"#);
        invocation.response = Some(sink);
        let reading = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let wrote = texts(&mut lines).iter().filter(|line| line.contains("wrote")).count();
            assert!(wrote < 10, "{wrote} MiB were taken although nobody read");
            let mut bytes = 0;
            while let Some(piece) = stream.next().await {
                if let StreamPiece::Body(piece) = piece {
                    bytes += piece.len();
                }
            }
            bytes
        };
        let (completion, bytes) = tokio::join!(environment.invoke(invocation), reading);
        assert_eq!(completion.outcome, Outcome::Streamed { bytes: 40 << 20, error: None });
        assert_eq!(bytes, 40 << 20);
        let (sink, stream) = response();
        drop(stream);
        let mut invocation = event("r-2", r#"{"pieces":4}"#);
        invocation.response = Some(sink);
        let completion = environment.invoke(invocation).await;
        assert_eq!(completion.outcome, Outcome::Streamed { bytes: 4 << 20, error: None });
        // More than a whole response may hold, and nobody who takes it in pieces.
        let completion = environment.invoke(event("r-3", r#"{"pieces":7}"#)).await;
        assert_eq!(completion.outcome, Outcome::ResponseTooLarge { size: 7 << 20, limit: 6_291_556 });
        environment.stop().await;
    });
}

/// A runtime that streams over a plain socket: `RUN` says what.
fn bootstrap(run: &str) -> String {
    format!(
        r##"#!/usr/bin/python3
import base64, http.client, os, socket, sys, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def stream(id, pieces, mode="streaming", trailers=b"", end=True, extra=""):
    s = socket.create_connection(("127.0.0.1", 9001))
    head = "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" % id
    head += "Lambda-Runtime-Function-Response-Mode: " + mode + "\r\nContent-Type: text/event-stream\r\n" + extra
    head += "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
    s.sendall(head.encode())
    for piece in pieces:
        s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    if not end:
        s.close()
        return b""
    s.sendall(b"0\r\n" + trailers + b"\r\n")
    return s.recv(1000)
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    response = api.getresponse()
    id = response.getheader("Lambda-Runtime-Aws-Request-Id")
    event = response.read().decode()
{}
"##,
        run.lines().map(|line| format!("    {line}\n")).collect::<String>()
    )
}

#[test]
fn a_custom_runtime_streams_over_http() {
    let run = r#"
error = b"Lambda-Runtime-Function-Error-Type: Late\r\nLambda-Runtime-Function-Error-Body: " + base64.b64encode(b'{"errorMessage":"m"}') + b"\r\n"
if event == "1": print(stream(id, [b"a" * 10, b"b"]).split(b"\r\n")[0].decode(), flush=True)
if event == "2": stream(id, [b"half"], trailers=error)
if event == "3": stream(id, [], trailers=error)
if event == "4": stream(id, [b"cut"], end=False)
if event == "5": print(stream(id, [b"x"], mode="sideways").split(b"\r\n")[0].decode(), flush=True)
if event == "6": stream(id, [])
"#;
    block_on(async {
        let (spec, mut lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        let mut environment = bench().start(spec).await;
        let (completion, kind, bytes) = streamed(&mut environment, "1").await;
        assert_eq!(
            (completion.outcome, kind.as_deref()),
            (Outcome::Streamed { bytes: 11, error: None }, Some("text/event-stream"))
        );
        assert_eq!(&bytes[..], b"aaaaaaaaaab");
        let broken = |completion: Completion| match completion.outcome {
            Outcome::Streamed { error: Some(error), bytes } => (error.error_type, bytes),
            other => panic!("{other:?}"),
        };
        let (completion, _, bytes) = streamed(&mut environment, "2").await;
        assert_eq!((broken(completion), &bytes[..]), (("Late".to_owned(), 4), &b"half"[..]));
        let (completion, kind, _) = streamed(&mut environment, "3").await;
        assert_eq!((broken(completion), kind), (("Late".to_owned(), 0), None));
        let (completion, ..) = streamed(&mut environment, "4").await;
        assert_eq!(broken(completion), ("Runtime.TruncatedResponse".to_owned(), 3));
        let (completion, ..) = streamed(&mut environment, "5").await;
        let Outcome::FunctionError { error_type, .. } = completion.outcome else { panic!("{completion:?}") };
        assert_eq!(error_type, "Runtime.InvalidResponseModeHeader");
        let (completion, kind, _) = streamed(&mut environment, "6").await;
        assert_eq!((completion.outcome, kind.is_some()), (Outcome::Streamed { bytes: 0, error: None }, true));
        let seen = texts(&mut lines).concat();
        assert!(seen.contains("202 Accepted") && seen.contains("400 Bad Request"), "{seen}");
        environment.stop().await;
    });
}

#[test]
fn a_stream_beyond_two_hundred_mebibytes_ends_there() {
    let run = r#"
answer = stream(id, (b"z" * (1 << 20) for _ in range(201)))
print(answer.split(b"\r\n")[0].decode(), flush=True)
"#;
    block_on(async {
        let (mut spec, mut lines) = bench().function("provided.al2023", "bootstrap", &bootstrap(run));
        spec.timeout = Duration::from_secs(60);
        let mut environment = bench().start(spec).await;
        let (sink, mut stream) = response();
        let mut invocation = event("r-1", "1");
        invocation.response = Some(sink);
        let reading = async {
            let mut bytes = 0;
            while let Some(piece) = stream.next().await {
                if let StreamPiece::Body(piece) = piece {
                    bytes += piece.len() as u64;
                }
            }
            bytes
        };
        let (completion, bytes) = tokio::join!(environment.invoke(invocation), reading);
        let Outcome::Streamed { error: Some(error), .. } = completion.outcome else { panic!("{completion:?}") };
        assert_eq!(error.error_type, "Function.ResponseSizeTooLarge");
        assert!(bytes <= 200 << 20);
        // The next event comes when the runtime has heard that its stream was refused.
        assert!(matches!(environment.invoke(event("r-2", "2")).await.outcome, Outcome::ResponseTooLarge { .. }));
        assert!(texts(&mut lines).concat().contains("413 Payload Too Large"));
        environment.stop().await;
    });
}

#[test]
fn a_buffered_answer_to_a_sink_is_an_ordinary_one() {
    block_on(async {
        let (spec, _lines) =
            bench().function("python3.11", "app.py", "def handler(event, context):\n    return event\n");
        let mut environment = bench().start(spec).await;
        let (completion, kind, bytes) = streamed(&mut environment, "[1]").await;
        assert_eq!(success(&completion), json!([1]));
        assert_eq!((kind, bytes.len()), (None, 0));
        environment.stop().await;
    });
}
