//! One execution environment: its initialisation, its invocations, its end. It reads the function's answers and output
//! itself, on the task that waits for them, so that nothing is buffered that nobody asked for.

use std::{io, net::TcpListener as StdListener, os::unix::net::UnixStream, sync::Arc, time::Duration};

use base_env::{Env, Moment};
use bytes::Bytes;
use compute_api::{
    Completion, EndpointConnection, EndpointSender, Environment, EnvironmentId, EnvironmentSpec, Exit, Figures,
    InitFailure, InitOutcome, Invocation, IsolationReport, Origin, Outcome, RESTORE_TIMEOUT, StartError, StreamError,
    endpoint::CONNECTIONS_MAX,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    MIB_PER_PROCESSOR, Place, Room, StartSteps,
    channel::{self},
    egress,
    exchange::{Event, Exchange, Message},
    extensions::{Extensions, Failure},
    gauge::{self, Freezer, Gauge, Quota},
    quiet::{Quiet, Rest},
    runtime_api::Api,
    shutdown::Reason,
    stage::{self, Stage},
    stream::{Delivery, RESPONSE_BYTES_MAX},
    telemetry::{Hub, InitEnd, InvocationEnd, What},
    wait::{Happened, Inner, Reader, Writer, end_of},
};
use crate::protocol::{End, Gauges};

/// How long the last output of an invocation may wait for a sink that is full.
pub(super) const DRAIN_WAIT: Duration = Duration::from_secs(1);

/// What an environment is put together from.
pub(super) struct Parts {
    pub(super) stage: Stage,
    pub(super) room: Room,
    pub(super) place: Place,
    pub(super) id: EnvironmentId,
    pub(super) report: IsolationReport,
    pub(super) ended: watch::Receiver<Option<End>>,
    pub(super) channel: Option<UnixStream>,
    pub(super) endpoint: StdListener,
    pub(super) way_out: Option<egress::Sockets>,
    pub(super) connections: EndpointSender,
    pub(super) gauges: Gauges,
    pub(super) quota: Option<Quota>,
    pub(super) pid: i32,
    pub(super) begun: Moment,
    pub(super) steps: StartSteps,
    pub(super) origin: Origin,
}

/// A sandbox of one function version, as a walled process.
pub struct ProcessEnvironment {
    id: EnvironmentId,
    spec: Arc<EnvironmentSpec>,
    report: IsolationReport,
    env: Env,
    writer: Writer,
    pub(super) inner: Inner,
    pub(super) pid: i32,
    init_duration: Duration,
    first: bool,
    pub(super) alive: bool,
    /// The processor time that it may use from its first invocation on.
    quota: Option<Quota>,
    pub(super) quiet: Quiet,
    api: Arc<Api>,
    pub(super) telemetry: Arc<Hub>,
    /// The invocation whose extensions are still at work.
    unsettled: Option<Unsettled>,
    /// Processor time up to the end of the last invocation.
    cpu_seen: Duration,
    /// The tasks that serve its listeners; they end with it.
    _servers: JoinSet<()>,
    pub(super) room: Room,
    _place: Place,
    steps: StartSteps,
    origin: Origin,
}

struct Unsettled {
    begun: Moment,
    end: Option<InvocationEnd>,
}

/// What keeps an environment awake beside its invocations.
struct Others {
    exchange: Option<Arc<Exchange>>,
    extensions: Arc<Extensions>,
    telemetry: Arc<Hub>,
}

impl Rest for Others {
    fn lie_down(&self) -> bool {
        self.exchange.as_ref().is_none_or(|exchange| exchange.is_quiet())
            && self.extensions.is_settled()
            && self.telemetry.lie_down()
    }

    fn wake(&self) {
        self.telemetry.wake();
    }
}

impl ProcessEnvironment {
    /// What the launcher's part of its start took.
    #[must_use]
    pub fn start_steps(&self) -> StartSteps {
        self.steps
    }

