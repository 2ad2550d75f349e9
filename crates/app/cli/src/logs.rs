//! `pileus logs NAME [-f]`: a function's log, and what keeps arriving.
//!
//! Guarantee: every event is printed once, in the order of arrival; following looks back a little on every round, because
//! an event may become visible after a later one.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use base_types::Timestamp;
use serde_json::{Value, json};

use crate::{
    args,
    cloud::{Cloud, object},
    failure::{Failure, Outcome},
    screen::Screen,
};

const POLL_EVERY: Duration = Duration::from_millis(500);
/// How far each round looks back behind the newest event seen.
const OVERLAP_MS: u64 = 5_000;
/// Identifiers of printed events that are remembered: more than fit into the overlap.
const SEEN_MAX: usize = 100_000;

/// The identifiers printed lately.
#[derive(Default)]
struct Seen {
    set: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether the event is new; it is not the next time.
    fn first(&mut self, id: &str) -> bool {
        if !self.set.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}

/// Runs the command; following ends only with the process or a failure.
pub(crate) async fn run(cloud: &Cloud, screen: Screen, options: &args::Logs) -> Outcome<()> {
    let age = age(&options.since)?;
    let group =
        if options.name.starts_with('/') { options.name.clone() } else { format!("/aws/lambda/{}", options.name) };
    let mut seen = Seen::default();
    let mut from = millis(cloud.env().now()).saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let mut waiting_said = false;
    loop {
        match round(cloud, screen, &group, options.filter.as_deref(), from, &mut seen).await? {
            Some(newest) => from = from.max(newest.saturating_sub(OVERLAP_MS)),
            None if options.follow => {
                if !waiting_said {
                    screen.note(&format!("{group} does not exist yet; waiting for it"));
                    waiting_said = true;
                }
            }
            None => {
                return Err(Failure::new(format!("there is no log group {group}"))
                    .remedy("a function's log begins with its first invocation"));
            }
        }
        if !options.follow {
            return Ok(());
        }
        cloud.env().sleep(POLL_EVERY).await;
    }
}

/// Prints every event at or after `from`; the newest time stamp, or nothing if the group does not exist.
async fn round(
    cloud: &Cloud,
    screen: Screen,
    group: &str,
    pattern: Option<&str>,
    from: u64,
    seen: &mut Seen,
) -> Outcome<Option<u64>> {
    let mut newest = from;
    let mut token: Option<String> = None;
    loop {
        let request = object(vec![
            ("logGroupName", json!(group)),
            ("startTime", json!(from)),
            ("filterPattern", json!(pattern)),
            ("nextToken", json!(token)),
        ]);
        let page = match cloud.logs("FilterLogEvents", &request).await? {
            Ok(page) => page,
            Err(refusal) if refusal.is_not_found() => return Ok(None),
            Err(refusal) => return Err(refusal.failure(format!("cannot read {group}"))),
        };
        for event in page["events"].as_array().into_iter().flatten() {
            newest = newest.max(event["timestamp"].as_u64().unwrap_or(0));
            let id = event["eventId"].as_str().unwrap_or_default();
            if id.is_empty() || seen.first(id) {
                print(screen, event);
            }
        }
        match page["nextToken"].as_str() {
            Some(next) if !next.is_empty() => token = Some(next.to_owned()),
            _ => return Ok(Some(newest)),
        }
    }
}

fn print(screen: Screen, event: &Value) {
    let message = event["message"].as_str().unwrap_or_default();
    let time = Timestamp::from_millis(event["timestamp"].as_u64().unwrap_or(0));
    let dim = anstyle::Style::new().dimmed();
    screen.result(event, &format!("{dim}{time}{dim:#} {}", message.trim_end_matches('\n')));
}

fn millis(time: Timestamp) -> u64 {
    time.as_millis()
}

/// `30s`, `10m`, `2h`, `7d`.
pub(crate) fn age(text: &str) -> Outcome<Duration> {
    let seconds = text
        .char_indices()
        .next_back()
        .and_then(|(at, unit)| Some((text.get(..at)?.parse::<u64>().ok()?, unit)))
        .and_then(|(count, unit)| {
            let each = match unit {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return None,
            };
            count.checked_mul(each)
        });
    seconds.map(Duration::from_secs).ok_or_else(|| {
        Failure::new(format!("`{text}` is no age")).remedy("write a number and s, m, h or d, such as 10m")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        let rows = [("30s", Some(30)), ("10m", Some(600)), ("2h", Some(7_200)), ("7d", Some(604_800))];
        let wrong = ["", "10", "m", "-1m", "1w", "99999999999999999999d", "18446744073709551615d", "1é"];
        for (text, seconds) in rows.into_iter().chain(wrong.map(|text| (text, None))) {
            assert_eq!(age(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_event_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.first("a") && seen.first("b") && !seen.first("a"));
    }

    #[test]
    fn memory_of_events_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..=SEEN_MAX {
            assert!(seen.first(&number.to_string()));
        }
        assert_eq!((seen.set.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
    }
}
