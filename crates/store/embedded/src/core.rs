//! Execution: one thread at a time runs write transactions, one makes them durable, one moves them into the engine.
//!
//! - *the runner* takes transactions from the queue, runs each over the newest state, and applies its writes to the
//!   active [`Generation`] at once: there are no conflicts, so nothing is ever run again. Whoever submits one while
//!   nobody runs is the runner, until the queue is empty or its time is over ([`HERE_MAX`]): what it has just built is
//!   in its processor's caches, and no thread has to be woken. Then, and whenever the runner would have to wait,
//!   `store-run` goes on in its place;
//! - `store-log` writes and syncs the frames of everything that gathered meanwhile (group commit) and then, in commit
//!   order, runs hooks, wakes waiters and
//!   gives the answers. While it syncs, the next transactions run;
//! - `store-index` writes full generations into the engine and lets their segments of the log go.
//!
//! Views run on the caller's thread over the newest *durable* version: they wait for nothing.
//!
//! Invariant: `durable` only grows, and every answer is given after `durable` has reached the version that it saw.
//!
//! Lock order: `turn`, then `log`, then `pending`, then `state`. Nobody waits for anybody while holding `state`. `queue`
//! is held for a moment, with nothing else.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use base_env::{Env, Moment};
use base_types::Fault;
use parking_lot::{Condvar, Mutex, RwLock};
use store_api::{Access, Commit, Health, Tx, Waiters, Work};

use crate::{
    Disk, Options,
    engine::{Closed, Snapshot},
    fault, frame,
    generation::Generation,
    heads::Heads,
    log::{AppendFailed, Broken, LogFile},
    reader::CommittedReader,
};

/// Bytes of frames that may wait for their sync before the running of transactions waits too.
const PENDING_BYTES_MAX: usize = 16 << 20;
/// After this long in one append or one checkpoint the store counts as stuck.
const STUCK: Duration = Duration::from_secs(10);
/// Transactions that whoever submits one runs at most, its own and those that came meanwhile: the thread has other things
/// to do.
const HERE_MAX: usize = 16;
/// How long the disk's free space is believed, and for how many transactions.
const ROOM_BELIEVED: Duration = Duration::from_millis(5);
const ROOM_BELIEVED_MAX: u32 = 64;

/// What readers see: newest first.
pub(crate) struct State {
    pub(crate) active: Arc<Generation>,
    /// Waiting for the engine, the newest first.
    pub(crate) frozen: Vec<Arc<Generation>>,
    pub(crate) engine: Arc<dyn Snapshot>,
}

/// Everything the threads share.
pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) options: Options,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) epoch: u32,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) state: RwLock<Arc<State>>,
    pub(crate) durable: AtomicU64,
    queue: Mutex<Queue>,
    queued: Condvar,
    /// Held by whoever runs transactions: the version of the last commit applied.
    turn: Mutex<u64>,
    log: Mutex<LogFile>,
    pending: Mutex<Pending>,
    appended: Condvar,
    drained: Condvar,
    /// Versions that views are looking at.
    views: Mutex<BTreeMap<u64, usize>>,
    condition: Mutex<Condition>,
    believed: Mutex<Believed>,
    pub(crate) frozen: Condvar,
    pub(crate) freezing: Mutex<Freezing>,
    closed: AtomicBool,
}

struct Queue {
    works: VecDeque<Box<dyn Work>>,
    /// Who runs transactions. He looks here again before he ends.
    runner: Option<Runner>,
    stopping: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    /// A thread that submitted one.
    Here(ThreadId),
    /// `store-run`, which may have to wake up first.
    Thread,
}

/// When it was seen last that writes can be taken, and how often that was believed since.
#[derive(Default)]
struct Believed {
    seen: Option<Moment>,
    times: u32,
}

#[derive(Default)]
struct Pending {
    groups: VecDeque<Group>,
    bytes: usize,
    stopping: bool,
    /// Nobody makes anything durable any more.
    failed: Option<String>,
}

/// What is synced together.
struct Group {
    segment: u64,
    frames: Vec<u8>,
    /// The last version seen or made in it.
    version: u64,
    answers: Vec<Answer>,
}

struct Answer {
    work: Box<dyn Work>,
    outcome: Result<Option<Commit>, Fault>,
}

/// What the index thread is told.
#[derive(Default)]
pub(crate) struct Freezing {
    /// Checkpoint everything, then end.
    pub(crate) stopping: bool,
    /// End at once.
    pub(crate) abandoned: bool,
}

