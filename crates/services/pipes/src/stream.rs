//! A stream as the source of a pipe: it is read and not emptied, so a pipe keeps how far it is.
//!
//! A pipe works a stream off in as many *lanes* as it has batches at once. A record falls to a lane by what orders it, so the
//! records of an item are in one lane, and a lane has one batch at a time: their order is kept. A lane works off the shards
//! one after the other, parents before children. Guarantee: how far a lane is changes in the commit in which its batch is
//! handed over or given up.

use std::{collections::BTreeMap, time::Duration};

use base_types::{Arn, Fault};
use bytes::Bytes;
use serde_json::{Value, json};
use services_kernel::Cx;
use services_ports::{Delivery, DeliveryError, QueueMessage, Received, ShardRead, StreamRecord, StreamStart};
use store_api::{Key, Tx};

use crate::{
    Peers, Pipes,
    definition::Definition,
    names::Named,
    poller::Stop,
    tables::{self, Position},
};

/// What one transaction reads, in bytes.
const READ_BYTES_MAX: usize = 4 << 20;
/// The system attribute under which a record's time travels.
const ARRIVED: &str = "ArrivedTimestamp";

/// How a stream is worked off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamSettings {
    /// It begins with what comes from now on, not with the oldest record.
    pub(crate) latest: bool,
    /// Batches at once.
    pub(crate) lanes: u64,
    pub(crate) retries_max: Option<u32>,
    pub(crate) age_max: Option<Duration>,
    /// Who is told what was given up.
    pub(crate) dead_letters: Option<Arn>,
}

impl StreamSettings {
    /// Of `DynamoDBStreamParameters`.
    pub(crate) fn of(parameters: &Value) -> Self {
        let number = |name: &str| parameters.get(name).and_then(Value::as_i64);
        let bound = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
        Self {
            latest: parameters.get("StartingPosition").and_then(Value::as_str) == Some("LATEST"),
            lanes: number("ParallelizationFactor").and_then(|lanes| u64::try_from(lanes).ok()).unwrap_or(1).max(1),
            retries_max: bound("MaximumRetryAttempts"),
            age_max: bound("MaximumRecordAgeInSeconds").map(|seconds| Duration::from_secs(seconds.into())),
            dead_letters: parameters
                .pointer("/DeadLetterConfig/Arn")
                .and_then(Value::as_str)
                .and_then(|arn| arn.parse().ok()),
        }
    }
}

/// The record of a change, which a message carries through the pipe.
pub(crate) fn record(message: &QueueMessage) -> Value {
    serde_json::from_str(&message.body).unwrap_or_default()
}

fn message(shard: &str, record: &StreamRecord) -> QueueMessage {
    QueueMessage {
        id: record.sequence.clone(),
        receipt: shard.to_owned(),
        body: record.record.to_string(),
        md5_of_body: String::new(),
        system: BTreeMap::from([(ARRIVED.to_owned(), record.arrived.to_iso8601())]),
        attributes: Vec::new(),
        md5_of_attributes: None,
    }
}

