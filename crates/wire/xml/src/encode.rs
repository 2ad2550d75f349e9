//! From a shape to XML. Guarantee: well-formed whatever the texts hold; characters that XML 1.0 cannot carry become
//! U+FFFD.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use wire_schema::{Kind, Location, Member, Schema, Shape, TimestampFormat, Value};

/// The element around a document.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    /// Its name; empty when the one member of the document stands there itself.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: Option<&'a str>,
}

/// Whose document it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Query's: members by their form names, style as `2026-11-23T12:00:00Z`, with a fraction where there is one.
    Query,
    /// rest-xml's: members by their names on the wire, style as `2026-11-23T12:00:00.000Z`.
    Rest,
}

impl Style {
    fn name(self, member: &Member) -> &'static str {
        if self == Self::Query { member.form_name } else { member.wire_name }
    }
}

/// The document of `shape`, with those members that travel in it.
#[must_use]
pub fn encode(root: Root<'_>, shape: &dyn Shape) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let members = || shape.schema().members().iter().enumerate();
    if root.name.is_empty() {
        let only = members().find(|(_, member)| member.location == Location::Body);
        if let Some((index, member)) = only {
            open(&mut out, member.wire_name, root.namespace);
            if let Some(value) = shape.value(index) {
                write(&mut out, member.schema, value, member.timestamp_format(), Style::Rest);
            }
            close(&mut out, member.wire_name);
        }
        return out;
    }
    out.push('<');
    out.push_str(root.name);
    if let Some(namespace) = root.namespace {
        attribute(&mut out, "xmlns", namespace);
    }
    attributes(&mut out, shape.schema(), shape);
    out.push('>');
    structure(&mut out, shape, Style::Rest);
    close(&mut out, root.name);
    out
}

/// `<name xmlns="namespace">`
pub fn open(out: &mut String, name: &str, namespace: Option<&str>) {
    out.push('<');
    out.push_str(name);
    if let Some(namespace) = namespace {
        attribute(out, "xmlns", namespace);
    }
    out.push('>');
}

/// `</name>`
pub fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// `<name>content</name>`
pub fn element(out: &mut String, name: &str, content: impl FnOnce(&mut String)) {
    open(out, name, None);
    content(out);
    close(out, name);
}

fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    text(out, value);
    out.push('"');
}

/// The elements of those members that travel in the document.
pub fn structure(out: &mut String, shape: &dyn Shape, style: Style) {
    for (index, member) in shape.schema().members().iter().enumerate() {
        if member.location == Location::Body
            && !member.xml_attribute
            && let Some(value) = shape.value(index)
        {
            write_member(out, member, value, style);
        }
    }
}

fn write_member(out: &mut String, member: &'static Member, value: Value<'_>, style: Style) {
    let name = style.name(member);
    match (&member.schema.kind, value) {
        (Kind::List { member: item, .. }, Value::List(list)) if member.is_flattened() => {
            for value in (0..list.len()).filter_map(|index| list.item(index)) {
                named(out, name, item, value, item.timestamp, style);
            }
        }
        (Kind::Map { value: schema, key_name, value_name, .. }, Value::Map(map)) if member.is_flattened() => {
            for (key, value) in map.entries() {
                element(out, name, |out| entry(out, (key_name, key), (value_name, value), schema, style));
            }
        }
        _ => named(out, name, member.schema, value, member.timestamp_format(), style),
    }
}

/// The element of a value, with the attributes that a structure has.
fn named(
    out: &mut String,
    name: &str,
    schema: &'static Schema,
    value: Value<'_>,
    format: Option<TimestampFormat>,
    style: Style,
) {
    out.push('<');
    out.push_str(name);
    if let Value::Structure(shape) = value {
        attributes(out, schema, shape);
    }
    out.push('>');
    write(out, schema, value, format, style);
    close(out, name);
}

fn attributes(out: &mut String, schema: &'static Schema, shape: &dyn Shape) {
    if let Some((prefix, uri)) = schema.xml_prefix {
        attribute(out, &format!("xmlns:{prefix}"), uri);
    }
    for (index, member) in schema.members().iter().enumerate().filter(|(_, member)| member.xml_attribute) {
        if let Some(Value::String(value)) = shape.value(index) {
            attribute(out, member.wire_name, value);
        }
    }
}

fn entry(out: &mut String, key: (&str, &str), value: (&str, Option<Value<'_>>), schema: &'static Schema, style: Style) {
    element(out, key.0, |out| text(out, key.1));
    if let (name, Some(value)) = value {
        named(out, name, schema, value, schema.timestamp, style);
    }
}

fn write(out: &mut String, schema: &'static Schema, value: Value<'_>, format: Option<TimestampFormat>, style: Style) {
    match value {
        Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Integer(value) => out.push_str(&value.to_string()),
        Value::Float(value) => number(out, f64::from(value), value.to_string()),
        Value::Double(value) => number(out, value, value.to_string()),
        Value::String(value) => text(out, value),
        Value::Blob(bytes) => STANDARD.encode_string(bytes, out),
        Value::Timestamp(instant) => match (format, style) {
            (None, Style::Rest) => out.push_str(&instant.to_iso8601_millis()),
            (None | Some(TimestampFormat::Iso8601), _) => out.push_str(&instant.to_iso8601()),
            (Some(TimestampFormat::HttpDate), _) => out.push_str(&instant.to_http_date()),
            (Some(TimestampFormat::Seconds), _) => out.push_str(&instant.as_seconds_f64().to_string()),
        },
        Value::List(list) => {
            if let Kind::List { member, name, .. } = &schema.kind {
                for value in (0..list.len()).filter_map(|index| list.item(index)) {
                    named(out, name, member, value, member.timestamp, style);
                }
            }
        }
        Value::Map(map) => {
            if let Kind::Map { value: schema, key_name, value_name, .. } = &schema.kind {
                for (key, value) in map.entries() {
                    element(out, "entry", |out| entry(out, (key_name, key), (value_name, value), schema, style));
                }
            }
        }
        Value::Structure(shape) => structure(out, shape, style),
        // Code generation lets neither into a document: they are bodies of their own.
        Value::Events(_) | Value::Stream(_) => {}
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
pub fn text(out: &mut String, text: &str) {
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
