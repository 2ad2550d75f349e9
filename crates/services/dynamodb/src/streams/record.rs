//! A change as clients get it (`Record`) and as functions and pipes do (JSON). Pure.
//!
//! Sources: the DynamoDB Streams API reference (`Record`, `StreamRecord`), the Lambda developer guide ("Using AWS Lambda
//! with Amazon DynamoDB"), and what AWS recorded of both.

use std::collections::BTreeMap;

use base_types::{Fault, Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lang_dynamodb::{Item, Value};
use model_dynamodbstreams::{AttributeValue, Identity, OperationType, Record, StreamRecord, StreamViewType};
use serde_json::{Map, Value as Json, json};

use super::{
    log::{Change, ChangeKind},
    stream::Place,
};
use crate::table::View;

const EVENT_VERSION: &str = "1.1";
const EVENT_SOURCE: &str = "aws:dynamodb";
/// Who removes what has expired.
const EXPIRY: (&str, &str) = ("Service", "dynamodb.amazonaws.com");

/// What is the same in all records of a stream.
pub(super) struct Forms<'a> {
    pub(super) region: &'a str,
    pub(super) arn: &'a str,
    pub(super) view: View,
}

fn item(bytes: &[u8]) -> Result<Item, Fault> {
    lang_dynamodb::decode(bytes).map_err(|_| crate::error::damaged("an item of a stream record"))
}

/// AWS tells when something happened to the second.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() / 1000 * 1000)
}

