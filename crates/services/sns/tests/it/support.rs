//! SNS and SQS on one store with simulated time, and an outside world that answers as a test says.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use base_env::Env;
use base_types::{AccountId, Region, Timestamp};
use http::{HeaderMap, StatusCode, Uri};
use model_sns::*;
use services_kernel::{Cx, Dispatcher, PageTokens, Principal, Reconciler};
use services_ports::{Destinations, Outbound, OutboundError, OutboundRequest, OutboundResponse};
use services_sns::{Parts, SnsCaller, SnsReconciler};
use services_sqs::Sqs;
use store_api::Store;
use wire_schema::{Model, ServiceError, Survey, validate};

/// 2026-11-23T12:00:00Z.
const NOW: u64 = 1_795_435_200_000;

/// Who is outside: remembers what it got, and answers with the next status it was told (200 when there is none).
#[derive(Clone, Default)]
pub(crate) struct Outside {
    pub(crate) got: Arc<Mutex<Vec<OutboundRequest>>>,
    pub(crate) answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Outbound for Outside {
    async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let uri = request.uri.to_string();
        self.got.lock().unwrap().push(request);
        match self.answers.lock().unwrap().pop_front() {
            // No answer at all.
            Some(0) => Err(OutboundError::Unreachable { uri, reason: "the connection was refused".to_owned() }),
            told => Ok(OutboundResponse {
                status: StatusCode::from_u16(told.unwrap_or(200)).unwrap(),
                headers: HeaderMap::new(),
                body: Default::default(),
            }),
        }
    }

    fn check(&self, uri: &Uri) -> Result<(), OutboundError> {
        check(uri)
    }
}

