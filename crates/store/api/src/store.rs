//! The handle that services hold.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use base_env::Env;
use base_types::{Fault, FaultKind};
use tokio::sync::oneshot;

use crate::{Backend, Blobs, Health, Key, Tx, Waiter, Work, memory::Memory};

/// A transactional ordered key space. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    env: Env,
}

impl Store {
    /// A store over a back-end.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, env: &Env) -> Self {
        Self { backend, env: env.clone() }
    }

    /// A store that keeps everything in memory and runs each transaction where it is awaited: for tests, on simulated
    /// time too. One seed replays a run.
    #[must_use]
    pub fn memory(env: &Env) -> Self {
        Self::new(Arc::new(Memory::new(env)), env)
    }

    /// Runs `body` in a serialisable transaction. `Ok` commits, `Err` rolls back; either way the answer comes when
    /// everything it depends on is durable. The body may be run again, on another thread too: it must be a function
    /// of what it reads.
    /// Dropping the future does not stop the transaction.
    ///
    /// # Errors
    /// The body's own error; or a [`Fault`] of the store (as `E`) when the transaction could not be run or not be
    /// made durable.
    pub async fn transact<R, E, F>(&self, body: F) -> Result<R, E>
    where
        F: FnMut(&Tx) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.backend.transact(Box::new(Job { body: Some(body), result: None, reply }));
        answer.await.unwrap_or_else(|_| Err(gone().into()))
    }

    /// Runs `body` over one durable, consistent state that holds at least every commit acknowledged before the call.
    /// It cannot write.
    ///
    /// # Errors
    /// The body's own error, or a [`Fault`] of the store.
    pub async fn view<R, E, F>(&self, body: F) -> Result<R, E>
    where
        F: FnMut(&Tx) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.backend.view(Box::new(Job { body: Some(body), result: None, reply }));
        answer.await.unwrap_or_else(|_| Err(gone().into()))
    }

    /// Subscribes to the wake-ups of `topic`. Subscribe before you look, then `.wait().await`.
    #[must_use]
    pub fn waiter(&self, topic: &Key) -> Waiter {
        self.backend.waiters().subscribe(bytes::Bytes::copy_from_slice(topic.as_bytes()))
    }

    /// Large bodies, kept beside the key space.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.clone(), Arc::clone(self.backend.blob_files()))
    }

    /// The clock, randomness and identifiers that the store was made with.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// How the store is. `Failed` means: stop serving, exit, start again.
    #[must_use]
    pub fn health(&self) -> Health {
        self.backend.health()
    }

    /// Finishes what is under way and makes the next start quick. Later transactions are refused.
    pub async fn shutdown(&self) {
        let (reply, answer) = oneshot::channel();
        self.backend.shutdown(Box::new(move || {
            let _unheard = reply.send(());
        }));
        // If the back-end died on the way there is nothing left to wait for.
        let _ended = answer.await;
    }
}

fn gone() -> Fault {
    Fault::new(FaultKind::Unavailable, "run a transaction: the store has stopped")
}

struct Job<F, R, E> {
    /// Until it is settled.
    body: Option<F>,
    result: Option<Result<R, E>>,
    reply: oneshot::Sender<Result<R, E>>,
}

impl<F, R, E> Work for Job<F, R, E>
where
    F: FnMut(&Tx) -> Result<R, E> + Send,
    R: Send,
    E: From<Fault> + Send,
{
    fn run(&mut self, tx: &Tx) -> bool {
        let Some(body) = &mut self.body else { return false };
        let result = catch_unwind(AssertUnwindSafe(|| body(tx))).unwrap_or_else(|payload| {
            let fault = Fault::new(FaultKind::Internal, "run a transaction: its body panicked");
            Err(fault.caused_by(panic_text(&*payload)).into())
        });
        let commit = result.is_ok();
        self.result = Some(result);
        commit
    }

    fn settle(&mut self) {
        self.body = None;
    }

    fn finish(self: Box<Self>, durable: Result<(), Fault>) {
        let result = match (durable, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(gone().into()),
            (Err(fault), _) => Err(fault.into()),
        };
        // Who asked may have gone away; the transaction stands.
        let _unheard = self.reply.send(result);
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}
