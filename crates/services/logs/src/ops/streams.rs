//! Log streams: create, delete, describe.

use model_logs::{
    CreateLogStreamRequest, DeleteLogStreamRequest, DescribeLogStreamsRequest, DescribeLogStreamsResponse, Error,
    LogStream, OrderBy,
};
use services_kernel::{Audit, Cx};
use store_api::{Direction, Tx};
use store_segments::StreamId;

use crate::{
    CloudWatchLogs,
    error::{group_missing, invalid, stream_exists, token_invalid},
    names,
    ops::{find_group, find_stream},
    tables::{NamedStream, Place, Stream},
};

const PAGE_MAX: usize = 50;

impl CloudWatchLogs {
    pub(crate) fn create_stream(&self, cx: &Cx, tx: &Tx, input: &CreateLogStreamRequest) -> Result<(), Error> {
        let (group_name, name) = (&input.log_group_name, &input.log_stream_name);
        names::check_group(group_name)?;
        names::check_stream(name)?;
        cx.authorize::<Error>(tx, "logs:CreateLogStream", &names::stream_arn(cx, group_name, name))?;
        let group = Place::of(cx).group(tx, group_name)?.ok_or_else(group_missing)?;
        if Place::of(cx).stream(tx, &group.id, name)?.is_some() {
            return Err(stream_exists());
        }
        Ok(Place::of(cx).put_new_stream(tx, &group.id, name, &self.new_stream(tx))?)
    }

    pub(crate) fn new_stream(&self, tx: &Tx) -> Stream {
        Stream { id: self.new_id(), created: tx.now(), first_event: None, last_event: None, last_ingestion: None }
    }

    pub(crate) async fn delete_stream(&self, cx: &Cx, input: DeleteLogStreamRequest) -> Result<(), Error> {
        let (logs, cx) = (self.clone(), cx.clone());
        self.store
            .transact(move |tx| {
                let DeleteLogStreamRequest { log_group_name, log_stream_name } = &input;
                let (group, stream) = find_stream(tx, &cx, "logs:DeleteLogStream", log_group_name, log_stream_name)?;
                Place::of(&cx).remove_stream(tx, &group.id, log_stream_name, &stream)?;
                let deleted = logs.deleted.clone();
                tx.on_commit(move || deleted.insert(u128::from_be_bytes(stream.id)))?;
                Ok(Audit::record(tx, &cx, "logs:DeleteLogStream")?)
            })
            .await
    }

    pub(crate) fn describe_streams(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, Error> {
        let group_name = names::group_of(cx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
        let by_time = input.order_by == Some(OrderBy::LastEventTime);
        let prefix = input.log_stream_name_prefix.as_deref();
        if by_time && prefix.is_some() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        prefix.map_or(Ok(()), names::check_prefix)?;
        let group = find_group(tx, cx, "logs:DescribeLogStreams", &group_name)?;
        let descending = input.descending.unwrap_or(false);
        let direction = if descending { Direction::Reverse } else { Direction::Forward };
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let order = if by_time { "time" } else { "name" };
        let way = if descending { "descending" } else { "ascending" };
        let scope = ["DescribeLogStreams", &group_name, prefix.unwrap_or(""), order, way];
        let cursor = self.unseal(cx, &scope, input.next_token.as_deref())?;

        let (streams, cursor) = if by_time {
            let cursor = cursor.as_deref().map(parse_time_cursor).transpose()?;
            let beyond = cursor.as_ref().map(|(time, name)| (*time, name.as_str()));
            let found = Place::of(cx).streams_by_time(tx, &group.id, beyond, direction, limit + 1)?;
            let more = found.len() > limit;
            let page: Vec<_> = found.into_iter().take(limit).collect();
            let cursor = page.last().filter(|_| more).map(|(time, (name, _))| time_cursor(*time, name));
            (page.into_iter().map(|(_, stream)| stream).collect::<Vec<_>>(), cursor)
        } else {
            let beyond = cursor.map(String::from_utf8).transpose().map_err(|_| token_invalid())?;
            let mut page =
                Place::of(cx).streams(tx, &group.id, prefix.unwrap_or(""), beyond.as_deref(), direction, limit + 1)?;
            let more = page.len() > limit;
            page.truncate(limit);
            let cursor = page.last().filter(|_| more).map(|(name, _)| name.clone().into_bytes());
            (page, cursor)
        };
        Ok(DescribeLogStreamsResponse {
            log_streams: Some(
                streams.into_iter().map(|stream| self.described_stream(cx, &group_name, stream)).collect(),
            ),
            next_token: cursor.map(|cursor| self.seal(cx, &scope, &cursor)),
        })
    }

    fn described_stream(&self, cx: &Cx, group_name: &str, (name, stream): NamedStream) -> LogStream {
        // What the segments still hold in memory may be newer than what was taken over from them.
        let recent = self.segments.recent_activity(StreamId(u128::from_be_bytes(stream.id)));
        let first = stream.first_event.into_iter().chain(recent.map(|recent| recent.first_event)).min();
        let last = stream.last_event.max(recent.map(|recent| recent.last_event));
        let ingestion = stream.last_ingestion.max(recent.map(|recent| recent.last_ingestion));
        let millis = |time: base_types::Timestamp| time.as_millis().cast_signed();
        LogStream {
            arn: Some(names::stream_arn(cx, group_name, &name).to_string()),
            log_stream_name: Some(name),
            creation_time: Some(millis(stream.created)),
            first_event_timestamp: first.map(millis),
            last_event_timestamp: last.map(millis),
            last_ingestion_time: ingestion.map(millis),
            upload_sequence_token: last.map(|_| super::put::sequence_token(&stream.id)),
            // AWS reports 0 for every stream since 2019.
            stored_bytes: Some(0),
        }
    }
}

fn time_cursor(time: u64, name: &str) -> Vec<u8> {
    [&time.to_be_bytes(), name.as_bytes()].concat()
}

fn parse_time_cursor(cursor: &[u8]) -> Result<(u64, String), Error> {
    let (time, name) = cursor.split_first_chunk().ok_or_else(token_invalid)?;
    Ok((u64::from_be_bytes(*time), String::from_utf8(name.to_vec()).map_err(|_| token_invalid())?))
}
