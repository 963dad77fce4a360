//! Captured requests as other programs write and read them.
//!
//! | form | what it is | read by |
//! |---|---|---|
//! | `v2` | one request of the Open Inference Protocol a line | any server that speaks it |
//! | `kserve` | two CloudEvents a request, in their JSON form, as KServe's logger names them | what consumes KServe's payload log |
//! | `sagemaker` | one line a request, as SageMaker's data capture writes them | SageMaker's Model Monitor, and tools for it |

use super::line::{Line, Lines, Missing, ReadError, Written};
use crate::protocol::json::{
    Printer, write_integer, write_key, write_list, write_member, write_string, write_text_member,
};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Requests of the Open Inference Protocol.
    V2,
    /// CloudEvents of KServe's logger.
    Kserve,
    /// SageMaker's data capture.
    Sagemaker,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Captured requests that were written.
    pub written: u64,
    /// Those that cannot be: their inputs were left out, or they never got so far.
    pub left_out: u64,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V2, Self::Kserve, Self::Sagemaker];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Kserve => "kserve",
            Self::Sagemaker => "sagemaker",
        }
    }

    /// Writes every captured request in this form.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or has a line that is no captured request; the inner error is that of writing.
    pub fn write(
        self,
        lines: &mut Lines,
        to: &mut impl Write,
    ) -> Result<io::Result<Exported>, ReadError> {
        let (mut exported, mut out) = (Exported::default(), Vec::new());
        while let Some(text) = lines.next_line()? {
            out.clear();
            let written = Line::read(text).and_then(|line| self.line(&line, &mut out));
            match written.map_err(|problem| lines.fault(problem))? {
                true => exported.written += 1,
                false => exported.left_out += 1,
            }
            if let Err(error) = to.write_all(&out) {
                return Ok(Err(error));
            }
        }
        Ok(to.flush().map(|()| exported))
    }

    /// Writes one; whether there was something to write.
    fn line(self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<bool, String> {
        match line.inputs() {
            Ok(_) => {}
            Err(Missing::Faulty(problem)) => return Err(problem),
            // Without its inputs a request cannot be sent; a log says what is known of it.
            Err(Missing::LeftOut(_)) if self == Self::V2 || line.inputs.is_none() => {
                return Ok(false);
            }
            Err(Missing::LeftOut(_)) => {}
        }
        match self {
            Self::V2 => {
                request(line, out)?;
                out.push(b'\n');
            }
            Self::Kserve => {
                event(line, "org.kubeflow.serving.inference.request", out, request)?;
                if line.outputs.is_some() {
                    event(line, "org.kubeflow.serving.inference.response", out, answer)?;
                }
            }
            Self::Sagemaker => sagemaker(line, out)?,
        }
        Ok(true)
    }
}

/// Writes a body.
type Body = fn(&Line<'_>, &mut Vec<u8>) -> Result<(), String>;

/// The request, by the Open Inference Protocol.
fn request(line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    write_key(out, "id");
    write_string(out, &line.request_id);
    write_member(out, "inputs");
    tensors(line.inputs.as_deref().unwrap_or_default(), out)?;
    out.push(b'}');
    Ok(())
}

/// The answer, by the Open Inference Protocol.
fn answer(line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    write_key(out, "id");
    write_string(out, &line.request_id);
    write_text_member(out, "model_name", &line.model);
    write_text_member(out, "model_version", &line.version);
    write_member(out, "outputs");
    tensors(line.outputs.as_deref().unwrap_or_default(), out)?;
    out.push(b'}');
    Ok(())
}

fn tensors(tensors: &[Written<'_>], out: &mut Vec<u8>) -> Result<(), String> {
    let mut outcome = Ok(());
    write_list(out, tensors, |out, written| {
        if outcome.is_ok() {
            outcome = tensor(written, out);
        }
    });
    outcome
}

fn tensor(written: &Written<'_>, out: &mut Vec<u8>) -> Result<(), String> {
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
            Printer::new(&tensor).next(out, &[elements]);
        }
    }
    out.push(b'}');
    Ok(())
}

/// A CloudEvent (specification 1.0, JSON format), with the attributes that KServe's logger adds.
fn event(line: &Line<'_>, kind: &str, out: &mut Vec<u8>, body: Body) -> Result<(), String> {
    out.push(b'{');
    write_key(out, "specversion");
    write_string(out, "1.0");
    write_text_member(out, "id", &line.request_id);
    write_text_member(out, "type", kind);
    write_text_member(out, "source", &source(line));
    write_text_member(out, "time", &line.time);
    write_text_member(out, "datacontenttype", "application/json");
    for (name, value) in attributes(line) {
        write_text_member(out, name, value);
    }
    write_member(out, "data");
    body(line, out)?;
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Where an event comes from.
fn source(line: &Line<'_>) -> String {
    format!("/models/{}/versions/{}", line.model, line.version)
}

/// What KServe's logger adds to events, as far as it is known here.
fn attributes<'l>(line: &'l Line<'_>) -> [(&'static str, &'l str); 3] {
    [("inferenceservicename", &line.model), ("component", "predictor"), ("endpoint", &line.version)]
}

fn sagemaker(line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    write_key(out, "captureData");
    out.push(b'{');
    let sides: [(&str, &str, Body, bool); 2] = [
        ("endpointInput", "INPUT", request, true),
        ("endpointOutput", "OUTPUT", answer, line.outputs.is_some()),
    ];
    for (place, (key, mode, body, _)) in sides.iter().filter(|(.., is_there)| *is_there).enumerate()
    {
        if place > 0 {
            out.push(b',');
        }
        write_key(out, key);
        out.push(b'{');
        write_key(out, "observedContentType");
        write_string(out, "application/json");
        write_text_member(out, "mode", mode);
        let mut text = Vec::new();
        body(line, &mut text)?;
        write_text_member(out, "data", &String::from_utf8_lossy(&text));
        write_text_member(out, "encoding", "JSON");
        out.push(b'}');
    }
    out.push(b'}');
    write_member(out, "eventMetadata");
    out.push(b'{');
    write_key(out, "eventId");
    write_string(out, &event_id(line));
    write_text_member(out, "inferenceId", &line.request_id);
    write_text_member(out, "inferenceTime", &line.time);
    out.push(b'}');
    write_text_member(out, "eventVersion", "0");
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// An id in the form of a UUID, the same each time that a line is exported. Callers may give two requests one id, so that the
/// moment is part of it.
fn event_id(line: &Line<'_>) -> String {
    let digest = Sha256::digest(format!("{}\n{}\n{}", line.time, line.model, line.request_id));
    let mut id = String::new();
    for (place, byte) in digest.iter().take(16).enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        let _ = write!(id, "{byte:02x}");
    }
    id
}
