//! One pipe at work: takes messages, filters, enriches, hands over, deletes. All of it under the pipe's lease.

use std::{sync::Arc, time::Duration};

use base_env::Moment;
use base_types::{Fault, FaultKind, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use services_kernel::{Cx, HOPS_MAX, Lineage, Passed, Principal, Source};
use services_ports::{DeliveryError, Invoke, QueueMessage};
use store_api::{Lease, Tx};
use tokio::sync::watch;

use crate::{
    Pipes,
    definition::Definition,
    event, names, tables,
    target::{self, Failures},
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
/// The queue's system attribute that carries the trace.
const TRACE: &str = "AWSTraceHeader";

/// One pipe's work.
pub(crate) struct Poller<I> {
    pipes: Pipes<I>,
    definition: Arc<Definition>,
    /// What was told of last, so that it is told once.
    told: Mutex<Option<String>>,
}

/// What a step came to.
struct Step {
    /// Messages that were taken.
    taken: usize,
    /// When the next hidden one can be seen.
    next_due: Option<Timestamp>,
    /// Why some of them stay in the queue.
    failure: Option<String>,
}

/// Why a transaction was given up.
enum Stop {
    Failed(String),
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
            error => Self::Failed(error.to_string()),
        }
    }
}

/// An event on its way, and the message that it came from (none behind an enrichment).
struct Item {
    event: Value,
    message: Option<usize>,
}

impl<I: Invoke> Poller<I> {
    pub(crate) fn new(pipes: Pipes<I>, definition: Arc<Definition>) -> Self {
        Self { pipes, definition, told: Mutex::new(None) }
    }

