//! When schedules fire: zones, windows, starts and ends, what was missed.

use model_scheduler::*;

use crate::support::{World, at, changed, days, minutes, to_queue};

/// A schedule that tells a function its scheduled time.
fn to_function(name: &str, expression: &str) -> CreateScheduleInput {
    let arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{name}");
    let mut request = to_queue(name, expression, &arn);
    request.target.input = Some(format!("\"{name} <aws.scheduler.scheduled-time>\""));
    request
}

/// The times that a function was told.
fn told(world: &World, name: &str) -> Vec<String> {
    let taken = world.functions.taken.lock().unwrap();
    let texts = taken.iter().map(|(_, delivery)| String::from_utf8_lossy(&delivery.body).into_owned());
    let of_name = |text: String| Some(text.strip_prefix(&format!("\"{name} "))?.trim_end_matches('"').to_owned());
    texts.filter_map(of_name).collect()
}

#[tokio::test]
async fn a_year_of_days_in_several_zones_knows_every_change_of_the_clocks() {
    let world = World::new();
    for (zone, expression) in [
        ("Europe/Berlin", "cron(30 2 * * ? *)"),
        ("America/New_York", "cron(30 2 * * ? *)"),
        ("Australia/Lord_Howe", "cron(15 2 * * ? *)"),
        ("Asia/Kolkata", "cron(30 2 * * ? *)"),
    ] {
        let name = zone.replace('/', "-");
        let request = CreateScheduleInput {
            schedule_expression_timezone: Some(zone.to_owned()),
            ..to_function(&name, expression)
        };
        world.create(request).await.unwrap();
    }
    world.pass(days(365)).await;
    for (name, count, passed_over, first_of_summer, first_of_winter) in [
        // 02:30 does not exist on the 29th of March and comes twice on the 25th of October.
        ("Europe-Berlin", 364, Some("2026-03-29"), "2026-03-30T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("America-New_York", 364, Some("2026-03-08"), "2026-03-09T06:30:00Z", "2026-11-02T07:30:00Z"),
        // Half an hour, and the other way round.
        ("Australia-Lord_Howe", 364, Some("2026-10-03"), "2026-10-04T15:15:00Z", "2026-04-05T15:45:00Z"),
        ("Asia-Kolkata", 365, None, "2026-03-29T21:00:00Z", "2026-10-25T21:00:00Z"),
    ] {
        let fired = told(&world, name);
        assert_eq!(fired.len(), count, "{name}");
        assert!(passed_over.is_none_or(|day| !fired.iter().any(|time| time.starts_with(day))), "{name}");
        for time in [first_of_summer, first_of_winter] {
            assert!(fired.iter().any(|fired| fired == time), "{name} {time}");
        }
        let mut sorted = fired.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), count, "{name}: none fires twice");
    }
}

#[tokio::test]
async fn a_year_of_quarter_hours_fires_each_once() {
    let world = World::new();
    world.create(to_function("s", "cron(*/15 * * * ? *)")).await.unwrap();
    world.pass(days(365)).await;
    let fired = told(&world, "s");
    assert_eq!(fired.len(), 365 * 96);
    for pair in fired.windows(2) {
        assert_eq!(at(&pair[1]).since(at(&pair[0])), minutes(15));
    }
}

#[tokio::test]
async fn a_rate_begins_at_once_or_at_its_start_and_ends_at_its_end() {
    let world = World::new();
    let queue = world.queue("q").await;
    let request = CreateScheduleInput {
        end_date: Some(at("2026-01-01T00:10:30Z")),
        ..to_queue("now", "rate(5 minutes)", &queue)
    };
    world.create(request).await.unwrap();
    let later = world.queue("later").await;
    let request = CreateScheduleInput {
        start_date: Some(at("2026-01-01T00:20:00Z")),
        ..to_queue("later", "rate(30 minutes)", &later)
    };
    world.create(request).await.unwrap();
    world.pass(minutes(60)).await;
    assert_eq!(world.bodies("q").await, ["2026-01-01T00:00:30Z", "2026-01-01T00:05:30Z", "2026-01-01T00:10:30Z"]);
    assert_eq!(world.bodies("later").await, ["2026-01-01T00:20:00Z", "2026-01-01T00:50:00Z"]);
}

