//! A whole service on simulated time, and requests as the edge makes them: validated, then dispatched.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Region, Timestamp};
use model_sqs::*;
use services_kernel::{Cx, Dispatcher, PageTokens, Reconciler};
use services_sqs::SqsReconciler;
use store_api::Store;
use wire_schema::{Model, ServiceError, Survey, validate};

/// 2026-11-23T12:00:00Z.
const NOW: u64 = 1_795_435_200_000;

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) sqs: Arc<services_sqs::Sqs>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) cx: Cx,
    reconciler: SqsReconciler,
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
    attributes: GetQueueAttributes(GetQueueAttributesRequest) -> GetQueueAttributesResult;
    cancel_move: CancelMessageMoveTask(CancelMessageMoveTaskRequest) -> CancelMessageMoveTaskResult;
    create_queue: CreateQueue(CreateQueueRequest) -> CreateQueueResult;
    delete_batch: DeleteMessageBatch(DeleteMessageBatchRequest) -> DeleteMessageBatchResult;
    get_url: GetQueueUrl(GetQueueUrlRequest) -> GetQueueUrlResult;
    list: ListQueues(ListQueuesRequest) -> ListQueuesResult;
    list_moves: ListMessageMoveTasks(ListMessageMoveTasksRequest) -> ListMessageMoveTasksResult;
    list_sources: ListDeadLetterSourceQueues(ListDeadLetterSourceQueuesRequest) -> ListDeadLetterSourceQueuesResult;
    list_tags: ListQueueTags(ListQueueTagsRequest) -> ListQueueTagsResult;
    receive_message: ReceiveMessage(ReceiveMessageRequest) -> ReceiveMessageResult;
    send_batch: SendMessageBatch(SendMessageBatchRequest) -> SendMessageBatchResult;
    send_message: SendMessage(SendMessageRequest) -> SendMessageResult;
    start_move: StartMessageMoveTask(StartMessageMoveTaskRequest) -> StartMessageMoveTaskResult;
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env::simulated(Timestamp::from_millis(NOW), 7);
        let store = Store::memory(&env);
        let sqs = services_sqs::Sqs::new(store.clone(), PageTokens::new(&[7; 32], env.clone()));
        let reconciler = sqs.reconciler();
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "test");
        Self { env, store: store.clone(), sqs: Arc::new(sqs), dispatcher: Dispatcher::new(store), cx, reconciler }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Response, Refusal> {
        self.call_as(self.cx.clone(), request).await
    }

    pub(crate) async fn call_as(&self, cx: Cx, request: Request) -> Result<Response, Refusal> {
        let violations = validate(Api::input(&request), &Survey::default());
        let refusal = |error: Error| (error.schema().code.to_owned(), error.message().to_owned());
        if !violations.is_empty() {
            return Err(refusal(Error::violated(&violations, None)));
        }
        self.dispatcher.dispatch::<Api, _>(&self.sqs, cx, request).await.map_err(refusal)
    }

    /// Rounds until there is nothing more to do at once.
    pub(crate) async fn reconcile(&self) {
        for _ in 0..100 {
            match self.reconciler.round().await.unwrap() {
                Some(pause) if pause <= Duration::from_millis(1) => {}
                _ => return,
            }
        }
        panic!("it never ends");
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.env.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn create(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        self.try_create(name, attributes).await.unwrap()
    }

    pub(crate) async fn try_create(&self, name: &str, attributes: &[(&str, &str)]) -> Result<String, Refusal> {
        let attributes = (!attributes.is_empty()).then(|| map(attributes));
        let request = CreateQueueRequest { queue_name: name.to_owned(), attributes, ..Default::default() };
        Ok(self.create_queue(request).await?.queue_url.unwrap())
    }

    pub(crate) async fn set(&self, url: &str, attributes: &[(&str, &str)]) -> Result<(), Refusal> {
        let request = SetQueueAttributesRequest { queue_url: url.to_owned(), attributes: map(attributes) };
        self.call(Request::SetQueueAttributes(Box::new(request))).await.map(drop)
    }

    pub(crate) async fn attribute(&self, url: &str, name: &str) -> Option<String> {
        let attribute_names = Some(vec![name.to_owned()]);
        let request = GetQueueAttributesRequest { queue_url: url.to_owned(), attribute_names };
        self.attributes(request).await.unwrap().attributes.and_then(|mut all| all.remove(name))
    }

    /// Visible, in flight, delayed.
    pub(crate) async fn counts(&self, url: &str) -> (u64, u64, u64) {
        let attribute_names = Some(vec!["All".to_owned()]);
        let request = GetQueueAttributesRequest { queue_url: url.to_owned(), attribute_names };
        let all = self.attributes(request).await.unwrap().attributes.unwrap();
        let of = |name: &str| all[&format!("ApproximateNumberOfMessages{name}")].parse().unwrap();
        (of(""), of("NotVisible"), of("Delayed"))
    }

    pub(crate) async fn send(&self, url: &str, body: &str) -> String {
        self.send_message(message(url, body)).await.unwrap().message_id.unwrap()
    }

    pub(crate) async fn send_to(&self, url: &str, group: &str, body: &str) -> SendMessageResult {
        let request = SendMessageRequest {
            message_group_id: Some(group.to_owned()),
            message_deduplication_id: Some(format!("{group}-{body}")),
            ..message(url, body)
        };
        self.send_message(request).await.unwrap()
    }

    pub(crate) async fn receive(&self, url: &str, wanted: i32) -> Vec<Message> {
        let request = ReceiveMessageRequest { max_number_of_messages: Some(wanted), ..ask(url) };
        self.receive_message(request).await.unwrap().messages.unwrap_or_default()
    }

    pub(crate) async fn bodies(&self, url: &str, wanted: i32) -> Vec<String> {
        bodies(&self.receive(url, wanted).await)
    }

    pub(crate) async fn delete(&self, url: &str, handle: &str) -> Result<(), Refusal> {
        let request = DeleteMessageRequest { queue_url: url.to_owned(), receipt_handle: handle.to_owned() };
        self.call(Request::DeleteMessage(Box::new(request))).await.map(drop)
    }

    pub(crate) async fn set_visibility(&self, url: &str, handle: &str, seconds: i32) -> Result<(), Refusal> {
        let request = ChangeMessageVisibilityRequest {
            queue_url: url.to_owned(),
            receipt_handle: handle.to_owned(),
            visibility_timeout: seconds,
        };
        self.call(Request::ChangeMessageVisibility(Box::new(request))).await.map(drop)
    }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn message(url: &str, body: &str) -> SendMessageRequest {
    SendMessageRequest { queue_url: url.to_owned(), message_body: body.to_owned(), ..Default::default() }
}

pub(crate) fn ask(url: &str) -> ReceiveMessageRequest {
    ReceiveMessageRequest {
        queue_url: url.to_owned(),
        message_system_attribute_names: Some(vec!["All".to_owned()]),
        message_attribute_names: Some(vec!["All".to_owned()]),
        ..Default::default()
    }
}

pub(crate) fn bodies(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.body.clone().unwrap()).collect()
}

pub(crate) fn handle(message: &Message) -> String {
    message.receipt_handle.clone().unwrap()
}

pub(crate) fn system(message: &Message, name: &str) -> Option<String> {
    message.attributes.as_ref().and_then(|all| all.get(name).cloned())
}

pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

pub(crate) fn refusal(code: &str, message: &str) -> Refusal {
    (code.to_owned(), message.to_owned())
}
