//! A whole service on simulated time, with real queues, and requests as the edge makes them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use base_env::Env;
use base_types::{AccountId, Arn, Fault, Region, Timestamp};
use bytes::Bytes;
use model_pipes::*;
use model_sqs::Sqs as _;
use services_kernel::{Cx, Dispatcher, PageTokens, Reconciler};
use services_pipes::{Parts, Peers, Pipes, PipesReconciler};
use services_ports::{
    Deliver, Delivery, DeliveryError, Destinations, EndpointCall, EndpointError, Endpoints, Invoke, InvokeError,
    Invoked, LogAppendError, LogLine, LogSink, LogTarget,
};
use services_sqs::Sqs;
use store_api::{Lease, Store, Tx};
use wire_schema::{Model, ServiceError, Survey, validate};

pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/plumber";

/// Functions that answer what they are told to, and remember what they were asked.
#[derive(Default)]
pub(crate) struct Functions {
    /// The next call waits for it.
    pub(crate) hold: Mutex<Option<tokio::sync::oneshot::Receiver<()>>>,
    pub(crate) answers: Mutex<VecDeque<Result<Invoked, InvokeError>>>,
    pub(crate) asked: Mutex<Vec<(String, String)>>,
}

impl Functions {
    pub(crate) fn answer(&self, payload: &str) {
        let answer = Invoked { payload: Bytes::copy_from_slice(payload.as_bytes()), function_error: None };
        self.answers.lock().unwrap().push_back(Ok(answer));
    }

    pub(crate) fn fail(&self) {
        let answer = Invoked { payload: Bytes::new(), function_error: Some("Unhandled".to_owned()) };
        self.answers.lock().unwrap().push_back(Ok(answer));
    }
}

impl Invoke for Functions {
    async fn invoke(&self, cx: &Cx, function: &Arn, payload: Bytes) -> Result<Invoked, InvokeError> {
        let text = String::from_utf8_lossy(&payload).into_owned();
        self.asked.lock().unwrap().push((format!("{} {function}", cx.principal), text));
        let hold = self.hold.lock().unwrap().take();
        if let Some(hold) = hold {
            // Who let go of it lets it go on.
            drop(hold.await);
        }
        let told = self.answers.lock().unwrap().pop_front();
        told.unwrap_or_else(|| Err(InvokeError::Throttled("Rate Exceeded.".to_owned())))
    }
}

/// API destinations that answer what they are told to, and remember how they were called.
#[derive(Default)]
pub(crate) struct Destined {
    pub(crate) answers: Mutex<VecDeque<Result<Bytes, EndpointError>>>,
    pub(crate) called: Mutex<Vec<(String, EndpointCall)>>,
}

impl Destined {
    pub(crate) fn answer(&self, body: &str) {
        self.answers.lock().unwrap().push_back(Ok(Bytes::copy_from_slice(body.as_bytes())));
    }

    pub(crate) fn fail(&self, status: u16) {
        let reason = format!("the endpoint answered {status}");
        self.answers.lock().unwrap().push_back(Err(EndpointError::Failed { status: Some(status), reason }));
    }
}

impl Endpoints for Destined {
    async fn call(&self, _: &Cx, endpoint: &Arn, call: EndpointCall) -> Result<Bytes, EndpointError> {
        self.called.lock().unwrap().push((endpoint.to_string(), call));
        let told = self.answers.lock().unwrap().pop_front();
        told.unwrap_or_else(|| Err(EndpointError::NotFound(endpoint.to_string())))
    }
}

/// Logs whose lines are remembered by group and stream.
#[derive(Default)]
pub(crate) struct Diary {
    streams: Mutex<Vec<String>>,
    pub(crate) lines: Mutex<Vec<(String, String)>>,
    /// Streams up to this one were deleted.
    gone: Mutex<u128>,
}

impl Diary {
    /// What was logged is forgotten, and its streams are gone.
    pub(crate) fn burn(&self) {
        self.lines.lock().unwrap().clear();
        *self.gone.lock().unwrap() = self.streams.lock().unwrap().len() as u128;
    }

    /// The steps that were logged.
    pub(crate) fn steps(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let step = |(_, line): &(String, String)| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["messageType"].as_str().unwrap().to_owned()
        };
        lines.iter().map(step).collect()
    }
}

impl LogSink for Diary {
    fn ensure_stream(&self, _: &Cx, _: &Tx, group: &str, stream: &str) -> Result<LogTarget, Fault> {
        let mut streams = self.streams.lock().unwrap();
        streams.push(format!("{group} {stream}"));
        Ok(LogTarget { group: 1, stream: streams.len() as u128 })
    }

    async fn append(&self, target: &LogTarget, lines: Vec<LogLine>) -> Result<(), LogAppendError> {
        if target.stream <= *self.gone.lock().unwrap() {
            return Err(LogAppendError::Gone);
        }
        let stream = self.streams.lock().unwrap()[usize::try_from(target.stream).unwrap() - 1].clone();
        let text = |line: LogLine| String::from_utf8(line.text.to_vec()).unwrap();
        self.lines.lock().unwrap().extend(lines.into_iter().map(|line| (stream.clone(), text(line))));
        Ok(())
    }
}

