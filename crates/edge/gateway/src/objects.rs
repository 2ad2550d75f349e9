//! S3's own way through layers 4 to 8.
//!
//! It differs from every other service's: buckets may stand in the host name, whoever sends no signature is anonymous
//! rather than believed, bodies are handed on unread or come in chunks, and pages may call it, by the bucket's own rules.

use base_stream::{ByteStream, Spoilt};
use base_types::Region;
use bytes::{Bytes, BytesMut};
use http::{Method, Uri, header, request::Parts};
use http_body::Body as HttpBody;
use wire_schema::{Protocol, ServiceSchema};
use wire_sigv4::{Glimpse, SignatureError};

use crate::{
    host::Host,
    incoming::{DECODED_LENGTH, Incoming, Manner},
    layers::{Outcome, Scene, anonymous, cx_of, header_text},
    refusal::{Form, Refusal},
    route::{self, Route},
    server::Gateway,
    upstream::{Call, Upstream},
};

/// How a host name names a bucket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Virtual {
    /// It does not: the path does.
    Path(Option<Region>),
    /// This one.
    Bucket(String, Option<Region>),
    /// This one's website.
    Website(String, Option<Region>),
    /// An address of a kind that is not served; what it is.
    Foreign(&'static str),
}

impl Virtual {
    /// What stands before the served name: `photos.s3.eu-west-1`, `photos`, `s3`. `None` when it speaks of another service.
    pub(crate) fn read(host: &Host, services: &[&'static ServiceSchema]) -> Option<Self> {
        let labels = host.labels.as_str();
        if labels.is_empty() {
            return None;
        }
        let parts: Vec<&str> = labels.split('.').collect();
        let kind = parts
            .iter()
            .rposition(|label| *label == "s3" || label.starts_with("s3-") || label.starts_with("s3express"));
        if let Some(at) = kind {
            let (bucket, kind) = (parts[..at].join("."), parts[at]);
            let tail: Vec<&str> = parts[at + 1..].iter().copied().filter(|label| *label != "dualstack").collect();
            let region = match tail.as_slice() {
                [] => kind.strip_prefix("s3-website-").or(kind.strip_prefix("s3-")).and_then(|text| text.parse().ok()),
                [region] => region.parse().ok(),
                _ => None,
            };
            let understood = tail.is_empty() || (tail.len() == 1 && region.is_some());
            return match kind {
                _ if kind.starts_with("s3-accesspoint") => Some(Self::Foreign("access points")),
                _ if kind.starts_with("s3-object-lambda") => Some(Self::Foreign("object Lambda access points")),
                _ if kind.starts_with("s3-outposts") => Some(Self::Foreign("buckets on Outposts")),
                _ if kind.starts_with("s3-control") => Some(Self::Foreign("S3 Control")),
                _ if kind.starts_with("s3express") => Some(Self::Foreign("directory buckets")),
                _ if !understood => Some(Self::Bucket(labels.to_owned(), None)),
                _ if kind.starts_with("s3-website") && !bucket.is_empty() => Some(Self::Website(bucket, region)),
                _ if bucket.is_empty() => Some(Self::Path(region)),
                _ => Some(Self::Bucket(bucket, region)),
            };
        }
        let first = parts.first().copied().unwrap_or_default();
        let other = services.iter().any(|service| service.endpoint_prefix == first || service.signing_name == first);
        let queue = parts.contains(&"queue");
        (!other && !queue).then(|| Self::Bucket(labels.to_owned(), None))
    }
}

/// The table of S3, where it is served.
pub(crate) fn served(services: &[&'static ServiceSchema]) -> Option<&'static ServiceSchema> {
    services
        .iter()
        .copied()
        .find(|service| service.signing_name == "s3" && service.protocols.contains(&Protocol::RestXml))
}

/// Whether a request is S3's: it is signed for it, its host says so, or it is unsigned and nobody else's.
pub(crate) fn addressed(
    services: &[&'static ServiceSchema],
    head: &Parts,
    host: &Host,
    glimpse: Option<&Glimpse>,
) -> Option<(&'static ServiceSchema, Virtual)> {
    let service = served(services)?;
    let by_host = || Virtual::read(host, services);
    match glimpse {
        Some(glimpse) if glimpse.service == "s3" => Some((service, by_host().unwrap_or(Virtual::Path(None)))),
        Some(glimpse) if glimpse.service == "s3express" => Some((service, Virtual::Foreign("directory buckets"))),
        Some(_) => None,
        None if head.headers.contains_key("x-amz-target") => None,
        None => by_host().map(|found| (service, found)),
    }
}

/// Unsigned, its path is no other service's and not the root: a bucket or object that may be public.
pub(crate) fn by_exclusion(
    services: &[&'static ServiceSchema],
    head: &Parts,
) -> Option<(&'static ServiceSchema, Virtual)> {
    let service = served(services)?;
    (head.uri.path() != "/").then_some((service, Virtual::Path(None)))
}

impl<U: Upstream> Gateway<U> {
    pub(crate) async fn objects<B>(
        &self,
        mut head: Parts,
        body: B,
        scene: &Scene<'_>,
        glimpse: Option<Glimpse>,
        (service, found): (&'static ServiceSchema, Virtual),
    ) -> Outcome
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    {
        let form = Form::Service(service, Protocol::RestXml);
        let sent = head.uri.clone();
        let (region, website) = match found {
            Virtual::Path(region) => (region, false),
            Virtual::Bucket(bucket, region) => {
                head.uri = below(&sent, &bucket);
                (region, false)
            }
            Virtual::Website(bucket, region) => {
                head.uri = below(&sent, &bucket);
                (region, true)
            }
            Virtual::Foreign(what) => {
                let message = format!("Pileus does not support {what} yet.");
                return (form, Refusal::new(501, "NotImplemented", message)).into();
            }
        };
        // 5. Route.
        let route = route::objects(service, &head);
        let streams = route.rest.as_ref().is_some_and(wire_http::Route::streams);
        let posted = is_posted_form(&head) && route.operation.is_none();
        // 6. and 7. The signature is of the head; what it says of the body is proven on the way.
        let (identity, manner) = if glimpse.is_none() && !claims_identity(&head) {
            (anonymous(region), Manner::unproven(&head.headers))
        } else {
            let routed = std::mem::replace(&mut head.uri, sent);
            let proven = self.authenticate_unread(&head, ("s3", routed.path()), scene.open, region).await;
            head.uri = routed;
            match proven {
                Ok(proven) => proven,
                Err(denied) => {
                    self.read_away(body).await;
                    return (form, self.denied(&denied, form, scene)).into();
                }
            }
        };
        if (streams || posted) && length_is_unknown(&head) {
            let message = "You must provide the Content-Length HTTP header.";
            return (form, Refusal::new(411, "MissingContentLength", message)).into();
        }
        manner.unwrap_headers(&mut head.headers);
        let promised = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let quiet = self.settings().limits.body_timeout;
        let incoming = Incoming::new(body, manner, promised, self.env().alarm(), quiet);
        let mut stream = ByteStream::new(incoming);
        let mut permit = None;
        let (body, stream) = if streams || posted {
            (Bytes::new(), Some(stream))
        } else {
            let limit = route.operation.map_or(service.body_bytes_max, |operation| operation.body_bytes_max);
            if let Some(large) =
                promised.and_then(|bytes: u64| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 64 * 1024)
            {
                permit = match self.reserve(large.min(limit)).await {
                    Ok(permit) => Some(permit),
                    Err(_) => return (form, overloaded()).into(),
                };
            }
            match collect(&mut stream, limit).await {
                Ok(bytes) => (bytes, None),
                Err(refusal) => return (form, refusal).into(),
            }
        };
        // 8. Call.
        let cx = cx_of(identity, &head, scene);
        let Route { service, protocol, operation, rest } = route;
        let environment = scene.connection.environment.clone();
        let open = scene.open;
        let call =
            Call { service, protocol, operation, route: rest, cx, head, body, stream, website, open, environment };
        let response = Box::pin(self.upstream().call(call)).await;
        drop(permit);
        Outcome::Response(response)
    }
}

/// The path below a bucket.
fn below(uri: &Uri, bucket: &str) -> Uri {
    let path = uri.path();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // It was a target before, and a host's labels are plain.
    format!("/{bucket}{path}{query}").parse().unwrap_or_else(|_| uri.clone())
}

/// Whether a request claims to be somebody's, in whatever form.
fn claims_identity(head: &Parts) -> bool {
    let query = head.uri.query().unwrap_or_default();
    let named = |name: &str| query.split('&').any(|pair| pair.split_once('=').map_or(pair, |(key, _)| key) == name);
    let signed = ["X-Amz-Algorithm", "X-Amz-Signature", "AWSAccessKeyId", "Signature"].into_iter().any(named);
    head.headers.contains_key(header::AUTHORIZATION) || signed
}

fn is_posted_form(head: &Parts) -> bool {
    let kind = header_text(head, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    head.method == Method::POST && kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

fn length_is_unknown(head: &Parts) -> bool {
    !head.headers.contains_key(header::CONTENT_LENGTH) && !head.headers.contains_key(DECODED_LENGTH)
}

/// A document, whole.
async fn collect(stream: &mut ByteStream, limit: usize) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|fault| refuse_spoilt(Spoilt::of(&fault)))?;
        if whole.len() + piece.len() > limit {
            return Err(Refusal::new(400, "MaxMessageLengthExceeded", "Your request was too big."));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn refuse_spoilt(spoilt: Option<&Spoilt>) -> Refusal {
    match spoilt {
        Some(Spoilt::Digest { .. }) => {
            let denial = SignatureError::PayloadHash.describe(wire_sigv4::Family::S3);
            Refusal::new(denial.status, denial.code, denial.message)
        }
        Some(Spoilt::Signature) => {
            let denial = SignatureError::Mismatch.describe(wire_sigv4::Family::S3);
            Refusal::new(denial.status, denial.code, denial.message)
        }
        Some(Spoilt::Late) => Refusal::new(
            400,
            "RequestTimeout",
            "Your socket connection to the server was not read from or written to within the timeout period. Idle \
             connections will be closed.",
        ),
        Some(Spoilt::Malformed(_)) => {
            Refusal::new(400, "InvalidRequest", "The body's framing (`aws-chunked`) is not well-formed.")
        }
        Some(Spoilt::Incomplete { .. }) | None => Refusal::new(
            400,
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        ),
    }
}

fn overloaded() -> Refusal {
    Refusal::new(503, "SlowDown", "Please reduce your request rate.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_bucket_in_every_form() {
        let bucket = |name: &str, region: Option<&str>| {
            Some(Virtual::Bucket(name.to_owned(), region.and_then(|region| region.parse().ok())))
        };
        let path = |region: Option<&str>| Some(Virtual::Path(region.and_then(|region| region.parse().ok())));
        for (labels, expected) in [
            ("", None),
            ("s3", path(None)),
            ("s3.eu-west-1", path(Some("eu-west-1"))),
            ("photos.s3", bucket("photos", None)),
            ("my.photos.s3", bucket("my.photos", None)),
            ("photos.s3.eu-west-1", bucket("photos", Some("eu-west-1"))),
            ("photos.s3.dualstack.eu-west-1", bucket("photos", Some("eu-west-1"))),
            ("photos.s3-eu-west-1", bucket("photos", Some("eu-west-1"))),
            ("photos", bucket("photos", None)),
            ("my.photos", bucket("my.photos", None)),
            ("sqs.us-east-1", None),
            ("us-east-1.queue", None),
            ("a-111122223333.s3-accesspoint.eu-west-1", Some(Virtual::Foreign("access points"))),
            ("site.s3-website.eu-west-1", Some(Virtual::Website("site".to_owned(), "eu-west-1".parse().ok()))),
            ("site.s3-website-eu-west-1", Some(Virtual::Website("site".to_owned(), "eu-west-1".parse().ok()))),
        ] {
            let host = Host { name: String::new(), labels: labels.to_owned() };
            let services = [&model_sqs::SERVICE, &model_lambda::SERVICE];
            assert_eq!(Virtual::read(&host, &services), expected, "{labels}");
        }
    }

    #[test]
    fn the_bucket_of_the_host_becomes_the_first_part_of_the_path() {
        for (target, expected) in
            [("/", "/b/"), ("/k%2Fx?a=1", "/b/k%2Fx?a=1"), ("//k", "/b//k"), ("/?list-type=2", "/b/?list-type=2")]
        {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(below(&uri, "b").to_string(), expected);
        }
    }
}
