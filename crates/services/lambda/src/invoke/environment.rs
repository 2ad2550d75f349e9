//! What an execution environment is made from, and the platform's lines around each of its invocations.
//!
//! [`Logged`] wraps the host that really starts environments: it writes `INIT_START`, `START`, `END` and `REPORT` into the
//! environment's own output while it has it exclusively, so the lines of one invocation are never mixed with another's. It
//! also makes AWS's second attempt of a failed initialisation, and remembers what each environment is running on behalf of.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use base_env::{Elapsed, Env};
use base_types::{Arn, Fault, FaultKind};
use bytes::Bytes;
use compute_api::{
    Completion, Credentials, Deployed, Egress, Environment, EnvironmentId, EnvironmentSpec, Exit, Figures,
    FunctionHost, HostReport, INIT_TIMEOUT, InitFailure, InitializationType, Invocation, IsolationLevel,
    IsolationReport, LogFormat, Logging, Origin, Outcome, OutputKind, OutputLine, OutputLines, OutputSink,
    RuntimeListing, SeccompProfile, StartError, StartPolicy, output,
};
use compute_scheduler::Blueprint;
use parking_lot::Mutex;
use services_kernel::Cx;
use services_ports::{LogAppendError, LogLine, LogSink, LogTarget, RoleCredentials};
use store_api::Store;
use tokio::sync::watch;

use crate::{
    configuration::Configuration,
    describe::runtime_version_arn,
    names::{function_arn, qualified_arn},
    packages::Packages,
    report::{self, Phase, Subject, SystemLog},
    switches::Switches,
    tables::Place,
};

/// How long a role's credentials live: longer than the scheduler uses an environment, the longest invocation included.
const CREDENTIALS_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// How long an initialisation ahead of need may take at least.
const AHEAD_INIT_TIMEOUT: Duration = Duration::from_secs(130);
/// Lines handed over to the logs at once.
const LINES_PER_BATCH: usize = 256;

/// What all environments have in common.
pub(crate) struct Ground<L> {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) packages: Packages,
    pub(crate) credentials: Arc<dyn RoleCredentials>,
    pub(crate) logs: Arc<L>,
    pub(crate) egress: Egress,
    pub(crate) isolation_min: IsolationLevel,
    pub(crate) output_bytes_max: usize,
    pub(crate) output_gathering: Duration,
    /// Environments whose lines are still handed on.
    pub(crate) forwarding: watch::Sender<usize>,
}

/// Counts an environment as long as its lines are handed on.
struct Forwarding<L>(Arc<Ground<L>>);

impl<L> Forwarding<L> {
    fn begin(ground: &Arc<Ground<L>>) -> Self {
        ground.forwarding.send_modify(|count| *count += 1);
        Self(Arc::clone(ground))
    }
}

impl<L> Drop for Forwarding<L> {
    fn drop(&mut self) {
        self.0.forwarding.send_modify(|count| *count -= 1);
    }
}

/// One function version, as environments are made from it.
pub(crate) struct Plan<L> {
    pub(crate) ground: Arc<Ground<L>>,
    pub(crate) place: Place,
    pub(crate) function: String,
    /// `$LATEST` or a number.
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) configuration: Configuration,
    /// What the function's tags steer.
    pub(crate) switches: Switches,
    /// SnapStart: names the initialised process that environments are made from.
    pub(crate) snapshot: Option<Arc<str>>,
}

