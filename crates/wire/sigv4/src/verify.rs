//! The judgement: what needs no secret ([`Claim::check`]), and what does ([`Claim::verify`]).

use std::{borrow::Cow, time::Duration};

use base_types::{Region, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    ALGORITHM, Claim, Placement, Request, SignatureError, TERMINATOR,
    canonical::{canonical_request, decode, hex, names_host, pairs_of, unhex},
    claim::terminator_problem,
};

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The forms of payload that come in chunks, and what they are; `None` for those that are not spoken here.
const STREAMING: [(&str, Option<Content>); 6] = [
    ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Some(Content::Chunked { signed: true, trailers: false })),
    ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Some(Content::Chunked { signed: true, trailers: true })),
    ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Some(Content::Chunked { signed: false, trailers: true })),
    ("STREAMING-AWS4-HMAC-SHA256-EVENTS", None),
    ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", None),
    ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", None),
];

/// What a request says of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Its SHA-256 is this.
    Sha256([u8; 32]),
    /// Nothing.
    Unsigned,
    /// It comes in chunks.
    Chunked {
        /// Each with its signature.
        signed: bool,
        /// With trailers behind the last, which are signed too where the chunks are.
        trailers: bool,
    },
}

/// S3 canonicalises, times and answers differently from everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// All services but S3.
    Common,
    /// S3.
    S3,
}

impl Rules {
    /// How far the clocks may be apart.
    fn skew(self) -> Duration {
        match self {
            Self::Common => Duration::from_secs(5 * 60),
            Self::S3 => Duration::from_secs(15 * 60),
        }
    }
}

/// The payload that the signature covers.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// The whole payload; hashed only when the signature needs it.
    Bytes(&'a [u8]),
    /// Its SHA-256, where it was computed on the way.
    Sha256([u8; 32]),
    /// It is still to be read: what the request says of it is taken as said, and whoever reads it proves it.
    Unread,
}

impl Payload<'_> {
    /// `None` while it is not known.
    fn sha256(self) -> Option<[u8; 32]> {
        match self {
            Self::Bytes(bytes) => Some(Sha256::digest(bytes).into()),
            Self::Sha256(digest) => Some(digest),
            Self::Unread => None,
        }
    }
}

/// The key derived for one day, region and service.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// Derives the key from a secret access key.
    #[must_use]
    pub fn derive(secret: &str, date: &str, region: &str, service: &str) -> Self {
        let mut first = Vec::with_capacity(4 + secret.len());
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.as_bytes());
        let key = [date, region, service, TERMINATOR]
            .iter()
            .fold(Cow::Owned(first), |key, text| Cow::Owned(mac(&key, &[text.as_bytes()]).to_vec()));
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&key);
        Self(bytes)
    }

    /// The signature of these lines, in hexadecimal.
    pub(crate) fn sign_text(&self, lines: &[&str]) -> String {
        hex(&mac(&self.0, &[lines.join("\n").as_bytes()]))
    }

    /// The signature of a request's canonical form, in hexadecimal.
    pub(crate) fn sign(&self, signed_at: Timestamp, scope: &str, canonical_sha256: &[u8]) -> String {
        let canonical = hex(canonical_sha256);
        let text = [ALGORITHM, "\n", &signed_at.to_basic(), "\n", scope, "\n", &canonical];
        hex(&mac(&self.0, &text.map(str::as_bytes)))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length: the error cannot happen")]
fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}

