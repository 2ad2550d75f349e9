//! Filter policies: which messages a subscription wants. Pure.
//!
//! The language is `lang_eventpattern`'s; here are SNS's own limits, the two scopes, and what an attribute is to a policy.
//! Source: SNS Developer Guide, "Amazon SNS subscription filter policies" and "Filter policy constraints".

use std::collections::BTreeSet;

use lang_eventpattern::{Dialect, Event, EventPattern};
use serde_json::{Map, Value};

use crate::message::Attribute;

const KEYS_MAX: usize = 5;
const COMBINATIONS_MAX: u64 = 150;
const DEPTH_MAX: usize = 100;

/// What a policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Attributes,
    Body,
}

impl Scope {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "MessageAttributes" => Some(Self::Attributes),
            "MessageBody" => Some(Self::Body),
            _ => None,
        }
    }
}

/// Checks a policy.
///
/// # Errors
/// AWS's reason, for "FilterPolicy: …".
pub(crate) fn check(text: &str, scope: Scope) -> Result<(), String> {
    let policy = match parse_json(text)? {
        Value::Object(policy) => policy,
        _ => return Err("Filter policy must be a JSON object".to_owned()),
    };
    EventPattern::parse(&compact(text), Dialect::Sns).map_err(|error| error.to_string())?;
    let mut keys = BTreeSet::new();
    let combinations = combinations(&policy, &mut String::new(), 1, &mut keys);
    if keys.len() > KEYS_MAX {
        return Err(format!("Filter policy can not have more than {KEYS_MAX} keys"));
    }
    if combinations > COMBINATIONS_MAX {
        return Err("Filter policy is too complex".to_owned());
    }
    if scope == Scope::Attributes && keys.iter().any(|key| key.contains('\u{0}')) {
        return Err("Filter policy scope MessageAttributes does not support nested filter policy".to_owned());
    }
    Ok(())
}

/// A policy that was checked, to be matched with.
pub(crate) fn compile(text: &str, scope: Scope) -> Option<EventPattern> {
    let text = compact(text);
    if scope == Scope::Body {
        return EventPattern::parse(&text, Dialect::Sns).ok();
    }
    // To an attribute that is not there, null is equal.
    let mut policy: Value = serde_json::from_str(&text).ok()?;
    absent_for_null(&mut policy, 0);
    EventPattern::parse(&policy.to_string(), Dialect::Sns).ok()
}

fn absent_for_null(policy: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match policy {
        Value::Object(members) => members.values_mut().for_each(|member| absent_for_null(member, depth + 1)),
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Null => *item = serde_json::json!({ "exists": false }),
                    // An alternative of an `$or` holds conditions of its own; an operator's operand none.
                    Value::Object(members) if members.values().any(Value::is_array) => absent_for_null(item, depth + 1),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// How many combinations of values a policy has: each key's values times its depth, multiplied; alternatives added.
fn combinations(policy: &Map<String, Value>, path: &mut String, depth: u64, keys: &mut BTreeSet<String>) -> u64 {
    let mut product = 1_u64;
    for (name, value) in policy {
        let length = path.len();
        let factor = match value {
            Value::Array(alternatives) if name == "$or" => alternatives
                .iter()
                .filter_map(Value::as_object)
                .map(|alternative| combinations(alternative, path, depth, keys))
                .fold(0, u64::saturating_add),
            Value::Object(below) => {
                push(path, name);
                combinations(below, path, depth + 1, keys)
            }
            other => {
                push(path, name);
                keys.insert(path.clone());
                let values = other.as_array().map_or(1, Vec::len).max(1);
                depth.saturating_mul(u64::try_from(values).unwrap_or(u64::MAX))
            }
        };
        path.truncate(length);
        product = product.saturating_mul(factor);
    }
    product
}

/// Names in a path are parted by what no name of an attribute can hold.
fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('\u{0}');
    }
    path.push_str(name);
}

/// A text without the white space between its tokens, which is how AWS shows a policy in its errors.
pub(crate) fn compact(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if c == '"' {
            quoted = true;
        } else if matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        kept.push(c);
    }
    kept
}

/// Reads JSON; an error in the words of AWS's parser.
///
/// # Errors
/// "failed to parse JSON. …".
pub(crate) fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line().max(1), error.column().max(1));
        let found = text.lines().nth(line - 1).and_then(|line| {
            // serde counts bytes.
            line.char_indices().find(|(at, c)| at + c.len_utf8() >= column).map(|(_, c)| c)
        });
        let what = match found {
            Some(c) if !error.is_eof() => {
                let expected = if error.to_string().starts_with("key must be a string") {
                    "was expecting double-quote to start field name"
                } else {
                    "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
                };
                format!("Unexpected character ('{c}' (code {})): {expected}", u32::from(c))
            }
            _ => "Unexpected end-of-input".to_owned(),
        };
        format!(
            "failed to parse JSON. {what}\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); \
             line: {line}, column: {column}]"
        )
    })
}

