//! A transport that is not HTTP: a unary call in the manner of gRPC, with pairs of metadata, a message of
//! raw bytes in pieces, and a status with a number. All that it takes is one `Wire` and one `Call`.

use super::{Served, served};
use crate::engine::fake::FakeModel;
use crate::inference::{
    ByteLease, ErrorCode, InferError, InferResponse, ModelSpec, NamedTensor, Version,
    VersionSelector,
};
use crate::pipeline::{Answered, BodyLimits, Call, Caller, Received, Tap, Target, late};
use crate::protocol::codes::meaning;
use crate::protocol::{Decoded, Encoded, Header, Metadata, Wire};
use crate::repository::ModelHandle;
use crate::telemetry::Phase;
use crate::tensor::{Buffer, BufferVec, Shape, Tensor};
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// A message: its rows as a big-endian number, and behind it the elements of the one input.
struct RawTensor;

impl Wire for RawTensor {
    type Plan = ();

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        match metadata.value("content-type") {
            Some(b"application/grpc") => Ok(Self),
            _ => Err(InferError::new(ErrorCode::UnsupportedMediaType, "expected a gRPC message")),
        }
    }

    fn text_bytes(&self, _: usize) -> usize {
        0
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<()>, InferError> {
        let cut_off = || InferError::new(ErrorCode::InvalidBody, "the message is cut off");
        let (n_rows, _) = body.as_bytes().split_first_chunk().ok_or_else(cut_off)?;
        let n_rows = u32::from_be_bytes(*n_rows) as usize;
        let input = spec.sole_input().ok_or_else(cut_off)?;
        let elements = body.slice(4..body.len());
        let row = elements.len() / 4 / n_rows.max(1);
        let tensor = Tensor::new(input.datatype, Shape::from([n_rows, row]), elements);
        let tensor = tensor.map_err(|_| cut_off())?;
        Ok(Decoded::new(vec![NamedTensor { name: input.name.clone(), tensor }], ()))
    }

    fn encode((): (), response: &InferResponse) -> Result<Encoded, InferError> {
        let elements = response.outputs.iter().map(|output| output.tensor.buffer().as_bytes());
        let value = response.version.to_string();
        Ok(Encoded {
            bytes: elements.collect::<Vec<_>>().concat(),
            content_type: "application/grpc",
            header: Some(Header { name: "model-version", value }),
        })
    }
}

/// Pairs of a name and a value.
struct Pairs(Vec<(&'static str, &'static str)>);

impl Metadata for Pairs {
    fn value(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes())
    }
}

/// One call, as a generated service would get it.
struct Unary {
    metadata: Pairs,
    /// The message, as it comes from the connection.
    pieces: Vec<Vec<u8>>,
}

impl Call for Unary {
    type Metadata = Pairs;
    type Packing = Infallible;

    fn metadata(&self) -> &Pairs {
        &self.metadata
    }

    /// The metadata `grpc-timeout`, in milliseconds.
    fn timeout(&self) -> Result<Option<Duration>, InferError> {
        let Some(value) = self.metadata.value("grpc-timeout") else { return Ok(None) };
        let number = std::str::from_utf8(value).ok().and_then(|text| text.strip_suffix('m'));
        let number = number.and_then(|text| text.parse().ok());
        let unreadable = || InferError::new(ErrorCode::InvalidRequest, "no timeout");
        number.map(|number| Some(Duration::from_millis(number))).ok_or_else(unreadable)
    }

    fn packing(&self) -> Option<Infallible> {
        None
    }

    async fn read(
        &mut self,
        limits: BodyLimits,
        mut lease: ByteLease,
    ) -> Result<Received, InferError> {
        let mut body = BufferVec::with_capacity(0);
        for piece in self.pieces.drain(..) {
            tokio::task::yield_now().await;
            if Instant::now() >= limits.deadline {
                return Err(late());
            }
            if body.len() + piece.len() > limits.max_bytes {
                return Err(InferError::new(ErrorCode::BodyTooLarge, "the message is too large"));
            }
            lease.grow(piece.len())?;
            body.extend_from_slice(&piece);
        }
        Ok(Received { body: body.freeze(), lease })
    }

