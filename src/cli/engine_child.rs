//! `sconce engine-child`: the program as the child that tries models. Started by the server alone.

use super::Failure;
use std::io::IsTerminal;

/// Answers the parent on the socket that is the standard input, until the parent hangs up.
///
/// # Errors
///
/// It was not the server that started it.
pub(super) fn run() -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Err(Failure::Runtime("engine-child is started by the server itself".into()));
    }
    Err(Failure::Runtime("this build cannot run models".into()))
}