/// Whom the pipes of a world wait for.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) functions: Functions,
    pub(crate) endpoints: Destined,
    pub(crate) diary: Diary,
}

impl Peers for Others {
    type Functions = Functions;
    type Endpoints = Destined;
    type Logs = Diary;

    fn functions(&self) -> &Functions {
        &self.functions
    }

    fn endpoints(&self) -> &Destined {
        &self.endpoints
    }

    fn logs(&self) -> &Diary {
        &self.diary
    }
}

/// What targets of other kinds were given.
#[derive(Clone)]
pub(crate) struct Recorder {
    service: &'static str,
    pub(crate) taken: Arc<Mutex<Vec<Delivery>>>,
}

impl Deliver for Recorder {
    fn service(&self) -> &'static str {
        self.service
    }

    fn check(&self, _: &Cx, _: &Tx, _: &Arn) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn deliver(&self, _: &Cx, tx: &Tx, _: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        let (taken, delivery) = (Arc::clone(&self.taken), delivery.clone());
        tx.on_commit(move || taken.lock().unwrap().push(delivery))?;
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    sqs: Sqs,
    pub(crate) tables: Arc<services_dynamodb::DynamoDb>,
    pub(crate) others: Arc<Others>,
    pub(crate) lambda: Recorder,
    pub(crate) events: Recorder,
    pub(crate) logs: Recorder,
    pipes: Arc<Pipes<Others>>,
    dispatcher: Dispatcher,
    pub(crate) cx: Cx,
    reconciler: PipesReconciler<Others>,
}

/// The code and message of an error.
pub(crate) type Refusal = (String, String);

macro_rules! operations {
    ($($method:ident: $operation:ident($request:ty) -> $response:ty;)*) => {
        impl World {
            $(pub(crate) async fn $method(&self, request: $request) -> Result<$response, Refusal> {
                match self.call(Request::$operation(Box::new(request))).await? {
                    Response::$operation(response) => Ok(*response),
                    other => panic!("{other:?}"),
                }
            })*
        }
    };
}

