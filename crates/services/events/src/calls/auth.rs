//! How a connection authorises requests. What is secret here is never shown nor logged.

use base_types::Fault;
use minicbor::{Decode, Encode};
use model_events::{
    ConnectionApiKeyAuthResponseParameters, ConnectionAuthResponseParameters, ConnectionBasicAuthResponseParameters,
    ConnectionBodyParameter, ConnectionHeaderParameter, ConnectionHttpParameters,
    ConnectionOAuthClientResponseParameters, ConnectionOAuthResponseParameters, ConnectionQueryStringParameter,
};

/// The parameters of a connection.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Auth {
    /// AWS's word: `API_KEY`, `BASIC`, `OAUTH_CLIENT_CREDENTIALS`.
    #[n(0)]
    pub(crate) kind: String,
    /// The user, the key's name, or the client's identifier.
    #[n(1)]
    pub(crate) name: String,
    /// The password, the key's value, or the client's secret.
    #[n(2)]
    pub(crate) secret: String,
    /// Where tokens are given.
    #[n(3)]
    pub(crate) endpoint: Option<String>,
    #[n(4)]
    pub(crate) method: Option<String>,
    /// What is added where tokens are given.
    #[n(5)]
    pub(crate) token_parts: Option<Additions>,
    /// What is added to each request.
    #[n(6)]
    pub(crate) parts: Option<Additions>,
}

/// What a connection adds to a request.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Additions {
    #[n(0)]
    pub(crate) headers: Option<Vec<Addition>>,
    #[n(1)]
    pub(crate) query: Option<Vec<Addition>>,
    #[n(2)]
    pub(crate) body: Option<Vec<Addition>>,
}

/// One of them.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Addition {
    #[n(0)]
    pub(crate) key: String,
    #[n(1)]
    pub(crate) value: String,
    #[n(2)]
    pub(crate) secret: bool,
}

impl Auth {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        minicbor::encode(self, &mut bytes)
            .map_err(|error| Fault::internal("encode a connection's parameters", error.to_string()))?;
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        minicbor::decode(bytes).map_err(|error| Fault::internal("read a connection's parameters", error.to_string()))
    }

    /// Without what is secret.
    pub(crate) fn shown(&self) -> ConnectionAuthResponseParameters {
        let mut shown = ConnectionAuthResponseParameters {
            invocation_http_parameters: self.parts.as_ref().map(Additions::shown),
            ..ConnectionAuthResponseParameters::default()
        };
        match self.kind.as_str() {
            "BASIC" => {
                let parameters = ConnectionBasicAuthResponseParameters { username: Some(self.name.clone()) };
                shown.basic_auth_parameters = Some(parameters);
            }
            "API_KEY" => {
                let parameters = ConnectionApiKeyAuthResponseParameters { api_key_name: Some(self.name.clone()) };
                shown.api_key_auth_parameters = Some(parameters);
            }
            _ => {
                let client = ConnectionOAuthClientResponseParameters { client_id: Some(self.name.clone()) };
                shown.o_auth_parameters = Some(ConnectionOAuthResponseParameters {
                    client_parameters: Some(client),
                    authorization_endpoint: self.endpoint.clone(),
                    http_method: self.method.as_deref().and_then(|method| method.parse().ok()),
                    o_auth_http_parameters: self.token_parts.as_ref().map(Additions::shown),
                });
            }
        }
        shown
    }
}

impl Additions {
    pub(crate) fn of(given: &ConnectionHttpParameters) -> Self {
        fn all<T>(
            given: Option<&Vec<T>>,
            read: impl Fn(&T) -> (&Option<String>, &Option<String>, Option<bool>),
        ) -> Option<Vec<Addition>> {
            let one = |item| {
                let (key, value, secret) = read(item);
                Addition {
                    key: key.clone().unwrap_or_default(),
                    value: value.clone().unwrap_or_default(),
                    secret: secret == Some(true),
                }
            };
            given.map(|items| items.iter().map(one).collect())
        }
        Self {
            headers: all(given.header_parameters.as_ref(), |it: &ConnectionHeaderParameter| {
                (&it.key, &it.value, it.is_value_secret)
            }),
            query: all(given.query_string_parameters.as_ref(), |it: &ConnectionQueryStringParameter| {
                (&it.key, &it.value, it.is_value_secret)
            }),
            body: all(given.body_parameters.as_ref(), |it: &ConnectionBodyParameter| {
                (&it.key, &it.value, it.is_value_secret)
            }),
        }
    }

    fn shown(&self) -> ConnectionHttpParameters {
        fn value(it: &Addition) -> Option<String> {
            (!it.secret).then(|| it.value.clone())
        }
        fn all<T>(given: Option<&Vec<Addition>>, show: impl Fn(&Addition) -> T) -> Option<Vec<T>> {
            given.map(|items| items.iter().map(show).collect())
        }
        ConnectionHttpParameters {
            header_parameters: all(self.headers.as_ref(), |it| ConnectionHeaderParameter {
                key: Some(it.key.clone()),
                value: value(it),
                is_value_secret: Some(it.secret),
            }),
            query_string_parameters: all(self.query.as_ref(), |it| ConnectionQueryStringParameter {
                key: Some(it.key.clone()),
                value: value(it),
                is_value_secret: Some(it.secret),
            }),
            body_parameters: all(self.body.as_ref(), |it| ConnectionBodyParameter {
                key: Some(it.key.clone()),
                value: value(it),
                is_value_secret: Some(it.secret),
            }),
        }
    }
}
