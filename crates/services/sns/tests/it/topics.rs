//! Topics.

use model_sns::*;

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
