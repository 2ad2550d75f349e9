//! Tags of any resource, by its ARN.
//!
//! Guarantee: a resource has at most [`TAGS_MAX`] tags. A service removes a resource's tags in the transaction that
//! removes the resource.

use std::collections::BTreeMap;

use base_types::Fault;
use minicbor::{Decode, Encode};
use store_api::{Family, Key, Table, Tx};

use crate::Cx;

/// AWS's limit of user-created tags per resource.
pub const TAGS_MAX: usize = 50;

const TAGS: Table<TagSet> = Table::new(Family::Meta, "kernel.tags", 1);

#[derive(Default, Encode, Decode)]
#[cbor(map)]
struct TagSet {
    #[n(0)]
    tags: BTreeMap<String, String>,
}

/// The tags of resources.
pub struct Tags;

/// The resource would have more tags than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a resource has at most {TAGS_MAX} tags")]
pub struct TagLimitExceeded;

impl Tags {
    /// The tags of `arn`, which may have none.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn get(tx: &Tx, cx: &Cx, arn: &str) -> Result<BTreeMap<String, String>, Fault> {
        Ok(TAGS.get(tx, &key(cx, arn))?.unwrap_or_default().tags)
    }

    /// Adds `tags` to those of `arn`, replacing the values of keys that are there.
    ///
    /// # Errors
    /// The inner one when there would be too many; a fault of the store.
    pub fn put(
        tx: &Tx,
        cx: &Cx,
        arn: &str,
        tags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Result<(), TagLimitExceeded>, Fault> {
        let mut all = Self::get(tx, cx, arn)?;
        all.extend(tags);
        if all.len() > TAGS_MAX {
            return Ok(Err(TagLimitExceeded));
        }
        Self::set(tx, cx, arn, all).map(Ok)
    }

    /// Removes the tags of these keys; keys that are not there are passed over.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn remove<'a>(tx: &Tx, cx: &Cx, arn: &str, keys: impl IntoIterator<Item = &'a str>) -> Result<(), Fault> {
        let mut all = Self::get(tx, cx, arn)?;
        for tag in keys {
            all.remove(tag);
        }
        Self::set(tx, cx, arn, all)
    }

    /// Removes all tags: the resource is gone.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn clear(tx: &Tx, cx: &Cx, arn: &str) -> Result<(), Fault> {
        TAGS.remove(tx, &key(cx, arn))
    }

    fn set(tx: &Tx, cx: &Cx, arn: &str, tags: BTreeMap<String, String>) -> Result<(), Fault> {
        if tags.is_empty() { Self::clear(tx, cx, arn) } else { TAGS.put(tx, &key(cx, arn), &TagSet { tags }) }
    }
}

fn key(cx: &Cx, arn: &str) -> Key {
    TAGS.key(cx.account, &cx.region).str(arn)
}
