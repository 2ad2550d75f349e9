//! Keeps a worker for each mapping that is to work, and brings every mapping to the state that was asked for.
//!
//! One process works off all mappings: the one that holds the lease. Whatever a worker writes requires it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base_types::Fault;
use compute_api::FunctionHost;
use parking_lot::Mutex;
use services_kernel::{Cx, Reconciler, Tags, keep_reconciling};
use services_ports::LogSink;
use store_api::{Direction, Key, Lease, Store, Tx};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{Mapping, Task, worker::Worker};
use crate::{
    Lambda,
    tables::{self, MAPPING_WORK, MAPPINGS, MappingRef, Place, Usage},
};

const LEASE: &str = "lambda.mappings";
const LEASE_TTL: Duration = Duration::from_secs(30);
/// Mappings read in one transaction.
const BATCH: usize = 200;
/// Lanes of a mapping: those of all shards of a stream.
const LANES_MAX: usize = 10_000;
/// How soon to look again at a worker that has not come to its end.
const SOON: Duration = Duration::from_millis(500);

/// The lease, as all workers share it.
pub(super) struct Held {
    store: Store,
    lease: tokio::sync::Mutex<Option<Lease>>,
}

impl Held {
    /// The lease, held or renewed; `None` while another process has it.
    pub(super) async fn hold(&self) -> Result<Option<Lease>, Fault> {
        let mut held = self.lease.lock().await;
        if let Some(lease) = held.as_ref() {
            if self.store.renew_lease(lease).await? {
                return Ok(held.clone());
            }
            *held = None;
        }
        *held = self.store.lease(LEASE, LEASE_TTL).await?;
        Ok(held.clone())
    }

    /// The lease as it was held last; one that is lost is found out by who requires it, and asked for anew.
    pub(super) async fn current(&self) -> Result<Option<Lease>, Fault> {
        let held = self.lease.lock().await.clone();
        match held {
            Some(lease) => Ok(Some(lease)),
            None => self.hold().await,
        }
    }
}

/// Reconciles mappings.
pub(crate) struct Poll<H: FunctionHost, L: LogSink>(Arc<Polling<H, L>>);

struct Polling<H: FunctionHost, L: LogSink> {
    lambda: Lambda<H, L>,
    held: Arc<Held>,
    stop: watch::Receiver<bool>,
    workers: Mutex<HashMap<MappingRef, Running>>,
}

struct Running {
    nudge: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Works mappings off until `stop` turns true, and what was begun is done.
pub(crate) async fn keep_polling<H: FunctionHost, L: LogSink>(lambda: Lambda<H, L>, stop: watch::Receiver<bool>) {
    let (store, env) = (lambda.0.control.store.clone(), lambda.0.control.env.clone());
    let held = Arc::new(Held { store: store.clone(), lease: tokio::sync::Mutex::default() });
    let polling = Arc::new(Polling { lambda, held, stop: stop.clone(), workers: Mutex::default() });
    keep_reconciling(Poll(Arc::clone(&polling)), store, env, stop).await;
    let workers: Vec<Running> = polling.workers.lock().drain().map(|(_, running)| running).collect();
    for Running { task, .. } in workers {
        // It has ended one way or the other.
        drop(task.await);
    }
}

impl<H: FunctionHost, L: LogSink> Reconciler for Poll<H, L> {
    const NAME: &'static str = "event source mappings";
    /// The lease is renewed at least this often.
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        tables::mapping_work()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let polling = &self.0;
        let Some(lease) = polling.held.hold().await? else { return Ok(None) };
        let (mut after, mut unsettled) = (None::<Key>, false);
        loop {
            let from = after.take();
            let page = polling.lambda.0.control.store.view(move |tx| page(tx, from.as_ref())).await?;
            let last = page.last().filter(|_| page.len() == BATCH).map(|(key, ..)| key.clone());
            for (_, named, mapping) in page {
                unsettled |= !polling.settle(&lease, named, mapping).await?;
            }
            match last {
                Some(key) => after = Some(key),
                None => return Ok(unsettled.then_some(SOON)),
            }
        }
    }
}

type Listed = (Key, MappingRef, Option<Mapping>);

fn page(tx: &Tx, after: Option<&Key>) -> Result<Vec<Listed>, Fault> {
    let range = tables::page(&tables::mapping_work(), after.map(Key::as_bytes));
    let found = MAPPING_WORK.scan(tx, &range, BATCH, Direction::Forward)?;
    found
        .into_iter()
        .map(|(key, named)| {
            let mapping = MAPPINGS.get(tx, &named.place().mapping(&named.uuid))?;
            Ok((key, named, mapping))
        })
        .collect()
}

