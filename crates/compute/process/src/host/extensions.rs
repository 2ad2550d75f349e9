//! The extensions of one environment: who has registered, what each waits for, and whether all of them are done. Pure
//! state behind one lock; who waits is woken at every change. Source: AWS Lambda developer guide, "Using the Lambda
//! Extensions API to create extensions", and the behaviour of AWS's runtime interface emulator for what goes wrong.
//!
//! Guarantees: at most [`EXTENSIONS_MAX`]; every event is given once; an extension out of turn is refused in AWS's words;
//! the first failure counts, whichever it was.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base_env::Env;
use base_types::Timestamp;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::exchange::Event;
use crate::protocol::End;

/// AWS Lambda quotas, "Extensions": external and internal ones together.
pub(crate) const EXTENSIONS_MAX: usize = 10;

/// An error of a request, in AWS's words; status 403.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
}

fn refuse<T>(error_type: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { error_type, message: message.into() })
}

/// Why the environment cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// An extension could not be started: AWS's `Extension.LaunchError`.
    Launch { error_type: &'static str },
    /// An extension reported an error: `Extension.InitError` or `Extension.ExitError`, with what it called it.
    Reported { error_type: &'static str, cause: String },
    /// An extension ended by itself: `Extension.Crash`.
    Crash(End),
    /// The runtime itself ended.
    Program(End),
}

impl Failure {
    /// AWS's error type; none for the runtime's end, which has its own words.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "Extension.LaunchError",
            Self::Reported { error_type, .. } => error_type,
            Self::Crash(_) | Self::Program(_) => "Extension.Crash",
        }
    }

    /// AWS's error document.
    pub(crate) fn document(&self, request_id: Option<&str>) -> Bytes {
        let cause = match self {
            Self::Launch { error_type } => (*error_type).to_owned(),
            Self::Reported { cause, .. } => cause.clone(),
            Self::Crash(end) | Self::Program(end) => match end {
                End::Status(status) => format!("exit code {status}"),
                End::Signal(signal) => compute_api::Exit::Signal(*signal).to_string(),
                End::OutOfMemory | End::Never => "signal: killed".to_owned(),
            },
        };
        let message = match request_id {
            Some(id) => format!("RequestId: {id} Error: {cause}"),
            None => format!("Error: {cause}"),
        };
        Bytes::from(json!({ "errorType": self.error_type(), "errorMessage": message }).to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Started,
    Registered,
    Ready,
    Running,
    InitError,
    ExitError,
    Exited,
    LaunchError,
    ShutdownFailed,
}

impl Phase {
    /// AWS's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Registered => "Registered",
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::InitError => "InitError",
            Self::ExitError => "ExitError",
            Self::Exited => "Exited",
            Self::LaunchError => "LaunchError",
            Self::ShutdownFailed => "ShutdownFailed",
        }
    }
}

/// One extension.
#[derive(Debug)]
struct Member {
    id: String,
    name: String,
    /// Its process, when it is an external one that was started.
    pid: Option<i32>,
    external: bool,
    invoke: bool,
    shutdown: bool,
    phase: Phase,
    error_type: Option<String>,
    /// What its next question is answered with.
    event: Option<Bytes>,
}

impl Member {
    fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Ready => self.event.is_none(),
            Phase::Started | Phase::Registered | Phase::Running => false,
            _ => true,
        }
    }

    fn refuse<T>(&self, called: &str, to: Phase) -> Result<T, Refusal> {
        let (from, to) = (self.phase.name(), to.name());
        refuse(
            "Extension.InvalidExtensionState",
            format!(
                "State transition from {from} to {to} failed for extension {called}. Error: State transition is not allowed"
            ),
        )
    }
}

/// How an extension is shown in the log and to telemetry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) events: Vec<&'static str>,
    pub(crate) error_type: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    /// Whether no more may register.
    closed: bool,
    failure: Option<Failure>,
    /// Whether ends of processes are what was asked for.
    shutting_down: bool,
    program: Option<End>,
}

/// Shared by the connections of one environment and whoever runs its invocations.
#[derive(Debug)]
pub(crate) struct Extensions {
    env: Env,
    /// Whether there are any: an environment without them never takes the lock.
    any: AtomicBool,
    state: Mutex<State>,
    changed: Notify,
}

