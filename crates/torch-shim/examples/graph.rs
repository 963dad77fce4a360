//! Prints the code of TorchScript files as the proof over it reads it: `graph FILE…`. The fixtures in
//! `tests/fixtures/graphs` are made with it.

use torch_shim::{Module, TorchDevice};

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> Result<(), String> {
    for file in std::env::args().skip(1) {
        let module = Module::load_path(&file, TorchDevice::Cpu)
            .map_err(|error| format!("{file}: {error}"))?;
        let code = module.graph("forward").map_err(|error| format!("{file}: {error}"))?;
        let state = module.mutates_state().map_err(|error| format!("{file}: {error}"))?;
        print!("=== {file} {}\n{code}", if state { "state" } else { "-" });
    }
    Ok(())
}
