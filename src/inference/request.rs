//! A request before and after it has been checked against the model's specification.

use super::error::InferError;
use super::parameters::Parameters;
use super::spec::{ModelSpec, TensorSpec};
use super::trace::TraceParent;
use crate::tensor::{DataType, Tensor};
use std::sync::Arc;
use std::time::Instant;

/// What accompanies a request from the edge to the engine and back.
#[derive(Debug, Clone)]
pub struct Context {
    /// The caller's id for the request, or ours.
    pub request_id: Arc<str>,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// The caller's trace, if it sent one.
    pub trace: Option<TraceParent>,
    /// What it wants of its answer.
    pub parameters: Parameters,
}

impl Context {
    /// That of a request of which nothing else is known.
    #[must_use]
    pub fn new(request_id: impl Into<Arc<str>>, deadline: Instant) -> Self {
        let parameters = Parameters::default();
        Self { request_id: request_id.into(), deadline, trace: None, parameters }
    }
}

/// A tensor and its name on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The name; shared with the specification where it comes from there.
    pub name: Arc<str>,
    /// The values.
    pub tensor: Tensor,
}

/// A decoded request: well-formed tensors, not yet known to suit the model.
#[derive(Debug)]
pub struct InferRequest {
    /// What travels with it.
    pub context: Context,
    /// Tensors in the order in which the client wrote them.
    pub inputs: Vec<NamedTensor>,
}

/// A request that the model may be run with: every tensor is there once, in the order of the
/// model's arguments, with the datatype, shape and number of rows that the model takes.
#[derive(Debug)]
pub struct ValidRequest {
    context: Context,
    inputs: Vec<Option<Tensor>>,
    n_rows: usize,
    fit: Fit,
    may_share: bool,
}

/// How a request stands to what is known of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Nothing like it was seen to work.
    Beyond,
    /// Only sizes differ from what was seen to work.
    Similar,
    /// It is as declared, or as what was seen to work.
    Known,
}

impl ValidRequest {
    /// Checks a request against a specification. This is the only constructor: what libtorch sees
    /// has come through here.
    ///
    /// # Errors
    ///
    /// `invalid_input`, naming the tensor, what was expected and what came.
    pub fn new(spec: &ModelSpec, request: InferRequest) -> Result<Self, InferError> {
        let mut inputs: Vec<Option<Tensor>> = vec![None; spec.inputs.len()];
        for NamedTensor { name, tensor } in request.inputs {
            let position = spec.inputs.iter().position(|input| input.name == name);
            let Some(position) = position else {
                return Err(spec.unknown_input(&name));
            };
            if inputs[position].is_some() {
                return Err(InferError::invalid_input(
                    &*name,
                    format!("input {name:?} is given twice"),
                ));
            }
            spec.inputs[position].check(tensor.datatype(), tensor.shape())?;
            if tensor.datatype() == DataType::Bytes {
                check_texts(&name, &tensor)?;
            }
            inputs[position] = Some(tensor);
        }
        let (n_rows, are_common) = common_rows(spec, &inputs)?;
        check_one_size(spec, &inputs)?;
        for rule in &spec.contract.sizes {
            rule.check(&spec.inputs, &inputs)?;
        }
        spec.check_rows(n_rows)?;
        let fit = if are_common { fit(spec, &inputs) } else { Fit::Beyond };
        let scope = &spec.contract.batching_scope;
        let is_tried = fit == Fit::Known || (fit == Fit::Similar && scope.any_sizes);
        let may_share = is_tried && gives_the_same(spec, &inputs);
        Ok(Self { context: request.context, inputs, n_rows, fit, may_share })
    }

    /// Whether it is as declared, or as what the model was seen to work with. Only then the model is at
    /// fault when it raises, and only then its time is known.
    #[must_use]
    pub fn fits_evidence(&self) -> bool {
        self.fit == Fit::Known
    }

    /// Whether it may run together with requests that are equal to it in all dimensions but the rows.
    /// What is unlike everything for which that was found runs alone.
    #[must_use]
    pub fn may_share_runs(&self) -> bool {
        self.may_share
    }

    /// What travels with the request.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Tensors in the order of the model's arguments; `None` where an optional one was left out.
    #[must_use]
    pub fn inputs(&self) -> &[Option<Tensor>] {
        &self.inputs
    }

    /// Rows of the request: every tensor that has rows has this many. A request without rows counts as
    /// one.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }
}

