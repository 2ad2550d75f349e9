//! A request as a function sees it: payload format 2.0 (Lambda developer guide, "Invoking Lambda function URLs").

use base_types::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

/// A request to a function URL, body included.
#[derive(Debug, Clone)]
pub struct UrlRequest {
    /// The method.
    pub method: Method,
    /// The path as it was sent, percent-encoding and all; begins with `/`.
    pub path: String,
    /// What follows the question mark, as it was sent; empty without one.
    pub query: String,
    /// All header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The client's address.
    pub source_ip: String,
}

/// What the event says about where and when, and about the caller.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The URL's identifier.
    pub url_id: &'a str,
    /// The URL's host name, without the port.
    pub domain: &'a str,
    /// The invocation's request id.
    pub request_id: &'a str,
    /// When the request came.
    pub at: Timestamp,
    /// The caller, when the URL asks for signatures.
    pub caller: Option<Caller<'a>>,
}

/// A caller who signed.
#[derive(Debug, Clone)]
pub struct Caller<'a> {
    /// The caller's account.
    pub account: &'a str,
    /// The caller's ARN.
    pub arn: &'a str,
    /// The access key id that signed.
    pub access_key_id: &'a str,
}

/// The event, ready to be invoked with.
#[must_use]
pub fn event(request: &UrlRequest, facts: &Facts<'_>) -> Bytes {
    let mut event = Map::new();
    event.insert("version".into(), json!("2.0"));
    event.insert("routeKey".into(), json!("$default"));
    event.insert("rawPath".into(), json!(raw_path(&request.path)));
    event.insert("rawQueryString".into(), json!(request.query));
    let cookies = cookies(&request.headers);
    if !cookies.is_empty() {
        event.insert("cookies".into(), json!(cookies));
    }
    event.insert("headers".into(), Value::Object(headers(&request.headers)));
    if !request.query.is_empty() {
        event.insert("queryStringParameters".into(), Value::Object(query_parameters(&request.query)));
    }
    event.insert("requestContext".into(), context(request, facts));
    let as_text = is_text(&request.headers).then(|| std::str::from_utf8(&request.body).ok()).flatten();
    if !request.body.is_empty() {
        let body = as_text.map_or_else(|| STANDARD.encode(&request.body), str::to_owned);
        event.insert("body".into(), json!(body));
    }
    event.insert("isBase64Encoded".into(), json!(!request.body.is_empty() && as_text.is_none()));
    Bytes::from(Value::Object(event).to_string())
}

fn context(request: &UrlRequest, facts: &Facts<'_>) -> Value {
    let agent = request.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut context = Map::new();
    context.insert("accountId".into(), json!(facts.caller.as_ref().map_or("anonymous", |caller| caller.account)));
    context.insert("apiId".into(), json!(facts.url_id));
    if let Some(caller) = &facts.caller {
        context.insert(
            "authorizer".into(),
            json!({ "iam": {
                "accessKey": caller.access_key_id,
                "accountId": caller.account,
                "callerId": caller.access_key_id,
                "cognitoIdentity": null,
                "principalOrgId": null,
                "userArn": caller.arn,
                "userId": caller.access_key_id,
            }}),
        );
    }
    context.insert("domainName".into(), json!(facts.domain));
    context.insert("domainPrefix".into(), json!(facts.url_id));
    context.insert(
        "http".into(),
        json!({
            "method": request.method.as_str(),
            "path": raw_path(&request.path),
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": agent,
        }),
    );
    context.insert("requestId".into(), json!(facts.request_id));
    context.insert("routeKey".into(), json!("$default"));
    context.insert("stage".into(), json!("$default"));
    context.insert("time".into(), json!(clf_time(facts.at)));
    context.insert("timeEpoch".into(), json!(facts.at.as_millis()));
    Value::Object(context)
}

/// The path, decoded as AWS does it: `%20` becomes a space. What is not UTF-8 stays as it was sent.
fn raw_path(path: &str) -> String {
    percent_decode_str(path).decode_utf8().map_or_else(|_| path.to_owned(), std::borrow::Cow::into_owned)
}