/// A message's attributes as policies see them. Binary ones are not there for policies.
pub(crate) fn of_attributes(attributes: &[Attribute]) -> Event {
    let mut members = Map::new();
    for attribute in attributes {
        let Some(text) = &attribute.text else { continue };
        let kind = attribute.data_type.split('.').next().unwrap_or_default();
        let value = if attribute.data_type == "String.Array" {
            serde_json::from_str(text).ok().filter(Value::is_array)
        } else if kind == "Number" {
            serde_json::from_str(text)
                .ok()
                .filter(Value::is_number)
                .or_else(|| text.parse::<f64>().ok().map(Value::from))
        } else {
            Some(Value::String(text.clone()))
        };
        if let Some(value) = value {
            members.insert(attribute.name.clone(), value);
        }
    }
    Event::new(&Value::Object(members))
}

/// A message's body as policies see it; `None` when it is no JSON object, which no policy wants.
pub(crate) fn of_body(text: &str) -> Option<Event> {
    let document: Value = serde_json::from_str(text).ok()?;
    document.is_object().then(|| Event::new(&document))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(name: &str, data_type: &str, value: &str) -> Attribute {
        Attribute { name: name.to_owned(), data_type: data_type.to_owned(), text: Some(value.to_owned()), bytes: None }
    }

    #[test]
    fn attributes_are_matched_by_their_type() {
        let attributes = [
            text("s", "String", "a"),
            text("n", "Number", "19.12"),
            text("l", "String.Array", r#"["x", 7, true, null]"#),
        ];
        for (policy, wanted) in [
            (r#"{"s":["a"]}"#, true),
            (r#"{"s":["b"]}"#, false),
            (r#"{"s":[{"prefix":"a"}]}"#, true),
            (r#"{"n":[19.12]}"#, true),
            (r#"{"n":[{"numeric":[">",19,"<=",20]}]}"#, true),
            (r#"{"n":["19.12"]}"#, false),
            (r#"{"l":["x"]}"#, true),
            (r#"{"l":[7]}"#, true),
            (r#"{"l":[true]}"#, true),
            (r#"{"l":["y"]}"#, false),
            (r#"{"s":[{"exists":false}]}"#, false),
            (r#"{"gone":[{"exists":false}]}"#, true),
            (r#"{"gone":[null]}"#, true),
            (r#"{"s":[null]}"#, false),
            (r#"{"gone":[null,{"anything-but":"a"}]}"#, true),
            (r#"{"s":[null,{"anything-but":"a"}]}"#, false),
            (r#"{"$or":[{"s":["b"]},{"gone":[null]}]}"#, true),
        ] {
            check(policy, Scope::Attributes).unwrap();
            let pattern = compile(policy, Scope::Attributes).unwrap();
            assert_eq!(pattern.matches(&of_attributes(&attributes)), wanted, "{policy}");
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_wanted_by_nobody() {
        for body in ["", "text", "[1]", "\"a\"", "7"] {
            assert!(of_body(body).is_none(), "{body}");
        }
        assert!(of_body(r#"{"a": 1}"#).is_some());
    }

    #[test]
    fn only_bodies_are_nested() {
        let nested = r#"{"a":{"b":["c"]}}"#;
        assert!(check(nested, Scope::Body).is_ok() && check(nested, Scope::Attributes).is_err());
    }

    #[test]
    fn white_space_between_tokens_goes_and_within_texts_stays() {
        assert_eq!(compact("{ \"a b\" :\n[ \"c \\\" d\" ] }"), r#"{"a b":["c \" d"]}"#);
    }

    mod property {
        use super::*;

        proptest! {
            #[test]
            fn no_text_breaks_it(text in ".{0,60}") {
                for scope in [Scope::Attributes, Scope::Body] {
                    let _ = (check(&text, scope), compile(&text, scope));
                }
                let _ = of_body(&text);
            }

            #[test]
            fn what_was_checked_can_be_compiled(key in "[a-z]{1,3}", value in "[a-z]{0,4}", number: i32) {
                let policy = format!(r#"{{"{key}": ["{value}", {number}, null, {{"prefix": "{value}x"}}]}}"#);
                check(&policy, Scope::Attributes).unwrap();
                prop_assert!(compile(&policy, Scope::Attributes).is_some());
            }
        }
    }
}