/// Whether the tensors are given with which it was found that requests may share runs.
fn gives_the_same(spec: &ModelSpec, inputs: &[Option<Tensor>]) -> bool {
    let pairs = spec.contract.batching_scope.given.iter().zip(&spec.inputs).zip(inputs);
    let mut pairs = pairs.filter(|((_, spec), _)| !spec.is_scalar());
    pairs.all(|((given, _), input)| *given == input.is_some())
}

/// Checks that a tensor of `BYTES` holds as many texts as its shape says. On the wire its elements may be
/// any bytes, but models take them as `str` only.
fn check_texts(name: &str, tensor: &Tensor) -> Result<(), InferError> {
    let invalid = |what: String| InferError::invalid_input(name, format!("input {name:?} {what}"));
    let n_texts = tensor.shape().elements().unwrap_or(usize::MAX);
    let mut rest = tensor.buffer().as_bytes();
    // Each turn takes four bytes at least, so it is not the shape that bounds them.
    for text in 0..n_texts {
        let cut = rest.split_first_chunk().and_then(|(length, behind)| {
            behind.split_at_checked(u32::from_le_bytes(*length) as usize)
        });
        let Some((bytes, behind)) = cut else {
            return Err(invalid(format!("ends within element {text}, expected {n_texts} of them")));
        };
        if std::str::from_utf8(bytes).is_err() {
            let what = match tensor.shape().rank() {
                0 => "is a text that is not UTF-8".to_owned(),
                _ => format!("has a text that is not UTF-8, element {text}"),
            };
            return Err(invalid(what).with_mismatch("UTF-8", "other bytes"));
        }
        rest = behind;
    }
    match rest.len() {
        0 => Ok(()),
        left => {
            Err(invalid(format!("has {left} bytes after its {n_texts} elements, expected none")))
        }
    }
}

fn fit(spec: &ModelSpec, inputs: &[Option<Tensor>]) -> Fit {
    let one = |(spec, tensor): (&TensorSpec, &Option<Tensor>)| match tensor {
        Some(tensor) if !spec.is_similar(tensor) => Fit::Beyond,
        Some(tensor) if !spec.is_known(tensor) => Fit::Similar,
        Some(_) | None => Fit::Known,
    };
    spec.inputs.iter().zip(inputs).map(one).min().unwrap_or(Fit::Known)
}

/// The number of rows that all inputs with rows share; 1 when none has, or the model's share none. And
/// whether they do share it: of inputs that nobody declared, nobody said that they must.
fn common_rows(spec: &ModelSpec, inputs: &[Option<Tensor>]) -> Result<(usize, bool), InferError> {
    let has_rows = spec.contract.inputs_have_rows;
    let mut rows: Option<(&TensorSpec, usize)> = None;
    let mut are_common = true;
    for (spec, tensor) in spec.inputs.iter().zip(inputs) {
        let name = &*spec.name;
        let Some(tensor) = tensor else {
            if spec.optional {
                continue;
            }
            return Err(InferError::invalid_input(name, format!("input {name:?} is missing"))
                .with_mismatch(format_args!("{} {}", spec.datatype, spec.shape), "nothing"));
        };
        if tensor.shape().rank() == 0 || !has_rows {
            continue;
        }
        match rows {
            Some((first, n_rows)) if n_rows != tensor.n_rows() => {
                if !(first.declared && spec.declared) {
                    are_common = false;
                    continue;
                }
                let (got, first) = (tensor.n_rows(), &first.name);
                let message = format!("input {name:?} has {got} rows, but {first:?} has {n_rows}");
                return Err(InferError::invalid_input(name, message).with_mismatch(n_rows, got));
            }
            Some(_) => {}
            None => rows = Some((spec, tensor.n_rows())),
        }
    }
    Ok((rows.map_or(1, |(_, n_rows)| n_rows), are_common))
}

/// Checks that inputs which have one size in common have it.
fn check_one_size(spec: &ModelSpec, inputs: &[Option<Tensor>]) -> Result<(), InferError> {
    let mut first: Option<(&str, usize)> = None;
    for &(place, axis) in &spec.contract.one_size {
        let dims = inputs.get(place).and_then(Option::as_ref).map(|it| it.shape().dims());
        let Some((input, &size)) = spec.inputs.get(place).zip(dims.and_then(|it| it.get(axis)))
        else {
            continue;
        };
        let &mut (name, expected) = first.get_or_insert((&input.name, size));
        if size != expected {
            let own = &input.name;
            let message = format!(
                "input {own:?} has size {size} in dimension {axis}, but {name:?} has {expected}"
            );
            return Err(InferError::invalid_input(&**own, message).with_mismatch(expected, size));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
