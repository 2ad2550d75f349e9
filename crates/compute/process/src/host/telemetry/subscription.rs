//! What an extension asks for when it subscribes, checked. Source: AWS Lambda developer guide, "Lambda Telemetry API
//! reference" (bounds of the buffer, destinations) and "Lambda Logs API".

use std::time::Duration;

use compute_api::endpoint::ENDPOINT_PORT;
use serde_json::Value;

use super::{Dialect, Source};
use crate::RUNTIME_API_PORT;

/// A checked subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) dialect: Dialect,
    /// In the order of the request.
    pub(crate) sources: Vec<Source>,
    pub(crate) destination: Destination,
    pub(crate) items_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) timeout: Duration,
}

/// Where on the sandbox's loopback the events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Batches as JSON arrays, each in one `POST`.
    Http { port: u16, host: String, path: String },
    /// One JSON object per line.
    Tcp { port: u16 },
}

/// What is wrong with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected(pub(crate) String);

/// A number of the buffer: its name, least, greatest and usual value.
type Bound = (&'static str, u64, u64, u64);

const ITEMS: Bound = ("maxItems", 1_000, 10_000, 1_000);
const LOGS_ITEMS: Bound = ("maxItems", 1_000, 10_000, 10_000);
const BYTES: Bound = ("maxBytes", 262_144, 1_048_576, 262_144);
const TIMEOUT: Bound = ("timeoutMs", 25, 30_000, 1_000);

impl Subscription {
    /// Reads a request of `PUT /2022-07-01/telemetry` (or `/2020-08-15/logs` when `logs`).
    pub(crate) fn parse(body: &[u8], logs: bool) -> Result<Self, Rejected> {
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return Err(Rejected("Invalid JSON".to_owned()));
        };
        let mut wrong = Vec::new();
        let dialect = dialect(&request, logs, &mut wrong);
        let destination = destination(&request["destination"], &mut wrong);
        let sources = sources(&request["types"], &mut wrong);
        let buffering = &request["buffering"];
        let mut number = |bound| number(buffering, bound, &mut wrong);
        let items_max = number(if logs { LOGS_ITEMS } else { ITEMS });
        let (bytes_max, timeout) = (number(BYTES), number(TIMEOUT));
        match (destination, wrong.is_empty()) {
            (Some(destination), true) => Ok(Self {
                dialect,
                sources,
                destination,
                items_max: usize::try_from(items_max).unwrap_or(usize::MAX),
                bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
                timeout: Duration::from_millis(timeout),
            }),
            _ => Err(Rejected(wrong.join("; "))),
        }
    }

    /// AWS's words for what is subscribed to.
    pub(crate) fn type_names(&self) -> Vec<&'static str> {
        self.sources.iter().map(|source| source.name()).collect()
    }
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Function => "function",
            Self::Extension => "extension",
        }
    }
}

fn dialect(request: &Value, logs: bool, wrong: &mut Vec<String>) -> Dialect {
    let version = request["schemaVersion"].as_str();
    match (logs, version) {
        (false, Some("2022-07-01" | "2022-12-13" | "2025-01-29")) => Dialect::Telemetry,
        (false, None) => {
            wrong.push("schemaVersion is not provided".to_owned());
            Dialect::Telemetry
        }
        (true, None | Some("2020-08-15")) => Dialect::Logs { runtime_done: false },
        (true, Some("2021-03-18")) => Dialect::Logs { runtime_done: true },
        (_, Some(other)) => {
            wrong.push(format!("schemaVersion {other} is not supported"));
            Dialect::Telemetry
        }
    }
}

