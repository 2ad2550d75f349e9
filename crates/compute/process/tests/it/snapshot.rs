//! SnapStart: a version is initialised once, and every environment is a copy of that process, in a sandbox of its own.

use std::{collections::BTreeSet, sync::Arc};

use compute_api::{Environment, EnvironmentSpec, FunctionHost, InitOutcome, InitializationType, Origin, StartError};
use serde_json::Value;

use crate::harness::{all_walls, bench, block_on, event, success};

/// The specification of a version with a snapshot of this name.
fn snapped(mut spec: EnvironmentSpec, name: &str) -> EnvironmentSpec {
    spec.initialization = InitializationType::SnapStart;
    spec.version = "1".to_owned();
    spec.snapshot = Some(Arc::from(name));
    spec
}

const BORN: &str = r#"
import os, random, secrets, ssl, sys, tempfile, time, uuid
import json, urllib.request
def key():
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    with urllib.request.urlopen(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]) as answer:
        return json.load(answer)["AccessKeyId"]
KEY = key()
BORN = (uuid.uuid4().hex, os.getpid(), time.time())
OPEN = open("/var/task/app.py")
OPEN.read(7)
import socket
SOCKET = socket.socket()
SOCKET.connect(("127.0.0.1", 9001))
os.environ["MINE"] = "set by the function"
import signal
def on_term(*_): pass
os.makedirs("/tmp/cache/deep")
KEPT = open("/tmp/cache/deep/kept", "w+")
KEPT.write("kept by the initialisation")
KEPT.flush()
os.symlink("/etc/passwd", "/tmp/link")
signal.signal(signal.SIGTERM, on_term)
def handler(event, context):
    try:
        SOCKET.sendall(b"x")
        dead = "alive"
    except OSError as error:
        dead = type(error).__name__
    import threading
    seen = []
    thread = threading.Thread(target=lambda: seen.append(threading.get_native_id()))
    thread.start(); thread.join()
    child = os.fork()
    if child == 0:
        os._exit(7)
    before = sorted(os.listdir("/tmp"))
    open("/tmp/mine", "w").write("x")
    KEPT.seek(0)
    return {
        "tmp": [before, KEPT.read(), os.readlink("/tmp/link"), os.stat("/tmp/cache").st_uid, os.stat("/tmp/mine").st_uid],
        "born": BORN[0], "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "key": key(),
        "mine": os.environ["MINE"], "next": OPEN.read(9), "dead": dead, "thread": len(seen),
        "child": os.waitpid(child, 0)[1], "term": signal.getsignal(signal.SIGTERM) is on_term,
        "pipe": str(signal.getsignal(signal.SIGPIPE)), "name": open("/proc/self/comm").read(),
        "image": next(line.split()[5] for line in open("/proc/self/maps") if ".image" in line), "command": open("/proc/self/cmdline").read(), "cwd": os.getcwd(), "fds": sorted(os.listdir("/proc/self/fd")),
        "draws": {
            "ssl": ssl.RAND_bytes(16).hex(), "random": random.random(), "uuid1": str(uuid.uuid1()),
            "uuid4": str(uuid.uuid4()), "temp": tempfile.mktemp(), "secret": secrets.token_hex(16),
            "urandom": os.urandom(16).hex(), "system": random.SystemRandom().random(),
        },
        "status": {l.split(":")[0]: l.split(":")[1].split() for l in open("/proc/self/status") if l.startswith(("Cap", "NoNew", "Seccomp:"))},
    }
"#;

#[test]
fn every_environment_is_a_copy_of_one_initialised_process() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", BORN);
        let mut spec = snapped(spec, "born");
        bench().host.snapshot(Arc::new(spec.clone())).await.unwrap();
        spec.credentials.access_key_id = "ASIALATER".to_owned();
        let mut answers: Vec<Value> = Vec::new();
        for _ in 0..3 {
            let mut environment = bench().start(spec.clone()).await;
            assert_eq!(environment.origin(), Origin::Restored);
            let completion = environment.invoke(event("r", "{}")).await;
            assert!(completion.figures.restore_duration.is_some() && completion.figures.init_duration.is_none());
            answers.push(success(&completion));
            let again = environment.invoke(event("s", "{}")).await;
            assert!(again.figures.restore_duration.is_none());
            environment.stop().await;
        }
        for answer in &answers {
            assert_eq!(answer["born"], answers[0]["born"]);
            assert_eq!(answer["type"], "snap-start");
            assert_eq!(answer["key"], "ASIALATER");
            assert_eq!(answer["mine"], "set by the function");
            assert_eq!(answer["next"], BORN[7..16]);
            assert_eq!(answer["dead"], "BrokenPipeError");
            assert_eq!((&answer["thread"], &answer["child"]), (&Value::from(1), &Value::from(7 << 8)));
            assert_eq!(answer["term"], true);
            assert_eq!(answer["pipe"], "1");
            assert!(answer["name"].as_str().unwrap().starts_with("python"), "{answer}");
            assert!(answer["command"].as_str().unwrap().contains("bootstrap.py"), "{answer}");
            assert!(answer["image"].as_str().unwrap().starts_with("/snapshot-"), "{answer}");
            let kept = "kept by the initialisation";
            assert_eq!(answer["tmp"], serde_json::json!([["cache", "link"], kept, "/etc/passwd", 993, 993]));
            assert_eq!(answer["cwd"], "/var/task");
            assert_eq!(answer["status"]["CapEff"][0], "0000000000000000");
            assert_eq!(answer["status"]["NoNewPrivs"][0], "1");
        }
        let draws: BTreeSet<String> = answers.iter().map(|answer| answer["draws"].to_string()).collect();
        assert_eq!(draws.len(), 3);
    });
}

