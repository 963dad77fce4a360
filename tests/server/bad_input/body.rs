//! What a body can say that no model takes.

use super::{Case, check_table};
use crate::harness::{Server, post};
use serde_json::json;

/// A model that takes FP32 [-1, 4].
const FLOATS: &str = "raises";

fn features(text: &str) -> String {
    format!("{{\"features\": {text}}}")
}

#[test]
fn bodies_that_are_not_json() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let case = |name: &str, body: &[u8]| Case::body(name, FLOATS, body, "invalid_json");
    check_table(&[
        case("not JSON", b"features=1,2,3,4"),
        case("cut off", b"{\"features\": [1, 2, 3"),
        case("cut off in a text", b"{\"featu"),
        case("100,000 arrays deep", features(&deep).as_bytes()),
        case("100,000 arrays deep and open", features(&"[".repeat(100_000)).as_bytes()),
        case("100,000 arrays deep at the top", deep.as_bytes()),
        case("trailing bytes", b"{\"features\": [1, 2, 3, 4]} x"),
        case("two documents", b"{\"features\": [1, 2, 3, 4]}{\"features\": [1, 2, 3, 4]}"),
        case("a NUL behind it", b"{\"features\": [1, 2, 3, 4]}\0"),
        case("NaN", features("[1, 2, 3, NaN]").as_bytes()),
        case("Infinity", features("[1, 2, 3, Infinity]").as_bytes()),
        case("-Infinity", features("[1, 2, 3, -Infinity]").as_bytes()),
        case("a leading zero", features("[1, 2, 3, 04]").as_bytes()),
        case("a number cut off", features("[1, 2, 3, 4.]").as_bytes()),
        case("a plus sign", features("[1, 2, 3, +4]").as_bytes()),
        case("a trailing comma", features("[1, 2, 3, 4,]").as_bytes()),
        case("single quotes", b"{'features': [1, 2, 3, 4]}"),
        case("no UTF-8", b"{\"features\xff\": [1, 2, 3, 4]}"),
        case("a comment", b"{\"features\": [1, 2, 3, 4] /* four */}"),
    ]);
}

