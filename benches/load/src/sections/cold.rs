//! Cold starts through the public API, in turns with what they are compared to: the bare interpreter's start and end, the
//! bare making of a sandbox.
//!
//! A start is made cold by a changed variable (which is not waited for within the figure), or by a version that was never
//! called. What the environments were made from is asked of the server afterwards and printed.

use std::{path::Path, time::Duration};

use super::Bench;
use crate::{
    Failure,
    client::Latencies,
    cloud::{Cloud, Function, archive, python, python_runtime, with_boto3},
    report::{Bar, Report, millis},
};

const PYTHON_BOTO3: &str = "import boto3\ndef handler(event, context):\n    return boto3.__version__\n";
/// Between a change, a bare start and a cold one: what the one before left to do (an environment's end, a pool's refilling)
/// is not to run beside the next.
const PAUSE: Duration = Duration::from_millis(100);
/// Namespaces, a mount of `/proc`, one static step inside: what no sandbox of this kind can do without.
const SANDBOX: &[&str] =
    &["--user", "--map-root-user", "--pid", "--fork", "--mount", "--ipc", "--uts", "--net", "--mount-proc", "--"];

pub(super) async fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    report.section("cold", "first invocations, signed, over a new connection, beside bare starts in the same turns");
    let (mut pileus, cloud) = bench.pileus("cold").await?;
    // Pools and templates are made ahead of need: a server that has just started has had no time for it.
    bench.env.sleep(Duration::from_secs(3)).await;
    python_bare(bench, report, &cloud).await?;
    python_boto3(bench, report, &cloud).await?;
    node(bench, report, &cloud).await?;
    native(bench, report, &cloud).await?;
    pileus.stop().await
}

