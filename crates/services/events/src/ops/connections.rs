//! Connections: create, describe, list, update, deauthorise, delete.

use base_types::Arn;
use model_events::{
    Connection as Shown, ConnectionAuthResponseParameters, ConnectionAuthorizationType, ConnectionState,
    CreateConnectionRequest, CreateConnectionResponse, DeauthorizeConnectionRequest, DeauthorizeConnectionResponse,
    DeleteConnectionRequest, DeleteConnectionResponse, DescribeConnectionRequest, DescribeConnectionResponse, Error,
    ListConnectionsRequest, ListConnectionsResponse, UpdateConnectionRequest, UpdateConnectionResponse,
};
use services_kernel::{Cx, Quotas};
use store_api::{Direction, Tx};

use super::{CONNECTIONS as CONNECTIONS_MAX, pages::Asked};
use crate::{
    EventBridge,
    calls::auth::{Additions, Auth},
    error::{bad_parameter, taken, too_many},
    tables::{AUTHORIZING, CONNECTIONS, Connection, Mark, Place},
};

const SUFFIX: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

fn missing(name: &str) -> Error {
    Error::resource_not_found_exception(format!(
        "Failed to describe the connection(s). Connection '{name}' does not exist."
    ))
}

fn required(kind: &str, member: &str) -> Error {
    bad_parameter("AuthParameters", Some(&format!("{member} is required for {kind} authorization.")))
}

fn state(connection: &Connection) -> Option<ConnectionState> {
    connection.state.parse().ok()
}

