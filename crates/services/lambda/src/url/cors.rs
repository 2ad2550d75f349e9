//! Cross-origin rules of a function URL. With rules, preflight requests are answered here; the function never sees them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use minicbor::{Decode, Encode};

/// `Cors` of a function URL. An empty list means that the member was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rules {
    /// Whether cookies and the like may be sent.
    #[n(0)]
    pub allow_credentials: Option<bool>,
    /// Header fields that a page may send; `*` for all.
    #[n(1)]
    pub allow_headers: Option<Vec<String>>,
    /// Methods that a page may use; `*` for all.
    #[n(2)]
    pub allow_methods: Option<Vec<String>>,
    /// Origins that may call; `*` for all, `https://*.example.com` for all below.
    #[n(3)]
    pub allow_origins: Option<Vec<String>>,
    /// Header fields that a page may read.
    #[n(4)]
    pub expose_headers: Option<Vec<String>>,
    /// How long a browser may remember a preflight's answer.
    #[n(5)]
    pub max_age_seconds: Option<u32>,
}

impl Rules {
    /// The answer to a preflight request; `None` for any other request.
    #[must_use]
    pub fn preflight(&self, method: &Method, fields: &HeaderMap) -> Option<Response<Bytes>> {
        let asked = fields.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::OK;
        let origin = self.allowed_origin(fields);
        let method_allowed = asked.to_str().is_ok_and(|asked| allows(self.allow_methods.as_deref(), asked, false));
        if let Some(origin) = origin.filter(|_| method_allowed) {
            let out = response.headers_mut();
            self.put_common(out, &origin);
            put(out, header::ACCESS_CONTROL_ALLOW_METHODS, self.allow_methods.as_deref());
            match (self.allow_headers.as_deref(), fields.get(header::ACCESS_CONTROL_REQUEST_HEADERS)) {
                // A literal `*` would not cover requests with credentials.
                (Some(list), Some(asked)) if list.iter().any(|allowed| allowed == "*") => {
                    out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
                }
                (list, _) => put(out, header::ACCESS_CONTROL_ALLOW_HEADERS, list),
            }
            if let Some(seconds) = self.max_age_seconds {
                out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
            }
        }
        Some(response)
    }

    /// Puts the rules' header fields onto the function's answer; they take the place of its own.
    pub fn apply(&self, request: &HeaderMap, response: &mut HeaderMap) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            response.remove(name);
        }
        if let Some(origin) = self.allowed_origin(request) {
            self.put_common(response, &origin);
            put(response, header::ACCESS_CONTROL_EXPOSE_HEADERS, self.expose_headers.as_deref());
        }
    }

    fn put_common(&self, out: &mut HeaderMap, origin: &HeaderValue) {
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if origin != "*" {
            out.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if self.allow_credentials == Some(true) {
            out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// What `Access-Control-Allow-Origin` says to this request, if its origin may call.
    fn allowed_origin(&self, fields: &HeaderMap) -> Option<HeaderValue> {
        let origin = fields.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?;
        if !allows(self.allow_origins.as_deref(), text, true) {
            return None;
        }
        let everybody = self.allow_origins.as_ref().is_some_and(|list| list.iter().any(|allowed| allowed == "*"));
        Some(if everybody && self.allow_credentials != Some(true) {
            HeaderValue::from_static("*")
        } else {
            origin.clone()
        })
    }
}

fn put(out: &mut HeaderMap, name: HeaderName, list: Option<&[String]>) {
    if let Some(value) =
        list.filter(|list| !list.is_empty()).and_then(|list| HeaderValue::from_str(&list.join(",")).ok())
    {
        out.insert(name, value);
    }
}

/// Whether a list names the text: `*` names all, and in origins it may stand for a part.
fn allows(list: Option<&[String]>, text: &str, in_part: bool) -> bool {
    list.unwrap_or_default().iter().any(|allowed| match allowed.split_once('*') {
        Some(("", "")) => true,
        Some((before, after)) if in_part => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
        _ => allowed.eq_ignore_ascii_case(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(origins: &[&str], credentials: bool) -> Rules {
        let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect());
        Rules {
            allow_credentials: Some(credentials),
            allow_headers: list(&["x-custom"]),
            allow_methods: list(&["GET", "POST"]),
            allow_origins: list(origins),
            expose_headers: list(&["x-seen"]),
            max_age_seconds: Some(300),
        }
    }

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_preflight_is_answered_by_the_rules() {
        for (origins, credentials, origin, method, expected) in [
            (&["https://a.example"][..], true, "https://a.example", "POST", Some("https://a.example")),
            (&["https://a.example"], true, "https://b.example", "POST", None),
            (&["*"], false, "https://b.example", "GET", Some("*")),
            (&["*"], true, "https://b.example", "GET", Some("https://b.example")),
            (&["https://*.example"], false, "https://b.example", "GET", Some("https://b.example")),
            (&["https://*.example"], false, "https://example", "GET", None),
            (&["*"], false, "https://b.example", "DELETE", None),
        ] {
            let request = fields(&[("origin", origin), ("access-control-request-method", method)]);
            let answer = rules(origins, credentials).preflight(&Method::OPTIONS, &request).unwrap();
            let allowed = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(allowed, expected, "{origins:?} {origin} {method}");
            assert_eq!(answer.headers().contains_key("access-control-max-age"), expected.is_some());
        }
        let plain = fields(&[("origin", "https://a.example")]);
        assert!(rules(&["*"], false).preflight(&Method::OPTIONS, &plain).is_none());
        let asked = fields(&[("origin", "https://a.example"), ("access-control-request-method", "GET")]);
        assert!(rules(&["*"], false).preflight(&Method::GET, &asked).is_none());
    }

    #[test]
    fn an_answer_carries_the_rules_and_not_the_functions_own() {
        let mut answer = fields(&[("access-control-allow-origin", "https://evil.example")]);
        rules(&["https://a.example"], false).apply(&fields(&[("origin", "https://b.example")]), &mut answer);
        assert!(answer.is_empty());
        rules(&["https://a.example"], false).apply(&fields(&[("origin", "https://a.example")]), &mut answer);
        assert_eq!(answer["access-control-allow-origin"], "https://a.example");
        assert_eq!(answer["access-control-expose-headers"], "x-seen");
        assert!(!answer.contains_key("access-control-allow-credentials"));
    }
}
