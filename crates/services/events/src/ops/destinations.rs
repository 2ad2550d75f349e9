//! API destinations: create, describe, list, update, delete.

use base_types::Arn;
use http::Uri;
use model_events::{
    ApiDestination, ApiDestinationState, CreateApiDestinationRequest, CreateApiDestinationResponse,
    DeleteApiDestinationRequest, DeleteApiDestinationResponse, DescribeApiDestinationRequest,
    DescribeApiDestinationResponse, Error, ListApiDestinationsRequest, ListApiDestinationsResponse,
    UpdateApiDestinationRequest, UpdateApiDestinationResponse,
};
use services_kernel::{Cx, Quotas};
use store_api::{Direction, Tx};

use super::{DESTINATIONS as DESTINATIONS_MAX, pages::Asked};
use crate::{
    EventBridge,
    error::{bad_parameter, taken, too_many},
    names::named,
    tables::{CONNECTIONS, Connection, DESTINATIONS, Destination, Place},
};

fn missing(name: &str) -> Error {
    Error::resource_not_found_exception(format!(
        "Failed to describe the api-destination(s). Api-destination '{name}' does not exist."
    ))
}

fn arn(place: &Place, name: &str, destination: &Destination) -> String {
    let resource = format!("api-destination/{name}/{}", destination.uuid);
    Arn::regional("events", &place.region, place.account, resource).to_string()
}

/// The connection that an ARN names, if it is there.
fn connection(tx: &Tx, place: &Place, text: &str) -> Result<Option<Connection>, Error> {
    let parsed: Option<Arn> = text.parse().ok();
    let Some(name) = parsed.as_ref().and_then(|arn| named(arn, "connection")) else { return Ok(None) };
    let found = CONNECTIONS.get(tx, &place.named(&CONNECTIONS, name))?;
    Ok(found.filter(|found| found.arn(place, name) == text))
}

/// Objects to a connection that is not there.
fn check_connection(tx: &Tx, place: &Place, text: &str) -> Result<(), Error> {
    match connection(tx, place, text)? {
        Some(_) => Ok(()),
        None => Err(Error::resource_not_found_exception(format!("Connection '{text}' does not exist."))),
    }
}

