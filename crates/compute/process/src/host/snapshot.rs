//! Snapshots (SnapStart): a version is initialised once, its process is copied, and every environment of it is made like
//! the copy. The copying process is an environment like every other, behind the same walls; the copies are made in blank
//! seats, behind theirs. Nothing is left of the first when the copy is taken.
//!
//! Guarantees: one attempt of a name at a time, and who asks meanwhile waits for it; a snapshot counts only when a trial
//! process has come up from it; what is kept is bounded, and what had to make room is taken again when it is asked for.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt, unix::net::UnixStream},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base_env::Moment;
use base_types::{Fault, FaultKind};
use compute_api::{EnvironmentSpec, InitFailure, InstalledRuntime, Language, StartError, StartPolicy};
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use tokio::{io::AsyncReadExt, sync::watch};

use super::{
    ProcessHost, Purpose,
    seat::{self, Make, Refused, Shape},
    stage::Stage,
};
use crate::protocol::{Assignment, Reply, Run};

/// Images that are kept, and their bytes: the least recently used makes room.
const KEPT_MAX: usize = 128;
const KEPT_BYTES_MAX: u64 = 16 << 30;
/// How long a function that cannot be copied is not tried again.
const REFUSED_PAUSE: Duration = Duration::from_secs(600);
/// How long a copy may take to come up; it does a few hundred system calls.
const COME_UP: Duration = Duration::from_secs(5);
/// The word of a copy that has come up, as a frame.
const AWAKE: u8 = 18;
const FRAME_BYTES: usize = 9;
/// The argument that has the bootstrap stand still after its initialisation.
const ARGUMENT: &str = "snapshot";

/// What a process says of itself before it is copied.
#[derive(serde::Deserialize)]
struct Word {
    /// Where its thread keeps its own number.
    thread_id: u64,
    /// Why it cannot be copied, where it knows that itself.
    refused: Option<String>,
}

/// A copied process.
pub(super) struct Taken {
    image: OwnedFd,
    program: OwnedFd,
    /// What lay in `/tmp`, if anything did.
    packed: Option<OwnedFd>,
    bytes: u64,
    /// What is attached to each environment.
    assignment: Assignment,
    used: Mutex<Moment>,
}

/// Why there is none.
#[derive(Clone, Debug)]
enum Untaken {
    /// A lower-case fragment.
    Refused(String),
    Init(Box<InitFailure>),
    Host(String),
}

impl From<StartError> for Untaken {
    fn from(error: StartError) -> Self {
        match error {
            StartError::NoSnapshot { reason } => Self::Refused(reason),
            StartError::Init(failure) => Self::Init(failure),
            other => Self::Host(format!("{other:?}")),
        }
    }
}

impl From<Untaken> for StartError {
    fn from(untaken: Untaken) -> Self {
        match untaken {
            Untaken::Refused(reason) => Self::NoSnapshot { reason },
            Untaken::Init(failure) => Self::Init(failure),
            Untaken::Host(why) => {
                Self::Host(Fault::new(FaultKind::Internal, "take a snapshot").caused_by(io::Error::other(why)))
            }
        }
    }
}

type Made = Result<Arc<Taken>, Untaken>;

enum Slot {
    Making(watch::Receiver<Option<Made>>),
    There(Arc<Taken>),
    Refused { reason: String, since: Moment },
}

/// All snapshots of a host.
#[derive(Default)]
pub(super) struct Snapshots(Mutex<HashMap<Arc<str>, Slot>>);

impl Snapshots {
    fn get(&self, name: &str) -> Option<Arc<Taken>> {
        match self.0.lock().get(name) {
            Some(Slot::There(taken)) => Some(Arc::clone(taken)),
            _ => None,
        }
    }

