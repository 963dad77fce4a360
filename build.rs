//! Tells the linker where the program finds libtorch when it runs.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // torch-shim's build script says where it found libtorch. Without the feature there is nothing to find.
    println!("cargo:rerun-if-env-changed=DEP_SCONCE_TORCH_SHIM_LIB_DIR");
    if env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    // First the folder beside the program, as a release ships it; then the one it was built against. Both are for
    // programs, tests and benches alike.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    if let Some(lib_dir) = env::var_os("DEP_SCONCE_TORCH_SHIM_LIB_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib_dir.display());
    }
}
