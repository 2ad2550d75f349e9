//! The gateway's settings: what an operator may change.

use std::time::Duration;

/// Who is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everybody who reaches the socket: loopback only.
    Open,
    /// Who signs with the root key or with credentials that Pileus issued.
    Required,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who is believed. The application must choose [`Auth::Required`] when it listens beyond loopback.
    pub auth: Auth,
    /// Host names that are served beside the loopback ones; each with everything below it.
    pub domains: Vec<String>,
    /// Origins (`https://tools.example.com`) whose pages may call AWS endpoints from a browser's background (extensions,
    /// desktop shells); no CORS headers are sent to them.
    pub origins: Vec<String>,
    /// What `/_pileus/health` answers as `version`.
    pub version: &'static str,
    /// The bounds.
    pub limits: Limits,
}

/// The bounds of what clients may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time, over all listeners; more wait in the kernel's backlog.
    pub connections: usize,
    /// Connections from inside execution environments at a time; apart, so that functions cannot shut clients out.
    pub environment_connections: usize,
    /// The request line and all headers, in bytes.
    pub head_bytes: usize,
    /// The time for a request's head, idling between two requests included.
    pub head_timeout: Duration,
    /// The time for a body, beside what its size allows at [`Limits::body_bytes_per_second`].
    pub body_timeout: Duration,
    /// The slowest rate at which a large body may arrive.
    pub body_bytes_per_second: usize,
    /// How long a client may leave an answer unread before the connection is broken.
    pub unread_timeout: Duration,
    /// The memory for all bodies above 64 KiB that are under way at a time, in bytes.
    pub bodies_bytes: usize,
    /// A function URL's body, in bytes (AWS: 6 MiB).
    pub url_body_bytes: usize,
    /// How long requests in flight may take once draining has begun.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            environment_connections: 4096,
            head_bytes: 64 * 1024,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            body_bytes_per_second: 64 * 1024,
            unread_timeout: Duration::from_secs(60),
            bodies_bytes: 512 * 1024 * 1024,
            url_body_bytes: 6 * 1024 * 1024,
            drain: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// Open, loopback names only.
    #[must_use]
    pub fn open(version: &'static str) -> Self {
        Self { auth: Auth::Open, domains: Vec::new(), origins: Vec::new(), version, limits: Limits::default() }
    }

    /// Signatures required.
    #[must_use]
    pub fn required(version: &'static str) -> Self {
        Self { auth: Auth::Required, ..Self::open(version) }
    }
}
