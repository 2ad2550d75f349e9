//! The operations that the commands need, through the public API.
//!
//! Guarantee: an error answer becomes a [`Refusal`] with AWS's code and message; nothing is interpreted twice.

use std::time::Duration;

use base_env::Env;
use bytes::Bytes;
use edge_client::{Answer, Call, Client, Settings};
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};

/// An ordinary call is answered at once.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// An invocation runs for at most 900 s; the rest is for starting it.
const INVOKE_LIMIT: Duration = Duration::from_secs(960);
/// How often a state is looked at while waiting for it.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// A function that is not ready by then never will be.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// The server said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == "ResourceNotFoundException"
    }

    pub(crate) fn failure(self, what: impl Into<String>) -> Failure {
        let failure = Failure::new(format!("{}: {} ({})", what.into(), self.message, self.code));
        match self.code.as_str() {
            "UnrecognizedClientException" | "InvalidSignatureException" | "MissingAuthenticationTokenException" => {
                failure.remedy(
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the root key that the first start showed",
                )
            }
            _ => failure,
        }
    }
}

/// What an invocation gave.
pub(crate) struct Invocation {
    pub(crate) status: u16,
    pub(crate) function_error: Option<String>,
    pub(crate) executed_version: Option<String>,
    pub(crate) log_tail: Option<String>,
    pub(crate) payload: Bytes,
}

/// How to invoke.
#[derive(Default)]
pub(crate) struct InvokeOptions<'a> {
    pub(crate) qualifier: Option<&'a str>,
    pub(crate) event: bool,
    pub(crate) tail: bool,
}

/// The server as the commands see it.
pub(crate) struct Cloud {
    client: Client,
    env: Env,
}

impl Cloud {
    /// The server that the environment names.
    pub(crate) fn from_environment() -> Outcome<Self> {
        let settings = Settings::read(|name| std::env::var(name).ok())
            .map_err(|error| Failure::new("the environment's AWS settings cannot be used").because(&error))?;
        let env = Env::real();
        Ok(Self { client: Client::new(settings, env.clone()), env })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// A Lambda operation (rest-json). An empty answer is `null`.
    pub(crate) async fn lambda(
        &self,
        method: Method,
        target: String,
        body: Option<Value>,
    ) -> Outcome<Result<Value, Refusal>> {
        let call = Call {
            service: "lambda",
            method,
            target,
            headers: vec![content_type("application/json")],
            body: body.map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
            limit: CALL_LIMIT,
        };
        decode(&self.client.send(call).await?)
    }

    /// A CloudWatch Logs operation (json 1.1).
    pub(crate) async fn logs(&self, operation: &'static str, body: &Value) -> Outcome<Result<Value, Refusal>> {
        self.json("Logs_20140328", "logs", operation, body).await
    }

    /// An operation of a service that speaks JSON: `prefix` is that of its targets.
    pub(crate) async fn json(
        &self,
        prefix: &str,
        service: &'static str,
        operation: &str,
        body: &Value,
    ) -> Outcome<Result<Value, Refusal>> {
        let target = HeaderValue::from_str(&format!("{prefix}.{operation}"))
            .map_err(|error| Failure::new("the operation's name is no header").because(&error))?;
        let call = Call {
            service,
            method: Method::POST,
            target: "/".to_owned(),
            headers: vec![
                content_type(if service == "logs" {
                    "application/x-amz-json-1.1"
                } else {
                    "application/x-amz-json-1.0"
                }),
                (HeaderName::from_static("x-amz-target"), target),
            ],
            body: Bytes::from(body.to_string()),
            limit: CALL_LIMIT,
        };
        decode(&self.client.send(call).await?)
    }

    /// The account that the server serves these credentials as.
    pub(crate) async fn account(&self) -> Outcome<String> {
        let call = Call {
            service: "sts",
            method: Method::POST,
            target: "/".to_owned(),
            headers: vec![content_type("application/x-www-form-urlencoded; charset=utf-8")],
            body: Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15"),
            limit: CALL_LIMIT,
        };
        let answer = self.client.send(call).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let between = |tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            rest.split_once('<').map(|(value, _)| value.to_owned())
        };
        match between("Account").filter(|_| answer.status.is_success()) {
            Some(account) => Ok(account),
            None => Err(Refusal {
                code: between("Code").unwrap_or_else(|| answer.status.to_string()),
                message: between("Message").unwrap_or_else(|| "the answer names no account".to_owned()),
            }
            .failure("cannot ask who the caller is")),
        }
    }