impl Extensions {
    pub(crate) fn new(env: Env) -> Arc<Self> {
        Arc::new(Self { env, any: AtomicBool::new(false), state: Mutex::default(), changed: Notify::new() })
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether there are external ones.
    pub(crate) fn external(&self) -> bool {
        self.any() && self.state.lock().members.iter().any(|member| member.external)
    }

    /// An external extension is about to be started.
    pub(crate) fn launch(&self, name: &str) {
        let mut state = self.state.lock();
        let member = self.member(name, true);
        state.members.push(member);
        self.any.store(true, Ordering::Release);
    }

    fn member(&self, name: &str, external: bool) -> Member {
        Member {
            id: self.env.uuid(),
            name: name.to_owned(),
            pid: None,
            external,
            invoke: false,
            shutdown: false,
            phase: Phase::Started,
            error_type: None,
            event: None,
        }
    }

    /// It runs.
    pub(crate) fn launched(&self, name: &str, pid: i32) {
        let mut state = self.state.lock();
        if let Some(member) = state.members.iter_mut().find(|member| member.external && member.name == name) {
            member.pid = Some(pid);
        }
    }

    /// It could not be started.
    pub(crate) fn launch_failed(&self, name: &str, error_type: &'static str) {
        let mut state = self.state.lock();
        if let Some(member) = state.members.iter_mut().find(|member| member.external && member.name == name) {
            member.phase = Phase::LaunchError;
            member.error_type = Some(error_type.to_owned());
        }
        state.failure.get_or_insert(Failure::Launch { error_type });
        drop(state);
        self.changed.notify_waiters();
    }

    /// `POST /extension/register`: answers the new identifier.
    pub(crate) fn register(&self, name: &str, events: &[String]) -> Result<String, Refusal> {
        let mut state = self.state.lock();
        let found = state.members.iter().position(|member| member.name == name);
        let external = found.is_some_and(|index| state.members[index].external);
        for event in events {
            let known = event == "INVOKE" || (event == "SHUTDOWN" && external);
            if !known {
                return refuse("Extension.InvalidEventType", format!("{event}: ErrorInvalidEventType"));
            }
        }
        let index = match found {
            Some(index) if external => index,
            Some(_) => {
                return refuse("Extension.InvalidExtensionState", "Extension with this name already registered");
            }
            None if state.closed => {
                return refuse("Extension.RegistrationClosed", "Extension registration closed already");
            }
            None if state.members.len() >= EXTENSIONS_MAX => {
                return refuse("Extension.TooManyExtensions", format!("Extension limit ({EXTENSIONS_MAX}) reached"));
            }
            None => {
                let member = self.member(name, false);
                state.members.push(member);
                state.members.len() - 1
            }
        };
        let member = &mut state.members[index];
        if member.phase != Phase::Started {
            return member.refuse(name, Phase::Registered);
        }
        member.phase = Phase::Registered;
        member.invoke = events.iter().any(|event| event == "INVOKE");
        member.shutdown = events.iter().any(|event| event == "SHUTDOWN");
        let id = member.id.clone();
        self.any.store(true, Ordering::Release);
        drop(state);
        self.changed.notify_waiters();
        Ok(id)
    }

    /// The name behind an identifier.
    pub(crate) fn name_of(&self, id: &str) -> Option<String> {
        let state = self.state.lock();
        let member = state.members.iter().find(|member| member.id == id && member.phase != Phase::Started)?;
        Some(member.name.clone())
    }

    /// `GET /extension/event/next`.
    pub(crate) async fn next(&self, id: &str) -> Result<Bytes, Refusal> {
        {
            let mut state = self.state.lock();
            let Some(member) = find(&mut state, id) else {
                return refuse("Extension.UnknownExtensionIdentifier", format!("Unknown extension {id}"));
            };
            if !matches!(member.phase, Phase::Registered | Phase::Running) {
                return member.refuse(id, Phase::Ready);
            }
            member.phase = Phase::Ready;
        }
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                let Some(member) = find(&mut state, id) else {
                    return refuse("Extension.UnknownExtensionIdentifier", format!("Unknown extension {id}"));
                };
                if member.phase != Phase::Ready {
                    return member.refuse(id, Phase::Ready);
                }
                if let Some(event) = member.event.take() {
                    member.phase = Phase::Running;
                    return Ok(event);
                }
            }
            changed.await;
        }
    }

    /// `POST /extension/init/error`.
    pub(crate) fn init_error(&self, id: &str, cause: &str) -> Result<(), Refusal> {
        self.report(id, cause, Phase::InitError, |phase| phase == Phase::Registered)
    }

    /// `POST /extension/exit/error`.
    pub(crate) fn exit_error(&self, id: &str, cause: &str) -> Result<(), Refusal> {
        let allowed = |phase| matches!(phase, Phase::Registered | Phase::Ready | Phase::Running);
        self.report(id, cause, Phase::ExitError, allowed)
    }

    fn report(&self, id: &str, cause: &str, to: Phase, allowed: impl Fn(Phase) -> bool) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let Some(member) = find(&mut state, id) else {
            return refuse("Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier");
        };
        if member.phase == to {
            // Only the first counts.
            return Ok(());
        }
        if !allowed(member.phase) {
            return member.refuse(id, to);
        }
        member.phase = to;
        member.error_type = Some(cause.to_owned());
        let error_type = if to == Phase::InitError { "Extension.InitError" } else { "Extension.ExitError" };
        if !state.shutting_down {
            state.failure.get_or_insert(Failure::Reported { error_type, cause: cause.to_owned() });
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// A process has ended: an extension's by its pid, or the runtime's own.
    pub(crate) fn left(&self, pid: Option<i32>, end: End) {
        let mut state = self.state.lock();
        let expected = state.shutting_down;
        match pid {
            None => {
                state.program = Some(end);
                if !expected {
                    state.failure.get_or_insert(Failure::Program(end));
                }
            }
            Some(pid) => {
                let Some(member) = state.members.iter_mut().find(|member| member.pid == Some(pid)) else { return };
                member.pid = None;
                let reported = matches!(member.phase, Phase::InitError | Phase::ExitError);
                if !reported && expected {
                    let ended = if end == End::Status(0) { Phase::Exited } else { Phase::ShutdownFailed };
                    member.phase = ended;
                } else if !reported {
                    // What it was doing is shown in the log: AWS keeps the state of a crashed extension.
                    state.failure.get_or_insert(Failure::Crash(end));
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nobody may register any more.
    pub(crate) fn close_registration(&self) {
        if self.any() {
            self.state.lock().closed = true;
        } else {
            // Without the lock an extension could register between the two.
            let mut state = self.state.lock();
            state.closed = true;
        }
    }

    /// Gives an invocation to everyone who wants to know.
    pub(crate) fn offer(&self, event: &Event) {
        if !self.any() {
            return;
        }
        let mut document = json!({
            "eventType": "INVOKE",
            "deadlineMs": event.deadline.as_millis(),
            "requestId": &*event.request_id,
            "invokedFunctionArn": event.invoked_function_arn,
        });
        if let Some(trace) = &event.trace_id {
            document["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": trace });
        }
        self.give(&document, |member| member.invoke);
    }

    fn give(&self, document: &Value, wanted: impl Fn(&Member) -> bool) {
        let bytes = Bytes::from(document.to_string());
        for member in self.state.lock().members.iter_mut().filter(|member| wanted(member)) {
            member.event = Some(bytes.clone());
        }
        self.changed.notify_waiters();
    }

    /// Whether everyone waits for the next event.
    pub(crate) fn is_settled(&self) -> bool {
        !self.any() || self.state.lock().members.iter().all(Member::is_settled)
    }

    /// Resolves when every external extension has registered, with the failure if there is one before.
    pub(crate) async fn registered(&self) -> Result<(), Failure> {
        self.until(|state| state.members.iter().all(|member| member.phase != Phase::Started)).await
    }

    /// Resolves when everyone waits for the next event, with the failure if there is one before.
    pub(crate) async fn settled(&self) -> Result<(), Failure> {
        self.until(|state| state.members.iter().all(Member::is_settled)).await
    }

    /// Resolves with the first failure, never without one.
    pub(crate) async fn failed(&self) -> Failure {
        match self.until(|_| false).await {
            Err(failure) => failure,
            Ok(()) => std::future::pending().await,
        }
    }

    /// The first failure, if there is one.
    pub(crate) fn failure(&self) -> Option<Failure> {
        if self.any() { self.state.lock().failure.clone() } else { None }
    }

    async fn until(&self, done: impl Fn(&State) -> bool) -> Result<(), Failure> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state.lock();
                if let Some(failure) = &state.failure {
                    return Err(failure.clone());
                }
                if done(&state) {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// From here on ends are what was asked for.
    pub(crate) fn begin_shutdown(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.shutting_down = true;
    }

    /// Resolves when the runtime's own process has left a shell with extensions.
    pub(crate) async fn program_left(&self) {
        self.wait_for(|state| state.program.is_some()).await;
    }

    /// Gives the last event to those who want it; answers the processes of those who do not.
    pub(crate) fn offer_shutdown(&self, reason: &str, deadline: Timestamp) -> Vec<i32> {
        let document = json!({
            "eventType": "SHUTDOWN",
            "shutdownReason": reason,
            "deadlineMs": deadline.as_millis(),
        });
        let wants = |member: &Member| member.shutdown && matches!(member.phase, Phase::Ready | Phase::Running);
        self.give(&document, wants);
        let state = self.state.lock();
        state.members.iter().filter(|member| !wants(member)).filter_map(|member| member.pid).collect()
    }

    /// Resolves when no extension's process runs any more.
    pub(crate) async fn processes_left(&self) {
        self.wait_for(|state| state.members.iter().all(|member| member.pid.is_none())).await;
    }

    async fn wait_for(&self, done: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if done(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Everyone, as the log and telemetry show them.
    pub(crate) fn show(&self) -> Vec<Shown> {
        let state = self.state.lock();
        let shown = |member: &Member| Shown {
            name: member.name.clone(),
            state: member.phase.name(),
            events: [("INVOKE", member.invoke), ("SHUTDOWN", member.shutdown)]
                .into_iter()
                .filter_map(|(event, wanted)| wanted.then_some(event))
                .collect(),
            error_type: member.error_type.clone(),
        };
        state.members.iter().map(shown).collect()
    }
}

fn find<'a>(state: &'a mut State, id: &str) -> Option<&'a mut Member> {
    state.members.iter_mut().find(|member| member.id == id && member.phase != Phase::Started)
}

#[cfg(test)]
mod tests;
