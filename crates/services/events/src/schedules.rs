//! Rules that fire by the clock.
//!
//! Guarantees: a firing, its deliveries and the rule's next time are one transaction, so that a rule fires once for each
//! time that it is due. What became due while the server was down fires once, with the first time that was missed, and
//! goes on from now. Schedule expressions of rules are in UTC.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use jiff::tz::TimeZone;
use lang_schedule::{Dialect, Schedule};
use services_kernel::{Cx, Reconciler};
use store_api::{Direction, Key, Tx};

use crate::{
    EventBridge,
    event::Event,
    names::BusName,
    publish::{Handing, TARGETS_PER_RULE},
    tables::{DUE, Mark, RULES, Rule, TARGETS, due_of},
};

/// Rules that one transaction fires.
const FIRED_MAX: usize = 50;
const AT_ONCE: Duration = Duration::from_millis(1);
/// What the reconciler's own requests are called.
const REQUEST: &str = "events-schedules";

/// Fires rules.
pub struct ScheduleReconciler {
    events: EventBridge,
}

impl ScheduleReconciler {
    pub(crate) fn new(events: EventBridge) -> Self {
        Self { events }
    }
}

/// When a rule fires next after `after`, if it does.
pub(crate) fn next(rule: &Rule, after: Timestamp) -> Option<Timestamp> {
    let text = rule.schedule.as_deref().filter(|_| rule.is_enabled())?;
    let schedule = Schedule::parse(text, Dialect::Rules).ok()?;
    // A rate's first time is one period after it began.
    let after = after.max(rule.since);
    schedule.next(after, rule.since, &TimeZone::UTC)
}

/// Files when a rule fires next, in place of what was filed before.
pub(crate) fn file(tx: &Tx, bus: &BusName, name: &str, rule: &mut Rule, after: Timestamp) -> Result<(), Fault> {
    let due = next(rule, after);
    if due == rule.next {
        return Ok(());
    }
    if let Some(before) = rule.next {
        DUE.remove(tx, &bus.due(name, before))?;
    }
    if let Some(due) = due {
        DUE.put(tx, &bus.due(name, due), &Mark {})?;
        tx.wake(&DUE.global_key(None), 1)?;
    }
    rule.next = due;
    Ok(())
}

impl EventBridge {
    /// Fires what is due; answers when to look again.
    fn fire_some(&self, tx: &Tx) -> Result<Option<Duration>, Fault> {
        let all = DUE.global_key(None);
        let entries = tx.scan(&all.prefix(), FIRED_MAX, Direction::Forward)?;
        for (number, (key, _)) in entries.iter().enumerate() {
            let (due, bus, name) = due_of(key)?;
            if due > tx.now() {
                // What has just fired is filed anew, perhaps before this one.
                return Ok(Some(if number > 0 { AT_ONCE } else { due.since(tx.now()).max(AT_ONCE) }));
            }
            tx.delete(key)?;
            let row = bus.rule(&name);
            let Some(mut rule) = RULES.get(tx, &row)?.filter(|rule| rule.next == Some(due)) else { continue };
            self.fire(tx, &bus, &name, due)?;
            rule.next = None;
            file(tx, &bus, &name, &mut rule, tx.now())?;
            RULES.put(tx, &row, &rule)?;
        }
        Ok((!entries.is_empty()).then_some(AT_ONCE))
    }

    /// Hands the scheduled event to a rule's targets.
    fn fire(&self, tx: &Tx, bus: &BusName, rule: &str, due: Timestamp) -> Result<(), Fault> {
        let event = Event {
            id: self.env.uuid(),
            detail_type: "Scheduled Event".to_owned(),
            source: "aws.events".to_owned(),
            account: bus.account,
            region: bus.region.clone(),
            time: due,
            resources: vec![bus.rule_arn(rule).to_string()],
            detail: "{}".to_owned(),
            ingested: tx.now(),
            replay: None,
            trace: None,
        };
        let cx = Cx::internal(bus.account, bus.region.clone(), REQUEST);
        let handing = Handing { bus, text: event.text(), event: &event, forwarded: false };
        for (_, target) in TARGETS.scan(tx, &bus.targets(rule).prefix(), TARGETS_PER_RULE, Direction::Forward)? {
            self.hand(&cx, tx, &handing, rule, &target)?;
        }
        Ok(())
    }
}

impl Reconciler for ScheduleReconciler {
    const NAME: &'static str = "scheduled rules";
    const POLL: Duration = Duration::from_secs(30);

    fn topic(&self) -> Key {
        DUE.global_key(None)
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let events = self.events.clone();
        self.events.store.transact(move |tx: &Tx| events.fire_some(tx)).await
    }
}
