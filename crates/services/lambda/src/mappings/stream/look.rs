//! One look into a shard, in a view: whether the mapping still works, how far the lane is, which records come next. And
//! what is written of a lane, in a transaction.

use std::sync::Arc;

use base_types::{Arn, Fault, FaultKind};
use services_kernel::Cx;
use services_ports::{DeliveryError, ShardPage, ShardRead};
use store_api::{Direction, Lease, Tx};

use super::lane::Lane;
use crate::{
    control::Control,
    mappings::{Mapping, Task},
    tables::{MAPPING_LANES, MAPPINGS, Place},
};

/// Lanes of one mapping: shards that are there, times ten.
const LANES_MAX: usize = 10_000;

/// Which lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LaneName {
    pub(super) shard: String,
    pub(super) number: u64,
}

/// What is asked of a look.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) place: Place,
    pub(super) uuid: String,
    pub(super) source: Arn,
    /// In whose name is read: the function's role.
    pub(super) cx: Cx,
    /// The revision of the mapping that is known.
    pub(super) revision: u64,
    pub(super) name: LaneName,
    /// How many lanes the shard has.
    pub(super) shares: u64,
    pub(super) after: Option<String>,
    pub(super) until: Option<String>,
    pub(super) most: usize,
    pub(super) bytes: usize,
}

/// What a look saw.
pub(super) enum Looked {
    /// The mapping works no more.
    Over,
    /// It is set to something else.
    Changed(Arc<Mapping>),
    Saw(ShardPage),
}

/// Why a look came to nothing.
#[derive(Debug)]
pub(super) enum LookError {
    Fault(Fault),
    /// The stream cannot be read.
    Stream(DeliveryError),
}

impl From<Fault> for LookError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DeliveryError> for LookError {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Fault(fault) => Self::Fault(fault),
            other => Self::Stream(other),
        }
    }
}

/// Looks.
pub(super) fn look(control: &Control, tx: &Tx, ask: &Ask) -> Result<Looked, LookError> {
    let mapping = match MAPPINGS.get(tx, &ask.place.mapping(&ask.uuid))? {
        Some(mapping) if mapping.task() == Task::Work => mapping,
        _ => return Ok(Looked::Over),
    };
    if mapping.revision != ask.revision {
        return Ok(Looked::Changed(Arc::new(mapping)));
    }
    let read = ShardRead {
        shard: &ask.name.shard,
        after: ask.after.as_deref(),
        until: ask.until.as_deref(),
        most: ask.most,
        bytes: ask.bytes,
        share: (ask.name.number, ask.shares),
    };
    Ok(Looked::Saw(control.streams.of(&ask.source)?.read(&ask.cx, tx, &ask.source, &read)?))
}

/// Writes how far a lane is, and what came of its last batch. False when the mapping is gone.
pub(super) fn write(
    tx: &Tx,
    lease: &Lease,
    (place, uuid): (&Place, &str),
    name: &LaneName,
    lane: &Lane,
    result: Option<&str>,
) -> Result<bool, Fault> {
    tx.require(lease)?;
    let key = place.mapping(uuid);
    let Some(mut mapping) = MAPPINGS.get(tx, &key)? else { return Ok(false) };
    MAPPING_LANES.put(tx, &place.mapping_lane(uuid, &name.shard, name.number), lane)?;
    if let Some(result) = result.filter(|result| mapping.result.as_deref() != Some(*result)) {
        mapping.result = Some(result.to_owned());
        MAPPINGS.put(tx, &key, &mapping)?;
    }
    Ok(true)
}

/// What there is to be worked off.
pub(super) enum Divided {
    /// The mapping works no more.
    Over,
    /// Its shards have to be divided anew: that needs all lanes to have come to rest.
    Rest,
    /// These lanes are to be worked off.
    Lanes(Arc<Mapping>, Vec<(LaneName, Lane)>),
}

/// Divides the stream's shards into lanes: those of a child when all of its parent's are done.
pub(super) fn divide(
    control: &Control,
    tx: &Tx,
    lease: &Lease,
    (place, uuid): (&Place, &str),
    (cx, source): (&Cx, &Arn),
    busy: bool,
) -> Result<Divided, LookError> {
    tx.require(lease)?;
    let mapping = match MAPPINGS.get(tx, &place.mapping(uuid))? {
        Some(mapping) if mapping.task() == Task::Work => mapping,
        _ => return Ok(Divided::Over),
    };
    let shares = mapping.settings.stream.as_ref().map_or(1, super::settings::StreamSettings::lanes);
    let shards = control.streams.of(source)?.shards(cx, tx, source)?;
    let mut known: Vec<(String, u64, Lane)> = Vec::new();
    for (key, lane) in MAPPING_LANES.scan(tx, &place.mapping_lanes(uuid).prefix(), LANES_MAX, Direction::Forward)? {
        let mut parts = key.parts().map_err(Fault::from)?;
        let (Some(store_api::Part::U64(number)), Some(store_api::Part::Str(shard))) = (parts.pop(), parts.pop()) else {
            return Err(Fault::from(store_api::DamagedKey).into());
        };
        if shards.iter().any(|there| there.id == shard) {
            known.push((shard, number, lane));
        } else {
            // Its records are gone.
            tx.delete(&key)?;
        }
    }
    let mut lanes = Vec::new();
    for shard in &shards {
        let of =
            |id: &str| known.iter().filter(|(of, ..)| of == id).map(|(_, _, lane)| lane).cloned().collect::<Vec<_>>();
        let mut own = of(&shard.id);
        let parent = shard.parent.as_deref().filter(|parent| shards.iter().any(|there| there.id == *parent));
        let parent_done = parent.is_none_or(|parent| {
            let lanes = of(parent);
            !lanes.is_empty() && lanes.iter().all(|lane| lane.ended)
        });
        if own.is_empty() {
            if !parent_done {
                continue;
            }
        } else if own.iter().all(|lane| lane.ended) {
            continue;
        } else if own.iter().any(|lane| lane.shares != shares) {
            if busy {
                return Ok(Divided::Rest);
            }
        } else {
            let numbers = known.iter().filter(|(of, ..)| *of == shard.id).map(|(_, number, _)| *number);
            let named = numbers.map(|number| LaneName { shard: shard.id.clone(), number });
            lanes.extend(named.zip(own).filter(|(_, lane)| !lane.ended));
            continue;
        }
        // What some lane has not done yet is done again by all, in its order.
        let fresh = Lane { after: least(&own), ..Lane::new(shares) };
        for number in 0..u64::try_from(own.len()).unwrap_or(0) {
            MAPPING_LANES.remove(tx, &place.mapping_lane(uuid, &shard.id, number))?;
        }
        own.clear();
        for number in 0..shares {
            MAPPING_LANES.put(tx, &place.mapping_lane(uuid, &shard.id, number), &fresh)?;
            lanes.push((LaneName { shard: shard.id.clone(), number }, fresh.clone()));
        }
    }
    Ok(Divided::Lanes(Arc::new(mapping), lanes))
}

/// How far all of these are at least.
fn least(lanes: &[Lane]) -> Option<String> {
    let afters: Option<Vec<&String>> = lanes.iter().map(|lane| lane.after.as_ref()).collect();
    // Sequence numbers of a stream have one length, or the shorter is the smaller.
    afters?.into_iter().min_by_key(|after| (after.trim_start_matches('0').len(), after.as_str())).cloned()
}

pub(super) fn lost() -> Fault {
    Fault::new(FaultKind::Conflict, "work a stream off: another process has the mappings")
}