/// Objects to an endpoint that could never be called. AWS wants `https`; a developer's own server may speak `http`, and
/// whether it may be called is judged when it is.
fn check_endpoint(text: &str) -> Result<(), Error> {
    let parsed: Option<Uri> = text.replace('*', "x").parse().ok();
    let good = parsed.is_some_and(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
    if good {
        return Ok(());
    }
    Err(bad_parameter("InvocationEndpoint", Some("It has to be an HTTPS endpoint.")))
}

impl EventBridge {
    pub(crate) fn add_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateApiDestinationRequest,
    ) -> Result<CreateApiDestinationResponse, Error> {
        let name = &input.name;
        cx.authorize::<Error>(tx, "events:CreateApiDestination", &cx.arn("events", format!("api-destination/{name}")))?;
        let place = Place::of(cx);
        if DESTINATIONS.get(tx, &place.named(&DESTINATIONS, name))?.is_some() {
            return Err(taken("Api-destination", name));
        }
        check_endpoint(&input.invocation_endpoint)?;
        check_connection(tx, &place, &input.connection_arn)?;
        let most = usize::try_from(Quotas::get(tx, cx, DESTINATIONS_MAX)?).unwrap_or(usize::MAX);
        if tx.scan(&place.key(&DESTINATIONS).prefix(), most.saturating_add(1), Direction::Forward)?.len() >= most {
            return Err(too_many());
        }
        let destination = Destination {
            uuid: self.env.uuid(),
            created: tx.now(),
            modified: tx.now(),
            description: input.description.clone(),
            connection: input.connection_arn.clone(),
            endpoint: input.invocation_endpoint.clone(),
            method: input.http_method.as_str().to_owned(),
            per_second: input.invocation_rate_limit_per_second.and_then(|rate| u32::try_from(rate).ok()),
        };
        DESTINATIONS.put(tx, &place.named(&DESTINATIONS, name), &destination)?;
        Ok(CreateApiDestinationResponse {
            api_destination_arn: Some(arn(&place, name, &destination)),
            api_destination_state: Some(state(tx, &place, &destination)?),
            creation_time: Some(destination.created),
            last_modified_time: Some(destination.modified),
        })
    }

    fn find_destination(&self, cx: &Cx, tx: &Tx, name: &str, action: &str) -> Result<Destination, Error> {
        cx.authorize::<Error>(tx, action, &cx.arn("events", format!("api-destination/{name}")))?;
        DESTINATIONS.require(tx, &Place::of(cx).named(&DESTINATIONS, name), || missing(name))
    }

    pub(crate) fn destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeApiDestinationRequest,
    ) -> Result<DescribeApiDestinationResponse, Error> {
        let (place, name) = (Place::of(cx), &input.name);
        let found = self.find_destination(cx, tx, name, "events:DescribeApiDestination")?;
        let shown = shown(tx, &place, name, &found)?;
        Ok(DescribeApiDestinationResponse {
            api_destination_arn: shown.api_destination_arn,
            name: shown.name,
            description: found.description,
            api_destination_state: shown.api_destination_state,
            connection_arn: shown.connection_arn,
            invocation_endpoint: shown.invocation_endpoint,
            http_method: shown.http_method,
            invocation_rate_limit_per_second: shown.invocation_rate_limit_per_second,
            creation_time: shown.creation_time,
            last_modified_time: shown.last_modified_time,
        })
    }

    pub(crate) fn destinations_page(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListApiDestinationsRequest,
    ) -> Result<ListApiDestinationsResponse, Error> {
        cx.authorize::<Error>(tx, "events:ListApiDestinations", &cx.arn("events", "api-destination/*"))?;
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let wanted = input.connection_arn.as_deref().unwrap_or_default();
        let asked = Asked { prefix: Some(prefix), token: input.next_token.as_deref(), limit: input.limit };
        let scope = [cx.account.as_str(), cx.region.as_str(), "ListApiDestinations", prefix, wanted];
        let place = Place::of(cx);
        let rows = place.key(&DESTINATIONS);
        let (destinations, next_token) =
            self.page(tx, &DESTINATIONS, &rows, &scope, asked, |name, found: Destination| {
                let is_wanted = wanted.is_empty() || found.connection == wanted;
                if is_wanted { shown(tx, &place, name, &found).map(Some) } else { Ok(None) }
            })?;
        Ok(ListApiDestinationsResponse { api_destinations: Some(destinations), next_token })
    }

    pub(crate) fn change_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateApiDestinationRequest,
    ) -> Result<UpdateApiDestinationResponse, Error> {
        let (place, name) = (Place::of(cx), &input.name);
        let mut found = self.find_destination(cx, tx, name, "events:UpdateApiDestination")?;
        if let Some(text) = &input.connection_arn {
            check_connection(tx, &place, text)?;
            found.connection.clone_from(text);
        }
        if let Some(endpoint) = &input.invocation_endpoint {
            check_endpoint(endpoint)?;
            found.endpoint.clone_from(endpoint);
        }
        if let Some(method) = input.http_method {
            method.as_str().clone_into(&mut found.method);
        }
        if let Some(rate) = input.invocation_rate_limit_per_second {
            found.per_second = u32::try_from(rate).ok();
        }
        if input.description.is_some() {
            found.description.clone_from(&input.description);
        }
        found.modified = tx.now();
        DESTINATIONS.put(tx, &place.named(&DESTINATIONS, name), &found)?;
        Ok(UpdateApiDestinationResponse {
            api_destination_arn: Some(arn(&place, name, &found)),
            api_destination_state: Some(state(tx, &place, &found)?),
            creation_time: Some(found.created),
            last_modified_time: Some(found.modified),
        })
    }

    pub(crate) fn drop_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteApiDestinationRequest,
    ) -> Result<DeleteApiDestinationResponse, Error> {
        self.find_destination(cx, tx, &input.name, "events:DeleteApiDestination")?;
        DESTINATIONS.remove(tx, &Place::of(cx).named(&DESTINATIONS, &input.name))?;
        Ok(DeleteApiDestinationResponse {})
    }
}

/// A destination is active as long as its connection is authorised.
fn state(tx: &Tx, place: &Place, destination: &Destination) -> Result<ApiDestinationState, Error> {
    let found = connection(tx, place, &destination.connection)?;
    let active = found.is_some_and(|found| found.state == "AUTHORIZED");
    Ok(if active { ApiDestinationState::Active } else { ApiDestinationState::Inactive })
}

fn shown(tx: &Tx, place: &Place, name: &str, found: &Destination) -> Result<ApiDestination, Error> {
    Ok(ApiDestination {
        api_destination_arn: Some(arn(place, name, found)),
        name: Some(name.to_owned()),
        api_destination_state: Some(state(tx, place, found)?),
        connection_arn: Some(found.connection.clone()),
        invocation_endpoint: Some(found.endpoint.clone()),
        http_method: found.method.parse().ok(),
        invocation_rate_limit_per_second: found.per_second.and_then(|rate| i32::try_from(rate).ok()),
        creation_time: Some(found.created),
        last_modified_time: Some(found.modified),
    })
}
