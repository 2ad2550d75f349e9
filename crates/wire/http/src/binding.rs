//! What of a rest operation travels outside the document: labels, query string, headers, status. Guarantee: every
//! location that code generation lets through is handled here.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use wire_schema::{
    Kind, Location, Malformed, Member, Place, Seen, Shape, Step, Survey, TimestampFormat, Value, fill_text,
};

/// Fills the members of `shape` that travel in labels, query string and headers.
pub(crate) fn fill(
    shape: &mut dyn Shape,
    labels: &[(&'static str, String)],
    query: &str,
    headers: &HeaderMap,
    seen: &mut Seen,
    survey: &mut Survey,
) -> Result<(), Malformed> {
    let parameters = parameters(query)?;
    for (index, member) in shape.schema().members().iter().enumerate() {
        survey.enter(Step::Member(member.name));
        let present = match member.location {
            Location::Body | Location::StatusCode | Location::EventHeader | Location::EventPayload => false,
            Location::Label => {
                let label = labels.iter().find(|(name, _)| *name == member.wire_name);
                put(shape, index, member, label.map(|(_, text)| text.as_str()), survey)?
            }
            Location::Header => {
                let text = headers.get(member.wire_name).map(HeaderValue::to_str).transpose();
                let text = text.map_err(|_| Malformed(format!("The header {} is not a text.", member.wire_name)))?;
                match (text, &member.schema.kind) {
                    (Some(text), Kind::List { member: item, .. }) => {
                        let format = item.timestamp.unwrap_or(TimestampFormat::HttpDate);
                        let dates = matches!(item.kind, Kind::Timestamp) && format == TimestampFormat::HttpDate;
                        let texts = header_items(text, dates);
                        put_list(shape, index, texts.iter().map(String::as_str), Some(format), survey)?
                    }
                    _ => put(shape, index, member, text, survey)?,
                }
            }
            Location::Query => from_query(shape, index, member, &parameters, survey)?,
            Location::PrefixHeaders => from_prefix(shape, index, member, headers, survey)?,
        };
        survey.leave();
        if present {
            seen.insert(index);
        }
    }
    Ok(())
}

fn put(
    shape: &mut dyn Shape,
    index: usize,
    member: &Member,
    text: Option<&str>,
    survey: &mut Survey,
) -> Result<bool, Malformed> {
    let Some(text) = text else { return Ok(false) };
    let default =
        if member.location == Location::Header { TimestampFormat::HttpDate } else { TimestampFormat::Iso8601 };
    if let Some(place) = shape.place(index) {
        fill_text(place, text, Some(member.timestamp_format().unwrap_or(default)), survey)?;
    }
    Ok(true)
}

fn from_query(
    shape: &mut dyn Shape,
    index: usize,
    member: &Member,
    parameters: &[(String, String)],
    survey: &mut Survey,
) -> Result<bool, Malformed> {
    if matches!(member.schema.kind, Kind::Map { .. }) {
        return query_map(shape, index, parameters, survey);
    }
    let mut values = parameters.iter().filter(|(name, _)| name == member.wire_name).map(|(_, value)| value.as_str());
    if !matches!(member.schema.kind, Kind::List { .. }) {
        // Of a repeated scalar, the last counts.
        return put(shape, index, member, values.next_back(), survey);
    }
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Ok(false);
    }
    let format = match member.schema.kind {
        Kind::List { member: item, .. } => item.timestamp,
        _ => None,
    };
    put_list(shape, index, values, format, survey)
}

fn put_list<'t>(
    shape: &mut dyn Shape,
    index: usize,
    texts: impl Iterator<Item = &'t str>,
    format: Option<TimestampFormat>,
    survey: &mut Survey,
) -> Result<bool, Malformed> {
    if let Some(Place::List(list)) = shape.place(index) {
        list.clear();
        for (item, text) in texts.enumerate() {
            survey.enter(Step::Item(item));
            fill_text(list.push(), text, format, survey)?;
            survey.leave();
        }
    }
    Ok(true)
}

/// All parameters, as a map from names to texts or to lists of texts.
fn query_map(
    shape: &mut dyn Shape,
    index: usize,
    parameters: &[(String, String)],
    survey: &mut Survey,
) -> Result<bool, Malformed> {
    if parameters.is_empty() {
        return Ok(false);
    }
    if let Some(Place::Map(map)) = shape.place(index) {
        map.clear();
        for (name, value) in parameters {
            let values = parameters.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
            survey.enter(Step::Key(name.clone()));
            match map.insert(name.clone()) {
                Place::List(list) => {
                    for value in values {
                        fill_text(list.push(), value, None, survey)?;
                    }
                }
                place => fill_text(place, value, None, survey)?,
            }
            survey.leave();
        }
    }
    Ok(true)
}

