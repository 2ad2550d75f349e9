//! From a shape to XML. Guarantee: well-formed whatever the texts hold; characters that XML 1.0 cannot carry become
//! U+FFFD.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use wire_schema::{Kind, Member, Schema, Shape, TimestampFormat, Value};

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
    open_root(&mut out, &root, namespace);
    match (wrapper, output) {
        (Some(wrapper), Some(shape)) => element(&mut out, wrapper, |out| structure(out, shape)),
        (None, Some(shape)) => structure(&mut out, shape),
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
    open_root(&mut out, "ErrorResponse", namespace);
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

fn open_root(out: &mut String, name: &str, namespace: Option<&str>) {
    out.push('<');
    out.push_str(name);
    if let Some(namespace) = namespace {
        out.push_str(" xmlns=\"");
        text(out, namespace);
        out.push('"');
    }
    out.push('>');
}

fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

fn element(out: &mut String, name: &str, content: impl FnOnce(&mut String)) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    content(out);
    close(out, name);
}

fn structure(out: &mut String, shape: &dyn Shape) {
    for (index, member) in shape.schema().members().iter().enumerate() {
        if let Some(value) = shape.value(index) {
            write_member(out, member, value);
        }
    }
}

fn write_member(out: &mut String, member: &'static Member, value: Value<'_>) {
    let name = member.form_name;
    match (&member.schema.kind, value) {
        (Kind::List { member: item, .. }, Value::List(list)) if member.is_flattened() => {
            for value in (0..list.len()).filter_map(|index| list.item(index)) {
                element(out, name, |out| write(out, item, value, item.timestamp));
            }
        }
        (Kind::Map { value: schema, key_name, value_name, .. }, Value::Map(map)) if member.is_flattened() => {
            for (key, value) in map.entries() {
                element(out, name, |out| entry(out, (key_name, key), (value_name, value), schema));
            }
        }
        _ => element(out, name, |out| write(out, member.schema, value, member.timestamp_format())),
    }
}

fn entry(out: &mut String, key: (&str, &str), value: (&str, Option<Value<'_>>), schema: &'static Schema) {
    element(out, key.0, |out| text(out, key.1));
    if let (name, Some(value)) = value {
        element(out, name, |out| write(out, schema, value, schema.timestamp));
    }
}

fn write(out: &mut String, schema: &'static Schema, value: Value<'_>, format: Option<TimestampFormat>) {
    match value {
        Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Integer(value) => out.push_str(&value.to_string()),
        Value::Float(value) => number(out, f64::from(value), value.to_string()),
        Value::Double(value) => number(out, value, value.to_string()),
        Value::String(value) => text(out, value),
        Value::Blob(bytes) => STANDARD.encode_string(bytes, out),
        Value::Timestamp(instant) => match format {
            None | Some(TimestampFormat::Iso8601) => out.push_str(&instant.to_iso8601()),
            Some(TimestampFormat::HttpDate) => out.push_str(&instant.to_http_date()),
            Some(TimestampFormat::Seconds) => out.push_str(&instant.as_seconds_f64().to_string()),
        },
        Value::List(list) => {
            if let Kind::List { member, name, .. } = &schema.kind {
                for value in (0..list.len()).filter_map(|index| list.item(index)) {
                    element(out, name, |out| write(out, member, value, member.timestamp));
                }
            }
        }
        Value::Map(map) => {
            if let Kind::Map { value: schema, key_name, value_name, .. } = &schema.kind {
                for (key, value) in map.entries() {
                    element(out, "entry", |out| entry(out, (key_name, key), (value_name, value), schema));
                }
            }
        }
        Value::Structure(shape) => structure(out, shape),
        // Code generation lets no event stream into this protocol.
        Value::Events(_) => {}
    }
}

fn number(out: &mut String, value: f64, finite: String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        out.push_str(&finite);
    }
}

/// Escaped for text and for attributes alike. A carriage return is written as a reference: a parser would make it a
/// line feed.
fn text(out: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\t' | '\n' => out.push(char),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(char),
        }
    }
}
