//! Log groups as targets of other services.

use base_types::{Arn, Fault, Timestamp};
use bytes::Bytes;
use services_kernel::{Cx, Reconciler, Source};
use services_ports::{Deliver, Delivery, DeliveryError, EventFields};

use crate::support::*;

fn group(name: &str) -> Arn {
    format!("arn:aws:logs:us-east-1:000000000000:log-group:{name}").parse().unwrap()
}

/// On behalf of a rule of an account.
fn by_rule(world: &World, account: &str) -> Cx {
    let arn = format!("arn:aws:events:us-east-1:{account}:rule/r").parse().unwrap();
    world.cx.consequence(Source { service: "events.amazonaws.com".to_owned(), arn })
}

async fn deliver(world: &World, cx: Cx, target: Arn, text: &'static str, at: i64) -> Result<(), DeliveryError> {
    let logs = world.logs.clone();
    let time = Some(Timestamp::from_millis(at.cast_unsigned()));
    let event = Some(EventFields { time, ..EventFields::default() });
    let delivery = Delivery { body: Bytes::from_static(text.as_bytes()), event, ..Delivery::default() };
    let told = world
        .store
        .transact(move |tx| match logs.deliver(&cx, tx, &target, &delivery) {
            Err(DeliveryError::Fault(fault)) => Err(fault),
            other => Ok::<_, Fault>(other),
        })
        .await;
    told.unwrap()
}

#[tokio::test]
async fn what_is_delivered_is_a_log_event_after_the_commit() {
    let world = World::new();
    world.create_group("g").await;
    let cx = by_rule(&world, "000000000000");
    deliver(&world, cx.clone(), group("g"), "second", NOW).await.unwrap();
    deliver(&world, cx.clone(), group("g:*"), "first", NOW - 1000).await.unwrap();
    assert!(filtered(&world.filter(of_group("g", "")).await.unwrap()).is_empty());
    let reconciler = world.logs.deliveries();
    reconciler.round().await.unwrap();
    assert_eq!(filtered(&world.filter(of_group("g", "")).await.unwrap()), ["first", "second"]);
    reconciler.round().await.unwrap();
    let page = world.filter(of_group("g", "")).await.unwrap();
    assert_eq!(filtered(&page).len(), 2, "each once");
    let streams: Vec<_> = page.events.iter().flatten().map(|event| event.log_stream_name.clone()).collect();
    assert_eq!(streams[0], streams[1], "one stream for what one rule delivers");
}

#[tokio::test]
async fn what_cannot_be_delivered_is_said() {
    let world = World::new();
    world.create_group("g").await;
    let own = by_rule(&world, "000000000000");
    let missing = deliver(&world, own.clone(), group("none"), "x", NOW).await;
    assert!(matches!(missing, Err(DeliveryError::NotFound(_))));
    let other = deliver(&world, by_rule(&world, "111122223333"), group("g"), "x", NOW).await;
    assert!(matches!(other, Err(DeliveryError::Denied(_))));
    let empty = deliver(&world, own, group("g"), "", NOW).await;
    assert!(matches!(empty, Err(DeliveryError::Refused { .. })));
}

#[tokio::test]
async fn what_was_delivered_to_a_group_that_is_gone_is_forgotten() {
    let world = World::new();
    world.create_group("g").await;
    deliver(&world, by_rule(&world, "000000000000"), group("g"), "x", NOW).await.unwrap();
    let delete = model_logs::DeleteLogGroupRequest { log_group_name: "g".into() };
    world.call(model_logs::Request::DeleteLogGroup(Box::new(delete))).await.unwrap();
    world.create_group("g").await;
    let reconciler = world.logs.deliveries();
    reconciler.round().await.unwrap();
    assert!(filtered(&world.filter(of_group("g", "")).await.unwrap()).is_empty());
    assert_eq!(reconciler.round().await.unwrap(), None);
}
