//! Works one lane off: gathers a batch, calls the function with it, writes what came of it.

use std::{sync::Arc, time::Duration};

use base_types::{Arn, Fault, FaultKind, Timestamp};
use bytes::Bytes;
use compute_api::{FunctionHost, PAYLOAD_BYTES_MAX};
use services_kernel::Lineage;
use services_ports::{DeliveryError, LogSink};
use store_api::Waiter;
use tokio::sync::watch;

use super::{
    batch::{Batch, Condition, Frame, GivenUp, Item, state_of},
    lane::{Lane, Next, Patience, Window},
    look::{Ask, LaneName, LookError, Looked, look, lost, write},
    settings::StreamSettings,
};
use crate::{
    invoke::{
        routes::Route,
        runner::{Call, Finished, NotCalled},
    },
    mappings::{Mapping, filter::Filters, worker::Worker},
};

/// A look without a hint, for a hint that was lost; and how long a lane that only passes records over remembers that
/// without writing it.
const CHECK: Duration = Duration::from_secs(10);
/// A look while the function is not there or not ready, or something is wrong.
const UNREADY: Duration = Duration::from_millis(500);
/// Before a throttled batch is tried again; doubles.
const THROTTLED_FIRST: Duration = Duration::from_millis(100);
const THROTTLED_MOST: Duration = Duration::from_secs(5);
/// How long after a window's end what came before it may still be on its way.
const WINDOW_GRACE: Duration = Duration::from_millis(250);
/// What AWS says of a batch that was done, and of one that was not.
const DONE: &str = "OK";
const FAILED: &str = "PROBLEM: Function call failed";

/// Works a lane off.
pub(super) struct LaneTask<H: FunctionHost, L: LogSink> {
    worker: Arc<Worker<H, L>>,
    mapping: Arc<Mapping>,
    filters: Filters,
    name: LaneName,
    /// As it is written.
    lane: Lane,
    gathered: Gathered,
    throttled: Duration,
}

/// A batch under construction.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    /// Everything up to here was looked at.
    seen: Option<String>,
    /// When the first record was found.
    since: Option<Timestamp>,
    /// Nothing more fits, or nothing more belongs to it.
    full: bool,
    /// Whether what is there was looked at to its end, and whether that is the end of the shard.
    complete: bool,
    ended: bool,
    /// When something was passed over that is not written yet.
    passed_over: Option<Timestamp>,
}

/// What follows from a step.
enum Then {
    Again,
    Wait(Duration),
    /// Wait, whatever comes.
    Pause(Duration),
    End,
    /// The end, after a while: who divides the shards begins anew with what is written.
    Fail,
}

impl<H: FunctionHost, L: LogSink> LaneTask<H, L> {
    pub(super) fn new(worker: Arc<Worker<H, L>>, mapping: Arc<Mapping>, name: LaneName, lane: Lane) -> Self {
        let filters = Filters::read(&mapping.settings.filters).unwrap_or_default();
        let (gathered, throttled) = (Gathered::default(), THROTTLED_FIRST);
        Self { worker, mapping, filters, name, lane, gathered, throttled }
    }

    /// Works until the shard ends, the mapping does, or it is told to rest.
    pub(super) async fn work(mut self, mut rest: watch::Receiver<bool>) {
        let control = Arc::clone(&self.worker.lambda.0.control);
        let topic = control.streams.of(&self.worker.source).ok().and_then(|source| source.topic(&self.worker.source));
        while !*rest.borrow_and_update() {
            // Subscribe before looking: a record that comes in between must not be missed.
            let waiter = topic.as_ref().map(|topic| control.store.waiter(topic));
            let (pause, listens) = match self.step().await {
                Then::Again => continue,
                Then::End => break,
                Then::Fail => {
                    control.env.sleep(UNREADY).await;
                    break;
                }
                Then::Wait(pause) => (pause, true),
                Then::Pause(pause) => (pause, false),
            };
            tokio::select! {
                changed = rest.changed() => if changed.is_err() { break },
                () = hint(waiter), if listens => {}
                () = control.env.sleep(pause.max(Duration::from_millis(1))) => {}
            }
        }
    }

    fn settings(&self) -> Option<&StreamSettings> {
        self.mapping.settings.stream.as_ref()
    }