impl EventBridge {
    pub(crate) fn add_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateConnectionRequest,
    ) -> Result<CreateConnectionResponse, Error> {
        let name = &input.name;
        cx.authorize::<Error>(tx, "events:CreateConnection", &cx.arn("events", format!("connection/{name}")))?;
        let place = Place::of(cx);
        let rows = place.key(&CONNECTIONS);
        if CONNECTIONS.get(tx, &place.named(&CONNECTIONS, name))?.is_some() {
            return Err(taken("Connection", name));
        }
        let most = usize::try_from(Quotas::get(tx, cx, CONNECTIONS_MAX)?).unwrap_or(usize::MAX);
        if tx.scan(&rows.prefix(), most.saturating_add(1), Direction::Forward)?.len() >= most {
            return Err(too_many());
        }
        let auth = created(input)?;
        let mut connection = Connection {
            uuid: self.env.uuid(),
            created: tx.now(),
            modified: tx.now(),
            authorized: None,
            description: input.description.clone(),
            kms_key: input.kms_key_identifier.clone(),
            state: String::new(),
            reason: None,
            sealed: Vec::new(),
            suffix: self.env.id(6, SUFFIX),
        };
        self.store_connection(tx, &place, name, &mut connection, &auth)?;
        Ok(CreateConnectionResponse {
            connection_arn: Some(connection.arn(&place, name)),
            connection_state: state(&connection),
            creation_time: Some(connection.created),
            last_modified_time: Some(connection.modified),
        })
    }

    /// Seals the parameters and has the connection authorised, if it needs to be asked for.
    fn store_connection(
        &self,
        tx: &Tx,
        place: &Place,
        name: &str,
        connection: &mut Connection,
        auth: &Auth,
    ) -> Result<(), Error> {
        connection.sealed = self.seal.seal(&connection.arn(place, name), &auth.encode()?)?;
        // AWS shows a time from the beginning, also of a connection that is still being authorised.
        connection.authorized = Some(tx.now());
        connection.reason = None;
        if auth.kind == "OAUTH_CLIENT_CREDENTIALS" {
            connection.state = "AUTHORIZING".to_owned();
            AUTHORIZING.put(tx, &place.within(&AUTHORIZING, name), &Mark {})?;
            tx.wake(&crate::tables::CALLS.global_key(None), 1)?;
        } else {
            connection.state = "AUTHORIZED".to_owned();
        }
        Ok(CONNECTIONS.put(tx, &place.named(&CONNECTIONS, name), connection)?)
    }

    fn find_connection(&self, cx: &Cx, tx: &Tx, name: &str, action: &str) -> Result<Connection, Error> {
        cx.authorize::<Error>(tx, action, &cx.arn("events", format!("connection/{name}")))?;
        CONNECTIONS.require(tx, &Place::of(cx).named(&CONNECTIONS, name), || missing(name))
    }

    /// The parameters of a connection; none when it was deauthorised.
    fn auth(&self, place: &Place, name: &str, connection: &Connection) -> Result<Option<Auth>, Error> {
        if connection.sealed.is_empty() {
            return Ok(None);
        }
        Ok(Some(Auth::decode(&self.seal.open(&connection.arn(place, name), &connection.sealed)?)?))
    }

    pub(crate) fn connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeConnectionRequest,
    ) -> Result<DescribeConnectionResponse, Error> {
        let (place, name) = (Place::of(cx), &input.name);
        let connection = self.find_connection(cx, tx, name, "events:DescribeConnection")?;
        let auth = self.auth(&place, name, &connection)?;
        let secret = format!("secret:events!connection/{name}/{}-{}", connection.uuid, connection.suffix);
        let secret = Arn::regional("secretsmanager", &cx.region, cx.account, secret);
        Ok(DescribeConnectionResponse {
            connection_arn: Some(connection.arn(&place, name)),
            name: Some(name.clone()),
            connection_state: state(&connection),
            authorization_type: auth.as_ref().and_then(|auth| auth.kind.parse().ok()),
            auth_parameters: auth
                .as_ref()
                .map(Auth::shown)
                .filter(|shown| *shown != ConnectionAuthResponseParameters::default()),
            secret_arn: Some(secret.to_string()),
            description: connection.description,
            state_reason: connection.reason,
            kms_key_identifier: connection.kms_key,
            creation_time: Some(connection.created),
            last_modified_time: Some(connection.modified),
            last_authorized_time: connection.authorized,
            invocation_connectivity_parameters: None,
        })
    }

    pub(crate) fn connections_page(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListConnectionsRequest,
    ) -> Result<ListConnectionsResponse, Error> {
        cx.authorize::<Error>(tx, "events:ListConnections", &cx.arn("events", "connection/*"))?;
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let wanted = input.connection_state.map(ConnectionState::as_str).unwrap_or_default();
        let asked = Asked { prefix: Some(prefix), token: input.next_token.as_deref(), limit: input.limit };
        let scope = [cx.account.as_str(), cx.region.as_str(), "ListConnections", prefix, wanted];
        let place = Place::of(cx);
        let rows = place.key(&CONNECTIONS);
        let (connections, next_token) =
            self.page(tx, &CONNECTIONS, &rows, &scope, asked, |name, connection: Connection| {
                if !wanted.is_empty() && connection.state != wanted {
                    return Ok(None);
                }
                let auth = self.auth(&place, name, &connection)?;
                Ok(Some(Shown {
                    connection_arn: Some(connection.arn(&place, name)),
                    name: Some(name.to_owned()),
                    connection_state: state(&connection),
                    authorization_type: auth.and_then(|auth| auth.kind.parse().ok()),
                    state_reason: connection.reason,
                    creation_time: Some(connection.created),
                    last_modified_time: Some(connection.modified),
                    last_authorized_time: connection.authorized,
                }))
            })?;
        Ok(ListConnectionsResponse { connections: Some(connections), next_token })
    }

    pub(crate) fn change_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateConnectionRequest,
    ) -> Result<UpdateConnectionResponse, Error> {
        let (place, name) = (Place::of(cx), &input.name);
        let mut connection = self.find_connection(cx, tx, name, "events:UpdateConnection")?;
        let before = self.auth(&place, name, &connection)?;
        let auth = changed(input, before)?;
        connection.modified = tx.now();
        if input.description.is_some() {
            connection.description.clone_from(&input.description);
        }
        if input.kms_key_identifier.is_some() {
            connection.kms_key = input.kms_key_identifier.clone().filter(|key| !key.is_empty());
        }
        self.store_connection(tx, &place, name, &mut connection, &auth)?;
        Ok(UpdateConnectionResponse {
            connection_arn: Some(connection.arn(&place, name)),
            connection_state: state(&connection),
            creation_time: Some(connection.created),
            last_modified_time: Some(connection.modified),
            last_authorized_time: connection.authorized,
        })
    }

    pub(crate) fn deauthorize(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeauthorizeConnectionRequest,
    ) -> Result<DeauthorizeConnectionResponse, Error> {
        let (place, name) = (Place::of(cx), &input.name);
        let mut connection = self.find_connection(cx, tx, name, "events:DeauthorizeConnection")?;
        connection.sealed = Vec::new();
        connection.state = "DEAUTHORIZED".to_owned();
        connection.modified = tx.now();
        AUTHORIZING.remove(tx, &place.within(&AUTHORIZING, name))?;
        CONNECTIONS.put(tx, &place.named(&CONNECTIONS, name), &connection)?;
        Ok(DeauthorizeConnectionResponse {
            connection_arn: Some(connection.arn(&place, name)),
            connection_state: Some(ConnectionState::Deauthorizing),
            creation_time: Some(connection.created),
            last_modified_time: Some(connection.modified),
            last_authorized_time: connection.authorized,
        })
    }

    pub(crate) fn drop_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteConnectionRequest,
    ) -> Result<DeleteConnectionResponse, Error> {
        let (place, name) = (Place::of(cx), &input.name);
        let connection = self.find_connection(cx, tx, name, "events:DeleteConnection")?;
        CONNECTIONS.remove(tx, &place.named(&CONNECTIONS, name))?;
        AUTHORIZING.remove(tx, &place.within(&AUTHORIZING, name))?;
        Ok(DeleteConnectionResponse {
            connection_arn: Some(connection.arn(&place, name)),
            connection_state: Some(ConnectionState::Deleting),
            creation_time: Some(connection.created),
            last_modified_time: Some(connection.modified),
            last_authorized_time: connection.authorized,
        })
    }
}

