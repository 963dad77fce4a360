//! Requests of the parent and responses of its child. The only place in `engine` that names serde.

mod frame;
mod signature;
mod words;

pub(super) use frame::{Views, read_header, read_inputs, read_outputs, write};
pub(super) use signature::{WirePackage, WireSignature};
pub(super) use words::{WireDataType, WireFault, WireFormat};

use super::regions::Place;
use crate::engine::package::Package;
use crate::engine::{EngineError, Format, LoadOptions, Phases, RunOutcome};
use crate::tensor::{Buffer, Tensor};
use frame::{OutputHeader, TensorHeader};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Characters of an error's text that are taken over at most.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// What the parent asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// The model file comes with it, as a descriptor; for a package its library, and its weights if it has some.
    Load {
        #[serde(default)]
        format: WireFormat,
        device: String,
        intra_op_threads: usize,
        form: String,
        outputs: Vec<WireDataType>,
        runs: usize,
        package: Option<Box<WirePackage>>,
    },
    Unload {
        model: u64,
    },
    /// Where a socket comes with it, as a descriptor, the instance answers its runs there.
    Instance {
        model: u64,
    },
    Discard {
        instance: u64,
    },
    /// Of a zygote alone: a child with the two sockets that come with it, for requests and for what it prints.
    Fork {
        trusting: bool,
    },
    /// Memory comes with it, as a descriptor, in which inputs may lie; nothing is answered.
    Region {
        region: u64,
    },
    /// Nothing lies there any more; nothing is answered.
    Forget {
        regions: Vec<u64>,
    },
    Run {
        instance: u64,
        inputs: Vec<Option<TensorHeader>>,
    },
}

impl Request {
    /// For a file of this format, which goes with it, or for what was taken out of it.
    pub(super) fn load(format: Format, options: &LoadOptions, package: Option<&Package>) -> Self {
        Self::Load {
            format: WireFormat(format),
            device: options.device.to_string(),
            intra_op_threads: options.intra_op_threads,
            form: options.form.to_string(),
            outputs: options.outputs.iter().map(|&it| WireDataType(it)).collect(),
            runs: options.runs,
            package: package.map(|it| Box::new(it.into())),
        }
    }
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Response {
    Loaded { model: u64, signature: WireSignature, memory: u64, unconfined: Vec<String> },
    Instance { instance: u64 },
    Done,
    Forked { pid: i32 },
    Ran { outputs: Vec<OutputHeader>, phases: [Duration; 3], processor_time: Option<Duration> },
    Failed { fault: WireFault, message: String },
}

impl Response {
    /// An error as an answer.
    pub(super) fn failed(error: EngineError) -> Self {
        Self::Failed { fault: WireFault(error.fault), message: error.message }
    }
}

/// The error in an answer; its text is cut and kept to one line, since the child wrote it.
pub(super) fn failure(fault: WireFault, message: &str) -> EngineError {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let message: String = message.chars().take(MAX_MESSAGE_CHARS).map(clean).collect();
    EngineError::new(fault.0, message.trim_end())
}

/// The request to run an instance, and the buffers that follow its header: those that do not lie in a region.
pub(super) fn run_request(
    instance: u64,
    inputs: &[Option<Tensor>],
    place: impl Fn(&Buffer) -> Option<Place>,
) -> (Request, Vec<Buffer>) {
    let mut buffers = Vec::new();
    let mut header = |tensor: &Tensor| {
        let place = place(tensor.buffer());
        if place.is_none() {
            buffers.push(tensor.buffer().clone());
        }
        TensorHeader::at(tensor, place)
    };
    let headers = inputs.iter().map(|input| input.as_ref().map(&mut header)).collect();
    (Request::Run { instance, inputs: headers }, buffers)
}

/// The answer for a run, and the buffers that follow its header.
pub(super) fn ran(outcome: RunOutcome) -> (Response, Vec<Buffer>) {
    let Phases { input, compute, output: fetch } = outcome.phases;
    let outputs = outcome.outputs.iter().map(OutputHeader::of).collect();
    let buffers = outcome.outputs.iter().map(|output| output.tensor.buffer().clone()).collect();
    let processor_time = outcome.processor_time;
    (Response::Ran { outputs, phases: [input, compute, fetch], processor_time }, buffers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Output;
    use crate::tensor::Shape;

    #[test]
    fn an_outcome_comes_back_bit_for_bit() {
        let tensor = Tensor::from_vec(Shape::from([2, 1]), vec![f32::NAN, -0.0]).unwrap();
        let output = Output { name: Some("y".into()), tensor: tensor.clone() };
        let phases = Phases::default();
        let outcome = RunOutcome { outputs: vec![output], phases, processor_time: None };
        let (answer, buffers) = ran(outcome);
        let mut frame = Vec::new();
        write(&mut frame, &answer, &buffers).unwrap();
        let mut stream = frame.as_slice();
        let Some(Response::Ran { outputs, .. }) = read_header(&mut stream).unwrap() else {
            panic!("another answer came back");
        };
        let outputs = read_outputs(&mut stream, outputs).unwrap();
        assert_eq!(outputs[0].tensor, tensor);
        assert_eq!(outputs[0].name.as_deref(), Some("y"));
        assert!(stream.is_empty());
    }
}
