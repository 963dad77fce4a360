//! The rows of a data set as the model gets them.

use super::data::DataSet;
use super::error::EvaluationError;
use crate::inference::{Context, InferError, InferRequest, ValidRequest};
use crate::pipeline;
use crate::protocol::predict;
use crate::repository::ModelHandle;
use std::time::Instant;

/// Rows of a data set.
const MAX_ROWS: usize = 1_000_000;

/// Reads all rows that are left, without asking the model for any.
///
/// # Errors
///
/// A row cannot be read, or does not suit the model.
pub fn read_inputs(
    handle: &ModelHandle,
    data: &mut DataSet,
    mut each: impl FnMut(&ValidRequest),
) -> Result<(), EvaluationError> {
    let mut n_rows = 0;
    while let Some(example) = data.next_row()? {
        let request = decode(handle, &example.body)
            .map_err(|error| data.row_error(example.line, error.to_string()))?;
        if n_rows == MAX_ROWS {
            let message = format!("expected at most {MAX_ROWS} rows, got more");
            return Err(data.row_error(example.line, message));
        }
        n_rows += 1;
        each(&request);
    }
    Ok(())
}

/// A row as a request, which has the model's time from now on.
pub(super) fn decode(handle: &ModelHandle, body: &[u8]) -> Result<ValidRequest, InferError> {
    let decoded = predict::decode_filed(body, handle.interface())?;
    let deadline = Instant::now() + handle.limits().timeout;
    let context = Context::new("evaluation", deadline);
    pipeline::check(handle, InferRequest { context, inputs: decoded.inputs })
}
