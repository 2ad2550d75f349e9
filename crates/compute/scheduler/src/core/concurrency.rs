//! AWS's limits: the account's concurrency, reservations, what provisioned concurrency sets aside, and rates.
//!
//! Every version may always run as many invocations as it has provisioned concurrency: these are *set aside*, out of the
//! function's reservation if it has one, else out of the account's unreserved concurrency (AWS Lambda, "Configuring
//! provisioned concurrency"). What runs beyond is counted as *excess*: a function's against its reservation less what is
//! set aside of it, all others' against the account's limit less all reservations and all that is set aside.

use std::{sync::Arc, time::Duration};

use base_env::Moment;
use base_types::{AccountId, Region};

use super::{Core, VersionId};
use crate::limits::{Rate, Throttle};

/// The concurrency of one account in one region at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// The account's limit.
    pub limit: u32,
    /// The sum of all reservations.
    pub reserved: u64,
    /// What is set aside for provisioned concurrency of functions without a reservation.
    pub provisioned: u64,
    /// Invocations that run, or wait for their environment.
    pub in_flight: u32,
}

impl Concurrency {
    /// What is left for invocations of functions without a reservation and beyond provisioned concurrency.
    #[must_use]
    pub fn unreserved(&self) -> u64 {
        u64::from(self.limit).saturating_sub(self.reserved).saturating_sub(self.provisioned)
    }
}

/// How far the events of a rate are ahead of their time (the generic cell rate algorithm): one number instead of a bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    ahead: Moment,
    /// Events that were counted and did not happen.
    spared: u32,
}

impl Pace {
    /// Counts an event if the rate permits it.
    pub(super) fn permits(&mut self, now: Moment, rate: Rate) -> bool {
        if self.ahead <= now {
            // Nothing is owed: what was spared is worth nothing any more.
            self.spared = 0;
        }
        if let Some(left) = self.spared.checked_sub(1) {
            self.spared = left;
            return true;
        }
        let each = rate.per / rate.count.max(1);
        let next = self.ahead.max(now) + each;
        if rate.count == 0 || next.since(now) > rate.per {
            return false;
        }
        self.ahead = next;
        true
    }

    /// So many events that were counted did not happen.
    pub(super) fn spare(&mut self, events: usize) {
        self.spared = self.spared.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
    }
}

impl<S, E, W> Core<S, E, W> {
    /// Changes the account's limit. What runs already goes on.
    pub(crate) fn set_account_concurrency(&mut self, limit: u32) {
        self.limits.account_concurrency = limit;
    }

    /// The concurrency of an account in a region.
    pub(crate) fn concurrency(&self, account: &AccountId, region: &Region) -> Concurrency {
        let pool = self.pool_by_key.get(&(*account, region.clone())).and_then(|&pool| self.pools.get(pool));
        Concurrency {
            limit: self.limits.account_concurrency,
            reserved: pool.map_or(0, |pool| pool.reserved),
            provisioned: pool.map_or(0, |pool| pool.set_aside),
            in_flight: pool.map_or(0, |pool| pool.in_flight),
        }
    }

