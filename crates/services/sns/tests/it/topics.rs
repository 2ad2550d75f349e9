//! Topics.

use model_sns::*;
use services_kernel::{Quota, Quotas};

use crate::support::*;

#[tokio::test]
async fn a_topic_is_made_once_and_is_what_it_was_made_as() {
    let world = World::new();
    let topic = world.topic_with("t", &[("DisplayName", "d")]).await;
    assert_eq!(world.topic_with("t", &[("DisplayName", "d")]).await, topic);
    assert_eq!(world.topic("t").await, topic);
    let other =
        CreateTopicInput { name: "t".to_owned(), attributes: Some(map(&[("DisplayName", "e")])), ..Default::default() };
    let error = world.create_topic(other).await.unwrap_err();
    assert_eq!(error, invalid("Attributes Reason: Topic already exists with different attributes"));
    for name in ["", "a b", "t.fifo", &"x".repeat(257)] {
        let request = CreateTopicInput { name: name.to_owned(), ..Default::default() };
        assert_eq!(world.create_topic(request).await.unwrap_err().0, "InvalidParameter", "{name}");
    }
}

#[tokio::test]
async fn a_topic_that_is_made_again_has_no_subscribers_of_before() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    world.link(&topic, &queue, &[]).await;
    assert_eq!(world.topic_attribute(&topic, "SubscriptionsConfirmed").await.as_deref(), Some("1"));
    world.delete_topic(&topic).await.unwrap();
    world.topic("t").await;
    world.say(&topic, "x").await;
    assert!(world.take(&queue).await.is_empty());
    world.reconcile().await;
    assert_eq!(world.topic_attribute(&topic, "SubscriptionsConfirmed").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn topics_are_listed_in_pages() {
    let world = World::new();
    for number in 0..120 {
        world.topic(&format!("t{number:03}")).await;
    }
    let first = world.list_topics(ListTopicsInput::default()).await.unwrap();
    assert_eq!(first.topics.unwrap().len(), 100);
    let rest = world.list_topics(ListTopicsInput { next_token: first.next_token }).await.unwrap();
    assert_eq!((rest.topics.unwrap().len(), rest.next_token), (20, None));
}

#[tokio::test]
async fn attributes_are_set_and_shown_and_what_is_none_is_refused() {
    let world = World::new();
    let topic = world.topic("t").await;
    for (name, value) in [
        ("DisplayName", "Topic"),
        ("SignatureVersion", "2"),
        ("TracingConfig", "Active"),
        ("KmsMasterKeyId", "alias/aws/sns"),
        ("SQSSuccessFeedbackSampleRate", "100"),
    ] {
        world.set_topic(&topic, name, value).await.unwrap();
        assert_eq!(world.topic_attribute(&topic, name).await.as_deref(), Some(value));
    }
    for (name, value) in [
        ("Nothing", "x"),
        ("SignatureVersion", "3"),
        ("Policy", "{"),
        ("DeliveryPolicy", "{"),
        ("FifoTopic", "true"),
        ("ContentBasedDeduplication", "true"),
    ] {
        assert_eq!(world.set_topic(&topic, name, value).await.unwrap_err().0, "InvalidParameter", "{name}");
    }
}

async fn make(world: &World, name: &str, fifo: bool) -> Result<CreateTopicResponse, Refusal> {
    let name = if fifo { format!("{name}.fifo") } else { name.to_owned() };
    let attributes = fifo.then(|| map(&[("FifoTopic", "true")]));
    world.create_topic(CreateTopicInput { name, attributes, ..Default::default() }).await
}

#[tokio::test]
async fn there_are_as_many_topics_as_the_quota_says() {
    let world = World::new();
    for (quota, fifo) in [("sns.topics", false), ("sns.fifo-topics", true)] {
        let cx = world.cx.clone();
        let quota = Quota { name: quota, default: 0 };
        world.store.transact(move |tx| Quotas::set(tx, cx.account, &cx.region, quota, 2)).await.unwrap();
        let first = make(&world, "a", fifo).await.unwrap().topic_arn.unwrap();
        make(&world, "b", fifo).await.unwrap();
        make(&world, "a", fifo).await.unwrap();
        assert_eq!(make(&world, "c", fifo).await.unwrap_err(), refusal("TopicLimitExceeded", "Topic limit exceeded"));
        world.delete_topic(&first).await.unwrap();
        make(&world, "c", fifo).await.unwrap();
    }
}

#[tokio::test]
async fn another_account_may_do_nothing_that_the_policy_does_not_allow() {
    let world = World::new();
    let topic = world.topic("t").await;
    let subscription = world.link(&topic, &world.queue("q").await, &[]).await;
    let other = other_account(&world.cx);
    let arn = || topic.clone();
    for request in [
        Request::GetTopicAttributes(Box::new(GetTopicAttributesInput { topic_arn: arn() })),
        Request::SetTopicAttributes(Box::new(SetTopicAttributesInput {
            topic_arn: arn(),
            attribute_name: "DisplayName".to_owned(),
            attribute_value: Some("x".to_owned()),
        })),
        Request::DeleteTopic(Box::new(DeleteTopicInput { topic_arn: arn() })),
        Request::Publish(Box::new(message(&topic, "x"))),
        Request::PublishBatch(Box::new(batch(&topic, vec![entry("1", "x")]))),
        Request::Subscribe(Box::new(SubscribeInput {
            topic_arn: arn(),
            protocol: "sqs".to_owned(),
            endpoint: Some("arn:aws:sqs:us-east-1:111122223333:q".to_owned()),
            ..Default::default()
        })),
        Request::ListSubscriptionsByTopic(Box::new(ListSubscriptionsByTopicInput {
            topic_arn: arn(),
            ..Default::default()
        })),
        Request::AddPermission(Box::new(AddPermissionInput {
            topic_arn: arn(),
            label: "l".to_owned(),
            aws_account_id: vec!["111122223333".to_owned()],
            action_name: vec!["Publish".to_owned()],
        })),
        Request::RemovePermission(Box::new(RemovePermissionInput { topic_arn: arn(), label: "l".to_owned() })),
        Request::TagResource(Box::new(TagResourceRequest {
            resource_arn: arn(),
            tags: vec![Tag { key: "k".to_owned(), value: "v".to_owned() }],
        })),
        Request::UntagResource(Box::new(UntagResourceRequest { resource_arn: arn(), tag_keys: vec!["k".to_owned()] })),
        Request::ListTagsForResource(Box::new(ListTagsForResourceRequest { resource_arn: arn() })),
        Request::GetSubscriptionAttributes(Box::new(GetSubscriptionAttributesInput {
            subscription_arn: subscription.clone(),
        })),
        Request::SetSubscriptionAttributes(Box::new(SetSubscriptionAttributesInput {
            subscription_arn: subscription.clone(),
            attribute_name: "RawMessageDelivery".to_owned(),
            attribute_value: Some("true".to_owned()),
        })),
        Request::Unsubscribe(Box::new(UnsubscribeInput { subscription_arn: subscription.clone() })),
    ] {
        let shown = format!("{request:?}");
        let (code, message) = world.call_as(other.clone(), request).await.unwrap_err();
        assert_eq!(code, "AuthorizationError", "{shown}: {message}");
        assert!(message.contains("is not authorized to perform: SNS:"), "{shown}: {message}");
    }
    assert_eq!(world.topic_attribute(&topic, "SubscriptionsConfirmed").await.as_deref(), Some("1"));
}
