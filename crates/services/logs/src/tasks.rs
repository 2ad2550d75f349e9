//! The reconciler: takes over streams' activity from the segments, frees what was deleted or has expired, counts bytes.

use std::{collections::HashMap, time::Duration};

use base_env::Moment;
use base_types::{Fault, FaultKind, Timestamp};
use parking_lot::Mutex;
use services_kernel::Reconciler;
use store_api::{Key, Tx};
use store_segments::{Activity, GroupId, Reclaim, SegmentsError, StreamId};

use crate::{
    CloudWatchLogs,
    tables::{self, Place, Trash},
};

/// How often activity is taken over: what AWS calls eventually consistent.
const ROUND: Duration = Duration::from_secs(1);
/// How often expired events are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);
/// How often bytes are counted, when there was activity.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// How many streams one transaction updates or removes.
const STREAMS_PER_COMMIT: usize = 500;
/// How much trash one round takes.
const TRASH_PER_ROUND: usize = 1000;

/// The background work of the logs.
pub struct LogsReconciler {
    logs: CloudWatchLogs,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    mark: Option<u64>,
    retention: Option<Moment>,
    count: Option<Moment>,
    uncounted: bool,
}

impl LogsReconciler {
    pub(crate) fn new(logs: CloudWatchLogs) -> Self {
        Self { logs, last: Mutex::new(Last { uncounted: true, ..Last::default() }) }
    }

    /// Runs what blocks on the disk where that is allowed.
    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&CloudWatchLogs) -> Result<R, SegmentsError> + Send + 'static,
    ) -> Result<R, Fault> {
        let logs = self.logs.clone();
        let done = tokio::task::spawn_blocking(move || work(&logs)).await;
        let done =
            done.map_err(|error| Fault::new(FaultKind::Unavailable, "look into log segments").caused_by(error))?;
        Ok(done?)
    }

    async fn take_over_activity(&self) -> Result<(), Fault> {
        let known = self.last.lock().mark;
        let mark = match known {
            Some(mark) => mark,
            None => self.logs.store.view(tables::activity_mark).await?,
        };
        let (activities, next) = self.blocking(move |logs| logs.segments.activity_since(mark)).await?;
        if next != mark {
            for chunk in activities.chunks(STREAMS_PER_COMMIT) {
                let chunk = chunk.to_vec();
                let write = move |tx: &Tx| chunk.iter().try_for_each(|(id, activity)| merge(tx, *id, activity));
                self.logs.store.transact(write).await?;
            }
            self.logs.store.transact(move |tx| tables::put_activity_mark(tx, next)).await?;
        }
        let mut last = self.last.lock();
        last.uncounted |= next != mark;
        last.mark = Some(next);
        Ok(())
    }

    /// Frees deleted groups and streams; whether some are left for the next round.
    async fn empty_trash(&self) -> Result<bool, Fault> {
        let trash = self.logs.store.view(|tx| tables::trash(tx, TRASH_PER_ROUND)).await?;
        if trash.is_empty() {
            return Ok(false);
        }
        for item in trash.iter().filter(|item| item.stream.is_none()) {
            loop {
                let item = item.clone();
                let remove = move |tx: &Tx| Place::of_trash(&item).remove_streams(tx, &item.group, STREAMS_PER_COMMIT);
                if self.logs.store.transact(remove).await? {
                    break;
                }
            }
        }
        let id = |id: &tables::Id| u128::from_be_bytes(*id);
        let reclaim = Reclaim {
            groups: trash.iter().filter(|t| t.stream.is_none()).map(|t| GroupId(id(&t.group))).collect(),
            streams: trash
                .iter()
                .filter_map(|t| t.stream.as_ref().map(|stream| (StreamId(id(stream)), GroupId(id(&t.group)))))
                .collect(),
            cutoffs: HashMap::new(),
        };
        let reclaimed = match self.logs.segments.reclaim(reclaim).await {
            // A backup is being made: the trash stays for a later round.
            Err(SegmentsError::Held) => return Ok(false),
            reclaimed => reclaimed?,
        };
        tracing::debug!(?reclaimed, "freed deleted log events");
        let full = trash.len() == TRASH_PER_ROUND;
        let clear = move |tx: &Tx| trash.iter().try_for_each(|item: &Trash| tables::empty_trash(tx, item));
        self.logs.store.transact(clear).await?;
        self.last.lock().uncounted = true;
        Ok(full)
    }

    async fn expire(&self) -> Result<(), Fault> {
        let now = self.logs.env.now();
        let (mut cutoffs, mut after): (HashMap<GroupId, Timestamp>, _) = (HashMap::new(), None);
        loop {
            let page = self.logs.store.view(move |tx| tables::retained(tx, after.as_ref(), TRASH_PER_ROUND)).await?;
            after = page.last().map(|(id, _)| *id);
            cutoffs.extend(page.iter().map(|(id, days)| {
                let kept = Duration::from_secs(u64::from(*days) * 24 * 3600);
                (GroupId(u128::from_be_bytes(*id)), now - kept)
            }));
            if page.len() < TRASH_PER_ROUND {
                break;
            }
        }
        if !cutoffs.is_empty() {
            let reclaim = Reclaim { cutoffs, ..Reclaim::default() };
            match self.logs.segments.reclaim(reclaim).await {
                Err(SegmentsError::Held) => {}
                reclaimed => tracing::debug!(reclaimed = ?reclaimed?, "freed expired log events"),
            }
        }
        Ok(())
    }

    fn is_due(&self, last: Option<Moment>, every: Duration) -> bool {
        last.is_none_or(|last| self.logs.env.monotonic().since(last) >= every)
    }
}

/// Adds to a stream's row what the segments know. Idempotent.
fn merge(tx: &Tx, stream: StreamId, activity: &Activity) -> Result<(), Fault> {
    let Some(owner) = tables::owner(tx, &stream.0.to_be_bytes())? else { return Ok(()) };
    let place = Place::of_owner(&owner);
    let Some(mut row) = place.stream(tx, &owner.group, &owner.name)? else { return Ok(()) };
    let before = row.last_event;
    row.first_event = row.first_event.into_iter().chain([activity.first_event]).min();
    row.last_event = row.last_event.max(Some(activity.last_event));
    row.last_ingestion = row.last_ingestion.max(Some(activity.last_ingestion));
    place.update_stream(tx, &owner.group, &owner.name, before, &row)
}

impl Reconciler for LogsReconciler {
    const NAME: &'static str = "logs";

    const POLL: Duration = ROUND;

    fn topic(&self) -> Key {
        tables::trash_topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        self.take_over_activity().await?;
        let again = self.empty_trash().await?;
        let (retention, count) = {
            let last = self.last.lock();
            (self.is_due(last.retention, RETENTION_EVERY), last.uncounted && self.is_due(last.count, COUNT_EVERY))
        };
        if retention {
            self.expire().await?;
            self.last.lock().retention = Some(self.logs.env.monotonic());
        }
        if count {
            let bytes = self.blocking(|logs| logs.segments.bytes_by_group()).await?;
            *self.logs.stored_bytes.write() = bytes;
            let mut last = self.last.lock();
            (last.count, last.uncounted) = (Some(self.logs.env.monotonic()), false);
        }
        Ok(Some(if again { Duration::ZERO } else { ROUND }))
    }
}