    /// Sets or clears a function's reserved concurrency. Holds for the very next request.
    pub(crate) fn set_reserved(
        &mut self,
        account: &AccountId,
        region: &Region,
        function: &Arc<str>,
        reserved: Option<u32>,
    ) {
        if reserved.is_none() && !self.function_by_key.contains_key(function) {
            return;
        }
        let id = self.function(function, account, region);
        let Some(entry) = self.functions.get_mut(id) else { return };
        let before = std::mem::replace(&mut entry.reserved, reserved);
        if let Some(pool) = self.pools.get_mut(entry.pool) {
            pool.reserved -= u64::from(before.unwrap_or(0));
            pool.reserved += u64::from(reserved.unwrap_or(0));
            match (before, reserved) {
                (None, Some(_)) => {
                    pool.excess -= entry.excess;
                    pool.set_aside -= entry.set_aside;
                }
                (Some(_), None) => {
                    pool.excess += entry.excess;
                    pool.set_aside += entry.set_aside;
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        self.forget_function(id);
    }

    /// Changes what is set aside for a version, and counts its invocations anew.
    pub(super) fn set_aside(&mut self, id: VersionId<S, E, W>, before: u32, after: u32) {
        let Some(version) = self.versions.get(id) else { return };
        let Some(function) = self.functions.get_mut(version.function) else { return };
        let excess = |wanted: u32| version.in_flight.saturating_sub(wanted);
        function.excess = function.excess - excess(before) + excess(after);
        function.set_aside = function.set_aside - u64::from(before) + u64::from(after);
        if function.reserved.is_some() {
            return;
        }
        let Some(pool) = self.pools.get_mut(function.pool) else { return };
        pool.excess = pool.excess - excess(before) + excess(after);
        pool.set_aside = pool.set_aside - u64::from(before) + u64::from(after);
    }

    /// The limit that keeps one more invocation of a version from running, if one does.
    pub(super) fn over_limit(&mut self, now: Moment, id: VersionId<S, E, W>) -> Option<Throttle> {
        let version = self.versions.get(id)?;
        let function = self.functions.get_mut(version.function)?;
        let pool = self.pools.get_mut(function.pool)?;
        let limit = self.limits.account_concurrency;
        let exceeds = version.in_flight >= version.wanted();
        let (excess, reserved) = (u64::from(function.excess), function.reserved);
        match reserved {
            Some(reserved)
                if function.in_flight >= reserved
                    || (exceeds && excess >= u64::from(reserved).saturating_sub(function.set_aside)) =>
            {
                return Some(Throttle::ReservedConcurrency);
            }
            None if exceeds
                && u64::from(pool.excess)
                    >= u64::from(limit).saturating_sub(pool.reserved).saturating_sub(pool.set_aside) =>
            {
                return Some(Throttle::AccountConcurrency);
            }
            // Reservations may exceed a limit that was lowered later.
            Some(_) | None if pool.in_flight >= limit => return Some(Throttle::AccountConcurrency),
            Some(_) | None => {}
        }
        let each = self.limits.invocations_per_concurrency?;
        let rate = |concurrency: u32| Rate { count: concurrency.saturating_mul(each), per: Duration::from_secs(1) };
        match reserved {
            Some(reserved) if !function.pace.permits(now, rate(reserved)) => Some(Throttle::ReservedRate),
            None if !pool.pace.permits(now, rate(limit)) => Some(Throttle::AccountRate),
            Some(_) | None => None,
        }
    }

    pub(super) fn count_in(&mut self, id: VersionId<S, E, W>) {
        self.in_flight += 1;
        let Some(version) = self.versions.get_mut(id) else { return };
        let exceeds = version.in_flight >= version.wanted();
        version.in_flight += 1;
        let Some(function) = self.functions.get_mut(version.function) else { return };
        function.in_flight += 1;
        function.excess += u32::from(exceeds);
        let Some(pool) = self.pools.get_mut(function.pool) else { return };
        pool.in_flight += 1;
        pool.excess += u32::from(exceeds && function.reserved.is_none());
    }

    pub(super) fn count_out(&mut self, now: Moment, id: VersionId<S, E, W>) {
        self.in_flight -= 1;
        let Some(version) = self.versions.get_mut(id) else { return };
        version.in_flight -= 1;
        let exceeded = version.in_flight >= version.wanted();
        if version.in_flight == 0 {
            version.past.quiet_since = Some(now);
        }
        let Some(function) = self.functions.get_mut(version.function) else { return };
        function.in_flight -= 1;
        function.excess -= u32::from(exceeded);
        let Some(pool) = self.pools.get_mut(function.pool) else { return };
        pool.in_flight -= 1;
        pool.excess -= u32::from(exceeded && function.reserved.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_gives_its_count_at_once_and_then_evenly() {
        let rate = Rate { count: 10, per: Duration::from_secs(1) };
        let (mut pace, mut now) = (Pace::default(), Moment::default() + Duration::from_secs(5));
        assert_eq!((0..100).filter(|_| pace.permits(now, rate)).count(), 10);
        now = now + Duration::from_millis(300);
        assert_eq!((0..100).filter(|_| pace.permits(now, rate)).count(), 3);
        now = now + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| pace.permits(now, rate)).count(), 10, "what was not used does not add up");
        assert!(!pace.permits(now, Rate { count: 0, ..rate }));
    }
}
