//! `ListStreams`, `DescribeStream`, `GetShardIterator`, `GetRecords`.

use base_types::{AccountId, Arn, Region};
use model_dynamodbstreams::{
    DescribeStreamInput, DescribeStreamOutput, DynamoDbStreams as Operations, Error, GetRecordsInput, GetRecordsOutput,
    GetShardIteratorInput, GetShardIteratorOutput, KeySchemaElement, KeyType, ListStreamsInput, ListStreamsOutput,
    SequenceNumberRange, Shard as WireShard, ShardFilter, ShardIteratorType, Stream as WireStream, StreamDescription,
    StreamStatus,
};
use services_kernel::Cx;
use store_api::{Direction, Key, Tx};

use super::{
    DynamoDbStreams,
    iterator::Iterator,
    log::Log,
    record::{Forms, view_type},
    stream::{Place, Shard, StreamState},
};
use crate::tables::{Rows, STREAM_STATES, stream_key, streams_key};

/// Streams, and shards, of one answer.
const PAGE_MAX: usize = 100;
/// Records of one answer, and their bytes.
const RECORDS_MAX: usize = 1000;
const BYTES_MAX: u64 = 1 << 20;

/// A stream that a request names.
pub(super) struct Named {
    pub(super) arn: String,
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) table: String,
    pub(super) label: String,
}

impl Named {
    /// Of an ARN: `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`.
    pub(super) fn of(arn: &Arn) -> Option<Self> {
        let (table, label) = arn.resource.strip_prefix("table/")?.split_once("/stream/")?;
        let plain = |text: &str| !text.is_empty() && !text.contains('/');
        (arn.service == "dynamodb" && plain(table) && plain(label)).then_some(())?;
        Some(Self {
            arn: arn.to_string(),
            account: arn.account.parse().ok()?,
            region: arn.region.parse().ok()?,
            table: table.to_owned(),
            label: label.to_owned(),
        })
    }

    fn read(text: &str) -> Result<Self, Error> {
        let parsed = text.parse().ok().and_then(|arn| Self::of(&arn));
        parsed.ok_or_else(|| Error::validation_exception(format!("Invalid StreamArn: {text}")))
    }

    pub(super) fn key(&self) -> Key {
        stream_key(self.account, &self.region, &self.table, &self.label)
    }

    pub(super) fn log(&self, state: &StreamState) -> Log {
        let rows = Rows { account: self.account, region: self.region.clone(), id: state.id };
        Log::of(&rows, &self.label, state)
    }

    /// The stream, if the caller may do that to it.
    fn load(&self, cx: &Cx, tx: &Tx, action: &str) -> Result<StreamState, Error> {
        let arn = Arn::regional(
            "dynamodb",
            &self.region,
            self.account,
            format!("table/{}/stream/{}", self.table, self.label),
        );
        cx.authorize::<Error>(tx, action, &arn)?;
        let found = STREAM_STATES.get(tx, &self.key())?.filter(|_| self.region == cx.region);
        found.filter(|state| !state.is_over(tx.now())).ok_or_else(|| {
            Error::resource_not_found_exception(format!("Requested resource not found: Stream: {} not found", self.arn))
        })
    }
}

impl Operations<Cx, Tx> for DynamoDbStreams {
    fn list_streams(&self, cx: &Cx, tx: &Tx, input: &ListStreamsInput) -> Result<ListStreamsOutput, Error> {
        cx.authorize::<Error>(tx, "dynamodb:ListStreams", &cx.arn("dynamodb", "table/*/stream/*"))?;
        let most = limit(input.limit, PAGE_MAX);
        let all = streams_key(cx.account, &cx.region);
        let mut range = match &input.table_name {
            Some(name) => all.str(name).prefix(),
            None => all.prefix(),
        };
        if let Some(text) = &input.exclusive_start_stream_arn {
            let named = Named::read(text)?;
            range = range.after(&stream_key(cx.account, &cx.region, &named.table, &named.label));
        }
        let mut streams = Vec::new();
        for (key, state) in STREAM_STATES.scan(tx, &range, most + 1, Direction::Forward)? {
            let mut parts = key.parts().map_err(base_types::Fault::from)?;
            let (Some(store_api::Part::Str(label)), Some(store_api::Part::Str(table))) = (parts.pop(), parts.pop())
            else {
                return Err(base_types::Fault::from(store_api::DamagedKey).into());
            };
            if !state.is_over(tx.now()) {
                let arn = cx.arn("dynamodb", format!("table/{table}/stream/{label}")).to_string();
                streams.push(WireStream { stream_arn: Some(arn), table_name: Some(table), stream_label: Some(label) });
            }
        }
        let more = streams.len() > most;
        streams.truncate(most);
        let last_evaluated_stream_arn = streams.last().filter(|_| more).and_then(|stream| stream.stream_arn.clone());
        Ok(ListStreamsOutput { streams: Some(streams), last_evaluated_stream_arn })
    }

