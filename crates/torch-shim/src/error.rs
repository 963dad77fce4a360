//! What went wrong, in a form that may be logged and, after the engine's choice, shown.
//!
//! libtorch's messages carry C++ backtraces, build paths, and the source text of the model. Here they are cut to the
//! reason, classified, and bounded. Which class becomes which answer is not decided here.

use std::fmt;

use crate::environment;
use crate::ffi;

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 2048;

/// What the interpreter puts before the reason of a failed operator.
const REASON: &str = "\nRuntimeError: ";

/// What kind of failure an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The file is not a TorchScript module, or it is damaged.
    InvalidFile,
    /// The model raised: its own code, or an operator that it called with what it was given.
    Raised,
    /// The model asks for a device, an operator or a library that is not there, whatever it is given.
    Environment,
    /// An argument of the call is wrong; the model did not run.
    InvalidArgument,
    /// The host or the device ran out of memory.
    OutOfMemory,
    /// The device failed in a way that every later call on it will share; only a new process helps.
    Device,
    /// The value, layout or device is one that the shim or libtorch does not support.
    Unsupported,
    /// Anything else; a bug, here or in libtorch.
    Internal,
}

/// A failed call: its class and one short text without backtraces and paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure it is.
    pub class: ErrorClass,
    /// The reason, at most 2 KiB. It may quote the model's own `raise`.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What was being done, which decides what an exception without a telling type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Load,
    Run,
    Other,
}

impl Error {
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: bounded(message.into()) }
    }

    /// Reads what the C++ side caught. `kind` is a `SconceErrorKind`.
    pub(crate) fn from_raw(stage: Stage, kind: u32, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let message = reason(&text);
        let class = classify(stage, kind, &message, device_is_poisoned);
        let message = match class {
            ErrorClass::InvalidFile => explain_file(message),
            ErrorClass::Environment => environment::missing(&message).unwrap_or(message),
            _ => message,
        };
        Self::new(class, without_paths(&message))
    }
}

fn device_is_poisoned() -> bool {
    // SAFETY: takes nothing, catches everything, and only asks the devices whether they still answer.
    unsafe { ffi::sconce_device_is_poisoned() != 0 }
}

fn classify(stage: Stage, kind: u32, message: &str, poisoned: impl FnOnce() -> bool) -> ErrorClass {
    match kind {
        // A model's own `raise` is never anything else, whatever words it uses: a text that a client can choose must
        // not pass for a broken device.
        1 => return ErrorClass::Raised,
        2 => return ErrorClass::OutOfMemory,
        3 => return ErrorClass::InvalidArgument,
        4 => return ErrorClass::Unsupported,
        6 => return ErrorClass::Internal,
        7 if stage == Stage::Other => return ErrorClass::Unsupported,
        _ => {}
    }
    if environment::missing(message).is_some() {
        return ErrorClass::Environment;
    }
    // The interpreter wraps what an operator throws, so that only its text is left. Only the start of it counts: the
    // rest may quote a client.
    let text = message.strip_prefix("RuntimeError: ").unwrap_or(message);
    let out_of_memory = [
        "CUDA out of memory",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "std::bad_alloc",
        "[enforce fail at alloc_cpu",
        "DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory",
    ];
    if out_of_memory.iter().any(|start| text.starts_with(start)) {
        return ErrorClass::OutOfMemory;
    }
    let from_device = kind == 5
        || ["CUDA error", "cuDNN error", "CUDA driver error"].iter().any(|s| text.starts_with(s));
    // Some device errors pass (a bad launch configuration), some stay (an illegal access). Asking the device tells.
    if from_device && poisoned() {
        return ErrorClass::Device;
    }
    match stage {
        Stage::Load => ErrorClass::InvalidFile,
        Stage::Run => ErrorClass::Raised,
        Stage::Other => ErrorClass::Internal,
    }
}

/// Cuts a libtorch message down to its reason.
fn reason(text: &str) -> String {
    let mut text = text;
    for cut in [
        "\nException raised from ",
        "\nC++ CapturedTraceback:",
        "\nC++ stacktrace:",
        "\nException Source:",
    ] {
        if let Some(at) = text.find(cut) {
            text = &text[..at];
        }
    }
    // The interpreter writes its traceback first, lines of the model's source among them, and the reason last, behind
    // a word of its own.
    if text.contains("in the TorchScript interpreter") {
        let traceback_end = text.rfind("<--- HERE").unwrap_or(0);
        if let Some(at) = text[traceback_end..].find(REASON) {
            text = &text[traceback_end + at + 1..];
        }
    }
    let text = text.trim();
    let cleaned: String =
        text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    if cleaned.is_empty() { "no reason was given".to_owned() } else { cleaned }
}

