//! Reading a stream of records, for whoever works them off: an event source mapping, a pipe.
//!
//! A stream is a forest of shards; the records of a shard have an order, and a shard's come before those of its children.
//! A reader keeps its own place (the sequence number that it is done with) in its own tables, and moves it in the commit
//! in which the records' consequences happen. Reading changes nothing, so it goes over a view or over the caller's
//! transaction. Who waits for records subscribes to [`Streams::topic`] before looking: a hint may be lost, the stream is
//! the truth.
//!
//! A service that has streams implements [`Streams`] and is registered, once, in [`StreamSources`].

use std::{collections::BTreeMap, sync::Arc};

use base_types::{Arn, Timestamp};
use parking_lot::RwLock;
use serde_json::Value;
use services_kernel::Cx;
use store_api::{Key, Tx};

use crate::DeliveryError;

/// A service whose streams can be read.
pub trait Streams: Send + Sync + 'static {
    /// The service in the ARNs of its streams: `dynamodb`, `kinesis`.
    fn service(&self) -> &'static str;

    /// The shards of a stream that hold records or will, parents before children.
    ///
    /// # Errors
    /// `NotFound` when the stream is not there (any more), `Denied` when who asks may not read it, or a fault.
    fn shards(&self, cx: &Cx, tx: &Tx, stream: &Arn) -> Result<Vec<StreamShard>, DeliveryError>;

    /// The place at which somebody begins: to be given to [`Streams::read`] as `after`.
    ///
    /// # Errors
    /// As [`Streams::shards`].
    fn place(
        &self,
        cx: &Cx,
        tx: &Tx,
        stream: &Arn,
        shard: &str,
        start: StreamStart,
    ) -> Result<Option<String>, DeliveryError>;

    /// Records of a shard, in their order.
    ///
    /// # Errors
    /// As [`Streams::shards`].
    fn read(&self, cx: &Cx, tx: &Tx, stream: &Arn, read: &ShardRead<'_>) -> Result<ShardPage, DeliveryError>;

    /// What wakes those who wait for the stream's records, and for changes of its shards.
    fn topic(&self, stream: &Arn) -> Option<Key>;
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamShard {
    /// Its identifier.
    pub id: String,
    /// The shard whose records come before its own. It may have expired.
    pub parent: Option<String>,
    /// Nothing will be added to it.
    pub closed: bool,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStart {
    /// With the oldest record that there is.
    TrimHorizon,
    /// With what comes from now on.
    Latest,
    /// With the first record that arrived at this time or later.
    At(Timestamp),
}

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub struct ShardRead<'a> {
    /// The shard.
    pub shard: &'a str,
    /// The sequence number that the reader is done with; the oldest record that there is comes first when there is none.
    pub after: Option<&'a str>,
    /// The last sequence number that is wanted, if there is a last one.
    pub until: Option<&'a str>,
    /// Records at most.
    pub most: usize,
    /// Bytes of them at most, about; one record is read however large it is.
    pub bytes: usize,
    /// Only those whose key falls to this share: its number, and how many shares there are (at least one).
    pub share: (u64, u64),
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct ShardPage {
    /// The records.
    pub records: Vec<StreamRecord>,
    /// How far was looked, records of other shares included: `after` of the next page. None when nothing was there.
    pub after: Option<String>,
    /// Everything that there is now was looked at.
    pub complete: bool,
    /// Everything that will ever be in the shard was looked at.
    pub ended: bool,
}

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRecord {
    /// Its sequence number; decimal digits.
    pub sequence: String,
    /// A digest of what orders it: records of one key are worked off one after the other.
    pub key: u64,
    /// When it came.
    pub arrived: Timestamp,
    /// The record as a function gets it, in AWS's form.
    pub record: Value,
}

impl StreamRecord {
    /// The share of `shares` that a key falls to.
    #[must_use]
    pub fn share(key: u64, shares: u64) -> u64 {
        key % shares.max(1)
    }
}

/// Whose streams can be read, by service. Filled by the composition before anything is served; cheap to clone.
#[derive(Clone, Default)]
pub struct StreamSources(Arc<RwLock<BTreeMap<&'static str, Arc<dyn Streams>>>>);

impl StreamSources {
    /// Nobody's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service; one that was there under this name is replaced.
    pub fn register(&self, service: Arc<dyn Streams>) {
        self.0.write().insert(service.service(), service);
    }

    /// The service that has this stream.
    ///
    /// # Errors
    /// [`DeliveryError::NotServed`] when nobody serves such streams.
    pub fn of(&self, stream: &Arn) -> Result<Arc<dyn Streams>, DeliveryError> {
        self.0
            .read()
            .get(stream.service.as_str())
            .cloned()
            .ok_or_else(|| DeliveryError::NotServed { arn: stream.to_string(), service: stream.service.clone() })
    }
}
