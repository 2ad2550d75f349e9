//! Function URLs, served.

use std::sync::Arc;

use base_stream::Body;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use services_kernel::{Cx, Principal};

use crate::world::World;

impl World {
    async fn url(&self, name: &str, mut input: Value) -> String {
        input["FunctionName"] = json!(name);
        let made = self.call("CreateFunctionUrlConfig", input).await;
        let url = made["FunctionUrl"].as_str().unwrap().to_owned();
        let host = url.strip_prefix("http://").unwrap().strip_suffix("/").unwrap().to_owned();
        let (id, region) = services_lambda::url::parse_host(&host).unwrap();
        assert_eq!(region, "us-east-1");
        id.to_owned()
    }

    async fn permit(&self, name: &str, auth_type: &str) {
        let input = json!({
            "FunctionName": name, "StatementId": "public", "Action": "lambda:InvokeFunctionUrl", "Principal": "*",
            "FunctionUrlAuthType": auth_type,
        });
        self.call("AddPermission", input).await;
    }

    async fn get(&self, id: &str, request: Request<Bytes>) -> Response<Bytes> {
        let cx = Cx { principal: Arc::new(Principal::Anonymous), source_ip: Arc::from("10.0.0.7"), ..self.cx.clone() };
        whole(self.lambda.serve_url(&cx, id, request).await)
    }
}

fn whole(response: Response<Body>) -> Response<Bytes> {
    response.map(|body| body.whole().cloned().unwrap())
}

fn request(uri: &str) -> Request<Bytes> {
    Request::get(uri).header("user-agent", "curl/8").body(Bytes::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_url_needs_its_permission() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let id = world.url("f", json!({ "AuthType": "NONE" })).await;
    let refused = world.get(&id, request("/")).await;
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["x-amzn-errortype"].to_str().unwrap()),
        (403, "AccessDeniedException")
    );
    world.permit("f", "NONE").await;
    let answer = world.get(&id, request("/a%20b?x=1")).await;
    assert_eq!(answer.status(), 200);
    let event: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((&event["rawPath"], &event["rawQueryString"]), (&json!("/a b"), &json!("x=1")));
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "10.0.0.7");
    assert_eq!(event["requestContext"]["requestId"], answer.headers()["x-amzn-requestid"].to_str().unwrap());
    assert_eq!(event["requestContext"]["domainName"], format!("{id}.lambda-url.us-east-1.localhost"));
    // Taken away, it holds for the very next request.
    world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "public" })).await;
    assert_eq!(world.get(&id, request("/")).await.status(), 403);
    assert_eq!(world.get(&"a".repeat(32), request("/")).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_failures_become_responses() {
    let world = World::new();
    for (handler, status, body) in [
        ("app.page", 201, "made"),
        ("app.fails", 502, "Internal Server Error"),
        ("app.times_out", 502, "Internal Server Error"),
        ("init.error", 502, "Internal Server Error"),
    ] {
        let name = handler.replace('.', "-");
        world.function(&name, handler).await;
        world.permit(&name, "NONE").await;
        let id = world.url(&name, json!({ "AuthType": "NONE" })).await;
        let answer = world.get(&id, request("/")).await;
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (status, body.as_bytes()), "{handler}");
    }
    world
        .call("PutFunctionConcurrency", json!({ "FunctionName": "app-page", "ReservedConcurrentExecutions": 0 }))
        .await;
    let id = world.call("GetFunctionUrlConfig", json!({ "FunctionName": "app-page" })).await["FunctionUrl"]
        .as_str()
        .unwrap()[7..39]
        .to_owned();
    assert_eq!(world.get(&id, request("/")).await.status(), 429);
    let large = Request::post("/").body(Bytes::from(vec![b'x'; 6 * 1024 * 1024 + 1])).unwrap();
    assert_eq!(world.get(&id, large).await.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_admits_its_own_account_only() {
    let world = World::new();
    world.function("f", "app.handler").await;
    let id = world.url("f", json!({ "AuthType": "AWS_IAM" })).await;
    assert_eq!(world.get(&id, request("/")).await.status(), 403);
    let answer = whole(world.lambda.serve_url(&world.cx, &id, request("/")).await);
    assert_eq!(answer.status(), 200);
    let event: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(event["requestContext"]["authorizer"]["iam"]["userArn"], "arn:aws:iam::111111111111:root");
    let stranger = Cx::internal("222222222222".parse().unwrap(), world.cx.region.clone(), "r");
    assert_eq!(world.lambda.serve_url(&stranger, &id, request("/")).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn cors_is_answered_by_the_rules_and_not_by_the_function() {
    let world = World::new();
    world.function("f", "app.page").await;
    world.permit("f", "NONE").await;
    let cors = json!({ "AllowOrigins": ["https://a.example"], "AllowMethods": ["POST"], "MaxAge": 60 });
    let id = world.url("f", json!({ "AuthType": "NONE", "Cors": cors })).await;
    let preflight =
        Request::options("/").header("origin", "https://a.example").header("access-control-request-method", "POST");
    let answer = world.get(&id, preflight.body(Bytes::new()).unwrap()).await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["access-control-allow-origin"].to_str().unwrap()),
        (200, "https://a.example")
    );
    assert_eq!(world.host.seen.lock().len(), 0, "the function never saw it");
    let from = |origin: &str| Request::get("/").header("origin", origin).body(Bytes::new()).unwrap();
    assert!(world.get(&id, from("https://a.example")).await.headers().contains_key("access-control-allow-origin"));
    assert!(!world.get(&id, from("https://b.example")).await.headers().contains_key("access-control-allow-origin"));
    let found = world.call("GetFunctionUrlConfig", json!({ "FunctionName": "f" })).await;
    assert_eq!(found["Cors"], json!({ "AllowOrigins": ["https://a.example"], "AllowMethods": ["POST"], "MaxAge": 60 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_a_deleted_alias_stays_and_refuses() {
    let world = World::new();
    world.function("f", "app.handler").await;
    world.call("PublishVersion", json!({ "FunctionName": "f" })).await;
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" })).await;
    let id = world.url("f", json!({ "AuthType": "NONE", "Qualifier": "live" })).await;
    let permission = json!({
        "FunctionName": "f", "Qualifier": "live", "StatementId": "s", "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*", "FunctionUrlAuthType": "NONE",
    });
    world.call("AddPermission", permission).await;
    assert_eq!(world.get(&id, request("/")).await.status(), 200);
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "live" })).await;
    assert_eq!(world.get(&id, request("/")).await.status(), 403);
    world.call("DeleteFunction", json!({ "FunctionName": "f" })).await;
    assert_eq!(world.get(&id, request("/")).await.status(), 403);
}
