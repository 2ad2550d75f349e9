//! AWS's words about an invocation: the platform's log lines and the error documents.
//!
//! Pure. The figures come measured from the host; here they only get their texts. Source: log lines recorded from AWS
//! and the Lambda developer guide ("Lambda execution environment lifecycle", "Troubleshoot invocation issues").

use std::time::Duration;

use base_types::Timestamp;
use bytes::Bytes;
use compute_api::{Completion, Exit, Figures, InitFailure, InitOutcome, Outcome};
use serde_json::{Value, json};

/// The tail of the log that `LogType=Tail` answers, in bytes.
pub const TAIL_BYTES_MAX: usize = 4096;

/// What a caller learns about a finished invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response, or the error document.
    pub payload: Bytes,
    /// `X-Amz-Function-Error`: `Unhandled` when the function failed.
    pub function_error: Option<&'static str>,
}

/// The lines around one invocation, and what its caller learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Lines of the platform after the function's own, in order: an error's explanation, `END`, `REPORT`.
    pub lines: Vec<String>,
    /// What the caller learns.
    pub answer: Answer,
}

/// `START RequestId: … Version: …`.
#[must_use]
pub fn start_line(request_id: &str, version: &str) -> String {
    format!("START RequestId: {request_id} Version: {version}\n")
}

/// `INIT_START Runtime Version: python:3.13`, a tab, `Runtime Version ARN: …`.
#[must_use]
pub fn init_start_line(runtime: &str, runtime_version_arn: &str) -> String {
    format!("INIT_START Runtime Version: {}\tRuntime Version ARN: {runtime_version_arn}\n", runtime_version(runtime))
}

/// `python3.13` → `python:3.13`, `nodejs20.x` → `nodejs:20`, as AWS calls runtime versions.
fn runtime_version(runtime: &str) -> String {
    let split = runtime.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(runtime.len());
    let (language, version) = runtime.split_at(split);
    format!("{language}:{}", version.trim_start_matches('.').trim_end_matches(".x"))
}

/// What is said about an invocation that ran.
#[must_use]
pub fn of_completion(
    completion: &Completion,
    request_id: &str,
    memory_mib: u32,
    timeout: Duration,
    now: Timestamp,
) -> Report {
    let failure = match &completion.outcome {
        Outcome::Success { payload } => {
            return report(request_id, &completion.figures, memory_mib, Vec::new(), "", succeeded(payload.clone()));
        }
        Outcome::Streamed { error, .. } => {
            let answer = match error {
                Some(error) => Answer { payload: error.payload.clone(), function_error: Some("Unhandled") },
                None => succeeded(bytes::Bytes::new()),
            };
            return report(request_id, &completion.figures, memory_mib, Vec::new(), "", answer);
        }
        Outcome::FunctionError { payload, error_type } => {
            let payload = if payload.is_empty() {
                document(error_type, "The runtime reported an error without a document")
            } else {
                payload.clone()
            };
            let answer = Answer { payload, function_error: Some("Unhandled") };
            return report(request_id, &completion.figures, memory_mib, Vec::new(), "", answer);
        }
        Outcome::Timeout => timed_out(request_id, timeout, now),
        Outcome::Exited(exit) => exited(request_id, *exit),
        Outcome::OutOfMemory => exited(request_id, Exit::OutOfMemory),
        Outcome::ResponseTooLarge { limit, .. } => Failure {
            error_type: "Function.ResponseSizeTooLarge",
            message: format!("Response payload size exceeded maximum allowed payload size ({limit} bytes)."),
            lines: vec![],
        },
        Outcome::Lost { reason } => Failure {
            error_type: "Runtime.EnvironmentLost",
            message: format!("RequestId: {request_id} Error: the execution environment was lost: {reason}"),
            lines: vec![format!("RequestId: {request_id} Error: the execution environment was lost: {reason}\n")],
        },
    };
    // The response of a function that answered too much is no failure of the sandbox: AWS's REPORT has no status then.
    let status = match completion.outcome {
        Outcome::Timeout => "Status: timeout".to_owned(),
        Outcome::ResponseTooLarge { .. } => String::new(),
        _ => format!("Status: error\tError Type: {}", failure.error_type),
    };
    let answer = failed(failure.error_type, &failure.message);
    report(request_id, &completion.figures, memory_mib, failure.lines, &status, answer)
}

