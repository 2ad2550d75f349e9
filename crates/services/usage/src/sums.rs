//! What is summed up: of one version in one hour, and of anything that is added from such rows.
//!
//! Guarantee: adding is associative and commutative and never overflows (sums stop at their greatest value), so rows may
//! be merged in any order.

use std::collections::BTreeMap;

use compute_api::{ColdReason, Origin, Start};
use minicbor::{Decode, Encode};
use services_ports::{Ending, InvocationRecord};

use crate::histogram::Histogram;

/// Different reasons of throttling that one row tells apart.
const REASONS_MAX: usize = 16;
/// Where further reasons are counted.
const OTHER_REASON: &str = "Other";
/// What AWS includes of `/tmp` in the price, MiB.
const TMP_INCLUDED_MIB: u32 = 512;

/// Sums over invocations. Everything but peaks is additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sums {
    /// Invocations that came to an end, whichever.
    #[n(0)]
    pub invocations: u64,
    /// The function reported an error, exited, or its initialisation failed.
    #[n(1)]
    pub errors: u64,
    /// It did not answer in time.
    #[n(2)]
    pub timeouts: u64,
    /// It was killed at its memory limit.
    #[n(3)]
    pub out_of_memory: u64,
    /// Refused invocations by AWS's reason; they are not among [`Sums::invocations`].
    #[n(4)]
    pub throttles: BTreeMap<String, u64>,
    /// Cold starts, in the order of [`Sums::COLD_REASONS`].
    #[n(5)]
    pub cold: [u64; 5],
    /// What the environments of cold starts were made from, in the order of [`Sums::ORIGINS`].
    #[n(6)]
    pub origins: [u64; 4],
    /// Of them from the queue of asynchronous invocations.
    #[n(7)]
    pub asynchronous: u64,
    /// Of them in environments that were provisioned ahead.
    #[n(8)]
    pub provisioned: u64,
    /// Billed time times configured memory on demand, MiB · ms.
    #[n(9)]
    pub billed_mib_millis: u64,
    /// The same in provisioned environments.
    #[n(10)]
    pub provisioned_mib_millis: u64,
    /// Billed time times the `/tmp` beyond what is included, MiB · ms.
    #[n(11)]
    pub tmp_mib_millis: u64,
    /// Configured memory of every restored snapshot, MiB.
    #[n(12)]
    pub restored_mib: u64,
    /// Billed time, ms.
    #[n(13)]
    pub billed_millis: u64,
    /// Processor time, µs.
    #[n(14)]
    pub cpu_micros: u64,
    /// From handing over the event to the answer, µs.
    #[n(15)]
    pub duration_micros: u64,
    /// From admission to handing over the event, µs.
    #[n(16)]
    pub queued_micros: u64,
    /// Initialisation, µs.
    #[n(17)]
    pub init_micros: u64,
    /// Bytes of events.
    #[n(18)]
    pub bytes_in: u64,
    /// Bytes of responses.
    #[n(19)]
    pub bytes_out: u64,
    /// The greatest memory that an environment ever had, bytes.
    #[n(20)]
    pub memory_bytes_max: u64,
    /// Durations.
    #[n(21)]
    pub duration: Histogram,
    /// Initialisations.
    #[n(22)]
    pub init: Histogram,
    /// Times between admission and handing over.
    #[n(23)]
    pub queued: Histogram,
    /// Capacity that was provisioned, used or not, times its configured memory, MiB · ms.
    #[n(24)]
    pub reserved_mib_millis: u64,
}

impl Sums {
    /// The order of [`Sums::cold`].
    pub const COLD_REASONS: [ColdReason; 5] =
        [ColdReason::First, ColdReason::Busy, ColdReason::Expired, ColdReason::Evicted, ColdReason::Ended];
    /// The order of [`Sums::origins`].
    pub const ORIGINS: [Origin; 4] = [Origin::Fresh, Origin::Forked, Origin::Pooled, Origin::Restored];

    /// Adds an invocation.
    pub fn add(&mut self, record: &InvocationRecord) {
        let mib_millis = |mib: u32| u64::from(mib).saturating_mul(record.billed_millis);
        up(&mut self.invocations, 1);
        match record.ending {
            Ending::Success => {}
            Ending::Error => up(&mut self.errors, 1),
            Ending::Timeout => up(&mut self.timeouts, 1),
            Ending::OutOfMemory => up(&mut self.out_of_memory, 1),
        }
        if let Start::Cold(reason) = record.start {
            count(&mut self.cold, &Self::COLD_REASONS, &reason);
            count(&mut self.origins, &Self::ORIGINS, &record.origin);
            if record.origin == Origin::Restored {
                up(&mut self.restored_mib, u64::from(record.memory_mib));
            }
        }
        up(&mut self.asynchronous, u64::from(record.asynchronous));
        if record.provisioned {
            up(&mut self.provisioned, 1);
            up(&mut self.provisioned_mib_millis, mib_millis(record.memory_mib));
        } else {
            up(&mut self.billed_mib_millis, mib_millis(record.memory_mib));
        }
        up(&mut self.tmp_mib_millis, mib_millis(record.tmp_mib.saturating_sub(TMP_INCLUDED_MIB)));
        up(&mut self.billed_millis, record.billed_millis);
        up(&mut self.cpu_micros, micros(record.cpu));
        up(&mut self.duration_micros, micros(record.duration));
        up(&mut self.queued_micros, micros(record.queued));
        up(&mut self.bytes_in, record.bytes_in);
        up(&mut self.bytes_out, record.bytes_out);
        self.memory_bytes_max = self.memory_bytes_max.max(record.memory_bytes_max);
        self.duration.add(record.duration);
        self.queued.add(record.queued);
        if let Some(init) = record.init {
            up(&mut self.init_micros, micros(init));
            self.init.add(init);
        }
    }

