//! Answers to client tokens.
//!
//! An operation with a client token looks first ([`Idempotency::look`]) and, when it is new, remembers its answer in the
//! same commit as its effect ([`Idempotency::remember`]). So a retried request is answered as the first one was, also
//! after a crash, and never has its effect twice. [`IdempotencySweep`] forgets what has expired.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use store_api::{Direction, Family, Key, Part, Store, Table, Tx};

use crate::{Cx, Reconciler};

/// How many expired records one transaction forgets.
const SWEEP_RECORDS: usize = 500;

const RECORDS: Table<Record> = Table::new(Family::Meta, "kernel.idempotency", 1);
const DUE: Table<()> = Table::new(Family::Queue, "kernel.idempotency.due", 1);

#[derive(Encode, Decode)]
#[cbor(map)]
struct Record {
    #[cbor(n(0), with = "minicbor::bytes")]
    request: [u8; 32],
    #[cbor(n(1), with = "minicbor::bytes")]
    answer: Vec<u8>,
    #[n(2)]
    expires: Timestamp,
}

/// Remembered answers.
pub struct Idempotency;

/// What is known of a client token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// Nothing: go on, and remember the answer.
    New,
    /// The same request was answered with these bytes.
    Same(Bytes),
    /// The token was used for another request.
    Other,
}

impl Idempotency {
    /// What is known of `token`, used for `operation` with these request bytes.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn look(tx: &Tx, cx: &Cx, operation: &str, token: &str, request: &[u8]) -> Result<Replay, Fault> {
        Ok(match RECORDS.get(tx, &key(cx, operation, token))? {
            Some(record) if record.expires <= tx.now() => Replay::New,
            Some(record) if record.request == fingerprint(request) => Replay::Same(record.answer.into()),
            Some(_) => Replay::Other,
            None => Replay::New,
        })
    }

    /// Remembers the answer to `token` for `keep`.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn remember(
        tx: &Tx,
        cx: &Cx,
        operation: &str,
        token: &str,
        request: &[u8],
        answer: &[u8],
        keep: Duration,
    ) -> Result<(), Fault> {
        let (key, expires) = (key(cx, operation, token), tx.now() + keep);
        DUE.put(tx, &due().time(expires).bytes(key.as_bytes()), &())?;
        RECORDS.put(tx, &key, &Record { request: fingerprint(request), answer: answer.to_vec(), expires })
    }
}

/// Forgets expired answers.
pub struct IdempotencySweep {
    store: Store,
}

impl IdempotencySweep {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Reconciler for IdempotencySweep {
    const NAME: &'static str = "idempotency sweep";
    const POLL: Duration = Duration::from_secs(60);

    fn topic(&self) -> Key {
        due()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let forgotten = self
            .store
            .transact(|tx| {
                let expired = due().prefix().before(&due().time(tx.now()));
                let entries = tx.scan(&expired, SWEEP_RECORDS, Direction::Forward)?;
                for (entry, _) in &entries {
                    let Some(Part::Bytes(record)) = entry.parts()?.pop() else { continue };
                    let record = Key::from_encoded(&record);
                    // The token may have been used again since: then the record has a later entry of its own.
                    if RECORDS.get(tx, &record)?.is_some_and(|record| record.expires <= tx.now()) {
                        RECORDS.remove(tx, &record)?;
                    }
                    tx.delete(entry)?;
                }
                Ok::<_, Fault>(entries.len())
            })
            .await?;
        Ok((forgotten == SWEEP_RECORDS).then_some(Duration::from_millis(10)))
    }
}

fn key(cx: &Cx, operation: &str, token: &str) -> Key {
    RECORDS.key(cx.account, &cx.region).str(operation).str(token)
}

fn due() -> Key {
    DUE.global_key(None)
}

fn fingerprint(request: &[u8]) -> [u8; 32] {
    Sha256::digest(request).into()
}
