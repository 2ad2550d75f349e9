//! Point-in-time recovery. Guarantee: while it is enabled, every state that a table had within the period can be restored,
//! to the commit.
//!
//! Every change of an item is logged in its own commit, with its time. A *base* is a copy of the table ([`copies`]) and the
//! place in the log at which it began. A time is restored from the last base before it and what was logged since, up to it.
//! A new base is made every week, and as soon as the log since the last one is larger than the table (and than
//! [`BASE_BYTES_MIN`]); what lies before the first base that the period needs is forgotten. A log larger than
//! [`LOG_BYTES_MAX`] is cut earlier: then the earliest time that can be restored moves on, and is told so.

use std::time::Duration;

use base_env::Env;
use base_types::{Fault, Timestamp};
use lang_dynamodb::{Item, item_size};
use minicbor::{Decode, Encode, bytes::ByteVec};
use store_api::{Direction, Part, Position as Place, Tx};

use crate::{
    copies, restore,
    tables::{Id, NO_INDEX, RECOVERY_DUE, RECOVERY_LOG, TRASH, owner, recovery_due_key},
    target::Target,
};

/// The longest period, and the one that is meant when none is said (AWS: 35 days).
pub(crate) const DAYS_MAX: u32 = 35;
const BASE_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// A log that is smaller than this is no reason for a new base.
const BASE_BYTES_MIN: i64 = 64 << 20;
/// The greatest log of a table.
const LOG_BYTES_MAX: i64 = 8 << 30;
/// Records that one transaction forgets.
const TRIMMED_MAX: usize = 256;
const LOOK_EVERY: Duration = Duration::from_secs(600);
const AT_ONCE: Duration = Duration::from_millis(1);

/// A table's point-in-time recovery.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Recovery {
    #[n(0)]
    pub(crate) days: u32,
    /// Oldest first.
    #[n(1)]
    pub(crate) bases: Vec<Base>,
}

/// A copy to begin with.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Base {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) at: Timestamp,
    /// Everything that was logged up to here is in it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) place: [u8; 16],
    /// Bytes that had been logged when it began.
    #[n(3)]
    pub(crate) logged: i64,
    #[n(4)]
    pub(crate) complete: bool,
}

/// A change.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Logged {
    #[n(0)]
    pub(crate) at: Timestamp,
    #[n(1)]
    pub(crate) key: ByteVec,
    /// What the item became.
    #[n(2)]
    pub(crate) new: Option<ByteVec>,
}

/// A table whose recovery is looked after.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RecoveryDue {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
}

impl Recovery {
    /// The earliest time that can be restored.
    pub(crate) fn earliest(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.bases.first()?.at;
        let period = Duration::from_secs(u64::from(self.days) * 24 * 3600);
        let start =
            Timestamp::from_millis(now.as_millis().saturating_sub(u64::try_from(period.as_millis()).unwrap_or(0)));
        Some(oldest.max(start))
    }

    /// The base from which a time is restored.
    pub(crate) fn base(&self, at: Timestamp) -> Option<&Base> {
        self.bases.iter().rev().find(|base| base.at <= at)
    }
}

/// Enables it, or changes its period; the table's record is the caller's to save.
pub(crate) fn enable(tx: &Tx, env: &Env, target: &mut Target, days: u32) -> Result<(), Fault> {
    match &mut target.record.recovery {
        Some(recovery) => recovery.days = days,
        None => {
            target.record.recovery = Some(Recovery { days, bases: Vec::new() });
            begin_base(tx, env, target)?;
        }
    }
    file(tx, target, tx.now())
}

/// Ends it: nothing can be restored any more. The table's record is the caller's to save.
pub(crate) fn disable(tx: &Tx, target: &mut Target) -> Result<(), Fault> {
    let Some(recovery) = target.record.recovery.take() else { return Ok(()) };
    for base in &recovery.bases {
        copies::discard(tx, &target.rows, base.id)?;
    }
    if target.record.copying.as_ref().is_some_and(|copying| copying.backup.is_none()) {
        target.record.copying = None;
    }
    target.rows.forget_log(tx)?;
    tx.wake(&TRASH.global_key(None), 1)
}

fn file(tx: &Tx, target: &Target, at: Timestamp) -> Result<(), Fault> {
    let row = recovery_due_key(at, target.rows.account, &target.rows.region, &target.name, &target.rows.id);
    RECOVERY_DUE.put(tx, &row, &RecoveryDue { id: target.rows.id })?;
    tx.wake(&TRASH.global_key(None), 1)
}

