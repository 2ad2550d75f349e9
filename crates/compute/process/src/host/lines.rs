//! From the pipes of a function and of its extensions to lines in its sink, and to telemetry. Guarantees: nothing is read ahead of the sink, so a function that
//! floods is held back by its own full pipe; a line is cut at 256 KiB; cancelling a wait loses nothing.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use base_env::Env;
use bytes::{Bytes, BytesMut};
use compute_api::{OutputKind, OutputLine, OutputSink};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::net::unix::pipe::Receiver;

use super::telemetry::{Hub, Source};

/// Where a line without an end is cut (CloudWatch Logs' greatest event).
const LINE_BYTES_MAX: usize = 256 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// What a pipe holds: after an answer no more than this can have been written before it.
const PIPE_BYTES: usize = 64 * 1024;
/// What `LogType=Tail` shows.
const TAIL_BYTES: usize = 4096;

/// The pipes of one environment and what waits for the sink.
pub(crate) struct Output {
    /// The function's two, then two of each extension.
    pipes: Vec<Pipe>,
    waiting: VecDeque<OutputLine>,
    sink: OutputSink,
    env: Env,
    request_id: Option<Arc<str>>,
    tail: VecDeque<u8>,
    telemetry: Arc<Hub>,
}

struct Pipe {
    receiver: Option<Receiver>,
    kind: OutputKind,
    source: Source,
    partial: BytesMut,
}

impl Output {
    /// Into this sink, from nowhere yet.
    pub(crate) fn new(sink: OutputSink, env: Env, telemetry: Arc<Hub>) -> Self {
        let (waiting, tail) = (VecDeque::new(), VecDeque::new());
        Self { pipes: Vec::new(), waiting, sink, env, request_id: None, tail, telemetry }
    }

    /// Takes the reading ends of a program.
    pub(crate) fn add(&mut self, stdout: OwnedFd, stderr: OwnedFd, source: Source) -> io::Result<()> {
        for (fd, kind) in [(stdout, OutputKind::Stdout), (stderr, OutputKind::Stderr)] {
            let receiver = Some(Receiver::from_owned_fd(fd)?);
            self.pipes.push(Pipe { receiver, kind, source, partial: BytesMut::new() });
        }
        Ok(())
    }

    /// Lines from here on belong to this invocation.
    pub(crate) fn begin(&mut self, request_id: Arc<str>) {
        self.request_id = Some(request_id);
    }

    /// Moves output from pipes to sink for ever. May be cancelled at any time.
    pub(crate) async fn pump(&mut self) {
        loop {
            self.deliver().await;
            let index = std::future::poll_fn(|cx| self.poll_readable(cx)).await;
            self.read(index, false);
        }
    }

