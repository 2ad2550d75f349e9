//! What a pipe writes to its log of an execution (a batch on its way): a record a step, as its log configuration asks.
//!
//! Source: EventBridge User Guide, "Log Amazon EventBridge Pipes", "EventBridge Pipes execution steps", "log schema
//! reference". Guarantee: a record is at most [`RECORD_BYTES_MAX`] long; what has to be cut is named in `truncatedFields`.

use std::fmt;

use base_env::Env;
use base_types::Arn;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use services_ports::LogLine;

/// The greatest record (AWS: 256 KB).
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// What a record has beside its execution data, at most: an error's text is cut to half of it.
const RECORD_BYTES_REST: usize = 8 * 1024;
/// Records of one execution: more than there are steps, however often each is taken.
const RECORDS_MAX: usize = 64;

/// What is written of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What failed.
    Error,
    /// Beside it, that executions and stages begin and end.
    Info,
    /// Every step.
    Trace,
}

impl Level {
    /// Of AWS's word; `OFF` is none.
    pub(crate) fn of(text: &str) -> Option<Self> {
        match text {
            "ERROR" => Some(Self::Error),
            "INFO" => Some(Self::Info),
            "TRACE" => Some(Self::Trace),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Info => "INFO",
            Self::Trace => "TRACE",
        }
    }
}

/// Where and what a pipe logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The log group.
    pub(crate) group: Arn,
    pub(crate) level: Level,
    /// `IncludeExecutionData: ["ALL"]`.
    pub(crate) data: bool,
}

/// What has steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Execution,
    EnrichmentStage,
    EnrichmentTransformation,
    EnrichmentInvocation,
    TargetStage,
    TargetTransformation,
    TargetInvocation,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Started,
    Entered,
    Skipped,
    Succeeded,
    Failed,
    PartiallyFailed,
}

fn level(phase: Phase, turn: Turn) -> Level {
    match (phase, turn) {
        (_, Turn::Failed | Turn::PartiallyFailed) => Level::Error,
        (Phase::Execution | Phase::EnrichmentStage | Phase::TargetStage, _) => Level::Info,
        _ => Level::Trace,
    }
}

/// Execution data of a step, in the order in which AWS cuts it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data {
    Payload,
    Request,
    Response,
}

impl Data {
    fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Request => "awsRequest",
            Self::Response => "awsResponse",
        }
    }
}

/// The records of one execution, until they are written. Cheap when nothing is to be logged.
#[derive(Clone)]
pub(crate) struct Journal(Option<Records>);

#[derive(Clone)]
struct Records {
    env: Env,
    level: Level,
    data: bool,
    pipe: String,
    execution: String,
    lines: Vec<LogLine>,
}

impl Journal {
    /// Of a new execution of this pipe.
    pub(crate) fn begin(env: &Env, settings: Option<&LogSettings>, pipe: &Arn) -> Self {
        Self(settings.map(|settings| Records {
            env: env.clone(),
            level: settings.level,
            data: settings.data,
            pipe: pipe.to_string(),
            execution: env.uuid(),
            lines: Vec::new(),
        }))
    }

    /// A step.
    pub(crate) fn note(&mut self, phase: Phase, turn: Turn) {
        self.record(phase, turn, None::<(Data, fn() -> String)>, None);
    }

    /// A step with its execution data, which is asked for only when it is wanted.
    pub(crate) fn note_with(&mut self, phase: Phase, turn: Turn, data: Data, text: impl FnOnce() -> String) {
        self.record(phase, turn, Some((data, text)), None);
    }

    /// A step that failed.
    pub(crate) fn fail(&mut self, phase: Phase, turn: Turn, error: &Failed) {
        self.record(phase, turn, None::<(Data, fn() -> String)>, Some(error));
    }

    fn record<F: FnOnce() -> String>(
        &mut self,
        phase: Phase,
        turn: Turn,
        data: Option<(Data, F)>,
        error: Option<&Failed>,
    ) {
        let Some(records) = &mut self.0 else { return };
        let level = level(phase, turn);
        if level > records.level || records.lines.len() >= RECORDS_MAX {
            return;
        }
        let now = records.env.now();
        let mut record = Map::new();
        record.insert("resourceArn".to_owned(), records.pipe.clone().into());
        record.insert("timestamp".to_owned(), now.as_millis().into());
        record.insert("executionId".to_owned(), records.execution.clone().into());
        record.insert("messageType".to_owned(), format!("{phase:?}{turn:?}").into());
        record.insert("logLevel".to_owned(), level.as_str().into());
        if let Some(error) = error {
            record.insert("error".to_owned(), error.document());
        }
        if let Some((data, text)) = data.filter(|_| records.data) {
            let (text, cut) = fitting(text());
            record.insert(data.name().to_owned(), text.into());
            record.insert("truncatedFields".to_owned(), if cut { json!([data.name()]) } else { json!([]) });
        }
        let text = Bytes::from(Value::Object(record).to_string());
        records.lines.push(LogLine { timestamp: now, text });
    }

    /// What is to be written.
    pub(crate) fn into_lines(self) -> Vec<LogLine> {
        self.0.map(|records| records.lines).unwrap_or_default()
    }
}

