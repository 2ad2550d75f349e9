//! Queues: what they are called, what they can be set to, how they end.

use std::sync::Arc;

use base_types::AccountId;
use model_sqs::*;
use services_kernel::{Cx, Principal};

use crate::support::{World, arn, map, refusal};

#[tokio::test]
async fn a_new_queue_has_the_settings_that_aws_gives_it() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    assert_eq!(url, "http://127.0.0.1:4566/000000000000/q");
    let request = GetQueueAttributesRequest { queue_url: url, attribute_names: Some(vec!["All".to_owned()]) };
    let all = world.attributes(request).await.unwrap().attributes.unwrap();
    assert_eq!(
        all,
        map(&[
            ("ApproximateNumberOfMessages", "0"),
            ("ApproximateNumberOfMessagesDelayed", "0"),
            ("ApproximateNumberOfMessagesNotVisible", "0"),
            ("CreatedTimestamp", "1795435200"),
            ("DelaySeconds", "0"),
            ("LastModifiedTimestamp", "1795435200"),
            ("MaximumMessageSize", "1048576"),
            ("MessageRetentionPeriod", "345600"),
            ("QueueArn", &arn("q")),
            ("ReceiveMessageWaitTimeSeconds", "0"),
            ("SqsManagedSseEnabled", "true"),
            ("VisibilityTimeout", "30"),
        ])
    );
    let url = world.create("q.fifo", &[("FifoQueue", "true")]).await;
    for (name, value) in [
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "false"),
        ("DeduplicationScope", "queue"),
        ("FifoThroughputLimit", "perQueue"),
    ] {
        assert_eq!(world.attribute(&url, name).await.as_deref(), Some(value));
    }
}

#[tokio::test]
async fn a_queue_is_made_once_and_differences_are_named() {
    let world = World::new();
    let first = world.create("q", &[("DelaySeconds", "1")]).await;
    assert_eq!(world.create("q", &[("DelaySeconds", "1")]).await, first);
    assert_eq!(world.create("q", &[]).await, first);
    let message = "A queue already exists with the same name and a different value for attribute DelaySeconds";
    assert_eq!(world.try_create("q", &[("DelaySeconds", "2")]).await, Err(refusal("QueueAlreadyExists", message)));
}

#[tokio::test]
async fn wrong_settings_are_refused_by_name() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    for (name, value) in [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "x"),
        ("DelaySeconds", "901"),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("MessageRetentionPeriod", "59"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("SqsManagedSseEnabled", "maybe"),
        ("KmsDataKeyReusePeriodSeconds", "1"),
        ("Policy", "{"),
    ] {
        let message = format!("Invalid value for the parameter {name}.");
        assert_eq!(world.set(&url, &[(name, value)]).await, Err(refusal("InvalidAttributeValue", &message)), "{name}");
    }
    for name in ["FifoQueue", "ContentBasedDeduplication", "QueueArn", "Nonsense"] {
        let message = format!("Unknown Attribute {name}.");
        assert_eq!(world.set(&url, &[(name, "true")]).await, Err(refusal("InvalidAttributeName", &message)), "{name}");
    }
    for (name, code) in
        [("a b", "InvalidParameterValue"), ("", "InvalidParameterValue"), ("q.fifo", "InvalidParameterValue")]
    {
        let refused = world.try_create(name, &[]).await.unwrap_err();
        assert_eq!(refused.0, code, "{name}");
    }
    assert_eq!(world.try_create("q", &[("FifoQueue", "true")]).await.unwrap_err().0, "InvalidParameterValue");
    assert_eq!(
        world.try_create("r", &[("FifoQueue", "false")]).await,
        Err(refusal("InvalidAttributeName", "Unknown Attribute FifoQueue."))
    );
}

#[tokio::test]
async fn keys_and_managed_encryption_exclude_each_other() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    let both = [("KmsMasterKeyId", "k"), ("SqsManagedSseEnabled", "true")];
    assert_eq!(world.set(&url, &both).await.unwrap_err().0, "InvalidAttributeName");
    world.set(&url, &[("KmsMasterKeyId", "k"), ("KmsDataKeyReusePeriodSeconds", "6000")]).await.unwrap();
    assert_eq!(world.attribute(&url, "SqsManagedSseEnabled").await.as_deref(), Some("false"));
    assert_eq!(world.attribute(&url, "KmsDataKeyReusePeriodSeconds").await.as_deref(), Some("6000"));
    world.set(&url, &[("KmsMasterKeyId", ""), ("KmsDataKeyReusePeriodSeconds", "300")]).await.unwrap();
    assert_eq!(world.attribute(&url, "KmsDataKeyReusePeriodSeconds").await, None);
    assert_eq!(world.attribute(&url, "SqsManagedSseEnabled").await.as_deref(), Some("false"));
}

#[tokio::test]
async fn a_deleted_queue_is_gone_at_once_and_its_name_rests() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    world.send(&url, "a").await;
    world.call(Request::DeleteQueue(Box::new(DeleteQueueRequest { queue_url: url.clone() }))).await.unwrap();
    let gone = refusal("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.");
    let request = GetQueueUrlRequest { queue_name: "q".to_owned(), ..Default::default() };
    assert_eq!(world.get_url(request).await, Err(gone));
    assert_eq!(world.try_create("q", &[]).await.unwrap_err().0, "AWS.SimpleQueueService.QueueDeletedRecently");
    world.reconcile().await;
    world.advance(60);
    world.create("q", &[]).await;
    assert_eq!(world.counts(&url).await, (0, 0, 0));
    assert!(world.receive(&url, 10).await.is_empty());
}

