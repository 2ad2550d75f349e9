//! The background work: states that pass, and pollers for the pipes that run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_types::{Arn, Fault};
use parking_lot::Mutex;
use services_kernel::{Cx, Reconciler, Tags};
use services_ports::DeliveryError;
use store_api::{Key, Tx};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    Peers, Pipes,
    definition::Definition,
    names::Named,
    poller::Poller,
    tables::{self, Pipe, State},
};

/// Pipes looked at at once.
const PAGE: usize = 500;
/// Batches that a pipe works on at once when it has to wait for functions (AWS begins with five).
const WORKERS: usize = 5;
/// Look again soon: a poller is about to end.
const SOON: Duration = Duration::from_millis(20);

/// Keeps pipes at work.
pub struct PipesReconciler<P> {
    pipes: Pipes<P>,
    working: Mutex<BTreeMap<Named, Working>>,
}

/// The pollers of one pipe. Dropping it stops them.
struct Working {
    version: u64,
    stop: watch::Sender<bool>,
    pollers: Vec<JoinHandle<()>>,
}

impl<P: Peers> PipesReconciler<P> {
    pub(crate) fn new(pipes: Pipes<P>) -> Self {
        Self { pipes, working: Mutex::new(BTreeMap::new()) }
    }

    /// Stops the pollers of a pipe; true when they have ended.
    fn is_still(&self, named: &Named) -> bool {
        let mut working = self.working.lock();
        let Some(pollers) = working.get(named) else { return true };
        pollers.stop.send_replace(true);
        if pollers.pollers.iter().all(JoinHandle::is_finished) {
            working.remove(named);
            return true;
        }
        false
    }

    /// Brings one pipe where it should be; true when it is there.
    async fn advance(&self, named: &Named, pipe: &Pipe) -> Result<bool, Fault> {
        if pipe.state == State::Running {
            let same = self.working.lock().get(named).is_some_and(|working| working.version == pipe.version);
            if same {
                return Ok(true);
            }
        }
        if !self.is_still(named) {
            return Ok(false);
        }
        if pipe.state.is_passing() {
            let (pipes, of, version) = (self.pipes.clone(), named.clone(), pipe.version);
            self.pipes.store.transact(move |tx| pipes.settle(tx, &of, version)).await?;
            return Ok(false);
        }
        if pipe.state == State::Running {
            self.begin(named, pipe);
        }
        Ok(true)
    }

    fn begin(&self, named: &Named, pipe: &Pipe) {
        let definition = match Definition::of(named, pipe) {
            Ok(definition) => Arc::new(definition),
            Err(reason) => {
                tracing::error!(pipe = %named.arn(), %reason, "a pipe cannot work");
                return;
            }
        };
        let (stop, stopped) = watch::channel(false);
        let workers = match &definition.stream {
            // One for each lane: a lane's batches come one after the other.
            Some(stream) => usize::try_from(stream.lanes).unwrap_or(1),
            None if definition.is_direct() => 1,
            None => WORKERS,
        };
        let poller = Arc::new(Poller::new(self.pipes.clone(), definition));
        let pollers = (0..workers).map(|worker| tokio::spawn(Arc::clone(&poller).run(worker, stopped.clone())));
        let working = Working { version: pipe.version, stop, pollers: pollers.collect() };
        self.working.lock().insert(named.clone(), working);
    }
}

impl<P: Peers> Pipes<P> {
    /// The end of a state that passes; nobody is at work on the pipe.
    fn settle(&self, tx: &Tx, named: &Named, version: u64) -> Result<(), Fault> {
        let Some(mut pipe) = tables::get(tx, named)?.filter(|pipe| pipe.version == version) else { return Ok(()) };
        let cx = Cx::internal(named.account, named.region.clone(), "pipes");
        if pipe.state == State::Deleting {
            Tags::clear(tx, &cx, &named.arn().to_string())?;
            return tables::remove(tx, named);
        }
        let failed = match pipe.state {
            State::Creating => State::CreateFailed,
            State::Updating => State::UpdateFailed,
            _ => State::StartFailed,
        };
        pipe.reason = None;
        pipe.state = match (pipe.running, pipe.state) {
            (false, _) | (_, State::Stopping) => State::Stopped,
            (true, _) => match self.missing(tx, &cx, &pipe)? {
                None => {
                    if let Ok(Definition { stream: Some(stream), .. }) = Definition::of(named, &pipe) {
                        self.divide_stream(tx, named, stream.lanes)?;
                    }
                    State::Running
                }
                Some(reason) => {
                    pipe.reason = Some(reason);
                    failed
                }
            },
        };
        tables::put(tx, named, &pipe)
    }

    /// Why a pipe cannot run: a resource of it is missing.
    fn missing(&self, tx: &Tx, cx: &Cx, pipe: &Pipe) -> Result<Option<String>, Fault> {
        let told = |outcome: Result<(), DeliveryError>| match outcome {
            Ok(()) => Ok(None),
            Err(DeliveryError::Fault(fault)) => Err(fault),
            Err(error) => Ok(Some(error.to_string())),
        };
        let (Ok(source), Ok(target)) = (pipe.source.parse::<Arn>(), pipe.target.parse::<Arn>()) else {
            return Ok(Some("an ARN of the pipe is not valid".to_owned()));
        };
        if let Some(reason) = told(self.check_source(cx, tx, &source))? {
            return Ok(Some(reason));
        }
        if let Some(Ok(enrichment)) = pipe.enrichment.as_deref().filter(|arn| !arn.is_empty()).map(str::parse::<Arn>)
            && let Some(reason) = told(self.destinations.check(cx, tx, &enrichment))?
        {
            return Ok(Some(reason));
        }
        told(self.destinations.check(cx, tx, &target))
    }
}

impl<P: Peers> Reconciler for PipesReconciler<P> {
    const NAME: &'static str = "pipes";
    const POLL: Duration = Duration::from_secs(30);

    fn topic(&self) -> Key {
        tables::topic()
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let mut after: Option<Named> = None;
        let mut seen = Vec::new();
        let mut settled = true;
        loop {
            let from = after.take();
            let page = self.pipes.store.view(move |tx| tables::all(tx, from.as_ref(), PAGE)).await?;
            for (named, pipe) in &page {
                settled &= self.advance(named, pipe).await?;
                seen.push(named.clone());
            }
            if page.len() < PAGE {
                break;
            }
            after = page.into_iter().next_back().map(|(named, _)| named);
        }
        let gone: Vec<Named> = self.working.lock().keys().filter(|named| !seen.contains(named)).cloned().collect();
        for named in gone {
            settled &= self.is_still(&named);
        }
        Ok((!settled).then_some(SOON))
    }
}
