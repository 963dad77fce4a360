//! Numbers as they are commonly spelled, read from a window over the text.
//!
//! The digits of a number differ in count from one to the next, so a loop over them, or a branch on
//! how many there are, is mispredicted about once a number, which costs more than all of its
//! arithmetic. Here eight characters are one word: where its digits end is a bit scan, and their
//! value a few multiplications, whatever their count. What is spelled in another way (an exponent,
//! very many digits, a fault) is `None` and left to [`super::number`], which knows all of JSON.

/// What [`decimal`] and [`integer`] look at: the longest number that they read, and the width of the
/// words that they read it by. Behind the end of the text there is anything that is not part of a number.
pub(super) type Window = [u8; 40];

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// A number without an exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) is_negative: bool,
    /// All its digits; no more than an `i64` holds.
    pub(super) digits: i64,
    /// How many of them stand behind the point, at most [`MAX_FRACTION`].
    pub(super) n_fraction: usize,
    /// How many characters it takes.
    pub(super) len: usize,
}

/// Most digits behind the point, and most digits that always fit a `u64`.
pub(super) const MAX_FRACTION: usize = 19;

/// The number that the window starts with: up to seven digits, and up to [`MAX_FRACTION`] behind a point.
#[inline(always)]
pub(super) fn decimal(window: &Window) -> Option<Decimal> {
    let is_negative = window[0] == b'-';
    let start = usize::from(is_negative);
    let whole = word(window, start);
    let n_whole = n_digits(whole);
    let has_zero = whole as u8 == b'0';
    // No digit, eight of them or more, or a zero with digits behind it.
    if n_whole.wrapping_sub(1) > 6 || (has_zero && n_whole > 1) {
        return None;
    }
    let point = start + n_whole;
    let has_point = window[point & 15] == b'.';
    let first = word(window, point + 1);
    let n_first = if has_point { n_digits(first) } else { 0 };
    // One digit is the most common, and the same for most numbers of a body: a branch is cheaper.
    let units = if n_whole == 1 { whole & 0xf } else { value(whole, n_whole) };
    let mut digits = units * POWERS[n_first] + value(first, n_first);
    let mut n_fraction = n_first;
    if n_first == 8 {
        let (second, third) = (word(window, point + 9), word(window, point + 17));
        let n_second = n_digits(second);
        let n_third = if n_second == 8 { n_digits(third) } else { 0 };
        n_fraction += n_second + n_third;
        let more = value(second, n_second).wrapping_mul(POWERS[n_third]);
        digits = digits.wrapping_mul(POWERS[n_second]).wrapping_mul(POWERS[n_third]);
        digits = digits.wrapping_add(more).wrapping_add(value(third, n_third));
    }
    let n_significant = n_fraction + n_whole - usize::from(has_zero);
    if n_significant > MAX_FRACTION || (has_point && n_fraction == 0) {
        return None;
    }
    let len = point + usize::from(has_point) + n_fraction;
    if window[len] | 0x20 == b'e' {
        return None;
    }
    Some(Decimal { is_negative, digits: i64::try_from(digits).ok()?, n_fraction, len })
}

/// The integer that the window starts with, of up to 16 digits, and how many characters it takes.
#[inline(always)]
pub(super) fn integer(window: &Window) -> Option<(i64, usize)> {
    let is_negative = window[0] == b'-';
    let start = usize::from(is_negative);
    let first = word(window, start);
    let mut n_all = n_digits(first);
    if n_all == 0 || (first as u8 == b'0' && n_all > 1) {
        return None;
    }
    let mut digits = value(first, n_all);
    if n_all == 8 {
        let second = word(window, start + 8);
        let n_second = n_digits(second);
        digits = digits * POWERS[n_second] + value(second, n_second);
        n_all += n_second;
    }
    let len = start + n_all;
    // It goes on: with more digits, or what only the value of the whole tells to be an integer.
    if matches!(window[len], b'0'..=b'9' | b'.' | b'e' | b'E') {
        return None;
    }
    let digits = i64::try_from(digits).ok()?;
    Some((if is_negative { -digits } else { digits }, len))
}

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Eight characters from `at` on, the first one in the lowest byte. No number starts its words
/// behind 31, which the mask tells the compiler.
#[inline(always)]
fn word(window: &Window, at: usize) -> u64 {
    let at = at & 31;
    let characters = window[at..at + 8].first_chunk::<8>();
    u64::from_le_bytes(*characters.expect("the slice has eight bytes"))
}

/// How many digits a word starts with.
#[inline(always)]
fn n_digits(word: u64) -> usize {
    // Digits become 0 to 9; adding 0x76 to anything above sets its highest bit. A carry out of a
    // byte goes to those behind it, where it no longer matters.
    let digits = word ^ ZEROS;
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    others.trailing_zeros() as usize / 8
}

