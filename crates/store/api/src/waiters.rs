//! Wake-ups: hints that something may have changed under a topic.
//!
//! A wake-up is only a hint; the store is the truth. Subscribe first, then look, then wait: a wake-up between the
//! look and
//! the wait is kept. A waiter that was woken and goes away without having waited hands its wake-up on to the next
//! one, so
//! that `wake(topic, 1)` is not lost on somebody who had already found what he wanted.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Those who wait on one topic, numbered.
type Queue = VecDeque<(u64, oneshot::Sender<()>)>;

/// All who wait, by topic. First come, first woken.
#[derive(Default)]
pub struct Waiters {
    topics: Mutex<HashMap<Bytes, Queue>>,
    next: AtomicU64,
}

impl Waiters {
    /// Subscribes to `topic` from now on.
    pub fn subscribe(self: &Arc<Self>, topic: Bytes) -> Waiter {
        let (sender, receiver) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.topics.lock().entry(topic.clone()).or_default().push_back((number, sender));
        Waiter { waiters: Arc::clone(self), topic, number, receiver: Some(receiver) }
    }

    /// Wakes at most `n` waiters of `topic`: for back-ends, after a commit became durable.
    pub fn wake(&self, topic: &[u8], n: usize) {
        let mut topics = self.topics.lock();
        let Some(queue) = topics.get_mut(topic) else { return };
        let mut woken = 0;
        while woken < n {
            let Some((_, sender)) = queue.pop_front() else { break };
            woken += usize::from(sender.send(()).is_ok());
        }
        if queue.is_empty() {
            topics.remove(topic);
        }
    }

    /// How many wait, over all topics.
    #[must_use]
    pub fn count(&self) -> usize {
        self.topics.lock().values().map(VecDeque::len).sum()
    }

    fn forget(&self, topic: &Bytes, number: u64) {
        let mut topics = self.topics.lock();
        if let Some(queue) = topics.get_mut(topic) {
            queue.retain(|(other, _)| *other != number);
            if queue.is_empty() {
                topics.remove(topic);
            }
        }
    }
}

/// One subscription, good for one wake-up.
pub struct Waiter {
    waiters: Arc<Waiters>,
    topic: Bytes,
    number: u64,
    receiver: Option<oneshot::Receiver<()>>,
}

impl Waiter {
    /// Waits for a wake-up; returns at once if it came since the subscription. For a limit, wrap it in
    /// `env.timeout(..)`.
    pub async fn wait(mut self) {
        if let Some(receiver) = &mut self.receiver {
            // The sender lives in the list until it is used or this waiter is dropped.
            let _woken = receiver.await;
            self.receiver = None;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(mut receiver) = self.receiver.take() else { return };
        if receiver.try_recv().is_ok() {
            self.waiters.wake(&self.topic, 1);
            return;
        }
        self.waiters.forget(&self.topic, self.number);
        // Woken between the look and the removal: hand it on all the same.
        if receiver.try_recv().is_ok() {
            self.waiters.wake(&self.topic, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Bytes {
        Bytes::from_static(b"t")
    }

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_kept() {
        let waiters = Arc::new(Waiters::default());
        let waiter = waiters.subscribe(topic());
        waiters.wake(b"t", 1);
        waiter.wait().await;
        assert_eq!(waiters.count(), 0);
    }

    #[tokio::test]
    async fn one_wake_up_wakes_the_first_who_waits() {
        let waiters = Arc::new(Waiters::default());
        let (first, second) = (waiters.subscribe(topic()), waiters.subscribe(topic()));
        waiters.wake(b"t", 1);
        first.wait().await;
        assert_eq!(waiters.count(), 1);
        waiters.wake(b"t", 9);
        second.wait().await;
    }

    #[tokio::test]
    async fn who_leaves_without_waiting_hands_the_wake_up_on() {
        let waiters = Arc::new(Waiters::default());
        let (first, second) = (waiters.subscribe(topic()), waiters.subscribe(topic()));
        waiters.wake(b"t", 1);
        drop(first);
        second.wait().await;
    }

    #[tokio::test]
    async fn who_gives_up_is_forgotten() {
        let waiters = Arc::new(Waiters::default());
        drop(waiters.subscribe(topic()));
        assert_eq!(waiters.count(), 0);
        assert!(waiters.topics.lock().is_empty());
    }
}
