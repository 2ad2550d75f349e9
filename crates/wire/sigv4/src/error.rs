//! Why a signature was refused, and how AWS says it in each protocol.

use std::borrow::Cow;

/// The refusal of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureError {
    /// The request carries no signature.
    Missing,
    /// An `Authorization` header of another scheme; holds the digest of it that AWS's answer shows.
    ForeignScheme {
        /// Base64 of the header's SHA-256.
        digest: String,
    },
    /// The header and the query both carry a signature.
    TwoSignatures,
    /// The signature lacks parts or does not parse; holds AWS's message.
    Incomplete(String),
    /// The query of a presigned URL lacks parts or does not parse; holds AWS's message.
    IncompleteQuery(String),
    /// A presigned URL lacks parameters; holds AWS's message.
    MissingQueryParameters(String),
    /// A signature of version 2 in a query lacks parts.
    MissingLegacyParameters,
    /// The signature parses but cannot be valid (scope, clock, `host` not signed); holds AWS's message.
    Invalid(String),
    /// The time of signing is too far from ours; holds AWS's message.
    Skewed(String),
    /// A presigned URL's time is over; holds AWS's message.
    PresignedExpired(String),
    /// Headers that must be signed are not; holds their names.
    UnsignedHeaders(String),
    /// The signature is not the one that the secret gives.
    Mismatch,
    /// The `x-amz-content-sha256` header is not the payload's hash.
    PayloadHash,
    /// Nobody has this access key.
    UnknownKey,
    /// The session token does not belong to the key, or is missing, or there is one where none is due.
    InvalidToken,
    /// The session is over.
    ExpiredToken,
    /// A form of signature that is not supported; holds its name.
    Unsupported(&'static str),
}

/// The families of protocols: each has its own codes for the same refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `json-1.0`, `json-1.1`: codes end in `Exception`, status 400.
    Json,
    /// `rest-json`: codes end in `Exception`, status 403.
    RestJson,
    /// `query`: codes without a suffix, status 403.
    Query,
    /// S3.
    S3,
}

/// A refusal in the words of one protocol family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// AWS's error code.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// AWS's message.
    pub message: Cow<'static, str>,
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";
const MISMATCH_S3: &str = "The request signature we calculated does not match the signature you provided. Check your \
                           key and signing method.";
const MISSING_S3: &str = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                          X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
const MISSING_LEGACY: &str =
    "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters";
const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
const EXPIRED_TOKEN: &str = "The security token included in the request is expired";
const TWO_SIGNATURES: &str = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";

impl SignatureError {
    /// The refusal as the given family of protocols words it.
    #[must_use]
    pub fn describe(&self, family: Family) -> Denial {
        match family {
            Family::S3 => self.describe_s3(),
            Family::Json | Family::RestJson | Family::Query => self.describe_common(family),
        }
    }

    fn describe_common(&self, family: Family) -> Denial {
        let query = family == Family::Query;
        let status = if family == Family::Json { 400 } else { 403 };
        let pick = |bare, suffixed| if query { bare } else { suffixed };
        let invalid = pick("SignatureDoesNotMatch", "InvalidSignatureException");
        let incomplete = pick("IncompleteSignature", "IncompleteSignatureException");
        let missing = pick("MissingAuthenticationToken", "MissingAuthenticationTokenException");
        let unrecognized = pick("InvalidClientTokenId", "UnrecognizedClientException");
        let denial = |code, message: Cow<'static, str>| Denial { code, status, message };
        match self {
            Self::Missing if family == Family::RestJson => denial(missing, "Missing Authentication Token".into()),
            Self::ForeignScheme { digest } if family == Family::RestJson => denial(incomplete, foreign(digest).into()),
            Self::Missing | Self::ForeignScheme { .. } => {
                denial(missing, "Request is missing Authentication Token".into())
            }
            Self::TwoSignatures => denial(invalid, TWO_SIGNATURES.into()),
            Self::Incomplete(message) | Self::IncompleteQuery(message) | Self::MissingQueryParameters(message) => {
                let status = if family == Family::RestJson { 403 } else { 400 };
                Denial { code: incomplete, status, message: message.clone().into() }
            }
            Self::Invalid(message) | Self::Skewed(message) | Self::PresignedExpired(message) => {
                denial(invalid, message.clone().into())
            }
            Self::MissingLegacyParameters => denial(incomplete, MISSING_LEGACY.into()),
            Self::UnsignedHeaders(names) => denial(invalid, unsigned(names).into()),
            Self::Mismatch | Self::PayloadHash => denial(invalid, MISMATCH.into()),
            Self::UnknownKey | Self::InvalidToken => denial(unrecognized, INVALID_TOKEN.into()),
            Self::ExpiredToken => denial(pick("ExpiredToken", "ExpiredTokenException"), EXPIRED_TOKEN.into()),
            Self::Unsupported(form) => denial(incomplete, unsupported(form).into()),
        }
    }