    pub(super) fn assemble(parts: Parts) -> io::Result<Self> {
        let freezer = Freezer::open(&parts.gauges);
        let gauge = Gauge::open(&parts.gauges, parts.pid);
        let Stage { api, output, mut servers, messages, .. } = parts.stage;
        let (env, spec) = (api.env.clone(), Arc::clone(&api.spec));
        let (writer, reader) = match (parts.channel, &api.exchange, messages) {
            (Some(stream), ..) => {
                let (writer, reader) = channel::open(stream)?;
                (Writer::Channel(writer), Reader::Channel(reader))
            }
            (None, Some(exchange), Some(messages)) => {
                (Writer::Exchange(Arc::clone(exchange)), Reader::Exchange(messages))
            }
            (None, ..) => return Err(io::Error::other("a runtime without a channel and without the Runtime API")),
        };
        servers.spawn(gauge::end_with_memory(
            parts.gauges.clone(),
            Arc::clone(&parts.room.link),
            parts.room.id,
            env.clone(),
        ));
        servers.spawn(serve_endpoint(parts.endpoint, parts.connections, parts.id, Arc::clone(&spec)));
        if let Some(sockets) = parts.way_out {
            servers.spawn(egress::serve(sockets, Arc::clone(&spec), env.clone()));
        }
        let extensions = Arc::clone(&api.extensions);
        let telemetry = Arc::clone(&api.telemetry);
        let others = Others {
            exchange: api.exchange.clone(),
            extensions: Arc::clone(&extensions),
            telemetry: Arc::clone(&telemetry),
        };
        let inner =
            Inner { reader, output, ended: parts.ended, extensions, gauge, alarm: env.alarm(), env: env.clone() };
        Ok(Self {
            id: parts.id,
            spec,
            report: parts.report,
            env: env.clone(),
            writer,
            inner,
            pid: parts.pid,
            init_duration: env.monotonic().since(parts.begun),
            first: true,
            alive: true,
            quota: parts.quota,
            quiet: Quiet::new(env, freezer, Arc::new(others)),
            api,
            telemetry,
            unsettled: None,
            cpu_seen: Duration::ZERO,
            _servers: servers,
            room: parts.room,
            _place: parts.place,
            steps: parts.steps,
            origin: parts.origin,
        })
    }

    /// Waits for the runtime's first question, and for that of every extension.
    pub(super) async fn initialise(mut self) -> Result<Self, StartError> {
        let before = self.init_duration;
        let begun = self.env.monotonic();
        let limit = if self.origin == Origin::Restored { RESTORE_TIMEOUT } else { self.spec.init_timeout };
        let limit = limit.saturating_sub(before);
        let mut happened = self.inner.wait(limit, &mut Delivery::new(None)).await;
        self.tell_runtime_done(&happened);
        if matches!(happened, Happened::Message(Message::Ready)) {
            self.inner.extensions.close_registration();
            if self.inner.extensions.any() {
                let rest = limit.saturating_sub(self.env.monotonic().since(begun));
                happened = self.inner.settle(None, rest).await.unwrap_or(happened);
            }
        }
        self.init_duration = before + self.env.monotonic().since(begun);
        let end = init_end(&happened);
        self.telemetry.tell(What::init_report(&self.spec, end, self.init_duration));
        Stage::show_extensions(&self.api).await;
        self.telemetry.close();
        if matches!(happened, Happened::Message(Message::Ready)) {
            self.inner.output.drain_within(DRAIN_WAIT).await;
            self.cpu_seen = self.inner.gauge.cpu();
            if let Some(quota) = self.quota.take()
                && let Err(error) = quota.set(self.spec.memory_mib.into(), MIB_PER_PROCESSOR)
            {
                tracing::warn!(%error, "an environment's processor time cannot be limited");
            }
            self.quiet.rest();
            return Ok(self);
        }
        Err(self.uninitialised(happened).await)
    }

    /// Waits until the initialised process stands still to be copied; answers what it says of itself.
    pub(super) async fn until_snapshot(mut self) -> Result<(Self, Bytes), StartError> {
        let limit = self.spec.init_timeout.saturating_sub(self.init_duration);
        let begun = self.env.monotonic();
        let happened = self.inner.wait(limit, &mut Delivery::new(None)).await;
        self.init_duration += self.env.monotonic().since(begun);
        self.inner.extensions.close_registration();
        match happened {
            Happened::Message(Message::Snapshot(_)) if self.inner.extensions.any() => {
                Err(StartError::NoSnapshot { reason: "it has extensions".to_owned() })
            }
            Happened::Message(Message::Snapshot(word)) => {
                self.inner.output.drain_within(DRAIN_WAIT).await;
                Ok((self, word))
            }
            happened => Err(self.uninitialised(happened).await),
        }
    }

