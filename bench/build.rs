//! Tells the linker where `library` finds libtorch when it runs.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEP_SCONCE_TORCH_SHIM_LIB_DIR");
    if let Some(lib_dir) = env::var_os("DEP_SCONCE_TORCH_SHIM_LIB_DIR") {
        println!("cargo:rustc-link-arg-bin=library=-Wl,-rpath,{}", lib_dir.display());
    }
}
