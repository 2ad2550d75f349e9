//! What is published, and how each kind of subscriber sees it. Pure.
//!
//! Sources: SNS Developer Guide, "Parsing Amazon SNS message formats", "Verifying the signatures of Amazon SNS messages" and
//! "Amazon SNS message attributes"; the recorded answers.

use std::collections::BTreeMap;

use base_types::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use model_sns::{Error, MessageAttributeValue};
use serde_json::{Map, Value, json};
use services_ports::AttributeValue;

use crate::error::{invalid, invalid_because};

/// The greatest message, its attributes included, and the greatest batch (AWS: 256 KiB).
pub(crate) const MESSAGE_BYTES_MAX: usize = 262_144;
const ATTRIBUTE_NAME_CHARS_MAX: usize = 256;
const SUBJECT_CHARS_MAX: usize = 100;

/// A published message, as it is kept until everybody has it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Message {
    #[n(0)]
    pub(crate) id: String,
    #[n(1)]
    pub(crate) topic_arn: String,
    #[n(2)]
    pub(crate) text: String,
    /// What some protocols get instead.
    #[n(3)]
    pub(crate) by_protocol: BTreeMap<String, String>,
    #[n(4)]
    pub(crate) subject: Option<String>,
    #[n(5)]
    pub(crate) attributes: Vec<Attribute>,
    #[n(6)]
    pub(crate) group: Option<String>,
    #[n(7)]
    pub(crate) deduplication: Option<String>,
    /// FIFO.
    #[n(8)]
    pub(crate) sequence: Option<String>,
    #[n(9)]
    pub(crate) at: Timestamp,
    #[n(10)]
    pub(crate) trace: Option<String>,
    /// Where subscribers find us.
    #[n(11)]
    pub(crate) endpoint: String,
    #[n(12)]
    pub(crate) signature_version: u8,
    #[n(13)]
    pub(crate) request_id: String,
}

/// An attribute of a message.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Attribute {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) data_type: String,
    #[n(2)]
    pub(crate) text: Option<String>,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Attribute {
    pub(crate) fn to_port(&self) -> services_ports::Attribute {
        let value = match (&self.text, &self.bytes) {
            (_, Some(bytes)) => AttributeValue::Binary(Bytes::from(bytes.clone())),
            (text, None) => AttributeValue::Text(text.clone().unwrap_or_default()),
        };
        services_ports::Attribute { name: self.name.clone(), data_type: self.data_type.clone(), value }
    }

    pub(crate) fn bytes(&self) -> usize {
        let value = self.text.as_ref().map_or(0, String::len) + self.bytes.as_ref().map_or(0, Vec::len);
        self.name.len() + self.data_type.len() + value
    }
}

/// What a client gives for one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) text: &'a str,
    pub(crate) subject: Option<&'a str>,
    pub(crate) structure: Option<&'a str>,
    pub(crate) attributes: Option<&'a BTreeMap<String, MessageAttributeValue>>,
    pub(crate) group: Option<&'a str>,
    pub(crate) deduplication: Option<&'a str>,
}

/// What was given, checked as far as it does not depend on the topic.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) text: String,
    pub(crate) by_protocol: BTreeMap<String, String>,
    pub(crate) subject: Option<String>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) group: Option<String>,
    pub(crate) deduplication: Option<String>,
    pub(crate) bytes: usize,
}

impl Given<'_> {
    pub(crate) fn check(&self) -> Result<Checked, Error> {
        if self.text.is_empty() {
            return Err(invalid("Empty message"));
        }
        let subject = self.subject.map(subject).transpose()?;
        let attributes = attributes(self.attributes)?;
        let bytes = self.text.len() + attributes.iter().map(Attribute::bytes).sum::<usize>();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(invalid("Message too long"));
        }
        let (text, by_protocol) = match self.structure {
            None | Some("") => (self.text.to_owned(), BTreeMap::new()),
            Some("json") => structured(self.text)?,
            Some(_) => return Err(invalid("MessageStructure")),
        };
        Ok(Checked {
            text,
            by_protocol,
            subject,
            attributes,
            group: self.group.map(str::to_owned),
            deduplication: self.deduplication.map(str::to_owned),
            bytes,
        })
    }
}

