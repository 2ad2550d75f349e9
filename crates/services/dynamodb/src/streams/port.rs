//! The stream for those inside of Pileus who work it off.

use base_types::Arn;
use services_kernel::Cx;
use services_ports::{DeliveryError, ShardPage, ShardRead, StreamRecord, StreamShard, StreamStart, Streams};
use store_api::{Key, Tx};

use super::{
    DynamoDbStreams, Error,
    ops::Named,
    record::Forms,
    stream::{Place, Shard, StreamState},
};
use crate::tables::{STREAM_STATES, stream_topic};

fn load(cx: &Cx, tx: &Tx, stream: &Arn) -> Result<(Named, StreamState), DeliveryError> {
    let missing = || DeliveryError::NotFound(stream.to_string());
    let named = Named::of(stream).filter(|named| named.region == cx.region).ok_or_else(missing)?;
    cx.authorize::<Error>(tx, "dynamodb:GetRecords", stream)
        .map_err(|error| DeliveryError::Denied(error.to_string()))?;
    let state = STREAM_STATES.get(tx, &named.key())?.filter(|state| !state.is_over(tx.now())).ok_or_else(missing)?;
    Ok((named, state))
}

fn shard_of<'s>(state: &'s StreamState, stream: &Arn, id: &str) -> Result<&'s Shard, DeliveryError> {
    state.shard(id).ok_or_else(|| DeliveryError::NotFound(format!("{stream}, shard {id},")))
}

impl Streams for DynamoDbStreams {
    fn service(&self) -> &'static str {
        "dynamodb"
    }

    fn shards(&self, cx: &Cx, tx: &Tx, stream: &Arn) -> Result<Vec<StreamShard>, DeliveryError> {
        let (_, state) = load(cx, tx, stream)?;
        let shards = state.shards.into_iter();
        Ok(shards.map(|Shard { id, parent, upto, .. }| StreamShard { id, parent, closed: upto.is_some() }).collect())
    }

    fn place(
        &self,
        cx: &Cx,
        tx: &Tx,
        stream: &Arn,
        shard: &str,
        start: StreamStart,
    ) -> Result<Option<String>, DeliveryError> {
        let (named, state) = load(cx, tx, stream)?;
        let shard = shard_of(&state, stream, shard)?;
        let place = match start {
            StreamStart::TrimHorizon => return Ok(None),
            StreamStart::Latest => shard.upto.unwrap_or_else(|| tx.stable_position().into()),
            StreamStart::At(at) => named.log(&state).before(tx, shard, at)?,
        };
        Ok(Some(place.sequence()))
    }

    fn read(&self, cx: &Cx, tx: &Tx, stream: &Arn, read: &ShardRead<'_>) -> Result<ShardPage, DeliveryError> {
        let (named, state) = load(cx, tx, stream)?;
        let shard = shard_of(&state, stream, read.shard)?;
        let place = |text: &str| Place::of_sequence(text).ok_or_else(|| crate::error::damaged("a sequence number"));
        let (after, until) = (read.after.map(place).transpose()?, read.until.map(place).transpose()?);
        let forms = Forms { region: named.region.as_str(), arn: &named.arn, view: state.view };
        let (mut page, mut last, mut bytes, mut fault) = (ShardPage::default(), None, 0_usize, None);
        let (number, shares) = read.share;
        let mut stopped = false;
        // Records of other shares are looked at, too: a page of them ends somewhere.
        let looked_at_most = read.most.saturating_mul(usize::try_from(shares).unwrap_or(1).max(1)).max(read.most);
        let complete = named.log(&state).visit(tx, shard, after, looked_at_most, |place, change| {
            if until.is_some_and(|until| place > until) {
                stopped = true;
                return false;
            }
            let key = change.key();
            if StreamRecord::share(key, shares) == number {
                let size = usize::try_from(change.size).unwrap_or(usize::MAX);
                if page.records.len() >= read.most || (bytes > 0 && bytes.saturating_add(size) > read.bytes) {
                    return false;
                }
                bytes = bytes.saturating_add(size);
                match forms.json(place, &change) {
                    Ok(record) => {
                        let (sequence, arrived) = (place.sequence(), change.at);
                        page.records.push(StreamRecord { sequence, key, arrived, record });
                    }
                    Err(found) => fault = Some(found),
                }
            }
            last = Some(place);
            true
        })?;
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        page.after = last.map(Place::sequence);
        page.complete = complete || stopped;
        page.ended = complete && shard.upto.is_some();
        Ok(page)
    }

    fn topic(&self, stream: &Arn) -> Option<Key> {
        let named = Named::of(stream)?;
        Some(stream_topic(named.account, &named.region, &named.table, &named.label))
    }
}
