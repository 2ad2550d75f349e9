//! AWS's recorded answers: the codes, messages and fields that the operations here have.
//!
//! What was recorded of patterns is in the tests of `lang-eventpattern`; here is what the service makes of it.

use serde_json::{Value, json};

use crate::world::*;

const DEFAULT: &str = "arn:aws:events:us-east-1:000000000000:event-bus/default";

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn missing(message: &str) -> Refusal {
    refusal("ResourceNotFoundException", message)
}

#[tokio::test]
async fn refusals_have_the_codes_and_messages_that_aws_gave() {
    let world = World::new();
    world.ok("CreateEventBus", json!({ "Name": "bus" })).await;
    world.ok("CreateEventBus", json!({ "Name": "other" })).await;
    world.ok("PutRule", json!({ "Name": "rule", "EventPattern": "{\"source\":[\"s\"]}" })).await;
    world.ok("CreateArchive", json!({ "ArchiveName": "archive", "EventSourceArn": DEFAULT })).await;
    let nowhere = "arn:aws:events:us-east-1:000000000000:event-bus/nowhere";
    let archive = "arn:aws:events:us-east-1:000000000000:archive/archive";
    let replay = |name: &str, bus: &str, from: u64, until: u64| {
        json!({
            "ReplayName": name, "EventSourceArn": archive, "EventStartTime": from, "EventEndTime": until,
            "Destination": { "Arn": bus },
        })
    };
    world.ok("StartReplay", replay("replay", DEFAULT, 1, 2)).await;
    let no_statement = missing("Statement with the provided id does not exist.");
    let too_long = "Value 'This should fail with two errors 123467890123412341234123412341234' at 'name' failed to satisfy constraint";
    let enumeration = "at 'authorizationType' failed to satisfy constraint: Member must satisfy enum value set: \
                       [BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY]";
    let id = |text: &str| json!({ "Rule": "rule", "Targets": [{ "Id": text, "Arn": queue("q") }] });
    let basic = json!({ "BasicAuthParameters": { "Username": "u", "Password": "p" } });
    let key = |kind: &str, name: &str| json!({ "Name": name, "AuthorizationType": kind, "AuthParameters": basic });
    let long_id = "x".repeat(65);
    for (name, operation, input, expected) in [
        (
            "test_create_archive_error_duplicate",
            "CreateArchive",
            json!({ "ArchiveName": "archive", "EventSourceArn": DEFAULT }),
            refusal("ResourceAlreadyExistsException", "Archive archive already exists."),
        ),
        (
            "test_create_archive_error_unknown_event_bus",
            "CreateArchive",
            json!({ "ArchiveName": "a", "EventSourceArn": nowhere }),
            missing("Event bus nowhere does not exist."),
        ),
        (
            "test_list_archive_error_unknown_source_arn",
            "ListArchives",
            json!({ "EventSourceArn": nowhere }),
            missing("Event bus nowhere does not exist."),
        ),
        (
            "test_update_archive_error_unknown_archive",
            "UpdateArchive",
            json!({ "ArchiveName": "none" }),
            invalid("At least one of EventPattern, RetentionDays or Description must be provided."),
        ),
        (
            "test_create_connection_invalid_parameters",
            "CreateConnection",
            key("INVALID_AUTH_TYPE", "c"),
            invalid(&format!("1 validation error detected: Value 'INVALID_AUTH_TYPE' {enumeration}")),
        ),
        (
            "test_create_connection_validations",
            "CreateConnection",
            key("INVALID", "This should fail with two errors 123467890123412341234123412341234"),
            invalid(&format!(
                "3 validation errors detected: {too_long}: Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+; \
                 {too_long}: Member must have length less than or equal to 64; Value 'INVALID' {enumeration}"
            )),
        ),
        (
            "test_delete_connection",
            "DescribeConnection",
            json!({ "Name": "gone" }),
            missing("Failed to describe the connection(s). Connection 'gone' does not exist."),
        ),
        (
            "test_create_multiple_event_buses_same_name",
            "CreateEventBus",
            json!({ "Name": "bus" }),
            refusal("ResourceAlreadyExistsException", "Event bus bus already exists."),
        ),
        (
            "test_put_events_nonexistent_event_bus",
            "DescribeEventBus",
            json!({ "Name": "nowhere" }),
            missing("Event bus nowhere does not exist."),
        ),
        (
            "test_remove_permission_non_existing_sid[False-custom]",
            "RemovePermission",
            json!({ "EventBusName": "bus", "StatementId": "none" }),
            no_statement.clone(),
        ),
        (
            "test_remove_permission_non_existing_sid[False-default]",
            "RemovePermission",
            json!({ "StatementId": "none" }),
            no_statement.clone(),
        ),
        (
            "test_list_tags_for_deleted_event_bus",
            "ListTagsForResource",
            json!({ "ResourceARN": nowhere }),
            missing("Event bus nowhere does not exist."),
        ),
        (
            "test_list_tags_for_deleted_rule",
            "ListTagsForResource",
            json!({ "ResourceARN": "arn:aws:events:us-east-1:000000000000:rule/bus/none" }),
            missing("Rule none does not exist on EventBus bus."),
        ),
        (
            "test_invalid_event_payload",
            "TestEventPattern",
            json!({ "EventPattern": "{\"source\":[\"s\"]}", "Event": "{\"a\":" }),
            invalid("Parameter Event is not valid."),
        ),
        (
            "test_plain_string_payload",
            "TestEventPattern",
            json!({ "EventPattern": "{\"source\":[\"s\"]}", "Event": "plain string" }),
            invalid("Parameter Event is not valid."),
        ),
        (
            "test_put_target_id_validation: pattern",
            "PutTargets",
            id("!@#$@!#$"),
            invalid(
                "1 validation error detected: Value '!@#$@!#$' at 'targets.1.member.id' failed to satisfy constraint: \
                     Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+",
            ),
        ),
        (
            "test_put_target_id_validation: length",
            "PutTargets",
            id(&long_id),
            invalid(&format!(
                "1 validation error detected: Value '{long_id}' at 'targets.1.member.id' failed to satisfy \
                              constraint: Member must have length less than or equal to 64"
            )),
        ),
        (
            "test_start_replay_error_duplicate_name_same_archive",
            "StartReplay",
            replay("replay", DEFAULT, 1, 2),
            refusal("ResourceAlreadyExistsException", "Replay replay already exists."),
        ),
        (
            "test_start_replay_error_invalid_end_time[0]",
            "StartReplay",
            replay("r", DEFAULT, 2, 2),
            invalid("Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime."),
        ),
        (
            "test_start_replay_error_invalid_end_time[10]",
            "StartReplay",
            replay("r", DEFAULT, 12, 2),
            invalid("Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime."),
        ),
        (
            "test_start_replay_error_unknown_event_bus",
            "StartReplay",
            replay("r", nowhere, 1, 2),
            missing("Event bus nowhere does not exist."),
        ),
        (
            "test_start_replay_error_unknown_event_bus: wrong",
            "StartReplay",
            replay("r", "arn:aws:events:us-east-1:000000000000:event-bus/other", 1, 2),
            invalid("Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted."),
        ),
    ] {
        assert_eq!(world.call(operation, input).await, Err(expected), "{name}");
    }
    world.ok("PutPermission", json!({ "Action": "events:PutEvents", "Principal": "*", "StatementId": "a" })).await;
    let other = world.call("RemovePermission", json!({ "StatementId": "none" })).await;
    assert_eq!(other, Err(no_statement), "test_remove_permission_non_existing_sid[True-default]");
    for n in 1..10 {
        world.ok("StartReplay", replay(&format!("r{n}"), DEFAULT, 1, 2)).await;
    }
    let eleventh = world.call("StartReplay", replay("r10", DEFAULT, 1, 2)).await;
    let expected = refusal("LimitExceededException", "The requested resource exceeds the maximum number allowed.");
    assert_eq!(eleventh, Err(expected), "tests_concurrency_error_too_many_active_replays");
}

