//! TorchServe's protocol: a body of each type. The first line says which: it is the content type.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::protocol::torchserve::{Media, decode, encode};
use sconce_fuzz::{check, echo, split};

fuzz_target!(|data: &[u8]| {
    let Some((spec, rest)) = split(data) else { return };
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let content_type = String::from_utf8_lossy(&rest[..end]);
    let content_type = (end > 0).then_some(&*content_type);
    let Ok(media) = Media::parse(content_type) else { return };
    let Ok(decoded) = decode(rest[end + 1..].to_vec().into(), &media, &spec) else { return };
    let text = encode(&echo(&decoded.inputs), decoded.answer);
    assert!(std::str::from_utf8(&text).is_ok(), "JSON is UTF-8");
    check(&spec, decoded.inputs);
});
