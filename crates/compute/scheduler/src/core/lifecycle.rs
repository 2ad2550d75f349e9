//! What becomes of environments: started, freed, retired, lost, stopped.

use std::sync::Arc;

use base_env::Moment;
use compute_api::{ColdReason, Start};

use super::{Action, Actions, Core, EnvironmentId, Freed, Made, State, VersionId, VersionKey};

impl<S, E, W> Core<S, E, W> {
    /// A start succeeded. The oldest waiter gets the environment; without one it is idle.
    pub(crate) fn started(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        handle: E,
        made: Made,
        actions: &mut Actions<S, E, W>,
    ) {
        self.release_start_slot(id);
        let Some(environment) = self.environments.get_mut(id).filter(|entry| entry.state == State::Starting) else {
            return;
        };
        let cost = now.since(environment.begun);
        environment.start_cost = cost;
        environment.made = Some(made);
        environment.handle = Some(handle);
        let (version, provisioned) = (environment.version, environment.provisioned);
        self.counters.started += 1;
        self.measured(id, made.memory_bytes);
        if let Some(version) = self.versions.get_mut(version) {
            version.past.started_in(cost);
            match version.provision.as_mut().filter(|_| provisioned) {
                Some(provision) => provision.started(),
                None => version.starting -= 1,
            }
        }
        let charge = self.running_charge(id);
        self.transition(now, id, State::Busy, charge);
        self.place(now, id, version, true, actions);
        self.make_room(now, actions);
        self.begin_starts(now, actions);
        self.tidy(now, version, actions);
    }

    /// A start failed, for the reason that `why` tells. Gives back the waiter who is to be told, if one still waits.
    pub(crate) fn start_failed(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        why: impl FnOnce() -> String,
        actions: &mut Actions<S, E, W>,
    ) -> Option<W> {
        self.release_start_slot(id);
        let environment = self.environments.get(id).filter(|entry| entry.state == State::Starting)?;
        let (version, provisioned) = (environment.version, environment.provisioned);
        self.transition(now, id, State::Stopping, 0);
        self.environments.remove(id);
        self.counters.start_failures += 1;
        let entry = self.versions.get_mut(version)?;
        entry.environments -= 1;
        entry.living -= 1;
        entry.past.gone = Some(ColdReason::Ended);
        let waiter = if provisioned {
            if let Some(provision) = entry.provision.as_mut() {
                provision.starting -= 1;
            }
            self.provision_failed(now, version, why(), actions);
            None
        } else {
            entry.starting -= 1;
            let waiter = self.take_waiter(version).map(|waiting| waiting.place);
            if waiter.is_some() {
                self.count_out(now, version);
            }
            waiter
        };
        self.begin_starts(now, actions);
        self.tidy(now, version, actions);
        waiter
    }

    /// A caller was answered; the environment's extensions are still at work on the invocation.
    pub(crate) fn settling(&mut self, id: EnvironmentId<S, E, W>) {
        if let Some(environment) = self.environments.get_mut(id) {
            environment.settling = true;
        }
    }

    /// An environment is given back. Its invocation, if it ran one, is over.
    pub(crate) fn finished(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        handle: E,
        freed: Freed,
        actions: &mut Actions<S, E, W>,
    ) {
        let Some(environment) = self.environments.get_mut(id).filter(|entry| entry.state == State::Busy) else {
            return;
        };
        environment.handle = Some(handle);
        environment.settling = false;
        let version = environment.version;
        if let Some(usage) = freed.usage {
            let peak = usage.peak_bytes.max(freed.memory_bytes);
            environment.peak = environment.peak.max(peak);
            environment.ran += usage.ran;
            environment.cpu += usage.cpu;
            if let Some(version) = self.versions.get_mut(version) {
                version.past.peaked(peak);
            }
        }
        self.measured(id, freed.memory_bytes);
        self.expect(version);
        self.count_out(now, version);
        if freed.reusable {
            self.place(now, id, version, false, actions);
        } else {
            self.stop(now, id, Some(ColdReason::Ended), actions);
        }
        self.make_room(now, actions);
        self.tidy(now, version, actions);
    }

    /// A busy environment is gone together with its user.
    pub(crate) fn lost(&mut self, now: Moment, id: EnvironmentId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let Some(environment) = self.environments.get(id).filter(|entry| entry.state == State::Busy) else { return };
        let version = environment.version;
        self.count_out(now, version);
        self.stop(now, id, Some(ColdReason::Ended), actions);
        self.stopped(now, id, actions);
    }

