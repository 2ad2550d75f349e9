//! Background work.
//!
//! A [`Reconciler`] takes no input: each round it looks at the store, does what is due and says when to look again. It is
//! idempotent, so that a round may be repeated, cut off or run after a crash. What wakes it (a hint from a commit, a timer)
//! only makes it look sooner: the store is the truth, and the slow poll finds what a lost hint would have told.

use std::{future::Future, time::Duration};

use base_env::Env;
use base_types::Fault;
use store_api::{Key, Store};
use tokio::sync::watch;

/// After a fault the next round waits this long, doubling up to the poll interval.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// One piece of background work.
pub trait Reconciler: Send + Sync + 'static {
    /// What the server's log calls it.
    const NAME: &'static str;

    /// The longest pause between two looks.
    const POLL: Duration = Duration::from_secs(30);

    /// The topic whose wake-ups make it look sooner.
    fn topic(&self) -> Key;

    /// Looks at the store and does what is due.
    ///
    /// Returns when to look again at the latest; `None` leaves it to hints and the slow poll.
    ///
    /// # Errors
    /// A fault is logged and the round repeated after a growing pause.
    fn round(&self) -> impl Future<Output = Result<Option<Duration>, Fault>> + Send;
}

/// Runs rounds of `reconciler` until `stop` turns true.
pub async fn keep_reconciling<R: Reconciler>(reconciler: R, store: Store, env: Env, mut stop: watch::Receiver<bool>) {
    let mut retry = RETRY_FIRST;
    loop {
        // Subscribe before looking: a commit between the look and the wait must not be missed.
        let waiter = store.waiter(&reconciler.topic());
        let pause = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            outcome = reconciler.round() => match outcome {
                Ok(next) => {
                    retry = RETRY_FIRST;
                    next.unwrap_or(R::POLL).min(R::POLL)
                }
                Err(fault) => {
                    tracing::error!(reconciler = R::NAME, fault = ?fault, "round failed");
                    retry = (retry * 2).min(R::POLL);
                    env.sleep(retry).await;
                    continue;
                }
            },
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = waiter.wait() => {}
            () = env.sleep(pause) => {}
        }
    }
}

/// Resolves when `stop` turns true or nobody can turn it any more. What it waits for holds a lock's guard, which must not
/// live in the loop's state: the loop is to run on any thread.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
