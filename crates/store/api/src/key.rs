//! Keys of the ordered space: tuples whose byte order is the order of their elements.
//!
//! Guarantees: distinct tuples have distinct bytes; comparing bytes compares the tuples element by element; no tuple's
//! bytes are a prefix of another's unless the tuple itself is. So everything below a tuple is one contiguous
//! [`KeyRange`].
//!
//! The encoding: a family byte, then elements. Texts and byte strings carry a tag, escape `00` as `00 FF` and end in
//! `00`; numbers carry a tag and eight big-endian bytes; positions a tag and sixteen.

use std::{borrow::Cow, fmt};

use base_types::{AccountId, Region, Timestamp};
use bytes::Bytes;

use crate::Position;

/// What a key is given room for when it is begun: most are shorter.
const ROOM: usize = 112;
const TAG_SYSTEM: u8 = 0x00;
const TAG_BYTES: u8 = 0x01;
const TAG_STR: u8 = 0x02;
const TAG_U64: u8 = 0x10;
const TAG_DESCENDING: u8 = 0x11;
const TAG_POSITION: u8 = 0x20;

/// What sort of traffic a key sees. Engines keep each family apart and tune it by its nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// Resources and their configuration: small, read often, changed seldom.
    Meta = 1,
    /// Queues, timers and intents: written, read once at the head, deleted.
    Queue = 2,
    /// Items of the users' own tables and object listings: many, of any size.
    Item = 3,
    /// Append-only streams of records.
    Stream = 4,
}

impl Family {
    /// All of them, in key order.
    pub const ALL: [Self; 4] = [Self::Meta, Self::Queue, Self::Item, Self::Stream];

    /// The family of an encoded key.
    #[must_use]
    pub fn of(key: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|family| key.first() == Some(&(*family as u8)))
    }
}

/// One key. Built left to right: `Key::new(Family::Meta, account, &region).str("functions").str(name)`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

/// An element of a key, as [`Key::parts`] reads it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Written by [`Key::str`].
    Str(String),
    /// Written by [`Key::bytes`].
    Bytes(Vec<u8>),
    /// Written by [`Key::u64`], [`Key::time`] or [`Key::descending`].
    U64(u64),
    /// Written when a record was appended to a stream.
    Position(Position),
}

impl Key {
    /// A key of one account and region.
    #[must_use]
    pub fn new(family: Family, account: AccountId, region: &Region) -> Self {
        Self::begin(family).str(account.as_str()).str(region.as_str())
    }

    /// A key of a namespace that spans regions (IAM: give the account) or everything (bucket names: give none). Each
    /// use
    /// is a declared exception to the rule that keys begin with account and region.
    #[must_use]
    pub fn global(family: Family, account: Option<AccountId>) -> Self {
        Self::begin(family).str(account.as_ref().map_or("", AccountId::as_str)).str("")
    }

    fn begin(family: Family) -> Self {
        let mut bytes = Vec::with_capacity(ROOM);
        bytes.push(family as u8);
        Self(bytes)
    }

    /// A key of the store's own books (leases, timers, blob references); services cannot build one.
    pub(crate) fn system(family: Family) -> Self {
        Self(vec![family as u8, TAG_SYSTEM])
    }

    /// Appends a text.
    #[must_use]
    pub fn str(self, text: &str) -> Self {
        self.escaped(TAG_STR, text.as_bytes())
    }

