//! When an environment is frozen: after it has had nothing to do for a while. One task watches while there is something to
//! watch and ends when it froze the environment or finds it at work; an invocation costs two uncontended locks, no task and
//! no timer of its own.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use parking_lot::Mutex;

use super::gauge::Freezer;

/// An environment is frozen after this long without work.
const QUIET: Duration = Duration::from_millis(10);
/// How often an environment that has work left is looked at before it is left thawed until its next invocation.
const LOOKS_MAX: u32 = 100;

/// Freezes one environment when it is quiet. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Quiet {
    env: Env,
    freezer: Freezer,
    state: Arc<Mutex<State>>,
    /// What else must have nothing to do: the runtime's connection, extensions, their telemetry.
    others: Arc<dyn Rest>,
}

/// Something that may keep an environment awake.
pub(crate) trait Rest: Send + Sync {
    /// Lies down if there is nothing left to do; [`Rest::wake`] follows before the next invocation.
    fn lie_down(&self) -> bool;
    /// The environment runs again.
    fn wake(&self);
}

#[derive(Default)]
struct State {
    idle: bool,
    watched: bool,
    lying: bool,
}

impl Quiet {
    pub(crate) fn new(env: Env, freezer: Freezer, others: Arc<dyn Rest>) -> Self {
        Self { env, freezer, state: Arc::default(), others }
    }

    /// Whether the environment is frozen; none where the host has no freezer.
    pub(crate) fn is_frozen(&self) -> Option<bool> {
        self.freezer.is_frozen()
    }

    /// There is work: calls a freeze off, or ends it.
    pub(crate) fn wake(&self) {
        let lying = {
            let mut state = self.state.lock();
            state.idle = false;
            std::mem::take(&mut state.lying)
        };
        self.freezer.thaw();
        if lying {
            self.others.wake();
        }
    }

    /// There is no more work.
    pub(crate) fn rest(&self) {
        let watched = {
            let mut state = self.state.lock();
            state.idle = true;
            std::mem::replace(&mut state.watched, true)
        };
        if !watched {
            tokio::spawn(self.clone().watch());
        }
    }

    async fn watch(self) {
        let mut turn = self.freezer.turn();
        let mut looks = 0;
        loop {
            self.env.sleep(QUIET).await;
            let now = self.freezer.turn();
            let mut state = self.state.lock();
            if std::mem::replace(&mut turn, now) != now {
                // It was used since the last look.
                looks = 0;
                if state.idle {
                    continue;
                }
            }
            if !state.idle || looks > LOOKS_MAX {
                state.watched = false;
                return;
            }
            looks += 1;
            if !self.others.lie_down() {
                continue;
            }
            self.freezer.freeze(now);
            state.lying = true;
            state.watched = false;
            return;
        }
    }
}
