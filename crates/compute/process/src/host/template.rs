//! Templates of Python runtimes: one per account and runtime, started when first needed, replaced when it is old or has
//! been forked often, ended when it has not been used for long. A template that is not there, or dies, costs a start its
//! speed and nothing else.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base_env::Moment;
use base_types::{AccountId, Fault, FaultKind};
use compute_api::{EnvironmentSpec, InstalledRuntime, Language};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{ProcessHost, Room, launcher_fault, seat::python_arguments};
use crate::{
    protocol::{End, Reply, Template},
    runtimes::{self, Interpreter},
    variables,
};

/// A template is replaced after this long …
const AGE_MAX: Duration = Duration::from_secs(3600);
/// … or after this many forks: what is shared is not shared for ever.
const FORKS_MAX: u64 = 10_000;
/// A template that nobody forked for this long ends.
const IDLE_MAX: Duration = Duration::from_secs(900);
/// How long no new attempt is made after a failed one.
const FAILED_PAUSE: Duration = Duration::from_secs(60);
/// Starts that are not made to wait for a template that boots.
const IMPATIENT: usize = 2;
/// How long the others wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Folders whose names are remembered.
const FOLDERS_MAX: usize = 4096;

/// Whose forks: functions of one account and runtime.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Forks {
    pub(super) account: AccountId,
    pub(super) runtime: String,
}

/// A template that can be forked.
pub(super) struct Booted {
    room: Room,
    ended: watch::Receiver<Option<End>>,
    /// The top-level names that are imported in it.
    modules: HashSet<String>,
    forks: AtomicU64,
    since: Moment,
    used: Mutex<Moment>,
}

impl Booted {
    fn is_alive(&self) -> bool {
        self.ended.borrow().is_none()
    }
}

/// All templates of a host.
#[derive(Default)]
pub(super) struct Templates {
    slots: Mutex<HashMap<Forks, Slot>>,
    folders: Mutex<HashMap<PathBuf, Arc<HashSet<String>>>>,
}

#[derive(Default)]
struct Slot {
    booted: Option<Arc<Booted>>,
    /// Told when the attempt that runs has come to an end.
    booting: Option<watch::Receiver<bool>>,
    failed: Option<Moment>,
    waiting: usize,
}

impl ProcessHost {
    /// The template for these forks, if it is worth waiting for.
    pub(super) async fn template(&self, forks: &Forks, runtime: &InstalledRuntime) -> Option<Arc<Booted>> {
        if !self.0.forks_possible() {
            return None;
        }
        let mut booting = {
            let mut slots = self.0.templates.slots.lock();
            let slot = slots.entry(forks.clone()).or_default();
            let booted = self.look_at(slot, forks, runtime);
            if booted.is_some() || slot.waiting < IMPATIENT {
                slot.waiting += usize::from(booted.is_none());
                return booted;
            }
            slot.booting.clone()?
        };
        // An error means that the attempt is over, too.
        drop(self.0.env.timeout(PATIENCE, booting.wait_for(|done| *done)).await);
        self.0.templates.slots.lock().get(forks)?.booted.clone()
    }

    /// Whether there is a template for these forks now; begins one if not.
    pub(super) fn has_template(&self, forks: &Forks, runtime: &InstalledRuntime) -> bool {
        if !self.0.forks_possible() {
            return false;
        }
        let mut slots = self.0.templates.slots.lock();
        let slot = slots.entry(forks.clone()).or_default();
        self.look_at(slot, forks, runtime).is_some()
    }

    /// What lives in a slot; begins to boot another one where it is missing or due to be replaced.
    fn look_at(&self, slot: &mut Slot, forks: &Forks, runtime: &InstalledRuntime) -> Option<Arc<Booted>> {
        let now = self.0.env.monotonic();
        if slot.booted.as_ref().is_some_and(|booted| !booted.is_alive()) {
            slot.booted = None;
        }
        let booted = slot.booted.clone();
        let old = booted
            .as_ref()
            .is_none_or(|booted| now.since(booted.since) > AGE_MAX || booted.forks.load(Ordering::Relaxed) > FORKS_MAX);
        let paused = slot.failed.is_some_and(|failed| now.since(failed) < FAILED_PAUSE);
        if old && slot.booting.is_none() && !paused {
            let (done, booting) = watch::channel(false);
            slot.booting = Some(booting);
            tokio::spawn(self.clone().boot(forks.clone(), runtime.clone(), done));
        }
        booted
    }

