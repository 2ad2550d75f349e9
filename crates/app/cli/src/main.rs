//! The `pileus` command: reads the command line, runs one command, prints what came of it.
//!
//! Guarantees: exit status 0 for success, 1 for a failure (said on standard error with cause and remedy), 2 for a wrong
//! command line. Results go to standard output, everything else to standard error; colours and progress only to a terminal.
//! Absent here on purpose: anything that the public API does not offer (but for what works on a stopped server).

mod args;
mod cloud;
mod deploy;
mod environment;
mod failure;
mod functions;
mod host;
mod logs;
mod outbox;
mod screen;
mod top;
mod usage;

use std::process::ExitCode;

use args::{Command, Pileus};
use clap::Parser;
use cloud::Cloud;
use failure::{Outcome, io};
use screen::Screen;
use serde_json::json;

/// What one thread makes another drops, many times for each request: the system's allocator spends a fifth of all time on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The launcher must be forked before there is a thread: this comes first.
    app_server::run_if_launcher();
    let Pileus { json, command } = Pileus::parse();
    match run(Screen::new(json), &command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            anstream::eprintln!("{}", failure.render());
            ExitCode::FAILURE
        }
    }
}

fn run(screen: Screen, command: &Command) -> Outcome<()> {
    match command {
        Command::Env(options) => environment::run(screen, options),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            screen.result(&json!({ "version": version }), &format!("pileus {version}"));
            Ok(())
        }
        Command::Deploy(options) => talk(|cloud| async move { deploy::run(&cloud, screen, options).await }),
        Command::Invoke(options) => talk(|cloud| async move { functions::invoke(&cloud, screen, options).await }),
        Command::Logs(options) => talk(|cloud| async move { logs::run(&cloud, screen, options).await }),
        Command::Ls => talk(|cloud| async move { functions::list(&cloud, screen).await }),
        Command::Rm(options) => talk(|cloud| async move { functions::remove(&cloud, screen, options).await }),
        Command::Usage(options) => talk(|cloud| async move { usage::run(&cloud, screen, options).await }),
        Command::Outbox => talk(|cloud| async move { outbox::run(&cloud, screen).await }),
        Command::Top(options) => talk(|cloud| async move { top::run(&cloud, screen, options).await }),
        Command::Up(options) => host::up(screen, options),
        Command::Runtimes => host::runtimes(screen),
        Command::Doctor => host::doctor(screen),
        Command::Backup(options) => match &options.data {
            Some(data) => host::backup_stopped(screen, data, &options.file),
            None => talk(|cloud| async move { host::backup_running(&cloud, screen, &options.file).await }),
        },
        Command::Restore(options) => host::restore(screen, options),
    }
}

/// Runs one conversation with the server that the environment names.
fn talk<F: Future<Output = Outcome<()>>>(conversation: impl FnOnce(Cloud) -> F) -> Outcome<()> {
    let cloud = Cloud::from_environment()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io("cannot start the asynchronous runtime"))?;
    runtime.block_on(conversation(cloud))
}
