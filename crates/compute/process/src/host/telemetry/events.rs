//! The events and how each interface writes them. Source: AWS Lambda developer guide, "Lambda Telemetry API Event schema
//! reference" and "Lambda Logs API".

use std::{sync::Arc, time::Duration};

use base_types::Timestamp;
use bytes::Bytes;
use compute_api::EnvironmentSpec;
use serde_json::{Value, json};

use super::{Entry, Source, Subscription};
use crate::host::{exchange::Event, extensions::Shown};

/// An interface and version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/2022-07-01/telemetry`.
    Telemetry,
    /// `/2020-08-15/logs`; with `platform.runtimeDone` since its schema of 2021-03-18.
    Logs { runtime_done: bool },
}

/// How an initialisation ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitEnd<'a> {
    /// `success`, `failure`, `error`, `timeout`.
    pub(crate) status: &'static str,
    pub(crate) error_type: Option<&'a str>,
}

/// How an invocation ended, and what it took.
#[derive(Clone, Debug)]
pub(crate) struct InvocationEnd {
    pub(crate) request_id: Arc<str>,
    /// `success`, `failure`, `error`, `timeout`.
    pub(crate) status: &'static str,
    pub(crate) error_type: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) begun: Timestamp,
    pub(crate) duration: Duration,
    pub(crate) init_duration: Option<Duration>,
    pub(crate) produced_bytes: u64,
    pub(crate) memory_bytes_max: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A line of the function or of an extension.
    Line { source: Source, text: Bytes, json: bool },
    /// Something of the platform: AWS's type and record, in the words of the Telemetry API.
    Platform { event: &'static str, record: Value },
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn time(at: Timestamp) -> String {
    at.civil().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn with_trace(mut record: Value, trace_id: Option<&str>) -> Value {
    if let Some(value) = trace_id {
        let parent = value.split(';').find_map(|part| part.trim().strip_prefix("Parent="));
        record["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": value });
        if let Some(parent) = parent {
            record["tracing"]["spanId"] = json!(parent);
        }
    }
    record
}

fn with_error(mut record: Value, error_type: Option<&str>) -> Value {
    if let Some(error_type) = error_type.filter(|error_type| !error_type.is_empty()) {
        record["errorType"] = json!(error_type);
    }
    record
}

impl What {
    /// `platform.initStart`.
    pub(crate) fn init_start(spec: &EnvironmentSpec, instance: &str) -> Self {
        let record = json!({
            "initializationType": spec.initialization.as_str(),
            "phase": "init",
            "functionName": spec.function_name,
            "functionVersion": spec.version,
            "instanceId": instance,
            "instanceMaxMemory": spec.memory_mib,
        });
        Self::Platform { event: "platform.initStart", record }
    }

    /// `platform.initRuntimeDone`.
    pub(crate) fn init_runtime_done(spec: &EnvironmentSpec, end: InitEnd<'_>) -> Self {
        let record = json!({
            "initializationType": spec.initialization.as_str(),
            "phase": "init",
            "status": end.status,
        });
        Self::Platform { event: "platform.initRuntimeDone", record: with_error(record, end.error_type) }
    }

    /// `platform.initReport`.
    pub(crate) fn init_report(spec: &EnvironmentSpec, end: InitEnd<'_>, duration: Duration) -> Self {
        let record = json!({
            "initializationType": spec.initialization.as_str(),
            "phase": "init",
            "status": end.status,
            "metrics": { "durationMs": millis(duration) },
        });
        Self::Platform { event: "platform.initReport", record: with_error(record, end.error_type) }
    }

    /// `platform.start`.
    pub(crate) fn start(spec: &EnvironmentSpec, event: &Event) -> Self {
        let record = json!({ "requestId": &*event.request_id, "version": spec.version });
        Self::Platform { event: "platform.start", record: with_trace(record, event.trace_id.as_deref()) }
    }

    /// `platform.runtimeDone`.
    pub(crate) fn runtime_done(end: &InvocationEnd) -> Self {
        let record = json!({
            "requestId": &*end.request_id,
            "status": end.status,
            "metrics": { "durationMs": millis(end.duration), "producedBytes": end.produced_bytes },
            "spans": [{ "name": "responseLatency", "start": time(end.begun), "durationMs": millis(end.duration) }],
        });
        let record = with_trace(with_error(record, end.error_type.as_deref()), end.trace_id.as_deref());
        Self::Platform { event: "platform.runtimeDone", record }
    }

    /// `platform.report`; `total` is until the extensions were done too.
    pub(crate) fn report(spec: &EnvironmentSpec, end: &InvocationEnd, total: Duration) -> Self {
        let billed = (total + end.init_duration.unwrap_or_default()).as_nanos().div_ceil(1_000_000);
        let mut record = json!({
            "requestId": &*end.request_id,
            "status": end.status,
            "metrics": {
                "durationMs": millis(total),
                "billedDurationMs": u64::try_from(billed).unwrap_or(u64::MAX),
                "memorySizeMB": spec.memory_mib,
                "maxMemoryUsedMB": end.memory_bytes_max.div_ceil(1 << 20),
            },
        });
        if let Some(init) = end.init_duration {
            record["metrics"]["initDurationMs"] = json!(millis(init));
        }
        let overhead = total.saturating_sub(end.duration);
        if overhead > Duration::ZERO {
            let start = time(end.begun + end.duration);
            record["spans"] = json!([{ "name": "extensionOverhead", "start": start, "durationMs": millis(overhead) }]);
        }
        let record = with_trace(with_error(record, end.error_type.as_deref()), end.trace_id.as_deref());
        Self::Platform { event: "platform.report", record }
    }

    /// `platform.end`, which only the Logs API has.
    pub(crate) fn end(end: &InvocationEnd) -> Self {
        Self::Platform { event: "platform.end", record: json!({ "requestId": &*end.request_id }) }
    }

    /// `platform.extension`.
    pub(crate) fn extension(shown: &Shown) -> Self {
        let record = json!({ "name": shown.name, "state": shown.state, "events": shown.events });
        Self::Platform { event: "platform.extension", record: with_error(record, shown.error_type.as_deref()) }
    }

    /// `platform.telemetrySubscription` or `platform.logsSubscription`.
    pub(super) fn subscribed(name: &str, subscription: &Subscription) -> Self {
        let record = json!({ "name": name, "state": "Subscribed", "types": subscription.type_names() });
        let event = match subscription.dialect {
            Dialect::Telemetry => "platform.telemetrySubscription",
            Dialect::Logs { .. } => "platform.logsSubscription",
        };
        Self::Platform { event, record }
    }

    /// `platform.logsDropped`.
    pub(super) fn dropped(reason: &str, records: u64, bytes: u64) -> Self {
        let record = json!({ "reason": reason, "droppedRecords": records, "droppedBytes": bytes });
        Self::Platform { event: "platform.logsDropped", record }
    }

    /// The event as a line of a log in the JSON format.
    pub(crate) fn to_log_line(&self, at: Timestamp) -> Bytes {
        let Self::Platform { event, record } = self else { return Bytes::new() };
        Bytes::from(format!("{}\n", json!({ "time": time(at), "type": event, "record": record })))
    }

    /// How much text it holds.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Line { text, .. } => text.len(),
            Self::Platform { .. } => 0,
        }
    }

    pub(super) fn source(&self) -> Source {
        match self {
            Self::Line { source, .. } => *source,
            Self::Platform { .. } => Source::Platform,
        }
    }
}

