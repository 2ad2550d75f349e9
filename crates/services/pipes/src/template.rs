//! Input templates and JSON paths. Pure.
//!
//! A template is text in which `<$.path>` stands for a part of the event and `<aws.pipes.…>` for something of the pipe. What
//! a path names inside of quotes is put there as text; outside of quotes it is put there as JSON. A template that is
//! nothing but one path to a text gives that text. A path that leads nowhere gives an empty text, or `null`.
//!
//! Guarantees: no template makes it panic; the result is at most [`RESULT_BYTES_MAX`] long.

use serde_json::Value;

/// The greatest result (a target's greatest message).
pub(crate) const RESULT_BYTES_MAX: usize = 1_048_576;
/// Steps of a path.
const STEPS_MAX: usize = 64;

/// The result would be too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the input template makes more than {RESULT_BYTES_MAX} bytes of it")]
pub(crate) struct TooLarge;

/// What the reserved variables stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pub(crate) pipe_arn: String,
    pub(crate) pipe_name: String,
    pub(crate) source_arn: String,
    pub(crate) enrichment_arn: String,
    pub(crate) target_arn: String,
    /// When the pipe got the event.
    pub(crate) ingestion_time: String,
}

/// A place in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
    Every,
}

impl Path {
    /// Reads `$.a.b[0].c[*]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return None;
            }
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (name, left) = after.split_at(end);
                let good = !name.is_empty()
                    && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '@' | ':' | '$'));
                if !good {
                    return None;
                }
                steps.push(Step::Member(name.to_owned()));
                rest = left;
            } else {
                let (inner, left) = rest.strip_prefix('[')?.split_once(']')?;
                let quoted = |quote: char| inner.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote));
                steps.push(match (inner, quoted('\'').or_else(|| quoted('"'))) {
                    (_, Some(name)) => Step::Member(name.to_owned()),
                    ("*", None) => Step::Every,
                    (number, None) => Step::Item(number.parse().ok()?),
                });
                rest = left;
            }
        }
        Some(Self(steps))
    }

    /// What stands there. A text on the way that is itself a document is looked into.
    pub(crate) fn find(&self, event: &Value) -> Option<Value> {
        step_into(event, &self.0)
    }
}

fn step_into(value: &Value, steps: &[Step]) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.clone()) };
    if let Value::String(text) = value {
        let inner: Value =
            serde_json::from_str(text).ok().filter(|inner: &Value| inner.is_object() || inner.is_array())?;
        return step_into(&inner, steps);
    }
    match step {
        Step::Member(name) => step_into(value.get(name)?, rest),
        Step::Item(index) => step_into(value.get(*index)?, rest),
        Step::Every => {
            let items = value.as_array()?.iter().filter_map(|item| step_into(item, rest));
            Some(Value::Array(items.collect()))
        }
    }
}

/// What a template makes of an event.
pub(crate) fn render(template: &str, event: &Value, variables: &Variables) -> Result<String, TooLarge> {
    if let Some(inner) = template.trim().strip_prefix('<').and_then(|rest| rest.strip_suffix('>'))
        && let Some(value) = value_of(inner, event, variables)
    {
        return bounded(match value {
            Value::String(text) => text,
            other => other.to_string(),
        });
    }
    let mut result = String::with_capacity(template.len());
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = template;
    while let Some(character) = rest.chars().next() {
        if character == '<'
            && let Some((inner, after)) = rest[1..].split_once('>')
            && let Some(value) = value_of(inner, event, variables)
        {
            put(&mut result, &value, quoted);
            rest = after;
        } else {
            match character {
                '"' if !escaped => quoted = !quoted,
                _ => {}
            }
            escaped = character == '\\' && !escaped;
            result.push(character);
            rest = &rest[character.len_utf8()..];
        }
        if result.len() > RESULT_BYTES_MAX {
            return Err(TooLarge);
        }
    }
    Ok(result)
}

fn bounded(text: String) -> Result<String, TooLarge> {
    if text.len() > RESULT_BYTES_MAX { Err(TooLarge) } else { Ok(text) }
}

