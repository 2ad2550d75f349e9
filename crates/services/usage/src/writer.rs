//! Writes what was counted, once a second, in batches; and reclaims what is too old.
//!
//! Guarantees: nothing is counted twice (what a transaction could not write stays for the next one), and what was counted
//! more than a second before a crash is in the store, unless the store refused writes. Nothing is written while nothing
//! happens. Bounded: while the store refuses writes at most [`WAITING_MAX`] rows wait; beyond that the rows of an account
//! are added up under one name.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_env::Env;
use base_types::{Fault, FaultKind, Timestamp};
use services_kernel::Reconciler;
use store_api::{Key, Store};
use tokio::sync::{mpsc, oneshot};

use crate::{
    meter::{Counts, OVERFLOW},
    sums::Sums,
    tables::{self, RowKey, hour_of},
};

/// How long sums stay in memory only.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Rows of one transaction: their bytes are far below what a transaction may write.
const ROWS_PER_COMMIT: usize = 200;
/// Rows that may wait for a store that refuses writes.
const WAITING_MAX: usize = 50_000;
/// How many rows one transaction reclaims.
const RECLAIM_ROWS: usize = 1_000;
/// Requests that may wait.
pub(crate) const REQUESTS: usize = 16;

/// What the writer is asked for.
pub(crate) enum Request {
    /// Write now.
    Write(oneshot::Sender<Result<(), Fault>>),
    /// Write now and end.
    End(oneshot::Sender<Result<(), Fault>>),
}

/// The task that writes. Run it once.
pub struct Writer {
    pub(crate) counts: Arc<Counts>,
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) waiting: BTreeMap<RowKey, Sums>,
}

impl Writer {
    /// Writes every second until [`crate::Usage::end`] is called, or nobody counts any more.
    pub async fn run(mut self) {
        loop {
            let request = tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(request) => Some(request),
                    None => return,
                },
                () = self.env.sleep(WRITE_EVERY) => None,
            };
            let outcome = self.write().await;
            match request {
                // Who asked may have gone: the rows are written all the same.
                Some(Request::Write(reply)) => drop(reply.send(outcome)),
                Some(Request::End(reply)) => {
                    drop(reply.send(outcome));
                    return;
                }
                None => {
                    if let Err(fault) = outcome {
                        let rows = self.waiting.len();
                        tracing::error!(?fault, rows, "usage cannot be written; it is tried again");
                    }
                }
            }
        }
    }

    async fn write(&mut self) -> Result<(), Fault> {
        self.counts.take(self.env.now(), &mut self.waiting);
        if self.waiting.len() > WAITING_MAX {
            add_up(&mut self.waiting);
        }
        while !self.waiting.is_empty() {
            let batch: Arc<Vec<(RowKey, Sums)>> = Arc::new(
                self.waiting.iter().take(ROWS_PER_COMMIT).map(|(key, sums)| (key.clone(), sums.clone())).collect(),
            );
            let written = Arc::clone(&batch);
            self.store.transact(move |tx| batch.iter().try_for_each(|(key, sums)| tables::add(tx, key, sums))).await?;
            for (key, _) in written.iter() {
                self.waiting.remove(key);
            }
        }
        Ok(())
    }
}

/// Adds up the rows of each account, region and hour under one name.
fn add_up(waiting: &mut BTreeMap<RowKey, Sums>) {
    tracing::error!(rows = waiting.len(), "too much usage waits for the store: functions are not told apart any more");
    for (key, sums) in std::mem::take(waiting) {
        let key = RowKey { function: OVERFLOW.to_owned(), version: OVERFLOW.to_owned(), ..key };
        waiting.entry(key).or_default().merge(&sums);
    }
}

/// Reclaims rows that are older than they are kept.
pub struct UsageRetention {
    store: Store,
    kept: Duration,
}

impl UsageRetention {
    pub(crate) fn new(store: Store, kept: Duration) -> Self {
        Self { store, kept }
    }
}

impl Reconciler for UsageRetention {
    const NAME: &'static str = "usage retention";
    const POLL: Duration = Duration::from_secs(600);

    fn topic(&self) -> Key {
        tables::expiry_topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let kept = self.kept;
        let reclaimed = self
            .store
            .transact(move |tx| {
                let oldest: Timestamp = tx.now() - kept;
                tables::reclaim(tx, hour_of(oldest), RECLAIM_ROWS)
            })
            .await?;
        Ok((reclaimed == RECLAIM_ROWS).then_some(Duration::from_millis(10)))
    }
}

/// The writer has ended.
pub(crate) fn ended() -> Fault {
    Fault::new(FaultKind::Unavailable, "write usage: its writer has ended")
}
