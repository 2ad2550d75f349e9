//! Composition, configuration and boot of the whole cloud.

mod config;
mod error;
mod host_memory;
mod installation;
mod logging;
mod pages;
mod signals;

pub use config::{Auth, Connections, Functions, Log, LogFormat, Logs, ServerConfig};
pub use error::ServerError;
pub use installation::RootKey;
