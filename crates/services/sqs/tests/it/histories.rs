//! Longer random histories against the oracle of a list: what is sent twice, what grows too old, what is moved elsewhere.

use std::collections::BTreeMap;

use model_sqs::{Message, SendMessageRequest, StartMessageMoveTaskRequest};
use proptest::prelude::*;

use crate::support::{World, arn, bodies, handle, message, system};

const VISIBILITY: u64 = 10;
const RETENTION: u64 = 120;
const REMEMBERED: u64 = 300;
const GROUPS: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Send { group: u8, id: u8 },
    Receive { wanted: i32 },
    Delete { which: prop::sample::Index },
    Pass { seconds: u64 },
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..GROUPS, 0u8..6).prop_map(|(group, id)| Step::Send { group, id }),
        4 => (1i32..=10).prop_map(|wanted| Step::Receive { wanted }),
        3 => any::<prop::sample::Index>().prop_map(|which| Step::Delete { which }),
        3 => (1u64..60).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Move),
    ]
}

/// What kind of queue a history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Standard,
    /// Deduplication over the whole queue.
    Fifo,
    /// High throughput: deduplication within a group.
    Fast,
}

#[derive(Clone, Debug)]
struct Known {
    body: String,
    group: u8,
    sent: u64,
    visible: u64,
    receives: u32,
}

struct Oracle {
    kind: Kind,
    now: u64,
    messages: BTreeMap<u64, Known>,
    count: u64,
    /// Which message was sent last with a deduplication id, and when it is forgotten.
    remembered: BTreeMap<(u8, u8), (u64, u64)>,
    moved: Vec<(u8, String)>,
}

impl Oracle {
    fn is_fifo(&self) -> bool {
        self.kind != Kind::Standard
    }

    /// The number of the message that a send is answered with.
    fn send(&mut self, group: u8, id: u8) -> u64 {
        let key = (if self.kind == Kind::Fast { group } else { 0 }, id);
        let earlier = self.remembered.get(&key).filter(|(_, until)| self.is_fifo() && *until > self.now);
        if let Some((number, _)) = earlier {
            return *number;
        }
        self.count += 1;
        let body = format!("{group}-{}", self.count);
        let known = Known { body, group, sent: self.now, visible: self.now, receives: 0 };
        self.messages.insert(self.count, known);
        self.remembered.insert(key, (self.count, self.now + REMEMBERED));
        self.count
    }

    fn blocked(&self, group: u8) -> bool {
        self.is_fifo() && self.messages.values().any(|known| known.group == group && known.visible > self.now)
    }

    /// Numbers that can be received, group by group in the order of their first messages, or all in order.
    fn visible(&self) -> Vec<u64> {
        let open = |known: &Known| known.visible <= self.now && !self.blocked(known.group);
        let all: Vec<(u64, &Known)> = self.messages.iter().map(|(n, k)| (*n, k)).filter(|(_, k)| open(k)).collect();
        if !self.is_fifo() {
            return all.into_iter().map(|(number, _)| number).collect();
        }
        let mut groups: Vec<u8> = Vec::new();
        all.iter().for_each(|(_, known)| {
            if !groups.contains(&known.group) {
                groups.push(known.group);
            }
        });
        let of = |group| all.iter().filter(move |(_, known)| known.group == group).map(|(number, _)| *number);
        groups.into_iter().flat_map(of).collect()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.now;
        self.messages.retain(|_, known| known.sent + RETENTION > now);
    }

    fn take(&mut self, wanted: usize, got: &[Message]) -> Vec<(String, u64, u32)> {
        let expected = self.visible();
        let numbers: Vec<u64> = got.iter().map(|it| number_of(it.body.as_deref().unwrap())).collect();
        if self.is_fifo() {
            assert_eq!(numbers, expected[..wanted.min(expected.len())]);
        } else {
            assert_eq!(numbers.len(), wanted.min(expected.len()));
            assert!(numbers.iter().all(|number| expected.contains(number)), "{numbers:?} of {expected:?}");
        }
        let held = got.iter().zip(numbers).map(|(message, number)| {
            let known = self.messages.get_mut(&number).unwrap();
            known.receives += 1;
            known.visible = self.now + VISIBILITY;
            assert_eq!(system(message, "ApproximateReceiveCount"), Some(known.receives.to_string()));
            (handle(message), number, known.receives)
        });
        held.collect()
    }
}

fn number_of(body: &str) -> u64 {
    body.split_once('-').unwrap().1.parse().unwrap()
}

