//! What the scheduler does in tasks of their own: starts, with the watch over what they made, and the keeping of time.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use base_env::{Elapsed, Env};
use base_types::{Fault, FaultKind};
use compute_api::{Environment, FunctionHost, InitOutcome, InitializationType, StartError};
use tokio::sync::Notify;

use super::{Blueprint, Id, Refused, Shared};
use crate::core::{FunctionVersion, Made};

/// How often the host is asked for its memory while there are environments.
const PROBE_PAUSE: Duration = Duration::from_millis(500);

/// A start under way: if its task ends without a report (a panic, the end of the runtime), the start failed.
pub(super) struct Starting<H: FunctionHost, B: Blueprint> {
    pub(super) shared: Arc<Shared<H, B>>,
    pub(super) id: Option<Id<H, B>>,
}

impl<H: FunctionHost, B: Blueprint> Drop for Starting<H, B> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let why = || "the start broke off".to_owned();
            if let Some(waiter) = Shared::step(&self.shared, |core, now, todo| core.start_failed(now, id, why, todo)) {
                let fault = Fault::new(FaultKind::Internal, "finish the start of an execution environment");
                drop(waiter.0.send(Err(Refused::Start { error: StartError::Host(fault), spec: None })));
            }
            self.shared.progressed();
        }
    }
}

pub(super) async fn start<H: FunctionHost, B: Blueprint>(
    mut starting: Starting<H, B>,
    version: Arc<FunctionVersion<B>>,
    cause: InitializationType,
) {
    let shared = starting.shared.clone();
    let mut made_from = None;
    let result = async {
        let spec = Arc::new(version.spec.prepare(cause).await?);
        made_from = Some(spec.clone());
        shared.host.start(spec).await
    }
    .await;
    let Some(id) = starting.id.take() else { return };
    match result {
        Ok(environment) => {
            let ended = environment.ended();
            let made = Made {
                memory_bytes: environment.memory_bytes(),
                origin: environment.origin(),
                isolation: environment.isolation().level,
            };
            Shared::step(&shared, |core, now, todo| core.started(now, id, environment, made, todo));
            let watched = Arc::downgrade(&shared);
            drop((starting, shared));
            ended.await;
            if let Some(shared) = watched.upgrade() {
                Shared::step(&shared, |core, now, todo| core.died(now, id, todo));
            }
        }
        Err(error) => {
            tracing::debug!(function = %version.key.function, version = %version.key.version, %error, "start failed");
            let why = || reason(&error);
            if let Some(waiter) = Shared::step(&shared, |core, now, todo| core.start_failed(now, id, why, todo)) {
                // Who gave up just now does not need to know.
                drop(waiter.0.send(Err(Refused::Start { error, spec: made_from })));
            }
            shared.progressed();
        }
    }
}

/// Why provisioned environments are missing, in words.
fn reason(error: &StartError) -> String {
    let StartError::Init(failure) = error else { return error.to_string() };
    match &failure.outcome {
        InitOutcome::Error { error_type, .. } if !error_type.is_empty() => format!("{error}: {error_type}"),
        InitOutcome::Error { .. } => error.to_string(),
        InitOutcome::Timeout => format!("{error}: it took too long"),
        InitOutcome::Exited(exit) => format!("{error}: {exit}"),
        InitOutcome::InvalidEntrypoint { reason } => format!("{error}: {reason}"),
    }
}

/// Keeps the time limits of the core for as long as the scheduler is used; holds it only while it works.
pub(super) async fn keep_time<H: FunctionHost, B: Blueprint>(
    scheduler: Weak<Shared<H, B>>,
    ticker: Arc<Notify>,
    env: Env,
) {
    let mut probed = None;
    while let Some(shared) = scheduler.upgrade() {
        let now = env.monotonic();
        let probe = shared.probe.as_ref().filter(|_| probed.is_none_or(|at| now.since(at) >= PROBE_PAUSE));
        let available = probe.map(|probe| probe.available_bytes());
        if available.is_some() {
            probed = Some(now);
        }
        let due = Shared::step(&shared, |core, now, todo| {
            if let Some(available) = available {
                core.set_available(now, available, todo);
            }
            let due = core.tick(now, todo);
            let probe = probed.filter(|_| core.is_used()).map(|at| at + PROBE_PAUSE);
            due.into_iter().chain(probe).min()
        });
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
