//! From the door to a file and back, without libtorch.

use super::line::{Line, Lines};
use super::*;
use crate::inference::{InferResponse, Layout, NamedTensor, Timings, Version, Work};
use crate::telemetry::{Phase, RequestRecord};
use crate::tensor::{Buffer, DataType, Shape, Tensor};
use std::time::Duration;

fn named(name: &str, tensor: Tensor) -> NamedTensor {
    NamedTensor { name: name.into(), tensor }
}

fn floats(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap()
}

fn texts(texts: &[&[u8]]) -> Tensor {
    let bytes: Vec<u8> = texts
        .iter()
        .flat_map(|text| [&(text.len() as u32).to_le_bytes(), *text].concat())
        .collect();
    Tensor::new(DataType::Bytes, Shape::from([texts.len()]), Buffer::copy_aligned(&bytes)).unwrap()
}

fn response(outputs: Vec<NamedTensor>) -> InferResponse {
    InferResponse {
        model: "m".parse().unwrap(),
        version: Version(2),
        request_id: "r".into(),
        n_rows: 1,
        outputs,
        extras: Vec::new(),
        timings: Timings::default(),
        work: Work::default(),
        layout: Layout::default(),
    }
}

/// The line of a request with these inputs and this answer.
fn line(inputs: &[NamedTensor], outputs: Vec<NamedTensor>, redaction: &[&str]) -> String {
    let redaction = Redaction::new(redaction.iter().map(|name| (*name).to_owned()).collect());
    let subject = ("m".parse().unwrap(), Version(2), "0f".repeat(32));
    let mut record =
        record::Record::new("r\"1".into(), None, subject, held::Held::default().share());
    let given = inputs.iter().map(|NamedTensor { name, tensor }| (name, tensor));
    record.set_inputs(given, 1, &redaction);
    record.set_answer(&response(outputs), &redaction);
    let mut end = RequestRecord { total: Duration::from_millis(3), ..RequestRecord::default() };
    end.phases[Phase::Queue] = Some(Duration::from_micros(7));
    assert!(record.end(&end));
    let mut out = Vec::new();
    record.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_holds_what_went_in_and_came_out() {
    let inputs = [named("x", floats(&[1, 2], &[0.1, -3.0])), named("t", texts(&[b"h\xc3\xa9"]))];
    let text = line(&inputs, vec![named("y", floats(&[1], &[0.25]))], &[]);
    let (head, rest) = text.split_at("{\"time\":\"2026-11-30T03:15:00.000Z\"".len());
    assert!(head.starts_with("{\"time\":\"20") && head.ends_with("Z\""), "{text}");
    let digest = "0f".repeat(32);
    let expected = format!(
        ",\"request_id\":\"r\\\"1\",\"model\":\"m\",\"version\":\"2\",\"digest\":\"{digest}\",\"outcome\":\"ok\",\
         \"rows\":1,\"inputs\":[\
         {{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[0.1,-3.0]}},\
         {{\"name\":\"t\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"hé\"]}}],\
         \"outputs\":[{{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[0.25]}}],\
         \"seconds\":{{\"queue\":0.000007,\"total\":0.003}}}}\n"
    );
    let normal = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(normal(&format!("{{\"a\":0{rest}")), normal(&format!("{{\"a\":0{expected}")));
}

#[test]
fn every_value_comes_back_as_it_was() {
    let bits = |bytes: &[u8], datatype: DataType, n: usize| {
        Tensor::new(datatype, Shape::from([n]), Buffer::copy_aligned(bytes)).unwrap()
    };
    let all = vec![
        named("nan", floats(&[3], &[f32::NAN, f32::INFINITY, -0.0])),
        named("close", floats(&[4], &[0.1, 1e-42, 3.402_823_5e38, 16_777_217.0])),
        named("wide", Tensor::from_vec(Shape::from([2]), vec![0.1f64, 1e300]).unwrap()),
        named("half", bits(&[0, 60, 1, 0], DataType::Fp16, 2)),
        named("brain", bits(&[128, 63, 1, 0], DataType::Bf16, 2)),
        named("flags", bits(&[0, 1], DataType::Bool, 2)),
        named("ids", Tensor::from_vec(Shape::from([2]), vec![i64::MIN, i64::MAX]).unwrap()),
        named("bytes", texts(&[b"\xff\x00", b"", "ü".as_bytes()])),
        named("large", floats(&[40_000], &vec![0.5; 40_000])),
        named("none", floats(&[0, 3], &[])),
        named("scalar", floats(&[], &[7.0])),
    ];
    let text = line(&all, all.clone(), &[]);
    let read = Line::read(&text).unwrap();
    for back in [read.inputs().unwrap(), read.outputs().unwrap()] {
        for (before, after) in all.iter().zip(&back) {
            let parts = |it: &NamedTensor| {
                let tensor = &it.tensor;
                (it.name.clone(), tensor.datatype(), tensor.shape().clone())
            };
            assert_eq!(parts(before), parts(after));
            let bytes = |it: &NamedTensor| it.tensor.buffer().as_bytes().to_vec();
            assert_eq!(bytes(before), bytes(after), "{}", before.name);
        }
    }
}

#[test]
fn what_is_named_stays_out_and_what_is_too_large_too() {
    let inputs = [named("secret", floats(&[1], &[4711.5])), named("open", floats(&[1], &[1.0]))];
    for redaction in ["secret", "m/secret"] {
        let text = line(&inputs, vec![], &[redaction, "other/open"]);
        assert!(!text.contains("4711") && text.contains("\"left_out\":\"redacted\""), "{text}");
        assert!(text.contains("\"data\":[1.0]"), "{text}");
        let missing = Line::read(&text).unwrap().inputs().unwrap_err();
        assert_eq!(missing.to_string(), "secret is left out: redacted");
    }
    let too_large = record::MAX_RECORD / 4 + 1;
    let inputs = [named("x", floats(&[too_large], &vec![1.0; too_large]))];
    let text = line(&inputs, vec![named("y", floats(&[1], &[2.0]))], &[]);
    assert!(text.len() < 1000 && text.contains("\"left_out\":\"too large\""), "{text}");
    assert!(text.contains("\"data\":[2.0]"), "{text}");
}

#[test]
fn lines_of_a_crash_are_passed_over_and_faulty_ones_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let whole = line(&[named("x", floats(&[1], &[1.0]))], vec![], &[]);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("capture-1.jsonl", &format!("{whole}\n{whole}{}", &whole[..50]));
    write("capture-2.jsonl", whole.trim_end());
    write("other.txt", "no line");
    let mut lines = Lines::of(&[folder.path().to_owned()]).unwrap();
    let mut n_lines = 0;
    while let Some(text) = lines.next_line().unwrap() {
        Line::read(text).unwrap();
        n_lines += 1;
    }
    assert_eq!(n_lines, 3);
    write("capture-1.jsonl", "{\"time\": 1}\n");
    let mut lines = Lines::of(&[folder.path().join("capture-1.jsonl")]).unwrap();
    let exported = ExportFormat::V2.write(&mut lines, &mut Vec::new());
    let error = exported.unwrap_err().to_string();
    assert!(error.contains("capture-1.jsonl:1: invalid type: integer `1`"), "{error}");
    let mut lines = Lines::of(&[folder.path().join("absent")]).unwrap();
    assert!(lines.next_line().unwrap_err().to_string().contains("No such file"));
}

