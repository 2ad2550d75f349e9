//! The server's end of the conversation with the launcher. Replies arrive on a thread of their own, which also reaps the
//! launcher; askers wait for theirs by shell id. When the launcher is gone, every wait ends,
//! and another one is started.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use base_types::{Fault, FaultKind};
use compute_api::Cidr;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    egress,
    restart::{self, Closing},
};
use crate::protocol::{self, Assignment, End, Found, Kind, Level, PROCESSES_MAX, Reply, Request, Run, Template};

type Answer = (Reply, Vec<OwnedFd>);

/// A running launcher.
pub(crate) struct Link {
    socket: RwLock<Arc<OwnedFd>>,
    state: Mutex<State>,
    asked: AtomicU64,
    pid: AtomicU32,
    phase: watch::Sender<Phase>,
    closing: Closing,
    /// What another launcher is started with.
    program: PathBuf,
    hello: Request,
}

/// Whether there is a launcher.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Up,
    /// One is being started: it is worth waiting for.
    Starting,
    Down,
}

/// Questions that are not about the one thing a shell is asked for at a time have numbers from here on.
const FIRST_ASK: u64 = 1 << 63;

#[derive(Default)]
struct State {
    gone: bool,
    asking: HashMap<u64, oneshot::Sender<Answer>>,
    /// Who is told of the programs of a shell that leave before it ends.
    watching: HashMap<u64, mpsc::UnboundedSender<Left>>,
    living: HashMap<u64, watch::Sender<Option<End>>>,
}

/// A program of a shell has ended: the shell's own, or a further one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) pid: Option<i32>,
    pub(crate) end: End,
}

/// What the launcher said of the host.
pub(crate) struct Host {
    pub(crate) level: Level,
    pub(crate) findings: Vec<Found>,
}

impl Link {
    /// Starts a launcher and waits for its introduction. When it ends, another one is started in its place.
    pub(crate) fn open(program: PathBuf, hello: Request) -> io::Result<(Arc<Self>, Host)> {
        let (socket, child, host) = restart::spawn(&program, &hello)?;
        let link = Arc::new(Self {
            socket: RwLock::new(Arc::new(socket)),
            state: Mutex::default(),
            asked: AtomicU64::new(0),
            pid: AtomicU32::new(child.id()),
            phase: watch::Sender::new(Phase::Up),
            closing: Closing::default(),
            program,
            hello,
        });
        let reader = Arc::clone(&link);
        std::thread::Builder::new().name("launcher-replies".to_owned()).spawn(move || reader.listen(child))?;
        Ok((link, host))
    }

