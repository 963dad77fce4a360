//! Makes a golden file of requests and the answers of a version that is trusted.

use super::ask::{Answer, Asker};
use super::file::requests;
use crate::repository::ModelHandle;
use std::fmt::Write as _;

/// The text of a golden file: each request of `text` with the version's answer. Blocks. `name` is how messages call
/// the file of requests.
///
/// # Errors
///
/// The first line that is no request, or that the version does not answer.
pub fn write(handle: &ModelHandle, name: &str, text: &str) -> Result<String, String> {
    let asker = Asker::new(handle).map_err(|error| error.to_string())?;
    let requests = requests(name, text)?;
    let mut golden = String::new();
    for (line, request) in &requests {
        let body = asker.ask(request.get()).map_err(|error| format!("{name}:{line}: {error}"))?;
        let (_, expected) = Answer::read(&body).values();
        let (request, expected) = (request.get(), expected.get());
        // Writing to a string cannot fail.
        let _ = writeln!(golden, "{{\"request\": {request}, \"expected\": {expected}}}");
    }
    match requests.is_empty() {
        true => Err(format!("{name}: there is no request in it")),
        false => Ok(golden),
    }
}
