//! The scheduler as callers see it: performs what the core decides.
//!
//! One mutex guards the core; it is held for a decision, never across an await. A warm invocation takes it twice,
//! allocates nothing here and starts no task. Starts, stops, watches and settling are tasks of their own (`tasks`,
//! `lease`).

mod lease;
mod tasks;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use base_types::{AccountId, Region};
use compute_api::{
    Completion, Environment, EnvironmentSpec, FunctionHost, InitializationType, Invocation, IsolationLevel, Origin,
    Start, StartError,
};
pub use lease::Lease;
use parking_lot::Mutex;
use tasks::{Starting, keep_time, start};
use tokio::sync::{Notify, oneshot};

use crate::{
    core::{
        Action, Actions, Admission, Concurrency, Core, EnvironmentId, FunctionVersion, Provisioned, Snapshot,
        VersionKey, WaiterId,
    },
    limits::{Limits, MemoryProbe, Throttle},
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
    probe: Option<MemoryProbe>,
    core: Mutex<State<H, B>>,
    /// The ticker's due time moved, or the scheduler is to end.
    ticker: Arc<Notify>,
    /// Somebody waits for `progress`.
    draining: AtomicBool,
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
            probe: limits.memory_probe.clone(),
            core: Mutex::new(Core::new(limits)),
            ticker: Arc::new(Notify::new()),
            draining: AtomicBool::new(false),
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
                let mut listener = listener;
                let answer = loop {
                    match shared.env.timeout(shared.wait_max, &mut listener).await {
                        Ok(answer) => break answer,
                        // What is being made is waited for: a slow initialisation is no throttle.
                        Err(_) if shared.core.lock().is_being_served(waiter) => {}
                        Err(_) => return Err(Refused::Throttled(Throttle::FunctionBacklog)),
                    }
                };
                place.waiter = None;
                let mut lease = answer.unwrap_or(Err(Refused::ShuttingDown))?;
                lease.queued = shared.env.monotonic().since(now);
                Ok(lease)
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

    /// Sets how many environments of a version are kept ready, started ahead with
    /// [`InitializationType::ProvisionedConcurrency`]; zero ends it, and so does retiring the version. Nothing is kept
    /// through a restart: set it again when the server starts, and for the new state of a version that was retired.
    pub fn set_provisioned(&self, version: &Arc<FunctionVersion<B>>, wanted: u32) {
        Shared::step(&self.0, |core, now, todo| core.set_provisioned(now, version, wanted, todo));
    }

    /// A version's provisioned concurrency; none when none is set.
    #[must_use]
    pub fn provisioned(&self, version: &VersionKey) -> Option<Provisioned> {
        self.0.core.lock().provisioned(version)
    }

    /// Changes the limit of [`Limits::account_concurrency`]. It holds for the next call; what runs goes on.
    pub fn set_account_concurrency(&self, limit: u32) {
        self.0.core.lock().set_account_concurrency(limit);
    }

    /// An account's concurrency in a region: its limit, what is reserved and set aside, what is in use.
    #[must_use]
    pub fn concurrency(&self, account: &AccountId, region: &Region) -> Concurrency {
        self.0.core.lock().concurrency(account, region)
    }

    /// Sets or clears a function's reserved concurrency; zero refuses the very next call. `function` is its unqualified
    /// ARN. A reservation counts in the account's pool from here on, whether the function is used or not: set all of them
    /// when the server starts.
    pub fn set_reserved(&self, account: &AccountId, region: &Region, function: &Arc<str>, reserved: Option<u32>) {
        self.0.core.lock().set_reserved(account, region, function, reserved);
    }

    /// The state of everything.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = self.0.env.monotonic();
        self.0.core.lock().snapshot(now, Environment::is_frozen)
    }

    /// Refuses new invocations, waits at most `limit` for those that run, then ends all environments and the host. `true`
    /// when every invocation came to its end.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        let shared = &self.0;
        // Before the core is locked: whoever leaves it after the first look below sees this.
        shared.draining.store(true, Ordering::Relaxed);
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
                Action::Start { environment, version, provisioned } => {
                    let cause = if provisioned {
                        InitializationType::ProvisionedConcurrency
                    } else {
                        InitializationType::OnDemand
                    };
                    tokio::spawn(start(Starting { shared: shared.clone(), id: Some(environment) }, version, cause));
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
                        shared.progressed();
                    });
                }
                Action::Tick => shared.ticker.notify_one(),
            }
        }
    }

    /// Something finished.
    fn progressed(&self) {
        if self.draining.load(Ordering::Relaxed) {
            self.progress.notify_waiters();
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
            self.shared.progressed();
        }
    }
}
