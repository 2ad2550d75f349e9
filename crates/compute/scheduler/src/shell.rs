//! The scheduler as callers see it: performs what the core decides.
//!
//! One mutex guards the core; it is held for a decision, never across an await. A warm invocation takes it twice and
//! allocates nothing here. Starts, stops and watches are tasks of their own.

use std::{future::Future, sync::Arc, time::Duration};

use base_env::{Elapsed, Env};
use base_types::{AccountId, Fault, FaultKind, Region};
use compute_api::{
    Completion, Environment, EnvironmentSpec, FunctionHost, InitializationType, Invocation, IsolationLevel,
    IsolationReport, Origin, Start, StartError,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::{
    core::{Action, Actions, Admission, Core, EnvironmentId, FunctionVersion, Snapshot, VersionKey, WaiterId},
    limits::{Limits, Throttle},
    survive,
};

/// What an environment is started from. Asked once per start: code unpacked, log stream, fresh credentials.
pub trait Blueprint: Send + Sync + 'static {
    /// The specification of one new environment. `cause` says what it is started for: an invocation that found no idle
    /// one ([`InitializationType::OnDemand`]) or provisioned concurrency. A version with a snapshot may answer
    /// [`InitializationType::SnapStart`] in the specification.
    ///
    /// # Errors
    /// Whatever keeps it from being made; the waiting invocation is told.
    fn prepare(&self, cause: InitializationType) -> impl Future<Output = Result<EnvironmentSpec, StartError>> + Send;
}

