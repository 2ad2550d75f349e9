//! From a request to a model's request. Guarantee: what comes out satisfies the model's constraints and carries no
//! refused member; every error is one of the service's own.

use base_stream::Body;
use bytes::Bytes;
use http::{header, request::Parts};
use wire_json::Members;
use wire_query::Form;
use wire_schema::{
    Kind, Location, Model, Operation, Place, Protocol, Role, Seen, ServiceError as _, ServiceSchema, Shape, Survey,
    Violation, refused_member, validate,
};

use crate::{
    Route, binding,
    routing::{Found, named_operation, text},
};

/// What AWS says of every document of rest-xml that it does not like.
const MALFORMED_XML: &str = "The XML you provided was not well-formed or did not validate against our published schema";

/// A request that may be run.
#[derive(Debug)]
pub struct Call<M: Model> {
    /// What is called.
    pub operation: &'static Operation,
    /// With what.
    pub request: M::Request,
}

/// Decodes and validates a request to `M`'s service. `body` is whole, unless [`Route::streams`].
///
/// # Errors
/// The service's own: unknown operation, one that Pileus lacks, a body that does not parse, a constraint that is not
/// satisfied, a member that is not supported.
pub fn read<M: Model>(route: &Route, parts: &Parts, body: impl Into<Body>) -> Result<Call<M>, M::Error> {
    let malformed = |message: String| M::Error::by_role(Role::Serialization, message);
    let (body, stream) = match body.into() {
        Body::Whole(body) => (body, None),
        stream @ Body::Stream(_) => (Bytes::new(), Some(stream)),
    };
    // In rest-xml, the encoding of an object is one of its properties.
    if route.protocol != Protocol::RestXml
        && let Some(encoding) = text(&parts.headers, header::CONTENT_ENCODING.as_str())
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return Err(malformed(format!("The content encoding {encoding} is not supported.")));
    }
    let (mut seen, mut survey) = (Seen::default(), Survey::default());
    let (operation, mut request);
    match route.protocol {
        Protocol::Query => {
            let query = parts.uri.query().unwrap_or_default().as_bytes();
            let form = Form::read([query, &body]).map_err(|error| malformed(error.0))?;
            operation = action::<M>(route.service, &form)?;
            request = empty::<M>(operation)?;
            let input = M::input_mut(&mut request);
            wire_query::decode(&form, input, &mut survey).map_err(|error| malformed(error.0))?;
        }
        Protocol::Json10 | Protocol::Json11 => {
            (operation, _) = found::<M>(&route.found)?;
            request = empty::<M>(operation)?;
            let input = M::input_mut(&mut request);
            wire_json::decode(&body, Members::All, input, &mut seen, &mut survey)
                .map_err(|error| malformed(error.0))?;
            survey.absent(operation.input, seen);
        }
        Protocol::RestJson | Protocol::RestXml => {
            let (target, labels) = found::<M>(&route.found)?;
            operation = target;
            request = empty::<M>(operation)?;
            let input = M::input_mut(&mut request);
            let query = parts.uri.query().unwrap_or_default();
            let xml = route.protocol == Protocol::RestXml;
            // In rest-xml, what does not parse beside the document is a wrong argument, not a wrong document.
            let role = if xml { Role::Validation } else { Role::Serialization };
            binding::fill(input, labels, query, &parts.headers, &mut seen, &mut survey)
                .map_err(|error| M::Error::by_role(role, error.0))?;
            let body = Payload { xml, whole: body, stream };
            rest_body(input, body, &mut seen, &mut survey)
                .map_err(|message| malformed(if xml { MALFORMED_XML.to_owned() } else { message }))?;
            survey.absent(operation.input, seen);
        }
    }
    let input = M::input(&request);
    let violations = validate(input, &survey);
    if !violations.is_empty() {
        let beside = |violation: &Violation| {
            let members = operation.input.members().iter();
            members.filter(|member| member.location != Location::Body).any(|member| member.name == violation.member)
        };
        if route.protocol == Protocol::RestXml && !violations.iter().any(beside) {
            return Err(malformed(MALFORMED_XML.to_owned()));
        }
        return Err(M::Error::violated(&violations, route.service.missing_parameter));
    }
    if let Some(member) = refused_member(input) {
        return Err(M::Error::not_implemented(&format!("the parameter {member} of {}", operation.name)));
    }
    Ok(Call { operation, request })
}

