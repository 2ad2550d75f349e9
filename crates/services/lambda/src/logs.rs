//! Where the lines of functions go: what Lambda asks of the log service.

use std::{future::Future, sync::Arc};

use base_types::{AccountId, Region};
use compute_api::OutputLine;

/// A log stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogPlace {
    /// Whose.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// The group, for example `/aws/lambda/hello`; made when it is not there.
    pub group: String,
    /// The stream, for example `2026/11/23/[$LATEST]…`; made when it is not there.
    pub stream: String,
}

/// Takes lines.
pub trait LogLines: Send + Sync + 'static {
    /// Takes lines, in order. Waiting here slows the function that writes them and nothing else. What cannot be kept is
    /// reported in the server's own log: a function does not fail because of its logs.
    fn append(&self, place: &LogPlace, lines: Vec<OutputLine>) -> impl Future<Output = ()> + Send;
}

impl<L: LogLines> LogLines for Arc<L> {
    fn append(&self, place: &LogPlace, lines: Vec<OutputLine>) -> impl Future<Output = ()> + Send {
        (**self).append(place, lines)
    }
}
