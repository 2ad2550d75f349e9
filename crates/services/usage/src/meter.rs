//! Counting in memory, without contention.
//!
//! Every thread that finishes invocations counts in a shard of its own; its lock is contended only by the writer, which
//! takes a shard's sums away once a second, and by whoever looks at what happens just now. Bounded: a shard holds at most
//! [`ROWS_MAX`] rows between two visits of the writer; what is beyond is counted for its account under the name
//! [`OVERFLOW`], so totals stay right.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base_types::Timestamp;
use parking_lot::Mutex;
use services_ports::{InvocationRecord, Meter, MeteredFunction};

use crate::{
    live::{FUNCTIONS_MAX, Live, Memory},
    sums::Sums,
    tables::{RowKey, hour_of},
};

/// Rows that a shard holds before it stops telling functions apart.
pub(crate) const ROWS_MAX: usize = 16_384;
/// The name under which the rest is counted. No function can be called so.
pub(crate) const OVERFLOW: &str = "*";
/// A function that was unused for so long, in seconds, is forgotten from memory (not from the store).
const FORGET_AFTER: u64 = 3_600;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which shard this thread counts in.
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// The shards.
pub(crate) struct Counts {
    shards: Box<[Shard]>,
    functions_max: usize,
}

/// A shard, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Part>);

#[derive(Default)]
struct Part {
    /// What the writer has not taken yet. A function has few rows: versions, and two hours at the turn of one.
    unwritten: HashMap<MeteredFunction, Vec<Unwritten>>,
    rows: usize,
    memory: HashMap<MeteredFunction, Memory>,
}

struct Unwritten {
    version: Arc<str>,
    hour: u64,
    sums: Sums,
}

impl Counts {
    pub(crate) fn new() -> Self {
        let shards = std::thread::available_parallelism().map_or(4, usize::from).clamp(4, 64).next_power_of_two();
        Self { shards: (0..shards).map(|_| Shard::default()).collect(), functions_max: FUNCTIONS_MAX / shards }
    }

    fn mine(&self) -> Option<&Mutex<Part>> {
        let thread = THREAD.with(|thread| *thread);
        self.shards.get(thread % self.shards.len()).map(|shard| &shard.0)
    }

    pub(crate) fn invocation(&self, record: &InvocationRecord) {
        let Some(part) = self.mine() else { return };
        let mut part = part.lock();
        part.row(&record.function, &record.version, hour_of(record.at), |sums| sums.add(record));
        if let Some(memory) = part.memory(&record.function, self.functions_max) {
            memory.add(record);
        }
    }

    pub(crate) fn throttle(&self, function: &MeteredFunction, at: Timestamp, reason: &str) {
        let Some(part) = self.mine() else { return };
        let mut part = part.lock();
        // A refusal names no version: the function's concurrency is one for all of them.
        part.row(function, "$LATEST", hour_of(at), |sums| sums.add_throttle(reason));
        if let Some(memory) = part.memory(function, self.functions_max) {
            memory.add_throttle(at);
        }
    }

    pub(crate) fn reserved(&self, function: &MeteredFunction, version: &str, at: Timestamp, mib: u64, span: Duration) {
        let Some(part) = self.mine() else { return };
        part.lock().row(function, version, hour_of(at), |sums| sums.add_reserved(mib, span));
    }

    /// Moves everything that is not written into `rows`, and forgets functions that were not used for long.
    pub(crate) fn take(&self, now: Timestamp, rows: &mut BTreeMap<RowKey, Sums>) {
        for shard in &self.shards {
            let taken = {
                let mut part = shard.0.lock();
                part.forget(now, self.functions_max);
                part.rows = 0;
                std::mem::take(&mut part.unwritten)
            };
            for (function, unwritten) in taken {
                for Unwritten { version, hour, sums } in unwritten {
                    let key = RowKey {
                        account: function.account,
                        region: function.region.clone(),
                        function: function.name.to_string(),
                        hour,
                        version: version.to_string(),
                    };
                    rows.entry(key).or_default().merge(&sums);
                }
            }
        }
    }

    /// What one function does just now.
    pub(crate) fn live(&self, function: &MeteredFunction, now: Timestamp) -> Option<Live> {
        let mut live: Option<Live> = None;
        for shard in &self.shards {
            if let Some(memory) = shard.0.lock().memory.get(function) {
                memory.show(now, live.get_or_insert_default());
            }
        }
        live.map(|mut live| {
            live.settle();
            live
        })
    }

    /// What all functions do just now, with the very last invocation of each.
    pub(crate) fn all(&self, now: Timestamp) -> BTreeMap<MeteredFunction, Live> {
        let mut all = BTreeMap::<MeteredFunction, Live>::new();
        for shard in &self.shards {
            for (function, memory) in &shard.0.lock().memory {
                memory.show_last(now, all.entry(function.clone()).or_default());
            }
        }
        all
    }
}

impl Part {
    fn row(&mut self, function: &MeteredFunction, version: &str, hour: u64, add: impl FnOnce(&mut Sums)) {
        if let Some(rows) = self.unwritten.get_mut(function)
            && let Some(row) = rows.iter_mut().find(|row| row.hour == hour && *row.version == *version)
        {
            return add(&mut row.sums);
        }
        let (function, version) = if self.rows < ROWS_MAX {
            (function.clone(), Arc::from(version))
        } else {
            (MeteredFunction { name: Arc::from(OVERFLOW), ..function.clone() }, Arc::from(OVERFLOW))
        };
        let rows = self.unwritten.entry(function).or_default();
        // Beyond the bound the row for the rest may be there already.
        let at = rows.iter().position(|row| row.hour == hour && row.version == version).unwrap_or_else(|| {
            rows.push(Unwritten { version, hour, sums: Sums::default() });
            self.rows += 1;
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(at) {
            add(&mut row.sums);
        }
    }

    /// What is remembered of a function; nothing when there is no room for one more.
    fn memory(&mut self, function: &MeteredFunction, functions_max: usize) -> Option<&mut Memory> {
        if !self.memory.contains_key(function) {
            if self.memory.len() >= functions_max {
                return None;
            }
            self.memory.insert(function.clone(), Memory::default());
        }
        self.memory.get_mut(function)
    }

    fn forget(&mut self, now: Timestamp, functions_max: usize) {
        let second = now.as_seconds();
        self.memory.retain(|_, memory| memory.last_second + FORGET_AFTER >= second);
        if self.memory.len() >= functions_max {
            // The older half makes room.
            let mut ages: Vec<u64> = self.memory.values().map(|memory| memory.last_second).collect();
            let middle = ages.len() / 2;
            let (_, &mut age, _) = ages.select_nth_unstable(middle);
            self.memory.retain(|_, memory| memory.last_second >= age);
            if self.memory.len() >= functions_max {
                self.memory.clear();
            }
        }
    }
}

impl Meter for crate::Usage {
    fn invocation(&self, record: &InvocationRecord) {
        self.counts.invocation(record);
    }

    fn throttle(&self, function: &MeteredFunction, at: Timestamp, reason: &'static str) {
        self.counts.throttle(function, at, reason);
    }
}