/// The error for a body beyond [`Route::body_bytes_max`].
#[must_use]
pub fn too_large<M: Model>(route: &Route) -> M::Error {
    let max = route.body_bytes_max();
    // AWS names the operation as its IAM action does: Invoke is InvokeFunction.
    let action = route.operation().and_then(|operation| operation.action.split(':').next_back());
    let message = match action {
        Some(action) => format!("Request must be smaller than {max} bytes for the {action} operation"),
        None => format!("Request must be smaller than {max} bytes"),
    };
    M::Error::by_role(Role::TooLarge, message)
}

type Labels = [(&'static str, String)];

fn found<M: Model>(found: &Found) -> Result<(&'static Operation, &Labels), M::Error> {
    match found {
        Found::Operation(operation, labels) => Ok((operation, labels)),
        Found::Unsupported(operation) => Err(M::Error::not_implemented(&format!("the operation {}", operation.name))),
        Found::Unknown(what) if what.is_empty() => {
            Err(M::Error::by_role(Role::UnknownOperation, "Could not find an operation for this request.".to_owned()))
        }
        Found::Unknown(what) => {
            Err(M::Error::by_role(Role::UnknownOperation, format!("Could not find operation {what}.")))
        }
        Found::Unreadable => Err(M::Error::by_role(Role::Serialization, "The path is not UTF-8.".to_owned())),
        Found::InForm => Err(M::Error::by_role(Role::UnknownOperation, "Could not find operation.".to_owned())),
    }
}

/// The operation that a form names, in the words of AWS's query services.
fn action<M: Model>(service: &'static ServiceSchema, form: &Form) -> Result<&'static Operation, M::Error> {
    let value = |name| form.get(name).and_then(Form::value);
    let unknown = |action: &str, version: &str| {
        let message = format!("Could not find operation {action} for version {version}");
        M::Error::by_role(Role::UnknownOperation, message)
    };
    let version = value("Version");
    let Some(action) = value("Action") else {
        return Err(unknown("NO_ACTION", version.unwrap_or("NO_VERSION")));
    };
    if version.is_some_and(|version| version != service.version) {
        return Err(unknown(action, version.unwrap_or_default()));
    }
    match named_operation(service, action) {
        Found::Operation(operation, _) => Ok(operation),
        Found::Unsupported(operation) => Err(M::Error::not_implemented(&format!("the operation {}", operation.name))),
        _ => Err(unknown(action, version.unwrap_or("NO_VERSION"))),
    }
}

fn empty<M: Model>(operation: &'static Operation) -> Result<M::Request, M::Error> {
    let none = || M::Error::by_role(Role::UnknownOperation, format!("Could not find operation {}.", operation.name));
    M::request(operation).ok_or_else(none)
}

/// The body of a rest operation.
struct Payload {
    xml: bool,
    whole: Bytes,
    /// In place of the whole one.
    stream: Option<Body>,
}

/// The document of a rest operation, or the payload that is the body itself.
fn rest_body(input: &mut dyn Shape, body: Payload, seen: &mut Seen, survey: &mut Survey) -> Result<(), String> {
    let Kind::Structure { members, payload } = &input.schema().kind else { return Ok(()) };
    let Payload { xml, whole, stream } = body;
    let Some(index) = *payload else {
        if whole.is_empty() || members.iter().all(|member| member.location != Location::Body) {
            return Ok(()); // nothing travels in the document: what stands there is not looked at
        }
        return if xml {
            wire_xml::decode(&whole, input.schema().xml_root.as_slice(), input, seen, survey).map_err(|error| error.0)
        } else {
            wire_json::decode(&whole, Members::Body, input, seen, survey).map_err(|error| error.0)
        };
    };
    let handed_on = matches!(members[index].schema.kind, Kind::Stream);
    if whole.is_empty() && !handed_on {
        return Ok(());
    }
    seen.insert(index);
    match input.place(index) {
        Some(Place::Stream(place)) => *place = stream.unwrap_or(Body::Whole(whole)).into(),
        Some(Place::Blob(place)) => *place = whole,
        Some(Place::String(place)) => {
            *place = String::from_utf8(whole.into()).map_err(|_| "The body is not UTF-8.".to_owned())?;
        }
        Some(Place::Structure(shape)) => {
            let mut seen = Seen::default();
            survey.enter(wire_schema::Step::Member(members[index].name));
            if xml {
                let (member, schema) = (&members[index], shape.schema());
                let roots = [schema.xml_root.unwrap_or(schema.name), member.wire_name];
                wire_xml::decode(&whole, &roots, shape, &mut seen, survey).map_err(|error| error.0)?;
            } else {
                wire_json::decode(&whole, Members::All, shape, &mut seen, survey).map_err(|error| error.0)?;
            }
            survey.absent(shape.schema(), seen);
            survey.leave();
        }
        _ => return Err("Unexpected field type".to_owned()),
    }
    Ok(())
}
