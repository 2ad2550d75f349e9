//! Compressed append-only segments for log events.
//!
//! An event belongs to a *group* and to one *stream* of it, and has a *position*: its timestamp and the sequence number it
//! got when it was appended. Within a group events are ordered by position, whatever their stream. The room knows ids only;
//! names, existence and retention belong to whoever calls it.
//!
//! # How it works
//! - `writer`: one thread takes appends from all callers, writes them as checksummed frames to the *journal* with one
//!   fsync for all who wait for it (group commit), then shows them in the *memtable*, where readers find them at once.
//!   Events appended as [`Durability::Buffered`] are synced at most a second later.
//! - `maintenance`: a second thread *seals* a full memtable into a sorted, compressed *segment* with an index, merges small
//!   segments into larger ones, and rewrites or drops segments whose events are dead. The journal goes when its segment is
//!   durable; a segment's trailer names the files it replaces, so a crash between the two is harmless.
//! - `scan`: readers merge memtables and segments lazily, in either direction, while writing goes on.
//!
//! # Guarantees
//! - An acknowledged durable append is there exactly once after `kill -9` or power loss; one append is all or nothing.
//! - A torn tail of the journal is cut off at open; damaged bytes are noticed by checksum and never returned as events.
//! - Opening replays at most the journals (a few MiB) and reads one trailer per segment.
//! - A full disk fails appends with [`SegmentsError::DiskFull`]; nothing written before is harmed, and appending works again
//!   when there is space.
//! - Memory: two memtables of [`Settings::memtable_bytes`], [`Settings::inflight_bytes`] of waiting appends, and one block per
//!   segment that a reader is in the middle of. Callers of [`Segments::append`] wait when that is used up.

mod block;
mod codec;
mod error;
mod files;
mod journal;
mod maintenance;
mod memtable;
mod recovery;
mod scan;
mod segment;
mod shared;
mod types;
mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    thread::{JoinHandle, Thread},
};

use base_env::Env;
pub use error::SegmentsError;
use parking_lot::Mutex;
pub use recovery::Recovery;
pub use scan::{Found, Scan};
use shared::Shared;
use tokio::sync::{Semaphore, oneshot};
pub use types::{
    Activity, Batch, Direction, Durability, Entry, Event, GroupId, Position, Query, Reclaim, Reclaimed, Settings,
    StreamId, Streams,
};
use writer::Command;

/// The writer gathers no longer when this part of the room for appends is used.
const HURRY_SHARE: usize = 32;

