//! What the writer, maintenance and readers share: the list of memtables and segments, replaced as a whole.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use base_types::Timestamp;
use parking_lot::{Condvar, Mutex, RwLock};
use zstd::bulk::Decompressor;

use crate::{
    SegmentsError, Settings,
    memtable::Memtable,
    segment::Segment,
    types::{Activity, GroupId, Position, StreamId},
};

pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) settings: Settings,
    state: RwLock<Arc<State>>,
    next_id: AtomicU64,
    /// Why the frozen memtable could not be sealed, if so.
    seal_failure: Mutex<Option<SegmentsError>>,
    seal_progress: Condvar,
    closing: AtomicBool,
    /// How many copies of the directory are being made. Locked while files are removed.
    holds: Mutex<usize>,
}

/// What exists at one moment. Each event is in exactly one place.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) active: Arc<Memtable>,
    pub(crate) frozen: Option<Arc<Memtable>>,
    /// Oldest first.
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl Shared {
    pub(crate) fn new(directory: PathBuf, settings: Settings, state: State, next_id: u64) -> Self {
        Self {
            directory,
            settings,
            state: RwLock::new(Arc::new(state)),
            next_id: AtomicU64::new(next_id),
            seal_failure: Mutex::new(None),
            seal_progress: Condvar::new(),
            closing: AtomicBool::new(false),
            holds: Mutex::new(0),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(Arc::make_mut(&mut self.state.write()))
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// From when this returns until [`Shared::release_files`] no file is removed.
    pub(crate) fn hold_files(&self) {
        *self.holds.lock() += 1;
    }

    pub(crate) fn release_files(&self) {
        *self.holds.lock() -= 1;
    }

    pub(crate) fn are_files_held(&self) -> bool {
        *self.holds.lock() > 0
    }

    /// Runs `remove` unless files are held; `None` if they are.
    pub(crate) fn unless_held<R>(&self, remove: impl FnOnce() -> R) -> Option<R> {
        let holds = self.holds.lock();
        (*holds == 0).then(remove)
    }

    /// Maintenance tells how sealing went.
    pub(crate) fn sealed(&self, failure: Option<SegmentsError>) {
        *self.seal_failure.lock() = failure;
        self.seal_progress.notify_all();
    }

    /// Waits until no memtable is frozen; fails when sealing fails.
    pub(crate) fn wait_until_sealed(&self) -> Result<(), SegmentsError> {
        let mut failure = self.seal_failure.lock();
        loop {
            if self.state.read().frozen.is_none() {
                return Ok(());
            }
            if let Some(error) = &*failure {
                return Err(error.clone());
            }
            self.seal_progress.wait(&mut failure);
        }
    }
}

impl State {
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        self.frozen.iter().chain([&self.active])
    }

    pub(crate) fn recent_activity(&self, stream: StreamId) -> Option<Activity> {
        self.memtables().filter_map(|memtable| memtable.activity(stream)).reduce(Activity::merge)
    }

    pub(crate) fn activity_since(&self, sequence: u64) -> Result<(Vec<(StreamId, Activity)>, u64), SegmentsError> {
        let last = self.memtables().filter_map(|memtable| memtable.sequences().map(|(_, last)| last));
        let last = last.chain(self.segments.iter().map(|segment| segment.last_sequence)).max();
        // A number from before the directory was lost says nothing of what is in this one.
        let sequence = if last.is_some_and(|last| sequence <= last + 1) { sequence } else { 0 };
        let mut activities: HashMap<StreamId, Activity> = HashMap::new();
        let mut next = sequence;
        let mut tell = |stream, activity: Activity| {
            activities.entry(stream).and_modify(|known| *known = known.merge(activity)).or_insert(activity);
        };
        for segment in self.segments.iter().filter(|segment| segment.last_sequence >= sequence) {
            segment_activity(segment, &mut tell)?;
            next = next.max(segment.last_sequence + 1);
        }
        for memtable in self.memtables() {
            if let Some((_, last)) = memtable.sequences().filter(|&(_, last)| last >= sequence) {
                memtable.activities().into_iter().for_each(|(stream, activity)| tell(stream, activity));
                next = next.max(last + 1);
            }
        }
        Ok((activities.into_iter().collect(), next))
    }

    pub(crate) fn group_bytes(&self, group: GroupId) -> Result<u64, SegmentsError> {
        let mut bytes: u64 = self.memtables().map(|memtable| memtable.group_bytes(group)).sum();
        for segment in &self.segments {
            let start = segment.partition_point(|entry| entry.group < group)?;
            for index in start..segment.entry_count {
                let entry = segment.entry(index)?;
                if entry.group != group {
                    break;
                }
                bytes += u64::from(entry.text_bytes);
            }
        }
        Ok(bytes)
    }

    pub(crate) fn bytes_by_group(&self) -> Result<HashMap<GroupId, u64>, SegmentsError> {
        let mut bytes = HashMap::new();
        for memtable in self.memtables() {
            memtable.add_bytes(&mut bytes);
        }
        for segment in &self.segments {
            for index in 0..segment.entry_count {
                match segment.entry(index) {
                    Ok(entry) => *bytes.entry(entry.group).or_default() += u64::from(entry.text_bytes),
                    Err(error @ SegmentsError::Damaged { .. }) => {
                        tracing::error!(%error, "a block of log events is not counted");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(bytes)
    }
}

fn segment_activity(segment: &Segment, tell: &mut impl FnMut(StreamId, Activity)) -> Result<(), SegmentsError> {
    let mut zstd = Decompressor::new().map_err(|source| SegmentsError::io("decompress", &segment.path, source))?;
    for index in 0..segment.entry_count {
        let entry = segment.entry(index)?;
        let block = match segment.block(&entry, &mut zstd) {
            Err(error @ SegmentsError::Damaged { .. }) => {
                tracing::error!(%error, "a block of log events is passed over");
                continue;
            }
            other => other?,
        };
        for event in (0..block.len()).filter_map(|index| block.event(index)) {
            let Position { timestamp, .. } = event.position;
            let timestamp = Timestamp::from_millis(timestamp);
            let (first_event, last_event, last_ingestion) = (timestamp, timestamp, event.ingestion);
            tell(event.stream, Activity { group: entry.group, first_event, last_event, last_ingestion });
        }
    }
    Ok(())
}
