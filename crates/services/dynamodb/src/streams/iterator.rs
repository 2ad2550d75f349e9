//! Shard iterators: where a client is in a shard, and until when it may go on from there.
//!
//! As AWS's: the stream's ARN, a bar, a version, a bar, and something opaque. That is sealed: a client can neither make one
//! nor change one.

use std::time::Duration;

use base_types::Timestamp;
use minicbor::{Decode, Encode};
use services_kernel::PageTokens;

use super::stream::Place;

/// How long one can be used (AWS: 15 minutes).
pub(super) const LIFE: Duration = Duration::from_secs(15 * 60);
const VERSION: &str = "1";

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Iterator {
    #[n(0)]
    pub(super) shard: String,
    /// It goes on behind this; with the oldest record that there is when there is none.
    #[n(1)]
    pub(super) after: Option<Place>,
    #[n(2)]
    pub(super) made: Timestamp,
}

impl Iterator {
    /// As the client gets it.
    pub(super) fn seal(&self, tokens: &PageTokens, arn: &str) -> String {
        // A record of a text, a place and a time can always be encoded.
        let bytes = minicbor::to_vec(self).unwrap_or_default();
        format!("{arn}|{VERSION}|{}", tokens.seal(&[arn, "ShardIterator"], &bytes))
    }

    /// The stream's ARN and where the client is; none when it is no iterator.
    pub(super) fn open(tokens: &PageTokens, text: &str) -> Option<(String, Self)> {
        let mut parts = text.rsplitn(3, '|');
        let (sealed, version, arn) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = tokens.open(&[arn, "ShardIterator"], sealed).ok().filter(|_| version == VERSION)?;
        Some((arn.to_owned(), minicbor::decode(&bytes).ok()?))
    }

    /// Whether its time is over.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        now.since(self.made) > LIFE
    }
}

#[cfg(test)]
mod tests {
    use base_env::Env;

    use super::*;

    #[test]
    fn an_iterator_opens_as_it_was_sealed_and_no_other_does() {
        let tokens = PageTokens::new(&[3; 32], Env::simulated(Timestamp::EPOCH, 1));
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000";
        let made = Timestamp::from_millis(1_000_000);
        let iterator = Iterator { shard: "shardId-1".to_owned(), after: Some(Place::default()), made };
        let text = iterator.seal(&tokens, arn);
        assert!(text.starts_with(&format!("{arn}|1|")) && text.len() <= 2048, "{text}");
        assert_eq!(Iterator::open(&tokens, &text), Some((arn.to_owned(), iterator.clone())));
        let other = text.replace("table/t/", "table/u/");
        for wrong in ["", "x", "a|b", "a|1|b", arn, &other, &text.replace("|1|", "|2|"), &text[..text.len() - 1]] {
            assert_eq!(Iterator::open(&tokens, wrong), None, "{wrong}");
        }
        assert!(!iterator.has_expired(made + LIFE) && iterator.has_expired(made + LIFE + Duration::from_millis(1)));
    }
}
