//! AWS's words about an invocation: the platform's log lines and the error documents.
//!
//! - here: what a caller is answered, and which lines are said about an invocation;
//! - [`text`]: the lines of the text format (`START`, `END`, `REPORT`, `INIT_START`, `INIT_REPORT`, …);
//! - [`system`]: the same as JSON records, filtered by `SystemLogLevel`.
//!
//! Pure. The figures come measured from the host; here they only get their texts. Sources: log lines recorded from AWS
//! and the Lambda developer guide ("Lambda execution environment lifecycle", "Troubleshoot invocation issues", "System log
//! level event mapping", "Monitoring for Lambda SnapStart").

mod json;
pub mod system;
pub mod text;

#[cfg(test)]
mod tests;

use std::time::Duration;

use base_types::Timestamp;
use bytes::Bytes;
use compute_api::{
    Completion, Exit, Figures, InitFailure, InitOutcome, InitializationType, IsolationLevel, Origin, Outcome,
};
use serde_json::json;

pub use json::json_problem;
pub use system::SystemLog;

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

/// What the lines about an invocation say beside its figures.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The request.
    pub request_id: &'a str,
    /// `$LATEST` or a number.
    pub version: &'a str,
    /// The configured memory.
    pub memory_mib: u32,
    /// How long it may take.
    pub timeout: Duration,
    /// The walls around its environment.
    pub isolation: IsolationLevel,
    /// What its environment was made from.
    pub origin: Origin,
}

/// In which phase an initialisation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first attempt, or the only one of an environment that nobody waits for.
    Init,
    /// The second attempt, made within the invocation and on its time.
    Invoke,
    /// The restoring of a snapshot.
    Restore,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
            Self::Restore => "restore",
        }
    }
}

/// How an invocation or a phase ended, as records have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// `success`, `error` or `timeout`.
    pub(crate) word: &'static str,
    /// The error's type, where there is one.
    pub(crate) error_type: Option<String>,
    /// Whether the text format's `REPORT` tells it: only failures of the sandbox are.
    pub(crate) of_sandbox: bool,
}

impl Status {
    const SUCCESS: Self = Self { word: "success", error_type: None, of_sandbox: false };

    fn error(error_type: &str, of_sandbox: bool) -> Self {
        Self { word: "error", error_type: Some(error_type.to_owned()), of_sandbox }
    }

    fn timeout() -> Self {
        Self { word: "timeout", error_type: None, of_sandbox: true }
    }

    /// Whether nothing went wrong.
    pub(crate) fn is_success(&self) -> bool {
        self.word == "success"
    }
}

/// What the caller of an invocation that ran is answered.
#[must_use]
pub fn answer(completion: &Completion, request_id: &str, timeout: Duration) -> Answer {
    let failure = match &completion.outcome {
        Outcome::Success { payload } => return Answer { payload: payload.clone(), function_error: None },
        Outcome::Streamed { error: None, .. } => return Answer { payload: Bytes::new(), function_error: None },
        Outcome::Streamed { error: Some(error), .. } => {
            return unhandled(
                &error.error_type,
                &error.payload,
                "The runtime broke the response off without a document",
            );
        }
        Outcome::FunctionError { payload, error_type } => {
            return unhandled(error_type, payload, "The runtime reported an error without a document");
        }
        Outcome::Timeout => timed_out(request_id, timeout),
        Outcome::Exited(exit) => exited(request_id, *exit),
        Outcome::OutOfMemory => exited(request_id, Exit::OutOfMemory),
        Outcome::ResponseTooLarge { limit, .. } => Failure {
            error_type: "Function.ResponseSizeTooLarge",
            message: format!("Response payload size exceeded maximum allowed payload size ({limit} bytes)."),
        },
        Outcome::Lost { reason } => lost(request_id, reason),
    };
    failure.answer()
}