impl<L: LogSink> Blueprint for Plan<L> {
    async fn prepare(&self, cause: InitializationType) -> Result<EnvironmentSpec, StartError> {
        let ground = &self.ground;
        let code = ground.packages.ensure(&self.digest).await?;
        let configuration = &self.configuration;
        let mut layers = Vec::with_capacity(configuration.layers.len());
        for layer in &configuration.layers {
            layers.push(ground.packages.ensure(&layer.digest).await?);
        }
        let cause = match cause {
            InitializationType::OnDemand if self.snapshot.is_some() => InitializationType::SnapStart,
            other => other,
        };
        let role: Arn =
            configuration.role.parse().map_err(|error| Fault::internal("read the execution role", error))?;
        let issued = ground.credentials.issue(self.place.account, &role, &self.function, CREDENTIALS_LIFETIME);
        let timeout = Duration::from_secs(u64::from(configuration.timeout_seconds));
        let stream = self.log_stream();
        let (sink, lines) = output::channel(ground.output_bytes_max);
        let stream_of =
            Stream { place: self.place.clone(), group: configuration.logging.group.clone(), stream: stream.clone() };
        tokio::spawn(forward(lines, Forwarding::begin(&self.ground), stream_of));
        Ok(EnvironmentSpec {
            account: self.place.account,
            region: self.place.region.clone(),
            function_name: self.function.clone(),
            function_arn: self.arn(),
            role_arn: configuration.role.clone(),
            version: self.version.clone(),
            runtime: configuration.runtime.clone(),
            handler: configuration.handler.clone(),
            memory_mib: configuration.memory_mib,
            tmp_mib: configuration.tmp_mib,
            timeout,
            init_timeout: init_timeout(cause, timeout),
            variables: configuration.variables.clone().unwrap_or_default(),
            code,
            layers,
            logging: Logging {
                group: configuration.logging.group.clone(),
                stream,
                format: if configuration.logging.json { LogFormat::Json } else { LogFormat::Text },
                application_level: configuration.logging.application_level.clone(),
                system_level: configuration.logging.system_level.clone(),
            },
            credentials: Credentials {
                access_key_id: issued.access_key_id,
                secret_access_key: issued.secret_access_key,
                session_token: issued.session_token,
            },
            egress: match self.switches.internet {
                None => ground.egress,
                Some(true) => Egress::Internet,
                Some(false) => Egress::None,
            },
            egress_allow: self.switches.ranges_allowed(),
            initialization: cause,
            start: if self.switches.fresh { StartPolicy::Fresh } else { StartPolicy::Prepared },
            snapshot: self.snapshot.clone(),
            isolation_min: ground.isolation_min,
            seccomp: SeccompProfile::default(),
            output: sink,
        })
    }
}

impl<L> Plan<L> {
    fn arn(&self) -> String {
        let (region, account) = (&self.place.region, self.place.account);
        if self.version == "$LATEST" {
            function_arn(region, account, &self.function)
        } else {
            qualified_arn(region, account, &self.function, &self.version)
        }
    }

    /// `2026/11/23/[$LATEST]0123456789abcdef0123456789abcdef`.
    fn log_stream(&self) -> String {
        let env = &self.ground.env;
        let day = env.now().civil().strftime("%Y/%m/%d").to_string();
        format!("{day}/[{}]{}", self.version, env.id(32, b"0123456789abcdef"))
    }
}

/// How long an initialisation may take: what nobody waits for may take longer (Lambda developer guide, "Init phase").
fn init_timeout(cause: InitializationType, timeout: Duration) -> Duration {
    match cause {
        InitializationType::OnDemand => INIT_TIMEOUT,
        InitializationType::ProvisionedConcurrency | InitializationType::SnapStart => timeout.max(AHEAD_INIT_TIMEOUT),
    }
}

/// Where an environment's lines go.
#[derive(Clone)]
struct Stream {
    place: Place,
    group: String,
    stream: String,
}