    /// The first pipe that has something, or has ended.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<usize> {
        for (index, pipe) in self.pipes.iter().enumerate() {
            // An error shows itself at the read that follows.
            if pipe.receiver.as_ref().is_some_and(|receiver| receiver.poll_read_ready(cx).is_ready()) {
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    }

    /// A record of the runtime's logging: one event whatever it holds.
    pub(crate) fn record(&mut self, text: Bytes) {
        self.push(OutputKind::Log, Source::Function, text);
    }

    /// Moves what was written before now, and ends the function's unfinished lines.
    pub(crate) async fn drain(&mut self) {
        let waiting = self.readable_now();
        for (index, waiting) in waiting.into_iter().enumerate() {
            let mut seen = 0;
            while seen < PIPE_BYTES && waiting {
                match self.read(index, true) {
                    0 => break,
                    read => seen += read,
                }
                self.deliver().await;
            }
            let pipe = &mut self.pipes[index];
            // An extension goes on writing: its line is not cut by the end of an invocation.
            let ends = pipe.source == Source::Function || pipe.receiver.is_none();
            if ends && !pipe.partial.is_empty() {
                let (kind, source, text) = (pipe.kind, pipe.source, pipe.partial.split().freeze());
                self.push(kind, source, text);
            }
            if self.pipes[index].partial.is_empty() {
                // An idle environment shall not hold room for output.
                self.pipes[index].partial = BytesMut::new();
            }
        }
        self.deliver().await;
    }

    /// Which pipes have something, or have ended: asked of the kernel in one call. Most invocations write nothing.
    fn readable_now(&self) -> Vec<bool> {
        let mut found = vec![false; self.pipes.len()];
        let open = || self.pipes.iter().enumerate().filter_map(|(index, pipe)| Some((index, pipe.receiver.as_ref()?)));
        let mut asked: Vec<_> = open().map(|(_, receiver)| PollFd::new(receiver, PollFlags::IN)).collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // What cannot be asked is read.
        let known = rustix::event::poll(&mut asked, Some(&now)).is_ok();
        for ((index, _), fd) in open().zip(&asked) {
            found[index] = !known || !fd.revents().is_empty();
        }
        found
    }

    /// The same, but a sink that stays full for longer than `limit` loses what it does not take.
    pub(crate) async fn drain_within(&mut self, limit: Duration) {
        let env = self.env.clone();
        if env.timeout(limit, self.drain()).await.is_err() {
            tracing::warn!(lines = self.waiting.len(), "a log takes nothing: the last lines of an invocation are lost");
            self.waiting.clear();
        }
    }

    /// The last lines since the previous call.
    pub(crate) fn take_tail(&mut self) -> Bytes {
        Bytes::from(Vec::from(std::mem::take(&mut self.tail)))
    }

    async fn deliver(&mut self) {
        // A line leaves the queue only when the sink has it: cancelling in between repeats nothing and loses nothing.
        while let Some(line) = self.waiting.front() {
            self.sink.send(line.clone()).await;
            self.waiting.pop_front();
        }
    }

    /// Reads once without waiting; answers how much. When `asking`, the pipe itself is asked and not the reactor, which may
    /// not have heard yet of what was written just now.
    fn read(&mut self, index: usize, asking: bool) -> usize {
        let pipe = &mut self.pipes[index];
        let Some(receiver) = &mut pipe.receiver else { return 0 };
        let before = pipe.partial.len();
        pipe.partial.reserve(READ_BYTES);
        let result = if asking {
            let mut bytes = [0; READ_BYTES];
            rustix::io::read(receiver.as_fd(), &mut bytes)
                .map_err(io::Error::from)
                .inspect(|&read| pipe.partial.extend_from_slice(&bytes[..read]))
        } else {
            receiver.try_read_buf(&mut pipe.partial)
        };
        match result {
            Ok(0) => pipe.receiver = None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return 0,
            Err(_) => pipe.receiver = None,
        }
        let read = pipe.partial.len() - before;
        let (kind, source) = (pipe.kind, pipe.source);
        let mut lines = Vec::new();
        let mut searched = before;
        while let Some(end) = pipe.partial[searched..].iter().position(|byte| *byte == b'\n') {
            lines.push(pipe.partial.split_to(searched + end + 1).freeze());
            searched = 0;
        }
        while pipe.partial.len() >= LINE_BYTES_MAX {
            lines.push(pipe.partial.split_to(LINE_BYTES_MAX).freeze());
        }
        for line in lines {
            self.push(kind, source, line);
        }
        read
    }

    fn push(&mut self, kind: OutputKind, source: Source, text: Bytes) {
        let at = self.env.now();
        self.telemetry.line(source, at, &text);
        let kept = &text[text.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + kept.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(kept);
        self.waiting.push_back(OutputLine { at, kind, request_id: self.request_id.clone(), text });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn lines_are_told_apart_and_the_unfinished_one_comes_with_the_drain() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (error_reader, mut error_writer) = std::io::pipe().unwrap();
        let (sink, mut lines) = compute_api::output::channel(1 << 20);
        let mut output = Output::new(sink, Env::real(), Hub::unheard());
        output.add(reader.into(), error_reader.into(), Source::Function).unwrap();
        output.begin(Arc::from("r1"));
        writer.write_all(b"multi\nline\nanother\rline\nrest").unwrap();
        error_writer.write_all(b"bad\n").unwrap();
        output.drain().await;
        let mut texts = Vec::new();
        while let Some(line) = lines.try_next() {
            assert_eq!(line.request_id.as_deref(), Some("r1"));
            texts.push((line.kind, String::from_utf8(line.text.to_vec()).unwrap()));
        }
        let expected = [
            (OutputKind::Stdout, "multi\n"),
            (OutputKind::Stdout, "line\n"),
            (OutputKind::Stdout, "another\rline\n"),
            (OutputKind::Stdout, "rest"),
            (OutputKind::Stderr, "bad\n"),
        ];
        assert_eq!(texts, expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(&output.take_tail()[..], b"multi\nline\nanother\rline\nrestbad\n");
    }
}
