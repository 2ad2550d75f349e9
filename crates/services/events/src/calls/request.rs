//! The request to an API destination. Pure.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, RANGE, USER_AGENT},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use services_ports::OutboundRequest;

use super::auth::{Addition, Auth};
use crate::tables::HttpParts;

/// What may stand in a path or query as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a request is made of.
pub(super) struct Plan<'a> {
    pub(super) endpoint: &'a str,
    pub(super) method: &'a str,
    pub(super) parts: &'a HttpParts,
    pub(super) auth: &'a Auth,
    /// A token, for a connection that is authorised by one.
    pub(super) bearer: Option<&'a str>,
    pub(super) trace: Option<&'a str>,
    /// Of the answer.
    pub(super) answer_bytes_max: usize,
}

impl Plan<'_> {
    /// The request; the error says what cannot be sent.
    pub(super) fn request(&self, body: String, time_limit: Duration) -> Result<OutboundRequest, String> {
        let method = Method::from_bytes(self.method.as_bytes()).map_err(|_| format!("{} is no method", self.method))?;
        let added = self.auth.parts.clone().unwrap_or_default();
        let body = with_body(body, added.body.as_deref().unwrap_or_default());
        Ok(OutboundRequest {
            uri: self.uri(added.query.as_deref().unwrap_or_default())?,
            headers: self.headers(added.headers.as_deref().unwrap_or_default())?,
            body: if method == Method::GET || method == Method::HEAD { Bytes::new() } else { Bytes::from(body) },
            method,
            time_limit,
            response_bytes_max: self.answer_bytes_max,
            redirects_max: 0,
        })
    }

    /// The endpoint with its wildcards filled in, and with the query.
    fn uri(&self, added: &[Addition]) -> Result<Uri, String> {
        let mut values = self.parts.path.iter().flatten();
        let (mut text, mut rest) = (String::new(), self.endpoint);
        while let Some((before, after)) = rest.split_once('*') {
            let value = values.next().ok_or("the endpoint has more wildcards than the target has path parameters")?;
            text.push_str(before);
            text.extend(utf8_percent_encode(value, KEPT));
            rest = after;
        }
        text.push_str(rest);
        // Where both say something, the connection's word counts.
        let own = self.parts.query.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = own.filter(|(name, _)| !added.iter().any(|addition| addition.key == *name));
        let added = added.iter().map(|addition| (addition.key.as_str(), addition.value.as_str()));
        for (name, value) in own.chain(added) {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.extend(utf8_percent_encode(name, KEPT));
            text.push('=');
            text.extend(utf8_percent_encode(value, KEPT));
        }
        text.parse().map_err(|error| format!("the endpoint cannot be called: {error}"))
    }

    fn headers(&self, added: &[Addition]) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(USER_AGENT, HeaderValue::from_static("Amazon/EventBridge/ApiDestinations"));
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-1048575"));
        if let Some(trace) = self.trace.and_then(|trace| HeaderValue::try_from(trace).ok()) {
            headers.insert("x-amzn-trace-id", trace);
        }
        let own = self.parts.headers.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
        let added = added.iter().map(|addition| (addition.key.as_str(), addition.value.as_str()));
        for (name, value) in own.chain(added) {
            set(&mut headers, name, value)?;
        }
        match (self.auth.kind.as_str(), self.bearer) {
            ("BASIC", _) => {
                let pair = STANDARD.encode(format!("{}:{}", self.auth.name, self.auth.secret));
                set(&mut headers, AUTHORIZATION.as_str(), &format!("Basic {pair}"))?;
            }
            ("API_KEY", _) => set(&mut headers, &self.auth.name, &self.auth.secret)?,
            (_, Some(token)) => set(&mut headers, AUTHORIZATION.as_str(), &format!("Bearer {token}"))?,
            _ => {}
        }
        Ok(headers)
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let (parsed, value) = (HeaderName::try_from(name), HeaderValue::try_from(value));
    let (Ok(parsed), Ok(mut value)) = (parsed, value) else {
        return Err(format!("{name} is no header, or its value none"));
    };
    value.set_sensitive(true);
    headers.insert(parsed, value);
    Ok(())
}

/// A JSON object with these members added; any other body as it is.
fn with_body(body: String, added: &[Addition]) -> String {
    if added.is_empty() {
        return body;
    }
    match serde_json::from_str::<Value>(&body) {
        Ok(Value::Object(mut members)) => {
            for addition in added {
                members.insert(addition.key.clone(), Value::from(addition.value.as_str()));
            }
            Value::Object(members).to_string()
        }
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::auth::Additions, *};

    fn addition(key: &str, value: &str) -> Addition {
        Addition { key: key.into(), value: value.into(), secret: true }
    }

    #[test]
    fn a_request_has_what_rule_and_connection_say() {
        let auth = Auth {
            kind: "BASIC".into(),
            name: "user".into(),
            secret: "pass".into(),
            parts: Some(Additions {
                headers: Some(vec![addition("X-A", "connection")]),
                query: Some(vec![addition("q", "c&d")]),
                body: Some(vec![addition("token", "t")]),
            }),
            ..Auth::default()
        };
        let parts = HttpParts {
            path: Some(vec!["a b/c".into()]),
            headers: Some(vec![("x-a".into(), "rule".into()), ("x-b".into(), "rule".into())]),
            query: Some(vec![("q".into(), "rule".into()), ("r".into(), "1".into())]),
        };
        let plan = Plan {
            endpoint: "https://example.com/x/*?y=1",
            method: "POST",
            parts: &parts,
            auth: &auth,
            bearer: None,
            trace: None,
            answer_bytes_max: 1024,
        };
        let request = plan.request("{\"a\":1}".into(), Duration::from_secs(5)).unwrap();
        assert_eq!(request.uri.to_string(), "https://example.com/x/a%20b%2Fc?y=1&r=1&q=c%26d");
        assert_eq!(request.headers["x-a"], "connection");
        assert_eq!(request.headers["x-b"], "rule");
        assert_eq!(request.headers["authorization"], "Basic dXNlcjpwYXNz");
        assert_eq!(request.headers["user-agent"], "Amazon/EventBridge/ApiDestinations");
        assert_eq!(&request.body[..], b"{\"a\":1,\"token\":\"t\"}");
        assert_eq!(request.redirects_max, 0);
    }

    #[test]
    fn what_cannot_be_sent_is_said() {
        let (auth, parts) = (Auth::default(), HttpParts::default());
        let plan = |endpoint| Plan {
            endpoint,
            method: "POST",
            parts: &parts,
            auth: &auth,
            bearer: None,
            trace: None,
            answer_bytes_max: 0,
        };
        assert!(
            plan("https://example.com/*").request(String::new(), Duration::ZERO).unwrap_err().contains("wildcards")
        );
        assert!(plan("not a uri").request(String::new(), Duration::ZERO).unwrap_err().contains("cannot be called"));
    }
}