fn subject(text: &str) -> Result<String, Error> {
    let good = !text.is_empty()
        && text.chars().count() < SUBJECT_CHARS_MAX
        && text.chars().all(|c| !c.is_control())
        && text.starts_with(|c: char| !c.is_whitespace());
    if good { Ok(text.to_owned()) } else { Err(invalid("Subject")) }
}

/// A message that has a text for each protocol.
fn structured(text: &str) -> Result<(String, BTreeMap<String, String>), Error> {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Err(invalid("Message Structure - JSON message body failed to parse"));
    };
    let Value::Object(mut texts) = document else {
        return Err(invalid("Message Structure - JSON message body failed to parse"));
    };
    let Some(Value::String(default)) = texts.remove("default") else {
        return Err(invalid("Message Structure - No default entry in JSON message body"));
    };
    let by_protocol = texts.into_iter().filter_map(|(protocol, text)| match text {
        Value::String(text) => Some((protocol, text)),
        _ => None,
    });
    Ok((default, by_protocol.collect()))
}

fn attributes(given: Option<&BTreeMap<String, MessageAttributeValue>>) -> Result<Vec<Attribute>, Error> {
    given.into_iter().flatten().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &MessageAttributeValue) -> Result<Attribute, Error> {
    let wrong = |reason: String| Err(Error::invalid_parameter_value_exception(reason));
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    let good = !name.is_empty()
        && name.len() <= ATTRIBUTE_NAME_CHARS_MAX
        && characters
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    if !good {
        return wrong(format!(
            "The message attribute name '{name}' is invalid: it can contain the characters A-Z, a-z, 0-9, underscore (_), \
             hyphen (-), and period (.), must not start or end with a period or have successive periods, and can be up to \
             {ATTRIBUTE_NAME_CHARS_MAX} characters long."
        ));
    }
    let data_type = value.data_type.as_str();
    let kind = data_type.split('.').next().unwrap_or_default();
    if !matches!(kind, "String" | "Number" | "Binary") || data_type.len() > ATTRIBUTE_NAME_CHARS_MAX {
        return wrong(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is \
             Binary, Number, and String."
        ));
    }
    let empty = || {
        wrong(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
             '{data_type}'."
        ))
    };
    let (text, bytes) = match (kind, &value.string_value, &value.binary_value) {
        ("Binary", _, Some(bytes)) if !bytes.is_empty() => (None, Some(bytes.to_vec())),
        ("Binary", ..) => return empty(),
        (_, Some(text), _) if !text.is_empty() => (Some(text.clone()), None),
        _ => return empty(),
    };
    let number = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if kind == "Number" && !text.as_deref().is_some_and(number) {
        return wrong(format!("Could not cast message attribute '{name}' value to number."));
    }
    Ok(Attribute { name: name.to_owned(), data_type: data_type.to_owned(), text, bytes })
}

/// Checks a group or deduplication id.
pub(crate) fn check_id(name: &str, id: Option<&str>) -> Result<(), Error> {
    let Some(id) = id else { return Ok(()) };
    if (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(invalid_because(
        name,
        format_args!("{name} can only include alphanumeric and punctuation characters. 1 to 128 in length"),
    ))
}

/// A signature and where its certificate is.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) signature: String,
    pub(crate) certificate: String,
}

impl Message {
    /// The empty message of a topic.
    pub(crate) fn nothing(topic_arn: &str, at: Timestamp) -> Self {
        Self {
            id: String::new(),
            topic_arn: topic_arn.to_owned(),
            text: String::new(),
            by_protocol: BTreeMap::new(),
            subject: None,
            attributes: Vec::new(),
            group: None,
            deduplication: None,
            sequence: None,
            at,
            trace: None,
            endpoint: String::new(),
            signature_version: 1,
            request_id: String::new(),
        }
    }

