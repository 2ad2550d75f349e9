//! The operations `Invoke`, `InvokeAsync` and `InvokeWithResponseStream`.

use std::sync::Arc;

use base_types::AccountId;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use compute_api::{FunctionHost, PAYLOAD_BYTES_MAX};
use model_lambda::{
    Error, InvocationRequest, InvocationResponse, InvocationType, InvokeAsyncRequest, InvokeAsyncResponse,
    InvokeWithResponseStreamRequest, InvokeWithResponseStreamResponse, LogType, ResponseStreamingInvocationType,
};
use services_kernel::Cx;
use services_ports::LogSink;
use wire_schema::{EventStream, ServiceError as _};

use super::{
    routes::{FunctionKey, Route},
    runner::{Call, Finished},
    stream::{self, Opened},
};
use crate::{
    Lambda,
    error::function_not_found,
    events::PAYLOAD_BYTES_MAX as EVENT_BYTES_MAX,
    names::{self, FunctionName, FunctionRef, qualified_arn},
    report::json_problem,
    tables::Place,
};

/// AWS's limit for the client context, in bytes of base64.
const CLIENT_CONTEXT_BYTES_MAX: usize = 3583;

/// Events of a streamed response that may wait for a slow client.
const EVENTS_WAITING: usize = 4;

/// What a request asks for, whatever its operation.
struct Asked<'a> {
    function: &'a str,
    qualifier: Option<&'a str>,
    payload: Option<Bytes>,
    client_context: Option<&'a str>,
    bytes_max: usize,
}

impl<H: FunctionHost, L: LogSink> Lambda<H, L> {
    pub(crate) async fn run_invoke(&self, cx: &Cx, input: InvocationRequest) -> Result<InvocationResponse, Error> {
        let kind = input.invocation_type.unwrap_or(InvocationType::RequestResponse);
        let asked = Asked {
            function: &input.function_name,
            qualifier: input.qualifier.as_deref(),
            payload: input.payload,
            client_context: input.client_context.as_deref(),
            bytes_max: if kind == InvocationType::Event { EVENT_BYTES_MAX } else { PAYLOAD_BYTES_MAX },
        };
        let (route, named, call) = self.prepare(cx, asked).await?;
        let status =
            |status_code| InvocationResponse { status_code: Some(status_code), ..InvocationResponse::default() };
        match kind {
            InvocationType::DryRun => Ok(status(204)),
            InvocationType::Event => {
                self.enqueue(cx, &route, &named, call).await?;
                Ok(InvocationResponse { payload: Some(Bytes::new()), ..status(202) })
            }
            InvocationType::RequestResponse => {
                let finished = self.0.runner.call(&route, call).await?.restored()?;
                tell(cx, &finished);
                Ok(InvocationResponse {
                    function_error: finished.answer.function_error.map(str::to_owned),
                    log_result: (input.log_type == Some(LogType::Tail)).then(|| STANDARD.encode(&finished.tail)),
                    payload: Some(finished.answer.payload),
                    executed_version: Some(finished.version.to_string()),
                    ..status(200)
                })
            }
        }
    }

    pub(crate) async fn run_invoke_with_response_stream(
        &self,
        cx: &Cx,
        input: InvokeWithResponseStreamRequest,
    ) -> Result<InvokeWithResponseStreamResponse, Error> {
        let asked = Asked {
            function: &input.function_name,
            qualifier: input.qualifier.as_deref(),
            payload: input.payload,
            client_context: input.client_context.as_deref(),
            bytes_max: PAYLOAD_BYTES_MAX,
        };
        let (route, _, call) = self.prepare(cx, asked).await?;
        if input.invocation_type == Some(ResponseStreamingInvocationType::DryRun) {
            return Ok(InvokeWithResponseStreamResponse { status_code: Some(204), ..Default::default() });
        }
        let runner = &self.0.runner;
        let chosen = runner.choose(&route)?;
        let version = chosen.version.key.version.to_string();
        let mut opened = stream::open(runner, chosen, call).await?;
        if let Opened::Whole(finished) = opened {
            let finished = finished.restored()?;
            tell(cx, &finished);
            opened = Opened::Whole(finished);
        }
        let (sender, events) = EventStream::channel(EVENTS_WAITING);
        tokio::spawn(stream::send(opened, sender, input.log_type == Some(LogType::Tail)));
        Ok(InvokeWithResponseStreamResponse {
            status_code: Some(200),
            executed_version: Some(version),
            event_stream: Some(events),
            response_stream_content_type: None,
        })
    }

