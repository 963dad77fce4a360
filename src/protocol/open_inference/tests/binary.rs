//! Requests with bytes behind their JSON, and such that are bytes alone.

use super::*;
use crate::protocol::testing::tensor;
use crate::tensor::Buffer;

/// A body with bytes behind its JSON.
fn binary(json: &str, tail: &[u8]) -> (Buffer, Option<usize>) {
    ([json.as_bytes(), tail].concat().into(), Some(json.len()))
}

#[track_caller]
fn check_bad_binary(spec: &ModelSpec, json: &str, tail: &[u8], expected: (ErrorCode, &str)) {
    let (body, json_len) = binary(json, tail);
    let error = decode(body, json_len, spec).unwrap_err();
    assert_eq!((error.code, &*error.message), expected, "{json}");
}

#[test]
fn tensors_lie_behind_the_json_in_the_order_of_the_inputs() {
    let json = r#"{"inputs":[
        {"name":"b","shape":[3],"datatype":"UINT8","parameters":{"binary_data_size":3}},
        {"name":"a","shape":[3,2],"datatype":"FP32","parameters":{"binary_data_size":24}}]}"#;
    let values = [1f32, -2.0, f32::NAN, 4.0, 5.0, 6.5];
    let tail = [&[7, 8, 9], bytemuck::cast_slice::<f32, u8>(&values)].concat();
    let (body, json_len) = binary(json, &tail);
    let decoded = decode(body.clone(), json_len, &two()).unwrap();
    let expected = [tensor("b", &[3], &[7u8, 8, 9]), tensor("a", &[3, 2], &values)];
    assert_eq!(decoded.inputs, expected);
    assert!(decoded.inputs[1].tensor.as_slice::<f32>().is_some(), "decoded tensors are aligned");
    let place = decoded.inputs[0].tensor.buffer().as_bytes().as_ptr();
    assert_eq!(place, body.as_bytes()[json.len()..].as_ptr(), "what lies well is not copied");

    // JSON and bytes may stand side by side.
    let json = r#"{"inputs":[
        {"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]},
        {"name":"b","shape":[1],"datatype":"UINT8","parameters":{"binary_data_size":1}}]}"#;
    let (body, json_len) = binary(json, &[7]);
    let decoded = decode(body, json_len, &two()).unwrap();
    let expected = [tensor("a", &[1, 2], &[1f32, 2.0]), tensor("b", &[1], &[7u8])];
    assert_eq!(decoded.inputs, expected);
}

#[test]
fn aligned_bytes_are_not_copied() {
    let head = r#""name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}"#;
    for pad in 0..4 {
        let json = format!("{}{}", with(head), " ".repeat(pad));
        let body = Buffer::copy_aligned(&[json.as_bytes(), &[0; 8]].concat());
        let decoded = decode(body.clone(), Some(json.len()), &pairs()).unwrap();
        let place = decoded.inputs[0].tensor.buffer().as_bytes().as_ptr();
        let is_same = place == body.as_bytes()[json.len()..].as_ptr();
        assert_eq!(is_same, json.len().is_multiple_of(4));
        assert_eq!(place.addr() % 4, 0);
    }
}

