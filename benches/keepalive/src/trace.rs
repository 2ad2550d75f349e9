//! A synthetic load, shaped like the published one.
//!
//! The figures are those of Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020), which describes the Azure
//! Functions trace of 2019 (the trace of 2021 has the same shape, with single invocations instead of counts by minute):
//!
//! - 45 % of the applications are invoked at most once an hour on average, 81 % at most once a minute; the rates span
//!   eight orders of magnitude, and under 20 % of the applications make more than 99 % of the invocations (section 3.3);
//! - 15.6 % of the functions are run by timers; many others have bursts: a coefficient of variation of the time between
//!   arrivals far above one (sections 3.2 and 3.3);
//! - average run times are log-normal with a log mean of −0.38 and a deviation of 2.36, in seconds (section 3.4);
//! - average memory is a Burr distribution with c = 11.652, k = 0.221, λ = 107.083, in MB: by that fit the median is 140
//!   and the 90th percentile 262 (section 3.5; the 170 and 400 that are often quoted are of the maximum).
//!
//! What the paper does not give is chosen: how much a start takes (log-normal, median 150 ms, with a deviation of 1),
//! how long bursts are (geometric, 20 on average), the course of the day (a sine with a third of the rate).

use std::time::Duration;

use base_env::Env;
use base_types::Timestamp;
use compute_scheduler::replay::{Arrival, Shape};

/// The length of the load.
pub(crate) const DAYS: u64 = 2;
const DAY_SECONDS: f64 = 86_400.0;
/// No function is called more often a day: what is called all the time is warm under every policy.
const CALLS_PER_DAY_MAX: f64 = 15_000.0;
/// The published distribution reaches hours; what runs longer than this holds memory that no policy decides about.
const RUN_SECONDS_MAX: f64 = 2.0;

/// Functions and the invocations of [`DAYS`] days, in order.
pub(crate) struct Load {
    pub(crate) shapes: Vec<Shape>,
    pub(crate) arrivals: Vec<Arrival>,
}

impl Load {
    /// The load of this seed.
    pub(crate) fn new(seed: u64, functions: usize) -> Self {
        let mut draw = Draw(Env::simulated(Timestamp::EPOCH, seed));
        let (mut shapes, mut arrivals) = (Vec::new(), Vec::new());
        for function in 0..functions {
            shapes.push(draw.shape());
            let per_day = calls_per_day(draw.unit());
            let run = (-0.38 + 2.36 * draw.normal()).exp();
            for at in draw.times(per_day) {
                let seconds = (run * (0.5 * draw.normal()).exp()).clamp(0.001, RUN_SECONDS_MAX);
                let duration = Duration::from_secs_f64(seconds);
                arrivals.push(Arrival { at: Duration::from_secs_f64(at), function, duration });
            }
        }
        arrivals.sort_by_key(|arrival| (arrival.at, arrival.function));
        Self { shapes, arrivals }
    }

    /// The share of functions with at most so many invocations a day.
    pub(crate) fn share_up_to(&self, per_day: u64) -> f64 {
        let mut counts = vec![0; self.shapes.len()];
        for arrival in &self.arrivals {
            if let Some(count) = counts.get_mut(arrival.function) {
                *count += 1;
            }
        }
        counts.iter().filter(|&&count: &&u64| count <= per_day * DAYS).count() as f64 / counts.len() as f64
    }
}

/// Invocations a day by rank: straight lines, on a logarithmic scale, through the published points.
fn calls_per_day(rank: f64) -> f64 {
    const POINTS: [(f64, f64); 4] = [(0.0, 1.0), (0.45, 24.0), (0.81, 1440.0), (1.0, 200_000.0)];
    let at = POINTS.windows(2).find(|pair| pair.last().is_some_and(|&(end, _)| rank <= end));
    let Some(&[(from, low), (to, high)]) = at.and_then(|pair| pair.first_chunk::<2>()) else { return 1.0 };
    (low.ln() + (high.ln() - low.ln()) * (rank - from) / (to - from)).exp().min(CALLS_PER_DAY_MAX)
}

