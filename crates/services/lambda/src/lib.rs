//! AWS Lambda: functions, versions, aliases, permissions, invocations and function URLs.
//!
//! | where | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops` | the operations, a file per resource; `control` has what they share |
//! | `invoke` | the data plane: routes, environments, invocations, the event queue, function URLs |
//! | `mappings` | event source mappings: settings, filters, batches, and who works them off |
//! | `tasks` | reconcilers: settle creations and updates, sweep what was deleted |
//! | `provisioned` `snapstart` | reconcilers: environments ahead of need, initialised processes of versions |
//! | [`names`] [`configuration`] [`function`] [`layers`] [`permission`] [`switches`] [`events`] [`event_invoke`] | the domain; pure |
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
pub mod event_invoke;
pub mod events;
pub mod function;
pub mod layers;
pub mod names;
pub mod permission;
pub mod report;
pub mod switches;
pub mod url;

mod control;
mod describe;
mod error;
mod invoke;
mod mappings;
mod ops;
mod packages;
mod provisioned;
mod service;
mod snapstart;
mod tables;
mod tasks;

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::Fault;
use bytes::Bytes;
use compute_api::{Egress, EnvironmentId, FunctionHost, IsolationLevel};
use compute_scheduler::{Limits as SchedulerLimits, Scheduler, Snapshot};
use services_kernel::{Lineage, PageTokens, keep_reconciling};
use services_ports::{Destinations, LogSink, Meter, Queues, RoleCredentials, StreamSources};
use store_api::{Direction, Key, Store};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    archive::{CodeFolder, Limits},
    control::{Control, Effects},
    invoke::{
        destinations::FunctionTarget,
        environment::{Ground, Lineages, Logged},
        queue::RunEvents,
        routes::Routes,
        runner::Runner,
    },
    mappings::poll::keep_polling,
    packages::Packages,
    provisioned::Provide,
    snapstart::TakeSnapshots,
    tables::{RESERVED, Reserved},
    tasks::{Settle, Sweep},
    url::UrlBase,
};

/// Reservations read in one transaction.
const RESERVATIONS_PER_READ: usize = 500;
/// How long a server that ends waits for lines that are on their way to the logs.
const LAST_LINES_WAIT: Duration = Duration::from_millis(500);

/// The service. Cheap to clone.
pub struct Lambda<H: FunctionHost, L: LogSink>(Arc<Shared<H, L>>);

struct Shared<H: FunctionHost, L: LogSink> {
    control: Arc<Control>,
    runner: Arc<Runner<H, L>>,
    lineages: Lineages,
    /// Environments whose lines are still handed on.
    forwarding: watch::Receiver<usize>,
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
    /// Counts invocations.
    pub meter: Arc<dyn Meter>,
    /// Who takes what asynchronous invocations come to; Lambda adds itself.
    pub destinations: Destinations,
    /// Whose messages event source mappings work off.
    pub queues: Arc<dyn Queues>,
    /// Whose streams event source mappings work off.
    pub streams: StreamSources,
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
    /// How long lines of an environment are gathered before the logs are told of them: whoever invokes a function again and
    /// again wakes nobody else for each invocation.
    pub output_gathering: Duration,
}

impl Default for Settings {
    /// `http://<id>.lambda-url.<region>.localhost:4566/`, no egress, AWS's package limits, 1 MiB of lines, which are handed on
    /// at once.
    fn default() -> Self {
        Self {
            urls: UrlBase { scheme: "http".to_owned(), domain: "localhost".to_owned(), port: Some(4566) },
            egress: Egress::None,
            isolation_min: IsolationLevel::SingleUid,
            packages: Limits::INLINE,
            output_bytes_max: 1 << 20,
            output_gathering: Duration::ZERO,
        }
    }
}

