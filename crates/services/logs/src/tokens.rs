//! Where a page of events goes on, and what an event is called.
//!
//! A place is the boundary before a position: reading forward from it begins with that position, reading backward ends
//! before it. So the tokens of both directions fit together without repeating or skipping an event, and they stay what they
//! are whatever is appended meanwhile.

use store_segments::Position;

/// AWS's tokens and event ids are numbers of 56 digits.
const DIGITS: usize = 56;

fn digits(position: Position) -> String {
    let number = (u128::from(position.timestamp) << 64) | u128::from(position.sequence);
    format!("{number:0>DIGITS$}")
}

/// An event's id: unique, and ordered as the events of its group are.
pub(crate) fn event_id(position: Position) -> String {
    digits(position)
}

/// Which way a token of `GetLogEvents` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Backward,
}

/// `f/…/s` or `b/…/s`.
pub(crate) fn stream_token(way: Way, place: Position) -> String {
    let letter = match way {
        Way::Forward => 'f',
        Way::Backward => 'b',
    };
    format!("{letter}/{}/s", digits(place))
}

/// Reads a token of `GetLogEvents`.
pub(crate) fn parse_stream_token(token: &str) -> Option<(Way, Position)> {
    let (letter, rest) = token.split_once('/')?;
    let way = match letter {
        "f" => Way::Forward,
        "b" => Way::Backward,
        _ => return None,
    };
    let number = rest.strip_suffix("/s").filter(|number| number.len() == DIGITS)?;
    let number: u128 = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())??;
    Some((way, Position { timestamp: (number >> 64) as u64, sequence: number as u64 }))
}

/// A place as the content of a sealed token.
pub(crate) fn place_bytes(place: Position) -> [u8; 16] {
    ((u128::from(place.timestamp) << 64) | u128::from(place.sequence)).to_be_bytes()
}

/// Reads the content of a sealed token.
pub(crate) fn parse_place(bytes: &[u8]) -> Option<Position> {
    let number = u128::from_be_bytes(bytes.try_into().ok()?);
    Some(Position { timestamp: (number >> 64) as u64, sequence: number as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_nothing_else_is_one() {
        let place = Position { timestamp: 1_795_435_200_123, sequence: 77 };
        for way in [Way::Forward, Way::Backward] {
            let token = stream_token(way, place);
            assert_eq!(token.len(), 60);
            assert_eq!(parse_stream_token(&token), Some((way, place)));
        }
        assert_eq!(parse_place(&place_bytes(place)), Some(place));
        let nines = format!("f/{}/s", "9".repeat(DIGITS));
        for token in
            ["", "f/", "invalid", "f/1/s", "x/00000000000000000000000000000000000000000000000000000001/s", &nines]
        {
            assert_eq!(parse_stream_token(token), None, "{token}");
        }
    }
}
