//! Answers that go on after they have begun: in chunks, to their end, to a client that goes, and while the server drains.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use edge_gateway::Settings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Running, request, start};

const TRICKLE: &str = "POST /2015-03-31/functions/trickle/invocations HTTP/1.1";

/// Sends a request and reads until `until` has been seen.
async fn begun(running: &Running, head: &str, until: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&request(head, b"")).await.unwrap();
    let mut text = String::new();
    while !text.contains(until) {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "closed after {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    (stream, text)
}

/// What follows on a connection until it ends or falls silent.
async fn rest(mut stream: TcpStream) -> String {
    let mut read = Vec::new();
    drop(Env::real().timeout(Duration::from_millis(500), stream.read_to_end(&mut read)).await);
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_piece_is_sent_before_the_next_one_is_made() {
    let running = start(Settings::open("1")).await;
    let (stream, text) = begun(&running, TRICKLE, "first ").await;
    assert!(text.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{text}");
    running.release.notify_one();
    assert_eq!(rest(stream).await, "6\r\nsecond\r\n0\r\n\r\n");
}

#[tokio::test]
async fn who_makes_a_stream_learns_that_its_client_has_gone() {
    let running = start(Settings::open("1")).await;
    let (stream, _) = begun(&running, TRICKLE, "first ").await;
    drop(stream);
    Env::real().timeout(Duration::from_secs(10), running.entered.notified()).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_fails_never_looks_complete() {
    let running = start(Settings::open("1")).await;
    let head = TRICKLE.replace("trickle", "trickle-broken");
    let (stream, _) = begun(&running, &head, "first ").await;
    running.release.notify_one();
    let rest = rest(stream).await;
    assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn a_head_request_gets_no_piece_and_keeps_its_connection() {
    let running = start(Settings::open("1")).await;
    let scope = "Authorization: AWS4-HMAC-SHA256 Credential=111111111111/20261123/eu-west-1/lambda/aws4_request";
    let (mut stream, text) = begun(&running, &format!("HEAD /stream HTTP/1.1\r\n{scope}"), "\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n"), "{text}");
    stream.write_all(&request("GET /_pileus/health HTTP/1.1", b"")).await.unwrap();
    let after = rest(stream).await;
    assert!(after.starts_with("HTTP/1.1 200") && after.contains("\"status\""), "{after}");
}

#[tokio::test]
async fn draining_lets_a_running_stream_come_to_its_end() {
    let running = start(Settings::open("1")).await;
    let (stream, _) = begun(&running, TRICKLE, "first ").await;
    let gateway = running.gateway.clone();
    let draining = tokio::spawn(async move { gateway.drain().await });
    Env::real().sleep(Duration::from_millis(50)).await;
    assert!(!draining.is_finished());
    Arc::clone(&running.release).notify_one();
    assert_eq!(rest(stream).await, "6\r\nsecond\r\n0\r\n\r\n");
    assert!(draining.await.unwrap());
}
