//! Moments as TorchServe writes them: `2026-11-22T07:11:03.250Z`.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in that form; what lies before 1970 as its beginning.
pub(super) fn format(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of the day with this number, counted from 1970-01-01.
///
/// Years are counted from March on, so that the leap day is a year's last, and 400 of them always
/// have 146,097 days; from March on months have 153 days in five.
fn date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, in_era) = (days / 146_097, days % 146_097);
    let leap_days = in_era / 1460 - in_era / 36_524 + in_era / 146_096;
    let in_era_years = (in_era - leap_days) / 365;
    let in_year = in_era - (365 * in_era_years + in_era_years / 4 - in_era_years / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + in_era_years + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[track_caller]
    fn check(millis: u64, expected: &str) {
        assert_eq!(format(UNIX_EPOCH + Duration::from_millis(millis)), expected);
    }

    #[test]
    fn moments_have_their_dates() {
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(951_868_800_000, "2000-03-01T00:00:00.000Z");
        check(1_795_331_463_250, "2026-11-22T07:11:03.250Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..100_000 {
            let (year, month, of_month) = date(day);
            let same = (year, month, of_month) == (before.0, before.1, before.2 + 1);
            let begins = of_month == 1 && before.2 >= 28;
            let turns = (year, month) == (before.0, before.1 + 1)
                || (year, month, before.1) == (before.0 + 1, 1, 12);
            assert!(same || (begins && turns), "{before:?} to {:?}", (year, month, of_month));
            before = (year, month, of_month);
        }
    }
}