impl<H: FunctionHost, L: LogSink> Lambda<H, L> {
    /// The service over its parts. Call it inside the runtime: the scheduler starts a task.
    pub fn new(parts: Parts<H, L>) -> Self {
        let concurrency = parts.scheduler.account_concurrency;
        let Parts {
            store,
            env,
            host,
            scheduler,
            code,
            tokens,
            credentials,
            logs,
            meter,
            destinations,
            queues,
            streams,
            settings,
        } = parts;
        destinations.register(Arc::new(FunctionTarget { env: env.clone() }));
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
            output_gathering: settings.output_gathering,
            forwarding: watch::Sender::new(0),
        });
        let forwarding = ground.forwarding.subscribe();
        let lineages = Lineages::default();
        let runner = Arc::new(Runner {
            env: env.clone(),
            routes: Routes::new(ground, store.clone()),
            scheduler: Scheduler::new(
                Logged { host, env: env.clone(), lineages: lineages.clone() },
                env.clone(),
                scheduler,
            ),
            meter,
            runtime: tokio::runtime::Handle::current(),
        });
        let effects: Arc<dyn Effects> = Arc::<Runner<H, L>>::clone(&runner);
        let limits = settings.packages;
        let control = Arc::new(Control {
            store,
            env,
            tokens,
            packages,
            limits,
            urls: settings.urls,
            concurrency,
            destinations,
            queues,
            streams,
            effects,
        });
        Self(Arc::new(Shared { control, runner, lineages, forwarding }))
    }

    /// Tells the scheduler all reserved concurrency: it counts in the account's pool from the start, whether a function is
    /// called or not. Call it before the first invocation.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn recall_reservations(&self) -> Result<(), Fault> {
        let all = tables::all_reserved();
        let mut after = None::<Key>;
        loop {
            let (all, from) = (all.clone(), after.take());
            let batch = self
                .0
                .control
                .store
                .view(move |tx| {
                    let range = tables::page(&all, from.as_ref().map(Key::as_bytes));
                    RESERVED.scan(tx, &range, RESERVATIONS_PER_READ, Direction::Forward)
                })
                .await?;
            for (_, Reserved { account, region, name, concurrency }) in &batch {
                let arn: Arc<str> = Arc::from(names::function_arn(region, *account, name));
                self.0.runner.scheduler.set_reserved(account, region, &arn, Some(*concurrency));
            }
            match batch.last() {
                Some((key, _)) if batch.len() == RESERVATIONS_PER_READ => after = Some(key.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Starts the background work, until `stop` turns true.
    pub fn start_tasks(&self, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let (store, env) = (self.0.control.store.clone(), self.0.control.env.clone());
        let control = || Arc::clone(&self.0.control);
        vec![
            tokio::spawn(keep_reconciling(Settle { control: control() }, store.clone(), env.clone(), stop.clone())),
            tokio::spawn(keep_reconciling(Sweep::new(control()), store.clone(), env.clone(), stop.clone())),
            tokio::spawn(keep_reconciling(TakeSnapshots::new(self.clone()), store.clone(), env.clone(), stop.clone())),
            tokio::spawn(keep_reconciling(Provide::new(self.clone()), store.clone(), env.clone(), stop.clone())),
            tokio::spawn(keep_polling(self.clone(), stop.clone())),
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

    /// On behalf of what an environment is running: the trace header of its latest invocation, if that is part of a chain
    /// of consequences. `environment` is its identifier as text.
    #[must_use]
    pub fn lineage_of(&self, environment: &str) -> Option<Lineage> {
        let id = environment.strip_prefix('e')?.parse().ok()?;
        self.0.lineages.of(EnvironmentId(id)).map(|trace| Lineage::of(&trace))
    }

    /// Refuses new invocations, waits at most `limit` for those that run, and ends all environments. True when every
    /// invocation came to its end.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        let done = self.0.runner.scheduler.shut_down(limit).await;
        // The lines of what has just ended are on their way to the logs.
        let mut forwarding = self.0.forwarding.clone();
        let handed_on = forwarding.wait_for(|forwarding| *forwarding == 0);
        if self.0.control.env.timeout(LAST_LINES_WAIT, handed_on).await.is_err() {
            tracing::warn!("the last lines of some functions may not be in their logs");
        }
        done
    }
}
