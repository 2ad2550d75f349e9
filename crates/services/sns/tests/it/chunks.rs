//! Topics with more subscribers than a transaction holds.

use services_kernel::Reconciler;

use crate::support::*;

async fn many(world: &World, topic: &str, queues: usize) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..queues {
        let queue = world.queue(&format!("q{number}")).await;
        world.link(topic, &queue, &[("RawMessageDelivery", "true")]).await;
        all.push(queue);
    }
    all
}

#[tokio::test]
async fn up_to_256_have_it_with_the_commit_and_more_by_chunks() {
    let world = World::new();
    let topic = world.topic("t").await;
    let queues = many(&world, &topic, 256).await;
    world.say(&topic, "at once").await;
    for queue in &queues {
        assert_eq!(world.bodies(queue).await, ["at once"], "{queue}");
    }
    let more = world.queue("more").await;
    world.link(&topic, &more, &[("RawMessageDelivery", "true")]).await;
    world.say(&topic, "later").await;
    assert!(world.take(&more).await.is_empty(), "it is an intent so far");
    // Who comes now did not hear it.
    let late = world.queue("late").await;
    world.link(&topic, &late, &[("RawMessageDelivery", "true")]).await;
    world.reconcile().await;
    for queue in queues.iter().chain([&more]) {
        assert_eq!(world.bodies(queue).await, ["later"], "{queue}");
    }
    assert!(world.take(&late).await.is_empty());
}

#[tokio::test]
async fn a_crash_between_chunks_loses_nothing_and_doubles_nothing() {
    let world = World::new();
    let topic = world.topic("t").await;
    let queues = many(&world, &topic, 700).await;
    // The signing key is there: what is cut off is the handing over.
    world.say(&topic, "before").await;
    world.reconcile().await;
    for queue in &queues {
        assert_eq!(world.bodies(queue).await, ["before"], "{queue}");
    }
    for text in ["one", "two"] {
        world.say(&topic, text).await;
    }
    // Each round may be the last of its server: the next is another one over what is on disk.
    let mut rounds = 0;
    loop {
        let survivor = World::over(world.store.clone(), world.env.clone());
        // A round that is cut off after its first transactions.
        let cut = survivor.reconciler.round();
        let mut cut = Box::pin(cut);
        for _ in 0..3 + rounds % 5 {
            if futures_poll(&mut cut).await {
                break;
            }
        }
        drop(cut);
        rounds += 1;
        if rounds > 40 {
            break;
        }
    }
    world.reconcile().await;
    for queue in &queues {
        let mut bodies = world.bodies(queue).await;
        bodies.sort();
        assert_eq!(bodies, ["one", "two"], "{queue}");
    }
}

/// Polls once and lets others go on; true when it is ready.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
    let ready =
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_ready())).await;
    tokio::task::yield_now().await;
    ready
}

#[tokio::test]
async fn topics_take_turns_and_a_deleted_topic_ends_its_intents() {
    let world = World::new();
    let (a, b) = (world.topic("a").await, world.topic("b").await);
    let queues = many(&world, &a, 300).await;
    for queue in &queues {
        world.link(&b, queue, &[("RawMessageDelivery", "true")]).await;
    }
    world.say(&a, "a").await;
    world.say(&b, "b").await;
    world.delete_topic(&a).await.unwrap();
    world.reconcile().await;
    for queue in &queues {
        assert_eq!(world.bodies(queue).await, ["b"], "{queue}");
    }
}