    /// Boots a template and puts it into its slot.
    async fn boot(self, forks: Forks, runtime: InstalledRuntime, done: watch::Sender<bool>) {
        let booted = self.boot_one(&runtime).await;
        let mut slots = self.0.templates.slots.lock();
        let slot = slots.entry(forks.clone()).or_default();
        slot.booting = None;
        slot.waiting = 0;
        match booted {
            Ok(booted) => {
                slot.failed = None;
                slot.booted = Some(Arc::new(booted));
            }
            Err(error) => {
                tracing::warn!(?error, ?forks, "no template of this runtime could be started");
                slot.failed = Some(self.0.env.monotonic());
            }
        }
        drop(slots);
        done.send_replace(true);
        self.0.pool.look_again();
    }

    async fn boot_one(&self, runtime: &InstalledRuntime) -> Result<Booted, Fault> {
        let Interpreter::Installed { program, prefix, .. } = runtimes::interpreter(runtime) else {
            return Err(Fault::new(FaultKind::Internal, "start a template: the runtime has no interpreter"));
        };
        let (room, _) = self.make_shell().await?;
        let ended = self.0.link.ended(room.id);
        let mut arguments = python_arguments(&program);
        arguments.push("template".to_owned());
        let variables = variables::before_assignment(&runtime.name, Language::Python);
        let template = Template { language: prefix, program, arguments, variables };
        match self.0.link.template(room.id, template).await? {
            Reply::TemplateReady { modules, .. } => {
                let now = self.0.env.monotonic();
                Ok(Booted {
                    room,
                    ended,
                    modules: modules.into_iter().collect(),
                    forks: AtomicU64::new(0),
                    since: now,
                    used: Mutex::new(now),
                })
            }
            Reply::Failed { stage, errno, .. } => Err(launcher_fault(&stage, errno)),
            _ => Err(Fault::new(FaultKind::Internal, "start a template: a confused answer")),
        }
    }
}

impl Templates {
    /// The launcher's number of the template to fork, counted as a fork.
    pub(super) fn fork(&self, forks: &Forks, now: Moment) -> Option<u64> {
        let slots = self.slots.lock();
        let booted = slots.get(forks)?.booted.as_ref().filter(|booted| booted.is_alive())?;
        booted.forks.fetch_add(1, Ordering::Relaxed);
        *booted.used.lock() = now;
        Some(booted.room.id)
    }

    /// Ends a template that failed to fork; the next start begins another.
    pub(super) fn discard(&self, forks: &Forks) {
        if let Some(slot) = self.slots.lock().get_mut(forks) {
            slot.booted = None;
        }
    }

    /// Ends the templates that nobody has forked for long.
    pub(super) fn retire(&self, now: Moment) {
        self.slots.lock().retain(|_, slot| {
            let idle = slot.booted.as_ref().is_none_or(|booted| now.since(*booted.used.lock()) > IDLE_MAX);
            let paused = slot.failed.is_some_and(|failed| now.since(failed) < FAILED_PAUSE);
            !idle || slot.booting.is_some() || paused
        });
    }

    /// Ends all.
    pub(super) fn clear(&self) {
        self.slots.lock().clear();
    }

    /// Whether the function or one of its layers brings a module that the template has imported already, so that a fork
    /// would run another one than the function's.
    pub(super) fn is_shadowed(&self, template: &Booted, spec: &EnvironmentSpec) -> bool {
        let layered = |layer: &PathBuf| {
            [layer.join("python"), layer.join("python/lib").join(&spec.runtime).join("site-packages")]
        };
        let folders = [spec.code.clone()].into_iter().chain(spec.layers.iter().flat_map(layered));
        folders.into_iter().any(|folder| {
            let names = self.names(&folder);
            let shadows = |name: &&String| template.modules.contains(*name) && is_module(&folder, name);
            names.iter().any(|name| shadows(&name))
        })
    }

    /// What could be imported from a folder. Code folders never change.
    fn names(&self, folder: &Path) -> Arc<HashSet<String>> {
        if let Some(known) = self.folders.lock().get(folder) {
            return Arc::clone(known);
        }
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            Some(name.split('.').next().unwrap_or(name).to_owned())
        });
        let names = Arc::new(names.collect::<HashSet<_>>());
        let mut folders = self.folders.lock();
        if folders.len() >= FOLDERS_MAX {
            folders.clear();
        }
        folders.insert(folder.to_owned(), Arc::clone(&names));
        names
    }
}

/// Whether Python would import this name from the folder: a folder without `__init__` yields to any other place.
fn is_module(folder: &Path, name: &str) -> bool {
    let package = folder.join(name);
    !package.is_dir()
        || package.join("__init__.py").exists()
        || folder.join(format!("{name}.py")).exists()
        || package.join("__init__.pyc").exists()
}
