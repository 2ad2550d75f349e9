//! What goes out: notifications and confirmations to HTTP subscribers, and confirmations to targets of other accounts.
//!
//! A call is a durable record with the time at which it is due. It is made outside of any transaction, at least once, and its
//! outcome is one: done, due again as the delivery policy has it, or given up (to the dead-letter queue, if there is one).
//! Source: SNS Developer Guide, "Fanout to HTTP/S endpoints": the headers, the fifteen seconds, which answers are final.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use base_types::{Fault, Timestamp};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use services_kernel::Reconciler;
use services_ports::{Delivery, DeliveryError, Outbound, OutboundError, OutboundRequest};
use store_api::{Direction, Key, Part, Tx};

use crate::{
    Sns, delivery_policy,
    delivery_policy::RetryPolicy,
    message::Message,
    names,
    tables::{self, CALLS, Call, DUE, Due, Found, Subscription, calls_topic},
};

/// AWS's limit for a subscriber's answer.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// What of an answer is looked at: nothing, but a little lets the connection be used again.
const ANSWER_BYTES_MAX: usize = 4096;
/// Calls under way at once, and to one endpoint.
const FLYING_MAX: usize = 256;
const FLYING_TO_ONE_MAX: usize = 16;
/// Due calls that a round looks at.
const LOOKED_AT_MAX: usize = 2000;
/// While calls are under way their rows are due: the next look comes soon.
const SOON: Duration = Duration::from_millis(50);
const AGENT: &str = "Amazon Simple Notification Service Agent";

/// Makes the calls that are due.
pub struct SnsCaller<O> {
    sns: Sns,
    outbound: Arc<O>,
    flying: Arc<Mutex<Flying>>,
}

#[derive(Default)]
struct Flying {
    calls: HashSet<String>,
    to: HashMap<String, usize>,
    /// For subscribers with a greatest rate: when the next message may go.
    paces: HashMap<String, Timestamp>,
}

/// How an attempt ended.
enum Attempt {
    Done,
    /// It may be tried again.
    Failed(String),
    /// It will not get better.
    Refused(String),
}

impl<O: Outbound> SnsCaller<O> {
    pub(crate) fn new(sns: Sns, outbound: O) -> Self {
        Self { sns, outbound: Arc::new(outbound), flying: Arc::default() }
    }

    /// Calls under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.flying.lock().calls.len()
    }
}

impl<O: Outbound> Reconciler for SnsCaller<O> {
    const NAME: &'static str = "topics: calls";
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        calls_topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let (due, next) = self.sns.store.view(look).await?;
        let mut soonest = next;
        for (id, row) in due {
            let mut flying = self.flying.lock();
            let crowded = flying.to.get(&row.endpoint).is_some_and(|count| *count >= FLYING_TO_ONE_MAX);
            if flying.calls.contains(&id) || crowded || flying.calls.len() >= FLYING_MAX {
                soonest = Some(SOON);
                continue;
            }
            let now = self.sns.env.now();
            if let Some(at) = flying.paces.get(&row.subscription).filter(|at| **at > now) {
                let wait = at.since(now);
                soonest = Some(soonest.map_or(wait, |soonest| soonest.min(wait)));
                continue;
            }
            flying.calls.insert(id.clone());
            *flying.to.entry(row.endpoint.clone()).or_default() += 1;
            drop(flying);
            soonest = Some(SOON);
            let (sns, outbound, flying) = (self.sns.clone(), Arc::clone(&self.outbound), Arc::clone(&self.flying));
            drop(tokio::spawn(async move {
                let endpoint = row.endpoint;
                if let Err(fault) = sns.attempt(&*outbound, &flying, &id).await {
                    tracing::error!(?fault, endpoint, "a call to a topic's subscriber failed on our side");
                }
                let mut flying = flying.lock();
                flying.calls.remove(&id);
                if let Some(count) = flying.to.get_mut(&endpoint) {
                    *count -= 1;
                    if *count == 0 {
                        flying.to.remove(&endpoint);
                    }
                }
            }));
        }
        Ok(soonest)
    }
}

/// Calls that are due, each with its id; and when the next one is.
type Look = (Vec<(String, Due)>, Option<Duration>);

fn look(tx: &Tx) -> Result<Look, Fault> {
    let mut due = Vec::new();
    for (key, row) in DUE.scan(tx, &calls_topic().prefix(), LOOKED_AT_MAX, Direction::Forward)? {
        let mut parts = key.parts()?;
        let (Some(Part::Str(id)), Some(Part::U64(at))) = (parts.pop(), parts.pop()) else { continue };
        let at = Timestamp::from_millis(at);
        if at > tx.now() {
            return Ok((due, Some(at.since(tx.now()).max(Duration::from_millis(1)))));
        }
        due.push((id, row));
    }
    Ok((due, None))
}

/// A call's topic and subscription, as they are now.
struct Scene {
    found: Option<Found>,
    subscription: Option<Subscription>,
    policy: RetryPolicy,
}

