//! One pipe at work: it takes messages and ends batches; what becomes of one in between is in `stages`. All of it under the
//! pipe's lease.

use std::{sync::Arc, time::Duration};

use base_env::Moment;
use base_types::{Arn, Fault, FaultKind, Timestamp};
use parking_lot::Mutex;
use services_kernel::{Cx, Principal, Source};
use services_ports::{DeliveryError, LogAppendError, LogSink as _, LogTarget, QueueMessage};
use store_api::Lease;
use tokio::sync::watch;

use crate::{
    Peers, Pipes,
    definition::Definition,
    journal::{Failed, Journal, Phase, Turn},
    names,
    stages::Batch,
    tables,
};

/// How long a lease lasts unrenewed.
const LEASE: Duration = Duration::from_secs(30);
/// The same when functions are waited for: longer than one may run.
const LEASE_WAITING: Duration = Duration::from_secs(2000);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(10);
/// How long a poller waits for a hint at most.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long it waits after a failure: from, to.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The service's principal.
const HOST: &str = "pipes.amazonaws.com";

/// One pipe's work.
pub(crate) struct Poller<P> {
    pub(crate) pipes: Pipes<P>,
    pub(crate) definition: Arc<Definition>,
    /// What was told of last, so that it is told once.
    told: Mutex<Option<String>>,
    /// Where its log is, once it was asked for.
    log: Mutex<Option<LogTarget>>,
}

/// What a step came to.
struct Step {
    /// Messages that were taken.
    taken: usize,
    /// When the next hidden one can be seen.
    next_due: Option<Timestamp>,
    /// Why some of them stay in the queue.
    failure: Option<Failed>,
    /// Nothing of the batch is done.
    whole: bool,
}

/// Why a transaction was given up.
pub(crate) enum Stop {
    Failed(Failed),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DeliveryError> for Stop {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Fault(fault) => Self::Fault(fault),
            error => Self::Failed(Failed::new(error.to_string())),
        }
    }
}

impl<P: Peers> Poller<P> {
    pub(crate) fn new(pipes: Pipes<P>, definition: Arc<Definition>) -> Self {
        Self { pipes, definition, told: Mutex::new(None), log: Mutex::new(None) }
    }

