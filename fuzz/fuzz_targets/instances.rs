//! The protocol of TensorFlow Serving and KServe V1.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::protocol::instances::{decode, encode};
use sconce_fuzz::{check, echo, split};

fuzz_target!(|data: &[u8]| {
    let Some((spec, body)) = split(data) else { return };
    let Ok(decoded) = decode(body, &spec) else { return };
    let text = encode(&echo(&decoded.inputs), decoded.plan);
    assert!(std::str::from_utf8(&text).is_ok(), "JSON is UTF-8");
    check(&spec, decoded.inputs);
});
