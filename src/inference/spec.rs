//! What a loaded model takes and gives, as far as it is known.

use super::content::Content;
use super::contract::Contract;
use super::error::{ErrorCode, InferError};
use super::request::ValidRequest;
use crate::tensor::{DataType, Shape, ShapePattern, Tensor};
use std::fmt;
use std::sync::Arc;

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name on the wire.
    pub name: Arc<str>,
    /// Its element type.
    pub datatype: DataType,
    /// Its shape; the first dimension counts rows, a shape of rank 0 is a plain number.
    pub shape: ShapePattern,
    /// Whether a request may leave it out (the model has a default for it).
    pub optional: bool,
    /// Whether datatype and shape bind requests: model.toml declares them, or the file does (plain values and
    /// texts). Otherwise they are what was seen to work, and binds nobody.
    pub declared: bool,
}

impl TensorSpec {
    /// Whether this is a plain number or flag beside the tensors: it has no rows of its own, so it
    /// holds for a whole batch.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        self.shape.dims().is_some_and(<[_]>::is_empty)
    }

    /// Checks that a tensor of this datatype and shape may be given for this input: one that is not
    /// declared takes every tensor of numbers, and the model itself has the last word.
    ///
    /// # Errors
    ///
    /// `invalid_input`, naming the input, what was expected and what came.
    pub fn check(&self, datatype: DataType, shape: &Shape) -> Result<(), InferError> {
        if datatype != self.datatype && (self.declared || datatype == DataType::Bytes) {
            return Err(self.mismatch("datatype", &self.datatype, &datatype));
        }
        if shape.dims().contains(&0) {
            let expected = match self.shape.dims() {
                Some(_) => format!("{} without a dimension of size 0", self.shape),
                None => "at least one row and element".to_owned(),
            };
            return Err(self.mismatch("shape", &expected, shape));
        }
        if self.declared && !self.shape.accepts(shape) {
            return Err(self.mismatch("shape", &self.shape, shape));
        }
        Ok(())
    }

    /// Whether a tensor is one of those that are declared, or that the model was seen to work with.
    #[must_use]
    pub fn is_known(&self, tensor: &Tensor) -> bool {
        self.declared || (self.is_similar(tensor) && self.shape.accepts(tensor.shape()))
    }

    /// Whether a tensor is declared, or differs from those that the model was seen to work with in
    /// nothing but sizes.
    #[must_use]
    pub fn is_similar(&self, tensor: &Tensor) -> bool {
        let rank = self.shape.dims().map(<[_]>::len);
        let same_rank = rank == Some(tensor.shape().rank());
        self.declared || (self.datatype == tensor.datatype() && same_rank)
    }

    /// The report of an input that differs from what the model takes.
    #[must_use]
    pub fn mismatch(
        &self,
        what: &str,
        expected: &dyn fmt::Display,
        got: &dyn fmt::Display,
    ) -> InferError {
        let name = &*self.name;
        let message = format!("input {name:?} has {what} {got}, expected {expected}");
        InferError::invalid_input(name, message).with_mismatch(expected, got)
    }
}

/// Whether rows of different requests may share one run of a model, and if not, why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// It follows from the model's code that a row's answer hangs on that row alone.
    Proved,
    /// It does not follow from the code, but nothing speaks against it, and every probe found it so.
    Probed,
    /// Rows get the answers that they get alone but for a difference that model.toml accepts.
    Accepted,
    /// model.toml vouches for it, and no probe found otherwise.
    Trusted,
    /// Switched off in model.toml.
    Off,
    /// No input is known that the model accepts, so nothing could be compared.
    Unprobed,
    /// The model writes to its own state, or two equal calls gave different answers.
    Stateful,
    /// A row's answer changes with the other rows in the batch.
    Coupled,
    /// Values of rows may decide which way the code goes, so no sample can tell.
    Unproved,
    /// It was allowed until a batch in service gave a row another answer than the row alone.
    Refuted,
    /// The model accepts only the number of rows that it was traced with.
    FixedRows,
    /// An output has no row for each row of the input.
    NoRowAxis,
}

impl Batching {
    /// Every value, for closed label sets.
    pub const ALL: &'static [Self] = &[
        Self::Proved,
        Self::Probed,
        Self::Accepted,
        Self::Trusted,
        Self::Off,
        Self::Unprobed,
        Self::Stateful,
        Self::Coupled,
        Self::Unproved,
        Self::Refuted,
        Self::FixedRows,
        Self::NoRowAxis,
    ];

    /// Its name in metadata and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Probed => "probed",
            Self::Accepted => "accepted",
            Self::Trusted => "trusted",
            Self::Off => "off",
            Self::Unprobed => "unprobed",
            Self::Stateful => "stateful",
            Self::Coupled => "coupled",
            Self::Unproved => "unproved",
            Self::Refuted => "refuted",
            Self::FixedRows => "fixed_rows",
            Self::NoRowAxis => "no_row_axis",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Proved => "by the model's code, a row's answer hangs on that row alone",
            Self::Probed => "in every probe, a row in a batch got the answer that it gets alone",
            Self::Accepted => {
                "a row in a batch gets the answer that it gets alone, within batching.max_difference"
            }
            Self::Trusted => "model.toml vouches for it: batching.enabled = \"trust\"",
            Self::Off => "switched off in model.toml",
            Self::Unprobed => {
                "no input is known that the model accepts, see its notes; declare its inputs in model.toml, or put a sample.json beside it that it answers"
            }
            Self::Stateful => "the model keeps state between calls",
            Self::Coupled => "a row's answer changes with the other rows of its batch",
            Self::Unproved => "values of rows, or chance, may decide which way the code goes",
            Self::Refuted => "in service, a row in a batch got another answer than the row alone",
            Self::FixedRows => "the model accepts only the number of rows that it was traced with",
            Self::NoRowAxis => "an output does not have one row for each row of the input",
        }
    }

    /// Whether the scheduler may put requests together.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Proved | Self::Probed | Self::Accepted | Self::Trusted)
    }
}

