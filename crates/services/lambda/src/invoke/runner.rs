//! What runs invocations: the routes, the scheduler, the meter. One invocation's way is in `flight`.

use std::{future::Future, sync::Arc};

use base_env::Env;
use base_types::Fault;
use bytes::Bytes;
use compute_api::{Deployed, FunctionHost, Invocation, IsolationLevel, Origin, ResponseSink, RuntimeListing, Start};
use compute_scheduler::{FunctionVersion, Scheduler, VersionKey, survive};
use model_lambda::Error;
use services_ports::{LogSink, Meter, MeteredFunction};

use super::{
    environment::{Logged, Plan},
    flight::Flight,
    routes::{FunctionKey, Route, Routes},
};
use crate::{
    control::{Change, Effects, Provisioned},
    error::throttled,
    function::{Alias, State},
    names::Qualifier,
    report::Answer,
    tables::Place,
};

/// Runs invocations.
pub(crate) struct Runner<H: FunctionHost, L: LogSink> {
    pub(crate) env: Env,
    pub(crate) routes: Routes<L>,
    pub(crate) scheduler: Scheduler<Logged<H>, Plan<L>>,
    pub(crate) meter: Arc<dyn Meter>,
    /// A commit's hook runs on a thread of the store; the scheduler ends environments in tasks.
    pub(crate) runtime: tokio::runtime::Handle,
}

/// A version that is to be called.
pub(crate) struct Chosen<L> {
    pub(crate) version: Arc<FunctionVersion<Plan<L>>>,
    function: MeteredFunction,
}

/// What a function is called with.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request_id: Arc<str>,
    pub(crate) payload: Bytes,
    /// The ARN that the caller named, with its qualifier.
    pub(crate) invoked_arn: String,
    pub(crate) trace: String,
    pub(crate) client_context: Option<String>,
    /// Where a streamed response goes.
    pub(crate) response: Option<ResponseSink>,
    /// Whether it comes from the queue of events.
    pub(crate) asynchronous: bool,
}

/// A call that came to its end: the function answered, or failed.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) answer: Answer,
    /// `$LATEST` or a number.
    pub(crate) version: Arc<str>,
    /// The end of the log.
    pub(crate) tail: Bytes,
    /// How it got its environment, and the walls around that.
    pub(crate) ran: RanIn,
    /// With which error a streamed response broke off, if it did.
    pub(crate) stream_error: Option<String>,
    /// Why it had no environment, if that was to be made from a snapshot and was not.
    pub(crate) unrestored: Option<Unrestored>,
}

/// Why an environment could not be made from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unrestored {
    /// A hook failed, or the process ended.
    Failed,
    /// It took too long.
    TimedOut,
}

impl Finished {
    /// What a caller who waits is answered when there was no environment to call: AWS's errors of `Invoke`, whose words
    /// they are.
    pub(crate) fn restored(self) -> Result<Self, Error> {
        match self.unrestored {
            None => Ok(self),
            Some(Unrestored::Failed) => Err(Error::snap_start_exception(
                "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs.",
            )),
            Some(Unrestored::TimedOut) => Err(Error::snap_start_timeout_exception(
                "Lambda couldn't restore the snapshot within the timeout limit.",
            )),
        }
    }
}

/// How an invocation got its environment, and the walls around that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RanIn {
    pub(crate) start: Start,
    pub(crate) origin: Origin,
    pub(crate) isolation: IsolationLevel,
}