/// What is said about an invocation whose environment could not be initialised.
#[must_use]
pub fn of_init_failure(failure: &InitFailure, request_id: &str, memory_mib: u32, init_timeout: Duration) -> Report {
    let millis = to_millis(failure.figures.init_duration.unwrap_or_default());
    let (answer, error_type, mut lines) = match &failure.outcome {
        InitOutcome::Error { error_type, payload } => {
            let payload = if payload.is_empty() {
                document(error_type, "The runtime reported an initialisation error without a document")
            } else {
                payload.clone()
            };
            (Answer { payload, function_error: Some("Unhandled") }, error_type.as_str(), Vec::new())
        }
        InitOutcome::Timeout => {
            let message =
                format!("RequestId: {request_id} Error: Task timed out after {} seconds", seconds(init_timeout));
            (failed("Sandbox.Timedout", &message), "Sandbox.Timedout", Vec::new())
        }
        InitOutcome::Exited(exit) => {
            let failure = exited(request_id, *exit);
            (failed(failure.error_type, &failure.message), failure.error_type, failure.lines)
        }
        InitOutcome::InvalidEntrypoint { reason } => {
            let message = format!("RequestId: {request_id} Error: {reason}");
            let lines = vec![format!("{message}\nRuntime.InvalidEntrypoint\n")];
            (failed("Runtime.InvalidEntrypoint", &message), "Runtime.InvalidEntrypoint", lines)
        }
    };
    let status = if failure.outcome == InitOutcome::Timeout {
        "Status: timeout".to_owned()
    } else {
        format!("Status: error\tError Type: {error_type}")
    };
    lines.push(format!("INIT_REPORT Init Duration: {millis} ms\tPhase: init\t{status}\n"));
    report(request_id, &failure.figures, memory_mib, lines, &status, answer)
}

struct Failure {
    error_type: &'static str,
    message: String,
    lines: Vec<String>,
}

fn timed_out(request_id: &str, timeout: Duration, now: Timestamp) -> Failure {
    let seconds = seconds(timeout);
    Failure {
        error_type: "Sandbox.Timedout",
        message: format!("RequestId: {request_id} Error: Task timed out after {seconds} seconds"),
        lines: vec![format!("{} {request_id} Task timed out after {seconds} seconds\n\n", with_millis(now))],
    }
}

/// AWS says nothing of the reason when a process ends with status 0.
fn exited(request_id: &str, exit: Exit) -> Failure {
    let reason = match exit {
        Exit::Status(0) => "Runtime exited without providing a reason".to_owned(),
        other => format!("Runtime exited with error: {other}"),
    };
    Failure {
        error_type: "Runtime.ExitError",
        message: format!("RequestId: {request_id} Error: {reason}"),
        lines: vec![format!("RequestId: {request_id} Error: {reason}\nRuntime.ExitError\n")],
    }
}

fn succeeded(payload: Bytes) -> Answer {
    Answer { payload, function_error: None }
}

fn failed(error_type: &str, message: &str) -> Answer {
    Answer { payload: document(error_type, message), function_error: Some("Unhandled") }
}

fn document(error_type: &str, message: &str) -> Bytes {
    Bytes::from(json!({ "errorType": error_type, "errorMessage": message }).to_string())
}

fn report(
    request_id: &str,
    figures: &Figures,
    memory_mib: u32,
    mut lines: Vec<String>,
    status: &str,
    answer: Answer,
) -> Report {
    let mut text = format!(
        "REPORT RequestId: {request_id}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {memory_mib} MB\tMax Memory \
         Used: {} MB\t",
        to_millis(figures.duration),
        figures.billed_millis(),
        figures.memory_bytes_max.div_ceil(1 << 20),
    );
    if let Some(init) = figures.init_duration {
        text.push_str(&format!("Init Duration: {} ms\t", to_millis(init)));
    }
    text.push_str(status);
    text.push('\n');
    lines.push(format!("END RequestId: {request_id}\n"));
    lines.push(text);
    Report { lines, answer }
}

/// `12.34`: milliseconds with two decimals.
fn to_millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

/// `3.00`: seconds with two decimals.
fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

/// `2026-11-23T12:00:00.000Z`: always with milliseconds.
fn with_millis(at: Timestamp) -> String {
    at.to_iso8601_offset().replace("+0000", "Z")
}

/// The last [`TAIL_BYTES_MAX`] bytes of a log, as `LogType=Tail` answers them (before base64).
#[must_use]
pub fn tail(start: &str, output: &[u8], after: &[String]) -> Vec<u8> {
    let mut text = Vec::with_capacity(start.len() + output.len() + 512);
    text.extend_from_slice(start.as_bytes());
    text.extend_from_slice(output);
    if !output.is_empty() && !output.ends_with(b"\n") {
        text.push(b'\n');
    }
    for line in after {
        text.extend_from_slice(line.as_bytes());
    }
    let surplus = text.len().saturating_sub(TAIL_BYTES_MAX);
    text.split_off(surplus)
}

