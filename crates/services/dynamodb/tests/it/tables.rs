//! Tables over time: expiry, indexes that are made later, names that are used again.

use std::time::Duration;

use model_dynamodb::*;

use crate::support::{NOW, World, definition, item, keys, n, projection, s};

fn simple(name: &str) -> CreateTableInput {
    CreateTableInput {
        table_name: name.to_owned(),
        attribute_definitions: Some(vec![definition("id", ScalarAttributeType::S)]),
        key_schema: Some(keys("id", None)),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..CreateTableInput::default()
    }
}

async fn count(world: &World, index: Option<&str>) -> i32 {
    let scan = ScanInput {
        table_name: "things".to_owned(),
        index_name: index.map(str::to_owned),
        select: Some(Select::Count),
        ..ScanInput::default()
    };
    world.scan(scan).await.unwrap().count.unwrap()
}

fn put(id: &str, more: &[(&str, AttributeValue)]) -> PutItemInput {
    let mut all = item(more);
    all.insert("id".to_owned(), s(id));
    PutItemInput { table_name: "things".to_owned(), item: all, ..PutItemInput::default() }
}

#[tokio::test]
async fn items_expire_when_their_time_has_come_and_not_before() {
    let world = World::new();
    world.create(simple("things")).await.unwrap();
    let at = |seconds: u64| n(NOW / 1000 + seconds);
    // Before and after time to live is enabled; changed, and taken back.
    world.put(put("early", &[("until", at(10))])).await.unwrap();
    world.put(put("ancient", &[("until", n(1))])).await.unwrap();
    let specification = TimeToLiveSpecification { enabled: true, attribute_name: "until".to_owned() };
    let enable = UpdateTimeToLiveInput { table_name: "things".to_owned(), time_to_live_specification: specification };
    world.set_ttl(enable.clone()).await.unwrap();
    assert_eq!(world.set_ttl(enable).await.unwrap_err().1, "TimeToLive is already enabled");
    world.put(put("late", &[("until", at(20))])).await.unwrap();
    world.put(put("moved", &[("until", at(10))])).await.unwrap();
    world.put(put("moved", &[("until", at(30))])).await.unwrap();
    world.put(put("kept", &[("until", at(10))])).await.unwrap();
    world.put(put("kept", &[])).await.unwrap();
    world.put(put("text", &[("until", s("10"))])).await.unwrap();
    world.reconcile().await;
    assert_eq!(count(&world, None).await, 6);
    for (seconds, left) in [(9, 6), (1, 5), (9, 5), (1, 4), (10, 3), (100_000, 3)] {
        world.env.advance(Duration::from_secs(seconds));
        world.reconcile().await;
        assert_eq!(count(&world, None).await, left, "after {seconds} more seconds");
    }
}

#[tokio::test]
async fn what_a_stream_holds_is_kept_for_a_day() {
    let world = World::new();
    let stream = StreamSpecification { stream_enabled: true, stream_view_type: Some(StreamViewType::NewImage) };
    world.create(CreateTableInput { stream_specification: Some(stream), ..simple("things") }).await.unwrap();
    // The store keeps something of its own beside them.
    let none = world.changes().await;
    for id in 0..200 {
        world.put(put(&id.to_string(), &[])).await.unwrap();
    }
    world.env.advance(Duration::from_secs(3600));
    world.put(put("later", &[])).await.unwrap();
    for (minutes, left) in [(0, 201), (22 * 60, 201), (90, 1), (60, 0), (6000, 0)] {
        world.env.advance(Duration::from_secs(minutes * 60));
        world.reconcile().await;
        assert_eq!(world.changes().await - none, left, "after {minutes} more minutes");
    }
}

#[tokio::test]
async fn an_index_made_later_has_what_is_there_and_what_comes() {
    let world = World::new();
    world.create(simple("things")).await.unwrap();
    for id in 0..500 {
        world.put(put(&id.to_string(), &[("kind", s(if id % 2 == 0 { "a" } else { "b" }))])).await.unwrap();
    }
    world.put(put("no-kind", &[("kind", n(1))])).await.unwrap();
    let update = UpdateTableInput {
        table_name: "things".to_owned(),
        attribute_definitions: Some(vec![
            definition("id", ScalarAttributeType::S),
            definition("kind", ScalarAttributeType::S),
        ]),
        global_secondary_index_updates: Some(vec![GlobalSecondaryIndexUpdate {
            create: Some(CreateGlobalSecondaryIndexAction {
                index_name: "kinds".to_owned(),
                key_schema: keys("kind", None),
                projection: projection(ProjectionType::KeysOnly, None),
                ..CreateGlobalSecondaryIndexAction::default()
            }),
            ..GlobalSecondaryIndexUpdate::default()
        }]),
        ..UpdateTableInput::default()
    };
    world.update_table(update).await.unwrap();
    let scan =
        ScanInput { table_name: "things".to_owned(), index_name: Some("kinds".to_owned()), ..ScanInput::default() };
    assert_eq!(world.scan(scan).await.unwrap_err().1, "Cannot read from backfilling global secondary index: kinds");
    world.put(put("0", &[("kind", s("b"))])).await.unwrap();
    world.put(put("fresh", &[("kind", s("a"))])).await.unwrap();
    world
        .delete(DeleteItemInput {
            table_name: "things".to_owned(),
            key: item(&[("id", s("2"))]),
            ..DeleteItemInput::default()
        })
        .await
        .unwrap();
    world.reconcile().await;
    assert_eq!(count(&world, Some("kinds")).await, 500);
    let described = world.describe(DescribeTableInput { table_name: "things".to_owned() }).await.unwrap();
    let table = described.table.unwrap();
    let index = &table.global_secondary_indexes.unwrap()[0];
    assert_eq!((index.index_status, index.item_count), (Some(IndexStatus::Active), Some(500)));
    assert_eq!(table.item_count, Some(501));
}

#[tokio::test]
async fn a_table_made_again_has_nothing_of_the_one_before() {
    let world = World::new();
    world.create(simple("things")).await.unwrap();
    for id in 0..1500 {
        world.put(put(&id.to_string(), &[])).await.unwrap();
    }
    world.delete_table(DeleteTableInput { table_name: "things".to_owned() }).await.unwrap();
    assert_eq!(
        world
            .get(GetItemInput {
                table_name: "things".to_owned(),
                key: item(&[("id", s("1"))]),
                ..GetItemInput::default()
            })
            .await
            .unwrap_err(),
        ("ResourceNotFoundException".to_owned(), "Requested resource not found".to_owned())
    );
    world.create(simple("things")).await.unwrap();
    assert_eq!(count(&world, None).await, 0);
    world.put(put("1", &[])).await.unwrap();
    world.reconcile().await;
    assert_eq!(count(&world, None).await, 1);
    let rows = |family| {
        let store = world.store.clone();
        async move {
            let all = store_api::KeyRange::family(family);
            store
                .view(move |tx| tx.scan(&all, 10_000, store_api::Direction::Forward))
                .await
                .map(|rows: Vec<_>| rows.len())
                .unwrap()
        }
    };
    // An item and its two counters.
    assert_eq!(rows(store_api::Family::Item).await, 3);
}
