//! Policies of resources, read once.
//!
//! A policy is asked for every message to its queue and every event on its bus, and it hardly ever changes: what was read of a
//! text is kept under that very text, so it can be old but never wrong. Bounded: when there would be too much, all of it is
//! forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use lang_policy::{Kind, Policy};
use parking_lot::RwLock;

/// Policies that are kept.
const KEPT_MAX: usize = 2048;
/// Bytes of their texts.
const BYTES_MAX: usize = 4 << 20;

#[derive(Default)]
struct Read {
    by_text: HashMap<Box<str>, Arc<Policy>>,
    bytes: usize,
}

static READ: LazyLock<RwLock<Read>> = LazyLock::new(RwLock::default);

/// The resource policy that a text is; `None` when it is none (it was one when it was set, so that permits nothing to
/// others).
#[must_use]
pub fn resource_policy(text: &str) -> Option<Arc<Policy>> {
    if let Some(policy) = READ.read().by_text.get(text) {
        return Some(Arc::clone(policy));
    }
    let policy = Arc::new(Policy::parse(text, Kind::Resource).ok()?);
    let mut read = READ.write();
    if read.by_text.len() >= KEPT_MAX || read.bytes + text.len() > BYTES_MAX {
        *read = Read::default();
    }
    if read.by_text.insert(text.into(), Arc::clone(&policy)).is_none() {
        read.bytes += text.len();
    }
    Some(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> String {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"s{number}","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}]}}"#
        )
    }

    #[test]
    fn a_text_is_read_once_and_there_is_a_bound() {
        let first = resource_policy(&text(0)).unwrap();
        assert!(Arc::ptr_eq(&first, &resource_policy(&text(0)).unwrap()));
        assert!(resource_policy("{").is_none());
        for number in 0..3 * KEPT_MAX {
            let policy = resource_policy(&text(number)).unwrap();
            assert_eq!(policy.statements[0].sid, Some(format!("s{number}")));
        }
        let read = READ.read();
        assert!(read.by_text.len() <= KEPT_MAX && read.bytes <= BYTES_MAX);
        assert_eq!(read.bytes, read.by_text.keys().map(|text| text.len()).sum::<usize>());
    }
}
