//! The known name that a misspelled one most likely means.

/// The name nearest to `text`, when one is near enough to be worth naming.
///
/// A right word under a wrong section counts as near too: `listen` for `http.listen`.
pub(super) fn closest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + text.len() / 5;
    let score = |name: &str| distance(text, name).min(1 + distance(last(text), last(name)));
    known
        .map(|name| (score(name), name))
        .min_by_key(|(score, _)| *score)
        .filter(|(score, _)| *score <= limit)
        .map(|(_, name)| name)
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Insertions, deletions and replacements of one letter between two texts (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (left_idx, left) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = left_idx + 1;
        for (right_idx, right) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[right_idx + 1];
            row[right_idx + 1] = replaced.min(diagonal + 1).min(row[right_idx] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["models", "http.listen", "management.listen", "requests.timeout"];

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(closest(text, KNOWN.into_iter()), expected, "closest to {text:?}");
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        check("model", Some("models"));
        check("htpp.listen", Some("http.listen"));
        check("listen", Some("http.listen"));
        check("requests.time_out", Some("requests.timeout"));
        check("workers", None);
        check("", None);
    }

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
