//! Receipt handles: which message of which queue, and which of its receives.
//!
//! They are no secrets and give no rights: whoever may delete from a queue may delete any message of it. A handle of
//! another queue, or one that was never given out in this form, is refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::tables::Id;

/// One receive of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) queue: Id,
    pub(crate) number: u64,
    /// The how manieth receive of the message.
    pub(crate) receive: u32,
}

const CHECK_BYTES: usize = 8;
const PLAIN_BYTES: usize = 16 + 8 + 4;

impl Handle {
    /// The text that a receiver gets; `arn` is the queue's.
    pub(crate) fn seal(&self, arn: &str) -> String {
        let mut bytes = Vec::with_capacity(PLAIN_BYTES + CHECK_BYTES);
        bytes.extend_from_slice(&self.queue);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.receive.to_be_bytes());
        let check = check(&bytes, arn);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a text that [`seal`](Self::seal) made for the same queue.
    pub(crate) fn open(text: &str, arn: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (plain, given) = bytes.split_at_checked(PLAIN_BYTES)?;
        if given != check(plain, arn) {
            return None;
        }
        let (queue, rest) = plain.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let receive = rest.first_chunk::<4>()?;
        Some(Self { queue: *queue, number: u64::from_be_bytes(*number), receive: u32::from_be_bytes(*receive) })
    }
}

fn check(plain: &[u8], arn: &str) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new().chain_update(arn).chain_update(plain).finalize();
    std::array::from_fn(|index| digest[index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hostile_texts_are_no_handles_and_do_no_harm(text in ".{0,80}", damage in any::<prop::sample::Index>()) {
            prop_assert_eq!(Handle::open(&text, "arn:a"), None);
            // One character of a good one is another one.
            let good = Handle { queue: [7; 16], number: 42, receive: 3 }.seal("arn:a");
            let mut bytes = good.clone().into_bytes();
            let at = damage.index(bytes.len());
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(Handle::open(&damaged, "arn:a"), None);
        }
    }

    #[test]
    fn a_handle_is_read_by_its_own_queue_only() {
        let handle = Handle { queue: [7; 16], number: 42, receive: 3 };
        let text = handle.seal("arn:a");
        assert_eq!(Handle::open(&text, "arn:a"), Some(handle));
        assert_eq!(Handle::open(&text, "arn:b"), None);
        for text in ["", "x", "garbage!", &text[1..], &format!("{text}AA")] {
            assert_eq!(Handle::open(text, "arn:a"), None, "{text}");
        }
    }
}