/// Why an invocation did not run.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A bound was hit; try again later.
    #[error("{0}")]
    Throttled(Throttle),
    /// The function needs more memory than all environments together may have.
    #[error("the function's memory of {memory_mib} MiB exceeds the server's budget of {budget_mib} MiB for functions")]
    TooLarge {
        /// What it needs.
        memory_mib: u32,
        /// What there is.
        budget_mib: u64,
    },
    /// The environment could not be started, or its initialisation failed.
    #[error("the execution environment could not be started")]
    Start {
        /// Why.
        #[source]
        error: StartError,
        /// What it was to be made from, when it came that far.
        spec: Option<Arc<EnvironmentSpec>>,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// An invocation that ran.
#[derive(Debug)]
pub struct Ran {
    /// How it ended and what it took.
    pub completion: Completion,
    /// Whether it waited for a new environment, and why.
    pub start: Start,
    /// From its admission until it was given to its environment.
    pub queued: Duration,
    /// What its environment's process was made from.
    pub origin: Origin,
    /// The walls around it.
    pub isolation: IsolationLevel,
    /// Whether its environment was provisioned ahead.
    pub provisioned: bool,
    /// What its environment was made from.
    pub spec: Arc<EnvironmentSpec>,
}

type Answer<H, B> = Result<Lease<H, B>, Refused>;
type Waiter<H, B> = oneshot::Sender<Answer<H, B>>;
// The waiter's type names the core's identifiers, which name the waiter's type: `Place` cuts the circle.
struct Place<H: FunctionHost, B: Blueprint>(Waiter<H, B>);
type State<H, B> = Core<B, <H as FunctionHost>::Environment, Place<H, B>>;
type Id<H, B> = EnvironmentId<B, <H as FunctionHost>::Environment, Place<H, B>>;
type Todo<H, B> = Actions<B, <H as FunctionHost>::Environment, Place<H, B>>;

struct Shared<H: FunctionHost, B: Blueprint> {
    host: H,
    env: Env,
    wait_max: Duration,
    budget_mib: u64,
    core: Mutex<State<H, B>>,
    /// The ticker's due time moved, or the scheduler is to end.
    ticker: Arc<Notify>,
    /// Something finished or was stopped: a drain looks again.
    progress: Notify,
}

impl<H: FunctionHost, B: Blueprint> Drop for Shared<H, B> {
    fn drop(&mut self) {
        self.ticker.notify_one();
    }
}

/// Places invocations into environments. Cheap to clone.
pub struct Scheduler<H: FunctionHost, B: Blueprint>(Arc<Shared<H, B>>);

impl<H: FunctionHost, B: Blueprint> Clone for Scheduler<H, B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H: FunctionHost, B: Blueprint> Scheduler<H, B> {
    /// A scheduler without environments. Call it inside the runtime: it starts the task that keeps the time limits, which
    /// ends when the last clone (lease, caller) is gone.
    pub fn new(host: H, env: Env, limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            host,
            env: env.clone(),
            wait_max: limits.wait_max,
            budget_mib: limits.memory_budget_mib,
            core: Mutex::new(Core::new(limits)),
            ticker: Arc::new(Notify::new()),
            progress: Notify::new(),
        });
        tokio::spawn(keep_time(Arc::downgrade(&shared), shared.ticker.clone(), env));
        Self(shared)
    }

    /// The host that starts the environments.
    #[must_use]
    pub fn host(&self) -> &H {
        &self.0.host
    }

    /// Runs one invocation, also to its end when the caller stops waiting.
    ///
    /// # Errors
    /// When no environment could be had. How the function itself ended is in the completion.
    pub fn invoke(
        &self,
        version: Arc<FunctionVersion<B>>,
        invocation: Invocation,
    ) -> impl Future<Output = Result<Ran, Refused>> + Send + use<H, B> {
        let scheduler = self.clone();
        survive(async move {
            let lease = scheduler.acquire(&version).await?;
            Ok(lease.run(invocation).await)
        })
    }

    /// An environment for one invocation. For callers who have something to do in between (log lines); wrap the whole in
    /// [`survive`], so that a caller who hangs up does not cost the environment.
    ///
    /// # Errors
    /// When none could be had.
    pub async fn acquire(&self, version: &Arc<FunctionVersion<B>>) -> Result<Lease<H, B>, Refused> {
        let shared = &self.0;
        let mut listener = None;
        let mut todo = Vec::new();
        let now = shared.env.monotonic();
        let admission = shared.core.lock().request(
            now,
            version,
            || {
                let (sender, receiver) = oneshot::channel();
                listener = Some(receiver);
                Place(sender)
            },
            &mut todo,
        );
        Shared::perform(shared, todo);
        match (admission, listener) {
            (Admission::Run(id, environment), _) => Ok(Lease::new(shared, id, environment, Start::Warm)),
            (Admission::Throttled(throttle), _) => Err(Refused::Throttled(throttle)),
            (Admission::TooLarge, _) => {
                Err(Refused::TooLarge { memory_mib: version.memory_mib, budget_mib: shared.budget_mib })
            }
            (Admission::Wait(waiter), Some(listener)) => {
                let mut place = Waiting { shared, waiter: Some(waiter) };
                let answer = shared.env.timeout(shared.wait_max, listener).await;
                match answer {
                    Ok(answer) => {
                        place.waiter = None;
                        let mut lease = answer.unwrap_or(Err(Refused::ShuttingDown))?;
                        lease.queued = shared.env.monotonic().since(now);
                        Ok(lease)
                    }
                    Err(_) => Err(Refused::Throttled(Throttle::FunctionBacklog)),
                }
            }
            (Admission::ShuttingDown | Admission::Wait(_), _) => Err(Refused::ShuttingDown),
        }
    }

    /// The environments of this state of a version are not used any more: idle ones end now, busy ones after their
    /// invocation. Call it when code or configuration changed.
    pub fn retire(&self, version: &VersionKey) {
        Shared::step(&self.0, |core, now, todo| core.retire(now, version, todo));
    }

    /// The same for all environments of one version of a function, except those of `revision` (the new one).
    pub fn retire_others(&self, function: &Arc<str>, version: &str, revision: &str) {
        Shared::step(&self.0, |core, now, todo| {
            let older = |key: &VersionKey| &*key.version == version && &*key.revision != revision;
            core.retire_function(now, function, older, todo);
        });
    }

    /// The same for all versions of a function: it was deleted.
    pub fn retire_function(&self, function: &Arc<str>) {
        Shared::step(&self.0, |core, now, todo| core.retire_function(now, function, |_| true, todo));
    }

    /// Sets or clears a function's reserved concurrency; zero refuses the very next call. `function` is its unqualified
    /// ARN.
    pub fn set_reserved(&self, account: &AccountId, region: &Region, function: &Arc<str>, reserved: Option<u32>) {
        self.0.core.lock().set_reserved(account, region, function, reserved);
    }

    /// The state of everything.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = self.0.env.monotonic();
        self.0.core.lock().snapshot(now)
    }

    /// Refuses new invocations, waits at most `limit` for those that run, then ends all environments and the host. `true`
    /// when every invocation came to its end.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        let shared = &self.0;
        Shared::step(shared, |core, now, todo| core.shut_down(now, todo));
        let deadline = shared.env.monotonic() + limit;
        let done = loop {
            let progress = shared.progress.notified();
            if shared.core.lock().in_flight() == 0 {
                break true;
            }
            let left = deadline.since(shared.env.monotonic());
            if left.is_zero() || shared.env.timeout(left, progress).await.is_err() {
                break false;
            }
        };
        if !done {
            Shared::step(shared, |core, now, todo| core.abandon_waiters(now, todo));
        }
        shared.host.shutdown().await;
        done
    }
}

