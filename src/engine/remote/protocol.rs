//! What parent and child say to each other: frames, and the words in them.
//!
//! A frame is a little-endian `u32`, a JSON header of that many bytes, and then the bytes of the
//! tensors that the header lists. The only place in `engine` that names serde. Neither side
//! believes the other's lengths: a frame over the limits is an error, and memory grows with what has
//! arrived, never with what was announced.

use crate::engine::{
    Argument, ArgumentKind, EngineError, Fault, Output, Parameter, Phases, RunOutcome, Signature,
};
use crate::tensor::{Buffer, DataType, Shape, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// Longest header: the signature of a model with tens of thousands of parameters fits.
const MAX_HEADER_BYTES: usize = 16 << 20;
/// Most tensor bytes in one frame.
const MAX_TENSOR_BYTES: usize = 1 << 30;
/// Longest error text that is taken over, in characters.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// What the parent asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// The model file comes with it, as a descriptor.
    Load {
        device: String,
        intra_op_threads: usize,
        form: String,
        outputs: Vec<WireDataType>,
    },
    Unload {
        model: u64,
    },
    Instance {
        model: u64,
    },
    Discard {
        instance: u64,
    },
    Run {
        instance: u64,
        inputs: Vec<Option<TensorHeader>>,
    },
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Loaded { model: u64, signature: WireSignature, memory: u64, unconfined: Vec<String> },
    Instance { instance: u64 },
    Done,
    Ran { outputs: Vec<OutputHeader>, phases: [Duration; 3], processor_time: Option<Duration> },
    Failed { fault: WireFault, message: String },
}

/// A datatype by its name.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(super) struct WireDataType(pub(super) DataType);

impl TryFrom<String> for WireDataType {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self)
    }
}

impl From<WireDataType> for &'static str {
    fn from(datatype: WireDataType) -> Self {
        datatype.0.name()
    }
}

/// A tensor without its bytes, which follow the header.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TensorHeader {
    datatype: WireDataType,
    shape: Vec<usize>,
    bytes: usize,
}

/// An output without its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OutputHeader {
    name: Option<String>,
    tensor: TensorHeader,
}

/// [`Fault`], word for word.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(remote = "Fault", rename_all = "snake_case")]
enum FaultDef {
    InvalidFile,
    Raised,
    Environment,
    OutOfMemory,
    Device,
    Unsupported,
    Died,
    Killed,
    TimedOut,
    Internal,
}

/// A fault as it travels.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct WireFault(#[serde(with = "FaultDef")] Fault);

/// [`Signature`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireSignature {
    arguments: Vec<WireArgument>,
    returns: String,
    methods: Vec<String>,
    operators: Vec<String>,
    mutates_state: bool,
    code: Option<String>,
    parameters: Vec<WireParameter>,
}

/// [`Argument`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct WireArgument {
    name: String,
    kind: WireArgumentKind,
    optional: bool,
}

/// [`ArgumentKind`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
enum WireArgumentKind {
    Tensor,
    Texts,
    Scalar(WireDataType),
}

/// [`Parameter`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct WireParameter {
    name: String,
    shape: Vec<usize>,
    datatype: Option<WireDataType>,
}

impl From<&Signature> for WireSignature {
    fn from(signature: &Signature) -> Self {
        let argument = |argument: &Argument| WireArgument {
            name: argument.name.to_string(),
            kind: match argument.kind {
                ArgumentKind::Tensor => WireArgumentKind::Tensor,
                ArgumentKind::Texts => WireArgumentKind::Texts,
                ArgumentKind::Scalar(datatype) => WireArgumentKind::Scalar(WireDataType(datatype)),
            },
            optional: argument.optional,
        };
        let parameter = |parameter: &Parameter| WireParameter {
            name: parameter.name.clone(),
            shape: parameter.shape.clone(),
            datatype: parameter.datatype.map(WireDataType),
        };
        Self {
            arguments: signature.arguments.iter().map(argument).collect(),
            returns: signature.returns.clone(),
            methods: signature.methods.clone(),
            operators: signature.operators.clone(),
            mutates_state: signature.mutates_state,
            code: signature.code.as_deref().map(str::to_owned),
            parameters: signature.parameters.iter().map(parameter).collect(),
        }
    }
}

