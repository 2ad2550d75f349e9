//! Who may run now, who waits, who is refused.

use std::sync::Arc;

use base_env::Moment;

use compute_api::ColdReason;

use super::{Action, Actions, Admission, Core, FunctionId, FunctionVersion, State, VersionId, WaiterId, Waiting};
use crate::limits::Throttle;

impl<S, E, W> Core<S, E, W> {
    /// A caller wants to run an invocation of `spec`. `waiter` is called only when it has to wait.
    pub(crate) fn request(
        &mut self,
        now: Moment,
        spec: &Arc<FunctionVersion<S>>,
        waiter: impl FnOnce() -> W,
        actions: &mut Actions<S, E, W>,
    ) -> Admission<S, E, W> {
        if self.shutting_down {
            return Admission::ShuttingDown;
        }
        let version = self.version(spec);
        let admission = self.admit(now, version, waiter, actions);
        match &admission {
            Admission::Throttled(throttle) => {
                self.counters.throttled(*throttle);
                self.forget_version(version);
            }
            Admission::TooLarge => self.forget_version(version),
            Admission::Run(..) | Admission::Wait(_) | Admission::ShuttingDown => {}
        }
        admission
    }

    fn admit(
        &mut self,
        now: Moment,
        id: VersionId<S, E, W>,
        waiter: impl FnOnce() -> W,
        actions: &mut Actions<S, E, W>,
    ) -> Admission<S, E, W> {
        let Some(version) = self.versions.get_mut(id) else { return Admission::ShuttingDown };
        let function = version.function;
        if let Some(throttle) = Self::over_limit(&self.functions, &self.pools, &self.limits, function) {
            return Admission::Throttled(throttle);
        }
        if let Some(environment) = version.idle.pop_back()
            && let Some(entry) = self.environments.get_mut(environment)
            && let Some(handle) = entry.handle.take()
        {
            self.memory_idle -= u64::from(entry.memory_mib);
            entry.state = State::Busy;
            entry.since = now;
            entry.uses += 1;
            self.counters.warm += 1;
            self.count_in(function);
            return Admission::Run(environment, handle);
        }
        let memory = u64::from(version.spec.memory_mib);
        if memory > self.limits.memory_budget_mib {
            return Admission::TooLarge;
        }
        if self.waiters_total >= self.limits.waiters_total {
            return Admission::Throttled(Throttle::TotalBacklog);
        }
        if self.functions.get(function).is_some_and(|f| f.waiters >= self.limits.waiters_per_function) {
            return Admission::Throttled(Throttle::FunctionBacklog);
        }
        if !self.make_room(now, memory, actions) {
            return Admission::Throttled(Throttle::Memory);
        }
        self.count_in(function);
        let waiter = self.enqueue(id, waiter());
        self.begin_starts(now, actions);
        Admission::Wait(waiter)
    }

    /// A waiting caller gave up. `true` when it was still waiting; otherwise its environment is already on the way to it.
    pub(crate) fn withdraw(&mut self, now: Moment, waiter: WaiterId<S, E, W>, actions: &mut Actions<S, E, W>) -> bool {
        let Some(version) = self.versions.get_mut(waiter.version) else { return false };
        let Ok(position) = version.waiters.binary_search_by_key(&waiter.sequence, |waiting| waiting.sequence) else {
            return false;
        };
        version.waiters.remove(position);
        let function = version.function;
        self.waiter_left(function);
        self.count_out(function);
        self.drop_surplus(waiter.version);
        self.begin_starts(now, actions);
        self.forget_version(waiter.version);
        true
    }

    /// Drops every waiter: each sees that its listener is gone.
    pub(crate) fn abandon_waiters(&mut self, now: Moment, actions: &mut Actions<S, E, W>) {
        let waiting: Vec<_> = self
            .versions
            .iter()
            .flat_map(|(version, entry)| {
                entry.waiters.iter().map(move |waiting| WaiterId { version, sequence: waiting.sequence })
            })
            .collect();
        for waiter in waiting {
            self.withdraw(now, waiter, actions);
        }
    }

    fn over_limit(
        functions: &crate::slots::Slots<super::Function<S, E, W>>,
        pools: &std::collections::HashMap<super::PoolKey, super::Pool>,
        limits: &crate::limits::Limits,
        function: FunctionId<S, E, W>,
    ) -> Option<Throttle> {
        let function = functions.get(function)?;
        let pool = pools.get(&function.pool)?;
        let limit = limits.account_concurrency;
        match function.reserved {
            Some(reserved) if function.in_flight >= reserved => Some(Throttle::ReservedConcurrency),
            None if u64::from(pool.unreserved) >= u64::from(limit).saturating_sub(pool.reserved) => {
                Some(Throttle::AccountConcurrency)
            }
            // Reservations may exceed a limit that was lowered later.
            Some(_) | None if pool.in_flight >= limit => Some(Throttle::AccountConcurrency),
            Some(_) | None => None,
        }
    }

