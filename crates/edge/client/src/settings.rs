//! Where the server is and who asks: the variables that every AWS tool reads.
//!
//! Guarantee: a value that cannot be used is refused here, by the name of its variable.

use base_types::{AccountId, Region};

/// The address that `pileus up` listens on when it is told nothing else.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:4566";

/// An `http` origin, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, IPv6 in brackets, as it appears in the `Host` header.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Only plain `http` origins are spoken.
    #[error("`{0}` is not an endpoint of the form http://host:port")]
    Endpoint(String),
    /// See [`Region`].
    #[error("`{0}` is not a region")]
    Region(String),
}

/// Endpoint, credentials and region.
#[derive(Clone)]
pub struct Settings {
    /// `AWS_ENDPOINT_URL`
    pub endpoint: Endpoint,
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<String>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`, else `us-east-1`
    pub region: Region,
}

impl Endpoint {
    /// Parses `http://host[:port][/]`.
    ///
    /// # Errors
    /// [`InvalidSettings::Endpoint`] for anything else, `https` included.
    pub fn parse(text: &str) -> Result<Self, InvalidSettings> {
        let invalid = || InvalidSettings::Endpoint(text.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| invalid())?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(invalid());
        }
        let authority = uri.authority().ok_or_else(invalid)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(invalid());
        }
        Ok(Self { host: authority.host().to_owned(), port: authority.port_u16().unwrap_or(80) })
    }

    /// `host:port`, as the `Host` header has it.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host without the brackets of an IPv6 address, for a dialler.
    #[must_use]
    pub fn address(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl Settings {
    /// Reads the settings through `variable` (in production: the process environment). An empty value counts as absent.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the value that cannot be used.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSettings> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let endpoint = Endpoint::parse(get("AWS_ENDPOINT_URL").as_deref().unwrap_or(ENDPOINT_DEFAULT))?;
        let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")).unwrap_or_else(|| "us-east-1".to_owned());
        let region = region.parse().map_err(|_| InvalidSettings::Region(region))?;
        Ok(Self {
            endpoint,
            access_key_id: get("AWS_ACCESS_KEY_ID").unwrap_or_else(|| "test".to_owned()),
            secret_access_key: get("AWS_SECRET_ACCESS_KEY").unwrap_or_else(|| "test".to_owned()),
            session_token: get("AWS_SESSION_TOKEN"),
            region,
        })
    }

    /// The account that an open server serves these credentials as: a 12-digit key id is the account.
    #[must_use]
    pub fn open_account(&self) -> Option<AccountId> {
        self.access_key_id.parse().ok()
    }
}

impl std::fmt::Debug for Settings {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_plain_http_origins() {
        let rows = [
            ("http://127.0.0.1:4566", Some(("127.0.0.1", 4566))),
            ("http://localhost", Some(("localhost", 80))),
            ("http://[::1]:9/", Some(("[::1]", 9))),
            ("https://localhost:4566", None),
            ("http://localhost:4566/path", None),
            ("http://user@localhost:4566", None),
            ("localhost:4566", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let got = Endpoint::parse(text).ok().map(|endpoint| (endpoint.host, endpoint.port));
            assert_eq!(got, expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn empty_variables_count_as_absent() {
        let settings = Settings::read(|name| (name == "AWS_REGION").then(String::new)).unwrap();
        assert_eq!(settings.endpoint.to_string(), ENDPOINT_DEFAULT);
        assert_eq!(settings.access_key_id, "test");
        assert_eq!(settings.region.to_string(), "us-east-1");
    }

    #[test]
    fn an_unusable_region_is_named() {
        let refused = Settings::read(|name| (name == "AWS_DEFAULT_REGION").then(|| "no region".to_owned()));
        assert_eq!(refused.unwrap_err().to_string(), "`no region` is not a region");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = Settings::read(|name| (name == "AWS_SECRET_ACCESS_KEY").then(|| "hush".to_owned())).unwrap();
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
