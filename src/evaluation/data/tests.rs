use super::lines::MAX_LINE_BYTES;
use super::*;
use crate::inference::{Batching, Contract, TensorSpec};
use crate::tensor::{DataType, ShapePattern};
use std::io::Cursor;

fn spec(inputs: &[(&str, DataType, &[i64])]) -> ModelSpec {
    let input = |&(name, datatype, shape): &(&str, DataType, &[i64])| TensorSpec {
        name: name.into(),
        datatype,
        shape: ShapePattern::from_wire(shape).unwrap(),
        optional: false,
        declared: true,
    };
    ModelSpec {
        inputs: inputs.iter().map(input).collect(),
        outputs: vec![],
        batching: Batching::Proved,
        max_rows: 16,
        contract: Contract::default(),
    }
}

fn rows(text: &str, label: Option<&str>, spec: &ModelSpec) -> Result<Vec<Example>, String> {
    let reader = Box::new(Cursor::new(text.as_bytes().to_vec()));
    let data = DataSet::read("data".into(), reader, label, spec);
    let mut data = data.map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    while let Some(row) = data.next_row().map_err(|error| error.to_string())? {
        rows.push(row);
    }
    Ok(rows)
}

#[track_caller]
fn check(text: &str, label: Option<&str>, spec: &ModelSpec, expected: &[(u64, &str, &str)]) {
    let rows = rows(text, label, spec).unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.line, std::str::from_utf8(&row.body).unwrap().trim(), &*row.label))
        .collect();
    assert_eq!(shown, expected, "{text:?}");
}

#[track_caller]
fn refused(text: &str, label: Option<&str>, spec: &ModelSpec, expected: &str) {
    assert_eq!(rows(text, label, spec).unwrap_err(), expected, "{text:?}");
}

#[test]
fn json_lines_are_native_bodies_with_a_label() {
    let model = spec(&[("x", DataType::Fp32, &[-1, 2])]);
    let text = "\u{feff}{\"features\":[1,2],\"label\":\"a\\n\"}\r\n\n  \n{\"features\":[3,4],\"label\":-7.50}";
    let features = "{\"features\":[1,2]              }";
    let expected = [(1, features, "a\n"), (4, "{\"features\":[3,4]              }", "-7.50")];
    check(text, None, &model, &expected);
    let text = "{\"y\":true,\"inputs\":{\"x\":[[1,2]]}}";
    check(text, Some("y"), &model, &[(1, "{         \"inputs\":{\"x\":[[1,2]]}}", "true")]);
    let expected = "data:2: expected a member \"label\" with a text or a number, got none";
    refused("{\"label\":1}\n{\"features\":[1]}", None, &model, expected);
    let expected = "data:1: expected a member \"label\" with a text or a number, got [1]";
    refused("{\"label\":[1]}", None, &model, expected);
    let expected = "data:1: the body is not valid JSON: expected a value at byte 9, where it ends";
    refused("{\"label\":", None, &model, expected);
    let long = format!("{{\"label\":1,\"features\":\"{}\"}}", "x".repeat(MAX_LINE_BYTES));
    refused(
        &format!("{{\"label\":1}}\n{long}"),
        None,
        &model,
        "data:2: the line is longer than 16 MiB",
    );
}

#[test]
fn csv_fills_the_one_input_in_order() {
    let model = spec(&[("x", DataType::Fp32, &[-1, 2])]);
    let text = "a,b,kind\n1,2.50,no\n\n +3 ,.5,\"y \"\"es\"\"\"\n";
    let expected =
        [(2, "{\"features\":[1,2.50]}", "no"), (4, "{\"features\":[3.0,0.5]}", "y \"es\"")];
    check(text, None, &model, &expected);
    check("kind,a,b\n1,2,3", Some("kind"), &model, &[(2, "{\"features\":[2,3]}", "1")]);
    let deep = spec(&[("x", DataType::UInt8, &[-1, 2, 3])]);
    let body = "{\"features\":[[1,2,3],[4,5,6]]}";
    check("a,b,c,d,e,f,y\n1,2,3,4,5,6,7", None, &deep, &[(2, body, "7")]);
    let number = spec(&[("x", DataType::Bool, &[-1])]);
    check("x,y\nTrue,7", None, &number, &[(2, "{\"features\":true}", "7")]);

    refused("", None, &model, "data:1: the file is empty, expected labelled rows");
    let expected = "data:1: expected a header with inputs and a label, separated by commas, got one column, \"a;b;y\"";
    refused("a;b;y\n", None, &model, expected);
    let expected = "data:1: expected 2 columns beside the label for input \"x\", got 1";
    refused("a,y\n", None, &model, expected);
    refused("a,b,y\n1,2\n", None, &model, "data:2: expected 3 cells, got 2");
    let expected = "data:1: expected a column \"z\" with the labels, got a, b, y";
    refused("a,b,y\n", Some("z"), &model, expected);
    let expected = "data:2: column \"b\": expected a number, got \"one\"";
    refused("a,b,y\n1,one,2\n", None, &model, expected);
    let expected = "data:2: column \"b\": expected a number, got \"NA\"";
    refused("a,b,y\n1,NA,2\n", None, &model, expected);
    refused("a,b,y\n1,2, \n", None, &model, "data:2: expected a label in column \"y\", got none");
    let expected = "data:2: expected a closing quote on the same line, got none";
    refused("a,b,y\n1,2,\"z\n", None, &model, expected);
    let expected = "data:2: cell 3: expected a comma behind the closing quote";
    refused("a,b,y\n1,2,\"z\"z\n", None, &model, expected);
}

#[test]
fn what_is_missing_is_not_a_number_where_the_model_takes_such() {
    let model = spec(&[("x", DataType::Fp32, &[-1, 2])]);
    let expected = [(2, "{\"features\":[NaN,1]}", "2"), (3, "{\"features\":[NaN,NaN]}", "3")];
    check("a,b,y\n,1,2\nnan, NaN ,3\n", None, &model, &expected);
    let line = "{\"features\":[NaN,1],\"label\":2}";
    check(line, None, &model, &[(1, "{\"features\":[NaN,1]          }", "2")]);
    let expected = "data:1: expected a member \"label\" with a text or a number, got NaN";
    refused("{\"features\":[1,1],\"label\":NaN}", None, &model, expected);
    let whole = spec(&[("x", DataType::Int64, &[-1, 2])]);
    let expected = "data:2: column \"a\": expected a number, got nothing";
    refused("a,b,y\n,1,2\n", None, &whole, expected);
}

#[test]
fn csv_fills_several_inputs_by_their_names() {
    let model = spec(&[
        ("word", DataType::Bytes, &[-1]),
        ("n", DataType::Int64, &[-1, 1]),
        ("k", DataType::Fp64, &[]),
    ]);
    let text = "k,y,word,n\n0.5,1,\"a,\"\"b\"\"\",3\n";
    let body = r#"{"inputs":{"k":0.5,"word":["a,\"b\""],"n":[[3]]}}"#;
    check(text, Some("y"), &model, &[(2, body, "1")]);
    let expected = "data:1: expected columns that bear the names of the model's inputs (word, n, k), got word, m";
    refused("word,m,y\n", None, &model, expected);
}
