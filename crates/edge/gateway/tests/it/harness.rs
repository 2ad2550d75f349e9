//! A running gateway, a client that sends exactly the bytes it is told to, and an upstream that echoes.

use std::{net::SocketAddr, sync::Arc};

use base_env::Env;
use base_types::{AccountId, Fault, Timestamp};
use bytes::Bytes;
use edge_gateway::{Body, ByteStream, Call, Environment, Gateway, Key, Lookup, OwnCall, Settings, Upstream, UrlCall};
use http::{HeaderMap, Response};
use services_kernel::Principal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use wire_schema::ServiceSchema;
use wire_sigv4::{Credentials, Request, Rules, Signer};

/// The key of account 111111111111's root.
pub(crate) const ROOT_KEY: &str = "AKIAROOTROOTROOTROOT";
pub(crate) const ROOT_SECRET: &str = "root/secret";
/// A session of the role `worker`; its token is `session-token`.
pub(crate) const ROLE_KEY: &str = "ASIAROLEROLEROLEROLE";
pub(crate) const ROLE_SECRET: &str = "role/secret";

/// Says what reached it; panics, streams or waits when the path asks for it.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) release: Arc<Notify>,
    pub(crate) entered: Arc<Notify>,
}

impl Upstream for Echo {
    fn services(&self) -> &[&'static ServiceSchema] {
        static SERVICES: [&ServiceSchema; 4] =
            [&model_lambda::SERVICE, &model_logs::SERVICE, &model_sts::SERVICE, &model_sqs::SERVICE];
        &SERVICES
    }

    async fn call(&self, call: Call) -> Response<Body> {
        let path = call.head.uri.path();
        assert!(!path.contains("panic"), "told to panic");
        if path.contains("wait") {
            self.entered.notify_one();
            self.release.notified().await;
        }
        if path.contains("flood") {
            let (sender, stream) = ByteStream::channel(1);
            let ended = Arc::clone(&self.entered);
            tokio::spawn(async move {
                while sender.send(Bytes::from(vec![0; 1 << 20])).await {}
                ended.notify_one();
            });
            return Response::new(Body::Stream(stream));
        }
        if path.contains("trickle") {
            // One piece, then one more for every release, until nobody reads.
            let (sender, stream) = ByteStream::channel(1);
            let (entered, release) = (Arc::clone(&self.entered), Arc::clone(&self.release));
            let broken = path.contains("broken");
            tokio::spawn(async move {
                assert!(sender.send(Bytes::from("first ")).await);
                tokio::select! {
                    () = sender.closed() => return entered.notify_one(),
                    () = release.notified() => {}
                }
                if broken {
                    return sender.fail(Fault::new(base_types::FaultKind::Internal, "make the second piece")).await;
                }
                assert!(sender.send(Bytes::from("second")).await);
            });
            return Response::new(Body::Stream(stream));
        }
        if path.contains("stream") {
            let (sender, stream) = ByteStream::channel(1);
            tokio::spawn(async move {
                for piece in ["one ", "two ", "three"] {
                    assert!(sender.send(Bytes::from(piece)).await);
                }
            });
            return Response::new(Body::Stream(stream));
        }
        let operation = call.operation.map_or("?", |operation| operation.name);
        let (service, protocol, cx) = (call.service.name, call.protocol, &call.cx);
        let inside = call.environment.as_ref().map_or("", |environment| environment.id.as_str());
        text(format!(
            "{service} {protocol:?} {operation} {} {} {} {} {}[{inside}]",
            cx.account,
            cx.region,
            cx.principal,
            cx.endpoint,
            call.body.len()
        ))
    }

    async fn function_url(&self, call: UrlCall) -> Response<Body> {
        let region = call.region.map_or("-".to_owned(), |region| region.to_string());
        let who = call.identity.map_or_else(|error| format!("{error:?}"), |identity| identity.principal.to_string());
        text(format!("url {} {region} {} {who}", call.url_id, call.path))
    }

    async fn own(&self, call: OwnCall) -> Option<Response<Body>> {
        (call.path == "page").then(|| text(format!("own {}", call.identity.is_ok())))
    }

