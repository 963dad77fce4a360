//! TorchServe's protocol: one body as each type that it may have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::protocol::torchserve::{Media, decode, encode};
use sconce::tensor::Buffer;
use sconce_fuzz::{check, echo, split};

fuzz_target!(|data: &[u8]| {
    let Some((spec, body)) = split(data) else { return };
    let form = Media::Form { boundary: "b".to_owned() };
    for media in [Media::Json, Media::Plain, Media::Unstated, form] {
        let Ok(decoded) = decode(Buffer::copy_aligned(body), &media, &spec) else { continue };
        let text = encode(&echo(&decoded.inputs), decoded.plan);
        assert!(std::str::from_utf8(&text).is_ok(), "JSON is UTF-8");
        check(&spec, decoded.inputs);
    }
});