/// A text that leaves a record within its bound, as JSON writes it; whether it was cut.
fn fitting(mut text: String) -> (String, bool) {
    let most = RECORD_BYTES_MAX - RECORD_BYTES_REST;
    let (mut written, mut end) = (2, None);
    for (at, character) in text.char_indices() {
        written += match character {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            control if control < ' ' => 6,
            other => other.len_utf8(),
        };
        if written > most {
            end = Some(at);
            break;
        }
    }
    match end {
        Some(end) => {
            text.truncate(end);
            (text, true)
        }
        None => (text, false),
    }
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) message: String,
    /// What an endpoint answered.
    pub(crate) status: Option<u16>,
    /// Who was asked: `lambda`, `sqs`, …
    pub(crate) service: Option<String>,
}

impl Failed {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: None, service: None }
    }

    /// The same, of a service that was asked.
    pub(crate) fn by(self, service: &str) -> Self {
        Self { service: Some(service.to_owned()), ..self }
    }

    fn document(&self) -> Value {
        let message: String = self.message.chars().take(RECORD_BYTES_REST / 8).collect();
        let mut error = json!({ "message": message, "details": "" });
        if let Some(status) = self.status {
            error["httpStatusCode"] = status.into();
        }
        if let Some(service) = &self.service {
            error["awsService"] = service.as_str().into();
        }
        error
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use base_types::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn journal(level: Level, data: bool) -> Journal {
        let env = Env::simulated(Timestamp::from_millis(1_795_435_200_123), 1);
        let pipe: Arn = "arn:aws:pipes:us-east-1:000000000000:pipe/p".parse().unwrap();
        let group: Arn = "arn:aws:logs:us-east-1:000000000000:log-group:g".parse().unwrap();
        Journal::begin(&env, Some(&LogSettings { group, level, data }), &pipe)
    }

    fn records(journal: Journal) -> Vec<Value> {
        journal.into_lines().iter().map(|line| serde_json::from_slice(&line.text).unwrap()).collect()
    }

    fn steps(journal: &mut Journal) {
        journal.note_with(Phase::Execution, Turn::Started, Data::Payload, || "[1]".to_owned());
        journal.note(Phase::TargetStage, Turn::Entered);
        journal.note_with(Phase::TargetInvocation, Turn::Started, Data::Request, || "{}".to_owned());
        let failed = Failed { status: Some(503), ..Failed::new("no").by("events") };
        journal.fail(Phase::TargetInvocation, Turn::Failed, &failed);
        journal.fail(Phase::Execution, Turn::PartiallyFailed, &Failed::new("some"));
    }

    #[test]
    fn a_level_says_which_steps_are_written() {
        for (level, expect) in [
            (Level::Error, vec!["TargetInvocationFailed", "ExecutionPartiallyFailed"]),
            (
                Level::Info,
                vec!["ExecutionStarted", "TargetStageEntered", "TargetInvocationFailed", "ExecutionPartiallyFailed"],
            ),
            (
                Level::Trace,
                vec![
                    "ExecutionStarted",
                    "TargetStageEntered",
                    "TargetInvocationStarted",
                    "TargetInvocationFailed",
                    "ExecutionPartiallyFailed",
                ],
            ),
        ] {
            let mut journal = journal(level, false);
            steps(&mut journal);
            let written = records(journal);
            let types: Vec<&str> = written.iter().filter_map(|record| record["messageType"].as_str()).collect();
            assert_eq!(types, expect);
            assert!(written.iter().all(|record| record.get("payload").is_none()));
        }
        let pipe: Arn = "arn:aws:pipes:us-east-1:000000000000:pipe/p".parse().unwrap();
        let mut none = Journal::begin(&Env::simulated(Timestamp::EPOCH, 1), None, &pipe);
        steps(&mut none);
        assert!(none.into_lines().is_empty());
    }

    #[test]
    fn records_are_awss_documents() {
        let mut journal = journal(Level::Trace, true);
        steps(&mut journal);
        let written = records(journal);
        let execution = written[0]["executionId"].clone();
        assert_eq!(
            written[0],
            json!({
                "resourceArn": "arn:aws:pipes:us-east-1:000000000000:pipe/p",
                "timestamp": 1_795_435_200_123_u64,
                "executionId": execution,
                "messageType": "ExecutionStarted",
                "logLevel": "INFO",
                "payload": "[1]",
                "truncatedFields": [],
            })
        );
        assert_eq!(written[2]["awsRequest"], "{}");
        assert_eq!(
            written[3]["error"],
            json!({ "message": "no", "details": "", "httpStatusCode": 503, "awsService": "events" })
        );
        assert!(written.iter().all(|record| record["executionId"] == execution));
    }

    mod property {
        use super::*;

        proptest! {
            #[test]
            fn a_record_keeps_its_bound_whatever_is_in_it(part in "\\PC{1,40}|[\\x00-\\x1f\"\\\\]{1,40}", times in 0usize..20_000) {
                let mut journal = journal(Level::Trace, true);
                let (text, error) = (part.repeat(times), Failed::new(part.repeat(times)));
                journal.note_with(Phase::Execution, Turn::Started, Data::Payload, || text.clone());
                journal.fail(Phase::Execution, Turn::Failed, &error);
                for line in journal.clone().into_lines() {
                    prop_assert!(line.text.len() <= RECORD_BYTES_MAX, "{}", line.text.len());
                }
                let record = &records(journal)[0];
                let kept = record["payload"].as_str().unwrap();
                prop_assert!(text.starts_with(kept));
                prop_assert_eq!(kept.len() < text.len(), record["truncatedFields"] == json!(["payload"]));
            }
        }
    }
}
