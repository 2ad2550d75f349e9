//! What was measured: printed as it comes, and kept for a JSON document. Guarantee: a figure that has a bar says whether it
//! was met; nothing is asserted.

use std::{path::Path, time::Duration};

use serde_json::{Map, Value, json};

use crate::{Failure, client::Latencies};

/// The sections of one run.
pub(crate) struct Report {
    sections: Vec<(String, Vec<Value>)>,
    missed: Vec<String>,
}

/// A bar: which figure, and the greatest or least that will do.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { sections: Vec::new(), missed: Vec::new() }
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, name: &str, about: &str) {
        anstream::println!("\n{name}: {about}");
        self.sections.push((name.to_owned(), Vec::new()));
    }

    /// Something to know of the section.
    pub(crate) fn note(&mut self, text: &str) {
        anstream::println!("  ({text})");
        self.keep(json!({ "note": text }));
    }

    /// Starts or answers: median and tail, in milliseconds.
    pub(crate) fn latencies(&mut self, name: &str, measured: &Latencies) {
        let (p50, p99) = (millis(measured.percentile(50)), millis(measured.percentile(99)));
        anstream::println!("  {name:52} p50 {p50:9.2} ms   p99 {p99:9.2} ms   of {}", measured.count());
        self.keep(json!({ "what": name, "p50_ms": p50, "p99_ms": p99, "count": measured.count() }));
    }

    /// The answers of a load: microseconds and rate.
    pub(crate) fn load(&mut self, name: &str, connections: usize, measured: &Latencies) {
        let micros = |percent| measured.percentile(percent).as_secs_f64() * 1e6;
        let (p50, p99, rate) = (micros(50), micros(99), measured.rate());
        anstream::println!("  {name:42} c{connections:<3} p50 {p50:8.0} us   p99 {p99:8.0} us   {rate:8.0} per s");
        self.keep(
            json!({ "what": name, "connections": connections, "p50_us": p50, "p99_us": p99, "per_second": rate }),
        );
    }

    /// A single figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &str) {
        anstream::println!("  {name:52} {value:13.2} {unit}");
        self.keep(json!({ "what": name, "value": value, "unit": unit }));
    }

    /// A figure that has a bar.
    pub(crate) fn barred(&mut self, name: &str, value: f64, unit: &str, bar: Bar) {
        let (met, sign, limit) = match bar {
            Bar::AtMost(limit) => (value <= limit, "<=", limit),
            Bar::AtLeast(limit) => (value >= limit, ">=", limit),
        };
        let style = if met { anstyle::AnsiColor::Green } else { anstyle::AnsiColor::Red }.on_default();
        let word = if met { "met" } else { "missed" };
        anstream::println!("  {name:52} {value:13.2} {unit:4} {style}{word}{style:#} (bar {sign} {limit})");
        self.keep(json!({ "what": name, "value": value, "unit": unit, "bar": format!("{sign} {limit}"), "met": met }));
        if !met {
            let section = self.sections.last().map(|(name, _)| name.clone()).unwrap_or_default();
            self.missed.push(format!("{section}: {name}: {value:.2} {unit} (bar {sign} {limit})"));
        }
    }

    /// A ratio of medians.
    pub(crate) fn ratio(&mut self, name: &str, ours: Duration, theirs: Duration, bar: Bar) {
        self.barred(name, ours.as_secs_f64() / theirs.as_secs_f64().max(1e-12), "x", bar);
    }

    /// Says what was missed, and writes the document if one is wanted.
    pub(crate) fn finish(self, machine: Value, file: Option<&Path>) -> Result<(), Failure> {
        if self.missed.is_empty() {
            anstream::println!("\nevery bar of these sections was met");
        } else {
            anstream::println!("\nmissed:\n  {}", self.missed.join("\n  "));
        }
        if let Some(file) = file {
            let sections: Map<String, Value> =
                self.sections.into_iter().map(|(name, rows)| (name, Value::Array(rows))).collect();
            let document = json!({ "machine": machine, "sections": sections, "missed": self.missed });
            std::fs::write(file, serde_json::to_vec_pretty(&document)?)?;
        }
        Ok(())
    }

    fn keep(&mut self, row: Value) {
        if let Some((_, rows)) = self.sections.last_mut() {
            rows.push(row);
        }
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