#[test]
fn requests_are_exported_as_others_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = [named("x", floats(&[1, 2], &[0.5, 2.0]))];
    let whole = line(&inputs, vec![named("y", floats(&[1], &[f32::INFINITY]))], &[]);
    let hidden = line(&inputs, vec![], &["x"]);
    let file = folder.path().join("day.jsonl");
    std::fs::write(&file, format!("{whole}{hidden}")).unwrap();
    let export = |form: ExportFormat| {
        let (mut lines, mut out) = (Lines::of(std::slice::from_ref(&file)).unwrap(), Vec::new());
        let exported = form.write(&mut lines, &mut out).unwrap().unwrap();
        let lines = String::from_utf8(out).unwrap();
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (exported, lines)
    };
    let input =
        serde_json::json!({"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 2.0]});
    let (exported, lines) = export(ExportFormat::V2);
    assert_eq!(exported, Exported { written: 1, left_out: 1 });
    assert_eq!(lines, [serde_json::json!({"id": "r\"1", "inputs": [input]})]);

    let (exported, lines) = export(ExportFormat::Kserve);
    assert_eq!((exported.written, exported.left_out, lines.len()), (2, 0, 4));
    assert_eq!(lines[0]["type"], "org.kubeflow.serving.inference.request");
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&"r\"1".into(), &"r\"1".into()));
    assert_eq!(lines[0]["data"]["inputs"][0], input);
    assert_eq!(lines[1]["type"], "org.kubeflow.serving.inference.response");
    // JSON has no word for it.
    assert_eq!(lines[1]["data"]["outputs"][0]["data"], serde_json::json!([null]));
    assert_eq!(lines[2]["data"]["inputs"][0]["parameters"]["left_out"], "redacted");

    let (_, lines) = export(ExportFormat::Sagemaker);
    let side = &lines[0]["captureData"]["endpointInput"];
    let text = side["data"].as_str().unwrap();
    let body: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((&body["inputs"][0], &side["encoding"]), (&input, &"JSON".into()));
    assert_eq!(lines[0]["eventMetadata"]["inferenceId"], "r\"1");
    assert_eq!(lines[0]["eventMetadata"]["eventId"].as_str().unwrap().len(), 36);
}

#[test]
fn a_line_that_was_cut_short_is_passed_over_and_one_that_is_no_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("captured.jsonl");
    let whole = line(&[named("t", texts(&["zü".as_bytes()]))], Vec::new(), &[]);
    let in_a_letter = whole.find('ü').unwrap() + 1;
    let read = |bytes: &[&[u8]]| {
        std::fs::write(&file, bytes.concat()).unwrap();
        let mut lines = Lines::of(std::slice::from_ref(&file)).unwrap();
        let mut n_lines = 0;
        loop {
            match lines.next_line() {
                Ok(Some(_)) => n_lines += 1,
                Ok(None) => return Ok(n_lines),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let (good, cut) = (whole.as_bytes(), &whole.as_bytes()[..in_a_letter]);
    assert_eq!(read(&[good, cut]), Ok(1));
    assert_eq!(read(&[good, &good[..good.len() - 1]]), Ok(2), "only its end is missing");
    let error = read(&[good, b"\xff\n", good]).unwrap_err();
    assert!(error.contains("captured.jsonl") && error.contains("2"), "{error}");
}