    /// Invokes a function.
    pub(crate) async fn invoke(
        &self,
        name: &str,
        payload: Bytes,
        options: &InvokeOptions<'_>,
    ) -> Outcome<Result<Invocation, Refusal>> {
        let mut target = format!("/2015-03-31/functions/{}/invocations", segment(name));
        if let Some(qualifier) = options.qualifier {
            target.push_str("?Qualifier=");
            target.push_str(&segment(qualifier));
        }
        let mode = HeaderValue::from_static(if options.event { "Event" } else { "RequestResponse" });
        let mut headers =
            vec![content_type("application/json"), (HeaderName::from_static("x-amz-invocation-type"), mode)];
        if options.tail {
            headers.push((HeaderName::from_static("x-amz-log-type"), HeaderValue::from_static("Tail")));
        }
        let call =
            Call { service: "lambda", method: Method::POST, target, headers, body: payload, limit: INVOKE_LIMIT };
        let answer = self.client.send(call).await?;
        if !answer.status.is_success() {
            return Ok(Err(refusal(&answer)));
        }
        let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Ok(Invocation {
            status: answer.status.as_u16(),
            function_error: header("x-amz-function-error"),
            executed_version: header("x-amz-executed-version"),
            log_tail: header("x-amz-log-result"),
            payload: answer.body,
        }))
    }

    /// All functions, page by page.
    pub(crate) async fn functions(&self) -> Outcome<Vec<Value>> {
        let mut functions = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let mut target = "/2015-03-31/functions".to_owned();
            if let Some(marker) = &marker {
                target.push_str("?Marker=");
                target.push_str(&segment(marker));
            }
            let mut page = self
                .lambda(Method::GET, target, None)
                .await?
                .map_err(|refusal| refusal.failure("cannot list the functions"))?;
            if let Some(Value::Array(more)) = page.get_mut("Functions").map(Value::take) {
                functions.extend(more);
            }
            match page.get("NextMarker").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => marker = Some(next.to_owned()),
                _ => return Ok(functions),
            }
        }
    }

    /// Waits until a function is active and its last update is done.
    pub(crate) async fn until_ready(&self, name: &str) -> Outcome<Value> {
        let started = self.env.monotonic();
        loop {
            let target = format!("/2015-03-31/functions/{}/configuration", segment(name));
            let function = self
                .lambda(Method::GET, target, None)
                .await?
                .map_err(|refusal| refusal.failure(format!("cannot look at `{name}`")))?;
            let text = |member: &str| function.get(member).and_then(Value::as_str).unwrap_or_default();
            match (text("State"), text("LastUpdateStatus")) {
                ("Active", "Successful" | "") => return Ok(function),
                ("Failed", _) => return Err(Failure::new(format!("`{name}` failed: {}", text("StateReason")))),
                (_, "Failed") => {
                    return Err(Failure::new(format!("the update failed: {}", text("LastUpdateStatusReason"))));
                }
                _ => {}
            }
            if self.env.monotonic().since(started) > READY_LIMIT {
                return Err(Failure::new(format!("`{name}` was not ready after {} s", READY_LIMIT.as_secs())));
            }
            self.env.sleep(POLL_EVERY).await;
        }
    }

    /// An unsigned look at one of the server's own pages below `/_pileus/`.
    pub(crate) async fn own(&self, method: Method, page: &str) -> Outcome<Answer> {
        let call = Call {
            service: "pileus",
            method,
            target: format!("/_pileus/{page}"),
            headers: Vec::new(),
            body: Bytes::new(),
            limit: CALL_LIMIT,
        };
        Ok(self.client.send(call).await?)
    }
}

/// One segment of a path, or one value of a query, percent-encoded as the signature wants it.
pub(crate) fn segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

/// An object without the members that are `null`.
pub(crate) fn object(members: Vec<(&str, Value)>) -> Value {
    let kept = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(kept.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn content_type(value: &'static str) -> (HeaderName, HeaderValue) {
    (http::header::CONTENT_TYPE, HeaderValue::from_static(value))
}

fn decode(answer: &Answer) -> Outcome<Result<Value, Refusal>> {
    if !answer.status.is_success() {
        return Ok(Err(refusal(answer)));
    }
    if answer.body.is_empty() {
        return Ok(Ok(json!(null)));
    }
    serde_json::from_slice(&answer.body).map(Ok).map_err(|error| {
        Failure::new("the server's answer is not JSON")
            .because(&error)
            .remedy("check that AWS_ENDPOINT_URL names a Pileus server")
    })
}

/// AWS's code and message, wherever the protocol puts them.
pub(crate) fn refusal(answer: &Answer) -> Refusal {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |names: &[&str]| names.iter().find_map(|name| body.get(*name)?.as_str()).map(str::to_owned);
    let header = answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let code = header.or_else(|| text(&["__type", "code"])).unwrap_or_else(|| answer.status.to_string());
    // `prefix#Code:uri` in its longest form.
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    let message = text(&["message", "Message", "errorMessage"])
        .unwrap_or_else(|| String::from_utf8_lossy(&answer.body).trim().chars().take(500).collect());
    Refusal { code, message }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(header: Option<&'static str>, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(value));
        }
        Answer { status: StatusCode::NOT_FOUND, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn a_refusal_is_read_from_header_or_body() {
        let rows = [
            (Some("ResourceNotFoundException"), r#"{"Message":"no"}"#, "ResourceNotFoundException", "no"),
            (Some("A#B:http://c"), r#"{"message":"m"}"#, "B", "m"),
            (None, r#"{"__type":"x.y#Gone","message":"m"}"#, "Gone", "m"),
            (None, "plain", "404 Not Found", "plain"),
        ];
        for (header, body, code, message) in rows {
            let got = refusal(&answer(header, body));
            assert_eq!((got.code.as_str(), got.message.as_str()), (code, message));
        }
    }

    #[test]
    fn segments_are_encoded() {
        assert_eq!(segment("a b/$LATEST~1"), "a%20b%2F%24LATEST~1");
    }

    #[test]
    fn absent_members_are_left_out() {
        assert_eq!(object(vec![("A", json!(1)), ("B", Value::Null)]).to_string(), r#"{"A":1}"#);
    }
}
