//! The native protocol: a body in JSON, and the same as plain bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::protocol::predict;
use sconce::tensor::Buffer;
use sconce_fuzz::{check, echo, split};

fuzz_target!(|data: &[u8]| {
    let Some((spec, body)) = split(data) else { return };
    let raw = predict::decode_raw(Buffer::copy_aligned(body), &spec);
    for decoded in [predict::decode(body, &spec), raw].into_iter().flatten() {
        let text = predict::encode(&echo(&decoded.inputs), decoded.plan);
        assert!(std::str::from_utf8(&text).is_ok(), "JSON is UTF-8");
        check(&spec, decoded.inputs);
    }
});