    fn patience(&self) -> Patience {
        let settings = self.settings();
        Patience {
            bisects: settings.is_some_and(|settings| settings.bisects),
            retries_max: settings.and_then(|settings| settings.retries_max),
        }
    }

    fn tumbling(&self) -> u32 {
        self.settings().map_or(0, |settings| settings.tumbling_seconds)
    }

    /// One look and what follows from it.
    async fn step(&mut self) -> Then {
        let route = match self.worker.route(&self.mapping).await {
            Ok(Ok(route)) => route,
            Ok(Err(problem)) => return self.without_function(problem).await,
            Err(fault) => return self.broken(&fault),
        };
        match self.look(&route).await {
            Ok(Looked::Over) => return Then::End,
            Ok(Looked::Changed(mapping)) => return self.changed(mapping),
            Ok(Looked::Saw(page)) => self.gather(page),
            Err(LookError::Stream(error)) => {
                self.worker.say(&self.mapping, &format!("PROBLEM: {error}")).await;
                return Then::Fail;
            }
            Err(LookError::Fault(fault)) => return self.broken(&fault),
        }
        let outcome = self.follow(&route).await;
        outcome.unwrap_or_else(|fault| self.broken(&fault))
    }

    async fn without_function(&mut self, problem: Option<String>) -> Then {
        if let Some(problem) = problem {
            self.worker.say(&self.mapping, &format!("PROBLEM: {problem}")).await;
        }
        // The mapping may end or be changed all the same.
        let key = self.worker.place.mapping(&self.worker.uuid);
        match self.worker.lambda.0.control.store.view(move |tx| crate::tables::MAPPINGS.get(tx, &key)).await {
            Ok(Some(mapping)) if mapping.task() == crate::mappings::Task::Work => {
                if mapping.revision != self.mapping.revision {
                    return self.changed(Arc::new(mapping));
                }
                Then::Wait(UNREADY)
            }
            Ok(_) => Then::End,
            Err(fault) => self.broken(&fault),
        }
    }

    fn broken(&self, fault: &Fault) -> Then {
        // A conflict: the lease was lost. Who divides the shards finds out.
        if fault.kind() != FaultKind::Conflict {
            tracing::error!(mapping = %self.worker.uuid, shard = %self.name.shard, ?fault, "a shard could not be worked off");
        }
        Then::Fail
    }

    fn changed(&mut self, mapping: Arc<Mapping>) -> Then {
        let lanes = mapping.settings.stream.as_ref().map(StreamSettings::lanes);
        if lanes != Some(self.lane.shares) {
            return Then::End;
        }
        self.filters = Filters::read(&mapping.settings.filters).unwrap_or_default();
        self.mapping = mapping;
        self.gathered = Gathered::default();
        Then::Again
    }

    async fn look(&self, route: &Route<L>) -> Result<Looked, LookError> {
        let control = Arc::clone(&self.worker.lambda.0.control);
        let size = usize::try_from(self.mapping.settings.batch_size).unwrap_or(usize::MAX);
        let ask = Ask {
            place: self.worker.place.clone(),
            uuid: self.worker.uuid.clone(),
            source: self.worker.source.clone(),
            cx: self.worker.cx(&self.mapping, &route.plan().configuration.role),
            revision: self.mapping.revision,
            name: self.name.clone(),
            shares: self.lane.shares,
            after: self.gathered.seen.clone().or_else(|| self.lane.after.clone()),
            until: self.lane.parts.first().map(|part| part.to.clone()),
            most: size.saturating_sub(self.gathered.batch.items().len()).max(1),
            bytes: PAYLOAD_BYTES_MAX,
        };
        self.worker.lambda.0.control.store.view(move |tx| look(&control, tx, &ask)).await
    }

