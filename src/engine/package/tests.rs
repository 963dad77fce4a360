//! What is refused of packages, each written here; nothing of them is code.

use super::super::kind::integrity::testing::archive;
use super::*;
use crate::engine::{Format, Reach};
use crate::tensor::{DataType, ShapePattern};
use proptest::prelude::*;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const MAX_BYTES: u64 = 1 << 20;

/// For this machine.
fn facts() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!(
        r#"{{"AOTI_DEVICE_KEY": "cpu", "AOTI_PLATFORM": "{os}", "AOTI_MACHINE": "{arch}", "AOTI_CPU_ISA": "INVALID_VEC_ISA", "AOTI_COMPUTE_CAPABILITY": ""}}"#
    )
}

const LEAF: &str = r#"{\"type\": null, \"context\": null, \"children_spec\": []}"#;
const S0: &str = r#"{"as_expr": {"expr_str": "Symbol('s0', positive=True, integer=True)", "hint": {"as_int": 3}}}"#;
const S1: &str =
    r#"{"as_expr": {"expr_str": "Symbol('s1', positive=True, integer=True)", "hint": null}}"#;

fn tensor(dtype: u8, sizes: &[&str], strides: &[&str]) -> String {
    let (sizes, strides) = (sizes.join(", "), strides.join(", "));
    format!(
        r#"{{"dtype": {dtype}, "sizes": [{sizes}], "requires_grad": false, "device": {{"type": "cpu", "index": null}}, "strides": [{strides}], "layout": 7}}"#
    )
}

/// A program with a weight, ids of INT64 and a mask of FP32, both of `[s0, s1]`, which returns a dictionary.
fn program() -> String {
    let one = r#"{"as_int": 1}"#;
    let both = tensor(7, &[S0, S1], &[S1, one]);
    let ids = tensor(5, &[S0, S1], &[S1, one]);
    let weight = tensor(7, &[r#"{"as_int": 4}"#, r#"{"as_int": 2}"#], &[r#"{"as_int": 2}"#, one]);
    let list = |kind: &str, context: &str, children: &[&str]| {
        let children = children.join(", ");
        format!(
            r#"{{\"type\": \"{kind}\", \"context\": {context}, \"children_spec\": [{children}]}}"#
        )
    };
    let tuple = list("builtins.tuple", r#"\"null\""#, &[LEAF, LEAF]);
    let none = list("builtins.dict", r#"\"[]\""#, &[]);
    let in_spec = list("builtins.tuple", r#"\"null\""#, &[&tuple, &none]);
    let keys = r#"\"[\\\"logits\\\", \\\"parts\\\"]\""#;
    let out_spec = list("builtins.dict", keys, &[LEAF, &tuple]);
    format!(
        r#"{{
        "graph_module": {{
            "graph": {{
                "nodes": [{{"target": "torch.ops.aten.relu_.default", "inputs": [{{"name": "self", "arg": {{"as_tensor": {{"name": "h"}}}}}}]}}],
                "tensor_values": {{"w": {weight}, "ids": {ids}, "mask": {both}, "h": {both}}}
            }},
            "signature": {{
                "input_specs": [
                    {{"parameter": {{"arg": {{"name": "w"}}, "parameter_name": "linear.weight"}}}},
                    {{"user_input": {{"arg": {{"as_tensor": {{"name": "ids"}}}}}}}},
                    {{"user_input": {{"arg": {{"as_tensor": {{"name": "mask"}}}}}}}}
                ],
                "output_specs": [
                    {{"user_output": {{"arg": {{"as_tensor": {{"name": "a"}}}}}}}},
                    {{"user_output": {{"arg": {{"as_tensor": {{"name": "b"}}}}}}}},
                    {{"user_output": {{"arg": {{"as_tensor": {{"name": "c"}}}}}}}}
                ]
            }},
            "module_call_graph": [{{"fqn": "", "signature": {{"inputs": [], "outputs": [], "in_spec": "[1, {in_spec}]", "out_spec": "[1, {out_spec}]", "forward_arg_names": ["ids", "mask"]}}}}]
        }},
        "range_constraints": {{"s0": {{"min_val": 1, "max_val": 32}}, "s1": {{"min_val": 2, "max_val": null}}}},
        "guards_code": ["L['ids'].size()[1] == L['mask'].size()[1]", "2 <= L['ids'].size()[1] and L['ids'].size()[0] <= 32"]
        }}"#
    )
}

/// The records of a package that is as it should be.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("m/data/aotinductor/model/a.wrapper.cpp", b"int main() {}".to_vec()),
        ("m/data/aotinductor/model/a.wrapper_metadata.json", facts().into_bytes()),
        ("m/data/aotinductor/model/a.wrapper.so", b"a library".to_vec()),
        ("m/data/aotinductor/model/a.wrapper_weights.blob", vec![7; 100]),
        ("m/extra/model.json", program().into_bytes()),
        ("m/archive_format", b"pt2".to_vec()),
    ]
}

fn packed(records: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|(name, data)| (*name, &**data, false)).collect();
    archive(&records)
}

