//! Buses, their policies and tags.

use serde_json::json;

use crate::world::*;

#[tokio::test]
async fn a_bus_has_what_it_was_given_until_it_is_deleted() {
    let world = World::new();
    let arn = "arn:aws:events:us-east-1:000000000000:event-bus/orders";
    let given = json!({
        "Name": "orders", "Description": "all orders", "KmsKeyIdentifier": "alias/k",
        "DeadLetterConfig": { "Arn": queue("dlq") }, "LogConfig": { "IncludeDetail": "FULL", "Level": "INFO" },
        "Tags": [{ "Key": "team", "Value": "a" }],
    });
    assert_eq!(world.ok("CreateEventBus", given).await["EventBusArn"], arn);
    for name in ["orders", arn] {
        let bus = world.ok("DescribeEventBus", json!({ "Name": name })).await;
        assert_eq!(
            (&bus["Name"], &bus["Arn"], &bus["Description"]),
            (&"orders".into(), &arn.into(), &"all orders".into())
        );
        assert_eq!(bus["DeadLetterConfig"]["Arn"], queue("dlq"));
        assert_eq!((&bus["KmsKeyIdentifier"], &bus["LogConfig"]["Level"]), (&"alias/k".into(), &"INFO".into()));
    }
    world.ok("UpdateEventBus", json!({ "Name": "orders", "Description": "other" })).await;
    let bus = world.ok("DescribeEventBus", json!({ "Name": "orders" })).await;
    assert_eq!((bus["Description"].as_str(), bus.get("DeadLetterConfig")), (Some("other"), None));
    let tags = world.ok("ListTagsForResource", json!({ "ResourceARN": arn })).await;
    assert_eq!(tags["Tags"], json!([{ "Key": "team", "Value": "a" }]));
    let pattern = json!({ "source": ["s"] }).to_string();
    world.ok("PutRule", json!({ "Name": "r", "EventBusName": "orders", "EventPattern": pattern })).await;
    let refused = world.call("DeleteEventBus", json!({ "Name": "orders" })).await;
    assert_eq!(refused, Err(invalid("Event bus orders can't be deleted since it has rules.")));
    world.ok("DeleteRule", json!({ "Name": "r", "EventBusName": "orders" })).await;
    world.ok("DeleteEventBus", json!({ "Name": "orders" })).await;
    world.ok("DeleteEventBus", json!({ "Name": "orders" })).await;
    let gone = world.call("DescribeEventBus", json!({ "Name": "orders" })).await;
    assert_eq!(gone, Err(refusal("ResourceNotFoundException", "Event bus orders does not exist.")));
}

#[tokio::test]
async fn the_default_bus_is_always_there_and_stays() {
    let world = World::new();
    let bus = world.ok("DescribeEventBus", json!({})).await;
    assert_eq!(bus["Arn"], "arn:aws:events:us-east-1:000000000000:event-bus/default");
    let all = world.ok("ListEventBuses", json!({})).await;
    assert_eq!(all["EventBuses"].as_array().unwrap().len(), 1);
    assert_eq!(world.ok("ListEventBuses", json!({ "NamePrefix": "x" })).await["EventBuses"], json!([]));
    let refused = world.call("DeleteEventBus", json!({ "Name": "default" })).await;
    assert_eq!(refused, Err(invalid("Cannot delete event bus default.")));
    let taken = world.call("CreateEventBus", json!({ "Name": "default" })).await;
    assert_eq!(taken, Err(refusal("ResourceAlreadyExistsException", "Event bus default already exists.")));
    let slash = world.call("CreateEventBus", json!({ "Name": "a/b" })).await;
    assert_eq!(slash, Err(invalid("Event bus name must not contain '/'.")));
}