/// Why a function was not called.
#[derive(Debug)]
pub(crate) enum NotCalled {
    /// Too much at once, for this reason (AWS's word).
    Throttled(&'static str),
    /// The version is not active.
    NotActive(&'static str),
    /// It is being initialised for SnapStart.
    Initialising,
    /// This host cannot run it.
    Unrunnable(String),
    /// The platform cannot run it now.
    Unready(String),
    /// The platform failed.
    Fault(Fault),
}

impl From<NotCalled> for Error {
    fn from(reason: NotCalled) -> Self {
        match reason {
            NotCalled::Throttled(reason) => throttled(reason),
            NotCalled::NotActive(state) => Self::resource_conflict_exception(format!(
                "The operation cannot be performed at this time. The function is currently in the following state: {state}"
            )),
            NotCalled::Initialising => Self::snap_start_not_ready_exception(
                "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE.",
            ),
            NotCalled::Unrunnable(why) => Self::invalid_runtime_exception(why),
            NotCalled::Unready(why) => Self::resource_not_ready_exception(why),
            NotCalled::Fault(fault) => Self::from(fault),
        }
    }
}

impl<H: FunctionHost, L: LogSink> Runner<H, L> {
    /// What a name leads to.
    pub(crate) async fn route(
        &self,
        key: &FunctionKey,
        qualifier: Option<&Qualifier>,
    ) -> Result<Option<Arc<Route<L>>>, Fault> {
        self.routes
            .route(key, qualifier, |route| {
                let Place { account, region } = &route.key.place;
                self.scheduler.set_reserved(account, region, &route.arn, route.reserved_concurrency);
            })
            .await
    }

    /// The version that a call of this route gets.
    pub(crate) fn choose(&self, route: &Route<L>) -> Result<Chosen<L>, NotCalled> {
        let runnable = route.pick(self.env.below(Alias::DRAWS));
        match &runnable.state {
            State::Active => Ok(Chosen { version: Arc::clone(&runnable.version), function: route.metered.clone() }),
            State::Pending if runnable.version.spec.snapshot.is_some() => Err(NotCalled::Initialising),
            other => Err(NotCalled::NotActive(other.as_str())),
        }
    }

    /// Calls the function. Once begun, an invocation runs to its end even if nobody waits for it any more.
    pub(crate) async fn call(self: &Arc<Self>, route: &Route<L>, call: Call) -> Result<Finished, NotCalled> {
        let chosen = self.choose(route)?;
        self.run(chosen, call).await
    }

    /// Calls a version.
    pub(crate) fn run(
        self: &Arc<Self>,
        chosen: Chosen<L>,
        call: Call,
    ) -> impl Future<Output = Result<Finished, NotCalled>> + Send + use<H, L> {
        let flight = Flight {
            runner: Arc::clone(self),
            version: chosen.version,
            function: chosen.function,
            request_id: call.request_id,
            bytes_in: call.payload.len() as u64,
            asynchronous: call.asynchronous,
        };
        let invocation = Invocation {
            request_id: flight.request_id.to_string(),
            payload: call.payload,
            invoked_function_arn: call.invoked_arn,
            trace_id: Some(call.trace),
            client_context: call.client_context,
            cognito_identity: None,
            response: call.response,
        };
        survive(flight.fly(invocation))
    }

    /// The request's trace header, or a new one that says that nobody samples; a chain that the request belongs to is kept.
    pub(crate) fn trace(&self, given: Option<&Arc<str>>) -> String {
        const HEX: &[u8] = b"0123456789abcdef";
        match given {
            Some(trace) if !trace.starts_with("Lineage=") => trace.to_string(),
            chain => {
                let (seconds, root, parent) = (self.env.now().as_seconds(), self.env.id(24, HEX), self.env.id(16, HEX));
                let after = chain.map_or("", |_| ";");
                let chain = chain.map_or("", |chain| chain);
                format!("Root=1-{seconds:08x}-{root};Parent={parent};Sampled=0{after}{chain}")
            }
        }
    }
}

impl<H: FunctionHost, L: LogSink> Effects for Runner<H, L> {
    fn changed(&self, place: &Place, function: &str, change: &Change) {
        let key = FunctionKey { place: place.clone(), name: function.to_owned() };
        let arn: Arc<str> = Arc::from(crate::names::function_arn(&place.region, place.account, function));
        let _entered = self.runtime.enter();
        self.routes.invalidate(&key, || match change {
            Change::Routing => {}
            Change::Latest { content } => self.scheduler.retire_others(&arn, "$LATEST", content),
            Change::Reserved(reserved) => {
                self.scheduler.set_reserved(&place.account, &place.region, &arn, *reserved);
            }
            Change::Steered => self.scheduler.retire_function(&arn),
            Change::Deleted => {
                self.scheduler.retire_function(&arn);
                self.scheduler.set_reserved(&place.account, &place.region, &arn, None);
            }
        });
    }

    fn runtimes(&self) -> Arc<RuntimeListing> {
        self.scheduler.host().runtimes()
    }

    fn provisioned(&self, function_arn: &str, version: &str, revision: &str) -> Option<Provisioned> {
        let key = VersionKey {
            function: Arc::from(function_arn),
            version: Arc::from(version),
            revision: Arc::from(revision),
        };
        let now = self.scheduler.provisioned(&key)?;
        Some(Provisioned {
            requested: now.requested,
            allocated: now.allocated,
            available: now.available,
            failure: now.failure,
        })
    }

    fn expect(&self, deployed: Deployed) {
        self.scheduler.host().expect(deployed);
    }

    fn forget_snapshot(&self, snapshot: &str) {
        self.scheduler.host().forget_snapshot(snapshot);
    }
}
