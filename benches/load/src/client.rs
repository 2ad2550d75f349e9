//! The load client: one prepared request, sent again and again over kept connections, and how long each took.

use std::time::Duration;

use base_env::Env;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};
use wire_sigv4::{Credentials, Rules, Signer};

use crate::Failure;

/// A request as it is sent every time; its signature is good for some minutes.
#[derive(Clone)]
pub(crate) struct Prepared {
    port: u16,
    request: Request<Bytes>,
}

/// How long the requests of a load took.
#[derive(Default)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
    elapsed: Duration,
}

impl Prepared {
    /// A plain request.
    pub(crate) fn plain(port: u16, method: Method, target: &str, body: &'static [u8]) -> Result<Self, Failure> {
        let mut request = Request::builder().method(method).uri(target).body(Bytes::from_static(body))?;
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(&format!("127.0.0.1:{port}"))?);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { port, request })
    }

    /// A request to Lambda, signed as any SDK does.
    pub(crate) fn signed(env: &Env, port: u16, method: Method, target: &str, body: Bytes) -> Result<Self, Failure> {
        let mut plain = Self::plain(port, method, target, b"")?;
        *plain.request.body_mut() = body;
        let credentials = Credentials { key_id: "test".to_owned(), secret: "test".to_owned(), token: None };
        let signer =
            Signer { credentials, region: "us-east-1".to_owned(), service: "lambda".to_owned(), rules: Rules::Common };
        let (mut head, body) = plain.request.into_parts();
        let added = signer.sign(&wire_sigv4::Request::from(&head), &body, env.now())?;
        head.headers.extend(added);
        Ok(Self { port, request: Request::from_parts(head, body) })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        self.request.clone().map(Full::new)
    }

    /// One answer over a connection of its own: its status and body.
    pub(crate) async fn once(&self) -> Result<(u16, Bytes), Failure> {
        let mut sender = connect(self.port).await?;
        let response = sender.send_request(self.request()).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// One answer to an invocation: its status, whether the function failed, and what it said.
    pub(crate) async fn invoked(&self) -> Result<(u16, bool, Bytes), Failure> {
        let mut sender = connect(self.port).await?;
        let (head, body) = sender.send_request(self.request()).await?.into_parts();
        let failed = head.headers.contains_key("x-amz-function-error");
        Ok((head.status.as_u16(), failed, body.collect().await?.to_bytes()))
    }
}

async fn connect(port: u16) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    drop(tokio::spawn(connection));
    Ok(sender)
}

/// Sends over `connections` connections for `span`; an answer that is no success, or a function's error, ends it.
pub(crate) async fn load(
    env: &Env,
    prepared: &Prepared,
    connections: usize,
    span: Duration,
) -> Result<Latencies, Failure> {
    let started = env.monotonic();
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let (env, prepared) = (env.clone(), prepared.clone());
        senders.spawn(async move {
            let mut taken = Vec::new();
            let mut sender = connect(prepared.port).await?;
            while env.monotonic().since(started) < span {
                let begun = env.monotonic();
                let response = sender.send_request(prepared.request()).await?;
                let (head, body) = response.into_parts();
                let body = body.collect().await?.to_bytes();
                taken.push(env.monotonic().since(begun));
                if !head.status.is_success() || head.headers.contains_key("x-amz-function-error") {
                    return Err(Failure::from(format!("status {}: {}", head.status, String::from_utf8_lossy(&body))));
                }
            }
            Ok(taken)
        });
    }
    let mut all = Vec::new();
    while let Some(taken) = senders.join_next().await {
        all.extend(taken??);
    }
    Ok(Latencies::new(all, env.monotonic().since(started)))
}

impl Latencies {
    /// Orders what was measured.
    pub(crate) fn new(mut taken: Vec<Duration>, elapsed: Duration) -> Self {
        taken.sort_unstable();
        Self { sorted: taken, elapsed }
    }

    /// The duration below which this many percent lie; zero when nothing was measured.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get(last * percent / 100).copied().unwrap_or_default()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The one of two runs that had the smaller median.
    pub(crate) fn better(self, other: Self) -> Self {
        if other.percentile(50) < self.percentile(50) || self.sorted.is_empty() { other } else { self }
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        let elapsed = self.elapsed + other.elapsed;
        Self::new([self.sorted, other.sorted].concat(), elapsed)
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        let count = u32::try_from(self.sorted.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.elapsed.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_from_the_order() {
        let taken = (0..=100).rev().map(Duration::from_millis).collect();
        let latencies = Latencies::new(taken, Duration::from_secs(1));
        assert_eq!(latencies.percentile(50), Duration::from_millis(50));
        assert_eq!(latencies.percentile(99), Duration::from_millis(99));
        assert!((latencies.rate() - 101.0).abs() < 1e-9);
        assert_eq!(Latencies::new(Vec::new(), Duration::ZERO).percentile(50), Duration::ZERO);
    }
}
