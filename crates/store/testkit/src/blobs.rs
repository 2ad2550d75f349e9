//! The life of a blob.

use std::time::Duration;

use base_types::FaultKind;
use bytes::Bytes;
use store_api::{INTENT_TTL, Store, Tx};

use crate::fixture::key;

pub(crate) async fn a_blob_reads_back(store: Store) {
    let blobs = store.blobs();
    let bytes = Bytes::from((0..600_000u32).map(|n| n as u8).collect::<Vec<_>>());
    let mut writer = blobs.writer(1 << 20).await.unwrap();
    for chunk in bytes.chunks(70_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let (id, sealed) = writer.finish().await.unwrap();
    assert_eq!(sealed.length, 600_000);
    assert_eq!(blobs.get(id, 1 << 20).await.unwrap().unwrap(), bytes);
    assert_eq!(blobs.get(id, 1000).await.unwrap_err().kind(), FaultKind::Overloaded);
    assert_eq!(blobs.sealed(id).await.unwrap(), Some(sealed));
    assert_eq!(id.to_string().parse(), Ok(id));
    let mut reader = blobs.reader(id).await.unwrap().unwrap();
    reader.seek(599_990);
    assert_eq!(reader.next().await.unwrap().unwrap(), bytes.slice(599_990..));
    assert_eq!(reader.next().await.unwrap(), None);
    let mut small = blobs.writer(10).await.unwrap();
    assert_eq!(small.write(Bytes::from_static(b"eleven bytes")).await.unwrap_err().kind(), FaultKind::Overloaded);
    assert!(small.finish().await.is_err(), "what grew beyond its bound is lost");
    let empty = blobs.put(Bytes::new()).await.unwrap();
    assert_eq!(blobs.get(empty, 0).await.unwrap(), Some(Bytes::new()));
}

pub(crate) async fn the_sweep_respects_references_and_intents(store: Store) {
    let blobs = store.blobs();
    let (kept, dropped) =
        (blobs.put(Bytes::from("kept")).await.unwrap(), blobs.put(Bytes::from("gone")).await.unwrap());
    drop(blobs.writer(9).await.unwrap());
    store.transact(move |tx: &Tx| tx.attach_blob(kept, &key("owner"))).await.unwrap();
    assert_eq!(blobs.sweep().await.unwrap(), 0, "an intent protects for an hour");
    let before = store.env().now();
    store.env().advance(INTENT_TTL + Duration::from_secs(1));
    if store.env().now().since(before) < INTENT_TTL {
        return; // a real clock: nobody waits for an hour here
    }
    let fresh = blobs.put(Bytes::from("fresh")).await.unwrap();
    assert_eq!(blobs.sweep().await.unwrap(), 2, "the unreferenced one and the unfinished one");
    assert_eq!(blobs.get(dropped, 99).await.unwrap(), None);
    assert_eq!(blobs.get(kept, 99).await.unwrap().unwrap(), "kept");
    assert_eq!(blobs.get(fresh, 99).await.unwrap().unwrap(), "fresh");
    let late = store.transact(move |tx: &Tx| tx.attach_blob(dropped, &key("late"))).await;
    assert_eq!(late.unwrap_err().kind(), FaultKind::Conflict);
    store.transact(move |tx: &Tx| tx.detach_blob(kept, &key("owner"))).await.unwrap();
    assert_eq!(blobs.sweep().await.unwrap(), 1);
    assert_eq!(blobs.get(kept, 99).await.unwrap(), None);
}