    pub(crate) async fn run_invoke_async(
        &self,
        cx: &Cx,
        input: InvokeAsyncRequest,
    ) -> Result<InvokeAsyncResponse, Error> {
        let request = InvocationRequest {
            function_name: input.function_name,
            invocation_type: Some(InvocationType::Event),
            payload: Some(input.invoke_args),
            ..InvocationRequest::default()
        };
        let answer = self.run_invoke(cx, request).await?;
        Ok(InvokeAsyncResponse { status: answer.status_code })
    }

    /// Checks a request and looks up what it names.
    async fn prepare(&self, cx: &Cx, asked: Asked<'_>) -> Result<(Arc<Route<L>>, FunctionRef, Call), Error> {
        let payload = asked.payload.filter(|payload| !payload.is_empty()).unwrap_or(Bytes::from_static(b"{}"));
        let (named, place) = target(cx, asked.function, asked.qualifier)?;
        check_size(asked.bytes_max, payload.len())?;
        let route = self.permitted_route(cx, &named, place).await?;
        let client_context = asked.client_context.map(client_context).transpose()?.flatten();
        if let Some(problem) = json_problem(&payload) {
            return Err(Error::invalid_request_content_exception(format!(
                "Could not parse request body into json: Could not parse payload into json: {problem}"
            )));
        }
        let call = Call {
            request_id: Arc::clone(&cx.request_id),
            payload,
            invoked_arn: invoked_arn(&route, &named),
            trace: self.0.runner.trace(cx.trace.as_ref()),
            client_context,
            response: None,
            asynchronous: false,
        };
        Ok((route, named, call))
    }

    /// What is named, if it is there and the caller may call it.
    async fn permitted_route(&self, cx: &Cx, named: &FunctionRef, place: Place) -> Result<Arc<Route<L>>, Error> {
        const ACTION: &str = "lambda:InvokeFunction";
        let Place { account, region } = place.clone();
        let key = FunctionKey { place, name: named.name.clone() };
        let route = self.0.runner.route(&key, named.qualifier.as_ref()).await?;
        let route = match route {
            // Its own account's, and no policy to ask: the common case makes nothing to be evaluated.
            Some(route) if route.policy.is_none() && cx.owns(account) => return Ok(route),
            other => other,
        };
        let resource = match &named.qualifier {
            Some(qualifier) => format!("function:{}:{qualifier}", named.name),
            None => format!("function:{}", named.name),
        };
        let arn = base_types::Arn::regional("lambda", &region, account, resource);
        let policy = route.as_ref().and_then(|route| route.policy.as_ref());
        // Whether a function of another account exists is nobody's business without a permission.
        cx.authorize_by::<Error>(ACTION, &arn, policy, &cx.conditions())?;
        route.ok_or_else(|| match &named.qualifier {
            Some(_) => function_not_found(&arn.to_string()),
            None => function_not_found(&qualified_arn(&region, account, &named.name, &"$LATEST")),
        })
    }
}

/// What a request names, and in which account: another account's function is named by its ARN.
fn target(cx: &Cx, text: &str, qualifier: Option<&str>) -> Result<(FunctionRef, Place), Error> {
    let account: AccountId = FunctionName::parse(text)?.account.unwrap_or(cx.account);
    let named = names::resolve(text, qualifier, &cx.region, account)?;
    Ok((named, Place { account, region: cx.region.clone() }))
}

fn invoked_arn<L>(route: &Route<L>, named: &FunctionRef) -> String {
    match &named.qualifier {
        Some(qualifier) => format!("{}:{qualifier}", route.arn),
        None => route.arn.to_string(),
    }
}

fn check_size(bytes_max: usize, bytes: usize) -> Result<(), Error> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Error::request_entity_too_large_exception(if bytes_max == EVENT_BYTES_MAX {
        format!("{bytes} byte payload is too large for the Event invocation type (limit {bytes_max} bytes)")
    } else {
        format!("Request must be smaller than {bytes_max} bytes for the InvokeFunction operation")
    }))
}

/// Says in the response how the invocation got its environment.
fn tell(cx: &Cx, finished: &Finished) {
    cx.headers.add("x-pileus-isolation", finished.ran.isolation.as_str());
    cx.headers.add("x-pileus-start", finished.ran.start.as_str());
    cx.headers.add("x-pileus-origin", finished.ran.origin.as_str());
}

/// The client context, decoded: a JSON object.
fn client_context(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > CLIENT_CONTEXT_BYTES_MAX {
        return Err(Error::validation(format!(
            "1 validation error detected: Value at 'clientContext' failed to satisfy constraint: Member must have length \
             less than or equal to {CLIENT_CONTEXT_BYTES_MAX}"
        )));
    }
    STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok())
        .map(Some)
        .ok_or_else(|| {
            Error::invalid_request_content_exception("Client context must be a valid Base64-encoded JSON object.")
        })
}
