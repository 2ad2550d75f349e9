//! Which service, protocol and operation a request means. Pure: a table and a head in, a route out.
//!
//! In this order: `X-Amz-Target`'s prefix · the credential scope's service · the host's first label · `Action` and
//! `Version` in the query or form · the path of a rest operation. A request never falls through to a service that
//! something earlier in the list contradicts.

use http::{HeaderMap, header, request::Parts};
use percent_encoding::percent_decode_str;
use wire_schema::{Operation, Protocol, ServiceSchema};
use wire_sigv4::Glimpse;

use crate::{
    host::Host,
    refusal::{Form, Refusal},
};

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) service: &'static ServiceSchema,
    pub(crate) protocol: Protocol,
    pub(crate) operation: Option<&'static Operation>,
    /// What the path said, for rest protocols: it is read once.
    pub(crate) rest: Option<wire_http::Route>,
}

/// What the head alone says.
pub(crate) enum Judgement {
    Route(Route),
    /// Only the form in the body can tell.
    ByForm,
    /// Nothing in it names a service.
    Nobody,
    Refused(Form, Refusal),
}

/// Judges by the head.
pub(crate) fn by_head(
    services: &[&'static ServiceSchema],
    head: &Parts,
    host: &Host,
    glimpse: Option<&Glimpse>,
) -> Judgement {
    let query = head.uri.query().unwrap_or_default();
    let action = parameter(query, "Action");
    if let Some(target) = head.headers.get("x-amz-target") {
        return by_target(services, &head.headers, target.to_str().unwrap_or_default());
    }
    let signing = glimpse.map(|glimpse| glimpse.service.as_str());
    // A session of STS and a service's own host name the service as certainly as the scope does.
    let named = match (signing, host.service().0) {
        (Some(signing), _) => services.iter().find(|service| service.signing_name == signing),
        (None, Some(label)) => services.iter().find(|service| service.endpoint_prefix == label),
        (None, None) => None,
    };
    if let Some(service) = named {
        return Judgement::Route(within(service, head, action.as_deref()));
    }
    if let Some(signing) = signing {
        let form = match signing {
            "s3" => Form::S3,
            _ if action.is_some() || is_form(&head.headers) => Form::Query,
            _ => Form::Plain,
        };
        let name: String = signing.chars().take(64).collect();
        return Judgement::Refused(form, not_served(&name));
    }
    if let Some(action) = action {
        return by_action(services, &action, parameter(query, "Version").as_deref());
    }
    if head.method == http::Method::POST && is_form(&head.headers) {
        return Judgement::ByForm;
    }
    // What is nobody's is S3's, whose paths are the clients' own names: see `objects.rs`.
    let rest = services.iter().filter(|service| service.protocols.contains(&Protocol::RestJson));
    match rest.map(|service| by_path(service, head)).find(|route| route.operation.is_some()) {
        Some(route) => Judgement::Route(route),
        None => Judgement::Nobody,
    }
}

/// The answer to what names no service.
pub(crate) fn nobody() -> Refusal {
    Refusal::new(
        404,
        "UnknownOperationException",
        "The request names no service: it has no signature, no `X-Amz-Target`, no `Action`, and its path is no service's.",
    )
}

/// Judges by the form that was the body.
pub(crate) fn by_form(services: &[&'static ServiceSchema], body: &[u8]) -> Judgement {
    let text = String::from_utf8_lossy(body);
    match parameter(&text, "Action") {
        Some(action) => by_action(services, &action, parameter(&text, "Version").as_deref()),
        None => Judgement::Refused(
            Form::Query,
            Refusal::new(400, "MissingAction", "The request must contain the parameter Action."),
        ),
    }
}

fn by_target(services: &[&'static ServiceSchema], headers: &HeaderMap, target: &str) -> Judgement {
    let (prefix, name) = target.rsplit_once('.').unwrap_or((target, ""));
    let Some(service) = services.iter().find(|service| service.target_prefix == Some(prefix)) else {
        let prefix: String = prefix.chars().take(64).collect();
        return Judgement::Refused(
            Form::Plain,
            Refusal::new(400, "UnknownOperationException", format!("Pileus does not serve `{prefix}` (yet).")),
        );
    };
    let stated = match content_type(headers) {
        "application/x-amz-json-1.0" => Some(Protocol::Json10),
        "application/x-amz-json-1.1" => Some(Protocol::Json11),
        _ => None,
    };
    let json = |protocol: &Protocol| matches!(protocol, Protocol::Json10 | Protocol::Json11);
    let protocol = stated
        .filter(|protocol| service.protocols.contains(protocol))
        .or_else(|| service.protocols.iter().copied().find(json))
        .unwrap_or(Protocol::Json11);
    Judgement::Route(Route { service, protocol, operation: service.operation(name), rest: None })
}

fn by_action(services: &[&'static ServiceSchema], action: &str, version: Option<&str>) -> Judgement {
    let mut candidates = services.iter().filter(|service| {
        service.protocols.contains(&Protocol::Query) && version.is_none_or(|version| version == service.version)
    });
    let knows = |service: &&&'static ServiceSchema| {
        service.operation(action).is_some() || service.unsupported(action).is_some()
    };
    match candidates.find(knows) {
        Some(service) => {
            let operation = service.operation(action);
            Judgement::Route(Route { service, protocol: Protocol::Query, operation, rest: None })
        }
        None => {
            let action: String = action.chars().take(64).collect();
            Judgement::Refused(
                Form::Query,
                Refusal::new(
                    400,
                    "InvalidAction",
                    format!(
                        "The action {action} is not valid for this web service, or no service that Pileus serves has it."
                    ),
                ),
            )
        }
    }
}

/// The service is certain; its protocol and operation follow from the head.
fn within(service: &'static ServiceSchema, head: &Parts, action: Option<&str>) -> Route {
    let speaks = |protocol: Protocol| service.protocols.contains(&protocol);
    let route = |protocol, operation| Route { service, protocol, operation, rest: None };
    if speaks(Protocol::RestJson) || speaks(Protocol::RestXml) {
        return by_path(service, head);
    }
    if speaks(Protocol::Query) && (action.is_some() || is_form(&head.headers)) {
        return route(Protocol::Query, action.and_then(|action| service.operation(action)));
    }
    route(service.protocols.first().copied().unwrap_or(Protocol::RestJson), None)
}

/// What method, path and fixed query parameters say.
fn by_path(service: &'static ServiceSchema, head: &Parts) -> Route {
    let rest = wire_http::route(service, head);
    Route { service, protocol: rest.protocol, operation: rest.operation(), rest: Some(rest) }
}

/// A request that is S3's.
pub(crate) fn objects(service: &'static ServiceSchema, head: &Parts) -> Route {
    by_path(service, head)
}

/// A parameter of a query or form, decoded.
fn parameter(text: &str, name: &str) -> Option<String> {
    text.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
    })
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn not_served(service: &str) -> Refusal {
    Refusal::new(501, "NotImplemented", format!("The service `{service}` is not served by this version of Pileus."))
}
