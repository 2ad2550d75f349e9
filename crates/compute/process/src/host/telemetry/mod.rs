//! What happens in an environment, told to the extensions that subscribed: AWS's Telemetry API and the older Logs API.
//!
//! What happens during the initialisation is kept until it is over, so that who subscribes then has heard everything.
//! Guarantees: an environment that nobody listens to pays one atomic read per event; a subscriber never holds the function
//! back: what does not fit into its buffer is dropped, counted, and told (`platform.logsDropped`); nothing is sent while
//! the environment is frozen.

mod delivery;
mod events;
mod subscription;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base_env::Env;
use base_types::Timestamp;
use bytes::Bytes;
use delivery::Subscriber;
pub(crate) use events::{Dialect, InitEnd, InvocationEnd, What};
use parking_lot::Mutex;
pub(crate) use subscription::{Rejected, Subscription};
use tokio::{sync::Notify, task::JoinSet};

use super::link::Link;

/// What is kept of an initialisation for those who subscribe during it.
const HISTORY_BYTES_MAX: usize = 256 * 1024;
/// What an event without text counts.
const EVENT_COST_BYTES: usize = 256;

/// Whose output a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Platform,
    Function,
    Extension,
}

/// An event that may be told in any dialect.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    at: Timestamp,
    what: What,
}

/// Where connections into the environment's network come from.
pub(crate) struct Network {
    pub(crate) link: Arc<Link>,
    /// The shell's id.
    pub(crate) id: u64,
}

/// Tells the subscribers of one environment. Dropping it ends every delivery.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    /// None in tests of those who only tell.
    network: Option<Network>,
    /// Whether lines of the function are JSON documents of their own.
    json_lines: bool,
}

/// What the deliveries share with the hub.
struct Shared {
    env: Env,
    /// Whether anything is to be kept or told.
    listening: AtomicBool,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    history: Vec<Entry>,
    history_bytes: usize,
    subscribers: Vec<Arc<Subscriber>>,
    /// Deliveries under way: the environment must not be frozen.
    delivering: u32,
    asleep: bool,
}

impl Hub {
    pub(crate) fn new(env: Env, network: Network, json_lines: bool) -> Arc<Self> {
        Self::with(env, Some(network), json_lines)
    }

    /// One that nobody can subscribe to.
    #[cfg(test)]
    pub(crate) fn unheard() -> Arc<Self> {
        Self::with(Env::real(), None, false)
    }

    fn with(env: Env, network: Option<Network>, json_lines: bool) -> Arc<Self> {
        let shared = Shared { env, listening: AtomicBool::new(true), state: Mutex::default(), changed: Notify::new() };
        Arc::new(Self { shared: Arc::new(shared), tasks: Mutex::default(), network, json_lines })
    }

    /// Whether anybody wants to know: what an event is made of need not be gathered otherwise.
    pub(crate) fn is_listening(&self) -> bool {
        self.shared.listening.load(Ordering::Acquire)
    }

    /// Tells an event.
    pub(crate) fn tell(&self, what: What) {
        if self.is_listening() {
            self.shared.tell(Entry { at: self.shared.env.now(), what });
        }
    }

    /// Tells a line of output.
    pub(crate) fn line(&self, source: Source, at: Timestamp, text: &Bytes) {
        if self.is_listening() {
            self.shared.tell(Entry { at, what: What::Line { source, text: text.clone(), json: self.json_lines } });
        }
    }

    /// Adds a subscriber, or replaces the one of the same extension and interface; answers what is told of it.
    pub(crate) fn subscribe(&self, name: &str, subscription: Subscription) -> Result<What, Closed> {
        let Some(Network { link, id }) = &self.network else { return Err(Closed) };
        let told = What::subscribed(name, &subscription);
        let subscriber = Arc::new(Subscriber::new(name, subscription));
        {
            let mut state = self.shared.state.lock();
            if state.closed {
                return Err(Closed);
            }
            state.subscribers.retain(|other| !other.is_replaced_by(&subscriber));
            for entry in &state.history {
                subscriber.take(entry);
            }
            state.subscribers.push(Arc::clone(&subscriber));
        }
        let port = subscriber.port();
        let sandbox = delivery::Connector { link: Arc::clone(link), id: *id, port };
        self.tasks.lock().spawn(delivery::deliver(Arc::clone(&self.shared), subscriber, sandbox));
        self.tell(told.clone());
        Ok(told)
    }

    /// The initialisation is over: nobody subscribes any more.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.history = Vec::new();
        self.shared.listening.store(!state.subscribers.is_empty(), Ordering::Release);
    }

    /// Has everything sent that waits, without waiting for it.
    pub(crate) fn flush(&self) {
        for subscriber in &self.shared.state.lock().subscribers {
            subscriber.flush();
        }
    }

    /// Stops sending if nothing is under way.
    pub(crate) fn lie_down(&self) -> bool {
        if !self.is_listening() {
            return true;
        }
        let mut state = self.shared.state.lock();
        state.asleep = state.delivering == 0;
        state.asleep
    }

    /// Sends again.
    pub(crate) fn wake(&self) {
        if self.is_listening() {
            self.shared.state.lock().asleep = false;
            self.shared.changed.notify_waiters();
        }
    }
}

/// Subscriptions are taken during the initialisation only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Shared {
    fn tell(&self, entry: Entry) {
        let mut state = self.state.lock();
        for subscriber in &state.subscribers {
            subscriber.take(&entry);
        }
        if !state.closed {
            let cost = EVENT_COST_BYTES + entry.what.text_bytes();
            // The first events are the ones that say how it began.
            if state.history_bytes + cost <= HISTORY_BYTES_MAX {
                state.history_bytes += cost;
                state.history.push(entry);
            }
        }
    }

    /// Waits until the environment runs, and keeps it from being frozen until [`Shared::end_delivery`].
    async fn begin_delivery(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if !state.asleep {
                    state.delivering += 1;
                    return;
                }
            }
            changed.await;
        }
    }

    fn end_delivery(&self) {
        self.state.lock().delivering -= 1;
    }
}
