//! Named limits: AWS's default, and what an operator set for an account and region.

use base_types::{AccountId, Fault, Region};
use minicbor::{Decode, Encode};
use store_api::{Family, Key, Table, Tx};

use crate::Cx;

const OVERRIDES: Table<Override> = Table::new(Family::Meta, "kernel.quotas", 1);

#[derive(Encode, Decode)]
#[cbor(map)]
struct Override {
    #[n(0)]
    value: u64,
}

/// A named limit. Services declare theirs as constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// `service.name`, for example `lambda.concurrent-executions`.
    pub name: &'static str,
    /// AWS's default.
    pub default: u64,
}

/// What is in force.
pub struct Quotas;

impl Quotas {
    /// The limit in force for the context's account and region.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn get(tx: &Tx, cx: &Cx, quota: Quota) -> Result<u64, Fault> {
        Ok(OVERRIDES.get(tx, &key(cx.account, &cx.region, quota))?.map_or(quota.default, |found| found.value))
    }

    /// Sets the limit of an account in a region.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn set(tx: &Tx, account: AccountId, region: &Region, quota: Quota, value: u64) -> Result<(), Fault> {
        OVERRIDES.put(tx, &key(account, region, quota), &Override { value })
    }
}

fn key(account: AccountId, region: &Region, quota: Quota) -> Key {
    OVERRIDES.key(account, region).str(quota.name)
}
