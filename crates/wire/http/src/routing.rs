//! Which service, which protocol, which operation: from the head of a request alone. Guarantee: a function of the head,
//! linear in the service's number of operations at worst.

use std::borrow::Cow;

use http::{HeaderMap, Method, header, request::Parts};
use percent_encoding::percent_decode_str;
use wire_schema::{Kind, Location, Operation, Protocol, Segment, ServiceSchema, UnsupportedOperation};

/// The header that names the operation of a json 1.0 or 1.1 request.
const TARGET: &str = "x-amz-target";

/// Where a request goes.
#[derive(Debug)]
pub struct Route {
    /// The service.
    pub service: &'static ServiceSchema,
    /// The protocol of request and answer.
    pub protocol: Protocol,
    pub(crate) found: Found,
}

/// What the head says of the operation.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is this one, with these labels.
    Operation(&'static Operation, Vec<(&'static str, String)>),
    /// AWS has it.
    Unsupported(&'static UnsupportedOperation),
    /// There is no such operation.
    Unknown(String),
    /// The form's `Action` says it.
    InForm,
    /// The path is not UTF-8.
    Unreadable,
}

impl Route {
    /// How much of the body may be read, in bytes.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        self.operation().map_or(self.service.body_bytes_max, |operation| operation.body_bytes_max)
    }

    /// Whether the operation takes its body piece by piece: it need not be read before.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.operation().is_some_and(|operation| match &operation.input.kind {
            Kind::Structure { members, payload: Some(index) } => {
                members.get(*index).is_some_and(|member| matches!(member.schema.kind, Kind::Stream))
            }
            _ => false,
        })
    }

    /// The operation, where the head names one that is there.
    #[must_use]
    pub fn operation(&self) -> Option<&'static Operation> {
        match self.found {
            Found::Operation(operation, _) => Some(operation),
            _ => None,
        }
    }
}

/// Which of `services` a request addresses: by `signing_name` (of its signature's scope) if it has one, else by its
/// target header, the first label of its host, or a path that one of them has.
#[must_use]
pub fn recognise(
    services: &[&'static ServiceSchema],
    parts: &Parts,
    signing_name: Option<&str>,
) -> Option<&'static ServiceSchema> {
    if let Some(name) = signing_name {
        return services.iter().copied().find(|service| service.signing_name == name);
    }
    if let Some((prefix, _)) = text(&parts.headers, TARGET).and_then(|target| target.split_once('.')) {
        return services.iter().copied().find(|service| service.target_prefix == Some(prefix));
    }
    let host = text(&parts.headers, header::HOST.as_str()).or_else(|| parts.uri.host()).unwrap_or_default();
    let label = host.split('.').next().unwrap_or_default();
    let by_host = services.iter().copied().find(|service| service.endpoint_prefix == label);
    by_host.or_else(|| {
        // The paths of rest-xml are the clients' own names, so that they fit nearly everything: they come last.
        let has = |service: &ServiceSchema, protocol| service.protocols.contains(&protocol);
        let json = services.iter().copied().filter(|service| has(service, Protocol::RestJson));
        let xml = services.iter().copied().filter(|service| has(service, Protocol::RestXml));
        json.chain(xml)
            .find(|service| matches!(rest_operation(service, parts), Found::Operation(..) | Found::Unsupported(_)))
    })
}