#[tokio::test]
async fn a_purge_takes_everything_and_comes_once_a_minute() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    for number in 0..5 {
        world.send(&url, &number.to_string()).await;
    }
    let flying = world.receive(&url, 1).await;
    let purge = || Request::PurgeQueue(Box::new(PurgeQueueRequest { queue_url: url.clone() }));
    world.call(purge()).await.unwrap();
    assert_eq!(world.counts(&url).await, (0, 0, 0));
    let message = "Only one PurgeQueue operation on q is allowed every 60 seconds.";
    assert_eq!(world.call(purge()).await.unwrap_err(), refusal("AWS.SimpleQueueService.PurgeQueueInProgress", message));
    // What was in flight is gone, too: its handle does nothing, and no harm.
    world.delete(&url, &crate::support::handle(&flying[0])).await.unwrap();
    world.send(&url, "new").await;
    world.reconcile().await;
    assert_eq!(world.bodies(&url, 10).await, ["new"]);
    world.advance(60);
    world.call(purge()).await.unwrap();
}

#[tokio::test]
async fn queues_are_listed_by_prefix_and_page() {
    let world = World::new();
    for name in ["a1", "a2", "a3", "b1"] {
        world.create(name, &[]).await;
    }
    let names = |result: &ListQueuesResult| -> Vec<String> {
        let urls = result.queue_urls.iter().flatten();
        urls.map(|url| url.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let prefix = Some("a".to_owned());
    let all = world.list(ListQueuesRequest { queue_name_prefix: prefix.clone(), ..Default::default() }).await.unwrap();
    assert_eq!((names(&all), all.next_token), (vec!["a1".to_owned(), "a2".to_owned(), "a3".to_owned()], None));
    let request = ListQueuesRequest { queue_name_prefix: prefix, max_results: Some(2), next_token: None };
    let first = world.list(request.clone()).await.unwrap();
    assert_eq!(names(&first), ["a1", "a2"]);
    let second = world.list(ListQueuesRequest { next_token: first.next_token, ..request }).await.unwrap();
    assert_eq!((names(&second), second.next_token), (vec!["a3".to_owned()], None));
}

#[tokio::test]
async fn permissions_are_statements_of_the_policy_and_hold() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    let other: AccountId = "111122223333".parse().unwrap();
    let stranger = Cx { principal: Arc::new(Principal::Root { account: other }), ..world.cx.clone() };
    let send = || Request::SendMessage(Box::new(crate::support::message(&url, "x")));
    assert_eq!(world.call_as(stranger.clone(), send()).await.unwrap_err().0, "AccessDenied");
    let add = |label: &str| {
        Request::AddPermission(Box::new(AddPermissionRequest {
            queue_url: url.clone(),
            label: label.to_owned(),
            aws_account_ids: vec![other.to_string()],
            actions: vec!["SendMessage".to_owned()],
        }))
    };
    world.call(add("l")).await.unwrap();
    let message = "Value l for parameter Label is invalid. Reason: Already exists.";
    assert_eq!(world.call(add("l")).await.unwrap_err(), refusal("InvalidParameterValue", message));
    world.call_as(stranger.clone(), send()).await.unwrap();
    let receive = Request::ReceiveMessage(Box::new(crate::support::ask(&url)));
    assert_eq!(world.call_as(stranger.clone(), receive).await.unwrap_err().0, "AccessDenied");
    let policy = world.attribute(&url, "Policy").await.unwrap();
    assert_eq!(
        policy,
        format!(
            r#"{{"Id":"{0}/SQSDefaultPolicy","Statement":[{{"Action":"SQS:SendMessage","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::111122223333:root"}},"Resource":"{0}","Sid":"l"}}],"Version":"2008-10-17"}}"#,
            arn("q")
        )
    );
    let remove = |label: &str| {
        let request = RemovePermissionRequest { queue_url: url.clone(), label: label.to_owned() };
        Request::RemovePermission(Box::new(request))
    };
    let message = "Value m for parameter Label is invalid. Reason: can't find label.";
    assert_eq!(world.call(remove("m")).await.unwrap_err(), refusal("InvalidParameterValue", message));
    world.call(remove("l")).await.unwrap();
    assert_eq!(world.attribute(&url, "Policy").await, None);
    assert_eq!(world.call_as(stranger, send()).await.unwrap_err().0, "AccessDenied");
}

#[tokio::test]
async fn tags_come_and_go() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    let tag =
        |key: &str| Request::TagQueue(Box::new(TagQueueRequest { queue_url: url.clone(), tags: map(&[(key, "v")]) }));
    world.call(tag("a")).await.unwrap();
    world.call(tag("b")).await.unwrap();
    assert_eq!(world.call(tag("aws:c")).await.unwrap_err().0, "InvalidParameterValue");
    let untag = UntagQueueRequest { queue_url: url.clone(), tag_keys: vec!["a".to_owned(), "none".to_owned()] };
    world.call(Request::UntagQueue(Box::new(untag))).await.unwrap();
    let tags = world.list_tags(ListQueueTagsRequest { queue_url: url }).await.unwrap().tags;
    assert_eq!(tags, Some(map(&[("b", "v")])));
}
