//! Connections and API destinations.

use std::time::Duration;

use serde_json::{Value, json};
use services_ports::OutboundError;

use crate::world::*;

const ROLE: &str = "arn:aws:iam::000000000000:role/r";

async fn connection(world: &World, name: &str, kind: &str, parameters: Value) -> String {
    let given = json!({ "Name": name, "AuthorizationType": kind, "AuthParameters": parameters });
    world.ok("CreateConnection", given).await["ConnectionArn"].as_str().unwrap().to_owned()
}

/// A rule whose target is an API destination; what the target has beside its ARN.
async fn destination(world: &World, connection: &str, more: Value) -> String {
    let given = json!({
        "Name": "d", "ConnectionArn": connection, "InvocationEndpoint": "https://api.example.com/v1/*", "HttpMethod": "POST",
    });
    let made = world.ok("CreateApiDestination", given).await;
    assert_eq!(made["ApiDestinationState"], "ACTIVE");
    let arn = made["ApiDestinationArn"].as_str().unwrap().to_owned();
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    let mut target = json!({
        "Id": "1", "Arn": arn, "RoleArn": ROLE, "HttpParameters": { "PathParameterValues": ["$.detail.id"] },
    });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.target("r", target).await;
    arn
}

fn api_key() -> Value {
    json!({
        "ApiKeyAuthParameters": { "ApiKeyName": "x-api-key", "ApiKeyValue": "secret-value" },
        "InvocationHttpParameters": { "HeaderParameters": [
            { "Key": "x-open", "Value": "shown", "IsValueSecret": false },
            { "Key": "x-closed", "Value": "hidden", "IsValueSecret": true },
        ] },
    })
}

#[tokio::test]
async fn a_destination_is_called_after_the_commit_with_what_its_connection_says() {
    let world = World::new();
    let arn = connection(&world, "c", "API_KEY", api_key()).await;
    destination(&world, &arn, json!({ "InputPath": "$.detail" })).await;
    world.put(json!([entry("s", &json!({ "id": "a b" }))])).await;
    assert_eq!(world.web.sent(), 0);
    world.call_out().await;
    let request = world.web.last();
    assert_eq!(request.uri.to_string(), "https://api.example.com/v1/a%20b");
    assert_eq!(
        (&request.headers["x-api-key"], &request.headers["x-closed"]),
        (&"secret-value".parse().unwrap(), &"hidden".parse().unwrap())
    );
    assert_eq!(&request.body[..], b"{\"id\":\"a b\"}");
    assert_eq!(request.time_limit, Duration::from_secs(5));
    world.call_out().await;
    assert_eq!(world.web.sent(), 1, "what succeeded is over");
}

#[tokio::test]
async fn secrets_are_never_shown_and_are_sealed_at_rest() {
    let world = World::new();
    connection(&world, "c", "API_KEY", api_key()).await;
    let shown = world.ok("DescribeConnection", json!({ "Name": "c" })).await;
    assert_eq!(shown["AuthParameters"]["ApiKeyAuthParameters"], json!({ "ApiKeyName": "x-api-key" }));
    assert_eq!(
        shown["AuthParameters"]["InvocationHttpParameters"]["HeaderParameters"],
        json!([{ "Key": "x-open", "Value": "shown", "IsValueSecret": false }, { "Key": "x-closed", "IsValueSecret": true }])
    );
    let everything = world
        .store
        .view(|tx| tx.scan(&store_api::KeyRange::family(store_api::Family::Meta), 1000, store_api::Direction::Forward))
        .await
        .unwrap();
    for (_, value) in everything {
        for secret in [&b"secret-value"[..], b"hidden"] {
            assert!(!value.windows(secret.len()).any(|window| window == secret));
        }
    }
    world.ok("DeauthorizeConnection", json!({ "Name": "c" })).await;
    let shown = world.ok("DescribeConnection", json!({ "Name": "c" })).await;
    assert_eq!((&shown["ConnectionState"], shown.get("AuthParameters")), (&"DEAUTHORIZED".into(), None));
}