fn check(uri: &Uri) -> Result<(), OutboundError> {
    if uri.host() == Some("169.254.169.254") {
        let (host, address) = ("169.254.169.254".to_owned(), "169.254.169.254".to_owned());
        return Err(OutboundError::Forbidden {
            host,
            address,
            reason: "a link-local address is never called".to_owned(),
        });
    }
    Ok(())
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) sns: Arc<services_sns::Sns>,
    pub(crate) sqs: Arc<Sqs>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) cx: Cx,
    pub(crate) outside: Outside,
    pub(crate) reconciler: SnsReconciler,
    pub(crate) caller: SnsCaller<Outside>,
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
    confirm: ConfirmSubscription(ConfirmSubscriptionInput) -> ConfirmSubscriptionResponse;
    create_topic: CreateTopic(CreateTopicInput) -> CreateTopicResponse;
    get_sms: GetSMSAttributes(GetSMSAttributesInput) -> GetSMSAttributesResponse;
    get_subscription: GetSubscriptionAttributes(GetSubscriptionAttributesInput) -> GetSubscriptionAttributesResponse;
    get_topic: GetTopicAttributes(GetTopicAttributesInput) -> GetTopicAttributesResponse;
    is_opted_out: CheckIfPhoneNumberIsOptedOut(CheckIfPhoneNumberIsOptedOutInput) -> CheckIfPhoneNumberIsOptedOutResponse;
    list_all: ListSubscriptions(ListSubscriptionsInput) -> ListSubscriptionsResponse;
    list_by_topic: ListSubscriptionsByTopic(ListSubscriptionsByTopicInput) -> ListSubscriptionsByTopicResponse;
    list_tags: ListTagsForResource(ListTagsForResourceRequest) -> ListTagsForResourceResponse;
    list_topics: ListTopics(ListTopicsInput) -> ListTopicsResponse;
    opt_in: OptInPhoneNumber(OptInPhoneNumberInput) -> OptInPhoneNumberResponse;
    publish: Publish(PublishInput) -> PublishResponse;
    publish_batch: PublishBatch(PublishBatchInput) -> PublishBatchResponse;
    set_sms: SetSMSAttributes(SetSMSAttributesInput) -> SetSMSAttributesResponse;
    subscribe: Subscribe(SubscribeInput) -> SubscribeResponse;
    tag: TagResource(TagResourceRequest) -> TagResourceResponse;
    untag: UntagResource(UntagResourceRequest) -> UntagResourceResponse;
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env::simulated(Timestamp::from_millis(NOW), 7);
        Self::over(Store::memory(&env), env)
    }

    /// New services over the same store: what is left after a crash.
    pub(crate) fn over(store: Store, env: Env) -> Self {
        let tokens = PageTokens::new(&[7; 32], env.clone());
        let destinations = Destinations::new();
        let sqs = Sqs::new(store.clone(), tokens.clone());
        destinations.register(Arc::new(sqs.clone()));
        let parts = Parts {
            store: store.clone(),
            page_tokens: tokens,
            destinations: destinations.clone(),
            check: Arc::new(check),
        };
        let sns = services_sns::Sns::new(parts);
        destinations.register(Arc::new(sns.clone()));
        let outside = Outside::default();
        let (reconciler, caller) = (sns.reconciler(), sns.caller(outside.clone()));
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "test");
        Self {
            env,
            sns: Arc::new(sns),
            sqs: Arc::new(sqs),
            dispatcher: Dispatcher::new(store.clone()),
            store,
            cx,
            outside,
            reconciler,
            caller,
        }
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
        self.dispatcher.dispatch::<Api, _>(&self.sns, cx, request).await.map_err(refusal)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.env.advance(Duration::from_secs(seconds));
    }

    /// Rounds until there is nothing more to do at once.
    pub(crate) async fn reconcile(&self) {
        for _ in 0..1000 {
            match self.reconciler.round().await.unwrap() {
                Some(pause) if pause <= Duration::from_millis(1) => {}
                _ => return,
            }
        }
        panic!("it never ends");
    }

    /// Makes the calls that are due, until their outcomes are written.
    pub(crate) async fn make_calls(&self) {
        loop {
            let next = self.caller.round().await.unwrap();
            while self.caller.under_way() > 0 {
                tokio::task::yield_now().await;
            }
            // What was under way makes it look again soon; otherwise nothing is due.
            if next != Some(Duration::from_millis(50)) {
                return;
            }
        }
    }

    pub(crate) async fn topic(&self, name: &str) -> String {
        self.topic_with(name, &[]).await
    }

    pub(crate) async fn topic_with(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        let request = CreateTopicInput {
            name: name.to_owned(),
            attributes: (!attributes.is_empty()).then(|| map(attributes)),
            ..Default::default()
        };
        self.create_topic(request).await.unwrap().topic_arn.unwrap()
    }

    /// A queue that takes what topics send it; its ARN.
    pub(crate) async fn queue(&self, name: &str) -> String {
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:{name}");
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"sns.amazonaws.com"}},"Action":"sqs:SendMessage","Resource":"{arn}"}}]}}"#
        );
        let mut attributes = map(&[("Policy", &policy)]);
        if name.ends_with(".fifo") {
            attributes.insert("FifoQueue".to_owned(), "true".to_owned());
        }
        self.make_queue(name, attributes).await;
        arn
    }

    pub(crate) async fn make_queue(&self, name: &str, attributes: BTreeMap<String, String>) {
        let request = model_sqs::CreateQueueRequest {
            queue_name: name.to_owned(),
            attributes: (!attributes.is_empty()).then_some(attributes),
            ..Default::default()
        };
        let request = model_sqs::Request::CreateQueue(Box::new(request));
        self.dispatcher.dispatch::<model_sqs::Api, _>(&self.sqs, self.cx.clone(), request).await.unwrap();
    }

    pub(crate) async fn delete_queue(&self, arn: &str) {
        let request = model_sqs::DeleteQueueRequest { queue_url: arn.rsplit(':').next().unwrap().to_owned() };
        let request = model_sqs::Request::DeleteQueue(Box::new(request));
        self.dispatcher.dispatch::<model_sqs::Api, _>(&self.sqs, self.cx.clone(), request).await.unwrap();
    }

    /// Takes all messages of a queue.
    pub(crate) async fn take(&self, arn: &str) -> Vec<model_sqs::Message> {
        let url = arn.rsplit(':').next().unwrap().to_owned();
        let mut all = Vec::new();
        loop {
            let request = model_sqs::ReceiveMessageRequest {
                queue_url: url.clone(),
                max_number_of_messages: Some(10),
                message_attribute_names: Some(vec!["All".to_owned()]),
                message_system_attribute_names: Some(vec!["All".to_owned()]),
                ..Default::default()
            };
            let request = model_sqs::Request::ReceiveMessage(Box::new(request));
            let response = self.dispatcher.dispatch::<model_sqs::Api, _>(&self.sqs, self.cx.clone(), request).await;
            let model_sqs::Response::ReceiveMessage(response) = response.unwrap() else { panic!() };
            let Some(messages) = response.messages.filter(|messages| !messages.is_empty()) else { return all };
            for message in &messages {
                let request = model_sqs::DeleteMessageRequest {
                    queue_url: url.clone(),
                    receipt_handle: message.receipt_handle.clone().unwrap(),
                };
                let request = model_sqs::Request::DeleteMessage(Box::new(request));
                self.dispatcher.dispatch::<model_sqs::Api, _>(&self.sqs, self.cx.clone(), request).await.unwrap();
            }
            all.extend(messages);
        }
    }

    pub(crate) async fn bodies(&self, arn: &str) -> Vec<String> {
        self.take(arn).await.into_iter().map(|message| message.body.unwrap()).collect()
    }

    pub(crate) async fn try_link(
        &self,
        topic: &str,
        protocol: &str,
        endpoint: &str,
        attributes: &[(&str, &str)],
    ) -> Result<String, Refusal> {
        let request = SubscribeInput {
            topic_arn: topic.to_owned(),
            protocol: protocol.to_owned(),
            endpoint: Some(endpoint.to_owned()),
            attributes: (!attributes.is_empty()).then(|| map(attributes)),
            return_subscription_arn: Some(true),
        };
        Ok(self.subscribe(request).await?.subscription_arn.unwrap())
    }

    pub(crate) async fn link(&self, topic: &str, endpoint: &str, attributes: &[(&str, &str)]) -> String {
        let protocol = if endpoint.starts_with("http://") { "http" } else { "sqs" };
        self.try_link(topic, protocol, endpoint, attributes).await.unwrap()
    }

    pub(crate) async fn say(&self, topic: &str, text: &str) -> String {
        self.publish(message(topic, text)).await.unwrap().message_id.unwrap()
    }

    pub(crate) async fn set(&self, subscription: &str, name: &str, value: &str) -> Result<(), Refusal> {
        let request = SetSubscriptionAttributesInput {
            subscription_arn: subscription.to_owned(),
            attribute_name: name.to_owned(),
            attribute_value: Some(value.to_owned()),
        };
        self.call(Request::SetSubscriptionAttributes(Box::new(request))).await.map(drop)
    }

    pub(crate) async fn set_topic(&self, topic: &str, name: &str, value: &str) -> Result<(), Refusal> {
        let request = SetTopicAttributesInput {
            topic_arn: topic.to_owned(),
            attribute_name: name.to_owned(),
            attribute_value: Some(value.to_owned()),
        };
        self.call(Request::SetTopicAttributes(Box::new(request))).await.map(drop)
    }

    pub(crate) async fn unsubscribe(&self, subscription: &str) -> Result<(), Refusal> {
        let request = UnsubscribeInput { subscription_arn: subscription.to_owned() };
        self.call(Request::Unsubscribe(Box::new(request))).await.map(drop)
    }

    pub(crate) async fn delete_topic(&self, topic: &str) -> Result<(), Refusal> {
        let request = DeleteTopicInput { topic_arn: topic.to_owned() };
        self.call(Request::DeleteTopic(Box::new(request))).await.map(drop)
    }

    pub(crate) async fn topic_attribute(&self, topic: &str, name: &str) -> Option<String> {
        let request = GetTopicAttributesInput { topic_arn: topic.to_owned() };
        self.get_topic(request).await.unwrap().attributes.and_then(|mut all| all.remove(name))
    }

    pub(crate) async fn attributes(&self, subscription: &str) -> BTreeMap<String, String> {
        let request = GetSubscriptionAttributesInput { subscription_arn: subscription.to_owned() };
        self.get_subscription(request).await.unwrap().attributes.unwrap()
    }

    /// What came to an HTTP subscriber, as JSON.
    pub(crate) fn documents(&self) -> Vec<serde_json::Value> {
        let got = self.outside.got.lock().unwrap();
        got.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }
}

