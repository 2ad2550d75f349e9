//! Seats made ahead of need. A shelf per shape holds as many as were lately asked for at once, within what the host's
//! memory allows; one that nobody asks for empties itself. Seats are made only while no start waits.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base_env::Moment;
use compute_api::{Deployed, Language};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Inner, ProcessHost,
    seat::{self, Make, Seat, Shape},
    template::Forks,
};

/// Starts within about this long are a burst …
const BURST: Duration = Duration::from_secs(1);
/// … and within this long those that had to wait for each other: what comes at once is started a few at a time.
const BURST_AT_WORK: Duration = Duration::from_secs(5);
/// The greatest burst seen is half forgotten after this long.
const FORGET: Duration = Duration::from_secs(60);
/// A shelf that nobody asked for this long is emptied.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Starts come first: seats are made only when none was asked for this long.
const BREATH: Duration = Duration::from_millis(3);
/// How often shelves are looked through for what nobody wants any more.
const LOOK: Duration = Duration::from_secs(10);
/// What a seat is taken to cost when it is decided how many there may be.
const SEAT_KIB: u64 = 4 * 1024;
/// One part of so many of the free memory may be seats that wait.
const MEMORY_PART: u64 = 16;
/// Shapes that are remembered.
const SHELVES_MAX: usize = 256;

/// All shelves.
pub(super) struct Pool {
    shelves: Mutex<HashMap<Shape, Shelf>>,
    starting: AtomicUsize,
    wanted: Arc<Notify>,
    most: usize,
    /// Kept of the shape that was asked for last, however little is asked for.
    least: usize,
}

#[derive(Default)]
struct Shelf {
    seats: VecDeque<Seat>,
    demand: Demand,
    /// Failures since the last seat: a shape that cannot be made is not tried for ever.
    failures: u32,
}

/// How many starts come at once.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    burst: f64,
    peak: f64,
    last: Option<Moment>,
}

impl Demand {
    /// One is asked for; `busy`: while others are being started.
    fn arrive(&mut self, now: Moment, busy: bool) {
        let gap = self.last.map_or(f64::INFINITY, |last| now.since(last).as_secs_f64());
        let span = if busy { BURST_AT_WORK } else { BURST };
        self.burst = self.burst * (-gap / span.as_secs_f64()).exp() + 1.0;
        self.peak = (self.peak * (-gap / FORGET.as_secs_f64()).exp2()).max(self.burst);
        self.last = Some(now);
    }

    /// As if one had arrived long after the others.
    fn expect(&mut self, now: Moment) {
        let gap = self.last.map_or(f64::INFINITY, |last| now.since(last).as_secs_f64());
        self.burst *= (-gap / BURST.as_secs_f64()).exp();
        self.peak = (self.peak * (-gap / FORGET.as_secs_f64()).exp2()).max(1.0);
        self.last = Some(now);
    }

    /// How many should wait for the next burst.
    fn wanted(&self, now: Moment, least: usize) -> usize {
        let Some(gap) = self.last.map(|last| now.since(last)) else { return 0 };
        if gap > IDLE_MAX {
            return 0;
        }
        let peak = self.peak * (-gap.as_secs_f64() / FORGET.as_secs_f64()).exp2();
        (peak.round() as usize).max(least)
    }
}

/// Counts a start as long as it waits for its seat.
pub(super) struct Starting(Arc<Inner>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.pool.starting.fetch_sub(1, Ordering::Relaxed);
        self.0.pool.wanted.notify_one();
    }
}

impl Pool {
    pub(super) fn new(least: usize, most: usize) -> Self {
        Self { shelves: Mutex::default(), starting: AtomicUsize::new(0), wanted: Arc::default(), most, least }
    }

    /// A seat that waits, if there is one. It is counted as asked for either way.
    pub(super) fn take(&self, shape: &Shape, now: Moment) -> Option<Seat> {
        let mut shelves = self.shelves.lock();
        if shelves.len() >= SHELVES_MAX && !shelves.contains_key(shape) {
            shelves.retain(|_, shelf| !shelf.seats.is_empty());
        }
        let shelf = shelves.entry(shape.clone()).or_default();
        // Who asks is one of them.
        shelf.demand.arrive(now, self.starting.load(Ordering::Relaxed) > 1);
        std::iter::from_fn(|| shelf.seats.pop_front()).find(Seat::is_alive)
    }

