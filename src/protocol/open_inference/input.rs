//! One input of a request: its members in any order, its values in JSON or behind it.

use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::json::{MAX_DEPTH, Reader, TensorDecoder, excerpt};
use crate::protocol::parameter;
use crate::protocol::plain;
use crate::tensor::{Buffer, DataType, Shape, TensorError};

/// What follows the JSON: the bytes of the binary inputs, in the order of the inputs.
pub(super) struct Tail<'b> {
    pub(super) body: &'b Buffer,
    /// How much of the body has been read.
    pub(super) at: usize,
    /// Whether the request said where its JSON ends.
    pub(super) is_announced: bool,
}

/// Reads the value of `inputs`.
pub(super) fn inputs(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
    tail: &mut Tail<'_>,
) -> Result<Vec<NamedTensor>, InferError> {
    let mut inputs: Vec<NamedTensor> = Vec::new();
    let is_array = reader.array(|position, reader| {
        let input = input(reader, position, spec, &inputs)?;
        let NamedTensor { name, tensor } = match input {
            Read::Json(tensor) => tensor,
            Read::Binary { head: Head { input, datatype, shape, .. }, size } => {
                let bytes = tail.take(input, (datatype, &shape), size)?;
                plain::tensor(input, (datatype, shape), bytes)?
            }
        };
        inputs.push(NamedTensor { name, tensor });
        Ok(())
    })?;
    if is_array {
        return Ok(inputs);
    }
    let got = reader.kind()?;
    Err(invalid(format!("\"inputs\" is {got}, expected an array")).with_mismatch("an array", got))
}

/// An input whose JSON has been read.
enum Read<'s> {
    Json(NamedTensor),
    Binary { head: Head<'s>, size: usize },
}

/// Which input it is, and what the request says that it holds.
struct Head<'s> {
    is_column: bool,
    input: &'s TensorSpec,
    datatype: DataType,
    shape: Shape,
}

/// Where the members of an input stand.
#[derive(Default)]
struct Members<'a> {
    name: Option<Reader<'a>>,
    datatype: Option<Reader<'a>>,
    shape: Option<Reader<'a>>,
    parameters: Option<Reader<'a>>,
    data: Option<Reader<'a>>,
}

fn input<'s>(
    reader: &mut Reader<'_>,
    position: usize,
    spec: &'s ModelSpec,
    before: &[NamedTensor],
) -> Result<Read<'s>, InferError> {
    let mut members = Members::default();
    let mut tensor = None;
    let is_object = reader.object(|key, reader| {
        let Some(place) = members.place(&key) else {
            return Ok(reader.skip(0)?);
        };
        if place.replace(*reader).is_some() {
            return Err(invalid(format!("member {key:?} of input {position} is given twice")));
        }
        if key == "data" && members.has_head() {
            // What usually comes first has come: the values are walked over once.
            tensor = Some(members.head(position, spec, before)?.values(reader)?);
            return Ok(());
        }
        Ok(reader.skip(0)?)
    })?;
    if !is_object {
        let got = reader.kind()?;
        let error = invalid(format!("input {position} is {got}, expected an object"));
        return Err(error.with_mismatch("an object", got));
    }
    let size = members.binary_size(position)?;
    if let (Some(tensor), None) = (tensor, size) {
        return Ok(Read::Json(tensor));
    }
    let head = members.head(position, spec, before)?;
    match (members.data, size) {
        (Some(mut data), None) => head.values(&mut data).map(Read::Json),
        (None, Some(size)) => {
            // More than can be addressed is more than there is.
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            Ok(Read::Binary { head, size })
        }
        (data, _) => {
            let got = if data.is_some() { "both" } else { "neither" };
            let expected = "exactly one of \"data\" and the parameter \"binary_data_size\"";
            let name = &head.input.name;
            let message = format!("input {name:?} has {got}, expected {expected}");
            let mut error = invalid(message).with_mismatch(expected, got);
            error.details.input = Some(name.to_string());
            Err(error)
        }
    }
}

impl Head<'_> {
    fn values(&self, reader: &mut Reader<'_>) -> Result<NamedTensor, InferError> {
        let stated = (self.datatype, &self.shape);
        TensorDecoder::stated(self.input, self.is_column, stated, reader)
    }
}