impl<H: FunctionHost, B: Blueprint> Shared<H, B> {
    fn step<R>(shared: &Arc<Self>, event: impl FnOnce(&mut State<H, B>, base_env::Moment, &mut Todo<H, B>) -> R) -> R {
        let mut todo = Vec::new();
        let now = shared.env.monotonic();
        let result = event(&mut shared.core.lock(), now, &mut todo);
        Self::perform(shared, todo);
        result
    }

    fn perform(shared: &Arc<Self>, todo: Todo<H, B>) {
        for action in todo {
            match action {
                Action::Start { environment, version } => {
                    tokio::spawn(start(Starting { shared: shared.clone(), id: Some(environment) }, version));
                }
                Action::Grant { waiter, environment, handle, start } => {
                    // Who gave up just now hands the lease back: dropping it frees the environment.
                    drop(waiter.0.send(Ok(Lease::new(shared, environment, handle, start))));
                }
                Action::Stop { environment, handle } => {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        handle.stop().await;
                        Self::step(&shared, |core, now, todo| core.stopped(now, environment, todo));
                        shared.progress.notify_waiters();
                    });
                }
                Action::Tick => shared.ticker.notify_one(),
            }
        }
    }
}

/// A start under way: if its task ends without a report (a panic, the end of the runtime), the start failed.
struct Starting<H: FunctionHost, B: Blueprint> {
    shared: Arc<Shared<H, B>>,
    id: Option<Id<H, B>>,
}

impl<H: FunctionHost, B: Blueprint> Drop for Starting<H, B> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take()
            && let Some(waiter) = Shared::step(&self.shared, |core, now, todo| core.start_failed(now, id, todo))
        {
            let fault = Fault::new(FaultKind::Internal, "finish the start of an execution environment");
            drop(waiter.0.send(Err(Refused::Start { error: StartError::Host(fault), spec: None })));
        }
    }
}

async fn start<H: FunctionHost, B: Blueprint>(mut starting: Starting<H, B>, version: Arc<FunctionVersion<B>>) {
    let shared = starting.shared.clone();
    let mut made_from = None;
    let result = async {
        let spec = Arc::new(version.spec.prepare(InitializationType::OnDemand).await?);
        made_from = Some(spec.clone());
        shared.host.start(spec).await
    }
    .await;
    let Some(id) = starting.id.take() else { return };
    match result {
        Ok(environment) => {
            let ended = environment.ended();
            Shared::step(&shared, |core, now, todo| core.started(now, id, environment, todo));
            let watched = Arc::downgrade(&shared);
            drop((starting, shared));
            ended.await;
            if let Some(shared) = watched.upgrade() {
                Shared::step(&shared, |core, now, todo| core.died(now, id, todo));
            }
        }
        Err(error) => {
            tracing::debug!(function = %version.key.function, version = %version.key.version, %error, "start failed");
            if let Some(waiter) = Shared::step(&shared, |core, now, todo| core.start_failed(now, id, todo)) {
                // Who gave up just now does not need to know.
                drop(waiter.0.send(Err(Refused::Start { error, spec: made_from })));
            }
            shared.progress.notify_waiters();
        }
    }
}

/// Keeps the time limits of the core for as long as the scheduler is used; holds it only while it works.
async fn keep_time<H: FunctionHost, B: Blueprint>(
    scheduler: std::sync::Weak<Shared<H, B>>,
    ticker: Arc<Notify>,
    env: Env,
) {
    while let Some(shared) = scheduler.upgrade() {
        let due = Shared::step(&shared, |core, now, todo| core.tick(now, todo));
        drop(shared);
        match due {
            Some(due) => {
                let pause = due.since(env.monotonic()).max(Duration::from_millis(1));
                // Either way it is time to look again.
                let (Ok(()) | Err(Elapsed)) = env.timeout(pause, ticker.notified()).await;
            }
            None => ticker.notified().await,
        }
    }
}

/// A place in the queue: given back when its owner stops waiting.
struct Waiting<'a, H: FunctionHost, B: Blueprint> {
    shared: &'a Arc<Shared<H, B>>,
    waiter: Option<WaiterId<B, H::Environment, Place<H, B>>>,
}

impl<H: FunctionHost, B: Blueprint> Drop for Waiting<'_, H, B> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            // When it was no longer waiting, its lease lies in the listener that is dropped with it.
            Shared::step(self.shared, |core, now, todo| core.withdraw(now, waiter, todo));
            self.shared.progress.notify_waiters();
        }
    }
}

