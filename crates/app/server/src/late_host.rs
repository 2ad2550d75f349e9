//! The process sandbox, opened while the server already serves.
//!
//! Opening it tries a whole sandbox out and takes longer than everything else of a start together, yet only functions need
//! it. So whoever needs it waits for it, and nobody else does. When it cannot be opened the server ends with the cause.

use std::sync::{Arc, OnceLock};

use base_types::{Fault, FaultKind};
use compute_api::{Deployed, EnvironmentSpec, FunctionHost, HostReport, IsolationLevel, RuntimeListing, StartError};
use compute_process::{OpenError, ProcessEnvironment, ProcessHost};
use tokio::sync::watch;

use crate::ServerError;

/// A [`ProcessHost`] that may not be there yet. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LateHost(Arc<Inner>);

struct Inner {
    /// `None`: it could not be opened.
    host: OnceLock<Option<ProcessHost>>,
    opened: watch::Sender<bool>,
}

impl LateHost {
    /// Begins to open it by `open`, which may block. The receiver gets the failure, if it is one.
    pub(crate) fn begin(
        open: impl FnOnce() -> Result<ProcessHost, OpenError> + Send + 'static,
    ) -> (Self, tokio::task::JoinHandle<Result<(), ServerError>>) {
        let late = Self(Arc::new(Inner { host: OnceLock::new(), opened: watch::Sender::new(false) }));
        let inner = Arc::clone(&late.0);
        let opening = tokio::task::spawn_blocking(move || {
            let opened = open();
            let (host, outcome) = match opened {
                Ok(host) => (Some(host), Ok(())),
                Err(error) => (None, Err(ServerError::new("the sandbox cannot be opened").because(error))),
            };
            // Nobody else sets it.
            drop(inner.host.set(host));
            inner.opened.send_replace(true);
            outcome
        });
        (late, opening)
    }

    /// The host, as soon as it is there.
    async fn host(&self) -> Option<&ProcessHost> {
        let mut opened = self.0.opened.subscribe();
        // The sender lives as long as `self`.
        drop(opened.wait_for(|opened| *opened).await);
        self.0.host.get().and_then(Option::as_ref)
    }

    /// The same for synchronous callers: blocks, but only within the first moments of a server.
    fn host_now(&self) -> Option<&ProcessHost> {
        self.0.host.wait().as_ref()
    }
}

impl FunctionHost for LateHost {
    type Environment = ProcessEnvironment;

    async fn start(&self, spec: Arc<EnvironmentSpec>) -> Result<ProcessEnvironment, StartError> {
        match self.host().await {
            Some(host) => host.start(spec).await,
            None => Err(Fault::new(FaultKind::Unavailable, "start an environment: there is no sandbox").into()),
        }
    }

    async fn snapshot(&self, spec: Arc<EnvironmentSpec>) -> Result<(), StartError> {
        match self.host().await {
            Some(host) => host.snapshot(spec).await,
            None => Err(Fault::new(FaultKind::Unavailable, "make a snapshot: there is no sandbox").into()),
        }
    }

    fn forget_snapshot(&self, snapshot: &str) {
        // Without a sandbox there are none.
        if let Some(Some(host)) = self.0.host.get() {
            host.forget_snapshot(snapshot);
        }
    }

    fn expect(&self, deployed: Deployed) {
        // While it opens there is nothing to prepare with.
        if let Some(Some(host)) = self.0.host.get() {
            host.expect(deployed);
        }
    }

    fn runtimes(&self) -> Arc<RuntimeListing> {
        self.host_now().map_or_else(Arc::default, ProcessHost::runtimes)
    }

    fn report(&self) -> Arc<HostReport> {
        let none = || Arc::new(HostReport { level: IsolationLevel::Refused, findings: Vec::new() });
        self.host_now().map_or_else(none, ProcessHost::report)
    }

    async fn shutdown(&self) {
        if let Some(host) = self.host().await {
            host.shutdown().await;
        }
    }
}
