//! Numbers as DynamoDB has them: decimal, 38 significant digits, magnitudes from 1E-130 to 9.99…E+125. Guarantees: every
//! number has one representation; arithmetic is exact or refused; order and text follow the value.
//!
//! Source: "Naming rules and data types" of the DynamoDB developer guide; what is refused, and in which words, from
//! answers of the service.

use std::{cmp::Ordering, fmt, str::FromStr};

/// Significant digits of a number.
pub const DIGITS_MAX: u32 = 38;
/// The greatest power of ten of a number's first digit.
const POWER_MAX: i64 = 125;
/// The least.
const POWER_MIN: i64 = -130;
/// Beyond this a written exponent changes nothing any more.
const EXPONENT_TEXT_MAX: i64 = 1_000_000_000;

/// A number: `± coefficient × 10^exponent`. The coefficient ends in no zero; zero has no sign.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Number {
    negative: bool,
    coefficient: u128,
    exponent: i16,
}

/// Why a text, or a result, is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not the text of a number.
    #[error("The parameter cannot be converted to a numeric value")]
    NotNumeric,
    /// More than 38 significant digits.
    #[error("Attempting to store more than 38 significant digits in a Number")]
    Digits,
    /// Too large.
    #[error("Number overflow. Attempting to store a number with magnitude larger than supported range")]
    Overflow,
    /// Too close to zero.
    #[error("Number underflow. Attempting to store a number with magnitude smaller than supported range")]
    Underflow,
}

impl Number {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, coefficient: 0, exponent: 0 };

    /// `± coefficient × 10^exponent`, reduced.
    fn reduced(negative: bool, mut coefficient: u128, mut exponent: i64) -> Result<Self, NumberError> {
        if coefficient == 0 {
            return Ok(Self::ZERO);
        }
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent += 1;
        }
        let digits = digits(coefficient);
        let power = exponent + i64::from(digits) - 1;
        if power > POWER_MAX {
            Err(NumberError::Overflow)
        } else if power < POWER_MIN {
            Err(NumberError::Underflow)
        } else if digits > DIGITS_MAX {
            Err(NumberError::Digits)
        } else {
            // The power is within -130..=125 and there are at most 38 digits.
            let exponent = i16::try_from(exponent).map_err(|_| NumberError::Overflow)?;
            Ok(Self { negative, coefficient, exponent })
        }
    }

    /// The sum.
    ///
    /// # Errors
    /// [`NumberError::Overflow`] when it is too large or needs more than 38 digits (AWS says the same of both);
    /// [`NumberError::Underflow`] when it is too close to zero.
    pub fn plus(&self, other: &Self) -> Result<Self, NumberError> {
        if self.coefficient == 0 {
            return Ok(*other);
        }
        if other.coefficient == 0 {
            return Ok(*self);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let shift = u32::from(high.exponent.abs_diff(low.exponent));
        // What does not fit in 128 bits would keep its last digit, which is no zero, and so more than 38 digits.
        let scaled = 10_u128
            .checked_pow(shift)
            .and_then(|power| high.coefficient.checked_mul(power))
            .ok_or(NumberError::Overflow)?;
        let (negative, sum) = if high.negative == low.negative {
            (high.negative, scaled.checked_add(low.coefficient).ok_or(NumberError::Overflow)?)
        } else if scaled >= low.coefficient {
            (high.negative, scaled - low.coefficient)
        } else {
            (low.negative, low.coefficient - scaled)
        };
        Self::reduced(negative, sum, i64::from(low.exponent)).map_err(|error| match error {
            NumberError::Digits => NumberError::Overflow,
            other => other,
        })
    }

    /// The difference.
    ///
    /// # Errors
    /// As [`Number::plus`].
    pub fn minus(&self, other: &Self) -> Result<Self, NumberError> {
        self.plus(&other.negated())
    }

    /// With the other sign.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self { negative: self.coefficient != 0 && !self.negative, ..*self }
    }

    /// Its value if it is a whole number in the range.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        let exponent = u32::try_from(self.exponent).ok()?;
        let magnitude = i128::try_from(self.coefficient).ok()?.checked_mul(10_i128.checked_pow(exponent)?)?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Its value without what stands behind the point; `None` when it is out of range.
    #[must_use]
    pub fn truncated(&self) -> Option<i64> {
        match u32::try_from(-i32::from(self.exponent)) {
            Ok(places) => {
                let whole = 10_u128.checked_pow(places).map_or(0, |power| self.coefficient / power);
                let whole = i64::try_from(whole).ok()?;
                Some(if self.negative { -whole } else { whole })
            }
            Err(_) => self.as_i64(),
        }
    }

    /// AWS's size of it in an item, in bytes: one for each two digits, one more, one for a sign.
    #[must_use]
    pub fn size(&self) -> usize {
        if self.coefficient == 0 {
            return 1;
        }
        let digits = digits(self.coefficient);
        let aligned = digits % 2 == 1 || self.power() % 2 != 0;
        1 + digits.div_ceil(2) as usize + usize::from(!aligned) + usize::from(self.negative)
    }

    /// The power of ten of its first digit.
    fn power(&self) -> i16 {
        if self.coefficient == 0 { 0 } else { self.exponent + digits(self.coefficient) as i16 - 1 }
    }

    /// The coefficient as 38 digits.
    fn aligned(&self) -> u128 {
        self.coefficient * 10_u128.pow(DIGITS_MAX.saturating_sub(digits(self.coefficient)))
    }

    /// Sign, coefficient and exponent: for codecs.
    #[must_use]
    pub fn parts(&self) -> (bool, u128, i16) {
        (self.negative, self.coefficient, self.exponent)
    }

    /// The inverse of [`Number::parts`].
    ///
    /// # Errors
    /// When there is no such number.
    pub fn from_parts(negative: bool, coefficient: u128, exponent: i16) -> Result<Self, NumberError> {
        Self::reduced(negative, coefficient, i64::from(exponent))
    }

    /// Appends bytes whose order is the numbers'. No number's bytes are a prefix of another's.
    pub fn encode_ordered(&self, out: &mut Vec<u8>) {
        if self.coefficient == 0 {
            return out.push(2);
        }
        // The power is within -130..=125: one byte.
        let power = u8::try_from(self.power() + 130).unwrap_or(u8::MAX);
        let mut digits = self.aligned();
        let mut pairs = [0_u8; 19];
        for pair in pairs.iter_mut().rev() {
            *pair = (digits % 100) as u8;
            digits /= 100;
        }
        let used = pairs.iter().rposition(|pair| *pair != 0).map_or(0, |last| last + 1);
        if self.negative {
            out.extend([1, u8::MAX - power]);
            out.extend(pairs[..used].iter().map(|pair| 200 - pair));
            // Behind every pair: a longer number is less.
            out.push(u8::MAX);
        } else {
            out.extend([3, power]);
            out.extend(pairs[..used].iter().map(|pair| pair + 1));
            out.push(0);
        }
    }
}

