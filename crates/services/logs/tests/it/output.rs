//! The port that takes a function's output.

use base_types::{Fault, Timestamp};
use bytes::Bytes;
use services_ports::{LogAppendError, LogLine, LogSink, LogTarget};

use crate::support::*;

async fn ensure(world: &World, group: &'static str, stream: &'static str) -> LogTarget {
    let (logs, cx) = (world.logs.clone(), world.cx.clone());
    world.store.transact(move |tx| -> Result<_, Fault> { logs.ensure_stream(&cx, tx, group, stream) }).await.unwrap()
}

fn lines(texts: &[&str]) -> Vec<LogLine> {
    let line = |text: &&str| LogLine {
        timestamp: Timestamp::from_millis(NOW.cast_unsigned()),
        text: Bytes::copy_from_slice(text.as_bytes()),
    };
    texts.iter().map(line).collect()
}

#[tokio::test]
async fn output_is_visible_at_once_in_a_group_that_was_made_for_it() {
    let world = World::new();
    let target = ensure(&world, "/aws/lambda/f", "2026/11/23/[$LATEST]0123").await;
    assert_eq!(ensure(&world, "/aws/lambda/f", "2026/11/23/[$LATEST]0123").await, target);
    world.logs.append(&target, lines(&["START RequestId: 1", "hello", "END RequestId: 1"])).await.unwrap();
    let page = world.filter(of_group("/aws/lambda/f", "")).await.unwrap();
    assert_eq!(filtered(&page), ["START RequestId: 1", "hello", "END RequestId: 1"]);
    assert_eq!(got(&world.get(of_stream("/aws/lambda/f", "2026/11/23/[$LATEST]0123")).await.unwrap()).len(), 3);
}

#[tokio::test]
async fn output_to_a_deleted_group_is_refused_until_it_is_ensured_anew() {
    let world = World::new();
    let target = ensure(&world, "f", "s").await;
    let delete = model_logs::DeleteLogGroupRequest { log_group_name: "f".into() };
    world.call(model_logs::Request::DeleteLogGroup(Box::new(delete))).await.unwrap();
    let refused = world.logs.append(&target, lines(&["lost"])).await;
    assert!(matches!(refused, Err(LogAppendError::Gone)));
    let target = ensure(&world, "f", "s").await;
    world.logs.append(&target, lines(&["kept"])).await.unwrap();
    assert_eq!(filtered(&world.filter(of_group("f", "")).await.unwrap()), ["kept"]);
}

#[tokio::test]
async fn long_and_many_lines_arrive_whole() {
    let world = World::new();
    let target = ensure(&world, "f", "s").await;
    let long = "ü".repeat(1_500_000);
    let mut all = lines(&[&long]);
    all.extend(lines(&vec!["a line of some length"; 60_000]));
    world.logs.append(&target, all).await.unwrap();
    let query = store_segments::Query {
        group: store_segments::GroupId(target.group),
        streams: store_segments::Streams::All,
        from: store_segments::Position::MIN,
        until: store_segments::Position::MAX,
        direction: store_segments::Direction::Forward,
        must_contain: None,
    };
    let (mut bytes, mut count) = (0, 0);
    for found in world.segments.scan(query) {
        if let store_segments::Found::Event(event) = found.unwrap() {
            assert!(std::str::from_utf8(&event.message).is_ok());
            (bytes, count) = (bytes + event.message.len(), count + 1);
        }
    }
    assert_eq!((bytes, count), (long.len() + 60_000 * 21, 60_003));
}