    /// Appends a byte string.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.escaped(TAG_BYTES, bytes)
    }

    /// Appends a number; small before large.
    #[must_use]
    pub fn u64(self, number: u64) -> Self {
        self.number(TAG_U64, number)
    }

    /// Appends an instant; early before late.
    #[must_use]
    pub fn time(self, instant: Timestamp) -> Self {
        self.u64(instant.as_millis())
    }

    /// Appends a number; large before small.
    #[must_use]
    pub fn descending(self, number: u64) -> Self {
        self.number(TAG_DESCENDING, !number)
    }

    /// Appends a stream position.
    #[must_use]
    pub fn position(mut self, position: Position) -> Self {
        self.0.push(TAG_POSITION);
        self.0.extend_from_slice(&position.to_bytes());
        self
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded bytes, taken.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from(self.0)
    }

    /// A key from bytes that a back-end kept. Any bytes are accepted; [`Key::parts`] reports damage.
    #[must_use]
    pub fn from_encoded(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The key itself and every key that extends it.
    #[must_use]
    pub fn prefix(&self) -> KeyRange {
        let mut end = self.0.clone();
        // No element begins with FF, so this lies behind every extension and before every other key.
        end.push(0xFF);
        KeyRange { start: self.0.clone(), end }
    }

    /// The elements after the family: account and region first (unless it is one of the store's own keys).
    ///
    /// # Errors
    /// When the bytes are no key.
    pub fn parts(&self) -> Result<Vec<Part>, DamagedKey> {
        let mut rest = self.0.get(1..).ok_or(DamagedKey)?;
        if rest.first() == Some(&TAG_SYSTEM) {
            rest = &rest[1..];
        }
        let mut parts = Vec::new();
        while let Some((&tag, body)) = rest.split_first() {
            let (part, after) = part(tag, body)?;
            parts.push(part);
            rest = after;
        }
        Ok(parts)
    }

    /// The last element, if it is a text: the resource's name in most layouts.
    ///
    /// # Errors
    /// When the bytes are no key, or the last element is none or no text.
    pub fn last_str(&self) -> Result<String, DamagedKey> {
        match self.parts()?.pop() {
            Some(Part::Str(text)) => Ok(text),
            _ => Err(DamagedKey),
        }
    }

    /// The last element of a key that ends in a number or a time, without a look at those before it.
    ///
    /// # Errors
    /// When there is no number at the end.
    pub fn last_u64(&self) -> Result<u64, DamagedKey> {
        number_at_end(&self.0).map(|(_, number)| number)
    }

    /// The last two elements of a key that ends in two numbers or times.
    ///
    /// # Errors
    /// As [`Key::last_u64`].
    pub fn last_two_u64(&self) -> Result<(u64, u64), DamagedKey> {
        let (rest, last) = number_at_end(&self.0)?;
        Ok((number_at_end(rest)?.1, last))
    }

    fn escaped(mut self, tag: u8, bytes: &[u8]) -> Self {
        self.0.reserve(bytes.len() + 2);
        self.0.push(tag);
        let mut rest = bytes;
        while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
            let (before, after) = rest.split_at(zero + 1);
            self.0.extend_from_slice(before);
            self.0.push(0xFF);
            rest = after;
        }
        self.0.extend_from_slice(rest);
        self.0.push(0);
        self
    }

    fn number(mut self, tag: u8, number: u64) -> Self {
        self.0.push(tag);
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }
}

/// The bytes are not what [`Key`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored key is damaged or not of the expected layout")]
pub struct DamagedKey;

impl From<DamagedKey> for base_types::Fault {
    fn from(error: DamagedKey) -> Self {
        Self::internal("read a stored key", error)
    }
}

fn number_at_end(bytes: &[u8]) -> Result<(&[u8], u64), DamagedKey> {
    match bytes.split_last_chunk::<8>().map(|(rest, number)| (rest.split_last(), u64::from_be_bytes(*number))) {
        Some((Some((&TAG_U64, rest)), number)) => Ok((rest, number)),
        _ => Err(DamagedKey),
    }
}

fn part(tag: u8, body: &[u8]) -> Result<(Part, &[u8]), DamagedKey> {
    match tag {
        TAG_STR => {
            let (bytes, rest) = unescaped(body)?;
            Ok((Part::Str(String::from_utf8(bytes).map_err(|_| DamagedKey)?), rest))
        }
        TAG_BYTES => unescaped(body).map(|(bytes, rest)| (Part::Bytes(bytes), rest)),
        TAG_U64 | TAG_DESCENDING => {
            let (bytes, rest) = body.split_first_chunk().ok_or(DamagedKey)?;
            let number = u64::from_be_bytes(*bytes);
            Ok((Part::U64(if tag == TAG_U64 { number } else { !number }), rest))
        }
        TAG_POSITION => {
            let (bytes, rest) = body.split_first_chunk().ok_or(DamagedKey)?;
            Ok((Part::Position(Position::from_bytes(bytes)), rest))
        }
        _ => Err(DamagedKey),
    }
}

fn unescaped(mut body: &[u8]) -> Result<(Vec<u8>, &[u8]), DamagedKey> {
    let mut bytes = Vec::new();
    loop {
        match body {
            [0, 0xFF, rest @ ..] => {
                bytes.push(0);
                body = rest;
            }
            [0, rest @ ..] => return Ok((bytes, rest)),
            [byte, rest @ ..] => {
                bytes.push(*byte);
                body = rest;
            }
            [] => return Err(DamagedKey),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Family::of(&self.0), self.parts()) {
            (Some(family), Ok(parts)) => write!(f, "{family:?}{parts:?}"),
            _ => write!(f, "damaged {}", self.0.escape_ascii()),
        }
    }
}

/// Which end of a range a scan begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Small keys first.
    Forward,
    /// Large keys first.
    Reverse,
}

/// The keys from `start` (included) to `end` (excluded).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    start: Vec<u8>,
    end: Vec<u8>,
}

impl KeyRange {
    /// From `start` (included) to `end` (excluded). Empty when they are not in order.
    #[must_use]
    pub fn between(start: &Key, end: &Key) -> Self {
        Self { start: start.0.clone(), end: end.0.clone() }
    }

