//! Schedule expressions of EventBridge rules and EventBridge Scheduler: `at(…)`, `rate(…)`, `cron(…)`.
//!
//! [`Schedule::parse`] reads one; [`Schedule::next`] tells when it is due next, in a time zone. Pure: the caller brings the
//! time, and the zones are part of the program.
//!
//! Guarantees: no text makes it panic; a search for the next time ends after [`YEAR_MAX`]. Where clocks are put forward, a
//! time that does not exist that day is passed over; where they are put back, a time that comes twice is due once, the
//! first time. A rate does not know of clocks.
//!
//! Source: Amazon EventBridge User Guide, "Cron expressions"; EventBridge Scheduler User Guide, "Schedule types" and
//! "Daylight savings time".

mod cron;
mod fields;

use base_types::Timestamp;
pub use cron::Cron;
pub use jiff::tz::TimeZone;
use jiff::{
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZoneDatabase},
};

/// The last year that a cron expression can name.
pub const YEAR_MAX: i16 = 2199;

/// Whose dialect it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// EventBridge rules: no `at`, and `rate(1 minutes)` is wrong.
    Rules,
    /// EventBridge Scheduler.
    Scheduler,
}

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Once, at this civil time of the zone.
    At(DateTime),
    /// Every so many minutes.
    Rate {
        /// At least 1.
        minutes: u64,
    },
    /// At the times that have these minutes, hours, days, months and years.
    Cron(Box<Cron>),
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither `at(…)`, `rate(…)` nor `cron(…)`.
    #[error("`{0}` is not of the form at(…), rate(…) or cron(…)")]
    Form(String),
    /// `at` of something that is no time.
    #[error("`{0}` is not a time of the form yyyy-mm-ddThh:mm:ss")]
    Time(String),
    /// `at` where only rates and cron expressions are known.
    #[error("at(…) is for schedules, not for rules")]
    AtInRule,
    /// A wrong rate.
    #[error("`{0}` is not a number and a unit: minute, minutes, hour, hours, day or days")]
    Rate(String),
    /// `1 minutes` or `2 minute`.
    #[error("a value of 1 wants a unit in the singular, any other in the plural: `{0}`")]
    Plural(String),
    /// Not six fields.
    #[error("a cron expression has 6 fields, this one {0}")]
    Fields(usize),
    /// A wrong field.
    #[error("field {field}: `{text}` {reason}")]
    Field {
        /// AWS's name.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `?` in both or in none.
    #[error("exactly one of day-of-month and day-of-week has to be `?`")]
    Days,
}

/// A time zone by its IANA name; none when there is no such zone.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ScheduleError`], which says what is wrong with it. AWS's own message only repeats the expression; it is the
    /// service's to write.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, ScheduleError> {
        let form = || ScheduleError::Form(shown(text));
        let (name, rest) = text.trim().split_once('(').ok_or_else(form)?;
        let inner = rest.strip_suffix(')').ok_or_else(form)?;
        match name {
            "at" if dialect == Dialect::Rules => Err(ScheduleError::AtInRule),
            "at" => at(inner),
            "rate" => rate(inner, dialect),
            "cron" => Cron::parse(inner).map(|cron| Self::Cron(Box::new(cron))),
            _ => Err(form()),
        }
    }

    /// The first time after `after` at which it is due; none when it never is again. `start` is what a rate counts from:
    /// its first time is `start` itself.
    #[must_use]
    pub fn next(&self, after: Timestamp, start: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::At(time) => {
                // A time that clocks pass over is due when they have.
                let due = timestamp(zone.to_timestamp(*time).ok()?)?;
                (due > after).then_some(due)
            }
            Self::Rate { minutes } => {
                if after < start {
                    return Some(start);
                }
                let step = minutes.checked_mul(60_000)?;
                let rounds = (after.as_millis() - start.as_millis()) / step + 1;
                let due = rounds.checked_mul(step)?.checked_add(start.as_millis())?;
                (due <= Timestamp::MAX.as_millis()).then(|| Timestamp::from_millis(due))
            }
            Self::Cron(cron) => {
                let from = jiff::Timestamp::from_millisecond(i64::try_from(after.as_millis()).ok()?).ok()?;
                let mut civil = zone.to_datetime(from);
                loop {
                    civil = cron.next_after(civil)?;
                    let ambiguous = zone.to_ambiguous_timestamp(civil);
                    if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
                        continue;
                    }
                    let due = timestamp(ambiguous.earlier().ok()?)?;
                    if due > after {
                        return Some(due);
                    }
                }
            }
        }
    }
}

fn timestamp(at: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_millis)
}

fn at(text: &str) -> Result<Schedule, ScheduleError> {
    let wrong = || ScheduleError::Time(shown(text));
    // The library reads more forms than AWS does.
    let shape = text.len() == 19
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !shape {
        return Err(wrong());
    }
    text.parse().map(Schedule::At).map_err(|_| wrong())
}

fn rate(text: &str, dialect: Dialect) -> Result<Schedule, ScheduleError> {
    let wrong = || ScheduleError::Rate(shown(text));
    let mut words = text.split_whitespace();
    let (Some(value), Some(unit), None) = (words.next(), words.next(), words.next()) else { return Err(wrong()) };
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let value: u64 = value.parse::<u32>().map_err(|_| wrong())?.into();
    let (minutes, plural) = match unit {
        "minute" => (1, false),
        "minutes" => (1, true),
        "hour" => (60, false),
        "hours" => (60, true),
        "day" => (1440, false),
        "days" => (1440, true),
        _ => return Err(wrong()),
    };
    match value {
        0 => Err(wrong()),
        _ if dialect == Dialect::Rules && plural == (value == 1) => Err(ScheduleError::Plural(shown(text))),
        _ => Ok(Schedule::Rate { minutes: value * minutes }),
    }
}

/// The beginning of a text that may be of any length.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
