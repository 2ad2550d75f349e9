//! `/_pileus/usage`: what invocations took in a time, and what AWS would have charged for it. Pure but for the query.
//!
//! `from` and `until` are milliseconds since 1970 (whole hours are shown; the default is the last 24 hours), `function`
//! names one function, `architecture` is `x86_64` or `arm64` (default: this machine's), `free_tier` is `true` or `false`.
//! Account and region are those of the caller.

use std::{collections::BTreeMap, time::Duration};

use base_types::{AccountId, Region, Timestamp};
use compute_api::Start;
use serde_json::{Map, Value, json};
use services_usage::{Architecture, Histogram, Prices, Selection, Summary, Sums};

/// Functions that one answer lists; the others are in its total.
const FUNCTIONS_MAX: usize = 1_000;
/// How far an answer goes back if nothing is said.
const BACK: Duration = Duration::from_secs(24 * 3600);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) selection: Selection,
    pub(crate) architecture: Architecture,
    pub(crate) free_tier: bool,
}

impl Question {
    /// Reads the query.
    ///
    /// # Errors
    /// What is wrong with it, for the caller.
    pub(crate) fn read(query: &str, account: AccountId, region: Region, now: Timestamp) -> Result<Self, String> {
        let mut question = Self {
            selection: Selection { account, region, function: None, from: now - BACK, until: now },
            architecture: Architecture::here(),
            free_tier: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = || format!("The value `{value}` of `{name}` is not valid.");
            match name {
                "from" | "until" => {
                    let at = value.parse().map(Timestamp::from_millis).map_err(|_| wrong())?;
                    *(if name == "from" { &mut question.selection.from } else { &mut question.selection.until }) = at;
                }
                // AWS's names need no percent-encoding.
                "function" => question.selection.function = Some(value.to_owned()),
                "architecture" => {
                    let known = [Architecture::X86, Architecture::Arm];
                    question.architecture = known.into_iter().find(|one| one.as_str() == value).ok_or_else(wrong)?;
                }
                "free_tier" => question.free_tier = value.parse().map_err(|_| wrong())?,
                _ => return Err(format!("There is no parameter `{name}`.")),
            }
        }
        Ok(question)
    }
}

/// The answer.
pub(crate) fn document(question: &Question, summary: &Summary, prices: &Prices) -> Value {
    let Question { selection, architecture, free_tier } = question;
    let bill = prices.bill(&summary.months, *architecture, *free_tier);
    let mut functions: Vec<(&String, Sums, f64)> = summary
        .functions
        .iter()
        .map(|(name, versions)| {
            let sums = added(versions.values());
            let weight = prices.weight(&sums, *architecture);
            (name, sums, weight)
        })
        .collect();
    let weights: f64 = functions.iter().map(|(_, _, weight)| weight).sum();
    // Tiers and the free tier are the account's: each function bears its share.
    let share = if weights > 0.0 { bill.total() / weights } else { 0.0 };
    functions.sort_by(|(a, _, left), (b, _, right)| right.total_cmp(left).then_with(|| a.cmp(b)));
    let listed: Vec<Value> = functions
        .iter()
        .take(FUNCTIONS_MAX)
        .map(|(name, sums, weight)| {
            let mut shown = figures(sums);
            shown.insert("function".to_owned(), json!(name));
            shown.insert("cost".to_owned(), json!(weight * share));
            let versions: Map<_, _> = summary.functions.get(*name).into_iter().flatten().map(figures_by_name).collect();
            shown.insert("versions".to_owned(), Value::Object(versions));
            Value::Object(shown)
        })
        .collect();
    let lines: Vec<Value> = bill
        .lines
        .iter()
        .map(|line| json!({ "what": line.what, "unit": line.unit, "quantity": line.quantity, "cost": line.cost }))
        .collect();
    json!({
        "account": selection.account.as_str(),
        "region": selection.region.as_str(),
        "from": whole_hour(selection.from).to_iso8601(),
        "until": selection.until.to_iso8601(),
        "functions": listed,
        "functions_omitted": functions.len().saturating_sub(FUNCTIONS_MAX),
        "total": figures(&added(summary.months.values())),
        "aws": {
            "cost": bill.total(),
            "currency": prices.currency,
            "lines": lines,
            "architecture": architecture.as_str(),
            "free_tier": free_tier,
            "prices": { "source": prices.source, "region": prices.region, "date": prices.date },
        },
    })
}

fn whole_hour(at: Timestamp) -> Timestamp {
    const HOUR: u64 = 3_600_000;
    Timestamp::from_millis(at.as_millis() / HOUR * HOUR)
}

fn added<'a>(parts: impl Iterator<Item = &'a Sums>) -> Sums {
    parts.fold(Sums::default(), |mut all, part| {
        all.merge(part);
        all
    })
}

