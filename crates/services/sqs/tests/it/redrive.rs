//! Random histories against the oracle of a list: delays, changes of visibility, dead letters and their way back, purges.
//!
//! No more messages live at a time than one receive takes, so that every receive looks at all of them: which messages go to
//! the dead letters then follows from the list alone.

use std::collections::BTreeMap;

use model_sqs::{PurgeQueueRequest, Request, SendMessageRequest, StartMessageMoveTaskRequest};
use proptest::prelude::*;

use crate::support::{World, arn, handle, message, system};

const VISIBILITY: u64 = 10;
const RECEIVES_MAX: u32 = 2;
const LIVING_MAX: usize = 8;
const REST: u64 = 60;

#[derive(Clone, Debug)]
enum Step {
    Send {
        group: u8,
        delay: u64,
    },
    Receive,
    Delete {
        which: prop::sample::Index,
    },
    Change {
        which: prop::sample::Index,
        seconds: u64,
    },
    Pass {
        seconds: u64,
    },
    /// Everything in the dead-letter queue goes back.
    Redrive,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![3 => Just(0u64), 1 => 1u64..15];
    prop_oneof![
        5 => (0u8..3, delay).prop_map(|(group, delay)| Step::Send { group, delay }),
        5 => Just(Step::Receive),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Delete { which }),
        2 => (any::<prop::sample::Index>(), 0u64..20).prop_map(|(which, seconds)| Step::Change { which, seconds }),
        4 => (1u64..14).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Redrive),
        1 => Just(Step::Purge),
    ]
}

#[derive(Clone, Debug)]
struct Known {
    body: String,
    group: u8,
    visible: u64,
    receives: u32,
    delayed: bool,
}

#[derive(Default)]
struct Oracle {
    fifo: bool,
    now: u64,
    count: u64,
    messages: BTreeMap<u64, Known>,
    /// In the order in which they died.
    dead: Vec<Known>,
    purged: Option<u64>,
}

/// A receive that was made: the handle, the message, and which of its receives.
type Held = (String, u64, u32);

impl Oracle {
    fn arrive(&mut self, known: Known) {
        self.count += 1;
        self.messages.insert(self.count, known);
    }

    fn blocked(&self, group: u8) -> bool {
        self.fifo && self.messages.values().any(|known| known.group == group && known.visible > self.now)
    }

    /// What a receive of everything gets; what has been received often enough dies.
    fn receive(&mut self) -> Vec<u64> {
        let open = |(number, known): (&u64, &Known)| {
            (known.visible <= self.now && !self.blocked(known.group)).then_some(*number)
        };
        let open: Vec<u64> = self.messages.iter().filter_map(open).collect();
        let (dying, got): (Vec<u64>, Vec<u64>) =
            open.into_iter().partition(|number| self.messages[number].receives >= RECEIVES_MAX);
        for number in dying {
            let known = self.messages.remove(&number).unwrap();
            self.dead.push(known);
        }
        for number in &got {
            let known = self.messages.get_mut(number).unwrap();
            known.receives += 1;
            known.visible = self.now + VISIBILITY;
            known.delayed = false;
        }
        got
    }

    /// Visible, in flight, delayed.
    fn counts(&self) -> (u64, u64, u64) {
        let hidden = |delayed| move |known: &&Known| known.visible > self.now && known.delayed == delayed;
        let (flying, delayed) =
            (self.messages.values().filter(hidden(false)).count(), self.messages.values().filter(hidden(true)).count());
        ((self.messages.len() - flying - delayed) as u64, flying as u64, delayed as u64)
    }
}

async fn queues(world: &World, fifo: bool) -> (String, String) {
    let suffix = if fifo { ".fifo" } else { "" };
    let kind: &[(&str, &str)] = if fifo { &[("FifoQueue", "true")] } else { &[] };
    let dead = world.create(&format!("dead{suffix}"), kind).await;
    let redrive =
        format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{RECEIVES_MAX}}}"#, arn(&format!("dead{suffix}")));
    let visibility = VISIBILITY.to_string();
    let settings = [kind, &[("VisibilityTimeout", visibility.as_str()), ("RedrivePolicy", &redrive)]].concat();
    (world.create(&format!("q{suffix}"), &settings).await, dead)
}

