//! One request as it is copied while it passes, and as a line of JSON.
//!
//! A line is an object of its own: `time`, `request_id`, `trace_id`, `model`, `version`, `digest`, `outcome` (`ok`, or the code of
//! the error), `rows`, `inputs` and `outputs` as the Open Inference Protocol writes tensors, `labels` and `scores` of the rows,
//! `seconds` by phase. A tensor that JSON cannot hold as it is (NaN, infinities), or that is large, has its bytes as `base64`; one
//! that is left out says why in `left_out`.

use super::held::Share;
use crate::inference::{InferResponse, ModelName, NamedTensor, Version};
use crate::protocol::json::{
    Dialect, Printer, write_float, write_integer, write_key, write_list, write_member,
    write_string, write_text_member,
};
use crate::repository::ModelStatus;
use crate::telemetry::{RequestRecord, written_moment};
use crate::tensor::{Buffer, DataType, Shape, Tensor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes of all tensors of one record; what goes beyond is left out.
pub(super) const MAX_RECORD: usize = 4 << 20;
/// Up to so many bytes a tensor is written as numbers that people can read.
const MAX_NUMBERS: usize = 64 << 10;

/// The tensors whose values stay out of files, as `input` or `model/input`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redaction(BTreeSet<String>);

impl Redaction {
    /// Those of these names.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// They.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Those that no loaded version has: a misspelt one leaves in files what is not to lie there.
    #[must_use]
    pub fn strangers(&self, models: &[ModelStatus]) -> Vec<&str> {
        let has = |name: &&str| {
            models.iter().any(|model| {
                let loaded = model.versions.iter().filter_map(|it| it.loaded.as_ref());
                let mut tensors =
                    loaded.flat_map(|it| it.spec.inputs.iter().chain(&it.spec.outputs));
                tensors.any(|tensor| {
                    *tensor.name == **name || *format!("{}/{}", model.name, tensor.name) == **name
                })
            })
        };
        self.names().filter(|name| !has(name)).collect()
    }

    fn covers(&self, model: &ModelName, name: &str) -> bool {
        !self.0.is_empty() && (self.0.contains(name) || self.0.contains(&format!("{model}/{name}")))
    }
}

/// A tensor as it is kept.
#[derive(Debug)]
struct Kept {
    name: Arc<str>,
    datatype: DataType,
    shape: Shape,
    content: Result<Tensor, LeftOut>,
}

/// Why the values of a tensor are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftOut {
    Redacted,
    TooLarge,
}

/// What is known of a request so far.
#[derive(Debug)]
pub(super) struct Record {
    time: SystemTime,
    request_id: Arc<str>,
    trace_id: Option<String>,
    model: ModelName,
    version: Version,
    digest: String,
    rows: Option<usize>,
    inputs: Option<Vec<Kept>>,
    outputs: Option<Vec<Kept>>,
    labels: Vec<(Arc<str>, f32)>,
    end: RequestRecord,
    /// Bytes of tensors that are copied already.
    bytes: usize,
    share: Share,
    has_room: bool,
}

impl Record {
    /// A request that has come.
    pub(super) fn new(
        request_id: Arc<str>,
        trace_id: Option<String>,
        (model, version, digest): (ModelName, Version, String),
        share: Share,
    ) -> Self {
        Self {
            time: SystemTime::now(),
            request_id,
            trace_id,
            model,
            version,
            digest,
            rows: None,
            inputs: None,
            outputs: None,
            labels: Vec::new(),
            end: RequestRecord::default(),
            bytes: 0,
            share,
            has_room: true,
        }
    }

