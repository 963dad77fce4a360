//! In which form a model runs: how its code is rewritten, and in which numbers it computes. Pure.

use std::fmt;
use std::str::FromStr;

/// How a model's code is rewritten once it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Rewrite {
    /// Not at all.
    #[default]
    Plain,
    /// Weights become constants of the code, and what follows from constants alone is computed once.
    Frozen,
    /// Frozen, then layers joined and laid out as the device likes them.
    Optimized,
}

/// In which numbers a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Precision {
    /// In those that its file has: FP32 for most.
    #[default]
    Fp32,
    /// BF16: the range of FP32, three significant digits.
    Bf16,
    /// FP16: a smaller range, nearly four digits.
    Fp16,
}

impl Precision {
    /// Its name in model.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = [Self::Fp32, Self::Bf16, Self::Fp16].into_iter();
        all.find(|it| it.as_str() == text).ok_or_else(|| format!("unknown precision {text:?}"))
    }
}

/// One way to run a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ModelForm {
    /// In which numbers it computes.
    pub precision: Precision,
    /// How it comes to a reduced precision: by operators that cast what they are given, each as
    /// it can bear, and not by weights and inputs that are cast once.
    pub autocast: bool,
    /// Whether weights of convolutions over images lie in memory with their channels innermost,
    /// which the library's kernels for reduced precision want.
    pub channels_last: bool,
    /// How the code is rewritten.
    pub rewrite: Rewrite,
}

impl ModelForm {
    /// As the file has it.
    pub const PLAIN: Self = Self {
        precision: Precision::Fp32,
        autocast: false,
        channels_last: false,
        rewrite: Rewrite::Plain,
    };

    /// Every form there is, the plain one first.
    pub fn all() -> impl Iterator<Item = Self> {
        [Precision::Fp32, Precision::Bf16, Precision::Fp16].into_iter().flat_map(Self::of)
    }

    /// Every form of this precision: what is converted once before what is cast in each run, the
    /// less rewritten first.
    pub fn of(precision: Precision) -> impl Iterator<Item = Self> {
        let casts: &[bool] = if precision == Precision::Fp32 { &[false] } else { &[false, true] };
        let layouts = casts.iter().flat_map(|&cast| [(cast, false), (cast, true)]);
        layouts.flat_map(move |(autocast, channels_last)| {
            [Rewrite::Plain, Rewrite::Frozen, Rewrite::Optimized]
                .into_iter()
                .map(move |rewrite| Self { precision, autocast, channels_last, rewrite })
        })
    }
}

impl fmt::Display for ModelForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::PLAIN {
            return f.write_str("plain");
        }
        let rewrite = match self.rewrite {
            Rewrite::Plain => None,
            Rewrite::Frozen => Some("frozen"),
            Rewrite::Optimized => Some("optimized"),
        };
        let words = [
            (self.precision != Precision::Fp32).then_some(self.precision.as_str()),
            self.autocast.then_some("autocast"),
            self.channels_last.then_some("channels-last"),
            rewrite,
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join("-"))
    }
}

impl FromStr for ModelForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all()
            .find(|form| form.to_string() == text)
            .ok_or_else(|| format!("unknown form {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_a_name_of_its_own() {
        let all: Vec<_> = ModelForm::all().collect();
        assert_eq!(all.len(), 30);
        for form in all {
            assert_eq!(form.to_string().parse(), Ok(form));
        }
        let form = ModelForm {
            precision: Precision::Bf16,
            autocast: true,
            channels_last: true,
            rewrite: Rewrite::Frozen,
        };
        assert_eq!(form.to_string(), "bf16-autocast-channels-last-frozen");
        assert_eq!(
            (ModelForm::PLAIN.to_string().as_str(), ModelForm::default()),
            ("plain", ModelForm::PLAIN)
        );
        assert!("bf16-plain".parse::<ModelForm>().is_err());
    }
}
