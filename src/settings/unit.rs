//! Durations and sizes as people write them: a whole number and a unit.

use std::time::Duration;

/// The longest duration of any key, so that clock arithmetic cannot overflow.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Units of time, the largest first, in nanoseconds.
pub const TIME: [(&str, u64); 5] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Units of size, the binary ones first and the largest of each first, in bytes.
pub const SIZE: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// `"250ms"`; `None` for anything that is not a whole number of a known unit.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    multiply(text, &TIME).map(Duration::from_nanos)
}

/// A duration as [`duration`] reads it, in the largest unit that gives a whole number.
#[must_use]
pub fn print_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let exact = |(_, unit): &&(&str, u64)| nanos > 0 && nanos.is_multiple_of(u128::from(*unit));
    // Shorter than a microsecond is only nothing at all: every other value was read from a unit.
    let (name, unit) = TIME.iter().find(exact).unwrap_or(&("s", 1));
    format!("{}{name}", nanos / u128::from(*unit))
}

/// `"16MiB"`; `None` for anything that is not a whole number of a known unit.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    multiply(text, &SIZE)
}

/// A space between number and unit is allowed.
fn multiply(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}