operations! {
    create: CreatePipe(CreatePipeRequest) -> CreatePipeResponse;
    delete: DeletePipe(DeletePipeRequest) -> DeletePipeResponse;
    describe: DescribePipe(DescribePipeRequest) -> DescribePipeResponse;
    list: ListPipes(ListPipesRequest) -> ListPipesResponse;
    start: StartPipe(StartPipeRequest) -> StartPipeResponse;
    stop: StopPipe(StopPipeRequest) -> StopPipeResponse;
    update: UpdatePipe(UpdatePipeRequest) -> UpdatePipeResponse;
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env::simulated(Timestamp::parse_iso8601("2026-01-01T00:00:00Z").unwrap(), 7);
        let store = Store::memory(&env);
        let tokens = PageTokens::new(&[7; 32], env.clone());
        let sqs = Sqs::new(store.clone(), tokens.clone());
        let destinations = Destinations::new();
        let recorder = |service| Recorder { service, taken: Arc::default() };
        let (lambda, events, logs) = (recorder("lambda"), recorder("events"), recorder("logs"));
        destinations.register(Arc::new(sqs.clone()));
        destinations.register(Arc::new(lambda.clone()));
        destinations.register(Arc::new(events.clone()));
        destinations.register(Arc::new(logs.clone()));
        let others = Arc::new(Others::default());
        let tables = Arc::new(services_dynamodb::DynamoDb::new(store.clone()));
        let streams = services_ports::StreamSources::new();
        let of_tables = services_dynamodb::DynamoDbStreams::new(store.clone(), tokens.clone());
        streams.register(Arc::new(of_tables));
        let pipes = Pipes::new(Parts {
            store: store.clone(),
            tokens,
            destinations,
            queues: Arc::new(sqs.clone()),
            streams,
            peers: Arc::clone(&others),
        });
        let reconciler = pipes.reconciler();
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "test");
        let dispatcher = Dispatcher::new(store.clone());
        let pipes = Arc::new(pipes);
        Self { env, store, sqs, tables, others, lambda, events, logs, pipes, dispatcher, cx, reconciler }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Response, Refusal> {
        let violations = validate(Api::input(&request), &Survey::default());
        let refusal = |error: Error| (error.schema().code.to_owned(), error.message().to_owned());
        if !violations.is_empty() {
            return Err(refusal(Error::violated(&violations, None)));
        }
        self.dispatcher.dispatch::<Api, _>(&self.pipes, self.cx.clone(), request).await.map_err(refusal)
    }

    /// Lets the reconciler and the pollers run until nothing happens at this time any more.
    pub(crate) async fn settle(&self) {
        for _ in 0..40 {
            self.reconciler.round().await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The process stands still for longer than the leases of a pipe's pollers last, and another one gets them.
    pub(crate) async fn taken_over(&self, pipe: &str, pollers: usize, still: Duration) -> Vec<Lease> {
        self.env.advance(still);
        let mut leases = Vec::new();
        for poller in 0..pollers {
            let name = format!("pipes/arn:aws:pipes:us-east-1:000000000000:pipe/{pipe}/{poller}");
            let lease = self.store.lease(&name, Duration::from_secs(600)).await.unwrap();
            assert!(lease.is_some(), "it has run out");
            leases.extend(lease);
        }
        leases
    }

    /// The other one gives them back.
    pub(crate) async fn given_back(&self, leases: Vec<Lease>) {
        for lease in leases {
            self.store.release_lease(lease).await.unwrap();
        }
    }

    /// Seconds pass, one by one.
    pub(crate) async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.env.advance(Duration::from_secs(1));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        self.settle().await;
    }

    pub(crate) async fn queue(&self, name: &str) -> String {
        let (sqs, cx, name_of) = (self.sqs.clone(), self.cx.clone(), name.to_owned());
        let made = self.store.transact(move |tx| {
            let attributes = name_of.ends_with(".fifo").then(|| {
                let pairs = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
            });
            let request =
                model_sqs::CreateQueueRequest { queue_name: name_of.clone(), attributes, ..Default::default() };
            sqs.create_queue(&cx, tx, &request)
        });
        made.await.unwrap();
        format!("arn:aws:sqs:us-east-1:000000000000:{name}")
    }

    pub(crate) async fn drop_queue(&self, name: &str) {
        let (sqs, cx) = (self.sqs.clone(), self.cx.clone());
        let request = model_sqs::DeleteQueueRequest { queue_url: name.to_owned() };
        self.store.transact(move |tx| sqs.delete_queue(&cx, tx, &request)).await.unwrap();
    }

    pub(crate) async fn send(&self, queue: &str, body: &str) {
        let (sqs, cx) = (self.sqs.clone(), self.cx.clone());
        let request = model_sqs::SendMessageRequest {
            queue_url: queue.to_owned(),
            message_body: body.to_owned(),
            ..Default::default()
        };
        self.store.transact(move |tx| sqs.send_message(&cx, tx, &request)).await.unwrap();
    }

    /// The bodies of what can be received, which is deleted.
    pub(crate) async fn bodies(&self, queue: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let request = model_sqs::ReceiveMessageRequest {
                queue_url: queue.to_owned(),
                max_number_of_messages: Some(10),
                visibility_timeout: Some(43_000),
                ..Default::default()
            };
            let messages = self.sqs.receive_message(&self.cx, request).await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return all;
            }
            for message in messages {
                let (sqs, cx) = (self.sqs.clone(), self.cx.clone());
                let request = model_sqs::DeleteMessageRequest {
                    queue_url: queue.to_owned(),
                    receipt_handle: message.receipt_handle.clone().unwrap(),
                };
                self.store.transact(move |tx| sqs.delete_message(&cx, tx, &request)).await.unwrap();
                all.push(message.body.unwrap());
            }
        }
    }

    /// Messages that are there, seen or hidden.
    pub(crate) async fn count(&self, queue: &str) -> u64 {
        let (sqs, cx) = (self.sqs.clone(), self.cx.clone());
        let request = model_sqs::GetQueueAttributesRequest {
            queue_url: queue.to_owned(),
            attribute_names: Some(vec!["All".to_owned()]),
        };
        let all = self.store.view(move |tx| sqs.get_queue_attributes(&cx, tx, &request)).await.unwrap();
        let all = all.attributes.unwrap();
        let of = |name: &str| all[&format!("ApproximateNumberOfMessages{name}")].parse::<u64>().unwrap();
        of("") + of("NotVisible")
    }

    pub(crate) async fn state(&self, name: &str) -> Option<PipeState> {
        let request = DescribePipeRequest { name: name.to_owned() };
        self.describe(request).await.ok()?.current_state
    }
}

pub(crate) fn pipe(name: &str, source: &str, target: &str) -> CreatePipeRequest {
    CreatePipeRequest {
        name: name.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        role_arn: ROLE.to_owned(),
        ..CreatePipeRequest::default()
    }
}

pub(crate) fn function(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:function:{name}")
}

/// A log configuration with the group `pipes/log` of a region.
pub(crate) fn log(region: &str, level: LogLevel, data: bool) -> PipeLogConfigurationParameters {
    PipeLogConfigurationParameters {
        cloudwatch_logs_log_destination: Some(CloudwatchLogsLogDestinationParameters {
            log_group_arn: format!("arn:aws:logs:{region}:000000000000:log-group:pipes/log"),
        }),
        level,
        include_execution_data: data.then(|| vec![IncludeExecutionDataOption::All]),
        ..PipeLogConfigurationParameters::default()
    }
}
