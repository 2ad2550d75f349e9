//! One invocation, from its admission to its end: an environment, the function's answer, the record of what it took.
//!
//! Guarantee: whatever becomes of its caller, what was begun is run to its end and metered exactly once; what was refused
//! for want of concurrency is metered as a throttle.

use std::{sync::Arc, time::Duration};

use base_env::Moment;
use base_types::{Fault, FaultKind, Timestamp};
use compute_api::{
    Completion, Figures, FunctionHost, InitFailure, InitOutcome, InitializationType, Invocation, Origin, Outcome,
    Start, StartError,
};
use compute_scheduler::{FunctionVersion, Ran, Refused};
use services_ports::{Ending, InvocationRecord, LogSink, MeteredFunction};

use super::{
    environment::{Plan, say, system_log},
    runner::{Finished, NotCalled, RanIn, Runner, Unrestored},
};
use crate::report::{self, Subject};

/// An invocation under way.
pub(super) struct Flight<H: FunctionHost, L: LogSink> {
    pub(super) runner: Arc<Runner<H, L>>,
    pub(super) version: Arc<FunctionVersion<Plan<L>>>,
    pub(super) function: MeteredFunction,
    pub(super) request_id: Arc<str>,
    pub(super) bytes_in: u64,
    pub(super) asynchronous: bool,
}

/// What of an invocation's record its end decides.
struct Landing {
    at: Timestamp,
    ending: Ending,
    figures: Figures,
    queued: Duration,
    ran: RanIn,
    provisioned: bool,
    bytes_out: u64,
}

impl<H: FunctionHost, L: LogSink> Flight<H, L> {
    pub(super) async fn fly(self, invocation: Invocation) -> Result<Finished, NotCalled> {
        let runner = &self.runner;
        let begun = runner.env.monotonic();
        match runner.scheduler.acquire(&self.version).await {
            Ok(lease) => {
                let at = runner.env.now();
                let ran = Box::pin(lease.run(invocation)).await;
                Ok(self.landed(at, ran))
            }
            Err(refused) => self.refused(refused, begun).await,
        }
    }

    fn landed(&self, at: Timestamp, ran: Ran) -> Finished {
        let Ran { completion, start, queued, origin, isolation, provisioned, spec } = ran;
        let answer = report::answer(&completion, &self.request_id, spec.timeout);
        let ran = RanIn { start, origin, isolation };
        let Completion { outcome, figures, log_tail } = completion;
        let ending = ending(&outcome);
        let (stream_error, bytes_out) = match outcome {
            Outcome::Streamed { bytes, error } => (error.map(|error| error.error_type), bytes),
            _ => (None, answer.payload.len() as u64),
        };
        self.record(&Landing { at, ending, figures, queued, ran, provisioned, bytes_out });
        let version = Arc::clone(&self.version.key.version);
        Finished { answer, version, tail: log_tail, ran, stream_error, unrestored: None }
    }

    async fn refused(&self, refused: Refused, begun: Moment) -> Result<Finished, NotCalled> {
        let text = refused.to_string();
        match refused {
            Refused::Throttled(throttle) => {
                let reason = throttle.reason();
                self.runner.meter.throttle(&self.function, self.runner.env.now(), reason);
                Err(NotCalled::Throttled(reason))
            }
            Refused::TooLarge { .. } => Err(NotCalled::Unready(text)),
            Refused::ShuttingDown => {
                Err(NotCalled::Fault(Fault::new(FaultKind::Unavailable, "invoke: the server is shutting down")))
            }
            Refused::Start { error: StartError::Init(failure), spec } => {
                Ok(self.init_failed(&failure, spec.as_deref(), begun).await)
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

    /// The function's own initialisation failed: that is its answer.
    async fn init_failed(
        &self,
        failure: &InitFailure,
        spec: Option<&compute_api::EnvironmentSpec>,
        begun: Moment,
    ) -> Finished {
        let runner = &self.runner;
        let is_restore = failure.figures.restore_duration.is_some();
        let limit = spec.map_or(compute_api::INIT_TIMEOUT, |spec| match spec.initialization {
            _ if is_restore => compute_api::RESTORE_TIMEOUT,
            // The second attempt had the invocation's time.
            InitializationType::OnDemand => spec.timeout,
            InitializationType::ProvisionedConcurrency | InitializationType::SnapStart => spec.init_timeout,
        });
        let answer = report::init_answer(failure, &self.request_id, limit);
        // Nothing is left of the environment: the host's own level is what it had.
        let isolation = runner.scheduler.host().report_level();
        let start = Start::Cold(compute_api::ColdReason::First);
        let origin = if is_restore { Origin::Restored } else { Origin::Fresh };
        let ran = RanIn { start, origin, isolation };
        let subject = Subject {
            request_id: &self.request_id,
            version: &self.version.key.version,
            memory_mib: self.version.memory_mib,
            timeout: limit,
            isolation,
            origin: ran.origin,
        };
        let now = runner.env.now();
        let log = spec.map_or(report::SystemLog::Text, system_log);
        let lines = report::of_init_failure(failure, &subject, limit, log, now);
        let tail = report::tail(None, &failure.log_tail, &lines);
        if let Some(spec) = spec {
            say(&spec.output, &runner.env, Some(&self.request_id), lines).await;
        }
        let ending = if failure.outcome == InitOutcome::Timeout { Ending::Timeout } else { Ending::Error };
        let waited = runner.env.monotonic().since(begun);
        let queued = waited.saturating_sub(failure.figures.duration);
        let bytes_out = answer.payload.len() as u64;
        let figures = failure.figures;
        self.record(&Landing { at: now, ending, figures, queued, ran, provisioned: false, bytes_out });
        let unrestored = is_restore.then_some(match failure.outcome {
            InitOutcome::Timeout => Unrestored::TimedOut,
            _ => Unrestored::Failed,
        });
        let version = Arc::clone(&self.version.key.version);
        Finished { answer, version, tail, ran, stream_error: None, unrestored }
    }

    fn record(&self, landing: &Landing) {
        let figures = &landing.figures;
        self.runner.meter.invocation(&InvocationRecord {
            function: self.function.clone(),
            version: Arc::clone(&self.version.key.version),
            request_id: Arc::clone(&self.request_id),
            at: landing.at,
            ending: landing.ending,
            queued: landing.queued,
            init: figures.restore_duration.or(figures.init_duration),
            duration: figures.duration,
            billed_millis: figures.billed_millis(),
            cpu: figures.cpu,
            memory_mib: self.version.memory_mib,
            tmp_mib: self.version.spec.configuration.tmp_mib,
            memory_bytes_max: figures.memory_bytes_max,
            bytes_in: self.bytes_in,
            bytes_out: landing.bytes_out,
            start: landing.ran.start,
            origin: landing.ran.origin,
            isolation: landing.ran.isolation,
            asynchronous: self.asynchronous,
            provisioned: landing.provisioned,
        });
    }
}

fn ending(outcome: &Outcome) -> Ending {
    match outcome {
        Outcome::Success { .. } | Outcome::Streamed { error: None, .. } => Ending::Success,
        Outcome::Timeout => Ending::Timeout,
        Outcome::OutOfMemory => Ending::OutOfMemory,
        Outcome::FunctionError { .. }
        | Outcome::Streamed { error: Some(_), .. }
        | Outcome::Exited(_)
        | Outcome::ResponseTooLarge { .. }
        | Outcome::Lost { .. } => Ending::Error,
    }
}