    /// The failure that ended an initialisation.
    async fn uninitialised(&mut self, happened: Happened) -> StartError {
        let outcome = match happened {
            Happened::Message(Message::InitError { error_type, payload } | Message::Error { error_type, payload }) => {
                InitOutcome::Error { error_type, payload }
            }
            Happened::Message(_) => InitOutcome::Exited(self.kill(Reason::Failure).await),
            Happened::Ended(end) => InitOutcome::Exited(exit(end)),
            Happened::Extension(failure) => stage::outcome(&failure),
            Happened::TimedOut => {
                self.kill(Reason::Timeout).await;
                InitOutcome::Timeout
            }
            Happened::Broken(reason) => {
                tracing::debug!(reason, "an initialisation broke");
                InitOutcome::Exited(self.kill(Reason::Failure).await)
            }
        };
        if self.alive {
            self.kill(Reason::Failure).await;
        }
        let figures = self.figures(Duration::ZERO, Duration::ZERO);
        let log_tail = self.inner.output.take_tail();
        StartError::Init(Box::new(InitFailure { outcome, figures, log_tail }))
    }

    fn tell_runtime_done(&self, happened: &Happened) {
        self.telemetry.tell(What::init_runtime_done(&self.spec, init_end(happened)));
    }

    fn figures(&mut self, duration: Duration, cpu: Duration) -> Figures {
        let init = self.first.then_some(self.init_duration);
        let is_restored = self.origin == Origin::Restored;
        Figures {
            duration,
            init_duration: init.filter(|_| !is_restored),
            restore_duration: init.filter(|_| is_restored),
            memory_bytes_max: self.inner.gauge.memory_peak(),
            cpu,
        }
    }

    /// What an invocation came to; ends the environment where it must not be used again.
    async fn conclude(&mut self, happened: Happened, delivery: Delivery, request_id: &str) -> Outcome {
        match happened {
            Happened::Message(Message::Response(payload)) => Outcome::Success { payload },
            Happened::Message(Message::StreamEnd(error)) => delivery.finish(error),
            Happened::Message(Message::Error { error_type, payload }) if delivery.has_begun() => {
                delivery.finish(Some(StreamError { error_type, payload }))
            }
            Happened::Message(Message::Error { error_type, payload }) => Outcome::FunctionError { error_type, payload },
            Happened::Message(Message::TooLarge(size)) => {
                Outcome::ResponseTooLarge { size, limit: RESPONSE_BYTES_MAX as u64 }
            }
            Happened::Message(Message::InitError { error_type, payload }) => {
                self.kill(Reason::Failure).await;
                Outcome::FunctionError { error_type, payload }
            }
            Happened::Message(
                Message::Ready
                | Message::Log(_)
                | Message::Snapshot(_)
                | Message::StreamBegin { .. }
                | Message::StreamBody(_),
            ) => Outcome::Exited(self.kill(Reason::Failure).await),
            Happened::TimedOut => {
                self.kill(Reason::Timeout).await;
                Outcome::Timeout
            }
            Happened::Ended(end) => {
                self.kill(Reason::Failure).await;
                self.exited(end)
            }
            Happened::Extension(failure) => {
                self.kill(Reason::Failure).await;
                match failure {
                    Failure::Crash(End::OutOfMemory) => self.exited(End::OutOfMemory),
                    failure => Outcome::FunctionError {
                        error_type: failure.error_type().to_owned(),
                        payload: failure.document(Some(request_id)),
                    },
                }
            }
            Happened::Broken(reason) => {
                tracing::debug!(reason, "an environment broke");
                match self.kill(Reason::Failure).await {
                    // It took long to end: what became of it is known only now.
                    Exit::OutOfMemory => self.exited(End::OutOfMemory),
                    exit => Outcome::Exited(exit),
                }
            }
        }
    }

