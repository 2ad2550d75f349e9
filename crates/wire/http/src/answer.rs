//! From an answer to a response. Guarantee: every response carries the request's id; an error has its protocol's form,
//! status and code; a fault shows nothing of its cause.

use base_stream::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use wire_json::Members;
use wire_query::Answer;
use wire_schema::{Kind, Location, Model, Operation, Protocol, ServiceError, Shape, Value};

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
        Protocol::RestJson => rest(&mut response, operation, output),
    }
    request_id_header(&mut response, request_id);
    response
}

fn rest(response: &mut Response<Body>, operation: &'static Operation, output: Option<&dyn Shape>) {
    let mut status = operation.http.status;
    let mut body_type = "application/json";
    if let Some(shape) = output {
        let head = binding::head(shape);
        response.headers_mut().extend(head.headers);
        status = head.status.unwrap_or(status);
        let payload = match shape.schema().kind {
            Kind::Structure { payload, .. } => payload,
            _ => None,
        };
        let in_body = |member: &wire_schema::Member| member.location == Location::Body;
        *response.body_mut() = match payload.map(|index| shape.value(index)) {
            Some(Some(Value::Blob(bytes))) => {
                body_type = operation.http.payload_type;
                bytes.clone().into()
            }
            Some(Some(Value::String(text))) => {
                body_type = "text/plain";
                Bytes::copy_from_slice(text.as_bytes()).into()
            }
            Some(Some(Value::Structure(shape))) => whole(wire_json::encode(shape, Members::All)),
            Some(Some(Value::Events(events))) => {
                body_type = wire_eventstream::CONTENT_TYPE;
                events.source().map(wire_eventstream::body).map(Body::from).unwrap_or_default()
            }
            Some(_) => Body::default(),
            None if shape.schema().members().iter().any(in_body) => whole(wire_json::encode(shape, Members::Body)),
            None => Body::default(),
        };
    }
    if status == StatusCode::NO_CONTENT.as_u16() {
        *response.body_mut() = Body::default();
    }
    // A stream's type may have been the operation's to say.
    let said = matches!(response.body(), Body::Stream(_)) && response.headers().contains_key(header::CONTENT_TYPE);
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
        Protocol::Query => {
            let (namespace, detail) = (service.xml_namespace, service.query_compatible);
            wire_query::encode_error(schema.code, error.message(), schema.sender, namespace, detail, request_id)
                .into_bytes()
        }
    };
    *response.body_mut() = whole(body);
    content_type(&mut response, document_type(route.protocol));
    request_id_header(&mut response, request_id);
    response
}

fn whole(document: impl Into<Bytes>) -> Body {
    Body::Whole(document.into())
}

fn document_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::RestJson => "application/json",
        Protocol::Query => "text/xml",
    }
}

fn content_type(response: &mut Response<Body>, text: &'static str) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
}

fn request_id_header(response: &mut Response<Body>, request_id: &str) {
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
}
