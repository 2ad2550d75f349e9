//! One execution environment: its initialisation, its invocations, its end. It reads the function's answers and output
//! itself, on the task that waits for them, so that nothing is buffered that nobody asked for.

use std::{
    io,
    net::TcpListener as StdListener,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use base_env::{Env, Moment};
use bytes::Bytes;
use compute_api::{
    Completion, EndpointConnection, EndpointSender, Environment, EnvironmentId, EnvironmentSpec, Exit, Figures,
    InitFailure, InitOutcome, Invocation, IsolationReport, Origin, Outcome, PAYLOAD_BYTES_MAX, RESPONSE_SLACK_BYTES,
    StartError, endpoint::CONNECTIONS_MAX,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

use super::{
    Place, Room, StartSteps,
    channel::{self, ChannelReader, ChannelWriter},
    egress,
    exchange::{Event, Exchange, Message},
    gauge::{Freezer, Gauge},
    lines::Output,
    runtime_api,
};
use crate::protocol::{End, Gauges};

/// An environment is frozen after this long without work.
const QUIET: Duration = Duration::from_millis(10);
/// How often a runtime that has not asked for its next event yet is looked at before it is frozen.
const QUIET_LOOKS_MAX: u32 = 100;
/// How long a killed environment may take to end; the kernel needs a few milliseconds.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long a channel may stay closed before its process has ended.
const CLOSED_WAIT: Duration = Duration::from_secs(1);
/// How long the last output of an invocation may wait for a sink that is full.
const DRAIN_WAIT: Duration = Duration::from_secs(1);
/// How long an answer that was on its way when the process ended is waited for.
const LAST_WORD_WAIT: Duration = Duration::from_millis(100);

/// What an environment is put together from.
pub(super) struct Parts {
    pub(super) room: Room,
    pub(super) place: Place,
    pub(super) id: EnvironmentId,
    pub(super) spec: Arc<EnvironmentSpec>,
    pub(super) report: IsolationReport,
    pub(super) env: Env,
    pub(super) ended: watch::Receiver<Option<End>>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) channel: Option<UnixStream>,
    pub(super) runtime_api: StdListener,
    pub(super) endpoint: StdListener,
    pub(super) way_out: Option<egress::Sockets>,
    pub(super) connections: EndpointSender,
    pub(super) gauges: Gauges,
    pub(super) pid: i32,
    pub(super) begun: Moment,
    pub(super) steps: StartSteps,
}

/// A sandbox of one function version, as a walled process.
pub struct ProcessEnvironment {
    id: EnvironmentId,
    spec: Arc<EnvironmentSpec>,
    report: IsolationReport,
    env: Env,
    writer: Writer,
    inner: Inner,
    init_duration: Duration,
    first: bool,
    alive: bool,
    freezer: Freezer,
    exchange: Option<Arc<Exchange>>,
    /// The tasks that serve its listeners; they end with it.
    _servers: JoinSet<()>,
    room: Room,
    _place: Place,
    steps: StartSteps,
}

/// How events reach the runtime.
enum Writer {
    Channel(ChannelWriter),
    Exchange(Arc<Exchange>),
}

/// How answers come back.
enum Reader {
    Channel(ChannelReader),
    Exchange(mpsc::Receiver<Message>),
}

/// What is waited for together.
struct Inner {
    reader: Reader,
    output: Output,
    ended: watch::Receiver<Option<End>>,
    gauge: Gauge,
    env: Env,
}

/// What a wait brought.
enum Happened {
    Message(Message),
    Ended(End),
    TimedOut,
    Broken(String),
}

/// What the wait was woken by.
enum Step {
    Read(io::Result<Option<Message>>),
    Ended(End),
}

/// The end, once it has come. A launcher that is gone took everything with it.
async fn end_of(ended: &mut watch::Receiver<Option<End>>) -> End {
    ended.wait_for(Option::is_some).await.map_or(End::Never, |end| end.unwrap_or(End::Never))
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<Message>> {
        match self {
            Self::Channel(reader) => reader.next().await,
            Self::Exchange(messages) => Ok(messages.recv().await),
        }
    }
}

impl Inner {
    /// Waits for a message that is not a log record, the end of the process, or the end of time.
    async fn wait(&mut self, limit: Duration) -> Happened {
        let Self { reader, output, ended, env, .. } = self;
        let late = env.sleep(limit);
        tokio::pin!(late);
        loop {
            let step = tokio::select! {
                biased;
                message = reader.next() => Step::Read(message),
                end = end_of(ended) => Step::Ended(end),
                () = &mut late => return Happened::TimedOut,
                () = output.pump() => continue,
            };
            let record = match step {
                Step::Read(Ok(Some(Message::Log(record)))) => record,
                Step::Read(Ok(Some(message))) => return Happened::Message(message),
                // A closed channel is the end of its process; how it ended is about to be known.
                Step::Read(Ok(None)) => {
                    return match env.timeout(CLOSED_WAIT, end_of(ended)).await {
                        Ok(end) => Happened::Ended(end),
                        Err(_) => Happened::Broken("the runtime closed its channel".to_owned()),
                    };
                }
                Step::Read(Err(error)) => return Happened::Broken(format!("the runtime's channel: {error}")),
                Step::Ended(end) => {
                    // Its last words may still be on their way: through the reactor, or through the HTTP server.
                    while let Ok(Ok(Some(message))) = env.timeout(LAST_WORD_WAIT, reader.next()).await {
                        match message {
                            Message::Log(record) => output.record(record),
                            message => return Happened::Message(message),
                        }
                    }
                    return Happened::Ended(end);
                }
            };
            // Holding the answer back while the sink is full is what slows a function that floods its log.
            output.record(record);
            tokio::select! {
                () = output.drain() => {}
                () = &mut late => return Happened::TimedOut,
            }
        }
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
        let output = Output::new(parts.stdout, parts.stderr, parts.spec.output.clone(), parts.env.clone())?;
        let mut servers = JoinSet::new();
        let (exchange, messages) = Exchange::new();
        let (writer, reader, quiet) = match parts.channel {
            Some(stream) => {
                let (writer, reader) = channel::open(stream)?;
                (Writer::Channel(writer), Reader::Channel(reader), None)
            }
            None => {
                let quiet = Some(Arc::clone(&exchange));
                (Writer::Exchange(Arc::clone(&exchange)), Reader::Exchange(messages), quiet)
            }
        };
        if quiet.is_some() {
            servers.spawn(async move {
                if let Err(error) = runtime_api::serve(parts.runtime_api, exchange).await {
                    tracing::warn!(%error, "the Runtime API of an environment ended");
                }
            });
        }
        servers.spawn(serve_endpoint(parts.endpoint, parts.connections, parts.id, Arc::clone(&parts.spec)));
        if let Some(sockets) = parts.way_out {
            servers.spawn(egress::serve(sockets, Arc::clone(&parts.spec), parts.env.clone()));
        }
        let inner = Inner { reader, output, ended: parts.ended, gauge, env: parts.env.clone() };
        Ok(Self {
            id: parts.id,
            spec: parts.spec,
            report: parts.report,
            env: parts.env.clone(),
            writer,
            inner,
            init_duration: parts.env.monotonic().since(parts.begun),
            first: true,
            alive: true,
            freezer,
            exchange: quiet,
            _servers: servers,
            room: parts.room,
            _place: parts.place,
            steps: parts.steps,
        })
    }

    /// Waits for the runtime's first question.
    pub(super) async fn initialise(mut self) -> Result<Self, StartError> {
        let before = self.init_duration;
        let begun = self.env.monotonic();
        let limit = self.spec.init_timeout.saturating_sub(before);
        let happened = self.inner.wait(limit).await;
        self.init_duration = before + self.env.monotonic().since(begun);
        let outcome = match happened {
            Happened::Message(Message::Ready) => {
                self.inner.output.drain_within(DRAIN_WAIT).await;
                self.freeze_when_quiet();
                return Ok(self);
            }
            Happened::Message(Message::InitError { error_type, payload } | Message::Error { error_type, payload }) => {
                InitOutcome::Error { error_type, payload }
            }
            Happened::Message(_) => InitOutcome::Exited(self.kill().await),
            Happened::Ended(end) => InitOutcome::Exited(exit(end)),
            Happened::TimedOut => InitOutcome::Timeout,
            Happened::Broken(reason) => {
                tracing::debug!(reason, "an initialisation broke");
                InitOutcome::Exited(self.kill().await)
            }
        };
        self.kill().await;
        let figures = self.figures(Duration::ZERO, Duration::ZERO);
        let log_tail = self.inner.output.take_tail();
        Err(StartError::Init(Box::new(InitFailure { outcome, figures, log_tail })))
    }

    /// Kills everything in the environment and takes its last output; answers how the process ended.
    async fn kill(&mut self) -> Exit {
        self.alive = false;
        // The counters go with the environment.
        self.inner.gauge.memory_peak();
        self.inner.gauge.cpu();
        self.room.link.end(self.room.id);
        self.freezer.thaw();
        let Inner { ended, env, output, .. } = &mut self.inner;
        let end = env.timeout(END_WAIT, end_of(ended)).await.unwrap_or(End::Never);
        output.drain_within(DRAIN_WAIT).await;
        exit(end)
    }

    fn figures(&mut self, duration: Duration, cpu: Duration) -> Figures {
        let init_duration = self.first.then_some(self.init_duration);
        Figures {
            duration,
            init_duration,
            restore_duration: None,
            memory_bytes_max: self.inner.gauge.memory_peak(),
            cpu,
        }
    }

    /// Freezes the environment when it has had nothing to do for a while. The next invocation calls this off.
    fn freeze_when_quiet(&self) {
        let (freezer, exchange, env) = (self.freezer.clone(), self.exchange.clone(), self.env.clone());
        let turn = freezer.turn();
        tokio::spawn(async move {
            for _ in 0..QUIET_LOOKS_MAX {
                env.sleep(QUIET).await;
                if freezer.turn() != turn {
                    return;
                }
                if exchange.as_ref().is_none_or(|exchange| exchange.is_quiet()) {
                    freezer.freeze(turn);
                    return;
                }
            }
        });
    }

    /// Hands the event over and waits for what comes of it.
    async fn exchange(&mut self, event: Event) -> Happened {
        let limit = self.spec.timeout;
        match &mut self.writer {
            Writer::Exchange(exchange) => exchange.offer(event),
            Writer::Channel(writer) => {
                let Reader::Channel(reader) = &mut self.inner.reader else {
                    return Happened::Broken("the channel has no reader".to_owned());
                };
                reader.expect(writer.sequence().wrapping_add(1));
                let Inner { output, ended, env, .. } = &mut self.inner;
                let sent = tokio::select! {
                    biased;
                    sent = writer.send(&event) => sent,
                    end = end_of(ended) => return Happened::Ended(end),
                    () = env.sleep(limit) => return Happened::TimedOut,
                    () = output.pump() => Err(io::Error::other("output ended")),
                };
                // A runtime that does not read has ended or is about to: the wait below sees which.
                if let Err(error) = sent {
                    tracing::debug!(%error, "an event could not be handed over");
                }
            }
        }
        self.inner.wait(limit).await
    }

    /// What an invocation came to; ends the environment where it must not be used again.
    async fn conclude(&mut self, happened: Happened) -> Outcome {
        match happened {
            Happened::Message(Message::Response(payload)) => Outcome::Success { payload },
            Happened::Message(Message::Error { error_type, payload }) => Outcome::FunctionError { error_type, payload },
            Happened::Message(Message::TooLarge(size)) => {
                Outcome::ResponseTooLarge { size, limit: (PAYLOAD_BYTES_MAX + RESPONSE_SLACK_BYTES) as u64 }
            }
            Happened::Message(Message::InitError { error_type, payload }) => {
                self.kill().await;
                Outcome::FunctionError { error_type, payload }
            }
            Happened::Message(Message::Ready | Message::Log(_)) => {
                let exit = self.kill().await;
                Outcome::Exited(exit)
            }
            Happened::TimedOut => {
                self.kill().await;
                Outcome::Timeout
            }
            Happened::Ended(end) => {
                self.kill().await;
                match exit(end) {
                    Exit::OutOfMemory => {
                        self.inner.gauge.reached(u64::from(self.spec.memory_mib) << 20);
                        Outcome::OutOfMemory
                    }
                    exit => Outcome::Exited(exit),
                }
            }
            Happened::Broken(reason) => {
                tracing::debug!(reason, "an environment broke");
                let exit = self.kill().await;
                Outcome::Exited(exit)
            }
        }
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
        Origin::Fresh
    }

    fn is_settled(&self) -> bool {
        true
    }

    async fn settle(&mut self) {}

    fn is_alive(&self) -> bool {
        self.alive && self.inner.ended.borrow().is_none()
    }

    fn memory_bytes(&self) -> u64 {
        self.inner.gauge.memory()
    }

    async fn invoke(&mut self, invocation: Invocation) -> Completion {
        if !std::mem::take(&mut self.alive) {
            let reason = "it was not alive when the invocation came".to_owned();
            return Completion {
                outcome: Outcome::Lost { reason },
                figures: Figures::default(),
                log_tail: Bytes::new(),
            };
        }
        self.freezer.thaw();
        let request_id: Arc<str> = Arc::from(invocation.request_id);
        self.inner.output.begin(Arc::clone(&request_id));
        let cpu = self.inner.gauge.cpu();
        let begun = self.env.monotonic();
        let event = Event {
            request_id,
            payload: invocation.payload,
            deadline: self.env.now() + self.spec.timeout,
            invoked_function_arn: invocation.invoked_function_arn,
            trace_id: invocation.trace_id,
            client_context: invocation.client_context,
            cognito_identity: invocation.cognito_identity,
        };
        let happened = self.exchange(event).await;
        let duration = self.env.monotonic().since(begun);
        // Set before the outcome is drawn: drawing it may take the life again.
        self.alive = true;
        let outcome = self.conclude(happened).await;
        let cpu = self.inner.gauge.cpu().saturating_sub(cpu);
        let figures = self.figures(duration, cpu);
        self.first = false;
        if self.alive {
            self.inner.output.drain_within(DRAIN_WAIT).await;
            self.freeze_when_quiet();
        }
        let log_tail = self.inner.output.take_tail();
        Completion { outcome, figures, log_tail }
    }

    fn ended(&self) -> impl Future<Output = Exit> + Send + 'static {
        let mut ended = self.inner.ended.clone();
        async move { exit(end_of(&mut ended).await) }
    }

    async fn stop(mut self) {
        self.kill().await;
    }
}

fn exit(end: End) -> Exit {
    match end {
        End::Status(status) => Exit::Status(status),
        End::Signal(signal) => Exit::Signal(signal),
        End::OutOfMemory => Exit::OutOfMemory,
        End::Never => Exit::Signal(libc::SIGKILL),
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
