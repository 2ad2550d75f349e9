//! A body that is handed on before it was read: taken out of its chunks, held against what the request said of it.
//!
//! Guarantees: who reads to the end has read what was signed (its digest, or the chain of its chunks) and as much as was
//! promised; anything else ends the stream with a fault that has a [`Spoilt`] behind it. Nothing but the piece at hand is
//! held; a client that falls silent is given up.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use base_env::Alarm;
use base_stream::{Pieces, Spoilt};
use base_types::Fault;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as HttpBody;
use sha2::{Digest as _, Sha256};
use wire_sigv4::{Chain, ChunkError, Chunked, Content};

/// The header that says how long a body in chunks is without them.
pub(crate) const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

/// The header in which clients name the algorithm of a sum that they send later.
const SUM_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";

/// What the request says of its body.
pub(crate) struct Manner {
    pub(crate) content: Content,
    /// Of signed chunks whose signature can be judged.
    pub(crate) chain: Option<Chain>,
}

impl Manner {
    /// What the headers alone say, of a request whose signature nobody judges.
    pub(crate) fn unproven(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let claimed = text("x-amz-content-sha256");
        let chunked = claimed.starts_with("STREAMING-") || codings(text("content-encoding")).any(is_chunked);
        let content = match unhex(claimed) {
            Some(digest) => Content::Sha256(digest),
            None if chunked => Content::Chunked { signed: false, trailers: true },
            None => Content::Unsigned,
        };
        Self { content, chain: None }
    }

    /// Headers as the operation shall see them: of the payload, not of its chunks.
    pub(crate) fn unwrap_headers(&self, headers: &mut HeaderMap) {
        if !matches!(self.content, Content::Chunked { .. }) {
            return;
        }
        match headers.get(DECODED_LENGTH).cloned() {
            Some(length) => drop(headers.insert(header::CONTENT_LENGTH, length)),
            None => drop(headers.remove(header::CONTENT_LENGTH)),
        }
        // Which sum follows the last chunk has to be known before the first.
        if let Some(algorithm) = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok())
            && let Some(name) = algorithm.trim().to_ascii_lowercase().strip_prefix("x-amz-checksum-")
            && !headers.contains_key(SUM_ALGORITHM)
            && let Ok(name) = name.to_ascii_uppercase().parse()
        {
            headers.insert(SUM_ALGORITHM, name);
        }
        let said = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let rest: Vec<&str> = codings(said).filter(|coding| !is_chunked(coding)).collect();
        match rest.join(",").parse() {
            Ok(rest_value) if !rest.is_empty() => drop(headers.insert(header::CONTENT_ENCODING, rest_value)),
            _ => drop(headers.remove(header::CONTENT_ENCODING)),
        }
    }
}

fn codings(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|coding| !coding.is_empty())
}

fn is_chunked(coding: &str) -> bool {
    coding.eq_ignore_ascii_case("aws-chunked")
}

/// The stream.
pub(crate) struct Incoming<B> {
    body: B,
    chunked: Option<Chunked>,
    digest: Option<(Sha256, [u8; 32])>,
    promised: Option<u64>,
    got: u64,
    pending: Bytes,
    state: State,
    trailers: Vec<(String, String)>,
    alarm: Alarm,
    quiet: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// Everything came from the wire.
    Drained,
    Over,
}

impl<B> Incoming<B> {
    /// `promised` is the payload's length as the head says it. `quiet` is how long nothing may come.
    pub(crate) fn new(body: B, manner: Manner, promised: Option<u64>, mut alarm: Alarm, quiet: Duration) -> Self {
        let (mut chunked, mut digest) = (None, None);
        match manner.content {
            Content::Sha256(claimed) => digest = Some((Sha256::new(), claimed)),
            Content::Unsigned => {}
            Content::Chunked { signed, trailers } => {
                // Where nobody can judge the chain, the chunks are only taken apart.
                let chain = manner.chain.filter(|_| signed);
                chunked = Some(Chunked::new(chain, trailers));
            }
        }
        alarm.set(quiet);
        let (pending, trailers) = (Bytes::new(), Vec::new());
        Self { body, chunked, digest, promised, got: 0, pending, state: State::Reading, trailers, alarm, quiet }
    }

    /// The next piece of payload in what came.
    fn take(&mut self) -> Result<Option<Bytes>, Spoilt> {
        let piece = match &mut self.chunked {
            None => Some(std::mem::take(&mut self.pending)),
            Some(chunked) => {
                chunked.next(&mut self.pending).map_err(|error| spoilt(&error, self.promised, self.got))?
            }
        };
        let Some(piece) = piece.filter(|piece| !piece.is_empty()) else { return Ok(None) };
        self.got += piece.len() as u64;
        if self.promised.is_some_and(|promised| self.got > promised) {
            return Err(self.incomplete());
        }
        if let Some((digest, _)) = &mut self.digest {
            digest.update(&piece);
        }
        Ok(Some(piece))
    }

    fn end(&mut self) -> Result<(), Spoilt> {
        if let Some(chunked) = self.chunked.take() {
            self.trailers = chunked.finish().map_err(|error| spoilt(&error, self.promised, self.got))?;
        }
        if self.promised.is_some_and(|promised| self.got != promised) {
            return Err(self.incomplete());
        }
        if let Some((digest, claimed)) = self.digest.take() {
            let computed: [u8; 32] = digest.finalize().into();
            if computed != claimed {
                return Err(Spoilt::Digest { claimed: hex(&claimed), computed: hex(&computed) });
            }
        }
        Ok(())
    }