    fn describe_stream(&self, cx: &Cx, tx: &Tx, input: &DescribeStreamInput) -> Result<DescribeStreamOutput, Error> {
        let named = Named::read(&input.stream_arn)?;
        let mut state = named.load(cx, tx, "dynamodb:DescribeStream")?;
        state.forget(tx.now());
        let most = limit(input.limit, PAGE_MAX);
        let parent = match &input.shard_filter {
            Some(filter) => Some(children_of(filter)?),
            None => None,
        };
        let from = input.exclusive_start_shard_id.as_deref().unwrap_or_default();
        let mut found: Vec<&Shard> = state
            .shards
            .iter()
            .filter(|shard| shard.id.as_str() > from)
            .filter(|shard| parent.is_none() || shard.parent.as_deref() == parent)
            .collect();
        let more = found.len() > most;
        found.truncate(most);
        let last_evaluated_shard_id = found.last().filter(|_| more).map(|shard| shard.id.clone());
        let shards = found.into_iter().map(|shard| wire_shard(&state, shard)).collect();
        let key = |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
        let hash = key(&state.keys.hash.name, KeyType::Hash);
        let range = state.keys.range.as_ref().map(|range| key(&range.name, KeyType::Range));
        let status = if state.is_enabled() { StreamStatus::Enabled } else { StreamStatus::Disabled };
        Ok(DescribeStreamOutput {
            stream_description: Some(StreamDescription {
                stream_arn: Some(named.arn.clone()),
                stream_label: Some(named.label.clone()),
                stream_status: Some(status),
                stream_view_type: Some(view_type(state.view)),
                creation_request_date_time: Some(state.begun),
                table_name: Some(named.table.clone()),
                key_schema: Some(std::iter::once(hash).chain(range).collect()),
                shards: Some(shards),
                last_evaluated_shard_id,
            }),
        })
    }

    fn get_shard_iterator(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetShardIteratorInput,
    ) -> Result<GetShardIteratorOutput, Error> {
        let named = Named::read(&input.stream_arn)?;
        check_start(input)?;
        let state = named.load(cx, tx, "dynamodb:GetShardIterator")?;
        let shard = state.shard(&input.shard_id).ok_or_else(|| no_shard(&input.shard_id, &named.arn))?;
        let after = match input.shard_iterator_type {
            ShardIteratorType::TrimHorizon => None,
            ShardIteratorType::Latest => Some(shard.upto.unwrap_or_else(|| tx.stable_position().into())),
            ShardIteratorType::AtTimestamp => {
                let at = input.timestamp.unwrap_or(tx.now());
                Some(named.log(&state).before(tx, shard, at)?)
            }
            ShardIteratorType::AtSequenceNumber | ShardIteratorType::AfterSequenceNumber => {
                let text = input.sequence_number.as_deref().unwrap_or_default();
                let place = Place::of_sequence(text).filter(|place| shard.has(*place)).ok_or_else(|| {
                    Error::validation_exception(format!(
                        "Invalid SequenceNumber: {text} is not one of the shard {}",
                        shard.id
                    ))
                })?;
                let after = if input.shard_iterator_type == ShardIteratorType::AtSequenceNumber {
                    place.before()
                } else {
                    place
                };
                if after < state.trimmed {
                    return Err(trimmed());
                }
                Some(after)
            }
        };
        let iterator = Iterator { shard: shard.id.clone(), after, made: tx.now() };
        Ok(GetShardIteratorOutput { shard_iterator: Some(iterator.seal(&self.tokens, &named.arn)) })
    }

