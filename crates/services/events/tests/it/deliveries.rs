//! From an event to its targets.

use serde_json::{Value, json};

use crate::world::*;

#[tokio::test]
async fn an_event_is_with_its_target_when_it_is_accepted() {
    let world = World::new();
    world.rule("r", json!({ "source": ["s"], "detail": { "n": [{ "numeric": [">", 1] }] } }), &queue("q")).await;
    let entry = json!({
        "Source": "s", "DetailType": "Order placed", "Detail": "{ \"n\" : 2.50, \"a\": [1] }",
        "Resources": ["arn:1"], "Time": 1_000_000_000.9, "TraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793",
    });
    let answer = world.put(json!([entry])).await;
    let id = answer["Entries"][0]["EventId"].as_str().unwrap();
    let got = world.got(&queue("q")).await;
    let expected = format!(
        "{{\"version\":\"0\",\"id\":\"{id}\",\"detail-type\":\"Order placed\",\"source\":\"s\",\
         \"account\":\"000000000000\",\"time\":\"2001-09-09T01:46:40Z\",\"region\":\"us-east-1\",\
         \"resources\":[\"arn:1\"],\"detail\":{{\"n\":2.50,\"a\":[1]}}}}"
    );
    assert_eq!(got[0].body, expected);
    assert_eq!(
        (got[0].by.as_str(), got[0].source.as_str()),
        ("events.amazonaws.com", "arn:aws:events:us-east-1:000000000000:rule/r")
    );
    assert_eq!(got[0].trace.as_deref(), Some("Root=1-5759e988-bd862e3fe1be46a994272793"));
    world.put(json!([super::world::entry("s", &json!({ "n": 1 }))])).await;
    assert_eq!(world.got(&queue("q")).await.len(), 1);
}

#[tokio::test]
async fn entries_that_are_none_fail_alone() {
    let world = World::new();
    world.rule("r", json!({ "source": [{ "prefix": "" }] }), &queue("q")).await;
    let required = |name: &str| format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
    let answer = world
        .put(json!([
            entry("good", &json!({})),
            { "DetailType": "t", "Detail": "{}" },
            { "Source": "s", "Detail": "{}" },
            { "Source": "s", "DetailType": "t" },
            { "Source": "s", "DetailType": "t", "Detail": "[]" },
            { "Source": "aws.ec2", "DetailType": "t", "Detail": "{}" },
            { "Source": "s", "DetailType": "t", "Detail": "{}", "EventBusName": "nowhere" },
        ]))
        .await;
    assert_eq!(answer["FailedEntryCount"], 5);
    let errors: Vec<(&str, &str)> = answer["Entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["ErrorCode"].as_str().unwrap_or("-"), entry["ErrorMessage"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        errors,
        [
            ("-", "-"),
            ("InvalidArgument", required("Source").as_str()),
            ("InvalidArgument", required("DetailType").as_str()),
            ("InvalidArgument", required("Detail").as_str()),
            ("MalformedDetail", "Detail is malformed."),
            ("NotAuthorizedForSourceException", "Not authorized for the source."),
            ("-", "-"),
        ]
    );
    assert_eq!(world.got(&queue("q")).await.len(), 1);
    let eleven: Vec<Value> = (0..11).map(|_| entry("s", &json!({}))).collect();
    let (code, message) = world.call("PutEvents", json!({ "Entries": eleven })).await.unwrap_err();
    assert_eq!(code, "ValidationException");
    assert!(message.contains("Member must have length less than or equal to 10"), "{message}");
}