impl<H: FunctionHost, L: LogSink> Polling<H, L> {
    /// Does what a mapping's state asks for; false when that takes longer.
    async fn settle(&self, lease: &Lease, named: MappingRef, mapping: Option<Mapping>) -> Result<bool, Fault> {
        let task = mapping.as_ref().map_or(Task::Go, Mapping::task);
        let works = self.works(&named);
        match (task, works, mapping) {
            (Task::Work, false, Some(mapping)) => {
                self.start(&named, mapping.clone());
                self.settled(lease, &named, Some(mapping)).await?;
            }
            (Task::Work, true, Some(mapping)) => {
                if mapping.settled() != Some(mapping.state) {
                    self.settled(lease, &named, Some(mapping)).await?;
                    self.nudge(&named);
                }
            }
            (_, true, _) => {
                self.nudge(&named);
                return Ok(false);
            }
            (_, false, mapping) => self.settled(lease, &named, mapping).await?,
        }
        Ok(true)
    }

    fn works(&self, named: &MappingRef) -> bool {
        let mut workers = self.workers.lock();
        workers.retain(|_, running| !running.task.is_finished());
        workers.contains_key(named)
    }

    fn nudge(&self, named: &MappingRef) {
        if let Some(running) = self.workers.lock().get(named) {
            running.nudge.notify_one();
        }
    }

    fn start(&self, named: &MappingRef, mapping: Mapping) {
        // It was read when the mapping was made.
        let Ok(source) = mapping.source.parse() else { return };
        let nudge = Arc::new(Notify::new());
        let worker = Arc::new(Worker {
            lambda: self.lambda.clone(),
            held: Arc::clone(&self.held),
            place: named.place(),
            uuid: named.uuid.clone(),
            source,
            nudge: Arc::clone(&nudge),
            stop: self.stop.clone(),
            over: watch::Sender::new(false),
        });
        let store = self.lambda.0.control.store.clone();
        let task = tokio::spawn(async move {
            if mapping.settings.stream.is_some() {
                worker.work_stream(mapping).await;
            } else {
                worker.work(mapping).await;
            }
            // Who waits for its end looks again.
            if let Err(fault) = store.transact(|tx| tx.wake(&tables::mapping_work(), 1)).await {
                tracing::debug!(?fault, "the end of a mapping's worker could not be told");
            }
        });
        self.workers.lock().insert(named.clone(), Running { nudge, task });
    }

    /// Writes that a mapping is where its state led to.
    async fn settled(&self, lease: &Lease, named: &MappingRef, mapping: Option<Mapping>) -> Result<(), Fault> {
        let (lease, named) = (lease.clone(), named.clone());
        self.lambda.0.control.store.transact(move |tx| settled(tx, &lease, &named, mapping.as_ref())).await
    }
}

fn settled(tx: &Tx, lease: &Lease, named: &MappingRef, seen: Option<&Mapping>) -> Result<(), Fault> {
    tx.require(lease)?;
    let place = named.place();
    let (key, entry) = (place.mapping(&named.uuid), place.mapping_work(&named.uuid));
    let Some(mut mapping) = MAPPINGS.get(tx, &key)? else { return tx.delete(&entry) };
    // What was changed meanwhile is looked at again.
    if seen.is_none_or(|seen| seen.revision != mapping.revision) {
        return Ok(());
    }
    match (mapping.task(), mapping.settled()) {
        (_, None) => {
            MAPPINGS.remove(tx, &key)?;
            for (lane, _) in tx.scan(&place.mapping_lanes(&named.uuid).prefix(), LANES_MAX, Direction::Forward)? {
                tx.delete(&lane)?;
            }
            let cx = Cx::internal(place.account, place.region.clone(), &mapping.uuid);
            Tags::clear(tx, &cx, &place.mapping_arn(&mapping.uuid))?;
            tx.add(&place.usage(Usage::Mappings), -1)?;
            return tx.delete(&entry);
        }
        (Task::Rest, Some(_)) => tx.delete(&entry)?,
        (_, Some(_)) => {}
    }
    if let Some(state) = mapping.settled().filter(|state| *state != mapping.state) {
        mapping.state = state;
        MAPPINGS.put(tx, &key, &mapping)?;
    }
    Ok(())
}

impl MappingRef {
    fn place(&self) -> Place {
        Place { account: self.account, region: self.region.clone() }
    }
}