async fn queues(world: &World, kind: Kind) -> (String, String) {
    let suffix = if kind == Kind::Standard { "" } else { ".fifo" };
    let (visibility, retention) = (VISIBILITY.to_string(), RETENTION.to_string());
    let mut settings = vec![("VisibilityTimeout", visibility.as_str()), ("MessageRetentionPeriod", &retention)];
    let mut plain = Vec::new();
    if kind != Kind::Standard {
        settings.push(("FifoQueue", "true"));
        plain.push(("FifoQueue", "true"));
    }
    if kind == Kind::Fast {
        settings.extend([("DeduplicationScope", "messageGroup"), ("FifoThroughputLimit", "perMessageGroupId")]);
    }
    let url = world.create(&format!("q{suffix}"), &settings).await;
    let to = world.create(&format!("to{suffix}"), &plain).await;
    // Messages are moved from dead-letter queues only.
    let redrive = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":9}}"#, arn(&format!("q{suffix}")));
    plain.push(("RedrivePolicy", &redrive));
    world.create(&format!("source{suffix}"), &plain).await;
    (url, to)
}

async fn play(kind: Kind, steps: Vec<Step>) {
    let world = World::new();
    let (url, to) = queues(&world, kind).await;
    let suffix = if kind == Kind::Standard { "" } else { ".fifo" };
    let mut oracle =
        Oracle { kind, now: 0, messages: BTreeMap::new(), count: 0, remembered: BTreeMap::new(), moved: Vec::new() };
    let mut held: Vec<(String, u64, u32)> = Vec::new();
    let mut ids: BTreeMap<u64, String> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Send { group, id } => {
                let number = oracle.send(group, id);
                let request = SendMessageRequest {
                    message_group_id: oracle.is_fifo().then(|| group.to_string()),
                    message_deduplication_id: oracle.is_fifo().then(|| id.to_string()),
                    ..message(&url, &format!("{group}-{number}"))
                };
                let sent = world.send_message(request).await.unwrap().message_id.unwrap();
                assert_eq!(ids.entry(number).or_insert_with(|| sent.clone()), &sent, "{kind:?}: a message's identity");
            }
            Step::Receive { wanted } => {
                let got = world.receive(&url, wanted).await;
                held.extend(oracle.take(wanted.unsigned_abs() as usize, &got));
            }
            Step::Delete { which } if !held.is_empty() => {
                let (text, number, receive) = held.remove(which.index(held.len()));
                let outcome = world.delete(&url, &text).await;
                let known = oracle.messages.get(&number);
                let in_time = known.is_some_and(|known| known.visible > oracle.now);
                if known.is_some_and(|known| known.receives == receive) && (in_time || !oracle.is_fifo()) {
                    oracle.messages.remove(&number);
                    outcome.unwrap();
                } else {
                    assert_eq!(outcome.is_err(), oracle.is_fifo() && known.is_some(), "{text}");
                }
            }
            Step::Pass { seconds } => {
                world.advance(seconds);
                oracle.pass(seconds);
                world.reconcile().await;
            }
            Step::Move => {
                let request = StartMessageMoveTaskRequest {
                    source_arn: arn(&format!("q{suffix}")),
                    destination_arn: Some(arn(&format!("to{suffix}"))),
                    ..Default::default()
                };
                world.start_move(request).await.unwrap();
                world.reconcile().await;
                for number in oracle.visible() {
                    let known = oracle.messages.remove(&number).unwrap();
                    oracle.moved.push((known.group, known.body));
                }
            }
            Step::Delete { .. } => {}
        }
        let hidden = oracle.messages.values().filter(|known| known.visible > oracle.now).count() as u64;
        let visible = oracle.messages.len() as u64 - hidden;
        assert_eq!(world.counts(&url).await, (visible, hidden, 0), "{kind:?}");
        assert_eq!(world.counts(&to).await.0, oracle.moved.len() as u64, "{kind:?}: what was moved");
    }
    arrived(&world, &to, &oracle).await;
}

/// What was moved arrived: each once, and each group in its order.
async fn arrived(world: &World, to: &str, oracle: &Oracle) {
    let mut got = Vec::new();
    loop {
        let some = world.receive(to, 10).await;
        if some.is_empty() {
            break;
        }
        for message in &some {
            world.delete(to, &handle(message)).await.unwrap();
        }
        got.extend(bodies(&some));
    }
    for group in 0..GROUPS {
        let prefix = format!("{group}-");
        let of = |all: &[String]| all.iter().filter(|body| body.starts_with(&prefix)).cloned().collect::<Vec<_>>();
        let moved: Vec<String> = oracle.moved.iter().map(|(_, body)| body.clone()).collect();
        let (mut got, mut moved) = (of(&got), of(&moved));
        if !oracle.is_fifo() {
            got.sort();
            moved.sort();
        }
        assert_eq!(got, moved);
    }
}

fn run(kind: Kind, steps: Vec<Step>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(kind, steps));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_standard_queue_forgets_and_hands_on_property(steps in prop::collection::vec(step(), 1..80)) {
        run(Kind::Standard, steps);
    }

    #[test]
    fn a_fifo_queue_sends_the_same_once_property(steps in prop::collection::vec(step(), 1..80)) {
        run(Kind::Fifo, steps);
    }

    #[test]
    fn a_fast_fifo_queue_sends_the_same_once_a_group_property(steps in prop::collection::vec(step(), 1..80)) {
        run(Kind::Fast, steps);
    }
}
