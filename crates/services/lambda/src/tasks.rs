//! Reconcilers: what is done in the background. Each looks at the store, does what is due, and may be repeated.

use std::{collections::HashMap, time::Duration};

use base_types::{AccountId, Fault, FaultKind, Timestamp};
use compute_api::Deployed;
use parking_lot::Mutex;
use services_kernel::Reconciler;
use store_api::{Direction, Key, Store, Tx};

use std::sync::Arc;

use crate::{
    control::{Change, Control, Effects, Found},
    function::{Snapshot, Unready, Version},
    tables::{
        self, ALIASES, FUNCTIONS, GARBAGE, Garbage, PACKAGES, POLICIES, Place, UNSETTLED, URLS, Usage, VERSIONS,
        VersionRef,
    },
};

/// Records handled in one transaction.
const BATCH: usize = 100;
/// How long unpacked code stays after its last user has gone: longer than any invocation runs.
const CODE_GRACE: Duration = Duration::from_secs(20 * 60);

/// Ends creations and updates: makes the code ready and the version active.
pub(crate) struct Settle {
    pub(crate) control: Arc<Control>,
}

impl Settle {
    async fn settle(&self, version: VersionRef) -> Result<(), Fault> {
        let place = Place { account: version.account, region: version.region.clone() };
        let key = place.version(&version.incarnation, version.number);
        let found = self.control.store.view(move |tx| VERSIONS.get(tx, &key)).await?;
        let Some(stored) = found else { return self.forget(&version).await };
        let outcome = self.control.unpack(&version.name, &stored).await?.map(|()| None);
        if outcome.is_ok() {
            self.control.effects.expect(deployed(place.account, &stored));
        }
        let (control, content) = (Arc::clone(&self.control), stored.content);
        self.control.store.transact(move |tx| control.settled(tx, &version, &content, outcome.clone())).await
    }

    async fn forget(&self, version: &VersionRef) -> Result<(), Fault> {
        let place = Place { account: version.account, region: version.region.clone() };
        let entry = place.unsettled(&version.incarnation, version.number);
        self.control.store.transact(move |tx| tx.delete(&entry)).await
    }
}

/// What the host is told of a version that can be started now.
fn deployed(account: AccountId, version: &Version) -> Deployed {
    let configuration = &version.configuration;
    Deployed {
        account,
        runtime: configuration.runtime.clone(),
        memory_mib: configuration.memory_mib,
        tmp_mib: configuration.tmp_mib,
        variables: configuration.variables.iter().flat_map(|variables| variables.keys().cloned()).collect(),
    }
}

