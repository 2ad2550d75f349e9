//! Messages of standard queues.

use std::collections::BTreeMap;

use bytes::Bytes;
use model_sqs::*;

use crate::support::{World, ask, bodies, handle, message, refusal, system};

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    let attribute = |kind: &str, text: Option<&str>, bytes: Option<&'static [u8]>| MessageAttributeValue {
        data_type: kind.to_owned(),
        string_value: text.map(str::to_owned),
        binary_value: bytes.map(Bytes::from_static),
        ..Default::default()
    };
    let attributes = BTreeMap::from([
        ("Foo".to_owned(), attribute("String", Some("Bar"), None)),
        ("n".to_owned(), attribute("Number.int", Some("12"), None)),
        ("b".to_owned(), attribute("Binary", None, Some(b"\x00\xff"))),
    ]);
    let request = SendMessageRequest { message_attributes: Some(attributes.clone()), ..message(&url, "msg") };
    let sent = world.send_message(request).await.unwrap();
    assert_eq!(sent.md5_of_message_body.as_deref(), Some("6e2baaf3b97dbeef01c0043275f9a0e7"));
    assert_eq!(sent.sequence_number, None);
    let got = world.receive(&url, 10).await;
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].message_id.clone(), got[0].body.as_deref()), (sent.message_id, Some("msg")));
    assert_eq!(got[0].md5_of_message_attributes, sent.md5_of_message_attributes);
    assert_eq!(got[0].message_attributes, Some(attributes));
    for (name, value) in [
        ("SenderId", Some("000000000000")),
        ("SentTimestamp", Some("1795435200000")),
        ("ApproximateReceiveCount", Some("1")),
        ("ApproximateFirstReceiveTimestamp", Some("1795435200000")),
        ("SequenceNumber", None),
    ] {
        assert_eq!(system(&got[0], name).as_deref(), value, "{name}");
    }
    assert_eq!(world.counts(&url).await, (0, 1, 0));
    world.delete(&url, &handle(&got[0])).await.unwrap();
    assert_eq!(world.counts(&url).await, (0, 0, 0));
    world.delete(&url, &handle(&got[0])).await.unwrap();
    world.advance(31);
    assert!(world.receive(&url, 10).await.is_empty());
}

#[tokio::test]
async fn only_the_attributes_asked_for_come_with_their_own_digest() {
    let world = World::new();
    let url = world.create("q", &[("VisibilityTimeout", "0")]).await;
    let text = |text: &str| MessageAttributeValue {
        data_type: "String".to_owned(),
        string_value: Some(text.to_owned()),
        ..Default::default()
    };
    let attributes = BTreeMap::from([("Foo".to_owned(), text("Bar")), ("Foo.more".to_owned(), text("x"))]);
    world
        .send_message(SendMessageRequest { message_attributes: Some(attributes), ..message(&url, "m") })
        .await
        .unwrap();
    for (asked, count, digest) in [
        (vec![], 0, None),
        (vec!["Foo"], 1, Some("ae7155c6026991b6d54b11589678bf9c")),
        (vec!["Foo.*"], 2, None),
        (vec!["Other"], 0, None),
        (vec!["All"], 2, None),
        (vec![".*"], 2, None),
    ] {
        let names = asked.iter().map(|name| (*name).to_owned()).collect();
        let request = ReceiveMessageRequest {
            queue_url: url.clone(),
            message_attribute_names: Some(names),
            ..Default::default()
        };
        let got = world.receive_message(request).await.unwrap().messages.unwrap();
        assert_eq!(got[0].message_attributes.as_ref().map_or(0, BTreeMap::len), count, "{asked:?}");
        assert_eq!(got[0].attributes, None);
        if let Some(digest) = digest {
            assert_eq!(got[0].md5_of_message_attributes.as_deref(), Some(digest));
        }
    }
    let request = ReceiveMessageRequest { attribute_names: Some(vec!["Nonsense".to_owned()]), ..ask(&url) };
    assert_eq!(
        world.receive_message(request).await.unwrap_err(),
        refusal("InvalidAttributeName", "Unknown Attribute Nonsense.")
    );
}

