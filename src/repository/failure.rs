//! Why a model is not served: a fixed text for everybody, the details for operators.

use crate::engine::{Death, EngineError, Fault};
use crate::telemetry::{Collect, Counter, Samples, families};

/// Why a version is not served, or a model not as wanted.
///
/// The details may be the file's own words, or name files: they are for the log and the management listener. The
/// public text depends on the code alone, so that nothing of the details can get into it. There is no `Display`, which would
/// leave open which of the two it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFailure {
    code: FailureCode,
    details: String,
}

impl ModelFailure {
    pub(super) fn new(code: FailureCode, details: impl Into<String>) -> Self {
        Self { code, details: details.into() }
    }

    pub(super) const fn code(&self) -> FailureCode {
        self.code
    }

    /// Whether the same file may be loaded some other time: what failed may have been the machine's doing.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self.code, FailureCode::OutOfMemory | FailureCode::TimedOut | FailureCode::Other)
    }

    /// What everybody may know.
    #[must_use]
    pub const fn public(&self) -> &'static str {
        self.code.text()
    }

    /// Whether an operator or a roll-out wanted it so.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        self.code() == FailureCode::Rejected
    }

    /// For operators.
    #[must_use]
    pub fn details(&self) -> &str {
        &self.details
    }

    /// The same kind of failure in other words.
    pub(super) fn reworded(self, words: impl FnOnce(&str) -> String) -> Self {
        Self { details: words(&self.details), ..self }
    }
}

impl From<String> for ModelFailure {
    fn from(details: String) -> Self {
        Self::new(FailureCode::Other, details)
    }
}

impl From<&str> for ModelFailure {
    fn from(details: &str) -> Self {
        Self::new(FailureCode::Other, details)
    }
}

impl From<EngineError> for ModelFailure {
    fn from(error: EngineError) -> Self {
        let code = match error.fault {
            Fault::InvalidFile => FailureCode::NotAModel,
            Fault::Raised => FailureCode::Raised,
            Fault::Environment | Fault::Unsupported => FailureCode::Unsupported,
            Fault::OutOfMemory => FailureCode::OutOfMemory,
            Fault::Died(Death::Crashed) => FailureCode::Crashed,
            Fault::Died(Death::OutOfMemory) => FailureCode::OutOfMemory,
            // Not by itself: another try may pass.
            Fault::Died(Death::Terminated | Death::Before) => FailureCode::Other,
            Fault::TimedOut => FailureCode::TimedOut,
            Fault::Device | Fault::Internal => FailureCode::Other,
        };
        Self::new(code, error.message)
    }
}

macro_rules! failure_codes {
    ($($Code:ident, $name:literal: $text:literal;)+) => {
        /// What kind of failure it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum FailureCode { $($Code,)+ }

        impl FailureCode {
            pub(super) const ALL: &[Self] = &[$(Self::$Code,)+];

            /// Its name in what is kept.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$Code => $name,)+ }
            }

            /// What everybody may know.
            pub(super) const fn text(self) -> &'static str {
                match self {
                    $(Self::$Code => concat!($text, "; the log and the management listener say more"),)+
                }
            }
        }
    };
}

failure_codes! {
    Settings, "settings": "what model.toml or the files beside it say is not right";
    NotAModel, "not_a_model": "the model file is no model that can be loaded";
    Damaged, "damaged": "the model file is damaged";
    Digest, "digest": "the files of the version are not those that SHA256SUMS lists";
    Outside, "outside": "a link leads out of the models folder";
    Rejected, "rejected": "the file was rejected by an operator or a roll-out";
    Verification, "verification": "its answers are not those that are expected of it, or its reference is of something else";
    Refused, "refused": "the model was refused: its code can reach beyond its tensors, and nobody vouches for it";
    Raised, "raised": "the trial failed: the model raised an error";
    Crashed, "crashed": "the trial failed: its process died";
    TimedOut, "timed_out": "the trial failed: the model did not answer in time";
    OutOfMemory, "out_of_memory": "the memory did not suffice for the model";
    Unsupported, "unsupported": "the model needs something that this server does not have";
    Stuck, "stuck": "the model's runs got stuck, or ended its process too often, and it was given up";
    Incomplete, "incomplete": "the model could not be loaded as wanted";
    Other, "other": "the model could not be loaded";
}

/// Counts versions that were not loaded, by what kept them from it.
#[derive(Debug)]
pub(super) struct LoadFailures(Vec<Counter>);

impl Default for LoadFailures {
    fn default() -> Self {
        Self(FailureCode::ALL.iter().map(|_| Counter::default()).collect())
    }
}

impl LoadFailures {
    pub(super) fn add(&self, code: FailureCode) {
        if let Some(counter) = self.0.get(code as usize) {
            counter.add(1);
        }
    }
}

impl Collect for LoadFailures {
    fn collect(&self, samples: &mut Samples) {
        for (code, counter) in FailureCode::ALL.iter().zip(&self.0) {
            samples.number(&families::LOAD_FAILURES, &[code.as_str()], counter.get() as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_text_hangs_on_the_code_alone() {
        for code in FailureCode::ALL {
            let failure = ModelFailure::new(*code, "/srv/models/m/1/model.pt: a secret");
            assert_eq!(failure.public(), code.text());
            assert!(failure.public().ends_with("the log and the management listener say more"));
            assert_eq!(failure.details(), "/srv/models/m/1/model.pt: a secret");
        }
    }
}
