//! What the code of a model says about its rows, and what that makes of what the probes found.

use super::Hints;
use super::generator::InputGenerator;
use super::proof::{self, Doubt, Proof, ProofInput, Reason, prove};
use crate::engine::{Reach, Signature, without_overload};
use crate::inference::{Batching, BatchingScope, TensorSpec};
use crate::tensor::{Dim, ShapePattern};

/// What the code says.
pub(super) struct CodeAnalysis {
    proof: Result<Proof, Reason>,
    /// Whether a scale over all rows had to be accepted for the proof.
    is_accepted: bool,
    /// For which requests it holds.
    scope: BatchingScope,
    /// Whether the model writes to what it holds.
    has_state: bool,
}

impl CodeAnalysis {
    /// Looks for a proof, for requests that give what the generator makes.
    pub(super) fn of(signature: &Signature, generator: &InputGenerator, hints: &Hints) -> Self {
        let has_state = signature.mutates_state;
        let inputs = generator.batch(&[0], None).inputs;
        let given: Vec<bool> = inputs.iter().map(Option::is_some).collect();
        let Some(code) = &signature.code else {
            let text = "the code of the model is not known";
            let doubt = match may_hang_on_values(signature) {
                true => Doubt::Values,
                false => Doubt::Unknown,
            };
            let proof = Err(Reason { doubt, text: text.into() });
            let scope = BatchingScope { given, any_sizes: false };
            return Self { proof, is_accepted: false, scope, has_state };
        };
        let prove = |specs: &[TensorSpec], accepts_scales| {
            let arguments = signature.arguments.iter().zip(specs).zip(&given);
            let given: Vec<ProofInput<'_>> = arguments
                .map(|((argument, spec), given)| ProofInput {
                    name: &argument.name,
                    spec: given.then_some(spec),
                })
                .collect();
            followed(code, &given, accepts_scales)
        };
        // What nobody declared may come in other sizes: best, it holds for all of them.
        let open: Vec<_> = generator.specs.iter().map(opened).collect();
        let scope = |any_sizes| BatchingScope { given: given.clone(), any_sizes };
        if let Ok(proof) = prove(&open, false) {
            return Self { proof: Ok(proof), is_accepted: false, scope: scope(true), has_state };
        }
        let proof = prove(&generator.specs, false);
        let is_scaled = |reason: &Reason| reason.doubt == Doubt::Scaled;
        let (proof, is_accepted) = match proof {
            Err(reason) if is_scaled(&reason) && hints.max_difference.is_some() => {
                (prove(&generator.specs, true), true)
            }
            proof => (proof, false),
        };
        Self { proof, is_accepted, scope: scope(false), has_state }
    }

    /// For which requests it was found that they may share runs, where any may.
    pub(super) fn scope(&self) -> BatchingScope {
        self.scope.clone()
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
    /// model.toml may vouch for such a model: then it is tried all the same.
    pub(super) fn bears_unlike_rows(&self, hints: &Hints) -> bool {
        match &self.proof {
            Ok(_) => !self.is_accepted,
            Err(reason) => reason.doubt == Doubt::Unknown || hints.is_vouched_for,
        }
    }

    /// What to make of what the probes found. They refute; only the code, or model.toml, can allow.
    pub(super) fn conclude(&self, probed: Batching, hints: &Hints) -> Batching {
        let is_random = self.proof.as_ref().is_err_and(|reason| reason.doubt == Doubt::Random);
        if probed == Batching::Stateful && is_random && !self.has_state {
            // Two equal calls differ because it draws numbers, not because it keeps any.
            return Batching::Unproved;
        }
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
        let is_said = match batching {
            Batching::Probed | Batching::Trusted | Batching::Coupled | Batching::Unproved => true,
            // Statistics of training are updated by each call, which is not what the model is for.
            Batching::Stateful => reason.text.contains("training mode"),
            _ => false,
        };
        is_said.then(|| reason.text.to_string())
    }
}

/// The stack of the thread that follows the code of a file: nobody but the file knows how deep it nests.
const STACK: usize = 64 << 20;

/// The proof, on a thread of its own: whatever a file makes of it, it is no proof and nothing else.
fn followed(code: &str, given: &[ProofInput<'_>], accepts_scales: bool) -> Result<Proof, Reason> {
    let failed = || Reason { doubt: Doubt::Values, text: "the code could not be followed".into() };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("proof".into()).stack_size(STACK);
        let proof = thread.spawn_scoped(scope, || prove(code, given, accepts_scales));
        proof.map_err(|_| failed())?.join().unwrap_or_else(|_| Err(failed()))
    })
}

/// Whether anything that the code can do may let values decide a branch or a shape.
fn may_hang_on_values(signature: &Signature) -> bool {
    match &signature.reach {
        Reach::Operators(operators) => {
            operators.iter().any(|it| proof::BY_VALUES.contains(&without_overload(it)))
        }
        // torch.export takes no code whose values decide which way it goes.
        Reach::Native => signature.interface.is_none(),
    }
}

/// The same input with every size but the rows open that nobody declared.
fn opened(spec: &TensorSpec) -> TensorSpec {
    let Some(dims) = spec.shape.dims().filter(|dims| !spec.declared && !dims.is_empty()) else {
        return spec.clone();
    };
    let dims = dims.iter().enumerate();
    let dims = dims.map(|(axis, dim)| if axis == 0 { *dim } else { Dim::Variable });
    TensorSpec { shape: ShapePattern::Dims(dims.collect()), ..spec.clone() }
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
        let analysis = CodeAnalysis {
            proof,
            is_accepted: false,
            scope: BatchingScope::default(),
            has_state: false,
        };
        assert_eq!(analysis.conclude(probed, &Hints::default()), expected);
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
        let analysis = CodeAnalysis {
            proof: Err(reason),
            is_accepted: false,
            scope: BatchingScope::default(),
            has_state: false,
        };
        assert_eq!(analysis.conclude(Batching::Probed, &hints), Batching::Trusted);
        assert_eq!(analysis.conclude(Batching::Coupled, &hints), Batching::Coupled);
    }
}
