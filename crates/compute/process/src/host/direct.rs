//! The two requests that a runtime makes with every invocation (`next`, and `response` with a length), read and answered by
//! hand: what an HTTP library does for every request it knows is a good part of what a warm invocation costs.
//!
//! Guarantees: only the plainest form is read here. Whatever else stands at the beginning of a connection's bytes (another
//! method or path, chunks, an expectation, an upgrade, a folded or odd header, a long head, an answer out of turn) is left
//! to the library, with the connection and from its first byte on; so what is hostile meets one parser. An idle connection
//! holds no buffer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use base_env::Env;
use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::{
    exchange::{Event, Exchange, Message},
    stream::RESPONSE_BYTES_MAX,
};

const NEXT: &[u8] = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n";
const ANSWER: &[u8] = b"POST /2018-06-01/runtime/invocation/";
const ANSWER_END: &[u8] = b"/response HTTP/1.1";
/// A longer head is the library's affair.
const HEAD_BYTES_MAX: usize = 4096;
const READ_BYTES: usize = 4096;
/// What may come of a next request before this one is answered.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// A payload that is not longer is written with its head.
const TOGETHER_BYTES_MAX: usize = 16 * 1024;
/// The longest number of bytes that is read, in digits.
const DIGITS_MAX: usize = 9;

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\nDate: ";
const ACCEPTED_BODY: &[u8] = b"\r\n\r\n{\"status\":\"OK\"}";
/// AWS's words for a request that broke off.
const TRUNCATED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 88\r\nConnection: close\r\n\r\n\
    {\"errorMessage\":\"HTTP request detected as truncated\",\"errorType\":\"TruncatedHTTPRequest\"}";

/// What stands at the beginning of a connection's bytes.
#[derive(Debug, PartialEq, Eq)]
enum Glimpse<'a> {
    /// Perhaps a plain request: more bytes are needed to tell.
    Partial,
    /// A plain request, and the bytes of its head.
    Plain(Asks<'a>, usize),
    /// Not for us.
    Other,
}

#[derive(Debug, PartialEq, Eq)]
enum Asks<'a> {
    Next,
    Response { id: &'a str, length: usize },
}

/// Serves a connection as long as its requests are plain. Answers the connection with what was read of the first one that
/// is not; none when it has ended.
pub(super) async fn serve(mut stream: TcpStream, exchange: &Exchange, env: &Env) -> Option<(TcpStream, Bytes)> {
    let mut buffer = BytesMut::new();
    let mut date = Date::default();
    loop {
        match glimpse(&buffer) {
            Glimpse::Partial => {
                if read(&mut stream, &mut buffer, READ_BYTES).await.ok()? == 0 {
                    return None;
                }
            }
            Glimpse::Other => return Some((stream, buffer.freeze())),
            Glimpse::Plain(Asks::Next, head) => {
                buffer.advance(head);
                let Some(event) = next(&mut stream, &mut buffer, exchange).await? else {
                    // Out of turn: the library says so.
                    let again = [NEXT, b"\r\n", &buffer].concat();
                    return Some((stream, again.into()));
                };
                hand_over(&mut stream, &event, date.now(env)).await.ok()?;
            }
            Glimpse::Plain(Asks::Response { id, length }, head) => {
                if exchange.begin_answer(id, "InvocationResponse").is_err() {
                    return Some((stream, buffer.freeze()));
                }
                buffer.advance(head);
                while buffer.len() < length {
                    let missing = length - buffer.len();
                    if !matches!(read(&mut stream, &mut buffer, missing.max(READ_BYTES)).await, Ok(1..)) {
                        exchange.abandon_answer();
                        // Who has only closed his half still reads.
                        drop(stream.write_all(TRUNCATED).await);
                        return None;
                    }
                }
                let body = buffer.split_to(length).freeze();
                exchange.finish_answer(Message::Response(body)).await;
                let date = date.now(env);
                let mut answer = Vec::with_capacity(ACCEPTED.len() + date.len() + ACCEPTED_BODY.len());
                for part in [ACCEPTED, date.as_bytes(), ACCEPTED_BODY] {
                    answer.extend_from_slice(part);
                }
                stream.write_all(&answer).await.ok()?;
            }
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut BytesMut, room: usize) -> io::Result<usize> {
    if buffer.is_empty() {
        stream.readable().await?;
        // Nothing is held while nothing comes.
        *buffer = BytesMut::with_capacity(room);
    }
    buffer.reserve(room);
    stream.read_buf(buffer).await
}

/// Waits for the event of this connection's question; `Some(None)` when the question was out of turn, none when the other
/// side has gone away, so that nobody is handed an event who does not wait for it any more.
async fn next(stream: &mut TcpStream, buffer: &mut BytesMut, exchange: &Exchange) -> Option<Option<Event>> {
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
    let event = exchange.next();
    tokio::pin!(event);
    loop {
        let full = buffer.len() > AHEAD_BYTES_MAX;
        tokio::select! {
            biased;
            event = &mut event => return Some(event.ok()),
            readable = stream.readable(), if !full => {
                readable.ok()?;
                let mut bytes = [0; READ_BYTES];
                match stream.try_read(&mut bytes) {
                    Ok(0) => return None,
                    Ok(read) => buffer.extend_from_slice(bytes.get(..read)?),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return None,
                }
            }
        }
    }
}

async fn hand_over(stream: &mut TcpStream, event: &Event, date: &str) -> io::Result<()> {
    let together = event.payload.len() <= TOGETHER_BYTES_MAX;
    let mut head = Vec::with_capacity(512 + if together { event.payload.len() } else { 0 });
    // The official Python client takes its decoder from this header.
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
    let mut set = |name: &str, value: &str| {
        // What cannot be a header's value (a line feed in a client context) is left out rather than the event.
        if value.bytes().all(|byte| (byte >= b' ' && byte != 127) || byte == b'\t') {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    };
    set("Lambda-Runtime-Aws-Request-Id", &event.request_id);
    set("Lambda-Runtime-Deadline-Ms", &event.deadline.as_millis().to_string());
    set("Lambda-Runtime-Invoked-Function-Arn", &event.invoked_function_arn);
    for (name, value) in [
        ("Lambda-Runtime-Trace-Id", &event.trace_id),
        ("Lambda-Runtime-Client-Context", &event.client_context),
        ("Lambda-Runtime-Cognito-Identity", &event.cognito_identity),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    set("Content-Length", &event.payload.len().to_string());
    set("Date", date);
    head.extend_from_slice(b"\r\n");
    if together {
        head.extend_from_slice(&event.payload);
        return stream.write_all(&head).await;
    }
    stream.write_all(&head).await?;
    stream.write_all(&event.payload).await
}

/// The date of answers, written once a second.
#[derive(Default)]
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn now(&mut self, env: &Env) -> &str {
        let now = env.now();
        let second = now.as_millis() / 1000;
        if self.text.is_empty() || second != self.second {
            *self = Self { second, text: now.to_http_date() };
        }
        &self.text
    }
}

/// Looks at the beginning of a connection's bytes.
fn glimpse(bytes: &[u8]) -> Glimpse<'_> {
    let common = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    let is_next = common(NEXT);
    if !is_next && !common(ANSWER) {
        return Glimpse::Other;
    }
    let Some(head) = bytes.windows(4).take(HEAD_BYTES_MAX).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX { Glimpse::Other } else { Glimpse::Partial };
    };
    let plain = plain(bytes.get(..head).unwrap_or_default(), is_next);
    plain.map_or(Glimpse::Other, |asks| Glimpse::Plain(asks, head + 4))
}

/// What a whole head asks, if it is plain; without the empty line at its end.
fn plain(head: &[u8], is_next: bool) -> Option<Asks<'_>> {
    let text = std::str::from_utf8(head).ok()?;
    // Nothing but visible characters, blanks and whole line ends.
    let mut lines = text.split("\r\n");
    let first = lines.next()?;
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return None;
        }
        if !value.bytes().all(|byte| (b' '..127).contains(&byte) || byte == b'\t') {
            return None;
        }
        let value = value.trim_matches([' ', '\t']);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-length") {
            let digits = (1..=DIGITS_MAX).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || length.is_some() {
                return None;
            }
            length = Some(value.parse().ok()?);
        } else if (is("connection") && !value.eq_ignore_ascii_case("keep-alive"))
            || ["expect", "lambda-runtime-function-response-mode", "te", "trailer", "transfer-encoding", "upgrade"]
                .iter()
                .any(|known| is(known))
        {
            return None;
        }
    }
    if is_next {
        return (length.unwrap_or(0) == 0).then_some(Asks::Next);
    }
    let rest = first.as_bytes().strip_prefix(ANSWER)?;
    let id = std::str::from_utf8(rest.strip_suffix(ANSWER_END)?).ok()?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let length = length.filter(|length| *length <= RESPONSE_BYTES_MAX)?;
    is_id.then_some(Asks::Response { id, length })
}

