//! A process that works on after its leases were given to another. One thread: nothing of the process runs between two steps
//! of a test that do not wait.

use std::time::Duration;

use model_pipes::*;

use crate::support::{World, function, pipe};

#[tokio::test]
async fn a_poller_without_its_lease_hands_nothing_over_until_it_has_it_again() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    world.create(pipe("p", &source, &sink)).await.unwrap();
    world.settle().await;
    world.send("source", "one").await;
    world.settle().await;
    assert_eq!((world.count("source").await, world.count("sink").await), (0, 1));
    let other = world.taken_over("p", 1, Duration::from_secs(31)).await;
    world.send("source", "two").await;
    world.pass(25).await;
    assert_eq!((world.count("source").await, world.count("sink").await), (1, 1), "it is the other one's");
    world.given_back(other).await;
    world.pass(15).await;
    assert_eq!((world.count("source").await, world.count("sink").await), (0, 2));
}

#[tokio::test]
async fn what_a_function_answers_too_late_is_not_handed_over() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let request = CreatePipeRequest { enrichment: Some(function("double")), ..pipe("p", &source, &sink) };
    world.create(request).await.unwrap();
    world.settle().await;
    let (let_go, hold) = tokio::sync::oneshot::channel();
    *world.others.functions.hold.lock().unwrap() = Some(hold);
    world.send("source", "one").await;
    world.settle().await;
    assert_eq!(world.others.functions.asked.lock().unwrap().len(), 1);
    let other = world.taken_over("p", 5, Duration::from_secs(2001)).await;
    world.others.functions.answer("[{\"late\":true}]");
    drop(let_go);
    world.pass(10).await;
    assert_eq!((world.count("source").await, world.count("sink").await), (1, 0), "its batch is the other one's");
    world.given_back(other).await;
    world.others.functions.answer("[{\"again\":true}]");
    world.pass(15).await;
    assert_eq!((world.count("source").await, world.count("sink").await), (0, 1));
    assert_eq!(world.others.functions.asked.lock().unwrap().len(), 2);
}
