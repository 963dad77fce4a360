//! What a call through the shim costs beside the library's own: `cargo run --release -p torch-shim --example overhead`.
//!
//! A model of 20→64→32→1, one row, one thread. The ways take turns, so that a noisy machine is noisy to all of them.

#![expect(clippy::print_stdout, reason = "printing is what a measurement is for")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use tch::{CModule, Device as TchDevice, Kind, Tensor};
use torch_shim::{
    IValue, Module, Slot, TensorBytes, TorchDevice, set_intra_op_threads, tensor_from_owner,
};

type Outcome = Result<(), Box<dyn Error>>;

const CALLS: usize = 2_000;
const ROUNDS: usize = 15;

fn weights(rows: i64, columns: i64) -> Result<Slot, Box<dyn Error>> {
    Ok(Slot::Parameter(Tensor::f_randn([rows, columns], (Kind::Float, TchDevice::Cpu))?))
}

/// The median of the rounds' means, in microseconds.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Outcome {
    set_intra_op_threads(1)?;
    let source = "def forward(self, x):\n    x = torch.relu(torch.linear(x, self.a))\n    \
                  x = torch.relu(torch.linear(x, self.b))\n    return torch.linear(x, self.c)\n";
    let slots = vec![("a", weights(64, 20)?), ("b", weights(32, 64)?), ("c", weights(1, 32)?)];
    let path = std::env::temp_dir().join(format!("torch-shim-overhead-{}.pt", std::process::id()));
    Module::define_with("", source, slots)?.save(&path)?;
    let own = CModule::load(&path)?;
    let module = Module::load_path(&path, TorchDevice::Cpu)?;
    std::fs::remove_file(&path)?;
    let frozen = module.freeze(&[])?;
    let x = Tensor::f_randn([1, 20], (Kind::Float, TchDevice::Cpu))?;
    let argument = [IValue::Tensor(x.shallow_clone())];

    let tch_call = || -> Outcome {
        let _no_grad = tch::no_grad_guard();
        drop(black_box(own.forward_ts(std::slice::from_ref(&x))?));
        Ok(())
    };
    let shim_call = || -> Outcome {
        black_box(module.run("forward", &argument)?);
        Ok(())
    };
    let frozen_call = || -> Outcome {
        black_box(frozen.run("forward", &argument)?);
        Ok(())
    };
    // What the engine does: bytes in, bytes out.
    let with_bytes = || -> Outcome {
        let x = IValue::Tensor(tensor_from_owner(vec![0u8; 80], &[1, 20], Kind::Float)?);
        if let IValue::Tensor(answer) = frozen.run("forward", &[x])? {
            black_box(TensorBytes::new(answer)?.as_ref());
        }
        Ok(())
    };
    let ways: [(&str, &dyn Fn() -> Outcome); 4] = [
        ("tch forward_ts", &tch_call),
        ("shim run", &shim_call),
        ("shim run, frozen", &frozen_call),
        ("shim run, frozen, bytes to bytes", &with_bytes),
    ];
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for ((_, call), times) in ways.iter().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..CALLS {
                call()?;
            }
            // The first round warms the executor.
            if round > 0 {
                times.push(start.elapsed().as_secs_f64() * 1e6 / CALLS as f64);
            }
        }
    }
    for ((name, _), times) in ways.iter().zip(times) {
        println!("{name}: {:.2} µs", median(times));
    }
    Ok(())
}
