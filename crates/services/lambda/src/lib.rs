//! AWS Lambda: functions, versions, aliases, permissions, invocations and function URLs.
//!
//! | where | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops` | the operations, a file per resource; `control` has what they share |
//! | `invoke` | the data plane: routes, environments, invocations, the event queue, function URLs |
//! | `tasks` | reconcilers: settle creations and updates, sweep what was deleted |
//! | [`names`] [`configuration`] [`function`] [`permission`] [`events`] | the domain; pure |
//! | [`report`] [`url`] | AWS's texts: log lines, error documents, events and answers of URLs; pure |
//! | [`archive`] | deployment packages: read, checked, unpacked |
//! | `tables` | the only file that knows keys |
//!
//! Invariants: an acknowledged change holds for the very next call (a commit's hook drops what is cached before the commit
//! is acknowledged); a warm invocation reads nothing from the store; an accepted event will be run; code is unpacked only
//! after every byte of it was checked.
//!
//! Absent here: how an environment is made (`compute`), where log lines are kept (`services-logs`), HTTP listeners.

pub mod archive;
pub mod configuration;
pub mod events;
pub mod function;
pub mod names;
pub mod permission;
pub mod report;
pub mod url;

mod control;
mod describe;
mod error;
mod invoke;
mod ops;
mod packages;
mod service;
mod tables;
mod tasks;

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::Fault;
use bytes::Bytes;
use compute_api::{Egress, FunctionHost, IsolationLevel};
use compute_scheduler::{Limits as SchedulerLimits, Scheduler, Snapshot};
use services_kernel::{PageTokens, keep_reconciling};
use services_ports::{LogSink, RoleCredentials};
use store_api::Store;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    archive::{CodeFolder, Limits},
    control::{Control, Effects},
    invoke::{
        environment::{Ground, Logged},
        queue::RunEvents,
        routes::Routes,
        runner::Runner,
    },
    packages::Packages,
    tasks::{Settle, Sweep},
    url::UrlBase,
};

/// The service. Cheap to clone.
pub struct Lambda<H: FunctionHost, L: LogSink>(Arc<Shared<H, L>>);

struct Shared<H: FunctionHost, L: LogSink> {
    control: Arc<Control>,
    runner: Arc<Runner<H, L>>,
}

impl<H: FunctionHost, L: LogSink> Clone for Lambda<H, L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What the service is made of.
pub struct Parts<H, L> {
    /// Where everything is kept.
    pub store: Store,
    /// Time and chance.
    pub env: Env,
    /// What starts environments.
    pub host: H,
    /// Concurrency, memory and keep-alive of environments.
    pub scheduler: SchedulerLimits,
    /// Where code is unpacked.
    pub code: CodeFolder,
    /// Seals markers and package locations.
    pub tokens: PageTokens,
    /// Issues the credentials of execution roles.
    pub credentials: Arc<dyn RoleCredentials>,
    /// Takes the lines of functions.
    pub logs: L,
    /// See [`Settings`].
    pub settings: Settings,
}

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where function URLs live.
    pub urls: UrlBase,
    /// What functions may connect to beside the platform.
    pub egress: Egress,
    /// The least isolation under which functions run.
    pub isolation_min: IsolationLevel,
    /// Bounds of deployment packages.
    pub packages: Limits,
    /// Bytes of an environment's lines that may wait for the logs before the function is slowed down.
    pub output_bytes_max: usize,
}

impl Default for Settings {
    /// `http://<id>.lambda-url.<region>.localhost:4566/`, no egress, AWS's package limits, 1 MiB of lines.
    fn default() -> Self {
        Self {
            urls: UrlBase { scheme: "http".to_owned(), domain: "localhost".to_owned(), port: Some(4566) },
            egress: Egress::None,
            isolation_min: IsolationLevel::SingleUid,
            packages: Limits::INLINE,
            output_bytes_max: 1 << 20,
        }
    }
}

impl<H: FunctionHost, L: LogSink> Lambda<H, L> {
    /// The service over its parts. Call it inside the runtime: the scheduler starts a task.
    pub fn new(parts: Parts<H, L>) -> Self {
        let Parts { store, env, host, scheduler, code, tokens, credentials, logs, settings } = parts;
        let packages = Packages::new(store.clone(), code, settings.packages);
        let ground = Arc::new(Ground {
            env: env.clone(),
            store: store.clone(),
            packages: packages.clone(),
            credentials,
            logs: Arc::new(logs),
            egress: settings.egress,
            isolation_min: settings.isolation_min,
            output_bytes_max: settings.output_bytes_max,
        });
        let runner = Arc::new(Runner {
            env: env.clone(),
            routes: Routes::new(ground, store.clone()),
            scheduler: Scheduler::new(Logged { host, env: env.clone() }, env.clone(), scheduler),
            runtime: tokio::runtime::Handle::current(),
        });
        let effects: Arc<dyn Effects> = Arc::<Runner<H, L>>::clone(&runner);
        let limits = settings.packages;
        let control = Arc::new(Control { store, env, tokens, packages, limits, urls: settings.urls, effects });
        Self(Arc::new(Shared { control, runner }))
    }

    /// Starts the background work, until `stop` turns true.
    pub fn start_tasks(&self, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let (store, env) = (self.0.control.store.clone(), self.0.control.env.clone());
        let control = || Arc::clone(&self.0.control);
        vec![
            tokio::spawn(keep_reconciling(Settle { control: control() }, store.clone(), env.clone(), stop.clone())),
            tokio::spawn(keep_reconciling(Sweep::new(control()), store.clone(), env.clone(), stop.clone())),
            tokio::spawn(keep_reconciling(RunEvents::new(self.clone()), store, env, stop.clone())),
        ]
    }

    /// The deployment package behind the location that `GetFunction` answered; `None` for a token that is not ours.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn package(&self, token: &str) -> Result<Option<Bytes>, Fault> {
        let digest = self.0.control.tokens.open(ops::packages::PACKAGE_SCOPE, token).ok();
        match digest.and_then(|digest| String::from_utf8(digest).ok()) {
            Some(digest) => self.0.control.packages.zip(&digest).await,
            None => Ok(None),
        }
    }

    /// The state of all execution environments.
    #[must_use]
    pub fn environments(&self) -> Snapshot {
        self.0.runner.scheduler.snapshot()
    }

    /// Refuses new invocations, waits at most `limit` for those that run, and ends all environments. True when every
    /// invocation came to its end.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.0.runner.scheduler.shut_down(limit).await
    }
}
