//! A task that is woken while it runs goes on at once.
//!
//! hyper wakes a connection's own task while that is being polled: whoever takes a piece of a body wakes who would send the
//! next, and both are the same task. The runtime takes such a wake for a wish to let others go first: it queues the task
//! and wakes another thread for it, once for every request with a body. Here the task is polled again instead.
//!
//! Guarantee: no wake is lost, whichever thread it comes from; a task that wakes itself for ever still lets others go first.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// How often in a row a task is polled again.
const ROUNDS_MAX: u32 = 4;

const WAITING: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// A future for a task of its own, which is polled again when it was woken meanwhile.
pub(crate) fn inline<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Inline { future: Box::pin(future), bell: None }
}

struct Inline<F> {
    future: Pin<Box<F>>,
    bell: Option<(Arc<Bell>, Waker)>,
}

struct Bell {
    state: AtomicU8,
    task: Mutex<Waker>,
}

impl Bell {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire) {
            // Who polls sees it.
            Ok(_) | Err(WOKEN) => {}
            Err(_) => {
                let task = self.task().clone();
                task.wake();
            }
        }
    }
}

impl<F: Future> Future for Inline<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, bell } = &mut *self;
        let (bell, waker) = bell.get_or_insert_with(|| {
            let bell = Arc::new(Bell { state: AtomicU8::new(WAITING), task: Mutex::new(cx.waker().clone()) });
            let waker = Waker::from(Arc::clone(&bell));
            (bell, waker)
        });
        {
            let mut task = bell.task();
            if !task.will_wake(cx.waker()) {
                task.clone_from(cx.waker());
            }
        }
        let mut own = Context::from_waker(waker);
        for _ in 0..ROUNDS_MAX {
            bell.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = future.as_mut().poll(&mut own) {
                // What is woken from here on has ended.
                bell.state.store(WAITING, Ordering::Release);
                return Poll::Ready(output);
            }
            if bell.state.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        bell.state.store(WAITING, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicU32};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls once a future that wakes itself in its first polls; how often it was polled, and how often its task was woken.
    fn polled(wakes: u32) -> (bool, u32, u32) {
        let (count, mut polls) = (Arc::new(Count::default()), 0);
        let waker = Waker::from(Arc::clone(&count));
        let ready = {
            let mut future = std::pin::pin!(inline(poll_fn(|cx| {
                polls += 1;
                if polls > wakes {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                cx.waker().wake_by_ref();
                Poll::Pending
            })));
            future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        };
        (ready, polls, count.0.load(Ordering::SeqCst))
    }

    #[test]
    fn who_is_woken_while_it_runs_goes_on_and_not_for_ever() {
        assert_eq!(polled(0), (true, 1, 0));
        assert_eq!(polled(2), (true, 3, 0));
        assert_eq!(polled(100), (false, ROUNDS_MAX, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wake_is_lost_whichever_thread_it_comes_from() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let received = tokio::spawn(inline(async move {
            let mut seen = 0_u32;
            while let Some(number) = receiver.recv().await {
                assert_eq!(number, seen);
                seen += 1;
            }
            seen
        }));
        let sent = tokio::spawn(inline(async move {
            for number in 0..50_000_u32 {
                sender.send(number).await.unwrap();
            }
        }));
        sent.await.unwrap();
        assert_eq!(received.await.unwrap(), 50_000);
    }
}
