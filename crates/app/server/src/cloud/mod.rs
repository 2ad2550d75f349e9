//! Everything that stands behind the gateway, and how a request finds its service.

mod compose;
mod objects;
mod own_pages;
mod services;
mod settings;

use std::sync::Arc;

use base_env::Env;
use base_types::{AccountId, Fault, FaultKind};
use compute_api::FunctionHost as _;
use edge_gateway::{Body, Call, Key, Lookup, OwnCall, Upstream, UrlCall};
use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use services_kernel::{AnswerHeaders, Cx, Dispatcher, Principal};
use services_sts::SessionLookup;
use services_usage::Usage;
use store_api::Tx;
use store_embedded::{DataDir, EmbeddedStore};
use store_segments::Segments;
use wire_schema::{Protocol, Serve, ServiceSchema};

use crate::{
    installation::Installation,
    late_host::LateHost,
    own::{self, Choice, Page},
    pages,
};

pub(crate) use compose::{Parts, Rooms};
pub(crate) use services::{Services, with_service};

/// Everything that stands behind the gateway.
pub(crate) struct Cloud {
    services: Services,
    dispatcher: Dispatcher,
    schemas: Vec<&'static ServiceSchema>,
    installation: Installation,
    embedded: EmbeddedStore,
    directory: Arc<DataDir>,
    segments: Segments,
    host: LateHost,
    usage: Usage,
    env: Env,
    /// The account's concurrency limit.
    concurrency: u32,
}

impl Cloud {
    /// Puts the services together and starts their background work.
    pub(crate) fn assemble(parts: Parts<'_>) -> (Self, Rooms) {
        let composed = compose::compose(&parts);
        let cloud = Self {
            services: composed.services.clone(),
            dispatcher: Dispatcher::new(parts.embedded.store().clone()),
            schemas: services::schemas(),
            installation: parts.installation.clone(),
            embedded: parts.embedded.clone(),
            directory: Arc::clone(parts.directory),
            segments: parts.segments.clone(),
            host: parts.host.clone(),
            usage: composed.usage.clone(),
            env: parts.env.clone(),
            concurrency: parts.config.functions.concurrency,
        };
        (cloud, compose::begin(composed, parts))
    }

    /// Decodes, dispatches, encodes.
    async fn serve<M, S>(&self, service: &Arc<S>, call: Call) -> Response<Body>
    where
        M: Serve<S, Cx, Tx>,
        S: Send + Sync + 'static,
    {
        let Call { mut cx, head, body, stream, environment, route, .. } = call;
        let body = stream.map_or(Body::Whole(body), Body::Stream);
        let inside = environment.and_then(|environment| self.services.lambda.lineage_of(&environment.id));
        cx.follow(inside.as_ref());
        let route = route.unwrap_or_else(|| wire_http::route(M::service(), &head));
        let request_id = Arc::clone(&cx.request_id);
        match wire_http::read::<M>(&route, &head, body) {
            Ok(read) => {
                let added = cx.headers.clone();
                // Boxed: a future is moved when it is begun, and this one holds the whole operation.
                let outcome = Box::pin(self.dispatcher.dispatch::<M, S>(service, cx, read.request)).await;
                with(wire_http::respond::<M>(&route, read.operation, &outcome, &request_id), &added)
            }
            Err(error) => wire_http::refuse::<M>(&route, &error, &request_id),
        }
    }
}

impl Upstream for Cloud {
    fn services(&self) -> &[&'static ServiceSchema] {
        &self.schemas
    }

    async fn call(&self, call: Call) -> Response<Body> {
        let call = if call.service.name == "sqs" { with_address(call) } else { call };
        let service = call.service.name;
        if service == "s3" {
            return self.objects(call).await;
        }
        let answer = with_service!(self.services, service, self.serve(call).await, unknown => {
            // The gateway routes to the services of `schemas` only.
            own::failed(unknown, &Fault::new(FaultKind::Internal, "a service that is routed to and not composed"))
        });
        if matches!(service, "dynamodb" | "dynamodbstreams") { with_checksum(answer) } else { answer }
    }

