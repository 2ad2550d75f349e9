//! In which order starts begin.
//!
//! Functions take turns, and the versions of a function within its turn: whatever one function asks for, another's next
//! start begins after at most one start of every function that waits. Provisioned starts come when nobody waits, and after
//! [`STREAK_MAX`] starts on demand. A start holds its slot for a bounded time, so a chain of functions that call one
//! another while they initialise never waits for itself.

use std::{sync::Arc, time::Duration};

use base_env::Moment;

use super::{Action, Actions, Core, Environment, EnvironmentId, State, VersionId};
use crate::keep_alive::Frequency;

/// Starts on demand that may go before a provisioned one.
const STREAK_MAX: u32 = 3;

impl<S, E, W> Core<S, E, W> {
    /// One more on-demand start of a version is wanted.
    pub(super) fn queue_start(&mut self, id: VersionId<S, E, W>) {
        let Some(version) = self.versions.get_mut(id) else { return };
        let (queued, function) = (version.queued + 1, version.function);
        if !std::mem::replace(&mut version.in_turns, true)
            && let Some(entry) = self.functions.get_mut(function)
        {
            if entry.turns.is_empty() {
                self.turns.push_back(function);
            }
            entry.turns.push_back(id);
        }
        self.set_queued(id, queued);
    }

    /// Takes back starts that were decided for waiters who no longer need them.
    pub(super) fn drop_surplus(&mut self, id: VersionId<S, E, W>) {
        let Some(version) = self.versions.get(id) else { return };
        let needed = version.waiters.len().saturating_sub(version.starting);
        let (surplus, function) = (version.queued.saturating_sub(needed), version.function);
        if surplus > 0 {
            self.set_queued(id, needed);
            // A start that never began is no growth.
            if let Some(function) = self.functions.get_mut(function) {
                function.scaling.spare(surplus);
            }
        }
    }

    /// Begins queued starts while slots and memory allow.
    pub(super) fn begin_starts(&mut self, now: Moment, actions: &mut Actions<S, E, W>) {
        while self.start_slots.len() < self.limits.starts_concurrent.max(1) {
            let on_demand = self.next_on_demand();
            let provisioned = self.next_provisioned();
            let (id, provisioned) = match (on_demand, provisioned) {
                (Some(_), Some(id)) if self.streak >= STREAK_MAX => (id, true),
                (Some(id), _) => (id, false),
                (None, Some(id)) => (id, true),
                (None, None) => return,
            };
            let Some(expected) = self.versions.get(id).map(|version| version.expected) else { return };
            // What is promised fits, so only what is just stopping can be in the way: `stopped` comes back here.
            let sum = &self.memory.sum;
            if sum.stopping > 0 && sum.held + expected > self.memory.ceiling {
                return;
            }
            self.begin(now, id, provisioned, actions);
        }
    }

    /// The version whose turn it is. Forgets who has nothing queued any more.
    fn next_on_demand(&mut self) -> Option<VersionId<S, E, W>> {
        while let Some(&function) = self.turns.front() {
            if let Some(entry) = self.functions.get_mut(function) {
                while let Some(&id) = entry.turns.front() {
                    match self.versions.get_mut(id) {
                        Some(version) if version.queued > 0 => return Some(id),
                        Some(version) => version.in_turns = false,
                        None => {}
                    }
                    entry.turns.pop_front();
                }
            }
            self.turns.pop_front();
        }
        None
    }

    fn next_provisioned(&mut self) -> Option<VersionId<S, E, W>> {
        while let Some(&id) = self.provisioned_turns.front() {
            if let Some(provision) = self.versions.get_mut(id).and_then(|version| version.provision.as_mut()) {
                if provision.queued > 0 {
                    return Some(id);
                }
                provision.in_turns = false;
            }
            self.provisioned_turns.pop_front();
        }
        None
    }

    fn begin(&mut self, now: Moment, id: VersionId<S, E, W>, provisioned: bool, actions: &mut Actions<S, E, W>) {
        if provisioned {
            self.streak = 0;
            self.provisioned_turns.rotate_left(1);
            self.set_provision_queued(id, |queued| queued - 1);
        } else {
            self.streak += 1;
            let queued = self.versions.get(id).map_or(0, |version| version.queued);
            self.set_queued(id, queued.saturating_sub(1));
            if let Some(function) = self.turns.front().and_then(|&function| self.functions.get_mut(function)) {
                function.turns.rotate_left(1);
            }
            self.turns.rotate_left(1);
        }
        let Some(version) = self.versions.get_mut(id) else { return };
        version.environments += 1;
        version.living += 1;
        match version.provision.as_mut().filter(|_| provisioned) {
            Some(provision) => provision.starting += 1,
            None => version.starting += 1,
        }
        let (spec, charge) = (version.spec.clone(), version.expected);
        let frequency = version.past.frequency.shared_by(version.living);
        let environment = self.insert(now, id, provisioned, frequency);
        // As `Stopping` with nothing it counted with nothing; from here on the sums know it.
        self.transition(now, environment, State::Starting, charge);
        let lent = now + self.limits.start_slot_hold;
        self.start_slots.push_back((environment, lent));
        actions.push(Action::Start { environment, version: Arc::clone(&spec), provisioned });
        self.due(lent, actions);
    }

    fn insert(
        &mut self,
        now: Moment,
        version: VersionId<S, E, W>,
        provisioned: bool,
        frequency: Frequency,
    ) -> EnvironmentId<S, E, W> {
        self.environments.insert(Environment {
            version,
            state: State::Stopping,
            provisioned,
            handle: None,
            charge: 0,
            measured: 0,
            peak: 0,
            since: now,
            begun: now,
            start_cost: Duration::ZERO,
            made: None,
            uses: 0,
            frequency,
            clock: 0.0,
            ran: Duration::ZERO,
            cpu: Duration::ZERO,
            settling: false,
            aged: false,
            timer: None,
        })
    }

    pub(super) fn release_start_slot(&mut self, id: EnvironmentId<S, E, W>) {
        self.start_slots.retain(|&(holder, _)| holder != id);
    }
}
