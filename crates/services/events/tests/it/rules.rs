//! Rules and targets.

use serde_json::json;

use crate::world::*;

#[tokio::test]
async fn a_rule_that_is_not_one_is_refused() {
    let world = World::new();
    let pattern = json!({ "source": ["s"] }).to_string();
    for (given, expected) in [
        (json!({ "Name": "r" }), invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")),
        (
            json!({ "Name": "r", "ScheduleExpression": "rate(1 minutes)" }),
            invalid("Parameter ScheduleExpression is not valid."),
        ),
        (
            json!({ "Name": "r", "ScheduleExpression": "rate(0 minutes)" }),
            invalid("Parameter ScheduleExpression is not valid."),
        ),
        (
            json!({ "Name": "r", "ScheduleExpression": "cron(0 12 * * * *)" }),
            invalid("Parameter ScheduleExpression is not valid."),
        ),
        (
            json!({ "Name": "r", "ScheduleExpression": "at(2030-01-01T00:00:00)" }),
            invalid("Parameter ScheduleExpression is not valid."),
        ),
        (
            json!({ "Name": "r", "EventPattern": pattern, "EventBusName": "none" }),
            refusal("ResourceNotFoundException", "Event bus none does not exist."),
        ),
    ] {
        assert_eq!(world.call("PutRule", given.clone()).await, Err(expected), "{given}");
    }
    world.ok("CreateEventBus", json!({ "Name": "b" })).await;
    let elsewhere = json!({ "Name": "r", "ScheduleExpression": "rate(1 minute)", "EventBusName": "b" });
    let expected = invalid("ScheduleExpression is supported only on the default event bus.");
    assert_eq!(world.call("PutRule", elsewhere).await, Err(expected));
    let (code, message) =
        world.call("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":\"s\"}" })).await.unwrap_err();
    assert_eq!(code, "InvalidEventPatternException");
    assert!(
        message.starts_with("Event pattern is not valid. Reason: \"source\" must be an object or an array"),
        "{message}"
    );
}

#[tokio::test]
async fn a_rule_with_targets_is_not_deleted() {
    let world = World::new();
    world.rule("r", json!({ "source": ["s"] }), &queue("q")).await;
    let refused = world.call("DeleteRule", json!({ "Name": "r" })).await;
    assert_eq!(refused, Err(invalid("Rule can't be deleted since it has targets.")));
    world.ok("RemoveTargets", json!({ "Rule": "r", "Ids": ["1"] })).await;
    world.ok("DeleteRule", json!({ "Name": "r" })).await;
    world.ok("DeleteRule", json!({ "Name": "r" })).await;
    let missing = world.call("DescribeRule", json!({ "Name": "r" })).await;
    assert_eq!(missing, Err(refusal("ResourceNotFoundException", "Rule r does not exist on EventBus default.")));
}

