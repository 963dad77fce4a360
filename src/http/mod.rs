//! HTTP.

pub mod listener;
