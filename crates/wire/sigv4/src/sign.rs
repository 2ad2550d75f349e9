//! Making signatures: for the command line's own requests, for functions' tools and for tests.

use std::time::Duration;

use base_types::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};

use crate::{
    ALGORITHM, Request, TERMINATOR,
    canonical::{canonical_request, encode, hex},
    verify::{Rules, SigningKey},
};

/// Headers that proxies and clients change on the way and that are therefore not signed.
const UNSIGNED: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::USER_AGENT,
    HeaderName::from_static("x-amzn-trace-id"),
];

/// An access key, with its session token when it is a session's.
#[derive(Clone)]
pub struct Credentials {
    /// The access key id.
    pub key_id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token of temporary credentials.
    pub token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    /// The secret and the token stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Signs requests to one service in one region.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Whose signature.
    pub credentials: Credentials,
    /// The region of the scope.
    pub region: String,
    /// The service's signing name.
    pub service: String,
    /// S3's rules or everybody else's.
    pub rules: Rules,
}

impl Signer {
    /// The headers to be added to a request so that it is signed: `x-amz-date`, `x-amz-security-token` for a session,
    /// `x-amz-content-sha256` for S3, and `authorization`. The request's headers must hold `host`.
    ///
    /// # Errors
    /// When the key id or the token cannot stand in a header.
    pub fn sign(
        &self,
        request: &Request<'_>,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<HeaderMap, header::InvalidHeaderValue> {
        let mut added = HeaderMap::new();
        added.insert("x-amz-date", HeaderValue::from_str(&now.to_basic())?);
        if let Some(token) = &self.credentials.token {
            added.insert("x-amz-security-token", HeaderValue::from_str(token)?);
        }
        let payload_hash = hex(&Sha256::digest(payload));
        if self.rules == Rules::S3 {
            added.insert("x-amz-content-sha256", HeaderValue::from_str(&payload_hash)?);
        }
        let mut all = request.headers.clone();
        all.extend(added.clone());
        let signed = names_to_sign(&all);
        let signature = self.signature(&Request { headers: &all, ..*request }, &signed, &payload_hash, now);
        let (key_id, scope) = (&self.credentials.key_id, self.scope(now));
        let authorization =
            format!("{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={signed}, Signature={signature}");
        added.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization)?);
        Ok(added)
    }

    /// The query of a presigned URL that is valid for `expires`. The request's headers (at least `host`) are all signed,
    /// so the holder of the URL must send them. The payload must be empty, except with S3, where it is free.
    #[must_use]
    pub fn presign(&self, request: &Request<'_>, expires: Duration, now: Timestamp) -> String {
        let signed = names_to_sign(request.headers);
        let credential = format!("{}/{}", self.credentials.key_id, self.scope(now));
        let mut query = request.query.to_owned();
        let mut add = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            let mut encoded = Vec::new();
            encode(value.as_bytes(), b"", &mut encoded);
            query.push_str(name);
            query.push('=');
            query.push_str(&String::from_utf8_lossy(&encoded));
        };
        add("X-Amz-Algorithm", ALGORITHM);
        add("X-Amz-Credential", &credential);
        add("X-Amz-Date", &now.to_basic());
        add("X-Amz-Expires", &expires.as_secs().to_string());
        add("X-Amz-SignedHeaders", &signed);
        if let Some(token) = &self.credentials.token {
            add("X-Amz-Security-Token", token);
        }
        let payload_hash = match self.rules {
            Rules::S3 => "UNSIGNED-PAYLOAD".to_owned(),
            Rules::Common => hex(&Sha256::digest(b"")),
        };
        let signature = self.signature(&Request { query: &query, ..*request }, &signed, &payload_hash, now);
        format!("{query}&X-Amz-Signature={signature}")
    }

    fn signature(&self, request: &Request<'_>, signed: &str, payload_hash: &str, now: Timestamp) -> String {
        let mut canonical = Sha256::new();
        canonical_request(request, self.rules, signed, None, payload_hash, &mut canonical);
        let date = now.to_basic();
        let key = SigningKey::derive(
            &self.credentials.secret,
            date.get(..8).unwrap_or_default(),
            &self.region,
            &self.service,
        );
        key.sign(now, &self.scope(now), &canonical.finalize())
    }

    fn scope(&self, now: Timestamp) -> String {
        let date = now.to_basic();
        format!("{}/{}/{}/{TERMINATOR}", date.get(..8).unwrap_or_default(), self.region, self.service)
    }
}

fn names_to_sign(headers: &HeaderMap) -> String {
    let mut names: Vec<&str> = headers.keys().filter(|name| !UNSIGNED.contains(name)).map(HeaderName::as_str).collect();
    names.sort_unstable();
    names.join(";")
}
