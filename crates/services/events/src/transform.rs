//! Input transformers: a template in which variables stand for parts of the event. Pure.
//!
//! AWS's rules: a variable outside quotes stands for a JSON value, one within quotes for its characters; within quotes,
//! objects and lists lose their own quotes. A variable whose path leads nowhere stands for an empty text.
//!
//! Source: EventBridge User Guide, "Input transformation"; the recorded answers.

use crate::{event::Event, path::Path};

const RULE_ARN: &str = "aws.events.rule-arn";
const RULE_NAME: &str = "aws.events.rule-name";
const INGESTION_TIME: &str = "aws.events.event.ingestion-time";
const EVENT: &str = "aws.events.event";
const EVENT_JSON: &str = "aws.events.event.json";
const PREDEFINED: [&str; 5] = [RULE_ARN, RULE_NAME, INGESTION_TIME, EVENT, EVENT_JSON];

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, quoted: bool },
}

/// What a template is filled from.
pub(crate) struct Source<'a> {
    pub(crate) event: &'a Event,
    /// Its text.
    pub(crate) text: &'a str,
    pub(crate) rule_arn: &'a str,
    pub(crate) rule: &'a str,
}

/// A template that does not become what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoJson(pub(crate) String);

/// The first variable of the template that nobody defines.
pub(crate) fn unknown<'a>(template: &'a str, variables: &[(String, String)]) -> Option<&'a str> {
    pieces(template).into_iter().find_map(|piece| match piece {
        Piece::Variable { name, .. }
            if !PREDEFINED.contains(&name) && !variables.iter().any(|(known, _)| known == name) =>
        {
            Some(name)
        }
        _ => None,
    })
}

/// Whether a name is AWS's own.
pub(crate) fn is_reserved(name: &str) -> bool {
    PREDEFINED.contains(&name)
}

/// Fills a template in.
///
/// # Errors
/// When the template is a JSON document and what comes out is none.
pub(crate) fn fill(template: &str, variables: &[(String, String)], source: &Source<'_>) -> Result<String, NoJson> {
    let json = template.trim_start().starts_with(['{', '[']);
    let mut filled = String::with_capacity(template.len() + 64);
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Variable { name, quoted } => {
                let value = value(name, variables, source);
                match (value, quoted, json) {
                    (Some(value), true, _) => push_quoted(&mut filled, &value),
                    (Some(value), false, true) => filled.push_str(&value),
                    (Some(value), false, false) => push_plain(&mut filled, &value),
                    (None, false, true) => filled.push_str("\"\""),
                    (None, _, _) => {}
                }
            }
        }
    }
    if json && let Err(error) = serde_json::from_str::<serde_json::Value>(&filled) {
        return Err(NoJson(format!("The input transformer did not make a JSON document of the event: {error}")));
    }
    Ok(filled)
}

/// The JSON value of a variable.
fn value(name: &str, variables: &[(String, String)], source: &Source<'_>) -> Option<String> {
    let string = |text: &str| Some(serde_json::Value::from(text).to_string());
    match name {
        RULE_ARN => string(source.rule_arn),
        RULE_NAME => string(source.rule),
        INGESTION_TIME => string(&Event::time_text(source.event.ingested)),
        EVENT => Some(source.event.without_detail()),
        EVENT_JSON => Some(source.text.to_owned()),
        _ => {
            let (_, path) = variables.iter().find(|(known, _)| known == name)?;
            Path::parse(path)?.find(source.text)
        }
    }
}

/// Within quotes: a string's characters as they were escaped; anything else without its quotes.
fn push_quoted(filled: &mut String, value: &str) {
    if let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        filled.push_str(inner);
        return;
    }
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {}
            '\\' => match characters.next() {
                Some('"') | None => {}
                Some(other) => {
                    filled.push('\\');
                    filled.push(other);
                }
            },
            other => filled.push(other),
        }
    }
}

