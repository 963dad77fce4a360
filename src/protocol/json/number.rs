//! One number of JSON text, and its value in each datatype.
//!
//! A number is judged by its value and not by its spelling: `1.0` and `1e2` are integers, `1.5` is
//! not. Integers are exact or refused. FP32 and FP64 take the nearest value that they have, rounded
//! once; FP16 and BF16 round the nearest FP32. What rounds to infinity is out of range.

use super::window::{self, Decimal, MAX_FRACTION, Window};
use crate::tensor::{DataType, Element};
use half::{bf16, f16};

/// Most decimal digits that always fit a `u64`.
const U64_DIGITS: usize = 19;
/// An exponent beyond any that matters; digits past it are counted no further.
const MAX_EXPONENT: i64 = 1 << 40;

/// A number as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'a> {
    text: &'a [u8],
    is_negative: bool,
    /// All digits of the number, when there are at most [`U64_DIGITS`] of them.
    mantissa: Option<u64>,
    /// Power of ten that belongs to the digits.
    exponent: i64,
}

/// Why a number has no value in a datatype.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberFault {
    OutOfRange,
    NotAnInteger,
}

impl<'a> Number<'a> {
    /// Reads the number that `bytes` start with, and how long it is; otherwise what is wrong where.
    #[inline(always)]
    pub(super) fn scan(bytes: &'a [u8]) -> Result<(Self, usize), (&'static str, usize)> {
        let is_negative = bytes.first() == Some(&b'-');
        let start = usize::from(is_negative);
        let mut value = 0;
        let mut at = digits(bytes, start, &mut value);
        let mut n_digits = at - start;
        if n_digits == 0 {
            return Err(("expected a digit", at));
        }
        if n_digits > 1 && bytes[start] == b'0' {
            return Err(("a number with a leading zero", start));
        }
        let mut exponent = 0;
        if bytes.get(at) == Some(&b'.') {
            let end = fraction_digits(bytes, at + 1, &mut value);
            let n_fraction = end - (at + 1);
            if n_fraction == 0 {
                return Err(("expected a digit", end));
            }
            n_digits += n_fraction;
            exponent = -(n_fraction as i64);
            at = end;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let (written, end) = read_exponent(bytes, at + 1)?;
            exponent += written;
            at = end;
        }
        // Zeros in front are no digits of the mantissa.
        let fits = n_digits <= U64_DIGITS || n_digits - leading_zeros(bytes, start) <= U64_DIGITS;
        let mantissa = fits.then_some(value);
        Ok((Self { text: &bytes[..at], is_negative, mantissa, exponent }, at))
    }

    /// The number as a count; `None` when it is negative, no integer, or has more than 64 bits.
    pub(crate) fn to_u64(self) -> Option<u64> {
        u64::from_number(self).ok()
    }

    /// The number as written.
    pub(crate) fn text(&self) -> &'a str {
        std::str::from_utf8(self.text).expect("a JSON number consists of ASCII characters")
    }

    /// The digits as an `f64`, where there are few enough.
    #[inline]
    fn magnitude(&self) -> Option<(u64, f64, usize)> {
        let mantissa = self.mantissa?;
        Some((mantissa, mantissa as f64, usize::try_from(self.exponent.unsigned_abs()).ok()?))
    }

    #[inline]
    fn to_f64(self) -> f64 {
        match self.magnitude() {
            // One operation on exact operands is rounded once.
            Some((mantissa, value, exponent))
                if mantissa <= EXACT_F64 && exponent <= EXACT_POWER =>
            {
                let power = POWERS_OF_TEN[exponent];
                self.signed(if self.exponent < 0 { value / power } else { value * power })
            }
            _ => self.parse(),
        }
    }

    #[inline]
    fn to_f32(self) -> f32 {
        let estimate = self.magnitude().and_then(|(_, value, exponent)| {
            let powers = if self.exponent < 0 { &NEGATIVE_POWERS_OF_TEN } else { &POWERS_OF_TEN };
            round(self.signed(value * powers.get(exponent)?))
        });
        estimate.unwrap_or_else(|| self.parse())
    }

    #[inline]
    fn signed(&self, value: f64) -> f64 {
        if self.is_negative { -value } else { value }
    }

    #[cold]
    fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(self) -> T {
        self.text().parse().expect("JSON's numbers are a part of Rust's")
    }

    /// The exact value as an integer.
    #[inline]
    fn to_integer(self) -> Result<i128, NumberFault> {
        let magnitude = match self.mantissa {
            Some(mantissa) if self.exponent == 0 => u128::from(mantissa),
            _ => self.exact_magnitude()?,
        };
        let magnitude = i128::try_from(magnitude).map_err(|_| NumberFault::OutOfRange)?;
        Ok(if self.is_negative { -magnitude } else { magnitude })
    }

    /// The exact value without its sign, for numbers with a point, an exponent or many digits.
    #[cold]
    fn exact_magnitude(&self) -> Result<u128, NumberFault> {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let is_mantissa = |byte: &u8| !matches!(byte, b'e' | b'E');
        let digits = || self.text.iter().copied().take_while(is_mantissa).filter(is_digit);
        let Some(last) = digits().enumerate().filter(|&(_, digit)| digit != b'0').last() else {
            return Ok(0);
        };
        let n_significant = last.0 + 1;
        let n_trailing = digits().count() - n_significant;
        // Without its trailing zeros the number is an integer times this power of ten.
        let scale = self.exponent + n_trailing as i64;
        let scale = u32::try_from(scale).map_err(|_| {
            if scale < 0 { NumberFault::NotAnInteger } else { NumberFault::OutOfRange }
        })?;
        let mut value = 0u128;
        for digit in digits().take(n_significant) {
            let shifted = value.checked_mul(10).ok_or(NumberFault::OutOfRange)?;
            value = shifted.checked_add(u128::from(digit - b'0')).ok_or(NumberFault::OutOfRange)?;
        }
        let power = 10u128.checked_pow(scale).ok_or(NumberFault::OutOfRange)?;
        value.checked_mul(power).ok_or(NumberFault::OutOfRange)
    }
}

