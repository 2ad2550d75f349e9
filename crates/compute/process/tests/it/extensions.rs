//! Extensions: programs in layers that live beside the runtime, and threads of the runtime that say they are one.

use std::time::{Duration, Instant};

use compute_api::{Environment, EnvironmentSpec, InitOutcome, Outcome, OutputKind, OutputLines, StartError};
use serde_json::{Value, json};

use crate::harness::{bench, block_on, event, failure, success, texts};

/// An extension of a few lines; `RUN` comes after its helpers.
pub(crate) fn program(run: &str) -> String {
    format!(
        r##"#!/usr/bin/python3 -u
import http.client, json, os, sys, threading, time
NAME = os.path.basename(sys.argv[0])
def ask(method, path, body=None, headers={{}}):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request(method, path, body, headers)
    response = api.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode()
def extension(method, path, body=None, headers={{}}):
    return ask(method, "/2020-01-01/extension/" + path, body, headers)
def register(events, **headers):
    status, found, body = extension("POST", "register", json.dumps({{"events": events}}), {{"Lambda-Extension-Name": NAME, **headers}})
    return {{"Lambda-Extension-Identifier": found.get("Lambda-Extension-Identifier", "")}}, status, json.loads(body)
def event(id):
    status, found, body = extension("GET", "event/next", None, id)
    return status, json.loads(body)
{run}
"##
    )
}

const USUAL: &str = r#"
id, status, body = register(["INVOKE", "SHUTDOWN"])
while True:
    status, got = event(id)
    print(got["eventType"], got.get("requestId", got.get("shutdownReason")))
    if got["eventType"] == "SHUTDOWN": break
"#;

const PYTHON: &str = "def handler(event, context):\n    print('function', event)\n    return event\n";

/// A Python function with these extensions.
pub(crate) fn with_extensions(name: &str, code: &str, extensions: &[(&str, String)]) -> (EnvironmentSpec, OutputLines) {
    let files: Vec<(String, &str)> =
        extensions.iter().map(|(file, text)| (format!("extensions/{file}"), text.as_str())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (file.as_str(), *text)).collect();
    let layer = bench().code(&format!("layer-{name}"), &files);
    let (mut spec, lines) = bench().function("python3.11", "app.py", code);
    spec.layers = vec![layer];
    (spec, lines)
}

