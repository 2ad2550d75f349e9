//! Streams over time: what is in them, in which order, where reading begins and for how long.

use std::time::Duration;

use model_dynamodb::{
    AttributeValue, BillingMode, CreateTableInput, DeleteItemInput, DeleteTableInput, Put, PutItemInput,
    ScalarAttributeType, StreamSpecification, StreamViewType, TimeToLiveSpecification, TransactWriteItem,
    TransactWriteItemsInput, UpdateItemInput, UpdateTableInput, UpdateTimeToLiveInput,
};
use model_dynamodbstreams::{
    DescribeStreamInput, GetRecordsInput, GetRecordsOutput, GetShardIteratorInput, ListStreamsInput, OperationType,
    Record, Request, Response, ShardFilter, ShardFilterType, ShardIteratorType, StreamDescription, StreamStatus,
};
use services_ports::{ShardRead, StreamStart, Streams as _};

use crate::support::{NOW, Refusal, World, definition, item, keys, n, s};

const HOUR: u64 = 3600;

impl World {
    /// A table `things` with a stream; the stream's ARN.
    async fn streamed(&self, view: StreamViewType) -> String {
        let table = CreateTableInput {
            table_name: "things".to_owned(),
            attribute_definitions: Some(vec![definition("id", ScalarAttributeType::S)]),
            key_schema: Some(keys("id", None)),
            billing_mode: Some(BillingMode::PayPerRequest),
            stream_specification: Some(StreamSpecification { stream_enabled: true, stream_view_type: Some(view) }),
            ..CreateTableInput::default()
        };
        self.create(table).await.unwrap().table_description.unwrap().latest_stream_arn.unwrap()
    }

    async fn sets(&self, id: &str, more: &[(&str, AttributeValue)]) {
        let mut all = item(more);
        all.insert("id".to_owned(), s(id));
        self.put(PutItemInput { table_name: "things".to_owned(), item: all, ..PutItemInput::default() }).await.unwrap();
    }

    async fn removes(&self, id: &str) {
        let input = DeleteItemInput {
            table_name: "things".to_owned(),
            key: item(&[("id", s(id))]),
            ..DeleteItemInput::default()
        };
        self.delete(input).await.unwrap();
    }

    async fn stream(&self, arn: &str) -> Result<StreamDescription, Refusal> {
        self.stream_by(DescribeStreamInput { stream_arn: arn.to_owned(), ..DescribeStreamInput::default() }).await
    }

