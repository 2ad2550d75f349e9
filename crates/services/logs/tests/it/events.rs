//! PutLogEvents and GetLogEvents.

use model_logs::*;

use crate::support::*;

#[tokio::test]
async fn events_come_back_in_order_with_their_times() {
    let world = World::new();
    world.create("g", &["s"]).await;
    let put = world.try_put("g", "s", &[(NOW - 2, "one"), (NOW - 1, "two"), (NOW - 1, "three")]).await.unwrap();
    assert_eq!(put.next_sequence_token.map(|token| token.len()), Some(56));
    assert_eq!(put.rejected_log_events_info, None);
    let page = world.get(GetLogEventsRequest { start_from_head: Some(true), ..of_stream("g", "s") }).await.unwrap();
    assert_eq!(got(&page), ["one", "two", "three"]);
    let first = &page.events.unwrap()[0];
    assert_eq!((first.timestamp, first.ingestion_time), (Some(NOW - 2), Some(NOW)));
    // The group may be named by its ARN, too.
    for identifier in ["g", "arn:aws:logs:us-east-1:000000000000:log-group:g"] {
        let request = GetLogEventsRequest {
            log_group_name: None,
            log_group_identifier: Some(identifier.to_owned()),
            ..of_stream("g", "s")
        };
        assert_eq!(got(&world.get(request).await.unwrap()).len(), 3, "{identifier}");
    }
}

#[tokio::test]
async fn pages_go_forward_and_backward_without_repeating_or_skipping() {
    let world = World::new();
    world.create("g", &["s", "other"]).await;
    let texts: Vec<String> = (0..25).map(|number| format!("event {number:02}")).collect();
    for (number, text) in texts.iter().enumerate() {
        world.put("g", "s", &[(NOW - 100 + number as i64, text)]).await;
        world.put("g", "other", &[(NOW - 100 + number as i64, "noise")]).await;
    }
    let page = |token: Option<String>| {
        let request = GetLogEventsRequest { limit: Some(10), next_token: token, ..of_stream("g", "s") };
        world.get(request)
    };
    // Without a token the newest come first, in ascending order.
    let newest = page(None).await.unwrap();
    assert_eq!(got(&newest), texts[15..]);
    let middle = page(newest.next_backward_token).await.unwrap();
    assert_eq!(got(&middle), texts[5..15]);
    let oldest = page(middle.next_backward_token.clone()).await.unwrap();
    assert_eq!(got(&oldest), texts[..5]);
    let end = page(oldest.next_backward_token.clone()).await.unwrap();
    assert_eq!((got(&end).len(), &end.next_backward_token), (0, &oldest.next_backward_token));
    let forward = page(end.next_forward_token).await.unwrap();
    assert_eq!(got(&forward), texts[..10]);
    assert_eq!(got(&page(forward.next_forward_token.clone()).await.unwrap()), texts[10..20]);
    assert_eq!(got(&page(middle.next_forward_token).await.unwrap()), texts[15..]);
}

#[tokio::test]
async fn a_forward_token_stays_the_same_at_the_end_and_then_finds_what_came_later() {
    let world = World::new();
    world.create("g", &["s"]).await;
    let page = |token: Option<String>| {
        let request = GetLogEventsRequest { start_from_head: Some(true), next_token: token, ..of_stream("g", "s") };
        world.get(request)
    };
    let empty = page(None).await.unwrap();
    assert!(got(&empty).is_empty());
    world.put("g", "s", &[(NOW - 5, "first")]).await;
    let first = page(empty.next_forward_token).await.unwrap();
    assert_eq!(got(&first), ["first"]);
    let end = page(first.next_forward_token.clone()).await.unwrap();
    assert_eq!((got(&end).len(), &end.next_forward_token), (0, &first.next_forward_token));
    world.put("g", "s", &[(NOW - 5, "same millisecond"), (NOW, "later")]).await;
    assert_eq!(got(&page(end.next_forward_token).await.unwrap()), ["same millisecond", "later"]);
    assert_eq!(got(&page(end.next_backward_token).await.unwrap()), ["first"]);
}

#[tokio::test]
async fn the_time_range_includes_its_start_and_not_its_end() {
    let world = World::new();
    world.create("g", &["s"]).await;
    world.put("g", "s", &[(NOW - 3, "a"), (NOW - 2, "b"), (NOW - 1, "c")]).await;
    let request = GetLogEventsRequest { start_time: Some(NOW - 3), end_time: Some(NOW - 1), ..of_stream("g", "s") };
    assert_eq!(got(&world.get(request).await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn a_page_holds_a_mebibyte() {
    let world = World::new();
    world.create("g", &["s"]).await;
    let text = "x".repeat(400_000);
    for number in 0..5 {
        world.put("g", "s", &[(NOW + number, &text)]).await;
    }
    let request = |token| GetLogEventsRequest { start_from_head: Some(true), next_token: token, ..of_stream("g", "s") };
    let mut token = None;
    let mut counts = Vec::new();
    loop {
        let page = world.get(request(token.clone())).await.unwrap();
        if page.next_forward_token == token {
            break;
        }
        counts.push(page.events.unwrap().len());
        token = page.next_forward_token;
    }
    assert_eq!(counts, [2, 2, 1]);
}

#[tokio::test]
async fn events_too_old_too_new_or_expired_are_rejected_by_index() {
    let world = World::new();
    world.create("g", &["s"]).await;
    let put = world.try_put("g", "s", &[(NOW + 3 * HOUR, "far ahead")]).await.unwrap();
    assert_eq!(put.rejected_log_events_info.unwrap().too_new_log_event_start_index, Some(0));
    let retain = PutRetentionPolicyRequest { log_group_name: "g".to_owned(), retention_in_days: 1 };
    world.call(Request::PutRetentionPolicy(Box::new(retain))).await.unwrap();
    let put = world.try_put("g", "s", &[(NOW - 25 * HOUR, "old"), (NOW - 2 * HOUR, "young")]).await.unwrap();
    assert_eq!(put.rejected_log_events_info.unwrap().expired_log_event_end_index, Some(1));
    assert_eq!(got(&world.get(of_stream("g", "s")).await.unwrap()), ["young"]);
    // What expires later is no longer read, and its space is freed.
    world.advance(23 * 3600);
    assert!(got(&world.get(of_stream("g", "s")).await.unwrap()).is_empty());
    world.reconcile().await;
}

#[tokio::test]
async fn one_group_or_region_does_not_see_another() {
    let mut world = World::new();
    world.create("g", &["s"]).await;
    world.create("h", &["s"]).await;
    world.put("g", "s", &[(NOW, "in g")]).await;
    assert!(got(&world.get(of_stream("h", "s")).await.unwrap()).is_empty());
    world.cx.region = "eu-west-1".parse().unwrap();
    let missing = world.get(of_stream("g", "s")).await.unwrap_err();
    assert_eq!(missing.0, "ResourceNotFoundException");
}