struct Condition {
    health: Health,
    append_since: Option<Moment>,
    checkpoint_since: Option<Moment>,
}

impl Core {
    pub(crate) fn new(env: Env, options: Options, disk: Arc<dyn Disk>, epoch: u32, state: State, version: u64) -> Self {
        Self {
            env,
            options,
            epoch,
            waiters: Arc::default(),
            heads: Arc::default(),
            state: RwLock::new(Arc::new(state)),
            durable: AtomicU64::new(version),
            queue: Mutex::new(Queue { works: VecDeque::new(), runner: None, stopping: false }),
            queued: Condvar::new(),
            turn: Mutex::new(version),
            log: Mutex::new(LogFile::new(Arc::clone(&disk))),
            disk,
            pending: Mutex::default(),
            appended: Condvar::new(),
            drained: Condvar::new(),
            views: Mutex::default(),
            condition: Mutex::new(Condition { health: Health::Serving, append_since: None, checkpoint_since: None }),
            believed: Mutex::default(),
            frozen: Condvar::new(),
            freezing: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    // --- the callers' side
    // --------------------------------------------------------------------------------------------

    pub(crate) fn submit(&self, work: Box<dyn Work>) {
        let mut queue = self.queue.lock();
        if queue.stopping {
            drop(queue);
            return work.finish(Err(fault::stopped()));
        }
        if queue.works.len() >= self.options.queue_max {
            drop(queue);
            return work.finish(Err(fault::too_many(self.options.queue_max)));
        }
        queue.works.push_back(work);
        if queue.runner.is_some() {
            return;
        }
        queue.runner = Some(Runner::Here(thread::current().id()));
        drop(queue);
        // A defect here must not leave others waiting for ever.
        if catch_unwind(AssertUnwindSafe(|| self.run_here())).is_err() {
            self.fail("running transactions panicked");
        }
    }

    /// Whether this very thread runs transactions now: it cannot wait for their end.
    pub(crate) fn runs_here(&self) -> bool {
        self.queue.lock().runner == Some(Runner::Here(thread::current().id()))
    }

    pub(crate) fn view(&self, mut work: Box<dyn Work>) {
        if self.closed.load(Ordering::Acquire) {
            return work.finish(Err(fault::stopped()));
        }
        let (state, version) = self.open_view();
        let reader = CommittedReader::view(state, version, self.epoch);
        work.run(&Tx::begin(Box::new(reader), Access::ReadOnly, &self.env, self.options.bounds));
        self.close_view(version);
        work.finish(Ok(()));
    }

    /// The newest durable version with a state that holds it; its versions are kept until [`Core::close_view`].
    pub(crate) fn open_view(&self) -> (Arc<State>, u64) {
        // While the state is locked no newer engine snapshot appears, so what the engine holds is not newer than
        // `version`.
        let state = self.state.read();
        let mut views = self.views.lock();
        let version = self.durable.load(Ordering::Acquire);
        *views.entry(version).or_default() += 1;
        (Arc::clone(&state), version)
    }

    pub(crate) fn close_view(&self, version: u64) {
        let mut views = self.views.lock();
        if let Some(count) = views.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                views.remove(&version);
            }
        }
    }

    pub(crate) fn health(&self) -> Health {
        let condition = self.condition.lock();
        let now = self.env.monotonic();
        for (since, what) in [(condition.append_since, "a commit"), (condition.checkpoint_since, "a checkpoint")] {
            if since.is_some_and(|since| now.since(since) > STUCK) {
                return Health::Failed(format!("{what} has not ended for more than {} s", STUCK.as_secs()));
            }
        }
        condition.health.clone()
    }

    pub(crate) fn set_health(&self, health: Health) {
        let mut condition = self.condition.lock();
        if matches!(condition.health, Health::Failed(_)) || condition.health == health {
            return;
        }
        match &health {
            Health::Serving => tracing::info!("the store takes writes again"),
            Health::ReadOnly(reason) => {
                let remedy = "free space on the disk of the data directory: writing goes on by itself then";
                tracing::warn!(reason, remedy, "the store refuses writes");
            }
            Health::Failed(reason) => tracing::error!(reason, "the store has failed"),
        }
        condition.health = health;
    }

