//! Seats: walled processes that wait for a function. What a function may take its seat from is decided here, and nowhere
//! else: whoever needs a process of its own from the first instruction gets one.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base_types::{Fault, FaultKind};
use compute_api::{EnvironmentSpec, InstalledRuntime, IsolationReport, Language, Origin, StartPolicy};
use tokio::sync::watch;

use super::{MIB_PER_PROCESSOR, ProcessHost, Room, launcher_fault, template::Forks};
use crate::{
    protocol::{Assignment, Bounds, End, Gauges, Kind, PROCESSES_MAX, Reply, Run},
    runtimes::{self, Interpreter},
    variables,
};

/// Variables that a runtime reads before it could be told them.
const START_TIME: &[&str] = &[
    "AWS_LAMBDA_EXEC_WRAPPER",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "LANG",
    "LANGUAGE",
    "LC_",
    "LD_",
    "LOCPATH",
    "MALLOC_",
    "NODE_",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "PYTHON",
    "UV_",
];

/// What a seat was prepared as. Seats of one shape are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) make: Make,
    /// The size of its `/tmp`.
    pub(super) tmp_mib: u32,
}

/// What waits in a seat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Make {
    /// A process that will execute what it is told.
    Blank,
    /// A fork of a Python template.
    Python(Forks),
    /// A copy of a version's initialised process, by the name of its snapshot.
    Restored(Arc<str>),
    /// A booted Node with room for this much.
    Node { runtime: String, memory_mib: u32 },
}

impl Make {
    /// Where an environment comes from that waited, or did not, in such a seat.
    fn origin(&self, waited: bool) -> Origin {
        match (self, waited) {
            (Self::Blank, _) => Origin::Fresh,
            (Self::Restored(_), _) => Origin::Restored,
            (_, true) => Origin::Pooled,
            (Self::Python(_), false) => Origin::Forked,
            (Self::Node { .. }, false) => Origin::Fresh,
        }
    }
}

/// A walled process that waits for a function, with everything that the server holds of it.
pub(super) struct Seat {
    pub(super) shape: Shape,
    pub(super) room: Room,
    /// Runtime API and AWS endpoint.
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) ended: watch::Receiver<Option<End>>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) channel: UnixStream,
    pub(super) pid: i32,
    pub(super) report: IsolationReport,
    pub(super) gauges: Gauges,
    pub(super) made_in: Duration,
}

impl Seat {
    pub(super) fn is_alive(&self) -> bool {
        self.ended.borrow().is_none()
    }
}

/// Why no seat could be made.
#[derive(Debug)]
pub(super) enum Refused {
    /// The launcher's step and what the kernel said.
    Step {
        stage: String,
        errno: i32,
    },
    Fault(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Step { stage, errno } => launcher_fault(&stage, errno),
            Refused::Fault(fault) => fault,
        }
    }
}

impl ProcessHost {
    /// The shape of the seat that this function may take.
    pub(super) async fn shape(&self, spec: &EnvironmentSpec, runtime: &InstalledRuntime) -> Shape {
        let tmp_mib = spec.tmp_mib;
        let blank = Shape { make: Make::Blank, tmp_mib };
        let names = spec.variables.keys().map(String::as_str);
        if spec.start == StartPolicy::Fresh || any_is_read_at_the_start(names) {
            return blank;
        }
        let make = match runtime.language {
            Language::Custom => Make::Blank,
            Language::Node => Make::Node { runtime: spec.runtime.clone(), memory_mib: spec.memory_mib },
            Language::Python => {
                let forks = Forks { account: spec.account, runtime: spec.runtime.clone() };
                match self.template(&forks, runtime).await {
                    Some(template) if !self.0.templates.is_shadowed(&template, spec) => Make::Python(forks),
                    _ => Make::Blank,
                }
            }
        };
        Shape { make, tmp_mib }
    }

