//! An environment before its runtime runs: the interfaces on its loopback are served, its output is read, and its external
//! extensions are started and have registered. AWS's order (Lambda developer guide, "Lambda execution environment
//! lifecycle", "Init phase"): extensions, then the runtime, then the function's own code.

use std::{fs, io, net::TcpListener as StdListener, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use base_env::Env;
use base_types::Fault;
use compute_api::{EnvironmentSpec, InitOutcome, LogFormat};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    exchange::{Exchange, Message},
    extensions::{EXTENSIONS_MAX, Extensions, Failure},
    extensions_api::printable,
    lines::Output,
    link::Link,
    runtime_api::{self, Api},
    telemetry::{Hub, Network, Source, What},
};
use crate::protocol::{Reply, Run};

/// What AWS keeps from extensions of a function's variables.
const VARIABLES_WITHHELD: [&str; 8] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
];

/// What an environment has before its runtime runs.
pub(super) struct Stage {
    pub(super) api: Arc<Api>,
    pub(super) output: Output,
    /// The tasks that serve it; they end with it.
    pub(super) servers: JoinSet<()>,
    /// The answers of a runtime without a channel of its own.
    pub(super) messages: Option<mpsc::Receiver<Message>>,
    link: Arc<Link>,
    id: u64,
}

/// A start that did not come about.
pub(super) enum Unstarted {
    /// The function's own doing.
    Init(InitOutcome),
    Host(Fault),
}

impl Stage {
    /// Serves the interfaces of the shell `id`; `custom` runtimes answer over the Runtime API.
    pub(super) fn open(
        env: &Env,
        spec: &Arc<EnvironmentSpec>,
        (link, id): (&Arc<Link>, u64),
        listener: StdListener,
        custom: bool,
    ) -> Self {
        let (exchange, messages) = if custom {
            let (exchange, messages) = Exchange::new();
            (Some(exchange), Some(messages))
        } else {
            (None, None)
        };
        let json_lines = spec.logging.format == LogFormat::Json;
        let telemetry = Hub::new(env.clone(), Network { link: Arc::clone(link), id }, json_lines);
        telemetry.tell(What::init_start(spec, &env.uuid()));
        let output = Output::new(spec.output.clone(), env.clone(), Arc::clone(&telemetry));
        let extensions = Extensions::new(env.clone());
        let api = Arc::new(Api { env: env.clone(), spec: Arc::clone(spec), exchange, extensions, telemetry });
        let mut servers = JoinSet::new();
        let serving = Arc::clone(&api);
        servers.spawn(async move {
            if let Err(error) = runtime_api::serve(listener, serving).await {
                tracing::warn!(%error, "the Runtime API of an environment ended");
            }
        });
        Self { api, output, servers, messages, link: Arc::clone(link), id }
    }

    /// Takes the reading ends of the runtime's output.
    pub(super) fn listen(&mut self, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        self.output.add(stdout, stderr, Source::Function)
    }

    /// Whether extensions are to be started before the runtime.
    pub(super) fn has_external(spec: &EnvironmentSpec) -> bool {
        !spec.layers.is_empty() && !external(&spec.layers).is_empty()
    }

    /// Starts the external extensions with the function's variables, in a shell that is furnished for it, and waits until
    /// all have registered.
    pub(super) async fn start_extensions(&mut self, variables: &[String], limit: Duration) -> Result<(), Unstarted> {
        let names = external(&self.api.spec.layers);
        if names.is_empty() {
            return Ok(());
        }
        let mut programs = self.link.watch_programs(self.id);
        let extensions = Arc::clone(&self.api.extensions);
        for (index, name) in names.iter().enumerate() {
            extensions.launch(name);
            if index >= EXTENSIONS_MAX {
                extensions.launch_failed(name, "TooManyExtensions");
                break;
            }
            self.launch(name, variables).await?;
        }
        let watched = Arc::clone(&extensions);
        self.servers.spawn(async move {
            while let Some(left) = programs.recv().await {
                watched.left(left.pid, left.end);
            }
        });
        let env = self.api.env.clone();
        let registered = tokio::select! {
            registered = env.timeout(limit, extensions.registered()) => registered,
            () = self.output.pump() => return Ok(()),
        };
        match registered {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(Unstarted::Init(outcome(&failure))),
            Err(_) => Err(Unstarted::Init(InitOutcome::Timeout)),
        }
    }

    async fn launch(&mut self, name: &str, variables: &[String]) -> Result<(), Unstarted> {
        let fault = |error: io::Error| Unstarted::Host(Fault::internal("prepare an extension's descriptors", error));
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from);
        let (stdout, stdout_end) = pipe().map_err(fault)?;
        let (stderr, stderr_end) = pipe().map_err(fault)?;
        self.output.add(stdout, stderr, Source::Extension).map_err(fault)?;
        let path = format!("/opt/extensions/{name}");
        let run = Run {
            programs: vec![path.clone()],
            arguments: vec![path],
            variables: variables.iter().filter(|variable| !is_withheld(variable)).cloned().collect(),
            channel: false,
            restore: false,
        };
        let reply = self.link.add(self.id, run, vec![stdout_end, stderr_end]).await.map_err(Unstarted::Host)?;
        match reply {
            Reply::Added { pid, .. } => self.api.extensions.launched(name, pid),
            Reply::Failed { stage, errno, .. } if stage == "exec" => {
                let error_type = if errno == libc::EACCES { "PermissionDenied" } else { "UnknownError" };
                self.api.extensions.launch_failed(name, error_type);
            }
            Reply::Failed { stage, errno, .. } => return Err(Unstarted::Host(super::launcher_fault(&stage, errno))),
            _ => {
                let fault = Fault::new(base_types::FaultKind::Internal, "start an extension: a confused answer");
                return Err(Unstarted::Host(fault));
            }
        }
        Ok(())
    }

    /// Writes what the log says of every extension once the initialisation is over.
    pub(super) async fn show_extensions(api: &Api) {
        if !api.extensions.any() {
            return;
        }
        for shown in api.extensions.show() {
            let events = shown.events.join(",");
            let error = shown.error_type.as_ref().map(|error| format!("\tError Type: {}", printable(error)));
            let name = printable(&shown.name);
            let line = format!(
                "EXTENSION\tName: {name}\tState: {}\tEvents: [{events}]{}\n",
                shown.state,
                error.unwrap_or_default()
            );
            let what = What::extension(&shown);
            api.say(line, &what).await;
            api.telemetry.tell(what);
        }
    }
}

/// What a failed extension makes of an initialisation.
pub(super) fn outcome(failure: &Failure) -> InitOutcome {
    match failure {
        Failure::Program(end) => InitOutcome::Exited(super::environment::exit(*end)),
        failure => InitOutcome::Error { error_type: failure.error_type().to_owned(), payload: failure.document(None) },
    }
}

fn is_withheld(variable: &str) -> bool {
    let name = variable.split('=').next().unwrap_or_default();
    VARIABLES_WITHHELD.contains(&name)
}

/// The names of what lies in `/opt/extensions` and is no folder; later layers over earlier ones. Links are not followed
/// here: what they lead to is seen inside.
fn external(layers: &[PathBuf]) -> Vec<String> {
    let mut names = std::collections::BTreeSet::new();
    for layer in layers {
        for entry in fs::read_dir(layer.join("extensions")).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| !kind.is_dir())
                && let Ok(name) = entry.file_name().into_string()
            {
                names.insert(name);
            }
        }
    }
    names.into_iter().collect()
}
