//! sample.json: the body of an example request, read for a model's trial and for its warm-up.

use super::layout::SAMPLE_FILE;
use crate::inference::{
    Batching, Context, Contract, InferError, InferRequest, ModelName, ModelSpec, NamedTensor,
    TensorSpec, ValidRequest,
};
use crate::scheduler::Inputs;
use crate::tensor::Tensor;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads the tensors of a sample.json. A function, because this room knows no wire format.
pub type SampleDecoder =
    Arc<dyn Fn(&[u8], &ModelSpec) -> Result<Vec<NamedTensor>, InferError> + Send + Sync>;

/// The sample of one model.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    pub(super) model: &'a ModelName,
    pub(super) text: &'a str,
    pub(super) decode: &'a SampleDecoder,
}

impl Sample<'_> {
    /// The tensors, one for each argument of a model of which nothing else is known.
    pub(super) fn of_arguments(&self, specs: &[TensorSpec]) -> Result<Inputs, String> {
        self.place(specs).map_err(|error| self.explain(&error))
    }

    fn place(&self, specs: &[TensorSpec]) -> Result<Inputs, InferError> {
        let spec = ModelSpec {
            inputs: specs.to_vec(),
            outputs: Vec::new(),
            batching: Batching::Unprobed,
            max_rows: usize::MAX,
            contract: Contract::default(),
        };
        let mut inputs: Vec<Option<Tensor>> = vec![None; specs.len()];
        for NamedTensor { name, tensor } in (self.decode)(self.text.as_bytes(), &spec)? {
            let place = specs.iter().position(|spec| spec.name == name);
            let Some(place) = place else {
                return Err(InferError::invalid_input(
                    &*name,
                    format!("there is no input {name:?}"),
                ));
            };
            inputs[place] = Some(tensor);
        }
        Ok(inputs)
    }

    /// The tensors, checked as a request is.
    pub(super) fn of_spec(&self, spec: &ModelSpec, timeout: Duration) -> Result<Inputs, String> {
        let check = |inputs| {
            let context = Context {
                request_id: "sample".into(),
                deadline: Instant::now() + timeout,
                trace: None,
            };
            ValidRequest::new(spec, InferRequest { context, inputs })
        };
        let inputs = (self.decode)(self.text.as_bytes(), spec);
        let request = inputs.and_then(check).map_err(|error| self.explain(&error))?;
        Ok(request.inputs().to_vec())
    }

    fn explain(&self, error: &InferError) -> String {
        format!("{}/{SAMPLE_FILE}: {error}", self.model)
    }
}
