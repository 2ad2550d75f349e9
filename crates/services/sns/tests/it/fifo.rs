//! FIFO topics.

use model_sns::*;

use crate::support::*;

fn to(topic: &str, group: &str, id: Option<&str>, text: &str) -> PublishInput {
    PublishInput {
        message_group_id: Some(group.to_owned()),
        message_deduplication_id: id.map(str::to_owned),
        ..message(topic, text)
    }
}

#[tokio::test]
async fn messages_come_in_order_and_once() {
    let world = World::new();
    let topic = world.topic_with("t.fifo", &[("FifoTopic", "true"), ("ContentBasedDeduplication", "true")]).await;
    let queue = world.queue("q.fifo").await;
    world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await;
    let mut last = String::new();
    for number in 0..20 {
        let text = number.to_string();
        let first = world.publish(to(&topic, "g", None, &text)).await.unwrap();
        let again = world.publish(to(&topic, "g", None, &text)).await.unwrap();
        assert_eq!((&first.message_id, &first.sequence_number), (&again.message_id, &again.sequence_number));
        let sequence = first.sequence_number.unwrap();
        assert!(sequence.len() == 20 && sequence > last, "{sequence} after {last}");
        last = sequence;
    }
    let got = world.take(&queue).await;
    let bodies: Vec<_> = got.iter().map(|message| message.body.clone().unwrap()).collect();
    assert_eq!(bodies, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(got[0].attributes.as_ref().unwrap()["MessageGroupId"], "g");
    // The window over, the same content is another message.
    world.advance(301);
    world.reconcile().await;
    world.publish(to(&topic, "g", None, "0")).await.unwrap();
    assert_eq!(world.bodies(&queue).await, ["0"]);
}

#[tokio::test]
async fn deduplication_may_be_by_group() {
    let world = World::new();
    let scopes = [(None, 1), (Some("Topic"), 1), (Some("MessageGroup"), 2)];
    for (index, (scope, expected)) in scopes.into_iter().enumerate() {
        let mut attributes = vec![("FifoTopic", "true")];
        attributes.extend(scope.map(|scope| ("FifoThroughputScope", scope)));
        let topic = world.topic_with(&format!("t{index}.fifo"), &attributes).await;
        world.make_queue(
            &format!("s{index}"),
            map(&[("Policy", r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}]}"#)]),
        ).await;
        let queue = format!("arn:aws:sqs:us-east-1:000000000000:s{index}");
        world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await;
        for group in ["a", "b"] {
            world.publish(to(&topic, group, Some("same"), "x")).await.unwrap();
        }
        assert_eq!(world.take(&queue).await.len(), expected, "{scope:?}");
    }
}

#[tokio::test]
async fn what_a_fifo_topic_sends_is_not_signed_and_has_its_number() {
    let world = World::new();
    let topic = world.topic_with("t.fifo", &[("FifoTopic", "true")]).await;
    let queue = world.queue("q").await;
    world.link(&topic, &queue, &[]).await;
    let sent = world.publish(to(&topic, "g", Some("d"), "Test")).await.unwrap();
    let got = world.take(&queue).await;
    let body = json(got[0].body.as_ref().unwrap());
    assert_eq!(body["SequenceNumber"], sent.sequence_number.unwrap().as_str());
    assert!(body.get("Signature").is_none() && body.get("SigningCertURL").is_none());
    // To a standard queue nothing of FIFO goes.
    assert!(!got[0].attributes.as_ref().unwrap().contains_key("MessageGroupId"));
}

#[tokio::test]
async fn a_fifo_topic_takes_a_hundred_subscribers_and_only_queues() {
    let world = World::new();
    let topic = world.topic_with("t.fifo", &[("FifoTopic", "true")]).await;
    for number in 0..100 {
        world.link(&topic, &format!("arn:aws:sqs:us-east-1:000000000000:q{number}"), &[]).await;
    }
    let error = world.try_link(&topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:q", &[]).await.unwrap_err();
    assert_eq!(error.0, "SubscriptionLimitExceeded");
    assert!(world.try_link(&topic, "http", "http://h/", &[]).await.is_err());
}
