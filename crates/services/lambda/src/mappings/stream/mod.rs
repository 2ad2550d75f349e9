//! Mappings of streams: every change of a table comes to a function, those of one item in their order.
//!
//! - [`settings`]: what streams alone can be set to; pure;
//! - [`lane`]: how far a mapping has come, and what follows from an attempt; pure;
//! - [`batch`]: the event that a function gets, and what is told of records that are given up; pure;
//! - [`look`]: one look into a shard, in a view; and what is written of it;
//! - [`worker`]: keeps a task for each lane; [`task`]: works one lane off.
//!
//! A shard is worked off by as many *lanes* as the mapping has batches at once. A record falls to a lane by its item, so
//! those of one item are in one lane, and a lane has one batch at a time. A child's lanes begin when its parent's have
//! come to their end.
//!
//! Guarantees: a lane moves on in the commit that writes what became of its batch (and hands over what is given up), under
//! the lease of all mappings: whatever ends this process, the next one begins behind the last batch that was done, so
//! that no record is lost and none comes before an older one of its item. Attempts are counted durably. Whether the
//! mapping may still work is read in the view that reads the records.

pub(crate) mod batch;
pub(crate) mod lane;
mod look;
pub(crate) mod settings;
mod task;
mod worker;

use base_types::Arn;
use services_kernel::Cx;
use services_ports::{DeliveryError, StreamSources, StreamStart};
use store_api::Tx;

use self::{
    lane::Lane,
    settings::{Start, StreamSettings},
};
use crate::tables::{MAPPING_LANES, Place};

/// Where the lanes of a new mapping begin, as far as they do not begin with the oldest record: what is in the stream by
/// now is not for it.
pub(crate) fn begin(
    streams: &StreamSources,
    cx: &Cx,
    tx: &Tx,
    place: &Place,
    (uuid, stream): (&str, &Arn),
    settings: &StreamSettings,
) -> Result<(), DeliveryError> {
    let source = streams.of(stream)?;
    let shards = source.shards(cx, tx, stream)?;
    if settings.start == Start::TrimHorizon {
        return Ok(());
    }
    for shard in shards {
        let after = source.place(cx, tx, stream, &shard.id, StreamStart::Latest)?;
        for number in 0..settings.lanes() {
            let lane = Lane { after: after.clone(), ended: shard.closed, ..Lane::new(settings.lanes()) };
            MAPPING_LANES.put(tx, &place.mapping_lane(uuid, &shard.id, number), &lane)?;
        }
    }
    Ok(())
}
