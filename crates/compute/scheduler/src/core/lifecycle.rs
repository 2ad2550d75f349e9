//! What becomes of environments: started, freed, frozen, expired, retired, stopped.

use std::sync::Arc;

use base_env::Moment;
use compute_api::{ColdReason, Start};

use super::{Action, Actions, Core, EnvironmentId, State, VersionId, VersionKey};

impl<S, E, W> Core<S, E, W> {
    /// A start succeeded. The oldest waiter gets the environment; without one it is idle.
    pub(crate) fn started(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        handle: E,
        actions: &mut Actions<S, E, W>,
    ) {
        self.release_start_slot(id);
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.start_cost = now.since(environment.begun);
        environment.handle = Some(handle);
        let version = environment.version;
        if let Some(version) = self.versions.get_mut(version) {
            version.starting -= 1;
        }
        self.counters.started += 1;
        self.place(now, id, version, true, actions);
        self.begin_starts(now, actions);
    }

    /// A start failed. Gives back the waiter who is to be told, if one still waits.
    pub(crate) fn start_failed(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        actions: &mut Actions<S, E, W>,
    ) -> Option<W> {
        self.release_start_slot(id);
        let environment = self.environments.remove(id)?;
        let memory = u64::from(environment.memory_mib);
        self.memory_held -= memory;
        self.memory_promised -= memory;
        self.counters.start_failures += 1;
        let version = self.versions.get_mut(environment.version)?;
        version.starting -= 1;
        version.environments -= 1;
        let function = version.function;
        let waiter = self.take_waiter(environment.version).map(|waiting| waiting.place);
        if waiter.is_some() {
            self.count_out(function);
        }
        self.begin_starts(now, actions);
        self.forget_version(environment.version);
        waiter
    }

    /// An invocation is over. `reusable` is false when the environment failed, timed out, or cannot be trusted.
    pub(crate) fn finished(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        handle: E,
        reusable: bool,
        actions: &mut Actions<S, E, W>,
    ) {
        let Some(environment) = self.environments.get_mut(id).filter(|entry| entry.state == State::Busy) else {
            return;
        };
        environment.handle = Some(handle);
        let version = environment.version;
        let Some(entry) = self.versions.get(version) else { return };
        let (function, retired) = (entry.function, entry.retired);
        self.count_out(function);
        if !reusable {
            self.gone(id, ColdReason::Ended);
        }
        if !reusable || retired {
            self.stop(now, id, actions);
        } else {
            self.place(now, id, version, false, actions);
        }
    }

    /// A busy environment is gone together with its user.
    pub(crate) fn lost(&mut self, now: Moment, id: EnvironmentId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let Some(environment) = self.environments.get(id).filter(|entry| entry.state == State::Busy) else { return };
        if let Some(version) = self.versions.get(environment.version) {
            let function = version.function;
            self.count_out(function);
        }
        self.gone(id, ColdReason::Ended);
        self.stop(now, id, actions);
        self.stopped(now, id, actions);
    }

    /// An environment's process ended by itself. A busy one is left to its user, who will see it.
    pub(crate) fn died(&mut self, now: Moment, id: EnvironmentId<S, E, W>, actions: &mut Actions<S, E, W>) {
        if self.environments.get(id).is_some_and(|entry| entry.state == State::Idle) {
            self.gone(id, ColdReason::Ended);
            self.stop(now, id, actions);
        }
    }

    /// A stopping environment is gone: its memory is free.
    pub(crate) fn stopped(&mut self, now: Moment, id: EnvironmentId<S, E, W>, actions: &mut Actions<S, E, W>) {
        if self.environments.get(id).is_none_or(|environment| environment.state != State::Stopping) {
            return;
        }
        let Some(environment) = self.environments.remove(id) else { return };
        self.memory_held -= u64::from(environment.memory_mib);
        if let Some(version) = self.versions.get_mut(environment.version) {
            version.environments -= 1;
        }
        self.begin_starts(now, actions);
        self.forget_version(environment.version);
    }

    /// A function version's environments are not to be used any more: idle ones stop now, busy ones when they finish. Who
    /// was admitted before still gets a fresh environment of that version.
    pub(crate) fn retire(&mut self, now: Moment, key: &VersionKey, actions: &mut Actions<S, E, W>) {
        if let Some(&id) = self.version_by_key.get(key) {
            self.retire_version(now, id, actions);
        }
    }

