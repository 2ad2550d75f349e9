//! The composition: services on their back-ends, what one asks of another, and the work that goes on behind them.
//!
//! Invariant: this crate alone names the back-ends (the embedded store, the process sandbox); a service sees traits.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::Fault;
use edge_outbound::HttpOutbound;
use services_dynamodb::{DynamoDb, DynamoDbStreams};
use services_events::{ApiCalls, EventBridge};
use services_kernel::{AuditRetention, BlobSweep, IdempotencySweep, PageTokens, Reconciler, keep_reconciling};
use services_lambda::{Lambda, archive::CodeFolder};
use services_logs::CloudWatchLogs;
use services_pipes::Pipes;
use services_ports::{Destinations, Outbound as _, Queues, RoleCredentials, StreamSources};
use services_s3::S3;
use services_scheduler::Scheduler;
use services_sns::Sns;
use services_sqs::Sqs;
use services_sts::Sts;
use services_usage::{Usage, Writer};
use store_api::Store;
use store_embedded::{DataDir, EmbeddedStore};
use store_segments::Segments;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    services::{Asked, Services},
    settings::{lambda_settings, scheduler_limits},
};
use crate::{ServerConfig, installation::Installation, late_host::LateHost, operations::AllOperations, provisioned};

/// What the services are made of.
#[derive(Clone)]
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a ServerConfig,
    pub(crate) env: &'a Env,
    pub(crate) embedded: &'a EmbeddedStore,
    pub(crate) directory: &'a Arc<DataDir>,
    pub(crate) installation: &'a Installation,
    pub(crate) host: LateHost,
    pub(crate) segments: Segments,
    pub(crate) code: CodeFolder,
    /// Where function URLs say they are.
    pub(crate) port: Option<u16>,
    /// Who calls out: topics' subscribers, API destinations.
    pub(crate) outbound: HttpOutbound,
}

/// The services, connected, with nothing running behind them yet.
pub(super) struct Composed {
    pub(super) services: Services,
    pub(super) usage: Usage,
    operations: AllOperations,
    calls: ApiCalls<HttpOutbound>,
    writer: Writer,
}

/// Puts the services together.
pub(super) fn compose(parts: &Parts<'_>) -> Composed {
    let Parts { config, env, installation, host, segments, code, port, outbound, .. } = parts;
    let store = parts.embedded.store();
    let tokens = PageTokens::new(&installation.derive("page-tokens"), (*env).clone());
    let destinations = Destinations::new();
    let operations = AllOperations::default();
    let (usage, writer) = Usage::new(store.clone());

    let sts = Arc::new(Sts::new(&installation.derive("sessions"), (*env).clone()));
    let dynamodb = Arc::new(DynamoDb::new(store.clone()));
    let dynamodbstreams = Arc::new(
        DynamoDbStreams::new(store.clone(), tokens.clone())
            .with_shards_open_for(Duration::from_secs(config.tables.shard_seconds)),
    );
    let streams = StreamSources::new();
    streams.register(Arc::clone(&dynamodbstreams) as _);
    let logs = Arc::new(CloudWatchLogs::new(store.clone(), segments.clone(), tokens.clone()));
    destinations.register(Arc::clone(&logs) as _);
    let sqs = Arc::new(Sqs::new(store.clone(), tokens.clone()).with_urls(config.sqs.endpoint_strategy.form()));
    destinations.register(Arc::clone(&sqs) as _);
    let check = outbound.clone();
    let sns = Arc::new(Sns::new(services_sns::Parts {
        store: store.clone(),
        page_tokens: tokens.clone(),
        destinations: destinations.clone(),
        check: Arc::new(move |uri| check.check(uri)),
    }));
    destinations.register(Arc::clone(&sns) as _);
    let events = Arc::new(EventBridge::new(services_events::Parts {
        store: store.clone(),
        page_tokens: tokens.clone(),
        destinations: destinations.clone(),
        sealing_key: installation.derive("connections"),
    }));
    destinations.register(Arc::clone(&events) as _);
    let calls = events.calls(outbound.clone());
    let s3 = Arc::new(S3::new(services_s3::Parts {
        store: store.clone(),
        page_tokens: tokens.clone(),
        destinations: destinations.clone(),
        sealing_key: installation.derive("object-keys"),
    }));
    let scheduler = Arc::new(Scheduler::new(services_scheduler::Parts {
        store: store.clone(),
        tokens: tokens.clone(),
        destinations: destinations.clone(),
        operations: operations.clone(),
    }));
    // A function's destinations know functions, too: Lambda registers itself.
    let lambda = Arc::new(Lambda::new(services_lambda::Parts {
        store: store.clone(),
        env: (*env).clone(),
        host: host.clone(),
        scheduler: scheduler_limits(config),
        code: code.clone(),
        tokens: tokens.clone(),
        credentials: Arc::clone(&sts) as Arc<dyn RoleCredentials>,
        logs: (*logs).clone(),
        meter: Arc::new(usage.clone()),
        destinations: destinations.clone(),
        queues: Arc::clone(&sqs) as Arc<dyn Queues>,
        streams: streams.clone(),
        settings: lambda_settings(config, *port),
    }));
    let pipes = Arc::new(Pipes::new(services_pipes::Parts {
        store: store.clone(),
        tokens,
        destinations,
        queues: Arc::clone(&sqs) as Arc<dyn Queues>,
        streams,
        peers: Arc::new(Asked {
            functions: Arc::clone(&lambda),
            endpoints: calls.destinations(),
            logs: Arc::clone(&logs),
        }),
    }));
    let services = Services { dynamodb, dynamodbstreams, events, lambda, logs, pipes, s3, scheduler, sns, sqs, sts };
    operations.open(services.clone());
    Composed { services, usage, operations, calls, writer }
}

