//! AWS's cron expressions: minutes, hours, day-of-month, month, day-of-week, year.

use jiff::civil::{Date, DateTime, Weekday};

use crate::{
    ScheduleError, YEAR_MAX,
    fields::{self, Days, HOURS, MINUTES, MONTHS, Set, YEARS},
};

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: Set,
    hours: Set,
    months: Set,
    years: Set,
    days: Days,
}

impl Cron {
    /// Reads the six fields between the brackets.
    pub(crate) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_whitespace().take(100).collect();
        let [minutes, hours, day, month, weekday, year] = fields[..] else {
            return Err(ScheduleError::Fields(fields.len()));
        };
        let days = match (day, weekday) {
            ("?", "?") => return Err(ScheduleError::Days),
            (_, "?") => fields::days_of_month(day)?,
            ("?", _) => fields::days_of_week(weekday)?,
            _ => return Err(ScheduleError::Days),
        };
        Ok(Self {
            minutes: MINUTES.set(minutes)?,
            hours: HOURS.set(hours)?,
            months: MONTHS.set(month)?,
            years: YEARS.set(year)?,
            days,
        })
    }

    /// The first civil time after this one, in whole minutes.
    pub(crate) fn next_after(&self, after: DateTime) -> Option<DateTime> {
        let mut date = after.date();
        // The first day counts from the minute after; every later one from midnight.
        if self.has(date)
            && let Some((hour, minute)) = self.next_time(after.hour(), after.minute() + 1)
        {
            return Some(date.at(hour, minute, 0, 0));
        }
        loop {
            date = self.next_day(date)?;
            if let Some((hour, minute)) = self.next_time(0, 0) {
                return Some(date.at(hour, minute, 0, 0));
            }
        }
    }

    /// The first time of a day that is not before this one; `minute` may be 60.
    fn next_time(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        if self.hours.contains(hour.into())
            && let Some(minute) = self.minutes.next(minute.into()).filter(|minute| *minute <= MINUTES.max)
        {
            return Some((hour, i8::try_from(minute).ok()?));
        }
        let hour = self.hours.next(i16::from(hour) + 1).filter(|hour| *hour <= HOURS.max)?;
        let minute = self.minutes.next(0)?;
        Some((i8::try_from(hour).ok()?, i8::try_from(minute).ok()?))
    }

    /// The first day after this one.
    fn next_day(&self, date: Date) -> Option<Date> {
        let mut day = date.tomorrow().ok()?;
        while day.year() <= YEAR_MAX {
            if !self.years.contains(day.year()) {
                day = Date::new(self.years.next(day.year())?, 1, 1).ok()?;
            } else if !self.months.contains(day.month().into()) {
                day = day.last_of_month().tomorrow().ok()?;
            } else if self.has(day) {
                return Some(day);
            } else {
                day = day.tomorrow().ok()?;
            }
        }
        None
    }

    fn has(&self, date: Date) -> bool {
        self.years.contains(date.year()) && self.months.contains(date.month().into()) && self.has_day(date)
    }

    fn has_day(&self, date: Date) -> bool {
        let day = i16::from(date.day());
        let end = i16::from(date.days_in_month());
        match &self.days {
            Days::OfMonth { numbers, last, last_weekday, near } => {
                numbers.contains(day)
                    || (*last && day == end)
                    || (*last_weekday && nearest_weekday(date, end) == day)
                    || near.iter().any(|wanted| *wanted <= end && nearest_weekday(date, *wanted) == day)
            }
            Days::OfWeek { numbers, last, nth } => {
                let weekday = i16::from(date.weekday().to_sunday_one_offset());
                numbers.contains(weekday)
                    || (day + 7 > end && last.contains(&weekday))
                    || nth.is_some_and(|(wanted, n)| wanted == weekday && (day - 1) / 7 + 1 == n)
            }
        }
    }
}

/// The day from Monday to Friday that is nearest to the day of that number, in the same month.
fn nearest_weekday(month: Date, day: i16) -> i16 {
    let Some(date) = i8::try_from(day).ok().and_then(|day| Date::new(month.year(), month.month(), day).ok()) else {
        return 0;
    };
    let end = i16::from(date.days_in_month());
    match date.weekday() {
        Weekday::Saturday if day == 1 => day + 2,
        Weekday::Saturday => day - 1,
        Weekday::Sunday if day == end => day - 2,
        Weekday::Sunday => day + 1,
        _ => day,
    }
}
