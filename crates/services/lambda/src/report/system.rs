//! The platform's records in the JSON format: AWS's event names, members and levels (Lambda developer guide, "System log
//! level event mapping" and "Lambda Telemetry API `Event` schema reference").

use std::time::Duration;

use base_types::Timestamp;
use compute_api::{Figures, InitializationType, LogFormat};
use serde_json::{Map, Value, json};

use super::{Phase, Status, Subject, text::with_millis};

/// In which form the platform's lines are written, and which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemLog {
    /// Lines as they always were.
    Text,
    /// Records of at least this level.
    Json(Level),
}

/// `SystemLogLevel`, ordered by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `DEBUG`.
    Debug,
    /// `INFO`.
    Info,
    /// `WARN`.
    Warn,
}

impl SystemLog {
    /// Of a function's logging configuration; without a level `INFO`.
    #[must_use]
    pub fn new(format: LogFormat, level: Option<&str>) -> Self {
        match (format, level) {
            (LogFormat::Text, _) => Self::Text,
            (LogFormat::Json, Some("DEBUG")) => Self::Json(Level::Debug),
            (LogFormat::Json, Some("WARN")) => Self::Json(Level::Warn),
            (LogFormat::Json, _) => Self::Json(Level::Info),
        }
    }
}

pub(super) fn start(request_id: &str, version: &str, least: Level, now: Timestamp) -> Option<String> {
    (Level::Info >= least)
        .then(|| record("platform.start", json!({ "requestId": request_id, "version": version }), now))
}

pub(super) fn init_start(
    initialization: InitializationType,
    version: &str,
    version_arn: &str,
    least: Level,
    now: Timestamp,
) -> Option<String> {
    let name = match initialization {
        InitializationType::SnapStart => "platform.restoreStart",
        InitializationType::OnDemand | InitializationType::ProvisionedConcurrency => "platform.initStart",
    };
    let members = json!({
        "initializationType": initialization.as_str(),
        "phase": "init",
        "runtimeVersion": version,
        "runtimeVersionArn": version_arn,
    });
    (Level::Info >= least).then(|| record(name, members, now))
}

pub(super) fn init_report(
    phase: Phase,
    initialization: InitializationType,
    took: Duration,
    status: &Status,
    least: Level,
    now: Timestamp,
) -> Option<String> {
    let on_demand = initialization == InitializationType::OnDemand && phase != Phase::Restore;
    let level = match status.is_success() {
        false => Level::Warn,
        true if on_demand => Level::Debug,
        true => Level::Info,
    };
    let (name, mut members) = match phase {
        Phase::Restore => ("platform.restoreReport", Map::new()),
        Phase::Init | Phase::Invoke => {
            let members = [("initializationType", initialization.as_str()), ("phase", phase.as_str())];
            ("platform.initReport", members.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect())
        }
    };
    members.insert("metrics".to_owned(), json!({ "durationMs": millis(took) }));
    end_with(&mut members, status);
    (level >= least).then(|| record(name, Value::Object(members), now))
}

/// `platform.runtimeDone` and `platform.report`, as far as their levels permit.
pub(super) fn closing(
    subject: &Subject<'_>,
    figures: &Figures,
    status: &Status,
    least: Level,
    now: Timestamp,
) -> Vec<String> {
    let mut records = Vec::with_capacity(2);
    let done = if status.is_success() { Level::Debug } else { Level::Warn };
    if done >= least {
        let mut members = Map::new();
        members.insert("requestId".to_owned(), subject.request_id.into());
        members.insert("metrics".to_owned(), json!({ "durationMs": millis(figures.duration) }));
        end_with(&mut members, status);
        records.push(record("platform.runtimeDone", Value::Object(members), now));
    }
    let told = if status.is_success() { Level::Info } else { Level::Warn };
    if told >= least {
        let mut metrics = Map::new();
        metrics.insert("durationMs".to_owned(), millis(figures.duration));
        metrics.insert("billedDurationMs".to_owned(), figures.billed_millis().into());
        metrics.insert("memorySizeMB".to_owned(), subject.memory_mib.into());
        metrics.insert("maxMemoryUsedMB".to_owned(), figures.memory_bytes_max.div_ceil(1 << 20).into());
        if let Some(init) = figures.init_duration {
            metrics.insert("initDurationMs".to_owned(), millis(init));
        }
        if let Some(restore) = figures.restore_duration {
            metrics.insert("restoreDurationMs".to_owned(), millis(restore));
            let billed = u64::try_from(restore.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
            metrics.insert("billedRestoreDurationMs".to_owned(), billed.into());
        }
        let mut members = Map::new();
        members.insert("requestId".to_owned(), subject.request_id.into());
        members.insert("metrics".to_owned(), Value::Object(metrics));
        end_with(&mut members, status);
        members.insert("isolation".to_owned(), subject.isolation.as_str().into());
        members.insert("origin".to_owned(), subject.origin.as_str().into());
        records.push(record("platform.report", Value::Object(members), now));
    }
    records
}

fn end_with(members: &mut Map<String, Value>, status: &Status) {
    members.insert("status".to_owned(), status.word.into());
    if let Some(error_type) = &status.error_type {
        members.insert("errorType".to_owned(), error_type.as_str().into());
    }
}

fn record(name: &str, members: Value, now: Timestamp) -> String {
    let mut line = json!({ "time": with_millis(now), "type": name, "record": members }).to_string();
    line.push('\n');
    line
}

/// Milliseconds with up to three decimals.
fn millis(duration: Duration) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of an invocation are far below 2^53")]
    let millis = duration.as_micros() as f64 / 1000.0;
    millis.into()
}
