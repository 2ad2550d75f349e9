//! How durations are distributed, in a bounded number of buckets that can be added up.
//!
//! Durations below 32 µs have a bucket each; above, every doubling is divided into 16 equal buckets, up to 19 hours. So a
//! percentile is off by at most [`ERROR_MAX`] of itself (and at most half a microsecond below 32 µs), whatever was merged
//! before. A histogram holds at most [`BUCKETS`] numbers and usually a dozen: only buckets that were hit are kept.

use std::time::Duration;

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};

/// Buckets per doubling.
const STEPS: u64 = 16;
/// Below this many microseconds every value has a bucket of its own.
const EXACT: u64 = 2 * STEPS;
/// Durations from here on share the last bucket: 2^36 µs, 19 hours.
const CEILING: u64 = 1 << 36;
/// The greatest number of buckets.
pub const BUCKETS: usize = (EXACT + (36 - 5) * STEPS) as usize;
/// The greatest relative error of a percentile: half a bucket's width over its lower end.
pub const ERROR_MAX: f64 = 1.0 / (2.0 * STEPS as f64);

/// Counted durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Bucket and count, in the order of the buckets; no count is zero.
    buckets: Vec<(u16, u64)>,
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&mut self, duration: Duration) {
        self.add_to(bucket(micros(duration)), 1);
    }

    /// Adds everything that another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        for &(bucket, count) in &other.buckets {
            self.add_to(bucket, count);
        }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The duration at or below which `percent` of all lie; none when nothing was counted.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let count = self.count();
        // The rank is at least 1 and at most `count`, however the multiplication rounds.
        let rank = ((count as f64 * percent / 100.0).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0_u64;
        for &(bucket, count) in &self.buckets {
            seen = seen.saturating_add(count);
            if seen >= rank {
                return Some(middle(bucket));
            }
        }
        None
    }

    fn add_to(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => {
                if let Some((_, sum)) = self.buckets.get_mut(at) {
                    *sum = sum.saturating_add(count);
                }
            }
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn bucket(micros: u64) -> u16 {
    let value = micros.min(CEILING - 1);
    let index = if value < EXACT {
        value
    } else {
        let exponent = u64::from(value.ilog2());
        EXACT + (exponent - 5) * STEPS + ((value >> (exponent - 4)) & (STEPS - 1))
    };
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
fn middle(bucket: u16) -> Duration {
    let index = u64::from(bucket);
    if index < EXACT {
        return Duration::from_micros(index);
    }
    let (doubling, step) = ((index - EXACT) / STEPS, (index - EXACT) % STEPS);
    let width = 2_u64 << doubling;
    Duration::from_micros((STEPS + step) * width + width / 2)
}

impl<C> Encode<C> for Histogram {
    /// Alternately the distance from the bucket before and the count.
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(self.buckets.len() as u64 * 2)?;
        let mut before = 0;
        for (bucket, count) in &self.buckets {
            e.u16(bucket - before)?.u64(*count)?;
            before = *bucket;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Histogram {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let length = d.array()?.ok_or_else(|| DecodeError::message("a histogram says how long it is"))?;
        if length % 2 != 0 || length > BUCKETS as u64 * 2 {
            return Err(DecodeError::message("a histogram of an impossible length"));
        }
        let mut buckets = Vec::with_capacity(usize::try_from(length / 2).unwrap_or(0));
        let mut bucket = 0_u16;
        for turn in 0..length / 2 {
            let step = d.u16()?;
            bucket = bucket.checked_add(step).ok_or_else(|| DecodeError::message("a bucket that does not exist"))?;
            if usize::from(bucket) >= BUCKETS || (turn > 0 && step == 0) {
                return Err(DecodeError::message("a bucket that does not exist"));
            }
            buckets.push((bucket, d.u64()?));
        }
        Ok(Self { buckets })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(micros: &[u64]) -> Histogram {
        let mut made = Histogram::default();
        for &value in micros {
            made.add(Duration::from_micros(value));
        }
        made
    }

    #[test]
    fn small_durations_are_exact_and_huge_ones_bounded() {
        assert_eq!(of(&[]).percentile(50.0), None);
        for value in 0..EXACT {
            assert_eq!(of(&[value]).percentile(50.0), Some(Duration::from_micros(value)));
        }
        assert_eq!(bucket(u64::MAX) as usize, BUCKETS - 1);
        assert_eq!(usize::from(bucket(CEILING)), BUCKETS - 1);
        let (half, most) = (of(&[1, 2, 3, 4]).percentile(50.0), of(&[1, 2, 3, 4]).percentile(99.0));
        assert_eq!((half, most), (Some(Duration::from_micros(2)), Some(Duration::from_micros(4))));
    }

    proptest! {
        #[test]
        fn a_percentile_is_off_by_the_known_error_at_most(
            mut values in proptest::collection::vec(0_u64..CEILING, 1..200), percent in 1.0_f64..100.0,
        ) {
            let got = of(&values).percentile(percent).unwrap().as_micros() as f64;
            values.sort_unstable();
            let rank = ((values.len() as f64 * percent / 100.0).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            prop_assert!((got - exact).abs() <= exact * ERROR_MAX + 0.5, "{got} for {exact}");
        }

        #[test]
        fn adding_up_and_storing_lose_nothing(
            left in proptest::collection::vec(0_u64..u64::MAX, 0..50), right in proptest::collection::vec(0_u64..1 << 20, 0..50),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(&merged, &of(&[left, right].concat()));
            let bytes = minicbor::to_vec(&merged).unwrap();
            prop_assert_eq!(minicbor::decode::<Histogram>(&bytes).unwrap(), merged);
        }

        #[test]
        fn damaged_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(read) = minicbor::decode::<Histogram>(&bytes) {
                prop_assert!(read.buckets.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    }
}
