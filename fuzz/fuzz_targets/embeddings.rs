//! OpenAI's protocol for embeddings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::inference::Content;
use sconce::protocol::embeddings::{decode, encode, model};
use sconce::tensor::DataType;
use sconce_fuzz::{echo, input, split};

fuzz_target!(|data: &[u8]| {
    let Some((mut spec, body)) = split(data) else { return };
    drop(model(body));
    let ids = ["input_ids", "attention_mask"].map(|name| input(name, DataType::Int64, &[-1, -1]));
    spec.inputs = vec![input("text", DataType::Bytes, &[-1])];
    spec.inputs.extend(ids);
    spec.inputs[1..].iter_mut().for_each(|input| input.optional = true);
    spec.outputs = vec![input("embedding", DataType::Fp32, &[-1, 2])];
    spec.contract.content = Some(Content::Text);
    let Ok(decoded) = decode(body, &spec) else { return };
    drop(encode(&echo(&decoded.inputs), decoded.plan));
});
