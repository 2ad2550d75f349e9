//! The queue of event invocations.
//!
//! Accepting an event is one commit; it is acknowledged when that is durable. A reconciler that holds the queue's lease
//! takes what is due, runs it and writes what came of it, each fenced by the lease: an attempt of a process that lost the
//! lease cannot write any more. Who is to learn of an event's end (a destination, a dead-letter queue) learns it in the same
//! commit. Whoever gets the lease next gives back what its predecessor was running, so nothing waits
//! for a time limit after a crash. The same request id goes with every attempt.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc, time::Duration};

use base_types::{Fault, FaultKind, Timestamp};
use bytes::Bytes;
use compute_api::FunctionHost;
use model_lambda::Error;
use parking_lot::Mutex;
use services_kernel::{Cx, Lineage, Reconciler};
use services_ports::LogSink;
use store_api::{Direction, Key, Lease, Store, Tx};

use super::{
    destinations::{Ends, traced},
    routes::{FunctionKey, Route},
    runner::{Call, NotCalled},
};
use crate::{
    Lambda,
    control::Control,
    error::throttled,
    events::{Attempt, EVENTS_BYTES_MAX, EVENTS_MAX, Event, Next, PASSES_MAX, Payload, Policy, record::Response},
    names::{FunctionRef, Qualifier},
    ops::functions::{counter, signed},
    tables::{self, EVENT_INVOKES, EVENT_PAYLOADS, EVENTS, EVENTS_DUE, EventTotal, Place},
};

const LEASE: &str = "lambda.events";
const LEASE_TTL: Duration = Duration::from_secs(30);
/// Events running at once.
const RUNNING_MAX: usize = 256;
/// Events of one function running at once; more of them wait and let those of others pass.
const RUNNING_PER_FUNCTION_MAX: usize = 64;
/// When such an event is looked at again.
const WAIT_FOR_TURN: Duration = Duration::from_secs(1);
/// Events taken in one transaction.
const BATCH: usize = 64;
/// How long to wait before what came of an attempt is written again.
const WRITE_RETRY: Duration = Duration::from_secs(1);

impl<H: FunctionHost, L: LogSink> Lambda<H, L> {
    /// Accepts an event: it will be run, also after a crash.
    pub(crate) async fn enqueue(
        &self,
        cx: &Cx,
        route: &Route<L>,
        named: &FunctionRef,
        call: Call,
    ) -> Result<(), Error> {
        let now = self.0.control.env.now();
        let event = Event {
            account: route.key.place.account,
            region: route.key.place.region.clone(),
            name: route.key.name.clone(),
            incarnation: route.incarnation.clone(),
            qualifier: named.qualifier.as_ref().map(ToString::to_string),
            payload_bytes: call.payload.len() as u64,
            request_id: call.request_id.to_string(),
            trace: Some(traced(&call.trace, route.passed)),
            client_context: call.client_context,
            accepted: now,
            due: now,
            failures: 0,
            delays: 0,
            running_under: None,
            hops: cx.hops,
        };
        let payload = Payload { bytes: call.payload.to_vec() };
        let accepted = self.0.control.store.transact(move |tx| accept(tx, &event, &payload)).await?;
        if accepted { Ok(()) } else { Err(throttled("CallerRateLimitExceeded")) }
    }
}

/// Takes an event into the queue; false when too many wait already.
pub(super) fn accept(tx: &Tx, event: &Event, payload: &Payload) -> Result<bool, Fault> {
    let total = |total| Ok::<_, Fault>(tx.snapshot_get(&tables::event_total(total))?.map_or(0, |v| counter(&v)));
    if total(EventTotal::Count)? >= EVENTS_MAX || total(EventTotal::Bytes)? >= EVENTS_BYTES_MAX {
        return Ok(false);
    }
    let id = &event.request_id;
    // A client that repeats a request id has its event run once.
    if EVENTS.get(tx, &tables::event(id))?.is_some() {
        return Ok(true);
    }
    EVENTS.put(tx, &tables::event(id), event)?;
    EVENT_PAYLOADS.put(tx, &tables::event_payload(id), payload)?;
    count(tx, 1, signed(event.payload_bytes))?;
    make_due(tx, id, event.due)?;
    Ok(true)
}