    /// The present launcher's process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    fn wire(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket.read())
    }

    /// Asks for a shell; the listeners come with the answer.
    pub(crate) async fn make_shell(&self, id: u64) -> Result<Answer, Fault> {
        let ended = watch::Sender::new(None);
        self.state.lock().living.insert(id, ended);
        let answer = self.ask(id, &Request::MakeShell { id }, &[]).await;
        if answer.is_err() {
            // Nothing was made of which an end could come.
            self.state.lock().living.remove(&id);
        }
        answer
    }

    /// Asks for an unassigned process in a shell.
    pub(crate) async fn prepare(
        &self,
        id: u64,
        kind: Kind,
        tmp_bytes: u64,
        descriptors: &[OwnedFd],
    ) -> Result<Answer, Fault> {
        let request = Request::Prepare { id, kind, tmp_bytes, processes_max: PROCESSES_MAX };
        self.ask(id, &request, descriptors).await
    }

    /// Has what is a function's attached to a prepared process.
    pub(crate) async fn assign(&self, id: u64, assignment: Assignment) -> Result<Reply, Fault> {
        let request = Request::Assign { id, assignment: Box::new(assignment) };
        Ok(self.ask(id, &request, &[]).await?.0)
    }

    /// Has a prepared process become a copy: `descriptors` are the program that makes it one, and the image.
    pub(crate) async fn restore(
        &self,
        id: u64,
        assignment: Assignment,
        descriptors: &[OwnedFd],
    ) -> Result<Reply, Fault> {
        let request = Request::Assign { id, assignment: Box::new(assignment) };
        Ok(self.ask(id, &request, descriptors).await?.0)
    }

    /// Has a process copied that has stopped itself; `files` take its memory and the program that makes it again.
    /// The first of them lies at `image`, and is answered to be read.
    pub(crate) async fn copy(
        &self,
        id: u64,
        thread_id: u64,
        image: String,
        files: &[OwnedFd],
    ) -> Result<Answer, Fault> {
        self.ask(id, &Request::Copy { id, thread_id, image }, files).await
    }

    /// Asks for a template in a shell.
    pub(crate) async fn template(&self, id: u64, template: Template) -> Result<Reply, Fault> {
        let request = Request::Template { id, program: Box::new(template) };
        Ok(self.ask(id, &request, &[]).await?.0)
    }

    /// Asks for one more program in a shell; answers its pid, or the reply that refused it.
    pub(crate) async fn add(&self, id: u64, run: Run, descriptors: Vec<OwnedFd>) -> Result<Reply, Fault> {
        let request = Request::Add { id, run: Box::new(run) };
        Ok(self.ask(id, &request, &descriptors).await?.0)
    }

    /// Told of every program of this shell that leaves; there are eleven at most.
    pub(crate) fn watch_programs(&self, id: u64) -> mpsc::UnboundedReceiver<Left> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state.lock().watching.insert(id, sender);
        receiver
    }

    /// Sends SIGTERM or SIGKILL to a program of a shell.
    pub(crate) fn signal(&self, id: u64, pid: i32, signal: i32) {
        // A launcher that is gone has ended everything.
        drop(protocol::send(self.wire().as_fd(), &Request::Signal { id, pid, signal }, &[]));
    }

    /// A TCP socket in a shell's network, connected to nothing yet.
    pub(crate) async fn socket(&self, id: u64) -> Result<OwnedFd, Fault> {
        let ask = FIRST_ASK | self.asked.fetch_add(1, Ordering::Relaxed);
        match self.ask(ask, &Request::Socket { id, ask }, &[]).await? {
            (Reply::Socket { .. }, mut sockets) if sockets.len() == 1 => Ok(sockets.remove(0)),
            (Reply::Failed { stage, errno, .. }, _) => {
                let error = io::Error::from_raw_os_error(errno);
                Err(Fault::new(FaultKind::Internal, format!("make a socket in a sandbox at `{stage}`"))
                    .caused_by(error))
            }
            _ => Err(Fault::new(FaultKind::Internal, "make a socket in a sandbox: a confused answer")),
        }
    }

    /// Opens the way out of a shell, before a function enters it.
    pub(crate) async fn egress(&self, id: u64, allow: &[Cidr], v6: bool) -> Result<egress::Sockets, Fault> {
        let ask = FIRST_ASK | self.asked.fetch_add(1, Ordering::Relaxed);
        let allow = allow.iter().map(Cidr::to_string).collect();
        let fault = |what: &str| Fault::new(FaultKind::Internal, format!("open the way out of a sandbox: {what}"));
        match self.ask(ask, &Request::Egress { id, ask, allow, v6 }, &[]).await? {
            (Reply::Egress { .. }, sockets) => egress::Sockets::of(sockets).ok_or_else(|| fault("sockets are missing")),
            (Reply::Failed { stage, errno, .. }, _) => {
                Err(fault(&format!("at `{stage}`")).caused_by(io::Error::from_raw_os_error(errno)))
            }
            _ => Err(fault("a confused answer")),
        }
    }

    async fn ask(&self, id: u64, request: &Request, descriptors: &[OwnedFd]) -> Result<Answer, Fault> {
        let mut phase = self.phase.subscribe();
        let receiver = loop {
            if phase.wait_for(|phase| *phase != Phase::Starting).await.is_ok_and(|phase| *phase == Phase::Down) {
                return Err(gone());
            }
            let mut state = self.state.lock();
            // Lost since: then the phase has changed too.
            if !state.gone {
                let (sender, receiver) = oneshot::channel();
                state.asking.insert(id, sender);
                break receiver;
            }
        };
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        protocol::send(self.wire().as_fd(), request, &borrowed)
            .map_err(|error| Fault::new(FaultKind::Unavailable, "ask the sandbox launcher").caused_by(error))?;
        receiver.await.map_err(|_| gone())
    }

    /// Has everything in a shell killed. Its end arrives on [`Link::ended`].
    pub(crate) fn end(&self, id: u64) {
        // A launcher that is gone has ended everything.
        drop(protocol::send(self.wire().as_fd(), &Request::End { id }, &[]));
    }

    /// Holds the end of a shell once it has come.
    pub(crate) fn ended(&self, id: u64) -> watch::Receiver<Option<End>> {
        match self.state.lock().living.get(&id) {
            Some(sender) => sender.subscribe(),
            None => watch::Sender::new(Some(End::Never)).subscribe(),
        }
    }

    /// Ends the launcher and with it every shell.
    pub(crate) fn close(&self) {
        self.closing.close();
        self.shut();
    }

    fn shut(&self) {
        // Fails only when it is shut already.
        let _ = rustix::net::shutdown(self.wire().as_fd(), rustix::net::Shutdown::Both);
    }

    /// Waits until no shell lives.
    pub(crate) async fn all_ended(&self) {
        loop {
            let one = self.state.lock().living.values().next().map(watch::Sender::subscribe);
            match one {
                // An error means that the sender, and so the entry, is gone.
                Some(mut end) => drop(end.wait_for(Option::is_some).await),
                None => return,
            }
        }
    }

    /// The whole life of the thread that hears launchers: one after the other, until the host is closed.
    fn listen(&self, mut launcher: Child) {
        let mut pace = restart::Pace::default();
        pace.started(restart::clock());
        loop {
            self.hear();
            self.phase.send_replace(Phase::Starting);
            self.lose(launcher);
            launcher = loop {
                let pause = pace.pause(restart::clock());
                if pause > restart::PATIENCE {
                    self.phase.send_replace(Phase::Down);
                }
                if self.closing.wait(pause) {
                    self.phase.send_replace(Phase::Down);
                    return;
                }
                self.phase.send_replace(Phase::Starting);
                match restart::spawn(&self.program, &self.hello) {
                    Ok((socket, child, _)) => {
                        *self.socket.write() = Arc::new(socket);
                        pace.started(restart::clock());
                        break child;
                    }
                    Err(error) => tracing::error!(%error, "another sandbox launcher does not start"),
                }
            };
            self.pid.store(launcher.id(), Ordering::Relaxed);
            self.state.lock().gone = false;
            self.phase.send_replace(Phase::Up);
            tracing::warn!(pid = launcher.id(), "another sandbox launcher was started");
            if self.closing.wait(Duration::ZERO) {
                // Closed while it started: the one that was shut was the old one.
                self.shut();
            }
        }
    }

    /// Takes replies until the launcher is gone.
    fn hear(&self) {
        let wire = self.wire();
        loop {
            match protocol::receive::<Reply>(wire.as_fd()) {
                Ok(Some((reply, descriptors))) => self.dispatch(reply, descriptors),
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "the sandbox launcher cannot be understood");
                    return;
                }
            }
        }
    }

    /// Everything that the launcher had is gone: whoever waits is told before it is reaped.
    fn lose(&self, mut launcher: Child) {
        let mut state = self.state.lock();
        state.gone = true;
        state.asking.clear();
        state.watching.clear();
        drop(state);
        self.shut();
        drop(launcher.wait());
        for (_, ended) in self.state.lock().living.drain() {
            ended.send_replace(Some(End::Signal(libc::SIGKILL)));
        }
    }

    fn dispatch(&self, reply: Reply, descriptors: Vec<OwnedFd>) {
        let mut state = self.state.lock();
        match reply {
            Reply::Ended { id, end } => {
                state.asking.remove(&id);
                state.watching.remove(&id);
                if let Some(ended) = state.living.remove(&id) {
                    ended.send_replace(Some(end));
                }
            }
            Reply::Left { id, pid, end } => {
                if let Some(watcher) = state.watching.get(&id) {
                    // Who does not watch any more has ended the shell.
                    let _ = watcher.send(Left { pid, end });
                }
            }
            Reply::ShellReady { id, .. }
            | Reply::Failed { id, .. }
            | Reply::Added { id, .. }
            | Reply::Prepared { id, .. }
            | Reply::Assigned { id, .. }
            | Reply::Copied { id, .. }
            | Reply::TemplateReady { id, .. }
            | Reply::Socket { ask: id }
            | Reply::Egress { ask: id } => {
                if matches!(reply, Reply::Failed { .. }) && descriptors.is_empty() {
                    tracing::debug!(?reply, "the launcher refused");
                }
                match state.asking.remove(&id) {
                    // Who gave up meanwhile ends the shell by its guard.
                    Some(asker) => drop(asker.send((reply, descriptors))),
                    None => drop(descriptors),
                }
            }
            Reply::Hello { .. } => {}
        }
    }
}

fn gone() -> Fault {
    Fault::new(FaultKind::Unavailable, "reach the sandbox launcher: it has ended")
}
