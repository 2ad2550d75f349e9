//! Requests' bodies: read whole, within a limit in bytes.

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;

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