    /// Works until it is stopped, or its lease is lost.
    pub(crate) async fn run(self: Arc<Self>, worker: usize, mut stop: watch::Receiver<bool>) {
        let name = format!("pipes/{}/{worker}", self.definition.named.arn());
        let lane = worker as u64;
        let mut backoff = BACKOFF.0;
        let mut lease: Option<(Lease, Moment)> = None;
        while !*stop.borrow() {
            let Some(held) = self.held(&name, lease.take()).await else {
                tokio::select! {
                    _ = stop.changed() => break,
                    () = self.pipes.env.sleep(Duration::from_secs(1)) => continue,
                }
            };
            let queue = self.pipes.source_topic(&self.definition.source).map(|topic| self.pipes.store.waiter(&topic));
            let changed = self.pipes.store.waiter(&tables::wake_up(&self.definition.named));
            let step = self.step(&held.0, lane).await;
            lease = Some(held);
            let failed = !matches!(&step, Ok(Step { failure: None, .. }));
            let pause = match step {
                Ok(Step { failure: Some(failure), .. }) => {
                    self.tell(&failure);
                    backoff = (backoff * 2).min(BACKOFF.1);
                    backoff
                }
                Ok(Step { taken, .. }) if taken > 0 => {
                    backoff = BACKOFF.0;
                    continue;
                }
                Ok(Step { next_due, .. }) => {
                    let due = next_due.map_or(PAUSE_MAX, |due| due.since(self.pipes.env.now()));
                    due.clamp(Duration::from_millis(1), PAUSE_MAX)
                }
                Err(fault) if fault.kind() == FaultKind::Conflict => {
                    lease = None;
                    BACKOFF.0
                }
                Err(fault) => {
                    tracing::error!(pipe = %self.definition.named.arn(), ?fault, "a pipe's step failed; it is tried again");
                    backoff = (backoff * 2).min(BACKOFF.1);
                    backoff
                }
            };
            // Waiting after a failure is not cut short by the next message.
            let hint = async {
                match queue {
                    Some(queue) if !failed => queue.wait().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = stop.changed() => break,
                () = hint => {}
                () = changed.wait() => {}
                () = self.pipes.env.sleep(pause) => {}
            }
        }
        if let Some((lease, _)) = lease
            && let Err(fault) = self.pipes.store.release_lease(lease).await
        {
            tracing::debug!(?fault, "a pipe's lease was not given back");
        }
    }

    /// The lease, asked for or renewed.
    async fn held(&self, name: &str, lease: Option<(Lease, Moment)>) -> Option<(Lease, Moment)> {
        let (store, now) = (&self.pipes.store, self.pipes.env.monotonic());
        let outcome = match lease {
            Some((lease, since)) if now.since(since) < RENEWED => return Some((lease, since)),
            Some((lease, _)) => store.renew_lease(&lease).await.map(|held| held.then_some(lease)),
            None => {
                let direct = self.definition.is_direct();
                store.lease(name, if direct { LEASE } else { LEASE_WAITING }).await
            }
        };
        match outcome {
            Ok(lease) => lease.map(|lease| (lease, now)),
            Err(fault) => {
                tracing::error!(?fault, "a pipe's lease was not granted");
                None
            }
        }
    }

    fn tell(&self, failure: &Failed) {
        if self.is_news(failure) {
            tracing::warn!(
                pipe = %self.definition.named.arn(), %failure,
                "a pipe's messages stay in its queue: see that source, enrichment and target exist and permit the pipe's role"
            );
            *self.told.lock() = Some(failure.message.clone());
        }
    }

    fn is_news(&self, failure: &Failed) -> bool {
        self.told.lock().as_deref() != Some(failure.message.as_str())
    }

    async fn step(&self, lease: &Lease, lane: u64) -> Result<Step, Fault> {
        let step = if self.definition.is_direct() {
            self.direct(lease, lane).await?
        } else {
            self.staged(lease, lane).await?
        };
        // A partial failure was counted with the commit of what was done.
        if step.whole && self.definition.stream.is_some() {
            self.count_failure(lease, lane).await?;
        }
        Ok(step)
    }

    /// A batch of a stream failed: it may have been its last try.
    async fn count_failure(&self, lease: &Lease, lane: u64) -> Result<(), Fault> {
        let (pipes, definition) = (self.pipes.clone(), Arc::clone(&self.definition));
        let (cx, lease) = (self.context(), lease.clone());
        let counted = self.pipes.store.transact(move |tx| {
            tx.require(&lease)?;
            pipes.failed(&cx, tx, &definition, lane)
        });
        match counted.await {
            // What cannot be read cannot be given up either.
            Ok(()) | Err(Stop::Failed(_)) => Ok(()),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// Who acts: the role, on behalf of the pipe.
    pub(crate) fn context(&self) -> Cx {
        let named = &self.definition.named;
        let cx = Cx::internal(named.account, named.region.clone(), &self.pipes.env.uuid());
        let mut cx = cx.consequence(Source { service: HOST.to_owned(), arn: named.arn() });
        if let Some((account, role)) = names::role(&self.definition.role) {
            cx.principal = Arc::new(Principal::AssumedRole { account, role, session: named.name.clone() });
        }
        cx
    }

    /// An execution's journal.
    fn journal(&self) -> Journal {
        Journal::begin(&self.pipes.env, self.definition.log.as_ref(), &self.definition.named.arn())
    }

    /// Everything in one transaction.
    async fn direct(&self, lease: &Lease, lane: u64) -> Result<Step, Fault> {
        let (pipes, definition) = (self.pipes.clone(), Arc::clone(&self.definition));
        let (cx, lease, begun) = (self.context(), lease.clone(), self.journal());
        let outcome = self.pipes.store.transact(move |tx| {
            tx.require(&lease)?;
            let received = pipes.take(&cx, tx, &definition, (lane, None), definition.batch)?;
            let mut journal = begun.clone();
            if received.messages.is_empty() {
                return Ok::<_, Stop>((
                    Step { taken: 0, next_due: received.next_due, failure: None, whole: false },
                    journal,
                ));
            }
            let batch = Batch::of(&definition, &received.messages);
            batch.begin(&mut journal);
            let handed = pipes.hand_over(&cx, tx, &definition, &batch, &mut journal)?;
            pipes.finish(&cx, tx, &definition, lane, &received.messages, &handed.kept)?;
            let taken = received.messages.len();
            Ok((Step { taken, next_due: received.next_due, failure: handed.failure, whole: false }, journal))
        });
        match outcome.await {
            Ok((step, journal)) => {
                self.write(journal).await;
                Ok(step)
            }
            Err(Stop::Failed(failure)) => {
                // Nothing was taken, and it is tried again soon: it is told once.
                if self.is_news(&failure) {
                    let mut journal = self.journal();
                    journal.fail(Phase::Execution, Turn::Failed, &failure);
                    self.write(journal).await;
                }
                Ok(Step { taken: 0, next_due: None, failure: Some(failure), whole: true })
            }
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// Taking, waiting for others, and the end of the batch, one after the other.
    async fn staged(&self, lease: &Lease, lane: u64) -> Result<Step, Fault> {
        let (messages, next_due) = match self.gather(lease, lane).await {
            Ok(gathered) => gathered,
            Err(Stop::Failed(failure)) => {
                return Ok(Step { taken: 0, next_due: None, failure: Some(failure), whole: true });
            }
            Err(Stop::Fault(fault)) => return Err(fault),
        };
        if messages.is_empty() {
            return Ok(Step { taken: 0, next_due, failure: None, whole: false });
        }
        let (taken, messages) = (messages.len(), Arc::new(messages));
        let mut journal = self.journal();
        let outcome = self.work_off(lease, lane, &messages, &mut journal).await;
        self.write(journal).await;
        match outcome {
            Ok(failure) => Ok(Step { taken, next_due, failure, whole: false }),
            Err(Stop::Failed(failure)) => Ok(Step { taken, next_due, failure: Some(failure), whole: true }),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// Writes what an execution is to be remembered by. A log that cannot be written never stops a pipe.
    async fn write(&self, journal: Journal) {
        let lines = journal.into_lines();
        let Some(settings) = self.definition.log.as_ref().filter(|_| !lines.is_empty()) else { return };
        // Who deletes the stream meanwhile gets a new one, once.
        for _ in 0..2 {
            let known = *self.log.lock();
            let target = match known {
                Some(target) => target,
                None => match self.log_target(&settings.group).await {
                    Ok(target) => *self.log.lock().insert(target),
                    Err(fault) => {
                        return tracing::warn!(group = %settings.group, ?fault, "a pipe's log cannot be written");
                    }
                },
            };
            match self.pipes.peers.logs().append(&target, lines.clone()).await {
                Ok(()) => return,
                Err(LogAppendError::Gone) => *self.log.lock() = None,
                Err(LogAppendError::Fault(fault)) => {
                    return tracing::warn!(group = %settings.group, ?fault, "a pipe's log could not be written");
                }
            }
        }
    }

    /// The stream of the pipe in its log group; both are made when they lack.
    async fn log_target(&self, group: &Arn) -> Result<LogTarget, Fault> {
        let (peers, named) = (Arc::clone(&self.pipes.peers), self.definition.named.clone());
        let name = group.resource.strip_prefix("log-group:").unwrap_or(&group.resource);
        let name = name.strip_suffix(":*").unwrap_or(name).to_owned();
        let cx = Cx::internal(named.account, named.region.clone(), "pipes");
        self.pipes.store.transact(move |tx| peers.logs().ensure_stream(&cx, tx, &name, &named.name)).await
    }

    /// Takes messages until the batch is full or its window is over.
    async fn gather(&self, lease: &Lease, lane: u64) -> Result<(Vec<QueueMessage>, Option<Timestamp>), Stop> {
        let mut messages: Vec<QueueMessage> = Vec::new();
        let mut begun: Option<Moment> = None;
        loop {
            let queue = self.pipes.source_topic(&self.definition.source).map(|topic| self.pipes.store.waiter(&topic));
            let (pipes, definition) = (self.pipes.clone(), Arc::clone(&self.definition));
            let (cx, lease, most) = (self.context(), lease.clone(), self.definition.batch - messages.len());
            let last = messages.last().cloned();
            let received = self.pipes.store.transact(move |tx| {
                tx.require(&lease)?;
                pipes.take(&cx, tx, &definition, (lane, last.as_ref()), most)
            });
            let received = received.await?;
            messages.extend(received.messages);
            let now = self.pipes.env.monotonic();
            if messages.is_empty() {
                return Ok((messages, received.next_due));
            }
            let since = *begun.get_or_insert(now);
            let left = self.definition.window.saturating_sub(now.since(since));
            if messages.len() >= self.definition.batch || left.is_zero() {
                return Ok((messages, received.next_due));
            }
            let hint = async {
                match queue {
                    Some(queue) => queue.wait().await,
                    None => std::future::pending().await,
                }
            };
            // The lease is renewed before the next step: the window is looked at often enough for that.
            let _woken = self.pipes.env.timeout(left.min(Duration::from_secs(1)), hint).await;
        }
    }
}
