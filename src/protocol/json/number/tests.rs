//! Numbers as they are written, held against other readers.

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
    assert_eq!(read::<i32>("0.11111111111111111111111111111111111111111111"), Err(NotAnInteger));
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

    /// The shortest digits of half-way points, also of subnormal ones, and their neighbors.
    #[test]
    fn half_way_points_are_rounded_once(bits in 0u32..0x7f7f_ffff, nudge in -1i64..2, digits in 12usize..40) {
        let half = (f64::from(f32::from_bits(bits)) + f64::from(f32::from_bits(bits + 1))) / 2.0;
        let half = f64::from_bits(half.to_bits().wrapping_add_signed(nudge));
        for text in [format!("{half:e}"), format!("{half:.digits$e}")] {
            prop_assert_eq!(read::<f32>(&text).map(f32::to_bits), Ok(text.parse::<f32>().unwrap().to_bits()));
        }
    }

    #[test]
    fn zeros_in_front_are_no_digits(zeros in 0usize..40, digits in "[1-9][0-9]{0,20}") {
        let text = format!("0.{}{digits}", "0".repeat(zeros));
        prop_assert_eq!(read::<f32>(&text).map(f32::to_bits), Ok(text.parse::<f32>().unwrap().to_bits()));
        prop_assert_eq!(read::<f64>(&text).map(f64::to_bits), Ok(text.parse::<f64>().unwrap().to_bits()));
    }

    #[test]
    fn every_f32_reads_back_from_nine_digits(bits: u32) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        prop_assert_eq!(read::<f32>(&format!("{value:.8e}")).map(f32::to_bits), Ok(bits));
    }
}