#[test]
fn an_external_extension_lives_through_the_life_of_its_environment() {
    block_on(async {
        let (spec, mut lines) =
            with_extensions("usual", PYTHON, &[("first", program(USUAL)), ("second", program(USUAL))]);
        let mut environment = bench().start(spec).await;
        let started = texts(&mut lines);
        for name in ["first", "second"] {
            let line = format!("EXTENSION\tName: {name}\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n");
            assert!(started.contains(&line), "{started:?}");
        }
        for round in 0..3 {
            let id = format!("r-{round}");
            assert_eq!(success(&environment.invoke(event(&id, "1")).await), 1);
            environment.settle().await;
            assert!(environment.is_settled() && environment.is_alive());
            let seen = texts(&mut lines);
            assert_eq!(seen.iter().filter(|line| **line == format!("INVOKE {id}\n")).count(), 2, "{seen:?}");
            // A freeze between invocations is not noticed.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        environment.stop().await;
        let seen = texts(&mut lines);
        assert_eq!(seen.iter().filter(|line| **line == "SHUTDOWN spindown\n").count(), 2, "{seen:?}");
    });
}

#[test]
fn registering_answers_about_the_function_and_refuses_in_the_words_of_aws() {
    let run = r#"
seen = []
seen.append(extension("POST", "register", "{}", {}))
seen.append(extension("POST", "register", "{", {"Lambda-Extension-Name": NAME}))
seen.append(extension("POST", "register", '{"events":["STOP"]}', {"Lambda-Extension-Name": NAME}))
seen.append(extension("GET", "event/next"))
seen.append(extension("GET", "event/next", None, {"Lambda-Extension-Identifier": "x"}))
seen.append(extension("GET", "event/next", None, {"Lambda-Extension-Identifier": "8286a188-ba32-4475-8077-530cd35c09a9"}))
seen.append(extension("PUT", "register"))
seen.append(extension("POST", "nothing"))
id, status, body = register(["INVOKE"], **{"Lambda-Extension-Accept-Feature": "accountId, more"})
seen.append((status, 0, json.dumps(body)))
seen.append(extension("POST", "register", '{"events":[]}', {"Lambda-Extension-Name": NAME}))
seen.append(extension("POST", "init/error", "{}", id))
print(json.dumps([[s, json.loads(b)] for s, _, b in seen]))
print(json.dumps(sorted(os.environ)))
while True: event(id)
"#;
    block_on(async {
        let (spec, mut lines) = with_extensions("words", PYTHON, &[("e", program(run))]);
        let mut environment = bench().start(spec).await;
        success(&environment.invoke(event("r", "1")).await);
        let seen = texts(&mut lines);
        let line = seen.iter().find(|line| line.starts_with("[[")).unwrap_or_else(|| panic!("{seen:?}"));
        let seen_answers: Value = serde_json::from_str(line).unwrap();
        let error = |error_type: &str, message: &str| json!({"errorType": error_type, "errorMessage": message});
        let expected = [
            (403, error("Extension.InvalidExtensionName", "Empty extension name")),
            (403, json!(null)),
            (403, error("Extension.InvalidEventType", "STOP: ErrorInvalidEventType")),
            (403, error("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")),
            (403, error("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")),
            (
                403,
                error("Extension.UnknownExtensionIdentifier", "Unknown extension 8286a188-ba32-4475-8077-530cd35c09a9"),
            ),
            (405, error("MethodNotAllowed", "Method not allowed")),
            (404, error("NotFound", "The Runtime API has no such path")),
            (
                200,
                json!({"functionName": "probe", "functionVersion": "$LATEST", "handler": "app.handler",
                "accountId": "000000000000"}),
            ),
            (
                403,
                error(
                    "Extension.InvalidExtensionState",
                    "State transition from Registered to Registered failed for extension e. Error: State transition is not allowed",
                ),
            ),
            (403, error("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")),
        ];
        for (index, (status, document)) in expected.iter().enumerate() {
            assert_eq!(seen_answers[index][0], *status, "{index}");
            if document.is_null() {
                assert_eq!(seen_answers[index][1]["errorType"], "InvalidRequestFormat");
            } else {
                assert_eq!(seen_answers[index][1], *document, "{index}");
            }
        }
        let variables = seen.iter().find(|line| line.starts_with("[\"")).unwrap();
        assert!(variables.contains("AWS_LAMBDA_RUNTIME_API") && variables.contains("TEST_KEY"), "{variables}");
        assert!(!variables.contains("_HANDLER") && !variables.contains("LAMBDA_TASK_ROOT"), "{variables}");
        environment.stop().await;
    });
}

#[test]
fn the_environment_is_busy_until_its_extensions_are_done_and_the_caller_is_not() {
    let run = r#"
id, status, body = register(["INVOKE"])
while True:
    event(id)
    time.sleep(0.3)
    print("done")
"#;
    block_on(async {
        let (spec, mut lines) = with_extensions("slow", PYTHON, &[("e", program(run))]);
        let mut environment = bench().start(spec).await;
        let begun = Instant::now();
        success(&environment.invoke(event("r-1", "1")).await);
        assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
        assert!(!environment.is_settled());
        environment.settle().await;
        assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
        assert!(environment.is_settled());
        assert!(texts(&mut lines).contains(&"done\n".to_owned()));
        // Who does not wait is made to.
        success(&environment.invoke(event("r-2", "1")).await);
        let begun = Instant::now();
        success(&environment.invoke(event("r-3", "1")).await);
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
        environment.stop().await;
    });
}

#[test]
fn an_extension_that_is_never_done_ends_with_the_time_of_the_function() {
    let run = r#"
id, status, body = register(["INVOKE", "SHUTDOWN"])
event(id)
threading.Event().wait(30)
"#;
    block_on(async {
        let (mut spec, _lines) = with_extensions("endless", PYTHON, &[("e", program(run))]);
        spec.timeout = Duration::from_millis(600);
        let mut environment = bench().start(spec).await;
        success(&environment.invoke(event("r", "1")).await);
        let begun = Instant::now();
        environment.settle().await;
        assert!(!environment.is_alive());
        // The rest of the function's time and the shutdown's two seconds.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_function_that_runs_out_of_time_tells_its_extensions_why() {
    let code = "import time\ndef handler(event, context):\n    time.sleep(10)\n";
    block_on(async {
        let (mut spec, mut lines) = with_extensions("timeout", code, &[("e", program(USUAL))]);
        spec.timeout = Duration::from_millis(500);
        let mut environment = bench().start(spec).await;
        assert_eq!(environment.invoke(event("r", "1")).await.outcome, Outcome::Timeout);
        let seen = texts(&mut lines);
        assert!(seen.contains(&"SHUTDOWN timeout\n".to_owned()), "{seen:?}");
        let code = "import os\ndef handler(event, context):\n    os._exit(3)\n";
        let (spec, mut lines) = with_extensions("failure", code, &[("e", program(USUAL))]);
        let mut environment = bench().start(spec).await;
        let outcome = environment.invoke(event("r", "1")).await.outcome;
        assert_eq!(outcome, Outcome::Exited(compute_api::Exit::Status(3)));
        let seen = texts(&mut lines);
        assert!(seen.contains(&"SHUTDOWN failure\n".to_owned()), "{seen:?}");
    });
}

#[test]
fn an_extension_that_fails_fails_its_environment() {
    let crash = "id, status, body = register(['INVOKE'])\nevent(id)\nsys.exit(7)\n";
    block_on(async {
        let (spec, _lines) = with_extensions(
            "crash",
            "import time\ndef handler(event, context):\n    time.sleep(5)\n",
            &[("e", program(crash))],
        );
        let mut environment = bench().start(spec).await;
        let (error_type, document) = failure(&environment.invoke(event("r-7", "1")).await);
        assert_eq!(error_type, "Extension.Crash");
        assert_eq!(
            document,
            json!({"errorType": "Extension.Crash", "errorMessage": "RequestId: r-7 Error: exit code 7"})
        );
        assert!(!environment.is_alive());
        // Between invocations nobody is told but whoever watches for the end.
        let crash = "id, status, body = register(['INVOKE'])\nevent(id)\nthreading.Timer(0.3, os._exit, [1]).start()\nevent(id)\n";
        let (spec, _lines) = with_extensions("late", PYTHON, &[("e", program(crash))]);
        let mut environment = bench().start(spec).await;
        success(&environment.invoke(event("r", "1")).await);
        environment.settle().await;
        // It is frozen now, and its timer with it; it fires as soon as it runs again.
        let again = environment.invoke(event("s", "1")).await;
        drop(again);
        let _ = tokio::time::timeout(Duration::from_secs(2), environment.ended()).await.unwrap();
        assert!(!environment.is_alive());
    });
}

#[test]
fn an_extension_that_does_not_come_up_fails_the_initialisation() {
    let reported = "id, status, body = register(['INVOKE'])\nextension('POST', 'init/error', '{}', {**id, 'Lambda-Extension-Function-Error-Type': 'Own.Trouble'})\ntime.sleep(5)\n";
    let silent = "id, status, body = register(['INVOKE'])\ntime.sleep(30)\n";
    block_on(async {
        for (name, run, expected) in [
            ("exit", "sys.exit(0)".to_owned(), "Extension.Crash"),
            ("reported", reported.to_owned(), "Extension.InitError"),
        ] {
            let (spec, _lines) = with_extensions(name, PYTHON, &[("e", program(&run))]);
            match bench().init_failure(spec).await.outcome {
                InitOutcome::Error { error_type, .. } => assert_eq!(error_type, expected),
                other => panic!("{name}: {other:?}"),
            }
        }
        let (mut spec, mut lines) = with_extensions("silent", PYTHON, &[("e", program(silent))]);
        spec.init_timeout = Duration::from_secs(3);
        assert_eq!(bench().init_failure(spec).await.outcome, InitOutcome::Timeout);
        let line = "EXTENSION\tName: e\tState: Registered\tEvents: [INVOKE]\n".to_owned();
        assert!(texts(&mut lines).contains(&line));
        let (spec, mut lines) = with_extensions("no-program", PYTHON, &[("e", "no interpreter".to_owned())]);
        let error = bench().init_failure(spec).await;
        let InitOutcome::Error { error_type, .. } = error.outcome else { panic!("{error:?}") };
        assert_eq!(error_type, "Extension.LaunchError");
        let line = "EXTENSION\tName: e\tState: LaunchError\tEvents: []\tError Type: UnknownError\n".to_owned();
        assert!(texts(&mut lines).contains(&line));
        let names: Vec<String> = (0..11).map(|number| format!("e{number:02}")).collect();
        let many: Vec<(&str, String)> = names.iter().map(|name| (name.as_str(), program(USUAL))).collect();
        let (spec, _lines) = with_extensions("many", PYTHON, &many);
        match bench().host_start(spec).await {
            Err(StartError::Init(failure)) => {
                let InitOutcome::Error { error_type, .. } = failure.outcome else { panic!("{failure:?}") };
                assert_eq!(error_type, "Extension.LaunchError");
            }
            other => panic!("{:?}", other.map(|_| ())),
        }
    });
}

#[test]
fn a_thread_of_the_runtime_may_be_an_extension() {
    let code = r#"
import http.client, json, os, threading
seen = []
def ask(method, path, body, headers):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request(method, "/2020-01-01/extension/" + path, body, headers)
    response = api.getresponse()
    return response.status, response.getheader("Lambda-Extension-Identifier"), json.loads(response.read())
status, _, refused = ask("POST", "register", '{"events":["SHUTDOWN"]}', {"Lambda-Extension-Name": "inside"})
_, id, _ = ask("POST", "register", '{"events":["INVOKE"]}', {"Lambda-Extension-Name": "inside"})
def live():
    while True:
        seen.append(ask("GET", "event/next", None, {"Lambda-Extension-Identifier": id})[2]["requestId"])
threading.Thread(target=live, daemon=True).start()
import signal, sys
def term(*_):
    print("asked to go", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, term)
def handler(event, context):
    late = ask("POST", "register", '{"events":[]}', {"Lambda-Extension-Name": "late"})
    return [refused, seen, late[0], late[2]["errorType"]]
"#;
    block_on(async {
        let (spec, mut lines) = bench().function("python3.11", "app.py", code);
        let mut environment = bench().start(spec).await;
        success(&environment.invoke(event("r-1", "1")).await);
        environment.settle().await;
        let answer = success(&environment.invoke(event("r-2", "1")).await);
        assert_eq!(answer[0]["errorType"], "Extension.InvalidEventType");
        assert_eq!(answer[1][0], "r-1");
        assert_eq!((&answer[2], &answer[3]), (&json!(403), &json!("Extension.RegistrationClosed")));
        environment.settle().await;
        let begun = Instant::now();
        environment.stop().await;
        assert!(begun.elapsed() < Duration::from_millis(900));
        let seen = texts(&mut lines);
        assert!(seen.contains(&"asked to go\n".to_owned()), "{seen:?}");
        assert!(seen.contains(&"EXTENSION\tName: inside\tState: Ready\tEvents: [INVOKE]\n".to_owned()), "{seen:?}");
    });
}

#[test]
fn an_extension_is_behind_the_walls_of_its_function() {
    let run = r#"
id, status, body = register(["INVOKE"])
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print(json.dumps([os.getuid(), status["CapEff"], status["NoNewPrivs"], status["Seccomp"], os.listdir("/opt/extensions")]))
open("/tmp/from-extension", "w").write("seen")
while True: event(id)
"#;
    let code = "def handler(event, context):\n    return open('/tmp/from-extension').read()\n";
    block_on(async {
        let (spec, mut lines) = with_extensions("walled", code, &[("e", program(run))]);
        let mut environment = bench().start(spec).await;
        assert_eq!(success(&environment.invoke(event("r", "1")).await), "seen");
        let mut found = None;
        while let Some(line) = lines.try_next() {
            if line.kind == OutputKind::Stdout {
                found = Some(serde_json::from_slice::<Value>(&line.text).unwrap());
            }
        }
        assert_eq!(found, Some(json!([993, "0000000000000000", "1", "2", ["e"]])));
        environment.stop().await;
    });
}