/// A connection of which something was read already.
pub(super) struct Begun {
    before: Bytes,
    stream: TcpStream,
}

impl Begun {
    pub(super) fn new(stream: TcpStream, before: Bytes) -> Self {
        Self { before, stream }
    }
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let now = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before.split_to(now));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "Host: 127.0.0.1:9001\r\n";

    fn next_with(headers: &str) -> String {
        format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n{HOST}{headers}\r\n")
    }

    fn answer_with(headers: &str) -> String {
        format!("POST /2018-06-01/runtime/invocation/a-1/response HTTP/1.1\r\n{HOST}{headers}\r\n")
    }

    #[test]
    fn plain_requests_are_read_and_nothing_else() {
        let next = next_with("");
        assert_eq!(glimpse(next.as_bytes()), Glimpse::Plain(Asks::Next, next.len()));
        for headers in ["Connection: keep-alive\r\n", "content-length: 0\r\n", "User-Agent: a b\tc\r\n", "X_y:\r\n"] {
            assert!(matches!(glimpse(next_with(headers).as_bytes()), Glimpse::Plain(Asks::Next, _)), "{headers}");
        }
        let answer = answer_with("CONTENT-LENGTH:  12 \r\n");
        let asks = Asks::Response { id: "a-1", length: 12 };
        assert_eq!(glimpse(format!("{answer}more").as_bytes()), Glimpse::Plain(asks, answer.len()));
        for other in [
            next_with("Connection: close\r\n"),
            next_with("Upgrade: h2c\r\n"),
            next_with("Content-Length: 1\r\n"),
            next_with(" folded: x\r\n"),
            next_with("nothing\r\n"),
            next_with("a: \u{1}\r\n"),
            next_with("a: \n\r\n"),
            next_with("a : b\r\n"),
            next_with("é: b\r\n"),
            answer_with(""),
            answer_with("Transfer-Encoding: chunked\r\n"),
            answer_with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
            answer_with("Content-Length: 3\r\nContent-Length: 3\r\n"),
            answer_with("Content-Length: +3\r\n"),
            answer_with("Content-Length: 3, 3\r\n"),
            answer_with("Content-Length: 9999999999\r\n"),
            answer_with("Content-Length: 7000000\r\n"),
            answer_with("Content-Length: 3\r\nExpect: 100-continue\r\n"),
            answer_with("Content-Length: 3\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"),
            answer_with("Content-Length: 3\r\n").replace("a-1", "a%2D1"),
            answer_with("Content-Length: 3\r\n").replace("a-1", ""),
            answer_with("Content-Length: 3\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            answer_with("Content-Length: 3\r\n").replace("/response", "/response?x"),
            next_with(&format!("a: {}\r\n", "x".repeat(HEAD_BYTES_MAX))),
            "GET / HTTP/1.1\r\n".to_owned(),
            "PO\0".to_owned(),
        ] {
            assert_eq!(glimpse(other.as_bytes()), Glimpse::Other, "{other}");
        }
    }

    #[test]
    fn a_request_that_comes_in_pieces_is_waited_for() {
        for whole in [next_with("A: b\r\n"), answer_with("Content-Length: 3\r\n")] {
            for end in 0..whole.len() {
                assert_eq!(glimpse(&whole.as_bytes()[..end]), Glimpse::Partial, "{end}");
            }
            assert!(matches!(glimpse(whole.as_bytes()), Glimpse::Plain(_, head) if head == whole.len()));
        }
    }

    /// Requests with bytes changed, taken out, doubled and put in: whatever is read here, the library's own parser reads as
    /// the same request.
    #[test]
    fn what_is_read_by_hand_is_what_the_library_would_have_read() {
        let seeds = [
            next_with("A: b\r\nContent-Length: 0\r\n"),
            answer_with("Content-Length: 30\r\nConnection: keep-alive\r\n"),
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap_or_default()
        };
        let interesting = b"\r\n\t :,/0%x\0\x7f\xff-A?HGP1";
        let mut read = 0;
        for round in 0..200_000 {
            let mut bytes = seeds[round % 2].clone().into_bytes();
            for _ in 0..draw(3) {
                let at = draw(bytes.len());
                match draw(4) {
                    0 => bytes[at] = interesting[draw(interesting.len())],
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, interesting[draw(interesting.len())]),
                    _ => bytes.insert(at, bytes[at]),
                }
            }
            let Glimpse::Plain(asks, head) = glimpse(&bytes) else { continue };
            read += 1;
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            let parsed = request.parse(&bytes);
            assert_eq!(parsed, Ok(httparse::Status::Complete(head)), "{}", bytes.escape_ascii());
            let of =
                |name: &str| request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name)).collect::<Vec<_>>();
            assert!(of("transfer-encoding").is_empty() && request.version == Some(1));
            let length = of("content-length").first().map(|header| std::str::from_utf8(header.value).unwrap().trim());
            match asks {
                Asks::Next => {
                    assert_eq!(
                        (request.method, request.path),
                        (Some("GET"), Some("/2018-06-01/runtime/invocation/next"))
                    );
                    assert!(length.is_none_or(|length| length.parse::<u64>() == Ok(0)));
                }
                Asks::Response { id, length: read } => {
                    let path = format!("/2018-06-01/runtime/invocation/{id}/response");
                    assert_eq!((request.method, request.path), (Some("POST"), Some(path.as_str())));
                    assert_eq!(length.unwrap().parse(), Ok(read));
                }
            }
        }
        assert!(read > 40_000, "{read}");
    }

    #[test]
    fn a_truncated_answer_says_its_length() {
        let text = std::str::from_utf8(TRUNCATED).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(text.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
