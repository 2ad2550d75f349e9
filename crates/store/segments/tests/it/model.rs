//! Random histories against the plainest model there is: a sorted list.

use std::collections::BTreeMap;

use base_types::Timestamp;
use proptest::prelude::*;
use store_segments::*;

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    Append { group: u128, stream: u128, events: Vec<(u64, u16)>, synced: bool },
    Reopen,
    KillStream { group: u128, stream: u128 },
    KillGroup(u128),
    Expire { group: u128, before: u64 },
    Read { group: u128, streams: Option<Vec<u128>>, from: (u64, u64), until: (u64, u64), backward: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let events = prop::collection::vec((0..50_u64, 0..300_u16), 1..12);
    prop_oneof![
        12 => (0..3_u128, 0..4_u128, events, any::<bool>())
            .prop_map(|(group, stream, events, synced)| Step::Append { group, stream, events, synced }),
        1 => Just(Step::Reopen),
        1 => (0..3_u128, 0..4_u128).prop_map(|(group, stream)| Step::KillStream { group, stream }),
        1 => (0..3_u128).prop_map(Step::KillGroup),
        1 => (0..3_u128, 0..50_u64).prop_map(|(group, before)| Step::Expire { group, before }),
        6 => (0..3_u128, prop::option::of(prop::collection::vec(0..4_u128, 0..3)), (0..50_u64, 0..80_u64), (0..60_u64, 0..80_u64), any::<bool>())
            .prop_map(|(group, streams, from, until, backward)| Step::Read { group, streams, from, until, backward }),
    ]
}

type Model = BTreeMap<(u128, Position), (u128, String)>;

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path(), small());
    let mut model = Model::new();
    let mut cutoffs: BTreeMap<u128, u64> = BTreeMap::new();
    let mut count = 0;
    for step in steps {
        match step {
            Step::Append { group, stream, events, synced } => {
                // A unique text tells events apart, so their positions can be learnt by reading.
                let named: Vec<_> = events
                    .iter()
                    .map(|&(at, length)| {
                        count += 1;
                        (at, format!("{count} {}", "z".repeat(length.into())))
                    })
                    .collect();
                let named: Vec<(u64, &str)> = named.iter().map(|(at, text)| (*at, text.as_str())).collect();
                let durability = if synced { Durability::Synced } else { Durability::Buffered };
                let id = group * 10 + stream;
                segments.append(batch(GroupId(group), id, &named), durability).await.unwrap();
                let query = Query { streams: only(&[id]), ..everything(GroupId(group)) };
                let visible = read(&segments, query);
                for (at, text) in named {
                    let event = visible.iter().find(|event| event.message == text.as_bytes()).expect("visible at once");
                    assert_eq!(event.position.timestamp, at);
                    model.insert((group, event.position), (id, text.to_owned()));
                }
            }
            Step::Reopen => {
                drop(segments);
                segments = open(folder.path(), small());
            }
            Step::KillStream { group, stream } => {
                let id = group * 10 + stream;
                let streams = [(StreamId(id), GroupId(group))].into();
                segments.reclaim(Reclaim { streams, ..Reclaim::default() }).await.unwrap();
                model.retain(|_, (owner, _)| *owner != id);
            }
            Step::KillGroup(group) => {
                segments.reclaim(Reclaim { groups: [GroupId(group)].into(), ..Reclaim::default() }).await.unwrap();
                model.retain(|&(owner, _), _| owner != group);
            }
            Step::Expire { group, before } => {
                let cutoff = cutoffs.entry(group).or_default();
                *cutoff = (*cutoff).max(before);
                let limits = [(GroupId(group), Timestamp::from_millis(*cutoff))].into();
                segments.reclaim(Reclaim { cutoffs: limits, ..Reclaim::default() }).await.unwrap();
            }
            Step::Read { group, streams, from, until, backward } => {
                // Readers start at the cut-off, as they are told to.
                let floor = cutoffs.get(&group).copied().unwrap_or(0);
                let from =
                    Position { timestamp: from.0, sequence: from.1 }.max(Position { timestamp: floor, sequence: 0 });
                let until = Position { timestamp: until.0, sequence: until.1 };
                let ids: Option<Vec<u128>> = streams.map(|s| s.iter().map(|stream| group * 10 + stream).collect());
                let query = Query {
                    group: GroupId(group),
                    streams: ids.as_deref().map_or(Streams::All, only),
                    from,
                    until,
                    direction: if backward { Direction::Backward } else { Direction::Forward },
                    must_contain: None,
                };
                let mut expected: Vec<_> = model
                    .iter()
                    .filter(|((owner, at), (stream, _))| {
                        *owner == group
                            && *at >= from
                            && *at < until
                            && ids.as_ref().is_none_or(|ids| ids.contains(stream))
                    })
                    .map(|((_, at), (stream, text))| (*at, *stream, text.clone()))
                    .collect();
                if backward {
                    expected.reverse();
                }
                let events = read(&segments, query);
                let actual: Vec<_> = events
                    .iter()
                    .map(|event| (event.position, event.stream.0, String::from_utf8(event.message.to_vec()).unwrap()))
                    .collect();
                assert_eq!(actual, expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
