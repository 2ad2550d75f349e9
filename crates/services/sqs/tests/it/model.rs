//! Random histories against a small oracle that keeps a queue as a plain list.

use std::collections::BTreeMap;

use model_sqs::Message;
use proptest::prelude::*;

use crate::support::{World, handle, system};

const VISIBILITY: u64 = 10;

#[derive(Clone, Debug)]
enum Step {
    Send { group: u8 },
    Receive { wanted: i32 },
    Delete { which: prop::sample::Index },
    Change { which: prop::sample::Index, seconds: i32 },
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3).prop_map(|group| Step::Send { group }),
        4 => (1i32..=10).prop_map(|wanted| Step::Receive { wanted }),
        3 => any::<prop::sample::Index>().prop_map(|which| Step::Delete { which }),
        2 => (any::<prop::sample::Index>(), 0i32..20).prop_map(|(which, seconds)| Step::Change { which, seconds }),
        2 => (1u64..12).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// What the oracle knows of a message.
#[derive(Clone, Debug)]
struct Known {
    body: String,
    group: u8,
    /// When it can be seen.
    visible: u64,
    receives: u32,
}

#[derive(Default)]
struct Oracle {
    now: u64,
    /// In order of arrival; deleted ones are gone.
    messages: BTreeMap<u64, Known>,
    sent: u64,
}

impl Oracle {
    fn blocked(&self, group: u8) -> bool {
        self.messages.values().any(|known| known.group == group && known.visible > self.now)
    }

    /// What a receive of a FIFO queue gets: group by group in the order of their first messages.
    fn fifo(&self, wanted: usize) -> Vec<u64> {
        let mut got = Vec::new();
        let mut seen = Vec::new();
        for known in self.messages.values() {
            if seen.contains(&known.group) || self.blocked(known.group) || got.len() == wanted {
                continue;
            }
            seen.push(known.group);
            let all = self.messages.iter().filter(|(_, other)| other.group == known.group).map(|(number, _)| *number);
            got.extend(all.take(wanted - got.len()));
        }
        got
    }
}

/// A receive that was made: the handle, the message, and which of its receives.
type Held = (String, u64, u32);

async fn play(fifo: bool, steps: Vec<Step>) {
    let world = World::new();
    let visibility = VISIBILITY.to_string();
    let mut settings = vec![("VisibilityTimeout", visibility.as_str())];
    if fifo {
        settings.push(("FifoQueue", "true"));
    }
    let url = world.create(if fifo { "q.fifo" } else { "q" }, &settings).await;
    let mut oracle = Oracle::default();
    let mut held: Vec<Held> = Vec::new();
    for step in steps {
        match step {
            Step::Send { group } => {
                oracle.sent += 1;
                let body = oracle.sent.to_string();
                if fifo {
                    world.send_to(&url, &group.to_string(), &body).await;
                } else {
                    world.send(&url, &body).await;
                }
                let known = Known { body, group, visible: oracle.now, receives: 0 };
                oracle.messages.insert(oracle.sent, known);
            }
            Step::Receive { wanted } => {
                let got = world.receive(&url, wanted).await;
                receive(&mut oracle, &mut held, fifo, wanted.unsigned_abs() as usize, &got);
            }
            Step::Delete { which } if !held.is_empty() => {
                let (text, number, receive) = held.remove(which.index(held.len()));
                let outcome = world.delete(&url, &text).await;
                let known = oracle.messages.get(&number);
                let current = known.is_some_and(|known| known.receives == receive);
                let in_time = known.is_some_and(|known| known.visible > oracle.now);
                if current && (in_time || !fifo) {
                    oracle.messages.remove(&number);
                    outcome.unwrap();
                } else {
                    assert_eq!(outcome.is_err(), fifo && known.is_some(), "{text}");
                }
            }
            Step::Change { which, seconds } if !held.is_empty() => {
                let (text, number, receive) = held[which.index(held.len())].clone();
                let outcome = world.set_visibility(&url, &text, seconds).await;
                let now = oracle.now;
                match oracle.messages.get_mut(&number).filter(|it| it.receives == receive && it.visible > now) {
                    Some(known) => {
                        known.visible = now + seconds.unsigned_abs() as u64;
                        outcome.unwrap();
                    }
                    None => assert!(outcome.is_err()),
                }
            }
            Step::Pass { seconds } => {
                world.advance(seconds);
                oracle.now += seconds;
            }
            Step::Delete { .. } | Step::Change { .. } => {}
        }
        let hidden = oracle.messages.values().filter(|known| known.visible > oracle.now).count() as u64;
        let visible = oracle.messages.len() as u64 - hidden;
        assert_eq!(world.counts(&url).await, (visible, hidden, 0));
    }
}

fn receive(oracle: &mut Oracle, held: &mut Vec<Held>, fifo: bool, wanted: usize, got: &[Message]) {
    let numbers: Vec<u64> = got.iter().map(|message| message.body.as_ref().unwrap().parse().unwrap()).collect();
    if fifo {
        assert_eq!(sorted(&numbers), sorted(&oracle.fifo(wanted)), "which messages");
        for group in 0..3 {
            let of: Vec<u64> =
                numbers.iter().copied().filter(|number| oracle.messages[number].group == group).collect();
            assert!(of.is_sorted(), "the order within a group");
        }
    } else {
        let visible = oracle.messages.values().filter(|known| known.visible <= oracle.now).count();
        assert_eq!(numbers.len(), visible.min(wanted));
    }
    for (message, number) in got.iter().zip(numbers) {
        let known = oracle.messages.get_mut(&number).unwrap();
        assert!(known.visible <= oracle.now, "{} is somebody else's", known.body);
        known.receives += 1;
        known.visible = oracle.now + VISIBILITY;
        assert_eq!(system(message, "ApproximateReceiveCount"), Some(known.receives.to_string()));
        held.push((handle(message), number, known.receives));
    }
}

fn sorted(numbers: &[u64]) -> Vec<u64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted
}

fn run(fifo: bool, steps: Vec<Step>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(fifo, steps));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_standard_queue_does_what_a_list_would(steps in prop::collection::vec(step(), 1..60)) {
        run(false, steps);
    }

    #[test]
    fn a_fifo_queue_does_what_ordered_lists_would(steps in prop::collection::vec(step(), 1..60)) {
        run(true, steps);
    }
}
