//! TensorFlow Serving's REST protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::protocol::instances::{decode, encode};
use sconce_fuzz::{check, echo, split};

fuzz_target!(|data: &[u8]| {
    let Some((spec, body)) = split(data) else { return };
    let Ok(decoded) = decode(body, &spec) else { return };
    let text = encode(&echo(&decoded.inputs), decoded.form);
    assert!(std::str::from_utf8(&text).is_ok(), "JSON is UTF-8");
    // What was read is written so that it is read again; rows need an input that has them.
    let again = String::from_utf8_lossy(&text)
        .replacen("\"predictions\"", "\"instances\"", 1)
        .replacen("\"outputs\"", "\"inputs\"", 1);
    if decoded.inputs.len() == 1
        && spec.sole_input().is_some_and(|it| it.name == decoded.inputs[0].name)
    {
        decode(again.as_bytes(), &spec).unwrap_or_else(|error| panic!("{error}: {again}"));
    }
    check(&spec, decoded.inputs);
});
