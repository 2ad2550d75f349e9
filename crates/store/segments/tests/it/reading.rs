//! Order, ranges, streams, visibility, reclaiming.

use base_types::Timestamp;
use store_segments::*;

use crate::support::*;

#[tokio::test]
async fn events_are_ordered_by_time_and_then_by_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), Settings::default());
    segments.append(batch(GROUP, 1, &[(30, "c"), (10, "a1")]), Durability::Synced).await.unwrap();
    segments.append(batch(GROUP, 2, &[(10, "a2"), (20, "b")]), Durability::Buffered).await.unwrap();
    assert_eq!(texts(&read(&segments, everything(GROUP))), ["a1", "a2", "b", "c"]);
    let backward = Query { direction: Direction::Backward, ..everything(GROUP) };
    assert_eq!(texts(&read(&segments, backward)), ["c", "b", "a2", "a1"]);
    let second = Query { streams: only(&[2]), ..everything(GROUP) };
    assert_eq!(texts(&read(&segments, second)), ["a2", "b"]);
    assert!(read(&segments, everything(GroupId(8))).is_empty());
    let range = Query {
        from: Position::at(Timestamp::from_millis(20)),
        until: Position::at(Timestamp::from_millis(30)),
        ..everything(GROUP)
    };
    assert_eq!(texts(&read(&segments, range)), ["b"]);
}

#[tokio::test]
async fn a_position_stays_where_it_is_while_events_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    for number in 0..50 {
        segments.append(batch(GROUP, 1, &[(number, &format!("early {number}"))]), Durability::Buffered).await.unwrap();
    }
    let seen = read(&segments, everything(GROUP));
    let middle = seen[24].position;
    for number in 50..200 {
        segments.append(batch(GROUP, 1, &[(number, &format!("late {number}"))]), Durability::Buffered).await.unwrap();
    }
    let rest = read(&segments, Query { from: middle.next(), ..everything(GROUP) });
    assert_eq!(rest.len(), 175);
    assert_eq!(rest[0], seen[25]);
    drop(segments);
    let segments = open(folder.path(), small());
    assert_eq!(read(&segments, Query { from: middle.next(), ..everything(GROUP) }), rest);
}

#[tokio::test]
async fn a_scan_that_began_before_sealing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    for number in 0..20 {
        segments.append(batch(GROUP, 1, &[(number, "x")]), Durability::Buffered).await.unwrap();
    }
    let mut scan = segments.scan(everything(GROUP));
    assert!(scan.next().is_some());
    for number in 20..500 {
        segments.append(batch(GROUP, 1, &[(number, "x")]), Durability::Buffered).await.unwrap();
    }
    assert!(scan.map(Result::unwrap).count() >= 19);
}

#[tokio::test]
async fn blocks_without_the_text_are_passed_over_with_a_place_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    for number in 0..300 {
        let text = if number == 200 { "the needle".to_owned() } else { format!("plain hay number {number}") };
        segments.append(batch(GROUP, number.into(), &[(number, &text)]), Durability::Buffered).await.unwrap();
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let query = Query { must_contain: Some(b"needle".to_vec()), direction, ..everything(GROUP) };
        let found: Vec<_> = segments.scan(query.clone()).map(Result::unwrap).collect();
        let passed: Vec<_> =
            found.iter().filter_map(|f| if let Found::Passed(at) = f { Some(*at) } else { None }).collect();
        assert!(passed.len() > 3, "{direction:?}: nothing was passed over");
        let needle = read(&segments, query.clone()).iter().filter(|e| e.message.ends_with(b"needle")).count();
        assert_eq!(needle, 1);
        // Going on from any of those places finds the needle or is behind it.
        for at in passed {
            let resumed = match direction {
                Direction::Forward => Query { from: at, ..query.clone() },
                Direction::Backward => Query { until: at, ..query.clone() },
            };
            let events = read(&segments, resumed);
            let found = events.iter().any(|event| event.message.ends_with(b"needle"));
            let ahead = match direction {
                Direction::Forward => at.timestamp <= 200,
                Direction::Backward => at.timestamp > 200,
            };
            assert_eq!(found, ahead, "{direction:?} from {at:?}");
        }
    }
}

#[tokio::test]
async fn what_is_dead_is_freed_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    for number in 0..100 {
        for (group, stream) in [(1, 11), (1, 12), (2, 21), (3, 31)] {
            let text = format!("{group}/{stream} event {number}");
            segments.append(batch(GroupId(group), stream, &[(number, &text)]), Durability::Buffered).await.unwrap();
        }
    }
    let reclaim = Reclaim {
        groups: [GroupId(2)].into(),
        streams: [(StreamId(11), GroupId(1))].into(),
        cutoffs: [(GroupId(3), Timestamp::from_millis(1_000))].into(),
    };
    let reclaimed = segments.reclaim(reclaim.clone()).await.unwrap();
    assert!(reclaimed.freed_bytes > 0 && reclaimed.rewritten_count > 0);
    let check = |segments: &Segments| {
        assert!(read(segments, everything(GroupId(2))).is_empty());
        let kept = read(segments, everything(GroupId(1)));
        assert_eq!(kept.len(), 100);
        assert!(kept.iter().all(|event| event.stream == StreamId(12)));
        assert_eq!(segments.group_bytes(GroupId(2)).unwrap(), 0);
    };
    check(&segments);
    assert_eq!(segments.reclaim(Reclaim { cutoffs: Default::default(), ..reclaim }).await.unwrap().rewritten_count, 0);
    drop(segments);
    check(&open(folder.path(), small()));
}

