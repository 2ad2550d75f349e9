//! Schedules through the crate's public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base_types::Timestamp;
use lang_schedule::{Dialect, Schedule, ScheduleError, zone};

mod property;

fn at(text: &str) -> Timestamp {
    let at: jiff::Timestamp = text.parse().unwrap();
    Timestamp::from_millis(u64::try_from(at.as_millisecond()).unwrap())
}

/// The next times after a first, in UTC.
fn times(expression: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(expression, Dialect::Scheduler).unwrap();
    let zone = zone(zone_name).unwrap();
    let mut now = at(after);
    let start = now;
    let mut found = Vec::new();
    while found.len() < count
        && let Some(next) = schedule.next(now, start, &zone)
    {
        assert!(next > now || matches!(schedule, Schedule::Rate { .. }));
        now = next;
        found.push(next.to_iso8601());
    }
    found
}

#[test]
fn cron_expressions_are_due_when_the_guide_says() {
    for (expression, after, expected) in [
        ("cron(0 10 * * ? *)", "2026-01-01T10:00:00Z", vec!["2026-01-02T10:00:00Z", "2026-01-03T10:00:00Z"]),
        ("cron(15 12 * * ? *)", "2026-01-01T10:00:30Z", vec!["2026-01-01T12:15:00Z"]),
        ("cron(0 18 ? * MON-FRI *)", "2026-01-02T18:00:00Z", vec!["2026-01-05T18:00:00Z", "2026-01-06T18:00:00Z"]),
        ("cron(0 8 1 * ? *)", "2026-01-01T08:00:00Z", vec!["2026-02-01T08:00:00Z"]),
        ("cron(0/15 * * * ? *)", "2026-01-01T23:40:00Z", vec!["2026-01-01T23:45:00Z", "2026-01-02T00:00:00Z"]),
        ("cron(*/15 * * * ? *)", "2026-01-01T00:14:59Z", vec!["2026-01-01T00:15:00Z"]),
        ("cron(0/10 * ? * MON-FRI *)", "2026-01-02T23:50:00Z", vec!["2026-01-05T00:00:00Z"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", "2026-01-02T17:55:00Z", vec!["2026-01-05T08:00:00Z"]),
        ("cron(0/30 20-2 ? * MON-FRI *)", "2026-01-05T02:30:00Z", vec!["2026-01-05T20:00:00Z"]),
        ("cron(1-31/30 1-1 ? * 1,7 *)", "2026-01-03T01:01:00Z", vec!["2026-01-03T01:31:00Z", "2026-01-04T01:01:00Z"]),
        ("cron(0 0 L * ? *)", "2026-01-31T00:00:00Z", vec!["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]),
        ("cron(0 0 LW * ? *)", "2026-01-31T00:00:00Z", vec!["2026-02-27T00:00:00Z", "2026-03-31T00:00:00Z"]),
        // The 15th of March 2026 is a Sunday, the 1st of August 2026 a Saturday.
        ("cron(0 0 15W 3 ? *)", "2026-01-01T00:00:00Z", vec!["2026-03-16T00:00:00Z"]),
        ("cron(0 0 1W 8 ? *)", "2026-01-01T00:00:00Z", vec!["2026-08-03T00:00:00Z"]),
        ("cron(0 0 31W 5 ? *)", "2026-01-01T00:00:00Z", vec!["2026-05-29T00:00:00Z"]),
        ("cron(0 0 ? * 3#2 *)", "2026-01-01T00:00:00Z", vec!["2026-01-13T00:00:00Z", "2026-02-10T00:00:00Z"]),
        ("cron(0 0 ? * 6L *)", "2026-01-01T00:00:00Z", vec!["2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z"]),
        ("cron(0 0 ? * L *)", "2026-01-01T00:00:00Z", vec!["2026-01-03T00:00:00Z", "2026-01-10T00:00:00Z"]),
        ("cron(0 0 29 2 ? *)", "2026-01-01T00:00:00Z", vec!["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("cron(0 0 1 jan ? 2030,2040)", "2026-01-01T00:00:00Z", vec!["2030-01-01T00:00:00Z", "2040-01-01T00:00:00Z"]),
        ("cron(0 0 ? * FRI-SUN *)", "2026-01-02T00:00:00Z", vec!["2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"]),
    ] {
        assert_eq!(times(expression, "UTC", after, expected.len()), expected, "{expression}");
    }
    for never in ["cron(0 0 30 2 ? *)", "cron(0 0 1 1 ? 1999)"] {
        assert_eq!(times(never, "UTC", "2026-01-01T00:00:00Z", 1), Vec::<String>::new(), "{never}");
    }
}

#[test]
fn a_time_that_clocks_pass_over_is_left_out_and_one_that_comes_twice_is_due_once() {
    // New York: forward on 2026-03-08 at 2, back on 2026-11-01 at 2.
    assert_eq!(
        times("cron(30 2 * * ? *)", "America/New_York", "2026-03-07T00:00:00Z", 3),
        ["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"]
    );
    assert_eq!(
        times("cron(30 1 * * ? *)", "America/New_York", "2026-10-31T12:00:00Z", 2),
        ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]
    );
    // Every half hour: the hour that comes again is not due again.
    assert_eq!(
        times("cron(0/30 * * * ? *)", "America/New_York", "2026-11-01T04:45:00Z", 4),
        ["2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z", "2026-11-01T07:00:00Z", "2026-11-01T07:30:00Z"]
    );
    assert_eq!(
        times("at(2026-11-01T01:30:00)", "America/New_York", "2026-01-01T00:00:00Z", 2),
        ["2026-11-01T05:30:00Z"]
    );
    assert_eq!(
        times("at(2026-03-08T02:30:00)", "America/New_York", "2026-01-01T00:00:00Z", 2),
        ["2026-03-08T07:30:00Z"]
    );
    // Half an hour, on Lord Howe.
    assert_eq!(
        times("cron(15 2 * * ? *)", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
        ["2026-10-04T15:15:00Z", "2026-10-05T15:15:00Z"]
    );
}

#[test]
fn a_year_of_a_schedule_has_the_days_that_the_year_has() {
    for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"] {
        let days = times("cron(0 12 * * ? *)", zone, "2025-12-31T23:59:59Z", 400);
        let year = days.iter().filter(|day| day.starts_with("2026-")).count();
        assert!((364..=366).contains(&year), "{zone}: {year}");
    }
    assert_eq!(times("cron(* * * * ? 2027)", "UTC", "2026-01-01T00:00:00Z", 600_000).len(), 525_600);
}

#[test]
fn a_rate_counts_from_its_start_and_knows_no_clocks() {
    let rate = Schedule::parse("rate(5 minutes)", Dialect::Rules).unwrap();
    let (zone, start) = (zone("Europe/Berlin").unwrap(), at("2026-03-29T00:58:00Z"));
    let next = |after: &str| rate.next(at(after), start, &zone).unwrap().to_iso8601();
    assert_eq!(next("2026-03-29T00:00:00Z"), "2026-03-29T00:58:00Z");
    assert_eq!(next("2026-03-29T00:58:00Z"), "2026-03-29T01:03:00Z");
    assert_eq!(next("2026-03-29T01:03:00.001Z"), "2026-03-29T01:08:00Z");
    for (text, minutes) in
        [("rate(1 minute)", 1), ("rate(2 hours)", 120), ("rate(1 day)", 1440), ("rate(7 days)", 10_080)]
    {
        assert_eq!(Schedule::parse(text, Dialect::Rules).unwrap(), Schedule::Rate { minutes });
    }
}

#[test]
fn what_is_no_schedule_is_refused_with_the_reason() {
    for text in [
        "",
        "rate",
        "rate(5 minutes",
        "rate()",
        "rate(5)",
        "rate(5 seconds)",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "rate(5.5 hours)",
        "rate(99999999999 days)",
        "cron()",
        "cron(* * * * *)",
        "cron(* * * * * *)",
        "cron(* * ? * ? *)",
        "cron(60 * * * ? *)",
        "cron(* 24 * * ? *)",
        "cron(* * 0 * ? *)",
        "cron(* * 32 * ? *)",
        "cron(* * * 13 ? *)",
        "cron(* * ? * 8 *)",
        "cron(* * ? * 0 *)",
        "cron(* * * * ? 1969)",
        "cron(* * * * ? 2200)",
        "cron(*/0 * * * ? *)",
        "cron(a * * * ? *)",
        "cron(, * * * ? *)",
        "cron(1- * * * ? *)",
        "cron(* * ? * 2#6 *)",
        "cron(* * ? * 2#1,3#1 *)",
        "cron(* * ? * W *)",
        "cron(* * W * ? *)",
        "cron(* * LL * ? *)",
        "cron(* * * * ? 2030-2029)",
        "at(2026-01-01)",
        "at(2026-13-01T00:00:00)",
        "at(2026-01-01T00:00:00Z)",
        "at(2026-01-01 00:00:00)",
        "every(5 minutes)",
        "cron(? * * * ? *)",
    ] {
        let error = Schedule::parse(text, Dialect::Scheduler).unwrap_err();
        assert!(!error.to_string().is_empty(), "{text}");
    }
    assert_eq!(Schedule::parse("at(2026-01-01T00:00:00)", Dialect::Rules), Err(ScheduleError::AtInRule));
    for text in ["rate(1 minutes)", "rate(2 minute)"] {
        assert!(matches!(Schedule::parse(text, Dialect::Rules), Err(ScheduleError::Plural(_))), "{text}");
        assert!(Schedule::parse(text, Dialect::Scheduler).is_ok(), "{text}");
    }
    assert!(zone("Mars/Olympus").is_none());
}