/// What is said after an invocation that ran, in order: an error's explanation, `END`, `REPORT`.
#[must_use]
pub fn of_completion(completion: &Completion, subject: &Subject<'_>, log: SystemLog, now: Timestamp) -> Vec<String> {
    let request_id = subject.request_id;
    let (status, explanation) = match &completion.outcome {
        Outcome::Success { .. } | Outcome::Streamed { error: None, .. } => (Status::SUCCESS, None),
        Outcome::Streamed { error: Some(error), .. } => (Status::error(&error.error_type, false), None),
        Outcome::FunctionError { error_type, .. } => (Status::error(error_type, false), None),
        // The response of a function that answered too much is no failure of the sandbox: AWS's REPORT has no status then.
        Outcome::ResponseTooLarge { .. } => (Status::error("Function.ResponseSizeTooLarge", false), None),
        Outcome::Timeout => (Status::timeout(), Some(text::timed_out(request_id, subject.timeout, now))),
        Outcome::Exited(exit) => {
            let failure = exited(request_id, *exit);
            (Status::error(failure.error_type, true), Some(failure.line()))
        }
        Outcome::OutOfMemory => {
            // The caller reads of an exit; only the log says why.
            (Status::error("Runtime.OutOfMemory", true), Some(exited(request_id, Exit::OutOfMemory).line()))
        }
        Outcome::Lost { reason } => {
            let failure = lost(request_id, reason);
            (Status::error(failure.error_type, true), Some(format!("{}\n", failure.message)))
        }
    };
    closing(subject, &completion.figures, &status, explanation, log, now)
}

/// What the caller of an invocation whose environment could not be initialised is answered. `limit` is the time that
/// the initialisation had.
#[must_use]
pub fn init_answer(failure: &InitFailure, request_id: &str, limit: Duration) -> Answer {
    match &failure.outcome {
        InitOutcome::Error { error_type, payload } => {
            unhandled(error_type, payload, "The runtime reported an initialisation error without a document")
        }
        InitOutcome::Timeout => timed_out(request_id, limit).answer(),
        InitOutcome::Exited(exit) => exited(request_id, *exit).answer(),
        InitOutcome::InvalidEntrypoint { reason } => invalid_entrypoint(request_id, reason).answer(),
    }
}

/// What is said of an invocation whose environment could not be initialised, `START` first.
#[must_use]
pub fn of_init_failure(
    failure: &InitFailure,
    subject: &Subject<'_>,
    limit: Duration,
    log: SystemLog,
    now: Timestamp,
) -> Vec<String> {
    let request_id = subject.request_id;
    let explanation = match &failure.outcome {
        InitOutcome::Error { .. } => None,
        InitOutcome::Timeout => Some(text::timed_out(request_id, limit, now)),
        InitOutcome::Exited(exit) => Some(exited(request_id, *exit).line()),
        InitOutcome::InvalidEntrypoint { reason } => Some(invalid_entrypoint(request_id, reason).line()),
    };
    let mut lines: Vec<String> = start(request_id, subject.version, log, now).into_iter().collect();
    lines.extend(closing(subject, &failure.figures, &init_status(failure), explanation, log, now));
    lines
}

/// `START`, if it is said.
#[must_use]
pub fn start(request_id: &str, version: &str, log: SystemLog, now: Timestamp) -> Option<String> {
    match log {
        SystemLog::Text => Some(text::start(request_id, version)),
        SystemLog::Json(least) => system::start(request_id, version, least, now),
    }
}

/// `INIT_START` or `RESTORE_START`, if it is said.
#[must_use]
pub fn init_start(
    initialization: InitializationType,
    runtime: &str,
    runtime_version_arn: &str,
    log: SystemLog,
    now: Timestamp,
) -> Option<String> {
    let version = runtime_version(runtime);
    match log {
        SystemLog::Text => Some(text::init_start(initialization, &version, runtime_version_arn)),
        SystemLog::Json(least) => system::init_start(initialization, &version, runtime_version_arn, least, now),
    }
}

/// The report of an initialisation that failed.
#[must_use]
pub fn init_failed(
    failure: &InitFailure,
    phase: Phase,
    initialization: InitializationType,
    log: SystemLog,
    now: Timestamp,
) -> Option<String> {
    let took = failure.figures.restore_duration.or(failure.figures.init_duration).unwrap_or_default();
    let status = init_status(failure);
    match log {
        SystemLog::Text => Some(text::init_report(phase, took, &status)),
        SystemLog::Json(least) => system::init_report(phase, initialization, took, &status, least, now),
    }
}

/// The report of an initialisation or a restoring that succeeded: in the text format only the latter has one.
#[must_use]
pub fn init_succeeded(
    initialization: InitializationType,
    took: Duration,
    log: SystemLog,
    now: Timestamp,
) -> Option<String> {
    let phase = if initialization == InitializationType::SnapStart { Phase::Restore } else { Phase::Init };
    match log {
        SystemLog::Text => (phase == Phase::Restore).then(|| text::restore_report(took)),
        SystemLog::Json(least) => system::init_report(phase, initialization, took, &Status::SUCCESS, least, now),
    }
}

