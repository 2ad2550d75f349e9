//! Child processes under measurement: a bare opponent, a runtime outside any sandbox, a `pileus up`.
//!
//! Guarantee: what is started here is ended here, by its own process id.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base_env::Env;
use http::Method;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{Failure, client::Prepared};

/// A bare opponent of this very binary.
pub(crate) struct Opponent {
    pub(crate) port: u16,
    // Killed when dropped.
    _child: Child,
}

impl Opponent {
    /// Starts `load TASK` and reads its port.
    pub(crate) async fn start(task: &str) -> Result<Self, Failure> {
        let mut child =
            Command::new(std::env::current_exe()?).arg(task).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).await?;
        Ok(Self { port: line.trim().parse()?, _child: child })
    }
}

/// A runtime outside any sandbox, polling the bare loop at `port`.
pub(crate) fn runtime(command: &[&str], port: u16) -> Result<Child, Failure> {
    let (program, arguments) = command.split_first().ok_or("an empty command")?;
    Ok(Command::new(program)
        .args(arguments)
        .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

/// A running `pileus up`.
pub(crate) struct Pileus {
    binary: PathBuf,
    data: PathBuf,
    pub(crate) port: u16,
    child: Option<Child>,
    env: Env,
}

impl Pileus {
    /// A server on a port and a data directory of its own; not started yet.
    pub(crate) fn new(env: &Env, binary: &Path, data: PathBuf) -> Result<Self, Failure> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { binary: binary.to_owned(), data, port, child: None, env: env.clone() })
    }

    /// Starts it; the time from the start of the process to the first healthy answer.
    pub(crate) async fn start(&mut self) -> Result<Duration, Failure> {
        fs::create_dir_all(&self.data)?;
        let log = fs::File::options().create(true).append(true).open(self.data.with_extension("log"))?;
        let health = Prepared::plain(self.port, Method::GET, "/_pileus/health", b"")?;
        let begun = self.env.monotonic();
        let child = Command::new(&self.binary)
            .args(["up", "--listen", &format!("127.0.0.1:{}", self.port), "--data"])
            .arg(&self.data)
            // Promised memory is what functions are configured with, not what they take: a thousand idle ones are to fit.
            .env("PILEUS_FUNCTIONS_MEMORY_BUDGET_MIB", "400000")
            .env("PILEUS_FUNCTIONS_CONCURRENCY", "1200")
            .env("PILEUS_FUNCTIONS_IDLE_SECONDS_MAX", "3600")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        loop {
            if matches!(health.once().await, Ok((200, _))) {
                return Ok(self.env.monotonic().since(begun));
            }
            if self.env.monotonic().since(begun) > Duration::from_secs(60) {
                return Err(
                    format!("the server is not healthy; see {}", self.data.with_extension("log").display()).into()
                );
            }
            self.env.sleep(Duration::from_micros(500)).await;
        }
    }

    /// Ends it politely.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().ok_or("the server has ended")?.to_string();
            Command::new("kill").args(["-TERM", &pid]).status().await?;
            child.wait().await?;
        }
        Ok(())
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Resident MiB of the server process, and of the server with all its descendants (shared pages counted once each).
    pub(crate) fn resident_mib(&self) -> Result<(f64, f64), Failure> {
        let server = self.child.as_ref().and_then(Child::id).ok_or("the server is not running")?;
        let mut family = vec![server];
        let mut looked = 0;
        while let Some(&pid) = family.get(looked) {
            looked += 1;
            // A child belongs to the thread that made it.
            for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        let own = kib(&format!("/proc/{server}/status"), "VmRSS:")?;
        let all: f64 = family.iter().filter_map(|pid| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:").ok()).sum();
        Ok((own / 1024.0, all / 1024.0))
    }
}

/// A running emulator, ended when dropped.
pub(crate) struct Emulator {
    pub(crate) port: u16,
    _child: Child,
}

impl Emulator {
    /// Starts it on a port of its own and waits until it answers.
    pub(crate) async fn start(env: &Env, program: &Path, folder: &Path) -> Result<Self, Failure> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs::File::create(folder.join("emulator.log"))?;
        let child = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let health = Prepared::plain(port, Method::GET, "/_ministack/health", b"")?;
        let begun = env.monotonic();
        // Whatever it says: it listens.
        while health.once().await.is_err() {
            if env.monotonic().since(begun) > Duration::from_secs(60) {
                return Err("the emulator does not answer".into());
            }
            env.sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { port, _child: child })
    }
}

fn kib(file: &str, field: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}
