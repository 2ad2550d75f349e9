//! The state of one environment between the Runtime API's requests and the invocations of the server. Guarantees: one
//! event at a time; an answer is taken once and only for the present event; what comes out of turn is refused in the words
//! of AWS's Runtime API.

use std::sync::Arc;

use base_types::Timestamp;
use bytes::Bytes;
use compute_api::StreamError;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

/// What a runtime is given.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) request_id: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) deadline: Timestamp,
    pub(crate) invoked_function_arn: String,
    pub(crate) trace_id: Option<String>,
    pub(crate) client_context: Option<String>,
    pub(crate) cognito_identity: Option<String>,
}

/// What comes from a runtime, over either way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The initialisation is over.
    Ready,
    Response(Bytes),
    /// A response of this many bytes, which were not kept.
    TooLarge(u64),
    Error {
        error_type: String,
        payload: Bytes,
    },
    InitError {
        error_type: String,
        payload: Bytes,
    },
    Log(Bytes),
    /// The initialisation is over and the process stands still to be copied; what it says of itself.
    Snapshot(Bytes),
    /// A streamed response begins.
    StreamBegin {
        content_type: Option<String>,
    },
    StreamBody(Bytes),
    /// The streamed response is complete, or broke off.
    StreamEnd(Option<StreamError>),
}

/// Why a request of a runtime is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400: not the id of the present event.
    RequestId,
    /// 403: out of turn.
    Transition { from: &'static str, to: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Started,
    InitError,
    Ready,
    Running(Arc<str>),
    Answering(Arc<str>, &'static str),
    Answered(Arc<str>),
}

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::InitError => "InitError",
            Self::Ready => "Ready",
            Self::Running(_) => "Running",
            Self::Answering(_, name) => name,
            Self::Answered(_) => "ResponseSent",
        }
    }
}

/// Shared by the connections of one environment.
pub(crate) struct Exchange {
    state: Mutex<State>,
    offered: Notify,
    /// The runtime has asked for its next event.
    asked: Notify,
    messages: mpsc::Sender<Message>,
}

struct State {
    phase: Phase,
    pending: Option<Event>,
}

