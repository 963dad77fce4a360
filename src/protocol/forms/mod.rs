//! What the protocols share that hold tensors in plain JSON, or in plain bytes: the forms of a body,
//! read by the model's specification, and outputs written in the form of their request.
//!
//! | form | what a body holds | what its answer holds |
//! |---|---|---|
//! | one | one row of the model's one input, without the axis of rows | one row of the output |
//! | many | a list of rows; each the one input's, or an object of rows by input name | a list of rows |
//! | named | whole tensors by input name | whole tensors by output name |
//!
//! Where a model has several outputs, a row is an object of rows by name. The outputs of a model
//! whose contract has no rows (see `Contract`) come whole, always. Under which key all
//! this stands, and what may stand beside it, is each protocol's own.
//!
//! Numbers: a number fits a datatype by its value, so `1.0` is an integer and `1.5` is not; integers
//! are exact or refused; floats round to the nearest value and are refused where that is infinite.
//! `BOOL` takes `true` and `false` only.

mod csv;
mod named_rows;
mod raw;
mod read;
mod write;

pub(crate) use csv::decode_csv;
pub use raw::decode_raw;
pub(crate) use raw::{raw_tensor, raw_text};
pub(crate) use read::{not_an_object, one_row, rows, sole_input, tensors, tensors_by_name};
pub(crate) use write::{outputs_len, write_named, write_outputs};

/// In which form a request came, and so its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `features` and `prediction`.
    One,
    /// `instances` and `predictions`.
    Many,
    /// `inputs` and `outputs`.
    Named,
}

impl Form {
    /// Every form.
    pub(crate) const ALL: [Self; 3] = [Self::One, Self::Many, Self::Named];

    /// The member of a request.
    pub(crate) fn request_key(self) -> &'static str {
        match self {
            Self::One => "features",
            Self::Many => "instances",
            Self::Named => "inputs",
        }
    }

    /// The member of an answer.
    pub(crate) fn response_key(self) -> &'static str {
        match self {
            Self::One => "prediction",
            Self::Many => "predictions",
            Self::Named => "outputs",
        }
    }
}
