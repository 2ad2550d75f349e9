//! PutLogEvents: events to the segments, on disk before the answer.

use base_types::Timestamp;
use bytes::Bytes;
use model_logs::{Error, PutLogEventsRequest, PutLogEventsResponse};
use services_kernel::Cx;
use store_segments::{Batch, Durability, Entry, GroupId, StreamId};

use crate::{
    CloudWatchLogs,
    batch::{judge, time_of},
    error,
    ops::find_stream,
    tables::{Group, Id},
};

/// Before when a group's events are past its retention.
pub(crate) fn expiry(group: &Group, now: Timestamp) -> Option<Timestamp> {
    group.retention_days.map(|days| now - std::time::Duration::from_secs(u64::from(days) * 24 * 3600))
}

/// What `nextSequenceToken` says: AWS ignores sequence tokens since 2023 and still sends one; a stream's is always the same.
pub(crate) fn sequence_token(stream: &Id) -> String {
    format!("4{:0>55}", u128::from_be_bytes(*stream))
}

impl CloudWatchLogs {
    pub(crate) async fn put_events(&self, cx: &Cx, input: PutLogEventsRequest) -> Result<PutLogEventsResponse, Error> {
        let PutLogEventsRequest { log_group_name, log_stream_name, log_events, .. } = input;
        let context = cx.clone();
        let find =
            move |tx: &store_api::Tx| find_stream(tx, &context, "logs:PutLogEvents", &log_group_name, &log_stream_name);
        let (group, stream) = self.store.view(find).await?;
        let now = self.env.now();
        let verdict = judge(&log_events, now, expiry(&group, now))?;
        let accepted = log_events.into_iter().skip(verdict.accepted.start).take(verdict.accepted.len());
        let events = accepted
            .map(|event| Entry { timestamp: time_of(event.timestamp), message: Bytes::from(event.message) })
            .collect();
        let batch = Batch {
            group: GroupId(u128::from_be_bytes(group.id)),
            stream: StreamId(u128::from_be_bytes(stream.id)),
            ingestion: now,
            events,
        };
        self.segments.append(batch, Durability::Synced).await.map_err(error::segments)?;
        Ok(PutLogEventsResponse {
            next_sequence_token: Some(sequence_token(&stream.id)),
            rejected_log_events_info: verdict.rejected,
            rejected_entity_info: None,
        })
    }
}
