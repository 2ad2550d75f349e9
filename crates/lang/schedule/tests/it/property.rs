//! Expressions of any kind: nothing breaks, every time found is one that the expression names, and none is passed over.

use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 6] =
    ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"];

/// A field as it is written: a list of values, ranges and steps, or a star.
fn a_field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let value = least..=most;
    let part = prop_oneof![
        3 => value.clone().prop_map(|value| value.to_string()),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (value, 1..=most).prop_map(|(from, step)| format!("{from}/{step}")),
    ];
    prop_oneof![1 => Just("*".to_owned()), 2 => prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(","))]
}

/// What a field means, read another way than the crate reads it.
fn has(field: &str, value: u32, most: u32) -> bool {
    field.split(',').any(|part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step: u32 = step.map_or(1, |step| step.parse().unwrap());
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None if range == "*" => (0, most),
            None if part.contains('/') => (range.parse().unwrap(), most),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        value >= from && value <= to && (value - from).is_multiple_of(step)
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(inner in "[0-9*,/?LW#A-Z -]{0,40}", junk in "\\PC{0,40}") {
        for text in [format!("cron({inner})"), format!("rate({inner})"), format!("at({inner})"), junk] {
            if let Ok(schedule) = Schedule::parse(&text, Dialect::Scheduler) {
                let zone = zone("America/New_York").unwrap();
                let after = at("2026-06-01T00:00:00Z");
                let next = schedule.next(after, after, &zone);
                prop_assert!(next.is_none_or(|next| next > after));
            }
        }
    }

    #[test]
    fn nothing_lies_between_now_and_the_next_time(
        minute in 0u32..60, hour in 0u32..24, step in 1u32..30, day in 1u32..29, offset in 0u64..500_000,
    ) {
        // The oracle tries every minute.
        let text = format!("cron({minute}/{step} {hour} {day} * ? *)");
        let schedule = Schedule::parse(&text, Dialect::Rules).unwrap();
        let utc = zone("UTC").unwrap();
        let after = Timestamp::from_millis(at("2026-01-01T00:00:00Z").as_millis() + offset * 60_000);
        let next = schedule.next(after, after, &utc).unwrap();
        let mut candidate = after.as_millis() / 60_000 + 1;
        loop {
            let civil = utc.to_datetime(jiff::Timestamp::from_second(i64::try_from(candidate * 60).unwrap()).unwrap());
            let (m, h, d) = (civil.minute() as u32, civil.hour() as u32, civil.day() as u32);
            if m >= minute && (m - minute).is_multiple_of(step) && h == hour && d == day {
                break;
            }
            candidate += 1;
        }
        prop_assert_eq!(next.as_millis(), candidate * 60_000);
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let text = String::from_utf8_lossy(&bytes);
        for dialect in [Dialect::Rules, Dialect::Scheduler] {
            for text in [text.to_string(), format!("cron({text})"), format!("at({text})"), format!("rate({text})")] {
                if let Err(error) = Schedule::parse(&text, dialect) {
                    prop_assert!(error.to_string().len() < 1000);
                }
            }
        }
    }

    #[test]
    fn what_looks_like_cron_is_read_or_refused(
        fields in prop::collection::vec("[0-9]{1,5}|\\*|\\?|L|LW|[0-9]{1,2}W|[0-9]#[0-9]|[A-Z]{3}(-[A-Z]{3})?|[0-9*]+/[0-9]+", 5..8),
    ) {
        let text = format!("cron({})", fields.join(" "));
        if let Ok(schedule) = Schedule::parse(&text, Dialect::Scheduler) {
            let after = at("2026-06-01T00:00:00Z");
            let next = schedule.next(after, after, &zone("Europe/Berlin").unwrap());
            prop_assert!(next.is_none_or(|next| next > after), "{text}");
        }
    }

    #[test]
    fn each_time_has_what_the_fields_say_and_none_is_passed_over(
        minute in a_field(0, 59), hour in a_field(0, 23), day in a_field(1, 31), month in a_field(1, 12),
        zone_name in prop::sample::select(&ZONES[..]), offset in 0u64..500_000,
    ) {
        let text = format!("cron({minute} {hour} {day} {month} ? *)");
        let schedule = Schedule::parse(&text, Dialect::Scheduler).unwrap();
        let zone = zone(zone_name).unwrap();
        let after = Timestamp::from_millis(at("2026-01-01T00:00:00Z").as_millis() + offset * 60_000);
        let instant = |millis: u64| jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap();
        let civil = |millis: u64| zone.to_datetime(instant(millis));
        let fits = |at: &DateTime| {
            has(&minute, at.minute() as u32, 59)
                && has(&hour, at.hour() as u32, 23)
                && has(&day, at.day() as u32, 31)
                && has(&month, at.month() as u32, 12)
        };
        let next = schedule.next(after, after, &zone);
        if let Some(next) = next {
            prop_assert!(fits(&civil(next.as_millis())), "{text} {zone_name}: {next:?}");
        }
        // Three days, minute by minute: the oracle. What comes twice is due the first time.
        let first = after.as_millis() / 60_000 + 1;
        let due = (first..first + 3 * 1440).map(|minute| minute * 60_000).find(|millis| {
            let at = civil(*millis);
            fits(&at) && zone.to_ambiguous_timestamp(at).earlier().unwrap() == instant(*millis)
        });
        if let Some(due) = due {
            prop_assert_eq!(next.map(|next| next.as_millis()), Some(due), "{} {}", text, zone_name);
        } else {
            prop_assert!(next.is_none_or(|next| next.as_millis() >= (first + 3 * 1440) * 60_000), "{text} {zone_name}");
        }
    }
}
