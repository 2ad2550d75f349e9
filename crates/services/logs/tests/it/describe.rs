//! DescribeLogGroups and DescribeLogStreams: order, prefixes, paging, what they say.

use model_logs::*;

use crate::support::*;

fn group_names(page: &DescribeLogGroupsResponse) -> Vec<String> {
    page.log_groups.iter().flatten().map(|group| group.log_group_name.clone().unwrap()).collect()
}

fn stream_names(page: &DescribeLogStreamsResponse) -> Vec<String> {
    page.log_streams.iter().flatten().map(|stream| stream.log_stream_name.clone().unwrap()).collect()
}

#[tokio::test]
async fn groups_are_listed_by_name_prefix_and_pattern_in_pages() {
    let world = World::new();
    for name in ["/aws/lambda/a", "/aws/lambda/b", "/aws/lambda/c", "other", "zlambda"] {
        world.create_group(name).await;
    }
    let with = |request| async { group_names(&world.groups(request).await.unwrap()) };
    assert_eq!(with(DescribeLogGroupsRequest::default()).await.len(), 5);
    let prefix =
        |text: &str| DescribeLogGroupsRequest { log_group_name_prefix: Some(text.into()), ..Default::default() };
    assert_eq!(with(prefix("/aws/lambda/")).await, ["/aws/lambda/a", "/aws/lambda/b", "/aws/lambda/c"]);
    assert_eq!(with(prefix("o")).await, ["other"]);
    assert!(with(prefix("nothing")).await.is_empty());
    let pattern =
        |text: &str| DescribeLogGroupsRequest { log_group_name_pattern: Some(text.into()), ..Default::default() };
    assert_eq!(with(pattern("lambda")).await, ["/aws/lambda/a", "/aws/lambda/b", "/aws/lambda/c", "zlambda"]);
    let by_arn = DescribeLogGroupsRequest {
        log_group_identifiers: Some(vec![
            "arn:aws:logs:us-east-1:000000000000:log-group:other".into(),
            "zlambda".into(),
        ]),
        ..Default::default()
    };
    assert_eq!(with(by_arn).await, ["other", "zlambda"]);

    let (mut token, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let request = DescribeLogGroupsRequest { limit: Some(2), next_token: token, ..Default::default() };
        let page = world.groups(request).await.unwrap();
        seen.extend(group_names(&page));
        (token, pages) = (page.next_token, pages + 1);
        if token.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (5, 3));
    let both = DescribeLogGroupsRequest { log_group_name_prefix: Some("a".into()), ..pattern("b") };
    let message = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.";
    assert_eq!(world.groups(both).await.unwrap_err().1, message);
}

#[tokio::test]
async fn a_group_says_what_aws_says() {
    let world = World::new();
    world.create("g", &["s"]).await;
    world.put("g", "s", &[(NOW, "twelve bytes")]).await;
    world.reconcile().await;
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:g";
    let page = world.groups(DescribeLogGroupsRequest::default()).await.unwrap();
    let expected = LogGroup {
        log_group_name: Some("g".into()),
        creation_time: Some(NOW),
        metric_filter_count: Some(0),
        arn: Some(format!("{arn}:*")),
        log_group_arn: Some(arn.into()),
        stored_bytes: Some(12),
        log_group_class: Some(LogGroupClass::Standard),
        deletion_protection_enabled: Some(false),
        ..Default::default()
    };
    assert_eq!(page.log_groups, Some(vec![expected]));
}

#[tokio::test]
async fn streams_are_listed_by_name_and_by_last_event_both_ways() {
    let world = World::new();
    world.create("g", &["a", "b", "c", "d"]).await;
    world.put("g", "c", &[(NOW - 30, "x")]).await;
    world.put("g", "a", &[(NOW - 40, "x"), (NOW - 20, "x")]).await;
    world.put("g", "b", &[(NOW - 10, "x")]).await;
    let of = |order: Option<OrderBy>, descending: bool, prefix: Option<&str>, limit, token| DescribeLogStreamsRequest {
        log_group_name: Some("g".into()),
        order_by: order,
        descending: Some(descending),
        log_stream_name_prefix: prefix.map(Into::into),
        limit,
        next_token: token,
        ..Default::default()
    };
    let with = |request| async { stream_names(&world.streams(request).await.unwrap()) };
    assert_eq!(with(of(None, false, None, None, None)).await, ["a", "b", "c", "d"]);
    assert_eq!(with(of(None, true, None, None, None)).await, ["d", "c", "b", "a"]);
    assert_eq!(with(of(Some(OrderBy::LogStreamName), false, Some("b"), None, None)).await, ["b"]);
    assert_eq!(with(of(None, true, Some("c"), None, None)).await, ["c"]);
    world.reconcile().await;
    let time = Some(OrderBy::LastEventTime);
    assert_eq!(with(of(time, true, None, None, None)).await, ["b", "a", "c", "d"]);
    assert_eq!(with(of(time, false, None, None, None)).await, ["d", "c", "a", "b"]);
    world.put("g", "c", &[(NOW, "newest")]).await;
    world.reconcile().await;
    for (order, expected) in [(time, ["c", "b", "a", "d"]), (None, ["d", "c", "b", "a"])] {
        let (mut token, mut seen) = (None, Vec::new());
        loop {
            let page = world.streams(of(order, true, None, Some(3), token)).await.unwrap();
            seen.extend(stream_names(&page));
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
    let refusal = world.streams(of(time, false, Some("a"), None, None)).await.unwrap_err();
    assert_eq!(refusal.1, "Cannot order by LastEventTime with a logStreamNamePrefix.");
}

#[tokio::test]
async fn a_streams_activity_is_seen_at_once_and_kept() {
    let world = World::new();
    world.create("g", &["s"]).await;
    let request = || DescribeLogStreamsRequest { log_group_name: Some("g".into()), ..Default::default() };
    let describe = || async { world.streams(request()).await.unwrap().log_streams.unwrap().remove(0) };
    let empty = describe().await;
    assert_eq!(
        empty,
        LogStream {
            log_stream_name: Some("s".into()),
            creation_time: Some(NOW),
            arn: Some("arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:s".into()),
            stored_bytes: Some(0),
            ..Default::default()
        }
    );
    world.put("g", "s", &[(NOW - 5, "x"), (NOW - 3, "y")]).await;
    let check = |stream: LogStream| {
        assert_eq!((stream.first_event_timestamp, stream.last_event_timestamp), (Some(NOW - 5), Some(NOW - 3)));
        assert_eq!(stream.last_ingestion_time, Some(NOW));
    };
    check(describe().await);
    world.reconcile().await;
    check(describe().await);
}