    fn describe_s3(&self) -> Denial {
        let denial = |code, status, message: Cow<'static, str>| Denial { code, status, message };
        match self {
            Self::Missing => denial("AccessDenied", 403, "Access Denied".into()),
            Self::ForeignScheme { .. } => denial("InvalidArgument", 400, "Unsupported Authorization Type".into()),
            Self::TwoSignatures => denial(
                "InvalidArgument",
                400,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified"
                    .into(),
            ),
            Self::Incomplete(message) => denial("AuthorizationHeaderMalformed", 400, message.clone().into()),
            Self::IncompleteQuery(message) => denial("AuthorizationQueryParametersError", 400, message.clone().into()),
            Self::MissingQueryParameters(_) => denial("AuthorizationQueryParametersError", 400, MISSING_S3.into()),
            Self::MissingLegacyParameters => denial("AccessDenied", 403, MISSING_LEGACY.into()),
            Self::Invalid(message) => denial("AuthorizationHeaderMalformed", 400, message.clone().into()),
            Self::Skewed(_) => denial(
                "RequestTimeTooSkewed",
                403,
                "The difference between the request time and the current time is too large.".into(),
            ),
            Self::PresignedExpired(_) => denial("AccessDenied", 403, "Request has expired".into()),
            Self::UnsignedHeaders(_) => {
                denial("AccessDenied", 403, "There were headers present in the request which were not signed".into())
            }
            Self::Mismatch => denial("SignatureDoesNotMatch", 403, MISMATCH_S3.into()),
            Self::PayloadHash => denial(
                "XAmzContentSHA256Mismatch",
                400,
                "The provided 'x-amz-content-sha256' header does not match what was computed.".into(),
            ),
            Self::UnknownKey => denial(
                "InvalidAccessKeyId",
                403,
                "The AWS Access Key Id you provided does not exist in our records.".into(),
            ),
            Self::InvalidToken => {
                denial("InvalidToken", 400, "The provided token is malformed or otherwise invalid.".into())
            }
            Self::ExpiredToken => denial("ExpiredToken", 400, "The provided token has expired.".into()),
            Self::Unsupported(form) => denial("NotImplemented", 501, unsupported(form).into()),
        }
    }
}

fn foreign(digest: &str) -> String {
    format!(
        "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with \
         Base64): '{digest}'."
    )
}

fn unsigned(names: &str) -> String {
    format!("There were headers present in the request which were not signed: {names}.")
}

fn unsupported(form: &str) -> String {
    format!("`{form}` is not supported here.")
}

impl std::fmt::Display for SignatureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe(Family::RestJson).message)
    }
}

impl std::error::Error for SignatureError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_own_words() {
        for (error, family, code, status) in [
            (SignatureError::Missing, Family::Json, "MissingAuthenticationTokenException", 400),
            (SignatureError::Missing, Family::RestJson, "MissingAuthenticationTokenException", 403),
            (SignatureError::Missing, Family::Query, "MissingAuthenticationToken", 403),
            (SignatureError::Missing, Family::S3, "AccessDenied", 403),
            (SignatureError::Mismatch, Family::Json, "InvalidSignatureException", 400),
            (SignatureError::Mismatch, Family::RestJson, "InvalidSignatureException", 403),
            (SignatureError::Mismatch, Family::Query, "SignatureDoesNotMatch", 403),
            (SignatureError::Mismatch, Family::S3, "SignatureDoesNotMatch", 403),
            (SignatureError::UnknownKey, Family::RestJson, "UnrecognizedClientException", 403),
            (SignatureError::UnknownKey, Family::Query, "InvalidClientTokenId", 403),
            (SignatureError::ExpiredToken, Family::Query, "ExpiredToken", 403),
            (SignatureError::ExpiredToken, Family::Json, "ExpiredTokenException", 400),
            (SignatureError::Incomplete(String::new()), Family::Query, "IncompleteSignature", 400),
        ] {
            let denial = error.describe(family);
            assert_eq!((denial.code, denial.status), (code, status), "{error:?} {family:?}");
        }
    }
}