#[test]
fn bytes_that_are_not_the_tensor_are_refused() {
    use ErrorCode::{InvalidBody, InvalidInput};
    let json = |shape: &str, size: &str| {
        with(&format!(
            r#""name":"x","shape":{shape},"datatype":"FP32","parameters":{{"binary_data_size":{size}}}"#
        ))
    };
    let x = pairs();
    let check = |json: &str, tail: &[u8], code: ErrorCode, message: &str| {
        check_bad_binary(&x, json, tail, (code, message));
    };
    let left = |left: usize| format!("the body has {left} bytes left for input \"x\", expected 8");
    check(&json("[1,2]", "8"), &[0; 7], InvalidInput, &left(7));
    check(&json("[1,2]", "8"), &[], InvalidInput, &left(0));
    check(
        &json("[1,2]", "8"),
        &[0; 9],
        InvalidBody,
        "1 bytes follow the last binary input, expected none",
    );
    check(
        r#"{"inputs":[]}"#,
        &[0; 9],
        InvalidBody,
        "9 bytes follow the last binary input, expected none",
    );
    let size = |size: &str| {
        format!(
            "\"binary_data_size\" of input \"x\" is {size}, expected 8 for FP32 of shape [1, 2]"
        )
    };
    check(&json("[1,2]", "9"), &[0; 9], InvalidInput, &size("9"));
    check(&json("[1,2]", "0"), &[], InvalidInput, &size("0"));
    check(
        &json("[1,2]", "18446744073709551615"),
        &[0; 9],
        InvalidInput,
        &size("18446744073709551615"),
    );
    check(
        &json("[1,3]", "12"),
        &[0; 12],
        InvalidInput,
        "input \"x\" has shape [1, 3], expected [-1, 2]",
    );
    let announced = "input \"x\" is binary, but the request does not say where its JSON ends: expected \
                     the header Inference-Header-Content-Length";
    check_bad(&x, &json("[1,2]", "8"), InvalidInput, announced);
    // The JSON must end where the header says.
    let text = json("[1,2]", "8");
    for len in [1, text.len() - 1, text.len() + 1] {
        let body = [text.as_bytes(), &[b'7'; 9]].concat();
        let error = decode(body.into(), Some(len), &x).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidJson, "{len}: {error}");
    }
    let error = decode(Buffer::from(vec![b' '; 3]), Some(4), &x).unwrap_err();
    let message = "the header Inference-Header-Content-Length is 4, but the body has 3 bytes";
    assert_eq!((error.code, &*error.message), (ErrorCode::InvalidRequest, message));

    let flags =
        with(r#""name":"x","shape":[2],"datatype":"BOOL","parameters":{"binary_data_size":2}"#);
    let message = "input \"x\" has the byte 2 at 1, expected 0 or 1";
    check_bad_binary(&one(DataType::Bool, None), &flags, &[1, 2], (InvalidInput, message));
}

#[test]
fn elements_of_bytes_are_checked_one_by_one() {
    let texts = one(DataType::Bytes, Some(&[-1]));
    let json = |size: usize| {
        with(&format!(
            r#""name":"x","shape":[2],"datatype":"BYTES","parameters":{{"binary_data_size":{size}}}"#
        ))
    };
    let good = b"\x03\0\0\0\xff\0a\0\0\0\0";
    let (body, json_len) = binary(&json(good.len()), good);
    let decoded = decode(body, json_len, &texts).unwrap();
    assert_eq!(decoded.inputs, [bytes("x", DataType::Bytes, &[2], good)]);
    let check = |tail: &[u8], message: &str| {
        let expected = (ErrorCode::InvalidInput, message);
        check_bad_binary(&texts, &json(tail.len()), tail, expected);
    };
    check(b"", "input \"x\" has 0 elements, expected 2 for shape [2]");
    check(b"\x01\0\0\0a", "input \"x\" has 1 elements, expected 2 for shape [2]");
    check(
        b"\x01\0\0\0a\x01\0",
        "input \"x\" has 2 bytes left for the length of element 1, expected 4",
    );
    check(b"\x01\0\0\0a\x02\0\0\0b", "input \"x\" has 1 bytes left for element 1, expected 2");
    check(b"\xff\xff\xff\xff", "input \"x\" has 0 bytes left for element 0, expected 4294967295");
    check(b"\0\0\0\0\0\0\0\0\0", "input \"x\" has 1 bytes after its 2 elements, expected none");
}