async fn play(fifo: bool, steps: Vec<Step>) {
    let world = World::new();
    let (url, dead) = queues(&world, fifo).await;
    let mut oracle = Oracle { fifo, ..Oracle::default() };
    let mut held: Vec<Held> = Vec::new();
    for step in steps {
        match step {
            Step::Send { group, delay } if oracle.messages.len() + oracle.dead.len() < LIVING_MAX => {
                let delay = if fifo { 0 } else { delay };
                let body = format!("{group}-{}", oracle.count);
                let request = SendMessageRequest {
                    delay_seconds: (!fifo).then(|| i32::try_from(delay).unwrap()),
                    message_group_id: fifo.then(|| group.to_string()),
                    message_deduplication_id: fifo.then(|| format!("{body}-{}", oracle.now)),
                    ..message(&url, &body)
                };
                world.send_message(request).await.unwrap();
                let visible = oracle.now + delay;
                oracle.arrive(Known { body, group, visible, receives: 0, delayed: delay > 0 });
            }
            Step::Receive => {
                let got = world.receive(&url, 10).await;
                let expected = oracle.receive();
                let bodies = |numbers: &[u64]| -> Vec<String> {
                    numbers.iter().map(|number| oracle.messages[number].body.clone()).collect()
                };
                let (mut ours, mut theirs) = (crate::support::bodies(&got), bodies(&expected));
                for group in 0..3 {
                    let of = |all: &[String]| -> Vec<String> {
                        all.iter().filter(|body| body.starts_with(&format!("{group}-"))).cloned().collect()
                    };
                    assert!(!fifo || of(&ours) == of(&theirs), "the order within group {group}: {ours:?} {theirs:?}");
                }
                ours.sort();
                theirs.sort();
                assert_eq!(ours, theirs);
                for number in expected {
                    let known = &oracle.messages[&number];
                    let one = got.iter().find(|one| one.body.as_deref() == Some(&known.body)).unwrap();
                    assert_eq!(system(one, "ApproximateReceiveCount"), Some(known.receives.to_string()));
                    held.push((handle(one), number, known.receives));
                }
            }
            Step::Delete { which } if !held.is_empty() => {
                let (text, number, receive) = held.remove(which.index(held.len()));
                let outcome = world.delete(&url, &text).await;
                let known = oracle.messages.get(&number);
                let in_time = known.is_some_and(|known| known.visible > oracle.now);
                if known.is_some_and(|known| known.receives == receive) && (in_time || !fifo) {
                    oracle.messages.remove(&number);
                    outcome.unwrap();
                } else {
                    assert_eq!(outcome.is_err(), fifo && known.is_some(), "{text}");
                }
            }
            Step::Change { which, seconds } if !held.is_empty() => {
                let (text, number, receive) = held[which.index(held.len())].clone();
                let outcome = world.set_visibility(&url, &text, i32::try_from(seconds).unwrap()).await;
                let now = oracle.now;
                match oracle.messages.get_mut(&number).filter(|it| it.receives == receive && it.visible > now) {
                    Some(known) => {
                        known.visible = now + seconds;
                        outcome.unwrap();
                    }
                    None => assert!(outcome.is_err()),
                }
            }
            Step::Pass { seconds } => {
                world.advance(seconds);
                oracle.now += seconds;
                world.reconcile().await;
            }
            Step::Redrive => {
                let source_arn = arn(if fifo { "dead.fifo" } else { "dead" });
                world.start_move(StartMessageMoveTaskRequest { source_arn, ..Default::default() }).await.unwrap();
                world.reconcile().await;
                for known in std::mem::take(&mut oracle.dead) {
                    oracle.arrive(Known { visible: oracle.now, receives: 0, ..known });
                }
            }
            Step::Purge => {
                let outcome =
                    world.call(Request::PurgeQueue(Box::new(PurgeQueueRequest { queue_url: url.clone() }))).await;
                if oracle.purged.is_some_and(|at| oracle.now < at + REST) {
                    assert_eq!(outcome.unwrap_err().0, "AWS.SimpleQueueService.PurgeQueueInProgress");
                } else {
                    outcome.unwrap();
                    oracle.purged = Some(oracle.now);
                    oracle.messages.clear();
                    world.reconcile().await;
                }
            }
            Step::Send { .. } | Step::Delete { .. } | Step::Change { .. } => {}
        }
        assert_eq!(world.counts(&url).await, oracle.counts());
        assert_eq!(world.counts(&dead).await, (oracle.dead.len() as u64, 0, 0), "the dead letters");
    }
}

fn run(fifo: bool, steps: Vec<Step>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(fifo, steps));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_standard_queue_hides_buries_and_forgets_as_a_list_would_property(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        run(false, steps);
    }

    #[test]
    fn a_fifo_queue_buries_in_order_as_lists_would_property(steps in prop::collection::vec(step(), 1..80)) {
        run(true, steps);
    }
}
