//! From a publish to the queues.

use bytes::Bytes;
use model_sns::*;

use crate::support::*;

#[tokio::test]
async fn a_queue_gets_the_notification_in_the_publishing_commit() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    let subscription = world.link(&topic, &queue, &[]).await;
    let mut request = PublishInput { subject: Some("about".to_owned()), ..message(&topic, "hello \"you\"") };
    let values = [("n".to_owned(), attribute("Number", "19.12"))];
    request.message_attributes = Some(values.into());
    let id = world.publish(request).await.unwrap().message_id.unwrap();
    let bodies = world.bodies(&queue).await;
    assert_eq!(bodies.len(), 1);
    let body = json(&bodies[0]);
    assert_eq!((&body["Type"], &body["MessageId"]), (&"Notification".into(), &id.into()));
    assert_eq!((&body["Message"], &body["Subject"]), (&"hello \"you\"".into(), &"about".into()));
    assert_eq!(body["MessageAttributes"], serde_json::json!({"n": {"Type": "Number", "Value": "19.12"}}));
    assert_eq!((&body["SignatureVersion"], &body["Timestamp"]), (&"1".into(), &"2026-11-23T12:00:00.000Z".into()));
    let certificate = body["SigningCertURL"].as_str().unwrap();
    assert!(certificate.starts_with("http://127.0.0.1:4566/SimpleNotificationService-"), "{certificate}");
    let file = certificate.rsplit('/').next().unwrap();
    let pem = world.sns.certificate(file).await.unwrap().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(
        body["UnsubscribeURL"]
            .as_str()
            .unwrap()
            .ends_with(&format!("?Action=Unsubscribe&SubscriptionArn={subscription}"))
    );
    // The certificate's address stays the same for whoever comes after a restart.
    let again = World::over(world.store.clone(), world.env.clone());
    assert_eq!(again.sns.certificate(file).await.unwrap(), Some(pem));
    assert_eq!(again.sns.certificate("SimpleNotificationService-x.pem").await.unwrap(), None);
}

#[tokio::test]
async fn a_raw_queue_gets_text_and_attributes() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await;
    let binary = MessageAttributeValue {
        data_type: "Binary".to_owned(),
        binary_value: Some(Bytes::from_static(&[2, 3, 4])),
        string_value: None,
    };
    let values = [("b".to_owned(), binary), ("l".to_owned(), attribute("String.Array", "[\"x\"]"))];
    let request = PublishInput { message_attributes: Some(values.into()), ..message(&topic, "plain") };
    world.publish(request).await.unwrap();
    let got = world.take(&queue).await;
    assert_eq!(got[0].body.as_deref(), Some("plain"));
    let attributes = got[0].message_attributes.clone().unwrap();
    assert_eq!(attributes["b"].binary_value.as_deref(), Some(&[2, 3, 4][..]));
    assert_eq!(attributes["l"].data_type, "String.Array");
}

