//! sample.json: the body of an example request, read for a model's trial and for its warm-up.

use super::layout::SAMPLE_FILE;
use crate::inference::{
    Batching, Context, Contract, ErrorCode, InferError, InferRequest, ModelSpec, NamedTensor,
    TensorSpec, ValidRequest,
};
use crate::scheduler::Inputs;
use crate::tensor::Tensor;
use crate::transform::{Steps, TransformError};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Longest that the steps before a run may take.
const LONGEST: Duration = Duration::from_secs(10);

/// Reads the tensors of a sample.json. A function, because this room knows no wire format.
pub type SampleDecoder =
    Arc<dyn Fn(&[u8], &ModelSpec) -> Result<Vec<NamedTensor>, InferError> + Send + Sync>;

/// The sample of one model.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    pub(super) text: &'a str,
    pub(super) decode: &'a SampleDecoder,
    /// What is done to a request before the engine gets it.
    pub(super) steps: &'a Steps,
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
        for NamedTensor { name, tensor } in self.read(&spec)? {
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

    /// The tensors of a request, by what clients send, as the engine gets them.
    fn read(&self, engine: &ModelSpec) -> Result<Vec<NamedTensor>, InferError> {
        let unfit =
            |error: TransformError| InferError::new(ErrorCode::InvalidInput, error.to_string());
        let inputs = self.steps.interface_inputs(&engine.inputs).map_err(unfit)?;
        let contract = Contract { content: self.steps.content(), ..engine.contract.clone() };
        let interface = ModelSpec { inputs, contract, ..engine.clone() };
        let inputs = (self.decode)(self.text.as_bytes(), &interface)?;
        if self.steps.inputs.is_empty() {
            return Ok(inputs);
        }
        // Rules of a file are at work: nobody is to wait for ever for what they make of another file.
        let (steps, engine) = (self.steps.clone(), engine.inputs.clone());
        let (done, outcome) = mpsc::channel();
        let apply = move || done.send(steps.apply_inputs(&engine, inputs));
        let spawned = std::thread::Builder::new().name("sample".into()).spawn(apply);
        spawned.map_err(|error| {
            InferError::new(ErrorCode::Internal, format!("cannot start a thread: {error}"))
        })?;
        outcome.recv_timeout(LONGEST).unwrap_or_else(|_| {
            let message =
                format!("the steps before the run took more than {} s", LONGEST.as_secs());
            Err(InferError::new(ErrorCode::DeadlineExceeded, message))
        })
    }

    /// The tensors, checked as a request is.
    pub(super) fn of_spec(&self, spec: &ModelSpec, timeout: Duration) -> Result<Inputs, String> {
        let check = |inputs| {
            let context = Context::new("sample", Instant::now() + timeout);
            ValidRequest::new(spec, InferRequest { context, inputs })
        };
        let request = self.read(spec).and_then(check).map_err(|error| self.explain(&error))?;
        Ok(request.inputs().to_vec())
    }

    fn explain(&self, error: &InferError) -> String {
        // Without the folder: what a trial found holds for all that have the same texts.
        format!("{SAMPLE_FILE}: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, Shape, ShapePattern};
    use crate::transform::{Desk, InputStep};

    /// Clients send a `text`; the engine gets its length as `x`.
    #[derive(Debug)]
    struct Length;

    impl InputStep for Length {
        fn specs(&self, inner: &[TensorSpec]) -> Result<Vec<TensorSpec>, TransformError> {
            let text = TensorSpec { name: "text".into(), ..inner[0].clone() };
            Ok(vec![TensorSpec { datatype: DataType::Bytes, ..text }])
        }

        fn apply(
            &self,
            _inner: &[TensorSpec],
            inputs: Vec<NamedTensor>,
            _desk: &mut Desk<'_>,
        ) -> Result<Vec<NamedTensor>, InferError> {
            let length = inputs[0].tensor.buffer().len() - 4;
            let tensor = Tensor::from_vec(Shape::from([1]), vec![length as f32]).unwrap();
            Ok(vec![NamedTensor { name: "x".into(), tensor }])
        }
    }

    #[test]
    fn a_sample_is_what_clients_send() {
        let decode: SampleDecoder = Arc::new(|text, spec| {
            let input = &spec.inputs[0];
            assert_eq!((&*input.name, input.datatype), ("text", DataType::Bytes));
            let bytes = [&(text.len() as u32).to_le_bytes(), text].concat();
            let tensor = Tensor::new(DataType::Bytes, Shape::from([1]), bytes.into()).unwrap();
            Ok(vec![NamedTensor { name: input.name.clone(), tensor }])
        });
        let steps = Steps { inputs: vec![Arc::new(Length)], outputs: vec![] };
        let sample = Sample { text: "three", decode: &decode, steps: &steps };
        let x = TensorSpec {
            name: "x".into(),
            datatype: DataType::Fp32,
            shape: ShapePattern::from_wire(&[-1]).unwrap(),
            optional: false,
            declared: true,
        };
        let expected = Tensor::from_vec(Shape::from([1]), vec![5f32]).unwrap();
        let inputs = [x];
        assert_eq!(sample.of_arguments(&inputs), Ok(vec![Some(expected.clone())]));
        let spec = ModelSpec {
            inputs: inputs.to_vec(),
            outputs: vec![],
            batching: Batching::Proved,
            max_rows: 1,
            contract: Contract::default(),
        };
        assert_eq!(sample.of_spec(&spec, Duration::from_secs(60)), Ok(vec![Some(expected)]));
    }
}