    /// Its inputs, and of how many rows they are.
    pub(super) fn set_inputs<'t>(
        &mut self,
        inputs: impl Iterator<Item = (&'t Arc<str>, &'t Tensor)>,
        n_rows: usize,
        redaction: &Redaction,
    ) {
        self.rows = Some(n_rows);
        self.inputs = self.copy(inputs, redaction);
    }

    /// Its answer.
    pub(super) fn set_answer(&mut self, response: &InferResponse, redaction: &Redaction) {
        let outputs = response.outputs.iter().map(|NamedTensor { name, tensor }| (name, tensor));
        self.outputs = self.copy(outputs, redaction);
        // Labels are the first output in other words.
        let first = response.outputs.first();
        if first.is_some_and(|output| redaction.covers(&self.model, &output.name)) {
            return;
        }
        let best = response.rankings().into_iter().flat_map(|it| &it.rows);
        self.labels = best.filter_map(|ranking| ranking.first().cloned()).collect();
    }

    /// How it ended; whether it can be written.
    pub(super) fn end(&mut self, end: &RequestRecord) -> bool {
        self.end = *end;
        self.has_room
    }

    /// Whether it got so far that its inputs suited the model.
    pub(super) fn has_inputs(&self) -> bool {
        self.inputs.is_some()
    }

    /// Copies values, since tensors may be small parts of large buffers, which would be held with them.
    fn copy<'t>(
        &mut self,
        tensors: impl Iterator<Item = (&'t Arc<str>, &'t Tensor)>,
        redaction: &Redaction,
    ) -> Option<Vec<Kept>> {
        let mut all = Vec::new();
        for (name, tensor) in tensors {
            let bytes = tensor.buffer().as_bytes();
            let content = if redaction.covers(&self.model, name) {
                Err(LeftOut::Redacted)
            } else if self.bytes.saturating_add(bytes.len()) > MAX_RECORD {
                Err(LeftOut::TooLarge)
            } else {
                self.has_room = self.has_room && self.share.grow(bytes.len());
                if !self.has_room {
                    return None;
                }
                self.bytes += bytes.len();
                let buffer = Buffer::copy_aligned(bytes);
                let copy = Tensor::new(tensor.datatype(), tensor.shape().clone(), buffer);
                Ok(copy.unwrap_or_else(|_| tensor.clone()))
            };
            let (datatype, shape) = (tensor.datatype(), tensor.shape().clone());
            all.push(Kept { name: Arc::clone(name), datatype, shape, content });
        }
        Some(all)
    }

    /// The line, with its end.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        write_key(out, "time");
        write_string(out, &written_moment(self.time));
        write_text_member(out, "request_id", &self.request_id);
        if let Some(trace_id) = &self.trace_id {
            write_text_member(out, "trace_id", trace_id);
        }
        write_text_member(out, "model", self.model.as_str());
        write_text_member(out, "version", &self.version.to_string());
        write_text_member(out, "digest", &self.digest);
        write_text_member(out, "outcome", self.end.failure.unwrap_or("ok"));
        if let Some(rows) = self.rows {
            write_member(out, "rows");
            write_integer(out, rows);
        }
        for (key, tensors) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            if let Some(tensors) = tensors {
                write_member(out, key);
                write_list(out, tensors, write_tensor);
            }
        }
        if !self.labels.is_empty() {
            write_member(out, "labels");
            write_list(out, &self.labels, |out, (label, score)| match score.is_nan() {
                true => out.extend_from_slice(b"null"),
                false => write_string(out, label),
            });
            write_member(out, "scores");
            write_list(out, &self.labels, |out, (_, score)| write_float(out, *score));
        }
        write_member(out, "seconds");
        out.push(b'{');
        for (phase, took) in self.end.phases.iter() {
            if let Some(took) = took {
                write_key(out, phase.name());
                write_float(out, took.as_secs_f64());
                out.push(b',');
            }
        }
        write_key(out, "total");
        write_float(out, self.end.total.as_secs_f64());
        out.extend_from_slice(b"}}\n");
    }
}

fn write_tensor(out: &mut Vec<u8>, kept: &Kept) {
    out.push(b'{');
    write_key(out, "name");
    write_string(out, &kept.name);
    write_text_member(out, "datatype", kept.datatype.name());
    write_member(out, "shape");
    write_list(out, kept.shape.dims(), |out, &size| write_integer(out, size));
    match &kept.content {
        Err(LeftOut::Redacted) => write_text_member(out, "left_out", "redacted"),
        Err(LeftOut::TooLarge) => write_text_member(out, "left_out", "too large"),
        Ok(tensor) if is_readable(tensor) => {
            write_member(out, "data");
            let elements = tensor.shape().elements().unwrap_or_default();
            // Which has a form for bytes that are no text.
            Printer::new(tensor).in_dialect(Dialect::Extended).next(out, &[elements]);
        }
        Ok(tensor) => {
            write_member(out, "base64");
            write_string(out, &STANDARD.encode(tensor.buffer().as_bytes()));
        }
    }
    out.push(b'}');
}

/// Whether its values, as JSON writes them, read back as the same.
fn is_readable(tensor: &Tensor) -> bool {
    let is_finite = match tensor.datatype() {
        DataType::Fp16 => all(tensor, |value: &f16| value.is_finite()),
        DataType::Bf16 => all(tensor, |value: &bf16| value.is_finite()),
        DataType::Fp32 => all(tensor, |value: &f32| value.is_finite()),
        DataType::Fp64 => all(tensor, |value: &f64| value.is_finite()),
        _ => true,
    };
    is_finite && tensor.buffer().len() <= MAX_NUMBERS
}

fn all<T: crate::tensor::Element>(tensor: &Tensor, holds: impl Fn(&T) -> bool) -> bool {
    tensor.as_slice::<T>().is_some_and(|values| values.iter().all(holds))
}
