//! The dialler against real listeners.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base_env::Env;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use services_ports::{Outbound, OutboundError, OutboundRequest, OutboundResponse};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

use crate::{HttpOutbound, Rules};

fn outbound(private: bool) -> HttpOutbound {
    HttpOutbound::new(Rules { private, allowed: Vec::new() }, Env::real())
}

fn post(uri: &str) -> OutboundRequest {
    OutboundRequest {
        method: Method::POST,
        uri: uri.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"hello"),
        time_limit: Duration::from_secs(5),
        response_bytes_max: 1000,
        redirects_max: 3,
    }
}

/// Reads one request: its head and body.
async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&chunk[..read]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(whole);
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: impl Fn(&str) -> String) {
    while let Some(text) = request(&mut stream).await {
        if stream.write_all(answer(&text).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A server that answers each request with what `answer` makes of it; its address and the connections it took.
async fn server(answer: impl Fn(&str) -> String + Clone + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(converse(stream, answer.clone()));
        }
    });
    (address, count)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn to(location: &str, status: u16) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

fn text(response: &OutboundResponse) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_arrives_whole_and_its_connection_is_used_again() {
    let (address, connections) = server(ok).await;
    let outbound = outbound(true);
    for _ in 0..3 {
        let response = outbound.send(post(&format!("http://{address}/a?b=c"))).await.unwrap();
        let seen = text(&response).to_lowercase();
        assert!(seen.starts_with("post /a?b=c http/1.1\r\n"), "{seen}");
        assert!(seen.contains(&format!("host: {address}")) && seen.ends_with("\r\n\r\nhello"), "{seen}");
        assert!(seen.contains("user-agent: pileus/"), "{seen}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_status_is_an_answer() {
    let (address, _) = server(|_| "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno".to_owned()).await;
    let response = outbound(true).send(post(&format!("http://{address}/"))).await.unwrap();
    assert_eq!((response.status.as_u16(), text(&response)), (503, "no".to_owned()));
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_was_asked_for() {
    let (address, _) = server(|_| ok(&"x".repeat(100_000))).await;
    let call = OutboundRequest { response_bytes_max: 7, ..post(&format!("http://{address}/")) };
    assert_eq!(text(&outbound(true).send(call).await.unwrap()), "xxxxxxx");
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let call = OutboundRequest { time_limit: Duration::from_millis(200), ..post(&format!("http://{address}/")) };
    assert!(matches!(outbound(true).send(call).await, Err(OutboundError::TimedOut(_))));
}

#[tokio::test]
async fn who_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = outbound(true).send(post(&format!("http://{address}/"))).await.unwrap_err();
    assert!(matches!(&error, OutboundError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    let error = outbound(true).send(post("http://nobody.invalid/")).await.unwrap_err();
    assert!(matches!(&error, OutboundError::Unreachable { reason, .. } if reason.contains("name")), "{error}");
}

#[tokio::test]
async fn loopback_is_refused_in_every_writing_and_by_every_name() {
    let (address, connections) = server(|_| ok("inside")).await;
    let port = address.port();
    let outbound = outbound(false);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "0",
    ] {
        let error = outbound.send(post(&format!("http://{host}:{port}/"))).await.unwrap_err();
        assert!(matches!(error, OutboundError::Forbidden { .. }), "{host}: {error}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn metadata_services_are_refused_in_the_open_mode_too() {
    let outbound = outbound(true);
    for host in ["169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "169.254.170.2"] {
        let error = outbound.send(post(&format!("http://{host}/latest/meta-data"))).await.unwrap_err();
        assert!(matches!(error, OutboundError::Forbidden { .. }), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_is_judged_like_any_address() {
    let (address, _) = server(|_| to("http://169.254.169.254/latest", 307)).await;
    let error = outbound(true).send(post(&format!("http://{address}/"))).await.unwrap_err();
    assert!(matches!(error, OutboundError::Forbidden { .. }), "{error}");
    // A private network that is named may send on to loopback, which is not.
    let inside = Rules { private: false, allowed: vec![format!("{}", address.ip()).parse().unwrap()] };
    let (other, connections) = server(|_| ok("inside")).await;
    let port = other.port();
    let (address, _) = server(move |_| to(&format!("http://localhost:{port}/"), 307)).await;
    let outbound = HttpOutbound::new(inside.clone(), Env::real());
    let reached = outbound.send(post(&format!("http://{address}/"))).await.unwrap();
    assert_eq!((text(&reached), connections.load(Ordering::SeqCst)), ("inside".to_owned(), 1));
    let (address, _) = server(move |_| to(&format!("http://127.0.0.2:{port}/"), 307)).await;
    let error = outbound.send(post(&format!("http://{address}/"))).await.unwrap_err();
    assert!(matches!(error, OutboundError::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_was_asked() {
    let (address, _) = server(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path {
            "/once" => to("end", 307),
            "/see" => to("/end", 303),
            "/end" => ok(&request.to_lowercase()),
            _ => to("/loop", 308),
        }
    })
    .await;
    let (outbound, uri) = (outbound(true), |path: &str| format!("http://{address}{path}"));
    let once = text(&outbound.send(post(&uri("/once"))).await.unwrap());
    assert!(once.starts_with("post /end") && once.ends_with("hello"), "{once}");
    let seen = text(&outbound.send(post(&uri("/see"))).await.unwrap());
    assert!(seen.starts_with("get /end") && seen.ends_with("\r\n\r\n"), "{seen}");
    let looped = outbound.send(post(&uri("/loop"))).await.unwrap();
    assert_eq!(looped.status.as_u16(), 308);
    let never = OutboundRequest { redirects_max: 0, ..post(&uri("/once")) };
    assert_eq!(outbound.send(never).await.unwrap().status.as_u16(), 307);
}

#[tokio::test]
async fn credentials_do_not_go_to_another_origin() {
    let (other, _) = server(|request| ok(&request.to_lowercase())).await;
    let (address, _) = server(move |_| to(&format!("http://{other}/"), 307)).await;
    let mut call = post(&format!("http://{address}/"));
    call.headers.insert("authorization", HeaderValue::from_static("secret"));
    call.headers.insert("x-kept", HeaderValue::from_static("kept"));
    let seen = text(&outbound(true).send(call).await.unwrap());
    assert!(!seen.contains("secret") && seen.contains("x-kept: kept"), "{seen}");
}

#[test]
fn what_cannot_be_called_is_told_without_calling() {
    let outbound = HttpOutbound::new(Rules::default(), Env::real());
    let check = |uri: &str| outbound.check(&uri.parse().unwrap());
    for uri in ["ftp://a/", "/path", "http://user:word@a/", "http://a:0/", &format!("http://a/{}", "x".repeat(8200))] {
        assert!(matches!(check(uri), Err(OutboundError::Invalid { .. })), "{uri}");
    }
    for uri in ["http://10.0.0.1/", "https://2130706433/", "http://[fe80::1]/"] {
        assert!(matches!(check(uri), Err(OutboundError::Forbidden { .. })), "{uri}");
    }
    for uri in ["http://example.com/", "https://8.8.8.8:8443/x"] {
        assert!(check(uri).is_ok(), "{uri}");
    }
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_only() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(converse(stream, |_| ok("secure")));
            }
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let rules = Rules { private: true, allowed: Vec::new() };
    let trusting = HttpOutbound::with_roots(rules, Env::real(), roots);
    let uri = format!("https://localhost:{port}/");
    assert_eq!(text(&trusting.send(post(&uri)).await.unwrap()), "secure");
    let error = outbound(true).send(post(&uri)).await.unwrap_err();
    assert!(matches!(error, OutboundError::Unreachable { .. }), "{error}");
    let error = trusting.send(post(&format!("https://127.0.0.1:{port}/"))).await.unwrap_err();
    assert!(matches!(error, OutboundError::Unreachable { .. }), "another name: {error}");
}
