//! Connections that functions open to the AWS endpoint on their own loopback.
//!
//! The host accepts them on the listener that the environment's own network namespace holds and hands them to whoever
//! serves AWS's API, with the environment's identity. The socket names the *environment*; who the caller *is* follows from
//! the signature of each request. Guarantee: at most [`CONNECTIONS_MAX`] of one environment are open at a time.

use std::sync::Arc;

use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, mpsc},
};

use crate::{EnvironmentId, EnvironmentSpec};

/// The greatest number of open connections of one environment, per listener.
pub const CONNECTIONS_MAX: usize = 64;
/// The endpoint's port on the function's loopback.
pub const ENDPOINT_PORT: u16 = 4566;

/// Makes the channel between hosts and whoever serves AWS's API. At most `bound` accepted connections wait.
#[must_use]
pub fn endpoint_channel(bound: usize) -> (EndpointSender, EndpointConnections) {
    let (sender, receiver) = mpsc::channel(bound.max(1));
    (EndpointSender(sender), EndpointConnections(receiver))
}

/// One accepted connection.
#[derive(Debug)]
pub struct EndpointConnection {
    /// The connection. Its peer address lies in the function's network namespace and means nothing here.
    pub stream: TcpStream,
    /// The environment it came from.
    pub environment: EnvironmentId,
    /// What that environment was made from: account, region, function, role and credentials.
    pub spec: Arc<EnvironmentSpec>,
    /// The place it takes among [`CONNECTIONS_MAX`]; keep it as long as the connection.
    pub permit: OwnedSemaphorePermit,
}

/// The host's end.
#[derive(Clone, Debug)]
pub struct EndpointSender(mpsc::Sender<EndpointConnection>);

impl EndpointSender {
    /// Hands a connection over, waiting for room. Answers false when nobody serves any more; the connection is closed.
    pub async fn send(&self, connection: EndpointConnection) -> bool {
        self.0.send(connection).await.is_ok()
    }
}

/// The server's end.
#[derive(Debug)]
pub struct EndpointConnections(mpsc::Receiver<EndpointConnection>);

impl EndpointConnections {
    /// The next connection, or none when every host is gone.
    pub async fn next(&mut self) -> Option<EndpointConnection> {
        self.0.recv().await
    }
}
