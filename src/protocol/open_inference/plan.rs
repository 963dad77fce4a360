//! How a request wants its answer written.

use crate::inference::{AnswerForm, ErrorCode, InferError, ModelSpec};
use crate::protocol::json::{Reader, excerpt};
use crate::protocol::parameter;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Most outputs that a request may ask for, where it is not known which ones the model has.
const MAX_OUTPUTS: usize = 1024;
/// Longest text that is kept of a request: its id, and names of outputs where those are not known.
pub(super) const MAX_TEXT: usize = 1024;

/// How an answer is to be written: which outputs in which order, each in JSON or as plain bytes, as it
/// is or as its highest classes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The request's own id, which the answer repeats.
    pub(super) id: Option<String>,
    /// The outputs that are asked for; all of them when there are none here.
    pub(super) outputs: Vec<Requested>,
    /// How outputs are written that say nothing of it.
    pub(super) binary: bool,
}

/// An output that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requested {
    pub(super) name: Arc<str>,
    pub(super) binary: Option<bool>,
    pub(super) classes: Option<NonZeroUsize>,
}

impl Plan {
    /// The id that the client gave the request.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// Reads the value of `outputs`.
pub(super) fn outputs(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
) -> Result<Vec<Requested>, InferError> {
    let mut outputs = Vec::new();
    let is_array = reader.array(|position, reader| {
        let output = output(reader, position, spec)?;
        if outputs.iter().any(|other: &Requested| other.name == output.name) {
            return Err(invalid(format!("output {:?} is asked for twice", output.name)));
        }
        if outputs.len() == MAX_OUTPUTS {
            return Err(invalid(format!("more than {MAX_OUTPUTS} outputs are asked for")));
        }
        outputs.push(output);
        Ok(())
    })?;
    if is_array {
        return Ok(outputs);
    }
    let got = reader.kind()?;
    Err(invalid(format!("\"outputs\" is {got}, expected an array")).with_mismatch("an array", got))
}

fn output(
    reader: &mut Reader<'_>,
    position: usize,
    spec: &ModelSpec,
) -> Result<Requested, InferError> {
    let (mut name, mut parameters) = (None, None);
    let is_object = reader.object(|key, reader| {
        let place = match &*key {
            "name" => &mut name,
            "parameters" => &mut parameters,
            _ => return Ok(reader.skip(0)?),
        };
        if place.replace(*reader).is_some() {
            return Err(invalid(format!("member {key:?} of output {position} is given twice")));
        }
        Ok(reader.skip(0)?)
    })?;
    if !is_object {
        let got = reader.kind()?;
        let error = invalid(format!("output {position} is {got}, expected an object"));
        return Err(error.with_mismatch("an object", got));
    }
    let name = match name {
        None => return Err(invalid(format!("output {position} has no \"name\""))),
        Some(mut name) => match name.text()? {
            Some(text) => known(&text, spec)?,
            None => {
                let got = name.kind()?;
                let error =
                    invalid(format!("\"name\" of output {position} is {got}, expected a string"));
                return Err(error.with_mismatch("a string", got));
            }
        },
    };
    let (mut binary, mut classes) = (None, None);
    if let Some(mut parameters) = parameters {
        let owner = format_args!("output {name:?}");
        parameter::read(&mut parameters, &owner, |parameter| match parameter.key {
            "binary_data" => parameter.flag(&mut binary),
            "classification" => parameter.count(&mut classes, 1),
            key if key.starts_with("shared_memory_") => {
                Err(parameter.unsupported("no memory is shared with clients"))
            }
            _ => Ok(()),
        })?;
    }
    // More classes than can be counted are all of them.
    let all = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Requested { name, binary, classes: classes.map(all).and_then(NonZeroUsize::new) })
}

/// The output of that name. Where the model's outputs are not known, its answer will show.
fn known(name: &str, spec: &ModelSpec) -> Result<Arc<str>, InferError> {
    let output = spec.outputs.iter().find(|output| &*output.name == name);
    match output {
        Some(output) => Ok(output.name.clone()),
        None if is_open(spec) && name.len() <= MAX_TEXT => Ok(name.into()),
        None => Err(unknown(&excerpt(name), spec.outputs.iter().map(|output| &*output.name))),
    }
}

/// Whether runs may give outputs that the specification does not list.
fn is_open(spec: &ModelSpec) -> bool {
    let contract = &spec.contract;
    spec.outputs.is_empty() || contract.form == AnswerForm::List || contract.may_have_more
}

/// The report of an output that the model does not have.
pub(super) fn unknown<'s>(name: &str, known: impl Iterator<Item = &'s str>) -> InferError {
    let known = known.collect::<Vec<_>>().join(", ");
    let message = format!("the model has no output {name:?}, its outputs are {known}");
    InferError::new(ErrorCode::InvalidInput, message).with_mismatch(known, name)
}

fn invalid(message: String) -> InferError {
    InferError::new(ErrorCode::InvalidBody, message)
}
