//! The library's own limit: the same model in a loop of its own, without a server around it.
//!
//! Prints a line of JSON for each measurement. Inputs are made beforehand, outputs are dropped;
//! threads share one module and each keeps to its own intra-op threads, as instances of the server do.

mod forms;
mod inputs;
mod loops;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use forms::Form;
use inputs::Inputs;

type Error = Box<dyn std::error::Error>;

/// Runs TorchScript files in a loop.
#[derive(Debug, Parser)]
#[command(name = "library")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tries every form, batch size and number of threads; prints each, the best last.
    Screen {
        #[command(flatten)]
        model: ModelFile,
        /// Seconds for each combination, where a call does not take longer.
        #[arg(long, default_value_t = 0.3)]
        seconds: f64,
        /// Largest batch.
        #[arg(long, default_value_t = 64)]
        max_batch: usize,
        /// Seconds after which what has not been tried is left out.
        #[arg(long, default_value_t = 60.0)]
        budget: f64,
    },
    /// Measures one combination.
    Rate {
        #[command(flatten)]
        model: ModelFile,
        #[command(flatten)]
        combination: Combination,
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
    },
    /// Measures a call with one row on one thread, in the form that is fastest at that.
    Forward {
        #[command(flatten)]
        model: ModelFile,
        /// Only this form.
        #[arg(long)]
        form: Option<Form>,
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
    },
    /// Batches rows of equal length, the whole stream known beforehand.
    Lengths {
        #[command(flatten)]
        model: ModelFile,
        #[command(flatten)]
        combination: Combination,
        /// Only so many rows of the stream.
        #[arg(long, default_value_t = usize::MAX)]
        rows_limit: usize,
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
    },
    /// Loads models, prints a line and waits until its input ends: an empty
    /// program to compare memory with.
    Hold {
        /// Model files.
        models: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct ModelFile {
    /// The TorchScript file.
    #[arg(long)]
    model: PathBuf,
    /// The description of its rows: rows.json.
    #[arg(long)]
    rows: PathBuf,
}

#[derive(Debug, Args)]
struct Combination {
    #[arg(long, default_value = "plain")]
    form: Form,
    /// Rows of a call; for `lengths` the most.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Threads that one operator may use.
    #[arg(long, default_value_t = 1)]
    intra_op: usize,
}

impl Combination {
    fn setting(&self) -> loops::Setting {
        loops::Setting {
            form: self.form,
            batch: self.batch,
            threads: self.threads,
            intra_op: self.intra_op,
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program that prints its result")]
fn print(line: &Value) {
    println!("{line}");
}

fn run(arguments: Arguments) -> Result<(), Error> {
    match arguments.what {
        What::Screen { model, seconds, max_batch, budget } => {
            let inputs = Inputs::read(&model.rows)?;
            let search = loops::Search { seconds, max_batch, budget };
            let (mut results, left_out) = loops::screen(&model.model, &inputs, &search, print)?;
            results.sort_by(|a, b| b.rows_per_second.total_cmp(&a.rows_per_second));
            let best: Vec<Value> = results.iter().map(loops::Rate::line).collect();
            print(&json!({ "what": "best", "best": best, "left_out": left_out }));
        }
        What::Rate { model, combination, seconds } => {
            let inputs = Inputs::read(&model.rows)?;
            let setting = combination.setting();
            let module = setting.form.load(&model.model)?;
            print(&loops::rate(&module, &inputs, setting, seconds)?.line());
        }
        What::Forward { model, form, seconds } => {
            let inputs = Inputs::read(&model.rows)?;
            let forms = form.map_or(Form::ALL.to_vec(), |form| vec![form]);
            for line in loops::forward(&model.model, &inputs, &forms, seconds)? {
                print(&line);
            }
        }
        What::Lengths { model, combination, rows_limit, seconds } => {
            let mut inputs = Inputs::read(&model.rows)?;
            inputs.truncate(rows_limit);
            let setting = combination.setting();
            let module = setting.form.load(&model.model)?;
            print(&loops::lengths(&module, &inputs, setting, seconds)?.line());
        }
        What::Hold { models } => {
            torch_shim::set_intra_op_threads(1)?;
            let mut held = Vec::new();
            for model in &models {
                held.push(torch_shim::Module::load_path(model, torch_shim::TorchDevice::Cpu)?);
            }
            print(&json!({ "what": "hold", "models": held.len() }));
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the one line that says why it ended")]
fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("library: {error}");
            ExitCode::FAILURE
        }
    }
}
