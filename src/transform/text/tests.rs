//! A tokenizer of words, with the special tokens and the settings of its own that are not to hold.

use super::*;
use crate::inference::ErrorCode;
use crate::tensor::ShapePattern;

const TOKENIZER: &str = r#"{
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 7, "pad_type_id": 0, "pad_token": "[PAD]"},
    "added_tokens": [],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}}
    },
    "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "torch": 4, "in": 5, "sconce": 6, "[PAD]": 7}, "unk_token": "[UNK]"}
}"#;

fn options() -> TextOptions {
    TextOptions { max_tokens: 6, truncate: false, max_bytes: 100, pairs: false, pad: None }
}

fn step(options: TextOptions) -> Tokenize {
    Tokenize::new(TOKENIZER.as_bytes(), options).unwrap()
}

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    let shape = ShapePattern::from_wire(shape).unwrap();
    TensorSpec { name: name.into(), datatype, shape, optional: false, declared: true }
}

fn bert() -> Vec<TensorSpec> {
    [IDS, MASK, TYPES].map(|name| spec(name, DataType::Int64, &[-1, -1])).to_vec()
}

fn texts(name: &str, texts: &[&[u8]]) -> NamedTensor {
    let element = |text: &&[u8]| [&(text.len() as u32).to_le_bytes(), *text].concat();
    let bytes: Vec<u8> = texts.iter().flat_map(element).collect();
    let shape = Shape::from([texts.len()]);
    let tensor = Tensor::new(DataType::Bytes, shape, bytes.into()).unwrap();
    NamedTensor { name: name.into(), tensor }
}

fn rows(tensor: &NamedTensor) -> Vec<Vec<i64>> {
    let width = tensor.tensor.shape().dims()[1];
    tensor.tensor.as_slice::<i64>().unwrap().chunks(width).map(<[_]>::to_vec).collect()
}

#[track_caller]
fn refused(step: &Tokenize, inputs: Vec<NamedTensor>, expected: &str) {
    let error = step.apply(&bert(), inputs, &mut Desk::default()).unwrap_err();
    assert_eq!((error.code, &*error.message), (ErrorCode::InvalidInput, expected));
}

#[test]
fn texts_become_ids_masks_and_types_of_one_width() {
    let mut desk = Desk::default();
    let given = vec![texts("text", &[b"A torch", b"a torch in sconce"])];
    let made = step(options()).apply(&bert(), given, &mut desk).unwrap();
    let [ids, mask, types] = &made[..] else { panic!("three tensors: {made:?}") };
    assert_eq!((&*ids.name, &*mask.name, &*types.name), (IDS, MASK, TYPES));
    assert_eq!(rows(ids), [vec![1, 3, 4, 2, 7, 7], vec![1, 3, 4, 5, 6, 2]]);
    assert_eq!(rows(mask), [vec![1, 1, 1, 1, 0, 0], vec![1; 6]]);
    assert_eq!(rows(types), [vec![0; 6], vec![0; 6]]);
    assert_eq!(desk.work.tokens, 10, "padding is none");
}

#[test]
fn the_models_pad_goes_before_the_tokenizers_and_int32_is_taken() {
    let step = step(TextOptions { pad: Some(5), ..options() });
    let given = vec![texts("text", &[b"a", b"a torch"])];
    let inner = [spec(IDS, DataType::Int32, &[-1, -1])];
    let made = step.apply(&inner, given, &mut Desk::default()).unwrap();
    assert_eq!(made[0].tensor.as_slice::<i32>(), Some(&[1, 3, 2, 5, 1, 3, 4, 2][..]));
}

#[test]
fn a_fixed_width_is_filled_up() {
    let inner = [IDS, MASK].map(|name| spec(name, DataType::Int64, &[-1, 8]));
    let made = step(options()).apply(&inner, vec![texts("text", &[b"a"])], &mut Desk::default());
    assert_eq!(rows(&made.unwrap()[0]), [vec![1, 3, 2, 7, 7, 7, 7, 7]]);
    let narrow = [spec(IDS, DataType::Int64, &[-1, 5])];
    let error = step(options()).specs(&narrow).unwrap_err().to_string();
    assert_eq!(error, "preprocess.text: max_tokens is 6, but input \"input_ids\" takes 5");
}

#[test]
fn longer_texts_are_refused_or_cut_and_the_special_tokens_stay() {
    let long = || vec![texts("text", &[b"a", b"a torch in sconce a"])];
    let message = "text 1 has 7 tokens, at most 6 are allowed";
    refused(&step(options()), long(), message);
    let cut = step(TextOptions { truncate: true, max_tokens: 4, ..options() });
    let made = cut.apply(&bert(), long(), &mut Desk::default()).unwrap();
    assert_eq!(rows(&made[0]), [[1, 3, 2, 7], [1, 3, 4, 2]]);
}

