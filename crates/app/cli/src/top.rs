//! `pileus top`: what runs just now. On a terminal it is drawn anew every second until Ctrl-C; otherwise, and with
//! `--once`, it is printed once.
//!
//! Guarantee: the terminal is given back as it was, also when the server goes away meanwhile; no more lines are drawn than
//! it has.

use std::{collections::BTreeMap, io::IsTerminal, io::Write, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use http::Method;
use serde_json::Value;

use crate::{
    args,
    cloud::{Cloud, refusal, segment},
    failure::{Failure, Outcome, io},
    screen::{Screen, size},
    usage::{grouped, millis},
};

const EVERY: Duration = Duration::from_secs(1);
/// Another screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// The upper left corner; and: forget what is right of here, what is below.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\r\n";
const CLEAR_BELOW: &str = "\x1b[J";

/// Shows what runs.
pub(crate) async fn run(cloud: &Cloud, screen: Screen, options: &args::Top) -> Outcome<()> {
    let live = !options.once && !screen.is_json() && std::io::stdout().is_terminal();
    if !live {
        let page = look(cloud, options).await?;
        screen.result(&page, &text(&page, options));
        return Ok(());
    }
    let mut out = std::io::stdout();
    out.write_all(ENTER.as_bytes()).map_err(io("cannot write to the terminal"))?;
    let outcome = draw_until_told(cloud, options, &mut out).await;
    // Whatever happened, the terminal is given back; what happened is said afterwards.
    drop(out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush()));
    outcome
}

async fn draw_until_told(cloud: &Cloud, options: &args::Top, out: &mut impl Write) -> Outcome<()> {
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let page = tokio::select! {
            _ = &mut interrupted => return Ok(()),
            page = look(cloud, options) => page?,
        };
        draw(out, &text(&page, options)).map_err(io("cannot write to the terminal"))?;
        tokio::select! {
            _ = &mut interrupted => return Ok(()),
            () = cloud.env().sleep(EVERY) => {}
        }
    }
}

fn draw(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    let (columns, rows) = dimensions();
    let mut frame = String::from(HOME);
    for line in text.lines().take(rows.saturating_sub(1)) {
        frame.push_str(&cut(line, columns));
        frame.push_str(CLEAR_LINE);
    }
    frame.push_str(CLEAR_BELOW);
    out.write_all(frame.as_bytes())?;
    out.flush()
}

/// Columns and rows of the terminal; the ones of old when it does not tell.
fn dimensions() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
        _ => (80, 24),
    }
}

/// At most so many visible characters; colours take no room.
fn cut(line: &str, columns: usize) -> String {
    let mut kept = String::with_capacity(line.len());
    let (mut visible, mut escape) = (0, false);
    for character in line.chars() {
        if character == '\x1b' {
            escape = true;
        }
        if escape {
            kept.push(character);
            escape = !character.is_ascii_alphabetic();
        } else if visible < columns {
            kept.push(character);
            visible += 1;
        }
    }
    kept
}

async fn look(cloud: &Cloud, options: &args::Top) -> Outcome<Value> {
    let mut page = "environments".to_owned();
    if let Some(function) = &options.function {
        page.push_str(&format!("?function={}", segment(function)));
    }
    let answer = cloud.own(Method::GET, &page).await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer).failure("the server does not say what runs"));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::new("the server's answer is not JSON").because(&error))
}

fn text(page: &Value, options: &args::Top) -> String {
    let mut parts = vec![summary(page), functions(page)];
    if options.function.is_some() {
        parts.push(recent(page));
    }
    parts.push(environments(page));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn summary(page: &Value) -> String {
    let bold = anstyle::Style::new().bold();
    let count = |value: &Value| grouped(value.as_u64().unwrap_or(0));
    let states: Vec<String> =
        page["states"].as_object().into_iter().flatten().map(|(state, count)| format!("{count} {state}")).collect();
    let total = page["environments"].as_array().map_or(0, Vec::len);
    let counters = &page["counters"];
    let throttled: u64 = counters["throttled"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    format!(
        "{bold}{total} environment{}{bold:#}{}   in flight {} of {}   waiting {}   memory {} of {} MiB promised\n\
         since the start: {} warm, {} cold, {} throttled, {} started, {} evicted, {} expired",
        if total == 1 { "" } else { "s" },
        if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) },
        count(&page["in_flight"]),
        count(&page["limits"]["account_concurrency"]),
        count(&page["waiting"]),
        count(&page["memory_promised_mib"]),
        count(&page["memory_budget_mib"]),
        count(&counters["warm"]),
        count(&counters["cold"]),
        grouped(throttled),
        count(&counters["started"]),
        count(&counters["evicted"]),
        count(&counters["expired"]),
    )
}

