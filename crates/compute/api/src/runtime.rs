//! The runtimes that a host can run, by AWS's identifiers.

use std::path::PathBuf;

/// Every runtime identifier that this compute floor knows how to run when the host has its language.
pub const SUPPORTED_RUNTIMES: &[&str] = &[
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "provided.al2",
    "provided.al2023",
];

/// The language behind a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// CPython.
    Python,
    /// Node.js.
    Node,
    /// The function brings its own `bootstrap`.
    Custom,
}

/// A runtime found on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledRuntime {
    /// AWS's identifier.
    pub name: String,
    /// Its language.
    pub language: Language,
    /// The exact version, e.g. `3.11.7`; empty for custom runtimes.
    pub version: String,
    /// The interpreter; none for custom runtimes.
    pub path: Option<PathBuf>,
    /// Whether functions of this name run on it: the newest of those found, unless configured otherwise.
    pub chosen: bool,
}

/// All runtimes of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeListing {
    /// Found, ordered by language, name and version.
    pub installed: Vec<InstalledRuntime>,
    /// Known identifiers for which no interpreter was found, in the order of [`SUPPORTED_RUNTIMES`].
    pub missing: Vec<String>,
}

impl RuntimeListing {
    /// The runtime on which functions of this name run.
    #[must_use]
    pub fn chosen(&self, name: &str) -> Option<&InstalledRuntime> {
        self.installed.iter().find(|runtime| runtime.chosen && runtime.name == name)
    }

    /// The identifiers that can be run here.
    #[must_use]
    pub fn available(&self) -> Vec<String> {
        self.installed.iter().filter(|runtime| runtime.chosen).map(|runtime| runtime.name.clone()).collect()
    }
}
