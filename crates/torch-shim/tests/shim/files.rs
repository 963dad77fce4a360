//! Files, good and bad.

use std::fs;

use torch_shim::{ErrorClass, Module, Package, Slot, TorchDevice};

use crate::{ScratchFile, floats, floats_of};

fn saved() -> ScratchFile {
    let source = "def forward(self, x):\n    return x * self.w\n";
    let module =
        Module::define_with("", source, vec![("w", Slot::Parameter(floats(&[3.; 4096], &[4096])))])
            .unwrap();
    let file = ScratchFile::new("model.pt");
    module.save(&file.0).unwrap();
    file
}

#[test]
fn a_saved_module_loads_and_answers() {
    let file = saved();
    let (module, extra) = Module::load_with_extra(
        &fs::File::open(&file.0).unwrap(),
        TorchDevice::Cpu,
        &["absent.json"],
    )
    .unwrap();
    assert!(extra.is_empty(), "what is not there must be left out: {extra:?}");
    assert_eq!(
        floats_of(module.run("forward", &[floats(&[2.; 4096], &[4096]).into()]).unwrap()),
        [6.; 4096]
    );
}

#[track_caller]
fn check_refused(bytes: &[u8], what: &str) {
    let file = ScratchFile::new("bad.pt");
    fs::write(&file.0, bytes).unwrap();
    let error = Module::load_path(&file.0, TorchDevice::Cpu).unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidFile, "{what}: {error}");
    let folder = std::env::temp_dir();
    for forbidden in ["frame #", "Exception raised from", ".cpp", folder.to_str().unwrap()] {
        assert!(!error.message.contains(forbidden), "{what}: must not tell {forbidden:?}: {error}");
    }
}

#[test]
fn damaged_files_are_refused() {
    check_refused(b"", "empty");
    check_refused(b"garbage that is no archive", "garbage");
    check_refused(&[0x80; 100_000], "large garbage");
    let file = saved();
    let whole = fs::read(&file.0).unwrap();
    for part in [1, 4, whole.len() / 4, whole.len() / 2, whole.len() - 100, whole.len() - 1] {
        check_refused(&whole[..part], &format!("the first {part} bytes of {}", whole.len()));
    }
}

#[test]
fn what_is_no_compiled_model_is_no_package() {
    let check = |file: fs::File| {
        let error = Package::load(&file, None, 1).unwrap_err();
        // The same as where a library that it needs is not there.
        assert_eq!(error.class, ErrorClass::Environment, "{error}");
        assert!(!error.message.contains("/proc/"), "{error}");
    };
    let file = ScratchFile::new("bad.so");
    fs::write(&file.0, b"garbage that is no library").unwrap();
    check(fs::File::open(&file.0).unwrap());
    // A library all the same, and of nothing that was compiled.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut files = maps.lines().filter_map(|line| line.split(' ').next_back());
    check(fs::File::open(files.find(|it| it.contains("/libc.so")).unwrap()).unwrap());
}

#[test]
fn what_is_not_there_is_refused() {
    let error = Module::load_path("no/such/model.pt", TorchDevice::Cpu).unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidFile);
    assert_eq!(
        Module::load_path(std::env::temp_dir(), TorchDevice::Cpu).unwrap_err().class,
        ErrorClass::InvalidFile
    );
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let file = saved();
    let error = Module::load_path(&file.0, TorchDevice::Cuda(99)).unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidArgument, "{error}");
    assert!(error.message.contains("cuda:99"), "{error}");
}
