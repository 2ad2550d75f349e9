//! What the gateway itself refuses, in the form of the protocol that the client speaks.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use wire_schema::{Protocol, ServiceSchema};
use wire_sigv4::{Family, SignatureError};

use crate::Body;

/// How an error is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// A service's protocol.
    Service(&'static ServiceSchema, Protocol),
    /// No service is known: a JSON document.
    Plain,
    /// No service is known, but the client speaks a query protocol: an XML document.
    Query,
    /// No service is known, but the client expects S3's XML.
    S3,
}

/// An error made by the gateway.
#[derive(Debug, Clone)]
pub struct Refusal {
    status: u16,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    /// The query protocols' code, for services that send both.
    query_code: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: Cow::Borrowed(code), message: message.into(), query_code: None }
    }

    pub(crate) fn of_signature(error: &SignatureError, form: Form) -> Self {
        let denial = error.describe(match form {
            Form::Service(_, Protocol::Json10 | Protocol::Json11) => Family::Json,
            Form::Service(_, Protocol::RestJson) | Form::Plain => Family::RestJson,
            Form::Service(_, Protocol::Query) | Form::Query => Family::Query,
            Form::Service(_, Protocol::RestXml) | Form::S3 => Family::S3,
        });
        let query_code = match form {
            Form::Service(service, Protocol::Json10 | Protocol::Json11) if service.query_compatible => {
                Some(error.describe(Family::Query).code)
            }
            _ => None,
        };
        Self { status: denial.status, code: Cow::Borrowed(denial.code), message: denial.message, query_code }
    }

    pub(crate) fn internal() -> Self {
        Self::new(500, "InternalFailure", "The service encountered an internal error. Please try again.")
    }

    pub(crate) fn response(&self, form: Form, request_id: &str) -> Response<Body> {
        let (content_type, text) = match form {
            Form::Service(_, protocol @ (Protocol::Json10 | Protocol::Json11)) => (
                if protocol == Protocol::Json10 { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" },
                serde_json::json!({ "__type": self.code, "message": self.message }).to_string(),
            ),
            Form::Service(_, Protocol::RestJson) => {
                ("application/json", serde_json::json!({ "message": self.message }).to_string())
            }
            Form::Plain => {
                ("application/json", serde_json::json!({ "__type": self.code, "message": self.message }).to_string())
            }
            Form::Service(service, Protocol::Query) => {
                ("text/xml", self.query_document(service.xml_namespace, request_id))
            }
            Form::Query => ("text/xml", self.query_document(None, request_id)),
            Form::Service(_, Protocol::RestXml) | Form::S3 => ("application/xml", self.s3_document(request_id)),
        };
        let mut response = Response::new(Body::from(Bytes::from(text)));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if matches!(form, Form::Service(_, Protocol::RestXml) | Form::S3) {
            if let Ok(id) = HeaderValue::from_str(request_id) {
                headers.insert("x-amz-request-id", id.clone());
                headers.insert("x-amz-id-2", id);
            }
        } else if let Ok(code) = HeaderValue::from_str(&self.code) {
            headers.insert("x-amzn-errortype", code);
        }
        if let Some(code) = self.query_code
            && let Ok(value) = HeaderValue::from_str(&format!("{code};Sender"))
        {
            headers.insert("x-amzn-query-error", value);
        }
        response
    }

    fn query_document(&self, namespace: Option<&str>, request_id: &str) -> String {
        let namespace = namespace.map(|namespace| format!(" xmlns=\"{}\"", escaped(namespace))).unwrap_or_default();
        // What is not there is asked for by the sender: no client should try again.
        let kind = if self.status < 500 || self.status == 501 { "Sender" } else { "Receiver" };
        format!(
            "<ErrorResponse{namespace}><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
             <RequestId>{}</RequestId></ErrorResponse>",
            escaped(&self.code),
            escaped(&self.message),
            escaped(request_id),
        )
    }

    fn s3_document(&self, request_id: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>\
             <RequestId>{id}</RequestId><HostId>{id}</HostId></Error>",
            escaped(&self.code),
            escaped(&self.message),
            id = escaped(request_id),
        )
    }
}

/// XML text; characters that XML cannot hold become `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => out.push(character),
            control if control < ' ' || control == '\u{fffe}' || control == '\u{ffff}' => out.push('?'),
            other => out.push(other),
        }
    }
    out
}
