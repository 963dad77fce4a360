//! Rows that are objects: a value for each input by its name.

use super::read::{given_twice, no_rows};
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::json::{Reader, TensorDecoder, excerpt, too_many_rows};
use std::collections::HashMap;

/// The tensors of rows that come one by one. All have the same inputs, but for columns of a table: what a row leaves out is
/// missing in it.
pub(super) struct NamedRows<'s> {
    spec: &'s ModelSpec,
    max_rows: usize,
    n_rows: usize,
    /// In the order in which they came.
    tensors: Vec<(&'s TensorSpec, TensorDecoder<'s>)>,
    /// Where each input of the model is among them.
    places: Vec<Option<usize>>,
    names: Names<'s>,
}

/// Inputs by their names, which most rows have in the order of the row before.
struct Names<'s> {
    inputs: &'s [TensorSpec],
    next: usize,
    index: Option<HashMap<&'s str, usize>>,
}

impl Names<'_> {
    fn position(&mut self, name: &str) -> Option<usize> {
        let expected = self.inputs.get(self.next).filter(|input| &*input.name == name);
        let found = match expected {
            Some(_) => self.next,
            None => {
                let named = self.inputs.iter().enumerate().map(|(at, input)| (&*input.name, at));
                *self.index.get_or_insert_with(|| named.collect()).get(name)?
            }
        };
        self.next = found + 1;
        Some(found)
    }
}

impl<'s> NamedRows<'s> {
    pub(super) fn new(spec: &'s ModelSpec, max_rows: usize) -> Self {
        let names = Names { inputs: &spec.inputs, next: 0, index: None };
        let places = vec![None; spec.inputs.len()];
        Self { spec, max_rows, n_rows: 0, tensors: Vec::new(), places, names }
    }

    /// Reads one row.
    pub(super) fn row(&mut self, reader: &mut Reader<'_>) -> Result<(), InferError> {
        let row = self.n_rows;
        if row == self.max_rows {
            return Err(too_many_rows(self.max_rows));
        }
        if !reader.take(b'{') {
            let got = reader.kind()?;
            let message = format!("instance {row} is {got}, expected an object");
            return Err(
                InferError::new(ErrorCode::InvalidInput, message).with_mismatch("an object", got)
            );
        }
        self.names.next = 0;
        let mut goes_on = !reader.take(b'}');
        while goes_on {
            let key = reader.key()?;
            let position = self.names.position(&key);
            let position = position.ok_or_else(|| self.spec.unknown_input(&excerpt(&key)))?;
            let (input, tensor) = self.tensor(position)?;
            if tensor.n_rows() > row {
                return Err(given_twice(input));
            }
            tensor.row(reader)?;
            goes_on = reader.goes_on(b'}')?;
        }
        self.n_rows += 1;
        for (input, tensor) in &mut self.tensors {
            if tensor.n_rows() == self.n_rows {
                continue;
            }
            if !self.spec.is_column(input) {
                return Err(differs(input, row, "is missing"));
            }
            tensor.gap()?;
        }
        Ok(())
    }

    /// The tensor of one input, begun where this is the first row that has it.
    fn tensor(
        &mut self,
        position: usize,
    ) -> Result<(&'s TensorSpec, &mut TensorDecoder<'s>), InferError> {
        let input = &self.spec.inputs[position];
        let place = match self.places[position] {
            Some(place) => place,
            None => {
                let is_column = self.spec.is_column(input);
                if self.n_rows > 0 && !is_column {
                    return Err(differs(input, self.n_rows, "is not in instance 0"));
                }
                if input.is_scalar() {
                    return Err(no_rows(input));
                }
                let decoder = TensorDecoder::new(input, self.max_rows);
                let mut decoder = decoder.with_gaps(is_column);
                for _ in 0..self.n_rows {
                    decoder.gap()?;
                }
                self.tensors.push((input, decoder));
                self.tensors.len() - 1
            }
        };
        self.places[position] = Some(place);
        Ok((input, &mut self.tensors[place].1))
    }

    /// The tensors. Of a table that had no column at all it is the first, with nothing in it.
    pub(super) fn finish(mut self) -> Result<Vec<NamedTensor>, InferError> {
        let first = self.spec.inputs.first();
        if self.tensors.is_empty() && first.is_some_and(|input| self.spec.is_column(input)) {
            self.tensor(0)?;
        }
        self.tensors.into_iter().map(|(_, tensor)| tensor.finish()).collect()
    }
}

fn differs(input: &TensorSpec, instance: usize, how: &str) -> InferError {
    let message = format!(
        "input {:?} of instance {instance} {how}: all instances have the same inputs",
        input.name
    );
    InferError::invalid_input(&*input.name, message)
}