/// Hands an environment's lines over to the logs until every sink is gone. The group and the stream are made with the
/// first line, and again when somebody deleted them. A function does not fail because of its logs: lines that cannot be
/// kept are told in the server's own log.
async fn forward<L: LogSink>(mut lines: OutputLines, forwarding: Forwarding<L>, stream: Stream) {
    let ground = &forwarding.0;
    let mut target = None;
    while let Some(first) = lines.next().await {
        if !ground.output_gathering.is_zero() {
            ground.env.sleep(ground.output_gathering).await;
        }
        let mut batch = vec![first];
        while batch.len() < LINES_PER_BATCH
            && let Some(next) = lines.try_next()
        {
            batch.push(next);
        }
        // What the function wrote is copied: its lines may be slices of a large buffer.
        let own = |line: OutputLine| match line.kind {
            OutputKind::Platform => line.text,
            OutputKind::Stdout | OutputKind::Stderr | OutputKind::Log => Bytes::copy_from_slice(&line.text),
        };
        let batch: Vec<LogLine> =
            batch.into_iter().map(|line| LogLine { timestamp: line.at, text: own(line) }).collect();
        if let Err(fault) = append(ground, &stream, &mut target, batch).await {
            tracing::error!(group = stream.group, stream = stream.stream, ?fault, "lines of a function were lost");
        }
    }
}

async fn append<L: LogSink>(
    ground: &Ground<L>,
    stream: &Stream,
    target: &mut Option<LogTarget>,
    lines: Vec<LogLine>,
) -> Result<(), Fault> {
    for _ in 0..2 {
        let known = match *target {
            Some(known) => known,
            None => *target.insert(ensure(ground, stream).await?),
        };
        match ground.logs.append(&known, lines.clone()).await {
            Ok(()) => return Ok(()),
            Err(LogAppendError::Gone) => *target = None,
            Err(LogAppendError::Fault(fault)) => return Err(fault),
        }
    }
    Err(Fault::new(FaultKind::Conflict, "append to a log stream: it is deleted again and again"))
}

async fn ensure<L: LogSink>(ground: &Ground<L>, stream: &Stream) -> Result<LogTarget, Fault> {
    let (logs, stream) = (Arc::clone(&ground.logs), stream.clone());
    let cx = Cx::internal(stream.place.account, stream.place.region.clone(), &ground.env.uuid());
    ground.store.transact(move |tx| logs.ensure_stream(&cx, tx, &stream.group, &stream.stream)).await
}

/// Writes lines of the platform, and wakes whoever reads them once.
pub(crate) async fn say(
    sink: &OutputSink,
    env: &Env,
    request_id: Option<&Arc<str>>,
    lines: impl IntoIterator<Item = String>,
) {
    for line in lines {
        let text = Bytes::from(line);
        sink.hold(OutputLine { at: env.now(), kind: OutputKind::Platform, request_id: request_id.cloned(), text })
            .await;
    }
    sink.flush();
}

/// How the platform's lines about an environment are written.
pub(crate) fn system_log(spec: &EnvironmentSpec) -> SystemLog {
    SystemLog::new(spec.logging.format, spec.logging.system_level.as_deref())
}

/// The trace headers of what environments are running, by environment, as far as they have a lineage: what a function
/// calls is a consequence of its invocation, whether its client says so or not.
#[derive(Clone, Default)]
pub(crate) struct Lineages(Arc<Mutex<HashMap<EnvironmentId, Current>>>);

/// The trace header of an environment's latest invocation, if it has a lineage.
type Current = Arc<Mutex<Option<Arc<str>>>>;

impl Lineages {
    /// The trace header of the latest invocation of this environment, if it has a lineage.
    pub(crate) fn of(&self, environment: EnvironmentId) -> Option<Arc<str>> {
        let current = self.0.lock().get(&environment).cloned()?;
        // The guard must not outlive the statement.
        let guard = current.lock();
        guard.clone()
    }

    fn enter(&self, environment: EnvironmentId) -> Following {
        let current = Current::default();
        self.0.lock().insert(environment, Arc::clone(&current));
        Following { lineages: self.clone(), environment, current }
    }
}

/// An environment's entry in [`Lineages`], as long as it lives.
struct Following {
    lineages: Lineages,
    environment: EnvironmentId,
    current: Current,
}

impl Following {
    fn runs(&self, trace: Option<&str>) {
        let lineage = trace.filter(|trace| trace.contains("Lineage=")).map(Arc::from);
        *self.current.lock() = lineage;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.lineages.0.lock().remove(&self.environment);
    }
}