impl<P: Peers> Pipes<P> {
    /// Takes messages of a queue, or looks at the next records of a stream behind `after`.
    pub(crate) fn take(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        (lane, after): (u64, Option<&QueueMessage>),
        most: usize,
    ) -> Result<Received, Stop> {
        let Some(settings) = &definition.stream else {
            return Ok(self.queues.receive(cx, tx, &definition.source, most, None)?);
        };
        let source = self.streams.of(&definition.source)?;
        loop {
            let Some((shard, mut position)) = self.current(cx, tx, definition, settings, lane)? else {
                return Ok(Received::default());
            };
            let begin = match after {
                Some(after) if after.receipt == shard => Some(after.id.as_str()),
                // What was taken is of another shard: it is worked off first.
                Some(_) => return Ok(Received::default()),
                None => position.after.as_deref(),
            };
            let read = ShardRead {
                shard: &shard,
                after: begin,
                until: None,
                most,
                bytes: READ_BYTES_MAX,
                share: (lane, settings.lanes),
            };
            let page = source.read(cx, tx, &definition.source, &read)?;
            let messages: Vec<QueueMessage> = page.records.iter().map(|record| message(&shard, record)).collect();
            let since = settings
                .age_max
                .map(|age| tx.now().as_millis().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
            let is_old = |record: &StreamRecord| since.is_some_and(|since| record.arrived.as_millis() < since);
            let old = page.records.iter().take_while(|record| is_old(record)).count();
            if after.is_none() && old > 0 {
                self.give_up(cx, tx, definition, settings, &messages[..old], "RecordAgeExceeded")?;
                position = Position { after: messages.get(old - 1).map(|message| message.id.clone()), ..position };
            } else if !messages.is_empty() {
                return Ok(Received { messages, next_due: None });
            } else if after.is_some() {
                return Ok(Received::default());
            } else if page.ended {
                position.ended = true;
            } else if page.after.is_some() && page.after != position.after {
                // Records of other lanes.
                position.after = page.after;
                tables::put_position(tx, &definition.named, &shard, lane, &position)?;
                if page.complete {
                    return Ok(Received::default());
                }
                continue;
            } else {
                return Ok(Received::default());
            }
            position.failures = 0;
            tables::put_position(tx, &definition.named, &shard, lane, &position)?;
        }
    }

    /// The shard that a lane is at, and how far.
    fn current(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        settings: &StreamSettings,
        lane: u64,
    ) -> Result<Option<(String, Position)>, Stop> {
        let source = self.streams.of(&definition.source)?;
        for shard in source.shards(cx, tx, &definition.source)? {
            let found = tables::position(tx, &definition.named, &shard.id, lane)?;
            let position = found.unwrap_or_else(|| Position::new(settings.lanes));
            if !position.ended {
                return Ok(Some((shard.id, position)));
            }
        }
        Ok(None)
    }

    /// What is not kept of a batch is done with.
    pub(crate) fn finish(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        lane: u64,
        messages: &[QueueMessage],
        kept: &[usize],
    ) -> Result<(), Stop> {
        let Some(settings) = &definition.stream else {
            let gone = messages.iter().enumerate().filter(|(index, _)| !kept.contains(index));
            let receipts: Vec<&str> = gone.map(|(_, message)| message.receipt.as_str()).collect();
            return Ok(self.queues.delete(cx, tx, &definition.source, &receipts)?);
        };
        let Some(last) = messages.last() else { return Ok(()) };
        let (shard, named) = (&last.receipt, &definition.named);
        let mut position = tables::position(tx, named, shard, lane)?.unwrap_or_else(|| Position::new(settings.lanes));
        match kept.iter().min() {
            None => (position.after, position.failures) = (Some(last.id.clone()), 0),
            // From the first that failed on everything is tried again: later ones must not overtake it.
            Some(first) => {
                if let Some(done) = first.checked_sub(1).and_then(|done| messages.get(done)) {
                    position.after = Some(done.id.clone());
                }
                position.failures += 1;
                if settings.retries_max.is_some_and(|retries| position.failures > retries) {
                    let rest = messages.get(*first..).unwrap_or_default();
                    self.give_up(cx, tx, definition, settings, rest, "RetryAttemptsExhausted")?;
                    (position.after, position.failures) = (Some(last.id.clone()), 0);
                }
            }
        }
        Ok(tables::put_position(tx, named, shard, lane, &position)?)
    }

    /// A batch of a stream failed as a whole: that is counted, and it is given up when that was its last try.
    pub(crate) fn failed(&self, cx: &Cx, tx: &Tx, definition: &Definition, lane: u64) -> Result<(), Stop> {
        let received = self.take(cx, tx, definition, (lane, None), definition.batch)?;
        if received.messages.is_empty() {
            return Ok(());
        }
        self.finish(cx, tx, definition, lane, &received.messages, &[0])
    }

    /// Tells what is given up.
    fn give_up(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        settings: &StreamSettings,
        messages: &[QueueMessage],
        condition: &str,
    ) -> Result<(), Fault> {
        let (Some(target), Some(first), Some(last)) = (&settings.dead_letters, messages.first(), messages.last())
        else {
            return Ok(());
        };
        let told = json!({
            "context": { "partnerResourceArn": definition.named.arn().to_string(), "condition": condition },
            "version": "1.0",
            "timestamp": tx.now().to_iso8601_millis(),
            "DDBStreamBatchInfo": {
                "shardId": first.receipt,
                "startSequenceNumber": first.id,
                "endSequenceNumber": last.id,
                "approximateArrivalOfFirstRecord": first.system.get(ARRIVED),
                "approximateArrivalOfLastRecord": last.system.get(ARRIVED),
                "batchSize": messages.len(),
                "streamArn": definition.source.to_string(),
            },
        });
        let delivery = Delivery { body: Bytes::from(told.to_string()), ..Delivery::default() };
        match self.destinations.deliver(cx, tx, target, &delivery) {
            Ok(()) => Ok(()),
            Err(DeliveryError::Fault(fault)) => Err(fault),
            Err(error) => {
                let pipe = definition.named.arn();
                tracing::warn!(%pipe, %target, %error, "what a pipe gave up could not be told");
                Ok(())
            }
        }
    }

    /// Whether the source is there and may be used.
    pub(crate) fn check_source(&self, cx: &Cx, tx: &Tx, source: &Arn) -> Result<(), DeliveryError> {
        if source.service == "sqs" {
            return self.queues.describe(cx, tx, source).map(drop);
        }
        self.streams.of(source)?.shards(cx, tx, source).map(drop)
    }

    /// What wakes those who wait for the source.
    pub(crate) fn source_topic(&self, source: &Arn) -> Option<Key> {
        if source.service == "sqs" {
            return self.queues.topic(source);
        }
        self.streams.of(source).ok()?.topic(source)
    }

    /// A pipe is made: what is in the stream by now is not for one that begins with the latest.
    pub(crate) fn begin_stream(&self, cx: &Cx, tx: &Tx, definition: &Definition) -> Result<(), Fault> {
        let Some(settings) = definition.stream.as_ref().filter(|settings| settings.latest) else { return Ok(()) };
        // A stream that is not there is told of when the pipe is to run.
        let fault = |error| match error {
            DeliveryError::Fault(fault) => Err(fault),
            _ => Ok(()),
        };
        let source = match self.streams.of(&definition.source) {
            Ok(source) => source,
            Err(error) => return fault(error),
        };
        let shards = match source.shards(cx, tx, &definition.source) {
            Ok(shards) => shards,
            Err(error) => return fault(error),
        };
        for shard in shards {
            let after = match source.place(cx, tx, &definition.source, &shard.id, StreamStart::Latest) {
                Ok(after) => after,
                Err(error) => return fault(error),
            };
            let position = Position { after, ended: shard.closed, ..Position::new(settings.lanes) };
            for lane in 0..settings.lanes {
                tables::put_position(tx, &definition.named, &shard.id, lane, &position)?;
            }
        }
        Ok(())
    }

    /// The lanes of a pipe that has another number of them now: what one has not done yet is done again by all.
    pub(crate) fn divide_stream(&self, tx: &Tx, named: &Named, lanes: u64) -> Result<(), Fault> {
        let rows = tables::positions(tx, named)?;
        if rows.iter().all(|(_, _, position)| position.shares == lanes) {
            return Ok(());
        }
        let mut shards: BTreeMap<String, Vec<Position>> = BTreeMap::new();
        for (shard, lane, position) in rows {
            tables::remove_position(tx, named, &shard, lane)?;
            shards.entry(shard).or_default().push(position);
        }
        for (shard, old) in shards {
            let whole = old.first().is_some_and(|first| u64::try_from(old.len()) == Ok(first.shares));
            // A lane that has no position is at the beginning.
            let least = old.iter().map(|position| position.after.as_ref()).collect::<Option<Vec<_>>>();
            let after = least.filter(|_| whole).and_then(|all| {
                all.into_iter().min_by_key(|after| (after.trim_start_matches('0').len(), after.as_str())).cloned()
            });
            let ended = whole && old.iter().all(|position| position.ended);
            for lane in 0..lanes {
                let position = Position { after: after.clone(), ended, ..Position::new(lanes) };
                tables::put_position(tx, named, &shard, lane, &position)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_the_defaults_of_aws() {
        let plain = StreamSettings::of(&json!({ "StartingPosition": "TRIM_HORIZON" }));
        assert_eq!(
            (plain.latest, plain.lanes, plain.retries_max, plain.age_max, plain.dead_letters),
            (false, 1, None, None, None)
        );
        let all = StreamSettings::of(&json!({
            "StartingPosition": "LATEST",
            "ParallelizationFactor": 4,
            "MaximumRetryAttempts": 0,
            "MaximumRecordAgeInSeconds": -1,
            "DeadLetterConfig": { "Arn": "arn:aws:sqs:us-east-1:000000000000:dead" },
        }));
        assert_eq!((all.latest, all.lanes, all.retries_max, all.age_max), (true, 4, Some(0), None));
        assert_eq!(all.dead_letters.unwrap().resource, "dead");
    }
}
