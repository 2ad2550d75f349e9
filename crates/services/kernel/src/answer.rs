//! What an operation says beside its answer: [`AnswerHeaders`].
//!
//! A model's answer has the headers that AWS gave it. What only Pileus has to say of a call (which isolation it had, how
//! its environment was started) goes here: the operation adds it, whoever writes the response takes it.

use std::sync::{Arc, Mutex, PoisonError};

/// How many headers an operation may add; more are left out.
const HEADERS_MAX: usize = 16;
/// How long a value may be, in bytes; a longer one is left out.
const VALUE_BYTES_MAX: usize = 1024;

/// A name and its value.
type Header = (&'static str, String);

/// Headers of the response beyond the model. A clone adds to the same response.
#[derive(Clone, Debug, Default)]
pub struct AnswerHeaders(Arc<Mutex<Vec<Header>>>);

impl AnswerHeaders {
    /// Adds a header; `name` is lower-case and begins with `x-pileus-`. One that was added before under this name is
    /// replaced. A value that no header can carry is left out.
    pub fn add(&self, name: &'static str, value: impl Into<String>) {
        debug_assert!(name.starts_with("x-pileus-"), "`{name}` is not ours to add");
        self.put(name, value.into());
    }

    /// The same for a header of AWS's that its model lacks: those of an error's answer, mostly.
    pub fn add_aws(&self, name: &'static str, value: impl Into<String>) {
        self.put(name, value.into());
    }

    fn put(&self, name: &'static str, value: String) {
        let sendable = value.len() <= VALUE_BYTES_MAX && value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !sendable {
            return;
        }
        let mut headers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = headers.iter_mut().find(|(known, _)| *known == name) {
            *known = value;
        } else if headers.len() < HEADERS_MAX {
            headers.push((name, value));
        }
    }

    /// What was added, once.
    #[must_use]
    pub fn take(&self) -> Vec<Header> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_taken_once_and_bounded() {
        let headers = AnswerHeaders::default();
        headers.add("x-pileus-start", "cold");
        headers.clone().add("x-pileus-start", "warm");
        headers.add("x-pileus-evil", "a\r\nb");
        headers.add("x-pileus-long", "x".repeat(VALUE_BYTES_MAX + 1));
        assert_eq!(headers.take(), [("x-pileus-start", "warm".to_owned())]);
        assert!(headers.take().is_empty());
    }
}
