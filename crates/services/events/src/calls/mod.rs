//! API destinations: requests that leave Pileus.
//!
//! A request is a durable intent, made in the transaction that accepts the event, and tried until it succeeds, until no
//! repetition helps, or until the target's retry policy is exhausted: then the event goes to the dead-letter queue. It is
//! made at least once. Nothing is called inside a transaction.
//!
//! Source: EventBridge User Guide, "API destinations as targets" (headers, retries by status, rate).

pub(crate) mod auth;
mod reach;
mod request;
mod token;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use base_env::Moment;
use base_types::{Arn, Fault, Timestamp};
use parking_lot::Mutex;
use services_kernel::{Cx, Principal, Reconciler, Source};
use services_ports::Outbound;
use store_api::{Direction, Key, Tx};
use tokio::sync::Semaphore;

pub use self::reach::ApiDestinations;
pub(crate) use self::reach::destination;
use self::{auth::Auth, reach::Reached, token::Tokens};
use crate::{
    EventBridge,
    letters::{Failure, Lost},
    path::Path,
    tables::{
        AUTHORIZING, CALL_BODIES, CALL_LETTERS, CALLS, CONNECTIONS, Call, Connection, HttpParts, Id, Place, Target,
        Text, last_id, within_of,
    },
};

/// Retries and age when a target says nothing (AWS).
const RETRIES_MAX: u32 = 185;
const AGE_MAX_SECONDS: u32 = 86_400;
/// How long a request may take (AWS).
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Requests under way at a time.
const CALLS_MAX: usize = 64;
/// Intents looked at in a round.
const LOOKED_AT_MAX: usize = 256;
/// Of an answer nothing is wanted but its status.
const ANSWER_BYTES_MAX: usize = 1024;
/// The first pause after a failure, doubling up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);
const AT_ONCE: Duration = Duration::from_millis(1);
/// What the reconciler's own requests are called.
const REQUEST: &str = "events-calls";

impl EventBridge {
    /// Keeps a request that is to be made.
    pub(crate) fn call_later(
        &self,
        cx: &Cx,
        tx: &Tx,
        rule: &str,
        target: &Target,
        body: String,
        event: &str,
    ) -> Result<(), Fault> {
        let mut id = [0; 16];
        self.env.fill(&mut id);
        let age = Duration::from_secs(target.age_max_seconds.unwrap_or(AGE_MAX_SECONDS).into());
        let call = Call {
            account: cx.account,
            region: cx.region.clone(),
            target: target.arn.clone(),
            rule: rule.to_owned(),
            http: resolved(target.http.as_ref(), event),
            dead_letter: target.dead_letter.clone(),
            retries_max: target.retries_max.unwrap_or(RETRIES_MAX),
            expires: tx.now() + age,
            failures: 0,
            trace: cx.trace.as_deref().map(str::to_owned),
        };
        if call.dead_letter.is_some() {
            CALL_LETTERS.put(tx, &CALL_LETTERS.global_key(None).bytes(&id), &Text { text: event.to_owned() })?;
        }
        CALL_BODIES.put(tx, &CALL_BODIES.global_key(None).bytes(&id), &Text { text: body })?;
        file(tx, tx.now(), &id, &call)
    }

    /// The request is over, whatever became of it.
    fn forget_call(tx: &Tx, key: &Key, id: &Id) -> Result<(), Fault> {
        CALLS.remove(tx, key)?;
        CALL_BODIES.remove(tx, &CALL_BODIES.global_key(None).bytes(id))?;
        CALL_LETTERS.remove(tx, &CALL_LETTERS.global_key(None).bytes(id))
    }

    /// Takes down what became of an attempt.
    fn settle(&self, tx: &Tx, key: &Key, outcome: &Attempt) -> Result<(), Fault> {
        let id = last_id(key)?;
        let Some(mut call) = CALLS.get(tx, key)? else { return Ok(()) };
        let failure = match outcome {
            Attempt::Done => return Self::forget_call(tx, key, &id),
            Attempt::Hopeless { failure, .. } => Failure { retries: call.failures, ..failure.clone() },
            Attempt::Again { failure, pause, .. } => {
                let pause = pause.unwrap_or_default().max(self.pause(call.failures));
                let exhausted = if call.failures >= call.retries_max {
                    Some("MaximumRetryAttempts")
                } else if tx.now() + pause > call.expires {
                    Some("MaximumEventAgeInSeconds")
                } else {
                    None
                };
                if exhausted.is_none() {
                    call.failures += 1;
                    CALLS.remove(tx, key)?;
                    return file(tx, tx.now() + pause, &id, &call);
                }
                Failure { retries: call.failures, exhausted, ..failure.clone() }
            }
        };
        let letter = CALL_LETTERS.get(tx, &CALL_LETTERS.global_key(None).bytes(&id))?;
        let event = letter.map(|letter| letter.text).unwrap_or_default();
        let cx = on_behalf(&call);
        let lost = Lost {
            rule: &call.rule,
            target: &call.target,
            queue: call.dead_letter.as_deref(),
            event: &event,
            failure: &failure,
        };
        self.give_up(&cx, tx, &lost)?;
        Self::forget_call(tx, key, &id)
    }

