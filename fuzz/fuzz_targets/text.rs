//! The step that makes token ids of a text, with the tokenizer of the test models: rows are as long as they may be at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::tensor::DataType;
use sconce::transform::{Desk, InputStep, TextOptions, Tokenize};
use sconce_fuzz::{content, input};
use std::sync::LazyLock;

const TOKENIZER: &[u8] = include_bytes!("../seeds/tokenizer.json");

static STEP: LazyLock<Tokenize> = LazyLock::new(|| {
    let options =
        TextOptions { max_tokens: 64, truncate: true, max_bytes: 1 << 16, pairs: false, pad: None };
    Tokenize::new(TOKENIZER, options).expect("the tokenizer is one")
});

fuzz_target!(|data: &[u8]| {
    let inner =
        ["input_ids", "attention_mask"].map(|name| input(name, DataType::Int64, &[-1, -1]));
    if let Ok(made) = STEP.apply(&inner, vec![content("text", data)], &mut Desk::default()) {
        let dims = made[0].tensor.shape().dims();
        assert!(dims[0] == 1 && (1..=64).contains(&dims[1]), "{dims:?}");
    }
});
