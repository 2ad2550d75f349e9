//! Signature Version 4: reading, verifying and making it. Pure: no IO, no clock, no look-up of keys.
//!
//! Verification has two steps, because the secret is found between them:
//!
//! 1. [`Claim::read`] finds the signature in the `Authorization` header or in the query (presigned URL) and takes it
//!    apart: whose key, which scope, when. Nothing of it is proven yet.
//! 2. [`Claim::check`] looks at what needs no secret (clock, scope, `host` signed), the caller looks the key up, and
//!    [`Claim::verify`] recomputes the signature and compares it in constant time.
//!
//! [`Signer`] is the other direction, for our own command line and for tests.
//!
//! Guarantees: every byte of the request that takes part is taken as it was sent (a proxy that rewrites the path breaks
//! the signature, as with AWS); the payload's hash is always compared with the payload itself, unless the signed text
//! is `UNSIGNED-PAYLOAD`; who hands a body on before it is whole says so ([`Payload::Unread`]) and proves it on the way, by
//! what [`Claim::content`] says of it: its hash, or its chunks ([`Chunked`]). Forms that are not known are refused by name
//! ([`SignatureError::Unsupported`]).
//!
//! Source: "AWS Signature Version 4 for API requests" in the IAM User Guide; "Authenticating Requests" in the S3 API
//! Reference; texts of errors as AWS's services send them.

mod canonical;
mod chunked;
mod claim;
mod error;
mod legacy;
mod sign;
mod verify;

pub use chunked::{Chain, ChunkError, Chunked};
pub use claim::{Claim, Glimpse, Placement};
pub use error::{Denial, Family, SignatureError};
pub use legacy::LegacyClaim;
pub use sign::{Credentials, Signer};
pub use verify::{Content, Payload, Rules, SigningKey};

/// The only algorithm spoken here.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The last part of every credential scope.
pub const TERMINATOR: &str = "aws4_request";

/// The part of a request that takes part in its signature, exactly as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The raw path, still percent-encoded.
    pub path: &'a str,
    /// The raw query without its question mark; empty when there is none.
    pub query: &'a str,
    /// All headers, `host` among them.
    pub headers: &'a http::HeaderMap,
}

impl<'a> From<&'a http::request::Parts> for Request<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
        }
    }
}