    async fn function_url(&self, call: UrlCall) -> Response<Body> {
        let text = |name: &str| call.head.headers.get(name).and_then(|value| value.to_str().ok());
        let principal = match &call.identity {
            Ok(identity) => Arc::clone(&identity.principal),
            Err(_) => Arc::new(Principal::Anonymous),
        };
        let cx = Cx {
            // The URL's own account and region take their place when it is found.
            account: AccountId::DEFAULT,
            region: call.region.clone().unwrap_or_default(),
            principal,
            source: None,
            request_id: Arc::clone(&call.request_id),
            trace: text("x-amzn-trace-id").map(Arc::from),
            hops: 0,
            deadline: None,
            endpoint: Arc::from(format!("http://{}", text("host").unwrap_or_default())),
            source_ip: Arc::clone(&call.source_ip),
            user_agent: Arc::from(text("user-agent").unwrap_or_default()),
            headers: AnswerHeaders::default(),
        };
        let UrlCall { url_id, path, mut head, body, .. } = call;
        head.uri = as_seen_by_function(&head.uri, &path);
        with(self.services.lambda.serve_url(&cx, &url_id, Request::from_parts(head, body)).await, &cx.headers)
    }

    async fn own(&self, call: OwnCall) -> Option<Response<Body>> {
        let page = match own::choose(&call) {
            Choice::Show(page) => page,
            Choice::Refuse(answer) => return Some(answer),
            Choice::Unknown => return None,
        };
        match page {
            Page::Runtimes => Some(own::document(&pages::runtimes(&self.host.runtimes()))),
            Page::Doctor => Some(own::document(&pages::doctor(&self.host.report()))),
            Page::Environments => Some(self.environments(&call)),
            Page::Usage => Some(self.usage(&call).await),
            Page::Outbox => Some(self.outbox(&call).await),
            Page::Certificate(file) => own::certificate(self.services.sns.certificate(&file).await),
            Page::Backup => Some(own::backup(&self.embedded, &self.directory, &self.segments)),
            Page::Package(token) => own::package(self.services.lambda.package(&token).await),
        }
    }

    async fn key(&self, key_id: &str, token: Option<&str>) -> Result<Lookup, Fault> {
        match self.installation.root_secret(key_id) {
            Some(_) if token.is_some() => Ok(Lookup::InvalidToken),
            Some(secret) => {
                let account = AccountId::DEFAULT;
                let principal = Arc::new(Principal::Root { account });
                Ok(Lookup::Found(Key { secret: secret.to_owned(), principal, account }))
            }
            None => Ok(match self.services.sts.session(key_id, token) {
                SessionLookup::Found(session) => Lookup::Found(Key {
                    secret: session.secret,
                    principal: session.principal,
                    account: session.account,
                }),
                SessionLookup::Unknown => Lookup::Unknown,
                SessionLookup::Invalid => Lookup::InvalidToken,
                SessionLookup::Expired => Lookup::Expired,
            }),
        }
    }
}

/// A form that was sent to a queue's own address means that queue; of an unsigned one the path may tell the region.
fn with_address(mut call: Call) -> Call {
    if call.protocol == Protocol::Query && call.head.uri.path().len() > 1 {
        let (body, region) = services_sqs::complete_form(call.head.uri.path(), call.head.uri.query(), call.body);
        call.body = body;
        let signed = call.head.headers.contains_key(header::AUTHORIZATION);
        call.cx.region = region.filter(|_| !signed).unwrap_or(call.cx.region);
    }
    call
}

/// The response with the checksum that DynamoDB's clients look at.
fn with_checksum(mut response: Response<Body>) -> Response<Body> {
    let sum = response.body().whole().map(|body| crc32fast::hash(body));
    if let Some(sum) = sum {
        response.headers_mut().insert("x-amz-crc32", HeaderValue::from(sum));
    }
    response
}

/// The response with what its operation added.
fn with(mut response: Response<Body>, added: &AnswerHeaders) -> Response<Body> {
    for (name, value) in added.take() {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The request's target with the path that the function shall see.
fn as_seen_by_function(uri: &Uri, path: &str) -> Uri {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // It is a part of a target that was parsed before, so it parses.
    PathAndQuery::try_from(target).map_or_else(|_| uri.clone(), Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_sees_its_own_path_and_the_whole_query() {
        for (target, path, seen) in [
            ("/_pileus/url/abc/a/b?x=1&y", "/a/b", "/a/b?x=1&y"),
            ("/_pileus/url/abc", "/", "/"),
            ("/a%20b?", "/a%20b", "/a%20b?"),
        ] {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(as_seen_by_function(&uri, path).to_string(), seen);
        }
    }
}
