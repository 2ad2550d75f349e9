//! The time limit of a request's head, as hyper asks for it: an alarm for each connection in place of a timer for each
//! request. Setting the limit anew costs a reading of the clock.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use base_env::{Alarm, Env};
use hyper::rt::{Sleep, Timer};

/// The timer of one connection, on which nothing but heads is waited for.
pub(crate) struct HeadTimer {
    alarm: Arc<Mutex<Alarm>>,
    limit: Duration,
    made: Instant,
}

impl HeadTimer {
    #[expect(clippy::disallowed_methods, reason = "hyper adds the limit to it and gives it back; nobody else reads it")]
    pub(crate) fn new(env: &Env, limit: Duration) -> Self {
        Self { alarm: Arc::new(Mutex::new(env.alarm())), limit, made: Instant::now() }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).set(self.limit);
        Box::pin(Limit(Arc::clone(&self.alarm)))
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(self.limit)
    }

    fn now(&self) -> Instant {
        self.made
    }
}

/// Resolves when the alarm does.
struct Limit(Arc<Mutex<Alarm>>);

impl Future for Limit {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_reached(cx)
    }
}

impl Sleep for Limit {}