impl<'a> Members<'a> {
    fn place(&mut self, key: &str) -> Option<&mut Option<Reader<'a>>> {
        match key {
            "name" => Some(&mut self.name),
            "datatype" => Some(&mut self.datatype),
            "shape" => Some(&mut self.shape),
            "parameters" => Some(&mut self.parameters),
            "data" => Some(&mut self.data),
            _ => None,
        }
    }

    fn has_head(&self) -> bool {
        self.name.is_some() && self.datatype.is_some() && self.shape.is_some()
    }

    /// Which input it is and of which shape: checked against the model, so that values are read only
    /// where they may be used.
    fn head<'s>(
        &self,
        position: usize,
        spec: &'s ModelSpec,
        before: &[NamedTensor],
    ) -> Result<Head<'s>, InferError> {
        let member = |reader: Option<Reader<'a>>, key: &str| {
            reader.ok_or_else(|| invalid(format!("input {position} has no {key:?}")))
        };
        let text = |mut reader: Reader<'a>, key: &str| match reader.text()? {
            Some(text) => Ok(text),
            None => {
                let got = reader.kind()?;
                let message = format!("{key:?} of input {position} is {got}, expected a string");
                Err(invalid(message).with_mismatch("a string", got))
            }
        };
        let name = text(member(self.name, "name")?, "name")?;
        let input = spec.input(&name).ok_or_else(|| spec.unknown_input(&excerpt(&name)))?;
        if before.iter().any(|other| other.name == input.name) {
            let mut error = invalid(format!("input {name:?} is given twice"));
            error.details.input = Some(name.into_owned());
            return Err(error);
        }
        let word = text(member(self.datatype, "datatype")?, "datatype")?;
        let datatype: DataType = word.parse().map_err(|_| {
            let got = format!("{:?}", excerpt(&word));
            input.mismatch("datatype", &input.datatype, &got)
        })?;
        let shape = shape(member(self.shape, "shape")?, input)?;
        let is_column = spec.is_column(input);
        // Triton's clients send texts and files with an axis of their own, and columns come so from data frames.
        let is_content = spec.contract.content.is_some() && !input.optional;
        let checked = match shape.dims() {
            [n_rows, 1] if is_content => Shape::from([*n_rows]),
            _ => shape.clone(),
        };
        // A column of numbers may have any that its data frame has.
        let is_number = is_column && ![datatype, input.datatype].contains(&DataType::Bytes);
        input.check(if is_number { input.datatype } else { datatype }, &checked)?;
        if shape.rank() > 0 && spec.contract.inputs_have_rows {
            spec.check_rows(shape.n_rows())?;
        }
        if shape.elements().is_none() {
            let error = TensorError::Overflow { shape };
            return Err(invalid_input(input, format!("input {name:?}: {error}")));
        }
        Ok(Head { is_column, input, datatype, shape })
    }

    fn binary_size(&self, position: usize) -> Result<Option<u64>, InferError> {
        let mut size = None;
        if let Some(mut parameters) = self.parameters {
            let name = self.name.and_then(|mut reader| reader.text().ok().flatten());
            let owner = match name {
                Some(name) => format!("input {:?}", excerpt(&name)),
                None => format!("input {position}"),
            };
            parameter::read(&mut parameters, &owner, |parameter| match parameter.key {
                "binary_data_size" => parameter.count(&mut size, 0),
                key if key.starts_with("shared_memory_") => {
                    Err(parameter.unsupported("no memory is shared with clients"))
                }
                _ => Ok(()),
            })?;
        }
        Ok(size)
    }
}

/// A list of sizes.
fn shape(mut reader: Reader<'_>, input: &TensorSpec) -> Result<Shape, InferError> {
    let name = &input.name;
    let mut dims = Vec::new();
    let is_array = reader.array(|axis, reader| {
        if axis == MAX_DEPTH {
            let message =
                format!("the shape of input {name:?} has more than {MAX_DEPTH} dimensions");
            return Err(invalid_input(input, message));
        }
        let got = match reader.number()? {
            Some(number) => {
                if let Some(size) = number.to_u64().and_then(|size| usize::try_from(size).ok()) {
                    dims.push(size);
                    return Ok(());
                }
                excerpt(number.text())
            }
            None => reader.kind()?.to_owned(),
        };
        let message =
            format!("the shape of input {name:?} at [{axis}]: expected a size, got {got}");
        Err(invalid_input(input, message).with_mismatch("a size", got))
    })?;
    if is_array {
        return Ok(Shape::new(dims));
    }
    let got = reader.kind()?;
    let message = format!("the shape of input {name:?} is {got}, expected an array of sizes");
    Err(invalid_input(input, message).with_mismatch("an array of sizes", got))
}

impl Tail<'_> {
    /// The next bytes, as many as the input says that it has.
    fn take(
        &mut self,
        input: &TensorSpec,
        (datatype, shape): (DataType, &Shape),
        size: usize,
    ) -> Result<Buffer, InferError> {
        let name = &input.name;
        if !self.is_announced {
            let message = format!(
                "input {name:?} is binary, but the request does not say where its JSON ends: expected \
                 the header Inference-Header-Content-Length"
            );
            return Err(invalid_input(input, message));
        }
        let elements = shape.elements();
        let expected = datatype.byte_size().and_then(|size| elements?.checked_mul(size));
        if let Some(expected) = expected.filter(|expected| *expected != size) {
            let message = format!(
                "\"binary_data_size\" of input {name:?} is {size}, expected {expected} for {datatype} of \
                 shape {shape}"
            );
            return Err(invalid_input(input, message).with_mismatch(expected, size));
        }
        let left = self.body.len() - self.at;
        if size > left {
            let message =
                format!("the body has {left} bytes left for input {name:?}, expected {size}");
            return Err(invalid_input(input, message).with_mismatch(size, left));
        }
        let start = self.at;
        self.at += size;
        Ok(self.body.slice(start..self.at))
    }

    /// Checks that all bytes have been taken.
    pub(super) fn end(&self) -> Result<(), InferError> {
        match self.body.len() - self.at {
            0 => Ok(()),
            left => {
                let message = format!("{left} bytes follow the last binary input, expected none");
                Err(invalid(message).with_mismatch(0, left))
            }
        }
    }
}

fn invalid(message: String) -> InferError {
    InferError::new(ErrorCode::InvalidBody, message)
}

fn invalid_input(input: &TensorSpec, message: String) -> InferError {
    InferError::invalid_input(&*input.name, message)
}
