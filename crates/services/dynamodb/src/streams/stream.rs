//! What a stream is: its shards over time. Pure.
//!
//! All changes of a table lie in one log. A shard is a part of it: what lies behind `after` and not behind `upto`. One shard
//! is open at a time; it is closed, and its child begins where it ends, after a few hours or when the stream ends.

use std::time::Duration;

use base_types::Timestamp;
use minicbor::{Decode, Encode};
use store_api::Position;

use super::KEPT;
use crate::{
    table::{Keys, View},
    tables::Id,
};

/// A stream, of a table that is there or not.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct StreamState {
    /// The table's identity: whose log it is.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    /// The table's key.
    #[n(1)]
    pub(crate) keys: Keys,
    #[n(2)]
    pub(crate) view: View,
    #[n(3)]
    pub(crate) begun: Timestamp,
    #[n(4)]
    pub(crate) ended: Option<Timestamp>,
    /// Oldest first; the last one is open unless the stream has ended.
    #[n(5)]
    pub(crate) shards: Vec<Shard>,
    /// The last position of which the record was removed.
    #[n(6)]
    pub(crate) trimmed: Place,
}

/// A part of the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Shard {
    #[n(0)]
    pub(crate) id: String,
    #[n(1)]
    pub(crate) parent: Option<String>,
    /// It begins behind this.
    #[n(2)]
    pub(crate) after: Place,
    /// It ends with this; open when there is none.
    #[n(3)]
    pub(crate) upto: Option<Place>,
    #[n(4)]
    pub(crate) opened: Timestamp,
    #[n(5)]
    pub(crate) closed: Option<Timestamp>,
}

/// A position in the log, as it is stored and as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Place(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self(position.to_bytes())
    }
}

impl Place {
    pub(crate) fn position(self) -> Position {
        Position::from_bytes(&self.0)
    }

