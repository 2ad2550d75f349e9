//! The rules of a bus, compiled.
//!
//! Guarantee: what [`Index::matching`] answers follows from the rules as the transaction reads them. A bus has an *edition*
//! that is drawn anew with every change of its rules, in the transaction that changes them. Compiled rules belong to one
//! edition; a transaction reads the edition (so it depends on it), and uses what is compiled only when it is of that
//! edition. A change is kept as a step from one edition to the next, so that one rule's change costs one rule, not all of
//! them; where the steps are not known, the rules are read.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use base_types::Fault;
use lang_eventpattern::{Dialect, Event as Document, EventPattern, RuleSet};
use parking_lot::Mutex;
use store_api::{Direction, Tx};

use crate::{
    names::BusName,
    tables::{EDITIONS, Edition, RULES, Rule},
};

/// Buses that are kept compiled; beyond it they are compiled when they are next used.
const BUSES_MAX: usize = 256;
/// Steps that are remembered.
const STEPS_MAX: usize = 4096;
/// Rules read at a time.
const PAGE: usize = 1000;

/// A rule that an event can match: its name, and the archive whose rule it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Matched {
    pub(crate) rule: Arc<str>,
    pub(crate) archive: Option<Arc<str>>,
}

/// What became of a rule.
#[derive(Clone)]
pub(crate) enum Change {
    /// It is there, with this pattern.
    Put(Matched, Arc<EventPattern>),
    /// It matches nothing.
    Removed(Matched),
}

struct Step {
    bus: BusName,
    before: u64,
    after: u64,
    change: Change,
}

struct Compiled {
    edition: u64,
    rules: RuleSet<Matched>,
}

/// Compiled rules, by bus.
#[derive(Default)]
pub(crate) struct Index {
    buses: Mutex<HashMap<BusName, Arc<Mutex<Compiled>>>>,
    steps: Mutex<VecDeque<Step>>,
}

impl Matched {
    pub(crate) fn new(rule: &str, archive: Option<&str>) -> Self {
        Self { rule: Arc::from(rule), archive: archive.map(Arc::from) }
    }
}

impl Index {
    /// The bus's rules change: draws the next edition. `draw` is random.
    pub(crate) fn change(&self, tx: &Tx, bus: &BusName, draw: u64, change: Change) -> Result<(), Fault> {
        let key = bus.key(&EDITIONS);
        let before = EDITIONS.get(tx, &key)?.map_or(0, |edition| edition.drawn);
        EDITIONS.put(tx, &key, &Edition { drawn: draw })?;
        let mut steps = self.steps.lock();
        if steps.len() == STEPS_MAX {
            steps.pop_front();
        }
        steps.push_back(Step { bus: bus.clone(), before, after: draw, change });
        Ok(())
    }

    /// The rules of the bus that the event matches, in the order of their names.
    pub(crate) fn matching(&self, tx: &Tx, bus: &BusName, document: &Document) -> Result<Vec<Matched>, Fault> {
        let Some(Edition { drawn }) = EDITIONS.get(tx, &bus.key(&EDITIONS))? else { return Ok(Vec::new()) };
        let compiled = self.buses.lock().get(bus).cloned();
        if let Some(compiled) = compiled {
            let mut compiled = compiled.lock();
            if compiled.edition == drawn || self.advance(&mut compiled, bus, drawn) {
                return Ok(sorted(compiled.rules.matching(document)));
            }
        }
        let rules = read(tx, bus)?;
        let found = sorted(rules.matching(document));
        let mut buses = self.buses.lock();
        if buses.len() >= BUSES_MAX {
            buses.clear();
        }
        buses.insert(bus.clone(), Arc::new(Mutex::new(Compiled { edition: drawn, rules })));
        Ok(found)
    }

    /// Brings compiled rules to another edition, if the steps that lead there are known.
    fn advance(&self, compiled: &mut Compiled, bus: &BusName, wanted: u64) -> bool {
        let steps = self.steps.lock();
        let (mut way, mut at) = (Vec::new(), wanted);
        // Newest first: each step is looked for behind the one that follows it.
        for step in steps.iter().rev() {
            if step.after == at && step.bus == *bus {
                at = step.before;
                way.push(step.change.clone());
                if at == compiled.edition {
                    break;
                }
            }
        }
        if at != compiled.edition {
            return false;
        }
        drop(steps);
        for change in way.into_iter().rev() {
            match change {
                Change::Put(matched, pattern) => compiled.rules.insert(matched, (*pattern).clone()),
                Change::Removed(matched) => drop(compiled.rules.remove(&matched)),
            }
        }
        compiled.edition = wanted;
        true
    }
}

fn sorted(mut found: Vec<Matched>) -> Vec<Matched> {
    found.sort();
    found
}

/// Compiles what the transaction reads.
fn read(tx: &Tx, bus: &BusName) -> Result<RuleSet<Matched>, Fault> {
    let mut rules = RuleSet::new();
    let rows = bus.key(&RULES);
    let mut range = rows.prefix();
    loop {
        let page = RULES.scan(tx, &range, PAGE, Direction::Forward)?;
        for (key, rule) in &page {
            let name = key.last_str()?;
            if let Some((matched, pattern)) = compiled(&name, rule) {
                rules.insert(matched, pattern);
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => range = rows.prefix().after(last),
            _ => return Ok(rules),
        }
    }
}

/// A rule with its pattern, if it can match anything.
fn compiled(name: &str, rule: &Rule) -> Option<(Matched, EventPattern)> {
    let text = rule.pattern.as_deref().filter(|_| rule.is_enabled())?;
    match EventPattern::parse(text, Dialect::Events) {
        Ok(pattern) => Some((Matched::new(name, rule.archive.as_deref()), pattern)),
        Err(error) => {
            tracing::error!(rule = name, %error, "a stored pattern cannot be read");
            None
        }
    }
}
