//! What a request claims about its signature: read, but not believed yet.

use std::{borrow::Cow, time::Duration};

use base_types::Timestamp;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use sha2::{Digest, Sha256};

use crate::{
    ALGORITHM, Request, SignatureError, TERMINATOR,
    canonical::{decode, pairs_of},
};

/// More signed headers than any client sends.
const SIGNED_HEADERS_MAX: usize = 128;

/// A presigned URL lives a week at most.
const EXPIRES_MAX_SECONDS: u64 = 604_800;

/// Where the signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL, valid for this long after its date when it says so.
    Query {
        /// `X-Amz-Expires`.
        expires: Option<Duration>,
    },
}

/// A signature taken apart.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Header or query.
    pub placement: Placement,
    /// The access key id.
    pub key_id: Cow<'a, str>,
    /// `YYYYMMDD` of the credential scope.
    pub date: Cow<'a, str>,
    /// The region of the credential scope.
    pub region: Cow<'a, str>,
    /// The service's signing name of the credential scope.
    pub service: Cow<'a, str>,
    /// `X-Amz-Security-Token`.
    pub token: Option<Cow<'a, str>>,
    /// When the request says it was signed.
    pub signed_at: Timestamp,
    pub(crate) terminator: Cow<'a, str>,
    pub(crate) signed_headers: Cow<'a, str>,
    pub(crate) signature: Cow<'a, str>,
}

/// What [`Claim::glimpse`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glimpse {
    /// The access key id.
    pub key_id: String,
    /// The region of the scope.
    pub region: String,
    /// The service of the scope.
    pub service: String,
}

impl<'a> Claim<'a> {
    /// Finds the signature of a request and takes it apart.
    ///
    /// # Errors
    /// [`SignatureError::Missing`] when there is none; otherwise what is wrong with its form.
    pub fn read(request: &Request<'a>) -> Result<Self, SignatureError> {
        let mut headers = request.headers.get_all(AUTHORIZATION).iter();
        let presigned = pairs_of(request.query).any(|(name, _)| name == "X-Amz-Algorithm");
        match (headers.next(), headers.next()) {
            (Some(_), _) if presigned => Err(SignatureError::TwoSignatures),
            (Some(_), Some(_)) => Err(SignatureError::Incomplete("Found more than one Authorization header.".into())),
            (Some(value), None) => Self::from_header(value, request.headers),
            (None, _) if presigned => Self::from_query(request.query),
            (None, _) => Err(SignatureError::Missing),
        }
    }

    /// Key id, region and service of the first thing in the request that looks like a credential, however broken the rest
    /// is: for routing, and for the mode that believes everybody. Nothing of it is proven.
    #[must_use]
    pub fn glimpse(request: &Request<'_>) -> Option<Glimpse> {
        let header = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let text = match header.and_then(|text| text.split_once("Credential=")) {
            Some((_, after)) => after.split([',', ' ', '\t']).next().unwrap_or_default().to_owned(),
            None => {
                let (_, value) = pairs_of(request.query).find(|(name, _)| *name == "X-Amz-Credential")?;
                String::from_utf8(decode(value.as_bytes(), true)).ok()?
            }
        };
        let [key_id, _, region, service, _] = split_credential(&text)?;
        Some(Glimpse { key_id: key_id.to_owned(), region: region.to_owned(), service: service.to_owned() })
    }

    /// The credential scope, as it takes part in the signed text.
    #[must_use]
    pub fn scope_text(&self) -> String {
        format!("{}/{}/{}/{}", self.date, self.region, self.service, self.terminator)
    }

