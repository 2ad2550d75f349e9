//! The lines of a function and of the platform, on one ordered, bounded channel.
//!
//! Guarantees: the kind of a line is set by whoever holds the [`OutputSink`], never by the bytes of the line, so a function
//! cannot forge a platform line; the lines that wait never exceed the channel's bound in bytes (one line is admitted
//! whatever its size), so a flood slows the function that makes it and nothing else; a sink whose reader is gone discards.

use std::{fmt, sync::Arc};

use base_types::Timestamp;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What a line costs beside its bytes, so that empty lines are bounded too.
const LINE_COST_BYTES: usize = 64;

/// Makes a channel on which at most `bound_bytes` wait.
#[must_use]
pub fn channel(bound_bytes: usize) -> (OutputSink, OutputLines) {
    let bound = bound_bytes.clamp(LINE_COST_BYTES, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(bound));
    (OutputSink { sender, room, bound }, OutputLines { receiver })
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// When it was read from the function, or written by the platform.
    pub at: Timestamp,
    /// Whose line it is.
    pub kind: OutputKind,
    /// The invocation in whose time it was written; none during initialisation.
    pub request_id: Option<Arc<str>>,
    /// Its bytes, with the line feed that ended it if there was one.
    pub text: Bytes,
}

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// The function's standard output.
    Stdout,
    /// The function's standard error.
    Stderr,
    /// A record of the runtime's logging library: may hold line feeds and is still one event.
    Log,
    /// The platform's: START, END, REPORT, INIT_START and the like.
    Platform,
}

/// The writing end; cheap to clone.
#[derive(Clone)]
pub struct OutputSink {
    sender: mpsc::UnboundedSender<(OutputLine, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    bound: usize,
}

impl OutputSink {
    /// Waits until there is room, then hands the line over. Lines of one task stay in order.
    pub async fn send(&self, line: OutputLine) {
        let cost = (line.text.len() + LINE_COST_BYTES).min(self.bound);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        if self.sender.is_closed() {
            return;
        }
        // Nearly always there is room.
        let room = || Arc::clone(&self.room);
        let permit = match room().try_acquire_many_owned(cost) {
            Ok(permit) => Ok(permit),
            // The semaphore is never closed; a reader that left frees what it held by dropping it.
            Err(_) => tokio::select! {
                permit = room().acquire_many_owned(cost) => permit,
                () = self.sender.closed() => return,
            },
        };
        if let Ok(permit) = permit {
            // The reader may have left just now: then the line is discarded like any later one.
            drop(self.sender.send((line, permit)));
        }
    }
}

impl fmt::Debug for OutputSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputSink").field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// The reading end.
#[derive(Debug)]
pub struct OutputLines {
    receiver: mpsc::UnboundedReceiver<(OutputLine, OwnedSemaphorePermit)>,
}

impl OutputLines {
    /// The next line, or none when every sink is gone.
    pub async fn next(&mut self) -> Option<OutputLine> {
        self.receiver.recv().await.map(|(line, _room)| line)
    }

    /// A line that is already waiting.
    pub fn try_next(&mut self) -> Option<OutputLine> {
        self.receiver.try_recv().ok().map(|(line, _room)| line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> OutputLine {
        OutputLine {
            at: Timestamp::EPOCH,
            kind: OutputKind::Stdout,
            request_id: None,
            text: Bytes::from_static(text.as_bytes()),
        }
    }

    #[tokio::test]
    async fn a_full_channel_holds_the_writer_back_until_a_line_is_read() {
        let (sink, mut lines) = channel(2 * LINE_COST_BYTES + 2);
        sink.send(line("a")).await;
        sink.send(line("b")).await;
        let third = tokio::spawn({
            let sink = sink.clone();
            async move { sink.send(line("c")).await }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        assert_eq!(lines.next().await, Some(line("a")));
        third.await.unwrap();
        drop(sink);
        assert_eq!(lines.next().await, Some(line("b")));
        assert_eq!(lines.next().await, Some(line("c")));
        assert_eq!(lines.next().await, None);
    }

    #[tokio::test]
    async fn a_line_longer_than_the_bound_passes_and_a_gone_reader_never_blocks() {
        let (sink, mut lines) = channel(0);
        sink.send(line("longer than the bound")).await;
        assert_eq!(lines.try_next(), Some(line("longer than the bound")));
        drop(lines);
        for _ in 0..100 {
            sink.send(line("discarded")).await;
        }
    }
}
