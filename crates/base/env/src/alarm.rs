//! A deadline that is set often and reached seldom, such as the time limit of an invocation.
//!
//! Setting it costs a reading of the clock. The timer behind it is set at most once per limit: when it fires before the
//! deadline that counts by then, it is set anew. So thousands of limits per second cost no more timers than a few.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    Env, Moment,
    clock::{Armed, SimulatedClock},
};

/// See the module.
pub struct Alarm {
    env: Env,
    deadline: Moment,
    armed: Option<(Moment, Armed)>,
}

impl Alarm {
    pub(crate) fn new(env: Env) -> Self {
        let deadline = env.monotonic();
        Self { env, deadline, armed: None }
    }

    /// The deadline lies this far ahead from now on.
    pub fn set(&mut self, limit: Duration) {
        self.deadline = self.env.monotonic() + limit;
        if self.armed.as_ref().is_some_and(|(at, _)| *at > self.deadline) {
            self.armed = None;
        }
    }

    /// Resolves when the deadline is reached. It may be given up and asked for again.
    pub async fn reached(&mut self) {
        poll_fn(|cx| self.poll_reached(cx)).await;
    }

    /// As [`Alarm::reached`], for who is polled.
    pub fn poll_reached(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some((_, armed)) = &mut self.armed else {
                let rest = self.deadline.since(self.env.monotonic());
                if rest.is_zero() {
                    return Poll::Ready(());
                }
                self.armed = Some((self.deadline, self.env.arm(rest)));
                continue;
            };
            let fired = match armed {
                Armed::Real(sleep) => sleep.as_mut().poll(cx).is_ready(),
                // A dropped sender means that the clock itself is gone: nobody moves time any more.
                Armed::Simulated(woken) => matches!(Pin::new(woken).poll(cx), Poll::Ready(Ok(()))),
            };
            if !fired {
                return Poll::Pending;
            }
            self.armed = None;
        }
    }
}

impl SimulatedClock {
    pub(crate) fn arm(&self, duration: Duration) -> Armed {
        Armed::Simulated(self.wake_after(duration))
    }
}

#[cfg(test)]
mod tests {
    use base_types::Timestamp;

    use super::*;

    fn is_reached(alarm: &mut Alarm) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        alarm.poll_reached(&mut cx).is_ready()
    }

    #[test]
    fn only_the_last_deadline_counts() {
        let env = Env::simulated(Timestamp::EPOCH, 1);
        let mut alarm = env.alarm();
        alarm.set(Duration::from_secs(10));
        assert!(!is_reached(&mut alarm));
        env.advance(Duration::from_secs(9));
        alarm.set(Duration::from_secs(10));
        assert!(!is_reached(&mut alarm));
        // The timer of the first deadline fires, and is set anew.
        env.advance(Duration::from_secs(5));
        assert!(!is_reached(&mut alarm));
        env.advance(Duration::from_secs(5));
        assert!(is_reached(&mut alarm));
        // An earlier one than the timer's is kept too.
        alarm.set(Duration::from_secs(100));
        assert!(!is_reached(&mut alarm));
        alarm.set(Duration::from_secs(1));
        assert!(!is_reached(&mut alarm));
        env.advance(Duration::from_secs(1));
        assert!(is_reached(&mut alarm));
    }

    #[tokio::test]
    async fn the_real_clock_reaches_it_too() {
        let env = Env::real();
        let mut alarm = env.alarm();
        let begun = env.monotonic();
        alarm.set(Duration::from_millis(20));
        alarm.reached().await;
        assert!(env.monotonic().since(begun) >= Duration::from_millis(20));
    }
}