fn sources(types: &Value, wrong: &mut Vec<String>) -> Vec<Source> {
    let mut sources = Vec::new();
    for kind in types.as_array().into_iter().flatten() {
        let source = match kind.as_str() {
            Some("platform") => Source::Platform,
            Some("function") => Source::Function,
            Some("extension") => Source::Extension,
            _ => {
                wrong.push(format!("types contains an unknown type: {kind}"));
                continue;
            }
        };
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    if types.as_array().is_none_or(Vec::is_empty) {
        wrong.push("types should not be empty".to_owned());
    }
    sources
}

fn destination(destination: &Value, wrong: &mut Vec<String>) -> Option<Destination> {
    let found = match destination["protocol"].as_str() {
        Some("HTTP") => http(destination["URI"].as_str(), wrong),
        Some("TCP") => {
            let port = destination["port"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
            if port.is_none() {
                wrong.push("port is not provided".to_owned());
            }
            port.map(|port| Destination::Tcp { port })
        }
        Some(other) => {
            wrong.push(format!("protocol {other} is not supported"));
            None
        }
        None => {
            wrong.push("destination protocol is not provided".to_owned());
            None
        }
    };
    let reserved = |port: u16| port == RUNTIME_API_PORT || port == ENDPOINT_PORT;
    found.filter(|found| {
        let free = !reserved(found.port());
        if !free {
            wrong.push(format!("port {} is reserved", found.port()));
        }
        free
    })
}

fn http(uri: Option<&str>, wrong: &mut Vec<String>) -> Option<Destination> {
    let Some(uri) = uri else {
        wrong.push("URI is not provided".to_owned());
        return None;
    };
    let Some(uri) = uri.parse::<http::Uri>().ok().filter(|uri| uri.scheme_str() == Some("http")) else {
        wrong.push("URI is not valid".to_owned());
        return None;
    };
    if !matches!(uri.host(), Some("sandbox.localdomain" | "sandbox")) {
        wrong.push("URI host should be sandbox.localdomain".to_owned());
        return None;
    }
    let Some(port) = uri.port_u16().filter(|port| *port > 0) else {
        wrong.push("URI port is not provided".to_owned());
        return None;
    };
    let host = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Some(Destination::Http { port, host, path })
}

impl Destination {
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. } | Self::Tcp { port } => *port,
        }
    }
}

fn number(buffering: &Value, (name, least, most, usual): Bound, wrong: &mut Vec<String>) -> u64 {
    match &buffering[name] {
        Value::Null => usual,
        value => match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => number,
            _ => {
                wrong.push(format!("buffering.{name} should be between {least} and {most}"));
                usual
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(request: &Value, logs: bool) -> Result<Subscription, String> {
        Subscription::parse(request.to_string().as_bytes(), logs).map_err(|rejected| rejected.0)
    }

    #[test]
    fn the_usual_buffer_is_that_of_aws() {
        let request = json!({
            "schemaVersion": "2022-12-13", "types": ["platform", "function", "platform"],
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/in?x=1"},
        });
        let subscription = parse(&request, false).unwrap();
        assert_eq!(subscription.sources, [Source::Platform, Source::Function]);
        assert_eq!((subscription.items_max, subscription.bytes_max), (1000, 262_144));
        assert_eq!(subscription.timeout, Duration::from_secs(1));
        let (host, path) = ("sandbox.localdomain:8080".to_owned(), "/in?x=1".to_owned());
        assert_eq!(subscription.destination, Destination::Http { port: 8080, host, path });
        let request = json!({"types": ["function"], "destination": {"protocol": "TCP", "port": 9090}});
        let subscription = parse(&request, true).unwrap();
        assert_eq!((subscription.items_max, subscription.dialect), (10_000, Dialect::Logs { runtime_done: false }));
        assert_eq!(subscription.destination, Destination::Tcp { port: 9090 });
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let with = |name: &str, value: Value| {
            let mut request = json!({
                "schemaVersion": "2022-07-01", "types": ["platform"],
                "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"},
            });
            request[name] = value;
            parse(&request, false).unwrap_err()
        };
        for (name, value, message) in [
            ("schemaVersion", json!(null), "schemaVersion is not provided"),
            ("schemaVersion", json!("2020-01-01"), "schemaVersion 2020-01-01 is not supported"),
            ("types", json!([]), "types should not be empty"),
            ("types", json!(["all"]), "types contains an unknown type: \"all\""),
            ("destination", json!({}), "destination protocol is not provided"),
            (
                "destination",
                json!({"protocol": "HTTP", "URI": "http://sandbox.localdomain"}),
                "URI port is not provided",
            ),
            (
                "destination",
                json!({"protocol": "HTTP", "URI": "http://127.0.0.1:80"}),
                "URI host should be sandbox.localdomain",
            ),
            ("destination", json!({"protocol": "HTTP", "URI": "http://sandbox:9001"}), "port 9001 is reserved"),
            ("destination", json!({"protocol": "TCP"}), "port is not provided"),
            ("buffering", json!({"maxItems": 1}), "buffering.maxItems should be between 1000 and 10000"),
            ("buffering", json!({"timeoutMs": "1"}), "buffering.timeoutMs should be between 25 and 30000"),
        ] {
            assert_eq!(with(name, value), message);
        }
        let request = json!({
            "schemaVersion": "2022-07-01", "types": [],
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"},
        });
        assert_eq!(parse(&request, false).unwrap_err(), "URI port is not provided; types should not be empty");
        assert_eq!(Subscription::parse(b"{", false), Err(Rejected("Invalid JSON".to_owned())));
    }
}
