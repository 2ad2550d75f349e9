//! FilterLogEvents.

use model_logs::*;
use store_segments::Settings;

use crate::support::*;

#[tokio::test]
async fn patterns_streams_and_prefixes_select_events_interleaved_by_time() {
    let world = World::new();
    world.create("g", &["a/1", "a/2", "b/1"]).await;
    world.put("g", "a/1", &[(NOW - 3, "ERROR in a1"), (NOW - 1, r#"{"level": "error", "n": 7}"#)]).await;
    world.put("g", "a/2", &[(NOW - 2, "ERROR in a2")]).await;
    world.put("g", "b/1", &[(NOW, "fine in b1")]).await;
    let with = |request| async { filtered(&world.filter(request).await.unwrap()) };
    assert_eq!(with(of_group("g", "ERROR")).await, ["ERROR in a1", "ERROR in a2"]);
    assert_eq!(with(of_group("g", "{ $.n > 5 }")).await, [r#"{"level": "error", "n": 7}"#]);
    assert_eq!(with(of_group("g", "")).await.len(), 4);
    let named =
        FilterLogEventsRequest { log_stream_names: Some(vec!["a/2".into(), "b/1".into()]), ..of_group("g", "") };
    assert_eq!(with(named).await, ["ERROR in a2", "fine in b1"]);
    let prefixed = FilterLogEventsRequest { log_stream_name_prefix: Some("a/".into()), ..of_group("g", "") };
    assert_eq!(with(prefixed).await.len(), 3);
    // The end is included.
    let range = FilterLogEventsRequest { start_time: Some(NOW - 2), end_time: Some(NOW - 1), ..of_group("g", "") };
    assert_eq!(with(range).await.len(), 2);
    let page = world.filter(of_group("g", "fine")).await.unwrap();
    assert_eq!((page.searched_log_streams, page.next_token), (Some(vec![]), None));
    let event = &page.events.unwrap()[0];
    assert_eq!((event.log_stream_name.as_deref(), event.timestamp), (Some("b/1"), Some(NOW)));
    assert_eq!(event.event_id.as_ref().map(String::len), Some(56));
}

#[tokio::test]
async fn pages_go_on_where_they_stopped_while_events_arrive() {
    let world = World::with(Settings { memtable_bytes: 4 << 10, block_bytes: 512, ..Settings::default() });
    world.create("g", &["s", "t"]).await;
    for number in 0..200_i64 {
        let text = format!("number {number} {}", if number % 10 == 0 { "wanted" } else { "other" });
        world.put("g", if number % 2 == 0 { "s" } else { "t" }, &[(NOW - 1000 + number, &text)]).await;
    }
    let (mut token, mut seen) = (None, Vec::new());
    loop {
        let request = FilterLogEventsRequest { limit: Some(3), next_token: token, ..of_group("g", "wanted") };
        let page = world.filter(request).await.unwrap();
        seen.extend(page.events.into_iter().flatten().map(|event| event.timestamp.unwrap() - NOW + 1000));
        world.put("g", "s", &[(NOW - 2000, "wanted but before")]).await;
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..200).step_by(10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_token_belongs_to_its_own_search() {
    let world = World::new();
    world.create("g", &["s"]).await;
    world.put("g", "s", &[(NOW, "one"), (NOW, "two")]).await;
    let page = world.filter(FilterLogEventsRequest { limit: Some(1), ..of_group("g", "") }).await.unwrap();
    let other = FilterLogEventsRequest { next_token: page.next_token, ..of_group("g", "two") };
    let refusal = world.filter(other).await.unwrap_err();
    assert_eq!(refusal.1, "The specified nextToken is invalid.");
}

#[tokio::test]
async fn following_a_group_as_the_command_line_does_sees_each_event_once() {
    let world = World::new();
    world.create("g", &["s"]).await;
    let (mut start, mut seen, mut at_last) = (NOW - 1, Vec::new(), Vec::<String>::new());
    for round in 0..20_i64 {
        // Two events in one millisecond, one before and one after it was looked at.
        world.put("g", "s", &[(NOW + round, &format!("{round} first"))]).await;
        for late in [false, true] {
            if late {
                world.put("g", "s", &[(NOW + round, &format!("{round} second"))]).await;
            }
            let request =
                FilterLogEventsRequest { start_time: Some(start), interleaved: Some(true), ..of_group("g", "") };
            let page = world.filter(request).await.unwrap();
            for event in page.events.unwrap() {
                let (id, time) = (event.event_id.unwrap(), event.timestamp.unwrap());
                if at_last.contains(&id) {
                    continue;
                }
                if time > start {
                    at_last.clear();
                }
                at_last.push(id);
                start = time;
                seen.push(event.message.unwrap());
            }
        }
    }
    let expected: Vec<String> = (0..20).flat_map(|n| [format!("{n} first"), format!("{n} second")]).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_is_no_pattern_is_refused_in_awss_words() {
    let world = World::new();
    world.create("g", &["s"]).await;
    for (pattern, message) in [
        ("{ $.a = }", "Invalid filter pattern"),
        ("a:b", "Invalid character(s) in term ':'"),
        ("{ $.a = 1", "If a filter pattern starts with '{' it must end with '}'"),
    ] {
        let refusal = world.filter(of_group("g", pattern)).await.unwrap_err();
        assert_eq!(refusal, ("InvalidParameterException".to_owned(), message.to_owned()));
    }
    let both = FilterLogEventsRequest {
        log_stream_names: Some(vec!["s".into()]),
        log_stream_name_prefix: Some("s".into()),
        ..of_group("g", "")
    };
    assert_eq!(world.filter(both).await.unwrap_err().0, "InvalidParameterException");
    let unknown = FilterLogEventsRequest { log_stream_names: Some(vec!["none".into()]), ..of_group("g", "") };
    assert_eq!(world.filter(unknown).await.unwrap_err().1, "The specified log stream does not exist.");
}