    /// Promises `memory` if need be at the cost of idle environments; never waits for running ones.
    fn make_room(&mut self, now: Moment, memory: u64, actions: &mut Actions<S, E, W>) -> bool {
        let budget = self.limits.memory_budget_mib;
        if self.memory_promised - self.memory_idle + memory > budget {
            return false;
        }
        while self.memory_promised + memory > budget {
            let victim = self
                .environments
                .iter()
                .filter(|(_, environment)| environment.state == State::Idle)
                .min_by_key(|(_, environment)| self.keep_alive.worth(&environment.idle_facts()))
                .map(|(id, _)| id);
            let Some(victim) = victim else { return false };
            self.counters.evicted += 1;
            self.gone(victim, ColdReason::Evicted);
            self.stop(now, victim, actions);
        }
        true
    }

    fn enqueue(&mut self, id: VersionId<S, E, W>, place: W) -> WaiterId<S, E, W> {
        let sequence = self.waiter_next;
        self.waiter_next += 1;
        if let Some(version) = self.versions.get_mut(id) {
            let reason =
                if version.environments > 0 { ColdReason::Busy } else { version.gone.unwrap_or(ColdReason::First) };
            version.waiters.push_back(Waiting { sequence, reason, place });
            version.queued += 1;
            self.memory_promised += u64::from(version.spec.memory_mib);
            self.waiters_total += 1;
            if let Some(function) = self.functions.get_mut(version.function) {
                function.waiters += 1;
            }
            if !std::mem::replace(&mut version.in_turns, true) {
                self.turns.push_back(id);
            }
        }
        WaiterId { version: id, sequence }
    }

    /// The oldest waiter leaves the queue (its place in the concurrency count stays).
    pub(super) fn take_waiter(&mut self, id: VersionId<S, E, W>) -> Option<Waiting<W>> {
        let version = self.versions.get_mut(id)?;
        let waiter = version.waiters.pop_front()?;
        let function = version.function;
        self.waiter_left(function);
        Some(waiter)
    }

    fn waiter_left(&mut self, function: FunctionId<S, E, W>) {
        self.waiters_total -= 1;
        if let Some(function) = self.functions.get_mut(function) {
            function.waiters -= 1;
        }
    }

    /// Takes back starts that were decided for waiters who no longer need them.
    pub(super) fn drop_surplus(&mut self, id: VersionId<S, E, W>) {
        let Some(version) = self.versions.get_mut(id) else { return };
        let needed = version.waiters.len().saturating_sub(version.starting);
        let surplus = version.queued.saturating_sub(needed);
        version.queued -= surplus;
        self.memory_promised -= surplus as u64 * u64::from(version.spec.memory_mib);
    }

    fn count_in(&mut self, function: FunctionId<S, E, W>) {
        self.in_flight += 1;
        let Some(function) = self.functions.get_mut(function) else { return };
        function.in_flight += 1;
        let Some(pool) = self.pools.get_mut(&function.pool) else { return };
        pool.in_flight += 1;
        if function.reserved.is_none() {
            pool.unreserved += 1;
        }
    }

    pub(super) fn count_out(&mut self, function: FunctionId<S, E, W>) {
        self.in_flight -= 1;
        let Some(function) = self.functions.get_mut(function) else { return };
        function.in_flight -= 1;
        let Some(pool) = self.pools.get_mut(&function.pool) else { return };
        pool.in_flight -= 1;
        if function.reserved.is_none() {
            pool.unreserved -= 1;
        }
    }

    /// Begins queued starts, version by version in turn, while slots and memory allow.
    pub(super) fn begin_starts(&mut self, now: Moment, actions: &mut Actions<S, E, W>) {
        while self.start_slots.len() < self.limits.starts_concurrent.max(1) {
            let Some(&id) = self.turns.front() else { return };
            let Some(version) = self.versions.get_mut(id).filter(|version| version.queued > 0) else {
                self.turns.pop_front();
                if let Some(version) = self.versions.get_mut(id) {
                    version.in_turns = false;
                }
                continue;
            };
            let memory = version.spec.memory_mib;
            // Promised memory fits the budget, so only environments that are just stopping can be in the way: `stopped`
            // comes back here.
            if self.memory_held + u64::from(memory) > self.limits.memory_budget_mib {
                return;
            }
            version.queued -= 1;
            version.starting += 1;
            version.environments += 1;
            let spec = version.spec.clone();
            self.turns.rotate_left(1);
            self.memory_held += u64::from(memory);
            let environment = self.environments.insert(super::Environment {
                version: id,
                state: State::Starting,
                handle: None,
                memory_mib: memory,
                since: now,
                begun: now,
                start_cost: std::time::Duration::ZERO,
                uses: 0,
            });
            let lent = now + self.limits.start_slot_hold;
            self.start_slots.push_back((environment, lent));
            actions.push(Action::Start { environment, version: spec });
            self.due(lent, actions);
        }
    }
}
