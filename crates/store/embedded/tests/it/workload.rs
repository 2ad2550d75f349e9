//! A workload whose whole past can be checked from what is left after a crash.
//!
//! Each client counts. Its n-th transaction writes n in two places, moves a window of queue entries on by one (so
//! that resurrected deletes
//! show), adds to a counter and appends to a stream that all clients share, and now and then replaces a blob.

use std::sync::Arc;

use base_types::{AccountId, Fault, Region};
use bytes::Bytes;
use store_api::{BlobId, Direction, Family, Key, Part, Position, Store, Tx};

pub(crate) const CLIENTS: u64 = 6;

fn key(family: Family, name: &str) -> Key {
    Key::new(family, AccountId::DEFAULT, &Region::default()).str(name)
}

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value[..8].try_into().unwrap()))
}

/// Runs all clients from where they were until the store fails; reports every acknowledged transaction.
pub(crate) async fn run(store: &Store, from: &[u64], acknowledged: impl Fn(u64, u64) + Send + Sync + 'static) {
    let acknowledged = Arc::new(acknowledged);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (store, acknowledged) = (store.clone(), Arc::clone(&acknowledged));
            let mut n = from[client as usize];
            tokio::spawn(async move {
                while step(&store, client, n + 1).await.is_ok() {
                    n += 1;
                    acknowledged(client, n);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

async fn step(store: &Store, client: u64, n: u64) -> Result<(), Fault> {
    let blob = if n.is_multiple_of(8) { Some(store.blobs().put(content(client, n)).await?) } else { None };
    store
        .transact(move |tx: &Tx| {
            // Large values now and then, to cross pages and sectors.
            let mut value = n.to_be_bytes().to_vec();
            value.resize(if n.is_multiple_of(16) { 5000 } else { 24 }, client as u8);
            tx.put(&key(Family::Meta, "first").u64(client), value)?;
            tx.put(&key(Family::Item, "second").u64(client), n.to_be_bytes().to_vec())?;
            tx.put(&key(Family::Queue, "window").u64(client).u64(n), "")?;
            if n > 2 {
                tx.delete(&key(Family::Queue, "window").u64(client).u64(n - 2))?;
            }
            tx.add(&key(Family::Meta, "total"), 1)?;
            tx.append(&key(Family::Stream, "log"), [client.to_be_bytes(), n.to_be_bytes()].concat())?;
            if let Some(id) = blob {
                let referrer = key(Family::Meta, "blob").u64(client);
                if let Some(before) = tx.get(&referrer)? {
                    tx.detach_blob(named(&before), &referrer)?;
                }
                tx.attach_blob(id, &referrer)?;
                tx.put(&referrer, format!("{id}/{n}"))?;
            }
            Ok(())
        })
        .await
}

fn content(client: u64, n: u64) -> Bytes {
    Bytes::from(format!("blob {n} of {client} ").repeat(200))
}

fn named(value: &Bytes) -> BlobId {
    std::str::from_utf8(value).unwrap().split('/').next().unwrap().parse().unwrap()
}

/// Checks everything against what was acknowledged; how far each client has come.
pub(crate) async fn verify(store: &Store, acknowledged: &[u64]) -> Vec<u64> {
    let mut reached = Vec::new();
    for client in 0..CLIENTS {
        let (first, second, window, blob) = store
            .view(move |tx: &Tx| {
                let first = tx.get(&key(Family::Meta, "first").u64(client))?;
                let second = tx.get(&key(Family::Item, "second").u64(client))?;
                let window = tx.scan(&key(Family::Queue, "window").u64(client).prefix(), 99, Direction::Forward)?;
                let blob = tx.get(&key(Family::Meta, "blob").u64(client))?;
                Ok::<_, Fault>((first, second, window, blob))
            })
            .await
            .unwrap();
        let n = number(first);
        assert_eq!(n, number(second), "client {client}: half a transaction");
        let acked = acknowledged[client as usize];
        assert!(n >= acked, "client {client}: {acked} was acknowledged, only {n} is there");
        assert!(n <= acked + 1, "client {client}: {n} is there, but only {acked} was acknowledged and one more begun");
        let entries: Vec<u64> = window
            .iter()
            .map(|(key, _)| match key.parts().unwrap().pop() {
                Some(Part::U64(n)) => n,
                part => unreachable!("{part:?}"),
            })
            .collect();
        let expected: Vec<u64> = (n.saturating_sub(1)..=n).filter(|entry| *entry > 0).collect();
        assert_eq!(entries, expected, "client {client}: an entry came back or was lost");
        if n >= 8 {
            let blob = blob.unwrap();
            let last = n / 8 * 8;
            assert!(blob.ends_with(format!("/{last}").as_bytes()), "client {client} at {n}: {blob:?}");
            let bytes = store.blobs().get(named(&blob), 1 << 20).await.unwrap();
            assert_eq!(bytes, Some(content(client, last)), "client {client}: the blob of {last}");
        }
        reached.push(n);
    }
    verify_shared(store, &reached).await;
    reached
}

/// The counter and the stream agree with the clients.
async fn verify_shared(store: &Store, reached: &[u64]) {
    let total = store.view(|tx: &Tx| tx.counter(&key(Family::Meta, "total"))).await.unwrap();
    assert_eq!(total as u64, reached.iter().sum::<u64>(), "the counter counts transactions");
    let (mut seen, mut after) = (vec![0; reached.len()], Position::START);
    loop {
        let page = store.view(move |tx: &Tx| tx.read_stream(&key(Family::Stream, "log"), after, 500)).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (_, record) in page {
            let (client, n) = (number(Some(record.slice(..8))), number(Some(record.slice(8..))));
            seen[client as usize] += 1;
            assert_eq!(seen[client as usize], n, "the stream of client {client} has a gap or a repetition");
        }
    }
    assert_eq!(seen, reached);
}
