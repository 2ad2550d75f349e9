//! The official runtime clients, unmodified, as custom runtimes. `tests/clients/install FOLDER` makes them;
//! `PILEUS_CLIENTS=FOLDER` shows them to these tests, which say when they have nothing to run.

use std::path::PathBuf;

use compute_api::{Environment, output};
use serde_json::json;

use crate::harness::{bench, block_on, event, failure, spec, success};

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
