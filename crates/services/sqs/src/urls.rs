//! The addresses of queues: the forms in which emulators of AWS give them and clients send them back.
//!
//! Every form is understood at any time, whatever is given: an address names a queue by the last two parts of its path.
//! All of them are built on the host by which the client that asks reached us, so that they hold for it.

use base_types::{AccountId, Region};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use services_kernel::Cx;

use crate::names::QueueName;

/// In which form addresses are given (`SQS_ENDPOINT_STRATEGY` as users of emulators know it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UrlForm {
    /// `http://HOST/ACCOUNT/NAME`, on whatever host the client used.
    #[default]
    Dynamic,
    /// `http://HOST/queue/REGION/ACCOUNT/NAME`.
    Path,
    /// `http://REGION.queue.HOST/ACCOUNT/NAME`; without the region in us-east-1.
    Domain,
    /// `http://sqs.REGION.HOST/ACCOUNT/NAME`, as AWS has it.
    Standard,
}

impl UrlForm {
    /// The address of a queue for the client that asks.
    pub(crate) fn url(self, cx: &Cx, queue: &QueueName) -> String {
        let QueueName { account, name } = queue;
        let (scheme, host) = cx.endpoint.split_once("://").unwrap_or(("http", &cx.endpoint));
        let region = cx.region.as_str();
        let plain = plain(host);
        // Before a number nothing can stand that a resolver would take for a name.
        let named = !is_address(plain);
        match self {
            Self::Path => format!("{scheme}://{host}/queue/{region}/{account}/{name}"),
            Self::Domain if named && region == "us-east-1" => format!("{scheme}://queue.{plain}/{account}/{name}"),
            Self::Domain if named => format!("{scheme}://{region}.queue.{plain}/{account}/{name}"),
            Self::Standard if named => format!("{scheme}://sqs.{region}.{plain}/{account}/{name}"),
            Self::Dynamic | Self::Domain | Self::Standard => format!("{scheme}://{host}/{account}/{name}"),
        }
    }
}

/// The host without what these forms put before it.
fn plain(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix("queue.") {
        return rest;
    }
    match host.splitn(3, '.').collect::<Vec<_>>().as_slice() {
        ["sqs", region, rest] if is_region(region) => rest,
        [region, "queue", rest] if is_region(region) => rest,
        _ => host,
    }
}

fn is_region(label: &str) -> bool {
    label.contains('-') && label.parse::<Region>().is_ok()
}

fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok()
}

/// A form sent to a queue's own address need not repeat it: this adds the parameter. Answers the region, too, if the path
/// names one.
#[must_use]
pub fn complete_form(path: &str, query: Option<&str>, body: Bytes) -> (Bytes, Option<Region>) {
    let mut parts = path.trim_matches('/').rsplit('/');
    let (Some(name), Some(account)) = (parts.next(), parts.next()) else { return (body, None) };
    if account.parse::<AccountId>().is_err() {
        return (body, None);
    }
    let region = match (parts.next(), parts.next()) {
        (Some(region), Some("queue")) => region.parse().ok(),
        _ => None,
    };
    let names = |text: &[u8]| text.split(|byte| *byte == b'&').any(|pair| pair.starts_with(b"QueueUrl="));
    if names(&body) || query.is_some_and(|query| names(query.as_bytes())) {
        return (body, region);
    }
    let joint = if body.is_empty() { "" } else { "&" };
    let path = format!("/{account}/{name}");
    let added = format!("{joint}QueueUrl={}", utf8_percent_encode(&path, NON_ALPHANUMERIC));
    ([&body[..], added.as_bytes()].concat().into(), region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_built_on_the_host_that_was_asked() {
        let cx = |host: &str, region: &str| {
            let mut cx = Cx::internal(AccountId::DEFAULT, region.parse().unwrap(), "r");
            cx.endpoint = format!("http://{host}").into();
            cx
        };
        let q = |cx: &Cx, form: UrlForm| form.url(cx, &QueueName::own(cx, "q")).replace("000000000000", "A");
        for (host, region, form, expected) in [
            ("127.0.0.1:4566", "us-east-1", UrlForm::Dynamic, "http://127.0.0.1:4566/A/q"),
            ("127.0.0.1:4566", "us-east-1", UrlForm::Domain, "http://127.0.0.1:4566/A/q"),
            ("[::1]:4566", "us-east-1", UrlForm::Standard, "http://[::1]:4566/A/q"),
            ("127.0.0.1:4566", "eu-west-1", UrlForm::Path, "http://127.0.0.1:4566/queue/eu-west-1/A/q"),
            ("localhost:4566", "us-east-1", UrlForm::Domain, "http://queue.localhost:4566/A/q"),
            ("localhost:4566", "eu-west-1", UrlForm::Domain, "http://eu-west-1.queue.localhost:4566/A/q"),
            (
                "eu-west-1.queue.localhost:4566",
                "eu-west-1",
                UrlForm::Standard,
                "http://sqs.eu-west-1.localhost:4566/A/q",
            ),
            ("sqs.eu-west-1.localhost", "eu-west-1", UrlForm::Domain, "http://eu-west-1.queue.localhost/A/q"),
            (
                "sqs.localhost.localstack.cloud",
                "us-east-1",
                UrlForm::Domain,
                "http://queue.sqs.localhost.localstack.cloud/A/q",
            ),
            ("sqs.eu-west-1.localhost", "eu-west-1", UrlForm::Dynamic, "http://sqs.eu-west-1.localhost/A/q"),
        ] {
            assert_eq!(q(&cx(host, region), form), expected);
        }
    }

    #[test]
    fn a_form_is_completed_by_the_path_it_was_sent_to() {
        let complete = |path: &str, query: Option<&str>, body: &'static str| {
            let (body, region) = complete_form(path, query, Bytes::from_static(body.as_bytes()));
            (String::from_utf8(body.to_vec()).unwrap(), region.map(|region| region.to_string()))
        };
        let added = "Action=X&QueueUrl=%2F000000000000%2Fq".to_owned();
        assert_eq!(complete("/000000000000/q", None, "Action=X"), (added.clone(), None));
        assert_eq!(
            complete("/queue/eu-west-1/000000000000/q/", None, "Action=X"),
            (added, Some("eu-west-1".to_owned()))
        );
        assert_eq!(
            complete("/000000000000/q", Some("Action=X"), ""),
            ("QueueUrl=%2F000000000000%2Fq".to_owned(), None)
        );
        for (path, query, body) in [
            ("/", None, "Action=X"),
            ("/q", None, "Action=X"),
            ("/x/q", None, "Action=X"),
            ("/000000000000/q", None, "Action=X&QueueUrl=other"),
            ("/000000000000/q", Some("QueueUrl=other"), "Action=X"),
        ] {
            assert_eq!(complete(path, query, body).0, body, "{path}");
        }
    }
}
