//! Whether a version answers as its golden file says.

use super::ask::{Answer, Asker};
use super::file::{Case, FILE, Golden, Wanted, read};
use super::values::distance;
use crate::repository::{ModelHandle, Verifier};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Misses that are shown.
const SHOWN: usize = 10;
/// How long all requests of a file may take together.
const MAX_DURATION: Duration = Duration::from_secs(600);

/// The repository's [`Verifier`]: a version with a golden file must answer as it says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goldens;

impl Verifier for Goldens {
    fn verify(&self, candidate: &ModelHandle, folder: &Path) -> Result<(), String> {
        let name = format!("{}/{}/{FILE}", candidate.name(), candidate.version());
        let text = read(&folder.join(FILE)).map_err(|error| format!("{name}: {error}"))?;
        let Some(text) = text else { return Ok(()) };
        let report = verify(candidate, &name, &text)?;
        if !report.passed() {
            return Err(report.to_string());
        }
        tracing::info!(model.name = %candidate.name(), model.version = %candidate.version(), "{report}");
        Ok(())
    }
}

/// What a version answered to its golden requests.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldenReport {
    /// How messages call the file.
    pub file: String,
    /// Requests whose values were compared.
    pub compared: usize,
    /// The largest difference among them, relative.
    pub largest_difference: f64,
    /// Labels that were compared.
    pub labels: usize,
    /// Those that were right.
    pub right: usize,
    /// The part that must be.
    pub min_accuracy: f64,
    /// Requests that were not answered, or not as expected.
    pub missed: usize,
    /// Requests whose labels were not all right, which alone is no miss.
    pub mislabelled: usize,
    /// The first of both.
    pub misses: Vec<Miss>,
}

/// A request that was not answered as it was to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Its line.
    pub line: usize,
    /// How.
    pub what: String,
}

impl GoldenReport {
    /// Whether the version may serve.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.missed == 0 && self.accuracy() >= self.min_accuracy
    }

    /// The part of labels that were right; 1 where there are none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        if self.labels == 0 { 1.0 } else { self.right as f64 / self.labels as f64 }
    }

    fn note(&mut self, line: usize, what: String) {
        if self.misses.len() < SHOWN {
            self.misses.push(Miss { line, what });
        }
    }

    fn miss(&mut self, line: usize, what: String) {
        self.missed += 1;
        self.note(line, what);
    }
}

impl fmt::Display for GoldenReport {
    /// A summary, and where the version may not serve a line for each miss that is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, compared, labels, right, missed, .. } = self;
        write!(f, "{file}: ")?;
        let mut parts = Vec::new();
        if *missed > 0 {
            let misses = if *missed == 1 { "request misses" } else { "requests miss" };
            parts.push(format!("{missed} {misses}"));
        }
        if *compared > 0 {
            let largest = print_difference(self.largest_difference);
            parts.push(format!("{compared} answers compared, largest difference {largest}"));
        }
        if *labels > 0 {
            let (accuracy, minimum) = (self.accuracy(), self.min_accuracy);
            parts.push(format!(
                "{right} of {labels} labels right, accuracy {accuracy:.4}, at least {minimum} wanted"
            ));
        }
        f.write_str(&parts.join("; "))?;
        if self.passed() {
            return Ok(());
        }
        for Miss { line, what } in &self.misses {
            write!(f, "\n{file}:{line}: {what}")?;
        }
        let unshown = (missed + self.mislabelled).saturating_sub(self.misses.len());
        if unshown > 0 {
            write!(f, "\nand {unshown} more")?;
        }
        Ok(())
    }
}

/// Two digits, and a word for what no tolerance reaches.
fn print_difference(difference: f64) -> String {
    match difference {
        0.0 => "0".to_owned(),
        difference if difference.is_finite() => format!("{difference:.1e}"),
        _ => "more than any".to_owned(),
    }
}

/// Asks a version everything that a golden file has. Blocks. `name` is how messages call the file.
///
/// # Errors
///
/// The file is no golden file, or asking takes too long. A version that misses is no error: see
/// [`GoldenReport::passed`].
pub fn verify(handle: &ModelHandle, name: &str, text: &str) -> Result<GoldenReport, String> {
    let golden = Golden::parse(name, text)?;
    let asker = Asker::new(handle).map_err(|error| format!("{name}: {error}"))?;
    let mut report = GoldenReport {
        file: name.to_owned(),
        compared: 0,
        largest_difference: 0.0,
        labels: 0,
        right: 0,
        min_accuracy: golden.min_accuracy,
        missed: 0,
        mislabelled: 0,
        misses: Vec::new(),
    };
    let began = Instant::now();
    for case in &golden.cases {
        if began.elapsed() >= MAX_DURATION {
            let line = case.line;
            return Err(format!("{name}:{line}: not asked after {} s", MAX_DURATION.as_secs()));
        }
        match asker.ask(case.request.get()) {
            Ok(body) => judge(&mut report, case, Answer::read(&body)),
            Err(error) => {
                let cause = error.details.cause.as_ref();
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                report.miss(case.line, format!("not answered: {error}{cause}"));
            }
        }
    }
    Ok(report)
}

fn judge(report: &mut GoldenReport, case: &Case<'_>, answer: Answer<'_>) {
    match &case.wanted {
        Wanted::Values { expected, tolerance } => {
            let (form, got) = answer.values();
            // A text that is JSON may still have numbers beyond all numbers, or be nested too deeply.
            let read = |text: &RawValue| serde_json::from_str::<Value>(text.get());
            let (expected, got) = match (read(expected), read(got)) {
                (Ok(expected), Ok(got)) => (expected, got),
                (Err(error), _) | (_, Err(error)) => {
                    let what = format!("what is expected cannot be compared: {error}");
                    return report.miss(case.line, what);
                }
            };
            let distance = distance(form, &expected, &got, *tolerance);
            report.compared += 1;
            report.largest_difference = report.largest_difference.max(distance.largest);
            if let Some(what) = distance.miss {
                let by = print_difference(distance.largest);
                report.miss(
                    case.line,
                    format!("{what}: off by {by} of the largest, {tolerance:e} allowed"),
                );
            }
        }
        Wanted::Labels(wanted) => {
            let got = answer.labels();
            if got.len() != wanted.len() {
                let [got, wanted] = [got.len(), wanted.len()];
                let what = format!("the answer has {got} labels, expected {wanted}");
                return report.miss(case.line, what);
            }
            let pairs = || wanted.iter().zip(&got);
            report.labels += wanted.len();
            let is_right = |(wanted, got): &(&_, &Option<_>)| Some(*wanted) == got.as_ref();
            report.right += pairs().filter(is_right).count();
            if let Some((wanted, got)) = pairs().find(|pair| !is_right(pair)) {
                report.mislabelled += 1;
                let got =
                    got.as_ref().map_or_else(|| "no label".into(), |got| format!("label {got:?}"));
                report.note(case.line, format!("{got}, expected {wanted:?}"));
            }
        }
    }
}
