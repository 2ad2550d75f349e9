//! A response that a function streams: pieces on a bounded channel, from the host to whoever called.
//!
//! Guarantees: at most [`PIECES_MAX`] pieces wait, so a slow reader slows the function; a sink whose reader is gone
//! discards, so the function still runs to its end. The channel tells no errors: how the invocation ended is in its
//! completion, which comes after the last piece.

use bytes::Bytes;
use tokio::sync::mpsc;

/// The greatest streamed response, in bytes (AWS Lambda quotas, "Invocation payload": 200 MB streamed).
pub const STREAMED_BYTES_MAX: u64 = 200 * 1024 * 1024;
/// Pieces that may wait for their reader.
pub const PIECES_MAX: usize = 16;

/// What a streamed response consists of, in this order: one [`StreamPiece::Begin`], then bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamPiece {
    /// The response begins.
    Begin {
        /// The `Content-Type` that the runtime declared. With
        /// `application/vnd.awslambda.http-integration-response` the body begins with a JSON prelude (status, headers,
        /// cookies) and eight zero bytes; a function URL takes it off, `InvokeWithResponseStream` hands it on.
        content_type: Option<String>,
    },
    /// Bytes, as they came.
    Body(Bytes),
}

/// The host's end.
#[derive(Clone, Debug)]
pub struct ResponseSink(mpsc::Sender<StreamPiece>);

/// The caller's end.
#[derive(Debug)]
pub struct ResponseStream(mpsc::Receiver<StreamPiece>);

/// Makes a channel for one response.
#[must_use]
pub fn response() -> (ResponseSink, ResponseStream) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    (ResponseSink(sender), ResponseStream(receiver))
}

impl ResponseSink {
    /// Hands a piece over, waiting while too many are under way. False when nobody reads any more.
    pub async fn send(&self, piece: StreamPiece) -> bool {
        self.0.send(piece).await.is_ok()
    }
}

impl ResponseStream {
    /// The next piece; none when the host is done with the sink.
    pub async fn next(&mut self) -> Option<StreamPiece> {
        self.0.recv().await
    }

    /// A piece that is already waiting.
    pub fn try_next(&mut self) -> Option<StreamPiece> {
        self.0.try_recv().ok()
    }
}
