//! Starting environments: which runtime, which shell, which variables; then the environment takes over.

mod channel;
mod egress;
mod environment;
mod exchange;
mod gauge;
mod lines;
mod link;
mod resolver;
mod restart;
mod runtime_api;

use std::{
    collections::VecDeque,
    fs, io,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use base_types::{Fault, FaultKind};
use compute_api::{
    Egress, EndpointSender, EnvironmentId, EnvironmentSpec, Finding, FindingState, FunctionHost, HostReport,
    InitFailure, InitOutcome, InstalledRuntime, IsolationLevel, IsolationReport, Language, RuntimeListing,
    SUPPORTED_RUNTIMES, StartError, Wall, WallState,
};
use environment::Parts;
pub use environment::ProcessEnvironment;
use link::{Host, Link};
use parking_lot::Mutex;

use crate::{
    instance,
    protocol::{Entry, Found, Level, Reply, Request, VERSION},
    runtimes::{self, Interpreter},
    variables,
};

/// AWS Lambda's quota "Execution processes/threads".
const PROCESSES_MAX: u64 = 1024;
/// The memory with which a function has one whole processor (AWS Lambda, "Memory and computing power").
const MIB_PER_PROCESSOR: u64 = 1769;

/// What lies in `/var/runtime`.
const RUNTIME_FILES: &[(&str, &[u8])] = &[
    ("python/bootstrap.py", include_bytes!("../../../../../runtimes/python/bootstrap.py")),
    ("python/runtime_context.py", include_bytes!("../../../../../runtimes/python/runtime_context.py")),
    ("python/runtime_logging.py", include_bytes!("../../../../../runtimes/python/runtime_logging.py")),
    ("node/bootstrap.js", include_bytes!("../../../../../runtimes/node/bootstrap.js")),
    ("node/loading.js", include_bytes!("../../../../../runtimes/node/loading.js")),
    ("node/logging.js", include_bytes!("../../../../../runtimes/node/logging.js")),
];

/// How a host is set up.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// A folder of the host's own, made when absent: runtime files, the disk templates of `/tmp`.
    pub state: PathBuf,
    /// The program that is started as the launcher: one whose `main` calls [`crate::run_if_launcher`] first. The running
    /// program itself when none is given.
    pub launcher: Option<PathBuf>,
    /// Environments that may exist at a time.
    pub environments_max: usize,
    /// Shells made ahead of need; each costs about a quarter MiB of kernel memory.
    pub shells_ready: usize,
}

impl ProcessSettings {
    /// The usual settings over a state folder.
    #[must_use]
    pub fn new(state: PathBuf) -> Self {
        Self { state, launcher: None, environments_max: 1000, shells_ready: 2 }
    }
}

