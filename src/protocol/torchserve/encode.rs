//! Answers and errors to bodies.

use super::Envelope;
use crate::inference::{ErrorCode, InferError, InferResponse};
use crate::protocol::forms::{Form, outputs_len, write_outputs};
use crate::protocol::json::{Dialect, write_float_in, write_integer, write_key, write_list};
use crate::protocol::json::{write_object, write_text_member};
use std::sync::Arc;

/// Writes an answer.
#[must_use]
pub fn encode(response: &InferResponse, envelope: Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(expected_len(response));
    if envelope == Envelope::Predictions {
        out.push(b'{');
        write_key(&mut out, Form::Many.response_key());
    }
    match (response.rankings(), envelope) {
        (Some(rankings), Envelope::Row) => ranking(&mut out, rankings.told(0)),
        (Some(rankings), _) => write_list(&mut out, 0..rankings.rows.len(), |out, row| {
            ranking(out, rankings.told(row));
        }),
        (None, Envelope::Row) => write_outputs(&mut out, response, Form::One, Dialect::Extended),
        (None, Envelope::Rows | Envelope::Predictions) => {
            write_outputs(&mut out, response, Form::Many, Dialect::Extended);
        }
        (None, Envelope::Whole) => {
            write_outputs(&mut out, response, Form::Named, Dialect::Extended);
        }
    }
    if envelope == Envelope::Predictions {
        out.push(b'}');
    }
    out
}

fn expected_len(response: &InferResponse) -> usize {
    let label = |(label, _): &(Arc<str>, f32)| label.len() + 20;
    match response.rankings() {
        Some(rankings) => rankings.rows.iter().flatten().map(label).sum::<usize>() + 32,
        None => outputs_len(response) + 32,
    }
}

/// The best labels of a row with their scores, the best first.
fn ranking(out: &mut Vec<u8>, row: &[(Arc<str>, f32)]) {
    write_object(out, row, |out, (label, score)| {
        write_key(out, label);
        write_float_in(out, *score, Dialect::Extended);
    });
}

/// Writes the report of a failure, which is answered with this status.
#[must_use]
pub fn encode_error(error: &InferError, status: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    write_key(&mut out, "code");
    write_integer(&mut out, status);
    write_text_member(&mut out, "type", class(error.code));
    write_text_member(&mut out, "message", &error.message);
    out.push(b'}');
    out
}

/// What TorchServe calls the exception behind a failure of this kind.
fn class(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidJson
        | ErrorCode::InvalidBody
        | ErrorCode::InvalidInput
        | ErrorCode::ModelRequired
        | ErrorCode::BodyTooLarge
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::HeadTooLarge => "BadRequestException",
        ErrorCode::RouteNotFound => "ResourceNotFoundException",
        ErrorCode::ModelNotFound => "ModelNotFoundException",
        ErrorCode::VersionNotFound => "ModelVersionNotFoundException",
        // It calls its own refusal so, when changes through its API are switched off.
        ErrorCode::ManagementOnly | ErrorCode::Forbidden | ErrorCode::MethodNotAllowed => {
            "MethodNotAllowedException"
        }
        ErrorCode::BodyTimeout | ErrorCode::DeadlineExceeded => "RequestTimeoutException",
        ErrorCode::Conflict => "ConflictStatusException",
        ErrorCode::Unsupported => "NotImplementedException",
        ErrorCode::QueueFull
        | ErrorCode::ModelNotReady
        | ErrorCode::Draining
        | ErrorCode::Overloaded => "ServiceUnavailableException",
        ErrorCode::ClientClosed
        | ErrorCode::OutOfMemory
        | ErrorCode::InferenceFailed
        | ErrorCode::ModelCrashed
        | ErrorCode::Internal => "InternalServerException",
    }
}
