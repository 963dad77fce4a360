//! Inputs that are no tensors: what a client sends in place of those that a step makes of it.

use crate::inference::{Content, InferError, NamedTensor, TensorSpec};
use crate::tensor::{DataType, ShapePattern, Tensor};

/// The input that clients send in place of the tensors that are made of it.
pub(super) fn input(name: &str) -> TensorSpec {
    let shape = ShapePattern::from_wire(&[-1]).unwrap_or(ShapePattern::Unknown);
    let datatype = DataType::Bytes;
    TensorSpec { name: name.into(), datatype, shape, optional: false, declared: true }
}

/// What clients send: this content, or the engine's own tensors beside it, whole.
pub(super) fn beside(content: Vec<TensorSpec>, engine: &[TensorSpec]) -> Vec<TensorSpec> {
    let tensors = engine.iter().map(|spec| TensorSpec { optional: true, ..spec.clone() });
    content.into_iter().chain(tensors).collect()
}

/// What a request holds of a model that takes content.
#[derive(Debug)]
pub(super) enum Given {
    /// Tensors, as the engine takes them.
    Tensors(Vec<NamedTensor>),
    /// Content, in the order of its inputs.
    Content(Vec<NamedTensor>),
}

impl Given {
    /// Tells the two apart.
    ///
    /// # Errors
    ///
    /// `invalid_input` where both came, or not all that belongs together.
    pub(super) fn of(inputs: Vec<NamedTensor>, names: &[&str]) -> Result<Self, InferError> {
        let is_content = |input: &NamedTensor| names.contains(&&*input.name);
        let (mut content, tensors): (Vec<_>, Vec<_>) = inputs.into_iter().partition(is_content);
        let Some(first) = content.first() else { return Ok(Self::Tensors(tensors)) };
        if let Some(other) = tensors.first() {
            let message = format!(
                "input {:?} is given beside {:?}, which is made from it",
                first.name, other.name
            );
            return Err(InferError::invalid_input(&*other.name, message));
        }
        let place = |input: &NamedTensor| names.iter().position(|name| *name == &*input.name);
        content.sort_by_key(place);
        if let Some(twice) = content.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let name = &twice[0].name;
            return Err(InferError::invalid_input(
                &**name,
                format!("input {name:?} is given twice"),
            ));
        }
        let missing = names.iter().find(|name| !content.iter().any(|it| &*it.name == **name));
        match missing {
            None => Ok(Self::Content(content)),
            Some(name) => {
                Err(InferError::invalid_input(*name, format!("input {name:?} is missing")))
            }
        }
    }
}

/// The elements of a content input, one for each row.
///
/// # Errors
///
/// `invalid_input` for what is no list of texts or files, or an empty one.
pub(super) fn elements<'t>(name: &str, tensor: &'t Tensor) -> Result<Vec<&'t [u8]>, InferError> {
    let elements = tensor.byte_elements().ok_or_else(|| {
        let message = format!(
            "input {name:?} is {} {}, expected {} with their lengths",
            tensor.datatype(),
            tensor.shape(),
            DataType::Bytes
        );
        InferError::invalid_input(name, message)
    })?;
    if elements.is_empty() {
        let message = format!("input {name:?} is empty, expected at least one row");
        return Err(InferError::invalid_input(name, message));
    }
    Ok(elements)
}

/// How a message calls one row's content.
pub(super) fn at(content: Content, row: usize, n_rows: usize) -> String {
    let name = content.name();
    if n_rows == 1 { format!("the {name}") } else { format!("{name} {row}") }
}
