//! What an environment waits for: the runtime's next word, a failed extension, the end of the process, the end of time;
//! and, all the while, its output. One place for it, so that nothing is read that nobody asked for and nothing is missed.

use std::{io, sync::Arc, time::Duration};

use base_env::{Alarm, Env};
use tokio::sync::{mpsc, watch};

use super::{
    channel::{ChannelReader, ChannelWriter},
    exchange::{Event, Exchange, Message},
    extensions::{Extensions, Failure},
    gauge::Gauge,
    lines::Output,
    stream::Delivery,
};
use crate::protocol::End;

/// How long a channel may stay closed before its process has ended.
const CLOSED_WAIT: Duration = Duration::from_secs(1);
/// How long an answer that was on its way when the process ended is waited for.
const LAST_WORD_WAIT: Duration = Duration::from_millis(100);

/// How events reach the runtime.
pub(super) enum Writer {
    Channel(ChannelWriter),
    Exchange(Arc<Exchange>),
}

/// How answers come back.
pub(super) enum Reader {
    Channel(ChannelReader),
    Exchange(mpsc::Receiver<Message>),
}

/// What is waited for together.
pub(super) struct Inner {
    pub(super) reader: Reader,
    pub(super) output: Output,
    pub(super) ended: watch::Receiver<Option<End>>,
    pub(super) extensions: Arc<Extensions>,
    pub(super) gauge: Gauge,
    /// The limit of what is waited for.
    pub(super) alarm: Alarm,
    pub(super) env: Env,
}

/// What a wait brought.
pub(super) enum Happened {
    Message(Message),
    Ended(End),
    Extension(Failure),
    TimedOut,
    Broken(String),
}

/// What the wait was woken by.
enum Step {
    Read(io::Result<Option<Message>>),
    Ended(End),
}

/// The end, once it has come. A launcher that is gone took everything with it.
pub(super) async fn end_of(ended: &mut watch::Receiver<Option<End>>) -> End {
    ended.wait_for(Option::is_some).await.map_or(End::Never, |end| end.unwrap_or(End::Never))
}

/// The end of the runtime, however the launcher tells it; or the failure of an extension.
async fn failure_of(extensions: &Extensions) -> Failure {
    if extensions.any() { extensions.failed().await } else { std::future::pending().await }
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<Message>> {
        match self {
            Self::Channel(reader) => reader.next().await,
            Self::Exchange(messages) => Ok(messages.recv().await),
        }
    }
}

impl Inner {
    /// Waits for a message that concludes something, the end of the process, or the end of time. Log records go to the
    /// output, pieces of a streamed response into `delivery`.
    pub(super) async fn wait(&mut self, limit: Duration, delivery: &mut Delivery) -> Happened {
        let Self { reader, output, ended, extensions, alarm, env, .. } = self;
        alarm.set(limit);
        loop {
            let step = tokio::select! {
                biased;
                message = reader.next() => Step::Read(message),
                end = end_of(ended) => Step::Ended(end),
                failure = failure_of(extensions) => match failure {
                    Failure::Program(end) => Step::Ended(end),
                    failure => return Happened::Extension(failure),
                },
                () = alarm.reached() => return Happened::TimedOut,
                () = output.pump() => continue,
            };
            let message = match step {
                Step::Read(Ok(Some(message))) => message,
                // A closed channel is the end of its process; how it ended is about to be known.
                Step::Read(Ok(None)) => {
                    let end = async {
                        tokio::select! {
                            end = end_of(ended) => end,
                            failure = failure_of(extensions) => match failure {
                                Failure::Program(end) | Failure::Crash(end) => end,
                                _ => End::Never,
                            },
                        }
                    };
                    return match env.timeout(CLOSED_WAIT, end).await {
                        Ok(end) => Happened::Ended(end),
                        Err(_) => Happened::Broken("the runtime closed its channel".to_owned()),
                    };
                }
                Step::Read(Err(error)) => return Happened::Broken(format!("the runtime's channel: {error}")),
                Step::Ended(end) => {
                    // Its last words may still be on their way: through the reactor, or through the HTTP server.
                    while let Ok(Ok(Some(message))) = env.timeout(LAST_WORD_WAIT, reader.next()).await {
                        match message {
                            Message::Log(record) => output.record(record),
                            message => {
                                let taken = tokio::select! {
                                    biased;
                                    taken = delivery.take(message) => taken,
                                    () = alarm.reached() => return Happened::Ended(end),
                                };
                                if let Some(message) = taken {
                                    return Happened::Message(message);
                                }
                            }
                        }
                    }
                    return Happened::Ended(end);
                }
            };
            match message {
                Message::Log(record) => {
                    // Holding the answer back while the sink is full is what slows a function that floods its log.
                    output.record(record);
                    tokio::select! {
                        () = output.drain() => {}
                        () = alarm.reached() => return Happened::TimedOut,
                    }
                }
                message @ (Message::StreamBegin { .. } | Message::StreamBody(_) | Message::StreamEnd(_)) => {
                    // Nothing more is read while the caller does not take it: that is what slows the function.
                    let taken = tokio::select! {
                        biased;
                        taken = delivery.take(message) => taken,
                        () = alarm.reached() => return Happened::TimedOut,
                        () = output.pump() => None,
                    };
                    if let Some(message) = taken {
                        return Happened::Message(message);
                    }
                }
                message => return Happened::Message(message),
            }
        }
    }

    /// Waits until runtime and extensions are done, reading output meanwhile; none when they are.
    pub(super) async fn settle(&mut self, exchange: Option<&Exchange>, limit: Duration) -> Option<Happened> {
        let Self { output, ended, extensions, env, .. } = self;
        let settled = async {
            extensions.settled().await?;
            match exchange {
                Some(exchange) => tokio::select! {
                    () = exchange.quiet() => Ok(()),
                    failure = extensions.failed() => Err(failure),
                },
                None => Ok(()),
            }
        };
        tokio::select! {
            biased;
            settled = settled => match settled {
                Ok(()) => None,
                Err(Failure::Program(end)) => Some(Happened::Ended(end)),
                Err(failure) => Some(Happened::Extension(failure)),
            },
            end = end_of(ended) => Some(Happened::Ended(end)),
            () = env.sleep(limit) => Some(Happened::TimedOut),
            () = output.pump() => None,
        }
    }

    /// Hands an event over; what stands in its way, if anything does.
    pub(super) async fn hand_over(&mut self, writer: &mut Writer, event: Event, limit: Duration) -> Option<Happened> {
        self.extensions.offer(&event);
        let writer = match writer {
            Writer::Exchange(exchange) => {
                exchange.offer(event);
                return None;
            }
            Writer::Channel(writer) => writer,
        };
        let Reader::Channel(reader) = &mut self.reader else {
            return Some(Happened::Broken("the channel has no reader".to_owned()));
        };
        reader.expect(writer.sequence().wrapping_add(1));
        let Self { output, ended, env, .. } = self;
        let sent = tokio::select! {
            biased;
            sent = writer.send(&event) => sent,
            end = end_of(ended) => return Some(Happened::Ended(end)),
            () = env.sleep(limit) => return Some(Happened::TimedOut),
            () = output.pump() => Err(io::Error::other("output ended")),
        };
        // A runtime that does not read has ended or is about to: the wait that follows sees which.
        if let Err(error) = sent {
            tracing::debug!(%error, "an event could not be handed over");
        }
        None
    }
}