#[tokio::test]
async fn a_target_gets_what_its_input_says() {
    let world = World::new();
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    let transformer = json!({ "InputPathsMap": { "n": "$.detail.n" }, "InputTemplate": "{\"n\": <n>, \"rule\": \"<aws.events.rule-name>\"}" });
    for (id, more) in [
        ("a", json!({ "Input": "{\"fixed\":1}" })),
        ("b", json!({ "InputPath": "$.detail.n" })),
        ("c", json!({ "InputTransformer": transformer })),
        ("d", json!({ "InputPath": "$.detail.none" })),
    ] {
        let mut target = json!({ "Id": id, "Arn": queue(id) });
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.target("r", target).await;
    }
    world.target("r", json!({ "Id": "f", "Arn": queue("q.fifo"), "SqsParameters": { "MessageGroupId": "g" }, "RoleArn": "arn:aws:iam::000000000000:role/path/sender" })).await;
    world.put(json!([entry("s", &json!({ "n": 7 }))])).await;
    for (id, expected) in [("a", "{\"fixed\":1}"), ("b", "7"), ("c", "{\"n\": 7, \"rule\": \"r\"}"), ("d", "{}")] {
        assert_eq!(world.bodies(&queue(id)).await, [expected], "{id}");
    }
    let got = world.got(&queue("q.fifo")).await;
    assert_eq!(got[0].group.as_deref(), Some("g"));
    assert_eq!(got[0].by, "arn:aws:sts::000000000000:assumed-role/sender/events-rule-session");
}

#[tokio::test]
async fn a_log_group_gets_the_time_and_the_message_that_a_template_makes() {
    let world = World::new();
    let group = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/events/x";
    world.rule("r", json!({ "source": ["s"] }), group).await;
    let template = json!({ "InputPathsMap": { "m": "$.detail.m" }, "InputTemplate": "{\"timestamp\": 5000, \"message\": \"it is <m>\"}" });
    world.target("r", json!({ "Id": "2", "Arn": group, "InputTransformer": template })).await;
    world.put(json!([entry("s", &json!({ "m": "well" }))])).await;
    let got = world.got(group).await;
    assert_eq!(got[0].time, Some(NOW));
    assert_eq!((got[1].body.as_str(), got[1].time), ("it is well", Some(5000)));
}

#[tokio::test]
async fn an_event_that_a_target_does_not_get_is_a_dead_letter() {
    let world = World::new();
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    for id in ["gone", "closed", "full"] {
        world.target("r", json!({ "Id": id, "Arn": queue(id), "DeadLetterConfig": { "Arn": queue("dlq") } })).await;
    }
    let broken = json!({ "InputTemplate": "{\"a\": <aws.events.event.json>" });
    world.target("r", json!({ "Id": "x", "Arn": queue("q"), "InputTransformer": broken, "DeadLetterConfig": { "Arn": queue("dlq") } })).await;
    world.target("r", json!({ "Id": "y", "Arn": queue("q") })).await;
    world.put(json!([entry("s", &json!({ "a": 1 }))])).await;
    let letters = world.got(&queue("dlq")).await;
    let seen: Vec<(&str, &str, &str)> = letters
        .iter()
        .map(|got| {
            let of = |name: &str| got.attributes[name].as_str();
            (of("TARGET_ARN").rsplit(':').next().unwrap(), of("ERROR_CODE"), of("RETRY_ATTEMPTS"))
        })
        .collect();
    let expected = [
        ("closed", "NO_PERMISSIONS", "0"),
        ("full", "SDK_CLIENT_ERROR", "0"),
        ("gone", "NO_RESOURCE", "0"),
        ("q", "INVALID_JSON", "0"),
    ];
    assert_eq!(seen, expected);
    for letter in &letters {
        assert_eq!(letter.attributes["RULE_ARN"], "arn:aws:events:us-east-1:000000000000:rule/r");
        assert!(!letter.attributes.contains_key("EXHAUSTED_RETRY_CONDITION"));
        let event: Value = serde_json::from_str(&letter.body).unwrap();
        assert_eq!(event["detail"]["a"], 1, "the letter is the event as it was");
    }
    assert_eq!(world.got(&queue("q")).await.len(), 1, "one target's failure is none of another's");
}

