//! What targets get, and what becomes of what they refuse.

use model_scheduler::*;
use serde_json::{Value, json};

use crate::support::{World, attribute, minutes, to_queue};

fn function(name: &str, input: Option<&str>) -> CreateScheduleInput {
    let arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{name}");
    let mut request = to_queue(name, "rate(1 hour)", &arn);
    request.target.input = input.map(str::to_owned);
    request
}

#[tokio::test]
async fn a_function_gets_the_input_or_awss_notification_in_the_name_of_the_role() {
    let world = World::new();
    world.create(function("given", Some("{\"a\":1}"))).await.unwrap();
    world.settle().await;
    world.create(function("plain", None)).await.unwrap();
    world.settle().await;
    let taken = world.functions.taken.lock().unwrap().clone();
    assert_eq!(taken[0].1.body, "{\"a\":1}");
    assert!(taken[0].0.starts_with("arn:aws:sts::000000000000:assumed-role/starter/"), "{}", taken[0].0);
    let mut event: Value = serde_json::from_slice(&taken[1].1.body).unwrap();
    assert!(event["id"].take().as_str().unwrap().len() > 10);
    assert_eq!(
        event,
        json!({
            "version": "0",
            "id": null,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": "000000000000",
            "time": "2026-01-01T00:00:30Z",
            "region": "us-east-1",
            "resources": ["arn:aws:scheduler:us-east-1:000000000000:schedule/default/plain"],
            "detail": "{}",
        })
    );
}

#[tokio::test]
async fn a_bus_gets_an_event_with_its_source_and_type() {
    let world = World::new();
    let mut request = to_queue("e", "rate(1 hour)", "arn:aws:events:us-east-1:000000000000:event-bus/default");
    request.target.input = Some("{\"order\":7}".to_owned());
    request.target.event_bridge_parameters =
        Some(EventBridgeParameters { detail_type: "Tick".to_owned(), source: "clock".to_owned() });
    world.create(request).await.unwrap();
    world.settle().await;
    let (_, delivery) = world.events.taken.lock().unwrap()[0].clone();
    let event = delivery.event.unwrap();
    assert_eq!((event.source.as_str(), event.detail_type.as_str()), ("clock", "Tick"));
    assert_eq!((&delivery.body[..], event.resources.len()), (&b"{\"order\":7}"[..], 1));
}

#[tokio::test]
async fn a_fifo_queue_gets_its_group() {
    let world = World::new();
    let queue = world.queue("q.fifo").await;
    let mut request = to_queue("s", "rate(1 minute)", &queue);
    request.target.sqs_parameters = Some(SqsParameters { message_group_id: Some("g".to_owned()) });
    world.create(request).await.unwrap();
    world.pass(minutes(2)).await;
    let messages = world.messages("q.fifo").await;
    assert_eq!(messages.len(), 3);
    let group = messages[0].attributes.as_ref().unwrap().get("MessageGroupId").unwrap();
    assert_eq!(group, "g");
}

#[tokio::test]
async fn what_a_target_refuses_is_a_dead_letter_at_once() {
    let world = World::new();
    let dead = world.queue("dead").await;
    for (minute, name, arn, code) in [
        ("05", "no-queue", "arn:aws:sqs:us-east-1:000000000000:missing", "AWS.SimpleQueueService.NonExistentQueue"),
        ("10", "no-function", "arn:aws:lambda:us-east-1:000000000000:function:missing", "ResourceNotFoundException"),
        ("15", "no-topics", "arn:aws:sns:us-east-1:000000000000:topic", "NotImplementedException"),
    ] {
        let mut request = to_queue(name, "at(2026-01-01T00:05:00)", arn);
        request.target.input = Some("{\"try\":<aws.scheduler.attempt-number>}".to_owned());
        request.target.dead_letter_config = Some(DeadLetterConfig { arn: Some(dead.clone()) });
        request.schedule_expression = format!("at(2026-01-01T00:{minute}:00)");
        world.create(request).await.unwrap();
        world.pass(minutes(5)).await;
        let letters = world.messages("dead").await;
        assert_eq!(letters.len(), 1, "{name}");
        let letter = &letters[0];
        let of = |name: &str| attribute(letter, name).unwrap_or_default();
        assert_eq!(letter.body.as_deref(), Some("{\"try\":1}"), "{name}");
        assert_eq!(of("ERROR_CODE"), code, "{name}");
        assert_eq!((of("RETRY_ATTEMPTS").as_str(), of("IS_PAYLOAD_TRUNCATED").as_str()), ("0", "false"));
        assert_eq!(of("SCHEDULED_TIME"), format!("2026-01-01T00:{minute}:00Z"));
        assert_eq!(of("SCHEDULE_ARN"), format!("arn:aws:scheduler:us-east-1:000000000000:schedule/default/{name}"));
        assert_eq!(of("TARGET_ARN"), arn);
        assert!(!of("ERROR_MESSAGE").is_empty() && !of("EXECUTION_ID").is_empty());
        assert_eq!(attribute(letter, "EXHAUSTED_RETRY_CONDITION"), None);
    }
}

#[tokio::test]
async fn thousands_that_are_due_at_one_time_all_fire_once() {
    let world = World::new();
    let queue = world.queue("q").await;
    for index in 0..2_000 {
        world.create(to_queue(&format!("s{index}"), "at(2026-01-01T01:00:00)", &queue)).await.unwrap();
    }
    world.env.advance(minutes(60));
    world.settle().await;
    assert_eq!(world.bodies("q").await.len(), 2_000);
    assert_eq!(world.settle().await, None, "nothing is filed any more");
}