    /// A thread died: everything that waits is told, everything later refused.
    pub(crate) fn fail(&self, reason: &str) {
        self.set_health(Health::Failed(reason.to_owned()));
        let works = {
            let mut queue = self.queue.lock();
            queue.stopping = true;
            if queue.runner == Some(Runner::Here(thread::current().id())) {
                queue.runner = None;
            }
            std::mem::take(&mut queue.works)
        };
        let groups = {
            let mut pending = self.pending.lock();
            pending.failed = Some(reason.to_owned());
            std::mem::take(&mut pending.groups)
        };
        let answers = groups.into_iter().flat_map(|group| group.answers).map(|answer| answer.work);
        for work in works.into_iter().chain(answers) {
            work.finish(Err(fault::refused(reason)));
        }
        self.stop_queue();
    }

    pub(crate) fn checkpointing(&self, on: bool) {
        self.condition.lock().checkpoint_since = on.then(|| self.env.monotonic());
    }

    /// Takes no more work; [`Core::run`] ends when the queue is empty.
    pub(crate) fn stop_queue(&self) {
        self.queue.lock().stopping = true;
        self.queued.notify_all();
    }

    /// [`Core::append`] ends when everything is durable.
    pub(crate) fn stop_log(&self) {
        self.pending.lock().stopping = true;
        self.appended.notify_all();
    }

    /// [`crate::checkpoint`] ends: after everything is in the engine, or at once.
    pub(crate) fn stop_index(&self, thorough: bool) {
        let mut freezing = self.freezing.lock();
        freezing.stopping = true;
        freezing.abandoned |= !thorough;
        drop(freezing);
        self.frozen.notify_all();
    }