/// The log's end as `LogType=Tail` answers it (before base64): what the platform said first, what the function wrote,
/// what the platform said after.
#[must_use]
pub fn tail(before: Option<&str>, output: &[u8], after: &[String]) -> Bytes {
    let size = before.map_or(0, str::len) + output.len() + after.iter().map(String::len).sum::<usize>() + 1;
    let mut text = Vec::with_capacity(size);
    text.extend_from_slice(before.unwrap_or_default().as_bytes());
    text.extend_from_slice(output);
    if !output.is_empty() && !output.ends_with(b"\n") {
        text.push(b'\n');
    }
    for line in after {
        text.extend_from_slice(line.as_bytes());
    }
    let surplus = text.len().saturating_sub(TAIL_BYTES_MAX);
    Bytes::from(text).split_off(surplus)
}

fn closing(
    subject: &Subject<'_>,
    figures: &Figures,
    status: &Status,
    explanation: Option<String>,
    log: SystemLog,
    now: Timestamp,
) -> Vec<String> {
    match log {
        SystemLog::Text => {
            let mut lines = Vec::with_capacity(3);
            lines.extend(explanation);
            lines.push(text::end(subject.request_id));
            lines.push(text::report(subject, figures, status));
            lines
        }
        SystemLog::Json(least) => system::closing(subject, figures, status, least, now),
    }
}

fn init_status(failure: &InitFailure) -> Status {
    match &failure.outcome {
        InitOutcome::Error { error_type, .. } => Status::error(error_type, true),
        InitOutcome::Timeout => Status::timeout(),
        InitOutcome::Exited(_) => Status::error("Runtime.ExitError", true),
        InitOutcome::InvalidEntrypoint { .. } => Status::error("Runtime.InvalidEntrypoint", true),
    }
}

/// A failure that the platform words.
struct Failure {
    error_type: &'static str,
    message: String,
}

impl Failure {
    fn answer(self) -> Answer {
        Answer { payload: document(self.error_type, &self.message), function_error: Some("Unhandled") }
    }

    /// As the log has it.
    fn line(&self) -> String {
        format!("{}\n{}\n", self.message, self.error_type)
    }
}

fn timed_out(request_id: &str, timeout: Duration) -> Failure {
    Failure {
        error_type: "Sandbox.Timedout",
        message: format!("RequestId: {request_id} Error: Task timed out after {} seconds", text::seconds(timeout)),
    }
}

/// AWS says nothing of the reason when a process ends with status 0.
fn exited(request_id: &str, exit: Exit) -> Failure {
    let reason = match exit {
        Exit::Status(0) => "Runtime exited without providing a reason".to_owned(),
        other => format!("Runtime exited with error: {other}"),
    };
    Failure { error_type: "Runtime.ExitError", message: format!("RequestId: {request_id} Error: {reason}") }
}

fn lost(request_id: &str, reason: &str) -> Failure {
    Failure {
        error_type: "Runtime.EnvironmentLost",
        message: format!("RequestId: {request_id} Error: the execution environment was lost: {reason}"),
    }
}

fn invalid_entrypoint(request_id: &str, reason: &str) -> Failure {
    Failure { error_type: "Runtime.InvalidEntrypoint", message: format!("RequestId: {request_id} Error: {reason}") }
}

/// The runtime's own document, or one that says that it had none.
fn unhandled(error_type: &str, payload: &Bytes, without: &str) -> Answer {
    let payload = if payload.is_empty() { document(error_type, without) } else { payload.clone() };
    Answer { payload, function_error: Some("Unhandled") }
}

fn document(error_type: &str, message: &str) -> Bytes {
    Bytes::from(json!({ "errorType": error_type, "errorMessage": message }).to_string())
}

/// `python3.13` → `python:3.13`, `nodejs20.x` → `nodejs:20`, as AWS calls runtime versions.
fn runtime_version(runtime: &str) -> String {
    let split = runtime.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(runtime.len());
    let (language, version) = runtime.split_at(split);
    format!("{language}:{}", version.trim_start_matches('.').trim_end_matches(".x"))
}
