//! One number of JSON text, and its value in each datatype.
//!
//! A number is judged by its value and not by its spelling: `1.0` and `1e2` are integers, `1.5` is
//! not. Integers are exact or refused. FP32 and FP64 take the nearest value that they have, rounded
//! once; FP16 and BF16 round the nearest FP32. What rounds to infinity is out of range.

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

/// A value that may have been rounded twice.
struct Estimate {
    value: f64,
    is_exact: bool,
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
        let mantissa = (n_digits <= U64_DIGITS).then_some(value);
        Ok((Self { text: &bytes[..at], is_negative, mantissa, exponent }, at))
    }

    /// The number as written.
    pub(super) fn text(&self) -> &'a str {
        std::str::from_utf8(self.text).expect("a JSON number consists of ASCII characters")
    }

    /// The value by one operation on `f64`: exact operands, so correctly rounded, when `is_exact`;
    /// otherwise the digits have been rounded before. `None` for many digits and large exponents.
    #[inline]
    fn estimate(&self) -> Option<Estimate> {
        let mantissa = self.mantissa?;
        let power = *POWERS_OF_TEN.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let magnitude = mantissa as f64;
        let value = if self.exponent < 0 { magnitude / power } else { magnitude * power };
        let value = if self.is_negative { -value } else { value };
        Some(Estimate { value, is_exact: mantissa <= 1 << f64::MANTISSA_DIGITS })
    }

    #[inline]
    fn to_f64(self) -> f64 {
        match self.estimate() {
            Some(Estimate { value, is_exact: true }) => value,
            _ => self.parse(),
        }
    }

    /// The nearest `f32`. Two roundings to `f64` move a value by less than [`Self::DOUBT`] units in
    /// its last place, so only a result that close to half-way between two `f32` values could be
    /// rounded to the wrong side. No result is subnormal: the smallest is 1e-22.
    #[inline]
    fn to_f32(self) -> f32 {
        const DROPPED: u64 = (1 << (f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS)) - 1;
        const HALF_WAY: u64 = (DROPPED >> 1) + 1;
        match self.estimate() {
            Some(Estimate { value, .. })
                if (value.to_bits() & DROPPED).abs_diff(HALF_WAY) > Self::DOUBT =>
            {
                value as f32
            }
            _ => self.parse(),
        }
    }

    /// See [`Self::to_f32`].
    const DOUBT: u64 = 4;

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