    fn incomplete(&self) -> Spoilt {
        Spoilt::Incomplete { promised: self.promised, got: self.got }
    }
}

impl<B> Pieces for Incoming<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send,
{
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            if self.state == State::Over {
                return Poll::Ready(None);
            }
            if !self.pending.is_empty() {
                match self.take() {
                    Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                    Ok(None) => continue,
                    Err(error) => return self.fail(error),
                }
            }
            if self.state == State::Drained {
                self.state = State::Over;
                return match self.end() {
                    Ok(()) => Poll::Ready(None),
                    Err(error) => Poll::Ready(Some(Err(error.into()))),
                };
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.alarm.set(self.quiet);
                    if let Ok(data) = frame.into_data() {
                        self.pending = data;
                    }
                }
                Poll::Ready(None) => self.state = State::Drained,
                Poll::Ready(Some(Err(_))) => {
                    let error = self.incomplete();
                    return self.fail(error);
                }
                Poll::Pending => {
                    if self.alarm.poll_reached(cx).is_ready() {
                        return self.fail(Spoilt::Late);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn trailers(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.trailers)
    }
}

impl<B> Incoming<B> {
    fn fail(&mut self, error: Spoilt) -> Poll<Option<Result<Bytes, Fault>>> {
        self.state = State::Over;
        Poll::Ready(Some(Err(error.into())))
    }
}

fn spoilt(error: &ChunkError, promised: Option<u64>, got: u64) -> Spoilt {
    match error {
        ChunkError::Malformed(place) => Spoilt::Malformed(place),
        ChunkError::Mismatch => Spoilt::Signature,
        ChunkError::Incomplete => Spoilt::Incomplete { promised, got },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use base_env::Env;
    use base_stream::ByteStream;
    use http_body::Frame;

    use super::*;

    /// A body of given pieces; `None` breaks.
    struct Given(VecDeque<Option<&'static str>>);

    impl HttpBody for Given {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            Poll::Ready(self.0.pop_front().map(|piece| piece.map(|text| Frame::data(Bytes::from(text))).ok_or(())))
        }
    }

    async fn read(
        pieces: &[Option<&'static str>],
        content: Content,
        promised: Option<u64>,
    ) -> Result<(String, Vec<(String, String)>), Spoilt> {
        let body = Given(pieces.iter().copied().collect());
        let manner = Manner { content, chain: None };
        let incoming = Incoming::new(body, manner, promised, Env::real().alarm(), Duration::from_secs(5));
        let (mut stream, mut text) = (ByteStream::new(incoming), String::new());
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|fault| Spoilt::of(&fault).cloned().unwrap())?;
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        Ok((text, stream.trailers()))
    }

    #[tokio::test]
    async fn what_comes_is_what_was_said_or_an_error() {
        let chunked = Content::Chunked { signed: false, trailers: true };
        let digest = Content::Sha256(Sha256::digest("abc").into());
        let done = |text: &str| Ok((text.to_owned(), Vec::new()));
        assert_eq!(read(&[Some("ab"), Some("c")], Content::Unsigned, Some(3)).await, done("abc"));
        assert_eq!(read(&[Some("ab"), Some("c")], digest, Some(3)).await, done("abc"));
        assert!(matches!(read(&[Some("abd")], digest, Some(3)).await, Err(Spoilt::Digest { .. })));
        for (pieces, got) in [(&[Some("ab")][..], 2), (&[Some("abcd")], 4), (&[Some("ab"), None], 2)] {
            let outcome = read(pieces, Content::Unsigned, Some(3)).await;
            assert_eq!(outcome, Err(Spoilt::Incomplete { promised: Some(3), got }), "{pieces:?}");
        }
        let pieces = [Some("2\r\nab\r\n1"), Some("\r\nc\r\n0\r\nx-amz-checksum-crc32:AAAA"), Some("\r\n\r\n")];
        let (text, trailers) = read(&pieces, chunked, Some(3)).await.unwrap();
        assert_eq!((&*text, &*trailers), ("abc", &[("x-amz-checksum-crc32".to_owned(), "AAAA".to_owned())][..]));
        assert!(matches!(read(&pieces[..1], chunked, Some(3)).await, Err(Spoilt::Incomplete { .. })));
        assert!(matches!(read(&[Some("zz\r\n")], chunked, None).await, Err(Spoilt::Malformed(_))));
    }

    #[test]
    fn the_coding_of_chunks_is_not_the_objects() {
        for (said, left) in
            [("aws-chunked", None), ("aws-chunked,gzip", Some("gzip")), ("gzip, AWS-Chunked", Some("gzip"))]
        {
            let mut headers = HeaderMap::new();
            headers.insert("content-encoding", said.parse().unwrap());
            headers.insert("content-length", "99".parse().unwrap());
            headers.insert(DECODED_LENGTH, "7".parse().unwrap());
            let manner = Manner::unproven(&headers);
            assert_eq!(manner.content, Content::Chunked { signed: false, trailers: true });
            manner.unwrap_headers(&mut headers);
            assert_eq!(headers.get("content-encoding").map(|value| value.to_str().unwrap()), left);
            assert_eq!(headers["content-length"], "7");
        }
    }
}
