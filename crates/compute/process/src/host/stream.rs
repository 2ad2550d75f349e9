//! Where a streamed response goes: piece by piece to the caller's sink, or, when the caller wants the response as a whole,
//! gathered up to the limit of a whole response. Guarantees: a slow reader holds the function back; a reader that goes away
//! does not end the function, which runs to its end unheard; nothing beyond the limits is kept or passed on.

use bytes::{Bytes, BytesMut};
use compute_api::{
    Outcome, PAYLOAD_BYTES_MAX, RESPONSE_SLACK_BYTES, ResponseSink, StreamError, StreamPiece,
    stream::STREAMED_BYTES_MAX,
};

use super::exchange::Message;

/// The greatest response as a whole.
pub(crate) const RESPONSE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + RESPONSE_SLACK_BYTES;

/// The way of one response.
pub(crate) struct Delivery {
    /// Whether the caller asked for a stream; the sink below goes when its reader does.
    streams: bool,
    sink: Option<ResponseSink>,
    begun: bool,
    gathered: BytesMut,
    bytes: u64,
}

impl Delivery {
    /// To this sink, or gathered when there is none.
    pub(crate) fn new(sink: Option<ResponseSink>) -> Self {
        Self { streams: sink.is_some(), sink, begun: false, gathered: BytesMut::new(), bytes: 0 }
    }

    /// Whether a part of a response came already: what fails from then on breaks the stream off.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// How many bytes came.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the beginning, a piece or the end, waiting for the reader; answers the end of the stream where there is one.
    pub(crate) async fn take(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::StreamBegin { content_type } => {
                self.begin(content_type).await;
                None
            }
            Message::StreamEnd(None) => {
                // Even an empty response has a beginning.
                self.begin(None).await;
                Some(Message::StreamEnd(None))
            }
            Message::StreamBody(bytes) => {
                self.begin(None).await;
                self.bytes += bytes.len() as u64;
                if self.streams {
                    if self.bytes > STREAMED_BYTES_MAX {
                        return Some(Message::StreamEnd(Some(too_large())));
                    }
                    self.pass(StreamPiece::Body(bytes)).await;
                } else if self.bytes <= RESPONSE_BYTES_MAX as u64 {
                    self.gathered.extend_from_slice(&bytes);
                } else {
                    self.gathered = BytesMut::new();
                }
                None
            }
            other => Some(other),
        }
    }

    /// The first beginning counts, whatever the function says afterwards.
    async fn begin(&mut self, content_type: Option<String>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.pass(StreamPiece::Begin { content_type }).await;
        }
    }

    async fn pass(&mut self, piece: StreamPiece) {
        if let Some(sink) = &self.sink
            && !sink.send(piece).await
        {
            self.sink = None;
        }
    }

    /// The stream is at its end.
    pub(crate) fn finish(self, error: Option<StreamError>) -> Outcome {
        if self.streams {
            return Outcome::Streamed { bytes: self.bytes, error };
        }
        if self.bytes > RESPONSE_BYTES_MAX as u64 {
            return Outcome::ResponseTooLarge { size: self.bytes, limit: RESPONSE_BYTES_MAX as u64 };
        }
        if let Some(StreamError { error_type, payload }) = error {
            return Outcome::FunctionError { error_type, payload };
        }
        Outcome::Success { payload: self.gathered.freeze() }
    }
}

/// The end of a stream at its limit.
pub(crate) fn too_large() -> StreamError {
    broken(
        "Function.ResponseSizeTooLarge",
        &format!("Response payload size exceeded maximum allowed payload size ({STREAMED_BYTES_MAX} bytes)."),
    )
}

/// The end of a stream whose connection broke off.
pub(crate) fn truncated() -> StreamError {
    broken("Runtime.TruncatedResponse", "Response stream was truncated")
}

fn broken(error_type: &str, message: &str) -> StreamError {
    let document = serde_json::json!({ "errorType": error_type, "errorMessage": message });
    StreamError { error_type: error_type.to_owned(), payload: Bytes::from(document.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> Message {
        Message::StreamBegin { content_type: Some("text/plain".to_owned()) }
    }

    #[tokio::test]
    async fn pieces_go_to_the_sink_in_order_and_are_counted() {
        let (sink, mut stream) = compute_api::stream::response();
        let mut delivery = Delivery::new(Some(sink));
        assert_eq!(delivery.take(begin()).await, None);
        assert_eq!(delivery.take(Message::StreamBody(Bytes::from_static(b"abc"))).await, None);
        assert_eq!(delivery.finish(None), Outcome::Streamed { bytes: 3, error: None });
        assert_eq!(stream.next().await, Some(StreamPiece::Begin { content_type: Some("text/plain".to_owned()) }));
        assert_eq!(stream.next().await, Some(StreamPiece::Body(Bytes::from_static(b"abc"))));
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test]
    async fn a_stream_begins_once_whatever_the_function_says() {
        let piece = || Message::StreamBody(Bytes::from_static(b"x"));
        for (messages, expected) in
            [(vec![piece(), begin(), piece()], 2), (vec![begin(), begin(), piece()], 1), (vec![], 0)]
        {
            let (sink, mut stream) = compute_api::stream::response();
            let mut delivery = Delivery::new(Some(sink));
            for message in messages {
                assert_eq!(delivery.take(message).await, None);
            }
            assert_eq!(delivery.take(Message::StreamEnd(None)).await, Some(Message::StreamEnd(None)));
            drop(delivery);
            let Some(StreamPiece::Begin { .. }) = stream.next().await else { panic!("no beginning") };
            let mut bodies = 0;
            while let Some(piece) = stream.next().await {
                assert!(matches!(piece, StreamPiece::Body(_)));
                bodies += 1;
            }
            assert_eq!(bodies, expected);
        }
    }

    #[tokio::test]
    async fn without_a_sink_it_is_gathered_up_to_the_limit_of_a_whole_response() {
        let piece = || Message::StreamBody(Bytes::from(vec![b' '; 1 << 20]));
        let mut delivery = Delivery::new(None);
        delivery.take(begin()).await;
        for _ in 0..6 {
            assert_eq!(delivery.take(piece()).await, None);
        }
        assert!(matches!(delivery.finish(None), Outcome::Success { payload } if payload.len() == 6 << 20));
        let mut delivery = Delivery::new(None);
        for _ in 0..7 {
            delivery.take(piece()).await;
        }
        let limit = RESPONSE_BYTES_MAX as u64;
        assert_eq!(delivery.finish(None), Outcome::ResponseTooLarge { size: 7 << 20, limit });
    }

    #[tokio::test]
    async fn a_stream_ends_at_two_hundred_mebibytes_whether_or_not_it_is_read() {
        let (sink, stream) = compute_api::stream::response();
        drop(stream);
        let mut delivery = Delivery::new(Some(sink));
        let piece = Bytes::from(vec![0; 1 << 20]);
        for _ in 0..200 {
            assert_eq!(delivery.take(Message::StreamBody(piece.clone())).await, None);
        }
        let end = delivery.take(Message::StreamBody(piece)).await;
        assert_eq!(end, Some(Message::StreamEnd(Some(too_large()))));
    }
}
