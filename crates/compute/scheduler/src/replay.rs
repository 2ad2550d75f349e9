//! The scheduler's decisions on a recorded load, on simulated time: for studies of policies (`benches/keepalive`) and for
//! measuring what a decision costs.
//!
//! The machine is the one that the server runs; only its outside is replaced: a start takes as long as its function's
//! shape says, an invocation as long as the arrival says, stopping takes no time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use base_env::Moment;
use base_types::{AccountId, Region};
use compute_api::{IsolationLevel, Origin, Start};

use crate::{
    FunctionVersion, Limits, VersionKey,
    core::{Action, Actions, Admission, Core, EnvironmentId, Freed, Made, Usage},
};

/// A function of the load.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The configured memory, MiB.
    pub memory_mib: u32,
    /// What an idle environment holds, MiB.
    pub resident_mib: u32,
    /// What a running one needs at most, MiB.
    pub peak_mib: u32,
    /// How long a start takes.
    pub start: Duration,
}

/// An invocation of the load.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When, since the beginning.
    pub at: Duration,
    /// The function's place in the list of shapes.
    pub function: usize,
    /// How long it runs.
    pub duration: Duration,
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Invocations by function: in a used environment, in a new one.
    pub functions: Vec<(u64, u64)>,
    /// Invocations that were refused.
    pub refused: u64,
    /// Environments stopped to make room.
    pub evicted: u64,
    /// Environments stopped because nobody used them.
    pub expired: u64,
    /// How long invocations waited for new environments, all together.
    pub waited: Duration,
    /// Memory of idle environments over time, in GiB times seconds.
    pub idle_gib_seconds: f64,
}

type Machine = Core<(), (), usize>;
type Id = EnvironmentId<(), (), usize>;

enum Event {
    Started(Id, usize),
    Finished(Id, usize),
}

struct Caller {
    since: Moment,
    function: usize,
    duration: Duration,
}

/// A machine and its simulated outside.
pub struct Replay {
    core: Machine,
    now: Moment,
    shapes: Vec<Shape>,
    versions: Vec<Arc<FunctionVersion<()>>>,
    /// What happens when; events of one moment in the order in which they were made.
    events: BTreeMap<(Moment, u64), Event>,
    sequence: u64,
    callers: HashMap<usize, Caller>,
    caller_next: usize,
    due: Option<Moment>,
    /// Until when `outcome` counts idle memory.
    counted: Moment,
    outcome: Outcome,
}

impl Replay {
    /// A machine without environments, for these functions.
    ///
    /// # Panics
    /// Never: the account is a constant that parses.
    #[must_use]
    pub fn new(limits: Limits, shapes: Vec<Shape>) -> Self {
        let version = |(place, shape): (usize, &Shape)| {
            Arc::new(FunctionVersion {
                key: VersionKey {
                    function: format!("arn:aws:lambda:us-east-1:000000000000:function:{place}").into(),
                    version: "$LATEST".into(),
                    revision: "1".into(),
                },
                account: AccountId::DEFAULT,
                region: Region::default(),
                memory_mib: shape.memory_mib,
                spec: (),
            })
        };
        Self {
            core: Core::new(limits),
            now: Moment::default(),
            versions: shapes.iter().enumerate().map(version).collect(),
            outcome: Outcome { functions: vec![(0, 0); shapes.len()], ..Outcome::default() },
            shapes,
            events: BTreeMap::new(),
            sequence: 0,
            callers: HashMap::new(),
            caller_next: 0,
            due: None,
            counted: Moment::default(),
        }
    }

    /// An invocation arrives; everything that happens before it has happened.
    pub fn arrive(&mut self, arrival: Arrival) {
        self.run_until(Moment::default() + arrival.at);
        let Some(version) = self.versions.get(arrival.function).cloned() else { return };
        let caller = self.caller_next;
        self.caller_next += 1;
        let mut actions = Vec::new();
        let admission = self.core.request(self.now, &version, || caller, &mut actions);
        match admission {
            Admission::Run(id, ()) => {
                self.count(arrival.function, Start::Warm);
                self.later(arrival.duration, Event::Finished(id, arrival.function));
            }
            Admission::Wait(_) => {
                let Arrival { function, duration, .. } = arrival;
                self.callers.insert(caller, Caller { since: self.now, function, duration });
            }
            Admission::Throttled(_) | Admission::TooLarge | Admission::ShuttingDown => self.outcome.refused += 1,
        }
        self.perform(actions);
    }

    /// Lets time pass until `at`, since the beginning.
    pub fn pass(&mut self, at: Duration) {
        self.run_until(Moment::default() + at);
    }

