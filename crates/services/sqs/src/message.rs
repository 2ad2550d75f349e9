//! What a message may be, what is kept of it, and its digests.
//!
//! Source of the digest of attributes: SQS Developer Guide, "Calculating the MD5 message digest for message attributes".

use std::collections::BTreeMap;

use base_types::{Fault, Timestamp};
use bytes::Bytes;
use md5::{Digest, Md5};
use minicbor::{Decode, Encode};
use model_sqs::{Error, MessageAttributeValue, MessageSystemAttributeValue};

use crate::error::missing;

const ATTRIBUTES_MAX: usize = 10;
const NAME_CHARS_MAX: usize = 256;

/// What never changes of a message.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Body {
    #[n(0)]
    pub(crate) message_id: String,
    #[n(1)]
    pub(crate) text: String,
    #[n(2)]
    pub(crate) attributes: BTreeMap<String, Attribute>,
    #[n(3)]
    pub(crate) sender: String,
    #[n(4)]
    pub(crate) trace: Option<String>,
    #[n(5)]
    pub(crate) group: Option<String>,
    #[n(6)]
    pub(crate) deduplication: Option<String>,
    /// The ARN of the queue from which a dead-letter queue took it over.
    #[n(7)]
    pub(crate) source: Option<String>,
    /// What its age is counted from: one that a standard dead-letter queue took over keeps it.
    #[n(8)]
    pub(crate) sent: Timestamp,
    /// Its record is kept from the beginning. Otherwise it is new as long as the queue's cursor has not passed it.
    #[n(9)]
    pub(crate) filed: bool,
}

impl Body {
    /// Reads what was written before there were cursors: then every message had a record.
    pub(crate) fn upgrade(_: u16, payload: &[u8]) -> Result<Self, Fault> {
        #[derive(Decode)]
        #[cbor(map)]
        struct First {
            #[n(0)]
            message_id: String,
            #[n(1)]
            text: String,
            #[n(2)]
            attributes: BTreeMap<String, Attribute>,
            #[n(3)]
            sender: String,
            #[n(4)]
            trace: Option<String>,
            #[n(5)]
            group: Option<String>,
            #[n(6)]
            deduplication: Option<String>,
            #[n(7)]
            source: Option<String>,
            #[n(8)]
            sent: Timestamp,
        }
        let first: First =
            minicbor::decode(payload).map_err(|error| Fault::internal("read a message", error.to_string()))?;
        let First { message_id, text, attributes, sender, trace, group, deduplication, source, sent } = first;
        Ok(Self { message_id, text, attributes, sender, trace, group, deduplication, source, sent, filed: true })
    }
}

/// One message attribute.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Attribute {
    #[n(0)]
    pub(crate) data_type: String,
    #[n(1)]
    pub(crate) text: Option<String>,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Attribute {
    pub(crate) fn to_wire(&self) -> MessageAttributeValue {
        MessageAttributeValue {
            data_type: self.data_type.clone(),
            string_value: self.text.clone(),
            binary_value: self.bytes.clone().map(Bytes::from),
            ..MessageAttributeValue::default()
        }
    }
}

/// What a client gives for one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) text: &'a str,
    pub(crate) attributes: Option<&'a BTreeMap<String, MessageAttributeValue>>,
    pub(crate) system: Option<&'a BTreeMap<String, MessageSystemAttributeValue>>,
    pub(crate) group: Option<&'a str>,
    pub(crate) deduplication: Option<&'a str>,
    pub(crate) delay: Option<i32>,
}

impl Given<'_> {
    /// Its size as AWS counts it: body, attribute names, types and values.
    pub(crate) fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            name.len()
                + value.data_type.len()
                + value.string_value.as_ref().map_or(0, String::len)
                + value.binary_value.as_ref().map_or(0, Bytes::len)
        };
        self.text.len() + self.attributes.into_iter().flatten().map(attribute).sum::<usize>()
    }
}

/// Checks a body's characters.
pub(crate) fn check_text(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(missing("MessageBody"));
    }
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    // Nearly every body is plain text, for which a look at the bytes will do.
    if text.bytes().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=0x7e)) {
        return Ok(());
    }
    match text.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(c) => Err(Error::invalid_message_contents(format!(
            "Invalid binary character '#x{:X}' was found in the message body, the set of allowed characters is #x9 | #xA | \
             #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
            u32::from(c)
        ))),
    }
}

/// Checks and takes over the attributes.
pub(crate) fn attributes(
    given: Option<&BTreeMap<String, MessageAttributeValue>>,
) -> Result<BTreeMap<String, Attribute>, Error> {
    let Some(given) = given else { return Ok(BTreeMap::new()) };
    if given.len() > ATTRIBUTES_MAX {
        return Err(Error::invalid_parameter_value_exception(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            given.len()
        )));
    }
    given
        .iter()
        .map(|(name, value)| {
            check_name(name)?;
            Ok((
                name.clone(),
                attribute(name, &value.data_type, value.string_value.as_deref(), value.binary_value.as_ref())?,
            ))
        })
        .collect()
}

