//! Which messages a function gets to see.
//!
//! AWS's rules (Lambda developer guide, "Using event filtering with an Amazon SQS event source"): a message passes that
//! matches one of the patterns. A body that is JSON is matched as what it says, any other as a plain string; so a pattern
//! for an object never matches plain text, and one for a string never matches an object.

use lang_eventpattern::{Dialect, Event, EventPattern};
use serde_json::Value;

/// Patterns that a mapping may have (AWS: five, ten on request).
pub(crate) const FILTERS_MAX: usize = 10;

/// Patterns that were read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters(Vec<EventPattern>);

/// A text that is no pattern. The text is AWS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter pattern definition.")]
pub(crate) struct InvalidFilter;

impl Filters {
    /// Reads patterns.
    pub(crate) fn read(texts: &[String]) -> Result<Self, InvalidFilter> {
        let patterns = texts.iter().map(|text| EventPattern::parse(text, Dialect::Events).map_err(|_| InvalidFilter));
        Ok(Self(patterns.collect::<Result<_, _>>()?))
    }

    /// Whether the function gets to see this record.
    pub(crate) fn pass(&self, record: &Value) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut record = record.clone();
        let said = record.get("body").and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
        if let (Some(said @ (Value::Object(_) | Value::Array(_))), Some(body)) = (said, record.get_mut("body")) {
            *body = said;
        }
        let event = Event::new(&record);
        self.0.iter().any(|pattern| pattern.matches(&event))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_and_patterns_meet_as_aws_says() {
        for (pattern, body, passes) in [
            (r#"{"body":{"code":["A"]}}"#, r#"{"code":"A"}"#, true),
            (r#"{"body":{"code":["A"]}}"#, r#"{"code":"B"}"#, false),
            (r#"{"body":{"code":["A"]}}"#, "plain", false),
            (r#"{"body":{"code":["A"]}}"#, r#""A""#, false),
            (r#"{"body":["plain"]}"#, "plain", true),
            (r#"{"body":["plain"]}"#, "other", false),
            (r#"{"body":["A"]}"#, r#"{"code":"A"}"#, false),
            (r#"{"body":[{"prefix":"pl"}]}"#, "plain", true),
            (r#"{"body":["7"]}"#, "7", true),
            (r#"{"body":{"n":[{"numeric":[">",1,"<=",5]}]}}"#, r#"{"n":5}"#, true),
            (r#"{"body":{"n":[{"numeric":[">",1,"<=",5]}]}}"#, r#"{"n":6}"#, false),
            (r#"{"body":{"gone":[{"exists":false}]}}"#, r#"{"n":6}"#, true),
            (r#"{"eventSource":["aws:sqs"]}"#, "anything", true),
            (r#"{"messageAttributes":{"kind":{"stringValue":["x"]}}}"#, "anything", true),
        ] {
            let filters = Filters::read(&[pattern.to_owned()]).unwrap();
            let attributes = json!({ "kind": { "stringValue": "x", "dataType": "String" } });
            let record = json!({ "body": body, "eventSource": "aws:sqs", "messageAttributes": attributes });
            assert_eq!(filters.pass(&record), passes, "{pattern} {body}");
        }
    }

    #[test]
    fn one_pattern_of_several_is_enough_and_none_passes_all() {
        let two = [r#"{"body":["a"]}"#.to_owned(), r#"{"body":["b"]}"#.to_owned()];
        let filters = Filters::read(&two).unwrap();
        let passed = |text: &str| filters.pass(&json!({ "body": text }));
        assert_eq!(["a", "b", "c"].map(passed), [true, true, false]);
        assert!(Filters::default().pass(&json!({ "body": "c" })));
        for text in ["", "{", r#"{"body":"a"}"#, r#"{"body":[{"sounds-like":"a"}]}"#] {
            assert_eq!(Filters::read(&[text.to_owned()]).unwrap_err(), InvalidFilter, "{text}");
        }
    }
}