fn figures_by_name((name, sums): (&String, &Sums)) -> (String, Value) {
    (name.clone(), Value::Object(figures(sums)))
}

/// The figures of sums; durations in milliseconds, percentiles within 3.2 % of the truth.
fn figures(sums: &Sums) -> Map<String, Value> {
    let cold: BTreeMap<_, _> = Sums::COLD_REASONS
        .iter()
        .zip(sums.cold)
        .map(|(reason, count)| (Start::Cold(*reason).as_str().trim_start_matches("cold: "), count))
        .collect();
    let origins: BTreeMap<_, _> =
        Sums::ORIGINS.iter().zip(sums.origins).map(|(origin, count)| (origin.as_str(), count)).collect();
    let share = sums.cold_starts() as f64 / (sums.invocations as f64).max(1.0);
    let shown = json!({
        "invocations": sums.invocations,
        "errors": sums.failed(),
        "errors_by_kind": { "error": sums.errors, "timeout": sums.timeouts, "out of memory": sums.out_of_memory },
        "throttles": sums.throttled(),
        "throttles_by_reason": sums.throttles,
        "cold_starts": sums.cold_starts(),
        "cold_share": share,
        "cold_by_reason": cold,
        "cold_by_origin": origins,
        "asynchronous": sums.asynchronous,
        "provisioned": sums.provisioned,
        "gb_seconds": sums.gb_seconds(),
        "provisioned_gb_seconds": sums.reserved_gb_seconds(),
        "billed_ms": sums.billed_millis,
        "cpu_seconds": sums.cpu_micros as f64 / 1e6,
        "duration_ms": spread(&sums.duration, sums.duration_micros),
        "queue_ms": spread(&sums.queued, sums.queued_micros),
        "init_ms": spread(&sums.init, sums.init_micros),
        "bytes_in": sums.bytes_in,
        "bytes_out": sums.bytes_out,
        "memory_bytes_max": sums.memory_bytes_max,
    });
    if let Value::Object(members) = shown { members } else { Map::new() }
}

fn spread(histogram: &Histogram, sum_micros: u64) -> Value {
    let millis = |percent| histogram.percentile(percent).map(|found| found.as_micros() as f64 / 1e3);
    json!({
        "count": histogram.count(),
        "sum": sum_micros as f64 / 1e3,
        "p50": millis(50.0),
        "p99": millis(99.0),
    })
}

#[cfg(test)]
mod tests {
    use services_usage::Row;

    use super::*;

    fn read(query: &str) -> Result<Question, String> {
        let now = Timestamp::from_millis(1_795_435_200_000);
        Question::read(query, AccountId::DEFAULT, Region::default(), now)
    }

    #[test]
    fn a_query_is_read_or_refused_by_name() {
        let question = read("from=1000&function=a&architecture=arm64&free_tier=true").unwrap();
        assert_eq!(question.selection.from, Timestamp::from_millis(1000));
        assert_eq!(question.selection.function.as_deref(), Some("a"));
        assert_eq!((question.architecture, question.free_tier), (Architecture::Arm, true));
        assert_eq!(read("").unwrap().selection.from, read("").unwrap().selection.until - BACK);
        for (query, named) in
            [("from=x", "`from`"), ("free_tier=2", "`free_tier`"), ("architecture=z80", "`z80`"), ("a=b", "`a`")]
        {
            let refused = read(query).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }

    #[test]
    fn functions_bear_the_whole_bill_and_long_lists_are_cut() {
        let mut summary = Summary::default();
        for number in 0..FUNCTIONS_MAX + 5 {
            let invocations = number as u64 + 1;
            let sums = Sums { invocations, billed_mib_millis: 1024 * 1000 * invocations, ..Sums::default() };
            let hour = Timestamp::from_millis(1_795_435_200_000);
            summary.add(&Row { function: format!("f{number}"), version: "1".to_owned(), hour, sums });
        }
        let page = document(&read("").unwrap(), &summary, &Prices::built_in().unwrap());
        let functions = page["functions"].as_array().unwrap();
        assert_eq!((functions.len(), &page["functions_omitted"]), (FUNCTIONS_MAX, &json!(5)));
        assert_eq!(
            (&functions[0]["function"], &functions[0]["versions"]["1"]["invocations"]),
            (&json!("f1004"), &json!(1005))
        );
        let borne: f64 = functions.iter().map(|function| function["cost"].as_f64().unwrap()).sum();
        let total = page["aws"]["cost"].as_f64().unwrap();
        assert!(borne < total && borne > total * 0.9999, "{borne} of {total}");
        assert_eq!(page["total"]["invocations"], 1005 * 1006 / 2);
        assert_eq!(page["total"]["duration_ms"]["p50"], Value::Null);
    }
}