    fn get_records(&self, cx: &Cx, tx: &Tx, input: &GetRecordsInput) -> Result<GetRecordsOutput, Error> {
        let invalid = || Error::validation_exception("Invalid ShardIterator");
        let (arn, iterator) = Iterator::open(&self.tokens, &input.shard_iterator).ok_or_else(invalid)?;
        let named = Named::read(&arn)?;
        if let Some(limit) = input.limit.filter(|limit| usize::try_from(*limit).is_ok_and(|limit| limit > RECORDS_MAX))
        {
            return Err(Error::validation_exception(format!(
                "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have \
                 value less than or equal to {RECORDS_MAX}"
            )));
        }
        if iterator.has_expired(tx.now()) {
            return Err(Error::expired_iterator_exception(
                "The shard iterator has expired: it was made more than 15 minutes ago.",
            ));
        }
        let state = named.load(cx, tx, "dynamodb:GetRecords")?;
        let shard = state.shard(&iterator.shard).ok_or_else(|| no_shard(&iterator.shard, &named.arn))?;
        if iterator.after.is_some_and(|after| after < state.trimmed && shard.after < state.trimmed) {
            return Err(trimmed());
        }
        let forms = Forms { region: named.region.as_str(), arn: &named.arn, view: state.view };
        let (mut records, mut after, mut bytes) = (Vec::new(), iterator.after, 0);
        let complete =
            named.log(&state).visit(tx, shard, iterator.after, limit(input.limit, RECORDS_MAX), |place, change| {
                // One record comes however large it is.
                if bytes > 0 && bytes + change.size > BYTES_MAX {
                    return false;
                }
                bytes += change.size;
                after = Some(place);
                records.push(forms.wire(place, &change));
                true
            })?;
        let records = records.into_iter().collect::<Result<Vec<_>, _>>()?;
        let over = complete && shard.upto.is_some();
        let next = Iterator {
            shard: iterator.shard,
            // Nothing was there: who was at the end goes on from the end.
            after: after.or_else(|| complete.then(|| tx.stable_position().into())),
            made: tx.now(),
        };
        Ok(GetRecordsOutput {
            records: Some(records),
            next_shard_iterator: (!over).then(|| next.seal(&self.tokens, &named.arn)),
        })
    }
}

fn limit(given: Option<i32>, most: usize) -> usize {
    given.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(most).clamp(1, most)
}

fn children_of(filter: &ShardFilter) -> Result<&str, Error> {
    match (&filter.r#type, &filter.shard_id) {
        (Some(_), Some(parent)) => Ok(parent),
        (None, _) => Err(Error::validation_exception("ShardFilter must have a Type")),
        (_, None) => Err(Error::validation_exception("ShardFilter of type CHILD_SHARDS must have a ShardId")),
    }
}

/// What begins somewhere says where, and what does not does not.
fn check_start(input: &GetShardIteratorInput) -> Result<(), Error> {
    let (numbered, timed) = match input.shard_iterator_type {
        ShardIteratorType::TrimHorizon | ShardIteratorType::Latest => (false, false),
        ShardIteratorType::AtSequenceNumber | ShardIteratorType::AfterSequenceNumber => (true, false),
        ShardIteratorType::AtTimestamp => (false, true),
    };
    for (member, wanted, given) in
        [("SequenceNumber", numbered, input.sequence_number.is_some()), ("Timestamp", timed, input.timestamp.is_some())]
    {
        if wanted != given {
            let must = if wanted { "must" } else { "must not" };
            return Err(Error::validation_exception(format!(
                "{member} {must} be specified for ShardIteratorType {}",
                input.shard_iterator_type.as_str()
            )));
        }
    }
    Ok(())
}

/// A shard says where it begins; one of which records were removed, where those begin that are left.
fn wire_shard(state: &StreamState, shard: &Shard) -> WireShard {
    let start = shard.after.max(state.trimmed);
    let start = shard.upto.map_or(start, |upto| start.min(upto.before()));
    WireShard {
        shard_id: Some(shard.id.clone()),
        sequence_number_range: Some(SequenceNumberRange {
            starting_sequence_number: Some(start.next().sequence()),
            ending_sequence_number: shard.upto.map(Place::sequence),
        }),
        parent_shard_id: shard.parent.clone(),
    }
}

fn no_shard(shard: &str, arn: &str) -> Error {
    Error::resource_not_found_exception(format!(
        "Requested resource not found: Shard: {shard} in Stream: {arn} not found"
    ))
}

fn trimmed() -> Error {
    Error::trimmed_data_access_exception("The data you are trying to access has been trimmed")
}