fn count(tx: &Tx, events: i64, bytes: i64) -> Result<(), Fault> {
    tx.add(&tables::event_total(EventTotal::Count), events)?;
    tx.add(&tables::event_total(EventTotal::Bytes), bytes)
}

fn make_due(tx: &Tx, id: &str, due: Timestamp) -> Result<(), Fault> {
    EVENTS_DUE.put(tx, &tables::event_due(due, id), &())?;
    tx.wake(&tables::events_due(), 1)
}

/// Runs event invocations.
pub(crate) struct RunEvents<H: FunctionHost, L: LogSink>(Arc<Worker<H, L>>);

struct Worker<H: FunctionHost, L: LogSink> {
    lambda: Lambda<H, L>,
    store: Store,
    lease: tokio::sync::Mutex<Option<Lease>>,
    running: Mutex<Running>,
}

#[derive(Default, Clone)]
struct Running {
    /// The events that this process runs, with how often: an attempt may be written, and the next one begun, a moment
    /// before the first has left.
    ids: HashMap<String, usize>,
    of: HashMap<FunctionKey, usize>,
}

impl Running {
    /// Whether one more event of this function may run; counts it.
    fn admit(&mut self, key: &FunctionKey, id: &str) -> bool {
        let of = self.of.entry(key.clone()).or_default();
        let admitted = *of < RUNNING_PER_FUNCTION_MAX;
        if admitted {
            *of += 1;
            *self.ids.entry(id.to_owned()).or_default() += 1;
        }
        admitted
    }

    fn leave(&mut self, key: &FunctionKey, id: &str) {
        one_less(&mut self.ids, id);
        one_less(&mut self.of, key);
    }
}

fn one_less<K, Q>(counts: &mut HashMap<K, usize>, key: &Q)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl<H: FunctionHost, L: LogSink> RunEvents<H, L> {
    pub(crate) fn new(lambda: Lambda<H, L>) -> Self {
        let store = lambda.0.control.store.clone();
        let (lease, running) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Worker { lambda, store, lease, running }))
    }
}

impl<H: FunctionHost, L: LogSink> Worker<H, L> {
    /// The lease, held or renewed; `None` while another process has it.
    async fn hold(&self) -> Result<Option<Lease>, Fault> {
        let mut held = self.lease.lock().await;
        if let Some(lease) = held.as_ref() {
            if self.store.renew_lease(lease).await? {
                return Ok(held.clone());
            }
            *held = None;
        }
        let Some(lease) = self.store.lease(LEASE, LEASE_TTL).await? else { return Ok(None) };
        if let Err(fault) = self.give_back(&lease).await {
            // Or this process would take its own lease for another's until it runs out.
            self.store.release_lease(lease).await?;
            return Err(fault);
        }
        *held = Some(lease);
        Ok(held.clone())
    }

