//! Bodies of answers. Guarantee: a body whose making failed never looks complete to who reads it.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{Receiver, Sender, channel};

/// An answer's body.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece, as it is made.
    Stream(ByteStream),
}

impl Body {
    /// The bytes of a body that is whole.
    #[must_use]
    pub fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Stream(_) => None,
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl From<ByteStream> for Body {
    fn from(stream: ByteStream) -> Self {
        Self::Stream(stream)
    }
}

/// Something that has bytes to give, one piece after the other. It is asked by who reads, in that one's own task.
pub trait Pieces: Send {
    /// The next piece; `None` at the end; a fault when there will be no end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>>;

    /// What followed the last piece: names in lower case, with their values. Known once the end was read.
    fn trailers(&mut self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Why a body that a client sends has no end: the client's fault, so that a service can say which. The cause of the fault
/// that ends the stream (see [`Spoilt::of`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spoilt {
    /// The connection ended, or fewer or more bytes came than were promised.
    #[error("{got} bytes came where {promised:?} were promised")]
    Incomplete {
        /// How many were promised, if any were.
        promised: Option<u64>,
        /// How many came.
        got: u64,
    },
    /// Nothing came for too long.
    #[error("nothing came within the time limit")]
    Late,
    /// It is not what its digest says.
    #[error("its SHA-256 is `{computed}`, not `{claimed}`")]
    Digest {
        /// What the request said, in hexadecimal.
        claimed: String,
        /// What came.
        computed: String,
    },
    /// The signature of a piece is wrong.
    #[error("the signature of a chunk is wrong")]
    Signature,
    /// Its framing is wrong; a fragment that says where.
    #[error("its framing is wrong: {0}")]
    Malformed(&'static str),
}

impl Spoilt {
    /// The client's fault behind `fault`, if it is one.
    #[must_use]
    pub fn of(fault: &Fault) -> Option<&Self> {
        std::error::Error::source(fault).and_then(|cause| cause.downcast_ref())
    }
}

impl From<Spoilt> for Fault {
    fn from(spoilt: Spoilt) -> Self {
        Self::new(FaultKind::Internal, "read a request's body").caused_by(spoilt)
    }
}

impl Pieces for Receiver<Bytes> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        self.poll_next(cx)
    }
}

/// Pieces of a body that somebody makes while the client reads. A fault breaks the connection, so that the client sees
/// that the body is not complete. When the client goes away the stream is dropped, which its maker learns.
pub struct ByteStream(Box<dyn Pieces>);

impl ByteStream {
    /// A stream and its other end; at most `pieces` wait.
    #[must_use]
    pub fn channel(pieces: usize) -> (Sender<Bytes>, Self) {
        let (sender, receiver) = channel(pieces);
        (sender, Self::new(receiver))
    }

    /// What `pieces` gives.
    #[must_use]
    pub fn new(pieces: impl Pieces + 'static) -> Self {
        Self(Box::new(pieces))
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        poll_fn(|cx| self.0.poll_piece(cx)).await
    }

    /// See [`Pieces::trailers`].
    #[must_use]
    pub fn trailers(&mut self) -> Vec<(String, String)> {
        self.0.trailers()
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByteStream")
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => stream.0.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_gives_what_was_sent_and_says_how_much_it_knows() {
        let whole = Body::from(Bytes::from_static(b"all"));
        assert_eq!((whole.size_hint().exact(), whole.whole().map(Bytes::len)), (Some(3), Some(3)));
        assert!(Body::default().is_end_stream());
        let (sender, mut stream) = ByteStream::channel(1);
        let making = tokio::spawn(async move { sender.send(Bytes::from_static(b"a")).await });
        assert_eq!(stream.next().await.and_then(Result::ok), Some(Bytes::from_static(b"a")));
        assert!(making.await.unwrap() && stream.next().await.is_none());
        assert_eq!(Body::from(stream).size_hint().exact(), None);
    }
}
