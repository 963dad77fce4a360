//! The command line: arguments, help, and exit codes. One file a subcommand.
//!
//! What a subcommand does lies in the rooms; here is only how it is asked for and how it ends.

mod answer;
mod check;
mod engine_child;
mod golden;
mod evaluate;
mod export;
mod health;
mod inside;
mod inspect;
mod manage;
mod reference;
mod replay;
mod serve;
mod settings;
mod tune;

pub use check::Check;
pub use engine_child::EngineChild;
pub use evaluate::Evaluate;
pub use export::Export;
pub use golden::WriteGolden;
pub use health::Health;
pub use inspect::Inspect;
pub use manage::{ModelVersion, Order, Percent, RolloutOrder, To};
pub use reference::WriteReference;
pub use replay::ReplayRequests;
pub use serve::Serve;
pub use settings::Settings;
pub use tune::Tune;

use crate::app;
use crate::settings::SettingErrors;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use thiserror::Error;

const EXAMPLES: &str = "\
Examples:
  sconce serve                               serve the models in ./models on 127.0.0.1:8080
  sconce serve --models /srv/models --listen 0.0.0.0:8080
  sconce serve --model digits=/mnt/models    serve one model, whose folder does not bear its name
  sconce serve --config sconce.toml --set batching.max_queue_delay=2ms
  sconce check --config sconce.toml          try the configuration and every model, serve nothing
  sconce inspect model.pt                    what is in a model file
  sconce tune digits --latency 5ms           which instances, threads, batches and delays suit it
  sconce golden digits --requests FILE       what it answers, for its next version to answer too
  sconce evaluate digits --data rows.jsonl   how well it answers labelled rows, and whether that is enough
  sconce replay capture/ --against digits/2  what version 2 answers to requests of another day
  sconce models --to 10.0.0.1:8081           what does that server serve?
  sconce rollout start digits/2              a new version beside the one that serves
  sconce health                              is the server of these settings ready?
  sconce serve --print-config                every setting and where it comes from

  curl -d '{\"features\": [1.0, 2.0]}' localhost:8080/predict/MODEL";

/// Serves TorchScript models over HTTP: batched, bounded, watched
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "sconce",
    version,
    before_help = EXAMPLES,
    after_help = "Settings: flags > environment (SCONCE_HTTP__LISTEN) > file > defaults; docs/configuration.md lists them.\n\
                  Exit status: 0; 1 failed at run time; 2 wrong usage; 78 faulty configuration.",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// Serve the models of a folder over HTTP
    Serve(Serve),
    /// Check the configuration and every model, without serving
    Check(Check),
    /// Show what is in a model file: methods, inputs, parameters, size, operators of concern
    Inspect(Inspect),
    /// Hold a version's answers against labels and another version; exit status 1 when a minimum is missed
    Evaluate(Evaluate),
    /// Measure instances, threads, batch sizes and delays of a model, and name the best
    Tune(Tune),
    /// Write what a model answers to a file of requests, which a new version then must answer too
    Golden(WriteGolden),
    /// Write what a model's data look like, which requests are then watched beside
    Reference(WriteReference),
    /// Ask a version for captured requests again, and compare its answers with those that were given
    Replay(ReplayRequests),
    /// Write captured requests as KServe, SageMaker or the Open Inference Protocol do
    Export(Export),
    /// Ask a running server whether it is ready: exit status 0 if it is, 1 if not
    Health(Health),
    /// Orders to running servers.
    #[command(flatten)]
    Order(Order),
    /// Hold models for the server, which starts this itself
    #[command(hide = true)]
    EngineChild(EngineChild),
}

/// Why the program ends with a status other than 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The configuration is faulty.
    #[error(transparent)]
    Config(#[from] SettingErrors),
    /// Something failed at run time: one line.
    #[error("{0}")]
    Runtime(String),
}

impl Failure {
    /// The exit status: 78 is `EX_CONFIG` of sysexits.h.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,
            Self::Runtime(_) => 1,
        }
    }
}

/// Parses the arguments, runs the subcommand, reports its failure.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    app::prepare_process();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => return end(print(&version())),
        Err(error) => {
            // Help that was asked for is printed and is no failure. Where even that cannot be
            // written, nobody is left to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // A zygote has one thread, and what is forked from it has its own.
    if !matches!(&arguments.command, Command::EngineChild(child) if child.zygote) {
        app::give_back_unasked();
    }
    end(match &arguments.command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Evaluate(evaluate) => evaluate.run(),
        Command::Tune(tune) => tune.run(),
        Command::Golden(golden) => golden.run(),
        Command::Reference(reference) => reference.run(),
        Command::Replay(replay) => replay.run(),
        Command::Export(export) => export.run(),
        Command::Health(health) => health.run(),
        Command::Order(order) => order.run(),
        Command::EngineChild(child) => engine_child::run(child),
    })
}

/// Reports how it went, one line a fault, and gives the exit status.
fn end(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    let mut stderr = std::io::stderr().lock();
    for line in failure.to_string().lines() {
        // Where even this cannot be written, the exit status still tells.
        let _ = writeln!(stderr, "{line}");
    }
    ExitCode::from(failure.exit_code())
}

/// The version and the facts of the build, a line each.
fn version() -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let libtorch = app::loader(&[]).map_or_else(|_| "none".to_owned(), |(_, version)| version);
    format!(
        "sconce {}\ntarget: {}-{}\nprofile: {profile}\nlibtorch: {libtorch}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}

/// Prints to the standard output. A reader that has gone is no failure: `sconce … | head`.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Runtime(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn check(arguments: &[&str], expected: u8) {
        let arguments = ["sconce"].iter().chain(arguments).map(OsString::from);
        assert_eq!(run(arguments), ExitCode::from(expected));
    }

    #[test]
    fn the_exit_status_says_what_went_wrong() {
        check(&["--help"], 0);
        check(&["--version"], 0);
        check(&[], 2);
        check(&["frobnicate"], 2);
        check(&["serve", "--set", "no-equals-sign"], 2);
        check(&["check", "--config", "no/such/file.toml"], 78);
        check(&["check", "--models", "no/such/folder"], 78);
        check(&["serve", "--set", "http.lisen=1"], 78);
        check(&["inspect", "no/such/file.pt"], 1);
        check(&["evaluate", "m"], 2);
        check(&["evaluate", "m/one", "--data", "rows.csv"], 2);
    }

    #[test]
    fn the_child_is_hidden() {
        let help = Arguments::command().render_long_help().to_string();
        assert!(!help.contains("engine-child"), "{help}");
        let parsed = Arguments::try_parse_from(["sconce", "engine-child", "/a.so"]).unwrap();
        assert!(matches!(parsed.command, Command::EngineChild(_)));
    }

    #[test]
    fn help_begins_with_examples() {
        let help = Arguments::command().render_long_help().to_string();
        assert!(help.starts_with("Examples:\n"), "{help}");
    }
}