    /// A whole family, the store's own keys included: for back-ends and backups.
    #[must_use]
    pub fn family(family: Family) -> Self {
        Self { start: vec![family as u8], end: vec![family as u8 + 1] }
    }

    /// A range of encoded bytes: for back-ends.
    #[must_use]
    pub fn encoded<'a>(start: impl Into<Cow<'a, [u8]>>, end: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { start: start.into().into_owned(), end: end.into().into_owned() }
    }

    /// The part that lies behind `key`, `key` and what extends it excluded: the next page of a forward scan.
    #[must_use]
    pub fn after(mut self, key: &Key) -> Self {
        let behind = key.prefix().end;
        if behind > self.start {
            self.start = behind;
        }
        self
    }

    /// The part from `key` on, `key` included.
    #[must_use]
    pub fn starting_at(mut self, key: &Key) -> Self {
        if key.0 > self.start {
            self.start.clone_from(&key.0);
        }
        self
    }

    /// The part that lies before `key`, `key` excluded: the next page of a reverse scan.
    #[must_use]
    pub fn before(mut self, key: &Key) -> Self {
        if key.0 < self.end {
            self.end.clone_from(&key.0);
        }
        self
    }

    /// The first key's bytes.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The bytes behind the last key.
    #[must_use]
    pub fn end(&self) -> &[u8] {
        &self.end
    }

    /// Whether nothing can lie in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether an encoded key lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && key < self.end.as_slice()
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start.escape_ascii(), self.end.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Key {
        Key::new(Family::Meta, AccountId::DEFAULT, &Region::default())
    }

    fn append(key: Key, part: &Part) -> Key {
        match part {
            Part::Str(text) => key.str(text),
            Part::Bytes(bytes) => key.bytes(bytes),
            Part::U64(number) => key.u64(*number),
            Part::Position(position) => key.position(*position),
        }
    }

    fn rank(part: &Part) -> (u8, Vec<u8>) {
        match part {
            Part::Bytes(bytes) => (1, bytes.clone()),
            Part::Str(text) => (2, text.clone().into_bytes()),
            Part::U64(number) => (3, number.to_be_bytes().to_vec()),
            Part::Position(position) => (4, position.to_bytes().to_vec()),
        }
    }

    fn any_part() -> impl Strategy<Value = Part> {
        prop_oneof![
            "[a\\x00b\\xff]{0,4}".prop_map(Part::Str),
            proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xFF)], 0..4).prop_map(Part::Bytes),
            any::<u64>().prop_map(Part::U64),
            (any::<u32>(), any::<u64>(), any::<u32>()).prop_map(|(e, v, o)| Part::Position(Position::new(e, v, o))),
        ]
    }

    proptest! {
        #[test]
        fn bytes_order_as_tuples_do_and_read_back(
            left in proptest::collection::vec(any_part(), 0..4),
            right in proptest::collection::vec(any_part(), 0..4),
        ) {
            let key = |parts: &[Part]| parts.iter().fold(base(), append);
            let ranks = |parts: &[Part]| parts.iter().map(rank).collect::<Vec<_>>();
            prop_assert_eq!(key(&left).cmp(&key(&right)), ranks(&left).cmp(&ranks(&right)));
            prop_assert_eq!(&key(&left).parts().unwrap()[2..], &left[..]);
            let extends = right.starts_with(&left);
            prop_assert_eq!(key(&left).prefix().contains(key(&right).as_bytes()), extends);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let key = Key::from_encoded(&bytes);
            let _ = (key.parts(), key.last_str(), format!("{key:?}"));
        }
    }

    #[test]
    fn pages_neither_repeat_nor_skip() {
        let all = base().str("t").prefix();
        let (a, ab, b) = (base().str("t").str("a"), base().str("t").str("a").u64(1), base().str("t").str("b"));
        let rest = all.clone().after(&a);
        assert!(!rest.contains(a.as_bytes()) && !rest.contains(ab.as_bytes()) && rest.contains(b.as_bytes()));
        let before = all.clone().before(&b);
        assert!(before.contains(a.as_bytes()) && !before.contains(b.as_bytes()));
        assert!(all.clone().after(&base().str("u")).is_empty());
        assert!(all.starting_at(&b).contains(b.as_bytes()));
    }

    #[test]
    fn descending_numbers_reverse_their_order() {
        assert!(base().descending(9) < base().descending(3));
        assert_eq!(base().descending(9).parts().unwrap()[2], Part::U64(9));
    }

    #[test]
    fn services_cannot_reach_the_stores_own_keys() {
        let own = Key::system(Family::Meta);
        assert!(own.prefix().end < base().0, "they sort before every account");
        assert!(own < Key::global(Family::Meta, None));
    }
}