/// Protocol and operation of a request to `service`.
#[must_use]
pub fn route(service: &'static ServiceSchema, parts: &Parts) -> Route {
    let speaks = |protocol| service.protocols.contains(&protocol);
    let preferred = service.protocols.first().copied().unwrap_or(Protocol::Json11);
    if matches!(preferred, Protocol::RestJson | Protocol::RestXml) {
        return Route { service, protocol: preferred, found: rest_operation(service, parts) };
    }
    let content_type = text(&parts.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    let target = text(&parts.headers, TARGET);
    let json = speaks(Protocol::Json10) || speaks(Protocol::Json11);
    let form = content_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        || (content_type.is_empty() && target.is_none())
        || parts.method == Method::GET;
    if speaks(Protocol::Query) && (form || !json) {
        return Route { service, protocol: Protocol::Query, found: Found::InForm };
    }
    let (protocol, known_type) = match content_type {
        _ if content_type.eq_ignore_ascii_case("application/x-amz-json-1.0") => (Protocol::Json10, true),
        _ if content_type.eq_ignore_ascii_case("application/x-amz-json-1.1") => (Protocol::Json11, true),
        _ => (preferred, false),
    };
    // Whoever sends another type of body gets what AWS gives: no operation is found.
    let found = match target.filter(|_| known_type && parts.method == Method::POST) {
        Some(target) => target_operation(service, target),
        None => Found::Unknown(String::new()),
    };
    Route { service, protocol, found }
}

fn target_operation(service: &'static ServiceSchema, target: &str) -> Found {
    match target.split_once('.') {
        Some((prefix, name)) if Some(prefix) == service.target_prefix => named_operation(service, name),
        _ => Found::Unknown(target.to_owned()),
    }
}

/// The operation that a target or an action names.
pub(crate) fn named_operation(service: &'static ServiceSchema, name: &str) -> Found {
    match (service.operation(name), service.unsupported(name)) {
        (Some(operation), _) => Found::Operation(operation, Vec::new()),
        (None, Some(operation)) => Found::Unsupported(operation),
        (None, None) => Found::Unknown(name.to_owned()),
    }
}

fn rest_operation(service: &'static ServiceSchema, head: &Parts) -> Found {
    let (method, path, query) = (&head.method, head.uri.path(), head.uri.query());
    let xml = service.protocols.contains(&Protocol::RestXml);
    let path = path.strip_prefix('/').unwrap_or(path);
    // A trailing slash means nothing: AWS's own models have paths with and without. In the names of rest-xml it does, but
    // behind the first.
    let trailing = path.strip_suffix('/').filter(|rest| !xml || !rest.contains('/'));
    let path = trailing.unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    // How many literals and constants of an operation the request has; `None` when it is not this one.
    let score = |wanted: &str, pattern: &[Segment], constants: &[(&str, &str)]| {
        let greedy = matches!(pattern.last(), Some(Segment::Greedy(_)));
        // The cheap questions first: most operations of a service differ in one of these.
        if wanted != method.as_str() || (pattern.len() != parts.len() && !greedy && !pattern.is_empty()) {
            return None;
        }
        let literals = matched(pattern, &parts)?;
        let all = constants.iter().all(|(name, value)| has_parameter(query, name, value));
        all.then_some(literals + constants.len())
    };
    let operations = service.operations.iter().filter_map(|op| {
        let score = score(op.http.method, op.http.path, op.http.query)?;
        // Of rest-xml's operations some differ only in what they require.
        Some((if xml { score + required(op, head)? } else { score }, op))
    });
    let best = operations.max_by_key(|(score, _)| *score);
    let unsupported = service.unsupported.iter();
    let unsupported = unsupported.filter_map(|op| Some((score(op.method, op.path, op.query)?, op)));
    let unsupported = unsupported.max_by_key(|(score, _)| *score);
    match (best, unsupported) {
        (Some((score, _)), Some((higher, operation))) if higher > score => Found::Unsupported(operation),
        (Some((_, operation)), _) => match labels(operation.http.path, &parts) {
            Some(labels) => Found::Operation(operation, labels),
            None => Found::Unreadable,
        },
        (None, Some((_, operation))) => Found::Unsupported(operation),
        (None, None) => Found::Unknown(format!("{method} /{path}")),
    }
}

/// How many required members travel in query string and headers, if all of them are there.
fn required(operation: &Operation, head: &Parts) -> Option<usize> {
    let mut count = 0;
    for member in operation.input.members().iter().filter(|member| member.required) {
        let there = match member.location {
            Location::Query => parameters(head.uri.query()).any(|(name, _)| name == member.wire_name),
            Location::Header => head.headers.contains_key(member.wire_name),
            _ => continue,
        };
        there.then_some(())?;
        count += 1;
    }
    Some(count)
}

/// Whether the path fits, and how many of its segments are literal.
fn matched(pattern: &[Segment], parts: &[&str]) -> Option<usize> {
    let mut literals = 0;
    for (index, segment) in pattern.iter().enumerate() {
        let part = parts.get(index)?;
        match segment {
            Segment::Literal(text) if text == part => literals += 1,
            Segment::Literal(_) => return None,
            // What is greedy may begin with a slash, if anything follows.
            Segment::Greedy(_) if part.is_empty() && parts.len() == index + 1 => return None,
            Segment::Greedy(_) => return Some(literals),
            // AWS does not find an operation for an empty label either.
            Segment::Label(_) if part.is_empty() => return None,
            Segment::Label(_) => {}
        }
    }
    (pattern.len() == parts.len() || (pattern.is_empty() && parts == [""])).then_some(literals)
}

/// The labels' texts, unescaped; `None` when they are not UTF-8.
fn labels(pattern: &'static [Segment], parts: &[&str]) -> Option<Vec<(&'static str, String)>> {
    let mut labels = Vec::new();
    for (index, segment) in pattern.iter().enumerate() {
        let (name, text) = match segment {
            Segment::Literal(_) => continue,
            Segment::Label(name) => (*name, Cow::Borrowed(*parts.get(index)?)),
            Segment::Greedy(name) => (*name, Cow::Owned(parts.get(index..)?.join("/"))),
        };
        labels.push((name, percent_decode_str(&text).decode_utf8().ok()?.into_owned()));
    }
    Some(labels)
}

fn has_parameter(query: Option<&str>, name: &str, value: &str) -> bool {
    parameters(query).any(|pair| pair == (name, value))
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A header's text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