fn put(result: &mut String, value: &Value, quoted: bool) {
    if !quoted {
        result.push_str(&value.to_string());
        return;
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let literal = Value::String(text).to_string();
    // Without the quotes that it has already.
    result.push_str(literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default());
}

/// What a variable or path stands for; none when it is neither.
fn value_of(name: &str, event: &Value, variables: &Variables) -> Option<Value> {
    if name.starts_with('$') {
        return Some(Path::parse(name)?.find(event).unwrap_or(Value::Null));
    }
    let text = |text: &str| Some(Value::String(text.to_owned()));
    match name.strip_prefix("aws.pipes.")? {
        "pipe-arn" => text(&variables.pipe_arn),
        "pipe-name" => text(&variables.pipe_name),
        "source-arn" => text(&variables.source_arn),
        "enrichment-arn" => text(&variables.enrichment_arn),
        "target-arn" => text(&variables.target_arn),
        "event.ingestion-time" => text(&variables.ingestion_time),
        "event" => Some(without_body(event)),
        "event.json" => Some(event.clone()),
        _ => None,
    }
}

/// AWS: the event without its body.
fn without_body(event: &Value) -> Value {
    let mut event = event.clone();
    if let Value::Object(members) = &mut event {
        members.remove("body");
    }
    event
}

/// Whether a template can be used: what looks like a variable is one.
pub(crate) fn check(template: &str) -> Result<(), String> {
    let mut rest = template;
    while let Some(at) = rest.find('<') {
        let inner = rest[at + 1..].split_once('>').map(|(inner, _)| inner);
        if let Some(inner) = inner {
            let path = inner.starts_with('$') && Path::parse(inner).is_none();
            let variable =
                inner.starts_with("aws.pipes.") && value_of(inner, &Value::Null, &Variables::default()).is_none();
            if path || variable {
                return Err(inner.chars().take(200).collect());
            }
        }
        rest = &rest[at + 1..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "messageId": "m-1",
            "body": "{\"order\":{\"id\":7,\"note\":\"say \\\"hi\\\"\"},\"items\":[{\"n\":1},{\"n\":2}]}",
            "attributes": {"SenderId": "S"},
        })
    }

    fn variables() -> Variables {
        Variables {
            pipe_name: "p".to_owned(),
            ingestion_time: "2026-01-01T00:00:00Z".to_owned(),
            ..Variables::default()
        }
    }

    #[test]
    fn templates_are_filled_as_text_and_as_json() {
        for (template, expect) in [
            ("Hello", "Hello"),
            ("<$.attributes.SenderId>", "S"),
            ("\"Hello, <$.attributes.SenderId>\"", "\"Hello, S\""),
            (
                "{\"id\":<$.body.order.id>,\"d\":<aws.pipes.event.ingestion-time>}",
                "{\"id\":7,\"d\":\"2026-01-01T00:00:00Z\"}",
            ),
            ("{\"id\":\"<$.body.order.id>\"}", "{\"id\":\"7\"}"),
            ("{\"n\":\"<$.body.order.note>\"}", "{\"n\":\"say \\\"hi\\\"\"}"),
            ("{\"o\":<$.body.order>}", "{\"o\":{\"id\":7,\"note\":\"say \\\"hi\\\"\"}}"),
            ("<$.body.items[1].n>", "2"),
            ("<$.body.items[*].n>", "[1,2]"),
            ("<$.body['order'].id>", "7"),
            ("{\"x\":<$.nowhere>,\"y\":\"<$.nowhere>\"}", "{\"x\":null,\"y\":\"\"}"),
            ("<aws.pipes.pipe-name>", "p"),
            ("a < b <aws.pipes.nothing> <$..>", "a < b <aws.pipes.nothing> <$..>"),
            ("\"a\\\"<$.messageId>\"", "\"a\\\"m-1\""),
            ("{\"e\":<aws.pipes.event>}", "{\"e\":{\"attributes\":{\"SenderId\":\"S\"},\"messageId\":\"m-1\"}}"),
        ] {
            assert_eq!(render(template, &event(), &variables()).unwrap(), expect, "{template}");
        }
        let whole = render("<aws.pipes.event.json>", &event(), &variables()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&whole).unwrap(), event());
    }

    #[test]
    fn what_is_no_variable_is_told() {
        for (template, expect) in [
            ("<$.a>", Ok(())),
            ("a < b > c", Ok(())),
            ("<$..>", Err("$..".to_owned())),
            ("<aws.pipes.other>", Err("aws.pipes.other".to_owned())),
            ("<$.a", Ok(())),
        ] {
            assert_eq!(check(template), expect, "{template}");
        }
    }

    #[test]
    fn a_result_is_bounded() {
        let event = json!({"x": "y".repeat(10_000)});
        let template = "\"<$.x>\"".repeat(200);
        assert_eq!(render(&template, &event, &variables()), Err(TooLarge));
    }

    mod property {
        use super::*;

        proptest! {
            #[test]
            fn no_template_or_path_makes_it_panic(template in "[<>$.\\[\\]*\"\\\\a-z{}:, é-]{0,60}", junk in "\\PC{0,60}") {
                for text in [template, junk] {
                    drop(check(&text));
                    drop(render(&text, &event(), &variables()));
                    drop(Path::parse(&text));
                }
            }

            #[test]
            fn a_json_template_stays_json(value in "\\PC{0,40}", inside in any::<bool>()) {
                let event = json!({"v": value});
                let template = if inside { "{\"k\":\"<$.v>\"}" } else { "{\"k\":<$.v>}" };
                let rendered = render(template, &event, &variables()).unwrap();
                let parsed: Value = serde_json::from_str(&rendered).unwrap();
                prop_assert_eq!(&parsed["k"], &event["v"]);
            }
        }
    }
}
