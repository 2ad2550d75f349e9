//! Queues as what another service works off.

use std::{sync::Arc, time::Duration};

use base_types::Arn;
use model_sqs::{MessageAttributeValue, SendMessageRequest};
use services_kernel::{Principal, Source};
use services_ports::{Attribute, AttributeValue, DeliveryError, QueueMessage, QueueTraits, Queues, Received};

use crate::support::{World, arn, message};

fn queue(name: &str) -> Arn {
    arn(name).parse().unwrap()
}

impl World {
    /// One step of whoever works a queue off, in a transaction of its own.
    async fn step<T: Send + 'static>(
        &self,
        step: impl Fn(&dyn Queues, &services_kernel::Cx, &store_api::Tx) -> Result<T, DeliveryError> + Send + Sync + 'static,
    ) -> Result<T, String> {
        let (sqs, cx) = (Arc::clone(&self.sqs), self.cx.clone());
        let outcome = self.store.transact(move |tx| match step(&*sqs, &cx, tx) {
            Err(DeliveryError::Fault(fault)) => Err(fault),
            other => Ok(other.map_err(|error| error.to_string())),
        });
        outcome.await.unwrap()
    }

    async fn take(&self, name: &str, most: usize, visibility: Option<Duration>) -> Received {
        let queue = queue(name);
        self.step(move |queues, cx, tx| queues.receive(cx, tx, &queue, most, visibility)).await.unwrap()
    }

    async fn drop_receipts(&self, name: &str, messages: &[QueueMessage]) {
        let (queue, messages) = (queue(name), messages.to_vec());
        let delete = move |queues: &dyn Queues, cx: &_, tx: &_| {
            let receipts: Vec<&str> = messages.iter().map(|message| message.receipt.as_str()).collect();
            queues.delete(cx, tx, &queue, &receipts)
        };
        self.step(delete).await.unwrap();
    }
}

fn texts(received: &Received) -> Vec<&str> {
    received.messages.iter().map(|message| message.body.as_str()).collect()
}

#[tokio::test]
async fn a_queue_tells_what_it_is_and_what_wakes_those_who_wait() {
    let world = World::new();
    world.create("q", &[("VisibilityTimeout", "7")]).await;
    let traits = world.step(|queues, cx, tx| queues.describe(cx, tx, &queue("q"))).await.unwrap();
    assert_eq!(traits, QueueTraits { fifo: false, visibility: Duration::from_secs(7) });
    let missing = world.step(|queues, cx, tx| queues.describe(cx, tx, &queue("none"))).await.unwrap_err();
    assert_eq!(missing, "arn:aws:sqs:us-east-1:000000000000:none does not exist");
    let waiter = world.store.waiter(&world.sqs.topic(&queue("q")).unwrap());
    world.send("http://h/000000000000/q", "m").await;
    waiter.wait().await;
    assert!(world.sqs.topic(&"arn:aws:sns:us-east-1:000000000000:t".parse().unwrap()).is_none());
}

#[tokio::test]
async fn what_is_taken_is_whole_hidden_and_deleted_by_its_receipt() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    let value = |data_type: &str, text: Option<&str>, bytes: Option<&'static [u8]>| MessageAttributeValue {
        data_type: data_type.to_owned(),
        string_value: text.map(str::to_owned),
        binary_value: bytes.map(bytes::Bytes::from_static),
        ..Default::default()
    };
    let attributes = [
        ("n".to_owned(), value("Number.int", Some("7"), None)),
        ("raw".to_owned(), value("Binary", None, Some(&[1, 2]))),
    ];
    let request = SendMessageRequest { message_attributes: Some(attributes.into()), ..message(&url, "body") };
    world.send_message(request).await.unwrap();
    for n in 0..24 {
        world.send(&url, &n.to_string()).await;
    }
    let taken = world.take("q", 100, None).await;
    assert_eq!(taken.messages.len(), 25, "more than the public operation gives");
    let first = &taken.messages[0];
    assert_eq!((first.body.as_str(), first.md5_of_body.as_str()), ("body", "841a2d689ad86bd1611447453c22c6fc"));
    let expected = [
        Attribute { name: "n".into(), data_type: "Number.int".into(), value: AttributeValue::Text("7".into()) },
        Attribute {
            name: "raw".into(),
            data_type: "Binary".into(),
            value: AttributeValue::Binary(bytes::Bytes::from_static(&[1, 2])),
        },
    ];
    assert_eq!(first.attributes, expected);
    assert!(first.md5_of_attributes.is_some());
    assert_eq!(first.system["ApproximateReceiveCount"], "1");
    assert_eq!(first.system["SenderId"], "000000000000");
    assert!(!first.system.contains_key("SequenceNumber"));
    assert_eq!(world.counts(&url).await, (0, 25, 0));
    world.drop_receipts("q", &taken.messages[..24]).await;
    assert_eq!(world.counts(&url).await, (0, 1, 0));
    let empty = world.take("q", 10, None).await;
    assert!(empty.messages.is_empty());
    assert_eq!(empty.next_due.unwrap().since(world.env.now()), Duration::from_secs(30));
    world.advance(30);
    let again = world.take("q", 10, Some(Duration::from_secs(5))).await;
    assert_eq!(again.messages[0].system["ApproximateReceiveCount"], "2");
    // The earlier receipt names nothing any more.
    world.drop_receipts("q", &taken.messages[24..]).await;
    assert_eq!(world.counts(&url).await, (0, 1, 0));
    let receipt = again.messages[0].receipt.clone();
    let hide = move |queues: &dyn Queues, cx: &_, tx: &_| {
        queues.hide(cx, tx, &queue("q"), &[&receipt, "garbage"], Duration::ZERO)
    };
    world.step(hide).await.unwrap();
    assert_eq!(world.counts(&url).await, (1, 0, 0));
}

#[tokio::test]
async fn a_fifo_queue_gives_a_group_in_order_and_nothing_behind_what_is_in_flight() {
    let world = World::new();
    let url = world.create("q.fifo", &[("FifoQueue", "true")]).await;
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2")] {
        world.send_to(&url, group, body).await;
    }
    let first = world.take("q.fifo", 3, None).await;
    assert_eq!(texts(&first), ["a1", "a2", "b1"]);
    assert!(first.messages[0].system.contains_key("SequenceNumber"));
    assert!(world.take("q.fifo", 10, None).await.messages.is_empty());
    world.drop_receipts("q.fifo", &first.messages[2..]).await;
    assert_eq!(texts(&world.take("q.fifo", 10, None).await), ["b2"]);
}

#[tokio::test]
async fn a_service_needs_the_queues_permission() {
    let mut world = World::new();
    world.create("q", &[]).await;
    let source = Source { service: "pipes.amazonaws.com".to_owned(), arn: world.cx.arn("pipes", "pipe/p") };
    world.cx = world.cx.consequence(source);
    let refused = world.step(|queues, cx, tx| queues.receive(cx, tx, &queue("q"), 1, None).map(drop)).await;
    assert_eq!(
        refused.unwrap_err(),
        "User: pipes.amazonaws.com is not authorized to perform: sqs:ReceiveMessage on resource: \
         arn:aws:sqs:us-east-1:000000000000:q because no resource-based policy allows the sqs:ReceiveMessage action"
    );
    let account = world.cx.account;
    let role = Principal::AssumedRole { account, role: "worker".to_owned(), session: "s".to_owned() };
    world.cx.principal = Arc::new(role);
    assert!(world.take("q", 1, None).await.messages.is_empty());
}