#[track_caller]
fn refused(bytes: &[u8], fault: Fault, part: &str) {
    let (found, text) = Package::of(bytes, MAX_BYTES).expect_err("must be refused");
    assert_eq!(found, fault, "{text}");
    assert!(text.contains(part), "{text}");
}

/// The good package after a change.
#[track_caller]
fn check(change: impl Fn(&mut Vec<(&'static str, Vec<u8>)>), part: &str) {
    let mut records = good();
    change(&mut records);
    refused(&packed(&records), Fault::Unsupported, part);
}

/// The good package with a word of its program in place of another.
#[track_caller]
fn check_program(from: &str, to: &str, part: &str) {
    assert!(program().contains(from), "{from}");
    let changed = program().replace(from, to);
    let change = |records: &mut Vec<(&'static str, Vec<u8>)>| {
        records[4].1 = changed.clone().into_bytes();
    };
    check(change, part);
}

#[test]
fn a_package_is_taken_apart() {
    let package = Package::of(&packed(&good()), MAX_BYTES).unwrap();
    let mut bytes = vec![0; 9];
    package.library.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, b"a library");
    let weights = package.weights.as_ref().expect("it has weights");
    assert_eq!(weights.metadata().unwrap().len(), 100);
    assert!(weights.write_at(b"x", 0).is_err() && weights.set_len(1).is_err(), "nobody changes it");
    assert_eq!(package.bytes, 109);
    assert!(package.writes_inputs, "what works in place may be given a view of an input");
    let Signature { arguments, parameters, reach, mutates_state, interface, .. } =
        &package.signature;
    assert_eq!((reach, *mutates_state), (&Reach::Native, false));
    assert_eq!((&*parameters[0].name, &*parameters[0].shape), ("linear.weight", &[4, 2][..]));
    let names: Vec<_> = arguments.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["ids", "mask"]);
    let interface = interface.as_ref().unwrap();
    let types: Vec<_> = interface.inputs.iter().map(|it| (it.datatype, it.shape.clone())).collect();
    let any = ShapePattern::from_wire(&[-1, -1]).unwrap();
    assert_eq!(types, [(DataType::Int64, any.clone()), (DataType::Fp32, any)]);
    let sizes: Vec<_> = interface.sizes.iter().map(|it| (&*it.places, it.min, it.max)).collect();
    assert_eq!(sizes[0], (&[(0, 0), (1, 0)][..], 1, Some(32)));
    assert_eq!(sizes[1], (&[(0, 1), (1, 1)][..], 2, None));
    assert_eq!(interface.max_rows(), Some(32));
    let outputs: Vec<_> = interface.outputs.iter().map(|it| it.as_deref().unwrap()).collect();
    assert_eq!(outputs, ["logits", "parts_0", "parts_1"]);
}

#[test]
fn what_is_no_whole_archive_is_damaged() {
    let bytes = packed(&good());
    refused(&bytes[..bytes.len() / 2], Fault::InvalidFile, "has no directory");
    refused(b"", Fault::InvalidFile, "has no directory");
    let at = bytes.windows(9).position(|it| it == b"a library").unwrap();
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    refused(&changed, Fault::InvalidFile, "a.wrapper.so\" is damaged");
    let mut packed = good();
    let mut records: Vec<_> = packed.iter().map(|(name, it)| (*name, &**it, false)).collect();
    records[3].2 = true;
    refused(&archive(&records), Fault::InvalidFile, "weights.blob\" is packed");
    packed[3].1 = vec![0; 1 << 20];
    refused(&super::tests::packed(&packed), Fault::InvalidFile, "at most 1048576 are allowed");
}

#[test]
fn odd_names_are_refused() {
    for name in [
        "m/data/aotinductor/model/../../../../x",
        "/etc/passwd",
        "m//x",
        "m/./x",
        "m/a\\b",
        "m/a\0b",
        "..",
        "m/é",
    ] {
        let mut records = good();
        records.push((name, Vec::new()));
        refused(&packed(&records), Fault::InvalidFile, "a name that no package has");
    }
    let mut records = good();
    records.push(("other/x", Vec::new()));
    refused(&packed(&records), Fault::InvalidFile, "outside of its one top folder");
    let mut records = good();
    records.push(("m/data/aotinductor/model/A.wrapper.SO", Vec::new()));
    refused(&packed(&records), Fault::InvalidFile, "two records");
}

