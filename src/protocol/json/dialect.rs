//! What some writers of JSON add to it.

/// Whose JSON is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// JSON and nothing else.
    Strict,
    /// With what TensorFlow Serving adds, and Python's `json` in part: words for NaN and the
    /// infinities among the numbers, and objects `{"b64": "…"}` for bytes that are no text.
    Extended,
}

/// The words, and what they mean.
const WORDS: [(&str, f64); 3] =
    [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

impl Dialect {
    /// The word that `bytes` start with: its meaning and how long it is.
    pub(super) fn word(self, bytes: &[u8]) -> Option<(f64, usize)> {
        let comes = |(word, _): &&(&str, f64)| bytes.starts_with(word.as_bytes());
        let (word, value) = WORDS.iter().filter(|_| self == Self::Extended).find(comes)?;
        Some((*value, word.len()))
    }

    /// What stands for a number that is not finite.
    #[cold]
    pub(super) fn word_for(self, value: f64) -> &'static str {
        let means =
            |(_, other): &&(&str, f64)| value == *other || (value.is_nan() && other.is_nan());
        let word = WORDS.iter().filter(|_| self == Self::Extended).find(means);
        word.map_or("null", |(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_extended_dialect_has_words() {
        for (word, value) in WORDS {
            assert_eq!(Dialect::Extended.word_for(value), word);
            assert_eq!(Dialect::Strict.word_for(value), "null");
            let text = format!("{word},1");
            let (read, len) = Dialect::Extended.word(text.as_bytes()).unwrap();
            assert_eq!((read.to_bits(), len), (value.to_bits(), word.len()));
            assert_eq!(Dialect::Strict.word(text.as_bytes()), None);
        }
        for other in ["nan", "Inf", "+Infinity", "-NaN", "", "-"] {
            assert_eq!(Dialect::Extended.word(other.as_bytes()), None, "{other}");
        }
    }
}
