//! FIFO queues: order, blocking, deduplication, repeated attempts.

use model_sqs::*;

use crate::support::{World, ask, bodies, handle, message, refusal, system};

async fn fifo(world: &World, attributes: &[(&str, &str)]) -> String {
    let all: Vec<_> = [("FifoQueue", "true")].into_iter().chain(attributes.iter().copied()).collect();
    world.create("q.fifo", &all).await
}

#[tokio::test]
async fn a_group_is_in_order_and_blocked_until_delete() {
    let world = World::new();
    let url = fifo(&world, &[]).await;
    for (group, body) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")] {
        world.send_to(&url, group, body).await;
    }
    let first = world.receive(&url, 2).await;
    assert_eq!(bodies(&first), ["1", "2"]);
    assert_eq!(system(&first[0], "MessageGroupId").as_deref(), Some("a"));
    let second = world.receive(&url, 10).await;
    assert_eq!((bodies(&second), system(&second[0], "MessageGroupId").as_deref()), (vec!["1".to_owned()], Some("b")));
    assert!(world.receive(&url, 10).await.is_empty());
    world.delete(&url, &handle(&first[0])).await.unwrap();
    assert!(world.receive(&url, 10).await.is_empty());
    world.delete(&url, &handle(&first[1])).await.unwrap();
    assert_eq!(world.bodies(&url, 10).await, ["3"]);
    assert_eq!(world.counts(&url).await, (0, 2, 0));
}

#[tokio::test]
async fn what_comes_back_comes_before_what_was_behind_it() {
    let world = World::new();
    let url = fifo(&world, &[("VisibilityTimeout", "10")]).await;
    for body in ["1", "2", "3"] {
        world.send_to(&url, "g", body).await;
    }
    let first = world.receive(&url, 2).await;
    world.set_visibility(&url, &handle(&first[1]), 100).await.unwrap();
    world.set_visibility(&url, &handle(&first[0]), 0).await.unwrap();
    // The second is in flight still: nothing of the group is to be had.
    assert!(world.receive(&url, 10).await.is_empty());
    world.advance(100);
    assert_eq!(world.bodies(&url, 10).await, ["1", "2", "3"]);
    let message = format!(
        "Value {} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
        handle(&first[0])
    );
    assert_eq!(world.delete(&url, &handle(&first[0])).await, Err(refusal("InvalidParameterValue", &message)));
}

#[tokio::test]
async fn a_handle_whose_time_is_over_does_not_delete() {
    let world = World::new();
    let url = fifo(&world, &[("VisibilityTimeout", "10")]).await;
    world.send_to(&url, "g", "1").await;
    let got = handle(&world.receive(&url, 1).await[0]);
    world.advance(10);
    assert_eq!(world.delete(&url, &got).await.unwrap_err().0, "InvalidParameterValue");
    let again = handle(&world.receive(&url, 1).await[0]);
    world.delete(&url, &again).await.unwrap();
    world.delete(&url, &again).await.unwrap();
    assert_eq!(world.counts(&url).await, (0, 0, 0));
}

#[tokio::test]
async fn the_same_is_sent_once_within_five_minutes() {
    let world = World::new();
    let url = fifo(&world, &[("ContentBasedDeduplication", "true")]).await;
    let send = |group: &str, body: &str, id: Option<&str>| SendMessageRequest {
        message_group_id: Some(group.to_owned()),
        message_deduplication_id: id.map(str::to_owned),
        ..message(&url, body)
    };
    let first = world.send_message(send("g", "x", None)).await.unwrap();
    let second = world.send_message(send("h", "x", None)).await.unwrap();
    assert_eq!((&first.message_id, &first.sequence_number), (&second.message_id, &second.sequence_number));
    let third = world.send_message(send("g", "x", Some("other"))).await.unwrap();
    assert_ne!(first.message_id, third.message_id);
    assert!(third.sequence_number > first.sequence_number);
    assert_eq!(first.sequence_number.unwrap().len(), 20);
    // Also when it has been received and deleted meanwhile.
    for got in world.receive(&url, 10).await {
        world.delete(&url, &handle(&got)).await.unwrap();
    }
    world.advance(299);
    world.send_message(send("g", "x", None)).await.unwrap();
    assert_eq!(world.counts(&url).await, (0, 0, 0));
    world.advance(1);
    world.send_message(send("g", "x", None)).await.unwrap();
    assert_eq!(world.counts(&url).await, (1, 0, 0));
}