    /// Works until it is stopped, or its lease is lost.
    pub(crate) async fn run(self: Arc<Self>, worker: usize, mut stop: watch::Receiver<bool>) {
        let name = format!("pipes/{}/{worker}", self.definition.named.arn());
        let mut backoff = BACKOFF.0;
        let mut lease: Option<(Lease, Moment)> = None;
        while !*stop.borrow() {
            let Some(held) = self.held(&name, lease.take()).await else {
                tokio::select! {
                    _ = stop.changed() => break,
                    () = self.pipes.env.sleep(Duration::from_secs(1)) => continue,
                }
            };
            let queue = self.pipes.queues.topic(&self.definition.source).map(|topic| self.pipes.store.waiter(&topic));
            let changed = self.pipes.store.waiter(&tables::wake_up(&self.definition.named));
            let step = self.step(&held.0).await;
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

    fn tell(&self, failure: &str) {
        let mut told = self.told.lock();
        if told.as_deref() != Some(failure) {
            tracing::warn!(
                pipe = %self.definition.named.arn(), %failure,
                "a pipe's messages stay in its queue: see that source, enrichment and target exist and permit the pipe's role"
            );
            *told = Some(failure.to_owned());
        }
    }

    async fn step(&self, lease: &Lease) -> Result<Step, Fault> {
        if self.definition.is_direct() { self.direct(lease).await } else { self.staged(lease).await }
    }

    /// Who acts: the role, on behalf of the pipe.
    fn context(&self) -> Cx {
        let named = &self.definition.named;
        let cx = Cx::internal(named.account, named.region.clone(), &self.pipes.env.uuid());
        let mut cx = cx.consequence(Source { service: HOST.to_owned(), arn: named.arn() });
        if let Some((account, role)) = names::role(&self.definition.role) {
            cx.principal = Arc::new(Principal::AssumedRole { account, role, session: named.name.clone() });
        }
        cx
    }

    /// Everything in one transaction.
    async fn direct(&self, lease: &Lease) -> Result<Step, Fault> {
        let (pipes, definition) = (self.pipes.clone(), Arc::clone(&self.definition));
        let (cx, lease) = (self.context(), lease.clone());
        let outcome = self.pipes.store.transact(move |tx| {
            tx.require(&lease)?;
            let received = pipes.queues.receive(&cx, tx, &definition.source, definition.batch, None)?;
            if received.messages.is_empty() {
                return Ok::<_, Stop>(Step { taken: 0, next_due: received.next_due, failure: None });
            }
            let items = passing(&definition, &received.messages);
            let (failed, failure) = pipes.hand_over(&cx, tx, &definition, &received.messages, &items)?;
            pipes.delete(&cx, tx, &definition, &received.messages, &failed)?;
            Ok(Step { taken: received.messages.len(), next_due: received.next_due, failure })
        });
        match outcome.await {
            Ok(step) => Ok(step),
            Err(Stop::Failed(failure)) => Ok(Step { taken: 0, next_due: None, failure: Some(failure) }),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// Taking, waiting for functions, and the end of the batch, one after the other.
    async fn staged(&self, lease: &Lease) -> Result<Step, Fault> {
        let (messages, next_due) = match self.gather(lease).await {
            Ok(gathered) => gathered,
            Err(Stop::Failed(failure)) => return Ok(Step { taken: 0, next_due: None, failure: Some(failure) }),
            Err(Stop::Fault(fault)) => return Err(fault),
        };
        if messages.is_empty() {
            return Ok(Step { taken: 0, next_due, failure: None });
        }
        let (taken, messages) = (messages.len(), Arc::new(messages));
        let failure = match self.work_off(lease, &messages).await {
            Ok(failure) => failure,
            Err(Stop::Failed(failure)) => Some(failure),
            Err(Stop::Fault(fault)) => return Err(fault),
        };
        Ok(Step { taken, next_due, failure })
    }

    /// Takes messages until the batch is full or its window is over.
    async fn gather(&self, lease: &Lease) -> Result<(Vec<QueueMessage>, Option<Timestamp>), Stop> {
        let mut messages: Vec<QueueMessage> = Vec::new();
        let mut begun: Option<Moment> = None;
        loop {
            let queue = self.pipes.queues.topic(&self.definition.source).map(|topic| self.pipes.store.waiter(&topic));
            let (pipes, definition) = (self.pipes.clone(), Arc::clone(&self.definition));
            let (cx, lease, most) = (self.context(), lease.clone(), self.definition.batch - messages.len());
            let received = self.pipes.store.transact(move |tx| {
                tx.require(&lease)?;
                Ok::<_, Stop>(pipes.queues.receive(&cx, tx, &definition.source, most, None)?)
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

    /// Enriches and hands over; answers why some messages stay.
    async fn work_off(&self, lease: &Lease, messages: &Arc<Vec<QueueMessage>>) -> Result<Option<String>, Stop> {
        let definition = &self.definition;
        let mut cx = self.context();
        let mut items = passing(definition, messages);
        let (trace, looped) = trace(definition, messages);
        if looped {
            return Err(Stop::Failed("its messages have come through it too often".to_owned()));
        }
        cx.trace = trace.map(Arc::from);
        if let Some(function) = definition.enrichment.as_ref().filter(|_| !items.is_empty()) {
            let batch = self.batch(definition.enrichment_template.as_deref(), &items)?;
            let answer = self.invoke(&cx, function, batch).await?;
            let enriched = match serde_json::from_slice::<Value>(&answer) {
                Ok(Value::Array(events)) => events,
                Ok(event) => vec![event],
                Err(_) => return Err(Stop::Failed("the enrichment's answer is not JSON".to_owned())),
            };
            // AWS: an empty answer ends the batch.
            let said = |event: &Value| match event {
                Value::Null => false,
                Value::String(text) => !text.is_empty(),
                Value::Object(members) => !members.is_empty(),
                _ => true,
            };
            items = enriched.into_iter().filter(said).map(|event| Item { event, message: None }).collect();
        }
        let mut kept = Vec::new();
        let mut failure = None;
        if definition.waits && !items.is_empty() {
            let batch = self.batch(definition.template.as_deref(), &items)?;
            let answer = self.invoke(&cx, &definition.target, batch).await?;
            match target::failures(&answer) {
                None => {}
                Some(Failures::All) => return Err(Stop::Failed("the function failed with the whole batch".to_owned())),
                Some(Failures::Some(ids)) => {
                    if let Some(unknown) = ids.iter().find(|id| !messages.iter().any(|message| message.id == **id)) {
                        return Err(Stop::Failed(format!(
                            "the function failed with `{unknown}`, which it was not given"
                        )));
                    }
                    kept = (0..messages.len()).filter(|index| ids.contains(&messages[*index].id)).collect();
                    failure = (!kept.is_empty()).then(|| "the function failed with some messages".to_owned());
                }
            }
            items.clear();
        }
        let (pipes, definition, messages) = (self.pipes.clone(), Arc::clone(definition), Arc::clone(messages));
        let lease = lease.clone();
        let handed = self.pipes.store.transact(move |tx| {
            tx.require(&lease)?;
            let (mut failed, failure) = pipes.hand_over(&cx, tx, &definition, &messages, &items)?;
            failed.extend(&kept);
            pipes.delete(&cx, tx, &definition, &messages, &failed)?;
            Ok::<_, Stop>(failure)
        });
        Ok(handed.await?.or(failure))
    }

    /// The events as one document: an array, whatever their number.
    fn batch(&self, template: Option<&str>, items: &[Item]) -> Result<Bytes, Stop> {
        let variables = self.definition.variables(self.pipes.env.now().to_iso8601());
        let mut batch = Vec::with_capacity(items.len());
        for item in items {
            let payload = target::payload(template, &item.event, &variables);
            batch.push(target::as_json(payload.map_err(|error| Stop::Failed(error.to_string()))?));
        }
        Ok(Bytes::from(Value::Array(batch).to_string()))
    }

    async fn invoke(&self, cx: &Cx, function: &base_types::Arn, payload: Bytes) -> Result<Bytes, Stop> {
        match Box::pin(self.pipes.functions.invoke(cx, function, payload)).await {
            Ok(answer) if answer.function_error.is_none() => Ok(answer.payload),
            Ok(_) => Err(Stop::Failed(format!("the function {function} failed"))),
            Err(error) => Err(Stop::Failed(error.to_string())),
        }
    }
}

impl<I: Invoke> Pipes<I> {
    /// Hands events to a target that takes deliveries. Answers the messages that have to stay, and why. Behind an
    /// enrichment nobody knows which message an event came from: then all go or none.
    fn hand_over(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        messages: &[QueueMessage],
        items: &[Item],
    ) -> Result<(Vec<usize>, Option<String>), Stop> {
        let variables = definition.variables(tx.now().to_iso8601());
        let (trace, looped) = trace(definition, messages);
        if looped && !items.is_empty() {
            return Ok(((0..messages.len()).collect(), Some("its messages have come through it too often".to_owned())));
        }
        let template = definition.template.as_deref();
        let mut failed = Vec::new();
        let mut failure = None;
        if definition.target.service == "lambda" && !items.is_empty() {
            let mut batch = Vec::with_capacity(items.len());
            for item in items {
                let payload = target::payload(template, &item.event, &variables);
                batch.push(target::as_json(payload.map_err(|error| Stop::Failed(error.to_string()))?));
            }
            let body = Value::Array(batch).to_string();
            let delivery = target::delivery(definition, &Value::Null, body, trace);
            self.destinations.deliver(cx, tx, &definition.target, &delivery)?;
            return Ok((failed, failure));
        }
        for item in items {
            let delivered = target::payload(template, &item.event, &variables)
                .map_err(|error| Stop::Failed(error.to_string()))
                .and_then(|body| {
                    let delivery = target::delivery(definition, &item.event, body, trace.clone());
                    Ok(self.destinations.deliver(cx, tx, &definition.target, &delivery)?)
                });
            match (delivered, item.message) {
                (Ok(()), _) => {}
                (Err(Stop::Failed(reason)), Some(message)) => {
                    failed.push(message);
                    failure = Some(reason);
                }
                (Err(stop), _) => return Err(stop),
            }
        }
        Ok((failed, failure))
    }

    /// Deletes what is not to be kept.
    fn delete(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        messages: &[QueueMessage],
        kept: &[usize],
    ) -> Result<(), Stop> {
        let gone = messages.iter().enumerate().filter(|(index, _)| !kept.contains(index));
        let receipts: Vec<&str> = gone.map(|(_, message)| message.receipt.as_str()).collect();
        Ok(self.queues.delete(cx, tx, &definition.source, &receipts)?)
    }
}

/// The events of the messages that the filters let through; the others are done with.
fn passing(definition: &Definition, messages: &[QueueMessage]) -> Vec<Item> {
    let records = messages.iter().map(|message| event::record(message, &definition.source)).enumerate();
    let passing = records.filter(|(_, record)| event::passes(&definition.patterns, record));
    passing.map(|(index, event)| Item { event, message: Some(index) }).collect()
}

/// The trace of a batch with this pipe in its lineage; whether it has come through the pipe too often.
fn trace(definition: &Definition, messages: &[QueueMessage]) -> (Option<String>, bool) {
    let traces: Vec<&str> =
        messages.iter().filter_map(|message| message.system.get(TRACE)).map(String::as_str).collect();
    let mut lineage = Lineage::default();
    for trace in &traces {
        lineage.merge(&Lineage::of(trace));
    }
    let here = Passed::by(&definition.named.arn().to_string());
    let looped = lineage.count(here) >= u32::from(HOPS_MAX);
    lineage.pass(here);
    (Some(lineage.apply(traces.first().copied().unwrap_or_default())), looped)
}
