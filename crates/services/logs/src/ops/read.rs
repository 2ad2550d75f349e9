//! GetLogEvents and FilterLogEvents: pages over the segments.
//!
//! A page ends with its limit, with a mebibyte of messages, or when its time is up: then it may be short or empty, and its
//! token goes on where it stopped. Reading blocks, so it runs where that is allowed.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use base_env::Env;
use base_types::{Fault, FaultKind, Timestamp};
use lang_logpattern::Pattern;
use model_logs::{
    Error, FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent, GetLogEventsRequest,
    GetLogEventsResponse, OutputLogEvent,
};
use services_kernel::Cx;
use store_api::{Direction as Order, Tx};
use store_segments::{Direction, Event, Found, GroupId, Position, Query, Scan, SegmentsError, StreamId, Streams};

use crate::{
    CloudWatchLogs,
    batch::{AGE_MAX, time_of},
    error::{self, invalid, stream_missing, token_invalid},
    names,
    ops::{find_group, find_stream, put::expiry},
    tables::{self, Group, Id, Place},
    tokens::{self, Way, event_id},
};

const PAGE_EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1 << 20;
/// How long one call looks for events.
const PAGE_TIME: Duration = Duration::from_millis(1500);
/// The clock is read once for this many events; a page that is full looks this much further for whether there is more.
const EVENTS_PER_CLOCK: usize = 1024;
/// Up to this many streams with a prefix are looked for by identity; beyond, all events are and their names are compared.
const PREFIX_STREAMS_MAX: usize = 1000;

/// What one call found.
struct Page {
    events: Vec<Event>,
    /// Where to go on, if there may be more.
    stopped: Option<Position>,
}

/// Reads until the page is full, its time is up, or there is nothing more.
fn fill(scan: Scan, direction: Direction, pattern: &Pattern, limit: usize, env: &Env) -> Result<Page, SegmentsError> {
    let (started, mut page, mut bytes, mut looked) =
        (env.monotonic(), Page { events: Vec::new(), stopped: None }, 0, 0);
    for found in scan {
        looked += 1;
        let full = page.events.len() >= limit;
        let out_of_time = |every| looked % every == 0 && (full || env.monotonic().since(started) > PAGE_TIME);
        let (place, stop) = match found? {
            Found::Passed(place) => (place, out_of_time(1)),
            Found::Event(event) => {
                let place = match direction {
                    Direction::Forward => event.position,
                    Direction::Backward => event.position.next(),
                };
                let matches = pattern.matches_everything() || pattern.matches(&String::from_utf8_lossy(&event.message));
                let heavy = !page.events.is_empty() && bytes + event.message.len() > PAGE_BYTES_MAX;
                let stop = (matches && (full || heavy)) || out_of_time(EVENTS_PER_CLOCK);
                if matches && !stop {
                    bytes += event.message.len();
                    page.events.push(event);
                }
                (place, stop)
            }
        };
        if stop {
            page.stopped = Some(place);
            break;
        }
    }
    Ok(page)
}

/// The span of time a request asks for, within what can be there: `from` included, `until` not.
fn span(
    group: &Group,
    created: Timestamp,
    now: Timestamp,
    start: Option<i64>,
    until: Option<Timestamp>,
) -> (Position, Position) {
    let from = time_of(start.unwrap_or(0)).max(created - AGE_MAX).max(expiry(group, now).unwrap_or(Timestamp::EPOCH));
    (Position::at(from), until.map_or(Position::MAX, Position::at))
}

fn limit_of(limit: Option<i32>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_EVENTS_MAX).clamp(1, PAGE_EVENTS_MAX)
}

fn group_id(group: &Group) -> GroupId {
    GroupId(u128::from_be_bytes(group.id))
}

fn stream_id(id: &Id) -> StreamId {
    StreamId(u128::from_be_bytes(*id))
}

fn text(event: &Event) -> String {
    String::from_utf8_lossy(&event.message).into_owned()
}