#[tokio::test]
async fn in_high_throughput_mode_groups_have_their_own_deduplication() {
    let world = World::new();
    let settings = [("DeduplicationScope", "messageGroup"), ("FifoThroughputLimit", "perMessageGroupId")];
    let url = fifo(&world, &settings).await;
    for group in ["a", "b", "a"] {
        let request = SendMessageRequest {
            message_group_id: Some(group.to_owned()),
            message_deduplication_id: Some("same".to_owned()),
            ..message(&url, "x")
        };
        world.send_message(request).await.unwrap();
    }
    assert_eq!(world.counts(&url).await, (2, 0, 0));
    let refused = world.set(&url, &[("DeduplicationScope", "queue")]).await.unwrap_err();
    assert_eq!(refused.0, "InvalidAttributeValue");
}

#[tokio::test]
async fn a_repeated_attempt_gets_the_same_again() {
    let world = World::new();
    let url = fifo(&world, &[("VisibilityTimeout", "30")]).await;
    for body in ["1", "2"] {
        world.send_to(&url, "g", body).await;
    }
    let attempt = |id: &str| ReceiveMessageRequest {
        max_number_of_messages: Some(10),
        receive_request_attempt_id: Some(id.to_owned()),
        ..ask(&url)
    };
    let first = world.receive_message(attempt("a")).await.unwrap().messages.unwrap();
    world.advance(20);
    let again = world.receive_message(attempt("a")).await.unwrap().messages.unwrap();
    assert_eq!(first, again);
    assert_eq!(world.receive_message(attempt("b")).await.unwrap().messages, None);
    // Its visibility began anew.
    world.advance(20);
    assert_eq!(world.counts(&url).await, (0, 2, 0));
    world.delete(&url, &handle(&again[0])).await.unwrap();
    world.advance(10);
    let later = world.receive_message(attempt("a")).await.unwrap().messages.unwrap();
    assert_eq!(bodies(&later), ["2"]);
    assert_ne!(later[0].receipt_handle, again[1].receipt_handle);
}

#[tokio::test]
async fn a_delayed_first_message_holds_its_group_back() {
    let world = World::new();
    let url = fifo(&world, &[("DelaySeconds", "10")]).await;
    world.send_to(&url, "g", "1").await;
    world.advance(5);
    world.send_to(&url, "g", "2").await;
    assert_eq!(world.counts(&url).await, (0, 0, 2));
    assert!(world.receive(&url, 10).await.is_empty());
    world.advance(5);
    let first = world.receive(&url, 10).await;
    assert_eq!(bodies(&first), ["1"]);
    world.advance(5);
    assert!(world.receive(&url, 10).await.is_empty());
    world.delete(&url, &handle(&first[0])).await.unwrap();
    assert_eq!(world.bodies(&url, 10).await, ["2"]);
}

#[tokio::test]
async fn what_a_fifo_queue_wants_of_a_message() {
    let world = World::new();
    let url = fifo(&world, &[]).await;
    let missing = "The request must contain the parameter MessageGroupId.";
    assert_eq!(world.send_message(message(&url, "x")).await.unwrap_err(), refusal("MissingParameter", missing));
    let grouped = SendMessageRequest { message_group_id: Some("g".to_owned()), ..message(&url, "x") };
    let deduplication =
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly";
    assert_eq!(world.send_message(grouped.clone()).await.unwrap_err(), refusal("InvalidParameterValue", deduplication));
    let delay = "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for \
                 this queue type.";
    let delayed = SendMessageRequest {
        message_deduplication_id: Some("d".to_owned()),
        delay_seconds: Some(2),
        ..grouped.clone()
    };
    assert_eq!(world.send_message(delayed).await.unwrap_err(), refusal("InvalidParameterValue", delay));
    for id in ["", "a b", "ü"] {
        let request = SendMessageRequest { message_deduplication_id: Some(id.to_owned()), ..grouped.clone() };
        assert_eq!(world.send_message(request).await.unwrap_err().0, "InvalidParameterValue", "{id}");
    }
}
