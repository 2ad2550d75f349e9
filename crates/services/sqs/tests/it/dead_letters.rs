//! Dead-letter queues and move tasks.

use model_sqs::*;

use crate::support::{World, arn, handle, refusal, system};

fn redrive(target: &str, receives: u32) -> String {
    format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{receives}}}"#, arn(target))
}

#[tokio::test]
async fn a_message_that_nobody_can_process_goes_to_the_dead_letter_queue() {
    let world = World::new();
    let dead = world.create("dead", &[]).await;
    let url = world.create("q", &[("RedrivePolicy", &redrive("dead", 2)), ("VisibilityTimeout", "1")]).await;
    let id = world.send(&url, "poison").await;
    for _ in 0..2 {
        assert_eq!(world.bodies(&url, 10).await, ["poison"]);
        world.advance(1);
    }
    world.send(&url, "good").await;
    assert_eq!(world.bodies(&url, 10).await, ["good"]);
    assert_eq!((world.counts(&url).await, world.counts(&dead).await), ((0, 1, 0), (1, 0, 0)));
    let got = world.receive(&dead, 10).await;
    assert_eq!(got[0].message_id.as_ref(), Some(&id));
    assert_eq!(system(&got[0], "DeadLetterQueueSourceArn"), Some(arn("q")));
    assert_eq!(system(&got[0], "ApproximateReceiveCount").as_deref(), Some("3"));
    assert_eq!(system(&got[0], "SentTimestamp").as_deref(), Some("1795435200000"));
    let sources = world.list_sources(ListDeadLetterSourceQueuesRequest { queue_url: dead, ..Default::default() }).await;
    assert_eq!(sources.unwrap().queue_urls, [url]);
}

#[tokio::test]
async fn a_fifo_group_goes_on_behind_a_dead_letter() {
    let world = World::new();
    let dead = world.create("dead.fifo", &[("FifoQueue", "true")]).await;
    let policy = redrive("dead.fifo", 1);
    let settings = [("FifoQueue", "true"), ("RedrivePolicy", policy.as_str()), ("VisibilityTimeout", "1")];
    let url = world.create("q.fifo", &settings).await;
    for body in ["1", "2"] {
        world.send_to(&url, "g", body).await;
    }
    assert_eq!(world.bodies(&url, 1).await, ["1"]);
    world.advance(1);
    assert_eq!(world.bodies(&url, 10).await, ["2"]);
    assert_eq!(world.bodies(&dead, 10).await, ["1"]);
}

