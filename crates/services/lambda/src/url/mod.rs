//! Function URLs: an HTTP request becomes an event, and what the function answers becomes an HTTP response.
//!
//! - [`event`]: payload format 2.0, from a request;
//! - [`reply`]: the response, inferred or spelled out; [`prelude`]: the head of a streamed one;
//! - [`cors`]: cross-origin rules, which are answered here and not by the function.
//!
//! All pure; who serves the listener calls [`crate::Lambda::serve_url`].

pub mod cors;
pub mod event;
pub mod prelude;
pub mod reply;

use minicbor::{Decode, Encode};

use base_types::Timestamp;

/// Alphabet and length of a URL's identifier.
pub const ID_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Length of a URL's identifier.
pub const ID_LENGTH: usize = 32;

/// A function's URL.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FunctionUrl {
    /// The host name's first label.
    #[n(0)]
    pub id: String,
    /// The alias it stands for; `None` for `$LATEST`.
    #[n(1)]
    pub alias: Option<String>,
    /// Whether callers must sign (`AWS_IAM`), or anybody may call (`NONE`).
    #[n(2)]
    pub signed: bool,
    /// Cross-origin rules.
    #[n(3)]
    pub cors: Option<cors::Rules>,
    /// Whether the function streams (`RESPONSE_STREAM`).
    #[n(4)]
    pub streamed: bool,
    /// When it was created.
    #[n(5)]
    pub created: Timestamp,
    /// When it was changed last.
    #[n(6)]
    pub modified: Timestamp,
}

/// Where function URLs live, for the answers that hold one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlBase {
    /// `http` or `https`.
    pub scheme: String,
    /// What follows `<id>.lambda-url.<region>.`: `localhost`.
    pub domain: String,
    /// The port, unless it is the scheme's own.
    pub port: Option<u16>,
}

impl UrlBase {
    /// `<id>.lambda-url.<region>.localhost:4566`.
    #[must_use]
    pub fn authority(&self, id: &str, region: &str) -> String {
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{id}.lambda-url.{region}.{}{port}", self.domain)
    }

    /// `http://<id>.lambda-url.<region>.localhost:4566/`.
    #[must_use]
    pub fn url(&self, id: &str, region: &str) -> String {
        format!("{}://{}/", self.scheme, self.authority(id, region))
    }
}

/// The identifier and region in a host name such as `<id>.lambda-url.<region>.localhost`, whatever its domain and port.
#[must_use]
pub fn parse_host(host: &str) -> Option<(&str, &str)> {
    let mut labels = host.split('.');
    let (id, service, region) = (labels.next()?, labels.next()?, labels.next()?);
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (service == "lambda-url" && is_id && labels.next().is_some()).then_some((id, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_written_and_read_back() {
        let base = UrlBase { scheme: "http".into(), domain: "localhost".into(), port: Some(4566) };
        let id = "abcdefghijklmnopqrstuvwxyz234567";
        assert_eq!(base.url(id, "eu-west-1"), format!("http://{id}.lambda-url.eu-west-1.localhost:4566/"));
        assert_eq!(parse_host(&base.authority(id, "eu-west-1")), Some((id, "eu-west-1")));
        for host in ["localhost:4566", "x.lambda-url.eu-west-1.localhost", &format!("{id}.lambda-url.eu-west-1")] {
            assert_eq!(parse_host(host), None, "{host}");
        }
    }
}
