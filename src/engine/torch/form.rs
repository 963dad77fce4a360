//! A loaded module in another form, and the casts around its runs, so that nobody above notices.

use super::{FORWARD, convert, fault};
use crate::engine::{EngineError, Fault, LoadOptions, ModelForm, Precision, Rewrite, Signature};
use tch::Kind;
use torch_shim::{IValue, Module, TorchDevice};

/// Brings a module into a form. The module is loaded for this form alone: those made of one module
/// share its code, which is then freed with the last of them.
pub(super) fn apply(
    module: Module,
    form: ModelForm,
    signature: &Signature,
) -> Result<Module, EngineError> {
    if form == ModelForm::PLAIN {
        return Ok(module);
    }
    if signature.takes_gradients() {
        let message = format!("a model that asks for gradients cannot be run in the form {form}");
        return Err(EngineError::new(Fault::Unsupported, message));
    }
    if signature.mutates_state {
        // Freezing would make a constant of what the model changes.
        let message = format!("a model that keeps state cannot be run in the form {form}");
        return Err(EngineError::new(Fault::Unsupported, message));
    }
    let kind = kind(form.precision).filter(|_| !form.autocast);
    let module = if kind.is_some() || form.channels_last {
        module.recast(kind, form.channels_last).map_err(fault)?
    } else {
        module
    };
    match form.rewrite {
        Rewrite::Plain => Ok(module),
        Rewrite::Frozen => module.freeze(&[]).map_err(fault),
        Rewrite::Optimized => module.optimize_for_inference(&[]).map_err(fault),
    }
}

/// The datatype of a reduced precision.
fn kind(precision: Precision) -> Option<Kind> {
    match precision {
        Precision::Fp32 => None,
        Precision::Bf16 => Some(Kind::BFloat16),
        Precision::Fp16 => Some(Kind::Half),
    }
}

/// What is cast before, during and after a run.
pub(super) struct Numbers {
    reduced: Option<Kind>,
    autocast: bool,
    with_gradients: bool,
    device: TorchDevice,
    /// The kinds of the outputs in the plain form, as far as they are known.
    outputs: Vec<Option<Kind>>,
}

impl Numbers {
    pub(super) fn new(options: &LoadOptions, signature: &Signature) -> Self {
        Self {
            reduced: kind(options.form.precision),
            autocast: options.form.autocast,
            with_gradients: signature.takes_gradients(),
            device: convert::device(options.device),
            outputs: options.outputs.iter().map(|&it| convert::kind(it)).collect(),
        }
    }

    /// A floating-point tensor as weights of a reduced precision want it. Whole numbers stay: a
    /// word's number in BF16 is another word.
    pub(super) fn cast_input(&self, value: IValue) -> Result<IValue, EngineError> {
        match (self.reduced, value) {
            (Some(reduced), IValue::Tensor(tensor)) if !self.autocast => {
                cast(tensor, |kind| is_floating(kind).then_some(reduced)).map(IValue::Tensor)
            }
            (_, value) => Ok(value),
        }
    }

    pub(super) fn run(&self, module: &Module, arguments: &[IValue]) -> Result<IValue, EngineError> {
        match self.reduced {
            Some(kind) if self.autocast => {
                module.run_with_autocast(FORWARD, arguments, self.device, kind)
            }
            _ if self.with_gradients => module.run_with_gradients(FORWARD, arguments),
            _ => module.run(FORWARD, arguments),
        }
        .map_err(fault)
    }

    /// An output in the datatype that it has in the plain form.
    pub(super) fn cast_output(&self, place: usize, value: IValue) -> Result<IValue, EngineError> {
        let IValue::Tensor(tensor) = value else { return Ok(value) };
        let Some(reduced) = self.reduced else { return Ok(IValue::Tensor(tensor)) };
        let plain = self.outputs.get(place).copied().flatten();
        let wanted = |kind| match plain {
            Some(plain) => (is_floating(kind) && is_floating(plain)).then_some(plain),
            None => (kind == reduced).then_some(Kind::Float),
        };
        cast(tensor, wanted).map(IValue::Tensor)
    }
}

fn is_floating(kind: Kind) -> bool {
    matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)
}

/// The tensor in the kind that is wanted for its own, if one is.
fn cast(
    tensor: tch::Tensor,
    wanted: impl FnOnce(Kind) -> Option<Kind>,
) -> Result<tch::Tensor, EngineError> {
    let kind = torch_shim::tensor_kind(&tensor).map_err(fault)?;
    match wanted(kind) {
        Some(wanted) if wanted != kind => torch_shim::cast(&tensor, wanted).map_err(fault),
        _ => Ok(tensor),
    }
}
