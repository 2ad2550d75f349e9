//! AWS's recorded answers: the codes, messages and fields that the operations here have.

use model_logs::*;

use crate::support::*;

fn refusal(code: &str, message: &str) -> Refusal {
    (code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn refusals_have_the_codes_and_messages_that_aws_gave() {
    let world = World::new();
    world.create("group", &["stream"]).await;
    let limit = "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: \
                 Member must have value less than or equal to 10000";
    let no_group = refusal("ResourceNotFoundException", "The specified log group does not exist.");
    let no_stream = refusal("ResourceNotFoundException", "The specified log stream does not exist.");
    let bad_token = refusal("InvalidParameterException", "The specified nextToken is invalid.");
    let long_pattern = "X".repeat(1025);
    let pattern = format!(
        "1 validation error detected: Value '{long_pattern}' at 'filterPattern' failed to satisfy constraint: \
         Member must have length less than or equal to 1024"
    );
    let filter = |request| Request::FilterLogEvents(Box::new(request));
    let get = |request| Request::GetLogEvents(Box::new(request));
    let put = |group: &str, stream: &str| {
        let event = InputLogEvent { timestamp: NOW, message: "m".to_owned() };
        Request::PutLogEvents(Box::new(PutLogEventsRequest {
            log_group_name: group.to_owned(),
            log_stream_name: stream.to_owned(),
            log_events: vec![event],
            ..Default::default()
        }))
    };
    let stream = CreateLogStreamRequest { log_group_name: "group".into(), log_stream_name: "stream".into() };
    let too_long = "Invalid LogGroup or LogStream, both must have length less than or equal to 512.";
    let long_group = CreateLogGroupRequest { log_group_name: "x".repeat(513), ..Default::default() };
    let cases = [
        (
            "test_create_log_group_invalid_name_length",
            Request::CreateLogGroup(Box::new(long_group)),
            refusal("InvalidParameterException", too_long),
        ),
        (
            "test_filter_log_events_limit_validation",
            filter(FilterLogEventsRequest { limit: Some(10_001), ..of_group("group", "") }),
            refusal("InvalidParameterException", limit),
        ),
        (
            "test_filter_log_events_unknown_token",
            filter(FilterLogEventsRequest { next_token: Some("foo".into()), ..of_group("group", "") }),
            bad_token.clone(),
        ),
        (
            "test_get_log_events_invalid_token",
            get(GetLogEventsRequest { next_token: Some("foo".into()), ..of_stream("group", "stream") }),
            bad_token,
        ),
        (
            "test_get_log_events_limit_validation",
            get(GetLogEventsRequest { limit: Some(10_001), ..of_stream("group", "stream") }),
            refusal("InvalidParameterException", limit),
        ),
        ("test_put_log_events_to_invalid_stream", put("group", "invalid"), no_stream.clone()),
        ("test_resource_does_not_exist: group", get(of_stream("none", "stream")), no_group.clone()),
        ("test_resource_does_not_exist: stream", get(of_stream("group", "none")), no_stream),
        (
            "test_create_log_stream_duplicate_error",
            Request::CreateLogStream(Box::new(stream)),
            refusal("ResourceAlreadyExistsException", "The specified log stream already exists"),
        ),
        (
            "test_put_metric_filter_invalid_filter_pattern (the same constraint)",
            filter(of_group("group", &long_pattern)),
            refusal("InvalidParameterException", &pattern),
        ),
    ];
    for (name, request, expected) in cases {
        assert_eq!(world.call(request).await.unwrap_err(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_group_with_a_key_has_the_fields_that_aws_gave() {
    let world = World::new();
    let key = "arn:aws:kms:us-east-1:000000000000:key/k";
    let request =
        CreateLogGroupRequest { log_group_name: "g".into(), kms_key_id: Some(key.into()), ..Default::default() };
    world.call(Request::CreateLogGroup(Box::new(request))).await.unwrap();
    let page = world.groups(DescribeLogGroupsRequest::default()).await.unwrap();
    let recorded = serde_json::json!({
        "arn": "arn:aws:logs:us-east-1:000000000000:log-group:g:*",
        "creationTime": NOW,
        "deletionProtectionEnabled": false,
        "kmsKeyId": key,
        "logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:g",
        "logGroupClass": "STANDARD",
        "logGroupName": "g",
        "metricFilterCount": 0,
        "storedBytes": 0,
    });
    let LogGroup {
        log_group_name,
        creation_time,
        retention_in_days: None,
        metric_filter_count,
        arn,
        stored_bytes,
        kms_key_id,
        data_protection_status: None,
        inherited_properties: None,
        log_group_class,
        log_group_arn,
        deletion_protection_enabled,
        bearer_token_authentication_enabled: None,
    } = page.log_groups.unwrap().remove(0)
    else {
        panic!("a field that AWS did not give");
    };
    let ours = serde_json::json!({
        "arn": arn,
        "creationTime": creation_time,
        "deletionProtectionEnabled": deletion_protection_enabled,
        "kmsKeyId": kms_key_id,
        "logGroupArn": log_group_arn,
        "logGroupClass": log_group_class.map(|class| class.as_str()),
        "logGroupName": log_group_name,
        "metricFilterCount": metric_filter_count,
        "storedBytes": stored_bytes,
    });
    assert_eq!(ours, recorded);
}
