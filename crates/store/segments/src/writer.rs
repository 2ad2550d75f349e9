//! The writer thread: takes appends from everybody, writes them together, syncs once for all who wait, then shows them.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use base_env::{Env, Moment};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    SegmentsError,
    journal::{self, Journal},
    maintenance::Task,
    memtable::Memtable,
    shared::Shared,
    types::{Batch, Durability},
};

/// How long what was appended as buffered may stay unsynced.
const SYNC_DELAY: Duration = Duration::from_secs(1);
/// When this much has been gathered for one write, it is written.
const WRITE_BYTES: usize = 1 << 20;

/// A smaller memtable is not sealed at a clean stop: replaying it takes no time.
const SEAL_AT_CLOSE_BYTES: usize = 256 << 10;

pub(crate) type Reply = oneshot::Sender<Result<(), SegmentsError>>;

pub(crate) enum Command {
    Append {
        batch: Batch,
        durability: Durability,
        reply: Reply,
        _permit: OwnedSemaphorePermit,
    },
    Sync {
        reply: Reply,
    },
    /// Hands the active memtable to maintenance, so that it soon is a segment.
    Rotate {
        reply: Reply,
    },
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    journal: Journal,
    next_sequence: u64,
    tasks: Sender<Task>,
    env: Env,
    /// When the oldest unsynced frame must be on disk.
    sync_due: Option<Moment>,
    /// The journal's state on disk is unknown: no further frame may go into it.
    poisoned: bool,
    frames: Vec<u8>,
}

/// Appends that are written together.
#[derive(Default)]
struct Gathered {
    appends: Vec<(Batch, Reply, OwnedSemaphorePermit)>,
    bytes: usize,
    sync: bool,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (journal, next_sequence): (Journal, u64),
        tasks: Sender<Task>,
        env: Env,
    ) -> Self {
        Self { shared, journal, next_sequence, tasks, env, sync_due: None, poisoned: false, frames: Vec::new() }
    }

    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let received = match self.sync_due {
                Some(due) => commands.recv_timeout(due.since(self.env.monotonic()).min(SYNC_DELAY)),
                None => commands.recv().map_err(RecvTimeoutError::from),
            };
            match received {
                Ok(command) => {
                    self.gather(&command);
                    self.take(command, commands);
                }
                Err(RecvTimeoutError::Timeout) => self.sync_and_log(),
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            if self.sync_due.is_some_and(|due| due <= self.env.monotonic()) {
                self.sync_and_log();
            }
        }
    }

    /// Lets further appends come, so that they are written together. Whoever must not wait unparks the thread; one who
    /// did before this began makes it return at once.
    fn gather(&self, first: &Command) {
        let gather = self.shared.settings.gather;
        if let Command::Append { durability: Durability::Buffered, .. } = first
            && !gather.is_zero()
        {
            std::thread::park_timeout(gather);
        }
    }

    /// Leaves everything on disk and, unless it is little, in a segment: then the next start has nothing to replay.
    fn close(mut self) {
        self.sync_and_log();
        if self.shared.snapshot().active.bytes() > SEAL_AT_CLOSE_BYTES
            && let Err(error) = self.rotate()
        {
            tracing::warn!(%error, "log events stay in the journal; the next start replays it");
        }
    }

    /// Serves a command together with the appends that wait behind it.
    fn take(&mut self, command: Command, commands: &Receiver<Command>) {
        let mut gathered = Gathered::default();
        let mut next = Some(command);
        while let Some(command) = next.take() {
            match command {
                Command::Append { batch, durability, reply, _permit } => {
                    gathered.bytes += batch.bytes();
                    gathered.sync |= durability == Durability::Synced;
                    gathered.appends.push((batch, reply, _permit));
                }
                Command::Sync { reply } => {
                    self.write(std::mem::take(&mut gathered));
                    answer(reply, self.sync());
                }
                Command::Rotate { reply } => {
                    self.write(std::mem::take(&mut gathered));
                    let rotated = if self.shared.snapshot().active.is_empty() { Ok(()) } else { self.rotate() };
                    answer(reply, rotated);
                }
            }
            if gathered.bytes < WRITE_BYTES {
                next = commands.try_recv().ok();
            }
        }
        self.write(gathered);
    }

    fn write(&mut self, gathered: Gathered) {
        if gathered.appends.is_empty() {
            return;
        }
        let written = self.write_frames(&gathered);
        let (mut batches, mut replies) = (Vec::new(), Vec::new());
        for (batch, reply, permit) in gathered.appends {
            batches.push(batch);
            replies.push((reply, permit));
        }
        let outcome = written.map(|sequences| {
            self.shared.snapshot().active.insert(batches.into_iter().zip(sequences));
        });
        for (reply, permit) in replies {
            drop(permit);
            answer(reply, outcome.clone());
        }
    }

    /// Puts all batches into the journal; returns the first sequence number of each.
    fn write_frames(&mut self, gathered: &Gathered) -> Result<Vec<u64>, SegmentsError> {
        let full = self.shared.snapshot().active.bytes() >= self.shared.settings.memtable_bytes;
        if full || self.poisoned {
            self.rotate()?;
        }
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        let mut sequences = Vec::with_capacity(gathered.appends.len());
        for (batch, ..) in &gathered.appends {
            sequences.push(self.next_sequence);
            journal::put_frame(&mut frames, batch, self.next_sequence);
            // Numbers of a failed write are not used again.
            self.next_sequence += batch.events.len() as u64;
        }
        let written = self.journal.write(&frames);
        frames.shrink_to(WRITE_BYTES);
        self.frames = frames;
        if let Err(failed) = written {
            self.poisoned = !failed.intact;
            return Err(failed.error);
        }
        self.sync_due.get_or_insert(self.env.monotonic() + SYNC_DELAY);
        if gathered.sync {
            self.sync()?;
        }
        Ok(sequences)
    }

    fn sync(&mut self) -> Result<(), SegmentsError> {
        if self.sync_due.is_none() {
            return Ok(());
        }
        if self.poisoned {
            // What is in memory becomes a segment, which is synced by itself.
            self.rotate()?;
            return self.shared.wait_until_sealed();
        }
        // After a failed sync the kernel may have dropped the pages: never trust this file again.
        self.journal.sync().inspect_err(|_| self.poisoned = true)?;
        self.sync_due = None;
        Ok(())
    }

    fn sync_and_log(&mut self) {
        if let Err(error) = self.sync() {
            self.sync_due = Some(self.env.monotonic() + SYNC_DELAY);
            tracing::error!(%error, "buffered log events could not be synced; trying again");
        }
    }

    /// Starts a new journal and memtable; the old ones become a segment. Waits when the ones before are not sealed yet.
    fn rotate(&mut self) -> Result<(), SegmentsError> {
        self.shared.wait_until_sealed()?;
        if !self.poisoned {
            self.sync()?;
        }
        let journal = Journal::create(&self.shared.directory, self.shared.next_id(), self.next_sequence)?;
        let fresh = Arc::new(Memtable::new(journal.id));
        self.shared.update(|state| {
            state.frozen = Some(std::mem::replace(&mut state.active, fresh));
        });
        self.journal = journal;
        (self.poisoned, self.sync_due) = (false, None);
        self.tasks.send(Task::Seal).map_err(|_| SegmentsError::Closed)
    }
}

/// Who gave up waiting is not told.
fn answer(reply: Reply, outcome: Result<(), SegmentsError>) {
    drop(reply.send(outcome));
}
