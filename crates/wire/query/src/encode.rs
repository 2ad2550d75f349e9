//! From a shape to the XML document of a query answer: what stands around the result.

use wire_schema::Shape;
use wire_xml::{Style, close, element, open, structure, text};

/// The names around a result.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The operation's name.
    pub operation: &'a str,
    /// The element around the result, if it has one.
    pub wrapper: Option<&'a str>,
    /// The namespace of the document.
    pub namespace: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a str,
}

/// The document of a successful answer.
#[must_use]
pub fn encode(answer: Answer<'_>, output: Option<&dyn Shape>) -> String {
    let Answer { operation, wrapper, namespace, request_id } = answer;
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\"?>\n");
    let root = format!("{operation}Response");
    open(&mut out, &root, namespace);
    match (wrapper, output) {
        (Some(wrapper), Some(shape)) => element(&mut out, wrapper, |out| structure(out, shape, Style::Query)),
        (None, Some(shape)) => structure(&mut out, shape, Style::Query),
        (_, None) => {}
    }
    element(&mut out, "ResponseMetadata", |out| element(out, "RequestId", |out| text(out, request_id)));
    close(&mut out, &root);
    out
}

/// The document of an error. `detail` writes the empty element that services of the first generation add.
#[must_use]
pub fn encode_error(
    code: &str,
    message: &str,
    sender: bool,
    namespace: Option<&str>,
    detail: bool,
    request_id: &str,
) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\"?>\n");
    open(&mut out, "ErrorResponse", namespace);
    element(&mut out, "Error", |out| {
        element(out, "Type", |out| out.push_str(if sender { "Sender" } else { "Receiver" }));
        element(out, "Code", |out| text(out, code));
        element(out, "Message", |out| text(out, message));
        if detail {
            out.push_str("<Detail/>");
        }
    });
    element(&mut out, "RequestId", |out| text(out, request_id));
    close(&mut out, "ErrorResponse");
    out
}
