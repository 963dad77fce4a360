//! What was measured: latencies, errors, phases, and on request the answers themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Error;
use crate::answer::{Answer, server_timing};
use crate::connection::Pending;
use crate::requests::Requests;

/// From 100 ns to ten minutes, with three digits.
const LOWEST_NS: u64 = 100;
const HIGHEST_NS: u64 = 600_000_000_000;
/// Kinds of errors that are told apart; a server under test has few.
const MAX_KINDS: usize = 32;
/// Answers of which a trace is kept.
const MAX_TRACE: usize = 200_000;
/// Fewer answers than this are weighed by when they came.
const MAX_WEIGHTED: usize = 5_000;

/// What is to be kept beside latencies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) status: u16,
    pub(crate) bodies: usize,
    pub(crate) save: bool,
    pub(crate) server_timing: bool,
}

pub(crate) struct Tally {
    wanted: Wanted,
    latency: Histogram<u32>,
    phases: BTreeMap<String, Histogram<u32>>,
    errors: BTreeMap<String, u64>,
    answers: Vec<Option<Vec<u8>>>,
    trace: Vec<Traced>,
    /// When answers came in the measured part of the run.
    arrivals: Vec<u64>,
    pub(crate) answered: u64,
    /// Right answers, those of the warm-up among them.
    pub(crate) all_answered: u64,
    /// Answers that came while the measured part of the run lasted, whenever they were asked for: only the latency
    /// is that of requests of the measured part.
    pub(crate) in_window: u64,
}

/// When an answer came, and whether the measured part of the run lasted then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) at: u64,
    pub(crate) in_window: bool,
}

/// An answer in the trace.
#[derive(Debug, Clone, Copy)]
struct Traced {
    body: usize,
    latency: u64,
}

impl Tally {
    pub(crate) fn new(wanted: Wanted) -> Result<Self, Error> {
        Ok(Self {
            latency: histogram()?,
            phases: BTreeMap::new(),
            errors: BTreeMap::new(),
            answers: vec![None; if wanted.save { wanted.bodies } else { 0 }],
            trace: Vec::new(),
            arrivals: Vec::new(),
            answered: 0,
            all_answered: 0,
            in_window: 0,
            wanted,
        })
    }

    /// Takes an answer, all of it in `received`.
    pub(crate) fn answer(
        &mut self,
        pending: Pending,
        answer: &Answer,
        received: &[u8],
        Arrival { at, in_window }: Arrival,
    ) -> Result<(), Error> {
        let right = answer.status == self.wanted.status;
        // Also of the warm-up: what is answered there must be as right.
        if right && let Some(place @ None) = self.answers.get_mut(pending.body) {
            *place = Some(received[answer.body.0..answer.body.1].to_vec());
        }
        if !right {
            self.error(&format!("status {}", answer.status));
            return Ok(());
        }
        self.all_answered += 1;
        self.in_window += u64::from(in_window);
        if in_window && self.arrivals.len() < MAX_WEIGHTED {
            self.arrivals.push(at);
        }
        if !pending.counted {
            return Ok(());
        }
        let latency = at.saturating_sub(pending.due);
        self.answered += 1;
        self.latency.saturating_record(latency);
        if self.trace.len() < MAX_TRACE {
            self.trace.push(Traced { body: pending.body, latency });
        }
        if self.wanted.server_timing {
            self.phases(&received[..answer.body.0])?;
        }
        Ok(())
    }

    fn phases(&mut self, head: &[u8]) -> Result<(), Error> {
        let mut total = 0.0;
        let mut record = |name: &str, milliseconds: f64| -> Result<(), Error> {
            if !self.phases.contains_key(name) {
                if self.phases.len() >= MAX_KINDS {
                    return Ok(());
                }
                self.phases.insert(name.to_owned(), histogram()?);
            }
            if let Some(histogram) = self.phases.get_mut(name) {
                histogram.saturating_record((milliseconds * 1e6) as u64);
            }
            Ok(())
        };
        for (name, milliseconds) in server_timing(head) {
            total += milliseconds;
            record(name, milliseconds)?;
        }
        record("total", total)
    }

    /// A request that was due and not answered; its latency is at least the time that has passed.
    pub(crate) fn unanswered(&mut self, due: u64, now: u64) {
        self.latency.saturating_record(now.saturating_sub(due));
    }

    pub(crate) fn error(&mut self, kind: &str) {
        let known = self.errors.contains_key(kind) || self.errors.len() < MAX_KINDS;
        let kind = if known { kind } else { "other" };
        *self.errors.entry(kind.to_owned()).or_default() += 1;
    }