/// Begins a base, unless another copy is being made.
fn begin_base(tx: &Tx, env: &Env, target: &mut Target) -> Result<(), Fault> {
    if target.record.copying.is_some() {
        return Ok(());
    }
    let mut id = [0; 16];
    env.fill(&mut id);
    let logged = target.rows.logged(tx)?;
    let base = Base { id, at: tx.now(), place: tx.stable_position().to_bytes(), logged, complete: false };
    if let Some(recovery) = &mut target.record.recovery {
        recovery.bases.push(base);
    }
    copies::begin(tx, target, id, None)
}

/// The copy of a base is complete.
pub(crate) fn completed(target: &mut Target, id: Id) {
    let bases = target.record.recovery.iter_mut().flat_map(|recovery| &mut recovery.bases);
    bases.filter(|base| base.id == id).for_each(|base| base.complete = true);
}

/// Logs a change, if the table's changes are logged.
pub(crate) fn log(tx: &Tx, target: &Target, old: Option<&Item>, new: Option<&Item>) -> Result<(), Fault> {
    if target.record.recovery.is_none() {
        return Ok(());
    }
    let Some(some) = new.or(old) else { return Ok(()) };
    let key = target.record.key_of(some);
    let size = item_size(&key) + new.map_or(0, item_size);
    let record = Logged {
        at: tx.now(),
        key: lang_dynamodb::encode(&key).into(),
        new: new.map(|new| lang_dynamodb::encode(new).into()),
    };
    tx.append(&target.rows.log(), RECOVERY_LOG.encode(&record)?)?;
    target.rows.add_logged(tx, i64::try_from(size).unwrap_or(i64::MAX))
}

/// Looks after the recovery of the table whose turn it is; when the next one's is.
pub(crate) fn look_after(tx: &Tx, env: &Env) -> Result<Option<Duration>, Fault> {
    let due = RECOVERY_DUE.scan(tx, &RECOVERY_DUE.global_key(None).prefix(), 1, Direction::Forward)?.pop();
    let Some((key, due)) = due else { return Ok(None) };
    let mut parts = key.parts()?;
    parts.pop();
    let (Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account)), Some(Part::U64(at))) =
        (parts.pop(), parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(store_api::DamagedKey.into());
    };
    let (at, now) = (Timestamp::from_millis(at), tx.now());
    if at > now {
        return Ok(Some(at.since(now).max(AT_ONCE)));
    }
    RECOVERY_DUE.remove(tx, &key)?;
    let (account, region) = owner(&account, &region)?;
    let target = Target::load(tx, account, &region, &name)?;
    let Some(mut target) = target.filter(|target| target.record.id == due.id && target.record.recovery.is_some())
    else {
        return Ok(Some(AT_ONCE));
    };
    let more = tend(tx, env, &mut target)?;
    target.save(tx)?;
    file(tx, &target, if more { now } else { now + LOOK_EVERY })?;
    Ok(Some(if more { AT_ONCE } else { LOOK_EVERY }))
}

/// Whether there is more to forget.
fn tend(tx: &Tx, env: &Env, target: &mut Target) -> Result<bool, Fault> {
    let now = tx.now();
    let logged = target.rows.logged(tx)?;
    let (_, table_bytes) = target.rows.counts(tx, NO_INDEX)?;
    let Some(recovery) = &mut target.record.recovery else { return Ok(false) };
    let wanted = recovery.bases.last().is_none_or(|last| {
        let since = logged - last.logged;
        last.complete && (last.at + BASE_EVERY <= now || since > table_bytes.max(BASE_BYTES_MIN))
    });
    let earliest = recovery.earliest(now).unwrap_or(now);
    // What a restore reads stays until it has read it.
    let mut gone = Vec::new();
    if !restore::reads(tx, target.rows.id)? {
        while let [first, second, ..] = recovery.bases.as_slice()
            && second.complete
            && (second.at <= earliest || logged - first.logged > LOG_BYTES_MAX)
        {
            gone.push(recovery.bases.remove(0));
        }
    }
    let from = recovery.bases.first().map(|base| Place::from_bytes(&base.place));
    for base in &gone {
        copies::discard(tx, &target.rows, base.id)?;
    }
    if wanted {
        begin_base(tx, env, target)?;
    }
    let Some(from) = from else { return Ok(false) };
    let records = tx.read_stream(&target.rows.log(), Place::START, TRIMMED_MAX)?;
    let looked_at = records.len();
    let old: Vec<Place> = records.into_iter().map(|(place, _)| place).filter(|place| *place <= from).collect();
    for place in &old {
        tx.delete(&target.rows.log().position(*place))?;
    }
    Ok(old.len() == looked_at && looked_at == TRIMMED_MAX)
}
