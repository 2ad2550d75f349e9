//! Provisioned concurrency: environments started ahead of invocations and kept.
//!
//! Only *ready* ones count as allocated. They are never evicted nor expired; one that ended is replaced at once, one that
//! is too old when its successor is ready. A failed start is tried again after a pause that doubles from one second to a
//! minute. What cannot be started for want of memory is tried again likewise; invocations run on demand meanwhile.

use std::time::Duration;

use base_env::Moment;

use super::{
    Actions, Core, EnvironmentId, FunctionVersion, State, Version, VersionId, VersionKey, idle::Alarm, memory::Share,
};

/// The first pause after a failed start.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The provisioned concurrency of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// What was asked for.
    pub requested: u32,
    /// Environments that are ready: initialised, idle or busy.
    pub allocated: u32,
    /// Those of them that are idle.
    pub available: u32,
    /// Why the last start failed; none when none failed since the last success.
    pub failure: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Provision {
    pub(super) wanted: u32,
    /// Starts decided and not begun.
    pub(super) queued: usize,
    pub(super) starting: usize,
    /// Idle and busy environments.
    pub(super) ready: usize,
    /// Those of them that are to be replaced.
    pub(super) aged: usize,
    pub(super) in_turns: bool,
    failures: u32,
    failure: Option<String>,
    /// Not before.
    retry: Option<Moment>,
}

impl Provision {
    pub(super) fn started(&mut self) {
        self.starting -= 1;
        self.ready += 1;
        (self.failures, self.failure, self.retry) = (0, None, None);
    }

    /// Nothing is wanted and nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.wanted == 0 && self.queued == 0 && self.starting == 0 && self.ready == 0
    }

    fn missing(&self) -> usize {
        (self.wanted as usize).saturating_sub(self.queued + self.starting + self.ready - self.aged)
    }
}

impl<S, E, W> Version<S, E, W> {
    /// Its provisioned concurrency.
    pub(super) fn wanted(&self) -> u32 {
        self.provision.as_ref().map_or(0, |provision| provision.wanted)
    }
}

impl<S, E, W> Core<S, E, W> {
    /// Sets a version's provisioned concurrency; zero ends it. A retired version has none.
    pub(crate) fn set_provisioned(
        &mut self,
        now: Moment,
        spec: &std::sync::Arc<FunctionVersion<S>>,
        wanted: u32,
        actions: &mut Actions<S, E, W>,
    ) {
        let id = self.version(spec);
        let retired = self.versions.get(id).is_none_or(|version| version.retired);
        self.provision(now, id, if retired || self.shutting_down { 0 } else { wanted }, actions);
    }

    /// A version's provisioned concurrency; none when none is wanted.
    pub(crate) fn provisioned(&self, key: &VersionKey) -> Option<Provisioned> {
        let version = self.version_by_key.get(key).and_then(|&id| self.versions.get(id))?;
        version.provisioned()
    }

    pub(super) fn provision(
        &mut self,
        now: Moment,
        id: VersionId<S, E, W>,
        wanted: u32,
        actions: &mut Actions<S, E, W>,
    ) {
        let Some(version) = self.versions.get_mut(id) else { return };
        let before = version.wanted();
        if wanted > 0 || version.provision.is_some() {
            let provision = version.provision.get_or_insert_default();
            provision.wanted = wanted;
            // What was wrong may be right now.
            (provision.failures, provision.failure, provision.retry) = (0, None, None);
            let left = (wanted as usize).saturating_sub(provision.starting + provision.ready - provision.aged);
            self.set_aside(id, before, wanted);
            self.set_provision_queued(id, |queued| queued.min(left));
            self.stop_surplus(now, id, actions);
        }
        self.tidy(now, id, actions);
    }

    /// Stops idle provisioned environments that are not wanted (any more), the aged first.
    fn stop_surplus(&mut self, now: Moment, id: VersionId<S, E, W>, actions: &mut Actions<S, E, W>) {
        while let Some(version) = self.versions.get(id)
            && let Some(provision) = version.provision.as_ref()
            && provision.ready > provision.wanted as usize
        {
            let is_aged = |&&id: &&EnvironmentId<S, E, W>| self.environments.get(id).is_some_and(|entry| entry.aged);
            let fresh_surplus = provision.ready - provision.aged > provision.wanted as usize;
            let any = || version.ready.front().filter(|_| fresh_surplus);
            let Some(&surplus) = version.ready.iter().find(is_aged).or_else(any) else { return };
            self.stop(now, surplus, None, actions);
        }
    }