struct Draw(Env);

impl Draw {
    /// Evenly from (0, 1).
    fn unit(&mut self) -> f64 {
        (self.0.below(1 << 52) as f64 + 0.5) / (1u64 << 52) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    fn shape(&mut self) -> Shape {
        let (c, k, scale) = (11.652, 0.221, 107.083);
        // The distribution function 1 − (1 + (x/λ)^c)^−k, turned round.
        let megabytes = scale * ((1.0 - self.unit()).powf(-1.0 / k) - 1.0).powf(1.0 / c);
        let resident = megabytes.clamp(16.0, 2048.0);
        let configured = [128, 256, 512, 1024, 2048, 3072].into_iter().find(|&size| f64::from(size) >= resident * 1.3);
        let start = (0.15 * self.normal().exp()).clamp(0.005, 5.0);
        Shape {
            memory_mib: configured.unwrap_or(3072),
            resident_mib: resident as u32,
            peak_mib: (resident * 1.2) as u32,
            start: Duration::from_secs_f64(start),
        }
    }

    /// When a function is called, in seconds.
    fn times(&mut self, per_day: f64) -> Vec<f64> {
        match self.unit() {
            timer if timer < 0.156 => self.timer(per_day),
            bursts if bursts < 0.45 => self.bursts(per_day),
            _ => self.people(per_day),
        }
    }

    /// By a clock: the usual period that comes next to the rate, a second or so off.
    fn timer(&mut self, per_day: f64) -> Vec<f64> {
        const PERIODS: [f64; 10] = [60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 43_200.0, 86_400.0];
        let wanted = (DAY_SECONDS / per_day).ln();
        let distance = |period: &f64| (period.ln() - wanted).abs();
        let period = PERIODS.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(3600.0);
        let first = self.unit() * period;
        let ticks = ((DAYS as f64 * DAY_SECONDS - first) / period).ceil().max(0.0) as usize;
        (0..ticks).map(|tick| first + tick as f64 * period + self.exponential(0.5)).collect()
    }

    /// Many within seconds, then nothing for long.
    fn bursts(&mut self, per_day: f64) -> Vec<f64> {
        let (mut times, mut at) = (Vec::new(), 0.0);
        loop {
            at += self.exponential(DAY_SECONDS * 20.0 / per_day);
            if at >= DAYS as f64 * DAY_SECONDS {
                return times;
            }
            let (length, mut now) = (self.exponential(20.0).ceil() as usize, at);
            for _ in 0..length {
                times.push(now);
                now += self.exponential(0.5);
            }
        }
    }

    /// Independently of one another, more by day than by night.
    fn people(&mut self, per_day: f64) -> Vec<f64> {
        let (mut times, mut at) = (Vec::new(), 0.0);
        let peak = per_day * 4.0 / 3.0;
        loop {
            at += self.exponential(DAY_SECONDS / peak);
            if at >= DAYS as f64 * DAY_SECONDS {
                return times;
            }
            let of_peak = (1.0 + (std::f64::consts::TAU * at / DAY_SECONDS).sin() / 3.0) * 0.75;
            if self.unit() < of_peak {
                times.push(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_has_the_published_shape_and_follows_from_its_seed() {
        let load = Load::new(7, 600);
        assert!((0.35..0.55).contains(&load.share_up_to(24)), "{}", load.share_up_to(24));
        assert!((0.73..0.89).contains(&load.share_up_to(1440)), "{}", load.share_up_to(1440));
        let mut resident: Vec<_> = load.shapes.iter().map(|shape| shape.resident_mib).collect();
        resident.sort_unstable();
        assert!((125..160).contains(&resident[300]), "{}", resident[300]);
        assert!((220..320).contains(&resident[540]), "{}", resident[540]);
        assert!(load.arrivals.is_sorted_by_key(|arrival| arrival.at));
        assert_eq!(Load::new(7, 20).arrivals.len(), Load::new(7, 20).arrivals.len());
    }
}