fn scene(tx: &Tx, call: &Call) -> Result<Scene, Fault> {
    let name = names::TopicName { account: call.account, region: call.region.clone(), name: call.topic.clone() };
    let found = Found::load(tx, name)?;
    let id = call.subscription.rsplit(':').next().unwrap_or_default();
    let subscription = match &found {
        Some(found) => found.subscription(tx, id)?.map(|(_, subscription)| subscription),
        None => None,
    };
    let topic = found.as_ref().and_then(|found| found.topic.attributes.delivery.as_deref());
    let own = subscription.as_ref().and_then(|subscription| subscription.delivery.as_deref());
    let policy = delivery_policy::effective(topic, own);
    Ok(Scene { found, subscription, policy })
}

impl Sns {
    async fn attempt<O: Outbound>(&self, outbound: &O, flying: &Mutex<Flying>, id: &str) -> Result<(), Fault> {
        let row = CALLS.global_key(None).str(id);
        let seen = self.store.view(move |tx| match CALLS.get(tx, &row)? {
            Some(call) => Ok::<_, Fault>(Some((scene(tx, &call)?, call))),
            None => Ok(None),
        });
        let Some((scene, call)) = seen.await? else { return Ok(()) };
        // Who has left gets nothing more but the word that it has.
        let wanted = call.request.as_ref().is_some_and(|request| request.kind == "UnsubscribeConfirmation")
            || scene.subscription.is_some();
        let outcome = if !wanted {
            Attempt::Done
        } else if matches!(call.protocol.as_str(), "http" | "https") {
            if let Some(rate) = scene.policy.per_second {
                let next = self.env.now().as_millis() + 1000 / rate.max(1);
                let mut flying = flying.lock();
                flying.paces.retain(|_, at| *at > self.env.now());
                flying.paces.insert(call.subscription.clone(), Timestamp::from_millis(next));
            }
            self.post(outbound, &call, &scene.policy).await?
        } else {
            return self.confirm_target(id, call).await;
        };
        self.conclude(id, call, outcome).await
    }

    /// Sends a call by HTTP.
    async fn post<O: Outbound>(&self, outbound: &O, call: &Call, policy: &RetryPolicy) -> Result<Attempt, Fault> {
        let body = match (&call.message, call.raw) {
            (Some(message), true) => message.text_for(&call.protocol).to_owned(),
            _ => self.signed_document(call).await?,
        };
        let Some(request) = request(call, policy, body) else {
            return Ok(Attempt::Refused("the endpoint is no address that can be called".to_owned()));
        };
        Ok(match outbound.send(request).await {
            Ok(response) if response.status.is_success() => Attempt::Done,
            Ok(response) if is_final(response.status) => Attempt::Refused(format!("it answered {}", response.status)),
            Ok(response) => Attempt::Failed(format!("it answered {}", response.status)),
            Err(error @ (OutboundError::Invalid { .. } | OutboundError::Forbidden { .. })) => {
                Attempt::Refused(error.to_string())
            }
            Err(error) => Attempt::Failed(error.to_string()),
        })
    }

    /// What a subscriber that is not raw gets. Signed beside the runtime: it takes a processor for a while.
    async fn signed_document(&self, call: &Call) -> Result<String, Fault> {
        let signer = self.signer().await?;
        let call = call.clone();
        let made = tokio::task::spawn_blocking(move || {
            if let Some(request) = &call.request {
                let signature = signer.sign(request.signature_version, &request.signed_text(), &request.endpoint)?;
                return Ok(request.document(&signature));
            }
            let Some(message) = &call.message else { return Ok(String::new()) };
            let signature = if message.is_signed() {
                let text = message.signed_text(&call.protocol);
                Some(signer.sign(message.signature_version, &text, &message.endpoint)?)
            } else {
                None
            };
            Ok(message.envelope(&call.protocol, signature.as_ref()).to(&call.subscription))
        });
        made.await.map_err(|error| Fault::internal("signing was cut off", error))?
    }

    async fn conclude(&self, id: &str, call: Call, outcome: Attempt) -> Result<(), Fault> {
        // The document that a dead-letter queue gets is the one that the subscriber would have got.
        let document = match (&outcome, &call.message, call.raw) {
            (Attempt::Done, ..) | (_, None, _) => String::new(),
            (_, Some(message), true) => message.text_for(&call.protocol).to_owned(),
            _ => self.signed_document(&call).await?,
        };
        let (sns, id) = (self.clone(), id.to_owned());
        self.store
            .transact(move |tx| {
                let Some(there) = CALLS.get(tx, &CALLS.global_key(None).str(&id))? else { return Ok(()) };
                tables::remove_call(tx, &id, &there)?;
                let why = match &outcome {
                    Attempt::Done => return Ok(()),
                    Attempt::Failed(why) | Attempt::Refused(why) => why,
                };
                let scene = scene(tx, &call)?;
                if matches!(outcome, Attempt::Failed(_))
                    && let Some(delay) = scene.policy.delay(there.failed)
                {
                    let due = Timestamp::from_millis(
                        tx.now().as_millis() + u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                    );
                    return tables::put_call(tx, &id, &Call { failed: there.failed + 1, due, ..there });
                }
                match (scene.found, scene.subscription, &call.message) {
                    (Some(found), Some(to), Some(message)) => {
                        let delivery = dead_letter(&to, message, &document);
                        sns.bury(tx, &found, &to, message, delivery, why)
                    }
                    _ => {
                        tracing::warn!(endpoint = %call.endpoint, subscription = %call.subscription, %why, "a subscriber could not be asked to confirm");
                        Ok(())
                    }
                }
            })
            .await
    }

