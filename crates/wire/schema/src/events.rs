//! Event streams: what an operation's answer holds when it goes on after it has begun.
//!
//! A generated answer has a member of type [`EventStream`]; the operation makes it with [`EventStream::channel`], keeps
//! the sender and sends events while the client reads. A codec sees the stream as [`Events`] and its events as shapes,
//! so it is written once for every model. Guarantees: bounded; who sends learns when the client has gone; a stream that
//! failed never looks complete.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use base_stream::{Receiver, Sender, channel};
use base_types::Fault;

use crate::{Cell, Place, Shape, Value};

/// A stream of events of one model's union. A clone is the same stream: whoever takes it first has it.
pub struct EventStream<E>(Arc<Mutex<Option<Receiver<E>>>>);

impl<E> EventStream<E> {
    /// A stream and its other end; at most `events` wait.
    #[must_use]
    pub fn channel(events: usize) -> (Sender<E>, Self) {
        let (sender, receiver) = channel(events);
        (sender, Self(Arc::new(Mutex::new(Some(receiver)))))
    }

    /// The events, once.
    #[must_use]
    pub fn take(&self) -> Option<Receiver<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A stream that has ended.
impl<E> Default for EventStream<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E> Clone for EventStream<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Whether it is the same stream.
impl<E> PartialEq for EventStream<E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<E> fmt::Debug for EventStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

/// A stream of any model's events, as a codec sees it.
pub trait Events: Send + Sync {
    /// The events, once; `None` when somebody has them already, or there are none.
    fn source(&self) -> Option<Box<dyn EventSource>>;

    /// Makes it a stream of `count` events that are there already: `fill` is called for each, with its position and an
    /// empty one. For who reads a stream whole (clients, tests).
    fn preset(&mut self, count: usize, fill: &mut dyn FnMut(usize, &mut dyn Shape));
}

/// Events as they come.
pub trait EventSource: Send {
    /// The next event, a union of which one member is there; `None` at the end.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<&dyn Shape, Fault>>>;
}

impl<E: Shape + Default + 'static> Events for EventStream<E> {
    fn source(&self) -> Option<Box<dyn EventSource>> {
        let receiver = self.take()?;
        Some(Box::new(Source { receiver, event: None }))
    }

    fn preset(&mut self, count: usize, fill: &mut dyn FnMut(usize, &mut dyn Shape)) {
        let (sender, stream) = Self::channel(count);
        for index in 0..count {
            let mut event = E::default();
            fill(index, &mut event);
            // There is room for all.
            sender.try_send(event);
        }
        *self = stream;
    }
}

struct Source<E> {
    receiver: Receiver<E>,
    event: Option<E>,
}

impl<E: Shape> EventSource for Source<E> {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<&dyn Shape, Fault>>> {
        match self.receiver.poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(fault))) => Poll::Ready(Some(Err(fault))),
            Poll::Ready(Some(Ok(event))) => Poll::Ready(Some(Ok(self.event.insert(event)))),
        }
    }
}

impl<E: Shape + Default + 'static> Cell for EventStream<E> {
    fn value(&self) -> Option<Value<'_>> {
        Some(Value::Events(self))
    }
    fn place(&mut self) -> Place<'_> {
        Place::Events(self)
    }
}
