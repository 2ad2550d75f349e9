//! When a schedule is due. Pure: times come in, times go out.

use std::{collections::BTreeMap, time::Duration};

use base_types::Timestamp;
use lang_schedule::{Dialect, TimeZone};
use sha2::{Digest as _, Sha256};

use crate::tables::{Filed, Schedule};

/// AWS's precision: within this after its time a schedule is not late.
const PRECISION: Duration = Duration::from_secs(60);
/// What was missed longer ago than this is older than any event may be.
const MISSED: Duration = Duration::from_secs(2 * 24 * 3600);
/// Missed times that are looked at to find the last.
const MISSED_MAX: usize = 5_000;

/// A schedule, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    schedule: lang_schedule::Schedule,
    zone: TimeZone,
    /// What a rate counts from.
    origin: Timestamp,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    window: Duration,
    seed: u64,
}

/// Time zones that were looked up.
#[derive(Default)]
pub(crate) struct Zones(BTreeMap<String, TimeZone>);

impl Zones {
    fn get(&mut self, name: &str) -> Option<TimeZone> {
        if let Some(zone) = self.0.get(name) {
            return Some(zone.clone());
        }
        let zone = lang_schedule::zone(name)?;
        self.0.insert(name.to_owned(), zone.clone());
        Some(zone)
    }
}

/// Why a schedule has no plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPlan {
    Expression,
    Zone,
}

impl Plan {
    pub(crate) fn of(schedule: &Schedule, zones: &mut Zones) -> Result<Self, NoPlan> {
        Ok(Self {
            schedule: lang_schedule::Schedule::parse(&schedule.expression, Dialect::Scheduler)
                .map_err(|_| NoPlan::Expression)?,
            zone: zones.get(&schedule.zone).ok_or(NoPlan::Zone)?,
            origin: schedule.start.unwrap_or(schedule.created),
            start: schedule.start,
            end: schedule.end,
            window: Duration::from_secs(u64::from(schedule.window.unwrap_or(0)) * 60),
            seed: schedule.seed,
        })
    }

    /// Its first time, of a schedule that is made or changed now: a time within the current minute is not over yet.
    pub(crate) fn first(&self, now: Timestamp) -> Option<Filed> {
        let after = match self.schedule {
            lang_schedule::Schedule::At(_) => now - PRECISION,
            // A rate begins at once, at the very moment that it counts from.
            _ => Timestamp::from_millis(now.as_millis().saturating_sub(1)),
        };
        self.filed(self.next(after)?).into()
    }

