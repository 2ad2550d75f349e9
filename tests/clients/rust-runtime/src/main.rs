//! The function that runs on the official Rust client.

use lambda_runtime::{
    Error, FunctionResponse, LambdaEvent, MetadataPrelude, StreamResponse, service_fn,
    streaming::{Body, channel},
};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handler)).await
}

async fn handler(event: LambdaEvent<Value>) -> Result<FunctionResponse<Value, Body>, Error> {
    let (event, context) = event.into_parts();
    if event.get("fail").is_some() {
        return Err("asked to".into());
    }
    if let Some(pieces) = event.get("stream").and_then(Value::as_u64) {
        let (mut sender, stream) = channel();
        tokio::spawn(async move {
            for piece in 0..pieces {
                if sender.send_data(format!("piece {piece}\n").into()).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
        return Ok(FunctionResponse::StreamingResponse(StreamResponse {
            metadata_prelude: MetadataPrelude::default(),
            stream,
        }));
    }
    let answer =
        json!({ "client": "rust", "event": event, "id": context.request_id, "name": context.env_config.function_name });
    Ok(FunctionResponse::BufferedResponse(answer))
}