/// Outside quotes in a text that is no JSON: a string's characters; anything else as it is.
fn push_plain(filled: &mut String, value: &str) {
    match serde_json::from_str::<String>(value) {
        Ok(text) => filled.push_str(&text),
        Err(_) => filled.push_str(value),
    }
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut text_start, mut at) = (Vec::new(), 0, 0);
    let (mut quoted, bytes) = (false, template.as_bytes());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b'<' => {
                let rest = template.get(at + 1..).unwrap_or_default();
                let length = rest.bytes().take_while(|byte| is_of_name(*byte)).count();
                if length > 0 && rest.as_bytes().get(length) == Some(&b'>') {
                    pieces.push(Piece::Text(template.get(text_start..at).unwrap_or_default()));
                    pieces.push(Piece::Variable { name: rest.get(..length).unwrap_or_default(), quoted });
                    at += length + 1;
                    text_start = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    pieces.push(Piece::Text(template.get(text_start..).unwrap_or_default()));
    pieces
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use base_types::{AccountId, Region, Timestamp};

    use super::*;

    fn filled(template: &str) -> Result<String, NoJson> {
        let event = Event {
            id: "i".into(),
            detail_type: "t".into(),
            source: "s".into(),
            account: AccountId::DEFAULT,
            region: Region::default(),
            time: Timestamp::EPOCH,
            resources: vec![],
            detail: r#"{"state":"RUN \"X\"","n":5,"list":["a","b"],"o":{"k":"v"},"yes":true}"#.into(),
            ingested: Timestamp::from_millis(1000),
            replay: None,
            trace: None,
        };
        let variables: Vec<(String, String)> = ["state", "n", "list", "o", "yes", "none"]
            .iter()
            .map(|name| ((*name).to_owned(), format!("$.detail.{name}")))
            .collect();
        let source = Source { event: &event, text: &event.text(), rule_arn: "arn:r", rule: "r" };
        assert_eq!(unknown(template, &variables), None);
        fill(template, &variables, &source)
    }

    #[test]
    fn variables_stand_for_values_outside_quotes_and_for_characters_within() {
        for (template, expected) in [
            (r#"{"a":<state>,"b":[<n>,<list>,<o>,<yes>]}"#, r#"{"a":"RUN \"X\"","b":[5,["a","b"],{"k":"v"},true]}"#),
            (r#"{"a":"is <state>","b":"<n> <list> <o>"}"#, r#"{"a":"is RUN \"X\"","b":"5 [a,b] {k:v}"}"#),
            (r#"{"a":<none>,"b":"x<none>y"}"#, r#"{"a":"","b":"xy"}"#),
            (r#""<n> is <state>""#, r#""5 is RUN \"X\"""#),
            ("<state> <n><none>", "RUN \"X\" 5"),
            (r#"{"arn":<aws.events.rule-arn>,"n":"<aws.events.rule-name>"}"#, r#"{"arn":"arn:r","n":"r"}"#),
            ("<aws.events.event.ingestion-time>", "1970-01-01T00:00:01Z"),
            ("{\"a\": \"\\\"<n>\\\"\"}", "{\"a\": \"\\\"5\\\"\"}"),
            ("\"a < b > c <>\"", "\"a < b > c <>\""),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(expected), "{template}");
        }
        let whole = filled(r#"{"e":<aws.events.event>,"j":<aws.events.event.json>}"#).unwrap();
        let value: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!((&value["e"]["detailType"], &value["j"]["detail"]["n"]), (&"t".into(), &5.into()));
        assert!(value["e"].get("detail").is_none());
    }

    #[test]
    fn a_template_that_makes_no_json_is_an_error() {
        assert!(filled("{\"a\":<n>").unwrap_err().0.contains("did not make a JSON document"));
    }

    #[test]
    fn a_variable_that_nobody_defines_is_named() {
        assert_eq!(unknown("{\"a\":<b>}", &[]), Some("b"));
        assert_eq!(unknown("\"<aws.events.event>\"", &[]), None);
        assert!(is_reserved("aws.events.event.json") && !is_reserved("b"));
    }

    mod property {
        use proptest::prelude::*;

        use super::*;

        fn with(template: &str, detail: &str) -> Result<String, NoJson> {
            let event = Event {
                id: "i".into(),
                detail_type: "t".into(),
                source: "s".into(),
                account: AccountId::DEFAULT,
                region: Region::default(),
                time: Timestamp::EPOCH,
                resources: vec![],
                detail: detail.into(),
                ingested: Timestamp::EPOCH,
                replay: None,
                trace: None,
            };
            let variables = [("v".to_owned(), "$.detail.v".to_owned()), ("w".to_owned(), "$.detail.w[0]".to_owned())];
            fill(template, &variables, &Source { event: &event, text: &event.text(), rule_arn: "arn:r", rule: "r" })
        }

        proptest! {
            #[test]
            fn no_template_breaks_it(template in "[<>vw.\"\\\\{}\\[\\]:,a ]{0,60}|\\PC{0,60}") {
                let _ = unknown(&template, &[]);
                if let Ok(filled) = with(&template, "{\"v\":\"x\",\"w\":[1]}")
                    && template.trim_start().starts_with(['{', '['])
                {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&filled).is_ok());
                }
            }

            #[test]
            fn a_value_keeps_a_document_a_document(value in "\\PC{0,30}|[\"\\\\\n<>vw{}]{0,30}", number: i64) {
                let detail = serde_json::json!({ "v": value, "w": [number] }).to_string();
                let filled = with("{\"whole\":<v>,\"within\":\"a<v>b<w>\",\"n\":<w>}", &detail).unwrap();
                let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
                prop_assert_eq!(&read["whole"], &serde_json::json!(value));
                prop_assert_eq!(&read["within"], &serde_json::json!(format!("a{value}b{number}")));
                prop_assert_eq!(&read["n"], &serde_json::json!(number));
            }
        }
    }
}
