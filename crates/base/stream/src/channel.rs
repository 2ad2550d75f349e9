//! The bounded channel. Guarantees: at most the agreed number of items wait; a fault is the last thing that is read.

use std::{
    fmt,
    task::{Context, Poll},
};

use base_types::Fault;
use tokio::sync::mpsc;

/// A channel on which at most `items` (at least one) wait.
#[must_use]
pub fn channel<T>(items: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(items.max(1));
    (Sender(sender), Receiver(receiver))
}

/// The end of who makes. The stream ends when every clone of it is gone.
pub struct Sender<T>(mpsc::Sender<Result<T, Fault>>);

/// The end of who reads.
pub struct Receiver<T>(mpsc::Receiver<Result<T, Fault>>);

impl<T> Sender<T> {
    /// Hands an item over, waiting while too many wait already. False when nobody reads any more.
    pub async fn send(&self, item: T) -> bool {
        self.0.send(Ok(item)).await.is_ok()
    }

    /// Hands an item over when there is room for it at once; false otherwise.
    pub fn try_send(&self, item: T) -> bool {
        self.0.try_send(Ok(item)).is_ok()
    }

    /// As [`Sender::send`], for a thread that may block; never to be called on an asynchronous worker.
    pub fn blocking_send(&self, item: T) -> bool {
        self.0.blocking_send(Ok(item)).is_ok()
    }

    /// Ends the stream as broken: the reader gets the fault after what was sent before.
    pub async fn fail(self, fault: Fault) {
        // Who reads may have gone: then nobody is to be told.
        drop(self.0.send(Err(fault)).await);
    }

    /// As [`Sender::fail`], for a thread that may block.
    pub fn blocking_fail(self, fault: Fault) {
        drop(self.0.blocking_send(Err(fault)));
    }

    /// Resolves when nobody reads any more: the client has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<T, Fault>> {
        self.0.recv().await
    }

    /// As [`Receiver::next`], for who is polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Fault>>> {
        self.0.poll_recv(cx)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.0.is_closed()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("waiting", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use base_types::FaultKind;

    use super::*;

    #[tokio::test]
    async fn items_come_in_their_order_and_a_fault_is_the_last() {
        let (sender, mut receiver) = channel(2);
        assert!(sender.send(1).await && sender.send(2).await);
        let failing = tokio::spawn(sender.fail(Fault::new(FaultKind::Internal, "broken")));
        assert_eq!(receiver.next().await.map(Result::ok), Some(Some(1)));
        assert_eq!(receiver.next().await.map(Result::ok), Some(Some(2)));
        assert!(matches!(receiver.next().await, Some(Err(_))));
        assert!(receiver.next().await.is_none());
        failing.await.unwrap();
    }

    #[tokio::test]
    async fn who_makes_learns_that_nobody_reads() {
        let (sender, receiver) = channel::<u8>(1);
        assert!(!sender.is_closed());
        drop(receiver);
        sender.closed().await;
        assert!(sender.is_closed() && !sender.send(1).await);
    }
}
