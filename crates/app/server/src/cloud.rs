//! The composition: which services there are, on which back-ends, and how a request finds its service.
//!
//! Invariant: this crate alone names the back-ends (the embedded store, the process sandbox); a service sees traits.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Fault};
use compute_api::{Egress, FunctionHost as _, IsolationLevel};
use edge_gateway::{Body, Call, Key, Lookup, OwnCall, Upstream, UrlCall};
use edge_outbound::HttpOutbound;
use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use services_dynamodb::DynamoDb;
use services_events::EventBridge;
use services_kernel::{
    AnswerHeaders, AuditRetention, BlobSweep, Cx, Dispatcher, IdempotencySweep, PageTokens, Principal, Reconciler,
    keep_reconciling,
};
use services_lambda::{Lambda, archive::CodeFolder, url::UrlBase};
use services_logs::CloudWatchLogs;
use services_pipes::Pipes;
use services_ports::{Destinations, MeteredFunction, Outbound as _, Queues, RoleCredentials};
use services_scheduler::Scheduler;
use services_sns::Sns;
use services_sqs::Sqs;
use services_sts::{SessionLookup, Sts};
use services_usage::{Prices, Usage, Writer};
use store_api::{Store, Tx};
use store_embedded::{DataDir, EmbeddedStore};
use store_segments::Segments;
use tokio::{sync::watch, task::JoinHandle};
use wire_schema::{Model, Protocol, Serve, ServiceSchema};

use crate::{
    ServerConfig, host_memory,
    installation::Installation,
    late_host::LateHost,
    operations::{AllOperations, Wired},
    own::{self, Choice, Page},
    pages, provisioned,
    usage_page::{self, Question},
};

/// Letters that the page shows.
const OUTBOX_SHOWN: usize = 100;

/// Lambda on this host, with its output in our logs.
pub(crate) type Functions = Lambda<LateHost, CloudWatchLogs>;

/// What the services are made of.
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

/// Everything that stands behind the gateway.
pub(crate) struct Cloud {
    schemas: Vec<&'static ServiceSchema>,
    dispatcher: Dispatcher,
    installation: Installation,
    embedded: EmbeddedStore,
    directory: Arc<DataDir>,
    segments: Segments,
    host: LateHost,
    dynamodb: Arc<DynamoDb>,
    events: Arc<EventBridge>,
    lambda: Arc<Functions>,
    logs: Arc<CloudWatchLogs>,
    pipes: Arc<Pipes<Functions>>,
    scheduler: Arc<Scheduler<AllOperations>>,
    sns: Arc<Sns>,
    sqs: Arc<Sqs>,
    sts: Arc<Sts>,
    usage: Usage,
    env: Env,
    /// The account's concurrency limit.
    concurrency: u32,
}

/// What must be ended in order.
pub(crate) struct Rooms {
    sqs: Arc<Sqs>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    lambda: Arc<Functions>,
    operations: AllOperations,
    segments: Segments,
    usage: Usage,
    env: Env,
}

impl Rooms {
    /// Background work begins nothing new.
    pub(crate) fn stop_reconcilers(&self) {
        self.stop.send_replace(true);
        self.sqs.end_waits();
    }

    /// Recalls what counts from the first invocation on: all reserved concurrency.
    pub(crate) async fn recall(&self) -> Result<(), Fault> {
        self.lambda.recall_reservations().await
    }