    /// For a start that was counted already and has waited since.
    pub(super) fn take_again(&self, shape: &Shape) -> Option<Seat> {
        let mut shelves = self.shelves.lock();
        let seats = &mut shelves.get_mut(shape)?.seats;
        std::iter::from_fn(|| seats.pop_front()).find(Seat::is_alive)
    }

    /// Begins a shelf as if one had been asked for. However often that is said, it is no burst.
    pub(super) fn expect(&self, shape: &Shape, now: Moment) {
        let mut shelves = self.shelves.lock();
        if shelves.len() < SHELVES_MAX || shelves.contains_key(shape) {
            shelves.entry(shape.clone()).or_default().demand.expect(now);
        }
        drop(shelves);
        self.wanted.notify_one();
    }

    /// What seats can be made of has changed.
    pub(super) fn look_again(&self) {
        self.wanted.notify_one();
    }

    /// The shape that lacks most of those that can be made now, if one does.
    fn next(&self, now: Moment, can_be_made: impl Fn(&Shape) -> bool) -> Option<Shape> {
        let shelves = self.shelves.lock();
        let waiting: usize = shelves.values().map(|shelf| shelf.seats.len()).sum();
        if waiting >= self.most.min(memory_allows()) {
            return None;
        }
        shelves
            .iter()
            .filter(|(_, shelf)| shelf.failures < 3)
            .map(|(shape, shelf)| (shelf.demand.wanted(now, self.least).saturating_sub(shelf.seats.len()), shape))
            .filter(|(lacking, shape)| *lacking > 0 && can_be_made(shape))
            .max_by_key(|(lacking, _)| *lacking)
            .map(|(_, shape)| shape.clone())
    }

    pub(super) fn put(&self, shape: &Shape, seat: Option<Seat>) {
        let mut shelves = self.shelves.lock();
        let Some(shelf) = shelves.get_mut(shape) else { return };
        match seat {
            Some(seat) => {
                shelf.failures = 0;
                shelf.seats.push_back(seat);
            }
            None => shelf.failures += 1,
        }
    }

    /// Lets go of what nobody wants any more.
    fn trim(&self, now: Moment) {
        let mut gone = Vec::new();
        self.shelves.lock().retain(|_, shelf| {
            let wanted = shelf.demand.wanted(now, self.least);
            shelf.failures = 0;
            shelf.seats.retain(Seat::is_alive);
            while shelf.seats.len() > wanted {
                gone.extend(shelf.seats.pop_front());
            }
            wanted > 0
        });
        // Outside the lock: each end is a word to the launcher.
        drop(gone);
    }

    /// Ends the copies of a snapshot, which will not be asked for again.
    pub(super) fn forget_snapshot(&self, snapshot: &str) {
        let is_one = |shape: &Shape| matches!(&shape.make, Make::Restored(name) if **name == *snapshot);
        let gone: Vec<_> = self.shelves.lock().extract_if(|shape, _| is_one(shape)).collect();
        // Outside the lock: each end is a word to the launcher.
        drop(gone);
    }

    /// Ends all.
    pub(super) fn clear(&self) {
        let shelves = std::mem::take(&mut *self.shelves.lock());
        drop(shelves);
    }
}

/// How many seats may wait.
fn memory_allows() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse().ok());
    usize::try_from(available.unwrap_or(0_u64) / MEMORY_PART / SEAT_KIB).unwrap_or(usize::MAX)
}

impl ProcessHost {
    /// Counts a start that waits for its seat.
    pub(super) fn starting(&self) -> Starting {
        self.0.pool.starting.fetch_add(1, Ordering::Relaxed);
        Starting(Arc::clone(&self.0))
    }

    /// Makes seats ahead of need until the host is gone.
    pub(super) async fn refill(host: Weak<Inner>) {
        let Some(wanted) = host.upgrade().map(|inner| Arc::clone(&inner.pool.wanted)) else { return };
        loop {
            let Some(host) = host.upgrade().map(ProcessHost) else { return };
            let env = host.0.env.clone();
            let pool = &host.0.pool;
            let quiet = pool.starting.load(Ordering::Relaxed) == 0;
            let next = if quiet { pool.next(env.monotonic(), |shape| host.can_make(shape)) } else { None };
            let Some(shape) = next else {
                if quiet {
                    let now = env.monotonic();
                    pool.trim(now);
                    host.0.templates.retire(now);
                }
                drop(host);
                if env.timeout(LOOK, wanted.notified()).await.is_ok() {
                    env.sleep(BREATH).await;
                }
                continue;
            };
            host.put_one(&shape).await;
        }
    }