/// Says what a file is when libtorch only says what it lacks.
fn explain_file(message: String) -> String {
    let kind = if message.contains("constants.pkl") || message.contains("file not found: ") {
        "a PyTorch archive, but not TorchScript: was it saved with torch.save instead of torch.jit.save"
    } else if message.contains("failed finding central directory")
        || message.contains("not a ZIP archive")
    {
        "not a TorchScript file, or a truncated one"
    } else {
        return message;
    };
    let reason = message.split(" This is an internal miniz error").next().unwrap_or(&message);
    format!("{kind} ({reason})")
}

/// Replaces absolute paths and the places of libtorch's own sources: they say how a host is laid out.
fn without_paths(message: &str) -> String {
    let is_edge = |c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '(' | ')' | '[' | ']' | '<' | '>' | ',' | '=')
    };
    let mut cleaned = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let length = rest.find(is_edge).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(length);
        cleaned.push_str(if is_path(word) { "…" } else { word });
        let edge = tail.chars().next().map_or(0, char::len_utf8);
        cleaned.push_str(&tail[..edge]);
        rest = &tail[edge..];
    }
    cleaned
}

fn is_path(word: &str) -> bool {
    let absolute = word.starts_with('/')
        && word.len() > 1
        && word[1..].starts_with(|c: char| c.is_alphanumeric() || c == '.');
    let source = [".cpp", ".cc", ".cu", ".cuh", ".h", ".hpp"]
        .iter()
        .any(|extension| word.split(':').next().is_some_and(|name| name.ends_with(extension)));
    absolute || source
}

fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stage: Stage, kind: u32, text: &str, poisoned: bool, expected: ErrorClass) {
        let message = reason(text);
        assert_eq!(classify(stage, kind, &message, || poisoned), expected, "message: {message}");
    }

    #[test]
    fn an_interpreter_traceback_is_cut_to_its_reason() {
        let text = "The following operation failed in the TorchScript interpreter.\n\
                    Traceback of TorchScript, serialized code (most recent call last):\n  \
                    File \"code/__torch__/M.py\", line 9, in forward\n    x = y\n    ~~~~ <--- HERE\n\n\
                    Traceback of TorchScript, original code (most recent call last):\n  \
                    File \"/home/someone/model.py\", line 3, in forward\n    x = y\n    ~~~~ <--- HERE\n    return y\ndef other(self):\n\
                    RuntimeError: x must be positive\n";
        assert_eq!(reason(text), "RuntimeError: x must be positive");
    }

    #[test]
    fn backtraces_and_paths_are_cut() {
        let text = "stride != 0 INTERNAL ASSERT FAILED at \"/pytorch/aten/src/ATen/native/Foo.cpp\":123, please report\n\
                    Exception raised from foo at /pytorch/aten/src/ATen/Foo.cpp:12 (most recent call first):\nframe #0: x";
        let message = without_paths(&reason(text));
        assert_eq!(message, "stride != 0 INTERNAL ASSERT FAILED at \"…\":123, please report");
        assert_eq!(without_paths("and/or 3 / 4 http://host/path"), "and/or 3 / 4 http://host/path");
        assert_eq!(without_paths("file path: /srv/models/a.pt, errno 2"), "file path: …, errno 2");
    }

    #[test]
    fn long_messages_are_bounded_on_a_character() {
        let error = Error::new(ErrorClass::Raised, "é".repeat(5000));
        assert!(
            error.message.len() <= MAX_MESSAGE,
            "must be at most {MAX_MESSAGE} bytes, is {}",
            error.message.len()
        );
    }

    #[test]
    fn classes_follow_type_and_text() {
        check(
            Stage::Run,
            0,
            "RuntimeError: CUDA out of memory. Tried to allocate",
            false,
            ErrorClass::OutOfMemory,
        );
        check(
            Stage::Run,
            0,
            "RuntimeError: CUDA error: device-side assert triggered",
            true,
            ErrorClass::Device,
        );
        check(
            Stage::Run,
            0,
            "CUDA error: invalid configuration argument",
            false,
            ErrorClass::Raised,
        );
        check(Stage::Run, 5, "an accelerator failed", true, ErrorClass::Device);
        check(Stage::Run, 1, "RuntimeError: CUDA error: said the client", true, ErrorClass::Raised);
        check(
            Stage::Run,
            0,
            "RuntimeError: KeyError: CUDA error: said the client",
            true,
            ErrorClass::Raised,
        );
        let no_driver = "RuntimeError: Found no NVIDIA driver on your system. Please check";
        check(Stage::Run, 0, no_driver, false, ErrorClass::Environment);
        check(Stage::Run, 1, no_driver, false, ErrorClass::Raised);
        let no_operator = "\nUnknown builtin op: torchvision::nms.\nCould not find any";
        check(Stage::Load, 0, no_operator, false, ErrorClass::Environment);
        check(Stage::Load, 0, "PytorchStreamReader failed", false, ErrorClass::InvalidFile);
        check(Stage::Other, 0, "whatever", false, ErrorClass::Internal);
        check(Stage::Other, 4, "sparse", false, ErrorClass::Unsupported);
    }
}
