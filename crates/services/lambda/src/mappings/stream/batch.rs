//! The event that a function gets for records of a stream, what its answer says of them, and what is told of those that
//! are given up. Pure.
//!
//! Source: Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB", and what AWS recorded.

use base_types::Timestamp;
use bytes::Bytes;
use compute_api::PAYLOAD_BYTES_MAX;
use serde_json::{Value, json};
use services_ports::{Delivery, StreamRecord};

use super::lane::Window;
use crate::mappings::batch::failed_items;

/// Room for what an event has beside its records: a window and its state.
const FRAME_BYTES: usize = 2048;
/// The greatest state of a window (AWS: 1 MB per shard).
const STATE_BYTES_MAX: usize = 1 << 20;

/// Records that a function gets together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    bytes: usize,
}

/// One record of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) sequence: String,
    pub(crate) arrived: Timestamp,
    record: String,
}

impl Item {
    pub(crate) fn new(record: &StreamRecord) -> Self {
        Self { sequence: record.sequence.clone(), arrived: record.arrived, record: record.record.to_string() }
    }
}

/// The batch is as large as an event may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What an event says of its window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) window: &'a Window,
    pub(crate) shard: &'a str,
    pub(crate) source: &'a str,
    /// Nothing more will come in it.
    pub(crate) last: bool,
}

impl Batch {
    /// Adds a record if there is room beside a state of so many bytes; the first always has.
    pub(crate) fn push(&mut self, item: Item, state_bytes: usize) -> Result<(), Full> {
        let bytes = self.bytes + item.record.len() + 1;
        if !self.items.is_empty() && bytes + state_bytes + FRAME_BYTES > PAYLOAD_BYTES_MAX {
            return Err(Full);
        }
        self.bytes = bytes;
        self.items.push(item);
        Ok(())
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn sequences(&self) -> Vec<&str> {
        self.items.iter().map(|item| item.sequence.as_str()).collect()
    }

    /// Takes those away that came before `since`; they are the first ones.
    pub(crate) fn take_older(&mut self, since: Timestamp) -> Self {
        let older = self.items.iter().take_while(|item| item.arrived < since).count();
        let items: Vec<Item> = self.items.drain(..older).collect();
        let bytes = items.iter().map(|item| item.record.len() + 1).sum();
        self.bytes -= bytes;
        Self { items, bytes }
    }

    /// Its records from this one on.
    pub(crate) fn from(mut self, sequence: &str) -> Self {
        let first = self.items.iter().position(|item| item.sequence == sequence).unwrap_or(0);
        self.items.drain(..first);
        self.bytes = self.items.iter().map(|item| item.record.len() + 1).sum();
        self
    }

    /// The event.
    pub(crate) fn event(&self, frame: Option<Frame<'_>>) -> Bytes {
        let mut text = String::with_capacity(self.bytes + FRAME_BYTES);
        text.push_str(r#"{"Records":["#);
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&item.record);
        }
        text.push(']');
        if let Some(Frame { window, shard, source, last }) = frame {
            let (start, end) = (window.start.to_iso8601(), window.end().to_iso8601());
            let (shard, source) = (Value::from(shard), Value::from(source));
            text.push_str(&format!(
                r#","window":{{"start":"{start}","end":"{end}"}},"state":{},"shardId":{shard},"eventSourceARN":{source},"isFinalInvokeForWindow":{last},"isWindowTerminatedEarly":{}"#,
                window.state, window.early
            ));
        }
        text.push('}');
        Bytes::from(text)
    }

    /// The first record that an answer says has failed: all from there on are tried again. None when none has.
    pub(crate) fn first_failed(&self, answer: &[u8]) -> Option<usize> {
        let position = |id: &str| self.items.iter().position(|item| item.sequence == id);
        match failed_items(answer, |id| position(id).is_some()) {
            None => Some(0),
            Some(failed) => failed.iter().filter_map(|id| position(id)).min(),
        }
    }
}

/// What an answer says of a window's state; the error is that it is too large.
pub(crate) fn state_of(answer: &[u8]) -> Result<String, usize> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let state = answer.get("state").filter(|state| state.is_object()).map_or("{}".to_owned(), Value::to_string);
    if state.len() > STATE_BYTES_MAX { Err(state.len()) } else { Ok(state) }
}

/// Why records are given up, as AWS calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    RetryAttemptsExhausted,
    RecordAgeExceeded,
}

/// What is told of records that are given up.
#[derive(Debug)]
pub(crate) struct GivenUp<'a> {
    pub(crate) items: &'a [Item],
    pub(crate) condition: Condition,
    pub(crate) attempts: u32,
    pub(crate) request_id: &'a str,
    pub(crate) function: &'a str,
    pub(crate) shard: &'a str,
    pub(crate) stream: &'a str,
    /// The version that ran, and its error.
    pub(crate) response: Option<(&'a str, Option<&'a str>)>,
}

