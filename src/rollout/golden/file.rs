//! Reads the lines of a golden file. Everything that is wrong has its place: `FILE:LINE: what`.

use crate::repository::read_plain;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io;
use std::path::Path;

/// Its name, beside the model file of a version.
pub const FILE: &str = "golden.jsonl";
/// Largest file that is read.
pub const MAX_BYTES: u64 = 64 << 20;
/// Most requests of a file.
const MAX_REQUESTS: usize = 10_000;
/// Most values of an answer: as a document a value takes 32 bytes and more.
const MAX_VALUES: usize = 2_000_000;
/// What an answer from another processor may differ by.
const TOLERANCE: f64 = 1e-4;

/// A file as it is checked.
#[derive(Debug)]
pub(super) struct Golden<'t> {
    /// The part of labels that must be right.
    pub(super) min_accuracy: f64,
    pub(super) cases: Vec<Case<'t>>,
}

/// A request and what is known of its answer.
#[derive(Debug)]
pub(super) struct Case<'t> {
    /// From 1.
    pub(super) line: usize,
    /// The body as it stands there.
    pub(super) request: &'t RawValue,
    pub(super) wanted: Wanted<'t>,
}

#[derive(Debug)]
pub(super) enum Wanted<'t> {
    /// The answer as it stands there; read when it is compared, one at a time.
    Values {
        expected: &'t RawValue,
        tolerance: f64,
    },
    Labels(Vec<String>),
}

/// A line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'t> {
    #[serde(borrow)]
    request: Option<&'t RawValue>,
    /// `null` is a value that may be expected: what the model gave was no number.
    #[serde(borrow, default, deserialize_with = "given")]
    expected: Option<&'t RawValue>,
    tolerance: Option<f64>,
    label: Option<String>,
    labels: Option<Vec<String>>,
    min_accuracy: Option<f64>,
}

fn given<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// Reads a file of at most [`MAX_BYTES`]; `None` where there is none.
///
/// # Errors
///
/// It cannot be read, is larger, or is no text.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    read_plain(path, MAX_BYTES)
}

impl<'t> Golden<'t> {
    /// `name` is how messages call the file.
    pub(super) fn parse(name: &str, text: &'t str) -> Result<Self, String> {
        let mut golden = Self { min_accuracy: 1.0, cases: Vec::new() };
        let mut tolerance = TOLERANCE;
        for (line, text) in numbered(text) {
            let fault = |what: String| format!("{name}:{line}: {what}");
            let parsed: Line<'t> = parse(text).map_err(fault)?;
            check_numbers(&parsed).map_err(fault)?;
            match parsed.request {
                Some(request) if golden.cases.len() < MAX_REQUESTS => {
                    let wanted = wanted(&parsed, tolerance).map_err(fault)?;
                    golden.cases.push(Case { line, request, wanted });
                }
                Some(_) => return Err(fault(format!("more than {MAX_REQUESTS} requests"))),
                None if golden.cases.is_empty() && is_header(&parsed) => {
                    golden.min_accuracy = parsed.min_accuracy.unwrap_or(golden.min_accuracy);
                    tolerance = parsed.tolerance.unwrap_or(tolerance);
                }
                None => return Err(fault("there is no \"request\"".to_owned())),
            }
        }
        match golden.cases.is_empty() {
            true => Err(format!("{name}: there is no request in it")),
            false => Ok(golden),
        }
    }
}

/// The lines that hold something, with their numbers.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty())
}

fn parse<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, String> {
    // Its own place is of no use: it counts lines of what it was given, which is one.
    serde_json::from_str(text).map_err(|error| {
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
        format!("{what} (column {})", error.column())
    })
}

fn is_header(line: &Line<'_>) -> bool {
    let has_case = line.expected.is_some() || line.label.is_some() || line.labels.is_some();
    !has_case && (line.min_accuracy.is_some() || line.tolerance.is_some())
}

fn check_numbers(line: &Line<'_>) -> Result<(), String> {
    let parts = [("tolerance", line.tolerance), ("min_accuracy", line.min_accuracy)];
    let wrong = |value: &f64| !(0.0..=1.0).contains(value);
    match parts.iter().find(|(_, value)| value.as_ref().is_some_and(wrong)) {
        Some((name, _)) => Err(format!("{name:?} must be a number from 0 to 1")),
        None => Ok(()),
    }
}

fn wanted<'t>(line: &Line<'t>, tolerance: f64) -> Result<Wanted<'t>, String> {
    if line.min_accuracy.is_some() {
        return Err("\"min_accuracy\" belongs on a first line without a request".to_owned());
    }
    let tolerance = line.tolerance.unwrap_or(tolerance);
    match (line.expected, &line.label, &line.labels) {
        (Some(expected), None, None) => {
            let n_values = expected.get().bytes().filter(|byte| *byte == b',').count();
            if n_values > MAX_VALUES {
                return Err(format!("\"expected\" has more than {MAX_VALUES} values"));
            }
            Ok(Wanted::Values { expected, tolerance })
        }
        (None, Some(label), None) => Ok(Wanted::Labels(vec![label.clone()])),
        (None, None, Some(labels)) => Ok(Wanted::Labels(labels.clone())),
        _ => Err("expected one of \"expected\", \"label\" and \"labels\"".to_owned()),
    }
}

