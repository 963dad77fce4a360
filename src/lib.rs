//! sconce.

pub mod http;
pub mod shutdown;
