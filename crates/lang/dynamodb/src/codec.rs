//! Items as bytes: what is stored. Guarantees: what was written reads back the same; hostile bytes give an error, never a
//! panic, and need no more memory than a small multiple of their length; depth is bounded.
//!
//! A value is a tag and its contents; lengths, counts and exponents are variable-length numbers of seven bits a byte.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{Item, NESTING_MAX, Number, Value};

const S: u8 = 1;
const N: u8 = 2;
const B: u8 = 3;
const FALSE: u8 = 4;
const TRUE: u8 = 5;
const NULL: u8 = 6;
const SS: u8 = 7;
const NS: u8 = 8;
const BS: u8 = 9;
const L: u8 = 10;
const M: u8 = 11;

/// The bytes are not what [`encode`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of an item are damaged")]
pub struct Damaged;

/// The bytes of an item.
#[must_use]
pub fn encode(item: &Item) -> Vec<u8> {
    let mut out = Vec::with_capacity(crate::item_size(item) + item.len() * 4 + 4);
    map(&mut out, item);
    out
}

/// The item of these bytes.
///
/// # Errors
/// [`Damaged`].
pub fn decode(bytes: &[u8]) -> Result<Item, Damaged> {
    let mut reader = Reader { rest: bytes };
    let item = reader.map(0)?;
    if reader.rest.is_empty() { Ok(item) } else { Err(Damaged) }
}

fn varint(out: &mut Vec<u8>, mut number: u128) {
    while number > 0x7F {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, number: &Number) {
    let (negative, coefficient, exponent) = number.parts();
    // Zigzag with the sign below: small numbers take two bytes.
    let exponent = (i32::from(exponent) << 1) ^ (i32::from(exponent) >> 31);
    varint(out, (exponent as u128) << 1 | u128::from(negative));
    varint(out, coefficient);
}

fn map(out: &mut Vec<u8>, entries: &Item) {
    varint(out, entries.len() as u128);
    for (name, entry) in entries {
        text(out, name.as_bytes());
        value(out, entry);
    }
}

fn value(out: &mut Vec<u8>, of: &Value) {
    match of {
        Value::S(it) => {
            out.push(S);
            text(out, it.as_bytes());
        }
        Value::N(it) => {
            out.push(N);
            number(out, it);
        }
        Value::B(it) => {
            out.push(B);
            text(out, it);
        }
        Value::Bool(it) => out.push(if *it { TRUE } else { FALSE }),
        Value::Null => out.push(NULL),
        Value::Ss(set) => {
            out.push(SS);
            varint(out, set.len() as u128);
            set.iter().for_each(|it| text(out, it.as_bytes()));
        }
        Value::Ns(set) => {
            out.push(NS);
            varint(out, set.len() as u128);
            set.iter().for_each(|it| number(out, it));
        }
        Value::Bs(set) => {
            out.push(BS);
            varint(out, set.len() as u128);
            set.iter().for_each(|it| text(out, it));
        }
        Value::L(list) => {
            out.push(L);
            varint(out, list.len() as u128);
            list.iter().for_each(|it| value(out, it));
        }
        Value::M(entries) => {
            out.push(M);
            map(out, entries);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let (byte, rest) = self.rest.split_first().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn varint(&mut self) -> Result<u128, Damaged> {
        let mut number = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7F).checked_shl(shift).ok_or(Damaged)?;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    /// A count of things that take a byte each at least.
    fn count(&mut self) -> Result<usize, Damaged> {
        let count = usize::try_from(self.varint()?).map_err(|_| Damaged)?;
        if count > self.rest.len() { Err(Damaged) } else { Ok(count) }
    }

    fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.count()?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, Damaged> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)?;
        Ok(text.to_owned())
    }

    fn number(&mut self) -> Result<Number, Damaged> {
        let head = u32::try_from(self.varint()?).map_err(|_| Damaged)?;
        let zigzag = head >> 1;
        let exponent = (zigzag >> 1) as i32 ^ -((zigzag & 1) as i32);
        let exponent = i16::try_from(exponent).map_err(|_| Damaged)?;
        Number::from_parts(head & 1 == 1, self.varint()?, exponent).map_err(|_| Damaged)
    }

    fn map(&mut self, depth: usize) -> Result<Item, Damaged> {
        let count = self.count()?;
        // Written in the order of the names, so that the map is built in one go.
        let entries: Result<Vec<_>, Damaged> = (0..count).map(|_| Ok((self.text()?, self.value(depth)?))).collect();
        Ok(entries?.into_iter().collect())
    }

    fn set<T: Ord>(&mut self, item: impl Fn(&mut Self) -> Result<T, Damaged>) -> Result<BTreeSet<T>, Damaged> {
        let count = self.count()?;
        (0..count).map(|_| item(self)).collect()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Damaged> {
        if depth > NESTING_MAX {
            return Err(Damaged);
        }
        Ok(match self.byte()? {
            S => Value::S(self.text()?),
            N => Value::N(self.number()?),
            B => Value::B(Bytes::copy_from_slice(self.bytes()?)),
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            NULL => Value::Null,
            SS => Value::Ss(self.set(Self::text)?),
            NS => Value::Ns(self.set(Self::number)?),
            BS => Value::Bs(self.set(|reader| reader.bytes().map(Bytes::copy_from_slice))?),
            L => {
                let count = self.count()?;
                Value::L((0..count).map(|_| self.value(depth + 1)).collect::<Result<_, _>>()?)
            }
            M => Value::M(self.map(depth + 1)?),
            _ => return Err(Damaged),
        })
    }
}