impl GivenUp<'_> {
    /// What a queue or topic gets; none when there is nothing to tell of.
    pub(crate) fn delivery(&self, now: Timestamp) -> Option<Delivery> {
        let (first, last) = (self.items.first()?, self.items.last()?);
        let condition = match self.condition {
            Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Condition::RecordAgeExceeded => "RecordAgeExceeded",
        };
        let mut told = json!({
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": self.function,
                "condition": condition,
                "approximateInvokeCount": self.attempts,
            },
            "version": "1.0",
            "timestamp": now.to_iso8601_millis(),
            "DDBStreamBatchInfo": {
                "shardId": self.shard,
                "startSequenceNumber": first.sequence,
                "endSequenceNumber": last.sequence,
                "approximateArrivalOfFirstRecord": first.arrived.to_iso8601(),
                "approximateArrivalOfLastRecord": last.arrived.to_iso8601(),
                "batchSize": self.items.len(),
                "streamArn": self.stream,
            },
        });
        if let (Some((version, error)), Some(members)) = (self.response, told.as_object_mut()) {
            let context = json!({ "statusCode": 200, "executedVersion": version, "functionError": error });
            members.insert("responseContext".to_owned(), context);
        }
        Some(Delivery { body: Bytes::from(told.to_string()), ..Delivery::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sequences: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for (index, sequence) in sequences.iter().enumerate() {
            let record = StreamRecord {
                sequence: (*sequence).to_owned(),
                key: 0,
                arrived: Timestamp::from_millis(1_657_720_081_000 + 1000 * index as u64),
                record: json!({ "n": sequence }),
            };
            batch.push(Item::new(&record), 0).unwrap();
        }
        batch
    }

    #[test]
    fn answers_mean_what_aws_recorded() {
        let batch = batch(&["1", "2", "3"]);
        for (answer, first) in [
            ("", None),
            ("null", None),
            ("{}", None),
            ("[]", None),
            (r#""""#, None),
            (r#"{"batchItemFailures":null}"#, None),
            (r#"{"batchItemFailures":[]}"#, None),
            (r#"{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"2"}]}"#, Some(1)),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Some(0)),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Some(0)),
            (r#"{"batchItemFailures":[{"foo":"3"}]}"#, Some(0)),
            (r#"{"batchItemFailures":[{"foo":null}]}"#, Some(0)),
            (r#"{"batchItemFailures":[{"itemIdentifier":"elsewhere"}]}"#, Some(0)),
            ("no json", Some(0)),
        ] {
            assert_eq!(batch.first_failed(answer.as_bytes()), first, "{answer}");
        }
    }

    #[test]
    fn what_is_given_up_is_told_as_aws_recorded_it() {
        let batch = batch(&["000000000000000000007"]);
        let mut given_up = GivenUp {
            items: batch.items(),
            condition: Condition::RetryAttemptsExhausted,
            attempts: 4,
            request_id: "r",
            function: "arn:aws:lambda:us-east-1:111111111111:function:f",
            shard: "shardId-1",
            stream: "arn:aws:dynamodb:us-east-1:111111111111:table/t/stream/s",
            response: Some(("$LATEST", None)),
        };
        let now = Timestamp::from_millis(1_657_720_082_500);
        let told =
            |given_up: &GivenUp<'_>| serde_json::from_slice::<Value>(&given_up.delivery(now).unwrap().body).unwrap();
        let mut expected = json!({
            "DDBStreamBatchInfo": {
                "approximateArrivalOfFirstRecord": "2022-07-13T13:48:01Z",
                "approximateArrivalOfLastRecord": "2022-07-13T13:48:01Z",
                "batchSize": 1,
                "endSequenceNumber": "000000000000000000007",
                "shardId": "shardId-1",
                "startSequenceNumber": "000000000000000000007",
                "streamArn": "arn:aws:dynamodb:us-east-1:111111111111:table/t/stream/s",
            },
            "requestContext": {
                "approximateInvokeCount": 4,
                "condition": "RetryAttemptsExhausted",
                "functionArn": "arn:aws:lambda:us-east-1:111111111111:function:f",
                "requestId": "r",
            },
            "responseContext": { "executedVersion": "$LATEST", "functionError": null, "statusCode": 200 },
            "timestamp": "2022-07-13T13:48:02.500Z",
            "version": "1.0",
        });
        assert_eq!(told(&given_up), expected);
        (given_up.condition, given_up.response) = (Condition::RecordAgeExceeded, None);
        expected.as_object_mut().unwrap().remove("responseContext");
        expected["requestContext"]["condition"] = json!("RecordAgeExceeded");
        assert_eq!(told(&given_up), expected);
    }

    #[test]
    fn a_window_is_told_with_its_state() {
        let window =
            Window { state: r#"{"sum":3}"#.to_owned(), ..Window::of(Timestamp::from_millis(1_607_497_475_000), 60) };
        let frame = Frame { window: &window, shard: "shardId-1", source: "arn", last: true };
        let event: Value = serde_json::from_slice(&batch(&[]).event(Some(frame))).unwrap();
        let expected = json!({
            "Records": [],
            "window": { "start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:05:00Z" },
            "state": { "sum": 3 },
            "shardId": "shardId-1",
            "eventSourceARN": "arn",
            "isFinalInvokeForWindow": true,
            "isWindowTerminatedEarly": false,
        });
        assert_eq!(event, expected);
        assert_eq!(
            serde_json::from_slice::<Value>(&batch(&["1"]).event(None)).unwrap(),
            json!({ "Records": [{ "n": "1" }] })
        );
        assert_eq!(state_of(br#"{"state":{"sum":4}}"#), Ok(r#"{"sum":4}"#.to_owned()));
        assert_eq!(state_of(b"null"), Ok("{}".to_owned()));
        let large = json!({ "state": { "s": "x".repeat(STATE_BYTES_MAX) } }).to_string();
        assert!(state_of(large.as_bytes()).is_err());
    }

    #[test]
    fn what_is_too_old_is_taken_away_first() {
        let mut batch = batch(&["1", "2", "3"]);
        let older = batch.take_older(Timestamp::from_millis(1_657_720_082_500));
        assert_eq!((older.sequences(), batch.sequences()), (vec!["1", "2"], vec!["3"]));
    }
}
