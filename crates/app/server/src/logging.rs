//! The server's own structured log, on standard error: text on a terminal, JSON otherwise or if asked.

use std::io::IsTerminal as _;

use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    ServerError,
    config::{Log, LogFormat},
};

/// The target under which the gateway logs requests.
const ACCESS: &str = "pileus::access";

/// Starts it. A second start in the same process (tests) leaves the first in place.
///
/// # Errors
/// When the level is no filter.
pub(crate) fn start(log: &Log) -> Result<(), ServerError> {
    let filter: Targets = log.level.parse().map_err(|error| {
        ServerError::new(format!("`log.level` is not valid: `{}`", log.level))
            .because(error)
            .remedy("use `error`, `warn`, `info`, `debug` or `trace`, or per part as in `info,edge_gateway=debug`")
    })?;
    // A line for each request costs more than the request: only for who asks.
    let filter = if log.level.contains(ACCESS) {
        filter
    } else {
        filter.with_target(ACCESS, tracing::level_filters::LevelFilter::WARN)
    };
    let terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry();
    let started = if json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        registry.with(lines.with_filter(filter)).try_init()
    } else {
        let lines = tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(std::io::stderr);
        registry.with(lines.with_filter(filter)).try_init()
    };
    if started.is_err() {
        tracing::debug!("a log is already being written in this process");
    }
    Ok(())
}
