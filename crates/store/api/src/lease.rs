//! Leases: one owner of a piece of background work, with fencing.
//!
//! Every grant carries a greater fence than the one before. [`Tx::require`] reads the lease's record in the
//! transaction itself, so work
//! done under a lost lease cannot commit, however late it comes.

use std::time::Duration;

use base_types::{Fault, FaultKind, Timestamp};
use minicbor::{Decode, Encode};

use crate::{Direction, Family, Key, Store, Table, Tx};

const LEASES: Table<Grant> = Table::new(Family::Meta, "store.leases", 1);

#[derive(Encode, Decode)]
struct Grant {
    #[n(0)]
    fence: u64,
    #[n(1)]
    expires: Timestamp,
}

/// A granted lease. Lost when it expires unrenewed; dropping it does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    name: String,
    fence: u64,
    ttl: Duration,
}

impl Store {
    /// Asks for the lease `name` for `ttl` (measured on the store's clock); `None` while somebody else holds it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, Fault> {
        let name = name.to_owned();
        self.transact(move |tx| {
            let key = lease_key(&name);
            let held = LEASES.get(tx, &key)?;
            if held.as_ref().is_some_and(|grant| grant.expires > tx.now()) {
                return Ok(None);
            }
            let fence = held.map_or(0, |grant| grant.fence) + 1;
            LEASES.put(tx, &key, &Grant { fence, expires: tx.now() + ttl })?;
            Ok(Some(Lease { name: name.clone(), fence, ttl }))
        })
        .await
    }

    /// Extends `lease` by its time from now; `false` when it is lost.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn renew_lease(&self, lease: &Lease) -> Result<bool, Fault> {
        let lease = lease.clone();
        self.transact(move |tx| {
            let held = lease.held(tx)?;
            if held {
                let grant = Grant { fence: lease.fence, expires: tx.now() + lease.ttl };
                LEASES.put(tx, &lease_key(&lease.name), &grant)?;
            }
            Ok(held)
        })
        .await
    }

    /// Gives `lease` back, so that another need not wait for its end.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), Fault> {
        self.transact(move |tx| {
            if lease.held(tx)? {
                LEASES.put(tx, &lease_key(&lease.name), &Grant { fence: lease.fence, expires: Timestamp::EPOCH })?;
            }
            Ok(())
        })
        .await
    }

    /// Ends every lease: for a back-end of a single process, at its start, when nobody can be holding one.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn end_all_leases(&self) -> Result<(), Fault> {
        self.transact(|tx| {
            let all = Key::system(Family::Meta).str("lease").prefix();
            for (key, Grant { fence, expires }) in LEASES.scan(tx, &all, 10_000, Direction::Forward)? {
                if expires > tx.now() {
                    LEASES.put(tx, &key, &Grant { fence, expires: Timestamp::EPOCH })?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn lease_key(name: &str) -> Key {
    Key::system(Family::Meta).str("lease").str(name)
}

impl Lease {
    /// The name it was asked for by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Greater than that of every earlier grant of the same name.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    fn held(&self, tx: &Tx) -> Result<bool, Fault> {
        let grant = LEASES.get(tx, &lease_key(&self.name))?;
        Ok(grant.is_some_and(|grant| grant.fence == self.fence && grant.expires > tx.now()))
    }

    pub(crate) fn check(&self, tx: &Tx) -> Result<(), Fault> {
        if self.held(tx)? {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Conflict, format!("work under the lease `{}`: it is lost", self.name)))
    }
}