#[test]
fn a_hundred_copies_draw_a_hundred_different_numbers() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", BORN);
        let spec = snapped(spec, "hundred");
        bench().host.snapshot(Arc::new(spec.clone())).await.unwrap();
        let mut drawn: Vec<Value> = Vec::new();
        while drawn.len() < 100 {
            let mut environment = bench().start(spec.clone()).await;
            assert_eq!(environment.origin(), Origin::Restored);
            drawn.push(success(&environment.invoke(event("r", "{}")).await));
            environment.stop().await;
        }
        assert_eq!(drawn.iter().map(|one| one["born"].to_string()).collect::<BTreeSet<_>>().len(), 1);
        for name in ["ssl", "random", "uuid1", "uuid4", "temp", "secret", "urandom", "system"] {
            let distinct: BTreeSet<String> = drawn.iter().map(|one| one["draws"][name].to_string()).collect();
            assert_eq!(distinct.len(), 100, "{name}");
        }
    });
}

#[test]
fn hooks_run_before_the_copy_backwards_and_after_it_forwards() {
    if !all_walls(bench()) {
        return;
    }
    const HOOKS: &str = r#"
from snapshot_restore_py import register_after_restore, register_before_snapshot
import os
ORDER = []
def note(word, twice=False):
    ORDER.extend([word] * (2 if twice else 1))
register_before_snapshot(note, "before 1")
register_before_snapshot(note, "before 2", twice=True)
@register_before_snapshot
def before_3():
    note("before 3")
register_after_restore(note, "after 1")
register_after_restore(lambda: note(os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]))
def handler(event, context):
    return ORDER
"#;
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", HOOKS);
        let spec = snapped(spec, "hooks");
        for _ in 0..2 {
            let mut environment = bench().start(spec.clone()).await;
            let order = success(&environment.invoke(event("r", "{}")).await);
            let expected = ["before 3", "before 2", "before 2", "before 1", "after 1", "snap-start"];
            assert_eq!(order, serde_json::json!(expected));
            environment.stop().await;
        }
    });
}

#[test]
fn a_hook_that_fails_fails_its_phase() {
    if !all_walls(bench()) {
        return;
    }
    let hook = |when: &str| {
        format!(
            "import snapshot_restore_py\ndef fail(): raise ValueError('no')\nsnapshot_restore_py.{when}(fail)\n\
             def handler(event, context): return 1\n"
        )
    };
    block_on(async {
        let error_type = |error: StartError| match error {
            StartError::Init(failure) => match failure.outcome {
                InitOutcome::Error { error_type, .. } => (error_type, failure.figures),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let (spec, _lines) = bench().function("python3.11", "app.py", &hook("register_before_snapshot"));
        let error = bench().host.snapshot(Arc::new(snapped(spec, "before fails"))).await.unwrap_err();
        assert_eq!(error_type(error).0, "Runtime.BeforeSnapshotError");
        let (spec, _lines) = bench().function("python3.11", "app.py", &hook("register_after_restore"));
        let spec = snapped(spec, "after fails");
        bench().host.snapshot(Arc::new(spec.clone())).await.unwrap();
        let error = bench().host_start(spec).await.err().unwrap();
        let (kind, figures) = error_type(error);
        assert_eq!(kind, "Runtime.AfterRestoreError");
        assert!(figures.restore_duration.is_some());
    });
}

#[test]
fn what_cannot_be_copied_is_refused_by_name_and_starts_like_all_others() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        for (name, code, reason) in [
            (
                "threads",
                "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
                "its initialisation left 2 threads",
            ),
            (
                "children",
                "import subprocess\nCHILD = subprocess.Popen(['sleep', '60'])",
                "its initialisation left 1 other processes",
            ),
            (
                "orphans",
                "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time; time.sleep(60)\n    os._exit(0)",
                "its initialisation left 1 other processes",
            ),
            ("shared", "import mmap\nSHARED = mmap.mmap(-1, 4096)", "it shares writable memory (/dev/zero (deleted))"),
            ("epoll", "import select\nPOLL = select.epoll()", "it holds eventpoll open"),
            ("pipe", "import os\nPIPE = os.pipe()", "it holds a pipe open"),
            ("deleted", "import tempfile\nFILE = tempfile.TemporaryFile()", "it holds a deleted file open"),
        ] {
            let code = format!("{code}\ndef handler(event, context):\n    return 'answered'\n");
            let (spec, _lines) = bench().function("python3.11", "app.py", &code);
            let spec = snapped(spec, name);
            match bench().host.snapshot(Arc::new(spec.clone())).await {
                Err(StartError::NoSnapshot { reason: seen }) => assert_eq!(seen, reason, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let mut environment = bench().start(spec).await;
            assert_ne!(environment.origin(), Origin::Restored);
            assert_eq!(success(&environment.invoke(event("r", "{}")).await), "answered");
            environment.stop().await;
        }
    });
}

#[test]
fn a_snapshot_that_was_forgotten_is_taken_again() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", BORN);
        let spec = snapped(spec, "forgotten");
        let born = async || {
            let mut environment = bench().start(spec.clone()).await;
            let answer = success(&environment.invoke(event("r", "{}")).await);
            environment.stop().await;
            answer["born"].clone()
        };
        let first = born().await;
        assert_eq!(first, born().await);
        bench().host.forget_snapshot("forgotten");
        assert_ne!(first, born().await);
    });
}