    fn exited(&mut self, end: End) -> Outcome {
        match exit(end) {
            Exit::OutOfMemory => {
                self.inner.gauge.reached(u64::from(self.spec.memory_mib) << 20);
                Outcome::OutOfMemory
            }
            exit => Outcome::Exited(exit),
        }
    }

    /// Tells how an invocation ended; an environment that lives reports when its extensions are done too.
    fn tell_end(&mut self, end: InvocationEnd, happened: &Happened) -> Option<InvocationEnd> {
        self.telemetry.tell(What::runtime_done(&end));
        let answered = matches!(
            happened,
            Happened::Message(
                Message::Response(_) | Message::Error { .. } | Message::StreamEnd(_) | Message::TooLarge(_)
            )
        );
        if answered {
            return Some(end);
        }
        self.tell_report(&end, end.duration);
        None
    }

    fn tell_report(&self, end: &InvocationEnd, total: Duration) {
        self.telemetry.tell(What::end(end));
        self.telemetry.tell(What::report(&self.spec, end, total));
    }
}

impl Environment for ProcessEnvironment {
    fn id(&self) -> EnvironmentId {
        self.id
    }

    fn spec(&self) -> &Arc<EnvironmentSpec> {
        &self.spec
    }

    fn isolation(&self) -> &IsolationReport {
        &self.report
    }

    fn init_duration(&self) -> Duration {
        self.init_duration
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn is_settled(&self) -> bool {
        self.unsettled.is_none()
    }

    async fn settle(&mut self) {
        let Some(Unsettled { begun, .. }) = &self.unsettled else { return };
        let begun = *begun;
        let rest = self.spec.timeout.saturating_sub(self.env.monotonic().since(begun));
        let happened = self.inner.settle(self.api.exchange.as_deref(), rest).await;
        let total = self.env.monotonic().since(begun);
        if let Some(Unsettled { end: Some(end), .. }) = self.unsettled.take() {
            self.tell_report(&end, total);
        }
        match happened {
            None => {
                self.inner.output.drain_within(DRAIN_WAIT).await;
                self.quiet.rest();
            }
            Some(Happened::TimedOut) => drop(self.kill(Reason::Timeout).await),
            Some(_) => drop(self.kill(Reason::Failure).await),
        }
    }

    fn is_alive(&self) -> bool {
        self.alive && self.inner.ended.borrow().is_none() && self.inner.extensions.failure().is_none()
    }

    fn memory_bytes(&self) -> u64 {
        self.inner.gauge.memory()
    }

    fn is_frozen(&self) -> Option<bool> {
        self.quiet.is_frozen()
    }

    async fn invoke(&mut self, invocation: Invocation) -> Completion {
        self.settle().await;
        if !std::mem::take(&mut self.alive) {
            let reason = "it was not alive when the invocation came".to_owned();
            return Completion {
                outcome: Outcome::Lost { reason },
                figures: Figures::default(),
                log_tail: Bytes::new(),
            };
        }
        self.quiet.wake();
        let request_id: Arc<str> = Arc::from(invocation.request_id);
        self.inner.output.begin(Arc::clone(&request_id));
        let begun = self.env.monotonic();
        let started = self.env.now();
        let event = Event {
            request_id: Arc::clone(&request_id),
            payload: invocation.payload,
            deadline: started + self.spec.timeout,
            invoked_function_arn: invocation.invoked_function_arn,
            trace_id: invocation.trace_id,
            client_context: invocation.client_context,
            cognito_identity: invocation.cognito_identity,
        };
        let listening = self.telemetry.is_listening();
        if listening {
            self.telemetry.tell(What::start(&self.spec, &event));
        }
        let trace_id = if listening { event.trace_id.clone() } else { None };
        let mut delivery = Delivery::new(invocation.response);
        let limit = self.spec.timeout;
        let happened = match self.inner.hand_over(&mut self.writer, event, limit).await {
            Some(happened) => happened,
            None => self.inner.wait(limit, &mut delivery).await,
        };
        let duration = self.env.monotonic().since(begun);
        // Set before the outcome is drawn: drawing it may take the life again.
        self.alive = true;
        let end = listening.then(|| {
            let (status, error_type) = status(&happened);
            InvocationEnd {
                request_id: Arc::clone(&request_id),
                status,
                error_type,
                trace_id,
                begun: started,
                duration,
                init_duration: self.first.then_some(self.init_duration),
                produced_bytes: produced(&happened, &delivery),
                memory_bytes_max: self.inner.gauge.memory_peak(),
            }
        });
        let end = end.and_then(|end| self.tell_end(end, &happened));
        let outcome = self.conclude(happened, delivery, &request_id).await;
        let cpu = self.inner.gauge.cpu();
        // What was used since the last answer counts too, or it would belong to nobody.
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu_seen, cpu));
        let figures = self.figures(duration, used);
        self.first = false;
        if self.alive {
            self.inner.output.drain_within(DRAIN_WAIT).await;
            if self.inner.extensions.any() {
                self.unsettled = Some(Unsettled { begun, end });
            } else {
                self.quiet.rest();
            }
        }
        let log_tail = self.inner.output.take_tail();
        Completion { outcome, figures, log_tail }
    }

    fn ended(&self) -> impl Future<Output = Exit> + Send + 'static {
        let mut ended = self.inner.ended.clone();
        let extensions = Arc::clone(&self.inner.extensions);
        async move {
            tokio::select! {
                end = end_of(&mut ended) => exit(end),
                failure = extensions.failed() => match failure {
                    Failure::Program(end) | Failure::Crash(end) => exit(end),
                    Failure::Launch { .. } | Failure::Reported { .. } => Exit::Status(1),
                },
            }
        }
    }

    async fn stop(mut self) {
        self.kill(Reason::Spindown).await;
    }
}