    /// Asks a queue or function of another account to confirm: a delivery like any other.
    async fn confirm_target(&self, id: &str, call: Call) -> Result<(), Fault> {
        let document = self.signed_document(&call).await?;
        let (sns, id) = (self.clone(), id.to_owned());
        self.store
            .transact(move |tx| {
                tables::remove_call(tx, &id, &call)?;
                let scene = scene(tx, &call)?;
                let (Some(found), Some(request)) = (scene.found, &call.request) else { return Ok(()) };
                let message = Message { request_id: request.id.clone(), ..Message::nothing(&found.arn, tx.now()) };
                let delivery = Delivery { body: Bytes::from(document.clone()), ..Delivery::default() };
                match sns.deliver_to(tx, &found, &message, &call.endpoint, &delivery) {
                    Err(DeliveryError::Fault(fault)) => Err(fault),
                    Err(error) => {
                        tracing::warn!(endpoint = %call.endpoint, %error, "a target of another account could not be asked to confirm");
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                }
            })
            .await
    }
}

fn dead_letter(to: &Subscription, message: &Message, document: &str) -> Delivery {
    let attributes =
        if to.raw { message.attributes.iter().map(crate::message::Attribute::to_port).collect() } else { vec![] };
    Delivery { body: Bytes::from(document.to_owned()), attributes, trace: message.trace.clone(), ..Delivery::default() }
}

/// AWS tries again after a server's error and after 429; every other answer is final.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error() && !status.is_informational() && status != StatusCode::TOO_MANY_REQUESTS
}

fn request(call: &Call, policy: &RetryPolicy, body: String) -> Option<OutboundRequest> {
    let (endpoint, credentials) = without_credentials(&call.endpoint);
    let uri: Uri = endpoint.parse().ok()?;
    let (kind, id, topic_arn) = match (&call.message, &call.request) {
        (_, Some(request)) => (request.kind.as_str(), &request.id, &request.topic_arn),
        (Some(message), None) => ("Notification", &message.id, &message.topic_arn),
        (None, None) => return None,
    };
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("x-amz-sns-message-type", kind);
    put("x-amz-sns-message-id", id);
    put("x-amz-sns-topic-arn", topic_arn);
    put("content-type", &policy.content_type);
    put("user-agent", AGENT);
    if kind != "SubscriptionConfirmation" {
        put("x-amz-sns-subscription-arn", &call.subscription);
    }
    if call.raw && kind == "Notification" {
        put("x-amz-sns-rawdelivery", "true");
    }
    if let Some(credentials) = credentials {
        put("authorization", &format!("Basic {}", STANDARD.encode(credentials)));
    }
    Some(OutboundRequest {
        method: Method::POST,
        uri,
        headers,
        body: Bytes::from(body),
        time_limit: TIME_LIMIT,
        response_bytes_max: ANSWER_BYTES_MAX,
        redirects_max: 0,
    })
}

/// An endpoint without the name and password that it may hold, and those: AWS sends them as basic authentication.
pub(crate) fn without_credentials(endpoint: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = endpoint.split_once("://") else { return (endpoint.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((credentials, host)) => {
            let credentials = percent_decode_str(credentials).decode_utf8_lossy().into_owned();
            (format!("{scheme}://{host}{path}"), Some(credentials))
        }
        None => (endpoint.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_into_a_header() {
        for (endpoint, address, credentials) in [
            ("http://h/p?q", "http://h/p?q", None),
            ("https://user:pass%40word@h:1/p", "https://h:1/p", Some("user:pass@word")),
            ("http://h/a@b", "http://h/a@b", None),
            ("http://u@h", "http://h", Some("u")),
        ] {
            let (found, with) = without_credentials(endpoint);
            assert_eq!((found.as_str(), with.as_deref()), (address, credentials), "{endpoint}");
        }
    }

    #[test]
    fn only_what_may_get_better_is_tried_again() {
        for (status, last) in
            [(400, true), (403, true), (404, true), (301, true), (429, false), (500, false), (503, false)]
        {
            assert_eq!(is_final(StatusCode::from_u16(status).unwrap()), last, "{status}");
        }
    }
}
