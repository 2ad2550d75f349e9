//! An environment in the hands of one caller, and its way back.

use std::{sync::Arc, time::Duration};

use compute_api::{
    Completion, Environment, EnvironmentSpec, FunctionHost, InitializationType, Invocation, IsolationLevel,
    IsolationReport, Origin, Start,
};

use super::{Blueprint, Id, Ran, Shared};
use crate::core::{Freed, Usage};

/// An environment for one invocation. Dropped unused it is free again.
pub struct Lease<H: FunctionHost, B: Blueprint> {
    shared: Arc<Shared<H, B>>,
    id: Id<H, B>,
    environment: Option<H::Environment>,
    spec: Arc<EnvironmentSpec>,
    origin: Origin,
    isolation: IsolationLevel,
    start: Start,
    pub(super) queued: Duration,
    /// An invocation was begun and did not come to its end.
    spoilt: bool,
    usage: Option<Usage>,
}

impl<H: FunctionHost, B: Blueprint> Lease<H, B> {
    pub(super) fn new(shared: &Arc<Shared<H, B>>, id: Id<H, B>, environment: H::Environment, start: Start) -> Self {
        let spec = environment.spec().clone();
        let (origin, isolation) = (environment.origin(), environment.isolation().level);
        Self {
            shared: shared.clone(),
            id,
            environment: Some(environment),
            spec,
            origin,
            isolation,
            start,
            queued: Duration::ZERO,
            spoilt: false,
            usage: None,
        }
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
                let figures = &completion.figures;
                let (peak_bytes, ran, cpu) = (figures.memory_bytes_max, figures.duration, figures.cpu);
                self.usage = Some(Usage { peak_bytes, ran, cpu });
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
        let (shared, id, usage) = (&self.shared, self.id, self.usage);
        match self.environment.take() {
            Some(environment) if !self.spoilt && environment.is_alive() && !environment.is_settled() => {
                shared.core.lock().settling(id);
                let shared = shared.clone();
                tokio::spawn(settle(Settling { shared, id, environment: Some(environment), usage }));
            }
            environment => free(shared, id, environment, self.spoilt, usage),
        }
    }
}

/// Gives an environment back.
fn free<H: FunctionHost, B: Blueprint>(
    shared: &Arc<Shared<H, B>>,
    id: Id<H, B>,
    environment: Option<H::Environment>,
    spoilt: bool,
    usage: Option<Usage>,
) {
    Shared::step(shared, |core, now, todo| match environment {
        Some(environment) => {
            let reusable = !spoilt && environment.is_alive();
            let freed = Freed { reusable, memory_bytes: environment.memory_bytes(), usage };
            core.finished(now, id, environment, freed, todo);
        }
        None => core.lost(now, id, todo),
    });
    shared.progressed();
}

/// An environment between its answer and its quiet. If its task ends early (a panic, the end of the runtime), the
/// environment is not used again.
struct Settling<H: FunctionHost, B: Blueprint> {
    shared: Arc<Shared<H, B>>,
    id: Id<H, B>,
    environment: Option<H::Environment>,
    usage: Option<Usage>,
}

impl<H: FunctionHost, B: Blueprint> Drop for Settling<H, B> {
    fn drop(&mut self) {
        let environment = self.environment.take();
        let spoilt = environment.as_ref().is_some_and(|environment| !environment.is_settled());
        free(&self.shared, self.id, environment, spoilt, self.usage);
    }
}

async fn settle<H: FunctionHost, B: Blueprint>(mut settling: Settling<H, B>) {
    if let Some(environment) = settling.environment.as_mut() {
        environment.settle().await;
    }
}