    /// The same for all versions of a function (it was deleted), or for all but one state of its `$LATEST`.
    pub(crate) fn retire_function(
        &mut self,
        now: Moment,
        function: &Arc<str>,
        applies: impl Fn(&VersionKey) -> bool,
        actions: &mut Actions<S, E, W>,
    ) {
        let Some(function) = self.function_by_key.get(function).and_then(|&id| self.functions.get(id)) else { return };
        let concerned: Vec<_> = function
            .versions
            .iter()
            .copied()
            .filter(|&id| self.versions.get(id).is_some_and(|version| applies(&version.spec.key)))
            .collect();
        for id in concerned {
            self.retire_version(now, id, actions);
        }
    }

    fn retire_version(&mut self, now: Moment, id: VersionId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let Some(version) = self.versions.get_mut(id) else { return };
        version.retired = true;
        for environment in version.idle.clone() {
            self.stop(now, environment, actions);
        }
    }

    /// No new invocations; idle environments stop, busy ones when they finish.
    pub(crate) fn shut_down(&mut self, now: Moment, actions: &mut Actions<S, E, W>) {
        self.shutting_down = true;
        let idle: Vec<_> = self.versions.iter().flat_map(|(_, version)| version.idle.iter().copied()).collect();
        for environment in idle {
            self.stop(now, environment, actions);
        }
    }

    /// Does what is due by time and says when to come again; `None`: not before an [`Action::Tick`].
    pub(crate) fn tick(&mut self, now: Moment, actions: &mut Actions<S, E, W>) -> Option<Moment> {
        self.next_tick = None;
        while self.start_slots.front().is_some_and(|&(_, lent)| lent <= now) {
            self.start_slots.pop_front();
        }
        self.begin_starts(now, actions);
        let mut next = self.start_slots.front().map(|&(_, lent)| lent);
        let mut expired = Vec::new();
        for (id, environment) in self.environments.iter().filter(|(_, entry)| entry.state == State::Idle) {
            let expires = self.keep_alive.expires(&environment.idle_facts());
            if expires <= now {
                expired.push(id);
            } else {
                next = Some(next.map_or(expires, |next| next.min(expires)));
            }
        }
        for id in expired {
            self.counters.expired += 1;
            self.gone(id, ColdReason::Expired);
            self.stop(now, id, actions);
        }
        self.next_tick = next;
        next
    }

    /// A free environment goes to the oldest waiter of its version, else it is idle, else (retired, shutting down) it stops.
    fn place(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        version: VersionId<S, E, W>,
        cold: bool,
        actions: &mut Actions<S, E, W>,
    ) {
        let waiter = self.take_waiter(version);
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.since = now;
        if let Some(waiting) = waiter {
            environment.state = State::Busy;
            environment.uses += 1;
            if cold {
                self.counters.cold += 1;
            } else {
                self.counters.warm += 1;
            }
            let start = if cold { Start::Cold(waiting.reason) } else { Start::Warm };
            if let Some(handle) = environment.handle.take() {
                actions.push(Action::Grant { waiter: waiting.place, environment: id, handle, start });
            }
            self.drop_surplus(version);
            return;
        }
        environment.state = State::Idle;
        let expires = self.keep_alive.expires(&environment.idle_facts());
        self.memory_idle += u64::from(environment.memory_mib);
        let Some(entry) = self.versions.get_mut(version) else { return };
        entry.idle.push_back(id);
        if entry.retired || self.shutting_down || expires <= now {
            self.stop(now, id, actions);
        } else {
            self.due(expires, actions);
        }
    }

    /// An idle or busy environment begins to stop.
    pub(super) fn stop(&mut self, now: Moment, id: EnvironmentId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let memory = u64::from(environment.memory_mib);
        match environment.state {
            State::Idle => {
                self.memory_idle -= memory;
                if let Some(version) = self.versions.get_mut(environment.version) {
                    version.idle.retain(|&other| other != id);
                }
            }
            State::Busy => {}
            State::Starting | State::Stopping => return,
        }
        environment.state = State::Stopping;
        environment.since = now;
        self.memory_promised -= memory;
        if let Some(handle) = environment.handle.take() {
            actions.push(Action::Stop { environment: id, handle });
        }
    }

    /// Remembers why an environment goes, for the version's next caller.
    pub(super) fn gone(&mut self, id: EnvironmentId<S, E, W>, reason: ColdReason) {
        let version = self.environments.get(id).map(|environment| environment.version);
        if let Some(version) = version.and_then(|id| self.versions.get_mut(id)) {
            version.gone = Some(reason);
        }
    }

    fn release_start_slot(&mut self, id: EnvironmentId<S, E, W>) {
        self.start_slots.retain(|&(holder, _)| holder != id);
    }

    /// Makes sure that `tick` is called at `due` at the latest.
    pub(super) fn due(&mut self, due: Moment, actions: &mut Actions<S, E, W>) {
        if self.next_tick.is_none_or(|next| due < next) {
            self.next_tick = Some(due);
            actions.push(Action::Tick);
        }
    }
}