    /// A seat of this shape: one that waits, else one made now; if that fails for its kind alone, a blank one.
    pub(super) async fn seat(&self, shape: Shape, runtime: &InstalledRuntime) -> Result<(Seat, Origin), Fault> {
        if let Some(seat) = self.0.pool.take(&shape, self.0.env.monotonic()) {
            let origin = seat.shape.make.origin(true);
            return Ok((seat, origin));
        }
        // Few are made at a time, each quickly, instead of all at once and slowly. The semaphore is never closed.
        let _turn = self.0.making.acquire().await;
        if let Some(seat) = self.0.pool.take_again(&shape) {
            let origin = seat.shape.make.origin(true);
            return Ok((seat, origin));
        }
        let blank = Shape { make: Make::Blank, tmp_mib: shape.tmp_mib };
        match self.make_seat(&shape, Some(runtime)).await {
            Ok(seat) => {
                let origin = seat.shape.make.origin(false);
                Ok((seat, origin))
            }
            Err(refused) if shape != blank => {
                tracing::warn!(?refused, ?shape, "no prepared runtime could be made: a fresh one is started");
                if let Make::Python(forks) = &shape.make {
                    self.0.templates.discard(forks);
                }
                Ok((self.make_seat(&blank, None).await?, Origin::Fresh))
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Makes a shell and a waiting process in it.
    pub(super) async fn make_seat(&self, shape: &Shape, runtime: Option<&InstalledRuntime>) -> Result<Seat, Refused> {
        let begun = self.0.env.monotonic();
        let (room, listeners) = self.make_shell().await?;
        let id = room.id;
        let io_fault = |error: io::Error| Fault::internal("prepare an environment's descriptors", error);
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from);
        let (stdout, stdout_end) = pipe().map_err(io_fault)?;
        let (stderr, stderr_end) = pipe().map_err(io_fault)?;
        let (channel, theirs) = UnixStream::pair().map_err(io_fault)?;
        let descriptors = [stdout_end, stderr_end, theirs.into()];
        // Before it can have ended: who asks later learns only that it is gone.
        let ended = self.0.link.ended(id);
        let kind = match &shape.make {
            Make::Blank | Make::Restored(_) | Make::Node { .. } => Kind::Blank,
            Make::Python(forks) => match self.0.templates.fork(forks, begun) {
                Some(of) => Kind::Fork(of),
                None => return Err(Refused::Step { stage: "template".to_owned(), errno: libc::ESRCH }),
            },
        };
        let tmp_bytes = u64::from(shape.tmp_mib) << 20;
        let answer = self.0.link.prepare(id, kind, tmp_bytes, &descriptors).await?;
        let (pid, host_uid, walls, gauges) = match answer.0 {
            Reply::Prepared { pid, host_uid, walls, gauges, .. } => (pid, host_uid, walls, gauges),
            Reply::Failed { stage, errno, .. } => return Err(Refused::Step { stage, errno }),
            _ => return Err(Fault::new(FaultKind::Internal, "prepare a sandbox: a confused answer").into()),
        };
        let report = self.isolation(host_uid, walls);
        if let (Make::Node { memory_mib, .. }, Some(runtime)) = (&shape.make, runtime) {
            self.boot_node(id, runtime, *memory_mib).await?;
        }
        if let Make::Restored(name) = &shape.make {
            self.restore(id, name, &channel).await?;
        }
        let made_in = self.0.env.monotonic().since(begun);
        let shape = shape.clone();
        Ok(Seat { shape, room, listeners, ended, stdout, stderr, channel, pid, report, gauges, made_in })
    }

    /// Has a blank process become a Node that waits for its function.
    async fn boot_node(&self, id: u64, runtime: &InstalledRuntime, memory_mib: u32) -> Result<(), Refused> {
        let Interpreter::Installed { program, prefix, .. } = runtimes::interpreter(runtime) else {
            return Err(Fault::new(FaultKind::Internal, "boot Node: it has no interpreter").into());
        };
        let mut arguments = node_arguments(&program, memory_mib);
        arguments.push("wait".to_owned());
        let run = Run {
            programs: vec![program],
            arguments,
            variables: variables::before_assignment(&runtime.name, Language::Node),
            channel: true,
            restore: false,
        };
        let assignment = Assignment { code: None, layers: Vec::new(), language: prefix, limits: None, run: Some(run) };
        match self.0.link.assign(id, assignment).await? {
            Reply::Assigned { .. } => Ok(()),
            Reply::Failed { stage, errno, .. } => Err(Refused::Step { stage, errno }),
            _ => Err(Fault::new(FaultKind::Internal, "boot Node: a confused answer").into()),
        }
    }

    /// Makes an empty sandbox.
    pub(super) async fn make_shell(&self) -> Result<(Room, Vec<OwnedFd>), Fault> {
        let id = self.0.id_next.fetch_add(1, Ordering::Relaxed);
        let room = Room { link: Arc::clone(&self.0.link), id };
        match self.0.link.make_shell(id).await? {
            (Reply::ShellReady { .. }, listeners) if listeners.len() == 2 => Ok((room, listeners)),
            (Reply::Failed { stage, errno, .. }, _) => Err(launcher_fault(&stage, errno)),
            _ => Err(Fault::new(FaultKind::Internal, "make a sandbox: the launcher answered something else")),
        }
    }
}

/// What the launcher does to a seat for this function.
pub(super) fn assignment(spec: &EnvironmentSpec, runtime: &InstalledRuntime, seat: &Shape) -> Assignment {
    // The launcher has no folder of its own to begin from.
    let text = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    let (language, run) = match seat.make {
        Make::Blank => program(spec, runtime),
        Make::Python(_) | Make::Restored(_) | Make::Node { .. } => (None, None),
    };
    Assignment {
        code: Some(text(&spec.code)),
        layers: spec.layers.iter().map(text).collect(),
        language,
        limits: Some(Bounds {
            memory_bytes: u64::from(spec.memory_mib) << 20,
            cpu_shares: u64::from(spec.memory_mib) * 1024 / MIB_PER_PROCESSOR,
            processes_max: PROCESSES_MAX,
        }),
        run,
    }
}

/// What a blank process becomes for this function, and the folder of its interpreter.
fn program(spec: &EnvironmentSpec, runtime: &InstalledRuntime) -> (Option<String>, Option<Run>) {
    let (programs, arguments, language) = match runtimes::interpreter(runtime) {
        Interpreter::Custom => {
            let programs = ["/var/task/bootstrap", "/opt/bootstrap"].map(str::to_owned).to_vec();
            (programs, vec!["/var/task/bootstrap".to_owned()], None)
        }
        Interpreter::Installed { language: Language::Node, program, prefix } => {
            (vec![program.clone()], node_arguments(&program, spec.memory_mib), prefix)
        }
        Interpreter::Installed { program, prefix, .. } => (vec![program.clone()], python_arguments(&program), prefix),
    };
    let variables = variables::of(spec, runtime.language);
    let channel = runtime.language != Language::Custom;
    (language, Some(Run { programs, arguments, variables, channel, restore: false }))
}

fn node_arguments(program: &str, memory_mib: u32) -> Vec<String> {
    // AWS gives V8 nine tenths of the memory.
    let heap = format!("--max-old-space-size={}", memory_mib * 9 / 10);
    vec![program.to_owned(), heap, "/var/runtime/node/bootstrap.js".to_owned()]
}

/// Without the host's site hooks: the bootstrap sets the paths that AWS's runtime has.
pub(super) fn python_arguments(program: &str) -> Vec<String> {
    [program, "-S", "-B", "/var/runtime/python/bootstrap.py"].map(str::to_owned).to_vec()
}

/// The frame that tells a waiting runtime its function.
pub(super) fn assign_frame(spec: &EnvironmentSpec, language: Language) -> io::Result<Vec<u8>> {
    const ASSIGN: u8 = 16;
    let body = serde_json::json!({ "variables": variables::of(spec, language) }).to_string();
    let length = u32::try_from(5 + body.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(9 + body.len());
    frame.extend(length.to_le_bytes());
    frame.push(ASSIGN);
    frame.extend(0_u32.to_le_bytes());
    frame.extend(body.into_bytes());
    Ok(frame)
}

/// Whether a runtime reads one of these variables before it could be told them.
pub(super) fn any_is_read_at_the_start<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(is_start_time)
}

fn is_start_time(name: &str) -> bool {
    START_TIME
        .iter()
        .any(|known| if known.ends_with('_') || *known == "PYTHON" { name.starts_with(known) } else { name == *known })
}

impl Shape {
    /// The runtime behind it, if it has one.
    pub(super) fn runtime(&self) -> Option<&str> {
        match &self.make {
            Make::Blank | Make::Restored(_) => None,
            Make::Python(forks) => Some(&forks.runtime),
            Make::Node { runtime, .. } => Some(runtime),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_read_at_the_start_are_known() {
        for (name, is) in [
            ("LD_PRELOAD", true),
            ("PYTHONPATH", true),
            ("PYTHONHASHSEED", true),
            ("NODE_OPTIONS", true),
            ("LC_ALL", true),
            ("LANG", true),
            ("AWS_LAMBDA_EXEC_WRAPPER", true),
            ("LANGUAGE_MODEL", false),
            ("PATH", false),
            ("TZ", false),
            ("MY_LD_PRELOAD", false),
        ] {
            assert_eq!(is_start_time(name), is, "{name}");
        }
    }
}
