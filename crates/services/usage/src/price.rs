//! What AWS would have charged: its public price list as data, applied to sums. Pure.
//!
//! Guarantees: the list's source, region and date go with every bill; tiers and the free tier apply to each calendar month
//! of the selection on its own, as AWS applies them to an account's month. Not billed here: the storing of snapshots, data
//! that left the region. Provisioned capacity is billed as it was there, without AWS's rounding to five minutes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sums::{Sums, gb_seconds};

/// A price list.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Where it is published.
    pub source: String,
    /// The region it is for.
    pub region: String,
    /// As of when.
    pub date: String,
    /// `USD`.
    pub currency: String,
    free_tier: FreeTier,
    requests: Requests,
    x86_64: Compute,
    arm64: Compute,
    storage: Storage,
    snapstart: SnapStart,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct FreeTier {
    requests: u64,
    gb_seconds: f64,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Requests {
    per_million: f64,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Compute {
    duration: Vec<Tier>,
    provisioned: f64,
    provisioned_duration: f64,
}

/// A price from a quantity on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Where it begins, GB-seconds of a month.
    pub above: f64,
    /// For each GB-second.
    pub price: f64,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Storage {
    per_gb_second: f64,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct SnapStart {
    restore_per_gb: f64,
}

/// The text is no price list.
#[derive(Debug, thiserror::Error)]
#[error("the price list cannot be read: {0}")]
pub struct InvalidPrices(String);

/// AWS's processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `x86_64`.
    X86,
    /// `arm64`.
    Arm,
}

impl Architecture {
    /// That of this machine; what is neither is priced as `x86_64`.
    #[must_use]
    pub fn here() -> Self {
        if std::env::consts::ARCH == "aarch64" { Self::Arm } else { Self::X86 }
    }

    /// AWS's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "arm64",
        }
    }
}

/// What is charged.
#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    /// One of each kind that there is.
    pub lines: Vec<Line>,
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// For what.
    pub what: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// How much was used.
    pub quantity: f64,
    /// What it costs.
    pub cost: f64,
}

impl Bill {
    /// The sum of the lines.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.lines.iter().map(|line| line.cost).sum()
    }
}

