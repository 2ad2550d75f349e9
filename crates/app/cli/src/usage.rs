//! `pileus usage`: what the functions used, and what AWS would have charged.
//!
//! Guarantee: whole hours are shown, and the output says from when; the price list's region and date stand beside its sums.

use std::time::Duration;

use base_types::Timestamp;
use comfy_table::{CellAlignment, Table, presets};
use http::Method;
use serde_json::Value;

use crate::{
    args,
    cloud::{Cloud, refusal, segment},
    failure::{Failure, Outcome},
    screen::{Screen, size},
};

/// Prints the usage.
pub(crate) async fn run(cloud: &Cloud, screen: Screen, options: &args::Usage) -> Outcome<()> {
    let from = since(&options.since, cloud.env().now())?;
    let mut page = format!("usage?from={}", from.as_millis());
    if let Some(function) = &options.function {
        page.push_str(&format!("&function={}", segment(function)));
    }
    if let Some(architecture) = options.architecture {
        page.push_str(&format!("&architecture={}", architecture.as_str()));
    }
    page.push_str(&format!("&free_tier={}", options.free_tier));
    let answer = cloud.own(Method::GET, &page).await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer).failure("the server gives no usage"));
    }
    let usage: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::new("the server's answer is not JSON").because(&error))?;
    screen.result(&usage, &text(&usage));
    Ok(())
}

fn text(usage: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let heading = format!(
        "usage since {} (whole hours), account {}, {}",
        word(&usage["from"]),
        word(&usage["account"]),
        word(&usage["region"])
    );
    let functions: Vec<&Value> = usage["functions"].as_array().into_iter().flatten().collect();
    if functions.is_empty() {
        return format!("{heading}\nnothing was invoked");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "FUNCTION",
        "INVOCATIONS",
        "ERRORS",
        "THROTTLES",
        "COLD",
        "P50",
        "P99",
        "GB-S",
        "CPU-S",
        "PEAK",
        "AWS",
    ]);
    let money = |cost: &Value| money(cost.as_f64().unwrap_or(0.0));
    for function in &functions {
        table.add_row(row(&word(&function["function"]), function, money(&function["cost"])));
    }
    if let Some(omitted) = usage["functions_omitted"].as_u64().filter(|omitted| *omitted > 0) {
        table.add_row([format!("… and {omitted} more")]);
    }
    table.add_row(row("total", &usage["total"], money(&usage["aws"]["cost"])));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    format!("{heading}\n\n{}\n\n{}", lines.join("\n"), bill(&usage["aws"]))
}

fn row(name: &str, figures: &Value, cost: String) -> Vec<String> {
    let count = |member: &str| grouped(figures[member].as_u64().unwrap_or(0));
    let number = |member: &str| figures[member].as_f64().unwrap_or(0.0);
    let duration = |percent: &str| figures["duration_ms"][percent].as_f64().map_or_else(|| "-".to_owned(), millis);
    vec![
        name.to_owned(),
        count("invocations"),
        count("errors"),
        count("throttles"),
        format!("{:.1} %", number("cold_share") * 100.0),
        duration("p50"),
        duration("p99"),
        format!("{:.3}", number("gb_seconds")),
        format!("{:.2}", number("cpu_seconds")),
        size(figures["memory_bytes_max"].as_u64().unwrap_or(0)),
        cost,
    ]
}

fn bill(aws: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let parts: Vec<String> = aws["lines"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| {
            let cost = money(line["cost"].as_f64().unwrap_or(0.0));
            format!("{} {cost}", word(&line["what"]))
        })
        .collect();
    let free = if aws["free_tier"] == true { "after the monthly free tier" } else { "free tier not applied" };
    let prices = &aws["prices"];
    format!(
        "AWS would have charged {} ({}; {free}; {})\nprices: public list for {} as of {}, {}",
        money(aws["cost"].as_f64().unwrap_or(0.0)),
        parts.join(", "),
        word(&aws["architecture"]),
        word(&prices["region"]),
        word(&prices["date"]),
        word(&prices["source"]),
    )
}

/// Three significant digits of small amounts, cents of large ones.
fn money(amount: f64) -> String {
    if amount == 0.0 {
        return "$0".to_owned();
    }
    let digits = (2.0 - amount.abs().log10().floor()).clamp(2.0, 12.0) as usize;
    format!("${amount:.digits$}")
}

/// `1.24 ms`, `12.4 ms`, `1.24 s`.
pub(crate) fn millis(millis: f64) -> String {
    match millis {
        small if small < 10.0 => format!("{small:.2} ms"),
        some if some < 1_000.0 => format!("{some:.1} ms"),
        many => format!("{:.2} s", many / 1e3),
    }
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An age (`24h`, `7d`), a day (`2026-11-01`, in UTC) or an instant (RFC 3339).
fn since(text: &str, now: Timestamp) -> Outcome<Timestamp> {
    let day = || Timestamp::parse_iso8601(&format!("{text}T00:00:00Z")).ok().filter(|_| text.len() == 10);
    Timestamp::parse_iso8601(text)
        .ok()
        .or_else(day)
        .or_else(|| crate::logs::age(text).ok().map(|age| back(now, age)))
        .ok_or_else(|| {
            Failure::new(format!("`{text}` is no time"))
                .remedy("write an age such as 24h or 7d, or a day such as 2026-11-01")
        })
}

fn back(now: Timestamp, age: Duration) -> Timestamp {
    now - age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_an_age_a_day_or_an_instant() {
        let now = Timestamp::from_millis(1_795_435_200_000);
        for (text, expected) in [
            ("24h", Some("2026-11-22T12:00:00Z")),
            ("7d", Some("2026-11-16T12:00:00Z")),
            ("2026-11-01", Some("2026-11-01T00:00:00Z")),
            ("2026-11-01T05:06:07Z", Some("2026-11-01T05:06:07Z")),
            ("yesterday", None),
            ("2026-13-01", None),
            ("", None),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(since(text, now).ok().map(Timestamp::to_iso8601), expected, "{text}");
        }
    }

    #[test]
    fn amounts_keep_what_matters() {
        let rows =
            [(0.0, "$0"), (12.345, "$12.35"), (1_234.5, "$1234.50"), (0.001_234_5, "$0.00123"), (2e-7, "$0.000000200")];
        for (amount, text) in rows {
            assert_eq!(money(amount), text);
        }
    }

    #[test]
    fn numbers_are_grouped_and_durations_short() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (given, text) in [(0.5, "0.50 ms"), (12.34, "12.3 ms"), (1_500.0, "1.50 s")] {
            assert_eq!(millis(given), text);
        }
    }
}
