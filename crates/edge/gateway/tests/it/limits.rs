//! Every bound has its answer, and the next request is served.

use std::time::Duration;

use base_env::Env;
use edge_gateway::Settings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{exchange, request, start};

const INVOKE: &str = "POST /2015-03-31/functions/f/invocations HTTP/1.1";
const LIST: &str = "GET /2015-03-31/functions HTTP/1.1";

#[tokio::test]
async fn a_body_above_its_operations_limit_is_answered_by_name() {
    let running = start(Settings::open("1")).await;
    let invoke = model_lambda::SERVICE.operation("Invoke").unwrap();
    let limit = invoke.body_bytes_max;
    let body = vec![b' '; limit + 1];
    let expected =
        format!(r#"{{"message":"Request must be smaller than {limit} bytes for the InvokeFunction operation"}}"#);
    let answer = running.send(INVOKE, &body).await;
    assert_eq!((answer.status, &*answer.body), (413, &*expected));
    assert_eq!(answer.header("x-amzn-errortype"), Some("RequestEntityTooLargeException"));
    let mut chunked = format!("{INVOKE}\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in body.chunks(65536) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = running.raw(&chunked).await;
    assert_eq!((answer.status, &*answer.body), (413, &*expected), "chunked");
    let answer = running.send(INVOKE, &body[..limit]).await;
    assert!(answer.body.ends_with(&format!(" {limit}[]")), "{answer:?}");
}

#[tokio::test]
async fn one_connection_serves_many_requests_after_refusals_too() {
    let running = start(Settings::open("1")).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    for (head, status) in [(LIST, 200), ("GET /nothing HTTP/1.1", 404), (INVOKE, 200), (LIST, 200)] {
        assert_eq!(exchange(&mut stream, &request(head, b"")).await.status, status, "{head}");
    }
}

#[tokio::test]
async fn heads_that_are_too_large_or_malformed_are_refused() {
    let running = start(Settings::open("1")).await;
    let large = format!("{LIST}\r\nX-Large: {}", "x".repeat(70_000));
    let many: String = (0..150).map(|i| format!("\r\nX-Many-{i}: x")).collect();
    for (bytes, status) in [
        (request(&large, b""), 431),
        (request(&format!("{LIST}{many}"), b""), 431),
        (b"GARBAGE\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(), 400),
    ] {
        assert_eq!(
            running.raw(&bytes).await.status,
            status,
            "{:?}",
            String::from_utf8_lossy(&bytes[..60.min(bytes.len())])
        );
    }
    assert_eq!(running.send(LIST, b"").await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_given_up() {
    let mut settings = Settings::open("1");
    settings.limits.body_timeout = Duration::from_millis(50);
    let running = start(settings).await;
    let answer = running.raw(format!("{INVOKE}\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").as_bytes()).await;
    assert_eq!(answer.status, 408, "{answer:?}");
}

#[tokio::test]
async fn a_truncated_body_reaches_no_service() {
    let running = start(Settings::open("1")).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(format!("{INVOKE}\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut read = String::new();
    drop(stream.read_to_string(&mut read).await);
    assert!(read.is_empty() || read.starts_with("HTTP/1.1 400"), "{read}");
    assert_eq!(running.send(LIST, b"").await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let mut settings = Settings::open("1");
    settings.limits.head_timeout = Duration::from_millis(50);
    let running = start(settings).await;
    let answer = running.raw(b"GET / HT").await;
    assert!(answer.status == 0 || answer.status == 408, "{answer:?}");
}

#[tokio::test]
async fn connections_above_the_limit_wait_and_are_served_later() {
    let mut settings = Settings::open("1");
    settings.limits.connections = 1;
    let running = start(settings).await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(exchange(&mut first, &request(LIST, b"")).await.status, 200);
    let mut second = TcpStream::connect(running.address).await.unwrap();
    second.write_all(&request(LIST, b"")).await.unwrap();
    let env = Env::real();
    let mut byte = [0];
    assert!(env.timeout(Duration::from_millis(100), second.read(&mut byte)).await.is_err(), "served beside the first");
    drop(first);
    assert_eq!(second.read(&mut byte).await.unwrap(), 1);
}

#[tokio::test]
async fn large_bodies_share_the_memory_for_all_bodies() {
    let mut settings = Settings::open("1");
    settings.limits.bodies_bytes = 1024 * 1024;
    let running = start(settings).await;
    let body = vec![b' '; 900 * 1024];
    let wait = "POST /2015-03-31/functions/wait/invocations HTTP/1.1";
    let (first, second) = tokio::join!(running.send(wait, &body), async {
        running.entered.notified().await;
        // The first holds its memory inside the service; the second is not read until it is released.
        let env = Env::real();
        let second = running.send(INVOKE, &body);
        let mut second = std::pin::pin!(second);
        assert!(env.timeout(Duration::from_millis(100), second.as_mut()).await.is_err());
        running.release.notify_one();
        second.await
    });
    assert_eq!((first.status, second.status), (200, 200));
}

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_takes_nothing_new() {
    let running = start(Settings::open("1")).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(exchange(&mut idle, &request(LIST, b"")).await.status, 200);
    let wait = "POST /2015-03-31/functions/wait/invocations HTTP/1.1";
    let (answer, drained) = tokio::join!(running.send(wait, b"{}"), async {
        running.entered.notified().await;
        let release = std::sync::Arc::clone(&running.release);
        let gateway = running.gateway.clone();
        let draining = tokio::spawn(async move { gateway.drain().await });
        let mut byte = [0];
        assert_eq!(idle.read(&mut byte).await.unwrap(), 0, "an idle connection is closed at once");
        release.notify_one();
        draining.await.unwrap()
    });
    assert_eq!((answer.status, drained), (200, true));
    assert!(TcpStream::connect(running.address).await.is_err(), "the listener is gone");
}

#[tokio::test]
async fn draining_gives_up_after_its_limit() {
    let mut settings = Settings::open("1");
    settings.limits.drain = Duration::from_millis(50);
    let running = start(settings).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&request("POST /2015-03-31/functions/wait/invocations HTTP/1.1", b"")).await.unwrap();
    running.entered.notified().await;
    assert!(!running.gateway.drain().await);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_its_connection() {
    let mut settings = Settings::open("1");
    settings.limits.unread_timeout = Duration::from_millis(300);
    let running = start(settings).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let flood = "POST /2015-03-31/functions/flood/invocations HTTP/1.1";
    stream.write_all(&request(flood, b"")).await.unwrap();
    // The flood's maker is told that nobody takes its pieces any more.
    Env::real().timeout(Duration::from_secs(20), running.entered.notified()).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_continue_with_too_large_a_body_is_answered_at_once() {
    let running = start(Settings::open("1")).await;
    let head = format!("{INVOKE}\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 100000000\r\n\r\n");
    let answer = running.raw(head.as_bytes()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
}