    /// A provisioned environment is free: it waits for its next invocation, or goes when it is one too many.
    pub(super) fn rest_provisioned(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        version: VersionId<S, E, W>,
        actions: &mut Actions<S, E, W>,
    ) {
        let charge = self.idle_charge(id);
        self.transition(now, id, State::Idle, charge);
        if let Some(entry) = self.versions.get_mut(version) {
            entry.ready.push_back(id);
        }
        self.grow_old(now, id, version, actions);
        self.stop_surplus(now, version, actions);
    }

    /// Marks an idle provisioned environment that is to be replaced; ends one whose successor did not come in time.
    pub(super) fn grow_old(
        &mut self,
        now: Moment,
        id: EnvironmentId<S, E, W>,
        version: VersionId<S, E, W>,
        actions: &mut Actions<S, E, W>,
    ) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let age_max = self.keep_alive.age_max;
        let (old, too_old) = (environment.begun + age_max, environment.begun + age_max + age_max / 2);
        if now >= too_old {
            return self.stop(now, id, None, actions);
        }
        if now >= old
            && !std::mem::replace(&mut environment.aged, true)
            && let Some(provision) = self.versions.get_mut(version).and_then(|entry| entry.provision.as_mut())
        {
            provision.aged += 1;
        }
        self.arm(id, if now >= old { too_old } else { old }, actions);
    }

    /// A provisioned environment could not be started, or ended unused.
    pub(super) fn provision_failed(
        &mut self,
        now: Moment,
        id: VersionId<S, E, W>,
        why: String,
        actions: &mut Actions<S, E, W>,
    ) {
        let Some(provision) = self.versions.get_mut(id).and_then(|version| version.provision.as_mut()) else { return };
        let pause = (RETRY_MIN * 2u32.saturating_pow(provision.failures.min(6))).min(RETRY_MAX);
        provision.failures += 1;
        provision.failure = Some(why);
        provision.retry = Some(now + pause);
        self.set_timer(now + pause, Alarm::Provision(id), actions);
    }

    /// Decides the starts that are missing.
    pub(super) fn replenish(&mut self, now: Moment, id: VersionId<S, E, W>, actions: &mut Actions<S, E, W>) {
        let mut decided = false;
        while let Some(version) = self.versions.get(id)
            && let Some(provision) = version.provision.as_ref()
            && provision.missing() > 0
            && provision.retry.is_none_or(|retry| retry <= now)
            && !self.shutting_down
        {
            if version.spec.configured_bytes() > self.memory.budget || !self.has_room_provisioned(version.expected) {
                let why = "the memory budget is held by running execution environments".to_owned();
                self.provision_failed(now, id, why, actions);
                break;
            }
            decided = true;
            self.set_provision_queued(id, |queued| queued + 1);
        }
        if decided {
            self.make_room(now, actions);
            self.begin_starts(now, actions);
        }
    }

    fn has_room_provisioned(&self, need: u64) -> bool {
        self.memory.sum.promised - self.memory.sum.evictable + need <= self.memory.ceiling
    }

    pub(super) fn set_provision_queued(&mut self, id: VersionId<S, E, W>, change: impl FnOnce(usize) -> usize) {
        let Some(version) = self.versions.get_mut(id) else { return };
        let (expected, configured) = (version.expected, version.spec.configured_bytes());
        let Some(provision) = version.provision.as_mut() else { return };
        let before = provision.queued;
        provision.queued = change(before);
        let after = provision.queued;
        if after > 0 && !std::mem::replace(&mut provision.in_turns, true) {
            self.provisioned_turns.push_back(id);
        }
        self.memory.replace(Share::queued(before, expected, configured), Share::queued(after, expected, configured));
    }
}

impl<S, E, W> Version<S, E, W> {
    pub(super) fn provisioned(&self) -> Option<Provisioned> {
        let provision = self.provision.as_ref().filter(|provision| provision.wanted > 0)?;
        let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).min(provision.wanted);
        Some(Provisioned {
            requested: provision.wanted,
            allocated: bounded(provision.ready),
            available: bounded(self.ready.len()),
            failure: provision.failure.clone(),
        })
    }
}