impl Claim<'_> {
    /// Judges everything that needs no secret: the clock, `host` among the signed headers, the scope. `service` is the
    /// signing name that the called service demands.
    ///
    /// # Errors
    /// The first problem, in AWS's order and words.
    pub fn check(&self, service: &str, rules: Rules, now: Timestamp) -> Result<(), SignatureError> {
        self.check_clock(rules, now)?;
        if !names_host(&self.signed_headers) {
            return Err(SignatureError::Invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into(),
            ));
        }
        let mut problems = String::new();
        if self.region.parse::<Region>().is_err() {
            problems.push_str(&format!("Credential should be scoped to a valid region, not '{}'. ", self.region));
        }
        if self.service != service {
            problems.push_str(&format!("Credential should be scoped to correct service: '{service}'. "));
        }
        problems.extend(terminator_problem(self));
        let signed_at = self.signed_at.to_basic();
        if signed_at.get(..8) != Some(&*self.date) {
            problems.push_str(&format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != \
                 '{}', from '{signed_at}'. ",
                self.date,
                signed_at.get(..8).unwrap_or_default(),
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(SignatureError::Invalid(problems)) }
    }

    fn check_clock(&self, rules: Rules, now: Timestamp) -> Result<(), SignatureError> {
        let skew = rules.skew();
        let (allowed, over): (_, fn(String) -> SignatureError) = match self.placement {
            Placement::Query { expires: Some(expires) } => (expires, SignatureError::PresignedExpired),
            Placement::Query { expires: None } if rules == Rules::S3 => {
                return Err(SignatureError::MissingQueryParameters("X-Amz-Expires".into()));
            }
            Placement::Query { expires: None } | Placement::Header => (skew, SignatureError::Skewed),
        };
        let (signed_at, now_text) = (|| self.signed_at.to_basic(), || now.to_basic());
        if self.signed_at + allowed < now {
            return Err(over(format!(
                "Signature expired: {} is now earlier than {} ({} - {})",
                signed_at(),
                (now - allowed).to_basic(),
                now_text(),
                span(allowed)
            )));
        }
        if now + skew < self.signed_at {
            return Err(SignatureError::Skewed(format!(
                "Signature not yet current: {} is still later than {} ({} + {})",
                signed_at(),
                (now + skew).to_basic(),
                now_text(),
                span(skew)
            )));
        }
        Ok(())
    }

    /// Recomputes the signature with the secret and compares it in constant time.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`] and its relatives: payload hash, headers that should have been signed, forms of
    /// payload that are not supported.
    pub fn verify(
        &self,
        secret: &str,
        request: &Request<'_>,
        rules: Rules,
        payload: Payload<'_>,
    ) -> Result<(), SignatureError> {
        self.verify_by(&self.signing_key(secret), request, rules, payload)
    }

    /// The key that the claim's scope asks for. It is good for a day: whoever verifies much keeps it.
    #[must_use]
    pub fn signing_key(&self, secret: &str) -> SigningKey {
        SigningKey::derive(secret, &self.date, &self.region, &self.service)
    }

    /// As [`Claim::verify`], with the key that [`Claim::signing_key`] gave for this very scope.
    ///
    /// # Errors
    /// The same.
    pub fn verify_by(
        &self,
        key: &SigningKey,
        request: &Request<'_>,
        rules: Rules,
        payload: Payload<'_>,
    ) -> Result<(), SignatureError> {
        let payload_hash = self.payload_hash(request, rules, payload)?;
        self.check_signed_headers(request, rules)?;
        let skip = match self.placement {
            Placement::Header => None,
            Placement::Query { .. } => Some("X-Amz-Signature"),
        };
        let mut canonical = Sha256::new();
        canonical_request(request, rules, &self.signed_headers, skip, &payload_hash, &mut canonical);
        let expected = key.sign(self.signed_at, &self.scope_text(), &canonical.finalize());
        let same: bool = expected.as_bytes().ct_eq(self.signature.as_bytes()).into();
        if same { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// The text that stands for the payload in the canonical request, proven against the payload.
    fn payload_hash<'r>(
        &self,
        request: &Request<'r>,
        rules: Rules,
        payload: Payload<'_>,
    ) -> Result<Cow<'r, str>, SignatureError> {
        let claimed = self.claimed(request, rules);
        if let Some(text) = claimed.as_ref().filter(|text| **text == UNSIGNED_PAYLOAD) {
            return Ok(text.clone()); // and nothing is hashed in vain
        }
        match (claimed, payload.sha256()) {
            (None, Some(digest)) => Ok(Cow::Owned(hex(&digest))),
            // Only S3's clients send bodies that are not read first, and they have to say what they are.
            (None, None) => Err(SignatureError::PayloadHash),
            (Some(text), digest) => match (STREAMING.iter().find(|(form, _)| *form == text), digest) {
                (Some((_, Some(_))), None) => Ok(text),
                (Some((form, _)), _) => Err(SignatureError::Unsupported(form)),
                (None, None) => Ok(text),
                (None, Some(digest)) if text.eq_ignore_ascii_case(&hex(&digest)) => Ok(text),
                (None, Some(_)) => Err(SignatureError::PayloadHash),
            },
        }
    }

    /// What the request says of its body, for who reads it after the signature was verified.
    ///
    /// # Errors
    /// A form that is not known, or no form at all.
    pub fn content(&self, request: &Request<'_>, rules: Rules) -> Result<Content, SignatureError> {
        let Some(text) = self.claimed(request, rules) else { return Err(SignatureError::PayloadHash) };
        if text == UNSIGNED_PAYLOAD {
            return Ok(Content::Unsigned);
        }
        match STREAMING.iter().find(|(form, _)| *form == text) {
            Some((_, Some(content))) => Ok(*content),
            Some((form, None)) => Err(SignatureError::Unsupported(form)),
            None => unhex(&text).map(Content::Sha256).ok_or(SignatureError::PayloadHash),
        }
    }

    /// What stands for the payload in the request.
    fn claimed<'r>(&self, request: &Request<'r>, rules: Rules) -> Option<Cow<'r, str>> {
        let in_header = request.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
        match (in_header, self.placement) {
            (Some(text), _) => Some(Cow::Borrowed(text)),
            (None, Placement::Query { .. }) => pairs_of(request.query)
                .find(|(name, _)| name.eq_ignore_ascii_case("x-amz-content-sha256"))
                .map(|(_, value)| String::from_utf8_lossy(&decode(value.as_bytes(), true)).into_owned().into())
                .or((rules == Rules::S3).then_some(Cow::Borrowed(UNSIGNED_PAYLOAD))),
            (None, Placement::Header) => None,
        }
    }

    /// S3 demands that every `x-amz-…` header is signed; elsewhere the one that names the operation must be, or a
    /// captured request could be turned into another one.
    fn check_signed_headers(&self, request: &Request<'_>, rules: Rules) -> Result<(), SignatureError> {
        let bound_otherwise = ["x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];
        let mut missing: Vec<&str> = request
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| match rules {
                Rules::Common => *name == "x-amz-target",
                Rules::S3 => name.starts_with("x-amz-") && !bound_otherwise.contains(name),
            })
            .filter(|name| !self.signed_headers.split(';').any(|signed| signed == *name))
            .collect();
        missing.sort_unstable();
        if missing.is_empty() { Ok(()) } else { Err(SignatureError::UnsignedHeaders(missing.join(", "))) }
    }
}

/// `5 min.`, or `90 sec.` when it is no whole number of minutes.
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{} min.", seconds / 60),
        seconds => format!("{seconds} sec."),
    }
}
