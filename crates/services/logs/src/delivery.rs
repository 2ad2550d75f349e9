//! Log groups as targets: what is delivered becomes a log event.
//!
//! Appending to a stream takes no transaction, so what is delivered is a durable intent of the caller's commit, appended
//! afterwards and taken away when the event is on disk: it is logged at least once.
//!
//! Resource policies of log groups are not built: an AWS service may deliver on behalf of resources of the group's own
//! account, and nobody else's service may.

use std::{collections::HashMap, time::Duration};

use base_types::{Arn, Fault};
use bytes::Bytes;
use model_logs::Error;
use services_kernel::{Cx, Principal, Reconciler};
use services_ports::{Deliver, Delivery, DeliveryError, LogSink as _};
use sha2::{Digest as _, Sha256};
use store_api::{Key, Tx};
use store_segments::{Batch, Durability, Entry, GroupId, StreamId};

use crate::{
    CloudWatchLogs,
    batch::{BATCH_BYTES_MAX, EVENT_OVERHEAD_BYTES},
    names,
    tables::{self, Intent, Place},
};

/// Intents that one round appends.
const APPENDED_MAX: usize = 500;
const AT_ONCE: Duration = Duration::from_millis(1);

/// A group that was found, in the context of its own account and region.
struct Target {
    cx: Cx,
    name: String,
}

impl CloudWatchLogs {
    fn target(cx: &Cx, tx: &Tx, target: &Arn) -> Result<Target, DeliveryError> {
        let missing = || DeliveryError::NotFound(target.to_string());
        let name = target.resource.strip_prefix("log-group:").ok_or_else(missing)?;
        let name = name.strip_suffix(":*").unwrap_or(name).to_owned();
        let account = target.account.parse().map_err(|_| missing())?;
        let region = target.region.parse().map_err(|_| missing())?;
        let on_behalf = cx.source.as_ref().map(|source| source.arn.account.as_str());
        let by_service = matches!(&*cx.principal, Principal::Service { .. });
        if !(by_service && on_behalf == Some(target.account.as_str())) {
            cx.authorize_by::<Error>("logs:PutLogEvents", target, None, &cx.conditions())
                .map_err(|error| DeliveryError::Denied(error.to_string()))?;
        }
        let cx = Cx { account, region, ..cx.clone() };
        match Place::of(&cx).group(tx, &name)? {
            Some(_) => Ok(Target { cx, name }),
            None => Err(missing()),
        }
    }
}

/// The stream that deliveries on behalf of a resource go to: one for each, named as AWS names them.
fn stream_name(cx: &Cx) -> String {
    let source = cx.source.as_ref().map_or_else(|| cx.principal.arn(), |source| source.arn.to_string());
    let digest = Sha256::digest(source.as_bytes());
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

impl Deliver for CloudWatchLogs {
    fn service(&self) -> &'static str {
        "logs"
    }

    fn check(&self, cx: &Cx, tx: &Tx, target: &Arn) -> Result<(), DeliveryError> {
        Self::target(cx, tx, target).map(drop)
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        let found = Self::target(cx, tx, target)?;
        let refused = |reason: &str| DeliveryError::Refused { arn: target.to_string(), reason: reason.to_owned() };
        if delivery.body.is_empty() {
            return Err(refused("a log event is not empty"));
        }
        if delivery.body.len() > BATCH_BYTES_MAX - EVENT_OVERHEAD_BYTES {
            return Err(refused("it is too large for a log event"));
        }
        let stream = match &delivery.log_stream {
            Some(name) => {
                names::check_stream(name).map_err(|error| refused(&error.to_string()))?;
                name.clone()
            }
            None => stream_name(cx),
        };
        let place = self.ensure_stream(&found.cx, tx, &found.name, &stream)?;
        let intent = Intent {
            group: place.group.to_be_bytes(),
            stream: place.stream.to_be_bytes(),
            at: delivery.event.as_ref().and_then(|event| event.time).unwrap_or_else(|| tx.now()),
            text: delivery.body.to_vec(),
        };
        Ok(tables::put_intent(tx, &self.new_id(), &intent)?)
    }
}

/// Appends what was delivered.
pub struct LogDeliveries {
    logs: CloudWatchLogs,
}

impl LogDeliveries {
    pub(crate) fn new(logs: CloudWatchLogs) -> Self {
        Self { logs }
    }
}

impl Reconciler for LogDeliveries {
    const NAME: &'static str = "deliveries to log groups";
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        tables::intents_topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let waiting = self.logs.store.view(|tx| tables::intents(tx, APPENDED_MAX)).await?;
        let more = waiting.len() == APPENDED_MAX;
        let (mut streams, mut done) = (HashMap::<_, Vec<Entry>>::new(), Vec::new());
        for (key, intent) in waiting {
            let entry = Entry { timestamp: intent.at, message: Bytes::from(intent.text) };
            streams.entry((intent.group, intent.stream)).or_default().push(entry);
            done.push(key);
        }
        if done.is_empty() {
            return Ok(None);
        }
        for ((group, stream), mut events) in streams {
            let (group, stream) = (u128::from_be_bytes(group), u128::from_be_bytes(stream));
            // Nobody can read a stream that was deleted.
            if self.logs.deleted.contains(group) || self.logs.deleted.contains(stream) {
                continue;
            }
            events.sort_by_key(|event| event.timestamp);
            let mut batches: Vec<(usize, Vec<Entry>)> = Vec::new();
            for event in events {
                let size = event.message.len() + EVENT_OVERHEAD_BYTES;
                match batches.last_mut() {
                    Some((bytes, batch)) if *bytes + size <= BATCH_BYTES_MAX => {
                        *bytes += size;
                        batch.push(event);
                    }
                    _ => batches.push((size, vec![event])),
                }
            }
            for (_, events) in batches {
                let ingestion = self.logs.env.now();
                let batch = Batch { group: GroupId(group), stream: StreamId(stream), ingestion, events };
                self.logs.segments.append(batch, Durability::Synced).await?;
            }
        }
        self.logs.store.transact(move |tx| done.iter().try_for_each(|key| tx.delete(key))).await?;
        Ok(more.then_some(AT_ONCE))
    }
}
