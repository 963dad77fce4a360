//! `sconce engine-child`: the program as the child that tries models. Started by the server alone.

use super::Failure;
use crate::app;
use crate::engine::remote::{Confinement, run_child};
use crate::engine::{EngineError, Fault};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Answers the parent on the socket that is the standard input, until the parent hangs up.
///
/// # Errors
///
/// It was not the server that started it.
pub(super) fn run(trusting: bool, libraries: &[PathBuf]) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Err(Failure::Runtime("engine-child is started by the server itself".into()));
    }
    let loader = || match app::loader(libraries) {
        Ok((loader, _)) => Ok(loader),
        Err(error) => Err(EngineError::new(Fault::Unsupported, error.to_string())),
    };
    let confinement = if trusting { Confinement::Trust } else { Confinement::Sandbox };
    run_child(confinement, loader).map_err(|error| Failure::Runtime(error.to_string()))
}
