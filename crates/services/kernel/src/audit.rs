//! The audit trail: who changed what, written in the same commit as the change.
//!
//! One stream for the whole installation, in commit order. It is kept 90 days (as CloudTrail's event history is) and at
//! most [`RECORDS_MAX`] records; [`AuditRetention`] removes what is older.

use std::time::Duration;

use base_types::{AccountId, Fault, Region, Timestamp};
use minicbor::{Decode, Encode};
use store_api::{Family, Key, Position, Store, Table, Tx};

use crate::{Cx, Reconciler};

/// How long a record is kept.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// How many records are kept at most.
pub(crate) const RECORDS_MAX: i64 = 1_000_000;
/// How many records one transaction removes.
const SWEEP_RECORDS: usize = 1_000;

const RECORDS: Table<AuditRecord> = Table::new(Family::Stream, "kernel.audit", 1);

/// The audit trail.
pub struct Audit;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuditRecord {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// The request's identifier.
    #[n(1)]
    pub request_id: String,
    /// Whose resources.
    #[n(2)]
    pub account: AccountId,
    /// Where.
    #[n(3)]
    pub region: Region,
    /// The principal's ARN.
    #[n(4)]
    pub principal: String,
    /// The IAM action, for example `lambda:CreateFunction`.
    #[n(5)]
    pub action: String,
    /// The resource on whose behalf it was done, if a service did it.
    #[n(6)]
    pub source_arn: Option<String>,
    /// The client's address; empty for a call from inside.
    #[n(7)]
    pub source_ip: String,
    /// The client's `User-Agent`.
    #[n(8)]
    pub user_agent: String,
}

impl Audit {
    /// Records that `cx` did `action`, in the transaction that does it.
    ///
    /// # Errors
    /// As [`Tx::append`].
    pub fn record(tx: &Tx, cx: &Cx, action: &str) -> Result<(), Fault> {
        let record = AuditRecord {
            at: tx.now(),
            request_id: cx.request_id.to_string(),
            account: cx.account,
            region: cx.region.clone(),
            principal: cx.principal.arn(),
            action: action.to_owned(),
            source_arn: cx.source.as_ref().map(|source| source.arn.to_string()),
            source_ip: cx.source_ip.to_string(),
            user_agent: cx.user_agent.to_string(),
        };
        tx.append(&stream(), RECORDS.encode(&record)?)?;
        tx.add(&count(), 1)
    }

    /// At most `limit` records behind `after`, oldest first.
    ///
    /// # Errors
    /// As [`Tx::read_stream`].
    pub fn read(tx: &Tx, after: Position, limit: usize) -> Result<Vec<(Position, AuditRecord)>, Fault> {
        let records = tx.read_stream(&stream(), after, limit)?;
        records.into_iter().map(|(position, value)| Ok((position, RECORDS.decode(&value)?))).collect()
    }
}

/// Keeps the audit trail within its bounds.
pub struct AuditRetention {
    store: Store,
}

impl AuditRetention {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Reconciler for AuditRetention {
    const NAME: &'static str = "audit retention";
    const POLL: Duration = Duration::from_secs(600);

    fn topic(&self) -> Key {
        count()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let removed = self
            .store
            .transact(|tx| {
                let oldest = tx.now() - KEPT;
                let surplus = usize::try_from(tx.counter(&count())? - RECORDS_MAX).unwrap_or(0);
                let records = Audit::read(tx, Position::START, SWEEP_RECORDS)?;
                let due = records.iter().enumerate().filter(|(index, (_, r))| *index < surplus || r.at < oldest);
                let mut removed = 0;
                for (_, (position, _)) in due {
                    tx.delete(&stream().position(*position))?;
                    removed += 1;
                }
                tx.add(&count(), -removed)?;
                Ok::<_, Fault>(removed)
            })
            .await?;
        let more = usize::try_from(removed).is_ok_and(|removed| removed == SWEEP_RECORDS);
        Ok(more.then_some(Duration::from_millis(10)))
    }
}

fn stream() -> Key {
    RECORDS.global_key(None)
}

fn count() -> Key {
    Key::global(Family::Meta, None).str("kernel.audit.count")
}