/// A host whose environments say what the platform does.
#[derive(Clone)]
pub(crate) struct Logged<H> {
    pub(crate) host: H,
    pub(crate) env: Env,
    pub(crate) lineages: Lineages,
}

/// An environment of [`Logged`].
pub(crate) struct LoggedEnvironment<E> {
    environment: E,
    env: Env,
    log: SystemLog,
    following: Following,
    /// What the second attempt of its initialisation took, until it has been told: it is part of the first invocation.
    retried: Option<Duration>,
}

impl<H: FunctionHost> Logged<H> {
    /// The level that environments get on this host.
    pub(crate) fn report_level(&self) -> IsolationLevel {
        self.host.report().level
    }

    async fn init_started(&self, spec: &EnvironmentSpec) {
        let place = Place { account: spec.account, region: spec.region.clone() };
        let arn = runtime_version_arn(&place, &spec.runtime);
        let (log, now) = (system_log(spec), self.env.now());
        say(&spec.output, &self.env, None, report::init_start(spec.initialization, &spec.runtime, &arn, log, now))
            .await;
    }

    async fn init_failed(&self, spec: &EnvironmentSpec, failure: &InitFailure, phase: Phase) {
        let line = report::init_failed(failure, phase, spec.initialization, system_log(spec), self.env.now());
        say(&spec.output, &self.env, None, line).await;
    }

    fn entered(&self, environment: H::Environment, retried: Option<Duration>) -> LoggedEnvironment<H::Environment> {
        let (log, following) = (system_log(environment.spec()), self.lineages.enter(environment.id()));
        LoggedEnvironment { environment, env: self.env.clone(), log, following, retried }
    }

    /// The second attempt of a failed initialisation: within the invocation that waits for it, in its time and on its
    /// bill (Lambda developer guide, "Failures during the Init phase").
    async fn start_again(&self, spec: &EnvironmentSpec) -> Result<LoggedEnvironment<H::Environment>, StartError> {
        let again = EnvironmentSpec { init_timeout: spec.timeout, ..spec.clone() };
        match self.host.start(Arc::new(again)).await {
            Ok(environment) => {
                let took = environment.init_duration();
                Ok(self.entered(environment, Some(took)))
            }
            Err(StartError::Init(mut failure)) => {
                self.init_failed(spec, &failure, Phase::Invoke).await;
                let figures = &mut failure.figures;
                figures.duration = figures.init_duration.take().unwrap_or_default();
                Err(StartError::Init(failure))
            }
            Err(error) => Err(error),
        }
    }
}

impl<H: FunctionHost> FunctionHost for Logged<H> {
    type Environment = LoggedEnvironment<H::Environment>;

