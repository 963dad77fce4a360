//! The Open Inference Protocol: a body with bytes behind its JSON. The first NUL, which no JSON has,
//! says where that ends; where the body begins with it, the body is the tensor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::protocol::open_inference::{decode, encode};
use sconce::tensor::Buffer;
use sconce_fuzz::{check, echo, split};

fuzz_target!(|data: &[u8]| {
    let Some((spec, body)) = split(data) else { return };
    let Some(json_len) = body.iter().position(|byte| *byte == 0) else { return };
    let body = Buffer::from([&body[..json_len], &body[json_len + 1..]].concat());
    let Ok(decoded) = decode(body, Some(json_len), &spec) else { return };
    drop(encode(&echo(&decoded.inputs), &decoded.plan, &["a".into()]));
    check(&spec, decoded.inputs);
});
