//! Wall-clock instants, as AWS writes them.
//!
//! Guarantee: the instant lies in the years 1970 to 9999, so each of its texts exists and parsing never overflows.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Milliseconds since 1970-01-01T00:00:00Z, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// 9999-12-31T23:59:59.999Z.
const MILLIS_MAX: u64 = 253_402_300_799_999;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last instant that has a text.
    pub const MAX: Self = Self(MILLIS_MAX);

    /// From milliseconds since the epoch; what lies beyond the range is clamped to it.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(MILLIS_MAX))
    }

    /// From (fractional) seconds since the epoch, rounded to the millisecond.
    ///
    /// # Errors
    /// When the number is not finite or lies outside the range.
    pub fn from_seconds(seconds: f64) -> Result<Self, InvalidTimestamp> {
        let millis = (seconds * 1000.0).round();
        if (0.0..=MILLIS_MAX as f64).contains(&millis) {
            Ok(Self(millis as u64))
        } else {
            Err(InvalidTimestamp(seconds.to_string()))
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Seconds since the epoch with their fraction.
    #[must_use]
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The time since `earlier`; zero when that lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// `2026-11-23T12:00:00Z`, or `…:00.123Z` when there is a fraction: the `iso8601` (`date-time`) format.
    #[must_use]
    pub fn to_iso8601(self) -> String {
        let fraction = if self.0.is_multiple_of(1000) { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
        self.civil().strftime(fraction).to_string()
    }

    /// `2026-11-23T12:00:00.000Z`: S3's.
    #[must_use]
    pub fn to_iso8601_millis(self) -> String {
        self.civil().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// `2026-11-23T12:00:00.000+0000`: Lambda's `LastModified` and its relatives.
    #[must_use]
    pub fn to_iso8601_offset(self) -> String {
        self.civil().strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
    }

    /// `Mon, 23 Nov 2026 12:00:00 GMT`: the `rfc822` (`http-date`) format.
    #[must_use]
    pub fn to_http_date(self) -> String {
        self.civil().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// `20261123T120000Z`: the form of Signature Version 4.
    #[must_use]
    pub fn to_basic(self) -> String {
        self.civil().strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// The instant in UTC, for other formats.
    #[must_use]
    pub fn civil(self) -> jiff::civil::DateTime {
        let instant = jiff::Timestamp::from_millisecond(self.0 as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        jiff::tz::Offset::UTC.to_datetime(instant)
    }

    /// Reads an RFC 3339 text (`iso8601`).
    ///
    /// # Errors
    /// When it is none, or lies outside the range.
    pub fn parse_iso8601(text: &str) -> Result<Self, InvalidTimestamp> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp(text.to_owned()))?;
        Self::from_signed(instant.as_millisecond(), text)
    }

    /// Reads an `http-date`.
    ///
    /// # Errors
    /// When it is none, or lies outside the range.
    pub fn parse_http_date(text: &str) -> Result<Self, InvalidTimestamp> {
        let zoned = jiff::fmt::rfc2822::parse(text).map_err(|_| InvalidTimestamp(text.to_owned()))?;
        Self::from_signed(zoned.timestamp().as_millisecond(), text)
    }

    /// Reads the form of Signature Version 4, `20261123T120000Z`.
    ///
    /// # Errors
    /// When it is none, or lies outside the range.
    pub fn parse_basic(text: &str) -> Result<Self, InvalidTimestamp> {
        let civil =
            jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).map_err(|_| InvalidTimestamp(text.to_owned()))?;
        let instant = jiff::tz::Offset::UTC.to_timestamp(civil).map_err(|_| InvalidTimestamp(text.to_owned()))?;
        Self::from_signed(instant.as_millisecond(), text)
    }

    fn from_signed(millis: i64, text: &str) -> Result<Self, InvalidTimestamp> {
        match u64::try_from(millis) {
            Ok(millis) if millis <= MILLIS_MAX => Ok(Self(millis)),
            _ => Err(InvalidTimestamp(text.to_owned())),
        }
    }
}

/// The text or number is no instant between 1970 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a timestamp between 1970 and 9999")]
pub struct InvalidTimestamp(pub String);

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at the end of the range.
    fn add(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at the epoch.
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso8601())
    }
}

impl<C> minicbor::Encode<C> for Timestamp {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u64(self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Timestamp {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self::from_millis(d.u64()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_aws_and_read_back() {
        let instant = Timestamp::from_millis(1_795_435_200_123);
        assert_eq!(instant.to_iso8601(), "2026-11-23T12:00:00.123Z");
        assert_eq!(instant.to_iso8601_offset(), "2026-11-23T12:00:00.123+0000");
        assert_eq!(instant.to_http_date(), "Mon, 23 Nov 2026 12:00:00 GMT");
        assert_eq!(instant.to_basic(), "20261123T120000Z");
        let whole = Timestamp::from_millis(1_795_435_200_000);
        assert_eq!(whole.to_iso8601(), "2026-11-23T12:00:00Z");
        assert_eq!(Timestamp::parse_iso8601("2026-11-23T12:00:00.123Z"), Ok(instant));
        assert_eq!(Timestamp::parse_iso8601("2026-11-23T13:00:00+01:00"), Ok(whole));
        assert_eq!(Timestamp::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT"), Ok(whole));
        assert_eq!(Timestamp::parse_basic("20261123T120000Z"), Ok(whole));
        assert_eq!(Timestamp::from_seconds(1_795_435_200.123), Ok(instant));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "now", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"] {
            assert!(Timestamp::parse_iso8601(text).is_err(), "{text}");
        }
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e20] {
            assert!(Timestamp::from_seconds(seconds).is_err(), "{seconds}");
        }
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH - Duration::from_secs(1), Timestamp::EPOCH);
    }
}
