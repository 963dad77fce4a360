//! What one version answers otherwise than another. Pure.

use super::collect::{Collected, Told, Truth};

/// Rows that are listed.
const N_LISTED: usize = 10;

/// A row that two versions put into different classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    /// Its line, from 1.
    pub line: u64,
    /// The class that it has.
    pub label: usize,
    /// What the other version says.
    pub before: usize,
    /// What this version says.
    pub now: usize,
}

/// How the answers of two versions differ.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerChanges {
    /// Classes.
    Classes {
        /// Share of rows that both put into the same class.
        agreement: f64,
        /// Rows that they put into different ones.
        flips: usize,
        /// Those among them that were wrong and are right now.
        mended: usize,
        /// Those that were right and are wrong now.
        broken: usize,
        /// The first ten flips.
        first: Vec<Flip>,
    },
    /// Numbers.
    Numbers {
        /// The largest difference of one row.
        largest: f64,
        /// The mean of all differences, without their signs.
        mean: f64,
        /// The line of the largest.
        line: u64,
    },
}

/// Compares the first version that was asked with the second.
pub(super) fn compare(collected: &Collected) -> Option<AnswerChanges> {
    let [now, before] = &collected.told[..] else { return None };
    Some(match &collected.truth {
        Truth::Classes { rows, .. } => classes(&collected.lines, rows, now, before),
        Truth::Numbers(_) => numbers(&collected.lines, now, before),
    })
}

fn classes(lines: &[u64], truth: &[usize], now: &Told, before: &Told) -> AnswerChanges {
    let rows = lines.iter().zip(truth).zip(now.classes.iter().zip(&before.classes));
    let rows = rows.map(|((&line, &label), (&now, &before))| Flip { line, label, before, now });
    let flips: Vec<_> = rows.filter(|row| row.now != row.before).collect();
    let count =
        |is_counted: fn(&Flip) -> bool| flips.iter().filter(|flip| is_counted(flip)).count();
    AnswerChanges::Classes {
        agreement: 1.0 - flips.len() as f64 / lines.len().max(1) as f64,
        flips: flips.len(),
        mended: count(|flip| flip.now == flip.label),
        broken: count(|flip| flip.before == flip.label),
        first: flips.into_iter().take(N_LISTED).collect(),
    }
}

fn numbers(lines: &[u64], now: &Told, before: &Told) -> AnswerChanges {
    let differences =
        now.values.iter().zip(&before.values).map(|(now, before)| (now - before).abs());
    let (mut sum, mut largest, mut line) = (0.0, 0.0, lines.first().copied().unwrap_or(1));
    for (difference, &at) in differences.zip(lines) {
        sum += difference;
        // What is no number is further away than any.
        if difference > largest || difference.is_nan() && !f64::is_nan(largest) {
            (largest, line) = (difference, at);
        }
    }
    AnswerChanges::Numbers { largest, mean: sum / lines.len().max(1) as f64, line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips_are_counted_by_what_they_mend_and_break() {
        let told = |classes: &[usize]| Told { classes: classes.to_vec(), values: vec![] };
        let collected = Collected {
            lines: vec![2, 3, 5, 7],
            truth: Truth::Classes { names: vec!["a".into(), "b".into()], rows: vec![0, 1, 2, 0] },
            told: vec![told(&[0, 0, 0, 0]), told(&[1, 1, 1, 0])],
        };
        let Some(AnswerChanges::Classes { agreement, flips, mended, broken, first }) =
            compare(&collected)
        else {
            panic!("classes are compared");
        };
        assert_eq!((agreement, flips, mended, broken), (0.25, 3, 1, 1));
        assert_eq!(first[1], Flip { line: 3, label: 1, before: 1, now: 0 });
        assert_eq!(compare(&Collected { told: vec![told(&[0; 4])], ..collected }), None);
    }

    #[test]
    fn numbers_are_apart_by_the_largest_and_the_mean() {
        let told = |values: &[f64]| Told { classes: vec![], values: values.to_vec() };
        let compared = |now: &[f64]| {
            compare(&Collected {
                lines: vec![1, 4],
                truth: Truth::Numbers(vec![0.0; 2]),
                told: vec![told(now), told(&[0.0, 0.0])],
            })
        };
        let expected = AnswerChanges::Numbers { largest: 3.0, mean: 2.0, line: 4 };
        assert_eq!(compared(&[1.0, -3.0]), Some(expected));
        let Some(AnswerChanges::Numbers { largest, line, .. }) = compared(&[f64::NAN, 9.0]) else {
            panic!()
        };
        assert!(largest.is_nan() && line == 1);
    }
}
