//! Signature Version 2 in a query: what some SDKs still make of a presigned address of S3.
//!
//! Guarantee: the path, the sub-resources, the `x-amz-` headers, the date of expiry and the method take part, as AWS's
//! documentation says; the comparison takes constant time. Only S3's query form is spoken: requests with this signature in a
//! header are refused.
//!
//! Source: "Signing and authenticating REST requests (AWS signature version 2)" in the S3 API Reference.

use std::borrow::Cow;

use base_types::Timestamp;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use crate::{
    Request, SignatureError,
    canonical::{decode, pairs_of},
};

/// Parameters that name what of a bucket or object is meant, or how it is answered: they are signed.
const SIGNED_PARAMETERS: [&str; 31] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// A signature of version 2, taken from a query.
#[derive(Clone, Debug)]
pub struct LegacyClaim {
    /// The access key id.
    pub key_id: String,
    /// The session token that came with it.
    pub token: Option<String>,
    /// When it ends, in seconds, as it was written.
    expires: String,
    signature: String,
}

impl LegacyClaim {
    /// Finds the signature in a query; `None` when there is nothing of it.
    ///
    /// # Errors
    /// When parts of it are missing.
    pub fn read(request: &Request<'_>) -> Option<Result<Self, SignatureError>> {
        let take = |wanted: &str| {
            let found = pairs_of(request.query).find(|(name, _)| *name == wanted);
            found.and_then(|(_, value)| String::from_utf8(decode(value.as_bytes(), true)).ok())
        };
        let parts = (take("AWSAccessKeyId"), take("Signature"), take("Expires"));
        match parts {
            (None, None, _) => None,
            (Some(key_id), Some(signature), Some(expires)) => {
                Some(Ok(Self { key_id, token: take("x-amz-security-token"), expires, signature }))
            }
            _ => Some(Err(SignatureError::MissingLegacyParameters)),
        }
    }

    /// Whether it still holds.
    ///
    /// # Errors
    /// When its time is over or is no time.
    pub fn check(&self, now: Timestamp) -> Result<(), SignatureError> {
        let until: u64 = self.expires.parse().map_err(|_| SignatureError::MissingLegacyParameters)?;
        if until <= now.as_seconds() {
            return Err(SignatureError::PresignedExpired("Request has expired".to_owned()));
        }
        Ok(())
    }

    /// Recomputes the signature and compares it. `resource` is the path with the bucket as its first part, as it was sent.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`].
    pub fn verify(&self, secret: &str, request: &Request<'_>, resource: &str) -> Result<(), SignatureError> {
        let Ok(mut mac) = <Hmac<Sha1> as KeyInit>::new_from_slice(secret.as_bytes()) else {
            return Err(SignatureError::Mismatch);
        };
        mac.update(self.text(request, resource).as_bytes());
        let expected = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let same: bool = expected.as_bytes().ct_eq(self.signature.as_bytes()).into();
        if same { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    fn text(&self, request: &Request<'_>, resource: &str) -> String {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut text = [request.method, header("content-md5"), header("content-type"), &self.expires].join("\n");
        text.push('\n');
        let mut named: Vec<(&str, Cow<'_, str>)> = request
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| name.starts_with("x-amz-"))
            .map(|name| {
                let values = request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
                (name, Cow::Owned(values.map(str::trim).collect::<Vec<_>>().join(",")))
            })
            .collect();
        if let Some(token) = &self.token {
            named.push(("x-amz-security-token", Cow::Borrowed(token)));
        }
        named.sort();
        for (name, value) in named {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(resource);
        let mut parameters: Vec<(&str, Option<String>)> = request
            .query
            .split('&')
            .map(|pair| pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value))))
            .filter(|(name, _)| SIGNED_PARAMETERS.contains(name))
            .map(|(name, value)| {
                let plain = value.map(|value| String::from_utf8_lossy(&decode(value.as_bytes(), true)).into_owned());
                (name, plain.filter(|plain| !plain.is_empty()))
            })
            .collect();
        parameters.sort();
        for (index, (name, value)) in parameters.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    /// The documentation's own example of a query.
    #[test]
    fn the_published_example_is_verified() {
        let headers = HeaderMap::new();
        let query = "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620";
        let request = Request { method: "GET", path: "/photos/puppy.jpg", query, headers: &headers };
        let claim = LegacyClaim::read(&request).unwrap().unwrap();
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        assert_eq!(claim.verify(secret, &request, "/johnsmith/photos/puppy.jpg"), Ok(()));
        assert_eq!(claim.verify(secret, &request, "/other/photos/puppy.jpg"), Err(SignatureError::Mismatch));
        assert_eq!(claim.verify("other", &request, "/johnsmith/photos/puppy.jpg"), Err(SignatureError::Mismatch));
        assert!(claim.check(Timestamp::from_millis(1_175_139_619_000)).is_ok());
        assert!(claim.check(Timestamp::from_millis(1_175_139_620_000)).is_err());
    }

    #[test]
    fn a_part_that_is_missing_is_told() {
        let headers = HeaderMap::new();
        let read = |query| LegacyClaim::read(&Request { method: "GET", path: "/", query, headers: &headers });
        assert!(read("a=b").is_none());
        assert!(matches!(read("AWSAccessKeyId=k&Expires=1"), Some(Err(SignatureError::MissingLegacyParameters))));
    }
}
