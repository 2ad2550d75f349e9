//! Executions: operations, and what is tried again. Each runs in a transaction of its own, so that one that fails is
//! rolled back alone; an operation that waits runs outside of any, and its execution is removed when it is over.

use std::{sync::Arc, time::Duration};

use base_types::Fault;
use bytes::Bytes;
use services_ports::{OperationError, Operations};
use store_api::{Key, Tx};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Scheduler,
    firing::{Failure, context, internal},
    tables::{self, Execution},
    target::{self, Kind},
};

/// Executions that one look takes on, and that run at once within transactions.
pub(crate) const LOOK_MAX: usize = 64;
/// Operations that run at once outside of transactions.
pub(crate) const FLOWS_MAX: usize = 256;
/// How long an operation may run outside of a transaction, before it is taken for lost: longer than a function may run.
const FLOW_MAX: Duration = Duration::from_secs(1000);

/// What an attempt came to.
enum Attempt {
    /// It is over, or was already.
    Over,
    /// It has to run outside of the transaction; it is filed under this key for when it is taken for lost.
    Flow(Box<Execution>, Key),
}

/// Why an attempt was rolled back.
enum Failed {
    Operation(OperationError),
    Fault(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<O: Operations> Scheduler<O> {
    /// Runs what is due; answers how many there were.
    pub(crate) async fn execute_due(&self, flows: &Arc<Semaphore>) -> Result<usize, Fault> {
        let due = self.store.view(|tx| tables::due_executions(tx, LOOK_MAX)).await?;
        let count = due.len();
        let mut running = JoinSet::new();
        for (key, _) in due {
            let (scheduler, flows) = (self.clone(), Arc::clone(flows));
            running.spawn(async move { scheduler.execute(key, &flows).await });
        }
        while let Some(outcome) = running.join_next().await {
            outcome.map_err(|error| Fault::internal("run an execution", error))??;
        }
        Ok(count)
    }

    /// One attempt.
    async fn execute(&self, key: Key, flows: &Arc<Semaphore>) -> Result<(), Fault> {
        // One that has to wait is begun only when there is room for it; until then it stays due.
        let permit = Arc::clone(flows).try_acquire_owned().ok();
        let (scheduler, at, room) = (self.clone(), key.clone(), permit.is_some());
        match self.store.transact(move |tx| scheduler.attempt(tx, &at, room)).await {
            Ok(Attempt::Over) => Ok(()),
            Ok(Attempt::Flow(execution, lost)) => {
                let scheduler = self.clone();
                drop(tokio::spawn(async move {
                    scheduler.run_flow(*execution, lost).await;
                    drop(permit);
                }));
                Ok(())
            }
            Err(failed) => {
                let scheduler = self.clone();
                let failure = describe(&failed);
                if let Failed::Fault(fault) = &failed {
                    tracing::error!(?fault, "an attempt of a schedule's target failed");
                }
                self.store.transact(move |tx| scheduler.fail(tx, &key, &failure)).await
            }
        }
    }

    /// The attempt within its transaction.
    fn attempt(&self, tx: &Tx, key: &Key, room: bool) -> Result<Attempt, Failed> {
        let Some(mut execution) = tables::execution(tx, key)? else { return Ok(Attempt::Over) };
        let (service, operation) = match Kind::of(&execution.target.arn) {
            Ok(Kind::Operation { service, operation }) => (service, operation),
            Ok(Kind::Resource(arn)) => {
                tables::remove_execution(tx, key)?;
                self.deliver(tx, &execution, &arn)?;
                return Ok(Attempt::Over);
            }
            Err(_) => {
                tables::remove_execution(tx, key)?;
                let message = "Provided Arn is not in correct format.".to_owned();
                self.give_up(
                    tx,
                    &execution,
                    &Failure { code: "ValidationException".to_owned(), message, exhausted: None },
                )?;
                return Ok(Attempt::Over);
            }
        };
        let found = self.operations.find(&service, &operation).map_err(Failed::Operation)?;
        if found.transactional {
            tables::remove_execution(tx, key)?;
            let input = target::payload(
                &execution,
                &Kind::Operation { service: service.clone(), operation: operation.clone() },
            );
            let cx = context(&execution);
            self.operations.transact(&cx, tx, &service, &operation, input.as_bytes()).map_err(Failed::Operation)?;
            self.done(tx, &execution)?;
            return Ok(Attempt::Over);
        }
        if !room {
            // Looked at again soon.
            tables::remove_execution(tx, key)?;
            tables::file_execution(tx, &execution, tx.now() + Duration::from_millis(200))?;
            return Ok(Attempt::Over);
        }
        tables::remove_execution(tx, key)?;
        execution.runs = true;
        let lost = tx.now() + FLOW_MAX;
        tables::file_execution(tx, &execution, lost)?;
        Ok(Attempt::Flow(Box::new(execution.clone()), tables::execution_key(&execution, lost)))
    }

    /// Runs an operation that waits, and notes what came of it.
    async fn run_flow(&self, execution: Execution, key: Key) {
        let Ok(Kind::Operation { service, operation }) = Kind::of(&execution.target.arn) else { return };
        let kind = Kind::Operation { service: service.clone(), operation: operation.clone() };
        let input = Bytes::from(target::payload(&execution, &kind));
        let cx = context(&execution);
        let running = Box::pin(self.operations.flow(cx, &service, &operation, input));
        let outcome = match self.env.timeout(FLOW_MAX, running).await {
            Ok(outcome) => outcome,
            // Another attempt begins when it is taken for lost, which is now.
            Err(_) => return,
        };
        let scheduler = self.clone();
        let noted = match outcome {
            Ok(()) => {
                let over = move |tx: &Tx| {
                    tables::remove_execution(tx, &key)?;
                    scheduler.done(tx, &execution)
                };
                self.store.transact(over).await
            }
            Err(error) => {
                let failure = describe(&Failed::Operation(error));
                self.store.transact(move |tx| scheduler.fail(tx, &key, &failure)).await
            }
        };
        if let Err(fault) = noted {
            tracing::error!(?fault, "the end of a schedule's operation was not noted; it is tried again");
        }
    }

    /// The attempt failed: another one later, or a dead letter.
    fn fail(&self, tx: &Tx, key: &Key, (failure, retryable): &(Failure, bool)) -> Result<(), Fault> {
        let Some(mut execution) = tables::execution(tx, key)? else { return Ok(()) };
        tables::remove_execution(tx, key)?;
        if *retryable {
            return self.try_again(tx, execution, failure);
        }
        execution.failed += 1;
        self.give_up(tx, &execution, failure)
    }

    /// What ran outside of a transaction when the server ended is due again; answers whether there may be more.
    pub(crate) fn recall(&self, tx: &Tx, after: Option<&Key>) -> Result<Option<Key>, Fault> {
        const PAGE: usize = 500;
        let page = tables::executions_after(tx, after, PAGE)?;
        let last = page.last().map(|(key, _)| key.clone()).filter(|_| page.len() == PAGE);
        for (key, mut execution) in page {
            if execution.runs {
                tables::remove_execution(tx, &key)?;
                execution.runs = false;
                tables::file_execution(tx, &execution, tx.now())?;
            }
        }
        Ok(last)
    }
}

/// What a dead letter says of it, and whether it may succeed later.
fn describe(failed: &Failed) -> (Failure, bool) {
    match failed {
        Failed::Operation(OperationError::Failed { code, message, retryable }) => {
            (Failure { code: code.clone(), message: message.clone(), exhausted: None }, *retryable)
        }
        Failed::Operation(error @ (OperationError::NotServed(_) | OperationError::Unknown { .. })) => {
            let code = "NotImplementedException".to_owned();
            (Failure { code, message: error.to_string(), exhausted: None }, false)
        }
        Failed::Operation(OperationError::Fault(_)) | Failed::Fault(_) => (internal(), true),
    }
}