/// The same world, seen by another account.
pub(crate) fn other_account(cx: &Cx) -> Cx {
    let account: AccountId = "222222222222".parse().unwrap();
    Cx { account, principal: Arc::new(Principal::Root { account }), ..cx.clone() }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn message(topic: &str, text: &str) -> PublishInput {
    PublishInput { topic_arn: Some(topic.to_owned()), message: text.to_owned(), ..Default::default() }
}

pub(crate) fn attribute(data_type: &str, value: &str) -> MessageAttributeValue {
    MessageAttributeValue { data_type: data_type.to_owned(), string_value: Some(value.to_owned()), binary_value: None }
}

pub(crate) fn entry(id: &str, text: &str) -> PublishBatchRequestEntry {
    PublishBatchRequestEntry { id: id.to_owned(), message: text.to_owned(), ..Default::default() }
}

pub(crate) fn batch(topic: &str, entries: Vec<PublishBatchRequestEntry>) -> PublishBatchInput {
    PublishBatchInput { topic_arn: topic.to_owned(), publish_batch_request_entries: entries }
}

pub(crate) fn refusal(code: &str, message: &str) -> Refusal {
    (code.to_owned(), message.to_owned())
}

pub(crate) fn invalid(message: &str) -> Refusal {
    refusal("InvalidParameter", &format!("Invalid parameter: {message}"))
}

/// A JSON document.
pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}
