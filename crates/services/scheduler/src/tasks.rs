//! The background work: what is due fires, what was filed runs, groups that are being deleted are emptied.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base_types::Fault;
use services_kernel::{Cx, Reconciler, Tags};
use services_ports::Operations;
use store_api::{Direction, Key, Tx};
use tokio::sync::Semaphore;

use crate::{
    Scheduler, execution,
    firing::{BATCH_MAX, Mode},
    names::Named,
    tables::{self, GROUPS, SCHEDULES},
};

/// Schedules of a group that one transaction deletes.
const DELETED_MAX: usize = 200;
/// More is to be done: the next round comes at once.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Batches that one round fires before it looks at the rest of the work.
const BATCHES_MAX: usize = 50;

/// Fires schedules.
pub struct SchedulerReconciler<O> {
    scheduler: Scheduler<O>,
    flows: Arc<Semaphore>,
    recalled: AtomicBool,
}

impl<O: Operations> SchedulerReconciler<O> {
    pub(crate) fn new(scheduler: Scheduler<O>) -> Self {
        Self { scheduler, flows: Arc::new(Semaphore::new(execution::FLOWS_MAX)), recalled: AtomicBool::new(false) }
    }

    /// Fires what is due; true when there may be more.
    async fn fire(&self) -> Result<bool, Fault> {
        for _ in 0..BATCHES_MAX {
            let looked_at = match self.batch(BATCH_MAX, Mode::Deliver).await {
                Ok(count) => count,
                Err(fault) => self.one_by_one(&fault).await?,
            };
            if looked_at < BATCH_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn batch(&self, limit: usize, mode: Mode) -> Result<usize, Fault> {
        let scheduler = self.scheduler.clone();
        self.scheduler.store.transact(move |tx| scheduler.fire_due(tx, limit, mode)).await
    }

    /// A batch failed as a whole: each of its schedules fires alone, and one that fails again counts as an attempt.
    async fn one_by_one(&self, fault: &Fault) -> Result<usize, Fault> {
        tracing::warn!(?fault, "a batch of schedules did not fire together; they fire one by one");
        for _ in 0..BATCH_MAX {
            let looked_at = match self.batch(1, Mode::Deliver).await {
                Ok(count) => count,
                Err(fault) => {
                    tracing::error!(?fault, "a schedule could not fire; it is tried again by its retry policy");
                    self.batch(1, Mode::File).await?
                }
            };
            if looked_at == 0 {
                return Ok(0);
            }
        }
        Ok(BATCH_MAX)
    }

    /// After the start of the server: what ran when it ended runs again.
    async fn recall(&self) -> Result<(), Fault> {
        let mut after: Option<Key> = None;
        loop {
            let scheduler = self.scheduler.clone();
            let from = after.take();
            after = self.scheduler.store.transact(move |tx| scheduler.recall(tx, from.as_ref())).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

impl<O: Operations> Reconciler for SchedulerReconciler<O> {
    const NAME: &'static str = "schedules";
    const POLL: Duration = Duration::from_secs(60);

    fn topic(&self) -> Key {
        tables::topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        if !self.recalled.load(Ordering::Relaxed) {
            self.recall().await?;
            self.recalled.store(true, Ordering::Relaxed);
        }
        let more = self.fire().await?;
        let executed = self.scheduler.execute_due(&self.flows).await?;
        let deleting = self.scheduler.store.transact(delete_some).await?;
        if more || executed > 0 || deleting {
            return Ok(Some(AT_ONCE));
        }
        let store = &self.scheduler.store;
        let first = store.view(|tx| Ok::<_, Fault>(tables::first_due(tx)?.map(|due| due.since(tx.now())))).await?;
        Ok(first.map(|pause| pause.max(AT_ONCE)))
    }
}

/// Deletes schedules of a group that is being deleted, and at last the group; true when there may be more.
fn delete_some(tx: &Tx) -> Result<bool, Fault> {
    let Some((key, place, group)) = tables::first_deleting(tx)? else { return Ok(false) };
    let of_group = tables::schedules_of(&place).str(&group).prefix();
    let schedules = SCHEDULES.scan(tx, &of_group, DELETED_MAX, Direction::Forward)?;
    for (schedule, _) in &schedules {
        let (group, name) = tables::group_and_name(schedule)?;
        tables::remove_schedule(tx, &Named { place: place.clone(), group, name })?;
    }
    if schedules.len() < DELETED_MAX {
        let cx = Cx::internal(place.account, place.region.clone(), "schedules");
        Tags::clear(tx, &cx, &place.group_arn(&group).to_string())?;
        GROUPS.remove(tx, &tables::group_key(&place, &group))?;
        tables::unmark_deleting(tx, &key)?;
    }
    Ok(true)
}
