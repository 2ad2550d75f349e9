//! Functions for those who wait for the answer: [`Invoke`], the operation of the same name without its protocol.

use base_types::Arn;
use bytes::Bytes;
use compute_api::FunctionHost;
use model_lambda::{Error, InvocationRequest};
use services_kernel::{AnswerHeaders, Cx};
use services_ports::{Invoke, InvokeError, Invoked, LogSink};
use wire_schema::ServiceError as _;

use crate::Lambda;

impl<H: FunctionHost, L: LogSink> Invoke for Lambda<H, L> {
    async fn invoke(&self, cx: &Cx, function: &Arn, payload: Bytes) -> Result<Invoked, InvokeError> {
        // What the operation says of itself is no part of the answer to whoever caused this.
        let cx = Cx { headers: AnswerHeaders::default(), ..cx.clone() };
        let request = InvocationRequest {
            function_name: function.to_string(),
            payload: Some(payload),
            ..InvocationRequest::default()
        };
        match self.run_invoke(&cx, request).await {
            Ok(answer) => {
                Ok(Invoked { payload: answer.payload.unwrap_or_default(), function_error: answer.function_error })
            }
            Err(Error::Fault(fault)) => Err(fault.into()),
            Err(error) => Err(match &error {
                Error::ResourceNotFoundException(_) => InvokeError::NotFound(function.to_string()),
                Error::AccessDeniedException(_) => InvokeError::Denied(error.message().to_owned()),
                // What passes by itself: a limit, an environment that is on its way.
                Error::TooManyRequestsException(_)
                | Error::ResourceNotReadyException(_)
                | Error::SnapStartNotReadyException(_) => InvokeError::Throttled(error.message().to_owned()),
                _ => InvokeError::Refused(error.message().to_owned()),
            }),
        }
    }
}