    fn from_header(value: &'a HeaderValue, headers: &'a HeaderMap) -> Result<Self, SignatureError> {
        let digest = || BASE64_STANDARD.encode(Sha256::digest(value.as_bytes()));
        let foreign = || SignatureError::ForeignScheme { digest: digest() };
        let text = value.to_str().map_err(|_| foreign())?.trim();
        let (algorithm, parameters) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if !algorithm.starts_with("AWS4-") {
            return Err(foreign());
        }
        check_algorithm(algorithm)?;
        let mut credential = None;
        let mut signed_headers = None;
        let mut signature = None;
        for parameter in parameters.split([',', ' ', '\t']).filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or_else(foreign)?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(SignatureError::Incomplete(format!("Authorization header repeats '{name}'.")));
            }
        }
        let date_text = single(headers, "x-amz-date")?.or(single(headers, "date")?);
        match (credential, signed_headers, signature, date_text) {
            (Some(credential), Some(signed_headers), Some(signature), Some(date_text)) => {
                let parts = Parts {
                    placement: Placement::Header,
                    credential: Cow::Borrowed(credential),
                    signed_headers: Cow::Borrowed(signed_headers),
                    signature: Cow::Borrowed(signature),
                    token: single(headers, "x-amz-security-token")?.map(Cow::Borrowed),
                    signed_at: parse_date(date_text)?,
                };
                parts.into_claim()
            }
            (credential, signed_headers, signature, date_text) => {
                let mut message = String::new();
                for (present, name) in [
                    (credential.is_some(), "Credential"),
                    (signature.is_some(), "Signature"),
                    (signed_headers.is_some(), "SignedHeaders"),
                ] {
                    if !present {
                        message.push_str(&format!("Authorization header requires '{name}' parameter. "));
                    }
                }
                if date_text.is_none() {
                    message.push_str(
                        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
                    );
                }
                message.push_str("(Hashed with SHA-256 and encoded with Base64) Authorization=");
                message.push_str(&digest());
                Err(SignatureError::Incomplete(message))
            }
        }
    }

    fn from_query(query: &'a str) -> Result<Self, SignatureError> {
        let take = |wanted: &str| -> Result<Option<Cow<'a, str>>, SignatureError> {
            let mut found = None;
            for (name, value) in pairs_of(query) {
                if name == wanted {
                    let value = String::from_utf8(decode(value.as_bytes(), true)).map_err(|_| {
                        SignatureError::IncompleteQuery(format!("AWS query-string parameter '{wanted}' is not UTF-8."))
                    })?;
                    if found.replace(Cow::Owned(value)).is_some() {
                        return Err(SignatureError::IncompleteQuery(format!(
                            "AWS query-string parameters must include '{wanted}' only once."
                        )));
                    }
                }
            }
            Ok(found)
        };
        let algorithm = take("X-Amz-Algorithm")?.unwrap_or_default();
        check_algorithm(&algorithm)?;
        let parts = (
            take("X-Amz-Credential")?,
            take("X-Amz-Signature")?,
            take("X-Amz-SignedHeaders")?,
            take("X-Amz-Date")?,
            take("X-Amz-Expires")?,
        );
        let (Some(credential), Some(signature), Some(signed_headers), Some(date), expires) = parts else {
            let mut message = String::new();
            for (present, name) in [
                (parts.0.is_some(), "X-Amz-Credential"),
                (parts.1.is_some(), "X-Amz-Signature"),
                (parts.2.is_some(), "X-Amz-SignedHeaders"),
                (parts.3.is_some(), "X-Amz-Date"),
            ] {
                if !present {
                    message.push_str(&format!("AWS query-string parameters must include '{name}'. "));
                }
            }
            message.push_str("Re-examine the query-string parameters.");
            return Err(SignatureError::MissingQueryParameters(message));
        };
        let expires = match expires.as_deref().map(str::parse::<u64>) {
            None => None,
            Some(Ok(seconds)) if seconds <= EXPIRES_MAX_SECONDS => Some(Duration::from_secs(seconds)),
            Some(Ok(_)) => {
                return Err(SignatureError::IncompleteQuery(
                    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
                     less than 604800 seconds"
                        .into(),
                ));
            }
            Some(Err(_)) => {
                return Err(SignatureError::IncompleteQuery("X-Amz-Expires should be a number".into()));
            }
        };
        let token = take("X-Amz-Security-Token")?;
        let signed_at = parse_date(&date)?;
        let placement = Placement::Query { expires };
        Parts { placement, credential, signed_headers, signature, token, signed_at }.into_claim()
    }
}

struct Parts<'a> {
    placement: Placement,
    credential: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    token: Option<Cow<'a, str>>,
    signed_at: Timestamp,
}

impl<'a> Parts<'a> {
    fn into_claim(self) -> Result<Claim<'a>, SignatureError> {
        if self.signed_headers.split(';').nth(SIGNED_HEADERS_MAX).is_some() {
            return Err(SignatureError::Incomplete(format!(
                "At most {SIGNED_HEADERS_MAX} headers can be signed ('SignedHeaders')."
            )));
        }
        let pieces = match self.credential {
            Cow::Borrowed(text) => split_credential(text).map(|pieces| pieces.map(Cow::Borrowed)),
            Cow::Owned(ref text) => split_credential(text).map(|pieces| pieces.map(|piece| Cow::Owned(piece.into()))),
        };
        let Some([key_id, date, region, service, terminator]) = pieces else {
            return Err(SignatureError::Incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{}'",
                self.credential
            )));
        };
        let Self { placement, signed_headers, signature, token, signed_at, .. } = self;
        Ok(Claim { placement, key_id, date, region, service, token, signed_at, terminator, signed_headers, signature })
    }
}

/// From the right: a key id may hold slashes, the scope may not.
fn split_credential(text: &str) -> Option<[&str; 5]> {
    let mut pieces = text.trim_end_matches('/').rsplitn(5, '/');
    let [terminator, service, region, date, key_id] = std::array::from_fn(|_| pieces.next());
    let (terminator, service, region, date, key_id) = (terminator?, service?, region?, date?, key_id?);
    (!key_id.is_empty() && !key_id.contains('/')).then_some([key_id, date, region, service, terminator])
}

fn check_algorithm(algorithm: &str) -> Result<(), SignatureError> {
    match algorithm {
        ALGORITHM => Ok(()),
        "AWS4-ECDSA-P256-SHA256" => Err(SignatureError::Unsupported("AWS4-ECDSA-P256-SHA256")),
        other => Err(SignatureError::Incomplete(format!("Unsupported AWS 'algorithm': '{other}'."))),
    }
}

/// The only value of a header. Two values of a header that decides who the caller is are an attack or a defect.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(SignatureError::Incomplete(format!("Header '{name}' is not printable ASCII."))),
        },
        (Some(_), Some(_)) => Err(SignatureError::Incomplete(format!("Found more than one '{name}' header."))),
    }
}

fn parse_date(text: &str) -> Result<Timestamp, SignatureError> {
    Timestamp::parse_basic(text).or_else(|_| Timestamp::parse_http_date(text)).map_err(|_| {
        SignatureError::Incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ))
    })
}

/// Whether the scope ends as it must.
pub(crate) fn terminator_problem(claim: &Claim<'_>) -> Option<String> {
    (claim.terminator != TERMINATOR).then(|| {
        format!("Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'. ", claim.terminator)
    })
}