/// The items of a header: separated by commas, quoted where they hold one themselves. A date holds one of its own.
fn header_items(text: &str, dates: bool) -> Vec<String> {
    let (mut items, mut item, mut quoted, mut escaped, mut commas) = (Vec::new(), String::new(), false, false, 0);
    for char in text.chars() {
        match char {
            _ if escaped => {
                item.push(char);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' if quoted || item.trim().is_empty() => quoted = !quoted,
            ',' if !quoted => {
                commas += 1;
                if dates && commas % 2 == 1 {
                    item.push(char);
                } else {
                    items.push(std::mem::take(&mut item).trim().to_owned());
                }
            }
            _ => item.push(char),
        }
    }
    items.push(item.trim().to_owned());
    items
}

fn from_prefix(
    shape: &mut dyn Shape,
    index: usize,
    member: &Member,
    headers: &HeaderMap,
    survey: &mut Survey,
) -> Result<bool, Malformed> {
    let prefix = member.wire_name.to_ascii_lowercase();
    let mut found = false;
    for (name, value) in headers {
        let Some(rest) = name.as_str().strip_prefix(&prefix) else { continue };
        let text = value.to_str().map_err(|_| Malformed(format!("The header {name} is not a text.")))?;
        if let Some(Place::Map(map)) = shape.place(index) {
            fill_text(map.insert(rest.to_owned()), text, None, survey)?;
            found = true;
        }
    }
    Ok(found)
}

/// The query string's parameters, unescaped, in their order.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Malformed> {
    let unescape = |text: &str| {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned);
        decoded.map_err(|_| Malformed("A parameter is not UTF-8.".to_owned()))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| Ok((unescape(name)?, unescape(value)?))).collect()
}

/// What of an answer goes into its head.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) headers: HeaderMap,
    pub(crate) status: Option<u16>,
}

/// The members of `shape` that travel in headers and status. What a header cannot carry is left out, which only a
/// service that lets such characters into a header member can cause.
pub(crate) fn head(shape: &dyn Shape) -> Head {
    let mut head = Head::default();
    for (index, member) in shape.schema().members().iter().enumerate() {
        let Some(value) = shape.value(index) else { continue };
        // A list's instants have the format of its items.
        let format = match &member.schema.kind {
            Kind::List { member: item, .. } => item.timestamp,
            _ => member.timestamp_format(),
        };
        match (member.location, value) {
            (Location::StatusCode, Value::Integer(status)) => head.status = u16::try_from(status).ok(),
            (Location::Header, value) => {
                if let Some(text) = header_text(value, format) {
                    insert(&mut head.headers, member.wire_name, &text);
                }
            }
            (Location::PrefixHeaders, Value::Map(map)) => {
                for (key, value) in map.entries() {
                    if let Some(text) = value.and_then(|value| header_text(value, None)) {
                        insert(&mut head.headers, &format!("{}{key}", member.wire_name), &text);
                    }
                }
            }
            _ => {}
        }
    }
    head
}

fn insert(headers: &mut HeaderMap, name: &str, text: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(text)) {
        headers.insert(name, value);
    }
}

fn header_text(value: Value<'_>, format: Option<TimestampFormat>) -> Option<String> {
    Some(match value {
        Value::String(text) => text.to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Timestamp(instant) => match format {
            None | Some(TimestampFormat::HttpDate) => instant.to_http_date(),
            Some(TimestampFormat::Iso8601) => instant.to_iso8601(),
            Some(TimestampFormat::Seconds) => instant.as_seconds().to_string(),
        },
        Value::List(list) => {
            let items = (0..list.len()).filter_map(|index| list.item(index));
            let texts = items.filter_map(|item| Some(quoted(item, &header_text(item, format)?)));
            texts.collect::<Vec<_>>().join(", ")
        }
        Value::Blob(_) | Value::Map(_) | Value::Structure(_) | Value::Events(_) | Value::Stream(_) => return None,
    })
}

/// An item of a header's list; a text that holds a comma or a quote is quoted, a date is not.
fn quoted(value: Value<'_>, text: &str) -> String {
    if matches!(value, Value::String(_)) && text.contains([',', '"']) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}