#[tokio::test]
async fn a_queue_whose_policy_does_not_allow_it_gets_nothing_and_its_dead_letter_queue_all() {
    let world = World::new();
    let (topic, letters) = (world.topic("t").await, world.queue("letters").await);
    world.make_queue("closed", map(&[])).await;
    let closed = "arn:aws:sqs:us-east-1:000000000000:closed";
    world.link(&topic, closed, &[]).await;
    world.say(&topic, "lost").await;
    let redrive = format!(r#"{{"deadLetterTargetArn":"{letters}"}}"#);
    let subscription = world.link(&topic, closed, &[]).await;
    world.set(&subscription, "RedrivePolicy", &redrive).await.unwrap();
    world.say(&topic, "kept").await;
    assert!(world.take(closed).await.is_empty());
    let buried = world.bodies(&letters).await;
    assert_eq!(buried.len(), 1);
    assert_eq!(json(&buried[0])["Message"], "kept");
}

#[tokio::test]
async fn a_queue_that_is_gone_is_no_error_of_the_publisher() {
    let world = World::new();
    let (topic, queue, letters) = (world.topic("t").await, world.queue("q").await, world.queue("letters").await);
    let redrive = format!(r#"{{"deadLetterTargetArn":"{letters}"}}"#);
    world.link(&topic, &queue, &[("RedrivePolicy", &redrive), ("RawMessageDelivery", "true")]).await;
    world.say(&topic, "before").await;
    assert_eq!(world.bodies(&queue).await, ["before"]);
    world.delete_queue(&queue).await;
    world.say(&topic, "after").await;
    assert_eq!(world.bodies(&letters).await, ["after"]);
}

#[tokio::test]
async fn each_protocol_may_have_a_text_of_its_own() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await;
    let structured = |text: &str| PublishInput { message_structure: Some("json".to_owned()), ..message(&topic, text) };
    world.publish(structured(r#"{"default": "d", "sqs": "for queues"}"#)).await.unwrap();
    world.publish(structured(r#"{"default": "d", "http": "h"}"#)).await.unwrap();
    let mut bodies = world.bodies(&queue).await;
    bodies.sort();
    assert_eq!(bodies, ["d", "for queues"]);
}

#[tokio::test]
async fn an_entry_of_a_batch_fails_by_itself() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await;
    let bad = PublishBatchRequestEntry { subject: Some("new\nline".to_owned()), ..entry("bad", "x") };
    let answer = world.publish_batch(batch(&topic, vec![entry("a", "1"), bad, entry("b", "2")])).await.unwrap();
    let ids: Vec<_> = answer.successful.unwrap().into_iter().map(|entry| entry.id.unwrap()).collect();
    assert_eq!(ids, ["a", "b"]);
    let failed = answer.failed.unwrap();
    assert_eq!(
        (failed[0].id.as_str(), failed[0].code.as_str(), failed[0].sender_fault),
        ("bad", "InvalidParameter", true)
    );
    let mut bodies = world.bodies(&queue).await;
    bodies.sort();
    assert_eq!(bodies, ["1", "2"]);
    let large = "x".repeat(100_000);
    let entries = vec![entry("a", &large), entry("b", &large), entry("c", &large)];
    let error = world.publish_batch(batch(&topic, entries)).await.unwrap_err();
    assert_eq!(error.0, "BatchRequestTooLong");
    assert_eq!(world.publish_batch(batch(&topic, vec![])).await.unwrap_err().0, "EmptyBatchRequest");
}

#[tokio::test]
async fn attributes_that_cannot_be_are_refused_by_name() {
    let world = World::new();
    let topic = world.topic("t").await;
    for (name, data_type, value, what) in [
        ("a", "Other", "x", "invalid message attribute type"),
        ("a", "String", "", "must contain non-empty"),
        ("a", "Number", "x", "Could not cast"),
        ("a..b", "String", "x", "The message attribute name 'a..b'"),
    ] {
        let values = [(name.to_owned(), attribute(data_type, value))];
        let request = PublishInput { message_attributes: Some(values.into()), ..message(&topic, "x") };
        let error = world.publish(request).await.unwrap_err();
        assert!(error.0 == "ParameterValueInvalid" && error.1.contains(what), "{error:?}");
    }
}

#[tokio::test]
async fn mail_and_telephone_are_kept_and_never_said_to_be_sent() {
    let world = World::new();
    let topic = world.topic("t").await;
    let mail = world.try_link(&topic, "email", "a@example.com", &[]).await.unwrap();
    assert_eq!(world.attributes(&mail).await["PendingConfirmation"], "true");
    world.try_link(&topic, "sms", "+491234567", &[]).await.unwrap();
    world.say(&topic, "one").await;
    let kept = world.sns.outbox(world.cx.account, world.cx.region.clone(), 10).await.unwrap();
    // A request to confirm, and what the number would have got; nothing for who did not confirm.
    let mut shown: Vec<_> = kept.iter().map(|letter| (letter.protocol.as_str(), letter.to.as_str())).collect();
    shown.sort_unstable();
    assert_eq!(shown, [("email", "a@example.com"), ("sms", "+491234567")]);
    let asked = kept.iter().find(|letter| letter.protocol == "email").unwrap();
    let token = asked.text.rsplit("Token=").next().unwrap().to_owned();
    let confirmed = ConfirmSubscriptionInput { topic_arn: topic.clone(), token, authenticate_on_unsubscribe: None };
    assert_eq!(world.confirm(confirmed).await.unwrap().subscription_arn, Some(mail));
    world.say(&topic, "two").await;
    let kept = world.sns.outbox(world.cx.account, world.cx.region.clone(), 10).await.unwrap();
    assert_eq!(kept.iter().filter(|letter| letter.protocol == "email" && letter.text == "two").count(), 1);
    let number =
        PublishInput { phone_number: Some("+491234567".to_owned()), message: "x".to_owned(), ..Default::default() };
    assert!(world.publish(number).await.unwrap().message_id.is_some());
}

#[tokio::test]
async fn what_pileus_does_not_have_is_named() {
    let world = World::new();
    let topic = world.topic("t").await;
    for (protocol, endpoint) in [
        ("application", "arn:aws:sns:us-east-1:000000000000:endpoint/GCM/a/b"),
        ("firehose", "arn:aws:firehose:us-east-1:000000000000:deliverystream/x"),
    ] {
        let error = world.try_link(&topic, protocol, endpoint, &[]).await.unwrap_err();
        assert_eq!(error.0, "NotImplementedException", "{error:?}");
    }
    let request = PublishInput {
        target_arn: Some("arn:aws:sns:us-east-1:000000000000:endpoint/GCM/a/b".to_owned()),
        message: "x".to_owned(),
        ..Default::default()
    };
    assert_eq!(world.publish(request).await.unwrap_err().0, "NotImplementedException");
    let error = world.set_topic(&topic, "ArchivePolicy", r#"{"MessageRetentionPeriod":"30"}"#).await.unwrap_err();
    assert!(error.0 == "NotImplementedException" && error.1.contains("ArchivePolicy"), "{error:?}");
}