#[tokio::test]
async fn an_event_goes_to_another_bus_and_no_further() {
    let world = World::new();
    let bus = |name: &str| format!("arn:aws:events:us-east-1:000000000000:event-bus/{name}");
    for name in ["second", "third"] {
        world.ok("CreateEventBus", json!({ "Name": name })).await;
        let pattern = json!({ "source": ["s"] }).to_string();
        world.ok("PutRule", json!({ "Name": "on", "EventBusName": name, "EventPattern": pattern })).await;
        let target = json!([{ "Id": "q", "Arn": queue(name) }]);
        world.ok("PutTargets", json!({ "Rule": "on", "EventBusName": name, "Targets": target })).await;
    }
    let role = "arn:aws:iam::000000000000:role/r";
    let further = json!([{ "Id": "bus", "Arn": bus("third"), "RoleArn": role }]);
    world.ok("PutTargets", json!({ "Rule": "on", "EventBusName": "second", "Targets": further })).await;
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    let dead = json!({ "Arn": queue("dlq") });
    world.target("r", json!({ "Id": "a", "Arn": bus("second"), "RoleArn": role })).await;
    world.target("r", json!({ "Id": "b", "Arn": bus("third"), "DeadLetterConfig": dead })).await;
    let answer = world.put(json!([entry("s", &json!({ "a": 1 }))])).await;
    let got = world.documents(&queue("second")).await;
    assert_eq!((got.len(), &got[0]["id"]), (1, &answer["Entries"][0]["EventId"]), "it stays the same event");
    assert!(world.got(&queue("third")).await.is_empty());
    // Without a role, the bus's policy has to allow EventBridge.
    let letters = world.got(&queue("dlq")).await;
    assert_eq!(letters[0].attributes["ERROR_CODE"], "NO_PERMISSIONS");
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "events:PutEvents",
        "Resource": bus("third"), "Condition": { "ArnEquals": { "aws:SourceArn": "arn:aws:events:us-east-1:000000000000:rule/r" } },
    }] });
    world.ok("PutPermission", json!({ "EventBusName": "third", "Policy": policy.to_string() })).await;
    world.put(json!([entry("s", &json!({ "a": 2 }))])).await;
    assert_eq!(world.got(&queue("third")).await.len(), 1);
}

#[tokio::test]
async fn what_is_beyond_a_transaction_arrives_once_all_the_same() {
    let world = World::new();
    for n in 0..120 {
        let name = format!("r{n:03}");
        world.ok("PutRule", json!({ "Name": name, "EventPattern": "{\"source\":[\"s\"]}" })).await;
        for id in 0..5 {
            world
                .target(&name, json!({ "Id": id.to_string(), "Arn": queue("q"), "Input": format!("\"{n}-{id}\"") }))
                .await;
        }
    }
    world.put(json!([entry("s", &json!({}))])).await;
    let first = world.got(&queue("q")).await.len();
    assert_eq!(first, 256, "so many are in the commit itself");
    world.reconcile().await;
    let mut all = world.bodies(&queue("q")).await;
    assert_eq!(all.len(), 600);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 600);
    world.reconcile().await;
    assert_eq!(world.got(&queue("q")).await.len(), 600);
}

#[tokio::test]
async fn a_large_event_for_many_targets_stays_within_the_bounds() {
    let world = World::new();
    for n in 0..20 {
        let name = format!("r{n:03}");
        world.rule(&name, json!({ "source": ["s"] }), &queue("q")).await;
    }
    let detail = json!({ "x": "y".repeat(1_000_000) });
    world.put(json!([entry("s", &detail)])).await;
    let first = world.got(&queue("q")).await.len();
    assert!((1..20).contains(&first), "{first}");
    world.reconcile().await;
    assert_eq!(world.got(&queue("q")).await.len(), 20);
    let larger = json!({ "x": "y".repeat(1_048_576) });
    let refused = world.call("PutEvents", json!({ "Entries": [entry("s", &larger)] })).await;
    assert_eq!(refused, Err(invalid("Total size of the entries in the request is over the limit.")));
}
