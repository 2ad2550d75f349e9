//! A future that goes on when nobody waits for it any more.
//!
//! An invocation runs to its end even when its caller hangs up. Spawning every invocation as a task of its own would cost
//! a hand-over between threads each way; instead the caller polls it in place, and only when the caller goes away is what
//! is left moved to a task.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Wraps `future` so that it runs to its end in any case: in the caller's task while that waits, in one of its own when
/// the caller has dropped it. It does not run at all when it was never polled, and ends with the runtime.
pub fn survive<F>(future: F) -> impl Future<Output = F::Output> + Send
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Survive { future: Some(Box::pin(future)), polled: false }
}

struct Survive<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    future: Option<Pin<Box<F>>>,
    polled: bool,
}

impl<F> Future for Survive<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polled = true;
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let output = future.as_mut().poll(cx);
        if output.is_ready() {
            self.future = None;
        }
        output
    }
}

impl<F> Drop for Survive<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        // A panic unwinds through here as well: what panicked must not be polled again.
        if self.polled
            && !std::thread::panicking()
            && let Some(future) = self.future.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}
