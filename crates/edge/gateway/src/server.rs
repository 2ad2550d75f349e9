//! Accepting connections, serving them, draining them.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use base_env::{Env, Moment};
use base_types::{AccountId, Region};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{head_timer::HeadTimer, inline::inline, settings::Settings, signing_keys::SigningKeys, upstream::Upstream};

/// After an accept that failed (no descriptors left), this long nothing is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Body memory is counted in pieces of this size.
const MEMORY_UNIT_BYTES: usize = 1024;
/// More than any limit is set to; all of them can still be taken at once.
const PERMITS_MAX: usize = 1 << 28;

/// The gateway. Cheap to clone.
pub struct Gateway<U>(Arc<Inner<U>>);

struct Inner<U> {
    upstream: U,
    settings: Settings,
    env: Env,
    started: Moment,
    connections: Arc<Semaphore>,
    environment_connections: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    draining: watch::Sender<bool>,
    signing_keys: SigningKeys,
}

/// The execution environment that a connection comes from. Who its requests are by follows from their signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The environment's identifier.
    pub id: String,
    /// The function's account.
    pub account: AccountId,
    /// The function's region.
    pub region: Region,
    /// The function's ARN.
    pub function_arn: String,
}

/// What the layers know of the connection.
pub(crate) struct Connection {
    pub(crate) peer: Arc<str>,
    pub(crate) loopback: bool,
    pub(crate) environment: Option<Arc<Environment>>,
}

impl<U> Clone for Gateway<U> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<U: Upstream> Gateway<U> {
    /// A gateway before this upstream. Serves nothing until [`Gateway::serve`].
    #[must_use]
    pub fn new(upstream: U, settings: Settings, env: Env) -> Self {
        let started = env.monotonic();
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, PERMITS_MAX)));
        let connections = semaphore(settings.limits.connections);
        let environment_connections = semaphore(settings.limits.environment_connections);
        let memory = semaphore(settings.limits.bodies_bytes / MEMORY_UNIT_BYTES);
        let (draining, _) = watch::channel(false);
        Self(Arc::new(Inner {
            upstream,
            settings,
            env,
            started,
            connections,
            environment_connections,
            memory,
            draining,
            signing_keys: SigningKeys::default(),
        }))
    }

    /// Accepts on a listener until draining begins. To be run once per listener.
    pub async fn serve(&self, listener: TcpListener) {
        let mut drained = pin!(self.drained());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut drained => return,
                accepted = self.accept(&listener) => accepted,
            };
            let Some((stream, peer, permit)) = accepted else {
                self.0.env.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let local = stream.local_addr().map(|address| address.ip().to_canonical());
            let loopback = peer.ip().to_canonical().is_loopback() && local.is_ok_and(|address| address.is_loopback());
            let connection =
                Connection { peer: Arc::from(peer.ip().to_canonical().to_string()), loopback, environment: None };
            let gateway = self.clone();
            tokio::spawn(inline(async move {
                gateway.serve_stream(stream, connection).await;
                drop(permit);
            }));
        }
    }

    /// Serves one connection that a function opened on its own loopback; returns when it ends. Open mode and `/_pileus/`
    /// do not exist on it.
    pub async fn serve_environment(&self, stream: TcpStream, environment: Environment) {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.0.environment_connections).acquire_owned().await else { return };
        let connection =
            Connection { peer: Arc::from("127.0.0.1"), loopback: true, environment: Some(Arc::new(environment)) };
        self.serve_stream(stream, connection).await;
        drop(permit);
    }

    /// Stops accepting, lets requests in flight finish within the limit, and returns whether all of them did.
    pub async fn drain(&self) -> bool {
        self.0.draining.send_replace(true);
        let limits = &self.0.settings.limits;
        let finished = async {
            all_of(&self.0.connections, limits.connections).await;
            all_of(&self.0.environment_connections, limits.environment_connections).await;
        };
        self.0.env.timeout(limits.drain, finished).await.is_ok()
    }

    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.0.connections).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, permit)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                None
            }
        }
    }

    async fn serve_stream(&self, stream: TcpStream, connection: Connection) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let limits = &self.0.settings.limits;
        // The kernel breaks the connection when sent bytes stay unacknowledged, or the window shut, for this long.
        if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.unread_timeout)) {
            tracing::debug!(%error, "TCP_USER_TIMEOUT could not be set");
        }
        let mut builder = http1::Builder::new();
        builder
            .timer(HeadTimer::new(&self.0.env, limits.head_timeout))
            .header_read_timeout(limits.head_timeout)
            .max_header_size(limits.head_bytes)
            .half_close(false)
            .keep_alive(true);
        let connection = Arc::new(connection);
        let service = service_fn(|request| {
            let (gateway, connection) = (self.clone(), Arc::clone(&connection));
            async move { Ok::<_, Infallible>(gateway.handle(request, &connection).await) }
        });
        let drained = self.drained();
        let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            biased;
            result = served.as_mut() => result,
            () = drained => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, peer = &*connection.peer, "a connection ended with an error");
        }
    }

    /// Resolves once draining has begun.
    fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut draining = self.0.draining.subscribe();
        async move {
            // An error means that the gateway is gone, which ends serving too.
            drop(draining.wait_for(|draining| *draining).await);
        }
    }

    pub(crate) fn upstream(&self) -> &U {
        &self.0.upstream
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn signing_keys(&self) -> &SigningKeys {
        &self.0.signing_keys
    }

    pub(crate) fn env(&self) -> &Env {
        &self.0.env
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.0.env.monotonic().since(self.0.started)
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// Waits until there is room for a body of this size. A body above the whole budget takes all of it.
    pub(crate) fn reserve_memory(
        &self,
        bytes: usize,
    ) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static {
        let most = (self.0.settings.limits.bodies_bytes / MEMORY_UNIT_BYTES).clamp(1, PERMITS_MAX);
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT_BYTES).min(most)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.0.memory);
        async move { memory.acquire_many_owned(units).await.ok() }
    }
}

/// Resolves when all permits are back: nobody holds one any more.
async fn all_of(semaphore: &Semaphore, permits: usize) {
    let all = u32::try_from(permits.clamp(1, PERMITS_MAX)).unwrap_or(u32::MAX);
    drop(semaphore.acquire_many(all).await);
}