    async fn stream_by(&self, input: DescribeStreamInput) -> Result<StreamDescription, Refusal> {
        match self.ask(Request::DescribeStream(Box::new(input))).await? {
            Response::DescribeStream(answer) => Ok(answer.stream_description.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    async fn shards(&self, arn: &str) -> Vec<String> {
        let shards = self.stream(arn).await.unwrap().shards.unwrap();
        shards.into_iter().map(|shard| shard.shard_id.unwrap()).collect()
    }

    async fn iterator(
        &self,
        arn: &str,
        shard: &str,
        from: (ShardIteratorType, Option<&str>),
    ) -> Result<String, Refusal> {
        let input = GetShardIteratorInput {
            stream_arn: arn.to_owned(),
            shard_id: shard.to_owned(),
            shard_iterator_type: from.0,
            sequence_number: from.1.map(str::to_owned),
            timestamp: None,
        };
        self.iterator_by(input).await
    }

    async fn iterator_by(&self, input: GetShardIteratorInput) -> Result<String, Refusal> {
        match self.ask(Request::GetShardIterator(Box::new(input))).await? {
            Response::GetShardIterator(answer) => Ok(answer.shard_iterator.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    async fn records(&self, iterator: &str, limit: Option<i32>) -> Result<GetRecordsOutput, Refusal> {
        let input = GetRecordsInput { shard_iterator: iterator.to_owned(), limit };
        match self.ask(Request::GetRecords(Box::new(input))).await? {
            Response::GetRecords(answer) => Ok(*answer),
            other => panic!("{other:?}"),
        }
    }

    /// All that the only open shard, or any other, has from its beginning.
    async fn all_of(&self, arn: &str, shard: &str) -> Vec<Record> {
        let mut next = Some(self.iterator(arn, shard, (ShardIteratorType::TrimHorizon, None)).await.unwrap());
        let mut found = Vec::new();
        while let Some(iterator) = next {
            let page = self.records(&iterator, None).await.unwrap();
            let records = page.records.unwrap();
            if records.is_empty() {
                break;
            }
            found.extend(records);
            next = page.next_shard_iterator;
        }
        found
    }

    async fn everything(&self, arn: &str) -> Vec<Record> {
        let mut found = Vec::new();
        for shard in self.shards(arn).await {
            found.extend(self.all_of(arn, &shard).await);
        }
        found
    }

    async fn pass(&self, seconds: u64) {
        let mut left = seconds;
        while left > 0 {
            let step = left.min(600);
            self.env.advance(Duration::from_secs(step));
            self.reconcile().await;
            left -= step;
        }
    }
}

fn id_of(record: &Record) -> String {
    record.dynamodb.as_ref().unwrap().keys.as_ref().unwrap()["id"].s.clone().unwrap()
}

fn number_of(record: &Record) -> String {
    record.dynamodb.as_ref().unwrap().sequence_number.clone().unwrap()
}

#[tokio::test]
async fn each_view_holds_what_it_says_in_the_sizes_that_aws_recorded() {
    for (view, sizes, new, old) in [
        (StreamViewType::KeysOnly, [6, 6, 6], [false, false, false], [false, false, false]),
        (StreamViewType::NewImage, [12, 22, 6], [true, true, false], [false, false, false]),
        (StreamViewType::OldImage, [6, 12, 22], [false, false, false], [false, true, true]),
        (StreamViewType::NewAndOldImages, [12, 28, 22], [true, true, false], [false, true, true]),
    ] {
        let world = World::new();
        let arn = world.streamed(view).await;
        world.sets("Fred", &[]).await;
        // The same again is no change.
        world.sets("Fred", &[]).await;
        world.sets("Fred", &[("name", s("Fred!!"))]).await;
        world.removes("Fred").await;
        world.removes("Fred").await;
        let described = world.stream(&arn).await.unwrap();
        assert_eq!(described.stream_status, Some(StreamStatus::Enabled));
        assert_eq!(described.stream_view_type.unwrap().as_str(), view.as_str());
        let shards = described.shards.unwrap();
        let [shard] = &shards[..] else { panic!("{shards:?}") };
        assert_eq!(
            (&shard.parent_shard_id, &shard.sequence_number_range.as_ref().unwrap().ending_sequence_number),
            (&None, &None)
        );
        let records = world.all_of(&arn, shard.shard_id.as_ref().unwrap()).await;
        let names: Vec<OperationType> = records.iter().map(|record| record.event_name.unwrap()).collect();
        assert_eq!(names, [OperationType::Insert, OperationType::Modify, OperationType::Remove], "{view:?}");
        for (index, record) in records.iter().enumerate() {
            let body = record.dynamodb.as_ref().unwrap();
            assert_eq!(body.size_bytes, Some(sizes[index]), "{view:?} {index}");
            assert_eq!(
                (body.new_image.is_some(), body.old_image.is_some()),
                (new[index], old[index]),
                "{view:?} {index}"
            );
            assert_eq!((&record.user_identity, record.event_version.as_deref()), (&None, Some("1.1")));
        }
        assert!(records.is_sorted_by_key(|record| number_of(record).parse::<u128>().unwrap()));
    }
}

#[tokio::test]
async fn what_expires_is_removed_by_the_service() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::OldImage).await;
    let specification = TimeToLiveSpecification { enabled: true, attribute_name: "until".to_owned() };
    let enable = UpdateTimeToLiveInput { table_name: "things".to_owned(), time_to_live_specification: specification };
    world.set_ttl(enable).await.unwrap();
    world.sets("a", &[("until", n(NOW / 1000 + 5))]).await;
    world.sets("b", &[]).await;
    world.removes("b").await;
    world.pass(10).await;
    let removed: Vec<Record> = world
        .everything(&arn)
        .await
        .into_iter()
        .filter(|record| record.event_name == Some(OperationType::Remove))
        .collect();
    let who =
        |record: &Record| record.user_identity.clone().map(|who| (who.r#type.unwrap(), who.principal_id.unwrap()));
    assert_eq!(
        removed.iter().map(|record| (id_of(record), who(record))).collect::<Vec<_>>(),
        [("b".to_owned(), None), ("a".to_owned(), Some(("Service".to_owned(), "dynamodb.amazonaws.com".to_owned()))),]
    );
}

#[tokio::test]
async fn a_transaction_is_in_the_stream_as_a_whole_or_not_at_all() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::KeysOnly).await;
    let put = |id: &str, condition: Option<&str>| TransactWriteItem {
        put: Some(Put {
            table_name: "things".to_owned(),
            item: item(&[("id", s(id))]),
            condition_expression: condition.map(str::to_owned),
            ..Put::default()
        }),
        ..TransactWriteItem::default()
    };
    let transact = |items| TransactWriteItemsInput { transact_items: items, ..TransactWriteItemsInput::default() };
    world.transact(transact(vec![put("a", None), put("b", Some("attribute_exists(id)"))])).await.unwrap_err();
    assert!(world.everything(&arn).await.is_empty());
    world.transact(transact(vec![put("a", None), put("b", None)])).await.unwrap();
    assert_eq!(world.everything(&arn).await.iter().map(id_of).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn reading_begins_where_it_is_told_to() {
    use ShardIteratorType::{AfterSequenceNumber, AtSequenceNumber, AtTimestamp, Latest, TrimHorizon};
    let world = World::new();
    let arn = world.streamed(StreamViewType::KeysOnly).await;
    for id in ["a", "b", "c"] {
        world.sets(id, &[]).await;
        world.env.advance(Duration::from_secs(10));
    }
    let shard = world.shards(&arn).await.remove(0);
    let all = world.all_of(&arn, &shard).await;
    let latest = world.iterator(&arn, &shard, (Latest, None)).await.unwrap();
    world.sets("d", &[]).await;
    let second = number_of(&all[1]);
    let start = world.stream(&arn).await.unwrap().shards.unwrap()[0]
        .sequence_number_range
        .clone()
        .unwrap()
        .starting_sequence_number
        .unwrap();
    for (from, expected) in [
        ((TrimHorizon, None), "abcd"),
        ((AtSequenceNumber, Some(second.as_str())), "bcd"),
        ((AfterSequenceNumber, Some(second.as_str())), "cd"),
        ((AtSequenceNumber, Some(start.as_str())), "abcd"),
        ((Latest, None), ""),
    ] {
        let iterator = world.iterator(&arn, &shard, from).await.unwrap();
        let page = world.records(&iterator, None).await.unwrap();
        assert_eq!(page.records.unwrap().iter().map(id_of).collect::<String>(), expected, "{from:?}");
        assert!(page.next_shard_iterator.is_some());
    }
    let page = world.records(&latest, None).await.unwrap();
    assert_eq!(page.records.unwrap().iter().map(id_of).collect::<String>(), "d");
    for (seconds, expected) in [(0, "abcd"), (1, "bcd"), (10, "bcd"), (11, "cd"), (30, "d"), (31, "")] {
        let at = base_types::Timestamp::from_millis(NOW + seconds * 1000);
        let input = GetShardIteratorInput {
            stream_arn: arn.clone(),
            shard_id: shard.clone(),
            shard_iterator_type: AtTimestamp,
            sequence_number: None,
            timestamp: Some(at),
        };
        let iterator = world.iterator_by(input).await.unwrap();
        let page = world.records(&iterator, None).await.unwrap();
        assert_eq!(page.records.unwrap().iter().map(id_of).collect::<String>(), expected, "{seconds}");
    }
    let validation = |outcome: Result<String, Refusal>| assert_eq!(outcome.unwrap_err().0, "ValidationException");
    validation(world.iterator(&arn, &shard, (AtSequenceNumber, None)).await);
    validation(world.iterator(&arn, &shard, (TrimHorizon, Some(&second))).await);
    validation(world.iterator(&arn, &shard, (AfterSequenceNumber, Some("000000000000000000001"))).await);
    validation(world.iterator("no-arn-of-a-stream-at-all-but-long-enough", &shard, (Latest, None)).await);
    let missing = world.iterator(&arn, "shardId-00000001414576573621-f55eea83", (Latest, None)).await.unwrap_err();
    assert_eq!(missing.0, "ResourceNotFoundException");
}

#[tokio::test]
async fn pages_hold_a_thousand_records_or_a_megabyte() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::NewAndOldImages).await;
    let large = "x".repeat(300_000);
    for id in 0..1100 {
        world.sets(&format!("{id:04}"), &[]).await;
    }
    for id in 0..6 {
        world.sets(&format!("l{id}"), &[("text", s(&large))]).await;
    }
    let shard = world.shards(&arn).await.remove(0);
    let mut next = world.iterator(&arn, &shard, (ShardIteratorType::TrimHorizon, None)).await.unwrap();
    let (mut sizes, mut found) = (Vec::new(), Vec::new());
    for limit in [None, Some(7), None, None, None] {
        let page = world.records(&next, limit).await.unwrap();
        let records = page.records.unwrap();
        sizes.push(records.len());
        found.extend(records.iter().map(id_of));
        next = page.next_shard_iterator.unwrap();
    }
    assert_eq!(sizes, [1000, 7, 96, 3, 0]);
    found.dedup();
    assert_eq!(found.len(), 1106);
    let refused = world.records(&next, Some(1001)).await.unwrap_err();
    assert_eq!(refused.0, "ValidationException");
    assert_eq!(world.records("arn|1|abc", None).await.unwrap_err().0, "ValidationException");
}

#[tokio::test]
async fn an_iterator_is_good_for_a_quarter_of_an_hour() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::KeysOnly).await;
    let shard = world.shards(&arn).await.remove(0);
    let iterator = world.iterator(&arn, &shard, (ShardIteratorType::TrimHorizon, None)).await.unwrap();
    world.env.advance(Duration::from_secs(15 * 60));
    let next = world.records(&iterator, None).await.unwrap().next_shard_iterator.unwrap();
    world.env.advance(Duration::from_secs(1));
    assert_eq!(world.records(&iterator, None).await.unwrap_err().0, "ExpiredIteratorException");
    assert!(world.records(&next, None).await.is_ok());
}

#[tokio::test]
async fn shards_are_closed_after_hours_and_their_children_go_on() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::KeysOnly).await;
    // One that holds nothing stays open.
    world.pass(5 * HOUR).await;
    assert_eq!(world.shards(&arn).await.len(), 1);
    for round in 0..4 {
        world.sets(&round.to_string(), &[]).await;
        world.pass(5 * HOUR).await;
    }
    let shards = world.stream(&arn).await.unwrap().shards.unwrap();
    assert_eq!(shards.len(), 5);
    for pair in shards.windows(2) {
        assert_eq!(pair[1].parent_shard_id, pair[0].shard_id);
        let end = pair[0].sequence_number_range.as_ref().unwrap().ending_sequence_number.clone().unwrap();
        let start = pair[1].sequence_number_range.as_ref().unwrap().starting_sequence_number.clone().unwrap();
        assert_eq!(end.parse::<u128>().unwrap() + 1, start.parse::<u128>().unwrap());
    }
    // By its lineage everything is found once, and a closed shard has an end.
    assert_eq!(world.everything(&arn).await.iter().map(id_of).collect::<String>(), "0123");
    let first = shards[0].shard_id.clone().unwrap();
    let iterator = world.iterator(&arn, &first, (ShardIteratorType::TrimHorizon, None)).await.unwrap();
    let page = world.records(&iterator, None).await.unwrap();
    assert_eq!((page.records.unwrap().len(), page.next_shard_iterator), (1, None));
    let paged = |from: Option<String>, filter| DescribeStreamInput {
        stream_arn: arn.clone(),
        limit: Some(2),
        exclusive_start_shard_id: from,
        shard_filter: filter,
    };
    let (mut from, mut sizes) = (None, Vec::new());
    loop {
        let page = world.stream_by(paged(from, None)).await.unwrap();
        sizes.push(page.shards.unwrap().len());
        match page.last_evaluated_shard_id {
            Some(last) => from = Some(last),
            None => break,
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    let filter = ShardFilter { r#type: Some(ShardFilterType::ChildShards), shard_id: Some(first) };
    let children = world.stream_by(paged(None, Some(filter))).await.unwrap().shards.unwrap();
    assert_eq!(children.iter().map(|shard| shard.shard_id.clone()).collect::<Vec<_>>(), [shards[1].shard_id.clone()]);
    // A day later the first ones are gone with what they held.
    world.pass(20 * HOUR).await;
    let left = world.shards(&arn).await;
    assert!(left.len() < 5 && !left.contains(shards[0].shard_id.as_ref().unwrap()));
}

#[tokio::test]
async fn what_is_a_day_old_is_trimmed_and_asking_for_it_is_an_error() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::KeysOnly).await;
    world.sets("old", &[]).await;
    let shard = world.shards(&arn).await.remove(0);
    let old = number_of(&world.all_of(&arn, &shard).await[0]);
    world.pass(3 * HOUR).await;
    world.sets("young", &[]).await;
    let waiting = world.iterator(&arn, &shard, (ShardIteratorType::AtSequenceNumber, Some(&old))).await.unwrap();
    world.pass(21 * HOUR - 600).await;
    assert_eq!(world.everything(&arn).await.len(), 2);
    world.pass(1200).await;
    assert_eq!(world.everything(&arn).await.iter().map(id_of).collect::<Vec<_>>(), ["young"]);
    let gone = world.iterator(&arn, &shard, (ShardIteratorType::AtSequenceNumber, Some(&old))).await.unwrap_err();
    assert_eq!(
        gone,
        ("TrimmedDataAccessException".to_owned(), "The data you are trying to access has been trimmed".to_owned())
    );
    // Behind what was trimmed one may go on.
    assert!(world.iterator(&arn, &shard, (ShardIteratorType::AfterSequenceNumber, Some(&old))).await.is_ok());
    assert_eq!(world.records(&waiting, None).await.unwrap_err().0, "ExpiredIteratorException");
}

#[tokio::test]
async fn a_stream_outlives_its_table_and_its_own_end_by_a_day() {
    let world = World::new();
    let first = world.streamed(StreamViewType::KeysOnly).await;
    world.sets("a", &[]).await;
    let change = |view: Option<StreamViewType>| UpdateTableInput {
        table_name: "things".to_owned(),
        stream_specification: Some(StreamSpecification { stream_enabled: view.is_some(), stream_view_type: view }),
        ..UpdateTableInput::default()
    };
    world.update_table(change(None)).await.unwrap();
    world.sets("unseen", &[]).await;
    let described = world.stream(&first).await.unwrap();
    assert_eq!(described.stream_status, Some(StreamStatus::Disabled));
    assert!(described.shards.unwrap()[0].sequence_number_range.as_ref().unwrap().ending_sequence_number.is_some());
    // Within the same moment: another label all the same.
    world.update_table(change(Some(StreamViewType::NewImage))).await.unwrap();
    world.sets("b", &[]).await;
    world.delete_table(DeleteTableInput { table_name: "things".to_owned() }).await.unwrap();
    world.reconcile().await;
    let again = world.streamed(StreamViewType::OldImage).await;
    world.sets("c", &[]).await;
    let list = |limit, from| {
        Request::ListStreams(Box::new(ListStreamsInput {
            table_name: Some("things".to_owned()),
            limit,
            exclusive_start_stream_arn: from,
        }))
    };
    let Response::ListStreams(page) = world.ask(list(Some(2), None)).await.unwrap() else { panic!("another") };
    let mut arns: Vec<String> = page.streams.unwrap().into_iter().map(|stream| stream.stream_arn.unwrap()).collect();
    assert_eq!(page.last_evaluated_stream_arn.as_ref(), arns.last());
    let Response::ListStreams(page) = world.ask(list(None, page.last_evaluated_stream_arn)).await.unwrap() else {
        panic!("another")
    };
    arns.extend(page.streams.unwrap().into_iter().map(|stream| stream.stream_arn.unwrap()));
    assert_eq!((arns.len(), &arns[0], &arns[2], page.last_evaluated_stream_arn), (3, &first, &again, None));
    for (arn, expected) in arns.iter().zip(["a", "b", "c"]) {
        assert_eq!(world.everything(arn).await.iter().map(id_of).collect::<String>(), expected);
    }
    world.pass(23 * HOUR).await;
    assert_eq!(world.everything(&first).await.len(), 1);
    world.pass(2 * HOUR).await;
    let gone = world.stream(&first).await.unwrap_err();
    assert_eq!(
        gone,
        ("ResourceNotFoundException".to_owned(), format!("Requested resource not found: Stream: {first} not found"))
    );
    assert_eq!(world.stream(&again).await.unwrap().stream_status, Some(StreamStatus::Enabled));
}

#[tokio::test]
async fn those_inside_read_by_shares_and_each_key_falls_to_one() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::NewImage).await;
    for round in 0..5 {
        for id in 0..20 {
            world.sets(&id.to_string(), &[("round", n(round))]).await;
        }
    }
    let (streams, cx) = (world.streams.clone(), world.cx.clone());
    let arn: base_types::Arn = arn.parse().unwrap();
    let found = world.store.view(move |tx| {
        let shards = streams.shards(&cx, tx, &arn)?;
        let mut found = Vec::new();
        for number in 0..3 {
            let (mut after, mut records) = (None::<String>, Vec::new());
            loop {
                let read = ShardRead {
                    shard: &shards[0].id,
                    after: after.as_deref(),
                    until: None,
                    most: 7,
                    bytes: 1 << 20,
                    share: (number, 3),
                };
                let page = streams.read(&cx, tx, &arn, &read)?;
                assert!(page.records.len() <= 7 && !page.ended);
                records.extend(page.records);
                after = page.after.or(after);
                if page.complete {
                    break;
                }
            }
            found.push(records);
        }
        let latest = streams.place(&cx, tx, &arn, &shards[0].id, StreamStart::Latest)?;
        let read =
            ShardRead { shard: &shards[0].id, after: latest.as_deref(), until: None, most: 7, bytes: 1, share: (0, 1) };
        assert!(streams.read(&cx, tx, &arn, &read)?.complete);
        Ok::<_, services_ports::DeliveryError>(found)
    });
    let found = found.await.unwrap();
    assert_eq!(found.iter().map(Vec::len).sum::<usize>(), 100);
    let id = |record: &services_ports::StreamRecord| record.record["dynamodb"]["Keys"]["id"]["S"].to_string();
    for (number, records) in found.iter().enumerate() {
        let others = found.iter().enumerate().filter(|(other, _)| *other != number).flat_map(|(_, records)| records);
        assert!(others.clone().all(|other| records.iter().all(|record| id(record) != id(other))));
        assert!(records.is_sorted_by_key(|record| record.sequence.parse::<u128>().unwrap()));
    }
}

#[tokio::test]
async fn an_update_is_a_change_of_its_item() {
    let world = World::new();
    let arn = world.streamed(StreamViewType::NewAndOldImages).await;
    let update = |value| UpdateItemInput {
        table_name: "things".to_owned(),
        key: item(&[("id", s("a"))]),
        update_expression: Some("SET v = :v".to_owned()),
        expression_attribute_values: Some(item(&[(":v", n(value))])),
        ..UpdateItemInput::default()
    };
    for value in [1, 2, 2] {
        world.update(update(value)).await.unwrap();
    }
    let names: Vec<_> = world.everything(&arn).await.iter().map(|record| record.event_name.unwrap()).collect();
    assert_eq!(names, [OperationType::Insert, OperationType::Modify]);
}
