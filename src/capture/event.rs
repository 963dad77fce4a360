//! Captured requests as CloudEvents (specification 1.0), with the attributes that KServe's logger adds.
//!
//! A request is an event, and its answer another of the same id. Their bodies are those of the Open Inference Protocol.

use super::line::{Line, Written};
use crate::protocol::json::{
    Dialect, Printer, write_integer, write_key, write_list, write_member, write_string,
    write_text_member,
};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What it says of itself, by the names of the specification.
    pub(super) attributes: Vec<(&'static str, String)>,
    /// JSON.
    pub(super) data: Vec<u8>,
}

impl Event {
    /// Those of a captured request: itself, and its answer if there was one.
    pub(super) fn of(line: &Line<'_>) -> Result<Vec<Self>, String> {
        let mut events = vec![Self::new(line, "org.kubeflow.serving.inference.request", request)?];
        if line.outputs.is_some() {
            events.push(Self::new(line, "org.kubeflow.serving.inference.response", answer)?);
        }
        Ok(events)
    }

    fn new(line: &Line<'_>, kind: &str, body: Body) -> Result<Self, String> {
        let mut data = Vec::new();
        body(line, &mut data)?;
        let source = format!("/models/{}/versions/{}", line.model, line.version);
        let attributes = [
            ("specversion", "1.0"),
            ("id", &line.request_id),
            ("type", kind),
            ("source", &source),
            ("time", &line.time),
            ("datacontenttype", "application/json"),
            ("inferenceservicename", &line.model),
            ("component", "predictor"),
            ("endpoint", &line.version),
        ];
        let attributes = attributes.map(|(name, value)| (name, value.to_owned())).into();
        Ok(Self { attributes, data })
    }

    /// In the JSON form of the specification, with the end of its line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, (name, value)) in self.attributes.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_key(out, name);
            write_string(out, value);
        }
        write_member(out, "data");
        out.extend_from_slice(&self.data);
        out.extend_from_slice(b"}\n");
    }
}

/// Writes a body.
pub(super) type Body = fn(&Line<'_>, &mut Vec<u8>) -> Result<(), String>;

/// The request, by the Open Inference Protocol.
pub(super) fn request(line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    request_in(Dialect::Strict, line, out)
}

/// The same in a dialect: that of servers has words for numbers that are not finite.
pub(super) fn request_in(
    dialect: Dialect,
    line: &Line<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    out.push(b'{');
    write_key(out, "id");
    write_string(out, &line.request_id);
    write_member(out, "inputs");
    tensors(line.inputs.as_deref().unwrap_or_default(), dialect, out)?;
    out.push(b'}');
    Ok(())
}

/// The answer, by the Open Inference Protocol.
pub(super) fn answer(line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    write_key(out, "id");
    write_string(out, &line.request_id);
    write_text_member(out, "model_name", &line.model);
    write_text_member(out, "model_version", &line.version);
    write_member(out, "outputs");
    tensors(line.outputs.as_deref().unwrap_or_default(), Dialect::Strict, out)?;
    out.push(b'}');
    Ok(())
}

fn tensors(tensors: &[Written<'_>], dialect: Dialect, out: &mut Vec<u8>) -> Result<(), String> {
    let mut outcome = Ok(());
    write_list(out, tensors, |out, written| {
        if outcome.is_ok() {
            outcome = tensor(written, dialect, out);
        }
    });
    outcome
}

fn tensor(written: &Written<'_>, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), String> {
    let Written { name, datatype, shape, data, left_out, .. } = written;
    out.push(b'{');
    write_key(out, "name");
    write_string(out, name);
    write_text_member(out, "datatype", datatype);
    write_member(out, "shape");
    write_list(out, shape, |out, &size| write_integer(out, size));
    match (left_out, data) {
        (Some(reason), _) => {
            write_member(out, "parameters");
            out.push(b'{');
            write_key(out, "left_out");
            write_string(out, reason);
            out.push(b'}');
        }
        (None, Some(values)) => {
            write_member(out, "data");
            out.extend_from_slice(values.get().as_bytes());
        }
        (None, None) => {
            let tensor = written.read().map_err(|missing| missing.to_string())?.tensor;
            write_member(out, "data");
            let elements = tensor.shape().elements().unwrap_or_default();
            Printer::new(&tensor).in_dialect(dialect).next(out, &[elements]);
        }
    }
    out.push(b'}');
    Ok(())
}
