//! The lines of a function and of the platform, on one ordered, bounded channel.
//!
//! Guarantees: the kind of a line is set by whoever holds the [`OutputSink`], never by the bytes of the line, so a function
//! cannot forge a platform line; the lines that wait never exceed the channel's bound in bytes (one line is admitted
//! whatever its size), so a flood slows the function that makes it and nothing else; a sink whose reader is gone discards.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use base_types::Timestamp;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};

/// What a line costs beside its bytes, so that empty lines are bounded too.
const LINE_COST_BYTES: usize = 64;

/// Makes a channel on which at most `bound_bytes` wait.
#[must_use]
pub fn channel(bound_bytes: usize) -> (OutputSink, OutputLines) {
    let bound = bound_bytes.clamp(LINE_COST_BYTES, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let shared = Arc::new(Shared {
        waiting: Mutex::default(),
        arrived: Notify::new(),
        room: Semaphore::new(bound),
        sinks: AtomicUsize::new(1),
        bound,
    });
    (OutputSink(Arc::clone(&shared)), OutputLines { shared, taken: VecDeque::new() })
}

/// What both ends hold.
struct Shared {
    waiting: Mutex<VecDeque<OutputLine>>,
    /// The reader is to look.
    arrived: Notify,
    /// Bytes that may still wait; closed when the reader has left.
    room: Semaphore,
    sinks: AtomicUsize,
    bound: usize,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<OutputLine>> {
        // Whoever panicked while holding it left a sound list.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cost(&self, line: &OutputLine) -> usize {
        (line.text.len() + LINE_COST_BYTES).min(self.bound)
    }
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
pub struct OutputSink(Arc<Shared>);

impl OutputSink {
    /// Waits until there is room, then hands the line over. Lines of one task stay in order.
    pub async fn send(&self, line: OutputLine) {
        if self.hold(line).await {
            self.flush();
        }
    }

    /// As [`OutputSink::send`], but the reader is not woken: it takes the line with the next one that is sent, or with
    /// [`OutputSink::flush`]. For who is about to send more. False when nobody reads any more.
    pub async fn hold(&self, line: OutputLine) -> bool {
        let shared = &self.0;
        let cost = shared.cost(&line);
        let permits = u32::try_from(cost).unwrap_or(u32::MAX);
        if shared.room.available_permits() < cost {
            // What is held must not keep its own reader asleep.
            self.flush();
        }
        // It is closed when the reader has left: then the line is discarded like any later one.
        let Ok(room) = shared.room.acquire_many(permits).await else { return false };
        room.forget();
        shared.waiting().push_back(line);
        true
    }

    /// Wakes the reader for what is held.
    pub fn flush(&self) {
        self.0.arrived.notify_one();
    }
}

impl Clone for OutputSink {
    fn clone(&self) -> Self {
        self.0.sinks.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for OutputSink {
    fn drop(&mut self) {
        if self.0.sinks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flush();
        }
    }
}

impl fmt::Debug for OutputSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputSink").field("bound", &self.0.bound).finish_non_exhaustive()
    }
}

/// The reading end.
pub struct OutputLines {
    shared: Arc<Shared>,
    taken: VecDeque<OutputLine>,
}

impl OutputLines {
    /// The next line, or none when every sink is gone.
    pub async fn next(&mut self) -> Option<OutputLine> {
        loop {
            // In this order: the last line of the last sink is in the list before the count falls.
            let ended = self.shared.sinks.load(Ordering::Acquire) == 0;
            if let Some(line) = self.try_next() {
                return Some(line);
            }
            if ended {
                return None;
            }
            self.shared.arrived.notified().await;
        }
    }

    /// A line that is already waiting.
    pub fn try_next(&mut self) -> Option<OutputLine> {
        if self.taken.is_empty() {
            std::mem::swap(&mut *self.shared.waiting(), &mut self.taken);
        }
        let line = self.taken.pop_front()?;
        self.shared.room.add_permits(self.shared.cost(&line));
        Some(line)
    }
}

impl Drop for OutputLines {
    fn drop(&mut self) {
        self.shared.room.close();
    }
}

impl fmt::Debug for OutputLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputLines").field("taken", &self.taken.len()).finish_non_exhaustive()
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

    #[tokio::test]
    async fn what_is_held_comes_with_the_next_line_or_when_it_is_flushed() {
        let (sink, mut lines) = channel(1 << 10);
        let mut next = Box::pin(lines.next());
        assert!(futures_are_pending(&mut next).await);
        assert!(sink.hold(line("a")).await);
        assert!(futures_are_pending(&mut next).await, "nobody was woken");
        sink.send(line("b")).await;
        assert_eq!(next.await, Some(line("a")));
        assert_eq!(lines.next().await, Some(line("b")));
        assert!(sink.hold(line("c")).await);
        sink.flush();
        assert_eq!(lines.next().await, Some(line("c")));
        assert!(sink.hold(line("d")).await);
        drop(sink);
        assert_eq!((lines.next().await, lines.next().await), (Some(line("d")), None));
    }

    #[tokio::test]
    async fn lines_that_are_held_never_wait_for_room_that_they_take_themselves() {
        let (sink, mut lines) = channel(2 * LINE_COST_BYTES);
        let reading = tokio::spawn(async move {
            let mut count = 0;
            while lines.next().await.is_some() {
                count += 1;
            }
            count
        });
        for _ in 0..100 {
            sink.hold(line("")).await;
        }
        drop(sink);
        assert_eq!(reading.await.unwrap(), 100);
    }

    /// Whether a future that is polled by its own wake-ups only is still pending.
    async fn futures_are_pending(future: &mut std::pin::Pin<Box<impl Future<Output = Option<OutputLine>>>>) -> bool {
        tokio::select! {
            biased;
            _ = future => false,
            () = tokio::task::yield_now() => true,
        }
    }
}
