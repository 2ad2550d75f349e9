//! Rules that fire by the clock.

use std::time::Duration;

use serde_json::json;
use services_kernel::Reconciler as _;

use crate::world::*;

#[tokio::test]
async fn a_rate_fires_each_period_from_when_it_was_made() {
    let world = World::new();
    world.ok("PutRule", json!({ "Name": "r", "ScheduleExpression": "rate(5 minutes)" })).await;
    world.target("r", json!({ "Id": "1", "Arn": queue("q") })).await;
    world.target("r", json!({ "Id": "2", "Arn": queue("fixed"), "Input": "{\"a\":1}" })).await;
    world.reconcile().await;
    assert!(world.got(&queue("q")).await.is_empty());
    let next = world.events.schedules().round().await.unwrap();
    assert_eq!(next, Some(Duration::from_secs(300)), "one timer, set for the next");
    for _ in 0..3 {
        world.advance(300);
        world.reconcile().await;
    }
    let got = world.documents(&queue("q")).await;
    let times: Vec<_> = got.iter().map(|event| event["time"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-11-23T12:05:00Z", "2026-11-23T12:10:00Z", "2026-11-23T12:15:00Z"]);
    assert_eq!((&got[0]["detail-type"], &got[0]["source"]), (&"Scheduled Event".into(), &"aws.events".into()));
    assert_eq!(got[0]["resources"], json!(["arn:aws:events:us-east-1:000000000000:rule/r"]));
    assert_eq!(got[0]["detail"], json!({}));
    assert_eq!(world.bodies(&queue("fixed")).await, ["{\"a\":1}"; 3]);
}

#[tokio::test]
async fn what_passed_while_nobody_looked_fires_once() {
    let world = World::new();
    world.ok("PutRule", json!({ "Name": "rate", "ScheduleExpression": "rate(1 minute)" })).await;
    world.ok("PutRule", json!({ "Name": "cron", "ScheduleExpression": "cron(0/10 * * * ? *)" })).await;
    world.target("rate", json!({ "Id": "1", "Arn": queue("rate") })).await;
    world.target("cron", json!({ "Id": "1", "Arn": queue("cron") })).await;
    world.advance(3600);
    world.reconcile().await;
    world.reconcile().await;
    let times = async |name: &str| -> Vec<String> {
        world.documents(&queue(name)).await.iter().map(|event| event["time"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(times("rate").await, ["2026-11-23T12:01:00Z"]);
    assert_eq!(times("cron").await, ["2026-11-23T12:10:00Z"]);
    world.advance(60);
    world.reconcile().await;
    assert_eq!(times("rate").await, ["2026-11-23T12:01:00Z", "2026-11-23T13:01:00Z"]);
}

#[tokio::test]
async fn a_rule_that_is_disabled_or_changed_does_not_fire_as_before() {
    let world = World::new();
    let put = async |schedule: &str| world.ok("PutRule", json!({ "Name": "r", "ScheduleExpression": schedule })).await;
    put("rate(5 minutes)").await;
    world.target("r", json!({ "Id": "1", "Arn": queue("q") })).await;
    world.ok("DisableRule", json!({ "Name": "r" })).await;
    world.advance(600);
    world.reconcile().await;
    assert!(world.got(&queue("q")).await.is_empty());
    world.ok("EnableRule", json!({ "Name": "r" })).await;
    world.advance(299);
    world.reconcile().await;
    assert!(world.got(&queue("q")).await.is_empty(), "the period begins anew");
    put("rate(1 hour)").await;
    world.advance(3599);
    world.reconcile().await;
    assert!(world.got(&queue("q")).await.is_empty());
    world.advance(1);
    world.reconcile().await;
    assert_eq!(world.got(&queue("q")).await.len(), 1);
    world.ok("RemoveTargets", json!({ "Rule": "r", "Ids": ["1"] })).await;
    world.ok("DeleteRule", json!({ "Name": "r" })).await;
    assert_eq!(world.events.schedules().round().await.unwrap(), None);
}

#[tokio::test]
async fn a_year_of_cron_takes_seconds() {
    let world = World::new();
    for (name, schedule) in [
        ("weekdays", "cron(0 18 ? * MON-FRI *)"),
        ("last", "cron(0 0 L * ? *)"),
        ("leap", "cron(0 0 29 2 ? *)"),
        ("hours", "rate(12 hours)"),
    ] {
        world.ok("PutRule", json!({ "Name": name, "ScheduleExpression": schedule })).await;
        world.target(name, json!({ "Id": "1", "Arn": queue(name) })).await;
    }
    let reconciler = world.events.schedules();
    let end = world.env.now() + Duration::from_secs(365 * 24 * 3600);
    while world.env.now() < end {
        let pause = reconciler.round().await.unwrap().unwrap();
        world.env.advance(pause.min(end.since(world.env.now())).max(Duration::from_millis(1)));
    }
    let count = async |name: &str| world.got(&queue(name)).await.len();
    assert_eq!(count("weekdays").await, 261);
    assert_eq!(count("last").await, 12);
    assert_eq!(count("leap").await, 0);
    assert!((729..=730).contains(&count("hours").await));
    let first = &world.documents(&queue("last")).await[0];
    assert_eq!(first["time"], "2026-11-30T00:00:00Z");
}