#[tokio::test]
async fn targets_are_shown_as_they_were_given() {
    let world = World::new();
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    let targets = [
        json!({
            "Id": "a", "Arn": queue("q.fifo"), "SqsParameters": { "MessageGroupId": "g" },
            "RetryPolicy": { "MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 60 },
            "DeadLetterConfig": { "Arn": queue("dlq") }, "InputPath": "$.detail",
        }),
        json!({
            "Id": "b", "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/d/u",
            "RoleArn": "arn:aws:iam::000000000000:role/r",
            "HttpParameters": {
                "PathParameterValues": ["x"], "HeaderParameters": { "H": "1" }, "QueryStringParameters": { "q": "$.detail.a" },
            },
            "InputTransformer": { "InputPathsMap": { "a": "$.detail.a" }, "InputTemplate": "{\"a\": <a>}" },
        }),
        json!({ "Id": "c", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:f", "Input": "{\"x\": 1}" }),
    ];
    world.ok("PutTargets", json!({ "Rule": "r", "Targets": targets })).await;
    let shown = world.ok("ListTargetsByRule", json!({ "Rule": "r" })).await;
    assert_eq!(shown["Targets"], json!(targets));
    let page = world.ok("ListTargetsByRule", json!({ "Rule": "r", "Limit": 2 })).await;
    assert_eq!(page["Targets"].as_array().unwrap().len(), 2);
    let rest = world.ok("ListTargetsByRule", json!({ "Rule": "r", "Limit": 2, "NextToken": page["NextToken"] })).await;
    assert_eq!((&rest["Targets"], rest.get("NextToken")), (&json!([targets[2]]), None));
    let removed = world.ok("RemoveTargets", json!({ "Rule": "r", "Ids": ["a", "none"] })).await;
    assert_eq!((&removed["FailedEntryCount"], &removed["FailedEntries"][0]["TargetId"]), (&1.into(), &"none".into()));
}

#[tokio::test]
async fn a_target_that_could_never_be_handed_an_event_is_refused() {
    let world = World::new();
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    let with = |more: serde_json::Value| {
        let mut target = json!({ "Id": "t", "Arn": queue("q") });
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        target
    };
    for (target, expected) in [
        (
            with(json!({ "Arn": "queue" })),
            "Parameter queue is not valid. Reason: Provided Arn is not in correct format.",
        ),
        (
            with(json!({ "Arn": "arn:aws:nothing:::x" })),
            "Parameter arn:aws:nothing:::x is not valid. Reason: Provided Arn is not in correct format.",
        ),
        (with(json!({ "Arn": queue("q.fifo") })), "Parameter(s) SqsParameters must be specified for target: t."),
        (
            with(json!({ "Input": "{}", "InputPath": "$" })),
            "Only one of Input, InputPath, or InputTransformer must be provided for target t.",
        ),
        (with(json!({ "InputPath": "detail" })), "Invalid InputPath for target t : detail is not a JSON path."),
        (
            with(json!({ "InputTransformer": { "InputTemplate": "{\"a\": <b>}" } })),
            "InputTemplate for target t contains invalid placeholder b.",
        ),
        (
            with(json!({ "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/d/u" })),
            "RoleArn is required for target arn:aws:events:us-east-1:000000000000:api-destination/d/u.",
        ),
    ] {
        let refused = world.call("PutTargets", json!({ "Rule": "r", "Targets": [target] })).await;
        assert_eq!(refused, Err(invalid(expected)));
    }
    for target in [
        with(json!({ "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:m" })),
        with(json!({ "Arn": "arn:aws:kinesis:us-east-1:000000000000:stream/s" })),
        with(json!({ "KinesisParameters": { "PartitionKeyPath": "$.id" } })),
        with(json!({ "AppSyncParameters": { "GraphQLOperation": "q" } })),
    ] {
        let (code, message) = world.call("PutTargets", json!({ "Rule": "r", "Targets": [target] })).await.unwrap_err();
        assert_eq!(code, "NotImplementedException");
        assert!(
            ["states", "kinesis", "KinesisParameters", "AppSyncParameters"].iter().any(|it| message.contains(it)),
            "{message}"
        );
    }
    let many: Vec<_> = (0..6).map(|n| json!({ "Id": n.to_string(), "Arn": queue("q") })).collect();
    assert_eq!(
        world.call("PutTargets", json!({ "Rule": "r", "Targets": many })).await.unwrap_err().0,
        "LimitExceededException"
    );
    let unknown = world.call("PutTargets", json!({ "Rule": "x", "Targets": [with(json!({}))] })).await;
    assert_eq!(unknown, Err(refusal("ResourceNotFoundException", "Rule x does not exist on EventBus default.")));
}

#[tokio::test]
async fn the_rules_of_a_target_are_found_by_its_arn() {
    let world = World::new();
    for n in 0..5 {
        world.rule(&format!("rule-{n}"), json!({ "source": ["s"] }), &queue("q")).await;
    }
    world.target("rule-0", json!({ "Id": "2", "Arn": queue("q") })).await;
    world.ok("RemoveTargets", json!({ "Rule": "rule-0", "Ids": ["1"] })).await;
    world.ok("RemoveTargets", json!({ "Rule": "rule-1", "Ids": ["1"] })).await;
    world.target("rule-2", json!({ "Id": "1", "Arn": queue("other") })).await;
    let found = world.ok("ListRuleNamesByTarget", json!({ "TargetArn": queue("q") })).await;
    assert_eq!(found["RuleNames"], json!(["rule-0", "rule-3", "rule-4"]));
}

#[tokio::test]
async fn a_change_of_a_rule_holds_for_the_very_next_event() {
    let world = World::new();
    let send = || world.put(json!([entry("s", &json!({ "a": 1 }))]));
    let count = async || world.got(&queue("q")).await.len();
    world.rule("r", json!({ "source": ["s"] }), &queue("q")).await;
    send().await;
    assert_eq!(count().await, 1);
    world.ok("DisableRule", json!({ "Name": "r" })).await;
    send().await;
    assert_eq!(count().await, 1);
    world.ok("EnableRule", json!({ "Name": "r" })).await;
    send().await;
    assert_eq!(count().await, 2);
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"source\":[\"other\"]}" })).await;
    send().await;
    assert_eq!(count().await, 2);
    world.ok("PutRule", json!({ "Name": "r", "EventPattern": "{\"detail\":{\"a\":[{\"numeric\":[\">\",0]}]}}" })).await;
    send().await;
    assert_eq!(count().await, 3);
    world.ok("RemoveTargets", json!({ "Rule": "r", "Ids": ["1"] })).await;
    world.ok("DeleteRule", json!({ "Name": "r" })).await;
    send().await;
    assert_eq!(count().await, 3);
}

#[tokio::test]
async fn many_rules_are_listed_page_by_page_and_each_finds_its_event() {
    let world = World::new();
    for n in 0..1200 {
        let pattern = json!({ "detail": { "n": [n] } }).to_string();
        world.ok("PutRule", json!({ "Name": format!("r{n:05}"), "EventPattern": pattern })).await;
    }
    let (mut names, mut token) = (Vec::new(), serde_json::Value::Null);
    loop {
        let mut asked = json!({ "NamePrefix": "r0" });
        if !token.is_null() {
            asked["NextToken"] = token.clone();
        }
        let page = world.ok("ListRules", asked).await;
        names.extend(page["Rules"].as_array().unwrap().iter().map(|rule| rule["Name"].as_str().unwrap().to_owned()));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(names.len(), 1200);
    assert!(names.is_sorted());
    world.target("r00777", json!({ "Id": "1", "Arn": queue("q") })).await;
    world.put(json!([entry("s", &json!({ "n": 777 })), entry("s", &json!({ "n": 778 }))])).await;
    assert_eq!(world.got(&queue("q")).await.len(), 1);
    let bad = world.call("ListRules", json!({ "NextToken": "foo" })).await;
    assert_eq!(bad, Err(invalid("Parameter NextToken is not valid.")));
}