impl Entry {
    /// The event as this interface writes it; none when it does not know it.
    pub(super) fn write(&self, dialect: Dialect) -> Option<Bytes> {
        let (event, record) = match &self.what {
            What::Line { source, text, json } => {
                let text = String::from_utf8_lossy(text.strip_suffix(b"\n").unwrap_or(text));
                let object = json.then(|| serde_json::from_str::<Value>(&text).ok().filter(Value::is_object)).flatten();
                let event = if *source == Source::Extension { "extension" } else { "function" };
                (event, object.unwrap_or_else(|| json!(text)))
            }
            What::Platform { event, record } => (*event, in_dialect(dialect, event, record)?),
        };
        Some(Bytes::from(json!({ "time": time(self.at), "type": event, "record": record }).to_string()))
    }
}

/// The record of a platform event, if the interface has it.
fn in_dialect(dialect: Dialect, event: &str, record: &Value) -> Option<Value> {
    let Dialect::Logs { runtime_done } = dialect else {
        return (!matches!(event, "platform.end" | "platform.logsSubscription")).then(|| record.clone());
    };
    let kept: &[&str] = match event {
        "platform.start" => &["requestId", "version"],
        "platform.end" => &["requestId"],
        "platform.report" => &["requestId", "metrics"],
        "platform.runtimeDone" if runtime_done => &["requestId", "status"],
        "platform.extension" => &["name", "state", "events", "errorType"],
        "platform.logsSubscription" => &["name", "state", "types"],
        "platform.logsDropped" => &["reason", "droppedRecords", "droppedBytes"],
        _ => return None,
    };
    let fields = record.as_object()?.iter().filter(|(name, _)| kept.contains(&name.as_str()));
    Some(Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(what: What, dialect: Dialect) -> Option<Value> {
        let bytes = Entry { at: Timestamp::EPOCH, what }.write(dialect)?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    fn line(text: &'static [u8], json: bool) -> What {
        What::Line { source: Source::Function, text: Bytes::from_static(text), json }
    }

    #[test]
    fn lines_are_text_unless_the_function_logs_json() {
        let record = |what| written(what, Dialect::Telemetry).unwrap()["record"].clone();
        assert_eq!(record(line(b"{\"a\":1}\n", false)), json!("{\"a\":1}"));
        assert_eq!(record(line(b"{\"a\":1}\n", true)), json!({"a": 1}));
        assert_eq!(record(line(b"plain", true)), json!("plain"));
        assert_eq!(record(line(b"\xff\n", false)), json!("\u{fffd}"));
    }

    #[test]
    fn each_interface_writes_what_it_knows() {
        let end = InvocationEnd {
            request_id: Arc::from("r"),
            status: "success",
            error_type: None,
            trace_id: Some("Root=1-a;Parent=54565fb41ac79632;Sampled=1".to_owned()),
            begun: Timestamp::EPOCH,
            duration: Duration::from_micros(1234),
            init_duration: Some(Duration::from_millis(10)),
            produced_bytes: 7,
            memory_bytes_max: (20 << 20) + 1,
        };
        let logs = Dialect::Logs { runtime_done: true };
        assert_eq!(
            written(What::runtime_done(&end), Dialect::Telemetry).unwrap(),
            json!({"time": "1970-01-01T00:00:00.000Z", "type": "platform.runtimeDone", "record": {
                "requestId": "r", "status": "success",
                "metrics": {"durationMs": 1.234, "producedBytes": 7},
                "spans": [{"name": "responseLatency", "start": "1970-01-01T00:00:00.000Z", "durationMs": 1.234}],
                "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-a;Parent=54565fb41ac79632;Sampled=1",
                    "spanId": "54565fb41ac79632"},
            }})
        );
        assert_eq!(
            written(What::runtime_done(&end), logs).unwrap()["record"],
            json!({"requestId": "r", "status": "success"})
        );
        assert_eq!(written(What::runtime_done(&end), Dialect::Logs { runtime_done: false }), None);
        assert_eq!(written(What::end(&end), Dialect::Telemetry), None);
        assert_eq!(written(What::end(&end), logs).unwrap()["record"], json!({"requestId": "r"}));
    }
}
