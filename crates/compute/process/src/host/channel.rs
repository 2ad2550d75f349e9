//! The private channel to our own bootstraps: an inherited socket with length-prefixed frames, the Runtime API's contract
//! without HTTP. A frame is `u32` length (little endian, of what follows), `u8` kind, body. What the other side sends is
//! the function's own doing and as hostile as anything else of it: lengths are bounded, answers to another event than the
//! present one are dropped.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream as StdStream,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use compute_api::{PAYLOAD_BYTES_MAX, RESPONSE_SLACK_BYTES, StreamError};
use tokio::io::{Interest, unix::AsyncFd};

use super::exchange::{Event, Message};

const EVENT: u8 = 1;
const READY: u8 = 2;
const RESPONSE: u8 = 3;
const ERROR: u8 = 4;
const INIT_ERROR: u8 = 5;
const LOG: u8 = 6;
/// A streamed response: its content type, its pieces, its end or its error.
const STREAM_BEGIN: u8 = 7;
const STREAM_BODY: u8 = 8;
const STREAM_END: u8 = 9;
const STREAM_ERROR: u8 = 10;
/// A process that is to be copied stands still.
const SNAPSHOT: u8 = 17;
/// Kind and sequence number.
const HEAD_BYTES: usize = 5;
/// A log record is cut like a line; an error document is bounded like a response.
const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + RESPONSE_SLACK_BYTES + HEAD_BYTES + 1024;
/// Pieces wait for a slow reader, so they are small.
const PIECE_BYTES_MAX: usize = 256 * 1024;
/// A longer content type is none.
const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// What is read at once of an answer whose length is not known yet.
const READ_BYTES: usize = 4096;
/// What is read at once at most.
const READ_BYTES_MAX: usize = 256 * 1024;

/// What an event's head usually takes; a client context may take more.
const HEAD_ROOM: usize = 512;

/// What a bootstrap learns of an event beside its payload.
#[derive(serde::Serialize)]
struct About<'a> {
    request_id: &'a str,
    deadline_ms: u64,
    arn: &'a str,
    trace_id: Option<&'a str>,
    client_context: Option<&'a str>,
    cognito_identity: Option<&'a str>,
}

impl<'a> About<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            request_id: &event.request_id,
            deadline_ms: event.deadline.as_millis(),
            arn: &event.invoked_function_arn,
            trace_id: event.trace_id.as_deref(),
            client_context: event.client_context.as_deref(),
            cognito_identity: event.cognito_identity.as_deref(),
        }
    }
}

/// The writing half.
pub(crate) struct ChannelWriter {
    /// Not known to the reactor: it would be told each time the function reads, which nobody waits for.
    stream: StdStream,
    sequence: u32,
}

/// The reading half.
pub(crate) struct ChannelReader {
    stream: AsyncFd<StdStream>,
    buffer: BytesMut,
    /// The rest of a frame that is too large to keep, and its whole size.
    skipping: Option<(usize, u64, u8)>,
    sequence: u32,
}

/// Takes the server's end.
pub(crate) fn open(stream: StdStream) -> io::Result<(ChannelWriter, ChannelReader)> {
    stream.set_nonblocking(true)?;
    let writing = stream.try_clone()?;
    let stream = watch(stream, Interest::READABLE)?;
    let reader = ChannelReader { stream, buffer: BytesMut::new(), skipping: None, sequence: 0 };
    Ok((ChannelWriter { stream: writing, sequence: 0 }, reader))
}

#[expect(
    deprecated,
    reason = "a socket of the standard library has one descriptor as long as it lives, which is all that the newer, unsafe function asks for"
)]
fn watch(stream: StdStream, interest: Interest) -> io::Result<AsyncFd<StdStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl ChannelWriter {
    /// Sends an event and answers its sequence number. Not to be cancelled while the environment is to live.
    pub(crate) async fn send(&mut self, event: &Event) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let inline = if event.payload.len() <= 64 * 1024 { event.payload.len() } else { 0 };
        let mut head = Vec::with_capacity(HEAD_ROOM + inline);
        // Both lengths are known when the rest is written.
        head.extend_from_slice(&[0, 0, 0, 0, EVENT]);
        head.put_u32_le(self.sequence);
        head.put_u32_le(0);
        serde_json::to_writer(&mut head, &About::of(event)).map_err(io::Error::other)?;
        let about = head.len() - 13;
        let length = 1 + 4 + 4 + about + event.payload.len();
        head[..4].copy_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
        head[9..13].copy_from_slice(&u32::try_from(about).map_err(io::Error::other)?.to_le_bytes());
        if event.payload.len() <= 64 * 1024 {
            head.put_slice(&event.payload);
            return self.write_all(&head).await;
        }
        self.write_all(&head).await?;
        self.write_all(&event.payload).await
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        // Only an event that does not fit into the socket waits for the function to read.
        let mut full = None;
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let waiting = match full.take() {
                        Some(waiting) => waiting,
                        None => watch(self.stream.try_clone()?, Interest::WRITABLE)?,
                    };
                    waiting.writable().await?.clear_ready();
                    full = Some(waiting);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The number of the last event.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }
}

