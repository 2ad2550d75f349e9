//! Where environments come from: forks of a template, runtimes that waited, processes of their own. Whatever it is, a
//! function must not be able to tell, and must have nothing in common with its siblings.

use std::{collections::BTreeSet, time::Duration};

use compute_api::{Environment, EnvironmentSpec, FunctionHost, IsolationLevel, Origin, StartPolicy};
use serde_json::{Value, json};

use crate::harness::{Bench, all_walls, bench, block_on, event, success};

/// Starts environments until one was not started afresh: a template boots beside the first ones.
async fn prepared(bench: &Bench, spec: &EnvironmentSpec) -> compute_process::ProcessEnvironment {
    for _ in 0..100 {
        let environment = bench.start(spec.clone()).await;
        if environment.origin() != Origin::Fresh {
            return environment;
        }
        environment.stop().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no environment was made from what had been prepared");
}

/// What a function sees of the process that it runs in.
const VIEW: &str = r#"
import sys
AT_FIRST = sorted(name.split(".")[0] for name in sys.modules)
import builtins, gc, locale, os, signal, time
def handler(event, context):
    environ = dict(os.environ)
    for name in ("AWS_LAMBDA_LOG_STREAM_NAME", "_X_AMZN_TRACE_ID"):
        environ.pop(name, None)
    import resource
    return {
        "environ": environ,
        "path": sys.path, "argv": sys.argv, "orig_argv": getattr(sys, "orig_argv", None),
        "executable": sys.executable, "prefix": sys.prefix, "flags": list(sys.flags),
        "main": sys.modules["__main__"].__file__,
        "cwd": os.getcwd(), "umask": os.umask(0o022), "ids": [os.getuid(), os.getgid(), os.geteuid(), os.getgroups()],
        "session": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "fds": sorted(os.listdir("/proc/self/fd")),
        "limits": [resource.getrlimit(n) for n in range(16) if n != resource.RLIMIT_STACK],
        "zone": [time.tzname, time.strftime("%H", time.localtime(0))],
        "encoding": [sys.getfilesystemencoding(), locale.getpreferredencoding(), sys.stdout.encoding, sys.stdout.errors],
        "streams": [sys.stdout.seekable(), sys.stdin.read(), sys.stdout.isatty()],
        "signals": [str(signal.getsignal(n)) for n in (2, 13, 15, 17)],
        "gc": [gc.isenabled(), gc.get_threshold()],
        "threads": len(os.listdir("/proc/self/task")),
        "status": {l.split(":")[0]: l.split(":")[1].split() for l in open("/proc/self/status") if l.startswith(("Cap", "NoNew", "Seccomp:", "Groups", "Sig", "Shd", "Uid"))},
        "own": [os.stat("/proc/self/environ").st_uid, len(open("/proc/self/maps").read()) > 0],
        "exit": str(builtins.exit),
        "mounts": sorted(l.split(" ")[1] + " " + l.split(" ")[3].split(",")[0] for l in open("/proc/self/mounts")),
    }
"#;

#[test]
fn a_function_cannot_tell_a_prepared_process_from_one_of_its_own() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        for zone in [None, Some("Asia/Tokyo")] {
            let (mut spec, _lines) = bench().function("python3.11", "app.py", VIEW);
            if let Some(zone) = zone {
                spec.variables.insert("TZ".to_owned(), zone.to_owned());
            }
            let mut forked = prepared(bench(), &spec).await;
            spec.start = StartPolicy::Fresh;
            let mut fresh = bench().start(spec).await;
            assert_eq!(fresh.origin(), Origin::Fresh);
            let ours = success(&forked.invoke(event("a", "{}")).await);
            let theirs = success(&fresh.invoke(event("a", "{}")).await);
            for (name, expected) in theirs.as_object().unwrap() {
                assert_eq!(&ours[name], expected, "{name}");
            }
            assert_eq!(forked.isolation().walls, fresh.isolation().walls);
            forked.stop().await;
            fresh.stop().await;
        }
    });
}

#[test]
fn a_hundred_siblings_draw_a_hundred_different_numbers() {
    if !all_walls(bench()) {
        return;
    }
    const DRAW: &str = r#"
import os, random, secrets, ssl, tempfile, uuid
def handler(event, context):
    return {
        "ssl": ssl.RAND_bytes(16).hex(), "random": random.random(), "uuid1": str(uuid.uuid1()),
        "uuid4": str(uuid.uuid4()), "temp": tempfile.mktemp(), "secret": secrets.token_hex(16),
        "urandom": os.urandom(16).hex(), "system": random.SystemRandom().random(),
    }
"#;
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", DRAW);
        prepared(bench(), &spec).await.stop().await;
        let mut drawn: Vec<Value> = Vec::new();
        while drawn.len() < 100 {
            let mut environment = bench().start(spec.clone()).await;
            if environment.origin() != Origin::Fresh {
                drawn.push(success(&environment.invoke(event("r", "{}")).await));
            }
            environment.stop().await;
        }
        for name in ["ssl", "random", "uuid1", "uuid4", "temp", "secret", "urandom", "system"] {
            let distinct: BTreeSet<String> = drawn.iter().map(|one| one[name].to_string()).collect();
            assert_eq!(distinct.len(), 100, "{name}");
        }
    });
}