    fn resolved(&self, _: &ModelHandle) -> Option<Box<dyn Tap>> {
        None
    }

    fn inferred(&self, _: &InferResponse) {}
}

const PLAIN: &[(&str, &str)] = &[("content-type", "application/grpc")];

/// What a generated service would be: which target, which wire.
async fn unary(
    served: &Served,
    (model, version): (&str, VersionSelector),
    metadata: &[(&'static str, &'static str)],
    pieces: Vec<Vec<u8>>,
) -> Result<Answered<Infallible>, u32> {
    let target = Target { model: Some(model.parse().unwrap()), version, key: None };
    let caller = Caller::named("r-1");
    let call = Unary { metadata: Pairs(metadata.to_vec()), pieces };
    let answer = served.door.answer::<RawTensor, _>(target, caller, call).await;
    answer.map_err(|error| meaning(error.code).grpc as u32)
}

fn message(n_rows: u32, elements: &[f32]) -> Vec<Vec<u8>> {
    let elements = elements.iter().map(|element| element.to_le_bytes().to_vec());
    std::iter::once(n_rows.to_be_bytes().to_vec()).chain(elements).collect()
}

#[tokio::test]
async fn a_unary_call_goes_through_the_door() {
    let served = served(FakeModel::echo());
    let sent = message(2, &[1.0, 2.0, 3.0, 4.0]);
    let elements = sent[1..].concat();
    let latest = ("echo", VersionSelector::Default);
    let Answered { answer, record } = unary(&served, latest, PLAIN, sent.clone()).await.unwrap();
    assert_eq!((&answer.body.bytes, answer.content_type), (&elements, "application/grpc"));
    let version = Header { name: "model-version", value: "1".to_owned() };
    assert_eq!(answer.header, Some(version));
    assert_eq!((record.failure, answer.packing), (None, None));
    let phases = [Phase::Decode, Phase::Compute, Phase::Encode];
    assert!(phases.iter().all(|phase| record.phases[*phase].is_some()));
    assert_eq!(served.budget.used(), 0, "a small answer holds nothing");
    let first = ("echo", VersionSelector::Specific(Version(1)));
    let timed = [PLAIN, &[("grpc-timeout", "60000m")]].concat();
    assert!(unary(&served, first, &timed, sent).await.is_ok());
}

#[tokio::test]
async fn what_is_refused_has_a_status_of_the_transports_own() {
    let served = served(FakeModel::echo());
    let latest = ("echo", VersionSelector::Default);
    let small = || message(1, &[1.0, 2.0]);
    for (model, metadata, pieces, expected) in [
        (("other", VersionSelector::Default), PLAIN, small(), 5),
        (("echo", VersionSelector::Specific(Version(7))), PLAIN, small(), 5),
        (latest.clone(), &[("content-type", "text/plain")][..], small(), 3),
        (latest.clone(), &[PLAIN[0], ("grpc-timeout", "soon")], small(), 3),
        (latest.clone(), &[PLAIN[0], ("grpc-timeout", "0m")], small(), 4),
        (latest.clone(), PLAIN, message(1, &[1.0, 2.0, 3.0]), 3),
        (latest.clone(), PLAIN, vec![vec![0; 1025]], 8),
        (latest.clone(), PLAIN, vec![vec![0; 3]], 3),
    ] {
        let outcome = unary(&served, model.clone(), metadata, pieces).await;
        assert_eq!(outcome.map(drop), Err(expected), "{model:?} {metadata:?}");
    }
    assert_eq!(served.budget.used(), 0, "who is refused holds nothing");
    let text = served.metrics.render();
    let unresolved = text.lines().filter(|line| line.contains("<unknown>"));
    let unresolved: Vec<_> = unresolved.filter(|line| line.ends_with(" 1")).collect();
    assert_eq!(unresolved.len(), 2, "what named no version counts by its code alone: {text}");
}