    /// Whether a seat of this shape can be made now: forks need their template. One that is not there, or is due to be
    /// replaced, is begun, and tells when it has booted.
    fn can_make(&self, shape: &Shape) -> bool {
        match &shape.make {
            Make::Python(forks) => {
                let runtimes = self.0.runtimes.get();
                let runtime = runtimes.and_then(|runtimes| runtimes.chosen(&forks.runtime));
                runtime.is_some_and(|runtime| self.has_template(forks, runtime))
            }
            Make::Blank | Make::Restored(_) | Make::Node { .. } => true,
        }
    }

    /// Begins what the first start of a function like this will want.
    pub(super) async fn prepare_for(self, deployed: Deployed) {
        let Ok(runtimes) = self.runtimes_found().await else { return };
        let Some(runtime) = runtimes.chosen(&deployed.runtime) else { return };
        let names = deployed.variables.iter().map(String::as_str);
        let make = match runtime.language {
            _ if seat::any_is_read_at_the_start(names) => Make::Blank,
            Language::Custom => Make::Blank,
            Language::Node => Make::Node { runtime: deployed.runtime, memory_mib: deployed.memory_mib },
            Language::Python if self.0.forks_possible() => {
                Make::Python(Forks { account: deployed.account, runtime: deployed.runtime })
            }
            Language::Python => Make::Blank,
        };
        self.0.pool.expect(&Shape { make, tmp_mib: deployed.tmp_mib }, self.0.env.monotonic());
        Self::begin_refilling(&self.0);
    }

    async fn put_one(&self, shape: &Shape) {
        let runtime = match shape.runtime() {
            Some(name) => self.0.runtimes().chosen(name).cloned(),
            None => None,
        };
        let seat = self.make_seat(shape, runtime.as_ref()).await;
        if let Err(refused) = &seat {
            tracing::debug!(?refused, ?shape, "no seat could be made ahead of need");
        }
        self.0.pool.put(shape, seat.ok());
    }
}

#[cfg(test)]
mod tests {
    use base_env::Env;

    use super::*;

    #[test]
    fn as_many_wait_as_came_at_once_and_fewer_with_time() {
        let start = Env::real().monotonic();
        let mut demand = Demand::default();
        assert_eq!(demand.wanted(start, 1), 0);
        for _ in 0..20 {
            demand.arrive(start, false);
        }
        assert_eq!(demand.wanted(start, 1), 20);
        assert_eq!(demand.wanted(start + FORGET, 1), 10);
        assert_eq!(demand.wanted(start + FORGET * 5, 1), 1);
        assert_eq!(demand.wanted(start + IDLE_MAX + FORGET, 1), 0);
    }

    #[test]
    fn what_is_expected_often_is_no_burst_and_takes_nothing_from_one() {
        let now = Env::real().monotonic();
        let mut demand = Demand::default();
        for _ in 0..1000 {
            demand.expect(now);
        }
        assert_eq!(demand.wanted(now, 2), 2);
        for _ in 0..20 {
            demand.arrive(now, false);
        }
        demand.expect(now);
        assert_eq!(demand.wanted(now, 2), 20);
    }

    #[test]
    fn what_comes_at_once_is_known_although_it_is_started_a_few_at_a_time() {
        let begun = Env::real().monotonic();
        let wanted = |busy| {
            let (mut now, mut demand) = (begun, Demand::default());
            for _ in 0..200 {
                now = now + Duration::from_millis(10);
                demand.arrive(now, busy);
            }
            demand.wanted(now, 1)
        };
        assert!((150..=200).contains(&wanted(true)), "{}", wanted(true));
        assert!((70..=110).contains(&wanted(false)), "{}", wanted(false));
    }

    #[test]
    fn one_start_after_another_is_no_burst() {
        let mut now = Env::real().monotonic();
        let mut demand = Demand::default();
        for _ in 0..20 {
            now = now + BURST * 5;
            demand.arrive(now, false);
        }
        assert_eq!(demand.wanted(now, 1), 1);
    }
}