    /// Takes records into the batch, as long as they fit and belong to it.
    fn gather(&mut self, page: services_ports::ShardPage) {
        let now = self.worker.lambda.0.control.env.now();
        let size = usize::try_from(self.mapping.settings.batch_size).unwrap_or(usize::MAX);
        let tumbling = self.tumbling();
        let gathered = &mut self.gathered;
        gathered.full = gathered.batch.items().len() >= size;
        for record in page.records {
            if gathered.full {
                return;
            }
            if self.filters.pass(&record.record) {
                if tumbling > 0 {
                    let window = Window::of(record.arrived, tumbling);
                    let open = self.lane.window.get_or_insert(window.clone());
                    // A batch is of one window. What comes late belongs to the window that is open.
                    if window.start > open.start {
                        gathered.full = true;
                        return;
                    }
                }
                let state_bytes = self.lane.window.as_ref().map_or(0, |window| window.state.len());
                if gathered.batch.push(Item::new(&record), state_bytes).is_err() {
                    gathered.full = true;
                    return;
                }
                gathered.since.get_or_insert(now);
                gathered.full = gathered.batch.items().len() >= size;
            } else {
                gathered.passed_over.get_or_insert(now);
            }
            gathered.seen = Some(record.sequence);
        }
        if let Some(after) = page.after {
            if gathered.seen.as_ref() != Some(&after) {
                gathered.passed_over.get_or_insert(now);
            }
            gathered.seen = Some(after);
        }
        (gathered.complete, gathered.ended) = (page.complete, page.ended);
    }

    /// What follows from what was gathered.
    async fn follow(&mut self, route: &Arc<Route<L>>) -> Result<Then, Fault> {
        let now = self.worker.lambda.0.control.env.now();
        if let Some(age) = self.settings().and_then(StreamSettings::age_max) {
            let since = Timestamp::from_millis(
                now.as_millis().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            );
            let older = self.gathered.batch.take_older(since);
            if let Some(last) = older.items().last().map(|item| item.sequence.clone()) {
                let attempts = self.lane.failures().max(1);
                self.lane.done(&last);
                let reached = self.lane.parts.is_empty();
                self.give_up(route, &older, (Condition::RecordAgeExceeded, attempts), None, None).await?;
                if reached && self.gathered.batch.is_empty() {
                    self.gathered = Gathered::default();
                }
                return Ok(Then::Again);
            }
        }
        let part = self.lane.parts.first().map(|part| part.to.clone());
        if !self.gathered.batch.is_empty() {
            let window = Duration::from_secs(self.mapping.settings.window_seconds.into());
            let due = self.gathered.since.unwrap_or(now) + window;
            let whole = self.gathered.full
                || (self.gathered.complete && (part.is_some() || self.gathered.ended || due <= now))
                || self.closes(now);
            if whole {
                return self.run(route).await;
            }
            if !self.gathered.complete {
                return Ok(Then::Again);
            }
            let due = self.lane.window.as_ref().map_or(due, |window| due.min(window.end() + WINDOW_GRACE));
            return Ok(Then::Wait(due.since(now).min(CHECK)));
        }
        if let Some(to) = part.filter(|_| self.gathered.complete) {
            // What was to be tried again is gone, or kept out now.
            self.lane.done(&to);
            self.gathered = Gathered::default();
            self.write(None).await?;
            return Ok(Then::Again);
        }
        if self.lane.window.is_some() && (self.gathered.full || (self.gathered.complete && self.closes(now))) {
            return self.finish_window(route).await;
        }
        if !self.gathered.complete {
            return Ok(Then::Again);
        }
        self.idle(now).await
    }

    /// Whether the open window's time is over, or nothing more can come in it.
    fn closes(&self, now: Timestamp) -> bool {
        let Some(window) = &self.lane.window else { return false };
        window.early || self.gathered.ended || window.end() + WINDOW_GRACE <= now
    }

    /// There is nothing to be done.
    async fn idle(&mut self, now: Timestamp) -> Result<Then, Fault> {
        let ended = self.gathered.ended;
        let written = self.gathered.passed_over.is_some_and(|since| ended || since + CHECK <= now);
        if written {
            if let Some(seen) = self.gathered.seen.take() {
                self.lane.after = Some(seen);
            }
            self.gathered.passed_over = None;
        }
        if ended {
            self.lane.ended = true;
        }
        if written || ended {
            self.write(None).await?;
        }
        if ended {
            return Ok(Then::End);
        }
        let due = self.lane.window.as_ref().map_or(CHECK, |window| (window.end() + WINDOW_GRACE).since(now));
        Ok(Then::Wait(due.min(CHECK)))
    }

