//! What the code of a model says about its rows, and what that makes of what the probes found.

use super::Hints;
use super::proof::{Doubt, Given, Proof, Reason, prove};
use super::recipe::Recipe;
use crate::engine::Signature;
use crate::inference::Batching;

/// What the code says.
pub(super) struct Judgement {
    proof: Result<Proof, Reason>,
    /// Whether a scale over all rows had to be accepted for the proof.
    is_accepted: bool,
}

impl Judgement {
    /// Looks for a proof, for requests that give what the recipe makes.
    pub(super) fn of(signature: &Signature, recipe: &Recipe, hints: &Hints) -> Self {
        let Some(code) = &signature.code else {
            let text = "the code of the model is not known";
            let reason = Reason { doubt: Doubt::Unknown, text: text.into() };
            return Self { proof: Err(reason), is_accepted: false };
        };
        let inputs = recipe.batch(&[0], None).inputs;
        let arguments = signature.arguments.iter().zip(&recipe.specs).zip(&inputs);
        let given: Vec<Given<'_>> = arguments
            .map(|((argument, spec), input)| Given {
                name: &argument.name,
                spec: input.as_ref().map(|_| spec),
            })
            .collect();
        let proof = prove(code, &given, false);
        let is_scaled = |reason: &Reason| reason.doubt == Doubt::Scaled;
        match proof {
            Err(reason) if is_scaled(&reason) && hints.max_difference.is_some() => {
                Self { proof: prove(code, &given, true), is_accepted: true }
            }
            proof => Self { proof, is_accepted: false },
        }
    }

    pub(super) fn is_proof(&self) -> bool {
        self.proof.is_ok()
    }

    /// Whether the values of the inputs decide the size of an output.
    pub(super) fn has_shapes_by_values(&self) -> bool {
        self.proof.as_ref().is_err_and(|reason| reason.doubt == Doubt::Shapes)
    }

    /// Whether rows of all kinds may be tried. Where values decide how long the code runs, a made-up one may hang it; and
    /// one scale over all rows, which has been accepted, suits only rows that are alike.
    pub(super) fn bears_unlike_rows(&self) -> bool {
        match &self.proof {
            Ok(_) => !self.is_accepted,
            Err(reason) => reason.doubt == Doubt::Unknown,
        }
    }

    /// What to make of what the probes found. They refute; only the code, or model.toml, can allow.
    pub(super) fn conclude(&self, probed: Batching, hints: &Hints) -> Batching {
        if probed != Batching::Probed {
            return probed;
        }
        match &self.proof {
            Ok(proof) if !proof.has_row_axis() => Batching::NoRowAxis,
            Ok(_) if self.is_accepted => Batching::Accepted,
            Ok(_) => Batching::Proved,
            Err(reason) if reason.doubt == Doubt::Unknown => Batching::Probed,
            Err(_) if hints.is_vouched_for => Batching::Trusted,
            Err(reason) => match reason.doubt {
                Doubt::Coupled | Doubt::Counted | Doubt::Scaled => Batching::Coupled,
                Doubt::Random | Doubt::Values | Doubt::Shapes | Doubt::Unknown => {
                    Batching::Unproved
                }
            },
        }
    }

    /// What of the code speaks against a proof, where that is the matter.
    pub(super) fn grounds(&self, batching: Batching) -> Option<String> {
        let reason = self.proof.as_ref().err()?;
        matches!(
            batching,
            Batching::Probed | Batching::Trusted | Batching::Coupled | Batching::Unproved
        )
        .then(|| reason.text.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(doubt: Option<Doubt>, probed: Batching, expected: Batching) {
        let proof = match doubt {
            None => Ok(Proof { outputs: vec![super::super::proof::OutputRows::Axis(0)] }),
            Some(doubt) => Err(Reason { doubt, text: "why".into() }),
        };
        let judgement = Judgement { proof, is_accepted: false };
        assert_eq!(judgement.conclude(probed, &Hints::default()), expected);
    }

    #[test]
    fn probes_refute_and_only_the_code_or_a_voucher_allows() {
        check(None, Batching::Probed, Batching::Proved);
        check(None, Batching::Coupled, Batching::Coupled);
        check(Some(Doubt::Unknown), Batching::Probed, Batching::Probed);
        check(Some(Doubt::Values), Batching::Probed, Batching::Unproved);
        check(Some(Doubt::Random), Batching::Probed, Batching::Unproved);
        for doubt in [Doubt::Coupled, Doubt::Counted, Doubt::Scaled] {
            check(Some(doubt), Batching::Probed, Batching::Coupled);
        }
        let hints = Hints { is_vouched_for: true, ..Hints::default() };
        let reason = Reason { doubt: Doubt::Values, text: "why".into() };
        let judgement = Judgement { proof: Err(reason), is_accepted: false };
        assert_eq!(judgement.conclude(Batching::Probed, &hints), Batching::Trusted);
        assert_eq!(judgement.conclude(Batching::Coupled, &hints), Batching::Coupled);
    }
}
