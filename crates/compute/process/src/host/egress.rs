//! The other end of a function's way out: accepts what the function connected to, reads which address it meant, judges it,
//! dials it from the host, and moves bytes both ways.
//!
//! Guarantees: at most [`CONNECTIONS_MAX`] connections of one environment are open; a connection that waits holds no
//! buffer; one that moves nothing for [`IDLE_MAX`] to twice that long is reset; what is refused is reset, so the function
//! sees an error and never a silence; everything ends with the environment.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdDatagrams},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use bytes::BytesMut;
use compute_api::{EnvironmentSpec, endpoint::CONNECTIONS_MAX};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpStream, UdpSocket,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
};

use super::resolver;
use crate::egress;

/// The idle limit of AWS's NAT gateway.
const IDLE_MAX: Duration = Duration::from_secs(350);
/// How long dialling may take.
const DIAL_WAIT: Duration = Duration::from_secs(60);
/// What is moved at a time.
const CHUNK_BYTES: usize = 16 * 1024;
/// How long nothing is accepted when the server has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// An address that exists only where the host has a route to the internet of version 6; nothing is sent to it.
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888);

/// The sockets that the launcher opened in the function's network namespace.
pub(crate) struct Sockets {
    connections: StdListener,
    queries: StdDatagrams,
    streams: StdListener,
}

impl Sockets {
    /// In the launcher's order; none when there are others than three.
    pub(crate) fn of(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let [connections, queries, streams] = <[OwnedFd; 3]>::try_from(descriptors).ok()?;
        Some(Self { connections: connections.into(), queries: queries.into(), streams: streams.into() })
    }
}

/// Whether this host reaches the internet of version 6. A function without it must not see a connection that succeeds and
/// breaks: it would not try version 4.
pub(crate) fn reaches_v6() -> bool {
    source_towards(FAR_V6.into()).is_ok_and(|source| source.is_some())
}

/// The address from which this host would speak to another; none when there is no route. Sends nothing.
fn source_towards(address: IpAddr) -> io::Result<Option<IpAddr>> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = StdDatagrams::bind((any, 0))?;
    if socket.connect((address, 9)).is_err() {
        return Ok(None);
    }
    Ok(Some(socket.local_addr()?.ip()))
}

/// Whether the address is one of this host's: speaking to it, the host would use the address itself. When that cannot be
/// found out, it counts as its own.
fn is_own(address: IpAddr) -> bool {
    source_towards(address).map_or(true, |source| source == Some(address))
}

/// Serves until it is dropped.
pub(crate) async fn serve(sockets: Sockets, spec: Arc<EnvironmentSpec>, env: Env) {
    let Sockets { connections, queries, streams } = sockets;
    let opened = [connections.set_nonblocking(true), queries.set_nonblocking(true), streams.set_nonblocking(true)]
        .into_iter()
        .collect::<io::Result<()>>()
        .and_then(|()| {
            Ok((TcpListener::from_std(connections)?, UdpSocket::from_std(queries)?, TcpListener::from_std(streams)?))
        });
    match opened {
        Ok((connections, queries, streams)) => {
            tokio::join!(relay_all(connections, spec, env.clone()), resolver::serve(queries, streams, env));
        }
        Err(error) => tracing::warn!(%error, "an environment's way out cannot be served"),
    }
}

async fn relay_all(listener: TcpListener, spec: Arc<EnvironmentSpec>, env: Env) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            // Told at once instead of waiting for a place that may never come.
            Ok((stream, _)) if open.len() >= CONNECTIONS_MAX => {
                tracing::debug!(function = spec.function_name, "a function has too many connections to the outside");
                reset(&stream);
            }
            Ok((stream, _)) => drop(open.spawn(relay(stream, Arc::clone(&spec), env.clone()))),
            Err(error) => {
                tracing::debug!(%error, "a connection to the outside was not accepted");
                env.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The other side sees the connection break, not end.
fn reset(stream: &TcpStream) {
    // Without it the other side sees an orderly end; both say that there is nothing to be had.
    drop(stream.set_zero_linger());
}

async fn relay(mut inside: TcpStream, spec: Arc<EnvironmentSpec>, env: Env) {
    if let Err(error) = attempt(&mut inside, &spec, &env).await {
        tracing::debug!(function = spec.function_name, %error, "a connection to the outside ended");
        reset(&inside);
    }
}

async fn attempt(inside: &mut TcpStream, spec: &EnvironmentSpec, env: &Env) -> io::Result<()> {
    // Every address is local in the namespace: the connection's own end is the address that the function meant.
    let meant = inside.local_addr()?;
    let address = meant.ip().to_canonical();
    if let Err(denied) = egress::judge(meant.ip(), &spec.egress_allow, is_own) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{address} is refused: {denied:?}")));
    }
    let dialled = env.timeout(DIAL_WAIT, TcpStream::connect(SocketAddr::new(address, meant.port()))).await;
    let mut outside = dialled.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
    let moved = AtomicU64::new(0);
    let ((inside_read, inside_write), (outside_read, outside_write)) = (inside.split(), outside.split());
    let result = tokio::select! {
        both = async { tokio::try_join!(pump(inside_read, outside_write, &moved), pump(outside_read, inside_write, &moved)) } => {
            both.map(drop)
        }
        () = idle(&moved, env) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was moved for too long")),
    };
    if result.is_err() {
        reset(&outside);
    }
    result
}

/// Moves bytes one way until that way ends, and ends the other side's in turn.
async fn pump(from: ReadHalf<'_>, mut to: WriteHalf<'_>, moved: &AtomicU64) -> io::Result<()> {
    loop {
        from.readable().await?;
        // Made only when there is something: a connection that waits holds nothing.
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        match from.try_read_buf(&mut buffer) {
            Ok(0) => return to.shutdown().await,
            Ok(_) => to.write_all(&buffer).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

/// Resolves when nothing has moved during a whole [`IDLE_MAX`].
async fn idle(moved: &AtomicU64, env: &Env) {
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        env.sleep(IDLE_MAX).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_addresses_are_known_by_the_way_to_them() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(
            is_own(Ipv4Addr::new(127, 3, 2, 1).into()) || source_towards(Ipv4Addr::new(127, 3, 2, 1).into()).is_ok()
        );
        assert!(!is_own(Ipv4Addr::new(203, 0, 113, 9).into()));
    }

    #[tokio::test]
    async fn bytes_are_moved_both_ways_and_ends_are_handed_on() {
        use tokio::io::AsyncReadExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || async { tokio::join!(TcpStream::connect(address), listener.accept()) };
        let ((function, inside), (outside, server)) = (connect().await, connect().await);
        let (mut function, mut inside) = (function.unwrap(), inside.unwrap().0);
        let (mut outside, mut server) = (outside.unwrap(), server.unwrap().0);
        tokio::spawn(async move {
            let moved = AtomicU64::new(0);
            let ((ir, iw), (or, ow)) = (inside.split(), outside.split());
            tokio::try_join!(pump(ir, ow, &moved), pump(or, iw, &moved)).map(drop)
        });
        function.write_all(b"question").await.unwrap();
        function.shutdown().await.unwrap();
        let mut heard = String::new();
        server.read_to_string(&mut heard).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = String::new();
        function.read_to_string(&mut answer).await.unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("question", "answer"));
    }
}
