//! Functions that misbehave: each ends as AWS would have it, and the host stays well.

use std::time::{Duration, Instant};

use compute_api::{Environment, InitOutcome, Outcome};

use crate::harness::{all_walls, bench, block_on, event, success};

#[test]
fn a_function_that_never_answers_is_stopped_at_its_timeout() {
    block_on(async {
        let code =
            "import time\nprint('begun')\ndef handler(event, context):\n    print('working')\n    time.sleep(60)\n";
        let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
        spec.timeout = Duration::from_secs(1);
        let mut environment = bench().start(spec).await;
        let completion = environment.invoke(event("r", "{}")).await;
        assert_eq!(completion.outcome, Outcome::Timeout);
        assert!((1000..1500).contains(&completion.figures.duration.as_millis()), "{:?}", completion.figures);
        assert_eq!(&completion.log_tail[..], b"begun\nworking\n");
        assert!(!environment.is_alive());
    });
}

#[test]
fn an_initialisation_that_never_ends_is_stopped() {
    block_on(async {
        let (mut spec, _lines) = bench().function("python3.11", "app.py", "import time\ntime.sleep(60)\n");
        spec.init_timeout = Duration::from_secs(1);
        assert_eq!(bench().init_failure(spec).await.outcome, InitOutcome::Timeout);
    });
}

#[test]
fn filling_memory_ends_the_function_and_only_it() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let code = "def handler(event, context):\n    x = []\n    while True:\n        x.append(bytearray(8 << 20))\n";
        let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
        spec.memory_mib = 128;
        let completion = bench().once(spec, "{}").await;
        assert_eq!(completion.outcome, Outcome::OutOfMemory);
        let peak = completion.figures.memory_bytes_max;
        assert!((64 << 20..=128 << 20).contains(&peak), "{peak}");
    });
}

#[test]
fn a_fork_bomb_is_bounded_and_leaves_nothing() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let code = r#"
import os, time
def handler(event, context):
    n = 0
    try:
        while n < 5000:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            n += 1
    except OSError as error:
        return [n, error.errno]
    return [n, 0]
"#;
        let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
        spec.memory_mib = 2048;
        spec.timeout = Duration::from_secs(30);
        let mut environment = bench().start(spec).await;
        let completion = environment.invoke(event("r", "{}")).await;
        let answer = success(&completion);
        assert_eq!(answer[1], 11, "EAGAIN is due: {answer}");
        assert!((100..1024).contains(&answer[0].as_u64().unwrap()), "{answer}");
        let uid = environment.isolation().host_uid;
        environment.stop().await;
        let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            std::fs::read_to_string(entry.path().join("status"))
                .is_ok_and(|status| status.lines().any(|line| line.starts_with(&format!("Uid:\t{uid}\t"))))
        });
        assert_eq!(left.count(), 0);
    });
}

#[test]
fn an_answer_beyond_the_limit_is_refused_and_the_function_lives() {
    block_on(async {
        let code = "def handler(event, context):\n    return 'x' * event['size']\n";
        let (spec, _lines) = bench().function("python3.11", "app.py", code);
        let mut environment = bench().start(spec).await;
        let limit = compute_api::PAYLOAD_BYTES_MAX + compute_api::RESPONSE_SLACK_BYTES;
        // Two quotes belong to the answer.
        for (size, fits) in [(limit - 2, true), (limit - 1, false), (7 << 20, false), (10, true)] {
            let completion = environment.invoke(event("r", &format!(r#"{{"size":{size}}}"#))).await;
            match completion.outcome {
                Outcome::Success { payload } => assert!(fits && payload.len() == size + 2, "{size}"),
                Outcome::ResponseTooLarge { size: seen, limit: said } => {
                    assert!(!fits && seen == size as u64 + 2 && said == limit as u64, "{size}");
                }
                other => panic!("{other:?}"),
            }
        }
        environment.stop().await;
    });
}

#[test]
fn a_large_event_arrives_whole() {
    block_on(async {
        let (spec, _lines) =
            bench().function("python3.11", "app.py", "def handler(event, context):\n    return len(event)\n");
        let text = "y".repeat(compute_api::PAYLOAD_BYTES_MAX - 2);
        assert_eq!(success(&bench().once(spec, &format!("\"{text}\"")).await), text.len());
    });
}

#[test]
fn a_flood_of_output_slows_its_function_and_nothing_else() {
    block_on(async {
        let code = "import sys\ndef handler(event, context):\n    line = 'x' * 1023 + '\\n'\n    for _ in range(event['lines']):\n        sys.stdout.stream.write(line)\n";
        let (mut spec, mut lines) = bench().function("python3.11", "app.py", code);
        spec.timeout = Duration::from_secs(60);
        let mut environment = bench().start(spec).await;
        let reading = tokio::spawn(async move {
            let mut bytes = 0;
            while let Some(line) = lines.next().await {
                bytes += line.text.len();
                if bytes == 100 << 20 {
                    break;
                }
            }
            bytes
        });
        let flood =
            tokio::spawn(async move { environment.invoke(event("r", &format!(r#"{{"lines":{}}}"#, 100 << 10))).await });
        let (other, _lines) = bench().function("python3.11", "app.py", "def handler(event, context):\n    return 1\n");
        let begun = Instant::now();
        assert_eq!(success(&bench().once(other, "{}").await), 1);
        assert!(begun.elapsed() < Duration::from_secs(10));
        success(&flood.await.unwrap());
        assert_eq!(reading.await.unwrap(), 100 << 20);
    });
}

#[test]
fn nobody_reading_the_log_holds_the_function_back_not_the_host() {
    block_on(async {
        let code = "def handler(event, context):\n    for _ in range(1 << 20):\n        print('x' * 1000)\n";
        let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
        spec.timeout = Duration::from_secs(1);
        let mut environment = bench().start(spec).await;
        let completion = environment.invoke(event("r", "{}"));
        // The sink is full and never read: the time limit still holds, then the rest is dropped with the reader.
        let completion = tokio::time::timeout(Duration::from_secs(3), completion).await;
        assert!(completion.is_ok_and(|completion| completion.outcome == Outcome::Timeout));
    });
}

#[test]
fn frames_that_are_none_end_the_function() {
    block_on(async {
        let code = "import os\ndef handler(event, context):\n    os.write(3, b'\\x01\\x00\\x00\\x00\\xff' * 10)\n    import time\n    time.sleep(5)\n";
        let (spec, _lines) = bench().function("python3.11", "app.py", code);
        let completion = bench().once(spec, "{}").await;
        assert!(matches!(completion.outcome, Outcome::Exited(_)), "{completion:?}");
    });
}

#[test]
fn ten_at_once_start_and_answer() {
    block_on(async {
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                tokio::spawn(async move {
                    let code = format!("def handler(event, context):\n    return {number}\n");
                    let (spec, _lines) = bench().function("python3.11", "app.py", &code);
                    assert_eq!(success(&bench().once(spec, "{}").await), number);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}
