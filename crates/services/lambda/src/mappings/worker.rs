//! Works one mapping off: looks into its queue as soon as there is something, and runs what it takes.
//!
//! Guarantees: no message waits for a poll (a hint of the commit that made it receivable starts the look); what was taken
//! and was not begun goes back to the queue at once when the mapping ends; what was begun is brought to its end, and who
//! waits for the worker waits for that, too.

use std::{sync::Arc, time::Duration};

use base_types::{Arn, Fault, FaultKind, Timestamp};
use compute_api::FunctionHost;
use parking_lot::Mutex;
use services_kernel::{Cx, Lineage, Principal, Source};
use services_ports::LogSink;
use store_api::Lease;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use super::{
    Mapping, Task,
    batch::Batch,
    filter::Filters,
    look::{Ask, BATCHES_MAX, LookError, Looked, Sight, Target, look},
    poll::Held,
    scale::Scale,
};
use crate::{
    Lambda,
    function::State as VersionState,
    invoke::{
        destinations::{Ends, session},
        routes::{FunctionKey, Route},
        runner::{Call, NotCalled},
    },
    names::Qualifier,
    tables::{MAPPINGS, Place},
};

/// A look without a hint, for a hint that was lost, and while something is wrong.
const CHECK: Duration = Duration::from_secs(10);
/// A look while messages wait for a batch to end: by then one more batch may be begun.
const PRESSED: Duration = Duration::from_millis(200);
/// A look while the function is not there or not ready.
const UNREADY: Duration = Duration::from_millis(500);
/// Before a throttled batch is tried again; doubles.
const THROTTLED_FIRST: Duration = Duration::from_millis(100);
const THROTTLED_MOST: Duration = Duration::from_secs(5);
/// How long before its messages come back a batch is not begun any more.
const MARGIN: Duration = Duration::from_secs(1);
/// Before what came of a batch is written again.
const WRITE_RETRY: Duration = Duration::from_millis(500);
/// Messages deleted in one transaction.
const DELETES_MAX: usize = 2000;

/// What all parts of a worker know.
pub(super) struct Worker<H: FunctionHost, L: LogSink> {
    pub(super) lambda: Lambda<H, L>,
    pub(super) held: Arc<Held>,
    pub(super) place: Place,
    pub(super) uuid: String,
    pub(super) source: Arn,
    /// Its mapping has changed: look.
    pub(super) nudge: Arc<Notify>,
    /// The server ends.
    pub(super) stop: watch::Receiver<bool>,
    /// True when nothing more is to be begun.
    pub(super) over: watch::Sender<bool>,
}

/// A batch under construction.
struct Gathered {
    batch: Batch,
    /// When it is run, full or not.
    due: Timestamp,
    until: Timestamp,
    visibility: Duration,
}

/// A batch that is to be run.
struct Begun<L> {
    batch: Batch,
    mapping: Arc<Mapping>,
    route: Arc<Route<L>>,
    until: Timestamp,
    /// Its visibility begins anew: it was gathered meanwhile.
    hide: Option<Duration>,
}

/// What a worker holds while it works.
struct Work {
    mapping: Arc<Mapping>,
    filters: Arc<Filters>,
    scale: Arc<Mutex<Scale>>,
    running: JoinSet<()>,
    gathered: Option<Gathered>,
    batches_max: usize,
    messages_max: usize,
}

impl Work {
    fn new(mapping: Arc<Mapping>, now: Timestamp) -> Self {
        // They were read when they were set.
        let filters = Arc::new(Filters::read(&mapping.settings.filters).unwrap_or_default());
        let scale = Arc::new(Mutex::new(Scale::new(&mapping.settings, now)));
        let (batches_max, messages_max) = (BATCHES_MAX, usize::MAX);
        Self { mapping, filters, scale, running: JoinSet::new(), gathered: None, batches_max, messages_max }
    }

    fn changed(&mut self, mapping: Arc<Mapping>) {
        self.filters = Arc::new(Filters::read(&mapping.settings.filters).unwrap_or_default());
        self.mapping = mapping;
    }
}

/// What follows a look.
enum Then {
    /// The next one, at once.
    Again,
    /// The next one, at this time at the latest.
    Wait(Duration),
    /// Nothing.
    End,
}

