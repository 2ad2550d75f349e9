//! The measurements, a file each.
//!
//! Guarantee: what is compared was measured in the same run, with the same client; starts take turns with what they are
//! compared to, so that a busy moment of the machine falls on both.

mod burst;
mod cold;
mod emulator;
mod events;
mod events_bus;
mod functions;
mod idle;
mod queues;
mod start;
mod warm;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

pub(crate) use queues::QueueLoad;

use base_env::Env;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    Failure,
    cloud::{Cloud, Language, languages},
    report::Report,
    server::Pileus,
};

/// What is measured and how much of it.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure; everything if nothing is named.
    sections: Vec<Section>,
    /// The release binary of `pileus`.
    #[arg(long)]
    pileus: PathBuf,
    /// The emulator's program; without it that section is left out.
    #[arg(long)]
    emulator: Option<PathBuf>,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seconds of each load.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Repetitions of each start.
    #[arg(long, default_value_t = 60)]
    starts: u32,
    /// Environments of a burst.
    #[arg(long, default_value_t = 200)]
    burst: usize,
    /// Idle environments.
    #[arg(long, default_value_t = 1_000)]
    idle: u32,
    /// Deployed functions.
    #[arg(long, default_value_t = 10_000)]
    functions: u32,
    /// Messages of a backlog.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: usize,
    /// Schedules of one minute.
    #[arg(long, default_value_t = 100_000)]
    schedules: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// From the start of the process to its first answer; memory.
    Start,
    /// The first invocation of a function.
    Cold,
    /// Invocations of a function that is there.
    Warm,
    /// Many new environments at once.
    Burst,
    /// Many idle environments.
    Idle,
    /// Many deployed functions.
    Functions,
    /// Beside another emulator.
    Emulator,
    /// Queues.
    Queues,
    /// Rules on an event bus.
    EventsBus,
    /// What messages, topics and schedules start.
    Events,
}

/// What every section has.
struct Bench<'a> {
    env: Env,
    options: &'a Options,
    folder: &'a Path,
    languages: &'a [Language],
}

impl Bench<'_> {
    /// A server of a section's own, with more room than one is given for daily use.
    async fn pileus(&self, name: &str) -> Result<(Pileus, Cloud), Failure> {
        let mut pileus = Pileus::new(&self.env, &self.options.pileus, self.folder.join(name))?;
        pileus.start().await?;
        let cloud = Cloud { env: self.env.clone(), port: pileus.port };
        Ok((pileus, cloud))
    }

    fn language(&self, name: &str) -> Result<&Language, Failure> {
        Ok(self.languages.iter().find(|language| language.name == name).ok_or("a language that is not measured")?)
    }

    fn span(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    /// From the start to the end of a program that has nothing to do.
    async fn process(&self, program: &Path, arguments: &[&str]) -> Result<Duration, Failure> {
        let begun = self.env.monotonic();
        let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status().await?;
        let taken = self.env.monotonic().since(begun);
        if status.success() { Ok(taken) } else { Err(format!("{} ended with {status}", program.display()).into()) }
    }
}

/// Runs the sections and prints the tables. A section that fails is said and the others go on.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let env = Env::real();
    let folder = std::env::temp_dir().join(format!("pileus-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = all(&env, options, &folder).await;
    fs::remove_dir_all(&folder)?;
    outcome
}

async fn all(env: &Env, options: &Options, folder: &Path) -> Result<(), Failure> {
    let languages = languages(folder).await?;
    let bench = Bench { env: env.clone(), options, folder, languages: &languages };
    let mut report = Report::new();
    let mut failed = Vec::new();
    let machine = machine(env)?;
    anstream::println!("{machine}");
    for section in Section::value_variants() {
        if !(options.sections.is_empty() || options.sections.contains(section)) {
            continue;
        }
        let outcome = match section {
            Section::Start => start::run(&bench, &mut report).await,
            Section::Cold => cold::run(&bench, &mut report).await,
            Section::Warm => warm::run(&bench, &mut report).await,
            Section::Burst => burst::run(&bench, &mut report).await,
            Section::Idle => idle::run(&bench, &mut report).await,
            Section::Functions => functions::run(&bench, &mut report).await,
            Section::Emulator => match &options.emulator {
                Some(emulator) => emulator::run(&bench, emulator, &mut report).await,
                None => Ok(()),
            },
            Section::Queues => queues::run(&bench, &mut report).await,
            Section::EventsBus => events_bus::run(&bench, &mut report).await,
            Section::Events => events::run(&bench, &mut report).await,
        };
        if let Err(error) = outcome {
            report.note(&format!("this section broke off: {error}"));
            failed.push(format!("{section:?}: {error}"));
        }
    }
    report.finish(machine, options.json.as_deref())?;
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
}

/// What the figures were measured on, and how busy it was.
fn machine(env: &Env) -> Result<Value, Failure> {
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let processor = text("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()));
    Ok(json!({
        "date": env.now().to_iso8601(),
        "processors": std::thread::available_parallelism()?.get(),
        "processor": processor,
        "kernel": text("/proc/sys/kernel/osrelease").trim(),
        "memory_mib": mem("MemTotal:")? / 1024.0,
        "load_before": text("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
    }))
}

/// A line of `/proc/meminfo`, KiB.
fn mem(field: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with(field)).ok_or("no such line in /proc/meminfo")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}