    /// The first of its times after this one.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if matches!(self.schedule, lang_schedule::Schedule::At(_)) {
            // AWS: start and end are for schedules that recur.
            return self.schedule.next(after, self.origin, &self.zone);
        }
        let after = match self.start {
            Some(start) if start > after => Timestamp::from_millis(start.as_millis().saturating_sub(1)),
            _ => after,
        };
        let next = self.schedule.next(after, self.origin, &self.zone)?;
        self.end.is_none_or(|end| next <= end).then_some(next)
    }

    /// A time within its window. The place in the window is the same however often it is asked.
    fn filed(&self, scheduled: Timestamp) -> Filed {
        let seconds = self.window.as_secs();
        let offset = if seconds == 0 {
            0
        } else {
            let mut digest = Sha256::new();
            digest.update(self.seed.to_be_bytes());
            digest.update(scheduled.as_millis().to_be_bytes());
            let head = digest.finalize().iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            head % seconds
        };
        Filed { scheduled, due: scheduled + Duration::from_secs(offset) }
    }

    /// What fires now for what was filed, and what is filed next. When further times have been missed since, the last of
    /// them fires in place of all.
    pub(crate) fn fire(&self, filed: Filed, now: Timestamp) -> (Filed, Option<Filed>) {
        let passed = |time: Timestamp| time + self.window <= now;
        let next = self.next(filed.scheduled);
        let Some(first) = next.filter(|next| passed(*next + PRECISION)) else {
            return (filed, next.map(|next| self.filed(next)));
        };
        let (mut last, mut next) = (filed.scheduled, Some(first));
        let floor = now - MISSED;
        if first < floor {
            // The end may have been passed on the way: then the last is sought from where we are.
            next = self.next(floor).filter(|next| passed(*next)).or(Some(first));
        }
        for _ in 0..MISSED_MAX {
            let Some(time) = next.filter(|next| passed(*next)) else { break };
            last = time;
            next = self.next(time);
        }
        (Filed { scheduled: last, due: last }, next.map(|next| self.filed(next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Target;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_iso8601(text).unwrap()
    }

    fn schedule(expression: &str) -> Schedule {
        Schedule {
            seed: 7,
            created: at("2026-01-01T00:00:30Z"),
            modified: at("2026-01-01T00:00:30Z"),
            expression: expression.to_owned(),
            zone: "UTC".to_owned(),
            start: None,
            end: None,
            description: None,
            enabled: true,
            kms_key: None,
            window: None,
            delete_after: false,
            target: Target {
                arn: String::new(),
                role: String::new(),
                dead_letters: None,
                age_max: None,
                retries_max: None,
                event: None,
                queue: None,
                has_input: false,
            },
        }
    }

    fn plan(schedule: &Schedule) -> Plan {
        Plan::of(schedule, &mut Zones::default()).unwrap()
    }

    fn first(schedule: &Schedule, now: &str) -> Option<String> {
        plan(schedule).first(at(now)).map(|filed| filed.scheduled.to_iso8601())
    }

    #[test]
    fn the_first_time_follows_start_end_and_kind() {
        let rate = schedule("rate(5 minutes)");
        assert_eq!(first(&rate, "2026-01-01T00:00:30Z").unwrap(), "2026-01-01T00:00:30Z", "a rate begins at once");
        assert_eq!(first(&rate, "2026-01-01T00:01:00Z").unwrap(), "2026-01-01T00:05:30Z", "and is changed later");
        let later = Schedule { start: Some(at("2026-02-01T00:00:00Z")), ..rate.clone() };
        assert_eq!(first(&later, "2026-01-01T00:00:30Z").unwrap(), "2026-02-01T00:00:00Z");
        let cron = Schedule { start: Some(at("2026-02-01T12:00:00Z")), ..schedule("cron(0 12 * * ? *)") };
        assert_eq!(first(&cron, "2026-01-01T00:00:30Z").unwrap(), "2026-02-01T12:00:00Z", "the start is included");
        let over = Schedule { end: Some(at("2026-01-01T11:59:59Z")), ..schedule("cron(0 12 * * ? *)") };
        assert_eq!(first(&over, "2026-01-01T00:00:30Z"), None);
        let once = Schedule { end: Some(at("2026-01-01T00:00:00Z")), ..schedule("at(2026-03-01T00:00:00)") };
        assert_eq!(first(&once, "2026-01-01T00:00:30Z").unwrap(), "2026-03-01T00:00:00Z", "an end is not for `at`");
        let now = schedule("at(2026-01-01T00:00:00)");
        assert_eq!(first(&now, "2026-01-01T00:00:59Z").unwrap(), "2026-01-01T00:00:00Z", "its minute is not over");
        assert_eq!(first(&now, "2026-01-01T00:01:00Z"), None);
    }

    #[test]
    fn what_was_missed_fires_once_at_its_last_time() {
        let plan = plan(&schedule("cron(0/10 * * * ? *)"));
        let filed = plan.first(at("2026-01-01T00:00:30Z")).unwrap();
        for (now, fires, next) in [
            ("2026-01-01T00:10:00Z", "2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z"),
            ("2026-01-01T00:20:59Z", "2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z"),
            ("2026-01-01T00:21:00Z", "2026-01-01T00:20:00Z", "2026-01-01T00:30:00Z"),
            ("2026-01-01T09:59:00Z", "2026-01-01T09:50:00Z", "2026-01-01T10:00:00Z"),
            ("2026-03-01T09:59:00Z", "2026-03-01T09:50:00Z", "2026-03-01T10:00:00Z"),
        ] {
            let (fired, then) = plan.fire(filed, at(now));
            assert_eq!((fired.scheduled, then.unwrap().scheduled), (at(fires), at(next)), "{now}");
        }
        let ended = Schedule { end: Some(at("2026-01-01T00:30:00Z")), ..schedule("cron(0/10 * * * ? *)") };
        let (fired, then) = self::plan(&ended).fire(filed, at("2026-06-01T00:00:00Z"));
        assert_eq!((fired.scheduled, then), (at("2026-01-01T00:30:00Z"), None));
    }

    #[test]
    fn a_flexible_window_spreads_and_loses_nothing() {
        let spread = Schedule { window: Some(15), ..schedule("rate(1 minute)") };
        let plan = plan(&spread);
        let mut filed = plan.first(spread.created).unwrap();
        let mut offsets = std::collections::BTreeSet::new();
        for minute in 0..200 {
            let offset = filed.due.since(filed.scheduled);
            assert!(offset < Duration::from_secs(15 * 60));
            offsets.insert(offset);
            assert_eq!(filed.scheduled, spread.created + Duration::from_secs(60 * minute));
            let (fired, next) = plan.fire(filed, filed.due);
            assert_eq!(fired, filed, "an occurrence is no other's substitute while its window is open");
            filed = next.unwrap();
        }
        assert!(offsets.len() > 100);
    }
}
