//! What a function answered, as an HTTP response (Lambda developer guide, "Invoking Lambda function URLs", response format).

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::prelude::{Prelude, Step};

/// The answer's bytes must be a JSON document; anything else, and every error of the function, is a bad gateway.
#[must_use]
pub fn reply(payload: &Bytes, failed: bool) -> Response<Bytes> {
    if failed {
        return internal_server_error();
    }
    let Ok(value) = serde_json::from_slice::<Value>(payload) else {
        // A function that streams to a URL that does not: its response came whole, with its head in front.
        return match Prelude::default().take(payload) {
            Step::Head(head, body) => head.map(|()| body),
            Step::More | Step::Broken => internal_server_error(),
        };
    };
    match value {
        // With a status code the function speaks HTTP itself.
        Value::Object(members) if members.contains_key("statusCode") => {
            spelled_out(&members).unwrap_or_else(internal_server_error)
        }
        // Without, everything it answered is the body.
        Value::String(text) => inferred(Bytes::from(text)),
        Value::Null => inferred(Bytes::from_static(b"null")),
        _ => inferred(payload.clone()),
    }
}

fn inferred(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn spelled_out(members: &Map<String, Value>) -> Option<Response<Bytes>> {
    let encoded = members.get("isBase64Encoded").is_some_and(|value| value == true || value == "true");
    let body = match members.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if encoded => Bytes::from(STANDARD.decode(text.trim()).ok()?),
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(other) => Bytes::from(other.to_string()),
    };
    Some(head(members, "application/json")?.map(|()| body))
}

/// Status (200 when it is not said), headers and cookies; `content_type` is what a response without one gets.
pub(super) fn head(members: &Map<String, Value>, content_type: &'static str) -> Option<Response<()>> {
    let status = match members.get("statusCode") {
        None => 200,
        Some(Value::Number(number)) => u16::try_from(number.as_u64()?).ok()?,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(_) => return None,
    };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let fields = response.headers_mut();
    if let Some(headers) = members.get("headers") {
        for (name, value) in headers.as_object()? {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            if !is_ours(&name) {
                fields.insert(name, HeaderValue::from_str(&text_of(value)?).ok()?);
            }
        }
    }
    for cookie in members.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        fields.append(header::SET_COOKIE, HeaderValue::from_str(cookie.as_str()?).ok()?);
    }
    fields.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    Some(response)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Fields about the connection and the message's length: they are the server's.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::CONTENT_LENGTH
            | header::TE
            | header::TRAILER
    ) || name == "keep-alive"
}

/// Of a function whose URL streams and that answered whole: its bytes as they are, whatever they hold.
#[must_use]
pub fn unstreamed(payload: Bytes, failed: bool) -> Response<Bytes> {
    if failed { internal_server_error() } else { inferred(payload) }
}

/// 502, for a function that failed or answered nonsense.
#[must_use]
pub fn internal_server_error() -> Response<Bytes> {
    let body = Bytes::from_static(b"Internal Server Error");
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer of the platform: `{"Message": …}` with AWS's error type.
#[must_use]
pub fn refusal(status: StatusCode, error_type: &'static str, message: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(json!({ "Message": message }).to_string()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert("x-amzn-errortype", HeaderValue::from_static(error_type));
    response
}

/// 403: there is no such URL, or the caller may not use it; AWS does not say which.
#[must_use]
pub fn forbidden() -> Response<Bytes> {
    refusal(
        StatusCode::FORBIDDEN,
        "AccessDeniedException",
        "Forbidden. For troubleshooting Function URL authorization issues, see: \
         https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
    )
}

/// 429: no concurrency left.
#[must_use]
pub fn throttled() -> Response<Bytes> {
    refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Rate Exceeded.")
}

/// 413: the body exceeds what a function takes.
#[must_use]
pub fn too_large() -> Response<Bytes> {
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", "Request Entity Too Large")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(payload: &str) -> (u16, Vec<(String, String)>, String) {
        let response = reply(&Bytes::from(payload.to_owned()), false);
        let headers = response.headers();
        let fields =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        (response.status().as_u16(), fields, String::from_utf8_lossy(response.body()).into_owned())
    }

    #[test]
    fn without_a_status_code_the_answer_is_the_body() {
        for (payload, body) in
            [(r#"{"a":1}"#, r#"{"a":1}"#), (r#""Hello""#, "Hello"), ("[1,2]", "[1,2]"), ("7", "7"), ("null", "null")]
        {
            assert_eq!(said(payload), (200, vec![("content-type".into(), "application/json".into())], body.into()));
        }
    }

    #[test]
    fn with_a_status_code_it_is_spelled_out() {
        let answer = r#"{"statusCode":201,"headers":{"X-A":"b","Content-Type":"text/html","X-N":7,"Content-Length":"999"},
            "cookies":["a=1; Secure","b=2"],"body":"<p>"}"#;
        let (status, mut fields, body) = said(answer);
        fields.sort();
        let expected = [
            ("content-type", "text/html"),
            ("set-cookie", "a=1; Secure"),
            ("set-cookie", "b=2"),
            ("x-a", "b"),
            ("x-n", "7"),
        ];
        assert_eq!((status, body.as_str()), (201, "<p>"));
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(said(r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#).2, "hi");
        assert_eq!(said(r#"{"statusCode":"204"}"#).0, 204);
        assert_eq!(said(r#"{"statusCode":200,"body":{"a":1}}"#).2, r#"{"a":1}"#);
    }

    #[test]
    fn what_was_streamed_and_came_whole_has_its_head_in_front() {
        let (status, fields, body) = said("{\"statusCode\":201,\"headers\":{\"x-a\":\"b\"}}\0\0\0\0\0\0\0\0body");
        let expected = [("content-type", "application/octet-stream"), ("x-a", "b")];
        let mut fields = fields;
        fields.sort();
        assert_eq!((status, body.as_str()), (201, "body"));
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn nonsense_and_failures_are_a_bad_gateway() {
        for payload in [
            "not json",
            "",
            r#"{"statusCode":"abc"}"#,
            r#"{"statusCode":99}"#,
            r#"{"statusCode":70000}"#,
            r#"{"statusCode":200,"body":"%%","isBase64Encoded":true}"#,
            r#"{"statusCode":200,"headers":{"bad name":"x"}}"#,
            "{\"statusCode\":200,\"headers\":{\"x\":\"a\\r\\nb\"}}",
        ] {
            assert_eq!(said(payload).0, 502, "{payload}");
        }
        let failed = reply(&Bytes::from_static(b"{}"), true);
        assert_eq!((failed.status().as_u16(), &failed.body()[..]), (502, &b"Internal Server Error"[..]));
    }
}