/// How many digits a number has; 0 has none.
fn digits(number: u128) -> u32 {
    number.checked_ilog10().map_or(0, |log| log + 1)
}

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let split = rest.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(rest.len());
        let (mantissa, written) = rest.split_at(split);
        let mut exponent = if written.is_empty() { 0 } else { exponent_of(&written[1..])? };
        let (mut coefficient, mut significant, mut zeros) = (0_u128, 0_i64, 0_u32);
        let (mut seen, mut behind_point) = (false, false);
        for byte in mantissa {
            match byte {
                b'.' if !behind_point => behind_point = true,
                b'0'..=b'9' => {
                    seen = true;
                    exponent -= i64::from(behind_point);
                    if *byte == b'0' {
                        zeros += u32::from(significant > 0);
                        continue;
                    }
                    significant += i64::from(zeros) + 1;
                    if significant <= i64::from(DIGITS_MAX) {
                        coefficient = coefficient * 10_u128.pow(zeros + 1) + u128::from(byte - b'0');
                    }
                    zeros = 0;
                }
                _ => return Err(NumberError::NotNumeric),
            }
        }
        if !seen {
            return Err(NumberError::NotNumeric);
        }
        exponent += i64::from(zeros);
        if significant <= i64::from(DIGITS_MAX) {
            return Self::reduced(negative, coefficient, exponent);
        }
        match exponent + significant - 1 {
            power if power > POWER_MAX => Err(NumberError::Overflow),
            power if power < POWER_MIN => Err(NumberError::Underflow),
            _ => Err(NumberError::Digits),
        }
    }
}

fn exponent_of(text: &[u8]) -> Result<i64, NumberError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NumberError::NotNumeric);
    }
    let magnitude = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(EXPONENT_TEXT_MAX));
    Ok(if negative { -magnitude } else { magnitude })
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        // Nineteen digits are always within the range.
        Self::reduced(value < 0, u128::from(value.unsigned_abs()), 0).unwrap_or_default()
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::reduced(false, value as u128, 0).unwrap_or_default()
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.coefficient, number.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        let magnitude = |number: &Self| (number.power(), number.aligned());
        match (sign(self), sign(other)) {
            (0, 0) => Ordering::Equal,
            (-1, -1) => magnitude(other).cmp(&magnitude(self)),
            (1, 1) => magnitude(self).cmp(&magnitude(other)),
            (left, right) => left.cmp(&right),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All digits, without an exponent, as DynamoDB gives numbers back.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.coefficient.to_string();
        if self.negative {
            f.write_str("-")?;
        }
        match usize::try_from(-i32::from(self.exponent)) {
            Err(_) | Ok(0) => {
                f.write_str(&text)?;
                (0..self.exponent.max(0)).try_for_each(|_| f.write_str("0"))
            }
            Ok(places) if places < text.len() => {
                let (whole, fraction) = text.split_at(text.len() - places);
                write!(f, "{whole}.{fraction}")
            }
            Ok(places) => {
                f.write_str("0.")?;
                (0..places - text.len()).try_for_each(|_| f.write_str("0"))?;
                f.write_str(&text)
            }
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
