//! Starting environments: which runtime, which shell, which variables; then the environment takes over.

mod channel;
pub(crate) mod credentials;
mod direct;
mod egress;
mod environment;
mod exchange;
mod extensions;
mod extensions_api;
mod files;
mod gauge;
mod lines;
mod link;
mod pool;
mod quiet;
mod resolver;
mod restart;
mod runtime_api;
mod seat;
mod seen;
mod shutdown;
mod snapshot;
mod stage;
mod stream;
mod telemetry;
mod template;
mod wait;

use std::{
    io::{self, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Once, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base_env::{Env, Moment};
use base_types::{Fault, FaultKind};
use compute_api::{
    Deployed, Egress, EndpointSender, EnvironmentId, EnvironmentSpec, Finding, FindingState, FunctionHost, HostReport,
    InitFailure, InitOutcome, InstalledRuntime, IsolationLevel, IsolationReport, Language, Origin, RuntimeListing,
    SUPPORTED_RUNTIMES, StartError, Wall, WallState,
};
use environment::Parts;
pub use environment::ProcessEnvironment;
use link::{Host, Link};
use pool::Pool;
use seat::{Make, Seat, Shape};
use seen::Seen;
use snapshot::Snapshots;
use stage::{Stage, Unstarted};
use template::Templates;
use tokio::sync::Semaphore;

use crate::{
    instance,
    protocol::{Assignment, DISK_STAGE, Found, Level, Reply, Request, VERSION},
    runtimes, variables,
};

/// The memory with which a function has one whole processor (AWS Lambda, "Memory and computing power").
const MIB_PER_PROCESSOR: u64 = 1769;

/// Seats that are made at a time for starts that found none.
const MAKING_MAX: usize = 8;

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
    /// Walled processes that are kept waiting of every kind that was lately asked for, at the least.
    pub seats_least: usize,
    /// Walled processes that may wait, all kinds together, at the most; the host's memory may allow fewer.
    pub seats_most: usize,
    /// Whether a function gets no more processor time than its memory gives it, even where nobody else wants it (as on AWS:
    /// 1769 MiB are one processor). Its initialisation is not slowed down.
    pub cpu_quota: bool,
}

impl ProcessSettings {
    /// The usual settings over a state folder.
    #[must_use]
    pub fn new(state: PathBuf) -> Self {
        Self { state, launcher: None, environments_max: 1000, seats_least: 2, seats_most: 256, cpu_quota: false }
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
    pool: Pool,
    templates: Templates,
    snapshots: Snapshots,
    seen: Seen,
    /// Turns of those who make a seat for themselves.
    making: Semaphore,
    refilling: Once,
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

/// What a function is given a seat for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To answer invocations.
    Run,
    /// To be initialised and copied.
    Snapshot,
}

/// What the launcher's part of a start took.
#[derive(Clone, Copy, Debug)]
pub struct StartSteps {
    /// Making the shell and the walled process in it, usually ahead of need.
    pub shell: Duration,
    /// Attaching what is the function's, and executing what must be executed.
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
        let runtime = files::write_runtime(&folder, &instance)
            .map_err(|source| OpenError::State { folder: folder.clone(), source })?;
        // The launcher steps into sandboxes and back: a path from where it was started leads nowhere then.
        let absolute = std::path::absolute(&folder).unwrap_or_else(|_| folder.clone());
        files::raise_descriptor_limit();
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
            state: absolute.display().to_string(),
            runtime: runtime.display().to_string(),
        };
        let (link, host) = Link::open(program.clone(), hello).map_err(failed(&program))?;
        let seen = Seen::open(folder.join("seen"));
        let pool = Pool::new(settings.seats_least, settings.seats_most);
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
            pool,
            templates: Templates::default(),
            snapshots: Snapshots::default(),
            seen,
            making: Semaphore::new(MAKING_MAX),
            refilling: Once::new(),
        });
        if tokio::runtime::Handle::try_current().is_ok() {
            Self::begin_refilling(&inner);
        }
        // Every interpreter is asked for its version, which takes a while: nobody waits for it but who wants to know.
        let looking = Arc::clone(&inner);
        std::thread::Builder::new()
            .name("runtimes".to_owned())
            .spawn(move || drop(looking.runtimes()))
            .map_err(failed(&program))?;
        Ok(Self(inner))
    }

    /// Opens the way out of a shell for a function that has one.
    async fn way_out(&self, id: u64, spec: &EnvironmentSpec) -> Result<Option<egress::Sockets>, Fault> {
        let can = || self.0.host.findings.iter().any(|found| found.name == "egress" && found.state == 0);
        match spec.egress {
            Egress::Offered if !can() => Ok(None),
            Egress::None => Ok(None),
            Egress::Internet | Egress::Offered => {
                self.0.link.egress(id, &spec.egress_allow, egress::reaches_v6()).await.map(Some)
            }
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

    /// Starts the extensions of a function before its runtime.
    async fn start_extensions(&self, mut stage: Stage, language: Language, begun: Moment) -> Result<Stage, StartError> {
        let spec = Arc::clone(&stage.api.spec);
        let variables = variables::of(&spec, language);
        match stage.start_extensions(&variables, spec.init_timeout).await {
            Ok(()) => Ok(stage),
            Err(Unstarted::Host(fault)) => Err(fault.into()),
            Err(Unstarted::Init(outcome)) => {
                let figures = compute_api::Figures {
                    init_duration: Some(self.0.env.monotonic().since(begun)),
                    ..compute_api::Figures::default()
                };
                Stage::show_extensions(&stage.api).await;
                stage.output.drain_within(environment::DRAIN_WAIT).await;
                let log_tail = stage.output.take_tail();
                Err(StartError::Init(Box::new(InitFailure { outcome, figures, log_tail })))
            }
        }
    }

    /// The shape of a restored process of this version, if it is to have one and its snapshot is there; it is taken if it
    /// is not. Who cannot have one starts like all others.
    async fn restored(
        &self,
        spec: &Arc<EnvironmentSpec>,
        runtime: &InstalledRuntime,
    ) -> Result<Option<Shape>, StartError> {
        let Some(name) = &spec.snapshot else { return Ok(None) };
        match self.snapshot_of(name, spec, runtime).await {
            Ok(_) => Ok(Some(Shape { make: Make::Restored(Arc::clone(name)), tmp_mib: spec.tmp_mib })),
            Err(StartError::Init(failure)) => Err(StartError::Init(failure)),
            Err(StartError::NoSnapshot { .. }) => Ok(None),
            Err(error) => {
                tracing::warn!(function = spec.function_arn, ?error, "a snapshot cannot be taken now");
                Ok(None)
            }
        }
    }

    /// Gives a seat its function, up to the moment at which the runtime runs.
    async fn enter(
        &self,
        spec: &Arc<EnvironmentSpec>,
        runtime: &InstalledRuntime,
        (seat, origin, place): (Seat, Origin, Place),
        purpose: Purpose,
    ) -> Result<ProcessEnvironment, StartError> {
        // The function's initialisation begins here; how busy the host was before is not its doing.
        let begun = self.0.env.monotonic();
        let id = seat.room.id;
        let mut listeners = seat.listeners.into_iter().map(TcpListener::from);
        let (Some(runtime_api), Some(endpoint)) = (listeners.next(), listeners.next()) else {
            return Err(Fault::new(FaultKind::Internal, "enter a sandbox: it has no listeners").into());
        };
        let custom = runtime.language == Language::Custom;
        let mut stage = Stage::open(&self.0.env, spec, (&self.0.link, id), runtime_api, custom);
        let io_fault = |error: io::Error| Fault::internal("tell a waiting runtime its function", error);
        stage.listen(seat.stdout, seat.stderr).map_err(io_fault)?;
        let is_restored = matches!(seat.shape.make, Make::Restored(_));
        let mut assignment = seat::assignment(spec, runtime, &seat.shape);
        if let (Purpose::Snapshot, Some(run)) = (purpose, &mut assignment.run) {
            snapshot::stand_still(run);
        }
        let mut opened = false;
        if Stage::has_external(spec) {
            if let Some(sockets) = self.way_out(id, spec).await? {
                stage.servers.spawn(egress::serve(sockets, Arc::clone(spec), self.0.env.clone()));
                opened = true;
            }
            // They are there before the runtime and see what it will see.
            let run = assignment.run.take();
            if let Reply::Failed { stage, errno, .. } = self.0.link.assign(id, assignment).await? {
                return Err(launcher_fault(&stage, errno).into());
            }
            stage = self.start_extensions(stage, runtime.language, begun).await?;
            assignment = Assignment { code: None, layers: Vec::new(), language: None, limits: None, run };
        }
        // Asked for together: the launcher opens the way out before the function runs, and nobody waits twice.
        let assigning = async {
            // A restored process has everything already.
            if is_restored { Ok(Reply::Assigned { id, micros: 0 }) } else { self.0.link.assign(id, assignment).await }
        };
        let opening = async { if opened { Ok(None) } else { self.way_out(id, spec).await } };
        let (way_out, answer) = tokio::join!(opening, assigning);
        let (way_out, answer) = (way_out?, answer?);
        let entering = match answer {
            Reply::Assigned { micros, .. } => Duration::from_micros(micros),
            Reply::Failed { stage, errno, .. } if stage == "exec" => return Err(self.not_executable(errno, begun)),
            Reply::Failed { stage, errno, .. } => return Err(launcher_fault(&stage, errno).into()),
            _ => return Err(Fault::new(FaultKind::Internal, "enter a sandbox: a confused answer").into()),
        };
        let mut channel = (!custom).then_some(seat.channel);
        if let (Some(channel), true) = (&mut channel, is_restored || seat.shape.runtime().is_some()) {
            // It fits into the socket's buffer: variables are bounded far below it.
            let frame = seat::assign_frame(spec, runtime.language).map_err(io_fault)?;
            channel.write_all(&frame).map_err(io_fault)?;
        }
        let parts = Parts {
            stage,
            ended: seat.ended,
            room: seat.room,
            place,
            id: EnvironmentId(id),
            report: seat.report,
            channel,
            endpoint,
            way_out,
            connections: self.0.endpoint.clone(),
            quota: self.0.settings.cpu_quota.then(|| gauge::Quota::of(&seat.gauges)).flatten(),
            gauges: seat.gauges,
            pid: seat.pid,
            begun,
            steps: StartSteps { shell: seat.made_in, entering },
            origin,
        };
        Ok(ProcessEnvironment::assemble(parts).map_err(io_fault)?)
    }

    /// What was found; the search is waited for.
    async fn runtimes_found(&self) -> Result<Arc<RuntimeListing>, Fault> {
        let inner = Arc::clone(&self.0);
        match self.0.runtimes.get() {
            Some(runtimes) => Ok(Arc::clone(runtimes)),
            None => tokio::task::spawn_blocking(move || inner.runtimes())
                .await
                .map_err(|error| Fault::internal("look for runtimes", error)),
        }
    }

    async fn check(&self, spec: &EnvironmentSpec) -> Result<InstalledRuntime, StartError> {
        let runtimes = self.runtimes_found().await?;
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
        let restored = self.restored(&spec, &runtime).await?;
        let starting = self.starting();
        let shape = match restored {
            Some(shape) => shape,
            None => self.shape(&spec, &runtime).await,
        };
        self.0.seen.note(&shape);
        let (seat, origin) = self.seat(shape, &runtime).await?;
        let environment = self.enter(&spec, &runtime, (seat, origin, place), Purpose::Run).await?;
        let started = environment.initialise().await;
        drop(starting);
        Self::begin_refilling(&self.0);
        started
    }

    async fn snapshot(&self, spec: Arc<EnvironmentSpec>) -> Result<(), StartError> {
        let runtime = self.check(&spec).await?;
        let Some(name) = &spec.snapshot else {
            return Err(StartError::NoSnapshot { reason: "it has no name for one".to_owned() });
        };
        self.snapshot_of(name, &spec, &runtime).await.map(drop)
    }

    fn forget_snapshot(&self, snapshot: &str) {
        self.forget(snapshot);
    }

    fn expect(&self, deployed: Deployed) {
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(self.clone().prepare_for(deployed));
        }
    }

    fn runtimes(&self) -> Arc<RuntimeListing> {
        self.0.runtimes()
    }

    fn report(&self) -> Arc<HostReport> {
        self.0.report()
    }

    async fn shutdown(&self) {
        self.0.pool.clear();
        self.0.templates.clear();
        self.0.snapshots.clear();
        self.0.link.close();
        self.0.link.all_ended().await;
    }
}

