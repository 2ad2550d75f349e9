//! Bodies that are too large to be held: what goes through piece by piece, as a member of a request or an answer.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use base_stream::Body;

use crate::{Cell, Place, Value};

/// A body that is handed on, not held. A clone is the same body: whoever takes it first has it.
#[derive(Clone, Default)]
pub struct Streaming(Arc<Mutex<Option<Body>>>);

impl Streaming {
    /// The body, once.
    #[must_use]
    pub fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl From<Body> for Streaming {
    fn from(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }
}

/// Whether it is the same body.
impl PartialEq for Streaming {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streaming")
    }
}

impl Cell for Streaming {
    fn value(&self) -> Option<Value<'_>> {
        Some(Value::Stream(self))
    }
    fn place(&mut self) -> Place<'_> {
        Place::Stream(self)
    }
}
