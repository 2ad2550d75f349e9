//! A launcher that is killed is replaced: what it ran is gone, what starts afterwards runs.

use std::time::Duration;

use compute_api::{Environment, Exit};
use serde_json::json;

use crate::harness::{Bench, block_on, event, success};

const SIGKILL: i32 = 9;

#[test]
fn a_killed_launcher_is_replaced_and_what_it_ran_is_gone() {
    block_on(async {
        let bench = Bench::open();
        let code = "import os\ndef handler(event, context):\n    return os.getuid()\n";
        let (spec, _lines) = bench.function("python3.11", "app.py", code);
        // The first is replaced at once, the second and third after a pause.
        for _ in 0..3 {
            let mut environment = bench.start(spec.clone()).await;
            assert_eq!(success(&environment.invoke(event("a", "{}")).await), json!(993));
            let ended = environment.ended();
            let launcher = bench.host.launcher_pid();
            let killed = std::process::Command::new("kill").args(["-9", &launcher.to_string()]).status().unwrap();
            assert!(killed.success());
            let exit = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
            assert_eq!(exit, Exit::Signal(SIGKILL));
            assert!(!environment.is_alive());
            environment.stop().await;
            while bench.host.launcher_pid() == launcher {
                tokio::task::yield_now().await;
            }
            let mut again = bench.start(spec.clone()).await;
            assert_eq!(success(&again.invoke(event("b", "{}")).await), json!(993));
            again.stop().await;
        }
    });
}
