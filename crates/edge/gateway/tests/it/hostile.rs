//! Whatever the bytes, the gateway answers something and goes on serving.

use edge_gateway::Settings;
use proptest::{prelude::*, test_runner::TestRunner};

use crate::harness::{Running, request, start};

fn heads() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "OPTIONS", "PUT", "BREW"]);
    let name = prop::sample::select(vec![
        "Host",
        "Authorization",
        "X-Amz-Target",
        "X-Amz-Date",
        "Content-Type",
        "Origin",
        "X-Amz-Security-Token",
        "Sec-Fetch-Site",
        "X-Amz-Content-Sha256",
        "Expect",
    ]);
    let headers = prop::collection::vec((name, "[ -~]{0,60}"), 0..6);
    (method, "/[!-~]{0,60}", headers, prop::collection::vec(any::<u8>(), 0..100)).prop_map(
        |(method, target, headers, body)| {
            let mut head = format!("{method} {target} HTTP/1.1");
            for (name, value) in headers {
                head.push_str(&format!("\r\n{name}: {value}"));
            }
            request(&head, &body)
        },
    )
}

async fn survives(running: &Running, bytes: &[u8]) {
    let answer = running.raw(bytes).await;
    assert!(answer.status < 500 || answer.status == 501, "{}: {answer:?}", String::from_utf8_lossy(bytes));
}

#[test]
fn no_head_breaks_the_gateway() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for settings in [Settings::open("1"), Settings::required("1")] {
        let running = runtime.block_on(start(settings));
        let mut runner = TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
        runner
            .run(&heads(), |bytes| {
                runtime.block_on(survives(&running, &bytes));
                Ok(())
            })
            .unwrap();
        assert_eq!(runtime.block_on(running.send("GET /_pileus/health HTTP/1.1", b"")).status, 200);
    }
}