/// The log events of one data directory; cheap to clone. The last clone dropped syncs what is buffered and ends the threads.
#[derive(Clone)]
pub struct Segments(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    commands: Option<std::sync::mpsc::Sender<Command>>,
    tasks: Option<std::sync::mpsc::Sender<maintenance::Task>>,
    inflight: Arc<Semaphore>,
    /// When fewer bytes than this may still come under way, the writer is not to gather.
    hurry_below: usize,
    /// The writer, to be woken when it gathers and should not.
    writer: Thread,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Segments {
    /// Opens (or creates) the segments in `directory` and starts the two threads. Blocking: a journal of at most a few MiB
    /// is replayed. The caller sees to it that only one process has the directory open.
    ///
    /// # Errors
    /// When the directory cannot be used or was written by a newer version.
    pub fn open(directory: &Path, settings: Settings, env: Env) -> Result<(Self, Recovery), SegmentsError> {
        let (shared, journal, report) = recovery::open(directory, settings)?;
        let shared = Arc::new(shared);
        let (tasks, task_queue) = std::sync::mpsc::channel();
        let (commands, command_queue) = std::sync::mpsc::channel();
        let io = |source| SegmentsError::io("start a thread for", directory, source);
        let maintenance = std::thread::Builder::new()
            .name("segments-maintenance".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || maintenance::run(&shared, &task_queue)
            })
            .map_err(io)?;
        let writer = writer::Writer::new(Arc::clone(&shared), journal, tasks.clone(), env);
        let writer = std::thread::Builder::new()
            .name("segments-writer".to_owned())
            .spawn(move || writer.run(&command_queue))
            .map_err(io)?;
        let inflight = Arc::new(Semaphore::new(shared.settings.inflight_bytes));
        let hurry_below = shared.settings.inflight_bytes - shared.settings.inflight_bytes / HURRY_SHARE;
        let handle = Handle {
            shared,
            commands: Some(commands),
            tasks: Some(tasks),
            inflight,
            hurry_below,
            writer: writer.thread().clone(),
            // In the order in which they end: the writer hands its last work to maintenance.
            threads: Mutex::new(vec![writer, maintenance]),
        };
        Ok((Self(Arc::new(handle)), report))
    }

    /// Appends one batch, all or nothing. Resolves when the events are visible to readers, and on disk if `durability` says
    /// so. Waits while too many bytes are under way: that is the back-pressure a flood feels.
    ///
    /// Dropping the future does not undo an append that was already handed over.
    ///
    /// # Errors
    /// [`SegmentsError::TooLarge`] for a batch beyond [`Settings::batch_bytes`]; [`SegmentsError::DiskFull`] or another
    /// failure of the disk, after which none of the batch is visible.
    pub async fn append(&self, batch: Batch, durability: Durability) -> Result<(), SegmentsError> {
        let (bytes, max) = (batch.bytes(), self.0.shared.settings.batch_bytes);
        if bytes > max {
            return Err(SegmentsError::TooLarge { bytes, max });
        }
        if batch.events.is_empty() {
            return Ok(());
        }
        let permits = u32::try_from(bytes.min(self.0.shared.settings.inflight_bytes)).unwrap_or(u32::MAX);
        let permit =
            Arc::clone(&self.0.inflight).acquire_many_owned(permits).await.map_err(|_| SegmentsError::Closed)?;
        let (reply, answer) = oneshot::channel();
        // What waits already is enough for one write, or must not wait: the writer gathers no longer.
        let hurried = durability == Durability::Synced || self.0.inflight.available_permits() < self.0.hurry_below;
        let commands = self.0.commands.as_ref().ok_or(SegmentsError::Closed)?;
        let command = Command::Append { batch, durability, reply, _permit: permit };
        commands.send(command).map_err(|_| SegmentsError::Closed)?;
        if hurried {
            self.0.writer.unpark();
        }
        answer.await.map_err(|_| SegmentsError::Closed)?
    }

    /// Puts on disk what was appended as [`Durability::Buffered`].
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sync(&self) -> Result<(), SegmentsError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Sync { reply })?;
        answer.await.map_err(|_| SegmentsError::Closed)?
    }

    /// Reads events in the order of their positions. The iterator blocks on the disk: use it where that is allowed.
    #[must_use]
    pub fn scan(&self, query: Query) -> Scan {
        Scan::new(self.0.shared.snapshot(), query)
    }

    /// How far back and forth each stream reaches that got events after `sequence`, and the sequence to ask with next time.
    /// What is told may repeat what was told before (it is idempotent: minima and maxima). Blocking.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn activity_since(&self, sequence: u64) -> Result<(Vec<(StreamId, Activity)>, u64), SegmentsError> {
        self.0.shared.snapshot().activity_since(sequence)
    }

    /// How far a stream's events that are still in memory reach.
    #[must_use]
    pub fn recent_activity(&self, stream: StreamId) -> Option<Activity> {
        self.0.shared.snapshot().recent_activity(stream)
    }

    /// The bytes of the messages kept for a group, before compression. Blocking, cheap: it reads indexes only.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn group_bytes(&self, group: GroupId) -> Result<u64, SegmentsError> {
        self.0.shared.snapshot().group_bytes(group)
    }

    /// As [`Segments::group_bytes`], for all groups that have events. Blocking; it reads every index.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn bytes_by_group(&self) -> Result<HashMap<GroupId, u64>, SegmentsError> {
        self.0.shared.snapshot().bytes_by_group()
    }

    /// Frees the space of events that are dead. When it returns, nothing of the dead groups and streams is left on disk;
    /// events past their group's cut-off may stay as long as they share a segment with younger ones: readers must start at
    /// the cut-off themselves.
    ///
    /// # Errors
    /// When the disk fails: asking again goes on where it stopped. [`SegmentsError::Held`] while a copy is made.
    pub async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed, SegmentsError> {
        if !reclaim.groups.is_empty() || !reclaim.streams.is_empty() {
            let (reply, answer) = oneshot::channel();
            self.command(Command::Rotate { reply })?;
            answer.await.map_err(|_| SegmentsError::Closed)??;
        }
        let (reply, answer) = oneshot::channel();
        let task = maintenance::Task::Reclaim { reclaim, reply };
        let tasks = self.0.tasks.as_ref().ok_or(SegmentsError::Closed)?;
        tasks.send(task).map_err(|_| SegmentsError::Closed)?;
        answer.await.map_err(|_| SegmentsError::Closed)?
    }

    /// Keeps every file of the directory until the guard is dropped, so that the directory can be copied file by file while
    /// appending goes on. A copy made under it, opened, has every event that was visible when this returned, once.
    ///
    /// Nothing is reclaimed meanwhile, and what is sealed or merged takes space twice: hold it no longer than the copy takes.
    #[must_use]
    pub fn hold_files(&self) -> FilesHeld {
        self.0.shared.hold_files();
        FilesHeld(self.clone())
    }

    fn command(&self, command: Command) -> Result<(), SegmentsError> {
        let commands = self.0.commands.as_ref().ok_or(SegmentsError::Closed)?;
        commands.send(command).map_err(|_| SegmentsError::Closed)?;
        self.0.writer.unpark();
        Ok(())
    }
}

/// While it lives, no file is removed. See [`Segments::hold_files`].
#[derive(Debug)]
pub struct FilesHeld(Segments);

impl Drop for FilesHeld {
    fn drop(&mut self) {
        let handle = &self.0.0;
        handle.shared.release_files();
        // What was to be removed meanwhile is removed now; when everything is closing, the next start does it.
        if let Some(tasks) = &handle.tasks {
            drop(tasks.send(maintenance::Task::Seal));
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_closing();
        self.commands = None;
        self.tasks = None;
        self.writer.unpark();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log segments panicked");
            }
        }
    }
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segments").field("directory", &self.0.shared.directory).finish_non_exhaustive()
    }
}
