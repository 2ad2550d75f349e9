//! Model-based cases: random transactions against an oracle, one at a time and concurrently.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use base_types::Fault;
use bytes::Bytes;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestCaseError, TestRunner},
};
use store_api::{Appended, Direction, Key, Position, Store, Tx};

use crate::fixture::queue_key;

/// One step of a body. Keys are 0 to 15.
#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Put(u8, u8),
    Delete(u8),
    Add(u8, i8),
    Scan { from: u8, to: u8, limit: usize, reverse: bool },
    Claim(usize),
    Fail,
}

/// What a step found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Value(Option<Bytes>),
    Entries(Vec<(u8, Bytes)>),
    Nothing,
}

type Map = BTreeMap<u8, Bytes>;

fn any_step() -> impl Strategy<Value = Step> {
    let key = 0..12u8;
    prop_oneof![
        3 => key.clone().prop_map(Step::Get),
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key.clone().prop_map(Step::Delete),
        // Counters have keys of their own: they hold nothing else.
        2 => (12..16u8, any::<i8>()).prop_map(|(key, n)| Step::Add(key, n)),
        3 => (0..16u8, 0..18u8, 0..20usize, any::<bool>())
            .prop_map(|(from, to, limit, reverse)| Step::Scan { from, to, limit, reverse }),
        1 => (0..4usize).prop_map(Step::Claim),
        1 => Just(Step::Fail),
    ]
}

fn any_body() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(any_step(), 1..12)
}

fn value(byte: u8) -> Bytes {
    Bytes::from(vec![byte; usize::from(byte)])
}

/// A step's effect on the oracle.
fn expect(map: &mut Map, step: &Step) -> Found {
    let entries = |found: Vec<(&u8, &Bytes)>| Found::Entries(found.into_iter().map(|(k, v)| (*k, v.clone())).collect());
    match *step {
        Step::Get(key) => Found::Value(map.get(&key).cloned()),
        Step::Put(key, byte) => {
            map.insert(key, value(byte));
            Found::Nothing
        }
        Step::Delete(key) => {
            map.remove(&key);
            Found::Nothing
        }
        Step::Add(key, n) => {
            let before = map.get(&key).map_or(0, |v| i64::from_be_bytes(v[..].try_into().unwrap()));
            map.insert(key, Bytes::copy_from_slice(&(before + i64::from(n)).to_be_bytes()));
            Found::Nothing
        }
        Step::Scan { from, to, limit, reverse } => {
            let mut all: Vec<_> = if from < to { map.range(from..to).collect() } else { Vec::new() };
            if reverse {
                all.reverse();
            }
            all.truncate(limit);
            entries(all)
        }
        Step::Claim(n) => entries(map.iter().take(n).collect()),
        Step::Fail => Found::Nothing,
    }
}

/// A step on the store, below `root`.
fn perform(tx: &Tx, root: &Key, step: &Step) -> Result<Found, Fault> {
    let key = |n: u8| root.clone().u64(n.into());
    let entries = |found: Vec<(Key, Bytes)>| {
        let number = |key: &Key| match key.parts().unwrap().pop() {
            Some(store_api::Part::U64(n)) => n as u8,
            part => unreachable!("{part:?} is not the last part of a model key"),
        };
        Found::Entries(found.iter().map(|(key, value)| (number(key), value.clone())).collect())
    };
    Ok(match *step {
        Step::Get(n) => Found::Value(tx.get(&key(n))?),
        Step::Put(n, byte) => {
            tx.put(&key(n), value(byte))?;
            Found::Nothing
        }
        Step::Delete(n) => {
            tx.delete(&key(n))?;
            Found::Nothing
        }
        Step::Add(n, amount) => {
            tx.add(&key(n), amount.into())?;
            Found::Nothing
        }
        Step::Scan { from, to, limit, reverse } => {
            let range = root.prefix().starting_at(&key(from)).before(&key(to));
            entries(tx.scan(&range, limit, if reverse { Direction::Reverse } else { Direction::Forward })?)
        }
        Step::Claim(n) => entries(tx.claim(&root.prefix(), n)?),
        Step::Fail => Found::Nothing,
    })
}

fn fails(body: &[Step]) -> bool {
    body.iter().any(|step| matches!(step, Step::Fail))
}

/// Tells the cases of a process apart, so that they can share a store.
static CASE: AtomicU64 = AtomicU64::new(0);

