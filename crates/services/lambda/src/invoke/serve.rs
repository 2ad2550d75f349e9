//! Function URLs: a request in, a response out, whole or as it is made; no error leaves in any other form.

use std::sync::Arc;

use base_stream::{Body, ByteStream};
use base_types::{Fault, FaultKind};
use bytes::Bytes;
use compute_api::{FunctionHost, PAYLOAD_BYTES_MAX};
use http::{HeaderValue, Request, Response, header};
use model_lambda::Error;
use services_kernel::{Cx, Principal};
use services_ports::LogSink;

use super::{
    routes::UrlRoute,
    runner::{Call, NotCalled},
    stream::{self, Opened, Streaming},
};
use crate::{
    Lambda,
    names::Qualifier,
    url::{
        event::{Caller, Facts, UrlRequest, event},
        prelude::{self, Prelude, Step},
        reply,
    },
};

/// Pieces of a streamed response that may wait for a slow client.
const PIECES_WAITING: usize = 4;

impl<H: FunctionHost, L: LogSink> Lambda<H, L> {
    /// Serves a request to the function URL with this identifier.
    ///
    /// `cx` says who asks (`Anonymous` for an unsigned request) and from where; account and region are the URL's own. The
    /// signature has been verified before.
    pub async fn serve_url(&self, cx: &Cx, id: &str, request: Request<Bytes>) -> Response<Body> {
        let mut response = match self.0.runner.routes.url(id).await {
            Ok(Some(route)) => self.serve_route(cx, &route, request).await,
            // AWS does not tell a URL that is not there from one that may not be used.
            Ok(None) => reply::forbidden().map(Body::from),
            Err(fault) => {
                tracing::error!(request_id = %cx.request_id, ?fault, "a function URL cannot be looked up");
                reply::internal_server_error().map(Body::from)
            }
        };
        if let Ok(value) = HeaderValue::from_str(&cx.request_id) {
            response.headers_mut().insert("x-amzn-requestid", value);
        }
        response
    }

    async fn serve_route(&self, cx: &Cx, route: &UrlRoute, request: Request<Bytes>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let cors = route.url.cors.as_ref();
        if let Some(answer) = cors.and_then(|cors| cors.preflight(&parts.method, &parts.headers)) {
            return answer.map(Body::from);
        }
        let request = UrlRequest {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body,
            source_ip: cx.source_ip.to_string(),
        };
        let mut response = match self.invoke_url(cx, route, &request).await {
            Ok(response) => response,
            Err(refusal) => refusal.map(Body::from),
        };
        if let Some(cors) = cors {
            cors.apply(&request.headers, response.headers_mut());
        }
        response
    }

    /// The function's response, or AWS's in place of one.
    async fn invoke_url(
        &self,
        cx: &Cx,
        route: &UrlRoute,
        request: &UrlRequest,
    ) -> Result<Response<Body>, Response<Bytes>> {
        let key = &route.key;
        let cx = Cx { account: key.place.account, region: key.place.region.clone(), ..cx.clone() };
        let qualifier = route.url.alias.clone().map(Qualifier::Alias);
        let found = match self.0.runner.route(key, qualifier.as_ref()).await {
            Ok(Some(found)) => found,
            Ok(None) => return Err(reply::forbidden()),
            Err(fault) => {
                tracing::error!(request_id = %cx.request_id, ?fault, "a function cannot be looked up");
                return Err(reply::internal_server_error());
            }
        };
        if !permitted(&cx, route, &found.arn, found.policy.as_ref()) {
            return Err(reply::forbidden());
        }
        if request.body.len() > PAYLOAD_BYTES_MAX {
            return Err(reply::too_large());
        }
        let principal = Arc::clone(&cx.principal);
        let (account, arn) = (principal.account().map(|a| a.to_string()).unwrap_or_default(), principal.arn());
        let caller = Caller { account: &account, arn: &arn, access_key_id: &account };
        let domain = self.0.control.urls.authority(&route.url.id, cx.region.as_str());
        let facts = Facts {
            url_id: &route.url.id,
            domain: domain.split(':').next().unwrap_or_default(),
            request_id: &cx.request_id,
            at: self.0.control.env.now(),
            caller: route.url.signed.then_some(caller),
        };
        let payload = event(request, &facts);
        // Base64 grows a body by a third: the event has to fit as well.
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(reply::too_large());
        }
        let call = Call {
            request_id: Arc::clone(&cx.request_id),
            payload,
            invoked_arn: match &route.url.alias {
                Some(alias) => format!("{}:{alias}", found.arn),
                None => found.arn.to_string(),
            },
            trace: self.0.runner.trace(cx.trace.as_ref()),
            client_context: None,
            response: None,
            asynchronous: false,
        };
        let runner = &self.0.runner;
        let outcome = if route.url.streamed {
            match runner.choose(&found) {
                Ok(chosen) => stream::open(runner, chosen, call).await,
                Err(reason) => Err(reason),
            }
        } else {
            runner.call(&found, call).await.map(Opened::Whole)
        };
        match outcome {
            Ok(Opened::Streams(streaming)) => streamed(&cx, streaming).await,
            Ok(Opened::Whole(finished)) => {
                let (payload, failed) = (finished.answer.payload, finished.answer.function_error.is_some());
                let response = if route.url.streamed {
                    reply::unstreamed(payload, failed)
                } else {
                    reply::reply(&payload, failed)
                };
                Ok(response.map(Body::from))
            }
            Err(NotCalled::Throttled(_)) => Err(reply::throttled()),
            Err(reason) => {
                tracing::warn!(request_id = %cx.request_id, ?reason, "a function URL could not be served");
                Err(reply::internal_server_error())
            }
        }
    }
}

