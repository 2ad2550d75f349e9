//! What is said about an invocation, beside what AWS was recorded to say.

use serde_json::Value;

use super::*;
use crate::report::system::Level;

const ID: &str = "8f507cfc-example";
const TIMEOUT: Duration = Duration::from_secs(3);

fn completion(outcome: Outcome, figures: Figures) -> Completion {
    let figures = Figures { duration: Duration::from_micros(3010), memory_bytes_max: 36 << 20, ..figures };
    Completion { outcome, figures, log_tail: Bytes::new() }
}

fn subject() -> Subject<'static> {
    Subject {
        request_id: ID,
        version: "$LATEST",
        memory_mib: 128,
        timeout: TIMEOUT,
        isolation: IsolationLevel::Full,
        origin: Origin::Forked,
    }
}

fn lines(outcome: Outcome, figures: Figures) -> Vec<String> {
    of_completion(&completion(outcome, figures), &subject(), SystemLog::Text, Timestamp::EPOCH)
}

fn said(outcome: Outcome) -> (Vec<String>, Value, Option<&'static str>) {
    let answered = answer(&completion(outcome.clone(), Figures::default()), ID, TIMEOUT);
    (lines(outcome, Figures::default()), serde_json::from_slice(&answered.payload).unwrap(), answered.function_error)
}

fn success() -> Outcome {
    Outcome::Success { payload: Bytes::from_static(b"1") }
}

#[test]
fn lines_are_those_of_aws() {
    let log = SystemLog::Text;
    let now = Timestamp::EPOCH;
    assert_eq!(start(ID, "$LATEST", log, now).as_deref(), Some("START RequestId: 8f507cfc-example Version: $LATEST\n"));
    for (initialization, line) in [
        (InitializationType::OnDemand, "INIT_START Runtime Version: python:3.13\tRuntime Version ARN: arn\n"),
        (InitializationType::SnapStart, "RESTORE_START Runtime Version: python:3.13\tRuntime Version ARN: arn\n"),
    ] {
        assert_eq!(init_start(initialization, "python3.13", "arn", log, now).as_deref(), Some(line));
    }
    assert_eq!(runtime_version("nodejs20.x"), "nodejs:20");
    assert_eq!(runtime_version("provided.al2023"), "provided:al2023");
    let restored = init_succeeded(InitializationType::SnapStart, Duration::from_micros(4_321), log, now);
    assert_eq!(restored.as_deref(), Some("RESTORE_REPORT Restore Duration: 4.32 ms\n"));
    assert_eq!(init_succeeded(InitializationType::OnDemand, TIMEOUT, log, now), None);
}

#[test]
fn a_report_has_the_fields_of_aws_and_then_ours() {
    let init = Some(Duration::from_micros(110_100));
    let restore = Some(Duration::from_micros(4_321));
    for (figures, told) in [
        (Figures::default(), "Billed Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t"),
        (
            Figures { init_duration: init, ..Figures::default() },
            "Billed Duration: 114 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t",
        ),
        (
            Figures { restore_duration: restore, ..Figures::default() },
            "Billed Duration: 8 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tRestore Duration: 4.32 ms\tBilled Restore \
             Duration: 5 ms\t",
        ),
    ] {
        assert_eq!(
            lines(success(), figures),
            [
                "END RequestId: 8f507cfc-example\n".to_owned(),
                format!(
                    "REPORT RequestId: 8f507cfc-example\tDuration: 3.01 ms\t{told}Isolation: full\tOrigin: forked\t\n"
                ),
            ]
        );
    }
    let answered = answer(&completion(success(), Figures::default()), ID, TIMEOUT);
    assert_eq!(answered, Answer { payload: Bytes::from_static(b"1"), function_error: None });
}

