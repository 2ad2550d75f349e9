//! Host names and browsers: who may address us, and from where.
//!
//! A web page in the user's browser can send requests to a loopback server. Two checks stop it: the `Host` must be one of
//! ours (against names that an attacker points at 127.0.0.1), and what a browser marks as another origin's is refused
//! everywhere but at function URLs.

use std::net::IpAddr;

use base_types::Region;
use http::{HeaderMap, header};

use crate::{Settings, refusal::Refusal};

/// Names that always mean this machine, with everything below them.
const LOOPBACK_NAMES: [&str; 2] = ["localhost", "localhost.localstack.cloud"];

/// What a `Host` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Lower case, without the port.
    pub(crate) name: String,
    /// What stands before the served name, for example `sqs.us-east-1`.
    pub(crate) labels: String,
}

impl Host {
    /// Checks a request's `Host`. `loopback` says whether the connection came over the loopback interface.
    pub(crate) fn read(headers: &HeaderMap, settings: &Settings, loopback: bool) -> Result<Self, Refusal> {
        let mut values = headers.get_all(header::HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::new(400, "BadRequest", "The request must have exactly one `Host` header."));
        };
        let name = value.to_str().ok().and_then(without_port).map(str::to_ascii_lowercase).unwrap_or_default();
        let name = name.trim_end_matches('.');
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            // An address cannot be pointed elsewhere by DNS; over loopback only loopback addresses make sense.
            if address.to_canonical().is_loopback() || !loopback {
                return Ok(Self { name: name.to_owned(), labels: String::new() });
            }
        } else {
            let domains = settings.domains.iter().map(String::as_str);
            for served in LOOPBACK_NAMES.into_iter().chain(domains) {
                if let Some(labels) = labels_before(name, served) {
                    return Ok(Self { name: name.to_owned(), labels: labels.to_owned() });
                }
            }
        }
        Err(Refusal::new(
            421,
            "MisdirectedRequest",
            format!(
                "`{}` is not a host name that is served here. Served are loopback addresses, `localhost`, names below \
                 it, and configured domains (`--domain`).",
                name.chars().take(255).collect::<String>()
            ),
        ))
    }

    /// The identifier and region when this is a function URL's host.
    pub(crate) fn function_url(&self) -> Option<(&str, Region)> {
        let mut labels = self.labels.split('.');
        let (id, kind, region) = (labels.next()?, labels.next()?, labels.next()?);
        let url = kind == "lambda-url" && labels.next().is_none() && is_url_id(id);
        if url { Some((id, region.parse().ok()?)) } else { None }
    }

    /// The first label and the region of a service's host name: `sqs.us-east-1.localhost`; and of the older names of
    /// queues, `queue.localhost` and `eu-west-1.queue.localhost`.
    pub(crate) fn service(&self) -> (Option<&str>, Option<Region>) {
        let mut labels = self.labels.split('.').filter(|label| !label.is_empty());
        match (labels.next(), labels.next()) {
            (Some("queue"), _) => (Some("sqs"), None),
            (Some(region), Some("queue")) => (Some("sqs"), region.parse().ok()),
            (first, second) => (first, second.and_then(|label| label.parse().ok())),
        }
    }
}

/// Whether this can be a function URL's identifier.
pub(crate) fn is_url_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// `None` when the port is no port.
fn without_port(text: &str) -> Option<&str> {
    let (name, port) = match text.rfind(']') {
        Some(end) => (text.get(..=end)?, text.get(end + 1..)?),
        None => text.split_once(':').map_or((text, ""), |(name, _)| (name, text.get(name.len()..).unwrap_or(""))),
    };
    let valid = port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok());
    (valid && !name.is_empty()).then_some(name)
}

/// What stands before `served` in `name`: empty when they are equal.
fn labels_before<'a>(name: &'a str, served: &str) -> Option<&'a str> {
    let before = name.strip_suffix(served)?;
    if before.is_empty() { Some("") } else { before.strip_suffix('.').filter(|labels| !labels.is_empty()) }
}

