//! Bodies. A request's body is read whole, within its limit in bytes and time; an answer is whole or a [`ByteStream`].

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use base_types::Fault;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

/// An answer's body.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece, as it is made.
    Stream(ByteStream),
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

/// Pieces of a body that somebody makes while the client reads. Bounded: who makes them waits for who reads them. A
/// fault breaks the connection, so that the client sees that the body is not complete.
#[derive(Debug)]
pub struct ByteStream(mpsc::Receiver<Result<Bytes, Fault>>);

impl ByteStream {
    /// A stream and its other end; at most `pieces` wait.
    #[must_use]
    pub fn channel(pieces: usize) -> (mpsc::Sender<Result<Bytes, Fault>>, Self) {
        let (sender, receiver) = mpsc::channel(pieces.max(1));
        (sender, Self(receiver))
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        self.0.recv().await
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => stream.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
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

/// Why a request's body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyProblem {
    /// More bytes than allowed.
    TooLarge,
    /// The connection broke, or the framing is wrong.
    Broken,
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_whole<B>(mut body: B, limit: usize) -> Result<Bytes, BodyProblem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyProblem::TooLarge);
    }
    // The common body is one piece, which is handed on as it is.
    let Some(first) = next_piece(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit {
        return Err(BodyProblem::TooLarge);
    }
    let Some(second) = next_piece(&mut body).await? else {
        return Ok(first);
    };
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit);
    let mut whole = BytesMut::with_capacity((first.len() + second.len() + expected).min(limit));
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > limit {
            return Err(BodyProblem::TooLarge);
        }
        whole.extend_from_slice(&bytes);
        piece = next_piece(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// Throws away at most `limit` bytes, so that a client that is still sending sees the answer and not a broken connection.
pub(crate) async fn discard<B>(mut body: B, limit: usize)
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut taken = 0;
    while taken < limit {
        match next_piece(&mut body).await {
            Ok(Some(piece)) => taken += piece.len(),
            Ok(None) | Err(_) => return,
        }
    }
}

async fn next_piece<B>(body: &mut B) -> Result<Option<Bytes>, BodyProblem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        match frame {
            // Trailers say nothing that anybody here asks for.
            Ok(frame) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_) => {}
            },
            Err(_) => return Err(BodyProblem::Broken),
        }
    }
    Ok(None)
}
