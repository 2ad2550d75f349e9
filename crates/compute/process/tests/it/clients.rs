//! The official runtime clients, unmodified, as custom runtimes. `tests/clients/install FOLDER` makes them;
//! `PILEUS_CLIENTS=FOLDER` shows them to these tests, which say when they have nothing to run.

use std::path::PathBuf;

use compute_api::{Environment, Outcome, output};
use serde_json::json;

use crate::{
    harness::{bench, block_on, event, failure, spec, success},
    stream::streamed,
};

/// The folder of a client, if it was installed.
fn client(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PILEUS_CLIENTS").map(|folder| PathBuf::from(folder).join(name));
    let found = folder.filter(|folder| folder.join("bootstrap").is_file());
    if found.is_none() {
        println!("left out: {name} is not installed; see tests/clients/install");
    }
    found
}

/// Three answers and an error from one environment.
fn serves(name: &str, language: &str, error_type: &str) {
    let Some(folder) = client(name) else { return };
    block_on(async {
        let (sink, _lines) = output::channel(1 << 20);
        let mut environment = bench().start(spec("provided.al2023", "index.handler", folder, sink)).await;
        for round in 0..3 {
            let id = format!("8286a188-ba32-4475-8077-530cd35c09a{round}");
            let answer = success(&environment.invoke(event(&id, r#"{"a":[1,"ü"]}"#)).await);
            assert_eq!(answer, json!({"client": language, "event": {"a": [1, "ü"]}, "id": id, "name": "probe"}));
        }
        let (_, document) =
            failure(&environment.invoke(event("8286a188-ba32-4475-8077-530cd35c09aa", r#"{"fail":1}"#)).await);
        assert_eq!(document["errorMessage"], "asked to");
        assert!(document["errorType"].as_str().unwrap().contains(error_type), "{document}");
        success(&environment.invoke(event("8286a188-ba32-4475-8077-530cd35c09ab", "{}")).await);
        environment.stop().await;
    });
}

#[test]
fn awslambdaric_is_served() {
    serves("awslambdaric", "python", "ValueError");
}

#[test]
fn aws_lambda_ric_is_served() {
    serves("aws-lambda-ric", "node", "TypeError");
}

#[test]
fn lambda_runtime_is_served() {
    serves("lambda_runtime", "rust", "Error");
}

/// What a client streams, and where it breaks off.
fn streams(name: &str, handler: &str, prelude: &str, error_type: Option<&str>) {
    let Some(folder) = client(name) else { return };
    block_on(async {
        let (sink, _lines) = output::channel(1 << 20);
        let mut environment = bench().start(spec("provided.al2023", handler, folder, sink)).await;
        let expected: String = (0..300).map(|piece| format!("piece {piece}\n")).collect();
        for (payload, breaks) in [(r#"{"stream":300}"#, false), (r#"{"stream":300,"break":1}"#, true)] {
            if breaks && error_type.is_none() {
                continue;
            }
            let (completion, kind, bytes) = streamed(&mut environment, payload).await;
            assert!(kind.is_some());
            let split = bytes.windows(8).position(|window| window == [0; 8]).map_or(0, |at| at + 8);
            assert_eq!(String::from_utf8_lossy(&bytes[..split.saturating_sub(8)]), prelude);
            let body = String::from_utf8(bytes[split..].to_vec()).unwrap();
            match completion.outcome {
                Outcome::Streamed { error: None, .. } if !breaks => assert_eq!(body, expected),
                Outcome::Streamed { error: Some(error), .. } if breaks => {
                    assert_eq!(Some(error.error_type.as_str()), error_type);
                    assert!(expected.starts_with(&body));
                }
                other => panic!("{other:?}, log: {}", String::from_utf8_lossy(&completion.log_tail)),
            }
        }
        environment.stop().await;
    });
}

#[test]
fn aws_lambda_ric_streams() {
    streams("aws-lambda-ric", "index.streaming", r#"{"statusCode":201}"#, Some("TypeError"));
}

#[test]
fn lambda_runtime_streams() {
    streams(
        "lambda_runtime",
        "any",
        r#"{"statusCode":200,"headers":{"content-type":"application/octet-stream"},"cookies":[]}"#,
        None,
    );
}