    /// What a protocol's subscribers get.
    pub(crate) fn text_for(&self, protocol: &str) -> &str {
        self.by_protocol.get(protocol).unwrap_or(&self.text)
    }

    /// AWS signs what standard topics send, not what FIFO topics do.
    pub(crate) fn is_signed(&self) -> bool {
        self.sequence.is_none()
    }

    /// What is signed of a notification.
    pub(crate) fn signed_text(&self, protocol: &str) -> String {
        let at = stamp(self.at);
        let mut pairs = vec![("Message", self.text_for(protocol)), ("MessageId", self.id.as_str())];
        if let Some(subject) = &self.subject {
            pairs.push(("Subject", subject));
        }
        pairs.extend([("Timestamp", at.as_str()), ("TopicArn", &self.topic_arn), ("Type", "Notification")]);
        lines(&pairs)
    }

    fn wire_attributes(&self) -> Map<String, Value> {
        let value = |attribute: &Attribute| match (&attribute.text, &attribute.bytes) {
            (_, Some(bytes)) => STANDARD.encode(bytes),
            (text, None) => text.clone().unwrap_or_default(),
        };
        let shown = |attribute: &Attribute| {
            (attribute.name.clone(), json!({ "Type": attribute.data_type, "Value": value(attribute) }))
        };
        self.attributes.iter().map(shown).collect()
    }

    /// The notification's document, whose only part that differs between subscribers is where one unsubscribes.
    pub(crate) fn envelope(&self, protocol: &str, signature: Option<&Signature>) -> Envelope {
        let at = stamp(self.at);
        let mut head = Document::new();
        head.text("Type", "Notification").text("MessageId", &self.id);
        if let Some(sequence) = &self.sequence {
            head.text("SequenceNumber", sequence);
        }
        head.text("TopicArn", &self.topic_arn);
        if let Some(subject) = &self.subject {
            head.text("Subject", subject);
        }
        head.text("Message", self.text_for(protocol)).text("Timestamp", &at);
        if let Some(signature) = signature {
            head.text("SignatureVersion", &self.signature_version.to_string())
                .text("Signature", &signature.signature)
                .text("SigningCertURL", &signature.certificate);
        }
        let mut tail = String::new();
        let attributes = self.wire_attributes();
        if !attributes.is_empty() {
            tail.push_str(",\n  \"MessageAttributes\" : {");
            for (index, (name, value)) in attributes.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let (kind, text) = (&value["Type"], &value["Value"]);
                let name = Value::from(name.as_str());
                tail.push_str(&format!("{comma}\n    {name} : {{\"Type\":{kind},\"Value\":{text}}}"));
            }
            tail.push_str("\n  }");
        }
        tail.push_str("\n}");
        Envelope { head: head.0, endpoint: self.endpoint.clone(), tail }
    }

    /// The event that a function gets.
    pub(crate) fn event(&self, subscription: &str, signature: Option<&Signature>) -> String {
        let mut sns = json!({
            "Type": "Notification",
            "MessageId": self.id,
            "TopicArn": self.topic_arn,
            "Subject": self.subject,
            "Message": self.text_for("lambda"),
            "Timestamp": stamp(self.at),
            "UnsubscribeUrl": unsubscribe_url(&self.endpoint, subscription),
            "MessageAttributes": self.wire_attributes(),
        });
        if let Some(signature) = signature {
            sns["SignatureVersion"] = json!(self.signature_version.to_string());
            sns["Signature"] = json!(signature.signature);
            sns["SigningCertUrl"] = json!(signature.certificate);
        }
        json!({ "Records": [{
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscription,
            "Sns": sns,
        }]})
        .to_string()
    }
}

/// A notification without its subscriber.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    head: String,
    endpoint: String,
    tail: String,
}

impl Envelope {
    /// For a subscriber.
    pub(crate) fn to(&self, subscription: &str) -> String {
        let url = unsubscribe_url(&self.endpoint, subscription);
        let mut whole = String::with_capacity(self.head.len() + url.len() + self.tail.len() + 32);
        whole.push_str(&self.head);
        // An ARN and an endpoint hold nothing that JSON would escape.
        whole.push_str(",\n  \"UnsubscribeURL\" : ");
        whole.push_str(&Value::from(url).to_string());
        whole.push_str(&self.tail);
        whole
    }
}

