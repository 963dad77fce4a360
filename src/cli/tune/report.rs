//! The table, and what follows from it.

use super::measure::Figures;
use super::plan::{self, Choice};
use crate::inference::ModelName;
use std::fmt::Write as _;
use std::time::Duration;

pub(super) fn head(model: &ModelName, cpus: usize) -> String {
    format!(
        "{model} on {cpus} cores; callers ask for one row and wait; milliseconds\n\
         instances  threads  batch  delay  callers    rows/s       p50       p99\n"
    )
}

/// A line for each number of callers.
pub(super) fn rows(choice: &Choice, figures: &[Figures]) -> String {
    let mut text = String::new();
    for Figures { n_callers, per_second, p50, p99 } in figures {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>9} {:>8} {:>6} {:>6} {n_callers:>8} {per_second:>9.1} {:>9.3} {:>9.3}",
            choice.instances,
            choice.intra_op_threads,
            choice.max_batch_size,
            choice.max_queue_delay.as_millis(),
            milliseconds(*p50),
            milliseconds(*p99),
        );
    }
    text
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The best for throughput and for the latency, as lines of model.toml.
pub(super) fn verdict(table: &[(Choice, Vec<Figures>)], latency: Duration) -> String {
    let mut text = String::new();
    let wanted = milliseconds(latency);
    let purposes = [
        ("most rows a second".to_owned(), Duration::MAX),
        (format!("most rows a second with 99 % of the answers within {wanted} ms"), latency),
    ];
    for (purpose, latency) in purposes {
        let _ = match plan::best(table, latency) {
            Some((choice, figures)) => writeln!(text, "\n# {purpose}: {}", lines(choice, figures)),
            None => writeln!(text, "\n# {purpose}: no choice"),
        };
    }
    text
}

fn lines(choice: Choice, figures: Figures) -> String {
    let Figures { n_callers, per_second, p99, .. } = figures;
    format!(
        "{per_second:.1}, p99 {:.3} ms, with {n_callers} callers\n\
         instances = {}\nintra_op_threads = {}\n[batching]\nmax_batch_size = {}\nmax_queue_delay = \"{}ms\"",
        milliseconds(p99),
        choice.instances,
        choice.intra_op_threads,
        choice.max_batch_size,
        choice.max_queue_delay.as_millis(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::manifest::Manifest;

    #[test]
    fn what_is_named_best_can_be_put_into_a_model_toml() {
        let choice = plan::with_delay(&plan::without_delay(2, 8, false)[0])[0];
        let millis = Duration::from_millis;
        let figures = Figures { n_callers: 8, per_second: 10.5, p50: millis(3), p99: millis(7) };
        let text = verdict(&[(choice, vec![figures])], millis(5));
        let (best, none) = text.split_once("within 5 ms").expect("both purposes are told");
        assert!(none.starts_with(": no choice"), "{text}");
        let manifest = Manifest::parse("model.toml", best).expect("it is TOML with known keys");
        assert_eq!(manifest.instances, Some(choice.instances));
        assert_eq!(manifest.batching.max_queue_delay, Some(choice.max_queue_delay));
        assert!(best.contains("p99 7.000 ms, with 8 callers"), "{text}");
    }
}