    /// The pause after so many failures: doubling, with a share of chance, so that calls that failed together part.
    fn pause(&self, failures: u32) -> Duration {
        let whole = PAUSE_FIRST.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
        let half = u64::try_from(whole.as_millis() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(half + self.env.below(half + 1))
    }
}

fn file(tx: &Tx, due: Timestamp, id: &Id, call: &Call) -> Result<(), Fault> {
    CALLS.put(tx, &CALLS.global_key(None).time(due).bytes(id), call)?;
    tx.wake(&CALLS.global_key(None), 1)
}

/// Values that are paths into the event become what they lead to.
fn resolved(parts: Option<&HttpParts>, event: &str) -> HttpParts {
    let value = |text: &String| match Path::parse(text).filter(|_| text.starts_with("$.")) {
        None => text.clone(),
        Some(path) => {
            let found = path.find(event).unwrap_or_default();
            serde_json::from_str::<String>(&found).unwrap_or(found)
        }
    };
    let pairs = |pairs: &Vec<(String, String)>| pairs.iter().map(|(name, text)| (name.clone(), value(text))).collect();
    let Some(parts) = parts else { return HttpParts::default() };
    HttpParts {
        path: parts.path.as_ref().map(|values| values.iter().map(value).collect()),
        headers: parts.headers.as_ref().map(pairs),
        query: parts.query.as_ref().map(pairs),
    }
}

/// The context in which a rule's dead-letter queue is told.
fn on_behalf(call: &Call) -> Cx {
    let cx = Cx::internal(call.account, call.region.clone(), REQUEST);
    let service = "events.amazonaws.com".to_owned();
    Cx {
        principal: Arc::new(Principal::Service { host: service.clone(), account: call.account }),
        source: call.rule.parse::<Arn>().ok().map(|arn| Arc::new(Source { service, arn })),
        trace: call.trace.as_deref().map(Arc::from),
        hops: 1,
        ..cx
    }
}

/// What became of an attempt.
enum Attempt {
    Done,
    Again {
        failure: Failure,
        pause: Option<Duration>,
        /// What it answered.
        status: Option<u16>,
    },
    Hopeless {
        failure: Failure,
        status: Option<u16>,
    },
}

/// What an attempt needs.
struct Loaded {
    call: Call,
    body: String,
    reached: Reached,
}

/// Calls API destinations and authorises connections.
pub struct ApiCalls<O> {
    shared: Arc<Shared<O>>,
}

struct Shared<O> {
    events: EventBridge,
    outbound: O,
    tokens: Tokens,
    seats: Arc<Semaphore>,
    under_way: Mutex<HashSet<Id>>,
    /// When each destination may be called again.
    free: Mutex<HashMap<String, Moment>>,
}

impl<O: Outbound> ApiCalls<O> {
    pub(crate) fn new(events: EventBridge, outbound: O) -> Self {
        Self {
            shared: Arc::new(Shared {
                events,
                outbound,
                tokens: Tokens::default(),
                seats: Arc::new(Semaphore::new(CALLS_MAX)),
                under_way: Mutex::default(),
                free: Mutex::default(),
            }),
        }
    }

    /// The same for those who wait for the answer: pipes.
    #[must_use]
    pub fn destinations(&self) -> ApiDestinations<O> {
        ApiDestinations { shared: Arc::clone(&self.shared) }
    }
}

impl<O: Outbound> Reconciler for ApiCalls<O> {
    const NAME: &'static str = "calls to API destinations";
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        CALLS.global_key(None)
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        self.shared.authorize_some().await?;
        let look = |tx: &Tx| {
            let all = CALLS.global_key(None);
            let mut found = Vec::new();
            for (key, call) in CALLS.scan(tx, &all.prefix(), LOOKED_AT_MAX, Direction::Forward)? {
                let due = due_of(&key)?;
                if due > tx.now() {
                    return Ok((found, Some(due.since(tx.now()).max(AT_ONCE))));
                }
                let rate = reach::rate_of(tx, &call.target)?;
                found.push((key, call, rate));
            }
            let full = found.len() == LOOKED_AT_MAX;
            Ok::<_, Fault>((found, full.then_some(AT_ONCE)))
        };
        let (due, mut next) = self.shared.events.store.view(look).await?;
        let mut put_off = Vec::new();
        for (key, call, rate) in due {
            let id = last_id(&key)?;
            if self.shared.under_way.lock().contains(&id) {
                continue;
            }
            if let Some(pause) = self.shared.slot(&call.target, rate) {
                put_off.push((key, pause));
                continue;
            }
            let seat = Arc::clone(&self.shared.seats).acquire_owned().await;
            let Ok(seat) = seat else { return Ok(None) };
            self.shared.under_way.lock().insert(id);
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                shared.attempt(key).await;
                shared.under_way.lock().remove(&id);
                drop(seat);
            });
        }
        if !put_off.is_empty() {
            next = Some(next.map_or(PAUSE_FIRST, |next| next.max(AT_ONCE)));
            self.shared.events.store.transact(move |tx: &Tx| refile(tx, &put_off)).await?;
        }
        Ok(next)
    }
}