impl CloudWatchLogs {
    async fn page(&self, query: Query, pattern: Pattern, limit: usize) -> Result<Page, Error> {
        let (segments, env, direction) = (self.segments.clone(), self.env.clone(), query.direction);
        let read = move || fill(segments.scan(query), direction, &pattern, limit, &env);
        let page = tokio::task::spawn_blocking(read).await;
        let page = page.map_err(|error| Fault::new(FaultKind::Unavailable, "read log events").caused_by(error))?;
        page.map_err(error::segments)
    }

    pub(crate) async fn get_events(&self, cx: &Cx, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, Error> {
        let group_name = names::group_of(cx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
        let token = input.next_token.as_deref();
        let token = token.map(|token| tokens::parse_stream_token(token).ok_or_else(token_invalid)).transpose()?;
        let (context, stream_name) = (cx.clone(), input.log_stream_name);
        let find = move |tx: &Tx| find_stream(tx, &context, "logs:GetLogEvents", &group_name, &stream_name);
        let (group, stream) = self.store.view(find).await?;
        let (from, until) = span(&group, stream.created, self.env.now(), input.start_time, input.end_time.map(time_of));

        let head = input.start_from_head.unwrap_or(false);
        let direction = match token {
            Some((Way::Forward, _)) => Direction::Forward,
            Some((Way::Backward, _)) => Direction::Backward,
            None if head => Direction::Forward,
            None => Direction::Backward,
        };
        let start = token.map(|(_, place)| place);
        let (from, until) = match direction {
            Direction::Forward => (start.map_or(from, |place| place.max(from)), until),
            Direction::Backward => (from, start.map_or(until, |place| place.min(until))),
        };
        let query = Query {
            group: group_id(&group),
            streams: Streams::Only(HashSet::from([stream_id(&stream.id)])),
            from,
            until,
            direction,
            must_contain: None,
        };
        let Page { mut events, stopped } = self.page(query, Pattern::everything(), limit_of(input.limit)).await?;
        if direction == Direction::Backward {
            events.reverse();
        }
        // With nothing found and nothing left to look at, both tokens stay where the request began.
        let begun = start.unwrap_or(from);
        let (first, behind) = match (events.first(), events.last()) {
            (Some(first), Some(last)) => (first.position, last.position.next()),
            _ => (begun, begun),
        };
        let (backward, forward) = match direction {
            Direction::Forward => (first, stopped.unwrap_or(behind)),
            Direction::Backward => (stopped.unwrap_or(first), behind),
        };
        let output = |event: Event| OutputLogEvent {
            timestamp: Some(event.position.timestamp.cast_signed()),
            message: Some(text(&event)),
            ingestion_time: Some(event.ingestion.as_millis().cast_signed()),
        };
        Ok(GetLogEventsResponse {
            events: Some(events.into_iter().map(output).collect()),
            next_forward_token: Some(tokens::stream_token(Way::Forward, forward)),
            next_backward_token: Some(tokens::stream_token(Way::Backward, backward)),
        })
    }

    pub(crate) async fn filter_events(
        &self,
        cx: &Cx,
        input: FilterLogEventsRequest,
    ) -> Result<FilterLogEventsResponse, Error> {
        let group_name = names::group_of(cx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
        let stream_names = input.log_stream_names.filter(|names| !names.is_empty());
        let prefix = input.log_stream_name_prefix.filter(|prefix| !prefix.is_empty());
        if stream_names.is_some() && prefix.is_some() {
            return Err(invalid("LogStreamNames and LogStreamNamePrefix are mutually exclusive parameters."));
        }
        let pattern_text = input.filter_pattern.unwrap_or_default();
        let pattern = Pattern::compile(&pattern_text).map_err(|error| invalid(error.to_string()))?;
        let times = format!("{:?} {:?}", input.start_time, input.end_time);
        let joined = stream_names.as_deref().unwrap_or_default().join("\0");
        let scope = ["FilterLogEvents", &group_name, &joined, prefix.as_deref().unwrap_or(""), &pattern_text, &times];
        let cursor = self.unseal(cx, &scope, input.next_token.as_deref())?;
        let cursor = cursor.map(|bytes| tokens::parse_place(&bytes).ok_or_else(token_invalid)).transpose()?;

        let (context, name, wanted) = (cx.clone(), group_name.clone(), prefix.clone());
        let find = move |tx: &Tx| find_streams(tx, &context, &name, stream_names.as_deref(), wanted.as_deref());
        let (group, streams) = self.store.view(find).await?;
        // The end is included here, unlike in GetLogEvents.
        let until = input.end_time.map(|end| time_of(end.saturating_add(1)));
        let (from, until) = span(&group, group.created, self.env.now(), input.start_time, until);
        let must_contain = pattern.required_text().map(<[u8]>::to_vec);
        let from = cursor.map_or(from, |cursor| cursor.max(from));
        let query =
            Query { group: group_id(&group), streams, from, until, direction: Direction::Forward, must_contain };
        let Page { events, stopped } = self.page(query, pattern, limit_of(input.limit)).await?;
        let names = self.names_of(&events).await?;
        let output = |event: Event| {
            // A stream that was deleted has no name any more, and its events are gone with it.
            let name = names.get(&event.stream)?;
            prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix)).then(|| FilteredLogEvent {
                log_stream_name: Some(name.clone()),
                timestamp: Some(event.position.timestamp.cast_signed()),
                message: Some(text(&event)),
                ingestion_time: Some(event.ingestion.as_millis().cast_signed()),
                event_id: Some(event_id(event.position)),
            })
        };
        Ok(FilterLogEventsResponse {
            events: Some(events.into_iter().filter_map(output).collect()),
            // AWS answers an empty list since 2019.
            searched_log_streams: Some(Vec::new()),
            next_token: stopped.map(|place| self.seal(cx, &scope, &tokens::place_bytes(place))),
        })
    }

    /// The names of the streams of these events.
    async fn names_of(&self, events: &[Event]) -> Result<HashMap<StreamId, String>, Error> {
        let streams: HashSet<StreamId> = events.iter().map(|event| event.stream).collect();
        if streams.is_empty() {
            return Ok(HashMap::new());
        }
        let look = move |tx: &Tx| -> Result<_, Error> {
            let mut names = HashMap::new();
            for &stream in &streams {
                if let Some(owner) = tables::owner(tx, &stream.0.to_be_bytes())? {
                    names.insert(stream, owner.name);
                }
            }
            Ok(names)
        };
        self.store.view(look).await
    }
}

/// The group and those of its streams that are to be searched.
fn find_streams(
    tx: &Tx,
    cx: &Cx,
    group_name: &str,
    wanted: Option<&[String]>,
    prefix: Option<&str>,
) -> Result<(Group, Streams), Error> {
    prefix.map_or(Ok(()), names::check_prefix)?;
    let group = find_group(tx, cx, "logs:FilterLogEvents", group_name)?;
    let streams = match (wanted, prefix) {
        (Some(wanted), _) => {
            let mut ids = HashSet::new();
            for name in wanted {
                names::check_stream(name)?;
                let stream = Place::of(cx).stream(tx, &group.id, name)?.ok_or_else(stream_missing)?;
                ids.insert(stream_id(&stream.id));
            }
            Streams::Only(ids)
        }
        (None, Some(prefix)) => {
            let found = Place::of(cx).streams(tx, &group.id, prefix, None, Order::Forward, PREFIX_STREAMS_MAX + 1)?;
            if found.len() > PREFIX_STREAMS_MAX {
                Streams::All
            } else {
                Streams::Only(found.iter().map(|(_, stream)| stream_id(&stream.id)).collect())
            }
        }
        (None, None) => Streams::All,
    };
    Ok((group, streams))
}
