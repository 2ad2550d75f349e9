//! From an answer to a response. Guarantee: every response carries the request's id; an error has its protocol's form,
//! status and code; a fault shows nothing of its cause.

use base_stream::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use wire_json::Members;
use wire_query::Answer;
use wire_schema::{Kind, Location, Member, Model, Operation, Protocol, ServiceError, Shape, Value};
use wire_xml::Root;

use crate::{Route, binding};

/// The response for what an operation gave.
#[must_use]
pub fn respond<M: Model>(
    route: &Route,
    operation: &'static Operation,
    outcome: &Result<M::Response, M::Error>,
    request_id: &str,
) -> Response<Body> {
    let output = match outcome {
        Ok(response) => M::output(response),
        Err(error) => return refuse::<M>(route, error, request_id),
    };
    let mut response = Response::new(Body::default());
    match route.protocol {
        Protocol::Json10 | Protocol::Json11 => {
            if let Some(shape) = output {
                *response.body_mut() = whole(wire_json::encode(shape, Members::All));
            }
            content_type(&mut response, document_type(route.protocol));
        }
        Protocol::Query => {
            let (wrapper, namespace) = (operation.result_wrapper, route.service.xml_namespace);
            let answer = Answer { operation: operation.name, wrapper, namespace, request_id };
            *response.body_mut() = whole(wire_query::encode(answer, output));
            content_type(&mut response, document_type(route.protocol));
        }
        Protocol::RestJson | Protocol::RestXml => rest(&mut response, route, operation, output),
    }
    request_id_header(&mut response, route.protocol, request_id);
    response
}

fn rest(response: &mut Response<Body>, route: &Route, operation: &'static Operation, output: Option<&dyn Shape>) {
    let mut status = operation.http.status;
    let mut body_type = document_type(route.protocol);
    let xml = route.protocol == Protocol::RestXml;
    let namespace = route.service.xml_namespace;
    let document = |shape: &dyn Shape, name: &str, members| match xml {
        true => whole(wire_xml::encode(Root { name, namespace }, shape)),
        false => whole(wire_json::encode(shape, members)),
    };
    if let Some(shape) = output {
        let head = binding::head(shape);
        response.headers_mut().extend(head.headers);
        status = head.status.unwrap_or(status);
        let (payload, payload_name) = match shape.schema().kind {
            Kind::Structure { members, payload: Some(index) } => {
                (Some(index), members.get(index).map_or("", document_name))
            }
            _ => (None, ""),
        };
        let in_body = |member: &Member| member.location == Location::Body;
        *response.body_mut() = match payload.map(|index| shape.value(index)) {
            Some(Some(Value::Blob(bytes))) => {
                body_type = operation.http.payload_type;
                bytes.clone().into()
            }
            Some(Some(Value::String(text))) => {
                body_type = "text/plain";
                Bytes::copy_from_slice(text.as_bytes()).into()
            }
            Some(Some(Value::Structure(shape))) => document(shape, payload_name, Members::All),
            Some(Some(Value::Stream(stream))) => {
                body_type = operation.http.payload_type;
                stream.take().unwrap_or_default()
            }
            Some(Some(Value::Events(events))) => {
                body_type = wire_eventstream::CONTENT_TYPE;
                events.source().map(wire_eventstream::body).map(Body::from).unwrap_or_default()
            }
            Some(_) => Body::default(),
            None if shape.schema().members().iter().any(in_body) => {
                let schema = shape.schema();
                document(shape, schema.xml_root.unwrap_or(schema.name), Members::Body)
            }
            None => Body::default(),
        };
    }
    if status == StatusCode::NO_CONTENT.as_u16() {
        *response.body_mut() = Body::default();
    }
    // The type of a stream, and of what rest-xml hands on, may have been the operation's to say.
    let own = xml || matches!(response.body(), Body::Stream(_));
    let said = own && response.headers().contains_key(header::CONTENT_TYPE);
    if !said && response.body().whole().is_none_or(|body| !body.is_empty()) {
        content_type(response, body_type);
    }
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
}