pub(crate) fn unsubscribe_url(endpoint: &str, subscription: &str) -> String {
    format!("{endpoint}/?Action=Unsubscribe&SubscriptionArn={subscription}")
}

/// JSON as SNS writes it: a member a line.
pub(crate) struct Document(String);

impl Document {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let value = Value::from(value);
        self.0.push_str(&format!("{comma}\n  \"{name}\" : {value}"));
        self
    }

    pub(crate) fn end(&mut self) -> String {
        format!("{}\n}}", self.0)
    }
}

/// What asks a subscriber to confirm, or tells it that it was unsubscribed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Request {
    /// `SubscriptionConfirmation` or `UnsubscribeConfirmation`.
    #[n(0)]
    pub(crate) kind: String,
    #[n(1)]
    pub(crate) id: String,
    #[n(2)]
    pub(crate) topic_arn: String,
    #[n(3)]
    pub(crate) token: String,
    #[n(4)]
    pub(crate) text: String,
    #[n(5)]
    pub(crate) at: Timestamp,
    #[n(6)]
    pub(crate) endpoint: String,
    #[n(7)]
    pub(crate) signature_version: u8,
}

impl Request {
    /// That a subscriber shall confirm.
    pub(crate) fn subscription(id: String, topic_arn: &str, token: &str, at: Timestamp, endpoint: &str, v: u8) -> Self {
        let text = format!(
            "You have chosen to subscribe to the topic {topic_arn}.\nTo confirm the subscription, visit the SubscribeURL \
             included in this message."
        );
        Self::of("SubscriptionConfirmation", id, topic_arn, token, text, at, endpoint, v)
    }

    /// That a subscriber was unsubscribed, and how it comes back.
    pub(crate) fn farewell(
        id: String,
        topic_arn: &str,
        subscription: &str,
        token: &str,
        at: Timestamp,
        endpoint: &str,
        v: u8,
    ) -> Self {
        let text = format!(
            "You have chosen to deactivate subscription {subscription}.\nTo cancel this operation and restore the \
             subscription, visit the SubscribeURL included in this message."
        );
        Self::of("UnsubscribeConfirmation", id, topic_arn, token, text, at, endpoint, v)
    }

    #[expect(clippy::too_many_arguments, reason = "one place for both kinds; their callers are the two above")]
    fn of(
        kind: &str,
        id: String,
        topic_arn: &str,
        token: &str,
        text: String,
        at: Timestamp,
        endpoint: &str,
        signature_version: u8,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            id,
            topic_arn: topic_arn.to_owned(),
            token: token.to_owned(),
            text,
            at,
            endpoint: endpoint.to_owned(),
            signature_version,
        }
    }

    pub(crate) fn subscribe_url(&self) -> String {
        format!("{}/?Action=ConfirmSubscription&TopicArn={}&Token={}", self.endpoint, self.topic_arn, self.token)
    }

    pub(crate) fn signed_text(&self) -> String {
        let (at, url) = (stamp(self.at), self.subscribe_url());
        lines(&[
            ("Message", &self.text),
            ("MessageId", &self.id),
            ("SubscribeURL", &url),
            ("Timestamp", &at),
            ("Token", &self.token),
            ("TopicArn", &self.topic_arn),
            ("Type", &self.kind),
        ])
    }

    pub(crate) fn document(&self, signature: &Signature) -> String {
        Document::new()
            .text("Type", &self.kind)
            .text("MessageId", &self.id)
            .text("Token", &self.token)
            .text("TopicArn", &self.topic_arn)
            .text("Message", &self.text)
            .text("SubscribeURL", &self.subscribe_url())
            .text("Timestamp", &stamp(self.at))
            .text("SignatureVersion", &self.signature_version.to_string())
            .text("Signature", &signature.signature)
            .text("SigningCertURL", &signature.certificate)
            .end()
    }
}