    /// Makes due again what was running under an earlier lease; what this process still runs (its lease ran out while the
    /// machine slept, say) it goes on running under the new one.
    async fn give_back(&self, lease: &Lease) -> Result<(), Fault> {
        let own = Arc::new(self.running.lock().ids.clone());
        let mut after: Option<Key> = None;
        loop {
            let (lease, from, own) = (lease.clone(), after.clone(), Arc::clone(&own));
            after = self
                .store
                .transact(move |tx| {
                    tx.require(&lease)?;
                    let all = tables::events().prefix();
                    let range = from.as_ref().map_or(all.clone(), |key| all.after(key));
                    let page = EVENTS.scan(tx, &range, BATCH, Direction::Forward)?;
                    for (key, event) in &page {
                        if own.contains_key(&event.request_id) {
                            let event = Event { running_under: Some(lease.fence()), ..event.clone() };
                            EVENTS.put(tx, key, &event)?;
                        } else if event.running_under.is_some_and(|fence| fence != lease.fence()) {
                            let event = Event { running_under: None, due: tx.now(), ..event.clone() };
                            EVENTS.put(tx, key, &event)?;
                            make_due(tx, &event.request_id, event.due)?;
                        }
                    }
                    Ok::<_, Fault>(page.last().filter(|_| page.len() == BATCH).map(|(key, _)| key.clone()))
                })
                .await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes what is due and may run; what has to wait for its turn is put off a little. Answers what was taken, and
    /// whether there may be more.
    async fn take(&self, lease: &Lease) -> Result<(Vec<Event>, bool), Fault> {
        // Whoever takes the lease anew gives back what nobody here runs: not between the taking and the counting of it.
        let _turn = self.lease.lock().await;
        let room = RUNNING_MAX.saturating_sub(self.running.lock().ids.len()).min(BATCH);
        if room == 0 {
            // The end of any of them wakes the reconciler.
            return Ok((Vec::new(), false));
        }
        // The body may be run again: it decides from this copy, and what it took is counted afterwards.
        let lease = lease.clone();
        let before = self.running.lock().clone();
        let (taken, seen) = self
            .store
            .transact(move |tx| {
                tx.require(&lease)?;
                let mut running = before.clone();
                let later = tables::events_due().time(Timestamp::from_millis(tx.now().as_millis() + 1));
                let due = tables::events_due().prefix().before(&later);
                let entries = EVENTS_DUE.claim(tx, &due, room)?;
                let mut taken = Vec::new();
                for (entry, ()) in &entries {
                    let (_, id) = tables::read_event_due(entry)?;
                    tx.delete(entry)?;
                    let Some(mut event) = EVENTS.get(tx, &tables::event(&id))? else { continue };
                    if running.admit(&function_of(&event), &id) {
                        event.running_under = Some(lease.fence());
                        taken.push(event.clone());
                    } else {
                        event.due = tx.now() + WAIT_FOR_TURN;
                        EVENTS_DUE.put(tx, &tables::event_due(event.due, &id), &())?;
                    }
                    EVENTS.put(tx, &tables::event(&id), &event)?;
                }
                Ok::<_, Fault>((taken, entries.len()))
            })
            .await?;
        let mut running = self.running.lock();
        for event in &taken {
            running.admit(&function_of(event), &event.request_id);
        }
        Ok((taken, seen == room))
    }

    async fn run(&self, event: Event) {
        let attempt = Arc::new(attempt(&self.lambda, &event).await);
        if let Err(fault) = self.write(&event, attempt).await {
            // Another process has the queue: it runs the event again.
            tracing::warn!(request_id = %event.request_id, ?fault, "the lease of the event queue was lost");
        }
        self.running.lock().leave(&function_of(&event), &event.request_id);
    }

    /// Writes what came of an attempt, until it is written: the store may be slow or full, the lease may have to be
    /// taken anew. An error when another process has the lease.
    async fn write(&self, event: &Event, attempt: Arc<Attempted>) -> Result<(), Fault> {
        let id: Arc<str> = Arc::from(event.request_id.as_str());
        let mut held = self.lease.lock().await.clone();
        loop {
            let lease = match held.take() {
                Some(lease) => lease,
                None => match self.hold().await {
                    Ok(held) => held.ok_or_else(lost)?,
                    Err(fault) => {
                        self.pause(event, &fault).await;
                        continue;
                    }
                },
            };
            let (under, id, attempt) = (lease.clone(), Arc::clone(&id), Arc::clone(&attempt));
            let control = Arc::clone(&self.lambda.0.control);
            match self.store.transact(move |tx| finish(&control, tx, &under, &id, &attempt)).await {
                Ok(()) => return Ok(()),
                // The lease ran out: it is taken anew.
                Err(fault) if fault.kind() == FaultKind::Conflict => {}
                Err(fault) => {
                    self.pause(event, &fault).await;
                    held = Some(lease);
                }
            }
        }
    }

    async fn pause(&self, event: &Event, fault: &Fault) {
        tracing::error!(request_id = %event.request_id, ?fault, "an attempt cannot be written yet");
        self.lambda.0.control.env.sleep(WRITE_RETRY).await;
    }

    async fn next_due(&self) -> Result<Option<Duration>, Fault> {
        self.store
            .view(|tx| {
                let head = tx.snapshot_scan(&tables::events_due().prefix(), 1, Direction::Forward)?;
                let due = head.first().map(|(entry, _)| tables::read_event_due(entry)).transpose()?;
                Ok::<_, Fault>(due.map(|(due, _)| due.since(tx.now())))
            })
            .await
    }
}

impl<H: FunctionHost, L: LogSink> Reconciler for RunEvents<H, L> {
    const NAME: &'static str = "event invocations";
    /// The lease is renewed at least this often.
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        tables::events_due()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let worker = &self.0;
        let Some(lease) = worker.hold().await? else { return Ok(None) };
        loop {
            let (taken, more) = worker.take(&lease).await?;
            for event in taken {
                let worker = Arc::clone(worker);
                tokio::spawn(async move { worker.run(event).await });
            }
            if !more {
                break;
            }
        }
        let full = worker.running.lock().ids.len() >= RUNNING_MAX;
        if full { Ok(None) } else { worker.next_due().await }
    }
}

fn lost() -> Fault {
    Fault::new(FaultKind::Conflict, "write an attempt: another process has the queue")
}

fn function_of(event: &Event) -> FunctionKey {
    let place = Place { account: event.account, region: event.region.clone() };
    FunctionKey { place, name: event.name.clone() }
}

/// An attempt, and what its writing needs beside the event.
struct Attempted {
    attempt: Attempt,
    /// What the function answered, if it ran.
    response: Option<Response>,
    /// None when there is no function any more.
    ends: Option<Ends>,
}

impl Attempted {
    fn without_run(attempt: Attempt, ends: Option<Ends>) -> Self {
        Self { attempt, response: None, ends }
    }
}

/// Runs an event once.
async fn attempt<H: FunctionHost, L: LogSink>(lambda: &Lambda<H, L>, event: &Event) -> Attempted {
    match try_attempt(lambda, event).await {
        Ok(attempted) => attempted,
        Err(fault) => {
            tracing::error!(request_id = %event.request_id, ?fault, "an event invocation could not be attempted");
            Attempted::without_run(Attempt::Delayed, None)
        }
    }
}

async fn try_attempt<H: FunctionHost, L: LogSink>(lambda: &Lambda<H, L>, event: &Event) -> Result<Attempted, Fault> {
    let gone = || Attempted::without_run(Attempt::Gone, None);
    let qualifier = event.qualifier.as_deref().map(Qualifier::parse);
    let runner = &lambda.0.runner;
    let Some(route) = runner.route(&function_of(event), qualifier.as_ref()).await? else { return Ok(gone()) };
    if route.incarnation != event.incarnation {
        return Ok(gone());
    }
    let configuration = &route.plan().configuration;
    let ends = Ends { role: configuration.role.clone(), dead_letter: configuration.dead_letter_arn.clone() };
    if let Some(forbidden) = not_to_be_run(lambda, event, &route) {
        return Ok(forbidden.told(ends));
    }
    let key = tables::event_payload(&event.request_id);
    let payload = lambda.0.control.store.view(move |tx| EVENT_PAYLOADS.get(tx, &key)).await?;
    let Some(payload) = payload else { return Ok(gone()) };
    let call = Call {
        request_id: Arc::from(event.request_id.as_str()),
        payload: Bytes::from(payload.bytes),
        invoked_arn: match &event.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", route.arn),
            None => route.arn.to_string(),
        },
        trace: event.trace.clone().unwrap_or_default(),
        client_context: event.client_context.clone(),
        response: None,
        asynchronous: true,
    };
    Ok(match runner.call(&route, call).await {
        Ok(finished) => {
            let function_error = finished.answer.function_error;
            let response = Response {
                status: 200,
                executed_version: finished.version.to_string(),
                function_error,
                payload: finished.answer.payload,
            };
            let attempt = if function_error.is_none() { Attempt::Succeeded } else { Attempt::Failed };
            Attempted { attempt, response: Some(response), ends: Some(ends) }
        }
        Err(NotCalled::Fault(fault)) => return Err(fault),
        Err(NotCalled::Throttled(_)) if route.reserved_concurrency == Some(0) => {
            Attempted::without_run(Attempt::Blocked, Some(ends))
        }
        Err(reason) => {
            tracing::debug!(request_id = %event.request_id, ?reason, "an event invocation has to wait");
            Attempted::without_run(Attempt::Delayed, Some(ends))
        }
    })
}

