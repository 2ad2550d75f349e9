//! Subscriptions: pages, owners, other accounts.

use model_sns::*;

use crate::support::*;

#[tokio::test]
async fn subscriptions_are_listed_in_pages_for_their_owner() {
    let world = World::new();
    let topic = world.topic("t").await;
    for number in 0..250 {
        world.link(&topic, &format!("arn:aws:sqs:us-east-1:000000000000:q{number}"), &[]).await;
    }
    let (mut token, mut by_topic) = (None, Vec::new());
    loop {
        let request = ListSubscriptionsByTopicInput { topic_arn: topic.clone(), next_token: token };
        let page = world.list_by_topic(request).await.unwrap();
        by_topic.extend(page.subscriptions.unwrap().into_iter().map(|one| one.endpoint.unwrap()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..250).map(|number| format!("arn:aws:sqs:us-east-1:000000000000:q{number}")).collect();
    assert_eq!(by_topic, expected);
    let (mut token, mut all, mut pages) = (None, std::collections::BTreeSet::new(), 0);
    loop {
        let page = world.list_all(ListSubscriptionsInput { next_token: token }).await.unwrap();
        all.extend(page.subscriptions.unwrap().into_iter().map(|one| one.endpoint.unwrap()));
        (token, pages) = (page.next_token, pages + 1);
        if token.is_none() {
            break;
        }
    }
    assert_eq!((all.len(), pages), (250, 3));
    let wrong = ListSubscriptionsInput { next_token: Some("forged".to_owned()) };
    assert_eq!(world.list_all(wrong).await.unwrap_err(), invalid("NextToken"));
    world.delete_topic(&topic).await.unwrap();
    world.reconcile().await;
    assert!(world.list_all(ListSubscriptionsInput::default()).await.unwrap().subscriptions.unwrap().is_empty());
}

#[tokio::test]
async fn subscribing_twice_is_subscribing_once() {
    let world = World::new();
    let (topic, queue) = (world.topic("t").await, world.queue("q").await);
    let first = world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await;
    assert_eq!(world.link(&topic, &queue, &[("RawMessageDelivery", "true")]).await, first);
    let error = world.try_link(&topic, "sqs", &queue, &[]).await.unwrap_err();
    assert_eq!(error, invalid("Attributes Reason: Subscription already exists with different attributes"));
    world.say(&topic, "once").await;
    assert_eq!(world.bodies(&queue).await, ["once"]);
}

#[tokio::test]
async fn another_account_subscribes_when_it_may_and_confirms_what_is_not_its_own() {
    let world = World::new();
    let topic = world.topic("t").await;
    let other = other_account(&world.cx);
    let subscribe = |endpoint: &str| {
        Request::Subscribe(Box::new(SubscribeInput {
            topic_arn: topic.clone(),
            protocol: "sqs".to_owned(),
            endpoint: Some(endpoint.to_owned()),
            return_subscription_arn: Some(true),
            ..Default::default()
        }))
    };
    let theirs = "arn:aws:sqs:us-east-1:222222222222:theirs";
    let error = world.call_as(other.clone(), subscribe(theirs)).await.unwrap_err();
    assert_eq!(error.0, "AuthorizationError");
    let permit = AddPermissionInput {
        topic_arn: topic.clone(),
        label: "friends".to_owned(),
        aws_account_id: vec!["222222222222".to_owned()],
        action_name: vec!["Subscribe".to_owned()],
    };
    world.call(Request::AddPermission(Box::new(permit))).await.unwrap();
    let answer = world.call_as(other.clone(), subscribe(theirs)).await.unwrap();
    let Response::Subscribe(answer) = answer else { panic!() };
    let arn = answer.subscription_arn.unwrap();
    let attributes = world.attributes(&arn).await;
    assert_eq!((attributes["Owner"].as_str(), attributes["PendingConfirmation"].as_str()), ("222222222222", "false"));
    // A queue of somebody else is asked whether it wants to.
    let answer =
        world.call_as(world.cx.clone(), subscribe("arn:aws:sqs:us-east-1:333333333333:foreign")).await.unwrap();
    let Response::Subscribe(answer) = answer else { panic!() };
    assert_eq!(world.attributes(&answer.subscription_arn.unwrap()).await["PendingConfirmation"], "true");
    let forbid = RemovePermissionInput { topic_arn: topic.clone(), label: "friends".to_owned() };
    world.call(Request::RemovePermission(Box::new(forbid))).await.unwrap();
    let error = world.call_as(other, subscribe("arn:aws:sqs:us-east-1:222222222222:more")).await.unwrap_err();
    assert_eq!(error.0, "AuthorizationError");
}