impl Control {
    /// Makes a version's code and layers ready.
    pub(crate) async fn unpack(&self, function: &str, version: &Version) -> Result<Result<(), Unready>, Fault> {
        for digest in version.packages() {
            match self.packages.ensure(digest).await {
                Ok(_) => {}
                // The store stops, or is overloaded: nothing is known about the code.
                Err(fault) if fault.kind() != FaultKind::Internal => return Err(fault),
                Err(fault) => {
                    tracing::error!(function, digest, ?fault, "the code of a function cannot be made ready");
                    let reason = "The function's code cannot be made ready on this host; its log says why.".to_owned();
                    return Ok(Err(Unready { reason, code: "InternalError" }));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Ends the creation or update of a version whose content is the one that was looked at.
    pub(crate) fn settled(
        &self,
        tx: &Tx,
        version: &VersionRef,
        content: &str,
        outcome: Result<Option<Snapshot>, Unready>,
    ) -> Result<(), Fault> {
        let place = Place { account: version.account, region: version.region.clone() };
        let key = place.version(&version.incarnation, version.number);
        let entries = [
            place.unsettled(&version.incarnation, version.number),
            place.snapshot_due(&version.incarnation, version.number),
        ];
        let done = || entries.iter().try_for_each(|entry| tx.delete(entry));
        let function = FUNCTIONS.get(tx, &place.function(&version.name))?;
        let function = function.filter(|function| function.incarnation == version.incarnation);
        let stored = VERSIONS.get(tx, &key)?;
        let (Some(function), Some(mut stored)) = (function, stored) else { return done() };
        // An update that came in between is settled in the next round.
        if stored.content != content {
            return Ok(());
        }
        if stored.is_unsettled() {
            stored.settle(outcome, self.env.uuid());
            VERSIONS.put(tx, &key, &stored)?;
        }
        done()?;
        let found = Found { place, name: version.name.clone(), function };
        self.announce(tx, &found, Change::Routing)
    }
}

impl Reconciler for Settle {
    const NAME: &'static str = "settle functions";

    fn topic(&self) -> Key {
        tables::unsettled()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let batch = self
            .control
            .store
            .view(|tx| UNSETTLED.scan(tx, &tables::unsettled().prefix(), BATCH, Direction::Forward))
            .await?;
        let more = !batch.is_empty();
        for (_, version) in batch {
            self.settle(version).await?;
        }
        Ok(more.then_some(Duration::ZERO))
    }
}

/// Sweeps what is left of deleted functions, and unpacked code that nobody uses.
pub(crate) struct Sweep {
    control: Arc<Control>,
    store: Store,
    /// Since when unpacked code has had no user.
    unused: Mutex<HashMap<String, Timestamp>>,
}

impl Sweep {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        let store = control.store.clone();
        Self { control, store, unused: Mutex::default() }
    }

    async fn sweep_code(&self) -> Result<(), Fault> {
        let folder = self.control.packages.folder().clone();
        let listed = tokio::task::spawn_blocking(move || folder.digests())
            .await
            .map_err(|error| Fault::internal("list unpacked code", error))?
            .map_err(|error| Fault::internal("list unpacked code", error))?;
        let unused = self
            .store
            .view(move |tx| {
                let mut unused = Vec::new();
                for digest in &listed {
                    if PACKAGES.snapshot_get(tx, &tables::package(digest))?.is_none() {
                        unused.push(digest.clone());
                    }
                }
                Ok::<_, Fault>(unused)
            })
            .await?;
        let now = self.control.env.now();
        let due: Vec<String> = {
            let mut since = self.unused.lock();
            since.retain(|digest, _| unused.contains(digest));
            for digest in unused {
                since.entry(digest).or_insert(now);
            }
            since.iter().filter(|(_, at)| now.since(**at) >= CODE_GRACE).map(|(digest, _)| digest.clone()).collect()
        };
        for digest in due {
            let folder = self.control.packages.folder().clone();
            tokio::task::spawn_blocking(move || folder.remove(&digest))
                .await
                .map_err(|error| Fault::internal("remove unpacked code", error))?
                .map_err(|error| Fault::internal("remove unpacked code", error))?;
        }
        Ok(())
    }
}

impl Reconciler for Sweep {
    const NAME: &'static str = "sweep deleted functions";
    const POLL: Duration = Duration::from_secs(300);

    fn topic(&self) -> Key {
        tables::garbage()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let garbage =
            self.store.view(|tx| GARBAGE.scan(tx, &tables::garbage().prefix(), BATCH, Direction::Forward)).await?;
        let more = !garbage.is_empty();
        for (entry, garbage) in garbage {
            loop {
                let (entry, garbage) = (entry.clone(), garbage.clone());
                let effects = Arc::clone(&self.control.effects);
                if self.store.transact(move |tx| sweep(tx, &effects, &entry, &garbage)).await? {
                    break;
                }
            }
        }
        self.sweep_code().await?;
        Ok(more.then_some(Duration::ZERO))
    }
}

/// Removes a part of what hangs on an incarnation; true when nothing is left.
fn sweep(tx: &Tx, effects: &Arc<dyn Effects>, entry: &Key, garbage: &Garbage) -> Result<bool, Fault> {
    let place = Place { account: garbage.account, region: garbage.region.clone() };
    let versions = VERSIONS.scan(tx, &place.versions(&garbage.incarnation).prefix(), BATCH, Direction::Forward)?;
    for (key, version) in &versions {
        VERSIONS.remove(tx, key)?;
        tables::disuse_packages(tx, key, version)?;
        if version.wants_snapshot() {
            let (effects, snapshot) = (Arc::clone(effects), format!("{}{}", version.content, garbage.mark));
            tx.on_commit(move || effects.forget_snapshot(&snapshot))?;
        }
        tx.delete(&place.snapshot_due(&garbage.incarnation, version.number))?;
        tx.add(&place.usage(Usage::CodeBytes), -crate::ops::functions::signed(version.code.bytes))?;
        tx.delete(&place.unsettled(&garbage.incarnation, version.number))?;
    }
    let rest = [
        ALIASES.key(place.account, &place.region).str(&garbage.incarnation),
        POLICIES.key(place.account, &place.region).str(&garbage.incarnation),
        URLS.key(place.account, &place.region).str(&garbage.incarnation),
        place.event_invokes(&garbage.incarnation),
    ];
    let mut left = versions.len() == BATCH;
    for all in rest {
        let entries = tx.scan(&all.prefix(), BATCH, Direction::Forward)?;
        for (key, _) in &entries {
            tx.delete(key)?;
        }
        left |= entries.len() == BATCH;
    }
    if !left {
        tx.delete(entry)?;
    }
    Ok(!left)
}