#[tokio::test]
async fn another_account_may_put_events_only_where_a_policy_lets_it() {
    let world = World::new();
    world.ok("CreateEventBus", json!({ "Name": "shared" })).await;
    let pattern = json!({ "source": ["s"] }).to_string();
    world.ok("PutRule", json!({ "Name": "r", "EventBusName": "shared", "EventPattern": pattern })).await;
    let target = json!([{ "Id": "1", "Arn": queue("q") }]);
    world.ok("PutTargets", json!({ "Rule": "r", "EventBusName": "shared", "Targets": target })).await;
    let arn = "arn:aws:events:us-east-1:000000000000:event-bus/shared";
    let entry = json!([{ "Source": "s", "DetailType": "t", "Detail": "{}", "EventBusName": arn }]);
    let other = world.as_account("111122223333");
    let put = || world.call_as(other.clone(), "PutEvents", json!({ "Entries": entry }));
    let answer = put().await.unwrap();
    assert_eq!(
        (&answer["FailedEntryCount"], &answer["Entries"][0]["ErrorCode"]),
        (&1.into(), &"AccessDeniedException".into())
    );
    let permit = json!({
        "EventBusName": "shared", "Action": "events:PutEvents", "Principal": "111122223333", "StatementId": "them",
    });
    world.ok("PutPermission", permit).await;
    assert_eq!(put().await.unwrap()["FailedEntryCount"], 0);
    let got = world.documents(&queue("q")).await;
    assert_eq!((got.len(), &got[0]["account"]), (1, &"111122223333".into()), "it stays the sender's event");
    world.ok("RemovePermission", json!({ "EventBusName": "shared", "StatementId": "them" })).await;
    assert_eq!(put().await.unwrap()["FailedEntryCount"], 1);
    assert_eq!(world.ok("DescribeEventBus", json!({ "Name": "shared" })).await.get("Policy"), None);
}

#[tokio::test]
async fn a_policy_is_given_whole_or_statement_by_statement() {
    let world = World::new();
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "events:PutEvents",
        "Resource": "arn:aws:events:us-east-1:000000000000:event-bus/default",
    }] });
    world.ok("PutPermission", json!({ "Policy": policy.to_string() })).await;
    let condition = json!({ "Type": "StringEquals", "Key": "aws:PrincipalOrgID", "Value": "o-1" });
    let more = json!({ "Action": "events:PutEvents", "Principal": "*", "StatementId": "b", "Condition": condition });
    world.ok("PutPermission", more).await;
    let text = world.ok("DescribeEventBus", json!({})).await["Policy"].as_str().unwrap().to_owned();
    let policy: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sids: Vec<_> = policy["Statement"].as_array().unwrap().iter().map(|it| it["Sid"].clone()).collect();
    assert_eq!(sids, ["a", "b"]);
    assert_eq!(policy["Statement"][1]["Condition"], json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } }));
    for (given, expected) in [
        (json!({ "Policy": "{" }), "Parameter Policy is not valid."),
        (json!({ "Policy": "{}", "Action": "events:PutEvents" }), "Policy can't be combined"),
        (json!({ "Action": "events:PutEvents", "StatementId": "c" }), "Parameter Principal is not valid."),
        (json!({ "Action": "events:PutRule", "Principal": "*", "StatementId": "c" }), "Parameter Action is not valid."),
    ] {
        let (code, message) = world.call("PutPermission", given).await.unwrap_err();
        assert_eq!(code, "ValidationException");
        assert!(message.starts_with(expected), "{message}");
    }
    let long =
        json!({ "Policy": json!({ "Version": "2012-10-17", "Id": "x".repeat(11_000), "Statement": [] }).to_string() });
    assert_eq!(world.call("PutPermission", long).await.unwrap_err().0, "PolicyLengthExceededException");
    world.ok("RemovePermission", json!({ "RemoveAllPermissions": true })).await;
    assert_eq!(world.ok("DescribeEventBus", json!({})).await.get("Policy"), None);
}

#[tokio::test]
async fn what_pileus_does_not_have_is_refused_by_name() {
    let world = World::new();
    for (operation, input) in [
        ("PutPartnerEvents", json!({ "Entries": [] })),
        ("CreateEndpoint", json!({ "Name": "e" })),
        ("ListEventSources", json!({})),
        ("CreateEventBus", json!({ "Name": "aws.partner", "EventSourceName": "aws.partner/a/b" })),
        ("PutEvents", json!({ "Entries": [entry("s", &json!({}))], "EndpointId": "abc.def" })),
    ] {
        let (code, message) = world.call(operation, input).await.unwrap_err();
        assert_eq!(code, "NotImplementedException", "{operation}: {message}");
    }
}
