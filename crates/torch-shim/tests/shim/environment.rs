//! What a host lacks: devices, operators, libraries.

use torch_shim::{ErrorClass, Module, device_count, load_library};

use crate::{ScratchFile, floats};

#[track_caller]
fn check(method: &str, expected: &str) {
    let module = Module::define(method).expect("the test's source compiles");
    let error = module.run("forward", &[floats(&[1., 2.], &[2]).into()]).unwrap_err();
    assert_eq!(error.class, ErrorClass::Environment, "{error}");
    assert!(error.message.contains(expected), "{error}");
}

#[test]
fn a_device_that_is_not_there_is_no_fault_of_the_input() {
    check("def forward(self, x):\n    return x.to(\"mps\")\n", "asks for device mps, which");
    check("def forward(self, x):\n    return x.to(\"xpu:1\")\n", "asks for device xpu, which");
    if device_count() == 0 {
        let source = "def forward(self, x):\n    return x.to(\"cuda:0\") * 2\n";
        check(source, "asks for device cuda, which this host does not have");
        let made = "def forward(self, x):\n    return x + torch.zeros([2], device=\"cuda\")\n";
        check(made, "asks for device cuda, which");
    }
}

#[test]
fn a_text_that_a_model_raises_is_never_taken_for_it() {
    let source = "def forward(self, x):\n    prim.RaiseException(\"PyTorch is not linked with support for mps devices\", \
                  \"builtins.RuntimeError\")\n    return x\n";
    let module = Module::define(source).expect("the test's source compiles");
    let error = module.run("forward", &[floats(&[1.], &[1]).into()]).unwrap_err();
    assert_eq!(error.class, ErrorClass::Raised, "{error}");
}

#[test]
fn a_library_that_cannot_be_loaded_says_why() {
    let missing = load_library("/no/such/library.so").unwrap_err();
    assert!(missing.message.contains("cannot open shared object file"), "{missing}");
    assert!(!missing.message.contains("/no/such"), "whoever named it knows where it is: {missing}");
    let text = ScratchFile::new("text.so");
    std::fs::write(&text.0, "no library").unwrap();
    let error = load_library(&text.0).unwrap_err();
    assert!(
        error.message.contains("file too short") || error.message.contains("invalid ELF"),
        "{error}"
    );
}