#[tokio::test]
async fn what_is_not_deleted_comes_back_and_an_old_handle_does_nothing() {
    let world = World::new();
    let url = world.create("q", &[("VisibilityTimeout", "10")]).await;
    world.send(&url, "a").await;
    let first = world.receive(&url, 1).await;
    world.advance(9);
    assert!(world.receive(&url, 1).await.is_empty());
    world.advance(1);
    assert_eq!(world.counts(&url).await, (1, 0, 0));
    let second = world.receive(&url, 1).await;
    assert_eq!(system(&second[0], "ApproximateReceiveCount").as_deref(), Some("2"));
    assert_eq!(system(&second[0], "ApproximateFirstReceiveTimestamp").as_deref(), Some("1795435200000"));
    world.delete(&url, &handle(&first[0])).await.unwrap();
    assert_eq!(world.counts(&url).await, (0, 1, 0));
    // After its time is over, but before anybody else got it, a handle still deletes.
    world.advance(11);
    world.delete(&url, &handle(&second[0])).await.unwrap();
    assert_eq!(world.counts(&url).await, (0, 0, 0));
}

#[tokio::test]
async fn visibility_can_be_changed_within_bounds() {
    let world = World::new();
    let url = world.create("q", &[("VisibilityTimeout", "10")]).await;
    world.send(&url, "a").await;
    let got = handle(&world.receive(&url, 1).await[0]);
    world.set_visibility(&url, &got, 100).await.unwrap();
    world.advance(50);
    assert!(world.receive(&url, 1).await.is_empty());
    world.set_visibility(&url, &got, 0).await.unwrap();
    let again = handle(&world.receive(&url, 1).await[0]);
    let message = format!(
        "Value {got} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for \
         visibility timeout change."
    );
    assert_eq!(world.set_visibility(&url, &got, 5).await, Err(refusal("InvalidParameterValue", &message)));
    let message =
        "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200, if provided.";
    assert_eq!(world.set_visibility(&url, &again, 43_201).await, Err(refusal("InvalidParameterValue", message)));
    world.set_visibility(&url, &again, 43_000).await.unwrap();
    world.advance(300);
    let message = "Value 43000 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message \
                   is beyond the limit [43200 seconds]";
    assert_eq!(world.set_visibility(&url, &again, 43_000).await, Err(refusal("InvalidParameterValue", message)));
    assert_eq!(world.set_visibility(&url, "nonsense", 1).await.unwrap_err().0, "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn delayed_messages_are_counted_apart_and_come_in_time() {
    let world = World::new();
    let url = world.create("q", &[("DelaySeconds", "5")]).await;
    world.send(&url, "queue's").await;
    world.send_message(SendMessageRequest { delay_seconds: Some(0), ..message(&url, "none") }).await.unwrap();
    world.send_message(SendMessageRequest { delay_seconds: Some(60), ..message(&url, "own") }).await.unwrap();
    assert_eq!(world.counts(&url).await, (1, 0, 2));
    assert_eq!(world.bodies(&url, 10).await, ["none"]);
    world.advance(5);
    assert_eq!(world.counts(&url).await, (1, 1, 1));
    assert_eq!(world.bodies(&url, 10).await, ["queue's"]);
    world.advance(25);
    assert_eq!(world.bodies(&url, 10).await, ["none"]);
    world.advance(30);
    assert!(world.bodies(&url, 10).await.contains(&"own".to_owned()));
    let message = "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.";
    let request = SendMessageRequest { delay_seconds: Some(901), ..crate::support::message(&url, "x") };
    assert_eq!(world.send_message(request).await.unwrap_err(), refusal("InvalidParameterValue", message));
}

/// Whether a receive goes on waiting when everybody else has had a turn.
async fn still_waits(mut waiting: std::pin::Pin<&mut impl Future<Output = Vec<Message>>>) -> bool {
    for _ in 0..10 {
        let ended = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await;
        if ended {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn a_receiver_waits_until_something_comes_or_becomes_due() {
    let world = World::new();
    let url = world.create("q", &[("ReceiveMessageWaitTimeSeconds", "20")]).await;
    // Nothing comes: the wait ends by itself, and not before.
    let waiting = world.receive(&url, 1);
    tokio::pin!(waiting);
    assert!(still_waits(waiting.as_mut()).await);
    world.advance(19);
    assert!(still_waits(waiting.as_mut()).await);
    world.advance(1);
    assert!(waiting.await.is_empty());
    // Something is due in five seconds.
    world.send_message(SendMessageRequest { delay_seconds: Some(5), ..message(&url, "late") }).await.unwrap();
    let waiting = world.receive(&url, 1);
    tokio::pin!(waiting);
    assert!(still_waits(waiting.as_mut()).await);
    world.advance(5);
    assert_eq!(bodies(&waiting.await), ["late"]);
    // The server is to end.
    let other = World::new();
    let quiet = other.create("q", &[("ReceiveMessageWaitTimeSeconds", "20")]).await;
    let waiting = other.receive(&quiet, 1);
    tokio::pin!(waiting);
    assert!(still_waits(waiting.as_mut()).await);
    other.sqs.end_waits();
    assert!(waiting.await.is_empty());
    // Somebody sends.
    let (got, _) = tokio::join!(world.receive(&url, 1), async {
        tokio::task::yield_now().await;
        world.send(&url, "now").await
    });
    assert_eq!(bodies(&got), ["now"]);
    let request = ReceiveMessageRequest { wait_time_seconds: Some(0), ..ask(&url) };
    assert_eq!(world.receive_message(request).await.unwrap().messages, None);
}

#[tokio::test]
async fn messages_expire_with_their_retention() {
    let world = World::new();
    let url = world.create("q", &[("MessageRetentionPeriod", "60"), ("VisibilityTimeout", "30")]).await;
    for number in 0..250 {
        world.send(&url, &number.to_string()).await;
    }
    assert_eq!(world.receive(&url, 10).await.len(), 10);
    world.advance(30);
    world.send(&url, "younger").await;
    world.reconcile().await;
    assert_eq!(world.counts(&url).await, (251, 0, 0));
    world.advance(30);
    world.reconcile().await;
    assert_eq!(world.counts(&url).await, (1, 0, 0));
    assert_eq!(world.bodies(&url, 10).await, ["younger"]);
    world.advance(30);
    world.reconcile().await;
    assert_eq!(world.counts(&url).await, (0, 0, 0));
    // A receiver does not see what has expired, even before anybody tidies up.
    world.send(&url, "old").await;
    world.advance(60);
    assert!(world.receive(&url, 10).await.is_empty());
}

#[tokio::test]
async fn batches_succeed_and_fail_entry_by_entry() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    let entry = |id: &str, body: &str| SendMessageBatchRequestEntry {
        id: id.to_owned(),
        message_body: body.to_owned(),
        ..Default::default()
    };
    let batch =
        |entries: Vec<SendMessageBatchRequestEntry>| SendMessageBatchRequest { queue_url: url.clone(), entries };
    let late = SendMessageBatchRequestEntry { delay_seconds: Some(1000), ..entry("c", "3") };
    let sent = world.send_batch(batch(vec![entry("a", "1"), entry("b", "\u{1}"), late])).await.unwrap();
    assert_eq!(sent.successful.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["a"]);
    let failed: Vec<_> = sent.failed.iter().map(|entry| (entry.id.as_str(), entry.code.as_str())).collect();
    assert_eq!(failed, [("b", "InvalidMessageContents"), ("c", "InvalidParameterValue")]);
    for (entries, code) in [
        (vec![], "AWS.SimpleQueueService.EmptyBatchRequest"),
        ((0..11).map(|n| entry(&n.to_string(), "x")).collect(), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        (vec![entry("a", "x"), entry("a", "y")], "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        (vec![entry("a:b", "x")], "AWS.SimpleQueueService.InvalidBatchEntryId"),
        (vec![entry(&"a".repeat(81), "x")], "AWS.SimpleQueueService.InvalidBatchEntryId"),
    ] {
        assert_eq!(world.send_batch(batch(entries)).await.unwrap_err().0, code);
    }
    let large = "x".repeat(524_288);
    let message = "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.";
    let entries = vec![entry("a", &large), entry("b", &format!("{large}x"))];
    assert_eq!(
        world.send_batch(batch(entries)).await.unwrap_err(),
        refusal("AWS.SimpleQueueService.BatchRequestTooLong", message)
    );
    let got = world.receive(&url, 10).await;
    let entries = vec![
        DeleteMessageBatchRequestEntry { id: "ok".to_owned(), receipt_handle: handle(&got[0]) },
        DeleteMessageBatchRequestEntry { id: "bad".to_owned(), receipt_handle: "x".to_owned() },
    ];
    let deleted = world.delete_batch(DeleteMessageBatchRequest { queue_url: url.clone(), entries }).await.unwrap();
    assert_eq!((deleted.successful[0].id.as_str(), deleted.failed[0].code.as_str()), ("ok", "ReceiptHandleIsInvalid"));
    assert_eq!(world.counts(&url).await, (0, 0, 0));
}

#[tokio::test]
async fn what_no_message_may_be_is_refused_in_aws_words() {
    let world = World::new();
    let url = world.create("q", &[("MaximumMessageSize", "1024")]).await;
    let size = "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.";
    let too_large = world.send_message(message(&url, &"x".repeat(1025))).await;
    assert_eq!(too_large.unwrap_err(), refusal("InvalidParameterValue", size));
    world.send(&url, &"x".repeat(1024)).await;
    let with = |name: &str, kind: &str, text: &str| SendMessageRequest {
        message_attributes: Some(BTreeMap::from([(
            name.to_owned(),
            MessageAttributeValue {
                data_type: kind.to_owned(),
                string_value: Some(text.to_owned()),
                ..Default::default()
            },
        )])),
        ..message(&url, "x")
    };
    for request in [
        with("a b", "String", "x"),
        with("AWS.x", "String", "x"),
        with(".x", "String", "x"),
        with("x", "Text", "x"),
        with("x", "", "x"),
        with("x", "String", ""),
        with("x", "Binary", "x"),
        with("x", "Number", "twelve"),
        SendMessageRequest { message_deduplication_id: Some("d".to_owned()), ..message(&url, "x") },
    ] {
        assert_eq!(world.send_message(request.clone()).await.unwrap_err().0, "InvalidParameterValue", "{request:?}");
    }
    for (wanted, wait) in [(0, 0), (11, 0), (1, 21), (1, -1)] {
        let request =
            ReceiveMessageRequest { max_number_of_messages: Some(wanted), wait_time_seconds: Some(wait), ..ask(&url) };
        assert_eq!(world.receive_message(request).await.unwrap_err().0, "InvalidParameterValue");
    }
    let message =
        "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.";
    let request = ReceiveMessageRequest { max_number_of_messages: Some(11), ..ask(&url) };
    assert_eq!(world.receive_message(request).await.unwrap_err(), refusal("InvalidParameterValue", message));
    let gone = refusal("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.");
    let nowhere = "http://127.0.0.1:4566/000000000000/none";
    assert_eq!(world.send_message(crate::support::message(nowhere, "x")).await.unwrap_err(), gone);
}

#[tokio::test]
async fn delayed_messages_do_not_hide_what_can_be_received() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    let delayed =
        |number: u32| SendMessageRequest { delay_seconds: Some(60), ..message(&url, &format!("later {number}")) };
    for number in 0..700 {
        world.send_message(delayed(number)).await.unwrap();
    }
    world.send(&url, "now").await;
    world.send_message(delayed(700)).await.unwrap();
    world.send(&url, "now, too").await;
    assert_eq!(world.bodies(&url, 1).await, ["now"]);
    assert_eq!(world.bodies(&url, 10).await, ["now, too"]);
    assert!(world.bodies(&url, 10).await.is_empty());
    world.advance(60);
    assert_eq!(world.bodies(&url, 2).await, ["later 0", "later 1"]);
    assert_eq!(world.counts(&url).await.1, 2, "the first two can be seen again");
}
