//! Reaching an API destination: who it is, when it may be called, and what its answer means. A rule's call (an intent of the
//! store) and a pipe's (which waits for the answer) go the same way.

use std::{sync::Arc, time::Duration};

use base_types::{Arn, Fault};
use bytes::Bytes;
use http::StatusCode;
use model_events::Error;
use services_kernel::Cx;
use services_ports::{EndpointCall, EndpointError, Endpoints, Outbound, OutboundError, OutboundResponse};
use store_api::Tx;

use super::{AT_ONCE, Attempt, Shared, TIME_LIMIT, auth::Auth, request::Plan};
use crate::{
    letters::Failure,
    names::named,
    tables::{CONNECTIONS, Connection, DESTINATIONS, Destination, HttpParts, Place},
};

/// Requests a second when a destination says nothing (AWS).
const PER_SECOND: u32 = 300;
/// How long somebody who waits for the answer waits for the destination's rate.
const RATE_WAIT_MAX: Duration = Duration::from_secs(30);

/// A destination with its connection.
pub(super) struct Reached {
    pub(super) destination: Destination,
    pub(super) connection: Connection,
    pub(super) connection_arn: String,
}

/// The destination that an ARN names, with its place.
pub(crate) fn destination(tx: &Tx, arn: &str) -> Result<Option<(Place, Destination)>, Fault> {
    let Ok(arn) = arn.parse::<Arn>() else { return Ok(None) };
    let (Ok(account), Ok(region)) = (arn.account.parse(), arn.region.parse()) else { return Ok(None) };
    let place = Place { account, region };
    let Some(name) = named(&arn, "api-destination") else { return Ok(None) };
    let found = DESTINATIONS.get(tx, &place.named(&DESTINATIONS, name))?;
    Ok(found.filter(|found| arn.resource.ends_with(&found.uuid)).map(|found| (place, found)))
}

/// How often a destination may be called in a second.
pub(super) fn rate(destination: &Destination) -> u32 {
    destination.per_second.unwrap_or(PER_SECOND)
}

/// The same when nothing may be known of it.
pub(super) fn rate_of(tx: &Tx, arn: &str) -> Result<u32, Fault> {
    Ok(destination(tx, arn)?.map_or(PER_SECOND, |(_, found)| rate(&found)))
}

/// What a call needs; the inner error is why there can be none.
pub(super) fn find(tx: &Tx, arn: &str) -> Result<Result<Reached, Failure>, Fault> {
    let missing = |what: &str| Ok(Err(Failure::permanent("NO_RESOURCE", format!("{what} does not exist"))));
    let Some((place, destination)) = destination(tx, arn)? else { return missing(arn) };
    let connection_named = destination.connection.parse::<Arn>().ok();
    let name = connection_named.as_ref().and_then(|arn| named(arn, "connection")).unwrap_or_default();
    let Some(connection) = CONNECTIONS.get(tx, &place.named(&CONNECTIONS, name))? else {
        return missing(&destination.connection);
    };
    if connection.state == "DEAUTHORIZED" {
        let message = format!("the connection {name} is not authorized");
        return Ok(Err(Failure::permanent("NO_PERMISSIONS", message)));
    }
    let connection_arn = connection.arn(&place, name);
    Ok(Ok(Reached { destination, connection, connection_arn }))
}

impl<O: Outbound> Shared<O> {
    /// Takes the destination's next free moment if that is now; else how long until it comes.
    pub(super) fn slot(&self, target: &str, rate: u32) -> Option<Duration> {
        let now = self.events.env.monotonic();
        let step = Duration::from_secs(1) / rate.max(1);
        let mut free = self.free.lock();
        free.retain(|name, until| name == target || now.since(*until).is_zero());
        let at = free.entry(target.to_owned()).or_insert(now);
        let wait = at.since(now);
        if wait.is_zero() {
            *at = now + step;
            return None;
        }
        Some(wait.max(AT_ONCE))
    }

    /// Calls it once; the inner error is what became of it instead of success.
    pub(super) async fn reach(
        &self,
        reached: &Reached,
        parts: &HttpParts,
        body: String,
        trace: Option<&str>,
        answer_bytes_max: usize,
    ) -> Result<Result<OutboundResponse, Attempt>, Fault> {
        let Reached { destination, connection, connection_arn } = reached;
        let auth = Auth::decode(&self.events.seal.open(connection_arn, &connection.sealed)?)?;
        let bearer = match self.tokens.bearer(self, connection_arn, connection, &auth).await {
            Ok(bearer) => bearer,
            Err(failure) => return Ok(Err(Attempt::Again { failure, pause: None, status: None })),
        };
        let plan = Plan {
            endpoint: &destination.endpoint,
            method: &destination.method,
            parts,
            auth: &auth,
            bearer: bearer.as_deref(),
            trace,
            answer_bytes_max,
        };
        let request = match plan.request(body, TIME_LIMIT) {
            Ok(request) => request,
            Err(wrong) => {
                let failure = Failure::permanent("SDK_CLIENT_ERROR", wrong);
                return Ok(Err(Attempt::Hopeless { failure, status: None }));
            }
        };
        let outcome = judge(self.outbound.send(request).await);
        if let Err(Attempt::Again { failure, .. }) = &outcome
            && failure.code == "UNAUTHORIZED"
        {
            self.tokens.forget(connection_arn);
        }
        Ok(outcome)
    }
}