#[test]
fn pairs_have_types_and_rows_in_common() {
    let step = step(TextOptions { pairs: true, ..options() });
    assert_eq!(step.specs(&bert()).unwrap().len(), 5);
    let given = vec![texts(PAIR, &[b"torch"]), texts("text", &[b"a"])];
    let made = step.apply(&bert(), given, &mut Desk::default()).unwrap();
    assert_eq!(rows(&made[0]), [[1, 3, 2, 4, 2]]);
    assert_eq!(rows(&made[2]), [[0, 0, 0, 1, 1]]);
    refused(&step, vec![texts("text", &[b"a"])], "input \"text_pair\" is missing");
    let uneven = vec![texts("text", &[b"a"]), texts(PAIR, &[b"a", b"a"])];
    refused(&step, uneven, "input \"text_pair\" has 2 rows, but \"text\" has 1");
}

#[test]
fn what_is_no_text_is_refused() {
    let step = step(options());
    refused(&step, vec![texts("text", &[b"a", b"\xff"])], "text 1 is not UTF-8");
    let message = "the text has 101 bytes, at most 100 are allowed";
    refused(&step, vec![texts("text", &[&[b'a'; 101]])], message);
    refused(&step, vec![texts("text", &[])], "input \"text\" is empty, expected at least one row");
    let twice = vec![texts("text", &[b"a"]), texts("text", &[b"a"])];
    refused(&step, twice, "input \"text\" is given twice");
    let cut = Tensor::new(DataType::Bytes, Shape::from([1]), vec![9, 0, 0, 0, 1].into()).unwrap();
    let cut = vec![NamedTensor { name: "text".into(), tensor: cut }];
    refused(&step, cut, "input \"text\" is BYTES [1], expected BYTES with their lengths");
}

#[test]
fn an_empty_text_is_its_special_tokens() {
    let made = step(options()).apply(&bert(), vec![texts("text", &[b""])], &mut Desk::default());
    assert_eq!(rows(&made.unwrap()[0]), [[1, 2]]);
}

#[test]
fn tensors_pass_and_are_not_mixed_with_texts() {
    let ids = || {
        let tensor = Tensor::from_vec::<i64>(Shape::from([1, 2]), vec![1, 2]).unwrap();
        NamedTensor { name: IDS.into(), tensor }
    };
    let step = step(options());
    assert_eq!(step.apply(&bert(), vec![ids()], &mut Desk::default()), Ok(vec![ids()]));
    let message = "input \"text\" is given beside \"input_ids\", which is made from it";
    refused(&step, vec![ids(), texts("text", &[b"a"])], message);
    let outer = step.specs(&bert()).unwrap();
    let names: Vec<_> = outer.iter().map(|spec| (&*spec.name, spec.optional)).collect();
    assert_eq!(names, [("text", false), (IDS, true), (MASK, true), (TYPES, true)]);
}

#[test]
fn without_a_mask_rows_of_different_lengths_need_a_declared_pad() {
    let inner = [spec(IDS, DataType::Int64, &[-1, -1])];
    let given = || vec![texts("text", &[b"a", b"a torch"])];
    let error = step(options()).apply(&inner, given(), &mut Desk::default()).unwrap_err();
    assert!(error.message.starts_with("the texts have 3 to 4 tokens, and the model has no "));
    let padded = step(TextOptions { pad: Some(7), ..options() });
    assert!(padded.apply(&inner, given(), &mut Desk::default()).is_ok());
}

#[test]
fn models_that_it_does_not_fit_are_refused_at_load() {
    let check = |inner: &[TensorSpec], expected: &str| {
        let error = step(options()).specs(inner).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&[spec("x", DataType::Int64, &[-1, -1])], "the model has an input \"x\", expected");
    check(&[spec(IDS, DataType::Fp32, &[-1, -1])], "is of FP32, expected INT64 or INT32");
    check(&[spec(IDS, DataType::Int64, &[-1])], "has shape [-1], expected one row");
    check(&[spec(MASK, DataType::Int64, &[-1, -1])], "the model has no input \"input_ids\"");
    let error = Tokenize::new(b"{}", options()).unwrap_err().to_string();
    assert!(error.starts_with("preprocess.text: the tokenizer cannot be read: "), "{error}");
    let tiny = TextOptions { max_tokens: 2, truncate: true, ..options() };
    let error = Tokenize::new(TOKENIZER.as_bytes(), tiny).unwrap_err().to_string();
    assert!(error.contains("max_tokens is 2, but the tokenizer adds 2 of its own"), "{error}");
}
