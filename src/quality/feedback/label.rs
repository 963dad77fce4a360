//! Labels as they come, and what becomes of them.

use super::tally::Truth;
use crate::inference::Version;
use std::collections::BTreeMap;

/// Labels of one call.
pub const MAX_LABELS_A_CALL: usize = 10_000;
/// What became of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelOutcome {
    /// It counts.
    Counted,
    /// The answer has its label already.
    Duplicate,
    /// It came too late.
    Expired,
    /// The token was not signed here, or was changed.
    BadToken,
    /// It is no label of the model, or not one a row.
    BadLabel,
    /// The version that answered is not known any more.
    VersionGone,
}

impl LabelOutcome {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Counted,
        Self::Duplicate,
        Self::Expired,
        Self::BadToken,
        Self::BadLabel,
        Self::VersionGone,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Duplicate => "duplicate",
            Self::Expired => "expired",
            Self::BadToken => "bad_token",
            Self::BadLabel => "bad_label",
            Self::VersionGone => "version_gone",
        }
    }
}

/// The truth about an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Which answer it is about.
    pub answer: AnswerRef,
    /// What is true of each of its rows; `None` where that is not known.
    pub actual: Vec<Option<Truth>>,
}

/// How a caller says which answer it means.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerRef {
    /// By the token that came with it.
    Token(String),
    /// By repeating it: whoever does is believed.
    Told {
        /// The version that answered.
        version: Version,
        /// What it answered with.
        predicted: Truth,
        /// With which score, if that is known.
        score: Option<f32>,
    },
}

/// What became of the labels of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receipt {
    /// How many rows came to what.
    pub outcomes: BTreeMap<LabelOutcome, u64>,
    /// The first that do not count: their places in the call, and why.
    pub problems: Vec<(usize, LabelOutcome, String)>,
}
