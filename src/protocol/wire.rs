//! What a protocol is to the rest of the program: how a body is read and how its answer is written.
//!
//! Nothing here knows what carries a body. What stands beside it, by name, is [`Metadata`]: the head
//! of an HTTP request, or the metadata of a gRPC call.

use crate::inference::{InferError, InferResponse, ModelSpec, NamedTensor, Parameters};
use crate::tensor::Buffer;
use std::time::Duration;

/// What accompanies a body, by name.
pub trait Metadata {
    /// The first value of that name, which is written in lower case.
    fn value(&self, name: &str) -> Option<&[u8]>;
}

/// How a protocol reads a request and writes its answer.
pub trait Wire: Sized + Send + 'static {
    /// What the request says of how its answer is to be written.
    type Plan: Send + 'static;

    /// Whether answers are packed for clients that take that. It costs more than most answers, so
    /// only protocols do it whose clients expect it.
    const PACKS: bool = false;

    /// Reads what accompanies a body.
    ///
    /// # Errors
    ///
    /// The body is not one of this protocol's, whatever is in it.
    fn new(metadata: &impl Metadata) -> Result<Self, InferError>;

    /// How many of a body's bytes are text, whose tensors take memory of their own.
    fn text_bytes(&self, body_bytes: usize) -> usize;

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// The body is malformed, or its tensors are not such as the model takes.
    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Self::Plan>, InferError>;

    /// Writes an answer.
    ///
    /// # Errors
    ///
    /// The request asks for something that the answer does not have.
    fn encode(plan: Self::Plan, response: &InferResponse) -> Result<Encoded, InferError>;
}

/// What a body holds.
#[derive(Debug)]
pub struct Decoded<P> {
    /// The tensors, in the order in which the client wrote them.
    pub inputs: Vec<NamedTensor>,
    /// How the answer is to be written.
    pub plan: P,
    /// How long the client waits, if the body says so: it may only shorten the deadline.
    pub timeout: Option<Duration>,
    /// What it wants of its answer.
    pub parameters: Parameters,
}

impl<P> Decoded<P> {
    /// What a body holds that does not say how long its sender waits.
    #[must_use]
    pub fn new(inputs: Vec<NamedTensor>, plan: P) -> Self {
        Self { inputs, plan, timeout: None, parameters: Parameters::default() }
    }
}

/// The body of an answer and what accompanies it.
#[derive(Debug)]
pub struct Encoded {
    /// The body.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// What else its reader has to know, if anything.
    pub header: Option<Header>,
}

/// A name and a value beside the body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// In lower case.
    pub name: &'static str,
    /// ASCII.
    pub value: String,
}

impl Encoded {
    /// A body of JSON.
    #[must_use]
    pub fn json(bytes: Vec<u8>) -> Self {
        Self { bytes, content_type: "application/json", header: None }
    }
}
