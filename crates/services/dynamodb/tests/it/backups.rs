//! Backups and point-in-time recovery: what is restored is the table as it was in one commit, whatever was written while it
//! was copied.

use std::{collections::BTreeMap, time::Duration};

use base_types::Timestamp;
use model_dynamodb::*;
use proptest::prelude::*;

use crate::support::{NOW, World, definition, item, keys, n, projection, s};

fn table() -> CreateTableInput {
    CreateTableInput {
        table_name: "things".to_owned(),
        attribute_definitions: Some(vec![
            definition("id", ScalarAttributeType::N),
            definition("kind", ScalarAttributeType::S),
        ]),
        key_schema: Some(keys("id", None)),
        global_secondary_indexes: Some(vec![GlobalSecondaryIndex {
            index_name: "kinds".to_owned(),
            key_schema: keys("kind", None),
            projection: projection(ProjectionType::All, None),
            ..GlobalSecondaryIndex::default()
        }]),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..CreateTableInput::default()
    }
}

async fn set(world: &World, id: u32, value: Option<u32>) {
    let table_name = "things".to_owned();
    match value {
        Some(value) => {
            let whole = item(&[("id", n(id)), ("kind", s(&format!("k{}", value % 2))), ("v", n(value))]);
            drop(world.put(PutItemInput { table_name, item: whole, ..PutItemInput::default() }).await.unwrap());
        }
        None => {
            let key = item(&[("id", n(id))]);
            drop(world.delete(DeleteItemInput { table_name, key, ..DeleteItemInput::default() }).await.unwrap());
        }
    }
}

