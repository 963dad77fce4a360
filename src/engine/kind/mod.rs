//! What a model file is when it is no TorchScript archive, and what to do about it: recognized by its first
//! bytes, and in a zip archive by the names in it.
//!
//! It is asked before a file is tried, so that nobody has to guess from what libtorch says. A file
//! that is not recognized is left to the trial.

mod archive;
pub(in crate::engine) mod integrity;
mod pickle;
pub(in crate::engine) mod zip;

#[cfg(test)]
mod tests;

use super::Format;
use super::plain_file::open_plain;
use archive::Names;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

/// How much of the beginning is looked at.
const HEAD_BYTES: u64 = 4096;
/// Longest header of a safetensors file, as its own library has it.
const MAX_SAFETENSORS_HEADER: u64 = 100_000_000;

/// The way from a model in Python to a file that can be served.
const EXPORT: &str =
    "export the model in Python with torch.jit.script(model.eval()).save(\"model.pt\")";
/// The way to a package of AOTInductor that can be served.
const PACK: &str = "sconce_export.export(…, formats=(\"pt2\",)) writes one";
/// What is no zip archive of another kind.
const NO_PACKAGE: &str =
    "the file is no package of AOTInductor: a TorchScript file is called model.pt";
/// `torch.export.save` gives its files the same ending.
const NOT_COMPILED: &str = "the file is an archive of torch.export, which is not compiled: sconce_export.export(…, formats=(\"pt2\",)) writes a package of AOTInductor";
/// What helps with a file that something else was written into.
const AGAIN: &str = "copy or download it again";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $Kind:ident: $what:literal, $advice:expr;)+) => {
        /// A file that is something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind { $($(#[doc = $doc])+ $Kind,)+ }

        impl Kind {
            /// What it is, and what to do.
            fn sentence(self) -> (&'static str, &'static str) {
                match self { $(Self::$Kind => ($what, $advice),)+ }
            }
        }
    };
}

kinds! {
    /// No bytes.
    Empty: "empty", AGAIN;
    /// The beginning of a zip archive.
    CutOff: "a zip archive without its end, as an interrupted copy or download leaves it", AGAIN;
    /// A text that stands for a file in a repository.
    LfsPointer: "a pointer of Git LFS and not the model itself", "run git lfs pull where it was cloned";
    /// A page for people.
    Html: "an HTML page, often a login or an error in place of a download", AGAIN;
    /// An answer of an object store, as a rule.
    Xml: "an XML document, often a store's error in place of a download", AGAIN;
    /// JSON.
    Json: "a JSON document and no model", AGAIN;
    /// Other text.
    Text: "a text and no model", AGAIN;
    /// `torch.export.save`.
    Exported: "an archive of torch.export and not TorchScript", EXPORT;
    /// `aoti_compile_and_package`.
    AotInductor: "a package of AOTInductor and not TorchScript", "call it model.pt2";
    /// Compiled code.
    SharedLibrary: "a shared library and not TorchScript", EXPORT;
    /// `torch.save`.
    Saved: "what torch.save writes, weights or a Python object without its program", EXPORT;
    /// `torch.save` without zip.
    SavedOld: "what torch.save wrote in its old format, weights or a Python object without its program", EXPORT;
    /// Another pickle.
    Pickle: "a Python pickle and not TorchScript", EXPORT;
    /// `torch.package`.
    PythonPackage: "a package of torch.package, which needs Python", EXPORT;
    /// ExecuTorch.
    ExecuTorch: "a program of ExecuTorch and not TorchScript", EXPORT;
    /// TorchServe.
    TorchServe: "an archive of TorchServe (.mar)", "unpack it with unzip and take the TorchScript file out, if it has one";
    /// ONNX.
    Onnx: "an ONNX model and not TorchScript", EXPORT;
    /// safetensors.
    Safetensors: "a safetensors file, weights without a program", EXPORT;
    /// GGUF.
    Gguf: "a GGUF file, weights without a program", EXPORT;
    /// NumPy.
    Numpy: "arrays of NumPy, weights without a program", EXPORT;
    /// TensorFlow.
    SavedModel: "a SavedModel of TensorFlow and not TorchScript", EXPORT;
    /// TensorFlow Lite.
    TfLite: "a model of TensorFlow Lite and not TorchScript", EXPORT;
    /// Keras, or other HDF5.
    Hdf5: "an HDF5 file, as Keras writes them, and not TorchScript", EXPORT;
    /// Keras 3.
    Keras: "a model of Keras and not TorchScript", EXPORT;
    /// Apple's.
    CoreMl: "a package of Core ML and not TorchScript", EXPORT;
    /// tar.
    Tar: "a tar archive", "unpack it and serve the model file in it";
    /// gzip and others.
    Compressed: "compressed (gzip, bzip2, xz, zstd or 7z)", "unpack it and serve the model file in it";
    /// A zip archive around the model.
    Zipped: "a zip archive around a model file", "unpack it and serve the model file in it";
    /// A zip archive of other things.
    OtherZip: "a zip archive and not TorchScript (it has no constants.pkl)", EXPORT;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, advice) = self.sentence();
        write!(f, "the file is {what}: {advice}")
    }
}