#[test]
fn a_body_may_be_the_tensor() {
    let raw = |spec: &ModelSpec, body: &[u8]| {
        let decoded = decode(body.to_vec().into(), Some(0), spec).map_err(|it| it.to_string())?;
        assert_eq!(decoded.plan, Plan { binary: true, ..Plan::default() });
        let [input] = <[NamedTensor; 1]>::try_from(decoded.inputs).unwrap();
        Ok(input)
    };
    let zeros = |dims: &[usize]| Ok(tensor("x", dims, &vec![0f32; dims.iter().product()]));
    let shaped = |shape: &[i64]| one(DataType::Fp32, Some(shape));
    let bad = |text: &str| Err(text.to_owned());
    assert_eq!(raw(&pairs(), &[0; 8]), zeros(&[1, 2]));
    assert_eq!(raw(&pairs(), &[0; 24]), zeros(&[3, 2]));
    assert_eq!(raw(&pairs(), &[0; 32]), bad("the request has 4 rows, at most 3 are allowed"));
    assert_eq!(raw(&shaped(&[]), &[0; 4]), zeros(&[]));
    assert_eq!(raw(&shaped(&[2, 2]), &[0; 16]), zeros(&[2, 2]));
    assert_eq!(raw(&shaped(&[2, -1]), &[0; 16]), zeros(&[2, 2]));
    assert_eq!(raw(&shaped(&[-1, 2, -1]), &[0; 40]), zeros(&[1, 2, 5]));
    let text = "input \"x\" came as 7 bytes, expected a multiple of the 8 bytes of a row";
    assert_eq!(raw(&pairs(), &[0; 7]), bad(text));
    let text = "the body is empty, expected an object with \"inputs\"";
    assert_eq!(raw(&pairs(), &[]), bad(text));
    let text = "input \"x\" came as 12 bytes, expected 16 for shape [2, 2]";
    assert_eq!(raw(&shaped(&[2, 2]), &[0; 12]), bad(text));
    let text = "input \"x\" came as 12 bytes, expected a multiple of 8 for shape [1, 2, -1]";
    assert_eq!(raw(&shaped(&[-1, 2, -1]), &[0; 12]), bad(text));
    let not_raw =
        |reason: &str| Err(format!("the body cannot be plain bytes: {reason}; send JSON"));
    let reason = "the model's input has more variable dimensions than the rows and one other";
    assert_eq!(raw(&shaped(&[-1, -1, -1]), &[0; 4]), not_raw(reason));
    assert_eq!(raw(&shaped(&[2, -1, -1]), &[0; 8]), not_raw(reason));
    let reason = "the shape of the model's input is not known";
    assert_eq!(raw(&one(DataType::Fp32, None), &[0; 4]), not_raw(reason));
    let reason = "the model does not have just one required input";
    assert_eq!(raw(&two(), &[0; 4]), not_raw(reason));

    let text = |shape: &[i64]| one(DataType::Bytes, Some(shape));
    let element = |dims: &[usize]| Ok(bytes("x", DataType::Bytes, dims, b"\x02\0\0\0\xffa"));
    assert_eq!(raw(&text(&[-1]), b"\xffa"), element(&[1]));
    assert_eq!(raw(&text(&[-1, 1]), b"\xffa"), element(&[1, 1]));
    assert_eq!(raw(&one(DataType::Bytes, None), b"\xffa"), element(&[1]));
    let message = "input \"x\" has shape [1, 1], expected [-1, 2]";
    assert_eq!(raw(&text(&[-1, 2]), b"a"), bad(message));
}

#[test]
fn the_header_is_a_number_of_bytes_of_the_body() {
    assert_eq!(json_len(b"0", 0), Ok(0));
    assert_eq!(json_len(b"12", 12), Ok(12));
    let beyond = |len: &str| {
        format!("the header Inference-Header-Content-Length is {len}, but the body has 12 bytes")
    };
    let no_number =
        "the header Inference-Header-Content-Length is not a number of bytes".to_owned();
    for (header, message) in [
        (&b"13"[..], beyond("13")),
        (b"18446744073709551616", beyond("18446744073709551616")),
        (b"", no_number.clone()),
        (b"-1", no_number.clone()),
        (b"+1", no_number.clone()),
        (b"1.0", no_number.clone()),
        (b" 1", no_number.clone()),
        (b"1,1", no_number.clone()),
        (b"\xff", no_number),
    ] {
        let error = json_len(header, 12).unwrap_err();
        assert_eq!((error.code, &*error.message), (ErrorCode::InvalidRequest, &*message));
    }
}
