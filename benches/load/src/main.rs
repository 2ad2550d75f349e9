//! `make bench`: one run that measures Pileus beside bare opponents on the same machine and prints ratios ([`sections`]).
//!
//! The opponents: a hyper server that answers a constant ([`bare`]), and the shortest honest loop between a client and a
//! runtime that polls the Runtime API ([`bare`] again), with the very same runtimes. The load client ([`client`]) signs its
//! request once and sends it over kept connections. No figure is asserted anywhere: they are for reading.
//!
//! The same binary is also the native function under test: started under the name `bootstrap` it polls the Runtime API.

mod alone;
mod bare;
mod client;
mod cloud;
mod raw;
mod report;
mod sections;
mod server;
mod worker;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures Pileus beside bare opponents.
#[derive(Parser)]
struct Load {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the measurements and print the tables.
    Compare(sections::Options),
    /// A bare hyper server on one thread: every request is answered with a constant.
    Hello,
    /// The same on as many threads as there are processors, as a server runs.
    HelloThreads,
    /// The bare Runtime API loop.
    Loop,
    /// Commits of the store alone.
    StoreAlone(alone::Run),
    /// One load on a queue of a server that runs: for looking at the server meanwhile.
    Queue(sections::QueueLoad),
    /// Nothing at all: what a bare sandbox is made for.
    Nothing,
    /// A native function: polls the Runtime API and answers with the event.
    Worker,
}

/// That of the server: the store alone is measured with the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let as_bootstrap = std::env::args_os()
        .next()
        .is_some_and(|name| PathBuf::from(name).file_name().is_some_and(|file| file == "bootstrap"));
    let task = if as_bootstrap { Task::Worker } else { Load::parse().task };
    // The client has one thread: at low concurrency most of the latency is waking another processor, for everybody alike.
    let runtime = match task {
        Task::HelloThreads | Task::StoreAlone(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    };
    let outcome = runtime.map_err(Failure::from).and_then(|runtime| match task {
        Task::Compare(options) => runtime.block_on(sections::run(&options)),
        Task::Queue(options) => runtime.block_on(options.run()),
        Task::StoreAlone(options) => runtime.block_on(alone::run(&options)),
        Task::Nothing => Ok(()),
        Task::Hello | Task::HelloThreads => runtime.block_on(bare::hello()),
        Task::Loop => runtime.block_on(bare::runtime_loop()),
        Task::Worker => runtime.block_on(worker::poll()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