/// Runs `cases` random histories on one store and compares every read, and the state after every transaction, with
/// the oracle.
///
/// Blocks; call it outside an asynchronous runtime, with a handle of the one that the store was opened on.
pub fn histories_match_the_oracle(runtime: &tokio::runtime::Runtime, store: &Store, cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let histories = proptest::collection::vec(any_body(), 1..12);
    let result = runner.run(&histories, |bodies| {
        let root = queue_key("model").u64(CASE.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(history(store, &root, bodies))
    });
    if let Err(error) = result {
        unreachable!("the store and the oracle differ: {error}");
    }
}

async fn history(store: &Store, root: &Key, bodies: Vec<Vec<Step>>) -> Result<(), TestCaseError> {
    let mut map = Map::new();
    for body in bodies {
        let mut after = map.clone();
        let expected: Vec<Found> = body.iter().map(|step| expect(&mut after, step)).collect();
        let (steps, below) = (body.clone(), root.clone());
        let found = store
            .transact(move |tx: &Tx| {
                let found = steps.iter().map(|step| perform(tx, &below, step)).collect::<Result<Vec<_>, _>>()?;
                if fails(&steps) { Err(Outcome::Failed(found)) } else { Ok(found) }
            })
            .await;
        match found {
            Ok(found) => {
                prop_assert_eq!(found, expected);
                map = after;
            }
            Err(Outcome::Failed(found)) => prop_assert_eq!(found, expected),
            Err(Outcome::Fault(fault)) => return Err(TestCaseError::fail(format!("{fault:?}"))),
        }
        let below = root.clone();
        let whole = Step::Scan { from: 0, to: 99, limit: 99, reverse: false };
        let state = store.view(move |tx: &Tx| perform(tx, &below, &whole)).await;
        let expected = Found::Entries(map.iter().map(|(key, value)| (*key, value.clone())).collect());
        prop_assert_eq!(state.map_err(|fault| TestCaseError::fail(format!("{fault:?}")))?, expected);
    }
    Ok(())
}

#[derive(Debug)]
enum Outcome {
    Failed(Vec<Found>),
    Fault(Fault),
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What one client of a concurrent run did, with its place in the order of commits.
type Committed = (Position, Vec<Step>, Vec<Found>);

/// `clients` run random transactions at once, and as many views look on. Each transaction also appends to a stream,
/// and its position there is its place in the serial
/// order: replayed in that order, the oracle must give every read the same, and every view the state at its position.
pub async fn concurrent_transactions_are_serialisable(store: Store, clients: usize, each: usize) {
    let root = queue_key("serial").u64(CASE.fetch_add(1, Ordering::Relaxed));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let (mut writers, mut viewers) = (Vec::new(), Vec::new());
    for _ in 0..clients {
        let bodies: Vec<Vec<Step>> =
            (0..each).map(|_| any_body().new_tree(&mut runner).expect("a body").current()).collect();
        writers.push(tokio::spawn(writer(store.clone(), root.clone(), bodies)));
        viewers.push(tokio::spawn(viewer(store.clone(), root.clone(), each)));
    }
    let (mut committed, mut seen): (Vec<Committed>, Vec<(Position, Found)>) = (Vec::new(), Vec::new());
    for writer in writers {
        committed.extend(writer.await.expect("a writer"));
    }
    for viewer in viewers {
        seen.extend(viewer.await.expect("a viewer"));
    }
    committed.sort_by_key(|(position, ..)| *position);
    assert!(committed.windows(2).all(|pair| pair[0].0 < pair[1].0), "two commits at one position");
    seen.sort_by_key(|(position, _)| *position);
    let (mut map, mut seen) = (Map::new(), seen.into_iter().peekable());
    for (position, steps, found) in committed {
        while let Some((_, state)) = seen.next_if(|(stable, _)| *stable < position) {
            assert_eq!(state, whole(&map), "a view is a state between two commits");
        }
        let expected: Vec<Found> = steps.iter().map(|step| expect(&mut map, step)).collect();
        assert_eq!(found, expected, "at {position:?}: {steps:?}");
    }
    for (_, state) in seen {
        assert_eq!(state, whole(&map));
    }
}

fn whole(map: &Map) -> Found {
    Found::Entries(map.iter().map(|(key, value)| (*key, value.clone())).collect())
}

async fn writer(store: Store, root: Key, bodies: Vec<Vec<Step>>) -> Vec<Committed> {
    let mut committed = Vec::new();
    for steps in bodies {
        let (body, below) = (steps.clone(), root.clone());
        let done: Result<(Vec<Found>, Appended), Outcome> = store
            .transact(move |tx: &Tx| {
                let found = body.iter().map(|step| perform(tx, &below, step)).collect::<Result<Vec<_>, Fault>>()?;
                let place = tx.append(&queue_key("order"), "")?;
                if fails(&body) { Err(Outcome::Failed(found)) } else { Ok((found, place)) }
            })
            .await;
        match done {
            Ok((found, place)) => committed.push((place.position().expect("committed"), steps, found)),
            Err(Outcome::Failed(_)) => {}
            Err(Outcome::Fault(fault)) => unreachable!("the store failed: {fault:?}"),
        }
    }
    committed
}

async fn viewer(store: Store, root: Key, each: usize) -> Vec<(Position, Found)> {
    let mut seen = Vec::new();
    for _ in 0..each {
        let below = root.clone();
        let step = Step::Scan { from: 0, to: 99, limit: 99, reverse: false };
        let look = move |tx: &Tx| Ok::<_, Fault>((tx.stable_position(), perform(tx, &below, &step)?));
        seen.push(store.view(look).await.expect("a view"));
        tokio::task::yield_now().await;
    }
    seen
}
