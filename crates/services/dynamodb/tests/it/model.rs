//! Random writes and reads against a model that keeps everything in a vector: the items, a local index and a global one.

use std::collections::BTreeMap;

use model_dynamodb::*;
use proptest::prelude::*;

use crate::support::{WireItem, World, definition, item, keys, n, projection, s};

const TABLE: &str = "things";

#[derive(Clone, Debug)]
enum Step {
    Put(u8, i32, Option<u8>, Option<i32>),
    Add(u8, i32, i32),
    Move(u8, i32, Option<u8>),
    Delete(u8, i32),
}

fn step() -> impl Strategy<Value = Step> {
    let (hash, range) = (0..3_u8, -3..4_i32);
    prop_oneof![
        3 => (hash.clone(), range.clone(), proptest::option::of(0..3_u8), proptest::option::of(-20..20_i32))
            .prop_map(|(hash, range, owner, size)| Step::Put(hash, range, owner, size)),
        2 => (hash.clone(), range.clone(), -5..5_i32).prop_map(|(hash, range, by)| Step::Add(hash, range, by)),
        1 => (hash.clone(), range.clone(), proptest::option::of(0..3_u8))
            .prop_map(|(hash, range, owner)| Step::Move(hash, range, owner)),
        1 => (hash, range).prop_map(|(hash, range)| Step::Delete(hash, range)),
    ]
}

fn key(hash: u8, range: i32) -> WireItem {
    item(&[("pk", s(&format!("h{hash}"))), ("sk", n(range))])
}

fn owner(owner: u8) -> AttributeValue {
    s(&format!("o{owner}"))
}

fn table() -> CreateTableInput {
    CreateTableInput {
        table_name: TABLE.to_owned(),
        attribute_definitions: Some(vec![
            definition("pk", ScalarAttributeType::S),
            definition("sk", ScalarAttributeType::N),
            definition("owner", ScalarAttributeType::S),
            definition("size", ScalarAttributeType::N),
        ]),
        key_schema: Some(keys("pk", Some("sk"))),
        local_secondary_indexes: Some(vec![LocalSecondaryIndex {
            index_name: "local".to_owned(),
            key_schema: keys("pk", Some("size")),
            projection: projection(ProjectionType::KeysOnly, None),
        }]),
        global_secondary_indexes: Some(vec![GlobalSecondaryIndex {
            index_name: "global".to_owned(),
            key_schema: keys("owner", Some("size")),
            projection: projection(ProjectionType::All, None),
            ..GlobalSecondaryIndex::default()
        }]),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..CreateTableInput::default()
    }
}

type Model = BTreeMap<(u8, i32), (Option<u8>, Option<i32>)>;

async fn carry_out(world: &World, model: &mut Model, step: Step) {
    let table_name = TABLE.to_owned();
    match step {
        Step::Put(hash, range, by, size) => {
            let mut whole = key(hash, range);
            whole.extend(by.map(|by| ("owner".to_owned(), owner(by))));
            whole.extend(size.map(|size| ("size".to_owned(), n(size))));
            world.put(PutItemInput { table_name, item: whole, ..PutItemInput::default() }).await.unwrap();
            model.insert((hash, range), (by, size));
        }
        Step::Add(hash, range, by) => {
            let update = UpdateItemInput {
                table_name,
                key: key(hash, range),
                update_expression: Some("ADD #s :by".to_owned()),
                expression_attribute_names: Some([("#s".to_owned(), "size".to_owned())].into()),
                expression_attribute_values: Some(item(&[(":by", n(by))])),
                return_values: Some(ReturnValue::UpdatedNew),
                ..UpdateItemInput::default()
            };
            let got = world.update(update).await.unwrap().attributes.unwrap();
            let entry = model.entry((hash, range)).or_insert((None, None));
            let size = entry.1.unwrap_or(0) + by;
            entry.1 = Some(size);
            assert_eq!(got, item(&[("size", n(size))]));
        }
        Step::Move(hash, range, to) => {
            let (expression, values) = match to {
                Some(to) => ("SET #o = :o", Some(item(&[(":o", owner(to))]))),
                None => ("REMOVE #o", None),
            };
            let update = UpdateItemInput {
                table_name,
                key: key(hash, range),
                update_expression: Some(expression.to_owned()),
                condition_expression: Some("attribute_exists(pk)".to_owned()),
                expression_attribute_names: Some([("#o".to_owned(), "owner".to_owned())].into()),
                expression_attribute_values: values,
                ..UpdateItemInput::default()
            };
            let done = world.update(update).await;
            match model.get_mut(&(hash, range)) {
                Some(entry) => {
                    done.unwrap();
                    entry.0 = to;
                }
                None => assert_eq!(done.unwrap_err().0, "ConditionalCheckFailedException"),
            }
        }
        Step::Delete(hash, range) => {
            let delete = DeleteItemInput {
                table_name,
                key: key(hash, range),
                return_values: Some(ReturnValue::AllOld),
                ..DeleteItemInput::default()
            };
            let old = world.delete(delete).await.unwrap().attributes;
            assert_eq!(old.is_some(), model.remove(&(hash, range)).is_some());
        }
    }
}