/// Refuses what a browser sends for a page. Pages of our own origin are refused too: a function's page, reached by the path
/// form of its URL, shares it. What the user types into the address line passes.
pub(crate) fn refuse_pages(headers: &HeaderMap, settings: &Settings) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = text("origin");
    let opened = origin.is_some_and(|origin| settings.origins.iter().any(|known| known == origin));
    let marked = origin.is_some() || text("sec-fetch-site").is_some_and(|site| site != "none");
    if opened || !marked {
        return Ok(());
    }
    Err(Refusal::new(
        403,
        "CrossOriginRequest",
        "Web pages cannot call this endpoint: the request carries a browser's mark of a page (`Origin` or \
         `Sec-Fetch-Site`). Function URLs can be called from pages, by their own CORS rules.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_host_name_tells_service_and_region() {
        for (labels, service, region) in [
            ("", None, None),
            ("sqs", Some("sqs"), None),
            ("sqs.eu-west-1", Some("sqs"), Some("eu-west-1")),
            ("queue", Some("sqs"), None),
            ("eu-west-1.queue", Some("sqs"), Some("eu-west-1")),
        ] {
            let host = Host { name: String::new(), labels: labels.to_owned() };
            let (found, place) = host.service();
            assert_eq!((found, place.map(|region| region.to_string()).as_deref()), (service, region), "{labels}");
        }
    }

    #[test]
    fn only_our_host_names_are_served() {
        let mut settings = Settings::open("0");
        settings.domains.push("cloud.example.com".into());
        for (host, labels) in [
            ("localhost:4566", Some("")),
            ("LOCALHOST", Some("")),
            ("localhost.", Some("")),
            ("127.0.0.1:4566", Some("")),
            ("127.9.9.9", Some("")),
            ("[::1]:4566", Some("")),
            ("sqs.us-east-1.localhost:4566", Some("sqs.us-east-1")),
            ("x.lambda-url.eu-west-1.localhost.localstack.cloud:4566", Some("x.lambda-url.eu-west-1")),
            ("cloud.example.com", Some("")),
            ("a.cloud.example.com:80", Some("a")),
            ("example.com", None),
            ("evil.com", None),
            ("notlocalhost", None),
            ("localhost.evil.com", None),
            (".localhost", None),
            ("192.168.1.1", None),
            ("10.0.0.1:4566", None),
            ("localhost:port", None),
            ("localhost:1:2", None),
            ("[::1]x", None),
            ("", None),
            ("localhost@evil.com", None),
        ] {
            let read = Host::read(&headers(&[("host", host)]), &settings, true);
            assert_eq!(read.ok().map(|host| host.labels).as_deref(), labels, "{host}");
        }
        assert!(Host::read(&headers(&[]), &settings, true).is_err());
        assert!(Host::read(&headers(&[("host", "localhost"), ("host", "localhost")]), &settings, true).is_err());
        assert!(Host::read(&headers(&[("host", "192.168.1.1")]), &settings, false).is_ok());
    }

    #[test]
    fn function_urls_are_recognised_by_their_host() {
        let settings = Settings::open("0");
        for (host, expected) in [
            ("abc123.lambda-url.us-east-1.localhost:4566", Some(("abc123", "us-east-1"))),
            ("abc.lambda-url.localhost", None),
            ("a.b.lambda-url.us-east-1.localhost", None),
            ("a_b.lambda-url.us-east-1.localhost", None),
            ("lambda.us-east-1.localhost", None),
            ("localhost", None),
        ] {
            let host_read = Host::read(&headers(&[("host", host)]), &settings, true).unwrap();
            let found = host_read.function_url();
            assert_eq!(found.as_ref().map(|(id, region)| (*id, region.as_str())), expected, "{host}");
        }
    }

    #[test]
    fn pages_are_refused_and_the_address_line_passes() {
        let mut settings = Settings::open("0");
        settings.origins.push("app://tool".into());
        for (pairs, passes) in [
            (&[][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("origin", "http://localhost:4566")], false),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://evil.com"), ("sec-fetch-site", "none")], false),
            (&[("origin", "app://tool"), ("sec-fetch-site", "cross-site")], true),
        ] {
            assert_eq!(refuse_pages(&headers(pairs), &settings).is_ok(), passes, "{pairs:?}");
        }
    }
}
