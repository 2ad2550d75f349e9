//! The function that runs on the official Rust client.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handler)).await
}

async fn handler(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    if event.get("fail").is_some() {
        return Err("asked to".into());
    }
    Ok(json!({ "client": "rust", "event": event, "id": context.request_id, "name": context.env_config.function_name }))
}
