//! The tables of this room.

mod clients;
mod limits;
mod pools;
mod settings;
mod tenants;
mod usage;

use super::table::ShowTable;

/// All of them, in the order of SHOW HELP.
pub(super) fn all() -> Vec<Box<dyn ShowTable>> {
    vec![
        Box::new(tenants::TENANTS),
        Box::new(pools::POOLS),
        Box::new(clients::CLIENTS),
        Box::new(pools::SERVERS),
        Box::new(pools::STATS),
        Box::new(limits::LIMITS),
        Box::new(usage::USAGE),
        Box::new(settings::CONFIG),
        Box::new(settings::VERSION),
    ]
}

/// A moment as `2026-11-25 22:41:43 UTC`.
pub fn moment(time: std::time::SystemTime) -> String {
    let seconds = time.duration_since(std::time::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(i64::try_from(days).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// The Gregorian date of a day counted from 1970-01-01. Years begin in March here, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn moments_are_dates() {
        let at = |seconds| moment(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(at(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(at(1_795_646_503), "2026-11-25 22:41:43 UTC");
    }
}