/// The parameters of a new connection.
fn created(input: &CreateConnectionRequest) -> Result<Auth, Error> {
    let (kind, given) = (input.authorization_type, &input.auth_parameters);
    let mut auth = Auth {
        kind: kind.as_str().to_owned(),
        parts: given.invocation_http_parameters.as_ref().map(Additions::of),
        ..Auth::default()
    };
    match kind {
        ConnectionAuthorizationType::Basic => {
            let it = given.basic_auth_parameters.as_ref().ok_or_else(|| required("BASIC", "BasicAuthParameters"))?;
            (auth.name, auth.secret) = (it.username.clone(), it.password.clone());
        }
        ConnectionAuthorizationType::ApiKey => {
            let it =
                given.api_key_auth_parameters.as_ref().ok_or_else(|| required("API_KEY", "ApiKeyAuthParameters"))?;
            (auth.name, auth.secret) = (it.api_key_name.clone(), it.api_key_value.clone());
        }
        ConnectionAuthorizationType::OauthClientCredentials => {
            let it = given.o_auth_parameters.as_ref();
            let it = it.ok_or_else(|| required("OAUTH_CLIENT_CREDENTIALS", "OAuthParameters"))?;
            (auth.name, auth.secret) =
                (it.client_parameters.client_id.clone(), it.client_parameters.client_secret.clone());
            auth.endpoint = Some(it.authorization_endpoint.clone());
            auth.method = Some(it.http_method.as_str().to_owned());
            auth.token_parts = it.o_auth_http_parameters.as_ref().map(Additions::of);
        }
    }
    Ok(auth)
}

/// The parameters of a connection that is changed: what the request does not say stays.
fn changed(input: &UpdateConnectionRequest, before: Option<Auth>) -> Result<Auth, Error> {
    let kind = match (input.authorization_type, &before) {
        (Some(kind), _) => kind.as_str().to_owned(),
        (None, Some(before)) => before.kind.clone(),
        (None, None) => return Err(bad_parameter("AuthorizationType", Some("The connection is not authorized."))),
    };
    let mut auth = before.filter(|before| before.kind == kind).unwrap_or(Auth { kind, ..Auth::default() });
    if let Some(given) = &input.auth_parameters {
        if let Some(parts) = &given.invocation_http_parameters {
            auth.parts = Some(Additions::of(parts));
        }
        let (name, secret) = match auth.kind.as_str() {
            "BASIC" => {
                let it = given.basic_auth_parameters.as_ref();
                (it.and_then(|it| it.username.clone()), it.and_then(|it| it.password.clone()))
            }
            "API_KEY" => {
                let it = given.api_key_auth_parameters.as_ref();
                (it.and_then(|it| it.api_key_name.clone()), it.and_then(|it| it.api_key_value.clone()))
            }
            _ => {
                let it = given.o_auth_parameters.as_ref();
                auth.endpoint = it.and_then(|it| it.authorization_endpoint.clone()).or(auth.endpoint);
                auth.method = it.and_then(|it| it.http_method).map(|it| it.as_str().to_owned()).or(auth.method);
                auth.token_parts =
                    it.and_then(|it| it.o_auth_http_parameters.as_ref()).map(Additions::of).or(auth.token_parts);
                let client = it.and_then(|it| it.client_parameters.as_ref());
                (client.and_then(|it| it.client_id.clone()), client.and_then(|it| it.client_secret.clone()))
            }
        };
        auth.name = name.unwrap_or(auth.name);
        auth.secret = secret.unwrap_or(auth.secret);
    }
    let whole = !auth.name.is_empty()
        && !auth.secret.is_empty()
        && (auth.kind != "OAUTH_CLIENT_CREDENTIALS" || auth.endpoint.is_some());
    if whole { Ok(auth) } else { Err(required(&auth.kind, "Every parameter")) }
}