/// Zeros before the first digit that is none, of the number whose digits begin at `start`.
#[cold]
fn leading_zeros(bytes: &[u8], start: usize) -> usize {
    let digits = bytes[start..].iter().filter(|byte| **byte != b'.');
    digits.take_while(|byte| **byte == b'0').count()
}

/// The same for a fraction, where digits are many: eight of them at a time while there are as many.
#[inline]
fn fraction_digits(bytes: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let Some(digits) = eight_digits(u64::from_le_bytes(*chunk)) else { break };
        *value = value.wrapping_mul(100_000_000).wrapping_add(digits);
        at += 8;
    }
    digits(bytes, at, value)
}

/// The number that eight ASCII digits write, the first one in the lowest byte; `None` when one of
/// them is no digit. Neighbors are joined to pairs, pairs to fours, fours to eight.
#[inline]
fn eight_digits(ascii: u64) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_NIBBLES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A digit is 0x30 to 0x39: its high nibble is 3, and still is when 6 is added.
    let above_nine = ascii.wrapping_add(0x0606_0606_0606_0606);
    if (ascii & HIGH_NIBBLES) != ZEROS || (above_nine & HIGH_NIBBLES) != ZEROS {
        return None;
    }
    let ones = ascii - ZEROS;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// Adds the digits from `at` on to `value`, which wraps; returns where they end.
#[inline]
fn digits(bytes: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// The exponent that starts at `at`, behind its `e`.
fn read_exponent(bytes: &[u8], mut at: usize) -> Result<(i64, usize), (&'static str, usize)> {
    let sign = bytes.get(at).copied().filter(|byte| matches!(byte, b'+' | b'-'));
    at += usize::from(sign.is_some());
    let start = at;
    let mut value = 0i64;
    while let Some(byte) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
        value = (value * 10 + i64::from(byte - b'0')).min(MAX_EXPONENT);
        at += 1;
    }
    if at == start {
        return Err(("expected a digit", at));
    }
    Ok((if sign == Some(b'-') { -value } else { value }, at))
}

/// The nearest `f32` to a decimal number, by an estimate of it that is the product of an integer and
/// a power of ten. The integer, the power and the product are rounded to `f64` each, which moves the
/// value by less than [`DOUBT`] units in its last place: only an estimate that close to half-way
/// between two `f32` values could be rounded to the wrong side, and is `None`. The power is not below
/// 1e-37, so no estimate is a subnormal `f32`, which has its half-way elsewhere.
#[inline(always)]
fn round(estimate: f64) -> Option<f32> {
    const DOUBT: u64 = 4;
    const DROPPED: u64 = (1 << (f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS)) - 1;
    const HALF_WAY: u64 = (DROPPED >> 1) + 1;
    let is_clear = (estimate.to_bits() & DROPPED).abs_diff(HALF_WAY) > DOUBT;
    is_clear.then_some(estimate as f32)
}

/// Up to this all integers are exact in an `f64`.
const EXACT_F64: u64 = 1 << f64::MANTISSA_DIGITS;
/// Up to this the powers of ten are exact in an `f64`.
const EXACT_POWER: usize = 22;

