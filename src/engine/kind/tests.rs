//! Bytes of every kind, written here, and real files of the fixtures.

use super::zip::testing::{Width, archive};
use super::*;
use proptest::prelude::*;
use std::io::Cursor;

fn of(bytes: &[u8]) -> Option<Kind> {
    recognize(&mut Cursor::new(bytes)).unwrap()
}

#[track_caller]
fn check(bytes: &[u8], expected: Kind) {
    assert_eq!(of(bytes), Some(expected), "{:?}", String::from_utf8_lossy(bytes));
}

#[track_caller]
fn check_zip(names: &[&str], expected: Option<Kind>) {
    for width in [Width::Usual, Width::Wide] {
        assert_eq!(of(&archive(names, width)), expected, "{names:?}");
    }
}

#[test]
fn archives_are_told_by_their_names() {
    check_zip(&["m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version"], None);
    check_zip(&["m/model.json", "m/version"], None);
    check_zip(&["sd/data.pkl", "sd/data/0", "sd/version"], Some(Kind::Saved));
    check_zip(
        &["ex/data/sample_inputs/model.pt", "ex/models/model.json", "ex/archive_format"],
        Some(Kind::Exported),
    );
    check_zip(&["serialized_exported_program.json", "version"], Some(Kind::Exported));
    check_zip(
        &["p/data/aotinductor/model/c3.wrapper.so", "p/models/model.json"],
        Some(Kind::AotInductor),
    );
    check_zip(&["data/aotinductor/model/c3.so"], Some(Kind::AotInductor));
    check_zip(&["model.pt", "handler.py", "MAR-INF/MANIFEST.json"], Some(Kind::TorchServe));
    check_zip(&["pkg/m/m.pkl", "pkg/.data/python_version"], Some(Kind::PythonPackage));
    check_zip(&["config.json", "model.weights.h5", "metadata.json"], Some(Kind::Keras));
    check_zip(&["m/Data/com.apple.CoreML/model.mlmodel"], Some(Kind::CoreMl));
    check_zip(&["m/saved_model.pb"], Some(Kind::SavedModel));
    check_zip(&["arr_0.npy"], Some(Kind::Numpy));
    check_zip(&["digits/1/model.pt"], Some(Kind::Zipped));
    check_zip(&["word/document.xml"], Some(Kind::OtherZip));
    check_zip(&[], Some(Kind::OtherZip));
}

#[test]
fn an_archive_that_was_cut_off_is_told() {
    let whole = archive(&["m/data.pkl", "m/constants.pkl"], Width::Usual);
    check(&whole[..whole.len() / 2], Kind::CutOff);
    check(b"PK\x03\x04", Kind::CutOff);
}

#[test]
fn what_cannot_be_read_is_left_to_the_trial() {
    let mut damaged = archive(&["m/data.pkl", "m/version"], Width::Usual);
    damaged[30] = b'X';
    assert_eq!(of(&damaged), None);
    assert_eq!(of(&[0xa5; 5000]), None);
    assert_eq!(of(b"\0"), None);
}

#[test]
fn other_formats_are_told_by_their_first_bytes() {
    check(b"", Kind::Empty);
    check(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n",
        Kind::LfsPointer,
    );
    check(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", Kind::SavedOld);
    check(b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94.", Kind::Pickle);
    check(b"\x08\x08\x12\x07pytorch\x1a\x062.13.0:\xff\x01", Kind::Onnx);
    check(b"\x08\x0a:\xff\x01\x0a\x10", Kind::Onnx);
    check(b"\x08\x01\x12\xf8\x9d\x03\x0a\x10", Kind::SavedModel);
    check(b"\x40\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\"}}", Kind::Safetensors);
    check(b"GGUF\x03\0\0\0", Kind::Gguf);
    check(b"\x89HDF\r\n\x1a\n\0\0", Kind::Hdf5);
    check(b"\x93NUMPY\x01\0", Kind::Numpy);
    check(b"\x7fELF\x02\x01\x01\0", Kind::SharedLibrary);
    check(b"\x1c\0\0\0TFL3\x14\0", Kind::TfLite);
    check(b"\x1c\0\0\0ET12\x14\0", Kind::ExecuTorch);
    check(b"\x1f\x8b\x08\0\0\0\0\0", Kind::Compressed);
    check(b"\xfd7zXZ\0\0\x04", Kind::Compressed);
    let mut tar = b"model.pt".to_vec();
    tar.resize(257, 0);
    tar.extend(b"ustar\x0000");
    check(&tar, Kind::Tar);
}

#[test]
fn texts_are_told_apart() {
    check(b"<!DOCTYPE html>\n<html><body>Sign in", Kind::Html);
    check("\u{feff}\r\n  <HTML lang=\"en\">".as_bytes(), Kind::Html);
    check(b"<?xml version=\"1.0\"?><!DOCTYPE html><html>", Kind::Html);
    check(b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", Kind::Xml);
    check(b"{\"message\": \"Not Found\"}", Kind::Json);
    check(b"404: Not Found", Kind::Text);
    check("é".repeat(4000).as_bytes(), Kind::Text);
    check(&[b"x", "é".repeat(4000).as_bytes()].concat(), Kind::Text);
    assert_eq!(of(b"abc\x01\x02"), None);
}

#[test]
fn every_sentence_says_what_it_is_and_what_to_do() {
    let sentence = Kind::Saved.to_string();
    assert_eq!(
        sentence,
        "the file is what torch.save writes, weights or a Python object without its program: export \
         the model in Python with torch.jit.script(model.eval()).save(\"model.pt\")"
    );
}

#[test]
fn real_files_are_told_and_models_are_not() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let kind = |file: &str| {
        let path = fixtures.join(file);
        recognize(&mut File::open(path).unwrap()).unwrap()
    };
    assert_eq!(kind("broken/empty.pt"), Some(Kind::Empty));
    assert_eq!(kind("broken/truncated.pt"), Some(Kind::CutOff));
    assert_eq!(kind("broken/not_torchscript.pt"), Some(Kind::Saved));
    assert_eq!(kind("broken/saved_old.pt"), Some(Kind::SavedOld));
    assert_eq!(kind("broken/exported.pt"), Some(Kind::Exported));
    assert_eq!(kind("broken/random.pt"), None);
    assert_eq!(kind("broken/bit_flipped.pt"), None);
    for entry in std::fs::read_dir(fixtures.join("models")).unwrap() {
        let name = entry.unwrap().file_name();
        let file = Path::new("models").join(name).join("1/model.pt");
        assert_eq!(kind(file.to_str().unwrap()), None, "{}", file.display());
    }
}

proptest! {
    #[test]
    fn nothing_that_is_written_there_ends_in_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        magic in 0..MAGIC.len(),
    ) {
        let _ = of(&bytes);
        let _ = of(&[MAGIC[magic].0, &bytes].concat());
        let _ = of(&[b"PK\x03\x04", &bytes[..]].concat());
        let _ = of(&[b"\x08\x01\x12", &bytes[..]].concat());
    }
}
