//! From an answer to a response. Guarantee: every response carries the request's id; an error has its protocol's form,
//! status and code; a fault shows nothing of its cause.

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
) -> Response<Bytes> {
    let output = match outcome {
        Ok(response) => M::output(response),
        Err(error) => return refuse::<M>(route, error, request_id),
    };
    let mut response = Response::new(Bytes::new());
    match route.protocol {
        Protocol::Json10 | Protocol::Json11 => {
            if let Some(shape) = output {
                *response.body_mut() = wire_json::encode(shape, Members::All).into();
            }
            content_type(&mut response, document_type(route.protocol));
        }
        Protocol::Query => {
            let (wrapper, namespace) = (operation.result_wrapper, route.service.xml_namespace);
            let answer = Answer { operation: operation.name, wrapper, namespace, request_id };
            *response.body_mut() = wire_query::encode(answer, output).into();
            content_type(&mut response, document_type(route.protocol));
        }
        Protocol::RestJson => rest(&mut response, operation, output),
    }
    request_id_header(&mut response, request_id);
    response
}

fn rest(response: &mut Response<Bytes>, operation: &'static Operation, output: Option<&dyn Shape>) {
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
                bytes.clone()
            }
            Some(Some(Value::String(text))) => {
                body_type = "text/plain";
                Bytes::copy_from_slice(text.as_bytes())
            }
            Some(Some(Value::Structure(shape))) => wire_json::encode(shape, Members::All).into(),
            Some(_) => Bytes::new(),
            None if shape.schema().members().iter().any(in_body) => wire_json::encode(shape, Members::Body).into(),
            None => Bytes::new(),
        };
    }
    if status == StatusCode::NO_CONTENT.as_u16() {
        response.body_mut().clear();
    }
    if !response.body().is_empty() {
        content_type(response, body_type);
    }
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
}

/// The response for an error.
#[must_use]
pub fn refuse<M: Model>(route: &Route, error: &M::Error, request_id: &str) -> Response<Bytes> {
    let (schema, service) = (error.schema(), route.service);
    let mut response = Response::new(Bytes::new());
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
    *response.body_mut() = body.into();
    content_type(&mut response, document_type(route.protocol));
    request_id_header(&mut response, request_id);
    response
}

fn document_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::RestJson => "application/json",
        Protocol::Query => "text/xml",
    }
}

fn content_type(response: &mut Response<Bytes>, text: &'static str) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
}

fn request_id_header(response: &mut Response<Bytes>, request_id: &str) {
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
}