/// A time as AWS writes it: always with its milliseconds.
fn stamp(at: Timestamp) -> String {
    format!("{}.{:03}Z", at.civil().strftime("%Y-%m-%dT%H:%M:%S"), at.as_millis() % 1000)
}

fn lines(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> Message {
        Message {
            id: "id".to_owned(),
            topic_arn: "arn:aws:sns:us-east-1:000000000000:t".to_owned(),
            text: "a \"b\"\nc".to_owned(),
            by_protocol: BTreeMap::from([("lambda".to_owned(), "for functions".to_owned())]),
            subject: Some("s".to_owned()),
            attributes: vec![Attribute {
                name: "b".to_owned(),
                data_type: "Binary".to_owned(),
                text: None,
                bytes: Some(vec![2, 3, 4]),
            }],
            group: None,
            deduplication: None,
            sequence: None,
            at: Timestamp::from_millis(1_795_435_200_000),
            trace: None,
            endpoint: "http://h:1".to_owned(),
            signature_version: 1,
            request_id: "r".to_owned(),
        }
    }

    #[test]
    fn a_notification_is_the_json_that_aws_sends() {
        let signature = Signature { signature: "sig".to_owned(), certificate: "http://h:1/c.pem".to_owned() };
        let text = message().envelope("sqs", Some(&signature)).to("arn:aws:sns:us-east-1:000000000000:t:u");
        let expected = "{\n  \"Type\" : \"Notification\",\n  \"MessageId\" : \"id\",\n  \"TopicArn\" : \
            \"arn:aws:sns:us-east-1:000000000000:t\",\n  \"Subject\" : \"s\",\n  \"Message\" : \"a \\\"b\\\"\\nc\",\n  \
            \"Timestamp\" : \"2026-11-23T12:00:00.000Z\",\n  \"SignatureVersion\" : \"1\",\n  \"Signature\" : \"sig\",\n  \
            \"SigningCertURL\" : \"http://h:1/c.pem\",\n  \"UnsubscribeURL\" : \
            \"http://h:1/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-east-1:000000000000:t:u\",\n  \
            \"MessageAttributes\" : {\n    \"b\" : {\"Type\":\"Binary\",\"Value\":\"AgME\"}\n  }\n}";
        assert_eq!(text, expected);
        assert_eq!(
            message().signed_text("sqs"),
            "Message\na \"b\"\nc\nMessageId\nid\nSubject\ns\nTimestamp\n2026-11-23T12:00:00.000Z\nTopicArn\n\
             arn:aws:sns:us-east-1:000000000000:t\nType\nNotification\n"
        );
    }

    #[test]
    fn each_protocol_gets_its_text() {
        let message = message();
        assert_eq!((message.text_for("sqs"), message.text_for("lambda")), ("a \"b\"\nc", "for functions"));
        let event: Value = serde_json::from_str(&message.event("arn", None)).unwrap();
        assert_eq!(event["Records"][0]["Sns"]["Message"], "for functions");
        assert_eq!(event["Records"][0]["Sns"]["MessageAttributes"]["b"]["Value"], "AgME");
    }

    mod property {
        use super::*;

        proptest! {
            #[test]
            fn what_is_written_is_json_whatever_was_published(text: String, subject: String, name in "[a-z.]{1,9}", value: String) {
                let mut message = message();
                message.text = text;
                message.subject = Some(subject);
                message.attributes =
                    vec![Attribute { name, data_type: "String".to_owned(), text: Some(value.clone()), bytes: None }];
                let written: Value = serde_json::from_str(&message.envelope("sqs", None).to("arn")).unwrap();
                prop_assert_eq!(written["Message"].as_str(), Some(message.text.as_str()));
                prop_assert_eq!(written["Subject"].as_str(), message.subject.as_deref());
                let name = &message.attributes[0].name;
                prop_assert_eq!(written["MessageAttributes"][name.as_str()]["Value"].as_str(), Some(value.as_str()));
            }

            #[test]
            fn no_structured_text_breaks_it(text in ".{0,60}") {
                let _ = structured(&text);
            }
        }
    }
}