pub(super) fn exit(end: End) -> Exit {
    match end {
        End::Status(status) => Exit::Status(status),
        End::Signal(signal) => Exit::Signal(signal),
        End::OutOfMemory => Exit::OutOfMemory,
        End::Never => Exit::Signal(libc::SIGKILL),
    }
}

/// AWS's words for how an initialisation ended.
fn init_end(happened: &Happened) -> InitEnd<'_> {
    let (status, error_type) = match happened {
        Happened::Message(Message::Ready) => ("success", None),
        Happened::Message(Message::InitError { error_type, .. } | Message::Error { error_type, .. }) => {
            ("error", Some(error_type.as_str()))
        }
        Happened::TimedOut => ("timeout", None),
        Happened::Extension(failure) => ("failure", Some(failure.error_type())),
        Happened::Message(_) | Happened::Ended(_) | Happened::Broken(_) => ("failure", Some("Runtime.ExitError")),
    };
    InitEnd { status, error_type }
}

/// AWS's words for how an invocation ended.
fn status(happened: &Happened) -> (&'static str, Option<String>) {
    match happened {
        Happened::Message(Message::Response(_) | Message::StreamEnd(None)) => ("success", None),
        Happened::Message(Message::Error { error_type, .. }) => ("error", Some(error_type.clone())),
        Happened::Message(Message::StreamEnd(Some(error))) => ("error", Some(error.error_type.clone())),
        Happened::Message(Message::TooLarge(_)) => ("error", Some("Function.ResponseSizeTooLarge".to_owned())),
        Happened::TimedOut => ("timeout", None),
        Happened::Extension(failure) => ("failure", Some(failure.error_type().to_owned())),
        Happened::Message(_) | Happened::Ended(_) | Happened::Broken(_) => {
            ("failure", Some("Runtime.ExitError".to_owned()))
        }
    }
}

/// How long the response was.
fn produced(happened: &Happened, delivery: &Delivery) -> u64 {
    match happened {
        Happened::Message(Message::Response(payload) | Message::Error { payload, .. }) => payload.len() as u64,
        Happened::Message(Message::TooLarge(size)) => *size,
        _ => delivery.bytes(),
    }
}

/// Accepts what the function connects to the AWS endpoint and hands it on with the environment's name.
async fn serve_endpoint(
    listener: StdListener,
    connections: EndpointSender,
    environment: EnvironmentId,
    spec: Arc<EnvironmentSpec>,
) {
    let listener = match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "an environment's endpoint cannot be served");
            return;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an environment's endpoint broke");
                return;
            }
        };
        let spec = Arc::clone(&spec);
        if !connections.send(EndpointConnection { stream, environment, spec, permit }).await {
            return;
        }
    }
}
