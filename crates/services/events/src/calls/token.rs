//! Tokens of connections that are authorised by OAuth client credentials. They are kept in memory until they expire.

use std::{collections::HashMap, time::Duration};

use base_env::Moment;
use base_types::Timestamp;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use services_ports::{Outbound, OutboundRequest};

use super::{Shared, auth::Auth};
use crate::{letters::Failure, tables::Connection};

/// Tokens kept.
const TOKENS_MAX: usize = 3000;
/// How long an answer that does not say it is good.
const LIFETIME: Duration = Duration::from_secs(3600);
/// A token is renewed so long before it expires.
const EARLY: Duration = Duration::from_secs(60);
const TIME_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 65_536;

/// Tokens by connection.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Token>>);

struct Token {
    /// Of which state of the connection it is.
    of: Timestamp,
    text: String,
    until: Moment,
}

impl Tokens {
    /// The connection's token, if it has tokens.
    pub(super) async fn bearer<O: Outbound>(
        &self,
        shared: &Shared<O>,
        arn: &str,
        connection: &Connection,
        auth: &Auth,
    ) -> Result<Option<String>, Failure> {
        if auth.kind != "OAUTH_CLIENT_CREDENTIALS" {
            return Ok(None);
        }
        let now = shared.events.env.monotonic();
        if let Some(known) = self.0.lock().get(arn)
            && known.of == connection.modified
            && !known.until.since(now).is_zero()
        {
            return Ok(Some(known.text.clone()));
        }
        let failed = |message: String| Failure::permanent("UNAUTHORIZED", message);
        let request = request(auth).map_err(failed)?;
        let answer = shared.outbound.send(request).await.map_err(|error| failed(error.to_string()))?;
        if !answer.status.is_success() {
            return Err(failed(format!("the authorization endpoint answered {}", answer.status)));
        }
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(text) = document["access_token"].as_str().map(str::to_owned) else {
            return Err(failed("the authorization endpoint answered no access token".to_owned()));
        };
        let said = &document["expires_in"];
        let seconds = said.as_u64().or_else(|| said.as_str().and_then(|text| text.parse().ok()));
        let lifetime = seconds.map_or(LIFETIME, Duration::from_secs).saturating_sub(EARLY);
        let mut tokens = self.0.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        let token = Token { of: connection.modified, text: text.clone(), until: now + lifetime };
        tokens.insert(arn.to_owned(), token);
        Ok(Some(text))
    }

    /// It was not accepted: the next request asks for another.
    pub(super) fn forget(&self, arn: &str) {
        self.0.lock().remove(arn);
    }
}

/// The request for a token; the error says what cannot be sent.
fn request(auth: &Auth) -> Result<OutboundRequest, String> {
    let method = auth.method.as_deref().unwrap_or("POST");
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method} is no method"))?;
    let added = auth.token_parts.clone().unwrap_or_default();
    let mut form: Vec<(String, String)> =
        added.body.iter().flatten().map(|addition| (addition.key.clone(), addition.value.clone())).collect();
    let credentials =
        [("grant_type", "client_credentials"), ("client_id", &auth.name), ("client_secret", &auth.secret)];
    for (name, value) in credentials {
        if !form.iter().any(|(known, _)| known == name) {
            form.push((name.to_owned(), value.to_owned()));
        }
    }
    let query = added.query.iter().flatten().map(|addition| (addition.key.clone(), addition.value.clone()));
    let mut query: Vec<(String, String)> = query.collect();
    let body = if method == Method::GET {
        query.append(&mut form);
        String::new()
    } else {
        encoded(&form)
    };
    let mut text = auth.endpoint.clone().unwrap_or_default();
    if !query.is_empty() {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(&encoded(&query));
    }
    let uri: Uri = text.parse().map_err(|error| format!("the authorization endpoint cannot be called: {error}"))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for addition in added.headers.iter().flatten() {
        let (name, value) = (HeaderName::try_from(&addition.key), HeaderValue::try_from(&addition.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(format!("{} is no header", addition.key)) };
        headers.insert(name, value);
    }
    Ok(OutboundRequest {
        method,
        uri,
        headers,
        body: Bytes::from(body),
        time_limit: TIME_LIMIT,
        response_bytes_max: ANSWER_BYTES_MAX,
        redirects_max: 0,
    })
}

fn encoded(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}