    async fn start(&self, spec: Arc<EnvironmentSpec>) -> Result<Self::Environment, StartError> {
        self.init_started(&spec).await;
        match self.host.start(Arc::clone(&spec)).await {
            Ok(environment) => {
                let took = environment.init_duration();
                let line = report::init_succeeded(spec.initialization, took, system_log(&spec), self.env.now());
                say(&spec.output, &self.env, None, line).await;
                Ok(self.entered(environment, None))
            }
            Err(StartError::Init(failure)) => {
                let phase = match spec.initialization {
                    InitializationType::OnDemand | InitializationType::ProvisionedConcurrency => Phase::Init,
                    InitializationType::SnapStart => Phase::Restore,
                };
                self.init_failed(&spec, &failure, phase).await;
                if spec.initialization == InitializationType::OnDemand {
                    self.start_again(&spec).await
                } else {
                    Err(StartError::Init(failure))
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn snapshot(&self, spec: Arc<EnvironmentSpec>) -> Result<(), StartError> {
        // Whoever publishes watches an initialisation; what starts from it later is restored.
        let said = EnvironmentSpec { initialization: InitializationType::OnDemand, ..(*spec).clone() };
        self.init_started(&said).await;
        let made = self.host.snapshot(spec).await;
        if let Err(StartError::Init(failure)) = &made {
            self.init_failed(&said, failure, Phase::Init).await;
        }
        made
    }

    fn forget_snapshot(&self, snapshot: &str) {
        self.host.forget_snapshot(snapshot);
    }

    fn expect(&self, deployed: Deployed) {
        self.host.expect(deployed);
    }

    fn runtimes(&self) -> Arc<RuntimeListing> {
        self.host.runtimes()
    }

    fn report(&self) -> Arc<HostReport> {
        self.host.report()
    }

    fn shutdown(&self) -> impl Future<Output = ()> + Send {
        self.host.shutdown()
    }
}

impl<E: Environment> LoggedEnvironment<E> {
    /// Runs the invocation that a second attempt at the initialisation was made for: it has what is left of its time, and
    /// what the attempt took is part of it.
    async fn run_after(&mut self, retried: Duration, invocation: Invocation) -> Completion {
        let left = self.environment.spec().timeout.saturating_sub(retried);
        let mut completion = match self.env.timeout(left, self.environment.invoke(invocation)).await {
            Ok(completion) => completion,
            // An environment whose invocation was given up is not used any more: it ends with its lease.
            Err(Elapsed) => Completion {
                outcome: Outcome::Timeout,
                figures: Figures {
                    duration: left,
                    memory_bytes_max: self.environment.memory_bytes(),
                    ..Figures::default()
                },
                log_tail: Bytes::new(),
            },
        };
        completion.figures.duration += retried;
        completion.figures.init_duration = None;
        completion
    }
}

impl<E: Environment> Environment for LoggedEnvironment<E> {
    fn id(&self) -> EnvironmentId {
        self.environment.id()
    }

    fn spec(&self) -> &Arc<EnvironmentSpec> {
        self.environment.spec()
    }

    fn isolation(&self) -> &IsolationReport {
        self.environment.isolation()
    }

    fn init_duration(&self) -> Duration {
        self.environment.init_duration()
    }

    fn origin(&self) -> Origin {
        self.environment.origin()
    }

    fn is_settled(&self) -> bool {
        self.environment.is_settled()
    }

    fn settle(&mut self) -> impl Future<Output = ()> + Send {
        self.environment.settle()
    }

    fn is_alive(&self) -> bool {
        self.environment.is_alive()
    }

    fn memory_bytes(&self) -> u64 {
        self.environment.memory_bytes()
    }

    fn is_frozen(&self) -> Option<bool> {
        self.environment.is_frozen()
    }

    /// The completion's `log_tail` holds the platform's lines too: it is what `LogType=Tail` answers.
    async fn invoke(&mut self, invocation: Invocation) -> Completion {
        let request_id: Arc<str> = Arc::from(invocation.request_id.as_str());
        let spec = Arc::clone(self.environment.spec());
        self.following.runs(invocation.trace_id.as_deref());
        let start = report::start(&request_id, &spec.version, self.log, self.env.now());
        say(&spec.output, &self.env, Some(&request_id), start.clone()).await;
        let mut completion = match self.retried.take() {
            None => self.environment.invoke(invocation).await,
            Some(retried) => self.run_after(retried, invocation).await,
        };
        let subject = Subject {
            request_id: &request_id,
            version: &spec.version,
            memory_mib: spec.memory_mib,
            timeout: spec.timeout,
            isolation: self.environment.isolation().level,
            origin: self.environment.origin(),
        };
        let said = report::of_completion(&completion, &subject, self.log, self.env.now());
        completion.log_tail = report::tail(start.as_deref(), &completion.log_tail, &said);
        say(&spec.output, &self.env, Some(&request_id), said).await;
        completion
    }

    fn ended(&self) -> impl Future<Output = Exit> + Send + 'static {
        self.environment.ended()
    }

    fn stop(self) -> impl Future<Output = ()> + Send {
        self.environment.stop()
    }
}
