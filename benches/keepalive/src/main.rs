//! Keep-alive policies on one load, by the scheduler's own decisions on simulated time.
//!
//! `keepalive [functions] [seed]` replays two days of a synthetic load (see `trace`) under four policies and several memory
//! budgets; the first day fills histograms and caches, the second is counted. It prints a table and writes
//! `docs/keep-alive.md` and `docs/keep-alive.svg`. The same seed gives the same figures.

mod plot;
mod trace;

use std::{error::Error, fmt::Write as _, path::Path, time::Duration};

use base_env::Env;
use compute_scheduler::{
    Expiry, Limits, Rate, Victims,
    replay::{Outcome, Replay},
};
use trace::{DAYS, Load};

/// What is compared: a name, how long idle environments are kept, and which go first.
const POLICIES: [(&str, Expiry, Victims); 4] = [
    ("ten minutes, oldest first", Expiry::Fixed, Victims::Oldest),
    ("histogram, oldest first", Expiry::Histogram, Victims::Oldest),
    ("until needed, greedy-dual", Expiry::Never, Victims::GreedyDual),
    ("histogram, greedy-dual", Expiry::Histogram, Victims::GreedyDual),
];

/// Memory budgets, GiB; the last one never binds.
const BUDGETS: [u64; 6] = [8, 16, 32, 64, 128, 1024];

/// What a policy made of the load with one budget.
pub(crate) struct Point {
    pub(crate) budget_gib: u64,
    /// Of all invocations, in percent.
    pub(crate) cold: f64,
    /// Of a function's invocations, in percent: half of the functions have at most this, three quarters the other.
    pub(crate) cold_half: f64,
    pub(crate) cold_most: f64,
    /// On average.
    pub(crate) idle_gib: f64,
    /// Waiting for starts, per thousand invocations.
    pub(crate) waited: f64,
    pub(crate) refused: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let functions = arguments.next().map_or(Ok(600), |text| text.parse())?;
    let seed = arguments.next().map_or(Ok(2019), |text| text.parse())?;
    let load = Load::new(seed, functions);
    let clock = Env::real();
    anstream::println!("{} invocations of {functions} functions, seed {seed}", load.arrivals.len());
    let mut lines = Vec::new();
    for (name, expiry, victims) in POLICIES {
        let mut points = Vec::new();
        for budget in BUDGETS {
            let begun = clock.monotonic();
            let point = replay(&load, expiry, victims, budget);
            anstream::println!(
                "{name:28} {budget:5} GiB: cold {:6.3} %, three quarters of the functions {:5.1} %, idle {:6.1} GiB, refused \
                 {:.3} % ({:.1} s)",
                point.cold,
                point.cold_most,
                point.idle_gib,
                point.refused,
                clock.monotonic().since(begun).as_secs_f64()
            );
            points.push(point);
        }
        lines.push((name, points));
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let panels: [plot::Panel<'_>; 2] = [
        ("Cold starts, % of invocations", |point| point.cold),
        ("Waiting for starts, s per 1,000 invocations", |point| point.waited),
    ];
    std::fs::write(docs.join("keep-alive.svg"), plot::svg(&lines, &panels))?;
    let path = docs.join("keep-alive.md");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, with_table(&text, &table(&load, seed, &lines))?)?;
    Ok(())
}

fn replay(load: &Load, expiry: Expiry, victims: Victims, budget_gib: u64) -> Point {
    // Only memory shall bind: concurrency, rates and start slots are the same under every policy.
    let limits = Limits {
        account_concurrency: u32::MAX,
        scaling: Rate { count: 1_000_000, per: Duration::from_secs(1) },
        memory_budget_mib: budget_gib << 10,
        memory_overcommit: 1_000,
        starts_concurrent: 1_000,
        waiters_per_function: 1_000_000,
        waiters_total: 10_000_000,
        expiry,
        victims,
        age_max: Duration::from_secs(24 * 3600),
        ..Limits::default()
    };
    let mut replay = Replay::new(limits, load.shapes.clone());
    let counted_from = Duration::from_secs(86_400 * (DAYS - 1));
    let mut counted = false;
    for &arrival in &load.arrivals {
        if !counted && arrival.at >= counted_from {
            counted = true;
            replay.pass(counted_from);
            replay.take_outcome();
        }
        replay.arrive(arrival);
    }
    replay.pass(Duration::from_secs(86_400 * DAYS));
    point(budget_gib, &replay.take_outcome())
}

fn point(budget_gib: u64, outcome: &Outcome) -> Point {
    let warm: u64 = outcome.functions.iter().map(|&(warm, _)| warm).sum();
    let cold: u64 = outcome.functions.iter().map(|&(_, cold)| cold).sum();
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let mut shares: Vec<_> = outcome
        .functions
        .iter()
        .filter(|&&(warm, cold)| warm + cold > 0)
        .map(|&(warm, cold)| percent(cold, warm + cold))
        .collect();
    shares.sort_by(f64::total_cmp);
    let quantile = |quarters: usize| shares.get(shares.len() * quarters / 4).copied().unwrap_or(0.0);
    Point {
        budget_gib,
        cold: percent(cold, warm + cold),
        cold_half: quantile(2),
        cold_most: quantile(3),
        idle_gib: outcome.idle_gib_seconds / 86_400.0,
        waited: outcome.waited.as_secs_f64() * 1000.0 / (warm + cold).max(1) as f64,
        refused: percent(outcome.refused, warm + cold + outcome.refused),
    }
}

/// The table of the document.
fn table(load: &Load, seed: u64, lines: &[(&str, Vec<Point>)]) -> String {
    let mut out = format!(
        "{} invocations of {} functions in {DAYS} days, of which the second is counted (seed {seed}). {:.0} % of the \
         functions have at most one invocation an hour, {:.0} % at most one a minute.\n\n| Policy | Budget, GiB | Cold, % of \
         invocations | Cold, % of a function's (half / three quarters have at most) | Idle, GiB on average | Idle, GB-seconds \
         per invocation | Waited for starts, s per 1,000 invocations | Refused, % |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
        load.arrivals.len(),
        load.shapes.len(),
        100.0 * load.share_up_to(24),
        100.0 * load.share_up_to(1440),
    );
    let second_day = load.arrivals.iter().filter(|arrival| arrival.at.as_secs() >= 86_400 * (DAYS - 1)).count();
    for (name, points) in lines {
        for point in points {
            let gigabyte_seconds = point.idle_gib * 1.073_741_824 * 86_400.0 / second_day.max(1) as f64;
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "| {name} | {} | {:.2} | {:.1} / {:.1} | {:.1} | {gigabyte_seconds:.2} | {:.1} | {:.2} |",
                point.budget_gib,
                point.cold,
                point.cold_half,
                point.cold_most,
                point.idle_gib,
                point.waited,
                point.refused
            );
        }
    }
    out
}

/// The document with its generated part replaced.
fn with_table(text: &str, table: &str) -> Result<String, String> {
    const BEGIN: &str = "<!-- generated by benches/keepalive -->\n";
    const END: &str = "<!-- end -->";
    let (before, rest) = text.split_once(BEGIN).ok_or("docs/keep-alive.md has no place for the table")?;
    let (_, after) = rest.split_once(END).ok_or("the place for the table has no end")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}
