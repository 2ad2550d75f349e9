//! From a shape to JSON. Guarantee: absent members are left out; instants are seconds since 1970, blobs base64, numbers
//! that JSON lacks are texts; the output is one line.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use wire_schema::{Kind, Location, Schema, Shape, TimestampFormat, Value};

/// Which members of the top structure are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// Those that travel in the document (rest-json).
    Body,
    /// All (json 1.0 and 1.1, whose members all do).
    All,
}

/// The document of `shape`.
#[must_use]
pub fn encode(shape: &dyn Shape, members: Members) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    structure(&mut out, shape, members, None);
    out
}

/// The document of an error: as [`encode`], beginning with `__type` where the protocol has it.
#[must_use]
pub fn encode_error(shape: &dyn Shape, members: Members, r#type: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    structure(&mut out, shape, members, r#type);
    out
}

fn structure(out: &mut Vec<u8>, shape: &dyn Shape, which: Members, r#type: Option<&str>) {
    out.push(b'{');
    let mut first = true;
    if let Some(r#type) = r#type {
        out.extend_from_slice(b"\"__type\":");
        text(out, r#type);
        first = false;
    }
    for (index, member) in shape.schema().members().iter().enumerate() {
        if which == Members::Body && member.location != Location::Body {
            continue;
        }
        let Some(value) = shape.value(index) else { continue };
        if !first {
            out.push(b',');
        }
        first = false;
        text(out, member.wire_name);
        out.push(b':');
        write(out, member.schema, value, member.timestamp_format());
    }
    out.push(b'}');
}

fn write(out: &mut Vec<u8>, schema: &'static Schema, value: Value<'_>, format: Option<TimestampFormat>) {
    match value {
        Value::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        // Writing into memory cannot fail.
        Value::Integer(value) => drop(write!(out, "{value}")),
        Value::Float(value) => number(out, f64::from(value), || serde_json::to_vec(&value)),
        Value::Double(value) => number(out, value, || serde_json::to_vec(&value)),
        Value::String(value) => text(out, value),
        Value::Blob(bytes) => {
            out.push(b'"');
            let start = out.len();
            out.resize(start + bytes.len().div_ceil(3) * 4, 0);
            // The buffer has exactly the size of the encoding, so this cannot fail.
            let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
            out.truncate(start + written);
            out.push(b'"');
        }
        Value::Timestamp(instant) => match format {
            None | Some(TimestampFormat::Seconds) if instant.as_millis().is_multiple_of(1000) => {
                out.extend_from_slice(instant.as_seconds().to_string().as_bytes());
            }
            None | Some(TimestampFormat::Seconds) => {
                let (seconds, millis) = (instant.as_seconds(), instant.as_millis() % 1000);
                out.extend_from_slice(format!("{seconds}.{millis:03}").as_bytes());
            }
            Some(TimestampFormat::Iso8601) => text(out, &instant.to_iso8601()),
            Some(TimestampFormat::HttpDate) => text(out, &instant.to_http_date()),
        },
        Value::List(list) => {
            out.push(b'[');
            if let Kind::List { member, .. } = &schema.kind {
                for index in 0..list.len() {
                    if index > 0 {
                        out.push(b',');
                    }
                    match list.item(index) {
                        Some(item) => write(out, member, item, member.timestamp),
                        None => out.extend_from_slice(b"null"),
                    }
                }
            }
            out.push(b']');
        }
        Value::Map(map) => {
            out.push(b'{');
            if let Kind::Map { value: schema, .. } = &schema.kind {
                for (index, (key, value)) in map.entries().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    text(out, key);
                    out.push(b':');
                    match value {
                        Some(value) => write(out, schema, value, schema.timestamp),
                        None => out.extend_from_slice(b"null"),
                    }
                }
            }
            out.push(b'}');
        }
        Value::Structure(shape) => structure(out, shape, Members::All, None),
        // Events are a body of their own: code generation lets them stand nowhere else.
        Value::Events(_) | Value::Stream(_) => out.extend_from_slice(b"null"),
    }
}

fn number(out: &mut Vec<u8>, value: f64, finite: impl Fn() -> serde_json::Result<Vec<u8>>) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"".as_slice() } else { b"\"-Infinity\"" });
    } else {
        // Writing a finite number into memory cannot fail; `0` would be seen by the round trip.
        out.extend(finite().unwrap_or_else(|_| b"0".to_vec()));
    }
}

/// Which bytes stand for themselves in a JSON string: all but quotes, backslashes and control characters.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[0x7f] = false;
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

/// A JSON string.
fn text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.push(b'"');
    while let Some(index) = rest.iter().position(|byte| !PLAIN[usize::from(*byte)]) {
        out.extend_from_slice(&rest[..index]);
        match rest[index] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[index + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
