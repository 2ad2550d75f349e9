//! Function URLs: a request in, a response out; no error leaves in any other form.

use std::sync::Arc;

use base_stream::Body;
use bytes::Bytes;
use compute_api::{FunctionHost, PAYLOAD_BYTES_MAX};
use http::{HeaderValue, Request, Response};
use model_lambda::Error;
use services_kernel::{Cx, Principal};
use services_ports::LogSink;

use super::{
    routes::UrlRoute,
    runner::{Call, NotCalled},
};
use crate::{
    Lambda,
    names::Qualifier,
    url::{
        event::{Caller, Facts, UrlRequest, event},
        reply,
    },
};

impl<H: FunctionHost, L: LogSink> Lambda<H, L> {
    /// Serves a request to the function URL with this identifier.
    ///
    /// `cx` says who asks (`Anonymous` for an unsigned request) and from where; account and region are the URL's own. The
    /// signature has been verified before.
    pub async fn serve_url(&self, cx: &Cx, id: &str, request: Request<Bytes>) -> Response<Body> {
        let mut response = match self.0.runner.routes.url(id).await {
            Ok(Some(route)) => self.serve_route(cx, &route, request).await,
            // AWS does not tell a URL that is not there from one that may not be used.
            Ok(None) => reply::forbidden(),
            Err(fault) => {
                tracing::error!(request_id = %cx.request_id, ?fault, "a function URL cannot be looked up");
                reply::internal_server_error()
            }
        };
        if let Ok(value) = HeaderValue::from_str(&cx.request_id) {
            response.headers_mut().insert("x-amzn-requestid", value);
        }
        response.map(Body::from)
    }

    async fn serve_route(&self, cx: &Cx, route: &UrlRoute, request: Request<Bytes>) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        let cors = route.url.cors.as_ref();
        if let Some(answer) = cors.and_then(|cors| cors.preflight(&parts.method, &parts.headers)) {
            return answer;
        }
        let request = UrlRequest {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body,
            source_ip: cx.source_ip.to_string(),
        };
        let mut response = self.invoke_url(cx, route, &request).await;
        if let Some(cors) = cors {
            cors.apply(&request.headers, response.headers_mut());
        }
        response
    }

    async fn invoke_url(&self, cx: &Cx, route: &UrlRoute, request: &UrlRequest) -> Response<Bytes> {
        let key = &route.key;
        let cx = Cx { account: key.place.account, region: key.place.region.clone(), ..cx.clone() };
        let qualifier = route.url.alias.clone().map(Qualifier::Alias);
        let found = match self.0.runner.route(key, qualifier.as_ref()).await {
            Ok(Some(found)) => found,
            Ok(None) => return reply::forbidden(),
            Err(fault) => {
                tracing::error!(request_id = %cx.request_id, ?fault, "a function cannot be looked up");
                return reply::internal_server_error();
            }
        };
        if !permitted(&cx, route, &found.arn, found.policy.as_ref()) {
            return reply::forbidden();
        }
        if request.body.len() > PAYLOAD_BYTES_MAX {
            return reply::too_large();
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
            return reply::too_large();
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
        };
        match self.0.runner.call(&found, call).await {
            Ok(finished) => reply::reply(&finished.answer.payload, finished.answer.function_error.is_some()),
            Err(NotCalled::Throttled(_)) => reply::throttled(),
            Err(reason) => {
                tracing::warn!(request_id = %cx.request_id, ?reason, "a function URL could not be served");
                reply::internal_server_error()
            }
        }
    }
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