#[test]
fn who_asks_for_a_process_of_its_own_gets_one() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let answer = "def handler(event, context):\n    return 1\n";
        let (spec, _lines) = bench().function("python3.11", "app.py", answer);
        prepared(bench(), &spec).await.stop().await;
        let fresh = |change: &dyn Fn(&mut EnvironmentSpec)| {
            let mut spec = spec.clone();
            change(&mut spec);
            spec
        };
        let specs = [
            fresh(&|spec| spec.start = StartPolicy::Fresh),
            fresh(&|spec| drop(spec.variables.insert("PYTHONHASHSEED".to_owned(), "1".to_owned()))),
            fresh(&|spec| drop(spec.variables.insert("LD_PRELOAD".to_owned(), String::new()))),
            fresh(&|spec| {
                spec.code = bench().code("shadowing", &[("app.py", answer), ("json/__init__.py", "OWN = 1\n")]);
            }),
            fresh(&|spec| {
                spec.layers = vec![bench().code("layer-shadowing", &[("python/traceback.py", "OWN = 1\n")])];
            }),
        ];
        for spec in specs {
            let environment = bench().start(spec.clone()).await;
            assert_eq!(environment.origin(), Origin::Fresh, "{spec:?}");
            environment.stop().await;
        }
        // A folder that is no package hides nothing.
        let spec = fresh(&|spec| spec.code = bench().code("data", &[("app.py", answer), ("json/data.txt", "")]));
        assert_ne!(prepared(bench(), &spec).await.origin(), Origin::Fresh);
    });
}

#[test]
fn a_node_that_waited_is_like_one_that_was_started() {
    let view = r#"
const first = process.env.OWN;
exports.handler = async () => {
  const env = { ...process.env };
  for (const name of ['AWS_LAMBDA_LOG_STREAM_NAME', '_X_AMZN_TRACE_ID']) delete env[name];
  return {
    first, env, cwd: process.cwd(), argv: process.argv, execArgv: process.execArgv, hour: new Date(0).getHours(),
    heap: require('v8').getHeapStatistics().heap_size_limit, paths: module.paths, title: process.title,
    fds: require('fs').readdirSync('/proc/self/fd').filter((fd) => fd < 4), main: require.main.filename,
  };
};
"#;
    block_on(async {
        let (mut spec, _lines) = bench().function("nodejs20.x", "index.js", view);
        spec.variables.insert("OWN".to_owned(), "1".to_owned());
        spec.variables.insert("TZ".to_owned(), "Asia/Tokyo".to_owned());
        let mut waited = prepared(bench(), &spec).await;
        assert_eq!(waited.origin(), Origin::Pooled);
        spec.start = StartPolicy::Fresh;
        let mut fresh = bench().start(spec).await;
        let ours = success(&waited.invoke(event("a", "{}")).await);
        let theirs = success(&fresh.invoke(event("a", "{}")).await);
        for (name, expected) in theirs.as_object().unwrap() {
            assert_eq!(&ours[name], expected, "{name}");
        }
        assert_eq!(theirs["hour"], 9);
        waited.stop().await;
        fresh.stop().await;
    });
}

/// The pids of the templates of a host: our bootstrap, told to be one, below this process.
fn templates(bench: &Bench) -> Vec<i32> {
    let launcher = bench.host.launcher_pid();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let parent = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let uid = parent.lines().find_map(|line| line.strip_prefix("Uid:\t0\t"));
            // A fork on its way is root's still, and in a pid namespace already.
            let outside = parent.lines().any(|line| line == format!("NSpid:\t{pid}"));
            outside
                && parent.contains(&format!("PPid:\t{launcher}\n"))
                && line.ends_with(b"\0template\0")
                && uid.is_some()
        })
        .collect()
}

