//! Amazon S3: buckets, objects, versions, multipart uploads, notifications.
//!
//! | file | what |
//! |---|---|
//! | `service` | the generated trait, one line per operation |
//! | `ops/*` | the operations, a file per family |
//! | `history` | the versions of one key: what comes, what goes, what is current |
//! | `body` | bodies: taken in piece by piece, given out from anywhere |
//! | `seal` `customer` | encryption at rest; keys that customers bring |
//! | `checksum` | entity tags and checksums, of wholes and of parts |
//! | `access` `acl` | may they? policies, lists of grants, the public-access block |
//! | `conditions` `locks` `tags` `names` `ids` | the domain; pure |
//! | `notify` | notifications: filters, AWS's event document, handing over in the same commit |
//! | `cors` | pages of other origins: preflights and answers' headers |
//! | `tables` | the only file that knows keys |
//! | `tasks` | reconcilers: parts that nobody refers to, configurations of deleted buckets |
//!
//! # How bytes are kept
//!
//! A body is sealed under a key of its own. A small one lies in the store beside its record; a larger one is a blob, durable
//! before the commit that refers to it. A record names *pieces* of bodies, so a copy or a completed upload refers to what is
//! there: no byte is written twice. What nobody refers to any more the sweep of blobs takes.
//!
//! # Invariants
//! - A bucket's name is unique over the server; what it holds is found by its identity, which is never used again.
//! - The current version of a key, unless it is a delete marker, stands alone in one table: a listing reads only what it lists,
//!   and what lies behind a delimiter is skipped, however much it is.
//! - An object is whole or not there: its record is one commit, and its bytes were durable before.
//! - A notification is in the commit of what it tells.

mod access;
mod acl;
mod body;
mod checksum;
mod conditions;
mod cors;
mod customer;
mod error;
mod history;
mod ids;
mod locks;
mod names;
mod notify;
mod ops;
mod seal;
mod service;
mod tables;
mod tags;
mod tasks;

pub use cors::Preflight;
use services_kernel::PageTokens;
use services_ports::Destinations;
use store_api::Store;
pub use tasks::S3Reconciler;

use crate::seal::Vault;

/// What the service is made of.
pub struct Parts {
    /// Where everything is kept.
    pub store: Store,
    /// Seals what a client gives back to continue a listing.
    pub page_tokens: PageTokens,
    /// Who takes notifications.
    pub destinations: Destinations,
    /// Seals the keys of bodies.
    pub sealing_key: [u8; 32],
}

/// The service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct S3 {
    store: Store,
    page_tokens: PageTokens,
    destinations: Destinations,
    vault: Vault,
}

impl S3 {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, page_tokens, destinations, sealing_key } = parts;
        Self { store, page_tokens, destinations, vault: Vault::new(&sealing_key) }
    }

    /// The background work, to be kept reconciling.
    #[must_use]
    pub fn reconciler(&self) -> S3Reconciler {
        S3Reconciler::new(self.store.clone())
    }
}