impl<H: FunctionHost, L: LogSink> Worker<H, L> {
    /// Works until the mapping ends, or the server.
    pub(super) async fn work(self: Arc<Self>, mapping: Mapping) {
        let env = self.lambda.0.control.env.clone();
        let store = self.lambda.0.control.store.clone();
        let Some(topic) = self.lambda.0.control.queues.topic(&self.source) else { return };
        let mut work = Work::new(Arc::new(mapping), env.now());
        let mut stop = self.stop.clone();
        while !*stop.borrow() {
            // Subscribe before looking: a message that comes in between must not be missed.
            let waiter = store.waiter(&topic);
            let pause = match self.step(&mut work).await {
                Then::Again => {
                    // What was just begun goes first: it is behind this task on this thread.
                    tokio::task::yield_now().await;
                    continue;
                }
                Then::End => break,
                Then::Wait(pause) => pause,
            };
            let full = work.running.len() >= work.scale.lock().limit(&work.mapping.settings);
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                () = self.nudge.notified() => {}
                () = waiter.wait(), if !full => {}
                Some(_) = work.running.join_next() => {}
                // A due time is in whole milliseconds: never look before it.
                () = env.sleep(pause.max(Duration::from_millis(1))) => {}
            }
        }
        self.over.send_replace(true);
        if let Some(gathered) = work.gathered.take() {
            self.give_back(&work.mapping, &gathered.batch).await;
        }
        while work.running.join_next().await.is_some() {}
    }

    /// One look and what follows from it.
    async fn step(self: &Arc<Self>, work: &mut Work) -> Then {
        while work.running.try_join_next().is_some() {}
        let route = match self.route(&work.mapping).await {
            Ok(Ok(route)) => route,
            Ok(Err(problem)) => return self.wait_for_function(work, problem).await,
            Err(fault) => return self.failed(&fault).await,
        };
        let lease = match self.held.current().await {
            Ok(Some(lease)) => lease,
            Ok(None) => return Then::End,
            Err(fault) => return self.failed(&fault).await,
        };
        if self.due(work, &route) {
            return Then::Again;
        }
        let ask = self.ask(work, &route);
        match self.look(lease, ask).await {
            Ok(Looked::Over) => Then::End,
            Ok(Looked::Changed(mapping)) => {
                work.changed(mapping);
                Then::Again
            }
            Ok(Looked::Saw(sight)) => {
                self.tell(work, None).await;
                self.saw(work, &route, *sight)
            }
            Err(LookError::TooLarge { batches: 0, messages: 0 }) => {
                // The batch that is being gathered is as large as it may be.
                if let Some(gathered) = &mut work.gathered {
                    gathered.due = Timestamp::EPOCH;
                }
                Then::Again
            }
            Err(LookError::TooLarge { batches, messages }) => {
                // Nothing was taken: as much as fits is taken now.
                if batches == 0 {
                    work.messages_max = messages;
                }
                work.batches_max = batches.max(1);
                Then::Again
            }
            Err(LookError::Queue(error)) => {
                self.tell(work, Some(error.to_string())).await;
                Then::Wait(CHECK)
            }
            Err(LookError::Fault(fault)) => self.failed(&fault).await,
        }
    }

    /// There is nobody to be called: nothing is taken, but the mapping may end or be changed all the same.
    async fn wait_for_function(&self, work: &mut Work, problem: Option<String>) -> Then {
        let key = self.place.mapping(&self.uuid);
        match self.lambda.0.control.store.view(move |tx| MAPPINGS.get(tx, &key)).await {
            Ok(Some(mapping)) if mapping.task() == Task::Work => {
                if mapping.revision != work.mapping.revision {
                    work.changed(Arc::new(mapping));
                    return Then::Again;
                }
                self.tell(work, problem).await;
                Then::Wait(UNREADY)
            }
            Ok(_) => Then::End,
            Err(fault) => self.failed(&fault).await,
        }
    }

    async fn failed(&self, fault: &Fault) -> Then {
        if fault.kind() != FaultKind::Conflict {
            tracing::error!(mapping = %self.uuid, ?fault, "a queue could not be looked into");
            return Then::Wait(UNREADY);
        }
        // The lease was lost: it is asked for anew.
        match self.held.hold().await {
            Ok(None) => Then::End,
            Ok(Some(_)) | Err(_) => Then::Wait(UNREADY),
        }
    }

    async fn look(&self, lease: Lease, ask: Ask) -> Result<Looked, LookError> {
        let control = Arc::clone(&self.lambda.0.control);
        self.lambda.0.control.store.transact(move |tx| look(&control, tx, &lease, &ask)).await
    }

    fn ask(&self, work: &Work, route: &Route<L>) -> Ask {
        let configuration = &route.plan().configuration;
        Ask {
            place: self.place.clone(),
            uuid: self.uuid.clone(),
            source: self.source.clone(),
            cx: self.cx(&work.mapping, &configuration.role),
            mapping: Arc::clone(&work.mapping),
            filters: Arc::clone(&work.filters),
            scale: *work.scale.lock(),
            busy: work.running.len(),
            gathered: work.gathered.as_ref().map(|gathered| gathered.batch.continuation()).unwrap_or_default(),
            batches_max: work.batches_max,
            messages_max: work.messages_max,
            function: Target {
                passed: route.passed,
                recursion_allowed: route.recursion_allowed,
                incarnation: route.incarnation.clone(),
                version: route.plan().version.clone(),
                event_invoke: route.event_invoke.clone(),
                ends: Ends { role: configuration.role.clone(), dead_letter: configuration.dead_letter_arn.clone() },
            },
        }
    }

    /// The context of what is done with the queue: the function's role does it.
    pub(super) fn cx(&self, mapping: &Mapping, role: &str) -> Cx {
        let Place { account, region } = &self.place;
        let cx = Cx::internal(*account, region.clone(), &self.uuid);
        let arn = cx.arn("lambda", format!("event-source-mapping:{}", self.uuid));
        let principal: Principal = session(role, *account, &mapping.function);
        Cx {
            principal: Arc::new(principal),
            source: Some(Arc::new(Source { service: "lambda.amazonaws.com".to_owned(), arn })),
            ..cx
        }
    }

    /// The function, if it can be called; the inner error is why not, if somebody has to be told.
    pub(super) async fn route(&self, mapping: &Mapping) -> Result<Result<Arc<Route<L>>, Option<String>>, Fault> {
        let key = FunctionKey { place: self.place.clone(), name: mapping.function.clone() };
        let qualifier = mapping.qualifier.as_deref().map(Qualifier::parse);
        let Some(route) = self.lambda.0.runner.route(&key, qualifier.as_ref()).await? else {
            let named = mapping.qualifier.as_ref().map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
            return Ok(Err(Some(format!("Function not found: {}{named}", mapping.function))));
        };
        Ok(match &route.first().state {
            // Nobody may be called: the messages stay where they are, uncounted.
            _ if route.reserved_concurrency == Some(0) => {
                Err(Some("The function's reserved concurrency is zero.".to_owned()))
            }
            VersionState::Active => Ok(route),
            VersionState::Pending => Err(None),
            VersionState::Failed { .. } => Err(Some("The function is in state Failed.".to_owned())),
        })
    }

    /// Writes what is wrong with the mapping, or that nothing is any more.
    async fn tell(&self, work: &mut Work, problem: Option<String>) {
        if work.mapping.problem == problem {
            return;
        }
        let Ok(Some(lease)) = self.held.current().await else { return };
        let (key, revision) = (self.place.mapping(&self.uuid), work.mapping.revision);
        let mapping = Mapping { problem, ..Mapping::clone(&work.mapping) };
        let told = mapping.clone();
        let written = self.lambda.0.control.store.transact(move |tx| {
            tx.require(&lease)?;
            match MAPPINGS.get(tx, &key)? {
                Some(found) if found.revision == revision => {
                    MAPPINGS.put(tx, &key, &Mapping { problem: told.problem.clone(), ..found })
                }
                _ => Ok::<_, Fault>(()),
            }
        });
        match written.await {
            Ok(()) => work.mapping = Arc::new(mapping),
            // It is told with the next look.
            Err(fault) => tracing::warn!(mapping = %self.uuid, ?fault, "a mapping's state could not be written"),
        }
    }

    /// Runs the batch that was gathered, if its time has come. True when it was.
    fn due(self: &Arc<Self>, work: &mut Work, route: &Arc<Route<L>>) -> bool {
        let size = usize::try_from(work.mapping.settings.batch_size).unwrap_or(usize::MAX);
        let now = self.lambda.0.control.env.now();
        let Some(gathered) = work.gathered.take_if(|gathered| gathered.due <= now || gathered.batch.count() >= size)
        else {
            return false;
        };
        work.messages_max = usize::MAX;
        work.batches_max = BATCHES_MAX;
        self.begin(work, route, gathered.batch, gathered.until, Some(gathered.visibility));
        true
    }

    fn saw(self: &Arc<Self>, work: &mut Work, route: &Arc<Route<L>>, sight: Sight) -> Then {
        let now = self.lambda.0.control.env.now();
        let settings = &work.mapping.settings;
        work.scale.lock().looked(settings, sight.full && (sight.some || !work.running.is_empty()), now);
        (work.batches_max, work.messages_max) = (BATCHES_MAX, usize::MAX);
        let window = Duration::from_secs(settings.window_seconds.into());
        for batch in sight.batches {
            if window.is_zero() {
                self.begin(work, route, batch, sight.until, None);
                continue;
            }
            match &mut work.gathered {
                Some(gathered) => {
                    gathered.batch.extend(batch);
                    // What came first comes back first.
                    gathered.until = gathered.until.min(sight.until);
                }
                None => {
                    let visibility = sight.traits.visibility;
                    work.gathered = Some(Gathered { batch, due: now + window, until: sight.until, visibility });
                }
            }
        }
        if sight.some {
            return Then::Again;
        }
        let due = [sight.next_due, work.gathered.as_ref().map(|gathered| gathered.due)].into_iter().flatten().min();
        let pause = due.map_or(CHECK, |due| due.since(now)).min(if sight.full { PRESSED } else { CHECK });
        Then::Wait(pause)
    }

    fn begin(
        self: &Arc<Self>,
        work: &mut Work,
        route: &Arc<Route<L>>,
        batch: Batch,
        until: Timestamp,
        hide: Option<Duration>,
    ) {
        let begun = Begun { batch, mapping: Arc::clone(&work.mapping), route: Arc::clone(route), until, hide };
        let (worker, scale) = (Arc::clone(self), Arc::clone(&work.scale));
        work.running.spawn(async move { worker.run(begun, &scale).await });
    }

    /// Runs a batch to its end.
    async fn run(&self, mut begun: Begun<L>, scale: &Mutex<Scale>) {
        let env = &self.lambda.0.control.env;
        let runner = &self.lambda.0.runner;
        if let Some(visibility) = begun.hide {
            begun.until = env.now() + visibility;
            self.hide(&begun.mapping, &begun.route, &begun.batch, visibility).await;
        }
        let (request_id, event) = (Arc::<str>::from(env.uuid()), begun.batch.event());
        let trace = self.trace(&begun);
        let mut pause = THROTTLED_FIRST;
        let mut over = self.over.subscribe();
        loop {
            let call = Call {
                request_id: Arc::clone(&request_id),
                payload: event.clone(),
                invoked_arn: match &begun.mapping.qualifier {
                    Some(qualifier) => format!("{}:{qualifier}", begun.route.arn),
                    None => begun.route.arn.to_string(),
                },
                trace: trace.clone(),
                client_context: None,
                response: None,
                asynchronous: false,
            };
            match runner.call(&begun.route, call).await {
                Ok(finished) => {
                    let done = match finished.answer.function_error {
                        // They come back when their visibility ends.
                        Some(_) => return,
                        None if begun.mapping.settings.reports_items => begun.batch.done(&finished.answer.payload),
                        None => begun.batch.receipts(),
                    };
                    return self.finish(&begun, done).await;
                }
                Err(NotCalled::Unrunnable(why)) => {
                    tracing::warn!(mapping = %self.uuid, why, "the function of a mapping cannot be run on this host");
                    return;
                }
                Err(NotCalled::Fault(fault)) if fault.kind() == FaultKind::Unavailable => {
                    return self.give_back(&begun.mapping, &begun.batch).await;
                }
                Err(reason) => {
                    tracing::debug!(mapping = %self.uuid, ?reason, "a batch has to wait");
                    scale.lock().throttled(env.now());
                }
            }
            if env.now() + pause + MARGIN >= begun.until {
                // They come back by themselves.
                return;
            }
            tokio::select! {
                () = env.sleep(pause) => {}
                // Nothing was begun: they go back now.
                () = ended(&mut over) => return self.give_back(&begun.mapping, &begun.batch).await,
            }
            pause = (pause * 2).min(THROTTLED_MOST);
            if let Ok(Ok(route)) = self.route(&begun.mapping).await {
                begun.route = route;
            }
        }
    }

    /// The trace header of a batch: that of its message if it has one only, and the lineages of all.
    fn trace(&self, begun: &Begun<L>) -> String {
        let mut lineage = Lineage::default();
        let traces = begun.batch.items().iter().filter_map(|item| item.trace.as_deref());
        traces.for_each(|trace| lineage.merge(&Lineage::of(trace)));
        lineage.pass(begun.route.passed);
        let only = match begun.batch.items() {
            [item] => item.trace.as_deref().filter(|trace| trace.contains("Root=")).map(Arc::from),
            _ => None,
        };
        lineage.apply(&self.lambda.0.runner.trace(only.as_ref()))
    }

    /// Deletes what was worked off.
    async fn finish(&self, begun: &Begun<L>, done: Vec<String>) {
        let cx = self.cx(&begun.mapping, &begun.route.plan().configuration.role);
        let mut left = done;
        while !left.is_empty() {
            let part: Arc<[String]> = left.drain(..left.len().min(DELETES_MAX)).collect();
            loop {
                match self.delete(&cx, Arc::clone(&part)).await {
                    Ok(()) => break,
                    Err(fault) if self.lambda.0.control.env.now() < begun.until => {
                        tracing::error!(mapping = %self.uuid, ?fault, "a batch that was worked off cannot be written yet");
                        self.lambda.0.control.env.sleep(WRITE_RETRY).await;
                    }
                    // They have come back, or come back now: somebody works them off again.
                    Err(fault) => {
                        tracing::error!(mapping = %self.uuid, ?fault, "a batch that was worked off could not be written");
                        return;
                    }
                }
            }
        }
    }

    async fn delete(&self, cx: &Cx, receipts: Arc<[String]>) -> Result<(), Fault> {
        let lease = self.held.current().await?.ok_or_else(lost)?;
        let (queues, cx, source) = (Arc::clone(&self.lambda.0.control.queues), cx.clone(), self.source.clone());
        let deleted = self.lambda.0.control.store.transact(move |tx| {
            tx.require(&lease)?;
            let receipts: Vec<&str> = receipts.iter().map(String::as_str).collect();
            // A queue that is gone, or may not be used any more, has no messages for us.
            Ok(queues.delete(&cx, tx, &source, &receipts)?)
        });
        match deleted.await {
            Ok(()) | Err(LookError::Queue(_) | LookError::TooLarge { .. }) => Ok(()),
            Err(LookError::Fault(fault)) => Err(fault),
        }
    }

    /// Makes messages receivable that nobody was called with.
    async fn give_back(&self, mapping: &Mapping, batch: &Batch) {
        if let Ok(Ok(route)) = self.route(mapping).await {
            self.hide(mapping, &route, batch, Duration::ZERO).await;
        }
    }

    async fn hide(&self, mapping: &Mapping, route: &Route<L>, batch: &Batch, visibility: Duration) {
        let cx = self.cx(mapping, &route.plan().configuration.role);
        let receipts = batch.receipts();
        // Whoever has the lease now decides what becomes of them.
        let Ok(Some(lease)) = self.held.current().await else { return };
        for part in receipts.chunks(DELETES_MAX) {
            let part: Arc<[String]> = Arc::from(part);
            let (queues, cx, source) = (Arc::clone(&self.lambda.0.control.queues), cx.clone(), self.source.clone());
            let lease = lease.clone();
            let hidden = self.lambda.0.control.store.transact(move |tx| {
                tx.require(&lease)?;
                let receipts: Vec<&str> = part.iter().map(String::as_str).collect();
                Ok::<_, LookError>(queues.hide(&cx, tx, &source, &receipts, visibility)?)
            });
            if let Err(error) = hidden.await {
                // They come back when the visibility ends that they have.
                tracing::warn!(mapping = %self.uuid, ?error, "the visibility of messages could not be changed");
                return;
            }
        }
    }
}

/// Resolves when nothing more is to be begun. The guard of what it waits for must not live in the caller's state.
async fn ended(over: &mut watch::Receiver<bool>) {
    drop(over.wait_for(|over| *over).await);
}

fn lost() -> Fault {
    Fault::new(FaultKind::Conflict, "work a queue off: another process has the mappings")
}
