//! `sconce engine-child`: the program as the child that tries or holds models. Started by the server alone.

use super::Failure;
use crate::app;
use crate::engine::remote::{Confinement, Purpose, run_child, run_zygote};
use crate::engine::{EngineError, Fault};
use crate::telemetry::logging::log_plainly;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Its arguments.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct EngineChild {
    /// The files are vouched for: their code may reach files
    #[arg(long)]
    trusting: bool,
    /// The model serves, and is not tried
    #[arg(long)]
    serving: bool,
    /// Others are forked from this one, which holds none
    #[arg(long)]
    pub(super) zygote: bool,
    /// Operator libraries to load first
    libraries: Vec<PathBuf>,
}

/// Answers the parent on the socket that is the standard input, until the parent hangs up.
///
/// # Errors
///
/// It was not the server that started it.
pub(super) fn run(child: &EngineChild) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Err(Failure::Runtime("engine-child is started by the server itself".into()));
    }
    log_plainly();
    let loader = || match app::loader(&child.libraries) {
        Ok((loader, _)) => Ok(loader),
        Err(error) => Err(EngineError::new(Fault::Unsupported, error.to_string())),
    };
    if child.zygote {
        let fork = || {
            let forked = app::fork_as_sibling()?;
            if forked.is_none() {
                app::give_back_unasked();
            }
            Ok(forked)
        };
        return run_zygote(loader, fork).map_err(|error| Failure::Runtime(error.to_string()));
    }
    let confinement = if child.trusting { Confinement::Trust } else { Confinement::Sandbox };
    let purpose = if child.serving { Purpose::Service } else { Purpose::Trial };
    run_child(purpose, confinement, loader).map_err(|error| Failure::Runtime(error.to_string()))
}
