//! Works the mapping of a stream off: keeps a task for each of its lanes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use base_types::{Fault, FaultKind};
use compute_api::FunctionHost;
use services_ports::LogSink;
use tokio::{sync::watch, task::JoinSet};

use super::{
    look::{Divided, LaneName, LookError, divide, lost},
    task::LaneTask,
};
use crate::mappings::{Mapping, worker::Worker};

/// A look without anything having happened.
const CHECK: Duration = Duration::from_secs(10);
/// A look while something is wrong.
const UNREADY: Duration = Duration::from_millis(500);

impl<H: FunctionHost, L: LogSink> Worker<H, L> {
    /// Works until the mapping ends, or the server.
    pub(in crate::mappings) async fn work_stream(self: Arc<Self>, mapping: Mapping) {
        let env = self.lambda.0.control.env.clone();
        let (mut mapping, mut running) = (Arc::new(mapping), HashSet::new());
        let mut lanes: JoinSet<LaneName> = JoinSet::new();
        // Lanes look at it whenever it changes; true: they come to rest.
        let rest = watch::Sender::new(false);
        let mut stop = self.stop.clone();
        while !*stop.borrow() {
            let pause = match self.divided(&mapping, !running.is_empty()).await {
                Ok(Divided::Over) => break,
                Ok(Divided::Rest) => {
                    rest.send_replace(true);
                    while lanes.join_next().await.is_some() {}
                    running.clear();
                    rest.send_replace(false);
                    continue;
                }
                Ok(Divided::Lanes(found, all)) => {
                    for (name, lane) in all {
                        if running.insert(name.clone()) {
                            let task = LaneTask::new(Arc::clone(&self), Arc::clone(&found), name.clone(), lane);
                            let rest = rest.subscribe();
                            lanes.spawn(async move {
                                task.work(rest).await;
                                name
                            });
                        }
                    }
                    mapping = found;
                    CHECK
                }
                Err(LookError::Stream(error)) => {
                    self.say(&mapping, &format!("PROBLEM: {error}")).await;
                    CHECK
                }
                Err(LookError::Fault(fault)) => {
                    if fault.kind() == FaultKind::Conflict {
                        // The lease was lost: it is asked for anew.
                        if let Ok(None) = self.held.hold().await {
                            break;
                        }
                    } else {
                        tracing::error!(mapping = %self.uuid, ?fault, "the shards of a stream could not be divided");
                    }
                    UNREADY
                }
            };
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                () = self.nudge.notified() => { rest.send_replace(false); }
                Some(ended) = lanes.join_next() => {
                    if let Ok(name) = ended {
                        running.remove(&name);
                    }
                }
                () = env.sleep(pause) => {}
            }
        }
        self.over.send_replace(true);
        rest.send_replace(true);
        while lanes.join_next().await.is_some() {}
    }

    async fn divided(&self, mapping: &Mapping, busy: bool) -> Result<Divided, LookError> {
        let control = Arc::clone(&self.lambda.0.control);
        let lease = self.held.current().await?.ok_or_else(lost)?;
        // Reading the list of shards needs no more than being of the account.
        let cx = self.cx(mapping, "");
        let (place, uuid, source) = (self.place.clone(), self.uuid.clone(), self.source.clone());
        self.lambda
            .0
            .control
            .store
            .transact(move |tx| divide(&control, tx, &lease, (&place, &uuid), (&cx, &source), busy))
            .await
    }

    /// Writes `LastProcessingResult`.
    pub(super) async fn say(&self, mapping: &Mapping, result: &str) {
        if mapping.result.as_deref() == Some(result) {
            return;
        }
        let Ok(Some(lease)) = self.held.current().await else { return };
        let (key, result) = (self.place.mapping(&self.uuid), result.to_owned());
        let told = self.lambda.0.control.store.transact(move |tx| {
            tx.require(&lease)?;
            match crate::tables::MAPPINGS.get(tx, &key)? {
                Some(mut found) if found.result.as_deref() != Some(&result) => {
                    found.result = Some(result.clone());
                    crate::tables::MAPPINGS.put(tx, &key, &found)
                }
                _ => Ok::<_, Fault>(()),
            }
        });
        if let Err(fault) = told.await {
            tracing::warn!(mapping = %self.uuid, ?fault, "what came of a mapping's records could not be written");
        }
    }
}