/// All pages of a query, as its items' keys.
async fn all(world: &World, query: QueryInput) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut start = None;
    loop {
        let page = world.query(QueryInput { exclusive_start_key: start, ..query.clone() }).await.unwrap();
        for item in page.items.unwrap() {
            found.push((item["pk"].s.clone().unwrap(), item["sk"].n.clone().unwrap()));
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return found;
        }
    }
}

fn query(
    index: Option<&str>,
    hash: (&str, AttributeValue),
    least: i32,
    limit: Option<i32>,
    forward: bool,
) -> QueryInput {
    let range = if index.is_some() { "size" } else { "sk" };
    QueryInput {
        table_name: TABLE.to_owned(),
        index_name: index.map(str::to_owned),
        key_condition_expression: Some("#h = :h AND #r >= :r".to_owned()),
        expression_attribute_names: Some(
            [("#h".to_owned(), hash.0.to_owned()), ("#r".to_owned(), range.to_owned())].into(),
        ),
        expression_attribute_values: Some(item(&[(":h", hash.1), (":r", n(least))])),
        limit,
        scan_index_forward: Some(forward),
        ..QueryInput::default()
    }
}

async fn compare(world: &World, model: &Model, least: i32, limit: Option<i32>, forward: bool) {
    let named = |hash: u8, range: i32| (format!("h{hash}"), range.to_string());
    for hash in 0..3 {
        let mut wanted: Vec<_> = model.keys().filter(|key| key.0 == hash && key.1 >= least).copied().collect();
        if !forward {
            wanted.reverse();
        }
        let wanted: Vec<_> = wanted.into_iter().map(|(hash, range)| named(hash, range)).collect();
        let pk = s(&format!("h{hash}"));
        assert_eq!(all(world, query(None, ("pk", pk.clone()), least, limit, forward)).await, wanted);
        // Of equal keys of an index the order is not told: compare as sets, and the order of the sizes.
        for (index, name, value, is_in) in [
            (
                "local",
                "pk",
                pk,
                Box::new(move |key: &(u8, i32), _: Option<u8>| key.0 == hash)
                    as Box<dyn Fn(&(u8, i32), Option<u8>) -> bool>,
            ),
            ("global", "owner", owner(hash), Box::new(move |_: &(u8, i32), owner| owner == Some(hash))),
        ] {
            let found = all(world, query(Some(index), (name, value), least, limit, forward)).await;
            let size_of = |key: &(String, String)| {
                let (hash, range) = (key.0[1..].parse::<u8>().unwrap(), key.1.parse::<i32>().unwrap());
                model[&(hash, range)].1.unwrap()
            };
            let sizes: Vec<i32> = found.iter().map(size_of).collect();
            assert!(if forward { sizes.is_sorted() } else { sizes.iter().rev().is_sorted() }, "{index}: {sizes:?}");
            let mut wanted: Vec<_> = model
                .iter()
                .filter(|(key, (owner, size))| is_in(key, *owner) && size.is_some_and(|size| size >= least))
                .map(|((hash, range), _)| named(*hash, *range))
                .collect();
            let mut found = found;
            wanted.sort();
            found.sort();
            assert_eq!(found, wanted, "{index}");
        }
    }
    let described = world.describe(DescribeTableInput { table_name: TABLE.to_owned() }).await.unwrap().table.unwrap();
    assert_eq!(described.item_count, Some(i64::try_from(model.len()).unwrap()));
    let sized = model.values().filter(|(_, size)| size.is_some()).count();
    assert_eq!(described.local_secondary_indexes.unwrap()[0].item_count, Some(i64::try_from(sized).unwrap()));
    let scanned = world.scan(ScanInput { table_name: TABLE.to_owned(), ..ScanInput::default() }).await.unwrap();
    assert_eq!(scanned.count, i32::try_from(model.len()).ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_service_does_as_the_model_does(
        steps in proptest::collection::vec(step(), 1..60),
        least in -5..5_i32,
        limit in proptest::option::of(1..4_i32),
        forward in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            world.create(table()).await.unwrap();
            let mut model = Model::new();
            for step in steps {
                carry_out(&world, &mut model, step).await;
            }
            compare(&world, &model, least, limit, forward).await;
        });
    }
}
