//! How long a function's environments were idle before they were used again, as a histogram of fixed size.
//!
//! Buckets are logarithmic, four to a doubling, from one second to [`RANGE_MAX`]; what is longer is counted apart. Old
//! observations fade: when [`TOTAL_MAX`] are held, all counts are halved. Guarantee: constant size (144 bytes), recording
//! costs a few nanoseconds, reading a percentile one pass over the buckets.

use std::time::Duration;

/// Buckets within the range.
const BUCKETS: usize = 56;
/// The longest idle time that is told apart: about four and a half hours, a little more than the four hours that the
/// hybrid histogram policy covers (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 4).
pub(crate) const RANGE_MAX: Duration = Duration::from_secs(1 << 14);
/// Observations held before all counts are halved.
const TOTAL_MAX: u32 = 2048;

#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: [u16; BUCKETS],
    beyond: u16,
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], beyond: 0, total: 0 }
    }
}

impl Histogram {
    /// Adds an idle time.
    pub(crate) fn record(&mut self, idle: Duration) {
        if self.total >= TOTAL_MAX {
            self.fade();
        }
        match bucket(idle).and_then(|bucket| self.counts.get_mut(bucket)) {
            Some(count) => *count += 1,
            None => self.beyond += 1,
        }
        self.total += 1;
    }

    /// How many observations it holds.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// Whether most observations lie within the range.
    pub(crate) fn is_within_range(&self) -> bool {
        u32::from(self.beyond) * 2 <= self.total
    }

    /// An idle time that this many thousandths of those within the range do not exceed: the upper edge of a bucket.
    pub(crate) fn percentile(&self, thousandths: u32) -> Option<Duration> {
        let within = self.total - u32::from(self.beyond);
        if within == 0 {
            return None;
        }
        let wanted = (within * thousandths).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u32::from(count);
            if seen >= wanted {
                return Some(upper_edge(bucket));
            }
        }
        None
    }

    fn fade(&mut self) {
        self.beyond /= 2;
        self.total = u32::from(self.beyond);
        for count in &mut self.counts {
            *count /= 2;
            self.total += u32::from(*count);
        }
    }
}

/// Quarters of a doubling above one second; everything shorter is in the first bucket.
fn bucket(idle: Duration) -> Option<usize> {
    let millis = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).max(1000);
    // In 1024ths of a second: the position of the highest bit counts doublings, the two bits below it quarters.
    let units = millis.saturating_mul(1024) / 1000;
    let doubling = units.ilog2();
    let quarter = (units >> (doubling - 2)) & 3;
    let index = (doubling as usize - 10) * 4 + usize::try_from(quarter).unwrap_or(0);
    (index < BUCKETS).then_some(index)
}

fn upper_edge(bucket: usize) -> Duration {
    let (doubling, quarter) = (bucket / 4, bucket as u64 % 4);
    let quarters = (5 + quarter) << doubling;
    Duration::from_millis(quarters.saturating_mul(250))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_idle_time_lies_in_a_bucket_that_is_at_most_a_quarter_too_wide() {
        for millis in (1000..16_383_000).step_by(7919) {
            let idle = Duration::from_millis(millis);
            let edge = upper_edge(bucket(idle).unwrap());
            assert!(edge >= idle && edge <= idle * 5 / 4 + Duration::from_millis(2), "{idle:?} {edge:?}");
        }
        assert_eq!(bucket(Duration::ZERO), Some(0));
        assert_eq!((bucket(RANGE_MAX - Duration::from_millis(1)), bucket(RANGE_MAX)), (Some(BUCKETS - 1), None));
    }

    #[test]
    fn a_percentile_covers_its_share_and_old_observations_fade() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(990), None);
        for _ in 0..99 {
            histogram.record(Duration::from_secs(60));
        }
        histogram.record(Duration::from_secs(3600));
        assert!((60..=75).contains(&histogram.percentile(990).unwrap().as_secs()));
        assert!((3600..=4500).contains(&histogram.percentile(1000).unwrap().as_secs()));
        for _ in 0..20_000 {
            histogram.record(Duration::from_secs(5));
        }
        assert!(histogram.total() <= TOTAL_MAX);
        assert!(histogram.percentile(1000).unwrap() < Duration::from_secs(60), "the hour is forgotten");
        assert!(histogram.is_within_range());
        for _ in 0..2000 {
            histogram.record(Duration::from_secs(100_000));
        }
        assert!(!histogram.is_within_range());
    }
}
