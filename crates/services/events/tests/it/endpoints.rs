//! API destinations for who waits for the answer, and what another account may not do.

use std::time::Duration;

use base_types::Arn;
use bytes::Bytes;
use serde_json::{Value, json};
use services_kernel::Cx;
use services_ports::{Deliver, DeliveryError, EndpointCall, EndpointError, Endpoints};

use crate::world::*;

/// A destination of one call a second, behind a key.
async fn shop(world: &World) -> Arn {
    let key = json!({ "ApiKeyAuthParameters": { "ApiKeyName": "x-key", "ApiKeyValue": "secret" } });
    let given = json!({ "Name": "c", "AuthorizationType": "API_KEY", "AuthParameters": key });
    let connection = world.ok("CreateConnection", given).await["ConnectionArn"].clone();
    let given = json!({
        "Name": "shop", "ConnectionArn": connection, "InvocationEndpoint": "https://shop.example.com/*/price",
        "HttpMethod": "POST", "InvocationRateLimitPerSecond": 1,
    });
    world.ok("CreateApiDestination", given).await["ApiDestinationArn"].as_str().unwrap().parse().unwrap()
}

fn call(body: &str) -> EndpointCall {
    EndpointCall {
        body: body.to_owned(),
        path: vec!["a b".to_owned()],
        headers: vec![("x-kind".to_owned(), "k".to_owned())],
        query: vec![("q".to_owned(), "1&2".to_owned())],
        answer_bytes_max: 8,
    }
}

#[tokio::test]
async fn a_call_is_made_as_the_destination_says_and_its_answer_comes_back() {
    let world = World::new();
    let arn = shop(&world).await;
    let endpoints = world.calls.destinations();
    world.web.answer(200, &[], "answer");
    assert_eq!(&endpoints.call(&world.cx, &arn, call("{}")).await.unwrap()[..], b"answer");
    let request = world.web.last();
    assert_eq!(request.uri.to_string(), "https://shop.example.com/a%20b/price?q=1%262");
    assert_eq!(
        (&request.headers["x-key"], &request.headers["x-kind"]),
        (&"secret".parse().unwrap(), &"k".parse().unwrap())
    );
    assert_eq!((&request.body[..], request.time_limit), (&b"{}"[..], Duration::from_secs(5)));
    let store = world.store.clone();
    let (events, cx, there) = (world.events.clone(), world.cx.clone(), arn.clone());
    let checked = store.view(move |tx| Ok::<_, base_types::Fault>(events.check(&cx, tx, &there))).await.unwrap();
    assert!(checked.is_ok());
    // Nothing is delivered to it: it is called.
    let (events, cx) = (world.events.clone(), world.cx.clone());
    let delivered = store.transact(move |tx| match events.deliver(&cx, tx, &arn, &Default::default()) {
        Err(DeliveryError::Fault(fault)) => Err(fault),
        other => Ok(other.is_err()),
    });
    assert!(delivered.await.unwrap());
}

/// A call when the rate of the one before is over.
async fn later(world: &World, cx: &Cx, arn: &Arn) -> Result<Bytes, EndpointError> {
    world.advance(2);
    world.calls.destinations().call(cx, arn, call("{}")).await
}

#[tokio::test]
async fn why_there_is_no_answer_is_said() {
    let world = World::new();
    let arn = shop(&world).await;
    for status in [404, 429, 503] {
        world.web.answer(status, &[], "no");
        let error = later(&world, &world.cx, &arn).await.unwrap_err();
        assert!(matches!(&error, EndpointError::Failed { status: Some(said), .. } if *said == status), "{error}");
    }
    world.web.answer(200, &[], "too much of it");
    let error = later(&world, &world.cx, &arn).await.unwrap_err();
    assert_eq!(error.to_string(), "it answered more than 8 bytes");
    let other = world.as_account("111122223333");
    let error = later(&world, &other, &arn).await.unwrap_err();
    assert!(matches!(&error, EndpointError::Denied(text) if text.contains("events:InvokeApiDestination")), "{error}");
    let gone: Arn = "arn:aws:events:us-east-1:000000000000:api-destination/none/1".parse().unwrap();
    let error = later(&world, &world.cx, &gone).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{gone} does not exist"));
    let asked = world.web.sent();
    world.ok("DeauthorizeConnection", json!({ "Name": "c" })).await;
    let error = later(&world, &world.cx, &arn).await.unwrap_err();
    assert!(matches!(error, EndpointError::Denied(_)), "{error}");
    assert_eq!(world.web.sent(), asked, "what may not be called is not called");
}

#[tokio::test]
async fn another_account_may_do_nothing_that_no_policy_allows() {
    let world = World::new();
    world.ok("CreateEventBus", json!({ "Name": "orders" })).await;
    let bus = "arn:aws:events:us-east-1:000000000000:event-bus/orders";
    world.ok("PutRule", json!({ "Name": "r", "EventBusName": "orders", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    let other = world.as_account("111122223333");
    for (operation, input) in [
        ("PutRule", json!({ "Name": "r", "EventBusName": bus, "EventPattern": "{\"source\":[\"s\"]}" })),
        ("DescribeRule", json!({ "Name": "r", "EventBusName": bus })),
        ("EnableRule", json!({ "Name": "r", "EventBusName": bus })),
        ("DisableRule", json!({ "Name": "r", "EventBusName": bus })),
        ("DeleteRule", json!({ "Name": "r", "EventBusName": bus })),
        ("PutTargets", json!({ "Rule": "r", "EventBusName": bus, "Targets": [{ "Id": "1", "Arn": queue("q") }] })),
        ("RemoveTargets", json!({ "Rule": "r", "EventBusName": bus, "Ids": ["1"] })),
        ("ListTargetsByRule", json!({ "Rule": "r", "EventBusName": bus })),
        ("ListRules", json!({ "EventBusName": bus })),
        ("DescribeEventBus", json!({ "Name": bus })),
        ("TagResource", json!({ "ResourceARN": bus, "Tags": [{ "Key": "k", "Value": "v" }] })),
        ("UntagResource", json!({ "ResourceARN": bus, "TagKeys": ["k"] })),
        ("ListTagsForResource", json!({ "ResourceARN": bus })),
    ] {
        let (code, message) = world.call_as(other.clone(), operation, input).await.unwrap_err();
        assert_eq!(code, "AccessDeniedException", "{operation}: {message}");
        assert!(message.contains("is not authorized to perform: events:"), "{operation}: {message}");
    }
    // An event of a batch is refused for itself.
    let entry = json!({ "Source": "s", "DetailType": "d", "Detail": "{}", "EventBusName": bus });
    let answer: Value = world.call_as(other, "PutEvents", json!({ "Entries": [entry] })).await.unwrap();
    assert_eq!(
        (&answer["FailedEntryCount"], &answer["Entries"][0]["ErrorCode"]),
        (&1.into(), &"AccessDeniedException".into())
    );
}
