//! A whole service on simulated time, requests as the wire carries them, and targets that keep what they get.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use base_env::Env;
use base_types::{AccountId, Arn, Region, Timestamp};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use model_events::Api;
use parking_lot::Mutex;
use serde_json::{Value, json};
use services_events::{ApiCalls, EventBridge, Parts};
use services_kernel::{Cx, Dispatcher, PageTokens, Principal, Reconciler};
use services_ports::{
    Attribute, AttributeValue, Deliver, Delivery, DeliveryError, Destinations, Outbound, OutboundError,
    OutboundRequest, OutboundResponse,
};
use store_api::{Direction, Family, Key, Store, Tx};
use wire_schema::Model as _;

/// 2026-11-23T12:00:00Z.
pub(crate) const NOW: u64 = 1_795_435_200_000;

/// The code and message of an error.
pub(crate) type Refusal = (String, String);

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) events: Arc<EventBridge>,
    pub(crate) cx: Cx,
    pub(crate) web: Web,
    pub(crate) calls: ApiCalls<Web>,
    dispatcher: Dispatcher,
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env::simulated(Timestamp::from_millis(NOW), 7);
        let store = Store::memory(&env);
        let destinations = Destinations::new();
        for service in ["sqs", "lambda", "sns", "logs"] {
            destinations.register(Arc::new(Keeper(service)));
        }
        let events = EventBridge::new(Parts {
            store: store.clone(),
            page_tokens: PageTokens::new(&[7; 32], env.clone()),
            destinations: destinations.clone(),
            sealing_key: [8; 32],
        });
        destinations.register(Arc::new(events.clone()));
        let web = Web::default();
        let calls = events.calls(web.clone());
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "test");
        Self { env, dispatcher: Dispatcher::new(store.clone()), store, events: Arc::new(events), cx, web, calls }
    }

    pub(crate) async fn call(&self, operation: &str, input: Value) -> Result<Value, Refusal> {
        self.call_as(self.cx.clone(), operation, input).await
    }

    /// What must succeed.
    pub(crate) async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap_or_else(|refusal| panic!("{operation}: {refusal:?}"))
    }

    pub(crate) async fn call_as(&self, cx: Cx, operation: &str, input: Value) -> Result<Value, Refusal> {
        let request = Request::post("/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AWSEvents.{operation}"));
        let (head, body) = request.body(Bytes::from(input.to_string())).unwrap().into_parts();
        let route = wire_http::route(Api::service(), &head);
        let response = match wire_http::read::<Api>(&route, &head, body) {
            Ok(read) => {
                let outcome = self.dispatcher.dispatch::<Api, _>(&self.events, cx, read.request).await;
                wire_http::respond::<Api>(&route, read.operation, &outcome, "r")
            }
            Err(error) => wire_http::refuse::<Api>(&route, &error, "r"),
        };
        let status = response.status();
        let bytes = response.body().whole().cloned().unwrap_or_default();
        let answer: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let code = text(&answer["__type"]).rsplit('#').next().unwrap_or_default().to_owned();
        let message = if answer["message"].is_null() { text(&answer["Message"]) } else { text(&answer["message"]) };
        Err((code, message))
    }

    /// In the name of another account.
    pub(crate) fn as_account(&self, account: &str) -> Cx {
        let account: AccountId = account.parse().unwrap();
        Cx { account, principal: Arc::new(Principal::Root { account }), ..self.cx.clone() }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.env.advance(Duration::from_secs(seconds));
    }

    /// Rounds of all reconcilers until there is nothing more to do at once.
    pub(crate) async fn reconcile(&self) {
        settle(&self.events.schedules()).await;
        settle(&self.events.chunks()).await;
        settle(&self.events.replays()).await;
        settle(&self.events.archives()).await;
    }

    /// A round of calls, to the end of all that it begins.
    pub(crate) async fn call_out(&self) -> Option<Duration> {
        let before = self.web.sent();
        let next = self.calls.round().await.unwrap();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        let _sent = self.web.sent() - before;
        next
    }

    pub(crate) async fn rule(&self, name: &str, pattern: Value, target: &str) {
        self.ok("PutRule", json!({ "Name": name, "EventPattern": pattern.to_string() })).await;
        self.target(name, json!({ "Id": "1", "Arn": target })).await;
    }

    pub(crate) async fn target(&self, rule: &str, target: Value) {
        let answer = self.ok("PutTargets", json!({ "Rule": rule, "Targets": [target] })).await;
        assert_eq!(answer["FailedEntryCount"], 0);
    }

    pub(crate) async fn put(&self, entries: Value) -> Value {
        self.ok("PutEvents", json!({ "Entries": entries })).await
    }

    /// What a target got, the oldest first.
    pub(crate) async fn got(&self, target: &str) -> Vec<Got> {
        let key = kept(target);
        let rows = self.store.view(move |tx| tx.scan(&key.prefix(), 10_000, Direction::Forward)).await.unwrap();
        rows.into_iter().map(|(_, value)| Got::read(&value)).collect()
    }

    pub(crate) async fn bodies(&self, target: &str) -> Vec<String> {
        self.got(target).await.into_iter().map(|got| got.body).collect()
    }

    pub(crate) async fn documents(&self, target: &str) -> Vec<Value> {
        self.bodies(target).await.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }
}

