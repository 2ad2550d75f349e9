//! Pages of other origins: what a bucket's rules permit them. Pure, but for reading the rules.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use model_s3::{AccessForbidden, CORSConfiguration, CORSRule, Error};

use crate::{
    S3, access,
    error::{malformed_xml, text},
    ops::configurations::{kinds, read},
};

const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];
const RULES_MAX: usize = 100;

/// Whether a configuration can be taken.
pub(crate) fn check(configuration: &CORSConfiguration) -> Result<(), Error> {
    let rules = &configuration.cors_rules;
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed_xml());
    }
    for rule in rules {
        if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(malformed_xml());
        }
        if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(Error::invalid_request(format!(
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            )));
        }
        let stars = |text: &String| text.matches('*').count();
        if let Some(origin) = rule.allowed_origins.iter().find(|origin| stars(origin) > 1) {
            return Err(Error::invalid_request(format!(
                "AllowedOrigin \"{origin}\" can not have more than one wildcard."
            )));
        }
        if let Some(name) = rule.allowed_headers.iter().flatten().find(|name| stars(name) > 1) {
            return Err(Error::invalid_request(format!(
                "AllowedHeader \"{name}\" can not have more than one wildcard."
            )));
        }
    }
    Ok(())
}

/// Whether a pattern with at most one star fits.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
    }
}

/// What a page asks for.
struct Ask<'a> {
    origin: &'a str,
    method: &'a str,
    headers: Vec<String>,
}

/// The headers that permit it; `None` when no rule does.
fn permit(rules: &[CORSRule], ask: &Ask<'_>, preflight: bool) -> Option<Vec<(HeaderName, String)>> {
    let rule = rules.iter().find(|rule| {
        let header_allowed = |name: &String| {
            rule.allowed_headers.iter().flatten().any(|pattern| fits(&pattern.to_ascii_lowercase(), name))
        };
        rule.allowed_origins.iter().any(|pattern| fits(pattern, ask.origin))
            && rule.allowed_methods.iter().any(|method| method == ask.method)
            && ask.headers.iter().all(header_allowed)
    })?;
    let everybody = rule.allowed_origins.iter().any(|origin| origin == "*");
    let mut headers = vec![
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, if everybody { "*".to_owned() } else { ask.origin.to_owned() }),
        (header::ACCESS_CONTROL_ALLOW_METHODS, rule.allowed_methods.join(", ")),
    ];
    if !everybody {
        headers.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned()));
    }
    if preflight && !ask.headers.is_empty() {
        headers.push((header::ACCESS_CONTROL_ALLOW_HEADERS, ask.headers.join(", ")));
    }
    if let Some(exposed) = rule.expose_headers.as_ref().filter(|exposed| !exposed.is_empty()) {
        headers.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.join(", ")));
    }
    if let Some(seconds) = rule.max_age_seconds {
        headers.push((header::ACCESS_CONTROL_MAX_AGE, seconds.to_string()));
    }
    headers.push((header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned()));
    Some(headers)
}

/// What is to be said to a browser.
pub struct Preflight(Vec<(HeaderName, String)>);

impl Preflight {
    /// Adds its headers to an answer's.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

impl S3 {
    /// Answers a preflight for what lies at `path` (`/bucket/key`).
    ///
    /// # Errors
    /// AWS's, when the bucket does not permit it.
    pub async fn preflight(&self, path: &str, headers: &HeaderMap) -> Result<Preflight, Error> {
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(origin) = value("origin") else {
            return Err(Error::bad_request("Insufficient information. Origin request header needed."));
        };
        let Some(method) = value("access-control-request-method") else {
            return Err(Error::bad_request("Invalid Access-Control-Request-Method: null"));
        };
        let asked = value("access-control-request-headers").unwrap_or_default();
        let asked = asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        let ask = Ask { origin, method, headers: asked.collect() };
        let (bucket, key) = split(path);
        let resource = if key.is_empty() { "BUCKET" } else { "OBJECT" };
        let refuse = |message: &str, method: &str, resource: &str| {
            Error::from(AccessForbidden { message: text(message), method: text(method), resource_type: text(resource) })
        };
        match self.rules(bucket).await? {
            Rules::NoBucket => Err(refuse("CORSResponse: Bucket not found", "OPTIONS", "BUCKET")),
            Rules::None => Err(refuse("CORSResponse: CORS is not enabled for this bucket.", "OPTIONS", "BUCKET")),
            Rules::Some(rules) => permit(&rules, &ask, true).map(Preflight).ok_or_else(|| {
                refuse(
                    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                     request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted \
                     by the resource's CORS spec.",
                    method,
                    resource,
                )
            }),
        }
    }

    /// What is to be added to the answer to a page's request; `None` when the bucket's rules do not permit it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn cors(&self, path: &str, method: &Method, headers: &HeaderMap) -> Result<Option<Preflight>, Error> {
        let Some(origin) = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()) else { return Ok(None) };
        let ask = Ask { origin, method: method.as_str(), headers: Vec::new() };
        match self.rules(split(path).0).await? {
            Rules::Some(rules) => Ok(permit(&rules, &ask, false).map(Preflight)),
            Rules::None | Rules::NoBucket => Ok(None),
        }
    }

    async fn rules(&self, bucket: &str) -> Result<Rules, Error> {
        let bucket = bucket.to_owned();
        self.store
            .view(move |tx| {
                let found = match access::look(tx, &bucket, None) {
                    Ok(found) => found,
                    Err(Error::NoSuchBucket(_)) => return Ok(Rules::NoBucket),
                    Err(error) => return Err(error),
                };
                if !found.bucket.cors {
                    return Ok(Rules::None);
                }
                let rules: Option<CORSConfiguration> = read(tx, found.bucket.id, kinds::CORS, "")?;
                Ok(rules.map_or(Rules::None, |rules| Rules::Some(rules.cors_rules)))
            })
            .await
    }
}

enum Rules {
    NoBucket,
    None,
    Some(Vec<CORSRule>),
}

fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_permits() {
        let rule = |origins: &[&str], methods: &[&str], headers: &[&str]| CORSRule {
            allowed_origins: origins.iter().map(|text| (*text).to_owned()).collect(),
            allowed_methods: methods.iter().map(|text| (*text).to_owned()).collect(),
            allowed_headers: Some(headers.iter().map(|text| (*text).to_owned()).collect()),
            ..CORSRule::default()
        };
        let rules =
            [rule(&["https://*.example.com"], &["PUT"], &["x-amz-*", "Content-Type"]), rule(&["*"], &["GET"], &[])];
        for (origin, method, headers, expected) in [
            ("https://a.example.com", "PUT", &[][..], Some("https://a.example.com")),
            ("https://a.example.com", "PUT", &["x-amz-meta-a", "content-type"], Some("https://a.example.com")),
            ("https://a.example.com", "PUT", &["authorization"], None),
            ("https://example.com", "PUT", &[], None),
            ("https://evil.com", "GET", &[], Some("*")),
            ("https://evil.com", "DELETE", &[], None),
        ] {
            let ask = Ask { origin, method, headers: headers.iter().map(|name| (*name).to_owned()).collect() };
            let permitted = permit(&rules, &ask, true);
            let allowed = permitted.as_ref().and_then(|headers| headers.first()).map(|(_, value)| value.as_str());
            assert_eq!(allowed, expected, "{origin} {method} {headers:?}");
        }
    }
}