/// Powers of ten, rounded to `f64`: those from which no normal `f32` is far.
const POWERS_OF_TEN: [f64; 38] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32,
    1e33, 1e34, 1e35, 1e36, 1e37,
];

/// Their reciprocals, rounded to `f64`: a multiplication is faster than a division.
const NEGATIVE_POWERS_OF_TEN: [f64; 38] = [
    1e-0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
    1e-15, 1e-16, 1e-17, 1e-18, 1e-19, 1e-20, 1e-21, 1e-22, 1e-23, 1e-24, 1e-25, 1e-26, 1e-27,
    1e-28, 1e-29, 1e-30, 1e-31, 1e-32, 1e-33, 1e-34, 1e-35, 1e-36, 1e-37,
];

/// A datatype whose elements are written as numbers.
pub(super) trait FromNumber: Element {
    fn from_number(number: Number<'_>) -> Result<Self, NumberFault>;

    /// The number that the window starts with and how long it is, if its spelling is a common one:
    /// the same as [`Number::scan`] and [`Self::from_number`] give, only faster.
    fn from_window(window: &Window) -> Option<(Self, usize)>;

    /// NaN or an infinity; `None` where there is none.
    fn from_non_finite(value: f64) -> Option<Self>;
}

macro_rules! integers {
    ($($rust:ty),*) => {
        $(impl FromNumber for $rust {
            #[inline]
            fn from_number(number: Number<'_>) -> Result<Self, NumberFault> {
                Self::try_from(number.to_integer()?).map_err(|_| NumberFault::OutOfRange)
            }

            #[inline(always)]
            fn from_window(window: &Window) -> Option<(Self, usize)> {
                let (value, len) = window::integer(window)?;
                Some((Self::try_from(value).ok()?, len))
            }

            fn from_non_finite(_value: f64) -> Option<Self> {
                None
            }
        })*
    };
}

macro_rules! floats {
    ($($rust:ty: $convert:expr, $estimate:expr, $from_f64:expr;)*) => {
        $(impl FromNumber for $rust {
            #[inline]
            fn from_number(number: Number<'_>) -> Result<Self, NumberFault> {
                let value: $rust = $convert(number);
                if value.is_finite() { Ok(value) } else { Err(NumberFault::OutOfRange) }
            }

            #[inline(always)]
            fn from_window(window: &Window) -> Option<(Self, usize)> {
                let decimal = window::decimal(window)?;
                $estimate(decimal).map(|value| (value, decimal.len))
            }

            fn from_non_finite(value: f64) -> Option<Self> {
                Some($from_f64(value))
            }
        })*
    };
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);
floats! {
    f64: Number::to_f64, Decimal::to_f64, f64::from;
    f32: Number::to_f32, Decimal::to_f32, |value| value as f32;
    f16: |number: Number<'_>| f16::from_f32(number.to_f32()),
        |decimal: Decimal| decimal.to_f32().map(f16::from_f32).filter(|value| value.is_finite()),
        f16::from_f64;
    bf16: |number: Number<'_>| bf16::from_f32(number.to_f32()),
        |decimal: Decimal| decimal.to_f32().map(bf16::from_f32),
        bf16::from_f64;
}

impl Decimal {
    /// The nearest `f64`, if it is found by one operation on exact operands.
    #[inline(always)]
    fn to_f64(self) -> Option<f64> {
        let is_exact = self.digits <= EXACT_F64 as i64;
        is_exact.then(|| self.signed(self.digits as f64 / POWERS_OF_TEN[self.n_fraction]))
    }

    /// The nearest `f32`, if it is clear which one that is.
    #[inline(always)]
    fn to_f32(self) -> Option<f32> {
        const _: () = assert!(MAX_FRACTION <= EXACT_POWER);
        round(self.signed(self.digits as f64 * NEGATIVE_POWERS_OF_TEN[self.n_fraction]))
    }

    /// Without a branch: the signs of data are random.
    #[inline(always)]
    fn signed(self, magnitude: f64) -> f64 {
        f64::from_bits(magnitude.to_bits() | u64::from(self.is_negative) << 63)
    }
}

impl NumberFault {
    /// The complaint about `number` as an element of `datatype`.
    pub(super) fn message(self, number: &str, datatype: DataType) -> String {
        match self {
            Self::OutOfRange => format!("{number} is out of range for {datatype}"),
            Self::NotAnInteger => format!("{number} is not an integer, as {datatype} takes"),
        }
    }
}

#[cfg(test)]
mod tests;