/// The powers of ten that an `f64` holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// A datatype whose elements are written as numbers.
pub(super) trait FromNumber: Element {
    fn from_number(number: Number<'_>) -> Result<Self, NumberFault>;
}

macro_rules! integers {
    ($($rust:ty),*) => {
        $(impl FromNumber for $rust {
            #[inline]
            fn from_number(number: Number<'_>) -> Result<Self, NumberFault> {
                Self::try_from(number.to_integer()?).map_err(|_| NumberFault::OutOfRange)
            }
        })*
    };
}

macro_rules! floats {
    ($($rust:ty: $convert:expr;)*) => {
        $(impl FromNumber for $rust {
            #[inline]
            fn from_number(number: Number<'_>) -> Result<Self, NumberFault> {
                let value: $rust = $convert(number);
                if value.is_finite() { Ok(value) } else { Err(NumberFault::OutOfRange) }
            }
        })*
    };
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);
floats! {
    f64: Number::to_f64;
    f32: Number::to_f32;
    f16: |number: Number<'_>| f16::from_f32(number.to_f32());
    bf16: |number: Number<'_>| bf16::from_f32(number.to_f32());
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<T: FromNumber>(text: &str) -> Result<T, NumberFault> {
        let (number, len) = Number::scan(text.as_bytes()).unwrap();
        assert_eq!(len, text.len());
        T::from_number(number)
    }

    #[test]
    fn integers_are_exact_or_refused() {
        use NumberFault::{NotAnInteger, OutOfRange};
        assert_eq!(read::<u8>("255"), Ok(255));
        assert_eq!(read::<u8>("256"), Err(OutOfRange));
        assert_eq!(read::<u8>("-1"), Err(OutOfRange));
        assert_eq!(read::<u8>("-0"), Ok(0));
        assert_eq!(read::<i64>("9007199254740993"), Ok((1 << 53) + 1));
        assert_eq!(read::<i64>("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(read::<i64>("9223372036854775808"), Err(OutOfRange));
        assert_eq!(read::<u64>("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(read::<u64>("18446744073709551616"), Err(OutOfRange));
        assert_eq!(read::<i32>("1.0"), Ok(1));
        assert_eq!(read::<i32>("1.20e2"), Ok(120));
        assert_eq!(read::<i32>("1200e-2"), Ok(12));
        assert_eq!(read::<i32>("1.00000000000000000000000000000000000000000000"), Ok(1));
        assert_eq!(read::<i32>("0e999999999999999999999999"), Ok(0));
        assert_eq!(read::<i32>("1.5"), Err(NotAnInteger));
        assert_eq!(read::<i32>("1e-99999999999999999999"), Err(NotAnInteger));
        assert_eq!(read::<i32>("1e99999999999999999999"), Err(OutOfRange));
        assert_eq!(
            read::<i32>("0.11111111111111111111111111111111111111111111"),
            Err(NotAnInteger)
        );
    }

    #[test]
    fn floats_round_once() {
        // Half-way between two f32 values and a little above: by way of an f64 it would be tied.
        assert_eq!(read::<f32>("1.00000005960464477539062500000001"), Ok(1.000_000_1));
        assert_eq!(read::<f32>("16777217"), Ok(16_777_216.0));
        assert_eq!(read::<f64>("9007199254740993"), Ok(9_007_199_254_740_992.0));
        assert_eq!(read::<f32>("-0.0").map(f32::to_bits), Ok((-0f32).to_bits()));
        assert_eq!(read::<f64>("-0").map(f64::to_bits), Ok((-0f64).to_bits()));
        assert_eq!(read::<f64>("1e400"), Err(NumberFault::OutOfRange));
        assert_eq!(read::<f32>("3.5e38"), Err(NumberFault::OutOfRange));
        assert_eq!(read::<f16>("65520"), Err(NumberFault::OutOfRange));
        assert_eq!(read::<f16>("65504"), Ok(f16::MAX));
        assert_eq!(read::<f32>("1e-400"), Ok(0.0));
    }

    #[test]
    fn eight_digits_are_read_at_once() {
        let read = |text: &[u8; 8]| eight_digits(u64::from_le_bytes(*text));
        assert_eq!(read(b"12345678"), Some(12_345_678));
        assert_eq!(read(b"99999999"), Some(99_999_999));
        assert_eq!(read(b"00000000"), Some(0));
        for position in 0..8 {
            for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"12345678";
                text[position] = byte;
                assert_eq!(read(&text), None, "{byte:#x} is no digit");
            }
        }
    }

    proptest! {
        #[test]
        fn what_lies_near_half_way_between_floats_goes_to_the_nearer(bits: u32, step in -3i64..4) {
            let value = f32::from_bits(bits & 0x7fff_ffff);
            prop_assume!(value.is_finite() && value.next_up().is_finite());
            let middle = (f64::from(value) + f64::from(value.next_up())) / 2.0;
            let middle = f64::from_bits(middle.to_bits().wrapping_add_signed(step));
            for text in [format!("{middle}"), format!("{middle:e}"), format!("{middle:.18e}")] {
                prop_assert_eq!(read::<f32>(&text), Ok(text.parse().unwrap()), "{}", text);
            }
        }

        #[test]
        fn floats_equal_the_standard_library(text in r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?(e[+-]?[0-9]{1,2})?") {
            let expected: f32 = text.parse().unwrap();
            let got = read::<f32>(&text);
            prop_assert_eq!(got, if expected.is_finite() { Ok(expected) } else { Err(NumberFault::OutOfRange) });
            prop_assert_eq!(read::<f64>(&text), Ok(text.parse().unwrap()));
        }

        #[test]
        fn every_f32_reads_back_from_nine_digits(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(read::<f32>(&format!("{value:.8e}")).map(f32::to_bits), Ok(bits));
        }
    }
}
