//! Who may run now, who waits, who is refused.

use std::sync::Arc;

use base_env::Moment;
use compute_api::{ColdReason, Start};

use super::{
    Actions, Admission, Core, EnvironmentId, FunctionId, FunctionVersion, State, VersionId, WaiterId, Waiting,
};
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
        let id = self.version(spec);
        let admission = match self.admit(now, id, actions) {
            Ok(Some((environment, handle))) => return Admission::Run(environment, handle),
            Ok(None) => return Admission::Wait(self.enqueue(now, id, waiter(), actions)),
            Err(refusal) => refusal,
        };
        if let Admission::Throttled(throttle) = &admission {
            self.counters.throttled(*throttle);
            if let Some(version) = self.versions.get_mut(id) {
                version.throttled += 1;
            }
        }
        self.forget_version(id);
        admission
    }

    /// An idle environment, or none when one may be started; else why not.
    #[expect(clippy::type_complexity, reason = "a name for it would not say more")]
    fn admit(
        &mut self,
        now: Moment,
        id: VersionId<S, E, W>,
        actions: &mut Actions<S, E, W>,
    ) -> Result<Option<(EnvironmentId<S, E, W>, E)>, Admission<S, E, W>> {
        if let Some(throttle) = self.over_limit(now, id) {
            return Err(Admission::Throttled(throttle));
        }
        let Some(version) = self.versions.get(id) else { return Err(Admission::ShuttingDown) };
        if let Some(environment) = version.ready.back().copied() {
            // It always may: what it needs is counted already, but for what its version was seen to need since.
            let run = self.run(now, id, environment).ok_or(Admission::ShuttingDown)?;
            self.make_room(now, actions);
            return Ok(Some(run));
        }
        if let Some(environment) = version.idle.back().copied() {
            let charge = self.running_charge(environment);
            if !self.has_room(id, charge) {
                return Err(Admission::Throttled(Throttle::Memory));
            }
            let run = self.run(now, id, environment).ok_or(Admission::ShuttingDown)?;
            self.make_room(now, actions);
            return Ok(Some(run));
        }
        self.may_start(now, id).map(|()| None)
    }

    /// Takes an idle environment into use.
    fn run(
        &mut self,
        now: Moment,
        id: VersionId<S, E, W>,
        environment: EnvironmentId<S, E, W>,
    ) -> Option<(EnvironmentId<S, E, W>, E)> {
        let charge = self.running_charge(environment);
        let entry = self.environments.get_mut(environment)?;
        let handle = entry.handle.take()?;
        let idle = now.since(entry.since);
        entry.uses += 1;
        entry.frequency.count(now);
        let provisioned = entry.provisioned;
        if let Some(version) = self.versions.get_mut(id) {
            if provisioned {
                version.ready.pop_back()
            } else {
                version.idle.pop_back()
            };
            version.past.used(now, Some(idle));
        }
        self.transition(now, environment, State::Busy, charge);
        self.count_start(id, Start::Warm);
        self.count_in(id);
        Some((environment, handle))
    }

    /// Whether one more start on demand is within the bounds.
    fn may_start(&mut self, now: Moment, id: VersionId<S, E, W>) -> Result<(), Admission<S, E, W>> {
        let throttled = |throttle| Err(Admission::Throttled(throttle));
        let Some(version) = self.versions.get(id) else { return Err(Admission::ShuttingDown) };
        if version.spec.configured_bytes() > self.memory.budget {
            return Err(Admission::TooLarge);
        }
        let (function, expected) = (version.function, version.expected);
        let free = self.limits.waiters_total.saturating_sub(self.waiters_total);
        let own = self.functions.get(function).map_or(0, |function| function.waiters);
        if free == 0 {
            return throttled(Throttle::TotalBacklog);
        }
        if own >= self.limits.waiters_per_function.min(free) {
            return throttled(Throttle::FunctionBacklog);
        }
        if !self.has_room(id, expected) {
            return throttled(Throttle::Memory);
        }
        let rate = self.limits.scaling;
        let Some(function) = self.functions.get_mut(function) else { return Err(Admission::ShuttingDown) };
        if function.scaling.permits(now, rate) { Ok(()) } else { throttled(Throttle::ScalingRate) }
    }

    /// Admits a caller who waits for a start.
    fn enqueue(
        &mut self,
        now: Moment,
        id: VersionId<S, E, W>,
        place: W,
        actions: &mut Actions<S, E, W>,
    ) -> WaiterId<S, E, W> {
        let sequence = self.waiter_next;
        self.waiter_next += 1;
        if let Some(version) = self.versions.get_mut(id) {
            let busy = version.living > 0 || version.queued > 0;
            let reason = if busy { ColdReason::Busy } else { version.past.gone.unwrap_or(ColdReason::First) };
            // How long there was nothing to be used: also an idle time, although nothing was kept.
            let quiet = version.past.quiet_since.filter(|_| !busy).map(|since| now.since(since));
            version.past.used(now, quiet);
            version.waiters.push_back(Waiting { sequence, reason, place });
            if let Some(function) = self.functions.get_mut(version.function) {
                function.waiters += 1;
            }
        }
        self.waiters_total += 1;
        self.count_in(id);
        self.queue_start(id);
        self.make_room(now, actions);
        self.begin_starts(now, actions);
        WaiterId { version: id, sequence }
    }

    /// Whether an environment is being made that this waiter will have if no earlier one fails. How long that takes is the
    /// function's own affair, and bounded by its limits.
    pub(crate) fn is_being_served(&self, waiter: WaiterId<S, E, W>) -> bool {
        let Some(version) = self.versions.get(waiter.version) else { return false };
        version
            .waiters
            .binary_search_by_key(&waiter.sequence, |waiting| waiting.sequence)
            .is_ok_and(|position| position < version.starting)
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
        self.count_out(now, waiter.version);
        self.drop_surplus(waiter.version);
        self.begin_starts(now, actions);
        self.tidy(now, waiter.version, actions);
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

    /// An invocation got its environment.
    pub(super) fn count_start(&mut self, id: VersionId<S, E, W>, start: Start) {
        self.counters.start(start);
        let Some(version) = self.versions.get_mut(id) else { return };
        match start {
            Start::Warm => version.warm += 1,
            Start::Cold(_) => version.cold += 1,
        }
    }
}