impl fmt::Display for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything that decoding, checking and encoding need to know about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// Inputs in the order of the model's arguments.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the order in which the model returns them; empty when no probe could run it.
    pub outputs: Vec<TensorSpec>,
    /// Whether and why not requests are put together.
    pub batching: Batching,
    /// Most rows that one request may have.
    pub max_rows: usize,
    /// What its requests and answers are like.
    pub contract: Contract,
}

/// What speaks against a request that is unlike those that the model was seen to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The model raised.
    Raised,
    /// Its answer is not in the form that it has otherwise.
    OtherForm,
}

impl ModelSpec {
    /// The input of that name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&TensorSpec> {
        self.inputs.iter().find(|input| &*input.name == name)
    }

    /// The report of a tensor that the model does not take.
    #[must_use]
    pub fn unknown_input(&self, name: &str) -> InferError {
        let known: Vec<_> = self.inputs.iter().map(|input| &*input.name).collect();
        let known = known.join(", ");
        let message = format!("the model has no input {name:?}, its inputs are {known}");
        InferError::invalid_input(name, message).with_mismatch(known, name)
    }

    /// The inputs that the model was seen to work with, as `x FP32 [-1, 4]`; `None` when there are none.
    #[must_use]
    pub fn evidence(&self) -> Option<String> {
        let is_known = |input: &&TensorSpec| input.shape.dims().is_some();
        let known = self.inputs.iter().filter(is_known);
        let known: Vec<_> =
            known.map(|it| format!("{} {} {}", it.name, it.datatype, it.shape)).collect();
        (!known.is_empty()).then(|| known.join(", "))
    }

    /// The report of a request unlike those that the model was seen to work with, which it then refused.
    #[must_use]
    pub fn refused(&self, request: &ValidRequest, refusal: RefusalReason) -> InferError {
        let given = self.inputs.iter().zip(request.inputs());
        let given = given.filter_map(|(spec, tensor)| Some((&spec.name, tensor.as_ref()?)));
        let got: Vec<_> = given
            .map(|(name, tensor)| format!("{name} {} {}", tensor.datatype(), tensor.shape()))
            .collect();
        let got = got.join(", ");
        let evidence = self.evidence();
        let known = match &evidence {
            Some(known) => format!("it is known to work with {known}"),
            None => "no input is known to work".to_owned(),
        };
        let how = match refusal {
            RefusalReason::Raised => "the model raised an error on",
            RefusalReason::OtherForm => "the model's answer has not one row for each row of",
        };
        let is_plain = |(spec, tensor): (&TensorSpec, &Option<Tensor>)| {
            !spec.declared && tensor.as_ref().is_some_and(|it| it.datatype() == DataType::Fp32)
        };
        let hint = match self.inputs.iter().zip(request.inputs()).any(is_plain) {
            true => " (numbers of JSON are FP32 where nothing is declared)",
            false => "",
        };
        let message = format!(
            "{how} {got}, and {known}: if the request is right, declare inputs in model.toml{hint}"
        );
        let expected = evidence.unwrap_or_else(|| "inputs that the model takes".to_owned());
        InferError::new(ErrorCode::InvalidInput, message).with_mismatch(expected, got)
    }

    /// Checks that one request may have so many rows.
    ///
    /// # Errors
    ///
    /// `invalid_input`, saying how many are allowed.
    pub fn check_rows(&self, n_rows: usize) -> Result<(), InferError> {
        let max_rows = self.max_rows;
        if n_rows <= max_rows {
            return Ok(());
        }
        let message = format!("the request has {n_rows} rows, at most {max_rows} are allowed");
        let error = InferError::new(ErrorCode::InvalidInput, message);
        Err(error.with_mismatch(format_args!("at most {max_rows} rows"), n_rows))
    }

    /// Most rows that one input may have, so that no more are read: those of a request, where inputs
    /// have rows.
    #[must_use]
    pub fn max_input_rows(&self) -> usize {
        if self.contract.inputs_have_rows { self.max_rows } else { usize::MAX }
    }

    /// The inputs that clients are asked for: those of a model that takes texts or images, without the tensors that may be
    /// sent in their place.
    pub fn asked(&self) -> impl Iterator<Item = &TensorSpec> {
        let is_all = self.contract.content.is_none();
        self.inputs.iter().filter(move |input| is_all || !input.optional)
    }

    /// Whether an input is a column of a table, whose values may be missing: NaN among numbers, an empty text among texts.
    #[must_use]
    pub fn is_column(&self, input: &TensorSpec) -> bool {
        self.contract.content == Some(Content::Row) && !input.optional
    }

    /// The only input that a request must give, when there is just one: what `features` and
    /// `instances` fill.
    #[must_use]
    pub fn sole_input(&self) -> Option<&TensorSpec> {
        let mut required = self.inputs.iter().filter(|input| !input.optional);
        match (required.next(), required.next()) {
            (Some(input), None) => Some(input),
            _ => None,
        }
    }
}
