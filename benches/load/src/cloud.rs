//! What the measurements ask of a server: functions made, changed and called over the public API, signed as any SDK does.
//!
//! Guarantee: whatever is not a success ends the measurement with what the server said.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base_env::Env;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Failure, client::Prepared};

pub(crate) const EVENT: &[u8] = b"{\"name\":\"Ada\"}";
/// A function that is not ready by then never will be.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// A Lambda endpoint: ours, or an emulator's.
#[derive(Clone)]
pub(crate) struct Cloud {
    pub(crate) env: Env,
    pub(crate) port: u16,
}

/// What a function is made of.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) runtime: String,
    pub(crate) handler: &'static str,
    pub(crate) archive: Vec<u8>,
    pub(crate) memory_mib: u32,
    pub(crate) snap_start: bool,
}

impl Cloud {
    pub(crate) async fn call(&self, method: Method, target: &str, body: Option<Value>) -> Result<Value, Failure> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let bytes = expect(&Prepared::signed(&self.env, self.port, method, target, body)?).await?;
        Ok(if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? })
    }

    /// Makes a function and waits until it is active.
    pub(crate) async fn create(&self, name: &str, function: &Function) -> Result<(), Failure> {
        let mut body = json!({
            "FunctionName": name, "Runtime": function.runtime, "Handler": function.handler,
            "MemorySize": function.memory_mib, "Timeout": 60, "Role": "arn:aws:iam::000000000000:role/bench",
            "Code": { "ZipFile": BASE64.encode(&function.archive) },
        });
        if function.snap_start {
            body["SnapStart"] = json!({ "ApplyOn": "PublishedVersions" });
        }
        self.call(Method::POST, "/2015-03-31/functions", Some(body)).await?;
        self.ready(name, None).await
    }

    /// Waits until a function, or a version of it, can be called.
    pub(crate) async fn ready(&self, name: &str, qualifier: Option<&str>) -> Result<(), Failure> {
        let query = qualifier.map(|version| format!("?Qualifier={version}")).unwrap_or_default();
        let target = format!("/2015-03-31/functions/{name}/configuration{query}");
        let begun = self.env.monotonic();
        loop {
            let function = self.call(Method::GET, &target, None).await?;
            let settled = function["LastUpdateStatus"].as_str().is_none_or(|status| status == "Successful");
            if function["State"] == "Active" && settled {
                return Ok(());
            }
            if function["State"] == "Failed" || self.env.monotonic().since(begun) > READY_LIMIT {
                return Err(format!("{name} is not ready: {function}").into());
            }
            self.env.sleep(Duration::from_millis(5)).await;
        }
    }

    /// A changed variable: the next invocation finds no environment that fits.
    pub(crate) async fn change(&self, name: &str, turn: u32) -> Result<(), Failure> {
        let target = format!("/2015-03-31/functions/{name}/configuration");
        let body = json!({ "Environment": { "Variables": { "TURN": turn.to_string() } } });
        self.call(Method::PUT, &target, Some(body)).await?;
        self.ready(name, None).await
    }

    /// Publishes what `$LATEST` is and waits until the version can be called; its number.
    pub(crate) async fn publish(&self, name: &str) -> Result<String, Failure> {
        let target = format!("/2015-03-31/functions/{name}/versions");
        let made = self.call(Method::POST, &target, Some(json!({}))).await?;
        let version = made["Version"].as_str().ok_or("a version without a number")?.to_owned();
        self.ready(name, Some(&version)).await?;
        Ok(version)
    }

    /// The request that calls a function.
    pub(crate) fn invocation(&self, name: &str, qualifier: Option<&str>) -> Result<Prepared, Failure> {
        let query = qualifier.map(|version| format!("?Qualifier={version}")).unwrap_or_default();
        let target = format!("/2015-03-31/functions/{name}/invocations{query}");
        Prepared::signed(&self.env, self.port, Method::POST, &target, Bytes::from_static(EVENT))
    }

    /// One call, and how long it took.
    pub(crate) async fn timed(&self, name: &str, qualifier: Option<&str>) -> Result<Duration, Failure> {
        let prepared = self.invocation(name, qualifier)?;
        let begun = self.env.monotonic();
        let (status, error, body) = prepared.invoked().await?;
        let taken = self.env.monotonic().since(begun);
        if status != 200 || error {
            return Err(format!("{name}: status {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(taken)
    }

    /// The interpreter that runs a runtime's functions (ours only); none when the server has no such runtime.
    pub(crate) async fn interpreter(&self, runtime: &str) -> Result<Option<PathBuf>, Failure> {
        let page = self.call(Method::GET, "/_pileus/runtimes", None).await?;
        let installed = page["installed"].as_array().into_iter().flatten();
        let mut chosen = installed.filter(|one| one["name"] == runtime && one["chosen"] == true);
        Ok(chosen.next().and_then(|one| one["path"].as_str()).map(PathBuf::from))
    }

    /// How the cold starts of a function's environments were made: `12 pooled, 3 fresh` (ours only).
    pub(crate) async fn origins(&self, name: &str) -> Result<String, Failure> {
        let page = self.call(Method::GET, &format!("/_pileus/usage?function={name}"), None).await?;
        let origins = page["total"]["cold_by_origin"].as_object().cloned().unwrap_or_default();
        let seen: Vec<String> = origins
            .iter()
            .filter(|(_, count)| count.as_u64() != Some(0))
            .map(|(origin, count)| format!("{count} {origin}"))
            .collect();
        Ok(if seen.is_empty() { "none counted".to_owned() } else { seen.join(", ") })
    }
}

/// The body of a success.
pub(crate) async fn expect(prepared: &Prepared) -> Result<Bytes, Failure> {
    match prepared.once().await? {
        (200..=299, body) => Ok(body),
        (status, body) => Err(format!("status {status}: {}", String::from_utf8_lossy(&body)).into()),
    }
}

/// A language under measurement, with what it is compared to.
pub(crate) struct Language {
    pub(crate) name: &'static str,
    pub(crate) function: Function,
    /// The same loop outside any sandbox.
    pub(crate) bare: Vec<String>,
    /// The interpreter that runs it.
    pub(crate) interpreter: Option<PathBuf>,
}

const PYTHON_FUNCTION: &str = "def handler(event, context):\n    return event\n";
const NODE_FUNCTION: &str = "exports.handler = async (event) => event;\n";
/// The same poll loop as a runtime's, with nothing else.
const PYTHON_LOOP: &str = r#"
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    got = api.getresponse()
    event = json.loads(got.read())
    path = "/2018-06-01/runtime/invocation/" + got.headers["lambda-runtime-aws-request-id"] + "/response"
    api.request("POST", path, json.dumps(event))
    api.getresponse().read()
"#;
const NODE_LOOP: &str = r#"
const http = require("http");
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const call = (method, path, body) => new Promise((done, fail) => {
  const request = http.request({ host, port, method, path, agent }, (answer) => {
    let text = "";
    answer.on("data", (piece) => (text += piece)).on("end", () => done([answer.headers, text]));
  });
  request.on("error", fail);
  request.end(body);
});
(async () => {
  for (;;) {
    const [headers, event] = await call("GET", "/2018-06-01/runtime/invocation/next");
    const id = headers["lambda-runtime-aws-request-id"];
    await call("POST", `/2018-06-01/runtime/invocation/${id}/response`, JSON.stringify(JSON.parse(event)));
  }
})();
"#;

/// Python, Node and native code, as this machine has them.
pub(crate) async fn languages(folder: &Path) -> Result<Vec<Language>, Failure> {
    let python = python().await?;
    let node = asked("node", "-p", "process.execPath").await?;
    let node_major = asked("node", "-p", "process.versions.node.split('.')[0]").await?;
    let own = std::env::current_exe()?;
    let function =
        |runtime: String, handler, archive| Function { runtime, handler, archive, memory_mib: 128, snap_start: false };
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Ok(vec![
        Language {
            name: "Python",
            function: function(
                python_runtime().await?,
                "app.handler",
                archive(folder, "app.py", PYTHON_FUNCTION.as_bytes())?,
            ),
            bare: text(&[&python, "-I", "-c", PYTHON_LOOP]),
            interpreter: Some(python.into()),
        },
        Language {
            name: "Node",
            function: function(
                format!("nodejs{node_major}.x"),
                "app.handler",
                archive(folder, "app.js", NODE_FUNCTION.as_bytes())?,
            ),
            bare: text(&[&node, "-e", NODE_LOOP]),
            interpreter: Some(node.into()),
        },
        Language {
            name: "native",
            function: function(
                "provided.al2023".to_owned(),
                "bootstrap",
                archive(folder, "bootstrap", &fs::read(&own)?)?,
            ),
            bare: text(&[own.to_str().ok_or("a path that is not UTF-8")?, "worker"]),
            interpreter: None,
        },
    ])
}

/// The Python interpreter itself, not a script that looks for one.
pub(crate) async fn python() -> Result<String, Failure> {
    asked("python3", "-c", "import sys; print(sys.executable)").await
}

/// `python3.11`, as AWS names it.
pub(crate) async fn python_runtime() -> Result<String, Failure> {
    asked("python3", "-c", "import sys; print('python%d.%d' % sys.version_info[:2])").await
}

async fn asked(program: &str, option: &str, code: &str) -> Result<String, Failure> {
    let output = Command::new(program).args([option, code]).output().await?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The pure packages that `import boto3` needs, from a Python that has them, beside a handler. The service models are left
/// out: an import reads none. The folder that has the same files comes with the archive.
pub(crate) async fn with_boto3(folder: &Path, handler: &str) -> Result<(Vec<u8>, PathBuf), Failure> {
    let (packages, packed) = (folder.join("boto3-packages"), folder.join("boto3.zip"));
    let pack = "import os, shutil, sys, zipfile, importlib.util\n\
                target, packed, handler = sys.argv[1:]\n\
                for name in ['boto3', 'botocore', 's3transfer', 'jmespath', 'dateutil', 'urllib3', 'six']:\n\
                \x20   origin = importlib.util.find_spec(name).origin\n\
                \x20   if origin.endswith('__init__.py'):\n\
                \x20       shutil.copytree(os.path.dirname(origin), os.path.join(target, name),\n\
                \x20                       ignore=shutil.ignore_patterns('__pycache__', 'data'))\n\
                \x20   else:\n\
                \x20       shutil.copy(origin, target)\n\
                with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as made:\n\
                \x20   made.writestr('app.py', handler)\n\
                \x20   for place, _, names in os.walk(target):\n\
                \x20       for name in names:\n\
                \x20           path = os.path.join(place, name)\n\
                \x20           made.write(path, os.path.relpath(path, target))\n";
    fs::create_dir_all(&packages)?;
    let status = Command::new("python3").args(["-c", pack]).args([&packages, &packed]).arg(handler).status().await?;
    if !status.success() {
        return Err("this machine's Python has no boto3 to pack".into());
    }
    Ok((fs::read(&packed)?, packages))
}

/// One file as a zip archive, packed by the tool every machine has: Python.
pub(crate) fn archive(folder: &Path, name: &str, content: &[u8]) -> Result<Vec<u8>, Failure> {
    let (file, packed) = (folder.join(name), folder.join(format!("{name}.zip")));
    fs::write(&file, content)?;
    let pack = "import sys, zipfile\n\
                info = zipfile.ZipInfo(sys.argv[3])\n\
                info.external_attr = 0o100755 << 16\n\
                info.compress_type = zipfile.ZIP_DEFLATED\n\
                zipfile.ZipFile(sys.argv[2], 'w').writestr(info, open(sys.argv[1], 'rb').read())";
    let arguments = [file.as_os_str(), packed.as_os_str(), name.as_ref()];
    let status = std::process::Command::new("python3").args(["-c", pack]).args(arguments).status()?;
    if !status.success() {
        return Err("cannot pack the archive".into());
    }
    Ok(fs::read(&packed)?)
}