impl ChannelReader {
    /// Answers are expected to carry this number.
    pub(crate) fn expect(&mut self, sequence: u32) {
        self.sequence = sequence;
    }

    /// The next message, or none when the other side closed. May be cancelled.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            match self.parse()? {
                Some(Some(message)) => return Ok(Some(message)),
                Some(None) => {}
                None => {
                    if self.fill().await? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads what is there once there is something; none at the end.
    async fn fill(&mut self) -> io::Result<usize> {
        loop {
            let mut ready = self.stream.readable().await?;
            if self.buffer.is_empty() {
                // A large answer took its buffer along; an idle environment shall not hold one.
                self.buffer = BytesMut::new();
            }
            let (filled, room) = (self.buffer.len(), self.buffer.capacity() - self.buffer.len());
            let wanted = room.clamp(READ_BYTES, READ_BYTES_MAX);
            self.buffer.resize(filled + wanted, 0);
            let read = ready.try_io(|stream| stream.get_ref().read(&mut self.buffer[filled..]));
            self.buffer.truncate(filled + *read.as_ref().ok().and_then(|read| read.as_ref().ok()).unwrap_or(&0));
            match read {
                // Less than there was room for says nothing: a read ends where another process wrote, or descriptors were
                // sent along. Only a look that finds nothing says that the reactor's word is to be waited for.
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// None when more bytes are needed; `Some(None)` when a frame was dropped.
    fn parse(&mut self) -> io::Result<Option<Option<Message>>> {
        if let Some((left, size, kind)) = self.skipping {
            let now = left.min(self.buffer.len());
            self.buffer.advance(now);
            if now < left {
                self.skipping = Some((left - now, size, kind));
                return Ok(None);
            }
            self.skipping = None;
            return Ok(Some((kind == RESPONSE).then_some(Message::TooLarge(size))));
        }
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length < HEAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame on the private channel is too short"));
        }
        if self.buffer.len() < 4 + HEAD_BYTES {
            return Ok(None);
        }
        let kind = self.buffer[4];
        let body = length - HEAD_BYTES;
        let too_large = match kind {
            RESPONSE => body > PAYLOAD_BYTES_MAX + RESPONSE_SLACK_BYTES,
            STREAM_BODY if body > PIECE_BYTES_MAX => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece of a streamed response is too large"));
            }
            _ => length > FRAME_BYTES_MAX,
        };
        if too_large {
            self.buffer.advance(4 + HEAD_BYTES);
            self.skipping = Some((body, body as u64, kind));
            return self.parse();
        }
        if self.buffer.len() < 4 + length {
            self.buffer.reserve(4 + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(5);
        let sequence = self.buffer.get_u32_le();
        let body = self.buffer.split_to(body).freeze();
        let current = sequence == self.sequence;
        Ok(Some(match kind {
            READY => Some(Message::Ready),
            RESPONSE if current => Some(Message::Response(body)),
            ERROR if current => Some(typed(body, |error_type, payload| Message::Error { error_type, payload })?),
            INIT_ERROR => Some(typed(body, |error_type, payload| Message::InitError { error_type, payload })?),
            LOG => Some(Message::Log(body)),
            SNAPSHOT => Some(Message::Snapshot(body)),
            STREAM_BEGIN if current => Some(Message::StreamBegin { content_type: content_type(&body) }),
            STREAM_BODY if current => Some(Message::StreamBody(body)),
            STREAM_END if current => Some(Message::StreamEnd(None)),
            STREAM_ERROR if current => {
                Some(typed(body, |error_type, payload| Message::StreamEnd(Some(StreamError { error_type, payload })))?)
            }
            RESPONSE | ERROR | STREAM_BEGIN..=STREAM_ERROR => None,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an unknown kind")),
        }))
    }
}

/// A content type, if it can be the value of a header.
fn content_type(body: &[u8]) -> Option<String> {
    let fits = (1..=CONTENT_TYPE_BYTES_MAX).contains(&body.len()) && body.iter().all(|byte| (32..127).contains(byte));
    fits.then(|| String::from_utf8_lossy(body).into_owned())
}

/// `u32` length and text of the error type, then the document.
fn typed(mut body: Bytes, make: impl FnOnce(String, Bytes) -> Message) -> io::Result<Message> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "an error frame is too short");
    let length = body.try_get_u32_le().map_err(|_| short())? as usize;
    if body.len() < length {
        return Err(short());
    }
    let error_type = String::from_utf8_lossy(&body.split_to(length)).into_owned();
    Ok(make(error_type, body))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn frame(kind: u8, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(u32::try_from(HEAD_BYTES + body.len()).unwrap().to_le_bytes());
        frame.push(kind);
        frame.extend(sequence.to_le_bytes());
        frame.extend(body);
        frame
    }

    async fn messages(bytes: Vec<u8>) -> Vec<io::Result<Option<Message>>> {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        let (_writer, mut reader) = open(ours).unwrap();
        reader.expect(1);
        let sender = std::thread::spawn(move || drop(theirs.write_all(&bytes)));
        let mut seen = Vec::new();
        loop {
            let next = reader.next().await;
            let last = !matches!(next, Ok(Some(_)));
            seen.push(next);
            if last {
                drop(reader);
                sender.join().unwrap();
                return seen;
            }
        }
    }

    #[tokio::test]
    async fn a_frame_behind_one_with_descriptors_is_read_without_another_word() {
        use std::{io::IoSlice, mem::MaybeUninit};

        use rustix::{
            fd::AsFd,
            net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
        };
        let (ours, mut theirs) = StdStream::pair().unwrap();
        let (_writer, mut reader) = open(ours).unwrap();
        reader.expect(1);
        // All of it is there before anybody looks, and a read ends where the descriptors stand.
        theirs.write_all(&frame(READY, 0, b"")).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        let file = theirs.try_clone().unwrap();
        let files = [file.as_fd()];
        assert!(along.push(SendAncillaryMessage::ScmRights(&files)));
        let sent = sendmsg(&theirs, &[IoSlice::new(&frame(RESPONSE, 1, b"first"))], &mut along, SendFlags::empty());
        assert!(sent.is_ok());
        theirs.write_all(&frame(RESPONSE, 1, b"second")).unwrap();
        assert!(matches!(reader.next().await, Ok(Some(Message::Ready))));
        for expected in ["first", "second"] {
            let next = base_env::Env::real().timeout(std::time::Duration::from_secs(5), reader.next()).await;
            assert!(matches!(next, Ok(Ok(Some(Message::Response(body)))) if body == expected), "{expected}");
        }
    }

    #[tokio::test]
    async fn answers_of_another_event_are_dropped() {
        let bytes = [frame(READY, 0, b""), frame(RESPONSE, 9, b"old"), frame(RESPONSE, 1, b"new")].concat();
        let seen = messages(bytes).await;
        assert!(matches!(&seen[0], Ok(Some(Message::Ready))));
        assert!(matches!(&seen[1], Ok(Some(Message::Response(body))) if &body[..] == b"new"));
        assert!(matches!(&seen[2], Ok(None)));
    }

    #[tokio::test]
    async fn a_response_beyond_the_limit_is_counted_and_not_kept() {
        let large = vec![b' '; PAYLOAD_BYTES_MAX + RESPONSE_SLACK_BYTES + 1];
        let seen = messages([frame(RESPONSE, 1, &large), frame(LOG, 1, b"x")].concat()).await;
        assert!(matches!(&seen[0], Ok(Some(Message::TooLarge(size))) if *size == large.len() as u64));
        assert!(matches!(&seen[1], Ok(Some(Message::Log(_)))));
    }

    #[tokio::test]
    async fn a_streamed_response_comes_in_pieces_and_only_of_the_present_event() {
        let bytes = [
            frame(STREAM_BODY, 9, b"old"),
            frame(STREAM_BEGIN, 1, b"text/plain"),
            frame(STREAM_BODY, 1, b"new"),
            frame(STREAM_ERROR, 1, b"\x01\0\0\0Edocument"),
            frame(STREAM_BEGIN, 1, b"a\r\nb: c"),
        ];
        let seen = messages(bytes.concat()).await;
        let kind = |index: usize| match &seen[index] {
            Ok(Some(Message::StreamBegin { content_type })) => content_type.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((kind(0).as_deref(), kind(3)), (Some("text/plain"), None));
        assert!(matches!(&seen[1], Ok(Some(Message::StreamBody(body))) if &body[..] == b"new"));
        assert!(matches!(&seen[2], Ok(Some(Message::StreamEnd(Some(error)))) if error.error_type == "E"));
    }

    #[tokio::test]
    async fn what_is_no_frame_ends_the_channel() {
        let mut large = frame(STREAM_BODY, 1, &vec![0; PIECE_BYTES_MAX + 1]);
        large.truncate(20);
        for bytes in [large, vec![1, 0, 0, 0, 3, 0, 0, 0, 0], frame(99, 1, b""), frame(ERROR, 1, &[9, 0, 0, 0, b'x'])] {
            assert!(messages(bytes).await[0].is_err());
        }
    }
}
