//! What answers on the routes of TorchServe, so that its clients and scripts work as they are.
//!
//! Bodies of predictions are `protocol::torchserve`'s; here are its health check, and its management
//! protocol, which has the management listener's `/models`. What a model is stands in its folder,
//! so what TorchServe does by request (register, scale) is refused with what to do instead.

pub(super) mod describe;
pub(super) mod manage;
pub(super) mod ping;

use super::error::Failed;
use crate::inference::{ErrorCode, InferError};

pub(super) async fn explanations() -> Failed {
    let message = "explanations are not supported: /predictions answers what the model gives";
    InferError::new(ErrorCode::Unsupported, message).into()
}