/// The trace header that came as a system attribute.
pub(crate) fn trace(given: Option<&BTreeMap<String, MessageSystemAttributeValue>>) -> Result<Option<String>, Error> {
    let mut trace = None;
    for (name, value) in given.into_iter().flatten() {
        if name != "AWSTraceHeader" {
            return Err(Error::invalid_parameter_value_exception(format!(
                "Message system attribute name '{name}' is invalid. Supported names: AWSTraceHeader"
            )));
        }
        let attribute = attribute(name, &value.data_type, value.string_value.as_deref(), value.binary_value.as_ref())?;
        trace = attribute.text;
    }
    Ok(trace)
}

fn check_name(name: &str) -> Result<(), Error> {
    let wrong = |text: String| Err(Error::invalid_parameter_value_exception(text));
    if name.is_empty() {
        return wrong("The request must contain non-empty message attribute names.".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return wrong(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for \
             internal use."
                .to_owned(),
        );
    }
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if !characters || name.len() > NAME_CHARS_MAX || name.starts_with('.') || name.ends_with('.') || name.contains("..")
    {
        return wrong(format!(
            "The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), \
             hyphen (-), and period (.) characters."
        ));
    }
    Ok(())
}

fn attribute(name: &str, data_type: &str, text: Option<&str>, bytes: Option<&Bytes>) -> Result<Attribute, Error> {
    let wrong = |text: String| Err(Error::invalid_parameter_value_exception(text));
    if data_type.is_empty() {
        return wrong(format!("The message attribute '{name}' must contain a non-empty message attribute type."));
    }
    let prefix = data_type.split('.').next().unwrap_or_default();
    let kind = match prefix {
        "String" | "Number" => text.map(str::len),
        "Binary" => bytes.map(Bytes::len),
        _ => {
            return wrong(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is \
                 Binary, Number, and String."
            ));
        }
    };
    if data_type.len() > NAME_CHARS_MAX {
        return wrong(format!("The message attribute '{name}' has a type longer than {NAME_CHARS_MAX} characters."));
    }
    if kind.unwrap_or(0) == 0 {
        return wrong(format!(
            "The message attribute '{name}' must contain a non-empty message attribute value for message attribute type \
             '{data_type}'."
        ));
    }
    if text.is_some() && bytes.is_some() {
        return wrong(format!("Message attribute '{name}' has multiple values."));
    }
    if prefix == "Number" && text.is_none_or(|text| text.trim().parse::<f64>().is_err()) {
        return wrong(format!("Can't cast the value of message (user) attribute '{name}' to a number."));
    }
    if let Some(text) = text {
        check_text(text)?;
    }
    Ok(Attribute {
        data_type: data_type.to_owned(),
        text: text.map(str::to_owned),
        bytes: bytes.map(|bytes| bytes.to_vec()),
    })
}

/// The digest of a body, in hexadecimal.
pub(crate) fn digest(text: &str) -> String {
    hex(&Md5::digest(text))
}

/// The digest of attributes; none without attributes.
pub(crate) fn digest_of(attributes: &BTreeMap<String, Attribute>) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    // The map's order is that of the names, as AWS demands.
    for (name, attribute) in attributes {
        add(&mut digest, name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        match (&attribute.text, &attribute.bytes) {
            (Some(text), _) => {
                digest.update([1]);
                add(&mut digest, text.as_bytes());
            }
            (None, bytes) => {
                digest.update([2]);
                add(&mut digest, bytes.as_deref().unwrap_or_default());
            }
        }
    }
    Some(hex(&digest.finalize()))
}

/// The digest of system attributes: of the trace header, the only one there is.
pub(crate) fn digest_of_trace(trace: Option<&str>) -> Option<String> {
    let attribute = Attribute { data_type: "String".to_owned(), text: Some(trace?.to_owned()), bytes: None };
    digest_of(&BTreeMap::from([("AWSTraceHeader".to_owned(), attribute)]))
}

/// The id of a message that was moved on: another one, the same whenever the move is tried again.
pub(crate) fn moved_id(id: &str, at: Timestamp) -> String {
    let digest = hex(&Md5::new().chain_update(id).chain_update(at.as_millis().to_be_bytes()).finalize());
    let (a, b, c, d, e) = (&digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..]);
    format!("{a}-{b}-4{c}-8{d}-{e}")
}

fn add(digest: &mut Md5, bytes: &[u8]) {
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS.get(usize::from(half & 15)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_that_aws_recorded() {
        assert_eq!(digest("msg"), "6e2baaf3b97dbeef01c0043275f9a0e7");
        assert_eq!(digest("message-1"), "3d6b824fd8c1520e9a047d21fee6fb1f");
        let attribute =
            |text: &str| Attribute { data_type: "String".to_owned(), text: Some(text.to_owned()), bytes: None };
        let of = |name: &str, text: &str| digest_of(&BTreeMap::from([(name.to_owned(), attribute(text))]));
        assert_eq!(of("Foo", "Bar").as_deref(), Some("ae7155c6026991b6d54b11589678bf9c"));
        assert_eq!(of("MyAttribute", "foobar").as_deref(), Some("adb59cd4678ea5a855436b949cd07ab6"));
        assert_eq!(digest_of(&BTreeMap::new()), None);
    }

    #[test]
    fn bodies_may_hold_what_xml_can_say() {
        for (text, good) in
            [("a\tb\r\n", true), ("🙂", true), ("\u{fffe}", false), ("\0", false), ("\u{1b}", false), ("", false)]
        {
            assert_eq!(check_text(text).is_ok(), good, "{text:?}");
        }
    }
}