#[test]
fn a_killed_template_kills_no_environment_and_is_replaced() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let bench = Bench::open();
        let (spec, _lines) = bench.function("python3.11", "app.py", "def handler(event, context):\n    return 7\n");
        let mut environment = prepared(&bench, &spec).await;
        let before = templates(&bench);
        assert_eq!(before.len(), 1, "{before:?}");
        let pid = rustix::process::Pid::from_raw(before[0]).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(success(&environment.invoke(event("a", "{}")).await), json!(7));
        // More than ever waited: some of these must be made while there is no template.
        for round in 0..10 {
            let mut next = bench.start(spec.clone()).await;
            assert_eq!(success(&next.invoke(event(&format!("r{round}"), "{}")).await), json!(7));
            next.stop().await;
        }
        let mut again = prepared(&bench, &spec).await;
        assert_eq!(success(&again.invoke(event("b", "{}")).await), json!(7));
        let after = templates(&bench);
        assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
        again.stop().await;
        environment.stop().await;
        bench.host.shutdown().await;
        assert!(templates(&bench).is_empty());
    });
}

#[test]
fn a_template_that_hangs_holds_no_start_up() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let bench = Bench::open();
        let (spec, _lines) = bench.function("python3.11", "app.py", "def handler(event, context):\n    return 7\n");
        prepared(&bench, &spec).await.stop().await;
        let pid = rustix::process::Pid::from_raw(templates(&bench)[0]).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let begun = std::time::Instant::now();
        let mut origins = Vec::new();
        while origins.last() != Some(&Origin::Fresh) {
            let mut environment = bench.start(spec.clone()).await;
            assert_eq!(success(&environment.invoke(event("a", "{}")).await), json!(7));
            origins.push(environment.origin());
            environment.stop().await;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?} {origins:?}", begun.elapsed());
        bench.host.shutdown().await;
    });
}

#[test]
fn environments_of_one_account_come_from_another_template_than_those_of_another() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let bench = Bench::open();
        let (mut spec, _lines) = bench.function("python3.11", "app.py", "def handler(event, context):\n    return 7\n");
        prepared(&bench, &spec).await.stop().await;
        assert_eq!(templates(&bench).len(), 1);
        spec.account = "111111111111".parse().unwrap();
        let environment = prepared(&bench, &spec).await;
        assert_eq!(environment.isolation().level, IsolationLevel::Full);
        environment.stop().await;
        assert_eq!(templates(&bench).len(), 2);
        bench.host.shutdown().await;
    });
}

#[test]
fn what_the_operator_added_to_a_runtime_is_found_behind_the_functions_own() {
    block_on(async {
        let bench = Bench::open();
        let added = bench.folder.path().join("state/packages/python3.11");
        std::fs::create_dir_all(added.join("added_by_operator")).unwrap();
        std::fs::write(added.join("added_by_operator/__init__.py"), "NAME = 'operator'\n").unwrap();
        std::fs::write(added.join("both.py"), "NAME = 'operator'\n").unwrap();
        let answer = "import added_by_operator, both\ndef handler(event, context):\n    return [added_by_operator.NAME, both.NAME]\n";
        let code = bench.code("adding", &[("app.py", answer), ("both.py", "NAME = 'function'\n")]);
        let (mut spec, _lines) = bench.function("python3.11", "app.py", answer);
        spec.code = code;
        for _ in 0..4 {
            let mut environment = bench.start(spec.clone()).await;
            assert_eq!(success(&environment.invoke(event("a", "{}")).await), json!(["operator", "function"]));
            environment.stop().await;
        }
        bench.host.shutdown().await;
    });
}

#[test]
fn what_was_started_lately_is_prepared_after_a_restart() {
    if !all_walls(bench()) {
        return;
    }
    block_on(async {
        let bench = Bench::open();
        let (spec, _lines) = bench.function("python3.11", "app.py", "def handler(event, context):\n    return 7\n");
        prepared(&bench, &spec).await.stop().await;
        let again = bench.reopen().await;
        // The first start after it: nothing was asked of this host before.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let mut environment = match again.start(std::sync::Arc::new(spec)).await {
            Ok(environment) => environment,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(environment.origin(), Origin::Pooled);
        assert_eq!(success(&environment.invoke(event("a", "{}")).await), json!(7));
        environment.stop().await;
        again.shutdown().await;
    });
}

#[test]
fn a_folder_named_from_here_is_found() {
    block_on(async {
        let bench = Bench::open();
        let (mut spec, _lines) = bench.function("python3.11", "app.py", "def handler(event, context):\n    return 7\n");
        let here = std::env::current_dir().unwrap();
        let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
        spec.code = up.join(spec.code.strip_prefix("/").unwrap());
        for _ in 0..3 {
            let mut environment = bench.start(spec.clone()).await;
            assert_eq!(success(&environment.invoke(event("a", "{}")).await), json!(7));
            environment.stop().await;
        }
        bench.host.shutdown().await;
    });
}