#[tokio::test]
async fn a_call_is_tried_again_as_its_status_says_until_the_policy_is_exhausted() {
    let world = World::new();
    let arn = connection(&world, "c", "API_KEY", api_key()).await;
    let policy = json!({ "MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 86_400 });
    let more = json!({ "DeadLetterConfig": { "Arn": queue("dlq") }, "RetryPolicy": policy });
    let target = destination(&world, &arn, more).await;
    world.put(json!([entry("s", &json!({ "id": "1" }))])).await;
    world.web.answer(503, &[], "");
    world.web.answer(429, &[("retry-after", "30")], "");
    world.web.fail(OutboundError::TimedOut("x".into()));
    world.web.answer(500, &[], "");
    world.call_out().await;
    assert_eq!(world.web.sent(), 1);
    world.call_out().await;
    assert_eq!(world.web.sent(), 1, "not before its pause is over");
    world.advance(2);
    world.call_out().await;
    assert_eq!(world.web.sent(), 2);
    world.advance(29);
    world.call_out().await;
    assert_eq!(world.web.sent(), 2, "the endpoint asked for more time");
    world.advance(1);
    world.call_out().await;
    assert_eq!(world.web.sent(), 3);
    assert!(world.got(&queue("dlq")).await.is_empty());
    world.advance(10);
    world.call_out().await;
    assert_eq!(world.web.sent(), 4);
    let letters = world.got(&queue("dlq")).await;
    let of = |name: &str| letters[0].attributes[name].as_str();
    assert_eq!((of("ERROR_CODE"), of("RETRY_ATTEMPTS")), ("REMOTE_ERROR", "3"));
    assert_eq!((of("EXHAUSTED_RETRY_CONDITION"), of("TARGET_ARN")), ("MaximumRetryAttempts", target.as_str()));
    let event: Value = serde_json::from_str(&letters[0].body).unwrap();
    assert_eq!(event["detail"]["id"], "1");
    world.advance(1000);
    world.call_out().await;
    assert_eq!(world.web.sent(), 4);
}

#[tokio::test]
async fn an_event_grows_too_old() {
    let world = World::new();
    let arn = connection(&world, "c", "API_KEY", api_key()).await;
    let more =
        json!({ "DeadLetterConfig": { "Arn": queue("dlq") }, "RetryPolicy": { "MaximumEventAgeInSeconds": 60 } });
    destination(&world, &arn, more).await;
    world.put(json!([entry("s", &json!({ "id": "1" }))])).await;
    for _ in 0..20 {
        world.web.answer(500, &[], "");
    }
    for _ in 0..90 {
        world.call_out().await;
        world.advance(1);
    }
    let letters = world.got(&queue("dlq")).await;
    assert_eq!(letters[0].attributes["EXHAUSTED_RETRY_CONDITION"], "MaximumEventAgeInSeconds");
    assert!((4..10).contains(&world.web.sent()), "{}", world.web.sent());
}

#[tokio::test]
async fn what_no_repetition_mends_is_given_up_at_once() {
    let world = World::new();
    let arn = connection(&world, "c", "API_KEY", api_key()).await;
    destination(&world, &arn, json!({ "DeadLetterConfig": { "Arn": queue("dlq") } })).await;
    for status in [400, 404, 301] {
        world.web.answer(status, &[], "");
        world.put(json!([entry("s", &json!({ "id": "1" }))])).await;
        world.call_out().await;
        world.advance(1);
    }
    world.ok("DeleteApiDestination", json!({ "Name": "d" })).await;
    world.put(json!([entry("s", &json!({ "id": "1" }))])).await;
    world.call_out().await;
    let codes: Vec<_> = world.got(&queue("dlq")).await.iter().map(|got| got.attributes["ERROR_CODE"].clone()).collect();
    assert_eq!(codes, ["SDK_CLIENT_ERROR", "SDK_CLIENT_ERROR", "SDK_CLIENT_ERROR", "NO_RESOURCE"]);
    assert_eq!(world.web.sent(), 3);
}

#[tokio::test]
async fn a_connection_gets_its_token_and_uses_it_until_it_expires() {
    let world = World::new();
    let parameters = json!({ "OAuthParameters": {
        "ClientParameters": { "ClientID": "me", "ClientSecret": "s&s" },
        "AuthorizationEndpoint": "https://auth.example.com/token", "HttpMethod": "POST",
        "OAuthHttpParameters": { "BodyParameters": [{ "Key": "scope", "Value": "all", "IsValueSecret": false }] },
    } });
    let arn = connection(&world, "c", "OAUTH_CLIENT_CREDENTIALS", parameters).await;
    let state = async || world.ok("DescribeConnection", json!({ "Name": "c" })).await["ConnectionState"].clone();
    assert_eq!(state().await, "AUTHORIZING");
    world.web.answer(200, &[], "{\"access_token\":\"t1\",\"expires_in\":600}");
    world.call_out().await;
    assert_eq!(state().await, "AUTHORIZED");
    let asked = world.web.last();
    assert_eq!(&asked.body[..], b"scope=all&grant%5Ftype=client%5Fcredentials&client%5Fid=me&client%5Fsecret=s%26s");
    destination(&world, &arn, json!({})).await;
    world.put(json!([entry("s", &json!({ "id": "1" }))])).await;
    world.call_out().await;
    assert_eq!((world.web.sent(), &world.web.last().headers["authorization"]), (2, &"Bearer t1".parse().unwrap()));
    world.advance(700);
    world.web.answer(200, &[], "{\"access_token\":\"t2\"}");
    world.web.answer(401, &[], "");
    world.web.answer(200, &[], "{\"access_token\":\"t3\"}");
    world.put(json!([entry("s", &json!({ "id": "2" }))])).await;
    world.call_out().await;
    world.advance(2);
    world.call_out().await;
    let seen: Vec<_> = (3..6).map(|n| world.web.nth(n).headers.get("authorization").cloned()).collect();
    assert_eq!(seen[0], Some("Bearer t2".parse().unwrap()));
    assert_eq!(seen[2], Some("Bearer t3".parse().unwrap()), "a token that is not accepted is not used again");
    world.web.answer(403, &[], "");
    let change = json!({ "Name": "c", "AuthParameters": { "OAuthParameters": { "ClientParameters": { "ClientSecret": "x" } } } });
    world.ok("UpdateConnection", change).await;
    world.call_out().await;
    assert_eq!(state().await, "DEAUTHORIZED");
}

#[tokio::test]
async fn a_destination_is_not_called_more_often_than_it_allows() {
    let world = World::new();
    let arn = connection(&world, "c", "API_KEY", api_key()).await;
    destination(&world, &arn, json!({})).await;
    world.ok("UpdateApiDestination", json!({ "Name": "d", "InvocationRateLimitPerSecond": 2 })).await;
    let entries: Vec<Value> = (0..10).map(|n| entry("s", &json!({ "id": n.to_string() }))).collect();
    world.put(json!(entries)).await;
    let mut sent = Vec::new();
    for _ in 0..16 {
        world.call_out().await;
        sent.push(world.web.sent());
        world.env.advance(Duration::from_millis(500));
    }
    assert_eq!(sent[0], 1);
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] <= 1), "{sent:?}");
    assert_eq!(world.web.sent(), 10, "{sent:?}");
}