    fn number(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The one before: what reading begins behind if it is to begin with this one.
    pub(crate) fn before(self) -> Self {
        Self(self.number().saturating_sub(1).to_be_bytes())
    }

    pub(crate) fn next(self) -> Self {
        Self(self.number().saturating_add(1).to_be_bytes())
    }

    /// AWS's form: decimal digits, at least 21. Greater numbers came later.
    pub(crate) fn sequence(self) -> String {
        format!("{:021}", self.number())
    }

    /// The inverse of [`Place::sequence`].
    pub(crate) fn of_sequence(text: &str) -> Option<Self> {
        let digits = (21..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u128>().ok()).flatten().map(|number| Self(number.to_be_bytes()))
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl Shard {
    /// AWS's form of an identifier: the time at which the shard was opened, and something of its own.
    fn opened(id: &Id, now: Timestamp, after: Place, parent: Option<&Self>) -> Self {
        // Identifiers have the order of the shards.
        let opened = parent.map_or(now, |parent| now.max(parent.opened + Duration::from_millis(1)));
        let own = id
            .iter()
            .zip(after.bytes().iter().rev())
            .fold(0_u32, |sum, (a, b)| sum.wrapping_mul(31).wrapping_add(u32::from(*a) << 8 | u32::from(*b)));
        Self {
            id: format!("shardId-{:020}-{own:08x}", opened.as_millis()),
            parent: parent.map(|parent| parent.id.clone()),
            after,
            upto: None,
            opened,
            closed: None,
        }
    }

    /// Whether a place lies in it, or will.
    pub(crate) fn has(&self, place: Place) -> bool {
        self.after < place && self.upto.is_none_or(|upto| place <= upto)
    }
}

impl StreamState {
    /// One that begins behind `now_at`.
    pub(crate) fn begun(id: Id, keys: Keys, view: View, now: Timestamp, now_at: Position) -> Self {
        let after = Place::from(now_at);
        let shards = vec![Shard::opened(&id, now, after, None)];
        Self { id, keys, view, begun: now, ended: None, shards, trimmed: Place::default() }
    }

    pub(crate) fn shard(&self, id: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.ended.is_none()
    }

    /// It ends with what was written up to `now_at`.
    pub(crate) fn end(&mut self, now: Timestamp, now_at: Position) {
        self.ended = Some(now);
        self.close(now, now_at.into());
    }

    /// The open shard is closed and its child opened.
    pub(crate) fn rotate(&mut self, now: Timestamp, now_at: Position) {
        self.close(now, now_at.into());
        let parent = self.shards.last();
        let child = Shard::opened(&self.id, now, now_at.into(), parent);
        self.shards.push(child);
    }

    fn close(&mut self, now: Timestamp, upto: Place) {
        if let Some(shard) = self.shards.last_mut().filter(|shard| shard.upto.is_none()) {
            (shard.upto, shard.closed) = (Some(upto), Some(now));
        }
    }

    /// The shard that records are added to.
    pub(crate) fn open(&self) -> Option<&Shard> {
        self.shards.last().filter(|shard| shard.upto.is_none())
    }

    /// Shards go a day after they were closed: by then their records have gone.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.shards.retain(|shard| shard.closed.is_none_or(|closed| closed + KEPT > now));
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.ended.is_some_and(|ended| ended + KEPT <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{KeyAttribute, KeyType};

    fn at(version: u64) -> Position {
        Position::new(1, version, u32::MAX)
    }

    fn state() -> StreamState {
        let keys = Keys { hash: KeyAttribute { name: "id".to_owned(), r#type: KeyType::S }, range: None };
        StreamState::begun([7; 16], keys, View::Both, Timestamp::from_millis(1_700_000_000_000), at(10))
    }

    #[test]
    fn sequence_numbers_are_digits_in_the_order_of_the_log() {
        let places = [Position::START, at(1), Position::new(1, 2, 0), at(2), at(1 << 40), Position::new(2, 0, 0)];
        let mut last = 0;
        for place in places.map(Place::from) {
            let text = place.sequence();
            assert!((21..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
            assert_eq!(Place::of_sequence(&text), Some(place));
            assert!(place == Place::default() || text.parse::<u128>().unwrap() > last);
            last = text.parse().unwrap();
        }
        for text in ["", "7", "00000000000000000000a", &"9".repeat(40), "+00000000000000000000001"] {
            assert_eq!(Place::of_sequence(text), None, "{text}");
        }
    }

    #[test]
    fn shards_follow_each_other_without_gap_and_overlap() {
        let mut state = state();
        let now = state.begun;
        // Both within a moment: identifiers keep their order.
        state.rotate(now, at(20));
        state.rotate(now, at(30));
        state.end(now + Duration::from_secs(1), at(40));
        let ids: Vec<&str> = state.shards.iter().map(|shard| shard.id.as_str()).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| (28..=65).contains(&id.len())), "{ids:?}");
        assert_eq!(state.shards[1].parent.as_deref(), Some(ids[0]));
        for version in [11, 20, 21, 30, 31, 40] {
            let place = Place::from(Position::new(1, version, 0));
            assert_eq!(state.shards.iter().filter(|shard| shard.has(place)).count(), 1, "{version}");
        }
        assert!(state.open().is_none() && !state.is_enabled());
    }

    #[test]
    fn shards_and_streams_go_a_day_after_their_end() {
        let mut state = state();
        let hours = |hours: u64| state.begun + Duration::from_secs(hours * 3600);
        let times: Vec<Timestamp> = [4, 8, 27, 28, 32, 33].map(hours).to_vec();
        state.rotate(times[0], at(20));
        state.end(times[1], at(30));
        for (now, shards, over) in [(times[2], 2, false), (times[3], 1, false), (times[4], 0, true)] {
            state.forget(now);
            assert_eq!((state.shards.len(), state.is_over(now)), (shards, over));
        }
    }
}
