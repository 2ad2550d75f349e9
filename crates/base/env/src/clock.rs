//! The two clocks. Guarantee of both: `now` never decreases.

#![expect(clippy::disallowed_methods, reason = "this is the one room that may read the clock and set timers")]

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base_types::Timestamp;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The time limit came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the time limit was reached")
    }
}

impl std::error::Error for Elapsed {}

/// A reading of the monotonic clock. Only differences mean something. The default is a moment before every reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The time since an earlier reading; zero if that was later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// A timer that is running.
pub(crate) enum Armed {
    Real(Pin<Box<tokio::time::Sleep>>),
    Simulated(oneshot::Receiver<()>),
}

pub(crate) struct RealClock {
    origin: Instant,
    greatest: AtomicU64,
}

impl RealClock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), greatest: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(system.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(millis.max(self.greatest.fetch_max(millis, Ordering::Relaxed)))
    }

    pub(crate) fn not_before(&self, floor: Timestamp) {
        self.greatest.fetch_max(floor.as_millis(), Ordering::Relaxed);
    }

    pub(crate) fn monotonic(&self) -> Moment {
        Moment(self.origin.elapsed())
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    pub(crate) fn arm(&self, duration: Duration) -> Armed {
        Armed::Real(Box::pin(tokio::time::sleep(duration)))
    }

    pub(crate) async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(limit, future).await.map_err(|_| Elapsed)
    }
}

/// A clock that a test moves. Sleepers wake in the order of their due times.
pub(crate) struct SimulatedClock {
    state: Mutex<SimulatedState>,
}

struct SimulatedState {
    now: Timestamp,
    elapsed: Duration,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    sleeper_next: u64,
}

impl SimulatedClock {
    pub(crate) fn new(start: Timestamp) -> Self {
        let state = SimulatedState { now: start, elapsed: Duration::ZERO, sleepers: BTreeMap::new(), sleeper_next: 0 };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    pub(crate) fn not_before(&self, floor: Timestamp) {
        let mut state = self.state.lock();
        state.now = state.now.max(floor);
    }

    pub(crate) fn monotonic(&self) -> Moment {
        Moment(self.state.lock().elapsed)
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        if duration.is_zero() {
            return;
        }
        let woken = self.wake_after(duration);
        // A dropped sender means that the clock itself is gone: nobody moves time any more.
        if woken.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Told when the clock was moved that far.
    pub(crate) fn wake_after(&self, duration: Duration) -> oneshot::Receiver<()> {
        let mut state = self.state.lock();
        // Who gave up waiting (a dropped timeout) must not be kept for ever.
        state.sleepers.retain(|_, sleeper| !sleeper.is_closed());
        let (sender, receiver) = oneshot::channel();
        let key = (state.elapsed.saturating_add(duration), state.sleeper_next);
        state.sleeper_next += 1;
        state.sleepers.insert(key, sender);
        receiver
    }

    pub(crate) async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.sleep(limit) => Err(Elapsed),
        }
    }

    pub(crate) fn advance(&self, duration: Duration) {
        let mut state = self.state.lock();
        state.now = state.now + duration;
        state.elapsed = state.elapsed.saturating_add(duration);
        let elapsed = state.elapsed;
        while let Some(entry) = state.sleepers.first_entry() {
            if entry.key().0 > elapsed {
                break;
            }
            // A sleeper that gave up meanwhile has dropped its receiver: nothing to do.
            let _gone = entry.remove().send(());
        }
    }
}
