//! Concurrent transactions, by several means, leave a history that some serial order explains ([`history`]).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model_dynamodb::*;

use crate::{
    history::{Transaction, check},
    support::{World, definition, item, keys, n, s},
};

const LISTS: u64 = 6;
const CLIENTS: u64 = 6;
const EACH: u64 = 60;

fn list(elements: &[u64]) -> AttributeValue {
    AttributeValue { l: Some(elements.iter().map(n).collect()), ..AttributeValue::default() }
}

fn elements(item: Option<&crate::support::WireItem>) -> Vec<u64> {
    let all = item.and_then(|item| item.get("all")).and_then(|value| value.l.clone()).unwrap_or_default();
    all.iter().map(|value| value.n.as_ref().unwrap().parse().unwrap()).collect()
}

fn append(number: u32, element: u64) -> TransactWriteItem {
    TransactWriteItem {
        update: Some(Update {
            table_name: "lists".to_owned(),
            key: item(&[("id", s(&number.to_string()))]),
            update_expression: "SET #all = list_append(if_not_exists(#all, :none), :new)".to_owned(),
            expression_attribute_names: Some([("#all".to_owned(), "all".to_owned())].into()),
            expression_attribute_values: Some(item(&[(":none", list(&[])), (":new", list(&[element]))])),
            ..Update::default()
        }),
        ..TransactWriteItem::default()
    }
}

async fn read(world: &World, numbers: &[u32]) -> Vec<(u32, Vec<u64>)> {
    let gets = numbers.iter().map(|number| TransactGetItem {
        get: Get { table_name: "lists".to_owned(), key: item(&[("id", s(&number.to_string()))]), ..Get::default() },
    });
    let input = TransactGetItemsInput { transact_items: gets.collect(), ..TransactGetItemsInput::default() };
    let found = world.transact_get(input).await.unwrap().responses.unwrap();
    numbers.iter().zip(found).map(|(number, response)| (*number, elements(response.item.as_ref()))).collect()
}

/// One client's transactions: appends to two lists, and reads of two.
async fn client(world: Arc<World>, seed: u64, ticks: Arc<AtomicU64>) -> Vec<Transaction> {
    let mut history = Vec::new();
    let tick = || ticks.fetch_add(1, Ordering::SeqCst);
    let mut random = seed;
    for round in 0..EACH {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let first = u32::try_from((random >> 33) % LISTS).unwrap();
        let second = u32::try_from((u64::from(first) + 1 + (random >> 50) % (LISTS - 1)) % LISTS).unwrap();
        let began = tick();
        let mut transaction = Transaction { known: true, ..Transaction::default() };
        if round % 3 == 0 {
            transaction.reads = read(&world, &[first, second]).await;
        } else {
            let element = seed * 1_000_000 + round * 10;
            transaction.appends = vec![(first, element), (second, element + 1)];
            let parts = transaction.appends.iter().map(|(list, element)| append(*list, *element)).collect();
            let input = TransactWriteItemsInput { transact_items: parts, ..TransactWriteItemsInput::default() };
            world.transact(input).await.unwrap();
        }
        (transaction.began, transaction.ended) = (began, tick());
        history.push(transaction);
        tokio::task::yield_now().await;
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_transactions_have_a_serial_order() {
    let world = Arc::new(World::new());
    let table = CreateTableInput {
        table_name: "lists".to_owned(),
        attribute_definitions: Some(vec![definition("id", ScalarAttributeType::S)]),
        key_schema: Some(keys("id", None)),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..CreateTableInput::default()
    };
    world.create(table).await.unwrap();
    let ticks = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> =
        (1..=CLIENTS).map(|seed| tokio::spawn(client(Arc::clone(&world), seed, Arc::clone(&ticks)))).collect();
    let mut history = Vec::new();
    for client in clients {
        history.extend(client.await.unwrap());
    }
    let all: Vec<u32> = (0..u32::try_from(LISTS).unwrap()).collect();
    let last: BTreeMap<u32, Vec<u64>> = read(&world, &all).await.into_iter().collect();
    assert_eq!(last.values().map(Vec::len).sum::<usize>(), history.iter().map(|one| one.appends.len()).sum::<usize>());
    assert_eq!(check(&history, &last), Ok(()));
}
