//! The Telemetry and Logs APIs: what subscribers are told, and what becomes of those that do not listen.

use std::time::Duration;

use compute_api::{Environment, LogFormat, OutputLines};
use serde_json::{Value, json};

use crate::{
    extensions::{program, with_extensions},
    harness::{bench, block_on, event, success, texts},
};

/// An extension that prints every batch it is sent; `SUBSCRIBE` is what it subscribes with.
fn listener(subscribe: &str) -> String {
    program(&format!(
        r##"
import http.server, socketserver, socket
class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for item in batch: got.append(item)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
got = []
def show():
    time.sleep(0.3)
    print("GOT " + json.dumps(got))
id, status, body = register(["INVOKE", "SHUTDOWN"])
{subscribe}
while True:
    status, happened = event(id)
    if happened["eventType"] == "SHUTDOWN":
        show()
        break
"##
    ))
}

const USUAL: &str = r#"
server = Server(("127.0.0.1", 8080), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
answer = ask("PUT", "/2022-07-01/telemetry", json.dumps({"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}}), id)
print("SUBSCRIBED", answer[0], answer[2])
"#;

const PYTHON: &str = "print('at init')\ndef handler(event, context):\n    print('hello', event)\n    if event == 2: raise ValueError('asked')\n    return event\n";

/// What the listener printed that it got.
fn got(lines: &mut OutputLines) -> Vec<Value> {
    let seen = texts(lines);
    let line = seen.iter().find_map(|line| line.strip_prefix("GOT ")).unwrap_or_else(|| panic!("{seen:?}"));
    serde_json::from_str(line).unwrap()
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).map(|event| &event["record"]).collect()
}

#[test]
fn a_subscriber_hears_everything_in_the_words_of_aws() {
    block_on(async {
        let (spec, mut lines) = with_extensions("telemetry", PYTHON, &[("ear", listener(USUAL))]);
        let mut environment = bench().start(spec).await;
        let started = texts(&mut lines);
        assert!(started.contains(&"SUBSCRIBED 200 \"OK\"\n".to_owned()), "{started:?}");
        let line = "TELEMETRY\tName: ear\tState: Subscribed\tTypes: [Platform, Function, Extension]\n".to_owned();
        assert!(started.contains(&line), "{started:?}");
        assert_eq!(success(&environment.invoke(event("r-1", "1")).await), 1);
        environment.settle().await;
        environment.invoke(event("r-2", "2")).await;
        environment.settle().await;
        environment.stop().await;
        let events = got(&mut lines);
        assert!(events.iter().all(|event| event["time"].as_str().unwrap().ends_with('Z')));
        let start = of(&events, "platform.initStart")[0];
        assert_eq!((&start["initializationType"], &start["phase"]), (&json!("on-demand"), &json!("init")));
        assert_eq!((&start["functionName"], &start["instanceMaxMemory"]), (&json!("probe"), &json!(256)));
        assert_eq!(of(&events, "platform.initRuntimeDone")[0]["status"], "success");
        assert!(of(&events, "platform.initReport")[0]["metrics"]["durationMs"].as_f64().unwrap() > 0.0);
        assert_eq!(
            of(&events, "platform.telemetrySubscription")[0],
            &json!({"name": "ear", "state": "Subscribed", "types": ["platform", "function", "extension"]})
        );
        assert_eq!(
            of(&events, "platform.extension")[0],
            &json!({"name": "ear", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]})
        );
        let starts = of(&events, "platform.start");
        assert_eq!((&starts[0]["requestId"], &starts[0]["version"]), (&json!("r-1"), &json!("$LATEST")));
        assert_eq!(starts[0]["tracing"]["type"], "X-Amzn-Trace-Id");
        let done = of(&events, "platform.runtimeDone");
        assert_eq!((&done[0]["status"], &done[0]["metrics"]["producedBytes"]), (&json!("success"), &json!(1)));
        assert_eq!((&done[1]["status"], &done[1]["errorType"]), (&json!("error"), &json!("ValueError")));
        let reports = of(&events, "platform.report");
        assert_eq!(reports[0]["metrics"]["memorySizeMB"], 256);
        assert!(
            reports[0]["metrics"]["initDurationMs"].is_number() && reports[1]["metrics"]["initDurationMs"].is_null()
        );
        let lines = of(&events, "function");
        assert!(lines.contains(&&json!("at init")) && lines.contains(&&json!("hello 1")), "{lines:?}");
        assert!(of(&events, "extension").iter().any(|line| line.as_str().unwrap().starts_with("SUBSCRIBED")));
        assert!(of(&events, "platform.logsDropped").is_empty());
    });
}

#[test]
fn the_older_logs_api_hears_what_it_knows_over_tcp() {
    let subscribe = r#"
listening = socket.create_server(("127.0.0.1", 9090))
def hear():
    connection, _ = listening.accept()
    for line in connection.makefile(): got.append(json.loads(line))
threading.Thread(target=hear, daemon=True).start()
answer = ask("PUT", "/2020-08-15/logs", json.dumps({"schemaVersion": "2021-03-18", "types": ["platform", "function"],
    "buffering": {"timeoutMs": 25}, "destination": {"protocol": "TCP", "port": 9090}}), id)
print("SUBSCRIBED", answer[0], answer[2])
"#;
    block_on(async {
        let (mut spec, mut lines) = with_extensions("logs", PYTHON, &[("ear", listener(subscribe))]);
        spec.logging.format = LogFormat::Json;
        let mut environment = bench().start(spec).await;
        // In the JSON format the platform's lines are the events themselves.
        let started = texts(&mut lines);
        let told = |kind: &str| started.iter().any(|line| line.contains(&format!("\"type\":\"{kind}\"")));
        assert!(told("platform.extension") && told("platform.logsSubscription"), "{started:?}");
        success(&environment.invoke(event("r-1", "1")).await);
        environment.settle().await;
        environment.stop().await;
        let events = got(&mut lines);
        assert_eq!(of(&events, "platform.start"), [&json!({"requestId": "r-1", "version": "$LATEST"})]);
        assert_eq!(of(&events, "platform.runtimeDone"), [&json!({"requestId": "r-1", "status": "success"})]);
        assert_eq!(of(&events, "platform.end"), [&json!({"requestId": "r-1"})]);
        assert_eq!(of(&events, "platform.logsSubscription").len(), 1);
        assert!(of(&events, "platform.initStart").is_empty());
        assert!(of(&events, "function").contains(&&json!("hello 1")));
    });
}

#[test]
fn a_wrong_or_late_subscription_is_refused() {
    let subscribe = r#"
wrong = ask("PUT", "/2022-07-01/telemetry", json.dumps({"schemaVersion": "2022-07-01", "types": [], "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}}), id)
old = ask("PUT", "/2020-08-15/logs", "{", id)
nobody = ask("PUT", "/2022-07-01/telemetry", "{}", {"Lambda-Extension-Identifier": "8286a188-ba32-4475-8077-530cd35c09a9"})
method = ask("POST", "/2022-07-01/telemetry", "{}", id)
event(id)
late = ask("PUT", "/2022-07-01/telemetry", json.dumps({"schemaVersion": "2022-07-01", "types": ["platform"], "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}}), id)
for status, _, body in (wrong, old, nobody, method, late): got.append([status, json.loads(body)])
"#;
    block_on(async {
        let (spec, mut lines) = with_extensions("refused", PYTHON, &[("ear", listener(subscribe))]);
        let mut environment = bench().start(spec).await;
        success(&environment.invoke(event("r-1", "1")).await);
        environment.settle().await;
        environment.stop().await;
        let error = |error_type: &str, message: &str| json!({"errorType": error_type, "errorMessage": message});
        let expected = [
            json!([400, error("ValidationError", "URI port is not provided; types should not be empty")]),
            json!([400, error("Logs.ValidationError", "Invalid JSON")]),
            json!([
                403,
                error("Extension.UnknownExtensionIdentifier", "Unknown extension 8286a188-ba32-4475-8077-530cd35c09a9")
            ]),
            json!([405, error("MethodNotAllowed", "Method not allowed")]),
            json!([403, error("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed")]),
        ];
        assert_eq!(got(&mut lines), expected);
    });
}

#[test]
fn who_subscribes_and_does_not_listen_holds_nothing_back() {
    let subscribe = r#"
ask("PUT", "/2022-07-01/telemetry", json.dumps({"schemaVersion": "2022-07-01", "types": ["platform", "function"],
    "buffering": {"timeoutMs": 25}, "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8081"}}), id)
silent = socket.create_server(("127.0.0.1", 8082))
ask("PUT", "/2020-08-15/logs", json.dumps({"types": ["function"],
    "buffering": {"timeoutMs": 25}, "destination": {"protocol": "HTTP", "URI": "http://sandbox:8082/x"}}), id)
"#;
    let code = "def handler(event, context):\n    for i in range(20000): print('line', i, 'x' * 50)\n    return 1\n";
    block_on(async {
        let (mut spec, lines) = with_extensions("deaf", code, &[("ear", listener(subscribe))]);
        spec.timeout = Duration::from_secs(20);
        drop(lines);
        let mut environment = bench().start(spec).await;
        let begun = std::time::Instant::now();
        assert_eq!(success(&environment.invoke(event("r-1", "1")).await), 1);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        environment.settle().await;
        environment.stop().await;
    });
}

#[test]
fn what_is_dropped_is_counted_and_told() {
    let subscribe = r#"
class Slow(Receiver):
    def do_POST(self):
        time.sleep(0.2)
        super().do_POST()
server = Server(("127.0.0.1", 8080), Slow)
threading.Thread(target=server.serve_forever, daemon=True).start()
ask("PUT", "/2022-07-01/telemetry", json.dumps({"schemaVersion": "2025-01-29", "types": ["platform", "function"],
    "buffering": {"timeoutMs": 25}, "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}}), id)
"#;
    let code = "import time\ndef handler(event, context):\n    for i in range(2500): print('line', i)\n    time.sleep(1.5)\n    return 1\n";
    block_on(async {
        let (spec, mut lines) = with_extensions("slow-ear", code, &[("ear", listener(subscribe))]);
        let mut environment = bench().start(spec).await;
        assert_eq!(success(&environment.invoke(event("r-1", "1")).await), 1);
        environment.settle().await;
        environment.stop().await;
        let events = got(&mut lines);
        let dropped: u64 =
            of(&events, "platform.logsDropped").iter().map(|record| record["droppedRecords"].as_u64().unwrap()).sum();
        let heard = of(&events, "function").len() as u64;
        assert!(dropped > 0 && heard > 0 && heard + dropped <= 2500, "{heard} heard, {dropped} dropped");
    });
}
