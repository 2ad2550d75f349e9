//! A whole service on simulated time, with real queues as targets, and requests as the edge makes them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use base_env::Env;
use base_types::{AccountId, Arn, Region, Timestamp};
use bytes::Bytes;
use model_scheduler::*;
use model_sqs::Sqs as _;
use services_kernel::{Cx, Dispatcher, PageTokens, Reconciler};
use services_ports::{Deliver, Delivery, DeliveryError, Destinations, FoundOperation, OperationError, Operations};
use services_scheduler::{Parts, Scheduler, SchedulerReconciler};
use services_sqs::Sqs;
use store_api::{Store, Tx};
use wire_schema::{Model, ServiceError, Survey, validate};

pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/service-role/starter";
pub(crate) const START: &str = "2026-01-01T00:00:30Z";

/// Runs `sqs:sendMessage` in the transaction and `lambda:invoke` outside of it, and fails as it is told to.
#[derive(Clone)]
pub(crate) struct Queues {
    sqs: Sqs,
    pub(crate) refusals: Arc<Mutex<VecDeque<OperationError>>>,
    pub(crate) flows: Arc<Mutex<Vec<String>>>,
}

impl Queues {
    fn refused(&self) -> Result<(), OperationError> {
        self.refusals.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

impl Operations for Queues {
    fn find(&self, service: &str, operation: &str) -> Result<FoundOperation, OperationError> {
        match (service, operation) {
            ("sqs", "sendMessage") => Ok(FoundOperation { name: "SendMessage", transactional: true, read_only: false }),
            ("lambda", "invoke") => Ok(FoundOperation { name: "Invoke", transactional: false, read_only: false }),
            ("sqs" | "lambda", _) => {
                Err(OperationError::Unknown { service: service.to_owned(), operation: operation.to_owned() })
            }
            _ => Err(OperationError::NotServed(service.to_owned())),
        }
    }

    fn check(&self, _: &str, _: &str, input: &[u8]) -> Result<(), OperationError> {
        if input.windows(7).any(|part| part == b"\"wrong\"") {
            let (code, message) = ("MissingParameter".to_owned(), "it is wrong".to_owned());
            return Err(OperationError::Failed { code, message, retryable: false });
        }
        Ok(())
    }

    fn transact(&self, cx: &Cx, tx: &Tx, _: &str, _: &str, input: &[u8]) -> Result<(), OperationError> {
        let text = |name: &str| {
            let text = std::str::from_utf8(input).unwrap();
            let rest = text.split_once(&format!("\"{name}\":\"")).unwrap().1;
            rest.split_once('"').unwrap().0.to_owned()
        };
        let request = model_sqs::SendMessageRequest {
            queue_url: text("QueueUrl"),
            message_body: text("MessageBody"),
            ..Default::default()
        };
        self.sqs.send_message(cx, tx, &request).map_err(|error| OperationError::Failed {
            code: error.schema().code.to_owned(),
            message: error.message().to_owned(),
            retryable: false,
        })?;
        // It has written before it fails.
        self.refused()
    }

    async fn flow(&self, cx: Cx, _: &str, operation: &str, input: Bytes) -> Result<(), OperationError> {
        let call = format!("{operation} {} {}", cx.principal, String::from_utf8_lossy(&input));
        self.flows.lock().unwrap().push(call);
        self.refused()
    }
}

/// What targets of other kinds were given, as far as the transaction came to its end.
#[derive(Clone)]
pub(crate) struct Recorder {
    service: &'static str,
    pub(crate) taken: Arc<Mutex<Vec<(String, Delivery)>>>,
}

impl Deliver for Recorder {
    fn service(&self) -> &'static str {
        self.service
    }

    fn check(&self, _: &Cx, _: &Tx, _: &Arn) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        if target.resource.ends_with("missing") {
            return Err(DeliveryError::NotFound(target.to_string()));
        }
        let (taken, entry) = (Arc::clone(&self.taken), (cx.principal.arn(), delivery.clone()));
        tx.on_commit(move || taken.lock().unwrap().push(entry))?;
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) sqs: Sqs,
    pub(crate) queues: Queues,
    pub(crate) functions: Recorder,
    pub(crate) events: Recorder,
    scheduler: Arc<Scheduler<Queues>>,
    dispatcher: Dispatcher,
    pub(crate) cx: Cx,
    reconciler: SchedulerReconciler<Queues>,
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
    create: CreateSchedule(CreateScheduleInput) -> CreateScheduleOutput;
    create_group: CreateScheduleGroup(CreateScheduleGroupInput) -> CreateScheduleGroupOutput;
    delete: DeleteSchedule(DeleteScheduleInput) -> DeleteScheduleOutput;
    delete_group: DeleteScheduleGroup(DeleteScheduleGroupInput) -> DeleteScheduleGroupOutput;
    get_schedule: GetSchedule(GetScheduleInput) -> GetScheduleOutput;
    get_group: GetScheduleGroup(GetScheduleGroupInput) -> GetScheduleGroupOutput;
    list_groups: ListScheduleGroups(ListScheduleGroupsInput) -> ListScheduleGroupsOutput;
    list: ListSchedules(ListSchedulesInput) -> ListSchedulesOutput;
    list_tags: ListTagsForResource(ListTagsForResourceInput) -> ListTagsForResourceOutput;
    tag: TagResource(TagResourceInput) -> TagResourceOutput;
    untag: UntagResource(UntagResourceInput) -> UntagResourceOutput;
    update: UpdateSchedule(UpdateScheduleInput) -> UpdateScheduleOutput;
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env::simulated(at(START), 7);
        let store = Store::memory(&env);
        let tokens = PageTokens::new(&[7; 32], env.clone());
        let sqs = Sqs::new(store.clone(), tokens.clone());
        let destinations = Destinations::new();
        let recorder = |service| Recorder { service, taken: Arc::default() };
        let (functions, events) = (recorder("lambda"), recorder("events"));
        destinations.register(Arc::new(sqs.clone()));
        destinations.register(Arc::new(functions.clone()));
        destinations.register(Arc::new(events.clone()));
        let queues = Queues { sqs: sqs.clone(), refusals: Arc::default(), flows: Arc::default() };
        let parts = Parts { store: store.clone(), tokens, destinations, operations: queues.clone() };
        let scheduler = Scheduler::new(parts);
        let reconciler = scheduler.reconciler();
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "test");
        let dispatcher = Dispatcher::new(store.clone());
        Self { env, store, sqs, queues, functions, events, scheduler: Arc::new(scheduler), dispatcher, cx, reconciler }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Response, Refusal> {
        let violations = validate(Api::input(&request), &Survey::default());
        let refusal = |error: Error| (error.schema().code.to_owned(), error.message().to_owned());
        if !violations.is_empty() {
            return Err(refusal(Error::violated(&violations, None)));
        }
        self.dispatcher.dispatch::<Api, _>(&self.scheduler, self.cx.clone(), request).await.map_err(refusal)
    }

    /// Rounds until there is nothing to do at once; answers how long the next pause is.
    pub(crate) async fn settle(&self) -> Option<Duration> {
        for _ in 0..10_000 {
            match self.reconciler.round().await.unwrap() {
                Some(pause) if pause <= Duration::from_millis(1) => tokio::task::yield_now().await,
                other => return other,
            }
        }
        panic!("it never ends");
    }

    /// Lets time pass, sleeping as the reconciler says.
    pub(crate) async fn pass(&self, duration: Duration) {
        let end = self.env.now() + duration;
        loop {
            let pause = self.settle().await.unwrap_or(duration);
            let left = end.since(self.env.now());
            if left.is_zero() {
                return;
            }
            self.env.advance(pause.min(left));
        }
    }

    /// As if the server had not been there for so long.
    pub(crate) fn be_down(&self, duration: Duration) {
        self.env.advance(duration);
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

    /// Takes all messages that are there.
    pub(crate) async fn messages(&self, name: &str) -> Vec<model_sqs::Message> {
        let mut all = Vec::new();
        loop {
            let request = model_sqs::ReceiveMessageRequest {
                queue_url: name.to_owned(),
                max_number_of_messages: Some(10),
                message_attribute_names: Some(vec!["All".to_owned()]),
                message_system_attribute_names: Some(vec!["All".to_owned()]),
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
                    queue_url: name.to_owned(),
                    receipt_handle: message.receipt_handle.clone().unwrap(),
                };
                self.store.transact(move |tx| sqs.delete_message(&cx, tx, &request)).await.unwrap();
                all.push(message);
            }
        }
    }

    pub(crate) async fn bodies(&self, name: &str) -> Vec<String> {
        self.messages(name).await.into_iter().map(|message| message.body.unwrap()).collect()
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_iso8601(text).unwrap()
}