async fn settle<R: Reconciler>(reconciler: &R) {
    for _ in 0..10_000 {
        match reconciler.round().await.unwrap() {
            Some(pause) if pause <= Duration::from_millis(1) => {}
            _ => return,
        }
    }
    panic!("it never ends");
}

pub(crate) fn entry(source: &str, detail: &Value) -> Value {
    json!({ "Source": source, "DetailType": "type", "Detail": detail.to_string() })
}

pub(crate) fn queue(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

pub(crate) fn refusal(code: &str, message: &str) -> Refusal {
    (code.to_owned(), message.to_owned())
}

pub(crate) fn invalid(message: &str) -> Refusal {
    refusal("ValidationException", message)
}

/// What a target was handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) body: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) by: String,
    pub(crate) source: String,
    pub(crate) group: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) time: Option<u64>,
}

impl Got {
    fn read(value: &[u8]) -> Self {
        let it: Value = serde_json::from_slice(value).unwrap();
        let text = |name: &str| it[name].as_str().map(str::to_owned);
        Self {
            body: text("body").unwrap(),
            attributes: serde_json::from_value(it["attributes"].clone()).unwrap(),
            by: text("by").unwrap(),
            source: text("source").unwrap(),
            group: text("group"),
            trace: text("trace"),
            time: it["time"].as_u64(),
        }
    }
}

/// A service whose resources keep what they are handed. One called `gone` is not there; `closed` lets nobody in; `full`
/// takes nothing.
struct Keeper(&'static str);

fn kept(target: &str) -> Key {
    Key::global(Family::Queue, None).str("test.kept").str(target)
}

impl Deliver for Keeper {
    fn service(&self) -> &'static str {
        self.0
    }

    fn check(&self, _cx: &Cx, _tx: &Tx, _target: &Arn) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn deliver(&self, cx: &Cx, tx: &Tx, target: &Arn, delivery: &Delivery) -> Result<(), DeliveryError> {
        let arn = target.to_string();
        match target.resource.rsplit(':').next() {
            Some("gone") => return Err(DeliveryError::NotFound(arn)),
            Some("closed") => return Err(DeliveryError::Denied("no policy allows it".to_owned())),
            Some("full") => return Err(DeliveryError::Refused { arn, reason: "it is full".to_owned() }),
            _ => {}
        }
        let text = |attribute: &Attribute| match &attribute.value {
            AttributeValue::Text(text) => text.clone(),
            AttributeValue::Binary(_) => panic!("no target of ours has binary attributes"),
        };
        let attributes: BTreeMap<&str, String> =
            delivery.attributes.iter().map(|attribute| (attribute.name.as_str(), text(attribute))).collect();
        let record = json!({
            "body": std::str::from_utf8(&delivery.body).unwrap(),
            "attributes": attributes,
            "by": cx.principal.arn(),
            "source": cx.source.as_ref().map(|source| source.arn.to_string()).unwrap_or_default(),
            "group": delivery.group,
            "trace": delivery.trace,
            "time": delivery.event.as_ref().and_then(|event| event.time).map(Timestamp::as_millis),
        });
        let number = tx.counter(&kept("count").str("n"))?;
        tx.add(&kept("count").str("n"), 1)?;
        tx.put(&kept(&arn).u64(number.try_into().unwrap()), record.to_string())?;
        Ok(())
    }
}

/// The world outside: answers what it was told to, and keeps what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Web(Arc<Mutex<Outside>>);

#[derive(Default)]
struct Outside {
    answers: VecDeque<Result<OutboundResponse, OutboundError>>,
    asked: Vec<OutboundRequest>,
}

impl Web {
    pub(crate) fn answer(&self, status: u16, headers: &[(&'static str, &'static str)], body: &'static str) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        self.0.lock().answers.push_back(Ok(OutboundResponse { status, headers: map, body: Bytes::from(body) }));
    }

    pub(crate) fn fail(&self, error: OutboundError) {
        self.0.lock().answers.push_back(Err(error));
    }

    pub(crate) fn sent(&self) -> usize {
        self.0.lock().asked.len()
    }

    pub(crate) fn last(&self) -> OutboundRequest {
        self.0.lock().asked.last().cloned().unwrap()
    }

    pub(crate) fn nth(&self, n: usize) -> OutboundRequest {
        self.0.lock().asked[n].clone()
    }
}

impl Outbound for Web {
    async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let mut outside = self.0.lock();
        outside.asked.push(request);
        let whole = OutboundResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        outside.answers.pop_front().unwrap_or(Ok(whole))
    }

    fn check(&self, _uri: &Uri) -> Result<(), OutboundError> {
        Ok(())
    }
}
