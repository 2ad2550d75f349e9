//! Deleting, protecting, retaining and tagging.

use std::collections::BTreeMap;

use model_logs::*;

use crate::support::*;

async fn delete_group(world: &World, name: &str) -> Result<Response, Refusal> {
    world.call(Request::DeleteLogGroup(Box::new(DeleteLogGroupRequest { log_group_name: name.into() }))).await
}

#[tokio::test]
async fn a_group_made_again_is_another_one() {
    let world = World::new();
    world.create("g", &["s"]).await;
    world.put("g", "s", &[(NOW, "before")]).await;
    delete_group(&world, "g").await.unwrap();
    assert_eq!(world.get(of_stream("g", "s")).await.unwrap_err().1, "The specified log group does not exist.");
    world.create("g", &["s"]).await;
    assert!(got(&world.get(of_stream("g", "s")).await.unwrap()).is_empty());
    assert!(filtered(&world.filter(of_group("g", "")).await.unwrap()).is_empty());
    world.put("g", "s", &[(NOW, "after")]).await;
    world.reconcile().await;
    assert_eq!(got(&world.get(of_stream("g", "s")).await.unwrap()), ["after"]);
    // The space of the old one is free.
    assert_eq!(world.segments.bytes_by_group().unwrap().values().sum::<u64>(), "after".len() as u64);
}

#[tokio::test]
async fn a_deleted_streams_events_are_gone_also_from_its_group() {
    let world = World::new();
    world.create("g", &["s", "t"]).await;
    world.put("g", "s", &[(NOW, "in s")]).await;
    world.put("g", "t", &[(NOW, "in t")]).await;
    let delete = DeleteLogStreamRequest { log_group_name: "g".into(), log_stream_name: "s".into() };
    world.call(Request::DeleteLogStream(Box::new(delete.clone()))).await.unwrap();
    assert_eq!(filtered(&world.filter(of_group("g", "")).await.unwrap()), ["in t"]);
    let again = world.call(Request::DeleteLogStream(Box::new(delete))).await.unwrap_err();
    assert_eq!(again.1, "The specified log stream does not exist.");
    world.reconcile().await;
    assert_eq!(filtered(&world.filter(of_group("g", "")).await.unwrap()), ["in t"]);
    assert_eq!(world.segments.bytes_by_group().unwrap().values().sum::<u64>(), 4);
}

#[tokio::test]
async fn a_protected_group_is_not_deleted() {
    let world = World::new();
    let request = CreateLogGroupRequest {
        log_group_name: "g".into(),
        deletion_protection_enabled: Some(true),
        ..Default::default()
    };
    world.call(Request::CreateLogGroup(Box::new(request))).await.unwrap();
    assert_eq!(delete_group(&world, "g").await.unwrap_err().0, "ValidationException");
    let lift =
        PutLogGroupDeletionProtectionRequest { log_group_identifier: "g".into(), deletion_protection_enabled: false };
    world.call(Request::PutLogGroupDeletionProtection(Box::new(lift))).await.unwrap();
    delete_group(&world, "g").await.unwrap();
}

#[tokio::test]
async fn retention_takes_only_awss_values() {
    let world = World::new();
    world.create_group("g").await;
    let retain = |days| PutRetentionPolicyRequest { log_group_name: "g".into(), retention_in_days: days };
    let refusal = world.call(Request::PutRetentionPolicy(Box::new(retain(2)))).await.unwrap_err();
    assert!(refusal.1.starts_with("1 validation error detected: Value '2' at 'retentionInDays'"), "{refusal:?}");
    let days = || async {
        world.groups(DescribeLogGroupsRequest::default()).await.unwrap().log_groups.unwrap()[0].retention_in_days
    };
    for allowed in [1, 7, 3653] {
        world.call(Request::PutRetentionPolicy(Box::new(retain(allowed)))).await.unwrap();
        assert_eq!(days().await, Some(allowed));
    }
    let forget = DeleteRetentionPolicyRequest { log_group_name: "g".into() };
    world.call(Request::DeleteRetentionPolicy(Box::new(forget))).await.unwrap();
    assert_eq!(days().await, None);
}