    async fn key(&self, key_id: &str, token: Option<&str>) -> Result<Lookup, Fault> {
        let account: AccountId = "111111111111".parse().unwrap();
        Ok(match (key_id, token) {
            (ROOT_KEY, None) => Lookup::Found(Key {
                secret: ROOT_SECRET.into(),
                principal: Arc::new(Principal::Root { account }),
                account,
            }),
            (ROLE_KEY, Some("session-token")) => Lookup::Found(Key {
                secret: ROLE_SECRET.into(),
                principal: Arc::new(Principal::AssumedRole { account, role: "worker".into(), session: "s".into() }),
                account,
            }),
            (ROLE_KEY, Some("old-token")) => Lookup::Expired,
            (ROLE_KEY | ROOT_KEY, _) => Lookup::InvalidToken,
            ("AKIABROKEN", _) => {
                return Err(Fault::new(base_types::FaultKind::Internal, "read the key"));
            }
            _ => Lookup::Unknown,
        })
    }
}

fn text(text: String) -> Response<Body> {
    Response::new(Body::from(Bytes::from(text)))
}

pub(crate) struct Running {
    pub(crate) gateway: Gateway<Echo>,
    pub(crate) address: SocketAddr,
    pub(crate) release: Arc<Notify>,
    pub(crate) entered: Arc<Notify>,
}

pub(crate) async fn start(settings: Settings) -> Running {
    start_with(settings, Env::real()).await
}

pub(crate) async fn start_with(settings: Settings, env: Env) -> Running {
    let echo = Echo::default();
    let (release, entered) = (Arc::clone(&echo.release), Arc::clone(&echo.entered));
    let gateway = Gateway::new(echo, settings, env);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.serve(listener).await }
    });
    Running { gateway, address, release, entered }
}

impl Running {
    /// Sends bytes on a connection of their own and reads until the server closes or the answer is complete.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        exchange(&mut stream, bytes).await
    }

    /// Sends a request head (without `Host`, which is `localhost`) and a body of the right length.
    pub(crate) async fn send(&self, head: &str, body: &[u8]) -> Answer {
        self.raw(&request(head, body)).await
    }

    /// The same from inside an execution environment.
    pub(crate) async fn send_inside(&self, head: &str, body: &[u8]) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let gateway = self.gateway.clone();
        let environment = Environment {
            id: "env-1".into(),
            account: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            function_arn: "arn:aws:lambda:us-east-1:111111111111:function:f".into(),
        };
        tokio::spawn(async move { gateway.serve_environment(stream, environment).await });
        exchange(&mut client, &request(head, body)).await
    }
}

pub(crate) fn request(head: &str, body: &[u8]) -> Vec<u8> {
    let host = if head.to_ascii_lowercase().contains("\r\nhost:") { "" } else { "Host: localhost\r\n" };
    let mut bytes = format!("{head}\r\n{host}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> Answer {
    // A server that answers before it has read everything may close while we still write.
    drop(stream.write_all(bytes).await);
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 16384];
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        read.extend_from_slice(&buffer[..count]);
        if count == 0 || is_complete(&read) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&read).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn is_complete(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| read.len() >= head.len() + 4 + length)
}

/// The header lines of a signed request.
pub(crate) fn signed(
    method: &str,
    target: &str,
    headers: &[(&'static str, &str)],
    body: &[u8],
    (key_id, secret, token): (&str, &str, Option<&str>),
    (service, region): (&str, &str),
    now: Timestamp,
) -> String {
    let mut map = HeaderMap::new();
    map.insert("host", "localhost".parse().unwrap());
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let credentials = Credentials { key_id: key_id.into(), secret: secret.into(), token: token.map(str::to_owned) };
    let signer = Signer { credentials, region: region.into(), service: service.into(), rules: Rules::Common };
    let added = signer.sign(&Request { method, path, query, headers: &map }, body, now).unwrap();
    map.extend(added);
    let lines: Vec<String> = map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    format!("{method} {target} HTTP/1.1\r\n{}", lines.join("\r\n"))
}
