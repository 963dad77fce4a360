//! Words of a column, and what is missing or not listed.

use crate::inference::InferError;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Words of a list, by their places in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Categories {
    /// The place of each.
    pub places: HashMap<Arc<str>, usize>,
    /// Whether each word has a number of its own, 1 or 0; otherwise a word is its place.
    pub is_one_hot: bool,
    /// Whether other words are taken: as no word of the list, which is zeros, or the place -1.
    pub takes_others: bool,
    /// What stands for a missing one; without it none may be missing.
    pub missing: Option<Arc<str>>,
}

impl Categories {
    /// The place of a word in a row of the column of this name; `None` for one that is not in the list where that may be.
    pub(super) fn place(
        &self,
        word: &[u8],
        name: &str,
        row: usize,
    ) -> Result<Option<usize>, InferError> {
        let given = String::from_utf8_lossy(word);
        // Also an empty word may be in the list.
        let word = match &self.missing {
            Some(missing) if word.is_empty() => Cow::Borrowed(&**missing),
            _ => given,
        };
        if let Some(place) = self.places.get(&*word) {
            return Ok(Some(*place));
        }
        if word.is_empty() {
            return Err(lacks(name, row, "a word"));
        }
        if self.takes_others {
            return Ok(None);
        }
        let got = word.chars().take(32).collect::<String>();
        let n_words = self.places.len();
        let message = format!(
            "{name:?} of row {row} is {got:?}, which is none of its {n_words} categories in model.toml"
        );
        Err(InferError::invalid_input(name, message).with_mismatch("a listed category", got))
    }
}

/// The report of a value that is missing where none may be.
pub(super) fn lacks(name: &str, row: usize, expected: &str) -> InferError {
    let message = format!("{name:?} of row {row} is missing, expected {expected}");
    InferError::invalid_input(name, message).with_mismatch(expected, "nothing")
}