    /// Keeps what came of an attempt, unless it was forgotten meanwhile. Answers the names that had to make room.
    fn keep(&self, name: &Arc<str>, made: &Made, now: Moment) -> Vec<Arc<str>> {
        let mut slots = self.0.lock();
        if !matches!(slots.get(name), Some(Slot::Making(_))) {
            return Vec::new();
        }
        let slot = match made {
            Ok(taken) => Slot::There(Arc::clone(taken)),
            Err(Untaken::Refused(reason)) => Slot::Refused { reason: reason.clone(), since: now },
            Err(Untaken::Init(_) | Untaken::Host(_)) => {
                slots.remove(name);
                return Vec::new();
            }
        };
        slots.insert(Arc::clone(name), slot);
        slots.retain(|_, slot| !matches!(slot, Slot::Refused { since, .. } if now.since(*since) > REFUSED_PAUSE));
        let mut there: Vec<(Moment, u64, Arc<str>)> = slots
            .iter()
            .filter_map(|(name, slot)| match slot {
                Slot::There(taken) => Some((*taken.used.lock(), taken.bytes, Arc::clone(name))),
                _ => None,
            })
            .collect();
        there.sort_by_key(|(used, ..)| *used);
        let (mut count, mut bytes) = (there.len(), there.iter().map(|(_, bytes, _)| bytes).sum::<u64>());
        let mut gone = Vec::new();
        for (_, size, other) in there {
            if count <= KEPT_MAX && bytes <= KEPT_BYTES_MAX {
                break;
            }
            if other != *name {
                slots.remove(&other);
                (count, bytes) = (count - 1, bytes - size);
                gone.push(other);
            }
        }
        gone
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl ProcessHost {
    /// The snapshot of this name, taken now if there is none.
    pub(super) async fn snapshot_of(
        &self,
        name: &Arc<str>,
        spec: &Arc<EnvironmentSpec>,
        runtime: &InstalledRuntime,
    ) -> Result<Arc<Taken>, StartError> {
        let now = self.0.env.monotonic();
        let mut making = {
            let mut slots = self.0.snapshots.0.lock();
            match slots.get(name) {
                Some(Slot::There(taken)) => {
                    *taken.used.lock() = now;
                    return Ok(Arc::clone(taken));
                }
                Some(Slot::Refused { reason, since }) if now.since(*since) < REFUSED_PAUSE => {
                    return Err(StartError::NoSnapshot { reason: reason.clone() });
                }
                Some(Slot::Making(making)) => making.clone(),
                Some(Slot::Refused { .. }) | None => {
                    let (sender, making) = watch::channel(None);
                    slots.insert(Arc::clone(name), Slot::Making(making.clone()));
                    let (host, name) = (self.clone(), Arc::clone(name));
                    let (spec, runtime) = (Arc::clone(spec), runtime.clone());
                    tokio::spawn(async move { host.make_snapshot(name, spec, runtime, sender).await });
                    making
                }
            }
        };
        let gone = || StartError::Host(Fault::new(FaultKind::Unavailable, "take a snapshot: the host ends"));
        let made = making.wait_for(Option::is_some).await.map_err(|_| gone())?.clone();
        made.ok_or_else(gone)?.map_err(StartError::from)
    }

    async fn make_snapshot(
        self,
        name: Arc<str>,
        spec: Arc<EnvironmentSpec>,
        runtime: InstalledRuntime,
        told: watch::Sender<Option<Made>>,
    ) {
        let taken = self.take(&spec, &runtime).await.map(Arc::new).map_err(Untaken::from);
        let shape = Shape { make: Make::Restored(Arc::clone(&name)), tmp_mib: spec.tmp_mib };
        let made = match taken {
            Ok(taken) => self.try_out(taken, &shape).await,
            Err(untaken) => Err(untaken),
        };
        match &made {
            Ok(taken) => tracing::debug!(function = spec.function_arn, bytes = taken.bytes, "a snapshot was taken"),
            Err(untaken) => tracing::info!(function = spec.function_arn, ?untaken, "there is no snapshot"),
        }
        let gone = self.0.snapshots.keep(&name, &made, self.0.env.monotonic());
        for name in gone {
            self.0.pool.forget_snapshot(&name);
        }
        told.send_replace(Some(made));
    }

    /// Initialises the function and copies its process.
    async fn take(&self, spec: &Arc<EnvironmentSpec>, runtime: &InstalledRuntime) -> Result<Taken, StartError> {
        let refuse = |reason: &str| Err(StartError::NoSnapshot { reason: reason.to_owned() });
        if runtime.language != Language::Python {
            return refuse("its runtime has no snapshots on this host");
        }
        if !self.0.forks_possible() {
            return refuse("snapshots need Pileus to run as root");
        }
        if spec.start == StartPolicy::Fresh {
            return refuse("it asks for processes of its own");
        }
        if Stage::has_external(spec) {
            return refuse("its extensions are processes of their own");
        }
        let place = self.admit()?;
        let blank = Shape { make: Make::Blank, tmp_mib: spec.tmp_mib };
        let mut assignment = seat::assignment(spec, runtime, &blank);
        let (seat, origin) = self.seat(blank, runtime).await?;
        let id = seat.room.id;
        let entered = self.enter(spec, runtime, (seat, origin, place), Purpose::Snapshot).await?;
        let (environment, word) = entered.until_snapshot().await?;
        let word: Word = match serde_json::from_slice(&word) {
            Ok(word) => word,
            Err(_) => return refuse("its runtime does not say what it is"),
        };
        if let Some(reason) = word.refused {
            return Err(StartError::NoSnapshot { reason: reason.chars().take(200).collect() });
        }
        let fault = |error: io::Error| Fault::internal("make the files of a snapshot", error);
        let draft = |what| self.draft(what).map_err(fault);
        let (image, program, packed) = (draft("image")?, draft("program")?, draft("tmp")?);
        let path = image.path.display().to_string();
        let copy = |draft: &Draft| draft.file.try_clone().map(OwnedFd::from).map_err(fault);
        let files: [OwnedFd; 3] = [copy(&image)?, copy(&program)?, copy(&packed)?];
        let answer = self.0.link.copy(id, word.thread_id, path, &files).await?;
        // The first process ends here, whatever came of it.
        drop(environment);
        let (bytes, image) = match answer {
            (Reply::Copied { refused: Some(reason), .. }, _) => return Err(StartError::NoSnapshot { reason }),
            (Reply::Copied { bytes, .. }, mut images) if images.len() == 1 => (bytes, images.remove(0)),
            (Reply::Failed { stage, errno, .. }, _) => return Err(super::launcher_fault(&stage, errno).into()),
            _ => return Err(Fault::new(FaultKind::Internal, "take a snapshot: a confused answer").into()),
        };
        let program = executable(&program.file).map_err(fault)?;
        let packed = packed.reading().map_err(fault)?;
        assignment.run = Some(Run {
            programs: Vec::new(),
            arguments: vec![spec.runtime.clone()],
            variables: Vec::new(),
            channel: true,
            restore: true,
        });
        let used = Mutex::new(self.0.env.monotonic());
        Ok(Taken { image, program, packed, bytes, assignment, used })
    }

    /// Brings one process up from what was taken, and keeps it for the first who asks.
    async fn try_out(&self, taken: Arc<Taken>, shape: &Shape) -> Result<Arc<Taken>, Untaken> {
        let blank = Shape { make: Make::Blank, tmp_mib: shape.tmp_mib };
        let failed = |refused: Refused| Untaken::Refused(format!("a trial did not come up: {refused:?}"));
        let mut seat = self.make_seat(&blank, None).await.map_err(failed)?;
        self.bring_up(seat.room.id, &taken, &seat.channel).await.map_err(failed)?;
        seat.shape = shape.clone();
        self.0.pool.expect(shape, self.0.env.monotonic());
        self.0.pool.put(shape, Some(seat));
        Ok(taken)
    }

    /// Has a blank process become a copy of the initialised one.
    pub(super) async fn restore(&self, id: u64, name: &str, channel: &UnixStream) -> Result<(), Refused> {
        let gone = || Refused::Step { stage: "snapshot".to_owned(), errno: libc::ESRCH };
        let taken = self.0.snapshots.get(name).ok_or_else(gone)?;
        self.bring_up(id, &taken, channel).await
    }

    async fn bring_up(&self, id: u64, taken: &Taken, channel: &UnixStream) -> Result<(), Refused> {
        let fault = |error: io::Error| Refused::from(Fault::internal("hand over a snapshot", error));
        let files = [&taken.program, &taken.image].into_iter().chain(&taken.packed);
        let copies = files.map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>().map_err(fault)?;
        match self.0.link.restore(id, taken.assignment.clone(), &copies).await? {
            Reply::Assigned { .. } => {}
            Reply::Failed { stage, errno, .. } => return Err(Refused::Step { stage, errno }),
            _ => return Err(Fault::new(FaultKind::Internal, "restore a process: a confused answer").into()),
        }
        channel.set_nonblocking(true).map_err(fault)?;
        let heard = channel.try_clone().and_then(tokio::net::UnixStream::from_std).map_err(fault)?;
        let mut frame = [0; FRAME_BYTES];
        let asleep = |errno| Refused::Step { stage: "restoring".to_owned(), errno };
        let mut heard = heard;
        match self.0.env.timeout(COME_UP, heard.read_exact(&mut frame)).await {
            Ok(Ok(_)) if frame[4] == AWAKE => Ok(()),
            Ok(_) => Err(asleep(libc::ECHILD)),
            Err(_) => Err(asleep(libc::ETIMEDOUT)),
        }
    }

    /// A new file in the host's folder.
    fn draft(&self, what: &str) -> io::Result<Draft> {
        let number = self.0.id_next.fetch_add(1, Ordering::Relaxed);
        let path = std::path::absolute(self.0.settings.state.join(format!("snapshot-{number}.{what}")))?;
        let file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok(Draft { file, path })
    }

    /// Ends what is kept of a name.
    pub(super) fn forget(&self, name: &str) {
        let Some((name, _)) = self.0.snapshots.0.lock().remove_entry(name) else { return };
        self.0.pool.forget_snapshot(&name);
    }
}

/// A file that loses its name when it is done: what holds it open keeps it, and nothing is left of it otherwise.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    /// The file to be read, if something was written.
    fn reading(&self) -> io::Result<Option<OwnedFd>> {
        Ok(if self.file.metadata()?.len() == 0 { None } else { Some(File::open(&self.path)?.into()) })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// A program in memory that can be executed wherever a descriptor of it is: no path leads to it in a sandbox.
fn executable(written: &File) -> io::Result<OwnedFd> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut &*written, &mut bytes)?;
    let memory = rustix::fs::memfd_create("restored", MemfdFlags::CLOEXEC)?;
    let mut memory = File::from(memory);
    memory.write_all(&bytes)?;
    // As long as it can be written it is not executed.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory));
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The argument of a bootstrap that is to be copied, last.
pub(super) fn stand_still(run: &mut Run) {
    run.arguments.push(ARGUMENT.to_owned());
}