/// The items of a table, as its index has them too.
async fn state(world: &World, name: &str) -> BTreeMap<u32, u32> {
    let mut both = Vec::new();
    for index in [None, Some("kinds".to_owned())] {
        let mut found = BTreeMap::new();
        let mut start = None;
        loop {
            let scan = ScanInput {
                table_name: name.to_owned(),
                index_name: index.clone(),
                exclusive_start_key: start,
                ..ScanInput::default()
            };
            let page = world.scan(scan).await.unwrap();
            for item in page.items.unwrap() {
                let number = |name: &str| item[name].n.as_ref().unwrap().parse::<u32>().unwrap();
                found.insert(number("id"), number("v"));
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        both.push(found);
    }
    assert_eq!(both[0], both[1]);
    let described = world.describe(DescribeTableInput { table_name: name.to_owned() }).await.unwrap().table.unwrap();
    assert_eq!(described.item_count, Some(i64::try_from(both[0].len()).unwrap()));
    both.swap_remove(0)
}

async fn backup(world: &World, name: &str) -> String {
    let input = CreateBackupInput { table_name: "things".to_owned(), backup_name: name.to_owned() };
    world.create_backup(input).await.unwrap().backup_details.unwrap().backup_arn
}

fn restore(arn: &str, to: &str) -> RestoreTableFromBackupInput {
    RestoreTableFromBackupInput {
        target_table_name: to.to_owned(),
        backup_arn: arn.to_owned(),
        ..RestoreTableFromBackupInput::default()
    }
}

#[tokio::test]
async fn a_backup_is_the_table_as_it_was_whatever_is_written_meanwhile() {
    let world = World::new();
    world.create(table()).await.unwrap();
    for id in 0..1200 {
        set(&world, id, Some(id)).await;
    }
    let then = state(&world, "things").await;
    let arn = backup(&world, "first").await;
    let status =
        |described: DescribeBackupOutput| described.backup_description.unwrap().backup_details.unwrap().backup_status;
    let describe = DescribeBackupInput { backup_arn: arn.clone() };
    assert_eq!(status(world.describe_backup(describe.clone()).await.unwrap()), BackupStatus::Creating);
    assert_eq!(world.restore_backup(restore(&arn, "early")).await.unwrap_err().0, "BackupInUseException");
    let again = CreateBackupInput { table_name: "things".to_owned(), backup_name: "second".to_owned() };
    assert_eq!(world.create_backup(again).await.unwrap_err().0, "BackupInUseException");
    // Between the pieces: changed, deleted, new.
    for round in 0..20 {
        for id in (round * 60)..(round * 60 + 60) {
            set(&world, id, if id % 3 == 0 { None } else { Some(id + 7) }).await;
            set(&world, 5000 + id, Some(id)).await;
        }
        world.round().await;
    }
    world.reconcile().await;
    assert_eq!(status(world.describe_backup(describe.clone()).await.unwrap()), BackupStatus::Available);
    let now = state(&world, "things").await;
    let made = world.restore_backup(restore(&arn, "restored")).await.unwrap().table_description.unwrap();
    assert_eq!(made.table_status, Some(TableStatus::Creating));
    assert!(made.restore_summary.unwrap().restore_in_progress);
    let scan = ScanInput { table_name: "restored".to_owned(), ..ScanInput::default() };
    assert_eq!(world.scan(scan).await.unwrap_err().0, "ResourceNotFoundException");
    let delete = DeleteTableInput { table_name: "restored".to_owned() };
    assert_eq!(world.delete_table(delete).await.unwrap_err().0, "ResourceInUseException");
    assert_eq!(
        world.delete_backup(DeleteBackupInput { backup_arn: arn.clone() }).await.unwrap_err().0,
        "BackupInUseException"
    );
    world.reconcile().await;
    assert_eq!(state(&world, "restored").await, then);
    assert_eq!(state(&world, "things").await, now);
    assert_eq!(world.restore_backup(restore(&arn, "restored")).await.unwrap_err().0, "TableAlreadyExistsException");
    // It outlives its table.
    world.delete_table(DeleteTableInput { table_name: "things".to_owned() }).await.unwrap();
    world.reconcile().await;
    world.restore_backup(restore(&arn, "again")).await.unwrap();
    world.reconcile().await;
    assert_eq!(state(&world, "again").await, then);
    let listed = world.list_backups(ListBackupsInput::default()).await.unwrap().backup_summaries.unwrap();
    assert_eq!(listed.iter().filter_map(|one| one.backup_name.as_deref()).collect::<Vec<_>>(), ["first"]);
    world.delete_backup(DeleteBackupInput { backup_arn: arn.clone() }).await.unwrap();
    world.reconcile().await;
    assert_eq!(
        world.describe_backup(describe).await.unwrap_err(),
        ("BackupNotFoundException".to_owned(), format!("Backup not found: {arn}"))
    );
}

fn recover(enabled: bool, days: Option<i32>) -> UpdateContinuousBackupsInput {
    UpdateContinuousBackupsInput {
        table_name: "things".to_owned(),
        point_in_time_recovery_specification: PointInTimeRecoverySpecification {
            point_in_time_recovery_enabled: enabled,
            recovery_period_in_days: days,
        },
    }
}

fn to_time(to: &str, at: Option<u64>) -> RestoreTableToPointInTimeInput {
    RestoreTableToPointInTimeInput {
        source_table_name: Some("things".to_owned()),
        target_table_name: to.to_owned(),
        restore_date_time: at.map(Timestamp::from_millis),
        use_latest_restorable_time: at.is_none().then_some(true),
        ..RestoreTableToPointInTimeInput::default()
    }
}

#[tokio::test]
async fn times_within_the_period_can_be_restored_and_others_cannot() {
    let world = World::new();
    world.create(table()).await.unwrap();
    set(&world, 1, Some(1)).await;
    assert_eq!(
        world.restore_time(to_time("copy", None)).await.unwrap_err().0,
        "PointInTimeRecoveryUnavailableException"
    );
    let described = world.continuous(recover(true, None)).await.unwrap().continuous_backups_description.unwrap();
    let described = described.point_in_time_recovery_description.unwrap();
    assert_eq!(described.recovery_period_in_days, Some(35));
    assert_eq!(described.point_in_time_recovery_status, Some(PointInTimeRecoveryStatus::Enabled));
    assert_eq!(described.earliest_restorable_date_time, Some(Timestamp::from_millis(NOW)));
    assert_eq!(world.restore_time(to_time("copy", Some(NOW - 1))).await.unwrap_err().0, "InvalidRestoreTimeException");
    // Asked for at once, before the base is copied.
    world.restore_time(to_time("latest", None)).await.unwrap();
    set(&world, 2, Some(2)).await;
    world.reconcile().await;
    assert_eq!(state(&world, "latest").await, BTreeMap::from([(1, 1)]));
    // A day each, over ten weeks: bases and log move on.
    let day = 24 * 3600 * 1000;
    for passed in 1..70 {
        world.env.advance(Duration::from_secs(24 * 3600));
        set(&world, 100 + passed % 10, Some(passed)).await;
        if passed % 7 == 0 {
            set(&world, 100 + passed % 10, None).await;
        }
        world.reconcile().await;
    }
    let at = |days: u64| NOW + days * day + 1;
    for (index, days) in [69, 60, 50, 40].into_iter().enumerate() {
        let name = format!("restored-{index}");
        world.restore_time(to_time(&name, Some(at(days).min(NOW + 69 * day)))).await.unwrap();
        world.reconcile().await;
        let mut wanted = BTreeMap::from([(1, 1), (2, 2)]);
        for passed in 1..=u32::try_from(days).unwrap() {
            wanted.insert(100 + passed % 10, passed);
            if passed % 7 == 0 {
                wanted.remove(&(100 + passed % 10));
            }
        }
        assert_eq!(state(&world, &name).await, wanted, "after {days} days");
    }
    assert_eq!(world.restore_time(to_time("old", Some(at(30)))).await.unwrap_err().0, "InvalidRestoreTimeException");
    world.continuous(recover(false, None)).await.unwrap();
    world.reconcile().await;
    assert_eq!(
        world.restore_time(to_time("gone", None)).await.unwrap_err().0,
        "PointInTimeRecoveryUnavailableException"
    );
    let described = DescribeContinuousBackupsInput { table_name: "things".to_owned() };
    let described = world.describe_continuous(described).await.unwrap().continuous_backups_description.unwrap();
    assert_eq!(
        described.point_in_time_recovery_description.unwrap().point_in_time_recovery_status,
        Some(PointInTimeRecoveryStatus::Disabled)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_moment_can_be_restored(
        before in proptest::collection::vec((0..20_u32, proptest::option::of(0..9_u32)), 0..20),
        steps in proptest::collection::vec((0..20_u32, proptest::option::of(0..9_u32), any::<bool>()), 1..60),
        moment in any::<proptest::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            world.create(table()).await.unwrap();
            for (id, value) in before {
                set(&world, id, value).await;
            }
            world.continuous(recover(true, None)).await.unwrap();
            let mut states = vec![state(&world, "things").await];
            for (id, value, tidy) in steps {
                world.env.advance(Duration::from_millis(10));
                set(&world, id, value).await;
                states.push(state(&world, "things").await);
                if tidy {
                    world.round().await;
                }
            }
            world.env.advance(Duration::from_millis(10));
            let moment = moment.index(states.len());
            world.restore_time(to_time("restored", Some(NOW + 10 * moment as u64 + 5))).await.unwrap();
            world.reconcile().await;
            assert_eq!(state(&world, "restored").await, states[moment]);
        });
    }
}
