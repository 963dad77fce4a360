//! Compiles the C++ half of the shim against the libtorch that `LIBTORCH` names.

use std::env;
use std::path::PathBuf;

fn main() {
    for name in ["LIBTORCH", "LIBTORCH_INCLUDE", "LIBTORCH_LIB", "LIBTORCH_CXX11_ABI"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=cpp");
    println!("cargo:rerun-if-changed=build.rs");

    // The same variables, with the same meaning, as torch-sys reads: both halves must see one libtorch.
    let libtorch = env::var_os("LIBTORCH").map(PathBuf::from);
    let folder = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .or_else(|| libtorch.clone())
            .expect("LIBTORCH names the folder of libtorch; `make` fetches one and sets it in .cargo/config.toml")
    };
    let include = folder("LIBTORCH_INCLUDE").join("include");
    let lib = folder("LIBTORCH_LIB").join("lib");
    let cxx11_abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());

    cc::Build::new()
        .cpp(true)
        .pic(true)
        .std("c++17")
        // As system headers: their warnings are not ours to mend, and ours stay visible.
        .flag("-isystem")
        .flag(&include)
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", cxx11_abi.as_str())
        .warnings(true)
        .extra_warnings(true)
        .flag("-fvisibility=hidden")
        // GCC 12 sees an overflow in the standard library's own atomic reads when it optimizes.
        .flag_if_supported("-Wno-stringop-overflow")
        // Debug information for torch's templates takes longer to write than all the rest.
        .debug(false)
        .file("cpp/all.cpp")
        .compile("sconce_torch_shim");

    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-lib=dl");
    // For this package's own tests and examples; the root package's build script does the same for the program.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:lib_dir={}", lib.display());
}
