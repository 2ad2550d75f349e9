//! Idle environments: how long they rest, and the timers that end it.
//!
//! A timer says when an environment is to be looked at, which is not later than when it expires: use does not move it, so
//! a warm invocation leaves the heap alone. When it fires too early it is set anew.

use std::{cmp::Ordering, time::Duration};

use base_env::Moment;
use compute_api::ColdReason;

use super::{Action, Actions, Core, EnvironmentId, State, VersionId};

/// An entry of `Core::timers`; the earliest is the greatest.
pub(super) struct Timer<S, E, W> {
    at: Moment,
    what: Alarm<S, E, W>,
}

pub(super) enum Alarm<S, E, W> {
    /// An environment may have been idle for too long, or be too old.
    Environment(EnvironmentId<S, E, W>),
    /// Starting provisioned environments is tried again.
    Provision(VersionId<S, E, W>),
}

impl<S, E, W> Timer<S, E, W> {
    fn rank(&self) -> (Moment, u64) {
        let number = match self.what {
            Alarm::Environment(id) => id.number(),
            Alarm::Provision(id) => id.number(),
        };
        (self.at, number)
    }
}

impl<S, E, W> PartialEq for Timer<S, E, W> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<S, E, W> Eq for Timer<S, E, W> {}
impl<S, E, W> PartialOrd for Timer<S, E, W> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<S, E, W> Ord for Timer<S, E, W> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
    }
}

impl<S, E, W> Core<S, E, W> {
    /// A free environment that nobody waits for is idle, or (retired, shutting down, too old, not wanted) stops.
    pub(super) fn rest(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        version: VersionId<S, E, W>,
        actions: &mut Actions<S, E, W>,
    ) {
        let (Some(environment), Some(entry)) = (self.environments.get(id), self.versions.get(version)) else { return };
        if entry.retired || self.shutting_down {
            return self.stop(now, id, None, actions);
        }
        if environment.provisioned {
            return self.rest_provisioned(now, id, version, actions);
        }
        let oldest = environment.begun + self.keep_alive.age_max;
        let expires = (now + self.idle_time(version)).min(oldest);
        if expires <= now {
            return self.stop(now, id, Some(ColdReason::Expired), actions);
        }
        let charge = self.idle_charge(id);
        self.transition(now, id, State::Idle, charge);
        if let Some(environment) = self.environments.get_mut(id) {
            environment.clock = self.clock;
        }
        if let Some(entry) = self.versions.get_mut(version) {
            entry.idle.push_back(id);
        }
        self.index(version);
        self.arm(id, expires, actions);
    }

    /// How long the version's environments are kept idle.
    pub(super) fn idle_time(&mut self, id: VersionId<S, E, W>) -> Duration {
        let keep_alive = self.keep_alive;
        let Some(version) = self.versions.get_mut(id) else { return keep_alive.idle_max };
        let seen = version.past.idle.total();
        match version.idle_time {
            // A sixteenth more observations hardly move a percentile.
            Some((time, of)) if seen >= of && seen - of <= of / 16 => time,
            _ => version.idle_time.insert((keep_alive.idle_time(&version.past.idle), seen)).0,
        }
    }

    /// Makes sure that an idle environment is looked at by `at`.
    pub(super) fn arm(&mut self, id: EnvironmentId<S, E, W>, at: Moment, actions: &mut Actions<S, E, W>) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        if environment.timer.is_none_or(|timer| at < timer) {
            environment.timer = Some(at);
            self.set_timer(at, Alarm::Environment(id), actions);
        }
    }

    pub(super) fn set_timer(&mut self, at: Moment, what: Alarm<S, E, W>, actions: &mut Actions<S, E, W>) {
        // Timers of what is gone stay until they are due: where many come and go they are swept.
        if self.timers.len() > 2 * self.environments.len() + 1024 {
            let environments = &self.environments;
            self.timers.retain(|timer| match timer.what {
                Alarm::Environment(id) => {
                    environments.get(id).is_some_and(|environment| environment.timer == Some(timer.at))
                }
                Alarm::Provision(_) => true,
            });
        }
        self.timers.push(Timer { at, what });
        self.due(at, actions);
    }

    /// Does what is due by time and says when to come again; `None`: not before an [`Action::Tick`].
    pub(crate) fn tick(&mut self, now: Moment, actions: &mut Actions<S, E, W>) -> Option<Moment> {
        self.next_tick = None;
        while self.start_slots.front().is_some_and(|&(_, lent)| lent <= now) {
            self.start_slots.pop_front();
        }
        self.begin_starts(now, actions);
        while self.timers.peek().is_some_and(|timer| timer.at <= now) {
            let Some(timer) = self.timers.pop() else { break };
            match timer.what {
                Alarm::Environment(id) => self.look_at(now, id, timer.at, actions),
                Alarm::Provision(id) => self.tidy(now, id, actions),
            }
        }
        let lent = self.start_slots.front().map(|&(_, lent)| lent);
        let timer = self.timers.peek().map(|timer| timer.at);
        self.next_tick = lent.into_iter().chain(timer).min();
        self.next_tick
    }

    fn look_at(&mut self, now: Moment, id: EnvironmentId<S, E, W>, at: Moment, actions: &mut Actions<S, E, W>) {
        let Some(environment) = self.environments.get_mut(id).filter(|entry| entry.timer == Some(at)) else { return };
        environment.timer = None;
        if environment.state != State::Idle {
            return;
        }
        let (version, provisioned) = (environment.version, environment.provisioned);
        let (since, begun) = (environment.since, environment.begun);
        if provisioned {
            self.grow_old(now, id, version, actions);
            return self.tidy(now, version, actions);
        }
        let expires = (since + self.idle_time(version)).min(begun + self.keep_alive.age_max);
        if expires <= now {
            self.counters.expired += 1;
            self.stop(now, id, Some(ColdReason::Expired), actions);
        } else {
            self.arm(id, expires, actions);
        }
    }

    /// Makes sure that `tick` is called at `due` at the latest.
    pub(super) fn due(&mut self, due: Moment, actions: &mut Actions<S, E, W>) {
        if self.next_tick.is_none_or(|next| due < next) {
            self.next_tick = Some(due);
            actions.push(Action::Tick);
        }
    }
}