impl From<WireSignature> for Signature {
    fn from(wire: WireSignature) -> Self {
        let argument = |argument: WireArgument| Argument {
            name: argument.name.into(),
            kind: match argument.kind {
                WireArgumentKind::Tensor => ArgumentKind::Tensor,
                WireArgumentKind::Texts => ArgumentKind::Texts,
                WireArgumentKind::Scalar(datatype) => ArgumentKind::Scalar(datatype.0),
            },
            optional: argument.optional,
        };
        let parameter = |parameter: WireParameter| Parameter {
            name: parameter.name,
            shape: parameter.shape,
            datatype: parameter.datatype.map(|datatype| datatype.0),
        };
        Self {
            arguments: wire.arguments.into_iter().map(argument).collect(),
            returns: wire.returns,
            methods: wire.methods,
            operators: wire.operators,
            mutates_state: wire.mutates_state,
            code: wire.code.map(Arc::from),
            parameters: wire.parameters.into_iter().map(parameter).collect(),
        }
    }
}

impl Answer {
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

/// The request to run an instance, and the buffers that follow its header.
pub(super) fn run_request(instance: u64, inputs: &[Option<Tensor>]) -> (Request, Vec<Buffer>) {
    let headers = inputs.iter().map(|input| input.as_ref().map(header)).collect();
    let buffers = inputs.iter().flatten().map(|tensor| tensor.buffer().clone()).collect();
    (Request::Run { instance, inputs: headers }, buffers)
}

/// The answer for a run, and the buffers that follow its header.
pub(super) fn ran(outcome: RunOutcome) -> (Answer, Vec<Buffer>) {
    let output = |output: &Output| OutputHeader {
        name: output.name.as_deref().map(str::to_owned),
        tensor: header(&output.tensor),
    };
    let Phases { input, compute, output: fetch } = outcome.phases;
    let outputs = outcome.outputs.iter().map(output).collect();
    let buffers = outcome.outputs.iter().map(|output| output.tensor.buffer().clone()).collect();
    let processor_time = outcome.processor_time;
    (Answer::Ran { outputs, phases: [input, compute, fetch], processor_time }, buffers)
}

fn header(tensor: &Tensor) -> TensorHeader {
    TensorHeader {
        datatype: WireDataType(tensor.datatype()),
        shape: tensor.shape().dims().to_vec(),
        bytes: tensor.buffer().len(),
    }
}

/// Writes one frame.
pub(super) fn write(
    stream: &mut dyn Write,
    header: &impl Serialize,
    buffers: &[Buffer],
) -> io::Result<()> {
    let mut frame = vec![0; size_of::<u32>()];
    serde_json::to_writer(&mut frame, header)?;
    let header_bytes = frame.len() - size_of::<u32>();
    if header_bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!(
            "a header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} are allowed"
        )));
    }
    let length = u32::try_from(header_bytes).map_err(io::Error::other)?;
    frame[..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&frame)?;
    for buffer in buffers {
        stream.write_all(buffer.as_bytes())?;
    }
    stream.flush()
}

/// Reads the header of the next frame; `None` when the stream ends before it.
pub(super) fn read_header<H: DeserializeOwned>(stream: &mut dyn Read) -> io::Result<Option<H>> {
    let mut length = Vec::with_capacity(size_of::<u32>());
    stream.take(4).read_to_end(&mut length)?;
    let Ok(length) = <[u8; 4]>::try_from(length.as_slice()) else {
        return if length.is_empty() { Ok(None) } else { Err(cut_off()) };
    };
    let header_bytes = u32::from_le_bytes(length) as usize;
    if header_bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!(
            "a header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} are allowed"
        )));
    }
    let header = read_bytes(stream, header_bytes)?;
    serde_json::from_slice(&header).map(Some).map_err(|error| invalid(error.to_string()))
}

/// Reads the tensors that a request lists.
pub(super) fn read_inputs(
    stream: &mut dyn Read,
    headers: Vec<Option<TensorHeader>>,
) -> io::Result<Vec<Option<Tensor>>> {
    check_total(headers.iter().flatten())?;
    headers.into_iter().map(|it| it.map(|header| read_tensor(stream, header)).transpose()).collect()
}