/// Which problem AWS's JSON parser would name for a payload that is not JSON, or `None` when it is JSON.
///
/// An empty payload is an empty object to AWS: the caller handles it before.
#[must_use]
pub fn json_problem(payload: &[u8]) -> Option<String> {
    let error = match serde_json::from_slice::<&serde_json::value::RawValue>(payload) {
        Ok(_) => return None,
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(payload);
    let trimmed = text.trim_start();
    let token: String =
        trimmed.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$')).take(256).collect();
    let expected = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
    let problem = match trimmed.chars().next() {
        _ if std::str::from_utf8(payload).is_err() => "Invalid UTF-8".to_owned(),
        Some(first) if first.is_alphabetic() && serde_json::from_str::<Value>(&token).is_err() => {
            format!("Unrecognized token '{token}': was expecting {expected}")
        }
        _ if error.is_eof() => "Unexpected end-of-input".to_owned(),
        Some(first) if !matches!(first, '{' | '[' | '"' | '-' | '0'..='9') && !first.is_alphabetic() => {
            format!("Unexpected character ('{first}' (code {})): expected a valid value {expected}", first as u32)
        }
        _ => error.to_string().split(" at line").next().unwrap_or_default().to_owned(),
    };
    let source: String = text.chars().take(500).collect();
    Some(format!(
        "{problem}\n at [Source: (byte[])\"{source}\"; line: {}, column: {}]",
        error.line(),
        error.column() + 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8f507cfc-example";

    fn completion(outcome: Outcome, init: Option<u64>) -> Completion {
        Completion {
            outcome,
            figures: Figures {
                duration: Duration::from_micros(3010),
                init_duration: init.map(Duration::from_micros),
                memory_bytes_max: 36 << 20,
                ..Figures::default()
            },
            log_tail: Bytes::new(),
        }
    }

    fn said(outcome: Outcome) -> (Vec<String>, Value, Option<&'static str>) {
        let report = of_completion(&completion(outcome, None), ID, 128, Duration::from_secs(3), Timestamp::EPOCH);
        (report.lines, serde_json::from_slice(&report.answer.payload).unwrap(), report.answer.function_error)
    }

    #[test]
    fn lines_are_those_of_aws() {
        assert_eq!(start_line(ID, "$LATEST"), "START RequestId: 8f507cfc-example Version: $LATEST\n");
        assert_eq!(
            init_start_line("python3.13", "arn"),
            "INIT_START Runtime Version: python:3.13\tRuntime Version ARN: arn\n"
        );
        assert_eq!(runtime_version("nodejs20.x"), "nodejs:20");
        assert_eq!(runtime_version("provided.al2023"), "provided:al2023");
        let success = Outcome::Success { payload: Bytes::from_static(b"1") };
        let cold =
            of_completion(&completion(success, Some(110_100)), ID, 128, Duration::from_secs(3), Timestamp::EPOCH);
        assert_eq!(
            cold.lines,
            [
                "END RequestId: 8f507cfc-example\n",
                "REPORT RequestId: 8f507cfc-example\tDuration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tMax Memory \
                 Used: 36 MB\tInit Duration: 110.10 ms\t\n"
            ]
        );
        assert_eq!(cold.answer, Answer { payload: Bytes::from_static(b"1"), function_error: None });
    }

    #[test]
    fn failures_have_awss_documents() {
        for (outcome, error_type, message) in [
            (
                Outcome::Timeout,
                "Sandbox.Timedout",
                "RequestId: 8f507cfc-example Error: Task timed out after 3.00 seconds",
            ),
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
        assert!(lines[2].ends_with("Max Memory Used: 36 MB\tStatus: timeout\n"), "{lines:?}");
        let own = Bytes::from_static(br#"{"errorMessage":"x","errorType":"ValueError"}"#);
        let (lines, document, _) = said(Outcome::FunctionError { error_type: "ValueError".into(), payload: own });
        assert_eq!(document["errorType"], "ValueError");
        assert!(lines[1].ends_with("Max Memory Used: 36 MB\t\n"), "{lines:?}");
    }

    #[test]
    fn a_failed_initialisation_is_reported_as_such() {
        let failure = InitFailure {
            outcome: InitOutcome::Exited(Exit::Status(1)),
            figures: Figures { init_duration: Some(Duration::from_millis(12)), ..Figures::default() },
            log_tail: Bytes::new(),
        };
        let report = of_init_failure(&failure, ID, 128, Duration::from_secs(10));
        assert_eq!(
            report.lines[1],
            "INIT_REPORT Init Duration: 12.00 ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\n"
        );
        assert_eq!(report.lines.len(), 4);
    }

    #[test]
    fn the_tail_is_the_end_of_the_log() {
        let end = vec!["END\n".to_owned()];
        assert_eq!(tail("START\n", b"hello", &end), b"START\nhello\nEND\n");
        let long = tail("START\n", &[b'x'; 5000], &end);
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
}