#[tokio::test]
async fn what_came_due_while_the_server_was_down_fires_once() {
    let world = World::new();
    for (name, expression) in
        [("often", "rate(1 minute)"), ("daily", "cron(0 3 * * ? *)"), ("once", "at(2026-01-01T02:00:00)")]
    {
        let queue = world.queue(name).await;
        world.create(to_queue(name, expression, &queue)).await.unwrap();
    }
    world.settle().await;
    assert_eq!(world.bodies("often").await, ["2026-01-01T00:00:30Z"]);
    world.be_down(minutes(600));
    world.settle().await;
    assert_eq!(world.bodies("often").await, ["2026-01-01T10:00:30Z"], "the last of those that were missed");
    assert_eq!(world.bodies("daily").await, ["2026-01-01T03:00:00Z"]);
    assert_eq!(world.bodies("once").await, ["2026-01-01T02:00:00Z"]);
    world.pass(days(1)).await;
    assert_eq!(world.bodies("daily").await, ["2026-01-02T03:00:00Z"]);
    assert_eq!(world.bodies("once").await, Vec::<String>::new());
    assert_eq!(world.bodies("often").await.len(), 24 * 60);
}

#[tokio::test]
async fn what_is_older_than_events_may_be_becomes_a_dead_letter() {
    let world = World::new();
    let (queue, dead) = (world.queue("q").await, world.queue("dead").await);
    let mut request = to_queue("once", "at(2026-01-01T02:00:00)", &queue);
    request.target.dead_letter_config = Some(DeadLetterConfig { arn: Some(dead) });
    request.target.retry_policy =
        Some(RetryPolicy { maximum_event_age_in_seconds: Some(3600), maximum_retry_attempts: None });
    world.create(request).await.unwrap();
    world.be_down(minutes(200));
    world.settle().await;
    assert_eq!(world.bodies("q").await, Vec::<String>::new());
    let letters = world.messages("dead").await;
    let condition = crate::support::attribute(&letters[0], "EXHAUSTED_RETRY_CONDITION");
    assert_eq!((letters.len(), condition.as_deref()), (1, Some("MaximumEventAgeInSeconds")));
}

#[tokio::test]
async fn a_flexible_window_spreads_what_is_due_at_one_time() {
    let world = World::new();
    let queue = world.queue("q").await;
    for index in 0..200 {
        let request = CreateScheduleInput {
            flexible_time_window: FlexibleTimeWindow {
                mode: FlexibleTimeWindowMode::Flexible,
                maximum_window_in_minutes: Some(10),
            },
            ..to_queue(&format!("s{index}"), "at(2026-01-01T01:00:00)", &queue)
        };
        world.create(request).await.unwrap();
    }
    world.env.advance(at("2026-01-01T00:59:59Z").since(world.env.now()));
    let mut each_minute = Vec::new();
    for _ in 0..11 {
        world.pass(minutes(1)).await;
        each_minute.push(world.bodies("q").await.len());
    }
    assert_eq!(each_minute.iter().sum::<usize>(), 200, "all within the window");
    assert!(each_minute.iter().take(10).all(|count| (5..50).contains(count)), "{each_minute:?}");
}

#[tokio::test]
async fn a_completed_schedule_is_deleted_when_it_says_so() {
    let world = World::new();
    let queue = world.queue("q").await;
    let deleted = |name: &str, expression: &str| CreateScheduleInput {
        action_after_completion: Some(ActionAfterCompletion::Delete),
        ..to_queue(name, expression, &queue)
    };
    world.create(deleted("once", "at(2026-01-01T01:00:00)")).await.unwrap();
    let ends = Some(at("2026-01-01T00:02:00Z"));
    world.create(CreateScheduleInput { end_date: ends, ..deleted("ends", "rate(1 minute)") }).await.unwrap();
    world.create(deleted("goes-on", "rate(1 day)")).await.unwrap();
    world.create(to_queue("kept", "at(2026-01-01T01:00:00)", &queue)).await.unwrap();
    world.pass(minutes(61)).await;
    let names: Vec<_> = world.list(ListSchedulesInput::default()).await.unwrap().schedules;
    let names: Vec<_> = names.into_iter().filter_map(|schedule| schedule.name).collect();
    assert_eq!(names, ["goes-on", "kept"]);
    // One that is over can be given another time.
    world.bodies("q").await;
    world.update(changed(to_queue("kept", "at(2026-01-01T02:00:00)", &queue))).await.unwrap();
    world.pass(minutes(60)).await;
    assert_eq!(world.bodies("q").await, ["2026-01-01T02:00:00Z"]);
    assert!(world.env.now() >= at("2026-01-01T02:00:00Z"));
}
