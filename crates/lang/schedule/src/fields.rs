//! The fields of a cron expression: sets of numbers, and the days that only a calendar knows.

use crate::{ScheduleError, YEAR_MAX};

/// What a field is about.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    names: &'static [&'static str],
}

pub(crate) const MINUTES: Field = Field { name: "minutes", min: 0, max: 59, names: &[] };
pub(crate) const HOURS: Field = Field { name: "hours", min: 0, max: 23, names: &[] };
pub(crate) const DAYS: Field = Field { name: "day-of-month", min: 1, max: 31, names: &[] };
pub(crate) const MONTHS: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
pub(crate) const WEEKDAYS: Field =
    Field { name: "day-of-week", min: 1, max: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };
pub(crate) const YEARS: Field = Field { name: "year", min: 1970, max: YEAR_MAX, names: &[] };

/// A set of numbers of one field, as bits from its least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    min: i16,
    bits: [u64; 4],
}

impl Set {
    fn empty(field: Field) -> Self {
        Self { min: field.min, bits: [0; 4] }
    }

    fn insert(&mut self, number: i16) {
        let bit = usize::try_from(number - self.min).unwrap_or(0);
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    pub(crate) fn contains(&self, number: i16) -> bool {
        usize::try_from(number - self.min).is_ok_and(|bit| bit < 256 && self.bits[bit / 64] & (1 << (bit % 64)) != 0)
    }

    /// The least number of the set that is not below `from`.
    pub(crate) fn next(&self, from: i16) -> Option<i16> {
        let last = self.min + 255;
        (from.max(self.min)..=last).find(|number| self.contains(*number))
    }
}

/// Which days of a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Days {
    /// By number, or the last ones.
    OfMonth {
        numbers: Set,
        last: bool,
        last_weekday: bool,
        /// The weekdays nearest to these.
        near: Vec<i16>,
    },
    /// By day of the week; 1 is Sunday.
    OfWeek {
        numbers: Set,
        /// The last ones of the month.
        last: Vec<i16>,
        /// The n-th one of the month.
        nth: Option<(i16, i16)>,
    },
}

impl Field {
    fn wrong(self, text: &str, reason: &'static str) -> ScheduleError {
        ScheduleError::Field { field: self.name, text: crate::shown(text), reason }
    }

    fn number(self, text: &str) -> Result<i16, ScheduleError> {
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.min + i16::try_from(index).unwrap_or(0));
        }
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number
            .filter(|number| (self.min..=self.max).contains(number))
            .ok_or_else(|| self.wrong(text, "is not one of its values"))
    }

    /// One part of a list into the set: `5`, `1-5`, `*`, each with or without `/step`.
    fn part(self, text: &str, set: &mut Set) -> Result<(), ScheduleError> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => {
                let number = (step.len() <= 4 && step.bytes().all(|byte| byte.is_ascii_digit()))
                    .then(|| step.parse::<i16>().ok())
                    .flatten()
                    .filter(|step| *step > 0);
                (range, Some(number.ok_or_else(|| self.wrong(text, "has a step that is no number above 0"))?))
            }
        };
        let (from, to) = if range == "*" {
            (self.min, self.max)
        } else if let Some((from, to)) = range.split_once('-') {
            (self.number(from)?, self.number(to)?)
        } else {
            let from = self.number(range)?;
            (from, if step.is_some() { self.max } else { from })
        };
        // A range may go over the end: FRI-MON. Years do not begin anew.
        let span = self.max - self.min + 1;
        let length = if to >= from {
            to - from
        } else if self.max == YEAR_MAX {
            return Err(self.wrong(text, "ends before it begins"));
        } else {
            to + span - from
        };
        for offset in (0..=length).step_by(usize::try_from(step.unwrap_or(1)).unwrap_or(1)) {
            set.insert(self.min + (from - self.min + offset) % span);
        }
        Ok(())
    }

    /// A list of numbers and ranges.
    pub(crate) fn set(self, text: &str) -> Result<Set, ScheduleError> {
        let mut set = Set::empty(self);
        for part in text.split(',') {
            self.part(part, &mut set)?;
        }
        Ok(set)
    }
}

/// The field day-of-month.
pub(crate) fn days_of_month(text: &str) -> Result<Days, ScheduleError> {
    let (mut numbers, mut last, mut last_weekday, mut near) = (Set::empty(DAYS), false, false, Vec::new());
    for part in text.split(',') {
        match part.to_ascii_uppercase().as_str() {
            "L" => last = true,
            "LW" => last_weekday = true,
            upper => match upper.strip_suffix('W') {
                Some(day) => near.push(DAYS.number(day)?),
                None => DAYS.part(part, &mut numbers)?,
            },
        }
    }
    Ok(Days::OfMonth { numbers, last, last_weekday, near })
}

/// The field day-of-week.
pub(crate) fn days_of_week(text: &str) -> Result<Days, ScheduleError> {
    let mut numbers = Set::empty(WEEKDAYS);
    if let Some((day, number)) = text.split_once('#') {
        let nth = number.parse().ok().filter(|number| (1..=5).contains(number));
        let nth = nth.ok_or_else(|| WEEKDAYS.wrong(text, "has no number from 1 to 5 after the #"))?;
        return Ok(Days::OfWeek { numbers, last: Vec::new(), nth: Some((WEEKDAYS.number(day)?, nth)) });
    }
    let mut last = Vec::new();
    for part in text.split(',') {
        if part.eq_ignore_ascii_case("L") {
            // The last day of the week.
            numbers.insert(WEEKDAYS.max);
        } else if let Some(day) = part.strip_suffix(['L', 'l']) {
            last.push(WEEKDAYS.number(day)?);
        } else {
            WEEKDAYS.part(part, &mut numbers)?;
        }
    }
    Ok(Days::OfWeek { numbers, last, nth: None })
}