impl Prices {
    /// The list that is built in: AWS Lambda in us-east-1.
    ///
    /// # Errors
    /// When the list that was built in cannot be read; a test keeps that from happening.
    pub fn built_in() -> Result<Self, InvalidPrices> {
        Self::parse(include_str!("../prices/aws-lambda.toml"))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidPrices> {
        let prices: Self = toml::from_str(text).map_err(|error| InvalidPrices(error.to_string()))?;
        for tiers in [&prices.x86_64.duration, &prices.arm64.duration] {
            if tiers.first().is_none_or(|tier| tier.above != 0.0) || !tiers.is_sorted_by(|a, b| a.above < b.above) {
                return Err(InvalidPrices("tiers begin at 0 and rise".to_owned()));
            }
        }
        Ok(prices)
    }

    /// The bill for sums by calendar month.
    #[must_use]
    pub fn bill(&self, months: &BTreeMap<String, Sums>, architecture: Architecture, free_tier: bool) -> Bill {
        let compute = self.compute(architecture);
        let mut lines = [
            Line { what: "requests", unit: "requests", quantity: 0.0, cost: 0.0 },
            Line { what: "duration", unit: "GB-seconds", quantity: 0.0, cost: 0.0 },
            Line { what: "provisioned concurrency", unit: "GB-seconds", quantity: 0.0, cost: 0.0 },
            Line { what: "duration, provisioned", unit: "GB-seconds", quantity: 0.0, cost: 0.0 },
            Line { what: "ephemeral storage", unit: "GB-seconds", quantity: 0.0, cost: 0.0 },
            Line { what: "SnapStart restores", unit: "GB", quantity: 0.0, cost: 0.0 },
        ];
        for sums in months.values() {
            let on_demand = gb_seconds(sums.billed_mib_millis);
            let (free_requests, free_gb_seconds) =
                if free_tier { (self.free_tier.requests as f64, self.free_tier.gb_seconds) } else { (0.0, 0.0) };
            // Requests to provisioned capacity are none of the free tier's.
            let provisioned_requests = sums.provisioned.min(sums.invocations) as f64;
            let requests = sums.invocations as f64;
            let paid_requests = (requests - provisioned_requests - free_requests).max(0.0) + provisioned_requests;
            let provisioned = gb_seconds(sums.provisioned_mib_millis);
            let reserved = gb_seconds(sums.reserved_mib_millis);
            let storage = gb_seconds(sums.tmp_mib_millis);
            let restored = sums.restored_mib as f64 / 1024.0;
            let used = [
                (requests, paid_requests / 1e6 * self.requests.per_million),
                (on_demand, tiered(&compute.duration, (on_demand - free_gb_seconds).max(0.0))),
                (reserved, reserved * compute.provisioned),
                (provisioned, provisioned * compute.provisioned_duration),
                (storage, storage * self.storage.per_gb_second),
                (restored, restored * self.snapstart.restore_per_gb),
            ];
            for (line, (quantity, cost)) in lines.iter_mut().zip(used) {
                line.quantity += quantity;
                line.cost += cost;
            }
        }
        Bill { lines: lines.into_iter().filter(|line| line.quantity > 0.0).collect() }
    }

    /// What sums alone would cost, at the first tier and without a free tier: to share a bill among functions.
    #[must_use]
    pub fn weight(&self, sums: &Sums, architecture: Architecture) -> f64 {
        self.bill(&BTreeMap::from([(String::new(), sums.clone())]), architecture, false).total()
    }

    fn compute(&self, architecture: Architecture) -> &Compute {
        match architecture {
            Architecture::X86 => &self.x86_64,
            Architecture::Arm => &self.arm64,
        }
    }
}

/// Each part of a quantity at the price of the tier that it falls into.
fn tiered(tiers: &[Tier], quantity: f64) -> f64 {
    let ends = tiers.iter().skip(1).map(|tier| tier.above).chain([f64::INFINITY]);
    tiers.iter().zip(ends).map(|(tier, end)| (quantity.min(end) - tier.above).max(0.0) * tier.price).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(sums: Sums) -> BTreeMap<String, Sums> {
        BTreeMap::from([("2026-11".to_owned(), sums)])
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() <= right.abs() * 1e-9 + 1e-12
    }

    #[test]
    fn a_bill_is_that_of_the_published_example() {
        // AWS's own example: 3 million requests, 1536 MB, 120 ms; 540,000 GB-s; the free tier applies.
        let prices = Prices::built_in().unwrap();
        let sums = Sums { invocations: 3_000_000, billed_mib_millis: 3_000_000 * 1536 * 120, ..Sums::default() };
        let bill = prices.bill(&month(sums.clone()), Architecture::X86, true);
        assert!(near(bill.total(), 140_000.0 * 0.0000166667 + 0.40), "{bill:?}");
        let full = prices.bill(&month(sums), Architecture::X86, false);
        assert!(near(full.total(), 540_000.0 * 0.0000166667 + 0.60), "{full:?}");
    }

    #[test]
    fn tiers_apply_to_the_part_that_falls_into_them() {
        let tiers = Prices::built_in().unwrap().x86_64.duration;
        for (quantity, cost) in [
            (0.0, 0.0),
            (6e9, 6e9 * 0.0000166667),
            (7e9, 6e9 * 0.0000166667 + 1e9 * 0.000015),
            (16e9, 6e9 * 0.0000166667 + 9e9 * 0.000015 + 1e9 * 0.0000133334),
        ] {
            assert!(near(tiered(&tiers, quantity), cost), "{quantity}");
        }
    }

    #[test]
    fn months_have_free_tiers_of_their_own_and_provisioned_capacity_none() {
        let prices = Prices::built_in().unwrap();
        let one = Sums { invocations: 1_000_000, ..Sums::default() };
        let two = BTreeMap::from([("2026-10".to_owned(), one.clone()), ("2026-11".to_owned(), one.clone())]);
        assert!(near(prices.bill(&two, Architecture::X86, true).total(), 0.0));
        let provisioned = Sums {
            provisioned: 1_000_000,
            provisioned_mib_millis: 1024 * 1000 * 1000,
            reserved_mib_millis: 1024 * 1000 * 3000,
            ..one
        };
        let bill = prices.bill(&month(provisioned), Architecture::X86, true);
        assert!(near(bill.total(), 0.20 + 1000.0 * 0.0000097222 + 3000.0 * 0.0000041667), "{bill:?}");
    }

    #[test]
    fn storage_restores_and_arm_have_their_own_prices() {
        let prices = Prices::built_in().unwrap();
        let sums = Sums {
            invocations: 1,
            billed_mib_millis: 1024 * 1000,
            tmp_mib_millis: 1024 * 1000,
            restored_mib: 1024,
            ..Sums::default()
        };
        let bill = prices.bill(&month(sums), Architecture::Arm, false);
        assert!(near(bill.total(), 0.2e-6 + 0.0000133334 + 0.0000000309 + 0.0001397998), "{bill:?}");
        assert_eq!(bill.lines.len(), 4);
    }

    #[test]
    fn a_list_with_tiers_out_of_order_is_refused() {
        let text = include_str!("../prices/aws-lambda.toml").replacen("above = 0.0", "above = 1.0", 1);
        assert!(Prices::parse(&text).is_err());
        assert!(Prices::parse("source = 1").is_err());
    }
}