    /// Adds a refusal.
    pub fn add_throttle(&mut self, reason: &str) {
        let known = self.throttles.contains_key(reason) || self.throttles.len() < REASONS_MAX;
        let reason = if known { reason } else { OTHER_REASON };
        match self.throttles.get_mut(reason) {
            Some(count) => up(count, 1),
            None => drop(self.throttles.insert(reason.to_owned(), 1)),
        }
    }

    /// Adds capacity that was provisioned for a while.
    pub fn add_reserved(&mut self, memory_mib: u64, span: std::time::Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        up(&mut self.reserved_mib_millis, memory_mib.saturating_mul(millis));
    }

    /// Adds everything of `other`.
    pub fn merge(&mut self, other: &Self) {
        up(&mut self.invocations, other.invocations);
        up(&mut self.errors, other.errors);
        up(&mut self.timeouts, other.timeouts);
        up(&mut self.out_of_memory, other.out_of_memory);
        for (reason, count) in &other.throttles {
            let known = self.throttles.contains_key(reason) || self.throttles.len() < REASONS_MAX;
            up(self.throttles.entry(if known { reason } else { OTHER_REASON }.to_owned()).or_default(), *count);
        }
        self.cold.iter_mut().zip(other.cold).for_each(|(sum, n)| up(sum, n));
        self.origins.iter_mut().zip(other.origins).for_each(|(sum, n)| up(sum, n));
        up(&mut self.asynchronous, other.asynchronous);
        up(&mut self.provisioned, other.provisioned);
        up(&mut self.billed_mib_millis, other.billed_mib_millis);
        up(&mut self.provisioned_mib_millis, other.provisioned_mib_millis);
        up(&mut self.tmp_mib_millis, other.tmp_mib_millis);
        up(&mut self.reserved_mib_millis, other.reserved_mib_millis);
        up(&mut self.restored_mib, other.restored_mib);
        up(&mut self.billed_millis, other.billed_millis);
        up(&mut self.cpu_micros, other.cpu_micros);
        up(&mut self.duration_micros, other.duration_micros);
        up(&mut self.queued_micros, other.queued_micros);
        up(&mut self.init_micros, other.init_micros);
        up(&mut self.bytes_in, other.bytes_in);
        up(&mut self.bytes_out, other.bytes_out);
        self.memory_bytes_max = self.memory_bytes_max.max(other.memory_bytes_max);
        self.duration.merge(&other.duration);
        self.init.merge(&other.init);
        self.queued.merge(&other.queued);
    }

    /// Everything that did not end well.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.saturating_add(self.timeouts).saturating_add(self.out_of_memory)
    }

    /// Refused invocations.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.throttles.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Invocations that waited for a new environment.
    #[must_use]
    pub fn cold_starts(&self) -> u64 {
        self.cold.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Billed GB-seconds, on demand and provisioned (AWS's GB: 1024 MiB).
    #[must_use]
    pub fn gb_seconds(&self) -> f64 {
        gb_seconds(self.billed_mib_millis.saturating_add(self.provisioned_mib_millis))
    }

    /// GB-seconds of capacity that was provisioned, used or not.
    #[must_use]
    pub fn reserved_gb_seconds(&self) -> f64 {
        gb_seconds(self.reserved_mib_millis)
    }
}

/// MiB · ms as GB-seconds.
pub(crate) fn gb_seconds(mib_millis: u64) -> f64 {
    mib_millis as f64 / (1024.0 * 1000.0)
}

fn up(sum: &mut u64, n: u64) {
    *sum = sum.saturating_add(n);
}

fn count<T: PartialEq, const N: usize>(counts: &mut [u64; N], order: &[T; N], which: &T) {
    if let Some((count, _)) = counts.iter_mut().zip(order).find(|(_, one)| *one == which) {
        up(count, 1);
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_and_none_is_lost() {
        let mut sums = Sums::default();
        for number in 0..40 {
            sums.add_throttle(&format!("reason {number}"));
        }
        assert_eq!((sums.throttles.len(), sums.throttled()), (REASONS_MAX + 1, 40));
        let mut twice = sums.clone();
        twice.merge(&sums);
        assert_eq!((twice.throttles.len(), twice.throttled()), (REASONS_MAX + 1, 80));
    }

    #[test]
    fn sums_stop_at_their_greatest_value() {
        let mut sums = Sums { invocations: u64::MAX, bytes_in: u64::MAX - 1, ..Sums::default() };
        sums.merge(&sums.clone());
        assert_eq!((sums.invocations, sums.bytes_in), (u64::MAX, u64::MAX));
    }
}
