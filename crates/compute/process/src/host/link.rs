//! The server's end of the conversation with the launcher. Replies arrive on a thread of their own, which also reaps the
//! launcher; askers wait for theirs by shell id. When the launcher is gone, every wait ends.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base_types::{Fault, FaultKind};
use compute_api::Cidr;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::egress;
use crate::protocol::{self, End, Entry, Found, Level, Reply, Request, VERSION};

type Answer = (Reply, Vec<OwnedFd>);

/// Questions that are not about the one thing a shell is asked for at a time have numbers from here on.
const FIRST_ASK: u64 = 1 << 63;

/// A running launcher.
pub(crate) struct Link {
    socket: OwnedFd,
    state: Mutex<State>,
    asked: AtomicU64,
}

#[derive(Default)]
struct State {
    gone: bool,
    asking: HashMap<u64, oneshot::Sender<Answer>>,
    living: HashMap<u64, watch::Sender<Option<End>>>,
}

/// What the launcher said of the host.
pub(crate) struct Host {
    pub(crate) level: Level,
    pub(crate) findings: Vec<Found>,
}

impl Link {
    /// Starts a launcher and waits for its introduction.
    pub(crate) fn open(program: &Path, hello: &Request) -> io::Result<(Arc<Self>, Host)> {
        let (ours, theirs) = protocol::pair()?;
        let child = Command::new(program)
            .arg(crate::LAUNCHER_ARGUMENT)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        protocol::send(ours.as_fd(), hello, &[])?;
        let (level, findings) = match protocol::receive::<Reply>(ours.as_fd())? {
            Some((Reply::Hello { version: VERSION, level, findings }, _)) => (level, findings),
            Some((Reply::Hello { version, .. }, _)) => {
                return Err(io::Error::other(format!("the launcher speaks version {version}, this server {VERSION}")));
            }
            _ => return Err(io::Error::other("the launcher ended at its start")),
        };
        let link = Arc::new(Self { socket: ours, state: Mutex::default(), asked: AtomicU64::new(0) });
        let reader = Arc::clone(&link);
        std::thread::Builder::new().name("launcher-replies".to_owned()).spawn(move || reader.listen(child))?;
        Ok((link, Host { level, findings }))
    }

    /// Asks for a shell; the listeners come with the answer.
    pub(crate) async fn make_shell(&self, id: u64) -> Result<Answer, Fault> {
        let ended = watch::Sender::new(None);
        self.state.lock().living.insert(id, ended);
        self.ask(id, &Request::MakeShell { id }, &[]).await
    }

    /// Asks for a program in a shell.
    pub(crate) async fn enter(&self, id: u64, entry: Entry, descriptors: Vec<OwnedFd>) -> Result<Answer, Fault> {
        let request = Request::Enter { id, entry: Box::new(entry) };
        self.ask(id, &request, &descriptors).await
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
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.gone {
                return Err(gone());
            }
            state.asking.insert(id, sender);
        }
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        protocol::send(self.socket.as_fd(), request, &borrowed)
            .map_err(|error| Fault::new(FaultKind::Unavailable, "ask the sandbox launcher").caused_by(error))?;
        receiver.await.map_err(|_| gone())
    }

    /// Has everything in a shell killed. Its end arrives on [`Link::ended`].
    pub(crate) fn end(&self, id: u64) {
        // A launcher that is gone has ended everything.
        drop(protocol::send(self.socket.as_fd(), &Request::End { id }, &[]));
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
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
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

    fn listen(&self, mut launcher: Child) {
        loop {
            match protocol::receive::<Reply>(self.socket.as_fd()) {
                Ok(Some((reply, descriptors))) => self.dispatch(reply, descriptors),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "the sandbox launcher cannot be understood");
                    break;
                }
            }
        }
        // Whoever waits is told before the launcher is reaped.
        let mut state = self.state.lock();
        state.gone = true;
        state.asking.clear();
        drop(state);
        self.close();
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
                if let Some(ended) = state.living.remove(&id) {
                    ended.send_replace(Some(end));
                }
            }
            Reply::ShellReady { id, .. }
            | Reply::Entered { id, .. }
            | Reply::Failed { id, .. }
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