impl Forms<'_> {
    /// For `GetRecords`.
    pub(super) fn wire(&self, place: Place, change: &Change) -> Result<Record, Fault> {
        let image = |bytes: &minicbor::bytes::ByteVec| item(bytes).map(wire_item);
        let (r#type, principal) = EXPIRY;
        Ok(Record {
            event_id: Some(place.position().to_string()),
            event_name: Some(match change.kind {
                ChangeKind::Insert => OperationType::Insert,
                ChangeKind::Modify => OperationType::Modify,
                ChangeKind::Remove => OperationType::Remove,
            }),
            event_version: Some(EVENT_VERSION.to_owned()),
            event_source: Some(EVENT_SOURCE.to_owned()),
            aws_region: Some(self.region.to_owned()),
            dynamodb: Some(StreamRecord {
                approximate_creation_date_time: Some(second(change.at)),
                keys: Some(image(&change.keys)?),
                new_image: change.new.as_ref().map(image).transpose()?,
                old_image: change.old.as_ref().map(image).transpose()?,
                sequence_number: Some(place.sequence()),
                size_bytes: i64::try_from(change.size).ok(),
                stream_view_type: Some(view_type(self.view)),
            }),
            user_identity: change
                .expired
                .then(|| Identity { principal_id: Some(principal.to_owned()), r#type: Some(r#type.to_owned()) }),
        })
    }

    /// For functions and pipes.
    pub(super) fn json(&self, place: Place, change: &Change) -> Result<Json, Fault> {
        let image = |bytes: &minicbor::bytes::ByteVec| item(bytes).map(|item| json_item(&item));
        let mut body = Map::new();
        body.insert("ApproximateCreationDateTime".to_owned(), change.at.as_seconds().into());
        body.insert("Keys".to_owned(), image(&change.keys)?);
        for (name, bytes) in [("NewImage", &change.new), ("OldImage", &change.old)] {
            if let Some(bytes) = bytes {
                body.insert(name.to_owned(), image(bytes)?);
            }
        }
        body.insert("SequenceNumber".to_owned(), place.sequence().into());
        body.insert("SizeBytes".to_owned(), change.size.into());
        body.insert("StreamViewType".to_owned(), view_type(self.view).as_str().into());
        let mut record = json!({
            "eventID": place.position().to_string(),
            "eventName": change.kind.as_str(),
            "eventVersion": EVENT_VERSION,
            "eventSource": EVENT_SOURCE,
            "awsRegion": self.region,
            "dynamodb": body,
            "eventSourceARN": self.arn,
        });
        if let (true, Some(members)) = (change.expired, record.as_object_mut()) {
            let (r#type, principal) = EXPIRY;
            members.insert("userIdentity".to_owned(), json!({ "type": r#type, "principalId": principal }));
        }
        Ok(record)
    }
}

pub(super) fn view_type(view: View) -> StreamViewType {
    match view {
        View::Keys => StreamViewType::KeysOnly,
        View::New => StreamViewType::NewImage,
        View::Old => StreamViewType::OldImage,
        View::Both => StreamViewType::NewAndOldImages,
    }
}

fn wire_item(item: Item) -> BTreeMap<String, AttributeValue> {
    item.into_iter().map(|(name, value)| (name, wire(value))).collect()
}

fn wire(value: Value) -> AttributeValue {
    let mut wire = AttributeValue::default();
    match value {
        Value::S(text) => wire.s = Some(text),
        Value::N(number) => wire.n = Some(number.to_string()),
        Value::B(bytes) => wire.b = Some(bytes),
        Value::Bool(value) => wire.bool = Some(value),
        Value::Null => wire.null = Some(true),
        Value::Ss(set) => wire.ss = Some(set.into_iter().collect()),
        Value::Ns(set) => wire.ns = Some(set.iter().map(ToString::to_string).collect()),
        Value::Bs(set) => wire.bs = Some(set.into_iter().collect()),
        Value::L(list) => wire.l = Some(list.into_iter().map(self::wire).collect()),
        Value::M(map) => wire.m = Some(wire_item(map)),
    }
    wire
}

fn json_item(item: &Item) -> Json {
    Json::Object(item.iter().map(|(name, value)| (name.clone(), json_value(value))).collect())
}

fn json_value(value: &Value) -> Json {
    match value {
        Value::S(text) => json!({ "S": text }),
        Value::N(number) => json!({ "N": number.to_string() }),
        Value::B(bytes) => json!({ "B": STANDARD.encode(bytes) }),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Null => json!({ "NULL": true }),
        Value::Ss(set) => json!({ "SS": set }),
        Value::Ns(set) => json!({ "NS": set.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        Value::Bs(set) => json!({ "BS": set.iter().map(|bytes| STANDARD.encode(bytes)).collect::<Vec<_>>() }),
        Value::L(list) => json!({ "L": list.iter().map(json_value).collect::<Vec<_>>() }),
        Value::M(map) => json!({ "M": json_item(map) }),
    }
}

#[cfg(test)]
mod tests {
    use minicbor::bytes::ByteVec;

    use super::*;

    fn image(entries: &[(&str, Value)]) -> ByteVec {
        let item: Item = entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        lang_dynamodb::encode(&item).into()
    }

    #[test]
    fn a_function_gets_a_record_as_aws_recorded_it() {
        let arn = "arn:aws:dynamodb:us-east-1:111111111111:table/t/stream/s";
        let forms = Forms { region: "us-east-1", arn, view: View::New };
        let key = ("my_partition_key", Value::S("hello world".to_owned()));
        let change = Change {
            kind: ChangeKind::Insert,
            keys: image(std::slice::from_ref(&key)),
            old: None,
            new: Some(image(&[("binary_key", Value::B(bytes::Bytes::from_static(b"foobar"))), key])),
            at: Timestamp::from_millis(1_700_000_000_900),
            size: 70,
            expired: false,
        };
        let record = forms.json(Place::default(), &change).unwrap();
        let expected = json!({
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_700_000_000,
                "Keys": { "my_partition_key": { "S": "hello world" } },
                "NewImage": { "binary_key": { "B": "Zm9vYmFy" }, "my_partition_key": { "S": "hello world" } },
                "SequenceNumber": "000000000000000000000",
                "SizeBytes": 70,
                "StreamViewType": "NEW_IMAGE",
            },
            "eventID": "00000000000000000000000000000000",
            "eventName": "INSERT",
            "eventSource": "aws:dynamodb",
            "eventSourceARN": arn,
            "eventVersion": "1.1",
        });
        assert_eq!(record, expected);
        let expired = Change { kind: ChangeKind::Remove, new: None, expired: true, ..change };
        let record = forms.json(Place::default(), &expired).unwrap();
        assert_eq!(record["userIdentity"], json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" }));
        let wire = forms.wire(Place::default(), &expired).unwrap();
        assert_eq!(wire.user_identity.unwrap().principal_id.as_deref(), Some("dynamodb.amazonaws.com"));
        assert_eq!(wire.dynamodb.unwrap().approximate_creation_date_time.unwrap().as_millis(), 1_700_000_000_000);
    }

    #[test]
    fn every_type_has_its_json() {
        use std::collections::BTreeSet;
        let n = |text: &str| text.parse::<lang_dynamodb::Number>().unwrap();
        for (value, expected) in [
            (Value::N(n("1e2")), json!({ "N": "100" })),
            (Value::Bool(false), json!({ "BOOL": false })),
            (Value::Null, json!({ "NULL": true })),
            (Value::Ss(BTreeSet::from(["a".to_owned()])), json!({ "SS": ["a"] })),
            (Value::Ns(BTreeSet::from([n("2"), n("1")])), json!({ "NS": ["1", "2"] })),
            (Value::Bs(BTreeSet::from([bytes::Bytes::from_static(b"ab")])), json!({ "BS": ["YWI="] })),
            (Value::L(vec![Value::Null]), json!({ "L": [{ "NULL": true }] })),
            (Value::M(Item::from([("k".to_owned(), Value::Bool(true))])), json!({ "M": { "k": { "BOOL": true } } })),
        ] {
            assert_eq!(json_value(&value), expected);
        }
    }
}