/// The host could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state folder cannot be made or written.
    #[error("failed to prepare the sandbox's folder `{folder}`")]
    State {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The launcher does not start.
    #[error("failed to start the sandbox launcher `{program}`")]
    Launcher {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs functions as walled processes of this machine. Cheap to clone.
#[derive(Clone)]
pub struct ProcessHost(Arc<Inner>);

pub(crate) struct Inner {
    settings: ProcessSettings,
    env: Env,
    endpoint: EndpointSender,
    link: Arc<Link>,
    level: IsolationLevel,
    host: Host,
    runtimes: OnceLock<Arc<RuntimeListing>>,
    report: OnceLock<Arc<HostReport>>,
    id_next: AtomicU64,
    living: AtomicUsize,
    ready: Mutex<VecDeque<ReadyShell>>,
}

/// A shell that waits for a function.
struct ReadyShell {
    room: Room,
    listeners: Vec<OwnedFd>,
    made_in: Duration,
}

/// A shell in the launcher; dropping it ends everything in it.
pub(crate) struct Room {
    pub(crate) link: Arc<Link>,
    pub(crate) id: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.link.end(self.id);
    }
}

/// What the launcher's part of a start took.
#[derive(Clone, Copy, Debug)]
pub struct StartSteps {
    /// Making the shell, usually ahead of need.
    pub shell: Duration,
    /// From the request to enter it until the program ran, its walls seen from outside.
    pub entering: Duration,
}

/// Counts an environment as long as it lives.
pub(crate) struct Place(Arc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.living.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ProcessHost {
    /// Writes the runtime files, starts the launcher, and looks at the host. Blocks for some milliseconds; call it once,
    /// before the first function.
    ///
    /// # Errors
    /// When the folder cannot be written or the launcher does not start. A host that is merely unfit for functions opens
    /// and says so in its report.
    pub fn open(settings: ProcessSettings, env: Env, endpoint: EndpointSender) -> Result<Self, OpenError> {
        let folder = settings.state.clone();
        let instance = instance::new();
        let runtime =
            write_runtime(&folder, &instance).map_err(|source| OpenError::State { folder: folder.clone(), source })?;
        let program = match &settings.launcher {
            Some(program) => Ok(program.clone()),
            None => std::env::current_exe(),
        };
        let failed = |program: &Path| {
            let program = program.to_owned();
            move |source| OpenError::Launcher { program, source }
        };
        let program = program.map_err(failed(Path::new("/proc/self/exe")))?;
        let hello = Request::Hello {
            version: VERSION,
            instance,
            state: folder.display().to_string(),
            runtime: runtime.display().to_string(),
        };
        let (link, host) = Link::open(program.clone(), hello).map_err(failed(&program))?;
        let inner = Arc::new(Inner {
            settings,
            env,
            endpoint,
            link,
            level: level(host.level),
            host,
            runtimes: OnceLock::new(),
            report: OnceLock::new(),
            id_next: AtomicU64::new(1),
            living: AtomicUsize::new(0),
            ready: Mutex::default(),
        });
        // Every interpreter is asked for its version, which takes a while: nobody waits for it but who wants to know.
        let looking = Arc::clone(&inner);
        std::thread::Builder::new()
            .name("runtimes".to_owned())
            .spawn(move || drop(looking.runtimes()))
            .map_err(failed(&program))?;
        Ok(Self(inner))
    }

    /// Makes shells ahead of need, up to the setting.
    async fn refill(self) {
        while self.0.ready.lock().len() < self.0.settings.shells_ready {
            match self.make_shell().await {
                Ok(shell) => self.0.ready.lock().push_back(shell),
                Err(error) => {
                    tracing::warn!(?error, "no shell could be made ahead of need");
                    return;
                }
            }
        }
    }

    async fn shell(&self) -> Result<ReadyShell, Fault> {
        let ready = {
            // Those of a launcher that has ended are gone.
            let mut waiting = self.0.ready.lock();
            std::iter::from_fn(|| waiting.pop_front()).find(|shell| self.0.link.is_living(shell.room.id))
        };
        let shell = match ready {
            Some(shell) => shell,
            None => self.make_shell().await?,
        };
        Ok(shell)
    }

    async fn make_shell(&self) -> Result<ReadyShell, Fault> {
        let id = self.0.id_next.fetch_add(1, Ordering::Relaxed);
        let room = Room { link: Arc::clone(&self.0.link), id };
        match self.0.link.make_shell(id).await? {
            (Reply::ShellReady { micros, .. }, listeners) if listeners.len() == 2 => {
                Ok(ReadyShell { room, listeners, made_in: Duration::from_micros(micros) })
            }
            (Reply::Failed { stage, errno, .. }, _) => Err(launcher_fault(&stage, errno)),
            _ => Err(Fault::new(FaultKind::Internal, "make a sandbox: the launcher answered something else")),
        }
    }

    /// Opens the way out of a shell for a function that has one.
    async fn way_out(&self, id: u64, spec: &EnvironmentSpec) -> Result<Option<egress::Sockets>, Fault> {
        match spec.egress {
            Egress::None => Ok(None),
            Egress::Internet => self.0.link.egress(id, &spec.egress_allow, egress::reaches_v6()).await.map(Some),
        }
    }

    fn admit(&self) -> Result<Place, StartError> {
        let limit = self.0.settings.environments_max;
        let admitted = self
            .0
            .living
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |living| (living < limit).then_some(living + 1));
        match admitted {
            Ok(_) => Ok(Place(Arc::clone(&self.0))),
            Err(_) => Err(StartError::HostLimit { what: "execution environments", limit: limit as u64 }),
        }
    }

    async fn check(&self, spec: &EnvironmentSpec) -> Result<InstalledRuntime, StartError> {
        let inner = Arc::clone(&self.0);
        let runtimes = match self.0.runtimes.get() {
            Some(runtimes) => Arc::clone(runtimes),
            None => tokio::task::spawn_blocking(move || inner.runtimes())
                .await
                .map_err(|error| Fault::internal("look for runtimes", error))?,
        };
        let available = || runtimes.available();
        let runtime = spec.runtime.clone();
        if !SUPPORTED_RUNTIMES.contains(&spec.runtime.as_str()) {
            return Err(StartError::RuntimeUnsupported { runtime, available: available() });
        }
        let Some(installed) = runtimes.chosen(&spec.runtime) else {
            let how = runtimes::how_to_add(&runtime);
            return Err(StartError::RuntimeMissing { runtime, available: available(), how });
        };
        let offered = self.0.level;
        if offered == IsolationLevel::Refused || offered < spec.isolation_min {
            let report = self.0.report();
            let missing = report.findings.iter().filter(|finding| finding.state != FindingState::Present);
            let reason = missing.map(|f| format!("{}: {}", f.name, f.detail)).collect::<Vec<_>>().join("; ");
            return Err(StartError::Isolation { demanded: spec.isolation_min, offered, reason });
        }
        if spec.egress == Egress::Internet {
            let report = self.0.report();
            let egress = report.findings.iter().find(|finding| finding.name == "egress");
            if let Some(egress) = egress.filter(|egress| egress.state != FindingState::Present) {
                let what = format!("egress to the internet on this host ({}; {})", egress.detail, egress.remedy);
                return Err(StartError::Unsupported { what });
            }
        }
        Ok(installed.clone())
    }
}

impl FunctionHost for ProcessHost {
    type Environment = ProcessEnvironment;

    async fn start(&self, spec: Arc<EnvironmentSpec>) -> Result<ProcessEnvironment, StartError> {
        let runtime = self.check(&spec).await?;
        let place = self.admit()?;
        let begun = self.0.env.monotonic();
        let shell = self.shell().await?;
        let io_fault = |error: io::Error| Fault::internal("prepare an environment's descriptors", error);
        let (stdout, stdout_end) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(io_fault)?;
        let (stderr, stderr_end) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(io_fault)?;
        let mut descriptors = vec![stdout_end, stderr_end];
        let mut channel = None;
        if runtime.language != Language::Custom {
            let (ours, theirs) = UnixStream::pair().map_err(io_fault)?;
            channel = Some(ours);
            descriptors.push(theirs.into());
        }
        let id = shell.room.id;
        // Before it can have ended: who asks later learns only that it is gone.
        let ended = self.0.link.ended(id);
        // Asked for together: the launcher opens the way out before the function runs, and nobody waits twice.
        let entering = self.0.link.enter(id, entry(&spec, &runtime), descriptors);
        let (way_out, answer) = tokio::join!(self.way_out(id, &spec), entering);
        let (way_out, answer) = (way_out?, answer?);
        let (pid, report, gauges, micros) = match answer.0 {
            Reply::Entered { pid, host_uid, walls, gauges, micros, .. } => {
                (pid, self.isolation(host_uid, walls), gauges, micros)
            }
            Reply::Failed { stage, errno, .. } if stage == "exec" => {
                let reason = io::Error::from_raw_os_error(errno).to_string();
                let outcome = InitOutcome::InvalidEntrypoint { reason };
                let figures = compute_api::Figures {
                    init_duration: Some(self.0.env.monotonic().since(begun)),
                    ..compute_api::Figures::default()
                };
                let failure = InitFailure { outcome, figures, log_tail: bytes::Bytes::new() };
                return Err(StartError::Init(Box::new(failure)));
            }
            Reply::Failed { stage, errno, .. } => return Err(launcher_fault(&stage, errno).into()),
            _ => return Err(Fault::new(FaultKind::Internal, "enter a sandbox: a confused answer").into()),
        };
        let mut listeners = shell.listeners.into_iter().map(TcpListener::from);
        let (Some(runtime_api), Some(endpoint)) = (listeners.next(), listeners.next()) else {
            return Err(Fault::new(FaultKind::Internal, "enter a sandbox: it has no listeners").into());
        };
        let parts = Parts {
            ended,
            room: shell.room,
            place,
            id: EnvironmentId(id),
            spec,
            report,
            env: self.0.env.clone(),
            stdout,
            stderr,
            channel,
            runtime_api,
            endpoint,
            way_out,
            connections: self.0.endpoint.clone(),
            gauges,
            pid,
            begun,
            steps: StartSteps { shell: shell.made_in, entering: Duration::from_micros(micros) },
        };
        let environment = ProcessEnvironment::assemble(parts).map_err(io_fault)?;
        tokio::spawn(self.clone().refill());
        environment.initialise().await
    }

    async fn snapshot(&self, _: Arc<EnvironmentSpec>) -> Result<(), StartError> {
        Err(StartError::NoSnapshot { reason: "this host makes no snapshots".to_owned() })
    }

    fn forget_snapshot(&self, _: &str) {}

    fn runtimes(&self) -> Arc<RuntimeListing> {
        self.0.runtimes()
    }

    fn report(&self) -> Arc<HostReport> {
        self.0.report()
    }

    async fn shutdown(&self) {
        self.0.ready.lock().clear();
        self.0.link.close();
        self.0.link.all_ended().await;
    }
}

impl Inner {
    /// What was found; whoever asks first waits for the search.
    fn runtimes(&self) -> Arc<RuntimeListing> {
        Arc::clone(self.runtimes.get_or_init(|| Arc::new(runtimes::discover())))
    }

    fn report(&self) -> Arc<HostReport> {
        Arc::clone(self.report.get_or_init(|| Arc::new(report(&self.host, &self.runtimes()))))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl ProcessHost {
    /// The present launcher's process id; another one's after it has ended.
    #[must_use]
    pub fn launcher_pid(&self) -> u32 {
        self.0.link.pid()
    }

    fn isolation(&self, host_uid: u32, walls: Vec<Found>) -> IsolationReport {
        let walls = walls
            .into_iter()
            .map(|wall| Wall {
                name: wall.name,
                state: match wall.state {
                    0 => WallState::Verified,
                    1 => WallState::Enforced,
                    _ => WallState::Missing(wall.detail),
                },
            })
            .collect();
        IsolationReport { level: self.0.level, host_uid, walls }
    }
}

/// The launcher's words for the server's log.
fn launcher_fault(stage: &str, errno: i32) -> Fault {
    let kind = if errno == libc::EAGAIN || errno == libc::ENOSPC { FaultKind::Overloaded } else { FaultKind::Internal };
    Fault::new(kind, format!("put up a sandbox at `{stage}`")).caused_by(io::Error::from_raw_os_error(errno))
}

/// What runs for this function.
fn entry(spec: &EnvironmentSpec, runtime: &InstalledRuntime) -> Entry {
    let text = |path: &PathBuf| path.display().to_string();
    let (programs, arguments, language) = match runtimes::interpreter(runtime) {
        Interpreter::Custom => {
            let programs = ["/var/task/bootstrap", "/opt/bootstrap"].map(str::to_owned).to_vec();
            (programs, vec!["/var/task/bootstrap".to_owned()], None)
        }
        Interpreter::Installed { language: Language::Node, program, prefix } => {
            // AWS gives V8 nine tenths of the memory.
            let heap = format!("--max-old-space-size={}", spec.memory_mib * 9 / 10);
            let arguments = vec![program.clone(), heap, "/var/runtime/node/bootstrap.js".to_owned()];
            (vec![program], arguments, prefix)
        }
        Interpreter::Installed { program, prefix, .. } => {
            // Without the host's site hooks: the bootstrap sets the paths that AWS's runtime has.
            let arguments = ["-S", "-B", "/var/runtime/python/bootstrap.py"].map(str::to_owned);
            let arguments = [program.clone()].into_iter().chain(arguments).collect();
            (vec![program], arguments, prefix)
        }
    };
    Entry {
        code: text(&spec.code),
        layers: spec.layers.iter().map(text).collect(),
        language,
        programs,
        arguments,
        variables: variables::of(spec, runtime.language),
        memory_bytes: u64::from(spec.memory_mib) << 20,
        tmp_bytes: u64::from(spec.tmp_mib) << 20,
        cpu_shares: u64::from(spec.memory_mib) * 1024 / MIB_PER_PROCESSOR,
        processes_max: PROCESSES_MAX,
    }
}

/// Writes what shells see as `/var/runtime`, read-only and anew: an older version's files are replaced.
fn write_runtime(state: &Path, instance: &str) -> io::Result<PathBuf> {
    let folder = state.join(format!("runtime-{instance}"));
    // Left by a process of the same name, which cannot be running.
    drop(fs::remove_dir_all(&folder));
    sweep(state);
    for (name, bytes) in RUNTIME_FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
    }
    for path in [folder.clone(), folder.join("python"), folder.join("node")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    folder.canonicalize()
}

/// Removes the runtime files of servers that are gone.
fn sweep(state: &Path) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(of) = name.to_str().and_then(|name| name.strip_prefix("runtime-")) else { continue };
        if !instance::is_alive(of) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn level(level: Level) -> IsolationLevel {
    match level {
        Level::Refused => IsolationLevel::Refused,
        Level::SingleUid => IsolationLevel::SingleUid,
        Level::NoLimits => IsolationLevel::NoLimits,
        Level::Full => IsolationLevel::Full,
    }
}

fn report(host: &Host, runtimes: &RuntimeListing) -> HostReport {
    let mut findings: Vec<Finding> = host
        .findings
        .iter()
        .map(|found| Finding {
            name: found.name.clone(),
            state: match found.state {
                0 => FindingState::Present,
                1 => FindingState::Degraded,
                _ => FindingState::Missing,
            },
            detail: found.detail.clone(),
            remedy: found.remedy.clone(),
        })
        .collect();
    let (state, remedy) = if runtimes.missing.is_empty() {
        (FindingState::Present, String::new())
    } else {
        let how: Vec<_> = runtimes.missing.iter().map(|name| runtimes::how_to_add(name)).collect();
        (FindingState::Degraded, how.join("; "))
    };
    let detail = format!("installed: {}; missing: {}", runtimes.available().join(", "), runtimes.missing.join(", "));
    findings.push(Finding { name: "runtimes".to_owned(), state, detail, remedy });
    HostReport { level: level(host.level), findings }
}
