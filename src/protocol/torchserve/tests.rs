//! What clients send and get.

use super::*;
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor};
use crate::protocol::Decoded;
use crate::protocol::testing::{RowLabel, one, response, tensor, texts, two};
use crate::tensor::{Buffer, DataType};

fn read(
    content_type: Option<&str>,
    body: &[u8],
    spec: &ModelSpec,
) -> Result<Decoded<Envelope>, InferError> {
    let media = Media::parse(content_type)?;
    decode(Buffer::from(body.to_vec()), &media, spec)
}

#[track_caller]
fn check(
    spec: &ModelSpec,
    (content_type, body): (Option<&str>, &[u8]),
    answer: Envelope,
    expected: &[NamedTensor],
) {
    let decoded = read(content_type, body, spec).unwrap();
    assert_eq!((decoded.plan, &decoded.inputs[..]), (answer, expected));
}

#[track_caller]
fn check_json(spec: &ModelSpec, body: &str, answer: Envelope, expected: &[NamedTensor]) {
    check(spec, (Some("application/json"), body.as_bytes()), answer, expected);
}

#[track_caller]
fn check_bad(
    spec: &ModelSpec,
    (content_type, body): (Option<&str>, &[u8]),
    code: ErrorCode,
    message: &str,
) {
    let error = read(content_type, body, spec).unwrap_err();
    assert_eq!((error.code, &*error.message), (code, message));
}