/// An environment for one invocation. Dropped unused it is free again.
pub struct Lease<H: FunctionHost, B: Blueprint> {
    shared: Arc<Shared<H, B>>,
    id: Id<H, B>,
    environment: Option<H::Environment>,
    spec: Arc<EnvironmentSpec>,
    origin: Origin,
    isolation: IsolationLevel,
    start: Start,
    queued: Duration,
    /// An invocation was begun and did not come to its end.
    spoilt: bool,
}

impl<H: FunctionHost, B: Blueprint> Lease<H, B> {
    fn new(shared: &Arc<Shared<H, B>>, id: Id<H, B>, environment: H::Environment, start: Start) -> Self {
        let spec = environment.spec().clone();
        let (shared, queued) = (shared.clone(), Duration::ZERO);
        let (origin, isolation) = (environment.origin(), environment.isolation().level);
        Self { shared, id, environment: Some(environment), spec, origin, isolation, start, queued, spoilt: false }
    }

    /// What the environment was made from.
    #[must_use]
    pub fn spec(&self) -> &Arc<EnvironmentSpec> {
        &self.spec
    }

    /// Whether the caller waited for it to be made, and why.
    #[must_use]
    pub fn start(&self) -> Start {
        self.start
    }

    /// How long the caller waited: from its admission until it had the environment.
    #[must_use]
    pub fn queued(&self) -> Duration {
        self.queued
    }

    /// What the environment's process was made from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How much isolation it has.
    #[must_use]
    pub fn isolation_level(&self) -> IsolationLevel {
        self.isolation
    }

    /// Whether it was provisioned ahead of invocations.
    #[must_use]
    pub fn provisioned(&self) -> bool {
        self.spec.initialization == InitializationType::ProvisionedConcurrency
    }

    /// The walls around it.
    #[must_use]
    pub fn isolation(&self) -> Option<&IsolationReport> {
        self.environment.as_ref().map(Environment::isolation)
    }

    /// Runs the invocation and says all of it that a meter wants to know.
    pub async fn run(self, invocation: Invocation) -> Ran {
        let (start, queued, origin, isolation) = (self.start, self.queued, self.origin, self.isolation);
        let (provisioned, spec) = (self.provisioned(), self.spec.clone());
        Ran { completion: self.invoke(invocation).await, start, queued, origin, isolation, provisioned, spec }
    }

    /// Runs the invocation. When this resolves the environment is free again; or dropped, if it failed; or, while its
    /// extensions are still at work on this invocation, busy until they are done (it counts as concurrency until then).
    pub async fn invoke(mut self, invocation: Invocation) -> Completion {
        match self.environment.as_mut() {
            Some(environment) => {
                self.spoilt = true;
                let completion = environment.invoke(invocation).await;
                self.spoilt = false;
                completion
            }
            // Only `drop` takes the environment away, and this has not been dropped.
            None => Completion {
                outcome: compute_api::Outcome::Lost { reason: "its lease had ended".to_owned() },
                figures: compute_api::Figures::default(),
                log_tail: bytes::Bytes::new(),
            },
        }
    }
}

impl<H: FunctionHost, B: Blueprint> Drop for Lease<H, B> {
    fn drop(&mut self) {
        let id = self.id;
        let environment = self.environment.take();
        let spoilt = self.spoilt;
        match environment {
            Some(environment) if !spoilt && !environment.is_settled() => {
                let shared = self.shared.clone();
                tokio::spawn(settle(Settling { shared, id, environment: Some(environment) }));
            }
            environment => free(&self.shared, id, environment, spoilt),
        }
    }
}

/// Gives an environment back.
fn free<H: FunctionHost, B: Blueprint>(
    shared: &Arc<Shared<H, B>>,
    id: Id<H, B>,
    environment: Option<H::Environment>,
    spoilt: bool,
) {
    Shared::step(shared, |core, now, todo| match environment {
        Some(environment) => {
            let reusable = !spoilt && environment.is_alive();
            core.finished(now, id, environment, reusable, todo);
        }
        None => core.lost(now, id, todo),
    });
    shared.progress.notify_waiters();
}

/// An environment between its answer and its quiet. If its task ends early (a panic, the end of the runtime), it is given
/// back as it is.
struct Settling<H: FunctionHost, B: Blueprint> {
    shared: Arc<Shared<H, B>>,
    id: Id<H, B>,
    environment: Option<H::Environment>,
}

impl<H: FunctionHost, B: Blueprint> Drop for Settling<H, B> {
    fn drop(&mut self) {
        let environment = self.environment.take();
        let spoilt = environment.as_ref().is_some_and(|environment| !environment.is_settled());
        free(&self.shared, self.id, environment, spoilt);
    }
}

async fn settle<H: FunctionHost, B: Blueprint>(mut settling: Settling<H, B>) {
    if let Some(environment) = settling.environment.as_mut() {
        environment.settle().await;
    }
}
