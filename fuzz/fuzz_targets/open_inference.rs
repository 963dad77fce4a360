//! The Open Inference Protocol: a body that is all JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::protocol::open_inference::{decode, encode};
use sconce_fuzz::{check, echo, split};

fuzz_target!(|data: &[u8]| {
    let Some((spec, body)) = split(data) else { return };
    let Ok(decoded) = decode(body.to_vec().into(), None, &spec) else { return };
    drop(encode(&echo(&decoded.inputs), &decoded.plan, &["a".into()]));
    check(&spec, decoded.inputs);
});
