//! An event: what a sender said, and its text as AWS writes it. Pure.

use base_types::{AccountId, Region, Timestamp};
use minicbor::{Decode, Encode};
use serde_json::Value;

/// An event on a bus.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Event {
    #[n(0)]
    pub(crate) id: String,
    #[n(1)]
    pub(crate) detail_type: String,
    #[n(2)]
    pub(crate) source: String,
    /// Whose event it is; not that of the bus when it came from another account.
    #[n(3)]
    pub(crate) account: AccountId,
    #[n(4)]
    pub(crate) region: Region,
    #[n(5)]
    pub(crate) time: Timestamp,
    #[n(6)]
    pub(crate) resources: Vec<String>,
    /// A JSON object without blanks.
    #[n(7)]
    pub(crate) detail: String,
    /// When it was accepted.
    #[n(8)]
    pub(crate) ingested: Timestamp,
    /// The replay that it comes back in.
    #[n(9)]
    pub(crate) replay: Option<String>,
    #[n(10)]
    pub(crate) trace: Option<String>,
}

impl Event {
    /// The event as targets get it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.detail.len() + 256);
        self.head(&mut text, "detail-type");
        if let Some(replay) = &self.replay {
            text.push_str(",\"replay-name\":");
            string(&mut text, replay);
        }
        text.push_str(",\"detail\":");
        text.push_str(&self.detail);
        text.push('}');
        text
    }

    /// The event without its detail, as `<aws.events.event>` has it (its type has another name there).
    pub(crate) fn without_detail(&self) -> String {
        let mut text = String::with_capacity(256);
        self.head(&mut text, "detailType");
        text.push('}');
        text
    }

    /// The time as events have it: to the second.
    pub(crate) fn time_text(time: Timestamp) -> String {
        time.civil().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn head(&self, text: &mut String, detail_type: &str) {
        text.push_str("{\"version\":\"0\"");
        for (name, value) in [
            ("id", self.id.as_str()),
            (detail_type, &self.detail_type),
            ("source", &self.source),
            ("account", self.account.as_str()),
            ("time", &Self::time_text(self.time)),
            ("region", self.region.as_str()),
        ] {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":");
            string(text, value);
        }
        text.push_str(",\"resources\":[");
        for (index, resource) in self.resources.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            string(text, resource);
        }
        text.push(']');
    }
}

/// Appends a JSON string.
fn string(text: &mut String, value: &str) {
    text.push_str(&Value::from(value).to_string());
}

/// A detail without blanks, if the text is a JSON object.
pub(crate) fn detail(text: &str) -> Option<String> {
    let is_object = serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object());
    is_object.then(|| without_blanks(text))
}

/// JSON text without the blanks between its tokens: names stay in their order and numbers as they were written.
fn without_blanks(text: &str) -> String {
    let mut lean = String::with_capacity(text.len());
    let (mut within, mut escaped) = (false, false);
    for character in text.chars() {
        if within {
            within = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            within = character == '"';
        }
        lean.push(character);
    }
    lean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_an_object_and_loses_only_its_blanks() {
        for (text, expected) in [
            (" { \"b\" : 1.0 , \"a\" : [ 1e3 , \"x  \\\" y\" ] } ", Some("{\"b\":1.0,\"a\":[1e3,\"x  \\\" y\"]}")),
            ("{}", Some("{}")),
            ("[1]", None),
            ("\"{}\"", None),
            ("{\"a\":}", None),
            ("", None),
        ] {
            assert_eq!(detail(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_event_is_written_as_aws_writes_it() {
        let event = Event {
            id: "i".into(),
            detail_type: "a \"type\"".into(),
            source: "s".into(),
            account: AccountId::DEFAULT,
            region: Region::default(),
            time: Timestamp::from_millis(1_000_999),
            resources: vec!["r1".into(), "r2".into()],
            detail: "{\"a\":1}".into(),
            ingested: Timestamp::EPOCH,
            replay: Some("again".into()),
            trace: None,
        };
        let head = "{\"version\":\"0\",\"id\":\"i\",\"detail-type\":\"a \\\"type\\\"\",\"source\":\"s\",\
                    \"account\":\"000000000000\",\"time\":\"1970-01-01T00:16:40Z\",\"region\":\"us-east-1\",\
                    \"resources\":[\"r1\",\"r2\"]";
        assert_eq!(event.text(), format!("{head},\"replay-name\":\"again\",\"detail\":{{\"a\":1}}}}"));
        assert_eq!(event.without_detail(), format!("{}}}", head.replace("detail-type", "detailType")));
    }
}
