//! What a model's code asks of its host in vain, recognized by libtorch's words: a device, an operator, a library.
//!
//! Only what no input can cure belongs here. An operator that lacks an implementation for a datatype does not: another
//! input may bring another one. Texts are known by how they begin, since the rest may quote a client.

/// Names of backends that are kinds of tensors on the host, and no devices.
const HOST_BACKENDS: &[&str] = &["CPU", "Quantized", "Sparse", "Mkldnn", "Nested"];

/// How libtorch says that there is no CUDA, or not that device of it.
const NO_CUDA: &[&str] = &[
    "Found no NVIDIA driver on your system",
    "No CUDA GPUs are available",
    "Torch not compiled with CUDA enabled",
    "Cannot initialize CUDA without ATen_cuda library",
    "CUDA error: CUDA driver version is insufficient",
    "CUDA error: no CUDA-capable device is detected",
    "CUDA error: invalid device ordinal",
    "CUDA error: initialization error",
];

/// How libtorch says that a library that it opens by itself is not there.
const NO_LIBRARY: &[&str] =
    &["Error in dlopen", "Could not load library", "Could not load dynamic library"];

/// What is missing, in a sentence that says what to do; `None` for every other failure.
pub(crate) fn missing(text: &str) -> Option<String> {
    let text = text.strip_prefix("RuntimeError: ").unwrap_or(text);
    let first_line = text.lines().next().unwrap_or_default();
    let starts_with = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if starts_with(NO_CUDA) {
        return Some(no_device("cuda"));
    }
    if let Some(device) = between(text, "PyTorch is not linked with support for ", " devices") {
        return Some(no_device(device));
    }
    if let Some(rest) = text.strip_prefix("Could not run '") {
        let (operator, rest) = rest.split_once('\'')?;
        return no_backend(operator, between(rest, " with arguments from the '", "' backend")?);
    }
    if text.starts_with("Expected all tensors to be on the same device") {
        return Some(format!(
            "the model's code mixes devices, since it names one that it is not served on; {AGNOSTIC} ({first_line})"
        ));
    }
    if let Some(operator) = between(text, "Unknown builtin op: ", "\n")
        .or_else(|| between(text, "No such operator ", "\n"))
    {
        return Some(no_operator(operator.trim_end_matches('.')));
    }
    if let Some(class) = between(text, "Unknown type name '__torch__.torch.classes.", "'") {
        return Some(no_definition("class", class));
    }
    if let Some(rest) = text.strip_prefix("Didn't find engine for operation ") {
        let operator = rest.split_whitespace().next().unwrap_or_default();
        return Some(format!(
            "the model is quantized for another kind of processor: libtorch has no engine for {operator} here ({first_line})"
        ));
    }
    if starts_with(NO_LIBRARY) {
        return Some(format!(
            "the model needs a library that this host does not have ({first_line})"
        ));
    }
    let is_unbuilt = first_line.contains("requires compiling PyTorch with ")
        && first_line.starts_with("Calling ")
        || first_line.contains("ATen not compiled with ") && first_line.starts_with("fft: ");
    is_unbuilt
        .then(|| format!("the model needs what this libtorch was built without ({first_line})"))
}

/// What makes a model run wherever it is served.
const AGNOSTIC: &str = "export it with its devices taken from its inputs (`x.device`), traced after `.to(\"cpu\")` or loaded with map_location";

fn no_device(device: &str) -> String {
    format!("the model's code asks for device {device}, which this host does not have; {AGNOSTIC}")
}

/// An operator that was called on tensors of a device, or of a kind, that it has no code for.
fn no_backend(operator: &str, backend: &str) -> Option<String> {
    if backend == "Meta" {
        return None;
    }
    if !HOST_BACKENDS.iter().any(|host| backend.starts_with(host)) {
        return Some(no_device(&backend.to_lowercase()));
    }
    Some(format!(
        "the model calls the operator {operator} on {backend} tensors, for which no loaded library implements it"
    ))
}

fn no_operator(operator: &str) -> String {
    match operator.split_once("::") {
        Some(("aten" | "prim", _)) => format!(
            "the model calls the operator {operator}, which this libtorch does not have: was it saved by a newer PyTorch"
        ),
        _ => no_definition("operator", operator),
    }
}

fn no_definition(what: &str, name: &str) -> String {
    format!(
        "the model uses the {what} {name}, which no loaded library defines; name its library under `libraries` in the server's configuration"
    )
}

/// What stands between the start of a text and the next `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(start)?;
    rest.split_once(end).map(|(found, _)| found).or((end == "\n").then_some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let message = missing(text).unwrap_or_else(|| panic!("must be recognized: {text}"));
        assert!(message.contains(expected), "must say {expected:?}: {message}");
    }

    #[test]
    fn devices_that_are_not_there_are_named() {
        for text in NO_CUDA {
            check(&format!("RuntimeError: {text} and more"), "asks for device cuda, which");
        }
        let linked = "PyTorch is not linked with support for";
        check(&format!("RuntimeError: {linked} mps devices"), "asks for device mps, which");
        check(&format!("{linked} hpu devices"), "asks for device hpu, which");
        let run = |operator: &str, backend: &str| {
            format!(
                "RuntimeError: Could not run '{operator}' with arguments from the '{backend}' backend. This could be"
            )
        };
        check(&run("aten::empty.memory_format", "CUDA"), "asks for device cuda, which");
        check(&run("aten::empty_strided", "XPU"), "asks for device xpu, which");
        check(&run("quantized::add", "CPU"), "operator quantized::add on CPU tensors");
        check(&run("aten::conv2d", "QuantizedCPU"), "aten::conv2d on QuantizedCPU tensors");
        let mixed = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!";
        check(mixed, "mixes devices");
    }

    #[test]
    fn definitions_and_libraries_that_are_not_there_are_named() {
        let unknown = "Unknown builtin op: torchvision::nms.\nCould not find any similar ops";
        check(unknown, "operator torchvision::nms, which no loaded library defines; name its");
        check("Unknown builtin op: aten::new_one.\nHere", "saved by a newer PyTorch");
        let class = "Unknown type name '__torch__.torch.classes.texts.Vocabulary':\n  File";
        check(class, "class texts.Vocabulary, which no loaded library defines");
        let engine = "Didn't find engine for operation quantized::linear_prepack NoQEngine";
        check(engine, "no engine for quantized::linear_prepack");
        check("Error in dlopen: libnvrtc.so.12: cannot open", "needs a library");
        let lapack = "Calling torch.linalg.lu_factor on a CPU tensor requires compiling PyTorch with LAPACK. Please";
        check(lapack, "built without");
    }

    #[test]
    fn what_another_input_may_cure_is_none_of_it() {
        for text in [
            "RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'",
            "RuntimeError: linalg.inv: Low precision dtypes not supported. Got Half",
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x4)",
            "There were no tensor arguments to this function (e.g., you passed an empty list of Tensors)",
            "RuntimeError: could not convert: Found no NVIDIA driver on your system",
            "Unknown type name 'Foo':\n  File",
            "CUDA error: device-side assert triggered",
            "",
        ] {
            assert_eq!(missing(text), None, "{text}");
        }
    }
}
