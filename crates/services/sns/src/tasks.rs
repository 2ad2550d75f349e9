//! The background work: expanding intents, forgetting deduplication ids, freeing what deleted topics left.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use parking_lot::Mutex;
use services_kernel::Reconciler;
use store_api::{Direction, Key, Part, Tx};

use crate::{
    Sns,
    tables::{FORGET, INTENTS, Id, OWNED, SENT, SUBSCRIPTIONS, TRASH, intents_topic, remains},
};

/// Rows that one transaction frees or forgets.
const FREED_MAX: usize = 1000;
/// Chunks of a round: then others have their turn.
const CHUNKS_MAX: usize = 64;
/// More is to be done: the next round comes at once.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Keeps topics tidy and brings messages to many subscribers.
pub struct SnsReconciler {
    sns: Sns,
    /// The topic that had its turn last: each topic with intents has its turn after the others.
    last: Mutex<Option<Id>>,
}

impl SnsReconciler {
    pub(crate) fn new(sns: Sns) -> Self {
        Self { sns, last: Mutex::new(None) }
    }
}

impl Reconciler for SnsReconciler {
    const NAME: &'static str = "topics";
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        intents_topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let store = &self.sns.store;
        self.sns.recall_signer().await?;
        let waiting = store.view(|tx| INTENTS.scan(tx, &intents_topic().prefix(), 1, Direction::Forward)).await?;
        let mut more = false;
        if !waiting.is_empty() {
            let signer = self.sns.signer().await?;
            let mut wrapped = false;
            for chunk in 1..=CHUNKS_MAX {
                let (sns, signer, after) = (self.sns.clone(), signer.clone(), *self.last.lock());
                let turn = store.transact(move |tx| sns.expand(tx, after.as_ref(), &signer)).await?;
                *self.last.lock() = turn;
                more = chunk == CHUNKS_MAX;
                // Behind the last topic comes the first; when there is none either, all is done.
                if turn.is_none() && (wrapped || after.is_none()) {
                    break;
                }
                wrapped = turn.is_none();
            }
        }
        let freed = store.transact(free).await?;
        let forgot = store.transact(forget).await?;
        Ok([more.then_some(AT_ONCE), freed, forgot].into_iter().flatten().min())
    }
}

/// Frees rows of what cannot be reached any more.
fn free(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let Some((key, trash)) = TRASH.scan(tx, &TRASH.global_key(None).prefix(), 1, Direction::Forward)?.pop() else {
        return Ok(None);
    };
    let Some(Part::Bytes(id)) = key.parts()?.pop() else { return Ok(None) };
    let Ok(id) = Id::try_from(id) else { return Ok(None) };
    let mut left = FREED_MAX;
    let name = trash.name();
    // Who owned a subscription is filed elsewhere.
    let subscriptions = name.rows(&SUBSCRIPTIONS, &id).prefix();
    for (_, subscription) in SUBSCRIPTIONS.scan(tx, &subscriptions, FREED_MAX, Direction::Forward)? {
        OWNED.remove(tx, &name.owned(subscription.owner, &subscription.id))?;
    }
    for rows in remains(&trash, &id) {
        // The counter is the prefix itself.
        tx.delete(&rows)?;
        for (row, _) in tx.scan(&rows.prefix(), left, Direction::Forward)? {
            tx.delete(&row)?;
            left -= 1;
        }
        if left == 0 {
            return Ok(Some(AT_ONCE));
        }
    }
    TRASH.remove(tx, &key)?;
    Ok(Some(AT_ONCE))
}

/// Forgets deduplication ids whose time is over.
fn forget(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let rows = FORGET.global_key(None);
    for (index, (key, _)) in tx.scan(&rows.prefix(), FREED_MAX, Direction::Forward)?.into_iter().enumerate() {
        let mut parts = key.parts()?;
        let (Some(Part::Bytes(sent)), Some(Part::U64(at))) = (parts.pop(), parts.pop()) else {
            tx.delete(&key)?;
            continue;
        };
        let at = Timestamp::from_millis(at);
        if at > tx.now() {
            return Ok(Some(at.since(tx.now()).max(AT_ONCE)));
        }
        let sent = Key::from_encoded(&sent);
        // It may have been used again since: then the record has a later entry of its own.
        if SENT.get(tx, &sent)?.is_some_and(|sent| sent.until <= tx.now()) {
            SENT.remove(tx, &sent)?;
        }
        tx.delete(&key)?;
        if index + 1 == FREED_MAX {
            return Ok(Some(AT_ONCE));
        }
    }
    Ok(None)
}
