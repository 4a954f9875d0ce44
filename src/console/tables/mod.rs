//! The tables of this room.

mod clients;
mod limits;
mod pools;
mod refusals;
mod settings;
mod tenants;
mod usage;

use std::time::SystemTime;

use time::OffsetDateTime;

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
        Box::new(refusals::REFUSALS),
        Box::new(refusals::LAST_REFUSALS),
        Box::new(settings::CONFIG),
        Box::new(settings::VERSION),
    ]
}

/// A moment as `2026-11-25 22:41:43 UTC`.
pub fn moment(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    // Beyond the year 9999 there is no calendar.
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!("{} {:02}:{:02}:{:02} UTC", time.date(), time.hour(), time.minute(), time.second())
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
        assert_eq!(at(253_402_300_799), "9999-12-31 23:59:59 UTC");
        assert_eq!(at(u64::MAX / 2), "1970-01-01 00:00:00 UTC");
    }
}