    /// Answers a second in a window, those near its ends weighing less; nothing when there are too many for it to
    /// matter. A slow model answers a whole batch at once, and whether a batch falls just inside the window or just
    /// outside would otherwise be a tenth of the result.
    pub(crate) fn weighted_rate(&self, window: (u64, u64)) -> Option<f64> {
        (self.arrivals.len() < MAX_WEIGHTED).then(|| parabolic(&self.arrivals, window))
    }

    pub(crate) fn summary(&self, with_buckets: bool) -> Value {
        let phases: serde_json::Map<_, _> =
            self.phases.iter().map(|(name, phase)| (name.clone(), percentiles(phase))).collect();
        let mut summary = json!({
            "latency_us": percentiles(&self.latency),
            "errors": self.errors,
            "n_errors": self.errors.values().sum::<u64>(),
        });
        if !phases.is_empty() {
            summary["server_timing_us"] = Value::Object(phases);
        }
        if with_buckets {
            let buckets: Vec<_> = self
                .latency
                .iter_recorded()
                .map(|v| json!([v.value_iterated_to() as f64 / 1e3, v.count_at_value()]))
                .collect();
            summary["histogram_us"] = Value::Array(buckets);
        }
        summary
    }

    pub(crate) fn write_answers(&self, folder: &Path, requests: &Requests) -> Result<(), Error> {
        fs::create_dir_all(folder)?;
        for (body, answer) in self.answers.iter().enumerate() {
            if let Some(answer) = answer {
                fs::write(folder.join(format!("{}.json", requests.name(body))), answer)?;
            }
        }
        Ok(())
    }

    pub(crate) fn write_trace(&self, file: &Path) -> Result<(), Error> {
        let mut out = std::io::BufWriter::new(fs::File::create(file)?);
        for traced in &self.trace {
            writeln!(out, "{} {:.1}", traced.body, traced.latency as f64 / 1e3)?;
        }
        Ok(out.flush()?)
    }
}

/// The slope of the straight line through the count of answers over time, by least squares: each answer weighs by a
/// parabola that is 0 at both ends of the window and integrates to 1.
fn parabolic(times: &[u64], (begin, end): (u64, u64)) -> f64 {
    let length = (end - begin) as f64 / 1e9;
    let weight = |at: &u64| {
        let off_center = at.saturating_sub(begin) as f64 / 1e9 - length / 2.0;
        6.0 / length.powi(3) * ((length / 2.0).powi(2) - off_center.powi(2))
    };
    times.iter().map(weight).sum()
}

fn histogram() -> Result<Histogram<u32>, Error> {
    Ok(Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3)?)
}

fn percentiles(histogram: &Histogram<u32>) -> Value {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    json!({
        "mean": (histogram.mean() / 10.0).round() / 100.0,
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p99.9": at(0.999),
        "max": histogram.max() as f64 / 1e3,
        "count": histogram.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn steady_answers_weigh_what_they_are() {
        let times: Vec<u64> = (0..400).map(|k| 5 * SECOND + k * SECOND / 40).collect();
        let rate = parabolic(&times, (5 * SECOND, 15 * SECOND));
        assert!((rate - 40.0).abs() < 0.01, "{rate} answers a second, 40 came");
    }

    #[test]
    fn an_answer_counts_for_the_rate_when_it_comes_and_for_the_latency_when_it_was_asked_for() {
        // 40 a second of which each takes 4 s, measured for 10 s: those of the first 4 were asked for before.
        let wanted = Wanted { status: 200, bodies: 1, save: false, server_timing: false };
        let mut tally = Tally::new(wanted).unwrap();
        let window = (5 * SECOND, 15 * SECOND);
        for k in 0..800 {
            let due = k * SECOND / 40;
            let at = due + 4 * SECOND;
            let pending = Pending { body: 0, due, counted: due >= window.0 };
            let answer = Answer { status: 200, body: (0, 0), closes: false };
            let in_window = at >= window.0 && at < window.1;
            tally.answer(pending, &answer, &[], Arrival { at, in_window }).unwrap();
        }
        let rate = tally.weighted_rate(window).unwrap();
        assert!((rate - 40.0).abs() < 0.01, "{rate} answers a second, 40 came");
        assert_eq!((tally.in_window, tally.answered, tally.all_answered), (400, 600, 800));
    }

    #[test]
    fn where_bursts_fall_hardly_matters() {
        // 30 answers every 3 s in a window of 20 s: 6 or 7 bursts, which by number is 9 or 10.5 a second.
        for shift in 0..30 {
            let bursts = (0..7).map(|k| shift * SECOND / 10 + k * 3 * SECOND);
            let in_window = bursts.filter(|at| *at < 20 * SECOND);
            let times: Vec<u64> = in_window.flat_map(|at| [at; 30]).collect();
            let rate = parabolic(&times, (0, 20 * SECOND));
            assert!((rate - 10.0).abs() < 0.25, "{rate} answers a second, 10 came");
        }
    }
}