#[tokio::test]
async fn retention_drops_whole_segments() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), Settings { merge_count: 1000, ..small() });
    for number in 0..400 {
        segments.append(batch(GROUP, 1, &[(number, "an event of some length")]), Durability::Buffered).await.unwrap();
    }
    let cutoffs = [(GROUP, Timestamp::from_millis(300))].into();
    let reclaimed = segments.reclaim(Reclaim { cutoffs, ..Reclaim::default() }).await.unwrap();
    assert!(reclaimed.dropped_count > 5, "{reclaimed:?}");
    let rest = read(&segments, Query { from: Position::at(Timestamp::from_millis(300)), ..everything(GROUP) });
    assert_eq!(rest.len(), 100);
}

#[tokio::test]
async fn activity_tells_how_far_streams_reach_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    for number in 10..200 {
        segments.append(batch(GROUP, u128::from(number % 3), &[(number, "text")]), Durability::Buffered).await.unwrap();
    }
    let expected = |activities: Vec<(StreamId, Activity)>| {
        let mut reach: Vec<_> = activities
            .into_iter()
            .map(|(stream, a)| (stream.0, a.first_event.as_millis(), a.last_event.as_millis()))
            .collect();
        reach.sort_unstable();
        assert_eq!(reach, [(0, 12, 198), (1, 10, 199), (2, 11, 197)]);
    };
    let (activities, next) = segments.activity_since(0).unwrap();
    expected(activities);
    assert_eq!(segments.activity_since(next).unwrap(), (Vec::new(), next));
    drop(segments);
    let segments = open(folder.path(), small());
    expected(segments.activity_since(0).unwrap().0);
    assert_eq!(segments.group_bytes(GROUP).unwrap(), 190 * 4);
}

#[tokio::test]
async fn a_batch_beyond_its_bound_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), Settings { batch_bytes: 100, ..small() });
    let refused = segments.append(batch(GROUP, 1, &[(1, &"x".repeat(200))]), Durability::Synced).await;
    assert!(matches!(refused, Err(SegmentsError::TooLarge { .. })));
    segments.append(batch(GROUP, 1, &[]), Durability::Synced).await.unwrap();
    assert!(read(&segments, everything(GROUP)).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_syncs_and_each_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), Settings { memtable_bytes: 64 << 10, ..Settings::default() });
    let callers: Vec<_> = (0..16_u128)
        .map(|stream| {
            let segments = segments.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    let text = format!("{stream} {number} {}", "padding ".repeat(8));
                    segments.append(batch(GROUP, stream, &[(5, &text)]), Durability::Synced).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    for stream in 0..16 {
        let events = texts(&read(&segments, Query { streams: only(&[stream]), ..everything(GROUP) }));
        assert_eq!(events.len(), 100);
        for (number, text) in events.iter().enumerate() {
            assert!(text.starts_with(&format!("{stream} {number} ")), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_order_and_no_event_twice_while_segments_are_sealed_merged_and_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    let appended = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let writer = tokio::spawn({
        let (segments, appended) = (segments.clone(), std::sync::Arc::clone(&appended));
        async move {
            for number in 0..3000_u64 {
                segments
                    .append(batch(GROUP, 1, &[(number, "an event that stays")]), Durability::Buffered)
                    .await
                    .unwrap();
                segments.append(batch(GROUP, 2, &[(number, "one that dies")]), Durability::Buffered).await.unwrap();
                appended.store(number + 1, std::sync::atomic::Ordering::Release);
                if number % 500 == 499 {
                    let streams = [(StreamId(2), GROUP)].into();
                    segments.reclaim(Reclaim { streams, ..Reclaim::default() }).await.unwrap();
                }
            }
        }
    });
    let mut rounds = 0;
    while !writer.is_finished() || rounds == 0 {
        let known = appended.load(std::sync::atomic::Ordering::Acquire);
        for direction in [Direction::Forward, Direction::Backward] {
            let reader = segments.clone();
            let query = Query { streams: only(&[1]), direction, ..everything(GROUP) };
            let mut events = tokio::task::spawn_blocking(move || read(&reader, query)).await.unwrap();
            if direction == Direction::Backward {
                events.reverse();
            }
            assert!(events.len() as u64 >= known, "{} of {known}", events.len());
            assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position));
            assert!(events.iter().enumerate().all(|(index, event)| event.position.timestamp == index as u64));
        }
        rounds += 1;
    }
    writer.await.unwrap();
    assert_eq!(read(&segments, everything(GROUP)).len(), 3000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_files_are_held_has_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    for number in 0..500 {
        segments.append(batch(GROUP, 1, &[(number, "before the copy")]), Durability::Buffered).await.unwrap();
    }
    let held = segments.hold_files();
    let list = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = list().collect();
    // Sealing and merging replace every file that was listed before it is copied.
    for number in 500..1500 {
        segments.append(batch(GROUP, 1, &[(number, "during the copy")]), Durability::Buffered).await.unwrap();
    }
    let dead = Reclaim { groups: [GroupId(9)].into(), ..Reclaim::default() };
    let refused = segments.reclaim(dead.clone()).await;
    assert!(matches!(refused, Err(SegmentsError::Held)));
    let copy = tempfile::tempdir().unwrap();
    for name in names.iter().filter(|name| !name.to_str().unwrap().ends_with(".tmp")) {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let held_count = list().count();
    drop(held);
    let check = |segments: &Segments, at_least: usize| {
        let events = read(segments, everything(GROUP));
        assert!(events.len() >= at_least, "{}", events.len());
        assert!(events.iter().enumerate().all(|(index, event)| event.position.timestamp == index as u64));
    };
    check(&open(copy.path(), small()), 500);
    segments.reclaim(dead).await.unwrap();
    assert!(list().count() < held_count / 2, "what was held is removed afterwards: {} of {held_count}", list().count());
    check(&segments, 1500);
    drop(segments);
    check(&open(folder.path(), small()), 1500);
}
