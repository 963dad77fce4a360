//! `sconce inspect FILE`: what is in a model file.

use super::{Failure, print};
use crate::app;
use crate::engine::probe::{Concern, TriedForm, concerns};
use crate::engine::remote::{RemoteLoader, RemoteOptions};
use crate::engine::{
    ArgumentKind, Artifact, Device, Format, LoadOptions, Loader, Reach, Signature, package,
};
use crate::repository::{self, FileTrial};
use clap::Args;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Longest that loading the file may take; trying its forms may take a third of it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Parameters that are listed; the rest is only counted.
const MAX_PARAMETERS: usize = 40;

/// Show what is in a model file: methods, inputs, parameters, size, operators of concern
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Inspect {
    /// The model file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Run it too, as a trial would: may requests share runs, and which form is the fastest?
    #[arg(long = "try")]
    pub with_trial: bool,
    /// Operator library to load first, as `libraries` of the configuration; may be repeated
    #[arg(long = "library", value_name = "FILE")]
    pub libraries: Vec<PathBuf>,
}

impl Inspect {
    /// Loads the file in a child process and prints what it declares, and what a trial finds out if
    /// that is asked for.
    ///
    /// # Errors
    ///
    /// The file cannot be read or loaded, or does not pass its trial.
    pub fn run(&self) -> Result<(), Failure> {
        let unreadable =
            |error| Failure::Runtime(format!("{:?} cannot be read: {error}", self.file));
        let file = std::fs::File::open(&self.file).map_err(unreadable)?;
        let file_bytes = file.metadata().map_err(unreadable)?.len();
        // Asked first, so that a build without an engine, or a library that does not load, is told here and not
        // through the child.
        let (loader, _) =
            app::loader(&self.libraries).map_err(|error| Failure::Runtime(error.to_string()))?;
        let artifact = Artifact::new(Format::of(&self.file), self.file.clone(), String::new());
        if let Some(kind) = loader.other_kind(&artifact).map_err(unreadable)? {
            return Err(Failure::Runtime(format!("{:?}: {kind}", self.file)));
        }
        let options = RemoteOptions::of_this_program(TIMEOUT).map_err(unreadable)?;
        let options = options.with_libraries(&self.libraries);
        let options_of_load = LoadOptions::plain(Device::Cpu, 1);
        let loader = RemoteLoader::new(options);
        if let Some(damage) = loader.damage(&artifact).map_err(unreadable)? {
            return Err(Failure::Runtime(format!("{:?}: {damage}", self.file)));
        }
        let failed = |error| Failure::Runtime(format!("{:?}: {error}", self.file));
        if artifact.format.is_native() {
            return self.package(&file, file_bytes);
        }
        let model = loader.load(&artifact, &options_of_load).map_err(failed)?;
        print(&report(model.signature(), model.memory(), file_bytes))?;
        if !self.with_trial {
            return Ok(());
        }
        drop(model);
        let found = repository::try_file(&loader, &app::sample_decoder(), &self.file, TIMEOUT);
        let found = found.map_err(|reason| Failure::Runtime(format!("trial: {reason}")))?;
        print(&trial(&found))
    }

    /// Prints what a package declares, of which nothing is loaded: nobody vouches for it here.
    fn package(&self, file: &std::fs::File, file_bytes: u64) -> Result<(), Failure> {
        if self.with_trial {
            let text = "native code is tried by the server alone, once trusted_models lists it";
            return Err(Failure::Runtime(format!("{:?}: {text}", self.file)));
        }
        let (signature, memory) = package::declared(file, u64::MAX)
            .map_err(|error| Failure::Runtime(format!("{:?}: {error}", self.file)))?;
        print(&report(&signature, memory, file_bytes))
    }
}

fn report(signature: &Signature, memory: u64, file_bytes: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("file", format!("{file_bytes} bytes"));
    line("weights", format!("{memory} bytes"));
    line("forward", format!("({}) -> {}", arguments(signature), signature.returns));
    line("methods", signature.methods.join(", "));
    line(
        "state",
        if signature.mutates_state { "kept between calls" } else { "none written" }.to_owned(),
    );
    let operators = match &signature.reach {
        Reach::Operators(operators) => operators.len().to_string(),
        Reach::Native => "native code".to_owned(),
    };
    line("operators", operators);
    let found = concerns(signature);
    line("concerns", if found.is_empty() { "none".to_owned() } else { found.len().to_string() });
    for Concern { name, reason, .. } in found {
        line("", format!("{name}: {reason}"));
    }
    line("parameters", signature.parameters.len().to_string());
    for parameter in signature.parameters.iter().take(MAX_PARAMETERS) {
        let datatype = parameter.datatype.map_or("other", |datatype| datatype.name());
        line("", format!("{} {datatype} {:?}", parameter.name, parameter.shape));
    }
    if let Some(more) =
        signature.parameters.len().checked_sub(MAX_PARAMETERS).filter(|more| *more > 0)
    {
        line("", format!("and {more} more"));
    }
    text
}

/// What a trial finds out: whether requests share runs, and the form that would serve.
fn trial(FileTrial { findings, batch_size }: &FileTrial) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    let grounds = findings.grounds.as_deref().map_or(String::new(), |it| format!(" ({it})"));
    let batching = findings.batching;
    line("batching", format!("{batching}: {}{grounds}", batching.reason()));
    line("batch size", format!("{}: {}", batch_size.rows, batch_size.reason));
    line("answers", findings.contract.form.as_str().to_owned());
    let form = &findings.form;
    line("form", format!("{}, {:.2} times as fast as plain", form.chosen, form.gain()));
    for TriedForm { form, outcome } in &form.tried {
        let told = match outcome {
            Ok(facts) => format!(
                "{:.2} times as fast, answers differ by {:.1e} of the largest",
                facts.gain, facts.difference
            ),
            Err(reason) => reason.clone(),
        };
        line("", format!("{form}: {told}"));
    }
    text
}

fn arguments(signature: &Signature) -> String {
    let types = signature.interface.as_deref().map_or(&[][..], |it| &it.inputs);
    let argument = |(place, argument): (usize, &crate::engine::Argument)| {
        if let Some(taken) = types.get(place) {
            return format!("{}: {} {}", argument.name, taken.datatype, taken.shape);
        }
        let kind = match argument.kind {
            ArgumentKind::Tensor => "Tensor",
            ArgumentKind::Texts => "List[str]",
            ArgumentKind::Scalar(datatype) => datatype.name(),
        };
        let optional = if argument.optional { " (optional)" } else { "" };
        format!("{}: {kind}{optional}", argument.name)
    };
    signature.arguments.iter().enumerate().map(argument).collect::<Vec<_>>().join(", ")
}
