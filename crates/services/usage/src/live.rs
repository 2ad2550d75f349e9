//! What happened lately, in memory only: the last invocations of a function and its rate over the last seconds.
//!
//! Bounded: [`RECENT_MAX`] invocations and [`SECONDS`] seconds of at most [`FUNCTIONS_MAX`] functions; those that were
//! unused for longest are forgotten.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use base_types::Timestamp;
use compute_api::{IsolationLevel, Origin, Start};
use services_ports::{Ending, InvocationRecord};

/// Invocations remembered of each function, per thread that finishes them.
pub const RECENT_MAX: usize = 20;
/// Functions of which something is remembered.
pub const FUNCTIONS_MAX: usize = 4_096;
/// Seconds that a rate is taken over.
pub const SECONDS: u64 = 10;
/// Seconds that are counted: the rate's and the running one.
const SLOTS: usize = 16;

/// One finished invocation.
#[derive(Clone, Debug)]
pub struct Recent {
    /// `$LATEST` or a number.
    pub version: Arc<str>,
    /// The request's identifier.
    pub request_id: Arc<str>,
    /// When it was given to its environment.
    pub at: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// From admission until it was given to an environment.
    pub queued: Duration,
    /// The initialisation that it waited for.
    pub init: Option<Duration>,
    /// From handing over the event to the answer.
    pub duration: Duration,
    /// What AWS would bill, ms.
    pub billed_millis: u64,
    /// Processor time.
    pub cpu: Duration,
    /// The configured memory, MiB.
    pub memory_mib: u32,
    /// The environment's peak, bytes.
    pub memory_bytes_max: u64,
    /// The event's size.
    pub bytes_in: u64,
    /// The response's size.
    pub bytes_out: u64,
    /// Cold or warm, and why.
    pub start: Start,
    /// What its environment was made from.
    pub origin: Origin,
    /// The walls around it.
    pub isolation: IsolationLevel,
    /// Whether it came from the queue.
    pub asynchronous: bool,
    /// Whether its environment was provisioned ahead.
    pub provisioned: bool,
}

impl From<&InvocationRecord> for Recent {
    fn from(record: &InvocationRecord) -> Self {
        Self {
            version: Arc::clone(&record.version),
            request_id: Arc::clone(&record.request_id),
            at: record.at,
            ending: record.ending,
            queued: record.queued,
            init: record.init,
            duration: record.duration,
            billed_millis: record.billed_millis,
            cpu: record.cpu,
            memory_mib: record.memory_mib,
            memory_bytes_max: record.memory_bytes_max,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            start: record.start,
            origin: record.origin,
            isolation: record.isolation,
            asynchronous: record.asynchronous,
            provisioned: record.provisioned,
        }
    }
}

/// What a function does just now.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The last invocations, newest first.
    pub recent: Vec<Recent>,
    /// Invocations finished a second, over the last [`SECONDS`].
    pub invocations_per_second: f64,
    /// Refusals a second.
    pub throttles_per_second: f64,
    /// Processors used: 0.5 is half of one.
    pub processors: f64,
    /// Invocations since the server started (or the function was remembered).
    pub invocations: u64,
    /// Of them failed.
    pub failed: u64,
    /// Of them cold.
    pub cold: u64,
    /// Refusals.
    pub throttles: u64,
}

/// One thread's part of what is remembered of a function.
#[derive(Default)]
pub(crate) struct Memory {
    recent: VecDeque<Recent>,
    slots: [Slot; SLOTS],
    pub(crate) last_second: u64,
    invocations: u64,
    failed: u64,
    cold: u64,
    throttles: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    second: u64,
    invocations: u32,
    throttles: u32,
    cpu_micros: u64,
}

impl Memory {
    pub(crate) fn add(&mut self, record: &InvocationRecord) {
        let ended = record.at + record.duration;
        let slot = self.slot(ended);
        slot.invocations = slot.invocations.saturating_add(1);
        slot.cpu_micros = slot.cpu_micros.saturating_add(u64::try_from(record.cpu.as_micros()).unwrap_or(u64::MAX));
        self.invocations += 1;
        self.failed += u64::from(record.ending != Ending::Success);
        self.cold += u64::from(record.start != Start::Warm);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent::from(record));
    }

    pub(crate) fn add_throttle(&mut self, at: Timestamp) {
        let slot = self.slot(at);
        slot.throttles = slot.throttles.saturating_add(1);
        self.throttles += 1;
    }

    fn slot(&mut self, at: Timestamp) -> &mut Slot {
        let second = at.as_seconds();
        self.last_second = self.last_second.max(second);
        let slot = &mut self.slots[(second % SLOTS as u64) as usize];
        if slot.second < second {
            *slot = Slot { second, ..Slot::default() };
        }
        slot
    }

    /// Adds this part to what is shown at `now`.
    pub(crate) fn show(&self, now: Timestamp, live: &mut Live) {
        self.show_rates(now, live);
        live.recent.extend(self.recent.iter().cloned());
    }

    /// The same with the very last invocation only.
    pub(crate) fn show_last(&self, now: Timestamp, live: &mut Live) {
        self.show_rates(now, live);
        live.recent.extend(self.recent.back().cloned());
        live.settle();
        live.recent.truncate(1);
    }

    fn show_rates(&self, now: Timestamp, live: &mut Live) {
        let second = now.as_seconds();
        // The running second is not over: the rate is that of the ones before it.
        let counted = self.slots.iter().filter(|slot| slot.second < second && slot.second + SECONDS >= second);
        for slot in counted {
            live.invocations_per_second += f64::from(slot.invocations) / SECONDS as f64;
            live.throttles_per_second += f64::from(slot.throttles) / SECONDS as f64;
            live.processors += slot.cpu_micros as f64 / 1e6 / SECONDS as f64;
        }
        live.invocations += self.invocations;
        live.failed += self.failed;
        live.cold += self.cold;
        live.throttles += self.throttles;
    }
}

impl Live {
    /// Orders what came from several threads.
    pub(crate) fn settle(&mut self) {
        // Of those that ended in the same millisecond the one that was counted last comes first.
        self.recent.reverse();
        self.recent.sort_by_key(|recent| std::cmp::Reverse(recent.at + recent.duration));
        self.recent.truncate(RECENT_MAX);
    }
}