#[tokio::test]
async fn what_a_redrive_policy_may_not_say_is_refused() {
    let world = World::new();
    let url = world.create("q", &[]).await;
    world.create("closed", &[("RedriveAllowPolicy", r#"{"redrivePermission":"denyAll"}"#)]).await;
    world
        .create(
            "some",
            &[(
                "RedriveAllowPolicy",
                &format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":["{}"]}}"#, arn("q")),
            )],
        )
        .await;
    for policy in [
        "{".to_owned(),
        "{}".to_owned(),
        format!(r#"{{"deadLetterTargetArn":"{}"}}"#, arn("some")),
        redrive("none", 1),
        redrive("some", 0),
        redrive("some", 1001),
        redrive("closed", 1),
        redrive("q.fifo", 1),
        r#"{"deadLetterTargetArn":"arn:aws:sns:us-east-1:000000000000:some","maxReceiveCount":1}"#.to_owned(),
    ] {
        let refused = world.set(&url, &[("RedrivePolicy", &policy)]).await.unwrap_err();
        assert_eq!(refused.0, "InvalidParameterValue", "{policy}");
    }
    world.set(&url, &[("RedrivePolicy", &redrive("some", 5))]).await.unwrap();
    assert_eq!(world.attribute(&url, "RedrivePolicy").await, Some(redrive("some", 5)));
    let other = world.create("other", &[]).await;
    assert!(world.set(&other, &[("RedrivePolicy", &redrive("some", 5))]).await.is_err());
    world.set(&url, &[("RedrivePolicy", "")]).await.unwrap();
    assert_eq!(world.attribute(&url, "RedrivePolicy").await, None);
}

async fn dead_letters(world: &World, count: usize) -> (String, String) {
    let dead = world.create("dead", &[]).await;
    let url = world.create("q", &[("RedrivePolicy", &redrive("dead", 1)), ("VisibilityTimeout", "1")]).await;
    for number in 0..count {
        world.send(&url, &number.to_string()).await;
    }
    let mut seen = 0;
    while seen < count {
        seen += world.receive(&url, 10).await.len();
    }
    world.advance(1);
    while world.counts(&dead).await.0 < count as u64 {
        world.receive(&url, 10).await;
    }
    (url, dead)
}

fn start(destination: Option<&str>, per_second: Option<i32>) -> StartMessageMoveTaskRequest {
    StartMessageMoveTaskRequest {
        source_arn: arn("dead"),
        destination_arn: destination.map(arn),
        max_number_of_messages_per_second: per_second,
    }
}

async fn newest(world: &World) -> ListMessageMoveTasksResultEntry {
    let request = ListMessageMoveTasksRequest { source_arn: arn("dead"), max_results: None };
    world.list_moves(request).await.unwrap().results.unwrap().remove(0)
}

#[tokio::test]
async fn dead_letters_go_back_to_where_they_came_from() {
    let world = World::new();
    let (url, dead) = dead_letters(&world, 25).await;
    world.start_move(start(None, None)).await.unwrap();
    let twice =
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.";
    assert_eq!(world.start_move(start(None, None)).await.unwrap_err(), refusal("InvalidParameterValue", twice));
    world.reconcile().await;
    let task = newest(&world).await;
    assert_eq!(task.status.as_deref(), Some("COMPLETED"));
    assert_eq!(task.approximate_number_of_messages_moved, Some(25));
    assert_eq!(task.approximate_number_of_messages_to_move, Some(25));
    assert_eq!(task.task_handle, None);
    assert_eq!((world.counts(&dead).await.0, world.counts(&url).await.0), (0, 25));
    let got = world.receive(&url, 1).await;
    assert_eq!(system(&got[0], "ApproximateReceiveCount").as_deref(), Some("1"));
    assert_eq!(system(&got[0], "DeadLetterQueueSourceArn"), None);
    world.delete(&url, &handle(&got[0])).await.unwrap();
}

#[tokio::test]
async fn a_move_keeps_to_its_rate_and_can_be_cancelled() {
    let world = World::new();
    let (_, dead) = dead_letters(&world, 10).await;
    world.create("elsewhere", &[]).await;
    let task = world.start_move(start(Some("elsewhere"), Some(2))).await.unwrap().task_handle.unwrap();
    world.reconcile().await;
    assert_eq!(newest(&world).await.task_handle.as_ref(), Some(&task));
    assert_eq!(world.counts(&dead).await.0, 8);
    let cancelled = world.cancel_move(CancelMessageMoveTaskRequest { task_handle: task.clone() }).await.unwrap();
    assert_eq!(cancelled.approximate_number_of_messages_moved, Some(2));
    world.reconcile().await;
    assert_eq!(newest(&world).await.status.as_deref(), Some("CANCELLED"));
    assert_eq!(world.counts(&dead).await.0, 8);
    for (handle, code) in [
        ("nonsense", "InvalidParameterValue"),
        (task.as_str(), "InvalidParameterValue"),
        // {"taskId":"x","sourceArn":"arn:aws:sqs:us-east-1:000000000000:dead"}
        (
            "eyJ0YXNrSWQiOiJ4Iiwic291cmNlQXJuIjoiYXJuOmF3czpzcXM6dXMtZWFzdC0xOjAwMDAwMDAwMDAwMDpkZWFkIn0=",
            "ResourceNotFoundException",
        ),
    ] {
        let request = CancelMessageMoveTaskRequest { task_handle: handle.to_owned() };
        assert_eq!(world.cancel_move(request).await.unwrap_err().0, code, "{handle}");
    }
}

#[tokio::test]
async fn a_move_that_cannot_be_done_says_why() {
    let world = World::new();
    let (_, dead) = dead_letters(&world, 2).await;
    let elsewhere = world.create("elsewhere", &[]).await;
    let missing = "The resource that you specified for the DestinationArn parameter doesn't exist.";
    assert_eq!(
        world.start_move(start(Some("nowhere"), None)).await.unwrap_err(),
        refusal("ResourceNotFoundException", missing)
    );
    let source = StartMessageMoveTaskRequest { source_arn: arn("elsewhere"), ..Default::default() };
    let not_dead = "Source queue must be configured as a Dead Letter Queue.";
    assert_eq!(world.start_move(source).await.unwrap_err(), refusal("InvalidParameterValue", not_dead));
    world.start_move(start(Some("elsewhere"), None)).await.unwrap();
    world.call(Request::DeleteQueue(Box::new(DeleteQueueRequest { queue_url: elsewhere }))).await.unwrap();
    world.reconcile().await;
    let task = newest(&world).await;
    assert_eq!(task.status.as_deref(), Some("FAILED"));
    assert_eq!(task.failure_reason.as_deref(), Some("AWS.SimpleQueueService.NonExistentQueue"));
    // What was sent to it directly came from nowhere.
    world.advance(1);
    world.call(Request::PurgeQueue(Box::new(PurgeQueueRequest { queue_url: dead.clone() }))).await.unwrap();
    world.send(&dead, "direct").await;
    world.start_move(start(None, None)).await.unwrap();
    world.reconcile().await;
    assert_eq!(newest(&world).await.failure_reason.as_deref(), Some("CouldNotDetermineMessageSource"));
    assert_eq!(world.counts(&dead).await.0, 1);
}