impl Inner {
    /// Whether templates can be forked into sandboxes here.
    fn forks_possible(&self) -> bool {
        self.level >= IsolationLevel::NoLimits
    }

    /// What was found; whoever asks first waits for the search.
    fn runtimes(&self) -> Arc<RuntimeListing> {
        Arc::clone(self.runtimes.get_or_init(|| Arc::new(runtimes::discover())))
    }

    fn report(&self) -> Arc<HostReport> {
        Arc::clone(self.report.get_or_init(|| Arc::new(report(&self.host, &self.runtimes(), &self.settings.state))))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl ProcessHost {
    /// The launcher's process id; templates are its children.
    #[must_use]
    pub fn launcher_pid(&self) -> u32 {
        self.0.link.pid()
    }

    /// The answer when the program of a function cannot be executed.
    fn not_executable(&self, errno: i32, begun: Moment) -> StartError {
        let outcome = InitOutcome::InvalidEntrypoint { reason: io::Error::from_raw_os_error(errno).to_string() };
        let figures = compute_api::Figures {
            init_duration: Some(self.0.env.monotonic().since(begun)),
            ..compute_api::Figures::default()
        };
        StartError::Init(Box::new(InitFailure { outcome, figures, log_tail: bytes::Bytes::new() }))
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
    let fault = |kind| {
        Fault::new(kind, format!("put up a sandbox at `{stage}`")).caused_by(io::Error::from_raw_os_error(errno))
    };
    match errno {
        // Elsewhere the same number says that the kernel has no room for another namespace or group.
        libc::ENOSPC | libc::EDQUOT if stage == DISK_STAGE => fault(FaultKind::Unavailable).telling(
            "The server's disk has no room for the function's /tmp: free space where its data directory lies.",
        ),
        libc::EAGAIN | libc::ENOSPC => fault(FaultKind::Overloaded),
        _ => fault(FaultKind::Internal),
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

fn report(host: &Host, runtimes: &RuntimeListing, own: &Path) -> HostReport {
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
    let pythons = runtimes.installed.iter().filter(|runtime| runtime.chosen && runtime.language == Language::Python);
    let (with, without): (Vec<_>, Vec<_>) = pythons.partition(|runtime| runtimes::brings_boto3(runtime, own));
    let names = |of: Vec<&InstalledRuntime>| of.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(", ");
    let (state, remedy) = match without.first() {
        None => (FindingState::Present, String::new()),
        Some(one) => {
            let how = format!("pip install --target DATA/sandbox/packages/{} boto3; see docs/starting.md", one.name);
            (FindingState::Degraded, how)
        }
    };
    let detail = format!("with boto3: {}; without: {}", names(with), names(without));
    findings.push(Finding { name: "python packages".to_owned(), state, detail, remedy });
    HostReport { level: level(host.level), findings }
}