/// Cold invocations of a function, each after a change, in turns with a program.
async fn turns(
    bench: &Bench<'_>,
    cloud: &Cloud,
    name: &str,
    function: &Function,
    (program, arguments): (&Path, &[&str]),
) -> Result<(Latencies, Latencies), Failure> {
    cloud.create(name, function).await?;
    cloud.timed(name, None).await?;
    let (mut cold, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..bench.options.starts {
        cloud.change(name, turn).await?;
        bench.env.sleep(PAUSE).await;
        bare.push(bench.process(program, arguments).await?);
        bench.env.sleep(PAUSE).await;
        cold.push(cloud.timed(name, None).await?);
    }
    Ok((Latencies::new(cold, Duration::ZERO), Latencies::new(bare, Duration::ZERO)))
}

async fn python_bare(bench: &Bench<'_>, report: &mut Report, cloud: &Cloud) -> Result<(), Failure> {
    let language = bench.language("Python")?;
    let served = cloud.interpreter(&language.function.runtime).await?;
    let interpreter = served.as_deref().or(language.interpreter.as_deref()).ok_or("no interpreter")?;
    let bare = (interpreter, ["-I", "-S", "-c", "pass"].as_slice());
    let (cold, bare) = turns(bench, cloud, "cold-python", &language.function, bare).await?;
    report.latencies("python3 -I -S -c pass", &bare);
    report.latencies("Python, no dependencies, cold", &cold);
    report.note(&format!("environments: {}", cloud.origins("cold-python").await?));
    report.ratio("median, to the bare interpreter's", cold.percentile(50), bare.percentile(50), Bar::AtMost(0.5));
    report.ratio("p99, to the own median", cold.percentile(99), cold.percentile(50), Bar::AtMost(4.0));
    Ok(())
}

async fn python_boto3(bench: &Bench<'_>, report: &mut Report, cloud: &Cloud) -> Result<(), Failure> {
    let interpreter = python().await?;
    let interpreter = Path::new(&interpreter);
    let import = ["-c", "import boto3"].as_slice();
    if bench.process(interpreter, import).await.is_err() {
        report.note("this machine's Python has no boto3: SnapStart is not measured with it");
        return Ok(());
    }
    let function = Function {
        runtime: python_runtime().await?,
        handler: "app.handler",
        archive: archive(bench.folder, "app.py", PYTHON_BOTO3.as_bytes())?,
        memory_mib: 128,
        snap_start: false,
    };
    let (off, bare) = turns(bench, cloud, "cold-boto3", &function, (interpreter, import)).await?;
    report.latencies("python3 -c 'import boto3'", &bare);
    report.latencies("Python that imports boto3, cold, SnapStart off", &off);
    report.note(&format!("environments: {}", cloud.origins("cold-boto3").await?));
    report.ratio("median, to the bare import's", off.percentile(50), bare.percentile(50), Bar::AtMost(0.1));
    report.ratio("p99, to the bare import's median", off.percentile(99), bare.percentile(50), Bar::AtMost(0.1));
    match snap_started(bench, report, cloud).await {
        Ok(()) => Ok(()),
        Err(error) => {
            report.note(&format!("SnapStart could not be measured: {error}"));
            Ok(())
        }
    }
}

/// Versions that were initialised when they were published, each called once. Beside the import of the very same files by
/// the very same interpreter, which may not be the one above: AWS has SnapStart from Python 3.12 on.
async fn snap_started(bench: &Bench<'_>, report: &mut Report, cloud: &Cloud) -> Result<(), Failure> {
    let mut found = None;
    for runtime in ["python3.14", "python3.13", "python3.12"] {
        if let Some(path) = cloud.interpreter(runtime).await? {
            found = Some((runtime.to_owned(), path));
            break;
        }
    }
    let (runtime, interpreter) = found.ok_or("the server has no Python from 3.12 on")?;
    let (archive, packages) = with_boto3(bench.folder, PYTHON_BOTO3).await?;
    let function =
        Function { runtime: runtime.clone(), handler: "app.handler", archive, memory_mib: 128, snap_start: true };
    report.note(&format!("{runtime}; boto3 is packed with the function"));
    let import = format!("import sys; sys.path.insert(0, {:?}); import boto3", packages.display().to_string());
    let name = "cold-snapstart";
    cloud.create(name, &function).await?;
    let (mut restored, mut bare) = (Vec::new(), Vec::new());
    // The first run writes the byte code that every later one reads.
    bench.process(&interpreter, &["-c", &import]).await?;
    for turn in 0..bench.options.starts.min(30) {
        cloud.change(name, turn).await?;
        let version = cloud.publish(name).await?;
        bench.env.sleep(PAUSE).await;
        bare.push(bench.process(&interpreter, &["-c", &import]).await?);
        bench.env.sleep(PAUSE).await;
        restored.push(cloud.timed(name, Some(&version)).await?);
    }
    let (on, bare) = (Latencies::new(restored, Duration::ZERO), Latencies::new(bare, Duration::ZERO));
    report.latencies(&format!("{runtime} -c 'import boto3'"), &bare);
    report.latencies("the same with SnapStart, first call of a version", &on);
    report.note(&format!("environments: {}", cloud.origins(name).await?));
    report.ratio("median, to the bare import's", on.percentile(50), bare.percentile(50), Bar::AtMost(0.03));
    report.ratio("p99, to the bare import's median", on.percentile(99), bare.percentile(50), Bar::AtMost(0.03));
    Ok(())
}

async fn node(bench: &Bench<'_>, report: &mut Report, cloud: &Cloud) -> Result<(), Failure> {
    let language = bench.language("Node")?;
    let interpreter = language.interpreter.as_deref().ok_or("no interpreter")?;
    let (cold, bare) = turns(bench, cloud, "cold-node", &language.function, (interpreter, &["-e", "0"])).await?;
    report.latencies("node -e 0", &bare);
    report.latencies("Node, cold", &cold);
    report.note(&format!("environments: {}", cloud.origins("cold-node").await?));
    report.ratio("median, to the bare interpreter's", cold.percentile(50), bare.percentile(50), Bar::AtMost(0.25));
    Ok(())
}

async fn native(bench: &Bench<'_>, report: &mut Report, cloud: &Cloud) -> Result<(), Failure> {
    let language = bench.language("native")?;
    let unshare = Path::new("unshare");
    let own = std::env::current_exe()?;
    let own = own.to_str().ok_or("a path that is not UTF-8")?;
    let inside: Vec<&str> = SANDBOX.iter().copied().chain([own, "nothing"]).collect();
    if bench.process(unshare, &inside).await.is_err() {
        report.note("this machine lets nobody make namespaces with unshare(1): native starts stand alone");
        cloud.create("cold-native", &language.function).await?;
        return Ok(());
    }
    let (cold, bare) = turns(bench, cloud, "cold-native", &language.function, (unshare, &inside)).await?;
    report.latencies("bare sandbox: unshare, a process, its end", &bare);
    report.latencies("native, cold", &cold);
    report.note(&format!("environments: {}", cloud.origins("cold-native").await?));
    report.barred("the median", millis(cold.percentile(50)), "ms", Bar::AtMost(8.0));
    report.ratio("median, to the bare sandbox's", cold.percentile(50), bare.percentile(50), Bar::AtMost(4.0));
    Ok(())
}