    /// Calls the function with the batch.
    async fn run(&mut self, route: &Arc<Route<L>>) -> Result<Then, Fault> {
        let request_id = Arc::<str>::from(self.worker.lambda.0.control.env.uuid());
        let source = self.mapping.source.clone();
        let frame = |window| Frame { window, shard: &self.name.shard, source: &source, last: false };
        let event = self.gathered.batch.event(self.lane.window.as_ref().map(frame));
        let finished = match self.call(route, &request_id, event).await {
            Ok(finished) => finished,
            Err(then) => return Ok(then),
        };
        let Gathered { batch, seen, full, .. } = std::mem::take(&mut self.gathered);
        let reports = self.mapping.settings.reports_items;
        let first = match &finished.answer.function_error {
            Some(_) => Some(0),
            None if reports => batch.first_failed(&finished.answer.payload),
            None => None,
        };
        let Some(first) = first else {
            let last = batch.items().last().map(|item| item.sequence.clone()).unwrap_or_default();
            // What was passed over behind the last record is done with, too, unless the batch ended before it.
            let upto = seen.filter(|_| !full && self.lane.parts.is_empty()).unwrap_or(last);
            self.lane.done(&upto);
            self.keep_state(&finished.answer.payload);
            self.write(Some(DONE)).await?;
            return Ok(Then::Again);
        };
        let patience = self.patience();
        match self.lane.failed(&batch.sequences(), first, patience) {
            Next::Again(pause) => {
                self.write(Some(FAILED)).await?;
                Ok(if pause.is_zero() { Then::Again } else { Then::Pause(pause) })
            }
            Next::GiveUp(attempts) => {
                let mut batch = batch;
                if let Some(first) = batch.items().get(first).map(|item| item.sequence.clone()) {
                    batch = batch.from(&first);
                }
                if let Some(last) = batch.items().last().map(|item| item.sequence.clone()) {
                    self.lane.done(&last);
                }
                let error = finished.answer.function_error.map(|error| error.to_string());
                let response = Some((finished.version.to_string(), error));
                let told = (Condition::RetryAttemptsExhausted, attempts);
                self.give_up(route, &batch, told, Some(&request_id), response).await?;
                Ok(Then::Again)
            }
        }
    }

    fn keep_state(&mut self, answer: &[u8]) {
        if let Some(window) = &mut self.lane.window {
            match state_of(answer) {
                Ok(state) => window.state = state,
                Err(bytes) => {
                    tracing::warn!(mapping = %self.worker.uuid, bytes, "the state of a window is too large: the window ends");
                    window.early = true;
                }
            }
        }
    }

    /// The last call of a window.
    async fn finish_window(&mut self, route: &Arc<Route<L>>) -> Result<Then, Fault> {
        let now = self.worker.lambda.0.control.env.now();
        let Some(mut window) = self.lane.window.clone() else { return Ok(Then::Again) };
        window.early |= self.gathered.ended && window.end() > now;
        let request_id = Arc::<str>::from(self.worker.lambda.0.control.env.uuid());
        let frame = Frame { window: &window, shard: &self.name.shard, source: &self.mapping.source, last: true };
        let event = Batch::default().event(Some(frame));
        let finished = match self.call(route, &request_id, event).await {
            Ok(finished) => finished,
            Err(then) => return Ok(then),
        };
        self.gathered = Gathered::default();
        let failed = finished.answer.function_error.is_some();
        let mut then = Then::Again;
        let next = failed.then(|| window.failed(self.patience()));
        self.lane.window = match next {
            Some(Next::Again(pause)) => {
                then = Then::Pause(pause);
                Some(window)
            }
            Some(Next::GiveUp(attempts)) => {
                tracing::warn!(mapping = %self.worker.uuid, attempts, "the end of a window is given up with its state");
                None
            }
            None => None,
        };
        self.write(Some(if failed { FAILED } else { DONE })).await?;
        Ok(then)
    }

