//! HTTP subscribers: the handshake, retries, giving up.

use std::sync::Arc;

use model_sns::*;
use services_kernel::{Cx, Principal};

use crate::support::*;

const ENDPOINT: &str = "http://subscriber.example/hook";

async fn confirmed(world: &World, topic: &str, attributes: &[(&str, &str)]) -> String {
    let subscription = world.link(topic, ENDPOINT, attributes).await;
    world.make_calls().await;
    let asked = world.documents().pop().unwrap();
    let token = asked["Token"].as_str().unwrap().to_owned();
    let request = ConfirmSubscriptionInput { topic_arn: topic.to_owned(), token, authenticate_on_unsubscribe: None };
    assert_eq!(world.confirm(request).await.unwrap().subscription_arn.as_deref(), Some(subscription.as_str()));
    world.outside.got.lock().unwrap().clear();
    subscription
}

#[tokio::test]
async fn a_subscriber_confirms_and_only_then_gets_messages() {
    let world = World::new();
    let topic = world.topic("t").await;
    let answer = world
        .subscribe(SubscribeInput {
            topic_arn: topic.clone(),
            protocol: "http".to_owned(),
            endpoint: Some(ENDPOINT.to_owned()),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(answer.subscription_arn.as_deref(), Some("pending confirmation"));
    world.say(&topic, "too early").await;
    world.make_calls().await;
    let documents = world.documents();
    assert_eq!(documents.len(), 1);
    let asked = &documents[0];
    assert_eq!(asked["Type"], "SubscriptionConfirmation");
    let token = asked["Token"].as_str().unwrap();
    let url = format!("http://127.0.0.1:4566/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}");
    assert_eq!(asked["SubscribeURL"], url.as_str());
    {
        let got = world.outside.got.lock().unwrap();
        let header = |name: &str| got[0].headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("x-amz-sns-message-type").as_deref(), Some("SubscriptionConfirmation"));
        assert_eq!(header("x-amz-sns-topic-arn").as_deref(), Some(topic.as_str()));
        assert_eq!(header("content-type").as_deref(), Some("text/plain; charset=UTF-8"));
        assert_eq!(header("x-amz-sns-subscription-arn"), None);
    }
    let confirm = ConfirmSubscriptionInput {
        topic_arn: topic.clone(),
        token: token.to_owned(),
        authenticate_on_unsubscribe: None,
    };
    let subscription = world.confirm(confirm.clone()).await.unwrap().subscription_arn.unwrap();
    assert_eq!(world.confirm(confirm).await.unwrap().subscription_arn.as_deref(), Some(subscription.as_str()), "twice");
    world.outside.got.lock().unwrap().clear();
    world.say(&topic, "now").await;
    world.make_calls().await;
    let documents = world.documents();
    assert_eq!(
        (documents.len(), &documents[0]["Message"], &documents[0]["Type"]),
        (1, &"now".into(), &"Notification".into())
    );
    let got = world.outside.got.lock().unwrap();
    assert_eq!(got[0].headers["x-amz-sns-subscription-arn"], subscription.as_str());
}

#[tokio::test]
async fn failures_are_tried_again_as_the_policy_has_it_and_then_buried() {
    let world = World::new();
    let (topic, letters) = (world.topic("t").await, world.queue("letters").await);
    let subscription = confirmed(&world, &topic, &[]).await;
    let redrive = format!(r#"{{"deadLetterTargetArn":"{letters}"}}"#);
    world.set(&subscription, "RedrivePolicy", &redrive).await.unwrap();
    let policy = r#"{"healthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":9,"numRetries":4,"numNoDelayRetries":1,"backoffFunction":"linear"}}"#;
    world.set(&subscription, "DeliveryPolicy", policy).await.unwrap();
    world.outside.answers.lock().unwrap().extend([500, 0, 503, 429, 500, 500]);
    world.say(&topic, "hard").await;
    world.make_calls().await;
    let tries = || world.outside.got.lock().unwrap().len();
    // At once, and without delay once more.
    assert_eq!(tries(), 2);
    for (seconds, expected) in [(4, 2), (1, 3), (6, 3), (1, 4), (8, 4), (1, 5), (3600, 5)] {
        world.advance(seconds);
        world.make_calls().await;
        assert_eq!(tries(), expected, "after {seconds} s more");
    }
    let buried = world.bodies(&letters).await;
    assert_eq!(buried.len(), 1);
    assert_eq!(json(&buried[0])["Message"], "hard");
}

#[tokio::test]
async fn an_answer_that_is_final_is_not_tried_again() {
    let world = World::new();
    let (topic, letters) = (world.topic("t").await, world.queue("letters").await);
    let subscription = confirmed(&world, &topic, &[("RawMessageDelivery", "true")]).await;
    let redrive = format!(r#"{{"deadLetterTargetArn":"{letters}"}}"#);
    world.set(&subscription, "RedrivePolicy", &redrive).await.unwrap();
    world.outside.answers.lock().unwrap().extend([404]);
    world.say(&topic, "gone").await;
    world.make_calls().await;
    world.advance(3600);
    world.make_calls().await;
    let got = world.outside.got.lock().unwrap().clone();
    assert_eq!((got.len(), &got[0].body[..]), (1, &b"gone"[..]));
    assert_eq!(got[0].headers["x-amz-sns-rawdelivery"], "true");
    assert_eq!(world.bodies(&letters).await, ["gone"]);
}

#[tokio::test]
async fn calls_survive_a_crash() {
    let world = World::new();
    let topic = world.topic("t").await;
    confirmed(&world, &topic, &[]).await;
    world.outside.answers.lock().unwrap().extend([500]);
    world.say(&topic, "kept").await;
    world.make_calls().await;
    let survivor = World::over(world.store.clone(), world.env.clone());
    survivor.advance(20);
    survivor.make_calls().await;
    let documents = survivor.documents();
    assert_eq!((documents.len(), &documents[0]["Message"]), (1, &"kept".into()));
}

#[tokio::test]
async fn a_subscriber_with_a_greatest_rate_is_not_called_faster() {
    let world = World::new();
    let topic = world.topic("t").await;
    let subscription = confirmed(&world, &topic, &[]).await;
    world.set(&subscription, "DeliveryPolicy", r#"{"throttlePolicy":{"maxReceivesPerSecond":1}}"#).await.unwrap();
    world.say(&topic, "first").await;
    world.make_calls().await;
    world.say(&topic, "second").await;
    world.make_calls().await;
    assert_eq!(world.outside.got.lock().unwrap().len(), 1);
    world.advance(1);
    world.make_calls().await;
    assert_eq!(world.outside.got.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn who_leaves_is_told_and_can_come_back() {
    let world = World::new();
    let topic = world.topic("t").await;
    let subscription = confirmed(&world, &topic, &[]).await;
    world.unsubscribe(&subscription).await.unwrap();
    world.make_calls().await;
    let farewell = world.documents().pop().unwrap();
    assert_eq!(farewell["Type"], "UnsubscribeConfirmation");
    world.say(&topic, "not for you").await;
    world.make_calls().await;
    assert_eq!(world.documents().len(), 1);
    let token = farewell["Token"].as_str().unwrap().to_owned();
    let back = ConfirmSubscriptionInput { topic_arn: topic.clone(), token, authenticate_on_unsubscribe: None };
    assert_eq!(world.confirm(back.clone()).await.unwrap().subscription_arn, Some(subscription));
    world.say(&topic, "again").await;
    world.make_calls().await;
    assert_eq!(world.documents().pop().unwrap()["Message"], "again");
    // Another topic's token brings nobody back, and an old one neither.
    let other = world.topic("other").await;
    let wrong = ConfirmSubscriptionInput { topic_arn: other, ..back.clone() };
    assert_eq!(world.confirm(wrong).await.unwrap_err(), invalid("Token"));
    world.advance(4 * 86_400);
    assert_eq!(world.confirm(back).await.unwrap_err(), invalid("Token"));
}

#[tokio::test]
async fn leaving_without_a_signature_is_for_those_who_came_without_one() {
    let world = World::new();
    let topic = world.topic("t").await;
    let nobody = Cx { principal: Arc::new(Principal::Anonymous), ..world.cx.clone() };
    let leave = |arn: &str| Request::Unsubscribe(Box::new(UnsubscribeInput { subscription_arn: arn.to_owned() }));
    for (by, flag, may) in
        [(nobody.clone(), None, true), (world.cx.clone(), None, false), (world.cx.clone(), Some("true"), false)]
    {
        let subscription = world.link(&topic, ENDPOINT, &[]).await;
        world.make_calls().await;
        // The farewell to the one before may be called after it.
        let asked = world.documents().into_iter().rfind(|document| document["Type"] == "SubscriptionConfirmation");
        let request = ConfirmSubscriptionInput {
            topic_arn: topic.clone(),
            token: asked.unwrap()["Token"].as_str().unwrap().to_owned(),
            authenticate_on_unsubscribe: flag.map(str::to_owned),
        };
        world.call_as(by, Request::ConfirmSubscription(Box::new(request))).await.unwrap();
        let outcome = world.call_as(nobody.clone(), leave(&subscription)).await;
        assert_eq!(outcome.is_ok(), may, "{outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.0, "AuthorizationError");
            world.unsubscribe(&subscription).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_address_that_is_never_called_is_refused_at_once() {
    let world = World::new();
    let topic = world.topic("t").await;
    for (protocol, endpoint) in [
        ("http", "http://169.254.169.254/latest"),
        ("https", "http://h/"),
        ("http", "https://h/"),
        ("http", "nonsense"),
    ] {
        let error = world.try_link(&topic, protocol, endpoint, &[]).await.unwrap_err();
        assert_eq!(error.0, "InvalidParameter", "{endpoint}");
    }
}
