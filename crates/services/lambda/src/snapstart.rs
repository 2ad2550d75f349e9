//! SnapStart: a published version is initialised once, and every environment of it is made from that initialised process.
//!
//! Publishing leaves the version `Pending`; the reconciler [`TakeSnapshots`] has the host initialise it and makes it
//! `Active` (or `Failed`, with AWS's reason code). What cannot be forked honestly is `Active` too and initialised
//! ordinarily, and its configuration says why. A process does not outlive the server: after a restart the host makes it
//! again with the first environment. Snapshots are taken a few at a time, so that one that takes minutes delays no other
//! function's creation.

use std::{collections::HashSet, sync::Arc, time::Duration};

use base_types::{Fault, FaultKind};
use compute_api::{Exit, FunctionHost, InitFailure, InitOutcome, InitializationType, StartError};
use compute_scheduler::Blueprint as _;
use parking_lot::Mutex;
use services_kernel::Reconciler;
use services_ports::LogSink;
use store_api::{Direction, Key};

use crate::{
    Lambda,
    function::{Snapshot, Unready},
    invoke::routes::FunctionKey,
    names::Qualifier,
    tables::{self, Place, SNAPSHOTS_DUE, VERSIONS, VersionRef},
};

/// Snapshots that are taken at once.
const CONCURRENT_MAX: usize = 4;
/// How soon to look again while some are being taken.
const SOON: Duration = Duration::from_secs(1);

/// Takes the snapshots that are due.
pub(crate) struct TakeSnapshots<H: FunctionHost, L: LogSink> {
    lambda: Lambda<H, L>,
    /// The entries that are being worked on.
    taking: Arc<Mutex<HashSet<Key>>>,
}

/// An entry that is being worked on, until it is dropped.
struct Taking {
    entry: Key,
    all: Arc<Mutex<HashSet<Key>>>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.all.lock().remove(&self.entry);
    }
}

impl<H: FunctionHost, L: LogSink> TakeSnapshots<H, L> {
    pub(crate) fn new(lambda: Lambda<H, L>) -> Self {
        Self { lambda, taking: Arc::default() }
    }

    /// Marks an entry as being worked on, if there is room and nobody works on it.
    fn begin(&self, entry: &Key) -> Option<Taking> {
        let mut all = self.taking.lock();
        let free = all.len() < CONCURRENT_MAX && all.insert(entry.clone());
        free.then(|| Taking { entry: entry.clone(), all: Arc::clone(&self.taking) })
    }
}

impl<H: FunctionHost, L: LogSink> Reconciler for TakeSnapshots<H, L> {
    const NAME: &'static str = "take snapshots";

    fn topic(&self) -> Key {
        tables::snapshots_due()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let all = tables::snapshots_due().prefix();
        let store = &self.lambda.0.control.store;
        // Every one that is being worked on may stand at the head.
        let due = store.view(move |tx| SNAPSHOTS_DUE.scan(tx, &all, 2 * CONCURRENT_MAX, Direction::Forward)).await?;
        let more = !due.is_empty();
        for (entry, version) in due {
            let Some(taking) = self.begin(&entry) else { continue };
            let lambda = self.lambda.clone();
            tokio::spawn(async move {
                let name = version.name.clone();
                if let Err(fault) = take(&lambda, version).await {
                    tracing::error!(function = name, ?fault, "a snapshot cannot be taken now");
                }
                drop(taking);
            });
        }
        Ok(more.then_some(SOON))
    }
}

/// Has the host initialise a version, and writes what became of it.
async fn take<H: FunctionHost, L: LogSink>(lambda: &Lambda<H, L>, version: VersionRef) -> Result<(), Fault> {
    let control = Arc::clone(&lambda.0.control);
    let place = Place { account: version.account, region: version.region.clone() };
    let key = place.version(&version.incarnation, version.number);
    let Some(stored) = control.store.view(move |tx| VERSIONS.get(tx, &key)).await? else {
        let entry = place.snapshot_due(&version.incarnation, version.number);
        return control.store.transact(move |tx| tx.delete(&entry)).await;
    };
    let outcome = match control.unpack(&version.name, &stored).await? {
        Ok(()) => initialise(lambda, &FunctionKey { place, name: version.name.clone() }, version.number).await?,
        Err(unready) => Err(unready),
    };
    let content = stored.content;
    lambda
        .0
        .control
        .store
        .transact(move |tx| {
            control.settled(tx, &version, &content, outcome.clone().map(Some))?;
            tx.wake(&tables::snapshots_due(), usize::MAX)
        })
        .await
}

/// The snapshot of a version, or why it cannot have any.
async fn initialise<H: FunctionHost, L: LogSink>(
    lambda: &Lambda<H, L>,
    key: &FunctionKey,
    number: u64,
) -> Result<Result<Snapshot, Unready>, Fault> {
    let runner = &lambda.0.runner;
    let Some(route) = runner.route(key, Some(&Qualifier::Version(number))).await? else {
        // It was deleted just now: there is nothing left to be settled.
        return Ok(Ok(Snapshot::Taken));
    };
    let plan = &route.first().version.spec;
    // The function's tags ask for fresh processes; should they cease to, its first environment makes the snapshot.
    let Some(name) = plan.snapshot.clone() else { return Ok(Ok(Snapshot::Taken)) };
    let host = runner.scheduler.host();
    let made = match plan.prepare(InitializationType::SnapStart).await {
        Ok(spec) => host.snapshot(Arc::new(spec)).await,
        Err(error) => Err(error),
    };
    if runner.route(key, Some(&Qualifier::Version(number))).await?.is_none() {
        // It was deleted meanwhile.
        host.forget_snapshot(&name);
    }
    match made {
        Ok(()) => Ok(Ok(Snapshot::Taken)),
        Err(StartError::NoSnapshot { reason }) => Ok(Ok(Snapshot::Refused { reason })),
        Err(StartError::Init(failure)) => Ok(Err(unready(&failure))),
        // The server stops, or is overloaded: nothing is known about the function.
        Err(StartError::Host(fault)) if fault.kind() != FaultKind::Internal => Err(fault),
        Err(error @ (StartError::RuntimeMissing { .. } | StartError::RuntimeUnsupported { .. })) => {
            Ok(Err(Unready { reason: error.to_string(), code: "InvalidRuntime" }))
        }
        Err(error) => {
            tracing::error!(function = key.name, %error, "a snapshot cannot be taken");
            Ok(Err(Unready { reason: error.to_string(), code: "InternalError" }))
        }
    }
}

/// A failed initialisation in AWS's words for it.
fn unready(failure: &InitFailure) -> Unready {
    let (code, what) = match &failure.outcome {
        InitOutcome::Error { error_type, .. } => ("FunctionError", error_type.clone()),
        InitOutcome::Timeout => ("FunctionError.InitTimeout", "it took too long".to_owned()),
        InitOutcome::InvalidEntrypoint { reason } => ("FunctionError.InvalidEntryPoint", reason.clone()),
        InitOutcome::Exited(Exit::OutOfMemory) => {
            ("FunctionError.InitResourceExhausted", "it needed more memory than the function has".to_owned())
        }
        InitOutcome::Exited(exit) => ("FunctionError.RuntimeInitError", format!("its runtime ended with {exit}")),
    };
    Unready { reason: format!("SnapStart could not initialise the function: {what}"), code }
}