/// The response for an error.
#[must_use]
pub fn refuse<M: Model>(route: &Route, error: &M::Error, request_id: &str) -> Response<Body> {
    let (schema, service) = (error.schema(), route.service);
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::from_u16(schema.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    // The error that stands for a fault, with the text that a client may read.
    let stand_in = error.fault().map(|fault| {
        let role = wire_schema::Role::of_fault(fault);
        M::Error::by_role(role, error.message().to_owned())
    });
    let shape = error.shape().or_else(|| stand_in.as_ref().and_then(ServiceError::shape));
    let document = |members, r#type: Option<&str>| shape.map(|shape| wire_json::encode_error(shape, members, r#type));
    let body = match route.protocol {
        Protocol::RestJson => {
            if let Some(shape) = shape {
                headers.extend(binding::head(shape).headers);
            }
            headers.insert("x-amzn-errortype", HeaderValue::from_static(schema.name));
            document(Members::Body, None).unwrap_or_default()
        }
        Protocol::Json10 | Protocol::Json11 => {
            if service.query_compatible {
                let fault = if schema.sender { "Sender" } else { "Receiver" };
                if let Ok(value) = HeaderValue::try_from(format!("{};{fault}", schema.code)) {
                    headers.insert("x-amzn-query-error", value);
                }
            }
            let name = format!("{}{}", service.error_namespace.unwrap_or_default(), schema.name);
            document(Members::All, Some(&name)).unwrap_or_default()
        }
        Protocol::RestXml => {
            if let Some(shape) = shape {
                headers.extend(binding::head(shape).headers);
            }
            xml_error(schema.code, error.message(), shape, request_id).into_bytes()
        }
        Protocol::Query => {
            let (namespace, detail) = (service.xml_namespace, service.query_compatible);
            wire_query::encode_error(schema.code, error.message(), schema.sender, namespace, detail, request_id)
                .into_bytes()
        }
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        request_id_header(&mut response, route.protocol, request_id);
        return response;
    }
    *response.body_mut() = whole(body);
    content_type(&mut response, document_type(route.protocol));
    request_id_header(&mut response, route.protocol, request_id);
    response
}

/// The outermost element of a payload: what the member is called on the wire, if it says so, else what its shape is.
fn document_name(member: &Member) -> &'static str {
    if member.wire_name == member.name {
        member.schema.xml_root.unwrap_or(member.schema.name)
    } else {
        member.wire_name
    }
}

/// An error as rest-xml writes it: code, message, what else it says, the request.
fn xml_error(code: &str, message: &str, shape: Option<&dyn Shape>, request_id: &str) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    wire_xml::element(&mut out, "Error", |out| {
        wire_xml::element(out, "Code", |out| wire_xml::text(out, code));
        wire_xml::element(out, "Message", |out| wire_xml::text(out, message));
        for (index, member) in shape.into_iter().flat_map(|shape| shape.schema().members().iter().enumerate()) {
            let said = shape.and_then(|shape| shape.value(index));
            if let Some(Value::String(text)) = said.filter(|_| !member.name.eq_ignore_ascii_case("message")) {
                wire_xml::element(out, member.form_name, |out| wire_xml::text(out, text));
            }
        }
        wire_xml::element(out, "RequestId", |out| wire_xml::text(out, request_id));
        wire_xml::element(out, "HostId", |out| wire_xml::text(out, request_id));
    });
    out
}

fn whole(document: impl Into<Bytes>) -> Body {
    Body::Whole(document.into())
}

fn document_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::RestJson => "application/json",
        Protocol::RestXml => "application/xml",
        Protocol::Query => "text/xml",
    }
}

fn content_type(response: &mut Response<Body>, text: &'static str) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
}

fn request_id_header(response: &mut Response<Body>, protocol: Protocol, request_id: &str) {
    if let Ok(value) = HeaderValue::try_from(request_id) {
        if protocol == Protocol::RestXml {
            response.headers_mut().insert("x-amz-request-id", value.clone());
            response.headers_mut().insert("x-amz-id-2", value);
        } else {
            response.headers_mut().insert("x-amzn-requestid", value);
        }
    }
}
