//! The signals that end the server: the first asks it to finish, the second ends it at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ServerError;

/// SIGTERM and SIGINT.
pub(crate) struct Endings {
    terminate: Signal,
    interrupt: Signal,
}

impl Endings {
    /// Takes over both signals.
    pub(crate) fn new() -> Result<Self, ServerError> {
        let take = |kind| signal(kind).map_err(|error| ServerError::new("cannot receive signals").because(error));
        Ok(Self { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? })
    }

    /// The next one's name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