#[tokio::test]
async fn answers_have_the_fields_that_awss_have() {
    let world = World::new();
    for n in 0..6 {
        world.ok("CreateEventBus", json!({ "Name": format!("bus-{n}") })).await;
    }
    // test_list_event_buses_with_limit, test_list_event_buses_with_prefix
    let first = world.ok("ListEventBuses", json!({ "NamePrefix": "bus-", "Limit": 3 })).await;
    let of = |page: &Value| -> Vec<String> {
        page["EventBuses"].as_array().unwrap().iter().map(|bus| bus["Name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&first), ["bus-0", "bus-1", "bus-2"]);
    assert_eq!(names(&first["EventBuses"][0]), ["Arn", "CreationTime", "LastModifiedTime", "Name"]);
    let more = json!({ "NamePrefix": "bus-", "Limit": 3, "NextToken": first["NextToken"] });
    let second = world.ok("ListEventBuses", more).await;
    assert_eq!((of(&second), second.get("NextToken")), (vec!["bus-3".into(), "bus-4".into(), "bus-5".into()], None));
    // test_remove_permission
    for statement in ["one", "two"] {
        let permit = json!({
            "EventBusName": "bus-0", "Action": "events:PutEvents", "Principal": "111122223333", "StatementId": statement,
        });
        world.ok("PutPermission", permit).await;
    }
    world.ok("RemovePermission", json!({ "EventBusName": "bus-0", "StatementId": "one" })).await;
    let bus = world.ok("DescribeEventBus", json!({ "Name": "bus-0" })).await;
    assert_eq!(names(&bus), ["Arn", "CreationTime", "LastModifiedTime", "Name", "Policy"]);
    let policy: Value = serde_json::from_str(bus["Policy"].as_str().unwrap()).unwrap();
    let arn = "arn:aws:events:us-east-1:000000000000:event-bus/bus-0";
    assert_eq!(
        policy,
        json!({ "Version": "2012-10-17", "Statement": [{
            "Sid": "two", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:root" },
            "Action": "events:PutEvents", "Resource": arn,
        }] })
    );
    // test_put_list_with_prefix_describe_delete_rule, test_disable_re_enable_rule
    let pattern = json!({ "source": ["core"], "detail-type": ["core"] }).to_string();
    let made = world.ok("PutRule", json!({ "Name": "rule", "EventBusName": "bus-0", "EventPattern": pattern })).await;
    assert_eq!(made["RuleArn"], "arn:aws:events:us-east-1:000000000000:rule/bus-0/rule");
    let shown = world.ok("DescribeRule", json!({ "Name": "rule", "EventBusName": "bus-0" })).await;
    assert_eq!(names(&shown), ["Arn", "CreatedBy", "EventBusName", "EventPattern", "Name", "State"]);
    assert_eq!((&shown["CreatedBy"], &shown["State"]), (&"000000000000".into(), &"ENABLED".into()));
    world.ok("DisableRule", json!({ "Name": "rule", "EventBusName": "bus-0" })).await;
    assert_eq!(world.ok("DescribeRule", json!({ "Name": "rule", "EventBusName": "bus-0" })).await["State"], "DISABLED");
    world.ok("EnableRule", json!({ "Name": "rule", "EventBusName": "bus-0" })).await;
    let listed = world.ok("ListRules", json!({ "EventBusName": "bus-0", "NamePrefix": "ru" })).await;
    assert_eq!(names(&listed["Rules"][0]), ["Arn", "EventBusName", "EventPattern", "Name", "State"]);
    // test_put_rule_with_schedule_rate
    world.ok("PutRule", json!({ "Name": "rate", "ScheduleExpression": "rate(1 minute)" })).await;
    let listed = world.ok("ListRules", json!({ "NamePrefix": "rate" })).await;
    assert_eq!(
        listed["Rules"],
        json!([{
            "Arn": "arn:aws:events:us-east-1:000000000000:rule/rate", "EventBusName": "default", "Name": "rate",
            "ScheduleExpression": "rate(1 minute)", "State": "ENABLED",
        }])
    );
    // test_put_list_remove_target, test_update_rule_with_targets
    let targets = json!([{ "Id": "t", "Arn": queue("q") }]);
    let put = world.ok("PutTargets", json!({ "Rule": "rate", "Targets": targets })).await;
    assert_eq!(put, json!({ "FailedEntries": [], "FailedEntryCount": 0 }));
    world.ok("PutRule", json!({ "Name": "rate", "ScheduleExpression": "rate(2 minutes)" })).await;
    assert_eq!(world.ok("ListTargetsByRule", json!({ "Rule": "rate" })).await, json!({ "Targets": targets }));
    let removed = world.ok("RemoveTargets", json!({ "Rule": "rate", "Ids": ["t"] })).await;
    assert_eq!(removed, json!({ "FailedEntries": [], "FailedEntryCount": 0 }));
    assert_eq!(world.ok("ListTargetsByRule", json!({ "Rule": "rate" })).await, json!({ "Targets": [] }));
    // test_list_archive_state_enabled, test_list_archive_with_name_prefix
    world.ok("CreateArchive", json!({ "ArchiveName": "archive", "EventSourceArn": DEFAULT, "RetentionDays": 1 })).await;
    let listed = world.ok("ListArchives", json!({ "State": "ENABLED" })).await;
    assert_eq!(
        names(&listed["Archives"][0]),
        ["ArchiveName", "CreationTime", "EventCount", "EventSourceArn", "RetentionDays", "SizeBytes", "State"]
    );
    assert_eq!(world.ok("ListArchives", json!({ "NamePrefix": "no" })).await, json!({ "Archives": [] }));
}

#[tokio::test]
async fn connections_answer_as_awss_do() {
    let world = World::new();
    let oauth = json!({ "OAuthParameters": {
        "AuthorizationEndpoint": "https://example.com/oauth",
        "ClientParameters": { "ClientID": "client_id", "ClientSecret": "client_secret" }, "HttpMethod": "POST",
    } });
    let shown_oauth = json!({ "OAuthParameters": {
        "AuthorizationEndpoint": "https://example.com/oauth", "ClientParameters": { "ClientID": "client_id" }, "HttpMethod": "POST",
    } });
    // test_connection_secrets
    for (kind, given, shown, state) in [
        (
            "API_KEY",
            json!({ "ApiKeyAuthParameters": { "ApiKeyName": "ApiKey", "ApiKeyValue": "secret" } }),
            json!({ "ApiKeyAuthParameters": { "ApiKeyName": "ApiKey" } }),
            "AUTHORIZED",
        ),
        (
            "BASIC",
            json!({ "BasicAuthParameters": { "Username": "user", "Password": "pass" } }),
            json!({ "BasicAuthParameters": { "Username": "user" } }),
            "AUTHORIZED",
        ),
        ("OAUTH_CLIENT_CREDENTIALS", oauth, shown_oauth, "AUTHORIZING"),
    ] {
        let made = world
            .ok("CreateConnection", json!({ "Name": kind, "AuthorizationType": kind, "AuthParameters": given }))
            .await;
        assert_eq!(names(&made), ["ConnectionArn", "ConnectionState", "CreationTime", "LastModifiedTime"]);
        assert_eq!(made["ConnectionState"], state);
        let found = world.ok("DescribeConnection", json!({ "Name": kind })).await;
        let expected = [
            "AuthParameters",
            "AuthorizationType",
            "ConnectionArn",
            "ConnectionState",
            "CreationTime",
            "LastAuthorizedTime",
            "LastModifiedTime",
            "Name",
            "SecretArn",
        ];
        assert_eq!(names(&found), expected);
        assert_eq!((&found["AuthParameters"], &found["ConnectionState"]), (&shown, &state.into()));
        let secret = format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:events!connection/{kind}/");
        assert!(found["SecretArn"].as_str().unwrap().starts_with(&secret));
    }
    // test_delete_connection
    let deleted = world.ok("DeleteConnection", json!({ "Name": "BASIC" })).await;
    let expected = ["ConnectionArn", "ConnectionState", "CreationTime", "LastAuthorizedTime", "LastModifiedTime"];
    assert_eq!(names(&deleted), expected);
    assert_eq!(deleted["ConnectionState"], "DELETING");
}

#[tokio::test]
async fn tags_are_added_and_taken_away() {
    let world = World::new();
    world.ok("CreateEventBus", json!({ "Name": "bus" })).await;
    for bus in ["default", "bus"] {
        world
            .ok("PutRule", json!({ "Name": "rule", "EventBusName": bus, "EventPattern": "{\"source\":[\"s\"]}" }))
            .await;
    }
    // tests_tag_untag_resource
    for arn in ["event-bus/default", "event-bus/bus", "rule/rule", "rule/bus/rule"] {
        let arn = format!("arn:aws:events:us-east-1:000000000000:{arn}");
        let tags = json!([{ "Key": "tag1", "Value": "value1" }, { "Key": "tag2", "Value": "value2" }]);
        world.ok("TagResource", json!({ "ResourceARN": arn, "Tags": tags })).await;
        assert_eq!(world.ok("ListTagsForResource", json!({ "ResourceARN": arn })).await, json!({ "Tags": tags }));
        world.ok("UntagResource", json!({ "ResourceARN": arn, "TagKeys": ["tag2"] })).await;
        world.ok("UntagResource", json!({ "ResourceARN": arn, "TagKeys": ["tag3"] })).await;
        let left = world.ok("ListTagsForResource", json!({ "ResourceARN": arn })).await;
        assert_eq!(left["Tags"], json!([{ "Key": "tag1", "Value": "value1" }]));
    }
    // test_put_rule_with_tags
    let tags = json!([{ "Key": "a", "Value": "b" }]);
    world.ok("PutRule", json!({ "Name": "tagged", "EventPattern": "{\"source\":[\"s\"]}", "Tags": tags })).await;
    let arn = "arn:aws:events:us-east-1:000000000000:rule/tagged";
    assert_eq!(world.ok("ListTagsForResource", json!({ "ResourceARN": arn })).await["Tags"], tags);
}

#[tokio::test]
async fn patterns_are_tried_and_refused_as_aws_does() {
    let world = World::new();
    let event = json!({ "source": "order", "detail": { "n": 3 } }).to_string();
    for (pattern, expected) in [(json!({ "source": ["order"] }), true), (json!({ "source": ["shipment"] }), false)] {
        let answer = world.ok("TestEventPattern", json!({ "EventPattern": pattern.to_string(), "Event": event })).await;
        assert_eq!(answer, json!({ "Result": expected }), "test_event_pattern_source");
    }
    for (name, pattern, reason) in [
        ("string_nolist_EXC", r#"{"string": "test"}"#, "\"string\" must be an object or an array"),
        ("int_nolist_EXC", r#"{"int": 42}"#, "\"int\" must be an object or an array"),
        ("arrays_empty_EXC", r#"{"a": []}"#, "Empty arrays are not allowed"),
        ("operator_case_sensitive_EXC", r#"{"a": [{"EXISTS": true}]}"#, "Unrecognized match type EXISTS"),
        ("content_numeric_operatorcasing_EXC", r#"{"a": [{"NUMERIC": ["=", 1]}]}"#, "Unrecognized match type NUMERIC"),
        ("content_prefix_int_EXC", r#"{"a": [{"prefix": 1}]}"#, "prefix match pattern must be a string"),
        (
            "content_wildcard_repeating_star_EXC",
            r#"{"a": [{"wildcard": "a**b"}]}"#,
            "Consecutive wildcard characters at pos",
        ),
    ] {
        let (code, message) =
            world.call("TestEventPattern", json!({ "EventPattern": pattern, "Event": event })).await.unwrap_err();
        assert_eq!(code, "InvalidEventPatternException", "{name}");
        assert!(message.starts_with(&format!("Event pattern is not valid. Reason: {reason}")), "{name}: {message}");
    }
}

#[tokio::test]
async fn targets_get_what_awss_targets_got() {
    let world = World::new();
    world.ok("CreateEventBus", json!({ "Name": "bus" })).await;
    let detail = json!({ "command": "update-account", "payload": { "acc_id": "0a787ecb-4015", "sf_id": "baz" } });
    let pattern = json!({ "source": ["core"], "detail-type": ["core"], "detail": { "command": ["update-account"] } });
    world.ok("PutRule", json!({ "Name": "rule", "EventBusName": "bus", "EventPattern": pattern.to_string() })).await;
    // test_input_transformer_predefined_variables
    let text = "\"Message containing all pre defined variables <aws.events.rule-arn> <aws.events.rule-name> \
                <aws.events.event.ingestion-time>\"";
    let whole = "{\"originalEvent\": <aws.events.event>, \"originalEventJson\": <aws.events.event.json>}";
    let targets = json!([
        { "Id": "1", "Arn": queue("plain") },
        { "Id": "2", "Arn": queue("text"), "InputTransformer": { "InputTemplate": text } },
        { "Id": "3", "Arn": queue("json"), "InputTransformer": { "InputTemplate": whole } },
        { "Id": "4", "Arn": queue("part"), "InputPath": "$.detail" },
    ]);
    world.ok("PutTargets", json!({ "Rule": "rule", "EventBusName": "bus", "Targets": targets })).await;
    let entry = json!({ "Source": "core", "DetailType": "core", "Detail": detail.to_string(), "EventBusName": "bus" });
    let answer = world.put(json!([entry])).await;
    assert_eq!(names(&answer), ["Entries", "FailedEntryCount"]);
    // test_put_events_with_target_sqs, …_lambda, …_cloudwatch_logs: the same event everywhere.
    let plain = &world.documents(&queue("plain")).await[0];
    let fields = ["account", "detail", "detail-type", "id", "region", "resources", "source", "time", "version"];
    assert_eq!(names(plain), fields);
    assert_eq!((&plain["detail"], &plain["version"], &plain["resources"]), (&detail, &"0".into(), &json!([])));
    assert_eq!(
        world.bodies(&queue("text")).await,
        ["\"Message containing all pre defined variables arn:aws:events:us-east-1:000000000000:rule/bus/rule rule \
          2026-11-23T12:00:00Z\""]
    );
    let json = &world.documents(&queue("json")).await[0];
    let fields = ["account", "detailType", "id", "region", "resources", "source", "time", "version"];
    assert_eq!((names(&json["originalEvent"]), &json["originalEventJson"]), (fields.to_vec(), plain));
    assert_eq!(world.documents(&queue("part")).await, [detail]);
    // test_put_event_malformed_detail, test_put_event_without_detail_type
    let array = json!({ "Source": "core", "DetailType": "core", "Detail": "[1]" });
    let answer = world.put(json!([array])).await;
    assert_eq!(
        answer,
        json!({ "Entries": [{ "ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed." }], "FailedEntryCount": 1 })
    );
}