impl Exchange {
    /// An exchange and the end at which its messages arrive. The state machine admits a few at most.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(8);
        let state = Mutex::new(State { phase: Phase::Started, pending: None });
        (Arc::new(Self { state, offered: Notify::new(), asked: Notify::new(), messages }), receiver)
    }

    /// Puts an event before the runtime's next question.
    pub(crate) fn offer(&self, event: Event) {
        self.state.lock().pending = Some(event);
        self.offered.notify_waiters();
    }

    /// Whether the runtime waits for an event.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Ready && state.pending.is_none()
    }

    /// Resolves when the runtime waits for an event.
    pub(crate) async fn quiet(&self) {
        loop {
            let asked = self.asked.notified();
            tokio::pin!(asked);
            asked.as_mut().enable();
            if self.is_quiet() {
                return;
            }
            asked.await;
        }
    }

    /// `GET /runtime/invocation/next`.
    pub(crate) async fn next(&self) -> Result<Event, Refusal> {
        let first = loop {
            let changed = self.offered.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                match state.phase {
                    Phase::Started | Phase::Ready | Phase::Answered(_) => {
                        break std::mem::replace(&mut state.phase, Phase::Ready) == Phase::Started;
                    }
                    // The official Node client asks while its broken stream still comes in: it is waited for.
                    Phase::Answering(..) => {}
                    Phase::InitError | Phase::Running(_) => {
                        return Err(Refusal::Transition { from: state.phase.name(), to: "Ready" });
                    }
                }
            }
            changed.await;
        };
        if first {
            self.tell(Message::Ready).await;
        }
        self.asked.notify_waiters();
        loop {
            let offered = self.offered.notified();
            tokio::pin!(offered);
            offered.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.phase != Phase::Ready {
                    // Another connection took the event.
                    return Err(Refusal::Transition { from: state.phase.name(), to: "Ready" });
                }
                if let Some(event) = state.pending.take() {
                    state.phase = Phase::Running(Arc::clone(&event.request_id));
                    return Ok(event);
                }
            }
            offered.await;
        }
    }

    /// An answer begins: from here on no other is admitted.
    pub(crate) fn begin_answer(&self, request_id: &str, to: &'static str) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let refused = match &state.phase {
            Phase::Running(id) if **id == *request_id => {
                state.phase = Phase::Answering(Arc::clone(id), to);
                return Ok(());
            }
            Phase::Answering(id, _) | Phase::Answered(id) if **id == *request_id => {
                Refusal::Transition { from: state.phase.name(), to }
            }
            _ => Refusal::RequestId,
        };
        Err(refused)
    }

    /// The answer is complete.
    pub(crate) async fn finish_answer(&self, message: Message) {
        {
            let mut state = self.state.lock();
            if let Phase::Answering(id, _) = &state.phase {
                state.phase = Phase::Answered(Arc::clone(id));
            }
        }
        self.offered.notify_waiters();
        self.tell(message).await;
    }

    /// The answer broke off: the runtime may try again.
    pub(crate) fn abandon_answer(&self) {
        let mut state = self.state.lock();
        if let Phase::Answering(id, _) = &state.phase {
            state.phase = Phase::Running(Arc::clone(id));
        }
        drop(state);
        self.offered.notify_waiters();
    }

    /// `POST /runtime/init/error`.
    pub(crate) async fn init_error(&self, error_type: String, payload: Bytes) -> Result<(), Refusal> {
        {
            let mut state = self.state.lock();
            if state.phase != Phase::Started {
                return Err(Refusal::Transition { from: state.phase.name(), to: "InitError" });
            }
            state.phase = Phase::InitError;
        }
        self.tell(Message::InitError { error_type, payload }).await;
        Ok(())
    }

    /// Hands a part of an answer over, waiting until it is wanted.
    pub(crate) async fn tell(&self, message: Message) {
        // An environment that ends drops its receiver: nobody wants to know any more.
        drop(self.messages.send(message).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Event {
        Event {
            request_id: Arc::from(id),
            payload: Bytes::new(),
            deadline: Timestamp::EPOCH,
            invoked_function_arn: String::new(),
            trace_id: None,
            client_context: None,
            cognito_identity: None,
        }
    }

    #[tokio::test]
    async fn an_answer_is_taken_once_and_only_for_the_present_event() {
        let (exchange, mut messages) = Exchange::new();
        exchange.offer(event("a"));
        assert_eq!(&*exchange.next().await.unwrap().request_id, "a");
        assert_eq!(messages.recv().await, Some(Message::Ready));
        assert_eq!(exchange.begin_answer("b", "InvocationResponse"), Err(Refusal::RequestId));
        exchange.begin_answer("a", "InvocationResponse").unwrap();
        let twice = exchange.begin_answer("a", "InvocationResponse");
        let refused = Refusal::Transition { from: "InvocationResponse", to: "InvocationResponse" };
        assert_eq!(twice, Err(refused));
        exchange.finish_answer(Message::Response(Bytes::new())).await;
        let late = exchange.begin_answer("a", "InvocationErrorResponse");
        assert_eq!(late, Err(Refusal::Transition { from: "ResponseSent", to: "InvocationErrorResponse" }));
        assert_eq!(messages.recv().await, Some(Message::Response(Bytes::new())));
    }

    #[tokio::test]
    async fn who_asks_while_an_answer_comes_in_waits_for_its_end() {
        let (exchange, mut messages) = Exchange::new();
        exchange.offer(event("a"));
        exchange.next().await.unwrap();
        exchange.begin_answer("a", "InvocationResponse").unwrap();
        let asking = tokio::spawn({
            let exchange = Arc::clone(&exchange);
            async move { exchange.next().await.map(|event| event.request_id) }
        });
        tokio::task::yield_now().await;
        assert!(!asking.is_finished() && !exchange.is_quiet());
        exchange.finish_answer(Message::StreamEnd(None)).await;
        exchange.offer(event("b"));
        assert_eq!(asking.await.unwrap(), Ok(Arc::from("b")));
        assert_eq!(messages.recv().await, Some(Message::Ready));
    }

    #[tokio::test]
    async fn what_comes_out_of_turn_is_refused() {
        let (exchange, _messages) = Exchange::new();
        assert_eq!(exchange.begin_answer("a", "InvocationResponse"), Err(Refusal::RequestId));
        exchange.offer(event("a"));
        exchange.next().await.unwrap();
        let again = exchange.next().await.map(|_| ());
        assert_eq!(again, Err(Refusal::Transition { from: "Running", to: "Ready" }));
        let late = exchange.init_error(String::new(), Bytes::new()).await;
        assert_eq!(late, Err(Refusal::Transition { from: "Running", to: "InitError" }));
    }
}