    /// What came of it so far. What was counted before is forgotten.
    pub fn take_outcome(&mut self) -> Outcome {
        self.count_idle(self.now);
        let counters = self.core.take_counters();
        let functions = vec![(0, 0); self.shapes.len()];
        let outcome = std::mem::replace(&mut self.outcome, Outcome { functions, ..Outcome::default() });
        Outcome { evicted: counters.evicted, expired: counters.expired, ..outcome }
    }

    /// How many environments are idle.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.core.idle_environments()
    }

    fn run_until(&mut self, until: Moment) {
        loop {
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            let Some(next) = event.into_iter().chain(self.due).min().filter(|&next| next <= until) else { break };
            self.count_idle(next);
            self.now = self.now.max(next);
            let mut actions = Vec::new();
            if self.due.is_some_and(|due| due <= self.now) {
                self.due = self.core.tick(self.now, &mut actions);
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event, &mut actions);
            }
            self.perform(actions);
        }
        self.count_idle(until);
        self.now = self.now.max(until);
    }

    fn happen(&mut self, event: Event, actions: &mut Actions<(), (), usize>) {
        let shape = |function: usize| self.shapes.get(function).copied();
        match event {
            Event::Started(id, function) => {
                let Some(shape) = shape(function) else { return };
                let memory_bytes = u64::from(shape.resident_mib) << 20;
                let made = Made { memory_bytes, origin: Origin::Fresh, isolation: IsolationLevel::Full };
                self.core.started(self.now, id, (), made, actions);
            }
            Event::Finished(id, function) => {
                let Some(shape) = shape(function) else { return };
                let usage = Usage { peak_bytes: u64::from(shape.peak_mib) << 20, ..Usage::default() };
                let memory_bytes = u64::from(shape.resident_mib) << 20;
                let freed = Freed { reusable: true, memory_bytes, usage: Some(usage) };
                self.core.finished(self.now, id, (), freed, actions);
            }
        }
    }

    fn perform(&mut self, actions: Actions<(), (), usize>) {
        let mut queue = std::collections::VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let mut more = Vec::new();
            match action {
                Action::Start { environment, version, .. } => {
                    let place = version.key.function.rsplit(':').next().and_then(|place| place.parse().ok());
                    let function: usize = place.unwrap_or(usize::MAX);
                    let cost = self.shapes.get(function).map_or(Duration::ZERO, |shape| shape.start);
                    self.later(cost, Event::Started(environment, function));
                }
                Action::Grant { waiter, environment, start, .. } => {
                    if let Some(caller) = self.callers.remove(&waiter) {
                        self.outcome.waited += self.now.since(caller.since);
                        self.count(caller.function, start);
                        self.later(caller.duration, Event::Finished(environment, caller.function));
                    }
                }
                Action::Stop { environment, .. } => self.core.stopped(self.now, environment, &mut more),
                Action::Tick => self.due = self.core.tick(self.now, &mut more),
            }
            queue.extend(more);
        }
    }

    fn later(&mut self, pause: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + pause, self.sequence), event);
    }

    fn count(&mut self, function: usize, start: Start) {
        if let Some((warm, cold)) = self.outcome.functions.get_mut(function) {
            match start {
                Start::Warm => *warm += 1,
                Start::Cold(_) => *cold += 1,
            }
        }
    }

    fn count_idle(&mut self, until: Moment) {
        let gibibytes = self.core.idle_bytes() as f64 / f64::from(1 << 30);
        self.outcome.idle_gib_seconds += gibibytes * until.since(self.counted).as_secs_f64();
        self.counted = self.counted.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_replayed_with_its_own_times() {
        let shape = Shape { memory_mib: 128, resident_mib: 64, peak_mib: 64, start: Duration::from_secs(1) };
        let limits = Limits { expiry: crate::Expiry::Fixed, ..Limits::default() };
        let mut replay = Replay::new(limits, vec![shape; 2]);
        for (at, function) in [(0, 0), (10, 0), (20, 1), (1000, 0)] {
            let duration = Duration::from_secs(2);
            replay.arrive(Arrival { at: Duration::from_secs(at), function, duration });
        }
        replay.pass(Duration::from_secs(1003));
        let outcome = replay.take_outcome();
        assert_eq!(outcome.functions, [(1, 2), (0, 1)]);
        assert_eq!((outcome.refused, outcome.expired, outcome.waited), (0, 2, Duration::from_secs(3)));
        // f: 3-10, 12-612; g: 23-623; f: 1003-1003. 64 MiB each.
        assert!((outcome.idle_gib_seconds - (7.0 + 600.0 + 600.0) / 16.0).abs() < 1e-6, "{outcome:?}");
        assert_eq!(replay.idle(), 1);
    }
}