#[tokio::test]
async fn connections_and_destinations_that_are_none_are_refused() {
    let world = World::new();
    let given = json!({ "Name": "c", "AuthorizationType": "BASIC", "AuthParameters": {} });
    let (code, message) = world.call("CreateConnection", given).await.unwrap_err();
    assert_eq!((code.as_str(), message.contains("BasicAuthParameters")), ("ValidationException", true));
    let arn = connection(&world, "c", "API_KEY", api_key()).await;
    let again = json!({ "Name": "c", "AuthorizationType": "API_KEY", "AuthParameters": api_key() });
    let taken = world.call("CreateConnection", again).await;
    assert_eq!(taken, Err(refusal("ResourceAlreadyExistsException", "Connection c already exists.")));
    let ftp = json!({ "Name": "d", "ConnectionArn": arn, "InvocationEndpoint": "ftp://x", "HttpMethod": "POST" });
    assert_eq!(world.call("CreateApiDestination", ftp).await.unwrap_err().0, "ValidationException");
    let other = arn.replace("connection/c/", "connection/none/");
    let missing =
        json!({ "Name": "d", "ConnectionArn": other, "InvocationEndpoint": "https://x", "HttpMethod": "POST" });
    assert_eq!(world.call("CreateApiDestination", missing).await.unwrap_err().0, "ResourceNotFoundException");
    let page = world.ok("ListConnections", json!({ "ConnectionState": "AUTHORIZED" })).await;
    assert_eq!(page["Connections"][0]["Name"], "c");
    assert_eq!(world.ok("DeleteConnection", json!({ "Name": "c" })).await["ConnectionState"], "DELETING");
}