/// Files calls whose destination is busy for when it is free.
fn refile(tx: &Tx, calls: &[(Key, Duration)]) -> Result<(), Fault> {
    for (key, pause) in calls {
        if let Some(call) = CALLS.get(tx, key)? {
            CALLS.remove(tx, key)?;
            file(tx, tx.now() + *pause, &last_id(key)?, &call)?;
        }
    }
    Ok(())
}

impl<O: Outbound> Shared<O> {
    async fn attempt(&self, key: Key) {
        let outcome = match self.try_call(&key).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => return,
            Err(fault) => {
                tracing::error!(?fault, "a call to an API destination could not be made");
                return;
            }
        };
        let events = self.events.clone();
        let settled = self.events.store.transact(move |tx: &Tx| events.settle(tx, &key, &outcome)).await;
        if let Err(fault) = settled {
            tracing::error!(?fault, "what became of a call to an API destination could not be taken down");
        }
    }

    async fn try_call(&self, key: &Key) -> Result<Option<Attempt>, Fault> {
        let wanted = key.clone();
        let loaded = match self.events.store.view(move |tx: &Tx| load(tx, &wanted)).await? {
            None => return Ok(None),
            Some(Err(failure)) => return Ok(Some(Attempt::Hopeless { failure, status: None })),
            Some(Ok(loaded)) => loaded,
        };
        let Loaded { call, body, reached } = loaded;
        let outcome = self.reach(&reached, &call.http, body, call.trace.as_deref(), ANSWER_BYTES_MAX).await?;
        Ok(Some(outcome.map_or_else(|attempt| attempt, |_| Attempt::Done)))
    }

    /// Authorises connections that wait for it.
    async fn authorize_some(&self) -> Result<(), Fault> {
        let waiting = self
            .events
            .store
            .view(|tx| {
                let all = AUTHORIZING.global_key(None).prefix();
                tx.scan(&all, LOOKED_AT_MAX, Direction::Forward)
            })
            .await?;
        for (key, _) in waiting {
            let (place, name) = within_of(&key)?;
            let row = place.named(&CONNECTIONS, &name);
            let wanted = row.clone();
            let found = self.events.store.view(move |tx: &Tx| CONNECTIONS.get(tx, &wanted)).await?;
            let outcome = match &found {
                None => Ok(()),
                Some(connection) => {
                    let arn = connection.arn(&place, &name);
                    let auth = Auth::decode(&self.events.seal.open(&arn, &connection.sealed)?)?;
                    self.tokens.bearer(self, &arn, connection, &auth).await.map(drop)
                }
            };
            let uuid = found.map(|connection| (connection.uuid, connection.modified));
            self.events
                .store
                .transact(move |tx: &Tx| {
                    AUTHORIZING.remove(tx, &key)?;
                    let Some(mut connection) = CONNECTIONS.get(tx, &row)? else { return Ok::<_, Fault>(()) };
                    if uuid != Some((connection.uuid.clone(), connection.modified)) {
                        return Ok(());
                    }
                    match &outcome {
                        Ok(()) => {
                            connection.state = "AUTHORIZED".to_owned();
                            connection.authorized = Some(tx.now());
                            connection.reason = None;
                        }
                        Err(failure) => {
                            connection.state = "DEAUTHORIZED".to_owned();
                            connection.reason = Some(failure.message.chars().take(512).collect());
                        }
                    }
                    CONNECTIONS.put(tx, &row, &connection)
                })
                .await?;
        }
        Ok(())
    }
}

impl Connection {
    pub(crate) fn arn(&self, place: &Place, name: &str) -> String {
        Arn::regional("events", &place.region, place.account, format!("connection/{name}/{}", self.uuid)).to_string()
    }
}

/// What an attempt needs; the inner error is why there will never be one.
fn load(tx: &Tx, key: &Key) -> Result<Option<Result<Loaded, Failure>>, Fault> {
    let id = last_id(key)?;
    let Some(call) = CALLS.get(tx, key)? else { return Ok(None) };
    let reached = match reach::find(tx, &call.target)? {
        Ok(reached) => reached,
        Err(failure) => return Ok(Some(Err(failure))),
    };
    let body = CALL_BODIES.get(tx, &CALL_BODIES.global_key(None).bytes(&id))?.map(|body| body.text).unwrap_or_default();
    Ok(Some(Ok(Loaded { call, body, reached })))
}

fn due_of(key: &Key) -> Result<Timestamp, Fault> {
    let mut parts = key.parts()?;
    parts.pop();
    match parts.pop() {
        Some(store_api::Part::U64(due)) => Ok(Timestamp::from_millis(due)),
        _ => Err(store_api::DamagedKey.into()),
    }
}