#[test]
fn bodies_of_another_form() {
    let case = |name: &str, body: &str| Case::body(name, FLOATS, body, "invalid_body");
    check_table(&[
        case("an empty body", ""),
        case("a blank body", " \r\n"),
        case("a byte-order mark alone", "\u{feff}"),
        case("an array at the top", "[1, 2, 3, 4]"),
        case("a text at the top", "\"features\""),
        case("a number at the top", "1"),
        case("null at the top", "null"),
        case("an empty object", "{}"),
        case("duplicate keys", r#"{"features": [1, 2, 3, 4], "features": [1, 2, 3, 4]}"#),
        case("an unknown member", r#"{"features": [1, 2, 3, 4], "model": "x"}"#),
        case("an unknown member first", r#"{"data": [1, 2, 3, 4]}"#),
        case("two forms at once", r#"{"features": [1, 2, 3, 4], "instances": [[1, 2, 3, 4]]}"#),
        case("a long unknown member", &format!("{{\"{}\": 1}}", "k".repeat(100_000))),
        case("inputs that are a list", r#"{"inputs": [[1, 2, 3, 4]]}"#),
        case("instances that are an object", r#"{"instances": {"x": [1, 2, 3, 4]}}"#),
        case("a tensor named twice", r#"{"inputs": {"x": [[1, 2, 3, 4]], "x": [[1, 2, 3, 4]]}}"#),
        case(
            "a row's tensor named twice",
            r#"{"instances": [{"x": [1, 2, 3, 4], "x": [1, 2, 3, 4]}]}"#,
        ),
        Case::body("one row for two inputs", "two_inputs", features("[1, 2, 3]"), "invalid_body"),
    ]);
}

#[test]
fn tensors_that_the_model_does_not_take() {
    let case = |name: &str, body: &str| Case::body(name, FLOATS, body, "invalid_input");
    let rows = |n: usize| format!("{{\"instances\": [{}]}}", vec!["[1, 2, 3, 4]"; n].join(","));
    check_table(&[
        case("a ragged array", r#"{"instances": [[1, 2, 3, 4], [1, 2, 3]]}"#),
        case("a ragged array the other way", r#"{"instances": [[1, 2, 3], [1, 2, 3, 4]]}"#),
        case("a number among rows", r#"{"instances": [[1, 2, 3, 4], 5]}"#),
        case("a rank too many", &features("[[1, 2, 3, 4]]")),
        case("a rank too few", &features("1")),
        case("a rank too few of many", r#"{"instances": [1, 2, 3, 4]}"#),
        case("too short", &features("[1, 2, 3]")),
        case("too long", &features("[1, 2, 3, 4, 5]")),
        case("an empty row", &features("[]")),
        case("zero rows", r#"{"instances": []}"#),
        case("zero rows by name", r#"{"inputs": {"x": []}}"#),
        case("one empty row of many", r#"{"instances": [[]]}"#),
        case("more rows than allowed", &rows(1025)),
        case("a text", &features(r#"[1, 2, 3, "4"]"#)),
        case("null", &features("[1, 2, 3, null]")),
        case("null for all", &features("null")),
        case("a boolean", &features("[1, 2, 3, true]")),
        case("an object", &features(r#"[1, 2, 3, {"x": 4}]"#)),
        case("1e400", &features("[1, 2, 3, 1e400]")),
        case("more than FP32 holds", &features("[1, 2, 3, -1e39]")),
        // The first fault from the left is the one reported.
        case("100,000 objects deep", &"{\"inputs\":".repeat(100_000)),
        case("a missing tensor", r#"{"inputs": {}}"#),
        case("a foreign tensor", r#"{"inputs": {"y": [[1, 2, 3, 4]]}}"#),
        case("a tensor too many", r#"{"inputs": {"x": [[1, 2, 3, 4]], "y": [[1]]}}"#),
        case("a tensor with a strange name", r#"{"inputs": {"\u0000\n\u001b[31m": [[1]]}}"#),
    ]);
}

#[test]
fn values_that_the_datatype_does_not_have() {
    let integers = |name: &str, small: &str, large: &str| {
        let body = format!("{{\"inputs\": {{\"small\": [{small}], \"large\": [{large}]}}}}");
        Case::body(name, "integers", body, "invalid_input")
    };
    let two = |name: &str, body: &str| Case::body(name, "two_inputs", body, "invalid_input");
    check_table(&[
        integers("-1 in a UINT8", "[-1, 0, 0, 0]", "[0, 0]"),
        integers("300 in a UINT8", "[300, 0, 0, 0]", "[0, 0]"),
        integers("1.5 in a UINT8", "[1.5, 0, 0, 0]", "[0, 0]"),
        integers("1.5 in an INT64", "[1, 0, 0, 0]", "[1.5, 0]"),
        integers("2^63 in an INT64", "[1, 0, 0, 0]", "[9223372036854775808, 0]"),
        integers("1e400 in an INT64", "[1, 0, 0, 0]", "[1e400, 0]"),
        integers("1e-400 in an INT64", "[1, 0, 0, 0]", "[1e-400, 0]"),
        integers("a long exponent in an INT64", "[1, 0, 0, 0]", "[1e999999999999999999999, 0]"),
        integers("a boolean in a UINT8", "[true, 0, 0, 0]", "[0, 0]"),
        Case::body("65536 in an FP16", "half", features("[65536, 0, 0, 0]"), "invalid_input"),
        Case::body("1e39 in a BF16", "bfloat16", features("[1e39, 0, 0, 0]"), "invalid_input"),
        Case::body("1e400 in an FP64", "double", features("[1e400, 0, 0, 0]"), "invalid_input"),
        two("a missing second tensor", r#"{"inputs": {"a": [[1, 2, 3]]}}"#),
        two("different rows", r#"{"inputs": {"a": [[1, 2, 3]], "b": [1, 2]}}"#),
        two(
            "a tensor missing in one row",
            r#"{"instances": [{"a": [1, 2, 3], "b": 1}, {"b": 2}]}"#,
        ),
        two("rows of two kinds", r#"{"instances": [{"a": [1, 2, 3], "b": 1}, [1, 2, 3]]}"#),
    ]);
}

#[test]
fn integers_are_exact_and_floats_round() {
    let server = Server::shared();
    let sum = |large: &str| {
        let body =
            format!("{{\"inputs\": {{\"small\": [[0, 0, 0, 0]], \"large\": [[{large}, 0]]}}}}");
        post(server.http, "/predict/integers", body).good()["outputs"]["sum"].to_string()
    };
    assert_eq!(sum("9007199254740993"), "[[9007199254740993]]", "2^53+1 is exact in INT64");
    assert_eq!(sum("9223372036854775807"), "[[9223372036854775807]]");
    assert_eq!(sum("-9223372036854775808"), "[[-9223372036854775808]]");
    assert_eq!(sum("9007199254740993.0"), "[[9007199254740993]]", "a number fits by its value");
    assert_eq!(sum("1e3"), "[[1000]]");
    let features = "{\"features\": [9007199254740993, 3, 0, -3]}";
    let answer = post(server.http, "/predict/double", features).good();
    assert_eq!(answer["prediction"][0], json!(9007199254740992.0 / 3.0), "2^53+1 rounds in floats");
    assert_eq!(answer["prediction"][1], json!(1.0));
}
