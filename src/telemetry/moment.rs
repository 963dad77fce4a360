//! Moments as people and other programs read them (RFC 3339): `2026-11-22T07:11:03.250Z`.

use std::time::SystemTime;
use time::OffsetDateTime;

/// A moment in that form; what lies before 1970 as its beginning.
#[must_use]
pub fn written_moment(moment: SystemTime) -> String {
    let moment = OffsetDateTime::from(moment.max(SystemTime::UNIX_EPOCH));
    let (year, month, day) = moment.to_calendar_date();
    let (hour, minute, second, millis) = moment.to_hms_milli();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[track_caller]
    fn check(millis: u64, expected: &str) {
        assert_eq!(written_moment(UNIX_EPOCH + Duration::from_millis(millis)), expected);
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
}