    /// An environment's process ended by itself. A busy one is left to its user, who will see it.
    pub(crate) fn died(&mut self, now: Moment, id: EnvironmentId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let Some(environment) = self.environments.get(id).filter(|entry| entry.state == State::Idle) else { return };
        let (version, unused) = (environment.version, environment.provisioned && environment.uses == 0);
        let lived = now.since(environment.begun);
        self.stop(now, id, Some(ColdReason::Ended), actions);
        if unused {
            // It would end again: not at once.
            self.provision_failed(now, version, format!("an environment ended {lived:?} after its start"), actions);
        }
        self.tidy(now, version, actions);
    }

    /// A stopping environment is gone: its memory is free.
    pub(crate) fn stopped(&mut self, now: Moment, id: EnvironmentId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let Some(environment) = self.environments.get(id).filter(|entry| entry.state == State::Stopping) else {
            return;
        };
        let version = environment.version;
        self.measured(id, 0);
        self.transition(now, id, State::Stopping, 0);
        self.environments.remove(id);
        if let Some(version) = self.versions.get_mut(version) {
            version.environments -= 1;
        }
        self.begin_starts(now, actions);
        self.tidy(now, version, actions);
    }

    /// A function version's environments are not to be used any more: idle ones stop now, busy ones when they finish. Who
    /// was admitted before still gets a fresh environment of that version. Its provisioned concurrency ends.
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
            self.stop(now, environment, None, actions);
        }
        self.provision(now, id, 0, actions);
    }

    /// No new invocations; idle environments stop, busy ones when they finish.
    pub(crate) fn shut_down(&mut self, now: Moment, actions: &mut Actions<S, E, W>) {
        self.shutting_down = true;
        let all: Vec<_> = self.versions.iter().map(|(id, _)| id).collect();
        for id in all {
            let idle = self.versions.get(id).map(|version| version.idle.clone()).unwrap_or_default();
            for environment in idle {
                self.stop(now, environment, None, actions);
            }
            self.provision(now, id, 0, actions);
        }
    }

    /// A free environment goes to the oldest waiter of its version; without one it rests.
    fn place(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        version: VersionId<S, E, W>,
        fresh: bool,
        actions: &mut Actions<S, E, W>,
    ) {
        let retired = self.versions.get(version).is_some_and(|version| version.retired);
        // A used environment of a retired version serves nobody; a fresh one was started for somebody.
        let waiter = if retired && !fresh { None } else { self.take_waiter(version) };
        let Some(waiter) = waiter else { return self.rest(now, id, version, actions) };
        let start = if fresh { Start::Cold(waiter.reason) } else { Start::Warm };
        let charge = self.running_charge(id);
        self.transition(now, id, State::Busy, charge);
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.uses += 1;
        environment.frequency.count(now);
        if let Some(handle) = environment.handle.take() {
            actions.push(Action::Grant { waiter: waiter.place, environment: id, handle, start });
        }
        self.count_start(version, start);
        self.drop_surplus(version);
    }

    /// An idle or busy environment begins to stop. `why` is what the version's next caller is told.
    pub(super) fn stop(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        why: Option<ColdReason>,
        actions: &mut Actions<S, E, W>,
    ) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let (provisioned, aged) = (environment.provisioned, environment.aged);
        if matches!(environment.state, State::Starting | State::Stopping) {
            return;
        }
        let handle = environment.handle.take();
        let (idle, charge) = (environment.state == State::Idle, environment.charge);
        if let Some(version) = self.versions.get_mut(environment.version) {
            version.living -= 1;
            version.past.gone = why.or(version.past.gone);
            if idle {
                let list = if provisioned { &mut version.ready } else { &mut version.idle };
                // The one that was idle longest, nearly always.
                if let Some(at) = list.iter().position(|&other| other == id) {
                    list.remove(at);
                }
            }
            if let Some(provision) = version.provision.as_mut().filter(|_| provisioned) {
                provision.ready -= 1;
                provision.aged -= usize::from(aged);
            }
        }
        self.transition(now, id, State::Stopping, charge);
        if let Some(handle) = handle {
            actions.push(Action::Stop { environment: id, handle });
        }
    }

    /// After anything that happened to a version's environments: replaces provisioned ones, and forgets what is not used.
    pub(super) fn tidy(&mut self, now: Moment, id: VersionId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let Some(version) = self.versions.get_mut(id) else { return };
        if let Some(provision) = &version.provision {
            if provision.is_over() {
                version.provision = None;
            } else {
                self.replenish(now, id, actions);
                return;
            }
        }
        self.forget_version(id);
    }
}
