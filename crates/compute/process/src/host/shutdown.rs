//! The end of an environment. One without extensions is killed at once; with them AWS's shutdown phase comes first
//! (Lambda developer guide, "Lambda execution environment lifecycle", "Shutdown phase"): the runtime is asked to go, then
//! the extensions that want to know are told why, and whoever is still there at the end of the budget is killed.

use std::time::Duration;

use compute_api::Exit;

use super::environment::{DRAIN_WAIT, ProcessEnvironment, exit};
use super::wait::{Inner, end_of};
use crate::protocol::End;

/// AWS's budgets: with external extensions, and with internal ones only.
const EXTERNAL_BUDGET: Duration = Duration::from_millis(2000);
const INTERNAL_BUDGET: Duration = Duration::from_millis(500);
/// The runtime's part of the first.
const RUNTIME_BUDGET: Duration = Duration::from_millis(600);
/// How long a killed environment may take to end: a few milliseconds, or seconds for a thousand processes on a busy machine.
const END_WAIT: Duration = Duration::from_secs(15);

/// Why an environment ends, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Spindown,
    Timeout,
    Failure,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

impl ProcessEnvironment {
    /// Ends everything in the environment and takes its last output; answers how the process ended.
    pub(super) async fn kill(&mut self, reason: Reason) -> Exit {
        self.alive = false;
        if self.inner.extensions.any() && self.inner.ended.borrow().is_none() {
            self.shut_down(reason).await;
        }
        // The counters go with the environment.
        self.inner.gauge.memory_peak();
        self.inner.gauge.cpu();
        self.room.link.end(self.room.id);
        self.quiet.wake();
        let Inner { ended, env, output, .. } = &mut self.inner;
        let end = env.timeout(END_WAIT, end_of(ended)).await.unwrap_or(End::Never);
        output.drain_within(DRAIN_WAIT).await;
        exit(end)
    }

    async fn shut_down(&mut self, reason: Reason) {
        self.quiet.wake();
        let (link, id, pid) = (&self.room.link, self.room.id, self.pid);
        let Inner { extensions, ended, env, output, .. } = &mut self.inner;
        extensions.begin_shutdown();
        self.telemetry.flush();
        let external = extensions.external();
        let budget = if external { EXTERNAL_BUDGET } else { INTERNAL_BUDGET };
        let begun = env.monotonic();
        let deadline = env.now() + budget;
        let phase = async {
            link.signal(id, pid, libc::SIGTERM);
            let program_budget = if external { RUNTIME_BUDGET } else { budget };
            if env.timeout(program_budget, extensions.program_left()).await.is_err() {
                link.signal(id, pid, libc::SIGKILL);
            }
            for unwanted in extensions.offer_shutdown(reason.as_str(), deadline) {
                link.signal(id, unwanted, libc::SIGKILL);
            }
            let rest = budget.saturating_sub(env.monotonic().since(begun));
            // Whoever is not gone by then goes with the environment.
            let _ = env.timeout(rest, extensions.processes_left()).await;
        };
        tokio::select! {
            () = phase => {}
            _ = end_of(ended) => {}
            () = output.pump() => {}
        }
    }
}