/// AWS's rule: 401, 407, 409, 429 and what begins with 5 is tried again, as is what does not answer; nothing else.
fn judge(answer: Result<OutboundResponse, OutboundError>) -> Result<OutboundResponse, Attempt> {
    let again = |code, message: String, pause, status| {
        Err(Attempt::Again { failure: Failure::permanent(code, message), pause, status })
    };
    match answer {
        Ok(response) if response.status.is_success() => Ok(response),
        Ok(response) => {
            let status = Some(response.status.as_u16());
            let message = format!("the endpoint answered {}", response.status);
            match response.status.as_u16() {
                401 | 407 => again("UNAUTHORIZED", message, retry_after(&response), status),
                429 => again("THROTTLING", message, retry_after(&response), status),
                409 | 500..=599 => again("REMOTE_ERROR", message, retry_after(&response), status),
                _ => Err(Attempt::Hopeless { failure: Failure::permanent("SDK_CLIENT_ERROR", message), status }),
            }
        }
        Err(error @ (OutboundError::Invalid { .. } | OutboundError::Forbidden { .. })) => {
            let failure = Failure::permanent("SDK_CLIENT_ERROR", error.to_string());
            Err(Attempt::Hopeless { failure, status: None })
        }
        Err(error @ OutboundError::TimedOut(_)) => again("TIMEOUT", error.to_string(), None, None),
        Err(error @ OutboundError::Unreachable { .. }) => again("CONNECTION_FAILURE", error.to_string(), None, None),
    }
}

/// What `Retry-After` asks for, in seconds, where it may ask.
fn retry_after(response: &OutboundResponse) -> Option<Duration> {
    let may = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&response.status);
    let text = response.headers.get(http::header::RETRY_AFTER).filter(|_| may)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Calls API destinations for those who wait for the answer. Cheap to clone.
pub struct ApiDestinations<O> {
    pub(super) shared: Arc<Shared<O>>,
}

impl<O> Clone for ApiDestinations<O> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<O: Outbound> Endpoints for ApiDestinations<O> {
    async fn call(&self, cx: &Cx, endpoint: &Arn, call: EndpointCall) -> Result<Bytes, EndpointError> {
        let (asking, arn) = (cx.clone(), endpoint.clone());
        let found = self.shared.events.store.view(move |tx: &Tx| {
            let permitted = asking.authorize::<Error>(tx, "events:InvokeApiDestination", &arn);
            if let Err(error) = permitted {
                return Ok::<_, Fault>(Err(Failure::permanent("NO_PERMISSIONS", error.to_string())));
            }
            find(tx, &arn.to_string())
        });
        let reached = found.await?.map_err(|failure| failed(failure, None))?;
        let target = endpoint.to_string();
        let begun = self.shared.events.env.monotonic();
        while let Some(pause) = self.shared.slot(&target, rate(&reached.destination)) {
            if self.shared.events.env.monotonic().since(begun) + pause > RATE_WAIT_MAX {
                let reason = "its InvocationRateLimitPerSecond is exceeded".to_owned();
                return Err(EndpointError::Failed { status: None, reason });
            }
            self.shared.events.env.sleep(pause).await;
        }
        let _seat = self.shared.seats.acquire().await.map_err(|error| Fault::internal("call an endpoint", error))?;
        let EndpointCall { body, path, headers, query, answer_bytes_max } = call;
        let parts = HttpParts { path: Some(path), headers: Some(headers), query: Some(query) };
        // One byte more than may be tells that there was more.
        let most = answer_bytes_max.saturating_add(1);
        match self.shared.reach(&reached, &parts, body, cx.trace.as_deref(), most).await? {
            Ok(response) if response.body.len() > answer_bytes_max => Err(EndpointError::Failed {
                status: Some(response.status.as_u16()),
                reason: format!("it answered more than {answer_bytes_max} bytes"),
            }),
            Ok(response) => Ok(response.body),
            Err(Attempt::Again { failure, status, .. } | Attempt::Hopeless { failure, status }) => {
                Err(failed(failure, status))
            }
            Err(Attempt::Done) => Ok(Bytes::new()),
        }
    }
}

fn failed(failure: Failure, status: Option<u16>) -> EndpointError {
    match failure.code {
        "NO_RESOURCE" => EndpointError::NotFound(
            failure.message.strip_suffix(" does not exist").unwrap_or(&failure.message).to_owned(),
        ),
        "NO_PERMISSIONS" => EndpointError::Denied(failure.message),
        _ => EndpointError::Failed { status, reason: failure.message },
    }
}