    /// Lets go of the engine's files.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let mut state = self.state.write();
        *state = Arc::new(State { active: Arc::clone(&state.active), frozen: Vec::new(), engine: Arc::new(Closed) });
    }

    // --- running transactions
    // -----------------------------------------------------------------------------------------

    /// What the thread does that submitted a transaction while nobody ran any.
    fn run_here(&self) {
        for _ in 0..HERE_MAX {
            if !self.has_room() {
                break;
            }
            let Some(work) = self.next() else { return };
            self.run_one(work);
        }
        let mut queue = self.queue.lock();
        if queue.works.is_empty() {
            self.rest(&mut queue);
        } else {
            queue.runner = Some(Runner::Thread);
            self.queued.notify_all();
        }
    }

    /// The `store-run` thread.
    pub(crate) fn run(&self) {
        loop {
            {
                let mut queue = self.queue.lock();
                while queue.runner != Some(Runner::Thread) {
                    if queue.stopping && queue.runner.is_none() && queue.works.is_empty() {
                        return;
                    }
                    self.queued.wait(&mut queue);
                }
            }
            loop {
                self.wait_for_room();
                let Some(work) = self.next() else { break };
                self.run_one(work);
            }
        }
    }

    /// The next transaction of the queue; without one nobody is the runner any more.
    fn next(&self) -> Option<Box<dyn Work>> {
        let mut queue = self.queue.lock();
        let work = queue.works.pop_front();
        if work.is_none() {
            self.rest(&mut queue);
        }
        work
    }

    fn rest(&self, queue: &mut Queue) {
        queue.runner = None;
        if queue.stopping {
            self.queued.notify_all();
        }
    }

    fn run_one(&self, work: Box<dyn Work>) {
        let horizon = self.horizon();
        let refusal = self.refusal();
        {
            let mut version = self.turn.lock();
            self.execute(work, &mut version, horizon, refusal.as_deref());
        }
        self.appended.notify_one();
    }

    fn execute(&self, mut work: Box<dyn Work>, version: &mut u64, horizon: u64, refusal: Option<&str>) {
        let state = Arc::clone(&self.state.read());
        let reader = CommittedReader::newest(Arc::clone(&state), *version, self.epoch, &self.heads);
        let tx = Tx::begin(Box::new(reader), Access::Write, &self.env, self.options.bounds);
        let outcome = if work.run(&tx) { tx.into_commit().map(Some) } else { Ok(None) };
        work.settle();
        let outcome = match (outcome, refusal) {
            (Ok(Some(commit)), Some(reason)) if !commit.is_empty() => Err(self.refused(reason)),
            (outcome, _) => outcome,
        };
        let outcome = match outcome {
            Ok(Some(mut commit)) if !commit.is_empty() => {
                *version += 1;
                commit.place(self.epoch, *version);
                let writes = std::mem::take(&mut commit.writes);
                let (segment, now) = (state.active.segment(), commit.now);
                let mut frame = Vec::with_capacity(commit.bytes + 16 * writes.len() + 64);
                frame::encode(&mut frame, segment, *version, now, &writes);
                // Applied before it is pushed: once it is durable every view must see it.
                self.heads.lower(writes.iter().map(|(key, _)| key));
                state.active.apply(*version, now.as_millis(), horizon, writes);
                self.push(segment, *version, Answer { work, outcome: Ok(Some(commit)) }, &frame);
                if state.active.bytes() >= self.options.generation_bytes {
                    self.freeze();
                }
                return;
            }
            outcome => outcome,
        };
        let segment = state.active.segment();
        self.push(segment, *version, Answer { work, outcome }, &[]);
    }

    fn push(&self, segment: u64, version: u64, answer: Answer, frame: &[u8]) {
        let mut pending = self.pending.lock();
        if let Some(reason) = pending.failed.clone() {
            drop(pending);
            return answer.work.finish(Err(fault::refused(&reason)));
        }
        if pending.groups.back().is_none_or(|group| group.segment != segment) {
            pending.groups.push_back(Group { segment, frames: Vec::new(), version, answers: Vec::new() });
        }
        if let Some(group) = pending.groups.back_mut() {
            group.frames.extend_from_slice(frame);
            group.version = version;
            group.answers.push(answer);
        }
        pending.bytes += frame.len();
    }

    /// Below this nobody looks any more.
    fn horizon(&self) -> u64 {
        let views = self.views.lock();
        let durable = self.durable.load(Ordering::Acquire);
        views.first_key_value().map_or(durable, |(oldest, _)| durable.min(*oldest))
    }

    /// Begins a new generation if the engine is not too far behind; its segment begins with it.
    pub(crate) fn freeze(&self) {
        let mut state = self.state.write();
        if state.frozen.len() >= self.options.generations_max {
            return;
        }
        let active = Arc::new(Generation::new(state.active.segment() + 1));
        let frozen = [&[Arc::clone(&state.active)], &state.frozen[..]].concat();
        *state = Arc::new(State { active, frozen, engine: Arc::clone(&state.engine) });
        drop(state);
        self.frozen.notify_all();
    }

    /// The index thread asks for a generation that has not grown full.
    pub(crate) fn freeze_idle(&self) {
        let _turn = self.turn.lock();
        if self.state.read().active.last() != 0 {
            self.freeze();
        }
    }

    /// Whether neither the log nor the engine is too far behind.
    fn has_room(&self) -> bool {
        self.pending.lock().bytes <= PENDING_BYTES_MAX && !self.is_behind()
    }

    /// Waits while the log or the engine is too far behind.
    fn wait_for_room(&self) {
        let mut pending = self.pending.lock();
        while pending.bytes > PENDING_BYTES_MAX {
            self.appended.notify_one();
            let timed_out = self.drained.wait_for(&mut pending, Duration::from_millis(100)).timed_out();
            if timed_out && matches!(self.health(), Health::Failed(_)) {
                break; // nobody drains it any more
            }
        }
        drop(pending);
        let mut freezing = self.freezing.lock();
        while !freezing.abandoned && self.is_behind() && self.health() == Health::Serving {
            self.frozen.wait_for(&mut freezing, Duration::from_millis(100));
        }
    }

    fn is_behind(&self) -> bool {
        let state = self.state.read();
        state.frozen.len() >= self.options.generations_max && state.active.bytes() >= self.options.generation_bytes
    }

    /// What a client is told of a refusal: what an operator can mend is no secret.
    fn refused(&self, reason: &str) -> Fault {
        let fault = fault::refused(reason);
        match self.health() {
            Health::ReadOnly(_) => fault.telling(fault::told(reason)),
            Health::Serving | Health::Failed(_) => fault,
        }
    }

    /// Why writes cannot be taken now.
    fn refusal(&self) -> Option<String> {
        let now = self.env.monotonic();
        let mut believed = self.believed.lock();
        let fresh = believed.seen.is_some_and(|seen| now.since(seen) < ROOM_BELIEVED);
        if fresh && believed.times < ROOM_BELIEVED_MAX && self.condition.lock().health == Health::Serving {
            believed.times += 1;
            return None;
        }
        let refusal = self.looked_for_refusal();
        *believed = Believed { seen: refusal.is_none().then_some(now), times: 0 };
        refusal
    }

    fn looked_for_refusal(&self) -> Option<String> {
        let reason = match self.health() {
            Health::Failed(reason) => return Some(reason),
            Health::ReadOnly(_) if self.is_behind() => {
                "the engine cannot absorb more until the disk has room".to_owned()
            }
            _ => match self.disk.free_bytes() {
                Ok(free) if free >= self.options.disk_reserve_bytes => return None,
                Ok(free) => {
                    let reserve = self.options.disk_reserve_bytes >> 20;
                    format!("the disk is full ({} MiB left, {reserve} MiB are kept in reserve)", free >> 20)
                }
                Err(error) => format!("the disk cannot be asked for its free space: {error}"),
            },
        };
        self.set_health(Health::ReadOnly(reason.clone()));
        Some(reason)
    }

    // --- making them durable
    // ------------------------------------------------------------------------------------------

    /// The `store-log` thread.
    pub(crate) fn append(&self) {
        loop {
            {
                let mut pending = self.pending.lock();
                while pending.groups.is_empty() {
                    if pending.stopping {
                        return;
                    }
                    self.appended.wait(&mut pending);
                }
            }
            self.append_group();
        }
    }

    /// Makes the first group durable and answers it.
    fn append_group(&self) {
        let mut log = self.log.lock();
        let Some(group) = self.take_group() else { return };
        if !group.frames.is_empty() {
            let failed = match log.broken {
                Broken::ForGood => Some(AppendFailed::Unknown(io::Error::other("an earlier sync failed"))),
                Broken::Not | Broken::Now => self.write_group(&mut log, &group),
            };
            if let Some(failed) = failed {
                log.broken = Broken::Now;
                drop(log);
                return self.roll_back(group, failed);
            }
            // A rollback lowers versions, but never below what is durable.
            self.durable.fetch_max(group.version, Ordering::AcqRel);
            self.set_health(Health::Serving);
        }
        drop(log);
        for Answer { work, outcome } in group.answers {
            match outcome {
                Ok(commit) => {
                    if let Some(commit) = commit {
                        commit.complete(&self.waiters);
                    }
                    work.finish(Ok(()));
                }
                Err(fault) => work.finish(Err(fault)),
            }
        }
    }

    fn write_group(&self, log: &mut LogFile, group: &Group) -> Option<AppendFailed> {
        let mut bytes = Vec::with_capacity(group.frames.len() + 64);
        frame::encode_mark(&mut bytes, group.segment, self.durable.load(Ordering::Acquire));
        bytes.extend_from_slice(&group.frames);
        self.condition.lock().append_since = Some(self.env.monotonic());
        let result = log.append(group.segment, &bytes);
        self.condition.lock().append_since = None;
        result.err()
    }

    fn take_group(&self) -> Option<Group> {
        let mut pending = self.pending.lock();
        let group = pending.groups.pop_front()?;
        pending.bytes -= group.frames.len().min(pending.bytes);
        if !pending.groups.is_empty() {
            self.appended.notify_one();
        }
        if pending.bytes <= PENDING_BYTES_MAX {
            self.drained.notify_all();
        }
        Some(group)
    }

    /// An append failed: everything that is not durable is undone and reported, as if it had never run.
    fn roll_back(&self, group: Group, failed: AppendFailed) {
        let mut version = self.turn.lock();
        let mut log = self.log.lock();
        let lost: Vec<Group> = {
            let mut pending = self.pending.lock();
            pending.bytes = 0;
            std::iter::once(group).chain(pending.groups.drain(..)).collect()
        };
        let durable = self.durable.load(Ordering::Acquire);
        {
            let state = self.state.read();
            for generation in std::iter::once(&state.active).chain(&state.frozen) {
                generation.roll_back(durable);
            }
        }
        self.heads.clear();
        *version = durable;
        let (reason, health) = match &failed {
            AppendFailed::Clean(error) => {
                let reason = format!("the commit log cannot be written: {error}");
                (reason.clone(), Health::ReadOnly(reason))
            }
            AppendFailed::Unknown(error) => {
                let reason = format!("the commit log could not be synced: {error}");
                (reason.clone(), Health::Failed(reason))
            }
        };
        self.set_health(health);
        log.broken = if matches!(failed, AppendFailed::Unknown(_)) { Broken::ForGood } else { Broken::Not };
        drop((log, version));
        self.drained.notify_all();
        for answer in lost.into_iter().flat_map(|group| group.answers) {
            answer.work.finish(Err(fault::refused(&reason)));
        }
    }
}
