//! Days and months of UTC: what usage is kept by, and what quotas hold for.

use std::fmt;

use crate::config::PeriodLength;
use time::{Date, Month, OffsetDateTime};

/// A day or a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    length: PeriodLength,
    start: Date,
}

/// Today in UTC.
pub fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

impl Period {
    /// The period of this length that a day belongs to.
    pub fn containing(length: PeriodLength, day: Date) -> Self {
        let start = match length {
            PeriodLength::Day => day,
            // Each month has a first day.
            PeriodLength::Month => day.replace_day(1).unwrap_or(day),
        };
        Self { length, start }
    }

    /// Reads `2026-11` or `2026-11-25`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let year = parts.next().filter(|year| year.len() == 4)?.parse().ok()?;
        let month: u8 = parts.next().filter(|month| month.len() == 2)?.parse().ok()?;
        let day = parts.next();
        if parts.next().is_some() {
            return None;
        }
        let length = if day.is_some() { PeriodLength::Day } else { PeriodLength::Month };
        let day: u8 = day.map_or(Some(1), |day| if day.len() == 2 { day.parse().ok() } else { None })?;
        Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok().map(|start| Self { length, start })
    }

    /// Its first day.
    pub fn start(self) -> Date {
        self.start
    }

    /// The first day after it.
    pub fn end(self) -> Date {
        let next = match self.length {
            PeriodLength::Day => self.start.next_day(),
            PeriodLength::Month => {
                let (year, month) = (self.start.year(), self.start.month());
                let year = if month == Month::December { year.saturating_add(1) } else { year };
                Date::from_calendar_date(year, month.next(), 1).ok()
            }
        };
        next.unwrap_or(Date::MAX)
    }

    /// Whether a day belongs to it.
    #[cfg(test)]
    pub fn contains(self, day: Date) -> bool {
        self.start <= day && day < self.end()
    }
}

/// As [`Period::parse`] reads it.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.start;
        write!(f, "{:04}-{:02}", start.year(), u8::from(start.month()))?;
        match self.length {
            PeriodLength::Day => write!(f, "-{:02}", start.day()),
            PeriodLength::Month => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_of_the_calendar() {
        for (text, start, end) in [
            ("2026-11", "2026-11-01", "2026-12-01"),
            ("2026-12", "2026-12-01", "2027-01-01"),
            ("2028-02-29", "2028-02-29", "2028-03-01"),
            ("2026-12-31", "2026-12-31", "2027-01-01"),
        ] {
            let period = Period::parse(text).unwrap();
            assert_eq!(period.to_string(), text);
            assert_eq!((period.start().to_string().as_str(), period.end().to_string().as_str()), (start, end));
            assert_eq!(Period::containing(period.length, period.start()), period);
            assert!(period.contains(period.start()) && !period.contains(period.end()));
        }
        for bad in
            ["", "2026", "2026-13", "2026-00", "2026-02-30", "26-11", "2026-1", "2026-11-1", "2026-11-01-1", "x-y"]
        {
            assert_eq!(Period::parse(bad), None, "{bad}");
        }
    }
}
