//! Hosts, pages, function URLs, own pages.

use edge_gateway::Settings;

use crate::harness::start;

const LIST: &str = "GET /2015-03-31/functions HTTP/1.1";

#[tokio::test]
async fn foreign_hosts_and_pages_reach_nothing() {
    let running = start(Settings::open("1")).await;
    for (head, status) in [
        (format!("{LIST}\r\nHost: 127.0.0.1:4566"), 200),
        (format!("{LIST}\r\nHost: localhost.localstack.cloud:4566"), 200),
        (format!("{LIST}\r\nHost: evil.example"), 421),
        (format!("{LIST}\r\nHost: 10.0.0.1"), 421),
        (format!("{LIST}\r\nHost: localhost\r\nHost: localhost"), 400),
        (format!("{LIST}\r\nOrigin: https://evil.example"), 403),
        (format!("{LIST}\r\nOrigin: null"), 403),
        (format!("{LIST}\r\nSec-Fetch-Site: cross-site"), 403),
        (format!("{LIST}\r\nSec-Fetch-Site: same-origin"), 403),
        (format!("{LIST}\r\nSec-Fetch-Site: none"), 200),
        ("OPTIONS /2015-03-31/functions HTTP/1.1\r\nOrigin: https://evil.example".to_owned(), 403),
        ("GET /_pileus/page HTTP/1.1\r\nSec-Fetch-Site: cross-site".to_owned(), 403),
        ("GET /_pileus/page HTTP/1.1\r\nSec-Fetch-Site: same-origin".to_owned(), 403),
        ("GET /_pileus/page HTTP/1.1\r\nSec-Fetch-Site: none".to_owned(), 200),
        ("GET /_pileus/health HTTP/1.1\r\nHost: evil.example".to_owned(), 421),
    ] {
        let answer = running.send(&head, b"").await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        assert!(!answer.head.to_ascii_lowercase().contains("access-control"), "{answer:?}");
    }
    let answer = running.raw(format!("{LIST}\r\n\r\n").as_bytes()).await;
    assert_eq!(answer.status, 400, "no Host at all: {answer:?}");
}

#[tokio::test]
async fn function_urls_are_reached_by_host_and_by_path_from_pages_too() {
    let running = start(Settings::open("1")).await;
    for (head, expected) in [
        (
            "GET /a%20b/c?x=1 HTTP/1.1\r\nHost: abc.lambda-url.eu-west-1.localhost:4566\r\nOrigin: https://evil.example",
            "url abc eu-west-1 /a%20b/c arn:aws:iam::000000000000:root",
        ),
        (
            "GET /_pileus/health HTTP/1.1\r\nHost: abc.lambda-url.eu-west-1.localhost:4566",
            "url abc eu-west-1 /_pileus/health arn:aws:iam::000000000000:root",
        ),
        (
            "GET /_pileus/url/abc/a//b?x HTTP/1.1\r\nSec-Fetch-Site: cross-site",
            "url abc - /a//b arn:aws:iam::000000000000:root",
        ),
        ("GET /_pileus/url/abc HTTP/1.1", "url abc - / arn:aws:iam::000000000000:root"),
    ] {
        let answer = running.send(head, b"").await;
        assert_eq!((answer.status, &*answer.body), (200, expected), "{head}");
    }
    for path in ["/_pileus/url/", "/_pileus/url/A_B/x", "/_pileus/nothing", "/_pileus/"] {
        assert_eq!(running.send(&format!("GET {path} HTTP/1.1"), b"").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn health_says_version_status_and_uptime() {
    let running = start(Settings::open("1.2.3")).await;
    let answer = running.send("GET /_pileus/health HTTP/1.1", b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&document["version"], &document["status"]), (&"1.2.3".into(), &"ok".into()));
    assert!(document["uptime_ms"].is_u64());
}