    /// Lets what runs finish within the limit, ends every environment, and puts logs and usage on disk. True when
    /// everything came to its end.
    pub(crate) async fn end(self, limit: Duration) -> bool {
        let begun = self.env.monotonic();
        let mut finished = self.lambda.shut_down(limit).await;
        for mut task in self.tasks {
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

impl Cloud {
    /// Puts the services together and starts their background work.
    pub(crate) fn assemble(parts: Parts<'_>) -> (Self, Rooms) {
        let Parts { config, env, embedded, directory, installation, host, segments, code, port, outbound } = parts;
        let store = embedded.store().clone();
        let tokens = PageTokens::new(&installation.derive("page-tokens"), env.clone());
        let sts = Arc::new(Sts::new(&installation.derive("sessions"), env.clone()));
        let logs = CloudWatchLogs::new(store.clone(), segments.clone(), tokens.clone());
        let (usage, writer) = Usage::new(store.clone());
        let sqs = Sqs::new(store.clone(), tokens.clone()).with_urls(config.sqs.endpoint_strategy.form());
        let dynamodb = Arc::new(DynamoDb::new(store.clone()));
        let destinations = Destinations::new();
        destinations.register(Arc::new(sqs.clone()));
        let check = outbound.clone();
        let sns = Sns::new(services_sns::Parts {
            store: store.clone(),
            page_tokens: tokens.clone(),
            destinations: destinations.clone(),
            check: Arc::new(move |uri| check.check(uri)),
        });
        destinations.register(Arc::new(sns.clone()));
        let events = EventBridge::new(services_events::Parts {
            store: store.clone(),
            page_tokens: tokens.clone(),
            destinations: destinations.clone(),
            sealing_key: installation.derive("connections"),
        });
        destinations.register(Arc::new(events.clone()));
        destinations.register(Arc::new(logs.clone()));
        let operations = AllOperations::default();
        let (pipe_tokens, pipe_destinations) = (tokens.clone(), destinations.clone());
        let scheduler = Scheduler::new(services_scheduler::Parts {
            store: store.clone(),
            tokens: tokens.clone(),
            destinations: destinations.clone(),
            operations: operations.clone(),
        });
        let lambda = Lambda::new(services_lambda::Parts {
            store: store.clone(),
            env: env.clone(),
            host: host.clone(),
            scheduler: scheduler_limits(config),
            code,
            tokens,
            credentials: Arc::clone(&sts) as Arc<dyn RoleCredentials>,
            logs: logs.clone(),
            meter: Arc::new(usage.clone()),
            destinations,
            queues: Arc::new(sqs.clone()),
            settings: lambda_settings(config, port),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = lambda.start_tasks(&stopped);
        tasks.push(background(logs.reconciler(), &store, env, &stopped));
        tasks.push(background(dynamodb.reconciler(), &store, env, &stopped));
        tasks.push(background(sqs.reconciler(), &store, env, &stopped));
        tasks.push(background(sns.reconciler(), &store, env, &stopped));
        tasks.push(background(sns.caller(outbound.clone()), &store, env, &stopped));
        tasks.push(background(logs.deliveries(), &store, env, &stopped));
        tasks.push(background(events.schedules(), &store, env, &stopped));
        tasks.push(background(events.chunks(), &store, env, &stopped));
        tasks.push(background(events.archives(), &store, env, &stopped));
        tasks.push(background(events.replays(), &store, env, &stopped));
        tasks.push(background(events.calls(outbound), &store, env, &stopped));
        tasks.push(background(AuditRetention::new(store.clone()), &store, env, &stopped));
        tasks.push(background(IdempotencySweep::new(store.clone()), &store, env, &stopped));
        tasks.push(background(BlobSweep::new(store.clone()), &store, env, &stopped));
        tasks.push(background(usage.retention(), &store, env, &stopped));
        // It ends when it is told to, behind the last invocation.
        drop(tokio::spawn(Writer::run(writer)));
        let (lambda, logs, sns, sqs) = (Arc::new(lambda), Arc::new(logs), Arc::new(sns), Arc::new(sqs));
        let (events, scheduler) = (Arc::new(events), Arc::new(scheduler));
        let pipes = Arc::new(Pipes::new(services_pipes::Parts {
            store: store.clone(),
            tokens: pipe_tokens,
            destinations: pipe_destinations,
            queues: Arc::clone(&sqs) as Arc<dyn Queues>,
            functions: Arc::clone(&lambda),
        }));
        operations.open(Wired {
            dynamodb: Arc::clone(&dynamodb),
            events: Arc::clone(&events),
            lambda: Arc::clone(&lambda),
            logs: Arc::clone(&logs),
            pipes: Arc::clone(&pipes),
            scheduler: Arc::clone(&scheduler),
            sns: Arc::clone(&sns),
            sqs: Arc::clone(&sqs),
            sts: Arc::clone(&sts),
        });
        tasks.push(background(scheduler.reconciler(), &store, env, &stopped));
        tasks.push(background(pipes.reconciler(), &store, env, &stopped));
        let looked_at = Arc::clone(&lambda);
        let look = move || looked_at.environments();
        tasks.push(tokio::spawn(provisioned::count(look, usage.clone(), env.clone(), stopped)));
        let rooms = Rooms {
            sqs: Arc::clone(&sqs),
            stop,
            tasks,
            lambda: Arc::clone(&lambda),
            operations,
            segments: segments.clone(),
            usage: usage.clone(),
            env: env.clone(),
        };
        let cloud = Self {
            schemas: vec![
                model_dynamodb::Api::service(),
                model_events::Api::service(),
                model_lambda::Api::service(),
                model_logs::Api::service(),
                model_pipes::Api::service(),
                model_scheduler::Api::service(),
                model_sns::Api::service(),
                model_sqs::Api::service(),
                model_sts::Api::service(),
            ],
            dispatcher: Dispatcher::new(store),
            installation: installation.clone(),
            embedded: embedded.clone(),
            directory: Arc::clone(directory),
            segments,
            host,
            dynamodb,
            events,
            lambda,
            logs,
            pipes,
            scheduler,
            sns,
            sqs,
            sts,
            usage,
            env: env.clone(),
            concurrency: config.functions.concurrency,
        };
        (cloud, rooms)
    }

    /// Decodes, dispatches, encodes.
    async fn serve<M, S>(&self, service: &Arc<S>, call: Call) -> Response<Body>
    where
        M: Serve<S, Cx, Tx>,
        S: Send + Sync + 'static,
    {
        let Call { mut cx, head, body, environment, route, .. } = call;
        let inside = environment.and_then(|environment| self.lambda.lineage_of(&environment.id));
        cx.follow(inside.as_ref());
        let route = route.unwrap_or_else(|| wire_http::route(M::service(), &head));
        let request_id = Arc::clone(&cx.request_id);
        match wire_http::read::<M>(&route, &head, body) {
            Ok(read) => {
                let added = cx.headers.clone();
                // Boxed: a future is moved when it is begun, and this one holds the whole operation.
                let outcome = Box::pin(self.dispatcher.dispatch::<M, S>(service, cx, read.request)).await;
                with(wire_http::respond::<M>(&route, read.operation, &outcome, &request_id), &added)
            }
            Err(error) => wire_http::refuse::<M>(&route, &error, &request_id),
        }
    }
}

impl Cloud {
    /// What runs just now; with `?function=NAME` of one function, its last invocations too.
    fn environments(&self, call: &OwnCall) -> Response<Body> {
        let only = match call.head.uri.query().filter(|query| !query.is_empty()).map(|query| query.split_once('=')) {
            None => None,
            Some(Some(("function", name))) => Some(name),
            Some(_) => return own::invalid("The one parameter of this page is `function`."),
        };
        let only = match (&call.identity, only) {
            (Ok(identity), Some(name)) => Some(MeteredFunction {
                account: identity.account,
                region: identity.region.clone(),
                name: Arc::from(name),
            }),
            _ => None,
        };
        let last = only.as_ref().and_then(|function| self.usage.live(function));
        let now = pages::Now {
            snapshot: self.lambda.environments(),
            rates: self.usage.live_all(),
            concurrency: self.concurrency,
            only: only.map(|function| (function, last.unwrap_or_default())),
        };
        own::document(&pages::environments(&now))
    }

    /// What e-mail and SMS subscribers would have got; with `?region=REGION` in another region than the caller's.
    async fn outbox(&self, call: &OwnCall) -> Response<Body> {
        let Ok(identity) = &call.identity else { return own::invalid("The caller is not known.") };
        let query = call.head.uri.query().unwrap_or_default();
        let region = match query.strip_prefix("region=").map(str::parse) {
            None if query.is_empty() => identity.region.clone(),
            Some(Ok(region)) => region,
            _ => return own::invalid("The one parameter of this page is `region`."),
        };
        match self.sns.outbox(identity.account, region, OUTBOX_SHOWN).await {
            Ok(letters) => own::document(&pages::outbox(&letters)),
            Err(fault) => own::failed("outbox", &fault),
        }
    }

    /// What invocations took.
    async fn usage(&self, call: &OwnCall) -> Response<Body> {
        let Ok(identity) = &call.identity else { return own::invalid("The caller is not known.") };
        let query = call.head.uri.query().unwrap_or_default();
        let question = match Question::read(query, identity.account, identity.region.clone(), self.env.now()) {
            Ok(question) => question,
            Err(wrong) => return own::invalid(&wrong),
        };
        let prices = match Prices::built_in() {
            Ok(prices) => prices,
            Err(error) => return own::failed("usage", &error),
        };
        match self.usage.summary(&question.selection).await {
            Ok(summary) => own::document(&usage_page::document(&question, &summary, &prices)),
            Err(fault) => own::failed("usage", &fault),
        }
    }
}

impl Upstream for Cloud {
    fn services(&self) -> &[&'static ServiceSchema] {
        &self.schemas
    }

    async fn call(&self, call: Call) -> Response<Body> {
        match call.service.name {
            "dynamodb" => with_checksum(self.serve::<model_dynamodb::Api, _>(&self.dynamodb, call).await),
            "lambda" => self.serve::<model_lambda::Api, _>(&self.lambda, call).await,
            "events" => self.serve::<model_events::Api, _>(&self.events, call).await,
            "logs" => self.serve::<model_logs::Api, _>(&self.logs, call).await,
            "pipes" => self.serve::<model_pipes::Api, _>(&self.pipes, call).await,
            "scheduler" => self.serve::<model_scheduler::Api, _>(&self.scheduler, call).await,
            "sns" => self.serve::<model_sns::Api, _>(&self.sns, call).await,
            "sqs" => self.serve::<model_sqs::Api, _>(&self.sqs, with_address(call)).await,
            // The gateway routes to the services named above and to this one only.
            _ => self.serve::<model_sts::Api, _>(&self.sts, call).await,
        }
    }

    async fn function_url(&self, call: UrlCall) -> Response<Body> {
        let text = |name: &str| call.head.headers.get(name).and_then(|value| value.to_str().ok());
        let principal = match &call.identity {
            Ok(identity) => Arc::clone(&identity.principal),
            Err(_) => Arc::new(Principal::Anonymous),
        };
        let cx = Cx {
            // The URL's own account and region take their place when it is found.
            account: AccountId::DEFAULT,
            region: call.region.clone().unwrap_or_default(),
            principal,
            source: None,
            request_id: Arc::clone(&call.request_id),
            trace: text("x-amzn-trace-id").map(Arc::from),
            hops: 0,
            deadline: None,
            endpoint: Arc::from(format!("http://{}", text("host").unwrap_or_default())),
            source_ip: Arc::clone(&call.source_ip),
            user_agent: Arc::from(text("user-agent").unwrap_or_default()),
            headers: AnswerHeaders::default(),
        };
        let UrlCall { url_id, path, mut head, body, .. } = call;
        head.uri = as_seen_by_function(&head.uri, &path);
        with(self.lambda.serve_url(&cx, &url_id, Request::from_parts(head, body)).await, &cx.headers)
    }

    async fn own(&self, call: OwnCall) -> Option<Response<Body>> {
        let page = match own::choose(&call) {
            Choice::Show(page) => page,
            Choice::Refuse(answer) => return Some(answer),
            Choice::Unknown => return None,
        };
        match page {
            Page::Runtimes => Some(own::document(&pages::runtimes(&self.host.runtimes()))),
            Page::Doctor => Some(own::document(&pages::doctor(&self.host.report()))),
            Page::Environments => Some(self.environments(&call)),
            Page::Usage => Some(self.usage(&call).await),
            Page::Outbox => Some(self.outbox(&call).await),
            Page::Certificate(file) => own::certificate(self.sns.certificate(&file).await),
            Page::Backup => Some(own::backup(&self.embedded, &self.directory, &self.segments)),
            Page::Package(token) => own::package(self.lambda.package(&token).await),
        }
    }

    async fn key(&self, key_id: &str, token: Option<&str>) -> Result<Lookup, Fault> {
        match self.installation.root_secret(key_id) {
            Some(_) if token.is_some() => Ok(Lookup::InvalidToken),
            Some(secret) => {
                let account = AccountId::DEFAULT;
                let principal = Arc::new(Principal::Root { account });
                Ok(Lookup::Found(Key { secret: secret.to_owned(), principal, account }))
            }
            None => Ok(match self.sts.session(key_id, token) {
                SessionLookup::Found(session) => Lookup::Found(Key {
                    secret: session.secret,
                    principal: session.principal,
                    account: session.account,
                }),
                SessionLookup::Unknown => Lookup::Unknown,
                SessionLookup::Invalid => Lookup::InvalidToken,
                SessionLookup::Expired => Lookup::Expired,
            }),
        }
    }
}

/// A form that was sent to a queue's own address means that queue; of an unsigned one the path may tell the region.
fn with_address(mut call: Call) -> Call {
    if call.protocol == Protocol::Query && call.head.uri.path().len() > 1 {
        let (body, region) = services_sqs::complete_form(call.head.uri.path(), call.head.uri.query(), call.body);
        call.body = body;
        let signed = call.head.headers.contains_key(header::AUTHORIZATION);
        call.cx.region = region.filter(|_| !signed).unwrap_or(call.cx.region);
    }
    call
}

/// The response with the checksum that DynamoDB's clients look at.
fn with_checksum(mut response: Response<Body>) -> Response<Body> {
    let sum = response.body().whole().map(|body| crc32fast::hash(body));
    if let Some(sum) = sum {
        response.headers_mut().insert("x-amz-crc32", HeaderValue::from(sum));
    }
    response
}

/// The response with what its operation added.
fn with(mut response: Response<Body>, added: &AnswerHeaders) -> Response<Body> {
    for (name, value) in added.take() {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The request's target with the path that the function shall see.
fn as_seen_by_function(uri: &Uri, path: &str) -> Uri {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // It is a part of a target that was parsed before, so it parses.
    PathAndQuery::try_from(target).map_or_else(|_| uri.clone(), Uri::from)
}

fn background<R: Reconciler>(work: R, store: &Store, env: &Env, stopped: &watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(keep_reconciling(work, store.clone(), env.clone(), stopped.clone()))
}

fn scheduler_limits(config: &ServerConfig) -> compute_scheduler::Limits {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let functions = &config.functions;
    let defaults = compute_scheduler::Limits::default();
    let total = host_memory::total_mib();
    compute_scheduler::Limits {
        account_concurrency: functions.concurrency,
        memory_budget_mib: match functions.memory_budget_mib {
            0 => total.map_or(defaults.memory_budget_mib, |total| total / 5 * 4),
            told => told,
        },
        // A twentieth of the machine stays free, as far as stopping and refusing functions can keep it.
        memory_floor_mib: total.map_or(defaults.memory_floor_mib, |total| (total / 20).clamp(64, 1024)),
        memory_probe: Some(compute_scheduler::MemoryProbe::new(host_memory::available_bytes)),
        starts_concurrent: match functions.starts_concurrent {
            0 => processors * 2,
            told => told,
        },
        waiters_per_function: functions.waiters_max,
        waiters_total: functions.waiters_max.saturating_mul(4),
        idle_max: Duration::from_secs(functions.idle_seconds_max),
        ..defaults
    }
}

fn lambda_settings(config: &ServerConfig, port: Option<u16>) -> services_lambda::Settings {
    let domain = config.domains.first().cloned().unwrap_or_else(|| "localhost".to_owned());
    let isolation_min = match config.functions.isolation_min.parse() {
        Ok(level) => level,
        // `auto`: the configuration was checked.
        Err(_) if config.auth_required() => IsolationLevel::Full,
        Err(_) => IsolationLevel::SingleUid,
    };
    services_lambda::Settings {
        urls: UrlBase { scheme: "http".to_owned(), domain, port },
        isolation_min,
        // Whoever may call without a signature may reach the internet without a function, too.
        egress: if config.auth_required() { Egress::None } else { Egress::Offered },
        ..services_lambda::Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_sees_its_own_path_and_the_whole_query() {
        for (target, path, seen) in [
            ("/_pileus/url/abc/a/b?x=1&y", "/a/b", "/a/b?x=1&y"),
            ("/_pileus/url/abc", "/", "/"),
            ("/a%20b?", "/a%20b", "/a%20b?"),
        ] {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(as_seen_by_function(&uri, path).to_string(), seen);
        }
    }

    #[test]
    fn required_signatures_ask_for_full_isolation_unless_told() {
        let mut config = ServerConfig::default();
        assert_eq!(lambda_settings(&config, Some(1)).egress, Egress::Offered);
        assert_eq!(lambda_settings(&config, Some(1)).isolation_min, IsolationLevel::SingleUid);
        config.auth = crate::Auth::Required;
        assert_eq!(lambda_settings(&config, Some(1)).isolation_min, IsolationLevel::Full);
        assert_eq!(lambda_settings(&config, Some(1)).egress, Egress::None);
        config.functions.isolation_min = "no-limits".to_owned();
        assert_eq!(lambda_settings(&config, Some(1)).isolation_min, IsolationLevel::NoLimits);
    }
}
