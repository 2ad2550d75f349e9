//! The command line: what may be typed and what it means. The doc comments are the manual.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The serverless cloud you own.
#[derive(Debug, Parser)]
#[command(name = "pileus", version, disable_help_subcommand = true, propagate_version = true)]
pub(crate) struct Pileus {
    /// Print machine-readable JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server and stay in the foreground until Ctrl-C.
    Up(Up),
    /// Create or update the function in a folder.
    Deploy(Deploy),
    /// Invoke a function and print its answer.
    Invoke(Invoke),
    /// Print a function's log.
    Logs(Logs),
    /// List the functions.
    Ls,
    /// Delete a function.
    Rm(Rm),
    /// Show what the functions used, and what AWS would have charged.
    Usage(Usage),
    /// Show what runs just now.
    Top(Top),
    /// Show what e-mail and SMS subscribers of topics would have got: Pileus sends neither.
    Outbox,
    /// Print the shell's exports for the AWS tools: `eval $(pileus env)`.
    Env(Environment),
    /// List the language runtimes found on this host.
    Runtimes,
    /// Say what this host offers for isolation, and what is missing and why.
    Doctor,
    /// Write a consistent, checksummed copy of everything stored to a file.
    Backup(Backup),
    /// Fill an empty data directory from a backup file.
    Restore(Restore),
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Address to listen on. [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Directory that holds all data; made if absent. [default: ./pileus-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Whether requests must be signed with the root key. [default: open on loopback, required elsewhere]
    #[arg(long, value_name = "MODE")]
    pub(crate) auth: Option<Auth>,
    /// Configuration file (TOML); flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// Every request is signed with a known key.
    Required,
    /// Any credentials are accepted; on loopback only.
    Open,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Folder with a handler file and an optional pileus.toml.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Name of the function, instead of pileus.toml's or the folder's.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Give the function a URL that anybody may call.
    #[arg(long)]
    pub(crate) url: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// Name or ARN of the function.
    pub(crate) name: String,
    /// The event, as JSON; `-` reads it from standard input. [default: {}]
    #[arg(long, short, value_name = "JSON")]
    pub(crate) payload: Option<String>,
    /// Version or alias.
    #[arg(long)]
    pub(crate) qualifier: Option<String>,
    /// Hand the event over and do not wait for the answer.
    #[arg(long)]
    pub(crate) event: bool,
    /// Print the end of the invocation's log to standard error.
    #[arg(long)]
    pub(crate) tail: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the function, or of a log group that begins with `/`.
    pub(crate) name: String,
    /// Keep printing what arrives.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How far to look back: 30s, 10m, 2h, 7d.
    #[arg(long, value_name = "AGE", default_value = "10m")]
    pub(crate) since: String,
    /// CloudWatch Logs filter pattern.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) filter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// From when on: an age (24h, 7d), a day (2026-11-01) or an instant (RFC 3339). Whole hours are shown.
    #[arg(long, value_name = "WHEN", default_value = "24h")]
    pub(crate) since: String,
    /// Only this function.
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Take AWS's monthly free tier off.
    #[arg(long)]
    pub(crate) free_tier: bool,
    /// Whose prices: those of AWS's x86 or Arm processors. [default: what the server runs on]
    #[arg(long, value_name = "ARCH")]
    pub(crate) architecture: Option<Architecture>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    /// AWS's x86 processors.
    #[value(name = "x86_64")]
    X86,
    /// AWS's Arm processors.
    #[value(name = "arm64")]
    Arm,
}

impl Architecture {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "arm64",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Print once and end. So it is whenever the output is not a terminal.
    #[arg(long)]
    pub(crate) once: bool,
    /// Only this function, with its last invocations.
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Names of the functions.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Delete their logs too.
    #[arg(long)]
    pub(crate) logs: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Environment {
    /// Endpoint of the server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4566")]
    pub(crate) endpoint: String,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to write; it must not exist.
    pub(crate) file: PathBuf,
    /// Data directory of a stopped server; without it the running server at AWS_ENDPOINT_URL is asked.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Backup file.
    pub(crate) file: PathBuf,
    /// Data directory to fill; it must be absent or empty.
    #[arg(long, value_name = "DIR", default_value = "./pileus-data")]
    pub(crate) data: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Pileus::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_manual_parses() {
        let lines = [
            "pileus up --listen 127.0.0.1:0 --data d --auth required --config c.toml",
            "pileus deploy app",
            "pileus invoke hello --payload {}",
            "pileus logs hello -f",
            "pileus ls --json",
            "pileus rm hello",
            "pileus usage --since 2026-11-01 --function hello --free-tier --architecture arm64 --json",
            "pileus top --once --function hello",
            "pileus env",
            "pileus runtimes --json",
            "pileus doctor",
            "pileus backup b.pileus",
            "pileus restore b.pileus --data d",
            "pileus version",
        ];
        for line in lines {
            Pileus::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
