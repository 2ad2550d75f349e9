//! Dialling: a name becomes addresses, each is judged, and what is dialled is an address that was judged.
//!
//! Nothing looks a name up a second time between the judgement and the connection, so a name that changes its answer gains
//! nothing.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use base_env::Env;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::judge::{Rules, literal};

/// Addresses of one name that are tried.
const TRIED_MAX: usize = 4;
/// For one attempt at one address; the request's own limit is around all of them.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Why nothing was connected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("`{host}` is {address}: {reason}")]
    Forbidden { host: String, address: IpAddr, reason: String },
    #[error("{0}")]
    Unreachable(String),
}

/// Connects to judged addresses only.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) rules: Arc<Rules>,
    pub(crate) env: Env,
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialler = self.clone();
        Box::pin(async move { dialler.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Dialler {
    async fn dial(&self, uri: &Uri) -> Result<TcpStream, DialError> {
        let host = uri.host().unwrap_or_default();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let found = match literal(host) {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => self.look_up(host, port).await?,
        };
        let mut refused = None;
        let mut last = None;
        for address in found.into_iter().take(TRIED_MAX) {
            // A scope or a form that hides an address would be judged as what it is.
            if let Err(reason) = self.rules.judge(address.ip()) {
                refused =
                    refused.or(Some(DialError::Forbidden { host: host.to_owned(), address: address.ip(), reason }));
                continue;
            }
            match self.env.timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small requests and answers: waiting to fill a packet helps nobody.
                    drop(stream.set_nodelay(true));
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Some(told(&error)),
                Err(_) => last = Some("the connection was not made in time".to_owned()),
            }
        }
        match (last, refused) {
            (Some(reason), _) => Err(DialError::Unreachable(reason)),
            (None, Some(refused)) => Err(refused),
            (None, None) => Err(DialError::Unreachable("the name has no address".to_owned())),
        }
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let name = host.to_owned();
        let looked = self.env.timeout(LOOKUP_LIMIT, tokio::net::lookup_host((name, port))).await;
        match looked {
            Ok(Ok(found)) => Ok(found.collect()),
            Ok(Err(error)) => Err(DialError::Unreachable(format!("its name was not found: {error}"))),
            Err(_) => Err(DialError::Unreachable("its name was not found in time".to_owned())),
        }
    }
}

fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused".to_owned(),
        _ => error.to_string(),
    }
}