/// Work that goes on until it is told to stop.
struct Background {
    store: Store,
    env: Env,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    fn keep<R: Reconciler>(&mut self, work: R) {
        let stopped = self.stop.subscribe();
        self.tasks.push(tokio::spawn(keep_reconciling(work, self.store.clone(), self.env.clone(), stopped)));
    }
}

/// Starts what goes on behind the services.
pub(super) fn begin(composed: Composed, parts: Parts<'_>) -> Rooms {
    let Composed { services, usage, operations, calls, writer } = composed;
    let Parts { env, segments, outbound, .. } = parts;
    let store = parts.embedded.store().clone();
    let (stop, stopped) = watch::channel(false);
    let tasks = services.lambda.start_tasks(&stopped);
    let mut background = Background { store: store.clone(), env: env.clone(), stop, tasks };
    background.keep(services.dynamodb.reconciler());
    background.keep(services.dynamodbstreams.reconciler());
    background.keep(services.events.schedules());
    background.keep(services.events.chunks());
    background.keep(services.events.archives());
    background.keep(services.events.replays());
    background.keep(calls);
    background.keep(services.logs.reconciler());
    background.keep(services.logs.deliveries());
    background.keep(services.pipes.reconciler());
    background.keep(services.s3.reconciler());
    background.keep(services.scheduler.reconciler());
    background.keep(services.sns.reconciler());
    background.keep(services.sns.caller(outbound));
    background.keep(services.sqs.reconciler());
    background.keep(usage.retention());
    background.keep(AuditRetention::new(store.clone()));
    background.keep(IdempotencySweep::new(store.clone()));
    background.keep(BlobSweep::new(store));
    // It ends when it is told to, behind the last invocation.
    drop(tokio::spawn(Writer::run(writer)));
    let lambda = Arc::clone(&services.lambda);
    let look = move || lambda.environments();
    background.tasks.push(tokio::spawn(provisioned::count(look, usage.clone(), env.clone(), stopped)));
    Rooms { services, background, operations, segments, usage, env: env.clone() }
}

/// What must be ended in order.
pub(crate) struct Rooms {
    services: Services,
    background: Background,
    operations: AllOperations,
    segments: Segments,
    usage: Usage,
    env: Env,
}

impl Rooms {
    /// Background work begins nothing new.
    pub(crate) fn stop_reconcilers(&self) {
        self.background.stop.send_replace(true);
        self.services.sqs.end_waits();
    }

    /// Recalls what counts from the first invocation on: all reserved concurrency.
    pub(crate) async fn recall(&self) -> Result<(), Fault> {
        self.services.lambda.recall_reservations().await
    }

    /// Lets what runs finish within the limit, ends every environment, and puts logs and usage on disk. True when
    /// everything came to its end.
    pub(crate) async fn end(self, limit: Duration) -> bool {
        let begun = self.env.monotonic();
        let mut finished = self.services.lambda.shut_down(limit).await;
        for mut task in self.background.tasks {
            let left = limit.saturating_sub(self.env.monotonic().since(begun)).max(Duration::from_millis(100));
            if self.env.timeout(left, &mut task).await.is_err() {
                task.abort();
                finished = false;
            }
        }
        self.operations.close();
        if let Err(error) = self.segments.sync().await {
            tracing::error!(%error, "the last log lines could not be put on disk");
        }
        if let Err(fault) = self.usage.end().await {
            tracing::error!(?fault, "the usage of the last second could not be put on disk");
        }
        finished
    }
}