/// Names in lower case; several fields of one name joined with commas; cookies apart.
fn headers(fields: &HeaderMap) -> Map<String, Value> {
    let mut headers = Map::new();
    for name in fields.keys().filter(|&name| name != header::COOKIE) {
        let values: Vec<_> =
            fields.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    headers
}

fn cookies(fields: &HeaderMap) -> Vec<String> {
    let fields = fields.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|value| value.split(';')).map(|cookie| cookie.trim().to_owned()).filter(|c| !c.is_empty()).collect()
}

/// Names and values decoded; several values of one name joined with commas.
fn query_parameters(query: &str) -> Map<String, Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (form_decoded(name), form_decoded(value));
        match parameters.get_mut(&name) {
            Some(Value::String(earlier)) => {
                earlier.push(',');
                earlier.push_str(&value);
            }
            _ => {
                parameters.insert(name, json!(value));
            }
        }
    }
    parameters
}

fn form_decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Whether AWS hands the body on as text: by its content type, and only if it is not compressed.
fn is_text(fields: &HeaderMap) -> bool {
    if fields.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return false;
    }
    let Some(content_type) = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media.starts_with("text/")
        || matches!(
            media.as_str(),
            "application/json" | "application/xml" | "application/javascript" | "application/x-www-form-urlencoded"
        )
        || media.ends_with("+json")
        || media.ends_with("+xml")
}

/// `23/Nov/2026:12:00:00 +0000`, from `Mon, 23 Nov 2026 12:00:00 GMT`.
fn clf_time(at: Timestamp) -> String {
    let text = at.to_http_date();
    let mut parts = text.split(' ').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    format!("{}/{}/{}:{} +0000", next(), next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, path: &str, query: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Value {
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            fields.append(*name, value.parse().unwrap());
        }
        let request = UrlRequest {
            method,
            path: path.into(),
            query: query.into(),
            headers: fields,
            body: Bytes::copy_from_slice(body),
            source_ip: "127.0.0.1".into(),
        };
        let facts = Facts {
            url_id: "abc",
            domain: "abc.lambda-url.us-east-1.localhost",
            request_id: "r-1",
            at: Timestamp::from_millis(1_600_000_000_123),
            caller: None,
        };
        serde_json::from_slice(&event(&request, &facts)).unwrap()
    }

    #[test]
    fn a_get_becomes_an_event_of_format_2() {
        let headers = [("Accept", "a"), ("accept", "b"), ("cookie", "k=v; l=w"), ("user-agent", "curl/8")];
        let event = request(Method::GET, "/a%20b/c", "x=1&y=%2F&x=2&z", &headers, b"");
        assert_eq!(
            event,
            json!({
                "version": "2.0",
                "routeKey": "$default",
                "rawPath": "/a b/c",
                "rawQueryString": "x=1&y=%2F&x=2&z",
                "cookies": ["k=v", "l=w"],
                "headers": { "accept": "a,b", "user-agent": "curl/8" },
                "queryStringParameters": { "x": "1,2", "y": "/", "z": "" },
                "requestContext": {
                    "accountId": "anonymous",
                    "apiId": "abc",
                    "domainName": "abc.lambda-url.us-east-1.localhost",
                    "domainPrefix": "abc",
                    "http": {
                        "method": "GET", "path": "/a b/c", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "curl/8"
                    },
                    "requestId": "r-1",
                    "routeKey": "$default",
                    "stage": "$default",
                    "time": "13/Sep/2020:12:26:40 +0000",
                    "timeEpoch": 1_600_000_000_123_u64
                },
                "isBase64Encoded": false
            })
        );
    }

    #[test]
    fn a_body_is_text_or_base64_by_its_type() {
        for (headers, body, expected, encoded) in [
            (vec![("content-type", "application/json")], &b"{}"[..], "{}", false),
            (vec![("content-type", "text/plain; charset=utf-8")], "é".as_bytes(), "é", false),
            (vec![("content-type", "application/vnd.api+json")], b"{}", "{}", false),
            (vec![("content-type", "application/x-www-form-urlencoded")], b"a=b", "a=b", false),
            (vec![("content-type", "text/plain")], b"\xff", "/w==", true),
            (vec![("content-type", "application/json"), ("content-encoding", "gzip")], b"{}", "e30=", true),
            (vec![("content-type", "image/png")], b"{}", "e30=", true),
            (vec![], b"{}", "e30=", true),
        ] {
            let event = request(Method::POST, "/", "", &headers, body);
            assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!(expected), &json!(encoded)), "{headers:?}");
        }
    }
}
