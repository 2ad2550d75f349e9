//! The gateway before a service that does nothing, against bare hyper: same process, same client, same answer.
//!
//! Prints median and 99th percentile in microseconds for one and for eight connections, and the ratios. Signed requests
//! in the required mode show what verification costs. Run with `cargo bench -p edge-gateway`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot run has nothing to say")]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Fault};
use bytes::Bytes;
use edge_gateway::{Body, Call, Gateway, Key, Lookup, OwnCall, Settings, Upstream, UrlCall};
use http::{HeaderMap, Response};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use services_kernel::Principal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wire_schema::ServiceSchema;
use wire_sigv4::{Credentials, Request, Rules, Signer};

const REQUESTS: usize = 20_000;
const ANSWER: &[u8] = b"{}";
const TARGET: &str = "/2015-03-31/functions/hello/invocations";

struct Nothing;

impl Upstream for Nothing {
    fn services(&self) -> &[&'static ServiceSchema] {
        static SERVICES: [&ServiceSchema; 2] = [&model_lambda::SERVICE, &model_logs::SERVICE];
        &SERVICES
    }

    async fn call(&self, _: Call) -> Response<Body> {
        Response::new(Body::from(Bytes::from_static(ANSWER)))
    }

    async fn function_url(&self, _: UrlCall) -> Response<Body> {
        Response::new(Body::from(Bytes::from_static(ANSWER)))
    }

    async fn own(&self, _: OwnCall) -> Option<Response<Body>> {
        None
    }

    async fn key(&self, key_id: &str, _: Option<&str>) -> Result<Lookup, Fault> {
        let account = AccountId::DEFAULT;
        let key = Key { secret: "secret".into(), principal: Arc::new(Principal::Root { account }), account };
        Ok(if key_id == "AKID" { Lookup::Found(key) } else { Lookup::Unknown })
    }
}

async fn bare() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let service =
                    service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER)))) });
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

async fn gateway(settings: Settings) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = Gateway::new(Nothing, settings, Env::real());
    tokio::spawn(async move { gateway.serve(listener).await });
    address
}

/// The same bytes again and again: the date of a signature is good for five minutes.
fn request(env: &Env) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    headers.insert("host", "localhost".parse().unwrap());
    let credentials = Credentials { key_id: "AKID".into(), secret: "secret".into(), token: None };
    let signer = Signer { credentials, region: "us-east-1".into(), service: "lambda".into(), rules: Rules::Common };
    let body = b"{\"name\":\"Ada\"}";
    let signable = Request { method: "POST", path: TARGET, query: "", headers: &headers };
    let added = signer.sign(&signable, body, env.now()).unwrap();
    headers.extend(added);
    let mut text = format!("POST {TARGET} HTTP/1.1\r\n");
    for (name, value) in &headers {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The times of `count` requests over one connection, one after the other.
async fn drive(env: Env, address: SocketAddr, request: Arc<Vec<u8>>, count: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = env.monotonic();
        stream.write_all(&request).await.unwrap();
        let mut length = 0;
        loop {
            let read = stream.read(&mut buffer[length..]).await.unwrap();
            assert!(read > 0, "the connection was closed");
            length += read;
            if buffer[..length].ends_with(b"\r\n\r\n{}") {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"));
        times.push(env.monotonic().since(began));
    }
    times
}

async fn measure(env: &Env, address: SocketAddr, request: &Arc<Vec<u8>>, connections: usize) -> (f64, f64) {
    let mut tasks = Vec::new();
    for _ in 0..connections {
        tasks.push(tokio::spawn(drive(env.clone(), address, Arc::clone(request), REQUESTS / connections)));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    (at(0.5), at(0.99))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let env = Env::real();
        let request = Arc::new(request(&env));
        let servers = [("bare hyper", bare().await), ("gateway", gateway(Settings::required("bench")).await)];
        for connections in [1, 8] {
            // Warm both, then take turns, so that a noisy moment hits both.
            let mut best = [(f64::MAX, f64::MAX); 2];
            for round in 0..4 {
                for (index, (_, address)) in servers.iter().enumerate() {
                    let (median, tail) = measure(&env, *address, &request, connections).await;
                    if round > 0 && median < best[index].0 {
                        best[index] = (median, tail);
                    }
                }
            }
            for ((name, _), (median, tail)) in servers.iter().zip(best) {
                println!("c{connections} {name:<11} p50 {median:7.1} µs   p99 {tail:7.1} µs");
            }
            println!(
                "c{connections} ratio       p50 {:7.2}      p99 {:7.2}",
                best[1].0 / best[0].0,
                best[1].1 / best[0].1
            );
        }
    });
}
