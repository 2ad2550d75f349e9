//! One invocation, from a route to a finished answer.

use std::sync::Arc;

use base_env::Env;
use base_types::{Fault, FaultKind};
use bytes::Bytes;
use compute_api::{FunctionHost, Invocation, RuntimeListing, StartError};
use compute_scheduler::{Refused, Scheduler};
use model_lambda::Error;
use services_ports::LogSink;

use super::{
    environment::{Logged, Plan, say},
    routes::{FunctionKey, Route, Routes, Runnable},
};
use crate::{
    control::{Change, Effects},
    error::throttled,
    function::{Alias, State},
    names::Qualifier,
    report::{self, Answer, Report},
    tables::Place,
};

/// Runs invocations.
pub(crate) struct Runner<H: FunctionHost, L: LogSink> {
    pub(crate) env: Env,
    pub(crate) routes: Routes<L>,
    pub(crate) scheduler: Scheduler<Logged<H>, Plan<L>>,
    /// A commit's hook runs on a thread of the store; the scheduler ends environments in tasks.
    pub(crate) runtime: tokio::runtime::Handle,
}

/// What a function is called with.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request_id: Arc<str>,
    pub(crate) payload: Bytes,
    /// The ARN that the caller named, with its qualifier.
    pub(crate) invoked_arn: String,
    pub(crate) trace: String,
    pub(crate) client_context: Option<String>,
}

/// A call that came to its end: the function answered, or failed.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) answer: Answer,
    /// `$LATEST` or a number.
    pub(crate) version: String,
    /// The end of the log.
    pub(crate) tail: Vec<u8>,
}

/// Why a function was not called.
#[derive(Debug)]
pub(crate) enum NotCalled {
    /// Too much at once, for this reason (AWS's word).
    Throttled(&'static str),
    /// The version is not active.
    NotActive(&'static str),
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

    /// Calls the function. Once begun, an invocation runs to its end even if nobody waits for it any more.
    pub(crate) async fn call(&self, route: &Route<L>, call: Call) -> Result<Finished, NotCalled> {
        let runnable = route.pick(self.env.below(Alias::DRAWS));
        match &runnable.state {
            State::Active => {}
            other => return Err(NotCalled::NotActive(other.as_str())),
        }
        let invocation = Invocation {
            request_id: call.request_id.to_string(),
            payload: call.payload,
            invoked_function_arn: call.invoked_arn,
            trace_id: Some(call.trace),
            client_context: call.client_context,
            cognito_identity: None,
            response: None,
        };
        let ran = self.scheduler.invoke(Arc::clone(&runnable.version), invocation).await;
        match ran {
            Ok(ran) => {
                let (timeout, now) = (ran.spec.timeout, self.env.now());
                let said = report::of_completion(&ran.completion, &call.request_id, runnable.memory_mib, timeout, now);
                Ok(finished(runnable, &call.request_id, &ran.completion.log_tail, said))
            }
            Err(refused) => self.refused(runnable, &call.request_id, refused).await,
        }
    }

    async fn refused(
        &self,
        runnable: &Runnable<L>,
        request_id: &Arc<str>,
        refused: Refused,
    ) -> Result<Finished, NotCalled> {
        let text = refused.to_string();
        match refused {
            Refused::Throttled(throttle) => Err(NotCalled::Throttled(throttle.reason())),
            Refused::TooLarge { .. } => Err(NotCalled::Unready(text)),
            Refused::ShuttingDown => {
                Err(NotCalled::Fault(Fault::new(FaultKind::Unavailable, "invoke: the server is shutting down")))
            }
            Refused::Start { error: StartError::Init(failure), spec } => {
                let limit = spec.as_ref().map_or(compute_api::INIT_TIMEOUT, |spec| spec.init_timeout);
                let said = report::of_init_failure(&failure, request_id, runnable.memory_mib, limit);
                if let Some(spec) = spec {
                    let mut lines = vec![report::start_line(request_id, &spec.version)];
                    lines.extend(said.lines.iter().cloned());
                    say(&spec.output, &self.env, Some(request_id), lines).await;
                }
                Ok(finished(runnable, request_id, &failure.log_tail, said))
            }
            Refused::Start { error: StartError::Host(fault), .. } => Err(NotCalled::Fault(fault)),
            Refused::Start {
                error: error @ (StartError::RuntimeMissing { .. } | StartError::RuntimeUnsupported { .. }),
                ..
            } => Err(NotCalled::Unrunnable(error.to_string())),
            Refused::Start {
                error:
                    error @ (StartError::Isolation { .. }
                    | StartError::Unsupported { .. }
                    | StartError::NoSnapshot { .. }
                    | StartError::HostLimit { .. }),
                ..
            } => Err(NotCalled::Unready(error.to_string())),
        }
    }

    /// The request's trace header, or a new one that says that nobody samples.
    pub(crate) fn trace(&self, given: Option<&Arc<str>>) -> String {
        const HEX: &[u8] = b"0123456789abcdef";
        given.map_or_else(
            || {
                let (seconds, root, parent) = (self.env.now().as_seconds(), self.env.id(24, HEX), self.env.id(16, HEX));
                format!("Root=1-{seconds:08x}-{root};Parent={parent};Sampled=0")
            },
            |trace| trace.to_string(),
        )
    }
}

fn finished<L>(runnable: &Runnable<L>, request_id: &str, output: &[u8], said: Report) -> Finished {
    let version = runnable.version.key.version.to_string();
    let tail = report::tail(&report::start_line(request_id, &version), output, &said.lines);
    Finished { answer: said.answer, version, tail }
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
            Change::Deleted => {
                self.scheduler.retire_function(&arn);
                self.scheduler.set_reserved(&place.account, &place.region, &arn, None);
            }
        });
    }

    fn runtimes(&self) -> Arc<RuntimeListing> {
        self.scheduler.host().runtimes()
    }
}