#[test]
fn json_is_read_in_every_form() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let row = [tensor("x", &[1, 2], &[1f32, 2.5])];
    let rows = [tensor("x", &[2, 2], &[1f32, 2.5, -3.0, 4.0])];
    check_json(&x, "[1,2.5]", Envelope::Row, &row);
    check_json(&x, "[[1,2.5]]", Envelope::Rows, &row);
    check_json(&x, "[[1,2.5],[-3,4]]", Envelope::Rows, &rows);
    check_json(&x, r#"{"data":[1,2.5]}"#, Envelope::Row, &row);
    check_json(&x, r#"{"data":[[1,2.5],[-3,4]]}"#, Envelope::Rows, &rows);
    check_json(&x, r#"{"features":[1,2.5]}"#, Envelope::Row, &row);
    check_json(&x, r#"{"instances":[[1,2.5],[-3,4]]}"#, Envelope::Predictions, &rows);
    check_json(&x, r#"{"inputs":[[1,2.5],[-3,4]]}"#, Envelope::Whole, &rows);
    check_json(&x, r#"{"inputs":{"x":[[1,2.5],[-3,4]]}}"#, Envelope::Whole, &rows);

    let flat = one(DataType::Int64, Some(&[-1]));
    check_json(&flat, "7", Envelope::Row, &[tensor("x", &[1], &[7i64])]);
    check_json(&flat, "[7,8]", Envelope::Rows, &[tensor("x", &[2], &[7i64, 8])]);
    let scalar = one(DataType::Fp64, Some(&[]));
    check_json(&scalar, "NaN", Envelope::Row, &[tensor("x", &[], &[f64::NAN])]);
    let unknown = one(DataType::Fp32, None);
    check_json(&unknown, "[1,2.5]", Envelope::Rows, &[tensor("x", &[2], &[1f32, 2.5])]);
    let named = [tensor("a", &[1, 2], &[1f32, 2.0]), tensor("b", &[1], &[5i64])];
    check_json(&two(), r#"{"inputs":{"a":[[1,2]],"b":[5]}}"#, Envelope::Whole, &named);
    check_json(&two(), r#"{"instances":[{"a":[1,2],"b":5}]}"#, Envelope::Predictions, &named);
}

#[test]
fn the_content_type_says_what_a_body_is() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let row = [tensor("x", &[1, 2], &[1f32, 2.0])];
    let json = b" [1,2]";
    for json_type in ["application/json; charset=utf-8", "application/x-www-form-urlencoded"] {
        check(&x, (Some(json_type), json), Envelope::Row, &row);
    }
    for untyped in [None, Some(""), Some("text/plain; charset=utf-8")] {
        check(&x, (untyped, json), Envelope::Row, &row);
    }
    let plain: Vec<u8> = [1f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for plain_type in [Some("application/octet-stream"), Some("image/x-tensor"), None] {
        check(&x, (plain_type, &plain), Envelope::Row, &row);
    }
    let twice = [tensor("x", &[2, 2], &[1f32, 2.0, 1.0, 2.0])];
    check(&x, (None, &plain.repeat(2)), Envelope::Rows, &twice);
    // Begins as JSON does, and is no text.
    let bracket = [&[b'[', 0xff, 0, 0x3f], &plain[4..]].concat();
    let value = f32::from_le_bytes([b'[', 0xff, 0, 0x3f]);
    check(&x, (None, &bracket), Envelope::Row, &[tensor("x", &[1, 2], &[value, 2.0])]);

    let text = one(DataType::Bytes, Some(&[-1]));
    let hello = [texts("x", &[1], &[b"hello\xff"])];
    check_json(&text, r#"{"b64":"aGVsbG//"}"#, Envelope::Row, &hello);
    for any_type in [None, Some("text/plain"), Some("application/pdf")] {
        check(&text, (any_type, b"hello\xff"), Envelope::Row, &hello);
    }
    let pairs = one(DataType::Bytes, Some(&[-1, 2]));
    let message = "the body cannot be plain bytes: the model's input takes more than one text; \
                   send JSON";
    check_bad(&pairs, (None, b"hello"), ErrorCode::InvalidBody, message);
    let message = "plain bytes need a model with just one required input: send JSON, or a form \
                   with a part for each";
    check_bad(&two(), (None, b"\0\0\0\0"), ErrorCode::InvalidBody, message);
    let message = "the content type \"multipart/related\" is not supported, expected \
                   \"multipart/form-data\"";
    let related = Some("multipart/related; boundary=x");
    check_bad(&x, (related, b""), ErrorCode::UnsupportedMediaType, message);
}

#[test]
fn json_of_another_form_is_refused() {
    use ErrorCode::{InvalidBody, InvalidInput};
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let json = |body: &'static str| (Some("application/json"), body.as_bytes());
    let expected = "expected exactly one of \"data\", \"features\", \"instances\", \"inputs\"";
    let check = |body, code, message: &str| check_bad(&x, json(body), code, message);
    check("{}", InvalidBody, &format!("the body has no members, {expected}"));
    check(r#"{"x":[1,2]}"#, InvalidBody, &format!("unknown member \"x\", {expected}"));
    let both = format!("the body has both \"data\" and \"id\", {expected}");
    check(r#"{"data":[1,2],"id":1}"#, InvalidBody, &both);
    check("[1,2,3]", InvalidInput, "input \"x\" has shape [3] in its one row, expected [2]");
    check("[[1,2,3]]", InvalidInput, "input \"x\" has shape [1, 3], expected [-1, 2]");
    check("[[[1,2]]]", InvalidInput, "input \"x\" has shape [1, 1, 2], expected [-1, 2]");
    check("\"a\"", InvalidInput, "input \"x\": expected an array, got a string");
    let message = "a value without a name needs a model with one input, its inputs are a, b, k: \
                   use \"inputs\"";
    check_bad(&two(), json("[1,2]"), InvalidBody, message);
    let deep = "[".repeat(100_000);
    for body in ["[1", "[1,2]]", "{", "{\"data\":", "{\"data\":[1,2]", &deep] {
        let error = read(Some("application/json"), body.as_bytes(), &x).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidJson, "{error}");
    }
}

const FORM: Option<&str> = Some("multipart/form-data; boundary=XX");

/// A form of parts that are a head and a body each.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, part) in parts {
        let head = format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        body.extend_from_slice(&[head.as_bytes(), part, b"\r\n"].concat());
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

#[test]
fn forms_have_a_part_for_each_input() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let row = [tensor("x", &[1, 2], &[1f32, 2.0])];
    let plain: Vec<u8> = [1f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for head in ["name=\"data\"", "name=\"x\"", "name=\"data\"; filename=\"x.json\""] {
        check(&x, (FORM, &form(&[(head, b"[1,2]")])), Envelope::Row, &row);
    }
    let octets = "\r\nContent-Type: application/octet-stream";
    // What curl says of a file of JSON, and of one that it does not know.
    let file = format!("name=\"data\"; filename=\"x.json\"{octets}");
    check(&x, (FORM, &form(&[(&file, b"[[1,2]]")])), Envelope::Rows, &row);
    let file = format!("name=\"data\"; filename=\"x.f32\"{octets}");
    check(&x, (FORM, &form(&[(&file, &plain)])), Envelope::Row, &row);
    check(&x, (FORM, &form(&[("name=\"data\"; filename=\"x\"", &plain)])), Envelope::Row, &row);
    let rows = [tensor("x", &[2, 2], &[1f32, 2.0, 1.0, 2.0])];
    check(&x, (FORM, &form(&[(&file, &plain.repeat(2))])), Envelope::Rows, &rows);

    let five = 5i64.to_le_bytes();
    let part = format!("name=\"b\"; filename=\"b\"{octets}");
    let body = form(&[("name=\"a\"", b"[1,2]"), (&part, &five), ("name=\"k\"", b"9")]);
    let expected =
        [tensor("a", &[1, 2], &[1f32, 2.0]), tensor("b", &[1], &[5i64]), tensor("k", &[], &[9i64])];
    check(&two(), (FORM, &body), Envelope::Row, &expected);
    let body = form(&[("name=\"b\"", b"[5,6]"), ("name=\"a\"", b"[[1,2],[3,4]]")]);
    let expected = [tensor("b", &[2], &[5i64, 6]), tensor("a", &[2, 2], &[1f32, 2.0, 3.0, 4.0])];
    check(&two(), (FORM, &body), Envelope::Rows, &expected);

    let text = one(DataType::Bytes, Some(&[-1]));
    let hello = [texts("x", &[1], &[b"hello"])];
    check(&text, (FORM, &form(&[("name=\"data\"", b"hello")])), Envelope::Row, &hello);
}

#[test]
fn bad_forms_are_refused() {
    use ErrorCode::{InvalidBody, InvalidInput, InvalidRequest};
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let check = |body: &[u8], message: &str| check_bad(&x, (FORM, body), InvalidBody, message);
    let cut = "the form is cut off, or has another boundary than the content type says";
    check(b"[1,2]", cut);
    check(b"--YY\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n[1,2]\r\n--YY--", cut);
    check(b"--XX--\r\n", "the form has no parts, expected one for each input");
    let whole = form(&[("name=\"x\"", b"[1,2]")]);
    check(&whole[..whole.len() - 12], "the form is cut off in part \"x\"");
    check(&whole[..20], cut);
    check(b"--XX\r\n:\r\n\r\n[1,2]\r\n--XX--", "the head of a part of the form cannot be read");
    let nameless = form(&[("filename=\"x\"", b"[1,2]")]);
    check(&nameless, "a part of the form has no name, expected that of an input");
    let twice = form(&[("name=\"x\"", b"[1,2]"), ("name=\"data\"", b"[1,2]")]);
    check(&twice, "input \"x\" is given twice");
    let unknown = form(&[("name=\"y\"", b"[1,2]")]);
    let message = "the model has no input \"y\", its inputs are x";
    check_bad(&x, (FORM, &unknown), InvalidInput, message);
    let wrong = form(&[("name=\"x\"", b"[1,2,3]")]);
    let message = "input \"x\" has shape [3] in its one row, expected [2]";
    check_bad(&x, (FORM, &wrong), InvalidInput, message);
    let sole = form(&[("name=\"data\"", b"[1,2]")]);
    let message = "a part \"data\" needs a model with one input, its inputs are a, b, k: \
                   name the parts as the inputs";
    check_bad(&two(), (FORM, &sole), InvalidBody, message);
    let error = read(FORM, &form(&[("name=\"x\"", b"[1,2")]), &x).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidJson, "a part of text is JSON: {error}");
    for content_type in ["multipart/form-data", "multipart/form-data; boundary="] {
        let message = "the content type \"multipart/form-data\" has no boundary";
        check_bad(&x, (Some(content_type), &whole), InvalidRequest, message);
    }
}

#[track_caller]
fn check_answer(
    (outputs, n_rows): (Vec<NamedTensor>, usize),
    labels: Option<Vec<RowLabel>>,
    answer: Envelope,
    expected: &str,
) {
    let response = response(outputs, n_rows, labels);
    assert_eq!(String::from_utf8(encode(&response, answer)).unwrap(), expected);
}

#[test]
fn answers_are_what_a_handler_returns() {
    let single = || (vec![tensor("y", &[1, 2], &[0.5f32, f32::NAN])], 1);
    check_answer(single(), None, Envelope::Row, "[0.5,NaN]");
    check_answer(single(), None, Envelope::Rows, "[[0.5,NaN]]");
    check_answer(single(), None, Envelope::Predictions, r#"{"predictions":[[0.5,NaN]]}"#);
    check_answer(single(), None, Envelope::Whole, "[[0.5,NaN]]");
    let number = || (vec![tensor("y", &[1], &[3i64])], 1);
    check_answer(number(), None, Envelope::Row, "3");
    let several = || (vec![tensor("a", &[1], &[1u8]), tensor("b", &[1, 1], &[0.5f64])], 1);
    check_answer(several(), None, Envelope::Row, r#"{"a":1,"b":[0.5]}"#);
    check_answer(several(), None, Envelope::Rows, r#"[{"a":1,"b":[0.5]}]"#);
    check_answer(several(), None, Envelope::Whole, r#"{"a":[1],"b":[[0.5]]}"#);
}

#[test]
fn labels_are_answered_with_their_scores() {
    let row = |score: f32| {
        let top = vec![("y\"es".into(), score), ("no".into(), 0.25)];
        RowLabel { label: "y\"es".into(), score, top }
    };
    let outputs = |n_rows: usize| (vec![tensor("y", &[n_rows], &vec![1u8; n_rows])], n_rows);
    let first = r#"{"y\"es":0.75,"no":0.25}"#;
    let labels = || Some(vec![row(0.75), row(f32::NAN)]);
    check_answer(outputs(1), Some(vec![row(0.75)]), Envelope::Row, first);
    let list = format!(r#"[{first},{{"y\"es":NaN,"no":0.25}}]"#);
    check_answer(outputs(2), labels(), Envelope::Rows, &list);
    check_answer(outputs(2), labels(), Envelope::Whole, &list);
    check_answer(
        outputs(2),
        labels(),
        Envelope::Predictions,
        &format!(r#"{{"predictions":{list}}}"#),
    );
}

#[test]
fn errors_are_written_as_exceptions() {
    let error = InferError::invalid_input("x", "input \"x\" is bad").with_model("m");
    let expected = r#"{"code":400,"type":"BadRequestException","message":"input \"x\" is bad"}"#;
    assert_eq!(encode_error(&error, 400), expected.as_bytes());
    for code in ErrorCode::ALL {
        let text = encode_error(&InferError::new(*code, "it"), 500);
        let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(body["type"].as_str().unwrap().ends_with("Exception"), "{code}");
    }
}
