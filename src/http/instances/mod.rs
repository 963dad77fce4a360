//! What answers on the routes of TensorFlow Serving's REST protocol, which KServe calls V1.
//!
//! Bodies of predictions are `protocol::instances`'s; here are the documents about models, and the
//! verbs that stand behind a colon in the last segment of a path. The router does not know those:
//! it matches the segment whole, and the handlers take it apart.

pub(super) mod metadata;
pub(super) mod predict;
pub(super) mod status;
