//! Captured requests as other programs write and read them.
//!
//! | form | what it is | read by |
//! |---|---|---|
//! | `v2` | one request of the Open Inference Protocol a line | any server that speaks it |
//! | `kserve` | two CloudEvents a request, in their JSON form, as KServe's logger names them | what consumes KServe's payload log |
//! | `sagemaker` | one line a request, as SageMaker's data capture writes them | SageMaker's Model Monitor, and tools for it |

use super::event::{Body, Event, answer, request, request_in};
use super::line::{Line, Lines, Missing, ReadError};
use crate::protocol::json::{Dialect, write_key, write_member, write_string, write_text_member};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
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

impl ExportFormat {
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
                request_in(Dialect::Extended, line, out)?;
                out.push(b'\n');
            }
            Self::Kserve => {
                for event in Event::of(line)? {
                    event.write(out);
                }
            }
            Self::Sagemaker => sagemaker(line, out)?,
        }
        Ok(true)
    }
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