    /// Calls the function; what is to be done when that was not possible.
    async fn call(&mut self, route: &Arc<Route<L>>, request_id: &Arc<str>, payload: Bytes) -> Result<Finished, Then> {
        let runner = &self.worker.lambda.0.runner;
        let mut lineage = Lineage::default();
        lineage.pass(route.passed);
        let call = Call {
            request_id: Arc::clone(request_id),
            payload,
            invoked_arn: self.function(route),
            trace: lineage.apply(&runner.trace(None)),
            client_context: None,
            response: None,
            asynchronous: false,
        };
        let reason = match runner.call(route, call).await {
            Ok(finished) => {
                self.throttled = THROTTLED_FIRST;
                return Ok(finished);
            }
            Err(reason) => reason,
        };
        match reason {
            NotCalled::Unrunnable(why) => {
                tracing::warn!(mapping = %self.worker.uuid, why, "the function of a mapping cannot be run on this host");
                self.worker.say(&self.mapping, &format!("PROBLEM: {why}")).await;
            }
            NotCalled::Fault(fault) if fault.kind() == FaultKind::Unavailable => return Err(Then::Pause(UNREADY)),
            reason => tracing::debug!(mapping = %self.worker.uuid, ?reason, "a batch has to wait"),
        }
        // What is too old by then is given up: it is looked at again.
        self.gathered = Gathered::default();
        let pause = self.throttled;
        self.throttled = (pause * 2).min(THROTTLED_MOST);
        Err(Then::Pause(pause))
    }

    fn function(&self, route: &Route<L>) -> String {
        match &self.mapping.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", route.arn),
            None => route.arn.to_string(),
        }
    }

    /// Writes how far the lane is.
    async fn write(&mut self, result: Option<&'static str>) -> Result<(), Fault> {
        let lease = self.worker.held.current().await?.ok_or_else(lost)?;
        let (place, uuid) = (self.worker.place.clone(), self.worker.uuid.clone());
        let (name, lane) = (self.name.clone(), self.lane.clone());
        let written = move |tx: &store_api::Tx| write(tx, &lease, (&place, &uuid), &name, &lane, result);
        self.worker.lambda.0.control.store.transact(written).await.map(|_| ())
    }

    /// Writes how far the lane is, and tells in the same commit what was given up.
    async fn give_up(
        &mut self,
        route: &Route<L>,
        batch: &Batch,
        (condition, attempts): (Condition, u32),
        request_id: Option<&str>,
        response: Option<(String, Option<String>)>,
    ) -> Result<(), Fault> {
        let control = Arc::clone(&self.worker.lambda.0.control);
        let lease = self.worker.held.current().await?.ok_or_else(lost)?;
        let target = self.settings().and_then(|settings| settings.on_failure.as_deref());
        let target: Option<Arn> = target.and_then(|target| target.parse().ok());
        let (function, fresh) = (self.function(route), control.env.uuid());
        let given_up = GivenUp {
            items: batch.items(),
            condition,
            attempts,
            request_id: request_id.unwrap_or(&fresh),
            function: &function,
            shard: &self.name.shard,
            stream: &self.mapping.source,
            response: response.as_ref().map(|(version, error)| (version.as_str(), error.as_deref())),
        };
        let delivery = given_up.delivery(control.env.now());
        let cx = self.worker.cx(&self.mapping, &route.plan().configuration.role);
        let cx = services_kernel::Cx {
            source: route
                .arn
                .parse()
                .ok()
                .map(|arn| Arc::new(services_kernel::Source { service: "lambda.amazonaws.com".to_owned(), arn })),
            ..cx
        };
        let (place, uuid) = (self.worker.place.clone(), self.worker.uuid.clone());
        let (name, lane) = (self.name.clone(), self.lane.clone());
        let store = control.store.clone();
        let written = store.transact(move |tx| {
            if !write(tx, &lease, (&place, &uuid), &name, &lane, Some(FAILED))? {
                return Ok(());
            }
            let (Some(target), Some(delivery)) = (&target, &delivery) else { return Ok(()) };
            match control.destinations.deliver(&cx, tx, target, delivery) {
                Ok(()) => Ok(()),
                Err(DeliveryError::Fault(fault)) => Err(fault),
                Err(error) => {
                    tracing::warn!(mapping = uuid, %target, %error, "what was given up of a stream could not be told");
                    Ok(())
                }
            }
        });
        written.await
    }
}

async fn hint(waiter: Option<Waiter>) {
    match waiter {
        Some(waiter) => waiter.wait().await,
        None => std::future::pending().await,
    }
}
