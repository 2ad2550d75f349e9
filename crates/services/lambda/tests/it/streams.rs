//! Streamed responses: `InvokeWithResponseStream` and function URLs that stream.

use std::sync::Arc;

use base_stream::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use compute_api::Start;
use http::{Request, Response};
use model_lambda::{
    InvokeWithResponseStreamCompleteEvent, InvokeWithResponseStreamRequest, InvokeWithResponseStreamResponseEvent,
    LogType,
};
use serde_json::{Value, json};
use services_kernel::{Cx, Principal};
use services_ports::Ending;

use crate::world::World;

impl World {
    /// Version, bytes and end of a streamed invocation.
    async fn stream(&self, name: &str) -> (String, Vec<u8>, InvokeWithResponseStreamCompleteEvent) {
        let input = InvokeWithResponseStreamRequest {
            function_name: name.to_owned(),
            log_type: Some(LogType::Tail),
            payload: Some(Bytes::from_static(br#"{"n":1}"#)),
            ..Default::default()
        };
        let request = model_lambda::Request::InvokeWithResponseStream(input.into());
        let answer = self.dispatch(request).await;
        let model_lambda::Response::InvokeWithResponseStream(answer) = answer else { panic!("another answer") };
        let mut events = answer.event_stream.as_ref().and_then(|events| events.take()).unwrap();
        let mut bytes = Vec::new();
        while let Some(event) = events.next().await {
            match event.unwrap() {
                InvokeWithResponseStreamResponseEvent::PayloadChunk(chunk) => bytes.extend(chunk.payload.unwrap()),
                InvokeWithResponseStreamResponseEvent::InvokeComplete(end) => {
                    assert!(events.next().await.is_none(), "it is the last");
                    return (answer.executed_version.clone().unwrap(), bytes, end);
                }
            }
        }
        panic!("the stream ended without an end");
    }

    async fn page(&self, id: &str) -> Response<Body> {
        let cx = Cx { principal: Arc::new(Principal::Anonymous), source_ip: Arc::from("10.0.0.7"), ..self.cx.clone() };
        let request = Request::get("/").header("host", "h").body(Bytes::new()).unwrap();
        self.lambda.serve_url(&cx, id, request).await
    }

    async fn streaming_url(&self, name: &str) -> String {
        let input = json!({ "FunctionName": name, "AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM" });
        let answer = self.call("CreateFunctionUrlConfig", input).await;
        let permission = json!({
            "FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "*",
            "FunctionUrlAuthType": "NONE",
        });
        self.call("AddPermission", permission).await;
        let url = answer["FunctionUrl"].as_str().unwrap();
        url.trim_start_matches("http://").split('.').next().unwrap().to_owned()
    }
}

/// All bytes, and whether the body came to its end.
async fn read(response: Response<Body>) -> (Vec<u8>, bool) {
    match response.into_body() {
        Body::Whole(bytes) => (bytes.to_vec(), true),
        Body::Stream(mut stream) => {
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                match piece {
                    Ok(piece) => bytes.extend(piece),
                    Err(_) => return (bytes, false),
                }
            }
            (bytes, true)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_invocation_gives_its_bytes_and_then_its_end() {
    let world = World::new();
    for (name, handler, expected, error) in [
        ("streams", "app.streams", &b"one,two"[..], None),
        ("breaks", "app.breaks", b"one,two", Some("Function.Broke")),
        ("whole", "app.handler", br#"{"n":1}"#, None),
        ("fails", "app.fails", b"", Some("Unhandled")),
        ("init", "init.error", b"", Some("Unhandled")),
    ] {
        world.function(name, handler).await;
        let (version, bytes, end) = world.stream(name).await;
        assert_eq!((version.as_str(), &bytes[..]), ("$LATEST", expected), "{name}");
        assert_eq!(end.error_code.as_deref(), error, "{name}");
        let details: Option<Value> = end.error_details.map(|text| serde_json::from_str(&text).unwrap());
        assert_eq!(details.is_some(), error.is_some());
        let tail = String::from_utf8(STANDARD.decode(end.log_result.unwrap()).unwrap()).unwrap();
        assert!(tail.contains("REPORT RequestId: "), "{tail}");
    }
    let records = world.meter.records.lock();
    let told: Vec<_> = records.iter().map(|record| (record.ending, record.bytes_out)).collect();
    assert_eq!(told[..3], [(Ending::Success, 7), (Ending::Error, 7), (Ending::Success, 7)]);
    assert!(records.iter().all(|record| matches!(record.start, Start::Cold(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_url_answers_as_the_function_does() {
    let world = World::new();
    for (name, handler, status, expected, complete) in [
        ("streams", "app.streams", 200, &b"one,two"[..], true),
        ("page", "app.streams_page", 201, b"one,two", true),
        ("breaks", "app.breaks", 200, b"one,two", false),
        ("fails", "app.fails", 502, b"Internal Server Error", true),
    ] {
        world.function(name, handler).await;
        let id = world.streaming_url(name).await;
        let response = world.page(&id).await;
        assert_eq!((response.status().as_u16(), &response.headers()["x-amzn-requestid"]).0, status, "{name}");
        if name == "page" {
            assert_eq!(response.headers()["x-mine"], "yes");
            assert_eq!(response.headers()["set-cookie"], "a=1");
        }
        let (bytes, ended) = read(response).await;
        assert_eq!((&bytes[..], ended), (expected, complete), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_end_the_function() {
    let world = World::new();
    world.function("f", "app.streams").await;
    let id = world.streaming_url("f").await;
    drop(world.page(&id).await);
    world.eventually("it is metered", || async { world.meter.records.lock().len() == 1 }).await;
    assert_eq!(world.meter.records.lock()[0].ending, Ending::Success);
}