/// What a file is in place of one of its format, and what to do, in one sentence; `None` for
/// what may be one. The file must be a plain one: others may block.
///
/// # Errors
///
/// The file cannot be read.
pub fn other_kind(path: &Path, format: Format) -> io::Result<Option<String>> {
    let kind = recognize(&mut open_plain(path, 0)?)?;
    Ok(match (format, kind) {
        (Format::TorchScript, kind) => kind.map(|kind| kind.to_string()),
        (Format::AotInductor, Some(Kind::AotInductor)) => None,
        (Format::AotInductor, None) => Some(NO_PACKAGE.to_owned()),
        (Format::AotInductor, Some(Kind::Exported)) => Some(NOT_COMPILED.to_owned()),
        (Format::AotInductor, Some(kind)) => {
            let (what, _) = kind.sentence();
            let what = what.trim_end_matches(" and not TorchScript");
            Some(format!("the file is {what}, expected a package of AOTInductor: {PACK}"))
        }
    })
}

/// What is wrong with an archive, if anything: a record whose checksum is another, more than `max_bytes` when it is unpacked,
/// or a tensor that reaches beyond the record that it is of.
///
/// # Errors
///
/// The file cannot be read.
pub fn damage(file: &mut File, max_bytes: u64) -> io::Result<Option<String>> {
    integrity::check(file, max_bytes)
}

fn recognize(source: &mut (impl Read + Seek)) -> io::Result<Option<Kind>> {
    let mut head = Vec::new();
    source.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(Some(Kind::Empty));
    }
    if !head.starts_with(b"PK\x03\x04") {
        return Ok(of_head(&head));
    }
    let mut names = Names::default();
    Ok(match zip::entries(source, &mut |entry| names.note(&entry.name))? {
        zip::Reading::Whole => names.kind(),
        zip::Reading::CutOff => Some(Kind::CutOff),
        zip::Reading::Unclear => None,
    })
}

/// Files that are recognized by the bytes that they begin with.
const MAGIC: &[(&[u8], Kind)] = &[
    (b"version https://git-lfs.github.com/spec/", Kind::LfsPointer),
    (b"GGUF", Kind::Gguf),
    (b"\x89HDF\r\n\x1a\n", Kind::Hdf5),
    (b"\x93NUMPY", Kind::Numpy),
    (b"\x7fELF", Kind::SharedLibrary),
    // The magic number that torch.save pickles first.
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", Kind::SavedOld),
    (b"\x80\x02", Kind::Pickle),
    (b"\x80\x03", Kind::Pickle),
    (b"\x80\x04\x95", Kind::Pickle),
    (b"\x80\x05\x95", Kind::Pickle),
    (b"\x1f\x8b\x08", Kind::Compressed),
    (b"BZh", Kind::Compressed),
    (b"\xfd7zXZ\0", Kind::Compressed),
    (b"\x28\xb5\x2f\xfd", Kind::Compressed),
    (b"7z\xbc\xaf\x27\x1c", Kind::Compressed),
];

/// Files that are recognized by bytes further in.
const MAGIC_WITHIN: &[(usize, &[u8], Kind)] =
    &[(4, b"TFL3", Kind::TfLite), (4, b"ET12", Kind::ExecuTorch), (257, b"ustar", Kind::Tar)];

fn of_head(head: &[u8]) -> Option<Kind> {
    let begins = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| *kind);
    let within = || {
        let has = |at: usize, magic| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
        MAGIC_WITHIN.iter().find(|(at, magic, _)| has(*at, magic)).map(|(_, _, kind)| *kind)
    };
    begins
        .or_else(within)
        .or_else(|| is_safetensors(head).then_some(Kind::Safetensors))
        .or_else(|| of_protobuf(head))
        .or_else(|| of_text(head))
}

/// The length of a JSON object, and the object.
fn is_safetensors(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk() else { return false };
    (2..=MAX_SAFETENSORS_HEADER).contains(&u64::from_le_bytes(*length)) && rest.starts_with(b"{\"")
}

/// ONNX and SavedModel have no magic number. Both begin with a small number in field 1: the version
/// of the format.
fn of_protobuf(head: &[u8]) -> Option<Kind> {
    const TEXT_OR_MESSAGE_2: u8 = 0x12;
    let [0x08, version @ 1..=64, field, rest @ ..] = head else { return None };
    match (*field, rest) {
        // The name of the program that wrote it: shorter than 128 bytes, and words.
        (TEXT_OR_MESSAGE_2, [length @ ..=127, rest @ ..]) => {
            let name = rest.get(..usize::from(*length))?;
            name.iter().all(|byte| matches!(byte, b' '..=b'~')).then_some(Kind::Onnx)
        }
        (TEXT_OR_MESSAGE_2, _) if *version == 1 => Some(Kind::SavedModel),
        // The graph or the sets of operators come first where nobody gave a name.
        (0x3a | 0x42, _) => Some(Kind::Onnx),
        _ => None,
    }
}

fn of_text(head: &[u8]) -> Option<Kind> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may go on behind what was read.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    Some(if begins(&["<!doctype html", "<html", "<head", "<body", "<!--"]) {
        Kind::Html
    } else if begins(&["<?xml", "<error"]) {
        if text.contains("<html") { Kind::Html } else { Kind::Xml }
    } else if begins(&["{", "["]) {
        Kind::Json
    } else {
        Kind::Text
    })
}
