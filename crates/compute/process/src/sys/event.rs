//! Waiting for a descriptor of the kernel in the server's asynchronous runtime.
#![expect(unsafe_code, reason = "the runtime asks for a promise about the descriptor that it watches")]

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// Watches a descriptor that says by itself when there is something.
pub(crate) fn watch(event: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor answers the same number as long as it lives and closes it only when it is dropped; the
    // runtime owns it from here on.
    unsafe { AsyncFd::register(event) }.map_err(Into::into)
}
