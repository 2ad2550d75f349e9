//! Composition, configuration and boot of the whole cloud.
//!
//! [`run`] takes a [`ServerConfig`] and serves until it is told to stop. `boot` has the order of start and end, `cloud`
//! puts services on back-ends and routes requests to them, `installation` keeps the keys, `own`, `pages` and `usage_page`
//! are what the server says of itself below `/_pileus/`, `offline` what works without a server.
//!
//! Invariant: no other crate names a back-end (the embedded store, the process sandbox).

mod boot;
mod cloud;
mod config;
mod error;
mod host_memory;
mod installation;
mod late_host;
mod logging;
mod offline;
mod operations;
mod own;
mod pages;
mod provisioned;
mod signals;
mod usage_page;

pub use boot::{Ready, run};
pub use compute_api::{FindingState, IsolationLevel};
pub use compute_process::run_if_launcher;
pub use config::{Auth, Connections, Functions, Log, LogFormat, Outbound, Private, ServerConfig};
pub use error::ServerError;
pub use installation::RootKey;
pub use offline::{BackupSummary, HostView, backup, create_private, restore};