#[tokio::test]
async fn tags_are_the_same_by_name_and_by_arn_and_go_with_their_group() {
    let world = World::new();
    let tags = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:g".to_owned();
    let create = CreateLogGroupRequest {
        log_group_name: "g".into(),
        tags: Some(tags(&[("made", "yes")])),
        ..Default::default()
    };
    world.call(Request::CreateLogGroup(Box::new(create.clone()))).await.unwrap();
    let tag = TagResourceRequest { resource_arn: arn.clone(), tags: tags(&[("a", "1"), ("b", "2")]) };
    world.call(Request::TagResource(Box::new(tag))).await.unwrap();
    let by_name = TagLogGroupRequest { log_group_name: "g".into(), tags: tags(&[("b", "3")]) };
    world.call(Request::TagLogGroup(Box::new(by_name))).await.unwrap();
    let list = || async {
        let by_arn = ListTagsForResourceRequest { resource_arn: arn.clone() };
        let by_arn = match world.call(Request::ListTagsForResource(Box::new(by_arn))).await.unwrap() {
            Response::ListTagsForResource(response) => response.tags.unwrap(),
            other => panic!("{other:?}"),
        };
        let by_name = ListTagsLogGroupRequest { log_group_name: "g".into() };
        match world.call(Request::ListTagsLogGroup(Box::new(by_name))).await.unwrap() {
            Response::ListTagsLogGroup(response) => assert_eq!(response.tags, Some(by_arn.clone())),
            other => panic!("{other:?}"),
        }
        by_arn
    };
    assert_eq!(list().await, tags(&[("a", "1"), ("b", "3"), ("made", "yes")]));
    let untag = UntagResourceRequest { resource_arn: arn.clone(), tag_keys: vec!["a".into(), "none".into()] };
    world.call(Request::UntagResource(Box::new(untag))).await.unwrap();
    let untag = UntagLogGroupRequest { log_group_name: "g".into(), tags: vec!["b".into()] };
    world.call(Request::UntagLogGroup(Box::new(untag))).await.unwrap();
    assert_eq!(list().await, tags(&[("made", "yes")]));

    let many: BTreeMap<_, _> = (0..50).map(|number| (format!("k{number}"), String::new())).collect();
    let tag = TagResourceRequest { resource_arn: arn.clone(), tags: many };
    assert_eq!(world.call(Request::TagResource(Box::new(tag))).await.unwrap_err().0, "TooManyTagsException");
    delete_group(&world, "g").await.unwrap();
    world.call(Request::CreateLogGroup(Box::new(CreateLogGroupRequest { tags: None, ..create }))).await.unwrap();
    assert!(list().await.is_empty());
}

#[tokio::test]
async fn names_and_classes_that_aws_refuses_are_refused() {
    let world = World::new();
    world.create_group("g").await;
    for name in ["", "a b", "a:b", "é"] {
        let request = CreateLogGroupRequest { log_group_name: name.into(), ..Default::default() };
        let refusal = world.call(Request::CreateLogGroup(Box::new(request))).await.unwrap_err();
        assert_eq!(refusal.0, "InvalidParameterException", "{name}");
    }
    for name in ["", "a:b", "a*b"] {
        assert_eq!(world.try_create_stream("g", name).await.unwrap_err().0, "InvalidParameterException", "{name}");
    }
    // A name that no key could hold is refused by every operation, not by the store.
    let long = "x".repeat(60_000);
    let requests = [
        Request::ListTagsLogGroup(Box::new(ListTagsLogGroupRequest { log_group_name: long.clone() })),
        Request::DeleteLogGroup(Box::new(DeleteLogGroupRequest { log_group_name: long.clone() })),
        Request::DescribeLogGroups(Box::new(DescribeLogGroupsRequest {
            log_group_name_prefix: Some(long.clone()),
            ..Default::default()
        })),
        Request::DescribeLogStreams(Box::new(DescribeLogStreamsRequest {
            log_group_name: Some("g".into()),
            log_stream_name_prefix: Some(long.clone()),
            ..Default::default()
        })),
        Request::FilterLogEvents(Box::new(FilterLogEventsRequest {
            log_stream_names: Some(vec![long.clone()]),
            ..of_group("g", "")
        })),
        Request::GetLogEvents(Box::new(of_stream("g", &long))),
        Request::CreateLogStream(Box::new(CreateLogStreamRequest {
            log_group_name: "g".into(),
            log_stream_name: long.clone(),
        })),
    ];
    for request in requests {
        assert_eq!(world.call(request).await.unwrap_err().0, "InvalidParameterException");
    }
    let again = CreateLogGroupRequest { log_group_name: "g".into(), ..Default::default() };
    let refusal = world.call(Request::CreateLogGroup(Box::new(again))).await.unwrap_err();
    assert_eq!(refusal, ("ResourceAlreadyExistsException".into(), "The specified log group already exists".into()));
}