#[test]
fn failures_have_awss_documents() {
    for (outcome, error_type, message) in [
        (Outcome::Timeout, "Sandbox.Timedout", "RequestId: 8f507cfc-example Error: Task timed out after 3.00 seconds"),
        (
            Outcome::Exited(Exit::Status(0)),
            "Runtime.ExitError",
            "RequestId: 8f507cfc-example Error: Runtime exited without providing a reason",
        ),
        (
            Outcome::Exited(Exit::Status(3)),
            "Runtime.ExitError",
            "RequestId: 8f507cfc-example Error: Runtime exited with error: exit status 3",
        ),
        (
            Outcome::OutOfMemory,
            "Runtime.ExitError",
            "RequestId: 8f507cfc-example Error: Runtime exited with error: signal: killed",
        ),
        (
            Outcome::ResponseTooLarge { size: 7_000_000, limit: 6_291_556 },
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        ),
    ] {
        let (_, document, function_error) = said(outcome);
        assert_eq!(document, json!({ "errorType": error_type, "errorMessage": message }));
        assert_eq!(function_error, Some("Unhandled"));
    }
    let (lines, ..) = said(Outcome::Timeout);
    assert_eq!(lines[0], "1970-01-01T00:00:00.000Z 8f507cfc-example Task timed out after 3.00 seconds\n\n");
    assert!(lines[2].contains("Max Memory Used: 36 MB\tStatus: timeout\tIsolation: full\t"), "{lines:?}");
    let (lines, ..) = said(Outcome::Exited(Exit::Status(3)));
    assert!(lines[2].contains("\tStatus: error\tError Type: Runtime.ExitError\tIsolation: full\t"), "{lines:?}");
    let (lines, document, _) = said(Outcome::OutOfMemory);
    assert!(lines[2].contains("\tStatus: error\tError Type: Runtime.OutOfMemory\tIsolation: full\t"), "{lines:?}");
    assert_eq!(document["errorType"], "Runtime.ExitError");
    let own = Bytes::from_static(br#"{"errorMessage":"x","errorType":"ValueError"}"#);
    let (lines, document, _) = said(Outcome::FunctionError { error_type: "ValueError".into(), payload: own });
    assert_eq!(document["errorType"], "ValueError");
    assert!(lines[1].contains("Max Memory Used: 36 MB\tIsolation: full\t"), "{lines:?}");
}

#[test]
fn a_failed_initialisation_is_reported_as_such() {
    let figures = Figures { init_duration: Some(Duration::from_millis(12)), ..Figures::default() };
    let failure = |outcome| InitFailure { outcome, figures, log_tail: Bytes::new() };
    let (log, now) = (SystemLog::Text, Timestamp::EPOCH);
    let exited = failure(InitOutcome::Exited(Exit::Status(1)));
    for (failure, phase, line) in [
        (
            &exited,
            Phase::Init,
            "INIT_REPORT Init Duration: 12.00 ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\n",
        ),
        (
            &exited,
            Phase::Restore,
            "RESTORE_REPORT Restore Duration: 12.00 ms\tStatus: error\tError Type: Runtime.ExitError\n",
        ),
        (
            &failure(InitOutcome::Timeout),
            Phase::Invoke,
            "INIT_REPORT Init Duration: 12.00 ms\tPhase: invoke\tStatus: timeout\n",
        ),
    ] {
        let said = init_failed(failure, phase, InitializationType::OnDemand, log, now);
        assert_eq!(said.as_deref(), Some(line));
    }
    let lines = of_init_failure(&exited, &subject(), TIMEOUT, log, now);
    assert_eq!(lines[0], "START RequestId: 8f507cfc-example Version: $LATEST\n");
    assert_eq!(
        lines[1],
        "RequestId: 8f507cfc-example Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n"
    );
    assert_eq!(lines[2], "END RequestId: 8f507cfc-example\n");
    assert!(lines[3].contains("\tStatus: error\tError Type: Runtime.ExitError\t"), "{lines:?}");
}

#[test]
fn records_pass_by_their_level() {
    let now = Timestamp::EPOCH;
    let names = |lines: Vec<String>| -> Vec<String> {
        lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
            .collect()
    };
    for (least, ended, failed, started) in [
        (Level::Debug, vec!["platform.runtimeDone", "platform.report"], 2, true),
        (Level::Info, vec!["platform.report"], 2, true),
        (Level::Warn, vec![], 2, false),
    ] {
        let log = SystemLog::Json(least);
        let told = of_completion(&completion(success(), Figures::default()), &subject(), log, now);
        assert_eq!(names(told), ended, "{least:?}");
        let told = of_completion(&completion(Outcome::Timeout, Figures::default()), &subject(), log, now);
        assert_eq!(told.len(), failed, "{least:?}");
        assert_eq!(start(ID, "1", log, now).is_some(), started, "{least:?}");
    }
    let log = SystemLog::Json(Level::Info);
    let figures = Figures { init_duration: Some(Duration::from_micros(110_100)), ..Figures::default() };
    let told = of_completion(&completion(success(), figures), &subject(), log, now);
    let record: Value = serde_json::from_str(&told[0]).unwrap();
    assert_eq!(
        record,
        json!({
            "time": "1970-01-01T00:00:00.000Z",
            "type": "platform.report",
            "record": {
                "requestId": ID,
                "metrics": {
                    "durationMs": 3.01, "billedDurationMs": 114, "memorySizeMB": 128, "maxMemoryUsedMB": 36,
                    "initDurationMs": 110.1,
                },
                "status": "success",
                "isolation": "full",
                "origin": "forked",
            },
        })
    );
    for (format, level, log) in [
        (compute_api::LogFormat::Text, Some("DEBUG"), SystemLog::Text),
        (compute_api::LogFormat::Json, None, SystemLog::Json(Level::Info)),
        (compute_api::LogFormat::Json, Some("WARN"), SystemLog::Json(Level::Warn)),
    ] {
        assert_eq!(SystemLog::new(format, level), log);
    }
}

#[test]
fn the_tail_is_the_end_of_the_log() {
    let end = vec!["END\n".to_owned()];
    assert_eq!(tail(Some("START\n"), b"hello", &end), "START\nhello\nEND\n");
    let long = tail(Some("START\n"), &[b'x'; 5000], &end);
    assert_eq!((long.len(), long.ends_with(b"xxx\nEND\n")), (TAIL_BYTES_MAX, true));
}

#[test]
fn what_is_not_json_is_named() {
    for sound in [&b"{}"[..], b" 1 ", b"\"x\"", b"null", b"[1, {\"a\": 2}]"] {
        assert_eq!(json_problem(sound), None);
    }
    for (payload, problem) in [
        (
            &b"hello"[..],
            "Unrecognized token 'hello': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at [Source: (byte[])\"hello\"; line: 1, column: ",
        ),
        (b"{", "Unexpected end-of-input\n at [Source: (byte[])\"{\"; line: 1, column: "),
        (b"'x'", "Unexpected character (''' (code 39)): expected a valid value"),
        (b"\xff\xfe", "Invalid UTF-8"),
    ] {
        let said = json_problem(payload).unwrap();
        assert!(said.starts_with(problem), "{said}");
    }
}