/// A schedule that sends its scheduled time to a queue.
pub(crate) fn to_queue(name: &str, expression: &str, queue: &str) -> CreateScheduleInput {
    CreateScheduleInput {
        name: name.to_owned(),
        schedule_expression: expression.to_owned(),
        target: Target {
            arn: queue.to_owned(),
            role_arn: ROLE.to_owned(),
            input: Some("<aws.scheduler.scheduled-time>".to_owned()),
            ..Target::default()
        },
        ..CreateScheduleInput::default()
    }
}

pub(crate) fn changed(input: CreateScheduleInput) -> UpdateScheduleInput {
    UpdateScheduleInput {
        name: input.name,
        group_name: input.group_name,
        schedule_expression: input.schedule_expression,
        start_date: input.start_date,
        end_date: input.end_date,
        description: input.description,
        schedule_expression_timezone: input.schedule_expression_timezone,
        state: input.state,
        kms_key_arn: input.kms_key_arn,
        target: input.target,
        flexible_time_window: input.flexible_time_window,
        client_token: input.client_token,
        action_after_completion: input.action_after_completion,
    }
}

pub(crate) fn refusal(code: &str, message: &str) -> Refusal {
    (code.to_owned(), message.to_owned())
}

pub(crate) fn attribute(message: &model_sqs::Message, name: &str) -> Option<String> {
    message.message_attributes.as_ref()?.get(name)?.string_value.clone()
}

pub(crate) fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(crate) fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}
