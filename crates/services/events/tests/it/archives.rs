//! Archives and replays.

use serde_json::{Value, json};

use crate::world::*;

const BUS: &str = "arn:aws:events:us-east-1:000000000000:event-bus/default";
const ARCHIVE: &str = "arn:aws:events:us-east-1:000000000000:archive/all";

fn at(time: u64, n: u64) -> Value {
    json!({ "Source": "s", "DetailType": "t", "Detail": json!({ "n": n }).to_string(), "Time": time })
}

fn seconds() -> u64 {
    NOW / 1000
}

#[tokio::test]
async fn an_archive_keeps_what_it_asks_for_as_long_as_it_says() {
    let world = World::new();
    let given = json!({
        "ArchiveName": "some", "EventSourceArn": BUS, "Description": "d", "RetentionDays": 2,
        "EventPattern": "{\"detail\":{\"n\":[{\"numeric\":[\"<\",5]}]}}",
    });
    let made = world.ok("CreateArchive", given).await;
    assert_eq!(
        (&made["State"], &made["ArchiveArn"]),
        (&"ENABLED".into(), &"arn:aws:events:us-east-1:000000000000:archive/some".into())
    );
    let entries: Vec<Value> = (0..10).map(|n| at(1000 + n, n)).collect();
    world.put(json!(entries)).await;
    let shown = world.ok("DescribeArchive", json!({ "ArchiveName": "some" })).await;
    assert_eq!((&shown["EventCount"], &shown["RetentionDays"]), (&5.into(), &2.into()));
    assert!(shown["SizeBytes"].as_i64().unwrap() > 500);
    let rule = world.ok("DescribeRule", json!({ "Name": "Events-Archive-some" })).await;
    assert_eq!(rule["ManagedBy"], "prod.vhs.events.aws.internal");
    for (operation, input) in [
        ("DisableRule", json!({ "Name": "Events-Archive-some" })),
        ("DeleteRule", json!({ "Name": "Events-Archive-some" })),
        ("PutTargets", json!({ "Rule": "Events-Archive-some", "Targets": [{ "Id": "1", "Arn": queue("q") }] })),
    ] {
        assert_eq!(world.call(operation, input).await.unwrap_err().0, "ManagedRuleException");
    }
    world.advance(2 * 86_400 + 1);
    world.reconcile().await;
    let shown = world.ok("DescribeArchive", json!({ "ArchiveName": "some" })).await;
    assert_eq!((&shown["EventCount"], &shown["SizeBytes"]), (&0.into(), &0.into()));
    world
        .ok(
            "UpdateArchive",
            json!({ "ArchiveName": "some", "EventPattern": "{\"source\":[\"x\"]}", "RetentionDays": 0 }),
        )
        .await;
    world.put(json!([at(1, 1), { "Source": "x", "DetailType": "t", "Detail": "{}" }])).await;
    let shown = world.ok("DescribeArchive", json!({ "ArchiveName": "some" })).await;
    assert_eq!(shown["EventCount"], 1);
    world.ok("DeleteArchive", json!({ "ArchiveName": "some" })).await;
    world.reconcile().await;
    assert_eq!(
        world.call("DescribeArchive", json!({ "ArchiveName": "some" })).await.unwrap_err().0,
        "ResourceNotFoundException"
    );
    assert_eq!(world.ok("ListRules", json!({})).await["Rules"], json!([]));
}

#[tokio::test]
async fn a_replay_brings_events_back_in_the_order_of_their_times() {
    let world = World::new();
    world.ok("CreateArchive", json!({ "ArchiveName": "all", "EventSourceArn": BUS })).await;
    let base = seconds() - 10_000;
    // More than one step brings back, and out of order.
    for chunk in (0..200_u64).collect::<Vec<_>>().chunks(10) {
        let entries: Vec<Value> = chunk.iter().map(|n| at(base + (n * 7919) % 200, *n)).collect();
        world.put(json!(entries)).await;
    }
    world.rule("r", json!({ "source": ["s"], "replay-name": ["again"] }), &queue("q")).await;
    world.rule("other", json!({ "source": ["s"] }), &queue("other")).await;
    let rule = "arn:aws:events:us-east-1:000000000000:rule/r";
    let start = json!({
        "ReplayName": "again", "EventSourceArn": ARCHIVE, "EventStartTime": base + 20, "EventEndTime": base + 120,
        "Destination": { "Arn": BUS, "FilterArns": [rule] }, "Description": "once more",
    });
    let begun = world.ok("StartReplay", start).await;
    assert_eq!(
        (&begun["State"], &begun["ReplayArn"]),
        (&"STARTING".into(), &"arn:aws:events:us-east-1:000000000000:replay/again".into())
    );
    world.reconcile().await;
    let got = world.documents(&queue("q")).await;
    assert_eq!(got.len(), 100);
    let times: Vec<_> = got.iter().map(|event| event["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    assert!(got.iter().all(|event| event["replay-name"] == "again"));
    assert!(world.got(&queue("other")).await.is_empty(), "only the rules that were named");
    let shown = world.ok("DescribeReplay", json!({ "ReplayName": "again" })).await;
    assert_eq!((&shown["State"], &shown["Destination"]["FilterArns"]), (&"COMPLETED".into(), &json!([rule])));
    assert_eq!(shown["EventLastReplayedTime"].as_f64(), Some((base + 119) as f64));
    let archive = world.ok("DescribeArchive", json!({ "ArchiveName": "all" })).await;
    assert_eq!(archive["EventCount"], 200, "what comes back is not kept again");
    let listed = world.ok("ListReplays", json!({ "EventSourceArn": ARCHIVE })).await;
    assert_eq!(listed["Replays"][0]["ReplayName"], "again");
    assert_eq!(world.ok("ListReplays", json!({ "State": "RUNNING" })).await["Replays"], json!([]));
}

#[tokio::test]
async fn a_replay_can_be_cancelled_while_it_runs() {
    let world = World::new();
    world.ok("CreateArchive", json!({ "ArchiveName": "all", "EventSourceArn": BUS })).await;
    world.put(json!([at(seconds() - 5, 1)])).await;
    let start = json!({
        "ReplayName": "x", "EventSourceArn": ARCHIVE, "EventStartTime": 0, "EventEndTime": seconds(),
        "Destination": { "Arn": BUS },
    });
    world.ok("StartReplay", start).await;
    let busy = world.call("DeleteArchive", json!({ "ArchiveName": "all" })).await;
    assert_eq!(busy.unwrap_err().0, "ValidationException");
    assert_eq!(world.ok("CancelReplay", json!({ "ReplayName": "x" })).await["State"], "CANCELLING");
    world.reconcile().await;
    assert_eq!(world.ok("DescribeReplay", json!({ "ReplayName": "x" })).await["State"], "CANCELLED");
    let again = world.call("CancelReplay", json!({ "ReplayName": "x" })).await;
    assert_eq!(again, Err(refusal("IllegalStatusException", "Replay x is not in a valid state for this operation.")));
}
