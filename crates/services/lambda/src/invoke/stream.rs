//! Calls whose response may be streamed.
//!
//! Guarantees: who reads slowly slows the function, nothing piles up in between; who goes away does not end the function,
//! whose invocation runs to its end and is metered; a response that broke off never looks complete.

use std::sync::Arc;

use base_stream::Sender;
use base_types::{Fault, FaultKind};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use compute_api::{FunctionHost, ResponseStream, stream::StreamPiece};
use model_lambda::{
    InvokeResponseStreamUpdate, InvokeWithResponseStreamCompleteEvent, InvokeWithResponseStreamResponseEvent,
};
use services_ports::LogSink;
use tokio::task::JoinHandle;

use super::runner::{Call, Chosen, Finished, NotCalled, Runner};

/// A call that has begun to answer, or has ended.
pub(super) enum Opened {
    /// The function streams.
    Streams(Streaming),
    /// It ended without having streamed anything.
    Whole(Finished),
}

/// A response under way.
pub(super) struct Streaming {
    /// What the runtime declared.
    pub(super) content_type: Option<String>,
    /// What came before anything was declared.
    early: Option<Bytes>,
    source: Source,
}

/// The pieces and the end of one invocation.
struct Source {
    pieces: ResponseStream,
    running: JoinHandle<Result<Finished, NotCalled>>,
    ended: Option<Result<Finished, NotCalled>>,
}

impl Source {
    /// The next piece; none when the invocation has ended and nothing waits any more, whoever still holds the sink.
    async fn next(&mut self) -> Option<StreamPiece> {
        if self.ended.is_none() {
            tokio::select! {
                biased;
                piece = self.pieces.next() => return piece,
                ended = &mut self.running => self.ended = Some(ended_as(ended)),
            }
        }
        self.pieces.try_next()
    }

    async fn end(self) -> Result<Finished, NotCalled> {
        // Nobody reads any more: the function need not wait.
        drop(self.pieces);
        match self.ended {
            Some(ended) => ended,
            None => ended_as(self.running.await),
        }
    }
}

/// Calls a version and waits until it begins to answer.
pub(super) async fn open<H: FunctionHost, L: LogSink>(
    runner: &Arc<Runner<H, L>>,
    chosen: Chosen<L>,
    call: Call,
) -> Result<Opened, NotCalled> {
    let (sink, pieces) = compute_api::stream::response();
    let running = tokio::spawn(runner.run(chosen, Call { response: Some(sink), ..call }));
    let mut source = Source { pieces, running, ended: None };
    let (content_type, early) = match source.next().await {
        None => return source.end().await.map(Opened::Whole),
        Some(StreamPiece::Begin { content_type }) => (content_type, None),
        Some(StreamPiece::Body(bytes)) => (None, Some(bytes)),
    };
    Ok(Opened::Streams(Streaming { content_type, early, source }))
}

impl Streaming {
    /// The next bytes of the body; none at its end, for better or worse.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.early.take() {
            return Some(bytes);
        }
        loop {
            match self.source.next().await? {
                StreamPiece::Body(bytes) if !bytes.is_empty() => return Some(bytes),
                StreamPiece::Body(_) | StreamPiece::Begin { .. } => {}
            }
        }
    }

    /// How the invocation ended. What is still streamed is discarded.
    pub(super) async fn end(self) -> Result<Finished, NotCalled> {
        self.source.end().await
    }
}

/// Sends a response as events: its bytes as they come, and how it ended.
pub(super) async fn send(opened: Opened, events: Sender<InvokeWithResponseStreamResponseEvent>, with_tail: bool) {
    let ended = match opened {
        Opened::Whole(finished) => {
            if finished.answer.function_error.is_none() && !finished.answer.payload.is_empty() {
                events.send(chunk(finished.answer.payload.clone())).await;
            }
            Ok(finished)
        }
        Opened::Streams(mut streaming) => {
            while let Some(bytes) = streaming.next().await {
                if !events.send(chunk(bytes)).await {
                    // The client has gone: the function runs to its end all the same.
                    return;
                }
            }
            streaming.end().await
        }
    };
    match ended {
        Ok(finished) => {
            // Who reads may have gone: then nobody is to be told.
            events.send(InvokeWithResponseStreamResponseEvent::InvokeComplete(completed(&finished, with_tail))).await;
        }
        Err(reason) => {
            tracing::warn!(?reason, "a streamed response broke off");
            events.fail(Fault::new(FaultKind::Internal, "stream a response")).await;
        }
    }
}

fn chunk(bytes: Bytes) -> InvokeWithResponseStreamResponseEvent {
    InvokeWithResponseStreamResponseEvent::PayloadChunk(InvokeResponseStreamUpdate { payload: Some(bytes) })
}

fn completed(finished: &Finished, with_tail: bool) -> InvokeWithResponseStreamCompleteEvent {
    let failed = finished.answer.function_error;
    let told = finished.stream_error.clone().filter(|error| !error.is_empty());
    InvokeWithResponseStreamCompleteEvent {
        error_code: failed.map(|error| told.unwrap_or_else(|| error.to_owned())),
        error_details: failed.map(|_| String::from_utf8_lossy(&finished.answer.payload).into_owned()),
        log_result: with_tail.then(|| STANDARD.encode(&finished.tail)),
    }
}

fn ended_as(ended: Result<Result<Finished, NotCalled>, tokio::task::JoinError>) -> Result<Finished, NotCalled> {
    ended.unwrap_or_else(|error| {
        Err(NotCalled::Fault(Fault::new(FaultKind::Internal, "run an invocation to its end").caused_by(error)))
    })
}
