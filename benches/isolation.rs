//! What a run costs more in a child process than in this one: `cargo bench --no-default-features --bench isolation`.
//!
//! The model reads a value of every page of its input and answers 4 KiB. Inputs come in memory of their own, as those of a
//! request that runs alone do, or in memory that the engine gave, where the scheduler puts batches together. Medians and 99th
//! percentiles in µs, by one caller and by two at once, each with an instance of its own. Prints a table; asserts nothing.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use sconce::engine::fake::{FakeLoader, FakeModel};
use sconce::engine::remote::{
    Confinement, IsolatedLoader, IsolationOptions, Purpose, RemoteOptions, run_child,
};
use sconce::engine::{Artifact, Batch, Device, Engine, Format, LoadOptions, Loader, Model};
use sconce::tensor::{BufferMut, DataType, Shape, Tensor};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const ANSWER: usize = 4096;

fn model() -> FakeModel {
    FakeModel::new(|batch| {
        let input = batch.inputs.into_iter().flatten().next().expect("there is an input");
        let bytes = input.buffer().as_bytes();
        let sum = bytes.iter().step_by(PAGE).fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        Ok(vec![tensor(BufferMut::zeroed(ANSWER), sum)])
    })
}

fn tensor(mut buffer: BufferMut, value: u8) -> Tensor {
    buffer.as_mut().fill(value);
    let shape = Shape::from([1, buffer.as_ref().len()]);
    Tensor::new(DataType::UInt8, shape, buffer.freeze()).expect("as many bytes as elements")
}

/// Microseconds of each run, sorted.
fn measure(engine: &mut dyn Engine, bytes: usize, given: bool) -> Vec<f64> {
    let n_runs = (400_000_000 / bytes.max(100_000)).clamp(100, 4000);
    let own = tensor(BufferMut::zeroed(bytes), 1);
    let mut times: Vec<f64> = (0..n_runs + 20)
        .map(|_| {
            // Putting a batch together is not what is measured: both do it.
            let input = if given { tensor(engine.buffer(bytes), 1) } else { own.clone() };
            let began = Instant::now();
            let outcome = engine.run(Batch::without_deadline(vec![Some(input)]));
            let took = began.elapsed();
            assert_eq!(outcome.expect("it runs").outputs.len(), 1);
            took.as_secs_f64() * 1e6
        })
        .skip(20)
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn row(name: &str, model: &dyn Model, bytes: usize, given: bool, n_callers: usize) -> f64 {
    let engines: Vec<_> = (0..n_callers).map(|_| model.instance().expect("an instance")).collect();
    let times: Vec<Vec<f64>> = thread::scope(|scope| {
        let run =
            |mut engine: Box<dyn Engine>| scope.spawn(move || measure(&mut *engine, bytes, given));
        let threads: Vec<_> = engines.into_iter().map(run).collect();
        threads.into_iter().map(|it| it.join().expect("no panic")).collect()
    });
    let mut times = times.concat();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{name:<34} {:>9} bytes  {n_callers} callers  p50 {:>8.1}  p99 {:>8.1}",
        bytes,
        at(0.5),
        at(0.99)
    );
    at(0.5)
}

fn main() {
    if std::env::args().any(|argument| argument == RemoteOptions::ARGUMENT) {
        let loader = || Ok(Arc::new(FakeLoader(model())) as Arc<dyn Loader>);
        run_child(Purpose::Service, Confinement::Sandbox, loader).expect("the parent speaks");
        return;
    }
    let program = std::env::current_exe().expect("a program has a path");
    let child = RemoteOptions::of_this_program(Duration::from_secs(60)).expect("a path");
    let loader = IsolatedLoader::new(IsolationOptions { child, max_deaths: 0 });
    let artifact = Artifact::new(Format::TorchScript, program, "bench".to_owned());
    let options = LoadOptions::plain(Device::Cpu, 1);
    let isolated = loader.load(&artifact, &options).expect("the child starts");
    let here = model();
    for bytes in [4 << 10, 600 << 10, 10 << 20] {
        for n_callers in [1, 2] {
            let base = row("in this process", &here, bytes, false, n_callers);
            let copied = row("in a child", &*isolated, bytes, false, n_callers);
            let given = row("in a child, put together there", &*isolated, bytes, true, n_callers);
            println!("  more: {:.1} µs, {:.1} µs", copied - base, given - base);
        }
    }
}