#[test]
fn what_cannot_be_served_says_why() {
    check(|it| drop(it.remove(2)), "source code (.cpp) and no library (.so): nothing is compiled");
    check(|it| drop(it.drain(0..3)), "0 libraries");
    check(|it| it.push(("m/data/aotinductor/model/b.so", vec![])), "2 libraries (.so)");
    check(|it| it.push(("m/data/aotinductor/model/b.blob", vec![])), "2 files of weights");
    check(|it| it.push(("m/data/aotinductor/other/b.so", vec![])), "2 compiled models");
    check(|it| it.retain(|it| !it.0.contains("aotinductor")), "0 compiled models");
    check(|it| it.push(("m/data/aotinductor/model/b.cubin", vec![])), "code for a GPU (b.cubin)");
    check(|it| it.push(("m/data/aotinductor/model/a.wrapper.json", vec![])), "operators by name");
    check(|it| it.push(("m/data/aotinductor/model/objs.pt", vec![])), "keeps objects (objs.pt)");
    check(|it| it.push(("m/data/aotinductor/model/b.exe", vec![])), "\"b.exe\", of which nothing");
    check(|it| it.push(("m/data/aotinductor/model/b/c.so", vec![])), "of which nothing is known");
    check(|it| drop(it.remove(1)), "for which machine it was compiled");
    check(|it| drop(it.remove(4)), "exported program (models/model.json or extra/model.json)");
    check(|it| it[4].1 = b"{}".to_vec(), "in a form that is known: missing field");
    check(|it| it[1].1 = facts().replace("cpu", "cuda").into_bytes(), "the device \"cuda\"");
}

#[test]
fn programs_that_ask_for_more_are_refused() {
    check_program("\"dtype\": 5", "\"dtype\": 9", "the datatype 9 of torch");
    check_program("\"type\": \"cpu\"", "\"type\": \"cuda\"", "lies on the device \"cuda\"");
    let sum = "Add(Symbol('s0', positive=True, integer=True), Integer(1))";
    let s0 = "Symbol('s0', positive=True, integer=True)";
    check_program(s0, sum, "computed from others");
    let tokens = r#"{"token": {"arg": {"name": "t"}}}, {"user_input": {"arg": {"as_tensor": {"name": "ids"}}}}"#;
    let ids = r#"{"user_input": {"arg": {"as_tensor": {"name": "ids"}}}}"#;
    check_program(ids, tokens, "keeps objects");
    check_program(
        ids,
        r#"{"user_input": {"arg": {"as_int": 3}}}"#,
        "an argument of it is no tensor",
    );
    check_program(&format!("{ids},"), "", "takes 2 values, 1 of them tensors");
    let answer = r#"{"user_output": {"arg": {"as_tensor": {"name": "b"}}}}"#;
    check_program(
        answer,
        r#"{"user_output": {"arg": {"as_int": 3}}}"#,
        "a result of it is no tensor",
    );
    check_program(&format!("{answer},"), "", "it returns 2 tensors, and says that they are 3");
    check_program(answer, r#"{"loss_output": {"arg": {"name": "b"}}}"#, "the kind loss_output");
    for condition in ["L['ids'].size()[0] % 2 == 0", "L['ids'].size()[0] <= L['mask'].size()[1]"] {
        check_program("L['ids'].size()[0] <= 32", condition, "not checked here");
    }
}

#[test]
fn only_what_is_vouched_for_by_its_digest_is_opened() {
    let bytes = packed(&good());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let new = Artifact::new(Format::AotInductor, file.path().to_owned(), "m/1".to_owned());
    let open = |is_trusted, digest: Option<&str>| {
        let artifact = Artifact { is_trusted, digest: digest.map(Arc::from), ..new.clone() };
        Package::open(&artifact, MAX_BYTES).map(drop).map_err(|it| (it.fault, it.message))
    };
    let digest = hex(&Sha256::digest(&bytes));
    assert_eq!(open(true, Some(&digest)), Ok(()));
    for (is_trusted, digest) in [(false, Some(&*digest)), (true, None), (false, None)] {
        let (fault, text) = open(is_trusted, digest).unwrap_err();
        assert_eq!(fault, Fault::Unsupported);
        assert!(text.contains("trusted_models"), "{text}");
    }
    let (_, text) = open(true, Some(&"0".repeat(64))).unwrap_err();
    assert!(text.contains("not the one whose digest was taken"), "{text}");
    let (fault, text) =
        Package::open(&new, 10).map(drop).map_err(|it| (it.fault, it.message)).unwrap_err();
    assert_eq!(fault, Fault::Unsupported, "{text}");
}

proptest! {
    #[test]
    fn no_change_of_a_byte_ends_in_a_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = packed(&good());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Package::of(&bytes, MAX_BYTES);
        let _ = program::read(&bytes);
    }
}
