//! What Triton has and this server has not: refused by its name, so that nobody searches for a
//! fault of their own.

use crate::http::error::Failed;
use crate::inference::{ErrorCode, InferError};

pub(in crate::http) async fn cuda_shared_memory() -> Failed {
    refuse("CUDA shared memory is")
}

pub(in crate::http) async fn system_shared_memory() -> Failed {
    refuse("system shared memory is")
}

pub(in crate::http) async fn logging() -> Failed {
    refuse("log settings over HTTP are")
}

pub(in crate::http) async fn generation() -> Failed {
    refuse("text generation is")
}

pub(in crate::http) async fn trace_settings() -> Failed {
    refuse("trace settings are")
}

fn refuse(what: &str) -> Failed {
    let message = format!("{what} not supported; /v2 lists the extensions that are");
    InferError::new(ErrorCode::Unsupported, message).into()
}
