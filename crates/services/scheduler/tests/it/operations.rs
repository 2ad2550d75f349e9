//! Universal targets: one commit with the operation, retries, dead letters, operations that wait.

use std::time::Duration;

use model_scheduler::*;
use services_ports::OperationError;

use crate::support::{World, attribute, minutes, to_queue};

fn throttled() -> OperationError {
    OperationError::Failed { code: "ThrottlingException".to_owned(), message: "slow down".to_owned(), retryable: true }
}

fn send(name: &str, retries: i32, dead: &str) -> CreateScheduleInput {
    let mut request = to_queue(name, "at(2026-01-01T00:05:00)", "arn:aws:scheduler:::aws-sdk:sqs:sendMessage");
    request.target.input = Some("{\"QueueUrl\":\"q\",\"MessageBody\":\"<aws.scheduler.attempt-number>\"}".to_owned());
    request.target.dead_letter_config = Some(DeadLetterConfig { arn: Some(dead.to_owned()) });
    request.target.retry_policy =
        Some(RetryPolicy { maximum_event_age_in_seconds: None, maximum_retry_attempts: Some(retries) });
    request
}

#[tokio::test]
async fn an_operation_and_the_end_of_its_execution_are_one_commit() {
    let world = World::new();
    world.queue("q").await;
    let dead = world.queue("dead").await;
    // What it wrote before it failed is rolled back with it. The memory store runs each body twice.
    world.queues.refusals.lock().unwrap().extend([throttled(), throttled(), throttled()]);
    world.create(send("s", 10, &dead)).await.unwrap();
    world.pass(minutes(6)).await;
    let bodies = world.bodies("q").await;
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(bodies[0].parse::<u32>().unwrap() > 1, "it was tried again: {bodies:?}");
    assert_eq!(world.bodies("dead").await.len(), 0);
}

#[tokio::test]
async fn retries_come_later_and_later_and_end_in_a_dead_letter() {
    let world = World::new();
    world.queue("q").await;
    let dead = world.queue("dead").await;
    world.queues.refusals.lock().unwrap().extend((0..1000).map(|_| throttled()));
    world.create(send("s", 3, &dead)).await.unwrap();
    world.env.advance(minutes(5));
    let mut pauses: Vec<Duration> = Vec::new();
    while let Some(pause) = world.settle().await {
        pauses.push(pause);
        world.env.advance(pause);
    }
    assert_eq!(pauses.len(), 3, "three retries: {pauses:?}");
    assert!(pauses.windows(2).all(|pair| pair[1] > pair[0]), "{pauses:?}");
    assert_eq!(world.bodies("q").await.len(), 0);
    let letters = world.messages("dead").await;
    let of = |name: &str| attribute(&letters[0], name).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((of("ERROR_CODE").as_str(), of("ERROR_MESSAGE").as_str()), ("ThrottlingException", "slow down"));
    assert_eq!(
        (of("RETRY_ATTEMPTS").as_str(), of("EXHAUSTED_RETRY_CONDITION").as_str()),
        ("3", "MaximumRetryAttempts")
    );
}

#[tokio::test]
async fn what_can_never_succeed_is_not_tried_again() {
    let world = World::new();
    let dead = world.queue("dead").await;
    world.create(send("s", 10, &dead)).await.unwrap();
    world.pass(minutes(6)).await;
    let letters = world.messages("dead").await;
    assert_eq!(attribute(&letters[0], "ERROR_CODE").unwrap(), "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(attribute(&letters[0], "RETRY_ATTEMPTS").unwrap(), "0");
}

#[tokio::test]
async fn an_operation_that_waits_runs_in_the_name_of_the_role_and_its_schedule_goes_afterwards() {
    let world = World::new();
    let mut request = to_queue("s", "at(2026-01-01T00:05:00)", "arn:aws:scheduler:::aws-sdk:lambda:invoke");
    request.target.input = Some("{\"FunctionName\":\"f\"}".to_owned());
    request.action_after_completion = Some(ActionAfterCompletion::Delete);
    world.create(request).await.unwrap();
    world.queues.refusals.lock().unwrap().push_back(throttled());
    world.env.advance(minutes(5));
    for _ in 0..50 {
        world.settle().await;
        tokio::task::yield_now().await;
        world.env.advance(Duration::from_secs(1));
    }
    let flows = world.queues.flows.lock().unwrap().clone();
    assert_eq!(flows.len(), 2, "one failed and was tried again: {flows:?}");
    assert!(flows[0].starts_with("invoke arn:aws:sts::000000000000:assumed-role/starter/"), "{flows:?}");
    assert!(flows[0].ends_with("{\"FunctionName\":\"f\"}"), "{flows:?}");
    let get = world.get_schedule(GetScheduleInput { name: "s".to_owned(), group_name: None }).await;
    assert_eq!(get.unwrap_err().0, "ResourceNotFoundException");
}
