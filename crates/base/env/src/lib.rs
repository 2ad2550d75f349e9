//! The outside world as far as time and chance go: [`Env`].
//!
//! Every other room takes an `Env` and asks it for the time, for a pause, for random bytes and for identifiers. There are
//! two kinds: the real one, and a simulated one whose clock stands still until a test moves it and whose randomness comes
//! from a seed, so that one seed replays a run.
//!
//! Invariant: nothing outside this crate calls `SystemTime::now`, `Instant::now`, `tokio::time` or the system's random
//! generator (`clippy.toml` bans them).

mod alarm;
mod clock;
mod entropy;

use std::{fmt, future::Future, sync::Arc, time::Duration};

pub use alarm::Alarm;
use base_types::Timestamp;
use clock::{Armed, RealClock, SimulatedClock};
pub use clock::{Elapsed, Moment};
use entropy::Entropy;

/// Time and chance; cheap to clone, shared by the whole process.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

struct Inner {
    clock: Clock,
    entropy: Entropy,
}

enum Clock {
    Real(RealClock),
    Simulated(SimulatedClock),
}

impl Env {
    /// The system's clock and random generator.
    #[must_use]
    pub fn real() -> Self {
        Self(Arc::new(Inner { clock: Clock::Real(RealClock::new()), entropy: Entropy::system() }))
    }

    /// A clock that stands at `start` until [`Env::advance`] moves it, and randomness that follows from `seed`.
    #[must_use]
    pub fn simulated(start: Timestamp, seed: u64) -> Self {
        Self(Arc::new(Inner { clock: Clock::Simulated(SimulatedClock::new(start)), entropy: Entropy::seeded(seed) }))
    }

    /// The wall clock. It never runs backwards within a process, nor below what [`Env::not_before`] was told.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0.clock {
            Clock::Real(clock) => clock.now(),
            Clock::Simulated(clock) => clock.now(),
        }
    }

    /// Raises the wall clock's floor: the store calls it at start with the greatest time it ever wrote.
    pub fn not_before(&self, floor: Timestamp) {
        match &self.0.clock {
            Clock::Real(clock) => clock.not_before(floor),
            Clock::Simulated(clock) => clock.not_before(floor),
        }
    }

    /// A reading of the monotonic clock, for measuring durations.
    #[must_use]
    pub fn monotonic(&self) -> Moment {
        match &self.0.clock {
            Clock::Real(clock) => clock.monotonic(),
            Clock::Simulated(clock) => clock.monotonic(),
        }
    }

    /// Pauses the calling task.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0.clock {
            Clock::Real(clock) => clock.sleep(duration).await,
            Clock::Simulated(clock) => clock.sleep(duration).await,
        }
    }

    /// Runs `future` for at most `limit`.
    ///
    /// # Errors
    /// [`Elapsed`] when the limit came first; the future is dropped.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        match &self.0.clock {
            Clock::Real(clock) => clock.timeout(limit, future).await,
            Clock::Simulated(clock) => clock.timeout(limit, future).await,
        }
    }

    /// A deadline to be set again and again.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        Alarm::new(self.clone())
    }

    fn arm(&self, duration: Duration) -> Armed {
        match &self.0.clock {
            Clock::Real(clock) => clock.arm(duration),
            Clock::Simulated(clock) => clock.arm(duration),
        }
    }

    /// Moves a simulated clock and wakes what was waiting for the time passed over. A real clock is left alone.
    pub fn advance(&self, duration: Duration) {
        if let Clock::Simulated(clock) = &self.0.clock {
            clock.advance(duration);
        }
    }

    /// Fills `bytes` with randomness fit for keys.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.entropy.fill(bytes);
    }

    /// A random number below `bound`; zero when the bound is zero.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        // 128 bits modulo 64: the bias is below 2^-64.
        u64::try_from(u128::from_le_bytes(bytes).checked_rem(u128::from(bound)).unwrap_or(0)).unwrap_or(0)
    }

    /// A random (version 4) identifier: `xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx`.
    #[must_use]
    pub fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// `length` characters drawn evenly from `alphabet` (ASCII).
    #[must_use]
    pub fn id(&self, length: usize, alphabet: &[u8]) -> String {
        // An alphabet that divides a byte's values is drawn from without bias by a byte for each character.
        if alphabet.len() <= 256 && alphabet.len().is_power_of_two() {
            let mut bytes = vec![0; length];
            self.fill(&mut bytes);
            let drawn = bytes.iter().filter_map(|byte| alphabet.get(usize::from(*byte) & (alphabet.len() - 1)));
            return drawn.map(|&byte| char::from(byte)).collect();
        }
        (0..length)
            .filter_map(|_| usize::try_from(self.below(alphabet.len() as u64)).ok().and_then(|i| alphabet.get(i)))
            .map(|&byte| char::from(byte))
            .collect()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0.clock {
            Clock::Real(_) => "Env::real",
            Clock::Simulated(_) => "Env::simulated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_run() {
        let draw = |seed| {
            let env = Env::simulated(Timestamp::EPOCH, seed);
            (env.uuid(), env.id(8, b"abc"), env.below(1000))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_clock_does_not_run_below_its_floor() {
        let env = Env::real();
        let floor = env.now() + Duration::from_secs(3600);
        env.not_before(floor);
        assert!(env.now() >= floor);
    }

    #[tokio::test]
    async fn simulated_time_stands_until_moved() {
        let env = Env::simulated(Timestamp::from_millis(1000), 1);
        let sleeper = tokio::spawn({
            let env = env.clone();
            async move {
                env.sleep(Duration::from_secs(5)).await;
                env.now()
            }
        });
        tokio::task::yield_now().await;
        env.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        env.advance(Duration::from_secs(1));
        assert_eq!(sleeper.await.unwrap(), Timestamp::from_millis(6000));
    }

    #[tokio::test]
    async fn a_timeout_drops_what_is_late() {
        let env = Env::simulated(Timestamp::EPOCH, 1);
        assert_eq!(env.timeout(Duration::from_secs(1), async { 7 }).await, Ok(7));
        let late = tokio::spawn({
            let env = env.clone();
            async move { env.timeout(Duration::from_secs(1), std::future::pending::<()>()).await }
        });
        tokio::task::yield_now().await;
        env.advance(Duration::from_secs(1));
        assert_eq!(late.await.unwrap(), Err(Elapsed));
    }
}