fn table<const N: usize>(header: [&str; N], left: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for (at, column) in table.column_iter_mut().enumerate() {
        if !left.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn lines(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn functions(page: &Value) -> String {
    let functions: Vec<&Value> = page["functions"].as_array().into_iter().flatten().collect();
    if functions.is_empty() {
        return "nothing runs, and nothing ran lately".to_owned();
    }
    let mut table = table(
        [
            "FUNCTION",
            "BUSY",
            "IDLE",
            "OTHER",
            "WAITING",
            "PROVISIONED",
            "INV/S",
            "CPU",
            "MEMORY",
            "COLD",
            "ERRORS",
            "THROTTLED",
            "LAST",
        ],
        &[0, 12],
    );
    for function in functions {
        let number = |member: &str| function[member].as_f64().unwrap_or(0.0);
        let states: BTreeMap<&str, u64> = function["states"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(state, count)| (state.as_str(), count.as_u64().unwrap_or(0)))
            .collect();
        let of = |state: &str| states.get(state).copied().unwrap_or(0);
        let other = states.values().sum::<u64>().saturating_sub(of("busy") + of("idle"));
        let count = |member: &str| grouped(function[member].as_u64().unwrap_or(0));
        table.add_row([
            function["name"].as_str().unwrap_or("?").to_owned(),
            of("busy").to_string(),
            of("idle").to_string(),
            other.to_string(),
            count("waiting"),
            function["provisioned"].as_u64().filter(|wanted| *wanted > 0).map_or_else(|| "-".to_owned(), grouped),
            format!("{:.1}", number("invocations_per_second")),
            format!("{:.0} %", number("processors") * 100.0),
            function["memory_bytes"].as_u64().filter(|bytes| *bytes > 0).map_or_else(|| "-".to_owned(), size),
            count("cold"),
            count("errors"),
            count("throttles"),
            function["last"]["start"].as_str().unwrap_or("-").to_owned(),
        ]);
    }
    lines(&table)
}

fn environments(page: &Value) -> String {
    let environments: Vec<&Value> = page["environments"].as_array().into_iter().flatten().collect();
    if environments.is_empty() {
        return String::new();
    }
    let mut table = table(
        [
            "ENVIRONMENT",
            "FUNCTION",
            "VERSION",
            "STATE",
            "FOR",
            "AGE",
            "USES",
            "STARTED IN",
            "ORIGIN",
            "ISOLATION",
            "CPU",
            "MEMORY",
            "PEAK",
            "OF",
        ],
        &[0, 1, 2, 3, 8, 9],
    );
    let duration = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), age);
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let bytes = |value: &Value| value.as_u64().filter(|bytes| *bytes > 0).map_or_else(|| "-".to_owned(), size);
    for environment in environments {
        let frozen = if environment["frozen"] == true { " (frozen)" } else { "" };
        let state = format!("{}{frozen}", word(&environment["state"]));
        let colour = match environment["state"].as_str().unwrap_or_default() {
            "busy" | "settling" => anstyle::AnsiColor::Green.on_default(),
            "starting" | "stopping" => anstyle::AnsiColor::Yellow.on_default(),
            _ => anstyle::Style::new(),
        };
        table.add_row([
            format!("e{}", environment["id"].as_u64().unwrap_or(0)),
            word(&environment["function"]).rsplit(':').next().unwrap_or_default().to_owned(),
            word(&environment["version"]),
            format!("{colour}{state}{colour:#}"),
            duration(&environment["in_state_ms"]),
            duration(&environment["age_ms"]),
            grouped(environment["invocations"].as_u64().unwrap_or(0)),
            environment["start_ms"].as_f64().map_or_else(|| "-".to_owned(), millis),
            word(&environment["origin"]),
            word(&environment["isolation"]),
            format!("{:.0} %", environment["cpu_share"].as_f64().unwrap_or(0.0) * 100.0),
            bytes(&environment["memory_bytes"]),
            bytes(&environment["memory_bytes_max"]),
            format!("{} MiB", environment["memory_mib"].as_u64().unwrap_or(0)),
        ]);
    }
    lines(&table)
}

fn recent(page: &Value) -> String {
    let recent: Vec<&Value> = page["recent"].as_array().into_iter().flatten().collect();
    if recent.is_empty() {
        return String::new();
    }
    let mut table = table(
        [
            "REQUEST",
            "AT",
            "VERSION",
            "ENDED",
            "START",
            "ORIGIN",
            "QUEUE",
            "INIT",
            "RUN",
            "BILLED",
            "CPU",
            "PEAK",
            "IN",
            "OUT",
            "ISOLATION",
        ],
        &[0, 1, 2, 3, 4, 5, 14],
    );
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let duration = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), millis);
    let bytes = |value: &Value| size(value.as_u64().unwrap_or(0));
    for one in recent {
        table.add_row([
            word(&one["request_id"]),
            word(&one["at"]),
            word(&one["version"]),
            word(&one["ending"]),
            word(&one["start"]),
            word(&one["origin"]),
            duration(&one["queue_ms"]),
            duration(&one["init_ms"]),
            duration(&one["duration_ms"]),
            format!("{} ms", one["billed_ms"].as_u64().unwrap_or(0)),
            duration(&one["cpu_ms"]),
            bytes(&one["memory_bytes_max"]),
            bytes(&one["bytes_in"]),
            bytes(&one["bytes_out"]),
            word(&one["isolation"]),
        ]);
    }
    lines(&table)
}

/// `850 ms`, `12 s`, `3 m`, `2 h`, `4 d`: what a glance needs.
fn age(millis: f64) -> String {
    let seconds = millis / 1e3;
    match seconds {
        s if s < 1.0 => format!("{millis:.0} ms"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} m", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_cut_by_what_is_visible() {
        for (line, columns, kept) in [
            ("abcdef", 3, "abc"),
            ("\x1b[32mabc\x1b[0mdef", 4, "\x1b[32mabc\x1b[0md"),
            ("\x1b[32mabcdef\x1b[0m", 2, "\x1b[32mab\x1b[0m"),
            ("ab", 5, "ab"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(line, columns), kept, "{line:?}");
        }
    }

    #[test]
    fn ages_are_short() {
        for (millis, text) in
            [(850.0, "850 ms"), (12_000.0, "12 s"), (180_000.0, "3 m"), (7_200_000.0, "2 h"), (345_600_000.0, "4 d")]
        {
            assert_eq!(age(millis), text);
        }
    }

    #[test]
    fn pages_of_any_shape_are_shown() {
        let options = args::Top { once: true, function: Some("a".to_owned()) };
        for page in [json!({}), json!({ "environments": [{}], "functions": [{}], "recent": [{}] }), json!([1])] {
            assert!(text(&page, &options).contains("environment"), "{page}");
        }
    }
}