/// Reads the tensors that an answer lists.
pub(super) fn read_outputs(
    stream: &mut dyn Read,
    headers: Vec<OutputHeader>,
) -> io::Result<Vec<Output>> {
    check_total(headers.iter().map(|output| &output.tensor))?;
    let read = |output: OutputHeader| {
        let tensor = read_tensor(stream, output.tensor)?;
        Ok(Output { name: output.name.map(Arc::from), tensor })
    };
    headers.into_iter().map(read).collect()
}

fn check_total<'a>(headers: impl Iterator<Item = &'a TensorHeader>) -> io::Result<()> {
    let total = headers.fold(0usize, |total, header| total.saturating_add(header.bytes));
    if total > MAX_TENSOR_BYTES {
        return Err(invalid(format!(
            "tensors of {total} bytes, at most {MAX_TENSOR_BYTES} are allowed"
        )));
    }
    Ok(())
}

fn read_tensor(stream: &mut dyn Read, header: TensorHeader) -> io::Result<Tensor> {
    let bytes = read_bytes(stream, header.bytes)?;
    let tensor =
        Tensor::new(header.datatype.0, Shape::new(header.shape), Buffer::copy_aligned(&bytes))
            .map_err(|error| invalid(error.to_string()))?;
    if tensor.datatype() == DataType::Bytes && !holds_its_elements(&tensor) {
        return Err(invalid(format!("{} of BYTES whose lengths do not add up", tensor.shape())));
    }
    Ok(tensor)
}

/// Whether a `BYTES` tensor's lengths lead exactly through its buffer.
fn holds_its_elements(tensor: &Tensor) -> bool {
    let mut rest = tensor.buffer().as_bytes();
    for _ in 0..tensor.shape().elements().unwrap_or(0) {
        let Some((length, after)) = rest.split_first_chunk() else { return false };
        let Some(after) = after.get(u32::from_le_bytes(*length) as usize..) else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// Reads exactly `length` bytes into memory that grows as they come.
fn read_bytes(stream: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length { Err(cut_off()) } else { Ok(bytes) }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a frame was cut off")
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(bytes: &[u8], expected: &str) {
        let error = read_header::<Answer>(&mut &*bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn bad_headers_are_refused() {
        refused(&u32::MAX.to_le_bytes(), "a header of 4294967295 bytes");
        refused(&[1, 0], "cut off");
        refused(&[5, 0, 0, 0, b'{'], "cut off");
        refused(&[2, 0, 0, 0, b'{', b'}'], "expected");
        assert!(read_header::<Answer>(&mut &[][..]).unwrap().is_none());
    }

    #[track_caller]
    fn tensor_refused(tensor: &str, bytes: &[u8], expected: &str) {
        let header: TensorHeader = serde_json::from_str(tensor).unwrap();
        let output = OutputHeader { name: None, tensor: header };
        let error = read_outputs(&mut &*bytes, vec![output]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn tensors_that_lie_are_refused() {
        let big = r#"{"datatype":"FP32","shape":[1],"bytes":1073741825}"#;
        tensor_refused(big, &[], "at most 1073741824");
        tensor_refused(r#"{"datatype":"FP32","shape":[1],"bytes":4}"#, &[0; 3], "cut off");
        tensor_refused(r#"{"datatype":"FP32","shape":[2],"bytes":4}"#, &[0; 4], "takes 8 bytes");
        let huge = r#"{"datatype":"FP32","shape":[0,4611686018427387904],"bytes":0}"#;
        tensor_refused(huge, &[], "more elements");
        let text = r#"{"datatype":"BYTES","shape":[1],"bytes":5}"#;
        tensor_refused(text, &[2, 0, 0, 0, b'a'], "do not add up");
    }

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
        let Some(Answer::Ran { outputs, .. }) = read_header(&mut stream).unwrap() else {
            panic!("another answer came back");
        };
        let outputs = read_outputs(&mut stream, outputs).unwrap();
        assert_eq!(outputs[0].tensor, tensor);
        assert_eq!(outputs[0].name.as_deref(), Some("y"));
        assert!(stream.is_empty());
    }
}