/// The requests of a file that has a body on each line, or is a golden file itself.
pub(super) fn requests<'t>(
    name: &str,
    text: &'t str,
) -> Result<Vec<(usize, &'t RawValue)>, String> {
    #[derive(Deserialize)]
    struct Wrapped<'t> {
        #[serde(borrow)]
        request: Option<&'t RawValue>,
    }
    let mut requests = Vec::new();
    for (line, text) in numbered(text) {
        let fault = |what: String| format!("{name}:{line}: {what}");
        if requests.len() >= MAX_REQUESTS {
            return Err(fault(format!("more than {MAX_REQUESTS} requests")));
        }
        let wrapped: Wrapped<'t> = parse(text).map_err(fault)?;
        let request = match wrapped.request {
            Some(request) => request,
            None if requests.is_empty() && parse(text).is_ok_and(|line| is_header(&line)) => {
                continue;
            }
            None => parse(text).map_err(fault)?,
        };
        requests.push((line, request));
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(Golden::parse("g", text).unwrap_err(), expected, "{text:?}");
    }

    #[test]
    fn a_line_has_a_request_and_what_is_known_of_its_answer() {
        let text = concat!(
            "{\"min_accuracy\": 0.9, \"tolerance\": 0.5}\n\n",
            "{\"request\": {\"features\": [1.0]}, \"expected\": [2]}\n",
            "{\"request\": {}, \"expected\": null, \"tolerance\": 0}\n",
            "{\"request\": {}, \"label\": \"a\"}\r\n",
            "{\"request\": {}, \"labels\": [\"a\", \"b\"]}",
        );
        let golden = Golden::parse("g", text).unwrap();
        assert_eq!(golden.min_accuracy, 0.9);
        assert_eq!(golden.cases[0].request.get(), "{\"features\": [1.0]}");
        let lines: Vec<_> = golden.cases.iter().map(|case| case.line).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
        let wanted = |case: usize| match &golden.cases[case].wanted {
            Wanted::Values { expected, tolerance } => (expected.get().to_owned(), *tolerance),
            Wanted::Labels(labels) => (labels.join(","), f64::NAN),
        };
        assert_eq!((wanted(0), wanted(1)), (("[2]".into(), 0.5), ("null".into(), 0.0)));
        assert_eq!(wanted(3).0, "a,b");
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        refused("", "g: there is no request in it");
        refused("{\"tolerance\": 1e-3}", "g: there is no request in it");
        refused("\n{\"request\": {}", "g:2: EOF while parsing an object (column 14)");
        refused("{\"expected\": 1}", "g:1: there is no \"request\"");
        let one = "expected one of \"expected\", \"label\" and \"labels\"";
        refused("{\"request\": {}}", &format!("g:1: {one}"));
        refused("{\"request\": {}, \"label\": \"a\", \"expected\": 1}", &format!("g:1: {one}"));
        let case = "{\"request\": {}, \"expected\": 1}\n";
        refused(&format!("{case}{{\"min_accuracy\": 1}}"), "g:2: there is no \"request\"");
        refused(
            "{\"request\": {}, \"expected\": 1, \"tolerance\": 2}",
            "g:1: \"tolerance\" must be a number from 0 to 1",
        );
        refused(
            "{\"request\": {}, \"expected\": 1, \"min_accuracy\": 1}",
            "g:1: \"min_accuracy\" belongs on a first line without a request",
        );
        let error = Golden::parse("g", "{\"request\": {}, \"expect\": 1}").unwrap_err();
        assert!(error.starts_with("g:1: unknown field `expect`"), "{error}");
        let large =
            format!("{{\"request\": {{}}, \"expected\": [{}0]}}", "0,".repeat(MAX_VALUES + 1));
        refused(&large, "g:1: \"expected\" has more than 2000000 values");
        let many = case.repeat(MAX_REQUESTS + 1);
        refused(&many, "g:10001: more than 10000 requests");
    }

    #[test]
    fn requests_stand_alone_or_in_a_golden_file() {
        let text = "{\"tolerance\": 0.1}\n{\"features\": [1]}\n{\"request\": {\"features\": [2]}, \"label\": \"a\"}\n";
        let requests = requests("r", text).unwrap();
        let found: Vec<_> = requests.iter().map(|(line, body)| (*line, body.get())).collect();
        assert_eq!(found, [(2, "{\"features\": [1]}"), (3, "{\"features\": [2]}")]);
        assert!(super::requests("r", "\nnot json").unwrap_err().starts_with("r:2: "));
    }

    #[test]
    fn a_file_that_is_not_there_is_none_and_one_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path).unwrap(), None);
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("{}"));
        std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is larger than 64 MiB");
    }
}
