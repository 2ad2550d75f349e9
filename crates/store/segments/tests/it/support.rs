//! Shorthand for the tests.

use std::{collections::HashSet, path::Path};

use base_env::Env;
use base_types::Timestamp;
use bytes::Bytes;
use store_segments::*;

pub(crate) const GROUP: GroupId = GroupId(7);

/// Small enough that a few events make blocks, segments and merges.
pub(crate) fn small() -> Settings {
    Settings { memtable_bytes: 2 << 10, block_bytes: 256, merge_count: 3, ..Settings::default() }
}

pub(crate) fn open(directory: &Path, settings: Settings) -> Segments {
    Segments::open(directory, settings, Env::real()).unwrap().0
}

pub(crate) fn batch(group: GroupId, stream: u128, events: &[(u64, &str)]) -> Batch {
    let entry = |&(millis, text): &(u64, &str)| Entry {
        timestamp: Timestamp::from_millis(millis),
        message: Bytes::copy_from_slice(text.as_bytes()),
    };
    Batch {
        group,
        stream: StreamId(stream),
        ingestion: Timestamp::from_millis(1_000_000),
        events: events.iter().map(entry).collect(),
    }
}

pub(crate) fn everything(group: GroupId) -> Query {
    Query {
        group,
        streams: Streams::All,
        from: Position::MIN,
        until: Position::MAX,
        direction: Direction::Forward,
        must_contain: None,
    }
}

pub(crate) fn only(streams: &[u128]) -> Streams {
    Streams::Only(streams.iter().map(|&stream| StreamId(stream)).collect::<HashSet<_>>())
}

pub(crate) fn read(segments: &Segments, query: Query) -> Vec<Event> {
    let found = segments.scan(query).map(Result::unwrap);
    found.filter_map(|found| if let Found::Event(event) = found { Some(event) } else { None }).collect()
}

pub(crate) fn texts(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8(event.message.to_vec()).unwrap()).collect()
}