/// The value of the first `n` characters of a word, which are digits. The rest is shifted out, so
/// that zeros come before them; then neighbors are joined to pairs, pairs to fours, fours to eight.
#[inline(always)]
fn value(word: u64, n: usize) -> u64 {
    // In two steps, since one of 64 would be none.
    let shift = 4 * (8 - n);
    let ones = (word ^ ZEROS) << shift << shift;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::super::number::{FromNumber, Number};
    use super::*;
    use half::{bf16, f16};
    use proptest::prelude::*;

    fn window(text: &str) -> Window {
        let mut window = [b','; size_of::<Window>()];
        window[..text.len()].copy_from_slice(text.as_bytes());
        window
    }

    /// What is read by the window is what is read without it; returns whether it was read.
    #[track_caller]
    fn agrees<T: FromNumber>(text: &str) -> bool {
        let Some((value, len)) = T::from_window(&window(text)) else { return false };
        let (number, expected_len) = Number::scan(text.as_bytes()).expect("it is a number");
        let expected = T::from_number(number).expect("it fits");
        assert_eq!(bytemuck::bytes_of(&value), bytemuck::bytes_of(&expected), "{text}");
        assert_eq!(len, expected_len, "{text}");
        true
    }

    #[test]
    fn common_spellings_are_read() {
        for text in ["0", "-0", "7", "0.0", "-0.0", "1234567.25", "-0.4851178228855133", "16777216"]
        {
            let (value, len) = match f32::from_window(&window(text)) {
                Some(read) => read,
                None => {
                    assert_eq!(text, "16777216", "eight digits before the point are left");
                    continue;
                }
            };
            assert_eq!(
                (value.to_bits(), len),
                (text.parse::<f32>().unwrap().to_bits(), text.len())
            );
        }
        assert_eq!(integer(&window("-1234567890123456")), Some((-1_234_567_890_123_456, 17)));
        assert_eq!(integer(&window("30521")), Some((30_521, 5)));
    }

    #[test]
    fn what_is_not_plainly_a_number_is_left() {
        for text in
            ["", "-", "--1", "01", "-00.5", "1.", "1.e5", ".5", "1e5", "1.5E5", "+1", "null"]
        {
            assert_eq!(decimal(&window(text)), None, "{text:?}");
        }
        for text in ["", "-", "01", "1.0", "1e2", "12345678901234567", "-x"] {
            assert_eq!(integer(&window(text)), None, "{text:?}");
        }
        // Exactly half-way between two neighbors: left to a conversion that sees all digits.
        assert_eq!(f32::from_window(&window("1.000000059604644775390625")), None);
        assert_eq!(f32::from_window(&window("8388608.5")).map(|(value, _)| value), None);
        assert_eq!(u8::from_window(&window("256")), None, "the general path words the refusal");
        assert_eq!(f16::from_window(&window("65520")), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_agrees_with_the_general_path(text in r"-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,22})?(e-?[0-9])?") {
            agrees::<f32>(&text);
            agrees::<f64>(&text);
            agrees::<f16>(&text);
            agrees::<bf16>(&text);
        }

        #[test]
        fn integers_agree_with_the_general_path(text in r"-?(0|[1-9][0-9]{0,18})(\.0|e1)?") {
            agrees::<i64>(&text);
            agrees::<u64>(&text);
            agrees::<i8>(&text);
            agrees::<u8>(&text);
        }

        /// Printed as FP32 and as FP64, as clients do, nearly every number is of common spelling.
        #[test]
        fn numbers_of_clients_are_read(value in 1e-3f32..1e6) {
            for text in [format!("{value}"), format!("-{}", f64::from(value))] {
                let is_read = agrees::<f32>(&text);
                prop_assert!(is_read, "{}", text);
            }
        }

        /// Half-way between two neighbors, and a little to either side of it.
        #[test]
        fn halves_are_rounded_once(bits in 0x3000_0000u32..0x4b00_0000, digits in 9usize..19, nudge in -1i64..2) {
            let half = f64::from(f32::from_bits(bits)) + f64::from(f32::from_bits(bits + 1));
            let half = f64::from_bits((half / 2.0).to_bits().wrapping_add_signed(nudge));
            for text in [format!("{half:.digits$}"), format!("{half}")] {
                if text.len() < size_of::<Window>() && agrees::<f32>(&text) {
                    let (value, _) = f32::from_window(&window(&text)).unwrap();
                    prop_assert_eq!(value.to_bits(), text.parse::<f32>().unwrap().to_bits());
                }
            }
        }

        #[test]
        fn any_text_is_left_or_read_as_a_number(text in "[-+0-9.eE,x]{0,12}") {
            if decimal(&window(&text)).is_some() {
                let text = format!("{text},");
                prop_assert!(Number::scan(text.as_bytes()).is_ok(), "{}", text);
            }
        }
    }
}