/// The response that a function streams, from its head on.
async fn streamed(cx: &Cx, mut streaming: Streaming) -> Result<Response<Body>, Response<Bytes>> {
    let (head, first) = if streaming.content_type.as_deref() == Some(prelude::CONTENT_TYPE) {
        let mut prelude = Prelude::default();
        loop {
            // A function that fails before its head is complete has not answered.
            let Some(piece) = streaming.next().await else { return Err(reply::internal_server_error()) };
            match prelude.take(&piece) {
                Step::More => {}
                Step::Head(head, body) => break (head, body),
                Step::Broken => return Err(reply::internal_server_error()),
            }
        }
    } else {
        let declared = streaming.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        let mut head = Response::new(());
        let content_type = declared.unwrap_or(HeaderValue::from_static("application/octet-stream"));
        head.headers_mut().insert(header::CONTENT_TYPE, content_type);
        (head, Bytes::new())
    };
    let (sender, body) = ByteStream::channel(PIECES_WAITING);
    let request_id = Arc::clone(&cx.request_id);
    tokio::spawn(async move {
        let mut next = Some(first);
        while let Some(piece) = next {
            if !piece.is_empty() && !sender.send(piece).await {
                // The client has gone: the function runs to its end all the same.
                return;
            }
            next = streaming.next().await;
        }
        match streaming.end().await {
            Ok(finished) if finished.answer.function_error.is_none() => {}
            Ok(_) => sender.fail(Fault::new(FaultKind::Internal, "stream a response: the function failed")).await,
            Err(reason) => {
                tracing::warn!(%request_id, ?reason, "a streamed response broke off");
                sender.fail(Fault::new(FaultKind::Internal, "stream a response")).await;
            }
        }
    });
    Ok(head.map(|()| Body::from(body)))
}

/// Whether the caller may use the URL. Without signatures everybody is nobody in particular, the owner included: then the
/// resource policy alone decides.
fn permitted(cx: &Cx, route: &UrlRoute, arn: &str, policy: Option<&lang_policy::Policy>) -> bool {
    let asking = if route.url.signed {
        if *cx.principal == Principal::Anonymous {
            return false;
        }
        cx.clone()
    } else {
        Cx { principal: Arc::new(Principal::Anonymous), ..cx.clone() }
    };
    let text = route.url.alias.as_ref().map_or_else(|| arn.to_owned(), |alias| format!("{arn}:{alias}"));
    let Ok(resource) = text.parse() else { return false };
    let auth_type = if route.url.signed { "AWS_IAM" } else { "NONE" };
    let conditions = asking.conditions().with("lambda:FunctionUrlAuthType", auth_type);
    asking.authorize_by::<Error>("lambda:InvokeFunctionUrl", &resource, policy, &conditions).is_ok()
}