/// Why an event is not run at all.
enum Forbidden {
    Expired,
    Recursive { version: String },
}

impl Forbidden {
    fn told(self, ends: Ends) -> Attempted {
        match self {
            Self::Expired => Attempted::without_run(Attempt::Expired, Some(ends)),
            Self::Recursive { version } => {
                let response = Response::recursive(version);
                Attempted { attempt: Attempt::Recursive, response: Some(response), ends: Some(ends) }
            }
        }
    }
}

fn not_to_be_run<H: FunctionHost, L: LogSink>(
    lambda: &Lambda<H, L>,
    event: &Event,
    route: &Route<L>,
) -> Option<Forbidden> {
    if event.is_expired(Policy::of(route.event_invoke.as_ref()), lambda.0.control.env.now()) {
        return Some(Forbidden::Expired);
    }
    let passed = event.trace.as_deref().map_or(0, |trace| Lineage::of(trace).count(route.passed));
    if passed <= PASSES_MAX || route.recursion_allowed {
        return None;
    }
    tracing::warn!(function = %route.arn, request_id = %event.request_id, passed, "an event was cut out of a loop");
    Some(Forbidden::Recursive { version: route.plan().version.clone() })
}

/// Writes what came of an attempt, and tells whom it may concern.
fn finish(control: &Control, tx: &Tx, lease: &Lease, id: &str, attempted: &Attempted) -> Result<(), Fault> {
    tx.require(lease)?;
    let key = tables::event(id);
    let Some(mut event) = EVENTS.get(tx, &key)? else { return Ok(()) };
    if event.running_under != Some(lease.fence()) {
        return Ok(());
    }
    let place = Place { account: event.account, region: event.region.clone() };
    let qualifier = event.qualifier.as_deref().unwrap_or("$LATEST");
    let config = EVENT_INVOKES.get(tx, &place.event_invoke(&event.incarnation, qualifier))?;
    match event.after(attempted.attempt, Policy::of(config.as_ref()), tx.now()) {
        Next::At(due) => {
            EVENTS.put(tx, &key, &event)?;
            make_due(tx, id, due)
        }
        Next::Done(outcome) => {
            tracing::debug!(request_id = id, ?outcome, "an event invocation is done");
            if let Some(ends) = &attempted.ends {
                control.tell(tx, &event, outcome, config.as_ref(), ends, attempted.response.as_ref())?;
            }
            EVENTS.remove(tx, &key)?;
            EVENT_PAYLOADS.remove(tx, &tables::event_payload(id))?;
            count(tx, -1, -signed(event.payload_bytes))?;
            tx.wake(&tables::events_due(), 1)
        }
    }
}
